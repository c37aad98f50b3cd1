//! The replication of an application: read the mode, record it, switch, verify by reading again. Switched is not in step:
//! waiting for that is a call of its own.

mod standing;
mod switch;
mod wait;

use std::time::Duration;

use rhai::{Dynamic, Map, NativeCallContext};
use serde_json::{Value, json};

use self::standing::Status;
use self::switch::Switch;
use self::wait::InStep;
use super::app::{current, millis};
use super::bridge::{Face, Options, Primitive, RhaiResultOf, Type, act, ask, field, to_dynamic};
use super::deadman::{DEADMAN, deadman};
use super::flow;
use crate::effect::Registry;
use crate::units;

/// How long it may take until it is in step.
const WAIT_TIMEOUT: Duration = Duration::from_secs(3600);

const REPLICATION: Primitive = Primitive {
    name: "replication",
    family: "replication",
    summary: "Switches the replication of the application on or off, and makes sure that it is so.",
    params: &[field("on", Type::Bool, "", "Whether it is to be on.")],
    options: &[
        field(
            "driver",
            Type::Text,
            "as in the settings of `app`",
            "How it is switched, for this call; `ahsay_obs` knows `file`, `command` and `manual`.",
        ),
        field("timeout", Type::Duration, "\"1m\"", "How long the application may take to show it."),
        field(
            "keep_off",
            Type::Text,
            "",
            "Why it stays off whatever happens: neither a failure nor a rollback switches it on, and it stays owed until `replication(true)`.",
        ),
        field("due", Type::Duration, "", "With `keep_off`: by when it is owed, from now on."),
        DEADMAN,
    ],
    returns: "bool: true if it changed something",
    example: r#"replication(false, #{ keep_off: "it is the safety copy until checkout" });"#,
    failure: "`input` if `deadman` is given and the adapter cannot say by commands on the target how it is switched on (`command` can, `ahsay_obs` with `driver` = `file` or `command`); `check` if the application still says otherwise at the end; what the adapter fails with.",
    plan: "Says how it stands and what would change.",
    undo: "Sets it back; with `keep_off` it only makes sure that the application answers. Off, it is owed until it is on again.",
    resume: "Looks again; switches if it is not so yet.",
};

const STATUS: Primitive = Primitive {
    name: "replication_status",
    family: "replication",
    summary: "Tells how the replication stands.",
    params: &[],
    options: &[],
    returns: "map: `enabled` (bool, or () if unknown), `state` (the application's word), `in_step` (bool), `lag`, `detail`",
    example: r"note(`replication: ${replication_status().state}`);",
    failure: "What the adapter fails with.",
    plan: "Reads for real.",
    undo: "Nothing: it only reads.",
    resume: "Returns what was read; reads again if that was not recorded.",
};

const WAIT: Primitive = Primitive {
    name: "wait_replication",
    family: "replication",
    summary: "Waits until the replication is in step.",
    params: &[],
    options: &[
        field(
            "state",
            Type::Text,
            "in step",
            "Wait for this word of the application instead, such as \"SYNC\".",
        ),
        field("timeout", Type::Duration, "\"1h\"", "How long it may take."),
        field(
            "pause",
            Type::Duration,
            "\"2s\"",
            "The longest pause between two looks; the first ones are shorter.",
        ),
    ],
    returns: "map: as `replication_status`",
    example: r#"replication(true);
wait_replication(#{ timeout: "2h" });"#,
    failure: "`timeout` if it is not so at the end; `conflict` if it is off.",
    plan: "Says what it would wait for.",
    undo: "Nothing: it only waits.",
    resume: "Waits again.",
};

fn set(ctx: &NativeCallContext<'_>, on: bool, options: Map) -> RhaiResultOf<bool> {
    let options = Options::new(ctx, &REPLICATION, options)?;
    let keep_off = options.text("keep_off");
    if on && keep_off.is_some() {
        return Err(options.wrong("keep_off", "it goes with `replication(false)` only"));
    }
    if keep_off.is_none() && options.has("due") {
        return Err(options.wrong("due", "it goes with `keep_off` only"));
    }
    let deadman = deadman(&options)?;
    if deadman.is_some() && (on || keep_off.is_some()) {
        let why = "it goes with `replication(false)` only, and not with `keep_off`";
        return Err(options.wrong("deadman", why));
    }
    let mut app = current(ctx)?;
    if let Some(driver) = options.text("driver")
        && let Value::Object(settings) = &mut app.settings
    {
        settings.insert("driver".to_owned(), driver.into());
    }
    let timeout_ms = options.duration("timeout")?.map(millis);
    let due = options.duration("due")?.map(units::say_duration).unwrap_or_default();
    let action = Switch { app, on, keep_off: keep_off.clone(), mend: false, timeout_ms, deadman };
    let changed = act(ctx, &action)?;
    if let (Some(reason), true) = (keep_off, changed) {
        flow::keep_off(ctx, &reason, &due)?;
    }
    Ok(changed)
}

fn wait(ctx: &NativeCallContext<'_>, options: Map) -> RhaiResultOf<Dynamic> {
    let options = Options::new(ctx, &WAIT, options)?;
    let action = InStep {
        app: current(ctx)?,
        state: options.text("state"),
        timeout_ms: millis(options.duration("timeout")?.unwrap_or(WAIT_TIMEOUT)),
        pause_ms: millis(options.duration("pause")?.unwrap_or(Duration::from_secs(2))),
    };
    Ok(to_dynamic(json!(act(ctx, &action)?)))
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&REPLICATION, |ctx: NativeCallContext<'_>, on: bool| set(&ctx, on, Map::new()));
    face.add(&REPLICATION, |ctx: NativeCallContext<'_>, on: bool, options: Map| {
        set(&ctx, on, options)
    });
    face.add(&STATUS, |ctx: NativeCallContext<'_>| -> RhaiResultOf<Dynamic> {
        Ok(to_dynamic(json!(ask(&ctx, Status { app: current(&ctx)? })?)))
    });
    face.add(&WAIT, |ctx: NativeCallContext<'_>| wait(&ctx, Map::new()));
    face.add(&WAIT, |ctx: NativeCallContext<'_>, options: Map| wait(&ctx, options));
}

/// Makes the family's actions known, for undo from the record.
pub(super) fn actions(registry: &mut Registry) {
    registry.add::<Switch>();
}

#[cfg(test)]
mod tests;
