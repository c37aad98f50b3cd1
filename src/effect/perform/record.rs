//! What a call takes from the journal, and what it writes there: the intent before, the outcome after.

use std::sync::Arc;

use super::{One, decode, encode};
use crate::call::Access;
use crate::effect::action::{Action, Owes};
use crate::effect::obligation::Kept;
use crate::effect::run::Mode;
use crate::error::{Failure, Halt, Result, Stop};
use crate::event::{CallEnd, What};
use crate::journal::{Body, DebtChange, Outcome, Recorded, Store};

impl<A: Action> One<'_, A> {
    /// Answers from the record.
    pub(super) fn recalled(&self, recorded: Recorded) -> Result<A::Output> {
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
    pub(super) fn remember(&self, recorded: &Recorded) {
        let obligations = &self.lane.run().obligations;
        if let Some(debt) = &recorded.opens {
            obligations.open(&recorded.target, debt, recorded.began);
            if let Some(kept) = self.kept_before() {
                obligations.keep(&recorded.target, &debt.key, kept);
            }
            self.lane.set_last_debt(&recorded.target, &debt.key, &recorded.call);
        }
        if let (Some(key), Some(Outcome::Done { .. }), Some(ended)) =
            (&recorded.closes, &recorded.outcome, recorded.ended)
        {
            obligations.close(&recorded.target, key, ended, Some(&recorded.call));
        }
        let before = serde_json::from_value(recorded.before.clone());
        if let Ok(Owes::Keeps { target, key, reason, due }) =
            before.as_ref().map(|before| self.action.owes(before))
        {
            obligations.keep(&target, &key, Kept { reason, due });
        }
        if let Some(inverse) = &recorded.inverse {
            // Another process changed something there; what it kept is this one's to remove.
            self.cx.touch();
            if let Ok(Some(sudo)) = self.action.becomes(&self.cx) {
                self.cx.touch_as(Some(&sudo));
            }
            self.push_undo(inverse.clone());
            if let Ok(before) = before {
                self.action.remember(self.lane, &before);
            }
        }
    }

    /// Writes the intent, durable, with the prior state, the inverse and the obligation.
    pub(super) fn intend(&self, before: &A::Before) -> Result<()> {
        let run = self.lane.run();
        let mut keeps = None;
        let (opens, closes) = match self.action.owes(before) {
            Owes::Nothing => (None, None),
            Owes::Keeps { target, key, reason, due } => {
                run.obligations.keep(&target, &key, Kept { reason: reason.clone(), due });
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
        let kept = opens.as_ref().and_then(|_| self.kept_before());
        if let (Some(Kept { reason, due }), Some(debt)) = (kept.clone(), &opens) {
            keeps = Some(DebtChange::Keep {
                target: target.clone(),
                key: debt.key.clone(),
                reason,
                due,
            });
        }
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
            let opened = run.obligations.open(&target, &debt, run.clock.now());
            if let Some(kept) = kept {
                run.obligations.keep(&target, &debt.key, kept);
            }
            if opened {
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
            Some(call) => obligations.met_by(call).is_some(),
            None => obligations.ever(&self.cx.target.name, key),
        }
    }

    /// Returns how what an undo switches off was kept off before: it is so again then.
    fn kept_before(&self) -> Option<Kept> {
        self.lane.run().obligations.met_by(self.lane.takes_back()?)?
    }

    /// Ends a call that has an intent.
    pub(super) fn end(&self, before: &A::Before, result: Result<A::Output>) -> Result<A::Output> {
        let owes = self.action.owes(before);
        let result = self.disarm(result, &owes);
        self.finish(result, owes.closes().map(str::to_owned), |one, outcome, _| Body::Outcome {
            call: one.cx.call.clone(),
            outcome,
        })
    }

    /// Ends a call that has none: a read, an answer, a failed look, or a change that was so already.
    pub(super) fn end_without_intent(
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
        self.lane.run().off.over(self.cx.call);
        match result {
            Ok(output) => self.done(output, closes, body),
            Err(Halt::Failure(failure)) => self.failed(*failure, body),
            Err(Halt::Stop(stop)) => {
                self.ended(CallEnd::Stopped(stop.to_string()), None);
                Err(stop.into())
            }
        }
    }

    fn done(
        &self,
        output: A::Output,
        closes: Option<String>,
        body: impl FnOnce(&Self, Outcome, Option<String>) -> Body,
    ) -> Result<A::Output> {
        let run = self.lane.run();
        let target = &self.cx.target.name;
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
        if let Some(store) = self.journal() {
            let said = words.as_ref().map(|words| run.redactor.text(words));
            let outcome = Outcome::Done { value: redacted, changed, words: said };
            let debts = closes
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
        let already = !changed && A::ACCESS == Access::Change;
        self.ended(if already { CallEnd::Already } else { CallEnd::Done }, words);
        run.off.through(self.cx.call);
        if let Some(key) = closes {
            self.lane.met(target, &key, run.clock.now(), Some(self.cx.call));
        }
        Ok(output)
    }

    fn failed(
        &self,
        failure: Failure,
        body: impl FnOnce(&Self, Outcome, Option<String>) -> Body,
    ) -> Result<A::Output> {
        let run = self.lane.run();
        let mut failure = run.redactor.failure(failure.at(self.place.clone()));
        failure.call = Some(self.cx.call.to_string());
        failure.target.get_or_insert_with(|| self.cx.target.name.clone());
        if let Some(store) = self.journal() {
            let body = body(self, Outcome::Failed { failure: failure.clone() }, None);
            store.append_durable(&run.id, body, Vec::new())?;
        }
        self.ended(CallEnd::Failed(failure.clone()), None);
        Err(failure.into())
    }

    /// Returns the journal, unless this is only a plan.
    fn journal(&self) -> Option<&Arc<dyn Store>> {
        let run = self.lane.run();
        run.store.as_ref().filter(|_| run.mode != Mode::Plan)
    }
}
