//! Waiting for a TCP port: `wait_port`.

use std::time::{Duration, Instant};

use rhai::{Dynamic, Map, NativeCallContext};
use serde::{Deserialize, Serialize};

use crate::call::Access;
use crate::effect::{Action, Cx, Owes, Plan, Reconciled};
use crate::error::{Failure, Halt, Kind, Result};
use crate::event::Progress;
use crate::journal::Inverse;
use crate::primitives::bridge::{
    Face, Options, Primitive, RhaiResultOf, Type, act, field, type_name,
};
use crate::primitives::pace::Pace;
use crate::units;

/// The longest pause between two tries.
const PAUSE: Duration = Duration::from_millis(250);
/// How long one try may take: a filtered port never answers.
const TRY: Duration = Duration::from_secs(5);

const WAIT_PORT: Primitive = Primitive {
    name: "wait_port",
    family: "network",
    summary: "Waits until a TCP port, seen from the target, is open or closed.",
    params: &[field("port", Type::Any, "", "The number, or \"host:port\".")],
    options: &[
        field("timeout", Type::Duration, "\"60s\"", "How long to wait."),
        field("host", Type::Text, "\"127.0.0.1\"", "The host, as the target knows it."),
        field("state", Type::Text, "\"open\"", "`open` or `closed`."),
    ],
    returns: "bool: true",
    example: r#"wait_port(8080, #{ timeout: "2m" });"#,
    failure: "`timeout` with why the last try failed.",
    plan: "Says what it would wait for.",
    undo: "Nothing: it only waits.",
    resume: "Waits again.",
};

/// Waits for a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WaitPort {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) open: bool,
    pub(super) timeout_ms: u64,
}

impl WaitPort {
    fn state(&self) -> &'static str {
        if self.open { "open" } else { "closed" }
    }

    fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl Action for WaitPort {
    const NAME: &'static str = "wait_port";
    const ACCESS: Access = Access::Wait;
    type Before = ();
    type Output = bool;

    fn summary(&self) -> String {
        format!("wait until {} is {}", self.address(), self.state())
    }

    fn look(&self, _cx: &Cx<'_>) -> Result<()> {
        Ok(())
    }

    fn plan(&self, _before: &()) -> Plan<(), bool> {
        let limit = units::say_duration(Duration::from_millis(self.timeout_ms));
        let changes = vec![format!("{}, at most {limit}", self.summary())];
        Plan::Would { changes, output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, _before: &()) -> Result<bool> {
        let timeout = Duration::from_millis(self.timeout_ms);
        let started = Instant::now();
        let mut pace = Pace::up_to(PAUSE);
        loop {
            let left = timeout.saturating_sub(started.elapsed()).max(Duration::from_millis(100));
            let why = match cx.connect(&self.host, self.port, left.min(TRY)) {
                Ok(_) if self.open => return Ok(true),
                Ok(_) => "it still accepts connections".to_owned(),
                Err(Halt::Failure(failure)) if failure.lost || failure.kind != Kind::Connect => {
                    return Err(Halt::Failure(failure));
                }
                // A name that nobody knows is no closed port.
                Err(Halt::Failure(failure)) if !self.open && !nameless(&failure.message) => {
                    return Ok(true);
                }
                Err(Halt::Failure(failure)) => failure.message.clone(),
                Err(halt) => return Err(halt),
            };
            let elapsed = started.elapsed();
            if elapsed >= timeout {
                let (address, state) = (self.address(), self.state());
                let limit = units::say_duration(timeout);
                let message = format!("{address} is not {state} after {limit}: {why}");
                return Err(Failure::new(Kind::Timeout, message)
                    .with_target(&cx.target.name)
                    .into());
            }
            cx.progress(Progress {
                done: elapsed.as_secs(),
                total: Some(timeout.as_secs()),
                unit: "seconds".to_owned(),
                message: why,
                eta_seconds: None,
            });
            cx.sleep(pace.pause().min(timeout.saturating_sub(elapsed)))?;
        }
    }

    fn reconcile(&self, cx: &Cx<'_>, _before: &()) -> Result<Reconciled<bool>> {
        cx.reachable()?;
        Ok(Reconciled::Redo)
    }

    fn inverse(&self, _before: &()) -> Inverse {
        Inverse::Nothing { why: "it only waits".to_owned() }
    }

    fn owes(&self, _before: &()) -> Owes {
        Owes::Nothing
    }
}

fn nameless(message: &str) -> bool {
    ["failed to lookup", "not known", "no address", "name resolution", "could not resolve"]
        .iter()
        .any(|words| message.contains(words))
}

/// Takes the port: a number, or text with a host before it.
pub(super) fn endpoint(value: &Dynamic) -> Result<(Option<String>, u16), String> {
    let port = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("`{text}` is no port; expected 1 to 65535"))
    };
    if let Ok(number) = value.as_int() {
        return Ok((None, port(&number.to_string())?));
    }
    let text = value
        .clone()
        .into_string()
        .map_err(|_| format!("expected a number or \"host:port\", found {}", type_name(value)))?;
    match text.rsplit_once(':') {
        None => Ok((None, port(&text)?)),
        Some((host, number)) => {
            let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
            if host.is_empty() {
                return Err(format!("`{text}` names no host"));
            }
            Ok((Some(host.to_owned()), port(number)?))
        }
    }
}

fn wait_port(ctx: &NativeCallContext<'_>, port: &Dynamic, options: Map) -> RhaiResultOf<bool> {
    let options = Options::new(ctx, &WAIT_PORT, options)?;
    let (host, port) = endpoint(port).map_err(|why| options.wrong_param("port", &why))?;
    if host.is_some() && options.has("host") {
        return Err(options.wrong("host", "the host is given with the port already"));
    }
    let open = match options.text("state").as_deref() {
        None | Some("open") => true,
        Some("closed") => false,
        Some(other) => {
            return Err(options.wrong("state", &format!("`{other}` is none of open, closed")));
        }
    };
    let timeout = options.duration("timeout")?.unwrap_or(Duration::from_secs(60));
    let wait = WaitPort {
        host: host.or_else(|| options.text("host")).unwrap_or_else(|| "127.0.0.1".to_owned()),
        port,
        open,
        timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
    };
    act(ctx, &wait)
}

/// Adds `wait_port` to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&WAIT_PORT, |ctx: NativeCallContext<'_>, port: Dynamic| {
        wait_port(&ctx, &port, Map::new())
    });
    face.add(&WAIT_PORT, |ctx: NativeCallContext<'_>, port: Dynamic, options: Map| {
        wait_port(&ctx, &port, options)
    });
}
