//! Parallel lanes: what `each` and `rolling` share.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rhai::{Array, Dynamic, NativeCallContext};

use super::bridge::{Options, RhaiResultOf, wrong};
use super::closure::{Closure, detach, halt_of};
use crate::effect::Lane;
use crate::error::{Failure, Halt, Result, Stop};

/// How many lanes run at once unless the runbook says otherwise.
pub(super) const MAX: usize = 16;

/// Returns how many lanes may run at once.
pub(super) fn max(options: &Options<'_>) -> RhaiResultOf<usize> {
    match options.int("max") {
        None => Ok(MAX),
        Some(max) => usize::try_from(max)
            .ok()
            .filter(|max| *max > 0)
            .ok_or_else(|| options.wrong("max", "it must be at least 1")),
    }
}

/// Returns the name of the lane of each item. They identify the lanes in the journal, so they must differ.
pub(super) fn keys(ctx: &NativeCallContext<'_>, items: &Array) -> RhaiResultOf<Vec<String>> {
    let mut keys: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    for item in items {
        let key = item.clone().into_string().unwrap_or_else(|_| item.to_string());
        if !seen.insert(key.clone()) {
            let name = ctx.fn_name();
            return Err(wrong(
                ctx,
                format!("{name}: `{key}` is there twice; items name the lanes and must differ"),
            ));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Makes a lane for each key; a key that names a target makes it the lane's own.
pub(super) fn branch(lane: &Lane, keys: &[String]) -> Vec<Lane> {
    let targets = &lane.run().targets;
    let keyed: Vec<_> = keys.iter().map(|key| (key.clone(), targets.get(key).ok())).collect();
    lane.branch(&keyed)
}

/// Calls the closure with an item on its lane.
pub(super) fn call(lane: &Lane, closure: &Closure, item: &Dynamic) -> Result<Dynamic> {
    let item = detach(item);
    catch_unwind(AssertUnwindSafe(|| closure.call(lane, &[item])))
        .map_err(|_| Halt::from(Stop::Limit(format!("lane {} panicked", lane.name()))))
        .and_then(|result| result.map_err(|error| halt_of(&error)))
}

/// Of what stopped the lanes, the one that the run must react to first; it remembers the failures beside that.
pub(super) fn worst(lane: &Lane, halts: Vec<Halt>) -> Option<Halt> {
    let failures: Vec<Failure> = halts
        .iter()
        .filter_map(|halt| match halt {
            Halt::Failure(failure) => Some((**failure).clone()),
            Halt::Stop(_) => None,
        })
        .collect();
    let worst = halts
        .into_iter()
        .enumerate()
        .min_by_key(|(index, halt)| {
            let rank = match halt {
                Halt::Stop(Stop::Journal(_)) => 0,
                Halt::Stop(Stop::Mismatch(_)) => 1,
                Halt::Stop(Stop::Limit(_) | Stop::Fenced(_)) => 2,
                Halt::Stop(Stop::Cancelled) => 3,
                Halt::Failure(_) => 4,
                Halt::Stop(Stop::Fired(_)) => 5,
                Halt::Stop(Stop::Paused(pause)) if pause.unknown => 5,
                Halt::Stop(Stop::Paused(_)) => 6,
                Halt::Stop(Stop::EndOfRecord) => 7,
            };
            // Of several waits, the run goes on with the one that is over first.
            let until = match halt {
                Halt::Stop(Stop::Paused(pause)) => pause.until,
                _ => None,
            };
            (rank, until, *index)
        })
        .map(|(_, halt)| halt);
    if let Some(Halt::Failure(told)) = &worst {
        lane.run().beside.add(told, &failures);
    }
    worst
}
