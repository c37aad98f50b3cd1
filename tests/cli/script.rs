//! Wrong scripts: said with the place and what to do, before anything runs where that can be told.

use insta::assert_snapshot;

use crate::support::cli::Cli;

/// Asserts that a line of code is refused before anything is run, and returns what was said.
#[track_caller]
fn refused(code: &str) -> String {
    let cli = Cli::new();
    let said = cli.run(&["-e", code]);
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
    assert!(cli.runs().is_empty(), "a run is on record");
    said.shown().to_owned()
}

#[test]
fn a_misspelt_primitive_is_suggested() {
    assert_snapshot!(refused("service_stopp(\"obsr\")"), @r#"
    --- stderr
    error: there is no function `service_stopp`
       ╭─[-e:1:1]
     1 │ service_stopp("obsr")
       · ─────────────
       ╰────
    help: Did you mean `service_stop`?
    [exit status: 2]
    "#);
}

#[test]
fn a_function_that_nothing_resembles_leads_to_the_reference() {
    assert_snapshot!(refused("frobnicate(1)"), @r#"
    --- stderr
    error: there is no function `frobnicate`
       ╭─[-e:1:1]
     1 │ frobnicate(1)
       · ──────────
       ╰────
    help: `upgrade-host doc` lists all of them.
    [exit status: 2]
    "#);
}

#[test]
fn a_misspelt_option_is_found_before_anything_runs() {
    assert_snapshot!(refused("sh(\"touch ran\", #{ timeot: \"1s\" })"), @r#"
    --- stderr
    error: sh: unknown option `timeot` (did you mean `timeout`?)
       ╭─[-e:1:20]
     1 │ sh("touch ran", #{ timeot: "1s" })
       ·                    ──────
       ╰────
    [exit status: 2]
    "#);
}

#[test]
fn a_wrong_number_of_arguments_is_found_before_anything_runs() {
    assert_snapshot!(refused("sh(\"touch ran\"); rsync(\"/a\")"), @r#"
    --- stderr
    error: rsync: cannot be called with 1 argument
       ╭─[-e:1:18]
     1 │ sh("touch ran"); rsync("/a")
       ·                  ─────
       ╰────
    help: It takes `from` (text or list), `to` (text) and a map of options.
    [exit status: 2]
    "#);
}

#[test]
fn a_literal_of_the_wrong_type_is_found_before_anything_runs() {
    assert_snapshot!(refused("sh(\"touch ran\"); service_stop(80)"), @r#"
    --- stderr
    error: service_stop: `name` is text, found int
       ╭─[-e:1:31]
     1 │ sh("touch ran"); service_stop(80)
       ·                               ──
       ╰────
    [exit status: 2]
    "#);
}

#[test]
fn a_syntax_error_shows_the_place() {
    assert_snapshot!(refused("step(\"a\", || {\n  note(\"x\"\n})"), @r#"
    --- stderr
    error: expecting ',' to separate the arguments to function call 'note'
       ╭─[-e:3:1]
     2 │   note("x"
     3 │ })
       · ─
       ╰────
    [exit status: 2]
    "#);
}

#[test]
fn a_word_of_the_language_as_a_key_is_named() {
    assert_snapshot!(refused("const RUNBOOK = #{ params: #{ package: 1 } };"), @r#"
    --- stderr
    error: `package` is a word that the language keeps for itself
       ╭─[-e:1:31]
     1 │ const RUNBOOK = #{ params: #{ package: 1 } };
       ·                               ───────
       ╰────
    help: As the key of a map it stands in quotes: #{ "package": … }.
    [exit status: 2]
    "#);
    assert_snapshot!(refused("let options = #{ until: 1 };"), @r#"
    --- stderr
    error: `until` is a word that the language keeps for itself
       ╭─[-e:1:18]
     1 │ let options = #{ until: 1 };
       ·                  ─────
       ╰────
    help: As the key of a map it stands in quotes: #{ "until": … }.
    [exit status: 2]
    "#);
}

#[test]
fn an_undefined_variable_is_found_before_anything_runs() {
    assert_snapshot!(refused("sh(\"touch ran\"); note(version)"), @r#"
    --- stderr
    error: undefined variable: version
       ╭─[-e:1:23]
     1 │ sh("touch ran"); note(version)
       ·                       ───────
       ╰────
    [exit status: 2]
    "#);
}

#[test]
fn a_parameter_that_is_not_declared_is_suggested() {
    let code = "const RUNBOOK = #{ params: #{ \"package\": \"x\" } };\nnote(param(\"pakage\"));";
    assert_snapshot!(refused(code), @r#"
    --- stderr
    error: RUNBOOK declares no parameter `pakage`
       ╭─[-e:2:12]
     1 │ const RUNBOOK = #{ params: #{ "package": "x" } };
     2 │ note(param("pakage"));
       ·            ─
       ╰────
    help: Did you mean `package`?
    [exit status: 2]
    "#);
    assert_snapshot!(refused("note(param(\"home\"))"), @r#"
    --- stderr
    error: RUNBOOK declares no parameter `home`
       ╭─[-e:1:12]
     1 │ note(param("home"))
       ·            ─
       ╰────
    help: Declare it: const RUNBOOK = #{ params: #{ home: … } };
    [exit status: 2]
    "#);
}

#[test]
fn an_unknown_key_of_the_runbook_is_suggested() {
    assert_snapshot!(refused("const RUNBOOK = #{ parms: #{} };"), @r#"
    --- stderr
    error: RUNBOOK has an unknown key `parms`
       ╭─[-e:1:7]
     1 │ const RUNBOOK = #{ parms: #{} };
       ·       ───────
       ╰────
    help: Did you mean `params`?
    [exit status: 2]
    "#);
}

#[test]
fn a_version_that_is_too_old_is_said() {
    assert_snapshot!(refused("const RUNBOOK = #{ needs: \"99\" };"), @r#"
    --- stderr
    error: -e needs upgrade-host 99, this is 0.1.0
       ╭─[-e:1:7]
     1 │ const RUNBOOK = #{ needs: "99" };
       ·       ───────
       ╰────
    [exit status: 2]
    "#);
}

#[test]
fn clocks_and_eval_are_out_of_reach() {
    assert_snapshot!(refused("eval(\"1\")"), @r#"
    --- stderr
    error: reserved keyword 'eval' is disabled
       ╭─[-e:1:1]
     1 │ eval("1")
       · ────
       ╰────
    [exit status: 2]
    "#);
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let cli = Cli::new();
    cli.write(
        "book.rhai",
        "//! A book\nnot(\"a\");\nsh(\"true\", #{ tiemout: 1 });\nnote(param(\"x\"));\n",
    );
    assert_snapshot!(cli.show(&["book.rhai"]), @r#"
    --- stderr
    error: there is no function `not`
       ╭─[book.rhai:2:1]
     1 │ //! A book
     2 │ not("a");
       · ───
     3 │ sh("true", #{ tiemout: 1 });
       ╰────
    help: Did you mean `note`?
    error: sh: unknown option `tiemout` (did you mean `timeout`?)
       ╭─[book.rhai:3:15]
     2 │ not("a");
     3 │ sh("true", #{ tiemout: 1 });
       ·               ───────
     4 │ note(param("x"));
       ╰────
    error: RUNBOOK declares no parameter `x`
       ╭─[book.rhai:4:12]
     3 │ sh("true", #{ tiemout: 1 });
     4 │ note(param("x"));
       ·            ─
       ╰────
    help: Declare it: const RUNBOOK = #{ params: #{ x: … } };
    [exit status: 2]
    "#);
    assert!(cli.runs().is_empty());
}

#[test]
fn a_missing_file_is_suggested() {
    let cli = Cli::new();
    cli.write("upgrade.rhai", "note(1)");
    assert_snapshot!(cli.show(&["upgrad.rhai"]), @r#"
    --- stderr
    error: cannot read upgrad.rhai: No such file or directory (os error 2)
    help: Did you mean upgrade.rhai?
    [exit status: 2]
    "#);
    assert_snapshot!(cli.show(&["plan", "nowhere/upgrade.rhai"]), @r#"
    --- stderr
    error: cannot read nowhere/upgrade.rhai: No such file or directory (os error 2)
    [exit status: 2]
    "#);
}

/// Runs a line that fails while it runs, having changed nothing.
fn fails(code: &str) -> String {
    let said = Cli::new().run(&["-e", code]);
    assert_eq!(said.code, Some(1), "{said:?}");
    said.shown().to_owned()
}

#[test]
fn an_option_in_a_variable_is_checked_when_it_is_used() {
    assert_snapshot!(fails("let options = #{ timeot: \"1s\" };\nsh(\"touch ran\", options)"), @r#"
    --- stderr
    error: sh: unknown option `timeot` (did you mean `timeout`?)
       ╭─[-e:2:1]
     1 │ let options = #{ timeot: "1s" };
     2 │ sh("touch ran", options)
       · ──
       ╰────
    [exit status: 1]
    "#);
}

#[test]
fn arguments_that_fit_nothing_are_told_with_what_is_expected() {
    assert_snapshot!(fails("let port = 80;\nservice_stop(port)"), @r#"
    --- stderr
    error: service_stop: cannot be called with int
       ╭─[-e:2:1]
     1 │ let port = 80;
     2 │ service_stop(port)
       · ────────────
       ╰────
    help: It takes `name` (text) and a map of options.
    [exit status: 1]
    "#);
    assert_snapshot!(fails("let from = 1; rsync(from, from)"), @r#"
    --- stderr
    error: rsync: cannot be called with int, int
       ╭─[-e:1:15]
     1 │ let from = 1; rsync(from, from)
       ·               ─────
       ╰────
    help: It takes `from` (text or list), `to` (text) and a map of options.
    [exit status: 1]
    "#);
}

#[test]
fn an_operator_that_does_not_fit_is_told_in_words() {
    assert_snapshot!(fails("let text = \"a\"; text - 1"), @r#"
    --- stderr
    error: `-` does not work between text and int
       ╭─[-e:1:22]
     1 │ let text = "a"; text - 1
       ·                      ─
       ╰────
    [exit status: 1]
    "#);
}

#[test]
fn a_missing_property_is_told() {
    assert_snapshot!(fails("let user = #{ name: \"a\" };\nnote(user.nmae)"), @r#"
    --- stderr
    error: the map has no `nmae`
       ╭─[-e:2:11]
     1 │ let user = #{ name: "a" };
     2 │ note(user.nmae)
       ·           ────
       ╰────
    help: `"nmae" in map` tells whether it has.
    [exit status: 1]
    "#);
    assert_snapshot!(fails("let user = 1;\nnote(user.name)"), @r#"
    --- stderr
    error: `name` is no property of int
       ╭─[-e:2:11]
     1 │ let user = 1;
     2 │ note(user.name)
       ·           ────
       ╰────
    [exit status: 1]
    "#);
    assert_snapshot!(fails("note([1][5])"), @r#"
    --- stderr
    error: there is no item 5 in a list of 1 item
       ╭─[-e:1:10]
     1 │ note([1][5])
       ·          ─
       ╰────
    [exit status: 1]
    "#);
}

#[test]
fn an_error_in_a_function_in_a_step_shows_the_innermost_place() {
    let cli = Cli::new();
    cli.write(
        "book.rhai",
        "//! A book\nfn half(size) {\n  size.bytes / 2\n}\n\nstep(\"measure\", || {\n  note(half(#{}));\n});\n",
    );
    assert_snapshot!(cli.show(&["book.rhai"]), @r#"
    A book                                                                              2026-01-02 03:04
    run 20260102-0304-wxyz on local · book.rhai

    measure                                                                                     03:04:05

    error: the map has no `bytes`
       ╭─[book.rhai:3:8]
     2 │ fn half(size) {
     3 │   size.bytes / 2
       ·        ─────
     4 │ }
       ╰────
    help: `"bytes" in map` tells whether it has.

    ↩ rolled back · failed; there was nothing to undo
      took        [time]
    [exit status: 1]
    "#);
}

#[test]
fn what_a_script_throws_is_the_error() {
    assert_snapshot!(fails("fail(\"the licence has ended\")"), @r#"
    --- stderr
    error: the licence has ended
       ╭─[-e:1:1]
     1 │ fail("the licence has ended")
       · ────
       ╰────
    [exit status: 1]
    "#);
    assert_snapshot!(fails("throw \"the licence has ended\""), @r#"
    --- stderr
    error: the licence has ended
       ╭─[-e:1:1]
     1 │ throw "the licence has ended"
       · ─────
       ╰────
    [exit status: 1]
    "#);
}

#[test]
fn check_warns_of_what_a_lane_writes_to_its_copies() {
    let cli = Cli::new();
    let text = "//! Counts\nlet done = 0;\neach([\"a\", \"b\"], |name| {\n    sh(\"true\", #{ undo: \"true\" });\n    done += 1;\n});\n";
    cli.write("count.rhai", text);
    assert_snapshot!(cli.show(&["check", "count.rhai"]), @r#"
    count.rhai: ok
    --- stderr
    warning: what a lane of `each` writes to `done` is lost: each lane has its own copy
       ╭─[count.rhai:5:5]
     4 │     sh("true", #{ undo: "true" });
     5 │     done += 1;
       ·     ────
     6 │ });
       ╰────
    help: Return a value from the body: `let all = each(…, |item| …);` has what the bodies return, in the order of the items.
    [exit status: 0]
    "#);
    // It is no mistake that stops a run.
    assert_eq!(cli.run(&["count.rhai"]).code, Some(0));
}
