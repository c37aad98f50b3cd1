//! Bytes between this machine and a command on the target, as a stream: nothing of it is kept in memory, and whoever is
//! slow holds the other side back.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::effect::Cx;
use crate::error::{Failure, Kind, Result};
use crate::event::Progress;
use crate::transport::{Command, Exit, Streams};

/// How often progress is told at most.
const TELL: Duration = Duration::from_millis(200);
/// How much is held in memory.
const PIECE: usize = 256 << 10;

/// The direction of a stream, as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

/// Runs `command` on the target while `body`, on a thread of its own, writes its standard input. Returns its end, and
/// what became of the body.
///
/// # Errors
/// As [`Cx::quiet`].
pub(super) fn send<T: Send>(
    cx: &Cx<'_>,
    command: Command,
    body: impl FnOnce(UnixStream) -> T + Send,
) -> Result<(Exit, T)> {
    join(cx, command, Way::There, body)
}

/// As [`send`], with a body that reads the command's standard output.
///
/// # Errors
/// As [`send`].
pub(super) fn receive<T: Send>(
    cx: &Cx<'_>,
    command: Command,
    body: impl FnOnce(UnixStream) -> T + Send,
) -> Result<(Exit, T)> {
    join(cx, command, Way::Back, body)
}

fn join<T: Send>(
    cx: &Cx<'_>,
    command: Command,
    way: Way,
    body: impl FnOnce(UnixStream) -> T + Send,
) -> Result<(Exit, T)> {
    let wrong = |error: io::Error| {
        Failure::new(
            Kind::Conflict,
            format!("no stream to {} can be made: {error}", cx.target.name),
        )
    };
    let (ours, theirs) = UnixStream::pair().map_err(wrong)?;
    let null = null().map_err(wrong)?;
    let streams = match way {
        Way::There => Streams::new(theirs, null),
        Way::Back => Streams::new(null, theirs),
    };
    let command = command.joined(streams);
    std::thread::scope(|scope| {
        let other = scope.spawn(move || body(ours));
        let ended = cx.quiet(&command);
        // Nobody holds the other end any more: the body meets the end of it.
        drop(command);
        let done = other.join().map_err(|_| Failure::new(Kind::Unknown, "a transfer broke off"))?;
        Ok((ended?, done))
    })
}

/// Opens what stands for the direction that nothing goes in.
pub(super) fn null() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}

/// Moves bytes, of which `done` are there already, until `from` has no more; and puts what passes into `hash`.
pub(super) fn pump(
    from: &mut impl Read,
    to: &mut impl Write,
    mut done: u64,
    mut hash: Option<&mut Sha256>,
    mut teller: Teller<'_>,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece)? {
            0 => break,
            count => {
                to.write_all(&piece[..count])?;
                if let Some(hash) = &mut hash {
                    hash.update(&piece[..count]);
                }
                done += count as u64;
                teller.tell(done);
            }
        }
    }
    teller.say(done);
    Ok(())
}

/// Tells how far a transfer has come, not too often.
pub(super) struct Teller<'a> {
    cx: &'a Cx<'a>,
    total: Option<u64>,
    told: Option<Instant>,
}

impl<'a> Teller<'a> {
    pub(super) fn new(cx: &'a Cx<'a>, total: Option<u64>) -> Self {
        Self { cx, total, told: None }
    }

    /// So many bytes are done.
    pub(super) fn tell(&mut self, done: u64) {
        if self.told.is_none_or(|told| told.elapsed() >= TELL) {
            self.told = Some(Instant::now());
            self.say(done);
        }
    }

    /// So many bytes are done, and that is to be seen.
    pub(super) fn say(&self, done: u64) {
        self.cx.progress(Progress {
            done,
            total: self.total,
            unit: "bytes".to_owned(),
            ..Progress::default()
        });
    }
}
