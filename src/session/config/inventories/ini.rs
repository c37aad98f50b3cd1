//! Ansible's inventories in the form that looks like INI: hosts with `key=value` settings below `[group]`, groups below
//! `[group:children]`, variables below `[group:vars]`.

use std::ops::Range;

use super::groups::Groups;
use super::json;
use crate::session::config::error::ConfigError;
use crate::session::config::ranges;
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
        if trimmed.starts_with('[') {
            section = reader.header(trimmed, place.clone());
            if let Section::Vars(group) = &section {
                vars.push((group.clone(), place));
            }
            continue;
        }
        match &section {
            Section::Hosts(group) => reader.host(group, trimmed, begin),
            Section::Children(group) => reader.child(group, trimmed, place),
            Section::Vars(group) => reader.var(group, trimmed, place),
            Section::Unknown => {}
        }
        if reader.errors.len() >= MOST {
            return Err(reader.errors);
        }
    }
    reader.defined(&vars);
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
        let Some((name, _)) = inner.filter(|(name, rest)| {
            let rest = rest.trim_start();
            !name.trim().is_empty() && (rest.is_empty() || rest.starts_with(['#', ';']))
        }) else {
            let hint = "Write [group], [group:children] or [group:vars].";
            self.wrong(&place, "this is no header of a section".to_owned(), Some(hint));
            return Section::Unknown;
        };
        let (group, kind) = match name.trim().split_once(':') {
            Some((group, kind)) => (group.to_owned(), kind),
            None => (name.trim().to_owned(), "hosts"),
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
        let (pattern, port) = split_port(&pattern);
        if let Some(port) = port {
            vars.push(("ansible_port".to_owned(), Tree::Int(i64::from(port)), place.clone()));
        }
        for (word, place) in words {
            match word.split_once('=') {
                Some((key, value)) if !key.is_empty() => {
                    vars.push((key.to_owned(), literal(value), place));
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
        let names = match ranges::expand(&pattern) {
            Ok(names) => names,
            Err(why) => return self.wrong(&place, why, None),
        };
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

    fn child(&mut self, group: &str, line: &str, place: Range<usize>) {
        let name = line.split(['#', ';']).next().unwrap_or_default().trim();
        if name.is_empty() || name.contains(char::is_whitespace) {
            let hint = "Below [group:children], each line is the name of a group.";
            self.wrong(&place, "this is no name of a group".to_owned(), Some(hint));
            return;
        }
        let span = self.span(&place);
        self.groups.child(group, name, span);
    }

    fn var(&mut self, group: &str, line: &str, place: Range<usize>) {
        match line.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                let span = self.span(&place);
                let node = Node { tree: commented(value.trim()), span };
                let entry = Entry { key: span, node };
                self.groups.group(group, span).vars.insert(key.trim().to_owned(), entry);
            }
            _ => {
                let hint = "Below [group:vars], each line is key=value.";
                self.wrong(&place, "this is no variable".to_owned(), Some(hint));
            }
        }
    }

    /// Makes sure that the groups that variables are for have hosts or groups in them: a name may be misspelt.
    fn defined(&mut self, vars: &[(String, Range<usize>)]) {
        let text = &self.source.text;
        let defined: Vec<&str> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix('[')?.split_once(']'))
            .map(|(name, _)| name.trim())
            .filter(|name| !name.ends_with(":vars"))
            .map(|name| name.strip_suffix(":children").unwrap_or(name))
            .collect();
        let children = self.groups.children();
        let mut wrong = Vec::new();
        for (group, place) in vars {
            let known = defined.contains(&group.as_str())
                || children.contains(group)
                || matches!(group.as_str(), "all" | "ungrouped");
            if !known {
                let near = units::nearest(group, defined.iter().copied().chain(["all"]));
                let hint = near.map(|near| format!("Did you mean `[{near}:vars]`?"));
                let message =
                    format!("variables for the group `{group}`, which has no hosts and no groups");
                wrong.push((place.clone(), message, hint));
            }
        }
        for (place, message, hint) in wrong {
            self.wrong(&place, message, hint.as_deref());
        }
    }
}

/// Splits a port off: `host:22`, but nothing of an IPv6 address or of a range.
fn split_port(text: &str) -> (String, Option<u16>) {
    if let Some((host, port)) = text.rsplit_once(':')
        && !port.is_empty()
        && let Ok(number) = port.parse()
    {
        if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            return (address.to_owned(), Some(number));
        }
        let outside = host.rfind('[').is_none_or(|open| host[open..].contains(']'));
        if outside && ranges_aside(host).matches(':').count() == 0 {
            return (host.to_owned(), Some(number));
        }
    }
    (text.to_owned(), None)
}

fn ranges_aside(text: &str) -> String {
    let mut depth = 0_usize;
    let keep = |c: &char| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    text.chars().filter(keep).collect()
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

/// Reads a value of a `vars` section, behind which a comment may stand where it is no plain text.
fn commented(text: &str) -> Tree {
    if let Some((before, _)) = text.split_once(" #") {
        let before = before.trim_end();
        let tree = literal(before);
        if quoted(before).is_some() || !matches!(tree, Tree::Text(_)) {
            return tree;
        }
    }
    literal(text)
}

/// Reads a value as a literal of Python, as Ansible does; what is none is text.
fn literal(text: &str) -> Tree {
    match text {
        "True" => return Tree::Bool(true),
        "False" => return Tree::Bool(false),
        "None" => return Tree::Nothing,
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.starts_with(|c: char| c.is_ascii_digit()) {
        let zeros = digits.len() > 1 && digits.starts_with('0');
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = text.parse().ok().filter(|_| !zeros);
            return number.map_or_else(|| Tree::Text(text.to_owned()), Tree::Int);
        }
        if digits.bytes().filter(|byte| *byte == b'.').count() == 1
            && let Ok(number) = text.parse::<f64>()
        {
            return Tree::Float(number);
        }
    }
    if let Some(inner) = quoted(text) {
        return Tree::Text(inner.to_owned());
    }
    if text.starts_with(['[', '{'])
        && let Ok(value) = serde_json::from_str(text)
    {
        let nowhere = Span { source: 0, start: 0, end: 0 };
        return json::node(value, nowhere, 0).tree;
    }
    Tree::Text(text.to_owned())
}

/// Returns what stands between quotes, if that is all.
fn quoted(text: &str) -> Option<&str> {
    ['"', '\''].into_iter().find_map(|quote| {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inner.contains([quote, '\\'])).then_some(inner)
    })
}
