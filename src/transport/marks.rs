//! Lines that our own shell texts say on a stream that carries the output of a command as well. Each begins with a mark
//! that nobody can guess.

use std::io::Read;

/// The longest line that is waited for.
const LONGEST: usize = 64 << 10;
/// How much is kept of a line, and of how many lines: the target knows the mark, and may say what it likes.
const KEPT_LINE: usize = 4 << 10;
const KEPT_LINES: usize = 8;

/// Makes a new mark.
pub(super) fn mark() -> std::io::Result<String> {
    random().map(|random| format!("\u{1e}uh-{random}"))
}

/// Returns 32 hexadecimal digits that nobody can guess.
pub(super) fn random() -> std::io::Result<String> {
    let mut random = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(random)))
}

/// Takes the marked lines out of a stream, wherever the pieces are cut.
#[derive(Debug)]
pub(super) struct Marks {
    mark: Vec<u8>,
    /// The beginning of what may become a marked line.
    held: Vec<u8>,
    said: Vec<String>,
}

impl Marks {
    pub(super) fn new(mark: &str) -> Self {
        Self { mark: mark.as_bytes().to_vec(), held: Vec::new(), said: Vec::new() }
    }

    /// Returns what the marked lines said, in their order.
    pub(super) fn said(&self) -> &[String] {
        &self.said
    }

    /// Returns the status, once the end was said.
    pub(super) fn end(&self) -> Option<i32> {
        self.said.last()?.strip_prefix("end ")?.parse().ok()
    }

    /// Takes a piece; returns what of it belongs to the command. After the end, nothing does.
    pub(super) fn pass(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let mut bytes = if self.held.is_empty() {
            bytes
        } else {
            let mut joined = std::mem::take(&mut self.held);
            joined.extend_from_slice(&bytes);
            joined
        };
        let mut passed = Vec::new();
        loop {
            if self.end().is_some() {
                return passed;
            }
            let Some(start) = self.find(&bytes) else { break };
            let end = start + self.mark.len();
            let after = &bytes[end..];
            let Some(length) = after.iter().position(|byte| *byte == b'\n') else {
                if after.len() > LONGEST {
                    // Not from our script.
                    passed.append(&mut bytes);
                    return passed;
                }
                self.held = bytes.split_off(start);
                passed.append(&mut bytes);
                return passed;
            };
            // The first lines count, and the last.
            self.said.truncate(KEPT_LINES - 1);
            let line = &after[..length.min(KEPT_LINE)];
            self.said.push(String::from_utf8_lossy(line).trim().to_owned());
            let rest = bytes.split_off(end + length + 1);
            passed.extend_from_slice(&bytes[..start]);
            bytes = rest;
        }
        // The mark may have been cut in the middle.
        let longest = self.mark.len().min(bytes.len() + 1) - 1;
        let cut = (1..=longest).rev().find(|length| bytes.ends_with(&self.mark[..*length]));
        self.held = bytes.split_off(bytes.len() - cut.unwrap_or(0));
        if passed.is_empty() {
            return bytes;
        }
        passed.append(&mut bytes);
        passed
    }

    /// Returns where the mark begins. Its first byte is one that hardly any output has.
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        let first = *self.mark.first()?;
        let mut from = 0;
        loop {
            let at = from + bytes[from..].iter().position(|byte| *byte == first)?;
            if bytes[at..].starts_with(&self.mark) {
                return Some(at);
            }
            from = at + 1;
        }
    }

    /// Returns what was held back and did not become a marked line.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn marked_lines_are_taken_out() {
        let mut marks = Marks::new("\u{1e}uh-1");
        assert_eq!(marks.pass(b"motd\n\x1euh-1 42\nhello".to_vec()), b"motd\nhello");
        assert_eq!(marks.said, ["42"]);
        assert_eq!(marks.pass(b" \x1euh".to_vec()), b" ");
        assert_eq!(marks.pass(b"-2\x1eu".to_vec()), b"\x1euh-2");
        assert_eq!(marks.pass(b"h-1 end 3\nlate".to_vec()), b"");
        assert_eq!(marks.end(), Some(3));
        assert_eq!(marks.pass(b"later".to_vec()), b"");
    }

    #[test]
    fn a_target_cannot_make_us_keep_what_it_says_without_end() {
        let mut marks = Marks::new("\u{1e}uh-1");
        marks.pass(b"\x1euh-1 first\n".to_vec());
        for _ in 0..1000 {
            marks.pass([b"\x1euh-1 ".to_vec(), vec![b'x'; 60_000], b"\n".to_vec()].concat());
        }
        marks.pass(b"\x1euh-1 end 3\n".to_vec());

        assert_eq!((marks.said()[0].as_str(), marks.end()), ("first", Some(3)));
        assert!(marks.said().len() <= KEPT_LINES);
        assert!(marks.said().iter().all(|line| line.len() <= KEPT_LINE));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(before in prop::collection::vec(any::<u8>(), 0..40), cuts in prop::collection::vec(1usize..8, 0..30)) {
            let mut whole = before.clone();
            whole.extend_from_slice(b"\x1euh-77777777777 9\n");
            whole.extend_from_slice(&before);
            whole.extend_from_slice(b"\x1euh-77777777777 end 0\nrest");
            let mut marks = Marks::new("\u{1e}uh-77777777777");
            let mut seen = Vec::new();
            let mut rest = &whole[..];
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                seen.extend(marks.pass(piece.to_vec()));
                rest = after;
            }
            seen.extend(marks.pass(rest.to_vec()));
            prop_assert_eq!(seen, [before.clone(), before].concat());
            prop_assert_eq!(marks.end(), Some(0));
        }
    }
}
