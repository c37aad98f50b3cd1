//! A real sshd of our own on a free port, ended by its process id.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ended with everything that it serves when dropped.
#[derive(Debug)]
pub(crate) struct Sshd {
    dir: tempfile::TempDir,
    pub(crate) port: u16,
    child: Child,
}

impl Sshd {
    /// Starts a server; none (said loudly) if this machine has no sshd.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with("SetEnv SHLVL=5")
    }

    /// As [`Sshd::start`], with these lines in its configuration; the environment is among what they say.
    pub(crate) fn start_with(extra: &str) -> Option<Self> {
        if !Path::new("/usr/sbin/sshd").exists() {
            let _said = writeln!(
                std::io::stderr(),
                "\n*** NOT TESTED: /usr/sbin/sshd is missing (package openssh-server) ***\n"
            );
            assert!(
                std::env::var_os("UPGRADE_HOST_REQUIRE_SSHD").is_none(),
                "sshd is required and missing"
            );
            return None;
        }
        // Root's sshd wants its privilege separation directory; others neither need nor may make it.
        let _made = std::fs::create_dir_all("/run/sshd");
        let dir = tempfile::tempdir().unwrap();
        for key in ["host", "other", "id", "stranger"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.path().join(key));
            assert!(keygen.status().unwrap().success());
        }
        std::fs::copy(dir.path().join("id.pub"), dir.path().join("authorized_keys")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized_keys\n\
             PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n{extra}\n",
            dir.path().display()
        );
        std::fs::write(dir.path().join("config"), config).unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(dir.path().join("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let sshd = Self { dir, port, child };
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "sshd does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(sshd)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A configuration with a target `box` on this server, that knows it by the key of this name, if any.
    pub(crate) fn config(&self, identity: &str, known: Option<&str>) -> String {
        let line = known.map_or_else(String::new, |key| {
            let public = std::fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap();
            let words: Vec<&str> = public.split_whitespace().collect();
            format!("[127.0.0.1]:{} {} {}\n", self.port, words[0], words[1])
        });
        std::fs::write(self.path("known_hosts"), line).unwrap();
        format!(
            "[targets.box]\naddress = \"127.0.0.1\"\nport = {}\nidentity = \"{}\"\nknown_hosts = \"{}\"\n",
            self.port,
            self.path(identity).display(),
            self.path("known_hosts").display(),
        )
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
