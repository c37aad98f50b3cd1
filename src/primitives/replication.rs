//! The replication of an application: read the mode, record it, switch, verify by reading again. Switched is not in step:
//! waiting for that is a call of its own.

use std::time::{Duration, Instant};

use rhai::{Dynamic, Map, NativeCallContext};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::app::{Patience, can, current, millis, rewriting, text_or_nothing, verb};
use super::bridge::{Face, Options, Primitive, RhaiResultOf, Type, act, ask, field, to_dynamic};
use super::deadman::{DEADMAN, by_adapter, deadman};
use super::flow;
use super::pace::Pace;
use crate::call::Access;
use crate::effect::{
    Action, App, Cx, Deadman, Owes, Plan, Query, Reconciled, Registry, inverse_of,
};
use crate::error::{Failure, Halt, Kind, Result};
use crate::event::Progress;
use crate::journal::{Debt, Inverse};
use crate::units;

/// How long the application may take to show that it was switched.
const SWITCH_TIMEOUT: Duration = Duration::from_secs(60);
/// How long it may take until it is in step.
const WAIT_TIMEOUT: Duration = Duration::from_secs(3600);
/// The longest pause between two looks after a switch.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

const REPLICATION: Primitive = Primitive {
    name: "replication",
    family: "replication",
    summary: "Switches the replication of the application on or off, and makes sure that it is so.",
    params: &[field("on", Type::Bool, "", "Whether it is to be on.")],
    options: &[
        field(
            "driver",
            Type::Text,
            "as in the settings of `app`",
            "How it is switched, for this call; `ahsay_obs` knows `file`, `command` and `manual`.",
        ),
        field("timeout", Type::Duration, "\"1m\"", "How long the application may take to show it."),
        field(
            "keep_off",
            Type::Text,
            "",
            "Why it stays off whatever happens: neither a failure nor a rollback switches it on, and it stays owed until `replication(true)`.",
        ),
        field("due", Type::Duration, "", "With `keep_off`: by when it is owed, from now on."),
        DEADMAN,
    ],
    returns: "bool: true if it changed something",
    example: r#"replication(false, #{ keep_off: "it is the safety copy until checkout" });"#,
    failure: "`input` if `deadman` is given and the adapter cannot say by commands on the target how it is switched on (`command` can, `ahsay_obs` with `driver` = `file` or `command`); `check` if the application still says otherwise at the end; what the adapter fails with.",
    plan: "Says how it stands and what would change.",
    undo: "Sets it back; with `keep_off` it only makes sure that the application answers. Off, it is owed until it is on again.",
    resume: "Looks again; switches if it is not so yet.",
};

const STATUS: Primitive = Primitive {
    name: "replication_status",
    family: "replication",
    summary: "Tells how the replication stands.",
    params: &[],
    options: &[],
    returns: "map: `enabled` (bool, or () if unknown), `state` (the application's word), `in_step` (bool), `lag`, `detail`",
    example: r"note(`replication: ${replication_status().state}`);",
    failure: "What the adapter fails with.",
    plan: "Reads for real.",
    undo: "Nothing: it only reads.",
    resume: "Returns what was read; reads again if that was not recorded.",
};

const WAIT: Primitive = Primitive {
    name: "wait_replication",
    family: "replication",
    summary: "Waits until the replication is in step.",
    params: &[],
    options: &[
        field(
            "state",
            Type::Text,
            "in step",
            "Wait for this word of the application instead, such as \"SYNC\".",
        ),
        field("timeout", Type::Duration, "\"1h\"", "How long it may take."),
        field(
            "pause",
            Type::Duration,
            "\"2s\"",
            "The longest pause between two looks; the first ones are shorter.",
        ),
    ],
    returns: "map: as `replication_status`",
    example: r#"replication(true);
wait_replication(#{ timeout: "2h" });"#,
    failure: "`timeout` if it is not so at the end; `conflict` if it is off.",
    plan: "Says what it would wait for.",
    undo: "Nothing: it only waits.",
    resume: "Waits again.",
};

/// How the replication stands, as an adapter tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Standing {
    /// Whether it is on; none if that cannot be told.
    #[serde(default)]
    enabled: Option<bool>,
    /// The application's word.
    #[serde(default, deserialize_with = "text_or_nothing")]
    state: String,
    #[serde(default)]
    in_step: bool,
    #[serde(default)]
    lag: Value,
    #[serde(default, deserialize_with = "text_or_nothing")]
    detail: String,
}

impl Standing {
    fn read(cx: &Cx<'_>, app: &App) -> Result<Self> {
        verb(cx, app, "replication", &[])
    }

    fn say(&self) -> String {
        let enabled = match self.enabled {
            Some(true) => "on",
            Some(false) => "off",
            None => "unknown",
        };
        let lag = match &self.lag {
            Value::Null => String::new(),
            Value::String(text) => format!(", {text} behind"),
            other => format!(", {other} behind"),
        };
        let words = [self.state.as_str(), self.detail.as_str()];
        let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
        if words.is_empty() {
            format!("{enabled}{lag}")
        } else {
            format!("{enabled} ({}){lag}", words.join(", "))
        }
    }
}

/// Switches the replication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Switch {
    app: App,
    on: bool,
    /// Why it stays off, whatever happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep_off: Option<String>,
    /// Whether it takes back one that is to stay off: then all that matters is that the application answers, for a
    /// switch that was cut off while it restarted the application must not leave it down.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    mend: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadman: Option<Deadman>,
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

    fn deadman(
        &self,
        cx: &Cx<'_>,
        before: &Option<Standing>,
    ) -> Result<Option<crate::effect::Switch>> {
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

/// Tells how the replication stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Status {
    app: App,
}

impl Query for Status {
    const NAME: &'static str = "replication_status";
    type Output = Standing;

    fn summary(&self) -> String {
        format!("look at replication ({})", self.app.adapter)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<Standing> {
        Standing::read(cx, &self.app)
    }

    fn result(&self, output: &Standing) -> Option<String> {
        Some(output.say())
    }
}

/// Waits until the replication is in step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct InStep {
    app: App,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    timeout_ms: u64,
    pause_ms: u64,
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

fn switch(ctx: &NativeCallContext<'_>, on: bool, options: Map) -> RhaiResultOf<bool> {
    let options = Options::new(ctx, &REPLICATION, options)?;
    let keep_off = options.text("keep_off");
    if on && keep_off.is_some() {
        return Err(options.wrong("keep_off", "it goes with `replication(false)` only"));
    }
    if keep_off.is_none() && options.has("due") {
        return Err(options.wrong("due", "it goes with `keep_off` only"));
    }
    let deadman = deadman(&options)?;
    if deadman.is_some() && (on || keep_off.is_some()) {
        let why = "it goes with `replication(false)` only, and not with `keep_off`";
        return Err(options.wrong("deadman", why));
    }
    let mut app = current(ctx)?;
    if let Some(driver) = options.text("driver")
        && let Value::Object(settings) = &mut app.settings
    {
        settings.insert("driver".to_owned(), driver.into());
    }
    let timeout_ms = options.duration("timeout")?.map(millis);
    let due = options.duration("due")?.map(units::say_duration).unwrap_or_default();
    let action = Switch { app, on, keep_off: keep_off.clone(), mend: false, timeout_ms, deadman };
    let changed = act(ctx, &action)?;
    if let (Some(reason), true) = (keep_off, changed) {
        flow::keep_off(ctx, &reason, &due)?;
    }
    Ok(changed)
}

fn wait(ctx: &NativeCallContext<'_>, options: Map) -> RhaiResultOf<Dynamic> {
    let options = Options::new(ctx, &WAIT, options)?;
    let action = InStep {
        app: current(ctx)?,
        state: options.text("state"),
        timeout_ms: millis(options.duration("timeout")?.unwrap_or(WAIT_TIMEOUT)),
        pause_ms: millis(options.duration("pause")?.unwrap_or(Duration::from_secs(2))),
    };
    Ok(to_dynamic(json!(act(ctx, &action)?)))
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&REPLICATION, |ctx: NativeCallContext<'_>, on: bool| switch(&ctx, on, Map::new()));
    face.add(&REPLICATION, |ctx: NativeCallContext<'_>, on: bool, options: Map| {
        switch(&ctx, on, options)
    });
    face.add(&STATUS, |ctx: NativeCallContext<'_>| -> RhaiResultOf<Dynamic> {
        Ok(to_dynamic(json!(ask(&ctx, Status { app: current(&ctx)? })?)))
    });
    face.add(&WAIT, |ctx: NativeCallContext<'_>| wait(&ctx, Map::new()));
    face.add(&WAIT, |ctx: NativeCallContext<'_>, options: Map| wait(&ctx, options));
}

/// Makes the family's actions known, for undo from the record.
pub(super) fn actions(registry: &mut Registry) {
    registry.add::<Switch>();
}

#[cfg(test)]
#[path = "replication_tests.rs"]
mod tests;
