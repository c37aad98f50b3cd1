//! One run of a script in a world: each of its processes takes it up, and what must hold then is looked at.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::actions::registry;
use super::journal::Journal;
use super::script::{self, Expected, Op};
use super::target::{One, Way};
use super::world::{Fate, Operator, World, on_before};
use crate::effect::{Chosen, Mode, Redactor, Secrets, SystemClock, Target};
use crate::error::{Failure, Halt, Result, Stop};
use crate::event::Status;
use crate::journal::{Body, RunInfo, Sqlite, Store};
use crate::primitives::Waves;
use crate::script::{Runbook, build};
use crate::secret::Secret;
use crate::session::OnInterrupt;
use crate::session::drive::{Back, Direction, Ended, Setup, begin, main_lane};
use crate::session::ending::Ending;
use crate::session::open::undoing;
use crate::transport::Cancel;

#[derive(Debug)]
struct NoSecrets;

impl Secrets for NoSecrets {
    fn reveal(&self, name: &str) -> Result<Secret> {
        Err(Failure::input(format!("there is no secret {name}")).into())
    }
}

/// A run of a script in a world, with its journal.
pub(super) struct Case {
    pub(super) dir: tempfile::TempDir,
    id: String,
    pub(super) world: Arc<World>,
    disk: Arc<Sqlite>,
}

impl Drop for Case {
    fn drop(&mut self) {
        World::forget(&self.id);
        let user = rustix::process::getuid().as_raw();
        let kept = format!("/var/tmp/upgrade-host-{user}/{}", self.id);
        let _nothing_kept = std::fs::remove_dir_all(kept);
    }
}

impl Case {
    pub(super) fn new(fates: BTreeMap<u64, Fate>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let id = format!("model-{}-{number}", std::process::id());
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(Sqlite::open(&dir.path().join("state")).unwrap());
        let world = World::new(&id, fates);
        let info = RunInfo {
            id: id.clone(),
            runbook: "model".to_owned(),
            title: String::new(),
            targets: vec!["t".to_owned()],
            operator: "tester".to_owned(),
            version: "0".to_owned(),
            status: Status::Running,
            started: Timestamp::now(),
            ended: None,
            due: None,
            settings: serde_json::Value::Null,
            sources: Vec::new(),
        };
        disk.create(&info).unwrap();
        Self { dir, id, world, disk }
    }

    pub(super) fn status(&self) -> Status {
        self.disk.find(&self.id).unwrap().status
    }

    fn setup(&self, cancel: Cancel) -> Setup {
        let way = Way { world: Arc::clone(&self.world), boot: Mutex::default() };
        let target = Target::new("t", Arc::new(way));
        let engine = build(None).unwrap();
        let runbook = Runbook::compile(&engine, "model".to_owned(), String::new(), &mut |name| {
            Err(name.to_owned())
        });
        Setup {
            info: self.disk.find(&self.id).unwrap(),
            runbook: runbook.unwrap(),
            mode: Mode::Run,
            word: "run",
            targets: Arc::new(One(Arc::new(target))),
            params: BTreeMap::new(),
            services: BTreeMap::new(),
            app: None,
            secrets: Arc::new(NoSecrets),
            redactor: Redactor::new(),
            store: Some(Arc::new(Journal {
                disk: Arc::clone(&self.disk),
                world: Arc::clone(&self.world),
                pending: Mutex::default(),
            })),
            events: Arc::new(|_| {}),
            asker: Arc::new(Operator(Arc::clone(&self.world))),
            cancel,
            clock: Arc::new(SystemClock),
            yes: true,
            stay: true,
            accept_change: false,
            chosen: Chosen::default(),
            waves: Waves::default(),
            lock_dir: self.dir.path().display().to_string(),
            controller: "model".to_owned(),
            take_over: false,
            pieces: None,
            reconnect: Duration::from_millis(600),
            on_interrupt: OnInterrupt::Pause,
        }
    }

    /// One process takes the run up, as `resume` or as `rollback`, to its end, its pause or its death.
    pub(super) fn process(&self, ops: &[Op], back: bool, first: bool) -> Result<Ended> {
        let cancel = self.world.revive();
        let setup = self.setup(cancel);
        let direction = if back {
            let why = "asked for by the operator".to_owned();
            Direction::Back(Back { why, failure: None, asked: true })
        } else {
            undoing(&self.disk.records(&self.id)?).unwrap_or(Direction::Forward)
        };
        if let (Some(store), false) = (&setup.store, first) {
            store.turn(&self.id, Body::Resumed { pid: 1 }, Status::Running, None)?;
        }
        let rebuilding = direction != Direction::Forward;
        let mut run = begin(&setup, if rebuilding { Mode::Rebuild } else { Mode::Run })?;
        run.registry = Arc::new(registry());
        let run = Arc::new(run);
        let lane = main_lane(&setup, &run)?;
        let result = script::run(&lane, ops);
        let mut end = Ending {
            setup: &setup,
            run: &run,
            lane: &lane,
            started: Instant::now(),
            interrupted: false,
        };
        match (direction, result) {
            (_, Err(Halt::Stop(stop @ (Stop::Mismatch(_) | Stop::Limit(_))))) => Err(stop.into()),
            (Direction::Back(back), _) => end.undo(&back.why, back.failure.map(|failure| *failure)),
            (Direction::Forward, Ok(())) => end.finished(),
            (Direction::Forward, Err(Halt::Failure(failure))) => {
                let calls = run.beside.tried_again(&failure).into_iter().collect();
                end.failed(*failure, calls)
            }
            (Direction::Forward, Err(Halt::Stop(stop))) => end.paused(stop, Vec::new()),
        }
    }

    /// What is off because of the run is listed, whatever happened.
    pub(super) fn unlisted(&self) -> Vec<String> {
        let listed = self.disk.debts().unwrap();
        let state = self.world.state();
        let off = state.switches.iter().filter(|(name, on)| !**on && on_before(name));
        off.filter(|(name, _)| !listed.iter().any(|debt| debt.key == **name))
            .map(|(name, _)| format!("{name} is off and not listed"))
            .collect()
    }

    /// What is listed and is not off.
    fn overlisted(&self) -> Vec<String> {
        let state = self.world.state();
        let listed = self.disk.debts().unwrap().into_iter().filter(|_| !state.rebooted_at_last());
        listed
            .filter(|debt| state.is_on(&debt.key))
            .map(|debt| format!("{} is on and listed", debt.key))
            .collect()
    }

    /// What does not hold once the script is through.
    pub(super) fn not_through(&self, expected: &Expected) -> Vec<String> {
        let mut wrong = self.overlisted();
        let state = self.world.state();
        if state.values != expected.values {
            wrong.push(format!("values {:?}, not {:?}", state.values, expected.values));
        }
        for (name, on) in &expected.switches {
            if state.is_on(name) != *on && !state.rebooted_at_last() {
                wrong.push(format!("{name} must be on: {on}"));
            }
        }
        let ran: BTreeMap<_, _> = expected.ran.iter().map(|name| (name.clone(), 1)).collect();
        if state.ran != ran {
            wrong.push(format!("ran {:?}, not {ran:?}", state.ran));
        }
        let debts = self.disk.debts().unwrap().into_iter();
        let owed: BTreeMap<_, _> = debts.map(|debt| (debt.key, debt.kept.is_some())).collect();
        if owed != expected.owed {
            wrong.push(format!("owed {owed:?}, not {:?}", expected.owed));
        }
        wrong
    }

    /// What does not hold once it is rolled back.
    pub(super) fn not_back(&self) -> Vec<String> {
        let mut wrong = self.overlisted();
        let state = self.world.state();
        if !state.values.is_empty() {
            wrong.push(format!("values are left: {:?}", state.values));
        }
        let records = self.disk.records(&self.id).unwrap();
        let kept = |name: &String| {
            records.iter().any(|record| match &record.body {
                Body::Intent { call, action, .. } => {
                    call.action == "keep_off" && action["key"] == **name
                }
                _ => false,
            })
        };
        for (name, on) in &state.switches {
            if *on != on_before(name) && !kept(name) {
                wrong.push(format!("{name} is on: {on}"));
            }
        }
        for debt in self.disk.debts().unwrap() {
            if !on_before(&debt.key) && debt.kept.is_none() {
                wrong.push(format!("{} was off before, and is owed", debt.key));
            }
        }
        for (name, times) in &state.ran {
            let plain = name.rsplit('/').next().unwrap();
            let (done, undone) = match name.strip_prefix("undo-") {
                Some(done) => (state.ran.get(done).copied(), Some(*times)),
                None => (Some(*times), state.ran.get(&format!("undo-{name}")).copied()),
            };
            let closure = plain.trim_start_matches("undo-").starts_with('k');
            // A closure is registered before its command, which may not have begun.
            let fine = (done, undone) == (Some(1), Some(1))
                || closure && (done, undone) == (None, Some(1));
            if !fine {
                wrong.push(format!("{name}: ran {done:?}, undone {undone:?}"));
            }
        }
        wrong
    }
}
