use insta::assert_snapshot;
use jiff::tz::TimeZone;

use super::*;
use crate::error::Kind;

const SCRIPT: &str =
    "//! Upgrade\n\nstep(\"stop\", || {\n\tservice_stop(\"obsr\", #{ timeout: \"5m\" });\n});\n";

fn style() -> Style {
    Style { zone: TimeZone::UTC, width: 80, live: true, ..Style::plain() }
}

fn sources(name: &str) -> Option<String> {
    match name {
        "up.rhai" => Some(SCRIPT.to_owned()),
        "upgrade-host.toml" => Some("[targets.obs1]\naddres = \"10.0.0.1\"\n".to_owned()),
        _ => None,
    }
}

fn place(file: &str, line: usize, column: usize) -> Place {
    Place { file: file.into(), line, column }
}

fn failed() -> Failure {
    let mut failed =
        Failure::new(Kind::Exit, "`/etc/init.d/obsr stop` ended with status 2: cannot")
            .with_hint("Look at the init script by hand.")
            .with_target("obs1")
            .at(Some(place("up.rhai", 4, 2)));
    failed.command = Some("sh -c 'first line\nsecond line'".into());
    failed.code = Some(2);
    failed.stdout = "Stopping\n".into();
    failed.stderr = (1..=14).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n");
    failed.call = Some("main / stop / service_stop #1".into());
    failed
}

#[test]
fn a_failed_command_is_shown_with_all_that_is_known() {
    let text = failure(&style(), &failed(), &sources, Some("upgrade-host resume k3f9"));
    assert_snapshot!(text, @r#"
    error: `/etc/init.d/obsr stop` ended with status 2: cannot
       ╭─[up.rhai:4:2]
     3 │ step("stop", || {
     4 │     service_stop("obsr", #{ timeout: "5m" });
       ·     ────────────
     5 │ });
       ╰────
      on      obs1
      ran     sh -c 'first line
              second line'
      status  2
      stdout  │ Stopping
      stderr  … 4 earlier lines
              │ line 5
              │ line 6
              │ line 7
              │ line 8
              │ line 9
              │ line 10
              │ line 11
              │ line 12
              │ line 13
              │ line 14
      call    main / stop / service_stop #1
    help: Look at the init script by hand.
    next: upgrade-host resume k3f9
    "#);
    let ascii = Style { unicode: false, ..style() };
    let text = failure(&ascii, &failed(), &sources, Some("upgrade-host resume k3f9"));
    assert!(text.is_ascii());
    assert_snapshot!(text, @r#"
    error: `/etc/init.d/obsr stop` ended with status 2: cannot
       ,-[up.rhai:4:2]
     3 | step("stop", || {
     4 |     service_stop("obsr", #{ timeout: "5m" });
       :     ^^^^^^^^^^^^
     5 | });
       `----
      on      obs1
      ran     sh -c 'first line
              second line'
      status  2
      stdout  | Stopping
      stderr  ... 4 earlier lines
              | line 5
              | line 6
              | line 7
              | line 8
              | line 9
              | line 10
              | line 11
              | line 12
              | line 13
              | line 14
      call    main / stop / service_stop #1
    help: Look at the init script by hand.
    next: upgrade-host resume k3f9
    "#);
}

#[test]
fn colours_mark_the_word_error_and_the_caret() {
    let failed = Failure::input("unknown option `timeot`").at(Some(place("up.rhai", 4, 24)));
    let text = failure(&Style { color: true, ..style() }, &failed, &sources, None);
    assert_snapshot!(text.replace('\u{1b}', "␛"), @r#"
    ␛[1m␛[31merror␛[0m␛[1m: unknown option `timeot`␛[0m
       ╭─[␛[36;1;4mup.rhai:4:24␛[0m]
     ␛[2m3␛[0m │ step("stop", || {
     ␛[2m4␛[0m │     service_stop("obsr", #{ timeout: "5m" });
       · ␛[35;1m                          ─␛[0m
     ␛[2m5␛[0m │ });
       ╰────
    "#);
}

#[test]
fn a_misspelt_key_of_the_configuration_has_a_caret_too() {
    let failed = Failure::input("unknown key `addres`")
        .with_hint("Did you mean `address`?")
        .at(Some(place("upgrade-host.toml", 2, 1)));
    assert_snapshot!(failure(&style(), &failed, &sources, None), @r#"
    error: unknown key `addres`
       ╭─[upgrade-host.toml:2:1]
     1 │ [targets.obs1]
     2 │ addres = "10.0.0.1"
       · ──────
       ╰────
    help: Did you mean `address`?
    "#);
}

#[test]
fn the_end_of_the_script_can_be_pointed_at() {
    let failed = Failure::input("expecting `}`").at(Some(place("up.rhai", 5, 4)));
    assert_snapshot!(failure(&style(), &failed, &sources, None), @r#"
    error: expecting `}`
       ╭─[up.rhai:5:4]
     4 │     service_stop("obsr", #{ timeout: "5m" });
     5 │ });
       ·    ▲
       ╰────
    "#);
}

#[test]
fn without_a_usable_place_there_is_no_caret() {
    for (file, line, column) in
        [("gone.rhai", 1, 1), ("up.rhai", 99, 1), ("up.rhai", 1, 999), ("up.rhai", 0, 0)]
    {
        let failed = Failure::input("bad").at(Some(place(file, line, column)));
        let text = failure(&style(), &failed, &sources, None);
        assert_eq!(text, format!("error: bad\n  ──▸ {file}:{line}:{column}\n"));
    }
    assert_eq!(failure(&style(), &Failure::input("bad"), &sources, None), "error: bad\n");
}

#[test]
fn a_warning_of_check_points_as_well() {
    let text =
        warning(&style(), "`helper` is never used", Some(&place("up.rhai", 3, 1)), None, &sources);
    assert_snapshot!(text, @r#"
    warning: `helper` is never used
       ╭─[up.rhai:3:1]
     2 │
     3 │ step("stop", || {
       · ────
     4 │     service_stop("obsr", #{ timeout: "5m" });
       ╰────
    "#);
}

#[test]
fn a_script_that_changed_is_told_apart_and_has_ways_on() {
    let changed = Mismatch {
        recorded: Some("main / stop / service_stop #1".into()),
        attempted: "main / stop / service_stop #1".into(),
        differences: vec!["name: \"obsr\" → \"obs\"".into(), "timeout_ms: 300000 → nothing".into()],
        place: Some(place("up.rhai", 4, 2)),
    };
    assert_snapshot!(mismatch(&style(), &changed, "k3f9", &sources), @r#"
    error: the script does not match the journal of run k3f9
       ╭─[up.rhai:4:2]
     3 │ step("stop", || {
     4 │     service_stop("obsr", #{ timeout: "5m" });
       ·     ────────────
     5 │ });
       ╰────
      recorded   main / stop / service_stop #1
      attempted  main / stop / service_stop #1
      differs    name: "obsr" → "obs"
                 timeout_ms: 300000 → nothing
      cause      the call has other arguments than it had: the script, a parameter
                   or the inventory changed

    nothing was done or undone; ways on:
      restore the script as it was, and  upgrade-host resume k3f9
      keep the change, and               upgrade-host resume k3f9 --accept-change
      give up, and                       upgrade-host rollback k3f9
    "#);
}

#[test]
fn the_likely_cause_follows_from_what_differs() {
    let cause_of = |recorded: Option<&str>, difference: &str| {
        cause(&Mismatch {
            recorded: recorded.map(str::to_owned),
            attempted: String::new(),
            differences: vec![difference.to_owned()],
            place: None,
        })
    };
    let causes = [
        cause_of(None, ""),
        cause_of(Some("a"), "step: a → b"),
        cause_of(Some("a"), "action: a → b"),
        cause_of(Some("a"), "number in its step: 1 → 2"),
        cause_of(Some("a"), "target: a → b"),
        cause_of(Some("a"), "name: a → b"),
    ];
    assert_snapshot!(causes.join("\n"), @"
    the script makes more calls here than it did; something that it depends on is not recorded
    a step was renamed, moved, added or removed since the run began
    calls of this step were added, removed or reordered since the run began
    calls of this step were added, removed or reordered since the run began
    the call goes to another target than it did
    the call has other arguments than it had: the script, a parameter or the inventory changed
    ");
}
