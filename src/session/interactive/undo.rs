//! Taking back what was typed, the last line or everything. What fails, and what an interrupt leaves, can be tried again.

use super::Interactive;
use super::unsettled::line_of;
use crate::effect::{Lane, Undo, Undone, roll_back};
use crate::error::Result;
use crate::event::What;
use crate::journal::Inverse;
use crate::session::evaluate::on_a_thread;

/// How much is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What the last line did that did something.
    Last,
    /// Everything.
    All,
}

impl Interactive {
    /// Returns what can be taken back, newest first; nothing if there is no more than what cannot be undone.
    pub fn undoable(&self, reach: Reach) -> Vec<String> {
        let all = peek(&self.lane);
        let from = match reach {
            Reach::All if all.iter().any(|undo| line(undo).is_some()) => 0,
            Reach::All => all.len(),
            Reach::Last => last_line(&all),
        };
        all[from..].iter().rev().flat_map(describe).collect()
    }

    /// Takes back, newest first. What fails, and what an interrupt leaves, can be tried again.
    ///
    /// # Errors
    /// A stop.
    pub fn undo(&mut self, reach: Reach) -> Result<Undone> {
        let mut all = self.lane.take_undo();
        let from = if reach == Reach::All { 0 } else { last_line(&all) };
        let mut wanted = all.split_off(from);
        for undo in all {
            self.lane.push_undo(undo);
        }
        self.tell("run");
        self.lane.emit(What::UndoBegan { why: "asked for by the operator".to_owned() });
        let mut total = Undone::default();
        let mut left = Vec::new();
        let mut stopped = None;
        while let Some(undo) = wanted.pop() {
            let again = undo.clone();
            self.lane.push_undo(undo);
            match self.undo_one() {
                Ok(undone) if undone.failed.is_empty() => {
                    total.done += undone.done;
                    self.settled(&again);
                }
                Ok(undone) => {
                    total.done += undone.done;
                    total.failed.extend(undone.failed);
                    left.push(again);
                }
                Err(halt) => {
                    left.push(again);
                    stopped = Some(halt);
                    break;
                }
            }
        }
        // In their old order, on top of what was not touched, which `undo_one` has put back in between.
        for undo in wanted.into_iter().chain(left.into_iter().rev()) {
            self.lane.push_undo(undo);
        }
        let failed = u32::try_from(total.failed.len()).unwrap_or(u32::MAX);
        self.lane.emit(What::UndoEnded { done: total.done, failed });
        match stopped {
            Some(halt) => Err(halt),
            None => Ok(total),
        }
    }

    /// Undoes the newest entry of the lane alone.
    fn undo_one(&self) -> Result<Undone> {
        let mut all = self.lane.take_undo();
        if let Some(newest) = all.pop() {
            self.lane.push_undo(newest);
        }
        let result = on_a_thread("line", || roll_back(&self.lane));
        drop(self.lane.take_undo());
        for undo in all {
            self.lane.push_undo(undo);
        }
        result
    }
}

/// Returns the line of something that can be undone.
fn line(undo: &Undo) -> Option<String> {
    match undo {
        Undo::Inverse { inverse: Inverse::Nothing { .. } | Inverse::Impossible { .. }, .. } => None,
        Undo::Inverse { of, .. } | Undo::Closure { of, .. } => Some(line_of(&of.step).to_owned()),
        Undo::Lanes(lanes) => lanes.iter().find_map(|lane| peek(lane).iter().rev().find_map(line)),
    }
}

/// Returns where the entries of the last line begin that did something.
fn last_line(all: &[Undo]) -> usize {
    let Some(newest) = all.iter().rev().find_map(line) else { return all.len() };
    all.iter().position(|undo| line(undo).as_ref() == Some(&newest)).unwrap_or(all.len())
}

fn peek(lane: &Lane) -> Vec<Undo> {
    let all = lane.take_undo();
    for undo in &all {
        lane.push_undo(undo.clone());
    }
    all
}

/// Says what undoing would do.
fn describe(undo: &Undo) -> Vec<String> {
    match undo {
        Undo::Inverse { inverse: Inverse::Nothing { .. }, .. } => Vec::new(),
        Undo::Inverse { inverse: Inverse::Action { summary, .. }, target, .. } => {
            vec![format!("{summary} on {target}")]
        }
        Undo::Inverse { inverse: Inverse::Impossible { why }, of, .. } => {
            vec![format!("nothing of `{}`: {why}", of.action)]
        }
        Undo::Closure { of, target, .. } => {
            vec![format!("what `on_rollback` registered in {} on {target}", line_of(&of.step))]
        }
        Undo::Lanes(lanes) => lanes
            .iter()
            .flat_map(|lane| peek(lane).into_iter().rev())
            .flat_map(|undo| describe(&undo))
            .collect(),
    }
}
