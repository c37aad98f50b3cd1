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
    assert_snapshot!(refused("service_stopp(\"obsr\")"), @"");
}

#[test]
fn a_function_that_nothing_resembles_leads_to_the_reference() {
    assert_snapshot!(refused("frobnicate(1)"), @"");
}

#[test]
fn a_misspelt_option_is_found_before_anything_runs() {
    assert_snapshot!(refused("sh(\"touch ran\", #{ timeot: \"1s\" })"), @"");
}

#[test]
fn a_wrong_number_of_arguments_is_found_before_anything_runs() {
    assert_snapshot!(refused("sh(\"touch ran\"); rsync(\"/a\")"), @"");
}

#[test]
fn a_literal_of_the_wrong_type_is_found_before_anything_runs() {
    assert_snapshot!(refused("sh(\"touch ran\"); service_stop(80)"), @"");
}

#[test]
fn a_syntax_error_shows_the_place() {
    assert_snapshot!(refused("step(\"a\", || {\n  note(\"x\"\n})"), @"");
}

#[test]
fn a_word_of_the_language_as_a_key_is_named() {
    assert_snapshot!(refused("let options = #{ until: 1 };"), @"");
}

#[test]
fn an_undefined_variable_is_found_before_anything_runs() {
    assert_snapshot!(refused("sh(\"touch ran\"); note(version)"), @"");
}

#[test]
fn a_parameter_that_is_not_declared_is_suggested() {
    let code = "const RUNBOOK = #{ params: #{ package: \"x\" } };\nnote(param(\"pakage\"));";
    assert_snapshot!(refused(code), @"");
    assert_snapshot!(refused("note(param(\"home\"))"), @"");
}

#[test]
fn an_unknown_key_of_the_runbook_is_suggested() {
    assert_snapshot!(refused("const RUNBOOK = #{ parms: #{} };"), @"");
}

#[test]
fn a_version_that_is_too_old_is_said() {
    assert_snapshot!(refused("const RUNBOOK = #{ needs: \"99\" };"), @"");
}

#[test]
fn clocks_and_eval_are_out_of_reach() {
    assert_snapshot!(refused("eval(\"1\")"), @"");
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let cli = Cli::new();
    cli.write(
        "book.rhai",
        "//! A book\nnot(\"a\");\nsh(\"true\", #{ tiemout: 1 });\nnote(param(\"x\"));\n",
    );
    assert_snapshot!(cli.show(&["book.rhai"]), @"");
    assert!(cli.runs().is_empty());
}

#[test]
fn a_missing_file_is_suggested() {
    let cli = Cli::new();
    cli.write("upgrade.rhai", "note(1)");
    assert_snapshot!(cli.show(&["upgrad.rhai"]), @"");
    assert_snapshot!(cli.show(&["plan", "nowhere/upgrade.rhai"]), @"");
}

/// Runs a line that fails while it runs, having changed nothing.
fn fails(code: &str) -> String {
    let said = Cli::new().run(&["-e", code]);
    assert_eq!(said.code, Some(1), "{said:?}");
    said.shown().to_owned()
}

#[test]
fn an_option_in_a_variable_is_checked_when_it_is_used() {
    assert_snapshot!(fails("let options = #{ timeot: \"1s\" };\nsh(\"touch ran\", options)"), @"");
}

#[test]
fn arguments_that_fit_nothing_are_told_with_what_is_expected() {
    assert_snapshot!(fails("let port = 80;\nservice_stop(port)"), @"");
    assert_snapshot!(fails("let from = 1; rsync(from, from)"), @"");
}

#[test]
fn an_operator_that_does_not_fit_is_told_in_words() {
    assert_snapshot!(fails("let text = \"a\"; text - 1"), @"");
}

#[test]
fn a_missing_property_is_told() {
    assert_snapshot!(fails("let user = #{ name: \"a\" };\nnote(user.nmae)"), @"");
    assert_snapshot!(fails("let user = 1;\nnote(user.name)"), @"");
    assert_snapshot!(fails("note([1][5])"), @"");
}

#[test]
fn an_error_in_a_function_in_a_step_shows_the_innermost_place() {
    let cli = Cli::new();
    cli.write(
        "book.rhai",
        "//! A book\nfn half(size) {\n  size.bytes / 2\n}\n\nstep(\"measure\", || {\n  note(half(#{}));\n});\n",
    );
    assert_snapshot!(cli.show(&["book.rhai"]), @"");
}

#[test]
fn what_a_script_throws_is_the_error() {
    assert_snapshot!(fails("fail(\"the licence has ended\")"), @"");
    assert_snapshot!(fails("throw \"the licence has ended\""), @"");
}
