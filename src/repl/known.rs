//! What can be completed: the primitives and the standard library, and what this session has defined by now.

use crate::primitives::bridge::Primitive;
use crate::script::{self, reference};
use crate::session::Interactive;
use crate::session::inventory::Inventory;

/// The words of the language.
pub(super) const KEYWORDS: &[&str] = &[
    "let", "const", "if", "else", "switch", "for", "in", "while", "loop", "do", "until", "break",
    "continue", "return", "throw", "try", "catch", "fn", "private", "import", "export", "as",
    "true", "false", "this", "global",
];

/// What is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) primitives: Vec<&'static Primitive>,
    /// Functions of the standard library and of this session, as `name(parameters)`.
    pub(super) functions: Vec<String>,
    pub(super) variables: Vec<String>,
    /// The keys of variables that hold maps, by path (`a`, `a.b`).
    pub(super) keys: Vec<(String, Vec<String>)>,
    pub(super) targets: Vec<String>,
    pub(super) tags: Vec<String>,
    pub(super) params: Vec<String>,
}

impl Known {
    /// What is known before anything is typed.
    pub(super) fn of(inventory: &Inventory) -> Self {
        let mut targets: Vec<String> =
            inventory.targets().map(|target| target.name.clone()).collect();
        targets.push("local".to_owned());
        targets.sort_unstable();
        targets.dedup();
        let mut tags: Vec<String> =
            inventory.targets().flat_map(|target| target.tags.clone()).collect();
        tags.sort_unstable();
        tags.dedup();
        Self { primitives: reference::catalogue(), targets, tags, ..Self::default() }
    }

    /// Takes over what the session has defined since.
    pub(super) fn refresh(&mut self, session: &Interactive) {
        let script = session.script();
        self.functions = script.functions();
        self.functions.extend(
            script::library()
                .iter()
                .flat_map(script::Library::functions)
                .map(|(name, count)| format!("{name}({})", vec!["_"; count].join(", "))),
        );
        self.variables = script.variables();
        self.keys.clear();
        for name in &self.variables {
            let keys = script.keys(&[name]);
            for key in &keys {
                let inner = script.keys(&[name, key]);
                if !inner.is_empty() {
                    self.keys.push((format!("{name}.{key}"), inner));
                }
            }
            if !keys.is_empty() {
                self.keys.push((name.clone(), keys));
            }
        }
        self.params = session.params();
    }

    pub(super) fn primitive(&self, name: &str) -> Option<&'static Primitive> {
        self.primitives.iter().copied().find(|primitive| primitive.name == name)
    }

    /// Returns the signature of a function that is no primitive.
    pub(super) fn function(&self, name: &str) -> Option<&str> {
        let is = |known: &&String| known.split('(').next() == Some(name);
        self.functions.iter().find(is).map(String::as_str)
    }
}
