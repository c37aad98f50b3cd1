use rusqlite::Connection;
use serde_json::json;

use super::*;
use crate::journal::{Debt, FORMAT};

/// A journal with one run, `r1`, and what else reads and changes its file.
fn one_run() -> (tempfile::TempDir, Sqlite, Connection) {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path()).unwrap();
    store.create(&run("r1")).unwrap();
    let other = schema::connect(&dir.path().join("journal.db")).unwrap();
    (dir, store, other)
}

fn run(id: &str) -> RunInfo {
    RunInfo {
        id: id.to_owned(),
        runbook: "book.rhai".into(),
        title: "A book".into(),
        targets: vec!["obs1".into()],
        operator: "jim".into(),
        version: "0.1.0".into(),
        status: Status::Running,
        started: Timestamp::now(),
        ended: None,
        due: None,
        settings: json!({"yes": false}),
        sources: vec![Source { name: "book.rhai".into(), text: "print(1)".into() }],
    }
}

fn note(text: &str) -> Body {
    Body::Note { text: text.to_owned(), warning: false }
}

#[test]
fn what_was_written_is_read_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path()).unwrap();
    store.create(&run("20261122-2020-aaaa")).unwrap();
    store.append("20261122-2020-aaaa", note("one")).unwrap();
    store.append_durable("20261122-2020-aaaa", note("two"), vec![]).unwrap();
    drop(store);

    let store = Sqlite::open(dir.path()).unwrap();

    let bodies: Vec<_> = store
        .records("20261122-2020-aaaa")
        .unwrap()
        .into_iter()
        .map(|record| record.body)
        .collect();
    assert_eq!(bodies, [note("one"), note("two")]);
    assert_eq!(store.find("last").unwrap().sources[0].text, "print(1)");
    assert_eq!(
        fs::metadata(dir.path().join("journal.db")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs::metadata(dir.path().join("journal.db-wal")).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_run_is_found_by_a_unique_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path()).unwrap();
    store.create(&run("20261122-2020-aaaa")).unwrap();
    store.create(&run("20261122-2021-bbbb")).unwrap();

    assert_eq!(store.find("20261122-2021").unwrap().id, "20261122-2021-bbbb");
    assert_eq!(store.find("aaaa").unwrap().id, "20261122-2020-aaaa");
    assert!(store.find("2026").unwrap_err().to_string().contains("several runs"));
    assert!(store.find("%").unwrap_err().to_string().contains("no run `%`"));
}

#[test]
fn obligations_open_are_kept_and_close() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path()).unwrap();
    store.create(&run("r1")).unwrap();
    let debt = Debt { key: "replication".into(), what: "replication on".into(), locks_out: false };
    let target = || "obs1".to_owned();
    store
        .append_durable("r1", note(""), vec![DebtChange::Open { target: target(), debt }])
        .unwrap();
    let keep = DebtChange::Keep {
        target: target(),
        key: "replication".into(),
        reason: "checkout".into(),
        due: None,
    };
    store.append_durable("r1", note(""), vec![keep]).unwrap();

    let debts = store.debts().unwrap();
    assert_eq!(
        (debts[0].what.as_str(), debts[0].kept.as_deref(), debts[0].by.as_str()),
        ("replication on", Some("checkout"), "jim")
    );
    store
        .append_durable(
            "r1",
            note(""),
            vec![DebtChange::Close { target: target(), key: "replication".into() }],
        )
        .unwrap();
    assert_eq!(store.debts().unwrap(), []);
}

#[test]
fn a_run_is_driven_by_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path()).unwrap();
    let hold = store.hold("r1").unwrap();

    assert!(
        matches!(store.hold("r1"), Err(JournalError::Held { who, .. }) if who.contains("process"))
    );
    assert!(store.is_held("r1"));
    drop(hold);
    assert!(!store.is_held("r1"));
}

#[test]
fn many_who_open_a_new_journal_at_once_all_can() {
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let path = dir.path();
                scope.spawn(move || {
                    for _ in 0..5 {
                        let store = Sqlite::open(path).unwrap();
                        let _known = store.create(&run(&format!("r{number}")));
                        store.runs().unwrap();
                    }
                });
            }
        });
    }
}

#[test]
fn a_later_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(Sqlite::open(dir.path()).unwrap());
    Connection::open(dir.path().join("journal.db"))
        .unwrap()
        .execute_batch("PRAGMA user_version=99")
        .unwrap();

    assert!(matches!(Sqlite::open(dir.path()), Err(JournalError::Future { found: 99, .. })));
}

#[test]
fn a_damaged_file_is_an_error_and_not_a_new_journal() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path()).unwrap();
    fs::write(
        dir.path().join("journal.db"),
        b"this is no database, but it is long enough to look at",
    )
    .unwrap();

    assert!(matches!(Sqlite::open(dir.path()), Err(JournalError::Io { .. })));
}

#[test]
fn a_row_that_is_not_what_was_written_is_found() {
    for (change, words) in [
        ("UPDATE records SET body = replace(body, 'one', 'two')", "record 1 of run r1: it is not"),
        ("UPDATE records SET at = '2020-01-01T00:00:00Z' WHERE seq = 2", "record 2 of run r1"),
        ("DELETE FROM records WHERE seq = 1", "record 1 of run r1 is missing"),
        ("UPDATE runs SET settings = '{}'", "run r1: it is not what was written"),
        ("UPDATE runs SET status = 'dnoe'", "its status `dnoe` is not known"),
        ("UPDATE runs SET started = x'ff'", "damaged"),
        ("UPDATE sources SET text = 'print(2)'", "source 0 of run r1: it is not"),
        ("UPDATE debts SET what = 'nothing'", "obligation replication on obs1: it is not"),
    ] {
        let (_dir, store, other) = one_run();
        store.append("r1", note("one")).unwrap();
        let debt = Debt { key: "replication".into(), what: "on".into(), locks_out: false };
        let open = DebtChange::Open { target: "obs1".into(), debt };
        store.append_durable("r1", note("two"), vec![open]).unwrap();
        assert!(store.find("r1").is_ok() && store.records("r1").is_ok() && store.debts().is_ok());
        assert!(other.execute(change, []).unwrap() > 0, "{change}");

        let errors: Vec<String> =
            [store.find("r1").err(), store.records("r1").err(), store.debts().err()]
                .into_iter()
                .flatten()
                .map(|error| error.to_string())
                .collect();

        assert_eq!(errors.len(), 1, "{change}: {errors:?}");
        assert!(errors[0].contains(words) && errors[0].contains("it is damaged"), "{errors:?}");
    }
}

#[test]
fn after_a_failed_write_nothing_more_is_written() {
    let (_dir, store, other) = one_run();
    let set = |format: u32| other.pragma_update(None, "user_version", format).unwrap();
    set(99);
    // Nobody waits for this one, and what was told after it must not be there without it.
    store.append("r1", note("lost")).unwrap();
    let waited = store.append_durable("r1", note("after it"), vec![]);
    assert!(matches!(waited, Err(JournalError::Future { found: 99, .. })), "{waited:?}");
    set(FORMAT);

    assert!(store.append("r1", note("one")).is_err());
    assert!(store.append_durable("r1", note("two"), vec![]).is_err());
    let turned = store.turn("r1", note("three"), Status::Done, None);
    assert!(matches!(turned, Err(JournalError::Future { .. })), "{turned:?}");
    assert_eq!(store.records("r1").unwrap(), []);
    assert_eq!(store.find("r1").unwrap().status, Status::Running);
}

/// Counts the commits in a WAL file that was not begun anew since.
fn commits(dir: &Path) -> usize {
    let wal = fs::read(dir.join("journal.db-wal")).unwrap();
    wal[32..].chunks(24 + 4096).filter(|frame| frame[4..8] != [0; 4]).count()
}

#[test]
fn lanes_that_write_at_the_same_time_share_a_commit() {
    let (dir, store, mut other) = one_run();
    let before = commits(dir.path());
    let busy = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let lanes: Vec<_> = (0..100)
        .map(|lane| {
            let (ack, done) = channel();
            let job = Job::Append {
                run: "r1".into(),
                at: Timestamp::now(),
                body: Box::new(note(&lane.to_string())),
                debts: vec![],
                ack: Some(ack),
            };
            store.send(job).unwrap();
            done
        })
        .collect();
    drop(busy);
    for done in lanes {
        done.recv().unwrap().unwrap();
    }

    // One for what the writer had taken before it had to wait, one for the rest.
    let commits = commits(dir.path()) - before;
    assert!((1..=2).contains(&commits), "{commits}");
    assert_eq!(store.records("r1").unwrap().len(), 100);
}

#[test]
fn only_runs_that_are_over_and_owe_nothing_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path()).unwrap();
    let all = ["done", "back", "failed", "owes", "paused", "unknown", "running", "held", "none"];
    for id in &all[..8] {
        store.create(&run(id)).unwrap();
        let status = match *id {
            "done" | "held" => Status::Done,
            "back" => Status::RolledBack,
            "paused" => Status::Paused,
            "unknown" => Status::Unknown,
            "running" => Status::Running,
            _ => Status::Failed,
        };
        store.turn(id, note("ended"), status, None).unwrap();
    }
    let debt = Debt { key: "k".into(), what: "w".into(), locks_out: false };
    let open = DebtChange::Open { target: "t".into(), debt };
    store.append_durable("owes", note("open"), vec![open]).unwrap();
    let _held = store.hold("held").unwrap();
    drop(store.hold("done").unwrap());

    let removed = store.prune(&all.map(str::to_owned)).unwrap();

    assert_eq!(removed, ["done", "back", "failed"]);
    let mut left: Vec<_> = store.runs().unwrap().into_iter().map(|run| run.id).collect();
    left.sort();
    assert_eq!(left, ["held", "owes", "paused", "running", "unknown"]);
    assert_eq!(store.records("done").unwrap(), []);
    assert!(!dir.path().join("locks/done.lock").exists());
}

#[test]
fn runs_are_listed_without_reading_their_settings() {
    let (_dir, store, other) = one_run();
    let before = store.find("r1").unwrap();
    assert!(!before.settings.is_null());
    let listed = store.runs().unwrap();
    assert_eq!(listed, [RunInfo { settings: json!(null), sources: Vec::new(), ..before }]);
    // They may be megabytes, and are looked at only where they are wanted.
    other.execute("UPDATE runs SET settings = 'no JSON'", []).unwrap();
    assert_eq!(store.runs().unwrap(), listed);
    assert!(store.find("r1").unwrap_err().to_string().contains("run r1"));
}
