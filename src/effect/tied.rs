//! Commands that are given again after they were cut off, and must never run twice at once. What a lost connection leaves
//! behind, the transport ends; what a killed process leaves behind is ended here, before the next process of the run gives
//! its first such command on that target. They are told by a variable in their environment, which their children inherit.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Read as _;
use std::sync::{OnceLock, PoisonError};
use std::time::Duration;

use super::context::Cx;
use crate::error::{Failure, Kind, Result};
use crate::transport::Command;

/// The variable; its value is `RUN/PROCESS`.
const VARIABLE: &str = "UPGRADE_HOST_TIED";

/// `$1` what the variable of the run's commands begins with, `$2` what that of this process is: ends the others, TERM,
/// 3 s, KILL, and prints those that are left after 3 s more.
const END: &str = r#"
others() {
  for f in $(grep -lF -- "$1" /proc/[0-9]*/environ 2>/dev/null); do
    grep -qF -- "$2" "$f" 2>/dev/null && continue
    # What looked may have been found by itself, and be gone: sudo puts the whole command line into the environment.
    grep -qF -- "$1" "$f" 2>/dev/null || continue
    p=${f#/proc/}; echo "${p%/environ}"
  done
}
n=0
while p=$(others "$@"); [ -n "$p" ]; do
  case $n in 0) kill -s TERM $p 2>/dev/null ;; 30) kill -s KILL $p 2>/dev/null ;; 60) echo $p; break ;; esac
  n=$((n + 1)); sleep 0.1 2>/dev/null || { sleep 1; n=$((n / 10 * 10 + 10)); }
done
"#;

/// What tells this process from the others that drive, or drove, the same run.
fn process() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let mut random = [0; 8];
        let read =
            std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random));
        // Without it the process id must do; on one machine it is enough.
        read.map_or_else(
            |_| std::process::id().to_string(),
            |()| {
                random.iter().fold(String::new(), |mut name, byte| {
                    let _infallible = write!(name, "{byte:02x}");
                    name
                })
            },
        )
    })
}

impl Cx<'_> {
    /// Returns the command as it is given: a tied one carries whose it is, once those of other processes have ended.
    pub(super) fn tied<'c>(&self, command: &'c Command) -> Result<Cow<'c, Command>> {
        if command.tied.is_none() || command.reads {
            return Ok(Cow::Borrowed(command));
        }
        self.end_left_behind()?;
        let mut command = command.clone();
        let value = format!("{}/{}", self.lane.run().id, process());
        command.env.push((VARIABLE.to_owned(), value));
        Ok(Cow::Owned(command))
    }

    /// Ends what another process of this run left running on the target. Done once by each process.
    fn end_left_behind(&self) -> Result<()> {
        let run = &self.lane.run().id;
        let key = format!("alone {run}");
        let cache = || self.target.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache().contains_key(&key) {
            return Ok(());
        }
        let (all, own) = (format!("{VARIABLE}={run}/"), format!("{VARIABLE}={run}/{}", process()));
        let command = Command::script(END, [all, own]).timeout(Some(Duration::from_secs(60)));
        let exit = self.quiet(&command)?;
        if !exit.success() {
            return Err(self.exit_failure(&command, &exit).into());
        }
        let left = exit.out().trim().to_owned();
        if !left.is_empty() {
            let message =
                format!("what a killed upgrade-host left running cannot be ended: process {left}");
            return Err(Failure::new(Kind::Conflict, message)
                .with_target(&self.target.name)
                .with_hint("End it there, then resume the run.")
                .into());
        }
        cache().insert(key, true.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Child, Command as Process};

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::call::Access;
    use crate::effect::bench::Bench;
    use crate::effect::{Action, Mode, Owes, Plan, Reconciled, Registry, perform};
    use crate::journal::Inverse;

    #[derive(Clone, Serialize, Deserialize)]
    struct Tied;

    impl Action for Tied {
        const NAME: &'static str = "tied";
        const ACCESS: Access = Access::Change;
        type Before = ();
        type Output = String;

        fn summary(&self) -> String {
            "give a tied command".to_owned()
        }

        fn look(&self, _cx: &Cx<'_>) -> Result<()> {
            Ok(())
        }

        fn plan(&self, _before: &()) -> Plan<(), String> {
            Plan::Would { changes: Vec::new(), output: String::new(), after: None }
        }

        fn apply(&self, cx: &Cx<'_>, _before: &()) -> Result<String> {
            cx.change_script("echo \"$UPGRADE_HOST_TIED\"", [""; 0], b"")
        }

        fn reconcile(&self, _cx: &Cx<'_>, _before: &()) -> Result<Reconciled<String>> {
            Ok(Reconciled::Redo)
        }

        fn inverse(&self, _before: &()) -> Inverse {
            Inverse::Nothing { why: "it changes nothing".to_owned() }
        }

        fn owes(&self, _before: &()) -> Owes {
            Owes::Nothing
        }
    }

    fn left(value: String) -> Child {
        Process::new("sleep").arg("300").env(VARIABLE, value).spawn().unwrap()
    }

    #[test]
    fn what_a_killed_process_left_running_is_ended_first_and_nothing_else() {
        let id = format!("tied-{}", std::process::id());
        let bench = Bench::new(Registry::default()).named(&id);
        let mut dead = left(format!("{id}/another"));
        let mut others = [left(format!("{id}/{}", process())), left(format!("{id}-2/another"))];

        let said = perform(&bench.lane(Mode::Run), None, &Tied).unwrap();

        assert_eq!(said, format!("{id}/{}\n", process()));
        assert_eq!(dead.wait().unwrap().signal(), Some(15));
        for other in &mut others {
            assert_eq!(other.try_wait().unwrap(), None);
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }
}
