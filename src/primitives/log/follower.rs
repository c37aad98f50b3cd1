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

use super::lines::{LONGEST, Sink};
use super::poll::{Answer, Chunk, Entry, Poll, Read};
use super::segment::{Form, Lost, MISSES, Position, Print, Segment};
use super::source::{Age, Date, Source, is_packed, unpacked};

/// How many bytes a digest must cover to find a copy by it.
const RECOGNISABLE: u64 = 16;
/// How many files one looks into for a copy of what is gone.
const CANDIDATES: usize = 8;
/// How many segments are watched.
const WATCHED: usize = 4;

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

/// The search for what continues there.
#[derive(Debug)]
struct Search {
    lost: Lost,
    candidates: Vec<Entry>,
    /// Before which segment it belongs.
    before: usize,
}

/// Follows one log.
#[derive(Debug)]
pub(super) struct Follower {
    source: Source,
    segments: Vec<Segment>,
    older: Vec<String>,
    /// The inodes of new segments, until a second list has them too.
    pending: Vec<String>,
    known: String,
    names: BTreeMap<Date, String>,
    wide: bool,
    misses: u8,
    truncated: Option<Lost>,
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
            form: Form::Plain,
            fresh: false,
            seen: false,
            ..Segment::new(path, &position.inode, position.offset, source.date(path))
        });
        Self {
            segments: segments.collect(),
            older: position.older.clone(),
            pending: Vec::new(),
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
                offset: search.lost.offset,
                print: search.lost.print.clone(),
            };
        }
        let next = self.next(now).map(|index| &self.segments[index]);
        if let Some(Segment { form: Form::Packed, path, offset, .. }) = next {
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
            let newer = index + 1 < self.segments.len();
            if newer && (segment.is_cut_off() || segment.lines.hopes(now)) {
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
            if !segment.is_read() {
                continue;
            }
            if index < last && !segment.lines.hopes(now) {
                segment.lines.flush(&segment.path, sink);
            } else {
                segment.lines.show(&segment.path, now, sink);
            }
        }
        while self.segments.len() > WATCHED && self.segments[0].is_read() {
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
        let older = &self.segments[..self.segments.len().saturating_sub(1)];
        if let Some(index) = older.iter().position(Segment::is_cut_off) {
            // It was compressed or removed before it was read to its end.
            if wide {
                self.search_for(index, answer);
            }
            self.wide = !wide;
            return true;
        }
        let Some(last) = self.segments.last() else {
            // It may have been rotated away already since it appeared.
            self.wide = true;
            return !wide || self.adopt_new(answer, current);
        };
        let end = self.segments.len() - 1;
        match current {
            Some(current) if current.inode == last.inode => {
                self.misses = 0;
                self.pending.clear();
                if self.truncated.is_some() && !wide {
                    self.wide = true;
                    return true;
                }
                if let Some(lost) = self.truncated.take() {
                    let rotated = self.rotated(answer);
                    self.begin_search(lost, &rotated, end);
                }
                false
            }
            Some(_) if !wide => {
                self.wide = true;
                true
            }
            Some(_) if last.form == Form::Gone => self.adopt_new(answer, current),
            Some(_) if last.seen => {
                self.misses = 0;
                self.adopt_after_last(answer, current)
            }
            Some(_) => {
                // It may have been missed while it was being renamed.
                self.misses += 1;
                self.wide = true;
                if self.misses >= MISSES {
                    self.misses = 0;
                    self.search_for(end, answer);
                }
                true
            }
            // Renamed away or removed, and nothing new yet: what is left of it is read under its new name.
            None => {
                self.wide = true;
                self.misses = 1;
                if wide && last.missed >= MISSES && last.form != Form::Gone {
                    self.search_for(end, answer);
                    return true;
                }
                !wide || self.adopt_after_last(answer, None)
            }
        }
    }

    /// Looks for what is left of a segment that is not in the list any more.
    fn search_for(&mut self, index: usize, answer: &Answer) {
        let rotated = self.rotated(answer);
        let mut segment = self.segments.remove(index);
        // Had it been truncated too, the older place is the one to go on from.
        let place = self.truncated.take().unwrap_or_else(|| Lost::of(&mut segment));
        self.begin_search(place, &rotated, index);
    }

    /// Adds what was rotated away after the last segment was, and the file that has the name now.
    fn adopt_after_last(&mut self, answer: &Answer, current: Option<&Entry>) -> bool {
        let rotated = self.rotated(answer);
        let last = self.segments.last().map(|last| last.inode.clone()).unwrap_or_default();
        let Some(at) = rotated.iter().position(|entry| entry.inode == last) else {
            return self.adopt(current.cloned().into_iter().collect());
        };
        self.adopt(rotated[at + 1..].iter().chain(current).cloned().collect())
    }

    /// Adds what was not there when the place was taken, and the file that has the name now.
    fn adopt_new(&mut self, answer: &Answer, current: Option<&Entry>) -> bool {
        let rotated = self.rotated(answer);
        let new = |entry: &&Entry| !is_packed(&entry.path) && !self.older.contains(&entry.inode);
        self.adopt(rotated.iter().filter(new).chain(current).cloned().collect())
    }

    /// Adds new segments once two lists agree on them: one that was made during a rotation may lack one.
    fn adopt(&mut self, mut new: Vec<Entry>) -> bool {
        new.retain(|entry| !self.segments.iter().any(|segment| segment.inode == entry.inode));
        let inodes: Vec<String> = new.iter().map(|entry| entry.inode.clone()).collect();
        if inodes.is_empty() || self.pending == inodes {
            self.pending.clear();
            for entry in &new {
                self.push(entry);
            }
            return false;
        }
        self.pending = inodes;
        self.wide = true;
        true
    }

    /// Takes over names and sizes.
    fn update(&mut self, answer: &Answer, sink: Sink<'_>) {
        let last = self.segments.len().saturating_sub(1);
        for segment in &mut self.segments {
            let entry = answer
                .entries
                .iter()
                .filter(|entry| entry.inode == segment.inode)
                .max_by_key(|entry| entry.path == segment.path);
            segment.seen = entry.is_some();
            segment.missed = if segment.seen { 0 } else { segment.missed.saturating_add(1) };
            if let Some(entry) = entry {
                segment.path.clone_from(&entry.path);
                segment.size = entry.size;
            }
        }
        if self
            .segments
            .last()
            .is_some_and(|last| last.seen && last.form == Form::Plain && last.size < last.offset)
        {
            self.restart(last, last, sink);
        }
    }

    /// A segment is not what it was: its file was truncated or rewritten.
    fn restart(&mut self, index: usize, last: usize, sink: Sink<'_>) {
        let segment = &mut self.segments[index];
        let dated = segment.date.is_some();
        if index == last
            && !dated
            && segment.print.length >= RECOGNISABLE
            && self.truncated.is_none()
        {
            self.truncated = Some(Lost::of(segment));
        }
        segment.lines.flush(&segment.path, sink);
        segment.restart();
    }

    /// Returns what was rotated away, oldest first.
    fn rotated(&self, answer: &Answer) -> Vec<Entry> {
        let mut found: Vec<(Age, Entry)> = Vec::new();
        for entry in &answer.entries {
            let known = self.segments.iter().any(|segment| segment.inode == entry.inode);
            let age = match (self.source.rotated(&entry.path), known) {
                (Some(age), _) => age,
                (None, true) if Some(&entry.path) != self.source.path().as_ref() => Age::Date,
                (None, _) => continue,
            };
            if !found.iter().any(|(_, other)| other.inode == entry.inode) {
                found.push((age, entry.clone()));
            }
        }
        // Numbers say the order exactly; else the time of the last change does, which is how the list is sorted.
        if found.iter().all(|(age, _)| *age != Age::Date) {
            found.sort_by_key(|(age, _)| match age {
                Age::Number(number) => std::cmp::Reverse(*number),
                Age::Date => std::cmp::Reverse(0),
            });
        }
        found.into_iter().map(|(_, entry)| entry).collect()
    }

    fn begin_search(&mut self, lost: Lost, rotated: &[Entry], before: usize) {
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
    pub(super) fn found(&mut self, path: Option<&str>, sink: Sink<'_>) {
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

    fn push(&mut self, entry: &Entry) {
        let date = self.source.date(&entry.path);
        let known = self.segments.iter().any(|segment| match date {
            Some(_) => segment.date == date,
            None => segment.inode == entry.inode,
        });
        if known {
            return;
        }
        self.segments.push(Segment::new(&entry.path, &entry.inode, entry.size, date));
    }

    fn drop_segment(&mut self, index: usize, sink: Sink<'_>) {
        let mut segment = self.segments.remove(index);
        segment.lines.flush(&segment.path, sink);
        self.older.push(segment.inode);
    }

    fn look_dated(&mut self, answer: &Answer, sink: Sink<'_>) -> bool {
        let last = self.segments.len().saturating_sub(1);
        for index in 0..self.segments.len() {
            let segment = &mut self.segments[index];
            if segment.form != Form::Plain {
                continue;
            }
            let Some(entry) = answer.entries.iter().find(|entry| entry.path == segment.path) else {
                let packed = segment.date.and_then(|date| self.names.get(&date));
                // Compressed while nobody looked.
                if let Some(packed) = packed.filter(|path| index == last && is_packed(path)) {
                    segment.path.clone_from(packed);
                    segment.form = Form::Packed;
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
            segment.form == Form::Plain
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
        // It may have grown since it was listed.
        segment.size = segment.size.max(segment.offset);
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
            segment.form = Form::Unpacked;
        }
    }

    fn archive(&mut self) -> Option<&mut Segment> {
        self.segments.iter_mut().find(|segment| segment.form == Form::Packed)
    }
}
