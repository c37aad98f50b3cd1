//! A job on its channel: a small machine that its session steps. It does what can be done without waiting, and says
//! when an operation could not send.

use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use ssh2::{Channel, Session};

use super::channel::{Event, ExecJob, Job, Try, retry, retry_io};
use super::reactor::next_id;
use super::splice::{End, Splice};
use crate::transport::{Stream, Streams};

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
    Tunnel(Box<Splice>),
}

/// A job on its channel.
pub(super) struct Work {
    id: u64,
    channel: Channel,
    kind: Kind,
    phase: Phase,
    blocked: Option<Op>,
    eof: bool,
}

struct Exec {
    job: ExecJob,
    /// What it is joined to.
    splice: Option<Box<Splice>>,
    written: usize,
    eof_sent: bool,
    /// What did not fit into the queue.
    held: Option<Event>,
    linger: Linger,
}

/// How long a server whose channels linger is left to close that of a command that has ended: what the command left in the
/// background may hold it open for ever.
const LINGER: Duration = Duration::from_millis(500);

/// Whether the server is left to close the channel of a command that has ended and that nobody listens to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Linger {
    Never,
    Wanted,
    Until(Instant),
}

impl Work {
    /// Makes one. With `lingers`, the server closes the channel of a command that has ended, unless that takes too long.
    pub(super) fn new(job: Job, channel: Channel, lingers: bool) -> Self {
        let (kind, phase) = match job {
            Job::Exec(mut job) => {
                let splice = job.streams.take().map(|streams| Box::new(Splice::new(streams)));
                let linger = if lingers { Linger::Wanted } else { Linger::Never };
                let exec = Exec { job, splice, written: 0, eof_sent: false, held: None, linger };
                (Kind::Exec(exec), Phase::Starting)
            }
            Job::Tunnel(job) => {
                let _nobody_waits = job.opened.try_send(Ok(()));
                let streams = Streams::shared(Arc::clone(&job.socket), job.socket);
                (Kind::Tunnel(Box::new(Splice::new(streams))), Phase::Running)
            }
        };
        Self { id: next_id(), channel, kind, phase, blocked: None, eof: false }
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

    fn splice(&self) -> Option<&Splice> {
        match &self.kind {
            Kind::Exec(exec) => exec.splice.as_deref(),
            Kind::Tunnel(splice) => Some(splice),
        }
    }

    /// The other side of a descriptor that it is joined to is gone.
    pub(super) fn hung_up(&mut self, end: End) {
        let splice = match &mut self.kind {
            Kind::Exec(exec) => exec.splice.as_mut(),
            Kind::Tunnel(splice) => Some(splice),
        };
        if let Some(splice) = splice {
            splice.hung_up(end);
        }
    }

    /// Returns whether its command has ended and the server is left to close its channel.
    pub(super) fn is_ending(&self) -> bool {
        match &self.kind {
            Kind::Exec(exec) => {
                exec.linger != Linger::Never && exec.job.shared.ended.load(Ordering::SeqCst)
            }
            Kind::Tunnel(_) => false,
        }
    }

    /// Returns until when its channel is left to the server, if it is.
    pub(super) fn lingers_until(&self) -> Option<Instant> {
        match &self.kind {
            Kind::Exec(Exec { linger: Linger::Until(end), .. }) => Some(*end),
            _ => None,
        }
    }

    /// Names the descriptors that it is joined to and waits for.
    pub(super) fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags, End)> {
        let splice = self.splice().filter(|_| self.phase == Phase::Running);
        splice.into_iter().flat_map(Splice::interests)
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
                Op::Write => exec.write(channel, session),
                Op::Eof => exec.send_eof(channel, session),
                Op::Out | Op::Err => {
                    let forgotten = exec.job.shared.forgotten.load(Ordering::SeqCst);
                    if forgotten && !exec.lingers() {
                        self.phase = Phase::Closing;
                        return Try::Done(true);
                    }
                    if let (Op::Out, Some(splice)) = (op, &mut exec.splice) {
                        return splice.down(channel, session);
                    }
                    if !forgotten && !exec.deliver() {
                        return Try::Wait;
                    }
                    let (stream, id) =
                        if op == Op::Out { (Stream::Out, 0) } else { (Stream::Err, 1) };
                    match retry_io(session, channel.stream(id).read(scratch)) {
                        Try::Done(0) => {
                            // Only when neither stream has anything left does libssh2 admit the end.
                            if op == Op::Err && channel.eof() && exec.is_passed_on() {
                                self.eof = true;
                                self.phase = Phase::Ending;
                                return Try::Done(true);
                            }
                            Try::Done(false)
                        }
                        Try::Done(_) if forgotten => Try::Done(true),
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
                Op::Write => tunnel.up(channel, session),
                Op::Eof => tunnel.send_eof(channel, session),
                Op::Out => {
                    let result = tunnel.down(channel, session);
                    if tunnel.is_over() {
                        self.phase = Phase::Closing;
                        return Try::Done(true);
                    }
                    self.eof = tunnel.saw_eof();
                    result
                }
                Op::Err => Try::Done(false),
            },
        }
    }

    fn finish(&mut self, session: &Session) -> Result<Step, String> {
        let Kind::Exec(exec) = &mut self.kind else { return self.enter(Phase::Closing) };
        let forgotten = exec.job.shared.forgotten.load(Ordering::SeqCst);
        if forgotten && !exec.lingers() {
            return self.enter(Phase::Closing);
        }
        if !forgotten && !exec.deliver() {
            return Ok(Step::Idle);
        }
        match retry(session, self.channel.wait_close()) {
            Try::Done(()) if forgotten => self.enter(Phase::Closing),
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
    /// Returns whether the channel is still left to the server, now that nobody listens any more.
    fn lingers(&mut self) -> bool {
        let now = Instant::now();
        match self.linger {
            Linger::Wanted if self.job.shared.ended.load(Ordering::SeqCst) => {
                self.linger = Linger::Until(now + LINGER);
                true
            }
            Linger::Never | Linger::Wanted => false,
            Linger::Until(end) => now < end,
        }
    }

    /// Returns whether all that came of standard output has gone where it is joined to.
    fn is_passed_on(&self) -> bool {
        self.splice.as_ref().is_none_or(|splice| splice.is_passed_on())
    }

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

    fn write(&mut self, channel: &mut Channel, session: &Session) -> Try<bool> {
        let rest = &self.job.stdin[self.written..];
        if rest.is_empty() {
            return match &mut self.splice {
                None => Try::Done(false),
                Some(splice) => match splice.up(channel, session) {
                    Try::Refused(_) => {
                        splice.refuse();
                        Try::Done(true)
                    }
                    other => other,
                },
            };
        }
        match retry_io(session, channel.write(rest)) {
            Try::Done(count) => {
                self.written += count;
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
        if let Some(splice) = &mut self.splice {
            return match splice.send_eof(channel, session) {
                Try::Refused(_) => {
                    splice.refuse();
                    Try::Done(true)
                }
                other => other,
            };
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
