//! Writes that are lost: a closure whose captures are its own copies (a lane's, or an undo's) and that writes to one.

use std::collections::BTreeMap;

use rhai::{AST, ASTNode, Dynamic, Engine, Expr, FnPtr, Position, Stmt};

use super::check::Problem;
use super::runbook::{Runbook, ScriptError, parse};

/// What gets its closure detached from what it captured.
const DETACHES: [&str; 3] = ["each", "rolling", "on_rollback"];

/// Methods that change what they are called on.
const MUTATES: [&str; 33] = [
    "append",
    "chop",
    "clear",
    "crop",
    "dedup",
    "drain",
    "fill_with",
    "insert",
    "make_lower",
    "make_upper",
    "mixin",
    "order",
    "order_by",
    "pad",
    "pop",
    "push",
    "remove",
    "replace",
    "retain",
    "reverse",
    "set",
    "set_tag",
    "shift",
    "sort",
    "sort_by",
    "sort_desc",
    "splice",
    "trim",
    "truncate",
    "write_ascii",
    "write_be",
    "write_le",
    "write_utf8",
];

/// Finds, in a runbook and its modules, writes to captured variables that nobody sees.
pub fn lost_writes(engine: &Engine, runbook: &Runbook) -> Vec<Problem> {
    let mut found = in_script(&runbook.name, &runbook.ast);
    for source in runbook.modules.values() {
        // What does not compile is told by the check.
        if let Ok(ast) = parse(engine, &source.name, &source.text) {
            found.extend(in_script(&source.name, &ast));
        }
    }
    found
}

fn in_script(file: &str, ast: &AST) -> Vec<Problem> {
    let own = |name: &str| ast.iter_functions().any(|function| function.name == name);
    let mut named: BTreeMap<String, Closure> = BTreeMap::new();
    let mut found: Vec<(Position, Problem)> = Vec::new();
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        if let Some(ASTNode::Stmt(Stmt::Var(var, ..))) = path.last()
            && let Some(closure) = closure(&var.1)
        {
            named.insert(var.0.name.to_string(), closure);
        }
        let Some(
            ASTNode::Expr(Expr::FnCall(call, _) | Expr::MethodCall(call, _))
            | ASTNode::Stmt(Stmt::FnCall(call, _)),
        ) = path.last()
        else {
            return true;
        };
        // A script may define a function of the same name, which then comes first.
        let Some(by) = DETACHES.iter().find(|name| **name == call.name && !own(name)) else {
            return true;
        };
        let given = match call.args.last() {
            Some(Expr::Variable(variable, ..)) => named.get(variable.1.as_str()).cloned(),
            Some(expr) => closure(expr),
            None => None,
        };
        for (name, position) in given.iter().flat_map(|closure| writes(ast, closure)) {
            if !found.iter().any(|(known, _)| *known == position) {
                found.push((position, warning(file, by, &name, position)));
            }
        }
        true
    });
    found.sort_by_key(|(position, _)| (position.line(), position.position()));
    found.into_iter().map(|(_, warning)| warning).collect()
}

fn warning(file: &str, by: &str, name: &str, position: Position) -> Problem {
    let (message, hint) = if by == "on_rollback" {
        (
            format!(
                "what `on_rollback` writes to `{name}` is lost: it has its own copy, of the moment in which it is registered"
            ),
            "Use the value within the closure only.".to_owned(),
        )
    } else {
        (
            format!("what a lane of `{by}` writes to `{name}` is lost: each lane has its own copy"),
            format!(
                "Return a value from the body: `let all = {by}(…, |item| …);` has what the bodies return, in the order of the items."
            ),
        )
    };
    ScriptError::new(message).at(file, position).with_hint(hint)
}

/// A closure: the function that it became, and what it captured.
#[derive(Clone, Debug)]
struct Closure {
    function: String,
    captured: Vec<String>,
}

/// Reads a closure that captures something: the parser makes a block of it that shares the variables and curries them.
fn closure(expr: &Expr) -> Option<Closure> {
    let call = match expr {
        Expr::Stmt(block) => block.statements().iter().find_map(|statement| match statement {
            Stmt::Expr(expr) => match &**expr {
                Expr::FnCall(call, _) => Some(call),
                _ => None,
            },
            Stmt::FnCall(call, _) => Some(call),
            _ => None,
        })?,
        Expr::FnCall(call, _) => call,
        _ => return None,
    };
    if call.name != "curry" {
        return None;
    }
    let function = match call.args.first()? {
        Expr::DynamicConstant(value, _) => pointer(value)?,
        _ => return None,
    };
    let captured = call.args[1..].iter().filter_map(|argument| match argument {
        Expr::Variable(variable, ..) => Some(variable.1.to_string()),
        _ => None,
    });
    Some(Closure { function, captured: captured.collect() })
}

fn pointer(value: &Dynamic) -> Option<String> {
    Some(value.read_lock::<FnPtr>()?.fn_name().to_owned())
}

/// Returns the captured variables that the body of a closure writes to, and where.
fn writes(ast: &AST, closure: &Closure) -> Vec<(String, Position)> {
    let mut body = ast.clone_functions_only();
    body.retain_functions(|_, _, name, _| name == closure.function);
    let mut own: Vec<(String, Position)> = Vec::new();
    let mut found = Vec::new();
    body.walk(&mut |path: &[ASTNode<'_>]| {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::Var(var, ..))) => {
                own.push((var.0.name.to_string(), var.0.pos));
            }
            Some(ASTNode::Stmt(Stmt::For(parts, _))) => {
                own.push((parts.0.name.to_string(), parts.0.pos));
                own.extend(parts.1.iter().map(|count| (count.name.to_string(), count.pos)));
            }
            Some(ASTNode::Stmt(Stmt::Assignment(assignment))) => {
                found.extend(root(&assignment.1.lhs));
            }
            Some(ASTNode::Expr(expr @ (Expr::Dot(..) | Expr::Index(..)))) if mutates(expr) => {
                found.extend(root(expr));
            }
            Some(ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _)))
                if MUTATES.contains(&call.name.as_str()) =>
            {
                found.extend(call.args.first().and_then(root));
            }
            Some(ASTNode::Expr(expr)) => {
                // A closure within, such as the body of a step.
                if let Some(mut inner) = self::closure(expr) {
                    inner.captured.retain(|name| closure.captured.contains(name));
                    if !inner.captured.is_empty() {
                        found.extend(writes(ast, &inner));
                    }
                }
            }
            _ => {}
        }
        true
    });
    let order = |position: &Position| (position.line(), position.position());
    found.retain(|(name, position)| {
        let shadowed = own.iter().any(|(own, from)| own == name && order(from) < order(position));
        closure.captured.contains(name) && !shadowed
    });
    found
}

/// Returns the variable that a chain such as `list[0].name` begins with.
fn root(expr: &Expr) -> Option<(String, Position)> {
    match expr {
        Expr::Variable(variable, _, position) => Some((variable.1.to_string(), *position)),
        Expr::Dot(parts, ..) | Expr::Index(parts, ..) => root(&parts.lhs),
        _ => None,
    }
}

/// Whether a chain ends in a method that changes what it begins with. What a method returned is another value.
fn mutates(expr: &Expr) -> bool {
    let (Expr::Dot(parts, ..) | Expr::Index(parts, ..)) = expr else { return false };
    let mut rest = &parts.rhs;
    loop {
        let (link, next) = match rest {
            Expr::Dot(parts, ..) | Expr::Index(parts, ..) => (&parts.lhs, Some(&parts.rhs)),
            last => (last, None),
        };
        if let Expr::MethodCall(call, _) = link {
            return MUTATES.contains(&call.name.as_str());
        }
        match next {
            Some(next) => rest = next,
            None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(code: &str) -> Vec<String> {
        let engine = crate::script::build(None).unwrap();
        let mut none = |_: &str| Err(String::new());
        let runbook =
            Runbook::compile(&engine, "book".to_owned(), code.to_owned(), &mut none).unwrap();
        let say = |warning: Problem| {
            let name = warning.message.split('`').nth(3).unwrap().to_owned();
            format!("{name} {}", warning.place.unwrap())
        };
        lost_writes(&engine, &runbook).into_iter().map(say).collect()
    }

    #[test]
    fn what_changes_is_known_to_the_language() {
        for name in MUTATES {
            assert!(super::super::check::BUILTIN.lines().any(|known| known == name), "{name}");
        }
    }

    /// The mark stands before the write.
    #[test]
    fn writes_to_captures_of_a_lane_are_found() {
        for marked in [
            "let n = 0; each([1], |t| { ^n += 1; n });",
            "let n = 0; each([1], |t| ^n = t);",
            "let a = [1]; each([1], |t| { ^a[0] = t; });",
            "let m = #{}; each([1], |t| { ^m.key = t; });",
            "let m = #{ l: [] }; each([1], #{ max: 2 }, |t| { ^m.l.push(t) });",
            "let a = []; each([1], |t| ^a.push(t));",
            "let a = []; each([1], |t| push(^a, t));",
            "let a = [[]]; each([1], |t| { if t > 0 { ^a[0].push(t); } });",
            "let n = 0; rolling([1], #{}, |t| step(\"s\", || { ^n += t; }));",
            "let n = 0; let f = |t| { ^n += 1; }; each([1], f);",
            "let n = 0; [1].each(|t| { ^n += 1; });",
            "let n = 0; on_rollback(|| { ^n += 1; });",
            "fn deep(list) { let n = 0; each(list, |t| { for i in 0..3 { ^n += i; } }); n }",
            "let n = 0; each([1], |t| each([2], |u| { ^n += u; }));",
        ] {
            let at = marked.find('^').unwrap();
            let name = &marked[at + 1..at + 2];
            let found = [format!("{name} book:1:{}", at + 1)];
            assert_eq!(warned(&marked.replace('^', "")), found, "{marked}");
        }
    }

    #[test]
    fn what_is_a_lane_s_own_or_is_seen_is_none() {
        for code in [
            "let n = 0; each([1], |t| { let n = t; n += 1; n });",
            "let a = [1]; each([1], |t| a.len() + t);",
            "let a = [1]; each([1], |t| a.filter(|x| x > t));",
            "let a = [1]; each([1], |t| { let b = a; b.push(t); b });",
            "let n = 0; step(\"s\", || { n += 1; });",
            "let a = []; each([1], |t| t.push(1)); a.push(2);",
            "fn each(list, body) { body.call(1) } let n = 0; each([1], |t| { n += 1; });",
            "let a = [1]; each([1], |t| a.map(|x| x + t).push(1));",
        ] {
            assert_eq!(warned(code), [""; 0], "{code}");
        }
    }
}
