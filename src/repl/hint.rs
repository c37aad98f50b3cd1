//! What is said behind the cursor, dim: how the function at the cursor is called, or what the option takes.

use super::context::{At, context};
use super::known::Known;
use crate::primitives::bridge::{Field, Primitive};
use crate::script::reference;

/// Returns the hint at the end of `text`; none if there is nothing to say.
pub(super) fn hint(known: &Known, text: &str) -> Option<String> {
    let text = match text.strip_prefix(':') {
        Some(rest) => rest.strip_prefix("plan ")?,
        None => text,
    };
    let context = context(text);
    if let At::Word { word, dotted: false, .. } = &context.at
        && let Some(primitive) = known.primitive(word)
    {
        let signature = reference::signature(primitive);
        let rest = signature.strip_prefix(word.as_str()).unwrap_or(&signature);
        return Some(format!("{rest}  {}", primitive.summary));
    }
    if let Some((call, map)) = context.options()
        && let Some(primitive) = known.primitive(call)
    {
        if let Some(key) = &map.key {
            let field = primitive.options.iter().find(|field| field.name == key)?;
            // Once the value is there, it needs no explanation.
            let empty = matches!(&context.at, At::Word { word, .. } if word.is_empty());
            return (empty && text.trim_end().ends_with(':')).then(|| apart(&said(field)));
        }
        let names: Vec<&str> = primitive
            .options
            .iter()
            .map(|field| field.name)
            .filter(|name| !map.keys.iter().any(|key| key == name))
            .collect();
        let typing = matches!(&context.at, At::Word { word, .. } if !word.is_empty());
        return (!typing && !names.is_empty()).then(|| apart(&names.join(", ")));
    }
    let call = context.call()?;
    let hint = match known.primitive(call) {
        Some(primitive) => argument(primitive, context.argument().map_or(0, |(_, nth)| nth)),
        None => known.function(call)?.to_owned(),
    };
    // Behind the bracket the rest reads like its continuation.
    let head = format!("{call}(");
    Some(match hint.strip_prefix(&head) {
        Some(rest) if text.ends_with(&head) => rest.to_owned(),
        _ => apart(&hint),
    })
}

fn apart(hint: &str) -> String {
    format!("  {hint}")
}

/// How the function is called, and what this argument is.
fn argument(primitive: &Primitive, nth: usize) -> String {
    let signature = reference::signature(primitive);
    match primitive.params.get(nth) {
        Some(field) => format!("{signature}  {}: {}", field.name, field.doc),
        None => signature,
    }
}

fn said(field: &Field) -> String {
    let default = match field.default {
        "" => String::new(),
        default => format!(", {default} if not given"),
    };
    format!("{}{default}: {}", field.kind.as_str(), field.doc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_is_about_what_is_being_typed() {
        let known = Known {
            primitives: reference::catalogue(),
            functions: vec!["mine(a, b)".into()],
            ..Known::default()
        };
        let hint = |text: &str| hint(&known, text).unwrap_or_default();
        assert!(
            hint("service_stop").starts_with("(name, #{ … }) -> bool"),
            "{}",
            hint("service_stop")
        );
        assert!(hint("service_stop(").starts_with("name, #{ … }) -> bool  name: "));
        assert!(hint("step(\"x\", || service_stop(").starts_with("name, "));
        assert!(hint("service_stop(\"x\", ").starts_with("  service_stop(name, "));
        assert!(hint("output(\"ls\", #{ timeout: ").starts_with("  duration"));
        assert_eq!(hint("output(\"ls\", #{ timeout: \"5s\""), "");
        assert!(hint("output(\"ls\", #{ ").contains("timeout, "));
        assert_eq!(hint("mine(1, "), "  mine(a, b)");
        assert_eq!(hint("mine("), "a, b)");
        assert_eq!(hint("service_stop(\"x\")"), "");
        assert_eq!(hint("let x = 5"), "");
        assert_eq!(hint(":doc service_stop"), "");
        assert!(hint(":plan service_stop(").starts_with("name, "));
    }
}
