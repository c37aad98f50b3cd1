//! The shape of a runbook: `step`, `on`, `attempt`, `retry`, `verify`, `fail`, `on_rollback`,
//! `point_of_no_return`, `keep_off`.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rhai::{Array, Dynamic, FnPtr, Map, NativeCallContext};
use serde::{Deserialize, Serialize};

use super::bridge::{
    Face, Options, Primitive, RhaiResultOf, Type, act, ask, failure_to_dynamic, field, lane, place,
    raise, text_param, wrong,
};
use super::closure::{Closure, halt_of};
use super::time::moment;
use crate::call::Access;
use crate::effect::{Action, Cx, Lane, Mode, Owes, Plan, Query, Reconciled, Registry, Undo};
use crate::error::{Failure, Halt, Kind, Result};
use crate::event::{PlanState, Planned, What};
use crate::journal::{Body, Inverse};
use crate::units;

const STEP: Primitive = Primitive {
    name: "step",
    family: "flow",
    summary: "Runs a named group of actions: what people see, and what identifies the calls in it.",
    params: &[
        field("name", Type::Text, "", "What the step does."),
        field("body", Type::Closure, "", "The actions."),
    ],
    options: &[],
    returns: "Dynamic: what the body returns",
    example: r#"step("stop", || service_stop("obsr"));"#,
    failure: "With what the body fails; `conflict` if the maintenance window is over and there is still a way back.",
    plan: "Plans the body.",
    undo: "What the body did is undone newest first.",
    resume: "Goes through the body; what is done already is answered from the record.",
};

const ON: Primitive = Primitive {
    name: "on",
    family: "flow",
    summary: "Runs a body on another target.",
    params: &[
        field("target", Type::Text, "", "A target of the inventory."),
        field("body", Type::Closure, "", "The actions."),
    ],
    options: &[],
    returns: "Dynamic: what the body returns",
    example: r#"on("replica1", || service_stop("obsr"));"#,
    failure: "`input` if there is no such target; with what the body fails.",
    plan: "Plans the body on that target.",
    undo: "What the body did is undone on that target.",
    resume: "As the body.",
};

const TARGETS: Primitive = Primitive {
    name: "targets",
    family: "flow",
    summary: "Lists the targets that a selector stands for: names, `@tag` or `tag:x`, `all`, globs, ranges `web[01:20]`; commas separate, `&` is both, `!` is not.",
    params: &[field("selector", Type::Text, "the run's own", "Which.")],
    options: &[],
    returns: "Array: the names",
    example: r#"each(targets("@backup"), |t| service_status("obsr"));"#,
    failure: "`input` if nothing is known by that name.",
    plan: "Reads for real.",
    undo: "Nothing: it only reads.",
    resume: "The inventory is the one of the run's beginning.",
};

const ATTEMPT: Primitive = Primitive {
    name: "attempt",
    family: "flow",
    summary: "Runs a body and returns how it ended, instead of failing.",
    params: &[field("body", Type::Closure, "", "The actions.")],
    options: &[],
    returns: "map: `ok` (bool), `value`, `error` (the failure's map, or nothing)",
    example: r#"let listing = attempt(|| output("ls /backup")); if !listing.ok { warn(listing.error.message); }"#,
    failure: "Only with what a runbook cannot catch: an interrupt, a pause, a mismatch.",
    plan: "Plans the body.",
    undo: "As the body.",
    resume: "As the body.",
};

const RETRY: Primitive = Primitive {
    name: "retry",
    family: "flow",
    summary: "Runs a body again when it fails, a number of times.",
    params: &[
        field("options", Type::Map, "", "`times` (int, 3), `pause` (duration, \"5s\")."),
        field("body", Type::Closure, "", "The actions."),
    ],
    options: &[
        field("times", Type::Int, "3", "How often it is tried in all."),
        field("pause", Type::Duration, "\"5s\"", "How long to wait between two tries."),
    ],
    returns: "Dynamic: what the body returns",
    example: r#"retry(#{ times: 5, pause: "2s" }, || run(["fetch", "package"]));"#,
    failure: "With the failure of the last try.",
    plan: "Plans the body once.",
    undo: "As the body.",
    resume: "Goes on with the try that was under way.",
};

const VERIFY: Primitive = Primitive {
    name: "verify",
    family: "flow",
    summary: "Fails unless a condition holds; plan mode only says that it would be looked at.",
    params: &[
        field("what", Type::Text, "", "What must be so, as a statement."),
        field("condition", Type::Closure, "", "Returns whether it is."),
    ],
    options: &[],
    returns: "bool: true",
    example: r#"verify("version is 5.5.3", || app_version().starts_with("5.5.3"));"#,
    failure: "`check` if the condition is false.",
    plan: "Says that it would be verified; the condition is not evaluated, for it may be about what the run brings about.",
    undo: "Nothing: it only looks.",
    resume: "As the calls in the condition.",
};

const FAIL: Primitive = Primitive {
    name: "fail",
    family: "flow",
    summary: "Fails with a message.",
    params: &[
        field("message", Type::Text, "", "What is wrong."),
        field("hint", Type::Text, "", "What to do about it, as a sentence."),
    ],
    options: &[],
    returns: "(): never",
    example: r#"fail("the license has expired", "Renew it before the upgrade.");"#,
    failure: "Always, with kind `script`.",
    plan: "Fails as well.",
    undo: "Nothing.",
    resume: "Fails again, unless the reason is gone.",
};

const ON_ROLLBACK: Primitive = Primitive {
    name: "on_rollback",
    family: "flow",
    summary: "Registers what takes back the actions before it; its captured variables are copied now.",
    params: &[field("body", Type::Closure, "", "The actions that undo.")],
    options: &[],
    returns: "(): nothing",
    example: r#"on_rollback(|| run(["mv", "/srv/app.old", "/srv/app"]));"#,
    failure: "Does not fail. A failing undo is reported, and the other undos go on.",
    plan: "Says nothing.",
    undo: "This is undo.",
    resume: "Registered again by replay; an undo that was under way goes on.",
};

const POINT_OF_NO_RETURN: Primitive = Primitive {
    name: "point_of_no_return",
    family: "flow",
    summary: "Declares that from here on nothing is undone on its own: a failure pauses the run, and the operator decides.",
    params: &[field("why", Type::Text, "", "Why there is no simple way back.")],
    options: &[],
    returns: "(): nothing",
    example: r#"point_of_no_return("the new version has changed the users' indexes");"#,
    failure: "Does not fail.",
    plan: "Shows the line.",
    undo: "`upgrade-host rollback RUN` still undoes what has an inverse, after asking.",
    resume: "Stays passed.",
};

const KEEP_OFF: Primitive = Primitive {
    name: "keep_off",
    family: "flow",
    summary: "Hands the obligation opened last over on purpose: neither a failure nor a rollback switches that thing on again.",
    params: &[
        field("reason", Type::Text, "", "Why it stays off."),
        field(
            "due",
            Type::Duration,
            "",
            "By when it should be on again: from now, or a moment such as `2026-12-05 06:00`.",
        ),
    ],
    options: &[],
    returns: "bool: true",
    example: r#"replication(false); keep_off("it is the safety copy until checkout", "7d");"#,
    failure: "`input` if nothing was switched off before in this lane, or if that is on again.",
    plan: "Says so.",
    undo: "Nothing: that is its purpose.",
    resume: "Answered from the record.",
};

/// Hands an obligation over.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct KeepOff {
    target: String,
    key: String,
    reason: String,
    due_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
}

impl Action for KeepOff {
    const NAME: &'static str = "keep_off";
    const ACCESS: Access = Access::Change;
    type Before = Option<Timestamp>;
    type Output = bool;

    fn summary(&self) -> String {
        format!("keep {} off: {}", self.key, self.reason)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Option<Timestamp>> {
        if let Some(due) = self.due_at.filter(|due| *due <= cx.now()) {
            return Err(Failure::input(format!("keep_off: {due} is over already")).into());
        }
        if !cx.lane.run().obligations.is_open(&self.target, &self.key) {
            let message = format!(
                "keep_off: {} on {} is not off any more, so nothing is owed that could be handed over",
                self.key, self.target
            );
            return Err(Failure::input(message)
                .with_hint("Call it before that is switched on again.")
                .into());
        }
        let from_now = |due: u64| cx.now().checked_add(Duration::from_millis(due)).ok();
        Ok(self.due_at.or_else(|| self.due_ms.and_then(from_now)))
    }

    fn plan(&self, before: &Self::Before) -> Plan<Self::Before, bool> {
        let due = before.map(|due| format!("due by {due:.0}"));
        Plan::Would { changes: due.into_iter().collect(), output: true, after: None }
    }

    fn apply(&self, _cx: &Cx<'_>, _before: &Self::Before) -> Result<bool> {
        Ok(true)
    }

    fn reconcile(&self, _cx: &Cx<'_>, _before: &Self::Before) -> Result<Reconciled<bool>> {
        // It is part of the intent's own transaction.
        Ok(Reconciled::Done(true))
    }

    fn inverse(&self, _before: &Self::Before) -> Inverse {
        Inverse::Nothing { why: "it stays off on purpose".to_owned() }
    }

    fn owes(&self, before: &Self::Before) -> Owes {
        Owes::Keeps {
            target: self.target.clone(),
            key: self.key.clone(),
            reason: self.reason.clone(),
            due: *before,
        }
    }
}

/// Passes the point of no return.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PointOfNoReturn {
    why: String,
}

impl Query for PointOfNoReturn {
    const NAME: &'static str = "point_of_no_return";
    // Durable like an answer: it must not be lost once passed.
    const ACCESS: Access = Access::Ask;
    type Output = ();

    fn summary(&self) -> String {
        format!("point of no return: {}", self.why)
    }

    fn ask(&self, _cx: &Cx<'_>) -> Result<()> {
        Ok(())
    }

    fn assume(&self) -> Option<()> {
        Some(())
    }
}

fn step(ctx: &NativeCallContext<'_>, name: &str, body: &FnPtr) -> RhaiResultOf<Dynamic> {
    if name.trim().is_empty() {
        return Err(wrong(ctx, "step: its name is empty"));
    }
    let lane = lane(ctx)?;
    check_window(&lane).map_err(|halt| raise(ctx, halt))?;
    let path = lane.enter_step(name);
    let started = Instant::now();
    let note = |begins, ok| {
        let body = Body::Step { lane: lane.name().to_owned(), step: path.clone(), begins, ok };
        lane.record(body)
    };
    let result = match note(true, true) {
        Ok(_) => {
            lane.emit(What::StepBegan);
            body.call_raw(ctx, None, [])
        }
        Err(halt) => Err(raise(ctx, halt)),
    };
    let ok = result.is_ok();
    let noted = note(false, ok);
    lane.emit(What::StepEnded {
        ok,
        took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    lane.leave_step();
    noted.map_err(|halt| raise(ctx, halt))?;
    result
}

/// Before the point of no return, no step begins after the window has closed.
fn check_window(lane: &Lane) -> Result<()> {
    let run = lane.run();
    if run.mode != Mode::Run
        || lane.is_undoing()
        || lane.past_point_of_no_return().is_some()
        || !lane.is_live()
    {
        return Ok(());
    }
    let window = *run.window.lock().unwrap_or_else(PoisonError::into_inner);
    match window {
        Some(window) if run.clock.now() >= window.closes => Err(Failure::new(
            Kind::Conflict,
            format!("the maintenance window closed at {:.0}", window.closes),
        )
        .with_hint("There is still a way back, so the run takes it. Schedule another window.")
        .into()),
        _ => Ok(()),
    }
}

fn on(ctx: &NativeCallContext<'_>, name: &str, body: &FnPtr) -> RhaiResultOf<Dynamic> {
    let lane = lane(ctx)?;
    let target = lane.run().targets.get(name).map_err(|halt| raise(ctx, halt))?;
    lane.push_target(target);
    let result = body.call_raw(ctx, None, []);
    lane.pop_target();
    result
}

fn attempt(ctx: &NativeCallContext<'_>, body: &FnPtr) -> RhaiResultOf<Map> {
    let mut map = Map::new();
    match body.call_raw(ctx, None, []) {
        Ok(value) => {
            map.insert("ok".into(), true.into());
            map.insert("value".into(), value);
            map.insert("error".into(), Dynamic::UNIT);
        }
        Err(error) => match halt_of(&error) {
            Halt::Stop(_) => return Err(error),
            Halt::Failure(failure) => {
                map.insert("ok".into(), false.into());
                map.insert("value".into(), Dynamic::UNIT);
                map.insert("error".into(), failure_to_dynamic(&failure));
            }
        },
    }
    Ok(map)
}

fn retry(ctx: &NativeCallContext<'_>, options: Map, body: &FnPtr) -> RhaiResultOf<Dynamic> {
    let options = Options::new(ctx, &RETRY, options)?;
    let times = options.int("times").unwrap_or(3);
    if times < 1 {
        return Err(options.wrong("times", "it must be at least 1"));
    }
    let pause = options.duration("pause")?.unwrap_or(Duration::from_secs(5));
    let lane = lane(ctx)?;
    for attempt in 1.. {
        match body.call_raw(ctx, None, []) {
            Err(error) if attempt < times => match halt_of(&error) {
                Halt::Stop(_) => return Err(error),
                Halt::Failure(failure) => {
                    let text = format!(
                        "try {attempt} of {times} failed: {failure}; again in {}",
                        units::say_duration(pause)
                    );
                    lane.emit(What::Warning { text: lane.run().redactor.text(&text) });
                    super::time::pause(ctx, pause)?;
                }
            },
            result => return result,
        }
    }
    Ok(Dynamic::UNIT)
}

fn verify(ctx: &NativeCallContext<'_>, what: &str, condition: &FnPtr) -> RhaiResultOf<bool> {
    let lane = lane(ctx)?;
    if lane.run().mode == Mode::Plan {
        lane.emit(What::CallPlanned {
            call: lane.next_call("verify").to_string(),
            summary: format!("verify that {what}"),
            access: Access::Wait,
            planned: Planned {
                state: PlanState::Waits,
                changes: Vec::new(),
                undo: None,
                drift: None,
            },
        });
        return Ok(true);
    }
    let holds = condition.call_raw(ctx, None, [])?;
    match holds.as_bool() {
        Ok(true) => {
            if lane.is_live() {
                lane.emit(What::Note { text: format!("verified: {what}") });
            }
            Ok(true)
        }
        Ok(false) => {
            Err(raise(ctx, Failure::new(Kind::Check, format!("this does not hold: {what}")).into()))
        }
        Err(found) => {
            Err(wrong(ctx, format!("verify: the condition must return true or false, not {found}")))
        }
    }
}

fn fail(ctx: &NativeCallContext<'_>, message: &Dynamic, hint: &str) -> RhaiResultOf<()> {
    let mut failure = Failure::new(Kind::Script, text_param(ctx, "message", message)?);
    failure.hint = Some(hint.to_owned()).filter(|hint| !hint.is_empty());
    Err(raise(ctx, failure.into()))
}

fn on_rollback(ctx: &NativeCallContext<'_>, body: FnPtr) -> RhaiResultOf<()> {
    let lane = lane(ctx)?;
    let closure = Closure::take(ctx, body)?;
    let (of, target) = (lane.next_call("on_rollback"), lane.target().name.clone());
    let site = place(ctx);
    let closure: crate::effect::UndoClosure = Arc::new(move |lane: &Lane| {
        closure.call(lane, &[]).map(drop).map_err(|error| match halt_of(&error) {
            Halt::Failure(failure) => failure.at(site.clone()).into(),
            stop @ Halt::Stop(_) => stop,
        })
    });
    lane.push_undo(Undo::Closure { of, target, closure });
    Ok(())
}

fn point_of_no_return(ctx: &NativeCallContext<'_>, why: &str) -> RhaiResultOf<()> {
    let lane = lane(ctx)?;
    if lane.run().mode != Mode::Plan {
        ask(ctx, PointOfNoReturn { why: why.to_owned() })?;
    }
    lane.pass_point_of_no_return(why);
    lane.emit(What::PointOfNoReturn { why: lane.run().redactor.text(why) });
    Ok(())
}

pub(super) fn keep_off(ctx: &NativeCallContext<'_>, reason: &str, due: &str) -> RhaiResultOf<bool> {
    let lane = lane(ctx)?;
    if lane.run().mode == Mode::Plan {
        return Ok(true);
    }
    let Some((target, key, opener)) = lane.last_debt() else {
        return Err(wrong(ctx, "keep_off: nothing was switched off in this lane before"));
    };
    let due_at = moment(due, &crate::zone::local());
    let due_ms = match due {
        due if due.is_empty() || due_at.is_some() => None,
        due => {
            let due = units::duration(due).map_err(|why| {
                wrong(ctx, format!("keep_off: {why}, or a moment such as `2026-12-05 06:00`"))
            })?;
            Some(u64::try_from(due.as_millis()).unwrap_or(u64::MAX))
        }
    };
    let action = KeepOff {
        target: target.clone(),
        key: key.clone(),
        reason: reason.to_owned(),
        due_ms,
        due_at,
    };
    let kept = act(ctx, &action)?;
    lane.drop_inverse(&opener);
    Ok(kept)
}

fn targets(ctx: &NativeCallContext<'_>, selector: &str) -> RhaiResultOf<Array> {
    let names = lane(ctx)?.run().targets.select(selector).map_err(|halt| raise(ctx, halt))?;
    Ok(names.into_iter().map(Dynamic::from).collect())
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&STEP, |ctx: NativeCallContext<'_>, name: &str, body: FnPtr| step(&ctx, name, &body));
    face.add(&ON, |ctx: NativeCallContext<'_>, target: &str, body: FnPtr| on(&ctx, target, &body));
    face.add(&TARGETS, |ctx: NativeCallContext<'_>, selector: &str| targets(&ctx, selector));
    face.add(&ATTEMPT, |ctx: NativeCallContext<'_>, body: FnPtr| attempt(&ctx, &body));
    face.add(&RETRY, |ctx: NativeCallContext<'_>, options: Map, body: FnPtr| {
        retry(&ctx, options, &body)
    });
    face.add(&VERIFY, |ctx: NativeCallContext<'_>, what: &str, condition: FnPtr| {
        verify(&ctx, what, &condition)
    });
    face.add(&FAIL, |ctx: NativeCallContext<'_>, message: Dynamic| fail(&ctx, &message, ""));
    face.add(&FAIL, |ctx: NativeCallContext<'_>, message: Dynamic, hint: &str| {
        fail(&ctx, &message, hint)
    });
    face.add(&ON_ROLLBACK, |ctx: NativeCallContext<'_>, body: FnPtr| on_rollback(&ctx, body));
    face.add(&POINT_OF_NO_RETURN, |ctx: NativeCallContext<'_>, why: &str| {
        point_of_no_return(&ctx, why)
    });
    face.add(&KEEP_OFF, |ctx: NativeCallContext<'_>, reason: &str| keep_off(&ctx, reason, ""));
    face.add(&KEEP_OFF, |ctx: NativeCallContext<'_>, reason: &str, due: &str| {
        keep_off(&ctx, reason, due)
    });
}

/// Makes the family's actions known, for undo from the record.
pub(super) fn actions(registry: &mut Registry) {
    registry.add::<KeepOff>();
}
