//! What a receipt costs: `true` on a warm ssh session, with and without one, taking turns, against an sshd of this
//! benchmark's own on the loopback address. `cargo bench --bench receipt`; the numbers are in docs/performance.md.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::error::Error;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use upgrade_host::transport::receipt::{self, At, Seen};
use upgrade_host::transport::ssh::{Ssh, SshTarget, Unattended};
use upgrade_host::transport::{Cancel, Command, Transport};

/// How often each is measured.
const ROUNDS: usize = 300;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn key(dir: &Path, name: &str) -> Result<(), Box<dyn Error>> {
    let made = Process::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(dir.join(name))
        .status()?;
    if made.success() { Ok(()) } else { Err("ssh-keygen failed".into()) }
}

fn server(dir: &Path) -> Result<(Server, u16), Box<dyn Error>> {
    key(dir, "host")?;
    key(dir, "id")?;
    fs::copy(dir.join("id.pub"), dir.join("authorized_keys"))?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    // bash reads the user's own files for every command unless it takes itself for a nested one.
    let config = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized_keys\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nSetEnv SHLVL=5\n",
        dir.display()
    );
    fs::write(dir.join("sshd_config"), config)?;
    fs::create_dir_all("/run/sshd")?;
    let child = Process::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f"])
        .arg(dir.join("sshd_config"))
        .stderr(Stdio::null())
        .spawn()?;
    let host = fs::read_to_string(dir.join("host.pub"))?;
    fs::write(dir.join("known_hosts"), format!("[127.0.0.1]:{port} {host}"))?;
    Ok((Server(child), port))
}

fn median(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[took.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = if std::env::args().any(|arg| arg == "--bench") { ROUNDS } else { 3 };
    if !Path::new("/usr/sbin/sshd").exists() {
        println!("not run: /usr/sbin/sshd is not here");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let (_server, port) = server(dir.path())?;
    let user = Process::new("id").arg("-un").output()?;
    let mut target = SshTarget::new("t", String::from_utf8(user.stdout)?.trim(), "127.0.0.1");
    target.port = port;
    target.identities = vec![dir.path().join("id")];
    target.known_hosts = vec![dir.path().join("known_hosts")];
    target.agent = upgrade_host::transport::ssh::AgentSocket::Off;
    let ssh = Ssh::new(target, Arc::new(Unattended));
    let cancel = Cancel::new();
    let bare = Command::list(["true"]).reading();
    let changing = Command::list(["true"]);
    let started = Instant::now();
    while let Err(error) = ssh.connect_now(&cancel) {
        if started.elapsed() > Duration::from_secs(10) {
            return Err(error.into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let run = format!("bench-{}", std::process::id());
    let receipts = receipt::prepare(&ssh, &run, None, &cancel)?.map_err(|exit| exit.out())?;
    let (mut bare_took, mut receipt_took) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let start = Instant::now();
        ssh.exec(&bare, &cancel, &mut |_, _| {})?;
        bare_took.push(start.elapsed());
        let at = At { dir: receipts.clone(), call: format!("c-{round}") };
        let start = Instant::now();
        receipt::run(&ssh, &changing, &at, &mut Seen::default(), &cancel, &mut |_, _| {})?;
        receipt_took.push(start.elapsed());
    }
    let clean = Command::list(["rm", "-rf", &receipts]);
    ssh.exec(&clean, &cancel, &mut |_, _| {})?;
    let (bare, receipt) = (median(bare_took), median(receipt_took));
    println!("bare exec, a marked read   {bare:>8.2?}");
    println!("with a receipt             {receipt:>8.2?}");
    println!("ratio                      {:>8.2}", receipt.as_secs_f64() / bare.as_secs_f64());
    Ok(())
}
