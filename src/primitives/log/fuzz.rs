//! A log on a target that answers whatever it likes.

use std::time::{Duration, Instant};

use super::follower::{Follower, Request};
use super::lines::{LONGEST, Line};
use super::poll::{Answer, Read};
use super::segment::{Position, Print};
use super::source::Source;

/// The first byte says which log is followed from where, the others are answers, each with its length in two bytes before
/// it. Nothing is told that was not answered.
///
/// # Panics
/// If that does not hold.
pub fn fuzz(bytes: &[u8]) {
    let Some((first, mut rest)) = bytes.split_first() else { return };
    let template = if first & 1 == 0 { "/l/app.log" } else { "/l/{date:%Y-%m-%d}.log" };
    let Ok(source) = Source::parse(template) else { return };
    let position = if first & 2 == 0 {
        Position::default()
    } else {
        let print = Print::of(b"0123456789abcdef");
        let path = Some("/l/app.log".to_owned());
        Position { path, inode: "1".to_owned(), offset: 16, print, ..Position::default() }
    };
    let mut follower = Follower::new(source, &position);
    let mut now = Instant::now();
    let mut told = 0;
    let mut sink = |line: Line<'_>| {
        assert!(line.bytes.len() <= LONGEST);
        told += if line.whole { line.bytes.len() } else { 0 };
    };
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (answer, after) = after.split_at(length);
        rest = after;
        now += Duration::from_millis(400);
        match follower.request(now) {
            Request::Poll(poll) => {
                let start = poll.read.as_ref().map(Read::start).unwrap_or_default();
                follower.accept(&Answer::parse(answer, start), now, &mut sink);
            }
            Request::Search { candidates, .. } => {
                let found = answer.first().and_then(|index| candidates.get(usize::from(*index)));
                follower.found(found.map(String::as_str), &mut sink);
            }
            Request::Unpack { .. } => {
                follower.unpacked(answer, now, &mut sink);
                follower.unpack_ended(&mut sink);
            }
        }
        follower.warnings();
        follower.path();
    }
    assert!(told <= bytes.len(), "{told} bytes were told of {}", bytes.len());
}
