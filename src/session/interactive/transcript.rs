//! What was typed: piece by piece, with its place, as it is recorded with the run and read back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::NAME;
use crate::effect::Redactor;
use crate::error::{Result, Stop};
use crate::journal::{RunInfo, Source};
use crate::script::{self, Metadata, Runbook, ScriptError};

/// The recorded source that says where the pieces of the transcript begin.
const PIECES: &str = "<repl>/pieces";

/// A piece of the transcript.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::session) struct Piece {
    /// The line of the transcript on which it begins, from 1; it names the step of its calls.
    line: usize,
    /// The target that was current.
    pub(super) target: String,
    /// Whether it ended by itself. If not, where in it an interrupt or a kill came is known by its calls alone.
    #[serde(default)]
    pub(super) ended: bool,
    /// Its text.
    #[serde(skip)]
    text: String,
}

impl Piece {
    /// Makes the one that comes after these.
    pub(super) fn after(pieces: &[Self], target: String, text: &str) -> Self {
        let before: usize = pieces.iter().map(|piece| piece.text.split('\n').count()).sum();
        let text = text.replace("\r\n", "\n").trim_end().to_owned();
        Self { line: before + 1, target, ended: false, text }
    }

    pub(super) fn step(&self) -> String {
        format!("line {}", self.line)
    }

    /// The text at its place in the transcript, so that errors of functions defined long before still name their line.
    pub(super) fn placed(&self) -> String {
        format!("{}{}", "\n".repeat(self.line - 1), self.text)
    }
}

/// What was typed so far. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Transcript(Arc<Mutex<String>>);

impl Transcript {
    /// Returns the text.
    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

/// Returns an empty script with our name.
pub(super) fn empty() -> Result<Runbook, ScriptError> {
    Ok(Runbook {
        name: NAME.to_owned(),
        text: String::new(),
        modules: BTreeMap::new(),
        ast: script::build(None)?.compile("").unwrap_or_default(),
        metadata: Metadata::default(),
    })
}

/// Returns the text of all of them.
pub(super) fn joined<'a>(pieces: impl IntoIterator<Item = &'a Piece>) -> String {
    pieces.into_iter().fold(String::new(), |mut text, piece| {
        text.push_str(&piece.text);
        text.push('\n');
        text
    })
}

/// Returns what is recorded of the pieces with the run.
pub(super) fn sources(pieces: &[Piece], redactor: &Redactor) -> Result<Vec<Source>> {
    let text = redactor.text(&joined(pieces));
    let pieces = serde_json::to_string(pieces)
        .map_err(|error| Stop::Journal(format!("the transcript cannot be recorded: {error}")))?;
    let source = |name: &str, text| Source { name: name.to_owned(), text };
    Ok(vec![source(NAME, text), source(PIECES, pieces)])
}

/// Returns the runbook and the pieces of a run that was typed; none of any other run.
pub(in crate::session) fn recorded(run: &RunInfo) -> Option<(Runbook, Vec<Piece>)> {
    let source =
        |name: &str| run.sources.iter().find(|source| source.name == name).map(|found| &found.text);
    let (text, pieces) = (source(NAME)?, source(PIECES)?);
    let mut pieces: Vec<Piece> = serde_json::from_str(pieces).ok()?;
    let lines: Vec<&str> = text.lines().collect();
    let starts = pieces.iter().map(|piece| piece.line.checked_sub(1));
    let starts: Vec<usize> = starts.collect::<Option<_>>()?;
    let ends = starts.iter().skip(1).copied().chain([lines.len()]);
    for ((piece, start), end) in pieces.iter_mut().zip(&starts).zip(ends) {
        piece.text = lines.get(*start..end)?.join("\n");
    }
    Some((empty().ok()?, pieces))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::event::Status;

    fn run(text: &str, pieces: &str) -> RunInfo {
        let source = |name: &str, text: &str| Source { name: name.into(), text: text.into() };
        RunInfo {
            id: "r".to_owned(),
            runbook: NAME.to_owned(),
            title: String::new(),
            targets: Vec::new(),
            operator: String::new(),
            version: String::new(),
            status: Status::Paused,
            started: Timestamp::UNIX_EPOCH,
            ended: None,
            due: None,
            settings: serde_json::Value::Null,
            sources: vec![source(NAME, text), source(PIECES, pieces)],
        }
    }

    #[test]
    fn what_was_typed_is_read_back_piece_by_piece() {
        let mut pieces = Vec::new();
        for text in ["let a = 1;", "if a {\r\n  1\r\n}\n", "a"] {
            pieces.push(Piece::after(&pieces, "local".to_owned(), text));
        }
        let sources = sources(&pieces, &Redactor::new()).unwrap();
        let (_, read) = recorded(&RunInfo { sources, ..run("", "") }).unwrap();
        assert_eq!(read, pieces);
        assert_eq!(read[2].step(), "line 5");
    }

    #[test]
    fn a_damaged_record_is_none() {
        for line in [0, 3] {
            let pieces = format!(r#"[{{"line":{line},"target":"local"}}]"#);
            assert!(recorded(&run("a\n", &pieces)).is_none(), "{line}");
        }
    }
}
