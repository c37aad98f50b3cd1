//! One file of a log: how it is known again, and how far it was read.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::lines::Cutter;
use super::poll::PRINT;
use super::source::{Date, is_packed};

/// In how many lists a file may be missing before it counts as gone: it may be under way from one name to another.
pub(super) const MISSES: u8 = 3;

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
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Self { length: length as u64, digest: format!("{:016x}", u64::from_be_bytes(first)) }
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

/// How a segment is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// In pieces.
    Plain,
    /// As a whole, decompressed.
    Packed,
    /// Not any more: it was decompressed.
    Unpacked,
    /// Not any more: it is gone and was looked for in vain.
    Gone,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: String,
    pub(super) inode: String,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) print: Print,
    pub(super) lines: Cutter,
    pub(super) date: Option<Date>,
    pub(super) form: Form,
    /// Not to be read before the older ones were looked at once more.
    pub(super) fresh: bool,
    /// Whether the last list had it.
    pub(super) seen: bool,
    /// How many lists in a row did not have it.
    pub(super) missed: u8,
}

impl Segment {
    /// Makes a segment that was not read yet.
    pub(super) fn new(path: &str, inode: &str, size: u64, date: Option<Date>) -> Self {
        Self {
            path: path.to_owned(),
            inode: inode.to_owned(),
            offset: 0,
            size,
            print: Print::default(),
            lines: Cutter::default(),
            date,
            form: if is_packed(path) { Form::Packed } else { Form::Plain },
            fresh: true,
            seen: true,
            missed: 0,
        }
    }

    /// Returns whether there is something to read.
    pub(super) fn unread(&self) -> bool {
        match self.form {
            Form::Plain => self.size > self.offset && self.missed < MISSES,
            Form::Packed => true,
            Form::Unpacked | Form::Gone => false,
        }
    }

    /// Returns whether it was read to its end.
    pub(super) fn is_read(&self) -> bool {
        !self.fresh && !self.unread() && !self.is_cut_off()
    }

    /// Returns whether it is gone before it was read to its end.
    pub(super) fn is_cut_off(&self) -> bool {
        self.form == Form::Plain && self.size > self.offset && self.missed >= MISSES
    }

    /// Starts over.
    pub(super) fn restart(&mut self) {
        (self.offset, self.print, self.fresh) = (0, Print::default(), true);
    }
}

/// A place whose bytes are not where they were.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) path: String,
    pub(super) offset: u64,
    pub(super) print: Print,
    /// The begin of the line there.
    pub(super) lines: Cutter,
}

impl Lost {
    /// Takes the place out of a segment.
    pub(super) fn of(segment: &mut Segment) -> Self {
        Self {
            path: segment.path.clone(),
            offset: segment.offset,
            print: segment.print.clone(),
            lines: std::mem::take(&mut segment.lines),
        }
    }
}
