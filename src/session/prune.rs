//! Which runs are old enough to be removed from the journal.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::error::SessionError;
use super::open::Session;
use crate::event::Status;
use crate::journal::{RunInfo, Store};

/// Which of the runs that are over are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prune {
    /// Only those that ended longer ago than this.
    pub older: Option<Duration>,
    /// How many of the newest runs stay, whatever they are.
    pub keep: usize,
    /// Whether those that failed go too, if they owe nothing.
    pub failed: bool,
}

impl Session {
    /// Returns the runs that [`Session::prune`] would remove, newest first.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn prunable(&self, prune: Prune) -> Result<Vec<RunInfo>, SessionError> {
        let owing: BTreeSet<String> =
            self.store.debts()?.into_iter().map(|debt| debt.run).collect();
        let now = Timestamp::now();
        let mut runs: Vec<RunInfo> = self.store.runs()?.into_iter().skip(prune.keep).collect();
        runs.retain(|run| {
            let over = match run.status {
                Status::Done | Status::RolledBack => true,
                Status::Failed => prune.failed,
                _ => false,
            };
            over && is_older(run, prune.older, now)
                && !owing.contains(&run.id)
                && !self.store.is_held(&run.id)
        });
        Ok(runs)
    }

    /// Removes these runs from the journal, except those that were taken up meanwhile: all in one, or none. Returns the
    /// ids of the removed.
    ///
    /// # Errors
    /// If the journal cannot be written; nothing was removed then.
    pub fn prune(&self, runs: &[RunInfo]) -> Result<Vec<String>, SessionError> {
        let ids: Vec<String> = runs.iter().map(|run| run.id.clone()).collect();
        Ok(self.store.prune(&ids)?)
    }
}

fn is_older(run: &RunInfo, than: Option<Duration>, now: Timestamp) -> bool {
    let Some(than) = than else { return true };
    let since = now.duration_since(run.ended.unwrap_or(now));
    Duration::try_from(since).is_ok_and(|since| since >= than)
}
