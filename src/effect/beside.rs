//! Failures of lanes side by side. One of them goes up the script as the failure of all; if it ends the run, a resume tries
//! the others again as well. If the script catches it, they stay what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use crate::error::Failure;

/// The calls that failed beside another, by the failure that was told.
#[derive(Debug, Default)]
pub struct Beside(Mutex<BTreeMap<String, BTreeSet<String>>>);

fn key(failure: &Failure) -> String {
    failure.call.clone().unwrap_or_else(|| failure.to_string())
}

impl Beside {
    /// Remembers the failures of lanes of which the script is told one.
    pub fn add<'a>(&self, told: &Failure, all: impl IntoIterator<Item = &'a Failure>) {
        let mut beside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = all.into_iter().map(key).filter(|other| *other != key(told));
        beside.entry(key(told)).or_default().extend(keys);
    }

    /// Returns the calls that are to be tried again if this failure ends the run.
    pub fn tried_again(&self, failure: &Failure) -> BTreeSet<String> {
        let beside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = BTreeSet::new();
        let mut open = vec![key(failure)];
        while let Some(next) = open.pop() {
            if found.insert(next.clone()) {
                open.extend(beside.get(&next).into_iter().flatten().cloned());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(call: &str) -> Failure {
        Failure { call: Some(call.to_owned()), ..Failure::input("no") }
    }

    #[test]
    fn only_what_failed_beside_the_last_failure_is_tried_again() {
        let beside = Beside::default();
        let [a, b, c, d] = ["a", "b", "c", "d"].map(failed);
        beside.add(&a, [&a, &b]);
        beside.add(&c, [&c, &d]);
        assert_eq!(beside.tried_again(&a), ["a", "b"].map(str::to_owned).into());
        // Lanes within lanes.
        beside.add(&c, [&a]);
        assert_eq!(beside.tried_again(&c), ["a", "b", "c", "d"].map(str::to_owned).into());
        assert_eq!(beside.tried_again(&d), ["d".to_owned()].into());
    }
}
