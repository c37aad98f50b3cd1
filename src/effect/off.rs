//! What the run has switched off, and in which boot of its target. A target that reboots may switch it on again by itself:
//! a service, an interface. So after each boot, before anything else is done there, the action of each is asked whether
//! it still is off, and what is on is switched off again: as the same call, on record before it begins; the script keeps
//! the first answer, and it is owed once, as before. Until all were asked, the fence holds back every change there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::call::CallKey;
use crate::event::DeadmanState;
use crate::journal::{Body, Debt, Outcome, Record};

mod look;

pub(super) use look::look;

/// How something stands that was switched off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// It still is off.
    Off,
    /// It is on.
    On,
    /// It cannot be told, for this reason.
    Unknown(String),
}

/// One thing that a call of the run has switched off.
#[derive(Clone, Debug)]
pub(super) struct Off {
    pub(super) call: CallKey,
    pub(super) target: String,
    pub(super) debt: Debt,
    pub(super) summary: String,
    pub(super) action: Value,
    pub(super) before: Value,
    /// The boot of the target in which it was off last; none if that was not noted.
    pub(super) boot: Option<String>,
    /// Whether the call is through, and it went off.
    pub(super) through: bool,
    /// Whether switching it off again was begun, in that boot.
    again: Option<String>,
    /// What was switched off after it, and hides it: it is looked at once that is on again.
    hidden_by: Option<String>,
    /// The call under way that is about this very thing, and looks at it by itself.
    claimed_by: Option<CallKey>,
    /// The call that is to switch it on again: it need not be off any more, but may still be, and hide others.
    closing: Option<CallKey>,
}

impl Off {
    /// Returns whether it must be off and may be on.
    fn is_in_doubt(&self, boot: &str) -> bool {
        let may_be_on = self.again.is_some() || self.boot.as_ref().is_some_and(|was| was != boot);
        let left_alone = [&self.claimed_by, &self.closing].into_iter().any(Option::is_some);
        self.through && may_be_on && self.hidden_by.is_none() && !left_alone
    }
}

#[derive(Debug, Default)]
struct State {
    /// In the order in which it went off.
    all: Vec<Off>,
    /// The boot of each target in which everything was looked at; none where that cannot be told.
    boots: BTreeMap<String, Option<String>>,
    /// The targets that may be in another one.
    doubtful: BTreeSet<String>,
    /// One for each target: of lanes that meet a reboot side by side, one looks.
    looking: BTreeMap<String, Arc<Mutex<()>>>,
}

impl State {
    fn begin(&mut self, off: Off) {
        let same = |other: &Off| other.target == off.target && other.debt.key == off.debt.key;
        self.all
            .retain(|other| other.call != off.call && !(same(other) && other.closing.is_some()));
        self.all.push(off);
    }

    /// Takes note that a call is about to switch something on again.
    fn closes(&mut self, target: &str, key: &str, call: &CallKey) {
        let all = self.all.iter_mut();
        for off in all.filter(|off| off.target == target && off.debt.key == key) {
            off.closing = Some(call.clone());
        }
    }

    /// Takes note that a call is through, which may be one that switched something on again.
    fn closed_by(&mut self, call: &CallKey) {
        let closed = self.all.iter().filter(|off| off.closing.as_ref() == Some(call));
        let closed: Vec<_> = closed.map(|off| (off.target.clone(), off.debt.key.clone())).collect();
        for (target, key) in closed {
            self.close(&target, &key);
        }
    }

    fn find(&mut self, call: &CallKey) -> Option<&mut Off> {
        self.all.iter_mut().find(|off| off.call == *call)
    }

    fn close(&mut self, target: &str, key: &str) {
        self.all.retain(|off| off.target != target || off.debt.key != key);
        let hidden = self.all.iter_mut().filter(|off| off.hidden_by.as_deref() == Some(key));
        hidden.for_each(|off| off.hidden_by = None);
    }

    /// Takes note that a call is through, which may be one that switched something off again.
    fn through(&mut self, call: &CallKey, boot: Option<String>) {
        if let Some(off) = self.find(call) {
            off.through = true;
            off.boot = off.again.take().or(boot).or(off.boot.take());
        }
    }

    fn of(&self, target: &str) -> impl Iterator<Item = &Off> {
        self.all.iter().filter(move |off| off.target == target)
    }

    /// Returns what must be off and may be on, newest first.
    fn in_doubt(&self, target: &str, boot: &str) -> Vec<Off> {
        let mut found: Vec<_> =
            self.of(target).filter(|off| off.is_in_doubt(boot)).cloned().collect();
        found.reverse();
        found
    }
}

/// What the run has switched off.
#[derive(Debug, Default)]
pub struct SwitchedOff(Mutex<State>);

impl SwitchedOff {
    /// Reads it from a run's records.
    pub fn new(records: &[Record]) -> Self {
        let mut state = State::default();
        for record in records {
            match &record.body {
                Body::Intent { call, again: true, boot, .. } => {
                    if let Some(off) = state.find(call) {
                        off.again = Some(boot.clone().unwrap_or_default());
                    }
                }
                Body::Intent { call, target, closes: Some(key), .. } => {
                    state.closes(target, key, call);
                }
                Body::Call { target, closes: Some(key), outcome: Outcome::Done { .. }, .. }
                | Body::Deadman {
                    target,
                    key: Some(key),
                    state: DeadmanState::Fired { status: Some(0), .. },
                    ..
                } => state.close(target, key),
                Body::Intent { .. } => {
                    if let Some(off) = Off::of(&record.body) {
                        state.begin(off);
                    }
                }
                Body::Outcome { call, outcome: Outcome::Done { .. } } => {
                    state.closed_by(call);
                    state.through(call, None);
                }
                _ => {}
            }
        }
        Self(Mutex::new(state))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of an intent: to switch something off, or on again, after which it need not be off any more.
    pub(super) fn begins(&self, intent: &Body) {
        let mut state = self.state();
        if let Body::Intent { call, target, closes: Some(key), .. } = intent {
            state.closes(target, key, call);
        }
        let Some(off) = Off::of(intent) else { return };
        state.boots.entry(off.target.clone()).or_insert_with(|| off.boot.clone());
        state.begin(off);
    }

    /// Takes note that a call is over.
    pub(super) fn over(&self, call: &CallKey) {
        let mut state = self.state();
        let claimed = state.all.iter_mut().filter(|off| off.claimed_by.as_ref() == Some(call));
        claimed.for_each(|off| off.claimed_by = None);
    }

    /// Takes note that a call is through, and did what it was to do.
    pub(super) fn through(&self, call: &CallKey) {
        let mut state = self.state();
        let target = state.find(call).map(|off| off.target.clone());
        let boot = target.and_then(|target| state.boots.get(&target).cloned()).flatten();
        state.through(call, boot);
    }

    /// Takes note that something is on again.
    pub(super) fn closed(&self, target: &str, key: &str) {
        self.state().close(target, key);
    }

    /// Asks the target in which boot it is before anything else is done there: the way to it was broken.
    pub(super) fn doubt(&self, target: &str) {
        self.state().doubtful.insert(target.to_owned());
    }

    /// Returns the boot in which changes on the target are right; none if any is.
    pub(crate) fn boot(&self, target: &str) -> Option<String> {
        let state = self.state();
        state.of(target).next()?;
        state.boots.get(target).cloned().flatten()
    }

    fn must_look(&self, target: &str, now: Option<&str>) -> bool {
        let state = self.state();
        if state.of(target).next().is_none() {
            return false;
        }
        match state.boots.get(target) {
            None => true,
            Some(boot) => {
                let boot = boot.as_deref();
                state.doubtful.contains(target)
                    || now.is_some() && now != boot
                    || boot.is_some_and(|boot| !state.in_doubt(target, boot).is_empty())
            }
        }
    }

    /// Leaves what `call` is about to that call.
    fn claim(&self, target: &str, about: &str, call: &CallKey) {
        let mut state = self.state();
        let mine = |off: &&mut Off| off.target == target && off.debt.key == about;
        for off in state.all.iter_mut().filter(mine) {
            off.claimed_by.get_or_insert_with(|| call.clone());
        }
    }

    /// Returns what must be off on the target.
    #[cfg(test)]
    pub(crate) fn must_be_off(&self, target: &str) -> Vec<String> {
        let state = self.state();
        let sure = state
            .of(target)
            .filter(|off| off.through && off.claimed_by.is_none() && off.closing.is_none());
        sure.map(|off| off.debt.key.clone()).collect()
    }

    /// Takes note that everything on the target was looked at in this boot.
    fn looked(&self, target: &str, boot: Option<String>) {
        let mut state = self.state();
        state.boots.insert(target.to_owned(), boot);
        state.doubtful.remove(target);
    }

    /// Returns what is held by whoever looks at a target.
    fn turn(&self, target: &str) -> Arc<Mutex<()>> {
        Arc::clone(self.state().looking.entry(target.to_owned()).or_default())
    }
}

impl Off {
    /// Returns what an intent switches off, if it does not switch it on again itself.
    fn of(intent: &Body) -> Option<Self> {
        let Body::Intent {
            call,
            target,
            summary,
            action,
            before,
            opens: Some(debt),
            closes: None,
            boot,
            ..
        } = intent
        else {
            return None;
        };
        Some(Self {
            call: call.clone(),
            target: target.clone(),
            debt: debt.clone(),
            summary: summary.clone(),
            action: action.clone(),
            before: before.clone(),
            boot: boot.clone(),
            through: false,
            again: None,
            hidden_by: None,
            claimed_by: None,
            closing: None,
        })
    }
}
