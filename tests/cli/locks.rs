//! One run per target: who holds it is told, may be displaced, and cannot act any more then.

use crate::support::cli::Cli;

const HOLDS: &str = "sh(\"echo one >>ran\", #{ undo: \"true\" }); until_go(); sh(\"echo two >>ran\", #{ undo: \"true\" });";

/// Two journals whose runs act on the same machine.
fn two() -> (Cli, Cli, tempfile::TempDir) {
    let locks = tempfile::tempdir().unwrap();
    let path = locks.path().display().to_string();
    let cli = || Cli::new().env("UPGRADE_HOST_LOCK_DIR", &path);
    (cli(), cli(), locks)
}

fn code(text: &str) -> String {
    text.replace("until_go()", "output(\"touch waits; until test -e go; do sleep 0.05; done\")")
}

#[test]
fn a_second_run_is_refused_and_told_who_holds_it() {
    let (one, other, locks) = two();
    let child = one.start(&["-e", &code(HOLDS)]);
    one.wait("it holds the target", || one.path("waits").exists());
    let run = one.runs()[0]["id"].as_str().unwrap().to_owned();

    for cli in [&other, &one] {
        let said = cli.run(&["-e", "sh(\"touch no\", #{ undo: \"true\" })"]);
        assert_eq!(said.code, Some(1), "{said:?}");
        for words in [run.as_str(), "is held by run", "--take-over", "since 20"] {
            assert!(said.err.contains(words) || said.out.contains(words), "{words}: {said:?}");
        }
        assert!(!cli.path("no").exists());
    }
    // Who only reads is in nobody's way.
    assert_eq!(other.run(&["-e", "output(\"true\")"]).code, Some(0));
    let plan = ["plan", "-e", "sh(\"true\")"];
    assert_eq!(other.run(&plan).code, Some(0));

    std::fs::write(one.path("go"), "").unwrap();
    assert_eq!(one.end(child).code, Some(0));
    assert_eq!(std::fs::read_dir(locks.path()).unwrap().count(), 0, "the record is left");
    assert_eq!(other.run(&["-e", "sh(\"true\")"]).code, Some(0));
}

#[test]
fn a_run_that_was_displaced_while_it_slept_does_nothing_more() {
    let (one, other, _locks) = two();
    let child = one.start(&["-e", &code(HOLDS)]);
    one.wait("it holds the target", || one.path("waits").exists());
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let signal = |signal| rustix::process::kill_process(pid, signal).unwrap();
    signal(rustix::process::Signal::STOP);

    let said = other.run(&[
        "-e",
        "sh(\"echo other >>ran\", #{ undo: \"true\" }); ask(\"?\")",
        "--take-over",
    ]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.out.contains("was taken over from run"), "{said:?}");

    signal(rustix::process::Signal::CONT);
    std::fs::write(one.path("go"), "").unwrap();
    let said = one.end(child);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.out.contains("has taken it over"), "{said:?}");
    assert_eq!(one.read("ran"), "one\n");
    assert_eq!(one.runs()[0]["status"], "paused");
    // Nor by a resume, as long as the other holds it.
    let said = one.run(&["resume", "last"]);
    assert_ne!(said.code, Some(0), "{said:?}");
    assert_eq!(one.read("ran"), "one\n");
}

#[test]
fn a_paused_run_keeps_its_target_and_takes_it_up_again() {
    let (one, other, locks) = two();
    let held = "sh(\"true\", #{ undo: \"true\" }); ask(\"go on?\")";
    assert_eq!(one.run(&["-e", held]).code, Some(3));
    assert_eq!(other.run(&["-e", "sh(\"true\", #{ undo: \"true\" })"]).code, Some(1));
    assert_eq!(one.run(&["resume", "last"]).code, Some(3));
    assert_eq!(one.run(&["rollback", "last"]).code, Some(0));
    assert_eq!(std::fs::read_dir(locks.path()).unwrap().count(), 0, "the record is left");
    // Days of waiting hold nobody up.
    let waits = "sh(\"true\", #{ undo: \"true\" }); wait(\"7d\")";
    assert_eq!(one.run(&["-e", waits]).code, Some(3));
    assert_eq!(other.run(&["-e", "sh(\"true\", #{ undo: \"true\" })"]).code, Some(0));
}

#[test]
fn locks_are_listed() {
    let (one, other, _locks) = two();
    let said = other.run(&["locks"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "no target is held\n"));
    assert_eq!(one.run(&["-e", "sh(\"true\", #{ undo: \"true\" }); ask(\"?\")"]).code, Some(3));
    let said = other.run(&["locks", "local", "--json"]);
    let rows = said.json();
    assert_eq!(rows[0]["run"], one.runs()[0]["id"], "{rows}");
    assert_eq!(rows[0]["target"], "local");
    assert!(other.run(&["locks"]).out.contains("local"));
}

#[test]
fn a_run_gives_back_what_only_a_killed_process_of_it_held() {
    let (one, _other, locks) = two();
    let records = || std::fs::read_dir(locks.path()).unwrap().count();
    // Before it is on record that the script is through, which is all that is left to do.
    let code = ["-e", "sh(\"true\", #{ undo: \"true\" })"];
    let died = one.end(one.start_with(&code, &[("UPGRADE_HOST_DIE_AT", "4 before")]));
    assert_eq!((died.code, records()), (None, 1), "{died:?}");

    let said = one.run(&["resume", "last"]);

    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(records(), 0, "the record is left");
}
