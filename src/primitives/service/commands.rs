//! How a service is stopped and started without us: as shell text for the target, for what fires there by itself.

use rhai::{Dynamic, Map, NativeCallContext};
use serde::{Deserialize, Serialize};

use super::look::LOOK;
use super::{NAME, OPTIONS, START_TIMEOUT, STOP_TIMEOUT, Service, service};
use crate::effect::{Cx, Query};
use crate::error::Result;
use crate::primitives::bridge::{Face, Options, Primitive, RhaiResultOf, ask, to_dynamic};
use crate::primitives::deadman::text;
use crate::transport::Command;

const COMMANDS: Primitive = Primitive {
    name: "service_commands",
    family: "service",
    summary: "Says as shell text for the target how a service is stopped and started, for an adapter's part in a dead-man switch.",
    params: NAME,
    options: OPTIONS,
    returns: "map: `stop` and `start`, each a command in parentheses that waits until it is so and then ends with 0",
    example: r#"let obs = service_commands("obsr", #{ process: "obs-jvm serve" });
let line = obs.stop + " && ./edit; " + obs.start;"#,
    failure: "`not_found` if there is no such service; `input` if nothing tells how it is stopped or started.",
    plan: "Reads for real.",
    undo: "Nothing: it only reads.",
    resume: "Returns what was read; reads again if that was not recorded.",
};

impl Service {
    /// Says as shell text how it is started or stopped without us: what counts is what runs, for an init script may always
    /// end with 1. Where nothing but a URL shows that, its own status has to do.
    pub(super) fn text(&self, manager: &str, start: bool) -> Result<String> {
        let (verb, limit, not_yet) = if start {
            ("start", START_TIMEOUT, r#"$2 != "yes" || $3 == "activating""#)
        } else {
            ("stop", STOP_TIMEOUT, r#"$2 == "yes""#)
        };
        let command = text(&self.command(manager, verb)?)?;
        let look = text(&Command::script(LOOK, self.words()))?;
        Ok(format!(
            "(\n{command}; rc=$?\nn=0\nwhile :; do\nseen=$( {look} )\n\
             printf '%s\\n' \"$seen\" | awk '$1 != \"manager\" && $1 != \"instance\" {{ n++ }} END {{ exit n == 0 }}' || exit $rc\n\
             printf '%s\\n' \"$seen\" | awk '$1 != \"manager\" && $1 != \"instance\" && ({not_yet}) {{ bad = 1 }} END {{ exit bad }}' && exit 0\n\
             n=$((n + 1)); [ $n -lt {} ] || exit 1\nsleep 1\ndone\n)",
            limit.as_secs()
        ))
    }
}

/// How a service is stopped and started, as shell text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Texts {
    stop: String,
    start: String,
}

/// Says how a service is stopped and started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Commands(Service);

impl Query for Commands {
    const NAME: &'static str = "service_commands";
    type Output = Texts;

    fn summary(&self) -> String {
        format!("see how service {} is stopped and started", self.0.name)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<Texts> {
        let manager = self.0.state(cx)?.manager;
        Ok(Texts { stop: self.0.text(&manager, false)?, start: self.0.text(&manager, true)? })
    }

    fn result(&self, _output: &Texts) -> Option<String> {
        None
    }
}

fn commands(ctx: &NativeCallContext<'_>, name: &str, options: Map) -> RhaiResultOf<Dynamic> {
    let texts = ask(ctx, Commands(service(ctx, name, &Options::new(ctx, &COMMANDS, options)?)?))?;
    Ok(to_dynamic(serde_json::json!(texts)))
}

/// Adds it to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&COMMANDS, |ctx: NativeCallContext<'_>, name: &str| commands(&ctx, name, Map::new()));
    face.add(&COMMANDS, |ctx: NativeCallContext<'_>, name: &str, options: Map| {
        commands(&ctx, name, options)
    });
}
