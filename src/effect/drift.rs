//! Drift: what somebody changed since, where something is about to be taken back. A rollback that was asked for, maybe days
//! later, tells it and asks. One that follows a failure goes on, for users may be locked out: actions set aside what they
//! find instead of losing it.

use super::action::{Action, Owes};
use super::ask::Question;
use super::context::Cx;
use crate::error::{Failure, Kind, Pause, Result, Stop};

/// What can be answered.
const UNDO: &str = "undo it all the same";
const LEAVE: &str = "leave it as it is";
const PAUSE: &str = "pause";
/// How many changed things are named.
const NAMED: usize = 5;

/// Looks what somebody changed since that taking it back meets.
pub(super) fn look<A: Action>(cx: &Cx<'_>, action: &A, before: &A::Before) -> Result<Vec<String>> {
    let mut changed = action.drift(cx, before)?;
    // The run switched it on again itself. If it is off all the same, that was somebody else, maybe on purpose.
    if let (Owes::Closes(key), true) = (action.owes(before), cx.lane.run().asked)
        && let Some(what) = cx.lane.run().obligations.met(&cx.target.name, &key)
    {
        changed.push(format!("{what}, which is off again"));
    }
    Ok(changed)
}

/// Says it in one line.
pub(super) fn say(changed: &[String]) -> String {
    let named = changed.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match changed.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Decides whether `summary` is done although somebody changed something since.
///
/// # Errors
/// A failure of kind `conflict` if it is to be left as it is; [`Stop::Paused`] if nobody decides.
pub(super) fn decide(cx: &Cx<'_>, summary: &str, changed: &[String]) -> Result<()> {
    let run = cx.lane.run();
    let target = &cx.target.name;
    let found = format!("somebody changed since on {target}: {}", say(changed));
    if !run.asked || run.yes {
        cx.warn(found);
        return Ok(());
    }
    let question = Question::Choose {
        text: format!("Undoing meets a change: {found}. Next is to {summary}. What now?"),
        options: [UNDO, LEAVE, PAUSE].map(str::to_owned).to_vec(),
        default: Some(UNDO.to_owned()),
    };
    match run.asker.ask(&question).as_deref() {
        Some(UNDO) => Ok(()),
        Some(LEAVE) => Err(Failure::new(Kind::Conflict, format!("left as it is: {found}"))
            .with_target(target)
            .into()),
        _ => {
            let why = format!(
                "{found}. Next would be undone: {summary}. At a terminal `resume` asks; with --yes it goes on and keeps what it finds beside"
            );
            Err(Stop::Paused(Pause { why, until: None, unknown: false }).into())
        }
    }
}
