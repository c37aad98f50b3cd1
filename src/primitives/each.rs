//! `each`: a body for every item, side by side.

use rhai::{Array, FnPtr, Map, NativeCallContext};

use super::bridge::{Face, Options, Primitive, RhaiResultOf, Type, field, lane, raise};
use super::closure::Closure;
use super::lanes;
use crate::effect::{Registry, Undo, side_by_side};
use crate::error::Stop;

const EACH: Primitive = Primitive {
    name: "each",
    family: "flow",
    summary: "Runs a body for every item of a list, in parallel lanes; an item that names a target makes it the current one.",
    params: &[
        field("items", Type::List, "", "Targets, or texts; they name the lanes and must differ."),
        field(
            "body",
            Type::Closure,
            "",
            "Gets the item. What it writes to captured variables stays in its lane: return values instead.",
        ),
    ],
    options: &[field("max", Type::Int, "16", "How many lanes run at once.")],
    returns: "Array: what the bodies return, in the order of the items",
    example: r#"let free = each(targets("@backup"), |t| disk_free("/").free);"#,
    failure: "With the first failure in the order of the items; the other lanes run to their own end first.",
    plan: "Plans every lane.",
    undo: "The lanes are undone side by side, each newest first.",
    resume: "Each lane goes on where it was.",
};

fn each(
    ctx: &NativeCallContext<'_>,
    items: &Array,
    options: Map,
    body: FnPtr,
) -> RhaiResultOf<Array> {
    let options = Options::new(ctx, &EACH, options)?;
    let max = lanes::max(&options)?;
    let lane = lane(ctx)?;
    let closure = Closure::take(ctx, body)?;
    let branches = lanes::branch(&lane, &lanes::keys(ctx, items)?);
    let results = side_by_side(branches.len(), max, &|_| false, &|index| {
        lanes::call(&branches[index], &closure, &items[index])
    });
    lane.push_undo(Undo::Lanes(branches));
    let mut values = Array::new();
    let mut halts = Vec::new();
    for result in results {
        match result {
            Some(Ok(value)) => values.push(value),
            Some(Err(halt)) => halts.push(halt),
            None => halts.push(Stop::Limit("a lane did not run".to_owned()).into()),
        }
    }
    match lanes::worst(&lane, halts) {
        None => Ok(values),
        Some(halt) => Err(raise(ctx, halt)),
    }
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&EACH, |ctx: NativeCallContext<'_>, items: Array, body: FnPtr| {
        each(&ctx, &items, Map::new(), body)
    });
    face.add(&EACH, |ctx: NativeCallContext<'_>, items: Array, options: Map, body: FnPtr| {
        each(&ctx, &items, options, body)
    });
}

/// The family has no actions of its own.
pub(super) fn actions(_registry: &mut Registry) {}
