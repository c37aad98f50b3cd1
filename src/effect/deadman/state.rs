//! Which switches of a run are armed, as this process knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Deadman;
use crate::call::CallKey;
use crate::event::DeadmanState;
use crate::journal::{Body, Record};

/// A switch that may be armed.
#[derive(Clone, Debug)]
pub(super) struct Armed {
    pub(super) call: CallKey,
    pub(super) target: String,
    /// The obligation whose end disarms it.
    pub(super) key: Option<String>,
    pub(super) what: String,
    pub(super) deadman: Deadman,
    pub(super) due: Timestamp,
    /// What waits on the target, and whether it survives a reboot of it; none if that is not known.
    pub(super) by: Option<(String, bool)>,
    pub(super) extended: Instant,
    /// Whether the target must be asked before anything else is done there.
    pub(super) doubt: bool,
    pub(super) warned: bool,
    /// Whether another run has taken the target over, so that the deadline is not ours to move on any more.
    pub(super) displaced: bool,
}

impl Armed {
    /// Makes one that is to be asked about.
    pub(super) fn new(
        call: CallKey,
        target: String,
        key: Option<String>,
        what: String,
        deadman: Deadman,
        due: Timestamp,
    ) -> Self {
        Self {
            call,
            target,
            key,
            what,
            deadman,
            due,
            by: None,
            extended: Instant::now(),
            doubt: true,
            warned: false,
            displaced: false,
        }
    }

    /// Returns the record that it stands so.
    pub(super) fn record(&self, state: DeadmanState) -> Body {
        Body::Deadman {
            call: self.call.clone(),
            target: self.target.clone(),
            key: self.key.clone(),
            what: self.what.clone(),
            after_ms: self.deadman.after_ms,
            fixed: self.deadman.fixed,
            state,
        }
    }
}

/// What is known of the switches of a run.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) armed: BTreeMap<String, Armed>,
    /// The targets of which a thread moves the deadlines on.
    pub(super) kept: BTreeSet<String>,
    /// The calls that were taken back whole, and whose state nothing else tells.
    pub(super) taken: BTreeSet<String>,
    /// What was found fired by this process, by target.
    pub(super) fired: BTreeMap<String, String>,
}

impl State {
    /// Remembers a call that was taken back. With an obligation, the opposite call looks by itself whether it is met.
    pub(super) fn took(&mut self, call: &CallKey, key: Option<&str>, now: &DeadmanState) {
        if matches!(now, DeadmanState::Fired { status: Some(0), .. }) && key.is_none() {
            self.taken.insert(call.to_string());
        }
    }
}

/// The switches of a run.
#[derive(Debug, Default)]
pub struct Switches(Mutex<State>);

impl Switches {
    /// Reads from a run's records which ones may still be armed.
    pub fn new(records: &[Record]) -> Self {
        let mut state = State::default();
        for record in records {
            let Body::Deadman { call, target, key, what, after_ms, fixed, state: now } =
                &record.body
            else {
                continue;
            };
            match now {
                DeadmanState::Arming { due } | DeadmanState::Armed { due, .. } => {
                    let deadman = Deadman { after_ms: *after_ms, fixed: *fixed };
                    let (call, target) = (call.clone(), target.clone());
                    let name = call.to_string();
                    let mut armed =
                        Armed::new(call, target, key.clone(), what.clone(), deadman, *due);
                    if let DeadmanState::Armed { by, reboot, .. } = now {
                        armed.by = Some((by.clone(), *reboot));
                    }
                    state.taken.remove(&name);
                    state.armed.insert(name, armed);
                }
                _ => {
                    state.armed.remove(&call.to_string());
                    state.took(call, key.as_deref(), now);
                }
            }
        }
        Self(Mutex::new(state))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the target anew before the next call on it: the way to it was broken.
    pub(in crate::effect) fn doubt(&self, target: &str) {
        self.state().armed.values_mut().filter(|it| it.target == target).for_each(|it| {
            it.doubt = true;
        });
    }

    pub(super) fn doubtful(&self, target: &str, now: Timestamp) -> Vec<Armed> {
        let state = self.state();
        let all = state.armed.values().filter(|it| it.target == target);
        all.filter(|it| it.doubt || it.due <= now).cloned().collect()
    }

    /// Returns what was found fired on the target by this process.
    pub(in crate::effect) fn fired(&self, target: &str) -> Option<String> {
        self.state().fired.get(target).cloned()
    }

    pub(super) fn of(&self, target: &str, key: &str) -> Vec<Armed> {
        let state = self.state();
        let all = state.armed.values().filter(|it| it.target == target);
        all.filter(|it| it.key.as_deref() == Some(key)).cloned().collect()
    }

    /// Says which are armed, and until when, for people.
    pub fn armed(&self) -> Vec<String> {
        let state = self.state();
        let all = state.armed.values();
        all.map(|it| {
            let due = it.due.strftime("%Y-%m-%d %H:%M:%S UTC");
            format!("{} on {} is taken back at {due}", it.what, it.target)
        })
        .collect()
    }

    /// Returns whether a call is known to have been taken back by its switch.
    pub(in crate::effect) fn has_taken(&self, call: &CallKey) -> bool {
        self.state().taken.contains(&call.to_string())
    }

    /// Returns those whose deadline is to be moved on now: a third of the time is over.
    pub(super) fn to_extend(&self, target: &str) -> Vec<Armed> {
        let mut state = self.state();
        let due = state.armed.values_mut().filter(|it| {
            let third = Duration::from_millis(it.deadman.after_ms) / 3;
            it.target == target
                && !it.deadman.fixed
                && !it.displaced
                && it.extended.elapsed() >= third
        });
        due.map(|it| {
            it.extended = Instant::now();
            it.clone()
        })
        .collect()
    }
}
