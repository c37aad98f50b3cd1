//! A runbook's text, its modules and its metadata, all read without executing anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rhai::{AST, ASTNode, Engine, Expr, Stmt};
use serde_json::Value;

use crate::error::Place;
use crate::journal::Source;
use crate::primitives::RollingOptions;
use crate::primitives::bridge::to_json;
use crate::units;

/// Why a script cannot be used. Nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ScriptError {
    /// What is wrong, as a fragment.
    pub message: String,
    /// Where.
    pub place: Option<Place>,
    /// What to do about it, as a sentence.
    pub hint: Option<String>,
}

impl ScriptError {
    /// Makes an error without a place.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, hint: None }
    }

    /// Adds the place.
    #[must_use]
    pub fn at(mut self, file: &str, position: rhai::Position) -> Self {
        self.place = position.line().map(|line| Place {
            file: file.to_owned(),
            line,
            column: position.position().unwrap_or(1).max(1),
        });
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What a runbook says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// The first `//!` line.
    pub title: String,
    /// The other `//!` lines.
    pub about: String,
    /// The parameters as `RUNBOOK` declares them.
    pub params: Value,
    /// The targets that it is for, if it says so.
    pub targets: Vec<String>,
    /// How several targets go in waves, as far as it says so.
    pub rolling: RollingOptions,
}

/// A script with everything it needs.
#[derive(Clone, Debug)]
pub struct Runbook {
    /// The name that messages use: the path as given, `-e`, `<repl>`.
    pub name: String,
    /// The text.
    pub text: String,
    /// Modules by the name that `import` uses.
    pub modules: BTreeMap<String, Source>,
    /// The compiled script.
    pub ast: AST,
    /// What it says about itself.
    pub metadata: Metadata,
}

impl Runbook {
    /// Reads and compiles a file and what it imports.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn load(engine: &Engine, path: &Path) -> Result<Self, ScriptError> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| {
            let failed = ScriptError::new(format!("cannot read {name}: {error}"));
            match near(path) {
                Some(near) => failed.with_hint(format!("Did you mean {}?", near.display())),
                None => failed,
            }
        })?;
        let base = path.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
        Self::compile(engine, name, text, &mut |module| {
            let mut file = base.join(module);
            if file.extension().is_none() {
                file.set_extension("rhai");
            }
            let text = fs::read_to_string(&file)
                .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
            Ok(Source { name: file.display().to_string(), text })
        })
    }

    /// Compiles a script whose modules are given.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn recorded(engine: &Engine, sources: &[Source]) -> Result<Self, ScriptError> {
        let Some((main, modules)) = sources.split_first() else {
            return Err(ScriptError::new("the run has no script on record"));
        };
        Self::compile(engine, main.name.clone(), main.text.clone(), &mut |module| {
            let wanted = |source: &&Source| {
                let stem = source.name.strip_suffix(".rhai").unwrap_or(&source.name);
                stem == module
                    || stem.ends_with(&format!("/{}", module.trim_start_matches("./")))
                    || source.name.ends_with(module)
            };
            modules
                .iter()
                .find(wanted)
                .cloned()
                .ok_or_else(|| format!("module `{module}` is not on record"))
        })
    }

    /// Compiles a script; `find` returns the text of a module.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn compile(
        engine: &Engine,
        name: String,
        text: String,
        find: &mut dyn FnMut(&str) -> Result<Source, String>,
    ) -> Result<Self, ScriptError> {
        let ast = parse(engine, &name, &text)?;
        let metadata = metadata(&ast, &name).map_err(|error| match error.place {
            None => error.at(&name, declaration(&ast)),
            Some(_) => error,
        })?;
        let mut modules = BTreeMap::new();
        collect_modules(engine, &ast, &name, find, &mut modules)?;
        Ok(Self { name, text, modules, ast, metadata })
    }

    /// Returns the texts, the script itself first, for the journal.
    pub fn sources(&self) -> Vec<Source> {
        let main = Source { name: self.name.clone(), text: self.text.clone() };
        std::iter::once(main).chain(self.modules.values().cloned()).collect()
    }
}

/// Compiles a text under a name.
pub(super) fn parse(engine: &Engine, name: &str, text: &str) -> Result<AST, ScriptError> {
    let mut ast = engine.compile(text).map_err(|error| said(name, text, &error))?;
    ast.set_source(name);
    Ok(ast)
}

/// Says why a text does not compile.
pub(super) fn said(name: &str, text: &str, error: &rhai::ParseError) -> ScriptError {
    let message = error.err_type().to_string();
    let failed = ScriptError::new(lower_first(&message)).at(name, error.position());
    let reserved = failed.message.contains("is a reserved keyword")
        || failed.message.contains("object map literal");
    let word = word_at(text, error.position());
    match word.filter(|word| reserved && RESERVED.contains(&word.as_str())) {
        Some(word) => ScriptError {
            message: format!("`{word}` is a word that the language keeps for itself"),
            ..failed
        }
        .with_hint(format!("As the key of a map it stands in quotes: #{{ \"{word}\": … }}.")),
        None => failed,
    }
}

/// Words that cannot be names.
const RESERVED: [&str; 46] = [
    "as",
    "async",
    "await",
    "break",
    "call",
    "case",
    "catch",
    "const",
    "continue",
    "curry",
    "default",
    "do",
    "else",
    "eval",
    "exit",
    "export",
    "false",
    "fn",
    "for",
    "go",
    "goto",
    "if",
    "import",
    "in",
    "is",
    "is_shared",
    "let",
    "loop",
    "match",
    "module",
    "new",
    "nil",
    "null",
    "package",
    "private",
    "public",
    "return",
    "switch",
    "this",
    "thread",
    "throw",
    "true",
    "try",
    "until",
    "while",
    "with",
];

/// Returns the word at a place of a text.
fn word_at(text: &str, position: rhai::Position) -> Option<String> {
    let line = text.lines().nth(position.line()?.checked_sub(1)?)?;
    let rest = line.chars().skip(position.position()?.checked_sub(1)?);
    let word: String = rest.take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    Some(word).filter(|word| !word.is_empty())
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn near(path: &Path) -> Option<PathBuf> {
    let dir =
        path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let names: Vec<String> = fs::read_dir(dir)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let wanted = path.file_name()?.to_str()?;
    let near = units::nearest(wanted, names.iter().map(String::as_str))?;
    Some(path.with_file_name(near))
}

/// Reads `const RUNBOOK = #{ … }` and the `//!` lines.
fn metadata(ast: &AST, name: &str) -> Result<Metadata, ScriptError> {
    let doc = ast.doc();
    let mut lines = doc.lines().map(|line| line.trim_start_matches("//!").trim());
    let title = lines.next().unwrap_or_default().to_owned();
    let about = lines.collect::<Vec<_>>().join("\n").trim().to_owned();
    let mut metadata = Metadata {
        title,
        about,
        params: Value::Object(serde_json::Map::new()),
        targets: Vec::new(),
        rolling: RollingOptions::default(),
    };
    let literal = ast.iter_literal_variables(true, false).find(|(name, _, _)| *name == "RUNBOOK");
    let Some((_, _, value)) = literal else {
        if !declaration(ast).is_none() {
            return Err(ScriptError::new(
                "RUNBOOK must be a literal map: it is read without running the script",
            )
            .with_hint("Write values only, no function calls or variables."));
        }
        return Ok(metadata);
    };
    let Ok(Value::Object(map)) = to_json(&value) else {
        return Err(ScriptError::new("RUNBOOK must be a map"));
    };
    for (key, value) in map {
        let wrong = |expected: &str| ScriptError::new(format!("RUNBOOK.{key} must be {expected}"));
        match key.as_str() {
            "params" if value.is_object() => metadata.params = value,
            "params" => return Err(wrong("a map of parameters")),
            "needs" => check_needs(
                value.as_str().ok_or_else(|| wrong("a version such as \"0.1\""))?,
                name,
            )?,
            "targets" => {
                let list = value.as_array().and_then(|list| {
                    list.iter().map(|item| item.as_str().map(str::to_owned)).collect()
                });
                metadata.targets = list.ok_or_else(|| wrong("a list of target selectors"))?;
            }
            "rolling" => {
                let options = value.as_object().ok_or_else(|| wrong("a map of options"))?;
                let wrong = |why| ScriptError::new(format!("RUNBOOK.rolling: {why}"));
                metadata.rolling = RollingOptions::read(options).map_err(wrong)?;
            }
            "product" | "version" | "source" => drop(value.as_str().ok_or_else(|| wrong("text"))?),
            other => {
                let known =
                    ["params", "needs", "targets", "rolling", "product", "version", "source"];
                let error = ScriptError::new(format!("RUNBOOK has an unknown key `{other}`"));
                return Err(match units::nearest(other, known) {
                    Some(near) => error.with_hint(format!("Did you mean `{near}`?")),
                    None => error.with_hint(format!("It may have {}.", known.join(", "))),
                });
            }
        }
    }
    Ok(metadata)
}

fn check_needs(needs: &str, name: &str) -> Result<(), ScriptError> {
    let numbers = |text: &str| -> Option<Vec<u32>> {
        text.split('.').map(|part| part.parse().ok()).collect()
    };
    let ours = numbers(env!("CARGO_PKG_VERSION")).unwrap_or_default();
    match numbers(needs) {
        None => Err(ScriptError::new(format!(
            "RUNBOOK.needs is `{needs}`, expected a version such as \"0.1\""
        ))),
        Some(wanted) if wanted > ours => Err(ScriptError::new(format!(
            "{name} needs upgrade-host {needs}, this is {}",
            env!("CARGO_PKG_VERSION")
        ))),
        Some(_) => Ok(()),
    }
}

/// Returns where `RUNBOOK` is declared.
fn declaration(ast: &AST) -> rhai::Position {
    let found = ast.statements().iter().find_map(|stmt| match stmt {
        Stmt::Var(var, ..) if var.0.name == "RUNBOOK" => Some(var.0.pos),
        _ => None,
    });
    found.unwrap_or(rhai::Position::NONE)
}

fn collect_modules(
    engine: &Engine,
    ast: &AST,
    file: &str,
    find: &mut dyn FnMut(&str) -> Result<Source, String>,
    modules: &mut BTreeMap<String, Source>,
) -> Result<(), ScriptError> {
    let mut wanted = Vec::new();
    let mut dynamic = None;
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        if let Some(ASTNode::Stmt(Stmt::Import(import, position))) = path.last() {
            match &import.0 {
                Expr::StringConstant(name, position) => wanted.push((name.to_string(), *position)),
                _ => dynamic = Some(*position),
            }
        }
        true
    });
    if let Some(position) = dynamic {
        return Err(ScriptError::new(
            "`import` needs the module's name as a plain text: it is recorded with the run",
        )
        .at(file, position));
    }
    for (name, position) in wanted {
        if modules.contains_key(&name) {
            continue;
        }
        let source = find(&name).map_err(|why| ScriptError::new(why).at(file, position))?;
        let ast = parse(engine, &source.name, &source.text)?;
        let file = source.name.clone();
        modules.insert(name, source);
        collect_modules(engine, &ast, &file, find, modules)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_runbook_compiles_and_says_what_it_is() {
        let engine = crate::script::build(None).unwrap();
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts");
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let runbook = Runbook::load(&engine, &path)
                .unwrap_or_else(|error| panic!("{}: {error} at {:?}", path.display(), error.place));
            assert!(!runbook.metadata.title.is_empty(), "{}", path.display());
            assert!(
                runbook.metadata.params.as_object().is_some_and(|params| !params.is_empty()),
                "{}",
                path.display()
            );
        }
    }
}
