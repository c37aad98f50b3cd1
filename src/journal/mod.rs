//! The durable memory of runs. [`Store`] is what the rest of the program sees; [`Sqlite`] is the embedded one.
//! [`Cursor`] decides, without I/O, whether a call is answered from the record.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::Status;

mod cursor;
mod fault;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod hold;
mod record;
mod sqlite;
mod switches;

pub use cursor::{Cursor, Recall, Recorded};
#[cfg(any(test, fuzzing))]
pub use fuzz::fuzz;
pub use hold::Hold;
pub use record::{Body, Debt, FORMAT, Inverse, Outcome, Record};
pub use sqlite::Sqlite;
pub use switches::{SwitchRow, armed};

/// Why the journal cannot be used, and what to do about it. Nothing is done without it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Reading or writing failed.
    #[error("the journal at {} failed: {why}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        why: String,
    },
    /// It was written by a later version of this program.
    #[error("the journal at {} has format {found}, this program reads up to {FORMAT}; use the program that wrote it", path.display())]
    Future {
        /// The file.
        path: PathBuf,
        /// The format found.
        found: u32,
    },
    /// Another process drives the run.
    #[error("run {run} is being driven by another process{who}")]
    Held {
        /// The run.
        run: String,
        /// Which, if known.
        who: String,
    },
    /// There is no such run, or the beginning of its id is not unique.
    #[error("{0}")]
    NoSuchRun(String),
}

impl From<JournalError> for crate::error::Halt {
    fn from(error: JournalError) -> Self {
        crate::error::Stop::Journal(error.to_string()).into()
    }
}

/// What identifies and describes a run; recorded once, when it begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The id, `20261122-2020-k3f9`: sorts by time, can be spoken.
    pub id: String,
    /// The runbook's path as given, or `-e`, `repl`.
    pub runbook: String,
    /// Its title.
    pub title: String,
    /// The targets it acts on.
    pub targets: Vec<String>,
    /// Who runs it.
    pub operator: String,
    /// The version of this program.
    pub version: String,
    /// How it stands.
    pub status: Status,
    /// When it began.
    pub started: Timestamp,
    /// When it ended or paused last.
    pub ended: Option<Timestamp>,
    /// When it can go on by itself, if it waits for a time.
    pub due: Option<Timestamp>,
    /// Everything that the session needs to take it up: parameters, inventory, options.
    pub settings: Value,
    /// The script and every module, by name.
    pub sources: Vec<Source>,
}

/// The text of a script or module as it was when the run began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The path or `<stdlib>/name.rhai`.
    pub name: String,
    /// The text.
    pub text: String,
}

/// A change to the list of obligations, written in the same transaction as the record that causes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DebtChange {
    /// One opens.
    Open {
        /// The target.
        target: String,
        /// What.
        debt: Debt,
    },
    /// One is met.
    Close {
        /// The target.
        target: String,
        /// Its key.
        key: String,
    },
    /// One is kept on purpose.
    Keep {
        /// The target.
        target: String,
        /// Its key.
        key: String,
        /// Why.
        reason: String,
        /// Until when.
        due: Option<Timestamp>,
    },
}

/// An open obligation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebtRow {
    /// The target.
    pub target: String,
    /// What is owed.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
    /// The run that owes it.
    pub run: String,
    /// By when, if a time was set.
    pub due: Option<Timestamp>,
    /// Who started that run.
    pub by: String,
    /// What identifies it on its target.
    pub key: String,
    /// Whether users are locked out by it.
    pub locks_out: bool,
    /// Why it is kept, if it was handed over on purpose.
    pub kept: Option<String>,
}

impl std::fmt::Display for DebtRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {}", self.what, self.target)
    }
}

impl DebtRow {
    /// Returns whether it should have been met by now.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.due.is_some_and(|due| due < now)
    }
}

/// Where runs are remembered. Every method that returns `Ok` for a durable write has it on the disk.
pub trait Store: Send + Sync + fmt::Debug {
    /// Remembers a new run. Durable.
    fn create(&self, run: &RunInfo) -> Result<(), JournalError>;

    /// Adds a record; it keeps its order, and becomes durable at the latest with the next durable one.
    fn append(&self, run: &str, body: Body) -> Result<(), JournalError>;

    /// Adds a record and changes obligations in one transaction, and waits until both are durable.
    fn append_durable(
        &self,
        run: &str,
        body: Body,
        debts: Vec<DebtChange>,
    ) -> Result<(), JournalError>;

    /// Adds a record and changes how the run stands in one transaction, so that both tell the same. Durable.
    fn turn(
        &self,
        run: &str,
        body: Body,
        status: Status,
        due: Option<Timestamp>,
    ) -> Result<(), JournalError>;

    /// Replaces the recorded sources of a run, after the operator accepted a changed script. Durable.
    fn set_sources(&self, run: &str, sources: &[Source]) -> Result<(), JournalError>;

    /// Returns the records of a run in their order.
    fn records(&self, run: &str) -> Result<Vec<Record>, JournalError>;

    /// Returns all runs, newest first, as they are listed: without their settings and sources.
    fn runs(&self) -> Result<Vec<RunInfo>, JournalError>;

    /// Returns the run whose id begins with `name`, or the newest for `last`.
    fn find(&self, name: &str) -> Result<RunInfo, JournalError>;

    /// Returns the open obligations, newest first.
    fn debts(&self) -> Result<Vec<DebtRow>, JournalError>;

    /// Returns the dead-man switches that may be armed, over all runs, the one that fires first at the top.
    fn switches(&self) -> Result<Vec<SwitchRow>, JournalError>;

    /// Removes those of these runs that are over, owe nothing and are driven by nobody: all in one, or none. Returns
    /// which those were.
    fn prune(&self, runs: &[String]) -> Result<Vec<String>, JournalError>;

    /// Claims the right to drive a run, until the returned value is dropped.
    fn hold(&self, run: &str) -> Result<Hold, JournalError>;

    /// Returns whether a live process drives the run.
    fn is_held(&self, run: &str) -> bool;

    /// Asks the process that drives the run to pause it.
    fn ask_pause(&self, run: &str) -> Result<(), JournalError>;

    /// Returns whether the process that drives the run was asked to pause it, and takes the request away.
    fn take_pause(&self, run: &str) -> Result<bool, JournalError>;
}
