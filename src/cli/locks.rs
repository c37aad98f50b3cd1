//! `locks`.

use super::args::Common;
use super::exit::Exit;
use super::ui::Ui;
use super::{fail, run};
use crate::report::table;

/// Lists which runs hold the targets.
pub(super) fn locks(ui: &Ui, common: &Common, targets: Option<&str>) -> Exit {
    let choice = run::choice(common, targets, Some("local"));
    let result =
        run::session(ui, common).and_then(|session| session.locks(&choice, &run::voice(ui)));
    match result {
        Ok(held) => {
            if common.json {
                let rows: Vec<_> = held
                    .iter()
                    .map(|(target, holder)| serde_json::json!({ "target": target, "run": holder.run, "by": holder.operator, "since": holder.since, "why": holder.why, "controller": holder.controller, "epoch": holder.epoch }))
                    .collect();
                ui.print(&format!("{}\n", serde_json::Value::Array(rows)));
            } else {
                let rows: Vec<_> = held
                    .into_iter()
                    .map(|(target, holder)| table::Held {
                        target,
                        run: holder.run,
                        operator: holder.operator,
                        since: holder.since,
                        why: holder.why,
                        controller: holder.controller,
                    })
                    .collect();
                ui.print(&table::locks(ui.style(), &rows));
            }
            Exit::Done
        }
        Err(error) => fail::say(ui, &error),
    }
}
