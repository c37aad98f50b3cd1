//! Applying, until it is known what became of it: the way to the target may break meanwhile, and where nothing can tell,
//! the operator says.

use std::time::{Duration, Instant};

use super::{One, encode};
use crate::call::Access;
use crate::effect::action::{Action, Plan, Reconciled};
use crate::effect::ask::Question;
use crate::effect::lane::Inside;
use crate::effect::off;
use crate::effect::reconnect::Trouble;
use crate::error::{Failure, Halt, Kind, Pause, Result, Stop};
use crate::failpoint::{Spot, passed};

impl<A: Action> One<'_, A> {
    /// Applies; when the way to the target broke meanwhile, or what became of it cannot be told, finds out and goes on.
    pub(super) fn carry_out(&self, before: &mut A::Before) -> Result<A::Output> {
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
    pub(super) fn settle(
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
        self.hold()?;
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
}
