//! Storms over real hosts: the program is killed, links are cut and healed, power fails and hosts restart, all at once and
//! at random, while a run is under way. An operator takes it up again and again until it has ended; then nothing was done
//! twice, nobody is lost, nothing is off that `debts` does not list, and all is as if nothing had happened.
//!
//! `STORM_ROUNDS` is the number of rounds (default 2, as in CI), and `STORM_SEED` the number that the first one begins with,
//! as a failure names it. A long storm, with its figures at the end:
//!
//! ```sh
//! STORM_ROUNDS=200 cargo test --test main storm:: -- --nocapture
//! ```

mod counted;
mod operator;
mod upgrade;
mod weather;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::Value;

use self::operator::{PATIENCE, tail, work};
use self::weather::{Blows, forecast, rage};
use crate::support::lab::Host;
use crate::support::patience;
use crate::support::random::Random;

/// What became of all rounds.
#[derive(Debug, Default)]
struct Figures {
    rounds: u64,
    blows: Blows,
    kills: u64,
    resumes: u64,
    commands: u64,
    /// Questions what became of a change.
    decisions: u64,
    rolled_back: u64,
    double: u64,
    lost_users: u64,
    unlisted: u64,
    seconds: u64,
    /// What does not hold, with its seed.
    wrong: Vec<String>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Blows { cuts, power_failures, restarts } = self.blows;
        write!(
            f,
            "{} rounds in {} s: {} kills, {cuts} cuts, {power_failures} power failures, {restarts} restarts, \
             {} resumes, {} rounds ended rolled back; {} commands, {} decided by the operator; \
             {} double runs, {} users lost, {} unlisted obligations, {} other faults",
            self.rounds,
            self.seconds,
            self.kills,
            self.resumes,
            self.rolled_back,
            self.commands,
            self.decisions,
            self.double,
            self.lost_users,
            self.unlisted,
            self.wrong.len()
        )
    }
}

/// Tells whoever looks on, which a test runner does with `--nocapture`.
#[expect(
    clippy::print_stdout,
    reason = "the runner shows it if the test fails, or if that is asked for"
)]
fn say(text: &str) {
    println!("{text}");
}

/// Says the seed of a round that panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&format!("STORM_SEED={} STORM_ROUNDS=1 repeats it", self.0));
        }
    }
}

fn seeds() -> Range<u64> {
    let number = |name: &str, default: u64| -> u64 {
        std::env::var(name).map_or(default, |text| text.parse().unwrap())
    };
    let first = number("STORM_SEED", 1);
    first..first + number("STORM_ROUNDS", 2)
}

/// Goes through all rounds, and fails if one of them went wrong.
fn storms(what: &str, mut round: impl FnMut(u64, &mut Figures)) {
    let began = Instant::now();
    let mut figures = Figures::default();
    for seed in seeds() {
        let _seed = Seed(seed);
        let known = figures.wrong.len();
        round(seed, &mut figures);
        figures.rounds += 1;
        figures.seconds = began.elapsed().as_secs();
        for wrong in &mut figures.wrong[known..] {
            *wrong = format!("STORM_SEED={seed}: {wrong}");
            say(wrong);
        }
        say(&format!("{what}: {figures}"));
    }
    assert!(figures.wrong.is_empty(), "{:#?}\n{what}: {figures}", figures.wrong);
}

/// Lets a storm rage over the hosts while something is done. `off` is called whenever one of them is about to boot.
fn storm<T>(
    random: &mut Random,
    hosts: &[&Host],
    span: Duration,
    off: impl Fn(&Host) + Sync,
    done: impl FnOnce() -> T,
) -> (T, Vec<Blows>) {
    let forecasts: Vec<_> = hosts.iter().map(|_| forecast(random, span)).collect();
    let off = &off;
    std::thread::scope(|scope| {
        let (storms, threads): (Vec<_>, Vec<_>) = hosts
            .iter()
            .zip(&forecasts)
            .map(|(host, forecast)| {
                let (storm, calm) = channel();
                (storm, scope.spawn(move || rage(host, forecast, &calm, off)))
            })
            .unzip();
        let done = done();
        drop(storms);
        let blows = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        // A neighbour that was looked for in vain is looked for again a second later.
        let since = Instant::now();
        while hosts.iter().any(|host| !host.sh("true").status.success()) {
            assert!(since.elapsed() < PATIENCE, "a host is not back");
        }
        (done, blows)
    })
}

/// A run, and the operator who brings it to its end.
struct Work<'a> {
    /// Makes the program with its environment.
    command: &'a dyn Fn(&[&str]) -> Command,
    /// What begins the run.
    begin: Vec<String>,
    /// Where the events of each process go.
    out: PathBuf,
    /// Answers a question.
    answer: &'a mut dyn FnMut(&str) -> String,
    /// Looks at the targets whenever no process is there; says what is off and not listed, given what is.
    unlisted: &'a dyn Fn(&[Value]) -> Vec<String>,
    /// Whether it is rolled back once its first process has ended, instead of being resumed.
    back: bool,
}

impl Work<'_> {
    fn listing(&self, verb: &str) -> Vec<Value> {
        let output = patience::output(&mut (self.command)(&[verb, "--json"]));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// Begins a run and takes it up until it is done or rolled back, and returns that. Each process lives no longer than
    /// the next of `lives` says.
    fn through(
        &mut self,
        random: &mut Random,
        lives: &[Duration],
        figures: &mut Figures,
    ) -> String {
        let began = Instant::now();
        let mut lives = lives.iter().copied();
        let mut again = false;
        let earlier = self.listing("runs").len();
        let status = |this: &Self| {
            let runs = this.listing("runs");
            (runs.len() > earlier).then(|| runs[0]["status"].as_str().unwrap().to_owned())
        };
        loop {
            let status_before = status(self);
            let arguments: Vec<&str> = match status_before.as_deref() {
                None => self.begin.iter().map(String::as_str).collect(),
                Some("failed") => vec!["rollback", "last", "--json", "--yes"],
                Some(_) if self.back => vec!["rollback", "last", "--json", "--yes"],
                Some(_) => vec!["resume", "last", "--json", "--yes"],
            };
            figures.resumes += u64::from(std::mem::replace(&mut again, true));
            let ended =
                work((self.command)(&arguments), &self.out, lives.next(), &mut *self.answer);
            figures.kills += u64::from(ended.code.is_none());
            // A target that cannot be reached when the program starts is 1; it is 6 only if the journal fails.
            if !matches!(ended.code, None | Some(0..=5)) {
                figures.wrong.push(format!("status {:?}:\n{}", ended.code, tail(&ended.said)));
            }
            // What has ended as far as this cannot be undone any more.
            self.back &= !ended.said.contains("it is through");
            let listed = self.listing("debts");
            let unlisted = (self.unlisted)(&listed);
            figures.unlisted += unlisted.len() as u64;
            figures.wrong.extend(unlisted.iter().map(|what| format!("{what} is off, not listed")));
            if let Some(end @ ("done" | "rolled back")) = status(self).as_deref() {
                return end.to_owned();
            }
            assert!(
                began.elapsed() < PATIENCE,
                "it does not get through; at last {:?}:\n{}",
                ended.code,
                tail(&ended.said)
            );
            std::thread::sleep(random.millis(0..1500));
        }
    }
}

/// Whether the run of this seed is rolled back once it was struck.
fn goes_back(seed: u64) -> bool {
    seed.is_multiple_of(3)
}

/// How long some processes live.
fn lives(random: &mut Random, span: Duration) -> Vec<Duration> {
    let span = u64::try_from(span.as_millis()).unwrap();
    (0..random.within(1..5)).map(|_| random.millis(50..span / 2)).collect()
}
