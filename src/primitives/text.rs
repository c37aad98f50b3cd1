//! Text that a runbook gives and that may be a secret: how actions hold it, and how it is revealed when it is sent.

use rhai::{Dynamic, Map};
use serde::{Deserialize, Serialize};

use super::bridge::type_name;
use crate::effect::{Cx, SecretRef};
use crate::error::Result;
use crate::secret::Secret;

/// Plain text, or the name of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Text {
    /// A secret, by name.
    Secret(SecretRef),
    /// Text as it is.
    Plain(String),
}

impl Text {
    /// Takes a script's value: text, a secret, a number or a flag.
    ///
    /// # Errors
    /// A fragment that names the type found.
    pub(crate) fn new(value: &Dynamic) -> Result<Self, String> {
        if let Some(secret) = value.clone().try_cast::<SecretRef>() {
            return Ok(Self::Secret(secret));
        }
        match type_name(value) {
            "text" | "int" | "float" | "bool" => Ok(Self::Plain(value.to_string())),
            other => Err(format!("expected text or a secret, found {other}")),
        }
    }

    /// Returns the text that is sent.
    ///
    /// # Errors
    /// As [`Cx::secret`].
    pub(crate) fn reveal(&self, cx: &Cx<'_>) -> Result<Secret> {
        match self {
            Self::Secret(reference) => cx.secret(reference),
            Self::Plain(text) => Ok(Secret::new(text.clone())),
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::Plain(text.to_owned())
    }
}

/// Returns the names and texts of a map; a list stands for several texts of one name.
///
/// # Errors
/// A fragment that names the entry that is neither.
pub(crate) fn pairs(value: &Dynamic) -> Result<Vec<(String, Text)>, String> {
    let map = value
        .read_lock::<Map>()
        .ok_or_else(|| format!("expected a map, found {}", type_name(value)))?;
    let mut pairs = Vec::new();
    for (name, value) in map.iter() {
        let named = |why: String| format!("`{name}`: {why}");
        if let Some(list) = value.read_lock::<rhai::Array>() {
            for item in list.iter() {
                pairs.push((name.to_string(), Text::new(item).map_err(named)?));
            }
        } else {
            pairs.push((name.to_string(), Text::new(value).map_err(named)?));
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_recorded_by_name() {
        let secret = Text::new(&Dynamic::from(SecretRef { name: "pw".into() })).unwrap();

        assert_eq!(serde_json::to_string(&secret).unwrap(), r#"{"$secret":"pw"}"#);
        assert_eq!(serde_json::from_str::<Text>(r#""x""#).unwrap(), "x".into());
        assert_eq!(Text::new(&Dynamic::from_int(7)).unwrap(), "7".into());
        assert!(Text::new(&Dynamic::UNIT).unwrap_err().contains("found nothing"));
    }
}
