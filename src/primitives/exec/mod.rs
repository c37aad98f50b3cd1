//! Commands: `sh`, `run`, `output`. What a command does cannot be known, so it is never repeated on its own, and it is
//! undone only by what the runbook says.

mod ad_hoc;
mod input;
mod job;

use rhai::{Dynamic, Map, NativeCallContext};

pub use self::ad_hoc::{AdHoc, Answer};
use self::input::{either, environment, list, other_user, shell, statuses};
use self::job::{Job, Output, Probe, Ran, Run, Sh, Undo, Words};
use super::bridge::{
    Face, Field, Options, Primitive, RhaiResultOf, Type, act, ask, field, to_dynamic, wrong,
};
use super::closure::Closure;
use super::deadman::{DEADMAN, deadman};
use super::text::Text;
use crate::effect::Registry;

const TIMEOUT: Field = field(
    "timeout",
    Type::Duration,
    "",
    "How long it may take; then its whole process group is ended.",
);
const ENV: Field = field(
    "env",
    Type::Map,
    "#{}",
    "Environment variables. The values of secrets travel over standard input, so no process list shows them.",
);
const DIR: Field = field("dir", Type::Text, "", "The directory to start in.");
const SUDO: Field = field(
    "sudo",
    Type::Any,
    "false",
    "`true` to become root, a user's name, or `#{ user, password }` with a secret as the password.",
);
const STDIN: Field = field(
    "stdin",
    Type::TextOrSecret,
    "",
    "What it reads from standard input; nothing if not given.",
);
const OK: Field = field(
    "ok",
    Type::Any,
    "[0]",
    "The exit statuses that are no failure: a list, one number, or \"any\".",
);
const UNDO: Field = field(
    "undo",
    Type::TextOrList,
    "",
    "What takes it back on rollback: a shell line or a list of words, run in the same directory, environment and user.",
);
const IDEMPOTENT: Field = field(
    "idempotent",
    Type::Bool,
    "false",
    "Whether it may run again when a reboot of the target leaves open whether it ran.",
);
const PROBE: Field = field(
    "probe",
    Type::Closure,
    "",
    "Asked when a reboot of the target leaves open whether it ran: returns true if it did, false if it did not, nothing if that cannot be told. It may only read.",
);

const CHANGE: &[Field] = &[TIMEOUT, ENV, DIR, SUDO, STDIN, OK, UNDO, IDEMPOTENT, PROBE, DEADMAN];
const READ: &[Field] = &[TIMEOUT, ENV, DIR, SUDO, STDIN, OK];

const FAILURE: &str = "`exit` with `code stdout stderr target command`; `timeout` likewise; `not_found` if there is no such program; `auth` or `denied` if sudo refuses.";
const CHANGE_PLAN: &str = "Says the command; does not run it.";
const CHANGE_UNDO: &str = "By `undo`, if given; else it cannot be undone.";
const CHANGE_RESUME: &str = "It runs in a session of its own and leaves a receipt, so a cut connection or a killed upgrade-host does not end it: resume follows it on, or takes over how it ended. If the target rebooted meanwhile, or it was killed, `probe` tells, with `idempotent` it runs again, else the operator is asked.";
const CHANGE_RETURNS: &str =
    "map: `code` (int), `stdout` and `stderr` (texts without the last newline)";

const SH: Primitive = Primitive {
    name: "sh",
    family: "exec",
    summary: "Runs a shell line that changes something.",
    params: &[field("line", Type::Text, "", "A line for `sh -c` on the target, as it is.")],
    options: CHANGE,
    returns: CHANGE_RETURNS,
    example: r#"sh("cd /srv && ./migrate >log 2>&1", #{ timeout: "10m", undo: "cd /srv && ./migrate --back" });"#,
    failure: FAILURE,
    plan: CHANGE_PLAN,
    undo: CHANGE_UNDO,
    resume: CHANGE_RESUME,
};

const RUN: Primitive = Primitive {
    name: "run",
    family: "exec",
    summary: "Runs a program that changes something, its arguments as they are.",
    params: &[field(
        "words",
        Type::List,
        "",
        "The program and its arguments, each quoted once for the target.",
    )],
    options: CHANGE,
    returns: CHANGE_RETURNS,
    example: r#"run(["usermod", "--lock", user], #{ undo: ["usermod", "--unlock", user] });"#,
    failure: FAILURE,
    plan: CHANGE_PLAN,
    undo: CHANGE_UNDO,
    resume: CHANGE_RESUME,
};

const OUTPUT: Primitive = Primitive {
    name: "output",
    family: "exec",
    summary: "Runs a command that only reads, and returns what it writes.",
    params: &[field(
        "command",
        Type::TextOrList,
        "",
        "A shell line, or the program and its arguments as a list.",
    )],
    options: READ,
    returns: "String: its standard output without the last newline",
    example: r#"let version = output(["cat", "/etc/debian_version"]);"#,
    failure: FAILURE,
    plan: "Runs for real: the runbook says by this name that the command changes nothing.",
    undo: "Nothing: it only reads.",
    resume: "Returns what was read; reads again if that was not recorded.",
};

fn job(
    ctx: &NativeCallContext<'_>,
    primitive: &'static Primitive,
    words: Result<Words, String>,
    options: Map,
) -> RhaiResultOf<Job> {
    let words = words.map_err(|why| wrong(ctx, format!("{}: {why}", primitive.name)))?;
    let options = Options::new(ctx, primitive, options)?;
    let option = |key: &'static str, why: String| options.wrong(key, &why);
    let env = options.get("env").map(environment).transpose().map_err(|why| option("env", why))?;
    let sudo =
        options.get("sudo").map(other_user).transpose().map_err(|why| option("sudo", why))?;
    let stdin =
        options.get("stdin").map(Text::new).transpose().map_err(|why| option("stdin", why))?;
    let ok = options.get("ok").map(statuses).transpose().map_err(|why| option("ok", why))?;
    let undo = options.get("undo").map(either).transpose().map_err(|why| option("undo", why))?;
    let dir = options.text("dir");
    if dir.as_ref().is_some_and(|dir| dir.is_empty() || dir.contains('\0')) {
        return Err(options.wrong("dir", "it is empty or holds a NUL character"));
    }
    let timeout = options.duration("timeout")?;
    let probe = options.closure("probe").map(|probe| Closure::take(ctx, probe).map(Probe));
    let probe = probe.transpose()?;
    let armed = deadman(&options)?;
    if armed.is_some() {
        let secret = env.iter().flatten().any(|(_, value)| matches!(value, Text::Secret(_)));
        let why = if undo.is_none() {
            Some("it needs `undo`, the command that takes this back")
        } else if sudo.iter().flatten().next().is_some() {
            Some("it cannot be with `sudo`; set `sudo` for the target")
        } else if secret {
            Some("it would leave the secret in `env` on the target")
        } else {
            None
        };
        if let Some(why) = why {
            return Err(options.wrong("deadman", why));
        }
    }
    Ok(Job {
        words,
        env: env.unwrap_or_default(),
        dir,
        sudo: sudo.flatten(),
        stdin,
        ok: ok.unwrap_or_else(|| Some(vec![0])),
        timeout_ms: timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        undo,
        idempotent: options.flag("idempotent", false),
        probe,
        deadman: armed,
    })
}

fn ran(ran: &Ran) -> Dynamic {
    to_dynamic(serde_json::json!({ "code": ran.code, "stdout": ran.stdout, "stderr": ran.stderr }))
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    fn sh(ctx: &NativeCallContext<'_>, line: &Dynamic, options: Map) -> RhaiResultOf<Dynamic> {
        act(ctx, &Sh(job(ctx, &SH, shell(line), options)?)).map(|ended| ran(&ended))
    }
    fn run(ctx: &NativeCallContext<'_>, words: &Dynamic, options: Map) -> RhaiResultOf<Dynamic> {
        act(ctx, &Run(job(ctx, &RUN, list(words), options)?)).map(|ended| ran(&ended))
    }
    fn output(ctx: &NativeCallContext<'_>, what: &Dynamic, options: Map) -> RhaiResultOf<String> {
        ask(ctx, Output(job(ctx, &OUTPUT, either(what), options)?))
    }
    face.add(&SH, |ctx: NativeCallContext<'_>, line: Dynamic| sh(&ctx, &line, Map::new()));
    face.add(&SH, |ctx: NativeCallContext<'_>, line: Dynamic, options: Map| {
        sh(&ctx, &line, options)
    });
    face.add(&RUN, |ctx: NativeCallContext<'_>, words: Dynamic| run(&ctx, &words, Map::new()));
    face.add(&RUN, |ctx: NativeCallContext<'_>, words: Dynamic, options: Map| {
        run(&ctx, &words, options)
    });
    face.add(&OUTPUT, |ctx: NativeCallContext<'_>, what: Dynamic| output(&ctx, &what, Map::new()));
    face.add(&OUTPUT, |ctx: NativeCallContext<'_>, what: Dynamic, options: Map| {
        output(&ctx, &what, options)
    });
}

/// Makes the family's actions known, for undo from the record.
pub(super) fn actions(registry: &mut Registry) {
    registry.add::<Sh>();
    registry.add::<Run>();
    registry.add::<Undo>();
}

#[cfg(test)]
mod tests;
