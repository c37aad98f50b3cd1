//! What really happened, for tests: one line per request and per change of state, outside of the home.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::config::{Config, beside};

/// The audit log; opened for each line, so that it may be moved away at any time.
#[derive(Debug)]
pub struct Audit {
    home: PathBuf,
}

impl Audit {
    /// The audit log of a home.
    pub fn new(home: &Path) -> Self {
        Self { home: home.to_owned() }
    }

    /// `epoch-ms TAB kind TAB name TAB login` and `TAB key=value` for each detail;
    /// by the real clock, never the simulated one.
    pub fn record(&self, kind: &str, name: &str, login: &str, details: &[(&str, &str)]) {
        let configured = Config::load(&self.home).text("audit");
        let path = if configured.is_empty() {
            beside(&self.home, ".audit.log")
        } else {
            PathBuf::from(configured)
        };
        let now = Timestamp::now().as_millisecond();
        let mut line = format!("{now}\t{kind}\t{}\t{}", clean(name), clean(login));
        for (key, value) in details {
            line.extend(["\t", key, "=", &clean(value)]);
        }
        line.push('\n');
        if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) {
            // A simulation goes on without its audit log; the test that reads it fails by itself.
            drop(file.write_all(line.as_bytes()));
        }
    }
}

/// Text without what would break a line or a column.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
