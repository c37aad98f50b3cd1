//! Adapters of applications, written in Rhai: functions named `ADAPTER_VERB`, in the standard library or in the runbook.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::effect::{Adapters, App, Lane};
use crate::error::{Failure, Halt, Result};
use crate::primitives::bridge::{Seat, to_dynamic, to_json};
use crate::primitives::closure::{call_named, halt_of};
use crate::units;

/// The adapters that a script can use.
#[derive(Debug)]
pub struct ScriptAdapters {
    seat: Seat,
    functions: BTreeSet<String>,
}

impl ScriptAdapters {
    /// Makes them from the functions that are known.
    pub fn new(seat: Seat, functions: BTreeSet<String>) -> Self {
        Self { seat, functions }
    }
}

impl Adapters for ScriptAdapters {
    fn has(&self, adapter: &str, verb: &str) -> bool {
        self.functions.contains(&format!("{adapter}_{verb}"))
    }

    fn call(&self, lane: &Lane, app: &App, verb: &str, arguments: &[Value]) -> Result<Value> {
        let name = format!("{}_{verb}", app.adapter);
        if !self.functions.contains(&name) {
            let prefix = format!("{}_", app.adapter);
            let failure = if self.functions.iter().any(|name| name.starts_with(&prefix)) {
                Failure::input(format!("adapter `{}` has no `{verb}`", app.adapter)).with_hint(
                    format!("Define `fn {name}(app, …)` in the runbook, or use another adapter."),
                )
            } else {
                let known: BTreeSet<&str> = self
                    .functions
                    .iter()
                    .filter_map(|name| {
                        name.strip_suffix("_users").or_else(|| name.strip_suffix("_replication"))
                    })
                    .collect();
                let failure = Failure::input(format!("there is no adapter `{}`", app.adapter));
                match units::nearest(&app.adapter, known.iter().copied()) {
                    Some(near) => failure.with_hint(format!("Did you mean `{near}`?")),
                    None => failure.with_hint(format!(
                        "There are {}.",
                        known.into_iter().collect::<Vec<_>>().join(", ")
                    )),
                }
            };
            return Err(failure.into());
        }
        let mut values = vec![to_dynamic(app.settings.clone())];
        values.extend(arguments.iter().cloned().map(to_dynamic));
        let seat = Seat { lane: lane.clone(), ..self.seat.clone() };
        let value = call_named(&seat, &name, values).map_err(|error| match halt_of(&error) {
            Halt::Failure(mut failure) => {
                failure.target.get_or_insert_with(|| lane.target().name.clone());
                Halt::Failure(failure)
            }
            stop @ Halt::Stop(_) => stop,
        })?;
        to_json(&value).map_err(|why| {
            Failure::input(format!("{name} returns what cannot be used: {why}")).into()
        })
    }
}
