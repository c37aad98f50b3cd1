//! A run whose script is typed while it goes, as the REPL does: begun like any other run, evaluated piece by piece, ended
//! with the same words on what is owed and what is undone.
//!
//! The journal gets the whole transcript before a piece is evaluated, so that `upgrade-host rollback RUN` can replay it
//! days later, with its closures. The run comes into the journal with the first piece: a prompt that was only looked at
//! leaves no trace.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::drive::{self, Ended, Setup};
use super::ending::Ending;
use super::error::SessionError;
use super::evaluate::on_a_thread;
use super::open::{Order, Session, Text, Voice};
use super::prepare;
use crate::call::Access;
use crate::effect::{Lane, Mode, Run, Target, Targets, Undo, Undone, roll_back};
use crate::error::{Failure, Halt, Result, Stop};
use crate::event::{Status, What};
use crate::journal::{Body, Cursor, Hold, Inverse, RunInfo, Source, Store};
use crate::script::{self, Metadata, Runbook, Script, ScriptError, Shown};
use crate::transport::readonly::ReadOnly;

/// The name of what was typed, in places and in the journal.
pub const NAME: &str = "<repl>";
/// The recorded source that says where the pieces of the transcript begin.
const PIECES: &str = "<repl>/pieces";

/// How long the replay of an interrupted line may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A piece of the transcript.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    /// The line of the transcript on which it begins, from 1; it names the step of its calls.
    line: usize,
    /// The target that was current.
    target: String,
    /// Whether it ended by itself. If not, where in it an interrupt or a kill came is known by its calls alone.
    #[serde(default)]
    ended: bool,
    /// Its text.
    #[serde(skip)]
    text: String,
}

impl Piece {
    fn step(&self) -> String {
        format!("line {}", self.line)
    }

    /// The text at its place in the transcript, so that errors of functions defined long before still name their line.
    fn placed(&self) -> String {
        format!("{}{}", "\n".repeat(self.line - 1), self.text)
    }
}

/// What was typed so far. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Transcript(Arc<Mutex<String>>);

impl Transcript {
    /// Returns the text.
    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

/// A change that was interrupted and may have happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// What it is, and where.
    pub what: String,
    /// Whether undoing it makes that certain.
    pub undoable: bool,
}

/// How much is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What the last line did that did something.
    Last,
    /// Everything.
    All,
}

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
        let mut runbook = empty()?;
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

    /// Returns what can be taken back, newest first; nothing if there is no more than what cannot be undone.
    pub fn undoable(&self, reach: Reach) -> Vec<String> {
        let all = peek(&self.lane);
        let from = match reach {
            Reach::All if all.iter().any(|undo| line(undo).is_some()) => 0,
            Reach::All => all.len(),
            Reach::Last => last_line(&all),
        };
        all[from..].iter().rev().flat_map(describe).collect()
    }

    /// Takes back, newest first. What fails, and what an interrupt leaves, can be tried again.
    ///
    /// # Errors
    /// A stop.
    pub fn undo(&mut self, reach: Reach) -> Result<Undone> {
        let mut all = self.lane.take_undo();
        let from = if reach == Reach::All { 0 } else { last_line(&all) };
        let mut wanted = all.split_off(from);
        for undo in all {
            self.lane.push_undo(undo);
        }
        self.tell("run");
        self.lane.emit(What::UndoBegan { why: "asked for by the operator".to_owned() });
        let mut total = Undone::default();
        let mut left = Vec::new();
        let mut stopped = None;
        while let Some(undo) = wanted.pop() {
            let again = undo.clone();
            self.lane.push_undo(undo);
            match self.undo_one() {
                Ok(undone) if undone.failed.is_empty() => {
                    total.done += undone.done;
                    self.settled(&again);
                }
                Ok(undone) => {
                    total.done += undone.done;
                    total.failed.extend(undone.failed);
                    left.push(again);
                }
                Err(halt) => {
                    left.push(again);
                    stopped = Some(halt);
                    break;
                }
            }
        }
        // In their old order, on top of what was not touched, which `undo_one` has put back in between.
        for undo in wanted.into_iter().chain(left.into_iter().rev()) {
            self.lane.push_undo(undo);
        }
        let failed = u32::try_from(total.failed.len()).unwrap_or(u32::MAX);
        self.lane.emit(What::UndoEnded { done: total.done, failed });
        match stopped {
            Some(halt) => Err(halt),
            None => Ok(total),
        }
    }

    /// Undoes the newest entry of the lane alone.
    fn undo_one(&self) -> Result<Undone> {
        let mut all = self.lane.take_undo();
        if let Some(newest) = all.pop() {
            self.lane.push_undo(newest);
        }
        let result = on_a_thread("line", || roll_back(&self.lane));
        drop(self.lane.take_undo());
        for undo in all {
            self.lane.push_undo(undo);
        }
        result
    }

    /// Returns what this session owes.
    pub fn debts(&self) -> Vec<String> {
        self.ending().debts()
    }

    /// Returns the changes that were interrupted and may have happened.
    pub fn unsettled(&self) -> Vec<Unsettled> {
        self.unsettled.values().cloned().collect()
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
        let before: usize = self.pieces.iter().map(|piece| piece.text.split('\n').count()).sum();
        Piece {
            line: before + 1,
            target: self.target(),
            ended: false,
            text: text.replace("\r\n", "\n").trim_end().to_owned(),
        }
    }

    fn show(&self, last: &Piece) {
        self.transcript.set(transcript(self.pieces.iter().chain([last])));
    }

    /// Writes what is about to be evaluated, durable.
    fn record(&mut self) -> Result<()> {
        let Some(store) = &self.setup.store else { return Ok(()) };
        let text = self.setup.redactor.text(&transcript(&self.pieces));
        let pieces = serde_json::to_string(&self.pieces).map_err(|error| {
            Stop::Journal(format!("the transcript cannot be recorded: {error}"))
        })?;
        let sources = vec![
            Source { name: NAME.to_owned(), text },
            Source { name: PIECES.to_owned(), text: pieces },
        ];
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

    /// Remembers the changes of a line that have no outcome.
    fn find_unsettled(&mut self, step: &str) -> Result<()> {
        let Some(store) = &self.setup.store else { return Ok(()) };
        let cursor = Cursor::new(&store.records(&self.run.id)?, true);
        let open = cursor.all().into_iter().filter(|call| {
            call.outcome.is_none()
                && call.access == Access::Change
                && line_of(&call.call.step) == step
                && !call.call.takes_back()
        });
        self.unsettled.extend(open.map(|call| {
            let what = format!("{} on {}", call.summary, call.target);
            let undoable = !matches!(call.inverse, Some(Inverse::Impossible { .. }) | None);
            (call.call.to_string(), Unsettled { what, undoable })
        }));
        Ok(())
    }

    /// Forgets an interrupted change that was undone.
    fn settled(&mut self, undo: &Undo) {
        match undo {
            Undo::Inverse { inverse: Inverse::Impossible { .. }, .. } | Undo::Closure { .. } => {}
            Undo::Inverse { of, .. } => drop(self.unsettled.remove(&of.to_string())),
            Undo::Lanes(lanes) => {
                for lane in lanes {
                    let head = format!("{} / ", lane.name());
                    self.unsettled.retain(|call, one| !one.undoable || !call.starts_with(&head));
                }
            }
        }
    }
}

/// Returns an empty script with our name.
fn empty() -> Result<Runbook, ScriptError> {
    Ok(Runbook {
        name: NAME.to_owned(),
        text: String::new(),
        modules: BTreeMap::new(),
        ast: script::build(None)?.compile("").unwrap_or_default(),
        metadata: Metadata::default(),
    })
}

fn transcript<'a>(pieces: impl IntoIterator<Item = &'a Piece>) -> String {
    pieces.into_iter().fold(String::new(), |mut text, piece| {
        text.push_str(&piece.text);
        text.push('\n');
        text
    })
}

/// Returns the runbook and the pieces of a run that was typed; none of any other run.
pub(super) fn recorded(run: &RunInfo) -> Option<(Runbook, Vec<Piece>)> {
    let source =
        |name: &str| run.sources.iter().find(|source| source.name == name).map(|found| &found.text);
    let (text, pieces) = (source(NAME)?, source(PIECES)?);
    let mut pieces: Vec<Piece> = serde_json::from_str(pieces).ok()?;
    let lines: Vec<&str> = text.lines().collect();
    let ends: Vec<usize> =
        pieces.iter().skip(1).map(|piece| piece.line - 1).chain([lines.len()]).collect();
    for (piece, end) in pieces.iter_mut().zip(ends) {
        piece.text = lines.get(piece.line - 1..end)?.join("\n");
    }
    Some((empty().ok()?, pieces))
}

/// Evaluates the pieces of a recorded session once more, as far as each is on record; what failed then fails again, and
/// what was interrupted ends there.
pub(super) fn replay(setup: &Setup, lane: &Lane, pieces: &[Piece]) -> (Option<Script>, Result<()>) {
    let mut script = match Script::interactive(&setup.runbook, lane) {
        Ok(script) => script,
        Err(error) => return (None, Err(Failure::input(error.message).at(error.place).into())),
    };
    for piece in pieces {
        let target = match lane.run().targets.get(&piece.target) {
            Ok(target) => target,
            Err(halt) => return (Some(script), Err(halt)),
        };
        lane.pop_target();
        lane.push_target(target);
        lane.enter_step(&piece.step());
        let result = if piece.ended {
            script.line(NAME, &piece.placed())
        } else {
            bounded(lane, || script.line(NAME, &piece.placed()))
        };
        lane.leave_step();
        match result {
            Ok(_) | Err(Halt::Failure(_) | Halt::Stop(Stop::EndOfRecord)) => {}
            Err(halt) => return (Some(script), Err(halt)),
        }
    }
    (Some(script), Ok(()))
}

/// Evaluates what was once interrupted, perhaps in an endless loop: recorded calls take no time, and the rest is waited
/// for only so long.
fn bounded<T>(lane: &Lane, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let cancel = lane.run().cancel.clone();
    let (done, waits) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let watchdog = scope.spawn(move || {
            let timed_out = waits.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout);
            if timed_out {
                cancel.cancel();
            }
            timed_out
        });
        let result = body();
        drop(done);
        if watchdog.join().unwrap_or(false) {
            lane.run().cancel.reset();
            return match result {
                Err(Halt::Stop(Stop::Cancelled)) => Err(Stop::EndOfRecord.into()),
                result => result,
            };
        }
        result
    })
}

fn is_stop<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Halt::Stop(_)))
}

/// Returns the line that a step belongs to.
fn line_of(step: &str) -> &str {
    step.split(" > ").next().unwrap_or(step)
}

/// Returns the line of something that can be undone.
fn line(undo: &Undo) -> Option<String> {
    match undo {
        Undo::Inverse { inverse: Inverse::Nothing { .. } | Inverse::Impossible { .. }, .. } => None,
        Undo::Inverse { of, .. } | Undo::Closure { of, .. } => Some(line_of(&of.step).to_owned()),
        Undo::Lanes(lanes) => lanes.iter().find_map(|lane| peek(lane).iter().rev().find_map(line)),
    }
}

/// Returns where the entries of the last line begin that did something.
fn last_line(all: &[Undo]) -> usize {
    let Some(newest) = all.iter().rev().find_map(line) else { return all.len() };
    all.iter().position(|undo| line(undo).as_ref() == Some(&newest)).unwrap_or(all.len())
}

fn peek(lane: &Lane) -> Vec<Undo> {
    let all = lane.take_undo();
    for undo in &all {
        lane.push_undo(undo.clone());
    }
    all
}

/// Says what undoing would do.
fn describe(undo: &Undo) -> Vec<String> {
    match undo {
        Undo::Inverse { inverse: Inverse::Nothing { .. }, .. } => Vec::new(),
        Undo::Inverse { inverse: Inverse::Action { summary, .. }, target, .. } => {
            vec![format!("{summary} on {target}")]
        }
        Undo::Inverse { inverse: Inverse::Impossible { why }, of, .. } => {
            vec![format!("nothing of `{}`: {why}", of.action)]
        }
        Undo::Closure { of, target, .. } => {
            vec![format!("what `on_rollback` registered in {} on {target}", line_of(&of.step))]
        }
        Undo::Lanes(lanes) => lanes
            .iter()
            .flat_map(|lane| peek(lane).into_iter().rev())
            .flat_map(|undo| describe(&undo))
            .collect(),
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
