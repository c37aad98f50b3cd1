//! docs/journal.md against the code: each table and column, each kind of record and each key of what records are made of
//! is described, and nothing else is. That the examples are read and written so is tested beside the records.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::format;
use crate::support::cli::Cli;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A section of the document: the words in the first column of its table, and its example.
#[derive(Default)]
struct Section {
    words: BTreeSet<String>,
    example: Option<String>,
}

fn sections() -> BTreeMap<String, Section> {
    let text = read("docs/journal.md");
    let mut found = BTreeMap::new();
    for part in text.split("\n### `").skip(1) {
        let part = part.split("\n## ").next().unwrap();
        let (name, rest) = part.split_once('`').unwrap();
        let words = rest
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(word, _)| word.to_owned())
            .collect();
        let example = rest.split_once("```json\n").and_then(|(_, rest)| rest.split_once("```"));
        let example = example.map(|(json, _)| json.to_owned());
        assert!(found.insert(name.to_owned(), Section { words, example }).is_none(), "{name}");
    }
    found
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// The variants of an enum, or the one of a struct, each with its fields, as the source has them.
fn variants(path: &str, name: &str) -> BTreeMap<String, BTreeSet<String>> {
    let text = read(path);
    let (mut found, mut current) = (BTreeMap::<String, BTreeSet<String>>::new(), String::new());
    let from = [format!("pub struct {name} {{"), format!("pub enum {name} {{")]
        .iter()
        .find_map(|begin| text.find(begin))
        .unwrap_or_else(|| panic!("{path} has no {name}"));
    for line in text[from..].lines().skip(1).take_while(|line| *line != "}") {
        let word = line.trim().trim_start_matches("pub ");
        let length = word.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(word.len());
        let (word, rest) = word.split_at(length);
        if rest.starts_with(':') {
            found.entry(current.clone()).or_default().insert(word.to_owned());
        } else if !word.is_empty() {
            current = snake(word);
            found.entry(current.clone()).or_default();
        }
    }
    assert!(!found.is_empty(), "{name}");
    found
}

#[test]
fn every_kind_of_record_is_described_with_all_its_keys() {
    let sections = sections();
    let kinds = variants("src/journal/record.rs", "Body");
    assert!(kinds.len() >= 11 && kinds["intent"].len() == 12, "{kinds:?}");
    for (kind, fields) in kinds {
        let section = sections.get(&kind).unwrap_or_else(|| panic!("`{kind}` is not described"));
        assert_eq!(section.words, fields, "{kind}");
        let json = section.example.as_ref().unwrap_or_else(|| panic!("{kind} has no example"));
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(value["kind"], kind.as_str());
        let keys: BTreeSet<String> = value.as_object().unwrap().keys().cloned().collect();
        let expected = fields.into_iter().chain(["kind".to_owned()]).collect();
        assert_eq!(keys, expected, "the example of {kind} has all keys");
    }
}

#[test]
fn what_records_are_made_of_is_described() {
    let sections = sections();
    for (path, name) in [
        ("src/call.rs", "CallKey"),
        ("src/call.rs", "Access"),
        ("src/journal/record.rs", "Inverse"),
        ("src/journal/record.rs", "Debt"),
        ("src/journal/record.rs", "Outcome"),
        ("src/error.rs", "Failure"),
        ("src/error.rs", "Place"),
        ("src/event.rs", "DeadmanState"),
    ] {
        let mut expected = BTreeSet::new();
        for (variant, fields) in variants(path, name) {
            expected.extend(fields);
            expected.extend((!variant.is_empty()).then_some(variant));
        }
        let section = sections.get(name).unwrap_or_else(|| panic!("`{name}` is not described"));
        assert_eq!(section.words, expected, "{name}");
    }
    let text = read("docs/journal.md");
    for kind in variants("src/error.rs", "Kind").keys() {
        assert!(text.contains(&format!("`{kind}`")), "the kind of failure `{kind}`");
    }
}

#[test]
fn every_table_is_described_with_all_its_columns() {
    let sections = sections();
    let cli = Cli::new();
    cli.run(&["runs"]);
    let journal = rusqlite::Connection::open(cli.state().join("journal.db")).unwrap();
    let sql = "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'";
    let mut tables = BTreeMap::<String, BTreeSet<String>>::new();
    let mut statement = journal.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    for row in rows {
        let (table, column): (String, String) = row.unwrap();
        tables.entry(table).or_default().insert(column);
    }
    assert_eq!(tables.len(), 4);
    for (table, columns) in tables {
        let section = sections.get(&table).unwrap_or_else(|| panic!("`{table}` is not described"));
        assert_eq!(section.words, columns, "{table}");
    }
    let text = read("docs/journal.md");
    assert!(text.contains(&format!("has a version, {0} at present", format())));
    assert!(text.contains(&format!("\n| {} | ", format())), "what is new in it");
}
