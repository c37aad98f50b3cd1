//! What rsync prints, read as it comes: progress, itemised changes, statistics, version. `LC_ALL=C` and
//! `--no-human-readable` make the numbers plain; separators are taken out all the same.

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

/// `159,219,712  29%  151.81MB/s    0:00:02 (xfr#12, to-chk=3/65)`
static PROGRESS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let text = r"^\s*([\d.,]+)\s+(\d+)%\s+([\d.,]+[kKMGTP]?B/s)\s+(\d+):(\d\d):(\d\d)(?:\s+\(xfr#(\d+), \w+-chk=(\d+)/(\d+)\))?";
    Regex::new(text).ok()
});

/// How much of a line is kept.
const LONGEST: usize = 64 << 10;

/// A line of progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The bytes done.
    pub(super) bytes: u64,
    /// How much of all that is, in percent.
    pub(super) percent: u64,
    /// The rate as rsync says it.
    pub(super) rate: String,
    /// Seconds to go; at the end of a file, seconds gone.
    pub(super) seconds: u64,
    /// Files looked at, and all of them.
    pub(super) files: Option<(u64, u64)>,
}

/// The statistics at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stats {
    /// Files transferred.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// The bytes of all files.
    pub(super) total_bytes: u64,
    /// Entries deleted.
    pub(super) deleted: u64,
    /// Entries changed in any way, transferred or not.
    pub(super) changes: u64,
}

fn number(text: &str) -> u64 {
    let digits: String = text
        .trim()
        .chars()
        .take_while(|c| c.is_ascii_digit() || matches!(c, ',' | '.'))
        .filter(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap_or_default()
}

/// Reads a line of progress.
pub(super) fn step(line: &str) -> Option<Step> {
    let parts = PROGRESS.as_ref()?.captures(line)?;
    let group = |index| parts.get(index).map(|part| number(part.as_str()));
    Some(Step {
        bytes: group(1)?,
        percent: group(2)?.min(100),
        rate: parts.get(3)?.as_str().to_owned(),
        seconds: group(4)?.saturating_mul(3600) + group(5)? * 60 + group(6)?,
        files: match (group(8), group(9)) {
            (Some(left), Some(all)) => Some((all.saturating_sub(left), all)),
            _ => None,
        },
    })
}

/// Takes rsync's standard output as it arrives.
#[derive(Debug, Default)]
pub(super) struct Output {
    part: Vec<u8>,
    /// The statistics so far.
    pub(super) stats: Stats,
    /// The first itemised changes, of a dry run.
    pub(super) items: Vec<String>,
    limit: usize,
}

impl Output {
    /// Makes one that keeps `limit` itemised changes.
    pub(super) fn keeping(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Takes bytes; calls `each` with the lines of progress in them, which [`step`] reads. There are thousands a second,
    /// and few that anybody wants to hear of.
    pub(super) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let (line, ends) = match piece {
                [line @ .., b'\n' | b'\r'] => (line, true),
                line => (line, false),
            };
            let room = LONGEST.saturating_sub(self.part.len()).min(line.len());
            self.part.extend_from_slice(&line[..room]);
            if ends {
                let line = std::mem::take(&mut self.part);
                self.line(&String::from_utf8_lossy(&line), &mut each);
            }
        }
    }

    /// Takes the last line.
    pub(super) fn finish(&mut self) {
        self.push(b"\n", |_| {});
    }

    fn line(&mut self, line: &str, each: &mut impl FnMut(&str)) {
        if let Some(item) = line.strip_prefix('@') {
            // `@%i` or `@%i %n%L` is the form that we asked for.
            self.stats.changes += 1;
            if self.items.len() < self.limit {
                self.items.push(item.trim_end().to_owned());
            }
        } else if line.trim_start().starts_with(|first: char| first.is_ascii_digit()) {
            each(line);
        } else if let Some((key, value)) = line.split_once(':') {
            match key {
                "Number of regular files transferred" | "Number of files transferred" => {
                    self.stats.files = number(value);
                }
                "Total transferred file size" => self.stats.bytes = number(value),
                "Total file size" => self.stats.total_bytes = number(value),
                "Number of deleted files" => self.stats.deleted = number(value),
                _ => {}
            }
        }
    }
}

/// What the rsync of a target can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Able {
    /// Its version.
    pub(super) version: (u64, u64),
    /// Whether it keeps access control lists.
    pub(super) acls: bool,
    /// Whether it keeps extended attributes.
    pub(super) xattrs: bool,
    /// Whether it keeps hard links.
    pub(super) hardlinks: bool,
}

impl Able {
    /// Reads `rsync --version`.
    pub(super) fn read(text: &str) -> Self {
        let version = text.split("version ").nth(1).unwrap_or_default();
        let mut numbers = version.trim_start_matches('v').split('.').map(number);
        let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        let words: Vec<_> = text.split([',', '\n']).map(str::trim).collect();
        let has = |word: &str| words.contains(&word);
        Self { version, acls: has("ACLs"), xattrs: has("xattrs"), hardlinks: has("hardlinks") }
    }

    /// Returns whether it tells progress of the whole.
    pub(super) fn tells_progress(&self) -> bool {
        self.version >= (3, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROGRESS: &str = include_str!("../../../tests/data/outputs/rsync-progress.txt");
    const DRY: &str = include_str!("../../../tests/data/outputs/rsync-dry-run.txt");
    const VERSION: &str = include_str!("../../../tests/data/outputs/rsync-version.txt");

    #[test]
    fn a_real_run_is_read() {
        let (mut output, mut steps) = (Output::default(), Vec::new());
        for piece in PROGRESS.as_bytes().chunks(7) {
            output.push(piece, |line| steps.extend(step(line)));
        }
        output.finish();

        let stats =
            Stats { files: 2, bytes: 600_000, total_bytes: 18_300_002, deleted: 1, changes: 7 };
        assert_eq!(output.stats, stats);
        let last = steps.last().unwrap();
        assert_eq!((last.bytes, last.percent, last.files), (600_000, 3, Some((65, 65))));
    }

    #[test]
    fn lines_of_progress_are_read_with_and_without_separators() {
        let line = "    159,219,712  29%  151.81MB/s    0:01:02  ";
        let expected = Step {
            bytes: 159_219_712,
            percent: 29,
            rate: "151.81MB/s".into(),
            seconds: 62,
            files: None,
        };
        assert_eq!(step(line), Some(expected));
        assert_eq!(
            step("  1200000   6%   10.81MB/s    1:00:00 (xfr#4, ir-chk=1058/2065)").unwrap().files,
            Some((1007, 2065))
        );
        assert_eq!(step("Number of files: 65"), None);
    }

    #[test]
    fn a_dry_run_of_another_version_is_read_too() {
        let mut output = Output::keeping(2);
        for line in DRY.lines() {
            // As `--out-format` marks them.
            let item = line.starts_with(['>', '<', 'c', 'h', '.', '*']);
            output.push(format!("{}{line}\n", if item { "@" } else { "" }).as_bytes(), |_| {});
        }
        assert_eq!((output.stats.files, output.stats.deleted, output.items.len()), (2, 1, 2));
        let mut old = Output::default();
        old.push(b"Number of files transferred: 1,234\nTotal file size: 5.678 bytes\n", |_| {});
        assert_eq!((old.stats.files, old.stats.total_bytes), (1234, 5678));
    }

    #[test]
    fn capabilities_are_read() {
        let able = Able::read(VERSION);
        assert_eq!(
            (able.version, able.acls, able.xattrs, able.hardlinks),
            ((3, 5), true, true, true)
        );
        let small = Able::read(
            "rsync  version 2.6.9  protocol version 29\nCapabilities: 64-bit files, socketpairs, hardlinks, no ACLs,\n    no xattrs, iconv\n",
        );
        assert_eq!(
            (small.version, small.acls, small.xattrs, small.tells_progress()),
            ((2, 6), false, false, false)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..8), line in r"[ 0-9,.%:@()A-Za-z/#=-]{0,80}") {
            let mut output = Output::keeping(1);
            for piece in pieces {
                output.push(&piece, |_| {});
            }
            output.push(line.as_bytes(), |_| {});
            output.finish();
            Able::read(&line);
        }
    }
}
