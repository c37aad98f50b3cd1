//! Every exit status, by what leads to it; 7 is in `deadman.rs`.

use std::process::Command;

use super::contract::service;
use crate::support::cli::Cli;

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// A line that counts itself, notes its process and runs until it may go on.
const LONG: &str = "sh(\"echo ran >>count; cut -d' ' -f5 /proc/$$/stat >pid.new; mv pid.new pid; until test -e go; do sleep 0.05; done\", #{ undo: \"touch undone\" })";

fn begun(cli: &Cli, arguments: &[&str]) -> std::process::Child {
    let child = cli.start(arguments);
    cli.wait("the command begins", || cli.path("pid").exists());
    child
}

/// Ends the command of [`LONG`] with its group.
fn end_command(cli: &Cli) {
    let group = format!("-{}", cli.read("pid").trim());
    assert!(Command::new("kill").args(["-s", "KILL", "--", &group]).status().unwrap().success());
}

#[test]
fn done_is_0() {
    assert_eq!(Cli::new().run(&["-e", "sh(\"true\")"]).code, Some(0));
}

#[test]
fn failed_and_rolled_back_is_1() {
    let cli = Cli::new();
    let said = cli.run(&["-e", "sh(\"touch a\", #{ undo: \"rm a\" }); fail(\"no\")"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(cli.runs()[0]["status"], "rolled back");
}

#[test]
fn a_question_that_nobody_answers_pauses_with_3_and_is_asked_again() {
    let cli = Cli::new();
    let code = "if confirm(\"Go on?\") { sh(\"touch went\") }";
    for arguments in [&["-e", code][..], &["resume", "last"], &["resume", "last", "--yes"]] {
        let said = cli.run(arguments);
        assert_eq!(said.code, Some(3), "{said:?}");
        assert!(said.out.contains("Go on?"), "{said:?}");
    }
    assert!(!cli.path("went").exists());
}

#[test]
fn yes_answers_what_has_a_safe_answer_and_nothing_else() {
    let cli = Cli::new();
    let code =
        "if confirm(\"Go on?\", #{ safe: true }) { sh(\"touch went\") } ask(\"Which ticket?\")";
    let said = cli.run(&["-e", code, "--yes"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(cli.path("went").exists());
    let without = Cli::new().run(&["-e", "confirm(\"Go on?\", #{ safe: true })"]);
    assert_eq!(without.code, Some(3), "{without:?}");
}

#[test]
fn something_still_off_is_4_though_the_script_has_ended() {
    let cli = Cli::new();
    service(&cli);
    let said = cli.run(&["-e", "service_stop(\"web\")"]);
    assert_eq!(said.code, Some(4), "{said:?}");
    assert_eq!(cli.run(&["rollback", "last"]).code, Some(0));
    assert!(cli.path("up").exists());
    assert_eq!(cli.run(&["debts"]).code, Some(0));
}

#[test]
fn an_undo_that_fails_is_4_and_can_be_tried_again() {
    let cli = Cli::new();
    let said = cli.run(&["-e", "sh(\"true\", #{ undo: \"test -e ready\" }); fail(\"no\")"]);
    assert_eq!(said.code, Some(4), "{said:?}");
    cli.write("ready", "");
    let again = cli.run(&["rollback", "last"]);
    assert_eq!(again.code, Some(0), "{again:?}");
}

#[test]
fn a_command_that_goes_on_without_the_program_is_found_again() {
    let cli = Cli::new();
    let mut child = begun(&cli, &["-e", LONG]);
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::write(cli.path("go"), "").unwrap();

    let said = cli.run(&["resume", "last", "--yes"]);

    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(cli.read("count"), "ran\n");
}

#[test]
fn a_command_whose_end_nobody_saw_is_5_and_is_not_repeated() {
    let cli = Cli::new();
    let mut child = begun(&cli, &["-e", LONG]);
    child.kill().unwrap();
    child.wait().unwrap();
    end_command(&cli);

    let said = cli.run(&["resume", "last", "--yes"]);

    assert_eq!(said.code, Some(5), "{said:?}");
    assert_eq!(cli.read("count"), "ran\n", "it ran again");
    assert_eq!(cli.runs()[0]["status"], "unknown");
    assert_eq!(cli.run(&["rollback", "last", "--yes"]).code, Some(0));
    assert!(cli.path("undone").exists());
}

/// Whether a process that a file names is there.
fn lives(cli: &Cli, file: &str) -> bool {
    std::path::Path::new(&format!("/proc/{}", cli.read(file).trim())).exists()
}

#[test]
fn a_command_that_still_runs_is_ended_before_it_is_taken_back() {
    let cli = Cli::new();
    let mut child = begun(&cli, &["-e", LONG]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(lives(&cli, "pid"));

    let said = cli.run(&["rollback", "last"]);

    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(cli.path("undone").exists());
    assert!(!lives(&cli, "pid"), "it still runs");
}

#[test]
fn a_service_that_is_still_stopping_runs_after_a_rollback() {
    let cli = Cli::new();
    service(&cli);
    let config = cli.read("upgrade-host.toml");
    let slow = "echo $$ >stopping.new; mv stopping.new stopping; while :; do sleep 0.05; done; rm";
    cli.write("upgrade-host.toml", &config.replace("stop = \"rm", &format!("stop = \"{slow}")));
    let mut child = cli.start(&["-e", "service_stop(\"web\")"]);
    cli.wait("it is stopping", || cli.path("stopping").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(lives(&cli, "stopping"));

    let said = cli.run(&["rollback", "last"]);

    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!lives(&cli, "stopping"), "it is still being stopped");
    assert!(cli.path("up").exists());
}

#[test]
fn a_command_that_never_began_is_not_taken_back() {
    let cli = Cli::new();
    let code = "sh(\"touch ran\", #{ undo: \"touch undone\" })";
    let died = cli.end(cli.start_with(&["-e", code], &[("UPGRADE_HOST_DIE_AT", "launch 1")]));
    assert_eq!(died.code, None, "{died:?}");

    let said = cli.run(&["rollback", "last"]);

    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!cli.path("ran").exists() && !cli.path("undone").exists());
}

#[test]
fn a_run_that_another_process_drives_is_6() {
    let cli = Cli::new();
    let child = begun(&cli, &["-e", LONG]);
    let said = cli.run(&["resume", "last"]);
    assert_eq!(said.code, Some(6), "{said:?}");
    assert!(said.err.contains("another process"), "{said:?}");
    signal(child.id(), "INT");
    assert_eq!(cli.end(child).code, Some(130));
}

#[test]
fn a_runbook_that_was_changed_is_6_until_that_is_accepted() {
    let cli = Cli::new();
    let book = |word: &str| {
        cli.write("book.rhai", &format!("//! A book\nsh(\"echo {word} >> words\", #{{ undo: \"true\" }});\nask(\"Which?\");\n"));
    };
    book("one");
    assert_eq!(cli.run(&["book.rhai"]).code, Some(3));
    cli.write("book.rhai", "//! A book\nsh(\"echo one >> words\", #{ undo: \"true\" });\nsh(\"echo two >> words\", #{ undo: \"true\" });\n");
    insta::assert_snapshot!(cli.show(&["resume", "last"]), @r#"
    --- stderr
    error: book.rhai was changed since run 20260102-0304-wxyz began
    --- as recorded
    +++ as it is now
    @@ -1,3 +1,3 @@
     //! A book
     sh("echo one >> words", #{ undo: "true" });
    -ask("Which?");
    +sh("echo two >> words", #{ undo: "true" });
    help: restore the file, or go on with `upgrade-host resume wxyz --accept-change`: calls that still match are answered from the record
    [exit status: 6]
    "#);
    assert_eq!(cli.runs()[0]["status"], "paused");

    let said = cli.run(&["resume", "last", "--accept-change"]);

    assert_eq!((said.code, cli.read("words").as_str()), (Some(0), "one\ntwo\n"), "{said:?}");
}

#[test]
fn a_journal_that_cannot_be_read_is_6() {
    let cli = Cli::new();
    std::fs::create_dir(cli.state()).unwrap();
    std::fs::write(
        cli.state().join("journal.db"),
        "this is no database, but it is long enough to be looked at as one",
    )
    .unwrap();
    let said = cli.run(&["-e", "sh(\"touch ran\")"]);
    assert_eq!(said.code, Some(6), "{said:?}");
    assert!(!cli.path("ran").exists());
}

#[test]
fn an_interrupt_pauses_with_130_when_nobody_can_be_asked() {
    let cli = Cli::new();
    let child = begun(&cli, &["-e", LONG]);
    signal(child.id(), "INT");
    let said = cli.end(child);
    assert_eq!(said.code, Some(130), "{said:?}");
    assert_eq!(cli.runs()[0]["status"], "paused");
    assert!(!cli.path("undone").exists());
    let pid = cli.read("pid");
    assert!(
        !std::path::Path::new(&format!("/proc/{}", pid.trim())).exists(),
        "the command still runs"
    );
}

#[test]
fn an_interrupt_rolls_back_with_1_where_that_is_wanted() {
    let cli = Cli::new();
    let child = begun(&cli, &["-e", LONG, "--on-interrupt", "rollback"]);
    signal(child.id(), "INT");
    let said = cli.end(child);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(cli.path("undone").exists());
    assert_eq!(cli.runs()[0]["status"], "rolled back");
}

#[test]
fn another_operator_pauses_a_run() {
    let cli = Cli::new();
    let said = cli.run(&["pause", "last"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    let child = begun(&cli, &["-e", LONG, "--on-interrupt", "rollback"]);

    let said = cli.run(&["pause", "last"]);

    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("is paused; `upgrade-host resume"), "{said:?}");
    assert_eq!(cli.end(child).code, Some(130));
    assert_eq!(cli.runs()[0]["status"], "paused");
    assert!(!cli.path("undone").exists());
    let said = cli.run(&["pause", "last"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("no process drives run") && said.err.contains("paused"), "{said:?}");
}

#[test]
fn a_plan_that_cannot_go_on_is_2() {
    let said = Cli::new().run(&["plan", "-e", "fail(\"no\")"]);
    assert_eq!(said.code, Some(2), "{said:?}");
}
