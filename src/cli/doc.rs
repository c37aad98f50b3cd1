//! `doc`.

use super::exit::Exit;
use super::ui::Ui;
use crate::report::table::{self, Entry};
use crate::script::reference;

/// Shows the reference: the index, a family, or one primitive.
pub(super) fn doc(ui: &Ui, name: Option<&str>) -> Exit {
    let found = match name {
        None => Ok(reference::catalogue()),
        Some(name) => reference::find(name),
    };
    match found {
        Err(message) => {
            ui.error(&format!("error: {message}"));
            Exit::Invalid
        }
        Ok(primitives) => {
            if ui.options().json {
                let rows: Vec<_> = primitives
                    .iter()
                    .map(|primitive| {
                        serde_json::json!({
                            "name": primitive.name,
                            "family": primitive.family,
                            "signature": reference::signature(primitive),
                            "summary": primitive.summary,
                            "example": primitive.example,
                        })
                    })
                    .collect();
                ui.print(&format!("{}\n", serde_json::Value::Array(rows)));
            } else if let [primitive] = primitives.as_slice() {
                ui.print(&reference::text(primitive));
            } else {
                let entries: Vec<Entry> = primitives
                    .iter()
                    .map(|primitive| Entry {
                        family: primitive.family.to_owned(),
                        name: primitive.name.to_owned(),
                        summary: primitive.summary.to_owned(),
                    })
                    .collect();
                ui.print(&table::docs(ui.style(), &entries));
            }
            Exit::Done
        }
    }
}
