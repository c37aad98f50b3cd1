//! Commands to the REPL itself: a colon and a word.

use crate::units;

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) name: &'static str,
    /// What it takes, for people; empty if nothing.
    pub(super) argument: &'static str,
    pub(super) about: &'static str,
}

const fn command(name: &'static str, argument: &'static str, about: &'static str) -> Command {
    Command { name, argument, about }
}

/// Every command, in the order of `:help`.
pub(super) const COMMANDS: &[Command] = &[
    command("help", "", "Shows this."),
    command("doc", "[NAME]", "Shows the reference of a function or a family, or the list of all."),
    command("plan", "LINE", "Says what a line would do; it reads for real and changes nothing."),
    command("on", "TARGET", "Acts on another target from now on."),
    command("targets", "", "Lists the configured targets."),
    command("debts", "", "Lists what is switched off and owed back, over all runs."),
    command("undo", "[all]", "Takes back the last line that changed something, or everything."),
    command("runs", "", "Lists the newest runs."),
    command("history", "", "Shows the newest lines that were typed."),
    command(
        "load",
        "FILE",
        "Evaluates a file as if it were typed; of a runbook it takes the functions.",
    ),
    command("quit", "", "Leaves. Ctrl-D does the same."),
];

/// Finds a command by its name or a beginning that only one has.
///
/// # Errors
/// A fragment with the nearest name.
pub(super) fn find(name: &str) -> Result<&'static Command, String> {
    if let Some(command) = COMMANDS.iter().find(|command| command.name == name) {
        return Ok(command);
    }
    // What fingers know from elsewhere.
    let name = if ["exit", "q"].contains(&name) { "quit" } else { name };
    let mut fitting =
        COMMANDS.iter().filter(|command| !name.is_empty() && command.name.starts_with(name));
    match (fitting.next(), fitting.next()) {
        (Some(command), None) => Ok(command),
        (Some(one), Some(other)) => {
            Err(format!("`:{name}` may be `:{}` or `:{}`", one.name, other.name))
        }
        (None, _) => {
            let names = COMMANDS.iter().map(|command| command.name);
            Err(match units::nearest(name, names) {
                Some(near) => format!("there is no command `:{name}`; did you mean `:{near}`?"),
                None => format!("there is no command `:{name}`; `:help` lists all of them"),
            })
        }
    }
}

/// Takes a line apart if it is a command: the word after the colon, and the rest.
pub(super) fn parse(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let rest = line.strip_prefix(':')?.trim_start();
    let (name, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    Some((name, argument.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_by_name_and_beginning() {
        assert_eq!(parse("  :doc  rsync "), Some(("doc", "rsync")));
        assert_eq!(parse(": plan a b"), Some(("plan", "a b")));
        assert_eq!(parse("doc"), None);
        for (typed, name) in [("he", "help"), ("q", "quit"), ("exit", "quit"), ("u", "undo")] {
            assert_eq!(find(typed).unwrap().name, name);
        }
        assert_eq!(find("h").unwrap_err(), "`:h` may be `:help` or `:history`");
        assert_eq!(
            find("undoo").unwrap_err(),
            "there is no command `:undoo`; did you mean `:undo`?"
        );
        assert_eq!(find("").unwrap_err(), "there is no command `:`; `:help` lists all of them");
    }
}
