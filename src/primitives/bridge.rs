//! Between Rhai and actions: finding the lane of a call, its place, its options; turning values and errors over. Each
//! primitive is described once, by a [`Primitive`]; validation, `doc`, `check`, completion and `.d.rhai` all read that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use rhai::{
    Dynamic, Engine, EvalAltResult, FnPtr, FuncRegistration, ImmutableString, Map, Module,
    NativeCallContext, Position, RhaiNativeFunc, Shared,
};
use serde_json::Value;

use super::closure::Anchor;
use crate::effect::{Action, Lane, Query, SecretRef, perform, query};
use crate::error::{Failure, Halt, Place, Stop};
use crate::units;

/// What Rhai functions return. The alias keeps signatures in the generated definitions readable.
pub type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

/// What the value of a parameter or option may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// Text.
    Text,
    /// Text or a secret.
    TextOrSecret,
    /// A duration such as `"90s"`.
    Duration,
    /// A size such as `"2GiB"`.
    Size,
    /// A list.
    List,
    /// A text, or a list of texts.
    TextOrList,
    /// A map.
    Map,
    /// A closure.
    Closure,
    /// Anything.
    Any,
}

impl Type {
    /// Returns the words for documentation and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Text => "text",
            Self::TextOrSecret => "text or secret",
            Self::Duration => "duration",
            Self::Size => "size",
            Self::List => "list",
            Self::TextOrList => "text or list",
            Self::Map => "map",
            Self::Closure => "closure",
            Self::Any => "any",
        }
    }

    /// Returns whether a value is one.
    pub fn fits(self, value: &Dynamic) -> bool {
        match self {
            Self::Bool => value.is_bool(),
            Self::Int => value.is_int(),
            Self::Text => value.is_string(),
            Self::TextOrSecret => value.is_string() || value.is::<SecretRef>(),
            Self::Duration | Self::Size => value.is_string() || value.is_int(),
            Self::List => value.is_array(),
            Self::TextOrList => value.is_string() || value.is_array(),
            Self::Map => value.is_map(),
            Self::Closure => value.is::<FnPtr>(),
            Self::Any => true,
        }
    }
}

/// A parameter or option of a primitive.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The name.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Type,
    /// The default as Rhai writes it; empty if it has none.
    pub default: &'static str,
    /// One sentence.
    pub doc: &'static str,
}

/// Makes a [`Field`]; short, so that tables of them can be read.
pub const fn field(
    name: &'static str,
    kind: Type,
    default: &'static str,
    doc: &'static str,
) -> Field {
    Field { name, kind, default, doc }
}

/// A primitive: everything that is said about it, once.
#[derive(Clone, Copy, Debug)]
pub struct Primitive {
    /// The name that runbooks call.
    pub name: &'static str,
    /// The family, which is the file that it is in.
    pub family: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// The positional parameters.
    pub params: &'static [Field],
    /// The options of the map that comes last; empty if it takes none.
    pub options: &'static [Field],
    /// What it returns, with the type first: `bool: true if it changed something`.
    pub returns: &'static str,
    /// A short example.
    pub example: &'static str,
    /// How it fails.
    pub failure: &'static str,
    /// What plan mode says.
    pub plan: &'static str,
    /// How it is undone.
    pub undo: &'static str,
    /// What happens when the run is resumed in the middle of it.
    pub resume: &'static str,
}

impl Primitive {
    /// Returns how it is called: `rsync(from, to, #{ … }) -> map`.
    pub fn signature(&self) -> String {
        let mut params: Vec<&str> = self.params.iter().map(|field| field.name).collect();
        // The body of a bracket comes last, after its options.
        let options =
            (!self.options.is_empty() && !params.contains(&"options")).then_some("#{ … }");
        match params.last() {
            Some(&"body") => {
                params.splice(params.len() - 1..params.len() - 1, options).for_each(drop);
            }
            _ => params.extend(options),
        }
        let returns = self.returns.split(':').next().unwrap_or_default();
        format!("{}({}) -> {returns}", self.name, params.join(", "))
    }

    /// Says what it takes, as a sentence.
    pub fn takes(&self) -> String {
        let mut parts: Vec<String> = self
            .params
            .iter()
            .map(|field| format!("`{}` ({})", field.name, field.kind.as_str()))
            .collect();
        if !self.options.is_empty() && !self.params.iter().any(|field| field.name == "options") {
            parts.push("a map of options".to_owned());
        }
        match parts.pop() {
            None => "It takes nothing.".to_owned(),
            Some(last) if parts.is_empty() => format!("It takes {last}."),
            Some(last) => format!("It takes {} and {last}.", parts.join(", ")),
        }
    }
}

/// Collects the primitives: as a Rhai module, and as the catalogue.
#[derive(Debug)]
pub struct Face {
    /// The functions.
    pub module: Module,
    /// What is said about them.
    pub catalogue: Vec<&'static Primitive>,
    /// With how many arguments each can be called.
    arities: BTreeMap<&'static str, BTreeSet<usize>>,
}

/// All primitives together, as every engine shares them.
#[derive(Debug)]
pub struct Faces {
    /// The functions.
    pub module: Shared<Module>,
    /// What is said about them, in the order of the reference.
    pub catalogue: Vec<&'static Primitive>,
    /// With how many arguments each can be called.
    pub arities: BTreeMap<&'static str, BTreeSet<usize>>,
    by_name: BTreeMap<&'static str, &'static Primitive>,
}

impl Faces {
    /// Finds a primitive by its name.
    pub fn find(&self, name: &str) -> Option<&'static Primitive> {
        self.by_name.get(name).copied()
    }
}

impl Face {
    /// Makes an empty one.
    pub fn new() -> Self {
        Self { module: Module::new(), catalogue: Vec::new(), arities: BTreeMap::new() }
    }

    /// Makes it ready to be shared by engines.
    pub fn shared(mut self) -> Faces {
        self.module.build_index();
        let by_name = self.catalogue.iter().map(|primitive| (primitive.name, *primitive)).collect();
        Faces {
            module: self.module.into(),
            catalogue: self.catalogue,
            arities: self.arities,
            by_name,
        }
    }

    /// Registers one function of a primitive; a primitive with several arities is registered several times.
    pub fn add<A: 'static, const N: usize, const X: bool, R, const F: bool, FUNC>(
        &mut self,
        primitive: &'static Primitive,
        function: FUNC,
    ) where
        R: rhai::Variant + Clone,
        FUNC: RhaiNativeFunc<A, N, X, R, F> + Send + Sync + 'static,
    {
        let mut params: Vec<String> = primitive
            .params
            .iter()
            .map(|field| format!("{}: {}", field.name, rhai_type(field.kind)))
            .collect();
        if !primitive.options.is_empty() {
            params.push("options: map".to_owned());
        }
        params.truncate(N);
        let returns = primitive.returns.split(':').next().unwrap_or("Dynamic").to_owned();
        params.push(returns);
        FuncRegistration::new(primitive.name)
            .in_global_namespace()
            .with_volatility(true)
            .with_params_info(params)
            .with_comments([format!("/// {}", primitive.summary)])
            .set_into_module(&mut self.module, function);
        self.arities.entry(primitive.name).or_default().insert(N);
        if !self.catalogue.iter().any(|known| known.name == primitive.name) {
            self.catalogue.push(primitive);
        }
    }
}

impl Default for Face {
    fn default() -> Self {
        Self::new()
    }
}

fn rhai_type(kind: Type) -> &'static str {
    match kind {
        Type::Bool => "bool",
        Type::Int => "int",
        Type::Text | Type::Duration | Type::Size => "String",
        Type::List => "Array",
        Type::Map => "Map",
        Type::Closure => "Fn",
        Type::TextOrSecret | Type::TextOrList | Type::Any => "?",
    }
}

/// Where a script's calls act: its tag in the engine. Reaches every native function.
#[derive(Clone, Debug)]
pub struct Seat {
    /// The lane.
    pub lane: Lane,
    /// The engine, for closures that are called later.
    pub engine: Weak<Engine>,
    /// The first call's surroundings, through which adapters written in the runbook are found.
    pub anchor: Arc<OnceLock<Anchor>>,
}

/// Returns the seat of a call.
///
/// # Errors
/// If the engine was not made by a session.
pub fn seat(ctx: &NativeCallContext<'_>) -> RhaiResultOf<Seat> {
    let seat = ctx.tag().and_then(|tag| tag.clone().try_cast::<Seat>()).ok_or_else(|| {
        EvalAltResult::ErrorSystem("no run".to_owned(), "this engine belongs to no run".into())
    })?;
    // What the standard library calls says nothing of the runbook's own functions.
    if !ctx.call_source().is_some_and(|source| source.starts_with("<stdlib>")) {
        seat.anchor.get_or_init(|| Anchor::new(ctx));
    }
    Ok(seat)
}

/// Returns the engine of a call, for closures that outlive it.
///
/// # Errors
/// If the engine is being dropped.
pub fn engine(seat: &Seat) -> RhaiResultOf<Arc<Engine>> {
    seat.engine.upgrade().ok_or_else(|| {
        EvalAltResult::ErrorSystem("no engine".to_owned(), "the engine is gone".into()).into()
    })
}

/// Returns the lane of a call.
///
/// # Errors
/// If the engine was not made by a session.
pub fn lane(ctx: &NativeCallContext<'_>) -> RhaiResultOf<Lane> {
    let seat = seat(ctx)?;
    // Adapters written in the runbook are found through the surroundings of its first call.
    seat.anchor.get_or_init(|| Anchor::new(ctx));
    Ok(seat.lane)
}

/// Returns where a call stands in the script.
pub fn place(ctx: &NativeCallContext<'_>) -> Option<Place> {
    let position = ctx.call_position();
    let line = position.line()?;
    Some(Place {
        file: ctx.call_source().unwrap_or("script").to_owned(),
        line,
        column: position.position().unwrap_or(1),
    })
}

/// Performs an action for a script.
///
/// # Errors
/// The action's failure as a catchable map, or a stop that is not catchable.
pub fn act<A: Action>(ctx: &NativeCallContext<'_>, action: &A) -> RhaiResultOf<A::Output> {
    perform(&lane(ctx)?, place(ctx), action).map_err(|halt| raise(ctx, halt))
}

/// Performs a query for a script.
///
/// # Errors
/// As [`act`].
pub fn ask<Q: Query>(ctx: &NativeCallContext<'_>, what: Q) -> RhaiResultOf<Q::Output> {
    query(&lane(ctx)?, place(ctx), what).map_err(|halt| raise(ctx, halt))
}

/// Turns a halt into Rhai's error at the place of the call.
pub fn raise(ctx: &NativeCallContext<'_>, halt: Halt) -> Box<EvalAltResult> {
    match halt {
        Halt::Failure(failure) => {
            let failure = failure.at(place(ctx));
            EvalAltResult::ErrorRuntime(failure_to_dynamic(&failure), ctx.call_position()).into()
        }
        Halt::Stop(stop) => {
            EvalAltResult::ErrorTerminated(Dynamic::from(stop), ctx.call_position()).into()
        }
    }
}

/// Makes a failure of kind `input` at the place of the call.
pub fn wrong(ctx: &NativeCallContext<'_>, message: impl Into<String>) -> Box<EvalAltResult> {
    raise(ctx, Failure::input(message).into())
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

/// Returns the position of a place, for errors made outside of a call.
pub fn position(place: Option<&Place>) -> Position {
    place.map_or(Position::NONE, |place| {
        let line = u16::try_from(place.line).unwrap_or(u16::MAX);
        Position::new(line, u16::try_from(place.column).unwrap_or(u16::MAX))
    })
}
