//! Replay as a state machine without I/O: given what was recorded, is this call answered from the record, was it under
//! way, is it new, or does it not fit?

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde_json::Value;

use super::record::{Body, Debt, Inverse, Outcome, Record};
use crate::call::{Access, CallKey};
use crate::error::{Mismatch, Place};
use crate::event::DeadmanState;

/// A call as the journal has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Its identity.
    pub call: CallKey,
    /// Its kind.
    pub access: Access,
    /// The target it acted on.
    pub target: String,
    /// What it does, for people.
    pub summary: String,
    /// The action's data.
    pub action: Value,
    /// The state found before; null if it has no intent.
    pub before: Value,
    /// How to take it back, if it has an intent.
    pub inverse: Option<Inverse>,
    /// The obligation it opened.
    pub opens: Option<Debt>,
    /// The key of the obligation that it met.
    pub closes: Option<String>,
    /// When its intent, or else its outcome, was written.
    pub began: Timestamp,
    /// When its outcome was written.
    pub ended: Option<Timestamp>,
    /// What became of it; none if it was under way when the run stopped.
    pub outcome: Option<Outcome>,
    /// Whether it was done, and was being done again after a reboot of the target when the run stopped.
    pub again: bool,
}

/// What the record says of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Recall {
    /// Nothing: it is live.
    New,
    /// Its outcome.
    Ended(Box<Recorded>),
    /// It was under way.
    Pending(Box<Recorded>),
    /// Its failure ended the run; it is tried again with the state that was found before the first try.
    Again(Box<Recorded>),
    /// Its dead-man switch fired since: to go on, it is done again with the state that was found before the first time.
    Fired(Box<Recorded>),
    /// It is not the call that was recorded here.
    Mismatch(Box<Mismatch>),
}

#[derive(Debug, Default)]
struct LaneRecord {
    order: Vec<CallKey>,
    next: usize,
}

/// Answers calls from a run's records, lane by lane.
#[derive(Debug, Default)]
pub struct Cursor {
    calls: HashMap<CallKey, Recorded>,
    lanes: HashMap<String, LaneRecord>,
    again: HashSet<String>,
    /// The calls that were taken back on the target by their dead-man switch since.
    fired: HashSet<CallKey>,
    /// What was told and is no call: steps, notes, and that the script is through.
    told: Vec<Body>,
    /// The lanes that are known to have begun.
    begun: HashSet<String>,
    accept_change: bool,
}

impl Cursor {
    /// Reads a run's records. With `accept_change`, calls are found by their identity alone, and calls that differ
    /// from their record are live.
    pub fn new(records: &[Record], accept_change: bool) -> Self {
        let mut cursor = Self { accept_change, ..Self::default() };
        for record in records {
            match &record.body {
                Body::Intent { call, again: true, .. } => {
                    if let Some(recorded) = cursor.calls.get_mut(call) {
                        recorded.again = true;
                    }
                }
                Body::Intent {
                    call,
                    access,
                    target,
                    summary,
                    action,
                    before,
                    inverse,
                    opens,
                    closes,
                    ..
                } => {
                    cursor.fired.remove(call);
                    cursor.add(Recorded {
                        call: call.clone(),
                        access: *access,
                        target: target.clone(),
                        summary: summary.clone(),
                        action: action.clone(),
                        before: before.clone(),
                        inverse: Some(inverse.clone()),
                        opens: opens.clone(),
                        closes: closes.clone(),
                        began: record.at,
                        ended: None,
                        outcome: None,
                        again: false,
                    });
                }
                Body::Call { call, access, target, summary, action, outcome, closes, .. } => {
                    cursor.add(Recorded {
                        call: call.clone(),
                        access: *access,
                        target: target.clone(),
                        summary: summary.clone(),
                        action: action.clone(),
                        before: Value::Null,
                        inverse: None,
                        opens: None,
                        closes: closes.clone(),
                        began: record.at,
                        ended: Some(record.at),
                        outcome: Some(outcome.clone()),
                        again: false,
                    });
                }
                Body::Outcome { call, outcome } => {
                    if let Some(recorded) = cursor.calls.get_mut(call) {
                        // The script goes by what it was told the first time.
                        if !std::mem::take(&mut recorded.again) {
                            recorded.outcome = Some(outcome.clone());
                            recorded.ended = Some(record.at);
                        }
                    }
                }
                Body::Deadman { call, state: DeadmanState::Fired { .. }, .. } => {
                    cursor.fired.insert(call.clone());
                }
                Body::Ended { failed, .. } => cursor.again.extend(failed.iter().cloned()),
                Body::Step { .. } | Body::Note { .. } | Body::Closing => {
                    cursor.told.push(record.body.clone());
                }
                Body::LaneBegan { lane } => drop(cursor.begun.insert(lane.clone())),
                _ => {}
            }
        }
        // A failure that was tried again and ended otherwise since is not tried a third time.
        let calls = &cursor.calls;
        cursor.again.retain(|name| {
            calls.values().any(|call| {
                call.call.to_string() == *name
                    && matches!(call.outcome, Some(Outcome::Failed { .. }) | None)
            })
        });
        cursor
    }

    fn add(&mut self, recorded: Recorded) {
        let call = recorded.call.clone();
        if self.calls.insert(call.clone(), recorded).is_none() {
            self.lanes.entry(call.lane.clone()).or_default().order.push(call);
        }
    }

    /// Says what the record has for `call`, which now wants to do `action` on `target`.
    pub fn recall(
        &mut self,
        call: &CallKey,
        target: &str,
        action: &Value,
        place: Option<&Place>,
    ) -> Recall {
        let lane = self.lanes.entry(call.lane.clone()).or_default();
        let expected = lane.order.get(lane.next).cloned();
        let known = self.calls.get(call);
        let differences = known.map(|known| differences(known, target, action)).unwrap_or_default();
        if self.accept_change {
            return match known {
                Some(known) if differences.is_empty() => {
                    lane.next = lane.next.max(position(&lane.order, call) + 1);
                    self.answer(known.clone())
                }
                _ => Recall::New,
            };
        }
        match (expected, known) {
            (None, None) => Recall::New,
            (Some(expected), Some(known)) if expected == *call && differences.is_empty() => {
                lane.next += 1;
                self.answer(known.clone())
            }
            (expected, _) => {
                let same = expected.as_ref() == Some(call);
                let mut lines = if same { differences } else { Vec::new() };
                if let (Some(expected), false) = (&expected, same) {
                    for (field, recorded, attempted) in [
                        ("step", &expected.step, &call.step),
                        ("action", &expected.action, &call.action),
                        ("lane", &expected.lane, &call.lane),
                    ] {
                        if recorded != attempted {
                            lines.push(format!("{field}: {recorded} → {attempted}"));
                        }
                    }
                    if lines.is_empty() {
                        lines.push(format!("number in its step: {} → {}", expected.nth, call.nth));
                    }
                }
                Recall::Mismatch(Box::new(Mismatch {
                    recorded: expected.map(|call| call.to_string()),
                    attempted: call.to_string(),
                    differences: lines,
                    place: place.cloned(),
                }))
            }
        }
    }

    /// Returns whether this step, note or end of the script is on record, once for each time that it is.
    pub fn told(&mut self, body: &Body) -> bool {
        let found = self.told.iter().position(|told| told == body);
        found.map(|at| self.told.remove(at)).is_some()
    }

    /// Returns whether the lane is known to have begun: it was noted, or a call of it is on record.
    pub fn has_begun(&self, lane: &str) -> bool {
        self.begun.contains(lane) || self.lanes.get(lane).is_some_and(|lane| !lane.order.is_empty())
    }

    /// Finds a call by its identity alone, for undo, whose order follows the live stack.
    pub fn find(&self, call: &CallKey) -> Option<&Recorded> {
        self.calls.get(call)
    }

    /// Returns the first recorded call of a lane that replay has not reached.
    pub fn next(&self, lane: &str) -> Option<&Recorded> {
        let lane = self.lanes.get(lane)?;
        lane.order[lane.next..].iter().find_map(|call| self.calls.get(call))
    }

    /// Returns all recorded calls in the order of their first record, lane by lane.
    pub fn all(&self) -> Vec<&Recorded> {
        let mut lanes: Vec<_> = self.lanes.iter().collect();
        lanes.sort_by_key(|(name, _)| (*name).clone());
        lanes
            .into_iter()
            .flat_map(|(_, lane)| lane.order.iter().filter_map(|call| self.calls.get(call)))
            .collect()
    }

    fn answer(&self, recorded: Recorded) -> Recall {
        match &recorded.outcome {
            _ if self.fired.contains(&recorded.call) => Recall::Fired(Box::new(recorded)),
            None => Recall::Pending(Box::new(recorded)),
            Some(Outcome::Failed { .. }) if self.again.contains(&recorded.call.to_string()) => {
                Recall::Again(Box::new(recorded))
            }
            Some(_) => Recall::Ended(Box::new(recorded)),
        }
    }
}

fn position(order: &[CallKey], call: &CallKey) -> usize {
    order.iter().position(|other| other == call).unwrap_or(0)
}

fn differences(recorded: &Recorded, target: &str, action: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    if recorded.target != target {
        lines.push(format!("target: {} → {target}", recorded.target));
    }
    match (&recorded.action, action) {
        (old, new) if old == new => {}
        (Value::Object(old), Value::Object(new)) => {
            for (field, value) in old {
                match new.get(field) {
                    Some(now) if now == value => {}
                    Some(now) => lines.push(format!("{field}: {value} → {now}")),
                    None => lines.push(format!("{field}: {value} → nothing")),
                }
            }
            for (field, value) in new.iter().filter(|(field, _)| !old.contains_key(*field)) {
                lines.push(format!("{field}: nothing → {value}"));
            }
        }
        (old, new) => lines.push(format!("{old} → {new}")),
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(step: &str, action: &str, nth: u32) -> CallKey {
        CallKey { lane: "main".into(), step: step.into(), action: action.into(), nth }
    }

    fn records(bodies: Vec<Body>) -> Vec<Record> {
        let at = jiff::Timestamp::UNIX_EPOCH;
        bodies.into_iter().zip(1..).map(|(body, seq)| Record { seq, at, body }).collect()
    }

    fn intent(call: CallKey, action: Value) -> Body {
        Body::Intent {
            call,
            access: Access::Change,
            target: "t".into(),
            summary: String::new(),
            action,
            before: json!(1),
            inverse: Inverse::Nothing { why: String::new() },
            opens: None,
            closes: None,
            place: None,
            boot: None,
            again: false,
        }
    }

    fn outcome(call: CallKey, value: Value) -> Body {
        Body::Outcome { call, outcome: Outcome::Done { value, changed: true, words: None } }
    }

    fn failed(call: CallKey) -> Body {
        Body::Outcome {
            call,
            outcome: Outcome::Failed { failure: crate::error::Failure::input("bad") },
        }
    }

    #[test]
    fn recorded_calls_answer_and_later_ones_are_new() {
        let (stop, start) = (key("s", "stop", 1), key("s", "start", 1));
        let mut cursor = Cursor::new(
            &records(vec![
                intent(stop.clone(), json!({"n": 1})),
                outcome(stop.clone(), json!(true)),
                intent(start.clone(), json!({})),
            ]),
            false,
        );

        assert!(matches!(cursor.recall(&stop, "t", &json!({"n": 1}), None), Recall::Ended(_)));
        assert!(matches!(cursor.recall(&start, "t", &json!({}), None), Recall::Pending(_)));
        assert_eq!(cursor.recall(&key("s", "wait", 1), "t", &json!({}), None), Recall::New);
    }

    #[test]
    fn a_different_call_is_a_mismatch_that_names_the_fields() {
        let stop = key("s", "stop", 1);
        let mut cursor =
            Cursor::new(&records(vec![intent(stop.clone(), json!({"name": "a"}))]), false);

        let Recall::Mismatch(mismatch) = cursor.recall(&stop, "t", &json!({"name": "b"}), None)
        else {
            panic!()
        };
        assert_eq!(mismatch.differences, [r#"name: "a" → "b""#]);
        let Recall::Mismatch(mismatch) =
            cursor.recall(&key("s", "start", 1), "t", &json!({}), None)
        else {
            panic!()
        };
        assert_eq!(mismatch.differences, ["action: stop → start"]);
    }

    #[test]
    fn only_the_failure_that_ended_the_run_is_tried_again() {
        let (caught, fatal) = (key("s", "a", 1), key("s", "b", 1));
        let mut bodies = vec![
            intent(caught.clone(), json!(1)),
            failed(caught.clone()),
            intent(fatal.clone(), json!(2)),
            failed(fatal.clone()),
        ];
        bodies.push(Body::Ended {
            status: crate::event::Status::Paused,
            failed: vec![fatal.to_string()],
            message: String::new(),
        });
        let mut cursor = Cursor::new(&records(bodies), false);

        assert!(matches!(cursor.recall(&caught, "t", &json!(1), None), Recall::Ended(_)));
        assert!(matches!(cursor.recall(&fatal, "t", &json!(2), None), Recall::Again(_)));
    }

    #[test]
    fn an_accepted_change_keeps_the_calls_that_still_match() {
        let (a, b) = (key("s", "a", 1), key("s", "b", 1));
        let mut cursor = Cursor::new(
            &records(vec![
                intent(a.clone(), json!(1)),
                outcome(a.clone(), json!(1)),
                intent(b.clone(), json!(2)),
                outcome(b.clone(), json!(2)),
            ]),
            true,
        );

        assert_eq!(cursor.recall(&key("new", "c", 1), "t", &json!(0), None), Recall::New);
        assert!(matches!(cursor.recall(&b, "t", &json!(2), None), Recall::Ended(_)));
        assert_eq!(cursor.recall(&a, "t", &json!(9), None), Recall::New);
    }
}
