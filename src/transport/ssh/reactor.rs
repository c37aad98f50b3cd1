//! The threads that own all sessions. Each waits for its sockets and for messages, and lets the sessions that have
//! something to do do it. What a turn costs depends on those, not on how many there are.

use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

use super::channel::Job;
use super::session::Live;

/// How many threads own sessions. Encryption is what they spend time on; two keep up with hundreds of sessions.
const REACTORS: usize = 2;
/// The longest sleep, so that nothing depends on a message alone.
const LONGEST: Duration = Duration::from_secs(5);
/// How many sockets are heard of in one turn at most.
const HEARD: usize = 256;

/// What a reactor is asked.
pub(super) enum Message {
    /// Own this session from now on.
    Adopt(Box<Live>),
    /// Start this on the session.
    Start(u64, Job),
    /// Somebody made room, or went away: look at the session again.
    Look(u64),
    /// Nobody needs the session any more.
    Drop(u64),
}

/// The way to a reactor's inbox.
#[derive(Clone)]
pub(super) struct Reactor {
    inbox: mpsc::Sender<Message>,
    wake: Arc<UnixStream>,
}

impl Reactor {
    /// Sends a message; false if the reactor is gone.
    pub(super) fn send(&self, message: Message) -> bool {
        if self.inbox.send(message).is_err() {
            return false;
        }
        // A full pipe wakes it as well.
        let _full = (&*self.wake).write(&[0]);
        true
    }
}

/// Returns a number that no other session has.
pub(super) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Gives a session to one of the reactors.
pub(super) fn adopt(live: Live) -> std::io::Result<Reactor> {
    static ALL: Mutex<Vec<Reactor>> = Mutex::new(Vec::new());
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    while all.len() < REACTORS {
        all.push(start()?);
    }
    let place = TURN.fetch_add(1, Ordering::Relaxed) % REACTORS;
    if !all[place].send(Message::Look(0)) {
        all[place] = start()?;
    }
    let reactor = all[place].clone();
    reactor.send(Message::Adopt(Box::new(live)));
    Ok(reactor)
}

fn start() -> std::io::Result<Reactor> {
    let (inbox, messages) = mpsc::channel();
    let (wake, woken) = UnixStream::pair()?;
    wake.set_nonblocking(true)?;
    woken.set_nonblocking(true)?;
    let sockets = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    std::thread::Builder::new().name("ssh-reactor".to_owned()).spawn(move || {
        let turns = Turns {
            woken,
            sockets,
            sessions: HashMap::new(),
            due: BTreeSet::new(),
            timers: BTreeSet::new(),
            joined: BTreeSet::new(),
            scratch: vec![0; 64 << 10],
        };
        turns.run(&messages);
    })?;
    Ok(Reactor { inbox, wake: Arc::new(wake) })
}

/// A session with what its reactor has arranged for it.
struct Owned {
    live: Live,
    /// What its socket is watched for.
    watched: PollFlags,
    /// When it has its turn without being heard of.
    timer: Instant,
}

/// The turns of one reactor.
struct Turns {
    woken: UnixStream,
    /// Watches the socket of every session.
    sockets: OwnedFd,
    sessions: HashMap<u64, Owned>,
    /// The sessions whose turn it is.
    due: BTreeSet<u64>,
    timers: BTreeSet<(Instant, u64)>,
    /// The sessions that also wait for something else than their socket; few do.
    joined: BTreeSet<u64>,
    scratch: Vec<u8>,
}

impl Turns {
    /// Takes turns until nobody can send a message any more.
    fn run(mut self, messages: &mpsc::Receiver<Message>) {
        loop {
            loop {
                match messages.try_recv() {
                    Ok(message) => self.take(message),
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
            let now = Instant::now();
            while let Some((_, id)) = self.timers.first().filter(|(at, _)| *at <= now).copied() {
                self.timers.pop_first();
                self.due.insert(id);
            }
            for id in std::mem::take(&mut self.due) {
                self.turn(id, now);
            }
            self.wait();
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Adopt(live) => self.adopt(*live),
            // A job for a session that is gone is dropped: whoever waits for it sees its queue end.
            Message::Start(id, job) => {
                if let Some(owned) = self.sessions.get_mut(&id) {
                    owned.live.add(job);
                    self.due.insert(id);
                }
            }
            Message::Look(id) => {
                if let Some(owned) = self.sessions.get_mut(&id) {
                    owned.live.look();
                    self.due.insert(id);
                }
            }
            Message::Drop(id) => self.end(id, None),
        }
    }

    fn adopt(&mut self, live: Live) {
        let id = live.id();
        let watched = PollFlags::RDHUP;
        let (data, flags) = (epoll::EventData::new_u64(id), as_events(watched));
        if let Err(error) = epoll::add(&self.sockets, live.socket(), data, flags) {
            return live.end(Some(format!("its socket cannot be watched: {error}")));
        }
        let timer = Instant::now();
        self.timers.insert((timer, id));
        self.sessions.insert(id, Owned { live, watched, timer });
    }

    /// Lets a session do what it can, and arranges for its next turn.
    fn turn(&mut self, id: u64, now: Instant) {
        let Some(Owned { live, .. }) = self.sessions.get_mut(&id) else { return };
        if !live.is_due(now) {
            return self.arrange(id, now);
        }
        // libssh2 and its binding read what a server sends; should one of them panic on it, that session is lost, not all
        // of them.
        let driven = catch_unwind(AssertUnwindSafe(|| live.drive(now, &mut self.scratch)))
            .unwrap_or_else(|_| Err("the ssh library failed on what the server sent".to_owned()));
        match driven {
            Ok(()) => self.arrange(id, now),
            Err(why) => self.end(id, Some(why)),
        }
    }

    fn arrange(&mut self, id: u64, now: Instant) {
        let Some(owned) = self.sessions.get_mut(&id) else { return };
        self.timers.remove(&(owned.timer, id));
        let sleep = owned.live.next_due(now);
        owned.timer = now + sleep;
        if sleep.is_zero() {
            self.due.insert(id);
        } else {
            self.timers.insert((owned.timer, id));
        }
        let (mut wanted, mut joined) = (owned.watched, false);
        owned.live.interests(|_, flags, end| match end {
            None => wanted = flags,
            Some(_) => joined = true,
        });
        if joined {
            self.joined.insert(id);
        } else {
            self.joined.remove(&id);
        }
        if wanted == owned.watched {
            return;
        }
        owned.watched = wanted;
        let (data, flags) = (epoll::EventData::new_u64(id), as_events(wanted));
        if let Err(error) = epoll::modify(&self.sockets, owned.live.socket(), data, flags) {
            self.end(id, Some(format!("its socket cannot be watched: {error}")));
        }
    }

    fn end(&mut self, id: u64, why: Option<String>) {
        let Some(Owned { live, timer, .. }) = self.sessions.remove(&id) else { return };
        self.timers.remove(&(timer, id));
        self.due.remove(&id);
        self.joined.remove(&id);
        // The session holds a second descriptor of the socket, which would keep it watched.
        let _unwatched = epoll::delete(&self.sockets, live.socket());
        live.end(why);
    }

    /// Waits until a socket, a message or a timer asks for work, and marks the sessions that it concerns.
    fn wait(&mut self) {
        let sleep = match self.timers.first() {
            _ if !self.due.is_empty() => Duration::ZERO,
            Some((at, _)) => at.saturating_duration_since(Instant::now()).min(LONGEST),
            None => LONGEST,
        };
        let mut fds = vec![
            PollFd::new(&self.woken, PollFlags::IN),
            PollFd::new(&self.sockets, PollFlags::IN),
        ];
        let mut ends = Vec::new();
        for (id, owned) in self.joined.iter().filter_map(|id| Some((*id, self.sessions.get(id)?))) {
            owned.live.interests(|fd, flags, end| {
                if end.is_some() {
                    fds.push(PollFd::from_borrowed_fd(fd, flags));
                    ends.push((id, end));
                }
            });
        }
        let timeout = Timespec {
            tv_sec: i64::try_from(sleep.as_secs()).unwrap_or(5),
            tv_nsec: i64::from(sleep.subsec_nanos()),
        };
        // Interrupted, or out of memory for a moment: what is ready stays so.
        let heard = poll(&mut fds, Some(&timeout)).is_ok();
        let flags: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        if !heard {
            return;
        }
        if !flags[0].is_empty() {
            while matches!((&self.woken).read(&mut [0; 256]), Ok(256)) {}
        }
        for ((id, end), flags) in ends.into_iter().zip(&flags[2..]) {
            if let (false, Some(owned)) = (flags.is_empty(), self.sessions.get_mut(&id)) {
                owned.live.heard(*flags, end);
                self.due.insert(id);
            }
        }
        if !flags[1].is_empty() {
            self.hear();
        }
    }

    /// Marks the sessions whose sockets are ready.
    fn hear(&mut self) {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut events = Vec::with_capacity(HEARD);
        if epoll::wait(&self.sockets, spare_capacity(&mut events), Some(&now)).is_err() {
            return;
        }
        for event in events {
            let (id, flags) = (event.data.u64(), event.flags);
            if let Some(owned) = self.sessions.get_mut(&id) {
                owned.live.heard(as_polled(flags), None);
                self.due.insert(id);
            }
        }
    }
}

/// What poll is asked for, as epoll is asked for it: the bits are the same.
fn as_events(flags: PollFlags) -> epoll::EventFlags {
    epoll::EventFlags::from_bits_truncate(u32::from(flags.bits()))
}

/// What epoll says, as poll says it.
fn as_polled(flags: epoll::EventFlags) -> PollFlags {
    PollFlags::from_bits_truncate(u16::try_from(flags.bits() & 0xffff).unwrap_or_default())
}
