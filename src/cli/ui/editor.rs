//! What keys do to a line that is being typed: a state machine without I/O.

use zeroize::Zeroizing;

/// What comes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// The line goes on; this is to be shown for it.
    Show(String),
    /// The line is complete.
    Enter,
    /// It was given up.
    GivenUp,
}

/// A line that is being typed.
#[derive(Debug, Default)]
pub(super) struct Editor {
    text: Zeroizing<String>,
    /// Bytes of a character that is not complete.
    partial: Vec<u8>,
    escape: Escape,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Began,
    Sequence,
}

impl Editor {
    /// Returns what was typed.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Takes a byte from the terminal.
    pub(super) fn key(&mut self, byte: u8) -> Key {
        match self.escape {
            Escape::Began => {
                self.escape =
                    if matches!(byte, b'[' | b'O') { Escape::Sequence } else { Escape::None };
                return Key::Show(String::new());
            }
            Escape::Sequence => {
                if (0x40..=0x7e).contains(&byte) {
                    self.escape = Escape::None;
                }
                return Key::Show(String::new());
            }
            Escape::None => {}
        }
        match byte {
            b'\r' | b'\n' => Key::Enter,
            0x03 => Key::GivenUp,
            0x04 if self.text.is_empty() => Key::GivenUp,
            0x08 | 0x7f => Key::Show(self.erase(1)),
            0x15 => Key::Show(self.erase(usize::MAX)),
            0x17 => {
                let kept = self.text.trim_end().rfind(' ').map_or(0, |at| at + 1);
                Key::Show(self.erase(self.text[kept..].chars().count()))
            }
            0x1b => {
                self.escape = Escape::Began;
                Key::Show(String::new())
            }
            byte if byte.is_ascii_control() => Key::Show(String::new()),
            byte => Key::Show(self.add(byte)),
        }
    }

    fn add(&mut self, byte: u8) -> String {
        self.partial.push(byte);
        match std::str::from_utf8(&self.partial) {
            Ok(text) => {
                let text = text.to_owned();
                self.partial.clear();
                self.text.push_str(&text);
                text
            }
            Err(error) if error.error_len().is_some() || self.partial.len() > 4 => {
                self.partial.clear();
                String::new()
            }
            Err(_) => String::new(),
        }
    }

    fn erase(&mut self, characters: usize) -> String {
        use unicode_width::UnicodeWidthChar;
        let mut shown = String::new();
        for _ in 0..characters {
            let Some(char) = self.text.pop() else { break };
            shown.push_str(&"\u{8} \u{8}".repeat(char.width().unwrap_or(0)));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> (String, Key) {
        let mut editor = Editor::default();
        let last = keys.iter().map(|key| editor.key(*key)).last().unwrap();
        (editor.text().to_owned(), last)
    }

    #[test]
    fn keys_do_what_they_do_everywhere() {
        for (keys, text) in [
            (&b"abc\x7f\r"[..], "ab"),
            (b"one two\x17\r", "one "),
            (b"gone\x15new\r", "new"),
            (b"a\x1b[Db\x1bOAc\r", "abc"),
            ("Grüße\x7f\x7f\x7f日\r".as_bytes(), "Gr日"),
            (b"a\xffb\x00\t\r", "ab"),
            (b"\x7f\x7fx\r", "x"),
        ] {
            assert_eq!(typed(keys), (text.to_owned(), Key::Enter), "{keys:?}");
        }
    }

    #[test]
    fn ctrl_c_gives_up_and_ctrl_d_only_on_an_empty_line() {
        assert_eq!(typed(b"abc\x03").1, Key::GivenUp);
        assert_eq!(typed(b"\x04").1, Key::GivenUp);
        assert_eq!(typed(b"abc\x04").1, Key::Show(String::new()));
    }

    #[test]
    fn erasing_takes_the_columns_of_the_character() {
        let mut editor = Editor::default();
        for byte in "日".bytes() {
            editor.key(byte);
        }
        assert_eq!(editor.key(0x7f), Key::Show("\u{8} \u{8}\u{8} \u{8}".to_owned()));
    }
}
