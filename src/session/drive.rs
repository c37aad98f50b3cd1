//! Drives one run to its end or pause: evaluates the script on its lanes, decides what a failure or an interrupt leads
//! to, undoes, cleans up and writes how it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::interactive::{self, Piece};
use crate::call::Access;
use crate::effect::{
    App, Asker, Beside, Chosen, Clock, Lane, Locks, Mode, Obligations, Question, Redactor, Run,
    Secrets, ServiceCommands, SwitchedOff, Switches, Target, Targets, Undo, Undone, disarm_all,
    foresee_rollback, look_all, recall_inverses, roll_back,
};
use crate::error::{Failure, Halt, Pause, Result, Stop};
use crate::event::{Event, Status, What};
use crate::journal::{Body, Cursor, RunInfo, Store};
use crate::primitives;
use crate::script::{Runbook, Script};
use crate::transport::{Cancel, Command};

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

/// How one evaluation of the script ended.
enum Evaluated {
    Finished,
    Failed(Failure, Vec<String>),
    Stopped(Stop),
}

const GO_ON: &str = "go on";
const ROLL_BACK: &str = "roll back";
const PAUSE: &str = "pause";

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
        let lanes = lanes(setup, &run)?;
        // What this process began and the operator then wants undone needs no second heading.
        if !(rebuilding && interrupted) {
            lanes[0].emit(setup.heading());
        }
        // Adapters and closures need the engines as long as anything may be undone.
        let scripts = Mutex::new(Vec::new());
        let evaluated = if rebuilding {
            rebuild(setup, &lanes, &scripts)
        } else {
            evaluate(setup, &lanes, &scripts)
        };
        let mut end = Ending { setup, run: &run, lanes: &lanes, started, interrupted };
        if let Direction::Back(back) = &direction {
            return end.undo(&back.why, back.failure.as_deref().cloned());
        }
        match evaluated {
            Evaluated::Finished => return end.finished(),
            Evaluated::Failed(failure, calls) => return end.failed(failure, calls),
            Evaluated::Stopped(Stop::Cancelled) => {
                interrupted = true;
                end.interrupted = true;
                match end.interrupt() {
                    GO_ON => {
                        setup.cancel.reset();
                        interrupted = false;
                    }
                    ROLL_BACK => {
                        setup.cancel.reset();
                        let why = "the operator interrupted the run".to_owned();
                        direction = Direction::Back(Back { why, failure: None, asked: false });
                    }
                    _ => return end.paused(Stop::Cancelled, Vec::new()),
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
    let lanes = lanes(setup, &run)?;
    lanes[0].emit(setup.heading());
    let scripts = Mutex::new(Vec::new());
    rebuild(setup, &lanes, &scripts);
    lanes[0].emit(What::UndoBegan { why: "what a rollback would do, newest first".to_owned() });
    let end = Ending { setup, run: &run, lanes: &lanes, started, interrupted: false };
    let sight = match foresee_rollback(&lanes[0]) {
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

/// One lane for a single target; for several, the main lane with a branch for each.
pub(super) fn lanes(setup: &Setup, run: &Arc<Run>) -> Result<Vec<Lane>> {
    let targets: Vec<Arc<Target>> =
        setup.info.targets.iter().map(|name| run.targets.get(name)).collect::<Result<_>>()?;
    let first = match targets.first() {
        Some(target) => Arc::clone(target),
        None => run.targets.get("local")?,
    };
    let main = Lane::main(Arc::clone(run), first);
    if targets.len() < 2 || setup.pieces.is_some() {
        return Ok(vec![main]);
    }
    let keyed: Vec<_> =
        targets.into_iter().map(|target| (target.name.clone(), Some(target))).collect();
    let branches = main.branch(&keyed);
    main.push_undo(Undo::Lanes(branches.clone()));
    Ok(std::iter::once(main).chain(branches).collect())
}

/// The lanes on which the script is evaluated: the branches if there are any.
pub(super) fn working(lanes: &[Lane]) -> &[Lane] {
    if lanes.len() > 1 { &lanes[1..] } else { lanes }
}

/// Evaluates the script on a thread of its own per lane, for Rhai recurses deeply.
fn evaluate_lanes(setup: &Setup, lanes: &[Lane], scripts: &Mutex<Vec<Script>>) -> Vec<Result<()>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = working(lanes)
            .iter()
            .map(|lane| {
                std::thread::Builder::new()
                    .name(lane.name().to_owned())
                    .stack_size(crate::effect::STACK)
                    .spawn_scoped(scope, move || {
                        if let Some(pieces) = &setup.pieces {
                            let (script, result) = interactive::replay(setup, lane, pieces);
                            scripts.lock().unwrap_or_else(PoisonError::into_inner).extend(script);
                            return result;
                        }
                        let mut script = Script::new(&setup.runbook, lane).map_err(|error| {
                            Halt::from(Failure::input(error.to_string()).at(error.place))
                        })?;
                        let result = script.run().map(drop);
                        scripts.lock().unwrap_or_else(PoisonError::into_inner).push(script);
                        result
                    })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| match thread.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(Stop::Limit("the script's thread panicked".to_owned()).into()),
                Err(error) => Err(Stop::Limit(format!("no thread for the script: {error}")).into()),
            })
            .collect()
    })
}

fn evaluate(setup: &Setup, lanes: &[Lane], scripts: &Mutex<Vec<Script>>) -> Evaluated {
    let mut failures = Vec::new();
    let mut stops = Vec::new();
    for result in evaluate_lanes(setup, lanes, scripts) {
        match result {
            Ok(()) => {}
            Err(Halt::Failure(failure)) => failures.push(*failure),
            Err(Halt::Stop(stop)) => stops.push(stop),
        }
    }
    let run = lanes[0].run();
    let again: BTreeSet<String> =
        failures.iter().flat_map(|failure| run.beside.tried_again(failure)).collect();
    let calls: Vec<String> = again.into_iter().collect();
    // What the journal says comes first, then what the operator wants, then what failed, then what waits.
    let rank = |stop: &Stop| match stop {
        Stop::Journal(_) => 0,
        Stop::Mismatch(_) => 1,
        Stop::Limit(_) | Stop::Fenced(_) => 2,
        Stop::Cancelled => 3,
        Stop::Fired(_) | Stop::Paused(Pause { unknown: true, .. }) => 4,
        Stop::Paused(_) | Stop::EndOfRecord => 5,
    };
    stops.sort_by_key(rank);
    let urgent = stops.first().filter(|stop| rank(stop) < 4 || failures.is_empty()).cloned();
    match (urgent, failures.into_iter().next()) {
        (Some(stop), _) => Evaluated::Stopped(stop),
        (None, Some(failure)) => Evaluated::Failed(failure, calls),
        (None, None) => Evaluated::Finished,
    }
}

/// Replays the script as far as it is on record, so that the lanes know what to undo.
fn rebuild(setup: &Setup, lanes: &[Lane], scripts: &Mutex<Vec<Script>>) -> Evaluated {
    for result in evaluate_lanes(setup, lanes, scripts) {
        match result {
            Ok(()) | Err(Halt::Failure(_) | Halt::Stop(Stop::EndOfRecord)) => {}
            Err(Halt::Stop(stop)) => {
                // Without the script's closures, what is on record can still be undone.
                let main = &lanes[0];
                for lane in lanes {
                    drop(lane.take_undo());
                }
                main.emit(What::Warning {
                    text: format!("the script cannot be replayed ({stop}); only the recorded inverses are undone, not what `on_rollback` registered"),
                });
                recall_inverses(main);
                break;
            }
        }
    }
    Evaluated::Finished
}

/// How a run is brought to its end.
pub(super) struct Ending<'a> {
    pub(super) setup: &'a Setup,
    pub(super) run: &'a Arc<Run>,
    pub(super) lanes: &'a [Lane],
    pub(super) started: Instant,
    pub(super) interrupted: bool,
}

impl Ending<'_> {
    pub(super) fn debts(&self) -> Vec<String> {
        self.run
            .obligations
            .all()
            .into_iter()
            .map(|open| match open.kept {
                Some(reason) => {
                    format!("{} on {} (kept off: {reason})", open.debt.what, open.target)
                }
                None => format!("{} on {}", open.debt.what, open.target),
            })
            .collect()
    }

    pub(super) fn finished(&mut self) -> Result<Ended> {
        if self.setup.mode == Mode::Plan {
            return self.end(
                Status::Planned,
                "this was a plan: nothing was changed".to_owned(),
                None,
                None,
                Vec::new(),
            );
        }
        // What is still off now may be on again already.
        match look_all(&self.lanes[0]) {
            Ok(()) => {}
            Err(Halt::Stop(stop)) => return self.paused(stop, Vec::new()),
            Err(Halt::Failure(failure)) => {
                self.lanes[0].emit(What::Warning { text: failure.to_string() });
            }
        }
        if self.debts().is_empty() {
            match disarm_all(&self.lanes[0]) {
                Ok(()) => {}
                Err(Halt::Stop(stop)) => return self.paused(stop, Vec::new()),
                Err(Halt::Failure(failure)) => {
                    let message = format!("the script has ended, but: {failure}");
                    return self.end(Status::Failed, message, Some(*failure), None, Vec::new());
                }
            }
            let mut cursor = self.run.cursor.lock().unwrap_or_else(PoisonError::into_inner);
            let told = cursor.told(&Body::Closing);
            drop(cursor);
            if let (Some(store), false) = (&self.setup.store, told)
                && let Err(error) =
                    store.append_durable(&self.setup.info.id, Body::Closing, Vec::new())
            {
                return self.paused(Stop::Journal(error.to_string()), Vec::new());
            }
            self.clean();
            return self.end(Status::Done, "done".to_owned(), None, None, Vec::new());
        }
        let message =
            "the script has ended, but something that it switched off is still off".to_owned();
        self.end(Status::Failed, message, None, None, Vec::new())
    }

    pub(super) fn failed(&mut self, failure: Failure, calls: Vec<String>) -> Result<Ended> {
        if self.setup.mode == Mode::Plan {
            return self.end(
                Status::Planned,
                format!("the plan ends here: {failure}"),
                Some(failure),
                None,
                Vec::new(),
            );
        }
        let Some(why) = self.run.past_point_of_no_return() else {
            return self.undo(&failure.to_string(), Some(failure));
        };
        // Nothing is undone on its own any more: the operator decides.
        let question = Question::Choose {
            text: format!("{failure}. The point of no return was passed ({why}). What now?"),
            options: vec![PAUSE.to_owned(), ROLL_BACK.to_owned()],
            default: Some(PAUSE.to_owned()),
        };
        if !self.setup.yes && self.setup.asker.ask(&question).as_deref() == Some(ROLL_BACK) {
            return self.undo(&failure.to_string(), Some(failure));
        }
        let message = format!("paused after a failure beyond the point of no return ({why})");
        self.end(Status::Paused, message, Some(failure), None, calls)
    }

    /// Asks what an interrupt leads to.
    fn interrupt(&self) -> &'static str {
        let cancel = &self.setup.cancel;
        if self.setup.mode == Mode::Plan || cancel.wants_pause() {
            return PAUSE;
        }
        let otherwise =
            if self.setup.on_interrupt == OnInterrupt::RollBack { ROLL_BACK } else { PAUSE };
        // Twice is at once; and who is not at the terminal is not asked.
        if cancel.level() > 1 {
            return PAUSE;
        }
        if cancel.is_unattended() {
            return otherwise;
        }
        let question = Question::Choose {
            text: "Interrupted. What now?".to_owned(),
            options: [PAUSE, ROLL_BACK, GO_ON].map(str::to_owned).to_vec(),
            default: None,
        };
        match self.setup.asker.ask(&question).as_deref() {
            Some(ROLL_BACK) => ROLL_BACK,
            Some(GO_ON) => GO_ON,
            // Ctrl-C at this question: twice is at once.
            None if cancel.wants_pause() || self.setup.asker.is_there() => PAUSE,
            None => otherwise,
            _ => PAUSE,
        }
    }

    pub(super) fn paused(&self, stop: Stop, calls: Vec<String>) -> Result<Ended> {
        if self.setup.mode == Mode::Plan {
            return self.end(
                Status::Planned,
                format!("the plan ends here: {stop}"),
                None,
                Some(stop),
                calls,
            );
        }
        let (status, message) = match &stop {
            Stop::Paused(pause) if pause.unknown => (Status::Unknown, pause.why.clone()),
            Stop::Paused(pause) => (Status::Paused, pause.why.clone()),
            Stop::Cancelled => (Status::Paused, self.interrupted()?),
            Stop::Fired(why) => (
                Status::Paused,
                format!(
                    "{why}; `resume` does it again and goes on, `rollback` takes the rest back"
                ),
            ),
            stop => (Status::Paused, stop.to_string()),
        };
        self.end(status, message, None, Some(stop), calls)
    }

    /// Says how an interrupted run was left.
    fn interrupted(&self) -> Result<String> {
        let cancel = &self.setup.cancel;
        let by = if cancel.wants_pause() { "another operator asked for it" } else { "interrupted" };
        let records = match &self.setup.store {
            Some(store) => store.records(&self.setup.info.id)?,
            None => Vec::new(),
        };
        let cursor = Cursor::new(&records, false);
        let open: Vec<_> = cursor
            .all()
            .iter()
            .filter(|call| call.outcome.is_none() || call.again)
            .filter(|call| call.access == Access::Change)
            .map(|call| format!("{} on {}", call.summary, call.target))
            .collect();
        let open = open.join("; ");
        Ok(match (open.as_str(), cancel.level() > 1) {
            ("", _) => format!("{by}; nothing is under way"),
            (open, false) => {
                format!("{by}; this was ended half-way, `resume` looks what became of it: {open}")
            }
            (open, true) => format!(
                "{by} at once; this may still be under way, `resume` finds out what became of it: {open}"
            ),
        })
    }

    /// Undoes everything, newest first.
    pub(super) fn undo(&mut self, why: &str, failure: Option<Failure>) -> Result<Ended> {
        if let Some(store) = &self.setup.store {
            let asked = self.run.asked;
            let body = Body::UndoBegan { why: why.to_owned(), failure: failure.clone(), asked };
            if let Err(error) = store.append_durable(&self.setup.info.id, body, Vec::new()) {
                return self.paused(Stop::Journal(error.to_string()), Vec::new());
            }
        }
        self.setup.cancel.reset();
        self.lanes[0].emit(What::UndoBegan { why: why.to_owned() });
        let undone = match self.undo_on_a_thread() {
            Ok(undone) => undone,
            Err(Halt::Stop(stop)) => {
                self.interrupted |= stop == Stop::Cancelled;
                let message = match &stop {
                    Stop::Paused(pause) => pause.why.clone(),
                    stop => format!("undo was interrupted ({stop}); `resume` goes on with it"),
                };
                let status = match &stop {
                    Stop::Paused(pause) if pause.unknown => Status::Unknown,
                    _ => Status::Paused,
                };
                return self.end(status, message, failure, Some(stop), Vec::new());
            }
            Err(Halt::Failure(failure)) => Undone { failed: vec![*failure], ..Undone::default() },
        };
        let failed = u32::try_from(undone.failed.len()).unwrap_or(u32::MAX);
        self.lanes[0].emit(What::UndoEnded { done: undone.done, failed });
        let calls: Vec<String> =
            undone.failed.iter().filter_map(|failure| failure.call.clone()).collect();
        if failed > 0 {
            let message = format!(
                "failed; {failed} of {} undos failed too, `rollback` tries them again",
                undone.done + failed
            );
            let failure = failure.or_else(|| undone.failed.into_iter().next());
            return self.end(Status::Failed, message, failure, None, calls);
        }
        // Everything is as it was, so that one that fired says nothing new.
        if let Err(Halt::Failure(failure)) = disarm_all(&self.lanes[0]) {
            self.lanes[0].emit(What::Warning { text: failure.to_string() });
        }
        self.clean();
        let what = match (undone.done, undone.left.as_slice()) {
            (0, []) => "there was nothing to undo".to_owned(),
            (_, []) => "everything was rolled back".to_owned(),
            (done, left) => {
                let part = if done > 0 { "the rest was rolled back; " } else { "" };
                format!("{part}cannot be undone: {}", left.join(", "))
            }
        };
        let message = if failure.is_some() { format!("failed; {what}") } else { what };
        let status = if undone.left.is_empty() { Status::RolledBack } else { Status::Failed };
        self.end(status, message, failure, None, calls)
    }

    fn undo_on_a_thread(&self) -> Result<Undone> {
        let lane = &self.lanes[0];
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("undo".to_owned())
                .stack_size(crate::effect::STACK);
            match thread
                .spawn_scoped(scope, move || roll_back(lane))
                .map(std::thread::ScopedJoinHandle::join)
            {
                Ok(Ok(result)) => result,
                _ => Err(Stop::Limit("the undo thread failed".to_owned()).into()),
            }
        })
    }

    /// Removes what the run kept on its targets for undo.
    fn clean(&self) {
        let touched = self.run.touched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for ((name, _), touched) in touched {
            let command = Command::script(primitives::clean_script(), [self.run.id.as_str()])
                .sudo(touched.sudo)
                .timeout(Some(Duration::from_secs(120)))
                .tied(Duration::ZERO);
            if let Some(why) = self.run.exec_last(&touched.target, &command) {
                let text = format!("files of this run are left on {name}: {why}");
                self.lanes[0].emit(What::Warning { text });
            }
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "most callers have made it for this")]
    pub(super) fn end(
        &self,
        status: Status,
        message: String,
        failure: Option<Failure>,
        stop: Option<Stop>,
        failed: Vec<String>,
    ) -> Result<Ended> {
        let redactor = &self.setup.redactor;
        let message = redactor.text(&message);
        let failure = failure.map(|failure| redactor.failure(failure));
        let due = match &stop {
            Some(Stop::Paused(pause)) => pause.until,
            _ => None,
        };
        // Nothing is under way any more, or days may pass.
        if due.is_some() || !matches!(status, Status::Paused | Status::Unknown | Status::Planned) {
            self.run.unlock(&|what| self.lanes[0].emit(what));
        }
        let debts = self.debts();
        let id = self.setup.info.id.as_str();
        let next = match status {
            Status::Paused | Status::Unknown => Some(format!("upgrade-host resume {}", short(id))),
            Status::Failed if !failed.is_empty() || !debts.is_empty() => {
                Some(format!("upgrade-host rollback {}", short(id)))
            }
            Status::Planned if failure.is_none() && stop.is_none() => None,
            _ if !debts.is_empty() => Some("upgrade-host debts".to_owned()),
            _ => None,
        };
        if matches!(status, Status::Paused | Status::Unknown | Status::Failed) {
            for text in self.run.switches.armed() {
                let text =
                    format!("a dead-man switch is armed: {text}, unless the run goes on before");
                self.lanes[0].emit(What::Warning { text: redactor.text(&text) });
            }
        }
        let journal_failed = matches!(stop, Some(Stop::Journal(_)));
        if let (Some(store), false) = (&self.setup.store, journal_failed) {
            let body = Body::Ended { status, failed, message: message.clone() };
            if let Err(error) = store.turn(id, body, status, due) {
                // It ended, and nobody knows: `resume` finds it so.
                return self.paused(Stop::Journal(error.to_string()), Vec::new());
            }
        }
        let now = self.run.clock.now();
        self.lanes[0].emit(What::RunEnded {
            status,
            message: message.clone(),
            failure: failure.clone(),
            downtime_ms: u64::try_from(self.run.obligations.downtime(now).as_millis())
                .unwrap_or(u64::MAX),
            took_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            debts: debts.clone(),
            next,
        });
        Ok(Ended {
            run: id.to_owned(),
            status,
            message,
            failure,
            stop,
            debts,
            interrupted: self.interrupted,
        })
    }
}

/// The part of an id that people type.
fn short(id: &str) -> &str {
    id.rsplit('-').next().unwrap_or(id)
}
