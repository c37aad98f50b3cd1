//! Running one command: the lines that the remote shell adds so that we know its process group and its end, and the
//! way to end it.
//!
//! A small shell stays the leader of the command's session. It says its process id before the command starts and the
//! status after it ended, on lines that carry a random mark and that nobody else sees. So the end is known even if
//! something in the background holds the pipes, and 0 is never taken from libssh2, which also says 0 for "no status".
//! A status over 128 that fits a signal counts as that signal: a shell cannot tell them apart.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::channel::{Event, ExecJob, Job, Shared};
use super::handle::Link;
use super::orphan::{Orphan, Served};
use crate::transport::group::end_group;
use crate::transport::marks::{Marks, mark};
use crate::transport::quote::join;
use crate::transport::{Cancel, Command, Ended, Exit, Kept, Stream, Sudo, TransportError, Watch};

/// How often cancel and deadline are looked at while a command is silent.
const TICK: Duration = Duration::from_millis(50);
/// How many pieces of output may wait for their reader.
const QUEUE: usize = 16;
/// How long the login shell may take to say the process id when the command is to be ended.
const START_GRACE: Duration = Duration::from_secs(10);
/// How long ending a group may take in all: it gives 5 s to TERM and 3 s to KILL.
const KILL_LIMIT: Duration = Duration::from_secs(20);

/// `$1` mark, `$2` command line, `$3` something if standard output is the command's alone. The shell itself says nothing
/// on standard error ("Killed"), the command does; all of it is builtins, so that it costs no process but that of the
/// command. `$first` is what it says first, `$run` how it runs the command.
macro_rules! leader {
    ($first:literal, $run:literal) => {
        concat!(
            "exec 3>&2 2>/dev/null; ",
            $first,
            " >&3; ",
            $run,
            "; r=$?; ",
            "[ \"$3\" ] || echo \"$1 end $r\"; echo \"$1 end $r\" >&3; exit $r"
        )
    };
}

/// The first of a connection: it also says who serves it, which [`Served`] reads.
const FIRST: &str = leader!(
    "read -r uh_b </proc/sys/kernel/random/boot_id; read -r uh_s </proc/$PPID/stat; \
     echo \"$1 $$ $PPID ${uh_b:--} ${uh_s##*) } ${SHELL:--}\"",
    "unset uh_b uh_s; (exec 2>&3 3>&-; eval \"$2\")"
);
/// Any later one.
const LATER: &str = leader!("echo \"$1 $$\"", "(exec 2>&3 3>&-; eval \"$2\")");
/// Any later one that is simple.
const SIMPLE: &str = leader!("echo \"$1 $$\"", "eval \"$2\" 2>&3 3>&-");

/// `$1` process group.
const END_GROUP: &str = concat!(
    "g=$1",
    end_group!(),
    "end_group
if alive; then echo left; else echo gone; fi"
);

/// Why there is no exit.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The session turned out to be lost before anything was sent: it is safe to try again.
    NotStarted(String),
    /// Anything else.
    Error(TransportError),
}

impl From<TransportError> for Trouble {
    fn from(error: TransportError) -> Self {
        Self::Error(error)
    }
}

/// Runs `command` over `link`. `another` makes a second link, for a server that allows one command at a time.
pub(super) fn run(
    link: &Arc<Link>,
    command: &Command,
    cancel: &Cancel,
    watch: Watch<'_>,
    another: &dyn Fn() -> Result<Arc<Link>, TransportError>,
    orphans: &Mutex<Vec<Orphan>>,
) -> Result<Exit, Trouble> {
    let mut running = Running::start(link, command, false)?;
    let result = follow(&mut running, link, command, cancel, watch, another);
    if let (Err(Trouble::Error(TransportError::Lost { .. })), Some(grace)) = (&result, command.tied)
    {
        let orphan = Orphan::new(&running.mark, link, command.sudo.clone(), grace);
        orphans.lock().unwrap_or_else(PoisonError::into_inner).push(orphan);
    }
    result
}

fn follow(
    running: &mut Running<'_>,
    link: &Arc<Link>,
    command: &Command,
    cancel: &Cancel,
    watch: Watch<'_>,
    another: &dyn Fn() -> Result<Arc<Link>, TransportError>,
) -> Result<Exit, Trouble> {
    let (mut out, mut err) = (Kept::default(), Kept::default());
    let started = Instant::now();
    let mut stop: Option<(TransportError, Instant)> = None;
    loop {
        let piece = running.next(TICK);
        match piece {
            Next::Output(stream, bytes) => {
                if !bytes.is_empty() {
                    watch(stream, &bytes);
                }
                match stream {
                    Stream::Out => out.push(&bytes),
                    Stream::Err => err.push(&bytes),
                }
            }
            Next::Nothing => {}
            Next::Ended(ended) => {
                return Ok(Exit { ended, stdout: out.finish(), stderr: err.finish() });
            }
            Next::Trouble(Trouble::Error(TransportError::NoShell { target, .. })) => {
                let said = [err.finish(), out.finish()].concat();
                let said =
                    String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned();
                return Err(TransportError::NoShell { target, said }.into());
            }
            Next::Trouble(trouble) => return Err(trouble),
        }
        if stop.is_none() {
            if cancel.is_cancelled() {
                stop = Some((TransportError::Cancelled, Instant::now()));
            } else if let Some(after) = command.timeout
                && started.elapsed() >= after
            {
                stop = Some((TransportError::Timeout { after }, Instant::now()));
            }
        }
        let Some((error, since)) = &stop else { continue };
        if command.launcher {
            return Err(error.clone().into());
        }
        if let Some(group) = running.group() {
            let sudo = command.sudo.as_ref();
            match end_group(link, &group, sudo) {
                Err(TransportError::Connect { .. }) => end_group(&another()?, &group, sudo)?,
                ended => ended?,
            }
            return Err(error.clone().into());
        }
        if running.forget() {
            return Err(error.clone().into());
        }
        if since.elapsed() > START_GRACE {
            return Err(lost(
                link,
                "the command did not say its process id, so it could not be ended",
            )
            .into());
        }
    }
}

/// Ends a process group, as the user who ran the command and, if that leaves something, as the one who logged in.
pub(super) fn end_group(
    link: &Arc<Link>,
    group: &str,
    sudo: Option<&Sudo>,
) -> Result<(), TransportError> {
    let mut ways = vec![None];
    if let Some(sudo) = sudo {
        ways.insert(0, Some(sudo.clone()));
    }
    let mut why = String::new();
    for sudo in ways {
        let command = Command::script(END_GROUP, [group]).sudo(sudo);
        match short(link, &command) {
            Ok(exit) if exit.out().trim_end() == "gone" => return Ok(()),
            Ok(exit) => String::from_utf8_lossy(&exit.stderr).trim().clone_into(&mut why),
            Err(Trouble::Error(error)) => return Err(error),
            Err(Trouble::NotStarted(why)) => return Err(lost(link, &why)),
        }
    }
    Err(lost(link, &format!("process group {group} could not be ended; {why}")))
}

/// Runs a command of our own that must not wait for others and that nobody can cancel.
pub(super) fn short(link: &Arc<Link>, command: &Command) -> Result<Exit, Trouble> {
    let mut running = Running::start(link, command, true)?;
    let end = Instant::now() + KILL_LIMIT;
    let (mut out, mut err) = (Kept::default(), Kept::default());
    while Instant::now() < end {
        match running.next(TICK) {
            Next::Output(Stream::Out, bytes) => out.push(&bytes),
            Next::Output(Stream::Err, bytes) => err.push(&bytes),
            Next::Nothing => {}
            Next::Ended(ended) => {
                return Ok(Exit { ended, stdout: out.finish(), stderr: err.finish() });
            }
            Next::Trouble(trouble) => return Err(trouble),
        }
    }
    Err(lost(link, "ending the command took too long").into())
}

pub(super) fn lost(link: &Link, why: &str) -> TransportError {
    TransportError::Lost { target: link.name().to_owned(), why: why.to_owned() }
}

/// What comes next from a command.
enum Next {
    Output(Stream, Vec<u8>),
    Nothing,
    Ended(Ended),
    Trouble(Trouble),
}

struct Running<'a> {
    link: &'a Arc<Link>,
    mark: String,
    shared: Arc<Shared>,
    events: mpsc::Receiver<Event>,
    out: Marks,
    err: Marks,
    closed: Option<(i32, Option<String>)>,
    /// It says itself how it ended.
    launcher: bool,
    /// Its standard output goes past us, and is all there when the channel is closed.
    joined: bool,
}

impl<'a> Running<'a> {
    fn start(over: &'a Arc<Link>, command: &Command, urgent: bool) -> Result<Self, TransportError> {
        let served = over.served.get();
        let plain = served.is_some_and(|served| served.plain_shell);
        let shell =
            if plain && command.launcher { Command::to_plain_shell } else { Command::to_shell };
        let (script, mut stdin) = shell(command).map_err(TransportError::Invalid)?;
        stdin.extend_from_slice(&command.stdin);
        let mark =
            mark().map_err(|error| TransportError::Invalid(format!("/dev/urandom: {error}")))?;
        let alone = if command.streams.is_some() { "alone" } else { "" };
        let later = if command.is_simple() { SIMPLE } else { LATER };
        let line = match (command.launcher, served) {
            (true, _) => Ok(script),
            // The login shell can do it itself: starting another takes about as long as a short command.
            (false, Some(_)) if plain => {
                join(["set", "--", &mark, &script, alone]).map(|set| format!("{set}; {later}"))
            }
            (false, Some(_)) => join(["exec", "sh", "-c", later, "sh", &mark, &script, alone]),
            (false, None) => join(["exec", "sh", "-c", FIRST, "sh", &mark, &script, alone]),
        };
        let line = line.map_err(TransportError::Invalid)?;
        if let Some(streams) = &command.streams {
            for fd in [&streams.input, &streams.output] {
                rustix::io::ioctl_fionbio(fd, true).map_err(|error| {
                    TransportError::Invalid(format!("what it is joined to can block: {error}"))
                })?;
            }
        }
        let (sender, events) = mpsc::sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let job = ExecJob {
            line,
            stdin,
            streams: command.streams.clone(),
            events: sender,
            shared: Arc::clone(&shared),
            urgent,
            refusals: 0,
        };
        over.start(Job::Exec(job));
        let (out, err) = (Marks::new(&mark), Marks::new(&mark));
        let (launcher, joined) = (command.launcher, command.streams.is_some());
        Ok(Self { link: over, mark, shared, events, out, err, closed: None, launcher, joined })
    }

    /// Returns the process group, once the remote shell has said it.
    fn group(&self) -> Option<String> {
        let group = self.err.said().first()?.split(' ').next()?;
        group.bytes().all(|byte| byte.is_ascii_digit()).then(|| group.to_owned())
    }

    /// Returns whether all that a joined command wrote has gone past us.
    fn is_passed(&self) -> bool {
        self.joined && self.closed.is_some()
    }

    /// Gives the command up; returns whether it is sure that it never started.
    fn forget(&self) -> bool {
        self.shared.forgotten.store(true, Ordering::SeqCst);
        let never = !self.shared.started.load(Ordering::SeqCst);
        if !never {
            self.shared.forgotten.store(false, Ordering::SeqCst);
        }
        never
    }

    fn next(&mut self, wait: Duration) -> Next {
        // Both streams have said that all the command wrote is there; whatever holds the pipes is not the command.
        if let (Some(status), true) = (self.err.end(), self.out.end().is_some() || self.is_passed())
        {
            self.shared.ended.store(true, Ordering::SeqCst);
            return Next::Ended(Ended::of_shell(status));
        }
        if let Some((status, signal)) = self.closed.take() {
            return self.closed_without_end(status, signal);
        }
        let event = self.events.recv_timeout(wait);
        if self.shared.stalled.swap(false, Ordering::SeqCst) {
            self.link.look();
        }
        match event {
            Ok(Event::Output(stream, bytes)) => {
                let marks = if stream == Stream::Out { &mut self.out } else { &mut self.err };
                let bytes = marks.pass(bytes);
                if let (None, Some(line)) = (self.link.served.get(), self.err.said().first())
                    && let Some(served) = Served::read(line)
                {
                    let _others_said_the_same = self.link.served.set(served);
                }
                Next::Output(stream, bytes)
            }
            Ok(Event::Closed { status, signal }) => {
                self.closed = Some((status, signal));
                let rest = self.err.rest();
                if rest.is_empty() {
                    Next::Output(Stream::Out, self.out.rest())
                } else {
                    Next::Output(Stream::Err, rest)
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => Next::Nothing,
            Err(mpsc::RecvTimeoutError::Disconnected) => Next::Trouble(self.broken()),
        }
    }

    fn closed_without_end(&self, status: i32, signal: Option<String>) -> Next {
        if let Some(signal) = signal {
            return Next::Ended(Ended::Signal(signal));
        }
        if self.launcher {
            return Next::Ended(Ended::Code(status));
        }
        // Its own status is no status of the command: nobody has begun that.
        if self.err.said().is_empty() {
            let target = self.link.name().to_owned();
            return Next::Trouble(TransportError::NoShell { target, said: String::new() }.into());
        }
        if status != 0 {
            return Next::Ended(Ended::Code(status));
        }
        Next::Trouble(lost(self.link, "the command's end was not reported").into())
    }

    fn broken(&self) -> Trouble {
        if let Some(why) = self.shared.refused() {
            return TransportError::Connect {
                target: self.link.name().to_owned(),
                why: format!("the server refused to run a command: {why}"),
                hint: Some(
                    "See the log of sshd there; it may allow no commands (MaxSessions 0)."
                        .to_owned(),
                ),
            }
            .into();
        }
        let why = self.link.why_lost();
        if self.shared.started.load(Ordering::SeqCst) {
            lost(self.link, &why).into()
        } else {
            Trouble::NotStarted(why)
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.shared.forgotten.store(true, Ordering::SeqCst);
        self.link.look();
    }
}
