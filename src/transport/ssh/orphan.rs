//! What a lost connection may have left on the target: commands that still run, or that its server would still start
//! from what it had been sent. Before anything else is done over the next connection, the server process of the lost
//! one is ended, and the commands that are tied to it have ended or are ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::exec::{Trouble, end_group, lost, short};
use super::handle::Link;
use crate::transport::{Cancel, Command, Sudo, TransportError};

/// How often what has time left is looked at.
const PAUSE: Duration = Duration::from_millis(200);

/// `$1` the server processes of lost connections, `PID:START` each, then the marks of commands, without their first
/// letters. Prints `MARK PID` for each that still runs: the shell that leads a command has its mark as an argument and
/// lives as long as the command. A server that is not a process for each connection is left alone.
const FIND: &str = r#"
stat() {
  line=; { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
  name=${line#*(}; name=${name%)*}
  set -- ${line##*) }
  [ $# -gt 19 ] || return 1
  group=$3; shift 19; born=$1
}
same() { stat "$1" && [ "$born" = "$2" ]; }
for s in $1; do
  pid=${s%%:*}; since=${s#*:}
  same "$pid" "$since" || continue
  case $name in sshd|sshd-session|dropbear) ;; *) continue ;; esac
  kill -s TERM "$pid" 2>/dev/null
  n=0
  while same "$pid" "$since"; do
    [ $n -lt 20 ] || kill -s KILL "$pid" 2>/dev/null
    [ $n -lt 30 ] || break
    n=$((n + 1)); sleep 0.1 2>/dev/null || sleep 1
  done
done
shift
for m; do
  for f in $(grep -lF "uh-$m" /proc/[0-9]*/cmdline 2>/dev/null); do
    pid=${f#/proc/}; pid=${pid%/cmdline}
    stat "$pid" && [ "$group" = "$pid" ] && echo "$m $pid"
  done
done
:
"#;

/// Who serves a connection at the other side, as the leader of a command says it in its first line:
/// `GROUP PARENT BOOT-ID STAT… SHELL`, the last but one being what `/proc/PARENT/stat` holds from the third field on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Served {
    /// The server process and when it started, in the kernel's ticks; none where that cannot be read.
    process: Option<(u32, u64)>,
    /// The boot id of the machine.
    pub(super) boot: Option<String>,
    /// Whether the login shell is one that reads no files of the user's and understands what we say to `sh`.
    pub(super) plain_shell: bool,
}

/// The login shells that are plain. With bash, a file of the user's may have redefined what our lines are made of.
const PLAIN: [&str; 5] = ["/bin/sh", "/usr/bin/sh", "/bin/dash", "/usr/bin/dash", "/bin/ash"];

impl Served {
    /// Reads the first line of a leader; none if it is something else.
    pub(super) fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let _group: u32 = words.next()?.parse().ok()?;
        let parent = words.next().and_then(|word| word.parse().ok());
        let boot = words.next().filter(|word| {
            word.len() == 36 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        });
        let started = words.nth(19).and_then(|word| word.parse().ok());
        let plain_shell = words.next_back().is_some_and(|shell| PLAIN.contains(&shell));
        Some(Self { process: parent.zip(started), boot: boot.map(str::to_owned), plain_shell })
    }
}

/// A command whose connection was lost, and that is given again.
#[derive(Clone, Debug)]
pub(super) struct Orphan {
    mark: String,
    link: u64,
    served: Option<Served>,
    sudo: Option<Sudo>,
    until: Instant,
}

impl PartialEq for Orphan {
    fn eq(&self, other: &Self) -> bool {
        self.mark == other.mark
    }
}

impl Orphan {
    /// Takes note of a command over `link`; it may take `grace` longer.
    pub(super) fn new(mark: &str, link: &Link, sudo: Option<Sudo>, grace: Duration) -> Self {
        // Without its beginning, so that what looks for it does not find itself.
        let mark = mark.rsplit('-').next().unwrap_or_default().to_owned();
        let served = link.served.get().cloned();
        Self { mark, link: link.id, served, sudo, until: Instant::now() + grace }
    }

    /// The server process of its connection, unless `link` is that connection.
    fn server(&self, link: &Link) -> Option<String> {
        let (pid, since) = self.served.as_ref()?.process?;
        (self.link != link.id).then(|| format!("{pid}:{since}"))
    }
}

/// Waits until none of the commands runs any more, ending those whose time is over.
pub(super) fn settle(link: &Arc<Link>, orphans: &[Orphan], cancel: &Cancel) -> Result<(), Trouble> {
    let mut servers: Vec<String> = orphans.iter().filter_map(|one| one.server(link)).collect();
    servers.dedup();
    let words: Vec<&str> = orphans.iter().map(|orphan| orphan.mark.as_str()).collect();
    let servers = servers.join(" ");
    let find = Command::script(FIND, std::iter::once(servers.as_str()).chain(words)).reading();
    loop {
        let exit = short(link, &find)?;
        if !exit.success() {
            let why = String::from_utf8_lossy(&exit.stderr).trim().to_owned();
            let why = format!("what the lost connection left running cannot be found: {why}");
            return Err(lost(link, &why).into());
        }
        let out = exit.out();
        let running: Vec<(&Orphan, &str)> = out
            .lines()
            .filter_map(|line| {
                let (mark, pid) = line.split_once(' ')?;
                let orphan = orphans.iter().find(|orphan| orphan.mark == mark)?;
                pid.bytes().all(|byte| byte.is_ascii_digit()).then_some((orphan, pid))
            })
            .collect();
        if running.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        for (orphan, pid) in &running {
            if now >= orphan.until {
                end_group(link, pid, orphan.sudo.as_ref())?;
            }
        }
        if cancel.sleep(PAUSE) {
            return Err(TransportError::Cancelled.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_tells_who_serves() {
        let boot = "0a1b2c3d-0000-4000-8000-0123456789ab";
        let stat = "S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 99 100";
        let served = Served::read(&format!("12 34 {boot} {stat} /bin/sh")).unwrap();
        assert_eq!(served.process, Some((34, 4711)));
        assert_eq!(served.boot.as_deref(), Some(boot));
        assert!(served.plain_shell);
        let served = Served::read(&format!("12 34 {boot} {stat} /bin/bash")).unwrap();
        assert!(!served.plain_shell);
        // Where /proc is not readable, or what it says is no boot id.
        let nothing = Served { process: None, boot: None, plain_shell: false };
        assert_eq!(Served::read("12 34 -  -").unwrap(), nothing);
        assert_eq!(Served::read("12").unwrap(), nothing);
        assert_eq!(Served::read("end 0"), None);
    }
}
