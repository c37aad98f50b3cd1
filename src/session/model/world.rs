//! A world in memory, and the actions on it. Every look and every change passes [`World::reach`], where the process may die
//! or the answer be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use crate::call::Access;
use crate::effect::{Action, Asker, Cx, Owes, Plan, Question, Reconciled, Registry, inverse_of};
use crate::error::{Failure, Kind, Result, Stop};
use crate::journal::{Debt, Inverse};
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
    receipts: BTreeSet<String>,
    unknown: BTreeSet<String>,
    /// How often each command that fails a number of times has done so.
    failed: BTreeMap<String, u32>,
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

    fn of(cx: &Cx<'_>) -> Arc<Self> {
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
    fn change<T>(
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
    fn reach<T>(&self, receipt: Option<&str>, act: impl FnOnce(&mut State) -> T) -> Result<T> {
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

/// Writes a value; none removes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Put {
    pub(super) name: String,
    pub(super) value: Option<u32>,
}

impl Action for Put {
    const NAME: &'static str = "put";
    const ACCESS: Access = Access::Change;
    type Before = Option<u32>;
    type Output = bool;

    fn summary(&self) -> String {
        format!("put {:?} into {}", self.value, self.name)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Option<u32>> {
        World::of(cx).reach(None, |state| state.values.get(&self.name).copied())
    }

    fn plan(&self, before: &Option<u32>) -> Plan<Option<u32>, bool> {
        if *before == self.value {
            return Plan::Already(false);
        }
        Plan::Would { changes: Vec::new(), output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, _before: &Option<u32>) -> Result<bool> {
        World::of(cx).change(cx, None, |state| match self.value {
            Some(value) => drop(state.values.insert(self.name.clone(), value)),
            None => drop(state.values.remove(&self.name)),
        })?;
        Ok(true)
    }

    fn reconcile(&self, _cx: &Cx<'_>, _before: &Option<u32>) -> Result<Reconciled<bool>> {
        Ok(Reconciled::Redo)
    }

    fn inverse(&self, before: &Option<u32>) -> Inverse {
        inverse_of(&Self { name: self.name.clone(), value: *before })
    }

    fn owes(&self, _before: &Option<u32>) -> Owes {
        Owes::Nothing
    }
}

/// Switches something off, which is owed back, or on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Switch {
    pub(super) name: String,
    pub(super) on: bool,
}

impl Action for Switch {
    const NAME: &'static str = "switch";
    const ACCESS: Access = Access::Change;
    /// Whether it is on.
    type Before = bool;
    type Output = bool;

    fn summary(&self) -> String {
        format!("switch {} {}", self.name, if self.on { "on" } else { "off" })
    }

    fn look(&self, cx: &Cx<'_>) -> Result<bool> {
        World::of(cx).reach(None, |state| state.is_on(&self.name))
    }

    fn plan(&self, before: &bool) -> Plan<bool, bool> {
        if *before == self.on {
            return Plan::Already(false);
        }
        Plan::Would { changes: Vec::new(), output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, _before: &bool) -> Result<bool> {
        World::of(cx).change(cx, None, |state| {
            state.switches.insert(self.name.clone(), self.on);
        })?;
        Ok(true)
    }

    fn reconcile(&self, cx: &Cx<'_>, _before: &bool) -> Result<Reconciled<bool>> {
        let on = World::of(cx).reach(None, |state| state.is_on(&self.name))?;
        Ok(if on == self.on { Reconciled::Done(true) } else { Reconciled::Redo })
    }

    fn inverse(&self, before: &bool) -> Inverse {
        inverse_of(&Self { name: self.name.clone(), on: *before })
    }

    fn owes(&self, before: &bool) -> Owes {
        match (self.on, before) {
            (true, _) => Owes::Closes(self.name.clone()),
            (false, false) => Owes::Nothing,
            (false, true) => {
                let what = format!("{} on", self.name);
                Owes::Opens(Debt { key: self.name.clone(), what, locks_out: true })
            }
        }
    }

    fn subject(&self) -> Option<String> {
        Some(self.name.clone())
    }
}

/// A command that must not run twice, with a receipt for each try.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Count {
    pub(super) name: String,
    /// How often it fails before it does anything.
    pub(super) fails: u32,
    /// How often what takes it back fails; none if it is what takes back.
    pub(super) undo_fails: Option<u32>,
}

impl Action for Count {
    const NAME: &'static str = "count";
    const ACCESS: Access = Access::Change;
    /// Which try it is.
    type Before = u32;
    type Output = bool;

    fn summary(&self) -> String {
        format!("count {}", self.name)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<u32> {
        World::of(cx).reach(None, |_| 1)
    }

    fn plan(&self, _before: &u32) -> Plan<u32, bool> {
        Plan::Would { changes: Vec::new(), output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, before: &u32) -> Result<bool> {
        let world = World::of(cx);
        let receipt = format!("{} {before}", self.name);
        if world.state().unknown.contains(&receipt) {
            return Err(Failure::new(Kind::Unknown, "it was under way at a reboot").into());
        }
        let fails = world.change(cx, Some(&receipt), |state| {
            if !state.receipts.insert(receipt.clone()) {
                return false;
            }
            let failed = state.failed.entry(self.name.clone()).or_default();
            if *failed < self.fails {
                *failed += 1;
                // It left a status, which says so whoever looks.
                state.receipts.insert(format!("{receipt} failed"));
                return true;
            }
            *state.ran.entry(self.name.clone()).or_default() += 1;
            false
        })?;
        let failed = fails || world.state().receipts.contains(&format!("{receipt} failed"));
        if failed { Err(Failure::new(Kind::Exit, "status 1").into()) } else { Ok(true) }
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &u32) -> Result<Reconciled<bool>> {
        let receipt = format!("{} {before}", self.name);
        let unknown = World::of(cx).reach(None, |state| state.unknown.contains(&receipt))?;
        Ok(if unknown { Reconciled::Unknown("it rebooted".to_owned()) } else { Reconciled::Redo })
    }

    fn again(&self, before: &mut u32, _failure: &Failure) {
        *before += 1;
    }

    fn begun(&self, cx: &Cx<'_>, before: &u32) -> Result<bool> {
        let receipt = format!("{} {before}", self.name);
        World::of(cx).reach(None, |state| {
            state.receipts.contains(&receipt) || state.unknown.contains(&receipt)
        })
    }

    fn inverse(&self, _before: &u32) -> Inverse {
        match self.undo_fails {
            None => Inverse::Nothing { why: "it takes something back".to_owned() },
            Some(fails) => {
                inverse_of(&Self { name: format!("undo-{}", self.name), fails, undo_fails: None })
            }
        }
    }

    fn owes(&self, _before: &u32) -> Owes {
        Owes::Nothing
    }
}

/// Fails until the run has paused because of it so often.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Fail {
    pub(super) pauses: u64,
}

impl Action for Fail {
    const NAME: &'static str = "fail";
    const ACCESS: Access = Access::Change;
    type Before = ();
    type Output = bool;

    fn summary(&self) -> String {
        "fail".to_owned()
    }

    fn look(&self, _cx: &Cx<'_>) -> Result<()> {
        Ok(())
    }

    fn plan(&self, (): &()) -> Plan<(), bool> {
        Plan::Would { changes: Vec::new(), output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, (): &()) -> Result<bool> {
        let world = World::of(cx);
        world.reach(None, |_| ())?;
        if world.pauses.load(Ordering::SeqCst) < self.pauses {
            return Err(Failure::new(Kind::Exit, "not yet").into());
        }
        Ok(true)
    }

    fn reconcile(&self, _cx: &Cx<'_>, (): &()) -> Result<Reconciled<bool>> {
        Ok(Reconciled::Redo)
    }

    fn inverse(&self, (): &()) -> Inverse {
        Inverse::Nothing { why: "it does nothing".to_owned() }
    }

    fn owes(&self, (): &()) -> Owes {
        Owes::Nothing
    }
}

/// Keeps off on purpose what was switched off last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Keep {
    pub(super) target: String,
    pub(super) key: String,
}

impl Action for Keep {
    const NAME: &'static str = "keep_off";
    const ACCESS: Access = Access::Change;
    type Before = ();
    type Output = bool;

    fn summary(&self) -> String {
        format!("keep {} off", self.key)
    }

    fn look(&self, _cx: &Cx<'_>) -> Result<()> {
        Ok(())
    }

    fn plan(&self, (): &()) -> Plan<(), bool> {
        Plan::Would { changes: Vec::new(), output: true, after: None }
    }

    fn apply(&self, _cx: &Cx<'_>, (): &()) -> Result<bool> {
        Ok(true)
    }

    fn reconcile(&self, _cx: &Cx<'_>, (): &()) -> Result<Reconciled<bool>> {
        Ok(Reconciled::Done(true))
    }

    fn inverse(&self, (): &()) -> Inverse {
        Inverse::Nothing { why: "it stays off on purpose".to_owned() }
    }

    fn owes(&self, (): &()) -> Owes {
        Owes::Keeps {
            target: self.target.clone(),
            key: self.key.clone(),
            reason: "on purpose".to_owned(),
            due: None,
        }
    }
}

/// Every action of the model by its name.
pub(super) fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.add::<Put>();
    registry.add::<Switch>();
    registry.add::<Count>();
    registry.add::<Fail>();
    registry.add::<Keep>();
    registry
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
