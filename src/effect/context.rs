//! [`Cx`], what actions see of the world: the lane and the target they act on, through which they connect, wait, tell and
//! keep what the run needs there until its end.

use std::fmt::Write as _;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::lane::{App, Lane};
use super::run::{SecretRef, Touched};
use super::target::Target;
use crate::call::CallKey;
use crate::error::{Failure, Halt, Kind, Result, Stop};
use crate::event::{Progress, What};
use crate::secret::Secret;
use crate::transport::{Command, Connection, Sudo, TransportError};

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
        let (sender, answer) = sync_channel(1);
        let name = host.to_owned();
        // A thread of its own: looking up a name and connecting block beyond what a signal reaches.
        std::thread::spawn(move || drop(sender.send(transport.connect(&name, port, timeout))));
        let error = loop {
            match answer.recv_timeout(Duration::from_millis(20)) {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => break error,
                Err(_) if cancel.is_cancelled() => return Err(Stop::Cancelled.into()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
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
    /// As [`Run::reveal`](super::run::Run::reveal).
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
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(String::new(), |mut stem, byte| {
        let _infallible = write!(stem, "{byte:02x}");
        stem
    })
}
