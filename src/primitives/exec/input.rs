//! What runbooks may give: commands, exit statuses, users, environments.

use rhai::{Dynamic, Map};

use super::job::{Become, Words};
use crate::effect::SecretRef;
use crate::primitives::bridge::type_name;
use crate::primitives::text::{Text, pairs};

/// Takes a shell line.
pub(super) fn shell(value: &Dynamic) -> Result<Words, String> {
    let line = value.clone().into_string().map_err(|_| match type_name(value) {
        "list" => "expected a shell line, found list; `run` takes lists".to_owned(),
        other => format!("expected a shell line, found {other}"),
    })?;
    if line.trim().is_empty() {
        return Err("the command is empty".to_owned());
    }
    if line.contains('\0') {
        return Err("the line holds a NUL character".to_owned());
    }
    Ok(Words::Shell(line))
}

/// Takes a list of words.
pub(super) fn list(value: &Dynamic) -> Result<Words, String> {
    let items = value.read_lock::<rhai::Array>().ok_or_else(|| match type_name(value) {
        "text" => "expected a list of words, found text; `sh` takes shell lines".to_owned(),
        other => format!("expected a list of words, found {other}"),
    })?;
    if items.is_empty() {
        return Err("the command is empty".to_owned());
    }
    let words: Vec<String> = items
        .iter()
        .enumerate()
        .map(|(index, item)| match type_name(item) {
            "text" | "int" | "float" => Ok(item.to_string()),
            "secret" => Err(format!(
                "item {index} is a secret, which everyone on the target could read in the process list; pass it in `env` or `stdin`"
            )),
            other => Err(format!("item {index} is {other}, expected text")),
        })
        .collect::<Result<_, _>>()?;
    if let Some(index) = words.iter().position(|word| word.contains('\0')) {
        return Err(format!("item {index} holds a NUL character"));
    }
    if words[0].is_empty() {
        return Err("item 0, the program, is empty".to_owned());
    }
    Ok(Words::List(words))
}

pub(super) fn either(value: &Dynamic) -> Result<Words, String> {
    match type_name(value) {
        "list" => list(value),
        "text" => shell(value),
        other => Err(format!("expected a shell line or a list of words, found {other}")),
    }
}

pub(super) fn statuses(value: &Dynamic) -> Result<Option<Vec<i32>>, String> {
    let status = |value: &Dynamic| {
        value
            .as_int()
            .ok()
            .and_then(|code| i32::try_from(code).ok())
            .filter(|code| (0..256).contains(code))
            .ok_or_else(|| format!("`{value}` is no exit status; expected numbers from 0 to 255"))
    };
    if value.is_string() {
        return match value.to_string().as_str() {
            "any" => Ok(None),
            other => {
                Err(format!("`{other}` is no exit status; expected a list of numbers or \"any\""))
            }
        };
    }
    if let Some(items) = value.read_lock::<rhai::Array>() {
        if items.is_empty() {
            return Err("the list is empty, so that every status would be a failure".to_owned());
        }
        return items.iter().map(status).collect::<Result<_, _>>().map(Some);
    }
    status(value).map(|code| Some(vec![code]))
}

pub(super) fn other_user(value: &Dynamic) -> Result<Option<Become>, String> {
    if let Ok(flag) = value.as_bool() {
        return Ok(flag.then_some(Become { user: None, password: None }));
    }
    let name = |user: String| {
        let fits = !user.is_empty()
            && !user.starts_with('-')
            && !user.contains(|c: char| c.is_whitespace() || c.is_control());
        if fits { Ok(user) } else { Err(format!("`{user}` is no user's name")) }
    };
    if let Ok(user) = value.clone().into_string() {
        return Ok(Some(Become { user: Some(name(user)?), password: None }));
    }
    let map = value.read_lock::<Map>().ok_or_else(|| {
        format!("expected true, a user's name or a map, found {}", type_name(value))
    })?;
    let mut result = Become { user: None, password: None };
    for (key, value) in map.iter() {
        match key.as_str() {
            "user" => {
                let user = value.clone().into_string();
                result.user =
                    Some(name(user.map_err(|found| format!("`user` is text, found {found}"))?)?);
            }
            "password" => {
                result.password =
                    Some(value.clone().try_cast::<SecretRef>().ok_or_else(|| {
                        "`password` must be a secret: `secret(\"name\")`".to_owned()
                    })?);
            }
            other => return Err(format!("unknown key `{other}` (it takes user, password)")),
        }
    }
    Ok(Some(result))
}

pub(super) fn environment(value: &Dynamic) -> Result<Vec<(String, Text)>, String> {
    if let Some(map) = value.read_lock::<Map>()
        && let Some((name, _)) = map.iter().find(|(_, value)| value.is_array())
    {
        return Err(format!("`{name}`: expected text or a secret, found list"));
    }
    let pairs = pairs(value)?;
    for (name, value) in &pairs {
        let valid = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid {
            return Err(format!("`{name}` is no name for an environment variable"));
        }
        if matches!(value, Text::Plain(text) if text.contains('\0')) {
            return Err(format!("the value of `{name}` holds a NUL character"));
        }
    }
    Ok(pairs)
}
