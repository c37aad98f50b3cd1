//! Says for people why the journal's file could not be read or written, and what to do about it.

use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::ErrorCode;
use rustix::process::{Resource, getrlimit};

use super::JournalError;
use crate::units::say_duration;

/// How long a write waits for another process that writes.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

const DAMAGED: &str = "it is damaged, and nothing more is written to it. Copy its directory away first; put a backup of \
    it back, or save what can be read with `sqlite3 journal.db .recover`. What is left on a target is listed by \
    `upgrade-host locks` and `clean`";

/// The error of a statement on the file at `path`.
pub(super) fn of(path: &Path, error: &rusqlite::Error) -> JournalError {
    JournalError::Io { path: path.to_owned(), why: say(path, error) }
}

/// The error of an operation of the system on `path`.
pub(super) fn of_system(path: &Path, error: &std::io::Error) -> JournalError {
    let why = match remedy(error.kind()) {
        Some(remedy) => format!("{error}; {remedy}"),
        None => error.to_string(),
    };
    JournalError::Io { path: path.to_owned(), why }
}

/// The error of a row that can be read and says nothing sound.
pub(super) fn damaged(path: &Path, what: &str) -> JournalError {
    JournalError::Io { path: path.to_owned(), why: format!("{what}; {DAMAGED}") }
}

fn say(path: &Path, error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => format!("{error}; {DAMAGED}"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => format!(
            "another process has kept it locked for {} ({error}); `fuser {}` says which",
            say_duration(PATIENCE),
            path.display()
        ),
        Some(ErrorCode::DiskFull) => remedied(&ErrorKind::StorageFull.into(), error),
        // SQLite does not tell what the system said. Whatever it was, it most likely still is so.
        Some(ErrorCode::SystemIoFailure | ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
            match obstacle(path) {
                Some(found) => remedied(&found, error),
                None => error.to_string(),
            }
        }
        _ => error.to_string(),
    }
}

fn remedied(found: &std::io::Error, error: &rusqlite::Error) -> String {
    match remedy(found.kind()) {
        Some(remedy) => format!("{error} ({found}); {remedy}"),
        None => format!("{error} ({found})"),
    }
}

/// Finds out why a file in the directory of `path`, or `path` itself, cannot be written to.
fn obstacle(path: &Path) -> Option<std::io::Error> {
    let open = std::fs::OpenOptions::new().write(true).open(path);
    if let Err(error) = open {
        return Some(error);
    }
    let probe = tempfile::tempfile_in(path.parent()?).and_then(|mut file| {
        file.write_all(&[0; 8192])?;
        file.sync_all()
    });
    if let Err(error) = probe {
        return Some(error);
    }
    let limit = getrlimit(Resource::Fsize).current?;
    let wal = path.with_extension("db-wal");
    let reached = [path, &wal]
        .into_iter()
        .filter_map(|file| file.metadata().ok())
        .any(|file| file.len() + 8192 > limit);
    reached.then(|| ErrorKind::FileTooLarge.into())
}

fn remedy(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::StorageFull => "make room on its file system",
        ErrorKind::QuotaExceeded => "make room within the quota, or raise it",
        ErrorKind::FileTooLarge => {
            "files may not grow any more here: raise the limit (`ulimit -f`)"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "its file system is read-only: see the kernel's log for why, and mount it for writing"
        }
        ErrorKind::PermissionDenied => {
            "let the user who runs this write there, or give another directory with --state"
        }
        _ => return None,
    })
}
