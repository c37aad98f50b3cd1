//! This machine: commands as child processes in a group of their own.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{
    Cancel, Command, Connection, Ended, Exit, Kept, Stream, Transport, TransportError, Watch,
};

/// How long a process group may take to end after TERM before it gets KILL.
const GRACE: Duration = Duration::from_secs(5);
/// How often cancel and deadline are looked at while a command is silent.
const TICK: Duration = Duration::from_millis(50);

/// How long a command's pipes are read after its end while others hold them open and say nothing.
const LINGER: Duration = Duration::from_millis(200);
/// And how long while they go on talking.
const CHATTY: Duration = Duration::from_secs(5);
/// How long output is left to gather when it comes in a rush of small pieces: a program that writes line by line is not to
/// cost a turn of three threads for each.
const GATHER: Duration = Duration::from_millis(2);

/// This machine.
#[derive(Debug, Default)]
pub struct Local;

enum Piece {
    Output(Stream, Vec<u8>),
    Closed,
}

impl Transport for Local {
    fn exec(
        &self,
        command: &Command,
        cancel: &Cancel,
        watch: Watch<'_>,
    ) -> Result<Exit, TransportError> {
        let (line, mut input) = command.to_shell().map_err(TransportError::Invalid)?;
        input.extend_from_slice(&command.stdin);
        let cannot = |error| TransportError::Invalid(format!("cannot start /bin/sh: {error}"));
        let (mut joined, stdout) = match &command.streams {
            None => (None, Stdio::piped()),
            Some(streams) => (
                Some(File::from(streams.input.try_clone().map_err(cannot)?)),
                streams.output.try_clone().map_err(cannot)?.into(),
            ),
        };
        let stdin = match joined.take_if(|_| input.is_empty()) {
            Some(joined) => joined.into(),
            None if input.is_empty() => Stdio::null(),
            None => Stdio::piped(),
        };
        let mut child = std::process::Command::new("/bin/sh")
            .arg("-c")
            .arg(line)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(cannot)?;

        let mut pipes = Vec::new();
        for pipe in [child.stdout.as_ref().map(AsFd::as_fd), child.stderr.as_ref().map(AsFd::as_fd)]
        {
            pipes.extend(pipe.map(|pipe| pipe.try_clone_to_owned()).transpose().map_err(cannot)?);
        }
        let (sender, pieces) = mpsc::sync_channel(64);
        if let Some(mut stdin) = child.stdin.take() {
            // A thread of its own: the command may write much before it reads. A command that does not read its input
            // to the end is its own business, so a broken pipe is no error.
            thread::spawn(move || {
                if stdin.write_all(&input).is_ok()
                    && let Some(mut rest) = joined
                {
                    let _closed = io::copy(&mut rest, &mut stdin);
                }
            });
        }
        if let Some(stdout) = child.stdout.take() {
            pump(stdout, Stream::Out, sender.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            pump(stderr, Stream::Err, sender.clone());
        }
        drop(sender);
        follow(child, &pipes, &pieces, command, cancel, watch)
    }

    fn connect(
        &self,
        host: &str,
        port: u16,
        timeout: Duration,
    ) -> Result<Box<dyn Connection>, TransportError> {
        let refused = |why: String| TransportError::Connect {
            target: format!("{host}:{port}"),
            why,
            hint: None,
        };
        let addresses =
            (host, port).to_socket_addrs().map_err(|error| refused(error.to_string()))?;
        let mut last = refused("the name has no address".to_owned());
        for address in addresses {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => return Ok(Box::new(Tcp(stream))),
                Err(error) => last = refused(error.to_string()),
            }
        }
        Err(last)
    }

    fn describe(&self) -> String {
        "this machine".to_owned()
    }

    fn own_address(&self) -> Option<IpAddr> {
        // An administrator who is logged in over ssh sits on this address.
        std::env::var("SSH_CONNECTION").ok()?.split(' ').nth(2)?.parse().ok()
    }

    fn boot_id(&self) -> Option<String> {
        static BOOT: OnceLock<Option<String>> = OnceLock::new();
        let read = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        BOOT.get_or_init(|| read().map(|id| id.trim().to_owned())).clone()
    }
}

fn pump(mut from: impl Read + Send + 'static, stream: Stream, to: mpsc::SyncSender<Piece>) {
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        let mut last = None;
        loop {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    if to.send(Piece::Output(stream, buffer[..n].to_vec())).is_err() {
                        return;
                    }
                    let rush = last.is_some_and(|last: Instant| last.elapsed() < GATHER);
                    if rush && n < buffer.len() {
                        thread::sleep(GATHER);
                    }
                    last = Some(Instant::now());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _closed = to.send(Piece::Closed);
    });
}

fn follow(
    mut child: Child,
    pipes: &[OwnedFd],
    pieces: &mpsc::Receiver<Piece>,
    command: &Command,
    cancel: &Cancel,
    watch: Watch<'_>,
) -> Result<Exit, TransportError> {
    let started = Instant::now();
    let (mut out, mut err) = (Kept::default(), Kept::default());
    let mut open = if command.streams.is_some() { 1 } else { 2 };
    let mut status = None;
    // After the command itself has ended, a grandchild that went to the background may keep the pipes open for ever.
    let mut linger = None;
    let mut looked = started;
    loop {
        let mut quiet = false;
        match pieces.recv_timeout(TICK) {
            Ok(Piece::Output(stream, bytes)) => {
                watch(stream, &bytes);
                match stream {
                    Stream::Out => out.push(&bytes),
                    Stream::Err => err.push(&bytes),
                }
            }
            Ok(Piece::Closed) => open -= 1,
            // What is in a pipe and not read yet was said before the end: this machine may be slow to read it.
            Err(mpsc::RecvTimeoutError::Timeout) => quiet = pipes.iter().all(is_empty),
            Err(mpsc::RecvTimeoutError::Disconnected) => open = 0,
        }
        if status.is_none() && open == 0 {
            status = child.wait().ok();
        } else if status.is_none() && looked.elapsed() >= TICK {
            looked = Instant::now();
            status = child.try_wait().unwrap_or_default();
        }
        if let Some(status) = status {
            let since: &mut Instant = linger.get_or_insert_with(Instant::now);
            let waited = since.elapsed();
            if open == 0 || waited > LINGER && quiet || waited > CHATTY {
                let ended = match (status.code(), status.signal()) {
                    (Some(code), _) => Ended::Code(code),
                    (None, Some(signal)) => Ended::Signal(signal_name(signal)),
                    (None, None) => Ended::Code(255),
                };
                return Ok(Exit { ended, stdout: out.finish(), stderr: err.finish() });
            }
        } else if cancel.is_cancelled() && command.launcher {
            // Somebody has to collect it.
            thread::spawn(move || child.wait());
            return Err(TransportError::Cancelled);
        } else if cancel.is_cancelled() {
            end_group(&mut child);
            return Err(TransportError::Cancelled);
        } else if let Some(limit) = command.timeout
            && started.elapsed() >= limit
        {
            end_group(&mut child);
            return Err(TransportError::Timeout { after: limit });
        }
    }
}

fn is_empty(pipe: &OwnedFd) -> bool {
    rustix::io::ioctl_fionread(pipe).is_ok_and(|unread| unread == 0)
}

/// Ends the whole group: TERM, grace, KILL.
fn end_group(child: &mut Child) {
    let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return };
    let _gone = kill_process_group(group, Signal::TERM);
    let end = Instant::now() + GRACE;
    while Instant::now() < end {
        let leader_gone = matches!(child.try_wait(), Ok(Some(_)));
        if leader_gone && !lives(group) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let _gone = kill_process_group(group, Signal::KILL);
    let _reaped = child.wait();
}

/// Returns whether anything of a process group is left. Processes that ended and wait to be collected by somebody do not
/// count, where /proc tells.
fn lives(group: Pid) -> bool {
    if rustix::process::test_kill_process_group(group).is_err() {
        return false;
    }
    let Ok(processes) = std::fs::read_dir("/proc") else { return true };
    let wanted = group.as_raw_nonzero().to_string();
    let mut stats = processes
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
        .peekable();
    if stats.peek().is_none() {
        return true;
    }
    stats.any(|stat| {
        let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        let (letter, group) = (fields.next(), fields.nth(1));
        !matches!(letter, Some("Z" | "X")) && group == Some(wanted.as_str())
    })
}

fn signal_name(number: i32) -> String {
    match number {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        6 => "ABRT",
        9 => "KILL",
        11 => "SEGV",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        other => return other.to_string(),
    }
    .to_owned()
}

#[derive(Debug)]
struct Tcp(TcpStream);

impl Read for Tcp {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Tcp {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Connection for Tcp {
    fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(timeout)?;
        self.0.set_write_timeout(timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Streams;
    use super::*;

    fn run(command: &Command) -> Result<Exit, TransportError> {
        Local.exec(command, &Cancel::new(), &mut |_, _| {})
    }

    #[test]
    fn output_status_and_input_pass_through() {
        let exit = run(&Command::shell("cat; echo problem >&2; exit 3").stdin("hello")).unwrap();

        assert_eq!(
            (exit.out().as_str(), exit.stderr.as_slice(), exit.code()),
            ("hello", &b"problem\n"[..], 3)
        );
    }

    #[test]
    fn a_signal_is_told_from_a_status() {
        assert_eq!(
            run(&Command::shell("kill -9 $$")).unwrap().ended,
            Ended::Signal("KILL".to_owned())
        );
    }

    #[test]
    fn a_timeout_ends_the_whole_group() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let script = format!("sleep 300 & echo $! >{}; wait", pids.display());

        let error =
            run(&Command::shell(script).timeout(Some(Duration::from_millis(400)))).unwrap_err();

        assert_eq!(error, TransportError::Timeout { after: Duration::from_millis(400) });
        let pid = std::fs::read_to_string(&pids).unwrap();
        let state =
            std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "{state}");
    }

    #[test]
    fn a_background_child_does_not_hold_the_command() {
        let started = Instant::now();

        let exit = run(&Command::shell("sleep 30 & echo started")).unwrap();

        assert_eq!(exit.out(), "started\n");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn what_was_said_before_the_end_is_heard_however_slow_the_reader_is() {
        let script =
            "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.02; done; sleep 30 >&2 2>/dev/null &";
        let exit = Local.exec(&Command::shell(script), &Cancel::new(), &mut |_, _| {
            thread::sleep(LINGER / 2);
        });

        assert_eq!(exit.unwrap().out(), "1\n2\n3\n4\n5\n6\n7\n8\n");
    }

    #[test]
    fn a_command_reads_and_writes_what_it_is_joined_to() {
        let secret = ("WORD".to_owned(), crate::secret::Secret::new("hush".to_owned()));
        for secrets in [vec![], vec![secret]] {
            let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            ours.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let both = Streams::new(theirs.try_clone().unwrap(), theirs);
            let mut command = Command::shell("tr a-z A-Z; echo \"$WORD\" >&2").joined(both);
            command.secret_env = secrets;
            let text = thread::spawn(move || {
                ours.write_all(b"hello").unwrap();
                ours.shutdown(std::net::Shutdown::Write).unwrap();
                let mut text = String::new();
                ours.read_to_string(&mut text).map(|_| text).unwrap()
            });

            let exit = run(&command).unwrap();
            let said = if command.secret_env.is_empty() { "\n" } else { "hush\n" };
            drop(command);

            assert_eq!(text.join().unwrap(), "HELLO");
            assert_eq!(
                (exit.out(), String::from_utf8(exit.stderr).unwrap()),
                (String::new(), said.to_owned())
            );
        }
    }

    #[test]
    fn megabytes_on_both_streams_do_not_block() {
        let exit = run(&Command::shell("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2"))
            .unwrap();

        assert_eq!((exit.stdout.len(), exit.stderr.len()), (3_000_000, 3_000_000));
    }
}
