use insta::assert_snapshot;
use jiff::tz::TimeZone;

use super::*;
use crate::call::Access;
use crate::error::{Failure, Kind, Place};
use crate::event::{CallEnd, PlanState, Planned, Progress, Status};
use crate::report::text_of;

const SCRIPT: &str = "\
step(\"stop\", || {
  service_stop(\"obsr\", #{ timeout: \"5m\" });
});
";

fn style() -> Style {
    Style { zone: TimeZone::UTC, width: 80, live: true, ..Style::plain() }
}

/// Tells a story second by second, and shows what a terminal makes of it.
struct Story {
    terminal: Terminal,
    shown: String,
    color: bool,
    at: Timestamp,
    lane: String,
    step: Vec<String>,
    target: String,
}

impl Story {
    fn new(style: Style) -> Self {
        let color = style.color;
        let terminal = Terminal::new(style)
            .with_sources(|name| (name == "scripts/ahsay_553.rhai").then(|| SCRIPT.to_owned()));
        Self {
            terminal,
            shown: String::new(),
            color,
            at: "2026-11-22T02:00:00Z".parse().unwrap(),
            lane: "main".into(),
            step: Vec::new(),
            target: "obs1".into(),
        }
    }

    fn tell(&mut self, what: What) -> &mut Self {
        let event = Event {
            at: self.at,
            run: "20261122-0200-k3f9".into(),
            lane: self.lane.clone(),
            step: self.step.join(" > "),
            target: self.target.clone(),
            what,
        };
        let lines = self.terminal.event(&event);
        self.shown.push_str(&text_of(&lines, self.color));
        self
    }

    fn later(&mut self, ms: i64) -> &mut Self {
        self.at += jiff::SignedDuration::from_millis(ms);
        self
    }

    fn begin(&mut self, mode: &str, targets: &[&str]) -> &mut Self {
        self.tell(What::RunBegan {
            title: "Upgrade AhsayOBS to 5.5.3".into(),
            runbook: "scripts/ahsay_553.rhai".into(),
            targets: targets.iter().map(|target| (*target).to_owned()).collect(),
            mode: mode.into(),
        })
    }

    fn step(&mut self, name: &str, body: impl FnOnce(&mut Self)) -> &mut Self {
        self.step.push(name.into());
        let began = self.at;
        self.tell(What::StepBegan);
        body(self);
        let took_ms = u64::try_from(self.at.duration_since(began).as_millis()).unwrap();
        self.tell(What::StepEnded { ok: true, took_ms });
        self.step.pop();
        self
    }

    fn on(&mut self, lane: &str, target: &str) -> &mut Self {
        (self.lane, self.target) = (lane.into(), target.into());
        self
    }

    fn id(&self, summary: &str) -> String {
        format!("{} / {} / {summary} #1", self.lane, self.step.join(" > "))
    }

    fn start(&mut self, access: Access, summary: &str) -> &mut Self {
        let call = self.id(summary);
        let place = Place { file: "scripts/ahsay_553.rhai".into(), line: 2, column: 3 };
        self.tell(What::CallBegan { call, summary: summary.into(), access, place: Some(place) })
    }

    fn end(
        &mut self,
        summary: &str,
        end: CallEnd,
        result: Option<&str>,
        took_ms: u64,
    ) -> &mut Self {
        let call = self.id(summary);
        let result = result.map(str::to_owned);
        self.tell(What::CallEnded { call, summary: summary.into(), end, result, took_ms })
    }

    fn call(&mut self, access: Access, summary: &str, result: Option<&str>, ms: i64) -> &mut Self {
        let took = u64::try_from(ms).unwrap();
        self.start(access, summary).later(ms).end(summary, CallEnd::Done, result, took)
    }

    fn line(&mut self, summary: &str, error: bool, line: &str) -> &mut Self {
        let call = self.id(summary);
        self.tell(What::Output { call, error, line: line.into() })
    }

    fn recalled(&mut self, summary: &str) -> &mut Self {
        self.end(summary, CallEnd::Recalled, None, 0)
    }

    fn owe(&mut self, what: &str, locks_out: bool) -> &mut Self {
        self.tell(What::DebtOpened { what: what.into(), locks_out })
    }

    fn meet(&mut self, what: &str, locks_out: bool) -> &mut Self {
        self.tell(What::DebtClosed { what: what.into(), locks_out })
    }

    fn progress(&mut self, summary: &str, progress: Progress) -> &mut Self {
        let call = self.id(summary);
        self.tell(What::CallProgress { call, progress })
    }

    fn finish(&mut self, status: Status, message: &str) -> &mut Self {
        self.tell(What::RunEnded {
            status,
            message: message.into(),
            failure: None,
            downtime_ms: 192_000,
            took_ms: 3_720_000,
            debts: Vec::new(),
            next: None,
        })
    }

    fn live(&self) -> String {
        let live = self.terminal.live(self.at).unwrap_or_default();
        assert!(live.lines.iter().all(|line| line.width() <= self.terminal.style.width));
        text_of(&live.lines, self.color)
    }

    /// The upgrade as it should go.
    fn upgrade(&mut self) -> &mut Self {
        self.begin("run", &["obs1"]);
        self.step("replication off", |story| {
            story.call(Access::Read, "look at replication", Some("on"), 210);
            story.start(Access::Change, "switch replication off");
            story.owe("replication on", false).later(1240);
            story.end("switch replication off", CallEnd::Done, None, 1240);
        });
        self.step("first copy", |story| {
            story.call(
                Access::Change,
                "copy /usr/local/obs/conf to /backup/conf",
                Some("1204 files, 3.06 GiB"),
                125_000,
            );
            story.call(
                Access::Change,
                "copy /usr/local/obs/system to /backup/system",
                Some("12 files, 3.00 MiB"),
                4100,
            );
        });
        self.step("keep users out", |story| {
            story.start(Access::Change, "suspend all users").owe("users enabled", true).later(4000);
            story.end("suspend all users", CallEnd::Done, Some("36 users"), 4000);
        });
        self.step("stop", |story| {
            story.start(Access::Change, "stop service obsr").owe("service obsr running", true);
            story.line("stop service obsr", false, "Stopping obsr: \x1b[32mok\x1b[0m");
            story.line("stop service obsr", true, "rm: cannot remove '/var/run/obsr.pid'");
            story.later(9000).end("stop service obsr", CallEnd::Done, None, 9000);
            story.start(Access::Change, "stop service obsr-helper").later(30);
            story.end("stop service obsr-helper", CallEnd::Already, None, 30);
        });
        self.tell(What::PointOfNoReturn {
            why: "the new version has started and has converted the index".into(),
        });
        self.step("start", |story| {
            story.call(Access::Change, "start service obsr", None, 21_000);
            story.meet("service obsr running", true);
            story.call(
                Access::Wait,
                "wait for \"index complete\" in SystemLog",
                Some("36 of 36 users"),
                154_000,
            );
            story.tell(What::Warning { text: "2 users have a quota of 0".into() });
        });
        self.step("let users in", |story| {
            story
                .call(Access::Change, "resume users", Some("36 users"), 4000)
                .meet("users enabled", true);
        });
        self.step("check out", |story| {
            story.tell(What::Note { text: "the web console is at https://obs1/".into() });
            story.call(Access::Ask, "did the check-out go well?", Some("yes"), 31_000);
            story
                .call(Access::Change, "switch replication on", None, 900)
                .meet("replication on", false);
        });
        self.step("clients", |_| {});
        self.finish(Status::Done, "all 8 steps are done")
    }
}

#[test]
fn of_many_targets_the_first_are_named() {
    let names: Vec<String> = (0..1000).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut story = Story::new(style());
    story.begin("run", &names);
    assert!(
        story.shown.contains(" on t0, t1, t2, t3, t4, t5, t6, t7 and 992 more ·"),
        "{}",
        story.shown
    );
}

#[test]
fn an_upgrade_reads_from_top_to_bottom() {
    let mut story = Story::new(style());
    story.upgrade();
    assert_snapshot!(story.shown, @r#"
    Upgrade AhsayOBS to 5.5.3                                       2026-11-22 02:00
    run 20261122-0200-k3f9 on obs1 · scripts/ahsay_553.rhai

    replication off                                                         02:00:00
      · look at replication · on
      ✓ switch replication off                                                  1.2s
        owed: replication on

    first copy                                                              02:00:01
      ✓ copy /usr/local/obs/conf to /backup/conf · 1204 files, 3.06 GiB       2m 05s
      ✓ copy /usr/local/obs/system to /backup/system · 12 files, 3.00 MiB       4.1s
                                                                            Σ 2m 09s

    keep users out                                                          02:02:10
      ✓ suspend all users · 36 users                                              4s
        owed: users enabled · users are locked out from 02:02:10

    stop                                                                    02:02:14
      ✓ stop service obsr                                                         9s
        │ Stopping obsr: ok
        │ rm: cannot remove '/var/run/obsr.pid'
        owed: service obsr running
      · stop service obsr-helper · already so

    ━━━ point of no return ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
    the new version has started and has converted the index                 02:02:23

    start                                                                   02:02:23
      ✓ start service obsr                                                       21s
        met: service obsr running
      ✓ wait for "index complete" in SystemLog · 36 of 36 users               2m 34s
      warning: 2 users have a quota of 0
                                                                            Σ 2m 55s

    let users in                                                            02:05:18
      ✓ resume users · 36 users                                                   4s
        met: users enabled · users are in again, after 3m 12s

    check out                                                               02:05:22
      note: the web console is at https://obs1/
      ? did the check-out go well? · yes                                         31s
      ✓ switch replication on
        met: replication on

    clients                                                                 02:05:54
      nothing to do

    ✓ done · all 8 steps are done
      users out   3m 12s
      took        1h 02m
    "#);
}

#[test]
fn an_upgrade_reads_in_plain_ascii() {
    let mut story = Story::new(Style { unicode: false, ..style() });
    story.upgrade();
    assert!(story.shown.is_ascii());
    assert_snapshot!(story.shown, @r#"
    Upgrade AhsayOBS to 5.5.3                                       2026-11-22 02:00
    run 20261122-0200-k3f9 on obs1 - scripts/ahsay_553.rhai

    replication off                                                         02:00:00
      - look at replication - on
      + switch replication off                                                  1.2s
        owed: replication on

    first copy                                                              02:00:01
      + copy /usr/local/obs/conf to /backup/conf - 1204 files, 3.06 GiB       2m 05s
      + copy /usr/local/obs/system to /backup/system - 12 files, 3.00 MiB       4.1s
                                                                            = 2m 09s

    keep users out                                                          02:02:10
      + suspend all users - 36 users                                              4s
        owed: users enabled - users are locked out from 02:02:10

    stop                                                                    02:02:14
      + stop service obsr                                                         9s
        | Stopping obsr: ok
        | rm: cannot remove '/var/run/obsr.pid'
        owed: service obsr running
      - stop service obsr-helper - already so

    === point of no return =========================================================
    the new version has started and has converted the index                 02:02:23

    start                                                                   02:02:23
      + start service obsr                                                       21s
        met: service obsr running
      + wait for "index complete" in SystemLog - 36 of 36 users               2m 34s
      warning: 2 users have a quota of 0
                                                                            = 2m 55s

    let users in                                                            02:05:18
      + resume users - 36 users                                                   4s
        met: users enabled - users are in again, after 3m 12s

    check out                                                               02:05:22
      note: the web console is at https://obs1/
      ? did the check-out go well? - yes                                         31s
      + switch replication on
        met: replication on

    clients                                                                 02:05:54
      nothing to do

    + done - all 8 steps are done
      users out   3m 12s
      took        1h 02m
    "#);
}

#[test]
fn a_narrow_terminal_breaks_lines_below_their_own_text() {
    let mut story = Story::new(Style { width: 60, ..style() });
    story.begin("run", &["obs1"]).step("first copy", |story| {
        story.call(
            Access::Change,
            "copy /usr/local/obs/conf to /backup/20261122/conf",
            Some("1204 files, 3.06 GiB"),
            125_000,
        );
        story.start(Access::Change, "sh").line(
            "sh",
            false,
            "a line of output that is much too long for a terminal this narrow, and goes on",
        );
        story.end("sh", CallEnd::Done, None, 20);
    });
    assert!(story.shown.lines().all(|line| line.chars().count() <= 60));
    assert_snapshot!(story.shown, @"
    Upgrade AhsayOBS to 5.5.3                   2026-11-22 02:00
    run 20261122-0200-k3f9 on obs1 · scripts/ahsay_553.rhai

    first copy                                          02:00:00
      ✓ copy /usr/local/obs/conf to                       2m 05s
        /backup/20261122/conf · 1204 files, 3.06 GiB
      ✓ sh
        │ a line of output that is much too long for a terminal
          this narrow, and goes on
    ");
}

fn failure() -> Failure {
    let mut failure = Failure::new(Kind::Timeout, "service `obsr` still runs after 5m")
        .with_hint("Look at process 4711; stop it by hand, then resume.")
        .with_target("obs1")
        .at(Some(Place { file: "scripts/ahsay_553.rhai".into(), line: 2, column: 3 }));
    failure.command = Some("/etc/init.d/obsr stop".into());
    failure.code = Some(1);
    failure.stderr = "Stopping obsr\nstill there: 4711\n".into();
    failure.call = Some("main / stop / service_stop #1".into());
    failure
}

#[test]
fn a_failure_is_undone_and_explained() {
    let mut story = Story::new(style());
    story.begin("run", &["obs1"]);
    story.step("keep users out", |story| {
        story.start(Access::Change, "suspend all users").owe("users enabled", true).later(4000);
        story.end("suspend all users", CallEnd::Done, Some("36 users"), 4000);
    });
    story.step("stop", |story| {
        story.start(Access::Change, "stop service obsr").later(300_000);
        for number in 1..=8 {
            story.line("stop service obsr", false, &format!("waiting for process 4711 ({number})"));
        }
        story.end("stop service obsr", CallEnd::Failed(failure()), None, 300_000);
    });
    story.tell(What::UndoBegan { why: "step `stop` failed".into() });
    story.step.push("undo".into());
    story.on("undo main / keep users out / suspend_all_users #1", "obs1");
    story
        .call(Access::Change, "resume 36 users", Some("36 users"), 4200)
        .meet("users enabled", true);
    story.on("main", "obs1").step.pop();
    story.tell(What::UndoEnded { done: 1, failed: 0 });
    story.tell(What::RunEnded {
        status: Status::RolledBack,
        message: "what the run had changed is undone".into(),
        failure: Some(failure()),
        downtime_ms: 308_200,
        took_ms: 311_000,
        debts: vec!["replication on (obs1)".into(), "clients told (obs1)".into()],
        next: Some("upgrade-host run scripts/ahsay_553.rhai --on obs1".into()),
    });
    assert_snapshot!(story.shown, @r#"
    Upgrade AhsayOBS to 5.5.3                                       2026-11-22 02:00
    run 20261122-0200-k3f9 on obs1 · scripts/ahsay_553.rhai

    keep users out                                                          02:00:00
      ✓ suspend all users · 36 users                                              4s
        owed: users enabled · users are locked out from 02:00:00

    stop                                                                    02:00:04
      ✗ stop service obsr                                                     5m 00s
        … 3 earlier lines
        │ waiting for process 4711 (4)
        │ waiting for process 4711 (5)
        │ waiting for process 4711 (6)
        │ waiting for process 4711 (7)
        │ waiting for process 4711 (8)
        service `obsr` still runs after 5m

    undo · step `stop` failed                                               02:05:04
      ↩ resume 36 users · 36 users                                              4.2s
        met: users enabled · users are in again, after 5m 08s
      1 change undone

    error: service `obsr` still runs after 5m
       ╭─[scripts/ahsay_553.rhai:2:3]
     1 │ step("stop", || {
     2 │   service_stop("obsr", #{ timeout: "5m" });
       ·   ────────────
     3 │ });
       ╰────
      on      obs1
      ran     /etc/init.d/obsr stop
      status  1
      stderr  │ Stopping obsr
              │ still there: 4711
      call    main / stop / service_stop #1
    help: Look at process 4711; stop it by hand, then resume.

    ↩ rolled back · what the run had changed is undone
      users out   5m 08s
      took        5m 11s
      still owed  replication on (obs1)
                  clients told (obs1)
      next        upgrade-host run scripts/ahsay_553.rhai --on obs1
    "#);
}

#[test]
fn a_resumed_run_folds_what_comes_from_the_record() {
    let mut story = Story::new(style());
    story.begin("resume", &["obs1"]);
    let debt = DebtRow {
        target: "obs1".into(),
        what: "users enabled".into(),
        since: story.at - jiff::SignedDuration::from_mins(12),
        run: String::new(),
        due: None,
        by: String::new(),
        key: String::new(),
        locks_out: true,
        kept: None,
    };
    let lines = story.terminal.owed_before(&[debt], story.at);
    story.shown.push_str(&text_of(&lines, false));
    story.step("replication off", |story| {
        story.recalled("look at replication").recalled("switch replication off");
    });
    story.step("first copy", |story| {
        story.step("conf", |story| {
            story.recalled("copy");
        });
    });
    story.step("stop", |story| {
        story.recalled("stop service obsr");
        story.call(Access::Change, "stop service helper", None, 2000);
        story.recalled("odd");
    });
    story.step("let users in", |story| {
        story
            .call(Access::Change, "resume users", Some("36 users"), 4000)
            .meet("users enabled", true);
    });
    story.finish(Status::Done, "all steps are done");
    assert_snapshot!(story.shown, @"
    Upgrade AhsayOBS to 5.5.3                                       2026-11-22 02:00
    resumes run 20261122-0200-k3f9 on obs1 · scripts/ahsay_553.rhai

    still owed: users enabled on obs1, since 2026-11-22 01:48 (12m ago) · users are
      locked out

    ↺ 4 calls in 3 steps from the record

    stop                                                                    02:00:00
      ✓ stop service helper                                                       2s
      ↺ 1 call from the record

    let users in                                                            02:00:02
      ✓ resume users · 36 users                                                   4s
        met: users enabled · users are in again, after 12m 06s

    ✓ done · all steps are done
      users out   3m 12s
      took        1h 02m
    ");
}

#[test]
fn parallel_lanes_carry_their_target() {
    let mut story = Story::new(style());
    story.begin("run", &["obs1", "backup-2"]);
    story.call(Access::Read, "look at service obsr", Some("running"), 10);
    story.step("stop all", |story| {
        story.on("main > each 1 > obs1", "obs1").step.push("stop".into());
        story.tell(What::StepBegan).start(Access::Change, "stop service obsr");
        story.owe("service obsr running", true);
        story.on("main > each 1 > backup-2", "backup-2").tell(What::StepBegan);
        story
            .start(Access::Change, "stop service obsr")
            .owe("service obsr running", true)
            .later(1500);
        assert_snapshot!(story.live(), @"
        obs1     │   ⠴ stop service obsr                                            0:01
        backup-2 │   ⠴ stop service obsr                                            0:01
          users locked out for 0:01 · run 0:01
        ");
        story.end("stop service obsr", CallEnd::Done, None, 1500);
        story.on("main > each 1 > obs1", "obs1").later(500);
        story.end("stop service obsr", CallEnd::Done, None, 2000);
        story.step.pop();
        story.on("main", "obs1");
    });
    assert_snapshot!(story.shown, @"
    Upgrade AhsayOBS to 5.5.3                                       2026-11-22 02:00
    run 20261122-0200-k3f9 on obs1, backup-2 · scripts/ahsay_553.rhai

    · look at service obsr on obs1 · running

    stop all                                                                02:00:00
    obs1     │ stop                                                         02:00:00
    backup-2 │ stop                                                         02:00:00
    backup-2 │   ✓ stop service obsr                                            1.5s
    backup-2 │     owed: service obsr running
    obs1     │   ✓ stop service obsr                                              2s
    obs1     │     owed: service obsr running · users are locked out from 02:00:00
    ");
}

fn copied(done: u64, message: &str) -> Progress {
    Progress {
        done: done << 20,
        total: Some(3072),
        unit: "bytes".into(),
        message: message.into(),
        eta_seconds: None,
    }
}

#[test]
fn live_lines_tell_how_far_it_is_and_how_long_users_are_out() {
    let mut story = Story::new(style());
    story.begin("run", &["obs1"]).step.push("copy".into());
    story
        .tell(What::StepBegan)
        .start(Access::Change, "copy conf to /backup")
        .owe("users enabled", true);
    let total = |progress: Progress| Progress { total: Some(3 << 30), ..progress };
    story.later(1000).progress("copy conf to /backup", total(copied(40, "conf/a")));
    story.later(4000).progress("copy conf to /backup", total(copied(1240, "conf/users/x")));
    assert_snapshot!(story.live(), @"
    ⠋ copy conf to /backup   40%  1.21 of 3.00 GiB  300 MiB/s  6s to go       0:05
      conf/users/x
    users locked out for 0:05 · run 0:05
    ");

    story.terminal.style.width = 140;
    story.start(Access::Wait, "wait for the index").later(37_000);
    let index = Progress {
        done: 17,
        total: Some(36),
        unit: "users".into(),
        message: String::new(),
        eta_seconds: Some(75),
    };
    story.progress("wait for the index", index);
    story.line("wait for the index", true, "WARN slow disk");
    assert_snapshot!(story.live(), @"
    ⠋ copy conf to /backup  ━━━━━━━━────────────   40%  1.21 of 3.00 GiB                          0:42
      conf/users/x
    ⠋ wait for the index  ━━━━━━━━━───────────   47%  17 of 36 users  1m 15s to go                0:37
      WARN slow disk
    users locked out for 0:42 · run 0:42
    ");
    story.terminal.style.width = 60;
    assert_snapshot!(story.live(), @"
    ⠋ copy conf to /backup   40%  1.21 of 3.00 GiB        0:42
      conf/users/x
    ⠋ wait for the index   47%  1m 15s to go              0:37
      WARN slow disk
    users locked out for 0:42 · run 0:42
    ");
}

#[test]
fn a_pipe_gets_plain_lines_now_and_then() {
    let mut story = Story::new(Style { live: false, ..style() });
    story.begin("run", &["obs1"]).step.push("copy".into());
    story.tell(What::StepBegan).start(Access::Change, "copy conf to /backup");
    for second in 1..=25 {
        let progress = Progress { total: Some(3 << 30), ..copied(40 * second, "") };
        story.later(1000).progress("copy conf to /backup", progress);
    }
    story.later(1000).end("copy conf to /backup", CallEnd::Done, Some("3.00 GiB"), 26_000);
    story.start(Access::Change, "stop service obsr");
    for _ in 0..100 {
        story.later(1000);
        let lines = story.terminal.still(story.at);
        story.shown.push_str(&text_of(&lines, false));
    }
    assert_eq!(story.live(), "");
    assert_snapshot!(story.shown, @"
    Upgrade AhsayOBS to 5.5.3                                       2026-11-22 02:00
    run 20261122-0200-k3f9 on obs1 · scripts/ahsay_553.rhai

    copy                                                                    02:00:00
      … copy conf to /backup · 400 MiB of 3.00 GiB · 40.0 MiB/s · 1m 06s to go
      … copy conf to /backup · 800 MiB of 3.00 GiB · 40.0 MiB/s · 56s to go
      ✓ copy conf to /backup · 3.00 GiB                                          26s
      … stop service obsr · goes on                                             0:10
      … stop service obsr · goes on                                             1:10
    ");
}

#[test]
fn everything_is_told_when_asked_for() {
    let mut story = Story::new(Style { verbose: true, ..style() });
    story.begin("resume", &["obs1"]);
    story.step("stop", |story| {
        story.recalled("look at service obsr").start(Access::Change, "stop service obsr");
        for number in 1..=7 {
            story.line("stop service obsr", number == 7, &format!("line {number}"));
        }
        story.end("stop service obsr", CallEnd::Stopped("interrupted".into()), None, 1500);
    });
    assert_snapshot!(story.shown, @"
    Upgrade AhsayOBS to 5.5.3                                       2026-11-22 02:00
    resumes run 20261122-0200-k3f9 on obs1 · scripts/ahsay_553.rhai

    stop                                                                    02:00:00
      ↺ look at service obsr
      ▸ stop service obsr                                 scripts/ahsay_553.rhai:2:3
        │ line 1
        │ line 2
        │ line 3
        │ line 4
        │ line 5
        │ line 6
        │ line 7
      ■ stop service obsr                                                       1.5s
        interrupted
    ");
}

#[test]
fn colours_are_few_and_mean_something() {
    let mut story = Story::new(Style { color: true, ..style() });
    story.begin("run", &["obs1"]).step("stop", |story| {
        story.call(Access::Read, "look", Some("on"), 10);
        story.start(Access::Change, "stop service obsr").owe("service obsr running", true);
        story.end("stop service obsr", CallEnd::Done, None, 1500);
    });
    assert_snapshot!(story.shown.replace('\u{1b}', "␛"), @"
    ␛[1mUpgrade AhsayOBS to 5.5.3␛[0m                                       ␛[2m2026-11-22 02:00␛[0m
    run 20261122-0200-k3f9 on obs1␛[2m · scripts/ahsay_553.rhai␛[0m

    ␛[1mstop␛[0m                                                                    ␛[2m02:00:00␛[0m
      ␛[2m·␛[0m ␛[2mlook · on␛[0m
      ␛[32m✓␛[0m stop service obsr                                                       ␛[2m1.5s␛[0m
        ␛[1m␛[33mowed␛[0m: service obsr running␛[2m · ␛[0m␛[1m␛[33musers are locked out from 02:00:00␛[0m
    ");
}

#[test]
fn a_plan_says_what_it_would_do_and_what_has_no_way_back() {
    let mut story = Story::new(style());
    story.begin("plan", &["obs1"]);
    let planned =
        |story: &mut Story, access, summary: &str, state, changes: &[&str], undo: Option<&str>| {
            let what = What::CallPlanned {
                call: story.id(summary),
                summary: summary.into(),
                access,
                planned: Planned {
                    state,
                    changes: changes.iter().map(|change| (*change).to_owned()).collect(),
                    undo: undo.map(str::to_owned),
                    drift: None,
                },
            };
            story.tell(what);
        };
    story.tell(What::Note { text: "there is no window: the upgrade begins at once".into() });
    story.step("first copy", |story| {
        story.call(Access::Read, "look at the space on /backup", Some("41.2 GiB free"), 20);
        let files: Vec<String> =
            (1..=15).map(|n| format!(">f+++++++++ conf/user{n}.xml")).collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        planned(
            story,
            Access::Change,
            "copy conf to /backup/conf",
            PlanState::Would,
            &files,
            Some("nothing to undo: the copy may stay"),
        );
    });
    story.step("stop", |story| {
        planned(
            story,
            Access::Change,
            "stop service obsr",
            PlanState::Would,
            &["process 4711 ends"],
            Some("undo: start service obsr"),
        );
        planned(story, Access::Change, "stop service helper", PlanState::Already, &[], None);
    });
    story.step("start", |story| {
        planned(
            story,
            Access::Change,
            "unpack obsr-5.5.3.tar.gz over /usr/local/obs",
            PlanState::Would,
            &["412 files"],
            Some("cannot be undone: the old files are in the copy"),
        );
        planned(story, Access::Wait, "wait for \"index complete\"", PlanState::Waits, &[], None);
        planned(story, Access::Ask, "did the check-out go well?", PlanState::Asks, &[], None);
        story.tell(What::Warning { text: "the window is 30m, listing all homes takes 41m".into() });
    });
    story.finish(Status::Planned, "");
    assert_snapshot!(story.shown, @r#"
    Upgrade AhsayOBS to 5.5.3                                       2026-11-22 02:00
    plan of scripts/ahsay_553.rhai on obs1 · reads for real, changes nothing

    note: there is no window: the upgrade begins at once

    first copy
      · look at the space on /backup · 41.2 GiB free
      → copy conf to /backup/conf
          >f+++++++++ conf/user1.xml
          >f+++++++++ conf/user2.xml
          >f+++++++++ conf/user3.xml
          >f+++++++++ conf/user4.xml
          >f+++++++++ conf/user5.xml
          >f+++++++++ conf/user6.xml
          >f+++++++++ conf/user7.xml
          >f+++++++++ conf/user8.xml
          >f+++++++++ conf/user9.xml
          >f+++++++++ conf/user10.xml
          >f+++++++++ conf/user11.xml
          >f+++++++++ conf/user12.xml
          … 3 more
          nothing to undo: the copy may stay

    stop
      → stop service obsr
          process 4711 ends
          undo: start service obsr
      · stop service helper · already so

    start
      → unpack obsr-5.5.3.tar.gz over /usr/local/obs
          412 files
          cannot be undone: the old files are in the copy
      … wait for "index complete"
      ? did the check-out go well?
      warning: the window is 30m, listing all homes takes 41m

    plan  3 changes, 1 already so, 1 wait, 1 question
          1 cannot be undone: unpack obsr-5.5.3.tar.gz over /usr/local/obs
          note: there is no window: the upgrade begins at once
          warning: the window is 30m, listing all homes takes 41m
          nothing was changed
    "#);
}
