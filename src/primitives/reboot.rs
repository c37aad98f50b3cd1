//! Rebooting a target and waiting until it is back: `reboot`. What tells one boot from the next is the kernel's boot id,
//! together with when the first process started: a container has the boot id of its host.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rhai::{Map, NativeCallContext};
use serde::{Deserialize, Serialize};

use super::bridge::{Face, Options, Primitive, RhaiResultOf, Type, act, field};
use super::pace::Pace;
use crate::call::Access;
use crate::effect::{Action, Cx, Owes, Plan, Reconciled, Registry};
use crate::error::{Failure, Halt, Kind, Result};
use crate::event::Progress;
use crate::journal::Inverse;
use crate::transport::{Command, Ended, Local, Transport};
use crate::units;

/// How long it may take where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(600);
/// The longest pause between two looks.
const PAUSE: Duration = Duration::from_secs(2);
/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(20);

/// Prints which boot it is. A shell of any target can do it without another process.
const BOOT: &str = r#"
boot() {
  b=; read -r b </proc/sys/kernel/random/boot_id || return 1
  s=; read -r s </proc/1/stat || return 1
  set -- ${s##*) }
  [ $# -gt 19 ] || return 1
  shift 19; echo "$b+$1"
}
"#;

/// Prints which boot it is and how to reboot.
const LOOK: &str = r"
boot || { echo 'the boot id of the target cannot be read' >&2; exit 1; }
PATH=$PATH:/usr/sbin:/sbin; export PATH
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; then echo systemctl
elif command -v shutdown >/dev/null 2>&1; then echo shutdown
elif command -v reboot >/dev/null 2>&1; then echo reboot
else echo none; fi
";

/// $1 the boot that is to end, $2 how, $3 why. Does nothing if that boot has ended already.
const GO: &str = r#"
now=$(boot) || exit
[ "$now" = "$1" ] || exit 0
PATH=$PATH:/usr/sbin:/sbin; export PATH
[ -z "$3" ] || logger -t upgrade-host -- "reboot: $3" 2>/dev/null
sync
case $2 in
  systemctl) systemctl reboot ;;
  shutdown) shutdown -r now ;;
  *) reboot ;;
esac
"#;

const REBOOT: Primitive = Primitive {
    name: "reboot",
    family: "reboot",
    summary: "Reboots the target and waits until it can be logged in to again. Services are not waited for; say what must run with `wait_port`, `wait_http` or `service_start`.",
    params: &[],
    options: &[
        field("timeout", Type::Duration, "\"10m\"", "How long it may take until it is back."),
        field("reason", Type::Text, "", "Why, for the target's own log and for the plan."),
    ],
    returns: "bool: true",
    example: r#"reboot(#{ timeout: "15m", reason: "new kernel" });"#,
    failure: "`timeout` if it does not come back in time, with what the last try found; `exit` or `denied` if it refuses; `input` on the machine that upgrade-host runs on.",
    plan: "Says how it would reboot.",
    undo: "Nothing: a reboot cannot be taken back, and what it ended is not known.",
    resume: "Looks whether it is another boot than the one recorded before: then it is done, else it reboots.",
};

/// Reboots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Reboot {
    timeout_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What was found before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Before {
    /// Which boot it was.
    boot: String,
    /// The program that reboots it.
    how: String,
}

impl Reboot {
    /// Returns which boot it is.
    fn boot(cx: &Cx<'_>) -> Result<String> {
        let script = format!("{BOOT}boot");
        let command = Command::script(&script, [""; 0]).reading().timeout(Some(LOOK_TIMEOUT));
        let exit = cx.quiet(&command)?;
        if exit.success() {
            return Ok(exit.out().trim().to_owned());
        }
        Err(cx.exit_failure(&command, &exit).into())
    }

    /// A reboot that is asked for is no news, and what was found out may be true no more.
    fn expected(cx: &Cx<'_>) {
        *cx.target.boot.lock().unwrap_or_else(PoisonError::into_inner) = None;
        cx.target.cache.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn trigger(&self, cx: &Cx<'_>, before: &Before) -> Result<()> {
        let script = format!("{BOOT}{GO}");
        let reason = self.reason.as_deref().unwrap_or_default();
        let command = Command::script(&script, [&before.boot, &before.how, reason])
            .timeout(Some(Duration::from_secs(60)))
            .tied(Duration::ZERO);
        let exit = match cx.quiet(&command) {
            // That the connection breaks is what was asked for, and a shutdown may take its time.
            Err(Halt::Failure(failure)) if failure.lost || failure.kind == Kind::Timeout => {
                return Ok(());
            }
            exit => exit?,
        };
        let refused = matches!(exit.ended, Ended::Code(code) if code != 0 && code < 128);
        if !refused {
            return Ok(());
        }
        let mut failure = cx.exit_failure(&command, &exit);
        let stderr = failure.stderr.to_ascii_lowercase();
        if ["denied", "not permitted", "authentication", "must be root", "superuser"]
            .iter()
            .any(|word| stderr.contains(word))
        {
            failure.kind = Kind::Denied;
            failure.hint =
                Some("Log in as root, or give the target `sudo` in the configuration.".to_owned());
        }
        Err(failure.into())
    }

    /// Waits for another boot than `before`.
    fn wait(&self, cx: &Cx<'_>, before: &str) -> Result<()> {
        let (started, timeout) = (Instant::now(), Duration::from_millis(self.timeout_ms));
        let mut pace = Pace::up_to(PAUSE);
        loop {
            Self::expected(cx);
            let found = match Self::boot(cx) {
                Ok(boot) if boot != before => return Ok(()),
                Ok(_) => "it has not shut down yet".to_owned(),
                // It may refuse logins while it goes down and comes up.
                Err(Halt::Failure(failure)) => failure.message,
                Err(stop) => return Err(stop),
            };
            let elapsed = started.elapsed();
            if elapsed >= timeout {
                let limit = units::say_duration(timeout);
                let message = format!("it did not come back within {limit}: {found}");
                return Err(Failure::new(Kind::Timeout, message)
                    .with_target(&cx.target.name)
                    .with_hint("Look at its console. Once it is up, `resume` goes on.")
                    .into());
            }
            cx.progress(Progress {
                done: elapsed.as_secs(),
                total: Some(timeout.as_secs()),
                unit: "seconds".to_owned(),
                message: found,
                eta_seconds: None,
            });
            cx.sleep(pace.pause())?;
        }
    }
}

impl Action for Reboot {
    const NAME: &'static str = "reboot";
    const ACCESS: Access = Access::Change;
    type Before = Before;
    type Output = bool;

    fn summary(&self) -> String {
        match &self.reason {
            Some(reason) => format!("reboot ({reason})"),
            None => "reboot".to_owned(),
        }
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Before> {
        if cx.target.transport.describe() == Local.describe() {
            return Err(Failure::input("upgrade-host runs on this machine and cannot reboot it")
                .with_target(&cx.target.name)
                .with_hint("Run it from another machine; or let the runbook `ask` for the reboot: answer with pausing, reboot by hand, then `resume`.")
                .into());
        }
        let out = cx.read_script(&format!("{BOOT}{LOOK}"), [""; 0])?;
        let mut lines = out.lines();
        let (boot, how) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        if how == "none" {
            let message = "there is no program to reboot it: systemctl, shutdown or reboot";
            return Err(Failure::new(Kind::NotFound, message).with_target(&cx.target.name).into());
        }
        Ok(Before { boot: boot.to_owned(), how: how.to_owned() })
    }

    fn plan(&self, before: &Before) -> Plan<Before, bool> {
        let how = match before.how.as_str() {
            "systemctl" => "systemctl reboot",
            "shutdown" => "shutdown -r now",
            other => other,
        };
        let limit = units::say_duration(Duration::from_millis(self.timeout_ms));
        let changes = vec![format!("reboot by `{how}`, and wait for it up to {limit}")];
        Plan::Would { changes, output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, before: &Before) -> Result<bool> {
        self.trigger(cx, before)?;
        self.wait(cx, &before.boot)?;
        Ok(true)
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &Before) -> Result<Reconciled<bool>> {
        Self::expected(cx);
        let boot = Self::boot(cx)?;
        Ok(if boot == before.boot { Reconciled::Redo } else { Reconciled::Done(true) })
    }

    fn inverse(&self, _before: &Before) -> Inverse {
        Inverse::Nothing { why: "a reboot cannot be taken back".to_owned() }
    }

    fn owes(&self, _before: &Before) -> Owes {
        Owes::Nothing
    }
}

fn reboot(ctx: &NativeCallContext<'_>, options: Map) -> RhaiResultOf<bool> {
    let options = Options::new(ctx, &REBOOT, options)?;
    let timeout = options.duration("timeout")?.unwrap_or(TIMEOUT);
    let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    act(ctx, &Reboot { timeout_ms, reason: options.text("reason") })
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&REBOOT, |ctx: NativeCallContext<'_>| reboot(&ctx, Map::new()));
    face.add(&REBOOT, |ctx: NativeCallContext<'_>, options: Map| reboot(&ctx, options));
}

/// Makes the family's actions known, for undo from the record.
pub(super) fn actions(registry: &mut Registry) {
    registry.add::<Reboot>();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::bench::Bench;
    use crate::effect::{Mode, perform};

    fn shell(script: &str, arguments: &[&str]) -> std::process::Output {
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", &format!("{BOOT}{script}"), "sh"]).args(arguments).output().unwrap()
    }

    #[test]
    fn this_machine_is_not_rebooted() {
        let mut registry = Registry::default();
        actions(&mut registry);
        let bench = Bench::new(registry);
        let action = Reboot { timeout_ms: 1000, reason: None };

        let Err(Halt::Failure(failure)) = perform(&bench.lane(Mode::Run), None, &action) else {
            panic!()
        };

        assert_eq!(failure.kind, Kind::Input);
        assert!(failure.message.contains("cannot reboot it"), "{failure}");
    }

    #[test]
    fn a_boot_is_told_and_one_that_has_ended_is_not_ended_again() {
        let boot = String::from_utf8(shell("boot", &[]).stdout).unwrap();
        let (id, started) = boot.trim().split_once('+').unwrap();
        assert_eq!(id.len(), 36);
        assert!(started.parse::<u64>().is_ok(), "{started}");
        assert_eq!(String::from_utf8(shell("boot", &[]).stdout).unwrap(), boot);

        // `false` stands for what would reboot.
        let go = GO.replace("*) reboot", "*) false");
        assert_eq!(shell(&go, &["another boot", "none", ""]).status.code(), Some(0));
        assert_eq!(shell(&go, &[boot.trim(), "none", ""]).status.code(), Some(1));
    }
}
