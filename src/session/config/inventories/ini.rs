//! Ansible's inventories in the form that looks like INI: hosts with `key=value` settings below `[group]`, groups below
//! `[group:children]`, variables below `[group:vars]`.

use std::ops::Range;

use super::groups::Groups;
use super::{hosts, python};
use crate::session::config::error::ConfigError;
use crate::session::config::tree::{Entry, Node, Source, Span, Tree};
use crate::units;

/// More mistakes than anybody reads.
const MOST: usize = 100;

/// What the lines below a header are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Section {
    Hosts(String),
    Children(String),
    Vars(String),
    /// The header was wrong; what is below is not looked at.
    Unknown,
}

/// Reads a file.
pub(super) fn parse(source: &Source, number: usize) -> Result<Groups, Vec<ConfigError>> {
    let mut reader = Reader { source, number, groups: Groups::default(), errors: Vec::new() };
    let mut section = Section::Hosts("ungrouped".to_owned());
    // Variables may stand before the group that they are for.
    let mut vars: Vec<(String, Range<usize>)> = Vec::new();
    let mut children = Vec::new();
    let mut start = 0;
    for line in source.text.split_inclusive('\n') {
        let at = start;
        start += line.len();
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        let begin = at + (line.len() - line.trim_start().len());
        let place = begin..begin + trimmed.len();
        // A host may begin with a range, or be an address in brackets.
        let host = trimmed.contains(']') && !trimmed.ends_with(']');
        if trimmed.starts_with('[') && (is_header(trimmed) || !host) {
            section = reader.header(trimmed, place.clone());
            if let Section::Vars(group) = &section {
                vars.push((group.clone(), place));
            }
            continue;
        }
        match &section {
            Section::Hosts(group) => reader.host(group, trimmed, begin),
            Section::Children(group) => {
                children
                    .extend(reader.child(group, trimmed, place.clone()).map(|name| (name, place)));
            }
            Section::Vars(group) => reader.var(group, trimmed, place),
            Section::Unknown => {}
        }
        if reader.errors.len() >= MOST {
            return Err(reader.errors);
        }
    }
    reader.defined(&vars, &children);
    if reader.errors.is_empty() { Ok(reader.groups) } else { Err(reader.errors) }
}

struct Reader<'s> {
    source: &'s Source,
    number: usize,
    groups: Groups,
    errors: Vec<ConfigError>,
}

impl Reader<'_> {
    fn span(&self, range: &Range<usize>) -> Span {
        Span { source: self.number, start: range.start, end: range.end }
    }

    fn wrong(&mut self, range: &Range<usize>, message: String, hint: Option<&str>) {
        let error = self.source.wrong(self.span(range), "", message);
        self.errors.push(error.with_hint(hint.map(str::to_owned)));
    }

    fn header(&mut self, line: &str, place: Range<usize>) -> Section {
        let inner = line[1..].split_once(']');
        let Some((name, _)) = inner.filter(|_| is_header(line)) else {
            let hint = "Write [group], [group:children] or [group:vars].";
            self.wrong(&place, "this is no header of a section".to_owned(), Some(hint));
            return Section::Unknown;
        };
        let (group, kind) = match name.split_once(':') {
            Some((group, kind)) => (group.to_owned(), kind),
            None => (name.to_owned(), "hosts"),
        };
        let span = self.span(&place);
        match kind {
            "hosts" => {
                self.groups.group(&group, span);
                Section::Hosts(group)
            }
            "children" => {
                self.groups.group(&group, span);
                Section::Children(group)
            }
            "vars" => Section::Vars(group),
            other => {
                let near = units::nearest(other, ["children", "vars", "hosts"]);
                let hint = near.map(|near| format!("Did you mean `[{group}:{near}]`?"));
                let message = format!("`{other}` is no kind of section, expected children or vars");
                self.wrong(&place, message, hint.as_deref());
                Section::Unknown
            }
        }
    }

    /// Reads `name[01:20]:port key=value …`.
    fn host(&mut self, group: &str, line: &str, begin: usize) {
        let words = match words(line) {
            Ok(words) => words,
            Err((at, why)) => {
                self.wrong(&(begin + at..begin + line.len()), why.to_owned(), None);
                return;
            }
        };
        let mut words =
            words.into_iter().map(|(word, at)| (word, begin + at.start..begin + at.end));
        let Some((pattern, place)) = words.next() else { return };
        let mut vars = Vec::new();
        let (names, port) = match hosts::named(&pattern) {
            Ok(named) => named,
            Err(why) => return self.wrong(&place, why, None),
        };
        if let Some(port) = port {
            vars.push(("ansible_port".to_owned(), Tree::Int(i64::from(port)), place.clone()));
        }
        for (word, place) in words {
            match word.split_once('=') {
                Some((key, value)) if !key.is_empty() => {
                    vars.push((key.to_owned(), python::value(value), place));
                }
                _ => {
                    let hint = "Settings of a host are written key=value; values with blanks stand in quotes.";
                    self.wrong(
                        &place,
                        format!("`{pattern}` is followed by what is no setting"),
                        Some(hint),
                    );
                }
            }
        }
        let span = self.span(&place);
        for name in names {
            self.groups.member(group, &name, span);
            for (key, tree, place) in &vars {
                let place = self.span(place);
                let node = Node { tree: tree.clone(), span: place };
                self.groups.host(&name, span).vars.insert(key.clone(), Entry { key: place, node });
            }
        }
    }

    fn child(&mut self, group: &str, line: &str, place: Range<usize>) -> Option<String> {
        let name = line.split(['#', ';']).next().unwrap_or_default().trim();
        if name.is_empty() || name.contains(char::is_whitespace) {
            let hint = "Below [group:children], each line is the name of a group.";
            self.wrong(&place, "this is no name of a group".to_owned(), Some(hint));
            return None;
        }
        let span = self.span(&place);
        self.groups.child(group, name, span);
        Some(name.to_owned())
    }

    fn var(&mut self, group: &str, line: &str, place: Range<usize>) {
        match line.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                let span = self.span(&place);
                let node = Node { tree: python::value(value.trim()), span };
                let entry = Entry { key: span, node };
                self.groups.group(group, span).vars.insert(key.trim().to_owned(), entry);
            }
            _ => {
                let hint = "Below [group:vars], each line is key=value.";
                self.wrong(&place, "this is no variable".to_owned(), Some(hint));
            }
        }
    }

    /// Makes sure that the groups that variables are for, and those that are in others, have a section: a name may be
    /// misspelt.
    fn defined(&mut self, vars: &[(String, Range<usize>)], children: &[(String, Range<usize>)]) {
        let source = self.source;
        let sections: Vec<&str> = source
            .text
            .lines()
            .map(str::trim)
            .filter(|line| is_header(line))
            .filter_map(|line| line[1..].split_once(']'))
            .map(|(name, _)| name)
            .collect();
        let with_vars = sections.iter().filter_map(|name| name.strip_suffix(":vars"));
        let defined: Vec<&str> = sections
            .iter()
            .filter(|name| !name.ends_with(":vars"))
            .map(|name| name.split(':').next().unwrap_or(name))
            .chain(["all", "ungrouped"])
            .collect();
        let named = self.groups.children();
        let mut wrong = Vec::new();
        for (group, place) in vars {
            if !defined.contains(&group.as_str()) && !named.contains(group) {
                let near = units::nearest(group, defined.iter().copied());
                let hint = near.map(|near| format!("Did you mean `[{near}:vars]`?"));
                let message =
                    format!("variables for the group `{group}`, which has no hosts and no groups");
                wrong.push((place.clone(), message, hint));
            }
        }
        let with_vars: Vec<&str> = with_vars.collect();
        for (group, place) in children {
            if !defined.contains(&group.as_str()) && !with_vars.contains(&group.as_str()) {
                let near = units::nearest(group, defined.iter().copied());
                let hint = near.map(|near| format!("Did you mean `{near}`?"));
                wrong.push((place.clone(), format!("there is no group `{group}`"), hint));
            }
        }
        for (place, message, hint) in wrong {
            self.wrong(&place, message, hint.as_deref());
        }
    }
}

/// Returns whether a line is the header of a section: `[group]` or `[group:kind]`, behind which a comment may stand.
fn is_header(line: &str) -> bool {
    let Some((name, rest)) = line.strip_prefix('[').and_then(|line| line.split_once(']')) else {
        return false;
    };
    let (group, kind) = name.split_once(':').unwrap_or((name, "hosts"));
    let word = !kind.is_empty() && kind.chars().all(|c| c.is_alphanumeric() || c == '_');
    let rest = rest.trim_start();
    !group.is_empty()
        && !group.contains(char::is_whitespace)
        && word
        && (rest.is_empty() || rest.starts_with('#'))
}

/// Words with their places in the line.
type Words = Vec<(String, Range<usize>)>;

/// Splits a line into words as a shell does: quotes, backslashes, and `#` begins a comment.
fn words(line: &str) -> Result<Words, (usize, &'static str)> {
    let mut words = Vec::new();
    let mut word: Option<(String, usize)> = None;
    let mut quoted: Option<(char, usize)> = None;
    let mut characters = line.char_indices();
    while let Some((at, character)) = characters.next() {
        if quoted.is_none() && (character.is_whitespace() || character == '#') {
            if let Some((text, begin)) = word.take() {
                words.push((text, begin..at));
            }
            if character == '#' {
                return Ok(words);
            }
            continue;
        }
        let (text, _) = word.get_or_insert_with(|| (String::new(), at));
        match (quoted, character) {
            (Some((quote, _)), _) if quote == character => quoted = None,
            (Some(('"', _)) | None, '\\') => match characters.next() {
                Some((_, next)) => {
                    if quoted.is_some() && !matches!(next, '"' | '\\') {
                        text.push('\\');
                    }
                    text.push(next);
                }
                None => return Err((at, "nothing follows the backslash")),
            },
            (None, '"' | '\'') => quoted = Some((character, at)),
            _ => text.push(character),
        }
    }
    if let Some((_, at)) = quoted {
        return Err((at, "a quote is not closed"));
    }
    if let Some((text, begin)) = word {
        words.push((text, begin..line.len()));
    }
    Ok(words)
}
