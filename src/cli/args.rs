//! The command line. Doc comments are the help.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::json;

use crate::session::RollingOptions;

/// Takes live servers through risky maintenance; every effect is journaled, undone or owed
#[derive(Debug, Parser)]
#[command(name = "upgrade-host", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(
    after_help = "upgrade-host FILE runs a runbook; upgrade-host FILE --help shows its parameters.\n\
    Without arguments, on a terminal, the REPL opens.\n\n\
    Exit status:\n\
    \x20   0  done\n\
    \x20   1  failed, and rolled back\n\
    \x20   2  usage, configuration or script invalid; nothing was done\n\
    \x20   3  paused; resume takes it up\n\
    \x20   4  failed and not fully undone, or something is still owed\n\
    \x20   5  the outcome of a change is unknown, and needs a decision\n\
    \x20   6  the journal is locked, damaged, or does not match the runbook\n\
    \x20   7  a dead-man switch fired\n\
    \x20 130  interrupted, and paused"
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) command: Option<Commands>,
}

/// Options of every subcommand
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Common {
    /// Act on these targets: a name, `@tag`, `all`, a glob, a range `web[01:20]`, user@host; commas separate, `&` is both, `!` is not
    #[arg(long, global = true, value_name = "TARGETS")]
    pub(crate) on: Option<String>,
    /// Of the targets that are meant, act on these only
    #[arg(long, global = true, value_name = "TARGETS")]
    pub(crate) limit: Option<String>,
    /// Set a parameter of the runbook
    #[arg(long = "set", global = true, value_name = "K=V", value_parser = key_value)]
    pub(crate) set: Vec<(String, String)>,
    /// Read this configuration instead of the usual ones
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Keep the journal in this directory
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Answer questions that have a safe default with it
    #[arg(long, short = 'y', global = true)]
    pub(crate) yes: bool,
    /// Print JSON: a listing is one array, a run is one event a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Show all output of commands
    #[arg(long, short = 'v', global = true)]
    pub(crate) verbose: bool,
    /// Sit out waits of days instead of ending the process
    #[arg(long, global = true)]
    pub(crate) stay: bool,
    /// Take targets that another run holds from it; that run cannot act there any more
    #[arg(long, global = true)]
    pub(crate) take_over: bool,
    /// What Ctrl-C leads to when nobody can be asked
    #[arg(long, global = true, value_name = "WHAT", value_parser = ["pause", "rollback"])]
    pub(crate) on_interrupt: Option<String>,
}

/// The subcommands
#[derive(Debug, Subcommand)]
pub(super) enum Commands {
    /// Run a runbook
    Run(Script),
    /// Say what a run would do, reading for real and changing nothing
    Plan(Script),
    /// Check runbooks without running them
    Check {
        /// The runbooks
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Take a run up where it stopped
    Resume {
        /// The run: the beginning or the last part of its id, or `last`
        run: String,
        /// Go on although the runbook was changed; calls that still match are answered from the record
        #[arg(long)]
        accept_change: bool,
        /// Of the targets, or of the items of a `rolling`, that failed or wait, let only these go on
        #[arg(long, value_name = "ITEMS", value_delimiter = ',')]
        only: Vec<String>,
        /// Take these targets, or items of a `rolling`, out for good
        #[arg(long, value_name = "ITEMS", value_delimiter = ',')]
        skip: Vec<String>,
    },
    /// Ask the process that drives a run to pause it, and wait for that
    Pause {
        /// The run: the beginning or the last part of its id, or `last`
        run: String,
        /// How long to wait for it
        #[arg(long, default_value = "1m", value_name = "DURATION")]
        timeout: String,
    },
    /// Undo what a run did
    Rollback {
        /// The run: the beginning or the last part of its id, or `last`
        run: String,
        /// Only say what it would do, and what somebody changed since
        #[arg(long)]
        dry_run: bool,
    },
    /// List runs, newest first, or remove old ones
    #[command(args_conflicts_with_subcommands = true)]
    Runs {
        #[command(subcommand)]
        what: Option<RunsCommands>,
        /// How many at most [default: 20; with --json: all]
        #[arg(long, value_name = "N")]
        newest: Option<usize>,
    },
    /// Show what a run did
    Show {
        /// The run: the beginning or the last part of its id, or `last`
        run: String,
    },
    /// List what is switched off and owed back, over all runs
    Debts {
        /// Only what should be on again already; ends with 4 if there is any of that
        #[arg(long)]
        overdue: bool,
    },
    /// Remove what runs that are over left on targets
    Clean {
        /// The targets; this machine if not given
        targets: Option<String>,
        /// Also what a run may still need, and what other journals left there
        #[arg(long)]
        force: bool,
    },
    /// List which runs hold the targets
    Locks {
        /// The targets; this machine if not given
        targets: Option<String>,
    },
    /// List the targets
    Hosts {
        /// Only these
        targets: Option<String>,
        /// Connect to each and say how it stands; ends with the number of those with trouble
        #[arg(long)]
        check: bool,
    },
    /// Show the reference of the primitives
    Doc {
        /// One of them, or a family
        name: Option<String>,
    },
    /// Open the REPL
    Repl,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Commands {
    /// Returns what is typed for it, without what differs.
    pub(super) fn words(&self) -> &'static str {
        match self {
            Self::Run(script) if !script.command.is_empty() => "run -- COMMAND",
            Self::Run(_) => "run",
            Self::Plan(_) => "plan",
            Self::Check { .. } => "check",
            Self::Resume { .. } => "resume",
            Self::Pause { .. } => "pause",
            Self::Rollback { dry_run: true, .. } => "rollback --dry-run",
            Self::Rollback { .. } => "rollback",
            Self::Runs { what: Some(RunsCommands::Prune(Prune { dry_run: true, .. })), .. } => {
                "runs prune --dry-run"
            }
            Self::Runs { what: Some(RunsCommands::Prune(_)), .. } => "runs prune",
            Self::Runs { .. } => "runs",
            Self::Show { .. } => "show",
            Self::Debts { .. } => "debts",
            Self::Clean { .. } => "clean",
            Self::Locks { .. } => "locks",
            Self::Hosts { check: true, .. } => "hosts --check",
            Self::Hosts { .. } => "hosts",
            Self::Doc { .. } => "doc",
            Self::Repl => "repl",
            Self::Completions { .. } => "completions",
        }
    }

    /// Returns the targets that stand behind the subcommand.
    pub(super) fn targets(&self) -> Option<&str> {
        match self {
            Self::Clean { targets, .. } | Self::Locks { targets } | Self::Hosts { targets, .. } => {
                targets.as_deref()
            }
            _ => None,
        }
    }
}

/// What is done with runs instead of listing them
#[derive(Debug, Subcommand)]
pub(super) enum RunsCommands {
    /// Remove old runs from the journal
    ///
    /// Only runs that are over go: never one that is paused, was cut off, whose outcome is unknown, that a process
    /// drives, or that owes something. What is removed cannot be shown or rolled back any more.
    Prune(Prune),
}

/// Which runs are removed
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(["older", "keep"]))]
pub(super) struct Prune {
    /// Only those that ended longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = crate::units::duration)]
    pub(super) older: Option<Duration>,
    /// Keep the newest N runs in any case
    #[arg(long, value_name = "N")]
    pub(super) keep: Option<usize>,
    /// Also those that failed, if they owe nothing; they cannot be rolled back after that
    #[arg(long)]
    pub(super) failed: bool,
    /// Only say which
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// A script to run or plan
#[derive(Args, Debug)]
pub(super) struct Script {
    /// The runbook
    #[arg(value_name = "FILE", required_unless_present_any = ["code", "command"])]
    pub(super) file: Option<PathBuf>,
    /// Run this code instead of a file
    #[arg(short = 'e', value_name = "CODE", conflicts_with = "file")]
    pub(super) code: Option<String>,
    /// Run this command on each target and group what they answer; one word is a line for the shell
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["file", "code"])]
    pub(super) command: Vec<String>,
    /// The command only reads
    #[arg(long, requires = "command")]
    pub(super) read: bool,
    /// Work on so many targets at once [default: 16; a command: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) max: Option<u16>,
    /// How many of several targets are through after each wave [default: 1,10%,50%,100%]
    #[arg(long, value_name = "SIZES", value_delimiter = ',', conflicts_with = "command")]
    pub(super) waves: Vec<String>,
    /// How many targets may fail before no other begins [default: 0]
    #[arg(long, value_name = "N", conflicts_with = "command")]
    pub(super) max_failures: Option<u32>,
    /// How long nothing begins between two waves
    #[arg(long, value_name = "DURATION", conflicts_with = "command")]
    pub(super) pause: Option<String>,
}

impl Script {
    /// What is said of the waves.
    ///
    /// # Errors
    /// A fragment that names the option and what is wrong with it.
    pub(super) fn rolling(&self) -> Result<RollingOptions, String> {
        let waves = (!self.waves.is_empty()).then(|| json!(self.waves));
        let given = [
            ("waves", "--waves", waves),
            ("max", "--max", self.max.map(|max| json!(max))),
            ("max_failures", "--max-failures", self.max_failures.map(|most| json!(most))),
            ("pause", "--pause", self.pause.as_ref().map(|pause| json!(pause))),
        ];
        let mut said = RollingOptions::default();
        for (name, option, value) in given {
            if let Some(value) = value {
                said.set(name, &value).map_err(|why| format!("{option}: {why}"))?;
            }
        }
        Ok(said)
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

const SUBCOMMANDS: [&str; 15] = [
    "run",
    "plan",
    "check",
    "resume",
    "pause",
    "rollback",
    "runs",
    "show",
    "debts",
    "clean",
    "locks",
    "hosts",
    "doc",
    "repl",
    "completions",
];
const WITH_VALUE: [&str; 10] = [
    "--on",
    "--limit",
    "--set",
    "--config",
    "--state",
    "--on-interrupt",
    "--waves",
    "--max",
    "--max-failures",
    "--pause",
];

/// `upgrade-host FILE …` and `upgrade-host -e CODE …` mean `run`.
pub(super) fn with_run(mut args: Vec<OsString>) -> Vec<OsString> {
    let mut index = 1;
    while let Some(arg) = args.get(index) {
        let text = arg.to_string_lossy();
        if WITH_VALUE.contains(&text.as_ref()) {
            index += 2;
        } else if text == "-e" {
            args.insert(1, "run".into());
            break;
        } else if text.starts_with('-') {
            index += 1;
        } else {
            let is_file = text.ends_with(".rhai")
                || text.contains('/')
                || std::path::Path::new(arg).is_file();
            if is_file && !SUBCOMMANDS.contains(&text.as_ref()) {
                args.insert(1, "run".into());
            }
            break;
        }
    }
    args
}

/// The runbook whose help is wanted: `upgrade-host FILE --help`, also with `run` or `plan` before.
pub(super) fn help_of(args: &[OsString]) -> Option<PathBuf> {
    let wants_help = args.iter().skip(1).any(|arg| arg == "--help" || arg == "-h");
    let file = args.iter().skip(1).find(|arg| arg.to_string_lossy().ends_with(".rhai"));
    if wants_help { file.map(PathBuf::from) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let known: Vec<String> =
            Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        assert_eq!(known, SUBCOMMANDS);
    }

    #[test]
    fn a_file_means_run() {
        for (given, meant) in [
            ("uh book.rhai --yes", "uh run book.rhai --yes"),
            ("uh --json --on a book.rhai", "uh run --json --on a book.rhai"),
            ("uh --waves 1,9 book.rhai", "uh run --waves 1,9 book.rhai"),
            ("uh -e 1", "uh run -e 1"),
            ("uh plan book.rhai", "uh plan book.rhai"),
            ("uh runs", "uh runs"),
            ("uh rusn", "uh rusn"),
        ] {
            let args: Vec<OsString> = given.split(' ').map(OsString::from).collect();
            assert_eq!(with_run(args).join(&OsString::from(" ")), meant, "{given}");
        }
    }
}
