//! The parameters of a runbook: what its `RUNBOOK` declares, and the values that a run gives them. Everything is checked
//! before anything is run, and all that is wrong is told at once.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::config::looks_secret;
use super::secrets::{FORMS, Reference};
use crate::units;

mod declare;
mod kind;

pub use kind::ParamType;
pub(super) use kind::check_url;

/// The parameters that a runbook declares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params {
    specs: Vec<Spec>,
}

/// A declared parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The name.
    pub name: String,
    /// What its values are.
    pub kind: ParamType,
    /// The value if none is given; null for one that may be left out.
    pub default: Option<Value>,
    /// What may be chosen; empty if anything.
    pub choices: Vec<Value>,
    /// What it is for, a fragment.
    pub about: String,
    /// The smallest value, as written.
    pub min: Option<Value>,
    /// The largest value, as written.
    pub max: Option<Value>,
    /// A value that shows what is meant, as text.
    pub example: Option<String>,
}

impl Spec {
    /// Returns whether a value must be given.
    pub fn required(&self) -> bool {
        self.default.is_none()
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The command line.
    Set,
    /// `params` of the target.
    Target,
    /// `params` of `[defaults]`.
    Config,
    /// The runbook.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Set => "--set",
            Self::Target => "the target's params",
            Self::Config => "[defaults.params]",
            Self::Default => "the runbook's default",
        })
    }
}

/// What is wrong with a declaration or a value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParamError {
    /// The parameter.
    pub name: String,
    /// What is wrong, as a fragment.
    pub message: String,
    /// What to do about it, as a sentence.
    pub hint: Option<String>,
}

impl ParamError {
    fn new(name: &str, message: impl Into<String>) -> Self {
        Self { name: name.to_owned(), message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ParamError {}

/// Renders errors one after the other, as a person reads them.
pub fn render(errors: &[ParamError]) -> String {
    let mut lines = Vec::new();
    for error in errors {
        lines.push(format!("error: {}\n", error.message));
        lines.extend(error.hint.as_ref().map(|hint| format!(" = help: {hint}\n")));
    }
    lines.concat()
}

/// The values of a run, for its journal: secrets are in them by name, and their references aside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Values {
    /// The values by name. Durations, sizes, paths, patterns and times are text; a secret is `{"$secret": name}`.
    pub values: BTreeMap<String, Value>,
    /// Where each comes from.
    pub origins: BTreeMap<String, Origin>,
    /// The references of secrets, by the names in their values.
    #[serde(default)]
    pub secrets: BTreeMap<String, Reference>,
}

/// A line of the table that `upgrade-host FILE --help` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The name.
    pub name: String,
    /// The type, or the choices.
    pub kind: String,
    /// The default as it would be given; empty if there is none.
    pub default: String,
    /// What it is for.
    pub about: String,
    /// Whether a value must be given.
    pub required: bool,
    /// A value that shows what is meant; empty if there is none.
    pub example: String,
}

impl Params {
    /// Reads the `params` of a `RUNBOOK`: a map from names to defaults or specs.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn declare(value: &Value) -> Result<Self, Vec<ParamError>> {
        declare::declare(value).map(|specs| Self { specs })
    }

    /// Returns the specs in the order in which they are declared.
    pub fn specs(&self) -> &[Spec] {
        &self.specs
    }

    /// Returns the table for help.
    pub fn table(&self) -> Vec<Row> {
        self.specs
            .iter()
            .map(|spec| Row {
                name: spec.name.clone(),
                kind: kind::describe(spec),
                default: spec.default.as_ref().map(kind::say).unwrap_or_default(),
                about: spec.about.clone(),
                required: spec.required(),
                example: spec.example.clone().unwrap_or_default(),
            })
            .collect()
    }

    /// Gives every parameter its value: `--set` before the target before the configuration before the default.
    ///
    /// Names that the target and the configuration have and this runbook has not are for other runbooks; on the command
    /// line they are a mistake.
    ///
    /// # Errors
    /// Everything that is wrong, with all missing parameters.
    pub fn resolve(
        &self,
        cli: &[(String, String)],
        target: &BTreeMap<String, Value>,
        config: &BTreeMap<String, Value>,
    ) -> Result<Values, Vec<ParamError>> {
        self.values(None, cli, target, config)
    }

    /// As [`Params::resolve`], for one target of several: secrets that the target's own `params` refer to are named
    /// `NAME@TARGET`, so that each target can have its own.
    ///
    /// # Errors
    /// As [`Params::resolve`]; the messages name the target.
    pub fn for_target(
        &self,
        name: &str,
        cli: &[(String, String)],
        target: &BTreeMap<String, Value>,
        config: &BTreeMap<String, Value>,
    ) -> Result<Values, Vec<ParamError>> {
        self.values(Some(name), cli, target, config)
    }

    fn values(
        &self,
        on: Option<&str>,
        cli: &[(String, String)],
        target: &BTreeMap<String, Value>,
        config: &BTreeMap<String, Value>,
    ) -> Result<Values, Vec<ParamError>> {
        let mut errors = Vec::new();
        for (name, _) in cli {
            if !self.specs.iter().any(|spec| spec.name == *name) {
                errors.push(self.unknown(name));
            }
        }
        let mut found = Values::default();
        for spec in &self.specs {
            let given = |values: &BTreeMap<String, Value>| {
                values.get(&spec.name).filter(|value| !value.is_null()).cloned()
            };
            let set = cli.iter().rev().find(|(name, _)| *name == spec.name);
            let (origin, value) = if let Some((_, text)) = set {
                (Origin::Set, kind::from_text(spec, text))
            } else if let Some(value) = given(target) {
                (Origin::Target, kind::check(spec, value))
            } else if let Some(value) = given(config) {
                (Origin::Config, kind::check(spec, value))
            } else if let Some(default) = &spec.default {
                (Origin::Default, Ok(default.clone()))
            } else {
                errors.push(missing(spec, on));
                continue;
            };
            let taken = value.and_then(|value| found.take(spec, origin, value, on));
            match taken {
                Ok(()) => {}
                Err(why) => errors.push(refused(spec, origin, &why, on)),
            }
        }
        if errors.is_empty() { Ok(found) } else { Err(errors) }
    }

    fn unknown(&self, name: &str) -> ParamError {
        let names: Vec<&str> = self.specs.iter().map(|spec| spec.name.as_str()).collect();
        let error = ParamError::new(name, format!("unknown parameter `{name}` after --set"));
        match (units::nearest(name, names.iter().copied()), names.is_empty()) {
            (Some(near), _) => error.hint(format!("Did you mean `{near}`?")),
            (None, false) => error.hint(format!("Known are: {}.", names.join(", "))),
            (None, true) => error.hint("The runbook declares no parameters."),
        }
    }
}

impl Values {
    fn take(
        &mut self,
        spec: &Spec,
        origin: Origin,
        value: Value,
        on: Option<&str>,
    ) -> Result<(), String> {
        let own = match on {
            Some(target) if origin == Origin::Target => format!("@{target}"),
            _ => String::new(),
        };
        let value = match (spec.kind, value) {
            (ParamType::Secret, Value::String(text)) => match Reference::parse(&text) {
                Ok(reference) => self.secret(format!("{}{own}", spec.name), reference),
                // It was checked; what is no reference must not be kept in any case.
                Err(_) => Value::Null,
            },
            (_, value @ (Value::Array(_) | Value::Object(_))) => {
                self.nested(value, &spec.name, &spec.name, &own)?
            }
            (_, value) => value,
        };
        self.values.insert(spec.name.clone(), value);
        self.origins.insert(spec.name.clone(), origin);
        Ok(())
    }

    fn secret(&mut self, name: String, reference: Reference) -> Value {
        let value = json!({ "$secret": name });
        self.secrets.insert(name, reference);
        value
    }

    /// Takes the secrets out of a list or a map: what has the name of one must be a reference, and `env:NAME` is one
    /// anywhere. `key` is the name next to the value, `path` where it stands.
    fn nested(&mut self, value: Value, key: &str, path: &str, own: &str) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => match Reference::parse(&text) {
                Ok(reference) if looks_secret(key) || matches!(reference, Reference::Env(_)) => {
                    self.secret(format!("{path}{own}"), reference)
                }
                Err(why) if looks_secret(key) => {
                    return Err(format!(
                        "has a secret in `{path}`, which must be a reference: {why}; write {FORMS}"
                    ));
                }
                _ => Value::String(text),
            },
            Value::Array(items) => {
                let item = |(at, item)| self.nested(item, key, &format!("{path}.{at}"), own);
                items.into_iter().enumerate().map(item).collect::<Result<_, _>>()?
            }
            Value::Object(map) => map
                .into_iter()
                .map(|(name, value)| {
                    let value = self.nested(value, &name, &format!("{path}.{name}"), own)?;
                    Ok((name, value))
                })
                .collect::<Result<serde_json::Map<_, _>, String>>()?
                .into(),
            value => value,
        })
    }

    /// Returns a value.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }
}

fn on_target(on: Option<&str>) -> String {
    on.map(|name| format!(" on {name}")).unwrap_or_default()
}

fn missing(spec: &Spec, on: Option<&str>) -> ParamError {
    let about = if spec.about.is_empty() { String::new() } else { format!(": {}", spec.about) };
    let message = format!("missing parameter `{}`{}{about}", spec.name, on_target(on));
    let example = match (&spec.example, spec.kind) {
        (Some(example), _) => example.clone(),
        (None, ParamType::Secret) => "env:NAME".to_owned(),
        (None, _) => match spec.choices.first() {
            Some(choice) => kind::say(choice),
            None => spec.kind.as_str().to_uppercase(),
        },
    };
    ParamError::new(&spec.name, message)
        .hint(format!("Give it with --set {}={example}.", spec.name))
}

fn refused(spec: &Spec, origin: Origin, why: &str, on: Option<&str>) -> ParamError {
    let name = &spec.name;
    if spec.kind != ParamType::Secret {
        let message = format!("parameter `{name}`{} {why} (from {origin})", on_target(on));
        let error = ParamError::new(name, message);
        return match &spec.example {
            Some(example) => error.hint(format!("An example is {example}.")),
            None => error,
        };
    }
    if origin == Origin::Set {
        let message = format!(
            "parameter `{name}` is a secret and does not stand on the command line, which every user of this machine can read: {why}"
        );
        return ParamError::new(name, message)
            .hint(format!("Write --set {name}=env:NAME, or {}.", FORMS.replace("env:NAME, ", "")));
    }
    let message = format!(
        "parameter `{name}`{} is a secret and does not stand in a file: {why} (from {origin})",
        on_target(on)
    );
    ParamError::new(name, message).hint(format!("Write {FORMS}."))
}

#[cfg(test)]
mod tests;
