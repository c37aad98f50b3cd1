//! Evaluates the script: on the lane of the run if it has but one target, else on a lane for each target, in waves.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::drive::Setup;
use super::interactive;
use crate::effect::{Lane, Mode, STACK, recall_inverses};
use crate::error::{Failure, Halt, Result, Stop};
use crate::event::What;
use crate::primitives::{Rolling, State};
use crate::script::Script;

/// How one evaluation of the script ended.
pub(super) enum Evaluated {
    /// It is through, with these targets taken out.
    Finished(Vec<Out>),
    /// It failed, also by these calls.
    Failed(Failure, Vec<String>),
    /// Something stopped it.
    Stopped(Stop),
}

/// A target that the operator took out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Out {
    pub(super) target: String,
    /// Whether all that was done there was taken back.
    pub(super) undone: bool,
}

/// Evaluates the script. The engines are kept in `scripts`: adapters and closures need them as long as anything may be
/// undone.
pub(super) fn evaluate(setup: &Setup, lane: &Lane, scripts: &Mutex<Vec<Script>>) -> Evaluated {
    match all(setup, lane, scripts) {
        Ok(out) => Evaluated::Finished(out),
        Err(Halt::Failure(failure)) => {
            let again: BTreeSet<String> = lane.run().beside.tried_again(&failure);
            Evaluated::Failed(*failure, again.into_iter().collect())
        }
        Err(Halt::Stop(stop)) => Evaluated::Stopped(stop),
    }
}

/// Replays the script as far as it is on record, so that the lanes know what to undo.
pub(super) fn rebuild(setup: &Setup, lane: &Lane, scripts: &Mutex<Vec<Script>>) -> Evaluated {
    if let Err(Halt::Stop(stop)) = all(setup, lane, scripts)
        && stop != Stop::EndOfRecord
    {
        // Without the script's closures, what is on record can still be undone.
        drop(lane.take_undo());
        lane.emit(What::Warning {
            text: format!("the script cannot be replayed ({stop}); only the recorded inverses are undone, not what `on_rollback` registered"),
        });
        recall_inverses(lane);
    }
    Evaluated::Finished(Vec::new())
}

fn all(setup: &Setup, lane: &Lane, scripts: &Mutex<Vec<Script>>) -> Result<Vec<Out>> {
    let targets = &setup.info.targets;
    if targets.len() < 2 || setup.pieces.is_some() {
        return on_a_thread(lane.name(), || one(setup, lane, scripts)).map(|()| Vec::new());
    }
    let rolling = Rolling {
        lane,
        place: None,
        keys: targets.clone(),
        waves: setup.waves.clone(),
        work: &|lane, _| one(setup, lane, scripts),
        gate: None,
        settles: true,
    };
    let states = rolling.run()?;
    let mut out = Vec::new();
    for (target, state) in targets.iter().zip(states) {
        match state {
            State::TakenOut { undone } => out.push(Out { target: target.clone(), undone }),
            // Nothing is tried again in a plan.
            State::Failed(failure) if setup.mode == Mode::Plan => return Err((*failure).into()),
            _ => {}
        }
    }
    Ok(out)
}

/// Evaluates the script on a lane.
fn one(setup: &Setup, lane: &Lane, scripts: &Mutex<Vec<Script>>) -> Result<()> {
    let keep = |script| scripts.lock().unwrap_or_else(PoisonError::into_inner).extend(script);
    if let Some(pieces) = &setup.pieces {
        let (script, result) = interactive::replay(setup, lane, pieces);
        keep(script);
        return result;
    }
    let mut script = Script::new(&setup.runbook, lane)
        .map_err(|error| Halt::from(Failure::input(error.to_string()).at(error.place)))?;
    let result = script.run().map(drop);
    keep(Some(script));
    result
}

/// Works on a thread with a stack for scripts, for Rhai recurses deeply.
pub(super) fn on_a_thread<T: Send>(
    name: &str,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK);
        match thread.spawn_scoped(scope, work).map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Stop::Limit("the script's thread panicked".to_owned()).into()),
            Err(error) => Err(Stop::Limit(format!("no thread for the script: {error}")).into()),
        }
    })
}
