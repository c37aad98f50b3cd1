//! What is wrong with a configuration file: where, what was expected, and the line with a caret. A line that may hold a
//! secret is shown with the value blotted out.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use super::looks_secret;

/// The longest line that is shown whole.
const WIDTH: usize = 120;

/// One thing that is wrong with a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 if the file as a whole is meant.
    pub line: usize,
    /// The column in characters, from 1; 0 if the file as a whole is meant.
    pub column: usize,
    /// The path of the key, such as `targets.obs1.port`; empty if none is known.
    pub key: String,
    /// What is wrong, as a fragment.
    pub message: String,
    /// What to do about it, as a sentence.
    pub hint: Option<String>,
    /// The line as it may be shown, and the carets below it.
    excerpt: Option<(String, String)>,
}

impl ConfigError {
    /// Makes an error about a file as a whole.
    pub(super) fn whole(file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: 0,
            column: 0,
            key: String::new(),
            message: message.into(),
            hint: None,
            excerpt: None,
        }
    }

    /// Makes an error about the bytes `span` of `text`.
    pub(super) fn at(
        file: impl Into<PathBuf>,
        text: &str,
        span: Range<usize>,
        key: &str,
        message: impl Into<String>,
    ) -> Self {
        let start = floor(text, span.start);
        let begin = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[begin..end].trim_end_matches('\r');
        let offset = (start - begin).min(line.len());
        let until = floor(text, span.end.max(start)).saturating_sub(begin).min(line.len());
        Self {
            file: file.into(),
            line: text[..begin].matches('\n').count() + 1,
            column: line[..offset].chars().count() + 1,
            key: key.to_owned(),
            message: message.into(),
            hint: None,
            excerpt: Some(excerpt(line, offset..until.max(offset))),
        }
    }

    /// Takes the line out: it may hold a secret in a form that is not known here.
    #[must_use]
    pub(super) fn without_excerpt(mut self) -> Self {
        self.excerpt = None;
        self
    }

    /// Names the key.
    #[must_use]
    pub(super) fn with_key(mut self, key: &str) -> Self {
        key.clone_into(&mut self.key);
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub(super) fn with_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// Renders the error as rustc would: message, place, the line with a caret, what to do.
    pub fn render(&self) -> String {
        let gutter = " ".repeat(self.line.to_string().len());
        let file = self.file.display();
        let mut lines = vec![format!("error: {}", self.message)];
        match &self.excerpt {
            Some((line, carets)) => lines.extend([
                format!("{gutter}--> {file}:{}:{}", self.line, self.column),
                format!("{gutter} |"),
                format!("{} | {line}", self.line),
                format!("{gutter} | {carets}"),
            ]),
            None if self.line > 0 => {
                lines.push(format!("{gutter}--> {file}:{}:{}", self.line, self.column));
            }
            None => lines.push(format!("{gutter}--> {file}")),
        }
        if let Some(hint) = &self.hint {
            lines.push(format!("{gutter} = help: {hint}"));
        }
        lines.join("\n") + "\n"
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

/// All that is wrong with the configuration, in the order of the files and lines. `Display` renders it whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rendered: Vec<String> = self.0.iter().map(ConfigError::render).collect();
        f.write_str(rendered.join("\n").trim_end())
    }
}

impl std::error::Error for ConfigErrors {}

fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Returns the line as it may be shown, and the carets under `span`.
fn excerpt(line: &str, span: Range<usize>) -> (String, String) {
    let masks = secrets_in(line);
    let (mut shown, mut carets) = (Vec::new(), Vec::new());
    for (at, character) in line.char_indices() {
        let marked = span.contains(&at) || (span.is_empty() && span.start == at);
        match masks.iter().find(|mask| mask.contains(&at)) {
            Some(mask) if mask.start == at => {
                let marked = mask.start < span.end && span.start < mask.end;
                shown.extend("\"…\"".chars());
                carets.extend([marked; 3]);
            }
            Some(_) => {}
            None => {
                shown.push(if character.is_control() { ' ' } else { character });
                carets.push(marked);
            }
        }
    }
    if !carets.contains(&true) {
        shown.push(' ');
        carets.push(true);
    }
    let first = carets.iter().position(|marked| *marked).unwrap_or(0);
    let from = if shown.len() > WIDTH { first.saturating_sub(WIDTH / 3) } else { 0 };
    let to = shown.len().min(from + WIDTH);
    let mut text: String = shown[from..to].iter().collect();
    let mut under: String =
        carets[from..to].iter().map(|marked| if *marked { '^' } else { ' ' }).collect();
    if from > 0 {
        text.insert(0, '…');
        under.insert(0, ' ');
    }
    if to < shown.len() {
        text.push('…');
    }
    (text.trim_end().to_owned(), under.trim_end().to_owned())
}

/// Returns the values in a line, from their quotes on, that stand where a secret would, references excepted. Works on
/// text that is no TOML: a line with a syntax error must not show its password either.
fn secrets_in(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(equals) = line[from..].find('=').map(|at| from + at) {
        from = equals + 1;
        let key = line[..equals].trim_end().trim_end_matches(['"', '\'']);
        let word = key
            .char_indices()
            .rev()
            .find(|(_, c)| !c.is_alphanumeric() && *c != '_' && *c != '-')
            .map_or(0, |(at, c)| at + c.len_utf8());
        if !looks_secret(&key[word..]) {
            continue;
        }
        let value = equals + 1 + (line[equals + 1..].len() - line[equals + 1..].trim_start().len());
        let rest = &line[value..];
        let end = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => closing(rest, quote).unwrap_or(rest.len()),
            // Whatever stands in a list or table there, none of it is shown.
            Some('{' | '[') => rest.len(),
            None => continue,
            Some(_) => rest.find([',', '}', '#']).unwrap_or(rest.len()),
        };
        let text = rest[..end].trim_matches(['"', '\'']);
        if super::Reference::parse(text).is_err() && !matches!(text.trim(), "true" | "false") {
            found.push(value..value + end);
        }
        from = value + end;
    }
    found
}

fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            // Three in a row open a text of several lines: all of the rest is its content.
            _ if character == quote => {
                return (at > 1 || !text[2..].starts_with(quote)).then_some(at + 1);
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        excerpt(line, 0..1).0
    }

    #[test]
    fn an_excerpt_never_shows_a_secret() {
        for line in [
            "password = \"hunter2\"",
            "password = 'hunter2",
            "password = hunter2",
            "  password=\"\"\"hunter2",
            "\"sudo_password\" = \"hun\\\"hunter2\"",
            "sudo = { user = \"x\", password = \"hunter2\" }",
            "[x]\tapi-token = \"hunter2\", a = 1",
            "sudo.password = \"hunter2\"",
            "password = [\"a\", \"hunter2\"]",
            "password = { a = { b = \"hunter2\" } }",
            "übel.passphrase = \"hunter2\"",
        ] {
            assert!(!shown(line).contains("hunter2"), "{}", shown(line));
        }
        assert_eq!(shown("password = \"env:PW\" # fine"), "password = \"env:PW\" # fine");
        assert_eq!(shown("password = \"s\", user = 7"), "password = \"…\", user = 7");
        assert_eq!(shown("password_file = \"/a\""), "password_file = \"/a\"");
    }

    #[test]
    fn carets_stand_below_what_they_mark() {
        let line = "password = \"hunter2 is long\", user = 7";
        let at = line.find('7').unwrap();

        assert_eq!(excerpt(line, at..at + 1).1, format!("{}^", " ".repeat(23)));
        assert_eq!(excerpt("é = 1", 5..6).1, "    ^");
        assert_eq!(excerpt("abc", 3..3).1, "   ^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let line = format!("{}X{}", "a".repeat(500), "b".repeat(500));

        let (text, carets) = excerpt(&line, 500..501);

        assert!(text.chars().count() <= WIDTH + 2);
        let at = carets.chars().count() - 1;
        assert_eq!(text.chars().nth(at), Some('X'));
    }
}
