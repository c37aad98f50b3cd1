//! Our reading of Ansible's inventories against its own, on tricky examples: `tests/data/inventories/make` asked the real
//! program.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::groups::Groups;
use super::{Shown, Source, Tree, ini, yaml};
use crate::session::config::error::ConfigError;
use crate::session::config::tree::Node;

const EXAMPLES: &str = include_str!("../../../../tests/data/inventories/examples");
const ANSWERS: &str = include_str!("../../../../tests/data/inventories/answers.json");

/// What Ansible takes, in part or with a warning, and is an error here: it is a slip more often than not.
const STRICTER: [&str; 4] = ["bad_key.yml", "bad_range.ini", "dup.yml", "hosts_text.yml"];

/// What Ansible refuses and is taken here, for there is only one thing that it can mean.
const LAXER: [&str; 2] = ["group_number.yml", "number_host.yml"];

fn read(name: &str, text: &str) -> Result<Groups, Vec<ConfigError>> {
    let source =
        Source { path: name.into(), dir: "/".into(), text: text.to_owned(), shown: Shown::Places };
    match name.split_once('.') {
        Some((_, "yml")) => yaml::parse(&source, 0),
        _ => ini::parse(&source, 0),
    }
}

fn json_of(node: &Node) -> Value {
    match &node.tree {
        Tree::Nothing => Value::Null,
        Tree::Text(text) | Tree::Time(text) => json!(text),
        Tree::Int(number) => json!(number),
        Tree::Float(number) => json!(number),
        Tree::Bool(value) => json!(value),
        Tree::List(items) => items.iter().map(json_of).collect(),
        Tree::Table(table) => Value::Object(
            table.iter().map(|(key, entry)| (key.clone(), json_of(&entry.node))).collect(),
        ),
    }
}

/// What each host has; null if the inventory is refused.
fn ours(name: &str, text: &str) -> Value {
    let Ok(groups) = read(name, text) else { return Value::Null };
    let Ok(flat) = groups.flat() else { return Value::Null };
    flat.iter()
        .map(|host| {
            let vars =
                host.vars.iter().map(|(name, entry)| ((*name).to_owned(), json_of(&entry.node)));
            let vars = Value::Object(vars.collect());
            (host.name.to_owned(), json!({ "groups": host.groups, "vars": vars }))
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[test]
fn inventories_are_read_as_ansible_reads_them() {
    let answers: BTreeMap<String, Value> = serde_json::from_str(ANSWERS).unwrap();
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for example in EXAMPLES.split("=== ").skip(1) {
        let (name, text) = example.split_once('\n').unwrap();
        seen.insert(name.to_owned());
        let (found, answer) = (ours(name, text), &answers[name]);
        let differs = found.is_null() != answer.is_null();
        if STRICTER.contains(&name) || LAXER.contains(&name) {
            assert!(differs && found.is_null() == STRICTER.contains(&name), "{name}: {found}");
        } else if found != *answer {
            wrong.push(format!("{name}\n  ours    {found}\n  Ansible {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen, answers.keys().cloned().collect());
    assert!(seen.len() > 50, "{}", seen.len());
}
