//! A run of the program as a process of its own, and what it says.

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A process that writes events to `out` and what else it has to say to `err`.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) out: PathBuf,
    pub(crate) err: PathBuf,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Program {
    /// Waits for an event.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut happened: impl FnMut(&Value) -> bool) {
        self.wait(what, |program| program.events().iter().any(&mut happened));
    }

    /// Waits until the step whose name begins so has begun.
    #[track_caller]
    pub(crate) fn until_step(&mut self, step: &str) {
        self.until(step, |event| {
            event["what"]["event"] == "step_began" && text(&event["step"]).starts_with(step)
        });
    }

    /// Waits for something that happens elsewhere while the program runs.
    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, mut happened: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        while !happened(self) {
            let ended = self.child.try_wait().unwrap();
            assert!(
                (ended.is_none() && started.elapsed() < PATIENCE) || happened(self),
                "waited in vain for: {what} (status {ended:?})\n{}",
                self.said().tail()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn events(&self) -> Vec<Value> {
        events(&fs::read_to_string(&self.out).unwrap_or_default())
    }

    fn said(&self) -> Ended {
        let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        Ended { code: None, out: read(&self.out), err: read(&self.err) }
    }

    /// Kills it with -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                panic!("does not end within {PATIENCE:?}\n{}", self.said().tail());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        Ended { code: status.code(), ..self.said() }
    }
}

impl Ended {
    /// Makes sure of the exit status.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.tail());
        self
    }

    /// Makes sure that the words are in the sentence of the failure that ended the run, or in its evidence.
    #[track_caller]
    pub(crate) fn expect_failure(self, words: &str) -> Self {
        assert!(
            self.last("run_ended").to_string().contains(words),
            "no `{words}`:\n{}",
            self.tail()
        );
        self
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        events(&self.out)
    }

    /// The last event of that kind.
    #[track_caller]
    pub(crate) fn last(&self, kind: &str) -> Value {
        let events = self.events();
        let last = events.iter().rev().find(|event| event["what"]["event"] == kind);
        last.unwrap_or_else(|| panic!("no event {kind}:\n{}", self.tail()))["what"].clone()
    }

    /// What it was about, for the message of a test.
    pub(crate) fn tail(&self) -> String {
        let lines: Vec<&str> = self.out.lines().collect();
        let from = lines.len().saturating_sub(12);
        format!("{:?}\n{}\n{}", self.code, lines[from..].join("\n"), self.err)
    }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn events(out: &str) -> Vec<Value> {
    let whole = out.rfind('\n').map_or("", |end| &out[..end]);
    whole.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
