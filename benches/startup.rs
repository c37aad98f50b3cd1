//! How long it takes from the start of the program to the first statement of a script, and out again: wall time
//! of `upgrade-host -e 'print(1)'`, beside an empty process (the floor) and Python (what most peers need
//! before their first statement). `cargo bench --bench startup`; the numbers are in docs/performance.md.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often each is run; they take turns, so that what else the machine does hits all of them.
const ROUNDS: usize = 40;

struct Candidate {
    name: &'static str,
    words: Vec<String>,
    took: Vec<Duration>,
}

fn candidate(name: &'static str, words: &[&str]) -> Candidate {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    Candidate { name, words, took: Vec::new() }
}

fn median(took: &mut [Duration]) -> Duration {
    took.sort();
    took[took.len() / 2]
}

fn main() {
    // `cargo test --benches` only asks whether it starts.
    let rounds = if std::env::args().any(|arg| arg == "--bench") { ROUNDS } else { 1 };
    let state = tempfile::tempdir().expect("a directory for the journal");
    let state = state.path().to_str().expect("a path in UTF-8");
    let program = env!("CARGO_BIN_EXE_upgrade-host");
    let mut all = [
        candidate("true", &["true"]),
        candidate("upgrade-host -e 'print(1)'", &[program, "--state", state, "-e", "print(1)"]),
        candidate(
            "upgrade-host check scripts/ahsay_553.rhai",
            &[program, "check", concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/ahsay_553.rhai")],
        ),
        candidate("python3 -c 'print(1)'", &["/usr/bin/python3", "-c", "print(1)"]),
        candidate(
            "python3 -c 'import asyncio, json'",
            &["/usr/bin/python3", "-c", "import asyncio, json"],
        ),
    ];
    for _ in 0..rounds {
        for candidate in &mut all {
            let mut command = Command::new(&candidate.words[0]);
            command.args(&candidate.words[1..]).stdout(Stdio::null()).stderr(Stdio::null());
            let start = Instant::now();
            let Ok(status) = command.status() else { continue };
            assert!(status.success(), "{}", candidate.name);
            candidate.took.push(start.elapsed());
        }
    }
    for candidate in &mut all {
        match candidate.took.len() {
            0 => println!("{:<44} not here", candidate.name),
            _ => println!("{:<44} {:>8.2?}", candidate.name, median(&mut candidate.took)),
        }
    }
}
