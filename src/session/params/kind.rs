//! The types of parameters: what each takes, from text and from typed values. Messages are the end of the sentence
//! "parameter `name` …", and never hold the value of a secret.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Spec;
use crate::session::secrets::Reference;
use crate::units;

/// What the values of a parameter are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamType {
    /// Any text.
    Text,
    /// An absolute path.
    Path,
    /// A whole number.
    Int,
    /// `true` or `false`.
    Bool,
    /// A duration such as `90s`.
    Duration,
    /// A size such as `2GiB`.
    Size,
    /// A list.
    List,
    /// One of `choices`.
    Choice,
    /// A reference to a secret.
    Secret,
    /// A regular expression.
    Pattern,
    /// An address such as `https://host:443/path`.
    Url,
    /// A TCP port.
    Port,
    /// A time of day, a local date and time, or an instant.
    Time,
    /// Anything.
    Any,
}

impl ParamType {
    /// Every type, in the order of the documentation.
    pub const ALL: [Self; 14] = [
        Self::Text,
        Self::Path,
        Self::Int,
        Self::Bool,
        Self::Duration,
        Self::Size,
        Self::List,
        Self::Choice,
        Self::Secret,
        Self::Pattern,
        Self::Url,
        Self::Port,
        Self::Time,
        Self::Any,
    ];

    /// Returns the word of the declaration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Path => "path",
            Self::Int => "int",
            Self::Bool => "bool",
            Self::Duration => "duration",
            Self::Size => "size",
            Self::List => "list",
            Self::Choice => "choice",
            Self::Secret => "secret",
            Self::Pattern => "pattern",
            Self::Url => "url",
            Self::Port => "port",
            Self::Time => "time",
            Self::Any => "any",
        }
    }

    /// Returns the type that a declaration names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Returns whether `min` and `max` mean something.
    pub(super) fn has_bounds(self) -> bool {
        matches!(self, Self::Int | Self::Port | Self::Duration | Self::Size)
    }
}

/// Returns the type as help shows it: with the choices, the bounds.
pub(super) fn describe(spec: &Spec) -> String {
    if !spec.choices.is_empty() {
        return spec.choices.iter().map(say).collect::<Vec<_>>().join("|");
    }
    let kind = spec.kind.as_str();
    match (&spec.min, &spec.max) {
        (Some(min), Some(max)) => format!("{kind} {} to {}", say(min), say(max)),
        (Some(min), None) => format!("{kind} from {}", say(min)),
        (None, Some(max)) => format!("{kind} up to {}", say(max)),
        (None, None) => kind.to_owned(),
    }
}

/// Returns a value as it would be given after `--set`.
pub(super) fn say(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let plain = items.iter().all(
                |item| matches!(item, Value::String(text) if !text.contains(',') && !text.is_empty()),
            );
            if plain {
                items.iter().map(say).collect::<Vec<_>>().join(",")
            } else {
                value.to_string()
            }
        }
        other => other.to_string(),
    }
}

/// Reads a value from the text after `--set NAME=`.
pub(super) fn from_text(spec: &Spec, text: &str) -> Result<Value, String> {
    let value = match spec.kind {
        ParamType::Int | ParamType::Port => {
            Value::from(text.trim().parse::<i64>().map_err(|_| is(text, "a whole number"))?)
        }
        ParamType::Bool => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Value::Bool(true),
            "false" | "no" | "off" => Value::Bool(false),
            _ => return Err(is(text, "true or false")),
        },
        ParamType::List if text.trim_start().starts_with('[') => {
            serde_json::from_str(text).map_err(|error| format!("is no list in JSON: {error}"))?
        }
        ParamType::List => text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| Value::String(item.to_owned()))
            .collect(),
        ParamType::Any => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
        }
        _ if !spec.choices.is_empty() => chosen(spec, text)?,
        _ => Value::String(text.to_owned()),
    };
    check(spec, value)
}

/// Checks a typed value, and returns it as runbooks see it.
pub(super) fn check(spec: &Spec, value: Value) -> Result<Value, String> {
    if spec.kind == ParamType::Choice && (value.is_array() || value.is_object()) {
        return chosen(spec, &value.to_string());
    }
    check_type(spec.kind, &value)?;
    check_bounds(spec, &value)?;
    if spec.choices.is_empty() || spec.choices.contains(&value) {
        return Ok(value);
    }
    chosen(spec, &say(&value))
}

fn chosen(spec: &Spec, text: &str) -> Result<Value, String> {
    if let Some(choice) = spec.choices.iter().find(|choice| say(choice) == text) {
        return Ok(choice.clone());
    }
    let choices: Vec<String> = spec.choices.iter().map(say).collect();
    let near = units::nearest(text, choices.iter().map(String::as_str))
        .map(|near| format!("; did you mean `{near}`?"))
        .unwrap_or_default();
    Err(format!("is `{text}`, expected one of {}{near}", choices.join(", ")))
}

fn check_type(kind: ParamType, value: &Value) -> Result<(), String> {
    match (kind, value) {
        (ParamType::Secret, Value::String(text)) => Reference::parse(text).map(|_| ()),
        (ParamType::Secret, _) => Err("this is no reference to a secret".to_owned()),
        (ParamType::Text | ParamType::Choice, Value::String(_))
        | (ParamType::Bool | ParamType::Choice, Value::Bool(_))
        | (ParamType::Choice, Value::Number(_))
        | (ParamType::List, Value::Array(_))
        | (ParamType::Any, _) => Ok(()),
        (ParamType::Int, Value::Number(number)) if number.is_i64() => Ok(()),
        (ParamType::Port, Value::Number(number)) => match number.as_i64() {
            Some(1..=65_535) => Ok(()),
            _ => Err(is(&number.to_string(), "a port from 1 to 65535")),
        },
        (ParamType::Duration, Value::String(text)) => {
            units::duration(text).map(|_| ()).map_err(|_| is(text, "a duration such as 90s"))
        }
        (ParamType::Size, Value::String(text)) => {
            units::size(text).map(|_| ()).map_err(|_| is(text, "a size such as 2GiB"))
        }
        (ParamType::Size, Value::Number(number)) if number.is_u64() => Ok(()),
        (ParamType::Path, Value::String(text)) => {
            if text.starts_with('/') && !text.contains(char::is_control) {
                Ok(())
            } else {
                Err(is(text, "an absolute path"))
            }
        }
        (ParamType::Pattern, Value::String(text)) => check_pattern(text),
        (ParamType::Url, Value::String(text)) => check_url(text),
        (ParamType::Time, Value::String(text)) => check_time(text),
        (_, value) => Err(is(&value.to_string(), expected(kind))),
    }
}

fn expected(kind: ParamType) -> &'static str {
    match kind {
        ParamType::Text => "text in quotes",
        ParamType::Path => "an absolute path",
        ParamType::Int => "a whole number",
        ParamType::Bool => "true or false",
        ParamType::Duration => "a duration such as \"90s\"",
        ParamType::Size => "a size such as \"2GiB\"",
        ParamType::List => "a list",
        ParamType::Choice => "one of the choices",
        ParamType::Secret => "a reference to a secret",
        ParamType::Pattern => "a regular expression in quotes",
        ParamType::Url => "a URL in quotes",
        ParamType::Port => "a port from 1 to 65535",
        ParamType::Time => "a time in quotes, such as \"22:00\"",
        ParamType::Any => "anything",
    }
}

fn is(text: &str, expected: &str) -> String {
    if text.is_empty() {
        return format!("is empty, expected {expected}");
    }
    format!("is `{text}`, expected {expected}")
}

/// A bound or value as a number that can be compared.
pub(super) fn measure(kind: ParamType, value: &Value) -> Option<i128> {
    match (kind, value) {
        (ParamType::Duration, Value::String(text)) => {
            i128::try_from(units::duration(text).ok()?.as_nanos()).ok()
        }
        (ParamType::Size, Value::String(text)) => units::size(text).ok().map(i128::from),
        (_, Value::Number(number)) => number.as_i64().map(i128::from),
        _ => None,
    }
}

fn check_bounds(spec: &Spec, value: &Value) -> Result<(), String> {
    let Some(measured) = measure(spec.kind, value) else { return Ok(()) };
    let bound = |bound: &Option<Value>| {
        bound.as_ref().and_then(|bound| Some((measure(spec.kind, bound)?, say(bound))))
    };
    match (bound(&spec.min), bound(&spec.max)) {
        (Some((min, said)), _) if measured < min => {
            Err(format!("is `{}`, expected at least {said}", say(value)))
        }
        (_, Some((max, said))) if measured > max => {
            Err(format!("is `{}`, expected at most {said}", say(value)))
        }
        _ => Ok(()),
    }
}

fn check_pattern(text: &str) -> Result<(), String> {
    let Err(error) = regex::bytes::Regex::new(text) else { return Ok(()) };
    let error = error.to_string();
    let why = error.lines().last().unwrap_or_default();
    Err(format!("is no regular expression: {}", why.trim_start_matches("error: ")))
}

/// Checks a URL. One with a password in it is refused, and not repeated.
pub(in crate::session) fn check_url(text: &str) -> Result<(), String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(is(text, "a URL such as https://host/path"));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.split_once('@').is_some_and(|(user, _)| user.contains(':')) {
        return Err("holds a password, which would be shown and recorded; give it by a parameter of type secret".to_owned());
    }
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host_fits = !host.is_empty() && !host.starts_with(':');
    if scheme_fits && host_fits && !text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Ok(())
    } else {
        Err(is(text, "a URL such as https://host/path"))
    }
}

fn check_time(text: &str) -> Result<(), String> {
    let text = text.trim();
    // Dates alone would be read as midnight, which nobody means who forgets the time.
    let fits = text.contains(':')
        && (text.parse::<jiff::civil::Time>().is_ok()
            || text.parse::<jiff::civil::DateTime>().is_ok()
            || text.parse::<jiff::Timestamp>().is_ok());
    if fits {
        Ok(())
    } else {
        Err(is(text, "a time such as 22:00, 2026-11-30 22:00 or 2026-11-30T22:00:00+01:00"))
    }
}
