//! Running one command: the lines that the remote shell adds so that we know its process group and its end, and the
//! way to end it.
//!
//! A small shell stays the leader of the command's session. It says its process id before the command starts and the
//! status after it ended, on lines that carry a random mark and that nobody else sees. So the end is known even if
//! something in the background holds the pipes, and 0 is never taken from libssh2, which also says 0 for "no status".
//! A status over 128 that fits a signal counts as that signal: a shell cannot tell them apart.

use std::io::Read;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use aho_corasick::AhoCorasick;

use super::channel::{Event, ExecJob, Job, Shared};
use super::handle::Link;
use super::orphan::{Orphan, Served};
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

/// `$1` mark, `$2` command line. The shell itself says nothing on standard error ("Killed"), the command does. Its first
/// line is read by [`Served`]; all of it is builtins, so that it costs no process.
const LEADER: &str = "exec 3>&2 2>/dev/null; \
                      read -r uh_b </proc/sys/kernel/random/boot_id; read -r uh_s </proc/$PPID/stat; \
                      echo \"$1 $$ $PPID ${uh_b:--} ${uh_s##*) }\" >&3; unset uh_b uh_s; \
                      (exec 2>&3 3>&-; eval \"$2\"); r=$?; \
                      echo \"$1 end $r\"; echo \"$1 end $r\" >&3; exit $r";

/// `$1` process group. Processes that ended and wait to be collected do not count, where /proc tells.
const END_GROUP: &str = r#"g=$1
alive() {
  if [ -r /proc/self/stat ]; then
    for f in /proc/[0-9]*/stat; do
      { read -r l <"$f"; } 2>/dev/null || continue
      l=${l##*) }
      set -- $l
      [ "$3" = "$g" ] && [ "$1" != Z ] && [ "$1" != X ] && return 0
    done
    return 1
  fi
  kill -s 0 -- "-$g" 2>/dev/null
}
ends() {
  n=0
  while alive; do
    [ "$n" -ge "$1" ] && return 1
    n=$((n+1))
    sleep 0.1 2>/dev/null || { sleep 1; n=$((n+9)); }
  done
}
kill -s TERM -- "-$g" 2>/dev/null
ends 50 || { kill -s KILL -- "-$g" 2>/dev/null; ends 30; }
if alive; then echo left; else echo gone; fi"#;

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
}

impl<'a> Running<'a> {
    fn start(over: &'a Arc<Link>, command: &Command, urgent: bool) -> Result<Self, TransportError> {
        let (script, mut stdin) = command.to_shell().map_err(TransportError::Invalid)?;
        stdin.extend_from_slice(&command.stdin);
        let mark =
            mark().map_err(|error| TransportError::Invalid(format!("/dev/urandom: {error}")))?;
        let words = ["exec", "sh", "-c", LEADER, "sh", &mark, &script];
        let line = join(words).map_err(TransportError::Invalid)?;
        let (sender, events) = mpsc::sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let job = ExecJob {
            line,
            stdin,
            events: sender,
            shared: Arc::clone(&shared),
            urgent,
            refusals: 0,
        };
        over.start(Job::Exec(job));
        let marks = || Marks::new(&mark).map_err(TransportError::Invalid);
        let (out, err) = (marks()?, marks()?);
        Ok(Self { link: over, mark, shared, events, out, err, closed: None })
    }

    /// Returns the process group, once the remote shell has said it.
    fn group(&self) -> Option<String> {
        let group = self.err.said.first()?.split(' ').next()?;
        group.bytes().all(|byte| byte.is_ascii_digit()).then(|| group.to_owned())
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
        if let (Some(status), Some(_)) = (self.err.end(), self.out.end()) {
            return Next::Ended(ended(status));
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
                if let (None, Some(line)) = (self.link.served.get(), self.err.said.first())
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
        if status != 0 {
            return Next::Ended(Ended::Code(status));
        }
        let why = if self.err.said.is_empty() {
            "the server did not run the command as asked (no POSIX shell, or a forced command)"
        } else {
            "the command's end was not reported"
        };
        Next::Trouble(lost(self.link, why).into())
    }

    fn broken(&self) -> Trouble {
        if let Some(why) = self.shared.refused() {
            return TransportError::Connect {
                target: self.link.name().to_owned(),
                why: format!("the server refused to run a command: {why}"),
                hint: None,
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

fn ended(status: i32) -> Ended {
    let name = match status - 128 {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        10 => "USR1",
        11 => "SEGV",
        12 => "USR2",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        _ => return Ended::Code(status),
    };
    Ended::Signal(name.to_owned())
}

fn mark() -> std::io::Result<String> {
    let mut random = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(format!("\u{1e}uh-{:032x}", u128::from_ne_bytes(random)))
}

/// Takes the marked lines out of a stream, wherever the pieces are cut.
struct Marks {
    mark: Vec<u8>,
    find: AhoCorasick,
    /// The beginning of what may become a marked line.
    held: Vec<u8>,
    said: Vec<String>,
}

impl Marks {
    fn new(mark: &str) -> Result<Self, String> {
        let find = AhoCorasick::new([mark]).map_err(|error| error.to_string())?;
        Ok(Self { mark: mark.as_bytes().to_vec(), find, held: Vec::new(), said: Vec::new() })
    }

    /// Returns the status, once the end was said.
    fn end(&self) -> Option<i32> {
        self.said.last()?.strip_prefix("end ")?.parse().ok()
    }

    /// Takes a piece; returns what of it belongs to the command. After the end, nothing does.
    fn pass(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let mut bytes = if self.held.is_empty() {
            bytes
        } else {
            let mut joined = std::mem::take(&mut self.held);
            joined.extend_from_slice(&bytes);
            joined
        };
        let mut passed = Vec::new();
        loop {
            if self.end().is_some() {
                return passed;
            }
            let Some(found) = self.find.find(&bytes) else { break };
            let after = &bytes[found.end()..];
            let Some(length) = after.iter().position(|byte| *byte == b'\n') else {
                self.held = bytes.split_off(found.start());
                passed.append(&mut bytes);
                return passed;
            };
            self.said.push(String::from_utf8_lossy(&after[..length]).trim().to_owned());
            let rest = bytes.split_off(found.end() + length + 1);
            passed.extend_from_slice(&bytes[..found.start()]);
            bytes = rest;
        }
        // The mark may have been cut in the middle.
        let longest = self.mark.len().min(bytes.len() + 1) - 1;
        let cut = (1..=longest).rev().find(|length| bytes.ends_with(&self.mark[..*length]));
        self.held = bytes.split_off(bytes.len() - cut.unwrap_or(0));
        if passed.is_empty() {
            return bytes;
        }
        passed.append(&mut bytes);
        passed
    }

    /// Returns what was held back and did not become a marked line.
    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn marked_lines_are_taken_out() {
        let mut marks = Marks::new("\u{1e}uh-1").unwrap();
        assert_eq!(marks.pass(b"motd\n\x1euh-1 42\nhello".to_vec()), b"motd\nhello");
        assert_eq!(marks.said, ["42"]);
        assert_eq!(marks.pass(b" \x1euh".to_vec()), b" ");
        assert_eq!(marks.pass(b"-2\x1eu".to_vec()), b"\x1euh-2");
        assert_eq!(marks.pass(b"h-1 end 3\nlate".to_vec()), b"");
        assert_eq!(marks.end(), Some(3));
        assert_eq!(marks.pass(b"later".to_vec()), b"");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(before in prop::collection::vec(any::<u8>(), 0..40), cuts in prop::collection::vec(1usize..8, 0..30)) {
            let mut whole = before.clone();
            whole.extend_from_slice(b"\x1euh-77777777777 9\n");
            whole.extend_from_slice(&before);
            whole.extend_from_slice(b"\x1euh-77777777777 end 0\nrest");
            let mut marks = Marks::new("\u{1e}uh-77777777777").unwrap();
            let mut seen = Vec::new();
            let mut rest = &whole[..];
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                seen.extend(marks.pass(piece.to_vec()));
                rest = after;
            }
            seen.extend(marks.pass(rest.to_vec()));
            prop_assert_eq!(seen, [before.clone(), before].concat());
            prop_assert_eq!(marks.end(), Some(0));
        }
    }
}
