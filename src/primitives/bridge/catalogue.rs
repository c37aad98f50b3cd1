//! What is said about each primitive, once: validation, `doc`, `check`, completion and `.d.rhai` all read it.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{Dynamic, FnPtr, FuncRegistration, Module, RhaiNativeFunc, Shared};

use crate::effect::SecretRef;

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
