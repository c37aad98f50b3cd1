//! The vocabulary of channels: what a libssh2 operation can come to, what can be asked of a session, and what the one
//! who asked gets to see.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use libssh2_sys as raw;
use ssh2::{ErrorCode, Session};

use super::session::waits_to_send;
use crate::transport::{Stream, Streams};

/// What a libssh2 operation came to.
pub(super) enum Try<T> {
    Done(T),
    /// Something must arrive first.
    Wait,
    /// It could not send all; it must be repeated before anything else.
    Blocked,
    /// The server said no, or the channel is closed.
    Refused(String),
    /// The session is lost.
    Dead(String),
}

/// Sorts the result of an operation.
pub(super) fn retry<T>(session: &Session, result: Result<T, ssh2::Error>) -> Try<T> {
    match result {
        Ok(value) => Try::Done(value),
        Err(error) => classify(session, &error),
    }
}

/// Sorts the error of an operation.
pub(super) fn classify<T>(session: &Session, error: &ssh2::Error) -> Try<T> {
    let message = error.message().to_owned();
    match error.code() {
        ErrorCode::Session(raw::LIBSSH2_ERROR_EAGAIN) if waits_to_send(session) => Try::Blocked,
        ErrorCode::Session(raw::LIBSSH2_ERROR_EAGAIN) => Try::Wait,
        ErrorCode::Session(
            raw::LIBSSH2_ERROR_CHANNEL_CLOSED
            | raw::LIBSSH2_ERROR_CHANNEL_EOF_SENT
            | raw::LIBSSH2_ERROR_CHANNEL_FAILURE
            | raw::LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED
            | raw::LIBSSH2_ERROR_REQUEST_DENIED
            | raw::LIBSSH2_ERROR_CHANNEL_UNKNOWN
            | raw::LIBSSH2_ERROR_INVAL,
        ) => Try::Refused(message),
        ErrorCode::Session(
            raw::LIBSSH2_ERROR_SOCKET_DISCONNECT
            | raw::LIBSSH2_ERROR_SOCKET_RECV
            | raw::LIBSSH2_ERROR_SOCKET_SEND,
        ) => Try::Dead("the connection was closed by the other side or broke".to_owned()),
        ErrorCode::Session(
            code @ (raw::LIBSSH2_ERROR_INVALID_MAC
            | raw::LIBSSH2_ERROR_DECRYPT
            | raw::LIBSSH2_ERROR_OUT_OF_BOUNDARY
            | raw::LIBSSH2_ERROR_PROTO),
        ) => Try::Dead(format!(
            "what arrived is not what the server sent, it was changed on the way: {message} (libssh2 error {code})"
        )),
        ErrorCode::Session(code) => Try::Dead(format!("{message} (libssh2 error {code})")),
        ErrorCode::SFTP(code) => Try::Dead(format!("{message} (sftp error {code})")),
    }
}

/// Sorts the result of reading from or writing to a channel.
pub(super) fn retry_io<T>(session: &Session, result: io::Result<T>) -> Try<T> {
    match result {
        Ok(value) => Try::Done(value),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && waits_to_send(session) => {
            Try::Blocked
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Try::Wait,
        // The conversion to an I/O error loses the code; the session remembers it.
        Err(error) => match ssh2::Error::last_session_error(session) {
            Some(last) => classify(session, &last),
            None => Try::Dead(error.to_string()),
        },
    }
}

/// What the one who waits for a command gets to see. The queue ending without [`Event::Closed`] means that the
/// command was refused ([`Shared::refused`]) or the session lost.
pub(super) enum Event {
    Output(Stream, Vec<u8>),
    /// The server closed the channel. A status of 0 may also mean that it sent none.
    Closed {
        status: i32,
        signal: Option<String>,
    },
}

/// What both sides of a job look at.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The command is known to have ended.
    pub(super) ended: AtomicBool,
    /// The queue was full: whoever takes from it must say so.
    pub(super) stalled: AtomicBool,
    /// The request has gone out, or part of it.
    pub(super) started: AtomicBool,
    /// Nobody waits any more. Who sets this and then finds `started` unset knows that it never will be.
    pub(super) forgotten: AtomicBool,
    refused: Mutex<Option<String>>,
}

impl Shared {
    /// Returns why the server refused it.
    pub(super) fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn refuse(&self, why: String) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }
}

/// A command to run.
pub(super) struct ExecJob {
    pub(super) line: String,
    pub(super) stdin: Vec<u8>,
    /// What it is joined to; standard output is no event then.
    pub(super) streams: Option<Streams>,
    pub(super) events: mpsc::SyncSender<Event>,
    pub(super) shared: Arc<Shared>,
    /// Goes before all others, and beyond the usual number of channels.
    pub(super) urgent: bool,
    /// How often the server refused a channel for it.
    pub(super) refusals: usize,
}

/// A TCP connection to open from the server, and the socket it is joined to.
pub(super) struct TunnelJob {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) socket: Arc<OwnedFd>,
    pub(super) opened: mpsc::SyncSender<Result<(), String>>,
}

pub(super) enum Job {
    Exec(ExecJob),
    Tunnel(TunnelJob),
}

impl Job {
    pub(super) fn is_urgent(&self) -> bool {
        matches!(self, Self::Exec(job) if job.urgent)
    }

    pub(super) fn is_forgotten(&self) -> bool {
        matches!(self, Self::Exec(job) if job.shared.forgotten.load(Ordering::SeqCst))
    }

    pub(super) fn refuse(self, why: String) {
        match self {
            Self::Exec(job) => job.shared.refuse(why),
            Self::Tunnel(job) => drop(job.opened.try_send(Err(why))),
        }
    }
}
