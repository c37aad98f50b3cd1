//! The directions in which modules may depend on each other, and what belongs to one layer alone.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each layer with those that it may import. Left may import right, never the reverse.
const LAYERS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("units", &[]),
    ("zone", &[]),
    ("secret", &[]),
    ("failpoint", &[]),
    ("call", &["error"]),
    ("event", &["call", "error"]),
    ("transport", &["failpoint", "secret", "units", "zone"]),
    ("journal", &["call", "error", "event", "failpoint", "units"]),
    ("effect", &["call", "error", "event", "failpoint", "journal", "secret", "transport", "units"]),
    (
        "primitives",
        &["call", "effect", "error", "event", "journal", "secret", "transport", "units", "zone"],
    ),
    ("script", &["effect", "error", "event", "journal", "primitives", "units"]),
    (
        "session",
        &[
            "call",
            "effect",
            "error",
            "event",
            "journal",
            "primitives",
            "script",
            "secret",
            "transport",
            "units",
            "zone",
        ],
    ),
    // Gathers what is to be fuzzed, for the targets in `fuzz/`.
    ("fuzz", &["effect", "journal", "primitives", "session", "transport"]),
    ("report", &["call", "error", "event", "journal", "units", "zone"]),
    (
        "repl",
        &[
            "call",
            "cli",
            "effect",
            "error",
            "event",
            "journal",
            "primitives",
            "report",
            "script",
            "secret",
            "session",
            "transport",
            "units",
        ],
    ),
    (
        "cli",
        &[
            "call",
            "effect",
            "error",
            "event",
            "journal",
            "repl",
            "report",
            "script",
            "secret",
            "session",
            "transport",
            "units",
            "zone",
        ],
    ),
];

/// Crates that one layer alone may name.
const OWNED: &[(&str, &[&str])] = &[
    ("rhai", &["script", "primitives", "repl"]),
    ("ssh2", &["transport/ssh"]),
    ("rusqlite", &["journal"]),
    ("clap", &["cli"]),
    ("saphyr_parser", &["session/config/inventories"]),
    ("rustyline", &["repl", "cli/ui"]),
    ("miette", &["report"]),
    ("indicatif", &["cli/ui"]),
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&src, &mut found);
    found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&src).unwrap().display().to_string();
            // Comments may name what they like.
            let text: String = fs::read_to_string(&path)
                .unwrap()
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect::<Vec<_>>()
                .join("\n");
            (name, text)
        })
        .collect()
}

fn layer(name: &str) -> &str {
    name.split(['/', '.']).next().unwrap()
}

#[test]
fn modules_depend_downwards_only() {
    let mut wrong = BTreeSet::new();
    for (name, text) in all() {
        let layer = layer(&name);
        let Some((_, allowed)) = LAYERS.iter().find(|(known, _)| *known == layer) else {
            assert!(["lib", "main"].contains(&layer), "{name} belongs to no layer");
            continue;
        };
        for (at, _) in text.match_indices("crate::") {
            let imported: String =
                text[at + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let known = LAYERS.iter().any(|(layer, _)| *layer == imported);
            if known && imported != layer && !allowed.contains(&imported.as_str()) {
                wrong.insert(format!("{name} imports {imported}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn crates_stay_in_their_layers() {
    let mut wrong = BTreeSet::new();
    for (name, text) in all() {
        for (owned, owners) in OWNED {
            let named = text.contains(&format!("{owned}::"));
            if named && !owners.iter().any(|owner| name.starts_with(owner)) {
                wrong.insert(format!("{name} names {owned}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_test_file_is_forgotten() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let main = fs::read_to_string(tests.join("main.rs")).unwrap();
    for entry in fs::read_dir(&tests).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_module = path.join("mod.rs").exists()
            || path.extension().is_some_and(|extension| extension == "rs");
        if is_module && module != "main" {
            assert!(
                main.contains(&format!("mod {module};")),
                "tests/main.rs does not name {module}"
            );
        }
    }
}
