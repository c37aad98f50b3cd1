//! Keeps secrets out of everything that is written or shown: every revealed secret is known here, also as it looks when
//! URL-encoded, quoted for a shell, in JSON or in XML.

use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::Value;

use crate::secret::Secret;

/// What stands in the place of a secret.
const MARK: &str = "[secret]";

#[derive(Debug, Default)]
struct Known {
    forms: Vec<String>,
    matcher: Option<AhoCorasick>,
}

/// A shared set of secrets to hide. Clones see the same set.
#[derive(Clone, Debug, Default)]
pub struct Redactor(Arc<RwLock<Known>>);

impl Redactor {
    /// Makes one that knows no secret yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hides `secret` from now on, in all its forms. A secret of fewer than three characters is not hidden: it would
    /// blot out ordinary text and can be guessed from it.
    pub fn add(&self, secret: &Secret) {
        let text = secret.reveal();
        if text.chars().count() < 3 {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for form in forms(text) {
            if !known.forms.contains(&form) {
                known.forms.push(form);
            }
        }
        known.matcher =
            AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&known.forms).ok();
    }

    /// Returns `text` with every known secret replaced.
    pub fn text(&self, text: &str) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match &known.matcher {
            Some(matcher) => matcher.replace_all(text, &vec![MARK; known.forms.len()]),
            None => text.to_owned(),
        }
    }

    /// Replaces every known secret in the strings and keys of `value`.
    pub fn value(&self, value: Value) -> Value {
        if self.0.read().unwrap_or_else(PoisonError::into_inner).matcher.is_none() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => {
                Value::Array(items.into_iter().map(|item| self.value(item)).collect())
            }
            Value::Object(map) => Value::Object(
                map.into_iter().map(|(key, item)| (self.text(&key), self.value(item))).collect(),
            ),
            other => other,
        }
    }

    /// Replaces every known secret in a failure.
    pub fn failure(&self, mut failure: crate::error::Failure) -> crate::error::Failure {
        failure.message = self.text(&failure.message);
        failure.hint = failure.hint.map(|hint| self.text(&hint));
        failure.command = failure.command.map(|command| self.text(&command));
        failure.stdout = self.text(&failure.stdout);
        failure.stderr = self.text(&failure.stderr);
        failure
    }
}

fn forms(text: &str) -> Vec<String> {
    let json = Value::String(text.to_owned()).to_string();
    let xml =
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let percent = |plain: fn(u8) -> bool, upper: bool| {
        text.bytes().fold(String::new(), |mut out, byte| {
            if plain(byte) {
                out.push(char::from(byte));
            } else if upper {
                let _infallible = write!(out, "%{byte:02X}");
            } else {
                let _infallible = write!(out, "%{byte:02x}");
            }
            out
        })
    };
    let mut forms = vec![
        text.to_owned(),
        form_urlencoded::byte_serialize(text.as_bytes()).collect(),
        percent(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b), true),
        percent(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b), false),
        percent(|b| b.is_ascii_alphanumeric(), true),
        json[1..json.len() - 1].to_owned(),
        xml.replace('\'', "&apos;"),
        xml.replace('\'', "&#39;"),
        xml,
        base64(text.as_bytes()),
    ];
    forms.extend(shlex::try_quote(text).ok().map(std::borrow::Cow::into_owned));
    forms.sort();
    forms.dedup();
    forms
}

/// Standard base64, as HTTP Basic authentication and many configuration files show a password.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            let n = (u32::from(chunk[0]) << 16)
                | (u32::from(*chunk.get(1).unwrap_or(&0)) << 8)
                | u32::from(*chunk.get(2).unwrap_or(&0));
            (0..4).map(move |i| {
                if i <= chunk.len() {
                    char::from(ALPHABET[(n >> (18 - 6 * i)) as usize & 63])
                } else {
                    '='
                }
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn redactor(secret: &str) -> Redactor {
        let redactor = Redactor::new();
        redactor.add(&Secret::new(secret.to_owned()));
        redactor
    }

    #[test]
    fn a_secret_is_hidden_in_every_form() {
        let redactor = redactor("p&ss w'rd\"1");
        for shown in [
            "p&ss w'rd\"1",
            "SysPwd=p%26ss+w%27rd%221",
            "p%26ss%20w%27rd%221",
            "p%26ss%20w%27rd%221",
            "p&amp;ss w&apos;rd&quot;1",
            "p&ss w'rd\\\"1",
        ] {
            let hidden = redactor.text(shown);
            assert!(hidden.contains(MARK) && !hidden.contains("ss"), "{shown} → {hidden}");
        }
        assert_eq!(redactor.value(json!({"a": ["x p&ss w'rd\"1"]})), json!({"a": ["x [secret]"]}));
    }

    #[test]
    fn base64_is_as_everybody_writes_it() {
        assert_eq!(
            [b"a".as_slice(), b"ab", b"abc", b"abcd"].map(base64),
            ["YQ==", "YWI=", "YWJj", "YWJjZA=="]
        );
        assert_eq!(redactor("hunter2").text("Basic aHVudGVyMg=="), "Basic [secret]");
    }

    #[test]
    fn without_secrets_nothing_changes() {
        assert_eq!(Redactor::new().text("plain"), "plain");
        assert_eq!(redactor("ab").text("abacus"), "abacus");
    }
}
