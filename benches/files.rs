//! What it costs to move files: one big file, many small ones, and a tree that is there already, there and back, beside
//! OpenSSH's own tools and rsync over OpenSSH. All use one cipher, one key exchange and one server on the loopback address,
//! and take turns. `cargo bench --bench files [NAME…]`, with parts of the names of what is to be measured;
//! `FILES_BENCH_ROUNDS` is how often. The numbers are in docs/performance.md.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::error::Error;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

mod sshd;

use sshd::{Sshd, median, user};

/// How often each is measured.
const ROUNDS: usize = 5;
/// The algorithms that all use.
const ALGORITHMS: &str = "Ciphers chacha20-poly1305@openssh.com\nKexAlgorithms curve25519-sha256\n";

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What is moved.
#[derive(Clone, Copy, PartialEq)]
enum Load {
    /// One file of 512 MiB.
    Big,
    /// 5,000 files of 4 KiB.
    Small,
    /// The small files, which are there already.
    Same,
}

impl Load {
    fn name(self) -> &'static str {
        match self {
            Self::Big => "512 MiB",
            Self::Small => "5,000 files",
            Self::Same => "no change",
        }
    }

    fn dir(self) -> &'static str {
        if self == Self::Big { "big" } else { "small" }
    }
}

/// Who moves it.
#[derive(Clone, Copy, PartialEq)]
enum Tool {
    /// `rsync` of a runbook: the whole program with its login, or the call alone.
    Ours { warm: bool },
    /// `upload` and `download` of a runbook: the call alone.
    OursCopy,
    /// rsync over OpenSSH with a login of its own, or over a connection that stands.
    Rsync { warm: bool },
    /// scp over a connection that stands.
    Scp,
    /// sftp over a connection that stands.
    Sftp,
    /// tar through a connection that stands.
    Tar,
}

impl Tool {
    const ALL: [Self; 8] = [
        Self::Ours { warm: false },
        Self::Ours { warm: true },
        Self::OursCopy,
        Self::Rsync { warm: false },
        Self::Rsync { warm: true },
        Self::Scp,
        Self::Sftp,
        Self::Tar,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Ours { warm: false } => "upgrade-host, rsync, cold",
            Self::Ours { warm: true } => "upgrade-host, rsync, warm",
            Self::OursCopy => "upgrade-host, upload and download, warm",
            Self::Rsync { warm: false } => "rsync over ssh, cold",
            Self::Rsync { warm: true } => "rsync over ssh, warm",
            Self::Scp => "scp, warm",
            Self::Sftp => "sftp, warm",
            Self::Tar => "tar through ssh, warm",
        }
    }

    /// Where it keeps what is there already.
    fn kept(self, up: bool) -> String {
        let name: String = self.name().chars().filter(char::is_ascii_alphanumeric).collect();
        format!("{name}-{up}")
    }

    fn does(self, load: Load) -> bool {
        load != Load::Same
            || matches!(self, Self::Ours { .. } | Self::OursCopy | Self::Rsync { .. })
    }
}

/// Where everything is.
struct Site {
    dir: PathBuf,
}

impl Site {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Moves the load once, from a fresh start; returns how long that took.
    fn once(&self, tool: Tool, load: Load, up: bool) -> Outcome<Duration> {
        let from = self.text(load.dir());
        let place = match load {
            Load::Same => format!("same-{}", tool.kept(up)),
            _ => "moved".to_owned(),
        };
        let to = self.path(&place);
        if load != Load::Same && to.exists() {
            fs::remove_dir_all(&to)?;
        }
        let to = to.display().to_string();
        let spent = match tool {
            Tool::Ours { .. } | Tool::OursCopy => self.ours(tool, load, up, &from, &to)?,
            _ => {
                let mut command = self.theirs(tool, load, up, &from, &to);
                fs::create_dir_all(&to)?;
                let started = Instant::now();
                let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
                let spent = started.elapsed();
                if !ended.success() {
                    return Err(format!("{} failed", tool.name()).into());
                }
                spent
            }
        };
        let moved = if self.path(&place).join(load.dir()).exists() {
            self.path(&place).join(load.dir())
        } else {
            self.path(&place)
        };
        if count(&moved)? != count(Path::new(&from))? {
            return Err(format!("{} did not move everything", tool.name()).into());
        }
        Ok(spent)
    }

    fn ours(&self, tool: Tool, load: Load, up: bool, from: &str, to: &str) -> Outcome<Duration> {
        let one =
            |dir: &str| if load == Load::Big { format!("{dir}/file") } else { dir.to_owned() };
        if tool == Tool::OursCopy && load == Load::Big {
            fs::create_dir_all(to)?;
        }
        let code = match (tool, up) {
            (Tool::Ours { .. }, true) => format!("rsync(\"local:{from}/\", \"{to}/\")"),
            (Tool::Ours { .. }, false) => format!("rsync(\"{from}/\", \"local:{to}/\")"),
            (_, true) => format!("upload(\"{}\", \"{}\")", one(from), one(to)),
            (_, false) => format!("download(\"{}\", \"{}\")", one(from), one(to)),
        };
        let cold = tool == (Tool::Ours { warm: false });
        let (small, elsewhere) = (self.text("small"), self.path("before"));
        if elsewhere.exists() {
            fs::remove_dir_all(&elsewhere)?;
        }
        // A call alone comes after another one, as those of the others go over a connection that has carried much before:
        // the server's process has its memory then.
        let elsewhere = elsewhere.display();
        let before = if up {
            format!("rsync(\"local:{small}/\", \"{elsewhere}/\");")
        } else {
            format!("rsync(\"{small}/\", \"local:{elsewhere}/\");")
        };
        let code = if cold { code } else { before + &code };
        let run = || -> Outcome<Duration> {
            let started = Instant::now();
            let output = Command::new(env!("CARGO_BIN_EXE_upgrade-host"))
                .args(["run", "-e", &code, "--on", "box", "--yes", "--json", "--state"])
                .arg(self.path("state"))
                .arg("--config")
                .arg(self.path("upgrade-host.toml"))
                .env("HOME", &self.dir)
                .env("UPGRADE_HOST_LOCK_DIR", &self.dir)
                .output()?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                return Err(
                    format!("{code}: {said}{}", String::from_utf8_lossy(&output.stderr)).into()
                );
            }
            let all = started.elapsed();
            if cold { Ok(all) } else { took(&String::from_utf8(output.stdout)?) }
        };
        if load == Load::Same && !Path::new(to).exists() {
            run()?;
        }
        run()
    }

    fn theirs(&self, tool: Tool, load: Load, up: bool, from: &str, to: &str) -> Command {
        let config = self.text(if tool == (Tool::Rsync { warm: false }) { "cold" } else { "warm" });
        let shell = |line: String| {
            let mut command = Command::new("sh");
            command.arg("-c").arg(line);
            command
        };
        if load == Load::Same && !Path::new(to).exists() {
            let _filled = shell(format!("mkdir -p {to} && cp -a {from}/. {to}/")).status();
        }
        match (tool, up) {
            (Tool::Scp, true) => shell(format!("scp -qrp -F {config} {from}/. box:{to}/")),
            (Tool::Scp, false) => shell(format!("scp -qrp -F {config} box:{from}/. {to}/")),
            (Tool::Sftp, true) => {
                shell(format!("printf 'put -rp {from} {to}/\\n' | sftp -q -F {config} -b - box"))
            }
            (Tool::Sftp, false) => {
                shell(format!("printf 'get -rp {from} {to}/\\n' | sftp -q -F {config} -b - box"))
            }
            (Tool::Tar, true) => {
                shell(format!("tar -cf - -C {from} . | ssh -F {config} box tar -xpf - -C {to}"))
            }
            (Tool::Tar, false) => {
                shell(format!("ssh -F {config} box tar -cf - -C {from} . | tar -xpf - -C {to}"))
            }
            (_, true) => {
                shell(format!("rsync -aHAX --numeric-ids -e 'ssh -F {config}' {from}/ box:{to}/"))
            }
            (_, false) => {
                shell(format!("rsync -aHAX --numeric-ids -e 'ssh -F {config}' box:{from}/ {to}/"))
            }
        }
    }
}

/// Returns how many files there are.
fn count(dir: &Path) -> Outcome<usize> {
    Ok(fs::read_dir(dir)?.count())
}

/// Returns how long the last call of a run took, as its events tell it.
fn took(events: &str) -> Outcome<Duration> {
    let ended = events
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|event| event["what"]["call"].is_string())
        .filter_map(|event| event["what"]["took_ms"].as_u64())
        .next_back();
    Ok(Duration::from_millis(ended.ok_or("no call ended")?))
}

fn write(dir: &Path) -> Outcome<()> {
    let mut random = fs::File::open("/dev/urandom")?;
    let mut piece = vec![0; 1 << 20];
    fs::create_dir(dir.join("big"))?;
    let mut big = fs::File::create(dir.join("big/file"))?;
    for _ in 0..512 {
        random.read_exact(&mut piece)?;
        big.write_all(&piece)?;
    }
    fs::create_dir(dir.join("small"))?;
    for number in 0..5000 {
        random.read_exact(&mut piece[..4096])?;
        fs::write(dir.join("small").join(number.to_string()), &piece[..4096])?;
    }
    Ok(())
}

fn main() -> Outcome<()> {
    let bench = std::env::args().any(|arg| arg == "--bench");
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if !bench || !Path::new("/usr/sbin/sshd").exists() {
        println!("not run: it takes minutes, and an sshd; use `cargo bench --bench files`");
        return Ok(());
    }
    let rounds = std::env::var("FILES_BENCH_ROUNDS").map_or(Ok(ROUNDS), |text| text.parse())?;
    // In memory where that is possible: the disk is the same for all, and slower than what is measured.
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
    let sshd = Sshd::start(dir.path(), ALGORITHMS)?;
    let site = Site { dir: dir.path().to_owned() };
    let (user, key, hosts) = (user()?, site.text("id"), site.text("known_hosts"));
    let common = format!(
        "Host box\nHostName 127.0.0.1\nPort {}\nUser {user}\nIdentityFile {key}\nIdentityAgent none\nUserKnownHostsFile {hosts}\n{ALGORITHMS}",
        sshd.port
    );
    fs::write(site.path("cold"), &common)?;
    fs::write(site.path("warm"), format!("{common}ControlPath {}\n", site.text("mux")))?;
    fs::write(
        site.path("upgrade-host.toml"),
        format!(
            "[targets.box]\naddress = \"127.0.0.1\"\nport = {}\nuser = \"{user}\"\nidentity = \"{key}\"\nknown_hosts = \"{hosts}\"\nagent = false\n",
            sshd.port
        ),
    )?;
    write(dir.path())?;
    let mut master = Command::new("ssh")
        .args(["-F", &site.text("warm"), "-M", "-N", "box"])
        .stdin(Stdio::null())
        .spawn()?;
    while !site.path("mux").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let measured = measure(&site, rounds, &wanted);
    master.kill()?;
    master.wait()?;
    measured
}

fn measure(site: &Site, rounds: usize, wanted: &[String]) -> Outcome<()> {
    for load in [Load::Big, Load::Small, Load::Same] {
        for up in [true, false] {
            let what = format!("{} {}", load.name(), if up { "up" } else { "down" });
            if !wanted.is_empty() && !wanted.iter().any(|part| what.contains(part)) {
                continue;
            }
            let tools: Vec<Tool> = Tool::ALL.into_iter().filter(|tool| tool.does(load)).collect();
            let mut all = vec![Vec::new(); tools.len()];
            for _ in 0..rounds {
                for (tool, times) in tools.iter().zip(&mut all) {
                    times.push(site.once(*tool, load, up)?);
                }
            }
            println!("\n{what}");
            for (tool, times) in tools.iter().zip(all) {
                println!("  {:<40} {:>8.3} s", tool.name(), median(times).as_secs_f64());
            }
        }
    }
    Ok(())
}
