//! Targets over ssh, on libssh2 in non-blocking mode.
//!
//! A [`Ssh`] handle is cheap to clone and connects at its first use. The thread that needs the connection makes it
//! (`connect`, `host_key`, `auth`), then gives the session to one of a few reactor threads, which own all sessions and
//! channels from then on (`reactor`, `session`, `work`, `splice`); nothing else ever calls libssh2 on them. The threads that
//! wait for a command talk to the reactor through bounded queues (`exec`), so a slow reader holds back the remote
//! program instead of filling the memory.
//!
//! What a lost connection may have left on the target, running or still to be started, is ended over the next one before
//! anything else happens there (`orphan`).
//!
//! What libssh2 forces upon us, and where it is kept: an operation that could not send is finished before any other
//! begins (`session`); the status 0 that libssh2 reports for "no status yet" is not trusted, a line written by the
//! remote shell is (`exec`); known hosts are read by our own parser, since libssh2's knows neither globs nor revoked
//! keys (`known_hosts`).

use std::path::PathBuf;
use std::time::Duration;

use super::Sudo;
use crate::secret::Secret;

mod agent;
mod algorithms;
mod answers;
mod auth;
mod base64;
mod certificate;
mod channel;
pub mod client_config;
mod connect;
mod exec;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod handle;
mod host_key;
mod keys;
mod known_file;
mod known_hosts;
mod orphan;
mod reactor;
mod session;
mod splice;
#[cfg(test)]
mod tests;
mod work;

pub use algorithms::Algorithms;
#[cfg(any(test, fuzzing))]
pub use fuzz::fuzz;
pub use handle::Ssh;

/// A target and how to get there, as the configuration gives it.
#[derive(Clone, Debug)]
pub struct SshTarget {
    /// The target's name, for messages.
    pub name: String,
    /// Host name or address.
    pub address: String,
    /// Port.
    pub port: u16,
    /// The user to log in as.
    pub user: String,
    /// Private key files; if none, the usual ones below `~/.ssh`.
    pub identities: Vec<PathBuf>,
    /// Files of known host keys; if none, the user's and the system's.
    pub known_hosts: Vec<PathBuf>,
    /// The fingerprint that the host key must have, `SHA256:…`. Known hosts are not looked at then.
    pub host_key: Option<String>,
    /// The name under which the host key is known, instead of address and port.
    pub host_key_alias: Option<String>,
    /// The hops in between, outermost first.
    pub jump: Vec<SshTarget>,
    /// How to become another user, for every command that does not say so itself.
    pub sudo: Option<Sudo>,
    /// Password to log in with.
    pub password: Option<Secret>,
    /// Passphrase of encrypted private keys.
    pub passphrase: Option<Secret>,
    /// Which agent is asked for keys.
    pub agent: AgentSocket,
    /// Whether only those keys of the agent are tried that belong to `identities`.
    pub identities_only: bool,
    /// Certificates for the keys, besides those that lie beside them (`KEY-cert.pub`).
    pub certificates: Vec<PathBuf>,
    /// How to log in, most wanted first; what is not here is not tried.
    pub methods: Vec<Method>,
    /// Which algorithms may be used.
    pub algorithms: Algorithms,
    /// Which addresses of a name may be used; none allows both families.
    pub family: Option<Family>,
    /// Whether a person may be asked for passwords and passphrases.
    pub attended: bool,
    /// Whether a person may be asked about an unknown host key.
    pub ask_host_key: bool,
    /// What to add where a host key is refused that ssh itself would have taken.
    pub host_key_note: Option<String>,
    /// How long connecting and logging in may take, each hop by itself.
    pub connect_timeout: Duration,
    /// How long the server may be silent while something is under way, though it is asked whether it lives, before the
    /// connection counts as lost. A command that says nothing is no silence: the server answers for it.
    pub silence: Duration,
}

/// How long a server may be silent where nothing else is said.
pub const SILENCE: Duration = Duration::from_secs(13);

impl SshTarget {
    /// Makes a target with the usual port, keys, files and timeout.
    pub fn new(
        name: impl Into<String>,
        user: impl Into<String>,
        address: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
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
            agent: AgentSocket::Environment,
            identities_only: false,
            certificates: Vec::new(),
            methods: Method::ALL.to_vec(),
            algorithms: Algorithms::default(),
            family: None,
            attended: true,
            ask_host_key: true,
            host_key_note: None,
            connect_timeout: Duration::from_secs(15),
            silence: SILENCE,
        }
    }
}

/// Where the agent is that holds keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentSocket {
    /// Where `SSH_AUTH_SOCK` says.
    Environment,
    /// At this socket.
    At(PathBuf),
    /// No agent is asked.
    Off,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A key of the agent or of a file, with its certificates.
    PublicKey,
    /// A password.
    Password,
    /// Answers to what the server asks.
    KeyboardInteractive,
}

impl Method {
    /// All, in the order in which they are tried.
    pub const ALL: [Self; 3] = [Self::PublicKey, Self::Password, Self::KeyboardInteractive];

    /// Returns the name of the method in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::PublicKey => "publickey",
            Self::Password => "password",
            Self::KeyboardInteractive => "keyboard-interactive",
        }
    }
}

/// What only a person can answer. Called on the thread that connects, never on a reactor.
pub trait Questions: Send + Sync {
    /// Asks for a password or passphrase; none if nobody is there to answer.
    fn secret(&self, prompt: &str) -> Option<Secret>;
    /// Asks whether an unknown host key is the right one.
    fn trust_host_key(&self, target: &str, key_type: &str, fingerprint: &str) -> bool;
}

/// Answers nothing and trusts nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unattended;

impl Questions for Unattended {
    fn secret(&self, _prompt: &str) -> Option<Secret> {
        None
    }

    fn trust_host_key(&self, _target: &str, _key_type: &str, _fingerprint: &str) -> bool {
        false
    }
}
