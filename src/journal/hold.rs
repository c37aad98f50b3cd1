//! The right to drive a run: a file lock, so that it ends with the process however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::JournalError;

/// Held as long as the value lives.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "the lock lives as long as the open file")] File);

impl Hold {
    /// Takes the lock file of a run in `dir`.
    ///
    /// # Errors
    /// [`JournalError::Held`] with the process id of the holder.
    pub(super) fn take(dir: &Path, run: &str) -> Result<Self, JournalError> {
        let path = dir.join(format!("{run}.lock"));
        let failed =
            |error: std::io::Error| JournalError::Io { path: path.clone(), why: error.to_string() };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut who = String::new();
                let _unknown = file.read_to_string(&mut who);
                let who = if who.is_empty() { String::new() } else { format!(" ({})", who.trim()) };
                return Err(JournalError::Held { run: run.to_owned(), who });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        file.write_all(format!("process {}\n", std::process::id()).as_bytes()).map_err(failed)?;
        Ok(Self(file))
    }

    /// Returns whether some process holds the run.
    pub(super) fn is_taken(dir: &Path, run: &str) -> bool {
        let Ok(file) = File::open(dir.join(format!("{run}.lock"))) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}
