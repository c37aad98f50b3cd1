//! What a command prints: an object of names and settings, as `[targets]` has them, or the form of Ansible's dynamic
//! inventories.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::groups::Groups;
use crate::session::config::error::ConfigError;
use crate::session::config::tree::{DEEPEST, Entry, Node, Source, Span, Table, Tree};

/// What was listed.
#[derive(Debug)]
pub(super) enum Listed {
    /// Targets with our settings.
    Targets(Table),
    /// Hosts and groups of Ansible.
    Groups(Groups),
}

/// Reads an answer.
pub(super) fn parse(source: &Source, number: usize) -> Result<Listed, Vec<ConfigError>> {
    let span = Span { source: number, start: 0, end: 0 };
    let wrong = |message: String| vec![ConfigError::whole(&source.path, message)];
    let Once(value) = serde_json::from_str(&source.text).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        wrong(match error.classify() {
            serde_json::error::Category::Eof if source.text.trim().is_empty() => {
                "this is empty, expected JSON".to_owned()
            }
            // The message of the parser may quote what it read.
            serde_json::error::Category::Eof => {
                format!("this is not JSON: it ends too early ({place})")
            }
            // Our own message.
            serde_json::error::Category::Data => error.to_string(),
            _ => format!("this is not JSON ({place})"),
        })
    })?;
    let Value::Object(mut object) = value else {
        let message = format!("this is {}, expected an object of names and settings", kind(&value));
        return Err(wrong(message));
    };
    let meta = object.remove("_meta");
    let grouped = |value: &Value| {
        value.is_array() || value.get("hosts").is_some() || value.get("children").is_some()
    };
    if meta.is_none() {
        if let Some((name, _)) = object.iter().find(|(_, value)| grouped(value)) {
            let hint = "Print `\"_meta\": {\"hostvars\": {…}}` as well, as `ansible-inventory --list` does; hosts are not asked about one by one.";
            let message =
                format!("`{name}` looks like a group of Ansible, but there is no `_meta`");
            return Err(vec![
                ConfigError::whole(&source.path, message).with_hint(Some(hint.to_owned())),
            ]);
        }
        return Ok(Listed::Targets(table(object, span, 0)));
    }
    groups(object, meta.unwrap_or_default(), span).map(Listed::Groups).map_err(wrong)
}

/// JSON in which no object has a key twice: of two targets of one name the parser would drop one silently.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Once(Value::Null))
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(Self(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self, E> {
        Ok(Self(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self, E> {
        Ok(Self(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self, E> {
        Ok(Self(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self, E> {
        Ok(Self(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self, E> {
        Ok(Self(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        let mut list = Vec::new();
        while let Some(Self(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Self(list.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        let mut object = Map::new();
        while let Some((key, Self(value))) = entries.next_entry::<String, _>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("`{key}` is there twice")));
            }
            object.insert(key, value);
        }
        Ok(Self(object.into()))
    }
}

fn groups(object: Map<String, Value>, meta: Value, span: Span) -> Result<Groups, String> {
    let mut groups = Groups::default();
    let hostvars = match meta {
        Value::Object(mut meta) => meta.remove("hostvars").unwrap_or_default(),
        other => return Err(format!("`_meta` is {}, expected an object", kind(&other))),
    };
    match hostvars {
        Value::Null => {}
        Value::Object(hosts) => {
            for (name, vars) in hosts {
                let vars = fields(vars, &format!("_meta.hostvars.{name}"))?;
                groups.host(&name, span).vars.extend(table(vars, span, 0));
            }
        }
        other => return Err(format!("`_meta.hostvars` is {}, expected an object", kind(&other))),
    }
    for (group, value) in object {
        let mut value = match value {
            // The oldest form: a group is its hosts.
            Value::Array(hosts) => Map::from_iter([("hosts".to_owned(), Value::Array(hosts))]),
            other => fields(other, &group)?,
        };
        groups.group(&group, span);
        for host in names(value.remove("hosts"), &format!("{group}.hosts"))? {
            groups.member(&group, &host, span);
        }
        for child in names(value.remove("children"), &format!("{group}.children"))? {
            groups.child(&group, &child, span);
        }
        let vars = fields(value.remove("vars").unwrap_or_default(), &format!("{group}.vars"))?;
        groups.group(&group, span).vars.extend(table(vars, span, 0));
        if let Some(key) = value.keys().next() {
            return Err(format!(
                "unknown key `{key}` in the group `{group}`; known are: hosts, children, vars"
            ));
        }
    }
    Ok(groups)
}

fn fields(value: Value, key: &str) -> Result<Map<String, Value>, String> {
    match value {
        Value::Null => Ok(Map::new()),
        Value::Object(object) => Ok(object),
        other => Err(format!("`{key}` is {}, expected an object", kind(&other))),
    }
}

fn names(value: Option<Value>, key: &str) -> Result<Vec<String>, String> {
    let expected = "expected a list of names";
    let items = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(other) => return Err(format!("`{key}` is {}, {expected}", kind(&other))),
    };
    items
        .into_iter()
        .map(|item| match item {
            Value::String(name) => Ok(name),
            other => Err(format!("`{key}` holds {}, {expected}", kind(&other))),
        })
        .collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn table(object: Map<String, Value>, span: Span, depth: usize) -> Table {
    object
        .into_iter()
        .map(|(name, value)| (name, Entry { key: span, node: node(value, span, depth + 1) }))
        .collect()
}

/// Returns a value as a part of the configuration. The parser keeps nesting within bounds; what is deeper than any
/// setting is dropped.
pub(super) fn node(value: Value, span: Span, depth: usize) -> Node {
    let tree = match value {
        _ if depth > DEEPEST => Tree::Nothing,
        Value::Null => Tree::Nothing,
        Value::Bool(value) => Tree::Bool(value),
        Value::String(text) => Tree::Text(text),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Tree::Int(number),
            (None, number) => Tree::Float(number.unwrap_or_default()),
        },
        Value::Array(items) => {
            Tree::List(items.into_iter().map(|item| node(item, span, depth + 1)).collect())
        }
        Value::Object(object) => Tree::Table(table(object, span, depth)),
    };
    Node { tree, span }
}
