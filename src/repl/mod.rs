//! The REPL.

use crate::cli::exit::Exit;
use crate::cli::ui::Ui;

/// Opens the REPL.
pub(crate) fn repl(ui: &Ui, _common: &crate::cli::Common) -> Exit {
    ui.error("error: this build has no REPL");
    Exit::Invalid
}
