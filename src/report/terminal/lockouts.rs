//! How long users are locked out.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::super::words::between;

/// The clock of the time during which users of any target are locked out.
#[derive(Debug, Default)]
pub(super) struct Lockouts {
    open: BTreeSet<(String, String)>,
    pub(super) since: Option<Timestamp>,
    /// How long those took that are over.
    total: Duration,
}

impl Lockouts {
    pub(super) fn open(&mut self, target: &str, what: &str, at: Timestamp) -> bool {
        self.open.insert((target.to_owned(), what.to_owned()));
        let first = self.since.is_none();
        self.since.get_or_insert(at);
        first
    }

    /// Returns how long users were out, if the last lock-out ends.
    pub(super) fn close(&mut self, target: &str, what: &str, at: Timestamp) -> Option<Duration> {
        self.open.remove(&(target.to_owned(), what.to_owned()));
        if !self.open.is_empty() {
            return None;
        }
        let out = between(self.since.take()?, at);
        self.total += out;
        Some(out)
    }

    pub(super) fn now(&self, now: Timestamp) -> Option<Duration> {
        self.since.map(|since| self.total + between(since, now))
    }
}
