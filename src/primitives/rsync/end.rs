//! What the end of an rsync means, by its status and by what it says.

use crate::error::Kind;
use crate::transport::{Ended, Exit, sudo};

/// Says what a status of rsync means, with the line that tells why.
pub(super) fn meaning(exit: &Exit, stderr: &str) -> (Kind, String, Option<String>) {
    let why = |needles: &[&str]| {
        stderr
            .lines()
            .map(str::trim)
            .find(|line| needles.iter().any(|needle| line.contains(needle)))
    };
    let first = || {
        let mut lines = stderr.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.next().unwrap_or("rsync says nothing").to_owned()
    };
    if let Some(refusal) = sudo::refusal(stderr) {
        let hint = Some(refusal.hint.to_owned());
        return (Kind::Denied, format!("at the other side of rsync, {}", refusal.why), hint);
    }
    if let Some(line) = why(&["No space left on device", "Disk quota exceeded"]) {
        return (Kind::Conflict, format!("no space left at the target of rsync: {line}"), None);
    }
    let code = match &exit.ended {
        Ended::Signal(name) => {
            return (Kind::Exit, format!("rsync was ended by signal {name}"), None);
        }
        Ended::Code(code) => *code,
    };
    let all = "The failure's `stderr` holds every line.".to_owned();
    match code {
        23 => {
            let kind = if why(&["Permission denied", "Operation not permitted"]).is_some() {
                Kind::Denied
            } else if why(&["No such file or directory"]).is_some() {
                Kind::NotFound
            } else {
                Kind::Exit
            };
            let count = stderr.lines().filter(|line| line.starts_with("rsync: ")).count();
            (
                kind,
                format!("rsync could not copy everything ({count} errors): {}", first()),
                Some(all),
            )
        }
        20 => (Kind::Exit, format!("rsync was interrupted: {}", first()), None),
        127 => (
            Kind::NotFound,
            "rsync is not installed".to_owned(),
            Some("Install the package `rsync` there.".to_owned()),
        ),
        1 | 2 | 4 => (Kind::Input, format!("rsync does not accept this: {}", first()), None),
        5 | 10 | 12 | 30 | 35 | 255 => {
            (Kind::Connect, format!("rsync cannot reach or lost the other side: {}", first()), None)
        }
        code => (Kind::Exit, format!("rsync ended with status {code}: {}", first()), Some(all)),
    }
}
