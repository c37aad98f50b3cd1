//! Lanes in waves, for the primitive and for a runbook on several targets alike. A lane that fails is taken back alone; too
//! many failures let no other begin, while those that run go on to their end, and the operator decides.
//!
//! A wave is over when each of its lanes is through or failed. One in a wait of days is neither: it ends nothing that runs
//! beside it, and the next wave begins only after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::decide::{Decide, Over, Stopped, Wave, WaveOver};
use super::waves::Waves;
use crate::effect::{Lane, Mode, Query, Undo, Undone, query, roll_back, side_by_side};
use crate::error::{Failure, Halt, Pause, Place, Result, Stop};
use crate::event::What;
use crate::journal::{Body, Outcome};
use crate::primitives::lanes;
use crate::primitives::time::{After, pause_after};

/// What became of an item.
#[derive(Clone, Debug)]
pub enum State<T> {
    /// It has not begun, or is to begin again.
    Waiting,
    /// It is through, with this.
    Done(T),
    /// It is in a wait that ended the process; until when, if it came there in this one.
    Parked(Option<Pause>),
    /// It failed and was taken back.
    Failed(Box<Failure>),
    /// It failed, and so did taking it back.
    NotUndone(Box<Failure>),
    /// The operator took it out.
    TakenOut {
        /// Whether all that it did was taken back.
        undone: bool,
    },
}

/// What a lane does.
pub(super) type Work<'a, T> = &'a (dyn Fn(&Lane, usize) -> Result<T> + Sync);

/// Whether the next wave may begin.
pub(super) type Gate<'a, T> = &'a dyn Fn(&[State<T>]) -> Result<bool>;

/// Items that go in waves.
pub struct Rolling<'a, T> {
    /// The lane around it.
    pub lane: &'a Lane,
    /// Where it stands in the runbook.
    pub place: Option<Place>,
    /// The names of the items, which differ; one that is a target's makes that the current one.
    pub keys: Vec<String>,
    /// How they go.
    pub waves: Waves,
    /// What is done for each.
    pub work: Work<'a, T>,
    /// Asked between two waves.
    pub gate: Option<Gate<'a, T>>,
    /// Whether it ends only once the operator has decided about all that failed, be it few.
    pub settles: bool,
}

impl<T> std::fmt::Debug for Rolling<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rolling").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl<T: Send> Rolling<'_, T> {
    /// Runs all of them, and returns what became of each, in their order.
    ///
    /// # Errors
    /// A stop of a lane, a pause until the operator decides or a lane has waited, a failure beyond a point of no return.
    pub fn run(&self) -> Result<Vec<State<T>>> {
        let states = self.keys.iter().map(|_| State::Waiting).collect();
        let mut rolls =
            Rolls { of: self, states, through: Vec::new(), parked: Vec::new(), over: None };
        let result = rolls.all();
        rolls.rebuild_parked();
        self.lane.push_undo(Undo::Lanes(rolls.through));
        result.map(|()| rolls.states)
    }
}

/// A lane in a wait of days.
struct Parked {
    index: usize,
    lane: Lane,
    /// Whether it came there in this process, and cannot go on in it.
    here: bool,
}

/// Where it stands.
struct Rolls<'a, 'r, T> {
    of: &'a Rolling<'r, T>,
    states: Vec<State<T>>,
    /// The lanes that have run, for the undo of the run.
    through: Vec<Lane>,
    parked: Vec<Parked>,
    /// The last wave that is over, as the pause after it says it.
    over: Option<After>,
}

impl<T: Send> Rolls<'_, '_, T> {
    fn all(&mut self) -> Result<()> {
        let mut round: Vec<usize> = (0..self.states.len()).collect();
        loop {
            let ends = self.of.waves.ends(round.len());
            let mut stopped = None;
            let mut from = 0;
            for (at, end) in ends.iter().enumerate() {
                if from > 0
                    && let Some(pause) = self.of.waves.pause()
                {
                    let (lane, place) = (self.of.lane, self.of.place.clone());
                    pause_after(lane, place, pause, self.over.take())?;
                }
                stopped = self.wave((at + 1, ends.len()), &round[from..*end])?;
                if stopped.is_none() && *end < round.len() {
                    stopped = self.gate_closed()?;
                }
                if stopped.is_some() {
                    break;
                }
                from = *end;
            }
            if round.is_empty() && !self.parked.is_empty() {
                stopped = self.wave((1, 1), &[])?;
            }
            let failed = self.failed();
            let left = self.states.iter().any(|state| matches!(state, State::Waiting));
            let why = match stopped {
                Some(why) => why,
                // `--only` leaves the others for later.
                None if left => "those that were wanted are through; others wait".to_owned(),
                None if self.of.settles && failed > 0 && !self.plans() => {
                    format!("{failed} of {} failed, the others are through", self.states.len())
                }
                None => return Ok(()),
            };
            round = self.decide(why)?;
        }
    }

    fn plans(&self) -> bool {
        self.of.lane.run().mode == Mode::Plan
    }

    fn failed(&self) -> usize {
        let failed = |state: &&State<T>| matches!(state, State::Failed(_) | State::NotUndone(_));
        self.states.iter().filter(failed).count()
    }

    fn names(&self, wanted: fn(&State<T>) -> bool) -> Vec<String> {
        let all = self.of.keys.iter().zip(&self.states);
        all.filter(|(_, state)| wanted(state)).map(|(key, _)| key.clone()).collect()
    }

    /// Runs the items with these indexes side by side, and those that waited before. Says why no other may begin, if so.
    fn wave(&mut self, number: (usize, usize), indexes: &[usize]) -> Result<Option<String>> {
        let lane = self.of.lane;
        let keys: Vec<String> = indexes.iter().map(|index| self.of.keys[*index].clone()).collect();
        let waited = self.parked.iter().map(|parked| self.of.keys[parked.index].clone());
        let items: Vec<String> = waited.chain(keys.iter().cloned()).collect();
        self.say(Wave { number: number.0, of: number.1, items: items.clone() })?;
        let over = self.on_record();
        if over.is_none() && lane.run().mode != Mode::Rebuild {
            lane.emit(What::WaveBegan { number: number.0, of: number.1, items });
        }
        let mut all: Vec<(usize, Lane)> =
            indexes.iter().copied().zip(lanes::branch(lane, &keys)).collect();
        if !lane.is_live() || lane.run().mode == Mode::Rebuild {
            // The record goes on after this wave, so the lanes that are not on record did not begin.
            all.retain(|(_, lane)| lane.has_begun());
        }
        self.set_aside(&mut all, over.as_ref());
        // What began goes on, whatever failed beside it.
        all.sort_by_key(|(_, lane)| !lane.has_begun());
        self.side_by_side(all)?;
        let stopped = self.stops();
        if stopped.is_none()
            && let Some(pause) = self.first_wait()
        {
            return Err(Stop::Paused(pause).into());
        }
        self.over(number, indexes)?;
        Ok(stopped)
    }

    /// What waited when this wave was over waits until the record ends; what waited before goes on now.
    fn set_aside(&mut self, all: &mut Vec<(usize, Lane)>, over: Option<&Over>) {
        let waits =
            |index: usize| over.is_some_and(|over| over.waits.contains(&self.of.keys[index]));
        let (parked, now): (Vec<_>, Vec<_>) =
            std::mem::take(all).into_iter().partition(|(index, _)| waits(*index));
        let (still, go_on): (Vec<_>, Vec<_>) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(|parked| parked.here || waits(parked.index));
        all.extend(now);
        all.extend(go_on.into_iter().map(|parked| (parked.index, parked.lane)));
        self.parked = still;
        for (index, lane) in parked {
            self.states[index] = State::Parked(None);
            self.parked.push(Parked { index, lane, here: false });
        }
    }

    /// Runs lanes, those that began first. Too many failures let no other begin.
    fn side_by_side(&mut self, all: Vec<(usize, Lane)>) -> Result<()> {
        let plans = self.plans();
        let begun = all.iter().take_while(|(_, lane)| lane.has_begun()).count();
        let room = self.of.waves.max_failures.saturating_sub(self.failed());
        let failures = AtomicUsize::new(0);
        let halted = AtomicBool::new(false);
        let stopped = |at: usize| {
            let many = failures.load(Ordering::SeqCst) > room && !plans;
            at >= begun && (many || halted.load(Ordering::SeqCst))
        };
        let work = self.of.work;
        let results = side_by_side(all.len(), self.of.waves.max, &stopped, &|at| {
            let (index, lane) = &all[at];
            let result = one(lane, *index, work);
            match &result {
                Ok(State::Failed(_) | State::NotUndone(_)) => {
                    failures.fetch_add(1, Ordering::SeqCst);
                }
                Ok(_) => {}
                Err(_) => halted.store(true, Ordering::SeqCst),
            }
            result
        });
        let mut halts = Vec::new();
        for ((index, lane), result) in all.into_iter().zip(results) {
            match result {
                Some(Ok(state)) => {
                    if matches!(state, State::Parked(_)) {
                        self.parked.push(Parked { index, lane: lane.clone(), here: true });
                    }
                    self.states[index] = state;
                }
                Some(Err(halt)) => halts.push(halt),
                None => continue,
            }
            self.through.push(lane);
        }
        match lanes::worst(self.of.lane, halts) {
            None => Ok(()),
            Some(halt) => Err(halt),
        }
    }

    /// Says why no other may begin, if so.
    fn stops(&self) -> Option<String> {
        if self.plans() {
            return None;
        }
        let (failed, most) = (self.failed(), self.of.waves.max_failures);
        if failed > most {
            let all = self.states.len();
            return Some(format!("{failed} of {all} failed, and no more than {most} may"));
        }
        let left = self.states.iter().any(|state| matches!(state, State::NotUndone(_)));
        left.then(|| "a target failed and could not be taken back".to_owned())
    }

    /// The pause of the lane that has waited first.
    fn first_wait(&self) -> Option<Pause> {
        let all = self.of.keys.iter().zip(&self.states);
        let mut waits: Vec<(&String, &Pause)> = all
            .filter_map(|(key, state)| match state {
                State::Parked(Some(pause)) => Some((key, pause)),
                _ => None,
            })
            .collect();
        waits.sort_by_key(|(_, pause)| pause.until);
        let (key, first) = waits.first()?;
        let mut why = format!("{key} {}", first.why);
        if waits.len() > 1 {
            why = format!("{} wait, the first: {why}", waits.len());
        }
        let left = self.names(|state| matches!(state, State::Waiting)).len();
        if left > 0 {
            why = format!("{why}; {left} more begin after that");
        }
        Some(Pause { why, until: first.until, unknown: false })
    }

    fn gate_closed(&self) -> Result<Option<String>> {
        let (Some(gate), false) = (&self.of.gate, self.plans()) else { return Ok(None) };
        let open = gate(&self.states)?;
        Ok((!open).then(|| "the gate is closed".to_owned()))
    }

    /// Asks what is done after it stopped; returns the indexes that go on.
    fn decide(&mut self, why: String) -> Result<Vec<usize>> {
        let (lane, place) = (self.of.lane, &self.of.place);
        let failed = self.names(|state| matches!(state, State::Failed(_) | State::NotUndone(_)));
        let waiting = self.names(|state| matches!(state, State::Waiting));
        let resumed = !lane.is_live();
        query(lane, place.clone(), Stopped { why })?;
        let decision = query(lane, place.clone(), Decide { failed, waiting, resumed })?;
        let keys = self.of.keys.iter().enumerate();
        let index: BTreeMap<&str, usize> = keys.map(|(index, key)| (key.as_str(), index)).collect();
        for at in decision.out.iter().filter_map(|key| index.get(key.as_str())) {
            let undone = !matches!(self.states[*at], State::NotUndone(_));
            self.states[*at] = State::TakenOut { undone };
        }
        let go: BTreeSet<usize> =
            decision.go.iter().filter_map(|key| index.get(key.as_str()).copied()).collect();
        for at in &go {
            self.states[*at] = State::Waiting;
        }
        Ok(go.into_iter().collect())
    }

    /// Writes down that a wave begins. Journals from before that was written have nothing of the kind.
    fn say(&self, wave: Wave) -> Result<()> {
        if self.is_written::<Wave>() {
            query(self.of.lane, self.of.place.clone(), wave)?;
        }
        Ok(())
    }

    /// Whether a call is on record here, or is to be.
    fn is_written<Q: Query>(&self) -> bool {
        let lane = self.of.lane;
        match lane.upcoming() {
            Some(next) => next.call.action == Q::NAME,
            None => lane.run().mode == Mode::Run,
        }
    }

    /// Returns what the record says that the wave came to.
    fn on_record(&self) -> Option<Over> {
        let next = self.of.lane.upcoming().filter(|next| next.call.action == WaveOver::NAME)?;
        match next.outcome? {
            Outcome::Done { value, .. } => serde_json::from_value(value).ok(),
            Outcome::Failed { .. } => None,
        }
    }

    fn over(&mut self, number: (usize, usize), indexes: &[usize]) -> Result<()> {
        let lane = self.of.lane;
        let after = |at| After { what: format!("wave {} of {}", number.0, number.1), at };
        if !self.is_written::<WaveOver>() {
            self.over = self.plans().then(|| after(lane.run().clock.now()));
            return Ok(());
        }
        let done = indexes.iter().filter(|at| matches!(self.states[**at], State::Done(_))).count();
        let failed =
            |at: &&usize| matches!(self.states[**at], State::Failed(_) | State::NotUndone(_));
        let failed = indexes.iter().filter(failed).map(|at| self.of.keys[*at].clone()).collect();
        let waits = self.names(|state| matches!(state, State::Parked(_)));
        let news = lane.is_live();
        let over = Over { done, failed, waits, at: None };
        let over = WaveOver { number: number.0, of: number.1, over };
        let Over { done, failed, waits, at } = query(lane, self.of.place.clone(), over)?;
        self.over = at.map(after);
        if news {
            lane.emit(What::WaveEnded { number: number.0, of: number.1, done, failed, waits });
        }
        Ok(())
    }

    /// Lanes that were set aside are taken back with the run as well, though nobody decided yet how it goes on.
    fn rebuild_parked(&mut self) {
        if self.of.lane.run().mode != Mode::Rebuild {
            return;
        }
        let parked = std::mem::take(&mut self.parked).into_iter().filter(|parked| !parked.here);
        let all: Vec<_> = parked.map(|parked| (parked.index, parked.lane)).collect();
        let _end_of_record = self.side_by_side(all);
    }
}

/// Does the work of one lane, and takes it back if it fails.
fn one<T>(lane: &Lane, index: usize, work: Work<'_, T>) -> Result<State<T>> {
    match lane.begin().and_then(|()| work(lane, index)) {
        Ok(value) => Ok(State::Done(value)),
        // Nothing is undone on its own beyond that point.
        Err(Halt::Failure(failure)) if lane.past_point_of_no_return().is_none() => {
            take_back(lane, *failure)
        }
        Err(Halt::Stop(Stop::Paused(pause))) if pause.until.is_some() && !pause.unknown => {
            Ok(State::Parked(Some(pause)))
        }
        Err(halt) => Err(halt),
    }
}

/// Undoes what a lane did that failed; nothing else is touched.
fn take_back<T>(lane: &Lane, failure: Failure) -> Result<State<T>> {
    if lane.run().mode == Mode::Plan {
        return Ok(State::Failed(Box::new(failure)));
    }
    let text = lane.run().redactor.text(&format!("{failure}; it is taken back alone"));
    if lane.record(Body::Note { text: text.clone(), warning: true })? {
        lane.emit(What::Warning { text });
    }
    let Undone { failed, left, .. } = roll_back(lane)?;
    let failure = Box::new(failure);
    Ok(if failed.is_empty() && left.is_empty() {
        State::Failed(failure)
    } else {
        State::NotUndone(failure)
    })
}
