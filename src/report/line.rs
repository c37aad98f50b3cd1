//! Lines of toned text: broken, cut and joined by what is seen, coloured last.

use std::fmt::Write;

use anstyle::{AnsiColor, Style as Ansi};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What a piece of text means, which decides how it looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// A heading.
    Strong,
    /// Said aside: durations, output, what is so already.
    Dim,
    /// It went well.
    Good,
    /// It went wrong.
    Bad,
    /// A command's standard error.
    Err,
    /// It needs attention.
    Warn,
    /// It tells, or asks.
    Info,
    /// Holds its own escape sequences, from a renderer of ours.
    Raw,
}

impl Tone {
    fn ansi(self) -> Ansi {
        let color = |color: AnsiColor| Ansi::new().fg_color(Some(color.into()));
        match self {
            Self::Plain | Self::Raw => Ansi::new(),
            Self::Strong => Ansi::new().bold(),
            Self::Dim => Ansi::new().dimmed(),
            Self::Good => color(AnsiColor::Green),
            Self::Bad => color(AnsiColor::Red).bold(),
            Self::Err => color(AnsiColor::Red).dimmed(),
            Self::Warn => color(AnsiColor::Yellow).bold(),
            Self::Info => color(AnsiColor::Cyan),
        }
    }
}

/// A line for the terminal, without its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(Vec<(Tone, String)>);

impl Line {
    /// An empty line.
    pub fn new() -> Self {
        Self::default()
    }

    /// A line that one of our renderers has coloured already.
    pub(super) fn raw(text: &str) -> Self {
        Self(vec![(Tone::Raw, text.to_owned())])
    }

    /// Adds text in a tone; what could move the cursor or recolour the terminal is taken out of it.
    #[must_use]
    pub fn with(mut self, tone: Tone, text: impl AsRef<str>) -> Self {
        self.push(tone, text.as_ref());
        self
    }

    pub(super) fn push(&mut self, tone: Tone, text: &str) {
        let text = clean(text);
        match self.0.last_mut() {
            Some((last, held)) if *last == tone => held.push_str(&text),
            _ if text.is_empty() => {}
            _ => self.0.push((tone, text)),
        }
    }

    /// Its pieces, to be put on another line.
    pub(super) fn pieces(&self) -> &[(Tone, String)] {
        &self.0
    }

    /// Returns whether nothing is on it.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, text)| text.is_empty())
    }

    /// Returns the columns that it takes.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.width()).sum()
    }

    /// Returns it for the terminal, with ANSI colours if wanted.
    pub fn render(&self, color: bool) -> String {
        let mut out = String::new();
        for (tone, text) in &self.0 {
            let ansi = tone.ansi();
            if color && ansi != Ansi::new() {
                let _infallible = write!(out, "{ansi}{text}{ansi:#}");
            } else {
                out.push_str(text);
            }
        }
        out.truncate(out.trim_end_matches(' ').len());
        out
    }

    /// Shortens it to `width` columns.
    #[must_use]
    pub(super) fn cut(self, width: usize, ellipsis: &str) -> Self {
        if self.width() <= width {
            return self;
        }
        let room = width.saturating_sub(ellipsis.width());
        let (mut used, mut out) = (0, Self::new());
        for (tone, text) in self.0 {
            let kept = fitting(&text, room - used);
            used += text[..kept].width();
            let whole = kept == text.len();
            out.push(tone, &text[..kept]);
            if !whole {
                break;
            }
        }
        out.with(Tone::Dim, ellipsis)
    }

    /// Breaks it at words into lines of up to `width` columns; all but the first are indented.
    pub(super) fn wrap(self, width: usize, indent: usize) -> Vec<Self> {
        if self.width() <= width {
            return vec![self];
        }
        let (mut lines, mut line, mut used) = (Vec::new(), Self::new(), 0);
        for (tone, text) in self.0 {
            for word in text.split_inclusive(' ') {
                let mut word = word;
                if used + word.trim_end().width() > width && used > indent {
                    lines.push(std::mem::take(&mut line));
                    line.push(Tone::Plain, &" ".repeat(indent));
                    used = indent;
                    word = word.trim_start();
                }
                // A word that no line can hold is broken anywhere.
                while used + word.trim_end().width() > width {
                    let kept = fitting(word, width.saturating_sub(used)).max(first_len(word));
                    line.push(tone, &word[..kept]);
                    lines.push(std::mem::take(&mut line));
                    line.push(Tone::Plain, &" ".repeat(indent));
                    used = indent;
                    word = &word[kept..];
                }
                line.push(tone, word);
                used += word.width();
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
        lines
    }

    /// Puts `right` at the end of the line that reaches `edge`; on a line that is too long it follows the text.
    #[must_use]
    pub(super) fn right(mut self, right: Option<String>, edge: usize) -> Self {
        if let Some(right) = right.filter(|right| !right.is_empty()) {
            let gap = edge.saturating_sub(self.width() + right.width()).max(2);
            self.push(Tone::Plain, &" ".repeat(gap));
            self.push(Tone::Dim, &right);
        }
        self
    }
}

/// Returns lines as one text.
pub fn text_of(lines: &[Line], color: bool) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        text.push_str(&line.render(color));
        text.push('\n');
        text
    })
}

fn first_len(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// Returns how many bytes of `text` fit into `width` columns.
fn fitting(text: &str, width: usize) -> usize {
    let mut used = 0;
    text.char_indices()
        .find(|(_, char)| {
            used += char.width().unwrap_or(0);
            used > width
        })
        .map_or(text.len(), |(at, _)| at)
}

/// Takes everything out of foreign text that would move the cursor, recolour the terminal or reorder what is read.
/// Of a line that overwrites itself with carriage returns the last state stays.
pub(super) fn clean(text: &str) -> String {
    let plain = |char: char| !char.is_control() && !is_bidi(char);
    if text.chars().all(plain) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.trim_end_matches('\r').chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\x1b' => skip_sequence(&mut chars),
            '\r' => out.clear(),
            '\t' => out.push_str("    "),
            '\n' => out.push(' '),
            '\x08' => {
                out.pop();
            }
            char if plain(char) => out.push(char),
            _ => {}
        }
    }
    out
}

fn is_bidi(char: char) -> bool {
    matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

fn skip_sequence(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => while chars.next().is_some_and(|char| !('@'..='~').contains(&char)) {},
        // An operating system command: up to BEL, or ESC and a backslash.
        Some(']' | 'P' | '_' | '^' | 'X') => {
            while let Some(char) = chars.next() {
                if char == '\x07' {
                    break;
                }
                if char == '\x1b' {
                    chars.next();
                    break;
                }
            }
        }
        Some('(' | ')' | '#' | '%') => {
            chars.next();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        for (given, expected) in [
            ("\x1b[31mred\x1b[0m", "red"),
            ("\x1b]0;title\x07x", "x"),
            ("\x1b]8;;http://a\x1b\\link", "link"),
            (" 10%\r 50%\r100%\r", "100%"),
            ("a\tb", "a    b"),
            ("abc\x08d", "abd"),
            ("\u{202e}evil\u{202c}", "evil"),
            ("bell\x07 \x1b", "bell "),
            ("Grüße", "Grüße"),
        ] {
            assert_eq!(clean(given), expected, "{given:?}");
        }
    }

    #[test]
    fn long_lines_break_at_words_and_long_words_anywhere() {
        let line =
            Line::new().with(Tone::Plain, "  copy ").with(Tone::Dim, "one two three fourteen");
        let text = text_of(&line.wrap(14, 4), false);
        assert_eq!(text, "  copy one two\n    three\n    fourteen\n");

        let line = Line::new().with(Tone::Plain, "0123456789abcdef");
        assert_eq!(text_of(&line.wrap(10, 2), false), "0123456789\n  abcdef\n");
    }

    #[test]
    fn a_cut_line_has_exactly_the_room_and_never_half_a_character() {
        let line = Line::new().with(Tone::Plain, "日本").with(Tone::Bad, "語テキスト");
        let cut = line.cut(8, "…");
        assert_eq!((cut.render(false).as_str(), cut.width()), ("日本語…", 7));
    }

    #[test]
    fn colour_is_the_last_thing() {
        let line = Line::new().with(Tone::Good, "✓").with(Tone::Plain, " done");
        assert_eq!(line.render(true), "\u{1b}[32m✓\u{1b}[0m done");
        assert_eq!(line.render(false), "✓ done");
    }
}
