//! One command on many targets, side by side. Each target is a lane of its own; that one fails does not concern the
//! others, and nothing is undone.

use std::sync::Arc;
use std::time::Instant;

use super::drive::{Ended, Setup, begin, main_lane};
use super::ending::Ending;
use super::error::SessionError;
use super::open::{Order, Session, Text, Voice};
use super::prepare;
use crate::effect::{AT_ONCE, Lane, Mode, Target, Undo, side_by_side};
use crate::error::{Failure, Halt, Kind, Pause, Result, Stop};
use crate::journal::Store;
use crate::primitives::{AdHoc, Answer, RollingOptions};

/// What the command came to on one target.
#[derive(Clone, Debug)]
pub struct Told {
    /// The target.
    pub target: String,
    /// The answer, or why there is none. A status other than 0 is a failure.
    pub answer: Result<Answer, Box<Failure>>,
}

impl Session {
    /// Runs a command on all targets of an order, at most as many at once as it says, and returns the answers in the order of the
    /// targets; a target that it did not get to, because it was interrupted, is not among them.
    ///
    /// # Errors
    /// Why it could not begin; nothing was done then. A target that cannot be reached is an answer.
    pub fn ad_hoc(
        &self,
        order: &Order,
        command: &AdHoc,
        voice: &Voice,
    ) -> Result<(Ended, Vec<Told>), SessionError> {
        prepare::waves_are_meant(self, order, None)?;
        let max = order.rolling.max().unwrap_or(AT_ONCE);
        let (text, rolling) = (Text::Code(command.code()), RollingOptions::together(max));
        let order = Order { text, rolling, ..order.clone() };
        let runbook = Self::load(&order.text)?;
        let mut setup = prepare::fresh(self, &order, runbook, voice, Mode::Run)?;
        setup.store = Some(self.store.clone());
        let _hold = self.store.hold(&setup.info.id)?;
        self.store.create(&setup.info)?;
        let _ear = super::pause::Ear::new(self.store.clone(), &setup.info.id, &voice.cancel);
        let started = Instant::now();
        let run = Arc::new(begin(&setup, Mode::Run)?);
        let lane = main_lane(&setup, &run)?;
        lane.emit(setup.heading());
        let on = each(&setup, &lane)?;
        let results = side_by_side(on.len(), max, &|_| run.cancel.is_cancelled(), &|index| {
            let answer = one(&on[index], command);
            // What was changed there is cleaned up in the end; else nothing is wanted there any more.
            if command.reads() {
                on[index].target().transport.close();
            }
            answer
        });
        let mut told = Vec::new();
        let mut stop = None;
        for (lane, result) in on.iter().zip(results) {
            let answer = match result {
                Some(Ok(answer)) => Ok(answer),
                Some(Err(Halt::Failure(failure))) => Err(failure),
                Some(Err(Halt::Stop(found))) => {
                    let left = left_behind(&found, &lane.target());
                    stop = Some(found);
                    match left {
                        Some(failure) => Err(failure),
                        None => continue,
                    }
                }
                None => {
                    stop.get_or_insert(Stop::Cancelled);
                    continue;
                }
            };
            told.push(Told { target: lane.target().name.clone(), answer });
        }
        let interrupted = stop == Some(Stop::Cancelled);
        let mut end = Ending { setup: &setup, run: &run, lane: &lane, started, interrupted };
        let ended = match stop {
            None => end.finished()?,
            Some(stop) => end.paused(stop, Vec::new())?,
        };
        Ok((ended, told))
    }
}

/// The lanes of the targets, as a resume makes them.
fn each(setup: &Setup, lane: &Lane) -> Result<Vec<Lane>> {
    if setup.info.targets.len() < 2 {
        return Ok(vec![lane.clone()]);
    }
    let keyed = |name: &String| Ok((name.clone(), Some(lane.run().targets.get(name)?)));
    let keyed: Vec<_> = setup.info.targets.iter().map(keyed).collect::<Result<_>>()?;
    let branches = lane.branch(&keyed);
    lane.push_undo(Undo::Lanes(branches.clone()));
    Ok(branches)
}

fn one(lane: &Lane, command: &AdHoc) -> Result<Answer> {
    let target = lane.target();
    // Only sudo needs a command of its own to tell its refusals from those of the command.
    let reach = if target.sudo { prepare::reach_one } else { prepare::open };
    match reach(&target, &lane.run().cancel) {
        Ok(()) => {}
        Err(_) if lane.run().cancel.is_cancelled() => return Err(Stop::Cancelled.into()),
        Err(SessionError::Failure(failure)) => return Err(failure.into()),
        Err(error) => {
            return Err(Failure::input(error.to_string()).with_target(&target.name).into());
        }
    }
    match command.perform(lane) {
        // The link broke and did not come back: that is this target's answer, if nothing may have changed there.
        Err(Halt::Stop(Stop::Paused(Pause { why, unknown: false, .. }))) if command.reads() => {
            Err(Failure::new(Kind::Connect, why).with_target(&target.name).into())
        }
        result => result,
    }
}

/// What is to be said of a target where it is not known what became of the command; a resume asks it.
fn left_behind(stop: &Stop, target: &Target) -> Option<Box<Failure>> {
    let Stop::Paused(pause) = stop else { return None };
    let why = format!("whether it ran there is not known: {}", pause.why);
    Some(Box::new(Failure::new(Kind::Unknown, why).with_target(&target.name)))
}
