//! What the command of an inventory prints.

use std::path::Path;
use std::time::Duration;

use crate::transport::{
    Cancel, Command, KEPT_OUTPUT, Local, Stream, Transport, TransportError, Words,
};
use crate::units;

/// Runs a command in `dir` and returns what it prints.
///
/// # Errors
/// How it failed, as the end of a sentence.
pub(super) fn of(
    words: &Words,
    dir: &Path,
    timeout: Duration,
    cancel: &Cancel,
) -> Result<String, String> {
    let mut command = match words {
        Words::List(words) => Command::list(words.clone()),
        Words::Shell(line) => Command::shell(line),
    }
    .reading()
    .timeout(Some(timeout));
    command.dir = Some(dir.to_string_lossy().into_owned());
    let mut printed = 0;
    let exit = Local.exec(&command, cancel, &mut |stream, bytes| {
        if stream == Stream::Out {
            printed += bytes.len();
        }
    });
    let exit = exit.map_err(|error| match error {
        TransportError::Timeout { after } => {
            format!("did not end within {}", units::say_duration(after))
        }
        TransportError::Cancelled => "was interrupted".to_owned(),
        other => format!("cannot be run: {other}"),
    })?;
    if !exit.success() {
        let said = crate::effect::tail(&exit.stderr);
        let said = said.lines().rev().find(|line| !line.trim().is_empty());
        let said = said.map_or_else(String::new, |line| format!(": {}", line.trim()));
        return Err(format!("ended with status {}{said}", exit.code()));
    }
    if printed > KEPT_OUTPUT {
        return Err(format!("printed more than {}", units::say_size(KEPT_OUTPUT as u64)));
    }
    String::from_utf8(exit.stdout).map_err(|_| "printed what is not UTF-8 text".to_owned())
}
