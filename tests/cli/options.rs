//! Each option with each subcommand: it counts, or it is an error that names it. None is ignored.

use crate::support::cli::Cli;

const OPTIONS: [&[&str]; 11] = [
    &["--on", "local"],
    &["--limit", "local"],
    &["--set", "word=a"],
    &["--config", "c.toml"],
    &["--state", "elsewhere"],
    &["--yes"],
    &["--json"],
    &["--verbose"],
    &["--stay"],
    &["--take-over"],
    &["--on-interrupt", "pause"],
];

/// What counts with each subcommand.
const COUNTS: [(&[&str], &str); 20] = [
    (
        &["run", "book.rhai"],
        "on limit set config state yes json verbose stay take-over on-interrupt",
    ),
    (
        &["plan", "book.rhai"],
        "on limit set config state yes json verbose stay take-over on-interrupt",
    ),
    (&["run"], "on limit config state json verbose take-over"),
    (&["check", "book.rhai"], ""),
    (&["resume", "last"], "config state yes json verbose stay take-over on-interrupt"),
    (&["pause", "last"], "config state json"),
    (&["rollback", "last"], "config state yes json verbose stay take-over"),
    (&["rollback", "last", "--dry-run"], "config state json verbose"),
    (&["runs"], "config state json"),
    (&["runs", "prune", "--keep", "9"], "config state yes json"),
    (&["runs", "prune", "--keep", "9", "--dry-run"], "config state json"),
    (&["show", "last"], "config state json verbose"),
    (&["debts"], "config state json"),
    (&["clean"], "on limit config state json"),
    (&["locks"], "on limit config state json"),
    (&["hosts"], "on limit config state json"),
    (&["hosts", "--check"], "on limit config state json"),
    (&["doc"], "json"),
    (&["repl"], "on limit set config state yes verbose stay take-over"),
    (&["completions", "bash"], ""),
];

#[test]
fn an_option_counts_or_is_an_error_that_names_it() {
    let cli = Cli::new();
    cli.write("c.toml", "[defaults]\noperator = \"me\"\n");
    cli.write(
        "book.rhai",
        "//! A book\nconst RUNBOOK = #{ params: #{ word: \"\" } };\nprint(param(\"word\"));\n",
    );
    for (command, counts) in COUNTS {
        let counts: Vec<&str> = counts.split(' ').collect();
        for option in OPTIONS {
            // What stands behind `--` is the command's own.
            let last: &[&str] = if command == ["run"] { &["--", "true"] } else { &[] };
            let arguments = [command, option, last].concat();
            let said = cli.run(&arguments);
            let told = said.err.starts_with(&format!("error: {} ", option[0]))
                && said.err.contains("; leave it out")
                || said.err.contains(&format!("{} do not go with this", "--on, --limit and --set"))
                || said.err.contains("has no JSON");
            assert_eq!(told, !counts.contains(&&option[0][2..]), "{arguments:?}: {said:?}");
            assert!(
                !told || said.code == Some(2) && said.out.is_empty(),
                "{arguments:?}: {said:?}"
            );
        }
    }
}

#[test]
fn what_is_said_of_waves_counts_or_is_an_error() {
    let cli = Cli::new();
    cli.write("c.toml", "[targets.a]\naddress = \"127.0.0.1\"\n");
    for (arguments, why) in [
        (&["run", "-e", "1", "--waves", "1"][..], "--waves says how several targets go"),
        (&["plan", "-e", "1", "--max", "3"], "--max says how several targets go"),
        (&["-e", "1", "--max-failures", "3"], "--max-failures says how several targets go"),
        (&["-e", "1", "--pause", "1s"], "--pause says how several targets go"),
        (&["run", "--max", "3", "--", "true"], "--max says how several targets go"),
        (
            &[
                "-e", "1", "--config", "c.toml", "--on", "local,a", "--pause", "1s", "--waves",
                "100%",
            ],
            "--pause is waited between two waves",
        ),
    ] {
        let said = cli.run(arguments);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains(why) && said.err.contains("or leave it out."), "{said:?}");
    }
    assert!(cli.runs().is_empty());
    // Whoever chose them, it may be but one today.
    for _ in 0..2 {
        let said = cli.run(&["-e", "1", "--on", "local", "--pause", "1ms", "--waves", "1"]);
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    assert_eq!(cli.run(&["runs", "--json", "--newest", "1"]).json().as_array().unwrap().len(), 1);
    assert_eq!(cli.runs().len(), 2);
}
