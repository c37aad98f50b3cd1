//! Jobs of users that run in the application: list them, and wait until none is left before the service stops.

use std::time::{Duration, Instant};

use rhai::{Dynamic, Map, NativeCallContext};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::app::{Patience, current, millis, text_or_nothing, verb};
use super::bridge::{Face, Options, Primitive, RhaiResultOf, Type, act, ask, field, to_dynamic};
use super::pace::Pace;
use crate::call::Access;
use crate::effect::{Action, App, Cx, Owes, Plan, Query, Question, Reconciled, Registry};
use crate::error::{Failure, Kind, Pause, Result, Stop};
use crate::event::Progress;
use crate::journal::Inverse;
use crate::units;

const JOBS: Primitive = Primitive {
    name: "app_jobs",
    family: "jobs",
    summary: "Lists the jobs that run in the application.",
    params: &[],
    options: &[],
    returns: "Array: one map `id`, `user`, `what` per job",
    example: r"for job in app_jobs() { print(`${job.user}: ${job.what}`); }",
    failure: "What the adapter fails with; `input` if it cannot list jobs.",
    plan: "Reads for real.",
    undo: "Nothing: it only reads.",
    resume: "Returns what was read; reads again if that was not recorded.",
};

const DRAIN: Primitive = Primitive {
    name: "drain",
    family: "jobs",
    summary: "Waits until no job runs in the application any more.",
    params: &[],
    options: &[
        field("timeout", Type::Duration, "\"30m\"", "How long to wait."),
        field(
            "pause",
            Type::Duration,
            "\"10s\"",
            "The longest pause between two looks; the first ones are shorter.",
        ),
        field(
            "ask",
            Type::Bool,
            "true",
            "At the end of that time, ask what to do: wait on, interrupt the jobs, or give up. Where nobody can be asked, the run pauses. If false, it fails.",
        ),
    ],
    returns: "map: `left` (how many jobs still run, because the operator chose to go on), `waited` (seconds)",
    example: r#"drain(#{ timeout: "1h" });"#,
    failure: "`timeout` if jobs still run at the end and the operator gives up; `input` if the adapter cannot list jobs.",
    plan: "Lists the jobs that it would wait for.",
    undo: "Nothing: it only waits.",
    resume: "Waits again.",
};

/// A running job, as an adapter lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Job {
    #[serde(default, deserialize_with = "text_or_nothing")]
    id: String,
    #[serde(default, deserialize_with = "text_or_nothing")]
    user: String,
    #[serde(default, deserialize_with = "text_or_nothing")]
    what: String,
}

fn list(cx: &Cx<'_>, app: &App) -> Result<Vec<Job>> {
    verb(cx, app, "jobs", &[])
}

/// Names the first few jobs: `2 jobs: alice (Documents), bob (Mail)`.
fn say(jobs: &[Job]) -> String {
    const SHOWN: usize = 5;
    let name = |job: &Job| {
        let who = if job.user.is_empty() { &job.id } else { &job.user };
        if job.what.is_empty() { who.clone() } else { format!("{who} ({})", job.what) }
    };
    let shown: Vec<_> = jobs.iter().take(SHOWN).map(name).collect();
    let more = match jobs.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let jobs = count(jobs.len());
    format!("{jobs}: {}{more}", shown.join(", "))
}

fn count(number: usize) -> String {
    if number == 1 { "1 job".to_owned() } else { format!("{number} jobs") }
}

/// Lists running jobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Jobs {
    app: App,
}

impl Query for Jobs {
    const NAME: &'static str = "app_jobs";
    type Output = Vec<Job>;

    fn summary(&self) -> String {
        format!("list running jobs ({})", self.app.adapter)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<Vec<Job>> {
        list(cx, &self.app)
    }

    fn result(&self, output: &Vec<Job>) -> Option<String> {
        Some(if output.is_empty() { "none".to_owned() } else { say(output) })
    }
}

/// Waits until no job runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Drain {
    app: App,
    timeout_ms: u64,
    pause_ms: u64,
    ask: bool,
}

/// What came of waiting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Drained {
    left: usize,
    waited: u64,
}

impl Drain {
    /// Asks what to do with jobs that do not end; returns whether to go on without waiting for them.
    fn decide(&self, cx: &Cx<'_>, jobs: &[Job], waited: Duration) -> Result<bool> {
        let waited = units::say_duration(waited);
        let still = format!("after {waited} there still run {}", say(jobs));
        let more =
            format!("wait {} more", units::say_duration(Duration::from_millis(self.timeout_ms)));
        let go_on = format!("go on, which interrupts {}", count(jobs.len()));
        let give_up = "give up".to_owned();
        if self.ask {
            let question = Question::Choose {
                text: format!("On {} {still}. What now?", cx.target.name),
                options: vec![more.clone(), go_on.clone(), give_up.clone()],
                default: None,
            };
            match cx.lane.run().asker.ask(&question) {
                None if cx.lane.run().cancel.is_cancelled() => return Err(Stop::Cancelled.into()),
                None => {
                    let why = format!("on {} {still}; `resume` waits again", cx.target.name);
                    return Err(Stop::Paused(Pause { why, until: None, unknown: false }).into());
                }
                Some(answer) if answer == more => return Ok(false),
                Some(answer) if answer == go_on => return Ok(true),
                Some(_) => {}
            }
        }
        Err(Failure::new(Kind::Timeout, still)
            .with_target(&cx.target.name)
            .with_hint("Give `drain` more time, or end the jobs.")
            .into())
    }
}

impl Action for Drain {
    const NAME: &'static str = "drain";
    const ACCESS: Access = Access::Wait;
    type Before = Vec<Job>;
    type Output = Drained;

    fn summary(&self) -> String {
        format!("wait for running jobs to end ({})", self.app.adapter)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Vec<Job>> {
        list(cx, &self.app)
    }

    fn plan(&self, before: &Vec<Job>) -> Plan<Vec<Job>, Drained> {
        if before.is_empty() {
            return Plan::Already(Drained { left: 0, waited: 0 });
        }
        let timeout = units::say_duration(Duration::from_millis(self.timeout_ms));
        let then = if self.ask { "then asks" } else { "then fails" };
        let changes = vec![format!("waits for at most {timeout}, {then}; now run {}", say(before))];
        Plan::Would { changes, output: Drained { left: 0, waited: 0 }, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, before: &Vec<Job>) -> Result<Drained> {
        let timeout = Duration::from_millis(self.timeout_ms);
        let mut pace = Pace::up_to(Duration::from_millis(self.pause_ms));
        let began = Instant::now();
        let mut round = began;
        let mut patience = Patience::default();
        let mut most = before.len();
        let mut jobs = before.clone();
        loop {
            let mut pause = pace.longest();
            if let Some(found) = patience.take(cx, list(cx, &self.app))? {
                pause = pace.pause();
                jobs = found;
                if jobs.is_empty() {
                    return Ok(Drained { left: 0, waited: began.elapsed().as_secs() });
                }
            }
            if round.elapsed() >= timeout {
                if self.decide(cx, &jobs, began.elapsed())? {
                    return Ok(Drained { left: jobs.len(), waited: began.elapsed().as_secs() });
                }
                round = Instant::now();
            }
            most = most.max(jobs.len());
            cx.progress(Progress {
                done: (most - jobs.len()) as u64,
                total: Some(most as u64),
                unit: "jobs".to_owned(),
                message: say(&jobs),
                eta_seconds: None,
            });
            cx.sleep(pause.min(timeout.saturating_sub(round.elapsed())))?;
        }
    }

    fn reconcile(&self, _cx: &Cx<'_>, _before: &Vec<Job>) -> Result<Reconciled<Drained>> {
        Ok(Reconciled::Redo)
    }

    fn inverse(&self, _before: &Vec<Job>) -> Inverse {
        Inverse::Nothing { why: "it only waits".to_owned() }
    }

    fn owes(&self, _before: &Vec<Job>) -> Owes {
        Owes::Nothing
    }

    fn result(&self, output: &Drained) -> Option<String> {
        Some(match output.left {
            0 => "no job runs".to_owned(),
            left => format!("{} left, to be interrupted", count(left)),
        })
    }
}

fn drain(ctx: &NativeCallContext<'_>, options: Map) -> RhaiResultOf<Dynamic> {
    let options = Options::new(ctx, &DRAIN, options)?;
    let action = Drain {
        app: current(ctx)?,
        timeout_ms: millis(options.duration("timeout")?.unwrap_or(Duration::from_secs(1800))),
        pause_ms: millis(options.duration("pause")?.unwrap_or(Duration::from_secs(10))),
        ask: options.flag("ask", true),
    };
    Ok(to_dynamic(json!(act(ctx, &action)?)))
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&JOBS, |ctx: NativeCallContext<'_>| -> RhaiResultOf<Dynamic> {
        Ok(to_dynamic(json!(ask(&ctx, Jobs { app: current(&ctx)? })?)))
    });
    face.add(&DRAIN, |ctx: NativeCallContext<'_>| drain(&ctx, Map::new()));
    face.add(&DRAIN, |ctx: NativeCallContext<'_>, options: Map| drain(&ctx, options));
}

/// Makes the family's actions known, for undo from the record.
pub(super) fn actions(_registry: &mut Registry) {}

#[cfg(test)]
#[path = "jobs_tests.rs"]
mod tests;
