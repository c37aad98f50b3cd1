//! Random scripts, random crashes, random faults, against a model that says what must come of them.
//!
//! The journal, the calls, undo, obligations, locks and the ends of runs are the real ones; the script, its actions and
//! what they act on are the model's. A process dies at any moment: before and after each write of the journal, each look
//! and each change. What was handed to the journal and was not durable is lost then. It is taken up again until it ends.
//!
//! `PROPTEST_CASES` is the number of cases. A case that failed is kept in `proptest-regressions` and tried first.

mod script;
mod world;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;

use self::script::{Expected, Op, Outlook, outlook, script};
use self::world::{Fate, Operator, World, on_before, registry};
use super::OnInterrupt;
use super::drive::{Back, Direction, Ended, Setup, begin, main_lane};
use super::ending::Ending;
use super::open::undoing;
use crate::effect::{Chosen, Mode, Redactor, Secrets, SystemClock, Target, Targets};
use crate::error::{Failure, Halt, Result, Stop};
use crate::event::Status;
use crate::journal::{
    Body, DebtChange, DebtRow, Hold, JournalError, Record, RunInfo, Source, Sqlite, Store,
    SwitchRow,
};
use crate::primitives::Waves;
use crate::script::{Runbook, build};
use crate::secret::Secret;
use crate::transport::{
    Cancel, Command, Connection, Exit, Fence, Local, Transport, TransportError, Watch,
};

/// More processes than a run can need: each but the first follows a crash, a pause or a failed undo.
const PROCESSES: usize = 60;

/// The journal of one process, which dies with it.
#[derive(Debug)]
struct Journal {
    disk: Arc<Sqlite>,
    world: Arc<World>,
    /// Records that are not durable yet.
    pending: Mutex<Vec<Body>>,
}

impl Journal {
    fn moment(&self) -> Result<(), JournalError> {
        if self.world.moment() == Some(Fate::Die) {
            return Err(JournalError::Io { path: PathBuf::new(), why: "it died".to_owned() });
        }
        Ok(())
    }

    fn flush(&self, run: &str) -> Result<(), JournalError> {
        let pending = std::mem::take(&mut *self.pending.lock().unwrap());
        pending.into_iter().try_for_each(|body| self.disk.append(run, body))
    }
}

impl Store for Journal {
    fn create(&self, run: &RunInfo) -> Result<(), JournalError> {
        self.disk.create(run)
    }

    fn append(&self, _run: &str, body: Body) -> Result<(), JournalError> {
        self.moment()?;
        self.pending.lock().unwrap().push(body);
        Ok(())
    }

    fn append_durable(
        &self,
        run: &str,
        body: Body,
        debts: Vec<DebtChange>,
    ) -> Result<(), JournalError> {
        self.moment()?;
        self.flush(run)?;
        if let Body::Intent { call, .. } = &body {
            self.world.intents.lock().unwrap().insert(call.to_string());
        }
        self.disk.append_durable(run, body, debts)?;
        self.moment()
    }

    fn turn(
        &self,
        run: &str,
        body: Body,
        status: Status,
        due: Option<Timestamp>,
    ) -> Result<(), JournalError> {
        self.moment()?;
        self.flush(run)?;
        self.disk.turn(run, body, status, due)?;
        self.moment()
    }

    fn set_sources(&self, run: &str, sources: &[Source]) -> Result<(), JournalError> {
        self.disk.set_sources(run, sources)
    }

    fn records(&self, run: &str) -> Result<Vec<Record>, JournalError> {
        self.disk.records(run)
    }

    fn runs(&self) -> Result<Vec<RunInfo>, JournalError> {
        self.disk.runs()
    }

    fn find(&self, name: &str) -> Result<RunInfo, JournalError> {
        self.disk.find(name)
    }

    fn debts(&self) -> Result<Vec<DebtRow>, JournalError> {
        self.disk.debts()
    }

    fn prune(&self, runs: &[String]) -> Result<Vec<String>, JournalError> {
        self.disk.prune(runs)
    }

    fn switches(&self) -> Result<Vec<SwitchRow>, JournalError> {
        self.disk.switches()
    }

    fn hold(&self, run: &str) -> Result<Hold, JournalError> {
        self.disk.hold(run)
    }

    fn is_held(&self, run: &str) -> bool {
        self.disk.is_held(run)
    }

    fn ask_pause(&self, run: &str) -> Result<(), JournalError> {
        self.disk.ask_pause(run)
    }

    fn take_pause(&self, run: &str) -> Result<bool, JournalError> {
        self.disk.take_pause(run)
    }
}

/// The way to the target, for what the host itself runs there: locks and what cleans up. It breaks as well.
#[derive(Debug)]
struct Way {
    world: Arc<World>,
    /// The boot at the last contact.
    boot: Mutex<Option<String>>,
}

impl Way {
    fn moment(&self) -> Result<(), TransportError> {
        match self.world.moment() {
            None => Ok(()),
            Some(Fate::Die) => Err(TransportError::Cancelled),
            Some(_) => {
                Err(TransportError::Lost { target: "t".to_owned(), why: "it broke".to_owned() })
            }
        }
    }
}

impl Transport for Way {
    fn exec(
        &self,
        command: &Command,
        cancel: &Cancel,
        watch: Watch<'_>,
    ) -> Result<Exit, TransportError> {
        self.moment()?;
        let boot = self.world.boot();
        *self.boot.lock().unwrap() = Some(boot.clone());
        // The boots of the model are not those of this machine.
        let mut command = command.clone();
        if let Some(fence) = &mut command.fence
            && fence.boot.take().is_some_and(|right| right != boot)
        {
            return Ok(Fence::held_back());
        }
        let exit = Local.exec(&command, cancel, watch)?;
        self.moment()?;
        Ok(exit)
    }

    fn connect(
        &self,
        host: &str,
        port: u16,
        timeout: Duration,
    ) -> Result<Box<dyn Connection>, TransportError> {
        Local.connect(host, port, timeout)
    }

    fn describe(&self) -> String {
        "the model".to_owned()
    }

    fn own_address(&self) -> Option<IpAddr> {
        None
    }

    fn boot_id(&self) -> Option<String> {
        self.boot.lock().unwrap().clone()
    }
}

#[derive(Debug)]
struct One(Arc<Target>);

impl Targets for One {
    fn get(&self, _name: &str) -> Result<Arc<Target>> {
        Ok(Arc::clone(&self.0))
    }

    fn select(&self, _selector: &str) -> Result<Vec<String>> {
        Ok(vec![self.0.name.clone()])
    }
}

#[derive(Debug)]
struct NoSecrets;

impl Secrets for NoSecrets {
    fn reveal(&self, name: &str) -> Result<Secret> {
        Err(Failure::input(format!("there is no secret {name}")).into())
    }
}

/// A run of a script in a world, with its journal.
struct Case {
    dir: tempfile::TempDir,
    id: String,
    world: Arc<World>,
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
    fn new(fates: BTreeMap<u64, Fate>) -> Self {
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

    fn status(&self) -> Status {
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
    fn process(&self, ops: &[Op], back: bool, first: bool) -> Result<Ended> {
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
    fn unlisted(&self) -> Vec<String> {
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
    fn not_through(&self, expected: &Expected) -> Vec<String> {
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
    fn not_back(&self) -> Vec<String> {
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

/// Brings a script to its end, whatever happens, and returns what must not be.
fn endure(ops: &[Op], fates: &[(u64, Fate)], back: Option<usize>) -> Vec<String> {
    let case = Case::new(fates.iter().copied().collect());
    let outlook = outlook(ops);
    let mut forward = true;
    let mut wrong = Vec::new();
    for number in 0..PROCESSES {
        let known = case.status();
        // Who pauses for ever and who ends with something off is rolled back by the operator, others when they like.
        let stuck = outlook == Outlook::Stuck && number + 5 >= PROCESSES / 2;
        let asked = known == Status::Failed || stuck || back.is_some_and(|at| number >= at);
        forward &= !asked;
        let ended = case.process(ops, asked, number == 0);
        wrong.extend(case.unlisted());
        match ended {
            _ if case.world.is_dead() => {}
            Err(halt) => wrong.push(format!("process {number} ends with {halt:?}")),
            Ok(ended) => match (ended.status, &outlook) {
                (Status::Paused, _) if forward && ended.failure.is_some() => {
                    case.world.pauses.fetch_add(1, Ordering::SeqCst);
                }
                (Status::Failed, Outlook::Through(expected)) if forward => {
                    wrong.extend(case.not_through(expected));
                    if expected.owed.is_empty() {
                        wrong.push("it failed, and nothing is owed".to_owned());
                    }
                }
                _ => {}
            },
        }
        match (case.status(), &outlook) {
            (Status::Done, Outlook::Through(expected)) => {
                wrong.extend(case.not_through(expected));
                break;
            }
            (Status::Done, _) => wrong.push("it is done, and should not".to_owned()),
            (Status::RolledBack, Outlook::Through(_)) if forward => {
                wrong.push("it is rolled back, and should not".to_owned());
            }
            (Status::RolledBack, _) => {
                wrong.extend(case.not_back());
                break;
            }
            _ if !wrong.is_empty() => break,
            _ => {}
        }
        if number + 1 == PROCESSES {
            wrong.push(format!("it does not end, and is {:?}", case.status()));
        }
    }
    wrong.extend(case.world.wrong.lock().unwrap().iter().cloned());
    let locks = std::fs::read_dir(case.dir.path()).unwrap().map(|file| file.unwrap().file_name());
    wrong.extend(locks.filter(|name| name != "state").map(|name| format!("{name:?} is left")));
    wrong
}

/// So many cases that they take some twenty seconds at most, unless another number is asked for.
fn config() -> ProptestConfig {
    let config = ProptestConfig { max_shrink_time: 60_000, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() {
        config
    } else {
        ProptestConfig { cases: 60, ..config }
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![3 => Just(Fate::Die), 1 => Just(Fate::Lose), 1 => Just(Fate::Reboot)]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_a_run_ends_as_the_model_says(
        ops in script(),
        fates in vec((0..250_u64, fate()), 0..7),
        back in proptest::option::weighted(0.3, 1..4_usize),
    ) {
        let wrong = endure(&ops, &fates, back);
        prop_assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
