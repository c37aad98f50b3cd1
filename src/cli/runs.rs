//! `runs` and `runs prune`.

use jiff::Timestamp;
use serde_json::Value;

use super::args::{Common, Prune};
use super::exit::Exit;
use super::ui::Ui;
use super::{fail, run};
use crate::effect::{Asker, Question};
use crate::journal::RunInfo;
use crate::report::{json, table};
use crate::session::{self, Session};

/// How many runs are listed for people who do not say how many.
const NEWEST: usize = 20;

/// Lists runs, newest first.
pub(super) fn runs(ui: &Ui, common: &Common, newest: Option<usize>) -> Exit {
    let listed = run::session(ui, common).and_then(|session| Ok((session.runs()?, session)));
    match listed {
        Ok((mut runs, session)) => {
            let held = |id: &str| session.store().is_held(id);
            if common.json {
                runs.truncate(newest.unwrap_or(usize::MAX));
                ui.print(&format!("{}\n", json::runs(&runs, &held)));
            } else {
                let newest = newest.unwrap_or(NEWEST);
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

/// Removes runs that are over; asks first, unless told not to.
pub(super) fn prune(ui: &Ui, common: &Common, prune: &Prune) -> Exit {
    let wanted = session::Prune {
        older: prune.older,
        keep: prune.keep.unwrap_or_default(),
        failed: prune.failed,
    };
    let found =
        run::session(ui, common).and_then(|session| Ok((session.prunable(wanted)?, session)));
    let (runs, session) = match found {
        Ok(found) => found,
        Err(error) => return fail::say(ui, &error),
    };
    if !common.json {
        list(ui, &runs);
    }
    if prune.dry_run || runs.is_empty() {
        return said(ui, common, &runs, &[]);
    }
    let agreed = common.yes || {
        let text = format!("Remove {} for good?", count(runs.len()));
        ui.ask(&Question::Confirm { text, default: None }).as_deref() == Some("yes")
    };
    if !agreed {
        ui.error("error: nothing was removed: give --yes to remove these runs");
        return Exit::Invalid;
    }
    remove(ui, common, &session, &runs)
}

fn list(ui: &Ui, runs: &[RunInfo]) {
    if runs.is_empty() {
        ui.print("no run is to be removed\n");
    } else {
        ui.print(&table::runs(ui.style(), runs, &|_| false, Timestamp::now()));
    }
}

fn remove(ui: &Ui, common: &Common, session: &Session, runs: &[RunInfo]) -> Exit {
    match session.prune(runs) {
        Ok(removed) => {
            if !common.json {
                ui.print(&format!("removed {}\n", count(removed.len())));
                let left = runs.len() - removed.len();
                if left > 0 {
                    ui.print(&format!("{} taken up meanwhile, and stays\n", count(left)));
                }
            }
            said(ui, common, runs, &removed)
        }
        Err(error) => fail::say(ui, &error),
    }
}

/// With `--json`, says which runs it is about, and whether each was removed.
fn said(ui: &Ui, common: &Common, runs: &[RunInfo], removed: &[String]) -> Exit {
    if common.json {
        let mut rows = json::runs(runs, &|_| false);
        for row in rows.as_array_mut().into_iter().flatten() {
            let gone = removed.iter().any(|id| row["id"] == id.as_str());
            row["removed"] = Value::Bool(gone);
        }
        ui.print(&format!("{rows}\n"));
    }
    Exit::Done
}

fn count(runs: usize) -> String {
    if runs == 1 { "1 run".to_owned() } else { format!("{runs} runs") }
}
