//! Drives one run to its end or pause: evaluates the script, and decides what a failure or an interrupt leads to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::ending::{Ending, Next};
use super::evaluate::{Evaluated, evaluate, rebuild};
use super::interactive::Piece;
use crate::effect::{
    App, Asker, Beside, Chosen, Clock, Lane, Locks, Mode, Obligations, Redactor, Run, Secrets,
    ServiceCommands, SwitchedOff, Switches, Targets, foresee_rollback,
};
use crate::error::{Failure, Halt, Result, Stop};
use crate::event::{Event, Status, What};
use crate::journal::{Cursor, RunInfo, Store};
use crate::primitives::{self, Waves};
use crate::script::Runbook;
use crate::transport::Cancel;

/// What an interrupt leads to when nobody can be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnInterrupt {
    /// The run pauses and can be resumed.
    #[default]
    Pause,
    /// The run is rolled back.
    RollBack,
}

/// What is wanted of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// To go on to its end.
    Forward,
    /// To be undone.
    Back(Back),
}

/// Why a run is undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Back {
    pub(super) why: String,
    /// The failure that led to it, if one did.
    pub(super) failure: Option<Box<Failure>>,
    /// Whether the operator asked for it, so that nothing hurries.
    pub(super) asked: bool,
}

/// Everything that a run needs.
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub(super) struct Setup {
    pub(super) info: RunInfo,
    pub(super) runbook: Runbook,
    pub(super) mode: Mode,
    /// What people read: `run`, `plan`, `resume`, `rollback`.
    pub(super) word: &'static str,
    pub(super) targets: Arc<dyn Targets>,
    pub(super) params: BTreeMap<String, BTreeMap<String, Value>>,
    pub(super) services: BTreeMap<String, ServiceCommands>,
    pub(super) app: Option<App>,
    pub(super) secrets: Arc<dyn Secrets>,
    pub(super) redactor: Redactor,
    pub(super) store: Option<Arc<dyn Store>>,
    pub(super) events: Arc<dyn Fn(Event) + Send + Sync>,
    pub(super) asker: Arc<dyn Asker>,
    pub(super) cancel: Cancel,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) yes: bool,
    pub(super) stay: bool,
    pub(super) accept_change: bool,
    pub(super) chosen: Chosen,
    /// How several targets go.
    pub(super) waves: Waves,
    /// The directory on targets in which lock records are.
    pub(super) lock_dir: String,
    /// Whose journal this is.
    pub(super) controller: String,
    pub(super) take_over: bool,
    /// What was typed, where the script of the run was.
    pub(super) pieces: Option<Vec<Piece>>,
    pub(super) reconnect: Duration,
    pub(super) on_interrupt: OnInterrupt,
}

impl Setup {
    /// What people read first.
    pub(super) fn heading(&self) -> What {
        What::RunBegan {
            title: self.info.title.clone(),
            runbook: self.info.runbook.clone(),
            targets: self.info.targets.clone(),
            mode: self.word.to_owned(),
        }
    }

    fn locks(&self) -> Locks {
        let mut locks = Locks::new(self.lock_dir.clone(), self.controller.clone(), self.take_over);
        locks.operator.clone_from(&self.info.operator);
        locks.why.clone_from(&self.info.title);
        locks
    }
}

/// How a run ended or paused.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The run's id.
    pub run: String,
    /// How it stands.
    pub status: Status,
    /// A sentence for people.
    pub message: String,
    /// The failure that ended it.
    pub failure: Option<Failure>,
    /// The stop that ended it, where the journal or the script's match with it did.
    pub stop: Option<Stop>,
    /// What is still owed by this run.
    pub debts: Vec<String>,
    /// Whether the operator interrupted it.
    pub interrupted: bool,
}

/// Drives the run.
///
/// # Errors
/// If the journal fails, or the standard library does not load.
pub(super) fn drive(setup: &Setup, direction: Direction) -> Result<Ended> {
    let started = Instant::now();
    let mut direction = direction;
    let mut interrupted = false;
    loop {
        let rebuilding = direction != Direction::Forward;
        let mut run = begin(setup, if rebuilding { Mode::Rebuild } else { setup.mode })?;
        run.asked = matches!(&direction, Direction::Back(back) if back.asked);
        let run = Arc::new(run);
        let lane = main_lane(setup, &run)?;
        // What this process began and the operator then wants undone needs no second heading.
        if !(rebuilding && interrupted) {
            lane.emit(setup.heading());
        }
        // Adapters and closures need the engines as long as anything may be undone.
        let scripts = Mutex::new(Vec::new());
        let evaluated = if rebuilding {
            rebuild(setup, &lane, &scripts)
        } else {
            evaluate(setup, &lane, &scripts)
        };
        let mut end = Ending { setup, run: &run, lane: &lane, started, interrupted };
        if let Direction::Back(back) = &direction {
            return end.undo(&back.why, back.failure.as_deref().cloned());
        }
        match evaluated {
            Evaluated::Finished(out) => return end.finished_without(&out),
            Evaluated::Failed(failure, calls) => return end.failed(failure, calls),
            Evaluated::Stopped(Stop::Cancelled) => {
                interrupted = true;
                end.interrupted = true;
                match end.interrupt() {
                    Next::GoOn => {
                        setup.cancel.reset();
                        interrupted = false;
                    }
                    Next::RollBack => {
                        setup.cancel.reset();
                        let why = "the operator interrupted the run".to_owned();
                        direction = Direction::Back(Back { why, failure: None, asked: false });
                    }
                    Next::Pause => return end.paused(Stop::Cancelled, Vec::new()),
                }
            }
            Evaluated::Stopped(stop) => return end.paused(stop, Vec::new()),
        }
    }
}

/// Says what undoing the run would do.
///
/// # Errors
/// If the journal fails, or the standard library does not load.
pub(super) fn foresee(setup: &mut Setup) -> Result<Ended> {
    let started = Instant::now();
    let mut run = begin(setup, Mode::Rebuild)?;
    run.asked = true;
    let run = Arc::new(run);
    // Nothing is written from here on.
    setup.store = None;
    let lane = main_lane(setup, &run)?;
    lane.emit(setup.heading());
    let scripts = Mutex::new(Vec::new());
    rebuild(setup, &lane, &scripts);
    lane.emit(What::UndoBegan { why: "what a rollback would do, newest first".to_owned() });
    let end = Ending { setup, run: &run, lane: &lane, started, interrupted: false };
    let sight = match foresee_rollback(&lane) {
        Ok(sight) => sight,
        Err(Halt::Stop(stop)) => {
            let message = format!("the plan ends here: {stop}");
            return end.end(Status::Planned, message, None, Some(stop), Vec::new());
        }
        Err(halt) => return Err(halt),
    };
    let mut parts = vec![match sight.undos {
        0 => "there is nothing to undo".to_owned(),
        1 => "there is 1 undo".to_owned(),
        undos => format!("there are {undos} undos"),
    }];
    for (count, text) in [
        (sight.drifted, "would meet what somebody changed since"),
        (sight.unseen, "could not be looked at"),
        (sight.impossible, "cannot be undone"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {text}"));
        }
    }
    let message = format!("this was a plan: nothing was changed; {}", parts.join(", "));
    end.end(Status::Planned, message, None, None, Vec::new())
}

pub(super) fn begin(setup: &Setup, mode: Mode) -> Result<Run> {
    let records = match &setup.store {
        Some(store) => store.records(&setup.info.id)?,
        None => Vec::new(),
    };
    let events = Arc::clone(&setup.events);
    Ok(Run {
        id: setup.info.id.clone(),
        mode,
        yes: setup.yes,
        asked: false,
        stay: setup.stay,
        reconnect: setup.reconnect,
        store: setup.store.clone(),
        cursor: Mutex::new(Cursor::new(&records, setup.accept_change)),
        events: Box::new(move |event| events(event)),
        cancel: setup.cancel.clone(),
        clock: Arc::clone(&setup.clock),
        secrets: Arc::clone(&setup.secrets),
        redactor: setup.redactor.clone(),
        asker: Arc::clone(&setup.asker),
        targets: Arc::clone(&setup.targets),
        services: setup.services.clone(),
        default_app: setup.app.clone(),
        registry: Arc::new(primitives::registry()),
        obligations: Obligations::default(),
        off: SwitchedOff::new(&records),
        adapters: OnceLock::new(),
        point_of_no_return: Mutex::default(),
        window: Mutex::default(),
        params: setup.params.clone(),
        notes: Mutex::default(),
        assumed: Mutex::default(),
        beside: Beside::default(),
        chosen: setup.chosen.clone(),
        locks: setup.locks(),
        touched: Mutex::default(),
        switches: Switches::new(&records),
    })
}

/// The lane of the run itself: on its target if it has but one, around those of its targets else.
pub(super) fn main_lane(setup: &Setup, run: &Arc<Run>) -> Result<Lane> {
    let first = setup.info.targets.first().map_or("local", String::as_str);
    Ok(Lane::main(Arc::clone(run), run.targets.get(first)?))
}
