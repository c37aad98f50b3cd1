//! A run on this machine for the tests of actions: a real store in a temporary directory, events collected, no script.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use jiff::Timestamp;

use super::run::{Mode, Run, Secrets, SystemClock};
use super::target::{Target, Targets};
use super::{Lane, Nobody, Obligations, Redactor, Registry};
use crate::error::{Failure, Result};
use crate::event::{Event, Status, What};
use crate::journal::{Body, Cursor, RunInfo, Sqlite, Store};
use crate::secret::Secret;
use crate::transport::{Cancel, Local};

/// A run under test.
#[derive(Debug)]
pub(crate) struct Bench {
    /// Where the store is; tests put their files beside it.
    pub(crate) dir: tempfile::TempDir,
    id: String,
    registry: Arc<Registry>,
    events: Arc<Mutex<Vec<Event>>>,
    asker: Arc<dyn super::Asker>,
    asked: bool,
}

#[derive(Debug)]
struct One(Arc<Target>);

impl Targets for One {
    fn get(&self, name: &str) -> Result<Arc<Target>> {
        if name == self.0.name {
            Ok(Arc::clone(&self.0))
        } else {
            Err(Failure::input(format!("unknown target `{name}`")).into())
        }
    }

    fn select(&self, selector: &str) -> Result<Vec<String>> {
        self.get(selector).map(|target| vec![target.name.clone()])
    }
}

#[derive(Debug)]
struct Known;

impl Secrets for Known {
    fn reveal(&self, name: &str) -> Result<Secret> {
        Ok(Secret::new(format!("value-of-{name}")))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let user = rustix::process::getuid().as_raw();
        let kept = format!("/var/tmp/upgrade-host-{user}/{}", self.id);
        let _nothing_kept = std::fs::remove_dir_all(kept);
    }
}

impl Bench {
    pub(crate) fn new(registry: Registry) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            dir,
            id: Self::id(),
            registry: Arc::new(registry),
            events: Arc::default(),
            asker: Arc::new(Nobody),
            asked: false,
        }
    }

    /// What a run keeps on this machine is named after its id, and benches of all processes share the machine.
    fn id() -> String {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        format!("bench-{}-{number}", std::process::id())
    }

    /// Answers questions from now on.
    pub(crate) fn asker(mut self, asker: Arc<dyn super::Asker>) -> Self {
        self.asker = asker;
        self
    }

    /// Undoes from now on as a rollback that was asked for, by somebody who answers so.
    pub(crate) fn ask(&mut self, asker: Arc<dyn super::Asker>) {
        self.asker = asker;
        self.asked = true;
    }

    /// Gives the run another id: what it keeps on this machine is named after that.
    pub(crate) fn named(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    /// Returns the id of the run.
    pub(crate) fn run_id(&self) -> &str {
        &self.id
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Begins or resumes the one run of this bench.
    pub(crate) fn lane(&self, mode: Mode) -> Lane {
        let id = self.id.as_str();
        let store = Sqlite::open(&self.dir.path().join("state")).unwrap();
        if store.find(id).is_err() {
            store
                .create(&RunInfo {
                    id: id.to_owned(),
                    runbook: "bench".into(),
                    title: String::new(),
                    targets: vec!["local".into()],
                    operator: "tester".into(),
                    version: "0".into(),
                    status: Status::Running,
                    started: Timestamp::now(),
                    ended: None,
                    due: None,
                    settings: serde_json::Value::Null,
                    sources: vec![],
                })
                .unwrap();
        }
        let records = store.records(id).unwrap();
        let transport: crate::transport::SharedTransport = Arc::new(Local);
        let transport = if mode == Mode::Plan {
            Arc::new(crate::transport::readonly::ReadOnly(transport))
        } else {
            transport
        };
        let target = Arc::new(Target::new("local", transport));
        let events = Arc::clone(&self.events);
        let run = Run {
            id: id.to_owned(),
            mode,
            yes: false,
            asked: self.asked,
            stay: true,
            reconnect: Duration::from_secs(2),
            store: (mode != Mode::Plan).then(|| Arc::new(store) as Arc<dyn Store>),
            cursor: Mutex::new(Cursor::new(&records, false)),
            events: Box::new(move |event| events.lock().unwrap().push(event)),
            cancel: Cancel::new(),
            clock: Arc::new(SystemClock),
            secrets: Arc::new(Known),
            redactor: Redactor::new(),
            asker: Arc::clone(&self.asker),
            targets: Arc::new(One(Arc::clone(&target))),
            services: BTreeMap::new(),
            default_app: None,
            registry: Arc::clone(&self.registry),
            obligations: Obligations::default(),
            off: super::SwitchedOff::new(&records),
            adapters: OnceLock::new(),
            point_of_no_return: Mutex::default(),
            window: Mutex::default(),
            assumed: Mutex::default(),
            params: BTreeMap::new(),
            notes: Mutex::default(),
            beside: super::Beside::default(),
            chosen: super::Chosen::default(),
            locks: super::Locks::new(self.dir.path().display().to_string(), "bench", false),
            touched: Mutex::default(),
            switches: super::Switches::new(&records),
        };
        Lane::main(Arc::new(run), target)
    }

    /// Ends the run as paused after this failure, so that the next lane tries its call again.
    pub(crate) fn pause_after(&self, failure: &Failure) {
        let store = Sqlite::open(&self.dir.path().join("state")).unwrap();
        let body = Body::Ended {
            status: Status::Paused,
            failed: failure.call.iter().cloned().collect(),
            message: String::new(),
        };
        store.append_durable(&self.id, body, Vec::new()).unwrap();
    }

    /// Returns what happened, for assertions.
    pub(crate) fn events(&self) -> Vec<What> {
        self.events.lock().unwrap().iter().map(|event| event.what.clone()).collect()
    }
}
