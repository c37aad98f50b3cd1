//! The journal's format: what one record holds. Records are JSON in the store's `records` table; the format's version
//! is [`FORMAT`]. docs/journal.md describes all of it, and the journals of every format in `tests/data/journal` are read
//! by every later version.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::{Access, CallKey};
use crate::error::{Failure, Place};
use crate::event::{DeadmanState, Status};

/// The version of the format that this program writes.
pub const FORMAT: u32 = 2;

/// How a change can be taken back, recorded with its intent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "inverse", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Inverse {
    /// By this action.
    Action {
        /// The action's name.
        name: String,
        /// Its data.
        action: Value,
        /// What it does, for people.
        summary: String,
    },
    /// There is nothing to take back, for this reason.
    Nothing {
        /// Why.
        why: String,
    },
    /// It cannot be taken back, for this reason.
    Impossible {
        /// Why.
        why: String,
    },
}

impl Inverse {
    /// Says it for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Action { summary, .. } => format!("undo: {summary}"),
            Self::Nothing { why } => format!("nothing to undo: {why}"),
            Self::Impossible { why } => format!("cannot be undone: {why}"),
        }
    }
}

/// Something switched off that is owed back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Debt {
    /// What identifies it on its target: `service obsr`, `replication ahsay_obs`.
    pub key: String,
    /// What is owed, for people: `service obsr running`.
    pub what: String,
    /// Whether users are locked out as long as it is open.
    pub locks_out: bool,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It returned this value.
    Done {
        /// The value.
        value: Value,
        /// Whether something changed.
        changed: bool,
        /// The result in a few words, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        words: Option<String>,
    },
    /// It failed.
    Failed {
        /// How.
        failure: Failure,
    },
}

/// What one record holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Body {
    /// A change or wait is about to be applied. Durable before anything happens.
    Intent {
        /// The call.
        call: CallKey,
        /// Its kind.
        access: Access,
        /// The target it acts on.
        target: String,
        /// What it does, for people.
        summary: String,
        /// The action's data.
        action: Value,
        /// The state found before.
        before: Value,
        /// How to take it back.
        inverse: Inverse,
        /// The obligation it opens.
        opens: Option<Debt>,
        /// The key of the obligation that it meets.
        closes: Option<String>,
        /// Where it stands in the runbook.
        place: Option<Place>,
        /// The boot id of the target, if it switches something off: in a later boot that may be on again by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        boot: Option<String>,
        /// Whether it was done before, and a reboot of the target took it back: it is done again, and its first outcome
        /// stays the answer.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
    },
    /// What became of an intent.
    Outcome {
        /// The call.
        call: CallKey,
        /// How it ended.
        outcome: Outcome,
    },
    /// A call without an intent: a read, an answer, or a change that was so already.
    Call {
        /// The call.
        call: CallKey,
        /// Its kind.
        access: Access,
        /// The target it acted on.
        target: String,
        /// What it does, for people.
        summary: String,
        /// The action's data.
        action: Value,
        /// How it ended.
        outcome: Outcome,
        /// The key of the obligation that it meets.
        closes: Option<String>,
        /// Where it stands in the runbook.
        place: Option<Place>,
    },
    /// How a dead-man switch stands. About to be armed: durable before that happens.
    Deadman {
        /// The call whose change it takes back.
        call: CallKey,
        /// The target.
        target: String,
        /// The key of the obligation whose end disarms it; without one, the end of the run does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// What the change does, for people.
        what: String,
        /// How long the target waits for us, in milliseconds.
        after_ms: u64,
        /// Whether its deadline does not move on.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        fixed: bool,
        /// How it stands.
        state: DeadmanState,
    },
    /// A step begins or ends; for reports and learned durations, not for replay.
    Step {
        /// The lane.
        lane: String,
        /// The step's path.
        step: String,
        /// Whether it begins.
        begins: bool,
        /// Whether it ended well.
        ok: bool,
    },
    /// A lane begins of which a replay must know that it did, whether or not it calls anything.
    LaneBegan {
        /// The lane.
        lane: String,
    },
    /// A note or warning, for reports.
    Note {
        /// The text.
        text: String,
        /// Whether it is a warning.
        warning: bool,
    },
    /// Undo of the run was decided on; from here on a resume goes on undoing.
    UndoBegan {
        /// Why.
        why: String,
        /// The failure that led to it.
        failure: Option<Failure>,
        /// Whether the operator asked for it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        asked: bool,
    },
    /// A process took the run up.
    Resumed {
        /// The process id of the program.
        pid: u32,
    },
    /// The script is through. What the run kept on its targets for undo is removed now, so that from here on the run
    /// can only end.
    Closing,
    /// The run paused or ended; names the calls whose failure did it, which are tried again by `resume`.
    Ended {
        /// How.
        status: Status,
        /// The failed calls that ended the run.
        failed: Vec<String>,
        /// A sentence for people.
        message: String,
    },
}

/// A record with its place in the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The number in the run, from 1.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// What it holds.
    pub body: Body,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That none is missing there is tested in `tests/journal`.
    #[test]
    fn the_examples_of_the_documentation_are_read_and_written_as_they_stand() {
        let text = include_str!("../../docs/journal.md");
        let mut found = 0;
        for part in text.split("```json\n").skip(1) {
            let json = part.split("```").next().unwrap();
            let value: Value = serde_json::from_str(json).unwrap();
            let body: Body =
                serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in {json}"));
            assert_eq!(serde_json::to_value(&body).unwrap(), value);
            found += 1;
        }
        assert!(found >= 11, "{found}");
    }
}
