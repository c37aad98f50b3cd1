//! Parameters of the run: `param`, `secret`.

use rhai::{Dynamic, NativeCallContext};
use serde_json::Value;

use super::bridge::{Face, Primitive, RhaiResultOf, Type, field, lane, raise, to_dynamic};
use crate::effect::{Lane, Registry, SecretRef};
use crate::error::{Failure, Result};
use crate::units;

const PARAM: Primitive = Primitive {
    name: "param",
    family: "params",
    summary: "Returns a parameter of the run, as it is for the current target.",
    params: &[field("name", Type::Text, "", "A parameter that `RUNBOOK` declares.")],
    options: &[],
    returns: "Dynamic: its value; nothing if it has none; a secret if it is one",
    example: r#"service_stop(param("service"));"#,
    failure: "`input` if no such parameter is declared.",
    plan: "The same.",
    undo: "Nothing: it only reads.",
    resume: "The parameters are those of the run's beginning.",
};

const SECRET: Primitive = Primitive {
    name: "secret",
    family: "params",
    summary: "Returns a secret parameter. It can be handed to options that take secrets, and never be read.",
    params: &[field("name", Type::Text, "", "A parameter of type `secret`.")],
    options: &[],
    returns: "Dynamic: a secret",
    example: r#"http(url, #{ form: #{ password: secret("system_password") } });"#,
    failure: "`input` if it is no secret parameter. Where the value comes from is looked at when it is first needed.",
    plan: "The same.",
    undo: "Nothing: it only reads.",
    resume: "It is asked for again: its value is in no journal.",
};

fn lookup(lane: &Lane, name: &str) -> Result<Value> {
    let params = &lane.run().params;
    let own = params.get(&lane.target().name).and_then(|values| values.get(name));
    let value = own.or_else(|| params.get("").and_then(|values| values.get(name)));
    value.cloned().ok_or_else(|| {
        let known = params.get("").into_iter().flat_map(|values| values.keys().map(String::as_str));
        let failure = Failure::input(format!("the runbook declares no parameter `{name}`"));
        let failure = match units::nearest(name, known) {
            Some(near) => failure.with_hint(format!("Did you mean `{near}`?")),
            None => failure.with_hint(format!("Add it to RUNBOOK: `params: #{{ {name}: … }}`.")),
        };
        failure.into()
    })
}

fn secret(ctx: &NativeCallContext<'_>, name: &str) -> RhaiResultOf<SecretRef> {
    let value = lookup(&lane(ctx)?, name).map_err(|halt| raise(ctx, halt))?;
    to_dynamic(value).try_cast::<SecretRef>().ok_or_else(|| {
        raise(
            ctx,
            Failure::input(format!("parameter `{name}` is no secret, or has no value")).into(),
        )
    })
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&PARAM, |ctx: NativeCallContext<'_>, name: &str| -> RhaiResultOf<Dynamic> {
        lookup(&lane(&ctx)?, name).map(to_dynamic).map_err(|halt| raise(&ctx, halt))
    });
    face.add(&SECRET, |ctx: NativeCallContext<'_>, name: &str| secret(&ctx, name));
}

/// The family has no actions.
pub(super) fn actions(_registry: &mut Registry) {}
