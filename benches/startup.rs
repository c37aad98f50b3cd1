//! How long it takes from the start of the program to the first statement of a script, which prints, and to its end: wall
//! time of `upgrade-host -e 'print(1)'`, beside an empty process (the floor) and Python (what most peers need before their
//! first statement). `cargo bench --bench startup`; the numbers are in docs/performance.md.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often each is run; they take turns, so that what else the machine does hits all of them.
const ROUNDS: usize = 40;

struct Candidate {
    name: &'static str,
    words: Vec<String>,
    /// Until something was printed.
    first: Vec<Duration>,
    took: Vec<Duration>,
}

fn candidate(name: &'static str, words: &[&str]) -> Candidate {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    Candidate { name, words, first: Vec::new(), took: Vec::new() }
}

/// Returns the median for people, if there is one.
fn median(times: &mut [Duration]) -> String {
    times.sort();
    times.get(times.len() / 2).map_or_else(|| "–".to_owned(), |median| format!("{median:.2?}"))
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
            command.args(&candidate.words[1..]).stdout(Stdio::piped()).stderr(Stdio::null());
            let start = Instant::now();
            let Ok(mut child) = command.spawn() else { continue };
            let mut output = child.stdout.take().expect("a pipe");
            if output.read(&mut [0]).expect("its output") > 0 {
                candidate.first.push(start.elapsed());
            }
            std::io::copy(&mut output, &mut std::io::sink()).expect("its output");
            assert!(child.wait().expect("its end").success(), "{}", candidate.name);
            candidate.took.push(start.elapsed());
        }
    }
    println!("{:<44} {:>9} {:>9}", "", "first", "whole");
    for candidate in &mut all {
        let [first, took] = [&mut candidate.first, &mut candidate.took].map(|times| median(times));
        println!("{:<44} {first:>9} {took:>9}", candidate.name);
    }
}
