//! An application in memory, behind an adapter in Rust, that notes each change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::effect::bench::Bench;
use crate::effect::{Adapters, App, Asker, Lane, Mode, Question, Registry};
use crate::error::{Failure, Kind, Result};

/// What the application holds, and how it misbehaves.
#[expect(clippy::struct_excessive_bools, reason = "each is a fault that a test injects")]
#[derive(Debug, Default)]
pub(in crate::primitives) struct World {
    /// Users by id, with whether they are enabled.
    pub(in crate::primitives) users: BTreeMap<String, bool>,
    /// Users whose state cannot be changed.
    pub(in crate::primitives) stubborn: BTreeSet<String>,
    /// Every change, `suspend a`.
    pub(in crate::primitives) changes: Vec<String>,
    /// After that many changes of users, the run is interrupted: the change happens, its answer is lost.
    pub(in crate::primitives) dies_after: Option<usize>,
    /// The replication.
    pub(in crate::primitives) replication: bool,
    /// Whether the replication does what it is told.
    pub(in crate::primitives) frozen: bool,
    /// Answers of `replication` in turn, before it tells the truth.
    pub(in crate::primitives) modes: Vec<&'static str>,
    /// Running jobs, one list per look; the last one stays.
    pub(in crate::primitives) jobs: Vec<Vec<&'static str>>,
    /// Whether clients update themselves.
    pub(in crate::primitives) clients: bool,
    /// Whether the application answers at all.
    pub(in crate::primitives) down: bool,
    /// Verbs that the adapter lacks.
    pub(in crate::primitives) lacks: Vec<&'static str>,
}

/// The application, shared by all lanes of a test.
#[derive(Clone, Debug, Default)]
pub(in crate::primitives) struct Mock(Arc<Mutex<World>>);

impl Mock {
    /// Makes one with users `u00`, `u01`, …, every tenth of which is suspended on purpose.
    pub(in crate::primitives) fn with_users(number: usize) -> Self {
        let users = (0..number).map(|n| (format!("u{n:02}"), n % 10 != 6)).collect();
        Self(Arc::new(Mutex::new(World {
            users,
            clients: true,
            replication: true,
            ..World::default()
        })))
    }

    pub(in crate::primitives) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Returns a lane on the bench whose adapter is this application.
    pub(in crate::primitives) fn lane(&self, bench: &Bench, mode: Mode) -> Lane {
        let lane = bench.lane(mode);
        lane.run().adapters.set(Arc::new(self.clone())).unwrap();
        lane
    }

    /// Returns the ids of the users in that state.
    pub(in crate::primitives) fn having(&self, enabled: bool) -> Vec<String> {
        let world = self.world();
        world.users.iter().filter(|user| *user.1 == enabled).map(|user| user.0.clone()).collect()
    }

    fn user_set(&self, lane: &Lane, user: &Value, enabled: bool) -> Result<Value> {
        let id = user["id"].as_str().unwrap().to_owned();
        let mut world = self.world();
        if world.stubborn.contains(&id) {
            return Err(Failure::new(Kind::Denied, "the trial of this user ran out").into());
        }
        if !world.users.contains_key(&id) {
            return Err(Failure::new(Kind::NotFound, "no such user").into());
        }
        let verb = if enabled { "enable" } else { "suspend" };
        world.changes.push(format!("{verb} {id}"));
        world.users.insert(id, enabled);
        if world.dies_after == Some(world.changes.len()) {
            world.dies_after = None;
            lane.run().cancel.cancel();
            return Err(crate::error::Stop::Cancelled.into());
        }
        Ok(Value::Null)
    }
}

impl Adapters for Mock {
    fn has(&self, adapter: &str, verb: &str) -> bool {
        adapter == "mock"
            && !["settings", "rewrites"].contains(&verb)
            && !self.world().lacks.contains(&verb)
    }

    fn call(&self, lane: &Lane, _app: &App, verb: &str, arguments: &[Value]) -> Result<Value> {
        if self.world().down {
            return Err(Failure::new(Kind::Connect, "nothing listens on 8080").into());
        }
        let on = arguments.first().and_then(Value::as_bool).unwrap_or_default();
        match verb {
            "users" => {
                let world = self.world();
                let user = |(id, enabled): (&String, &bool)| {
                    let state = if *enabled { "enabled" } else { "suspended" };
                    json!({ "id": id, "owner": null, "state": state })
                };
                Ok(world.users.iter().map(user).collect())
            }
            "user_set" => self.user_set(lane, &arguments[0], arguments[1].as_bool().unwrap()),
            "replication" => {
                let mut world = self.world();
                let truth = if world.replication { "SYNC" } else { "DISABLED" };
                let mode = if world.modes.is_empty() { truth } else { world.modes.remove(0) };
                Ok(
                    json!({ "enabled": mode != "DISABLED", "state": mode, "in_step": mode == "SYNC" }),
                )
            }
            "replication_set" => {
                let mut world = self.world();
                world.changes.push(format!("replication {on}"));
                world.replication = if world.frozen { world.replication } else { on };
                Ok(Value::Null)
            }
            "jobs" => {
                let mut world = self.world();
                let jobs = match world.jobs.len() {
                    0 => Vec::new(),
                    1 => world.jobs[0].clone(),
                    _ => world.jobs.remove(0),
                };
                Ok(jobs
                    .iter()
                    .map(|user| json!({ "id": 1.to_string(), "user": user, "what": "" }))
                    .collect())
            }
            "clients" => Ok(self.world().clients.into()),
            "clients_set" => {
                self.world().clients = on;
                Ok(Value::Null)
            }
            "version" => Ok("5.5.2.0".into()),
            "health" => Ok(json!([{ "name": "alive", "ok": true, "detail": "" }])),
            _ => Err(Failure::input(format!("no verb {verb}")).into()),
        }
    }
}

/// The application that actions in tests name.
pub(in crate::primitives) fn app() -> App {
    App { adapter: "mock".to_owned(), settings: json!({ "password": { "$secret": "pw" } }) }
}

/// A bench that knows the actions of all families that use an application.
pub(in crate::primitives) fn bench() -> Bench {
    let mut registry = Registry::default();
    super::actions(&mut registry);
    crate::primitives::users::actions(&mut registry);
    crate::primitives::replication::actions(&mut registry);
    Bench::new(registry)
}

/// Somebody who gives one answer: the option that begins with it.
#[derive(Debug)]
pub(in crate::primitives) struct Answers(pub(in crate::primitives) &'static str);

impl Asker for Answers {
    fn ask(&self, question: &Question) -> Option<String> {
        let Question::Choose { options, .. } = question else { return None };
        options.iter().find(|option| option.starts_with(self.0)).cloned()
    }
}
