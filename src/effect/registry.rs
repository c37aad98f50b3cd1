//! Every action by its name, so that inverses run from the record, without the script.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::action::{Action, Reconciled};
use super::context::Cx;
use super::deadman;
use super::foresee::{Foreseen, foresee};
use super::lane::{Inside, Lane};
use super::off::{Off, Stands};
use super::perform::perform;
use crate::error::{Failure, Result};
use crate::journal::Recorded;
use crate::transport::Sudo;

/// What can be done with an action that is only known from the record.
struct Known {
    perform: fn(&Lane, Value) -> Result<Value>,
    foresee: fn(&Lane, Value) -> Result<Foreseen>,
    begun: fn(&Cx<'_>, &Recorded) -> Result<bool>,
    becomes: fn(&Cx<'_>, &Recorded) -> Result<Option<Sudo>>,
    stands: fn(&Cx<'_>, &Off) -> Result<Stands>,
    again: fn(&Cx<'_>, &Off) -> Result<Value>,
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
        let becomes: fn(&Cx<'_>, &Recorded) -> Result<Option<Sudo>> =
            |cx, call| read::<A>(call.action.clone())?.becomes(cx);
        let stands: fn(&Cx<'_>, &Off) -> Result<Stands> = |cx, off| {
            let (action, before) = (read::<A>(off.action.clone())?, before::<A>(off)?);
            let found = cx.lane.within(Inside::Looking, || {
                // What does not answer now is not on for that: doing it again might start what answers for it.
                action.look(cx).and_then(|_| action.reconcile(cx, &before))
            });
            Ok(match found? {
                Reconciled::Done(_) => Stands::Off,
                Reconciled::Redo | Reconciled::Again(_) => Stands::On,
                Reconciled::Unknown(why) => Stands::Unknown(why),
            })
        };
        let again: fn(&Cx<'_>, &Off) -> Result<Value> = |cx, off| {
            let (action, before) = (read::<A>(off.action.clone())?, before::<A>(off)?);
            let switch = cx.lane.within(Inside::Looking, || action.deadman(cx, &before))?;
            if let Some(switch) = switch {
                let key = Some(off.debt.key.clone());
                cx.reconnecting(|| deadman::arm(cx, &switch, key.clone(), off.summary.clone()))?;
            }
            let output = cx.lane.within(Inside::Applying, || action.apply(cx, &before))?;
            serde_json::to_value(output).map_err(|error| Failure::input(error.to_string()).into())
        };
        self.0.insert(A::NAME, Known { perform, foresee, begun, becomes, stands, again });
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

    /// Returns as which other user a recorded call runs commands; see [`Action::becomes`].
    ///
    /// # Errors
    /// What the action fails with.
    pub(super) fn becomes(&self, cx: &Cx<'_>, call: &Recorded) -> Result<Option<Sudo>> {
        self.0.get(call.call.action.as_str()).map_or(Ok(None), |known| (known.becomes)(cx, call))
    }

    /// Looks whether what a call switched off still is off. Only reads.
    ///
    /// # Errors
    /// What the action fails with.
    pub(super) fn stands(&self, cx: &Cx<'_>, off: &Off) -> Result<Stands> {
        (self.known(&off.call.action)?.stands)(cx, off)
    }

    /// Switches off again what a call switched off, with its dead-man switch armed if it has one.
    ///
    /// # Errors
    /// What the action fails with.
    pub(super) fn again(&self, cx: &Cx<'_>, off: &Off) -> Result<Value> {
        (self.known(&off.call.action)?.again)(cx, off)
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

fn before<A: Action>(off: &Off) -> Result<A::Before> {
    serde_json::from_value(off.before.clone()).map_err(|error| {
        Failure::input(format!("the record of {} cannot be read: {error}", off.call)).into()
    })
}

fn read<A: Action>(data: Value) -> Result<A> {
    serde_json::from_value(data).map_err(|error| {
        Failure::input(format!("the recorded {} cannot be read: {error}", A::NAME)).into()
    })
}
