//! The actions on interfaces.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::own;
use super::state::{Kept, SPOOL, State, look};
use crate::call::Access;
use crate::effect::{Action, Cx, Deadman, Owes, Plan, Query, Reconciled, Switch, inverse_of, tail};
use crate::error::{Failure, Kind, Result};
use crate::event::Progress;
use crate::journal::{Debt, Inverse};
use crate::primitives::deadman::text;
use crate::transport::Command;
use crate::units;

/// How long a change may take unless said otherwise: a carrier takes seconds, a DHCP server more.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// Writes what is to be restored. $1 interface, $2 directory; the text comes over standard input.
const KEEP: &str = r#"
[ "$(id -u)" = 0 ] || { echo 'only root may change interfaces' >&2; exit 77; }
umask 077
mkdir -p "$2" && cat >"$2/interface-$1.new" && [ "$(wc -c <"$2/interface-$1.new")" -eq "$3" ] &&
  mv "$2/interface-$1.new" "$2/interface-$1"
"#;

/// Forgets it again.
const FORGET: &str = r#"rm -f "$2/interface-$1" "$2/interface-$1.new"; rmdir "$2" 2>/dev/null; :"#;

/// Takes an interface down or up. $1 interface, $2 manager, $3 `down` or `up`. ifupdown may think that it is so
/// already, or may have a stanza that leaves the link alone; then the kernel is told.
pub(super) const SET: &str = r#"
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
[ "$(id -u)" = 0 ] || { echo 'only root may change interfaces' >&2; exit 77; }
is() {
  flags=$(ip -o link show dev "$1" 2>/dev/null) || flags=
  flags=${flags#*<}; flags=,${flags%%>*},
  case $flags in *,UP,*) [ "$2" = up ] ;; *) [ "$2" = down ] ;; esac
}
if [ "$2" = ifupdown ]; then
  "if$3" "$1"
  is "$1" "$3" || "if$3" --force "$1"
fi
is "$1" "$3" || ip link set dev "$1" "$3"
"#;

/// Gives an address or a route back: the arguments are those of `ip`.
const GIVE: &str = r#"
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
exec ip "$@"
"#;

/// An interface, and how long a change of it may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Interface {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) timeout_ms: Option<u64>,
    /// The dead-man switch, when it is taken down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deadman: Option<Deadman>,
}

impl Interface {
    fn key(&self) -> String {
        format!("interface {}", self.name)
    }

    pub(super) fn state(&self, cx: &Cx<'_>) -> Result<State> {
        look(cx, &self.name)?
            .state(&self.name)
            .map_err(|failure| failure.with_target(&cx.target.name).into())
    }

    fn unarmed(&self) -> Self {
        Self { deadman: None, ..self.clone() }
    }

    /// As [`Interface::state`], and refuses an interface over which we ourselves come, unless a dead-man switch gives it
    /// back.
    fn expendable(&self, cx: &Cx<'_>) -> Result<State> {
        let seen = look(cx, &self.name)?;
        let state =
            seen.state(&self.name).map_err(|failure| failure.with_target(&cx.target.name))?;
        let transport = &cx.target.transport;
        let local =
            transport.describe() == crate::transport::Transport::describe(&crate::transport::Local);
        if state.up
            && (self.deadman.is_none() || self.name == "lo")
            && let Some(why) = own::carries_us(&self.name, &seen, transport.own_address(), local)
        {
            let message = format!("interface `{}` must stay up: {why}", self.name);
            return Err(Failure::new(Kind::Denied, message)
                .with_target(&cx.target.name)
                .with_hint("Keep users out in another way (suspend_all_users), come over another interface, or give `deadman`, so that it comes back by itself.")
                .into());
        }
        Ok(state)
    }

    fn how(&self, manager: &str, verb: &str) -> String {
        match manager {
            "ifupdown" => format!("take it {verb} by `if{verb} {}`", self.name),
            _ => format!("take it {verb} by `ip link set dev {} {verb}`", self.name),
        }
    }

    fn set(&self, cx: &Cx<'_>, manager: &str, verb: &str, timeout: Duration) -> Result<String> {
        let command =
            Command::script(SET, [self.name.as_str(), manager, verb]).timeout(Some(timeout));
        let exit = cx.repeatable(&command)?;
        let stderr = tail(&exit.stderr);
        if let Some(failure) = denied(cx, exit.code(), &stderr) {
            return Err(failure.into());
        }
        Ok(stderr)
    }

    /// Waits until `reached`, telling what is missing; what it may still do meanwhile, `nudge` does.
    fn until(
        &self,
        cx: &Cx<'_>,
        started: Instant,
        stderr: &mut String,
        mut missing: impl FnMut(&State, &mut String) -> Result<Vec<String>>,
    ) -> Result<State> {
        let timeout = self.timeout_ms.map_or(TIMEOUT, Duration::from_millis);
        loop {
            let state = self.state(cx)?;
            let lacks = missing(&state, stderr)?;
            if lacks.is_empty() {
                return Ok(state);
            }
            let elapsed = started.elapsed();
            if elapsed >= timeout {
                let limit = units::say_duration(timeout);
                let lacks = lacks.join(", ");
                let message = format!("interface `{}` after {limit}: {lacks}", self.name);
                let mut failure = Failure::new(Kind::Timeout, message).with_target(&cx.target.name);
                stderr.clone_into(&mut failure.stderr);
                return Err(failure.into());
            }
            cx.progress(Progress {
                done: elapsed.as_secs(),
                total: Some(timeout.as_secs()),
                unit: "seconds".to_owned(),
                message: lacks.join(", "),
                eta_seconds: None,
            });
            cx.sleep(PAUSE)?;
        }
    }
}

fn denied(cx: &Cx<'_>, code: i32, stderr: &str) -> Option<Failure> {
    let refused = code == 77 || stderr.contains("Operation not permitted");
    refused.then(|| {
        let said = stderr.lines().last().unwrap_or("not permitted").trim();
        let mut failure = Failure::new(Kind::Denied, format!("interfaces: {said}"))
            .with_target(&cx.target.name)
            .with_hint("Log in as root, or set `sudo` for the target.");
        failure.code = Some(code);
        stderr.clone_into(&mut failure.stderr);
        failure
    })
}

/// Takes an interface down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Ifdown(pub(super) Interface);

impl Action for Ifdown {
    const NAME: &'static str = "ifdown";
    const ACCESS: Access = Access::Change;
    type Before = State;
    type Output = bool;

    fn summary(&self) -> String {
        format!("take interface {} down", self.0.name)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<State> {
        self.0.expendable(cx)
    }

    fn plan(&self, before: &State) -> Plan<State, bool> {
        if !before.up {
            return Plan::Already(false);
        }
        let after = State {
            up: false,
            saved: Some(before.kept.clone()),
            kept: Kept::default(),
            ..before.clone()
        };
        let mut changes = vec![self.0.how(&before.manager, "down")];
        changes.extend(before.kept.lines().into_iter().map(|line| format!("keep {line}")));
        Plan::Would { changes, output: true, after: Some(after) }
    }

    fn apply(&self, cx: &Cx<'_>, before: &State) -> Result<bool> {
        let started = Instant::now();
        // The way that we come may be another one than when it was decided.
        let state = self.0.expendable(cx)?;
        if !state.up {
            return Ok(before.up);
        }
        let kept = serde_json::to_string(&before.kept)
            .map_err(|error| Failure::input(error.to_string()))?;
        let length = kept.len().to_string();
        let keep = Command::script(KEEP, [self.0.name.as_str(), SPOOL, &length])
            .stdin(kept)
            .tied(Duration::ZERO);
        let exit = cx.quiet(&keep)?;
        if let Some(failure) = denied(cx, exit.code(), &tail(&exit.stderr)) {
            return Err(failure.into());
        }
        if !exit.success() {
            return Err(cx.exit_failure(&keep, &exit).into());
        }
        let timeout = self.0.timeout_ms.map_or(TIMEOUT, Duration::from_millis);
        let mut stderr = self.0.set(cx, &before.manager, "down", timeout)?;
        self.0.until(cx, started, &mut stderr, |state, _| {
            Ok(if state.up { vec!["it is still up".to_owned()] } else { Vec::new() })
        })?;
        Ok(before.up)
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &State) -> Result<Reconciled<bool>> {
        Ok(if self.0.state(cx)?.up { Reconciled::Redo } else { Reconciled::Done(before.up) })
    }

    fn inverse(&self, before: &State) -> Inverse {
        if before.up {
            let restore = Some(before.kept.clone());
            inverse_of(&Ifup { interface: self.0.unarmed(), restore })
        } else {
            Inverse::Nothing { why: "it was down before".to_owned() }
        }
    }

    fn deadman(&self, _cx: &Cx<'_>, before: &State) -> Result<Option<Switch>> {
        let Some(deadman) = self.0.deadman.filter(|_| before.up) else { return Ok(None) };
        let name = self.0.name.as_str();
        let up = Command::script(SET, [name, before.manager.as_str(), "up"]);
        let mut tries = format!("{} || ok=0\n", text(&up)?);
        for words in given(name, &before.kept) {
            tries.push_str(&text(&Command::script(GIVE, words))?);
            tries.push_str(" || ok=0\n");
        }
        let forget = text(&Command::script(FORGET, [name, SPOOL]))?;
        // A carrier takes seconds, and a route needs it.
        let inverse = format!(
            "n=0\nwhile :; do\nok=1\n{tries}[ $ok = 1 ] && break\nn=$((n + 1)); [ $n -lt 30 ] || exit 1\nsleep 1\ndone\n{forget}\n"
        );
        Ok(Some(Switch::new(deadman, inverse)))
    }

    fn owes(&self, before: &State) -> Owes {
        if !before.up {
            return Owes::Nothing;
        }
        Owes::Opens(Debt {
            key: self.0.key(),
            what: format!("interface {} up", self.0.name),
            locks_out: true,
        })
    }

    fn subject(&self) -> Option<String> {
        Some(self.0.key())
    }

    fn changed(&self, output: &bool) -> bool {
        *output
    }
}

/// Returns the arguments of `ip` that give back what is missing on an interface.
fn given(name: &str, missing: &Kept) -> Vec<Vec<String>> {
    let family = |family: u8| if family == 6 { "-6" } else { "-4" }.to_owned();
    let given = |object: &str, of: u8, words: &[String]| {
        let mut all = vec![family(of), object.to_owned(), "replace".to_owned()];
        all.extend_from_slice(words);
        all.extend(["dev".to_owned(), name.to_owned()]);
        all
    };
    let addresses = missing.addresses.iter().map(|it| given("address", it.family, &it.words));
    // Those without a gateway first, since a gateway is reached over one of them.
    let mut routes: Vec<_> = missing.routes.iter().collect();
    routes.sort_by_key(|route| route.words.iter().any(|word| word == "via"));
    addresses.chain(routes.into_iter().map(|it| given("route", it.family, &it.words))).collect()
}

/// Takes an interface up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ifup {
    #[serde(flatten)]
    pub(super) interface: Interface,
    /// What was there before the `ifdown` that this takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) restore: Option<Kept>,
}

impl Ifup {
    /// What must be there in the end.
    fn wanted(&self, before: &State) -> Kept {
        let mut wanted = self.restore.clone().unwrap_or_default();
        if let Some(saved) = &before.saved {
            wanted.join(saved);
        }
        wanted
    }

    fn missing(&self, before: &State, state: &State) -> Kept {
        self.wanted(before).missing(state)
    }

    /// Gives back what is missing. What cannot be given yet (a route before its gateway's network) can the next time.
    fn give(&self, cx: &Cx<'_>, missing: &Kept, stderr: &mut String) -> Result<()> {
        stderr.clear();
        for words in given(&self.interface.name, missing) {
            let exit = cx.quiet(&Command::script(GIVE, words).tied(Duration::ZERO))?;
            stderr.push_str(&tail(&exit.stderr));
        }
        Ok(())
    }
}

impl Action for Ifup {
    const NAME: &'static str = "ifup";
    const ACCESS: Access = Access::Change;
    type Before = State;
    type Output = bool;

    fn summary(&self) -> String {
        format!("take interface {} up", self.interface.name)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<State> {
        self.interface.state(cx)
    }

    fn plan(&self, before: &State) -> Plan<State, bool> {
        let missing = self.missing(before, before);
        if before.up && missing.is_nothing() {
            return Plan::Already(false);
        }
        let mut changes = Vec::new();
        if !before.up {
            changes.push(self.interface.how(&before.manager, "up"));
        }
        changes.extend(missing.lines().into_iter().map(|line| format!("put back {line}")));
        let after = State { up: true, kept: self.wanted(before), saved: None, ..before.clone() };
        Plan::Would { changes, output: true, after: Some(after) }
    }

    fn apply(&self, cx: &Cx<'_>, before: &State) -> Result<bool> {
        let started = Instant::now();
        let interface = &self.interface;
        let timeout = interface.timeout_ms.map_or(TIMEOUT, Duration::from_millis);
        let mut stderr = String::new();
        let state = interface.state(cx)?;
        let mut changed = !before.up || !self.missing(before, &state).is_nothing();
        if !state.up {
            changed = true;
            stderr = interface.set(cx, &before.manager, "up", timeout)?;
        }
        interface.until(cx, started, &mut stderr, |state, stderr| {
            if !state.up {
                return Ok(vec!["it is still down".to_owned()]);
            }
            let missing = self.missing(before, state);
            if !missing.addresses.is_empty() || !missing.routes.is_empty() {
                self.give(cx, &missing, stderr)?;
            }
            let lines = missing.lines();
            Ok(lines.into_iter().map(|line| format!("{line} is missing")).collect())
        })?;
        cx.quiet(&Command::script(FORGET, [interface.name.as_str(), SPOOL]))?;
        Ok(changed)
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &State) -> Result<Reconciled<bool>> {
        let state = self.interface.state(cx)?;
        let done = state.up && self.missing(before, &state).is_nothing();
        Ok(if done { Reconciled::Done(true) } else { Reconciled::Redo })
    }

    fn inverse(&self, before: &State) -> Inverse {
        if before.up {
            Inverse::Nothing { why: "it was up before".to_owned() }
        } else {
            inverse_of(&Ifdown(self.interface.clone()))
        }
    }

    fn owes(&self, _before: &State) -> Owes {
        Owes::Closes(self.interface.key())
    }

    fn subject(&self) -> Option<String> {
        Some(self.interface.key())
    }

    fn changed(&self, output: &bool) -> bool {
        *output
    }
}

/// Tells the state of an interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Status {
    pub(super) name: String,
}

impl Query for Status {
    const NAME: &'static str = "interface_status";
    type Output = State;

    fn summary(&self) -> String {
        format!("look at interface {}", self.name)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<State> {
        Interface { name: self.name.clone(), timeout_ms: None, deadman: None }.state(cx)
    }

    fn result(&self, output: &State) -> Option<String> {
        let state = if output.up { "up" } else { "down" };
        Some([&[state.to_owned()], output.shown.as_slice()].concat().join(", "))
    }
}
