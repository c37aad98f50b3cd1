//! What a rollback would do, newest first, and what it would meet. Only reads.

use super::action::{Action, Plan};
use super::context::Cx;
use super::drift;
use super::lane::{Inside, Lane, Undo};
use crate::call::{Access, CallKey};
use crate::error::{Halt, Result};
use crate::event::{PlanState, Planned, What};
use crate::journal::Inverse;

/// What one undo would do.
pub(super) struct Foreseen {
    summary: String,
    /// Whether it is so already.
    already: bool,
    changes: Vec<String>,
    /// What somebody changed since.
    drift: Vec<String>,
}

/// What a rollback would do, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Foresight {
    /// How many undos there are.
    pub undos: u32,
    /// How many of them would meet what somebody changed since.
    pub drifted: u32,
    /// How many of them could not be looked at.
    pub unseen: u32,
    /// How many changes have no way back.
    pub impossible: u32,
}

impl Foresight {
    fn add(&mut self, other: Self) {
        self.undos += other.undos;
        self.drifted += other.drifted;
        self.unseen += other.unseen;
        self.impossible += other.impossible;
    }
}

/// Looks at an action that takes back, without doing it.
pub(super) fn foresee<A: Action>(lane: &Lane, action: &A) -> Result<Foreseen> {
    let call = lane.next_call(A::NAME);
    let cx = Cx { lane, target: lane.target(), call: &call };
    lane.within(Inside::Looking, || {
        let before = action.look(&cx)?;
        let summary = lane.run().redactor.text(&action.summary());
        let (already, changes) = match action.plan(&before) {
            Plan::Already(_) => (true, Vec::new()),
            Plan::Real => (false, Vec::new()),
            Plan::Would { changes, .. } => (false, changes),
        };
        let drift = if already { Vec::new() } else { drift::look(&cx, action, &before)? };
        Ok(Foreseen { summary, already, changes, drift })
    })
}

/// Tells everything that [`super::roll_back`] would do, in its order; the lane forgets it.
///
/// # Errors
/// A stop. What cannot be looked at is told, and the others go on.
pub fn foresee_rollback(lane: &Lane) -> Result<Foresight> {
    let mut sight = Foresight::default();
    for undo in lane.take_undo().into_iter().rev() {
        match undo {
            Undo::Lanes(lanes) => {
                for lane in &lanes {
                    sight.add(foresee_rollback(lane)?);
                }
            }
            Undo::Inverse { inverse: Inverse::Nothing { .. }, .. } => {}
            Undo::Inverse { what, inverse: Inverse::Impossible { why }, .. } => {
                lane.emit(What::Warning { text: format!("cannot be undone: {what}: {why}") });
                sight.impossible += 1;
            }
            Undo::Inverse {
                of,
                target,
                inverse: Inverse::Action { name, action, summary },
                ..
            } => {
                sight.undos += 1;
                let taken = lane.run().switches.has_taken(&of);
                let found = lane.run().targets.get(&target).and_then(|target| {
                    let lane = lane.undoing(&of, target);
                    let foresee = || lane.run().registry.foresee(&lane, &name, action);
                    let seen = (!taken).then(foresee).transpose()?;
                    Ok((lane, seen))
                });
                match found {
                    Ok((lane, seen)) => sight.drifted += tell(&lane, &of, summary, seen),
                    Err(Halt::Failure(failure)) => {
                        let text = format!("cannot tell what this would do: {summary}: {failure}");
                        lane.emit(What::Warning { text });
                        sight.unseen += 1;
                    }
                    Err(halt) => return Err(halt),
                }
            }
            Undo::Closure { of, target, .. } => {
                sight.undos += 1;
                sight.unseen += 1;
                let lane = lane.undoing(&of, lane.run().targets.get(&target)?);
                let changes = ["what it does is not known before it runs".to_owned()];
                let summary = "what the runbook registered with `on_rollback`".to_owned();
                planned(&lane, &of, summary, PlanState::Would, &changes, None);
            }
        }
    }
    Ok(sight)
}

/// Tells one undo; returns 1 if it would meet what somebody changed since.
fn tell(lane: &Lane, of: &CallKey, summary: String, seen: Option<Foreseen>) -> u32 {
    let Some(seen) = seen else {
        let changes = ["its dead-man switch took it back".to_owned()];
        planned(lane, of, summary, PlanState::Already, &changes, None);
        return 0;
    };
    let state = if seen.already { PlanState::Already } else { PlanState::Would };
    let drift = (!seen.drift.is_empty()).then(|| drift::say(&seen.drift));
    let drifted = u32::from(drift.is_some());
    let news: Vec<_> = seen.changes.into_iter().filter(|change| *change != seen.summary).collect();
    planned(lane, of, seen.summary, state, &news, drift);
    drifted
}

fn planned(
    lane: &Lane,
    of: &CallKey,
    summary: String,
    state: PlanState,
    changes: &[String],
    drift: Option<String>,
) {
    let redactor = &lane.run().redactor;
    let changes = changes.iter().map(|change| redactor.text(change)).collect();
    lane.emit(What::CallPlanned {
        call: format!("undo {of}"),
        summary,
        access: Access::Change,
        planned: Planned {
            state,
            changes,
            undo: None,
            drift: drift.map(|drift| redactor.text(&drift)),
        },
    });
}
