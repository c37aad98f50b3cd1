//! Changes that were interrupted, of which nobody knows whether they happened.

use super::Interactive;
use crate::call::Access;
use crate::effect::Undo;
use crate::error::Result;
use crate::journal::{Cursor, Inverse};

/// A change that was interrupted and may have happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// What it is, and where.
    pub what: String,
    /// Whether undoing it makes that certain.
    pub undoable: bool,
}

impl Interactive {
    /// Returns the changes that were interrupted and may have happened.
    pub fn unsettled(&self) -> Vec<Unsettled> {
        self.unsettled.values().cloned().collect()
    }

    /// Remembers the changes of a line that have no outcome.
    pub(super) fn find_unsettled(&mut self, step: &str) -> Result<()> {
        let Some(store) = &self.setup.store else { return Ok(()) };
        let cursor = Cursor::new(&store.records(&self.run.id)?, true);
        let open = cursor.all().into_iter().filter(|call| {
            call.outcome.is_none()
                && call.access == Access::Change
                && line_of(&call.call.step) == step
                && !call.call.takes_back()
        });
        self.unsettled.extend(open.map(|call| {
            let what = format!("{} on {}", call.summary, call.target);
            let undoable = !matches!(call.inverse, Some(Inverse::Impossible { .. }) | None);
            (call.call.to_string(), Unsettled { what, undoable })
        }));
        Ok(())
    }

    /// Forgets an interrupted change that was undone.
    pub(super) fn settled(&mut self, undo: &Undo) {
        match undo {
            Undo::Inverse { inverse: Inverse::Impossible { .. }, .. } | Undo::Closure { .. } => {}
            Undo::Inverse { of, .. } => drop(self.unsettled.remove(&of.to_string())),
            Undo::Lanes(lanes) => {
                for lane in lanes {
                    let head = format!("{} / ", lane.name());
                    self.unsettled.retain(|call, one| !one.undoable || !call.starts_with(&head));
                }
            }
        }
    }
}

/// Returns the line that a step belongs to.
pub(super) fn line_of(step: &str) -> &str {
    step.split(" > ").next().unwrap_or(step)
}
