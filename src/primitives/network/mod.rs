//! Interfaces: `ifdown`, `ifup`, `interface_status`; ports: `wait_port`. Verified by what the kernel shows, never by an
//! exit status; what taking an interface down loses is recorded before and put back after.

mod interface;
mod own;
mod port;
mod state;

use rhai::{Dynamic, Map, NativeCallContext};

use self::interface::{Ifdown, Ifup, Interface, Status};
use super::bridge::{
    Face, Field, Options, Primitive, RhaiResultOf, Type, act, ask, field, to_dynamic, wrong,
};
use super::deadman::{DEADMAN, deadman};
use crate::effect::Registry;

const NAME: &[Field] = &[field("name", Type::Text, "", "The interface: `eth1`.")];
const TIMEOUT: Field = field("timeout", Type::Duration, "\"30s\"", "How long it may take.");
const OPTIONS: &[Field] = &[TIMEOUT];

const IFDOWN: Primitive = Primitive {
    name: "ifdown",
    family: "network",
    summary: "Takes a network interface down, by ifupdown if it is configured there, else by iproute2.",
    params: NAME,
    options: &[TIMEOUT, DEADMAN],
    returns: "bool: true if it was up",
    example: r#"ifdown("eth1", #{ deadman: "30m" });"#,
    failure: "`denied` if our own ssh connection uses it and there is no `deadman`, or without root; `not_found` if there is no such interface; `timeout` if it is still up at the end.",
    plan: "Says how it would be taken down, and what would be lost and put back.",
    undo: "Takes it up, if it was up, with its addresses and routes.",
    resume: "Looks again; takes it down if it is still up.",
};

const IFUP: Primitive = Primitive {
    name: "ifup",
    family: "network",
    summary: "Takes a network interface up, and puts back the addresses and routes that `ifdown` found on it.",
    params: NAME,
    options: OPTIONS,
    returns: "bool: true if it was down, or something was put back",
    example: r#"ifup("eth1", #{ timeout: "1m" });"#,
    failure: "`not_found` if there is no such interface; `timeout` with what is still missing.",
    plan: "Says how it would be taken up and what would be put back.",
    undo: "Takes it down, if it was down.",
    resume: "Looks again; goes on with what is missing.",
};

const STATUS: Primitive = Primitive {
    name: "interface_status",
    family: "network",
    summary: "Tells whether a network interface is up, and its addresses.",
    params: NAME,
    options: &[],
    returns: "map: `up` and `carrier` (bool), `manager` (`ifupdown` or `iproute2`), `addresses` (list of texts), `mac` (text)",
    example: r#"if !interface_status("eth1").up { fail("eth1 is down already"); }"#,
    failure: "`not_found` if there is no such interface.",
    plan: "Reads for real.",
    undo: "Nothing: it only reads.",
    resume: "Returns what was read; reads again if that was not recorded.",
};

/// Refuses what the kernel allows as no interface's name, so that none reaches a file name or an option.
fn checked(ctx: &NativeCallContext<'_>, name: &str) -> RhaiResultOf<String> {
    let fits = !name.is_empty()
        && name.len() < 16
        && !name.starts_with(['-', '.'])
        && name.chars().all(|letter| letter.is_ascii_graphic() && letter != '/');
    if fits {
        Ok(name.to_owned())
    } else {
        Err(wrong(ctx, format!("{}: `{name}` is no name of an interface", ctx.fn_name())))
    }
}

fn interface(
    ctx: &NativeCallContext<'_>,
    primitive: &'static Primitive,
    name: &str,
    options: Map,
) -> RhaiResultOf<Interface> {
    let options = Options::new(ctx, primitive, options)?;
    let timeout = options.duration("timeout")?;
    Ok(Interface {
        name: checked(ctx, name)?,
        timeout_ms: timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        deadman: deadman(&options)?,
    })
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    fn down(ctx: &NativeCallContext<'_>, name: &str, options: Map) -> RhaiResultOf<bool> {
        act(ctx, &Ifdown(interface(ctx, &IFDOWN, name, options)?))
    }
    fn up(ctx: &NativeCallContext<'_>, name: &str, options: Map) -> RhaiResultOf<bool> {
        let interface = interface(ctx, &IFUP, name, options)?;
        act(ctx, &Ifup { interface, restore: None })
    }
    face.add(&IFDOWN, |ctx: NativeCallContext<'_>, name: &str| down(&ctx, name, Map::new()));
    face.add(&IFDOWN, |ctx: NativeCallContext<'_>, name: &str, options: Map| {
        down(&ctx, name, options)
    });
    face.add(&IFUP, |ctx: NativeCallContext<'_>, name: &str| up(&ctx, name, Map::new()));
    face.add(&IFUP, |ctx: NativeCallContext<'_>, name: &str, options: Map| up(&ctx, name, options));
    face.add(&STATUS, |ctx: NativeCallContext<'_>, name: &str| -> RhaiResultOf<Dynamic> {
        let state = ask(&ctx, Status { name: checked(&ctx, name)? })?;
        Ok(to_dynamic(serde_json::json!({
            "up": state.up, "carrier": state.kept.carrier, "manager": state.manager,
            "addresses": state.shown, "mac": state.mac,
        })))
    });
    port::register(face);
}

/// Makes the family's actions known, for undo from the record.
pub(super) fn actions(registry: &mut Registry) {
    registry.add::<Ifdown>();
    registry.add::<Ifup>();
    registry.add::<port::WaitPort>();
}

#[cfg(test)]
mod tests;
