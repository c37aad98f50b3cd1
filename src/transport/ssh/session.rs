//! One session as its reactor sees it: what is queued, what is open, whose turn it is, and whether the peer lives.
//!
//! The rule that everything here serves: when libssh2 could not send all of a packet, the same operation is repeated
//! until it could, and nothing else is sent before. Otherwise libssh2 refuses every other operation for ever.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{BlockDirections, Channel, Session};

use super::channel::{Job, Try, classify, retry};
use super::splice::End;
use super::work::{Step, Work};

/// sshd allows ten sessions on a connection: these, one to end a process group, and one spare.
const CHANNELS: usize = 8;
/// Tunnels do not count as sessions for sshd.
const TUNNELS: usize = 128;
/// When a busy session is looked at again after nothing was left to do.
const SETTLE: [Duration; 3] =
    [Duration::from_millis(1), Duration::from_millis(10), Duration::from_millis(100)];
/// How often and after how long a channel is asked for again that the server refused.
const REFUSALS: usize = 30;
const REOPEN: Duration = Duration::from_millis(50);
/// How long an idle peer may be silent before it is asked whether it lives. While something is under way it is asked
/// after a third of the silence that it is allowed.
const ASK_IDLE: Duration = Duration::from_secs(15);

/// Why a session ended, for those who hold a link to it.
#[derive(Debug, Default)]
pub(super) struct Fate(Mutex<Option<String>>);

impl Fate {
    /// Returns the reason, once it ended.
    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, why: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }
}

/// What is being opened.
enum Opening {
    Spare,
    For(Job),
}

/// Who must go on before anybody else may send.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blocked {
    Opening,
    Work(u64),
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts about one connection")]
pub(super) struct Live {
    id: u64,
    // Channels go before the session they belong to.
    work: Vec<Work>,
    spare: Option<Channel>,
    session: Session,
    fd: OwnedFd,
    fate: Arc<Fate>,
    queue: VecDeque<Job>,
    opening: Option<Opening>,
    /// Whether a channel is opened ahead of the next command.
    opens_ahead: bool,
    wants_spare: bool,
    channels: usize,
    blocked: Option<Blocked>,
    due: bool,
    pumps: bool,
    gone: bool,
    open_after: Option<Instant>,
    look_again: Option<Instant>,
    settled: usize,
    /// How long the peer may be silent while something is under way.
    silence: Duration,
    heard: Instant,
    asked: Instant,
    /// When the kernel last took what it had refused to take before. Then the line is slow but moves, and the question
    /// whether the peer lives may wait behind what is being sent.
    moved: Instant,
}

impl Live {
    /// Takes a session that is logged in. `fd` is its socket.
    pub(super) fn new(
        id: u64,
        session: Session,
        fd: OwnedFd,
        fate: Arc<Fate>,
        silence: Duration,
    ) -> Self {
        let now = Instant::now();
        // Dropbear 2022.82 to 2024.85 closes a channel that no command has been asked for yet when any other ends, and
        // gives up the whole connection when one is asked for (mkj/dropbear, pull request 326). So none is opened ahead
        // there, nor while the process of an earlier command may still be about to end.
        let opens_ahead = !session.banner().is_some_and(|banner| banner.contains("dropbear"));
        Self {
            id,
            work: Vec::new(),
            spare: None,
            session,
            fd,
            fate,
            queue: VecDeque::new(),
            opening: None,
            opens_ahead,
            wants_spare: opens_ahead,
            channels: CHANNELS,
            blocked: None,
            due: true,
            pumps: false,
            gone: false,
            open_after: None,
            look_again: None,
            settled: 0,
            silence,
            heard: now,
            asked: now,
            moved: now,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Returns the socket.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn add(&mut self, job: Job) {
        self.settled = 0;
        if job.is_urgent() {
            self.queue.push_front(job);
        } else {
            self.queue.push_back(job);
        }
        self.due = true;
        // An idle peer may have been silent for long; the silence that counts begins with this.
        if self.work.is_empty() && self.opening.is_none() {
            self.heard = Instant::now();
        }
    }

    pub(super) fn look(&mut self) {
        self.due = true;
    }

    pub(super) fn heard(&mut self, flags: PollFlags, joined: Option<(u64, End)>) {
        self.due = true;
        match joined {
            Some((id, end)) => {
                if flags.intersects(PollFlags::HUP | PollFlags::ERR)
                    && let Some(work) = self.work.iter_mut().find(|work| work.id() == id)
                {
                    work.hung_up(end);
                }
            }
            None if flags.contains(PollFlags::IN) => {
                self.heard = Instant::now();
                self.settled = 0;
            }
            // What is read through a channel finds out by itself that it has come to an end.
            None => {
                self.gone |= !self.pumps
                    && flags.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::RDHUP);
            }
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due || self.next_due(now).is_zero()
    }

    fn is_busy(&self) -> bool {
        !self.work.is_empty()
            || !self.queue.is_empty()
            || matches!(self.opening, Some(Opening::For(_)))
    }

    /// Returns when the peer is asked next, or given up.
    fn timers(&self) -> (Instant, Option<Instant>) {
        let busy = self.is_busy();
        let ask = self.heard.max(self.asked) + if busy { self.silence / 3 } else { ASK_IDLE };
        (ask, busy.then(|| self.heard.max(self.moved) + self.silence))
    }

    pub(super) fn next_due(&self, now: Instant) -> Duration {
        if self.due {
            return Duration::ZERO;
        }
        let (ask, give_up) = self.timers();
        [give_up, self.open_after, self.look_again]
            .into_iter()
            .chain(self.work.iter().map(Work::lingers_until))
            .flatten()
            .fold(ask, Instant::min)
            .saturating_duration_since(now)
    }

    /// Names what to wait for: our socket, and what channels are joined to by their number.
    pub(super) fn interests<'a>(
        &'a self,
        mut add: impl FnMut(BorrowedFd<'a>, PollFlags, Option<(u64, End)>),
    ) {
        let mut flags = PollFlags::RDHUP;
        // What is being opened reads as well; it may have begun since it was last seen who does.
        if self.pumps || self.opening.is_some() {
            flags |= PollFlags::IN;
        }
        if self.blocked.is_some() {
            flags |= PollFlags::OUT;
        }
        add(self.fd.as_fd(), flags, None);
        for work in &self.work {
            for (fd, flags, end) in work.interests() {
                add(fd, flags, Some((work.id(), end)));
            }
        }
    }

    /// Does all that can be done now.
    ///
    /// # Errors
    /// Why the session is lost.
    pub(super) fn drive(&mut self, now: Instant, scratch: &mut [u8]) -> Result<(), String> {
        self.due = false;
        if self.gone {
            return Err("the connection was closed by the other side or broke".to_owned());
        }
        self.pump()?;
        // Every operation reads the socket dry, also of what others wait for whose turn has passed: only two passes
        // in which nothing happened mean that there is nothing to do.
        let mut idle = 0;
        // Bounded, so that one session that has much to say does not starve the others.
        for _ in 0..64 {
            if self.pass(scratch)? {
                idle = 0;
                self.settled = 0;
                continue;
            }
            idle += 1;
            if idle == 2 || self.blocked.is_some() {
                self.acknowledge();
                self.settle(now);
                return self.check_peer(now);
            }
        }
        self.due = true;
        self.check_peer(now)
    }

    /// Says at once what has arrived, while a channel is asked for. A server that has just logged us in and told us its
    /// keys holds its answer back until those are acknowledged, which the kernel puts off for 40 ms.
    fn acknowledge(&self) {
        if self.opening.is_some() {
            let _only_for_tcp = rustix::net::sockopt::set_tcp_quickack(&self.fd, true);
        }
    }

    /// What arrived during the very last pass may also have been read on behalf of another, without poll ever telling:
    /// a busy session is looked at a few times more.
    fn settle(&mut self, now: Instant) {
        self.look_again = SETTLE
            .get(self.settled)
            .filter(|_| self.is_busy() || self.opening.is_some())
            .map(|after| now + *after);
        self.settled += 1;
    }

    /// Reads what has arrived, without taking it from its channel; what a channel may send before we take something is
    /// bounded by its window. Needs some channel to do it on.
    fn pump(&mut self) -> Result<(), String> {
        let channel = self.spare.as_mut().or_else(|| {
            self.work.iter_mut().filter(|work| !work.saw_eof()).map(Work::channel_mut).next()
        });
        let Some(channel) = channel else {
            self.pumps = self.opening.is_some() || self.blocked.is_some() || !self.work.is_empty();
            return Ok(());
        };
        self.pumps = true;
        match retry(&self.session, channel.wait_eof()) {
            Try::Dead(why) => Err(why),
            _ => Ok(()),
        }
    }

    /// Lets everybody do one thing; returns whether anything happened.
    fn pass(&mut self, scratch: &mut [u8]) -> Result<bool, String> {
        if let Some(blocked) = self.blocked {
            match blocked {
                Blocked::Opening => self.open()?,
                Blocked::Work(id) => match self.work.iter().position(|work| work.id() == id) {
                    Some(place) => self.step(place, scratch)?,
                    None => return Err("a half-sent packet was abandoned".to_owned()),
                },
            };
            if self.blocked.is_some() {
                self.pump()?;
                return Ok(false);
            }
            self.moved = Instant::now();
        }
        let mut progress = self.open()?;
        let mut place = 0;
        while place < self.work.len() && self.blocked.is_none() {
            progress |= self.step(place, scratch)?;
            if self.work[place].is_done() {
                let _freed_here = self.work.swap_remove(place);
                progress = true;
            } else {
                place += 1;
            }
        }
        Ok(progress && self.blocked.is_none())
    }

    fn step(&mut self, place: usize, scratch: &mut [u8]) -> Result<bool, String> {
        let work = &mut self.work[place];
        let step = work.step(&self.session, scratch)?;
        let id = work.id();
        self.blocked = (step == Step::Blocked).then_some(Blocked::Work(id));
        Ok(step == Step::Progress)
    }

    /// Opens the next channel, one at a time; returns whether one was opened or refused.
    fn open(&mut self) -> Result<bool, String> {
        if self.opening.is_none() {
            self.opening = self.next_to_open();
        }
        let result = match &self.opening {
            None => return Ok(false),
            Some(Opening::Spare | Opening::For(Job::Exec(_))) => {
                if let (Some(Opening::For(_)), Some(spare)) = (&self.opening, self.spare.take()) {
                    self.wants_spare = self.opens_ahead;
                    Ok(spare)
                } else {
                    self.session.channel_session()
                }
            }
            Some(Opening::For(Job::Tunnel(job))) => {
                self.session.channel_direct_tcpip(&job.host, job.port, None)
            }
        };
        let outcome = retry(&self.session, result);
        self.blocked = matches!(outcome, Try::Blocked).then_some(Blocked::Opening);
        match outcome {
            Try::Wait | Try::Blocked => Ok(false),
            Try::Dead(why) => Err(why),
            Try::Done(channel) => {
                match self.opening.take() {
                    Some(Opening::For(job)) => {
                        self.work.push(Work::new(job, channel, !self.opens_ahead));
                    }
                    _ => self.spare = Some(channel),
                }
                Ok(true)
            }
            Try::Refused(why) => {
                match self.opening.take() {
                    Some(Opening::For(Job::Exec(mut job))) if job.refusals < REFUSALS => {
                        // This server allows fewer than others, or has not yet put away one that we closed.
                        if !job.urgent {
                            self.channels = self.sessions_open().max(1);
                        }
                        job.refusals += usize::from(job.urgent || self.sessions_open() == 0);
                        self.queue.push_front(Job::Exec(job));
                        self.open_after = Some(Instant::now() + REOPEN);
                        Ok(false)
                    }
                    Some(Opening::For(job)) => {
                        job.refuse(why);
                        Ok(true)
                    }
                    _ => Ok(false),
                }
            }
        }
    }

    fn sessions_open(&self) -> usize {
        self.work.iter().filter(|work| !work.is_tunnel()).count()
    }

    fn next_to_open(&mut self) -> Option<Opening> {
        if self.open_after.is_some_and(|at| Instant::now() < at) {
            return None;
        }
        self.open_after = None;
        if self.work.iter().any(Work::is_ending) {
            return None;
        }
        let sessions = self.sessions_open();
        let tunnels = self.work.len() - sessions;
        let channels = self.channels;
        self.queue.retain(|job| !job.is_forgotten());
        let next = self.queue.iter().position(|job| match job {
            Job::Exec(job) => sessions < channels + usize::from(job.urgent),
            Job::Tunnel(_) => tunnels < TUNNELS,
        });
        if let Some(job) = next.and_then(|place| self.queue.remove(place)) {
            return Some(Opening::For(job));
        }
        // A channel opened ahead saves a round trip for the next command, and is what an idle session is read through.
        (self.spare.is_none() && std::mem::take(&mut self.wants_spare)).then_some(Opening::Spare)
    }

    fn check_peer(&mut self, now: Instant) -> Result<(), String> {
        let (ask, give_up) = self.timers();
        if give_up.is_some_and(|at| now >= at) {
            return Err(format!(
                "no answer from the server for {} s",
                now.saturating_duration_since(self.heard.max(self.moved)).as_secs()
            ));
        }
        if now < ask {
            return Ok(());
        }
        self.asked = now;
        // What is half sent cannot be overtaken, and libssh2 does not say whether it could send all of the question.
        if self.blocked.is_some() || !self.takes_more() {
            return Ok(());
        }
        // libssh2 keeps every answer for ever, so answers are asked for only while they matter.
        self.session.set_keepalive(self.is_busy(), 1);
        match self.session.keepalive_send() {
            Ok(_) => Ok(()),
            Err(error) => match classify(&self.session, &error) {
                Try::<()>::Dead(why) => Err(why),
                _ => Ok(()),
            },
        }
    }

    /// Returns whether the kernel has room for more than a small packet.
    fn takes_more(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// Ends the session. Whoever waits for something of it sees its queue end, and finds `why` in the fate.
    pub(super) fn end(mut self, why: Option<String>) {
        if why.is_none() && self.blocked.is_none() && self.work.is_empty() {
            let _polite = self.session.disconnect(None, "done", None);
        }
        self.fate.set(why.unwrap_or_else(|| "the connection was closed on our side".to_owned()));
        // Without this, libssh2 would try to close each channel politely, and leak what it cannot.
        let _gone = rustix::net::shutdown(&self.fd, rustix::net::Shutdown::Both);
        self.work.clear();
        self.spare = None;
    }
}

/// Returns whether libssh2 waits to send.
pub(super) fn waits_to_send(session: &Session) -> bool {
    matches!(session.block_directions(), BlockDirections::Outbound | BlockDirections::Both)
}
