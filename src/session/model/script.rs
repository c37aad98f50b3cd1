//! Scripts of the model: what they do on a lane, and what should come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::actions::{Count, Fail, Keep, Put, Switch};
use super::world::on_before;
use crate::call::Access;
use crate::effect::{Cx, Lane, Query, Undo, perform, query};
use crate::error::{Halt, Result, Stop};

/// A step of a script. Names belong to the lane that uses them: lanes side by side have nothing in common.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Put(u8, u32),
    Off(u8),
    /// Off, and kept so on purpose.
    KeptOff(u8),
    On(u8),
    /// A command, and how often what takes it back fails.
    Count(u32),
    /// A command that is taken back by a closure.
    Closure,
    /// Fails until the run has paused so often.
    Fail(u64),
    Step(Vec<Op>),
    /// Goes on whatever fails inside.
    Attempt(Vec<Op>),
    Lanes(Vec<Vec<Op>>),
    PointOfNoReturn,
}

/// No run pauses so often.
pub(super) const NEVER: u64 = 1000;

/// Any script.
pub(super) fn script() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0..3_u8, 0..4_u32).prop_map(|(name, value)| Op::Put(name, value)),
        3 => (0..3_u8).prop_map(Op::Off),
        3 => (0..3_u8).prop_map(Op::On),
        1 => (0..3_u8).prop_map(Op::KeptOff),
        4 => prop_oneof![4 => Just(0), 1 => 1..3_u32].prop_map(Op::Count),
        2 => Just(Op::Closure),
        1 => prop_oneof![Just(1), Just(2), Just(NEVER)].prop_map(Op::Fail),
    ];
    let nested = op.prop_recursive(3, 24, 5, |op| {
        prop_oneof![
            vec(op.clone(), 1..5).prop_map(Op::Step),
            vec(op.clone(), 1..5).prop_map(Op::Attempt),
            vec(vec(op, 0..5), 1..4).prop_map(Op::Lanes),
        ]
    });
    let point = proptest::option::weighted(0.4, any::<prop::sample::Index>());
    (vec(nested, 0..10), point).prop_map(|(mut ops, point)| {
        if let Some(at) = point {
            ops.insert(at.index(ops.len() + 1), Op::PointOfNoReturn);
        }
        ops
    })
}

/// Passes the point of no return, as the primitive does.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Point;

impl Query for Point {
    const NAME: &'static str = "point_of_no_return";
    const ACCESS: Access = Access::Ask;
    type Output = ();

    fn summary(&self) -> String {
        "pass the point of no return".to_owned()
    }

    fn ask(&self, _cx: &Cx<'_>) -> Result<()> {
        Ok(())
    }
}

/// The place of a lane in the script, which names what is its own.
#[derive(Debug, Default)]
struct Own {
    prefix: String,
    counts: u32,
    sections: u32,
    /// Whether a failure of the lane is caught.
    caught: bool,
    /// What was switched off last.
    last: Option<String>,
}

impl Own {
    fn name(&self, kind: &str, number: u8) -> String {
        format!("{}{kind}{number}", self.prefix)
    }

    /// Names the next command of a kind: `c` has an inverse, `k` a closure, `f` fails.
    fn next(&mut self, kind: char) -> String {
        self.counts += 1;
        format!("{}{kind}{}", self.prefix, self.counts)
    }

    fn lanes(&mut self, count: usize) -> Vec<Self> {
        self.sections += 1;
        (0..count)
            .map(|lane| Self {
                prefix: format!("{}{}.{lane}/", self.prefix, self.sections),
                caught: self.caught,
                ..Self::default()
            })
            .collect()
    }
}

/// Runs the script on a lane, as an evaluation of a runbook does.
pub(super) fn run(lane: &Lane, ops: &[Op]) -> Result<()> {
    run_as(lane, ops, &mut Own::default())
}

fn run_as(lane: &Lane, ops: &[Op], own: &mut Own) -> Result<()> {
    for op in ops {
        match op {
            Op::Put(name, value) => {
                perform(lane, None, &Put { name: own.name("value", *name), value: Some(*value) })?;
            }
            Op::Off(name) => switch(lane, own, *name, false)?,
            Op::On(name) => switch(lane, own, *name, true)?,
            Op::KeptOff(name) => {
                switch(lane, own, *name, false)?;
                keep(lane, &own.name("switch", *name))?;
            }
            Op::Count(undo_fails) => {
                let undo_fails = Some(*undo_fails);
                perform(lane, None, &Count { name: own.next('c'), fails: 0, undo_fails })?;
            }
            Op::Closure => closure(lane, own.next('k'))?,
            Op::Fail(pauses) => {
                own.next('f');
                perform(lane, None, &Fail { pauses: *pauses })?;
            }
            Op::Step(ops) => {
                lane.enter_step("step");
                let result = run_as(lane, ops, own);
                lane.leave_step();
                result?;
            }
            Op::Attempt(ops) => match run_as(lane, ops, own) {
                Err(Halt::Stop(stop)) => return Err(stop.into()),
                Ok(()) | Err(Halt::Failure(_)) => {}
            },
            Op::Lanes(lanes) => side_by_side(lane, lanes, own)?,
            Op::PointOfNoReturn => {
                query(lane, None, Point)?;
                lane.pass_point_of_no_return("it is so");
            }
        }
    }
    Ok(())
}

fn switch(lane: &Lane, own: &Own, name: u8, on: bool) -> Result<()> {
    perform(lane, None, &Switch { name: own.name("switch", name), on }).map(drop)
}

/// As the primitive does, but only of what is owed.
fn keep(lane: &Lane, key: &str) -> Result<()> {
    let Some((target, last, opener)) = lane.last_debt() else { return Ok(()) };
    if last != key {
        return Ok(());
    }
    perform(lane, None, &Keep { target: target.clone(), key: last.clone() })?;
    lane.drop_inverse(&opener);
    Ok(())
}

/// The way back is registered before the command.
fn closure(lane: &Lane, name: String) -> Result<()> {
    let (of, target) = (lane.next_call("on_rollback"), lane.target().name.clone());
    let undo = Count { name: format!("undo-{name}"), fails: 0, undo_fails: None };
    let closure = Arc::new(move |lane: &Lane| perform(lane, None, &undo).map(drop));
    lane.push_undo(Undo::Closure { of, target, closure });
    perform(lane, None, &Count { name, fails: 0, undo_fails: None }).map(drop)
}

/// One lane after the other, so that each run of a test is like the last; undone they are at once.
fn side_by_side(lane: &Lane, lanes: &[Vec<Op>], own: &mut Own) -> Result<()> {
    let keys: Vec<_> = (0..lanes.len()).map(|key| (key.to_string(), None)).collect();
    let branches = lane.branch(&keys);
    let mut owns = own.lanes(lanes.len());
    let results: Vec<_> = branches
        .iter()
        .zip(lanes.iter().zip(&mut owns))
        .map(|(branch, (ops, own))| run_as(branch, ops, own))
        .collect();
    lane.push_undo(Undo::Lanes(branches));
    let halts: Vec<Halt> = results.into_iter().filter_map(Result::err).collect();
    let failures: Vec<_> = halts
        .iter()
        .filter_map(|halt| match halt {
            Halt::Failure(failure) => Some(failure.as_ref().clone()),
            Halt::Stop(_) => None,
        })
        .collect();
    let rank = |halt: &Halt| match halt {
        Halt::Stop(Stop::EndOfRecord) => 2,
        Halt::Stop(_) => 0,
        Halt::Failure(_) => 1,
    };
    let worst = halts.into_iter().min_by_key(rank);
    if let Some(Halt::Failure(told)) = &worst {
        lane.run().beside.add(told, &failures);
    }
    worst.map_or(Ok(()), Err)
}

/// What should come of a script that nothing disturbs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Expected {
    pub(super) values: BTreeMap<String, u32>,
    pub(super) switches: BTreeMap<String, bool>,
    pub(super) ran: BTreeSet<String>,
    /// What is owed, and whether it is kept so on purpose.
    pub(super) owed: BTreeMap<String, bool>,
    /// How often the run pauses because of a failure.
    pauses: u64,
    past: bool,
    /// The failures that were caught: they stay what they are.
    caught: BTreeSet<String>,
}

/// What becomes of a script in the end.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outlook {
    /// It gets through, and this is then so.
    Through(Expected),
    /// It fails and is undone.
    Back,
    /// It pauses for ever.
    Stuck,
}

/// Says what becomes of a script.
pub(super) fn outlook(ops: &[Op]) -> Outlook {
    let mut caught = BTreeSet::new();
    for pauses in 0..10 {
        let mut expected = Expected { pauses, caught, ..Expected::default() };
        match expected.go(ops, &mut Own::default()) {
            Ok(()) => return Outlook::Through(expected),
            Err(()) if !expected.past => return Outlook::Back,
            Err(()) => caught = expected.caught,
        }
    }
    Outlook::Stuck
}

impl Expected {
    fn off(&mut self, name: String, own: &mut Own) {
        let on = self.switches.get(&name).copied().unwrap_or_else(|| on_before(&name));
        if on {
            self.switches.insert(name.clone(), false);
            self.owed.insert(name.clone(), false);
            own.last = Some(name);
        }
    }

    fn go(&mut self, ops: &[Op], own: &mut Own) -> Result<(), ()> {
        for op in ops {
            match op {
                Op::Put(name, value) => {
                    self.values.insert(own.name("value", *name), *value);
                }
                Op::Off(name) => self.off(own.name("switch", *name), own),
                Op::KeptOff(name) => {
                    let name = own.name("switch", *name);
                    self.off(name.clone(), own);
                    // As long as nothing else was switched off since.
                    if own.last.as_ref() == Some(&name)
                        && let Some(kept) = self.owed.get_mut(&name)
                    {
                        *kept = true;
                    }
                }
                Op::On(name) => {
                    let name = own.name("switch", *name);
                    self.owed.remove(&name);
                    self.switches.insert(name, true);
                }
                Op::Count(_) => drop(self.ran.insert(own.next('c'))),
                Op::Closure => drop(self.ran.insert(own.next('k'))),
                Op::Fail(pauses) => {
                    let name = own.next('f');
                    if self.caught.contains(&name) || self.pauses < *pauses {
                        if own.caught {
                            self.caught.insert(name);
                        }
                        return Err(());
                    }
                }
                Op::Step(ops) => self.go(ops, own)?,
                Op::Attempt(ops) => {
                    let outer = std::mem::replace(&mut own.caught, true);
                    let _caught = self.go(ops, own);
                    own.caught = outer;
                }
                Op::Lanes(lanes) => {
                    let mut owns = own.lanes(lanes.len());
                    let each = lanes.iter().zip(&mut owns);
                    let results: Vec<_> = each.map(|(ops, own)| self.go(ops, own)).collect();
                    results.into_iter().collect::<Result<(), ()>>()?;
                }
                Op::PointOfNoReturn => self.past = true,
            }
        }
        Ok(())
    }
}
