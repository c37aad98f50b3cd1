//! Stop, start, restart and status as actions: what is owed meanwhile and how each is taken back.

use serde::{Deserialize, Serialize};

use super::{START_TIMEOUT, STOP_TIMEOUT, Service, State};
use crate::call::Access;
use crate::effect::{Action, Cx, Owes, Plan, Query, Reconciled, Switch, inverse_of};
use crate::error::Result;
use crate::journal::{Debt, Inverse};

impl Service {
    /// What is owed while it is stopped.
    fn debt(&self) -> Debt {
        Debt { key: self.key(), what: format!("service {} running", self.name), locks_out: true }
    }

    fn unarmed(&self) -> Self {
        Self { deadman: None, ..self.clone() }
    }

    fn key(&self) -> String {
        format!("service {}", self.name)
    }
}

/// Stops a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Stop(pub(super) Service);

impl Action for Stop {
    const NAME: &'static str = "service_stop";
    const ACCESS: Access = Access::Change;
    type Before = State;
    type Output = bool;

    fn summary(&self) -> String {
        format!("stop service {}", self.0.name)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<State> {
        self.0.state(cx)
    }

    fn plan(&self, before: &State) -> Plan<State, bool> {
        if !before.running {
            return Plan::Already(false);
        }
        let after = State {
            running: false,
            up: false,
            evidence: vec!["stopped earlier in this plan".to_owned()],
            ..before.clone()
        };
        Plan::Would { changes: vec![self.0.how(before, "stop")], output: true, after: Some(after) }
    }

    fn apply(&self, cx: &Cx<'_>, before: &State) -> Result<bool> {
        self.0.bring(cx, false, STOP_TIMEOUT)?;
        Ok(before.running)
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &State) -> Result<Reconciled<bool>> {
        Ok(if self.0.state(cx)?.running {
            Reconciled::Redo
        } else {
            Reconciled::Done(before.running)
        })
    }

    fn inverse(&self, before: &State) -> Inverse {
        if before.running {
            inverse_of(&Start(self.0.unarmed()))
        } else {
            Inverse::Nothing { why: "it was stopped before".to_owned() }
        }
    }

    fn deadman(&self, _cx: &Cx<'_>, before: &State) -> Result<Option<Switch>> {
        let Some(deadman) = self.0.deadman.filter(|_| before.running) else { return Ok(None) };
        Ok(Some(Switch::new(deadman, self.0.text(&before.manager, true)? + "\n")))
    }

    fn owes(&self, before: &State) -> Owes {
        if !before.running {
            return Owes::Nothing;
        }
        Owes::Opens(self.0.debt())
    }

    fn subject(&self) -> Option<String> {
        Some(self.0.key())
    }

    fn changed(&self, output: &bool) -> bool {
        *output
    }
}

/// Starts a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Start(pub(super) Service);

impl Action for Start {
    const NAME: &'static str = "service_start";
    const ACCESS: Access = Access::Change;
    type Before = State;
    type Output = bool;

    fn summary(&self) -> String {
        format!("start service {}", self.0.name)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<State> {
        self.0.state(cx)
    }

    fn plan(&self, before: &State) -> Plan<State, bool> {
        if before.up {
            return Plan::Already(false);
        }
        let after = State {
            running: true,
            up: true,
            evidence: vec!["started earlier in this plan".to_owned()],
            ..before.clone()
        };
        Plan::Would { changes: vec![self.0.how(before, "start")], output: true, after: Some(after) }
    }

    fn apply(&self, cx: &Cx<'_>, before: &State) -> Result<bool> {
        self.0.bring(cx, true, START_TIMEOUT)?;
        Ok(!before.up)
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &State) -> Result<Reconciled<bool>> {
        Ok(if self.0.state(cx)?.up { Reconciled::Done(!before.up) } else { Reconciled::Redo })
    }

    fn inverse(&self, before: &State) -> Inverse {
        if before.running {
            Inverse::Nothing { why: "it was running before".to_owned() }
        } else {
            inverse_of(&Stop(self.0.clone()))
        }
    }

    fn owes(&self, _before: &State) -> Owes {
        Owes::Closes(self.0.key())
    }

    fn subject(&self) -> Option<String> {
        Some(self.0.key())
    }

    fn changed(&self, output: &bool) -> bool {
        *output
    }
}

/// Restarts a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Restart(pub(super) Service);

impl Action for Restart {
    const NAME: &'static str = "service_restart";
    const ACCESS: Access = Access::Change;
    type Before = State;
    type Output = bool;

    fn summary(&self) -> String {
        format!("restart service {}", self.0.name)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<State> {
        self.0.state(cx)
    }

    fn plan(&self, before: &State) -> Plan<State, bool> {
        let stop = before.running.then(|| self.0.how(before, "stop"));
        let changes = stop.into_iter().chain([self.0.how(before, "start")]).collect();
        Plan::Would { changes, output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, _before: &State) -> Result<bool> {
        self.0.bring(cx, false, STOP_TIMEOUT)?;
        self.0.bring(cx, true, START_TIMEOUT)?;
        Ok(true)
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &State) -> Result<Reconciled<bool>> {
        let now = self.0.state(cx)?;
        // Where nothing tells that it is another start of it, a second restart costs seconds and is right either way.
        let another =
            !before.running || !before.instance.is_empty() && now.instance != before.instance;
        Ok(if now.up && another { Reconciled::Done(true) } else { Reconciled::Redo })
    }

    fn inverse(&self, before: &State) -> Inverse {
        if before.running {
            // A restart that was cut off in the middle must not leave it stopped.
            inverse_of(&Start(self.0.clone()))
        } else {
            inverse_of(&Stop(self.0.clone()))
        }
    }

    fn owes(&self, before: &State) -> Owes {
        if before.running { Owes::Meanwhile(self.0.debt()) } else { Owes::Closes(self.0.key()) }
    }
}

/// Tells whether a service runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Status(pub(super) Service);

impl Query for Status {
    const NAME: &'static str = "service_status";
    type Output = State;

    fn summary(&self) -> String {
        format!("look at service {}", self.0.name)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<State> {
        self.0.state(cx)
    }

    fn result(&self, output: &State) -> Option<String> {
        Some(
            if output.up {
                "running"
            } else if output.running {
                "running, not up"
            } else {
                "stopped"
            }
            .to_owned(),
        )
    }
}
