//! Parallel lanes, several targets, undo, and what pauses.

use std::time::{Duration, Instant};

use insta::assert_snapshot;

use super::contract::service;
use crate::support::cli::Cli;
use crate::support::sshd::Sshd;

#[test]
fn each_runs_side_by_side_and_returns_in_order() {
    let cli = Cli::new();
    // Every lane waits for all the others to have begun, so this ends only if they run at once.
    let code = r#"
        let all = each(["a", "b", "c"], |name| {
            sh("touch began-" + name + "; until test -e began-a -a -e began-b -a -e began-c; do sleep 0.01; done", #{ timeout: "20s" });
            name + "!"
        });
        print(all);
    "#;
    let said = cli.run(&["-e", code]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains(r#"["a!", "b!", "c!"]"#), "{said:?}");
}

#[test]
fn a_limit_of_lanes_is_kept() {
    let code = r#"
        each(["a", "b", "c"], #{ max: 1 }, |name| sh("mkdir busy && sleep 0.05 && rmdir busy"));
    "#;
    let said = Cli::new().run(&["-e", code]);
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
fn captured_variables_are_each_lane_s_own() {
    let code = r"
        let list = [0];
        let seen = each([1, 2, 3], |n| { list.push(n); list });
        print(seen); print(list);
    ";
    let said = Cli::new().run(&["-e", code]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "[[0, 1], [0, 2], [0, 3]]\n[0]\n"));
}

#[test]
fn a_failure_in_one_lane_lets_the_others_end_and_undoes_all() {
    let cli = Cli::new();
    let code = r#"
        let here = output("pwd");
        each(["a", "b"], |name| {
            write_file(here + "/file-" + name, name);
            if name == "a" { fail("a fails") }
            sh("until test -e file-b; do sleep 0.01; done; touch ended", #{ undo: "touch undone" });
        });
    "#;
    let said = cli.run(&["-e", code]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("error: a fails"), "{said:?}");
    assert!(cli.path("ended").exists() && cli.path("undone").exists());
    assert!(!cli.path("file-a").exists() && !cli.path("file-b").exists());
}

#[test]
fn the_same_runbook_runs_on_two_targets() {
    let Some(sshd) = Sshd::start() else { return };
    let cli = Cli::new();
    let one = sshd.config("id", Some("host"));
    let two = one.replace("targets.box", "targets.two");
    cli.write("c.toml", &format!("{one}params = {{ word = \"first\" }}\n{two}"));
    let words = cli.path("words").display().to_string();
    cli.write(
        "book.rhai",
        &format!("//! A book\nconst RUNBOOK = #{{ params: #{{ word: \"plain\" }} }};\nsh(\"echo \" + param(\"word\") + \" >> {words}\", #{{ undo: \"true\" }});\n"),
    );
    let said = cli.run(&["book.rhai", "--on", "box,two", "--config", "c.toml"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let words = cli.read("words");
    let mut words: Vec<&str> = words.lines().collect();
    words.sort_unstable();
    assert_eq!(words, ["first", "plain"]);
    assert_eq!(cli.runs()[0]["targets"], serde_json::json!(["box", "two"]));
}

#[test]
fn undo_goes_newest_first_with_the_values_of_the_time_of_registration() {
    let cli = Cli::new();
    let code = r#"
        let name = "first";
        on_rollback(|| sh("echo closure " + name + " >> order", #{ undo: "true" }));
        sh("true", #{ undo: "echo command >> order" });
        name = "second";
        on_rollback(|| sh("echo closure " + name + " >> order", #{ undo: "true" }));
        fail("now");
    "#;
    let said = cli.run(&["-e", code]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(cli.read("order"), "closure second\ncommand\nclosure first\n");
}

#[test]
fn what_is_kept_off_stays_off_and_owed_after_a_failure() {
    let cli = Cli::new();
    service(&cli);
    let code = "service_stop(\"web\"); keep_off(\"until checkout\", \"7d\"); fail(\"no\")";
    let said = cli.run(&["-e", code]);
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(!cli.path("up").exists());
    let debts = cli.run(&["debts", "--json"]).json();
    assert_eq!(debts[0]["kept"], "until checkout");
    assert!(debts[0]["due"].is_string());
}

#[test]
fn a_service_that_was_stopped_is_started_by_the_rollback() {
    let cli = Cli::new();
    service(&cli);
    let said = cli.run(&["-e", "service_stop(\"web\"); fail(\"no\")"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(cli.path("up").exists());
    assert_eq!(cli.run(&["debts"]).code, Some(0));
}

#[test]
fn attempt_and_retry_do_as_they_say() {
    let cli = Cli::new();
    let code = r#"
        let tried = attempt(|| fail("no"));
        print(`${tried.ok} ${tried.error.message}`);
        let count = retry(#{ times: 5, pause: "1ms" }, || {
            sh("echo x >> tries; test $(wc -l < tries) -ge 3", #{ undo: "true" });
            output("wc -l < tries")
        });
        print(count);
    "#;
    let said = cli.run(&["-e", code, "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("\"false no\"") && said.out.contains("\"text\":\"3\""), "{said:?}");
}

#[test]
fn a_plan_says_how_far_there_is_a_way_back() {
    let cli = Cli::new();
    let sum = |code: &str| {
        let said = cli.run(&["plan", "-e", code]);
        assert_eq!(said.code, Some(0), "{said:?}");
        said.out
    };
    let change = "sh(\"true\", #{ undo: \"true\" });";
    assert!(sum(change).contains("everything can be undone"));
    let passed = sum(&format!("{change} point_of_no_return(\"x\"); {change}"));
    assert!(passed.contains("everything before the point of no return can be undone"), "{passed}");
    let first = sum(&format!("point_of_no_return(\"x\"); {change}"));
    assert!(first.contains("nothing is undone on its own"), "{first}");
}

#[test]
fn a_plan_does_not_evaluate_what_is_verified() {
    let cli = Cli::new();
    cli.write("book.rhai", "//! A book\nstep(\"check\", || verify(\"the file is there\", || output(\"cat nowhere\") == \"\"));\n");
    let said = cli.run(&["plan", "book.rhai"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("the file is there"), "{said:?}");
}

#[test]
fn a_wait_of_days_ends_the_process_and_is_continued_when_it_is_due() {
    let cli = Cli::new();
    let began = Instant::now();
    assert_snapshot!(cli.code("wait(\"7d\")"), @r#"
    -e                                                                                  2026-01-02 03:04
    run 20260102-0304-wxyz on local · -e

    ■ wait 7d 00h
      paused: continues on 2026-01-02 03:04:05 UTC

    … paused · continues on 2026-01-02 03:04:05 UTC
      took        [time]
      next        upgrade-host resume wxyz
    [exit status: 3]
    "#);
    assert!(began.elapsed() < Duration::from_secs(20));
    let again = cli.run(&["resume", "last"]);
    assert_eq!(again.code, Some(3), "{again:?}");
    assert!(again.out.contains("continues on"), "{again:?}");
}

#[test]
fn a_short_wait_is_sat_out() {
    let said = Cli::new().run(&["-e", "wait(\"20ms\"); print(\"after\")"]);
    assert!(said.code == Some(0) && said.out.contains("after"), "{said:?}");
}

#[test]
fn the_point_of_no_return_is_a_rule_and_a_failure_after_it_pauses() {
    let cli = Cli::new();
    cli.write(
        "book.rhai",
        "//! A book\nstep(\"start\", || {\n  sh(\"true\", #{ undo: \"touch undone\" });\n  point_of_no_return(\"the new version writes\");\n  fail(\"it does not start\");\n});\n",
    );
    assert_snapshot!(cli.show(&["book.rhai", "--yes"]), @r#"
    A book                                                                              2026-01-02 03:04
    run 20260102-0304-wxyz on local · book.rhai

    start                                                                                       03:04:05
      ✓ run `true`

    ━━━ point of no return ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
      the new version writes                                                                    03:04:05

    error: it does not start
       ╭─[book.rhai:5:3]
     4 │   point_of_no_return("the new version writes");
     5 │   fail("it does not start");
       ·   ────
     6 │ });
       ╰────

    … paused · after a failure beyond the point of no return (the new version writes)
      took        [time]
      next        upgrade-host resume wxyz
    [exit status: 3]
    "#);
    assert!(!cli.path("undone").exists());
    let back = cli.run(&["rollback", "last"]);
    assert_eq!(back.code, Some(0), "{back:?}");
    assert!(cli.path("undone").exists());
}

#[test]
fn adapters_may_be_written_in_the_runbook() {
    let code = r#"
        fn mine_users(app) { [#{ id: app.prefix + "anna", owner: "", state: "enabled" }] }
        app("mine", #{ prefix: "x-" });
        print(users()[0].id);
    "#;
    let said = Cli::new().run(&["-e", code]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "x-anna\n"), "{said:?}");
}

/// A failure of a lane is caught; later the run pauses because of another.
const CAUGHT: &str = "attempt(|| each([\"a\"], |x| sh(\"echo tried >>log; test -e ready\", #{ undo: \"true\" }))); \
     sh(\"touch after\", #{ undo: \"rm after\" }); point_of_no_return(\"so it is\"); \
     sh(\"test -e ready\", #{ undo: \"true\" });";

#[test]
fn a_caught_failure_of_a_lane_is_not_tried_again() {
    let cli = Cli::new();
    assert_eq!(cli.run(&["-e", CAUGHT, "--yes"]).code, Some(3));
    cli.write("ready", "");

    let said = cli.run(&["resume", "last"]);

    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(cli.read("log"), "tried\n");
}

#[test]
fn what_came_after_a_caught_failure_of_a_lane_is_undone() {
    let cli = Cli::new();
    assert_eq!(cli.run(&["-e", CAUGHT, "--yes"]).code, Some(3));
    assert!(cli.path("after").exists());

    let said = cli.run(&["rollback", "last"]);

    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!cli.path("after").exists());
}
