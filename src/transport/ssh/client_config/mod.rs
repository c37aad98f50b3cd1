//! What OpenSSH's client configuration says of a host, as `ssh -G` answers it: Host, Match, Include, tokens and all.
//! The program is asked once per host, when a target is first used, and not at all where no file says anything that
//! matters to a connection of ours. Where there is no such program, the files are read here.

use std::collections::HashMap;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

mod expand;
mod files;
mod keywords;
mod settings;
#[cfg(test)]
mod tests;
mod without;

pub use settings::{Hop, Settings};

use files::Said;

/// How long `ssh -G` may take; a `Match exec` or a name server that does not answer can hold it up.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const LARGEST: u64 = 1 << 20;
/// The program that is asked.
const PROGRAM: &str = "ssh";

/// Why the configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// What is wrong, and where.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Whom to ask about: what would be typed after `ssh`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The host, as it is written.
    pub host: String,
    /// The port, if it is said elsewhere.
    pub port: Option<u16>,
    /// The user, if it is said elsewhere.
    pub user: Option<String>,
}

type Slot = Arc<Mutex<Option<Settings>>>;
type Key = (Option<PathBuf>, Asked);

/// Returns what `file`, or else the user's and the system's files, say of a host.
///
/// # Errors
/// If a file cannot be read, `ssh` refuses it or is needed for it and not there, or a setting cannot be honoured.
pub fn lookup(file: Option<&Path>, asked: &Asked) -> Result<Settings, Unusable> {
    static KNOWN: Mutex<Option<HashMap<Key, Slot>>> = Mutex::new(None);
    let said = files::read(file)?;
    if said.relevant().is_none() {
        return Ok(Settings::default());
    }
    let slot = {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (said.argument.clone(), asked.clone());
        Arc::clone(known.get_or_insert_with(HashMap::new).entry(key).or_default())
    };
    // Many targets behind one bastion ask about it at the same moment; one of them runs the program.
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(settings) = &*slot {
        return Ok(settings.clone());
    }
    let settings = settings_of(PROGRAM, asked, &said)?;
    *slot = Some(settings.clone());
    Ok(settings)
}

fn settings_of(program: &str, asked: &Asked, said: &Said) -> Result<Settings, Unusable> {
    match ask(program, said.argument.as_deref(), asked, PATIENCE)? {
        Some(answer) => settings::read(&answer, defaults()?, asked, said),
        None => settings::read(&without::answer(asked, said)?, "", asked, said),
    }
}

/// Returns what `ssh` answers where no file says anything, to know what somebody has set.
fn defaults() -> Result<&'static str, Unusable> {
    static DEFAULTS: OnceLock<String> = OnceLock::new();
    if let Some(known) = DEFAULTS.get() {
        return Ok(known);
    }
    let nobody = Asked { host: "localhost".to_owned(), port: None, user: None };
    let answer = ask(PROGRAM, Some(Path::new("/dev/null")), &nobody, PATIENCE)?.unwrap_or_default();
    Ok(DEFAULTS.get_or_init(|| answer))
}

/// Runs `ssh -G`; returns nothing if there is no such program.
fn ask(
    program: &str,
    file: Option<&Path>,
    asked: &Asked,
    patience: Duration,
) -> Result<Option<String>, Unusable> {
    let mut command = Command::new(program);
    command.arg("-G");
    if let Some(file) = file {
        command.arg("-F").arg(file);
    }
    if let Some(port) = asked.port {
        command.args(["-p", &port.to_string()]);
    }
    if let Some(user) = &asked.user {
        command.args(["-l", user]);
    }
    // After `--` nothing is an option, whatever the host is called.
    command.args(["--", &asked.host]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What it runs for a `Match exec` ends with it.
    command.process_group(0);
    let failed = |message: String| Unusable {
        message,
        hint: "Correct ssh's configuration, or set `ssh_config = false` to leave it unread."
            .to_owned(),
    };
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(format!("cannot run `{program} -G`: {error}"))),
    };
    let (sender, outputs) = mpsc::channel();
    for (index, pipe) in [
        child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
    ]
    .into_iter()
    .enumerate()
    {
        let (sender, Some(pipe)) = (sender.clone(), pipe) else { continue };
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _what_came = pipe.take(LARGEST).read_to_end(&mut bytes);
            let _nobody_waits = sender.send((index, String::from_utf8_lossy(&bytes).into_owned()));
        });
    }
    let mut texts = [String::new(), String::new()];
    for _ in 0..2 {
        let Ok((index, text)) = outputs.recv_timeout(patience) else {
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _gone = kill_process_group(group, Signal::KILL);
            }
            let _reaped = child.wait();
            return Err(failed(format!(
                "`{program} -G {}` has not answered within {}",
                asked.host,
                crate::units::say_duration(patience)
            )));
        };
        texts[index] = text;
    }
    let [answer, complaint] = texts;
    match child.wait() {
        Ok(status) if status.success() => Ok(Some(answer)),
        _ => {
            let why = complaint.lines().next().unwrap_or("it does not say why").trim();
            let why: String = why.chars().filter(|c| !c.is_control()).collect();
            Err(failed(format!("`{program} -G {}` fails: {why}", asked.host)))
        }
    }
}
