//! The journal of a process of the model, which dies with it: what is not durable is lost then.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use super::world::{Fate, World};
use crate::event::Status;
use crate::journal::{
    Body, DebtChange, DebtRow, Hold, JournalError, Record, RunInfo, Source, Sqlite, Store,
    SwitchRow,
};

/// The journal of one process, which dies with it.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) disk: Arc<Sqlite>,
    pub(super) world: Arc<World>,
    /// Records that are not durable yet.
    pub(super) pending: Mutex<Vec<Body>>,
}

impl Journal {
    fn moment(&self) -> Result<(), JournalError> {
        if self.world.moment() == Some(Fate::Die) {
            return Err(JournalError::Io { path: PathBuf::new(), why: "it died".to_owned() });
        }
        Ok(())
    }

    fn flush(&self, run: &str) -> Result<(), JournalError> {
        let pending = std::mem::take(&mut *self.pending.lock().unwrap());
        pending.into_iter().try_for_each(|body| self.disk.append(run, body))
    }
}

impl Store for Journal {
    fn create(&self, run: &RunInfo) -> Result<(), JournalError> {
        self.disk.create(run)
    }

    fn append(&self, _run: &str, body: Body) -> Result<(), JournalError> {
        self.moment()?;
        self.pending.lock().unwrap().push(body);
        Ok(())
    }

    fn append_durable(
        &self,
        run: &str,
        body: Body,
        debts: Vec<DebtChange>,
    ) -> Result<(), JournalError> {
        self.moment()?;
        self.flush(run)?;
        if let Body::Intent { call, .. } = &body {
            self.world.intents.lock().unwrap().insert(call.to_string());
        }
        self.disk.append_durable(run, body, debts)?;
        self.moment()
    }

    fn turn(
        &self,
        run: &str,
        body: Body,
        status: Status,
        due: Option<Timestamp>,
    ) -> Result<(), JournalError> {
        self.moment()?;
        self.flush(run)?;
        self.disk.turn(run, body, status, due)?;
        self.moment()
    }

    fn set_sources(&self, run: &str, sources: &[Source]) -> Result<(), JournalError> {
        self.disk.set_sources(run, sources)
    }

    fn records(&self, run: &str) -> Result<Vec<Record>, JournalError> {
        self.disk.records(run)
    }

    fn runs(&self) -> Result<Vec<RunInfo>, JournalError> {
        self.disk.runs()
    }

    fn find(&self, name: &str) -> Result<RunInfo, JournalError> {
        self.disk.find(name)
    }

    fn debts(&self) -> Result<Vec<DebtRow>, JournalError> {
        self.disk.debts()
    }

    fn prune(&self, runs: &[String]) -> Result<Vec<String>, JournalError> {
        self.disk.prune(runs)
    }

    fn switches(&self) -> Result<Vec<SwitchRow>, JournalError> {
        self.disk.switches()
    }

    fn hold(&self, run: &str) -> Result<Hold, JournalError> {
        self.disk.hold(run)
    }

    fn is_held(&self, run: &str) -> bool {
        self.disk.is_held(run)
    }

    fn ask_pause(&self, run: &str) -> Result<(), JournalError> {
        self.disk.ask_pause(run)
    }

    fn take_pause(&self, run: &str) -> Result<bool, JournalError> {
        self.disk.take_pause(run)
    }
}
