//! `upgrade-host FILE --help`: a runbook's title and parameters.

use std::fmt::Write as _;
use std::path::Path;

use super::exit::Exit;
use super::fail;
use super::ui::Ui;
use crate::report::{Line, Tone, text_of};
use crate::session::params::Params;
use crate::session::{Session, SessionError, Text};

/// Shows what a runbook says of itself.
pub(super) fn of_script(ui: &Ui, file: &Path) -> Exit {
    let read = Session::load(&Text::File(file.to_path_buf())).and_then(|runbook| {
        let params = Params::declare(&runbook.metadata.params).map_err(SessionError::Params)?;
        Ok((runbook.metadata, params))
    });
    let (metadata, params) = match read {
        Ok(read) => read,
        Err(error) => return fail::say(ui, &error),
    };
    let mut lines = vec![Line::new().with(Tone::Strong, metadata.title)];
    let plain = |text: &str| Line::new().with(Tone::Plain, text);
    if !metadata.about.is_empty() {
        lines.push(Line::new());
        lines.extend(metadata.about.lines().map(plain));
    }
    lines.push(Line::new());
    lines.push(plain(&format!(
        "Usage: upgrade-host {} [--on TARGETS] [--set K=V]… [--yes] [--json]",
        file.display()
    )));
    let rows = params.table();
    if !rows.is_empty() {
        lines.push(Line::new());
        lines.push(Line::new().with(Tone::Strong, "Parameters"));
        let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
        for row in rows {
            let mut facts = row.kind.clone();
            if row.required {
                facts.push_str(", required");
            } else if !row.default.is_empty() {
                let _infallible = write!(facts, ", default {}", row.default);
            }
            if !row.example.is_empty() {
                let _infallible = write!(facts, ", for example {}", row.example);
            }
            let tone = if row.required { Tone::Warn } else { Tone::Info };
            lines.push(
                Line::new()
                    .with(tone, format!("  {:<width$}  ", row.name))
                    .with(Tone::Plain, row.about),
            );
            lines.push(Line::new().with(Tone::Dim, format!("  {:<width$}  {facts}", "")));
        }
    }
    ui.print(&text_of(&lines, ui.style().color));
    Exit::Done
}
