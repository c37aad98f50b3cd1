//! What can be told of a script without running it: unknown functions, options and parameters, each with its place and
//! the nearest known name.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTNode, Engine, Expr, Position, Stmt};
use serde_json::Value;

use super::runbook::{Runbook, ScriptError, parse};
use super::stdlib;
use crate::primitives;
use crate::primitives::bridge::{Primitive, unknown_option};
use crate::units;

/// Something wrong in a script.
pub type Problem = ScriptError;

/// A call in a script.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: String,
    position: Position,
    /// The literal options that the call ends with, by name.
    options: Vec<(String, Position)>,
    /// The first argument, if it is a literal text.
    text: Option<(String, Position)>,
    /// Qualified calls belong to an imported module.
    qualified: bool,
}

/// Finds what is wrong with a runbook, in the order of the text.
pub fn check(engine: &Engine, runbook: &Runbook) -> Vec<Problem> {
    let catalogue: BTreeMap<&str, &'static Primitive> = primitives::face()
        .catalogue
        .into_iter()
        .map(|primitive| (primitive.name, primitive))
        .collect();
    let mut known: BTreeSet<String> = engine
        .gen_fn_signatures(true)
        .iter()
        .filter_map(|signature| signature.split('(').next())
        .map(|name| name.trim().to_owned())
        .collect();
    known.extend(
        stdlib::library()
            .iter()
            .flat_map(super::stdlib::Library::functions)
            .map(|(name, _)| name.to_owned()),
    );
    let mut problems = Vec::new();
    let check_one = |problems: &mut Vec<Problem>, name: &str, ast: &AST| {
        let own: BTreeSet<String> =
            ast.iter_functions().map(|function| function.name.to_owned()).collect();
        let params = (name == runbook.name).then_some(&runbook.metadata.params);
        for call in calls(ast) {
            problems.extend(check_call(
                name,
                &call,
                &catalogue,
                &|name| known.contains(name) || own.contains(name),
                params,
            ));
        }
    };
    check_one(&mut problems, &runbook.name, &runbook.ast);
    for source in runbook.modules.values() {
        match parse(engine, &source.name, &source.text) {
            Ok(ast) => check_one(&mut problems, &source.name, &ast),
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

fn check_call(
    file: &str,
    call: &Call,
    catalogue: &BTreeMap<&str, &'static Primitive>,
    known: &dyn Fn(&str) -> bool,
    params: Option<&Value>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let word = call.name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if call.qualified || !word {
        return problems;
    }
    if !known(&call.name) && !is_language(&call.name) {
        let error = ScriptError::new(format!("there is no function `{}`", call.name))
            .at(file, call.position);
        problems.push(match units::nearest(&call.name, catalogue.keys().copied()) {
            Some(near) => error.with_hint(format!("Did you mean `{near}`?")),
            None => error.with_hint("`upgrade-host doc` lists all of them."),
        });
    }
    if let Some(primitive) = catalogue.get(call.name.as_str()) {
        for (key, position) in &call.options {
            // A map may also be a plain argument; it is taken for the options only where there are any.
            if !primitive.options.is_empty()
                && !primitive.options.iter().any(|field| field.name == key)
            {
                problems.push(ScriptError::new(unknown_option(primitive, key)).at(file, *position));
            }
        }
    }
    if let (true, Some((name, position)), Some(Value::Object(params))) =
        (["param", "secret"].contains(&call.name.as_str()), &call.text, params)
        && !params.contains_key(name)
    {
        let error =
            ScriptError::new(format!("RUNBOOK declares no parameter `{name}`")).at(file, *position);
        problems.push(match units::nearest(name, params.keys().map(String::as_str)) {
            Some(near) => error.with_hint(format!("Did you mean `{near}`?")),
            None => error,
        });
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
        let (call, position) = match path.last() {
            Some(
                ASTNode::Expr(Expr::FnCall(call, position) | Expr::MethodCall(call, position))
                | ASTNode::Stmt(Stmt::FnCall(call, position)),
            ) => (call, *position),
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
        let text = match call.args.first() {
            Some(Expr::StringConstant(text, position)) => Some((text.to_string(), *position)),
            _ => None,
        };
        calls.push(Call {
            name: call.name.to_string(),
            position,
            options,
            text,
            qualified: !call.namespace.is_empty(),
        });
        true
    });
    calls
}
