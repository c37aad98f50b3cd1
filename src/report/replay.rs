//! A recorded run as the events that it told when it ran, so that every report of a run that goes on also shows one
//! that is over.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::call::{Access, CallKey};
use crate::error::Failure;
use crate::event::{CallEnd, DeadmanState, Event, Status, What, on_again};
use crate::journal::{Body, Debt, Outcome, Record, RunInfo};

/// Turns the records of a run into events. Progress and output are not recorded, so there are none of them; the words
/// on a result are as good as its value tells.
pub fn events_of(run: &RunInfo, records: &[Record]) -> Vec<Event> {
    let mut replay = Replay::new(run);
    let first = run.targets.first().cloned().unwrap_or_else(|| "local".to_owned());
    replay.emit(run.started, "main", "", &first, replay.began("run"));
    for record in records {
        replay.record(record, &first);
    }
    replay.events
}

/// A call whose outcome has not come yet.
struct Open<'a> {
    at: Timestamp,
    access: Access,
    target: &'a str,
    summary: &'a str,
    closes: Option<&'a str>,
}

struct Replay<'a> {
    run: &'a RunInfo,
    events: Vec<Event>,
    open: HashMap<&'a CallKey, Open<'a>>,
    steps: HashMap<(&'a str, &'a str), Timestamp>,
    debts: BTreeMap<(String, String), (Debt, Timestamp)>,
    lockouts: Lockouts,
    failures: HashMap<String, Failure>,
    /// When the process that drives it took it up.
    since: Timestamp,
    undone: Option<(u32, u32)>,
    undo_failure: Option<Failure>,
    began: bool,
    /// A line of the REPL that has made no call yet, and is not told if it makes none.
    silent: Option<Event>,
    /// Steps that no record tells of, but a call stands in: of a process that was cut off, or of an old journal.
    made: Vec<(&'a str, &'a str)>,
    /// The calls whose dead-man switches are armed.
    armed: HashSet<&'a CallKey>,
}

/// Adds up the time during which at least one lock-out stood.
#[derive(Debug, Default)]
struct Lockouts {
    open: u32,
    since: Option<Timestamp>,
    total: Duration,
}

impl Lockouts {
    fn until(&self, now: Timestamp) -> Duration {
        self.total + self.since.map_or(Duration::ZERO, |since| span(since, now))
    }
}

impl<'a> Replay<'a> {
    fn new(run: &'a RunInfo) -> Self {
        Self {
            run,
            events: Vec::new(),
            open: HashMap::new(),
            steps: HashMap::new(),
            debts: BTreeMap::new(),
            lockouts: Lockouts::default(),
            failures: HashMap::new(),
            since: run.started,
            undone: None,
            undo_failure: None,
            began: false,
            silent: None,
            made: Vec::new(),
            armed: HashSet::new(),
        }
    }

    fn began(&self, mode: &str) -> What {
        What::RunBegan {
            title: self.run.title.clone(),
            runbook: self.run.runbook.clone(),
            targets: self.run.targets.clone(),
            mode: mode.to_owned(),
        }
    }

    fn emit(&mut self, at: Timestamp, lane: &str, step: &str, target: &str, what: What) {
        self.events.extend(self.silent.take());
        let event = Event {
            at,
            run: self.run.id.clone(),
            lane: lane.to_owned(),
            step: step.to_owned(),
            target: target.to_owned(),
            what,
        };
        let is_line = self.run.runbook == "<repl>" && !step.contains(" > ");
        match event.what {
            What::StepBegan if is_line => self.silent = Some(event),
            _ => self.events.push(event),
        }
    }

    fn record(&mut self, record: &'a Record, first: &str) {
        let at = record.at;
        match &record.body {
            Body::Intent { call, target, summary, again: true, .. } => {
                let began = What::CallBegan {
                    call: call.to_string(),
                    summary: summary.clone(),
                    access: Access::Change,
                    place: None,
                };
                let text = on_again(target, summary);
                self.emit(at, &call.lane, "", target, What::Warning { text });
                self.emit(at, &call.lane, "", target, began);
                let open = Open { at, access: Access::Change, target, summary, closes: None };
                self.open.insert(call, open);
            }
            Body::Intent { call, access, target, summary, opens, closes, place, .. } => {
                self.stand_in(at, call, target);
                let what = What::CallBegan {
                    call: call.to_string(),
                    summary: summary.clone(),
                    access: *access,
                    place: place.clone(),
                };
                self.emit(at, &call.lane, &call.step, target, what);
                if let Some(debt) = opens {
                    self.owe(at, call, target, debt);
                }
                let closes = closes.as_deref();
                self.open.insert(call, Open { at, access: *access, target, summary, closes });
            }
            Body::Outcome { call, outcome } => {
                if let Some(open) = self.open.remove(call) {
                    self.ended(at, call, &open, outcome);
                }
            }
            Body::Call { call, access, target, summary, action, outcome, closes, place } => {
                self.stand_in(at, call, target);
                let what = What::CallBegan {
                    call: call.to_string(),
                    summary: summary.clone(),
                    access: *access,
                    place: place.clone(),
                };
                self.emit(at, &call.lane, &call.step, target, what);
                let closes = closes.as_deref();
                let open = Open { at, access: *access, target, summary, closes };
                self.ended(at, call, &open, outcome);
                if let Some(what) = told_by(&call.action, action, outcome) {
                    self.emit(at, &call.lane, &call.step, target, what);
                }
            }
            Body::Deadman { call, target, key, what, state, .. } => {
                match state {
                    DeadmanState::Arming { .. } => {
                        self.armed.remove(call);
                        return;
                    }
                    // Once more: its deadline was moved on.
                    DeadmanState::Armed { .. } if !self.armed.insert(call) => return,
                    DeadmanState::Armed { .. } => {}
                    _ => {
                        self.armed.remove(call);
                    }
                }
                let (step, what) = (&call.step, what.clone());
                let state = state.clone();
                let met = matches!(state, DeadmanState::Fired { status: Some(0), .. });
                self.emit(at, &call.lane, step, target, What::Deadman { what, state });
                if let (Some(key), true) = (key, met) {
                    self.met(at, call, target, key);
                }
            }
            Body::Step { lane, step, begins: true, .. } => {
                self.leave_made(at, lane, step, first);
                self.steps.insert((lane, step), at);
                self.emit(at, lane, step, first, What::StepBegan);
            }
            Body::Step { step, .. }
                if self.silent.as_ref().is_some_and(|silent| silent.step == *step) =>
            {
                self.silent = None;
                self.steps.retain(|(_, begun), _| *begun != step);
            }
            Body::Step { lane, step, ok, .. } => {
                let from = self.steps.remove(&(lane.as_str(), step.as_str())).unwrap_or(at);
                let took_ms = millis(span(from, at));
                self.emit(at, lane, step, first, What::StepEnded { ok: *ok, took_ms });
            }
            Body::Note { text, warning } => {
                let text = text.clone();
                let what = if *warning { What::Warning { text } } else { What::Note { text } };
                self.emit(at, "main", "", first, what);
            }
            Body::UndoBegan { why, failure, .. } => {
                self.undone = Some((0, 0));
                self.undo_failure.clone_from(failure);
                self.emit(at, "main", "", first, What::UndoBegan { why: why.clone() });
            }
            Body::Resumed { .. } => {
                // A run's first process need not have said so, but it may.
                if self.began {
                    self.since = at;
                    self.steps.clear();
                    self.made.clear();
                    self.emit(at, "main", "", first, self.began("resume"));
                }
            }
            Body::Closing | Body::LaneBegan { .. } => {}
            Body::Ended { status, failed, message } => {
                self.run_ended(at, first, *status, failed, message);
            }
        }
        self.began = true;
    }

    /// Opens the steps around a call that no record has opened.
    fn stand_in(&mut self, at: Timestamp, call: &'a CallKey, target: &str) {
        if call.takes_back() {
            return;
        }
        self.leave_made(at, &call.lane, &call.step, target);
        let ends = call.step.match_indices(" > ").map(|(end, _)| end);
        for end in ends.chain([call.step.len()]).filter(|end| *end > 0) {
            let path = &call.step[..end];
            // A parallel lane stands in the steps of the lanes around it.
            let open =
                self.steps.keys().any(|(lane, open)| *open == path && call.lane.starts_with(lane));
            if !open {
                self.steps.insert((&call.lane, path), at);
                self.made.push((&call.lane, path));
                self.emit(at, &call.lane, path, target, What::StepBegan);
            }
        }
    }

    /// Closes the steps of a lane that no record tells of and that `step` is not in.
    fn leave_made(&mut self, at: Timestamp, lane: &str, step: &str, target: &str) {
        let over = |path: &str| {
            step.strip_prefix(path).is_none_or(|rest| !rest.is_empty() && !rest.starts_with(" > "))
        };
        let leaving: Vec<_> =
            self.made.extract_if(.., |(made, path)| *made == lane && over(path)).collect();
        for (lane, path) in leaving.into_iter().rev() {
            let from = self.steps.remove(&(lane, path)).unwrap_or(at);
            let took_ms = millis(span(from, at));
            self.emit(at, lane, path, target, What::StepEnded { ok: true, took_ms });
        }
    }

    fn owe(&mut self, at: Timestamp, call: &CallKey, target: &str, debt: &Debt) {
        let key = (target.to_owned(), debt.key.clone());
        if self.debts.insert(key, (debt.clone(), at)).is_some() {
            return;
        }
        if debt.locks_out {
            self.lockouts.open += 1;
            self.lockouts.since.get_or_insert(at);
        }
        let what = What::DebtOpened { what: debt.what.clone(), locks_out: debt.locks_out };
        self.emit(at, &call.lane, &call.step, target, what);
    }

    fn ended(&mut self, at: Timestamp, call: &CallKey, open: &Open<'_>, outcome: &Outcome) {
        let (end, result, well) = match outcome {
            Outcome::Done { value, changed, words: said } => {
                let end = if *changed || open.access != Access::Change {
                    CallEnd::Done
                } else {
                    CallEnd::Already
                };
                (end, said.clone().or_else(|| words(value, open.access)), true)
            }
            Outcome::Failed { failure } => {
                self.failures.insert(call.to_string(), failure.clone());
                (CallEnd::Failed(failure.clone()), None, false)
            }
        };
        if let Some((done, failed)) = &mut self.undone
            && call.takes_back()
        {
            *(if well { done } else { failed }) += 1;
        }
        let what = What::CallEnded {
            call: call.to_string(),
            summary: open.summary.to_owned(),
            end,
            result,
            took_ms: millis(span(open.at, at)),
        };
        self.emit(at, &call.lane, &call.step, open.target, what);
        if let Some(key) = open.closes.filter(|_| well) {
            self.met(at, call, open.target, key);
        }
    }

    /// Meets an obligation, if it is open.
    fn met(&mut self, at: Timestamp, call: &CallKey, target: &str, key: &str) {
        if let Some((debt, _)) = self.debts.remove(&(target.to_owned(), key.to_owned())) {
            if debt.locks_out {
                self.lockouts.open -= 1;
                if self.lockouts.open == 0 {
                    self.lockouts.total = self.lockouts.until(at);
                    self.lockouts.since = None;
                }
            }
            let what = What::DebtClosed { what: debt.what, locks_out: debt.locks_out };
            self.emit(at, &call.lane, &call.step, target, what);
        }
    }

    fn run_ended(
        &mut self,
        at: Timestamp,
        first: &str,
        status: Status,
        failed: &[String],
        message: &str,
    ) {
        if let Some((done, failed)) = self.undone.take() {
            self.emit(at, "main", "", first, What::UndoEnded { done, failed });
        }
        let failure =
            failed.iter().find_map(|call| self.failures.get(call)).or(self.undo_failure.as_ref());
        let what = What::RunEnded {
            status,
            message: message.to_owned(),
            failure: failure.cloned(),
            downtime_ms: millis(self.lockouts.until(at)),
            took_ms: millis(span(self.since, at)),
            debts: self
                .debts
                .iter()
                .map(|((target, _), (debt, _))| format!("{} on {target}", debt.what))
                .collect(),
            next: next(&self.run.id, status),
        };
        self.emit(at, "main", "", first, what);
    }
}

/// Returns the event that a recorded call was told by besides.
fn told_by(name: &str, action: &Value, outcome: &Outcome) -> Option<What> {
    let number = |key: &str| usize::try_from(action[key].as_u64()?).ok();
    let texts = |value: &Value| serde_json::from_value(value.clone()).ok();
    Some(match (name, outcome) {
        ("point_of_no_return", _) => {
            What::PointOfNoReturn { why: action["why"].as_str().unwrap_or_default().to_owned() }
        }
        ("wave", _) => What::WaveBegan {
            number: number("number")?,
            of: number("of")?,
            items: texts(&action["items"])?,
        },
        ("wave_over", Outcome::Done { value, .. }) => What::WaveEnded {
            number: number("number")?,
            of: number("of")?,
            done: usize::try_from(value["done"].as_u64()?).ok()?,
            failed: texts(&value["failed"])?,
            waits: texts(&value["waits"])?,
        },
        _ => return None,
    })
}

/// Returns the command that takes a run further, if one does.
fn next(run: &str, status: Status) -> Option<String> {
    matches!(status, Status::Running | Status::Paused | Status::Failed | Status::Unknown)
        .then(|| format!("upgrade-host resume {run}"))
}

/// Says a recorded value in a few words, if it is made for that.
fn words(value: &Value, access: Access) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => {
            let line = text.lines().next().unwrap_or_default();
            let more = line.chars().count() > 60 || text.lines().nth(1).is_some();
            let line: String = line.chars().take(60).collect();
            Some(if more { format!("{line}…") } else { line })
        }
        // What a change counted has a noun that is not recorded.
        Value::Number(number) if access != Access::Change => Some(number.to_string()),
        Value::Array(items) if !items.is_empty() => Some(format!("{} in the list", items.len())),
        _ => None,
    }
}

fn span(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
