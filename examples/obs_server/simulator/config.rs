//! Settings of the simulation: `sim.conf`, simple `key=value` lines, read again for every use.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::{Outcome, at};

/// One setting that `set` accepts.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Its value when it is not set.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
}

const fn key(name: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { name, default, help }
}

/// Every setting.
pub const KEYS: &[Key] = &[
    key("bind", "127.0.0.1", "[start] address that HTTP listens on"),
    key("audit", "", "file of the audit log; empty: HOME.audit.log beside the home"),
    key("start_delay_ms", "0", "[start] time before HTTP listens"),
    key(
        "start_fails",
        "false",
        "[start] true: a server >= 5.5.3 dies right after the start; always: any version",
    ),
    key(
        "error_after_start",
        "false",
        "[start] true: an ERROR record in the system log after the start",
    ),
    key("stop_delay_ms", "0", "time that a requested stop takes"),
    key(
        "stop_hangs",
        "false",
        "true: ignores a requested stop, and SIGTERM when set before the start",
    ),
    key("stop_wait_s", "120", "how long bin/shutdown.sh waits before kill -9"),
    key("init_sleep_s", "1", "how long the init script sleeps"),
    key("index_ms_per_user", "20", "least time that indexing one user takes"),
    key("index_fail_at", "0", "indexing fails at the user with this number, counted from 1"),
    key(
        "index_hang_at",
        "0",
        "indexing stops without a word at the user with this number, until it is set to 0",
    ),
    key(
        "index_silent",
        "false",
        "true: indexing logs nothing; users: no record per user; end: no final record",
    ),
    key("noise_ms", "0", "a record that says nothing in the system log at this interval"),
    key("api_latency_ms", "0", "time that each API request takes at least"),
    key("http_503_every", "0", "each n-th API request is answered with 503"),
    key("no_modify_user_status", "false", "true: 404 with a page for ModifyUserStatus.do"),
    key("root_case", "users", "name of the root of ListUsers: users or Users"),
    key("deny_status_for", "", "login names, separated by |, whose status cannot be changed"),
    key("jobs_running", "2", "[start] how many backup jobs jobs_running_s is about"),
    key(
        "jobs_running_s",
        "0",
        "backup jobs run for that long after the start, or after `set` of this key",
    ),
    key("jobs_running_since", "0", "written by `set jobs_running_s=…`: epoch milliseconds"),
    key(
        "sync_delay_ms",
        "2000",
        "time from replication on to Mode SYNC, through UNSYNC and LOGGING",
    ),
    key("replication_mode", "", "overrides the Mode that is reported"),
    key("rps_listen", "false", "[start] true: an enabled sender listens on its listen-port"),
    key(
        "rps_rewrite_on_stop",
        "false",
        "true: a clean stop writes its own enable back to conf/rpsSend.xml",
    ),
    key("clock_offset_s", "0", "added to the clock of all logs, file names and dates"),
    key("clock", "", "as above by time of day: now is, as `set` is run, this YYYY-MM-DDTHH:MM:SS"),
];

/// Refuses a name that is no setting.
pub fn check_key(name: &str) -> Outcome<()> {
    if KEYS.iter().any(|k| k.name == name) {
        Ok(())
    } else {
        Err(format!("unknown setting '{name}'; see --help"))
    }
}

/// The file beside the home: its name with an ending added.
pub fn beside(home: &Path, ending: &str) -> PathBuf {
    let mut name = home.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    home.with_file_name(name)
}

/// The settings at one moment.
#[derive(Debug, Default)]
pub struct Config {
    values: BTreeMap<String, String>,
}

fn parse(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

impl Config {
    /// Reads both files; what is missing or unreadable counts as not set.
    pub fn load(home: &Path) -> Self {
        let mut values = BTreeMap::new();
        for path in [beside(home, ".sim.conf"), home.join("sim.conf")] {
            values.extend(parse(&fs::read_to_string(path).unwrap_or_default()));
        }
        Self { values }
    }

    /// A setting, or its default.
    pub fn text(&self, name: &str) -> String {
        let default = || KEYS.iter().find(|k| k.name == name).map_or("", |k| k.default).to_owned();
        self.values.get(name).cloned().unwrap_or_else(default)
    }

    /// A setting that is true or not.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.text(name).as_str(), "true" | "yes" | "1" | "on")
    }

    /// A setting that is a count or a duration.
    pub fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }

    /// A setting that may be negative.
    pub fn signed(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }
}

/// Writes settings, keeping the others; `assignments` are `KEY=VALUE`.
pub fn set(home: &Path, outside: bool, assignments: &[String]) -> Outcome<()> {
    let path = if outside { beside(home, ".sim.conf") } else { home.join("sim.conf") };
    let mut values = match fs::read_to_string(&path) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return at(&path, Err(error)),
    };
    for assignment in assignments {
        let (name, value) =
            assignment.split_once('=').ok_or_else(|| format!("'{assignment}' is not KEY=VALUE"))?;
        check_key(name)?;
        if value.contains(['\n', '\r']) {
            return Err(format!("{name}: a value is one line"));
        }
        let default = KEYS.iter().find(|k| k.name == name).map_or("", |k| k.default);
        if default.parse::<i64>().is_ok() && !value.is_empty() && value.parse::<i64>().is_err() {
            return Err(format!("{name}: '{value}' is not a whole number"));
        }
        if name == "clock" && !value.is_empty() {
            let wanted: DateTime = value.parse().map_err(|error| format!("clock: {error}"))?;
            let wanted =
                wanted.to_zoned(TimeZone::system()).map_err(|error| format!("clock: {error}"))?;
            let offset = wanted.timestamp().as_second() - Timestamp::now().as_second();
            values.insert("clock_offset_s".to_owned(), offset.to_string());
        }
        if name == "jobs_running_s" {
            values.insert(
                "jobs_running_since".to_owned(),
                Timestamp::now().as_millisecond().to_string(),
            );
        }
        if value.is_empty() {
            values.remove(name);
        } else {
            values.insert(name.to_owned(), value.to_owned());
        }
    }
    let lines: Vec<String> = values.iter().map(|(k, v)| format!("{k}={v}\n")).collect();
    super::home::write_atomically(&path, lines.concat().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_values() {
        let values = parse("# note\nbind = 0.0.0.0\ndeny_status_for=a=b\n\nbroken\n");
        assert_eq!(values["bind"], "0.0.0.0");
        assert_eq!(values["deny_status_for"], "a=b");
        assert_eq!(values.len(), 2);
    }

    #[test]
    fn the_file_in_the_home_wins_and_survives_unknown_keys() {
        let root = tempfile::tempdir().expect("a directory");
        let home = root.path().join("obs");
        fs::create_dir(&home).expect("a home");
        set(&home, true, &["bind=0.0.0.0".to_owned(), "noise_ms=5".to_owned()])
            .expect("set outside");
        set(&home, false, &["noise_ms=7".to_owned()]).expect("set inside");
        let config = Config::load(&home);
        assert_eq!((config.text("bind"), config.number("noise_ms")), ("0.0.0.0".to_owned(), 7));
        assert_eq!(config.number("stop_wait_s"), 120);
        assert!(set(&home, false, &["nosie_ms=7".to_owned()]).is_err());
        assert!(set(&home, false, &["noise_ms=soon".to_owned()]).is_err());
    }
}
