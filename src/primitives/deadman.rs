//! The option `deadman` of changes whose inverse can be said as a command.

use std::collections::BTreeMap;
use std::time::Duration;

use rhai::Map;
use serde::Deserialize;
use serde_json::Value;

use super::app::verb;
use super::bridge::{Field, Options, RhaiResultOf, Type, field, type_name};
use crate::effect::{App, Cx, Deadman, SecretRef, Switch};
use crate::error::{Failure, Result};
use crate::secret::Secret;
use crate::transport::Command;
use crate::units;

/// The least time: a look at the target and a change must fit in.
const LEAST: Duration = Duration::from_secs(3);
/// The longest time.
const MOST: Duration = Duration::from_secs(30 * 24 * 3600);

/// The option, as primitives declare it.
pub(super) const DEADMAN: Field = field(
    "deadman",
    Type::Any,
    "",
    "Arms a dead-man switch on the target first: it takes this back by itself once we have not been there for so long (`\"30m\"`); `#{ after: \"30m\", fixed: true }` fires at that time whether we are there or not.",
);

/// Reads the option.
pub(super) fn deadman(options: &Options<'_>) -> RhaiResultOf<Option<Deadman>> {
    const KEY: &str = "deadman";
    let Some(value) = options.get(KEY) else { return Ok(None) };
    let (after, fixed) = match value.read_lock::<Map>() {
        None => (value.clone(), false),
        Some(map) => {
            if let Some(key) = map.keys().find(|key| !["after", "fixed"].contains(&key.as_str())) {
                return Err(
                    options.wrong(KEY, &format!("unknown key `{key}`; it takes after, fixed"))
                );
            }
            let Some(after) = map.get("after") else {
                return Err(options.wrong(KEY, "`after` is missing"));
            };
            let fixed = match map.get("fixed").map(rhai::Dynamic::as_bool) {
                None => false,
                Some(Ok(fixed)) => fixed,
                Some(Err(_)) => return Err(options.wrong(KEY, "`fixed` is bool")),
            };
            (after.clone(), fixed)
        }
    };
    let text = after.clone().into_string().map_err(|_| {
        options.wrong(
            KEY,
            &format!("expected a duration such as \"30m\", found {}", type_name(&after)),
        )
    })?;
    let after = units::duration(&text).map_err(|why| options.wrong(KEY, &why))?;
    if after < LEAST || after > MOST {
        return Err(options.wrong(KEY, &format!("`{text}` is not between 3s and 30d")));
    }
    let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    Ok(Some(Deadman { after_ms, fixed }))
}

/// Returns a command as shell text for the target, to be put between others.
///
/// # Errors
/// `input` if it needs something on standard input, as a secret is.
pub(super) fn text(command: &Command) -> Result<String> {
    let (line, input) = command.to_shell().map_err(Failure::input)?;
    if input.is_empty() {
        Ok(format!("( {line} )"))
    } else {
        Err(Failure::input(
            "its inverse needs a secret, which a dead-man switch would leave on the target",
        )
        .into())
    }
}

/// A command as an adapter says it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    line: String,
    #[serde(default)]
    dir: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, Value>,
    #[serde(default)]
    files: BTreeMap<String, Value>,
}

/// One command, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Said>),
    One(Said),
}

/// Asks an adapter how it does something by commands on the target, and makes that the inverse of a switch.
pub(super) fn by_adapter(
    cx: &Cx<'_>,
    app: &App,
    name: &str,
    arguments: &[Value],
    deadman: Deadman,
) -> Result<Switch> {
    let all = match verb(cx, app, name, arguments)? {
        OneOrMany::Many(all) => all,
        OneOrMany::One(one) => vec![one],
    };
    let wrong = |message: String| Failure::input(message).with_target(&cx.target.name);
    let mut files = BTreeMap::new();
    let mut inverse = "failed=0\n".to_owned();
    for said in all {
        for (name, value) in said.files {
            check_file(&name, files.contains_key(&name)).map_err(wrong)?;
            files.insert(name, content(cx, value)?);
        }
        let mut command = Command::shell(said.line);
        command.dir = said.dir;
        for (name, value) in said.env {
            let text = match value {
                Value::String(text) => text,
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                _ => {
                    return Err(wrong(format!(
                        "`deadman` would leave `{name}` on the target, which is a secret or no text"
                    ))
                    .into());
                }
            };
            command.env.push((name, text));
        }
        inverse.push_str(&text(&command)?);
        inverse.push_str(" || failed=1\n");
    }
    inverse.push_str("exit $failed\n");
    Ok(Switch { deadman, inverse, files })
}

fn check_file(name: &str, known: bool) -> Result<(), String> {
    if known {
        return Err(format!("`files`: there are two named `{name}`"));
    }
    let fits = |letter: u8| letter.is_ascii_lowercase() || letter == b'_';
    if name.is_empty() || name == "inverse" || !name.bytes().all(fits) {
        return Err(format!("`files`: `{name}` is no name; a to z and _ may be in it"));
    }
    Ok(())
}

/// What is to be in a file: text, or a secret of one line.
fn content(cx: &Cx<'_>, value: Value) -> Result<Secret> {
    if let Value::String(text) = value {
        return Ok(Secret::new(text));
    }
    let reference: SecretRef = serde_json::from_value(value)
        .map_err(|_| Failure::input("`files`: what is in a file is text or a secret"))?;
    let secret = cx.secret(&reference)?;
    if secret.reveal().contains(['\n', '\r', '\0']) {
        let message =
            format!("`deadman`: the secret `{}` holds a line break or NUL", reference.name);
        return Err(Failure::input(message).into());
    }
    Ok(secret)
}
