//! An operator: runs the program in a terminal, answers what it asks, and may be struck by a power failure meanwhile.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rexpect::process::{Signal, WaitStatus};
use rexpect::session::spawn_command;

/// How long the program may take in calm weather, and a storm in all.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// How a process of the program ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its exit status; none if it was killed.
    pub(super) code: Option<i32>,
    /// What it said: events, questions and errors.
    pub(super) said: String,
}

/// Runs the program, its events in the file `out`. With a `life`, it is ended by SIGKILL after that time, unless it ended
/// before. `answer` gets what the terminal shows since the last answer, once a question stands there.
pub(super) fn work(
    mut program: Command,
    out: &Path,
    life: Option<Duration>,
    mut answer: impl FnMut(&str) -> String,
) -> Ended {
    program.stdin(Stdio::inherit()).stderr(Stdio::inherit());
    program.stdout(File::create(out).unwrap());
    let began = Instant::now();
    // The time after which it is ended by force, should a test fail meanwhile.
    let mut terminal = spawn_command(program, Some(30_000)).unwrap();
    let (mut shown, mut all) = (String::new(), String::new());
    let mut killed = false;
    let code = loop {
        let status = terminal.process().status();
        while let Some(letter) = terminal.try_read() {
            shown.push(letter);
        }
        if asks(&shown) {
            let typed = answer(&shown);
            all.push_str(&std::mem::take(&mut shown));
            terminal.send_line(&typed).unwrap();
        }
        match status {
            Some(WaitStatus::StillAlive) | None => {}
            Some(WaitStatus::Exited(_, code)) => break Some(code),
            Some(_) => break None,
        }
        let dies = life.is_some_and(|life| began.elapsed() >= life);
        if (dies || began.elapsed() >= PATIENCE) && !killed {
            let _it_may_just_have_ended = terminal.process_mut().signal(Signal::SIGKILL);
            killed = true;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let events = String::from_utf8_lossy(&fs::read(out).unwrap()).into_owned();
    let said = format!("{events}{all}{shown}");
    assert!(began.elapsed() < PATIENCE, "it does not end within {PATIENCE:?}:\n{}", tail(&said));
    Ended { code, said }
}

/// Whether the terminal shows a question that waits for an answer.
fn asks(shown: &str) -> bool {
    let last = shown.rsplit('\n').next().unwrap_or_default();
    last.ends_with("] ") || (last.starts_with("  1-") && last.ends_with(": "))
}

/// The last lines of what it said, for the message of a test.
pub(super) fn tail(said: &str) -> String {
    // A lane that stands still has said nothing for long.
    fn lane(line: &str) -> Option<&str> {
        line.split_once("\"lane\":\"")?.1.split('"').next()
    }
    let lines: Vec<&str> = said.lines().collect();
    let mut last = BTreeMap::new();
    for line in &lines {
        last.insert(lane(line), *line);
    }
    let last: Vec<&str> = last.into_values().collect();
    format!(
        "{}\nlast of each lane:\n{}",
        lines[lines.len().saturating_sub(20)..].join("\n"),
        last.join("\n")
    )
}
