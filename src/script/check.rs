//! What can be told of a script without running it: unknown functions, options and parameters, each with its place and
//! the nearest known name.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use rhai::{AST, ASTNode, Dynamic, Engine, Expr, Position, Stmt};
use serde_json::Value;

use super::runbook::{Runbook, ScriptError, parse};
use super::stdlib;
use crate::primitives;
use crate::primitives::bridge::{Primitive, Type, type_name, unknown_option};
use crate::units;

/// Something wrong in a script.
pub type Problem = ScriptError;

/// A call in a script.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: String,
    position: Position,
    /// The arguments, with the values of those that are literals.
    arguments: Vec<(Option<Dynamic>, Position)>,
    /// The literal options that the call ends with, by name.
    options: Vec<(String, Position)>,
    /// `value.name(…)`: the value is an argument too, and may bring a function of its own.
    method: bool,
    /// Qualified calls belong to an imported module.
    qualified: bool,
}

impl Call {
    /// The first argument, if it is a literal text.
    fn text(&self) -> Option<(String, Position)> {
        let (value, position) = self.arguments.first()?;
        Some((value.clone()?.into_string().ok()?, *position))
    }
}

/// What may be called besides the primitives.
struct Known<'a> {
    engine: &'a Engine,
    own: BTreeSet<String>,
    /// What the engine knows; asked for only when a name is met that nothing else explains.
    all: OnceLock<BTreeSet<String>>,
}

impl Known<'_> {
    fn has(&self, name: &str) -> bool {
        self.own.contains(name)
            || is_language(name)
            || BUILTIN.lines().any(|known| known == name)
            || stdlib::library()
                .iter()
                .flat_map(stdlib::Library::functions)
                .any(|(own, _)| own == name)
            || self.all.get_or_init(|| names(self.engine)).contains(name)
    }
}

/// The functions that the language has of its own, one a line. A list, for asking the engine takes longer than all the
/// rest of the check.
pub(super) const BUILTIN: &str = include_str!("builtin.txt");

/// Asks the engine for the names of all functions that are registered with it.
fn names(engine: &Engine) -> BTreeSet<String> {
    engine
        .gen_fn_signatures(true)
        .iter()
        .filter_map(|signature| signature.split('(').next())
        .map(|name| name.trim().to_owned())
        .collect()
}

/// Finds what is wrong with a runbook, in the order of the text.
pub fn check(engine: &Engine, runbook: &Runbook) -> Vec<Problem> {
    let mut problems = Vec::new();
    let check_one = |problems: &mut Vec<Problem>, name: &str, text: &str, ast: &AST| {
        let own = ast.iter_functions().map(|function| function.name.to_owned()).collect();
        let known = Known { engine, own, all: OnceLock::new() };
        let params = (name == runbook.name).then_some(&runbook.metadata.params);
        for mut call in calls(ast) {
            for (key, position) in &mut call.options {
                *position = key_at(text, key, *position);
            }
            problems.extend(check_call(name, &call, &known, params));
        }
    };
    check_one(&mut problems, &runbook.name, &runbook.text, &runbook.ast);
    for source in runbook.modules.values() {
        match parse(engine, &source.name, &source.text) {
            Ok(ast) => check_one(&mut problems, &source.name, &source.text, &ast),
            Err(problem) => problems.push(problem),
        }
    }
    problems.sort_by_key(|problem| {
        problem
            .place
            .as_ref()
            .map(|place| (place.file != runbook.name, place.file.clone(), place.line, place.column))
    });
    problems.dedup();
    problems
}

/// Finds a key in the map that begins at a place: of a map of literals only the beginning is known.
fn key_at(text: &str, key: &str, map: Position) -> Position {
    let (Some(line), Some(column)) = (map.line(), map.position()) else { return map };
    let mut skip = column.saturating_sub(1);
    for (number, text) in text.lines().enumerate().skip(line - 1) {
        let letters: Vec<char> = text.chars().collect();
        let name = |at: usize| letters.get(at).is_some_and(|c| c.is_alphanumeric() || *c == '_');
        let wanted: Vec<char> = key.chars().collect();
        for at in skip..letters.len() {
            let end = at + wanted.len();
            let alone = !((at > 0 && name(at - 1)) || name(end));
            if alone && letters.get(at..end) == Some(&wanted[..]) {
                let place = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
                return Position::new(place(number + 1), place(at + 1));
            }
        }
        skip = 0;
    }
    map
}

fn check_call(file: &str, call: &Call, known: &Known<'_>, params: Option<&Value>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let word = call.name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if call.qualified || !word {
        return problems;
    }
    let face = primitives::face();
    match face.find(&call.name) {
        // A script may define a function of the same name, which then comes first.
        Some(primitive) if !known.own.contains(&call.name) => {
            problems.extend(check_primitive(file, call, primitive));
        }
        None if !known.has(&call.name) => {
            let error = ScriptError::new(format!("there is no function `{}`", call.name))
                .at(file, call.position);
            let names = face.catalogue.iter().map(|primitive| primitive.name);
            let own = known.own.iter().map(String::as_str);
            problems.push(match units::nearest(&call.name, names.chain(own)) {
                Some(near) => error.with_hint(format!("Did you mean `{near}`?")),
                None => error.with_hint("`upgrade-host doc` lists all of them."),
            });
        }
        _ => {}
    }
    if let (true, Some((name, position)), Some(Value::Object(params))) =
        (["param", "secret"].contains(&call.name.as_str()), call.text(), params)
        && !params.contains_key(&name)
    {
        let error =
            ScriptError::new(format!("RUNBOOK declares no parameter `{name}`")).at(file, position);
        problems.push(match units::nearest(&name, params.keys().map(String::as_str)) {
            Some(near) => error.with_hint(format!("Did you mean `{near}`?")),
            None => error
                .with_hint(format!("Declare it: const RUNBOOK = #{{ params: #{{ {name}: … }} }};")),
        });
    }
    problems
}

/// Checks the number of arguments, the types of those that are literals, and the names of literal options.
fn check_primitive(file: &str, call: &Call, primitive: &'static Primitive) -> Vec<Problem> {
    let mut problems = Vec::new();
    let given = call.arguments.len();
    let fits = primitives::face()
        .arities
        .get(primitive.name)
        .is_none_or(|arities| arities.contains(&given));
    if !call.method && !fits {
        let count = match given {
            0 => "no argument".to_owned(),
            1 => "1 argument".to_owned(),
            more => format!("{more} arguments"),
        };
        let error = ScriptError::new(format!("{}: cannot be called with {count}", primitive.name));
        problems.push(error.at(file, call.position).with_hint(primitive.takes()));
        return problems;
    }
    for (key, position) in &call.options {
        // A map may also be a plain argument; it is taken for the options only where there are any.
        if !primitive.options.is_empty() && !primitive.options.iter().any(|field| field.name == key)
        {
            problems.push(ScriptError::new(unknown_option(primitive, key)).at(file, *position));
        }
    }
    if call.method {
        return problems;
    }
    for (field, (value, position)) in primitive.params.iter().zip(&call.arguments) {
        let Some(value) = value else { continue };
        // Options come before a body, so a closure's place tells nothing.
        if field.kind != Type::Closure && !field.kind.fits(value) {
            let message = format!(
                "{}: `{}` is {}, found {}",
                primitive.name,
                field.name,
                field.kind.as_str(),
                type_name(value)
            );
            problems.push(ScriptError::new(message).at(file, *position));
        }
    }
    problems
}

/// Words that the language itself treats as calls.
fn is_language(name: &str) -> bool {
    [
        "print",
        "debug",
        "type_of",
        "is_def_var",
        "is_def_fn",
        "call",
        "curry",
        "Fn",
        "is_shared",
        "eval",
    ]
    .contains(&name)
        || name.starts_with("anon$")
}

/// Returns every call of a script.
pub(super) fn calls(ast: &AST) -> Vec<Call> {
    let mut calls = Vec::new();
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        let (call, position, method) = match path.last() {
            Some(
                ASTNode::Expr(Expr::FnCall(call, position))
                | ASTNode::Stmt(Stmt::FnCall(call, position)),
            ) => (call, *position, false),
            Some(ASTNode::Expr(Expr::MethodCall(call, position))) => (call, *position, true),
            _ => return true,
        };
        let options = match call.args.last() {
            Some(Expr::Map(map, _)) => {
                map.0.iter().map(|(name, _)| (name.name.to_string(), name.pos)).collect()
            }
            Some(Expr::DynamicConstant(value, position)) => value
                .read_lock::<rhai::Map>()
                .map(|map| map.keys().map(|key| (key.to_string(), *position)).collect())
                .unwrap_or_default(),
            _ => Vec::new(),
        };
        let literal = |expr: &Expr| match expr {
            // A text with values in it is no literal, whatever it looks like.
            Expr::InterpolatedString(..) | Expr::FnCall(..) => None,
            expr => expr.get_literal_value(None),
        };
        calls.push(Call {
            name: call.name.to_string(),
            position,
            arguments: call.args.iter().map(|expr| (literal(expr), expr.position())).collect(),
            options,
            method,
            qualified: !call.namespace.is_empty(),
        });
        true
    });
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_the_language_s_own_functions_is_what_the_engine_knows() {
        let engine = crate::script::engine::plain();
        let list: Vec<String> = names(&engine).into_iter().filter(|name| is_valid(name)).collect();
        let list = list.join("\n") + "\n";
        if std::env::var_os("UPDATE_DOCS").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/script/builtin.txt");
            std::fs::write(path, &list).unwrap();
        }
        assert!(list == BUILTIN, "builtin.txt is out of date: run the tests with UPDATE_DOCS=1");
    }

    fn is_valid(name: &str) -> bool {
        name.chars().all(|c| c.is_alphanumeric() || c == '_')
    }
}
