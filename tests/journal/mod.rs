//! Journals of every format that was ever written, made by the program that wrote it: today's reads them, goes on with
//! the run that was paused, and takes the others back. docs/journal.md says how they are made.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::support::cli::Cli;

mod document;
mod waves;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/journal")
}

/// The directories with the examples, the oldest format first.
fn formats() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(data())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("format-"))
        .collect();
    found.sort();
    found
}

/// The format that the program writes.
fn format() -> u32 {
    let cli = Cli::new();
    cli.run(&["runs"]);
    let journal = rusqlite::Connection::open(cli.state().join("journal.db")).unwrap();
    journal.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

/// The program with a stored journal, on a machine on which the service of the examples is as they left it.
fn stored(format: &Path, name: &str) -> Cli {
    let cli = Cli::new();
    fs::create_dir(cli.state()).unwrap();
    let sql = fs::read_to_string(format.join(name).with_extension("sql")).unwrap();
    let journal = rusqlite::Connection::open(cli.state().join("journal.db")).unwrap();
    journal.execute_batch(&sql).unwrap();
    match name {
        "finished" => cli.write("up", ""),
        "paused" => cli.write("go", ""),
        _ => {}
    }
    cli
}

/// What the program says of a stored journal, without how long ago it was, and which of two lanes is first.
fn shown(cli: &Cli, arguments: &[&str]) -> String {
    let mut said = cli.show(arguments);
    for (pattern, with) in [
        (r"\((just now|[^()]* ago)\)", "(ago)"),
        (r"(?m)\(ago\)  \S.*$", "(ago)  [time]"),
        (r"started +took", "started  took"),
        (r"since +due", "since  due"),
        (r"are in again, after .*", "are in again, after [time]"),
        (r"users out +[^,\n]*", "users out  [time]"),
        (r"(?m)^[ab]     │", "x     │"),
        (r"echo undone-[ab] ", "echo undone-x "),
        // Columns are as wide as what was taken out.
        (r"(\S) {2,}", "$1  "),
    ] {
        said = Regex::new(pattern).unwrap().replace_all(&said, with).into_owned();
    }
    format!("$ upgrade-host {}\n{said}\n\n", arguments.join(" "))
}

/// Looks at each format's example, and then does `then` with it.
fn each_format(name: &str, then: &[&str], check: impl Fn(&Cli)) {
    let formats = formats();
    assert_eq!(formats.len(), 2, "{formats:?}");
    for format in formats {
        let cli = stored(&format, name);
        let mut text = String::new();
        for arguments in [&["runs"][..], &["debts"], &["show", "last"], then, &["runs"]] {
            text += &shown(&cli, arguments);
        }
        let format = format.file_name().unwrap().to_string_lossy().into_owned();
        insta::assert_snapshot!(format!("{format}-{name}"), text);
        check(&cli);
    }
}

#[test]
fn a_finished_run_is_shown_and_taken_back() {
    each_format("finished", &["rollback", "last"], |cli| {
        let mut ran: Vec<String> = cli.read("ran").lines().map(str::to_owned).collect();
        assert_eq!(ran.len(), 4, "{ran:?}");
        // The lanes are undone side by side, and before what came before them.
        ran[..2].sort();
        assert_eq!(ran, ["undone-a", "undone-b", "closure", "undone"]);
        assert!(cli.path("up").exists());
    });
}

#[test]
fn a_paused_run_goes_on_with_what_was_under_way() {
    each_format("paused", &["resume", "last"], |cli| {
        assert_eq!(cli.read("ran"), "two\nthree\n");
    });
}

#[test]
fn what_a_failed_run_owes_is_known_and_paid_back() {
    each_format("failed", &["rollback", "last", "--yes"], |cli| {
        assert!(cli.path("up").exists());
        assert_eq!(cli.run(&["debts"]).code, Some(0));
    });
}

#[test]
fn the_present_format_has_its_examples() {
    let present = format();
    let newest = data().join(format!("format-{present}"));
    assert_eq!(formats().last(), Some(&newest), "tests/data/journal/make makes them");
    for format in formats() {
        for name in ["failed", "finished", "paused"] {
            let cli = stored(&format, name);
            assert_eq!(cli.run(&["runs"]).code, Some(0));
            let journal = rusqlite::Connection::open(cli.state().join("journal.db")).unwrap();
            let now: u32 = journal.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
            assert_eq!(now, present, "{name} of {} was not brought up", format.display());
        }
    }
}
