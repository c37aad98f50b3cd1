//! `runs`.

use jiff::Timestamp;

use super::args::Common;
use super::exit::Exit;
use super::ui::Ui;
use super::{fail, run};
use crate::report::{json, table};

/// Lists runs, newest first.
pub(super) fn runs(ui: &Ui, common: &Common, newest: usize) -> Exit {
    let listed = run::session(ui, common).and_then(|session| Ok((session.runs()?, session)));
    match listed {
        Ok((mut runs, session)) => {
            let held = |id: &str| session.store().is_held(id);
            if common.json {
                ui.print(&format!("{}\n", json::runs(&runs, &held)));
            } else {
                let hidden = runs.len().saturating_sub(newest);
                runs.truncate(newest);
                ui.print(&table::runs(ui.style(), &runs, &held, Timestamp::now()));
                if hidden > 0 {
                    ui.print(&format!("and {hidden} older ones; --newest shows more\n"));
                }
            }
            Exit::Done
        }
        Err(error) => fail::say(ui, &error),
    }
}
