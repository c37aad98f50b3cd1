//! Interrupts as people cause them: at a terminal that stands or is closed, by signals, by another operator; while a
//! command runs, and while a question is open.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::cli::Cli;
use crate::support::pty::Pty;

const CTRL_C: &str = "\x03";

/// A command that counts itself, notes its process group, and runs until it may go on. The marks hold what it does on
/// SIGTERM, and its options.
const LONG: &str = "sh(`@TERM@ echo ran >>count; cut -d' ' -f5 /proc/$$/stat >pid.new; mv pid.new pid; while test -e pid && ! test -e go; do sleep 0.05; done; echo through >>count`, #{ @OPTIONS@ undo: \"touch undone\" })";

fn long(on_term: &str, options: &str) -> String {
    LONG.replace("@TERM@", on_term).replace("@OPTIONS@", options)
}

fn terminal(cli: &Cli, arguments: &[&str]) -> Pty {
    Pty::start(&cli.command(arguments))
}

/// Begins the command in a terminal, and waits until it runs.
fn begun(cli: &Cli, code: &str, more: &[&str]) -> Pty {
    let pty = terminal(cli, &[&["-e", code], more].concat());
    cli.wait("the command begins", || cli.path("pid").exists());
    pty
}

fn runs(cli: &Cli) -> bool {
    Path::new(&format!("/proc/{}", cli.read("pid").trim())).exists()
}

fn status(cli: &Cli) -> String {
    cli.runs()[0]["status"].as_str().unwrap().to_owned()
}

#[test]
fn ctrl_c_ends_the_command_and_asks_what_now() {
    let cli = Cli::new();
    let mut pty = begun(&cli, &long("", "idempotent: true,"), &[]);

    pty.keys(CTRL_C);
    pty.see("Interrupted. What now?");
    pty.see("1-3: ");
    assert!(!runs(&cli), "the command still runs while it is asked");

    // Go on: what was ended half-way may run again, for it is marked so.
    std::fs::write(cli.path("go"), "").unwrap();
    pty.keys("3\r");
    assert_eq!(pty.end(), Some(0), "{}", pty.screen());
    assert_eq!(cli.read("count"), "ran\nran\nthrough\n");
}

#[test]
fn ctrl_c_and_a_pause_say_what_was_ended() {
    let cli = Cli::new();
    let mut pty = begun(&cli, &long("", ""), &[]);

    pty.keys(CTRL_C);
    pty.see("What now?");
    pty.keys("1\r");

    assert_eq!(pty.end(), Some(130), "{}", pty.screen());
    pty.see("this was ended half-way");
    assert_eq!(status(&cli), "paused");
    assert!(!cli.path("undone").exists());
    // What became of it is for somebody to decide.
    let said = cli.run(&["resume", "last"]);
    assert_eq!(said.code, Some(5), "{said:?}");
    assert!(said.out.contains("interrupted by the operator"), "{said:?}");
    assert_eq!(cli.read("count"), "ran\n");
}

#[test]
fn ctrl_c_and_rolling_back_undoes() {
    let cli = Cli::new();
    let mut pty = begun(&cli, &long("", ""), &[]);
    pty.keys(CTRL_C);
    pty.see("What now?");
    pty.keys("2\r");
    assert_eq!(pty.end(), Some(1), "{}", pty.screen());
    assert!(cli.path("undone").exists());
}

#[test]
fn ctrl_c_twice_stops_at_once_and_resume_finds_the_command() {
    let cli = Cli::new();
    let mut pty = begun(&cli, &long("trap ': >told' TERM;", ""), &[]);

    pty.keys(CTRL_C);
    cli.wait("the command is told to end", || cli.path("told").exists());
    let since = Instant::now();
    pty.keys(CTRL_C);

    assert_eq!(pty.end(), Some(130), "{}", pty.screen());
    // Before the one that does not listen would be killed.
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}\n{}", since.elapsed(), pty.screen());
    pty.see("this may still be under way");
    assert!(!pty.screen().contains("What now?"), "{}", pty.screen());
    assert_eq!(status(&cli), "paused");
    assert!(runs(&cli));
    std::fs::write(cli.path("go"), "").unwrap();
    let said = cli.run(&["resume", "last"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(cli.read("count"), "ran\nthrough\n");
}

#[test]
fn ctrl_c_at_the_question_is_the_second_one() {
    let cli = Cli::new();
    // Whoever presses it twice wants out, not an undo that takes its time.
    let mut pty = begun(&cli, &long("", ""), &["--on-interrupt", "rollback"]);
    pty.keys(CTRL_C);
    pty.see("1-3: ");
    pty.keys(CTRL_C);
    assert_eq!(pty.end(), Some(130), "{}", pty.screen());
    assert_eq!(status(&cli), "paused");
    assert!(!cli.path("undone").exists());
}

#[test]
fn a_signal_from_elsewhere_asks_nobody() {
    for signal in [Signal::TERM, Signal::HUP] {
        let cli = Cli::new();
        let mut pty = begun(&cli, &long("", ""), &[]);
        pty.signal(signal);
        assert_eq!(pty.end(), Some(130), "{}", pty.screen());
        assert!(!pty.screen().contains("What now?"), "{}", pty.screen());
        assert_eq!(status(&cli), "paused");
        assert!(!runs(&cli));
    }
    let cli = Cli::new();
    let mut pty = begun(&cli, &long("", ""), &["--on-interrupt", "rollback"]);
    pty.signal(Signal::TERM);
    assert_eq!(pty.end(), Some(1), "{}", pty.screen());
    assert!(cli.path("undone").exists());
}

#[test]
fn a_signal_closes_the_question_what_now() {
    for signal in [Signal::TERM, Signal::HUP] {
        let cli = Cli::new();
        let mut pty = begun(&cli, &long("", ""), &[]);
        pty.keys(CTRL_C);
        pty.see("1-3: ");
        pty.signal(signal);
        assert_eq!(pty.end(), Some(130), "{}", pty.screen());
        assert_eq!(status(&cli), "paused");
    }
}

#[test]
fn a_closed_terminal_pauses_the_run_whatever_it_was_just_printing() {
    let cli = Cli::new();
    let code = "sh(`echo ran >>count; : >pid; while test -e pid && ! test -e go; do echo line; sleep 0.01; done`, #{ idempotent: true, undo: \"touch undone\" }); sh(\"echo after >>count\", #{ undo: \"true\" })";
    let mut pty = begun(&cli, code, &["--verbose"]);
    pty.see("line");

    pty.close();

    assert_eq!(pty.end(), Some(130));
    assert_eq!(status(&cli), "paused");
    assert!(!cli.path("undone").exists());
    std::fs::write(cli.path("go"), "").unwrap();
    let said = cli.run(&["resume", "last"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(cli.read("count"), "ran\nran\nafter\n");
}

#[test]
fn a_closed_terminal_rolls_back_where_that_is_wanted() {
    let cli = Cli::new();
    let mut pty = begun(&cli, &long("", ""), &["--on-interrupt", "rollback"]);
    pty.close();
    assert_eq!(pty.end(), Some(1));
    assert!(cli.path("undone").exists());
    assert_eq!(status(&cli), "rolled back");
}

#[test]
fn a_run_that_was_started_to_outlive_the_terminal_does() {
    let cli = Cli::new();
    let inner = cli.command(&["-e", &long("", "")]);
    let mut outer = std::process::Command::new("nohup");
    outer.arg(inner.get_program()).args(inner.get_args()).current_dir(cli.path(""));
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut pty = Pty::start(&outer);
    cli.wait("the command begins", || cli.path("pid").exists());

    pty.close();
    // It would be told within the time that it takes to look.
    std::thread::sleep(Duration::from_millis(500));
    std::fs::write(cli.path("go"), "").unwrap();

    assert_eq!(pty.end(), Some(0));
    assert_eq!(cli.read("count"), "ran\nthrough\n");
}

#[test]
fn a_question_of_the_runbook_is_closed_by_each_of_them_and_asked_again() {
    type Means = fn(&Cli, &mut Pty);
    let means: [(&str, Means, i32); 5] = [
        ("ctrl-c", |_, pty| pty.keys(CTRL_C), 3),
        ("term", |_, pty| pty.signal(Signal::TERM), 130),
        ("hup", |_, pty| pty.signal(Signal::HUP), 130),
        ("closed", |_, pty| pty.close(), 130),
        ("pause", |cli, _| assert_eq!(cli.run(&["pause", "last"]).code, Some(0)), 130),
    ];
    for (name, close, code) in means {
        let cli = Cli::new();
        let script = "sh(\"echo ran >>count\", #{ undo: \"touch undone\" }); if confirm(\"Well?\") { sh(\"echo after >>count\", #{ undo: \"true\" }) }";
        let mut pty = terminal(&cli, &["-e", script]);
        pty.see("Well? [y/n] ");

        close(&cli, &mut pty);

        assert_eq!(pty.end(), Some(code), "{name}: {}", pty.screen());
        assert_eq!(status(&cli), "paused", "{name}");
        let mut pty = terminal(&cli, &["resume", "last"]);
        pty.see("Well? [y/n] ");
        pty.keys("y\r");
        assert_eq!(pty.end(), Some(0), "{name}: {}", pty.screen());
        assert_eq!(cli.read("count"), "ran\nafter\n", "{name}");
    }
}

#[test]
fn another_operator_pauses_a_run_and_its_terminal_says_so() {
    let cli = Cli::new();
    let mut pty = begun(&cli, &long("", ""), &["--on-interrupt", "rollback"]);

    let said = cli.run(&["pause", "last"]);

    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(pty.end(), Some(130), "{}", pty.screen());
    pty.see("another operator asked for it");
    assert!(!pty.screen().contains("What now?"), "{}", pty.screen());
    assert!(!cli.path("undone").exists());
}

#[test]
fn another_operator_closes_the_question_what_now() {
    let cli = Cli::new();
    let mut pty = begun(&cli, &long("", ""), &["--on-interrupt", "rollback"]);
    pty.keys(CTRL_C);
    pty.see("1-3: ");
    assert_eq!(cli.run(&["pause", "last"]).code, Some(0));
    assert_eq!(pty.end(), Some(130), "{}", pty.screen());
    assert!(!cli.path("undone").exists());
}

#[test]
fn an_undo_that_is_interrupted_goes_on_later() {
    let cli = Cli::new();
    let code = "sh(\"true\", #{ undo: \"touch one\" }); sh(\"true\", #{ undo: `: >undoing; while test -e undoing && ! test -e go; do sleep 0.05; done; touch two` }); fail(\"no\")";
    let mut pty = terminal(&cli, &["-e", code]);
    cli.wait("the undo begins", || cli.path("undoing").exists());

    pty.keys(CTRL_C);

    assert_eq!(pty.end(), Some(130), "{}", pty.screen());
    pty.see("undo was interrupted");
    assert!(!cli.path("one").exists());
    std::fs::write(cli.path("go"), "").unwrap();
    let mut pty = terminal(&cli, &["rollback", "last", "--yes"]);
    pty.see("What now?");
    pty.keys("1\r");
    pty.end();
    assert!(cli.path("one").exists() && cli.path("two").exists(), "{}", pty.screen());
    assert_eq!(status(&cli), "rolled back");
}
