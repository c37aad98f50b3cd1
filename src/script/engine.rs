//! The engine: Rhai with our primitives and without what would escape the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicBlobPackage, BasicFnPackage, BasicIteratorPackage,
    BasicMapPackage, BasicMathPackage, BasicStringPackage, CorePackage, LanguageCorePackage,
    LogicPackage, MoreStringPackage, Package,
};
use rhai::{
    AST, Dynamic, Engine, EvalAltResult, Module, ModuleResolver, OptimizationLevel, ParseErrorType,
    Position, Scope, Shared, def_package,
};

use super::adapters::ScriptAdapters;
use super::runbook::{Runbook, ScriptError, said};
use super::stdlib;
use crate::effect::Lane;
use crate::error::{Halt, Stop};
use crate::event::What;
use crate::journal::Source;
use crate::primitives;
use crate::primitives::bridge::Seat;
use crate::primitives::closure::{detach, halt_of};

def_package! {
    /// What the language has of its own: everything but clocks, for what they say is not on record.
    pub(super) LanguagePackage(module):
        CorePackage, LanguageCorePackage, ArithmeticPackage, LogicPackage, BasicIteratorPackage,
        BasicFnPackage, BasicStringPackage, MoreStringPackage, BasicArrayPackage, BasicBlobPackage,
        BasicMapPackage, BasicMathPackage
    {}
}

/// The package is the same for every engine. Its functions are looked up when they are called first.
fn language() -> &'static LanguagePackage {
    static LANGUAGE: OnceLock<LanguagePackage> = OnceLock::new();
    LANGUAGE.get_or_init(LanguagePackage::new_lazy)
}

/// An engine that knows nothing but the language.
#[cfg(test)]
pub(super) fn plain() -> Engine {
    let mut engine = Engine::new_raw();
    LanguagePackage::new().register_into_engine(&mut engine);
    engine
}

/// Builds an engine with the primitives. With a seat it can act; without one it can only compile and check.
///
/// # Errors
/// If the standard library does not load, which a test rules out.
pub fn build(seat: Option<&Seat>) -> Result<Engine, ScriptError> {
    let mut engine = Engine::new_raw();
    language().register_into_engine(&mut engine);
    // What is evaluated must be on record, so there is no `eval`.
    engine.disable_symbol("eval");
    engine.set_optimization_level(OptimizationLevel::Simple);
    engine.set_strict_variables(true);
    engine.set_fail_on_invalid_map_property(true);
    engine.set_max_call_levels(48);
    engine.set_max_expr_depths(96, 64);
    engine.register_global_module(Shared::clone(&primitives::face().module));
    if let Some(seat) = seat {
        engine.set_default_tag(Dynamic::from(seat.clone()));
        let lane = seat.lane.clone();
        let cancel = lane.run().cancel.clone();
        engine.on_progress(move |_| cancel.is_cancelled().then(|| Dynamic::from(Stop::Cancelled)));
        engine.on_print(move |text| {
            if lane.tells() {
                lane.emit(What::Printed { text: lane.run().redactor.text(text) });
            }
        });
    }
    Ok(engine)
}

/// Serves the modules that were collected when the runbook was loaded, and no others.
struct Collected {
    modules: BTreeMap<String, Source>,
    cache: Mutex<BTreeMap<String, Shared<Module>>>,
}

impl ModuleResolver for Collected {
    fn resolve(
        &self,
        engine: &Engine,
        _source: Option<&str>,
        path: &str,
        position: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        if let Some(module) = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Ok(Shared::clone(module));
        }
        let source = self
            .modules
            .get(path)
            .ok_or_else(|| EvalAltResult::ErrorModuleNotFound(path.to_owned(), position))?;
        let mut ast = engine.compile(&source.text).map_err(|error| {
            Box::new(EvalAltResult::ErrorInModule(path.to_owned(), error.into(), position))
        })?;
        ast.set_source(&source.name);
        let module = Module::eval_ast_as_new(Scope::new(), &ast, engine).map_err(|error| {
            Box::new(EvalAltResult::ErrorInModule(path.to_owned(), error, position))
        })?;
        let module = Shared::new(module);
        self.cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(path.to_owned(), Shared::clone(&module));
        Ok(module)
    }
}

/// A script ready to be evaluated on a lane.
pub struct Script {
    engine: Arc<Engine>,
    ast: AST,
    scope: Scope<'static>,
    seat: Seat,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("source", &self.ast.source()).finish_non_exhaustive()
    }
}

impl Script {
    /// Makes a runbook ready on a lane: engine, standard library as far as needed, modules, adapters.
    ///
    /// # Errors
    /// If the standard library does not load.
    pub fn new(runbook: &Runbook, lane: &Lane) -> Result<Self, ScriptError> {
        Self::make(runbook, lane, false)
    }

    /// As [`Script::new`], with the whole standard library: nobody knows yet what the next line will call.
    ///
    /// # Errors
    /// As [`Script::new`].
    pub fn interactive(runbook: &Runbook, lane: &Lane) -> Result<Self, ScriptError> {
        Self::make(runbook, lane, true)
    }

    fn make(runbook: &Runbook, lane: &Lane, whole: bool) -> Result<Self, ScriptError> {
        let used = used_names(&runbook.ast, runbook.modules.values());
        // Adapters are called by name from actions, so a script that sets an application, or may undo one, needs them all.
        let everything =
            lane.run().mode != crate::effect::Mode::Plan && lane.run().default_app.is_some();
        let adapters = whole || everything || used.contains("app");
        let mut result = None;
        let mut failed = None;
        let engine = Arc::new_cyclic(|weak: &Weak<Engine>| {
            let seat = Seat {
                lane: lane.clone(),
                engine: weak.clone(),
                anchor: Arc::new(OnceLock::new()),
            };
            match prepare(&seat, runbook, &used, adapters) {
                Ok((engine, functions)) => {
                    result = Some((seat, functions));
                    engine
                }
                Err(error) => {
                    failed = Some(error);
                    Engine::new_raw()
                }
            }
        });
        let Some((seat, functions)) = result else {
            return Err(failed.unwrap_or_else(|| ScriptError::new("the engine cannot be built")));
        };
        let _set_once =
            lane.run().adapters.set(Arc::new(ScriptAdapters::new(seat.clone(), functions)));
        Ok(Self { engine, ast: runbook.ast.clone(), scope: Scope::new(), seat })
    }

    /// Evaluates the whole script.
    ///
    /// # Errors
    /// The failure that it did not catch, or a stop.
    pub fn run(&mut self) -> Result<Dynamic, Halt> {
        self.engine
            .eval_ast_with_scope::<Dynamic>(&mut self.scope, &self.ast)
            .map_err(|error| placed(halt_of(&error), self.ast.source().unwrap_or_default()))
    }

    /// Evaluates one more piece of script in the same scope, as the REPL does; functions defined before are kept.
    ///
    /// # Errors
    /// A failure with the place if it does not compile, or what it fails with.
    pub fn line(&mut self, name: &str, text: &str) -> Result<Dynamic, Halt> {
        let piece = self.compile(name, text).map_err(|error| {
            let mut failure = crate::error::Failure::input(error.message);
            failure.place = error.place;
            failure.hint = error.hint;
            Halt::from(failure)
        })?;
        let whole = self.with(&piece);
        let result = self
            .engine
            .eval_ast_with_scope::<Dynamic>(&mut self.scope, &whole)
            .map_err(|error| placed(halt_of(&error), name));
        self.ast = whole.clone_functions_only();
        result
    }

    /// Finds what is wrong with a piece of script before it is evaluated.
    pub fn problems(&self, name: &str, text: &str) -> Vec<ScriptError> {
        let piece = match self.compile(name, text) {
            Ok(piece) => piece,
            Err(error) => return vec![error],
        };
        let whole = Runbook {
            name: name.to_owned(),
            text: text.to_owned(),
            modules: BTreeMap::new(),
            ast: self.with(&piece),
            metadata: super::Metadata::default(),
        };
        super::check(&self.engine, &whole)
    }

    /// Returns a script on another lane that knows the same functions and copies of the same variables.
    ///
    /// # Errors
    /// If the standard library does not load.
    pub fn copy_to(&self, lane: &Lane) -> Result<Self, ScriptError> {
        let empty = Runbook {
            name: String::new(),
            text: String::new(),
            modules: BTreeMap::new(),
            ast: self.ast.clone_functions_only(),
            metadata: super::Metadata::default(),
        };
        let mut copy = Self::interactive(&empty, lane)?;
        for (name, constant, value) in self.scope.iter() {
            let value = detach(&value);
            if constant {
                copy.scope.push_constant_dynamic(name, value);
            } else {
                copy.scope.push_dynamic(name, value);
            }
        }
        Ok(copy)
    }

    /// Compiles a piece that may use the variables of the pieces before it.
    fn compile(&self, name: &str, text: &str) -> Result<AST, ScriptError> {
        let mut ast = self.engine.compile_with_scope(&self.scope, text).map_err(|error| {
            let told = said(name, text, &error);
            match error.err_type() {
                ParseErrorType::VariableUndefined(word) => self.suggest(word, told),
                _ => told,
            }
        })?;
        ast.set_source(name);
        Ok(ast)
    }

    /// The nearest variable or function to a name that is neither.
    fn suggest(&self, word: &str, error: ScriptError) -> ScriptError {
        let variables = self.variables();
        let functions: Vec<&str> = primitives::face()
            .catalogue
            .iter()
            .map(|primitive| primitive.name)
            .chain(self.ast.iter_functions().map(|function| function.name))
            .collect();
        if functions.contains(&word) {
            return error.with_hint(format!("It is a function: call it as `{word}(…)`."));
        }
        let all = variables.iter().map(String::as_str).chain(functions);
        match crate::units::nearest(word, all) {
            Some(near) => error.with_hint(format!("Did you mean `{near}`?")),
            None => error,
        }
    }

    /// A piece with the functions of those before it.
    fn with(&self, piece: &AST) -> AST {
        let mut functions = self.ast.clone_functions_only();
        if let Some(source) = piece.source() {
            functions.set_source(source);
        }
        functions.merge(piece)
    }

    /// Returns the engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Returns the seat.
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Returns the names of the variables in scope, for completion.
    pub fn variables(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.scope.iter().map(|(name, _, _)| name.to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Returns the functions that the script defines, as `name(parameters)`.
    pub fn functions(&self) -> Vec<String> {
        self.ast
            .iter_functions()
            .filter(|function| !function.name.starts_with("anon$"))
            .map(|function| format!("{}({})", function.name, function.params.join(", ")))
            .collect()
    }

    /// Returns the keys of a map that a variable holds, or that is found in it by these keys.
    pub fn keys(&self, path: &[&str]) -> Vec<String> {
        let Some((variable, rest)) = path.split_first() else { return Vec::new() };
        let mut value = self.scope.get_value::<Dynamic>(variable).unwrap_or_default();
        for key in rest {
            let inner = value.read_lock::<rhai::Map>().and_then(|map| map.get(*key).cloned());
            value = inner.unwrap_or_default();
        }
        value
            .read_lock::<rhai::Map>()
            .map(|map| map.keys().map(ToString::to_string).collect())
            .unwrap_or_default()
    }
}

/// Errors at the top of a script do not say which it is.
fn placed(mut halt: Halt, file: &str) -> Halt {
    if let Halt::Failure(failure) = &mut halt
        && let Some(place) = &mut failure.place
        && place.file.is_empty()
    {
        file.clone_into(&mut place.file);
    }
    halt
}

fn prepare(
    seat: &Seat,
    runbook: &Runbook,
    used: &BTreeSet<String>,
    adapters: bool,
) -> Result<(Engine, BTreeSet<String>), ScriptError> {
    let mut engine = build(Some(seat))?;
    engine.set_module_resolver(Collected {
        modules: runbook.modules.clone(),
        cache: Mutex::default(),
    });
    let mut functions: BTreeSet<String> =
        runbook.ast.iter_functions().map(|function| function.name.to_owned()).collect();
    let wanted = |name: &str| adapters || used.contains(name);
    for file in stdlib::needed(&wanted) {
        file.load(&mut engine)?;
        functions.extend(file.functions().map(|(name, _)| name.to_owned()));
    }
    Ok((engine, functions))
}

/// The names of the functions that a script and its modules call.
fn used_names<'a>(ast: &AST, modules: impl Iterator<Item = &'a Source>) -> BTreeSet<String> {
    let mut names: BTreeSet<String> =
        super::check::calls(ast).into_iter().map(|call| call.name).collect();
    for module in modules {
        // Without compiling them once more: every word may be a call.
        names.extend(
            module.text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned),
        );
    }
    names
}
