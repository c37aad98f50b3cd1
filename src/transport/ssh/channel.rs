//! What runs on a channel: a command ([`Exec`]) or a tunnel ([`Tunnel`]). Each is a small machine that its session
//! steps; it does what can be done without waiting and says which operation could not send.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use libssh2_sys as raw;
use rustix::event::PollFlags;
use ssh2::{Channel, ErrorCode, Session};

use super::reactor::next_id;
use super::session::waits_to_send;
use crate::transport::Stream;

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
        ErrorCode::Session(code) => Try::Dead(format!("{message} (libssh2 error {code})")),
        ErrorCode::SFTP(code) => Try::Dead(format!("{message} (sftp error {code})")),
    }
}

fn retry_io<T>(session: &Session, result: io::Result<T>) -> Try<T> {
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

    fn refuse(&self, why: String) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }
}

/// A command to run.
pub(super) struct ExecJob {
    pub(super) line: String,
    pub(super) stdin: Vec<u8>,
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
    pub(super) socket: UnixStream,
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

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Progress,
    Idle,
    Blocked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    /// The server has sent its end of file; its status and its close are to come.
    Ending,
    Closing,
    Done,
}

/// The operations of a running channel, in the order in which they get their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Write,
    Eof,
    Out,
    Err,
}

enum Kind {
    Exec(Exec),
    Tunnel(Box<Tunnel>),
}

/// A job on its channel.
pub(super) struct Work {
    id: u64,
    channel: Channel,
    kind: Kind,
    phase: Phase,
    blocked: Option<Op>,
    eof: bool,
    sent: bool,
}

struct Exec {
    job: ExecJob,
    written: usize,
    eof_sent: bool,
    /// What did not fit into the queue.
    held: Option<Event>,
}

#[expect(clippy::struct_excessive_bools, reason = "two directions that end independently")]
struct Tunnel {
    socket: UnixStream,
    up: Buffer,
    up_eof: bool,
    eof_sent: bool,
    down: Buffer,
    down_ended: bool,
    hung_up: bool,
}

/// Bytes on their way. They stay where they are until all are gone, because libssh2 must be given the same memory again.
struct Buffer {
    bytes: Box<[u8]>,
    from: usize,
    to: usize,
}

impl Buffer {
    fn new() -> Self {
        Self { bytes: vec![0; 32 << 10].into_boxed_slice(), from: 0, to: 0 }
    }

    fn is_empty(&self) -> bool {
        self.from == self.to
    }

    fn filled(&mut self, count: usize) {
        (self.from, self.to) = (0, count);
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.from..self.to]
    }
}

impl Work {
    pub(super) fn new(job: Job, channel: Channel) -> Self {
        let (kind, phase) = match job {
            Job::Exec(job) => {
                (Kind::Exec(Exec { job, written: 0, eof_sent: false, held: None }), Phase::Starting)
            }
            Job::Tunnel(job) => {
                let _nobody_waits = job.opened.try_send(Ok(()));
                let tunnel = Tunnel {
                    socket: job.socket,
                    up: Buffer::new(),
                    up_eof: false,
                    eof_sent: false,
                    down: Buffer::new(),
                    down_ended: false,
                    hung_up: false,
                };
                (Kind::Tunnel(Box::new(tunnel)), Phase::Running)
            }
        };
        Self { id: next_id(), channel, kind, phase, blocked: None, eof: false, sent: false }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    pub(super) fn is_tunnel(&self) -> bool {
        matches!(self.kind, Kind::Tunnel(_))
    }

    pub(super) fn saw_eof(&self) -> bool {
        self.eof
    }

    pub(super) fn channel_mut(&mut self) -> &mut Channel {
        &mut self.channel
    }

    /// Returns whether it has sent data since it was last asked.
    pub(super) fn take_sent(&mut self) -> bool {
        std::mem::take(&mut self.sent)
    }

    /// The other end of the tunnel's socket is gone.
    pub(super) fn hung_up(&mut self) {
        if let Kind::Tunnel(tunnel) = &mut self.kind {
            tunnel.hung_up = true;
        }
    }

    /// Returns the tunnel's socket and what it waits for.
    pub(super) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let Kind::Tunnel(tunnel) = &self.kind else { return None };
        if tunnel.hung_up || self.phase != Phase::Running {
            return None;
        }
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, tunnel.up.is_empty() && !tunnel.up_eof);
        flags.set(PollFlags::OUT, !tunnel.down.is_empty());
        Some((tunnel.socket.as_fd(), flags))
    }

    /// Does what can be done now.
    ///
    /// # Errors
    /// Why the whole session is lost.
    pub(super) fn step(&mut self, session: &Session, scratch: &mut [u8]) -> Result<Step, String> {
        match self.phase {
            Phase::Starting => self.start(session),
            Phase::Running => self.run(session, scratch),
            Phase::Ending => self.finish(session),
            Phase::Closing => {
                let result = self.channel.close();
                match retry(session, result) {
                    Try::Done(()) | Try::Refused(_) => self.enter(Phase::Done),
                    other => waiting(other),
                }
            }
            Phase::Done => Ok(Step::Idle),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "ends a step in one word")]
    fn enter(&mut self, phase: Phase) -> Result<Step, String> {
        self.phase = phase;
        Ok(Step::Progress)
    }

    fn start(&mut self, session: &Session) -> Result<Step, String> {
        let Kind::Exec(exec) = &mut self.kind else { return self.enter(Phase::Running) };
        let shared = &exec.job.shared;
        if !shared.started.swap(true, Ordering::SeqCst) && shared.forgotten.load(Ordering::SeqCst) {
            return self.enter(Phase::Closing);
        }
        match retry(session, self.channel.exec(&exec.job.line)) {
            Try::Done(()) => self.enter(Phase::Running),
            Try::Refused(why) => {
                exec.job.shared.refuse(why);
                // Ends the queue.
                exec.job.events = mpsc::sync_channel(0).0;
                self.enter(Phase::Closing)
            }
            other => waiting(other),
        }
    }

    fn run(&mut self, session: &Session, scratch: &mut [u8]) -> Result<Step, String> {
        let mut progress = false;
        let ops = match self.blocked.take() {
            Some(op) => &[op][..],
            None => &[Op::Write, Op::Eof, Op::Out, Op::Err][..],
        };
        for op in ops {
            if self.phase != Phase::Running {
                break;
            }
            match self.attempt(*op, session, scratch) {
                Try::Done(happened) => progress |= happened,
                Try::Wait => {}
                Try::Blocked => {
                    self.blocked = Some(*op);
                    return Ok(Step::Blocked);
                }
                Try::Refused(_) => {
                    self.phase = Phase::Closing;
                    progress = true;
                }
                Try::Dead(why) => return Err(why),
            }
        }
        Ok(if progress { Step::Progress } else { Step::Idle })
    }

    fn attempt(&mut self, op: Op, session: &Session, scratch: &mut [u8]) -> Try<bool> {
        let channel = &mut self.channel;
        match &mut self.kind {
            Kind::Exec(exec) => match op {
                Op::Write => exec.write(channel, session, &mut self.sent),
                Op::Eof => exec.send_eof(channel, session),
                Op::Out | Op::Err => {
                    if exec.job.shared.forgotten.load(Ordering::SeqCst) {
                        self.phase = Phase::Closing;
                        return Try::Done(true);
                    }
                    if !exec.deliver() {
                        return Try::Wait;
                    }
                    let (stream, id) =
                        if op == Op::Out { (Stream::Out, 0) } else { (Stream::Err, 1) };
                    match retry_io(session, channel.stream(id).read(scratch)) {
                        Try::Done(0) => {
                            // Only when neither stream has anything left does libssh2 admit the end.
                            if op == Op::Err && channel.eof() {
                                self.eof = true;
                                self.phase = Phase::Ending;
                                return Try::Done(true);
                            }
                            Try::Done(false)
                        }
                        Try::Done(count) => {
                            exec.held = Some(Event::Output(stream, scratch[..count].to_vec()));
                            exec.deliver();
                            Try::Done(true)
                        }
                        Try::Wait => Try::Wait,
                        Try::Blocked => Try::Blocked,
                        Try::Refused(why) => Try::Refused(why),
                        Try::Dead(why) => Try::Dead(why),
                    }
                }
            },
            Kind::Tunnel(tunnel) => match op {
                Op::Write => tunnel.up(channel, session, &mut self.sent),
                Op::Eof => tunnel.send_eof(channel, session),
                Op::Out => {
                    let result = tunnel.down(channel, session);
                    if tunnel.is_over() {
                        self.phase = Phase::Closing;
                        return Try::Done(true);
                    }
                    self.eof = tunnel.down_ended;
                    result
                }
                Op::Err => Try::Done(false),
            },
        }
    }

    fn finish(&mut self, session: &Session) -> Result<Step, String> {
        let Kind::Exec(exec) = &mut self.kind else { return self.enter(Phase::Closing) };
        if exec.job.shared.forgotten.load(Ordering::SeqCst) {
            return self.enter(Phase::Closing);
        }
        if !exec.deliver() {
            return Ok(Step::Idle);
        }
        match retry(session, self.channel.wait_close()) {
            Try::Done(()) => {
                // The signal first: libssh2 says status 0 for a command that a signal ended.
                let signal = self.channel.exit_signal().ok().and_then(|exit| exit.exit_signal);
                let status = self.channel.exit_status().unwrap_or(0);
                exec.held = Some(Event::Closed { status, signal });
                if exec.deliver() {
                    return self.enter(Phase::Closing);
                }
                Ok(Step::Idle)
            }
            Try::Refused(why) => {
                exec.job.shared.refuse(why);
                self.enter(Phase::Closing)
            }
            other => waiting(other),
        }
    }
}

fn waiting(outcome: Try<()>) -> Result<Step, String> {
    match outcome {
        Try::Done(()) => Ok(Step::Progress),
        Try::Wait | Try::Refused(_) => Ok(Step::Idle),
        Try::Blocked => Ok(Step::Blocked),
        Try::Dead(why) => Err(why),
    }
}

impl Exec {
    /// Puts what is held into the queue; returns whether there is room for more.
    fn deliver(&mut self) -> bool {
        let Some(event) = self.held.take() else { return true };
        let event = match self.job.events.try_send(event) {
            Ok(()) | Err(mpsc::TrySendError::Disconnected(_)) => return true,
            Err(mpsc::TrySendError::Full(event)) => event,
        };
        // Said before the second try, so that a taker who comes in between sees it.
        self.job.shared.stalled.store(true, Ordering::SeqCst);
        if let Err(mpsc::TrySendError::Full(event)) = self.job.events.try_send(event) {
            self.held = Some(event);
            false
        } else {
            self.job.shared.stalled.store(false, Ordering::SeqCst);
            true
        }
    }

    fn write(&mut self, channel: &mut Channel, session: &Session, sent: &mut bool) -> Try<bool> {
        let rest = &self.job.stdin[self.written..];
        if rest.is_empty() {
            return Try::Done(false);
        }
        match retry_io(session, channel.write(rest)) {
            Try::Done(count) => {
                self.written += count;
                *sent |= count > 0;
                Try::Done(count > 0)
            }
            // The command does not read its input to the end: its own business.
            Try::Refused(_) => {
                self.written = self.job.stdin.len();
                self.eof_sent = true;
                Try::Done(true)
            }
            Try::Wait => Try::Wait,
            Try::Blocked => Try::Blocked,
            Try::Dead(why) => Try::Dead(why),
        }
    }

    fn send_eof(&mut self, channel: &mut Channel, session: &Session) -> Try<bool> {
        if self.eof_sent || self.written < self.job.stdin.len() {
            return Try::Done(false);
        }
        match retry(session, channel.send_eof()) {
            Try::Done(()) | Try::Refused(_) => {
                self.eof_sent = true;
                self.job.stdin = Vec::new();
                self.written = 0;
                Try::Done(true)
            }
            Try::Wait => Try::Wait,
            Try::Blocked => Try::Blocked,
            Try::Dead(why) => Try::Dead(why),
        }
    }
}

impl Tunnel {
    fn up(&mut self, channel: &mut Channel, session: &Session, sent: &mut bool) -> Try<bool> {
        let mut progress = false;
        if self.up.is_empty() && !self.up_eof {
            match self.socket.read(&mut self.up.bytes) {
                Ok(0) => {
                    self.up_eof = true;
                    progress = true;
                }
                Ok(count) => {
                    self.up.filled(count);
                    progress = true;
                }
                Err(error) if is_later(&error) => {}
                Err(_) => {
                    self.up_eof = true;
                    self.hung_up = true;
                    progress = true;
                }
            }
        }
        if self.up.is_empty() {
            return Try::Done(progress);
        }
        match retry_io(session, channel.write(self.up.rest())) {
            Try::Done(count) => {
                self.up.from += count;
                *sent |= count > 0;
                Try::Done(progress || count > 0)
            }
            Try::Wait => Try::Wait,
            Try::Blocked => Try::Blocked,
            Try::Refused(why) => Try::Refused(why),
            Try::Dead(why) => Try::Dead(why),
        }
    }

    fn send_eof(&mut self, channel: &mut Channel, session: &Session) -> Try<bool> {
        if self.eof_sent || !self.up_eof || !self.up.is_empty() {
            return Try::Done(false);
        }
        match retry(session, channel.send_eof()) {
            Try::Done(()) => {
                self.eof_sent = true;
                Try::Done(true)
            }
            Try::Wait => Try::Wait,
            Try::Blocked => Try::Blocked,
            Try::Refused(why) => Try::Refused(why),
            Try::Dead(why) => Try::Dead(why),
        }
    }

    fn down(&mut self, channel: &mut Channel, session: &Session) -> Try<bool> {
        let mut progress = false;
        if self.down.is_empty() && !self.down_ended {
            match retry_io(session, channel.read(&mut self.down.bytes)) {
                Try::Done(0) if channel.eof() => {
                    self.down_ended = true;
                    let _gone = self.socket.shutdown(Shutdown::Write);
                    return Try::Done(true);
                }
                Try::Done(0) | Try::Wait => {}
                Try::Done(count) => {
                    self.down.filled(count);
                    progress = true;
                }
                other => return map_done(other),
            }
        }
        if !self.down.is_empty() {
            match self.socket.write(self.down.rest()) {
                Ok(count) => {
                    self.down.from += count;
                    progress = true;
                }
                Err(error) if is_later(&error) => {}
                Err(_) => {
                    self.hung_up = true;
                    self.down.filled(0);
                    progress = true;
                }
            }
        }
        Try::Done(progress)
    }

    /// Returns whether neither side has anything to say, or nobody is left to hear it.
    fn is_over(&self) -> bool {
        let up_over = self.up_eof && self.up.is_empty() && self.eof_sent;
        up_over && (self.hung_up || (self.down_ended && self.down.is_empty()))
    }
}

fn map_done(outcome: Try<usize>) -> Try<bool> {
    match outcome {
        Try::Done(count) => Try::Done(count > 0),
        Try::Wait => Try::Wait,
        Try::Blocked => Try::Blocked,
        Try::Refused(why) => Try::Refused(why),
        Try::Dead(why) => Try::Dead(why),
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
