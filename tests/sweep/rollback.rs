//! The same with `rollback`, and kills while a run is undone.

use super::runbooks::{SAMPLE, some};
use super::{At, Package, RUN, World, all, boundaries, killed, same, undisturbed, writes};
use crate::support::site::{Ended, Site};

/// What of the home no rollback brings back: the users' indexes, which is why there is a point of no return.
const USERS: &str = "obs/user";
/// It says whether replication is on, which is not for a rollback to decide.
const REPLICATION: &str = "obs/conf/rpsSend.xml";
/// Fails in step 7, when the new version is unpacked and the old settings are to be copied over it.
const FAILING: &str = "keep = [\"conf\", \"version.txt\"]";

fn number(at: &At) -> usize {
    at.split(' ').next().unwrap().parse().unwrap()
}

/// What holds after every rollback: the old version runs, users are as they were, and what is off is owed.
fn is_back(world: &World, before: &World, at: &str, ended: &Ended) {
    let say = || format!("killed at {at}: {}", ended.out);
    assert_eq!(world.users, before.users, "{}", say());
    let suspended = world.changes("to=SUSPENDED");
    assert!(suspended.values().all(|times| *times == 1), "{suspended:?} {}", say());
    let enabled = world.changes("to=ENABLE");
    assert!(enabled.values().all(|times| *times == 1), "{enabled:?} {}", say());
    assert_eq!(world.last("START"), "START ready  version=5.5.2.0", "{}", say());
    assert_eq!(world.times("START"), world.times("STOP") + 1, "{}", say());
    let off = world.last("REPLICATION").starts_with("REPLICATION off");
    let owed: &[&str] = if off { &["replication on"] } else { &[] };
    assert_eq!(world.debts, owed, "{}", say());
    assert_eq!(world.files[REPLICATION].contains("enable=\"N\""), off, "{}", say());
    assert_eq!(world.status.as_deref(), Some("rolled back"), "{}", say());
    assert_eq!(world.leftovers, [""; 0], "{}", say());
    let aside: Vec<_> = world.files.keys().filter(|path| path.contains(".changed-")).collect();
    assert!(aside.is_empty(), "{aside:?} {}", say());
}

#[test]
fn rolled_back_after_a_kill_anywhere_the_old_version_runs_and_users_are_as_before() {
    let package = Package::new();
    let (done, writes) = undisturbed(&package);
    let closing = 1 + writes.iter().position(|kind| kind == "closing").unwrap();

    all(&boundaries(&writes), |at| {
        let site = package.site("");
        let before = World::of(&site);
        killed(&site.dying(at, &RUN), at);
        let indexed = site.audit().contains("\tINDEX\t");

        let ended = site.program(&["rollback", "last", "--yes"]);

        let mut world = World::of(&site);
        if number(at) > closing || *at == format!("{closing} after") {
            // What it kept for this may be gone: no half of a way back.
            assert_eq!(ended.code, Some(2), "killed at {at}: {}", ended.out);
            assert!(ended.out.contains("cannot be undone: it is through"), "{}", ended.out);
            if world.status != done.status {
                let ended = site.program(&["resume", "last", "--yes"]);
                assert_eq!(ended.code, Some(0), "killed at {at}: {}", ended.out);
                world = World::of(&site);
            }
            return same(&world, &done, at, &ended);
        }
        is_back(&world, &before, at, &ended);
        let skip: &[&str] = if indexed { &[REPLICATION, USERS] } else { &[REPLICATION] };
        pretty_assertions::assert_eq!(world.home(skip), before.home(skip), "killed at {at}");
        let code = if world.debts.is_empty() { 0 } else { 4 };
        assert_eq!(ended.code, Some(code), "killed at {at}: {}", ended.out);
    });
}

#[test]
fn the_everyday_runbook_is_taken_back_wherever_it_dies() {
    const QUICK: [&str; 3] =
        ["run", concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/ahsay_quick.rhai"), "--yes"];
    let package = Package::new();
    let site = package.with("");
    let ended = site.program(&QUICK);
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    let writes = writes(&site);
    let closing = 1 + writes.iter().position(|kind| kind == "closing").unwrap();
    let cases: Vec<At> = boundaries(&writes)
        .into_iter()
        .filter(|at| number(at) < closing || *at == format!("{closing} before"))
        .collect();

    all(&some(&cases, 2 * SAMPLE), |at| {
        let site = package.with("");
        let before = World::of(&site);
        killed(&site.dying(at, &QUICK), at);
        let indexed = site.audit().contains("\tINDEX\t");

        let ended = site.program(&["rollback", "last", "--yes"]);

        let world = World::of(&site);
        is_back(&world, &before, at, &ended);
        let skip: &[&str] = if indexed { &[USERS] } else { &[] };
        pretty_assertions::assert_eq!(world.home(skip), before.home(skip), "killed at {at}");
        assert_eq!(ended.code, Some(0), "killed at {at}: {}", ended.out);
    });
}

#[test]
fn killed_anywhere_while_a_failed_run_is_undone_it_is_undone_further() {
    let package = Package::new();
    let site = package.site(FAILING);
    let before = World::of(&site);
    let ended = site.program(&RUN);
    // Replication is owed, so this is more than a plain failure.
    assert_eq!(ended.code, Some(4), "{}", ended.out);
    let world = World::of(&site);
    is_back(&world, &before, "no boundary", &ended);
    assert_eq!(world.home(&[REPLICATION]), before.home(&[REPLICATION]));
    let writes = writes(&site);
    let began = writes.iter().position(|kind| kind == "undo_began").unwrap();
    let last = format!("{} after", writes.len());
    let cases: Vec<(At, &str)> = boundaries(&writes)
        .into_iter()
        .filter(|at| number(at) >= began && *at != last)
        .zip(["resume", "rollback"].into_iter().cycle())
        .collect();
    assert!(cases.len() > 10, "{cases:?}");

    all(&cases, |(at, verb)| {
        let site: Site = package.site(FAILING);
        killed(&site.dying(at, &RUN), at);

        let ended = site.program(&[verb, "last", "--yes"]);

        assert_eq!(ended.code, Some(4), "killed at {at}, {verb}: {}", ended.out);
        same(&World::of(&site), &world, &format!("{at}, then {verb}"), &ended);
    });
}
