//! Whether what was typed is a whole piece of script, or more is to come.

use super::lex::{Cut, Kind, lex};
use crate::script::Probe;

/// Tells whether the prompt should wait for more.
pub(super) fn is_incomplete(probe: &Probe, text: &str) -> bool {
    let lexed = lex(text);
    match lexed.cut {
        // The compiler takes an unclosed comment for the end.
        Some(Cut::LongText | Cut::Comment) => return true,
        Some(Cut::Text) => return false,
        None => {}
    }
    let mut open = Vec::new();
    for token in &lexed.tokens {
        match token.kind {
            Kind::Open => open.push(token.of(text)),
            Kind::Close => {
                let fits = match open.pop() {
                    Some("(") => ")",
                    Some("[") => "]",
                    Some(_) => "}",
                    None => return false,
                };
                if token.of(text) != fits {
                    return false;
                }
            }
            _ => {}
        }
    }
    !open.is_empty() || probe.is_incomplete(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_awaited_while_something_is_open() {
        let probe = Probe::new().unwrap();
        for text in [
            "step(\"stop\", || {",
            "step(\"stop\", || {\n    service_stop(\"obsr\");\n}",
            "fn f(a) {",
            "let a = #{",
            "let a = [1,",
            "`text",
            "`text ${",
            "`text ${a}\nmore",
            "1 /* comment",
            "let x =",
            "1 +",
            "if a { 1 } else",
        ] {
            assert!(is_incomplete(&probe, text), "{text}");
        }
        for text in [
            "",
            "1",
            "let x = 5",
            "f(\"(\")",
            "f('{')",
            "\"open",
            "f(]",
            ")",
            "f(1) // {",
            "1 /* { */",
            "let x = 5 5",
            "`a ${b} c`",
            "step(\"stop\", || {\n    service_stop(\"obsr\");\n})",
        ] {
            assert!(!is_incomplete(&probe, text), "{text}");
        }
    }
}
