//! The embedded store: `SQLite` in WAL mode with `synchronous=FULL`. docs/journal.md describes the format.

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use jiff::Timestamp;

use super::{
    Body, DebtChange, DebtRow, Hold, JournalError, Record, RunInfo, Source, Store, SwitchRow,
    fault, hold,
};
use crate::event::Status;
use crate::failpoint::Failpoint;
use reader::Reader;
use writer::{Ack, Broken, Job, Writer};

mod prune;
mod reader;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

/// A journal in a directory of its own.
pub struct Sqlite {
    path: PathBuf,
    locks: PathBuf,
    jobs: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    broken: Broken,
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Opens the journal in `dir`, making both if need be (0700, 0600). One of an older format is brought up to the
    /// present one.
    ///
    /// # Errors
    /// [`JournalError::Io`] with the file and the cause, [`JournalError::Future`] for a later format.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join("journal.db");
        let locks = dir.join("locks");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&locks)
            .map_err(|error| fault::of_system(&locks, &error))?;
        // One process at a time: a file that is turned into a journal is locked in a way that nobody waits for.
        let opening = locks.join("opening");
        let _opening = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&opening)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|error| fault::of_system(&opening, &error))?;
        make_private(&path).map_err(|error| fault::of_system(&path, &error))?;
        let mut connection = schema::connect(&path).map_err(|error| fault::of(&path, &error))?;
        schema::prepare(&mut connection, &path)?;
        let io = |why: String| JournalError::Io { path: path.clone(), why };
        let failpoint = Failpoint::from_environment().map_err(io)?;
        let (jobs, inbox) = channel();
        let broken = Broken::default();
        let writer = Writer { connection, path: path.clone(), broken: broken.clone(), failpoint };
        let writer = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&inbox))
            .map_err(|error| io(error.to_string()))?;
        Ok(Self { path, locks, jobs: Some(jobs), writer: Some(writer), broken })
    }

    fn send(&self, job: Job) -> Result<(), JournalError> {
        self.broken.check()?;
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if sent { Ok(()) } else { Err(self.ended()) }
    }

    fn wait(&self, job: impl FnOnce(Ack) -> Job) -> Result<(), JournalError> {
        let (ack, done) = channel();
        self.send(job(ack))?;
        done.recv().unwrap_or_else(|_| Err(self.ended()))
    }

    fn ended(&self) -> JournalError {
        JournalError::Io { path: self.path.clone(), why: "its writer thread has ended".to_owned() }
    }
}

/// Makes the file before `SQLite` does, so that no moment exists in which others could read it. The files beside it take
/// their mode from it.
fn make_private(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
                fs::set_permissions(path, Permissions::from_mode(0o600))?;
            }
            Ok(())
        }
        made => made.map(drop),
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(writer) = self.writer.take() {
            let _ended = writer.join();
        }
    }
}

impl Store for Sqlite {
    fn create(&self, run: &RunInfo) -> Result<(), JournalError> {
        self.wait(|ack| Job::Create { run: Box::new(run.clone()), ack })
    }

    fn append(&self, run: &str, body: Body) -> Result<(), JournalError> {
        let (run, at, body) = (run.to_owned(), Timestamp::now(), Box::new(body));
        self.send(Job::Append { run, at, body, debts: Vec::new(), ack: None })
    }

    fn append_durable(
        &self,
        run: &str,
        body: Body,
        debts: Vec<DebtChange>,
    ) -> Result<(), JournalError> {
        let (run, at, body) = (run.to_owned(), Timestamp::now(), Box::new(body));
        self.wait(|ack| Job::Append { run, at, body, debts, ack: Some(ack) })
    }

    fn turn(
        &self,
        run: &str,
        body: Body,
        status: Status,
        due: Option<Timestamp>,
    ) -> Result<(), JournalError> {
        let (run, at, body) = (run.to_owned(), Timestamp::now(), Box::new(body));
        self.wait(|ack| Job::Turn { run, at, body, status, due, ack })
    }

    fn set_sources(&self, run: &str, sources: &[Source]) -> Result<(), JournalError> {
        self.wait(|ack| Job::Sources { run: run.to_owned(), sources: sources.to_vec(), ack })
    }

    fn records(&self, run: &str) -> Result<Vec<Record>, JournalError> {
        Reader::open(&self.path)?.records(run)
    }

    fn runs(&self) -> Result<Vec<RunInfo>, JournalError> {
        Reader::open(&self.path)?.runs()
    }

    fn find(&self, name: &str) -> Result<RunInfo, JournalError> {
        Reader::open(&self.path)?.find(name)
    }

    fn debts(&self) -> Result<Vec<DebtRow>, JournalError> {
        Reader::open(&self.path)?.debts()
    }

    fn switches(&self) -> Result<Vec<SwitchRow>, JournalError> {
        Reader::open(&self.path)?.switches()
    }

    fn prune(&self, runs: &[String]) -> Result<Vec<String>, JournalError> {
        let removed = prune::remove(&self.path, runs, &|run| self.is_held(run))?;
        for run in &removed {
            hold::forget(&self.locks, run);
        }
        Ok(removed)
    }

    fn hold(&self, run: &str) -> Result<Hold, JournalError> {
        Hold::take(&self.locks, run)
    }

    fn is_held(&self, run: &str) -> bool {
        Hold::is_taken(&self.locks, run)
    }

    fn ask_pause(&self, run: &str) -> Result<(), JournalError> {
        hold::ask_pause(&self.locks, run)
    }

    fn take_pause(&self, run: &str) -> Result<bool, JournalError> {
        hold::take_pause(&self.locks, run)
    }
}
