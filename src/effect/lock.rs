//! One run per target: a record on the target says which run holds it, and carries a fencing token, the epoch. Every
//! command that changes something checks it first, in the same shell, so a controller that wakes up late cannot act.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::context::Cx;
use super::run::{Mode, Run};
use super::target::Target;
use crate::error::{Failure, Halt, Kind, Result, Stop};
use crate::event::Status;
use crate::transport::{Cancel, Command, Fence, TransportError};

/// How long a look at the record counts, for changes that are not commands on the target.
const FRESH: Duration = Duration::from_secs(10);
/// How many records a target may list.
const LISTED: usize = 100;
/// How long our scripts may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Where the record is unless it is said otherwise: it survives a reboot there.
pub const LOCK_DIR: &str = "/var/tmp";

/// The beginning of the scripts: `$1` directory; sets `d` and `h`, the record. Its first line is `EPOCH RUN PROCESS`;
/// then come operator, since, why and controller, a line each. Everybody may read it: commands run as other users, too.
macro_rules! script {
    ($body:expr) => {
        concat!(
            r#"
u=$(id -u) || exit
d=$1/upgrade-host-lock-$u; h=$d/holder
if [ -L "$d" ]; then echo "$d is a symbolic link" >&2; exit 1; fi
own() {
  o=$(stat -c %u "$d" 2>/dev/null) || o=$(ls -ldn "$d" 2>/dev/null | { read -r m l o r; echo "$o"; })
  # Who gives the target back just now, by this name or another, removes it.
  [ "$o" = "$u" ] || [ ! -d "$d" ] || { echo "$d belongs to somebody else" >&2; exit 1; }
}
holder() { e= r= p=; { read -r e r p <"$h"; } 2>/dev/null; }
"#,
            $body
        )
    };
}

/// `$2` run, `$3` process, `$4` the least epoch, `$5` to `$8` the other lines, `$9` the run that may be displaced, or `*`.
/// Prints `held EPOCH PATH [DISPLACED]` and, where there are any, `switches`; or `other` and the record.
const TAKE: &str = script!(
    r#"
umask 022
t=$d/.$$.new
write() {
  printf '%s %s %s\n%s\n%s\n%s\n%s\n' "$1" "$2" "$3" "$5" "$6" "$7" "$8" >"$t" && return
  [ ! -d "$d" ] || { rm -f "$t"; exit 1; }
  return 1
}
held() {
  echo "held $*"
  [ ! -d "/var/tmp/upgrade-host-$u/deadman" ] || echo switches
  exit 0
}
n=0
while [ "$n" -lt 20 ]; do
  n=$((n+1))
  mkdir -p "$d" || exit
  own
  holder
  if [ -z "$r" ]; then
    [ ! -e "$h" ] || rm -f "$h"
    write "$4" "$2" "$3" "" "$5" "$6" "$7" "$8" || continue
    # A link is made or not: of many takers one wins.
    if ln "$t" "$h" 2>/dev/null; then rm -f "$t"; held "$4" "$h"; fi
    rm -f "$t"
  elif [ "$r" = "$2" ] && [ "$p" = "$3" ]; then
    held "$e" "$h"
  elif [ "$r" = "$2" ] || [ "$9" = '*' ] || [ "$9" = "$r" ]; then
    was=; [ "$r" = "$2" ] || was=$r
    case $e in ''|*[!0-9]*) e=0 ;; esac
    e=$((e+1)); [ "$e" -ge "$4" ] || e=$4
    write "$e" "$2" "$3" "" "$5" "$6" "$7" "$8" || continue
    mv -f "$t" "$h" || exit
    holder
    if [ "$r $p" = "$2 $3" ]; then held "$e" "$h" "$was"; fi
  else
    echo other; head -c 4000 "$h"; exit 0
  fi
done
echo "the record at $h changes all the time" >&2
exit 1
"#
);

/// `$2` epoch or `*`, `$3` run. Removes the record if it is still this one.
const RELEASE: &str = script!(
    r#"
[ -d "$d" ] || exit 0
own
holder
[ "$2" != '*' ] || e='*'
[ "$e $r" != "$2 $3" ] || rm -f "$h" || exit
rmdir "$d" 2>/dev/null || :
"#
);

/// `$1` the record. Prints its first line.
const CONFIRM: &str = r#"{ read -r e r p <"$1"; } 2>/dev/null; echo "$e $r""#;

/// `$1` directory. Prints every record that can be read, after a line `=`.
const LIST: &str = r#"
for h in "$1"/upgrade-host-lock-[0-9]*/holder; do
  [ -f "$h" ] && [ ! -L "${h%/*}" ] || continue
  echo =; head -c 4000 "$h"
done
"#;

/// Who holds a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// The epoch.
    pub epoch: String,
    /// The run.
    pub run: String,
    /// Who started it, and where.
    pub operator: String,
    /// Since when.
    pub since: String,
    /// The title of the runbook.
    pub why: String,
    /// Whose journal knows the run: machine and directory.
    pub controller: String,
}

impl Holder {
    /// Reads the records as a target lists them.
    fn list(out: &str) -> Vec<Self> {
        out.split("=\n").skip(1).take(LISTED).map(Self::read).collect()
    }

    /// Reads a record as a target sent it.
    fn read(text: &str) -> Self {
        let mut lines = text.lines().map(clean);
        let first = lines.next().unwrap_or_default();
        let mut words = first.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let mut line = || lines.next().unwrap_or_default();
        Self {
            epoch: word(),
            run: word(),
            operator: line(),
            since: line(),
            why: line(),
            controller: line(),
        }
    }
}

impl Holder {
    /// Returns whether the journal of `run` knows that this one is over.
    fn is_over(&self, run: &Run) -> bool {
        self.controller == run.locks.controller
            && run.store.as_ref().is_some_and(|store| {
                store.find(&self.run).is_ok_and(|found| {
                    found.id == self.run
                        && matches!(found.status, Status::Done | Status::RolledBack)
                        && !store.is_held(&found.id)
                })
            })
    }
}

/// Takes out of a word or line of a target what has no business in a message.
fn clean(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(200).collect()
}

/// What a target says to one who takes it.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// It is his.
    Held {
        epoch: String,
        /// Where the record is.
        path: String,
        /// The run that it was taken from, or nothing.
        displaced: String,
        /// Whether there are dead-man switches.
        switches: bool,
    },
    /// Another has it.
    Other(Holder),
}

impl Answer {
    fn read(out: &str) -> Option<Self> {
        if let Some(record) = out.strip_prefix("other\n") {
            return Some(Self::Other(Holder::read(record)));
        }
        let (line, more) = out.strip_prefix("held ")?.split_once('\n')?;
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (epoch, path, displaced) = (word(), word(), word());
        let sound = !epoch.is_empty()
            && epoch.len() <= 20
            && epoch.bytes().all(|byte| byte.is_ascii_digit())
            && path.starts_with('/')
            && path.len() < 4096
            && !path.contains(char::is_control);
        sound.then(|| Self::Held {
            epoch: epoch.to_owned(),
            path: path.to_owned(),
            displaced: clean(displaced),
            switches: more.lines().any(|line| line == "switches"),
        })
    }
}

/// What a run holds.
#[derive(Clone, Debug)]
struct Held {
    target: Arc<Target>,
    path: String,
    epoch: String,
    confirmed: Instant,
}

/// The locks of a run.
pub struct Locks {
    /// The directory on targets in which the records are.
    pub dir: String,
    /// Whether a target that another run holds is taken from it.
    pub take_over: bool,
    /// Whose journal this is: machine and directory.
    pub controller: String,
    /// Who runs it.
    pub operator: String,
    /// What for.
    pub why: String,
    /// What no other process has.
    pub process: String,
    /// The least epoch that it takes, the same for all: two names may be those of one machine, taken at once.
    epoch: OnceLock<String>,
    held: Mutex<BTreeMap<String, Held>>,
    /// One for each target: lanes that begin side by side must not each take it, with an epoch each.
    taking: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
}

impl fmt::Debug for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locks").field("held", &self.held().keys()).finish_non_exhaustive()
    }
}

impl Locks {
    /// Makes the locks of a run that holds nothing yet.
    pub fn new(dir: impl Into<String>, controller: impl Into<String>, take_over: bool) -> Self {
        use std::hash::{BuildHasher, Hasher};
        let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
        Self {
            dir: dir.into(),
            take_over,
            controller: controller.into(),
            operator: String::new(),
            why: String::new(),
            process: format!("{random:016x}"),
            epoch: OnceLock::new(),
            held: Mutex::default(),
            taking: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taking(&self, target: &str) -> Arc<Mutex<()>> {
        let mut taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(taking.entry(target.to_owned()).or_default())
    }

    fn fence(&self, target: &str, run: &str) -> Option<Fence> {
        let held = self.held();
        let held = held.get(target)?;
        let holder = format!("{} {run}", held.epoch);
        Some(Fence { path: held.path.clone(), holder, boot: None })
    }

    fn confirmed(&self, target: &str) {
        if let Some(held) = self.held().get_mut(target) {
            held.confirmed = Instant::now();
        }
    }

    /// Gives all targets back, also those that only an earlier process of the run may have taken; returns which could not
    /// be, and why.
    fn release(&self, run: &Run) -> Vec<(String, String)> {
        let held = std::mem::take(&mut *self.held());
        let touched = run.touched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let earlier = touched.into_values().map(|touched| (touched.target, "*".to_owned()));
        let mut all: BTreeMap<String, (Arc<Target>, String)> =
            earlier.map(|held| (held.0.name.clone(), held)).collect();
        all.extend(held.into_iter().map(|(name, held)| (name, (held.target, held.epoch))));
        let command = |epoch: &String| {
            Command::script(RELEASE, [&self.dir, epoch, &run.id]).timeout(Some(LIMIT))
        };
        let all: Vec<_> =
            all.into_values().map(|(target, epoch)| (target, command(&epoch))).collect();
        run.exec_last(&all)
    }
}

/// Lists who holds a target.
///
/// # Errors
/// As [`crate::transport::Transport::exec`].
pub fn holders(target: &Target, dir: &str, cancel: &Cancel) -> Result<Vec<Holder>, TransportError> {
    let command = Command::script(LIST, [dir]).reading().timeout(Some(LIMIT));
    let exit = target.transport.exec(&command, cancel, &mut |_, _| {})?;
    Ok(Holder::list(&exit.out()))
}

impl Cx<'_> {
    /// Makes sure that the run holds the target, before anything is changed there.
    ///
    /// # Errors
    /// `conflict` with who holds it; [`Stop::Fenced`] if it was taken from this run.
    pub(super) fn lock(&self) -> Result<()> {
        let run = self.lane.run();
        if run.mode == Mode::Plan {
            return Ok(());
        }
        let held = run.locks.held().get(&self.target.name).cloned();
        match held {
            Some(held) if held.confirmed.elapsed() < FRESH => Ok(()),
            Some(held) => {
                let said = self.read_script(CONFIRM, [held.path.as_str()])?;
                if said.trim_end() == format!("{} {}", held.epoch, run.id) {
                    run.locks.confirmed(&self.target.name);
                    Ok(())
                } else {
                    Err(self.fenced(said.trim_end()))
                }
            }
            None => {
                let taking = run.locks.taking(&self.target.name);
                let _alone = taking.lock().unwrap_or_else(PoisonError::into_inner);
                // Another lane may have taken it meanwhile.
                if run.locks.held().contains_key(&self.target.name) {
                    return Ok(());
                }
                self.take(run)
            }
        }
    }

    fn take(&self, run: &Run) -> Result<()> {
        let locks = &run.locks;
        let mut displace = if locks.take_over { "*".to_owned() } else { String::new() };
        loop {
            let line = |text: &str| text.replace(['\n', '\0'], " ");
            let command = Command::script(
                TAKE,
                [
                    locks.dir.clone(),
                    run.id.clone(),
                    locks.process.clone(),
                    locks.epoch.get_or_init(|| self.now().as_millisecond().to_string()).clone(),
                    line(&locks.operator),
                    format!("{:.0}", self.now()),
                    line(&run.redactor.text(&locks.why)),
                    line(&locks.controller),
                    displace.clone(),
                ],
            )
            .timeout(Some(LIMIT));
            let exit = self
                .target
                .transport
                .exec(&command, &run.cancel, &mut |_, _| {})
                .map_err(|error| self.failed(error, None))?;
            let holder = match Answer::read(&exit.out()) {
                Some(Answer::Held { epoch, path, displaced, switches }) => {
                    let target = Arc::clone(&self.target);
                    let held = Held { target, path, epoch, confirmed: Instant::now() };
                    locks.held().insert(self.target.name.clone(), held);
                    if !displaced.is_empty() {
                        self.warn(format!(
                            "{} was taken over from run {displaced}, which cannot act there any more",
                            self.target.name
                        ));
                    }
                    return if switches { super::deadman::warn_of_others(self) } else { Ok(()) };
                }
                Some(Answer::Other(holder)) => holder,
                None => {
                    let mut failure = self.exit_failure(&command, &exit);
                    failure.message =
                        format!("the lock record cannot be written: {}", failure.message);
                    failure.command = None;
                    return Err(failure.into());
                }
            };
            // What this very journal knows to be over, and could not give back, is in nobody's way.
            if displace.is_empty() && holder.is_over(run) {
                displace.clone_from(&holder.run);
                continue;
            }
            return Err(self.taken(&holder).into());
        }
    }

    fn taken(&self, holder: &Holder) -> Failure {
        let message = format!(
            "{} is held by run {} of {} since {} ({}), on {}",
            self.target.name,
            holder.run,
            holder.operator,
            holder.since,
            holder.why,
            holder.controller
        );
        let short = holder.run.rsplit('-').next().unwrap_or(&holder.run);
        Failure::new(Kind::Conflict, message).with_target(&self.target.name).with_hint(format!(
            "Resume it or roll it back there (`upgrade-host resume {short}`), or take the target from it with --take-over."
        ))
    }

    /// Returns the stop of a run that does not hold the target any more.
    pub(super) fn fenced(&self, holder: &str) -> Halt {
        let by = match holder.split(' ').nth(1) {
            Some(run) if !run.is_empty() => format!("run {} has taken it over", clean(run)),
            _ => "its lock record is gone".to_owned(),
        };
        Stop::Fenced(format!(
            "{} is not held by this run any more: {by}; nothing more was done there",
            self.target.name
        ))
        .into()
    }

    /// Puts the fence in front of a command that changes something.
    pub(super) fn fence(&self, command: &Command) -> Command {
        let run = self.lane.run();
        let boot = self.boot();
        let fence = run.locks.fence(&self.target.name, &run.id);
        Command { fence: fence.map(|fence| Fence { boot, ..fence }), ..command.clone() }
    }

    /// Returns the boot of the target in which changes there are right; none if any is.
    pub(crate) fn boot(&self) -> Option<String> {
        self.lane.aside().or_else(|| self.lane.run().off.boot(&self.target.name))
    }

    /// Returns whether this switches something off again beside what the script does.
    #[cfg(test)]
    pub(crate) fn is_aside(&self) -> bool {
        self.lane.aside().is_some()
    }

    /// Takes note of how a command with a fence ended.
    ///
    /// # Errors
    /// [`Stop::Fenced`] if the fence held it back; a failure marked as lost if it did so because of a reboot.
    pub(super) fn passed(&self, command: &Command, exit: &crate::transport::Exit) -> Result<()> {
        let Some(fence) = &command.fence else { return Ok(()) };
        if let Some(holder) = fence.stopped(exit) {
            return Err(self.fenced(&holder));
        }
        if fence.rebooted(exit) {
            self.lane.run().off.doubt(&self.target.name);
            let message =
                format!("{} was rebooted meanwhile; this was not begun", self.target.name);
            let mut failure = Failure::new(Kind::Connect, message).with_target(&self.target.name);
            failure.lost = true;
            return Err(failure.into());
        }
        self.lane.run().locks.confirmed(&self.target.name);
        Ok(())
    }
}

impl Run {
    /// Gives all targets back. Returns which could not be given back, and why.
    pub fn unlock(&self) -> Vec<(String, String)> {
        self.locks.release(self)
    }
}

/// Records of locks that anybody may have written, as a target lists them or answers with them: what is kept of them is
/// short and fit for a message, and the fence is a path and a number.
///
/// # Panics
/// If that does not hold.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let is_sound = |text: &str| text.chars().count() <= 200 && !text.contains(char::is_control);
    let holder_is_sound = |it: &Holder| {
        [&it.epoch, &it.run, &it.operator, &it.since, &it.why, &it.controller]
            .into_iter()
            .all(|text| is_sound(text))
    };
    let listed = Holder::list(&text);
    assert!(listed.len() <= LISTED && listed.iter().all(holder_is_sound), "{listed:?}");
    match Answer::read(&text) {
        Some(Answer::Held { epoch, path, displaced, .. }) => {
            assert!(epoch.bytes().all(|byte| byte.is_ascii_digit()), "{epoch:?}");
            assert!(path.starts_with('/') && !path.contains(char::is_control), "{path:?}");
            assert!(is_sound(&displaced), "{displaced:?}");
        }
        Some(Answer::Other(holder)) => assert!(holder_is_sound(&holder), "{holder:?}"),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_given_back_meanwhile_is_in_nobodys_way() {
        use std::os::unix::fs::PermissionsExt as _;
        for script in [TAKE, RELEASE] {
            let dir = tempfile::tempdir().unwrap();
            let at = dir.path().display().to_string();
            let user = rustix::process::getuid().as_raw();
            let record = dir.path().join(format!("upgrade-host-lock-{user}"));
            std::fs::create_dir(&record).unwrap();
            // It goes away right when it is looked at, once.
            let stat = format!(
                "#!/bin/sh\nrmdir {} 2>/dev/null\nrm -f \"$0\"\nexit 1\n",
                record.display()
            );
            std::fs::write(dir.path().join("stat"), stat).unwrap();
            let executable = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(dir.path().join("stat"), executable).unwrap();

            let exit = std::process::Command::new("timeout")
                .args(["30", "sh", "-c", script, "sh", &at])
                .args(["run-a", "process", "7", "me", "now", "why", "here", ""])
                .env("PATH", format!("{at}:/usr/bin:/bin"))
                .output()
                .unwrap();

            assert!(exit.status.success(), "{exit:?}");
            let taken = String::from_utf8_lossy(&exit.stdout).starts_with("held 7 ");
            assert_eq!(taken, script == TAKE, "{exit:?}");
        }
    }
}
