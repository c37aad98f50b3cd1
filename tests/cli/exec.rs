//! `sh`, `run` and `output`, as runbooks rely on them.

use insta::assert_snapshot;

use crate::support::cli::Cli;

/// Runs a line of code that only prints, and returns that.
#[track_caller]
fn printed(code: &str) -> String {
    let said = Cli::new().run(&["-e", code, "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let text = |event: &serde_json::Value| {
        (event["what"]["event"] == "printed")
            .then(|| event["what"]["text"].as_str().unwrap().to_owned())
    };
    said.events().iter().filter_map(text).collect::<Vec<_>>().join("\n")
}

#[test]
fn output_returns_stdout_without_the_last_newline() {
    assert_eq!(printed(r#"print("[" + output("printf 'a\\n\\n'") + "]")"#), "[a\n]");
    assert_eq!(printed(r#"print(output(["echo", "a  b", "$HOME", "'"]))"#), "a  b $HOME '");
}

#[test]
fn sh_is_a_line_for_the_shell_and_run_a_list_of_words() {
    assert_eq!(printed(r#"print(sh("echo a | tr a b").stdout)"#), "b");
    assert_eq!(printed(r#"print(run(["printf", "%s|", "a b", "*"]).stdout)"#), "a b|*|");
}

#[test]
fn environment_directory_and_input_reach_the_command() {
    let code = r#"
        let ran = sh("pwd; echo $WORD; cat", #{ dir: "/", env: #{ WORD: "a b" }, stdin: "in" });
        print(ran.stdout);
    "#;
    assert_eq!(printed(code), "/\na b\nin");
}

#[test]
fn other_exit_statuses_may_be_fine() {
    assert_eq!(printed(r#"print(sh("exit 3", #{ ok: [0, 3] }).code)"#), "3");
    assert_eq!(printed(r#"print(sh("exit 4", #{ ok: "any" }).code)"#), "4");
}

#[test]
fn a_failure_can_be_caught_with_all_that_is_known_of_it() {
    let code = r#"
        try {
            sh("echo out; echo err >&2; exit 3");
        } catch (err) {
            for name in ["kind", "code", "stdout", "stderr", "target", "command"] {
                print(`${name}=${err[name]}`);
            }
        }
    "#;
    assert_snapshot!(printed(code), @r#"
    kind=exit
    code=3
    stdout=out

    stderr=err

    target=local
    command=echo out; echo err >&2; exit 3
    "#);
}

#[test]
fn a_timeout_ends_the_whole_process_group_and_is_a_kind() {
    let cli = Cli::new();
    let code = r#"
        try { sh("sleep 60 & echo $! > child; wait", #{ timeout: "200ms" }) } catch (err) { print(err.kind) }
    "#;
    let said = cli.run(&["-e", code]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("timeout"), "{said:?}");
    let child = cli.read("child");
    cli.wait("the child ends", || {
        !std::fs::read_to_string(format!("/proc/{}/stat", child.trim()))
            .is_ok_and(|stat| !stat.contains(") Z "))
    });
}

#[test]
fn a_program_that_is_not_there_is_not_found() {
    assert_eq!(
        printed(r#"try { run(["nosuchprogram"]) } catch (err) { print(err.kind) }"#),
        "not_found"
    );
}

#[test]
fn a_command_that_fails_ends_the_run_with_its_output() {
    let code = "sh(\"echo one; exit 3\", #{ undo: \"true\" })";
    assert_snapshot!(Cli::new().code(code), @r#"
    -e                                                                                  2026-01-02 03:04
    run 20260102-0304-wxyz on local · -e

    ✗ run `echo one; exit 3`
      │ one
      `echo one; exit 3` ended with status 3

    undo · `echo one; exit 3` ended with status 3 (on local)                                    03:04:05
      ↩ run `true`
      1 change undone

    error: `echo one; exit 3` ended with status 3
       ╭─[-e:1:1]
     1 │ sh("echo one; exit 3", #{ undo: "true" })
       · ──
       ╰────
      on      local
      ran     echo one; exit 3
      status  3
      stdout  │ one
      call    main / - / sh #1

    ↩ rolled back · failed; everything was rolled back
      took        [time]
    [exit status: 1]
    "#);
}

#[test]
fn what_has_no_way_back_is_said_and_is_not_taken_for_rolled_back() {
    let code = "sh(\"touch first\"); sh(\"touch second\", #{ undo: \"rm second\" }); fail(\"no\")";
    let cli = Cli::new();
    assert_snapshot!(cli.code(code), @r#"
    -e                                                                                  2026-01-02 03:04
    run 20260102-0304-wxyz on local · -e

    ✓ run `touch first`
    ✓ run `touch second`

    undo · no                                                                                   03:04:05
      ↩ run `rm second`
    warning: cannot be undone: run `touch first`: a command; register its undo with on_rollback or `undo:`
      1 change undone

    error: no
       ╭─[-e:1:64]
     1 │ sh("touch first"); sh("touch second", #{ undo: "rm second" }); fail("no")
       ·                                                                ────
       ╰────

    ✗ failed · the rest was rolled back; cannot be undone: run `touch first`
      took        [time]
    [exit status: 4]
    "#);
    assert!(cli.path("first").exists() && !cli.path("second").exists());
    assert_eq!(cli.runs()[0]["status"], "failed");
}

/// Runs a line that is killed with the program at the n-th boundary of the journal and resumed; it must have run once.
fn once(at: &str, line: &str) -> String {
    let cli = Cli::new();
    let code = format!("sh(\"echo ran >>count; {line}\"); print(\"through\")");
    let died = cli.start_with(&["-e", &code], &[("UPGRADE_HOST_DIE_AT", at)]);
    let died = cli.end(died);
    assert_eq!(died.code, None, "{at} {died:?}");
    let said = cli.run(&["resume", "last"]);
    assert_eq!(said.code, Some(0), "{at} {said:?}");
    assert!(said.out.contains("through"), "{said:?}");
    cli.read("count")
}

#[test]
fn killed_around_a_command_it_has_run_once() {
    // Before its intent is durable, after it, after the effect, and after the outcome.
    for at in ["2 before", "2 after", "3 before", "3 after"] {
        assert_eq!(once(at, "true"), "ran\n", "{at}");
        assert_eq!(once(at, "sleep 0.3"), "ran\n", "{at}");
    }
}

#[test]
fn a_probe_tells_what_a_reboot_left_open() {
    for (answer, code, count) in [
        ("true", Some(0), 1),
        ("false", Some(0), 2),
        ("()", Some(5), 1),
        ("output(\"echo yes\") == \"yes\"", Some(0), 1),
        ("sh(\"touch probed\").code == 0", Some(1), 1),
    ] {
        let cli = Cli::new();
        let line = "echo ran >>count; echo $$ >pid.new; mv pid.new pid; until test -e go; do sleep 0.05; done";
        let code_of = format!("sh(\"{line}\", #{{ undo: \"true\", probe: || {answer} }});");
        let mut child = cli.start(&["-e", &code_of]);
        cli.wait("the command begins", || cli.path("pid").exists());
        child.kill().unwrap();
        child.wait().unwrap();
        let group = format!("-{}", cli.read("pid").trim());
        let kill = std::process::Command::new("kill").args(["-s", "KILL", "--", &group]).status();
        assert!(kill.unwrap().success());
        std::fs::write(cli.path("go"), "").unwrap();

        let said = cli.run(&["resume", "last"]);

        assert_eq!(said.code, code, "{answer} {said:?}");
        assert_eq!(cli.read("count").lines().count(), count, "{answer}");
        assert!(!cli.path("probed").exists());
    }
}

#[test]
fn nothing_of_a_receipt_is_left_when_the_run_is_over() {
    let cli = Cli::new();
    assert_eq!(cli.run(&["-e", "sh(\"true\"); sh(\"true\", #{ undo: \"true\" })"]).code, Some(0));
    let id = cli.runs()[0]["id"].as_str().unwrap().to_owned();
    let user = rustix::process::getuid().as_raw();
    assert!(!std::path::Path::new(&format!("/var/tmp/upgrade-host-{user}/{id}")).exists());
}
