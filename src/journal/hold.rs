//! The right to drive a run: a file lock, so that it ends with the process however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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
        // What was asked of a process before this one is not meant for this one.
        take_pause(dir, run)?;
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

/// The request that a run be paused.
fn request(dir: &Path, run: &str) -> PathBuf {
    dir.join(format!("{run}.pause"))
}

/// Leaves the request for whoever holds the run.
pub(super) fn ask_pause(dir: &Path, run: &str) -> Result<(), JournalError> {
    let path = request(dir, run);
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map(drop)
        .map_err(|error| JournalError::Io { path, why: error.to_string() })
}

/// Takes the request away; returns whether there was one.
pub(super) fn take_pause(dir: &Path, run: &str) -> Result<bool, JournalError> {
    let path = request(dir, run);
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(JournalError::Io { path, why: error.to_string() }),
    }
}
