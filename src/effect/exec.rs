//! Commands on the target, as actions run them: fenced, tied, told line by line, with failures that say how they ended.

use std::sync::PoisonError;
use std::time::Duration;

use super::context::Cx;
use super::lane::Inside;
use crate::error::{Failure, Halt, Kind, Result, Stop};
use crate::event::What;
use crate::transport::{Command, Ended, Exit, Stream, TransportError};

/// How much of a command's output a failure carries.
const TAIL: usize = 8 << 10;

impl Cx<'_> {
    /// Runs a command on the target, telling its output line by line, and returns how it ended.
    ///
    /// # Errors
    /// A failure if it could not be run or timed out; a status other than 0 is none.
    pub fn exec(&self, command: &Command) -> Result<Exit> {
        self.exec_with(command, true, &mut |_, _| {})
    }

    /// As [`Cx::exec`], without telling its output: for what the host itself looks at.
    ///
    /// # Errors
    /// As [`Cx::exec`].
    pub fn quiet(&self, command: &Command) -> Result<Exit> {
        self.exec_with(command, false, &mut |_, _| {})
    }

    /// As [`Cx::exec`], also calling `watch` with the raw output; `tell` says whether lines become events.
    ///
    /// # Errors
    /// As [`Cx::exec`].
    pub fn exec_with(
        &self,
        command: &Command,
        tell: bool,
        watch: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<Exit> {
        let run = self.lane.run();
        if self.lane.inside() == Some(Inside::Looking) && !command.reads {
            return Err(Failure::new(
                Kind::Input,
                format!("`{}` would change the target, but this only looks", command.display()),
            )
            .into());
        }
        let fenced;
        let command = if command.reads {
            command
        } else {
            self.touch();
            fenced = self.fence(command);
            &fenced
        };
        let (mut out, mut err) = (Lines::default(), Lines::default());
        let call = self.call.to_string();
        let given = self.tied(command)?;
        let result = self.target.transport.exec(&given, &run.cancel, &mut |stream, bytes| {
            watch(stream, bytes);
            if tell {
                let lines = if stream == Stream::Out { &mut out } else { &mut err };
                lines.push(bytes, |line| self.tell_line(&call, stream, line));
            }
        });
        if tell {
            out.finish(|line| self.tell_line(&call, Stream::Out, line));
            err.finish(|line| self.tell_line(&call, Stream::Err, line));
        }
        let exit = result.map_err(|error| self.failed(error, Some(command)))?;
        self.notice_reboot();
        self.passed(command, &exit)?;
        Ok(exit)
    }

    /// Runs one of our own constant shell scripts that only reads, and returns its standard output.
    ///
    /// # Errors
    /// A failure of kind `exit` if its status is not 0.
    pub fn read_script<S: Into<String>>(
        &self,
        script: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        let command = Command::script(script, arguments).reading();
        let exit = self.quiet(&command)?;
        if exit.success() { Ok(exit.out()) } else { Err(self.exit_failure(&command, &exit).into()) }
    }

    /// Runs one of our own constant shell scripts that changes something, and returns its standard output. After a lost
    /// connection what is left of it is ended, for it is given again; and its standard input may have ended early, which
    /// it must notice.
    ///
    /// # Errors
    /// A failure of kind `exit` if its status is not 0.
    pub fn change_script<S: Into<String>>(
        &self,
        script: &str,
        arguments: impl IntoIterator<Item = S>,
        stdin: &[u8],
    ) -> Result<String> {
        let command = Command::script(script, arguments).stdin(stdin).tied(Duration::ZERO);
        let exit = self.quiet(&command)?;
        if exit.success() { Ok(exit.out()) } else { Err(self.exit_failure(&command, &exit).into()) }
    }

    /// Tells the operator if the target was rebooted since the last command, and forgets what was found out about it.
    fn notice_reboot(&self) {
        let Some(boot) = self.target.transport.boot_id() else { return };
        let mut known = self.target.boot.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref() == Some(&boot) {
            return;
        }
        let before = known.replace(boot);
        drop(known);
        if before.is_some() {
            self.target.cache.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.lane.emit(What::Warning { text: self.target.rebooted() });
        }
    }

    pub(super) fn tell_line(&self, call: &str, stream: Stream, line: &str) {
        let line = self.lane.run().redactor.text(line);
        self.lane.emit(What::Output { call: call.to_owned(), error: stream == Stream::Err, line });
    }

    /// Makes the failure that says how a command ended, with the tails of its output.
    pub fn exit_failure(&self, command: &Command, exit: &Exit) -> Failure {
        let stderr = tail(&exit.stderr);
        let said = stderr
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default()
            .trim()
            .to_owned();
        let how = match &exit.ended {
            Ended::Code(code) => format!("ended with status {code}"),
            Ended::Signal(name) => format!("was ended by signal {name}"),
        };
        let program = short(&command.display());
        let message = if said.is_empty() {
            format!("`{program}` {how}")
        } else {
            format!("`{program}` {how}: {said}")
        };
        let mut failure = Failure::new(Kind::Exit, message).with_target(&self.target.name);
        failure.command = Some(command.display());
        failure.code = Some(exit.code());
        failure.stdout = tail(&exit.stdout);
        failure.stderr = stderr;
        failure
    }

    pub(super) fn failed(&self, error: TransportError, command: Option<&Command>) -> Halt {
        let message = error.to_string();
        let (kind, hint, lost) = match error {
            TransportError::Cancelled => return Stop::Cancelled.into(),
            TransportError::Connect { hint, .. } => (Kind::Connect, hint, true),
            TransportError::Lost { .. } => (Kind::Connect, None, true),
            TransportError::NoShell { .. } => (Kind::Connect, None, false),
            TransportError::Auth { hint, .. } | TransportError::HostKey { hint, .. } => {
                (Kind::Auth, hint, false)
            }
            TransportError::Timeout { .. } => (Kind::Timeout, None, false),
            TransportError::ReadOnly { .. } | TransportError::Invalid(_) => {
                (Kind::Input, None, false)
            }
        };
        let message = match (kind, command) {
            (Kind::Timeout, Some(command)) => format!("`{}` {message}", short(&command.display())),
            _ => message,
        };
        let mut failure = Failure::new(kind, message).with_target(&self.target.name);
        failure.hint = hint;
        failure.command = command.map(Command::display);
        failure.lost = lost;
        failure.into()
    }
}

/// Returns the last part of `bytes` as text, from the beginning of a line.
pub fn tail(bytes: &[u8]) -> String {
    let start = bytes.len().saturating_sub(TAIL);
    let text = String::from_utf8_lossy(&bytes[start..]);
    if start == 0 {
        return text.into_owned();
    }
    text.find('\n').map_or_else(|| text.clone().into_owned(), |line| text[line + 1..].to_owned())
}

/// Returns a command line short enough for a sentence; our own scripts by their first line.
fn short(command: &str) -> String {
    let line = command.trim().lines().next().unwrap_or_default();
    if line.chars().count() > 80 || command.trim().lines().count() > 1 {
        format!("{}…", line.chars().take(80).collect::<String>())
    } else {
        line.to_owned()
    }
}

/// Cuts a stream into lines.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        self.0.extend_from_slice(bytes);
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.0.drain(..=end).collect();
            each(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        }
        // A line without end must not grow us without bound.
        if self.0.len() > 64 << 10 {
            let line = std::mem::take(&mut self.0);
            each(&String::from_utf8_lossy(&line));
        }
    }

    pub(super) fn finish(self, mut each: impl FnMut(&str)) {
        if !self.0.is_empty() {
            each(String::from_utf8_lossy(&self.0).trim_end_matches('\r'));
        }
    }
}
