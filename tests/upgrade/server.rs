//! A simulated server on a host of the lab, installed as the vendor's installer does, and what can be seen of it from
//! outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::program::{Ended, Program};
use crate::support::lab::{Host, Lab, config_toml};
use crate::support::site::{PASSWORD, simulator};

pub(crate) const RUNBOOK: &str = "scripts/ahsay_553.rhai";
pub(crate) const HOME: &str = "/usr/local/obs";
pub(crate) const BACKUP: &str = "/var/backups/obs-before-5.5.3";
pub(crate) const PACKAGE: &str = "/root/obsr-5.5.3.tar.gz";
/// The sudo password of the user `operator`.
const SUDO_PASSWORD: &str = "lab-sudo";

/// Settings with which the replication is switched in the running server, without a restart.
pub(crate) const BY_CONSOLE: [&str; 6] = [
    "--set",
    "replication_driver=command",
    "--set",
    "replication_off=/usr/local/obs/jvm/bin/obs-jvm replication --home /usr/local/obs off",
    "--set",
    "replication_on=/usr/local/obs/jvm/bin/obs-jvm replication --home /usr/local/obs on",
];

/// Login name and owner.
pub(crate) type User = (String, String);

/// A line of the server's own log of what really happened.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) user: User,
    pub(crate) to: String,
}

/// A host with a server, and a directory of this machine for the program.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) host: Host,
    root: PathBuf,
    dir: tempfile::TempDir,
    address: String,
    /// The states of the users when the server was made.
    pub(crate) users: BTreeMap<User, String>,
    /// Sessions that an earlier test left on the host, whose link it had cut: they end when ssh finds that.
    sessions: Vec<String>,
    runs: AtomicU32,
}

impl Server {
    /// Takes a host and makes a server on it, unless the lab cannot run here.
    pub(crate) fn new(settings: &[&str]) -> Option<Self> {
        let lab = Lab::shared()?;
        let [host] = lab.hosts();
        let program = simulator();
        let digest = Sha256::digest(fs::read(program).unwrap());
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        if host
            .sh(&format!("echo {digest} /opt/obs_server | sha256sum --check --status"))
            .status
            .code()
            != Some(0)
        {
            host.put(program, "/opt/obs_server");
        }
        let mut server = Self {
            // Whatever is looked at lies on the disk, which is the same after a reboot.
            root: host.disk(),
            dir: tempfile::tempdir().unwrap(),
            address: host.service_address(),
            users: BTreeMap::new(),
            sessions: host.processes().into_iter().filter(|line| line.contains("sshd: ")).collect(),
            runs: AtomicU32::new(0),
            host,
        };
        server.again(settings);
        Some(server)
    }

    /// Makes the server anew, as if nothing had ever been done to it.
    pub(crate) fn again(&mut self, settings: &[&str]) {
        let password = PASSWORD.replace('\'', r"'\''");
        self.host.ok(&format!(
            "set -e
            pkill -9 -x obs-jvm || true
            umount -l {BACKUP} 2>/dev/null || true
            rm -rf {HOME}* /var/backups/obs* /root/obsr*
            obs=/opt/obs_server
            $obs create --home {HOME} --copy-exe --bind 0.0.0.0 --port 80 --shutdown-port 8014 --users 40 --files-per-user 3 --password '{password}'
            $obs package --out {PACKAGE} --version 5.5.3.0 --without-exe
            $obs init-script --home {HOME} --out /etc/init.d/obsr
            $obs set --home {HOME} init_sleep_s=0 index_ms_per_user=10 sync_delay_ms=200 {}
            /etc/init.d/obsr start || true",
            settings.join(" ")
        ));
        self.wait("the server starts", |server| server.get("/alive.txt").is_some());
        self.users = self.states();
        let _none_yet = fs::remove_dir_all(self.path("state"));
        self.config(&config_toml(&[&self.host]));
    }

    /// Writes the configuration: targets as given, parameters as the server needs them.
    pub(crate) fn config(&self, targets: &str) {
        let params = format!(
            "[defaults.params]\npackage = \"{PACKAGE}\"\nsystem_password = \"env:OBS_PASSWORD\"\n\
             clients_wait = \"1s\"\nstop_timeout = \"20s\"\ndrain_timeout = \"5s\"\n"
        );
        fs::write(self.path("upgrade-host.toml"), targets.to_owned() + &params).unwrap();
    }

    /// A file of this machine.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file of the host, as this machine sees it.
    pub(crate) fn on_host(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(crate) fn read(&self, path: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.on_host(path)).unwrap_or_default()).into_owned()
    }

    /// Changes settings of the running simulation, at once.
    pub(crate) fn set(&self, settings: &[&str]) {
        let path = self.on_host(&format!("{HOME}/sim.conf"));
        let old = fs::read_to_string(&path).unwrap();
        let replaced = |line: &&str| {
            let name = line.split('=').next();
            settings.iter().all(|setting| setting.split('=').next() != name)
        };
        let lines: Vec<&str> =
            old.lines().filter(replaced).chain(settings.iter().copied()).collect();
        fs::write(path.with_extension("new"), lines.join("\n") + "\n").unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }

    /// Waits for something that happens on the host.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, mut happened: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        while !happened(self) {
            assert!(started.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    // ---- the program ----

    /// Begins a run of the program.
    pub(crate) fn start(&self, arguments: &[&str]) -> Program {
        let run = self.runs.fetch_add(1, Ordering::SeqCst);
        let [out, err] = ["out", "err"].map(|kind| self.path(&format!("{kind}-{run}")));
        let mut program = self.command(arguments);
        program.stdin(Stdio::null());
        program.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Program { child: program.spawn().unwrap(), out, err }
    }

    /// Returns the program with its environment, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_upgrade-host"));
        program.args(arguments).arg("--state").arg(self.path("state"));
        program.arg("--config").arg(self.path("upgrade-host.toml"));
        program
            .env("HOME", self.dir.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("SSH_AUTH_SOCK")
            .env("OBS_PASSWORD", PASSWORD)
            .env("SUDO_PASSWORD", SUDO_PASSWORD);
        program.current_dir(env!("CARGO_MANIFEST_DIR"));
        program
    }

    /// Runs the program to its end.
    #[track_caller]
    pub(crate) fn program(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).end()
    }

    /// Begins the upgrade.
    pub(crate) fn begin(&self, more: &[&str]) -> Program {
        let arguments = ["run", RUNBOOK, "--on", self.host.name(), "--json", "--yes"];
        self.start(&[&arguments, more].concat())
    }

    /// Upgrades, to the end of the run.
    #[track_caller]
    pub(crate) fn upgrade(&self, more: &[&str]) -> Ended {
        self.begin(more).end()
    }

    #[track_caller]
    pub(crate) fn resume(&self) -> Ended {
        self.program(&["resume", "last", "--json", "--yes"])
    }

    #[track_caller]
    pub(crate) fn roll_back(&self) -> Ended {
        self.program(&["rollback", "last", "--json", "--yes"])
    }

    /// What is owed, as `debts` lists it.
    #[track_caller]
    pub(crate) fn debts(&self) -> Vec<String> {
        let ended = self.program(&["debts", "--json"]);
        let debts: Vec<serde_json::Value> = serde_json::from_str(&ended.out).unwrap();
        let ended = ended.expect(if debts.is_empty() { 0 } else { 4 });
        assert_eq!(ended.err, "");
        debts
            .iter()
            .map(|debt| {
                assert_eq!(debt["target"], self.host.name(), "{debt}");
                debt["what"].as_str().unwrap().to_owned()
            })
            .collect()
    }

    // ---- what is seen from outside ----

    fn agent() -> &'static ureq::Agent {
        static AGENT: OnceLock<ureq::Agent> = OnceLock::new();
        AGENT.get_or_init(|| {
            ureq::Agent::config_builder()
                .http_status_as_error(false)
                .timeout_global(Some(Duration::from_secs(1)))
                .max_idle_connections(0)
                .build()
                .into()
        })
    }

    /// Asks as a user of the server does, on the interface for users: status and body, if it answers.
    pub(crate) fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut answer = Self::agent().get(format!("http://{}{path}", self.address)).call().ok()?;
        Some((answer.status().as_u16(), answer.body_mut().read_to_string().ok()?))
    }

    /// What the API answers to the administrator; on a loaded machine it may take a few tries.
    #[track_caller]
    fn api(&self, call: &str) -> String {
        let url = format!("http://{}/obs/api/{call}.do", self.address);
        let ask = || -> Result<String, ureq::Error> {
            let form = [("SysUser", "system"), ("SysPwd", PASSWORD)];
            Self::agent().post(&url).send_form(form)?.body_mut().read_to_string()
        };
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            match ask() {
                Ok(answer) => return answer,
                Err(error) => assert!(Instant::now() < end, "{error}"),
            }
        }
    }

    /// What happened since the server was made.
    pub(crate) fn audit(&self) -> Vec<Audit> {
        let text = self.read(&format!("{HOME}.audit.log"));
        let line = |line: &str| {
            let words: Vec<&str> = line.split('\t').collect();
            let detail = |name: &str| {
                words.iter().find_map(|word| word.strip_prefix(name)).unwrap_or_default().to_owned()
            };
            Audit {
                kind: words[1].to_owned(),
                name: words[2].to_owned(),
                user: (words[3].to_owned(), detail("owner=")),
                to: detail("to="),
            }
        };
        text.lines().map(line).collect()
    }

    /// How often it happened.
    pub(crate) fn count(&self, kind: &str, name: &str) -> usize {
        self.audit().iter().filter(|line| line.kind == kind && line.name == name).count()
    }

    /// How many users have been suspended, or enabled.
    pub(crate) fn changes(&self, to: &str) -> Vec<User> {
        let made = self.audit().into_iter().filter(|line| line.to == to);
        made.map(|line| line.user).collect()
    }

    /// The states of the users on the server's disk.
    pub(crate) fn states(&self) -> BTreeMap<User, String> {
        let users =
            fs::read_dir(self.on_host(&format!("{HOME}/user"))).unwrap().map(Result::unwrap);
        users
            .map(|user| {
                let profile = fs::read_to_string(user.path().join("db/Profile.xml")).unwrap();
                let profile = roxmltree::Document::parse(&profile).unwrap();
                let element =
                    profile.descendants().find(|node| node.has_attribute("LoginName")).unwrap();
                let value = |name| element.attribute(name).unwrap_or_default().to_owned();
                ((value("LoginName"), value("Owner")), value("Status"))
            })
            .collect()
    }

    pub(crate) fn enabled(&self) -> Vec<&User> {
        self.users.iter().filter(|(_, status)| *status == "ENABLE").map(|(user, _)| user).collect()
    }

    // ---- what has to hold ----

    /// This version is installed and answers.
    #[track_caller]
    pub(crate) fn runs(&self, version: &str) {
        assert_eq!(self.read(&format!("{HOME}/version.txt")).trim(), version);
        let said = self.api("GetSystemSetting");
        assert!(said.contains(&format!("\"{version}\"")), "{said}");
    }

    /// Each user may do what was possible before; the server itself says so, to its users and on its disk.
    #[track_caller]
    pub(crate) fn users_are_as_before(&self) {
        assert_eq!(self.states(), self.users);
        let list = self.api("ListUsers");
        let listed = list.matches("\"ENABLE\"").count();
        assert_eq!(listed, self.enabled().len());
        for ((login, owner), status) in &self.users {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("user", login).append_pair("owner", owner);
            let answer = self.get(&format!("/login?{}", query.finish())).map(|answer| answer.0);
            let expected = if status == "ENABLE" { 200 } else { 403 };
            assert_eq!(answer, Some(expected), "{login} of {owner}");
        }
    }

    /// Each user who could log in was suspended once and enabled once, and nobody else was touched.
    #[track_caller]
    pub(crate) fn users_went_out_and_in_once(&self) {
        let enabled = self.enabled();
        for to in ["SUSPENDED", "ENABLE"] {
            let mut changed = self.changes(to);
            changed.sort();
            assert_eq!(changed.iter().collect::<Vec<_>>(), enabled, "{to}");
        }
    }

    /// Nobody was changed twice the same way.
    #[track_caller]
    pub(crate) fn nobody_was_changed_twice(&self) {
        for to in ["SUSPENDED", "ENABLE"] {
            let changed = self.changes(to);
            let distinct: BTreeSet<_> = changed.iter().collect();
            assert_eq!(distinct.len(), changed.len(), "{to}: {changed:?}");
        }
    }

    #[track_caller]
    pub(crate) fn replication_is(&self, on: bool) {
        let said = self.api("GetReplicationMode");
        assert_eq!(!said.contains("\"DISABLED\""), on, "{said}");
    }

    /// No file and no process of ours is on the host.
    #[track_caller]
    pub(crate) fn nothing_of_ours_is_left(&self) {
        self.nothing_is_left_but(&[]);
    }

    /// As above, but for processes with these words in their command lines.
    #[track_caller]
    pub(crate) fn nothing_is_left_but(&self, known: &[&str]) {
        let files = self.host.ok("find / /tmp /run -xdev -name '*upgrade-host*' ! -path '/proc/*'");
        assert_eq!(files, "", "files are left on the host");
        let system = [
            "/systemd",
            "(sd-pam)",
            "dbus-daemon",
            "/usr/sbin/atd",
            "[listener]",
            "/obs-jvm serve",
            "agetty",
        ];
        let foreign = || {
            let all = self.host.processes();
            all.into_iter()
                .filter(|line| !system.iter().chain(known).any(|known| line.contains(known)))
                .filter(|line| !self.sessions.contains(line))
                .collect::<Vec<_>>()
        };
        // Sessions of ssh end a moment after their clients.
        let started = Instant::now();
        let mut left = foreign();
        while !left.is_empty() && started.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(100));
            left = foreign();
        }
        assert!(left.is_empty(), "processes are left on the host: {left:#?}");
    }

    /// The password is in nothing that the program wrote here, nor in a log of the server.
    #[track_caller]
    pub(crate) fn the_password_is_nowhere(&self) {
        let form: String = form_urlencoded::byte_serialize(PASSWORD.as_bytes()).collect();
        let xml = PASSWORD.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
        let json = PASSWORD.replace('"', "\\\"");
        let mut seen = 0;
        for dir in [self.dir.path().to_owned(), self.on_host(&format!("{HOME}/logs"))] {
            for path in files(&dir) {
                let bytes = fs::read(&path).unwrap();
                for form in [PASSWORD, form.as_str(), xml.as_str(), json.as_str()] {
                    let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
                    assert!(!found, "the password is in {}", path.display());
                }
                seen += 1;
            }
        }
        assert!(seen > 3);
    }

    /// The old version runs, everybody is in again, and nothing of ours is left.
    #[track_caller]
    pub(crate) fn is_as_it_was(&self) {
        self.wait("the server answers", |server| server.get("/alive.txt").is_some());
        self.runs("5.5.2.0");
        self.users_are_as_before();
        self.nothing_of_ours_is_left();
    }

    /// As [`Server::is_upgraded`], after the link was cut: sshd keeps a session that was lost until it finds out.
    #[track_caller]
    pub(crate) fn is_upgraded_after_a_cut(&self) {
        self.is_upgraded_but(&["sshd: root@notty"]);
    }

    /// The new version runs, everybody is in again, and nothing of ours is left.
    #[track_caller]
    pub(crate) fn is_upgraded(&self) {
        self.is_upgraded_but(&[]);
    }

    #[track_caller]
    fn is_upgraded_but(&self, known: &[&str]) {
        self.runs("5.5.3.0");
        self.users_are_as_before();
        self.replication_is(true);
        assert_eq!(self.count("INDEX", "user"), self.users.len());
        assert_eq!(self.count("INDEX", "end"), 1);
        assert_eq!(self.debts(), [""; 0]);
        self.nothing_is_left_but(known);
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}
