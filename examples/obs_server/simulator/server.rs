//! The life of a server: start, work, stop.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::audit::Audit;
use super::config::Config;
use super::jobs::Jobs;
use super::log::Logs;
use super::replication::Replication;
use super::users::{self, Users};
use super::{Outcome, at, control, home, index, web};

/// How many requests are answered at the same time.
const WORKERS: usize = 16;

/// A server with everything that its threads share.
#[derive(Debug)]
pub struct Server {
    /// The home.
    pub home: PathBuf,
    /// Contents of version.txt at the start.
    pub version: String,
    /// The logs.
    pub logs: Logs,
    /// What tests read.
    pub audit: Audit,
    /// The replication.
    pub replication: Replication,
    /// Backup jobs.
    pub jobs: Jobs,
    users: Mutex<Users>,
    stopping: Mutex<bool>,
    stopped: Condvar,
}

impl Server {
    /// The settings as they are now.
    pub fn config(&self) -> Config {
        Config::load(&self.home)
    }

    /// The users, for this thread alone.
    pub fn users(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks every thread to end.
    pub fn stop(&self) {
        *self.stopping.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stopped.notify_all();
    }

    /// Sleeps; returns early with true when the server stops.
    pub fn pause(&self, length: Duration) -> bool {
        let stopping = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.stopped.wait_timeout_while(stopping, length, |stopping| !*stopping);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// What the web console does: switches the replication at once.
    pub fn switch_replication(&self, on: bool) -> Outcome<()> {
        self.replication.switch(on)?;
        let word = if on { "on" } else { "off" };
        self.audit.record("REPLICATION", word, "", &[("by", "console")]);
        self.logs.system("INFO", "Replication", &format!("Replication switched {word}"));
        Ok(())
    }
}

fn pid_file(home: &Path) -> PathBuf {
    std::env::var_os("OBSR_PID")
        .filter(|p| !p.is_empty())
        .map_or_else(|| home.join("logs/obsr.pid"), PathBuf::from)
}

/// Runs a server until it is stopped.
pub fn serve(home: &Path, foreground: bool) -> ExitCode {
    if let Err(message) = at(home, fs::create_dir_all(home.join("logs"))) {
        super::complain(&message);
        return ExitCode::FAILURE;
    }
    let logs = Logs::open(home, &home.join("system"), foreground);
    // Held until the process ends.
    let lock = match lock(home) {
        Ok(lock) => lock,
        Err(message) => {
            logs.console("SEVERE", "obs.Server lock", &message);
            return ExitCode::FAILURE;
        }
    };
    let config = Config::load(home);
    let version =
        fs::read_to_string(home.join("version.txt")).unwrap_or_default().trim().to_owned();
    let pid_file = pid_file(home);
    let pid = format!("{}\n", std::process::id());
    if let Err(message) = home::write_atomically(&pid_file, pid.as_bytes()) {
        logs.console("SEVERE", "obs.Server start", &message);
        return ExitCode::FAILURE;
    }
    logs.console(
        "INFO",
        "obs.Server start",
        &format!("Starting backup server {version}, process {}", pid.trim()),
    );
    let dies = match config.text("start_fails").as_str() {
        "true" => index::needed_by(&version),
        "always" => true,
        _ => false,
    };
    if dies {
        // The PID file stays behind, as after a crash.
        logs.console(
            "SEVERE",
            "obs.Server start",
            "Cannot open the user store: unknown format of the index",
        );
        Audit::new(home).record("START", "failed", "", &[("version", &version)]);
        return ExitCode::FAILURE;
    }
    let ran = run(home, &version, logs, &config);
    if ran.is_err() && fs::read_to_string(&pid_file).is_ok_and(|text| text == pid) {
        drop(fs::remove_file(&pid_file));
    }
    drop(lock);
    if ran.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One server per home: the lock goes with the process, however it ends.
fn lock(home: &Path) -> Outcome<fs::File> {
    let path = home.join("logs/obsr.lock");
    let file =
        at(&path, fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path))?;
    file.try_lock().map_err(|_| format!("{}: another server runs in this home", home.display()))?;
    Ok(file)
}

fn run(home: &Path, version: &str, logs: Logs, config: &Config) -> Result<(), ()> {
    let began = Instant::now();
    let prepared = prepare(home, config);
    let (users, replication, listener, http_port) = match prepared {
        Ok(prepared) => prepared,
        Err(message) => {
            logs.console("SEVERE", "obs.Server start", &message);
            return Err(());
        }
    };
    for message in &users.unreadable {
        logs.system("ERROR", "Server", message);
    }
    let server = Arc::new(Server {
        home: home.to_owned(),
        version: version.to_owned(),
        logs,
        audit: Audit::new(home),
        jobs: Jobs::start(&users, config),
        replication,
        users: Mutex::new(users),
        stopping: Mutex::new(false),
        stopped: Condvar::new(),
    });
    let controlled = Arc::clone(&server);
    std::thread::spawn(move || control::run(&controlled, &listener));

    let mut answering = None;
    if !server.pause(Duration::from_millis(config.number("start_delay_ms"))) {
        let bind = config.text("bind");
        let address = format!("{bind}:{http_port}");
        match web::start(&server, &address, WORKERS) {
            Ok(web) => answering = Some(web),
            Err(message) => {
                server.logs.console("SEVERE", "obs.Server start", &format!("{address}: {message}"));
                return Err(());
            }
        }
        started(&server, config, began.elapsed());
    }
    let indexing = answering.is_some().then(|| {
        let server = Arc::clone(&server);
        std::thread::spawn(move || {
            if index::needed_by(&server.version) {
                index::run(&server);
            }
        })
    });
    let noise = Duration::from_millis(500);
    loop {
        let every = server.config().number("noise_ms");
        if server.pause(if every == 0 { noise } else { Duration::from_millis(every) }) {
            break;
        }
        if every > 0 {
            server.logs.system("INFO", "Server", "Free space of all user homes: 61%");
        }
    }
    std::thread::sleep(Duration::from_millis(server.config().number("stop_delay_ms")));
    if let Some(web) = answering {
        web.stop();
    }
    if let Some(indexing) = indexing {
        // A panic there is on the console already.
        drop(indexing.join());
    }
    if server.config().flag("rps_rewrite_on_stop")
        && let Err(message) = server.replication.save()
    {
        server.logs.system("ERROR", "Replication", &message);
    }
    let killed = server.jobs.count(&server.config());
    if killed > 0 {
        server.logs.system(
            "WARN",
            "Backup",
            &format!("{killed} running backup jobs interrupted by the stop"),
        );
    }
    server.logs.system("INFO", "Server", "Backup server stopped");
    server.logs.console("INFO", "obs.Server stop", "Server stopped");
    server.audit.record(
        "STOP",
        "clean",
        "",
        &[("version", version), ("interrupted_jobs", &killed.to_string())],
    );
    Ok(())
}

type Prepared = (Users, Replication, std::net::TcpListener, u16);

fn prepare(home: &Path, config: &Config) -> Outcome<Prepared> {
    let (http, shutdown) = control::ports(home)?;
    let users = Users::load(&users::homes(home)?)?;
    let replication = Replication::start(home)?;
    let listener =
        control::listen(shutdown).map_err(|error| format!("control port {shutdown}: {error}"))?;
    if replication.enabled() && config.flag("rps_listen") {
        let bind = config.text("bind");
        let receivers = std::net::TcpListener::bind((bind.as_str(), replication.port))
            .map_err(|error| format!("replication port {}: {error}", replication.port))?;
        // Accepts and closes: enough for a probe of the port.
        std::thread::spawn(move || receivers.incoming().for_each(drop));
    }
    Ok((users, replication, listener, http))
}

fn started(server: &Server, config: &Config, took: Duration) {
    let logs = &server.logs;
    let count = server.users().all.len();
    server.audit.record(
        "START",
        "ready",
        "",
        &[("version", &server.version), ("pid", &std::process::id().to_string())],
    );
    let word = if server.replication.enabled() { "on" } else { "off" };
    server.audit.record("REPLICATION", word, "", &[("by", "start")]);
    logs.context("INFO", "obs.Context initialise", &format!("{count} users loaded"));
    logs.console("INFO", "obs.Server start", &format!("Server startup in {} ms", took.as_millis()));
    logs.system("INFO", "Server", &format!("Backup server started. Version {}", server.version));
    logs.system("INFO", "Replication", &format!("Replication is {word}"));
    if config.flag("error_after_start") {
        logs.system("ERROR", "Server", "Unexpected error: cannot read system/policy/resellers.xml");
    }
}
