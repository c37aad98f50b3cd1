//! The application on the target, through its adapter: which one it is, its version, its health, and whether its clients
//! update themselves. Also the one way in which all families call an adapter: see `docs/adapters.md` for the contract.

use std::time::Duration;

use rhai::{Dynamic, Map, NativeCallContext};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::bridge::{
    Face, Primitive, RhaiResultOf, Type, act, ask, field, lane, raise, to_dynamic, to_json, wrong,
};
use super::files::own::Rewritten;
use crate::call::Access;
use crate::effect::{Action, App, Cx, Lane, Owes, Plan, Query, Reconciled, Registry, inverse_of};
use crate::error::{Failure, Halt, Kind, Result};
use crate::journal::{Debt, Inverse};
use crate::units;

/// How many failures in a row end a wait that polls an application: a server under load misses one or two.
const FAILURES_IN_A_ROW: u32 = 5;

/// Every verb of an adapter, and what an adapter without it cannot do.
const VERBS: &[(&str, &str)] = &[
    ("users", "list users"),
    ("user_set", "suspend or resume users"),
    ("users_set_command", "say by commands how users are resumed, which `deadman` needs"),
    ("replication", "tell how the replication stands"),
    ("replication_set", "switch the replication"),
    (
        "replication_set_command",
        "say by commands how the replication is switched, which `deadman` needs",
    ),
    ("jobs", "list running jobs"),
    ("health", "check the health of its application"),
    ("rewrites", "tell which files its application rewrites"),
    ("version", "tell the version of its application"),
    ("clients", "tell whether clients update themselves"),
    ("clients_set", "hold back or allow updates of clients"),
];

const APP: Primitive = Primitive {
    name: "app",
    family: "app",
    summary: "Says which application runs on the current target, and how its adapter reaches it.",
    params: &[
        field(
            "adapter",
            Type::Text,
            "",
            "The adapter: `ahsay_obs`, `command`, or one of your own (see docs/adapters.md).",
        ),
        field(
            "settings",
            Type::Map,
            "#{}",
            "Its settings; passwords as `secret(…)` or a secret parameter, never as text.",
        ),
    ],
    options: &[],
    returns: "()",
    example: r#"app("ahsay_obs", #{ home: "/usr/local/obs", user: "system", password: param("system_password") });"#,
    failure: "`input` if there is no such adapter, if it does not know a setting, or if a password is given as text.",
    plan: "The same: it changes nothing.",
    undo: "Nothing to undo.",
    resume: "The same again.",
};

const VERSION: Primitive = Primitive {
    name: "app_version",
    family: "app",
    summary: "Returns the version of the application on the target.",
    params: &[],
    options: &[],
    returns: "String: the version as the application says it",
    example: r#"if app_version() == "5.5.3.0" { note("it is there already"); }"#,
    failure: "What the adapter fails with; `input` if it cannot tell.",
    plan: "Reads for real.",
    undo: "Nothing: it only reads.",
    resume: "Returns what was read; reads again if that was not recorded.",
};

const HEALTH: Primitive = Primitive {
    name: "app_health",
    family: "app",
    summary: "Checks the health of the application.",
    params: &[],
    options: &[],
    returns: "Array: one map `name`, `ok` (bool), `detail` per check",
    example: r"for check in app_health() { if !check.ok { fail(`${check.name}: ${check.detail}`); } }",
    failure: "What the adapter fails with; a check that does not hold is no failure, but `ok: false`.",
    plan: "Reads for real.",
    undo: "Nothing: it only reads.",
    resume: "Returns what was read; reads again if that was not recorded.",
};

const CLIENT_UPDATE: Primitive = Primitive {
    name: "client_update",
    family: "app",
    summary: "Lets the clients of the application update themselves, or holds that back.",
    params: &[field("on", Type::Bool, "", "Whether clients update themselves from now on.")],
    options: &[],
    returns: "bool: true if it changed something",
    example: "wait(\"7d\");\nclient_update(true);",
    failure: "`check` if the application says otherwise afterwards; what the adapter fails with.",
    plan: "Says how it stands and what would change.",
    undo: "Sets it back. Held back, it is owed until it is allowed again.",
    resume: "Looks again; sets it if it is not so yet.",
};

/// Returns the application of the current target.
///
/// # Errors
/// A failure of kind `input` if none is set.
pub(super) fn current(ctx: &NativeCallContext<'_>) -> RhaiResultOf<App> {
    let lane = lane(ctx)?;
    lane.app().ok_or_else(|| {
        let message =
            format!("{}: no application is set for {}", ctx.fn_name(), lane.target().name);
        let hint = "Call `app(\"ahsay_obs\", #{ … })` before, or add [app] to the config.";
        raise(ctx, Failure::input(message).with_hint(hint).into())
    })
}

/// Calls a verb of the application's adapter and reads its answer.
///
/// # Errors
/// What the verb throws; `input` if the adapter does not have it or answers something else than the contract says.
pub(super) fn verb<T: DeserializeOwned>(
    cx: &Cx<'_>,
    app: &App,
    verb: &str,
    arguments: &[Value],
) -> Result<T> {
    can(cx, app, verb)?;
    let adapter = &app.adapter;
    let answer = cx.adapter(app, verb, arguments)?;
    serde_json::from_value(answer).map_err(|error| {
        let message =
            format!("`{adapter}_{verb}` returned something else than an adapter should: {error}");
        Failure::input(message)
            .with_target(&cx.target.name)
            .with_hint("See docs/adapters.md for what each function returns.")
            .into()
    })
}

/// Makes sure that the adapter has a verb.
///
/// # Errors
/// `input` if it does not.
pub(super) fn can(cx: &Cx<'_>, app: &App, verb: &str) -> Result<()> {
    let adapter = &app.adapter;
    if cx.lane.run().adapters.get().is_none_or(|adapters| adapters.has(adapter, verb)) {
        return Ok(());
    }
    let what = VERBS.iter().find(|known| known.0 == verb).map_or(verb, |known| known.1);
    Err(Failure::input(format!("adapter `{adapter}` cannot {what}"))
        .with_target(&cx.target.name)
        .with_hint(format!("It has no function `{adapter}_{verb}`. See docs/adapters.md."))
        .into())
}

/// Changes a setting of the application. What that makes of the files which the adapter says the application rewrites is
/// noted down as this run's own doing.
///
/// # Errors
/// What the change fails with.
pub(super) fn rewriting<T>(
    cx: &Cx<'_>,
    app: &App,
    change: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let files: Vec<String> = match can(cx, app, "rewrites") {
        Ok(()) => verb(cx, app, "rewrites", &[])?,
        Err(_) => Vec::new(),
    };
    let rewritten = Rewritten::begin(cx, &files)?;
    let changed = change()?;
    rewritten.end(cx)?;
    Ok(changed)
}

/// Reads text that a script may leave as `()`.
pub(super) fn text_or_nothing<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<String, D::Error> {
    Option::<String>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Counts the failures in a row of something that is asked again and again.
#[derive(Debug, Default)]
pub(super) struct Patience(u32);

impl Patience {
    /// Returns the answer, or none if the application failed to give it but may be asked again.
    ///
    /// # Errors
    /// A stop, a failure that asking again does not mend, or one too many in a row.
    pub(super) fn take<T>(&mut self, cx: &Cx<'_>, answer: Result<T>) -> Result<Option<T>> {
        match answer {
            Ok(answer) => {
                self.0 = 0;
                Ok(Some(answer))
            }
            Err(Halt::Failure(failure))
                if !failure.lost
                    && !matches!(failure.kind, Kind::Input | Kind::Auth | Kind::Denied)
                    && self.0 + 1 < FAILURES_IN_A_ROW =>
            {
                if self.0 == 0 {
                    cx.warn(format!("{failure}; asking again"));
                }
                self.0 += 1;
                Ok(None)
            }
            Err(halt) => Err(halt),
        }
    }
}

/// Says milliseconds as they are recorded.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Tells the version of the application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Version {
    app: App,
}

impl Query for Version {
    const NAME: &'static str = "app_version";
    type Output = String;

    fn summary(&self) -> String {
        format!("ask {} for its version", self.app.adapter)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<String> {
        verb(cx, &self.app, "version", &[])
    }

    fn result(&self, output: &String) -> Option<String> {
        Some(output.clone())
    }
}

/// One check of the application's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    name: String,
    ok: bool,
    #[serde(default, deserialize_with = "text_or_nothing")]
    detail: String,
}

/// Checks the health of the application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Health {
    app: App,
}

impl Query for Health {
    const NAME: &'static str = "app_health";
    type Output = Vec<Check>;

    fn summary(&self) -> String {
        format!("check the health of {}", self.app.adapter)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<Vec<Check>> {
        verb(cx, &self.app, "health", &[])
    }

    fn result(&self, output: &Vec<Check>) -> Option<String> {
        let bad: Vec<_> =
            output.iter().filter(|check| !check.ok).map(|check| check.name.as_str()).collect();
        Some(if bad.is_empty() {
            format!("{} checks, all well", output.len())
        } else {
            format!("not well: {}", bad.join(", "))
        })
    }
}

/// Lets clients update themselves, or holds that back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ClientUpdate {
    app: App,
    on: bool,
}

impl ClientUpdate {
    fn key(&self) -> String {
        format!("client update {}", self.app.adapter)
    }

    fn state(&self, cx: &Cx<'_>) -> Result<bool> {
        verb(cx, &self.app, "clients", &[])
    }
}

fn allowed(on: bool) -> &'static str {
    if on { "on" } else { "held back" }
}

impl Action for ClientUpdate {
    const NAME: &'static str = "client_update";
    const ACCESS: Access = Access::Change;
    type Before = bool;
    type Output = bool;

    fn summary(&self) -> String {
        let verb = if self.on { "allow" } else { "hold back" };
        format!("{verb} updates of clients ({})", self.app.adapter)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<bool> {
        self.state(cx)
    }

    fn plan(&self, before: &bool) -> Plan<bool, bool> {
        if *before == self.on {
            return Plan::Already(false);
        }
        let changes = vec![format!("client update: {} → {}", allowed(*before), allowed(self.on))];
        Plan::Would { changes, output: true, after: Some(self.on) }
    }

    fn apply(&self, cx: &Cx<'_>, before: &bool) -> Result<bool> {
        if self.state(cx)? != self.on {
            rewriting(cx, &self.app, || {
                verb::<Value>(cx, &self.app, "clients_set", &[json!(self.on)])
            })?;
            if self.state(cx)? != self.on {
                let message = format!("client update is not {} after it was set", allowed(self.on));
                return Err(Failure::new(Kind::Check, message).into());
            }
        }
        Ok(*before != self.on)
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &bool) -> Result<Reconciled<bool>> {
        Ok(if self.state(cx)? == self.on {
            Reconciled::Done(*before != self.on)
        } else {
            Reconciled::Redo
        })
    }

    fn inverse(&self, before: &bool) -> Inverse {
        if *before == self.on {
            Inverse::Nothing { why: format!("client update was {} before", allowed(*before)) }
        } else {
            inverse_of(&Self { app: self.app.clone(), on: *before })
        }
    }

    fn owes(&self, before: &bool) -> Owes {
        match (self.on, before) {
            (true, _) => Owes::Closes(self.key()),
            (false, false) => Owes::Nothing,
            (false, true) => Owes::Opens(Debt {
                key: self.key(),
                what: "client update on".to_owned(),
                locks_out: false,
            }),
        }
    }

    fn subject(&self) -> Option<String> {
        Some(self.key())
    }

    fn changed(&self, output: &bool) -> bool {
        *output
    }
}

/// A setting of an adapter, as its function `ADAPTER_settings` describes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Setting {
    name: String,
    #[serde(default)]
    #[expect(dead_code, reason = "read by people, in the adapter")]
    doc: String,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    secret: bool,
}

/// Checks the settings, and makes the secrets in them known to what hides them before anything is recorded: a call
/// recorded before its password was known would not look the same when it is recalled.
fn checked(lane: &Lane, app: &App) -> Result<()> {
    let run = lane.run();
    let Value::Object(settings) = &app.settings else {
        return Err(Failure::input("the settings of an adapter are a map").into());
    };
    if let Some(adapters) = run.adapters.get() {
        let adapter = &app.adapter;
        if !VERBS.iter().any(|known| adapters.has(adapter, known.0)) {
            return Err(Failure::input(format!("there is no adapter `{adapter}`"))
                .with_hint(format!("Shipped are `ahsay_obs` and `command`; one of your own has functions such as `{adapter}_users`."))
                .into());
        }
        if adapters.has(adapter, "settings") {
            let known = adapters.call(lane, app, "settings", &[])?;
            let known: Vec<Setting> = serde_json::from_value(known).map_err(|error| {
                Failure::input(format!(
                    "`{adapter}_settings` does not return a list of settings: {error}"
                ))
            })?;
            check_settings(adapter, settings, &known)?;
        }
    }
    reveal(lane, &app.settings)
}

fn check_settings(
    adapter: &str,
    settings: &serde_json::Map<String, Value>,
    known: &[Setting],
) -> Result<()> {
    for (name, value) in settings {
        let Some(setting) = known.iter().find(|setting| setting.name == *name) else {
            let names = || known.iter().map(|setting| setting.name.as_str());
            let hint = match units::nearest(name, names()) {
                Some(near) => format!("Did you mean `{near}`?"),
                None => format!("It knows {}.", names().collect::<Vec<_>>().join(", ")),
            };
            let message = format!("adapter `{adapter}` has no setting `{name}`");
            return Err(Failure::input(message).with_hint(hint).into());
        };
        if setting.secret && value.as_str().is_some_and(|text| !text.is_empty()) {
            let message = format!(
                "setting `{name}` of adapter `{adapter}` is a secret, but is given as text"
            );
            return Err(Failure::input(message)
                .with_hint("Give a parameter of type secret, so that it appears in no record.")
                .into());
        }
    }
    let missing = known
        .iter()
        .find(|setting| setting.required && settings.get(&setting.name).is_none_or(Value::is_null));
    match missing {
        Some(setting) => {
            Err(Failure::input(format!("adapter `{adapter}` needs the setting `{}`", setting.name))
                .into())
        }
        None => Ok(()),
    }
}

fn reveal(lane: &Lane, value: &Value) -> Result<()> {
    match value {
        Value::Object(map) => match (map.len(), map.get("$secret")) {
            (1, Some(Value::String(name))) => lane.run().reveal(name).map(drop),
            _ => map.values().try_for_each(|value| reveal(lane, value)),
        },
        Value::Array(items) => items.iter().try_for_each(|value| reveal(lane, value)),
        _ => Ok(()),
    }
}

fn set(ctx: &NativeCallContext<'_>, adapter: &str, settings: Map) -> RhaiResultOf<()> {
    let lane = lane(ctx)?;
    let settings =
        to_json(&Dynamic::from_map(settings)).map_err(|why| wrong(ctx, format!("app: {why}")))?;
    let app = App { adapter: adapter.to_owned(), settings };
    checked(&lane, &app).map_err(|halt| raise(ctx, halt))?;
    lane.set_app(app);
    Ok(())
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&APP, |ctx: NativeCallContext<'_>, adapter: &str| set(&ctx, adapter, Map::new()));
    face.add(&APP, |ctx: NativeCallContext<'_>, adapter: &str, settings: Map| {
        set(&ctx, adapter, settings)
    });
    face.add(&VERSION, |ctx: NativeCallContext<'_>| ask(&ctx, Version { app: current(&ctx)? }));
    face.add(&HEALTH, |ctx: NativeCallContext<'_>| -> RhaiResultOf<Dynamic> {
        Ok(to_dynamic(json!(ask(&ctx, Health { app: current(&ctx)? })?)))
    });
    face.add(&CLIENT_UPDATE, |ctx: NativeCallContext<'_>, on: bool| {
        act(&ctx, &ClientUpdate { app: current(&ctx)?, on })
    });
}

/// Makes the family's actions known, for undo from the record.
pub(super) fn actions(registry: &mut Registry) {
    registry.add::<ClientUpdate>();
}

#[cfg(test)]
#[path = "app_tests.rs"]
mod tests;

/// An application in memory behind an adapter, for the tests of all families that use one.
#[cfg(test)]
#[path = "app_mock.rs"]
pub(super) mod mock;
