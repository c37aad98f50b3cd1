//! Every action by its name, so that inverses run from the record, without the script.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::action::Action;
use super::lane::Lane;
use super::perform::perform;
use crate::error::{Failure, Result};

type Performer = fn(&Lane, Value) -> Result<Value>;

/// Actions by name.
#[derive(Default)]
pub struct Registry(BTreeMap<&'static str, Performer>);

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Registry {
    /// Adds an action.
    pub fn add<A: Action>(&mut self) {
        self.0.insert(A::NAME, |lane, data| {
            let action: A = serde_json::from_value(data).map_err(|error| {
                Failure::input(format!("the recorded {} cannot be read: {error}", A::NAME))
            })?;
            let output = perform(lane, None, &action)?;
            serde_json::to_value(output).map_err(|error| Failure::input(error.to_string()).into())
        });
    }

    /// Performs a recorded action on the lane.
    ///
    /// # Errors
    /// `input` if there is no such action, or what the action fails with.
    pub fn perform(&self, lane: &Lane, name: &str, data: Value) -> Result<Value> {
        match self.0.get(name) {
            Some(perform) => perform(lane, data),
            None => Err(Failure::input(format!(
                "this program has no action `{name}`; use the version that recorded it"
            ))
            .into()),
        }
    }
}
