//! A TCP connection through a session: bytes between a channel and a socket of ours.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::event::PollFlags;
use ssh2::{Channel, Session};

use super::channel::{Try, retry, retry_io};

#[expect(clippy::struct_excessive_bools, reason = "two directions that end independently")]
pub(super) struct Tunnel {
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

impl Tunnel {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            up: Buffer::new(),
            up_eof: false,
            eof_sent: false,
            down: Buffer::new(),
            down_ended: false,
            hung_up: false,
        }
    }

    /// The other end of the socket is gone.
    pub(super) fn hung_up(&mut self) {
        self.hung_up = true;
    }

    /// Returns the socket and what it waits for.
    pub(super) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        if self.hung_up {
            return None;
        }
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.up.is_empty() && !self.up_eof);
        flags.set(PollFlags::OUT, !self.down.is_empty());
        Some((self.socket.as_fd(), flags))
    }

    /// Returns whether the target's side has said its last.
    pub(super) fn down_ended(&self) -> bool {
        self.down_ended
    }

    pub(super) fn up(&mut self, channel: &mut Channel, session: &Session) -> Try<bool> {
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
                Try::Done(progress || count > 0)
            }
            Try::Wait => Try::Wait,
            Try::Blocked => Try::Blocked,
            Try::Refused(why) => Try::Refused(why),
            Try::Dead(why) => Try::Dead(why),
        }
    }

    pub(super) fn send_eof(&mut self, channel: &mut Channel, session: &Session) -> Try<bool> {
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

    pub(super) fn down(&mut self, channel: &mut Channel, session: &Session) -> Try<bool> {
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
    pub(super) fn is_over(&self) -> bool {
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
