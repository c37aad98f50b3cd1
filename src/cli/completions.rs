//! `completions`.

use clap::CommandFactory;

use super::args::Cli;
use super::exit::Exit;
use super::ui::Ui;

/// Prints completions for a shell.
pub(super) fn completions(ui: &Ui, shell: clap_complete::Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "upgrade-host", &mut script);
    ui.print(&String::from_utf8_lossy(&script));
    Exit::Done
}
