//! The command line: one file per subcommand. Only [`ui`] prints.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

mod ad_hoc;
mod args;
mod check;
mod clean;
mod completions;
mod debts;
mod doc;
pub mod exit;
pub(crate) mod fail;
mod help;
pub(crate) mod hosts;
mod in_vain;
mod locks;
mod pause;
mod resume;
mod rollback;
pub(crate) mod run;
mod runs;
mod show;
mod signals;
pub mod ui;

pub(crate) use args::Common;
use args::{Cli, Commands, RunsCommands};
use exit::Exit;
use ui::{Options, Ui};

/// Runs the program with these arguments, the first of which is its own name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(status) = crate::transport::rsh::answer(&args) {
        return status;
    }
    let args = args::with_run(args);
    if let Some(file) = args::help_of(&args) {
        return help::of_script(&Ui::new(Options::default()), &file).into();
    }
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors, and go to stdout.
            let _nobody = error.print();
            return if error.use_stderr() { Exit::Invalid.into() } else { Exit::Done.into() };
        }
    };
    let common = cli.common;
    let ui = Ui::new(Options { json: common.json, yes: common.yes, verbose: common.verbose });
    let exit = dispatch(&ui, &common, cli.command);
    ui.finish();
    exit.into()
}

fn dispatch(ui: &Ui, common: &Common, command: Option<Commands>) -> Exit {
    if let Some(why) = in_vain::in_vain(common, command.as_ref()) {
        ui.error(&format!("error: {why}"));
        return Exit::Invalid;
    }
    match command {
        Some(Commands::Run(script)) if !script.command.is_empty() => {
            ad_hoc::ad_hoc(ui, common, &script)
        }
        Some(Commands::Run(script)) => run::run(ui, common, script, false),
        Some(Commands::Plan(script)) if !script.command.is_empty() => {
            ui.error("error: a plan is made of a runbook; what a command would do cannot be known");
            Exit::Invalid
        }
        Some(Commands::Plan(script)) => run::run(ui, common, script, true),
        Some(Commands::Check { files }) => check::check(ui, &files),
        Some(Commands::Resume { run, accept_change, only, skip }) => {
            let chosen = crate::effect::Chosen { only, skip };
            resume::resume(ui, common, &run, accept_change, chosen)
        }
        Some(Commands::Pause { run, timeout }) => pause::pause(ui, common, &run, &timeout),
        Some(Commands::Rollback { run, dry_run: true }) => rollback::dry_run(ui, common, &run),
        Some(Commands::Rollback { run, .. }) => rollback::rollback(ui, common, &run),
        Some(Commands::Runs { what: None, newest }) => runs::runs(ui, common, newest),
        Some(Commands::Runs { what: Some(RunsCommands::Prune(prune)), .. }) => {
            runs::prune(ui, common, &prune)
        }
        Some(Commands::Show { run }) => show::show(ui, common, &run),
        Some(Commands::Clean { targets, force }) => {
            clean::clean(ui, common, targets.as_deref(), force)
        }
        Some(Commands::Debts { overdue }) => debts::debts(ui, common, overdue),
        Some(Commands::Locks { targets }) => locks::locks(ui, common, targets.as_deref()),
        Some(Commands::Hosts { targets, check: true }) => {
            hosts::check(ui, common, targets.as_deref())
        }
        Some(Commands::Hosts { targets, .. }) => hosts::hosts(ui, common, targets.as_deref()),
        Some(Commands::Doc { name }) => doc::doc(ui, name.as_deref()),
        Some(Commands::Completions { shell }) => completions::completions(ui, shell),
        Some(Commands::Repl) => crate::repl::repl(ui, common),
        None if ui.can_ask() => crate::repl::repl(ui, common),
        None => {
            use clap::CommandFactory;
            ui.error(&Cli::command().render_help().to_string());
            Exit::Invalid
        }
    }
}
