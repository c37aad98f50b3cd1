//! Undoing a run days later, on a machine that somebody changed since: it looks first, says it, and asks.

use crate::support::cli::Cli;

/// A run that wrote a file and left a command behind, and stopped at a question.
fn paused() -> Cli {
    let cli = Cli::new();
    cli.write("app.conf", "port 80\n");
    let file = cli.path("app.conf").display().to_string();
    let code = format!(
        "step(\"Configure\", || {{ sh(\"touch made\", #{{ undo: \"rm made\" }}); write_file(\"{file}\", \"port 8080\\n\") }}); ask(\"Which ticket?\")"
    );
    let said = cli.run(&["-e", &code]);
    assert_eq!(said.code, Some(3), "{said:?}");
    cli
}

#[test]
fn a_dry_run_says_what_a_rollback_would_do_and_changes_nothing() {
    let cli = paused();
    let records = cli.run(&["show", "last", "--json"]).out;
    insta::assert_snapshot!(cli.show(&["rollback", "last", "--dry-run"]), @r"
    -e                                                                                  2026-01-02 03:04
    plan of rolling back run 20260102-0304-wxyz on local · reads for real, changes nothing

    ↺ 2 calls from the record

    undo · what a rollback would do, newest first                                               03:04:05
      → put the old file $DIR/work/app.conf back
      → run `rm made`

    plan  2 changes, 0 already so
          nothing was changed
    [exit status: 0]
    ");
    cli.write("app.conf", "port 8081\n");
    insta::assert_snapshot!(cli.show(&["rollback", "last", "--dry-run"]), @r"
    -e                                                                                  2026-01-02 03:04
    plan of rolling back run 20260102-0304-wxyz on local · reads for real, changes nothing

    ↺ 2 calls from the record

    undo · what a rollback would do, newest first                                               03:04:05
      → put the old file $DIR/work/app.conf back
          changed since by somebody: $DIR/work/app.conf
      → run `rm made`

    plan  2 changes, 0 already so
          somebody changed what a rollback would meet: it asks, and keeps what it finds
          nothing was changed
    [exit status: 0]
    ");
    assert_eq!(cli.read("app.conf"), "port 8081\n");
    assert!(cli.path("made").exists());
    assert_eq!(cli.run(&["show", "last", "--json"]).out, records);
}

#[test]
fn a_rollback_that_meets_a_change_pauses_until_it_is_decided() {
    let cli = paused();
    cli.write("app.conf", "port 8081\n");

    insta::assert_snapshot!(cli.show(&["rollback", "last"]), @r"
    -e                                                                                  2026-01-02 03:04
    rolls back run 20260102-0304-wxyz on local · -e

    ↺ 2 calls from the record

    undo · asked for by the operator                                                            03:04:05
      ■ put the old file $DIR/work/app.conf back
        paused: somebody changed since on local: $DIR/work/app.conf. Next would be undone: put the old file $DIR/work/app.conf back. At a terminal `resume` asks; with --yes it goes on and keeps what it finds beside

    … paused · somebody changed since on local: $DIR/work/app.conf. Next would be undone: put the old file $DIR/work/app.conf back. At a terminal `resume` asks; with --yes it goes on and keeps what it finds beside
      took        [time]
      next        upgrade-host resume wxyz
    [exit status: 3]
    ");
    assert_eq!((cli.read("app.conf").as_str(), cli.path("made").exists()), ("port 8081\n", true));

    let said = cli.run(&["resume", "last", "--yes"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!((cli.read("app.conf").as_str(), cli.path("made").exists()), ("port 80\n", false));
    let run = cli.runs()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(cli.read(&format!("app.conf.changed-{run}")), "port 8081\n");
}

#[test]
fn an_undo_after_a_failure_does_not_wait_for_anybody() {
    let cli = Cli::new();
    cli.write("app.conf", "port 80\n");
    let file = cli.path("app.conf").display().to_string();
    let code = format!(
        "write_file(\"{file}\", \"port 8080\\n\"); sh(\"echo port 8081 >app.conf\", #{{ undo: \"true\" }}); fail(\"no\")"
    );

    let said = cli.run(&["-e", &code]);

    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(cli.read("app.conf"), "port 80\n");
    let run = cli.runs()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(cli.read(&format!("app.conf.changed-{run}")), "port 8081\n");
    assert!(said.out.contains("somebody changed since on local: "), "{said:?}");
}

#[test]
fn what_was_on_again_and_is_off_now_is_somebody_elses_doing() {
    let cli = Cli::new();
    super::contract::service(&cli);
    let said = cli.run(&["-e", "service_stop(\"web\"); service_start(\"web\"); ask(\"Which?\")"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    std::fs::remove_file(cli.path("up")).unwrap();

    let said = cli.run(&["rollback", "last"]);

    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.out.contains("service web running, which is off again"), "{said:?}");
    assert!(!cli.path("up").exists());
    assert_eq!(cli.run(&["resume", "last", "--yes"]).code, Some(0));
    assert!(cli.path("up").exists());
}
