//! How fast the journal takes durable records from lanes side by side, against two floors with group commit: the same bytes
//! appended to a file, a sync for as many records as there are lanes; and the same records, as text that is ready, inserted by
//! one thread that does nothing else, a transaction of `SQLite` for as many. `cargo bench --bench journal`; the numbers are in
//! docs/performance.md.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, params};
use serde_json::json;
use upgrade_host::call::CallKey;
use upgrade_host::event::Status;
use upgrade_host::journal::{Body, Outcome, RunInfo, Sqlite, Store};

/// How many records are written each time.
const RECORDS: u32 = 10_000;
const LANES: [u32; 5] = [1, 4, 16, 64, 256];
/// How often each is measured; the median counts.
const ROUNDS: usize = 3;

/// How many records a second the disk takes, if those of all lanes share a sync: the bytes of the records alone, appended to
/// a file that has its space already, as a journal in use has.
fn disk(dir: &Path, lanes: u32, all: u32) -> Result<f64, Box<dyn Error>> {
    let record = serde_json::to_vec(&outcome(lanes, all))?;
    let path = dir.join(format!("disk-{lanes}"));
    let mut file = File::create(&path)?;
    file.write_all(&vec![0; record.len() * usize::try_from(all)?])?;
    file.sync_all()?;
    let mut file = File::options().write(true).open(&path)?;
    let commit = record.repeat(usize::try_from(lanes)?);
    let start = Instant::now();
    for _ in 0..all / lanes {
        file.write_all(&commit)?;
        file.sync_data()?;
    }
    Ok(f64::from(all / lanes * lanes) / start.elapsed().as_secs_f64())
}

/// How many records a second `SQLite` takes from one thread, if those of all lanes share a transaction.
fn sqlite(dir: &Path, lanes: u32, all: u32) -> Result<f64, Box<dyn Error>> {
    let record = serde_json::to_string(&outcome(lanes, all))?;
    let connection = Connection::open(dir.join(format!("sqlite-{lanes}")))?;
    connection.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
         CREATE TABLE records (
             run TEXT NOT NULL, seq INTEGER NOT NULL, at TEXT NOT NULL, body TEXT NOT NULL, sum TEXT,
             PRIMARY KEY (run, seq)) WITHOUT ROWID;",
    )?;
    let mut insert =
        connection.prepare("INSERT INTO records (run, seq, at, body, sum) VALUES (?,?,?,?,?)")?;
    let (at, sum) = ("2026-11-22T20:20:00.123456789Z", "0".repeat(64));
    let start = Instant::now();
    for commit in 0..all / lanes {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for lane in 0..lanes {
            insert.execute(params!["r", commit * lanes + lane, at, record, sum])?;
        }
        connection.execute_batch("COMMIT")?;
    }
    Ok(f64::from(all / lanes * lanes) / start.elapsed().as_secs_f64())
}

fn run(id: &str) -> Result<RunInfo, Box<dyn Error>> {
    let info = json!({
        "id": id, "runbook": "bench", "title": "", "targets": ["t"], "operator": "b", "version": "0",
        "status": Status::Running, "started": "2026-11-22T20:20:00Z", "ended": null, "due": null,
        "settings": {}, "sources": [],
    });
    Ok(serde_json::from_value(info)?)
}

/// An outcome as `sh` leaves it.
fn outcome(lane: u32, nth: u32) -> Body {
    Body::Outcome {
        call: CallKey {
            lane: format!("main > each 1 > target-{lane}"),
            step: "copy > first pass".into(),
            action: "sh".into(),
            nth,
        },
        outcome: Outcome::Done {
            value: json!({ "code": 0, "stdout": "line one\nline two\n", "stderr": "" }),
            changed: true,
            words: None,
        },
    }
}

/// Writes all records from so many lanes, each of which waits for every record of its own; returns records in a second.
fn records(dir: &Path, lanes: u32, all: u32) -> Result<f64, Box<dyn Error>> {
    let store = Sqlite::open(&dir.join(lanes.to_string()))?;
    store.create(&run("r")?)?;
    let each = (all / lanes).max(1);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..lanes)
            .map(|lane| {
                let store = &store;
                scope.spawn(move || {
                    (1..=each).try_for_each(|nth| {
                        store.append_durable("r", outcome(lane, nth), Vec::new())
                    })
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err("a lane panicked".to_owned()),
        })
    })?;
    let took = start.elapsed();
    let written = u32::try_from(store.records("r")?.len())?;
    if written != each * lanes {
        return Err(format!("{written} records are there of {}", each * lanes).into());
    }
    Ok(f64::from(written) / took.as_secs_f64())
}

fn main() -> Result<(), Box<dyn Error>> {
    let all = if std::env::args().any(|arg| arg == "--bench") { RECORDS } else { 512 };
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    println!(
        "{:>5} {:>10} {:>10} {:>10}   a second; the journal to the disk, to SQLite",
        "lanes", "disk", "SQLite", "journal"
    );
    for lanes in LANES {
        // They take turns, so that what else the machine does hits all.
        let [mut disks, mut sqlites, mut journals] = [Vec::new(), Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            let dir = dir.path().join(format!("{lanes}-{round}"));
            std::fs::create_dir(&dir)?;
            disks.push(disk(&dir, lanes, all)?);
            sqlites.push(sqlite(&dir, lanes, all)?);
            journals.push(records(&dir, lanes, all)?);
        }
        let [disk, sqlite, journal] = [disks, sqlites, journals].map(median);
        println!(
            "{lanes:>5} {disk:>10.0} {sqlite:>10.0} {journal:>10.0}   1/{:.1} 1/{:.1}",
            disk / journal,
            sqlite / journal
        );
    }
    Ok(())
}

fn median(mut found: Vec<f64>) -> f64 {
    found.sort_by(f64::total_cmp);
    found[found.len() / 2]
}
