//! `rolling`: a body for every item of a list, in waves. A target that fails is taken back alone; a wave with too many
//! failures lets no other begin, and the operator decides.

use rhai::{Array, Dynamic, FnPtr, Map, NativeCallContext};

use super::bridge::{
    Face, Options, Primitive, RhaiResultOf, Type, failure_to_dynamic, field, lane, place, raise,
};
use super::closure::{Closure, halt_of};
use super::lanes;
use crate::effect::Registry;
use crate::error::{Failure, Result};

mod decide;
mod roll;
mod waves;

pub use roll::{Rolling, State};
pub use waves::{RollingOptions, Waves};

const ROLLING: Primitive = Primitive {
    name: "rolling",
    family: "flow",
    summary: "Runs a body for every item of a list in waves; a target that fails is taken back alone, and after too many failures no other begins.",
    params: &[
        field("items", Type::List, "", "Targets, or texts; they name the lanes and must differ."),
        field("options", Type::Map, "", "How it rolls."),
        field("body", Type::Closure, "", "Gets the item, as with `each`."),
    ],
    options: &[
        field(
            "waves",
            Type::List,
            "[1, \"10%\", \"50%\", \"100%\"]",
            "How many are through after each wave: numbers or percentages, rising. What is left after the last one makes one more.",
        ),
        field("max", Type::Int, "16", "How many lanes run at once."),
        field("max_failures", Type::Int, "0", "How many may fail in all before it stops."),
        field(
            "gate",
            Type::Closure,
            "",
            "Called after each wave but the last with the results so far; false stops there.",
        ),
        field(
            "pause",
            Type::Duration,
            "none",
            "How long nothing begins between two waves, from the end of the first on. It is sat out, also if it is long.",
        ),
    ],
    returns: "Array: a map for each item, in their order: `item`, `ok`, `value`, `error`, `state` (`done`, `failed`, `not undone`, `taken out`; for the gate also `waits`, `waiting`)",
    example: r#"rolling(targets("@web"), #{ waves: [1, "10%", "100%"], max_failures: 2, gate: |done| confirm("Go on?") }, |t| service_restart("app"));"#,
    failure: "What a lane fails with is in its result. Over the limit, or at a closed gate, the run asks: try the failed ones again and go on, leave them out and go on, or pause; unattended it pauses.",
    plan: "Plans every lane.",
    undo: "A lane that fails is undone at once, alone, unless it passed a point of no return: then the failure is that of all. With the run, the lanes that are through are undone side by side.",
    resume: "A lane in a wait of days holds the next wave, and nothing else. `resume` tries the failed ones again and goes on; `--skip ITEM` takes some out for good, `--only ITEM` lets no others begin. Of a pause what is left is waited.",
};

fn results<T: Clone + Into<Dynamic>>(items: &Array, states: &[State<T>]) -> Array {
    let result = |(item, state): (&Dynamic, &State<T>)| {
        let (word, value, error) = match state {
            State::Waiting => ("waiting", Dynamic::UNIT, None),
            State::Done(value) => ("done", value.clone().into(), None),
            State::Parked(_) => ("waits", Dynamic::UNIT, None),
            State::Failed(failure) => ("failed", Dynamic::UNIT, Some(failure)),
            State::NotUndone(failure) => ("not undone", Dynamic::UNIT, Some(failure)),
            State::TakenOut { .. } => ("taken out", Dynamic::UNIT, None),
        };
        let mut map = Map::new();
        map.insert("item".into(), item.clone());
        map.insert("ok".into(), matches!(state, State::Done(_)).into());
        map.insert("state".into(), word.into());
        map.insert("value".into(), value);
        let error = error.map_or(Dynamic::UNIT, |failure| failure_to_dynamic(failure));
        map.insert("error".into(), error);
        Dynamic::from_map(map)
    };
    items.iter().zip(states).map(result).collect()
}

/// Asks the runbook whether the next wave may begin.
fn open(
    ctx: &NativeCallContext<'_>,
    gate: &FnPtr,
    items: &Array,
    states: &[State<Dynamic>],
) -> Result<bool> {
    let results = Dynamic::from_array(results(items, states));
    let open = gate.call_raw(ctx, None, [results]).map_err(|error| halt_of(&error))?;
    open.as_bool().map_err(|found| {
        Failure::input(format!("rolling: the gate must return true or false, not {found}")).into()
    })
}

fn rolling(
    ctx: &NativeCallContext<'_>,
    items: &Array,
    options: Map,
    body: FnPtr,
) -> RhaiResultOf<Array> {
    let options = Options::new(ctx, &ROLLING, options)?;
    let mut said = RollingOptions::default();
    for option in RollingOptions::OPTIONS {
        if let Some(value) = options.json(option)? {
            said.set(option, &value).map_err(|why| options.wrong(option, &why))?;
        }
    }
    let closure = Closure::take(ctx, body)?;
    let gate = options.closure("gate");
    let asks = |states: &[State<Dynamic>]| match &gate {
        Some(gate) => open(ctx, gate, items, states),
        None => Ok(true),
    };
    let rolling = Rolling {
        lane: &lane(ctx)?,
        place: place(ctx),
        keys: lanes::keys(ctx, items)?,
        waves: said.waves(),
        work: &|lane, index| lanes::call(lane, &closure, &items[index]),
        gate: gate.is_some().then_some(&asks),
        settles: false,
    };
    let states = rolling.run().map_err(|halt| raise(ctx, halt))?;
    Ok(results(items, &states))
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&ROLLING, |ctx: NativeCallContext<'_>, items: Array, options: Map, body: FnPtr| {
        rolling(&ctx, &items, options, body)
    });
}

/// The family has no actions of its own.
pub(super) fn actions(_registry: &mut Registry) {}
