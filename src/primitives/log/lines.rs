//! Bytes into lines.

use std::time::{Duration, Instant};

/// The longest line; a longer one is cut into pieces of this size, so that a file without line ends does not grow us.
pub(super) const LONGEST: usize = 1 << 20;
/// How long the begin of a line waits for its end before it is looked at as it is.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// A line, or the begin of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The bytes, without the line end.
    pub(super) bytes: &'a [u8],
    /// Whether it is complete. A begin may come again, longer.
    pub(super) whole: bool,
    /// The file that it is in.
    pub(super) path: &'a str,
}

/// Called with each line.
pub(super) type Sink<'a> = &'a mut dyn FnMut(Line<'_>);

/// Cuts one file into lines.
#[derive(Clone, Debug, Default)]
pub(super) struct Cutter {
    partial: Vec<u8>,
    grown: Option<Instant>,
    told: bool,
}

impl Cutter {
    /// Adds bytes; how they are split does not matter.
    pub(super) fn push(&mut self, mut bytes: &[u8], path: &str, now: Instant, sink: Sink<'_>) {
        if bytes.is_empty() {
            return;
        }
        (self.grown, self.told) = (Some(now), false);
        while !bytes.is_empty() {
            let room = LONGEST - self.partial.len();
            let window = &bytes[..bytes.len().min(room)];
            match window.iter().position(|byte| *byte == b'\n') {
                Some(end) if self.partial.is_empty() => {
                    sink(Line { bytes: trim(&window[..end]), whole: true, path });
                    bytes = &bytes[end + 1..];
                }
                Some(end) => {
                    self.partial.extend_from_slice(&window[..end]);
                    self.flush(path, sink);
                    bytes = &bytes[end + 1..];
                }
                None => {
                    self.partial.extend_from_slice(window);
                    bytes = &bytes[window.len()..];
                    if self.partial.len() == LONGEST {
                        self.flush(path, sink);
                    }
                }
            }
        }
    }

    /// Returns whether a line has begun and may still get its end.
    pub(super) fn hopes(&self, now: Instant) -> bool {
        !self.partial.is_empty()
            && self.grown.is_some_and(|grown| now.saturating_duration_since(grown) < PATIENCE)
    }

    /// Shows the begin of a line that has waited long enough for its end. It stays, in case the end comes.
    pub(super) fn show(&mut self, path: &str, now: Instant, sink: Sink<'_>) {
        if !self.partial.is_empty() && !self.told && !self.hopes(now) {
            self.told = true;
            sink(Line { bytes: trim(&self.partial), whole: false, path });
        }
    }

    /// Takes the begin of a line as the whole: its end will not come.
    pub(super) fn flush(&mut self, path: &str, sink: Sink<'_>) {
        if !self.partial.is_empty() {
            sink(Line { bytes: trim(&self.partial), whole: true, path });
            self.partial.clear();
        }
    }
}

fn trim(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut cutter, mut lines) = (Cutter::default(), Vec::new());
        let mut sink = |line: Line<'_>| lines.push(line.bytes.to_vec());
        for piece in pieces {
            cutter.push(piece, "/l", Instant::now(), &mut sink);
        }
        cutter.flush("/l", &mut sink);
        lines
    }

    #[test]
    fn bytes_that_are_not_text_do_not_disturb() {
        assert_eq!(cut(&[b"a\0b\xff\r\n\n", b"c"]), [&b"a\0b\xff"[..], b"", b"c"]);
    }

    #[test]
    fn a_line_without_end_is_cut_into_pieces() {
        let long = vec![b'x'; LONGEST * 2 + 10];

        let lengths: Vec<usize> =
            cut(&[&long[..700_000], &long[700_000..]]).iter().map(Vec::len).collect();

        assert_eq!(lengths, [LONGEST, LONGEST, 10]);
    }

    #[test]
    fn the_begin_of_a_line_is_shown_once_after_a_second() {
        let (mut cutter, mut seen) = (Cutter::default(), Vec::new());
        let mut sink = |line: Line<'_>| seen.push((line.bytes.to_vec(), line.whole));
        let now = Instant::now();

        cutter.push(b"half", "/l", now, &mut sink);
        cutter.show("/l", now, &mut sink);
        cutter.show("/l", now + PATIENCE, &mut sink);
        cutter.show("/l", now + PATIENCE * 2, &mut sink);
        cutter.push(b" whole\n", "/l", now + PATIENCE * 3, &mut sink);

        assert_eq!(seen, [(b"half".to_vec(), false), (b"half whole".to_vec(), true)]);
    }

    proptest! {
        #[test]
        fn how_bytes_are_split_does_not_matter(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..400),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();

            prop_assert_eq!(cut(&pieces), cut(&[&bytes]));
        }
    }
}
