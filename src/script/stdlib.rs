//! The standard library: Rhai files embedded in the program, loaded as global modules and only when a script needs them.

use std::sync::OnceLock;

use rhai::{Engine, Module, Scope, Shared};

use super::runbook::{ScriptError, parse};

/// A file of the standard library.
#[derive(Debug)]
pub struct Library {
    /// The name that messages use.
    pub name: &'static str,
    /// The text.
    pub text: &'static str,
    /// What it defines. Compiled once: it is the same for every engine, and there is one for each of many targets.
    module: OnceLock<Result<Shared<Module>, ScriptError>>,
}

/// Every file of the standard library.
static LIBRARY: [Library; 2] = [
    Library::new("<stdlib>/ahsay_obs.rhai", include_str!("../../stdlib/ahsay_obs.rhai")),
    Library::new("<stdlib>/command.rhai", include_str!("../../stdlib/command.rhai")),
];

/// Returns every file of the standard library.
pub fn library() -> &'static [Library] {
    &LIBRARY
}

impl Library {
    const fn new(name: &'static str, text: &'static str) -> Self {
        Self { name, text, module: OnceLock::new() }
    }

    /// Returns the names of the functions that the file defines, with their number of parameters.
    pub fn functions(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.text.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("fn ")?.split_once('(')?;
            let params = rest.split(')').next().unwrap_or_default();
            Some((name.trim(), params.split(',').filter(|param| !param.trim().is_empty()).count()))
        })
    }

    /// Makes the functions of the file known to the engine.
    ///
    /// # Errors
    /// If it does not compile, which a test rules out.
    pub fn load(&self, engine: &mut Engine) -> Result<(), ScriptError> {
        let module = self.module.get_or_init(|| self.compile()).clone()?;
        engine.register_global_module(module);
        Ok(())
    }

    fn compile(&self) -> Result<Shared<Module>, ScriptError> {
        let engine = super::build(None)?;
        let ast = parse(&engine, self.name, self.text)?;
        let module = Module::eval_ast_as_new(Scope::new(), &ast, &engine)
            .map_err(|error| ScriptError::new(format!("{}: {error}", self.name)))?;
        Ok(module.into())
    }
}

/// Returns the files that define one of `names`, and those of the named adapters.
pub(super) fn needed(names: &dyn Fn(&str) -> bool) -> Vec<&'static Library> {
    LIBRARY.iter().filter(|file| file.functions().any(|(name, _)| names(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_library_is_embedded_and_compiles() {
        let on_disk = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/stdlib"))
            .map(|dir| {
                dir.filter_map(Result::ok)
                    .filter(|entry| entry.path().extension().is_some_and(|ext| ext == "rhai"))
                    .count()
            })
            .unwrap_or_default();
        assert_eq!(LIBRARY.len(), on_disk);

        let mut engine = crate::script::build(None).unwrap();
        for file in &LIBRARY {
            file.load(&mut engine).unwrap();
            assert!(file.functions().count() > 0, "{}", file.name);
        }
    }
}
