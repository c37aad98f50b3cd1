//! The funnel. One straight function, not middleware: the order is the meaning.
//!
//! cancelled? → recall from the journal → look → plan (already so?) → in plan mode: report and assume → intent, prior
//! state, inverse and obligation, durable → arm the dead-man switch → apply (reconnect, reconcile) → redact → outcome, durable → event

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::action::{Action, Asked, Owes, Plan, Query, Reconciled};
use super::ask::Question;
use super::context::{Cx, Mode};
use super::deadman;
use super::drift;
use super::lane::{Inside, Lane, Undo};
use super::off;
use super::reconnect::Trouble;
use crate::call::{Access, CallKey};
use crate::error::{Failure, Halt, Kind, Pause, Place, Result, Stop};
use crate::event::{CallEnd, PlanState, Planned, What};
use crate::failpoint::{Spot, passed};
use crate::journal::{Body, DebtChange, Inverse, Outcome, Recall, Recorded};

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
        Recall::Pending(recorded) => {
            one.remember(&recorded);
            one.check()?;
            one.began();
            let mut before = decode::<A::Before>(&call, recorded.before)?;
            let mut trouble = Trouble::new(run.reconnect);
            let settled = one
                .hold()
                .and_then(|()| one.arm(&before))
                .and_then(|()| one.settle(&mut before, Duration::ZERO, &mut trouble));
            one.end(&before, settled)
        }
        Recall::Fired(mut recorded) => {
            // It was met when the switch fired, and is opened anew.
            recorded.opens = None;
            one.remember(&recorded);
            one.check()?;
            one.began();
            let mut before = decode::<A::Before>(&call, recorded.before)?;
            // A try of its own, also for what leaves receipts.
            let back = Failure::new(Kind::Conflict, "its dead-man switch took it back");
            action.again(&mut before, &back);
            one.intend(&before)?;
            let applied = one.arm(&before).and_then(|()| one.carry_out(&mut before));
            one.end(&before, applied)
        }
        Recall::Again(recorded) if recorded.inverse.is_some() => {
            one.remember(&recorded);
            one.check()?;
            one.began();
            let mut before = decode::<A::Before>(&call, recorded.before)?;
            if let Some(Outcome::Failed { failure }) = &recorded.outcome {
                action.again(&mut before, failure);
            }
            one.intend(&before)?;
            let applied = one.arm(&before).and_then(|()| one.carry_out(&mut before));
            one.end(&before, applied)
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
    /// Answers from the record.
    fn recalled(&self, recorded: Recorded) -> Result<A::Output> {
        self.remember(&recorded);
        let result = match recorded.outcome {
            Some(Outcome::Done { value, .. }) => Ok(decode::<A::Output>(self.cx.call, value)?),
            Some(Outcome::Failed { failure }) => Err(Halt::from(failure.at(self.place.clone()))),
            None => Err(Stop::Journal(format!("{} has no outcome", self.cx.call)).into()),
        };
        let words = result.as_ref().ok().and_then(|output| self.action.result(output));
        self.ended(CallEnd::Recalled, words);
        result
    }

    /// Takes over the inverse and the obligation of a recorded call.
    fn remember(&self, recorded: &Recorded) {
        let obligations = &self.lane.run().obligations;
        if let Some(debt) = &recorded.opens {
            obligations.open(&recorded.target, debt, recorded.began);
            self.lane.set_last_debt(&recorded.target, &debt.key, &recorded.call);
        }
        if let (Some(key), Some(Outcome::Done { .. }), Some(ended)) =
            (&recorded.closes, &recorded.outcome, recorded.ended)
        {
            obligations.close(&recorded.target, key, ended, Some(&recorded.call));
        }
        if let Some(inverse) = &recorded.inverse {
            // Another process changed something there; what it kept is this one's to remove.
            self.cx.touch();
            if let Ok(Some(sudo)) = self.action.becomes(&self.cx) {
                self.cx.touch_as(Some(&sudo));
            }
            self.push_undo(inverse.clone());
            if let Ok(before) = serde_json::from_value(recorded.before.clone()) {
                self.action.remember(self.lane, &before);
            }
        }
    }

    fn push_undo(&self, inverse: Inverse) {
        let (of, target) = (self.cx.call.clone(), self.cx.target.name.clone());
        let what = self.lane.run().redactor.text(&self.action.summary());
        self.lane.push_undo(Undo::Inverse { of, what, target, inverse });
    }

    fn live(&self) -> Result<A::Output> {
        let planning = self.lane.run().mode == Mode::Plan;
        self.check()?;
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
            Plan::Would { mut changes, output, after } if planning => {
                if let Some(switch) = self.switch(&before)? {
                    let after = Duration::from_millis(switch.deadman.after_ms);
                    let after = crate::units::say_duration(after);
                    changes.insert(
                        0,
                        format!("arm a dead-man switch that takes it back after {after}"),
                    );
                }
                self.action.remember(self.lane, &before);
                if let (Some(subject), Some(after)) = (self.action.subject(), after) {
                    let key = (self.cx.target.name.clone(), subject);
                    let mut assumed =
                        self.lane.run().assumed.lock().unwrap_or_else(PoisonError::into_inner);
                    assumed.insert(key, encode(&after)?);
                }
                let (state, undo) = match A::ACCESS {
                    Access::Wait => (PlanState::Waits, None),
                    Access::Ask => (PlanState::Asks, None),
                    _ => (PlanState::Would, Some(self.action.inverse(&before).describe())),
                };
                self.planned(state, &changes, undo);
                Ok(output)
            }
            Plan::Would { .. } if A::ACCESS == Access::Ask => {
                let output = self.action.apply(&self.cx, &before);
                self.end_without_intent(output, None)
            }
            Plan::Would { .. } => {
                if let Err(halt) = self.agree(&before).and_then(|()| self.switch(&before)) {
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

    /// Makes sure that what is taken back is still as the run left it, or that it is to be taken back all the same.
    fn agree(&self, before: &A::Before) -> Result<()> {
        if !self.lane.is_undoing() {
            return Ok(());
        }
        let changed = self.cx.reconnecting(|| {
            self.lane.within(Inside::Looking, || drift::look(&self.cx, self.action, before))
        })?;
        if changed.is_empty() {
            return Ok(());
        }
        drift::decide(&self.cx, &self.action.summary(), &changed)
    }

    fn switch(&self, before: &A::Before) -> Result<Option<deadman::Switch>> {
        self.lane.within(Inside::Looking, || self.action.deadman(&self.cx, before))
    }

    /// Arms the dead-man switch of the call, if it has one. Nothing is applied unless it is armed.
    fn arm(&self, before: &A::Before) -> Result<()> {
        let Some(switch) = self.switch(before)? else { return Ok(()) };
        let key = match self.action.owes(before) {
            Owes::Opens(debt) => Some(debt.key),
            _ => None,
        };
        let what = self.lane.run().redactor.text(&self.action.summary());
        self.cx.reconnecting(|| deadman::arm(&self.cx, &switch, key.clone(), what.clone()))
    }

    /// Makes sure that no dead-man switch has taken back what this run did on the target, and that no reboot has: going
    /// on would be wrong then.
    fn check(&self) -> Result<()> {
        let run = self.lane.run();
        if run.mode == Mode::Plan {
            return Ok(());
        }
        self.cx.reconnecting(|| deadman::look(&self.cx))?;
        match run.switches.fired(&self.cx.target.name) {
            Some(why) if !self.lane.is_undoing() => Err(Stop::Fired(why).into()),
            _ => off::look(&self.cx, self.action.subject().as_deref()),
        }
    }

    /// Disarms the switch of the obligation that this call meets or hands over.
    fn disarm(&self, result: Result<A::Output>, owes: &Owes) -> Result<A::Output> {
        let output = result?;
        if let (Owes::Closes(key) | Owes::Keeps { key, .. }, Mode::Run | Mode::Rebuild) =
            (owes, self.lane.run().mode)
        {
            self.cx.reconnecting(|| deadman::disarm(&self.cx, key))?;
            self.check()?;
        }
        Ok(output)
    }

    fn look(&self) -> Result<A::Before> {
        if let Some(subject) = self.action.subject() {
            let key = (self.cx.target.name.clone(), subject);
            let assumed = self
                .lane
                .run()
                .assumed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&key)
                .cloned();
            if let Some(value) = assumed {
                return decode::<A::Before>(self.cx.call, value);
            }
        }
        self.cx.reconnecting(|| self.lane.within(Inside::Looking, || self.action.look(&self.cx)))
    }

    /// Writes the intent, durable, with the prior state, the inverse and the obligation.
    fn intend(&self, before: &A::Before) -> Result<()> {
        self.hold()?;
        let run = self.lane.run();
        let mut keeps = None;
        let (opens, closes) = match self.action.owes(before) {
            Owes::Nothing => (None, None),
            Owes::Keeps { target, key, reason, due } => {
                run.obligations.keep(&target, &key, &reason);
                keeps = Some(DebtChange::Keep { target, key, reason, due });
                (None, None)
            }
            Owes::Opens(debt) if self.lane.is_undoing() && !self.was_owed(&debt.key) => {
                (None, None)
            }
            Owes::Opens(debt) => (Some(debt), None),
            Owes::Closes(key) => (None, Some(key)),
            Owes::Meanwhile(debt) => {
                let key = debt.key.clone();
                (Some(debt), Some(key))
            }
        };
        let target = self.cx.target.name.clone();
        let switches_off = opens.is_some() && closes.is_none();
        let body = Body::Intent {
            call: self.cx.call.clone(),
            access: A::ACCESS,
            target: target.clone(),
            summary: run.redactor.text(&self.action.summary()),
            action: self.data.clone(),
            before: run.redactor.value(encode(before)?),
            inverse: self.action.inverse(before),
            opens: opens.clone(),
            closes,
            place: self.place.clone(),
            boot: self.cx.target.transport.boot_id().filter(|_| switches_off),
            again: false,
        };
        run.off.begins(&body);
        let opening = opens
            .iter()
            .map(|debt| DebtChange::Open { target: target.clone(), debt: debt.clone() });
        let debts = opening.chain(keeps).collect();
        if let Some(store) = &run.store {
            store.append_durable(&run.id, body, debts)?;
        }
        self.action.remember(self.lane, before);
        if let Some(debt) = opens {
            self.lane.set_last_debt(&target, &debt.key, self.cx.call);
            if run.obligations.open(&target, &debt, run.clock.now()) {
                self.lane.emit(What::DebtOpened { what: debt.what, locks_out: debt.locks_out });
            }
        }
        Ok(())
    }

    /// Returns whether what an undo switches off was owed before. What it takes back switched on something that was off
    /// before the run, unless it met an obligation with that.
    fn was_owed(&self, key: &str) -> bool {
        let obligations = &self.lane.run().obligations;
        match self.lane.takes_back() {
            Some(call) => obligations.were_met_by(call),
            None => obligations.ever(&self.cx.target.name, key),
        }
    }

    /// Makes sure that the run holds the target before it changes anything there.
    fn hold(&self) -> Result<()> {
        if A::ACCESS == Access::Change { self.cx.reconnecting(|| self.cx.lock()) } else { Ok(()) }
    }

    /// Applies; when the way to the target broke meanwhile, or what became of it cannot be told, finds out and goes on.
    fn carry_out(&self, before: &mut A::Before) -> Result<A::Output> {
        self.attempt(before, &mut Trouble::new(self.lane.run().reconnect))
    }

    fn attempt(&self, before: &mut A::Before, trouble: &mut Trouble) -> Result<A::Output> {
        self.hold()?;
        if A::ACCESS == Access::Change {
            off::look(&self.cx, self.action.subject().as_deref())?;
        }
        let started = Instant::now();
        match self.lane.within(Inside::Applying, || self.action.apply(&self.cx, before)) {
            Err(Halt::Failure(failure)) if failure.lost => match trouble.again(started) {
                Some(pause) => {
                    self.cx.warn(format!("{failure}; finding out what became of it"));
                    self.lane.run().switches.doubt(&self.cx.target.name);
                    self.lane.run().off.doubt(&self.cx.target.name);
                    self.settle(before, pause, trouble)
                }
                None => self.cx.give_up(failure),
            },
            Err(Halt::Failure(failure)) if failure.kind == Kind::Unknown => {
                let first = !trouble.is_known();
                match trouble.again(started) {
                    // One look mostly tells.
                    Some(_) if first => self.settle(before, Duration::ZERO, trouble),
                    Some(pause) => {
                        self.cx.warn(format!("{failure}; finding out what became of it"));
                        self.settle(before, pause, trouble)
                    }
                    None => self.decide(before, &failure.message),
                }
            }
            Err(Halt::Failure(failure)) if self.switch(before)?.is_some() => {
                // It may have failed for nothing but that: its switch took it back meanwhile.
                self.lane.run().switches.doubt(&self.cx.target.name);
                self.check()?;
                Err(Halt::Failure(failure))
            }
            result => result,
        }
    }

    /// Decides an intent without outcome: it happened, it is done again, or the operator says.
    fn settle(
        &self,
        before: &mut A::Before,
        pause: Duration,
        trouble: &mut Trouble,
    ) -> Result<A::Output> {
        self.cx.sleep(pause)?;
        passed(Spot::Reconcile);
        // Where the change cut our own way, its switch gave it back; doing it again would only cut it again.
        self.check()?;
        let found = self.cx.reconnecting(|| {
            self.lane.within(Inside::Looking, || self.action.reconcile(&self.cx, before))
        });
        passed(Spot::Reconciled);
        match found {
            Ok(Reconciled::Done(output)) => Ok(output),
            Ok(Reconciled::Redo) => self.attempt(before, trouble),
            Ok(Reconciled::Again(why)) => self.anew(before, &why),
            Ok(Reconciled::Unknown(why)) => self.decide(before, &why),
            Err(halt) => Err(halt),
        }
    }

    /// Does it anew, as a try of its own that is on record before it begins.
    fn anew(&self, before: &mut A::Before, why: &str) -> Result<A::Output> {
        self.action.again(before, &self.unknown(why));
        self.intend(before)?;
        self.carry_out(before)
    }

    fn unknown(&self, why: &str) -> Failure {
        let what = self.action.summary();
        Failure::new(
            Kind::Unknown,
            format!("it is not known whether this happened: {what} ({why})"),
        )
        .with_target(&self.cx.target.name)
    }

    fn decide(&self, before: &mut A::Before, why: &str) -> Result<A::Output> {
        const REDO: &str = "do it again";
        const DONE: &str = "take it as done";
        const UNDO: &str = "roll back";
        const PAUSE: &str = "pause";
        let what = self.action.summary();
        let question = Question::Choose {
            text: format!(
                "It is not known whether this happened: {what} on {} ({why}). What now?",
                self.cx.target.name
            ),
            options: [REDO, DONE, UNDO, PAUSE].map(str::to_owned).to_vec(),
            default: None,
        };
        match self.lane.run().asker.ask(&question).as_deref() {
            Some(REDO) => self.anew(before, why),
            Some(DONE) => match self.action.plan(before) {
                Plan::Already(output) | Plan::Would { output, .. } => self.with_value(output),
                Plan::Real => self.carry_out(before),
            },
            Some(UNDO) => Err(self.unknown(why).into()),
            _ => {
                let why = format!(
                    "it is not known whether this happened: {what} on {} ({why})",
                    self.cx.target.name
                );
                Err(Stop::Paused(Pause { why, until: None, unknown: true }).into())
            }
        }
    }

    /// Asks what a call is to return that is taken as done, where that is more than yes or no.
    fn with_value(&self, output: A::Output) -> Result<A::Output> {
        let value = encode(&output)?;
        if value.is_boolean() || value.is_null() {
            return Ok(output);
        }
        let mut problem = String::new();
        loop {
            let question = Question::Text {
                text: format!("{problem}What did it return, as JSON?"),
                default: Some(value.to_string()),
            };
            match self.lane.run().asker.ask(&question).as_deref() {
                None | Some("") => return Ok(output),
                Some(text) => match serde_json::from_str(text) {
                    Ok(output) => return Ok(output),
                    Err(error) => problem = format!("That does not fit: {error}. "),
                },
            }
        }
    }

    /// Ends a call that has an intent.
    fn end(&self, before: &A::Before, result: Result<A::Output>) -> Result<A::Output> {
        let owes = self.action.owes(before);
        let result = self.disarm(result, &owes);
        self.finish(result, owes.closes().map(str::to_owned), |one, outcome, _| Body::Outcome {
            call: one.cx.call.clone(),
            outcome,
        })
    }

    /// Ends a call that has none: a read, an answer, a failed look, or a change that was so already.
    fn end_without_intent(
        &self,
        result: Result<A::Output>,
        closes: Option<String>,
    ) -> Result<A::Output> {
        self.finish(result, closes, |one, outcome, closes| Body::Call {
            call: one.cx.call.clone(),
            access: A::ACCESS,
            target: one.cx.target.name.clone(),
            summary: one.lane.run().redactor.text(&one.action.summary()),
            action: one.data.clone(),
            outcome,
            closes,
            place: one.place.clone(),
        })
    }

    fn finish(
        &self,
        result: Result<A::Output>,
        closes: Option<String>,
        body: impl FnOnce(&Self, Outcome, Option<String>) -> Body,
    ) -> Result<A::Output> {
        let run = self.lane.run();
        let planning = run.mode == Mode::Plan;
        run.off.over(self.cx.call);
        match result {
            Ok(output) => {
                let value = encode(&output)?;
                let redacted = run.redactor.value(value.clone());
                // The script sees what a replay would show it.
                let output = if redacted == value {
                    output
                } else {
                    decode::<A::Output>(self.cx.call, redacted.clone())?
                };
                let changed = self.action.changed(&output);
                let words = self.action.result(&output);
                if let (Some(store), false) = (&run.store, planning) {
                    let said = words.as_ref().map(|words| run.redactor.text(words));
                    let outcome = Outcome::Done { value: redacted, changed, words: said };
                    let target = self.cx.target.name.clone();
                    let debts: Vec<_> = closes
                        .iter()
                        .map(|key| DebtChange::Close { target: target.clone(), key: key.clone() })
                        .collect();
                    let body = body(self, outcome, closes.clone());
                    if A::ACCESS == Access::Read {
                        store.append(&run.id, body)?;
                    } else {
                        store.append_durable(&run.id, body, debts)?;
                    }
                }
                self.ended(
                    if changed || A::ACCESS != Access::Change {
                        CallEnd::Done
                    } else {
                        CallEnd::Already
                    },
                    words,
                );
                run.off.through(self.cx.call);
                if let Some(key) = &closes {
                    run.off.closed(&self.cx.target.name, key);
                }
                if let Some(open) = closes.and_then(|key| {
                    let now = run.clock.now();
                    run.obligations.close(&self.cx.target.name, &key, now, Some(self.cx.call))
                }) {
                    self.lane.emit(What::DebtClosed {
                        what: open.debt.what,
                        locks_out: open.debt.locks_out,
                    });
                }
                Ok(output)
            }
            Err(Halt::Failure(failure)) => {
                let mut failure = run.redactor.failure(failure.at(self.place.clone()));
                failure.call = Some(self.cx.call.to_string());
                failure.target.get_or_insert_with(|| self.cx.target.name.clone());
                if let (Some(store), false) = (&run.store, planning) {
                    let body = body(self, Outcome::Failed { failure: failure.clone() }, None);
                    store.append_durable(&run.id, body, Vec::new())?;
                }
                self.ended(CallEnd::Failed(failure.clone()), None);
                Err(failure.into())
            }
            Err(Halt::Stop(stop)) => {
                self.ended(CallEnd::Stopped(stop.to_string()), None);
                Err(stop.into())
            }
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

    fn planned(&self, state: PlanState, changes: &[String], undo: Option<String>) {
        let redactor = &self.lane.run().redactor;
        self.lane.emit(What::CallPlanned {
            call: self.cx.call.to_string(),
            summary: redactor.text(&self.action.summary()),
            access: A::ACCESS,
            planned: Planned {
                state,
                changes: changes.iter().map(|change| redactor.text(change)).collect(),
                undo: undo.map(|undo| redactor.text(&undo)),
                drift: None,
            },
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
