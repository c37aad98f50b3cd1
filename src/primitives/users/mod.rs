//! Users of an application: list, suspend all, resume exactly those that this run suspended. Many users are suspended on
//! purpose (unpaid, trial over), so "enable all" is never right: who was enabled is durable before the first change.

mod bring;
mod resume;
mod suspend;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use rhai::{Dynamic, Map, NativeCallContext};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::app::{current, millis, text_or_nothing, verb};
use super::bridge::{
    Face, Field, Options, Primitive, RhaiResultOf, Type, act, ask, field, lane, raise, to_dynamic,
};
use super::deadman::{DEADMAN, deadman};
use crate::effect::{App, Cx, Lane, Query, Registry};
use crate::error::{Failure, Result};

use resume::Resume;
use suspend::Suspend;

const TIMEOUT: Field = field(
    "timeout",
    Type::Duration,
    "no limit",
    "How long it may take; what is left over then is a failure.",
);

const USERS: Primitive = Primitive {
    name: "users",
    family: "users",
    summary: "Lists the users of the application.",
    params: &[],
    options: &[field("state", Type::Text, "", "Only those that are `enabled` or `suspended`.")],
    returns: "Array: one map `id`, `owner`, `state` (`enabled` or `suspended`), `note` per user",
    example: r#"print(`${users(#{ state: "suspended" }).len()} users are suspended`);"#,
    failure: "What the adapter fails with.",
    plan: "Reads for real.",
    undo: "Nothing: it only reads.",
    resume: "Returns what was read; reads again if that was not recorded.",
};

const SUSPEND: Primitive = Primitive {
    name: "suspend_all_users",
    family: "users",
    summary: "Suspends every user that is enabled, and remembers who that was.",
    params: &[],
    options: &[
        field(
            "except",
            Type::TextOrList,
            "[]",
            "Ids of users that stay enabled, such as that of your monitoring.",
        ),
        field("only", Type::TextOrList, "all", "Ids of the users to suspend, instead of all."),
        TIMEOUT,
        DEADMAN,
    ],
    returns: "map: `changed` and `already` (how many), `users` (list of `id`, `owner`: who was suspended by this run), `others` (who was suspended before), `drift` (list of texts)",
    example: r#"suspend_all_users(#{ except: "monitoring" });"#,
    failure: "`input` if `deadman` is given and the adapter cannot say by commands on the target how users are resumed (`command` and `ahsay_obs` can; `ahsay_obs` needs curl or wget there); `check` if some could not be suspended, with their names: the others are; `not_found` if `except` or `only` names nobody.",
    plan: "Lists the users that it would suspend.",
    undo: "Enables exactly the users that it suspended.",
    resume: "Looks again; suspends those of the recorded list that are still enabled.",
};

const RESUME: Primitive = Primitive {
    name: "resume_users",
    family: "users",
    summary: "Enables exactly the users that this run suspended on this target, and reports who was changed by others meanwhile.",
    params: &[],
    options: &[
        field("ledger", Type::Map, "of this run", "What `suspend_all_users` returned."),
        TIMEOUT,
    ],
    returns: "map: `changed` and `already` (how many), `drift` (list of texts: who was enabled, suspended or removed by others meanwhile)",
    example: "resume_users();",
    failure: "`check` if some could not be enabled, with their names: the others are; `input` if this run suspended nobody here.",
    plan: "Lists the users that it would enable.",
    undo: "Nothing: users that were let in stay in.",
    resume: "Looks again; enables those that are still suspended.",
};

/// Who a user is: the owner (a reseller, a tenant) belongs to the identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Who {
    id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    owner: String,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.id)?;
        if self.owner.is_empty() { Ok(()) } else { write!(f, " of {}", self.owner) }
    }
}

/// Whether a user may log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Enabled,
    Suspended,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Suspended => "suspended",
        }
    }
}

/// A user as an adapter lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    id: String,
    #[serde(default, deserialize_with = "text_or_nothing")]
    owner: String,
    state: State,
    #[serde(default, deserialize_with = "text_or_nothing")]
    note: String,
}

impl User {
    fn who(&self) -> Who {
        Who { id: self.id.clone(), owner: self.owner.clone() }
    }
}

/// All users by their state: what is found before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Listing {
    enabled: Vec<Who>,
    suspended: Vec<Who>,
}

impl Listing {
    fn of(users: &[User]) -> Self {
        let having =
            |state| users.iter().filter(|user| user.state == state).map(User::who).collect();
        Self { enabled: having(State::Enabled), suspended: having(State::Suspended) }
    }

    /// Returns the listing after `moved` became `state`.
    fn with(&self, moved: &[Who], state: State) -> Self {
        let set: BTreeSet<_> = moved.iter().collect();
        let rest = |list: &[Who]| list.iter().filter(|who| !set.contains(who)).cloned().collect();
        let mut after = Self { enabled: rest(&self.enabled), suspended: rest(&self.suspended) };
        match state {
            State::Enabled => after.enabled.extend(moved.iter().cloned()),
            State::Suspended => after.suspended.extend(moved.iter().cloned()),
        }
        after
    }
}

/// Lists the users through the adapter.
fn list(cx: &Cx<'_>, app: &App) -> Result<Vec<User>> {
    let users: Vec<User> = verb(cx, app, "users", &[])?;
    let mut seen = BTreeSet::new();
    for user in &users {
        if user.id.is_empty() || !seen.insert((&user.id, &user.owner)) {
            let what = if user.id.is_empty() { "a user without id" } else { "a user twice" };
            let message = format!("`{}_users` returned {what}: `{}`", app.adapter, user.who());
            return Err(Failure::input(message).with_target(&cx.target.name).into());
        }
    }
    Ok(users)
}

/// Lists the users to record them. A login name that holds the text of a secret cannot be: the record would hide a part
/// of it, and after a crash nobody would find that user again.
fn recordable(cx: &Cx<'_>, app: &App) -> Result<Listing> {
    let users = list(cx, app)?;
    let redactor = &cx.lane.run().redactor;
    let hidden = |text: &str| redactor.text(text) != text;
    if let Some(user) = users.iter().find(|user| hidden(&user.id) || hidden(&user.owner)) {
        let message = format!(
            "user `{}` cannot be recorded: a password of this run is a part of the name",
            user.who()
        );
        return Err(Failure::input(message)
            .with_target(&cx.target.name)
            .with_hint("Give the account that the runbook uses a password that is no common word.")
            .into());
    }
    Ok(Listing::of(&users))
}

/// Names the first few of many.
fn names<'a>(who: impl IntoIterator<Item = &'a Who>) -> String {
    const SHOWN: usize = 5;
    let all: Vec<_> = who.into_iter().collect();
    let shown: Vec<_> = all.iter().take(SHOWN).map(ToString::to_string).collect();
    match all.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn count(number: usize) -> String {
    if number == 1 { "1 user".to_owned() } else { format!("{number} users") }
}

/// What identifies the users of an application among obligations, subjects and notes.
fn key(app: &App) -> String {
    format!("users {}", app.adapter)
}

/// Whom this run suspended on a target, so that `resume_users` finds them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Ledger {
    /// Those suspended by the run.
    users: Vec<Who>,
    /// Those suspended before.
    #[serde(default)]
    others: Option<Vec<Who>>,
    /// Whether they were let in again, so that the next suspension begins a new list.
    #[serde(default)]
    returned: bool,
}

impl Ledger {
    fn of_run(lane: &Lane, app: &App) -> Option<Self> {
        let notes = lane.run().notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let value = notes.get(&(lane.target().name.clone(), key(app)))?.clone();
        serde_json::from_value(value).ok()
    }

    fn note(&self, lane: &Lane, app: &App) {
        let mut notes = lane.run().notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        notes.insert((lane.target().name.clone(), key(app)), json!(self));
    }
}

/// Lists the users of an application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Users {
    app: App,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<State>,
}

impl Query for Users {
    const NAME: &'static str = "users";
    type Output = Vec<User>;

    fn summary(&self) -> String {
        let state = self.state.map_or("", State::as_str);
        format!("list {state} users ({})", self.app.adapter).replace("  ", " ")
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<Vec<User>> {
        let mut users = list(cx, &self.app)?;
        users.retain(|user| self.state.is_none_or(|state| state == user.state));
        Ok(users)
    }

    fn result(&self, output: &Vec<User>) -> Option<String> {
        let suspended = output.iter().filter(|user| user.state == State::Suspended).count();
        Some(match self.state {
            Some(_) => count(output.len()),
            None => format!("{}, {suspended} of them suspended", count(output.len())),
        })
    }
}

fn users(ctx: &NativeCallContext<'_>, options: Map) -> RhaiResultOf<Dynamic> {
    let options = Options::new(ctx, &USERS, options)?;
    let state = match options.text("state").as_deref() {
        None => None,
        Some("enabled") => Some(State::Enabled),
        Some("suspended") => Some(State::Suspended),
        Some(other) => {
            return Err(
                options.wrong("state", &format!("`{other}` is neither enabled nor suspended"))
            );
        }
    };
    Ok(to_dynamic(json!(ask(ctx, Users { app: current(ctx)?, state })?)))
}

fn suspend(ctx: &NativeCallContext<'_>, options: Map) -> RhaiResultOf<Dynamic> {
    let options = Options::new(ctx, &SUSPEND, options)?;
    let action = Suspend {
        app: current(ctx)?,
        except: options.texts("except")?,
        only: if options.has("only") { Some(options.texts("only")?) } else { None },
        timeout_ms: options.duration("timeout")?.map(millis),
        deadman: deadman(&options)?,
    };
    Ok(to_dynamic(json!(act(ctx, &action)?)))
}

fn resume(ctx: &NativeCallContext<'_>, options: Map) -> RhaiResultOf<Dynamic> {
    let options = Options::new(ctx, &RESUME, options)?;
    let app = current(ctx)?;
    let ledger = if let Some(given) = options.json("ledger")? {
        ledger(given).map_err(|why| options.wrong("ledger", &why))?
    } else {
        let lane = lane(ctx)?;
        Ledger::of_run(&lane, &app)
            .ok_or_else(|| raise(ctx, nothing_suspended(&lane.target().name).into()))?
    };
    let timeout_ms = options.duration("timeout")?.map(millis);
    let action = Resume { app, users: ledger.users, others: ledger.others, timeout_ms };
    Ok(to_dynamic(json!(act(ctx, &action)?)))
}

/// Reads what `suspend_all_users` returned.
fn ledger(given: Value) -> Result<Ledger, String> {
    #[derive(Deserialize)]
    struct Given {
        users: Vec<Who>,
        #[serde(default)]
        others: Option<Vec<Who>>,
    }
    let given: Given = serde_json::from_value(given)
        .map_err(|error| format!("it is not what suspend_all_users returns: {error}"))?;
    Ok(Ledger { users: given.users, others: given.others, returned: false })
}

fn nothing_suspended(target: &str) -> Failure {
    Failure::input(format!("resume_users: this run suspended nobody on {target}")).with_hint(
        "What another run suspended is let in by `upgrade-host rollback RUN`; `upgrade-host debts` names the run.",
    )
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&USERS, |ctx: NativeCallContext<'_>| users(&ctx, Map::new()));
    face.add(&USERS, |ctx: NativeCallContext<'_>, options: Map| users(&ctx, options));
    face.add(&SUSPEND, |ctx: NativeCallContext<'_>| suspend(&ctx, Map::new()));
    face.add(&SUSPEND, |ctx: NativeCallContext<'_>, options: Map| suspend(&ctx, options));
    face.add(&RESUME, |ctx: NativeCallContext<'_>| resume(&ctx, Map::new()));
    face.add(&RESUME, |ctx: NativeCallContext<'_>, options: Map| resume(&ctx, options));
}

/// Makes the family's actions known, for undo from the record.
pub(super) fn actions(registry: &mut Registry) {
    registry.add::<Suspend>();
    registry.add::<Resume>();
}
