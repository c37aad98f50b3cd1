//! What a piece would do: planned in a run of its own that only reads.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{Interactive, NAME};
use crate::effect::{Lane, Mode, Target, Targets};
use crate::error::{Failure, Halt, Result};
use crate::event::{Status, What};
use crate::journal::Cursor;
use crate::session::drive;
use crate::session::evaluate::on_a_thread;
use crate::transport::readonly::ReadOnly;

impl Interactive {
    /// Says what a piece would do, reading for real and changing nothing; nothing of it is kept.
    ///
    /// # Errors
    /// If the journal or the standard library fails. What the piece fails with is told by its events.
    pub fn plan(&self, text: &str) -> Result<()> {
        let piece = self.piece(text);
        self.show(&piece);
        let started = Instant::now();
        let mut run = drive::begin(&self.setup, Mode::Plan)?;
        run.store = None;
        run.cursor = Mutex::new(Cursor::default());
        run.targets = Arc::new(OnlyReads(Arc::clone(&self.setup.targets)));
        let here = run.targets.get(&self.target())?;
        let lane = Lane::main(Arc::new(run), here);
        self.tell("plan");
        let result = on_a_thread("line", || {
            let copy = self.script.copy_to(&lane);
            let mut copy = copy.map_err(|error| Failure::input(error.message))?;
            copy.line(NAME, &piece.placed()).map(drop)
        });
        let (failure, message) = match result {
            Ok(()) => (None, "this was a plan: nothing was changed".to_owned()),
            Err(Halt::Failure(failure)) => {
                (Some(self.run.redactor.failure(*failure)), "the plan ends here".to_owned())
            }
            Err(Halt::Stop(stop)) => (None, format!("the plan ends here: {stop}")),
        };
        lane.emit(What::RunEnded {
            status: Status::Planned,
            message,
            failure,
            downtime_ms: 0,
            took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            debts: Vec::new(),
            next: None,
        });
        Ok(())
    }
}

/// The targets of a run, for a plan of one piece: the same ways to them, for reads alone.
#[derive(Debug)]
struct OnlyReads(Arc<dyn Targets>);

impl Targets for OnlyReads {
    fn get(&self, name: &str) -> Result<Arc<Target>> {
        let target = self.0.get(name)?;
        let mut reading = Target::new(name, Arc::new(ReadOnly(Arc::clone(&target.transport))));
        reading.params.clone_from(&target.params);
        reading.tags.clone_from(&target.tags);
        reading.sudo = target.sudo;
        Ok(Arc::new(reading))
    }

    fn select(&self, selector: &str) -> Result<Vec<String>> {
        self.0.select(selector)
    }
}
