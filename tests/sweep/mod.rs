//! kill -9 at every boundary of the journal: whatever is then asked for, `resume` or `rollback`, ends as if nothing had
//! happened, and nothing is done twice.
//!
//! The runbook is the one that is shipped, the server is the simulated one, and the program is the real one: it ends
//! itself by SIGKILL just before or just after a write of its journal becomes durable (src/journal/failpoint.rs). Just
//! before the n-th write and just after the one before differ only if something happened in between, which is where an
//! outcome or the end is written; so both sides of outcomes are met, and of all else the side after. What replay does not read,
//! steps and notes, is met where a run is killed after each and every write of it in turn.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::random::Random;
use crate::support::site::{Ended, Site};

mod rollback;
mod runbooks;

const RUNBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/ahsay_553.rhai");
const RUN: [&str; 3] = ["run", RUNBOOK, "--yes"];
/// How many cases run side by side: they wait more than they work.
const SIDE_BY_SIDE: usize = 4;

/// What can be seen from outside, with nothing in it that differs between two servers.
#[derive(Clone, Debug, PartialEq)]
struct World {
    /// Every file of the server and of the copy but the logs: mode, and text or where a link leads.
    files: BTreeMap<String, String>,
    /// Whether each user can log in.
    users: BTreeMap<String, String>,
    /// Everything that the server noted to have been changed, in order.
    effects: Vec<String>,
    /// What is owed.
    debts: Vec<String>,
    /// How the run stands.
    status: Option<String>,
    /// What of ours is left.
    leftovers: Vec<String>,
}

/// A package of the new version, for all servers of a test.
struct Package(tempfile::TempDir);

impl Package {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Site::package(&dir.path().join("obsr.tar.gz"), "5.5.3.0");
        Self(dir)
    }

    /// Makes and starts a server of the old version, and the configuration with which the runbook upgrades it.
    fn site(&self, params: &str) -> Site {
        self.with(&format!("clients_wait = \"0s\"\n{params}"))
    }

    /// The same for any runbook.
    fn with(&self, params: &str) -> Site {
        let site = Site::with_server(12, &["index_ms_per_user=1", "sync_delay_ms=50"]);
        let config = format!(
            "{}
[defaults.params]
home = \"{}\"
package = \"{}\"
backup = \"{}\"
api = \"http://127.0.0.1:{}\"
system_password = \"env:OBS_PASSWORD\"
{params}
",
            site.read("upgrade-host.toml"),
            site.home().display(),
            self.0.path().join("obsr.tar.gz").display(),
            site.path("copy").display(),
            site.ports()[0],
        );
        site.write("upgrade-host.toml", &config);
        site
    }
}

impl World {
    fn of(site: &Site) -> Self {
        let mut files = BTreeMap::new();
        let mut leftovers = Vec::new();
        for dir in ["obs", "copy"] {
            walk(site, &site.path(dir), dir, &mut files, &mut leftovers);
        }
        let run = site.newest();
        if let Some((id, _)) = &run {
            let uid = fs::metadata(site.path("")).unwrap().uid();
            let spool = format!("/var/tmp/upgrade-host-{uid}/{id}");
            leftovers.extend(Path::new(&spool).exists().then_some(spool));
        }
        let effects = site.audit();
        let effects = effects
            .lines()
            .map(|line| line.split('\t').skip(1).filter(|field| !field.starts_with("pid=")))
            .map(|fields| fields.collect::<Vec<_>>().join(" "))
            .filter(|line| !line.starts_with("READ") && !line.starts_with("CONTROL"))
            .collect();
        let debts = site.listing("debts");
        let debts = debts.iter().map(|debt| debt["what"].as_str().unwrap().to_owned()).collect();
        let status = run.map(|(_, status)| status);
        Self { files, users: site.states(), effects, debts, status, leftovers }
    }

    /// The files of the server, without those that `skip` names by the beginning of their path.
    fn home(&self, skip: &[&str]) -> BTreeMap<String, String> {
        let mut files = self.files.clone();
        files.retain(|path, _| {
            path.starts_with("obs/") && !skip.iter().any(|skip| path.starts_with(skip))
        });
        files
    }

    fn times(&self, beginning: &str) -> usize {
        self.effects.iter().filter(|line| line.starts_with(beginning)).count()
    }

    /// How often each change of a user was made.
    fn changes(&self, to: &str) -> BTreeMap<&str, usize> {
        let mut changes = BTreeMap::new();
        for line in self.effects.iter().filter(|line| line.contains(to)) {
            *changes.entry(line.split(" from=").next().unwrap()).or_default() += 1;
        }
        changes
    }

    /// The last thing that the server noted of its own.
    fn last(&self, beginning: &str) -> &str {
        let last = self.effects.iter().rfind(|line| line.starts_with(beginning));
        last.map(String::as_str).unwrap_or_default()
    }
}

fn walk(
    site: &Site,
    dir: &Path,
    name: &str,
    files: &mut BTreeMap<String, String>,
    leftovers: &mut Vec<String>,
) {
    // They count from when the server was made.
    let dates = regex::Regex::new("Date=\"[0-9]+\"").unwrap();
    for entry in fs::read_dir(dir).into_iter().flatten().map(Result::unwrap) {
        let (path, own) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let name = format!("{name}/{own}");
        let kind = entry.file_type().unwrap();
        if own.starts_with(".upgrade-host-") {
            leftovers.push(name);
        } else if kind.is_dir() {
            if own != "logs" && own != "SystemLog" {
                walk(site, &path, &name, files, leftovers);
            }
        } else {
            let text = if kind.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else {
                let mode = entry.metadata().unwrap().permissions().mode();
                format!("{mode:o} {}", String::from_utf8_lossy(&fs::read(&path).unwrap()))
            };
            // First the dates: their digits may hold those of a port.
            let text = dates.replace_all(&text, "Date");
            let mut text = text.replace(&site.path("").display().to_string(), "DIR/");
            for (port, name) in site.ports().iter().zip(["HTTP", "CONTROL", "REPLICATION"]) {
                let port = regex::Regex::new(&format!(r"\b{port}\b")).unwrap();
                text = port.replace_all(&text, name).into_owned();
            }
            files.insert(name, text);
        }
    }
}

/// A boundary: the number of a write, and the side of it.
type At = String;

/// The boundaries of a run whose writes are these that differ from each other.
fn boundaries(writes: &[String]) -> Vec<At> {
    let numbered = || writes.iter().zip(1..);
    let outcomes = numbered().filter(|(kind, _)| matches!(kind.as_str(), "outcome" | "ended"));
    let before = outcomes.map(|(_, number)| format!("{number} before"));
    let mut all: Vec<At> = before.collect();
    let told = |kind: &str| matches!(kind, "step" | "note");
    let rest = numbered().filter(|(kind, _)| !told(kind));
    all.extend(rest.map(|(_, number): (_, usize)| format!("{number} after")));
    all
}

/// The kinds of the writes of a run that was not disturbed: the row of the run, and its records.
fn writes(site: &Site) -> Vec<String> {
    let journal = rusqlite::Connection::open(site.path("state/journal.db")).unwrap();
    let mut records = journal.prepare("SELECT body FROM records ORDER BY seq").unwrap();
    let bodies = records.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let kinds = bodies.map(|body| {
        let body: serde_json::Value = serde_json::from_str(&body.unwrap()).unwrap();
        body["kind"].as_str().unwrap().to_owned()
    });
    ["run".to_owned()].into_iter().chain(kinds).collect()
}

/// Runs all cases, some side by side, and says of which ones the claim does not hold.
fn all<T: Sync + std::fmt::Debug>(cases: &[T], claim: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if catch_unwind(AssertUnwindSafe(|| claim(case))).is_err() {
                        failed.lock().unwrap().push(case);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} boundaries: {failed:?}", failed.len(), cases.len());
}

#[track_caller]
fn killed(ended: &Ended, at: &str) {
    assert_eq!(ended.code, None, "it did not die at {at}: {}", ended.out);
}

#[track_caller]
fn same(world: &World, undisturbed: &World, at: &str, ended: &Ended) {
    if world == undisturbed {
        return;
    }
    let files =
        world.files.iter().filter(|(path, text)| undisturbed.files.get(*path) != Some(text));
    let files: Vec<_> = files.map(|(path, _)| path).collect();
    let missing: Vec<_> =
        undisturbed.files.keys().filter(|path| !world.files.contains_key(*path)).collect();
    pretty_assertions::assert_eq!(world.effects, undisturbed.effects, "{at}\n{}", ended.out);
    panic!(
        "killed at {at}: files {files:?}, missing {missing:?}, debts {:?}, status {:?}, left {:?}, users {}\n{}",
        world.debts,
        world.status,
        world.leftovers,
        world.users == undisturbed.users,
        ended.out
    );
}

/// How the world looks, and what was written, if nothing happens to the run.
fn undisturbed(package: &Package) -> (World, Vec<String>) {
    let site = package.site("");
    let ended = site.program(&RUN);
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    let world = World::of(&site);
    assert!(world.files["obs/version.txt"].contains("5.5.3"), "{world:?}");
    assert_eq!(world.changes("to=SUSPENDED").values().max(), Some(&1));
    assert_eq!(world.changes("to=ENABLE").len(), world.changes("to=SUSPENDED").len());
    assert_eq!((world.times("STOP"), world.times("START"), world.times("INDEX end")), (3, 4, 1));
    assert_eq!(world.last("REPLICATION"), "REPLICATION on  by=start");
    assert_eq!((world.debts.len(), world.leftovers.len()), (0, 0), "{world:?}");
    (world, writes(&site))
}

#[test]
fn resumed_after_a_kill_anywhere_it_ends_as_if_nothing_had_happened() {
    let package = Package::new();
    let (world, writes) = undisturbed(&package);
    let last = format!("{} after", writes.len());

    all(&boundaries(&writes), |at| {
        let site = package.site("");
        killed(&site.dying(at, &RUN), at);

        let ended = site.program(&["resume", "last", "--yes"]);

        // At the very end there is nothing left to resume.
        let code = if *at == last { 2 } else { 0 };
        assert_eq!(ended.code, Some(code), "killed at {at}: {}", ended.out);
        same(&World::of(&site), &world, at, &ended);
    });
}

#[test]
fn killed_before_the_run_is_on_record_nothing_was_done() {
    let package = Package::new();
    let site = package.site("");
    let before = World::of(&site);

    killed(&site.dying("1 before", &RUN), "1 before");

    assert_eq!(World::of(&site), before);
    let ended = site.program(&["resume", "last"]);
    assert_eq!(ended.code, Some(2), "{}", ended.out);
    assert!(ended.out.contains("there is no run yet"), "{}", ended.out);
}

#[test]
fn killed_again_and_again_it_still_gets_through() {
    let package = Package::new();
    let (world, writes) = undisturbed(&package);
    // Each process writes that it took the run up, and one thing more.
    all(&["2 after", "3 before"], |at| {
        let site = package.site("");
        killed(&site.dying("2 after", &RUN), "2 after");
        let mut ended = site.dying(at, &["resume", "last", "--yes"]);
        let mut kills = 1;
        while ended.code.is_none() {
            ended = site.dying(at, &["resume", "last", "--yes"]);
            kills += 1;
            assert!(kills < 2 * writes.len(), "it does not get on: {}", ended.out);
        }
        // The last process dies as it says how it ended, or finds that it has ended.
        assert!(matches!(ended.code, Some(0 | 2)), "{}", ended.out);
        same(&World::of(&site), &world, at, &ended);
    });
}

#[test]
fn killed_twice_at_random_it_ends_as_if_nothing_had_happened() {
    let package = Package::new();
    let (world, writes) = undisturbed(&package);
    let mut random = Random(20_261_123);
    let last = writes.len() as u64;
    let cases: Vec<(At, At)> =
        (0..20).map(|_| (boundary(&mut random, 2..last), boundary(&mut random, 1..last))).collect();

    all(&cases, |(first, second)| {
        let at = format!("{first}, then {second}");
        let site = package.site("");
        killed(&site.dying(first, &RUN), first);

        // It may end before it comes so far.
        let mut ended = site.dying(second, &["resume", "last", "--yes"]);
        if ended.code.is_none() {
            ended = site.program(&["resume", "last", "--yes"]);
        }

        assert!(matches!(ended.code, Some(0 | 2)), "killed at {at}: {}", ended.out);
        same(&World::of(&site), &world, &at, &ended);
    });
}

/// A boundary of a run that has so many writes.
fn boundary(random: &mut Random, range: std::ops::Range<u64>) -> At {
    let number = random.within(range);
    let side = if random.within(0..2) == 0 { "before" } else { "after" };
    format!("{number} {side}")
}
