//! Runs on several targets, and of `rolling`, from before what they say of their waves was written: they go on, and are
//! taken back. Within a format, what is new in it may be missing.

use crate::support::cli::Cli;
use crate::support::sshd::Sshd;

/// Makes of a journal what a program from before there were waves would have left. A `rolling` noted the lanes that began
/// even then.
fn before_waves(cli: &Cli, lanes: bool) {
    let journal = rusqlite::Connection::open(cli.state().join("journal.db")).unwrap();
    let drop =
        |what: &str| journal.execute(&format!("DELETE FROM records WHERE {what}"), []).unwrap();
    assert!(drop("json_extract(body, '$.call.action') IN ('wave', 'wave_over')") > 0);
    if !lanes {
        assert!(drop("json_extract(body, '$.kind') = 'lane_began'") > 0);
    }
    // Nothing is missing: it never was there.
    let mut left = journal.prepare("SELECT seq FROM records ORDER BY seq").unwrap();
    let left: Vec<i64> =
        left.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for (now, before) in (1_i64..).zip(left) {
        let sql = "UPDATE records SET sum = NULL, seq = ?1 WHERE seq = ?2";
        assert_eq!(journal.execute(sql, [now, before]).unwrap(), 1);
    }
    let sql = "UPDATE runs SET sum = NULL, settings = json_remove(settings, '$.waves')";
    assert_eq!(journal.execute(sql, []).unwrap(), 1);
}

/// Each target changes something, holds until there is a file `go`, and changes more.
const BOOK: &str = r#"//! Old
const RUNBOOK = #{ params: #{ name: "" } };
let t = param("name");
sh(`echo ${t} >>@began`, #{ undo: "true" });
write_file(`@here-${t}`, t);
sh("until test -e @go; do sleep 0.05; done", #{ undo: "true", timeout: "60s" });
sh(`echo ${t} >>@through`, #{ undo: "true" });
"#;

/// A run on three targets that was killed while all of them were at work.
fn killed() -> Option<(Cli, Sshd)> {
    let sshd = Sshd::start()?;
    let cli = Cli::new();
    let one = sshd.config("id", Some("host"));
    let config: Vec<String> = (0..3)
        .map(|n| {
            let named = one.replace("targets.box", &format!("targets.t{n}"));
            format!("{named}params = {{ name = \"t{n}\" }}\n")
        })
        .collect();
    cli.write("upgrade-host.toml", &config.concat());
    let here = format!("{}/", cli.path("").display().to_string().trim_end_matches('/'));
    cli.write("book.rhai", &BOOK.replace('@', &here));
    let mut child = cli.start(&["book.rhai", "--on", "t0,t1,t2", "--waves", "100%"]);
    cli.wait("all are at work", || (0..3).all(|n| cli.path(&format!("here-t{n}")).exists()));
    child.kill().unwrap();
    child.wait().unwrap();
    before_waves(&cli, false);
    cli.write("go", "");
    Some((cli, sshd))
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_run_on_several_targets_from_before_waves_goes_on_at_once() {
    let Some((cli, _sshd)) = killed() else { return };
    let shown = cli.run(&["show", "last"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");

    let said = cli.run(&["resume", "last"]);

    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("wave 1 of 1 · t0, t1, t2"), "{said:?}");
    assert_eq!(sorted(&cli.read("began")), ["t0", "t1", "t2"]);
    assert_eq!(sorted(&cli.read("through")), ["t0", "t1", "t2"]);
    // From here on it is like any other.
    assert_eq!(cli.run(&["rollback", "last"]).code, Some(0));
    assert!(!cli.path("here-t1").exists());
}

#[test]
fn a_run_on_several_targets_from_before_waves_is_taken_back() {
    let Some((cli, _sshd)) = killed() else { return };
    let said = cli.run(&["rollback", "last"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!((0..3).all(|n| !cli.path(&format!("here-t{n}")).exists()), "{said:?}");
    assert!(!said.out.contains("cannot be replayed"), "{said:?}");
}

#[test]
fn a_rolling_from_before_its_waves_were_written_goes_on() {
    let cli = Cli::new();
    let here = cli.path("").display().to_string();
    cli.write(
        "book.rhai",
        &r#"//! Old
rolling(["a", "b", "c", "d"], #{ waves: [1, 3], max: 1, pause: "10ms", gate: |done| output("ls") != "" }, |t| {
    sh(`echo ${t} >>began`, #{ undo: "true" });
    write_file(`@here-${t}`, t);
    sh(`! grep -qx ${t} bad`, #{ undo: "true" });
});
"#
        .replace('@', &here),
    );
    cli.write("bad", "b\n");
    assert_eq!(cli.run(&["book.rhai"]).code, Some(3));
    assert_eq!(cli.read("began"), "a\nb\n");
    before_waves(&cli, true);
    // The pause was a wait like any other.
    let journal = rusqlite::Connection::open(cli.state().join("journal.db")).unwrap();
    let sql = "UPDATE records SET sum = NULL, body = json_remove(body, '$.action.after')
        WHERE json_extract(body, '$.call.action') = 'wait'";
    assert!(journal.execute(sql, []).unwrap() > 0);
    cli.write("bad", "");

    let said = cli.run(&["resume", "last"]);

    assert_eq!((said.code, cli.read("began").as_str()), (Some(0), "a\nb\nb\nc\nd\n"), "{said:?}");
    assert_eq!(cli.run(&["rollback", "last"]).code, Some(0));
    assert!(!cli.path("here-a").exists() && !cli.path("here-b").exists());
}
