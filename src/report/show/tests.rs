use insta::assert_snapshot;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::*;
use crate::call::{Access, CallKey};
use crate::error::{Failure, Kind, Place};
use crate::event::Event;
use crate::journal::{Debt, Inverse, Source};
use crate::report::text_of;

fn style() -> Style {
    Style { zone: TimeZone::UTC, width: 80, live: true, ..Style::plain() }
}

fn at(second: i64) -> Timestamp {
    "2026-11-22T02:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(second)
}

fn run(status: Status) -> RunInfo {
    RunInfo {
        id: "20261122-0200-k3f9".into(),
        runbook: "up.rhai".into(),
        title: "Upgrade".into(),
        targets: vec!["obs1".into()],
        operator: "root".into(),
        version: "0.1.0".into(),
        status,
        started: at(0),
        ended: Some(at(70)),
        due: None,
        settings: Value::Null,
        sources: vec![Source { name: "up.rhai".into(), text: "service_start(\"obsr\");\n".into() }],
    }
}

fn call(lane: &str, step: &str, action: &str) -> CallKey {
    CallKey { lane: lane.into(), step: step.into(), action: action.into(), nth: 1 }
}

fn intent(call: CallKey, summary: &str, opens: Option<Debt>, closes: Option<&str>) -> Body {
    Body::Intent {
        call,
        access: Access::Change,
        target: "obs1".into(),
        summary: summary.into(),
        action: json!({}),
        before: Value::Null,
        inverse: Inverse::Nothing { why: String::new() },
        opens,
        closes: closes.map(str::to_owned),
        place: None,
        boot: None,
        again: false,
    }
}

fn done(call: CallKey, value: Value) -> Body {
    Body::Outcome { call, outcome: Outcome::Done { value, changed: true, words: None } }
}

fn step(name: &str, begins: bool) -> Body {
    Body::Step { lane: "main".into(), step: name.into(), begins, ok: true }
}

fn users() -> Debt {
    Debt { key: "users".into(), what: "users enabled".into(), locks_out: true }
}

fn records(bodies: Vec<(i64, Body)>) -> Vec<Record> {
    bodies
        .into_iter()
        .zip(1..)
        .map(|((second, body), seq)| Record { seq, at: at(second), body })
        .collect()
}

/// A run whose start of the service failed, after which it paused.
fn paused() -> Vec<Record> {
    let (look, suspend, start) = (
        call("main", "users", "users"),
        call("main", "users", "suspend"),
        call("main", "start", "start"),
    );
    let place = Some(Place { file: "up.rhai".into(), line: 1, column: 1 });
    let mut failure = Failure::new(Kind::Timeout, "service `obsr` is not up after 1m")
        .with_target("obs1")
        .at(place);
    failure.stderr = "address in use\n".into();
    records(vec![
        (0, step("users", true)),
        (
            1,
            Body::Call {
                call: look,
                access: Access::Read,
                target: "obs1".into(),
                summary: "list users".into(),
                action: json!({}),
                outcome: Outcome::Done { value: json!(["a", "b"]), changed: false, words: None },
                closes: None,
                place: None,
            },
        ),
        (1, intent(suspend.clone(), "suspend all users", Some(users()), None)),
        (5, done(suspend, json!(36))),
        (5, step("users", false)),
        (5, Body::Note { text: "the console is at https://obs1/".into(), warning: false }),
        (
            5,
            Body::Call {
                call: call("main", "", "point_of_no_return"),
                access: Access::Ask,
                target: "obs1".into(),
                summary: "point of no return: the index is converted".into(),
                action: json!({ "why": "the index is converted" }),
                outcome: Outcome::Done { value: json!(null), changed: false, words: None },
                closes: None,
                place: None,
            },
        ),
        (5, step("start", true)),
        (6, intent(start.clone(), "start service obsr", None, None)),
        (66, Body::Outcome { call: start.clone(), outcome: Outcome::Failed { failure } }),
        (66, Body::Step { lane: "main".into(), step: "start".into(), begins: false, ok: false }),
        (
            66,
            Body::Ended {
                status: Status::Paused,
                failed: vec![start.to_string()],
                message: "past the point of no return".into(),
            },
        ),
    ])
}

fn shown(run: &RunInfo, records: &[Record], debts: &[DebtRow], held: bool) -> String {
    text_of(&show(&style(), Shown { run, records, debts, held }, at(700)), false)
}

/// What the run owes.
fn owed(what: &str) -> DebtRow {
    DebtRow {
        target: "obs1".into(),
        what: what.into(),
        since: at(1),
        run: run(Status::Paused).id,
        due: None,
        by: "root".into(),
        key: what.into(),
        locks_out: true,
        kept: None,
    }
}

#[test]
fn a_paused_run_is_shown_with_what_resume_would_do() {
    let run = run(Status::Paused);
    let debt = owed("users enabled");
    assert_snapshot!(shown(&run, &paused(), &[debt], false), @r#"
    Upgrade                                                         2026-11-22 02:00
    run 20261122-0200-k3f9 on obs1 · up.rhai

    users                                                                   02:00:00
      · list users · 2 in the list
      ✓ suspend all users                                                         4s
        owed: users enabled · users are locked out from 02:00:01
    note: the console is at https://obs1/

    ━━━ point of no return ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
    the index is converted                                                  02:00:05

    start                                                                   02:00:05
      ✗ start service obsr                                                    1m 00s
        service `obsr` is not up after 1m

    error: service `obsr` is not up after 1m
       ╭─[up.rhai:1:1]
     1 │ service_start("obsr");
       · ─────────────
       ╰────
      on      obs1
      stderr  │ address in use

    … paused · past the point of no return
      users out   1m 05s, and still are
      took        1m 06s
      still owed  users enabled on obs1

      status      paused
      started     2026-11-22 02:00 (11m ago) by root
      ended       2026-11-22 02:01 (10m ago)
      version     0.1.0
      still owed  users enabled on obs1, since 2026-11-22 02:00
      resume      takes 3 calls from the record
                  tries again: start service obsr on obs1
                  goes on with the script from there
      next        upgrade-host resume 20261122-0200-k3f9
    "#);
}

#[test]
fn a_run_that_was_taken_up_again_and_finished_is_one_story() {
    let mut bodies: Vec<(i64, Body)> = paused()
        .into_iter()
        .map(|record| (record.at.duration_since(at(0)).as_secs(), record.body))
        .collect();
    let (start, resume) = (call("main", "start", "start"), call("main", "in", "resume"));
    bodies.extend([
        (500, Body::Resumed { pid: 4711 }),
        (501, intent(start.clone(), "start service obsr", None, None)),
        (521, done(start, json!(true))),
        (522, intent(resume.clone(), "resume users", None, Some("users"))),
        (526, done(resume, json!(36))),
        (
            526,
            Body::Ended {
                status: Status::Done,
                failed: vec![],
                message: "all steps are done".into(),
            },
        ),
    ]);
    assert_snapshot!(shown(&run(Status::Done), &records(bodies), &[], false), @r#"
    Upgrade                                                         2026-11-22 02:00
    run 20261122-0200-k3f9 on obs1 · up.rhai

    users                                                                   02:00:00
      · list users · 2 in the list
      ✓ suspend all users                                                         4s
        owed: users enabled · users are locked out from 02:00:01
    note: the console is at https://obs1/

    ━━━ point of no return ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
    the index is converted                                                  02:00:05

    start                                                                   02:00:05
      ✗ start service obsr                                                    1m 00s
        service `obsr` is not up after 1m

    error: service `obsr` is not up after 1m
       ╭─[up.rhai:1:1]
     1 │ service_start("obsr");
       · ─────────────
       ╰────
      on      obs1
      stderr  │ address in use

    … paused · past the point of no return
      users out   1m 05s, and still are
      took        1m 06s

    taken up again                                                  2026-11-22 02:08

    start                                                                   02:08:21
      ✓ start service obsr                                                       20s

    in                                                                      02:08:42
      ✓ resume users                                                              4s
        met: users enabled · users are in again, after 8m 45s

    ✓ done · all steps are done
      users out   8m 45s
      took        26s

      status      done
      started     2026-11-22 02:00 (11m ago) by root
      ended       2026-11-22 02:01 (10m ago)
      version     0.1.0
      resume      nothing is left to do
    "#);
}

#[test]
fn a_run_that_was_cut_off_says_what_is_not_known() {
    let mut cut = paused();
    cut.truncate(9);
    let run = RunInfo { ended: None, ..run(Status::Running) };
    let text = shown(&run, &cut, &[], false);
    assert_snapshot!(text.split("\n\n").last().unwrap(), @"
    status      cut off
    started     2026-11-22 02:00 (11m ago) by root
    version     0.1.0
    resume      takes 3 calls from the record
                finds out what became of: start service obsr on obs1
                goes on with the script from there
    next        upgrade-host resume 20261122-0200-k3f9
    ");
    let text = shown(&run, &cut, &[], true);
    assert_snapshot!(text.split("\n\n").last().unwrap(), @"
    status      running
    started     2026-11-22 02:00 (11m ago) by root
    version     0.1.0
    resume      not now: a process drives the run
    ");
}

#[test]
fn a_rolled_back_run_shows_its_undo() {
    let (suspend, undo) = (
        call("main", "users", "suspend"),
        call("undo main / users / suspend #1", "undo", "resume"),
    );
    let records = records(vec![
        (1, intent(suspend.clone(), "suspend all users", Some(users()), None)),
        (5, done(suspend, json!(36))),
        (
            5,
            Body::UndoBegan { why: "the operator asked for it".into(), failure: None, asked: true },
        ),
        (5, intent(undo.clone(), "resume 36 users", None, Some("users"))),
        (9, done(undo, Value::Null)),
        (9, Body::Ended { status: Status::RolledBack, failed: vec![], message: "undone".into() }),
    ]);
    assert_snapshot!(shown(&run(Status::RolledBack), &records, &[], false), @"
    Upgrade                                                         2026-11-22 02:00
    run 20261122-0200-k3f9 on obs1 · up.rhai

    users                                                                   02:00:01
      ✓ suspend all users                                                         4s
        owed: users enabled · users are locked out from 02:00:01

    undo · the operator asked for it                                        02:00:05
      ↩ resume 36 users                                                           4s
        met: users enabled · users are in again, after 8s
      1 change undone

    ↩ rolled back · undone
      users out   8s
      took        9s

      status      rolled back
      started     2026-11-22 02:00 (11m ago) by root
      ended       2026-11-22 02:01 (10m ago)
      version     0.1.0
      resume      nothing is left to do
    ");
}

#[test]
fn the_clock_of_the_lockout_is_that_of_the_records() {
    let events = crate::report::events_of(&run(Status::Paused), &paused());
    let Some(Event { what: What::RunEnded { downtime_ms, took_ms, debts, next, .. }, .. }) =
        events.last()
    else {
        panic!()
    };
    assert_eq!((*downtime_ms, *took_ms), (65_000, 66_000));
    assert_eq!(debts, &["users enabled on obs1"]);
    assert_eq!(next.as_deref(), Some("upgrade-host resume 20261122-0200-k3f9"));
}

/// A journal of the first format as it was written then; fields that came later are not in it.
#[test]
fn an_old_journal_is_shown() {
    let text = r#"[
      {"seq":1,"at":"2026-11-22T02:00:00Z","body":{"kind":"step","lane":"main","step":"stop","begins":true,"ok":true}},
      {"seq":2,"at":"2026-11-22T02:00:01Z","body":{"kind":"intent","call":{"lane":"main","step":"stop","action":"service_stop","nth":1},"access":"change","target":"obs1","summary":"stop service obsr","action":{"name":"obsr"},"before":{"running":true},"inverse":{"inverse":"action","name":"service_start","action":{"name":"obsr"},"summary":"start service obsr"},"opens":{"key":"service obsr","what":"service obsr running","locks_out":true},"closes":null,"place":{"file":"up.rhai","line":1,"column":1}}},
      {"seq":3,"at":"2026-11-22T02:00:04Z","body":{"kind":"outcome","call":{"lane":"main","step":"stop","action":"service_stop","nth":1},"outcome":{"outcome":"failed","failure":{"kind":"exit","message":"it ended with status 1","code":1}}}},
      {"seq":4,"at":"2026-11-22T02:00:04Z","body":{"kind":"ended","status":"failed","failed":["main / stop / service_stop #1"],"message":"not undone"}}
    ]"#;
    let records: Vec<Record> = serde_json::from_str(text).unwrap();
    let debt = owed("service obsr running");
    assert_snapshot!(shown(&run(Status::Failed), &records, &[debt], false), @"
    Upgrade                                                         2026-11-22 02:00
    run 20261122-0200-k3f9 on obs1 · up.rhai

    stop                                                                    02:00:00
      ✗ stop service obsr                                                         3s
        it ended with status 1
        owed: service obsr running · users are locked out from 02:00:01

    error: it ended with status 1
      status  1

    ✗ failed · not undone
      users out   3s, and still are
      took        4s
      still owed  service obsr running on obs1

      status      failed
      started     2026-11-22 02:00 (11m ago) by root
      ended       2026-11-22 02:01 (10m ago)
      version     0.1.0
      still owed  service obsr running on obs1, since 2026-11-22 02:00
      resume      not any more: it is over
      next        upgrade-host rollback 20261122-0200-k3f9
    ");
}

#[test]
fn an_empty_journal_is_shown() {
    assert!(shown(&run(Status::Running), &[], &[], false).contains("cut off"));
}

#[test]
fn steps_that_no_record_tells_of_are_told_from_the_calls() {
    let calls = [
        (1, call("main", "copy", "rsync"), "copy conf"),
        (2, call("main", "copy > users", "rsync"), "copy users"),
        (3, call("main > each 1 > obs2", "copy", "rsync"), "copy logs"),
        (4, call("main", "stop", "stop"), "stop service obsr"),
    ];
    let bodies = calls.into_iter().flat_map(|(second, call, summary)| {
        [(second, intent(call.clone(), summary, None, None)), (second, done(call, Value::Null))]
    });
    let text = shown(&run(Status::Paused), &records(bodies.collect()), &[], false);
    assert_snapshot!(text.split("\n\n").skip(1).take(2).collect::<Vec<_>>().join("\n\n"), @"
    copy                                                                    02:00:01
      ✓ copy conf
      users                                                                 02:00:02
        ✓ copy users
    obs2 │ ✓ copy logs

    stop                                                                    02:00:04
      ✓ stop service obsr
    ");
}
