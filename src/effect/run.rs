//! A run as the effect layer sees it: what it is for, and where its secrets, targets and adapters come from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ask::Asker;
use super::beside::Beside;
use super::deadman::Switches;
use super::lane::{App, Lane};
use super::lock::Locks;
use super::obligation::Obligations;
use super::off::SwitchedOff;
use super::redact::Redactor;
use super::registry::Registry;
use super::target::{ServiceCommands, Target, Targets};
use crate::error::Result;
use crate::event::Event;
use crate::journal::{Cursor, Store};
use crate::secret::Secret;
use crate::transport::{Cancel, Sudo};

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
