//! Which targets are meant: a selector, and what limits it.

use super::{Inventory, unknown};
use crate::effect::Targets;
use crate::error::Result;

/// Which targets are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The selector; every configured target if none.
    pub on: Option<String>,
    /// Of these, only those that this selector stands for.
    pub limit: Option<String>,
}

impl Choice {
    /// Chooses the targets that a selector stands for.
    pub fn on(selector: impl Into<String>) -> Self {
        Self { on: Some(selector.into()), limit: None }
    }

    /// Returns the names that are meant, in the order in which the selector names them.
    ///
    /// # Errors
    /// A failure of kind `input` if a term finds nothing, or nothing is left.
    pub fn among(&self, inventory: &Inventory) -> Result<Vec<String>> {
        let mut names = match &self.on {
            Some(selector) => inventory.select(selector)?,
            None => inventory.targets().map(|target| target.name.clone()).collect(),
        };
        let Some(limit) = &self.limit else { return Ok(names) };
        let within = inventory.select(limit)?.into_iter().collect::<std::collections::HashSet<_>>();
        let before = names.len();
        names.retain(|name| within.contains(name));
        if !names.is_empty() {
            return Ok(names);
        }
        let of = match &self.on {
            Some(selector) => format!("the targets that `{selector}` stands for ({before})"),
            None => format!("the configured targets ({before})"),
        };
        let hint = "`upgrade-host hosts TARGETS` lists what a selector stands for.";
        Err(unknown(format!("--limit `{limit}` leaves none of {of}"), hint.to_owned()).into())
    }
}
