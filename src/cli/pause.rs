//! `pause`.

use std::time::Duration;

use super::args::Common;
use super::exit::Exit;
use super::ui::Ui;
use super::{fail, run};
use crate::event::Status;
use crate::report::json;
use crate::units;

/// Asks the process that drives a run to pause it, and waits for that.
pub(super) fn pause(ui: &Ui, common: &Common, name: &str, timeout: &str) -> Exit {
    let patience: Duration = match units::duration(timeout) {
        Ok(patience) => patience,
        Err(why) => {
            ui.error(&format!("error: --timeout: {why}"));
            return Exit::Invalid;
        }
    };
    match run::session(ui, common).and_then(|session| session.pause(name, patience)) {
        Ok(found) => {
            if common.json {
                ui.print(&format!("{}\n", json::runs(std::slice::from_ref(&found), &|_| false)));
            } else if found.status == Status::Paused {
                let short = found.id.rsplit('-').next().unwrap_or(&found.id);
                ui.print(&format!(
                    "run {} is paused; `upgrade-host resume {short}` takes it up\n",
                    found.id
                ));
            } else {
                ui.print(&format!("run {} came to its end: {}\n", found.id, found.status.as_str()));
            }
            if found.status == Status::Paused { Exit::Done } else { found.status.into() }
        }
        Err(error) => fail::say(ui, &error),
    }
}
