//! A configuration file as a tree that knows where each part stands, and the merging of several.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;

/// Deeper than any configuration; deeper trees would cost stack.
pub(super) const DEEPEST: usize = 32;
/// The largest file that is read.
pub(super) const LARGEST: u64 = 4 << 20;

/// A file or an answer that was read.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Its path, as shown.
    pub(super) path: PathBuf,
    /// The directory that relative paths in it start at.
    pub(super) dir: PathBuf,
    /// What it holds.
    pub(super) text: String,
    /// How its mistakes are shown.
    pub(super) shown: Shown,
}

/// How mistakes in a source are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// With the line and a caret.
    Lines,
    /// With line and column alone: which part of a line is a secret cannot be told.
    Places,
    /// By the key alone.
    Keys,
}

impl Source {
    /// Makes an error about a part of it.
    pub(super) fn wrong(&self, span: Span, key: &str, message: impl Into<String>) -> ConfigError {
        let range = span.start..span.end;
        match self.shown {
            Shown::Lines => ConfigError::at(&self.path, &self.text, range, key, message),
            Shown::Places => {
                ConfigError::at(&self.path, &self.text, range, key, message).without_excerpt()
            }
            Shown::Keys => ConfigError::whole(&self.path, message).with_key(key),
        }
    }

    /// Returns where a part of it stands, for a warning: the file, and the line if it has lines.
    pub(super) fn place(&self, span: Span) -> String {
        let path = self.path.display();
        if self.shown == Shown::Keys {
            return path.to_string();
        }
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        format!("{path}:{}", before.matches('\n').count() + 1)
    }
}

/// Where a part stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The number of the source.
    pub(super) source: usize,
    /// The first byte.
    pub(super) start: usize,
    /// The byte after the last.
    pub(super) end: usize,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) tree: Tree,
    pub(super) span: Span,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Span,
    pub(super) node: Node,
}

/// The keys of a table.
pub(super) type Table = BTreeMap<String, Entry>;

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    /// What TOML does not have, but JSON and YAML do.
    Nothing,
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Time(String),
    List(Vec<Node>),
    Table(Table),
}

impl Tree {
    /// Returns what it is, in the words of messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Text(_) => "text",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Bool(_) => "true or false",
            Self::Time(_) => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Parses a source. What cannot be read of it is reported, and nothing of it is used.
pub(super) fn parse(source: &Source, number: usize) -> Result<Table, Vec<ConfigError>> {
    let text = &source.text;
    if let Some(at) = too_deep(text) {
        return Err(vec![ConfigError::at(
            &source.path,
            text,
            at..at + 1,
            "",
            "the keys are nested too deeply",
        )]);
    }
    let table = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(text.len()..text.len());
        let message = format!("this is not TOML: {}", error.message().replace('\n', ", "));
        vec![ConfigError::at(&source.path, text, span, "", message)]
    })?;
    let mut reader = Convert { source, number, errors: Vec::new() };
    let table = reader.table(table.get_ref(), 0);
    let mut errors = reader.errors;
    errors.sort_by_key(|error| (error.line, error.column));
    if errors.is_empty() { Ok(table) } else { Err(errors) }
}

struct Convert<'s> {
    source: &'s Source,
    number: usize,
    errors: Vec<ConfigError>,
}

impl Convert<'_> {
    fn span(&self, range: &std::ops::Range<usize>) -> Span {
        Span { source: self.number, start: range.start, end: range.end }
    }

    fn table(&mut self, table: &DeTable<'_>, depth: usize) -> Table {
        table
            .iter()
            .map(|(key, value)| {
                let entry =
                    Entry { key: self.span(&key.span()), node: self.node(value, depth + 1) };
                (key.get_ref().to_string(), entry)
            })
            .collect()
    }

    fn node(&mut self, value: &Spanned<DeValue<'_>>, depth: usize) -> Node {
        let range = value.span();
        let wrong = |message: String| {
            ConfigError::at(&self.source.path, &self.source.text, range.clone(), "", message)
        };
        let tree = match value.get_ref() {
            _ if depth > DEEPEST => {
                self.errors.push(wrong("this is nested too deeply".to_owned()));
                Tree::Bool(false)
            }
            DeValue::String(text) => Tree::Text(text.to_string()),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                if parsed.is_err() {
                    self.errors.push(wrong(format!("`{number}` is too large a number")));
                }
                Tree::Int(parsed.unwrap_or_default())
            }
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => Tree::Float(number),
                _ => {
                    self.errors.push(wrong(format!("`{number}` is no number that can be used")));
                    Tree::Float(0.0)
                }
            },
            DeValue::Boolean(value) => Tree::Bool(*value),
            DeValue::Datetime(time) => Tree::Time(time.to_string()),
            DeValue::Array(items) => {
                Tree::List(items.iter().map(|item| self.node(item, depth + 1)).collect())
            }
            DeValue::Table(table) => Tree::Table(self.table(table, depth)),
        };
        Node { tree, span: self.span(&range) }
    }
}

/// Puts `over` over `under`: tables key by key, everything else as a whole.
pub(super) fn merge(under: &mut Table, over: Table) {
    for (name, entry) in over {
        let Some(known) = under.get_mut(&name) else {
            under.insert(name, entry);
            continue;
        };
        match (&mut known.node.tree, entry.node.tree) {
            (Tree::Table(below), Tree::Table(above)) => {
                merge(below, above);
                known.key = entry.key;
                known.node.span = entry.node.span;
            }
            (_, tree) => *known = Entry { key: entry.key, node: Node { tree, ..entry.node } },
        }
    }
}

/// Returns where a dotted key has more parts than any table is deep. The parser keeps a limit for brackets, but not for
/// dotted keys, and freeing such a tree would overflow the stack.
fn too_deep(text: &str) -> Option<usize> {
    let mut parts = 0;
    let mut within = false;
    let mut quoted = None;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        if let Some(quote) = quoted {
            match character {
                '\n' => quoted = None,
                _ if escaped => escaped = false,
                '\\' if quote == '"' => escaped = true,
                _ if character == quote => quoted = None,
                _ => {}
            }
            continue;
        }
        match character {
            '"' | '\'' => (quoted, within) = (Some(character), true),
            '.' if within => {
                parts += 1;
                within = false;
                if parts > DEEPEST * 4 {
                    return Some(at);
                }
            }
            '=' | '\n' | '[' | ']' | '{' | '}' | ',' | '#' => (parts, within) = (0, false),
            ' ' | '\t' => {}
            _ => within = true,
        }
    }
    None
}
