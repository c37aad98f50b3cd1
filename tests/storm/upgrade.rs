//! The upgrade of a simulated server: in whatever storm, everybody who could log in before can log in after.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Figures, Work, goes_back, lives, storm, storms};
use crate::support::lab::Host;
use crate::support::patience::output;
use crate::support::random::Random;
use crate::upgrade::server::{BACKUP, BY_CONSOLE, HOME, RUNBOOK, Server};

/// The link by which the init script starts the server when the host boots.
const AT_BOOT: &str = "etc/rc3.d/S01obsr";
const SETTINGS: [&str; 2] = ["index_ms_per_user=100", "api_latency_ms=20"];
/// What an upgrade leaves alike every time.
const ALIKE: [&str; 5] = ["conf", "webapps", "bin", "jvm", "version.txt"];

/// Files of the server and of its copy: kind, digest, mode, owner.
fn files(server: &Server) -> BTreeMap<String, String> {
    let paths: Vec<_> =
        [HOME, BACKUP].iter().flat_map(|base| ALIKE.map(|path| format!("{base}/{path}"))).collect();
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    let tree = server.host.tree(&paths);
    let file = |line: &str| {
        let words: Vec<_> = line.splitn(7, ' ').collect();
        (words.len() == 7).then(|| (words[6].to_owned(), words[..4].join(" ")))
    };
    tree.lines().filter_map(file).collect()
}

/// How many users may not do what they could before, or could not.
fn lost(server: &Server) -> u64 {
    let now = server.states();
    let differs = |(user, state): &(&_, &String)| now.get(*user) != Some(*state);
    server.users.iter().filter(differs).count() as u64
}

fn owes(listed: &[Value], what: &str) -> bool {
    listed.iter().any(|debt| debt["what"].as_str().unwrap().starts_with(what))
}

/// What is off and not listed.
fn unlisted(server: &Server, listed: &[Value]) -> Vec<String> {
    let silent = server.read(&format!("{HOME}/conf/rpsSend.xml")).contains("enable=\"N\"");
    let off = [(lost(server) > 0, "users enabled"), (silent, "replication on")];
    let missing = off.into_iter().filter(|(off, what)| *off && !owes(listed, what));
    missing.map(|(_, what)| what.to_owned()).collect()
}

fn debts(server: &Server) -> Vec<Value> {
    let output = output(&mut server.command(&["debts", "--json"]));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Has the server start when the host boots, unless a run keeps it off.
fn before_boot(server: &Server, host: &Host) {
    let link = host.disk().join(AT_BOOT);
    let _none = fs::remove_file(&link);
    if !owes(&debts(server), "service") {
        symlink("../init.d/obsr", link).unwrap();
    }
}

/// Brings a run to its end, and returns how it stands.
fn upgrade(
    server: &Server,
    more: &[&str],
    random: &mut Random,
    lives: &[Duration],
    back: bool,
    figures: &mut Figures,
) -> String {
    let begin = ["run", RUNBOOK, "--on", server.host.name(), "--json", "--yes"];
    let mut decisions = 0;
    let mut answer = |shown: &str| {
        assert!(shown.contains("not known whether"), "{shown}");
        decisions += 1;
        "do it again".to_owned()
    };
    let mut work = Work {
        command: &|arguments| server.command(arguments),
        begin: [&begin, more].concat().into_iter().map(str::to_owned).collect(),
        out: server.path("events"),
        answer: &mut answer,
        unlisted: &|listed| unlisted(server, listed),
        back,
    };
    let status = work.through(random, lives, figures);
    figures.decisions += decisions;
    status
}

/// What does not hold after an upgrade.
fn wrong(server: &Server, calm: &BTreeMap<String, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let users = fs::read_dir(server.on_host(&format!("{HOME}/user"))).unwrap().map(Result::unwrap);
    let without = users.filter(|user| !user.path().join("db/index.bdb").exists()).count();
    if without > 0 {
        wrong.push(format!("{without} users are not indexed"));
    }
    let files = files(server);
    let all: BTreeSet<_> = files.keys().chain(calm.keys()).collect();
    let differ: Vec<_> =
        all.into_iter().filter(|path| files.get(*path) != calm.get(*path)).collect();
    if !differ.is_empty() {
        wrong.push(format!("these differ: {differ:?}"));
    }
    wrong
}

#[test]
fn nobody_is_locked_out_by_an_upgrade_in_a_storm() {
    let Some(mut server) = Server::new(&SETTINGS) else { return };
    let began = Instant::now();
    server.upgrade(&BY_CONSOLE).expect(0);
    server.is_upgraded();
    let span = began.elapsed();
    let calm = files(&server);

    storms("upgrades", |seed, figures| {
        server.again(&SETTINGS);
        let mut random = Random(seed);
        let lives = lives(&mut random, span);
        let mut kills = Random(random.next());
        // The other way of switching replication restarts the server.
        let more: &[&str] = if random.within(0..2) == 0 { &BY_CONSOLE } else { &[] };
        let back = goes_back(seed);
        let (server, off) = (&server, |host: &Host| before_boot(&server, host));
        let (mut status, blows) = storm(&mut random, &[&server.host], span, off, || {
            upgrade(server, more, &mut kills, &lives, back, figures)
        });
        let powered = blows.iter().all(|blows| blows.power_failures == 0);
        for more in blows {
            figures.blows.add(more);
        }
        if status == "rolled back" {
            figures.rolled_back += 1;
            server.wait("the old server answers", |server| server.get("/alive.txt").is_some());
            server.runs("5.5.2.0");
            figures.lost_users += lost(server);
            // Nothing stands in the way of another run.
            status = upgrade(server, more, &mut kills, &[], false, figures);
        } else if powered {
            // A server whose power fails may forget what it noted.
            server.nobody_was_changed_twice();
        }
        assert_eq!(status, "done");
        server.wait("the server answers", |server| server.get("/alive.txt").is_some());
        server.runs("5.5.3.0");
        figures.lost_users += lost(server);
        server.users_are_as_before();
        server.replication_is(true);
        figures.wrong.extend(wrong(server, &calm));
        assert_eq!(debts(server), [""; 0]);
        // Sessions that were lost are kept by sshd until it finds out.
        server.nothing_is_left_but(&["sshd: root@notty"]);
        let _none = fs::remove_file(server.host.disk().join(AT_BOOT));
    });
}
