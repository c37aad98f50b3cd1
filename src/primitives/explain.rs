//! What the engine's own errors mean, in the words of runbooks.

use rhai::EvalAltResult;

use crate::error::{Failure, Kind};

/// Says an error that the script engine found while a script ran.
pub(super) fn explain(error: &EvalAltResult) -> Failure {
    match error {
        EvalAltResult::ErrorFunctionNotFound(signature, _) => no_such_call(signature),
        EvalAltResult::ErrorVariableNotFound(name, _) => {
            Failure::new(Kind::Script, format!("there is no variable `{name}`"))
        }
        EvalAltResult::ErrorPropertyNotFound(name, _) => {
            Failure::new(Kind::Script, format!("the map has no `{name}`"))
                .with_hint(format!("`\"{name}\" in map` tells whether it has."))
        }
        EvalAltResult::ErrorDotExpr(text, _) => Failure::new(Kind::Script, property(text)),
        EvalAltResult::ErrorArrayBounds(length, index, _) => {
            let items = if *length == 1 { "item" } else { "items" };
            let message = format!("there is no item {index} in a list of {length} {items}");
            Failure::new(Kind::Script, message)
        }
        EvalAltResult::ErrorMismatchDataType(wanted, found, _) => {
            Failure::new(Kind::Script, format!("expected {}, found {}", word(wanted), word(found)))
        }
        other => {
            // Rhai appends "(line 1, position 2)" to the text; the place is told apart.
            let text = other.to_string();
            let text = text.rfind(" (line ").map_or(text.as_str(), |end| &text[..end]);
            let mut letters = text.chars();
            let text: String = letters
                .next()
                .map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect());
            Failure::new(Kind::Script, text)
        }
    }
}

/// A call that fits no function: `rsync (i64, i64)`.
fn no_such_call(signature: &str) -> Failure {
    let (name, types) = signature.split_once(" (").unwrap_or((signature, ""));
    // Only the last parenthesis closes the list: `()` is a type.
    let types = types.strip_suffix(')').unwrap_or(types);
    let types: Vec<&str> = types.split(", ").filter(|one| !one.is_empty()).map(word).collect();
    if !name.starts_with(|first: char| first.is_alphabetic() || first == '_') {
        let between = if types.len() > 1 { "between" } else { "on" };
        let message = format!("`{name}` does not work {between} {}", types.join(" and "));
        return Failure::new(Kind::Script, message);
    }
    let given = if types.is_empty() { "nothing".to_owned() } else { types.join(", ") };
    match super::face().find(name) {
        Some(primitive) => Failure::input(format!("{name}: cannot be called with {given}"))
            .with_hint(primitive.takes()),
        None => Failure::new(Kind::Script, format!("no function `{name}` takes {given}")),
    }
}

/// `Unknown property 'foo' - a getter is not registered for type 'i64'`.
fn property(text: &str) -> String {
    let mut quoted = text.split('\'').skip(1).step_by(2);
    match (text.starts_with("Unknown property"), quoted.next(), quoted.next()) {
        (true, Some(name), Some(kind)) => format!("`{name}` is no property of {}", word(kind)),
        _ => text.to_owned(),
    }
}

/// The name of a type as runbooks call it.
fn word(kind: &str) -> &str {
    match kind {
        "i64" => "int",
        "f64" => "float",
        "string" | "&str" | "ImmutableString" | "&str | ImmutableString | String" => "text",
        "array" => "list",
        "()" => "nothing",
        "Fn" => "closure",
        _ if kind.ends_with("SecretRef") => "secret",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use rhai::Position;

    use super::*;

    #[test]
    fn a_call_that_fits_nothing_names_what_is_expected() {
        for (signature, message, hint) in [
            (
                "rsync (i64, i64)",
                "rsync: cannot be called with int, int",
                Some("It takes `from` (text or list), `to` (text) and a map of options."),
            ),
            ("facts (array)", "facts: cannot be called with list", Some("It takes nothing.")),
            (
                "- (&str | ImmutableString | String, i64)",
                "`-` does not work between text and int",
                None,
            ),
            ("- (())", "`-` does not work on nothing", None),
            ("mine (map)", "no function `mine` takes map", None),
        ] {
            let failure = explain(&EvalAltResult::ErrorFunctionNotFound(
                signature.to_owned(),
                Position::NONE,
            ));
            assert_eq!((failure.message.as_str(), failure.hint.as_deref()), (message, hint));
        }
    }

    #[test]
    fn a_property_that_is_missing_is_named_with_what_misses_it() {
        let text = "Unknown property 'foo' - a getter is not registered for type 'i64'";
        assert_eq!(property(text), "`foo` is no property of int");
    }
}
