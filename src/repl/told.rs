//! Small answers to what is told and how.

use std::sync::Arc;

use crate::error::Failure;
use crate::event::Status;
use crate::primitives::bridge::Primitive;
use crate::report::table::Entry;
use crate::script::Runbook;
use crate::session::inventory::Factory;

/// Returns whether an end needs no words.
pub(super) fn is_plain(status: Status, debts: &[String]) -> bool {
    status == Status::Done && debts.is_empty()
}

/// Makes no way to any target: for names alone.
pub(super) fn nothing() -> Factory {
    Arc::new(|config| Err(Failure::input(format!("{} is only listed", config.name)).into()))
}

/// A row of the list of primitives.
pub(super) fn entry(primitive: &Primitive) -> Entry {
    Entry {
        family: primitive.family.to_owned(),
        name: primitive.name.to_owned(),
        summary: primitive.summary.to_owned(),
    }
}

/// Returns the texts of the functions that a runbook defines.
pub(super) fn functions(runbook: &Runbook) -> Vec<String> {
    use super::lex::{Kind, lex, partner};
    let text = &runbook.text;
    let tokens = lex(text).tokens;
    let mut found = Vec::new();
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            Kind::Word if depth == 0 && token.of(text) == "fn" => {
                let body = tokens[at..].iter().position(|token| token.of(text) == "{");
                if let Some(end) = body.and_then(|body| partner(&tokens, at + body)) {
                    found.push(text[token.start..tokens[end].end].to_owned());
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_of_a_runbook_are_found() {
        let text = "const RUNBOOK = #{ params: #{ a: 1 } };\nfn one(a) { if a { 1 } else { 2 } }\nstep(\"x\", || { 1 });\nfn two() { `}` }\n";
        let engine = crate::script::build(None).unwrap();
        let runbook =
            Runbook::compile(&engine, "x".into(), text.into(), &mut |_| Err(String::new()))
                .unwrap();
        assert_eq!(
            functions(&runbook),
            ["fn one(a) { if a { 1 } else { 2 } }", "fn two() { `}` }"]
        );
    }
}
