//! Services: start, stop, restart, status. Verified by what runs (systemd's state, process, port, URL), never by the
//! exit status of an init script alone: some vendors' scripts always end with 1.

mod actions;
mod commands;
mod control;
mod look;

use std::time::Duration;

use rhai::{Dynamic, Map, NativeCallContext};
use serde::{Deserialize, Serialize};

use self::actions::{Restart, Start, Status, Stop};
use self::look::State;
use super::bridge::{
    Face, Field, Options, Primitive, RhaiResultOf, Type, act, ask, field, lane, to_dynamic,
};
use super::deadman::{DEADMAN, deadman};
use crate::effect::{Deadman, Registry, ServiceCommands};

/// How long a stop may take unless said otherwise: vendors' own scripts wait 120 s before they kill.
const STOP_TIMEOUT: Duration = Duration::from_secs(180);
/// How long a start may take unless said otherwise.
const START_TIMEOUT: Duration = Duration::from_secs(120);

const TIMEOUT: Field =
    field("timeout", Type::Duration, "\"3m\" to stop, \"2m\" to start", "How long it may take.");
const BY_START: Field = field(
    "start",
    Type::Text,
    "",
    "A shell line that starts it, instead of systemd or an init script.",
);
const BY_STOP: Field = field("stop", Type::Text, "", "A shell line that stops it.");
const BY_STATUS: Field =
    field("status", Type::Text, "", "A shell line that ends with 0 while it runs.");
const PID_FILE: Field = field("pid_file", Type::Text, "", "The file that holds its process id.");
const PROCESS: Field = field(
    "process",
    Type::Text,
    "",
    "An extended regular expression for the command line of its process.",
);
const PORT: Field = field("port", Type::Int, "", "The TCP port on which it listens while it runs.");
const URL: Field = field(
    "url",
    Type::Text,
    "",
    "A URL, seen from the target, that answers with 2xx once it is up.",
);
const MANAGER: Field =
    field("manager", Type::Text, "found out", "`systemd`, `sysv` or `commands`.");

const OPTIONS: &[Field] =
    &[TIMEOUT, BY_START, BY_STOP, BY_STATUS, PID_FILE, PROCESS, PORT, URL, MANAGER];
const STOP_OPTIONS: &[Field] =
    &[TIMEOUT, BY_START, BY_STOP, BY_STATUS, PID_FILE, PROCESS, PORT, URL, MANAGER, DEADMAN];

const NAME: &[Field] = &[field(
    "name",
    Type::Text,
    "",
    "The name of the unit, of the init script, or of `[services.NAME]`.",
)];

const STOP: Primitive = Primitive {
    name: "service_stop",
    family: "service",
    summary: "Stops a service and makes sure that it is stopped.",
    params: NAME,
    options: STOP_OPTIONS,
    returns: "bool: true if it was running",
    example: r#"service_stop("obsr", #{ timeout: "3m", process: "obs-jvm serve", deadman: "1h" });"#,
    failure: "`timeout` if it still runs at the end, with the output of what was to stop it; `not_found` if there is no such service.",
    plan: "Says whether it runs and how it would be stopped.",
    undo: "Starts it, if it was running.",
    resume: "Looks again; stops it if it still runs.",
};

const START: Primitive = Primitive {
    name: "service_start",
    family: "service",
    summary: "Starts a service and waits until it is up.",
    params: NAME,
    options: OPTIONS,
    returns: "bool: true if it was not running",
    example: r#"service_start("obsr", #{ url: "http://127.0.0.1:8080/alive.txt" });"#,
    failure: "`timeout` if it is not up at the end, with the output of what was to start it; `not_found` if there is no such service.",
    plan: "Says whether it runs and how it would be started.",
    undo: "Stops it, if it was not running.",
    resume: "Looks again; starts it if it does not run.",
};

const RESTART: Primitive = Primitive {
    name: "service_restart",
    family: "service",
    summary: "Stops a service if it runs, and starts it.",
    params: NAME,
    options: OPTIONS,
    returns: "bool: true",
    example: r#"service_restart("obsr");"#,
    failure: "As `service_stop` and `service_start`.",
    plan: "Says how it would be restarted.",
    undo: "Makes sure that it runs, or stops it if it did not run before.",
    resume: "Restarts it again, unless the start is all that is missing.",
};

const STATUS: Primitive = Primitive {
    name: "service_status",
    family: "service",
    summary: "Tells whether a service runs, and how that is known.",
    params: NAME,
    options: OPTIONS,
    returns: "map: `running` (bool), `manager` (text), `evidence` (list of texts)",
    example: r#"if !service_status("obsr").running { fail("it does not run"); }"#,
    failure: "`not_found` if there is no such service.",
    plan: "Reads for real.",
    undo: "Nothing: it only reads.",
    resume: "Returns what was read; reads again if that was not recorded.",
};

/// What identifies a service and how it is controlled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Service {
    /// Its name.
    name: String,
    /// Its own commands and evidence.
    commands: ServiceCommands,
    /// How long a change may take, in milliseconds; the default of the change if none.
    timeout_ms: Option<u64>,
    /// The dead-man switch, when it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadman: Option<Deadman>,
}

fn service(
    ctx: &NativeCallContext<'_>,
    name: &str,
    options: &Options<'_>,
) -> RhaiResultOf<Service> {
    let mut commands = lane(ctx)?.run().services.get(name).cloned().unwrap_or_default();
    for (key, slot) in [
        ("start", &mut commands.start),
        ("stop", &mut commands.stop),
        ("status", &mut commands.status),
        ("pid_file", &mut commands.pid_file),
        ("process", &mut commands.process),
        ("url", &mut commands.url),
        ("manager", &mut commands.manager),
    ] {
        if let Some(text) = options.text(key) {
            *slot = Some(text);
        }
    }
    if let Some(port) = options.int("port") {
        commands.port = Some(
            u16::try_from(port)
                .map_err(|_| options.wrong("port", &format!("{port} is no port")))?,
        );
    }
    if let Some(manager) = &commands.manager
        && !["systemd", "sysv", "commands"].contains(&manager.as_str())
    {
        return Err(
            options.wrong("manager", &format!("`{manager}` is none of systemd, sysv, commands"))
        );
    }
    let timeout_ms = options
        .duration("timeout")?
        .map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    Ok(Service { name: name.to_owned(), commands, timeout_ms, deadman: deadman(options)? })
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&STOP, |ctx: NativeCallContext<'_>, name: &str| {
        act(&ctx, &Stop(service(&ctx, name, &Options::none(&ctx, &STOP))?))
    });
    face.add(&STOP, |ctx: NativeCallContext<'_>, name: &str, options: Map| {
        act(&ctx, &Stop(service(&ctx, name, &Options::new(&ctx, &STOP, options)?)?))
    });
    face.add(&START, |ctx: NativeCallContext<'_>, name: &str| {
        act(&ctx, &Start(service(&ctx, name, &Options::none(&ctx, &START))?))
    });
    face.add(&START, |ctx: NativeCallContext<'_>, name: &str, options: Map| {
        act(&ctx, &Start(service(&ctx, name, &Options::new(&ctx, &START, options)?)?))
    });
    face.add(&RESTART, |ctx: NativeCallContext<'_>, name: &str| {
        act(&ctx, &Restart(service(&ctx, name, &Options::none(&ctx, &RESTART))?))
    });
    face.add(&RESTART, |ctx: NativeCallContext<'_>, name: &str, options: Map| {
        act(&ctx, &Restart(service(&ctx, name, &Options::new(&ctx, &RESTART, options)?)?))
    });
    face.add(&STATUS, |ctx: NativeCallContext<'_>, name: &str| status(&ctx, name, Map::new()));
    face.add(&STATUS, |ctx: NativeCallContext<'_>, name: &str, options: Map| {
        status(&ctx, name, options)
    });
    commands::register(face);
}

fn status(ctx: &NativeCallContext<'_>, name: &str, options: Map) -> RhaiResultOf<Dynamic> {
    let state = ask(ctx, Status(service(ctx, name, &Options::new(ctx, &STATUS, options)?)?))?;
    Ok(to_dynamic(
        serde_json::json!({ "running": state.running, "up": state.up, "manager": state.manager, "evidence": state.evidence }),
    ))
}

/// Makes the family's actions known, for undo from the record.
pub(super) fn actions(registry: &mut Registry) {
    registry.add::<Stop>();
    registry.add::<Start>();
    registry.add::<Restart>();
}

#[cfg(test)]
mod tests;
