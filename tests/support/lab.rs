//! Real Debian hosts for tests: the Rust face of `tests/lab/lab`.
//!
//! A test asks for the lab, then for hosts. It has its hosts for itself until it drops them, and
//! other tests wait for theirs meanwhile:
//!
//! ```ignore
//! let Some(lab) = Lab::shared() else { return };
//! let [a, b] = lab.hosts();
//! a.ok("systemctl stop cron");
//! ```
//!
//! The hosts boot once per test process. A host comes as the test before left it, so tests work in
//! directories of their own or call [`Host::reset`]; only a host whose test failed, or left it cut
//! or killed, comes with a new disk. One process at a time uses the lab. The hosts go away when
//! nobody has used them for [`IDLE`].
//!
//! `UPGRADE_HOST_LAB` decides what happens where the lab cannot run: `require` fails the test,
//! otherwise the test is not run and says so on standard error. `skip` never runs lab tests.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::patience::output;

/// How many hosts the lab has: `h1` to `h4`.
pub(crate) const HOSTS: u8 = 4;

/// How long the hosts stay up after the last test process that used them.
const IDLE: Duration = Duration::from_secs(60);

/// How long a host may take to shut down.
const SHUT_DOWN: Duration = Duration::from_secs(100);

/// How long to wait for another process to be done with the lab.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// Says why lab tests cannot run here: not root, no Linux, a missing program.
pub(crate) fn available() -> Result<(), String> {
    static ANSWER: OnceLock<Result<(), String>> = OnceLock::new();
    ANSWER
        .get_or_init(|| {
            let output = lab_command(["check"])
                .output()
                .map_err(|error| format!("cannot start {}: {error}", script().display()))?;
            if output.status.success() {
                Ok(())
            } else {
                Err(text(&output.stderr).trim().to_owned())
            }
        })
        .clone()
}

/// The running lab of this test process.
#[derive(Debug)]
pub(crate) struct Lab {
    directory: PathBuf,
    free: Mutex<BTreeSet<u8>>,
    returned: Condvar,
    /// Keeps other processes out; the kernel lets go of it when this one ends.
    _use: File,
}

impl Lab {
    /// Returns the lab, booted, or `None` where the calling test is not to run, having said so.
    ///
    /// # Panics
    ///
    /// When the lab cannot run and `UPGRADE_HOST_LAB=require`, and when it does not boot.
    pub(crate) fn shared() -> Option<&'static Self> {
        static LAB: OnceLock<Lab> = OnceLock::new();

        let wish = std::env::var("UPGRADE_HOST_LAB").unwrap_or_default();
        let obstacle = match wish.as_str() {
            "skip" => Err("UPGRADE_HOST_LAB=skip".to_owned()),
            "" | "require" => available(),
            other => panic!("UPGRADE_HOST_LAB is `{other}`; it may be `require`, `skip` or unset"),
        };
        match obstacle {
            Ok(()) => Some(LAB.get_or_init(Self::boot)),
            Err(why) if wish == "require" => panic!("the lab is required: {why}"),
            Err(why) => {
                let test = thread::current();
                say(&format!("NOT RUN: {} needs the lab ({why})", test.name().unwrap_or("a test")));
                None
            }
        }
    }

    fn boot() -> Self {
        let directory = PathBuf::from(lab(["dir"]).trim());
        fs::create_dir_all(&directory).expect("directory of the lab");
        let held = wait_for(&directory.join("use.lock"));
        lab(["up", &HOSTS.to_string(), "--idle", &IDLE.as_secs().to_string()]);
        Self {
            directory,
            free: Mutex::new((1..=HOSTS).collect()),
            returned: Condvar::new(),
            _use: held,
        }
    }

    /// Takes host `number`, once no other test has it.
    ///
    /// A test that wants several takes them all with one call of [`Lab::hosts`]: two tests that
    /// take them one by one can wait for each other for ever.
    pub(crate) fn host(&'static self, number: u8) -> Host {
        assert!((1..=HOSTS).contains(&number), "the lab has no h{number}");
        let free = self.free();
        let mut free = self
            .returned
            .wait_while(free, |free| !free.contains(&number))
            .unwrap_or_else(PoisonError::into_inner);
        free.remove(&number);
        drop(free);
        Host::take(self, number)
    }

    /// Takes any `N` hosts, once so many are free.
    pub(crate) fn hosts<const N: usize>(&'static self) -> [Host; N] {
        assert!(N <= usize::from(HOSTS), "the lab has only {HOSTS} hosts");
        let free = self.free();
        let mut free = self
            .returned
            .wait_while(free, |free| free.len() < N)
            .unwrap_or_else(PoisonError::into_inner);
        let numbers = std::array::from_fn(|_| free.pop_first().expect("enough free hosts"));
        drop(free);
        numbers.map(|number: u8| Host::take(self, number))
    }

    /// Returns the path of the private key that every user of every host accepts.
    pub(crate) fn key(&self) -> PathBuf {
        self.directory.join("id_ed25519")
    }

    /// Returns the path of a `known_hosts` file with the key of every host.
    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.directory.join("known_hosts")
    }

    fn free(&self) -> MutexGuard<'_, BTreeSet<u8>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One host, which belongs to one test until dropped.
#[derive(Debug)]
pub(crate) struct Host {
    lab: &'static Lab,
    number: u8,
    name: String,
    /// Left cut or killed: not fit for the next test as it is.
    odd: AtomicBool,
}

impl Host {
    fn take(lab: &'static Lab, number: u8) -> Self {
        let host = Self { lab, number, name: format!("h{number}"), odd: AtomicBool::new(false) };
        if host.taint().exists() {
            host.reset();
        }
        host
    }

    /// Returns `h1`, `h2`, ….
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the address that ssh answers on.
    pub(crate) fn address(&self) -> String {
        lab(["addr", &self.name]).trim().to_owned()
    }

    /// Returns the address that users reach, on another interface than ssh.
    pub(crate) fn service_address(&self) -> String {
        lab(["addr", &self.name, "svc"]).trim().to_owned()
    }

    /// Runs a shell script on the host, as root, over the system's ssh. Gives up, with status 255,
    /// when the host is silent for some 15 seconds.
    pub(crate) fn sh(&self, script: &str) -> Output {
        output(&mut lab_command(["ssh", &self.name, script]))
    }

    /// Runs a script that must succeed and returns what it printed, without the last line end.
    #[track_caller]
    pub(crate) fn ok(&self, script: &str) -> String {
        let output = self.sh(script);
        assert!(
            output.status.success(),
            "{} on {}: {script}\n{}{}",
            output.status,
            self.name,
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout).trim_end_matches('\n').to_owned()
    }

    /// Copies a file to the host, with its mode, atomically.
    pub(crate) fn put(&self, source: &Path, destination: &str) {
        lab([OsStr::new("put"), self.name.as_ref(), source.as_ref(), destination.as_ref()]);
    }

    /// Returns a line for each file under the directories: kind, SHA-256, mode, owner, size, mtime
    /// and path. It reads from outside, without ssh, so it works while the host is cut or killed
    /// (but `/tmp` and `/run` exist only while it runs).
    pub(crate) fn tree(&self, directories: &[&str]) -> String {
        lab(["tree", &self.name].iter().chain(directories))
    }

    /// Returns `PID UID STATE COMMAND LINE` of each process on the host, seen from outside.
    pub(crate) fn processes(&self) -> Vec<String> {
        lab(["ps", &self.name]).lines().map(str::to_owned).collect()
    }

    /// Returns the directory at which this machine sees the host's files, until its next boot. Links
    /// with absolute targets lead out of it.
    pub(crate) fn root(&self) -> PathBuf {
        PathBuf::from(lab(["root", &self.name]).trim())
    }

    /// Returns the directory at which this machine sees the host's disk, whether it runs or not.
    pub(crate) fn disk(&self) -> PathBuf {
        self.lab.directory.join(&self.name).join("root")
    }

    /// Loses every packet from and to the address for ssh. The link stays up: a silent peer.
    pub(crate) fn cut(&self) {
        self.odd.store(true, Ordering::Relaxed);
        lab(["cut", &self.name]);
    }

    /// Undoes [`Host::cut`].
    pub(crate) fn heal(&self) {
        lab(["heal", &self.name]);
        self.odd.store(false, Ordering::Relaxed);
    }

    /// Takes the power away: every process is gone at once, and no packet tells of it.
    pub(crate) fn kill(&self) {
        self.odd.store(true, Ordering::Relaxed);
        lab(["kill", &self.name]);
    }

    /// Shuts the host down in good order, and waits until it is off.
    pub(crate) fn shut_down(&self) {
        self.odd.store(true, Ordering::Relaxed);
        let _the_connection_ends_with_it = self.sh("systemctl --no-block poweroff");
        let start = Instant::now();
        while !self.processes().is_empty() {
            assert!(start.elapsed() < SHUT_DOWN, "{} does not shut down", self.name);
            thread::sleep(Duration::from_millis(50));
        }
        // What ran it on this machine may still be about to end.
        self.kill();
    }

    /// Boots a killed host, with its disk as it was, and waits until it is up.
    pub(crate) fn boot(&self) {
        lab(["boot", &self.name]);
        self.odd.store(false, Ordering::Relaxed);
    }

    /// Boots the host with a new disk and waits until it is up.
    pub(crate) fn reset(&self) {
        lab(["reset", &self.name]);
        self.odd.store(false, Ordering::Relaxed);
    }

    /// The mark that asks for a new disk, kept on disk for a later process.
    fn taint(&self) -> PathBuf {
        self.lab.directory.join(&self.name).join("tainted")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if thread::panicking() || self.odd.load(Ordering::Relaxed) {
            // When this fails, the next test merely gets the host as it is.
            let _ = File::create(self.taint());
        }
        self.lab.free().insert(self.number);
        self.lab.returned.notify_all();
    }
}

/// Returns an `upgrade-host.toml` with the hosts as targets, for root.
pub(crate) fn config_toml(hosts: &[&Host]) -> String {
    lab(["config"].into_iter().chain(hosts.iter().map(|host| host.name())))
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/lab")
}

fn lab_command<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(script());
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs a lab command that must succeed and returns its standard output.
#[track_caller]
fn lab<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> String {
    let mut command = lab_command(args);
    let output = output(&mut command);
    assert!(output.status.success(), "{}: {command:?}\n{}", output.status, text(&output.stderr));
    text(&output.stdout).into_owned()
}

/// Locks the file for as long as this process lives.
fn wait_for(path: &Path) -> File {
    let file = File::options().create(true).append(true).open(path).expect("lock file of the lab");
    let start = Instant::now();
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return file,
            Err(TryLockError::WouldBlock) => {
                assert!(
                    start.elapsed() < PATIENCE,
                    "another process has used the lab for {PATIENCE:?}: {}",
                    path.display()
                );
                if !told && start.elapsed() > Duration::from_secs(3) {
                    say("waiting for another process to be done with the lab");
                    told = true;
                }
                thread::sleep(Duration::from_millis(50));
            }
            Err(TryLockError::Error(error)) => panic!("cannot lock {}: {error}", path.display()),
        }
    }
}

/// Writes to the real standard error, which the test runner does not capture.
fn say(message: &str) {
    let line = format!("\n*** {message}\n"); // one write, so that threads do not mix their words
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
