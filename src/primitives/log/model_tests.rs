//! The follower against a model of a directory: whatever is appended, rotated, compressed or created, each line comes
//! once and, within its file, in order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::follower::{Follower, Request, Step};
use super::lines::{LONGEST, Line};
use super::poll::{Answer, Chunk, Entry, Poll};
use super::segment::{Position, Print};
use super::source::{Source, is_packed};

#[derive(Clone, Debug)]
struct Inode {
    number: u64,
    bytes: Vec<u8>,
    changed: u64,
}

/// A directory, and a writer that may hold a file open that was renamed.
#[derive(Debug, Default)]
struct Disk {
    files: BTreeMap<String, Inode>,
    inodes: u64,
    clock: u64,
    written: u64,
    day: u32,
    /// The name of the file that the writer holds open.
    open: Option<String>,
    /// The line that is half written.
    half: Option<String>,
    lines: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Writes whole lines.
    Append(u8),
    /// Writes the first half of a line; the next write completes it.
    Half,
    /// Renames `.1` to `.2` and so on, and the file to `.1`. The writer keeps it open.
    Rename,
    /// The writer opens the name anew.
    Reopen,
    /// Rename and reopen.
    Rotate,
    /// Compresses the oldest.
    Pack,
    /// The day changes.
    Midnight,
    /// Copies to `.1` and truncates.
    CopyTruncate,
    /// One request of the follower is answered.
    Look,
    /// One is answered while the log goes on in the middle of the list: a line, the next file, and another line.
    TornLook,
}

const NAME: &str = "/l/app.log";

impl Disk {
    fn name(&self, dated: bool) -> String {
        if dated {
            format!("/l/2026-{:02}-{:02}.log", 1 + self.day / 28, 1 + self.day % 28)
        } else {
            NAME.to_owned()
        }
    }

    fn create(&mut self, path: &str) {
        self.inodes += 1;
        let inode = Inode { number: self.inodes, bytes: Vec::new(), changed: self.clock };
        self.files.insert(path.to_owned(), inode);
    }

    fn write(&mut self, text: &str, dated: bool) {
        self.clock += 1;
        let path = self.open.clone().unwrap_or_else(|| self.name(dated));
        if !self.files.contains_key(&path) {
            self.create(&path);
        }
        self.open = Some(path.clone());
        let clock = self.clock;
        let inode = self.files.get_mut(&path).unwrap();
        inode.bytes.extend_from_slice(text.as_bytes());
        inode.changed = clock;
    }

    fn finish_half(&mut self, dated: bool) {
        if let Some(line) = self.half.take() {
            self.write(" and its end\n", dated);
            self.lines.push(format!("{line} and its end"));
        }
    }

    fn apply(&mut self, op: Op, dated: bool) {
        match op {
            Op::Append(count) => {
                self.finish_half(dated);
                for _ in 0..count {
                    self.written += 1;
                    // Long enough to be recognised, short enough to be cheap.
                    let line = format!("line {:05}", self.written);
                    self.write(&format!("{line}\n"), dated);
                    self.lines.push(line);
                }
            }
            Op::Half => {
                self.finish_half(dated);
                self.written += 1;
                let line = format!("half {:05}", self.written);
                self.write(&line, dated);
                self.half = Some(line);
            }
            Op::Rename if !dated && self.files.contains_key(NAME) => {
                for age in (1..30).rev() {
                    for ending in ["", ".gz"] {
                        let from = format!("{NAME}.{age}{ending}");
                        self.rename(&from, &format!("{NAME}.{}{ending}", age + 1));
                    }
                }
                self.rename(NAME, &format!("{NAME}.1"));
            }
            Op::Reopen => {
                self.finish_half(dated);
                self.open = None;
                if !dated && !self.files.contains_key(NAME) {
                    self.create(NAME);
                }
            }
            Op::Rotate => {
                self.apply(Op::Rename, dated);
                self.apply(Op::Reopen, dated);
            }
            Op::Pack => {
                let oldest = self
                    .files
                    .iter()
                    .filter(|(path, _)| !is_packed(path) && Some(*path) != self.open.as_ref())
                    .filter(|(path, _)| **path != self.name(dated))
                    .min_by_key(|(_, inode)| inode.changed)
                    .map(|(path, _)| path.clone());
                if let Some(path) = oldest {
                    let mut inode = self.files.remove(&path).unwrap();
                    self.inodes += 1;
                    inode.number = self.inodes;
                    self.files.insert(format!("{path}.gz"), inode);
                }
            }
            Op::Midnight if dated => {
                self.finish_half(dated);
                self.day += 1;
                self.open = None;
            }
            Op::CopyTruncate if !dated => {
                self.finish_half(dated);
                let Some(inode) = self.files.get(NAME).cloned() else { return };
                for age in (1..30).rev() {
                    self.rename(&format!("{NAME}.{age}"), &format!("{NAME}.{}", age + 1));
                }
                self.inodes += 1;
                self.files.insert(format!("{NAME}.1"), Inode { number: self.inodes, ..inode });
                self.files.get_mut(NAME).unwrap().bytes.clear();
            }
            Op::Rename | Op::Midnight | Op::CopyTruncate | Op::Look | Op::TornLook => {}
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        if let Some(inode) = self.files.remove(from) {
            if self.open.as_deref() == Some(from) {
                self.open = Some(to.to_owned());
            }
            self.files.insert(to.to_owned(), inode);
        }
    }

    fn list(&self, poll: &Poll, dated: bool) -> Answer {
        let mut entries: Vec<(u64, Entry)> = self
            .files
            .iter()
            .filter(|(path, _)| poll.watch.contains(path) || poll.wide && !dated)
            .map(|(path, inode)| {
                let entry = Entry {
                    inode: inode.number.to_string(),
                    size: inode.bytes.len() as u64,
                    path: path.clone(),
                    regular: true,
                };
                (inode.changed, entry)
            })
            .collect();
        entries.sort_by_key(|(changed, _)| *changed);
        let names: Vec<String> = self.files.keys().cloned().collect();
        let known = names.join(" ");
        Answer {
            names: (dated && known != poll.known).then_some((known, names)),
            entries: entries.into_iter().map(|(_, entry)| entry).collect(),
            ..Answer::default()
        }
    }

    fn read(&self, poll: &Poll) -> Option<Chunk> {
        let read = poll.read.as_ref()?;
        let inode = self.files.get(&read.path)?;
        let start = usize::try_from(read.start()).unwrap().min(inode.bytes.len());
        // A small piece, so that files take several polls.
        let end = (usize::try_from(read.from).unwrap() + 37).min(inode.bytes.len());
        Some(Chunk {
            inode: inode.number.to_string(),
            start: read.start(),
            bytes: inode.bytes[start..end.max(start)].to_vec(),
        })
    }
}

struct Watch {
    follower: Follower,
    now: Instant,
    lines: Vec<String>,
}

impl Watch {
    fn new(dated: bool, position: &Position) -> Self {
        let template = if dated { "/l/{date:%Y-%m-%d}.log" } else { NAME };
        let follower = Follower::new(Source::parse(template).unwrap(), position);
        Self { follower, now: Instant::now(), lines: Vec::new() }
    }

    /// Answers one request; `between` happens between the list and the read of a poll.
    fn look(&mut self, disk: &mut Disk, dated: bool, between: impl FnOnce(&mut Disk)) -> Step {
        self.answer(disk, dated, false, between)
    }

    fn answer(
        &mut self,
        disk: &mut Disk,
        dated: bool,
        torn: bool,
        between: impl FnOnce(&mut Disk),
    ) -> Step {
        self.now += Duration::from_millis(10);
        let mut sink = |line: Line<'_>| {
            if line.whole {
                self.lines.push(String::from_utf8(line.bytes.to_vec()).unwrap());
            }
        };
        match self.follower.request(self.now) {
            Request::Poll(poll) => {
                let mut answer = disk.list(&poll, dated);
                if torn {
                    disk.apply(Op::Append(1), dated);
                    disk.apply(if dated { Op::Midnight } else { Op::Rotate }, dated);
                    disk.apply(Op::Append(1), dated);
                    // What was listed first is as it was, the rest as it is.
                    let current = disk.name(dated);
                    let later = disk.list(&poll, dated);
                    answer.names = later.names;
                    answer.entries.retain(|entry| entry.path != current);
                    answer
                        .entries
                        .extend(later.entries.into_iter().filter(|entry| entry.path == current));
                }
                between(disk);
                answer.chunk = disk.read(&poll);
                self.follower.accept(&answer, self.now, &mut sink)
            }
            Request::Search { candidates, offset, print } => {
                between(disk);
                let end = usize::try_from(offset).unwrap();
                let found = candidates.iter().find(|path| {
                    disk.files.get(*path).is_some_and(|inode| {
                        inode.bytes.len() >= end && print.fits(&inode.bytes[..end])
                    })
                });
                self.follower.found(found.map(String::as_str), &mut sink);
                Step::More
            }
            Request::Unpack { path, from } => {
                if let Some(inode) = disk.files.get(&path) {
                    let from = usize::try_from(from).unwrap().min(inode.bytes.len());
                    for piece in inode.bytes[from..].chunks(11) {
                        self.follower.unpacked(piece, self.now, &mut sink);
                    }
                }
                self.follower.unpack_ended(&mut sink);
                between(disk);
                Step::More
            }
        }
    }

    fn drain(&mut self, disk: &mut Disk, dated: bool) {
        let mut looks = 0;
        let mut idle = 0;
        while idle < 3 {
            idle = if self.look(disk, dated, |_| {}) == Step::Idle { idle + 1 } else { 0 };
            looks += 1;
            assert!(looks < 5000, "it never comes to rest: {:?}", self.follower);
        }
    }
}

fn op(dated: bool, unseen: bool) -> BoxedStrategy<Op> {
    let (look, torn) = if unseen { (0, 0) } else { (6, 1) };
    if dated {
        prop_oneof![
            4 => (1..5_u8).prop_map(Op::Append),
            1 => Just(Op::Half),
            2 => Just(Op::Midnight),
            look => Just(Op::Look),
            torn => Just(Op::TornLook),
        ]
        .boxed()
    } else {
        prop_oneof![
            4 => (1..5_u8).prop_map(Op::Append),
            2 => Just(Op::Half),
            1 => Just(Op::Rename),
            1 => Just(Op::Reopen),
            2 => Just(Op::Rotate),
            look => Just(Op::Look),
            torn => Just(Op::TornLook),
        ]
        .boxed()
    }
}

/// Runs operations and looks; pairs of operations may happen within one look.
fn run(disk: &mut Disk, watch: &mut Watch, ops: &[Op], dated: bool) {
    let mut at = 0;
    while at < ops.len() {
        match (ops[at], ops.get(at + 1)) {
            (Op::Look, Some(&inner)) => {
                watch.look(disk, dated, |disk| disk.apply(inner, dated));
                at += 1;
            }
            (Op::TornLook, _) => {
                watch.answer(disk, dated, true, |_| {});
            }
            (Op::Look, None) => {
                watch.look(disk, dated, |_| {});
            }
            (op, _) => disk.apply(op, dated),
        }
        at += 1;
    }
    disk.finish_half(dated);
    watch.drain(disk, dated);
}

fn sorted(lines: &[String]) -> Vec<String> {
    let mut lines = lines.to_vec();
    lines.sort_by_key(|line| line[..10].to_owned());
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Lines come in the order in which they were written, each once, through renames under the reader's hands.
    #[test]
    fn renames_lose_and_repeat_nothing(ops in proptest::collection::vec(op(false, false), 0..60)) {
        let (mut disk, mut watch) = (Disk::default(), Watch::new(false, &Position::default()));

        run(&mut disk, &mut watch, &ops, false);

        prop_assert_eq!(&watch.lines, &disk.lines);
    }

    #[test]
    fn midnights_lose_and_repeat_nothing(ops in proptest::collection::vec(op(true, false), 0..60)) {
        let (mut disk, mut watch) = (Disk::default(), Watch::new(true, &Position::default()));

        run(&mut disk, &mut watch, &ops, true);

        prop_assert_eq!(&watch.lines, &disk.lines);
    }

    /// From a place that was known, through what happened while nobody looked: rotation and compression.
    #[test]
    fn what_happened_unseen_is_caught_up_with(
        dated in any::<bool>(),
        before in proptest::collection::vec(op(false, true), 1..10),
        after in proptest::collection::vec(op(false, true), 0..20),
        packs in 0..4_usize,
    ) {
        let mut disk = Disk::default();
        let turn = |op: &Op| if dated && matches!(op, Op::Rotate) { Op::Midnight } else { *op };
        disk.apply(Op::Append(4), dated);
        for op in &before {
            disk.apply(turn(op), dated);
        }
        disk.apply(Op::Append(4), dated);
        let position = place(&disk, dated);
        let Some(position) = position else { return Ok(()) };
        let known = disk.lines.len();

        for op in &after {
            disk.apply(turn(op), dated);
        }
        disk.apply(Op::Reopen, dated);
        (0..packs).for_each(|_| disk.apply(Op::Pack, dated));
        let mut watch = Watch::new(dated, &position);
        run(&mut disk, &mut watch, &[], dated);

        prop_assert_eq!(&watch.lines, &disk.lines[known..]);
    }

    /// Files that are compressed before they are read to their end are read on in the archive.
    #[test]
    fn compression_under_the_reader_loses_and_repeats_nothing(
        ops in proptest::collection::vec(
            prop_oneof![
                3 => (1..90_u8).prop_map(Op::Append),
                2 => Just(Op::Rotate),
                1 => Just(Op::Rename),
                2 => Just(Op::Pack),
                2 => Just(Op::Look),
            ],
            0..40,
        ),
    ) {
        let (mut disk, mut watch) = (Disk::default(), Watch::new(false, &Position::default()));
        for op in ops {
            // Names have to be known before they end in `.gz`; what is in the files need not be.
            let looks = if matches!(op, Op::Rotate | Op::Rename | Op::Pack) { 6 } else { 0 };
            for _ in 0..looks {
                watch.look(&mut disk, false, |_| {});
            }
            disk.apply(op, false);
            for _ in 0..looks {
                watch.look(&mut disk, false, |_| {});
            }
        }
        run(&mut disk, &mut watch, &[Op::Reopen], false);

        prop_assert_eq!(&watch.lines, &disk.lines);
    }

    /// With `copytruncate` nothing is lost or repeated as long as nothing is written between copy and truncation.
    #[test]
    fn truncations_with_a_copy_lose_and_repeat_nothing(
        ops in proptest::collection::vec(
            prop_oneof![3 => (1..5_u8).prop_map(Op::Append), 1 => Just(Op::CopyTruncate), 4 => Just(Op::Look)],
            0..40,
        ),
    ) {
        let mut disk = Disk::default();
        disk.apply(Op::Append(3), false);
        let position = place(&disk, false).unwrap();
        let known = disk.lines.len();
        let mut watch = Watch::new(false, &position);
        // A truncation is seen through if enough was read before it to recognise the copy.
        let mut quiet = Vec::new();
        for op in ops {
            if matches!(op, Op::CopyTruncate) {
                quiet.push(Op::Append(3));
                quiet.extend([Op::Look; 6]);
                quiet.extend([Op::Append(3), op]);
                quiet.extend([Op::Look; 12]);
            } else {
                quiet.push(op);
            }
        }

        for op in quiet {
            match op {
                Op::Look => { watch.look(&mut disk, false, |_| {}); }
                op => disk.apply(op, false),
            }
        }
        run(&mut disk, &mut watch, &[], false);

        prop_assert_eq!(sorted(&watch.lines), sorted(&disk.lines[known..]));
    }
}

/// Returns the place at the end of the log, as a mark has it; nothing if the writer still writes to a renamed file.
fn place(disk: &Disk, dated: bool) -> Option<Position> {
    let path = disk.name(dated);
    let inode = disk.files.get(&path)?;
    if disk.open.as_ref() != Some(&path) || disk.half.is_some() {
        return None;
    }
    let older = disk.files.iter().filter(|(name, _)| **name != path);
    Some(Position {
        inode: inode.number.to_string(),
        offset: inode.bytes.len() as u64,
        print: Print::of(&inode.bytes),
        older: older.map(|(_, inode)| inode.number.to_string()).collect(),
        path: Some(path),
        cursor: None,
    })
}

#[test]
fn a_long_file_is_read_in_pieces_with_a_line_across_them() {
    let mut watch = Watch::new(false, &Position::default());
    let line = format!("{}\n", "x".repeat(LONGEST / 3));
    let bytes = line.repeat(7).into_bytes();
    let mut looks = 0;
    loop {
        looks += 1;
        let Request::Poll(poll) = watch.follower.request(watch.now) else { panic!() };
        let entry =
            Entry { inode: "1".into(), size: bytes.len() as u64, path: NAME.into(), regular: true };
        let chunk = poll.read.map(|read| {
            let start = usize::try_from(read.start()).unwrap();
            let end = (start + LONGEST + 8192).min(bytes.len());
            Chunk { inode: "1".into(), start: read.start(), bytes: bytes[start..end].to_vec() }
        });
        let answer = Answer { entries: vec![entry], chunk, ..Answer::default() };
        let mut sink = |line: Line<'_>| watch.lines.push(line.bytes.len().to_string());
        if watch.follower.accept(&answer, watch.now, &mut sink) == Step::Idle {
            break;
        }
        assert!(looks < 20);
    }

    assert_eq!(watch.lines, vec![(LONGEST / 3).to_string(); 7]);
}
