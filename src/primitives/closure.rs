//! Closures of a script that are called later or on another thread: the one place that holds Rhai's volatile types.
//!
//! A closure is detached from what it captured when it is taken over, deeply, so that lanes are isolated and an undo
//! sees the values of the moment in which it was registered.

#![expect(
    deprecated,
    reason = "Rhai marks its volatile, not its deprecated, API so; the version is pinned"
)]

use std::sync::Arc;

use rhai::{
    Array, Dynamic, Engine, EvalAltResult, FnPtr, Map, NativeCallContext, NativeCallContextStore,
};

use super::bridge::{RhaiResultOf, Seat, failure_from_dynamic, seat, stop_from_dynamic};
use crate::effect::Lane;
use crate::error::{Failure, Halt, Kind, Place, Stop};

/// A closure with everything that it needs to be called.
#[derive(Clone)]
pub struct Closure {
    pointer: FnPtr,
    store: NativeCallContextStore,
    seat: Seat,
    engine: Arc<Engine>,
}

/// The surroundings of a call of the runbook: its functions and imports.
#[derive(Clone)]
pub struct Anchor(NativeCallContextStore);

impl std::fmt::Debug for Anchor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Anchor")
    }
}

impl Anchor {
    pub(super) fn new(ctx: &NativeCallContext<'_>) -> Self {
        let mut store = ctx.store_data();
        // The tag holds the seat that will hold this; each call gets its own anyway.
        store.global.tag = Dynamic::UNIT;
        Self(store)
    }
}

/// Calls a function by its name, wherever it is defined: the standard library, or the runbook of the seat's anchor.
///
/// # Errors
/// What it throws.
pub fn call_named(seat: &Seat, name: &str, arguments: Vec<Dynamic>) -> RhaiResultOf<Dynamic> {
    let engine = super::bridge::engine(seat)?;
    let pointer = FnPtr::new(name)?;
    let tag = Dynamic::from(seat.clone());
    if let Some(Anchor(store)) = seat.anchor.get() {
        let mut store = store.clone();
        store.global.tag = tag;
        let ctx = store.create_context(&engine);
        pointer.call_raw(&ctx, None, arguments)
    } else {
        let mut global = engine.new_global_runtime_state();
        global.tag = tag;
        let ctx = NativeCallContext::new_with_all_fields(
            &engine,
            name,
            None,
            &global,
            rhai::Position::NONE,
        );
        pointer.call_raw(&ctx, None, arguments)
    }
}

impl std::fmt::Debug for Closure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Closure({})", self.pointer.fn_name())
    }
}

impl Closure {
    /// Takes a closure over, detached from its captures.
    ///
    /// # Errors
    /// If the call belongs to no run.
    pub fn take(ctx: &NativeCallContext<'_>, mut pointer: FnPtr) -> RhaiResultOf<Self> {
        let seat = seat(ctx)?;
        for value in pointer.iter_curry_mut() {
            *value = detach(value);
        }
        let engine = super::bridge::engine(&seat)?;
        Ok(Self { pointer, store: ctx.store_data(), seat, engine })
    }

    /// Calls it on a lane, with as many of the arguments as it takes.
    ///
    /// # Errors
    /// What it throws.
    pub fn call(&self, lane: &Lane, arguments: &[Dynamic]) -> RhaiResultOf<Dynamic> {
        let mut closure = self.clone();
        for value in closure.pointer.iter_curry_mut() {
            *value = detach(value);
        }
        let mut store = closure.store;
        store.global.tag = Dynamic::from(Seat { lane: lane.clone(), ..self.seat.clone() });
        let ctx = store.create_context(&self.engine);
        let result = closure.pointer.call_raw(&ctx, None, arguments.to_vec());
        match result {
            // `|| …` where `|item| …` could stand: the argument is not wanted.
            Err(error)
                if !arguments.is_empty() && takes_none(&error, closure.pointer.fn_name()) =>
            {
                closure.pointer.call_raw(&ctx, None, Vec::new())
            }
            result => result,
        }
    }
}

fn takes_none(error: &EvalAltResult, name: &str) -> bool {
    matches!(error, EvalAltResult::ErrorFunctionNotFound(signature, _) if signature.starts_with(name))
}

/// Copies a value deeply, so that nothing is shared with the original.
pub fn detach(value: &Dynamic) -> Dynamic {
    let mut value = value.flatten_clone();
    if let Some(mut list) = value.write_lock::<Array>() {
        for item in list.iter_mut() {
            *item = detach(item);
        }
    }
    if let Some(mut map) = value.write_lock::<Map>() {
        for item in map.values_mut() {
            *item = detach(item);
        }
    }
    if let Some(mut pointer) = value.write_lock::<FnPtr>() {
        for item in pointer.iter_curry_mut() {
            *item = detach(item);
        }
    }
    value
}

/// Turns an error of the engine into a halt, with the place of its innermost cause.
pub fn halt_of(error: &EvalAltResult) -> Halt {
    let mut source = None;
    let mut inner = error;
    let mut position = error.position();
    while let EvalAltResult::ErrorInFunctionCall(_, file, deeper, _)
    | EvalAltResult::ErrorInModule(file, deeper, _) = inner
    {
        source = Some(file.clone()).filter(|file| !file.is_empty()).or(source);
        inner = deeper;
        if !inner.position().is_none() {
            position = inner.position();
        }
    }
    let place = position.line().map(|line| Place {
        file: source.unwrap_or_default(),
        line,
        column: position.position().unwrap_or(1),
    });
    match inner {
        EvalAltResult::ErrorTerminated(value, _) => match stop_from_dynamic(value) {
            Some(stop) => stop.into(),
            None => Stop::Cancelled.into(),
        },
        EvalAltResult::ErrorRuntime(value, _) => match failure_from_dynamic(value) {
            Some(failure) => failure.at(place).into(),
            None => Failure::new(Kind::Script, thrown(value)).at(place).into(),
        },
        EvalAltResult::ErrorTooManyOperations(_)
        | EvalAltResult::ErrorStackOverflow(_)
        | EvalAltResult::ErrorDataTooLarge(..) => Stop::Limit(inner.to_string()).into(),
        other => super::explain::explain(other).at(place).into(),
    }
}

fn thrown(value: &Dynamic) -> String {
    if let Some(map) = value.read_lock::<Map>()
        && let Some(message) = map.get("message")
    {
        return message.to_string();
    }
    value.to_string()
}
