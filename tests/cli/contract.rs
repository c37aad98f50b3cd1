//! What other programs rely on: subcommands, options anywhere, the shapes of `--json`, names of runs.

use insta::assert_snapshot;
use serde_json::Value;

use crate::support::cli::Cli;

#[test]
fn help_names_every_subcommand_and_exit_status() {
    assert_snapshot!(Cli::new().show(&["--help"]), @r#"
    Takes live servers through risky maintenance; every effect is journaled, undone or owed

    Usage: upgrade-host [OPTIONS] [COMMAND]

    Commands:
      run          Run a runbook
      plan         Say what a run would do, reading for real and changing nothing
      check        Check runbooks without running them
      resume       Take a run up where it stopped
      pause        Ask the process that drives a run to pause it, and wait for that
      rollback     Undo what a run did
      runs         List runs, newest first, or remove old ones
      show         Show what a run did
      debts        List what is switched off and owed back, over all runs
      clean        Remove what runs that are over left on targets
      locks        List which runs hold the targets
      hosts        List the targets
      doc          Show the reference of the primitives
      repl         Open the REPL
      completions  Print completions for a shell

    Options:
          --on <TARGETS>         Act on these targets: a name, `@tag`, `all`, a glob, a range
                                 `web[01:20]`, user@host; commas separate, `&` is both, `!` is not
          --limit <TARGETS>      Of the targets that are meant, act on these only
          --set <K=V>            Set a parameter of the runbook
          --config <FILE>        Read this configuration instead of the usual ones
          --state <DIR>          Keep the journal in this directory
      -y, --yes                  Answer questions that have a safe default with it
          --json                 Print JSON: a listing is one array, a run is one event a line
      -v, --verbose              Show all output of commands
          --stay                 Sit out waits of days instead of ending the process
          --take-over            Take targets that another run holds from it; that run cannot act there
                                 any more
          --on-interrupt <WHAT>  What Ctrl-C leads to when nobody can be asked [possible values: pause,
                                 rollback]
      -h, --help                 Print help
      -V, --version              Print version

    upgrade-host FILE runs a runbook; upgrade-host FILE --help shows its parameters.
    Without arguments, on a terminal, the REPL opens.

    Exit status:
        0  done
        1  failed, and rolled back
        2  usage, configuration or script invalid; nothing was done
        3  paused; resume takes it up
        4  failed and not fully undone, or something is still owed
        5  the outcome of a change is unknown, and needs a decision
        6  the journal is locked, damaged, or does not match the runbook
        7  a dead-man switch fired
      130  interrupted, and paused
    [exit status: 0]
    "#);
}

#[test]
fn options_stand_anywhere() {
    let cli = Cli::new();
    cli.write("c.toml", "[defaults]\noperator = \"me\"\n");
    cli.write("book.rhai", "//! A book\nconst RUNBOOK = #{ params: #{ word: \"\" } };\nprint(param(\"word\"));\nsh(\"true\");\n");
    let state = cli.path("elsewhere").display().to_string();
    let options = [
        "--on",
        "local",
        "--set",
        "word=hello",
        "--config",
        "c.toml",
        "--yes",
        "--json",
        "--state",
        &state,
    ];
    let last = [&["run", "book.rhai"], &options[..]].concat();
    let first = [&options[..], &["book.rhai"]].concat();
    let between = [&["run"], &options[..], &["book.rhai"]].concat();
    for arguments in [last, first, between] {
        let said = cli.run(&arguments);
        assert_eq!(said.code, Some(0), "{said:?}");
        let events = said.events();
        assert_eq!(events[0]["what"]["targets"], serde_json::json!(["local"]), "{said:?}");
        let printed = |event: &Value| event["what"]["text"] == "hello";
        assert!(events.iter().any(printed), "{said:?}");
    }
    assert_eq!(cli.run(&["--state", &state, "runs", "--json"]).json().as_array().unwrap().len(), 3);
    assert!(!cli.state().exists(), "--state comes before the environment");
}

#[test]
fn a_line_of_code_prints_what_it_prints() {
    let cli = Cli::new();
    assert_snapshot!(cli.code("print(1)"), @r#"
    1
    [exit status: 0]
    "#);
    assert_snapshot!(cli.code("let up = output(\"echo up\"); print(up); note(\"noted\")"), @r#"
    up
    note: noted
    [exit status: 0]
    "#);
}

#[test]
fn a_line_of_code_that_changes_something_is_a_run_like_any_other() {
    assert_snapshot!(Cli::new().code("print(\"before\"); sh(\"true\")"), @r#"
    before

    -e                                                                                  2026-01-02 03:04
    run 20260102-0304-wxyz on local · -e

    ✓ run `true`

    ✓ done
      took        [time]
    [exit status: 0]
    "#);
}

#[test]
fn a_failing_line_of_code_says_so_on_stderr() {
    let said = Cli::new().run(&["-e", "print(1); fail(\"no\")"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), "1\n"));
    assert!(said.err.starts_with("error: no\n"), "{said:?}");
}

#[test]
fn check_tells_good_from_bad() {
    let cli = Cli::new();
    cli.write("good.rhai", "//! Good\nnote(\"a\");");
    cli.write("bad.rhai", "//! Bad\nnoet(\"a\");");
    assert_snapshot!(cli.show(&["check", "good.rhai"]), @r#"
    good.rhai: ok
    [exit status: 0]
    "#);
    assert_snapshot!(cli.show(&["check", "good.rhai", "bad.rhai", "none.rhai"]), @r#"
    good.rhai: ok
    --- stderr
    error: there is no function `noet`
       ╭─[bad.rhai:2:1]
     1 │ //! Bad
     2 │ noet("a");
       · ────
       ╰────
    help: Did you mean `note`?
    error: cannot read none.rhai: No such file or directory (os error 2)
    help: Did you mean good.rhai?
    [exit status: 2]
    "#);
}

#[test]
fn the_runbooks_that_are_shipped_are_good() {
    let cli = Cli::new();
    let scripts = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    for entry in std::fs::read_dir(scripts).unwrap() {
        let path = entry.unwrap().path();
        let said = cli.run(&["check", path.to_str().unwrap()]);
        assert_eq!(said.code, Some(0), "{said:?}");
    }
}

#[test]
fn a_plan_changes_nothing_and_leaves_no_trace() {
    let cli = Cli::new();
    cli.write("book.rhai", "//! A book\nstep(\"one\", || {\n  let free = output(\"echo 3\");\n  sh(\"touch ran\", #{ undo: \"rm ran\" });\n  write_file(\"/nonexistent-dir/file\", free);\n});\n");
    assert_snapshot!(cli.show(&["plan", "book.rhai"]), @r#"
    A book                                                                              2026-01-02 03:04
    plan of book.rhai on local · reads for real, changes nothing

    one
      · read `echo 3` · 3
        │ 3
      → run `touch ran`
          run `touch ran`
          undo: run `rm ran`
      warning: directory /nonexistent-dir is not there now; an earlier step has to make it
      → write 1 B to /nonexistent-dir/file
          the file is new
          undo: remove /nonexistent-dir/file again

    plan  2 changes, 0 already so
          everything can be undone
          warning: directory /nonexistent-dir is not there now; an earlier step has to make it
          nothing was changed
    [exit status: 0]
    "#);
    assert!(!cli.path("ran").exists());
    assert!(cli.runs().is_empty());
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn runs_are_an_array_newest_first() {
    let cli = Cli::new();
    assert_eq!(cli.runs(), Vec::<Value>::new());
    cli.write("book.rhai", "//! A book\nsh(\"true\");");
    for _ in 0..2 {
        assert_eq!(cli.run(&["book.rhai"]).code, Some(0));
    }
    cli.run(&["-e", "wait(\"7d\")"]);

    let runs = cli.runs();

    let begun: Vec<&str> = runs.iter().map(|run| run["started"].as_str().unwrap()).collect();
    let mut sorted = begun.clone();
    sorted.sort_unstable();
    sorted.reverse();
    assert_eq!((begun.len(), begun), (3, sorted));
    let contract = ["id", "status", "runbook", "targets", "started", "ended"];
    assert_eq!(keys(&runs[0])[..6], contract);
    assert_eq!((&runs[0]["status"], &runs[0]["runbook"]), (&"paused".into(), &"-e".into()));
    assert_eq!((&runs[2]["status"], &runs[2]["runbook"]), (&"done".into(), &"book.rhai".into()));
    assert_eq!(runs[2]["targets"], serde_json::json!(["local"]));
    assert!(runs[0]["due"].is_string() && runs[2]["ended"].is_string());
}

#[test]
fn debts_are_an_array_and_an_exit_status() {
    let mut cli = Cli::new();
    let none = cli.run(&["debts", "--json"]);
    assert_eq!((none.code, none.out.as_str()), (Some(0), "[]\n"));
    owing(&cli);

    let said = cli.run(&["debts", "--json"]);

    assert_eq!(said.code, Some(4));
    let debts = said.json();
    for key in ["target", "what", "since", "run", "due", "by"] {
        assert!(keys(&debts[0]).contains(&key), "{debts}");
    }
    assert_eq!(
        (&debts[0]["target"], &debts[0]["what"]),
        (&"local".into(), &"service web running".into())
    );
    assert_eq!(debts[0]["run"], cli.runs()[0]["id"]);
    cli.hide(debts[0]["by"].as_str().unwrap(), "me@here");
    assert_snapshot!(cli.show(&["debts"]), @r#"
    target  owed                                        since                        due  run                 by       kept
    local   service web running (users are locked out)  2026-01-02 03:04 (just now)       20260102-0304-wxyz  me@here
    [exit status: 4]
    "#);
}

/// Leaves a service off.
fn owing(cli: &Cli) {
    service(cli);
    assert_eq!(cli.run(&["-e", "service_stop(\"web\")"]).code, Some(4));
}

/// A service that is a file.
pub(super) fn service(cli: &Cli) {
    cli.write("up", "");
    let up = cli.path("up").display().to_string();
    cli.write(
        "upgrade-host.toml",
        &format!("[services.web]\nstart = \"touch {up}\"\nstop = \"rm {up}\"\nstatus = \"test -e {up}\"\n"),
    );
}

#[test]
fn hosts_are_an_array() {
    let cli = Cli::new();
    cli.write(
        "upgrade-host.toml",
        "[targets.obs1]\naddress = \"10.0.0.5\"\nuser = \"root\"\ntags = [\"backup\"]\njump = \"gate\"\n[targets.gate]\naddress = \"gate.example.com\"\nport = 2222\nuser = \"ops\"\n",
    );
    assert_snapshot!(cli.show(&["hosts"]), @r#"
    name  address                user  tags    via
    gate  gate.example.com:2222  ops
    obs1  10.0.0.5               root  backup  gate
    [exit status: 0]
    "#);
    assert_snapshot!(cli.show(&["hosts", "@backup", "--json"]), @r#"
    [{"name":"obs1","address":"10.0.0.5","user":"root","tags":["backup"],"via":["gate"]}]
    [exit status: 0]
    "#);
}

#[test]
fn the_reference_is_data_too() {
    let cli = Cli::new();
    let all = cli.run(&["doc", "--json"]).json();
    let all = all.as_array().unwrap().clone();
    assert!(all.len() > 50);
    assert_eq!(keys(&all[0]), ["name", "family", "signature", "summary", "example"]);
    assert_eq!(cli.run(&["doc", "service", "--json"]).json().as_array().unwrap().len(), 5);
    assert_snapshot!(cli.show(&["doc", "confirm"]), @r#"
    ### `confirm(question, #{ … }) -> bool`

    Asks the operator for yes or no.

    Parameters:

    - `question` (text): The question.

    Options:

    - `safe` (bool): The answer that is safe: taken by `--yes`.

    Returns: the answer

    ```rhai
    if !confirm("Go on?", #{ safe: true }) { fail("the operator said no"); }
    ```

    - Failure: Pauses the run if nobody is there to ask.
    - Plan: Says that it would ask, and goes on with the safe answer, or yes.
    - Undo: Nothing.
    - Resume: The recorded answer; asks if there is none.
    [exit status: 0]
    "#);
    assert_snapshot!(cli.show(&["doc", "confrim"]), @r#"
    --- stderr
    error: there is no primitive `confrim`; did you mean `confirm`?
    [exit status: 2]
    "#);
}

#[test]
fn a_run_as_json_is_an_event_a_line_and_can_be_shown_again() {
    let cli = Cli::new();
    let said = cli.run(&["-e", "step(\"one\", || sh(\"echo a; echo b >&2\"))", "--json"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    let names = |events: &[Value]| -> Vec<String> {
        events.iter().map(|event| event["what"]["event"].as_str().unwrap().to_owned()).collect()
    };
    let mut told = names(&said.events());
    told.retain(|name| name != "output");
    assert_eq!(
        told,
        ["run_began", "step_began", "call_began", "call_ended", "step_ended", "run_ended"]
    );
    for event in said.events() {
        assert_eq!(keys(&event), ["at", "run", "lane", "step", "target", "what"]);
    }

    let shown = cli.run(&["show", "last", "--json"]);

    assert_eq!(names(&shown.events()), told);
}

#[test]
fn a_run_is_named_by_any_unique_beginning_its_last_part_or_last() {
    let cli = Cli::new();
    cli.run(&["-e", "sh(\"true\")"]);
    cli.run(&["-e", "wait(\"7d\")"]);
    let ids: Vec<String> =
        cli.runs().iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect();
    let tail = ids[1].rsplit('-').next().unwrap();
    for (name, id) in
        [(tail, &ids[1]), (&ids[1][..], &ids[1]), (&ids[0][..17], &ids[0]), ("last", &ids[0])]
    {
        let said = cli.run(&["show", name, "--json"]);
        assert_eq!(said.events()[0]["run"], id.as_str(), "{name}: {said:?}");
    }
}

#[test]
fn completions_are_made_for_shells() {
    let said = Cli::new().run(&["completions", "bash"]);
    assert!(said.code == Some(0) && said.out.contains("upgrade-host"), "{said:?}");
}

#[test]
fn the_state_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let cli = Cli::new();
    cli.run(&["-e", "sh(\"true\")"]);
    let mut dirs = vec![cli.state()];
    let mut files = 0;
    while let Some(dir) = dirs.pop() {
        assert_eq!(
            dir.metadata().unwrap().permissions().mode() & 0o777,
            0o700,
            "{}",
            dir.display()
        );
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                files += 1;
                let mode = path.metadata().unwrap().permissions().mode() & 0o777;
                assert_eq!(mode, 0o600, "{}", path.display());
            }
        }
    }
    assert!(files > 0);
}
