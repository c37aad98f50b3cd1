//! What must be so before a change is made, and after: the target is held, nothing took back or switched on what the run
//! did there, what an undo meets is agreed to, and the dead-man switch is armed in time and disarmed.

use super::One;
use crate::call::Access;
use crate::effect::action::{Action, Owes};
use crate::effect::lane::Inside;
use crate::effect::run::Mode;
use crate::effect::{deadman, drift, off};
use crate::error::{Result, Stop};

impl<A: Action> One<'_, A> {
    /// Makes sure that the run holds the target before it changes anything there.
    pub(super) fn hold(&self) -> Result<()> {
        if A::ACCESS == Access::Change { self.cx.reconnecting(|| self.cx.lock()) } else { Ok(()) }
    }

    /// Makes sure that what is taken back is still as the run left it, or that it is to be taken back all the same.
    pub(super) fn agree(&self, before: &A::Before) -> Result<()> {
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

    pub(super) fn switch(&self, before: &A::Before) -> Result<Option<deadman::Switch>> {
        self.lane.within(Inside::Looking, || self.action.deadman(&self.cx, before))
    }

    /// Arms the dead-man switch of the call, if it has one. Nothing is applied unless it is armed.
    pub(super) fn arm(&self, before: &A::Before) -> Result<()> {
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
    pub(super) fn check(&self) -> Result<()> {
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
    pub(super) fn disarm(&self, result: Result<A::Output>, owes: &Owes) -> Result<A::Output> {
        let output = result?;
        if let (Owes::Closes(key) | Owes::Keeps { key, .. }, Mode::Run | Mode::Rebuild) =
            (owes, self.lane.run().mode)
        {
            self.cx.reconnecting(|| deadman::disarm(&self.cx, key))?;
            self.check()?;
        }
        Ok(output)
    }
}
