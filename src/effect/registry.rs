//! Every action by its name, so that inverses run from the record, without the script.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::action::Action;
use super::context::Cx;
use super::foresee::{Foreseen, foresee};
use super::lane::{Inside, Lane};
use super::perform::perform;
use crate::error::{Failure, Result};
use crate::journal::Recorded;

/// What can be done with an action that is only known from the record.
struct Known {
    perform: fn(&Lane, Value) -> Result<Value>,
    foresee: fn(&Lane, Value) -> Result<Foreseen>,
    begun: fn(&Cx<'_>, &Recorded) -> Result<bool>,
}

/// Actions by name.
#[derive(Default)]
pub struct Registry(BTreeMap<&'static str, Known>);

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Registry {
    /// Adds an action.
    pub fn add<A: Action>(&mut self) {
        let perform: fn(&Lane, Value) -> Result<Value> = |lane, data| {
            let output = perform(lane, None, &read::<A>(data)?)?;
            serde_json::to_value(output).map_err(|error| Failure::input(error.to_string()).into())
        };
        let foresee: fn(&Lane, Value) -> Result<Foreseen> =
            |lane, data| foresee(lane, &read::<A>(data)?);
        let begun: fn(&Cx<'_>, &Recorded) -> Result<bool> = |cx, call| {
            let before = serde_json::from_value(call.before.clone()).map_err(|error| {
                Failure::input(format!("the record of {} cannot be read: {error}", call.call))
            })?;
            cx.lane.within(Inside::Looking, || read::<A>(call.action.clone())?.begun(cx, &before))
        };
        self.0.insert(A::NAME, Known { perform, foresee, begun });
    }

    /// Performs a recorded action on the lane.
    ///
    /// # Errors
    /// `input` if there is no such action, or what the action fails with.
    pub fn perform(&self, lane: &Lane, name: &str, data: Value) -> Result<Value> {
        (self.known(name)?.perform)(lane, data)
    }

    /// Says what a recorded action that takes back would do on the lane, and what it would meet. Only reads.
    ///
    /// # Errors
    /// As [`Registry::perform`].
    pub(super) fn foresee(&self, lane: &Lane, name: &str, data: Value) -> Result<Foreseen> {
        (self.known(name)?.foresee)(lane, data)
    }

    /// Returns whether a recorded call without outcome may have begun; see [`Action::begun`]. Those that are not known here,
    /// as waits, leave nothing to take back.
    ///
    /// # Errors
    /// What the action fails with.
    pub(super) fn begun(&self, cx: &Cx<'_>, call: &Recorded) -> Result<bool> {
        self.0.get(call.call.action.as_str()).map_or(Ok(true), |known| (known.begun)(cx, call))
    }

    fn known(&self, name: &str) -> Result<&Known> {
        self.0.get(name).ok_or_else(|| {
            Failure::input(format!(
                "this program has no action `{name}`; use the version that recorded it"
            ))
            .into()
        })
    }
}

fn read<A: Action>(data: Value) -> Result<A> {
    serde_json::from_value(data).map_err(|error| {
        Failure::input(format!("the recorded {} cannot be read: {error}", A::NAME)).into()
    })
}
