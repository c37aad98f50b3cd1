//! Enabling exactly the users that a run suspended.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bring::bring;
use super::{Ledger, Listing, State, Who, count, key, list, names};
use crate::call::Access;
use crate::effect::{Action, App, Cx, Lane, Owes, Plan, Reconciled};
use crate::error::Result;
use crate::journal::Inverse;
use crate::primitives::app::can;

/// Enables users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Resume {
    pub(super) app: App,
    /// Whom the run suspended.
    pub(super) users: Vec<Who>,
    /// Who was suspended before that, to tell what others changed; none if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) others: Option<Vec<Who>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) timeout_ms: Option<u64>,
}

/// What came of enabling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Resumed {
    /// How many this call enabled.
    pub(super) changed: usize,
    /// How many were enabled before.
    pub(super) already: usize,
    /// What others changed meanwhile.
    pub(super) drift: Vec<String>,
}

impl Resume {
    /// Returns whom it enables, given who is suspended.
    fn chosen(&self, before: &Listing) -> Vec<Who> {
        let suspended: BTreeSet<_> = before.suspended.iter().collect();
        self.users.iter().filter(|who| suspended.contains(who)).cloned().collect()
    }

    /// Says whose state is not what this run left it in.
    fn drift(&self, before: &Listing) -> Vec<String> {
        let ours: BTreeSet<_> = self.users.iter().collect();
        let enabled: BTreeSet<_> = before.enabled.iter().collect();
        let suspended: BTreeSet<_> = before.suspended.iter().collect();
        let gone = ours.iter().filter(|who| !enabled.contains(*who) && !suspended.contains(*who));
        let mut found = vec![
            (
                "enabled by others meanwhile",
                ours.intersection(&enabled).copied().collect::<Vec<_>>(),
            ),
            ("removed by others meanwhile", gone.copied().collect()),
        ];
        if let Some(others) = &self.others {
            let others: BTreeSet<_> = others.iter().collect();
            found.push((
                "suspended before, and enabled by others meanwhile",
                others.intersection(&enabled).copied().collect(),
            ));
            let new = suspended.iter().filter(|who| !ours.contains(*who) && !others.contains(*who));
            found.push(("suspended by others meanwhile, and left so", new.copied().collect()));
        }
        found.retain(|(_, who)| !who.is_empty());
        found.into_iter().map(|(what, who)| format!("{what}: {}", names(who))).collect()
    }

    fn output(&self, before: &Listing, gone: usize) -> Resumed {
        let changed = self.chosen(before).len().saturating_sub(gone);
        let enabled: BTreeSet<_> = before.enabled.iter().collect();
        let already = self.users.iter().filter(|who| enabled.contains(who)).count();
        Resumed { changed, already, drift: self.drift(before) }
    }
}

impl Action for Resume {
    const NAME: &'static str = "resume_users";
    const ACCESS: Access = Access::Change;
    type Before = Listing;
    type Output = Resumed;

    fn summary(&self) -> String {
        format!("enable {} that this run suspended ({})", count(self.users.len()), self.app.adapter)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Listing> {
        can(cx, &self.app, "user_set")?;
        let before = Listing::of(&list(cx, &self.app)?);
        for line in self.drift(&before) {
            cx.warn(format!("users {line}"));
        }
        Ok(before)
    }

    fn plan(&self, before: &Listing) -> Plan<Listing, Resumed> {
        let chosen = self.chosen(before);
        if chosen.is_empty() {
            return Plan::Already(self.output(before, 0));
        }
        let changes = vec![format!("{} enabled: {}", count(chosen.len()), names(&chosen))];
        let after = before.with(&chosen, State::Enabled);
        Plan::Would { changes, output: self.output(before, 0), after: Some(after) }
    }

    fn apply(&self, cx: &Cx<'_>, before: &Listing) -> Result<Resumed> {
        let limit = self.timeout_ms.map(Duration::from_millis);
        let brought = bring(cx, &self.app, &self.users, State::Enabled, limit)?;
        let chosen: BTreeSet<_> = self.chosen(before).into_iter().collect();
        Ok(self.output(before, brought.gone.iter().filter(|who| chosen.contains(who)).count()))
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &Listing) -> Result<Reconciled<Resumed>> {
        let now = Listing::of(&list(cx, &self.app)?);
        let enabled: BTreeSet<_> = now.enabled.iter().collect();
        let suspended: BTreeSet<_> = now.suspended.iter().collect();
        if self.users.iter().any(|who| suspended.contains(who)) {
            return Ok(Reconciled::Redo);
        }
        let chosen = self.chosen(before);
        let gone = chosen.iter().filter(|who| !enabled.contains(who)).count();
        Ok(Reconciled::Done(self.output(before, gone)))
    }

    fn inverse(&self, _before: &Listing) -> Inverse {
        Inverse::Nothing { why: "users that were let in stay in".to_owned() }
    }

    fn owes(&self, _before: &Listing) -> Owes {
        Owes::Closes(key(&self.app))
    }

    fn subject(&self) -> Option<String> {
        Some(key(&self.app))
    }

    fn remember(&self, lane: &Lane, _before: &Listing) {
        if let Some(ledger) = Ledger::of_run(lane, &self.app) {
            Ledger { returned: true, ..ledger }.note(lane, &self.app);
        }
    }

    fn changed(&self, output: &Resumed) -> bool {
        output.changed > 0
    }

    fn result(&self, output: &Resumed) -> Option<String> {
        Some(match output.drift.len() {
            0 => format!("{} enabled", count(output.changed)),
            _ => format!("{} enabled; {}", count(output.changed), output.drift.join("; ")),
        })
    }
}
