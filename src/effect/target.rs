//! The servers that runs act on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Result;
use crate::transport::SharedTransport;

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

    /// Says that it was rebooted, for people.
    pub(super) fn rebooted(&self) -> String {
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
