//! Suspending all users that are enabled.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::bring::bring;
use super::{Ledger, Listing, Resume, State, Who, count, key, list, names, recordable};
use crate::call::Access;
use crate::effect::{Action, App, Cx, Deadman, Lane, Owes, Plan, Reconciled, Switch, inverse_of};
use crate::error::{Failure, Kind, Result};
use crate::journal::{Debt, Inverse};
use crate::primitives::app::can;
use crate::primitives::deadman::by_adapter;
use crate::units;

/// Suspends users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Suspend {
    pub(super) app: App,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) except: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) only: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deadman: Option<Deadman>,
}

/// What came of suspending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Suspended {
    /// How many this call suspended.
    pub(super) changed: usize,
    /// How many were suspended before.
    pub(super) already: usize,
    /// Whom this call suspended.
    pub(super) users: Vec<Who>,
    /// Who was suspended before.
    pub(super) others: Vec<Who>,
    /// What others changed meanwhile.
    pub(super) drift: Vec<String>,
}

impl Suspend {
    /// Returns whom it suspends, given who is enabled.
    fn chosen(&self, before: &Listing) -> Vec<Who> {
        let chosen = |who: &&Who| {
            !self.except.contains(&who.id)
                && self.only.as_ref().is_none_or(|only| only.contains(&who.id))
        };
        before.enabled.iter().filter(chosen).cloned().collect()
    }

    fn output(&self, before: &Listing, gone: &[Who], drift: Vec<String>) -> Suspended {
        let mut users = self.chosen(before);
        users.retain(|who| !gone.contains(who));
        let others = before.suspended.clone();
        Suspended { changed: users.len(), already: others.len(), users, others, drift }
    }

    /// Refuses names that nobody has: a misspelt exception would lock out the wrong user.
    fn check_names(&self, listing: &Listing) -> Result<()> {
        let known: BTreeSet<&str> =
            listing.enabled.iter().chain(&listing.suspended).map(|who| who.id.as_str()).collect();
        let asked = self.except.iter().map(|id| ("except", id));
        let asked = asked.chain(self.only.iter().flatten().map(|id| ("only", id)));
        for (option, id) in asked {
            if !known.contains(id.as_str()) {
                let mut failure = Failure::new(
                    Kind::NotFound,
                    format!("option `{option}`: there is no user `{id}`"),
                );
                if let Some(near) = units::nearest(id, known.iter().copied()) {
                    failure = failure.with_hint(format!("Did you mean `{near}`?"));
                }
                return Err(failure.into());
            }
        }
        Ok(())
    }

    /// Says who is enabled now though nobody knew of them, or they were suspended, when this began.
    fn drift(before: &Listing, now: &Listing, gone: &[Who]) -> Vec<String> {
        let known: BTreeSet<_> = before.enabled.iter().collect();
        let new: Vec<_> = now.enabled.iter().filter(|who| !known.contains(who)).collect();
        let mut drift = Vec::new();
        if !new.is_empty() {
            drift
                .push(format!("added or enabled by others meanwhile, and left so: {}", names(new)));
        }
        if !gone.is_empty() {
            drift.push(format!("removed by others meanwhile: {}", names(gone)));
        }
        drift
    }
}

impl Action for Suspend {
    const NAME: &'static str = "suspend_all_users";
    const ACCESS: Access = Access::Change;
    type Before = Listing;
    type Output = Suspended;

    fn summary(&self) -> String {
        let whom = match &self.only {
            Some(only) => format!("users {}", only.join(", ")),
            None if self.except.is_empty() => "all users".to_owned(),
            None => format!("all users but {}", self.except.join(", ")),
        };
        format!("suspend {whom} ({})", self.app.adapter)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Listing> {
        can(cx, &self.app, "user_set")?;
        let listing = recordable(cx, &self.app)?;
        self.check_names(&listing)?;
        Ok(listing)
    }

    fn plan(&self, before: &Listing) -> Plan<Listing, Suspended> {
        let chosen = self.chosen(before);
        if chosen.is_empty() {
            return Plan::Already(self.output(before, &[], Vec::new()));
        }
        let mut changes = vec![format!("{} suspended: {}", count(chosen.len()), names(&chosen))];
        if !before.suspended.is_empty() {
            changes.push(format!("{} suspended already, left so", count(before.suspended.len())));
        }
        let after = before.with(&chosen, State::Suspended);
        let output = self.output(before, &[], Vec::new());
        Plan::Would { changes, output, after: Some(after) }
    }

    fn apply(&self, cx: &Cx<'_>, before: &Listing) -> Result<Suspended> {
        let limit = self.timeout_ms.map(Duration::from_millis);
        let brought = bring(cx, &self.app, &self.chosen(before), State::Suspended, limit)?;
        let drift = Self::drift(before, &brought.now, &brought.gone);
        for line in &drift {
            cx.warn(format!("users {line}"));
        }
        Ok(self.output(before, &brought.gone, drift))
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &Listing) -> Result<Reconciled<Suspended>> {
        let now = Listing::of(&list(cx, &self.app)?);
        let chosen = self.chosen(before);
        let enabled: BTreeSet<_> = now.enabled.iter().collect();
        if chosen.iter().any(|who| enabled.contains(who)) {
            return Ok(Reconciled::Redo);
        }
        let suspended: BTreeSet<_> = now.suspended.iter().collect();
        let gone: Vec<_> = chosen.into_iter().filter(|who| !suspended.contains(who)).collect();
        Ok(Reconciled::Done(self.output(before, &gone, Self::drift(before, &now, &gone))))
    }

    fn inverse(&self, before: &Listing) -> Inverse {
        inverse_of(&Resume {
            app: self.app.clone(),
            users: self.chosen(before),
            others: Some(before.suspended.clone()),
            timeout_ms: None,
        })
    }

    fn deadman(&self, cx: &Cx<'_>, before: &Listing) -> Result<Option<Switch>> {
        let chosen = self.chosen(before);
        let Some(deadman) = self.deadman.filter(|_| !chosen.is_empty()) else { return Ok(None) };
        let user = |who: Who| json!({ "id": who.id, "owner": who.owner, "state": "suspended", "note": "" });
        let users = chosen.into_iter().map(user).collect();
        by_adapter(cx, &self.app, "users_set_command", &[users, json!(true)], deadman).map(Some)
    }

    fn owes(&self, before: &Listing) -> Owes {
        match self.chosen(before).len() {
            0 => Owes::Nothing,
            number => Owes::Opens(Debt {
                key: key(&self.app),
                what: format!("users enabled ({number})"),
                locks_out: true,
            }),
        }
    }

    fn subject(&self) -> Option<String> {
        Some(key(&self.app))
    }

    /// Also of a call that failed half-way: `resume_users` must find whom it suspended until then.
    fn remember(&self, lane: &Lane, before: &Listing) {
        let chosen = self.chosen(before);
        let ledger = match Ledger::of_run(lane, &self.app) {
            Some(mut ledger) if !ledger.returned => {
                let known: BTreeSet<_> = ledger.users.iter().cloned().collect();
                ledger.users.extend(chosen.into_iter().filter(|who| !known.contains(who)));
                ledger
            }
            _ => Ledger { users: chosen, others: Some(before.suspended.clone()), returned: false },
        };
        ledger.note(lane, &self.app);
    }

    fn changed(&self, output: &Suspended) -> bool {
        output.changed > 0
    }

    fn result(&self, output: &Suspended) -> Option<String> {
        Some(match output.already {
            0 => format!("{} suspended", count(output.changed)),
            already => format!("{} suspended, {already} were before", count(output.changed)),
        })
    }
}
