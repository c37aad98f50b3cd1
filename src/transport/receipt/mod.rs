//! Commands that run on the target in a session of their own and leave a receipt, over any transport: a cut connection,
//! a killed controller or a reboot of the target do not leave open what became of them, and none is started twice.
//!
//! The scripts are in `scripts.rs`.

use std::time::Duration;

use self::said::Said;
use super::command::{Command, Sudo};
use super::marks::{Marks, mark};
use super::{Cancel, Ended, Exit, Stream, Transport, TransportError};

mod end;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod launch;
mod said;
mod scripts;
#[cfg(test)]
mod tests;

pub use end::end_all;
#[cfg(any(test, fuzzing))]
pub use fuzz::fuzz;
pub use launch::{Launched, run};

/// How long our own small scripts may take.
const SMALL: Duration = Duration::from_secs(60);

/// Where the receipt of a call is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The directory of the run on the target, as [`prepare`] returned it.
    pub dir: String,
    /// The call: letters, digits, `-` and `.` only.
    pub call: String,
}

/// How much of the output of a call is known already, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Of standard output.
    pub out: u64,
    /// Of standard error.
    pub err: u64,
}

impl Seen {
    fn of(&mut self, stream: Stream) -> &mut u64 {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nobody has started it.
    Never,
    /// Its launcher died before it began, and it will not begin any more. Another call may take its place.
    Void,
    /// It is about to begin or runs.
    Running,
    /// It ended with this.
    Ended(Ended),
    /// It cannot be told, for this reason.
    Lost(String),
}

/// What a run keeps on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The run's id.
    pub run: String,
    /// The number of the user who it was for.
    pub user: u32,
    /// How many commands left receipts.
    pub calls: u32,
    /// How many of them still run.
    pub running: u32,
}

/// Makes the directory of a run on a target, for the user that `sudo` says, and returns it.
///
/// # Errors
/// As [`Transport::exec`]; [`TransportError::Invalid`] with what the target said if it cannot be made.
pub fn prepare(
    transport: &dyn Transport,
    run: &str,
    sudo: Option<Sudo>,
    cancel: &Cancel,
) -> Result<Result<String, Exit>, TransportError> {
    let command = Command::script(scripts::PREPARE, [run]).sudo(sudo).timeout(Some(SMALL));
    let exit = transport.exec(&command, cancel, &mut |_, _| {})?;
    let said = exit.out();
    let dir = said.trim_end_matches('\n');
    let sound = exit.success()
        && dir.starts_with('/')
        && dir.len() < 4096
        && !dir.contains(char::is_control);
    Ok(if sound { Ok(dir.to_owned()) } else { Err(exit) })
}

/// Finds out what became of a call. Only reads, but for a call whose launcher died before it began: that one is made
/// void, so that the answer stays true.
///
/// # Errors
/// As [`Transport::exec`].
pub fn look(
    transport: &dyn Transport,
    at: &At,
    sudo: Option<Sudo>,
    cancel: &Cancel,
) -> Result<Found, TransportError> {
    let mark = new_mark()?;
    let command = Command::script(scripts::LOOKUP, [&mark, &at.dir, &at.call])
        .sudo(sudo)
        .timeout(Some(SMALL));
    let exit = transport.exec(&command.reading(), cancel, &mut |_, _| {})?;
    let mut marks = Marks::new(&mark);
    marks.pass(exit.stdout.clone());
    match marks.said().first() {
        Some(line) => Ok(Said::read(line).found()),
        None => Err(TransportError::Invalid(format!(
            "the target does not say what became of a command: {}",
            String::from_utf8_lossy(&exit.stderr).trim()
        ))),
    }
}

/// How many runs a target may name.
const LISTED: usize = 10_000;

/// Lists what runs keep on a target: all of it for root, what is their own for others.
///
/// # Errors
/// As [`Transport::exec`].
pub fn list(transport: &dyn Transport, cancel: &Cancel) -> Result<Vec<Kept>, TransportError> {
    let command = Command::script::<&str>(scripts::LIST, []).reading().timeout(Some(SMALL));
    let exit = transport.exec(&command, cancel, &mut |_, _| {})?;
    Ok(exit.out().lines().take(LISTED).filter_map(kept).collect())
}

/// Reads a line of the list. A name that is no run's id is not one of ours.
fn kept(line: &str) -> Option<Kept> {
    let mut words = line.split(' ');
    let run = words.next().filter(|run| {
        !run.is_empty()
            && run.len() < 100
            && run.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })?;
    let mut number = || words.next()?.parse().ok();
    Some(Kept { run: run.to_owned(), user: number()?, calls: number()?, running: number()? })
}

fn new_mark() -> Result<String, TransportError> {
    mark().map_err(|error| TransportError::Invalid(format!("/dev/urandom: {error}")))
}
