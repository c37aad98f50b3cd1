//! Ending what still runs.

use super::{At, SMALL, new_mark, scripts};
use crate::transport::marks::Marks;
use crate::transport::{Cancel, Command, Sudo, Transport, TransportError};

/// Ends a call, and makes sure that nothing of it is left, unless a second cancel ends the wait for that.
pub(super) fn end(
    transport: &dyn Transport,
    command: &Command,
    at: &At,
    why: &str,
    cancel: &Cancel,
) -> Result<(), TransportError> {
    let mark = new_mark()?;
    let ending = Command::script(scripts::END, [mark.as_str(), &at.dir, &at.call, why])
        .sudo(command.sudo.clone())
        .timeout(Some(SMALL));
    ended(transport, &ending, &mark, &cancel.second())
}

/// Ends whatever still runs of a run as the user that `sudo` says, but for what takes something back.
///
/// # Errors
/// As [`Transport::exec`].
pub fn end_all(
    transport: &dyn Transport,
    dir: &str,
    sudo: Option<Sudo>,
    why: &str,
) -> Result<(), TransportError> {
    let mark = new_mark()?;
    let ending = Command::script(scripts::END_ALL, [mark.as_str(), dir, why])
        .sudo(sudo)
        .timeout(Some(SMALL * 3));
    // Nobody can cancel it.
    ended(transport, &ending, &mark, &Cancel::new())
}

/// Runs a script that ends commands.
fn ended(
    transport: &dyn Transport,
    ending: &Command,
    mark: &str,
    cancel: &Cancel,
) -> Result<(), TransportError> {
    let exit = transport.exec(ending, cancel, &mut |_, _| {})?;
    let mut marks = Marks::new(mark);
    marks.pass(exit.stdout.clone());
    if marks.said().first().is_some_and(|said| said == "gone") {
        return Ok(());
    }
    Err(TransportError::Lost {
        target: transport.describe(),
        why: format!(
            "a command could not be ended; {}",
            String::from_utf8_lossy(&exit.stderr).trim()
        ),
    })
}
