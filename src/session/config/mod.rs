//! `upgrade-host.toml`: targets, services, the application, defaults. Read from one file or merged from three, checked as
//! a whole, with every mistake shown where it stands. Secrets are here by reference only.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::secrets::Reference;
use crate::effect::{App, ServiceCommands};

mod environment;
mod error;
mod jump;
pub(super) mod ranges;
mod read;
mod tree;
mod walk;

pub use environment::Environment;
pub use error::{ConfigError, ConfigErrors};
pub(super) use jump::Hop;
use tree::{Source, Table, Tree};
use walk::Walk;

/// The name of the file.
pub const FILE: &str = "upgrade-host.toml";
/// How long connecting may take where nothing else is said.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a server may be silent where nothing else is said.
pub const SILENCE: Duration = Duration::from_secs(13);
/// The shortest silence that can be set.
pub const SHORTEST_SILENCE: Duration = Duration::from_secs(3);

/// The configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The files that it was read from, in the order in which they count.
    pub files: Vec<PathBuf>,
    /// The servers by name, defaults and jumps filled in.
    pub targets: BTreeMap<String, TargetConfig>,
    /// What a target has that is not configured but named by its address.
    pub template: TargetConfig,
    /// Own commands of services, by name.
    pub services: BTreeMap<String, ServiceCommands>,
    /// The application.
    pub app: Option<App>,
    /// What counts where nothing else is said.
    pub defaults: Defaults,
    /// The references of `[targets]` and `[app]`, by the names under which they are revealed.
    pub secrets: BTreeMap<String, Reference>,
    /// What is not wrong, but unsafe.
    pub warnings: Vec<String>,
}

/// What counts where neither the command line nor the runbook says otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Defaults {
    /// The selector of targets.
    pub on: Option<String>,
    /// How long a broken connection is tried again before the run pauses.
    pub reconnect: Option<Duration>,
    /// The directory of the journal.
    pub state: Option<PathBuf>,
    /// The name of the operator.
    pub operator: Option<String>,
    /// Parameters of runbooks.
    pub params: BTreeMap<String, Value>,
    /// What Ctrl-C does.
    pub interrupt: Option<Interrupt>,
}

/// What Ctrl-C does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interrupt {
    /// Asks the operator.
    Ask,
    /// Pauses the run.
    Pause,
    /// Rolls the run back.
    Rollback,
}

/// A server as configured, complete in itself: a factory of transports needs nothing else but the secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetConfig {
    /// The name.
    pub name: String,
    /// Whether it is this machine; then nothing about ssh counts.
    #[serde(default)]
    pub local: bool,
    /// Host name or address.
    pub address: String,
    /// Port.
    pub port: u16,
    /// The user to log in as.
    pub user: String,
    /// Private key files; if none, the usual ones.
    #[serde(default)]
    pub identities: Vec<PathBuf>,
    /// Files of known host keys; if none, the usual ones.
    #[serde(default)]
    pub known_hosts: Vec<PathBuf>,
    /// The fingerprint that the host key must have.
    #[serde(default)]
    pub host_key: Option<String>,
    /// The name under which the host key is known.
    #[serde(default)]
    pub host_key_alias: Option<String>,
    /// The hops in between, outermost first; their own jumps are already in this list.
    #[serde(default)]
    pub jump: Vec<TargetConfig>,
    /// How commands become another user.
    #[serde(default)]
    pub sudo: Option<SudoConfig>,
    /// The password to log in with.
    #[serde(default)]
    pub password: Option<Reference>,
    /// The passphrase of the private keys.
    #[serde(default)]
    pub passphrase: Option<Reference>,
    /// Whether the ssh agent is asked.
    pub agent: bool,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the server may be silent, though asked whether it lives, before its connection counts as lost.
    #[serde(default = "silence")]
    pub silence: Duration,
    /// Whether OpenSSH's client configuration counts for what is not set here.
    #[serde(default)]
    pub ssh_config: SshConfig,
    /// What of the above is set rather than usual.
    #[serde(default)]
    pub given: BTreeSet<Given>,
    /// The tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Parameters of runbooks on this target.
    #[serde(default)]
    pub params: BTreeMap<String, Value>,
}

/// What runs begun by an earlier version have.
fn silence() -> Duration {
    SILENCE
}

/// Which client configuration of OpenSSH counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SshConfig {
    /// The user's and the system's.
    #[default]
    Usual,
    /// None.
    Off,
    /// This file.
    File(PathBuf),
}

/// A setting of a connection that counts over OpenSSH's configuration, once it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Given {
    /// The port.
    Port,
    /// The user.
    User,
    /// Whether the agent is asked.
    Agent,
    /// How long connecting may take.
    ConnectTimeout,
}

/// How commands become another user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SudoConfig {
    /// The user; root if none.
    #[serde(default)]
    pub user: Option<String>,
    /// The password that sudo asks for.
    #[serde(default)]
    pub password: Option<Reference>,
}

impl TargetConfig {
    /// Makes a target with the usual settings.
    pub fn new(name: impl Into<String>, user: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            local: name == "local",
            address: name.clone(),
            name,
            port: 22,
            user: user.into(),
            identities: Vec::new(),
            known_hosts: Vec::new(),
            host_key: None,
            host_key_alias: None,
            jump: Vec::new(),
            sudo: None,
            password: None,
            passphrase: None,
            agent: true,
            connect_timeout: CONNECT_TIMEOUT,
            silence: SILENCE,
            ssh_config: SshConfig::Usual,
            given: BTreeSet::new(),
            tags: Vec::new(),
            params: BTreeMap::new(),
        }
    }

    /// Returns the name under which the login password is revealed.
    pub fn password_name(&self) -> String {
        format!("targets.{}.password", self.name)
    }

    /// Returns the name under which the passphrase of the keys is revealed.
    pub fn passphrase_name(&self) -> String {
        format!("targets.{}.passphrase", self.name)
    }

    /// Returns the name under which the password for sudo is revealed.
    pub fn sudo_password_name(&self) -> String {
        format!("targets.{}.sudo.password", self.name)
    }

    /// Returns the references that reaching this target needs, by the names under which they are revealed.
    pub fn secrets(&self) -> BTreeMap<String, Reference> {
        let mut found = BTreeMap::new();
        for hop in self.jump.iter().chain([self]) {
            let sudo = hop.sudo.as_ref().and_then(|sudo| sudo.password.clone());
            for (name, reference) in [
                (hop.password_name(), hop.password.clone()),
                (hop.passphrase_name(), hop.passphrase.clone()),
                (hop.sudo_password_name(), sudo),
            ] {
                found.extend(reference.map(|reference| (name, reference)));
            }
        }
        found
    }
}

impl Config {
    /// Returns the configuration of a machine that has no file.
    pub fn empty(env: &Environment) -> Self {
        Self {
            files: Vec::new(),
            targets: BTreeMap::new(),
            template: TargetConfig::new("", env.user()),
            services: BTreeMap::new(),
            app: None,
            defaults: Defaults::default(),
            secrets: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }

    /// Reads the file `explicit`, or else merges the machine's, the user's and the directory's as far as they exist;
    /// later ones win key by key.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(explicit: Option<&Path>, env: &Environment) -> Result<Self, ConfigErrors> {
        let mut sources = Sources::default();
        match explicit {
            Some(path) => sources.open(path, env, true),
            None => {
                for path in Self::places(env) {
                    sources.open(&path, env, false);
                }
            }
        }
        sources.finish(env)
    }

    /// Returns where files are looked for, in the order in which they count.
    pub fn places(env: &Environment) -> Vec<PathBuf> {
        let user = env.config_home().map(|dir| dir.join("upgrade-host").join(FILE));
        let mut places: Vec<PathBuf> = [Some(env.etc.join(FILE)), user, Some(env.dir.join(FILE))]
            .into_iter()
            .flatten()
            .collect();
        places.dedup();
        places
    }

    /// Reads a configuration from text, as if it stood in the file `path`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, path: &Path, env: &Environment) -> Result<Self, ConfigErrors> {
        let mut sources = Sources::default();
        sources.add(text.to_owned(), path, env);
        sources.finish(env)
    }
}

/// The files as they are read.
#[derive(Default)]
struct Sources {
    files: Vec<Source>,
    modes: Vec<u32>,
    errors: Vec<ConfigError>,
}

impl Sources {
    fn open(&mut self, path: &Path, env: &Environment, explicit: bool) {
        let shown = path.strip_prefix(&env.dir).unwrap_or(path);
        match read_file(path, shown, env, explicit) {
            Ok(Some((text, mode))) => {
                self.add(text, shown, env);
                if let Some(last) = self.modes.last_mut() {
                    *last = mode;
                }
            }
            Ok(None) => {}
            Err(error) => self.errors.push(*error),
        }
    }

    fn add(&mut self, text: String, path: &Path, env: &Environment) {
        let dir = env.dir.join(path.parent().unwrap_or(Path::new("")));
        self.files.push(Source { path: path.to_owned(), dir, text });
        self.modes.push(0);
    }

    fn finish(mut self, env: &Environment) -> Result<Config, ConfigErrors> {
        let mut root = Table::new();
        for (number, source) in self.files.iter().enumerate() {
            match tree::parse(source, number) {
                Ok(table) => {
                    drop_other_app(&mut root, &table);
                    tree::merge(&mut root, table);
                }
                Err(errors) => self.errors.extend(errors),
            }
        }
        // What else is wrong cannot be told from a part of the files.
        if !self.errors.is_empty() {
            return Err(ConfigErrors(self.errors));
        }
        let mut walk = Walk::new(&self.files, env);
        let mut config = read::config(&mut walk, &root, env);
        let referring: BTreeSet<usize> = walk.referring().clone();
        let errors = walk.finish();
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        for number in referring {
            if self.modes.get(number).is_some_and(|mode| mode & 0o020 != 0) {
                let path = self.files[number].path.display();
                config.warnings.push(format!(
                    "`{path}` says where secrets come from, and its group can write it; close it with `chmod g-w {path}`"
                ));
            }
        }
        config.files = self.files.into_iter().map(|source| source.path).collect();
        Ok(config)
    }
}

/// Reads a file with its mode; none if there is none and there need not be.
fn read_file(
    path: &Path,
    shown: &Path,
    env: &Environment,
    explicit: bool,
) -> Result<Option<(String, u32)>, Box<ConfigError>> {
    let failed = |message: String| Box::new(ConfigError::whole(shown, message));
    let cannot = |error: std::io::Error| failed(format!("cannot read this file: {error}"));
    let file = match std::fs::File::open(env.dir.join(path)) {
        Ok(file) => file,
        Err(error) if !explicit && absent(&error) => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    let metadata = file.metadata().map_err(cannot)?;
    let mode = if metadata.is_file() { metadata.mode() } else { 0 };
    if mode & 0o002 != 0 {
        let hint = format!("Take the right away with `chmod o-w {}`.", shown.display());
        let error = failed("every user of this machine can write this file".to_owned());
        return Err(Box::new(error.with_hint(Some(hint))));
    }
    if !explicit && metadata.is_file() && !env.trusts(metadata.uid()) {
        let hint = format!("Name it with `--config {}` if you trust it.", shown.display());
        let message = format!(
            "this file belongs to another user (id {}), who could have any command run",
            metadata.uid()
        );
        return Err(Box::new(failed(message).with_hint(Some(hint))));
    }
    let mut bytes = Vec::new();
    file.take(tree::LARGEST + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > tree::LARGEST {
        let largest = crate::units::say_size(tree::LARGEST);
        return Err(failed(format!("this file is larger than {largest}")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..good].split(|byte| *byte == b'\n').count();
        failed(format!("this file is not UTF-8 text: the first bad byte is in line {line}"))
    })?;
    Ok(Some((text, mode)))
}

fn absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// The settings of one adapter mean nothing to another: a later file that names another begins anew.
fn drop_other_app(under: &mut Table, over: &Table) {
    let adapter = |table: &Table| match &table.get("app")?.node.tree {
        Tree::Table(app) => match &app.get("adapter")?.node.tree {
            Tree::Text(name) => Some(name.clone()),
            _ => None,
        },
        _ => None,
    };
    if let (Some(below), Some(above)) = (adapter(under), adapter(over))
        && below != above
    {
        under.remove("app");
    }
}

/// Returns whether the value of a key with this name is a secret by the looks of it.
pub(super) fn looks_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    let ends = |word: &str| {
        key.strip_suffix(word).is_some_and(|rest| rest.is_empty() || rest.ends_with('_'))
    };
    ["password", "passwd", "passphrase", "secret", "token", "api_key"].into_iter().any(ends)
}

#[cfg(test)]
mod tests;
