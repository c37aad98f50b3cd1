//! Carries out what the follower asks for, and passes on what comes.

use std::time::Instant;

use super::follower::{Follower, Request, Step};
use super::journal;
use super::lines::Line;
use super::matcher::Matcher;
use super::poll::{piece, poll, unpack};
use super::segment::Position;
use super::source::Source;
use crate::effect::Cx;
use crate::error::Result;

/// Where the lines of one wait come from.
#[derive(Debug)]
pub(super) enum Feed {
    /// Files.
    Files(Source, Box<Follower>),
    /// The systemd journal.
    Journal(journal::Reader),
}

impl Feed {
    /// Begins at a place.
    pub(super) fn new(source: Source, position: &Position) -> Self {
        if let Source::Journal { unit } = &source {
            return Self::Journal(journal::Reader::new(unit, position.cursor.clone()));
        }
        let follower = Follower::new(source.clone(), position);
        Self::Files(source, Box::new(follower))
    }

    /// Does what comes next.
    pub(super) fn round(&mut self, cx: &Cx<'_>, matcher: &mut Matcher) -> Result<Step> {
        let (source, follower) = match self {
            Self::Journal(reader) => return reader.round(cx, matcher),
            Self::Files(source, follower) => (source, follower),
        };
        let now = Instant::now();
        let mut sink = |line: Line<'_>| matcher.line(line, Instant::now());
        match follower.request(now) {
            Request::Poll(request) => {
                let answer = poll(cx, source, &request)?;
                Ok(follower.accept(&answer, Instant::now(), &mut sink))
            }
            Request::Search { candidates, offset, print } => {
                let mut found = None;
                for path in candidates {
                    let begin = offset - print.length.min(offset);
                    if print.fits(&piece(cx, &path, begin, print.length)?) {
                        found = Some(path);
                        break;
                    }
                }
                follower.found(found.as_deref(), &mut sink);
                Ok(Step::More)
            }
            Request::Unpack { path, from } => {
                unpack(cx, &path, from, &mut |bytes| {
                    follower.unpacked(bytes, Instant::now(), &mut sink);
                })?;
                follower.unpack_ended(&mut sink);
                Ok(Step::More)
            }
        }
    }

    /// Returns the file that is read now.
    pub(super) fn path(&self) -> Option<&str> {
        match self {
            Self::Files(_, follower) => follower.path(),
            Self::Journal(_) => None,
        }
    }

    /// Tells the operator what the follower found out.
    pub(super) fn warn(&mut self, cx: &Cx<'_>) {
        if let Self::Files(_, follower) = self {
            follower.warnings().into_iter().for_each(|warning| cx.warn(warning));
        }
    }
}
