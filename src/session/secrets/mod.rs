//! Secrets by reference: where each comes from, and the store that fetches it when an action needs it. Values stay in the
//! memory of this process; references, which are not secret, are what files and journals hold.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::config::Environment;
use crate::effect::Secrets;
use crate::error::{Failure, Kind, Result};
use crate::secret::Secret;
use crate::units;

/// The longest secret that is taken; longer ones are a mistake in the reference.
const LONGEST: u64 = 1 << 20;
/// How long a command may take: a person may have to unlock a vault first.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often a command is looked at while it runs.
const TICK: Duration = Duration::from_millis(10);
/// How long the output of a command may stay open after it has ended.
const LINGER: Duration = Duration::from_secs(1);
/// The four forms, for messages.
pub(super) const FORMS: &str = "env:NAME, file:PATH, command:… or prompt";

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Reference {
    /// An environment variable of this process.
    Env(String),
    /// A file on this machine, for this user alone; absolute, or beginning with `~/`.
    File(String),
    /// A shell command on this machine that prints it.
    Command(String),
    /// The operator.
    Prompt,
}

impl Reference {
    /// Reads a reference. What is no reference may be a secret, so the error never holds the text.
    ///
    /// # Errors
    /// A fragment that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "prompt" {
            return Ok(Self::Prompt);
        }
        match text.split_once(':') {
            Some(("env", name)) => {
                let first =
                    name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
                if first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                    Ok(Self::Env(name.to_owned()))
                } else {
                    Err("what follows `env:` is no name of an environment variable".to_owned())
                }
            }
            Some(("file", path)) => {
                if path.starts_with('/') || path.strip_prefix("~/").is_some_and(|p| !p.is_empty()) {
                    Ok(Self::File(path.to_owned()))
                } else {
                    Err("the path after `file:` is neither absolute nor begins with `~/`"
                        .to_owned())
                }
            }
            Some(("command", line)) if line.trim().is_empty() => {
                Err("nothing follows `command:`".to_owned())
            }
            Some(("command", line)) => Ok(Self::Command(line.trim().to_owned())),
            _ => Err("this is no reference to a secret".to_owned()),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
            Self::Command(line) => write!(f, "command:{line}"),
            Self::Prompt => f.write_str("prompt"),
        }
    }
}

impl TryFrom<String> for Reference {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

/// Who is asked for secrets whose reference is `prompt`.
pub trait PromptSecret: Send + Sync {
    /// Asks without echo; none if nobody is there to answer.
    fn ask(&self, text: &str) -> Option<Secret>;
}

/// Asks nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPrompt;

impl PromptSecret for NoPrompt {
    fn ask(&self, _text: &str) -> Option<Secret> {
        None
    }
}

/// A secret that is known by name: its reference, and how it is fetched at most once.
struct Known {
    reference: Reference,
    about: String,
    value: Mutex<Option<Secret>>,
}

/// The secrets of a run by name, each fetched when it is first needed.
pub struct SecretStore {
    known: RwLock<BTreeMap<String, Arc<Known>>>,
    environment: Environment,
    prompt: Arc<dyn PromptSecret>,
}

impl fmt::Debug for SecretStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_map().entries(known.iter().map(|(name, known)| (name, &known.reference))).finish()
    }
}

impl SecretStore {
    /// Makes a store that knows no secret yet.
    pub fn new(environment: Environment, prompt: Arc<dyn PromptSecret>) -> Self {
        Self { known: RwLock::default(), environment, prompt }
    }

    /// Makes a secret known. The same name again with the same reference keeps the value; with another, forgets it.
    pub fn add(&self, name: impl Into<String>, reference: Reference, about: impl Into<String>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let name = name.into();
        if known.get(&name).is_none_or(|known| known.reference != reference) {
            let value = Mutex::default();
            known.insert(name, Arc::new(Known { reference, about: about.into(), value }));
        }
    }

    /// Makes several secrets known, as [`Config::secrets`](super::config::Config::secrets) and
    /// [`Values::secrets`](super::params::Values::secrets) hold them.
    pub fn add_all<'a>(&self, secrets: impl IntoIterator<Item = (&'a String, &'a Reference)>) {
        for (name, reference) in secrets {
            self.add(name.clone(), reference.clone(), "");
        }
    }

    /// Returns the reference of a secret.
    pub fn reference(&self, name: &str) -> Option<Reference> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(name).map(|known| known.reference.clone())
    }

    fn fetch(&self, name: &str, known: &Known) -> Result<Secret> {
        let secret = match &known.reference {
            Reference::Env(variable) => self.read_variable(name, variable)?,
            Reference::File(path) => self.read_secret_file(name, path)?,
            Reference::Command(line) => run_command(name, line)?,
            Reference::Prompt => self.ask_operator(name, &known.about)?,
        };
        if secret.reveal().is_empty() {
            let message = format!("the secret `{name}` from `{}` is empty", known.reference);
            return Err(Failure::input(message).into());
        }
        Ok(secret)
    }

    fn read_variable(&self, name: &str, variable: &str) -> Result<Secret> {
        if let Some(text) = self.environment.vars.get(variable) {
            return Ok(Secret::new(text.clone()));
        }
        let message =
            format!("the environment variable `{variable}` for the secret `{name}` is not set");
        let hint = format!("Set it for this process: `read -rs {variable} && export {variable}`.");
        Err(Failure::new(Kind::NotFound, message).with_hint(hint).into())
    }

    fn read_secret_file(&self, name: &str, path: &str) -> Result<Secret> {
        let full = self.environment.path(path, &self.environment.dir);
        let failed = |error: std::io::Error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => Kind::NotFound,
                std::io::ErrorKind::PermissionDenied => Kind::Denied,
                _ => Kind::Input,
            };
            Failure::new(kind, format!("cannot read `{path}` for the secret `{name}`: {error}"))
        };
        let file = File::open(full).map_err(failed)?;
        // The opened file is asked, not the path: it cannot be exchanged in between.
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_file() && metadata.mode() & 0o066 != 0 {
            let message = format!(
                "`{path}` for the secret `{name}` is open to other users (mode {:04o})",
                metadata.mode() & 0o7777
            );
            let hint = format!(
                "Close it with `chmod 600 {path}`, and change the secret if others may have read it."
            );
            return Err(Failure::new(Kind::Denied, message).with_hint(hint).into());
        }
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
        text_of(name, bytes)
    }

    fn ask_operator(&self, name: &str, about: &str) -> Result<Secret> {
        let text = if about.is_empty() { name.to_owned() } else { format!("{name} ({about})") };
        self.prompt.ask(&text).ok_or_else(|| {
            let hint =
                "Run it at a terminal, or give the secret by env:NAME, file:PATH or command:….";
            Failure::input(format!("nobody is there to be asked for the secret `{name}`"))
                .with_hint(hint)
                .into()
        })
    }
}

impl Secrets for SecretStore {
    fn reveal(&self, name: &str) -> Result<Secret> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = known.get(name).cloned() else {
            let mut failure = Failure::input(format!("unknown secret `{name}`"));
            if let Some(near) = units::nearest(name, known.keys().map(String::as_str)) {
                failure = failure.with_hint(format!("Did you mean `{near}`?"));
            }
            return Err(failure.into());
        };
        drop(known);
        // Held while it is fetched: lanes that need the same secret ask for it once.
        let mut value = found.value.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(secret) = &*value {
            return Ok(secret.clone());
        }
        let secret = self.fetch(name, &found)?;
        *value = Some(secret.clone());
        Ok(secret)
    }
}

/// Takes bytes without their last line break as a secret.
fn text_of(name: &str, mut bytes: Zeroizing<Vec<u8>>) -> Result<Secret> {
    if bytes.len() as u64 > LONGEST {
        let message = format!("the secret `{name}` is longer than {}", units::say_size(LONGEST));
        return Err(Failure::input(message).into());
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Secret::new(text)),
        Err(error) => {
            error.into_bytes().zeroize();
            Err(Failure::input(format!("the secret `{name}` is not UTF-8 text")).into())
        }
    }
}

fn run_command(name: &str, line: &str) -> Result<Secret> {
    let broken = |why: String| {
        let mut failure =
            Failure::new(Kind::Exit, format!("the command for the secret `{name}` {why}"));
        failure.command = Some(line.to_owned());
        failure
    };
    // It stays in our process group, so that what it asks at the terminal, and Ctrl-C, reach it.
    let mut child = Command::new("/bin/sh")
        .args(["-c", line])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| broken(format!("cannot be started: {error}")))?;
    let stdout = child.stdout.take().map(read_all);
    let stderr = child.stderr.take().map(read_all);
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        let over = Instant::now() > deadline;
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if !over => thread::sleep(TICK),
            Ok(None) | Err(_) => {
                // It may be gone already; the failure is the same.
                let _gone = child.kill().and_then(|()| child.wait());
                let why = format!("did not end within {}", units::say_duration(PATIENCE));
                return Err(broken(why).into());
            }
        }
    };
    // Something that went to the background may keep the streams open for ever.
    let collect = |reader: Option<mpsc::Receiver<Zeroizing<Vec<u8>>>>| {
        reader.and_then(|reader| reader.recv_timeout(LINGER).ok())
    };
    let (stdout, stderr) = (collect(stdout), collect(stderr).unwrap_or_default());
    if status.success() {
        let left = || broken("left something running that keeps its output open".to_owned());
        return text_of(name, stdout.ok_or_else(left)?);
    }
    let stderr = crate::effect::tail(&stderr);
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, signal) => format!("was ended by signal {}", signal.unwrap_or_default()),
    };
    let said = stderr.lines().rev().find(|line| !line.trim().is_empty()).map(str::trim);
    let mut failure = broken(said.map_or(how.clone(), |said| format!("{how}: {said}")));
    failure.code = status.code();
    failure.stderr = stderr;
    Err(failure.into())
}

/// Reads a stream to its end; what is beyond the longest secret is dropped, but read, so that the writer can end.
fn read_all(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<Zeroizing<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Zeroizing::new(Vec::new());
        // A stream that breaks ends here; the status of the command says what became of it.
        let _broken = stream.by_ref().take(LONGEST + 1).read_to_end(&mut bytes);
        let _rest = std::io::copy(&mut stream, &mut std::io::sink());
        let _nobody = sender.send(bytes);
    });
    receiver
}

#[cfg(test)]
mod tests;
