//! `rollback`.

use super::args::Common;
use super::exit::Exit;
use super::resume::taken_up;
use super::ui::Ui;
use crate::effect::{Asker, Question};

/// Undoes what a run did.
pub(super) fn rollback(ui: &Ui, common: &Common, name: &str) -> Exit {
    // It is asked for by name; at a terminal a slip of the finger is caught, `--yes` and scripts mean it.
    if ui.can_ask() && !common.yes {
        let question = Question::Confirm {
            text: format!("Undo what run {name} did, newest first?"),
            default: None,
        };
        if ui.ask(&question).as_deref() != Some("yes") {
            ui.error("nothing was done");
            return Exit::Invalid;
        }
    }
    taken_up(ui, common, name, |session, order, voice| session.rollback(name, order, voice))
}

/// Says what undoing a run would do.
pub(super) fn dry_run(ui: &Ui, common: &Common, name: &str) -> Exit {
    taken_up(ui, common, name, |session, order, voice| session.plan_rollback(name, order, voice))
}
