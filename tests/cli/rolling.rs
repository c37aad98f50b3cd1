//! Waves: a failed one is taken back alone, too many stop the rest, and all of it can be resumed.

use crate::support::cli::{Cli, Said};

/// Ten items; those named in the file `bad` fail after they changed something. Each begin is counted.
const BOOK: &str = r#"//! Rolls
let items = [];
for n in 0..10 { items.push(`t${n}`); }
let done = rolling(items, #{ waves: [1, "50%"], max: 2, max_failures: 1, gate: |done| !output("ls").contains("closed") }, |t| {
    sh(`echo ${t} >>began`, #{ undo: "true" });
    write_file(`here-${t}`, t);
    sh(`! grep -qx ${t} bad`, #{ undo: "true" });
    t + "!"
});
for one in done { note(`${one.item} ${one.state} ${one.value} ${if one.state == "failed" { one.error.kind } else { "" }}`); }
"#;

struct Site(Cli);

impl Site {
    fn new(bad: &str) -> Self {
        let cli = Cli::new();
        let here = cli.path("").display().to_string();
        let book = BOOK.replace("`here-", &format!("`{here}here-"));
        cli.write("book.rhai", &book);
        cli.write("bad", bad);
        Self(cli)
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], code: i32) -> Said {
        let said = self.0.run(arguments);
        assert_eq!(said.code, Some(code), "{said:?}");
        said
    }

    fn began(&self) -> Vec<String> {
        let mut began: Vec<String> = self.0.read("began").lines().map(str::to_owned).collect();
        began.sort();
        began
    }

    fn changed(&self) -> Vec<usize> {
        (0..10).filter(|n| self.0.path(&format!("here-t{n}")).exists()).collect()
    }
}

#[test]
fn all_go_in_waves_and_results_are_in_order() {
    let site = Site::new("t3\n");
    let said = site.run(&["book.rhai"], 0);
    for wave in
        ["wave 1 of 3 · t0 ", "wave 2 of 3 · t1, t2, t3, t4 ", "wave 3 of 3 · t5, t6, t7, t8, t9 "]
    {
        assert!(said.out.contains(wave), "{said:?}");
    }
    // One may fail; what it did is taken back, and nothing else.
    assert_eq!(site.changed(), [0, 1, 2, 4, 5, 6, 7, 8, 9]);
    assert!(
        said.out.contains("note: t3 failed") && said.out.contains("note: t4 done t4!"),
        "{said:?}"
    );
    assert_eq!(site.began().len(), 10);
}

#[test]
fn too_many_failures_let_no_other_begin_and_a_resume_tries_again() {
    let site = Site::new("t1\nt2\n");
    let said = site.run(&["book.rhai"], 3);
    assert!(said.out.contains("2 failed"), "{said:?}");
    let changed = site.changed();
    assert!(!changed.contains(&1) && !changed.contains(&2) && !changed.contains(&9), "{changed:?}");

    // Still bad: it stops again, and nothing that is through runs again.
    let through = site.began();
    site.run(&["resume", "last"], 3);
    let again = site.began();
    assert!(again.iter().filter(|t| *t == "t0").count() == 1, "{again:?}");
    assert!(again.len() > through.len(), "{again:?}");

    // One is taken out, the other is mended.
    site.0.write("bad", "t2\n");
    let said = site.run(&["resume", "last", "--skip", "t2"], 0);
    assert_eq!(site.changed(), [0, 1, 3, 4, 5, 6, 7, 8, 9]);
    assert!(said.out.contains("note: t2 taken out"), "{said:?}");
    let began = site.began();
    for n in [0, 3, 4, 5, 6, 7, 8, 9] {
        assert_eq!(began.iter().filter(|t| **t == format!("t{n}")).count(), 1, "{n} {began:?}");
    }
}

#[test]
fn only_some_may_go_on_and_a_misspelt_one_is_told() {
    let site = Site::new("t1\nt2\n");
    site.run(&["book.rhai"], 3);
    site.0.write("bad", "");
    let said = site.run(&["resume", "last", "--only", "t77"], 3);
    assert!(said.out.contains("--only t77"), "{said:?}");
    site.run(&["resume", "last", "--only", "t1"], 3);
    let changed = site.changed();
    assert!(changed.contains(&1) && !changed.contains(&2) && !changed.contains(&9), "{changed:?}");
    site.run(&["resume", "last"], 0);
    assert_eq!(site.changed().len(), 10);
    let said = site.run(&["-e", "rolling([\"a\"], #{ max_failures: 0 }, |t| fail(\"x\"))"], 3);
    assert!(said.out.contains("1 of 1 failed"), "{said:?}");
}

#[test]
fn a_closed_gate_stops_and_rollback_takes_all_back() {
    let site = Site::new("");
    site.0.write("closed", "");
    let said = site.run(&["book.rhai"], 3);
    assert!(said.out.contains("the gate is closed"), "{said:?}");
    assert_eq!(site.changed(), [0]);
    std::fs::remove_file(site.0.path("closed")).unwrap();
    site.run(&["resume", "last"], 0);
    assert_eq!(site.changed().len(), 10);

    let site = Site::new("t1\nt2\n");
    site.run(&["book.rhai"], 3);
    assert!(!site.changed().is_empty());
    site.run(&["rollback", "last"], 0);
    assert!(site.changed().is_empty());
}

#[test]
fn what_is_wrong_with_it_is_told() {
    let cli = Cli::new();
    for (options, words) in [
        ("#{ waves: [\"ten\"] }", "a wave is a number"),
        ("#{ waves: [5, 2] }", "they must rise"),
        ("#{ max_failures: -1 }", "must not be negative"),
        ("#{ wave: [1] }", "did you mean `waves`?"),
        ("#{ waves: [1], gate: |done| done }", "must return true or false"),
    ] {
        let said = cli.run(&["-e", &format!("rolling([\"a\", \"b\"], {options}, |t| 1)")]);
        let told = format!("{}{}", said.out, said.err);
        assert!(matches!(said.code, Some(1 | 2)) && told.contains(words), "{said:?}");
    }
    let said = cli.run(&["-e", "print(1)"]);
    assert_eq!(said.code, Some(0));
    cli.write("p.rhai", "//! P\nask(\"name?\");\n");
    assert_eq!(cli.run(&["p.rhai"]).code, Some(3));
    let said = cli.run(&["resume", "last", "--skip", "x"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("waits for --only or --skip"), "{said:?}");
}
