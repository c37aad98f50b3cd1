//! What lines mean: success, failure, progress. Knows no files.

use std::collections::VecDeque;
use std::time::Instant;

use regex::bytes::{Captures, Regex};
use serde_json::{Map, Value};

use super::gauge::Gauge;
use super::lines::Line;
use crate::event::Progress;

/// How much of a line is kept for people.
const SHOWN: usize = 1000;
/// How many lines that tell of a failure are shown beyond the one that ended the wait.
const SHOWN_AFTER: usize = 10;

/// What ended the wait.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    /// The failure pattern that matched; none if it was the pattern waited for.
    pub(super) failed: Option<String>,
    /// The line.
    pub(super) line: String,
    /// What the groups of the pattern caught, by number and by name.
    pub(super) captures: Map<String, Value>,
    /// The file.
    pub(super) file: String,
}

/// The patterns of one wait, and what they have seen.
#[derive(Debug)]
pub(super) struct Matcher {
    pattern: Regex,
    fail: Vec<Regex>,
    gauge: Option<(Regex, Gauge)>,
    last: VecDeque<String>,
    keep: usize,
    seen: u64,
    known: Vec<String>,
    verdict: Option<Verdict>,
    came: bool,
}

impl Matcher {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// The caret message of the pattern that cannot be read.
    pub(super) fn new(
        pattern: &str,
        fail: &[String],
        progress: Option<(&str, &str)>,
        keep: usize,
    ) -> Result<Self, regex::Error> {
        let gauge = match progress {
            Some((pattern, unit)) => Some((Regex::new(pattern)?, Gauge::new(pattern, unit))),
            None => None,
        };
        Ok(Self {
            pattern: Regex::new(pattern)?,
            fail: fail.iter().map(|pattern| Regex::new(pattern)).collect::<Result<_, _>>()?,
            gauge,
            last: VecDeque::new(),
            keep,
            seen: 0,
            known: Vec::new(),
            verdict: None,
            came: false,
        })
    }

    /// Passes over these lines, which tell of failures that are known.
    pub(super) fn knowing(mut self, lines: &[String]) -> Self {
        self.known = lines.to_vec();
        self
    }

    /// Returns whether a failure pattern matches.
    pub(super) fn tells_failure(&self, line: &str) -> bool {
        self.fail.iter().any(|pattern| pattern.is_match(line.as_bytes()))
    }

    /// Takes a line. The first that decides ends it; on one and the same line failure wins.
    pub(super) fn line(&mut self, line: Line<'_>, now: Instant) {
        if let Some(verdict) = &self.verdict {
            let more = verdict.failed.is_some()
                && line.whole
                && self.last.len() <= self.keep + SHOWN_AFTER;
            if more && self.fail.iter().any(|pattern| pattern.is_match(line.bytes)) {
                self.last.push_back(show(line.bytes));
            }
            return;
        }
        self.came = true;
        if line.whole {
            self.seen += 1;
            self.last.push_back(show(line.bytes));
            if self.last.len() > self.keep {
                self.last.pop_front();
            }
        }
        let failed = self
            .fail
            .iter()
            .find(|pattern| pattern.is_match(line.bytes))
            .filter(|_| self.known.is_empty() || !self.known.contains(&show(line.bytes)));
        let by = failed.unwrap_or(&self.pattern);
        if let Some(captures) = by.captures(line.bytes) {
            self.verdict = Some(Verdict {
                failed: failed.map(|pattern| pattern.as_str().to_owned()),
                line: show(line.bytes),
                captures: caught(by, &captures),
                file: line.path.to_owned(),
            });
            // What a failure is known by must be shown, be it half a line.
            if !line.whole || self.last.is_empty() {
                self.last.push_back(show(line.bytes));
            }
        }
        if let Some((pattern, gauge)) = &mut self.gauge
            && let Some(captures) = pattern.captures(line.bytes)
        {
            gauge.note(pattern, &captures, now);
        }
    }

    /// Returns what ended the wait, if something did.
    pub(super) fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// Returns how many lines there were.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Returns whether something came since this was last asked.
    pub(super) fn came(&mut self) -> bool {
        std::mem::take(&mut self.came)
    }

    /// Returns the last lines, each with a line end.
    pub(super) fn last_lines(&self) -> String {
        self.last.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    /// Everything that had been written before is read: from here on the speed is that of the writer.
    pub(super) fn caught_up(&mut self) {
        if let Some((_, gauge)) = &mut self.gauge {
            gauge.forget_speed();
        }
    }

    /// Returns the progress that is due to be told.
    pub(super) fn progress(&mut self, now: Instant) -> Option<Progress> {
        match &mut self.gauge {
            Some((_, gauge)) => gauge.due(now),
            None => None,
        }
    }

    /// Returns what there is to tell without a pattern for progress.
    pub(super) fn activity(&self) -> Progress {
        Progress {
            done: self.seen,
            total: None,
            unit: "lines".to_owned(),
            message: self.last.back().cloned().unwrap_or_default(),
            eta_seconds: None,
        }
    }

    /// Returns the progress that has not been told, due or not.
    pub(super) fn last_progress(&mut self) -> Option<Progress> {
        self.gauge.as_mut().and_then(|(_, gauge)| gauge.untold())
    }
}

fn show(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SHOWN)];
    let mut text = String::from_utf8_lossy(cut).into_owned();
    if cut.len() < bytes.len() {
        text.push('…');
    }
    text
}

fn caught(pattern: &Regex, captures: &Captures<'_>) -> Map<String, Value> {
    let mut map = Map::new();
    for (number, name) in pattern.capture_names().enumerate() {
        let value = captures.get(number).map_or(Value::Null, |group| show(group.as_bytes()).into());
        if let Some(name) = name {
            map.insert(name.to_owned(), value.clone());
        }
        map.insert(number.to_string(), value);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(matcher: &mut Matcher, lines: &[&[u8]]) {
        for bytes in lines {
            matcher.line(Line { bytes, whole: true, path: "/l" }, Instant::now());
        }
    }

    #[test]
    fn what_comes_first_in_the_log_decides() {
        let fail = ["failed for user '(.*)'".to_owned()];
        let new = || Matcher::new("all users finished", &fail, None, 20).unwrap();

        let mut matcher = new();
        feed(&mut matcher, &[b"1,ERROR,Index,failed for user 'X'", b"2,all users finished"]);
        assert_eq!(matcher.verdict().unwrap().failed.as_deref(), Some("failed for user '(.*)'"));
        assert_eq!(matcher.verdict().unwrap().captures["1"], "X");

        let mut matcher = new();
        feed(&mut matcher, &[b"2,all users finished", b"failed for user 'X'"]);
        assert_eq!(matcher.verdict().unwrap().failed, None);

        let mut matcher = new();
        feed(&mut matcher, &[b"all users finished, failed for user 'X'"]);
        assert!(matcher.verdict().unwrap().failed.is_some(), "on one line failure wins");
    }

    #[test]
    fn groups_are_caught_by_name_and_number() {
        let mut matcher = Matcher::new(r"took (?<time>\d+)s(?: by (\w+))?", &[], None, 20).unwrap();

        feed(&mut matcher, &[b"nothing", b"\xff took 12s"]);

        let verdict = matcher.verdict().unwrap();
        assert_eq!(
            serde_json::to_value(&verdict.captures).unwrap(),
            serde_json::json!({ "0": "took 12s", "time": "12", "1": "12", "2": null })
        );
        assert_eq!(verdict.line, "\u{fffd} took 12s");
    }

    #[test]
    fn the_last_lines_are_kept_and_cut() {
        let mut matcher = Matcher::new("never", &[], None, 2).unwrap();

        feed(&mut matcher, &[b"one", b"two", &[b'x'; 5000]]);

        let lines = matcher.last_lines();
        assert!(lines.starts_with("two\nxxx") && lines.len() < 1100);
        assert_eq!(matcher.seen(), 3);
    }
}
