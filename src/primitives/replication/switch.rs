//! Switching the replication: what it was is recorded, and what it is now is read until the application shows it.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::standing::Standing;
use crate::call::Access;
use crate::effect::{self, Action, App, Cx, Deadman, Owes, Plan, Reconciled, inverse_of};
use crate::error::{Failure, Halt, Kind, Result};
use crate::journal::{Debt, Inverse};
use crate::primitives::app::{can, rewriting, verb};
use crate::primitives::deadman::by_adapter;
use crate::primitives::pace::Pace;
use crate::units;

/// How long the application may take to show that it was switched.
const SWITCH_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest pause between two looks after a switch.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// Switches the replication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Switch {
    pub(super) app: App,
    pub(super) on: bool,
    /// Why it stays off, whatever happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) keep_off: Option<String>,
    /// Whether it takes back one that is to stay off: then all that matters is that the application answers, for a
    /// switch that was cut off while it restarted the application must not leave it down.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) mend: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deadman: Option<Deadman>,
}

fn word(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

impl Switch {
    fn key(&self) -> String {
        format!("replication {}", self.app.adapter)
    }

    fn reached(&self, standing: &Standing) -> bool {
        standing.enabled == Some(self.on)
    }

    /// Returns whether nothing is to be done.
    fn is_so(&self, before: Option<&Standing>) -> bool {
        before.is_some_and(|standing| self.mend || self.reached(standing))
    }

    /// Reads until the application shows what was set, for one that takes a moment.
    fn verify(&self, cx: &Cx<'_>) -> Result<()> {
        let timeout = self.timeout_ms.map_or(SWITCH_TIMEOUT, Duration::from_millis);
        let mut pace = Pace::up_to(LOOK_PAUSE);
        let started = Instant::now();
        loop {
            let last = match Standing::read(cx, &self.app) {
                Ok(standing) if self.reached(&standing) => return Ok(()),
                Ok(standing) if standing.enabled.is_none() => {
                    let adapter = &self.app.adapter;
                    cx.warn(format!(
                        "{adapter} cannot tell whether replication is {}",
                        word(self.on)
                    ));
                    return Ok(());
                }
                Ok(standing) => standing.say(),
                Err(Halt::Failure(failure)) if !failure.lost && started.elapsed() < timeout => {
                    failure.message
                }
                Err(halt) => return Err(halt),
            };
            if started.elapsed() >= timeout {
                let message = format!(
                    "replication was switched {}, but {} later it still is {last}",
                    word(self.on),
                    units::say_duration(timeout)
                );
                return Err(Failure::new(Kind::Check, message)
                    .with_target(&cx.target.name)
                    .with_hint("Look at how the adapter switches it: the application may read its configuration only at its start.")
                    .into());
            }
            cx.sleep(pace.pause())?;
        }
    }
}

impl Action for Switch {
    const NAME: &'static str = "replication";
    const ACCESS: Access = Access::Change;
    /// None if the application does not answer, which only undo meets.
    type Before = Option<Standing>;
    type Output = bool;

    fn summary(&self) -> String {
        let adapter = &self.app.adapter;
        match &self.keep_off {
            Some(_) if self.mend => format!("make sure that the application answers ({adapter})"),
            Some(why) => format!("replication off and kept off ({adapter}): {why}"),
            None => format!("switch replication {} ({adapter})", word(self.on)),
        }
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Option<Standing>> {
        can(cx, &self.app, "replication_set")?;
        match Standing::read(cx, &self.app) {
            // Switching may have been cut off between stop and start of the application: undo must mend that.
            Err(Halt::Failure(failure)) if cx.lane.mends() && !failure.lost => Ok(None),
            standing => standing.map(Some),
        }
    }

    fn plan(&self, before: &Option<Standing>) -> Plan<Option<Standing>, bool> {
        if self.is_so(before.as_ref()) {
            return Plan::Already(false);
        }
        let found = before.as_ref().map_or_else(|| "no answer".to_owned(), Standing::say);
        let changes = vec![format!("replication: {found} → {}", word(self.on))];
        let after = Standing {
            enabled: Some(self.on),
            detail: "switched earlier in this plan".to_owned(),
            ..Standing::default()
        };
        Plan::Would { changes, output: true, after: Some(Some(after)) }
    }

    fn apply(&self, cx: &Cx<'_>, _before: &Option<Standing>) -> Result<bool> {
        // It may be off the net because this very switch was cut off while it restarted the application.
        let now = match Standing::read(cx, &self.app) {
            Err(Halt::Failure(failure)) if !failure.lost => None,
            standing => Some(standing?),
        };
        if !self.is_so(now.as_ref()) {
            rewriting(cx, &self.app, || {
                verb::<Value>(cx, &self.app, "replication_set", &[json!(self.on)])?;
                self.verify(cx)
            })?;
        }
        Ok(true)
    }

    fn reconcile(&self, cx: &Cx<'_>, _before: &Option<Standing>) -> Result<Reconciled<bool>> {
        Ok(match Standing::read(cx, &self.app) {
            Ok(standing) if self.is_so(Some(&standing)) => Reconciled::Done(true),
            Err(halt @ Halt::Stop(_)) => return Err(halt),
            Err(Halt::Failure(failure)) if failure.lost => return Err(Halt::Failure(failure)),
            Ok(_) | Err(Halt::Failure(_)) => Reconciled::Redo,
        })
    }

    fn inverse(&self, before: &Option<Standing>) -> Inverse {
        if self.is_so(before.as_ref()) {
            return Inverse::Nothing { why: format!("replication was {} before", word(self.on)) };
        }
        let kept = self.keep_off.is_some();
        inverse_of(&Self { on: self.on == kept, mend: kept, deadman: None, ..self.clone() })
    }

    fn deadman(&self, cx: &Cx<'_>, before: &Option<Standing>) -> Result<Option<effect::Switch>> {
        let off = !self.is_so(before.as_ref());
        let Some(deadman) = self.deadman.filter(|_| off) else { return Ok(None) };
        let on = json!(!self.on);
        by_adapter(cx, &self.app, "replication_set_command", &[on], deadman).map(Some)
    }

    fn owes(&self, before: &Option<Standing>) -> Owes {
        let on = before.as_ref().and_then(|standing| standing.enabled);
        if self.on || (self.mend && on == Some(true)) {
            return Owes::Closes(self.key());
        }
        if on == Some(false) {
            return Owes::Nothing;
        }
        // Not known counts as on: better owed once too often.
        Owes::Opens(Debt { key: self.key(), what: "replication on".to_owned(), locks_out: false })
    }

    fn subject(&self) -> Option<String> {
        Some(self.key())
    }

    fn changed(&self, output: &bool) -> bool {
        *output
    }
}
