//! A run whose script is typed while it goes, as the REPL does: begun like any other run, evaluated piece by piece, ended
//! with the same words on what is owed and what is undone.
//!
//! The journal gets the whole transcript before a piece is evaluated, so that `upgrade-host rollback RUN` can replay it
//! days later, with its closures. The run comes into the journal with the first piece: a prompt that was only looked at
//! leaves no trace.

mod plan;
mod replay;
mod transcript;
mod undo;
mod unsettled;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

pub(super) use self::replay::replay;
pub use self::transcript::Transcript;
pub(super) use self::transcript::{Piece, recorded};
pub use self::undo::Reach;
pub use self::unsettled::Unsettled;
use super::drive::{self, Ended, Setup};
use super::ending::Ending;
use super::error::SessionError;
use super::evaluate::on_a_thread;
use super::open::{Order, Session, Text, Voice};
use super::prepare;
use crate::effect::{Lane, Mode, Run};
use crate::error::{Halt, Result};
use crate::event::{Status, What};
use crate::journal::{Body, Hold, Store};
use crate::script::{self, Script, ScriptError, Shown};

/// The name of what was typed, in places and in the journal.
pub const NAME: &str = "<repl>";

/// How a session is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// With everything as it is.
    Keep,
    /// After everything is undone.
    RollBack,
}

/// A run whose script is typed while it goes.
pub struct Interactive {
    setup: Setup,
    run: Arc<Run>,
    lane: Lane,
    script: Script,
    pieces: Vec<Piece>,
    /// The transcript with what is wrong or only planned at its end, for excerpts.
    transcript: Transcript,
    /// Held from the first piece on.
    hold: Option<Hold>,
    started: Instant,
    /// Changes that were interrupted, by their calls.
    unsettled: BTreeMap<String, Unsettled>,
}

impl std::fmt::Debug for Interactive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interactive").field("run", &self.run.id).finish_non_exhaustive()
    }
}

impl Session {
    /// Begins a run whose script is typed while it goes. The order's text is not looked at; parameters are plain text.
    ///
    /// # Errors
    /// Why it could not begin; nothing was done then.
    pub fn interactive(&self, order: &Order, voice: &Voice) -> Result<Interactive, SessionError> {
        let mut runbook = transcript::empty()?;
        "REPL".clone_into(&mut runbook.metadata.title);
        let params = order.set.iter().map(|(name, _)| (name.clone(), Value::from(""))).collect();
        runbook.metadata.params = Value::Object(params);
        let order = Order { text: Text::Code(String::new()), ..order.clone() };
        let mut setup = prepare::fresh(self, &order, runbook, voice, Mode::Run)?;
        prepare::reach(&setup)?;
        setup.pieces = Some(Vec::new());
        setup.store = Some(Arc::clone(&self.store) as Arc<dyn Store>);
        let mut run = drive::begin(&setup, Mode::Run)?;
        // Whoever takes back here says so himself.
        run.asked = true;
        let run = Arc::new(run);
        let lane = drive::main_lane(&setup, &run)?;
        let script = on_a_thread("line", || Ok(Script::interactive(&setup.runbook, &lane)))??;
        Ok(Interactive {
            setup,
            run,
            lane,
            script,
            pieces: Vec::new(),
            transcript: Transcript::default(),
            hold: None,
            started: Instant::now(),
            unsettled: BTreeMap::new(),
        })
    }
}

impl Interactive {
    /// Returns the run's id.
    pub fn id(&self) -> &str {
        &self.run.id
    }

    /// Returns whether the run is in the journal: a piece was evaluated.
    pub fn has_begun(&self) -> bool {
        self.hold.is_some()
    }

    /// Returns the targets that the session was opened on.
    pub fn targets(&self) -> &[String] {
        &self.setup.info.targets
    }

    /// Returns the current target.
    pub fn target(&self) -> String {
        self.lane.target().name.clone()
    }

    /// Acts on another target from now on.
    ///
    /// # Errors
    /// If there is no such target, or it cannot be reached.
    pub fn switch(&self, name: &str) -> Result<(), SessionError> {
        let target = self.run.targets.get(name)?;
        prepare::reach_one(&target, &self.run.cancel)?;
        self.lane.pop_target();
        self.lane.push_target(target);
        Ok(())
    }

    /// Returns the script, for what completion wants to know.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// Returns the names of the parameters.
    pub fn params(&self) -> Vec<String> {
        self.setup.params.get("").into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    /// Returns the transcript, for excerpts in failures.
    pub fn transcript(&self) -> Transcript {
        self.transcript.clone()
    }

    /// Finds what is wrong with a piece before it is evaluated.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub fn problems(&self, text: &str) -> Result<Vec<ScriptError>> {
        let piece = self.piece(text);
        self.show(&piece);
        on_a_thread("line", || Ok(self.script.problems(NAME, &piece.placed())))
    }

    /// Evaluates a piece: its calls are journaled, its functions and variables are kept.
    ///
    /// # Errors
    /// What it fails with; the session goes on, unless the journal fails.
    pub fn evaluate(&mut self, text: &str) -> Result<Shown> {
        let piece = self.piece(text);
        self.show(&piece);
        self.pieces.push(piece.clone());
        self.record()?;
        self.tell("run");
        let step = self.lane.enter_step(&piece.step());
        let body = |begins, ok| {
            let (lane, step) = (self.lane.name().to_owned(), step.clone());
            self.lane.record(Body::Step { lane, step, begins, ok })
        };
        body(true, true)?;
        let script = &mut self.script;
        let placed = piece.placed();
        let result =
            on_a_thread("line", || script.line(NAME, &placed).map(|value| script::shown(&value)));
        self.lane.leave_step();
        body(false, result.is_ok())?;
        if let (false, Some(piece)) = (is_stop(&result), self.pieces.last_mut()) {
            piece.ended = true;
        }
        if is_stop(&result) {
            self.find_unsettled(&step)?;
        }
        result
    }

    /// Returns what this session owes.
    pub fn debts(&self) -> Vec<String> {
        self.ending().debts()
    }

    /// Ends the session; none if it never began.
    ///
    /// # Errors
    /// If the journal fails.
    pub fn leave(mut self, how: Leave) -> Result<Option<Ended>> {
        if !self.has_begun() {
            return Ok(None);
        }
        self.record()?;
        if how == Leave::RollBack {
            self.tell("run");
            return self.ending().undo("the operator left the REPL so", None).map(Some);
        }
        if let Some(one) = self.unsettled.values().next() {
            let message = format!("it is not known whether this happened: {}", one.what);
            let calls = self.unsettled.keys().cloned().collect();
            return self.ending().end(Status::Failed, message, None, None, calls).map(Some);
        }
        if !self.debts().is_empty() {
            let message = "left with something still switched off".to_owned();
            return self.ending().end(Status::Failed, message, None, None, Vec::new()).map(Some);
        }
        self.ending().finished().map(Some)
    }

    fn ending(&self) -> Ending<'_> {
        Ending {
            setup: &self.setup,
            run: &self.run,
            lane: &self.lane,
            started: self.started,
            interrupted: false,
        }
    }

    fn piece(&self, text: &str) -> Piece {
        Piece::after(&self.pieces, self.target(), text)
    }

    fn show(&self, last: &Piece) {
        self.transcript.set(transcript::joined(self.pieces.iter().chain([last])));
    }

    /// Writes what is about to be evaluated, durable.
    fn record(&mut self) -> Result<()> {
        let Some(store) = &self.setup.store else { return Ok(()) };
        let sources = transcript::sources(&self.pieces, &self.setup.redactor)?;
        if self.hold.is_none() {
            let hold = store.hold(&self.run.id)?;
            self.setup.info.sources.clone_from(&sources);
            store.create(&self.setup.info)?;
            self.hold = Some(hold);
        } else {
            store.set_sources(&self.run.id, &sources)?;
        }
        Ok(())
    }

    /// Lets whoever listens start afresh: clocks count from here.
    fn tell(&self, mode: &str) {
        self.lane.emit(What::RunBegan {
            title: self.setup.info.title.clone(),
            runbook: NAME.to_owned(),
            targets: vec![self.target()],
            mode: mode.to_owned(),
        });
    }
}

fn is_stop<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Halt::Stop(_)))
}
