//! A site for one test: a directory, a simulated `AhsayOBS` server in it, and runs of the program against it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::patience::{end, output};

/// The password of the server's administrator; its letters need care in forms, XML and shells.
pub(crate) const PASSWORD: &str = "p&ss w\"rd%1<'";

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        let out = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        Self { code: output.status.code(), out: String::from_utf8_lossy(&out).into_owned() }
    }
}

/// Removed with everything that runs in it when dropped.
#[derive(Debug)]
pub(crate) struct Site {
    dir: tempfile::TempDir,
    port: u16,
    control: u16,
    replication: u16,
    /// Where lock records are, if not where they usually are: runs of other tests on this machine are none of its business.
    locks: Option<PathBuf>,
}

/// The program of the simulated server, built if need be.
pub(crate) fn simulator() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        // `cargo test --test main` alone does not build examples.
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "--quiet", "--example", "obs_server"]);
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().unwrap().success());
        let program = Path::new(env!("CARGO_BIN_EXE_upgrade-host"));
        program.with_file_name("examples").join("obs_server")
    })
}

/// Ports that nothing listens on, and that no other site of this process has: sites are made side by side.
fn free_ports() -> [u16; 3] {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap();
    std::array::from_fn(|_| {
        loop {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            if given.insert(port) {
                return port;
            }
        }
    })
}

impl Site {
    /// Makes the directory, without a server.
    pub(crate) fn new() -> Self {
        let [port, control, replication] = free_ports();
        let dir = tempfile::tempdir().unwrap();
        let locks = Some(dir.path().to_owned());
        Self { dir, port, control, replication, locks }
    }

    /// Keeps lock records where they usually are, for targets that are machines of their own.
    pub(crate) fn with_usual_locks(mut self) -> Self {
        self.locks = None;
        self
    }

    /// Makes a server with these settings and starts it.
    pub(crate) fn with_server(users: u32, settings: &[&str]) -> Self {
        let site = Self::new();
        let [port, control, replication] = site.ports().map(|port| port.to_string());
        site.simulate(
            "create",
            &[
                "--users",
                &users.to_string(),
                "--files-per-user",
                "1",
                "--port",
                &port,
                "--shutdown-port",
                &control,
                "--replication-port",
                &replication,
                "--password",
                PASSWORD,
            ],
        );
        site.set(&["sync_delay_ms=300"]);
        site.set(settings);
        let home = site.home();
        let config = format!(
            "[services.obsr]\nstart = \"{0}/bin/startup.sh\"\nstop = \"{0}/bin/shutdown.sh\"\npid_file = \"{0}/logs/obsr.pid\"\n",
            home.display()
        );
        site.write("upgrade-host.toml", &config);
        site.begin();
        site
    }

    /// The ports of the server: HTTP, control, replication.
    pub(crate) fn ports(&self) -> [u16; 3] {
        [self.port, self.control, self.replication]
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.path("obs")
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Makes the vendor's package of a version.
    pub(crate) fn package(out: &Path, version: &str) {
        let mut program = Command::new(simulator());
        program.arg("package").arg("--out").arg(out);
        program.args(["--version", version, "--without-exe"]).stdout(Stdio::null());
        assert!(program.status().unwrap().success());
    }

    fn simulate(&self, command: &str, arguments: &[&str]) {
        let mut program = Command::new(simulator());
        program.arg(command).arg("--home").arg(self.home()).args(arguments).stdout(Stdio::null());
        assert!(program.status().unwrap().success());
    }

    /// Changes settings of the simulation.
    pub(crate) fn set(&self, settings: &[&str]) {
        if !settings.is_empty() {
            self.simulate("set", settings);
        }
    }

    /// Whether the server answers.
    pub(crate) fn alive(&self) -> bool {
        std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    /// Waits for something that happens in another process.
    pub(crate) fn wait(&self, what: &str, mut happened: impl FnMut() -> bool) {
        let started = Instant::now();
        while !happened() {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "waited in vain: {what}\n{}",
                self.audit()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What the server itself noted of requests and changes.
    pub(crate) fn audit(&self) -> String {
        self.read("obs.audit.log")
    }

    /// A listing of the program, `runs` or `debts`.
    pub(crate) fn listing(&self, verb: &str) -> Vec<serde_json::Value> {
        let output = output(&mut self.command(&[verb, "--json"]));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The id of the newest run, and how it stands.
    pub(crate) fn newest(&self) -> Option<(String, String)> {
        let runs = self.listing("runs");
        let text = |key: &str| Some(runs.first()?[key].as_str()?.to_owned());
        Some((text("id")?, text("status")?))
    }

    /// The states of the users on the server's disk, by the directory of each.
    pub(crate) fn states(&self) -> BTreeMap<String, String> {
        let users = fs::read_dir(self.home().join("user")).unwrap().map(Result::unwrap);
        users
            .map(|user| {
                let profile = fs::read_to_string(user.path().join("db/Profile.xml")).unwrap();
                let status = profile.split_once(" Status=\"").unwrap().1.split('"').next().unwrap();
                (user.file_name().to_string_lossy().into_owned(), status.to_owned())
            })
            .collect()
    }

    /// The changes of users' states that were made, `to=SUSPENDED` or `to=ENABLE`.
    pub(crate) fn changes(&self, to: &str) -> Vec<String> {
        let audit = self.audit();
        let made = audit.lines().filter(|line| line.contains("\tCHANGE\t") && line.contains(to));
        made.map(|line| line.split('\t').skip(3).take(2).collect::<Vec<_>>().join("/")).collect()
    }

    /// Begins a run of the program.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Returns the program with its environment, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_upgrade-host"));
        program.args(arguments).arg("--state").arg(self.path("state"));
        if self.path("upgrade-host.toml").exists() {
            program.arg("--config").arg(self.path("upgrade-host.toml"));
        }
        program
            .env("HOME", self.dir.path())
            .env_remove("XDG_CONFIG_HOME")
            .envs(self.locks.iter().map(|dir| ("UPGRADE_HOST_LOCK_DIR", dir)))
            .env("OBS_PASSWORD", PASSWORD);
        program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        program.current_dir(self.dir.path());
        program
    }

    /// Runs the program until it ends itself, as if by kill -9, at a boundary of the journal: `7 before`, `7 after`.
    pub(crate) fn dying(&self, at: &str, arguments: &[&str]) -> Ended {
        Ended::of(&output(self.command(arguments).env("UPGRADE_HOST_DIE_AT", at)))
    }

    /// Runs the program to its end.
    pub(crate) fn program(&self, arguments: &[&str]) -> Ended {
        Ended::of(&output(&mut self.command(arguments)))
    }

    /// Writes a runbook that acts on the server: `settings` are more settings of the adapter.
    pub(crate) fn runbook(&self, settings: &str, body: &str) {
        let text = format!(
            "//! A test\nconst RUNBOOK = #{{ params: #{{ password: #{{ type: \"secret\", about: \"its password\" }} }} }};\n\
             app(\"ahsay_obs\", #{{ home: \"{}\", api: \"http://127.0.0.1:{}\", user: \"system\", password: secret(\"password\"), {settings} }});\n{body}\n",
            self.home().display(),
            self.port
        );
        self.write("book.rhai", &text);
    }

    /// Begins a run of the program with more variables.
    pub(crate) fn start_with(&self, arguments: &[&str], env: &[(&str, &str)]) -> Child {
        self.command(arguments).envs(env.iter().copied()).spawn().unwrap()
    }

    /// Runs what [`Site::runbook`] wrote, with more variables.
    pub(crate) fn run_with(&self, verb: &str, env: &[(&str, &str)]) -> Ended {
        let arguments = [verb, "book.rhai", "--set", "password=env:OBS_PASSWORD"];
        Ended::of(&end(self.start_with(&arguments, env)))
    }

    /// Starts the server, and waits until it answers.
    pub(crate) fn begin(&self) {
        let mut start = Command::new(self.home().join("bin/startup.sh"));
        assert!(start.stdout(Stdio::null()).status().unwrap().success());
        self.wait("the server starts", || self.alive());
    }

    /// Stops the server, and waits until it is gone.
    pub(crate) fn stop(&self) {
        let mut stop = Command::new(self.home().join("bin/shutdown.sh"));
        let _verified = stop.stdout(Stdio::null()).status().unwrap();
        self.wait("the server stops", || !self.alive());
    }

    /// Runs what [`Site::runbook`] wrote.
    pub(crate) fn run(&self, verb: &str) -> Ended {
        self.program(&[verb, "book.rhai", "--set", "password=env:OBS_PASSWORD"])
    }

    /// Runs it with a password of the application other than the right one.
    pub(crate) fn run_with_password(&self, password: &str) -> Ended {
        self.write("wrong", password);
        let file = self.path("wrong");
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let password = format!("password=file:{}", file.display());
        self.program(&["run", "book.rhai", "--set", &password])
    }

    /// Begins to run it, kills it with -9 once `happened`, and waits for its end.
    pub(crate) fn kill_when(&self, what: &str, happened: impl FnMut() -> bool) {
        let mut child = self.start(&["run", "book.rhai", "--set", "password=env:OBS_PASSWORD"]);
        self.wait(what, happened);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Ok(pid) = fs::read_to_string(self.home().join("logs/obsr.pid")) {
            drop(Command::new("kill").args(["-9", pid.trim()]).stderr(Stdio::null()).status());
        }
    }
}
