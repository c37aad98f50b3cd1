//! `debts`.

use jiff::Timestamp;

use super::args::Common;
use super::exit::Exit;
use super::ui::Ui;
use super::{fail, run};
use crate::report::{json, table};

/// Lists what is owed, or only what is overdue; ends with 4 if anything is, so that monitoring can poll it.
pub(super) fn debts(ui: &Ui, common: &Common, overdue: bool) -> Exit {
    let now = Timestamp::now();
    match run::session(ui, common).and_then(|session| session.debts()) {
        Ok(mut debts) => {
            debts.retain(|debt| !overdue || debt.is_overdue(now));
            if common.json {
                ui.print(&format!("{}\n", json::debts(&debts, now)));
            } else if overdue && debts.is_empty() {
                ui.print("nothing is overdue\n");
            } else {
                ui.print(&table::debts(ui.style(), &debts, now));
            }
            if debts.is_empty() { Exit::Done } else { Exit::Failed }
        }
        Err(error) => fail::say(ui, &error),
    }
}
