//! How targets stand before anything is begun: whether they are reached, who we are there, and what runbooks find.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::error::SessionError;
use super::inventory::Choice;
use super::open::{Session, Voice};
use super::prepare;
use crate::effect::{Target, Targets, side_by_side, tail};
use crate::error::Halt;
use crate::transport::{Cancel, Command, Exit, TransportError, sudo};

/// How long looking at a target may take, once it is reached.
const LIMIT: Duration = Duration::from_secs(60);

/// Prints a word and a value a line.
const LOOK: &str = r#"
LC_ALL=C; export LC_ALL
now=$(date +%s.%N); case $now in *[!0-9.]*) now=$(date +%s) ;; esac
echo "now $now"
echo "user $(id -un)"
if command -v rsync >/dev/null 2>&1; then echo "rsync $(rsync --version | sed -n '1s/^[^0-9]*\([^ ,]*\).*/\1/p')"; fi
if [ -d /run/systemd/system ]; then echo "services systemd"
elif [ -d /etc/init.d ]; then echo "services sysv"
fi
df -Pk / 2>/dev/null | awk 'NR == 2 { print "free " $4 }'
if [ -r /etc/os-release ]; then (. /etc/os-release; echo "system $PRETTY_NAME"); else echo "system $(uname -sr)"; fi
"#;

/// How a target stands.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The target.
    pub target: String,
    /// What was found; or why not.
    pub found: Result<Found, Trouble>,
}

/// What was found on a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// How long it took to reach it, host key and log-in included.
    pub reached: Duration,
    /// Who we are there.
    pub user: String,
    /// Whether we became that user by sudo.
    pub sudo: bool,
    /// The version of rsync; none if it is missing.
    pub rsync: Option<String>,
    /// `systemd`, `sysv`, or none of them.
    pub services: Option<String>,
    /// How far its clock is ahead of ours, in milliseconds, as far as the time of asking tells.
    pub skew_ms: i64,
    /// The free bytes of its root file system.
    pub free: Option<u64>,
    /// What it runs.
    pub system: String,
}

/// What is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// How far it got: `configuration`, `address`, `host key`, `log-in`, `sudo` or `commands`.
    pub at: &'static str,
    /// What is wrong.
    pub why: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Session {
    /// Looks at the targets that are chosen, at most `max` at once, and returns them in the order of the choice. Only reads.
    ///
    /// # Errors
    /// If the selector names no target. A target that cannot be reached is an answer.
    pub fn inspect(
        &self,
        choice: &Choice,
        max: usize,
        voice: &Voice,
    ) -> Result<Vec<Inspected>, SessionError> {
        let inventory = prepare::targets(self, voice)?;
        let names = choice.among(&inventory)?;
        let looked = side_by_side(names.len(), max, &|_| voice.cancel.is_cancelled(), &|index| {
            let found = inventory
                .get(&names[index])
                .map_err(unmade)
                .and_then(|target| look(&target, &voice.cancel));
            Inspected { target: names[index].clone(), found }
        });
        Ok(looked.into_iter().flatten().collect())
    }
}

fn look(target: &Target, cancel: &Cancel) -> Result<Found, Trouble> {
    let run = |command: &Command| -> Result<Exit, Trouble> {
        let exit = target
            .transport
            .exec(command, cancel, &mut |_, _| {})
            .map_err(|error| trouble(&error))?;
        if exit.success() { Ok(exit) } else { Err(refused(&exit)) }
    };
    let since = Instant::now();
    run(&Command::list(["true"]).reading().timeout(Some(LIMIT)))?;
    let reached = since.elapsed();
    // Over a connection that is there, so that its making is not taken for a clock that is wrong.
    let (asked, since) = (SystemTime::now(), Instant::now());
    let exit = run(&Command::script(LOOK, [""; 0]).reading().timeout(Some(LIMIT)))?;
    let mut found = Found { reached, sudo: target.sudo, ..Found::default() };
    found.read(&exit.out(), asked, since.elapsed());
    Ok(found)
}

impl Found {
    fn read(&mut self, out: &str, asked: SystemTime, took: Duration) {
        for line in out.lines() {
            let Some((word, value)) = line.split_once(' ') else { continue };
            let text = || value.trim().to_owned();
            match word {
                "now" => self.skew_ms = skew(value, asked, took),
                "user" => self.user = text(),
                "rsync" => self.rsync = Some(text()),
                "services" => self.services = Some(text()),
                "free" => self.free = value.trim().parse::<u64>().ok().map(|blocks| blocks << 10),
                "system" => self.system = text(),
                _ => {}
            }
        }
    }
}

/// How far a clock that showed `text` at some time during `took` after `asked` is ahead of ours; 0 if it may be right.
fn skew(text: &str, asked: SystemTime, took: Duration) -> i64 {
    let Ok(theirs) = text.trim().parse::<f64>() else { return 0 };
    let ours = asked.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    // A clock that only says seconds may be almost a second further.
    let unit = if text.contains('.') { 0.0 } else { 1.0 };
    let (early, late) = (theirs - ours - took.as_secs_f64(), theirs + unit - ours);
    let away = if early > 0.0 { early } else { late.min(0.0) };
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds of a clock; casts saturate")]
    let milliseconds = (away * 1000.0) as i64;
    milliseconds
}

/// Why there is no way to a target at all: what is configured does not do.
fn unmade(halt: Halt) -> Trouble {
    let at = "configuration";
    match halt {
        Halt::Failure(failure) => Trouble { at, why: failure.message, hint: failure.hint },
        stop @ Halt::Stop(_) => Trouble { at, why: stop.to_string(), hint: None },
    }
}

fn trouble(error: &TransportError) -> Trouble {
    let why = error.to_string();
    let (at, hint) = match error {
        TransportError::Auth { hint, .. } => ("log-in", hint.clone()),
        TransportError::HostKey { hint, .. } => ("host key", hint.clone()),
        TransportError::Connect { hint, .. } => ("address", hint.clone()),
        _ => ("commands", None),
    };
    Trouble { at, why, hint }
}

fn refused(exit: &Exit) -> Trouble {
    let said = tail(&exit.stderr);
    if let Some(refusal) = sudo::refusal(&said) {
        let hint = Some(refusal.hint.to_owned());
        return Trouble { at: "sudo", why: refusal.why.to_owned(), hint };
    }
    let why = match said.trim() {
        "" => format!("a command ended with status {}", exit.code()),
        said => said.to_owned(),
    };
    Trouble { at: "commands", why, hint: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_only_wrong_beyond_the_time_of_asking() {
        let asked = UNIX_EPOCH + Duration::from_secs(1000);
        let took = Duration::from_millis(200);
        for (text, expected) in [
            ("1000.1", 0),
            ("1000.2", 0),
            ("1000", 0),
            ("999", 0),
            ("1001.7", 1500),
            ("997.5", -2500),
            ("1003", 2800),
            ("997", -2000),
            ("soon", 0),
        ] {
            let found = skew(text, asked, took);
            assert!((found - expected).abs() <= 1, "{text}: {found}");
        }
    }

    #[test]
    fn this_machine_is_looked_at() {
        let local = std::sync::Arc::new(crate::transport::Local);
        let found = look(&Target::new("local", local), &Cancel::new()).unwrap();
        assert!(!found.user.is_empty() && !found.system.is_empty(), "{found:?}");
        assert!(found.free.is_some_and(|free| free > 0), "{found:?}");
        assert_eq!(found.skew_ms, 0);
    }
}
