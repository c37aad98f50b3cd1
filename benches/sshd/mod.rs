//! An sshd of a benchmark's own on the loopback address, and the median of what was measured.

use std::error::Error;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ended when dropped.
pub(crate) struct Sshd {
    child: Child,
    pub(crate) port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn key(dir: &Path, name: &str) -> Result<(), Box<dyn Error>> {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(dir.join(name))
        .status()?;
    if made.success() { Ok(()) } else { Err("ssh-keygen failed".into()) }
}

impl Sshd {
    /// Starts one that keeps its files in `dir`: `id` is the key to log in with, `known_hosts` knows it.
    pub(crate) fn start(dir: &Path, extra: &str) -> Result<Self, Box<dyn Error>> {
        key(dir, "host")?;
        key(dir, "id")?;
        fs::copy(dir.join("id.pub"), dir.join("authorized_keys"))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        // bash reads the user's own files for every command unless it takes itself for a nested one.
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized_keys\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nSetEnv SHLVL=5\nSubsystem sftp internal-sftp\n{extra}\n",
            dir.display()
        );
        fs::write(dir.join("sshd_config"), config)?;
        fs::create_dir_all("/run/sshd")?;
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(dir.join("sshd_config"))
            .stderr(Stdio::null())
            .spawn()?;
        let sshd = Self { child, port };
        let host = fs::read_to_string(dir.join("host.pub"))?;
        fs::write(dir.join("known_hosts"), format!("[127.0.0.1]:{port} {host}"))?;
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if started.elapsed() > Duration::from_secs(20) {
                return Err("sshd does not start".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(sshd)
    }
}

/// Returns who runs this.
pub(crate) fn user() -> Result<String, Box<dyn Error>> {
    let user = Command::new("id").arg("-un").output()?;
    Ok(String::from_utf8(user.stdout)?.trim().to_owned())
}

pub(crate) fn median(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[took.len() / 2]
}
