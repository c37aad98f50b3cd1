//! Follows a log as a state machine without I/O: given what a poll returned, which lines are new and what to ask next?
//!
//! A log is a sequence of files, its segments, oldest first. Each is known by its inode, by how far it was read, and by
//! a digest of the last bytes before that place. The oldest segment with something unread is read first; a new segment
//! is only begun after one more look at the older ones, so that their last lines come before its first. Older segments
//! stay watched for lines of writers that are late to reopen.
//!
//! The digest tells what inode and size cannot: that a file was truncated and has grown beyond the old place again, that
//! an inode was given to another file, and which copy or archive continues at our place.
//!
//! What cannot be known: lines written between the last poll and a truncation that kept no copy.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::lines::{Cutter, LONGEST, Sink};
use super::poll::{Answer, Chunk, Entry, PRINT, Poll, Read};
use super::source::{Date, Source, is_packed};

/// How many bytes a digest must cover to find a copy by it.
const RECOGNISABLE: u64 = 16;
/// How many files one looks into for a copy of what is gone.
const CANDIDATES: usize = 8;
/// How many segments are watched.
const WATCHED: usize = 4;

/// The digest of the last bytes before a place in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Print {
    /// How many bytes it covers; 0 if it tells nothing.
    pub(super) length: u64,
    /// The digest.
    pub(super) digest: String,
}

impl Print {
    /// Takes the print of the end of `bytes`.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let length = bytes.len().min(usize::try_from(PRINT).unwrap_or(usize::MAX));
        let digest = Sha256::digest(&bytes[bytes.len() - length..]);
        Self {
            length: length as u64,
            digest: digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// Returns whether `bytes` end as those did that it was taken of.
    pub(super) fn fits(&self, bytes: &[u8]) -> bool {
        let Ok(length) = usize::try_from(self.length) else { return false };
        length == 0 || (bytes.len() >= length && Self::of(&bytes[bytes.len() - length..]) == *self)
    }
}

/// A place in a log: all that is needed to find it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The file that was written to; none if there was none yet, so that all of the next one is new.
    pub(super) path: Option<String>,
    /// Its inode.
    pub(super) inode: String,
    /// How far it went.
    pub(super) offset: u64,
    /// The print of its last bytes.
    pub(super) print: Print,
    /// The inodes of what had been rotated away before.
    pub(super) older: Vec<String>,
    /// The place in the systemd journal.
    pub(super) cursor: Option<String>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Poll.
    Poll(Poll),
    /// Find the file that continues where another is gone.
    Search {
        /// The files that it may be, the most likely first.
        candidates: Vec<String>,
        /// Where it continues.
        offset: u64,
        /// How it looks before that.
        print: Print,
    },
    /// Pass on the rest of a compressed file.
    Unpack {
        /// The file.
        path: String,
        /// The first byte wanted.
        from: u64,
    },
}

/// Whether to go on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more.
    More,
    /// Nothing is new.
    Idle,
}

#[derive(Debug)]
struct Segment {
    path: String,
    /// Empty for a compressed file.
    inode: String,
    offset: u64,
    size: u64,
    print: Print,
    lines: Cutter,
    date: Option<Date>,
    packed: bool,
    /// Whether a compressed file has been read.
    done: bool,
    /// Not to be read before the older ones were looked at once more.
    fresh: bool,
    seen: bool,
}

impl Segment {
    fn new(path: &str, inode: &str, size: u64, date: Option<Date>) -> Self {
        Self {
            path: path.to_owned(),
            inode: inode.to_owned(),
            offset: 0,
            size,
            print: Print::default(),
            lines: Cutter::default(),
            date,
            packed: is_packed(path),
            done: false,
            fresh: true,
            seen: true,
        }
    }

    fn unread(&self) -> bool {
        if self.packed { !self.done } else { self.size > self.offset }
    }

    fn restart(&mut self) {
        (self.offset, self.print, self.fresh) = (0, Print::default(), true);
    }
}

/// What continued at a place that is gone.
#[derive(Debug)]
struct Search {
    offset: u64,
    print: Print,
    candidates: Vec<Entry>,
    /// What was rotated away, oldest first.
    rotated: Vec<Entry>,
    /// The file that has the name now; none if it is the last segment itself, truncated.
    current: Option<Entry>,
}

/// Follows one log.
#[derive(Debug)]
pub(super) struct Follower {
    source: Source,
    segments: Vec<Segment>,
    older: Vec<String>,
    known: String,
    names: BTreeMap<Date, String>,
    wide: bool,
    misses: u8,
    truncated: Option<(u64, Print)>,
    search: Option<Search>,
    reading: Option<Read>,
    asked: Vec<String>,
    warnings: Vec<String>,
}

impl Follower {
    /// Begins at a place.
    pub(super) fn new(source: Source, position: &Position) -> Self {
        let segments = position.path.iter().map(|path| Segment {
            offset: position.offset,
            print: position.print.clone(),
            packed: false,
            fresh: false,
            seen: false,
            ..Segment::new(path, &position.inode, position.offset, source.date(path))
        });
        Self {
            segments: segments.collect(),
            older: position.older.clone(),
            source,
            known: String::new(),
            names: BTreeMap::new(),
            wide: false,
            misses: 0,
            truncated: None,
            search: None,
            reading: None,
            asked: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Returns the file that is read now.
    pub(super) fn path(&self) -> Option<&str> {
        self.segments.last().map(|segment| segment.path.as_str())
    }

    /// Takes what the operator should know.
    pub(super) fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Says what to do next.
    pub(super) fn request(&mut self, now: Instant) -> Request {
        if let Some(search) = &self.search {
            return Request::Search {
                candidates: search.candidates.iter().map(|entry| entry.path.clone()).collect(),
                offset: search.offset,
                print: search.print.clone(),
            };
        }
        let next = self.next(now).map(|index| &self.segments[index]);
        if let Some(Segment { packed: true, path, offset, .. }) = next {
            return Request::Unpack { path: path.clone(), from: *offset };
        }
        let read = next.map(|segment| Read {
            path: segment.path.clone(),
            inode: segment.inode.clone(),
            from: segment.offset,
        });
        self.reading.clone_from(&read);
        let last = self.segments.last();
        let poll = Poll {
            wide: self.wide,
            seek: last.filter(|_| self.wide && self.misses > 0).map(|last| last.inode.clone()),
            known: self.known.clone(),
            watch: self.watch(),
            read,
        };
        self.asked.clone_from(&poll.watch);
        Request::Poll(poll)
    }

    fn watch(&self) -> Vec<String> {
        let mut watch: Vec<String> = self.source.path().into_iter().collect();
        watch.extend(self.segments.iter().map(|segment| segment.path.clone()));
        watch.extend(self.newer().map(|(_, path)| path.clone()));
        watch.sort();
        watch.dedup();
        watch
    }

    /// Returns the dated names that come after the last segment.
    fn newer(&self) -> impl Iterator<Item = (&Date, &String)> {
        let last = self.segments.last().and_then(|segment| segment.date);
        self.names.iter().filter(move |(date, _)| Some(**date) > last)
    }

    /// Returns the oldest segment with something unread, unless an older one deserves another look first.
    fn next(&self, now: Instant) -> Option<usize> {
        if self.truncated.is_some() {
            return None;
        }
        for (index, segment) in self.segments.iter().enumerate() {
            if segment.fresh {
                return None;
            }
            if segment.unread() {
                return Some(index);
            }
            if index + 1 < self.segments.len() && segment.lines.hopes(now) {
                return None;
            }
        }
        None
    }

    /// Takes the answer to a poll.
    pub(super) fn accept(&mut self, answer: &Answer, now: Instant, sink: Sink<'_>) -> Step {
        let asked_wide = self.wide;
        for segment in &mut self.segments {
            segment.fresh = false;
        }
        if let Some((known, names)) = &answer.names {
            self.known.clone_from(known);
            self.learn(names);
        }
        let mut more = match &self.source {
            Source::Dated { .. } => self.look_dated(answer, sink),
            _ => self.look_plain(answer, asked_wide, sink),
        };
        if let (Some(read), Some(chunk)) = (self.reading.take(), &answer.chunk) {
            more |= self.absorb(&read, chunk, now, sink);
        }
        let last = self.segments.len().saturating_sub(1);
        for (index, segment) in self.segments.iter_mut().enumerate() {
            if index < last && !segment.lines.hopes(now) {
                segment.lines.flush(&segment.path, sink);
            } else {
                segment.lines.show(&segment.path, now, sink);
            }
        }
        while self.segments.len() > WATCHED && !self.segments[0].unread() && !self.segments[0].fresh
        {
            self.drop_segment(0, sink);
        }
        let fresh = self.segments.iter().any(|segment| segment.fresh);
        if more || fresh || self.search.is_some() || self.next(now).is_some() {
            Step::More
        } else {
            Step::Idle
        }
    }

    fn learn(&mut self, names: &[String]) {
        self.names.clear();
        for name in names {
            let Some(date) = self.source.date(name) else { continue };
            // While it is being compressed there are both.
            let known = self.names.entry(date).or_insert_with(|| name.clone());
            if is_packed(known) {
                known.clone_from(name);
            }
        }
    }

    fn look_plain(&mut self, answer: &Answer, wide: bool, sink: Sink<'_>) -> bool {
        let base = self.source.path().unwrap_or_default();
        let current = answer.entries.iter().find(|entry| entry.path == base);
        if let Some(current) = current {
            // An old file is gone and its inode has been given to the new one.
            let older = &self.segments[..self.segments.len().saturating_sub(1)];
            if let Some(index) = older.iter().position(|segment| segment.inode == current.inode) {
                self.drop_segment(index, sink);
            }
        }
        self.update(answer, sink);
        self.wide = false;
        let Some(last) = self.segments.last() else {
            if let Some(current) = current {
                self.push(current);
            }
            return false;
        };
        match current {
            Some(current) if current.inode == last.inode => {
                self.misses = 0;
                if let Some((offset, print)) = self.truncated.clone() {
                    if !wide {
                        self.wide = true;
                        return true;
                    }
                    self.truncated = None;
                    let rotated = self.rotated(answer);
                    self.begin_search(offset, print, rotated, None);
                }
                false
            }
            Some(_) if !wide => {
                self.wide = true;
                true
            }
            Some(current) if last.seen => {
                self.misses = 0;
                let rotated = self.rotated(answer);
                let after = rotated.iter().position(|entry| entry.inode == last.inode);
                let between: Vec<Entry> =
                    after.map(|at| rotated[at + 1..].to_vec()).unwrap_or_default();
                let current = current.clone();
                between.iter().chain([&current]).for_each(|entry| self.push(entry));
                false
            }
            Some(current) => {
                // It may have been missed while it was being renamed.
                self.misses += 1;
                if self.misses < 3 {
                    self.wide = true;
                    return true;
                }
                self.misses = 0;
                let (offset, print) = (last.offset, last.print.clone());
                let rotated = self.rotated(answer);
                self.begin_search(offset, print, rotated, Some(current.clone()));
                false
            }
            // Renamed away or removed, and nothing new yet: what is left of it is read under its new name.
            None => {
                self.wide = true;
                self.misses = 1;
                !wide
            }
        }
    }

    /// Takes over names and sizes.
    fn update(&mut self, answer: &Answer, sink: Sink<'_>) {
        let last = self.segments.len().saturating_sub(1);
        for segment in &mut self.segments {
            let entry = answer
                .entries
                .iter()
                .filter(|entry| !segment.packed && entry.inode == segment.inode)
                .max_by_key(|entry| entry.path == segment.path);
            segment.seen = entry.is_some();
            if let Some(entry) = entry {
                segment.path.clone_from(&entry.path);
                segment.size = entry.size;
            }
        }
        if self.segments.last().is_some_and(|last| !last.packed && last.size < last.offset) {
            self.restart(last, last, sink);
        }
    }

    /// A segment is not what it was: its file was truncated or rewritten.
    fn restart(&mut self, index: usize, last: usize, sink: Sink<'_>) {
        let segment = &mut self.segments[index];
        segment.lines.flush(&segment.path, sink);
        if index == last && segment.print.length >= RECOGNISABLE {
            self.truncated.get_or_insert((segment.offset, segment.print.clone()));
        }
        segment.restart();
    }

    /// Returns what was rotated away, oldest first.
    fn rotated(&self, answer: &Answer) -> Vec<Entry> {
        let mut found: Vec<(Option<u32>, Entry)> = Vec::new();
        for entry in &answer.entries {
            let known =
                self.segments.iter().any(|segment| segment.inode == entry.inode && !segment.packed);
            let age = match (self.source.rotated(&entry.path), known) {
                (Some(age), _) => age,
                (None, true) if Some(&entry.path) != self.source.path().as_ref() => None,
                (None, _) => continue,
            };
            if !found.iter().any(|(_, other)| other.inode == entry.inode) {
                found.push((age, entry.clone()));
            }
        }
        // Numbers say the order exactly; else the time of the last change does, which is how the list is sorted.
        if found.iter().all(|(age, _)| age.is_some()) {
            found.sort_by_key(|(age, _)| std::cmp::Reverse(*age));
        }
        found.into_iter().map(|(_, entry)| entry).collect()
    }

    fn begin_search(
        &mut self,
        offset: u64,
        print: Print,
        rotated: Vec<Entry>,
        current: Option<Entry>,
    ) {
        let candidates: Vec<Entry> = rotated
            .iter()
            .rev()
            .filter(|entry| {
                print.length >= RECOGNISABLE && (is_packed(&entry.path) || entry.size >= offset)
            })
            .filter(|entry| !self.segments.iter().any(|segment| segment.inode == entry.inode))
            .take(CANDIDATES)
            .cloned()
            .collect();
        self.search = Some(Search { offset, print, candidates, rotated, current });
    }

    /// Takes the answer to a search: which candidate continues at the place.
    pub(super) fn found(&mut self, path: Option<&str>, sink: Sink<'_>) {
        let Some(search) = self.search.take() else { return };
        let found = path.and_then(|path| search.candidates.iter().find(|entry| entry.path == path));
        let copy = found.map(|entry| {
            let mut segment = Segment::new(&entry.path, &entry.inode, entry.size, None);
            segment.offset = search.offset;
            segment.print.clone_from(&search.print);
            segment.fresh = false;
            if segment.packed {
                segment.inode.clear();
            }
            segment
        });
        let Some(current) = search.current else {
            // Truncated in place: a copy was made before, as logrotate's `copytruncate` does.
            if let Some(copy) = copy {
                let at = self.segments.len().saturating_sub(1);
                self.segments.insert(at, copy);
            }
            return;
        };
        let last = self.segments.len().saturating_sub(1);
        let newer: Vec<Entry> = if let Some(found) = found {
            let at = search.rotated.iter().position(|entry| entry == found).unwrap_or_default();
            search.rotated[at + 1..].to_vec()
        } else {
            if let Some(gone) = self.segments.last() {
                self.warnings.push(format!(
                    "{} was removed; what may have come after byte {} is lost",
                    gone.path, gone.offset
                ));
            }
            let fresh =
                |entry: &&Entry| !is_packed(&entry.path) && !self.older.contains(&entry.inode);
            search.rotated.iter().filter(fresh).cloned().collect()
        };
        if !self.segments.is_empty() {
            self.drop_segment(last, sink);
        }
        self.segments.extend(copy);
        newer.iter().chain([&current]).for_each(|entry| self.push(entry));
    }

    fn push(&mut self, entry: &Entry) {
        let date = self.source.date(&entry.path);
        let known = self.segments.iter().any(|segment| match date {
            Some(_) => segment.date == date,
            None => !segment.packed && segment.inode == entry.inode,
        });
        if known {
            return;
        }
        let mut segment = Segment::new(&entry.path, &entry.inode, entry.size, date);
        if segment.packed {
            segment.inode.clear();
        }
        self.segments.push(segment);
    }

    fn drop_segment(&mut self, index: usize, sink: Sink<'_>) {
        let mut segment = self.segments.remove(index);
        segment.lines.flush(&segment.path, sink);
    }

    fn look_dated(&mut self, answer: &Answer, sink: Sink<'_>) -> bool {
        let last = self.segments.len().saturating_sub(1);
        for index in 0..self.segments.len() {
            let segment = &mut self.segments[index];
            if segment.packed {
                continue;
            }
            let Some(entry) = answer.entries.iter().find(|entry| entry.path == segment.path) else {
                let packed = segment.date.and_then(|date| self.names.get(&date));
                // Compressed while nobody looked.
                if let Some(packed) = packed.filter(|path| index == last && is_packed(path)) {
                    segment.path.clone_from(packed);
                    segment.packed = true;
                }
                continue;
            };
            let other = entry.inode != segment.inode;
            segment.size = entry.size;
            if other || entry.size < segment.offset {
                segment.inode.clone_from(&entry.inode);
                segment.lines.flush(&segment.path, sink);
                segment.restart();
            }
        }
        let newer: Vec<String> = self.newer().map(|(_, path)| path.clone()).collect();
        let mut more = false;
        for path in newer {
            let listed = answer.entries.iter().find(|entry| entry.path == path);
            match listed {
                Some(entry) => self.push(&entry.clone()),
                // What was asked for and is not there has gone again.
                None => more |= !self.asked.contains(&path),
            }
        }
        more
    }

    fn absorb(&mut self, read: &Read, chunk: &Chunk, now: Instant, sink: Sink<'_>) -> bool {
        let last = self.segments.len().saturating_sub(1);
        let found = self.segments.iter().position(|segment| {
            !segment.packed
                && segment.inode == read.inode
                && segment.offset == read.from
                && !segment.fresh
        });
        let Some(index) = found else { return true };
        let segment = &mut self.segments[index];
        if chunk.inode != read.inode {
            // Renamed between list and read; the next list says to what.
            return true;
        }
        let skip = usize::try_from(read.from - chunk.start).unwrap_or(usize::MAX);
        if chunk.bytes.len() < skip || !segment.print.fits(&chunk.bytes[..skip]) {
            self.restart(index, last, sink);
            return true;
        }
        let end = chunk.bytes.len().min(skip + LONGEST);
        let data = &chunk.bytes[skip..end];
        segment.lines.push(data, &segment.path, now, sink);
        segment.offset += data.len() as u64;
        segment.print = Print::of(&chunk.bytes[..end]);
        if data.is_empty() {
            // Nothing came although the list said there is more: another list before another try.
            segment.size = segment.offset;
        }
        false
    }

    /// Takes a piece of the compressed file that was asked for.
    pub(super) fn unpacked(&mut self, bytes: &[u8], now: Instant, sink: Sink<'_>) {
        if let Some(segment) = self.archive() {
            segment.offset += bytes.len() as u64;
            segment.lines.push(bytes, &segment.path, now, sink);
        }
    }

    /// Takes the end of the compressed file that was asked for.
    pub(super) fn unpack_ended(&mut self, sink: Sink<'_>) {
        if let Some(segment) = self.archive() {
            segment.lines.flush(&segment.path, sink);
            segment.done = true;
        }
    }

    fn archive(&mut self) -> Option<&mut Segment> {
        self.segments.iter_mut().find(|segment| segment.packed && !segment.done)
    }
}
