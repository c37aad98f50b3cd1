//! The standard library: Rhai files embedded in the program, loaded as global modules and only when a script needs them.

use rhai::{Engine, Module, Scope};

use super::runbook::{ScriptError, parse};

/// A file of the standard library.
#[derive(Clone, Copy, Debug)]
pub struct Library {
    /// The name that messages use.
    pub name: &'static str,
    /// The text.
    pub text: &'static str,
}

/// Every file of the standard library.
const LIBRARY: &[Library] = &[
    Library { name: "<stdlib>/ahsay_obs.rhai", text: include_str!("../../stdlib/ahsay_obs.rhai") },
    Library { name: "<stdlib>/command.rhai", text: include_str!("../../stdlib/command.rhai") },
];

/// Returns every file of the standard library.
pub fn library() -> &'static [Library] {
    LIBRARY
}

impl Library {
    /// Returns the names of the functions that the file defines, with their number of parameters.
    pub fn functions(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.text.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("fn ")?.split_once('(')?;
            let params = rest.split(')').next().unwrap_or_default();
            Some((name.trim(), params.split(',').filter(|param| !param.trim().is_empty()).count()))
        })
    }

    /// Compiles the file and makes its functions known to the engine.
    ///
    /// # Errors
    /// If it does not compile, which a test rules out.
    pub fn load(&self, engine: &mut Engine) -> Result<(), ScriptError> {
        let ast = parse(engine, self.name, self.text)?;
        let module = Module::eval_ast_as_new(Scope::new(), &ast, engine)
            .map_err(|error| ScriptError::new(format!("{}: {error}", self.name)))?;
        engine.register_global_module(module.into());
        Ok(())
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
        for file in LIBRARY {
            file.load(&mut engine).unwrap();
            assert!(file.functions().count() > 0, "{}", file.name);
        }
    }
}
