//! The time zone of this machine.

use std::path::Path;
use std::sync::OnceLock;

use jiff::tz::TimeZone;

/// The file that says which it is, unless `TZ` does.
const LOCAL: &str = "/etc/localtime";

/// Returns the time zone of this machine. Where one file says it, the hundreds of others are not looked through for its
/// name, which takes longer than all else that a start does.
pub(crate) fn local() -> TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    let given = || std::env::var_os("TZ").is_some();
    let read = || (!given()).then(|| of_file(Path::new(LOCAL))).flatten();
    ZONE.get_or_init(|| read().unwrap_or_else(TimeZone::system)).clone()
}

/// Reads the zone of a file, named as the link to it says.
fn of_file(path: &Path) -> Option<TimeZone> {
    let link = std::fs::read_link(path).ok()?;
    let name = link.to_str()?.split_once("zoneinfo/")?.1;
    TimeZone::tzif(name, &std::fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linked_zone_is_the_one_of_the_list() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("localtime");
        let Ok(listed) = TimeZone::get("Europe/Vienna") else { return };
        std::os::unix::fs::symlink("/usr/share/zoneinfo/Europe/Vienna", &file).unwrap();
        let Some(zone) = of_file(&file) else { return };
        assert_eq!(zone.iana_name(), Some("Europe/Vienna"));
        for at in ["2026-01-01T00:00:00Z", "2026-07-01T00:00:00Z"] {
            let at: jiff::Timestamp = at.parse().unwrap();
            assert_eq!(zone.to_offset(at), listed.to_offset(at));
        }
        // A file that is no link has no name, and is left to those who look for one.
        std::fs::write(dir.path().join("plain"), "TZif").unwrap();
        assert_eq!(of_file(&dir.path().join("plain")), None);
    }
}
