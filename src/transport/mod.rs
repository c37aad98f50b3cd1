//! Ways to a target: this machine ([`Local`]) or another over ssh. A transport runs commands and opens TCP connections
//! from the target's side; everything else (files, services, logs) is built on these two, so that it is the same here
//! and there. It knows nothing of journals or scripts.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

pub mod cancel;
pub mod command;
mod group;
pub mod local;
mod marks;
pub mod quote;
pub mod readonly;
pub mod receipt;
pub mod rsh;
#[cfg(feature = "ssh")]
pub mod ssh;
mod streams;
pub mod sudo;

pub use cancel::Cancel;
pub use command::{Command, Fence, Sudo, Words};
pub use local::Local;
pub use streams::Streams;

/// One of the two output streams of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Code(i32),
    /// By a signal, named without `SIG`.
    Signal(String),
}

impl Ended {
    /// Reads a status as a shell reports it. One over 128 that fits a signal counts as that signal: a shell cannot tell
    /// them apart.
    pub fn of_shell(status: i32) -> Self {
        let name = match status - 128 {
            1 => "HUP",
            2 => "INT",
            3 => "QUIT",
            4 => "ILL",
            6 => "ABRT",
            7 => "BUS",
            8 => "FPE",
            9 => "KILL",
            10 => "USR1",
            11 => "SEGV",
            12 => "USR2",
            13 => "PIPE",
            14 => "ALRM",
            15 => "TERM",
            _ => return Self::Code(status),
        };
        Self::Signal(name.to_owned())
    }
}

/// The end of a command, with its output as far as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// How it ended.
    pub ended: Ended,
    /// Standard output; the first and last parts of it if it was more than [`KEPT_OUTPUT`].
    pub stdout: Vec<u8>,
    /// Standard error, likewise.
    pub stderr: Vec<u8>,
}

impl Exit {
    /// Returns whether the status was 0.
    pub fn success(&self) -> bool {
        self.ended == Ended::Code(0)
    }

    /// Returns the status, as a shell would report it (128 + n for a signal it knows the number of, else 255).
    pub fn code(&self) -> i32 {
        match &self.ended {
            Ended::Code(code) => *code,
            Ended::Signal(name) => match name.as_str() {
                "HUP" => 129,
                "INT" => 130,
                "QUIT" => 131,
                "ABRT" => 134,
                "KILL" => 137,
                "SEGV" => 139,
                "PIPE" => 141,
                "ALRM" => 142,
                "TERM" => 143,
                _ => 255,
            },
        }
    }

    /// Returns standard output as text, bytes that are not UTF-8 replaced.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// How many bytes of each output stream a command's [`Exit`] keeps at most. Watchers see all of it.
pub const KEPT_OUTPUT: usize = 16 << 20;

/// Called with each piece of output as it arrives.
pub type Watch<'a> = &'a mut dyn FnMut(Stream, &[u8]);

/// A connection opened from the target's side.
pub trait Connection: Read + Write + Send + fmt::Debug {
    /// Sets the longest time that one read or write may take.
    fn set_timeout(&mut self, timeout: Option<Duration>) -> std::io::Result<()>;
}

/// Why a transport could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The target could not be reached. Nothing was started.
    #[error("cannot reach {target}: {why}")]
    Connect {
        /// The target's name.
        target: String,
        /// The cause.
        why: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The target refused every way of logging in. Nothing was started.
    #[error("cannot log in to {target}: {why}")]
    Auth {
        /// The target's name.
        target: String,
        /// The ways that were tried.
        why: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The target's host key is not the one expected, unknown or revoked. Nothing was sent to it.
    #[error("{why}")]
    HostKey {
        /// The target's name.
        target: String,
        /// What is wrong, with the fingerprints.
        why: String,
        /// The exact line to add, or whom to ask.
        hint: Option<String>,
    },
    /// The server runs no commands as they are asked for. Nothing was started, and trying again is no use.
    #[error(
        "{target} did not run the command as asked (no POSIX shell, or a forced command){}",
        in_words(said)
    )]
    NoShell {
        /// The target's name.
        target: String,
        /// What it said instead; may be empty.
        said: String,
    },
    /// The connection broke while something was under way; whether it happened is not known.
    #[error("lost the connection to {target}: {why}")]
    Lost {
        /// The target's name.
        target: String,
        /// The cause.
        why: String,
    },
    /// The command ran longer than allowed; its whole process group was ended.
    #[error("timed out after {}", crate::units::say_duration(*after))]
    Timeout {
        /// The limit.
        after: Duration,
    },
    /// The operator cancelled; the command's whole process group was ended.
    #[error("cancelled")]
    Cancelled,
    /// The command is not one that only reads, and this transport is read-only.
    #[error("`{command}` would change the target, which plan mode does not do")]
    ReadOnly {
        /// The command.
        command: String,
    },
    /// The command cannot be expressed (a NUL in an argument, a bad variable name).
    #[error("{0}")]
    Invalid(String),
}

/// What a server said, as the end of a sentence.
fn in_words(said: &str) -> String {
    let plain: String = said.trim().chars().filter(|c| !c.is_control()).take(200).collect();
    if plain.is_empty() { plain } else { format!(": it said \"{plain}\"") }
}

/// A way to a target.
pub trait Transport: Send + Sync + fmt::Debug {
    /// Runs `command` to its end, calling `watch` with its output as it arrives.
    ///
    /// On timeout or cancel the command's whole process group is ended (TERM, then KILL) before this returns.
    ///
    /// # Errors
    /// See [`TransportError`]. A status other than 0 is not an error here.
    fn exec(
        &self,
        command: &Command,
        cancel: &Cancel,
        watch: Watch<'_>,
    ) -> Result<Exit, TransportError>;

    /// Makes the way to the target, unless it stands. Nothing is run there.
    ///
    /// # Errors
    /// Why it cannot be reached; see [`TransportError`].
    fn open(&self, _cancel: &Cancel) -> Result<(), TransportError> {
        Ok(())
    }

    /// Lets the way to the target go while nobody needs it; whoever does makes it again.
    fn close(&self) {}

    /// Opens a TCP connection to `host:port` as seen from the target.
    ///
    /// # Errors
    /// [`TransportError::Connect`] if nothing listens there.
    fn connect(
        &self,
        host: &str,
        port: u16,
        timeout: Duration,
    ) -> Result<Box<dyn Connection>, TransportError>;

    /// Returns where this leads, for people: `this machine`, `root@10.0.0.5:22`.
    fn describe(&self) -> String;

    /// Returns the address of the target that our own session uses, if there is one: the interface that carries it
    /// must not be taken down.
    fn own_address(&self) -> Option<std::net::IpAddr>;

    /// Returns the boot id that the target had at the last contact, if it is known: another one means that it was
    /// rebooted meanwhile.
    fn boot_id(&self) -> Option<String> {
        None
    }

    /// Returns a way to the same target that shares no connection with this one, so that its first use proves that one
    /// can be made; none if there are no connections to speak of.
    fn fresh(&self) -> Option<SharedTransport> {
        None
    }
}

/// A shared transport.
pub type SharedTransport = Arc<dyn Transport>;

/// Keeps the first and the last part of a stream, at most [`KEPT_OUTPUT`] bytes of it in all.
#[derive(Debug, Default)]
pub struct Kept {
    head: Vec<u8>,
    tail: std::collections::VecDeque<u8>,
    dropped: u64,
}

impl Kept {
    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        const HALF: usize = KEPT_OUTPUT / 2;
        let room = HALF.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        self.tail.extend(&bytes[room..]);
        let excess = self.tail.len().saturating_sub(HALF);
        self.tail.drain(..excess);
        self.dropped += excess as u64;
    }

    /// Returns what was kept; a line in the middle says what was not.
    pub fn finish(self) -> Vec<u8> {
        let mut bytes = self.head;
        if self.dropped > 0 {
            bytes
                .extend_from_slice(format!("\n[… {} bytes not kept …]\n", self.dropped).as_bytes());
        }
        bytes.extend(self.tail);
        bytes
    }
}
