//! How fast the journal takes durable records from lanes side by side, against what the disk itself can sync: lanes share
//! commits, so many lanes together are faster than the disk's own limit for one. `cargo bench --bench journal`; the
//! numbers are in docs/performance.md.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use upgrade_host::call::CallKey;
use upgrade_host::event::Status;
use upgrade_host::journal::{Body, Outcome, RunInfo, Sqlite, Store};

/// How many records are written each time.
const RECORDS: u32 = 10_000;
const LANES: [u32; 5] = [1, 4, 16, 64, 256];

/// How often the disk syncs a page that is appended to a file, in a second.
fn syncs(dir: &Path, measured: Duration) -> Result<f64, Box<dyn Error>> {
    let mut file = File::create(dir.join("syncs"))?;
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < measured {
        // A commit of one record is a page and its header.
        file.write_all(&[0x55; 4096 + 24])?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
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
    let measuring = std::env::args().any(|arg| arg == "--bench");
    let (all, measured) = if measuring {
        (RECORDS, Duration::from_secs(3))
    } else {
        (512, Duration::from_millis(50))
    };
    let dir = tempfile::tempdir()?;
    let syncs = syncs(dir.path(), measured)?;
    println!("the disk alone    {syncs:>8.0} syncs/s");
    for lanes in LANES {
        let records = records(dir.path(), lanes, all)?;
        println!(
            "{lanes:>4} lanes        {records:>8.0} records/s   {:>6.1} a sync",
            records / syncs
        );
    }
    Ok(())
}
