//! Plan mode: what a call would do is told, and what it would leave is assumed by the calls that come after it.

use std::sync::PoisonError;
use std::time::Duration;

use super::{One, decode, encode};
use crate::call::Access;
use crate::effect::action::Action;
use crate::error::Result;
use crate::event::{PlanState, Planned, What};
use crate::units;

impl<A: Action> One<'_, A> {
    /// Returns what a call before this one would leave of what this one is about.
    pub(super) fn assumed(&self) -> Result<Option<A::Before>> {
        let Some(subject) = self.action.subject() else { return Ok(None) };
        let assumed = self.lane.run().assumed.lock().unwrap_or_else(PoisonError::into_inner);
        let found = assumed.get(&(self.cx.target.name.clone(), subject)).cloned();
        drop(assumed);
        found.map(|value| decode::<A::Before>(self.cx.call, value)).transpose()
    }

    /// Tells what the call would do, and assumes that it did.
    pub(super) fn would(
        &self,
        before: &A::Before,
        mut changes: Vec<String>,
        after: Option<A::Before>,
    ) -> Result<()> {
        if let Some(switch) = self.switch(before)? {
            let after = Duration::from_millis(switch.deadman.after_ms);
            let after = units::say_duration(after);
            changes.insert(0, format!("arm a dead-man switch that takes it back after {after}"));
        }
        self.action.remember(self.lane, before);
        if let (Some(subject), Some(after)) = (self.action.subject(), after) {
            let key = (self.cx.target.name.clone(), subject);
            let mut assumed =
                self.lane.run().assumed.lock().unwrap_or_else(PoisonError::into_inner);
            assumed.insert(key, encode(&after)?);
        }
        let (state, undo) = match A::ACCESS {
            Access::Wait => (PlanState::Waits, None),
            Access::Ask => (PlanState::Asks, None),
            _ => (PlanState::Would, Some(self.action.inverse(before).describe())),
        };
        self.planned(state, &changes, undo);
        Ok(())
    }

    pub(super) fn planned(&self, state: PlanState, changes: &[String], undo: Option<String>) {
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
