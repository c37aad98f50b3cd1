//! Reading declarations: a default by itself, or a map that says more.

use serde_json::{Map, Value};

use super::kind::{check, measure};
use super::{ParamError, ParamType, Spec};
use crate::units;

const KEYS: &[&str] = &["type", "value", "choices", "about", "required", "min", "max", "example"];

pub(super) fn declare(value: &Value) -> Result<Vec<Spec>, Vec<ParamError>> {
    let map = match value {
        Value::Object(map) => map,
        Value::Null => return Ok(Vec::new()),
        other => {
            let message = format!("`params` of the runbook is {}, expected a map", kind_of(other));
            return Err(vec![ParamError::new("", message)]);
        }
    };
    let (mut specs, mut errors) = (Vec::new(), Vec::new());
    for (name, value) in map {
        let mut spec = Reader { name, errors: Vec::new() };
        let read = spec.read(value);
        if spec.errors.is_empty() {
            specs.extend(read);
        }
        errors.extend(spec.errors);
    }
    if errors.is_empty() { Ok(specs) } else { Err(errors) }
}

struct Reader<'a> {
    name: &'a str,
    errors: Vec<ParamError>,
}

impl Reader<'_> {
    fn wrong(&mut self, message: impl std::fmt::Display) -> &mut ParamError {
        let message = format!("parameter `{}` of the runbook: {message}", self.name);
        self.errors.push(ParamError::new(self.name, message));
        let last = self.errors.len() - 1;
        &mut self.errors[last]
    }

    fn read(&mut self, value: &Value) -> Option<Spec> {
        let first = self.name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !first || !self.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.wrong("its name must be letters, digits and `_`, not beginning with a digit");
        }
        let Value::Object(map) = value else { return self.shorthand(value) };
        self.check_keys(map);
        let default = map.get("value").cloned();
        let choices = self.choices(map);
        let kind = self.kind(map, default.as_ref(), !choices.is_empty())?;
        if kind == ParamType::Choice && choices.is_empty() {
            self.wrong("it is a choice without `choices`").hint =
                Some("Add for example `choices: [\"users\", \"interface\"]`.".to_owned());
        }
        let required = self.required(map, default.as_ref());
        let mut spec = Spec {
            name: self.name.to_owned(),
            kind,
            default: if required { None } else { Some(Value::Null) },
            choices,
            about: self.about(map),
            min: self.bound(map, "min", kind),
            max: self.bound(map, "max", kind),
            example: map.get("example").filter(|value| !value.is_null()).map(super::kind::say),
        };
        if let (Some(min), Some(max)) = (&spec.min, &spec.max)
            && measure(kind, min) > measure(kind, max)
        {
            self.wrong("`min` is more than `max`");
        }
        for choice in &spec.choices {
            let bare = Spec { choices: Vec::new(), ..spec.clone() };
            if let Err(why) = check(&bare, choice.clone()) {
                self.wrong(format_args!("one of `choices` {why}"));
            }
        }
        if let Some(default) = default.filter(|value| !value.is_null()) {
            match check(&spec, default) {
                Ok(default) => spec.default = Some(default),
                Err(why) => self.wrong_default(kind, &why),
            }
        }
        Some(spec)
    }

    fn wrong_default(&mut self, kind: ParamType, why: &str) {
        if kind == ParamType::Secret {
            let forms = super::FORMS;
            self.wrong(format_args!("its `value` must be a reference to a secret: {why}")).hint =
                Some(format!("Write {forms}; a secret does not stand in a runbook."));
        } else {
            self.wrong(format_args!("its `value` {why}"));
        }
    }

    fn shorthand(&mut self, value: &Value) -> Option<Spec> {
        let kind = self.inferred(value)?;
        Some(Spec {
            name: self.name.to_owned(),
            kind,
            default: Some(value.clone()),
            choices: Vec::new(),
            about: String::new(),
            min: None,
            max: None,
            example: None,
        })
    }

    fn inferred(&mut self, value: &Value) -> Option<ParamType> {
        match value {
            Value::Bool(_) => Some(ParamType::Bool),
            Value::String(_) | Value::Null => Some(ParamType::Text),
            Value::Array(_) => Some(ParamType::List),
            Value::Number(number) if number.is_i64() => Some(ParamType::Int),
            other => {
                let what = kind_of(other);
                self.wrong(format_args!("no type is known for {what}")).hint =
                    Some("Say `type: \"any\"`, or write it as text.".to_owned());
                None
            }
        }
    }

    fn check_keys(&mut self, map: &Map<String, Value>) {
        for key in map.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            let list = KEYS.join(", ");
            let hint = match units::nearest(key, KEYS.iter().copied()) {
                Some(near) => format!("Did you mean `{near}`? Known are: {list}."),
                None => format!("Known are: {list}."),
            };
            self.wrong(format_args!("unknown key `{key}`")).hint = Some(hint);
        }
    }

    fn kind(
        &mut self,
        map: &Map<String, Value>,
        default: Option<&Value>,
        choices: bool,
    ) -> Option<ParamType> {
        let word = match map.get("type") {
            Some(Value::String(word)) => word,
            Some(other) => {
                let what = kind_of(other);
                self.wrong(format_args!("its `type` is {what}, expected text such as \"path\""));
                return None;
            }
            None if choices => return Some(ParamType::Choice),
            None => return default.map_or(Some(ParamType::Text), |value| self.inferred(value)),
        };
        if let Some(kind) = ParamType::parse(word) {
            return Some(kind);
        }
        let words = ParamType::ALL.map(ParamType::as_str);
        let list = words.join(", ");
        let hint = match units::nearest(word, words) {
            Some(near) => format!("Did you mean `{near}`? Known are: {list}."),
            None => format!("Known are: {list}."),
        };
        self.wrong(format_args!("unknown type `{word}`")).hint = Some(hint);
        None
    }

    fn choices(&mut self, map: &Map<String, Value>) -> Vec<Value> {
        match map.get("choices") {
            None => Vec::new(),
            Some(Value::Array(choices)) if !choices.is_empty() => choices.clone(),
            Some(Value::Array(_)) => {
                self.wrong("its `choices` are empty");
                Vec::new()
            }
            Some(other) => {
                let what = kind_of(other);
                self.wrong(format_args!("its `choices` are {what}, expected a list"));
                Vec::new()
            }
        }
    }

    fn required(&mut self, map: &Map<String, Value>, default: Option<&Value>) -> bool {
        match (map.get("required"), default) {
            (None, default) => default.is_none(),
            (Some(Value::Bool(false)), _) => false,
            (Some(Value::Bool(true)), None) => true,
            (Some(Value::Bool(true)), Some(_)) => {
                self.wrong("it has a `value`, so `required` can never matter");
                true
            }
            (Some(other), _) => {
                let what = kind_of(other);
                self.wrong(format_args!("its `required` is {what}, expected true or false"));
                true
            }
        }
    }

    fn about(&mut self, map: &Map<String, Value>) -> String {
        match map.get("about") {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => {
                let what = kind_of(other);
                self.wrong(format_args!("its `about` is {what}, expected text"));
                String::new()
            }
        }
    }

    fn bound(&mut self, map: &Map<String, Value>, key: &str, kind: ParamType) -> Option<Value> {
        let value = map.get(key)?;
        if !kind.has_bounds() {
            let kind = kind.as_str();
            self.wrong(format_args!("`{key}` means nothing for the type {kind}"));
            return None;
        }
        if measure(kind, value).is_none() {
            let (said, kind) = (super::kind::say(value), kind.as_str());
            self.wrong(format_args!("its `{key}` is `{said}`, expected {kind}"));
            return None;
        }
        Some(value.clone())
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_i64() => "a whole number",
        Value::Number(_) => "a number with a fraction",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
