//! Tests against a real sshd, started as the current user on a free port and ended by its process id.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use super::*;
use crate::transport::{
    Cancel, Command, Ended, Exit, Stream, Streams, Sudo, Transport, TransportError,
};

mod link;
mod servers;

/// A server of our own, with keys in a directory of its own.
struct Sshd {
    dir: tempfile::TempDir,
    port: u16,
    child: Child,
    extra: String,
}

/// Says loudly that a test does not run here; fails it where it must.
fn not_tested(why: &str) {
    let _said = writeln!(std::io::stderr(), "\n*** NOT TESTED: {why} ***\n");
    assert!(std::env::var_os("UPGRADE_HOST_REQUIRE_SSHD").is_none(), "required: {why}");
}

fn keygen(file: &Path, kind: &str, passphrase: &str) {
    let done = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", passphrase, "-f"])
        .arg(file)
        .args((kind == "rsa").then_some("-b2048"))
        .status()
        .unwrap();
    assert!(done.success());
}

fn user() -> String {
    let out = std::process::Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Sshd {
    /// Starts a server; none (said loudly) if this machine has no sshd.
    fn start(extra: &str) -> Option<Self> {
        if !Path::new("/usr/sbin/sshd").exists() {
            not_tested("/usr/sbin/sshd is missing (package openssh-server)");
            return None;
        }
        // Root's sshd wants its privilege separation directory; others neither need nor may make it.
        let _made = std::fs::create_dir_all("/run/sshd");
        let dir = tempfile::tempdir().unwrap();
        keygen(&dir.path().join("host_ed25519"), "ed25519", "");
        keygen(&dir.path().join("host_rsa"), "rsa", "");
        keygen(&dir.path().join("id"), "ed25519", "");
        std::fs::copy(dir.path().join("id.pub"), dir.path().join("authorized_keys")).unwrap();
        let port = free_port();
        let child = Self::spawn(dir.path(), port, extra);
        Some(Self { dir, port, child, extra: extra.to_owned() })
    }

    fn spawn(dir: &Path, port: u16, extra: &str) -> Child {
        let mut config = String::new();
        // What is extra comes first, for the first value counts. SHLVL keeps bash from reading ~/.bashrc, which is not ours and may be slow.
        writeln!(
            config,
            "{extra}\nListenAddress 127.0.0.1\nPort {port}\nHostKey {0}/host_ed25519\nHostKey {0}/host_rsa\n\
             AuthorizedKeysFile {0}/authorized_keys\nPidFile none\nStrictModes no\nUsePAM no\n\
             MaxStartups 100\nPermitRootLogin yes\nPasswordAuthentication yes\nSetEnv SHLVL=5\n",
            dir.display()
        )
        .unwrap();
        std::fs::write(dir.join("sshd_config"), config).unwrap();
        let child = std::process::Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(dir.join("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                Instant::now() < end,
                "sshd does not start: {}",
                std::fs::read_to_string(dir.join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn host_line(&self, kind: &str) -> String {
        let text = std::fs::read_to_string(self.path(&format!("host_{kind}.pub"))).unwrap();
        let words: Vec<&str> = text.split(' ').collect();
        format!("[127.0.0.1]:{} {} {}\n", self.port, words[0], words[1].trim())
    }

    /// A target that trusts this server.
    fn target(&self, name: &str) -> SshTarget {
        let known = self.path("known_hosts");
        if !known.exists() {
            std::fs::write(&known, self.host_line("ed25519")).unwrap();
        }
        SshTarget {
            port: self.port,
            identities: vec![self.path("id")],
            known_hosts: vec![known],
            agent: AgentSocket::Off,
            ..SshTarget::new(name, user(), "127.0.0.1")
        }
    }

    fn ssh(&self) -> Ssh {
        Ssh::new(self.target("t"), Arc::new(Unattended))
    }

    /// Ends the listener and every process that serves a connection.
    fn kill_all(&mut self) {
        for pid in children(self.child.id()) {
            signal(pid, "KILL");
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.child = Self::spawn(self.dir.path(), self.port, &self.extra);
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// All descendants that sshd serves connections with (not the commands).
fn children(parent: u32) -> Vec<u32> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((head, rest)) = stat.rsplit_once(") ") else { continue };
        let up: u32 = rest.split(' ').nth(1).unwrap().parse().unwrap();
        if up == parent && head.contains("(sshd") {
            let pid = head.split(' ').next().unwrap().parse().unwrap();
            all.push(pid);
            all.extend(children(pid));
        }
    }
    all
}

fn signal(pid: u32, name: &str) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let name =
        if name == "KILL" { rustix::process::Signal::KILL } else { rustix::process::Signal::TERM };
    let _gone = rustix::process::kill_process(pid, name);
}

/// Returns whether a process runs (one that waits to be collected does not).
fn runs(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
}

fn exec(ssh: &Ssh, command: &Command) -> Result<Exit, TransportError> {
    ssh.exec(command, &Cancel::new(), &mut |_, _| {})
}

fn text(exit: &Exit) -> (String, String, Ended) {
    (exit.out(), String::from_utf8_lossy(&exit.stderr).into_owned(), exit.ended.clone())
}

fn wait_until(what: &str, mut test: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !test() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn output_status_and_input_pass_through() {
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = sshd.ssh();
    let exit = exec(&ssh, &Command::shell("cat; echo problem >&2; exit 3").stdin("hello")).unwrap();
    assert_eq!(text(&exit), ("hello".to_owned(), "problem\n".to_owned(), Ended::Code(3)));
    let exit = exec(&ssh, &Command::list(["no-such-program-here"])).unwrap();
    assert_eq!(exit.ended, Ended::Code(127));
    let exit = exec(&ssh, &Command::shell("kill -9 $$")).unwrap();
    assert_eq!(text(&exit), (String::new(), String::new(), Ended::Signal("KILL".to_owned())));
    let exit = exec(&ssh, &Command::shell("if (")).unwrap();
    assert_eq!(exit.ended, Ended::Code(2));
    let exit = exec(&ssh, &Command::shell("exec >&- 2>&-; sleep 0.2; exit 5")).unwrap();
    assert_eq!(exit.ended, Ended::Code(5));
    assert_eq!(ssh.own_address(), Some("127.0.0.1".parse().unwrap()));
    assert_eq!(ssh.describe(), format!("{}@127.0.0.1:{}", user(), sshd.port));
}

#[test]
fn environment_directory_and_secrets_arrive() {
    let Some(sshd) = Sshd::start("") else { return };
    let mut command =
        Command::shell("printf '%s|%s|%s|' \"$A\" \"$S\" \"$PWD\"; cat").stdin("rest");
    command.env.push(("A".to_owned(), "it's".to_owned()));
    command.secret_env.push(("S".to_owned(), crate::secret::Secret::new("pw".to_owned())));
    command.dir = Some("/usr".to_owned());
    assert_eq!(exec(&sshd.ssh(), &command).unwrap().out(), "it's|pw|/usr|rest");
}

#[test]
fn megabytes_go_both_ways_at_once() {
    let Some(sshd) = Sshd::start("") else { return };
    let bytes: Vec<u8> =
        (0..5u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let exit = exec(&sshd.ssh(), &Command::shell("cat").stdin(bytes.clone())).unwrap();
    assert!(exit.stdout == bytes, "{} bytes came back", exit.stdout.len());
    let exit = exec(
        &sshd.ssh(),
        &Command::shell("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2"),
    )
    .unwrap();
    assert_eq!((exit.stdout.len(), exit.stderr.len()), (3_000_000, 3_000_000));
    // A command that does not want its input.
    let exit = exec(&sshd.ssh(), &Command::shell("exit 4").stdin(bytes)).unwrap();
    assert_eq!(exit.ended, Ended::Code(4));
}

#[test]
fn ten_commands_share_a_session() {
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = sshd.ssh();
    ssh.connect_now(&Cancel::new()).unwrap();
    let started = Instant::now();
    std::thread::scope(|scope| {
        for n in 0..10 {
            let ssh = ssh.clone();
            scope.spawn(move || {
                let exit = exec(&ssh, &Command::shell(format!("sleep 0.5; echo {n}"))).unwrap();
                assert_eq!(exit.out(), format!("{n}\n"));
            });
        }
    });
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(children(sshd.child.id()).len(), 1);
}

#[test]
fn a_server_that_allows_one_session_is_enough() {
    let Some(sshd) = Sshd::start("MaxSessions 1") else { return };
    let ssh = sshd.ssh();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let ssh = ssh.clone();
            scope.spawn(move || {
                let exit = exec(&ssh, &Command::shell(format!("echo {n}"))).unwrap();
                assert_eq!(exit.out(), format!("{n}\n"));
            });
        }
    });
}

/// Runs a command that tells its own process id and that of a child, both of which ignore TERM if asked.
fn end_early(
    extra: &str,
    trap: &str,
    sudo: Option<Sudo>,
    by: impl FnOnce(&Cancel, &mut Command),
) -> (TransportError, Duration) {
    let sshd = Sshd::start(extra).unwrap();
    let ssh = sshd.ssh();
    let (cancel, pids) = (Cancel::new(), sshd.path("pids"));
    let script = format!(
        "{trap} sleep 300 & echo $$ $! >{0}.new; mv {0}.new {0}; wait; wait",
        pids.display()
    );
    let mut command = Command::shell(script).sudo(sudo);
    by(&cancel, &mut command);
    let waiting = command.timeout.is_none();
    let other = cancel.clone();
    let file = pids.clone();
    let canceller = std::thread::spawn(move || {
        wait_until("the command runs", || file.exists());
        if waiting {
            other.cancel();
        }
    });
    let started = Instant::now();
    let error = ssh.exec(&command, &cancel, &mut |_, _| {}).unwrap_err();
    let took = started.elapsed();
    canceller.join().unwrap_or_else(|_| panic!("{error:?} after {took:?}"));
    for pid in std::fs::read_to_string(&pids).unwrap().split_whitespace() {
        assert!(!runs(pid), "{pid} still runs");
    }
    // The session is as good as before.
    assert_eq!(exec(&ssh, &Command::shell("echo on")).unwrap().out(), "on\n");
    (error, took)
}

#[test]
fn a_timeout_ends_the_whole_group() {
    if Sshd::start("").is_none() {
        return;
    }
    let limit = Duration::from_secs(3);
    let (error, _) = end_early("", "", None, |_, command| command.timeout = Some(limit));
    assert_eq!(error, TransportError::Timeout { after: limit });
}

#[test]
fn cancel_ends_the_whole_group() {
    if Sshd::start("").is_none() {
        return;
    }
    let (error, took) = end_early("", "", None, |_, _| {});
    assert_eq!(error, TransportError::Cancelled);
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_group_is_ended_even_if_the_server_allows_one_command() {
    if Sshd::start("").is_none() {
        return;
    }
    let (error, _) = end_early("MaxSessions 1", "", None, |_, _| {});
    assert_eq!(error, TransportError::Cancelled);
}

#[test]
fn a_group_that_ignores_term_is_killed() {
    if Sshd::start("").is_none() {
        return;
    }
    let (error, took) = end_early("", "trap '' TERM;", None, |_, _| {});
    assert_eq!(error, TransportError::Cancelled);
    assert!(took > Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_group_under_sudo_is_ended_through_sudo() {
    let can =
        std::process::Command::new("sudo").args(["-n", "true"]).stderr(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) || Sshd::start("").is_none() {
        return;
    }
    let sudo = Some(Sudo { user: None, password: None });
    let (error, _) = end_early("", "trap '' TERM;", sudo, |_, _| {});
    assert_eq!(error, TransportError::Cancelled);
}

#[test]
fn a_background_child_does_not_hold_the_command() {
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = sshd.ssh();
    let started = Instant::now();
    for _ in 0..12 {
        let exit = exec(&ssh, &Command::shell("sleep 60 & echo started $!")).unwrap();
        assert!(exit.out().starts_with("started "));
        let pid = exit.out().trim().rsplit(' ').next().unwrap().to_owned();
        assert!(runs(&pid), "the background child was ended");
        signal(pid.parse().unwrap(), "KILL");
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn a_slow_reader_holds_back_the_command() {
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = sshd.ssh();
    let progress = sshd.path("progress");
    let line = "for n in 1 2 3 4; do for m in 1 2 3 4; do head -c 4194304 /dev/zero; \
                printf x >>PROGRESS; done; done; echo done >&2";
    let command = Command::shell(line.replace("PROGRESS", &progress.display().to_string()));
    let written = || std::fs::read(&progress).map_or(0, |bytes| bytes.len());
    let (mut seen, mut stopped) = (0usize, false);
    let exit = ssh
        .exec(&command, &Cancel::new(), &mut |stream, bytes| {
            if stream == Stream::Out {
                seen += bytes.len();
                if !std::mem::replace(&mut stopped, true) {
                    // That nothing more happens can only be seen by waiting.
                    std::thread::sleep(Duration::from_secs(2));
                    assert!(written() <= 1, "{} pieces of 4 MiB were let through", written());
                }
            }
        })
        .unwrap();
    assert_eq!((seen, exit.ended), (64 << 20, Ended::Code(0)));
    assert_eq!(exit.stderr, b"done\n");
    assert!(exit.stdout.len() <= crate::transport::KEPT_OUTPUT + 100);
}

/// Two ends, the first of which is not waited for without end.
fn sockets() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    for set in [UnixStream::set_read_timeout, UnixStream::set_write_timeout] {
        set(&ours, Some(Duration::from_secs(60))).unwrap();
    }
    (ours, theirs)
}

#[test]
fn a_slow_reader_holds_back_a_joined_command_and_a_slow_command_its_writer() {
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = sshd.ssh();
    let written = AtomicU64::new(0);
    let (mut reader, output) = sockets();
    let (mut writer, input) = sockets();
    let go = sshd.path("go");
    let line = format!(
        "head -c 20000000 /dev/zero & while [ ! -e {} ]; do sleep 0.05; done; cat >/dev/null; wait",
        go.display()
    );
    let command = Command::shell(line).joined(Streams::new(input, output));
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| exec(&ssh, &command.timeout(Some(Duration::from_secs(120)))));
        let counted = &written;
        scope.spawn(move || {
            for _ in 0..320 {
                writer.write_all(&vec![7; 64 << 10]).unwrap();
                counted.fetch_add(64 << 10, Ordering::SeqCst);
            }
        });
        // Both are stopped by what the buffers on the way hold.
        let mut last = 0;
        wait_until("nothing moves", || {
            std::thread::sleep(Duration::from_millis(300));
            let now = written.load(Ordering::SeqCst);
            std::mem::replace(&mut last, now) == now && now > 0
        });
        assert!(last < 12 << 20, "{last} bytes were taken by a command that reads none");
        assert!(!ended.is_finished());

        std::fs::write(&go, "").unwrap();
        let mut come = Vec::new();
        reader.read_to_end(&mut come).unwrap();
        assert_eq!(come.len(), 20_000_000);
        assert_eq!(ended.join().unwrap().unwrap().ended, Ended::Code(0));
    });
    assert_eq!(written.load(Ordering::SeqCst), 320 * (64 << 10));
}

#[test]
fn a_joined_command_under_sudo_gets_what_follows_the_password() {
    let Some(sshd) = Sshd::start("") else { return };
    if !std::process::Command::new("sudo")
        .args(["-n", "true"])
        .output()
        .is_ok_and(|out| out.status.success())
    {
        return not_tested("sudo asks for a password");
    }
    for password in [None, Some(Secret::new("not asked for".to_owned()))] {
        let (mut ours, theirs) = sockets();
        let command = Command::list(["cat"])
            .sudo(Some(Sudo { user: None, password }))
            .joined(Streams::new(theirs.try_clone().unwrap(), theirs));
        let ssh = sshd.ssh();
        let ended = std::thread::spawn(move || exec(&ssh, &command));
        ours.write_all(b"binary\0\xff\n").unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let mut come = Vec::new();
        ours.read_to_end(&mut come).unwrap();
        assert_eq!(come, b"binary\0\xff\n");
        assert_eq!(ended.join().unwrap().unwrap().ended, Ended::Code(0));
    }
}

#[test]
fn new_session_keys_in_the_middle_do_no_harm() {
    let Some(sshd) = Sshd::start("RekeyLimit 1M") else { return };
    let ssh = sshd.ssh();
    let bytes: Vec<u8> = (0..6u32 << 20).map(|n| (n % 253) as u8).collect();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (ssh, bytes) = (ssh.clone(), bytes.clone());
            scope.spawn(move || {
                let exit = exec(&ssh, &Command::shell("cat").stdin(bytes.clone())).unwrap();
                assert!(exit.stdout == bytes);
            });
        }
    });
    let exit = exec(&ssh, &Command::shell("head -c 16000000 /dev/zero")).unwrap();
    assert_eq!(exit.stdout.len(), 16_000_000);
}

#[test]
fn others_go_on_while_one_reader_is_slow() {
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = sshd.ssh();
    let (release, held) = mpsc::channel::<()>();
    let (first, reached) = mpsc::channel();
    std::thread::scope(|scope| {
        let slow = ssh.clone();
        scope.spawn(move || {
            let mut told = false;
            let exit = slow
                .exec(&Command::shell("head -c 33554432 /dev/zero"), &Cancel::new(), &mut |_, _| {
                    if !told {
                        told = true;
                        first.send(()).unwrap();
                        held.recv().unwrap();
                    }
                })
                .unwrap();
            assert_eq!(exit.ended, Ended::Code(0));
        });
        reached.recv().unwrap();
        for _ in 0..20 {
            assert_eq!(exec(&ssh, &Command::shell("echo x")).unwrap().out(), "x\n");
        }
        release.send(()).unwrap();
    });
}

#[test]
fn connections_open_from_the_target() {
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = sshd.ssh();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        while bytes.len() < 1 << 20 {
            let count = stream.read(&mut piece).unwrap();
            assert!(count > 0);
            bytes.extend_from_slice(&piece[..count]);
        }
        stream.write_all(&bytes).unwrap();
    });
    let mut connection = ssh.connect("127.0.0.1", port, Duration::from_secs(10)).unwrap();
    let bytes: Vec<u8> = (0..1u32 << 20).map(|n| (n % 251) as u8).collect();
    connection.write_all(&bytes).unwrap();
    let mut back = Vec::new();
    connection.read_to_end(&mut back).unwrap();
    assert!(back == bytes);
    echo.join().unwrap();

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = ssh
        .connect("127.0.0.1", silent.local_addr().unwrap().port(), Duration::from_secs(10))
        .unwrap();
    connection.set_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(connection.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    // When we let it go, the other side sees the end.
    let (mut accepted, _) = silent.accept().unwrap();
    drop(connection);
    accepted.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(accepted.read(&mut [0]).unwrap(), 0);

    let error = ssh.connect("127.0.0.1", free_port(), Duration::from_secs(10)).unwrap_err();
    assert!(matches!(&error, TransportError::Connect { target, .. } if target == "t"), "{error}");
}

/// Trusts every key, and answers with one secret.
#[derive(Default)]
struct Person {
    trusts: bool,
    secret: Option<&'static str>,
    asked: Mutex<Vec<String>>,
}

impl Questions for Person {
    fn secret(&self, prompt: &str) -> Option<Secret> {
        self.asked.lock().unwrap().push(prompt.to_owned());
        self.secret.map(|text| Secret::new(text.to_owned()))
    }

    fn trust_host_key(&self, target: &str, key_type: &str, fingerprint: &str) -> bool {
        self.asked.lock().unwrap().push(format!("{target} {key_type} {fingerprint}"));
        self.trusts
    }
}

fn connect(target: SshTarget, person: Person) -> (Result<(), TransportError>, Vec<String>) {
    let person = Arc::new(person);
    let questions: Arc<dyn Questions> = Arc::clone(&person) as _;
    let result = Ssh::new(target, questions).connect_now(&Cancel::new());
    let asked = person.asked.lock().unwrap().clone();
    (result, asked)
}

fn host_key_error(result: Result<(), TransportError>) -> (String, String) {
    match result.unwrap_err() {
        TransportError::HostKey { why, hint, .. } => (why, hint.unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn host_keys_are_checked() {
    let Some(sshd) = Sshd::start("") else { return };
    let good = sshd.target("t");
    let print = {
        let out = std::process::Command::new("ssh-keygen")
            .args(["-lf"])
            .arg(sshd.path("host_ed25519.pub"))
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
    };
    let with = |lines: &str| {
        let file = sshd.path("other_hosts");
        std::fs::write(&file, lines).unwrap();
        SshTarget { known_hosts: vec![file], ..good.clone() }
    };

    // Unknown.
    let (result, asked) = connect(with(""), Person::default());
    let (why, hint) = host_key_error(result);
    assert!(why.contains("not known") && why.contains(&print), "{why}");
    assert!(
        hint.contains(sshd.host_line("ed25519").trim()) && hint.contains("other_hosts"),
        "{hint}"
    );
    assert_eq!(asked, [format!("t ssh-ed25519 {print}")]);

    // Unknown, and a person trusts it; then it is known.
    let target = with("# mine\n");
    connect(target.clone(), Person { trusts: true, ..Person::default() }).0.unwrap();
    let (result, asked) = connect(target, Person::default());
    result.unwrap();
    assert!(asked.is_empty());

    // Only the other key is known: it is asked for first.
    connect(with(&sshd.host_line("rsa")), Person::default()).0.unwrap();

    // Changed, even if a person would trust it.
    keygen(&sshd.path("foreign"), "ed25519", "");
    let foreign = std::fs::read_to_string(sshd.path("foreign.pub")).unwrap();
    let changed = format!("# x\n[127.0.0.1]:{} {foreign}", sshd.port);
    let (result, asked) = connect(with(&changed), Person { trusts: true, ..Person::default() });
    let (why, hint) = host_key_error(result);
    assert!(why.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{why}");
    assert!(why.contains("other_hosts:2") && hint.contains("line 2"), "{why} {hint}");
    assert!(asked.is_empty());

    // Revoked, even if it is known and pinned.
    let revoked = format!("{0}@revoked {0}", sshd.host_line("ed25519"));
    let target = SshTarget { host_key: Some(print.clone()), ..with(&revoked) };
    let (why, _) = host_key_error(connect(target, Person { trusts: true, ..Person::default() }).0);
    assert!(why.contains("REVOKED"), "{why}");

    // Pinned, right and wrong.
    for pin in [print.clone(), print.trim_start_matches("SHA256:").to_owned()] {
        connect(SshTarget { host_key: Some(pin), ..with("") }, Person::default()).0.unwrap();
    }
    let wrong = Some(format!("SHA256:{}", "A".repeat(43)));
    let target = SshTarget { host_key: wrong, ..good.clone() };
    let (why, _) = host_key_error(connect(target, Person { trusts: true, ..Person::default() }).0);
    assert!(why.contains("demands SHA256:AAAA"), "{why}");

    // An authority is no key; an alias is another name.
    let authority = format!("@cert-authority {}", sshd.host_line("ed25519"));
    let (why, _) = host_key_error(connect(with(&authority), Person::default()).0);
    assert!(why.contains("authority"), "{why}");
    // Known without its port is known, unless another key is known with it.
    let portless = |kind: &str| {
        sshd.host_line(kind).replace(&format!("[127.0.0.1]:{}", sshd.port), "127.0.0.1")
    };
    connect(with(&portless("rsa")), Person::default()).0.unwrap();
    let revoked = format!("@revoked {}", portless("ed25519"));
    let why = connect(with(&revoked), Person::default()).0.unwrap_err().to_string();
    assert!(why.contains("REVOKED"), "{why}");
    let line = sshd.host_line("ed25519").replace(&format!("[127.0.0.1]:{}", sshd.port), "obs1");
    let target = SshTarget { host_key_alias: Some("obs1".to_owned()), ..with(&line) };
    connect(target, Person::default()).0.unwrap();
}

#[test]
fn a_wrong_login_says_what_was_tried() {
    let Some(sshd) = Sshd::start("") else { return };
    keygen(&sshd.path("stranger"), "ed25519", "");
    let target = SshTarget {
        identities: vec![sshd.path("stranger"), sshd.path("missing")],
        password: Some(Secret::new("wrong".to_owned())),
        ..sshd.target("t")
    };
    match connect(target, Person::default()).0.unwrap_err() {
        TransportError::Auth { target, why, hint } => {
            assert_eq!(target, "t");
            for part in [
                "stranger (the server refuses it)",
                "missing",
                "password (the server refuses it)",
                "the server accepts publickey",
            ] {
                assert!(why.contains(part), "{why}");
            }
            assert!(hint.unwrap().contains("authorized_keys"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn encrypted_keys_and_certificates_open_with_their_passphrase() {
    let Some(sshd) = Sshd::start("") else { return };
    let authorize = |name: &str| {
        let mut keys = std::fs::read(sshd.path("authorized_keys")).unwrap();
        keys.extend(std::fs::read(sshd.path(name)).unwrap());
        std::fs::write(sshd.path("authorized_keys"), keys).unwrap();
    };
    for kind in ["ed25519", "rsa", "ecdsa"] {
        let file = sshd.path(&format!("locked_{kind}"));
        keygen(&file, kind, "open sesame");
        authorize(&format!("locked_{kind}.pub"));
        let target = SshTarget { identities: vec![file.clone()], ..sshd.target("t") };
        let (result, asked) =
            connect(target.clone(), Person { secret: Some("wrong"), ..Person::default() });
        let error = result.unwrap_err();
        assert!(
            matches!(&error, TransportError::Auth { why, .. } if why.contains("passphrase is wrong")),
            "{error:?}"
        );
        assert!(asked[0].contains("locked_"), "{asked:?}");
        connect(target.clone(), Person { secret: Some("open sesame"), ..Person::default() })
            .0
            .unwrap();
        // Remembered.
        let (result, asked) = connect(target, Person::default());
        result.unwrap();
        assert!(asked.is_empty());
    }
    let file = sshd.path("given");
    keygen(&file, "ed25519", "given");
    authorize("given.pub");
    let target = SshTarget {
        identities: vec![file],
        passphrase: Some(Secret::new("given".to_owned())),
        ..sshd.target("t")
    };
    connect(target, Person::default()).0.unwrap();

    // A certificate beside a key that is not itself authorized.
    keygen(&sshd.path("ca"), "ed25519", "");
    keygen(&sshd.path("signed"), "ed25519", "");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-I", "me", "-n", &user(), "-s"])
        .args([sshd.path("ca"), sshd.path("signed.pub")])
        .status()
        .unwrap();
    assert!(made.success());
    let ca = std::fs::read_to_string(sshd.path("ca.pub")).unwrap();
    std::fs::write(sshd.path("line"), format!("cert-authority {ca}")).unwrap();
    authorize("line");
    let target = SshTarget { identities: vec![sshd.path("signed")], ..sshd.target("t") };
    connect(target, Person::default()).0.unwrap();
}

#[test]
fn proofs_are_given_one_after_another() {
    let Some(sshd) = Sshd::start("AuthenticationMethods publickey,publickey") else { return };
    keygen(&sshd.path("second"), "ecdsa", "");
    let one = connect(sshd.target("t"), Person::default()).0.unwrap_err();
    assert!(
        matches!(&one, TransportError::Auth { why, .. } if why.contains("the server wants more")),
        "{one:?}"
    );
    let mut keys = std::fs::read(sshd.path("authorized_keys")).unwrap();
    keys.extend(std::fs::read(sshd.path("second.pub")).unwrap());
    std::fs::write(sshd.path("authorized_keys"), keys).unwrap();
    let identities = vec![sshd.path("id"), sshd.path("second")];
    connect(SshTarget { identities, ..sshd.target("t") }, Person::default()).0.unwrap();
}

#[test]
fn only_the_methods_and_algorithms_that_are_allowed_are_used() {
    let Some(sshd) = Sshd::start("") else { return };
    let with = |change: &dyn Fn(&mut SshTarget)| {
        let mut target = sshd.target("t");
        std::fs::write(
            sshd.path("known_hosts"),
            [sshd.host_line("ed25519"), sshd.host_line("rsa")].concat(),
        )
        .unwrap();
        change(&mut target);
        connect(target, Person::default()).0.map_err(|error| error.to_string())
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();

    let password = with(&|t| t.methods = vec![Method::Password]).unwrap_err();
    assert!(password.contains("nothing could be tried"), "{password}");
    with(&|t| t.algorithms.ciphers = names(&["none@x", "aes256-ctr"])).unwrap();
    with(&|t| t.algorithms.key_exchange = names(&["ecdh-sha2-nistp384"])).unwrap();
    with(&|t| {
        t.algorithms.ciphers = names(&["aes256-ctr"]);
        t.algorithms.macs = names(&["hmac-sha2-512"]);
    })
    .unwrap();
    let macs = with(&|t| t.algorithms.macs = names(&["umac-64@openssh.com"])).unwrap_err();
    assert!(macs.contains("`MACs` of ssh's configuration allows nothing"), "{macs}");
    with(&|t| t.algorithms.host_key = names(&["rsa-sha2-512"])).unwrap();
    let bits = |bits| {
        with(&|t| {
            t.algorithms.host_key = names(&["rsa-sha2-512"]);
            t.algorithms.rsa_bits = Some(bits);
        })
    };
    bits(2048).unwrap();
    let short = bits(2049).unwrap_err();
    assert!(short.contains("of 2048 bits, and `RequiredRSASize` demands 2049"), "{short}");
    let key = with(&|t| t.algorithms.user_key = names(&["rsa-sha2-512"])).unwrap_err();
    assert!(key.contains("does not take ssh-ed25519"), "{key}");
    with(&|t| t.algorithms.user_key = names(&["ssh-ed25519"])).unwrap();
    let family = with(&|t| t.family = Some(Family::V6)).unwrap_err();
    assert!(family.contains("there is no IPv6 address"), "{family}");
}

#[test]
fn a_certificate_may_lie_elsewhere() {
    let Some(sshd) = Sshd::start("") else { return };
    for name in ["ca", "signed", "stranger"] {
        keygen(&sshd.path(name), "ed25519", "");
    }
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-I", "me", "-n", &user(), "-s"])
        .args([sshd.path("ca"), sshd.path("signed.pub")])
        .status()
        .unwrap();
    assert!(made.success());
    std::fs::rename(sshd.path("signed-cert.pub"), sshd.path("elsewhere.pub")).unwrap();
    let ca = std::fs::read_to_string(sshd.path("ca.pub")).unwrap();
    let target = sshd.target("t");
    std::fs::write(sshd.path("authorized_keys"), format!("cert-authority {ca}")).unwrap();
    let identities = vec![sshd.path("stranger"), sshd.path("signed")];
    let without = SshTarget { identities, ..target };
    connect(without.clone(), Person::default()).0.unwrap_err();
    let certificates = vec![sshd.path("elsewhere.pub")];
    connect(SshTarget { certificates, ..without }, Person::default()).0.unwrap();
}

#[test]
fn the_named_agent_is_asked_for_the_named_keys() {
    let Some(sshd) = Sshd::start("MaxAuthTries 3") else { return };
    let socket = sshd.path("agent");
    let agent = std::process::Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _agent = Agent(agent);
    wait_until("the agent listens", || socket.exists());
    let add = |name: &str| {
        let mut program = std::process::Command::new("ssh-add");
        program.arg("-q").arg(sshd.path(name)).env("SSH_AUTH_SOCK", &socket);
        assert!(program.status().unwrap().success());
    };
    for number in 0..6 {
        let name = format!("other{number}");
        keygen(&sshd.path(&name), "ed25519", "");
        add(&name);
    }
    add("id");
    // The private half is the agent's alone.
    std::fs::remove_file(sshd.path("id")).unwrap();
    let target = SshTarget {
        agent: AgentSocket::At(socket),
        identities: vec![sshd.path("id.pub")],
        ..sshd.target("t")
    };
    // The named one comes first, so that the server does not lose its patience with the others.
    connect(target.clone(), Person::default()).0.unwrap();
    connect(SshTarget { identities_only: true, ..target.clone() }, Person::default()).0.unwrap();
    let other = SshTarget { identities_only: true, identities: vec![sshd.path("none")], ..target };
    let error = connect(other, Person::default()).0.unwrap_err().to_string();
    assert!(error.contains("it holds none of the named keys"), "{error}");
    let nowhere = SshTarget { agent: AgentSocket::At(sshd.path("no-agent")), ..sshd.target("t") };
    let error = connect(nowhere, Person::default()).0.unwrap_err().to_string();
    assert!(error.contains("no-agent (not usable"), "{error}");
}

#[test]
fn a_target_behind_hops_is_reached() {
    let (Some(outer), Some(middle), Some(inner)) =
        (Sshd::start(""), Sshd::start(""), Sshd::start(""))
    else {
        return;
    };
    let target = SshTarget {
        jump: vec![outer.target("outer"), middle.target("middle")],
        ..inner.target("inner")
    };
    let ssh = Ssh::new(target.clone(), Arc::new(Unattended));
    let exit =
        exec(&ssh, &Command::shell("echo \"$SSH_CONNECTION\"; head -c 8388608 /dev/zero >&2"))
            .unwrap();
    assert!(exit.out().trim().ends_with(&format!(" {}", inner.port)), "{}", exit.out());
    assert_eq!(exit.stderr.len(), 8 << 20);
    assert!(ssh.describe().ends_with(" via middle via outer"));
    // A second target behind the same hops shares their sessions.
    let second = Ssh::new(SshTarget { name: "second".to_owned(), ..target }, Arc::new(Unattended));
    second.connect_now(&Cancel::new()).unwrap();
    // What was there to see whether the servers are up goes away by itself.
    wait_until("each server serves what it should", || {
        [&outer, &middle, &inner].map(|sshd| children(sshd.child.id()).len()) == [1, 1, 2]
    });

    let refused =
        SshTarget { port: free_port(), jump: vec![outer.target("outer")], ..inner.target("inner") };
    let error = Ssh::new(refused, Arc::new(Unattended)).connect_now(&Cancel::new()).unwrap_err();
    assert!(matches!(error, TransportError::Connect { .. }), "{error}");
}

#[test]
fn a_lost_server_is_told_and_reconnected_to() {
    let Some(mut sshd) = Sshd::start("") else { return };
    let ssh = sshd.ssh();
    let (first, reached) = mpsc::channel();
    let other = ssh.clone();
    let running = std::thread::spawn(move || {
        other.exec(&Command::shell("echo here; sleep 300"), &Cancel::new(), &mut |_, _| {
            let _told = first.send(());
        })
    });
    reached.recv_timeout(Duration::from_secs(20)).unwrap();
    sshd.kill_all();
    let error = running.join().unwrap().unwrap_err();
    assert!(matches!(error, TransportError::Lost { .. }), "{error:?}");

    let error = exec(&ssh, &Command::shell("true")).unwrap_err();
    assert!(
        matches!(&error, TransportError::Connect { why, hint: Some(_), .. } if why.contains("refuses")),
        "{error:?}"
    );
    sshd.restart();
    assert_eq!(exec(&ssh, &Command::shell("echo back")).unwrap().out(), "back\n");
}

#[test]
fn a_silent_peer_is_given_up() {
    let Some(sshd) = Sshd::start("") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mute = Arc::new(AtomicBool::new(false));
    let behind = sshd.port;
    let muted = Arc::clone(&mute);
    std::thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(("127.0.0.1", behind)).unwrap();
        for (mut from, mut to) in
            [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
        {
            let muted = Arc::clone(&muted);
            std::thread::spawn(move || {
                let mut piece = [0; 4096];
                while let Ok(count @ 1..) = from.read(&mut piece) {
                    if !muted.load(Ordering::SeqCst) && to.write_all(&piece[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let alias = Some(format!("[127.0.0.1]:{}", sshd.port));
    let ssh = Ssh::new(
        SshTarget { port, host_key_alias: alias, ..sshd.target("t") },
        Arc::new(Unattended),
    );
    let mut silent = None;
    let error = ssh
        .exec(&Command::shell("echo here; sleep 300"), &Cancel::new(), &mut |_, _| {
            mute.store(true, Ordering::SeqCst);
            silent = Some(Instant::now());
        })
        .unwrap_err();
    let took = silent.unwrap().elapsed();
    assert!(
        matches!(&error, TransportError::Lost { why, .. } if why.contains("no answer")),
        "{error:?}"
    );
    assert!(took < Duration::from_secs(16), "{took:?}");
}

#[test]
fn a_quiet_command_is_not_given_up() {
    let Some(sshd) = Sshd::start("ClientAliveInterval 3\nClientAliveCountMax 2") else { return };
    let ssh = sshd.ssh();
    let exit = exec(&ssh, &Command::shell("sleep 16; echo done")).unwrap();
    assert_eq!(exit.out(), "done\n");
}

#[test]
fn nothing_listening_is_told_with_a_hint() {
    let mut target = SshTarget::new("t", "nobody", "127.0.0.1");
    target.port = free_port();
    let error = connect(target.clone(), Person::default()).0.unwrap_err();
    assert!(error.to_string().starts_with("cannot reach t: 127.0.0.1:"), "{error}");
    target.address = "no-such-host.invalid".to_owned();
    let error = connect(target.clone(), Person::default()).0.unwrap_err();
    assert!(error.to_string().contains("cannot be resolved"), "{error}");
    // A port that accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    target.address = "127.0.0.1".to_owned();
    target.port = silent.local_addr().unwrap().port();
    target.connect_timeout = Duration::from_millis(300);
    let error = connect(target, Person::default()).0.unwrap_err();
    assert!(error.to_string().contains("says nothing as ssh"), "{error}");
}

#[test]
fn latency_of_a_warm_command() {
    let Some(sshd) = Sshd::start("") else { return };
    let started = Instant::now();
    let ssh = sshd.ssh();
    ssh.connect_now(&Cancel::new()).unwrap();
    let connected = started.elapsed();
    let mut times = Vec::new();
    for _ in 0..50 {
        let started = Instant::now();
        assert!(exec(&ssh, &Command::list(["true"])).unwrap().success());
        times.push(started.elapsed());
    }
    times.sort();
    let _said = writeln!(std::io::stderr(), "connect {connected:?}, warm `true` {:?}", times[25]);
}

#[test]
fn a_hop_that_runs_no_commands_is_enough() {
    let (Some(mut hop), Some(inner)) = (Sshd::start("MaxSessions 0"), Sshd::start("")) else {
        return;
    };
    let target = SshTarget { jump: vec![hop.target("hop")], ..inner.target("inner") };
    let ssh = Ssh::new(target, Arc::new(Unattended));
    assert_eq!(exec(&ssh, &Command::shell("echo 1")).unwrap().out(), "1\n");
    hop.kill_all();
    // That the session is gone is told without a command on it.
    wait_until("the loss is noticed", || match exec(&ssh, &Command::shell("echo 2")) {
        Ok(_) => false,
        Err(TransportError::Lost { why, .. }) => {
            assert!(why.contains("hop"), "{why}");
            false
        }
        Err(TransportError::Connect { target, .. }) => target == "hop",
        Err(other) => panic!("{other:?}"),
    });
    hop.restart();
    assert_eq!(exec(&ssh, &Command::shell("echo 3")).unwrap().out(), "3\n");
}

/// Ends the agent with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn the_agent_is_asked() {
    let Some(sshd) = Sshd::start("") else { return };
    let socket = sshd.path("agent");
    let agent = std::process::Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _agent = Agent(agent);
    wait_until("the agent listens", || socket.exists());
    let added = std::process::Command::new("ssh-add")
        .arg("-q")
        .arg(sshd.path("id"))
        .env("SSH_AUTH_SOCK", &socket)
        .status()
        .unwrap();
    assert!(added.success());
    sshd.target("t");
    // The environment belongs to all tests of this process, so another process logs in.
    let out = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "transport::ssh::tests::with_agent_only", "--ignored", "--nocapture"])
        .env("SSH_AUTH_SOCK", &socket)
        .env("UPGRADE_HOST_TEST_SSHD", sshd.dir.path())
        .env("UPGRADE_HOST_TEST_PORT", sshd.port.to_string())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
#[ignore = "run by the_agent_is_asked"]
fn with_agent_only() {
    let Some(dir) = std::env::var_os("UPGRADE_HOST_TEST_SSHD").map(PathBuf::from) else { return };
    let target = SshTarget {
        port: std::env::var("UPGRADE_HOST_TEST_PORT").unwrap().parse().unwrap(),
        identities: vec![dir.join("none")],
        known_hosts: vec![dir.join("known_hosts")],
        ..SshTarget::new("t", user(), "127.0.0.1")
    };
    connect(target.clone(), Person::default()).0.unwrap();
    let without = SshTarget { agent: AgentSocket::Off, ..target };
    assert!(matches!(connect(without, Person::default()).0, Err(TransportError::Auth { .. })));
}

#[test]
fn a_cut_link_is_found_out() {
    let can = std::process::Command::new("unshare")
        .args(["-n", "ip", "link", "set", "lo", "up"])
        .output();
    if !can.is_ok_and(|out| out.status.success()) || Sshd::start("").is_none() {
        return not_tested("no network namespace can be made");
    }
    // In a network of its own, whose only link can be taken down.
    let script = "ip link set lo up && exec \"$@\"";
    let out = std::process::Command::new("unshare")
        .args(["-n", "sh", "-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "transport::ssh::tests::with_a_link_of_its_own",
            "--ignored",
            "--nocapture",
        ])
        .env("UPGRADE_HOST_TEST_NETNS", "1")
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
#[ignore = "run by a_cut_link_is_found_out"]
fn with_a_link_of_its_own() {
    if std::env::var_os("UPGRADE_HOST_TEST_NETNS").is_none() {
        return;
    }
    let sshd = Sshd::start("").unwrap();
    let link = |state: &str| {
        let set = std::process::Command::new("ip").args(["link", "set", "lo", state]).status();
        assert!(set.unwrap().success());
    };
    let upload = vec![7; 64 << 20];
    let commands = [
        // Silent; sending, to a reader that is slow; receiving.
        Command::shell("echo here; sleep 300"),
        Command::shell("echo here; n=0; while [ $n -lt 300 ]; do head -c 1000000; sleep 0.05; n=$((n+1)); done >/dev/null")
            .stdin(upload),
        Command::shell("echo here; cat /dev/zero"),
    ];
    for command in commands {
        let ssh = sshd.ssh();
        let mut cut = None;
        let error = ssh
            .exec(&command, &Cancel::new(), &mut |_, _| {
                if cut.is_none() {
                    link("down");
                    cut = Some(Instant::now());
                }
            })
            .unwrap_err();
        let took = cut.unwrap().elapsed();
        link("up");
        let _said = writeln!(std::io::stderr(), "{took:?} {error:?}");
        assert!(matches!(error, TransportError::Lost { .. }), "{error:?}");
        assert!(took < Duration::from_secs(16), "{took:?}");
        assert_eq!(exec(&ssh, &Command::shell("echo on")).unwrap().out(), "on\n");
    }
}
