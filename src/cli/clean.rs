//! `clean`.

use super::args::Common;
use super::exit::Exit;
use super::ui::Ui;
use super::{fail, run};
use crate::report::table;
use crate::session::Why;

/// Removes what runs left on targets; ends with 4 if something could not be removed.
pub(super) fn clean(ui: &Ui, common: &Common, targets: Option<&str>, force: bool) -> Exit {
    let choice = run::choice(common, targets, Some("local"));
    let result =
        run::session(ui, common).and_then(|session| session.clean(&choice, force, &run::voice(ui)));
    match result {
        Ok(left) => {
            let rows: Vec<table::Kept> = left
                .iter()
                .map(|left| table::Kept {
                    target: left.target.clone(),
                    run: left.kept.run.clone(),
                    calls: left.kept.calls,
                    running: left.kept.running,
                    switches: left.switches.len(),
                    stays: left.stays.as_ref().map(Why::words),
                })
                .collect();
            if common.json {
                let rows: Vec<_> = rows
                    .iter()
                    .map(|row| serde_json::json!({ "target": row.target, "run": row.run, "receipts": row.calls, "running": row.running, "switches": row.switches, "removed": row.stays.is_none(), "stays": row.stays }))
                    .collect();
                ui.print(&format!("{}\n", serde_json::Value::Array(rows)));
            } else {
                ui.print(&table::kept(ui.style(), &rows));
            }
            let failed = |left: &crate::session::Left| matches!(left.stays, Some(Why::Failed(_)));
            if left.iter().any(failed) { Exit::Failed } else { Exit::Done }
        }
        Err(error) => fail::say(ui, &error),
    }
}
