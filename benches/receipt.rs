//! What a receipt costs: `true` on a warm ssh session, with and without one, taking turns, against an sshd of this
//! benchmark's own on the loopback address. `cargo bench --bench receipt`; the numbers are in docs/performance.md.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use upgrade_host::transport::receipt::{self, At, Seen};
use upgrade_host::transport::ssh::{Ssh, SshTarget, Unattended};
use upgrade_host::transport::{Cancel, Command, Transport};

mod sshd;

use sshd::{Sshd, median, user};

/// How often each is measured.
const ROUNDS: usize = 300;

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = if std::env::args().any(|arg| arg == "--bench") { ROUNDS } else { 3 };
    if !Path::new("/usr/sbin/sshd").exists() {
        println!("not run: /usr/sbin/sshd is not here");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let sshd = Sshd::start(dir.path(), "")?;
    let mut target = SshTarget::new("t", user()?, "127.0.0.1");
    target.port = sshd.port;
    target.identities = vec![dir.path().join("id")];
    target.known_hosts = vec![dir.path().join("known_hosts")];
    target.agent = upgrade_host::transport::ssh::AgentSocket::Off;
    let ssh = Ssh::new(target, Arc::new(Unattended));
    let cancel = Cancel::new();
    let bare = Command::list(["true"]).reading();
    let changing = Command::list(["true"]);
    ssh.connect_now(&cancel)?;
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
