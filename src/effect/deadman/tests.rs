use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::*;
use crate::call::Access;
use crate::effect::bench::Bench;
use crate::effect::{
    Action, Lane, Mode, Owes, Plan, Reconciled, Registry, inverse_of, perform, roll_back,
};
use crate::error::Halt;
use crate::journal::{Debt, Inverse};
use crate::transport::Cancel;

/// A thing that is on while its file is there, and notes each change.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Turn {
    file: PathBuf,
    on: bool,
    deadman: Option<Deadman>,
}

impl Turn {
    fn line(&self, on: bool) -> String {
        let file = self.file.display();
        if on {
            format!("echo on >>{file}.log; touch {file}")
        } else {
            format!("echo off >>{file}.log; rm -f {file}")
        }
    }
}

impl Action for Turn {
    const NAME: &'static str = "turn";
    const ACCESS: Access = Access::Change;
    type Before = bool;
    type Output = bool;

    fn summary(&self) -> String {
        format!("turn it {}", if self.on { "on" } else { "off" })
    }

    fn look(&self, cx: &Cx<'_>) -> Result<bool> {
        let command = Command::list(["test", "-e", &self.file.display().to_string()]).reading();
        cx.quiet(&command).map(|exit| exit.success())
    }

    fn plan(&self, before: &bool) -> Plan<bool, bool> {
        if *before == self.on {
            return Plan::Already(false);
        }
        Plan::Would { changes: Vec::new(), output: true, after: Some(self.on) }
    }

    fn apply(&self, cx: &Cx<'_>, _before: &bool) -> Result<bool> {
        cx.quiet(&Command::shell(self.line(self.on)))?;
        Ok(true)
    }

    fn reconcile(&self, cx: &Cx<'_>, _before: &bool) -> Result<Reconciled<bool>> {
        Ok(if self.look(cx)? == self.on { Reconciled::Done(true) } else { Reconciled::Redo })
    }

    fn inverse(&self, before: &bool) -> Inverse {
        inverse_of(&Self { on: *before, deadman: None, ..self.clone() })
    }

    fn deadman(&self, _cx: &Cx<'_>, _before: &bool) -> Result<Option<Switch>> {
        let inverse = self.line(!self.on);
        Ok(self.deadman.map(|deadman| Switch::new(deadman, inverse)))
    }

    fn owes(&self, _before: &bool) -> Owes {
        if self.on {
            return Owes::Closes("it".to_owned());
        }
        Owes::Opens(Debt { key: "it".to_owned(), what: "it on".to_owned(), locks_out: true })
    }
}

struct Stage {
    bench: Bench,
    file: PathBuf,
    id: String,
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What a failed test left armed.
        let id = format!("{}-{}", self.id, stem(&call().to_string()));
        let command = Command::script(&shell::disarm(), [id, "clear".to_owned()]);
        let _gone = crate::transport::Transport::exec(
            &crate::transport::Local,
            &command,
            &Cancel::new(),
            &mut |_, _| {},
        );
    }
}

fn call() -> CallKey {
    CallKey { lane: "main".into(), step: String::new(), action: "turn".into(), nth: 1 }
}

impl Stage {
    fn new(name: &str) -> Self {
        let mut registry = Registry::default();
        registry.add::<Turn>();
        let id = format!("deadman-{name}-{}", std::process::id());
        let bench = Bench::new(registry).named(&id);
        let file = bench.path().join("it");
        fs::write(&file, "").unwrap();
        Self { bench, file, id }
    }

    fn off(&self, after: Duration, fixed: bool) -> Turn {
        let after_ms = u64::try_from(after.as_millis()).unwrap();
        Turn { deadman: Some(Deadman { after_ms, fixed }), ..self.on(false) }
    }

    fn on(&self, on: bool) -> Turn {
        Turn { file: self.file.clone(), on, deadman: None }
    }

    fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.file.with_extension("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn dir(&self) -> PathBuf {
        let base = format!("/var/tmp/upgrade-host-{}/deadman", rustix::process::getuid().as_raw());
        PathBuf::from(base).join(format!("{}-{}", self.id, stem(&call().to_string())))
    }

    fn states(&self) -> Vec<&'static str> {
        let states = self.bench.events().into_iter().filter_map(|what| match what {
            What::Deadman { state, .. } => Some(match state {
                DeadmanState::Armed { .. } => "armed",
                DeadmanState::Disarmed => "disarmed",
                DeadmanState::Fired { status: Some(0), .. } => "fired",
                _ => "other",
            }),
            _ => None,
        });
        states.collect()
    }

    /// Waits until the switch has fired and said so.
    fn fires(&self) {
        let since = Instant::now();
        while !self.dir().join("fired").exists() {
            assert!(since.elapsed() < Duration::from_secs(60), "it did not fire");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn stopped(lane: &Lane, turn: &Turn) -> String {
    match perform(lane, None, turn) {
        Err(Halt::Stop(Stop::Fired(why))) => why,
        other => panic!("{other:?}"),
    }
}

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_secs(3);

#[test]
fn the_opposite_call_disarms_and_leaves_nothing() {
    let stage = Stage::new("disarm");
    let lane = stage.bench.lane(Mode::Run);

    perform(&lane, None, &stage.off(LONG, false)).unwrap();
    assert!(stage.dir().join("due").exists());
    perform(&lane, None, &stage.on(true)).unwrap();

    assert!(!stage.dir().exists());
    assert_eq!(stage.states(), ["armed", "disarmed"]);
    assert_eq!(stage.log(), ["off", "on"]);
}

#[test]
fn a_switch_that_fired_stops_the_run_and_a_resume_does_it_again() {
    let stage = Stage::new("fire");
    let lane = stage.bench.lane(Mode::Run);
    perform(&lane, None, &stage.off(SHORT, true)).unwrap();
    stage.fires();
    assert!(stage.file.exists());

    let why = stopped(&lane, &stage.on(true));
    assert!(why.contains("fired at") && why.contains("turn it off"), "{why}");
    assert!(lane.run().obligations.all().is_empty());
    assert!(!stage.dir().exists(), "what is on record is removed from the target");

    let lane = stage.bench.lane(Mode::Run);
    perform(&lane, None, &stage.off(SHORT, true)).unwrap();
    assert!(!stage.file.exists());
    perform(&lane, None, &stage.on(true)).unwrap();

    assert_eq!(stage.log(), ["off", "on", "off", "on"]);
    assert_eq!(stage.states(), ["armed", "fired", "armed", "disarmed"]);
}

#[test]
fn a_later_process_finds_the_fired_switch_before_it_does_anything() {
    let stage = Stage::new("later");
    perform(&stage.bench.lane(Mode::Run), None, &stage.off(SHORT, false)).unwrap();
    stage.fires();

    let lane = stage.bench.lane(Mode::Run);
    perform(&lane, None, &stage.off(SHORT, false)).unwrap();
    stopped(&lane, &stage.on(true));

    assert_eq!(stage.log(), ["off", "on"]);
}

#[test]
fn a_rollback_after_it_fired_has_nothing_more_to_do() {
    let stage = Stage::new("back");
    perform(&stage.bench.lane(Mode::Run), None, &stage.off(SHORT, false)).unwrap();
    stage.fires();

    let lane = stage.bench.lane(Mode::Rebuild);
    perform(&lane, None, &stage.off(SHORT, false)).unwrap();
    let undone = roll_back(&lane).unwrap();

    assert_eq!((undone.done, undone.failed.len()), (1, 0));
    assert_eq!(stage.log(), ["off", "on"]);
    assert!(!stage.dir().exists());
}

#[test]
fn the_deadline_moves_on_while_the_run_lives() {
    let stage = Stage::new("extend");
    let lane = stage.bench.lane(Mode::Run);
    perform(&lane, None, &stage.off(Duration::from_secs(6), false)).unwrap();
    let first = fs::read_to_string(stage.dir().join("due")).unwrap();

    let since = Instant::now();
    while fs::read_to_string(stage.dir().join("due")).unwrap() == first {
        assert!(since.elapsed() < Duration::from_secs(60), "it was not moved on");
        std::thread::sleep(Duration::from_millis(50));
    }

    perform(&lane, None, &stage.on(true)).unwrap();
    assert_eq!(stage.states(), ["armed", "disarmed"]);
}

#[test]
fn nothing_is_done_if_it_cannot_be_armed() {
    let stage = Stage::new("refused");
    // Where the switch's directory is to be, a link that leads nowhere: nothing may be written through it.
    fs::create_dir_all(stage.dir().parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(stage.bench.path().join("elsewhere"), stage.dir()).unwrap();

    let result = perform(&stage.bench.lane(Mode::Run), None, &stage.off(LONG, false));
    let _removed = fs::remove_file(stage.dir());

    let Err(Halt::Failure(failure)) = result else { panic!("{result:?}") };
    assert!(failure.message.contains("nothing was done"), "{failure}");
    assert_eq!(stage.log(), [""; 0]);
    assert!(!stage.bench.path().join("elsewhere").exists());
}

#[test]
fn only_one_of_firing_and_disarming_wins() {
    let stage = Stage::new("claim");
    let lane = stage.bench.lane(Mode::Run);
    perform(&lane, None, &stage.off(LONG, false)).unwrap();
    // As if it had begun to fire and were at it.
    fs::hard_link(stage.dir().join("timer"), stage.dir().join("claim")).unwrap();
    let id = format!("{}-{}", stage.id, stem(&call().to_string()));
    let disarm = || {
        let command = Command::script(&shell::disarm(), [id.clone(), String::new()]);
        crate::transport::Transport::exec(
            &crate::transport::Local,
            &command,
            &Cancel::new(),
            &mut |_, _| {},
        )
        .unwrap()
        .out()
    };

    assert_eq!(disarm(), "firing\n");
    assert!(stage.dir().exists());
    fs::write(stage.dir().join("fired"), "fired 1700000000 4\n").unwrap();
    assert_eq!(disarm(), "fired 1700000000 4\n");
    assert!(matches!(parse(&disarm()), Found::Fired(_, Some(4))));
}

/// Arms a switch of this stage's call with what came over standard input; returns how that ended.
fn arm_with(stage: &Stage, input: Vec<u8>, files: &str) -> crate::transport::Exit {
    let id = format!("{}-{}", stage.id, stem(&call().to_string()));
    let words = [id, "600".into(), shell::FIRE.into(), "a test".into(), files.into(), "/x".into()];
    let command = Command::script(&shell::arm(), words).stdin(input);
    let local = crate::transport::Local;
    crate::transport::Transport::exec(&local, &command, &Cancel::new(), &mut |_, _| {}).unwrap()
}

#[test]
fn what_it_needs_arrives_as_it_is_and_nobody_else_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::new("files");
    let password = "p\\n%s ü'\"$x`\r";
    let users = "LoginName=a%20user&Owner=of%20it\n".repeat(5000);
    let files = BTreeMap::from([
        ("password".to_owned(), Secret::new(password.to_owned())),
        ("users".to_owned(), Secret::new(users.clone())),
    ]);

    let exit = arm_with(&stage, shell::bundle("true\n# inverse:x\n", &files), "password users");

    assert!(exit.success(), "{exit:?}");
    let read = |name: &str| fs::read_to_string(stage.dir().join(name)).unwrap();
    assert_eq!(read("inverse"), "true\n# inverse:x\n");
    assert_eq!(read("files/password"), format!("{password}\n"));
    assert_eq!(read("files/users"), users);
    for name in ["files/password", "files/users", "inverse"] {
        let mode = fs::metadata(stage.dir().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(!stage.dir().join("parts").exists());
}

#[test]
fn half_of_it_arms_nothing_and_leaves_nothing() {
    let stage = Stage::new("half");
    let files = BTreeMap::from([("password".to_owned(), Secret::new("hunter2".to_owned()))]);
    let mut input = shell::bundle("true", &files);
    input.truncate(input.len() - 3);

    let exit = arm_with(&stage, input, "password");

    assert!(!exit.success());
    assert!(String::from_utf8_lossy(&exit.stderr).contains("did not arrive whole"), "{exit:?}");
    assert!(!stage.dir().exists());
}
