//! `rolling`: a body for every item of a list, in waves. A target that fails is taken back alone; a wave with too many
//! failures lets no other begin, and the operator decides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rhai::{Array, Dynamic, FnPtr, Map, NativeCallContext};
use serde::{Deserialize, Serialize};

use super::bridge::{
    Face, Options, Primitive, RhaiResultOf, Type, ask, failure_to_dynamic, field, lane, raise,
    wrong,
};
use super::closure::Closure;
use super::lanes;
use crate::call::Access;
use crate::effect::{Cx, Lane, Mode, Query, Question, Registry, Undo, Undone, roll_back};
use crate::error::{Failure, Halt, Pause, Result, Stop};
use crate::event::What;

const ROLLING: Primitive = Primitive {
    name: "rolling",
    family: "flow",
    summary: "Runs a body for every item of a list in waves; a target that fails is taken back alone, and after too many failures no other begins.",
    params: &[
        field("items", Type::List, "", "Targets, or texts; they name the lanes and must differ."),
        field("options", Type::Map, "", "How it rolls."),
        field("body", Type::Closure, "", "Gets the item, as with `each`."),
    ],
    options: &[
        field(
            "waves",
            Type::List,
            "[1, \"10%\", \"50%\", \"100%\"]",
            "How many are through after each wave: numbers or percentages, rising. What is left after the last one makes one more.",
        ),
        field("max", Type::Int, "16", "How many lanes run at once."),
        field("max_failures", Type::Int, "0", "How many may fail in all before it stops."),
        field(
            "gate",
            Type::Closure,
            "",
            "Called after each wave but the last with the results so far; false stops there.",
        ),
        field("pause", Type::Duration, "none", "How long to wait between two waves."),
    ],
    returns: "Array: a map for each item, in their order: `item`, `ok`, `value`, `error`, `state` (`done`, `failed`, `not undone`, `taken out`)",
    example: r#"rolling(targets("@web"), #{ waves: [1, "10%", "100%"], max_failures: 2, gate: |done| confirm("Go on?") }, |t| service_restart("app"));"#,
    failure: "What a lane fails with is in its result. Over the limit, or at a closed gate, the run asks: try the failed ones again and go on, leave them out and go on, or pause; unattended it pauses.",
    plan: "Plans every lane.",
    undo: "A lane that fails is undone at once, alone. With the run, the lanes that are through are undone side by side.",
    resume: "`resume` tries the failed ones again and goes on; `--skip ITEM` takes some out for good, `--only ITEM` lets no others begin.",
};

/// The size of a wave, as written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Size {
    Count(usize),
    Percent(f64),
}

impl Size {
    fn read(value: &Dynamic) -> Result<Self, String> {
        let wrong =
            || format!("a wave is a number such as 1, or a text such as \"10%\", not {value:?}");
        if let Ok(count) = value.as_int() {
            return usize::try_from(count)
                .ok()
                .filter(|count| *count > 0)
                .map(Self::Count)
                .ok_or_else(wrong);
        }
        let text = value.clone().into_string().map_err(|_| wrong())?;
        let percent: f64 =
            text.trim().strip_suffix('%').ok_or_else(wrong)?.trim().parse().map_err(|_| wrong())?;
        if percent > 0.0 && percent <= 100.0 { Ok(Self::Percent(percent)) } else { Err(wrong()) }
    }

    /// How many of `all` are through after it; a percentage is at least one.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of targets, and a share of it"
    )]
    fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count.min(all),
            Self::Percent(percent) => {
                ((all as f64 * percent / 100.0).floor() as usize).max(1).min(all)
            }
        }
    }
}

/// How many items are through after each wave; the last wave is through with all of them.
fn waves(sizes: &[Size], all: usize) -> Result<Vec<usize>, String> {
    let falls = sizes.windows(2).any(|pair| match pair {
        [Size::Count(before), Size::Count(after)] => after < before,
        [Size::Percent(before), Size::Percent(after)] => after < before,
        _ => false,
    });
    if falls {
        return Err("waves say how many are through after each, so they must rise".to_owned());
    }
    let mut ends: Vec<usize> = Vec::new();
    for size in sizes {
        // A small list makes some waves the same.
        ends.push(size.of(all).max(ends.last().copied().unwrap_or(0)));
    }
    ends.push(all);
    ends.dedup();
    ends.retain(|end| *end > 0);
    Ok(ends)
}

/// What became of an item.
#[derive(Clone, Debug)]
enum State {
    Waiting,
    Done(Dynamic),
    Failed(Box<Failure>),
    /// It failed, and so did taking it back.
    NotUndone(Box<Failure>),
    TakenOut,
}

/// Says that no further lane begins. On record before the operator decides, so that a resume is known to be the answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stopped {
    why: String,
}

impl Query for Stopped {
    const NAME: &'static str = "rolling_stopped";
    const ACCESS: Access = Access::Ask;
    type Output = ();

    fn summary(&self) -> String {
        self.why.clone()
    }

    fn ask(&self, _cx: &Cx<'_>) -> Result<()> {
        Ok(())
    }
}

/// What is done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Decision {
    /// Those that run again or for the first time.
    go: Vec<String>,
    /// Those that are taken out for good.
    out: Vec<String>,
}

/// Asks what is done about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Decide {
    failed: Vec<String>,
    waiting: Vec<String>,
    /// Whether this process took the run up after it had stopped here: that is the answer.
    #[serde(skip)]
    resumed: bool,
}

impl Query for Decide {
    const NAME: &'static str = "rolling_decision";
    const ACCESS: Access = Access::Ask;
    type Output = Decision;

    fn summary(&self) -> String {
        format!("how to go on: {} failed, {} wait", self.failed.len(), self.waiting.len())
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<Decision> {
        const AGAIN: &str = "try the failed ones again and go on";
        const WITHOUT: &str = "leave the failed ones out and go on";
        const GO_ON: &str = "go on";
        const PAUSE: &str = "pause";
        let run = cx.lane.run();
        if self.resumed {
            return self.chosen(&run.chosen.only, &run.chosen.skip);
        }
        let options: &[&str] =
            if self.failed.is_empty() { &[GO_ON, PAUSE] } else { &[AGAIN, WITHOUT, PAUSE] };
        let question = Question::Choose {
            text: format!("{}. What now?", self.summary()),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            default: None,
        };
        match run.asker.ask(&question).as_deref() {
            Some(AGAIN | GO_ON) => self.chosen(&[], &[]),
            Some(WITHOUT) => self.chosen(&[], &self.failed),
            _ => {
                let then = match self.failed.as_slice() {
                    [] => "resume goes on".to_owned(),
                    failed => format!(
                        "resume tries again what failed ({}); --skip ITEM takes one out",
                        failed.join(", ")
                    ),
                };
                let why = format!("{}; {then}", self.summary());
                Err(Stop::Paused(Pause { why, until: None, unknown: false }).into())
            }
        }
    }

    fn result(&self, output: &Decision) -> Option<String> {
        let out = match output.out.len() {
            0 => String::new(),
            out => format!(", {out} taken out"),
        };
        Some(format!("{} go{out}", output.go.len()))
    }
}

impl Decide {
    fn chosen(&self, only: &[String], skip: &[String]) -> Result<Decision> {
        let all = || self.failed.iter().chain(&self.waiting);
        for (option, names) in [("--only", only), ("--skip", skip)] {
            for name in names {
                if !all().any(|known| known == name) {
                    let known: Vec<&str> = all().map(String::as_str).collect();
                    let why = format!(
                        "{option} {name}: it is none of those that failed or wait ({})",
                        known.join(", ")
                    );
                    return Err(Stop::Paused(Pause { why, until: None, unknown: false }).into());
                }
            }
        }
        let go = all()
            .filter(|name| !skip.contains(name) && (only.is_empty() || only.contains(name)))
            .cloned()
            .collect();
        Ok(Decision { go, out: skip.to_vec() })
    }
}

/// One call of `rolling`.
struct Rolling<'a, 'c> {
    ctx: &'a NativeCallContext<'c>,
    lane: Lane,
    items: &'a Array,
    keys: Vec<String>,
    body: Closure,
    gate: Option<FnPtr>,
    max: usize,
    max_failures: usize,
    pause: Option<Duration>,
    states: Vec<State>,
    /// The lanes that are through, for the undo of the run.
    through: Vec<Lane>,
}

impl Rolling<'_, '_> {
    fn failed(&self) -> usize {
        let failed = |state: &&State| matches!(state, State::Failed(_) | State::NotUndone(_));
        self.states.iter().filter(failed).count()
    }

    /// Runs the items with these indexes side by side. Too many failures let no other begin.
    fn wave(&mut self, indexes: &[usize]) -> Result<()> {
        let keys: Vec<String> = indexes.iter().map(|index| self.keys[*index].clone()).collect();
        let mut all: Vec<(usize, Lane)> =
            indexes.iter().copied().zip(lanes::branch(&self.lane, &keys)).collect();
        if !self.lane.is_live() {
            // The record goes on after this wave, so the lanes that are not on record did not begin.
            all.retain(|(_, lane)| lane.has_begun());
        }
        // What began goes on, whatever failed beside it.
        all.sort_by_key(|(_, lane)| !lane.has_begun());
        let begun = all.iter().take_while(|(_, lane)| lane.has_begun()).count();
        let room = self.max_failures.saturating_sub(self.failed());
        let failures = AtomicUsize::new(0);
        let halted = AtomicBool::new(false);
        let stopped = |at: usize| {
            at >= begun && (failures.load(Ordering::SeqCst) > room || halted.load(Ordering::SeqCst))
        };
        let results = lanes::run(all.len(), self.max, &stopped, &|at| {
            let (index, lane) = &all[at];
            let result =
                lane.begin().and_then(|()| lanes::call(lane, &self.body, &self.items[*index]));
            let result = match result {
                Err(Halt::Failure(failure)) => {
                    failures.fetch_add(1, Ordering::SeqCst);
                    take_back(lane, *failure)
                }
                Ok(value) => Ok(State::Done(value)),
                Err(halt) => Err(halt),
            };
            if result.is_err() {
                halted.store(true, Ordering::SeqCst);
            }
            result
        });
        let mut halts = Vec::new();
        for ((index, lane), result) in all.into_iter().zip(results) {
            match result {
                Some(Ok(state)) => self.states[index] = state,
                Some(Err(halt)) => halts.push(halt),
                None => continue,
            }
            self.through.push(lane);
        }
        match lanes::worst(&self.lane, halts) {
            None => Ok(()),
            Some(halt) => Err(halt),
        }
    }

    fn results(&self) -> Array {
        self.items
            .iter()
            .zip(&self.states)
            .map(|(item, state)| {
                let (word, value, error) = match state {
                    State::Waiting => ("waiting", Dynamic::UNIT, None),
                    State::Done(value) => ("done", value.clone(), None),
                    State::Failed(failure) => ("failed", Dynamic::UNIT, Some(failure)),
                    State::NotUndone(failure) => ("not undone", Dynamic::UNIT, Some(failure)),
                    State::TakenOut => ("taken out", Dynamic::UNIT, None),
                };
                let mut map = Map::new();
                map.insert("item".into(), item.clone());
                map.insert("ok".into(), matches!(state, State::Done(_)).into());
                map.insert("state".into(), word.into());
                map.insert("value".into(), value);
                let error = error.map_or(Dynamic::UNIT, |failure| failure_to_dynamic(failure));
                map.insert("error".into(), error);
                Dynamic::from_map(map)
            })
            .collect()
    }

    /// Says why no other may begin, if so.
    fn stops(&self) -> Option<String> {
        if self.lane.run().mode == Mode::Plan {
            return None;
        }
        let failed = self.failed();
        if failed > self.max_failures {
            return Some(format!(
                "{failed} of {} failed, and no more than {} may",
                self.items.len(),
                self.max_failures
            ));
        }
        let left = self.states.iter().any(|state| matches!(state, State::NotUndone(_)));
        left.then(|| "a target failed and could not be taken back".to_owned())
    }

    fn gate_closed(&self) -> RhaiResultOf<Option<String>> {
        let (Some(gate), false) = (&self.gate, self.lane.run().mode == Mode::Plan) else {
            return Ok(None);
        };
        let open = gate.call_raw(self.ctx, None, [Dynamic::from_array(self.results())])?;
        match open.as_bool() {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some("the gate is closed".to_owned())),
            Err(found) => Err(wrong(
                self.ctx,
                format!("rolling: the gate must return true or false, not {found}"),
            )),
        }
    }

    /// Asks what is done after it stopped; returns the indexes that go on.
    fn decide(&mut self, why: String) -> RhaiResultOf<BTreeSet<usize>> {
        let name = |wanted: fn(&State) -> bool| -> Vec<String> {
            let all = self.keys.iter().zip(&self.states);
            all.filter(|(_, state)| wanted(state)).map(|(key, _)| key.clone()).collect()
        };
        let failed = name(|state| matches!(state, State::Failed(_) | State::NotUndone(_)));
        let waiting = name(|state| matches!(state, State::Waiting));
        let resumed = !self.lane.is_live();
        ask(self.ctx, Stopped { why })?;
        let decision = ask(self.ctx, Decide { failed, waiting, resumed })?;
        let index: BTreeMap<&str, usize> =
            self.keys.iter().enumerate().map(|(index, key)| (key.as_str(), index)).collect();
        for key in &decision.out {
            if let Some(at) = index.get(key.as_str()) {
                self.states[*at] = State::TakenOut;
            }
        }
        let go: BTreeSet<usize> =
            decision.go.iter().filter_map(|key| index.get(key.as_str()).copied()).collect();
        for at in &go {
            self.states[*at] = State::Waiting;
        }
        Ok(go)
    }

    fn run(&mut self, sizes: &[Size]) -> RhaiResultOf<()> {
        let mut round: BTreeSet<usize> = (0..self.items.len()).collect();
        loop {
            let order: Vec<usize> = round.iter().copied().collect();
            let ends = waves(sizes, order.len())
                .map_err(|why| raise(self.ctx, Failure::input(format!("rolling: {why}")).into()))?;
            let mut from = 0;
            let mut stopped = None;
            for end in &ends {
                if from > 0
                    && let Some(pause) = self.pause
                {
                    super::time::pause(self.ctx, pause)?;
                }
                self.tell(from, *end, order.len());
                self.wave(&order[from..*end]).map_err(|halt| raise(self.ctx, halt))?;
                stopped = self.stops();
                if stopped.is_none() && *end < order.len() {
                    stopped = self.gate_closed()?;
                }
                if stopped.is_some() {
                    break;
                }
                from = *end;
            }
            let left = |state: &State| matches!(state, State::Waiting);
            round = match stopped {
                Some(why) => self.decide(why)?,
                // `--only` leaves the others for later.
                None if self.states.iter().any(left) => {
                    self.decide("those that were wanted are through; others wait".to_owned())?
                }
                None => return Ok(()),
            };
            if round.is_empty() && !self.states.iter().any(left) {
                return Ok(());
            }
        }
    }

    fn tell(&self, from: usize, to: usize, all: usize) {
        if self.lane.tells() {
            let text = match to - from {
                1 => format!("wave: number {to} of {all}"),
                _ => format!("wave: number {} to {to} of {all}", from + 1),
            };
            self.lane.emit(What::Note { text });
        }
    }
}

/// Undoes what a lane did that failed; nothing else is touched.
fn take_back(lane: &Lane, failure: Failure) -> Result<State> {
    if lane.run().mode == Mode::Plan {
        return Ok(State::Failed(Box::new(failure)));
    }
    let text = lane.run().redactor.text(&format!("{failure}; it is taken back alone"));
    if lane.tells() {
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

fn rolling(
    ctx: &NativeCallContext<'_>,
    items: &Array,
    options: Map,
    body: FnPtr,
) -> RhaiResultOf<Array> {
    let options = Options::new(ctx, &ROLLING, options)?;
    let sizes = match options.get("waves").and_then(|waves| waves.clone().into_array().ok()) {
        Some(waves) => waves
            .iter()
            .map(Size::read)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|why| options.wrong("waves", &why))?,
        None => {
            vec![Size::Count(1), Size::Percent(10.0), Size::Percent(50.0), Size::Percent(100.0)]
        }
    };
    waves(&sizes, items.len()).map_err(|why| options.wrong("waves", &why))?;
    let max_failures = usize::try_from(options.int("max_failures").unwrap_or(0))
        .map_err(|_| options.wrong("max_failures", "it must not be negative"))?;
    let lane = lane(ctx)?;
    let mut rolling = Rolling {
        ctx,
        keys: lanes::keys(ctx, items)?,
        items,
        body: Closure::take(ctx, body)?,
        gate: options.closure("gate"),
        max: lanes::max(&options)?,
        max_failures,
        pause: options.duration("pause")?,
        states: vec![State::Waiting; items.len()],
        through: Vec::new(),
        lane: lane.clone(),
    };
    let result = rolling.run(&sizes);
    lane.push_undo(Undo::Lanes(std::mem::take(&mut rolling.through)));
    result.map(|()| rolling.results())
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&ROLLING, |ctx: NativeCallContext<'_>, items: Array, options: Map, body: FnPtr| {
        rolling(&ctx, &items, options, body)
    });
}

/// The family has no actions of its own.
pub(super) fn actions(_registry: &mut Registry) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(written: &[&str]) -> Vec<Size> {
        let read = |text: &&str| match text.parse::<i64>() {
            Ok(count) => Size::read(&Dynamic::from_int(count)).unwrap(),
            Err(_) => Size::read(&Dynamic::from((*text).to_owned())).unwrap(),
        };
        written.iter().map(read).collect()
    }

    #[test]
    fn waves_say_how_many_are_through() {
        let usual = sizes(&["1", "10%", "50%", "100%"]);
        for (all, ends) in [
            (0, vec![]),
            (1, vec![1]),
            (3, vec![1, 3]),
            (10, vec![1, 5, 10]),
            (40, vec![1, 4, 20, 40]),
            (1000, vec![1, 100, 500, 1000]),
        ] {
            assert_eq!(waves(&usual, all).unwrap(), ends, "{all}");
        }
        assert_eq!(waves(&sizes(&["2"]), 5).unwrap(), [2, 5]);
        assert!(waves(&sizes(&["5", "2"]), 9).unwrap_err().contains("rise"));
        assert!(waves(&sizes(&["50%", "10%"]), 9).unwrap_err().contains("rise"));
    }

    #[test]
    fn what_is_no_size_is_told() {
        for wrong in [
            Dynamic::from_int(0),
            Dynamic::from_int(-1),
            Dynamic::from("ten".to_owned()),
            Dynamic::from("0%".to_owned()),
            Dynamic::from("101%".to_owned()),
            Dynamic::from(true),
        ] {
            assert!(Size::read(&wrong).unwrap_err().contains("a wave is"), "{wrong:?}");
        }
    }
}
