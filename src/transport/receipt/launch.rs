//! Launching a command and following it to its end: one command on the transport launches it, and only what takes longer
//! is followed by a second one.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::end::end;
use super::said::Said;
use super::{At, Found, Seen, look, new_mark, scripts};
use crate::failpoint::{Spot, passed};
use crate::transport::command::{Words, shell_line};
use crate::transport::marks::Marks;
use crate::transport::quote::join;
use crate::transport::{Cancel, Command, Ended, Exit, Stream, Transport, TransportError, Watch};

/// How long a command may run before its output is followed.
const FOLLOW_AFTER: Duration = Duration::from_millis(120);
/// How often cancel and deadline are looked at while a command is silent.
const TICK: Duration = Duration::from_millis(50);
/// How many pieces of output may wait for their reader.
const QUEUE: usize = 64;

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

/// The command that launches another. Environment, directory, secrets and user are set around the launcher.
pub(super) fn launcher(
    command: &Command,
    at: &At,
    mark: &str,
    seen: Seen,
) -> Result<Command, TransportError> {
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
