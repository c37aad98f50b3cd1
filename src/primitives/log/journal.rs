//! The systemd journal as a log: entries after a cursor, in the export format, which is the one that says where an entry
//! ends and is safe for any bytes.

use super::follower::Step;
use super::lines::Line;
use super::matcher::Matcher;
use crate::effect::Cx;
use crate::error::{Failure, Kind, Result};
use crate::transport::Command;

/// How much one poll returns at first.
const CHUNK: usize = 1 << 20;
/// The largest entry.
const LARGEST: usize = 8 << 20;

/// Prints the cursor of the last entry of the whole journal; cursors are not of a unit.
const END: &str = r"
command -v journalctl >/dev/null 2>&1 || { echo 'there is no journalctl' >&2; exit 3; }
journalctl -q --no-pager -n 1 -o export | sed -n 's/^__CURSOR=//p'
";

/// Prints entries. $1 unit, $2 cursor or empty, $3 the largest number of bytes.
const READ: &str = r#"
command -v journalctl >/dev/null 2>&1 || { echo 'there is no journalctl' >&2; exit 3; }
if [ -n "$2" ]; then journalctl -q --no-pager -o export -u "$1" --after-cursor="$2" | head -c "$3"
else journalctl -q --no-pager -o export -u "$1" | head -c "$3"
fi
"#;

fn run(cx: &Cx<'_>, script: &str, arguments: &[&str]) -> Result<Vec<u8>> {
    let command = Command::script(script, arguments.iter().copied()).reading();
    let exit = cx.quiet(&command)?;
    if exit.success() && (exit.stderr.is_empty() || !exit.stdout.is_empty()) {
        return Ok(exit.stdout);
    }
    let why = String::from_utf8_lossy(&exit.stderr).trim().to_owned();
    Err(Failure::new(Kind::NotFound, format!("the journal cannot be read: {why}"))
        .with_target(&cx.target.name)
        .with_hint("It needs systemd, and a user who is root or in the group `systemd-journal`.")
        .into())
}

/// Returns the cursor of the last entry; none if the journal is empty.
pub(super) fn end(cx: &Cx<'_>, _unit: &str) -> Result<Option<String>> {
    let out = run(cx, END, &[])?;
    let cursor = String::from_utf8_lossy(&out).trim().to_owned();
    Ok(if cursor.is_empty() { None } else { Some(cursor) })
}

/// Follows the entries of a unit.
#[derive(Debug)]
pub(super) struct Reader {
    unit: String,
    cursor: Option<String>,
    chunk: usize,
}

impl Reader {
    /// Begins after a cursor.
    pub(super) fn new(unit: &str, cursor: Option<String>) -> Self {
        Self { unit: unit.to_owned(), cursor, chunk: CHUNK }
    }

    /// Reads what is new.
    pub(super) fn round(&mut self, cx: &Cx<'_>, matcher: &mut Matcher) -> Result<Step> {
        let cursor = self.cursor.clone().unwrap_or_default();
        let out = run(cx, READ, &[&self.unit, &cursor, &self.chunk.to_string()])?;
        let path = format!("journal:{}", self.unit);
        let mut found = false;
        for (cursor, message) in entries(&out) {
            found = true;
            for bytes in message.split(|byte| *byte == b'\n') {
                matcher.line(Line { bytes, whole: true, path: &path }, std::time::Instant::now());
            }
            self.cursor = Some(cursor);
        }
        if out.len() < self.chunk {
            return Ok(Step::Idle);
        }
        if !found && self.chunk >= LARGEST {
            return Err(Failure::new(
                Kind::Check,
                format!("{path} has an entry of more than 8 MiB"),
            )
            .into());
        }
        self.chunk = if found { CHUNK } else { self.chunk * 2 };
        Ok(Step::More)
    }
}

/// Reads complete entries: cursor and message.
fn entries(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let (mut cursor, mut message) = (None, None);
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let line = &bytes[..end];
        bytes = &bytes[end + 1..];
        if line.is_empty() {
            if let Some(cursor) = cursor.take() {
                found.push((cursor, message.take().unwrap_or_default()));
            }
            continue;
        }
        let (name, value) = if let Some(at) = line.iter().position(|byte| *byte == b'=') {
            (&line[..at], &line[at + 1..])
        } else {
            // A field of any bytes: its length as eight bytes, then the bytes, then a line end.
            let Some((length, rest)) = bytes.split_first_chunk::<8>() else { break };
            let Ok(length) = usize::try_from(u64::from_le_bytes(*length)) else { break };
            if rest.len() <= length {
                break;
            }
            bytes = &rest[length + 1..];
            (line, &rest[..length])
        };
        match name {
            b"__CURSOR" => cursor = Some(String::from_utf8_lossy(value).into_owned()),
            b"MESSAGE" => message = Some(value.to_vec()),
            _ => {}
        }
    }
    // An entry that `head` cut off has no empty line after it, and is read again.
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_ask_for_what_is_after_the_cursor() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let fake = dir.path().join("journalctl");
        let script = "#!/bin/sh\nprintf '%s\\n' \"__CURSOR=s=1;i=9\" \"MESSAGE=$*\" ''\n";
        std::fs::write(&fake, script).unwrap();
        std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
        let run = |script: &str, arguments: &[&str]| {
            let path = format!("{}:/usr/bin:/bin", dir.path().display());
            let mut command = std::process::Command::new("/bin/sh");
            command.args(["-c", script, "sh"]).args(arguments).env("PATH", path);
            command.output().unwrap().stdout
        };

        assert_eq!(run(END, &[]), b"s=1;i=9\n");
        let (cursor, message) = entries(&run(READ, &["obs.service", "s=1;i=2", "1000"])).remove(0);
        assert_eq!(cursor, "s=1;i=9");
        let message = String::from_utf8(message).unwrap();
        assert!(message.ends_with("-u obs.service --after-cursor=s=1;i=2"), "{message}");
        assert_eq!(entries(&run(READ, &["obs.service", "", "10"])), []);
    }

    #[test]
    fn entries_are_read_whatever_bytes_they_hold() {
        let mut out =
            b"__CURSOR=s=1;i=2\nMESSAGE=up = yes\n_PID=1\n\n__CURSOR=s=1;i=3\nMESSAGE\n".to_vec();
        out.extend_from_slice(&7_u64.to_le_bytes());
        out.extend_from_slice(b"a\n\n\xffb=c\n\n__CURSOR=s=1;i=4\nMESSAGE=cut o");

        let found = entries(&out);

        assert_eq!(
            found,
            [
                ("s=1;i=2".to_owned(), b"up = yes".to_vec()),
                ("s=1;i=3".to_owned(), b"a\n\n\xffb=c".to_vec())
            ]
        );
        for end in 0..out.len() {
            assert!(entries(&out[..end]).len() <= 2);
        }
    }
}
