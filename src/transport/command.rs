//! A command as data: words, environment, directory, standard input, and whether it only reads. It becomes shell text
//! in one place, [`Command::to_shell`], with every word quoted.

use std::fmt::Write as _;
use std::time::Duration;

use super::quote::{join, quote};
use super::streams::Streams;
use crate::secret::Secret;

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// A program and its arguments, each quoted.
    List(Vec<String>),
    /// A line for `sh -c`, as it is.
    Shell(String),
}

/// What a shell does itself, and is not the same after; and its reserved words.
#[cfg(feature = "ssh")]
const CHANGES_SHELL: &[&str] = &[
    ".", ":", "alias", "bg", "break", "builtin", "case", "cd", "command", "continue", "coproc",
    "declare", "disown", "do", "done", "elif", "else", "enable", "esac", "eval", "exec", "exit",
    "export", "fc", "fg", "fi", "for", "function", "getopts", "hash", "if", "in", "jobs", "let",
    "local", "logout", "newgrp", "popd", "pushd", "read", "readonly", "return", "select", "set",
    "shift", "shopt", "source", "suspend", "then", "time", "times", "trap", "typeset", "ulimit",
    "umask", "unset", "until", "wait", "while",
];

/// The line that follows sudo's password on standard input.
const AFTER_PASSWORD: &str = "upgrade-host:begin";

/// How to become another user.
#[derive(Clone, Debug)]
pub struct Sudo {
    /// The user to become; `root` if none.
    pub user: Option<String>,
    /// The password, sent over standard input, never in an argument.
    pub password: Option<Secret>,
}

/// What must stand on the target for a command to run there: the record of the lock under which it was meant, and the
/// boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The file.
    pub path: String,
    /// The first two words of its first line: epoch and run.
    pub holder: String,
    /// The boot id, where another boot must be looked at before.
    pub boot: Option<String>,
}

impl Fence {
    /// The status of a command that the fence held back.
    const STATUS: i32 = 79;
    const SAYS: &'static str = "upgrade-host: held back by the lock of ";
    const REBOOTED: &'static str = "upgrade-host: held back by a reboot";

    fn shell(&self) -> Result<String, String> {
        let mut line = format!(
            "{{ read -r a b c <{}; }} 2>/dev/null; [ \"$a $b\" = {} ] || {{ echo \"{}$a $b\" >&2; exit {}; }}; ",
            quote(&self.path)?,
            quote(&self.holder)?,
            Self::SAYS,
            Self::STATUS
        );
        if let Some(boot) = &self.boot {
            let _infallible = write!(
                line,
                "{{ read -r a </proc/sys/kernel/random/boot_id; }} 2>/dev/null; [ \"$a\" = {} ] || {{ echo '{}' >&2; exit {}; }}; ",
                quote(boot)?,
                Self::REBOOTED,
                Self::STATUS
            );
        }
        line.push_str("unset a b c; ");
        Ok(line)
    }

    /// Returns how a command ends that is held back because the target is in another boot.
    #[cfg(test)]
    pub(crate) fn held_back() -> super::Exit {
        let stderr = format!("{}\n", Self::REBOOTED).into_bytes();
        super::Exit { ended: super::Ended::Code(Self::STATUS), stdout: Vec::new(), stderr }
    }

    /// Returns whether this is how a command ended that was held back because the target is in another boot.
    pub fn rebooted(&self, exit: &super::Exit) -> bool {
        let said = String::from_utf8_lossy(&exit.stderr);
        exit.code() == Self::STATUS && said.lines().any(|line| line == Self::REBOOTED)
    }

    /// Returns who holds the target, if this is how a command ended that the fence held back.
    pub fn stopped(&self, exit: &super::Exit) -> Option<String> {
        if exit.code() != Self::STATUS {
            return None;
        }
        let said = String::from_utf8_lossy(&exit.stderr).into_owned();
        let holder = said.lines().find_map(|line| line.strip_prefix(Self::SAYS))?;
        Some(holder.chars().filter(|letter| !letter.is_control()).take(200).collect())
    }
}

/// One command for a target.
#[derive(Clone, Debug)]
pub struct Command {
    /// What to run.
    pub words: Words,
    /// Environment variables to set; they are visible in the process list of the target.
    pub env: Vec<(String, String)>,
    /// Environment variables whose values travel over standard input.
    pub secret_env: Vec<(String, Secret)>,
    /// The directory to start in.
    pub dir: Option<String>,
    /// Another user to become first.
    pub sudo: Option<Sudo>,
    /// Standard input; empty means `/dev/null`.
    pub stdin: Vec<u8>,
    /// What it reads after `stdin` and where it writes to, if that is not kept.
    pub streams: Option<Streams>,
    /// Whether the command only reads. Only such commands run in plan mode.
    pub reads: bool,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// Set for a command that is given again after the connection was lost meanwhile: how much longer the first one may
    /// take before it is ended, so that two never run at once. Without it, the first one is left alone.
    pub tied: Option<Duration>,
    /// Whether it reports its own end and is to outlive the way to it: nothing is put around it, and when it is cancelled
    /// it is left, not ended.
    pub launcher: bool,
    /// What must stand on the target for it to run.
    pub fence: Option<Fence>,
}

impl Command {
    /// Makes a command from a program and its arguments.
    pub fn list<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Self {
        Self::new(Words::List(words.into_iter().map(Into::into).collect()))
    }

    /// Makes a command from a shell line.
    pub fn shell(line: impl Into<String>) -> Self {
        Self::new(Words::Shell(line.into()))
    }

    /// Makes a command from a fixed shell script whose `$1`, `$2`, … are `arguments`, each quoted.
    /// The script is ours and constant; what varies travels as arguments only.
    pub fn script<S: Into<String>>(script: &str, arguments: impl IntoIterator<Item = S>) -> Self {
        let mut words = vec!["sh".to_owned(), "-c".to_owned(), script.to_owned(), "sh".to_owned()];
        words.extend(arguments.into_iter().map(Into::into));
        Self::new(Words::List(words))
    }

    fn new(words: Words) -> Self {
        Self {
            words,
            env: Vec::new(),
            secret_env: Vec::new(),
            dir: None,
            sudo: None,
            stdin: Vec::new(),
            streams: None,
            reads: false,
            timeout: None,
            tied: None,
            launcher: false,
            fence: None,
        }
    }

    /// Marks the command as one that only reads.
    #[must_use]
    pub fn reading(mut self) -> Self {
        self.reads = true;
        self
    }

    /// Marks the command as one that is given again after the connection was lost: what is left of it on the target is
    /// given `grace` to end by itself, then ended, before anything else runs there.
    #[must_use]
    pub fn tied(mut self, grace: Duration) -> Self {
        self.tied = Some(grace);
        self
    }

    /// Sets standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Joins standard input and output to descriptors of this process. Its [`Exit`](super::Exit) holds no output then.
    #[must_use]
    pub fn joined(mut self, streams: Streams) -> Self {
        self.streams = Some(streams);
        self
    }

    /// Sets the longest time it may run.
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// Becomes another user first.
    #[must_use]
    pub fn sudo(mut self, sudo: Option<Sudo>) -> Self {
        self.sudo = sudo;
        self
    }

    /// Returns the words as a person reads them: quoted, without environment, sudo or secrets.
    pub fn display(&self) -> String {
        match &self.words {
            Words::List(words) => {
                join(words.iter().map(String::as_str)).unwrap_or_else(|_| format!("{words:?}"))
            }
            Words::Shell(line) => line.clone(),
        }
    }

    /// Returns the line for the target's login shell, and the bytes to send first over standard input.
    ///
    /// Secrets are read by the shell from standard input, a line each, before the command inherits the rest of it.
    ///
    /// # Errors
    /// A fragment that names a word with a NUL, a bad variable name, or a secret with a line break.
    pub fn to_shell(&self) -> Result<(String, Vec<u8>), String> {
        self.line(false)
    }

    /// Returns whether it is one simple command of plain words that leaves its shell as it was: then it needs no subshell.
    #[cfg(feature = "ssh")]
    pub(super) fn is_simple(&self) -> bool {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_./:,+@%- ".contains(c);
        let Words::Shell(text) = &self.words else { return false };
        let alone = self.sudo.is_none()
            && self.fence.is_none()
            && self.dir.is_none()
            && self.env.is_empty()
            && self.secret_env.is_empty();
        let first = text.split(' ').find(|word| !word.is_empty());
        alone && text.chars().all(plain) && first.is_some_and(|word| !CHANGES_SHELL.contains(&word))
    }

    /// As [`Command::to_shell`], for a login shell that does what `sh` does and does nothing else: a script of ours runs in
    /// it, not in one more.
    ///
    /// # Errors
    /// As [`Command::to_shell`].
    #[cfg(feature = "ssh")]
    pub(super) fn to_plain_shell(&self) -> Result<(String, Vec<u8>), String> {
        self.line(self.sudo.is_none())
    }

    fn line(&self, here: bool) -> Result<(String, Vec<u8>), String> {
        let mut line = String::new();
        let mut preamble = Vec::new();
        if self.sudo.as_ref().is_some_and(|sudo| sudo.password.is_some()) {
            // Where sudo asks for no password it leaves ours unread, and it must not become the command's input.
            line.push_str("while IFS= read -r word && [ \"$word\" != ");
            line.push_str(AFTER_PASSWORD);
            line.push_str(" ]; do :; done; unset word; ");
            preamble.extend_from_slice(AFTER_PASSWORD.as_bytes());
            preamble.push(b'\n');
        }
        if let Some(fence) = &self.fence {
            line.push_str(&fence.shell()?);
        }
        for (name, secret) in &self.secret_env {
            check_name(name)?;
            if secret.reveal().contains(['\n', '\0']) {
                return Err(format!(
                    "the secret for `{name}` holds a line break or NUL and cannot be sent"
                ));
            }
            line.push_str("IFS= read -r ");
            line.push_str(name);
            line.push_str(" && export ");
            line.push_str(name);
            line.push_str(" && ");
            preamble.extend_from_slice(secret.reveal().as_bytes());
            preamble.push(b'\n');
        }
        if let Some(dir) = &self.dir {
            line.push_str("cd -- ");
            line.push_str(&quote(dir)?);
            line.push_str(" && ");
        }
        for (name, value) in &self.env {
            check_name(name)?;
            line.push_str(name);
            line.push('=');
            line.push_str(&quote(value)?);
            line.push_str(" && export ");
            line.push_str(name);
            line.push_str(" && ");
        }
        match &self.words {
            Words::List(words) if words.is_empty() => return Err("the command is empty".to_owned()),
            Words::List(words) => {
                if let Some((script, arguments)) = script(words).filter(|_| here) {
                    line.push_str("{ set -- ");
                    line.push_str(&join(arguments.iter().map(String::as_str))?);
                    line.push_str("; ");
                    line.push_str(script);
                    line.push_str("\n}");
                } else {
                    line.push_str("exec ");
                    line.push_str(&join(words.iter().map(String::as_str))?);
                }
            }
            Words::Shell(text) if line.is_empty() => line = shell_line(text)?,
            // In a shell of its own, so that `a || b` binds as written and not to our `&&`.
            Words::Shell(text) => line.push_str(&own_shell(text)?),
        }
        let Some(sudo) = &self.sudo else { return Ok((line, preamble)) };
        let mut words = vec!["sudo".to_owned()];
        let mut first = Vec::new();
        if let Some(password) = &sudo.password {
            words.extend(["-S".to_owned(), "-k".to_owned(), "-p".to_owned(), String::new()]);
            first.extend_from_slice(password.reveal().as_bytes());
            first.push(b'\n');
        } else {
            words.push("-n".to_owned());
        }
        if let Some(user) = &sudo.user {
            words.extend(["-u".to_owned(), user.clone()]);
        }
        words.extend(["--".to_owned(), "sh".to_owned(), "-c".to_owned(), line]);
        first.extend_from_slice(&preamble);
        Ok((format!("exec {}", join(words.iter().map(String::as_str))?), first))
    }
}

/// Takes the words of [`Command::script`] apart.
fn script(words: &[String]) -> Option<(&String, &[String])> {
    match words {
        [shell, flag, script, name, arguments @ ..]
            if shell == "sh" && flag == "-c" && name == "sh" =>
        {
            Some((script, arguments))
        }
        _ => None,
    }
}

/// Returns a line that does what `text` says and is the last that its shell, or subshell, does. It has a shell of its own
/// only if the text could tell: starting one takes about as long as a short command.
///
/// # Errors
/// If there is a NUL in it.
pub(super) fn shell_line(text: &str) -> Result<String, String> {
    let own = own_shell(text)?;
    // Without parameters it knows neither the process id nor the arguments of its shell; a file that it reads may.
    let tells = text.contains(['$', '`']) || text.trim_start().starts_with('-');
    let reads = |word: &str| matches!(word, "." | "source" | "eval" | "exec");
    let words = || text.split(|c: char| !c.is_ascii_alphanumeric() && !"._-/=".contains(c));
    if tells || words().any(reads) { Ok(own) } else { Ok(text.to_owned()) }
}

fn own_shell(text: &str) -> Result<String, String> {
    Ok(format!("exec sh -c {}", quote(text)?))
}

fn check_name(name: &str) -> Result<(), String> {
    let valid = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if valid { Ok(()) } else { Err(format!("`{name}` is no name for an environment variable")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_and_secrets_travel_over_standard_input() {
        let mut command = Command::list(["printf", "%s", "a b'c"]);
        command.env.push(("GREETING".to_owned(), "it's".to_owned()));
        command.secret_env.push(("PASS".to_owned(), Secret::new("hunter2".to_owned())));
        command.dir = Some("/tmp/x y".to_owned());

        let (line, preamble) = command.to_shell().unwrap();

        assert_eq!(preamble, b"hunter2\n");
        assert!(!line.contains("hunter2"));
        assert!(!format!("{command:?}").contains("hunter2"));
        assert!(line.ends_with(r#"&& exec printf '%s' "a b'c""#), "{line}");
    }

    #[test]
    fn sudo_sends_its_password_before_everything_else() {
        let mut command = Command::shell("id -u")
            .sudo(Some(Sudo { user: None, password: Some(Secret::new("pw".into())) }));
        command.secret_env.push(("A".to_owned(), Secret::new("b".to_owned())));

        let (line, preamble) = command.to_shell().unwrap();

        assert_eq!(preamble, b"pw\nupgrade-host:begin\nb\n");
        assert!(line.starts_with("exec sudo -S -k -p '' -- sh -c "), "{line}");
    }

    #[test]
    fn a_shell_line_has_a_shell_of_its_own_where_it_could_tell() {
        for (text, plain) in [
            ("true", true),
            ("uptime -p; df -h / | tail -1 > /tmp/x && echo 'it is' \"so\"", true),
            ("cat a.b ./c /etc/d.conf", true),
            ("echo $$", false),
            ("echo `id`", false),
            (". /etc/profile", false),
            ("true;. ./x", false),
            ("eval true", false),
            ("-x", false),
        ] {
            let line = Command::shell(text).to_shell().unwrap().0;
            let own = format!("exec sh -c {}", quote(text).unwrap());
            assert_eq!(line, if plain { text.to_owned() } else { own }, "{text}");
        }
        let mut elsewhere = Command::shell("true || false");
        elsewhere.dir = Some("/".to_owned());
        assert_eq!(elsewhere.to_shell().unwrap().0, "cd -- / && exec sh -c 'true || false'");
        assert!(Command::shell("a\0b").to_shell().is_err());
    }

    #[cfg(feature = "ssh")]
    #[test]
    fn a_simple_command_leaves_its_shell_as_it_was() {
        for (text, simple) in [
            ("true", true),
            (" /usr/bin/uptime -p", true),
            ("systemctl is-active nginx.service", true),
            ("exit 3", false),
            ("while true", false),
            (". ./x", false),
            ("a=1 b", false),
            ("a b; c", false),
            ("echo $a", false),
            ("echo 'a'", false),
            ("", false),
        ] {
            assert_eq!(Command::shell(text).is_simple(), simple, "{text}");
        }
        assert!(!Command::list(["true"]).is_simple());
        assert!(!Command { dir: Some("/".to_owned()), ..Command::shell("true") }.is_simple());
    }

    #[cfg(feature = "ssh")]
    #[test]
    fn a_plain_login_shell_runs_our_scripts_itself() {
        let mut command = Command::script("echo \"$1 $#\"\nexit 3", ["a b", "c"]);
        assert_eq!(command.to_shell().unwrap().0, "exec sh -c 'echo \"$1 $#\"\nexit 3' sh 'a b' c");
        command.dir = Some("/".to_owned());
        let line = command.to_plain_shell().unwrap().0;
        let said = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
        assert_eq!((said.stdout.as_slice(), said.status.code()), (&b"a b 2\n"[..], Some(3)));
        command.dir = Some("/nowhere".to_owned());
        let line = command.to_plain_shell().unwrap().0;
        let said = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
        assert!(said.stdout.is_empty() && !said.status.success());
        // Another user has a shell of its own.
        command.sudo = Some(Sudo { user: None, password: None });
        assert_eq!(command.to_plain_shell(), command.to_shell());
    }

    #[test]
    fn a_bad_variable_name_is_refused() {
        let mut command = Command::list(["true"]);
        command.env.push(("A;rm".to_owned(), String::new()));
        assert!(command.to_shell().unwrap_err().contains("`A;rm`"));
    }
}
