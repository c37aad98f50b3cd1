//! Ansible's inventories in YAML: groups with `hosts`, `children` and `vars`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, Tag};

use super::groups::Groups;
use super::{hosts, scalar};
use crate::session::config::error::ConfigError;
use crate::session::config::tree::{DEEPEST, Entry, Node, Source, Span, Table, Tree};
use crate::units;

/// More parts than any inventory has, aliases counted as often as they are used.
const MOST: usize = 1_000_000;
/// The keys of a group.
const GROUP: [&str; 3] = ["hosts", "children", "vars"];
/// What stands for a value that only Ansible can decrypt.
pub(super) const VAULT: &str = "!vault";

/// Reads a file.
pub(super) fn parse(source: &Source, number: usize) -> Result<Groups, Vec<ConfigError>> {
    let node = tree(source, number).map_err(|error| vec![*error])?;
    let mut reader = Reader { source, groups: Groups::default(), errors: Vec::new() };
    match node.tree {
        Tree::Table(table) => {
            if let Some(entry) = table.get("plugin") {
                let name = if let Tree::Text(name) = &entry.node.tree { name } else { "…" };
                let path = source.path.display();
                let message = format!("this is the configuration of Ansible's plugin `{name}`");
                let hint = format!(
                    "Let Ansible run it: `command = [\"ansible-inventory\", \"-i\", \"{path}\", \"--list\"]`."
                );
                reader.wrong(entry.key, message, Some(hint));
            } else {
                for (name, entry) in table {
                    reader.group(&name, entry, 0);
                }
            }
        }
        Tree::Nothing => {}
        other => {
            let message = format!("this is {}, expected groups", other.kind());
            reader.wrong(node.span, message, None);
        }
    }
    if reader.errors.is_empty() { Ok(reader.groups) } else { Err(reader.errors) }
}

struct Reader<'s> {
    source: &'s Source,
    groups: Groups,
    errors: Vec<ConfigError>,
}

impl Reader<'_> {
    fn wrong(&mut self, span: Span, message: String, hint: Option<String>) {
        self.errors.push(self.source.wrong(span, "", message).with_hint(hint));
    }

    /// Returns the fields of what should be a table; nothing stands for an empty one.
    fn fields(&mut self, node: Node, what: &str) -> Table {
        match node.tree {
            Tree::Table(table) => table,
            Tree::Nothing => Table::new(),
            other => {
                let message = format!("{what} is {}, expected a table", other.kind());
                self.wrong(node.span, message, None);
                Table::new()
            }
        }
    }

    fn group(&mut self, name: &str, entry: Entry, depth: usize) {
        let place = entry.key;
        self.groups.group(name, place);
        for (key, entry) in self.fields(entry.node, &format!("the group `{name}`")) {
            let what = format!("`{key}` of the group `{name}`");
            match key.as_str() {
                "hosts" => {
                    for (pattern, entry) in self.fields(entry.node, &what) {
                        self.host(name, &pattern, entry);
                    }
                }
                "children" => {
                    for (child, entry) in self.fields(entry.node, &what) {
                        self.groups.child(name, &child, entry.key);
                        if depth < DEEPEST {
                            self.group(&child, entry, depth + 1);
                        }
                    }
                }
                "vars" => {
                    let vars = self.fields(entry.node, &what);
                    self.groups.group(name, place).vars.extend(vars);
                }
                _ => {
                    let near = units::nearest(&key, GROUP);
                    let near =
                        near.map(|near| format!("Did you mean `{near}`? ")).unwrap_or_default();
                    let message = format!("unknown key `{key}` in the group `{name}`");
                    let hint = format!("{near}Known are: {}.", GROUP.join(", "));
                    self.wrong(entry.key, message, Some(hint));
                }
            }
        }
    }

    fn host(&mut self, group: &str, pattern: &str, entry: Entry) {
        let (names, port) = match hosts::named(pattern) {
            Ok(named) => named,
            Err(why) => return self.wrong(entry.key, why, None),
        };
        let mut vars = self.fields(entry.node, &format!("the host `{pattern}`"));
        if let Some(port) = port {
            let node = Node { tree: Tree::Int(i64::from(port)), span: entry.key };
            vars.entry("ansible_port".to_owned()).or_insert(Entry { key: entry.key, node });
        }
        for name in names {
            self.groups.member(group, &name, entry.key);
            self.groups.host(&name, entry.key).vars.extend(vars.clone());
        }
    }
}

/// Reads the first document as a tree with places.
fn tree(source: &Source, number: usize) -> Result<Node, Box<ConfigError>> {
    let mut build = Build {
        source,
        number,
        lines: std::iter::once(0)
            .chain(source.text.match_indices('\n').map(|(at, _)| at + 1))
            .collect(),
        anchors: BTreeMap::new(),
        count: 0,
    };
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(&source.text) {
        let (event, place) = event.map_err(|error| {
            let at = build.byte(*error.marker());
            let span = Span { source: number, start: at, end: at };
            Box::new(source.wrong(span, "", format!("this is not YAML: {}", error.info())))
        })?;
        let span =
            Span { source: number, start: build.byte(place.start), end: build.byte(place.end) };
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (Node { tree: scalar::read(&text, style, tag.as_deref()), span }, anchor)
            }
            Event::Alias(anchor) => {
                let known = build.anchors.get(&anchor).cloned();
                let (node, size) = known.unwrap_or((Node { tree: Tree::Nothing, span }, 1));
                build.count += size;
                (node, 0)
            }
            Event::SequenceStart(anchor, tag) => {
                build.open(&mut open, Part::List(Vec::new()), anchor, tag, span)?;
                continue;
            }
            Event::MappingStart(anchor, tag) => {
                build.open(&mut open, Part::Table(Table::new(), None), anchor, tag, span)?;
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(done) = open.pop() else { continue };
                let span = Span { end: span.end.max(done.span.start), ..done.span };
                let tree = match done.part {
                    Part::List(items) => Tree::List(items),
                    Part::Table(table, _) => Tree::Table(table),
                };
                let node = Node { tree, span };
                if done.anchor > 0 {
                    build.anchors.insert(done.anchor, (node.clone(), build.count - done.count));
                }
                (node, 0)
            }
            Event::DocumentEnd | Event::StreamEnd => break,
            _ => continue,
        };
        build.count += 1;
        if build.count > MOST {
            return Err(Box::new(source.wrong(
                span,
                "",
                format!("this has more than {MOST} parts"),
            )));
        }
        if anchor > 0 {
            build.anchors.insert(anchor, (node.clone(), 1));
        }
        match open.last_mut() {
            Some(open) => build.put(open, node)?,
            None => return Ok(node),
        }
    }
    Ok(Node { tree: Tree::Nothing, span: Span { source: number, start: 0, end: 0 } })
}

/// A list or table whose end is not reached.
struct Open {
    part: Part,
    anchor: usize,
    span: Span,
    /// How many parts there were before it.
    count: usize,
}

enum Part {
    List(Vec<Node>),
    /// What is in it, and the key whose value comes next.
    Table(Table, Option<(String, Span)>),
}

struct Build<'s> {
    source: &'s Source,
    number: usize,
    lines: Vec<usize>,
    anchors: BTreeMap<usize, (Node, usize)>,
    count: usize,
}

impl Build<'_> {
    /// Returns the byte at a place that is given by line and column in characters.
    fn byte(&self, marker: Marker) -> usize {
        let text = &self.source.text;
        let start = self.lines.get(marker.line().saturating_sub(1)).copied().unwrap_or(text.len());
        let rest = text.get(start..).unwrap_or_default();
        let end = rest.find('\n').unwrap_or(rest.len());
        let column = rest[..end].char_indices().nth(marker.col()).map_or(end, |(at, _)| at);
        start + column
    }

    fn open(
        &mut self,
        open: &mut Vec<Open>,
        part: Part,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        span: Span,
    ) -> Result<(), Box<ConfigError>> {
        // Tags of tables and lists change nothing here.
        drop(tag);
        if open.len() >= DEEPEST {
            return Err(Box::new(self.source.wrong(span, "", "this is nested too deeply")));
        }
        open.push(Open { part, anchor, span, count: self.count });
        Ok(())
    }

    fn put(&self, open: &mut Open, node: Node) -> Result<(), Box<ConfigError>> {
        let (table, key) = match &mut open.part {
            Part::List(items) => {
                items.push(node);
                return Ok(());
            }
            Part::Table(table, key) => (table, key),
        };
        let Some((name, place)) = key.take() else {
            let name = match node.tree {
                Tree::Text(text) => text,
                // A host may be called `1.5` or `on`, and it is the text that counts.
                Tree::Int(_) | Tree::Float(_) | Tree::Bool(_) => self
                    .source
                    .text
                    .get(node.span.start..node.span.end)
                    .unwrap_or_default()
                    .to_owned(),
                other => {
                    let message = format!("a key is {}, expected text", other.kind());
                    return Err(Box::new(self.source.wrong(node.span, "", message)));
                }
            };
            *key = Some((name, node.span));
            return Ok(());
        };
        if name == "<<" {
            merge(table, node);
            return Ok(());
        }
        let entry = Entry { key: Span { source: self.number, ..place }, node };
        // What is merged in by `<<` gives way; the same key twice is a slip.
        if let Some(known) = table.insert(name.clone(), entry)
            && known.key.start >= open.span.start
            && known.key.start < place.start
        {
            let message = format!("`{name}` stands here twice");
            return Err(Box::new(self.source.wrong(place, "", message)));
        }
        Ok(())
    }
}

/// Takes over what an alias after `<<` has and the table does not.
fn merge(table: &mut Table, node: Node) {
    match node.tree {
        Tree::Table(other) => {
            for (name, entry) in other {
                table.entry(name).or_insert(entry);
            }
        }
        Tree::List(items) => items.into_iter().for_each(|item| merge(table, item)),
        _ => {}
    }
}
