//! `runs prune`: what it removes, what it never removes, and what it says.

use insta::assert_snapshot;

use crate::support::cli::Cli;

/// A run of each kind, the oldest first: done, rolled back, failed, failed and owing, paused.
fn some() -> Cli {
    let cli = Cli::new();
    super::contract::service(&cli);
    for (code, status) in [
        ("sh(\"true\")", 0),
        ("sh(\"true\", #{ undo: \"true\" }); fail(\"no\")", 1),
        ("sh(\"true\"); fail(\"no\")", 4),
        ("service_stop(\"web\")", 4),
        ("ask(\"Which?\")", 3),
    ] {
        let said = cli.run(&["-e", code]);
        assert_eq!(said.code, Some(status), "{code}: {said:?}");
    }
    cli
}

fn statuses(cli: &Cli) -> Vec<String> {
    cli.runs().iter().map(|run| run["status"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn it_says_what_it_would_remove_and_removes_only_when_told() {
    let cli = some();
    assert_snapshot!(cli.show(&["runs", "prune", "--older", "0s", "--dry-run"]), @r#"
    run                 status       runbook  targets  started                      took
    20260102-0304-wxyz  rolled back  -e       local    2026-01-02 03:04 (just now)  [time]
    20260102-0304-wxyz  done         -e       local    2026-01-02 03:04 (just now)  [time]
    [exit status: 0]
    "#);
    assert_snapshot!(cli.show(&["runs", "prune", "--older", "0s"]), @r#"
    run                 status       runbook  targets  started                      took
    20260102-0304-wxyz  rolled back  -e       local    2026-01-02 03:04 (just now)  [time]
    20260102-0304-wxyz  done         -e       local    2026-01-02 03:04 (just now)  [time]
    --- stderr
    error: nothing was removed: give --yes to remove these runs
    [exit status: 2]
    "#);
    assert_eq!(cli.runs().len(), 5);
    assert_snapshot!(cli.show(&["runs", "prune", "--older", "0s", "--yes"]), @r#"
    run                 status       runbook  targets  started                      took
    20260102-0304-wxyz  rolled back  -e       local    2026-01-02 03:04 (just now)  [time]
    20260102-0304-wxyz  done         -e       local    2026-01-02 03:04 (just now)  [time]
    removed 2 runs
    [exit status: 0]
    "#);
    assert_eq!(statuses(&cli), ["paused", "failed", "failed"]);
    assert_snapshot!(cli.show(&["runs", "prune", "--older", "0s", "--yes"]), @r#"
    no run is to be removed
    [exit status: 0]
    "#);
    assert_eq!(cli.run(&["resume", "last", "--yes"]).code, Some(3));
}

#[test]
fn what_failed_goes_when_that_is_said_and_what_owes_something_never() {
    let cli = some();
    let said = cli.run(&["runs", "prune", "--keep", "0", "--failed", "--yes", "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let rows = said.json();
    let rows: Vec<_> =
        rows.as_array().unwrap().iter().map(|row| (&row["status"], &row["removed"])).collect();
    let gone = serde_json::Value::Bool(true);
    let names = ["failed", "rolled back", "done"].map(serde_json::Value::from);
    assert_eq!(rows, [(&names[0], &gone), (&names[1], &gone), (&names[2], &gone)]);
    assert_eq!(statuses(&cli), ["paused", "failed"]);
    assert_eq!(cli.run(&["debts", "--json"]).json().as_array().unwrap().len(), 1);
}

#[test]
fn only_what_is_old_enough_goes_and_the_newest_stay() {
    let cli = some();
    let journal = rusqlite::Connection::open(cli.state().join("journal.db")).unwrap();
    let old = "UPDATE runs SET ended = '2020-01-01T00:00:00Z' WHERE status = 'done'";
    assert_eq!(journal.execute(old, []).unwrap(), 1);
    let pruned = |arguments: &[&str]| {
        let all = [&["runs", "prune", "--dry-run", "--json"], arguments].concat();
        cli.run(&all).json().as_array().unwrap().len()
    };
    assert_eq!(pruned(&["--older", "90d"]), 1);
    assert_eq!(pruned(&["--older", "90d", "--keep", "5"]), 0);
    assert_eq!(pruned(&["--keep", "3"]), 2);
    assert_eq!(pruned(&["--keep", "4"]), 1);
    assert_eq!(cli.runs().len(), 5);
}

#[test]
fn a_run_that_a_process_drives_stays() {
    let cli = Cli::new();
    let undo = "touch waits; until test -e go; do sleep 0.02; done";
    let code = format!("sh(\"true\", #{{ undo: \"{undo}\" }})");
    assert_eq!(cli.run(&["-e", &code]).code, Some(0));
    let back = cli.start(&["rollback", "last"]);
    cli.wait("it is being undone", || cli.path("waits").exists());
    let said = cli.run(&["runs", "prune", "--keep", "0", "--failed", "--yes", "--json"]);
    assert_eq!((said.code, said.out.trim()), (Some(0), "[]"), "{said:?}");
    cli.write("go", "");
    assert_eq!(cli.end(back).code, Some(0));
}

#[test]
fn options_that_say_nothing_are_errors() {
    let cli = Cli::new();
    for (arguments, words) in [
        (&["runs", "prune"][..], "--older <DURATION>"),
        (&["runs", "prune", "--older", "soon"], "`soon` is no duration"),
        (&["runs", "prune", "--keep", "-1"], "--keep"),
        (&["runs", "prune", "--keep", "1", "--yess"], "'--yes'"),
        (&["runs", "prnue", "--keep", "1"], "'prune'"),
        (&["runs", "--newest", "3", "prune", "--keep", "1"], "cannot be used with"),
    ] {
        let said = cli.run(arguments);
        assert_eq!(said.code, Some(2), "{arguments:?}: {said:?}");
        assert!(said.err.contains(words), "{arguments:?}: {said:?}");
    }
}
