//! The program as another program sees it: an empty environment, a home and a journal of its own, fixed zone and
//! locale, and what it says with everything taken out that differs from run to run.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use regex::{Captures, Regex};

use super::patience::{end, output};

/// Where programs are found, unless a test says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A home, a working directory and a journal; removed when dropped.
#[derive(Debug)]
pub(crate) struct Cli {
    dir: tempfile::TempDir,
    env: Vec<(String, String)>,
    hidden: Vec<(String, String)>,
}

impl Drop for Cli {
    fn drop(&mut self) {
        // A run that was left as it was, as some tests want it, keeps its receipts on this machine.
        let user = rustix::process::getuid().as_raw();
        let locks = fs::read_dir(self.state().join("locks")).into_iter().flatten();
        for lock in locks.filter_map(Result::ok) {
            let run = lock.path().with_extension("");
            let run = run.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let _none = fs::remove_dir_all(format!("/var/tmp/upgrade-host-{user}/{run}"));
        }
    }
}

/// How a call of the program ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    shown: String,
}

impl Said {
    /// What it said, fit for a snapshot.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Each line of its output as JSON.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        let line = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
        };
        self.out.lines().map(line).collect()
    }

    /// Its output as one JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

impl Cli {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        fs::create_dir(dir.path().join("work")).unwrap();
        Self { dir, env: Vec::new(), hidden: Vec::new() }
    }

    /// Sets a variable for all calls.
    #[must_use]
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Shows a text that differs from run to run as `name`.
    pub(crate) fn hide(&mut self, text: &str, name: &str) {
        self.hidden.push((text.to_owned(), name.to_owned()));
    }

    /// A path in the working directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("work").join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_upgrade-host"));
        program
            .args(arguments)
            .current_dir(self.path(""))
            .env_clear()
            .envs([("PATH", PATH), ("TZ", "UTC"), ("NO_COLOR", "1"), ("LC_ALL", "C.UTF-8")])
            .env("HOME", self.dir.path().join("home"))
            .env("UPGRADE_HOST_STATE", self.state())
            // Runs of other tests on this machine are none of its business.
            .env("UPGRADE_HOST_LOCK_DIR", self.dir.path())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        program
    }

    /// Begins a call.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Starts the program with more variables.
    pub(crate) fn start_with(&self, arguments: &[&str], env: &[(&str, &str)]) -> Child {
        self.command(arguments).envs(env.iter().copied()).spawn().unwrap()
    }

    /// Calls the program and waits for its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        self.said(&output(&mut self.command(arguments)))
    }

    /// Waits for the end of a call.
    pub(crate) fn end(&self, child: Child) -> Said {
        self.said(&end(child))
    }

    /// Calls it and returns what a snapshot holds.
    pub(crate) fn show(&self, arguments: &[&str]) -> String {
        self.run(arguments).shown
    }

    /// Runs a line of code and returns what a snapshot holds.
    pub(crate) fn code(&self, code: &str) -> String {
        self.show(&["-e", code])
    }

    fn said(&self, output: &Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        let code = output.status.code();
        let mut shown = self.filtered(&out);
        if !err.is_empty() {
            shown.push_str("--- stderr\n");
            shown.push_str(&self.filtered(&err));
        }
        let end = match (code, output.status.signal()) {
            (Some(code), _) => format!("[exit status: {code}]"),
            (None, signal) => format!("[signal: {signal:?}]"),
        };
        shown.push_str(&end);
        Said { code, out, err, shown }
    }

    /// Takes out what differs from run to run; columns stay where they are.
    fn filtered(&self, text: &str) -> String {
        static FILTERS: OnceLock<Vec<(Regex, &str)>> = OnceLock::new();
        let filters = FILTERS.get_or_init(|| {
            [
                (r"\b20\d{6}-\d{4}-[a-z2-9]{4}\b", "20260102-0304-wxyz"),
                (r"\b20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\b", "2026-01-02 03:04:05"),
                (r"\b20\d\d-\d\d-\d\d \d\d:\d\d\b", "2026-01-02 03:04"),
                (r"\b\d\d:\d\d:\d\d\b", "03:04:05"),
                (r"(?m)^(  took        ).*$", "${1}[time]"),
                (r"(?m) {2,}(Σ )?\d+(\.\d+)?(ms|s|m \d\ds)$", "  [time]"),
                (r"\b\d+(\.\d+)?(ms|s) \(", "[time] ("),
            ]
            .map(|(pattern, with)| (Regex::new(pattern).unwrap(), with))
            .into()
        });
        let mut text = text.to_owned();
        for (hidden, name) in &self.hidden {
            text = text.replace(hidden, name);
        }
        let dir = self.dir.path().to_string_lossy();
        text = text.replace(&*dir, "$DIR");
        for (pattern, with) in filters {
            text = pattern.replace_all(&text, *with).into_owned();
        }
        // The short form of an id, where a command is offered; `last` is a word of ours.
        let short = Regex::new(r"\b(resume|rollback|show) ([a-z2-9]{4})\b").unwrap();
        let text = short.replace_all(&text, |found: &Captures<'_>| match &found[2] {
            "last" => found[0].to_owned(),
            _ => format!("{} wxyz", &found[1]),
        });
        // Editors and reviewers do not see blanks at the end of a line.
        text.lines().fold(String::new(), |all, line| all + line.trim_end() + "\n")
    }

    /// The runs on record, newest first.
    #[track_caller]
    pub(crate) fn runs(&self) -> Vec<serde_json::Value> {
        let runs = self.run(&["runs", "--json"]).json();
        runs.as_array().unwrap().clone()
    }

    /// Waits for something that happens in another process.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, mut happened: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !happened() {
            assert!(
                Instant::now() < end,
                "waited in vain in {}: {what}",
                self.dir.path().display()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
