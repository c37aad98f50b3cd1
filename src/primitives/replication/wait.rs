//! Waiting until the replication is in step.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::standing::Standing;
use crate::call::Access;
use crate::effect::{Action, App, Cx, Owes, Plan, Reconciled};
use crate::error::{Failure, Kind, Result};
use crate::event::Progress;
use crate::journal::Inverse;
use crate::primitives::app::{Patience, can};
use crate::primitives::pace::Pace;
use crate::units;

/// Waits until the replication is in step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct InStep {
    pub(super) app: App,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<String>,
    pub(super) timeout_ms: u64,
    pub(super) pause_ms: u64,
}

impl InStep {
    fn reached(&self, standing: &Standing) -> bool {
        match &self.state {
            Some(state) => standing.state.eq_ignore_ascii_case(state),
            None => standing.in_step,
        }
    }

    fn goal(&self) -> String {
        self.state.clone().unwrap_or_else(|| "in step".to_owned())
    }
}

impl Action for InStep {
    const NAME: &'static str = "wait_replication";
    const ACCESS: Access = Access::Wait;
    type Before = ();
    type Output = Standing;

    fn summary(&self) -> String {
        format!("wait until replication is {} ({})", self.goal(), self.app.adapter)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<()> {
        can(cx, &self.app, "replication")
    }

    fn plan(&self, _before: &()) -> Plan<(), Standing> {
        let timeout = units::say_duration(Duration::from_millis(self.timeout_ms));
        let output = Standing {
            enabled: Some(true),
            state: self.state.clone().unwrap_or_default(),
            in_step: true,
            ..Standing::default()
        };
        Plan::Would { changes: vec![format!("waits for at most {timeout}")], output, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, _before: &()) -> Result<Standing> {
        let timeout = Duration::from_millis(self.timeout_ms);
        let mut pace = Pace::up_to(Duration::from_millis(self.pause_ms));
        let started = Instant::now();
        let mut patience = Patience::default();
        let mut last = "not known".to_owned();
        loop {
            let mut pause = pace.longest();
            if let Some(standing) = patience.take(cx, Standing::read(cx, &self.app))? {
                pause = pace.pause();
                if self.reached(&standing) {
                    return Ok(standing);
                }
                last = standing.say();
                // Whoever waits for a word such as DISABLED may wait for one that means off.
                if standing.enabled == Some(false) && self.state.is_none() {
                    let message = "replication is off, so it cannot come into step";
                    return Err(Failure::new(Kind::Conflict, message)
                        .with_target(&cx.target.name)
                        .with_hint("Call `replication(true)` before.")
                        .into());
                }
            }
            let elapsed = started.elapsed();
            if elapsed >= timeout {
                let message = format!(
                    "replication is not {} after {}: {last}",
                    self.goal(),
                    units::say_duration(timeout)
                );
                return Err(Failure::new(Kind::Timeout, message)
                    .with_target(&cx.target.name)
                    .into());
            }
            cx.progress(Progress {
                done: elapsed.as_secs(),
                total: Some(timeout.as_secs()),
                unit: "seconds".to_owned(),
                message: last.clone(),
                eta_seconds: None,
            });
            cx.sleep(pause.min(timeout.saturating_sub(elapsed)))?;
        }
    }

    fn reconcile(&self, _cx: &Cx<'_>, _before: &()) -> Result<Reconciled<Standing>> {
        Ok(Reconciled::Redo)
    }

    fn inverse(&self, _before: &()) -> Inverse {
        Inverse::Nothing { why: "it only waits".to_owned() }
    }

    fn owes(&self, _before: &()) -> Owes {
        Owes::Nothing
    }

    fn result(&self, output: &Standing) -> Option<String> {
        Some(output.say())
    }
}
