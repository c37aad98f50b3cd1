//! Every runbook, and every place to die that is not a write of the journal: inside the start of a command with a
//! receipt, inside the look at what became of it, inside undo.
//!
//! `SWEEP=all` meets all boundaries; otherwise they are taken evenly, so that this takes its share of a test run and no
//! more.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{At, Package, World, all, killed, same, writes};
use crate::support::site::{Ended, Site};

const COUNTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/counted.rhai");
const RUN: [&str; 3] = ["run", COUNTED, "--yes"];
/// How many boundaries are met of each kind.
pub(super) const SAMPLE: usize = 8;
/// The places around the start of a command with a receipt.
const STARTS: [&str; 3] = ["launch", "launching", "launched"];
/// No run passes a place more often.
const MOST: usize = 200;

/// What the counted commands left.
#[derive(Clone, Debug, PartialEq)]
struct Left {
    ran: BTreeMap<String, usize>,
    files: BTreeMap<String, String>,
    debts: usize,
    status: Option<String>,
    receipts: bool,
}

impl Left {
    fn of(site: &Site) -> Self {
        let mut ran = BTreeMap::new();
        for name in site.read("data/ran").lines() {
            *ran.entry(name.to_owned()).or_default() += 1;
        }
        let files = fs::read_dir(site.path("data")).unwrap().map(Result::unwrap);
        let files = files
            .filter(|file| file.file_name() != "ran")
            .map(|file| {
                let name = file.file_name().to_string_lossy().into_owned();
                (name, fs::read_to_string(file.path()).unwrap())
            })
            .collect();
        let run = site.newest();
        let receipts = run.as_ref().is_some_and(|(id, _)| {
            let user = fs::metadata(site.path("")).unwrap().uid();
            Path::new(&format!("/var/tmp/upgrade-host-{user}/{id}")).exists()
        });
        let debts = site.listing("debts").len();
        Self { ran, files, debts, status: run.map(|(_, status)| status), receipts }
    }

    fn is_back(&self) -> Result<(), String> {
        let count = |name: &str| self.ran.get(name).copied().unwrap_or_default();
        if let Some((name, times)) =
            self.ran.iter().find(|(name, times)| !name.starts_with("service-") && **times > 1)
        {
            return Err(format!("{name} ran {times} times"));
        }
        let forward = self
            .ran
            .keys()
            .filter(|name| !name.starts_with("undo-") && !name.starts_with("service-"));
        for name in forward {
            if count(&format!("undo-{name}")) != 1 {
                return Err(format!("{name} ran and was not undone"));
            }
        }
        let undone = self.ran.keys().filter_map(|name| name.strip_prefix("undo-"));
        for name in undone.filter(|name| !name.starts_with("closure")) {
            if count(name) != 1 {
                return Err(format!("{name} was undone and had not run"));
            }
        }
        if count("service-start") != count("service-stop") {
            return Err("the service was not started as often as it was stopped".to_owned());
        }
        let rest = (self.files.keys().map(String::as_str).collect::<Vec<_>>(), self.debts);
        if rest != (vec!["up"], 0) || self.receipts {
            return Err("something is left".to_owned());
        }
        if self.status.as_deref() != Some("rolled back") {
            return Err("it is not rolled back".to_owned());
        }
        Ok(())
    }
}

fn counted(params: &str) -> Site {
    let site = Site::new();
    fs::create_dir(site.path("data")).unwrap();
    site.write("data/up", "");
    let dir = site.path("data").display().to_string();
    site.write(
        "upgrade-host.toml",
        &format!(
            "[services.counted]\nstart = \"echo service-start >>{dir}/ran; touch {dir}/up\"\n\
             stop = \"echo service-stop >>{dir}/ran; rm {dir}/up\"\nstatus = \"test -e {dir}/up\"\n\
             [defaults.params]\ndir = \"{dir}\"\n{params}\n"
        ),
    );
    site
}

/// How the counted runbook ends if nothing happens, and how much it writes.
fn undisturbed() -> (Left, usize) {
    let site = counted("");
    let ended = site.program(&RUN);
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    let left = Left::of(&site);
    assert_eq!(left.ran.len(), 14, "{left:?}");
    assert!(left.ran.values().all(|times| *times == 1), "{left:?}");
    assert_eq!((left.debts, left.receipts, left.files.len()), (0, false, 5), "{left:?}");
    (left, writes(&site).len())
}

/// Both sides of these writes. The order of writes is not the same in every run, for lanes run side by side, so no
/// kind of write is left out.
fn sides(writes: impl Iterator<Item = usize>) -> Vec<At> {
    writes.flat_map(|number| [format!("{number} before"), format!("{number} after")]).collect()
}

/// Some of the cases, evenly; or all of them, if that is asked for.
pub(super) fn some<T: Clone>(cases: &[T], most: usize) -> Vec<T> {
    if cases.len() <= most || std::env::var_os("SWEEP").is_some_and(|how| how == "all") {
        return cases.to_vec();
    }
    (0..most).map(|nth| cases[nth * cases.len() / most].clone()).collect()
}

fn say(at: &str, left: &Left, ended: &Ended) -> String {
    format!("killed at {at}: {left:?}\n{}", ended.out)
}

/// After a resume all is as if nothing had happened.
#[track_caller]
fn through(site: &Site, done: &Left, at: &str, ended: &Ended) {
    let left = Left::of(site);
    // At the very end there is nothing left to resume.
    assert!(matches!(ended.code, Some(0 | 2)), "{}", say(at, &left, ended));
    assert_eq!(left, *done, "{}", say(at, &left, ended));
}

/// After a rollback what ran is undone, once; or it was through.
#[track_caller]
fn back(site: &Site, done: &Left, at: &str, ended: &Ended) {
    if ended.code == Some(2) {
        assert!(ended.out.contains("cannot be undone: it is through"), "{at}: {}", ended.out);
        let ended = site.program(&["resume", "last", "--yes"]);
        return through(site, done, at, &ended);
    }
    let left = Left::of(site);
    assert_eq!(ended.code, Some(0), "{}", say(at, &left, ended));
    left.is_back().unwrap_or_else(|why| panic!("{why}; {}", say(at, &left, ended)));
}

#[test]
fn counted_commands_run_once_wherever_it_dies() {
    let (done, writes) = undisturbed();
    all(&some(&sides(2..=writes), 3 * SAMPLE), |at| {
        let site = counted("");
        killed(&site.dying(at, &RUN), at);
        let ended = site.program(&["resume", "last", "--yes"]);
        through(&site, &done, at, &ended);
    });
}

#[test]
fn counted_commands_are_undone_once_wherever_it_dies() {
    let (done, writes) = undisturbed();
    all(&some(&sides(2..=writes), 3 * SAMPLE), |at| {
        let site = counted("");
        killed(&site.dying(at, &RUN), at);
        let ended = site.program(&["rollback", "last", "--yes"]);
        back(&site, &done, at, &ended);
    });
}

#[test]
fn inside_the_start_of_a_command_it_is_started_once() {
    let (done, _) = undisturbed();
    let passes: Vec<(String, &str)> = (1..=done.ran.len())
        .flat_map(|pass| STARTS.map(|place| format!("{place} {pass}")))
        .zip(["resume", "rollback"].into_iter().cycle())
        .collect();
    all(&some(&passes, 2 * SAMPLE), |(at, verb)| {
        let site = counted("");
        killed(&site.dying(at, &RUN), at);
        let ended = site.program(&[verb, "last", "--yes"]);
        if *verb == "resume" {
            through(&site, &done, at, &ended);
        } else {
            back(&site, &done, at, &ended);
        }
    });
}

#[test]
fn inside_the_look_at_what_became_of_a_command_it_is_not_run_again() {
    let (done, writes) = undisturbed();
    let cases: Vec<(At, &str)> = sides(3..=writes)
        .into_iter()
        .zip(["reconcile 1", "launching 1", "reconciled 1", "launched 1"].into_iter().cycle())
        .collect();
    let met = std::sync::atomic::AtomicUsize::new(0);
    all(&some(&cases, 2 * SAMPLE + 1), |(at, then)| {
        let site = counted("");
        killed(&site.dying(at, &RUN), at);
        // Where no intent is open, nothing is looked up.
        let mut ended = site.dying(then, &["resume", "last", "--yes"]);
        if ended.code.is_none() {
            met.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            ended = site.program(&["resume", "last", "--yes"]);
        }
        through(&site, &done, &format!("{at}, then {then}"), &ended);
    });
    assert!(met.into_inner() >= SAMPLE / 2, "it hardly ever died the second time");
}

#[test]
fn inside_undo_everything_is_undone_once() {
    let site = counted("fails = true");
    let ended = site.program(&RUN);
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    let undone = Left::of(&site);
    undone.is_back().unwrap_or_else(|why| panic!("{why}: {undone:?}\n{}", ended.out));
    assert_eq!(undone.ran.len(), 30, "{undone:?}");
    let writes = writes(&site);
    let began = 2 + writes.iter().position(|kind| kind == "undo_began").unwrap();
    // An end that is on record leaves nothing to take up.
    let cases = sides(began..writes.len());
    let places =
        ["undo", "undone"].map(|place| (1..=14).map(move |pass| format!("{place} {pass}")));
    let cases: Vec<At> =
        [some(&cases, 2 * SAMPLE), some(&places.into_iter().flatten().collect::<Vec<_>>(), SAMPLE)]
            .concat();
    let cases: Vec<(At, &str)> =
        cases.into_iter().zip(["resume", "rollback"].into_iter().cycle()).collect();
    all(&cases, |(at, verb)| {
        let site = counted("fails = true");
        killed(&site.dying(at, &RUN), at);
        let ended = site.program(&[verb, "last", "--yes"]);
        let at = format!("{at}, then {verb}");
        let left = Left::of(&site);
        assert!(matches!(ended.code, Some(0 | 1)), "{}", say(&at, &left, &ended));
        assert_eq!(left, undone, "{}", say(&at, &left, &ended));
    });
}

/// The parameters with which a runbook of `scripts/` runs against the simulated server.
fn params(name: &str) -> &'static str {
    match name {
        "ahsay_553" => "clients_wait = \"0s\"",
        "ahsay_quick" => "",
        other => {
            panic!("scripts/{other}.rhai has no sweep: say here with which parameters it runs")
        }
    }
}

#[test]
fn every_runbook_that_is_shipped_ends_as_if_nothing_had_happened() {
    let package = Package::new();
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts");
    let mut names: Vec<String> = fs::read_dir(scripts)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".rhai").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() >= 2, "{names:?}");
    for name in names {
        let file = format!("{scripts}/{name}.rhai");
        let run = ["run", &file, "--yes"];
        let made = || package.with(params(&name));
        let site = made();
        let ended = site.program(&run);
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.out);
        let done = World::of(&site);
        assert_eq!(done.leftovers, [""; 0], "{name}");
        let writes = writes(&site);
        let mut cases = some(&sides(2..=writes.len()), SAMPLE);
        for place in STARTS {
            // A place that this runbook does not pass so often ends the list.
            let passes: Vec<At> = (1..MOST).map(|pass| format!("{place} {pass}")).collect();
            let launches = launches(&writes);
            cases.extend(some(&passes[..launches], SAMPLE / 4));
        }
        all(&cases, |at| {
            let site = made();
            let ended = site.dying(at, &run);
            if ended.code.is_some() {
                // It launches fewer commands than there are intents.
                assert!(at.starts_with("launch"), "{name} did not die at {at}: {}", ended.out);
                return;
            }
            let ended = site.program(&["resume", "last", "--yes"]);
            let at = format!("{name}, {at}");
            assert!(matches!(ended.code, Some(0 | 2)), "killed at {at}: {}", ended.out);
            same(&World::of(&site), &done, &at, &ended);
        });
    }
}

/// No more commands are launched than there are intents.
fn launches(writes: &[String]) -> usize {
    writes.iter().filter(|kind| *kind == "intent").count().min(MOST - 1)
}
