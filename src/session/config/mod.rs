//! `upgrade-host.toml`: targets, services, the application, defaults. Read from one file or merged from three, checked as
//! a whole, with every mistake shown where it stands. Secrets are here by reference only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::secrets::Reference;
use crate::effect::{App, ServiceCommands};
use crate::transport::Cancel;

mod environment;
mod error;
mod files;
mod inventories;
mod jump;
pub(super) mod ranges;
mod read;
mod tree;
mod walk;

pub use environment::Environment;
pub use error::{ConfigError, ConfigErrors};
use files::Sources;
use inventories::Declared;
pub(super) use jump::Hop;
use tree::{Source, Table};
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
    /// What is not wrong, but unsafe or left out.
    pub warnings: Vec<String>,
    /// What `[inventory]` names, not yet read; then the targets are not complete.
    inventories: Vec<Declared>,
    /// What is needed to read the targets again once the inventories are known; nothing without any.
    again: Option<Arc<Again>>,
}

/// What the targets are read from, together with inventories.
#[derive(Debug)]
struct Again {
    files: Vec<Source>,
    targets: Table,
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
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub local: bool,
    /// Host name or address.
    pub address: String,
    /// Port.
    pub port: u16,
    /// The user to log in as.
    pub user: String,
    /// Private key files; if none, the usual ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<PathBuf>,
    /// Files of known host keys; if none, the usual ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known_hosts: Vec<PathBuf>,
    /// The fingerprint that the host key must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
    /// The name under which the host key is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key_alias: Option<String>,
    /// The hops in between, outermost first; their own jumps are already in this list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jump: Vec<TargetConfig>,
    /// How commands become another user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sudo: Option<SudoConfig>,
    /// The password to log in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Reference>,
    /// The passphrase of the private keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub given: BTreeSet<Given>,
    /// The tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Parameters of runbooks on this target.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
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
            inventories: Vec::new(),
            again: None,
        }
    }

    /// Returns whether targets are listed by inventories; then `targets` and their `secrets` are there only in what
    /// [`complete`](Self::complete) returns.
    pub fn has_inventories(&self) -> bool {
        !self.inventories.is_empty()
    }

    /// Reads the inventories, files and answers of commands, and returns the configuration with all targets. Its warnings
    /// are those about the inventories alone.
    ///
    /// # Errors
    /// Everything that is wrong with them, and commands that do not answer.
    pub fn complete(&self, env: &Environment, cancel: &Cancel) -> Result<Self, ConfigErrors> {
        let Some(again) = &self.again else { return Ok(self.clone()) };
        let mut sources = Sources::default();
        for file in &again.files {
            sources.push(file.clone(), 0);
        }
        let found =
            inventories::read(&self.inventories, &mut sources, &again.targets, env, cancel)?;
        let mut targets = found.targets;
        tree::merge(&mut targets, again.targets.clone());
        let mut walk = Walk::new(&sources.files, env);
        let raw = read::targets(&mut walk, &targets, &self.template);
        let resolved = jump::resolve(&mut walk, raw, &self.template);
        let referring = walk.referring().clone();
        let errors = walk.finish();
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        let mut config = Self { inventories: Vec::new(), again: None, ..self.clone() };
        config.take(resolved);
        config.warnings = found.warnings;
        config.warnings.extend(sources.loose(&referring));
        Ok(config)
    }

    fn take(&mut self, targets: BTreeMap<String, TargetConfig>) {
        for target in targets.values() {
            self.secrets.extend(target.secrets());
        }
        self.targets = targets;
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
