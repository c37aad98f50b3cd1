//! `debts`.

use jiff::Timestamp;

use super::args::Common;
use super::exit::Exit;
use super::ui::Ui;
use super::{fail, run};
use crate::report::{json, table};

/// Lists what is owed; ends with 4 if anything is, so that monitoring can poll it.
pub(super) fn debts(ui: &Ui, common: &Common) -> Exit {
    match run::session(ui, common).and_then(|session| session.debts()) {
        Ok(debts) => {
            if common.json {
                ui.print(&format!("{}\n", json::debts(&debts)));
            } else {
                ui.print(&table::debts(ui.style(), &debts, Timestamp::now()));
            }
            if debts.is_empty() { Exit::Done } else { Exit::Failed }
        }
        Err(error) => fail::say(ui, &error),
    }
}
