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

mod dated;
mod rotated;
mod search;

use std::collections::BTreeMap;
use std::time::Instant;

use self::search::Search;
use super::lines::{LONGEST, Sink};
use super::poll::{Answer, Chunk, Entry, Poll, Read};
use super::segment::{Form, Lost, Position, Print, Segment};
use super::source::{Date, Source};

/// How many bytes a digest must cover to find a copy by it.
const RECOGNISABLE: u64 = 16;
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
