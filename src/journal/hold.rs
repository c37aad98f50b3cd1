//! The right to drive a run: a file lock, so that it ends with the process however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::{JournalError, fault};

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
        let failed = |error: std::io::Error| fault::of_system(&path, &error);
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
                return Err(JournalError::Held { run: run.to_owned(), who: holder(&mut file) });
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

/// Says which process has the lock, as ` (process 123)`. One that has only just taken it has not said so yet, and the
/// file names the one before it.
fn holder(file: &mut File) -> String {
    for _ in 0..50 {
        let mut text = String::new();
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        let pid = text.trim().strip_prefix("process ").and_then(|pid| pid.parse().ok());
        let alive = pid
            .and_then(Pid::from_raw)
            .is_some_and(|pid| !matches!(test_kill_process(pid), Err(Errno::SRCH)));
        if read.is_ok() && alive {
            return format!(" ({})", text.trim());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    String::new()
}

/// Removes what is left of a run that is removed itself.
pub(super) fn forget(dir: &Path, run: &str) {
    let _gone = std::fs::remove_file(dir.join(format!("{run}.lock")));
    let _gone = std::fs::remove_file(request(dir, run));
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
        .map_err(|error| fault::of_system(&path, &error))
}

/// Takes the request away; returns whether there was one.
pub(super) fn take_pause(dir: &Path, run: &str) -> Result<bool, JournalError> {
    let path = request(dir, run);
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(fault::of_system(&path, &error)),
    }
}
