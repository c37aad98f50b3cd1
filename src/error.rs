//! The two ways in which a call does not return a value: a [`Failure`], which a runbook may catch, and a [`Stop`],
//! which it may not. Nothing here prints; `cli/ui.rs` and `script/diagnostic.rs` render.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What went wrong, from a closed list that runbooks may match on (`err.kind == "timeout"`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// A deadline passed.
    Timeout,
    /// A program ended with a status that was not expected.
    Exit,
    /// A target or address could not be reached, or the connection was lost.
    Connect,
    /// A target or service did not accept our credentials.
    Auth,
    /// A file, service, user or program is not there.
    NotFound,
    /// The target refused the operation.
    Denied,
    /// The state of the target contradicts the request.
    Conflict,
    /// A verification did not hold: what was set was not reached.
    Check,
    /// An argument, option, parameter or configuration value is wrong.
    Input,
    /// It cannot be told whether the effect happened.
    Unknown,
    /// The runbook gave up by itself (`throw`, `fail`).
    Script,
}

impl Kind {
    /// Returns the word that runbooks, journals and `--json` use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Exit => "exit",
            Self::Connect => "connect",
            Self::Auth => "auth",
            Self::NotFound => "not_found",
            Self::Denied => "denied",
            Self::Conflict => "conflict",
            Self::Check => "check",
            Self::Input => "input",
            Self::Unknown => "unknown",
            Self::Script => "script",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place in a runbook or in the standard library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The path as the user gave it, or `<stdlib>/name.rhai`, `<repl>`, `<-e>`.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// An error that a runbook may catch. Its message is a lower-case fragment without a full stop; the hint is a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind from the closed list.
    pub kind: Kind,
    /// What went wrong, as a fragment that reads after "error:".
    pub message: String,
    /// What to do about it, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The target on which it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The command that was run, quoted and redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The exit status of that command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The tail of its standard output, redacted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stdout: String,
    /// The tail of its standard error, redacted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr: String,
    /// The identity of the call that failed, as the journal has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// Where in the runbook the call stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Whether the way to the target broke, so that the call can be taken up again once it is back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

impl Failure {
    /// Makes a failure of `kind` that says `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            target: None,
            command: None,
            code: None,
            stdout: String::new(),
            stderr: String::new(),
            call: None,
            place: None,
            lost: false,
        }
    }

    /// Makes an input failure.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(Kind::Input, message)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the target.
    #[must_use]
    pub fn with_target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// Adds the place, unless one is known already.
    #[must_use]
    pub fn at(mut self, place: Option<Place>) -> Self {
        self.place = self.place.or(place);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(target) = &self.target {
            write!(f, " (on {target})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Why a recorded call and an attempted call do not fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The call that the journal has at this point; none if the journal has fewer calls in this lane.
    pub recorded: Option<String>,
    /// The call that the script makes now.
    pub attempted: String,
    /// One line per field that differs: `field: recorded → attempted`.
    pub differences: Vec<String>,
    /// Where in the runbook the attempted call stands.
    pub place: Option<Place>,
}

/// Why a run pauses, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The reason, as a fragment.
    pub why: String,
    /// When the run can go on by itself, if it waits for a time.
    pub until: Option<Timestamp>,
    /// Whether it pauses because the outcome of a change is unknown.
    pub unknown: bool,
}

/// Something that ends the evaluation of a runbook and that it cannot catch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// The operator asked to stop (Ctrl-C, SIGTERM).
    Cancelled,
    /// The run pauses; `resume` takes it up.
    Paused(Pause),
    /// Replay met a call that is not the recorded one. Never triggers undo.
    Mismatch(Box<Mismatch>),
    /// The journal could not be read or written. Nothing more is done without it.
    Journal(String),
    /// Another run has taken over a target of this one. Never triggers undo: this run has no say there any more.
    Fenced(String),
    /// A dead-man switch took a change of the run back, so that going on would be wrong.
    Fired(String),
    /// Replay for `rollback` has reached the end of what was recorded.
    EndOfRecord,
    /// A limit of the script engine was reached.
    Limit(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("interrupted"),
            Self::Paused(pause) => write!(f, "paused: {}", pause.why),
            Self::Mismatch(mismatch) => {
                write!(f, "the script does not match the journal at {}", mismatch.attempted)
            }
            Self::Journal(why) | Self::Fenced(why) | Self::Fired(why) => f.write_str(why),
            Self::EndOfRecord => f.write_str("end of the recorded calls"),
            Self::Limit(why) => write!(f, "limit reached: {why}"),
        }
    }
}

/// A [`Failure`] or a [`Stop`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// May be caught by the runbook.
    Failure(Box<Failure>),
    /// May not.
    Stop(Stop),
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failure(failure) => failure.fmt(f),
            Self::Stop(stop) => stop.fmt(f),
        }
    }
}

impl std::error::Error for Halt {}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failure(Box::new(failure))
    }
}

impl From<Box<Failure>> for Halt {
    fn from(failure: Box<Failure>) -> Self {
        Self::Failure(failure)
    }
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// The result of everything that acts.
pub type Result<T, E = Halt> = std::result::Result<T, E>;
