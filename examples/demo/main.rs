//! A simulated `AhsayOBS` server in a temporary directory, and the upgrade of it to 5.5.3 by the unchanged runbook.
//!
//! The server is a real process with real files, logs and an HTTP API, and needs no root; only its name is borrowed.
//! `cargo run --example demo` does everything; `-- prepare` only starts the server, for trying by hand; `-- stop DIR`
//! ends it and removes the directory.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a demo talks")]

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

#[path = "../obs_server/simulator/mod.rs"]
pub mod simulator;

/// The runbook, unchanged.
const RUNBOOK: &str = "scripts/ahsay_553.rhai";
/// The name of the directory; `stop` removes no other.
const NAME: &str = "upgrade-host-demo-";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [] => demo(),
        ["prepare"] => prepare().map(|dir| {
            say_commands(&dir);
            ExitCode::SUCCESS
        }),
        ["stop", dir] => stop(Path::new(dir)).map(|()| ExitCode::SUCCESS),
        // The server's own start script runs this executable.
        ["serve" | "get" | "set" | "stop" | "index" | "create" | "package", ..] => {
            return simulator::main(args);
        }
        _ => Err("usage: demo [prepare | stop DIR]".to_owned()),
    };
    result.unwrap_or_else(|why| {
        eprintln!("demo: {why}");
        ExitCode::from(2)
    })
}

fn demo() -> Result<ExitCode, String> {
    let dir = prepare()?;
    println!("Now the upgrade: upgrade-host {RUNBOOK} --config {}\n", config(&dir).display());
    let began = Instant::now();
    let args = ["upgrade-host", "run", RUNBOOK, "--yes", "--config"].map(OsString::from);
    let exit = upgrade_host::cli::main(args.into_iter().chain([config(&dir).into_os_string()]));
    println!(
        "\nThat took {:.0} s. The server was simulated, the upgrade was not: look around in {}.",
        began.elapsed().as_secs_f64(),
        dir.display()
    );
    say_commands(&dir);
    Ok(exit)
}

fn config(dir: &Path) -> PathBuf {
    dir.join("upgrade-host.toml")
}

/// Makes the server, its package, and the configuration for it, and starts it.
fn prepare() -> Result<PathBuf, String> {
    if Command::new("rsync")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_err()
    {
        return Err("this needs rsync (apt-get install rsync)".to_owned());
    }
    if !Path::new(RUNBOOK).exists() {
        return Err(format!("run this from the project's directory: there is no {RUNBOOK} here"));
    }
    let dir = make_dir()?;
    let home = dir.join("obs");
    let package = dir.join("obsr-5.5.3.tar.gz");
    let port = free_port()?;
    let text = |path: &Path| path.display().to_string();
    println!("A simulated AhsayOBS 5.5.2 with 40 users is set up in {}.", dir.display());
    simulate(&[
        "create",
        "--home",
        &text(&home),
        "--version",
        "5.5.2.0",
        "--users",
        "40",
        "--port",
        &port.to_string(),
        "--replication-port",
        &free_port()?.to_string(),
        "--password",
        "demo-password",
        "--exe",
        &text(&own_exe()?),
    ])?;
    simulate(&["package", "--out", &text(&package), "--version", "5.5.3.0", "--without-exe"])?;
    // Slow enough to be watched, quick enough not to bore.
    simulate(&[
        "set",
        "--home",
        &text(&home),
        "index_ms_per_user=120",
        "sync_delay_ms=1500",
        "jobs_running_s=3",
    ])?;
    write_private(&dir.join("password"), "demo-password\n")?;
    let escape = |path: &Path| text(path).replace('\\', "\\\\").replace('"', "\\\"");
    let toml = format!(
        r#"# Everything that the runbook must know of this server.
[defaults]
state = "{state}"

[defaults.params]
home = "{home}"
package = "{package}"
backup = "{backup}"
api = "http://127.0.0.1:{port}"
system_password = "file:{password}"
drain_timeout = "30s"
# A week, in a demo.
clients_wait = "3s"

# The server's own scripts; on a real one, its init script or unit is found.
[services.obsr]
start = "{home}/bin/startup.sh"
stop = "{home}/bin/shutdown.sh"
"#,
        state = escape(&dir.join("state")),
        home = escape(&home),
        package = escape(&package),
        backup = escape(&dir.join("copy")),
        password = escape(&dir.join("password")),
    );
    write_private(&config(&dir), &toml)?;
    start(&home, port)?;
    println!("It runs and answers on port {port}.");
    Ok(dir)
}

fn make_dir() -> Result<PathBuf, String> {
    let base = std::env::temp_dir();
    for number in 1..1000 {
        let dir = base.join(format!("{NAME}{number}"));
        match fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("cannot make {}: {error}", dir.display())),
        }
    }
    Err(format!("there are too many demos in {}", base.display()))
}

fn own_exe() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))
}

fn free_port() -> Result<u16, String> {
    let listener =
        TcpListener::bind("127.0.0.1:0").map_err(|error| format!("no port is free: {error}"))?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port())
}

fn simulate(args: &[&str]) -> Result<(), String> {
    let exit = simulator::main(args.iter().map(|arg| (*arg).to_owned()).collect());
    if exit == ExitCode::SUCCESS {
        Ok(())
    } else {
        Err(format!("the simulated server refused `{}`", args.join(" ")))
    }
}

fn write_private(path: &Path, text: &str) -> Result<(), String> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn start(home: &Path, port: u16) -> Result<(), String> {
    let status = Command::new("sh").arg(home.join("bin/startup.sh")).status();
    if !status.is_ok_and(|status| status.success()) {
        return Err("the simulated server did not start".to_owned());
    }
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > end {
            return Err(format!(
                "the simulated server does not answer; see {}",
                home.join("logs/catalina.out").display()
            ));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn stop(dir: &Path) -> Result<(), String> {
    let ours = dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NAME));
    let home = dir.join("obs");
    if !ours || !home.is_dir() {
        return Err(format!("{} is no directory of this demo", dir.display()));
    }
    let _not_running = Command::new("sh")
        .arg(home.join("bin/shutdown.sh"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    fs::remove_dir_all(dir).map_err(|error| format!("cannot remove {}: {error}", dir.display()))?;
    println!("The simulated server is stopped, and {} is removed.", dir.display());
    Ok(())
}

fn say_commands(dir: &Path) {
    let config = config(dir);
    let config = config.display();
    println!(
        "
What to try next:

  cargo run -- runs --config {config}            what was run
  cargo run -- show last --config {config}       what it did, from its journal
  cargo run -- repl --config {config}            the primitives at a prompt
  cargo run -- {RUNBOOK} --help             the runbook's parameters

On a fresh server (cargo run --example demo -- prepare prints its configuration):

  cargo run -- plan {RUNBOOK} --config CONFIG     what it would do; changes nothing
  cargo run -- {RUNBOOK} --config CONFIG          run it, kill -9 it anywhere, and then:
  cargo run -- resume last --yes --config CONFIG         it goes on where it was
  cargo run -- rollback last --config CONFIG             or it takes everything back

  cargo run --example demo -- stop {}       stops this server and removes its files",
        dir.display()
    );
}
