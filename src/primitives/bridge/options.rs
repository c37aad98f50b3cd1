//! The options of a call, checked against what is said about the primitive.

use std::time::Duration;

use rhai::{Dynamic, EvalAltResult, FnPtr, Map, NativeCallContext};
use serde_json::Value;

use super::{Primitive, RhaiResultOf, to_json, type_name, wrong};
use crate::units;

/// The checked options of one call.
#[derive(Debug)]
pub struct Options<'a> {
    ctx: &'a NativeCallContext<'a>,
    name: &'static str,
    map: Map,
}

impl<'a> Options<'a> {
    /// Checks the names and types of `map` against the primitive.
    ///
    /// # Errors
    /// A failure of kind `input` with the nearest known name.
    pub fn new(
        ctx: &'a NativeCallContext<'a>,
        primitive: &'static Primitive,
        map: Map,
    ) -> RhaiResultOf<Self> {
        if let Err(message) = check_options(primitive, &map) {
            return Err(wrong(ctx, message));
        }
        Ok(Self { ctx, name: primitive.name, map })
    }

    /// Makes the options of a call that gives none.
    pub fn none(ctx: &'a NativeCallContext<'a>, primitive: &'static Primitive) -> Self {
        Self { ctx, name: primitive.name, map: Map::new() }
    }

    /// Returns whether an option is given.
    pub fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_unit())
    }

    /// Returns an option as it is.
    pub fn get(&self, key: &str) -> Option<&Dynamic> {
        self.map.get(key).filter(|value| !value.is_unit())
    }

    /// Returns a flag.
    pub fn flag(&self, key: &str, default: bool) -> bool {
        self.get(key).and_then(|value| value.as_bool().ok()).unwrap_or(default)
    }

    /// Returns a whole number.
    pub fn int(&self, key: &str) -> Option<i64> {
        self.get(key).and_then(|value| value.as_int().ok())
    }

    /// Returns a text.
    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key).and_then(|value| value.clone().into_string().ok())
    }

    /// Returns a duration.
    ///
    /// # Errors
    /// If the text is no duration.
    pub fn duration(&self, key: &str) -> RhaiResultOf<Option<Duration>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let parsed = match value.as_int() {
            Ok(seconds) => u64::try_from(seconds)
                .map(Duration::from_secs)
                .map_err(|_| format!("`{seconds}` is negative")),
            Err(_) => units::duration(&value.to_string()),
        };
        parsed.map(Some).map_err(|why| self.wrong(key, &why))
    }

    /// Returns a size in bytes.
    ///
    /// # Errors
    /// If the text is no size.
    pub fn size(&self, key: &str) -> RhaiResultOf<Option<u64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let parsed = match value.as_int() {
            Ok(bytes) => u64::try_from(bytes).map_err(|_| format!("`{bytes}` is negative")),
            Err(_) => units::size(&value.to_string()),
        };
        parsed.map(Some).map_err(|why| self.wrong(key, &why))
    }

    /// Returns a list of texts; a single text is a list of one.
    ///
    /// # Errors
    /// If an item is no text.
    pub fn texts(&self, key: &str) -> RhaiResultOf<Vec<String>> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        if let Ok(text) = value.clone().into_string() {
            return Ok(vec![text]);
        }
        texts(value).map_err(|why| self.wrong(key, &why))
    }

    /// Returns an option as data.
    ///
    /// # Errors
    /// If it holds something that cannot be recorded.
    pub fn json(&self, key: &str) -> RhaiResultOf<Option<Value>> {
        self.get(key).map(to_json).transpose().map_err(|why| self.wrong(key, &why))
    }

    /// Returns a closure.
    pub fn closure(&self, key: &str) -> Option<FnPtr> {
        self.get(key).and_then(|value| value.clone().try_cast::<FnPtr>())
    }

    /// Makes the failure that says what is wrong with a parameter.
    pub fn wrong_param(&self, name: &str, why: &str) -> Box<EvalAltResult> {
        wrong(self.ctx, format!("{}: `{name}`: {why}", self.name))
    }

    /// Makes the failure that says what is wrong with an option.
    pub fn wrong(&self, key: &str, why: &str) -> Box<EvalAltResult> {
        wrong(self.ctx, format!("{}: option `{key}`: {why}", self.name))
    }
}

/// Returns the texts of a list.
///
/// # Errors
/// A fragment that names the item that is no text.
pub fn texts(value: &Dynamic) -> Result<Vec<String>, String> {
    let list = value
        .read_lock::<rhai::Array>()
        .ok_or_else(|| format!("expected a list of texts, found {}", type_name(value)))?;
    list.iter()
        .map(|item| {
            item.clone().into_string().map_err(|_| {
                format!("expected texts in the list, found {} `{item}`", type_name(item))
            })
        })
        .collect()
}

/// Checks the names and types of options.
///
/// # Errors
/// A fragment that names the option, what was expected and the nearest known name.
pub fn check_options(primitive: &Primitive, map: &Map) -> Result<(), String> {
    for (key, value) in map {
        let Some(field) = primitive.options.iter().find(|field| field.name == key.as_str()) else {
            return Err(unknown_option(primitive, key));
        };
        if !value.is_unit() && !field.kind.fits(value) {
            return Err(format!(
                "{}: option `{key}` is {}, found {}",
                primitive.name,
                field.kind.as_str(),
                type_name(value)
            ));
        }
    }
    Ok(())
}

/// Says that there is no such option.
pub fn unknown_option(primitive: &Primitive, key: &str) -> String {
    let names = || primitive.options.iter().map(|field| field.name);
    let hint = match units::nearest(key, names()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if primitive.options.is_empty() => "it takes none".to_owned(),
        None => format!("it takes {}", names().collect::<Vec<_>>().join(", ")),
    };
    format!("{}: unknown option `{key}` ({hint})", primitive.name)
}

/// Returns a text out of a parameter that may be anything.
///
/// # Errors
/// If it is no text.
pub fn text_param(
    ctx: &NativeCallContext<'_>,
    name: &str,
    value: &Dynamic,
) -> RhaiResultOf<String> {
    value.clone().into_string().map_err(|_| {
        wrong(ctx, format!("{}: `{name}` is text, found {}", ctx.fn_name(), type_name(value)))
    })
}
