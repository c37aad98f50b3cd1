//! A command as data, and the actions that run it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::call::Access;
use crate::effect::{
    Action, Cx, Deadman, Owes, Plan, Query, Reconciled, SecretRef, Switch, inverse_of, tail,
};
use crate::error::{Failure, Halt, Kind, Result};
use crate::journal::Inverse;
use crate::primitives::closure::{Closure, halt_of};
use crate::primitives::deadman;
use crate::primitives::text::Text;
use crate::transport::receipt::Found;
use crate::transport::{self, Command, Exit, Kept, Stream, Sudo};

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
    pub(super) words: Words,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) env: Vec<(String, Text)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) dir: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sudo: Option<Become>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stdin: Option<Text>,
    /// The accepted exit statuses; none means any.
    pub(super) ok: Option<Vec<i32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) undo: Option<Words>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) idempotent: bool,
    #[serde(skip)]
    pub(super) probe: Option<Probe>,
    /// The dead-man switch, which runs `undo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deadman: Option<Deadman>,
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
    /// A command with nothing else said about it.
    pub(super) fn plain(words: Words) -> Self {
        Self {
            words,
            env: Vec::new(),
            dir: None,
            sudo: None,
            stdin: None,
            ok: Some(vec![0]),
            timeout_ms: None,
            undo: None,
            idempotent: false,
            deadman: None,
            probe: None,
        }
    }

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
        command.sudo = self.becomes(cx)?;
        Ok(command)
    }

    fn becomes(&self, cx: &Cx<'_>) -> Result<Option<Sudo>> {
        let Some(sudo) = &self.sudo else { return Ok(None) };
        let password = sudo.password.as_ref().map(|secret| cx.secret(secret)).transpose()?;
        Ok(Some(Sudo { user: sudo.user.clone(), password }))
    }

    /// Runs it; as a try with a receipt unless it only reads.
    fn run(&self, cx: &Cx<'_>, tries: Option<Tries>) -> Result<Ran> {
        let command = self.command(cx, tries.is_none())?;
        // What it wrote until it was cut off belongs into the failure, and a timeout returns no output.
        let (mut out, mut err) = (Kept::default(), Kept::default());
        let mut keep = |stream: Stream, bytes: &[u8]| match stream {
            Stream::Out => out.push(bytes),
            Stream::Err => err.push(bytes),
        };
        let ended = match tries {
            // What the action around it does again, it does again.
            Some(_) if cx.is_nested() => cx.detached_anew(&command, &mut keep),
            None => cx.exec_with(&command, true, &mut keep).map(|exit| exit.ended),
            Some(tries) => cx.detached(&command, tries.number(), &mut keep),
        };
        let exit = match ended {
            Ok(ended) => Exit { ended, stdout: out.finish(), stderr: err.finish() },
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
                probe: None,
                deadman: None,
                ..self.clone()
            })),
            None => Inverse::Impossible {
                why: "a command; register its undo with on_rollback or `undo:`".to_owned(),
            },
        }
    }

    /// Its `undo` as a dead-man switch, if it asks for one.
    fn switch(&self) -> Result<Option<Switch>> {
        let Some(deadman) = self.deadman else { return Ok(None) };
        let mut command = match &self.undo {
            Some(Words::Shell(line)) => Command::shell(line),
            Some(Words::List(words)) => Command::list(words.clone()),
            None => return Err(Failure::input("`deadman` needs `undo`").into()),
        };
        command.dir.clone_from(&self.dir);
        for (name, value) in &self.env {
            match value {
                Text::Plain(text) => command.env.push((name.clone(), text.clone())),
                Text::Secret(_) => {
                    let why = "`deadman` would leave the secret in `env` on the target";
                    return Err(Failure::input(why).into());
                }
            }
        }
        Ok(Some(Switch::new(deadman, deadman::text(&command)? + "\n")))
    }

    /// Finds out by its receipt what became of the last try.
    fn reconcile(&self, cx: &Cx<'_>, tries: Tries) -> Result<Reconciled<Ran>> {
        let command = self.command(cx, false)?;
        match cx.receipt(&command, tries.number())? {
            // Whoever takes it up is told how it ended, or goes on with it; it is not started twice.
            Found::Never | Found::Void | Found::Running | Found::Ended(_) => Ok(Reconciled::Redo),
            Found::Lost(why) if self.idempotent => Ok(Reconciled::Again(why)),
            Found::Lost(why) => self.probed(cx, why),
        }
    }

    /// Finds out by its receipt whether the last try began.
    fn begun(&self, cx: &Cx<'_>, tries: Tries) -> Result<bool> {
        let command = self.command(cx, false)?;
        Ok(!matches!(cx.receipt(&command, tries.number())?, Found::Never | Found::Void))
    }

    /// Asks the runbook's own probe whether it happened.
    fn probed(&self, cx: &Cx<'_>, why: String) -> Result<Reconciled<Ran>> {
        let Some(probe) = &self.probe else { return Ok(Reconciled::Unknown(why)) };
        let answer = probe.0.call(cx.lane, &[]).map_err(|error| halt_of(&error))?;
        match answer.as_bool() {
            Ok(true) => Ok(Reconciled::Done(Ran::nothing())),
            Ok(false) => Ok(Reconciled::Again(why)),
            Err(_) if answer.is_unit() => Ok(Reconciled::Unknown(why)),
            Err(found) => Err(Failure::input(format!(
                "the probe of `{}` must return true, false or nothing, not {found}",
                self.display()
            ))
            .with_target(&cx.target.name)
            .into()),
        }
    }
}

/// Which try of a command this is; what is on record of the first says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Tries(Option<u32>);

impl Tries {
    fn number(self) -> u32 {
        self.0.unwrap_or(1)
    }

    fn again(&mut self) {
        self.0 = Some(self.number() + 1);
    }
}

/// What tells whether a command happened that left no trace of its own.
#[derive(Clone, Debug)]
pub(super) struct Probe(pub(super) Closure);

impl PartialEq for Probe {
    // It is no part of what identifies a command: replay makes it anew.
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Ran {
    /// What a command is taken to have returned of which only is known that it happened.
    fn nothing() -> Self {
        Self { code: 0, stdout: String::new(), stderr: String::new() }
    }
}

/// Recognises sudo's own refusals, which it says with the status 1 of any other failure.
pub(super) fn refused(stderr: &str) -> Option<(Kind, &'static str)> {
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
        pub(super) struct $name(pub(super) Job);

        impl Action for $name {
            const NAME: &'static str = $text;
            const ACCESS: Access = Access::Change;
            type Before = Tries;
            type Output = Ran;

            fn summary(&self) -> String {
                self.0.summary()
            }

            fn look(&self, _cx: &Cx<'_>) -> Result<Tries> {
                Ok(Tries::default())
            }

            fn plan(&self, _before: &Tries) -> Plan<Tries, Ran> {
                Plan::Would { changes: self.0.changes(), output: Ran::nothing(), after: None }
            }

            fn apply(&self, cx: &Cx<'_>, before: &Tries) -> Result<Ran> {
                self.0.run(cx, Some(*before))
            }

            fn reconcile(&self, cx: &Cx<'_>, before: &Tries) -> Result<Reconciled<Ran>> {
                self.0.reconcile(cx, *before)
            }

            fn begun(&self, cx: &Cx<'_>, before: &Tries) -> Result<bool> {
                self.0.begun(cx, *before)
            }

            fn becomes(&self, cx: &Cx<'_>) -> Result<Option<Sudo>> {
                self.0.becomes(cx)
            }

            fn again(&self, before: &mut Tries, _failure: &Failure) {
                before.again();
            }

            fn inverse(&self, _before: &Tries) -> Inverse {
                let inverse: fn(&Job) -> Inverse = $inverse;
                inverse(&self.0)
            }

            fn deadman(&self, _cx: &Cx<'_>, _before: &Tries) -> Result<Option<Switch>> {
                self.0.switch()
            }

            fn owes(&self, _before: &Tries) -> Owes {
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
pub(super) struct Output(pub(super) Job);

impl Query for Output {
    const NAME: &'static str = "output";
    type Output = String;

    fn summary(&self) -> String {
        self.0.summary().replacen("run", "read", 1)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<String> {
        self.0.run(cx, None).map(|ran| ran.stdout)
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
