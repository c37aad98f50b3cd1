//! `debts`.

use jiff::Timestamp;

use super::args::Common;
use super::exit::Exit;
use super::ui::Ui;
use super::{fail, run};
use crate::report::{json, table};

/// Lists what is owed, or only what is overdue, and the dead-man switches that are armed; ends with 4 if anything is owed,
/// so that monitoring can poll it.
pub(super) fn debts(ui: &Ui, common: &Common, overdue: bool) -> Exit {
    let now = Timestamp::now();
    let found = run::session(ui, common)
        .and_then(|session| Ok((session.debts()?, session.switches()?, session)));
    match found {
        Ok((mut debts, switches, session)) => {
            debts.retain(|debt| !overdue || debt.is_overdue(now));
            if common.json {
                ui.print(&format!("{}\n", json::debts(&debts, &switches, now)));
            } else if overdue && debts.is_empty() {
                ui.print("nothing is overdue\n");
            } else {
                ui.print(&table::debts(ui.style(), &debts, now));
                let held = |run: &str| session.store().is_held(run);
                ui.print(&table::switches(ui.style(), &switches, &held, now));
            }
            if debts.is_empty() { Exit::Done } else { Exit::Failed }
        }
        Err(error) => fail::say(ui, &error),
    }
}
