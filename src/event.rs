//! What a run tells while it goes: one stream for the terminal, `--json`, reports and embedding programs.
//! Everything in it is redacted already.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::call::Access;
use crate::error::{Failure, Place};

/// An event with where and when it happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The run's id.
    pub run: String,
    /// The lane.
    pub lane: String,
    /// The steps around it, joined by ` > `.
    pub step: String,
    /// The target that the lane acts on.
    pub target: String,
    /// The event proper.
    pub what: What,
}

/// How a call ended, for display.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CallEnd {
    /// It did what it should; something changed.
    Done,
    /// It was so already; nothing was done.
    Already,
    /// Its outcome was taken from the journal.
    Recalled,
    /// It failed.
    Failed(Failure),
    /// It was stopped before its end (interrupt, pause).
    Stopped(String),
}

/// Where a long call stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// How much is done, in `unit`s.
    pub done: u64,
    /// How much there is, if known.
    pub total: Option<u64>,
    /// `bytes`, `users`, `seconds`, …
    pub unit: String,
    /// A few words on what is under way.
    pub message: String,
    /// Seconds to go, if they can be told.
    pub eta_seconds: Option<u64>,
}

/// What plan mode says of one call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// `would`, `already`, `waits`, `asks`.
    pub state: PlanState,
    /// What would change, a line each.
    pub changes: Vec<String>,
    /// How it would be undone: `undo: …`, `cannot be undone: …`, `nothing to undo`.
    pub undo: Option<String>,
    /// What somebody changed since that it would meet, where it takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
}

/// The state of a call in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanState {
    /// It would change something.
    Would,
    /// It is so already.
    Already,
    /// It would wait.
    Waits,
    /// It would ask.
    Asks,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// A process drives it, or did until it died.
    Running,
    /// It can be resumed.
    Paused,
    /// All done, nothing owed.
    Done,
    /// It failed, and what it had changed is undone.
    RolledBack,
    /// It failed and is not fully undone, or obligations are open.
    Failed,
    /// The outcome of a change is unknown and needs a decision; resumable.
    Unknown,
    /// A plan: nothing was done.
    Planned,
}

impl Status {
    /// Returns the words for people, journal and `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::RolledBack => "rolled back",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Planned => "planned",
        }
    }

    /// Reads what [`Status::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Running,
            Self::Paused,
            Self::Done,
            Self::RolledBack,
            Self::Failed,
            Self::Unknown,
            Self::Planned,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
    }
}

/// How a dead-man switch stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "deadman", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeadmanState {
    /// It is about to be armed.
    Arming {
        /// When it is to fire.
        due: Timestamp,
    },
    /// It is armed.
    Armed {
        /// When it fires unless its deadline is moved on.
        due: Timestamp,
        /// What waits on the target: `systemd`, `at` or `sh`.
        by: String,
        /// Whether it survives a reboot of the target.
        reboot: bool,
    },
    /// It was disarmed.
    Disarmed,
    /// It fired: the change was taken back on the target.
    Fired {
        /// When.
        at: Timestamp,
        /// How the inverse ended; none if that is not known.
        status: Option<i32>,
    },
    /// It is not there any more, and did not fire.
    Gone,
}

impl DeadmanState {
    /// Says it for people; `what` is what the change does.
    pub fn say(&self, what: &str) -> String {
        let time = |at: &Timestamp| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        match self {
            Self::Arming { due } => {
                format!("dead-man switch to be armed: {what}, until {}", time(due))
            }
            Self::Armed { due, by, reboot } => {
                let note = match (by.as_str(), reboot) {
                    ("at", _) => " (by at, rounded up to the minute)".to_owned(),
                    (by, true) => format!(" (by {by})"),
                    (by, false) => {
                        format!(" (by {by}; it does not survive a reboot of the target)")
                    }
                };
                format!(
                    "dead-man switch armed: {what}, taken back at {} without us{note}",
                    time(due)
                )
            }
            Self::Disarmed => format!("dead-man switch disarmed: {what}"),
            Self::Fired { at, status: Some(0) } => {
                format!("dead-man switch fired at {} and took this back: {what}", time(at))
            }
            Self::Fired { at, status: Some(status) } => format!(
                "dead-man switch fired at {}, but what was to take it back ended with status {status}: {what}",
                time(at)
            ),
            Self::Fired { at, status: None } => format!(
                "dead-man switch fired by {}, and it is not known how that ended: {what}",
                time(at)
            ),
            Self::Gone => {
                format!("dead-man switch is not armed any more, and did not fire: {what}")
            }
        }
    }
}

/// Says for people that a reboot of the target took back what the run had done there, and that it is done again.
pub fn on_again(target: &str, summary: &str) -> String {
    format!("a reboot of {target} took this back, so it is done again: {summary}")
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// A run begins, resumes or is planned.
    RunBegan {
        /// The runbook's title.
        title: String,
        /// The script's path.
        runbook: String,
        /// The targets named.
        targets: Vec<String>,
        /// `run`, `plan`, `resume`, `rollback`.
        mode: String,
    },
    /// A wave of lanes begins.
    WaveBegan {
        /// Which, from 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// The targets or items that go now.
        items: Vec<String>,
    },
    /// A wave is over: nothing of it runs any more.
    WaveEnded {
        /// Which, from 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// How many are through.
        done: usize,
        /// Those that failed, and were taken back.
        failed: Vec<String>,
        /// Those in a wait of days, which are neither.
        waits: Vec<String>,
    },
    /// A step begins; `lane` and `step` of the event name it.
    StepBegan,
    /// A step ended.
    StepEnded {
        /// Whether it ended well.
        ok: bool,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// A call begins.
    CallBegan {
        /// The call's identity.
        call: String,
        /// What it does, for people.
        summary: String,
        /// Its kind.
        access: Access,
        /// Where it stands in the runbook.
        place: Option<Place>,
    },
    /// A call goes on.
    CallProgress {
        /// The call's identity.
        call: String,
        /// Where it stands.
        progress: Progress,
    },
    /// A line of output of a command.
    Output {
        /// The call's identity.
        call: String,
        /// Whether it is standard error.
        error: bool,
        /// The line, redacted, without its end.
        line: String,
    },
    /// A call ended.
    CallEnded {
        /// The call's identity.
        call: String,
        /// What it did, for people.
        summary: String,
        /// How.
        end: CallEnd,
        /// A few words on the result (`36 users`, `12 files, 3 MiB`), if there is something to say.
        result: Option<String>,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// Plan mode's word on a call.
    CallPlanned {
        /// The call's identity.
        call: String,
        /// What it does, for people.
        summary: String,
        /// Its kind.
        access: Access,
        /// What it would do.
        planned: Planned,
    },
    /// What the script printed.
    Printed {
        /// The text.
        text: String,
    },
    /// A note of the runbook.
    Note {
        /// The text.
        text: String,
    },
    /// A warning of the runbook or of the host.
    Warning {
        /// The text.
        text: String,
    },
    /// Something was switched off and is owed back.
    DebtOpened {
        /// What is owed (`replication on`, `users enabled`).
        what: String,
        /// Whether users are locked out by it.
        locks_out: bool,
    },
    /// An obligation was met.
    DebtClosed {
        /// What had been owed.
        what: String,
        /// Whether users had been locked out by it.
        locks_out: bool,
    },
    /// A dead-man switch was armed, was disarmed or fired.
    Deadman {
        /// What the change does that it takes back.
        what: String,
        /// How it stands.
        state: DeadmanState,
    },
    /// The point of no return was passed.
    PointOfNoReturn {
        /// Why there is no way back on its own.
        why: String,
    },
    /// Undo begins.
    UndoBegan {
        /// Why.
        why: String,
    },
    /// Undo ended.
    UndoEnded {
        /// How many undos were done.
        done: u32,
        /// How many failed.
        failed: u32,
    },
    /// The run pauses or ends.
    RunEnded {
        /// How.
        status: Status,
        /// A sentence for people.
        message: String,
        /// The failure that ended it, if one did.
        failure: Option<Failure>,
        /// How long users were locked out in all, in milliseconds.
        downtime_ms: u64,
        /// How long it took, in milliseconds.
        took_ms: u64,
        /// What is still owed.
        debts: Vec<String>,
        /// The command to type next, if there is one.
        next: Option<String>,
    },
}
