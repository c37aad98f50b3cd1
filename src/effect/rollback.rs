//! Taking back: per lane newest first, each undo journaled like any other call, a failing one reported while the others
//! go on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use serde_json::Value;

use super::context::Cx;
use super::deadman;
use super::lane::{Lane, Undo};
use super::run::Mode;
use super::side_by_side::{AT_ONCE, side_by_side};
use crate::call::CallKey;
use crate::error::{Failure, Halt, Result, Stop};
use crate::event::What;
use crate::failpoint::{Spot, passed};
use crate::journal::Inverse;

/// What came of undoing.
#[derive(Debug, Default)]
pub struct Undone {
    /// How many undos were done.
    pub done: u32,
    /// The failures of those that were not.
    pub failed: Vec<Failure>,
    /// What was done and has no way back.
    pub left: Vec<String>,
}

impl Undone {
    fn add(&mut self, other: Self) {
        self.done += other.done;
        self.failed.extend(other.failed);
        self.left.extend(other.left);
    }
}

/// Undoes everything that the lane remembers.
///
/// # Errors
/// A stop (second interrupt, journal). Failures of single undos are in the result.
pub fn roll_back(lane: &Lane) -> Result<Undone> {
    let mut undone = Undone::default();
    for undo in lane.take_undo().into_iter().rev() {
        let result = match undo {
            Undo::Lanes(lanes) => {
                undone.add(roll_back_lanes(&lanes)?);
                continue;
            }
            Undo::Inverse { of, target, what, inverse } => {
                match (settle(lane, &of, &target), inverse) {
                    (Ok(true), Inverse::Nothing { .. }) | (Ok(false), _) => continue,
                    (Ok(true), Inverse::Impossible { why }) => {
                        lane.emit(What::Warning {
                            text: format!("cannot be undone: {what}: {why}"),
                        });
                        undone.left.push(what);
                        continue;
                    }
                    (Ok(true), Inverse::Action { name, action, .. }) => {
                        passed(Spot::Undo);
                        take_back(lane, &of, &target, &name, action)
                    }
                    (Err(halt), _) => Err(halt),
                }
            }
            Undo::Closure { of, target, closure } => {
                passed(Spot::Undo);
                lane.run()
                    .targets
                    .get(&target)
                    .and_then(|target| closure(&lane.undoing(&of, target)))
            }
        };
        passed(Spot::Undone);
        match result {
            Ok(()) => undone.done += 1,
            Err(Halt::Failure(failure)) => {
                lane.emit(What::Warning { text: format!("undo failed: {failure}") });
                undone.failed.push(*failure);
            }
            Err(Halt::Stop(stop)) => return Err(stop.into()),
        }
    }
    Ok(undone)
}

/// Before a call is taken back whose end is not on record: makes sure that nothing of it still runs, which would have the
/// last word. Returns whether there may be something to take back.
fn settle(lane: &Lane, of: &CallKey, target: &str) -> Result<bool> {
    let run = lane.run();
    let cursor = run.cursor.lock().unwrap_or_else(PoisonError::into_inner);
    let recorded = cursor.find(of).filter(|call| call.outcome.is_none() || call.again).cloned();
    drop(cursor);
    // What this process began it has ended, whatever was on record when it started.
    let Some(recorded) = recorded.filter(|_| run.mode == Mode::Rebuild) else { return Ok(true) };
    let lane = lane.undoing(of, run.targets.get(target)?);
    let cx = Cx { lane: &lane, target: lane.target(), call: of };
    cx.quiet_down(None)?;
    if let Some(sudo) = run.registry.becomes(&cx, &recorded)? {
        cx.quiet_down(Some(&sudo))?;
    }
    cx.reconnecting(|| run.registry.begun(&cx, &recorded))
}

/// Performs an inverse, unless the target says that a dead-man switch was faster.
fn take_back(lane: &Lane, of: &CallKey, target: &str, name: &str, action: Value) -> Result<()> {
    let run = lane.run();
    let lane = lane.taking_back(of, run.targets.get(target)?);
    let cx = Cx { lane: &lane, target: lane.target(), call: of };
    if cx.reconnecting(|| deadman::took_back(&cx))? {
        return Ok(());
    }
    run.registry.perform(&lane, name, action).map(drop)
}

/// Lanes that ran side by side are undone side by side.
fn roll_back_lanes(lanes: &[Lane]) -> Result<Undone> {
    let results = side_by_side(lanes.len(), AT_ONCE, &|_| false, &|at| {
        catch_unwind(AssertUnwindSafe(|| roll_back(&lanes[at])))
            .unwrap_or_else(|_| Err(Stop::Limit("an undo lane panicked".to_owned()).into()))
    });
    let mut undone = Undone::default();
    for result in results.into_iter().flatten() {
        undone.add(result?);
    }
    Ok(undone)
}

/// Fills the lane with the recorded inverses alone, for a run whose script is not there any more.
pub fn recall_inverses(lane: &Lane) {
    let run = Arc::clone(lane.run());
    let cursor = run.cursor.lock().unwrap_or_else(PoisonError::into_inner);
    let mut calls: Vec<_> =
        cursor.all().into_iter().filter(|call| !call.call.takes_back()).collect();
    calls.sort_by_key(|call| call.began);
    // What `keep_off` handed over stays as it is.
    let kept: Vec<_> = calls
        .iter()
        .filter(|call| call.call.action == "keep_off")
        .filter_map(|call| {
            Some((
                call.action.get("target")?.as_str()?.to_owned(),
                call.action.get("key")?.as_str()?.to_owned(),
            ))
        })
        .collect();
    calls.retain(|call| {
        !call
            .opens
            .as_ref()
            .is_some_and(|debt| kept.contains(&(call.target.clone(), debt.key.clone())))
    });
    let undos: Vec<_> = calls
        .into_iter()
        .filter_map(|call| {
            let inverse = call.inverse.clone()?;
            let (of, what) = (call.call.clone(), call.summary.clone());
            Some(Undo::Inverse { of, what, target: call.target.clone(), inverse })
        })
        .collect();
    drop(cursor);
    for undo in undos {
        lane.push_undo(undo);
    }
}
