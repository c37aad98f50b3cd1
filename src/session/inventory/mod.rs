//! The targets of a run: those of the configuration, `local`, and, where it is allowed, servers named by their address.
//! The ways to them are made when they are first needed, and shared.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::config::{Config, TargetConfig};
use crate::effect::{Target, Targets};
use crate::error::{Failure, Result};
use crate::secret::Secret;
use crate::transport::readonly::ReadOnly;
use crate::transport::{Local, SharedTransport, command};

mod choice;
mod select;
mod selector;
#[cfg(feature = "ssh")]
mod ssh;
mod sudo;

pub use choice::Choice;
#[cfg(feature = "ssh")]
pub use ssh::ssh_target;
pub use sudo::Sudo;

/// Makes the way to a target. It is called once per target and process, when the target is first used.
pub type Factory = Arc<dyn Fn(&TargetConfig) -> Result<SharedTransport> + Send + Sync>;

/// How a factory gets the values of secrets: by name.
pub type Reveal<'a> = &'a dyn Fn(&str) -> Result<Secret>;

/// What the journal keeps of an inventory, so that a run is resumed with the targets that it began with. References to
/// secrets are in it, values are not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The configured targets by name.
    pub targets: BTreeMap<String, TargetConfig>,
    /// What a target named by its address has.
    pub template: TargetConfig,
    /// Whether targets may be named by their address.
    #[serde(default)]
    pub ad_hoc: bool,
}

/// A slot for a target that is made when it is needed.
type Slot = Arc<Mutex<Option<Arc<Target>>>>;

/// The targets of a run.
pub struct Inventory {
    snapshot: Snapshot,
    factory: Factory,
    read_only: bool,
    made: Mutex<BTreeMap<String, Slot>>,
}

impl fmt::Debug for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inventory")
            .field("targets", &self.snapshot.targets.keys().collect::<Vec<_>>())
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

impl Inventory {
    /// Makes the inventory of a configuration. With `read_only`, every way lets only reads through.
    pub fn new(config: &Config, factory: Factory, read_only: bool) -> Self {
        let snapshot = Snapshot {
            targets: config.targets.clone(),
            template: config.template.clone(),
            ad_hoc: false,
        };
        Self::from_snapshot(snapshot, factory, read_only)
    }

    /// Makes the inventory that a run began with.
    pub fn from_snapshot(snapshot: Snapshot, factory: Factory, read_only: bool) -> Self {
        Self { snapshot, factory, read_only, made: Mutex::default() }
    }

    /// Allows targets that are not configured: `user@host[:port]`, an IP address, or a name with a dot, over ssh.
    #[must_use]
    pub fn allow_ad_hoc(mut self, allow: bool) -> Self {
        self.snapshot.ad_hoc = allow;
        self
    }

    /// Returns what the journal keeps.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Returns the configured targets, for listings.
    pub fn targets(&self) -> impl Iterator<Item = &TargetConfig> {
        self.snapshot.targets.values()
    }

    /// Returns what is configured for a target, without making a way to it.
    ///
    /// # Errors
    /// A failure of kind `input` with the nearest name.
    pub fn config(&self, name: &str) -> Result<TargetConfig> {
        self.snapshot.find(name)
    }

    fn make(&self, name: &str) -> Result<Target> {
        let config = self.snapshot.find(name)?;
        let mut transport = (self.factory)(&config)?;
        if self.read_only {
            transport = Arc::new(ReadOnly(transport));
        }
        let mut target = Target::new(name, transport);
        target.params = config.params;
        target.tags = config.tags;
        target.sudo = config.sudo.is_some();
        Ok(target)
    }
}

impl Targets for Inventory {
    fn get(&self, name: &str) -> Result<Arc<Target>> {
        let slot = {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(made.entry(name.to_owned()).or_default())
        };
        // Only this name waits while its way is made: it may ask the operator for a password.
        let mut target = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = &*target {
            return Ok(Arc::clone(target));
        }
        let new = Arc::new(self.make(name)?);
        *target = Some(Arc::clone(&new));
        Ok(new)
    }

    fn select(&self, selector: &str) -> Result<Vec<String>> {
        self.snapshot.select(selector)
    }
}

/// Makes the way to this machine, with sudo if the configuration says so: the local half of a [`Factory`].
///
/// # Errors
/// If the password for sudo cannot be had.
pub fn local(config: &TargetConfig, reveal: Reveal<'_>) -> Result<SharedTransport> {
    let Some(sudo) = sudo_of(config, reveal)? else { return Ok(Arc::new(Local)) };
    // Root needs no sudo to be root, and small systems do not have it.
    if rustix::process::geteuid().is_root() && sudo.user.as_deref().is_none_or(|u| u == "root") {
        return Ok(Arc::new(Local));
    }
    Ok(Arc::new(Sudo::new(Arc::new(Local), sudo)))
}

fn sudo_of(config: &TargetConfig, reveal: Reveal<'_>) -> Result<Option<command::Sudo>> {
    let Some(sudo) = &config.sudo else { return Ok(None) };
    let password = match &sudo.password {
        Some(_) => Some(reveal(&config.sudo_password_name())?),
        None => None,
    };
    Ok(Some(command::Sudo { user: sudo.user.clone(), password }))
}

fn unknown(message: String, hint: String) -> Failure {
    Failure::input(message).with_hint(hint)
}

#[cfg(test)]
mod tests;
