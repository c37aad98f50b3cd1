//! A second operator asks the process that drives a run to pause it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::error::SessionError;
use super::open::Session;
use crate::error::Failure;
use crate::journal::{RunInfo, Store};
use crate::transport::Cancel;

/// How often the driving process looks whether it is asked, and the asking one whether it was heard.
const LOOK: Duration = Duration::from_millis(200);

/// Looks for requests as long as it lives.
pub(super) struct Ear(Arc<AtomicBool>);

impl Ear {
    /// Begins to listen for the run that this process holds.
    pub(super) fn new(store: Arc<dyn Store>, run: &str, cancel: &Cancel) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (ended, run, cancel) = (Arc::clone(&over), run.to_owned(), cancel.clone());
        let listen = move || {
            while !ended.load(Ordering::SeqCst) {
                // A request that cannot be read will be there at the next look as well.
                if store.take_pause(&run).unwrap_or(false) {
                    cancel.pause();
                }
                std::thread::sleep(LOOK);
            }
        };
        // Without the thread nobody is heard, and the one who asks is told that nothing happens.
        let _without = std::thread::Builder::new().name("pause".to_owned()).spawn(listen);
        Self(over)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Session {
    /// Asks the process that drives a run to pause it, and waits until it does not drive it any more. The command that
    /// runs is ended, as after an interrupt, and nobody is asked what to do. Returns how the run stands then.
    ///
    /// # Errors
    /// If there is no such run, nobody drives it, it is a session of the REPL, or it was not heard within `patience`.
    pub fn pause(&self, name: &str, patience: Duration) -> Result<RunInfo, SessionError> {
        let run = self.store.find(name)?;
        let refused = |failure: Failure| SessionError::Failure(Box::new(failure));
        if run.runbook == super::NAME {
            let message =
                format!("run {} is a session of the REPL; only who sits there ends it", run.id);
            return Err(refused(Failure::input(message)));
        }
        if !self.store.is_held(&run.id) {
            let message =
                format!("no process drives run {}: it is {}", run.id, run.status.as_str());
            return Err(refused(Failure::input(message)));
        }
        self.store.ask_pause(&run.id)?;
        let started = std::time::Instant::now();
        while self.store.is_held(&run.id) {
            if started.elapsed() >= patience {
                let message = format!(
                    "run {} goes on after {}: what it does now cannot be ended sooner",
                    run.id,
                    crate::units::say_duration(patience)
                );
                return Err(refused(
                    Failure::input(message)
                        .with_hint("The request stands; ask again to wait for it."),
                ));
            }
            std::thread::sleep(LOOK);
        }
        Ok(self.store.find(&run.id)?)
    }
}
