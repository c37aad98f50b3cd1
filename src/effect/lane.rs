//! A lane: a deterministic sequence of calls. One per run, and one per parallel branch. It knows the steps around the
//! next call, the target it acts on, and what to undo, newest first.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::run::{Mode, Run};
use super::target::Target;
use crate::call::CallKey;
use crate::error::Result;
use crate::event::{Event, What};
use crate::journal::{Body, Inverse, Recorded};

/// The application that the adapter primitives act on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct App {
    /// The adapter's name: `ahsay_obs`.
    pub adapter: String,
    /// Its settings; secrets in it are references.
    pub settings: Value,
}

/// A closure registered by `on_rollback`.
pub type UndoClosure = Arc<dyn Fn(&Lane) -> Result<()> + Send + Sync>;

/// Something to take back.
#[derive(Clone)]
pub enum Undo {
    /// A recorded inverse.
    Inverse {
        /// The call that it takes back.
        of: CallKey,
        /// What that call did, for people.
        what: String,
        /// The target.
        target: String,
        /// How.
        inverse: Inverse,
    },
    /// A closure of the runbook.
    Closure {
        /// The call that registered it.
        of: CallKey,
        /// The target that was current then.
        target: String,
        /// The closure, its captures as they were.
        closure: UndoClosure,
    },
    /// The parallel lanes of an `each`.
    Lanes(Vec<Lane>),
}

impl fmt::Debug for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inverse { of, .. } => write!(f, "Inverse({of})"),
            Self::Closure { of, .. } => write!(f, "Closure({of})"),
            Self::Lanes(lanes) => write!(f, "Lanes({})", lanes.len()),
        }
    }
}

/// Inside of which part of an action's life the lane is; calls made there are part of that action, not of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    /// Only reads are allowed.
    Looking,
    /// Changes are allowed.
    Applying,
}

#[derive(Debug, Default)]
struct State {
    steps: Vec<String>,
    /// The targets of the `on`s around the next call, innermost last.
    targets: Vec<Arc<Target>>,
    counters: HashMap<(String, String), u32>,
    branches: u32,
    undo: Vec<Undo>,
    inside: Vec<Inside>,
    apps: HashMap<String, App>,
    /// The newest mark of each log, by target and file.
    marks: HashMap<(String, String), Value>,
    /// The open obligation opened last in this lane, for `keep_off`.
    last_debt: Option<(String, String, CallKey)>,
}

struct Inner {
    run: Arc<Run>,
    name: String,
    undoing: bool,
    /// The call that it takes back by its recorded inverse.
    takes_back: Option<CallKey>,
    /// The boot of the target in which it switches something off again, beside what the script does.
    aside: Option<String>,
    /// The target that it acts on outside of every `on`.
    home: Arc<Target>,
    state: Mutex<State>,
}

impl Inner {
    fn new(run: Arc<Run>, name: String, home: Arc<Target>, state: State, undoing: bool) -> Self {
        let (takes_back, aside, state) = (None, None, Mutex::new(state));
        Self { run, name, undoing, takes_back, aside, home, state }
    }
}

/// A lane. Clones are the same lane.
#[derive(Clone)]
pub struct Lane(Arc<Inner>);

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lane({})", self.0.name)
    }
}

impl Lane {
    /// Makes the main lane of a run, acting on `target`.
    pub fn main(run: Arc<Run>, target: Arc<Target>) -> Self {
        Self::make(run, "main".to_owned(), target, State::default(), false)
    }

    /// Makes one that switches something off again here, in this boot of the target.
    pub(super) fn stand_aside(&self, boot: &str) -> Self {
        let here = self.state();
        let (steps, apps) = (here.steps.clone(), here.apps.clone());
        drop(here);
        let state = State { steps, apps, ..State::default() };
        let name = self.0.name.clone();
        let inner = Inner::new(Arc::clone(self.run()), name, self.target(), state, self.0.undoing);
        Self(Arc::new(Inner { aside: Some(boot.to_owned()), ..inner }))
    }

    /// Returns the boot of the target in which this lane switches something off again, if that is what it does.
    pub(super) fn aside(&self) -> Option<String> {
        self.0.aside.clone()
    }

    fn make(run: Arc<Run>, name: String, target: Arc<Target>, state: State, undoing: bool) -> Self {
        Self(Arc::new(Inner::new(run, name, target, state, undoing)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the run.
    pub fn run(&self) -> &Arc<Run> {
        &self.0.run
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns whether the lane undoes.
    pub fn is_undoing(&self) -> bool {
        self.0.undoing
    }

    /// Returns whether the lane undoes, and may meet what a call left that was cut off.
    pub fn mends(&self) -> bool {
        self.0.undoing && self.0.aside.is_none()
    }

    /// Returns the target that the lane acts on now.
    pub fn target(&self) -> Arc<Target> {
        Arc::clone(self.state().targets.last().unwrap_or(&self.0.home))
    }

    /// Acts on another target from now on.
    pub fn push_target(&self, target: Arc<Target>) {
        self.state().targets.push(target);
    }

    /// Acts on the target before again.
    pub fn pop_target(&self) {
        self.state().targets.pop();
    }

    /// Returns the steps around the next call, joined.
    pub fn step(&self) -> String {
        self.state().steps.join(" > ")
    }

    /// Enters a step; a name used before at this place gets a number, so that identities stay unique.
    pub fn enter_step(&self, name: &str) -> String {
        let mut state = self.state();
        let parent = state.steps.join(" > ");
        let count = state.counters.entry((parent, format!("step {name}"))).or_default();
        *count += 1;
        let name = if *count == 1 { name.to_owned() } else { format!("{name} ({count})") };
        state.steps.push(name);
        state.steps.join(" > ")
    }

    /// Leaves the step.
    pub fn leave_step(&self) {
        self.state().steps.pop();
    }

    /// Returns the identity of the next call of `action`.
    pub fn next_call(&self, action: &str) -> CallKey {
        let mut state = self.state();
        let step = state.steps.join(" > ");
        let nth = state.counters.entry((step.clone(), action.to_owned())).or_default();
        *nth += 1;
        CallKey { lane: self.0.name.clone(), step, action: action.to_owned(), nth: *nth }
    }

    /// Makes the lanes of a parallel section, keyed by name.
    pub fn branch(&self, targets: &[(String, Option<Arc<Target>>)]) -> Vec<Lane> {
        let mut state = self.state();
        state.branches += 1;
        let number = state.branches;
        let (apps, marks) = (state.apps.clone(), state.marks.clone());
        let steps = state.steps.clone();
        drop(state);
        let here = self.target();
        targets
            .iter()
            .map(|(key, target)| {
                let name = format!("{} > each {number} > {key}", self.0.name);
                let target = target.clone().unwrap_or_else(|| Arc::clone(&here));
                let (apps, marks, steps) = (apps.clone(), marks.clone(), steps.clone());
                let state = State { steps, apps, marks, ..State::default() };
                Self::make(Arc::clone(&self.0.run), name, target, state, self.0.undoing)
            })
            .collect()
    }

    /// Makes the lane that undoes a call.
    #[must_use]
    pub fn undoing(&self, of: &CallKey, target: Arc<Target>) -> Lane {
        Self(Arc::new(self.back(of, target)))
    }

    /// Makes the lane that takes a call back by its recorded inverse.
    pub(super) fn taking_back(&self, of: &CallKey, target: Arc<Target>) -> Lane {
        let takes_back = Some(of.clone());
        Self(Arc::new(Inner { takes_back, ..self.back(of, target) }))
    }

    /// Returns the call that it takes back by its recorded inverse.
    pub(super) fn takes_back(&self) -> Option<&CallKey> {
        self.0.takes_back.as_ref()
    }

    fn back(&self, of: &CallKey, target: Arc<Target>) -> Inner {
        let apps = self.state().apps.clone();
        let state = State { steps: vec!["undo".to_owned()], apps, ..State::default() };
        Inner::new(Arc::clone(&self.0.run), format!("undo {of}"), target, state, true)
    }

    /// Remembers something to take back. A lane that undoes remembers nothing.
    pub fn push_undo(&self, undo: Undo) {
        if !self.0.undoing {
            self.state().undo.push(undo);
        }
    }

    /// Takes everything there is to take back, oldest first.
    pub fn take_undo(&self) -> Vec<Undo> {
        std::mem::take(&mut self.state().undo)
    }

    /// Forgets the inverse of a call: what it switched off is kept off.
    pub fn drop_inverse(&self, of: &CallKey) {
        self.state()
            .undo
            .retain(|undo| !matches!(undo, Undo::Inverse { of: other, .. } if other == of));
    }

    /// Returns the application of the current target, or the one configured for all.
    pub fn app(&self) -> Option<App> {
        let target = self.target();
        let own = self.state().apps.get(&target.name).cloned();
        own.or_else(|| self.0.run.default_app.clone())
    }

    /// Sets the application of the current target.
    pub fn set_app(&self, app: App) {
        let target = self.target();
        self.state().apps.insert(target.name.clone(), app);
    }

    /// Returns the newest mark of a log of the current target.
    pub fn mark(&self, log: &str) -> Option<Value> {
        let key = (self.target().name.clone(), log.to_owned());
        self.state().marks.get(&key).cloned()
    }

    /// Remembers the newest mark of a log of the current target. Marks come out of recorded calls, so that a replay
    /// remembers the same.
    pub fn set_mark(&self, log: &str, mark: Value) {
        let key = (self.target().name.clone(), log.to_owned());
        self.state().marks.insert(key, mark);
    }

    /// Returns the target and key of the obligation opened last in this lane, and the call that opened it.
    pub fn last_debt(&self) -> Option<(String, String, CallKey)> {
        self.state().last_debt.clone()
    }

    pub(super) fn set_last_debt(&self, target: &str, key: &str, call: &CallKey) {
        self.state().last_debt = Some((target.to_owned(), key.to_owned(), call.clone()));
    }

    pub(super) fn inside(&self) -> Option<Inside> {
        self.state().inside.last().copied()
    }

    /// Runs `body` as a part of an action.
    pub(super) fn within<T>(&self, inside: Inside, body: impl FnOnce() -> T) -> T {
        struct Leave<'a>(&'a Lane);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.state().inside.pop();
            }
        }
        self.state().inside.push(inside);
        let _leave = Leave(self);
        body()
    }

    /// Returns whether the next call is live: replay has reached the end of what this lane has on record.
    pub fn is_live(&self) -> bool {
        let cursor = self.0.run.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        cursor.next(&self.0.name).is_none()
    }

    /// Returns the recorded call of this lane that comes next.
    pub fn upcoming(&self) -> Option<Recorded> {
        let cursor = self.0.run.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        cursor.next(&self.0.name).cloned()
    }

    /// Notes that from here on nothing of this lane, nor of those around and within it, is undone on its own.
    pub fn pass_point_of_no_return(&self, why: &str) {
        let passed = &self.0.run.point_of_no_return;
        let mut passed = passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.push((self.0.name.clone(), why.to_owned()));
    }

    /// Returns why there is no way back for this lane, if it, one around it or one within it passed the point.
    pub fn past_point_of_no_return(&self) -> Option<String> {
        let passed = &self.0.run.point_of_no_return;
        let passed = passed.lock().unwrap_or_else(PoisonError::into_inner);
        let own = &self.0.name;
        let mut related =
            passed.iter().filter(|(lane, _)| is_within(lane, own) || is_within(own, lane));
        related.next().map(|(_, why)| why.clone())
    }

    /// Notes that the lane begins, so that a replay knows even if it never calls anything.
    ///
    /// # Errors
    /// If the journal fails.
    pub fn begin(&self) -> Result<()> {
        let run = &self.0.run;
        if self.has_begun() || run.mode != Mode::Run {
            return Ok(());
        }
        match &run.store {
            Some(store) => {
                Ok(store.append(&run.id, Body::LaneBegan { lane: self.0.name.clone() })?)
            }
            None => Ok(()),
        }
    }

    /// Returns whether [`Lane::begin`] is on record.
    pub fn has_begun(&self) -> bool {
        let cursor = self.0.run.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        cursor.has_begun(&self.0.name)
    }

    /// Returns whether what the script says now is news: not while it is only replayed, be it to go on or to undo.
    pub fn tells(&self) -> bool {
        match self.0.run.mode {
            Mode::Plan => true,
            Mode::Run => self.is_live(),
            Mode::Rebuild => self.0.undoing && self.is_live(),
        }
    }

    /// Adds something to the journal that is not a call. Returns whether it is news, and was not on record already.
    pub fn record(&self, body: Body) -> Result<bool> {
        let run = &self.0.run;
        let told = run.cursor.lock().unwrap_or_else(PoisonError::into_inner).told(&body);
        if told || !self.tells() {
            return Ok(false);
        }
        if let (Some(store), Mode::Run) = (&run.store, run.mode) {
            store.append(&run.id, body)?;
        }
        Ok(true)
    }

    /// Tells what happened.
    pub fn emit(&self, what: What) {
        self.0.run.send(Event {
            at: self.0.run.clock.now(),
            run: self.0.run.id.clone(),
            lane: self.0.name.clone(),
            step: self.step(),
            target: self.target().name.clone(),
            what,
        });
    }
}

/// Returns whether a lane is another or one of its branches.
fn is_within(lane: &str, other: &str) -> bool {
    lane.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(" > "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_within_those_around_it() {
        let inner = "main > each 1 > web1";
        assert!(is_within(inner, inner) && is_within(inner, "main"));
        assert!(!is_within("main", inner) && !is_within("main > each 1 > web10", inner));
    }
}
