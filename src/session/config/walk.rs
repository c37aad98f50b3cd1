//! Reading typed values out of a tree. Everything that does not fit is collected, with its place and what was expected.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::error::ConfigError;
use super::tree::{Entry, Node, Source, Span, Table, Tree};
use super::{Environment, looks_secret};
use crate::session::secrets::{FORMS, Reference};
use crate::units;

/// More mistakes than anybody reads; an inventory may have one on each of thousands of lines.
const MOST: usize = 100;

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Section<'t> {
    /// Its keys.
    pub(super) table: &'t Table,
    /// The path of its own key, such as `targets.obs1`.
    pub(super) path: String,
}

impl Section<'_> {
    /// Returns the path of one of its keys.
    pub(super) fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// Reads a tree.
#[derive(Debug)]
pub(super) struct Walk<'s> {
    sources: &'s [Source],
    env: &'s Environment,
    errors: Vec<(Span, ConfigError)>,
    referring: BTreeSet<usize>,
    more: usize,
}

impl<'s> Walk<'s> {
    pub(super) fn new(sources: &'s [Source], env: &'s Environment) -> Self {
        Self { sources, env, errors: Vec::new(), referring: BTreeSet::new(), more: 0 }
    }

    /// Returns the sources in which references to secrets stand.
    pub(super) fn referring(&self) -> &BTreeSet<usize> {
        &self.referring
    }

    /// Returns what was wrong, in the order of the files and lines.
    pub(super) fn finish(mut self) -> Vec<ConfigError> {
        self.errors.sort_by_key(|(span, _)| (span.source, span.start));
        let last = self.errors.last().and_then(|(span, _)| self.sources.get(span.source));
        let more = last.filter(|_| self.more > 0).map(|source| {
            ConfigError::whole(&source.path, format!("{} more mistakes are not shown", self.more))
        });
        self.errors.into_iter().map(|(_, error)| error).chain(more).collect()
    }

    /// Notes that something is wrong.
    pub(super) fn wrong(
        &mut self,
        span: Span,
        key: &str,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let Some(source) = self.sources.get(span.source) else { return };
        if self.errors.len() >= MOST {
            self.more += 1;
            return;
        }
        self.errors.push((span, source.wrong(span, key, message).with_hint(hint)));
    }

    fn mismatch(&mut self, node: &Node, key: &str, expected: &str) {
        let message = format!("`{key}` is {}, expected {expected}", node.tree.kind());
        self.wrong(node.span, key, message, None);
    }

    /// Opens a table whose keys are names that the user chose.
    pub(super) fn names<'t>(&mut self, node: &'t Node, path: String) -> Option<Section<'t>> {
        if let Tree::Table(table) = &node.tree {
            return Some(Section { table, path });
        }
        self.mismatch(node, &path, "a table");
        None
    }

    /// Opens a table whose keys are `known`.
    pub(super) fn section<'t>(
        &mut self,
        node: &'t Node,
        path: String,
        known: &[&str],
    ) -> Option<Section<'t>> {
        let section = self.names(node, path)?;
        self.check_keys(&section, known);
        Some(section)
    }

    /// Notes the keys that are not known.
    pub(super) fn check_keys(&mut self, section: &Section<'_>, known: &[&str]) {
        for (name, entry) in section.table {
            if known.contains(&name.as_str()) {
                continue;
            }
            let place = match section.path.as_str() {
                "" => "at the top of the file".to_owned(),
                path => format!("in `{path}`"),
            };
            let list = known.join(", ");
            let hint = match units::nearest(name, known.iter().copied()) {
                Some(near) => format!("Did you mean `{near}`? Known are: {list}."),
                None => format!("Known are: {list}."),
            };
            let message = format!("unknown key `{name}` {place}");
            self.wrong(entry.key, &section.key(name), message, Some(hint));
        }
    }

    /// Reads a text that is not empty.
    pub(super) fn text(&mut self, section: &Section<'_>, name: &str) -> Option<String> {
        self.text_in(section, name, "text")
    }

    fn text_in(&mut self, section: &Section<'_>, name: &str, expected: &str) -> Option<String> {
        let node = &section.table.get(name)?.node;
        self.text_of(node, &section.key(name), expected)
    }

    fn text_of(&mut self, node: &Node, key: &str, expected: &str) -> Option<String> {
        match &node.tree {
            Tree::Text(text) if text.trim().is_empty() => {
                self.wrong(node.span, key, format!("`{key}` is empty"), None);
                None
            }
            Tree::Text(text) => Some(text.clone()),
            _ => {
                self.mismatch(node, key, expected);
                None
            }
        }
    }

    /// Reads a text and checks it; `check` returns what is wrong with it as the end of the sentence "`key` …".
    pub(super) fn checked(
        &mut self,
        section: &Section<'_>,
        name: &str,
        check: impl FnOnce(&str) -> Result<(), String>,
    ) -> Option<String> {
        let text = self.text(section, name)?;
        let Err(why) = check(&text) else { return Some(text) };
        let key = section.key(name);
        self.wrong(section.table.get(name)?.node.span, &key, format!("`{key}` {why}"), None);
        None
    }

    /// Reads one of several words.
    pub(super) fn word(
        &mut self,
        section: &Section<'_>,
        name: &str,
        words: &[&str],
    ) -> Option<String> {
        let text = self.text(section, name)?;
        if words.contains(&text.as_str()) {
            return Some(text);
        }
        let key = section.key(name);
        let list = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let hint = units::nearest(&text, words.iter().copied())
            .map(|near| format!("Did you mean \"{near}\"?"));
        let message = format!("`{key}` is \"{text}\", expected one of {list}");
        self.wrong(section.table.get(name)?.node.span, &key, message, hint);
        None
    }

    /// Reads `true` or `false`.
    pub(super) fn bool(&mut self, section: &Section<'_>, name: &str) -> Option<bool> {
        let node = &section.table.get(name)?.node;
        if let Tree::Bool(value) = node.tree {
            return Some(value);
        }
        self.mismatch(node, &section.key(name), "true or false");
        None
    }

    /// Reads a port.
    pub(super) fn port(&mut self, section: &Section<'_>, name: &str) -> Option<u16> {
        const EXPECTED: &str = "a port from 1 to 65535";
        let node = &section.table.get(name)?.node;
        let key = section.key(name);
        let Tree::Int(number) = node.tree else {
            self.mismatch(node, &key, EXPECTED);
            return None;
        };
        match u16::try_from(number) {
            Ok(port) if port > 0 => Some(port),
            _ => {
                self.wrong(
                    node.span,
                    &key,
                    format!("`{key}` is {number}, expected {EXPECTED}"),
                    None,
                );
                None
            }
        }
    }

    /// Reads a duration.
    pub(super) fn duration(&mut self, section: &Section<'_>, name: &str) -> Option<Duration> {
        let text = self.text_in(section, name, "a duration such as \"90s\" or \"1h 30m\"")?;
        match units::duration(&text) {
            Ok(duration) => Some(duration),
            Err(why) => {
                let key = section.key(name);
                let message = format!("`{key}`: {why}");
                self.wrong(section.table.get(name)?.node.span, &key, message, None);
                None
            }
        }
    }

    /// Reads a path; `~/` is the home directory, and others start where the file is.
    pub(super) fn path(&mut self, section: &Section<'_>, name: &str) -> Option<PathBuf> {
        let node = &section.table.get(name)?.node;
        let text = self.text_of(node, &section.key(name), "a path")?;
        Some(self.absolute(&text, node.span))
    }

    pub(super) fn absolute(&self, text: &str, span: Span) -> PathBuf {
        let dir = self.sources.get(span.source).map_or(Path::new("/"), |source| &source.dir);
        self.env.path(text, dir)
    }

    /// Reads a path, or a list of them.
    pub(super) fn paths(&mut self, section: &Section<'_>, name: &str) -> Option<Vec<PathBuf>> {
        let texts = self.texts(section, name, "a path or a list of paths")?;
        Some(texts.into_iter().map(|(text, span)| self.absolute(&text, span)).collect())
    }

    /// Reads a text, or a list of them, with their places.
    pub(super) fn texts(
        &mut self,
        section: &Section<'_>,
        name: &str,
        expected: &str,
    ) -> Option<Vec<(String, Span)>> {
        let node = &section.table.get(name)?.node;
        let key = section.key(name);
        let items = match &node.tree {
            Tree::List(items) => items.iter().collect(),
            _ => vec![node],
        };
        let mut texts = Vec::new();
        for item in items {
            if let Some(text) = self.text_of(item, &key, expected) {
                texts.push((text, item.span));
            }
        }
        Some(texts)
    }

    /// Reads a reference to a secret.
    pub(super) fn reference(&mut self, section: &Section<'_>, name: &str) -> Option<Reference> {
        let entry = section.table.get(name)?;
        self.reference_of(&entry.node, &section.key(name))
    }

    fn reference_of(&mut self, node: &Node, key: &str) -> Option<Reference> {
        let why = match &node.tree {
            Tree::Text(text) => match Reference::parse(text) {
                Ok(reference) => {
                    self.referring.insert(node.span.source);
                    return Some(reference);
                }
                Err(why) => why,
            },
            other => format!("this is {}", other.kind()),
        };
        let message = format!("`{key}` must be a reference to a secret: {why}");
        let hint = format!("Write {FORMS}; a secret does not stand in this file.");
        self.wrong(node.span, key, message, Some(hint));
        None
    }

    /// Reads free values, such as parameters. A value that is a secret by its name must be a reference.
    pub(super) fn values(&mut self, section: &Section<'_>) -> BTreeMap<String, Value> {
        section
            .table
            .iter()
            .map(|(name, entry)| {
                self.no_secrets(&entry.node, name, &section.key(name));
                (name.clone(), value(&entry.node))
            })
            .collect()
    }

    /// Makes sure that whatever is a secret by its name is a reference, however deep it stands.
    fn no_secrets(&mut self, node: &Node, name: &str, key: &str) {
        match &node.tree {
            Tree::Text(_) if looks_secret(name) => drop(self.reference_of(node, key)),
            Tree::Text(text) if Reference::parse(text).is_ok() => {
                self.referring.insert(node.span.source);
            }
            Tree::List(items) => items.iter().for_each(|item| self.no_secrets(item, name, key)),
            Tree::Table(table) => {
                for (name, entry) in table {
                    self.no_secrets(&entry.node, name, &format!("{key}.{name}"));
                }
            }
            _ => {}
        }
    }

    /// Reads free settings in which references become secrets of their own, named by their keys.
    pub(super) fn settings(
        &mut self,
        path: &str,
        entry: &Entry,
        name: &str,
        secrets: &mut BTreeMap<String, Reference>,
    ) -> Value {
        match &entry.node.tree {
            Tree::Text(text) => {
                let reference = if looks_secret(name) {
                    self.reference_of(&entry.node, path)
                } else {
                    // The word alone may well mean something else to an adapter.
                    Reference::parse(text).ok().filter(|reference| *reference != Reference::Prompt)
                };
                let Some(reference) = reference else { return Value::String(text.clone()) };
                self.referring.insert(entry.node.span.source);
                secrets.insert(path.to_owned(), reference);
                serde_json::json!({ "$secret": path })
            }
            Tree::Table(table) => table
                .iter()
                .map(|(name, entry)| {
                    let path = format!("{path}.{name}");
                    (name.clone(), self.settings(&path, entry, name, secrets))
                })
                .collect::<serde_json::Map<_, _>>()
                .into(),
            _ => value(&entry.node),
        }
    }
}

/// Turns a tree into a plain value.
fn value(node: &Node) -> Value {
    match &node.tree {
        Tree::Nothing => Value::Null,
        Tree::Text(text) | Tree::Time(text) => Value::String(text.clone()),
        Tree::Int(number) => Value::from(*number),
        Tree::Float(number) => Value::from(*number),
        Tree::Bool(value) => Value::Bool(*value),
        Tree::List(items) => Value::Array(items.iter().map(value).collect()),
        Tree::Table(table) => Value::Object(
            table.iter().map(|(name, entry)| (name.clone(), value(&entry.node))).collect(),
        ),
    }
}
