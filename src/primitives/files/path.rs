//! Paths on a target: absolute, without surprises, and never the ground that the system stands on.

use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// An absolute path on a target, without trailing slash, empty or `.` parts. It is text: what a journal and a runbook
/// can hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(in crate::primitives) struct At(String);

/// Directories that no primitive removes, moves or replaces.
const SYSTEM: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/lost+found",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/sbin",
    "/usr/share",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/spool",
    "/var/tmp",
    "/var/run",
    "/etc/ssh",
    "/etc/systemd",
    "/etc/init.d",
];

impl At {
    /// Checks a path.
    ///
    /// # Errors
    /// `input` if it is empty, relative, `/`, or holds `..`, a line break or NUL.
    pub(in crate::primitives) fn new(text: &str) -> Result<Self, Box<Failure>> {
        let refuse = |why: &str| {
            Err(Box::new(Failure::input(format!("{why}: `{}`", text.escape_debug())).with_hint(
                "Give an absolute path of a file or directory, such as `/usr/local/obs/conf`.",
            )))
        };
        if text.is_empty() {
            return refuse("the path is empty");
        }
        if text.contains(['\n', '\0']) {
            return refuse("the path holds a line break or NUL");
        }
        if !text.starts_with('/') {
            return refuse("the path is not absolute");
        }
        let parts: Vec<_> =
            text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            return refuse("the path holds `..`");
        }
        if parts.is_empty() {
            return refuse("the path is the root of the file system");
        }
        Ok(Self(format!("/{}", parts.join("/"))))
    }

    /// Returns the text.
    pub(in crate::primitives) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the directory that it is in.
    pub(in crate::primitives) fn parent(&self) -> &str {
        match self.0.rfind('/') {
            Some(0) | None => "/",
            Some(end) => &self.0[..end],
        }
    }

    /// Returns its last part.
    pub(in crate::primitives) fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Returns a path in it.
    pub(in crate::primitives) fn join(&self, name: &str) -> Self {
        Self(format!("{}/{name}", self.0))
    }

    /// Returns a hidden path beside it that belongs to one call of one run; `clean_script` removes only such names.
    pub(in crate::primitives) fn beside(&self, run: &str, stem: &str, what: &str) -> String {
        let name = self.name();
        let end =
            (0..=name.len().min(100)).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
        format!(
            "{}/.upgrade-host-{run}-{stem}-{what}-{}",
            self.parent().trim_end_matches('/'),
            &name[..end]
        )
    }

    /// Returns the path at which an undo keeps what somebody else made of it; nothing removes that.
    pub(in crate::primitives) fn theirs(&self, run: &str) -> String {
        format!("{}.changed-{run}", self.0)
    }

    /// Refuses what the system stands on.
    ///
    /// # Errors
    /// `input`.
    pub(in crate::primitives) fn expendable(&self, verb: &str) -> Result<(), Box<Failure>> {
        let kernel = ["/proc/", "/sys/", "/dev/"].iter().any(|prefix| self.0.starts_with(prefix));
        let ours = self.name().starts_with(".upgrade-host-")
            || self.0.starts_with("/var/tmp/upgrade-host-");
        if SYSTEM.contains(&self.0.as_str()) || kernel {
            let message = format!("refuses to {verb} a directory of the system: {}", self.0);
            return Err(Box::new(Failure::input(message).with_hint("Name what is in it.")));
        }
        if ours {
            let message = format!("refuses to {verb} what a run keeps for undo: {}", self.0);
            return Err(Box::new(Failure::input(message)));
        }
        Ok(())
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for At {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text).map_err(|failure| failure.message)
    }
}

impl From<At> for String {
    fn from(at: At) -> Self {
        at.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_plain() {
        assert_eq!(At::new("//usr/./local//obs/").unwrap().as_str(), "/usr/local/obs");
        let at = At::new("/a/b").unwrap();
        assert_eq!((at.parent(), at.name()), ("/a", "b"));
        assert_eq!(At::new("/a").unwrap().beside("r", "s", "old"), "/.upgrade-host-r-s-old-a");
    }

    #[test]
    fn paths_that_mean_harm_are_refused() {
        for (path, why) in [
            ("", "empty"),
            ("conf/x", "not absolute"),
            ("/", "root"),
            ("//.//", "root"),
            ("/usr/../etc", "`..`"),
            ("/a\nb", "line break"),
        ] {
            let failure = At::new(path).unwrap_err();
            assert!(failure.message.contains(why), "{path}: {failure}");
        }
        for path in ["/etc", "/usr/", "/home", "/proc/1", "/x/.upgrade-host-a"] {
            assert!(At::new(path).unwrap().expendable("remove").is_err(), "{path}");
        }
        assert!(At::new("/etc/obs").unwrap().expendable("remove").is_ok());
    }

    #[test]
    fn long_names_stay_within_what_a_file_system_takes() {
        let at = At::new(&format!("/a/{}", "ä".repeat(120))).unwrap();
        assert!(at.beside("20261122-2020-k3f9", "0123456789abcdef", "old").len() < 200);
    }
}
