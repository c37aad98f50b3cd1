//! Whether a service runs: by its manager, its process, its port, its URL or its own command.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Service;
use crate::effect::Cx;
use crate::error::{Failure, Halt, Kind, Result};
use crate::primitives::http;

/// What was found out about a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Whether anything of it runs.
    pub(super) running: bool,
    /// Whether everything that shows that it is up does so.
    pub(super) up: bool,
    /// What controls it: `systemd`, `sysv` or `commands`.
    pub(super) manager: String,
    /// What was looked at, and what it showed.
    pub(super) evidence: Vec<String>,
    /// What tells one start of it from the next; empty where nothing does.
    #[serde(default)]
    pub(super) instance: String,
}

/// Looks at a service: prints `manager WORD`, then a line `SOURCE yes|no|none DETAIL` per piece of evidence.
/// $1 name, $2 manager or empty, $3 pid file, $4 process pattern, $5 port, $6 own status line, $7 whether own commands exist.
pub(super) const LOOK: &str = r#"
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
    /// The arguments of [`LOOK`].
    pub(super) fn words(&self) -> [String; 7] {
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

    /// Looks at it.
    ///
    /// # Errors
    /// `not_found` if there is no such service; `input` if nothing tells whether it runs.
    pub(super) fn state(&self, cx: &Cx<'_>) -> Result<State> {
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
}

pub(super) fn parse(out: &str) -> State {
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
