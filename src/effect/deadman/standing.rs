//! The switches that stand on a target, as the target knows them: for those who did not arm them.

use std::time::Duration;

use jiff::Timestamp;

use super::{Found, parse, shell};
use crate::effect::context::Cx;
use crate::effect::tail;
use crate::effect::target::Target;
use crate::error::Result;
use crate::event::What;
use crate::journal::Body;
use crate::transport::{Cancel, Command, TransportError};

/// How long our scripts may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How many switches a target may name.
const LISTED: usize = 1000;

/// A switch on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its name there.
    id: String,
    /// The run that armed it.
    pub run: String,
    /// Whether it waits; one that does not has fired, is firing, or lost what was to fire it.
    pub armed: bool,
    /// When it fires.
    pub due: Timestamp,
    /// What it takes back, for people.
    pub what: String,
}

impl Standing {
    /// Reads the list as a target sent it.
    pub(super) fn list(out: &str) -> Vec<Self> {
        out.lines().take(LISTED).filter_map(Self::read).collect()
    }

    /// Reads a line of the list. A name that holds no run's id is not one of ours.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.splitn(4, ' ');
        let id = words.next()?;
        let (run, stem) = id.rsplit_once('-')?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if run.is_empty() || id.len() > 100 || stem.len() != 16 || !id.bytes().all(fits) {
            return None;
        }
        let armed = words.next()? == "armed";
        let due = words.next()?.parse().ok().and_then(|at| Timestamp::from_second(at).ok())?;
        let what = words.next().unwrap_or_default();
        let what = what.chars().filter(|letter| !letter.is_control()).take(300).collect();
        Some(Self { id: id.to_owned(), run: run.to_owned(), armed, due, what })
    }
}

/// Lists the switches on a target that are the acting user's: all of them, or those of runs whose lock records are in the
/// directory `locks`.
///
/// # Errors
/// As [`crate::transport::Transport::exec`].
pub fn standing(
    target: &Target,
    locks: Option<&str>,
    cancel: &Cancel,
) -> Result<Vec<Standing>, TransportError> {
    let locks = locks.unwrap_or_default();
    let command = Command::script(&shell::list(), [locks]).reading().timeout(Some(LIMIT));
    let exit = target.transport.exec(&command, cancel, &mut |_, _| {})?;
    Ok(Standing::list(&exit.out()))
}

/// Removes a switch without firing it.
///
/// # Errors
/// Why it is still there.
pub fn dismiss(target: &Target, it: &Standing, cancel: &Cancel) -> Result<(), String> {
    let command = Command::script(&shell::disarm(), [it.id.as_str(), "clear"]).timeout(Some(LIMIT));
    let exit = target
        .transport
        .exec(&command, cancel, &mut |_, _| {})
        .map_err(|error| error.to_string())?;
    match parse(&exit.out()) {
        _ if !exit.success() => Err(tail(&exit.stderr).trim().to_owned()),
        Found::Firing => Err(format!("its dead-man switch is just firing: {}", it.what)),
        _ => Ok(()),
    }
}

/// Warns of the switches that other runs armed on a target which this run takes. They stay armed, for what they take
/// back is still off, and it is those runs' to settle it; but none moves its deadline on while this run holds the target.
///
/// # Errors
/// If the target cannot be asked, or the journal fails.
pub(in crate::effect) fn warn_of_others(cx: &Cx<'_>) -> Result<()> {
    let run = cx.lane.run();
    let all = standing(&cx.target, Some(&run.locks.dir), &run.cancel)
        .map_err(|error| cx.failed(error, None))?;
    for it in all.into_iter().filter(|it| it.run != run.id && it.armed) {
        let at = it.due.strftime("%Y-%m-%d %H:%M:%S UTC");
        let short = it.run.rsplit('-').next().unwrap_or(&it.run);
        let text = run.redactor.text(&format!(
            "a dead-man switch of run {} is armed on {}: {}, taken back at {at} whatever this run does; where that run is known, `upgrade-host rollback {short}` does it before",
            it.run, cx.target.name, it.what
        ));
        if let Some(store) = &run.store {
            store.append(&run.id, Body::Note { text: text.clone(), warning: true })?;
        }
        cx.lane.emit(What::Warning { text });
    }
    Ok(())
}

/// What a target says of the switches on it, which it may have made up: each names a run of ours and is fit for a message.
///
/// # Panics
/// If that does not hold.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for it in Standing::list(&text) {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        assert!(!it.run.is_empty() && it.id.len() <= 100 && it.id.bytes().all(fits), "{it:?}");
        assert!(it.what.chars().count() <= 300 && !it.what.contains(char::is_control), "{it:?}");
        assert!(!it.due.strftime("%Y-%m-%d %H:%M:%S UTC").to_string().is_empty());
    }
    if let Found::Fired(at, status) = parse(&text) {
        assert!(!crate::event::DeadmanState::Fired { at, status }.say("x").is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_target_that_is_none_of_ours_is_passed_over() {
        let id = "20261122-2020-k3f9-0123456789abcdef";
        let read = Standing::read(&format!("{id} armed 1700000000 take eth1 down")).unwrap();
        assert_eq!((read.run.as_str(), read.armed), ("20261122-2020-k3f9", true));
        assert_eq!(read.what, "take eth1 down");
        assert_eq!(Standing::read(&format!("{id} dead 0 ")).map(|it| it.armed), Some(false));
        for line in ["", "x", "../../etc-0123456789abcdef armed 1 x", &format!("{id} armed soon x")]
        {
            assert_eq!(Standing::read(line), None, "{line}");
        }
    }
}
