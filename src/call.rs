//! The identity of a call: `lane / step / action #n`, the n-th call of that action in that step of that lane.
//!
//! Source positions are no part of it, so an edit in one step leaves the records of the others valid.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Identifies a call within a run, the same in every replay.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallKey {
    /// The lane, `main` or `main > each 1 > obs2`.
    pub lane: String,
    /// The steps around the call, outermost first, joined by ` > `; empty outside of steps.
    pub step: String,
    /// The action's name.
    pub action: String,
    /// The how-manieth call of that action in that step of that lane, from 1.
    pub nth: u32,
}

impl CallKey {
    /// Returns whether it takes back what another call did.
    pub fn takes_back(&self) -> bool {
        self.lane.starts_with("undo ")
    }
}

impl fmt::Display for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = if self.step.is_empty() { "-" } else { &self.step };
        write!(f, "{} / {} / {} #{}", self.lane, step, self.action, self.nth)
    }
}

/// What an action does to the world, which decides how it is journaled, planned and repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Looks, and changes nothing. Runs for real in plan mode; is repeated after a crash.
    Read,
    /// Changes something. Its intent is durable before, its outcome after.
    Change,
    /// Waits for something to become so. Changes nothing; goes on after a crash from where it began.
    Wait,
    /// Asks the operator.
    Ask,
}
