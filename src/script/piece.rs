//! Pieces of script that are typed one after the other: whether one is complete, and what its value looks like to a
//! reader that knows no Rhai types.

use rhai::{Dynamic, Engine, ParseErrorType, Position};

use super::runbook::ScriptError;
use crate::effect::SecretRef;

/// A value of a script, as a person reads it.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// No value.
    Nothing,
    /// A truth value or a number.
    Plain(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Shown>),
    /// A map.
    Map(Vec<(String, Shown)>),
    /// What has no literal: a closure, a secret, a type of ours.
    Other(String),
}

/// Makes a value readable; secrets stay hidden.
pub fn shown(value: &Dynamic) -> Shown {
    if value.is_unit() {
        return Shown::Nothing;
    }
    if let Some(secret) = value.clone().try_cast::<SecretRef>() {
        return Shown::Other(format!("secret {}", secret.name));
    }
    if let Some(list) = value.read_lock::<rhai::Array>() {
        return Shown::List(list.iter().map(shown).collect());
    }
    if let Some(map) = value.read_lock::<rhai::Map>() {
        return Shown::Map(
            map.iter().map(|(key, value)| (key.to_string(), shown(value))).collect(),
        );
    }
    if let Some(bytes) = value.read_lock::<rhai::Blob>() {
        return Shown::Other(format!("{} bytes", bytes.len()));
    }
    if let Some(closure) = value.read_lock::<rhai::FnPtr>() {
        let name = closure.fn_name();
        return Shown::Other(if name.starts_with("anon$") {
            "closure".to_owned()
        } else {
            format!("function {name}")
        });
    }
    if value.is_string() || value.is_char() {
        return Shown::Text(value.to_string());
    }
    if value.is_bool() || value.is_int() || value.is_float() {
        return Shown::Plain(value.to_string());
    }
    Shown::Other(value.to_string())
}

/// Compiles what is typed to tell whether it is complete. Nothing is evaluated.
pub struct Probe(Engine);

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Probe")
    }
}

impl Probe {
    /// Makes one.
    ///
    /// # Errors
    /// If the engine cannot be built.
    pub fn new() -> Result<Self, ScriptError> {
        let mut engine = super::build(None)?;
        // The variables of earlier pieces are not known here.
        engine.set_strict_variables(false);
        Ok(Self(engine))
    }

    /// Tells whether a piece of script only lacks its end, so that a prompt should wait for more.
    pub fn is_incomplete(&self, text: &str) -> bool {
        let Err(error) = self.0.compile(text) else { return false };
        match error.err_type() {
            ParseErrorType::UnexpectedEOF => true,
            // In the middle of a text a missing token is a mistake; at its end it may still come.
            ParseErrorType::MissingToken(..) => at_end(text, error.position()),
            _ => false,
        }
    }
}

fn at_end(text: &str, position: Position) -> bool {
    let Some(line) = position.line() else { return true };
    let column = position.position().unwrap_or(1);
    let rest: String = text
        .split('\n')
        .enumerate()
        .skip(line - 1)
        .flat_map(|(number, text)| {
            let skip = if number + 1 == line { column - 1 } else { 0 };
            text.chars().skip(skip).chain(['\n'])
        })
        .collect();
    rest.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks_only_its_end_is_incomplete() {
        let probe = Probe::new().unwrap();
        for text in [
            "fn f() {",
            "fn f(a,",
            "step(\"a\", || {\n  1;",
            "let x =",
            "1 +",
            "if true",
            "#{ a: 1,",
            "[1, 2",
            "rsync(\"a\",",
            "switch x {",
        ] {
            assert!(probe.is_incomplete(text), "{text}");
        }
    }

    #[test]
    fn what_is_complete_or_wrong_is_not() {
        let probe = Probe::new().unwrap();
        for text in
            ["", "1", "fn f() { 1 }", "let x = 5 5", "\"open", "]", "let = 1", "f(1))", "|x| x + 1"]
        {
            assert!(!probe.is_incomplete(text), "{text}");
        }
    }

    #[test]
    fn values_are_readable_and_secrets_stay_hidden() {
        let engine = crate::script::build(None).unwrap();
        let value = engine
            .eval::<Dynamic>("#{ b: [1, 2.5, true], a: \"text\", c: (), d: |x| x, e: 'c' }")
            .unwrap();
        let Shown::Map(map) = shown(&value) else { panic!() };
        assert_eq!(
            map.into_iter().map(|(_, value)| value).collect::<Vec<_>>(),
            [
                Shown::Text("text".to_owned()),
                Shown::List(["1", "2.5", "true"].map(|n| Shown::Plain(n.to_owned())).to_vec()),
                Shown::Nothing,
                Shown::Other("closure".to_owned()),
                Shown::Text("c".to_owned()),
            ]
        );
        let secret = Dynamic::from(SecretRef { name: "pw".to_owned() });
        assert_eq!(shown(&secret), Shown::Other("secret pw".to_owned()));
    }
}
