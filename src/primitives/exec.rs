//! Commands: `sh`, `run`, `output`. What a command does cannot be known, so it is never repeated on its own, and it is
//! undone only by what the runbook says.

use std::time::Duration;

use rhai::{Dynamic, Map, NativeCallContext};
use serde::{Deserialize, Serialize};

use super::bridge::{
    Face, Field, Options, Primitive, RhaiResultOf, Type, act, ask, field, to_dynamic, type_name,
    wrong,
};
use super::text::{Text, pairs};
use crate::call::Access;
use crate::effect::{
    Action, Cx, Owes, Plan, Query, Reconciled, Registry, SecretRef, inverse_of, tail,
};
use crate::error::{Failure, Halt, Kind, Result};
use crate::journal::Inverse;
use crate::transport::{self, Command, Exit, Kept, Stream, Sudo};

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
    "Whether it may run again when a crash or a cut connection leaves open whether it ran.",
);

const CHANGE: &[Field] = &[TIMEOUT, ENV, DIR, SUDO, STDIN, OK, UNDO, IDEMPOTENT];
const READ: &[Field] = &[TIMEOUT, ENV, DIR, SUDO, STDIN, OK];

const FAILURE: &str = "`exit` with `code stdout stderr target command`; `timeout` likewise; `not_found` if there is no such program; `auth` or `denied` if sudo refuses.";
const CHANGE_PLAN: &str = "Says the command; does not run it.";
const CHANGE_UNDO: &str = "By `undo`, if given; else it cannot be undone.";
const CHANGE_RESUME: &str =
    "Whether it ran cannot be known, so the operator is asked; with `idempotent` it runs again.";
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

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Words {
    /// A shell line.
    Shell(String),
    /// A program and its arguments.
    List(Vec<String>),
}

/// Another user to become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Become {
    /// The user; root if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    /// The secret that sudo asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<SecretRef>,
}

/// A command as a runbook asks for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Job {
    words: Words,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    env: Vec<(String, Text)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dir: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sudo: Option<Become>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stdin: Option<Text>,
    /// The accepted exit statuses; none means any.
    ok: Option<Vec<i32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    undo: Option<Words>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    idempotent: bool,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ran {
    /// Its exit status.
    pub(super) code: i32,
    /// Its standard output without the last newline.
    pub(super) stdout: String,
    /// Its standard error without the last newline.
    pub(super) stderr: String,
}

impl Job {
    fn display(&self) -> String {
        let command = match &self.words {
            Words::Shell(line) => Command::shell(line),
            Words::List(words) => Command::list(words.clone()),
        };
        command.display()
    }

    fn summary(&self) -> String {
        let line = self.display();
        let mut lines = line.trim().lines();
        let first = lines.next().unwrap_or_default();
        let more = if lines.next().is_some() { " …" } else { "" };
        format!("run `{first}{more}`")
    }

    /// Says the whole command, and where and as whom it would run.
    fn changes(&self) -> Vec<String> {
        let dir = self.dir.iter().map(|dir| format!(" in {dir}"));
        let user =
            self.sudo.iter().map(|sudo| format!(" as {}", sudo.user.as_deref().unwrap_or("root")));
        vec![format!("run `{}`{}", self.display(), dir.chain(user).collect::<String>())]
    }

    fn command(&self, cx: &Cx<'_>, reads: bool) -> Result<Command> {
        let mut command = match &self.words {
            Words::Shell(line) => Command::shell(line),
            Words::List(words) => Command::list(words.clone()),
        };
        command.reads = reads;
        command.timeout = self.timeout_ms.map(Duration::from_millis);
        command.dir.clone_from(&self.dir);
        for (name, value) in &self.env {
            match value {
                Text::Plain(text) => command.env.push((name.clone(), text.clone())),
                Text::Secret(secret) => {
                    command.secret_env.push((name.clone(), cx.secret(secret)?));
                }
            }
        }
        if let Some(stdin) = &self.stdin {
            command.stdin = stdin.reveal(cx)?.reveal().as_bytes().to_vec();
        }
        if let Some(sudo) = &self.sudo {
            let password = sudo.password.as_ref().map(|secret| cx.secret(secret)).transpose()?;
            command.sudo = Some(Sudo { user: sudo.user.clone(), password });
        }
        Ok(command)
    }

    fn run(&self, cx: &Cx<'_>, reads: bool) -> Result<Ran> {
        let command = self.command(cx, reads)?;
        // What it wrote until it was cut off belongs into the failure, and a timeout returns no output.
        let (mut out, mut err) = (Kept::default(), Kept::default());
        let exit = cx.exec_with(&command, true, &mut |stream, bytes| match stream {
            Stream::Out => out.push(bytes),
            Stream::Err => err.push(bytes),
        });
        let exit = match exit {
            Ok(exit) => exit,
            Err(Halt::Failure(mut failure)) => {
                failure.stdout = tail(&out.finish());
                failure.stderr = tail(&err.finish());
                return Err(Halt::Failure(failure));
            }
            Err(halt) => return Err(halt),
        };
        let code = exit.code();
        if self.ok.as_ref().is_some_and(|accepted| !accepted.contains(&code)) {
            return Err(self.failed(cx, &command, &exit).into());
        }
        Ok(Ran { code, stdout: chomp(&exit.stdout), stderr: chomp(&exit.stderr) })
    }

    fn failed(&self, cx: &Cx<'_>, command: &Command, exit: &Exit) -> Failure {
        let mut failure = cx.exit_failure(command, exit);
        if let Some((kind, hint)) = self.sudo.as_ref().and_then(|_| refused(&failure.stderr)) {
            failure.kind = kind;
            failure.hint = Some(hint.to_owned());
        } else if exit.ended == transport::Ended::Code(127) {
            failure.kind = Kind::NotFound;
            failure.hint = Some(match &self.words {
                Words::List(words) => format!(
                    "Install `{}` on the target, or give its full path; its PATH may be short.",
                    words.first().map_or("it", String::as_str)
                ),
                Words::Shell(_) => {
                    "A program in the line is not installed on the target, or not in its PATH."
                        .to_owned()
                }
            });
        } else if exit.ended == transport::Ended::Code(126) {
            failure.hint = Some("The file is there but cannot be executed.".to_owned());
        }
        failure
    }

    /// The command that takes this one back.
    fn inverse(&self) -> Inverse {
        match &self.undo {
            Some(words) => inverse_of(&Undo(Self {
                words: words.clone(),
                stdin: None,
                ok: Some(vec![0]),
                undo: None,
                ..self.clone()
            })),
            None => Inverse::Impossible {
                why: "a command; register its undo with on_rollback or `undo:`".to_owned(),
            },
        }
    }

    fn reconcile(&self, cx: &Cx<'_>) -> Result<Reconciled<Ran>> {
        if self.idempotent {
            cx.reachable()?;
            return Ok(Reconciled::Redo);
        }
        Ok(Reconciled::Unknown("what a command did cannot be looked up".to_owned()))
    }
}

/// Recognises sudo's own refusals, which it says with the status 1 of any other failure.
fn refused(stderr: &str) -> Option<(Kind, &'static str)> {
    let said = |words: &str| stderr.lines().any(|line| line.contains(words));
    if said("sudo: a password is required")
        || said("incorrect password attempt")
        || said("sudo: no password was provided")
    {
        Some((Kind::Auth, "Give `sudo: #{ password: secret(\"…\") }`, or allow it without one."))
    } else if said("is not in the sudoers file") || said("is not allowed to execute") {
        Some((Kind::Denied, "Allow it in the sudoers file of the target."))
    } else {
        None
    }
}

fn chomp(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(bytes)).into_owned()
}

/// One action per name; they differ in nothing else, and the name is what identifies a call in the journal.
macro_rules! change {
    ($(#[$doc:meta])* $name:ident, $text:literal, $inverse:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub(super) struct $name(Job);

        impl Action for $name {
            const NAME: &'static str = $text;
            const ACCESS: Access = Access::Change;
            type Before = ();
            type Output = Ran;

            fn summary(&self) -> String {
                self.0.summary()
            }

            fn look(&self, _cx: &Cx<'_>) -> Result<()> {
                Ok(())
            }

            fn plan(&self, _before: &()) -> Plan<(), Ran> {
                let output = Ran { code: 0, stdout: String::new(), stderr: String::new() };
                Plan::Would { changes: self.0.changes(), output, after: None }
            }

            fn apply(&self, cx: &Cx<'_>, _before: &()) -> Result<Ran> {
                self.0.run(cx, false)
            }

            fn reconcile(&self, cx: &Cx<'_>, _before: &()) -> Result<Reconciled<Ran>> {
                self.0.reconcile(cx)
            }

            fn inverse(&self, _before: &()) -> Inverse {
                let inverse: fn(&Job) -> Inverse = $inverse;
                inverse(&self.0)
            }

            fn owes(&self, _before: &()) -> Owes {
                Owes::Nothing
            }

            fn result(&self, output: &Ran) -> Option<String> {
                (output.code != 0).then(|| format!("status {}", output.code))
            }
        }
    };
}

change!(
    /// Runs a shell line.
    Sh,
    "sh",
    Job::inverse
);
change!(
    /// Runs a program.
    Run,
    "run",
    Job::inverse
);
change!(
    /// Runs what a runbook gave as the `undo` of a command.
    Undo,
    "exec_undo",
    |_| Inverse::Nothing { why: "it takes something back itself".to_owned() }
);

/// Runs a command that only reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Output(Job);

impl Query for Output {
    const NAME: &'static str = "output";
    type Output = String;

    fn summary(&self) -> String {
        self.0.summary().replacen("run", "read", 1)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<String> {
        self.0.run(cx, true).map(|ran| ran.stdout)
    }

    fn result(&self, output: &String) -> Option<String> {
        let mut lines = output.lines();
        let first = lines.next()?;
        match lines.count() {
            0 if first.chars().count() <= 60 => Some(first.to_owned()),
            0 => None,
            more => Some(format!("{} lines", more + 1)),
        }
    }
}

/// Takes a shell line.
fn shell(value: &Dynamic) -> Result<Words, String> {
    let line = value.clone().into_string().map_err(|_| match type_name(value) {
        "list" => "expected a shell line, found list; `run` takes lists".to_owned(),
        other => format!("expected a shell line, found {other}"),
    })?;
    if line.trim().is_empty() {
        return Err("the command is empty".to_owned());
    }
    if line.contains('\0') {
        return Err("the line holds a NUL character".to_owned());
    }
    Ok(Words::Shell(line))
}

/// Takes a list of words.
fn list(value: &Dynamic) -> Result<Words, String> {
    let items = value.read_lock::<rhai::Array>().ok_or_else(|| match type_name(value) {
        "text" => "expected a list of words, found text; `sh` takes shell lines".to_owned(),
        other => format!("expected a list of words, found {other}"),
    })?;
    if items.is_empty() {
        return Err("the command is empty".to_owned());
    }
    let words: Vec<String> = items
        .iter()
        .enumerate()
        .map(|(index, item)| match type_name(item) {
            "text" | "int" | "float" => Ok(item.to_string()),
            "secret" => Err(format!(
                "item {index} is a secret, which everyone on the target could read in the process list; pass it in `env` or `stdin`"
            )),
            other => Err(format!("item {index} is {other}, expected text")),
        })
        .collect::<Result<_, _>>()?;
    if let Some(index) = words.iter().position(|word| word.contains('\0')) {
        return Err(format!("item {index} holds a NUL character"));
    }
    if words[0].is_empty() {
        return Err("item 0, the program, is empty".to_owned());
    }
    Ok(Words::List(words))
}

fn either(value: &Dynamic) -> Result<Words, String> {
    match type_name(value) {
        "list" => list(value),
        "text" => shell(value),
        other => Err(format!("expected a shell line or a list of words, found {other}")),
    }
}

fn statuses(value: &Dynamic) -> Result<Option<Vec<i32>>, String> {
    let status = |value: &Dynamic| {
        value
            .as_int()
            .ok()
            .and_then(|code| i32::try_from(code).ok())
            .filter(|code| (0..256).contains(code))
            .ok_or_else(|| format!("`{value}` is no exit status; expected numbers from 0 to 255"))
    };
    if value.is_string() {
        return match value.to_string().as_str() {
            "any" => Ok(None),
            other => {
                Err(format!("`{other}` is no exit status; expected a list of numbers or \"any\""))
            }
        };
    }
    if let Some(items) = value.read_lock::<rhai::Array>() {
        if items.is_empty() {
            return Err("the list is empty, so that every status would be a failure".to_owned());
        }
        return items.iter().map(status).collect::<Result<_, _>>().map(Some);
    }
    status(value).map(|code| Some(vec![code]))
}

fn other_user(value: &Dynamic) -> Result<Option<Become>, String> {
    if let Ok(flag) = value.as_bool() {
        return Ok(flag.then_some(Become { user: None, password: None }));
    }
    let name = |user: String| {
        let fits = !user.is_empty()
            && !user.starts_with('-')
            && !user.contains(|c: char| c.is_whitespace() || c.is_control());
        if fits { Ok(user) } else { Err(format!("`{user}` is no user's name")) }
    };
    if let Ok(user) = value.clone().into_string() {
        return Ok(Some(Become { user: Some(name(user)?), password: None }));
    }
    let map = value.read_lock::<Map>().ok_or_else(|| {
        format!("expected true, a user's name or a map, found {}", type_name(value))
    })?;
    let mut result = Become { user: None, password: None };
    for (key, value) in map.iter() {
        match key.as_str() {
            "user" => {
                let user = value.clone().into_string();
                result.user =
                    Some(name(user.map_err(|found| format!("`user` is text, found {found}"))?)?);
            }
            "password" => {
                result.password =
                    Some(value.clone().try_cast::<SecretRef>().ok_or_else(|| {
                        "`password` must be a secret: `secret(\"name\")`".to_owned()
                    })?);
            }
            other => return Err(format!("unknown key `{other}` (it takes user, password)")),
        }
    }
    Ok(Some(result))
}

fn environment(value: &Dynamic) -> Result<Vec<(String, Text)>, String> {
    if let Some(map) = value.read_lock::<Map>()
        && let Some((name, _)) = map.iter().find(|(_, value)| value.is_array())
    {
        return Err(format!("`{name}`: expected text or a secret, found list"));
    }
    let pairs = pairs(value)?;
    for (name, value) in &pairs {
        let valid = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid {
            return Err(format!("`{name}` is no name for an environment variable"));
        }
        if matches!(value, Text::Plain(text) if text.contains('\0')) {
            return Err(format!("the value of `{name}` holds a NUL character"));
        }
    }
    Ok(pairs)
}

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
#[path = "exec_tests.rs"]
mod tests;
