//! `show`.

use jiff::Timestamp;

use super::args::Common;
use super::exit::Exit;
use super::ui::Ui;
use super::{fail, run};
use crate::report::{self, Shown, events_of, json};

/// Shows what a run did.
pub(super) fn show(ui: &Ui, common: &Common, name: &str) -> Exit {
    let found = run::session(ui, common)
        .and_then(|session| Ok((session.show(name)?, session.debts()?, session)));
    match found {
        Ok(((info, records), debts, session)) => {
            if common.json {
                for event in events_of(&info, &records) {
                    ui.print(&format!("{}\n", json::event(&event)));
                }
            } else {
                let held = session.store().is_held(&info.id);
                let shown = Shown { run: &info, records: &records, debts: &debts, held };
                ui.lines(&report::show(ui.style(), shown, Timestamp::now()));
            }
            Exit::Done
        }
        Err(error) => fail::say(ui, &error),
    }
}
