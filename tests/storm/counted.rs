//! Two hundred commands on each of three hosts: in whatever storm, each runs once, and what is rolled back is undone once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use regex::Regex;
use serde_json::Value;

use super::{Figures, Work, goes_back, lives, storm, storms};
use crate::support::lab::{Host, Lab, config_toml};
use crate::support::patience::output;
use crate::support::random::Random;
use crate::support::site::Site;

const RUNBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/storm.rhai");
const DIR: &str = "/srv/storm";
const LANES: [&str; 4] = ["a", "b", "c", "d"];
/// How many commands the runbook has.
const COMMANDS: usize = 200;

/// What is in the directory of the runbook on a host.
#[derive(Debug, Default, PartialEq)]
struct Left {
    /// How often each command ran.
    ran: BTreeMap<String, u64>,
    files: BTreeMap<String, String>,
}

impl Left {
    fn of(host: &Host) -> Self {
        let mut left = Self::default();
        for file in fs::read_dir(host.disk().join(&DIR[1..])).unwrap().map(Result::unwrap) {
            let text = fs::read_to_string(file.path()).unwrap();
            if file.file_name() != "ran" {
                left.files.insert(file.file_name().to_string_lossy().into_owned(), text);
                continue;
            }
            for name in text.lines() {
                *left.ran.entry(name.to_owned()).or_default() += 1;
            }
        }
        left
    }

    fn times(&self, name: &str) -> u64 {
        self.ran.get(name).copied().unwrap_or_default()
    }

    /// What of it is not so after a rollback: each command that ran was undone once, and nothing else is there. What
    /// failed, as a command does that a shutdown ends, may have come to nothing, and is undone all the same.
    fn not_back(&self, failed: &BTreeSet<String>) -> Option<String> {
        let wrong = |name: &&String| {
            let done = name.strip_prefix("undo-").unwrap_or(name);
            let ran = self.times(done);
            self.times(&format!("undo-{done}")) != 1
                || !(ran == 1 || (ran == 0 && failed.contains(done)))
        };
        let wrong: Vec<_> = self.ran.keys().filter(wrong).collect();
        let files: Vec<_> = self.files.keys().map(String::as_str).collect();
        (!wrong.is_empty() || files != ["up"])
            .then(|| format!("not undone once: {wrong:?}; {files:?}"))
    }
}

/// A directory on each host, and one here for the program.
struct Ground<'a> {
    site: Site,
    hosts: &'a [Host; 3],
}

impl<'a> Ground<'a> {
    fn new(hosts: &'a [Host; 3]) -> Self {
        let site = Site::new().with_usual_locks();
        for host in hosts {
            host.ok(&format!("rm -rf {DIR} /var/tmp/upgrade-host-*; mkdir {DIR}; touch {DIR}/up"));
        }
        let config = config_toml(&hosts.each_ref())
            + "[defaults]\nsilence = \"4s\"\nreconnect = \"90s\"\n"
            + &format!("[defaults.params]\ndir = \"{DIR}\"\n")
            + &format!(
                "[services.storm]\nstart = \"touch {DIR}/up\"\nstop = \"rm -f {DIR}/up\"\nstatus = \"test -e {DIR}/up\"\n"
            );
        site.write("upgrade-host.toml", &config);
        Self { site, hosts }
    }

    fn host(&self, name: &str) -> &Host {
        self.hosts.iter().find(|host| host.name() == name).unwrap()
    }

    /// The commands that failed on a host in the newest run, by name.
    fn failed(&self, host: &Host) -> BTreeSet<String> {
        let name = Regex::new(r"echo (\S+) >>").unwrap();
        let shown = output(&mut self.site.command(&["show", "last", "--json"])).stdout;
        let events = String::from_utf8(shown).unwrap();
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let failed = events.filter(|event| event["target"] == host.name()).filter_map(|event| {
            let failure = &event["what"]["end"]["failed"];
            Some(name.captures(failure["command"].as_str()?)?[1].to_owned())
        });
        failed.collect()
    }

    fn left(&self) -> Vec<Left> {
        self.hosts.iter().map(Left::of).collect()
    }

    /// What of ours is left on the hosts.
    fn leftovers(&self) -> Vec<String> {
        let left = |host: &Host| host.ok("ls -d /var/tmp/upgrade-host-*/* 2>/dev/null; :");
        self.hosts.iter().map(left).filter(|left| !left.is_empty()).collect()
    }

    /// Brings the run to its end, with an operator who decides what is unknown by the counter.
    fn work(
        &self,
        random: &mut Random,
        lives: &[Duration],
        back: bool,
        boots: &dyn Fn(&str) -> u64,
        figures: &mut Figures,
    ) {
        let question = Regex::new(
            r"not known whether this happened: run `.*echo (\S+) >>.*` on (h\d) \(([^)]*)\)\. What",
        )
        .unwrap();
        let mut asked: BTreeMap<String, u64> = BTreeMap::new();
        let mut answer = |shown: &str| {
            let Some(found) = question.captures_iter(shown).last() else {
                // What it returned, once it is taken as done.
                assert!(shown.contains("as JSON?"), "{shown}");
                return String::new();
            };
            *asked.entry(found[2].to_owned()).or_default() += 1;
            let ran = Left::of(self.host(&found[2])).times(&found[1]);
            if ran == 0 { "do it again".to_owned() } else { "take it as done".to_owned() }
        };
        let unlisted = |listed: &[Value]| {
            let off = self.hosts.iter().filter(|host| !host.disk().join("srv/storm/up").exists());
            let owed = |host: &&Host| listed.iter().any(|debt| debt["target"] == host.name());
            off.filter(|host| !owed(host))
                .map(|host| format!("the service on {}", host.name()))
                .collect()
        };
        let hosts = self.hosts.each_ref().map(Host::name).join(",");
        let begin = ["run", RUNBOOK, "--on", &hosts, "--json", "--yes"];
        let mut work = Work {
            command: &|arguments| self.site.command(arguments),
            begin: begin.map(str::to_owned).to_vec(),
            out: self.site.path("events"),
            answer: &mut answer,
            unlisted: &unlisted,
            back,
        };
        work.through(random, lives, figures);
        for (host, asked) in asked {
            figures.decisions += asked;
            // Nothing else than a reboot leaves that open, and only for what was under way.
            let most = boots(&host) * LANES.len() as u64;
            if asked > most {
                figures.wrong.push(format!("{asked} questions about {host}, {most} can be"));
            }
        }
    }
}

#[test]
fn two_hundred_commands_on_three_hosts_each_run_once() {
    let Some(lab) = Lab::shared() else { return };
    let hosts = lab.hosts::<3>();
    let ground = Ground::new(&hosts);
    let began = Instant::now();
    let mut calm = Figures::default();
    ground.work(&mut Random(0), &[], false, &|_| 0, &mut calm);
    let span = began.elapsed();
    let done = ground.left();
    assert_eq!((calm.wrong, calm.decisions, ground.leftovers()), (vec![], 0, vec![]));
    for left in &done {
        assert_eq!(left.ran.len(), COMMANDS, "{left:?}");
        assert!(left.ran.values().all(|times| *times == 1), "{left:?}");
        let files: Vec<_> = left.files.keys().map(String::as_str).collect();
        assert_eq!(files, ["file", "lane-a", "lane-b", "lane-c", "lane-d", "up"]);
    }

    storms("commands", |seed, figures| {
        let mut random = Random(seed);
        let ground = Ground::new(&hosts);
        let boots: BTreeMap<_, _> =
            hosts.iter().map(|host| (host.name(), AtomicU64::new(0))).collect();
        let lives = lives(&mut random, span);
        let mut kills = Random(random.next());
        let off = |host: &Host| {
            boots[host.name()].fetch_add(1, Ordering::SeqCst);
        };
        let booted = |host: &str| boots[host].load(Ordering::SeqCst);
        let ((), blows) = storm(&mut random, &hosts.each_ref(), span, off, || {
            ground.work(&mut kills, &lives, goes_back(seed), &booted, figures);
        });
        for more in blows {
            figures.blows.add(more);
        }

        let left = ground.left();
        let all = || left.iter().flat_map(|left| left.ran.values());
        figures.commands += all().sum::<u64>();
        figures.double += all().filter(|times| **times > 1).count() as u64;
        let (_, status) = ground.site.newest().unwrap();
        if status == "rolled back" {
            figures.rolled_back += 1;
            let back = hosts.iter().zip(&left);
            let wrong = back.filter_map(|(host, left)| left.not_back(&ground.failed(host)));
            figures.wrong.extend(wrong);
        } else if left != done {
            for (left, done) in left.iter().zip(&done) {
                let not: Vec<_> = done
                    .ran
                    .keys()
                    .chain(left.ran.keys())
                    .filter(|name| left.times(name) != done.times(name))
                    .map(|name| format!("{name}: {}", left.times(name)))
                    .collect();
                figures.wrong.push(format!("{not:?}, files {:?}", left.files));
            }
        }
        let debts = ground.site.listing("debts");
        figures.wrong.extend((!debts.is_empty()).then(|| format!("it is owed: {debts:?}")));
        figures.wrong.extend(ground.leftovers().into_iter().map(|left| format!("left: {left}")));
    });
}
