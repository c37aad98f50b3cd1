//! The keys of an ssh agent.

use std::path::Path;
use std::rc::Rc;

use ssh2::{Agent, PublicKey, Session};

use super::certificate;

/// A key that an agent holds.
pub(super) struct AgentKey {
    agent: Rc<Agent>,
    key: PublicKey,
}

/// Lists what the agent at a socket holds.
///
/// # Errors
/// Why it cannot be asked.
pub(super) fn list(session: &Session, socket: &Path) -> Result<Vec<AgentKey>, String> {
    let keys = session.agent().and_then(|mut agent| {
        agent.set_identity_path(socket)?;
        agent.connect()?;
        agent.list_identities()?;
        let keys = agent.identities()?;
        let agent = Rc::new(agent);
        Ok(keys.into_iter().map(|key| AgentKey { agent: Rc::clone(&agent), key }).collect())
    });
    keys.map_err(|error: ssh2::Error| error.message().to_owned())
}

impl AgentKey {
    /// Returns the key, or the certificate, in the form that is sent.
    pub(super) fn blob(&self) -> &[u8] {
        self.key.blob()
    }

    /// Returns what it is, for people.
    pub(super) fn what(&self) -> String {
        let kind = if certificate::is_one(self.blob()) { "certificate" } else { "key" };
        format!("agent {kind} {}", self.key.comment())
    }

    /// Logs in with it.
    ///
    /// # Errors
    /// What libssh2 says.
    pub(super) fn log_in(&self, user: &str) -> Result<(), ssh2::Error> {
        self.agent.userauth(user, &self.key)
    }
}
