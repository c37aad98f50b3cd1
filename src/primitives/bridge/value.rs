//! Values and failures, as scripts see them and as the journal has them.

use rhai::{Dynamic, FuncRegistration, ImmutableString, Map, Module};
use serde_json::Value;

use crate::effect::SecretRef;
use crate::error::{Failure, Stop};

/// Turns a script's value into data for an action.
///
/// # Errors
/// A fragment that names the type that cannot be recorded.
pub fn to_json(value: &Dynamic) -> Result<Value, String> {
    if let Some(secret) = value.clone().try_cast::<SecretRef>() {
        return serde_json::to_value(secret).map_err(|error| error.to_string());
    }
    if let Some(map) = value.read_lock::<Map>() {
        return map
            .iter()
            .map(|(key, value)| Ok((key.to_string(), to_json(value)?)))
            .collect::<Result<_, String>>()
            .map(Value::Object);
    }
    if let Some(list) = value.read_lock::<rhai::Array>() {
        return list.iter().map(to_json).collect::<Result<_, _>>().map(Value::Array);
    }
    if value.is_unit() {
        Ok(Value::Null)
    } else if let Ok(flag) = value.as_bool() {
        Ok(flag.into())
    } else if let Ok(number) = value.as_int() {
        Ok(number.into())
    } else if let Ok(number) = value.as_float() {
        Ok(number.into())
    } else if let Ok(text) = value.clone().into_string() {
        Ok(text.into())
    } else if let Ok(letter) = value.as_char() {
        Ok(letter.to_string().into())
    } else if let Some(bytes) = value.read_lock::<rhai::Blob>() {
        Ok(String::from_utf8_lossy(&bytes).into_owned().into())
    } else {
        Err(format!("a value of type {} cannot be recorded", value.type_name()))
    }
}

/// Turns data into a script's value.
pub fn to_dynamic(value: Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(flag) => flag.into(),
        Value::Number(number) => number
            .as_i64()
            .map_or_else(|| number.as_f64().unwrap_or_default().into(), Dynamic::from_int),
        Value::String(text) => text.into(),
        Value::Array(items) => Dynamic::from_array(items.into_iter().map(to_dynamic).collect()),
        Value::Object(map) => match (map.len(), map.get("$secret")) {
            (1, Some(Value::String(name))) => Dynamic::from(SecretRef { name: name.clone() }),
            _ => Dynamic::from_map(
                map.into_iter().map(|(key, value)| (key.into(), to_dynamic(value))).collect(),
            ),
        },
    }
}

/// Returns the name of a value's type as runbooks call it.
pub fn type_name(value: &Dynamic) -> &'static str {
    match value.type_name() {
        "i64" => "int",
        "f64" => "float",
        "string" | "&str" | "ImmutableString" => "text",
        "array" => "list",
        "map" => "map",
        "bool" => "bool",
        "()" => "nothing",
        "Fn" => "closure",
        _ if value.is::<SecretRef>() => "secret",
        _ => "another type",
    }
}

/// The map that a script catches: `kind message hint target command code stdout stderr call`.
pub fn failure_to_dynamic(failure: &Failure) -> Dynamic {
    let mut map = match serde_json::to_value(failure) {
        Ok(value) => to_dynamic(value).try_cast::<Map>().unwrap_or_default(),
        Err(_) => Map::new(),
    };
    for text in ["hint", "target", "command", "call", "stdout", "stderr"] {
        map.entry(text.into()).or_insert_with(|| Dynamic::from(String::new()));
    }
    map.entry("code".into()).or_insert(Dynamic::UNIT);
    Dynamic::from_map(map)
}

/// Reads back what [`failure_to_dynamic`] made, from an error that a script did not catch, or threw itself.
pub fn failure_from_dynamic(value: &Dynamic) -> Option<Failure> {
    let mut map = value.read_lock::<Map>()?.clone();
    for text in ["hint", "target", "command", "call"] {
        if map.get(text).is_some_and(|value| value.is_string() && value.to_string().is_empty()) {
            map.remove(text);
        }
    }
    if map.get("code").is_some_and(Dynamic::is_unit) {
        map.remove("code");
    }
    serde_json::from_value(to_json(&Dynamic::from_map(map)).ok()?).ok()
}

/// Takes a stop out of an error.
pub fn stop_from_dynamic(value: &Dynamic) -> Option<Stop> {
    value.clone().try_cast::<Stop>()
}

/// Registers the types that scripts meet.
pub fn register_types(module: &mut Module) {
    FuncRegistration::new("to_string")
        .in_global_namespace()
        .set_into_module(module, |secret: &mut SecretRef| -> ImmutableString {
            format!("[secret {}]", secret.name).into()
        });
    FuncRegistration::new("to_debug")
        .in_global_namespace()
        .set_into_module(module, |secret: &mut SecretRef| -> ImmutableString {
            format!("[secret {}]", secret.name).into()
        });
}
