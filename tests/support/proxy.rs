//! A TCP proxy in front of a server that does to a connection what networks do: after so many bytes it cuts, stalls,
//! closes one direction, holds everything back for a while, or changes a bit.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Both directions end at once.
    Cut,
    /// Nothing is forwarded any more, and nobody is told.
    Stall,
    /// The server is told that nothing more comes; what it says still arrives.
    HalfClose,
    /// Nothing is forwarded for this long; then it goes on.
    Delay(Duration),
}

/// Who sent what is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// Which byte is changed of the next that are read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Byte(usize),
    Last,
}

/// After how many bytes, both directions together, what happens.
pub(crate) type Fate = Option<(u64, Fault)>;

type Choose = Box<dyn FnMut(usize) -> Fate + Send>;

struct State {
    choose: Mutex<Choose>,
    accepted: AtomicU64,
    forwarded: AtomicU64,
    struck: AtomicU64,
    /// Connections with a smaller number are stalled, and those with a smaller number than the second are so no more.
    stalled: AtomicU64,
    healed: AtomicU64,
    /// How many directions of connections have ended.
    over: AtomicU64,
    flip: Mutex<Option<(Side, Place)>>,
    flipped: AtomicU64,
    closed: AtomicBool,
}

/// Ended with all its connections when dropped.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<State>,
}

/// One connection.
struct Pair {
    number: u64,
    client: TcpStream,
    server: TcpStream,
    fate: Mutex<Fate>,
    passed: AtomicU64,
    stalled: AtomicBool,
    held: Mutex<Option<Instant>>,
}

impl Proxy {
    /// Starts a proxy in front of a port of this machine. `choose` gets the number of each connection, from 0, and says
    /// what happens to it.
    pub(crate) fn start(behind: u16, choose: impl FnMut(usize) -> Fate + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            choose: Mutex::new(Box::new(choose)),
            accepted: AtomicU64::new(0),
            forwarded: AtomicU64::new(0),
            struck: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            healed: AtomicU64::new(0),
            over: AtomicU64::new(0),
            flip: Mutex::new(None),
            flipped: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.closed.load(Ordering::SeqCst) {
                    return;
                }
                let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
                let fate = (shared.choose.lock().unwrap())(usize::try_from(number).unwrap());
                let Ok(server) = TcpStream::connect(("127.0.0.1", behind)) else { continue };
                let pair = Arc::new(Pair {
                    number,
                    client,
                    server,
                    fate: Mutex::new(fate),
                    passed: AtomicU64::new(0),
                    stalled: AtomicBool::new(false),
                    held: Mutex::new(None),
                });
                for up in [true, false] {
                    let (pair, shared) = (Arc::clone(&pair), Arc::clone(&shared));
                    std::thread::spawn(move || {
                        pair.forward(up, &shared);
                        shared.over.fetch_add(1, Ordering::SeqCst);
                    });
                }
            }
        });
        Self { port, state }
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> u64 {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// How many bytes passed.
    pub(crate) fn bytes(&self) -> u64 {
        self.state.forwarded.load(Ordering::SeqCst)
    }

    /// How many connections met their fate.
    pub(crate) fn struck(&self) -> u64 {
        self.state.struck.load(Ordering::SeqCst)
    }

    /// Stalls every connection that there is; new ones are as usual.
    pub(crate) fn stall(&self) {
        self.state.stalled.store(self.connections(), Ordering::SeqCst);
    }

    /// Forwards what was held back on stalled connections, but not that they have ended meanwhile: that packet is lost.
    pub(crate) fn heal(&self) {
        self.state.healed.store(self.connections(), Ordering::SeqCst);
    }

    /// Changes a bit of what this side sends next, on whatever connection.
    pub(crate) fn flip(&self, side: Side, place: Place) {
        *self.state.flip.lock().unwrap() = Some((side, place));
    }

    /// How many bits were changed.
    pub(crate) fn flipped(&self) -> u64 {
        self.state.flipped.load(Ordering::SeqCst)
    }

    /// How many directions of connections have ended.
    pub(crate) fn over(&self) -> u64 {
        self.state.over.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _last = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    fn change(&self, bytes: &mut [u8], side: Side) {
        let mut flip = self.flip.lock().unwrap();
        let Some((_, place)) = flip.filter(|(wanted, _)| *wanted == side) else { return };
        let last = bytes.len() - 1;
        let at = match place {
            Place::Byte(at) => at.min(last),
            Place::Last => last,
        };
        bytes[at] ^= 1;
        *flip = None;
        self.flipped.fetch_add(1, Ordering::SeqCst);
    }
}

impl Pair {
    fn close(&self) {
        for socket in [&self.client, &self.server] {
            let _gone = socket.shutdown(Shutdown::Both);
        }
    }

    fn forward(&self, up: bool, state: &State) {
        let (mut from, mut to) =
            if up { (&self.client, &self.server) } else { (&self.server, &self.client) };
        from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut piece = [0; 16 << 10];
        loop {
            if state.closed.load(Ordering::SeqCst) {
                return self.close();
            }
            let count = match from.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    continue;
                }
                Err(_) => break,
            };
            state.change(&mut piece[..count], if up { Side::Client } else { Side::Server });
            let Some(rest) = self.until_fate(&mut to, &piece[..count], up, state) else { return };
            if rest.is_empty() {
                continue;
            }
            if self.wait(state).is_none() {
                return self.close();
            }
            if to.write_all(rest).is_err() {
                if !self.was_stalled(state) {
                    self.close();
                }
                return;
            }
            state.forwarded.fetch_add(rest.len() as u64, Ordering::SeqCst);
        }
        // One direction ended; what is under way in the other still arrives.
        if self.wait(state).is_none() {
            self.close();
        } else if !self.was_stalled(state) {
            let _told = to.shutdown(Shutdown::Write);
        }
    }

    fn was_stalled(&self, state: &State) -> bool {
        self.stalled.load(Ordering::SeqCst) || self.number < state.stalled.load(Ordering::SeqCst)
    }

    /// Holds back while the connection is stalled; none when the proxy has ended.
    fn wait(&self, state: &State) -> Option<()> {
        let held = || {
            let until = *self.held.lock().unwrap();
            self.was_stalled(state) && self.number >= state.healed.load(Ordering::SeqCst)
                || until.is_some_and(|until| Instant::now() < until)
        };
        while held() {
            if state.closed.load(Ordering::SeqCst) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(())
    }

    /// Forwards up to the byte at which it happens, and does it. Returns what is still to be forwarded; none if this
    /// direction is over.
    fn until_fate<'a>(
        &self,
        to: &mut &TcpStream,
        bytes: &'a [u8],
        up: bool,
        state: &State,
    ) -> Option<&'a [u8]> {
        let mut slot = self.fate.lock().unwrap();
        let passed = self.passed.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        let Some((after, fault)) = *slot else { return Some(bytes) };
        let left = usize::try_from(after.saturating_sub(passed)).unwrap();
        if left > bytes.len() {
            return Some(bytes);
        }
        *slot = None;
        state.struck.fetch_add(1, Ordering::SeqCst);
        let (before, rest) = bytes.split_at(left);
        let _gone = to.write_all(before);
        match fault {
            Fault::Cut => {
                self.close();
                None
            }
            Fault::Stall => {
                self.stalled.store(true, Ordering::SeqCst);
                Some(rest)
            }
            Fault::HalfClose => {
                let _told = self.server.shutdown(Shutdown::Write);
                if up {
                    return None;
                }
                Some(rest)
            }
            Fault::Delay(time) => {
                *self.held.lock().unwrap() = Some(Instant::now() + time);
                Some(rest)
            }
        }
    }
}
