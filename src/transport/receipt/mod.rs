//! Commands that run on the target in a session of their own and leave a receipt, over any transport: a cut connection,
//! a killed controller or a reboot of the target do not leave open what became of them, and none is started twice.
//!
//! The scripts are in `scripts.rs`. One launch is one command on the transport; only what takes longer is followed by a
//! second one, so that its output is seen while it runs.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::command::{Command, Sudo, Words, shell_line};
use super::marks::{Marks, mark};
use super::quote::join;
use super::{Cancel, Ended, Exit, Stream, Transport, TransportError, Watch};
use crate::failpoint::{Spot, passed};

#[cfg(any(test, fuzzing))]
mod fuzz;
mod scripts;
#[cfg(test)]
mod tests;

#[cfg(any(test, fuzzing))]
pub use fuzz::fuzz;

/// How long a command may run before its output is followed.
const FOLLOW_AFTER: Duration = Duration::from_millis(120);
/// How often cancel and deadline are looked at while a command is silent.
const TICK: Duration = Duration::from_millis(50);
/// How long our own small scripts may take.
const SMALL: Duration = Duration::from_secs(60);
/// How many pieces of output may wait for their reader.
const QUEUE: usize = 64;

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

/// How a launch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launched {
    /// The command ended; what it wrote was handed to the watcher.
    Ended(Ended),
    /// It was not started, and this is what was said instead (by sudo, for one).
    Refused(Exit),
    /// The directory of the run is gone: it is to be prepared again.
    NoDirectory,
    /// There is no room for a receipt, so nothing was started.
    NoSpace,
    /// As [`Found::Void`].
    Void,
    /// As [`Found::Lost`].
    Lost(String),
    /// It was started before a reboot of the target for which the fence of this launch has no leave. Without that in the
    /// fence, a launch tells what became of it.
    Held,
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

/// A line that a script said of a call.
#[derive(Debug)]
struct Said {
    state: String,
    code: i32,
    whole: bool,
    why: String,
}

impl Said {
    fn read(line: &str) -> Self {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (state, code, whole, why) = (word(), word(), word(), word());
        let code = code.parse().ok().filter(|code| (0..=255).contains(code)).unwrap_or(255);
        let clean = |text: String, most| -> String {
            text.chars().filter(|letter| !letter.is_control()).take(most).collect()
        };
        Self { state: clean(state, 20), code, whole: whole == "whole", why: clean(why, 200) }
    }

    fn found(&self) -> Found {
        match self.state.as_str() {
            "none" => Found::Never,
            "void" => Found::Void,
            "starting" | "running" => Found::Running,
            "ended" if !self.was_cut_off() => Found::Ended(Ended::of_shell(self.code)),
            _ => Found::Lost(self.lost()),
        }
    }

    /// Returns whether we had it ended, and it did not come to its own end before.
    fn was_cut_off(&self) -> bool {
        !self.why.is_empty() && self.code != 0
    }

    fn lost(&self) -> String {
        match (self.state.as_str(), self.why.as_str()) {
            ("reboot", _) => "the target rebooted while it ran".to_owned(),
            ("starting" | "torn", _) => "whether it began cannot be told".to_owned(),
            ("killed", "") => "it was killed, and left no status".to_owned(),
            ("killed" | "ended", why) => format!("it was ended: {why}"),
            (state, _) => format!("its receipt says `{state}`"),
        }
    }
}

fn new_mark() -> Result<String, TransportError> {
    mark().map_err(|error| TransportError::Invalid(format!("/dev/urandom: {error}")))
}

enum Piece {
    Launch(Stream, Vec<u8>),
    Follow(Stream, Vec<u8>),
    LaunchEnded(Result<Exit, TransportError>),
    FollowEnded(Result<Exit, TransportError>),
}

/// Runs a command that changes something and leaves a receipt, or goes on with the one that has been started under the
/// same name. `seen` says how much of its output is known, and is kept up to date.
///
/// On timeout or cancel its whole process group is ended; after a second cancel that is not waited for, and what still
/// runs is found by the next call.
///
/// # Errors
/// As [`Transport::exec`]. After [`TransportError::Lost`], call it again once the target is back.
pub fn run(
    transport: &dyn Transport,
    command: &Command,
    at: &At,
    seen: &mut Seen,
    cancel: &Cancel,
    watch: Watch<'_>,
) -> Result<Launched, TransportError> {
    let mark = new_mark()?;
    let launch = launcher(command, at, &mark, *seen)?;
    let (sender, pieces) = mpsc::sync_channel(QUEUE);
    let ours = Cancel::new();
    std::thread::scope(|scope| {
        let (to, own) = (sender.clone(), ours.clone());
        let begun =
            std::thread::Builder::new().name("launch".to_owned()).spawn_scoped(scope, move || {
                passed(Spot::Launch);
                passed(Spot::Launching);
                let ended = transport.exec(&launch, &own, &mut |stream, bytes| {
                    let _nobody = to.send(Piece::Launch(stream, bytes.to_vec()));
                });
                passed(Spot::Launched);
                let _nobody = to.send(Piece::LaunchEnded(ended));
            });
        if let Err(error) = begun {
            return Err(TransportError::Invalid(format!("no thread for a command: {error}")));
        }
        let mut following = Following {
            launch: *seen,
            follow: *seen,
            seen,
            marks: Marks::new(&mark),
            state: Follow::No,
            launched: None,
        };
        let result = following.until_end(
            transport,
            command,
            at,
            cancel,
            watch,
            &pieces,
            &mut |from: Seen| {
                let (to, own) = (sender.clone(), ours.clone());
                let follow = follower(command, at, &mark, from);
                let thread = std::thread::Builder::new().name("follow".to_owned());
                let begun = thread.spawn_scoped(scope, move || {
                    let ended = transport.exec(&follow, &own, &mut |stream, bytes| {
                        let _nobody = to.send(Piece::Follow(stream, bytes.to_vec()));
                    });
                    let _nobody = to.send(Piece::FollowEnded(ended));
                });
                begun.is_ok()
            },
        );
        // Whatever still runs of ours on the way is not needed any more; the command itself is in another session.
        ours.cancel();
        drop(pieces);
        result
    })
}

/// How the following of the output stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follow {
    No,
    Going,
    Through,
}

struct Following<'a> {
    /// How far each of the two sources has come; both may carry the same bytes.
    launch: Seen,
    follow: Seen,
    seen: &'a mut Seen,
    marks: Marks,
    state: Follow,
    launched: Option<Exit>,
}

impl Following<'_> {
    #[expect(clippy::too_many_arguments, reason = "what a launch consists of")]
    fn until_end(
        &mut self,
        transport: &dyn Transport,
        command: &Command,
        at: &At,
        cancel: &Cancel,
        watch: Watch<'_>,
        pieces: &mpsc::Receiver<Piece>,
        follow: &mut dyn FnMut(Seen) -> bool,
    ) -> Result<Launched, TransportError> {
        let started = Instant::now();
        let mut stop: Option<TransportError> = None;
        loop {
            match pieces.recv_timeout(TICK) {
                Ok(Piece::Launch(stream, bytes)) => {
                    let bytes = if stream == Stream::Out { self.marks.pass(bytes) } else { bytes };
                    self.take(stream, &bytes, false, watch);
                }
                Ok(Piece::Follow(stream, bytes)) => self.take(stream, &bytes, true, watch),
                Ok(Piece::LaunchEnded(ended)) => match ended {
                    Ok(exit) => {
                        let rest = self.marks.rest();
                        self.take(Stream::Out, &rest, false, watch);
                        self.launched = Some(exit);
                    }
                    Err(error) => return Err(stop.unwrap_or(error)),
                },
                Ok(Piece::FollowEnded(Err(error))) if self.launched.is_some() => return Err(error),
                // If the way broke, the launch finds out as well.
                Ok(Piece::FollowEnded(_)) => self.state = Follow::Through,
                Err(_) => {}
            }
            if let Some(exit) = &self.launched {
                let Some(line) = self.marks.said().first() else {
                    if let Some(error) = stop {
                        return Err(error);
                    }
                    return refused(transport, command, at, exit, cancel);
                };
                let said = Said::read(line);
                if said.state != "ended" || said.whole || self.state == Follow::Through {
                    if let Some(error) = stop {
                        return Err(error);
                    }
                    return Ok(launched(&said));
                }
                // Somebody else followed it and is gone, or ours is not through yet.
                if self.state == Follow::No {
                    self.begin(follow)?;
                }
                continue;
            }
            if stop.is_none() {
                if cancel.level() > 1 {
                    return Err(TransportError::Cancelled);
                } else if cancel.is_cancelled() {
                    let why = "it was interrupted by the operator";
                    end(transport, command, at, why, cancel)?;
                    stop = Some(TransportError::Cancelled);
                } else if let Some(after) = command.timeout
                    && started.elapsed() >= after
                {
                    end(transport, command, at, "it took longer than allowed", cancel)?;
                    stop = Some(TransportError::Timeout { after });
                } else if self.state == Follow::No && started.elapsed() >= FOLLOW_AFTER {
                    self.begin(follow)?;
                }
            }
        }
    }

    fn begin(&mut self, follow: &mut dyn FnMut(Seen) -> bool) -> Result<(), TransportError> {
        self.follow = *self.seen;
        if !follow(*self.seen) {
            return Err(TransportError::Invalid("no thread to follow a command".to_owned()));
        }
        self.state = Follow::Going;
        Ok(())
    }

    /// Hands on what was not seen before.
    fn take(&mut self, stream: Stream, bytes: &[u8], followed: bool, watch: Watch<'_>) {
        let source = if followed { &mut self.follow } else { &mut self.launch };
        let from = *source.of(stream);
        let to = from + bytes.len() as u64;
        *source.of(stream) = to;
        let seen = self.seen.of(stream);
        let known = usize::try_from(seen.saturating_sub(from)).unwrap_or(usize::MAX);
        if let Some(new) = bytes.get(known..).filter(|new| !new.is_empty()) {
            *seen = to;
            watch(stream, new);
        }
    }
}

fn launched(said: &Said) -> Launched {
    match said.state.as_str() {
        "ended" if !said.was_cut_off() => Launched::Ended(Ended::of_shell(said.code)),
        "nodir" => Launched::NoDirectory,
        "nospace" => Launched::NoSpace,
        "void" => Launched::Void,
        _ => Launched::Lost(said.lost()),
    }
}

/// The launcher said nothing: it was never reached, or it was killed.
fn refused(
    transport: &dyn Transport,
    command: &Command,
    at: &At,
    exit: &Exit,
    cancel: &Cancel,
) -> Result<Launched, TransportError> {
    let why = "the launcher of a command was killed".to_owned();
    let killed = TransportError::Lost { target: transport.describe(), why };
    if exit.success() {
        return Err(killed);
    }
    // Where not even a look is allowed (sudo refuses), nothing was started either.
    match look(transport, at, command.sudo.clone(), cancel) {
        Ok(Found::Never) | Err(TransportError::Invalid(_)) => Ok(Launched::Refused(exit.clone())),
        Ok(_) if command.fence.as_ref().is_some_and(|fence| fence.rebooted(exit)) => {
            Ok(Launched::Held)
        }
        Ok(_) => Err(killed),
        Err(error) => Err(error),
    }
}

/// Ends a call, and makes sure that nothing of it is left, unless a second cancel ends the wait for that.
fn end(
    transport: &dyn Transport,
    command: &Command,
    at: &At,
    why: &str,
    cancel: &Cancel,
) -> Result<(), TransportError> {
    let mark = new_mark()?;
    let ending = Command::script(scripts::END, [mark.as_str(), &at.dir, &at.call, why])
        .sudo(command.sudo.clone())
        .timeout(Some(SMALL));
    ended(transport, &ending, &mark, &cancel.second())
}

/// Ends whatever still runs of a run as the user that `sudo` says, but for what takes something back.
///
/// # Errors
/// As [`Transport::exec`].
pub fn end_all(
    transport: &dyn Transport,
    dir: &str,
    sudo: Option<Sudo>,
    why: &str,
) -> Result<(), TransportError> {
    let mark = new_mark()?;
    let ending = Command::script(scripts::END_ALL, [mark.as_str(), dir, why])
        .sudo(sudo)
        .timeout(Some(SMALL * 3));
    // Nobody can cancel it.
    ended(transport, &ending, &mark, &Cancel::new())
}

/// Runs a script that ends commands.
fn ended(
    transport: &dyn Transport,
    ending: &Command,
    mark: &str,
    cancel: &Cancel,
) -> Result<(), TransportError> {
    let exit = transport.exec(ending, cancel, &mut |_, _| {})?;
    let mut marks = Marks::new(mark);
    marks.pass(exit.stdout.clone());
    if marks.said().first().is_some_and(|said| said == "gone") {
        return Ok(());
    }
    Err(TransportError::Lost {
        target: transport.describe(),
        why: format!(
            "a command could not be ended; {}",
            String::from_utf8_lossy(&exit.stderr).trim()
        ),
    })
}

/// The command that launches another. Environment, directory, secrets and user are set around the launcher.
fn launcher(command: &Command, at: &At, mark: &str, seen: Seen) -> Result<Command, TransportError> {
    let line = match &command.words {
        Words::Shell(line) => shell_line(line).map_err(TransportError::Invalid)?,
        Words::List(words) if words.is_empty() => {
            return Err(TransportError::Invalid("the command is empty".to_owned()));
        }
        Words::List(words) => {
            let words = join(words.iter().map(String::as_str)).map_err(TransportError::Invalid)?;
            format!("exec {words}")
        }
    };
    let script = Command::script(
        scripts::LAUNCH,
        [
            mark.to_owned(),
            at.dir.clone(),
            at.call.clone(),
            line,
            command.stdin.len().to_string(),
            seen.out.to_string(),
            seen.err.to_string(),
        ],
    );
    Ok(Command { words: script.words, timeout: None, launcher: true, ..command.clone() })
}

fn follower(command: &Command, at: &At, mark: &str, seen: Seen) -> Command {
    Command::script(
        scripts::FOLLOW,
        [mark, &at.dir, &at.call, &seen.out.to_string(), &seen.err.to_string()],
    )
    .reading()
    .sudo(command.sudo.clone())
}
