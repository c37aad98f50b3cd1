//! Between Rhai and actions: finding the lane of a call, its place, its options; turning values and errors over.

mod catalogue;
mod options;
mod value;

use std::sync::{Arc, OnceLock, Weak};

use rhai::{Dynamic, Engine, EvalAltResult, NativeCallContext, Position};

pub use self::catalogue::{Face, Faces, Field, Primitive, Type, field};
pub use self::options::{Options, check_options, text_param, texts, unknown_option};
pub use self::value::{
    failure_from_dynamic, failure_to_dynamic, register_types, stop_from_dynamic, to_dynamic,
    to_json, type_name,
};
use super::closure::Anchor;
use crate::effect::{Action, Lane, Query, perform, query};
use crate::error::{Failure, Halt, Place};

/// What Rhai functions return. The alias keeps signatures in the generated definitions readable.
pub type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

/// Where a script's calls act: its tag in the engine. Reaches every native function.
#[derive(Clone, Debug)]
pub struct Seat {
    /// The lane.
    pub lane: Lane,
    /// The engine, for closures that are called later.
    pub engine: Weak<Engine>,
    /// The first call's surroundings, through which adapters written in the runbook are found.
    pub anchor: Arc<OnceLock<Anchor>>,
}

/// Returns the seat of a call.
///
/// # Errors
/// If the engine was not made by a session.
pub fn seat(ctx: &NativeCallContext<'_>) -> RhaiResultOf<Seat> {
    let seat = ctx.tag().and_then(|tag| tag.clone().try_cast::<Seat>()).ok_or_else(|| {
        EvalAltResult::ErrorSystem("no run".to_owned(), "this engine belongs to no run".into())
    })?;
    // What the standard library calls says nothing of the runbook's own functions.
    if !ctx.call_source().is_some_and(|source| source.starts_with("<stdlib>")) {
        seat.anchor.get_or_init(|| Anchor::new(ctx));
    }
    Ok(seat)
}

/// Returns the engine of a call, for closures that outlive it.
///
/// # Errors
/// If the engine is being dropped.
pub fn engine(seat: &Seat) -> RhaiResultOf<Arc<Engine>> {
    seat.engine.upgrade().ok_or_else(|| {
        EvalAltResult::ErrorSystem("no engine".to_owned(), "the engine is gone".into()).into()
    })
}

/// Returns the lane of a call.
///
/// # Errors
/// If the engine was not made by a session.
pub fn lane(ctx: &NativeCallContext<'_>) -> RhaiResultOf<Lane> {
    let seat = seat(ctx)?;
    // Adapters written in the runbook are found through the surroundings of its first call.
    seat.anchor.get_or_init(|| Anchor::new(ctx));
    Ok(seat.lane)
}

/// Returns where a call stands in the script.
pub fn place(ctx: &NativeCallContext<'_>) -> Option<Place> {
    let position = ctx.call_position();
    let line = position.line()?;
    Some(Place {
        file: ctx.call_source().unwrap_or("script").to_owned(),
        line,
        column: position.position().unwrap_or(1),
    })
}

/// Performs an action for a script.
///
/// # Errors
/// The action's failure as a catchable map, or a stop that is not catchable.
pub fn act<A: Action>(ctx: &NativeCallContext<'_>, action: &A) -> RhaiResultOf<A::Output> {
    perform(&lane(ctx)?, place(ctx), action).map_err(|halt| raise(ctx, halt))
}

/// Performs a query for a script.
///
/// # Errors
/// As [`act`].
pub fn ask<Q: Query>(ctx: &NativeCallContext<'_>, what: Q) -> RhaiResultOf<Q::Output> {
    query(&lane(ctx)?, place(ctx), what).map_err(|halt| raise(ctx, halt))
}

/// Turns a halt into Rhai's error at the place of the call.
pub fn raise(ctx: &NativeCallContext<'_>, halt: Halt) -> Box<EvalAltResult> {
    match halt {
        Halt::Failure(failure) => {
            let failure = failure.at(place(ctx));
            EvalAltResult::ErrorRuntime(failure_to_dynamic(&failure), ctx.call_position()).into()
        }
        Halt::Stop(stop) => {
            EvalAltResult::ErrorTerminated(Dynamic::from(stop), ctx.call_position()).into()
        }
    }
}

/// Makes a failure of kind `input` at the place of the call.
pub fn wrong(ctx: &NativeCallContext<'_>, message: impl Into<String>) -> Box<EvalAltResult> {
    raise(ctx, Failure::input(message).into())
}

/// Returns the position of a place, for errors made outside of a call.
pub fn position(place: Option<&Place>) -> Position {
    place.map_or(Position::NONE, |place| {
        let line = u16::try_from(place.line).unwrap_or(u16::MAX);
        Position::new(line, u16::try_from(place.column).unwrap_or(u16::MAX))
    })
}
