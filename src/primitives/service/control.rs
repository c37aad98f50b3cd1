//! How a service is started and stopped, and made sure of: what counts is what runs, not how a command ended.

use std::time::{Duration, Instant};

use super::{Service, State};
use crate::effect::Cx;
use crate::error::{Failure, Halt, Kind, Result};
use crate::event::Progress;
use crate::primitives::pace::Pace;
use crate::transport::Command;
use crate::units;

/// The longest pause between two looks while waiting for a service.
const PAUSE: Duration = Duration::from_millis(250);

impl Service {
    pub(super) fn command(&self, manager: &str, verb: &str) -> Result<Command> {
        let own = match verb {
            "start" => &self.commands.start,
            _ => &self.commands.stop,
        };
        Ok(match (manager, own) {
            (_, Some(line)) => Command::shell(line),
            ("systemd", None) => Command::list(["systemctl", verb, self.name.as_str()]),
            ("sysv", None) => {
                Command::list([format!("/etc/init.d/{}", self.name), verb.to_owned()])
            }
            _ => {
                let message = format!("service `{}` has no command to {verb} it", self.name);
                return Err(Failure::input(message)
                    .with_hint(format!("Add `{verb}` to [services.{}].", self.name))
                    .into());
            }
        })
    }

    pub(super) fn how(&self, state: &State, verb: &str) -> String {
        match self.command(&state.manager, verb) {
            Ok(command) => format!("{verb} by `{}`", command.display()),
            Err(halt) => halt.to_string(),
        }
    }

    /// Brings the service to `running` and verifies it by looking, whatever the exit status says.
    pub(super) fn bring(&self, cx: &Cx<'_>, running: bool, default: Duration) -> Result<State> {
        let verb = if running { "start" } else { "stop" };
        let timeout = self.timeout_ms.map_or(default, Duration::from_millis);
        let started = Instant::now();
        let state = self.state(cx)?;
        let reached = |state: &State| if running { state.up } else { !state.running };
        if reached(&state) {
            return Ok(state);
        }
        let command = self.command(&state.manager, verb)?.timeout(Some(timeout));
        let exit = match cx.repeatable(&command) {
            // What counts is what runs, also if the command hangs.
            Err(Halt::Failure(mut failure)) if failure.kind == Kind::Timeout && !failure.lost => {
                let state = self.state(cx)?;
                if reached(&state) {
                    return Ok(state);
                }
                failure.hint = Some(looked_at(&state));
                return Err(failure.into());
            }
            exit => exit?,
        };
        let mut pace = Pace::up_to(PAUSE);
        loop {
            let state = self.state(cx)?;
            if reached(&state) {
                return Ok(state);
            }
            let elapsed = started.elapsed();
            if elapsed >= timeout {
                let mut failure = cx.exit_failure(&command, &exit);
                failure.kind = Kind::Timeout;
                let still = if running { "is not up" } else { "still runs" };
                failure.message = format!(
                    "service `{}` {still} after {}",
                    self.name,
                    units::say_duration(timeout)
                );
                failure.hint = Some(looked_at(&state));
                return Err(failure.into());
            }
            cx.progress(Progress {
                done: elapsed.as_secs(),
                total: Some(timeout.as_secs()),
                unit: "seconds".to_owned(),
                message: state.evidence.join("; "),
                eta_seconds: None,
            });
            cx.sleep(pace.pause())?;
        }
    }
}

fn looked_at(state: &State) -> String {
    format!("What was looked at: {}.", state.evidence.join("; "))
}
