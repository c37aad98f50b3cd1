//! What Tab offers, by where the cursor is.

use super::context::{At, context};
use super::known::{KEYWORDS, Known};
use super::meta;
use crate::primitives::bridge::{Field, Type};

/// Something that Tab offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// What it is.
    pub(super) name: String,
    /// What is put into the line.
    pub(super) text: String,
    /// One sentence on it, or nothing.
    pub(super) about: String,
}

impl Offer {
    fn new(name: &str, text: impl Into<String>, about: impl Into<String>) -> Self {
        Self { name: name.to_owned(), text: text.into(), about: about.into() }
    }
}

/// What Tab offers, and where in the line it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Offers {
    /// These, at this place.
    These(usize, Vec<Offer>),
    /// Files, from this place on.
    Files(usize),
}

/// Finds what fits at the end of `text`.
pub(super) fn offers(known: &Known, text: &str) -> Offers {
    if let Some(rest) = text.strip_prefix(':') {
        return of_meta(known, text, rest);
    }
    of_code(known, text)
}

fn of_meta(known: &Known, text: &str, rest: &str) -> Offers {
    let Some((name, argument)) = rest.split_once(char::is_whitespace) else {
        let offers = meta::COMMANDS
            .iter()
            .filter(|command| command.name.starts_with(rest))
            .map(|command| {
                let space = if command.argument.is_empty() { "" } else { " " };
                Offer::new(
                    &format!(":{}", command.name),
                    format!("{}{space}", command.name),
                    command.about,
                )
            })
            .collect();
        return Offers::These(1, offers);
    };
    let start = text.len() - argument.len();
    let plain = |names: &mut dyn Iterator<Item = &str>| {
        let fitting = names.filter(|name| name.starts_with(argument));
        Offers::These(start, fitting.map(|name| Offer::new(name, name, "")).collect())
    };
    match meta::find(name).map(|command| command.name) {
        Ok("doc") => {
            let mut families: Vec<&str> =
                known.primitives.iter().map(|primitive| primitive.family).collect();
            families.dedup();
            let mut offers: Vec<Offer> = known
                .primitives
                .iter()
                .map(|primitive| Offer::new(primitive.name, primitive.name, primitive.summary))
                .collect();
            for family in families {
                if !offers.iter().any(|offer| offer.name == family) {
                    offers.push(Offer::new(family, family, "a family"));
                }
            }
            offers.retain(|offer| offer.name.starts_with(argument));
            Offers::These(start, offers)
        }
        Ok("on") => plain(&mut known.targets.iter().map(String::as_str)),
        Ok("undo") => plain(&mut ["all"].into_iter()),
        Ok("load") => Offers::Files(start),
        Ok("plan") => match of_code(known, argument) {
            Offers::These(at, offers) => Offers::These(start + at, offers),
            Offers::Files(at) => Offers::Files(start + at),
        },
        _ => Offers::These(start, Vec::new()),
    }
}

fn of_code(known: &Known, text: &str) -> Offers {
    let context = context(text);
    match &context.at {
        At::Nowhere => Offers::These(text.len(), Vec::new()),
        At::Text { start, text } => of_text(known, context.argument(), *start, text),
        At::Word { start, word, path, dotted: true } => {
            let path = path.join(".");
            let keys = known.keys.iter().find(|(name, _)| *name == path);
            let fitting = keys.into_iter().flat_map(|(_, keys)| keys);
            let offers = fitting
                .filter(|key| key.starts_with(word.as_str()))
                .map(|key| Offer::new(key, key, ""))
                .collect();
            Offers::These(*start, offers)
        }
        At::Word { start, word, .. } => {
            if let Some((call, map)) = context.options()
                && let Some(primitive) = known.primitive(call)
                && !primitive.options.is_empty()
            {
                match &map.key {
                    None => {
                        let offers = primitive
                            .options
                            .iter()
                            .filter(|field| field.name.starts_with(word.as_str()))
                            .filter(|field| !map.keys.iter().any(|key| key == field.name))
                            .map(|field| {
                                Offer::new(field.name, format!("{}: ", field.name), about(field))
                            })
                            .collect();
                        return Offers::These(*start, offers);
                    }
                    Some(key) => {
                        let field = primitive.options.iter().find(|field| field.name == key);
                        if field.is_some_and(|field| field.kind == Type::Bool) {
                            let words = ["true", "false"];
                            let fitting = words.into_iter().filter(|it| it.starts_with(word));
                            let offers = fitting.map(|it| Offer::new(it, it, "")).collect();
                            return Offers::These(*start, offers);
                        }
                    }
                }
            }
            Offers::These(*start, names(known, word))
        }
    }
}

/// What an option is, in one line.
fn about(field: &Field) -> String {
    let default = match field.default {
        "" => String::new(),
        default => format!(", {default} if not given"),
    };
    format!("{}{default}: {}", field.kind.as_str(), field.doc)
}

/// What a text that is the first argument of some calls may be.
fn of_text(known: &Known, argument: Option<(&str, usize)>, start: usize, text: &str) -> Offers {
    // A selector is a list of terms, which may be joined by `&` and stand after `!`.
    let head = text.rfind([',', '&']).map_or(0, |at| at + 1);
    let last = text[head..].trim_start_matches([' ', '!']);
    let at = start + text.len() - last.len();
    let sign = if last.starts_with("tag:") { "tag:" } else { "@" };
    let tags: Vec<String> = known.tags.iter().map(|tag| format!("{sign}{tag}")).collect();
    let fitting = |at: usize, typed: &str, names: &mut dyn Iterator<Item = &String>| {
        let names = names.filter(|name| name.starts_with(typed));
        Offers::These(at, names.map(|name| Offer::new(name, name, "")).collect())
    };
    match argument {
        Some(("on", 0)) => fitting(start, text, &mut known.targets.iter()),
        Some(("targets", 0)) => {
            let all = "all".to_owned();
            let names = known.targets.iter().chain(&tags).chain([&all]);
            fitting(at, last, &mut names.into_iter())
        }
        Some(("param" | "secret", 0)) => fitting(start, text, &mut known.params.iter()),
        _ => Offers::These(start, Vec::new()),
    }
}

/// Everything that may stand where a value begins.
fn names(known: &Known, word: &str) -> Vec<Offer> {
    let mut offers: Vec<Offer> = known
        .variables
        .iter()
        .filter(|name| name.starts_with(word))
        .map(|name| Offer::new(name, name, "a variable"))
        .collect();
    for primitive in known.primitives.iter().filter(|known| known.name.starts_with(word)) {
        let none = primitive.params.is_empty() && primitive.options.is_empty();
        let text = format!("{}{}", primitive.name, if none { "()" } else { "(" });
        offers.push(Offer::new(primitive.name, text, primitive.summary));
    }
    if word.is_empty() {
        return offers;
    }
    for signature in known.functions.iter().filter(|known| known.starts_with(word)) {
        let name = signature.split('(').next().unwrap_or_default();
        let text = format!("{name}{}", if signature.ends_with("()") { "()" } else { "(" });
        offers.push(Offer::new(name, text, signature));
    }
    for keyword in KEYWORDS.iter().chain(&["print"]).filter(|known| known.starts_with(word)) {
        offers.push(Offer::new(keyword, *keyword, ""));
    }
    offers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let texts = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        Known {
            primitives: crate::script::reference::catalogue(),
            functions: texts(&["restart_all(names)", "reset()"]),
            variables: texts(&["resources", "found"]),
            keys: vec![("found".to_owned(), texts(&["free", "total"]))],
            targets: texts(&["local", "obs1", "obs2", "web1"]),
            tags: texts(&["backup"]),
            params: texts(&["home"]),
        }
    }

    fn tab(text: &str) -> (usize, Vec<String>) {
        match offers(&known(), text) {
            Offers::These(at, offers) => (at, offers.into_iter().map(|offer| offer.text).collect()),
            Offers::Files(at) => (at, vec!["<files>".to_owned()]),
        }
    }

    #[test]
    fn names_are_completed_with_what_follows_them() {
        assert_eq!(tab("service_sto"), (0, vec!["service_stop(".to_owned()]));
        assert_eq!(tab("let x = fac"), (8, vec!["facts()".to_owned()]));
        let (at, names) = tab("1 + res");
        assert_eq!(at, 4);
        for name in ["resources", "restart_all(", "reset()"] {
            assert!(names.contains(&name.to_owned()), "{name} in {names:?}");
        }
        assert!(tab("ret").1.contains(&"return".to_owned()));
        assert_eq!(tab("\"serv").1, [""; 0]);
        assert_eq!(tab("// serv").1, [""; 0]);
    }

    #[test]
    fn option_keys_are_offered_once_and_with_a_colon() {
        let (_, keys) = tab("output(\"ls\", #{ ");
        assert!(keys.contains(&"timeout: ".to_owned()), "{keys:?}");
        let (_, keys) = tab("output(\"ls\", #{ timeout: \"5s\", ");
        assert!(!keys.is_empty() && !keys.contains(&"timeout: ".to_owned()), "{keys:?}");
        assert_eq!(tab("output(\"ls\", #{ timeo").1, ["timeout: "]);
        assert_eq!(tab("each(targets(), #{ ma").1, ["max: "]);
    }

    #[test]
    fn targets_parameters_and_keys_are_offered_where_they_belong() {
        assert_eq!(tab("on(\"ob"), (4, vec!["obs1".to_owned(), "obs2".to_owned()]));
        assert_eq!(tab("targets(\"obs1,@"), (14, vec!["@backup".to_owned()]));
        assert_eq!(tab("targets(\"@backup & !we"), (20, vec!["web1".to_owned()]));
        assert_eq!(tab("targets(\"obs1&tag:b"), (14, vec!["tag:backup".to_owned()]));
        assert_eq!(tab("param(\"").1, ["home"]);
        assert_eq!(tab("found.f"), (6, vec!["free".to_owned()]));
        assert_eq!(tab("sh(\"ob").1, [""; 0]);
    }

    #[test]
    fn meta_commands_and_their_arguments() {
        assert_eq!(tab(":d").1, ["doc ", "debts"]);
        assert_eq!(tab(":doc service_sta").1, ["service_start", "service_status"]);
        assert_eq!(tab(":on w"), (4, vec!["web1".to_owned()]));
        assert_eq!(tab(":plan service_sto"), (6, vec!["service_stop(".to_owned()]));
        assert_eq!(tab(":load scr"), (6, vec!["<files>".to_owned()]));
    }
}
