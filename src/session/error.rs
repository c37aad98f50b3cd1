//! Why a session, an order or a run cannot begin. Nothing was done.

use std::path::PathBuf;

use super::config::ConfigErrors;
use super::params::ParamError;
use crate::error::{Failure, Halt, Stop};
use crate::journal::JournalError;
use crate::script::ScriptError;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The script is wrong.
    #[error("{}", .0.first().map_or_else(String::new, ToString::to_string))]
    Script(Vec<ScriptError>),
    /// Parameters are wrong or missing.
    #[error("{}", .0.first().map_or_else(String::new, |error| error.message.clone()))]
    Params(Vec<ParamError>),
    /// The journal cannot be used.
    #[error("{0}")]
    Journal(#[from] JournalError),
    /// A target cannot be reached, a selector names none, a secret cannot be had.
    #[error("{0}")]
    Failure(Box<Failure>),
    /// The run ended before it began.
    #[error("{0}")]
    Stop(Stop),
    /// There is no directory for the journal.
    #[error(
        "there is no directory for the journal: neither --state, nor XDG_STATE_HOME, nor HOME is set"
    )]
    NoState,
    /// The runbook was changed since the run began.
    #[error("{} was changed since run {run} began", path.display())]
    Changed {
        /// The run.
        run: String,
        /// The file.
        path: PathBuf,
        /// The difference, as a unified diff.
        diff: String,
    },
    /// The run is through, and what it kept for undo is removed.
    #[error("run {run} cannot be undone: it is through, and what it kept for that is removed ({what})")]
    Gone {
        /// The run.
        run: String,
        /// The newest change that cannot be taken back.
        what: String,
    },
    /// The run has ended and cannot be taken up.
    #[error("run {run} cannot be taken up: it is {status}")]
    Over {
        /// The run.
        run: String,
        /// How it stands.
        status: &'static str,
    },
    /// The run was typed at the REPL: there is no script to go on with.
    #[error("run {run} was a session of the REPL, which cannot be gone on with")]
    Typed {
        /// The run.
        run: String,
    },
}

impl From<ScriptError> for SessionError {
    fn from(error: ScriptError) -> Self {
        Self::Script(vec![error])
    }
}

impl From<Halt> for SessionError {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Failure(failure) => Self::Failure(failure),
            Halt::Stop(stop) => Self::Stop(stop),
        }
    }
}
