//! An option that means nothing to a subcommand is an error: ignored, it would be taken to count.

use super::args::{Commands, Common};

/// An option of all subcommands, and those that it means something to.
struct Meaning {
    option: &'static str,
    is_given: fn(&Common) -> bool,
    /// What it does.
    does: &'static str,
    /// Why all others have no use for it.
    lack: &'static str,
    /// As [`Commands::words`] says them.
    of: &'static [&'static str],
}

/// `plan` takes what `run` takes, so that one line can be planned and then run. `resume` and `rollback` say themselves
/// that a run keeps the targets and parameters that it began with, and the REPL that it has no JSON.
const MEANINGS: &[Meaning] = &[
    Meaning {
        option: "--on",
        is_given: |common| common.on.is_some(),
        does: "chooses targets",
        lack: "acts on none",
        of: TARGETS,
    },
    Meaning {
        option: "--limit",
        is_given: |common| common.limit.is_some(),
        does: "chooses targets",
        lack: "acts on none",
        of: TARGETS,
    },
    Meaning {
        option: "--set",
        is_given: |common| !common.set.is_empty(),
        does: "sets a parameter of a runbook",
        lack: "begins none",
        of: &["run", "plan", "resume", "rollback", "rollback --dry-run", "repl"],
    },
    Meaning {
        option: "--config",
        is_given: |common| common.config.is_some(),
        does: "says which configuration is read",
        lack: "reads none",
        of: JOURNAL,
    },
    Meaning {
        option: "--state",
        is_given: |common| common.state.is_some(),
        does: "says where the journal is",
        lack: "has no use for it",
        of: JOURNAL,
    },
    Meaning {
        option: "--yes",
        is_given: |common| common.yes,
        does: "answers questions",
        lack: "asks none",
        of: &["run", "plan", "resume", "rollback", "runs prune", "repl"],
    },
    Meaning {
        option: "--json",
        is_given: |common| common.json,
        does: "prints JSON",
        lack: "has none to print",
        of: &[
            "run",
            "run -- COMMAND",
            "plan",
            "resume",
            "pause",
            "rollback",
            "rollback --dry-run",
            "runs",
            "runs prune",
            "runs prune --dry-run",
            "show",
            "debts",
            "clean",
            "locks",
            "hosts",
            "hosts --check",
            "doc",
            "repl",
        ],
    },
    Meaning {
        option: "--verbose",
        is_given: |common| common.verbose,
        does: "shows all output of commands",
        lack: "shows none",
        of: &[
            "run",
            "run -- COMMAND",
            "plan",
            "resume",
            "rollback",
            "rollback --dry-run",
            "show",
            "repl",
        ],
    },
    Meaning {
        option: "--stay",
        is_given: |common| common.stay,
        does: "sits out waits of days",
        lack: "waits for nothing of the kind",
        of: &["run", "plan", "resume", "rollback", "repl"],
    },
    Meaning {
        option: "--take-over",
        is_given: |common| common.take_over,
        does: "takes targets from the run that holds them",
        lack: "holds none",
        of: &["run", "run -- COMMAND", "plan", "resume", "rollback", "repl"],
    },
    Meaning {
        option: "--on-interrupt",
        is_given: |common| common.on_interrupt.is_some(),
        does: "says whether an interrupt pauses a run or rolls it back",
        lack: "leaves no choice there",
        of: &["run", "plan", "resume"],
    },
];

const TARGETS: &[&str] = &[
    "run",
    "run -- COMMAND",
    "plan",
    "resume",
    "rollback",
    "rollback --dry-run",
    "clean",
    "locks",
    "hosts",
    "hosts --check",
    "repl",
];
const JOURNAL: &[&str] = &[
    "run",
    "run -- COMMAND",
    "plan",
    "resume",
    "pause",
    "rollback",
    "rollback --dry-run",
    "runs",
    "runs prune",
    "runs prune --dry-run",
    "show",
    "debts",
    "clean",
    "locks",
    "hosts",
    "hosts --check",
    "repl",
];

/// Says which option was given in vain, and what to do about it.
pub(super) fn in_vain(common: &Common, command: Option<&Commands>) -> Option<String> {
    let words = command.map_or("repl", Commands::words);
    let vain = |it: &&Meaning| (it.is_given)(common) && !it.of.contains(&words);
    if let Some(Meaning { option, does, lack, .. }) = MEANINGS.iter().find(vain) {
        return Some(format!("{option} {does}, and `{words}` {lack}; leave it out"));
    }
    let named = command.and_then(Commands::targets).filter(|_| common.on.is_some())?;
    Some(format!("the targets are given twice, as `{named}` and with --on"))
}
