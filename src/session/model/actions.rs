//! What scripts of the model do to its world.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::world::World;
use crate::call::Access;
use crate::effect::{Action, Cx, Owes, Plan, Reconciled, Registry, inverse_of};
use crate::error::{Failure, Kind, Result};
use crate::journal::{Debt, Inverse};

/// Writes a value; none removes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Put {
    pub(super) name: String,
    pub(super) value: Option<u32>,
}

impl Action for Put {
    const NAME: &'static str = "put";
    const ACCESS: Access = Access::Change;
    type Before = Option<u32>;
    type Output = bool;

    fn summary(&self) -> String {
        format!("put {:?} into {}", self.value, self.name)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Option<u32>> {
        World::of(cx).reach(None, |state| state.values.get(&self.name).copied())
    }

    fn plan(&self, before: &Option<u32>) -> Plan<Option<u32>, bool> {
        if *before == self.value {
            return Plan::Already(false);
        }
        Plan::Would { changes: Vec::new(), output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, _before: &Option<u32>) -> Result<bool> {
        World::of(cx).change(cx, None, |state| match self.value {
            Some(value) => drop(state.values.insert(self.name.clone(), value)),
            None => drop(state.values.remove(&self.name)),
        })?;
        Ok(true)
    }

    fn reconcile(&self, _cx: &Cx<'_>, _before: &Option<u32>) -> Result<Reconciled<bool>> {
        Ok(Reconciled::Redo)
    }

    fn inverse(&self, before: &Option<u32>) -> Inverse {
        inverse_of(&Self { name: self.name.clone(), value: *before })
    }

    fn owes(&self, _before: &Option<u32>) -> Owes {
        Owes::Nothing
    }
}

/// Switches something off, which is owed back, or on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Switch {
    pub(super) name: String,
    pub(super) on: bool,
}

impl Action for Switch {
    const NAME: &'static str = "switch";
    const ACCESS: Access = Access::Change;
    /// Whether it is on.
    type Before = bool;
    type Output = bool;

    fn summary(&self) -> String {
        format!("switch {} {}", self.name, if self.on { "on" } else { "off" })
    }

    fn look(&self, cx: &Cx<'_>) -> Result<bool> {
        World::of(cx).reach(None, |state| state.is_on(&self.name))
    }

    fn plan(&self, before: &bool) -> Plan<bool, bool> {
        if *before == self.on {
            return Plan::Already(false);
        }
        Plan::Would { changes: Vec::new(), output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, _before: &bool) -> Result<bool> {
        World::of(cx).change(cx, None, |state| {
            state.switches.insert(self.name.clone(), self.on);
        })?;
        Ok(true)
    }

    fn reconcile(&self, cx: &Cx<'_>, _before: &bool) -> Result<Reconciled<bool>> {
        let on = World::of(cx).reach(None, |state| state.is_on(&self.name))?;
        Ok(if on == self.on { Reconciled::Done(true) } else { Reconciled::Redo })
    }

    fn inverse(&self, before: &bool) -> Inverse {
        inverse_of(&Self { name: self.name.clone(), on: *before })
    }

    fn owes(&self, before: &bool) -> Owes {
        match (self.on, before) {
            (true, _) => Owes::Closes(self.name.clone()),
            (false, false) => Owes::Nothing,
            (false, true) => {
                let what = format!("{} on", self.name);
                Owes::Opens(Debt { key: self.name.clone(), what, locks_out: true })
            }
        }
    }

    fn subject(&self) -> Option<String> {
        Some(self.name.clone())
    }
}

/// A command that must not run twice, with a receipt for each try.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Count {
    pub(super) name: String,
    /// How often it fails before it does anything.
    pub(super) fails: u32,
    /// How often what takes it back fails; none if it is what takes back.
    pub(super) undo_fails: Option<u32>,
}

impl Action for Count {
    const NAME: &'static str = "count";
    const ACCESS: Access = Access::Change;
    /// Which try it is.
    type Before = u32;
    type Output = bool;

    fn summary(&self) -> String {
        format!("count {}", self.name)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<u32> {
        World::of(cx).reach(None, |_| 1)
    }

    fn plan(&self, _before: &u32) -> Plan<u32, bool> {
        Plan::Would { changes: Vec::new(), output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, before: &u32) -> Result<bool> {
        let world = World::of(cx);
        let receipt = format!("{} {before}", self.name);
        if world.state().unknown.contains(&receipt) {
            return Err(Failure::new(Kind::Unknown, "it was under way at a reboot").into());
        }
        let fails = world.change(cx, Some(&receipt), |state| {
            if !state.receipts.insert(receipt.clone()) {
                return false;
            }
            let failed = state.failed.entry(self.name.clone()).or_default();
            if *failed < self.fails {
                *failed += 1;
                // It left a status, which says so whoever looks.
                state.receipts.insert(format!("{receipt} failed"));
                return true;
            }
            *state.ran.entry(self.name.clone()).or_default() += 1;
            false
        })?;
        let failed = fails || world.state().receipts.contains(&format!("{receipt} failed"));
        if failed { Err(Failure::new(Kind::Exit, "status 1").into()) } else { Ok(true) }
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &u32) -> Result<Reconciled<bool>> {
        let receipt = format!("{} {before}", self.name);
        let unknown = World::of(cx).reach(None, |state| state.unknown.contains(&receipt))?;
        Ok(if unknown { Reconciled::Unknown("it rebooted".to_owned()) } else { Reconciled::Redo })
    }

    fn again(&self, before: &mut u32, _failure: &Failure) {
        *before += 1;
    }

    fn begun(&self, cx: &Cx<'_>, before: &u32) -> Result<bool> {
        let receipt = format!("{} {before}", self.name);
        World::of(cx).reach(None, |state| {
            state.receipts.contains(&receipt) || state.unknown.contains(&receipt)
        })
    }

    fn inverse(&self, _before: &u32) -> Inverse {
        match self.undo_fails {
            None => Inverse::Nothing { why: "it takes something back".to_owned() },
            Some(fails) => {
                inverse_of(&Self { name: format!("undo-{}", self.name), fails, undo_fails: None })
            }
        }
    }

    fn owes(&self, _before: &u32) -> Owes {
        Owes::Nothing
    }
}

/// Fails until the run has paused because of it so often.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Fail {
    pub(super) pauses: u64,
}

impl Action for Fail {
    const NAME: &'static str = "fail";
    const ACCESS: Access = Access::Change;
    type Before = ();
    type Output = bool;

    fn summary(&self) -> String {
        "fail".to_owned()
    }

    fn look(&self, _cx: &Cx<'_>) -> Result<()> {
        Ok(())
    }

    fn plan(&self, (): &()) -> Plan<(), bool> {
        Plan::Would { changes: Vec::new(), output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, (): &()) -> Result<bool> {
        let world = World::of(cx);
        world.reach(None, |_| ())?;
        if world.pauses.load(Ordering::SeqCst) < self.pauses {
            return Err(Failure::new(Kind::Exit, "not yet").into());
        }
        Ok(true)
    }

    fn reconcile(&self, _cx: &Cx<'_>, (): &()) -> Result<Reconciled<bool>> {
        Ok(Reconciled::Redo)
    }

    fn inverse(&self, (): &()) -> Inverse {
        Inverse::Nothing { why: "it does nothing".to_owned() }
    }

    fn owes(&self, (): &()) -> Owes {
        Owes::Nothing
    }
}

/// Keeps off on purpose what was switched off last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Keep {
    pub(super) target: String,
    pub(super) key: String,
}

impl Action for Keep {
    const NAME: &'static str = "keep_off";
    const ACCESS: Access = Access::Change;
    type Before = ();
    type Output = bool;

    fn summary(&self) -> String {
        format!("keep {} off", self.key)
    }

    fn look(&self, _cx: &Cx<'_>) -> Result<()> {
        Ok(())
    }

    fn plan(&self, (): &()) -> Plan<(), bool> {
        Plan::Would { changes: Vec::new(), output: true, after: None }
    }

    fn apply(&self, _cx: &Cx<'_>, (): &()) -> Result<bool> {
        Ok(true)
    }

    fn reconcile(&self, _cx: &Cx<'_>, (): &()) -> Result<Reconciled<bool>> {
        Ok(Reconciled::Done(true))
    }

    fn inverse(&self, (): &()) -> Inverse {
        Inverse::Nothing { why: "it stays off on purpose".to_owned() }
    }

    fn owes(&self, (): &()) -> Owes {
        Owes::Keeps {
            target: self.target.clone(),
            key: self.key.clone(),
            reason: "on purpose".to_owned(),
            due: None,
        }
    }
}

/// Every action of the model by its name.
pub(super) fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.add::<Put>();
    registry.add::<Switch>();
    registry.add::<Count>();
    registry.add::<Fail>();
    registry.add::<Keep>();
    registry
}
