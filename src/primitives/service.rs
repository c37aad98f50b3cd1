//! Services: start, stop, restart, status. Verified by what runs (systemd's state, process, port, URL), never by the
//! exit status of an init script alone: some vendors' scripts always end with 1.

mod commands;

use std::time::{Duration, Instant};

use rhai::{Dynamic, Map, NativeCallContext};
use serde::{Deserialize, Serialize};

use super::bridge::{
    Face, Field, Options, Primitive, RhaiResultOf, Type, act, ask, field, lane, to_dynamic,
};
use super::deadman::{DEADMAN, deadman};
use super::http;
use super::pace::Pace;
use crate::call::Access;
use crate::effect::{
    Action, Cx, Deadman, Owes, Plan, Query, Reconciled, Registry, ServiceCommands, Switch,
    inverse_of,
};
use crate::error::{Failure, Halt, Kind, Result};
use crate::event::Progress;
use crate::journal::{Debt, Inverse};
use crate::transport::Command;
use crate::units;

/// How long a stop may take unless said otherwise: vendors' own scripts wait 120 s before they kill.
const STOP_TIMEOUT: Duration = Duration::from_secs(180);
/// How long a start may take unless said otherwise.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// The longest pause between two looks while waiting for a service.
const PAUSE: Duration = Duration::from_millis(250);

const TIMEOUT: Field =
    field("timeout", Type::Duration, "\"3m\" to stop, \"2m\" to start", "How long it may take.");
const BY_START: Field = field(
    "start",
    Type::Text,
    "",
    "A shell line that starts it, instead of systemd or an init script.",
);
const BY_STOP: Field = field("stop", Type::Text, "", "A shell line that stops it.");
const BY_STATUS: Field =
    field("status", Type::Text, "", "A shell line that ends with 0 while it runs.");
const PID_FILE: Field = field("pid_file", Type::Text, "", "The file that holds its process id.");
const PROCESS: Field = field(
    "process",
    Type::Text,
    "",
    "An extended regular expression for the command line of its process.",
);
const PORT: Field = field("port", Type::Int, "", "The TCP port on which it listens while it runs.");
const URL: Field = field(
    "url",
    Type::Text,
    "",
    "A URL, seen from the target, that answers with 2xx once it is up.",
);
const MANAGER: Field =
    field("manager", Type::Text, "found out", "`systemd`, `sysv` or `commands`.");

const OPTIONS: &[Field] =
    &[TIMEOUT, BY_START, BY_STOP, BY_STATUS, PID_FILE, PROCESS, PORT, URL, MANAGER];
const STOP_OPTIONS: &[Field] =
    &[TIMEOUT, BY_START, BY_STOP, BY_STATUS, PID_FILE, PROCESS, PORT, URL, MANAGER, DEADMAN];

const NAME: &[Field] = &[field(
    "name",
    Type::Text,
    "",
    "The name of the unit, of the init script, or of `[services.NAME]`.",
)];

const STOP: Primitive = Primitive {
    name: "service_stop",
    family: "service",
    summary: "Stops a service and makes sure that it is stopped.",
    params: NAME,
    options: STOP_OPTIONS,
    returns: "bool: true if it was running",
    example: r#"service_stop("obsr", #{ timeout: "3m", process: "obs-jvm serve", deadman: "1h" });"#,
    failure: "`timeout` if it still runs at the end, with the output of what was to stop it; `not_found` if there is no such service.",
    plan: "Says whether it runs and how it would be stopped.",
    undo: "Starts it, if it was running.",
    resume: "Looks again; stops it if it still runs.",
};

const START: Primitive = Primitive {
    name: "service_start",
    family: "service",
    summary: "Starts a service and waits until it is up.",
    params: NAME,
    options: OPTIONS,
    returns: "bool: true if it was not running",
    example: r#"service_start("obsr", #{ url: "http://127.0.0.1:8080/alive.txt" });"#,
    failure: "`timeout` if it is not up at the end, with the output of what was to start it; `not_found` if there is no such service.",
    plan: "Says whether it runs and how it would be started.",
    undo: "Stops it, if it was not running.",
    resume: "Looks again; starts it if it does not run.",
};

const RESTART: Primitive = Primitive {
    name: "service_restart",
    family: "service",
    summary: "Stops a service if it runs, and starts it.",
    params: NAME,
    options: OPTIONS,
    returns: "bool: true",
    example: r#"service_restart("obsr");"#,
    failure: "As `service_stop` and `service_start`.",
    plan: "Says how it would be restarted.",
    undo: "Makes sure that it runs, or stops it if it did not run before.",
    resume: "Restarts it again, unless the start is all that is missing.",
};

const STATUS: Primitive = Primitive {
    name: "service_status",
    family: "service",
    summary: "Tells whether a service runs, and how that is known.",
    params: NAME,
    options: OPTIONS,
    returns: "map: `running` (bool), `manager` (text), `evidence` (list of texts)",
    example: r#"if !service_status("obsr").running { fail("it does not run"); }"#,
    failure: "`not_found` if there is no such service.",
    plan: "Reads for real.",
    undo: "Nothing: it only reads.",
    resume: "Returns what was read; reads again if that was not recorded.",
};

/// What identifies a service and how it is controlled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Service {
    /// Its name.
    pub name: String,
    /// Its own commands and evidence.
    pub commands: ServiceCommands,
    /// How long a change may take, in milliseconds; the default of the change if none.
    pub timeout_ms: Option<u64>,
    /// The dead-man switch, when it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadman: Option<Deadman>,
}

/// What was found out about a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Whether anything of it runs.
    pub running: bool,
    /// Whether everything that shows that it is up does so.
    pub up: bool,
    /// What controls it: `systemd`, `sysv` or `commands`.
    pub manager: String,
    /// What was looked at, and what it showed.
    pub evidence: Vec<String>,
    /// What tells one start of it from the next; empty where nothing does.
    #[serde(default)]
    pub instance: String,
}

/// Looks at a service: prints `manager WORD`, then a line `SOURCE yes|no|none DETAIL` per piece of evidence.
/// $1 name, $2 manager or empty, $3 pid file, $4 process pattern, $5 port, $6 own status line, $7 whether own commands exist.
const LOOK: &str = r#"
manager=$2
if [ -z "$manager" ]; then
  if [ -n "$7" ]; then manager=commands
  elif command -v systemctl >/dev/null 2>&1 && [ -d /run/systemd/system ]; then
    fragment=$(systemctl show -p FragmentPath "$1" 2>/dev/null) || fragment=
    fragment=${fragment#FragmentPath=}
    case $fragment in
      # A unit that systemd made out of an init script believes its exit status; we do not.
      /run/systemd/generator*) manager=sysv ;;
      ?*) manager=systemd ;;
      *) if [ -x "/etc/init.d/$1" ]; then manager=sysv; else manager=none; fi ;;
    esac
  elif [ -x "/etc/init.d/$1" ]; then manager=sysv
  else manager=none
  fi
fi
echo "manager $manager"
if [ "$manager" = systemd ]; then
  state=$(systemctl show -p ActiveState "$1" 2>/dev/null); state=${state#ActiveState=}
  echo "instance $(systemctl show -p InvocationID "$1" 2>/dev/null)"
  case $state in active|activating|reloading|deactivating) echo "systemd yes $state" ;; *) echo "systemd no $state" ;; esac
fi
if [ -n "$6" ]; then
  if sh -c "$6" >/dev/null 2>&1; then echo "status yes ended with 0"; else echo "status no ended with another status"; fi
fi
if [ -n "$3" ]; then
  pid=
  [ -r "$3" ] && read -r pid <"$3"
  case $pid in
    ''|*[!0-9]*) echo "pid_file no $3 holds no process id" ;;
    *) echo "instance pid=$pid"
       if [ -r "/proc/$pid/stat" ] && ! grep -q '^[0-9]* ([^)]*) Z' "/proc/$pid/stat" 2>/dev/null; then echo "pid_file yes process $pid runs"
       else echo "pid_file no process $pid does not run"; fi ;;
  esac
fi
if [ -n "$4" ]; then
  # All at once: a few processes for each process there is would take longer than many a stop.
  # Not ourselves: the pattern stands in our own command line, and in that of sudo or a shell around us.
  lines=$(tail -n +1 /proc/[0-9]*/cmdline /dev/null 2>/dev/null | tr '\000' ' ' | awk '
    function say() { if (text != "" && index(text, "uh:service:look") == 0) print pid " " text; text = "" }
    /^==> .* <==$/ { say(); split($2, part, "/"); pid = part[3]; next }
    { text = text $0 }
    END { say() }')
  at=$(printf '%s\n' "$lines" | sed 's/^[0-9]* //' | grep -En -e "$4" -e uh:service:look | cut -d: -f1 | tr '\n' ' ')
  found=$(printf '%s\n' "$lines" | awk -v at="$at" '
    BEGIN { count = split(at, number, " "); for (i = 1; i <= count; i++) wanted[number[i]] = 1 }
    NR in wanted { printf " %s", $1 }')
  if [ -n "$found" ]; then echo "process yes process$found"; echo "instance process=$found"; else echo "process no none matches"; fi
fi
if [ -n "$5" ]; then
  hex=$(printf '%04X' "$5")
  if cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v p=":$hex" '$4 == "0A" && substr($2, length($2) - 4) == p { found = 1 } END { exit !found }'
  then echo "port yes $5 is listened on"; else echo "port no nothing listens on $5"; fi
fi
: uh:service:look
"#;

impl Service {
    /// What is owed while it is stopped.
    fn debt(&self) -> Debt {
        Debt { key: self.key(), what: format!("service {} running", self.name), locks_out: true }
    }

    fn unarmed(&self) -> Self {
        Self { deadman: None, ..self.clone() }
    }

    /// The arguments of [`LOOK`].
    fn words(&self) -> [String; 7] {
        let own = &self.commands;
        let has_commands = own.start.is_some() || own.stop.is_some();
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        [
            self.name.clone(),
            text(&own.manager),
            text(&own.pid_file),
            text(&own.process),
            own.port.map(|port| port.to_string()).unwrap_or_default(),
            text(&own.status),
            if has_commands { "yes".to_owned() } else { String::new() },
        ]
    }

    fn state(&self, cx: &Cx<'_>) -> Result<State> {
        let own = &self.commands;
        let out = cx.read_script(LOOK, self.words())?;
        let mut state = parse(&out);
        if state.manager == "none" {
            let message = format!(
                "there is no service `{}`: no systemd unit, no /etc/init.d/{}, no [services.{}]",
                self.name, self.name, self.name
            );
            return Err(Failure::new(Kind::NotFound, message)
                .with_target(&cx.target.name)
                .with_hint("Name the unit, or say in the config how it is started and stopped.")
                .into());
        }
        if let Some(url) = &own.url {
            let answers = match http::probe(cx, url, Duration::from_secs(5)) {
                Ok(status) => (200..300).contains(&status),
                Err(Halt::Failure(failure)) if !failure.lost => false,
                Err(halt) => return Err(halt),
            };
            state.up &= answers;
            state.running |= answers;
            state
                .evidence
                .push(format!("{url} {}", if answers { "answers" } else { "does not answer" }));
        }
        if state.evidence.is_empty() {
            let message = format!("nothing tells whether service `{}` runs", self.name);
            return Err(Failure::input(message)
                .with_target(&cx.target.name)
                .with_hint("Its init script's exit status does not tell. Give `process`, `pid_file`, `port`, `url` or `status`.")
                .into());
        }
        Ok(state)
    }

    fn command(&self, manager: &str, verb: &str) -> Result<Command> {
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

    fn how(&self, state: &State, verb: &str) -> String {
        match self.command(&state.manager, verb) {
            Ok(command) => format!("{verb} by `{}`", command.display()),
            Err(halt) => halt.to_string(),
        }
    }

    /// Brings the service to `running` and verifies it by looking, whatever the exit status says.
    fn bring(&self, cx: &Cx<'_>, running: bool, default: Duration) -> Result<State> {
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

    fn key(&self) -> String {
        format!("service {}", self.name)
    }
}

fn looked_at(state: &State) -> String {
    format!("What was looked at: {}.", state.evidence.join("; "))
}

fn parse(out: &str) -> State {
    let mut state = State { up: true, manager: "none".to_owned(), ..State::default() };
    for line in out.lines() {
        let mut words = line.splitn(3, ' ');
        let (source, answer, detail) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        if source == "manager" {
            answer.clone_into(&mut state.manager);
            continue;
        }
        if source == "instance" {
            state.instance.push_str(line);
            continue;
        }
        let yes = answer == "yes" && !(source == "systemd" && detail == "activating");
        state.running |= answer == "yes";
        state.up &= yes;
        state.evidence.push(format!("{source}: {detail}"));
    }
    state
}

/// Stops a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Stop(pub Service);

impl Action for Stop {
    const NAME: &'static str = "service_stop";
    const ACCESS: Access = Access::Change;
    type Before = State;
    type Output = bool;

    fn summary(&self) -> String {
        format!("stop service {}", self.0.name)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<State> {
        self.0.state(cx)
    }

    fn plan(&self, before: &State) -> Plan<State, bool> {
        if !before.running {
            return Plan::Already(false);
        }
        let after = State {
            running: false,
            up: false,
            evidence: vec!["stopped earlier in this plan".to_owned()],
            ..before.clone()
        };
        Plan::Would { changes: vec![self.0.how(before, "stop")], output: true, after: Some(after) }
    }

    fn apply(&self, cx: &Cx<'_>, before: &State) -> Result<bool> {
        self.0.bring(cx, false, STOP_TIMEOUT)?;
        Ok(before.running)
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &State) -> Result<Reconciled<bool>> {
        Ok(if self.0.state(cx)?.running {
            Reconciled::Redo
        } else {
            Reconciled::Done(before.running)
        })
    }

    fn inverse(&self, before: &State) -> Inverse {
        if before.running {
            inverse_of(&Start(self.0.unarmed()))
        } else {
            Inverse::Nothing { why: "it was stopped before".to_owned() }
        }
    }

    fn deadman(&self, _cx: &Cx<'_>, before: &State) -> Result<Option<Switch>> {
        let Some(deadman) = self.0.deadman.filter(|_| before.running) else { return Ok(None) };
        Ok(Some(Switch::new(deadman, self.0.text(&before.manager, true)? + "\n")))
    }

    fn owes(&self, before: &State) -> Owes {
        if !before.running {
            return Owes::Nothing;
        }
        Owes::Opens(self.0.debt())
    }

    fn subject(&self) -> Option<String> {
        Some(self.0.key())
    }

    fn changed(&self, output: &bool) -> bool {
        *output
    }
}

/// Starts a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Start(pub Service);

impl Action for Start {
    const NAME: &'static str = "service_start";
    const ACCESS: Access = Access::Change;
    type Before = State;
    type Output = bool;

    fn summary(&self) -> String {
        format!("start service {}", self.0.name)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<State> {
        self.0.state(cx)
    }

    fn plan(&self, before: &State) -> Plan<State, bool> {
        if before.up {
            return Plan::Already(false);
        }
        let after = State {
            running: true,
            up: true,
            evidence: vec!["started earlier in this plan".to_owned()],
            ..before.clone()
        };
        Plan::Would { changes: vec![self.0.how(before, "start")], output: true, after: Some(after) }
    }

    fn apply(&self, cx: &Cx<'_>, before: &State) -> Result<bool> {
        self.0.bring(cx, true, START_TIMEOUT)?;
        Ok(!before.up)
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &State) -> Result<Reconciled<bool>> {
        Ok(if self.0.state(cx)?.up { Reconciled::Done(!before.up) } else { Reconciled::Redo })
    }

    fn inverse(&self, before: &State) -> Inverse {
        if before.running {
            Inverse::Nothing { why: "it was running before".to_owned() }
        } else {
            inverse_of(&Stop(self.0.clone()))
        }
    }

    fn owes(&self, _before: &State) -> Owes {
        Owes::Closes(self.0.key())
    }

    fn subject(&self) -> Option<String> {
        Some(self.0.key())
    }

    fn changed(&self, output: &bool) -> bool {
        *output
    }
}

/// Restarts a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Restart(pub Service);

impl Action for Restart {
    const NAME: &'static str = "service_restart";
    const ACCESS: Access = Access::Change;
    type Before = State;
    type Output = bool;

    fn summary(&self) -> String {
        format!("restart service {}", self.0.name)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<State> {
        self.0.state(cx)
    }

    fn plan(&self, before: &State) -> Plan<State, bool> {
        let stop = before.running.then(|| self.0.how(before, "stop"));
        let changes = stop.into_iter().chain([self.0.how(before, "start")]).collect();
        Plan::Would { changes, output: true, after: None }
    }

    fn apply(&self, cx: &Cx<'_>, _before: &State) -> Result<bool> {
        self.0.bring(cx, false, STOP_TIMEOUT)?;
        self.0.bring(cx, true, START_TIMEOUT)?;
        Ok(true)
    }

    fn reconcile(&self, cx: &Cx<'_>, before: &State) -> Result<Reconciled<bool>> {
        let now = self.0.state(cx)?;
        // Where nothing tells that it is another start of it, a second restart costs seconds and is right either way.
        let another =
            !before.running || !before.instance.is_empty() && now.instance != before.instance;
        Ok(if now.up && another { Reconciled::Done(true) } else { Reconciled::Redo })
    }

    fn inverse(&self, before: &State) -> Inverse {
        if before.running {
            // A restart that was cut off in the middle must not leave it stopped.
            inverse_of(&Start(self.0.clone()))
        } else {
            inverse_of(&Stop(self.0.clone()))
        }
    }

    fn owes(&self, before: &State) -> Owes {
        if before.running { Owes::Meanwhile(self.0.debt()) } else { Owes::Closes(self.0.key()) }
    }
}

/// Tells whether a service runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Status(pub Service);

impl Query for Status {
    const NAME: &'static str = "service_status";
    type Output = State;

    fn summary(&self) -> String {
        format!("look at service {}", self.0.name)
    }

    fn ask(&self, cx: &Cx<'_>) -> Result<State> {
        self.0.state(cx)
    }

    fn result(&self, output: &State) -> Option<String> {
        Some(
            if output.up {
                "running"
            } else if output.running {
                "running, not up"
            } else {
                "stopped"
            }
            .to_owned(),
        )
    }
}

fn service(
    ctx: &NativeCallContext<'_>,
    name: &str,
    options: &Options<'_>,
) -> RhaiResultOf<Service> {
    let mut commands = lane(ctx)?.run().services.get(name).cloned().unwrap_or_default();
    for (key, slot) in [
        ("start", &mut commands.start),
        ("stop", &mut commands.stop),
        ("status", &mut commands.status),
        ("pid_file", &mut commands.pid_file),
        ("process", &mut commands.process),
        ("url", &mut commands.url),
        ("manager", &mut commands.manager),
    ] {
        if let Some(text) = options.text(key) {
            *slot = Some(text);
        }
    }
    if let Some(port) = options.int("port") {
        commands.port = Some(
            u16::try_from(port)
                .map_err(|_| options.wrong("port", &format!("{port} is no port")))?,
        );
    }
    if let Some(manager) = &commands.manager
        && !["systemd", "sysv", "commands"].contains(&manager.as_str())
    {
        return Err(
            options.wrong("manager", &format!("`{manager}` is none of systemd, sysv, commands"))
        );
    }
    let timeout_ms = options
        .duration("timeout")?
        .map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    Ok(Service { name: name.to_owned(), commands, timeout_ms, deadman: deadman(options)? })
}

/// Adds the family to the face of the language.
pub(super) fn register(face: &mut Face) {
    face.add(&STOP, |ctx: NativeCallContext<'_>, name: &str| {
        act(&ctx, &Stop(service(&ctx, name, &Options::none(&ctx, &STOP))?))
    });
    face.add(&STOP, |ctx: NativeCallContext<'_>, name: &str, options: Map| {
        act(&ctx, &Stop(service(&ctx, name, &Options::new(&ctx, &STOP, options)?)?))
    });
    face.add(&START, |ctx: NativeCallContext<'_>, name: &str| {
        act(&ctx, &Start(service(&ctx, name, &Options::none(&ctx, &START))?))
    });
    face.add(&START, |ctx: NativeCallContext<'_>, name: &str, options: Map| {
        act(&ctx, &Start(service(&ctx, name, &Options::new(&ctx, &START, options)?)?))
    });
    face.add(&RESTART, |ctx: NativeCallContext<'_>, name: &str| {
        act(&ctx, &Restart(service(&ctx, name, &Options::none(&ctx, &RESTART))?))
    });
    face.add(&RESTART, |ctx: NativeCallContext<'_>, name: &str, options: Map| {
        act(&ctx, &Restart(service(&ctx, name, &Options::new(&ctx, &RESTART, options)?)?))
    });
    face.add(&STATUS, |ctx: NativeCallContext<'_>, name: &str| status(&ctx, name, Map::new()));
    face.add(&STATUS, |ctx: NativeCallContext<'_>, name: &str, options: Map| {
        status(&ctx, name, options)
    });
    commands::register(face);
}

fn status(ctx: &NativeCallContext<'_>, name: &str, options: Map) -> RhaiResultOf<Dynamic> {
    let state = ask(ctx, Status(service(ctx, name, &Options::new(ctx, &STATUS, options)?)?))?;
    Ok(to_dynamic(
        serde_json::json!({ "running": state.running, "up": state.up, "manager": state.manager, "evidence": state.evidence }),
    ))
}

/// Makes the family's actions known, for undo from the record.
pub(super) fn actions(registry: &mut Registry) {
    registry.add::<Stop>();
    registry.add::<Start>();
    registry.add::<Restart>();
}

#[cfg(test)]
mod tests;
