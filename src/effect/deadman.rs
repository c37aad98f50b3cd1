//! Dead-man switches: the inverse of a change, armed on the target before the change, so that it takes itself back if we
//! are not there any more to do it. While the process lives and reaches the target it moves the deadline on; the opposite
//! call disarms it over a new connection, which proves that the way in works; one that fired is found at the next contact.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::context::{Cx, stem};
use super::run::Run;
use super::side_by_side::{AT_ONCE, side_by_side};
use crate::call::CallKey;
use crate::error::{Failure, Halt, Kind, Result, Stop};
use crate::event::{DeadmanState, What};
use crate::journal::DebtChange;
use crate::secret::Secret;
use crate::transport::Command;

mod keep;
mod shell;
mod standing;
mod state;

use keep::keep;
#[cfg(any(test, fuzzing))]
pub use standing::fuzz;
pub(super) use standing::warn_of_others;
pub use standing::{Standing, dismiss, standing};
use state::Armed;
pub use state::Switches;

/// How long one of our scripts may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a switch that is just firing is waited for.
const FIRING: Duration = Duration::from_secs(180);
/// The pause between two looks of a keeper at what is to be extended.
const TICK: Duration = Duration::from_millis(250);

/// What a runbook asks for with the option `deadman`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadman {
    /// How long the target waits for us, in milliseconds.
    pub after_ms: u64,
    /// Whether the deadline stands as it is, instead of moving on as long as we are there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fixed: bool,
}

/// A switch as an action wants it armed.
#[derive(Clone, Debug)]
pub struct Switch {
    /// When it fires.
    pub deadman: Deadman,
    /// What takes the change back, as shell text for the target. It ends with 0 if it did.
    pub inverse: String,
    /// What it reads, by name (letters and `_`): files of mode 0600 in the directory `$UH_FILES`, which are there as long
    /// as the switch is armed.
    pub files: BTreeMap<String, Secret>,
}

impl Switch {
    /// Makes one whose inverse needs no files.
    pub fn new(deadman: Deadman, inverse: String) -> Self {
        Self { deadman, inverse, files: BTreeMap::new() }
    }
}

/// What a look at a switch found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// It is armed.
    Armed,
    /// There is none.
    Nothing,
    /// It was armed, and what was to fire it is gone.
    Dead,
    /// It is taking the change back right now.
    Firing,
    /// It took the change back.
    Fired(Timestamp, Option<i32>),
}

fn id(run: &Run, call: &CallKey) -> String {
    format!("{}-{}", run.id, stem(&call.to_string()))
}

fn seconds(deadman: Deadman) -> String {
    deadman.after_ms.div_ceil(1000).max(1).to_string()
}

fn due(run: &Run, deadman: Deadman) -> Timestamp {
    let after = jiff::SignedDuration::from_millis(i64::try_from(deadman.after_ms).unwrap_or(0));
    run.clock.now().checked_add(after).unwrap_or(Timestamp::MAX)
}

/// Writes what became of a switch, durable, with what it means for the obligation, and tells it.
fn note(cx: &Cx<'_>, it: &Armed, now: DeadmanState) -> Result<()> {
    let run = cx.lane.run();
    let met = matches!(now, DeadmanState::Fired { status: Some(0), .. });
    let closes = it.key.clone().filter(|_| met);
    let body = it.record(now.clone());
    let debts = closes
        .iter()
        .map(|key| DebtChange::Close { target: it.target.clone(), key: key.clone() })
        .collect();
    if let Some(store) = &run.store {
        store.append_durable(&run.id, body, debts)?;
    }
    let at = if let DeadmanState::Fired { at, .. } = &now { *at } else { run.clock.now() };
    if !matches!(now, DeadmanState::Arming { .. }) {
        cx.lane.emit(What::Deadman { what: it.what.clone(), state: now });
    }
    if let Some(key) = &closes {
        cx.lane.met(&it.target, key, at, None);
    }
    Ok(())
}

/// Arms a switch and makes sure that it is. May be called again for the same call.
pub(super) fn arm(cx: &Cx<'_>, switch: &Switch, key: Option<String>, what: String) -> Result<()> {
    let run = cx.lane.run();
    let deadman = switch.deadman;
    let target = cx.target.name.clone();
    let mut armed = Armed::new(cx.call.clone(), target, key, what, deadman, due(run, deadman));
    note(cx, &armed, DeadmanState::Arming { due: armed.due })?;
    {
        let mut state = run.switches.state();
        state.taken.remove(&cx.call.to_string());
        state.armed.insert(cx.call.to_string(), armed.clone());
    }
    let files = switch.files.keys().map(String::as_str).collect::<Vec<_>>().join(" ");
    let what = armed.what.replace('\n', " ");
    let words = [
        id(run, cx.call),
        seconds(deadman),
        shell::FIRE.to_owned(),
        what,
        files,
        run.locks.dir.clone(),
    ];
    let command = Command::script(&shell::arm(), words)
        .stdin(shell::bundle(&switch.inverse, &switch.files))
        .timeout(Some(LIMIT));
    let exit = cx.quiet(&command)?;
    let said = exit.out();
    let by = said.lines().find_map(|line| line.strip_prefix("armed "));
    let Some(by) = by.filter(|_| exit.success()) else {
        let mut failure = cx.exit_failure(&command, &exit);
        let last = failure.stderr.lines().last().unwrap_or("no reason was given").to_owned();
        failure.message =
            format!("the dead-man switch cannot be armed, so nothing was done: {last}");
        failure.command = None;
        return Err(failure.into());
    };
    armed.due = due(run, deadman);
    armed.doubt = false;
    let (by, reboot) = match by {
        "systemd" => ("systemd", true),
        "at" => ("at", true),
        _ => ("sh", false),
    };
    armed.by = Some((by.to_owned(), reboot));
    let now = DeadmanState::Armed { due: armed.due, by: by.to_owned(), reboot };
    note(cx, &armed, now)?;
    run.switches.state().armed.insert(cx.call.to_string(), armed);
    keep(run, &cx.target.name);
    Ok(())
}

/// Asks the target about each switch on it that is in doubt, and notes what is found.
pub(super) fn look(cx: &Cx<'_>) -> Result<()> {
    let run = cx.lane.run();
    for it in run.switches.doubtful(&cx.target.name, run.clock.now()) {
        let since = Instant::now();
        let mut told = false;
        let found = loop {
            let found = parse(&cx.read_script(&shell::look(), [id(run, &it.call)])?);
            if found != Found::Firing || since.elapsed() > FIRING {
                break found;
            }
            if !std::mem::replace(&mut told, true) {
                cx.warn(format!("a dead-man switch is just firing, waiting for it: {}", it.what));
            }
            cx.sleep(TICK)?;
        };
        settle(cx, &it, found)?;
    }
    Ok(())
}

/// Returns whether a switch has taken the call back already, so that its undo must not run a second time.
pub(super) fn took_back(cx: &Cx<'_>) -> Result<bool> {
    look(cx)?;
    Ok(cx.lane.run().switches.has_taken(cx.call))
}

fn settle(cx: &Cx<'_>, it: &Armed, found: Found) -> Result<()> {
    let run = cx.lane.run();
    let name = it.call.to_string();
    let now = match found {
        Found::Armed => {
            if let Some(armed) = run.switches.state().armed.get_mut(&name) {
                armed.doubt = false;
            }
            keep(run, &it.target);
            return Ok(());
        }
        Found::Nothing | Found::Dead => DeadmanState::Gone,
        Found::Firing => DeadmanState::Fired { at: run.clock.now(), status: None },
        Found::Fired(at, status) => DeadmanState::Fired { at, status },
    };
    note(cx, it, now.clone())?;
    {
        let mut state = run.switches.state();
        state.armed.remove(&name);
        state.took(&it.call, it.key.as_deref(), &now);
        if matches!(now, DeadmanState::Fired { .. }) {
            state
                .fired
                .insert(it.target.clone(), format!("{} on {}", now.say(&it.what), it.target));
        }
    }
    if found != Found::Firing {
        // It is on record now; what is left of it on the target is of no use to anybody, whoever holds the target.
        let clear = Command::script(&shell::disarm(), [id(run, &it.call), "clear".to_owned()]);
        cx.target
            .transport
            .exec(&clear.timeout(Some(LIMIT)), &run.cancel, &mut |_, _| {})
            .map_err(|error| cx.failed(error, None))?;
    }
    Ok(())
}

/// Disarms what belongs to an obligation that is met now, over a new connection.
pub(super) fn disarm(cx: &Cx<'_>, key: &str) -> Result<()> {
    for it in cx.lane.run().switches.of(&cx.target.name, key) {
        disarm_one(cx, &it)?;
    }
    Ok(())
}

fn disarm_one(cx: &Cx<'_>, it: &Armed) -> Result<()> {
    let run = cx.lane.run();
    let fresh = cx.target.transport.fresh();
    let transport = fresh.as_ref().unwrap_or(&cx.target.transport);
    let command =
        Command::script(&shell::disarm(), [id(run, &it.call), String::new()]).timeout(Some(LIMIT));
    let exit = transport
        .exec(&command, &run.cancel, &mut |_, _| {})
        .map_err(|error| cx.failed(error, None))?;
    if !exit.success() {
        let said = super::exec::tail(&exit.stderr);
        let message =
            format!("the dead-man switch of {} cannot be disarmed: {}", it.what, said.trim());
        return Err(Failure::new(Kind::Exit, message).with_target(&it.target).into());
    }
    match parse(&exit.out()) {
        Found::Armed | Found::Nothing | Found::Dead => {
            run.switches.state().armed.remove(&it.call.to_string());
            note(cx, it, DeadmanState::Disarmed)
        }
        Found::Firing => {
            run.switches.doubt(&it.target);
            look(cx)
        }
        found @ Found::Fired(..) => settle(cx, it, found),
    }
}

/// Asks every target with an armed switch whether it fired, when the script has come to its end.
///
/// # Errors
/// [`Stop::Fired`] if one did; the failure of a target that cannot be asked.
pub fn look_all(lane: &super::Lane) -> Result<()> {
    on_all(lane, &|cx, it| {
        cx.lane.run().switches.doubt(&it.target);
        look(cx)
    })
}

/// Disarms every switch of the run that is left, when the run has come to its end.
///
/// # Errors
/// The failure of the first that could not be disarmed; [`Stop::Fired`] if one fired meanwhile.
pub fn disarm_all(lane: &super::Lane) -> Result<()> {
    on_all(lane, &disarm_one)
}

/// Does this with every armed switch, the targets side by side. Of several failures the others are told.
fn on_all(lane: &super::Lane, work: &(dyn Fn(&Cx<'_>, &Armed) -> Result<()> + Sync)) -> Result<()> {
    let run = lane.run();
    let mut targets: BTreeMap<String, Vec<Armed>> = BTreeMap::new();
    for it in run.switches.state().armed.values() {
        targets.entry(it.target.clone()).or_default().push(it.clone());
    }
    let targets: Vec<_> = targets.into_values().collect();
    let results = side_by_side(targets.len(), AT_ONCE, &|_| false, &|at| {
        targets[at].iter().try_for_each(|it| {
            work(&Cx { lane, target: run.targets.get(&it.target)?, call: &it.call }, it)?;
            match run.switches.fired(&it.target) {
                Some(why) => Err(Stop::Fired(why).into()),
                None => Ok(()),
            }
        })
    });
    let mut first = None;
    for result in results.into_iter().flatten() {
        match result {
            Err(Halt::Failure(failure)) if first.is_none() => first = Some(failure),
            Err(Halt::Failure(failure)) => {
                lane.emit(What::Warning { text: failure.to_string() });
            }
            // What stops the run comes before what failed.
            result => result?,
        }
    }
    first.map_or(Ok(()), |failure| Err(failure.into()))
}

/// Reads what one of our scripts says. A target that says something else has no switch of ours.
fn parse(said: &str) -> Found {
    let mut words = said.lines().next().unwrap_or_default().split(' ');
    match words.next() {
        Some("armed") => Found::Armed,
        Some("dead") => Found::Dead,
        Some("firing") => Found::Firing,
        Some("fired") => {
            let at = words.next().and_then(|word| word.parse().ok());
            let at =
                at.and_then(|at| Timestamp::from_second(at).ok()).unwrap_or(Timestamp::UNIX_EPOCH);
            Found::Fired(at, words.next().and_then(|word| word.parse().ok()))
        }
        _ => Found::Nothing,
    }
}

#[cfg(test)]
mod tests;
