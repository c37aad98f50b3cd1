//! The sender of the replication: read from `conf/rpsSend.xml` at the start only.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::config::Config;
use super::{Outcome, at, home};

/// Whether the sender is on, and since when.
#[derive(Debug)]
pub struct Replication {
    path: PathBuf,
    /// The port that receivers ask at.
    pub port: u16,
    enabled_at: Mutex<Option<Instant>>,
}

fn attribute(text: &str, name: &str) -> Option<String> {
    let document = roxmltree::Document::parse(text).ok()?;
    let sender = document.descendants().find(|node| node.has_tag_name("sender"))?;
    sender.attribute(name).map(str::to_owned)
}

/// The text with another value in the first attribute of that name; all the rest stays as it is.
fn with_attribute(text: &str, name: &str, value: &str) -> Option<String> {
    let sender = text.find("<sender ")?;
    let start = sender + text[sender..].find(&format!(" {name}=\""))? + name.len() + 3;
    let end = start + text[start..].find('"')?;
    Some(format!("{}{value}{}", &text[..start], &text[end..]))
}

impl Replication {
    /// Reads the configuration.
    pub fn start(home: &Path) -> Outcome<Self> {
        let path = home.join("conf/rpsSend.xml");
        let text = at(&path, fs::read_to_string(&path))?;
        let enable = attribute(&text, "enable")
            .ok_or_else(|| format!("{}: no <sender enable>", path.display()))?;
        let port =
            attribute(&text, "listen-port").and_then(|port| port.parse().ok()).unwrap_or(9444);
        let enabled_at = Mutex::new((enable == "Y").then(Instant::now));
        Ok(Self { path, port, enabled_at })
    }

    fn since(&self) -> Option<Instant> {
        *self.enabled_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the sender is on.
    pub fn enabled(&self) -> bool {
        self.since().is_some()
    }

    /// The mode that the API reports.
    pub fn mode(&self, config: &Config) -> String {
        let overridden = config.text("replication_mode");
        if !overridden.is_empty() {
            return overridden;
        }
        mode(self.since().map(|since| since.elapsed()), config.number("sync_delay_ms")).to_owned()
    }

    /// Writes the state to the configuration.
    pub fn save(&self) -> Outcome<()> {
        let text = at(&self.path, fs::read_to_string(&self.path))?;
        let enable = if self.enabled() { "Y" } else { "N" };
        let changed = with_attribute(&text, "enable", enable)
            .ok_or_else(|| format!("{}: no <sender enable>", self.path.display()))?;
        home::write_atomically(&self.path, changed.as_bytes())
    }

    /// Switches at once, as the web console does, and in the configuration.
    pub fn switch(&self, on: bool) -> Outcome<()> {
        {
            let mut enabled = self.enabled_at.lock().unwrap_or_else(PoisonError::into_inner);
            *enabled = on.then(|| enabled.unwrap_or_else(Instant::now));
        }
        self.save()
    }
}

fn mode(enabled_for: Option<Duration>, sync_delay_ms: u64) -> &'static str {
    let Some(elapsed) = enabled_for else { return "DISABLED" };
    let delay = Duration::from_millis(sync_delay_ms);
    if elapsed >= delay {
        "SYNC"
    } else if elapsed >= delay / 2 {
        "LOGGING"
    } else {
        "UNSYNC"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_walks_to_sync() {
        let after = |ms| mode(Some(Duration::from_millis(ms)), 100);
        assert_eq!([after(0), after(60), after(100)], ["UNSYNC", "LOGGING", "SYNC"]);
        assert_eq!(mode(None, 100), "DISABLED");
    }

    #[test]
    fn only_the_attribute_changes() {
        let text = home::rps_send_xml(true, 9000);
        let changed = with_attribute(&text, "enable", "N").expect("there");
        assert_eq!(changed, home::rps_send_xml(false, 9000));
        assert_eq!(attribute(&changed, "listen-port"), Some("9000".to_owned()));
    }
}
