use insta::assert_snapshot;
use jiff::tz::TimeZone;

use super::*;

fn style() -> Style {
    Style { zone: TimeZone::UTC, width: 110, live: true, ..Style::plain() }
}

fn at(time: &str) -> Timestamp {
    format!("2026-11-22T{time}Z").parse().unwrap()
}

fn run(id: &str, status: Status, started: &str, ended: Option<&str>) -> RunInfo {
    RunInfo {
        id: format!("20261122-{id}"),
        runbook: "scripts/ahsay_553.rhai".into(),
        title: "Upgrade AhsayOBS to 5.5.3".into(),
        targets: vec!["obs1".into()],
        operator: "root".into(),
        version: "0.1.0".into(),
        status,
        started: at(started),
        ended: ended.map(at),
        due: None,
        settings: serde_json::Value::Null,
        sources: vec![],
    }
}

fn some_runs() -> Vec<RunInfo> {
    vec![
        run("0305-a1b2", Status::Running, "03:05:00", None),
        run("0240-c3d4", Status::Running, "02:40:00", None),
        RunInfo {
            title: String::new(),
            targets: vec!["obs1".into(), "obs2".into(), "obs3".into()],
            ..run("0200-k3f9", Status::RolledBack, "02:00:00", Some("02:05:11"))
        },
        run("0100-zzzz", Status::Done, "01:00:00", Some("01:59:00")),
    ]
}

fn debt(what: &str, locks_out: bool, due: Option<&str>, kept: Option<&str>) -> DebtRow {
    DebtRow {
        target: "obs1".into(),
        what: what.into(),
        since: at("02:00:00"),
        run: "20261122-0200-k3f9".into(),
        due: due.map(at),
        by: "root".into(),
        key: what.into(),
        locks_out,
        kept: kept.map(str::to_owned),
    }
}

#[test]
fn runs_are_told_apart_at_a_glance() {
    let held = |id: &str| id.ends_with("a1b2");
    let text = runs(&style(), &some_runs(), &held, at("03:10:00"));
    assert_snapshot!(text, @"
    run                 status       runbook                    targets           started           took
    20261122-0305-a1b2  running      Upgrade AhsayOBS to 5.5.3  obs1              2026-11-22 03:05  5m 00s
                                                                                  (5m ago)
    20261122-0240-c3d4  cut off      Upgrade AhsayOBS to 5.5.3  obs1              2026-11-22 02:40
                                                                                  (30m ago)
    20261122-0200-k3f9  rolled back  scripts/ahsay_553.rhai     obs1, obs2, obs3  2026-11-22 02:00  5m 11s
                                                                                  (1h ago)
    20261122-0100-zzzz  done         Upgrade AhsayOBS to 5.5.3  obs1              2026-11-22 01:00  59m 00s
                                                                                  (2h ago)
    ");

    let colored =
        runs(&Style { color: true, ..style() }, &some_runs()[1..2], &held, at("03:10:00"));
    assert_snapshot!(colored.replace('\u{1b}', "␛"), @"
    ␛[2mrun                 ␛[0m␛[2mstatus   ␛[0m␛[2mrunbook                    ␛[0m␛[2mtargets  ␛[0m␛[2mstarted           ␛[0m␛[2mtook␛[0m
    ␛[1m20261122-0240-c3d4  ␛[0m␛[38;5;1m␛[1mcut off  ␛[0mUpgrade AhsayOBS to 5.5.3  obs1     2026-11-22 02:40  ␛[2m    ␛[0m
                                                                     (30m ago)
    ");
}

#[test]
fn into_a_pipe_every_row_is_one_line() {
    let narrow = Style { live: false, width: 60, ..style() };
    let text = runs(&narrow, &some_runs(), &|_| false, at("03:10:00"));
    assert_eq!(text.lines().count(), 5);
}

#[test]
fn debts_tell_what_is_overdue_and_who_is_locked_out() {
    let rows = [
        debt("users enabled", true, None, None),
        debt("replication on", false, Some("03:00:00"), Some("until checkout")),
        debt("service helper running", false, Some("23:00:00"), None),
    ];
    assert_snapshot!(debts(&style(), &rows, at("03:10:00")), @"
    target  owed                    since             due               run
    obs1    users enabled           2026-11-22 02:00                    20261122-0200-k3f9
            (users are locked out)  (1h ago)                            by root
    obs1    replication on          2026-11-22 02:00  overdue           20261122-0200-k3f9
            kept: until checkout    (1h ago)          2026-11-22 03:00  by root
                                                      (10m ago)
    obs1    service helper running  2026-11-22 02:00  2026-11-22 23:00  20261122-0200-k3f9
                                    (1h ago)          (in 19h)          by root
    ");
    assert_snapshot!(debts(&Style { width: 80, ..style() }, &rows[..2], at("03:10:00")), @"
    target  owed              since             due               run
    obs1    users enabled     2026-11-22 02:00                    20261122-0200-k3f9
            (users are        (1h ago)                            by root
            locked out)
    obs1    replication on    2026-11-22 02:00  overdue           20261122-0200-k3f9
            kept: until       (1h ago)          2026-11-22 03:00  by root
            checkout                            (10m ago)
    ");
    assert_snapshot!(debts(&Style { width: 160, ..style() }, &rows, at("03:10:00")), @"
    target  owed                                  since                      due                                 run                 by    kept
    obs1    users enabled (users are locked out)  2026-11-22 02:00 (1h ago)                                      20261122-0200-k3f9  root
    obs1    replication on                        2026-11-22 02:00 (1h ago)  overdue 2026-11-22 03:00 (10m ago)  20261122-0200-k3f9  root  until checkout
    obs1    service helper running                2026-11-22 02:00 (1h ago)  2026-11-22 23:00 (in 19h)           20261122-0200-k3f9  root
    ");
    assert_eq!(debts(&style(), &[], at("03:10:00")), "nothing is owed\n");
}

#[test]
fn armed_switches_tell_when_they_fire() {
    let switch = |run: &str, due: &str, fixed: bool| SwitchRow {
        run: format!("20261122-{run}"),
        call: "main//ifdown#1".into(),
        target: "obs1".into(),
        key: Some("interface eth1".into()),
        what: "take eth1 down".into(),
        due: at(due),
        after_ms: 1_800_000,
        fixed,
        by: Some("systemd".into()),
    };
    let rows = [
        switch("0100-zzzz", "03:05:00", false),
        switch("0305-a1b2", "03:35:00", false),
        switch("0305-a1b2", "03:40:00", true),
    ];
    let held = |id: &str| id.ends_with("a1b2");
    assert_snapshot!(switches(&Style { width: 160, ..style() }, &rows, &held, at("03:10:00")), @r"
    target  dead-man switch for  when                                   run
    obs1    take eth1 down       was to fire 2026-11-22 03:05 (5m ago)  20261122-0100-zzzz
    obs1    take eth1 down       fires 30m 00s after the run is gone    20261122-0305-a1b2
    obs1    take eth1 down       fires 2026-11-22 03:40 (in 30m)        20261122-0305-a1b2
    ");
    assert_eq!(switches(&style(), &[], &held, at("03:10:00")), "");
}

#[test]
fn targets_and_primitives_are_listed() {
    let rows = [
        Host {
            name: "obs1".into(),
            address: "10.0.0.11:2222".into(),
            user: "root".into(),
            tags: vec!["prod".into(), "berlin".into()],
            via: vec!["jump".into(), "gate".into()],
        },
        Host {
            name: "obs2".into(),
            address: "obs2.example.org".into(),
            user: "admin".into(),
            ..Host::default()
        },
    ];
    assert_snapshot!(hosts(&style(), &rows), @"
    name  address           user   tags          via
    obs1  10.0.0.11:2222    root   prod, berlin  jump → gate
    obs2  obs2.example.org  admin
    ");
    let entry = |family: &str, name: &str, summary: &str| Entry {
        family: family.into(),
        name: name.into(),
        summary: summary.into(),
    };
    let rows = [
        entry("service", "service_stop", "Stops a service and verifies that it is down."),
        entry("service", "service_start", "Starts a service."),
        entry("flow", "step", "Names a group of calls."),
    ];
    assert_snapshot!(docs(&style(), &rows), @"
    family   name           what it does
    service  service_stop   Stops a service and verifies that it is down.
             service_start  Starts a service.
    flow     step           Names a group of calls.
    ");
    assert!(
        docs(&Style { live: false, ..style() }, &rows)
            .lines()
            .skip(1)
            .all(|line| line.starts_with(['s', 'f']))
    );
}
