//! The search for the file that continues where another is gone: a copy, or an archive.

use super::{Follower, RECOGNISABLE};
use crate::primitives::log::lines::Sink;
use crate::primitives::log::poll::Entry;
use crate::primitives::log::segment::{Form, Lost, Segment};
use crate::primitives::log::source::{is_packed, unpacked};

/// How many files one looks into for a copy of what is gone.
const CANDIDATES: usize = 8;

/// The search for what continues there.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) lost: Lost,
    pub(super) candidates: Vec<Entry>,
    /// Before which segment it belongs.
    before: usize,
}

impl Follower {
    pub(super) fn begin_search(&mut self, lost: Lost, rotated: &[Entry], before: usize) {
        let candidates = rotated
            .iter()
            .rev()
            .filter(|entry| {
                let packed = is_packed(&entry.path);
                let renamed = packed && unpacked(&entry.path) == lost.path;
                lost.print.length >= RECOGNISABLE && (packed || entry.size >= lost.offset)
                    || renamed
            })
            .filter(|entry| !self.segments.iter().any(|segment| segment.inode == entry.inode))
            .take(CANDIDATES)
            .cloned()
            .collect();
        self.search = Some(Search { lost, candidates, before });
    }

    /// Takes the answer to a search: which candidate continues at the place.
    pub(in crate::primitives::log) fn found(&mut self, path: Option<&str>, sink: Sink<'_>) {
        let Some(Search { mut lost, candidates, before }) = self.search.take() else { return };
        let found = path.and_then(|path| candidates.iter().find(|entry| entry.path == path));
        if let Some(found) = found {
            let mut copy = Segment::new(&found.path, &found.inode, found.size, None);
            (copy.offset, copy.print, copy.lines) = (lost.offset, lost.print, lost.lines);
            copy.fresh = false;
            self.segments.insert(before, copy);
            return;
        }
        lost.lines.flush(&lost.path, sink);
        if before == self.segments.len() {
            // Its place is kept, so that what comes next is known to be newer.
            let mut gone = Segment::new(&lost.path, "gone", lost.offset, None);
            (gone.offset, gone.fresh, gone.form) = (lost.offset, false, Form::Gone);
            self.segments.push(gone);
        }
        self.warnings.push(format!(
            "{} is gone; what may have come after byte {} of it is lost",
            lost.path, lost.offset
        ));
    }
}
