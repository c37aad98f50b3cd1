//! How a run is brought to its end: what was kept is removed, what failed is undone, and how it ended is written.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::drive::{Ended, OnInterrupt, Setup};
use super::evaluate::{Out, on_a_thread};
use crate::call::Access;
use crate::effect::{Kept, Lane, Mode, Question, Run, Undone, disarm_all, look_all, roll_back};
use crate::error::{Failure, Halt, Result, Stop};
use crate::event::{Status, What};
use crate::journal::{Body, Cursor};
use crate::primitives;
use crate::transport::Command;
use crate::units::say_names;

const GO_ON: &str = "go on";
const ROLL_BACK: &str = "roll back";
const PAUSE: &str = "pause";

/// What an interrupt leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    RollBack,
    Pause,
}

/// How a run is brought to its end.
pub(super) struct Ending<'a> {
    pub(super) setup: &'a Setup,
    pub(super) run: &'a Arc<Run>,
    pub(super) lane: &'a Lane,
    pub(super) started: Instant,
    pub(super) interrupted: bool,
}

impl Ending<'_> {
    pub(super) fn debts(&self) -> Vec<String> {
        self.run
            .obligations
            .all()
            .into_iter()
            .map(|open| match open.kept {
                Some(Kept { reason, .. }) => {
                    format!("{} on {} (kept off: {reason})", open.debt.what, open.target)
                }
                None => format!("{} on {}", open.debt.what, open.target),
            })
            .collect()
    }

    pub(super) fn finished(&mut self) -> Result<Ended> {
        self.finished_without(&[])
    }

    /// Ends a run whose script is through, but for these targets.
    pub(super) fn finished_without(&mut self, out: &[Out]) -> Result<Ended> {
        if self.setup.mode == Mode::Plan {
            return self.end(
                Status::Planned,
                "this was a plan: nothing was changed".to_owned(),
                None,
                None,
                Vec::new(),
            );
        }
        // What is still off now may be on again already.
        match look_all(self.lane) {
            Ok(()) => {}
            Err(Halt::Stop(stop)) => return self.paused(stop, Vec::new()),
            Err(Halt::Failure(failure)) => {
                self.lane.emit(What::Warning { text: failure.to_string() });
            }
        }
        if self.debts().is_empty() {
            match disarm_all(self.lane) {
                Ok(()) => {}
                Err(Halt::Stop(stop)) => return self.paused(stop, Vec::new()),
                Err(Halt::Failure(failure)) => {
                    let message = format!("the script has ended, but: {failure}");
                    return self.end(Status::Failed, message, Some(*failure), None, Vec::new());
                }
            }
            let mut cursor = self.run.cursor.lock().unwrap_or_else(PoisonError::into_inner);
            let told = cursor.told(&Body::Closing);
            drop(cursor);
            if let (Some(store), false) = (&self.setup.store, told)
                && let Err(error) =
                    store.append_durable(&self.setup.info.id, Body::Closing, Vec::new())
            {
                return self.paused(Stop::Journal(error.to_string()), Vec::new());
            }
            self.clean();
            let (status, message) = without(out);
            return self.end(status, message, None, None, Vec::new());
        }
        let message =
            "the script has ended, but something that it switched off is still off".to_owned();
        self.end(Status::Failed, message, None, None, Vec::new())
    }

    pub(super) fn failed(&mut self, failure: Failure, calls: Vec<String>) -> Result<Ended> {
        if self.setup.mode == Mode::Plan {
            return self.end(
                Status::Planned,
                format!("the plan ends here: {failure}"),
                Some(failure),
                None,
                Vec::new(),
            );
        }
        let Some(why) = self.run.past_point_of_no_return() else {
            return self.undo(&failure.to_string(), Some(failure));
        };
        // Nothing is undone on its own any more: the operator decides.
        let question = Question::Choose {
            text: format!("{failure}. The point of no return was passed ({why}). What now?"),
            options: vec![PAUSE.to_owned(), ROLL_BACK.to_owned()],
            default: Some(PAUSE.to_owned()),
        };
        if !self.setup.yes && self.setup.asker.ask(&question).as_deref() == Some(ROLL_BACK) {
            return self.undo(&failure.to_string(), Some(failure));
        }
        let message = format!("paused after a failure beyond the point of no return ({why})");
        self.end(Status::Paused, message, Some(failure), None, calls)
    }

    /// Asks what an interrupt leads to.
    pub(super) fn interrupt(&self) -> Next {
        let cancel = &self.setup.cancel;
        if self.setup.mode == Mode::Plan || cancel.wants_pause() {
            return Next::Pause;
        }
        let otherwise = if self.setup.on_interrupt == OnInterrupt::RollBack {
            Next::RollBack
        } else {
            Next::Pause
        };
        // Twice is at once; and who is not at the terminal is not asked.
        if cancel.level() > 1 {
            return Next::Pause;
        }
        if cancel.is_unattended() {
            return otherwise;
        }
        let question = Question::Choose {
            text: "Interrupted. What now?".to_owned(),
            options: [PAUSE, ROLL_BACK, GO_ON].map(str::to_owned).to_vec(),
            default: None,
        };
        match self.setup.asker.ask(&question).as_deref() {
            Some(ROLL_BACK) => Next::RollBack,
            Some(GO_ON) => Next::GoOn,
            // Ctrl-C at this question: twice is at once.
            None if cancel.wants_pause() || self.setup.asker.is_there() => Next::Pause,
            None => otherwise,
            _ => Next::Pause,
        }
    }

    pub(super) fn paused(&self, stop: Stop, calls: Vec<String>) -> Result<Ended> {
        if self.setup.mode == Mode::Plan {
            return self.end(
                Status::Planned,
                format!("the plan ends here: {stop}"),
                None,
                Some(stop),
                calls,
            );
        }
        let (status, message) = match &stop {
            Stop::Paused(pause) if pause.unknown => (Status::Unknown, pause.why.clone()),
            Stop::Paused(pause) => (Status::Paused, pause.why.clone()),
            Stop::Cancelled => (Status::Paused, self.interrupted()?),
            Stop::Fired(why) => (
                Status::Paused,
                format!(
                    "{why}; `resume` does it again and goes on, `rollback` takes the rest back"
                ),
            ),
            stop => (Status::Paused, stop.to_string()),
        };
        self.end(status, message, None, Some(stop), calls)
    }

    /// Says how an interrupted run was left.
    fn interrupted(&self) -> Result<String> {
        let cancel = &self.setup.cancel;
        let by = if cancel.wants_pause() { "another operator asked for it" } else { "interrupted" };
        let records = match &self.setup.store {
            Some(store) => store.records(&self.setup.info.id)?,
            None => Vec::new(),
        };
        let cursor = Cursor::new(&records, false);
        let open: Vec<_> = cursor
            .all()
            .iter()
            .filter(|call| call.outcome.is_none() || call.again)
            .filter(|call| call.access == Access::Change)
            .map(|call| format!("{} on {}", call.summary, call.target))
            .collect();
        let open = open.join("; ");
        Ok(match (open.as_str(), cancel.level() > 1) {
            ("", _) => format!("{by}; nothing is under way"),
            (open, false) => {
                format!("{by}; this was ended half-way, `resume` looks what became of it: {open}")
            }
            (open, true) => format!(
                "{by} at once; this may still be under way, `resume` finds out what became of it: {open}"
            ),
        })
    }

    /// Undoes everything, newest first.
    pub(super) fn undo(&mut self, why: &str, failure: Option<Failure>) -> Result<Ended> {
        if let Some(store) = &self.setup.store {
            let asked = self.run.asked;
            let body = Body::UndoBegan { why: why.to_owned(), failure: failure.clone(), asked };
            if let Err(error) = store.append_durable(&self.setup.info.id, body, Vec::new()) {
                return self.paused(Stop::Journal(error.to_string()), Vec::new());
            }
        }
        self.setup.cancel.reset();
        self.lane.emit(What::UndoBegan { why: why.to_owned() });
        let undone = match on_a_thread("undo", || roll_back(self.lane)) {
            Ok(undone) => undone,
            Err(Halt::Stop(stop)) => {
                self.interrupted |= stop == Stop::Cancelled;
                let message = match &stop {
                    Stop::Paused(pause) => pause.why.clone(),
                    stop => format!("undo was interrupted ({stop}); `resume` goes on with it"),
                };
                let status = match &stop {
                    Stop::Paused(pause) if pause.unknown => Status::Unknown,
                    _ => Status::Paused,
                };
                return self.end(status, message, failure, Some(stop), Vec::new());
            }
            Err(Halt::Failure(failure)) => Undone { failed: vec![*failure], ..Undone::default() },
        };
        let failed = u32::try_from(undone.failed.len()).unwrap_or(u32::MAX);
        self.lane.emit(What::UndoEnded { done: undone.done, failed });
        let calls: Vec<String> =
            undone.failed.iter().filter_map(|failure| failure.call.clone()).collect();
        if failed > 0 {
            let message = format!(
                "failed; {failed} of {} undos failed too, `rollback` tries them again",
                undone.done + failed
            );
            let failure = failure.or_else(|| undone.failed.into_iter().next());
            return self.end(Status::Failed, message, failure, None, calls);
        }
        // Everything is as it was, so that one that fired says nothing new.
        if let Err(Halt::Failure(failure)) = disarm_all(self.lane) {
            self.lane.emit(What::Warning { text: failure.to_string() });
        }
        self.clean();
        let what = match (undone.done, undone.left.as_slice()) {
            (0, []) => "there was nothing to undo".to_owned(),
            (_, []) => "everything was rolled back".to_owned(),
            (done, left) => {
                let part = if done > 0 { "the rest was rolled back; " } else { "" };
                format!("{part}cannot be undone: {}", left.join(", "))
            }
        };
        let message = if failure.is_some() { format!("failed; {what}") } else { what };
        let status = if undone.left.is_empty() { Status::RolledBack } else { Status::Failed };
        self.end(status, message, failure, None, calls)
    }

    /// Removes what the run kept on its targets for undo.
    fn clean(&self) {
        let touched = self.run.touched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let command = Command::script(primitives::clean_script(), [self.run.id.as_str()])
            .timeout(Some(Duration::from_secs(120)))
            .tied(Duration::ZERO);
        let all: Vec<_> = touched
            .into_values()
            .map(|touched| (touched.target, command.clone().sudo(touched.sudo)))
            .collect();
        self.tell_left(self.run.exec_last(&all), |name, why| {
            format!("files of this run are left on {name}: {why}")
        });
    }

    /// Tells what could not be done on which target and why, in the order in which the run has them.
    fn tell_left(&self, mut left: Vec<(String, String)>, say: fn(&str, &str) -> String) {
        let targets = &self.setup.info.targets;
        left.sort_by_cached_key(|(name, _)| {
            targets.iter().position(|target| target == name).unwrap_or(usize::MAX)
        });
        for (name, why) in left {
            self.lane.emit(What::Warning { text: say(&name, &why) });
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "most callers have made it for this")]
    pub(super) fn end(
        &self,
        status: Status,
        message: String,
        failure: Option<Failure>,
        stop: Option<Stop>,
        failed: Vec<String>,
    ) -> Result<Ended> {
        let redactor = &self.setup.redactor;
        let message = redactor.text(&message);
        let failure = failure.map(|failure| redactor.failure(failure));
        let due = match &stop {
            Some(Stop::Paused(pause)) => pause.until,
            _ => None,
        };
        // Nothing is under way any more, or days may pass.
        if due.is_some() || !matches!(status, Status::Paused | Status::Unknown | Status::Planned) {
            self.tell_left(self.run.unlock(), |name, why| {
                format!("{name} is still held by this run: {why}")
            });
        }
        let debts = self.debts();
        let id = self.setup.info.id.as_str();
        let next = match status {
            Status::Paused | Status::Unknown => Some(format!("upgrade-host resume {}", short(id))),
            Status::Failed if !failed.is_empty() || !debts.is_empty() => {
                Some(format!("upgrade-host rollback {}", short(id)))
            }
            Status::Planned if failure.is_none() && stop.is_none() => None,
            _ if !debts.is_empty() => Some("upgrade-host debts".to_owned()),
            _ => None,
        };
        if matches!(status, Status::Paused | Status::Unknown | Status::Failed) {
            for text in self.run.switches.armed() {
                let text =
                    format!("a dead-man switch is armed: {text}, unless the run goes on before");
                self.lane.emit(What::Warning { text: redactor.text(&text) });
            }
        }
        let journal_failed = matches!(stop, Some(Stop::Journal(_)));
        if let (Some(store), false) = (&self.setup.store, journal_failed) {
            let body = Body::Ended { status, failed, message: message.clone() };
            if let Err(error) = store.turn(id, body, status, due) {
                // It ended, and nobody knows: `resume` finds it so.
                return self.paused(Stop::Journal(error.to_string()), Vec::new());
            }
        }
        let now = self.run.clock.now();
        self.lane.emit(What::RunEnded {
            status,
            message: message.clone(),
            failure: failure.clone(),
            downtime_ms: u64::try_from(self.run.obligations.downtime(now).as_millis())
                .unwrap_or(u64::MAX),
            took_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            debts: debts.clone(),
            next,
        });
        Ok(Ended {
            run: id.to_owned(),
            status,
            message,
            failure,
            stop,
            debts,
            interrupted: self.interrupted,
        })
    }
}

/// How a run stands that is through without some of its targets.
fn without(out: &[Out]) -> (Status, String) {
    let names = |undone: bool| -> Vec<&str> {
        let those = out.iter().filter(|out| out.undone == undone);
        those.map(|out| out.target.as_str()).collect()
    };
    let (taken_out, left) = (names(true), names(false));
    if !left.is_empty() {
        let left = say_names(&left);
        let message =
            format!("the others are done, but {left} failed and could not be fully taken back");
        return (Status::Failed, message);
    }
    match taken_out.as_slice() {
        [] => (Status::Done, "done".to_owned()),
        names => (Status::Done, format!("done, without {}", say_names(names))),
    }
}

/// The part of an id that people type.
fn short(id: &str) -> &str {
    id.rsplit('-').next().unwrap_or(id)
}
