//! The funnel. One straight function, not middleware: the order is the meaning.
//!
//! cancelled? → recall from the journal → look → plan (already so?) → in plan mode: report and assume → intent, prior
//! state, inverse and obligation, durable → arm the dead-man switch → apply (reconnect, reconcile) → redact → outcome, durable → event

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::action::{Action, Asked, Plan, Query};
use super::context::Cx;
use super::lane::{Inside, Lane, Undo};
use super::reconnect::Trouble;
use super::run::Mode;
use crate::call::{Access, CallKey};
use crate::error::{Failure, Halt, Kind, Place, Result, Stop};
use crate::event::{CallEnd, PlanState, What};
use crate::journal::{Inverse, Outcome, Recall, Recorded};

mod guard;
mod plan;
mod record;
mod settle;
#[cfg(test)]
mod tests;

/// Performs a query; see [`perform`].
///
/// # Errors
/// As [`perform`].
pub fn query<Q: Query>(lane: &Lane, place: Option<Place>, query: Q) -> Result<Q::Output> {
    perform(lane, place, &Asked(query))
}

/// Performs an action on the lane, or answers it from the journal.
///
/// # Errors
/// The action's failure, or a stop: cancelled, paused, mismatch, journal.
pub fn perform<A: Action>(lane: &Lane, place: Option<Place>, action: &A) -> Result<A::Output> {
    if let Some(inside) = lane.inside() {
        return nested(lane, inside, action);
    }
    let run = lane.run();
    if run.cancel.is_cancelled() {
        return Err(Stop::Cancelled.into());
    }
    let call = lane.next_call(A::NAME);
    let target = lane.target();
    let data = run.redactor.value(encode(action)?);
    let recall = run.cursor.lock().unwrap_or_else(PoisonError::into_inner).recall(
        &call,
        &target.name,
        &data,
        place.as_ref(),
    );
    let one = One {
        lane,
        cx: Cx { lane, target, call: &call },
        place,
        action,
        data,
        started: Instant::now(),
    };
    let rebuilding = run.mode == Mode::Rebuild && !lane.is_undoing();
    match recall {
        Recall::Mismatch(mismatch) => Err(Stop::Mismatch(mismatch).into()),
        Recall::Ended(recorded) => one.recalled(*recorded),
        Recall::Fired(recorded) if rebuilding => one.recalled(*recorded),
        Recall::Pending(recorded) | Recall::Again(recorded) if rebuilding => {
            one.remember(&recorded);
            Err(Stop::EndOfRecord.into())
        }
        Recall::New if rebuilding => Err(Stop::EndOfRecord.into()),
        Recall::Pending(recorded) => one.taken_up(*recorded),
        Recall::Fired(mut recorded) => {
            // It was met when the switch fired, and is opened anew.
            recorded.opens = None;
            // A try of its own, also for what leaves receipts.
            let back = Failure::new(Kind::Conflict, "its dead-man switch took it back");
            one.tried_again(*recorded, Some(&back))
        }
        Recall::Again(mut recorded) if recorded.inverse.is_some() => {
            let failure = match recorded.outcome.take() {
                Some(Outcome::Failed { failure }) => Some(failure),
                _ => None,
            };
            one.tried_again(*recorded, failure.as_ref())
        }
        Recall::Again(_) | Recall::New => one.live(),
    }
}

/// A call made by an action while it looks or acts: a part of that action, with no record of its own.
fn nested<A: Action>(lane: &Lane, inside: Inside, action: &A) -> Result<A::Output> {
    let call = CallKey {
        lane: lane.name().to_owned(),
        step: lane.step(),
        action: A::NAME.to_owned(),
        nth: 0,
    };
    let cx = Cx { lane, target: lane.target(), call: &call };
    if lane.run().cancel.is_cancelled() {
        return Err(Stop::Cancelled.into());
    }
    let before = lane.within(Inside::Looking, || action.look(&cx))?;
    match action.plan(&before) {
        Plan::Already(output) => Ok(output),
        _ if A::ACCESS == Access::Read => action.apply(&cx, &before),
        _ if inside == Inside::Looking => {
            let what = action.summary();
            Err(Failure::input(format!(
                "{what}: this is a change, but here only reads are allowed"
            ))
            .into())
        }
        Plan::Real | Plan::Would { .. } => action.apply(&cx, &before),
    }
}

/// One call under way.
struct One<'a, A> {
    lane: &'a Lane,
    cx: Cx<'a>,
    place: Option<Place>,
    action: &'a A,
    data: Value,
    started: Instant,
}

impl<A: Action> One<'_, A> {
    fn push_undo(&self, inverse: Inverse) {
        let (of, target) = (self.cx.call.clone(), self.cx.target.name.clone());
        let what = self.lane.run().redactor.text(&self.action.summary());
        self.lane.push_undo(Undo::Inverse { of, what, target, inverse });
    }

    /// Goes on with a recorded call that was under way.
    fn taken_up(&self, recorded: Recorded) -> Result<A::Output> {
        self.remember(&recorded);
        self.check()?;
        self.began();
        let mut before = decode::<A::Before>(self.cx.call, recorded.before)?;
        let mut trouble = Trouble::new(self.lane.run().reconnect);
        let settled = self
            .hold()
            .and_then(|()| self.arm(&before))
            .and_then(|()| self.settle(&mut before, Duration::ZERO, &mut trouble));
        self.end(&before, settled)
    }

    /// Tries a recorded call again that came to nothing because of this, with the state that was found before the first
    /// try.
    fn tried_again(&self, recorded: Recorded, failure: Option<&Failure>) -> Result<A::Output> {
        self.remember(&recorded);
        self.check()?;
        self.began();
        let mut before = decode::<A::Before>(self.cx.call, recorded.before)?;
        if let Some(failure) = failure {
            self.action.again(&mut before, failure);
        }
        if let Err(halt) = self.hold() {
            return self.end(&before, Err(halt));
        }
        self.intend(&before)?;
        let applied = self.arm(&before).and_then(|()| self.carry_out(&mut before));
        self.end(&before, applied)
    }

    fn live(&self) -> Result<A::Output> {
        let planning = self.lane.run().mode == Mode::Plan;
        match self.check() {
            Err(halt @ Halt::Failure(_)) => return self.end_without_intent(Err(halt), None),
            checked => checked?,
        }
        if A::ACCESS == Access::Read {
            self.began();
            let output = self.cx.reconnecting(|| {
                self.lane.within(Inside::Looking, || {
                    self.action
                        .look(&self.cx)
                        .and_then(|before| self.action.apply(&self.cx, &before))
                })
            });
            return self.end_without_intent(output, None);
        }
        if !planning {
            self.began();
        }
        let mut before = match self.look() {
            Ok(before) => before,
            Err(halt) => return self.end_without_intent(Err(halt), None),
        };
        match self.action.plan(&before) {
            Plan::Already(output) if planning => {
                self.planned(PlanState::Already, &[], None);
                Ok(output)
            }
            Plan::Already(output) => {
                let owes = self.action.owes(&before);
                let result = self.disarm(Ok(output), &owes);
                self.end_without_intent(result, owes.closes().map(str::to_owned))
            }
            Plan::Real => {
                if planning {
                    self.began();
                }
                let output = self.cx.reconnecting(|| {
                    self.lane.within(Inside::Looking, || self.action.apply(&self.cx, &before))
                });
                self.end_without_intent(output, None)
            }
            Plan::Would { changes, output, after } if planning => {
                self.would(&before, changes, after)?;
                Ok(output)
            }
            Plan::Would { .. } if A::ACCESS == Access::Ask => {
                let output = self.action.apply(&self.cx, &before);
                self.end_without_intent(output, None)
            }
            Plan::Would { .. } => {
                let ready = self.agree(&before).and_then(|()| self.switch(&before));
                if let Err(halt) = ready.and_then(|_| self.hold()) {
                    return self.end_without_intent(Err(halt), None);
                }
                self.intend(&before)?;
                if A::ACCESS == Access::Change {
                    self.push_undo(self.action.inverse(&before));
                }
                let applied = self.arm(&before).and_then(|()| self.carry_out(&mut before));
                self.end(&before, applied)
            }
        }
    }

    fn look(&self) -> Result<A::Before> {
        match self.assumed()? {
            Some(before) => Ok(before),
            None => self
                .cx
                .reconnecting(|| self.lane.within(Inside::Looking, || self.action.look(&self.cx))),
        }
    }

    fn began(&self) {
        self.lane.emit(What::CallBegan {
            call: self.cx.call.to_string(),
            summary: self.lane.run().redactor.text(&self.action.summary()),
            access: A::ACCESS,
            place: self.place.clone(),
        });
    }

    fn ended(&self, end: CallEnd, result: Option<String>) {
        let redactor = &self.lane.run().redactor;
        self.lane.emit(What::CallEnded {
            call: self.cx.call.to_string(),
            summary: redactor.text(&self.action.summary()),
            end,
            result: result.map(|words| redactor.text(&words)),
            took_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    }
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value)
        .map_err(|error| Stop::Journal(format!("a value cannot be recorded: {error}")).into())
}

fn decode<T: serde::de::DeserializeOwned>(call: &CallKey, value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| {
        Stop::Journal(format!("the record of {call} cannot be read: {error}")).into()
    })
}
