//! `check`.

use std::path::PathBuf;

use super::exit::Exit;
use super::fail;
use super::ui::Ui;
use crate::session::params::Params;
use crate::session::{Session, SessionError, Text};

/// Checks runbooks without running them.
pub(super) fn check(ui: &Ui, files: &[PathBuf]) -> Exit {
    let mut exit = Exit::Done;
    for file in files {
        let checked = Session::load(&Text::File(file.clone())).and_then(|runbook| {
            Params::declare(&runbook.metadata.params).map_err(SessionError::Params)?;
            Session::warnings(&runbook)
        });
        match checked {
            Ok(warnings) => {
                for warning in &warnings {
                    fail::warn(ui, warning);
                }
                ui.print(&format!("{}: ok\n", file.display()));
            }
            Err(error) => exit = fail::say(ui, &error),
        }
    }
    exit
}
