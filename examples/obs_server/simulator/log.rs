//! The clock of the simulation and the logs of the server. Each record is one write.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

use super::audit::clean;
use super::config::Config;

/// Now, by the clock that the settings pretend.
pub fn now(config: &Config) -> Zoned {
    let offset = SignedDuration::from_secs(config.signed("clock_offset_s"));
    let now = Timestamp::now();
    now.checked_add(offset).unwrap_or(now).to_zoned(TimeZone::system())
}

/// A log whose file name carries the date of the record.
#[derive(Debug)]
struct Dated {
    directory: PathBuf,
    prefix: &'static str,
    open: Mutex<Option<(String, File)>>,
}

impl Dated {
    fn new(directory: PathBuf, prefix: &'static str) -> Self {
        Self { directory, prefix, open: Mutex::new(None) }
    }

    fn write(&self, now: &Zoned, record: &str) {
        let name = format!("{}{}.log", self.prefix, now.strftime("%Y-%m-%d"));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_none_or(|(opened, _)| *opened != name) {
            drop(std::fs::create_dir_all(&self.directory));
            let file =
                OpenOptions::new().create(true).append(true).open(self.directory.join(&name));
            *open = file.ok().map(|file| (name, file));
        }
        if let Some((_, file)) = open.as_mut() {
            // Nobody is left to tell when a log cannot be written.
            drop(file.write_all(record.as_bytes()));
        }
    }
}

/// Where the console of the server goes.
#[derive(Debug)]
enum Console {
    Terminal,
    File(Mutex<File>),
}

/// All logs of one server.
#[derive(Debug)]
pub struct Logs {
    home: PathBuf,
    system: Dated,
    context: Dated,
    access: Dated,
    console: Console,
}

impl Logs {
    /// Opens the console; the dated files open with their first record.
    pub fn open(home: &Path, system_home: &Path, foreground: bool) -> Self {
        let file =
            || OpenOptions::new().create(true).append(true).open(home.join("logs/catalina.out"));
        let console = match (foreground, file()) {
            (false, Ok(file)) => Console::File(Mutex::new(file)),
            _ => Console::Terminal,
        };
        Self {
            home: home.to_owned(),
            system: Dated::new(system_home.join("SystemLog"), ""),
            context: Dated::new(home.join("logs"), "obs_context."),
            access: Dated::new(home.join("logs"), "access_log."),
            console,
        }
    }

    fn now(&self) -> Zoned {
        now(&Config::load(&self.home))
    }

    /// A record of the system log: `epoch-ms,LEVEL,Component,message`.
    pub fn system(&self, level: &str, component: &str, message: &str) {
        let now = self.now();
        let record = format!(
            "{},{level},{component},{}\n",
            now.timestamp().as_millisecond(),
            clean(message)
        );
        self.system.write(&now, &record);
    }

    /// A record of two lines in `logs/obs_context.DATE.log`.
    pub fn context(&self, level: &str, place: &str, message: &str) {
        let now = self.now();
        self.context.write(&now, &two_lines(&now, level, place, message));
    }

    /// A record of two lines in `logs/catalina.out`.
    #[expect(clippy::print_stdout, reason = "the console of a server in the foreground")]
    pub fn console(&self, level: &str, place: &str, message: &str) {
        let record = two_lines(&self.now(), level, place, message);
        match &self.console {
            Console::Terminal => print!("{record}"),
            Console::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                drop(file.write_all(record.as_bytes()));
            }
        }
    }

    /// A request in `logs/access_log.DATE.log`: the address with its query, never the body.
    pub fn access(&self, client: &str, method: &str, url: &str, status: u16, length: usize) {
        let now = self.now();
        let time = now.strftime("%d/%b/%Y:%H:%M:%S %z");
        let record = format!(
            "{client} - - [{time}] \"{method} {} HTTP/1.1\" {status} {length}\n",
            clean(url)
        );
        self.access.write(&now, &record);
    }
}

fn two_lines(now: &Zoned, level: &str, place: &str, message: &str) -> String {
    format!("{} {place}\n{level}: {}\n", now.strftime("%b %-d, %Y %-I:%M:%S %p"), clean(message))
}
