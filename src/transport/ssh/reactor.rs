//! The threads that own all sessions. Each waits for its sockets and for messages, and lets the sessions that have
//! something to do do it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::channel::Job;
use super::session::Live;

/// How many threads own sessions. Encryption is what they spend time on; two keep up with hundreds of sessions.
const REACTORS: usize = 2;
/// The longest sleep, so that nothing depends on a message alone.
const LONGEST: Duration = Duration::from_secs(5);

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
    std::thread::Builder::new()
        .name("ssh-reactor".to_owned())
        .spawn(move || run(&messages, &woken))?;
    Ok(Reactor { inbox, wake: Arc::new(wake) })
}

fn run(messages: &mpsc::Receiver<Message>, woken: &UnixStream) {
    let mut sessions: HashMap<u64, Live> = HashMap::new();
    let mut scratch = vec![0; 64 << 10];
    loop {
        loop {
            match messages.try_recv() {
                Ok(message) => take(message, &mut sessions),
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => return,
            }
        }
        let now = Instant::now();
        let mut dead = Vec::new();
        for (id, live) in &mut sessions {
            if !live.is_due(now) {
                continue;
            }
            // libssh2 and its binding read what a server sends; should one of them panic on it, that session is lost,
            // not all of them.
            let driven = catch_unwind(AssertUnwindSafe(|| live.drive(now, &mut scratch)))
                .unwrap_or_else(|_| {
                    Err("the ssh library failed on what the server sent".to_owned())
                });
            if let Err(why) = driven {
                dead.push((*id, why));
            }
        }
        for (id, why) in dead {
            if let Some(live) = sessions.remove(&id) {
                live.end(Some(why));
            }
        }
        wait(woken, &mut sessions);
    }
}

fn take(message: Message, sessions: &mut HashMap<u64, Live>) {
    match message {
        Message::Adopt(live) => {
            sessions.insert(live.id(), *live);
        }
        // A job for a session that is gone is dropped: whoever waits for it sees its queue end.
        Message::Start(id, job) => {
            if let Some(live) = sessions.get_mut(&id) {
                live.add(job);
            }
        }
        Message::Look(id) => {
            if let Some(live) = sessions.get_mut(&id) {
                live.look();
            }
        }
        Message::Drop(id) => {
            if let Some(live) = sessions.remove(&id) {
                live.end(None);
            }
        }
    }
}

/// Waits until a socket, a message or a timer asks for work, and marks the sessions that it concerns.
fn wait(woken: &UnixStream, sessions: &mut HashMap<u64, Live>) {
    let now = Instant::now();
    let mut fds = vec![PollFd::new(woken, PollFlags::IN)];
    let mut owners = vec![(0, None)];
    let mut sleep = LONGEST;
    for (id, live) in &*sessions {
        sleep = sleep.min(live.next_due(now));
        live.interests(|fd, flags, joined| {
            fds.push(PollFd::from_borrowed_fd(fd, flags));
            owners.push((*id, joined));
        });
    }
    let timeout = Timespec {
        tv_sec: i64::try_from(sleep.as_secs()).unwrap_or(5),
        tv_nsec: i64::from(sleep.subsec_nanos()),
    };
    if poll(&mut fds, Some(&timeout)).is_err() {
        // Interrupted, or out of memory for a moment: everybody is looked at.
        drop(fds);
        for live in sessions.values_mut() {
            live.look();
        }
        return;
    }
    let events: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
    drop(fds);
    for ((id, joined), flags) in owners.into_iter().zip(events) {
        if flags.is_empty() {
            continue;
        }
        match sessions.get_mut(&id) {
            Some(live) => live.heard(flags, joined),
            None => while matches!((&*woken).read(&mut [0; 256]), Ok(256)) {},
        }
    }
}
