//! `log_mark`: where a log ends now.

use serde::{Deserialize, Serialize};

use super::journal;
use super::poll::{Poll, Read, poll};
use super::segment::{Position, Print};
use super::source::{Source, is_packed};
use crate::effect::{Cx, Query};
use crate::error::Result;

/// A place in a log, as runbooks hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The log, as it was named.
    pub(super) file: String,
    /// The name of the mark.
    pub(super) name: Option<String>,
    /// The place.
    pub(super) position: Position,
}

/// Marks where a log ends now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogMark {
    /// The log.
    pub(super) file: String,
    /// The name of the mark.
    pub(super) name: Option<String>,
}

impl Query for LogMark {
    const NAME: &'static str = "log_mark";
    type Output = Mark;

    fn summary(&self) -> String {
        format!("mark the end of {}", self.file)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<Mark> {
        let source = Source::parse(&self.file)?;
        let position = end_of(cx, &source)?.0;
        Ok(Mark { file: self.file.clone(), name: self.name.clone(), position })
    }

    fn result(&self, output: &Mark) -> Option<String> {
        Some(output.position.describe())
    }
}

impl Position {
    /// Says where it is.
    pub(super) fn describe(&self) -> String {
        match (&self.path, &self.cursor) {
            (Some(path), _) => format!("byte {} of {path}", self.offset),
            (None, Some(_)) => "the last entry of the journal".to_owned(),
            (None, None) => "there is no file yet".to_owned(),
        }
    }
}

/// Returns where a log ends now, and whether its directory exists.
pub(super) fn end_of(cx: &Cx<'_>, source: &Source) -> Result<(Position, bool)> {
    if let Source::Journal { unit } = source {
        let cursor = journal::end(cx, unit)?;
        return Ok((Position { cursor, ..Position::default() }, true));
    }
    let wide = matches!(source, Source::Plain { .. });
    let watch = source.path().into_iter().collect();
    let mut answer = poll(cx, source, &Poll { wide, watch, ..Poll::default() })?;
    let exists = !answer.no_directory;
    let older = answer
        .entries
        .iter()
        .filter(|entry| source.rotated(&entry.path).is_some())
        .map(|entry| entry.inode.clone())
        .collect();
    let newest = source.path().or_else(|| {
        let names = answer.names.take().map(|(_, names)| names).unwrap_or_default();
        let dated = names.into_iter().filter(|name| !is_packed(name));
        dated.filter_map(|name| Some((source.date(&name)?, name))).max().map(|(_, name)| name)
    });
    let Some(newest) = newest else { return Ok((Position::default(), exists)) };
    if source.path().is_none() {
        answer = poll(cx, source, &Poll { watch: vec![newest.clone()], ..Poll::default() })?;
    }
    let Some(entry) = answer.entries.into_iter().find(|entry| entry.path == newest) else {
        return Ok((Position { older, ..Position::default() }, exists));
    };
    let read = Read { path: entry.path, inode: entry.inode, from: entry.size };
    let answer = poll(cx, source, &Poll { read: Some(read.clone()), ..Poll::default() })?;
    // What was opened counts, should it have been replaced since it was listed.
    let (inode, offset, print) = match answer.chunk {
        Some(chunk) => {
            let skip = usize::try_from(read.from - chunk.start).unwrap_or(usize::MAX);
            let before = &chunk.bytes[..skip.min(chunk.bytes.len())];
            let same = chunk.inode == read.inode && before.len() == skip;
            (
                chunk.inode,
                if same { read.from } else { 0 },
                if same { Print::of(before) } else { Print::default() },
            )
        }
        None => (read.inode, read.from, Print::default()),
    };
    Ok((Position { path: Some(read.path), inode, offset, print, older, cursor: None }, exists))
}
