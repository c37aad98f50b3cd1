//! A channel joined to descriptors of ours: a TCP connection through the session, or the standard input and output of a
//! command. Bytes are moved as they come; whoever is slow holds the other side back.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::PollFlags;
use ssh2::{Channel, Session};

use super::channel::{Try, retry, retry_io};
use crate::transport::Streams;

/// The most that libssh2 puts into one packet.
const PACKET: usize = 32_700;
/// How many packets are taken from a descriptor, or given to it, at once.
const PACKETS: usize = 4;

/// One of the two descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// What goes to the target is read from it.
    Input,
    /// What comes from the target is written to it.
    Output,
}

pub(super) struct Splice {
    streams: Streams,
    /// None once nothing more comes from it.
    input: Option<Arc<OwnedFd>>,
    up: Buffer,
    eof_sent: bool,
    /// None once nothing more goes to it.
    output: Option<Arc<OwnedFd>>,
    down: Buffer,
    down_ended: bool,
    /// The other side of it is gone, so that waiting for it would never end.
    input_hung_up: bool,
}

/// Bytes on their way. They stay where they are until all are gone, because libssh2 must be given the same memory again.
struct Buffer {
    bytes: Box<[u8]>,
    from: usize,
    to: usize,
}

impl Buffer {
    fn new() -> Self {
        Self { bytes: vec![0; PACKETS * PACKET].into_boxed_slice(), from: 0, to: 0 }
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

impl Splice {
    pub(super) fn new(streams: Streams) -> Self {
        let (input, output) = (Arc::clone(&streams.input), Arc::clone(&streams.output));
        Self {
            streams,
            input: Some(input),
            up: Buffer::new(),
            eof_sent: false,
            output: Some(output),
            down: Buffer::new(),
            down_ended: false,
            input_hung_up: false,
        }
    }

    /// The other side of a descriptor is gone. What it had sent before may still be read.
    pub(super) fn hung_up(&mut self, end: End) {
        match end {
            End::Input => self.input_hung_up = true,
            End::Output => self.nobody_reads(),
        }
    }

    /// Names the descriptors to wait for.
    pub(super) fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags, End)> {
        let when = |wanted: bool, flags| if wanted { flags } else { PollFlags::empty() };
        let input = self.input.as_ref().filter(|_| !self.input_hung_up);
        let input =
            input.map(|fd| (fd.as_fd(), when(self.up.is_empty(), PollFlags::IN), End::Input));
        let output = self.output.as_ref();
        let output =
            output.map(|fd| (fd.as_fd(), when(!self.down.is_empty(), PollFlags::OUT), End::Output));
        input.into_iter().chain(output)
    }

    /// Returns whether the target's side has said its last.
    pub(super) fn saw_eof(&self) -> bool {
        self.down_ended
    }

    /// Returns whether the target's side has said its last, and it was passed on.
    pub(super) fn is_passed_on(&self) -> bool {
        self.down_ended && self.down.is_empty()
    }

    /// The target's side takes nothing any more.
    pub(super) fn refuse(&mut self) {
        self.input = None;
        self.up.filled(0);
        self.eof_sent = true;
    }

    fn nobody_reads(&mut self) {
        self.output = None;
        self.down.filled(0);
    }

    pub(super) fn up(&mut self, channel: &mut Channel, session: &Session) -> Try<bool> {
        let mut progress = false;
        if let (true, Some(input)) = (self.up.is_empty(), &self.input) {
            match rustix::io::read(input, &mut self.up.bytes[..]) {
                Ok(0) => {
                    self.input = None;
                    progress = true;
                }
                Ok(count) => {
                    self.up.filled(count);
                    progress = true;
                }
                Err(error) if is_later(error) => {}
                Err(_) => {
                    self.input = None;
                    self.nobody_reads();
                    progress = true;
                }
            }
        }
        if self.up.is_empty() {
            return Try::Done(progress);
        }
        match retry_io(session, io::Write::write(channel, self.up.rest())) {
            Try::Done(count) => {
                self.up.from += count;
                self.streams.count(count);
                Try::Done(progress || count > 0)
            }
            Try::Wait => Try::Wait,
            Try::Blocked => Try::Blocked,
            Try::Refused(why) => Try::Refused(why),
            Try::Dead(why) => Try::Dead(why),
        }
    }

    pub(super) fn send_eof(&mut self, channel: &mut Channel, session: &Session) -> Try<bool> {
        if self.eof_sent || self.input.is_some() || !self.up.is_empty() {
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
            match retry_io(session, io::Read::read(channel, &mut self.down.bytes)) {
                Try::Done(0) if channel.eof() => {
                    self.down_ended = true;
                    if let Some(output) = self.output.take() {
                        // Not all descriptors are sockets; others end when nobody holds them any more.
                        let _no_socket =
                            rustix::net::shutdown(output, rustix::net::Shutdown::Write);
                    }
                    return Try::Done(true);
                }
                Try::Done(0) | Try::Wait => {}
                Try::Done(count) => {
                    self.down.filled(count);
                    self.streams.count(count);
                    progress = true;
                }
                Try::Blocked => return Try::Blocked,
                Try::Refused(why) => return Try::Refused(why),
                Try::Dead(why) => return Try::Dead(why),
            }
        }
        if !self.down.is_empty() {
            let Some(output) = &self.output else {
                // Nobody hears it.
                self.down.filled(0);
                return Try::Done(true);
            };
            match rustix::io::write(output, self.down.rest()) {
                Ok(count) => {
                    self.down.from += count;
                    progress = true;
                }
                Err(error) if is_later(error) => {}
                Err(_) => {
                    self.nobody_reads();
                    progress = true;
                }
            }
        }
        Try::Done(progress)
    }

    /// Returns whether neither side has anything to say, or nobody is left to hear it.
    pub(super) fn is_over(&self) -> bool {
        let up_over = self.input.is_none() && self.up.is_empty() && self.eof_sent;
        up_over && self.down.is_empty() && (self.down_ended || self.output.is_none())
    }
}

fn is_later(error: rustix::io::Errno) -> bool {
    matches!(error, rustix::io::Errno::AGAIN | rustix::io::Errno::INTR)
}
