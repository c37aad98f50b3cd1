//! The reference of the primitives, made from the catalogue: for `upgrade-host doc`, for `docs/primitives.md`, and as
//! data for completion.

use std::fmt::Write as _;

use crate::primitives;
use crate::primitives::bridge::{Field, Primitive};
use crate::units;

/// Returns every primitive in the order of the reference.
pub fn catalogue() -> Vec<&'static Primitive> {
    primitives::face().catalogue.clone()
}

/// Finds a primitive or the primitives of a family.
///
/// # Errors
/// A fragment with the nearest known name.
pub fn find(name: &str) -> Result<Vec<&'static Primitive>, String> {
    let all = catalogue();
    let found: Vec<_> = all.iter().copied().filter(|primitive| primitive.name == name).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let family: Vec<_> = all.iter().copied().filter(|primitive| primitive.family == name).collect();
    if !family.is_empty() {
        return Ok(family);
    }
    let names = all
        .iter()
        .map(|primitive| primitive.name)
        .chain(all.iter().map(|primitive| primitive.family));
    Err(match units::nearest(name, names) {
        Some(near) => format!("there is no primitive `{name}`; did you mean `{near}`?"),
        None => format!("there is no primitive `{name}`; `upgrade-host doc` lists all of them"),
    })
}

/// Returns how a primitive is called: `rsync(from, to, #{ … }) -> map`.
pub fn signature(primitive: &Primitive) -> String {
    primitive.signature()
}

/// Returns the text of one primitive, as Markdown that reads well in a terminal.
pub fn text(primitive: &Primitive) -> String {
    let mut out = String::new();
    let _infallible = write!(out, "### `{}`\n\n{}\n", signature(primitive), primitive.summary);
    for (title, fields) in [("Parameters", primitive.params), ("Options", primitive.options)] {
        if !fields.is_empty() {
            let _infallible = write!(out, "\n{title}:\n\n");
            for field in fields {
                out.push_str(&field_line(field));
            }
        }
    }
    let returns =
        primitive.returns.split_once(':').map_or(primitive.returns, |(_, words)| words.trim());
    let _infallible =
        write!(out, "\nReturns: {returns}\n\n```rhai\n{}\n```\n\n", primitive.example);
    for (title, words) in [
        ("Failure", primitive.failure),
        ("Plan", primitive.plan),
        ("Undo", primitive.undo),
        ("Resume", primitive.resume),
    ] {
        let _infallible = writeln!(out, "- {title}: {words}");
    }
    out
}

fn field_line(field: &Field) -> String {
    let default = if field.default.is_empty() {
        String::new()
    } else {
        format!(", default {}", field.default)
    };
    format!("- `{}` ({}{default}): {}\n", field.name, field.kind.as_str(), field.doc)
}

/// Returns the whole reference as one Markdown page.
pub fn page() -> String {
    let mut out = String::from(
        "# Primitives\n\nMade from the catalogue in the program; `upgrade-host doc NAME` shows the same. Unknown options are errors.\n\
         Durations and sizes are texts such as `\"90s\"`, `\"1h 30m\"`, `\"2GiB\"`. Every call acts on the current target.\n",
    );
    let mut family = "";
    for primitive in catalogue() {
        if primitive.family != family {
            family = primitive.family;
            let _infallible = write!(out, "\n## {family}\n");
        }
        out.push('\n');
        out.push_str(&text(primitive));
    }
    out
}

/// Returns the table of what becomes of each primitive that is interrupted, for `docs/reliability.md`.
pub fn interrupted() -> String {
    let mut out = String::from(
        "| primitive | if it dies in the middle, `resume` | `rollback` |\n| --- | --- | --- |\n",
    );
    for primitive in catalogue() {
        let cell = |text: &str| text.replace('|', "\\|");
        let (resume, undo) = (cell(primitive.resume), cell(primitive.undo));
        let _infallible = writeln!(out, "| `{}` | {resume} | {undo} |", primitive.name);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_what_is_interrupted_is_the_catalogue() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reliability.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (head, rest) = text.split_once("<!-- primitives -->\n").unwrap();
        let (table, tail) = rest.split_once("<!-- end -->").unwrap();
        let made = format!("\n{}\n", interrupted());
        if std::env::var_os("UPDATE_DOCS").is_some() {
            let page = format!("{head}<!-- primitives -->\n{made}<!-- end -->{tail}");
            std::fs::write(path, page).unwrap();
            return;
        }
        assert!(
            table == made,
            "docs/reliability.md is out of date: run the tests once with UPDATE_DOCS=1"
        );
    }

    #[test]
    fn the_page_in_docs_is_the_catalogue() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/primitives.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let on_disk = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            on_disk == page(),
            "docs/primitives.md is out of date: run the tests once with UPDATE_DOCS=1"
        );
    }

    #[test]
    fn every_primitive_says_everything_and_its_example_compiles() {
        for primitive in catalogue() {
            for (what, words) in [
                ("summary", primitive.summary),
                ("returns", primitive.returns),
                ("failure", primitive.failure),
                ("plan", primitive.plan),
                ("undo", primitive.undo),
                ("resume", primitive.resume),
            ] {
                assert!(!words.trim().is_empty(), "{}: no {what}", primitive.name);
            }
            assert!(
                primitive.example.contains(primitive.name),
                "{}: its example does not use it",
                primitive.name
            );
            let mut loose = crate::script::build(None).unwrap();
            loose.set_strict_variables(false);
            loose
                .compile(primitive.example)
                .unwrap_or_else(|error| panic!("{}: {error}", primitive.name));
        }
    }

    #[test]
    fn no_name_is_a_word_that_the_language_keeps_for_itself() {
        let engine = crate::script::build(None).unwrap();
        for primitive in catalogue() {
            for option in primitive.options {
                engine
                    .compile(format!("#{{ {}: 1 }}", option.name))
                    .unwrap_or_else(|error| panic!("{}: {error}", primitive.name));
            }
        }
    }

    #[test]
    fn a_misspelt_name_is_suggested() {
        assert_eq!(
            find("service_stopp").unwrap_err(),
            "there is no primitive `service_stopp`; did you mean `service_stop`?"
        );
    }
}
