//! What actions see of the world: the run they belong to, the target they act on, and [`Cx`], through which they run
//! commands, wait, tell and ask.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ask::Asker;
use super::beside::Beside;
use super::deadman::Switches;
use super::lane::{App, Inside, Lane};
use super::lock::Locks;
use super::obligation::Obligations;
use super::off::SwitchedOff;
use super::redact::Redactor;
use super::registry::Registry;
use crate::call::CallKey;
use crate::error::{Failure, Halt, Kind, Result, Stop};
use crate::event::{Event, Progress, What};
use crate::journal::{Cursor, Store};
use crate::secret::Secret;
use crate::transport::{
    Cancel, Command, Connection, Exit, SharedTransport, Stream, Sudo, TransportError,
};

/// What the run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To act.
    Run,
    /// To say what it would do.
    Plan,
    /// To rebuild the list of what to undo, from the record alone.
    Rebuild,
}

/// The clock, so that tests can hold it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Returns the time.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Where secrets come from.
pub trait Secrets: Send + Sync + fmt::Debug {
    /// Returns the secret with this name, asking or running what its reference says.
    ///
    /// # Errors
    /// A failure of kind `input` or `not_found` that names the reference, never the value.
    fn reveal(&self, name: &str) -> Result<Secret>;
}

/// A reference to a secret, as actions and the journal hold it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SecretRef {
    /// The name of the parameter.
    #[serde(rename = "$secret")]
    pub name: String,
}

/// Where targets come from.
pub trait Targets: Send + Sync + fmt::Debug {
    /// Returns the target with this name.
    ///
    /// # Errors
    /// A failure of kind `input` with the nearest known name.
    fn get(&self, name: &str) -> Result<Arc<Target>>;

    /// Returns the names of the targets that `selector` (names, `@tag`, `all` and more) stands for.
    ///
    /// # Errors
    /// As [`Targets::get`].
    fn select(&self, selector: &str) -> Result<Vec<String>>;
}

/// Functions that adapters of applications implement in Rhai.
pub trait Adapters: Send + Sync + fmt::Debug {
    /// Returns whether the adapter has this verb.
    fn has(&self, adapter: &str, verb: &str) -> bool;

    /// Calls `adapter_verb(settings, arguments…)` on the lane.
    ///
    /// # Errors
    /// What the function throws.
    fn call(&self, lane: &Lane, app: &App, verb: &str, arguments: &[Value]) -> Result<Value>;
}

/// A server acted on.
#[derive(Debug)]
pub struct Target {
    /// The name, as the inventory has it; `local` for this machine.
    pub name: String,
    /// The way to it.
    pub transport: SharedTransport,
    /// Its parameters from the inventory.
    pub params: BTreeMap<String, Value>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What was found out about it, read once per process and forgotten when it reboots; never a change.
    pub cache: Mutex<BTreeMap<String, Value>>,
    /// The boot id that it had at the last contact, where that is known.
    pub boot: Mutex<Option<String>>,
    /// Whether commands on it become root through sudo.
    pub sudo: bool,
}

impl Target {
    /// Makes a target without parameters or tags.
    pub fn new(name: impl Into<String>, transport: SharedTransport) -> Self {
        Self {
            name: name.into(),
            transport,
            params: BTreeMap::new(),
            tags: Vec::new(),
            cache: Mutex::new(BTreeMap::new()),
            boot: Mutex::new(None),
            sudo: false,
        }
    }
}

impl Target {
    /// Says that it was rebooted, for people.
    fn rebooted(&self) -> String {
        format!("{} was rebooted meanwhile; the run goes on", self.name)
    }
}

/// How a service is controlled where neither systemd nor an init script does it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceCommands {
    /// Starts it.
    #[serde(default)]
    pub start: Option<String>,
    /// Stops it.
    #[serde(default)]
    pub stop: Option<String>,
    /// Ends with 0 if it runs.
    #[serde(default)]
    pub status: Option<String>,
    /// The file with its process id.
    #[serde(default)]
    pub pid_file: Option<String>,
    /// A regular expression for its process's command line.
    #[serde(default)]
    pub process: Option<String>,
    /// The TCP port that it listens on.
    #[serde(default)]
    pub port: Option<u16>,
    /// The URL, seen from the target, that answers with 2xx while it runs.
    #[serde(default)]
    pub url: Option<String>,
    /// `systemd`, `sysv` or `commands`; found out if not given.
    #[serde(default)]
    pub manager: Option<String>,
}

/// A run as the effect layer sees it. Built by the session.
pub struct Run {
    /// The id.
    pub id: String,
    /// What it is for.
    pub mode: Mode,
    /// Whether questions with a safe default are answered by it.
    pub yes: bool,
    /// Whether its undo was asked for, not the answer to a failure or an interrupt.
    pub asked: bool,
    /// Whether `wait` stays instead of ending the process.
    pub stay: bool,
    /// How long a broken connection is tried again before the run pauses.
    pub reconnect: Duration,
    /// The journal; none in plan mode.
    pub store: Option<Arc<dyn Store>>,
    /// What it has already.
    pub cursor: Mutex<Cursor>,
    /// Where events go.
    pub events: Box<dyn Fn(Event) + Send + Sync>,
    /// The interrupt.
    pub cancel: Cancel,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Secrets by name.
    pub secrets: Arc<dyn Secrets>,
    /// What hides them.
    pub redactor: Redactor,
    /// Who answers questions.
    pub asker: Arc<dyn Asker>,
    /// Targets by name.
    pub targets: Arc<dyn Targets>,
    /// Own commands of services, by name.
    pub services: BTreeMap<String, ServiceCommands>,
    /// The application configured for all targets.
    pub default_app: Option<App>,
    /// Every action by name, to undo from the record.
    pub registry: Arc<Registry>,
    /// What is owed.
    pub obligations: Obligations,
    /// What must stay off, also after a reboot.
    pub off: SwitchedOff,
    /// Adapters, set once the script engine stands.
    pub adapters: OnceLock<Arc<dyn Adapters>>,
    /// The lanes that passed their point of no return, and why there is no way back.
    pub point_of_no_return: Mutex<Vec<(String, String)>>,
    /// The maintenance window, once opened.
    pub window: Mutex<Option<Window>>,
    /// The state that planned actions leave behind, by target and subject.
    pub assumed: Mutex<BTreeMap<(String, String), Value>>,
    /// The parameters of the run, by target; those under the empty name hold for every other.
    pub params: BTreeMap<String, BTreeMap<String, Value>>,
    /// What families remember from call to call within the run, by target and subject. Rebuilt by replay, for it is
    /// filled from the outputs of calls.
    pub notes: Mutex<BTreeMap<(String, String), Value>>,
    /// What failed in lanes side by side, beside what the script was told.
    pub beside: Beside,
    /// The targets that it holds.
    pub locks: Locks,
    /// What the operator said on resuming about the items of a stopped `rolling`.
    pub chosen: Chosen,
    /// Where something may have been left that the end of the run removes, by target and user.
    pub touched: Mutex<BTreeMap<(String, String), Touched>>,
    /// The dead-man switches that are armed on targets.
    pub switches: Switches,
}

/// A target on which something may have been left.
#[derive(Clone, Debug)]
pub struct Touched {
    /// The target.
    pub target: Arc<Target>,
    /// The user who left it; none for the one who logs in, or the target's own `sudo`.
    pub sudo: Option<Sudo>,
}

/// Which items of a stopped `rolling` go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// If not empty, no others do.
    pub only: Vec<String>,
    /// These are taken out.
    pub skip: Vec<String>,
}

/// A maintenance window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// When it opens.
    pub opens: Timestamp,
    /// When it closes.
    pub closes: Timestamp,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("id", &self.id)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Run {
    /// Sends an event to whoever listens.
    pub fn send(&self, event: Event) {
        (self.events)(event);
    }

    /// Returns why there is no way back, if a lane passed the point.
    pub fn past_point_of_no_return(&self) -> Option<String> {
        let passed = self.point_of_no_return.lock().unwrap_or_else(PoisonError::into_inner);
        passed.last().map(|(_, why)| why.clone())
    }
}

/// What an action sees while it looks or acts.
#[derive(Debug)]
pub struct Cx<'a> {
    /// The lane it belongs to.
    pub lane: &'a Lane,
    /// The target it acts on.
    pub target: Arc<Target>,
    /// Its identity.
    pub call: &'a CallKey,
}

impl Cx<'_> {
    /// Runs a command on the target, telling its output line by line, and returns how it ended.
    ///
    /// # Errors
    /// A failure if it could not be run or timed out; a status other than 0 is none.
    pub fn exec(&self, command: &Command) -> Result<Exit> {
        self.exec_with(command, true, &mut |_, _| {})
    }

    /// As [`Cx::exec`], without telling its output: for what the host itself looks at.
    ///
    /// # Errors
    /// As [`Cx::exec`].
    pub fn quiet(&self, command: &Command) -> Result<Exit> {
        self.exec_with(command, false, &mut |_, _| {})
    }

    /// As [`Cx::exec`], also calling `watch` with the raw output; `tell` says whether lines become events.
    ///
    /// # Errors
    /// As [`Cx::exec`].
    pub fn exec_with(
        &self,
        command: &Command,
        tell: bool,
        watch: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<Exit> {
        let run = self.lane.run();
        if self.lane.inside() == Some(Inside::Looking) && !command.reads {
            return Err(Failure::new(
                Kind::Input,
                format!("`{}` would change the target, but this only looks", command.display()),
            )
            .into());
        }
        let fenced;
        let command = if command.reads {
            command
        } else {
            self.touch();
            fenced = self.fence(command);
            &fenced
        };
        let (mut out, mut err) = (Lines::default(), Lines::default());
        let call = self.call.to_string();
        let given = self.tied(command)?;
        let result = self.target.transport.exec(&given, &run.cancel, &mut |stream, bytes| {
            watch(stream, bytes);
            if tell {
                let lines = if stream == Stream::Out { &mut out } else { &mut err };
                lines.push(bytes, |line| self.tell_line(&call, stream, line));
            }
        });
        if tell {
            out.finish(|line| self.tell_line(&call, Stream::Out, line));
            err.finish(|line| self.tell_line(&call, Stream::Err, line));
        }
        let exit = result.map_err(|error| self.failed(error, Some(command)))?;
        self.notice_reboot();
        self.passed(command, &exit)?;
        Ok(exit)
    }

    /// Tells the operator if the target was rebooted since the last command, and forgets what was found out about it.
    fn notice_reboot(&self) {
        let Some(boot) = self.target.transport.boot_id() else { return };
        let mut known = self.target.boot.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref() == Some(&boot) {
            return;
        }
        let before = known.replace(boot);
        drop(known);
        if before.is_some() {
            self.target.cache.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.lane.emit(What::Warning { text: self.target.rebooted() });
        }
    }

    pub(super) fn tell_line(&self, call: &str, stream: Stream, line: &str) {
        let line = self.lane.run().redactor.text(line);
        self.lane.emit(What::Output { call: call.to_owned(), error: stream == Stream::Err, line });
    }

    /// Runs one of our own constant shell scripts that only reads, and returns its standard output.
    ///
    /// # Errors
    /// A failure of kind `exit` if its status is not 0.
    pub fn read_script<S: Into<String>>(
        &self,
        script: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        let command = Command::script(script, arguments).reading();
        let exit = self.quiet(&command)?;
        if exit.success() { Ok(exit.out()) } else { Err(self.exit_failure(&command, &exit).into()) }
    }

    /// Runs one of our own constant shell scripts that changes something, and returns its standard output. After a lost
    /// connection what is left of it is ended, for it is given again; and its standard input may have ended early, which
    /// it must notice.
    ///
    /// # Errors
    /// A failure of kind `exit` if its status is not 0.
    pub fn change_script<S: Into<String>>(
        &self,
        script: &str,
        arguments: impl IntoIterator<Item = S>,
        stdin: &[u8],
    ) -> Result<String> {
        let command = Command::script(script, arguments).stdin(stdin).tied(Duration::ZERO);
        let exit = self.quiet(&command)?;
        if exit.success() { Ok(exit.out()) } else { Err(self.exit_failure(&command, &exit).into()) }
    }

    /// Makes the failure that says how a command ended, with the tails of its output.
    pub fn exit_failure(&self, command: &Command, exit: &Exit) -> Failure {
        let stderr = tail(&exit.stderr);
        let said = stderr
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default()
            .trim()
            .to_owned();
        let how = match &exit.ended {
            crate::transport::Ended::Code(code) => format!("ended with status {code}"),
            crate::transport::Ended::Signal(name) => format!("was ended by signal {name}"),
        };
        let program = short(&command.display());
        let message = if said.is_empty() {
            format!("`{program}` {how}")
        } else {
            format!("`{program}` {how}: {said}")
        };
        let mut failure = Failure::new(Kind::Exit, message).with_target(&self.target.name);
        failure.command = Some(command.display());
        failure.code = Some(exit.code());
        failure.stdout = tail(&exit.stdout);
        failure.stderr = stderr;
        failure
    }

    /// Remembers that this run changed something on the target, so that it is cleaned up in the end.
    pub(super) fn touch(&self) {
        self.touch_as(None);
    }

    /// As `touch`, for what another user left there.
    pub fn touch_as(&self, sudo: Option<&Sudo>) {
        let touched = Touched { target: Arc::clone(&self.target), sudo: sudo.cloned() };
        self.lane
            .run()
            .touched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((self.target.name.clone(), user_of(sudo)), touched);
    }

    /// Opens a TCP connection as seen from the target. An interrupt ends the wait for it.
    ///
    /// # Errors
    /// A failure of kind `connect`, marked as lost only if it is the target itself that cannot be reached.
    pub fn connect(&self, host: &str, port: u16, timeout: Duration) -> Result<Box<dyn Connection>> {
        let cancel = &self.lane.run().cancel;
        let transport = Arc::clone(&self.target.transport);
        let (sender, answer) = std::sync::mpsc::sync_channel(1);
        let name = host.to_owned();
        // A thread of its own: looking up a name and connecting block beyond what a signal reaches.
        std::thread::spawn(move || drop(sender.send(transport.connect(&name, port, timeout))));
        let error = loop {
            match answer.recv_timeout(Duration::from_millis(20)) {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => break error,
                Err(_) if cancel.is_cancelled() => return Err(Stop::Cancelled.into()),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(Failure::new(Kind::Connect, "the connection was not made").into());
                }
            }
        };
        let behind = matches!(error, TransportError::Connect { .. });
        if behind {
            // That nothing listens there says nothing about the way to the target.
            self.reachable()?;
        }
        let mut halt = self.failed(error, None);
        if let (Halt::Failure(failure), true) = (&mut halt, behind) {
            failure.lost = false;
        }
        Err(halt)
    }

    /// Makes sure that the way to the target stands, after something behind it did not answer.
    ///
    /// # Errors
    /// The failure, marked as lost, that says why it does not.
    pub fn reachable(&self) -> Result<()> {
        self.quiet(&Command::list(["true"]).reading()).map(drop)
    }

    pub(super) fn failed(&self, error: TransportError, command: Option<&Command>) -> Halt {
        let message = error.to_string();
        let (kind, hint, lost) = match error {
            TransportError::Cancelled => return Stop::Cancelled.into(),
            TransportError::Connect { hint, .. } => (Kind::Connect, hint, true),
            TransportError::Lost { .. } => (Kind::Connect, None, true),
            TransportError::NoShell { .. } => (Kind::Connect, None, false),
            TransportError::Auth { hint, .. } | TransportError::HostKey { hint, .. } => {
                (Kind::Auth, hint, false)
            }
            TransportError::Timeout { .. } => (Kind::Timeout, None, false),
            TransportError::ReadOnly { .. } | TransportError::Invalid(_) => {
                (Kind::Input, None, false)
            }
        };
        let message = match (kind, command) {
            (Kind::Timeout, Some(command)) => format!("`{}` {message}", short(&command.display())),
            _ => message,
        };
        let mut failure = Failure::new(kind, message).with_target(&self.target.name);
        failure.hint = hint;
        failure.command = command.map(Command::display);
        failure.lost = lost;
        failure.into()
    }

    /// Sleeps, unless interrupted.
    ///
    /// # Errors
    /// [`Stop::Cancelled`].
    pub fn sleep(&self, duration: Duration) -> Result<()> {
        if self.lane.run().cancel.sleep(duration) { Err(Stop::Cancelled.into()) } else { Ok(()) }
    }

    /// Returns the time.
    pub fn now(&self) -> Timestamp {
        self.lane.run().clock.now()
    }

    /// Tells where the call stands.
    pub fn progress(&self, progress: Progress) {
        self.lane.emit(What::CallProgress { call: self.call.to_string(), progress });
    }

    /// Warns the operator.
    pub fn warn(&self, text: impl Into<String>) {
        let text = self.lane.run().redactor.text(&text.into());
        self.lane.emit(What::Warning { text });
    }

    /// Returns a secret, hidden from everything that is written from now on.
    ///
    /// # Errors
    /// As [`Secrets::reveal`].
    pub fn secret(&self, reference: &SecretRef) -> Result<Secret> {
        self.lane.run().reveal(&reference.name)
    }

    /// Calls a verb of the application's adapter.
    ///
    /// # Errors
    /// What the adapter throws; `input` if it does not have the verb.
    pub fn adapter(&self, app: &App, verb: &str, arguments: &[Value]) -> Result<Value> {
        let Some(adapters) = self.lane.run().adapters.get() else {
            return Err(Failure::input("no adapters are loaded").into());
        };
        adapters.call(self.lane, app, verb, arguments)
    }

    /// Returns the directory on the target for what this run must keep there until it ends, as shell text relative to
    /// nothing: it holds `$(id -u)`.
    pub fn spool(&self) -> String {
        format!("/var/tmp/upgrade-host-$(id -u)/{}", self.lane.run().id)
    }

    /// Returns a name for this call that is safe in a file name on the target.
    pub fn file_stem(&self) -> String {
        stem(&self.call.to_string())
    }

    /// Returns whether this call is a part of another action, with no record of its own.
    pub fn is_nested(&self) -> bool {
        self.call.nth == 0
    }
}

/// Names the user who commands with this `sudo` run as; nothing stands for the one who logs in, or the target's own `sudo`.
pub(super) fn user_of(sudo: Option<&Sudo>) -> String {
    sudo.map(|sudo| sudo.user.clone().unwrap_or_else(|| "root".to_owned())).unwrap_or_default()
}

/// Returns a name for a text that is safe in a file name.
pub(super) fn stem(text: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(String::new(), |mut stem, byte| {
        let _infallible = write!(stem, "{byte:02x}");
        stem
    })
}

impl Run {
    /// Returns a secret by name, hidden from everything that is written from now on.
    ///
    /// # Errors
    /// As [`Secrets::reveal`].
    pub fn reveal(&self, name: &str) -> Result<Secret> {
        let secret = self.secrets.reveal(name)?;
        self.redactor.add(&secret);
        Ok(secret)
    }
}

/// How much of a command's output a failure carries.
const TAIL: usize = 8 << 10;

/// Returns the last part of `bytes` as text, from the beginning of a line.
pub fn tail(bytes: &[u8]) -> String {
    let start = bytes.len().saturating_sub(TAIL);
    let text = String::from_utf8_lossy(&bytes[start..]);
    if start == 0 {
        return text.into_owned();
    }
    text.find('\n').map_or_else(|| text.clone().into_owned(), |line| text[line + 1..].to_owned())
}

/// Returns a command line short enough for a sentence; our own scripts by their first line.
fn short(command: &str) -> String {
    let line = command.trim().lines().next().unwrap_or_default();
    if line.chars().count() > 80 || command.trim().lines().count() > 1 {
        format!("{}…", line.chars().take(80).collect::<String>())
    } else {
        line.to_owned()
    }
}

/// Cuts a stream into lines.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        self.0.extend_from_slice(bytes);
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.0.drain(..=end).collect();
            each(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        }
        // A line without end must not grow us without bound.
        if self.0.len() > 64 << 10 {
            let line = std::mem::take(&mut self.0);
            each(&String::from_utf8_lossy(&line));
        }
    }

    pub(super) fn finish(self, mut each: impl FnMut(&str)) {
        if !self.0.is_empty() {
            each(String::from_utf8_lossy(&self.0).trim_end_matches('\r'));
        }
    }
}
