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

mod auth;
mod commands;
mod ending;
mod flow;
mod forward;
mod host_keys;
mod link;
mod lost;
mod refused;
mod servers;
mod wire;

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

/// Two ends, the first of which is not waited for without end.
fn sockets() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    for set in [UnixStream::set_read_timeout, UnixStream::set_write_timeout] {
        set(&ours, Some(Duration::from_secs(60))).unwrap();
    }
    (ours, theirs)
}
