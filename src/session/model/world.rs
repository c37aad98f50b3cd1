//! A world in memory. Every look and every change passes [`World::reach`], where the process may die or the answer be
//! lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::effect::{Asker, Cx, Question};
use crate::error::{Failure, Kind, Result, Stop};
use crate::transport::Cancel;

/// What happens at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The process dies.
    Die,
    /// The way to the target breaks.
    Lose,
    /// The target reboots: what became of a command under way cannot be told there, and what is on before the run is on
    /// again.
    Reboot,
}

/// What there is on the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) values: BTreeMap<String, u32>,
    /// What was switched, and whether it is on.
    pub(super) switches: BTreeMap<String, bool>,
    /// How often each command ran.
    pub(super) ran: BTreeMap<String, u32>,
    /// The commands that left a receipt, and those whose receipt says nothing.
    pub(super) receipts: BTreeSet<String>,
    pub(super) unknown: BTreeSet<String>,
    /// How often each command that fails a number of times has done so.
    pub(super) failed: BTreeMap<String, u32>,
    /// Which boot it is, and in which one an action was there last.
    boot: u32,
    seen: u32,
}

/// Whether something is on before the run.
pub(super) fn on_before(name: &str) -> bool {
    !name.ends_with("switch2")
}

impl State {
    fn reboot(&mut self) {
        self.boot += 1;
        self.switches.retain(|name, on| *on || !on_before(name));
    }

    /// Returns whether it rebooted after the last action of the run, so that nobody could switch anything off again.
    pub(super) fn rebooted_at_last(&self) -> bool {
        self.boot != self.seen
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        self.switches.get(name).copied().unwrap_or_else(|| on_before(name))
    }
}

/// A world with what is to happen in it, and when.
#[derive(Debug)]
pub(super) struct World {
    state: Mutex<State>,
    fates: BTreeMap<u64, Fate>,
    moment: AtomicU64,
    dead: AtomicBool,
    /// The interrupt of the process that lives.
    pub(super) cancel: Mutex<Cancel>,
    /// The calls whose intent is durable.
    pub(super) intents: Mutex<BTreeSet<String>>,
    /// How often the run has paused because of a failure.
    pub(super) pauses: AtomicU64,
    /// What must not be.
    pub(super) wrong: Mutex<Vec<String>>,
}

/// The worlds by the run that acts in them: actions are data and cannot hold one.
static WORLDS: Mutex<BTreeMap<String, Arc<World>>> = Mutex::new(BTreeMap::new());

fn lost() -> Failure {
    let mut failure = Failure::new(Kind::Connect, "the way broke");
    failure.lost = true;
    failure
}

impl World {
    pub(super) fn new(run: &str, fates: BTreeMap<u64, Fate>) -> Arc<Self> {
        let world = Arc::new(Self {
            state: Mutex::default(),
            fates,
            moment: AtomicU64::new(0),
            dead: AtomicBool::new(false),
            cancel: Mutex::default(),
            intents: Mutex::default(),
            pauses: AtomicU64::new(0),
            wrong: Mutex::default(),
        });
        WORLDS.lock().unwrap().insert(run.to_owned(), Arc::clone(&world));
        world
    }

    pub(super) fn forget(run: &str) {
        WORLDS.lock().unwrap().remove(run);
    }

    pub(super) fn of(cx: &Cx<'_>) -> Arc<Self> {
        Arc::clone(&WORLDS.lock().unwrap()[&cx.lane.run().id])
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Another process begins.
    pub(super) fn revive(&self) -> Cancel {
        let cancel = Cancel::new();
        *self.cancel.lock().unwrap() = cancel.clone();
        self.dead.store(false, Ordering::SeqCst);
        cancel
    }

    /// A moment passes. The dead stay dead.
    pub(super) fn moment(&self) -> Option<Fate> {
        if self.is_dead() {
            return Some(Fate::Die);
        }
        let fate = self.fates.get(&self.moment.fetch_add(1, Ordering::SeqCst)).copied();
        match fate {
            Some(Fate::Die) => {
                self.dead.store(true, Ordering::SeqCst);
                self.cancel.lock().unwrap().cancel();
            }
            Some(Fate::Reboot) => self.state().reboot(),
            _ => {}
        }
        fate
    }

    pub(super) fn boot(&self) -> String {
        format!("boot {}", self.state().boot)
    }

    /// Changes what there is, unless the target is in another boot than the one in which everything was looked at: that
    /// is what the fence is for where changes are commands. Nothing that the run has switched off may be on then.
    pub(super) fn change<T>(
        &self,
        cx: &Cx<'_>,
        receipt: Option<&str>,
        act: impl FnOnce(&mut State) -> T,
    ) -> Result<T> {
        self.on_record(cx);
        let off = &cx.lane.run().off;
        let changed = self.reach(receipt, |state| {
            let now = format!("boot {}", state.boot);
            if cx.boot().is_some_and(|right| right != now) {
                return None;
            }
            let on = off.must_be_off(&cx.target.name).into_iter().find(|key| state.is_on(key));
            Some((act(state), on.filter(|_| !cx.is_aside())))
        })?;
        let (result, on) = changed.ok_or_else(lost)?;
        if let Some(key) = on {
            let text = format!("{} acts though {key} is on", cx.call);
            self.wrong.lock().unwrap().push(text);
        }
        Ok(result)
    }

    /// Looks at or changes what there is. `receipt` is what a reboot makes unknown.
    pub(super) fn reach<T>(
        &self,
        receipt: Option<&str>,
        act: impl FnOnce(&mut State) -> T,
    ) -> Result<T> {
        let happened = |fate| -> Result<()> {
            match (fate, receipt) {
                (None, _) => Ok(()),
                (Some(Fate::Die), _) => Err(Stop::Cancelled.into()),
                (Some(Fate::Reboot), Some(receipt)) => {
                    self.state().unknown.insert(receipt.to_owned());
                    Err(lost().into())
                }
                (Some(_), _) => Err(lost().into()),
            }
        };
        happened(self.moment())?;
        let mut state = self.state();
        state.seen = state.boot;
        let result = act(&mut state);
        drop(state);
        happened(self.moment())?;
        Ok(result)
    }

    /// Makes sure that the change of this call is on record before it happens.
    fn on_record(&self, cx: &Cx<'_>) {
        let call = cx.call.to_string();
        if !self.intents.lock().unwrap().contains(&call) {
            self.wrong.lock().unwrap().push(format!("{call} acts and is not on record"));
        }
    }
}

/// An operator who looks at the world before answering what became of a command.
#[derive(Debug)]
pub(super) struct Operator(pub(super) Arc<World>);

impl Asker for Operator {
    fn ask(&self, question: &Question) -> Option<String> {
        let text = question.text();
        let Some((_, rest)) = text.split_once("happened: count ") else {
            // What it returned.
            return text.contains("JSON").then(String::new);
        };
        let name = rest.split(' ').next().unwrap();
        let ran = self.0.state().ran.contains_key(name);
        Some(if ran { "take it as done" } else { "do it again" }.to_owned())
    }
}
