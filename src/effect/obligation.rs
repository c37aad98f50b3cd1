//! What a run switched off and owes back, and the clock of how long users were locked out by it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::lane::Lane;
use crate::call::CallKey;
use crate::event::What;
use crate::journal::Debt;

/// An open obligation of this run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The target.
    pub target: String,
    /// What.
    pub debt: Debt,
    /// Since when.
    pub since: Timestamp,
    /// That it is kept, if it was handed over on purpose.
    pub kept: Option<Kept>,
}

/// What was switched off and is kept so on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Why.
    pub reason: String,
    /// Until when.
    pub due: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct State {
    open: BTreeMap<(String, String), Open>,
    /// Every one that was ever open in this run, with what was owed.
    ever: BTreeMap<(String, String), String>,
    /// The calls that met one, and how that was kept until then.
    met_by: BTreeMap<String, Option<Kept>>,
    /// Spans during which users of a target were locked out, ended ones.
    spans: Vec<(Timestamp, Timestamp)>,
}

/// The obligations of a run.
#[derive(Debug, Default)]
pub struct Obligations(Mutex<State>);

impl Obligations {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens one; returns false if it was open already.
    pub fn open(&self, target: &str, debt: &Debt, at: Timestamp) -> bool {
        let mut state = self.state();
        let key = (target.to_owned(), debt.key.clone());
        if state.open.contains_key(&key) {
            return false;
        }
        state.ever.insert(key.clone(), debt.what.clone());
        state.open.insert(
            key,
            Open { target: target.to_owned(), debt: debt.clone(), since: at, kept: None },
        );
        true
    }

    /// Meets one, by a call; returns it if it was open.
    pub fn close(
        &self,
        target: &str,
        key: &str,
        at: Timestamp,
        call: Option<&CallKey>,
    ) -> Option<Open> {
        let mut state = self.state();
        let open = state.open.remove(&(target.to_owned(), key.to_owned()))?;
        if open.debt.locks_out {
            state.spans.push((open.since, at));
        }
        state.met_by.extend(call.map(|call| (call.to_string(), open.kept.clone())));
        Some(open)
    }

    /// Returns how the one was kept that this call has met, if it has met one.
    pub fn met_by(&self, call: &CallKey) -> Option<Option<Kept>> {
        self.state().met_by.get(&call.to_string()).cloned()
    }

    /// Returns whether one is open.
    pub fn is_open(&self, target: &str, key: &str) -> bool {
        self.state().open.contains_key(&(target.to_owned(), key.to_owned()))
    }

    /// Returns whether one was open at any time of this run.
    pub fn ever(&self, target: &str, key: &str) -> bool {
        self.state().ever.contains_key(&(target.to_owned(), key.to_owned()))
    }

    /// Returns what was owed if one was open in this run and is so no more.
    pub fn met(&self, target: &str, key: &str) -> Option<String> {
        let state = self.state();
        let key = (target.to_owned(), key.to_owned());
        if state.open.contains_key(&key) { None } else { state.ever.get(&key).cloned() }
    }

    /// Marks one as kept on purpose.
    pub fn keep(&self, target: &str, key: &str, kept: Kept) -> bool {
        match self.state().open.get_mut(&(target.to_owned(), key.to_owned())) {
            Some(open) => {
                open.kept = Some(kept);
                true
            }
            None => false,
        }
    }

    /// Returns the open ones, oldest first.
    pub fn all(&self) -> Vec<Open> {
        let mut open: Vec<_> = self.state().open.values().cloned().collect();
        open.sort_by_key(|open| open.since);
        open
    }

    /// Returns how long users were locked out in all until `now`: the time during which at least one lock-out stood.
    pub fn downtime(&self, now: Timestamp) -> Duration {
        let state = self.state();
        let open =
            state.open.values().filter(|open| open.debt.locks_out).map(|open| (open.since, now));
        let mut spans: Vec<_> = state.spans.iter().copied().chain(open).collect();
        spans.sort();
        let mut total = Duration::ZERO;
        let mut covered = Timestamp::MIN;
        for (from, to) in spans {
            let from = from.max(covered);
            if to > from {
                total += Duration::try_from(to.duration_since(from)).unwrap_or_default();
                covered = to;
            }
        }
        total
    }
}

impl Lane {
    /// Takes note that what was owed is met, by a call, and tells it.
    pub(super) fn met(&self, target: &str, key: &str, at: Timestamp, call: Option<&CallKey>) {
        let run = self.run();
        run.off.closed(target, key);
        if let Some(open) = run.obligations.close(target, key, at, call) {
            let Debt { what, locks_out, .. } = open.debt;
            self.emit(What::DebtClosed { what, locks_out });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn debt(key: &str, locks_out: bool) -> Debt {
        Debt { key: key.into(), what: key.into(), locks_out }
    }

    #[test]
    fn overlapping_lockouts_count_once() {
        let obligations = Obligations::default();
        obligations.open("a", &debt("users", true), at(10));
        obligations.open("a", &debt("service", true), at(20));
        obligations.open("a", &debt("replication", false), at(0));
        obligations.close("a", "service", at(30), None);
        assert_eq!(obligations.downtime(at(35)), Duration::from_secs(25));
        obligations.close("a", "users", at(40), None);
        obligations.open("a", &debt("users", true), at(50));
        assert_eq!(obligations.downtime(at(60)), Duration::from_secs(40));
    }

    #[test]
    fn what_is_open_is_opened_once_and_listed() {
        let obligations = Obligations::default();
        assert!(obligations.open("a", &debt("x", false), at(1)));
        assert!(!obligations.open("a", &debt("x", false), at(2)));
        assert!(obligations.keep("a", "x", Kept { reason: "because".to_owned(), due: None }));
        assert_eq!(obligations.all()[0].since, at(1));
        assert!(obligations.close("a", "x", at(3), None).is_some());
        assert!(obligations.close("a", "x", at(3), None).is_none());
    }
}
