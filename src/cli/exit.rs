//! What the exit status says to whoever started the program.

use std::process::ExitCode;

use crate::error::Stop;
use crate::event::Status;

/// How the program ends. The numbers are a contract with scripts and monitoring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Exit {
    /// 0: all done, nothing owed.
    Done,
    /// 1: it failed, and everything that it had changed is undone.
    RolledBack,
    /// 2: usage, configuration or script are wrong; nothing was done.
    Invalid,
    /// 3: paused; `resume` takes it up.
    Paused,
    /// 4: it failed and is not fully undone, or something is still owed.
    Failed,
    /// 5: it is not known whether a change happened; somebody must decide.
    Unknown,
    /// 6: the journal is locked by another process, damaged, or does not match the script.
    Journal,
    /// 7: a dead-man switch fired on a target.
    DeadMan,
    /// 130: interrupted, and paused by that.
    Interrupted,
    /// 1 to 100: on so many targets a command failed; 101: on more.
    Targets(usize),
}

impl Exit {
    /// Returns the number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::RolledBack => 1,
            Self::Invalid => 2,
            Self::Paused => 3,
            Self::Failed => 4,
            Self::Unknown => 5,
            Self::Journal => 6,
            Self::DeadMan => 7,
            Self::Interrupted => 130,
            Self::Targets(failed) => u8::try_from(failed.min(101)).unwrap_or(101),
        }
    }

    /// Returns the status for a run that was ended by `stop`.
    pub fn of_stop(stop: &Stop) -> Self {
        match stop {
            Stop::Cancelled => Self::Interrupted,
            Stop::Paused(pause) if pause.unknown => Self::Unknown,
            Stop::Paused(_) | Stop::Fenced(_) => Self::Paused,
            Stop::Fired(_) => Self::DeadMan,
            Stop::Mismatch(_) | Stop::Journal(_) | Stop::EndOfRecord => Self::Journal,
            Stop::Limit(_) => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl From<Status> for Exit {
    /// Reads off how a run stands. A run that still counts as running has lost its process, and can be resumed.
    fn from(status: Status) -> Self {
        match status {
            Status::Done | Status::Planned => Self::Done,
            Status::RolledBack => Self::RolledBack,
            Status::Paused | Status::Running => Self::Paused,
            Status::Failed => Self::Failed,
            Status::Unknown => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Pause;

    #[test]
    fn every_end_of_a_run_has_the_documented_number() {
        let numbers = [
            Status::Done,
            Status::Planned,
            Status::RolledBack,
            Status::Paused,
            Status::Running,
            Status::Failed,
            Status::Unknown,
        ]
        .map(|status| Exit::from(status).code());
        assert_eq!(numbers, [0, 0, 1, 3, 3, 4, 5]);
    }

    #[test]
    fn every_stop_has_the_documented_number() {
        let paused = |unknown| Stop::Paused(Pause { why: String::new(), until: None, unknown });
        let numbers = [
            Stop::Cancelled,
            paused(false),
            paused(true),
            Stop::Journal(String::new()),
            Stop::EndOfRecord,
            Stop::Fired(String::new()),
        ]
        .map(|stop| Exit::of_stop(&stop).code());
        assert_eq!(numbers, [130, 3, 5, 6, 6, 7]);
        assert_eq!((Exit::Invalid.code(), Exit::DeadMan.code()), (2, 7));
    }
}
