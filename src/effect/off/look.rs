//! The look after a reboot at what the run has switched off, and switching it off again.

use std::sync::{Arc, TryLockError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Off, Stands};
use crate::call::Access;
use crate::effect::ask::Question;
use crate::effect::context::Cx;
use crate::effect::reconnect::Trouble;
use crate::effect::run::Mode;
use crate::error::{Halt, Kind, Pause, Result, Stop};
use crate::event::{CallEnd, What, on_again};
use crate::journal::{Body, Inverse, Outcome};

/// How long a target that is still booting is waited for.
const BOOTING: Duration = Duration::from_secs(300);
/// The longest pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Prints `booting` as long as whoever starts what is to run here is not through with it.
const IS_BOOTING: &str = r#"
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; then
  case $(systemctl is-system-running 2>/dev/null) in initializing|starting) echo booting ;; esac
else
  # The scripts of init, not what happens to be called so.
  for p in /proc/[0-9]*; do
    { read -r n <"$p/comm"; } 2>/dev/null || continue
    case $n in rc|rcS|openrc|startpar) ;; *) continue ;; esac
    { read -r s <"$p/stat"; } 2>/dev/null || continue
    s=${s##*) }; s=${s#* }
    [ "${s%% *}" != 1 ] || { echo booting; break; }
  done
fi
:
"#;

/// Makes sure that what the run has switched off on the target is off, before anything else is done there. What the call
/// is about, `about`, it looks at by itself.
///
/// # Errors
/// [`Stop::Paused`] if something is on, or may be, that cannot be switched off.
pub(in crate::effect) fn look(cx: &Cx<'_>, about: Option<&str>) -> Result<()> {
    let run = cx.lane.run();
    let name = &cx.target.name;
    let must = || run.off.must_look(name, cx.target.transport.boot_id().as_deref());
    if cx.lane.aside().is_some() || !must() {
        return Ok(());
    }
    let turn = run.off.turn(name);
    let _alone = loop {
        match turn.try_lock() {
            Ok(guard) => break guard,
            Err(TryLockError::Poisoned(poisoned)) => break poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => cx.sleep(Duration::from_millis(20))?,
        }
    };
    if let Some(about) = about {
        run.off.claim(name, about, cx.call);
    }
    if !must() {
        return Ok(());
    }
    let mut trouble = Trouble::new(run.reconnect);
    let mut told = false;
    loop {
        let started = Instant::now();
        let failure = match look_at_all(cx, &mut told) {
            Err(Halt::Failure(failure)) if failure.lost || failure.kind == Kind::Unknown => failure,
            result => return result,
        };
        match trouble.again(started) {
            Some(pause) => cx.sleep(pause)?,
            None => return cx.give_up(failure),
        }
    }
}

fn look_at_all(cx: &Cx<'_>, told: &mut bool) -> Result<()> {
    let run = cx.lane.run();
    let name = &cx.target.name;
    let began = Instant::now();
    let mut waits = false;
    loop {
        cx.reconnecting(|| cx.reachable())?;
        let boot = cx.target.transport.boot_id();
        let doubtful = match &boot {
            Some(boot) => run.off.state().in_doubt(name, boot),
            None => Vec::new(),
        };
        let (Some(at), false) = (&boot, doubtful.is_empty()) else {
            run.off.looked(name, boot);
            return Ok(());
        };
        if !std::mem::replace(told, true) {
            let what: Vec<_> = doubtful.iter().map(|off| off.summary.as_str()).collect();
            cx.warn(format!(
                "{name} was rebooted since this was done there, looking whether it still holds: {}",
                what.join("; ")
            ));
        }
        let booting = is_booting(cx)?;
        let patient = booting && began.elapsed() < BOOTING;
        for off in &doubtful {
            keep_off(cx, off, at, !patient)?;
        }
        if patient {
            if !std::mem::replace(&mut waits, true) {
                cx.warn(format!("{name} is still booting, and may switch more on: waiting for it"));
            }
            cx.sleep(PAUSE)?;
        } else if booting {
            let limit = crate::units::say_duration(BOOTING);
            cx.warn(format!("{name} has been booting for {limit}; the run goes on"));
        }
    }
}

fn is_booting(cx: &Cx<'_>) -> Result<bool> {
    Ok(cx.reconnecting(|| cx.read_script(IS_BOOTING, [""; 0]))?.contains("booting"))
}

/// What is wrong with something that should be off.
struct Wrong {
    why: String,
    /// Whether it may be off.
    unknown: bool,
}

/// Makes sure that one thing is off; the operator decides where that cannot be. With `last` it is not looked at again in
/// this boot.
fn keep_off(cx: &Cx<'_>, off: &Off, boot: &str, last: bool) -> Result<()> {
    let run = cx.lane.run();
    let lane = cx.lane.stand_aside(boot);
    let cx = Cx { lane: &lane, target: Arc::clone(&cx.target), call: &off.call };
    let mut left = false;
    while let Some(wrong) = switch_off(&cx, off, boot)? {
        if !again(&cx, off, &wrong)? {
            left = true;
            break;
        }
    }
    if last || left {
        let mut state = run.off.state();
        if let Some(off) = state.find(&off.call).filter(|off| off.hidden_by.is_none()) {
            off.boot = Some(boot.to_owned());
            off.again = None;
        }
    }
    Ok(())
}

/// Looks at it, and switches it off if it is on.
fn switch_off(cx: &Cx<'_>, off: &Off, boot: &str) -> Result<Option<Wrong>> {
    let run = cx.lane.run();
    let since = Instant::now();
    let mut pause = Duration::from_millis(100);
    let stands = loop {
        let failure = match cx.reconnecting(|| run.registry.stands(cx, off)) {
            Ok(stands) => break stands,
            Err(Halt::Failure(failure)) if !failure.lost => failure,
            Err(halt) => return Err(halt),
        };
        if let Some(hider) = hide(cx, off)? {
            cx.warn(format!(
                "it cannot be told now whether this still holds: {} ({failure}); it is looked at once this is so again: {hider}",
                off.summary
            ));
            return Ok(None);
        }
        // What answers for it may still be starting.
        if since.elapsed() >= run.reconnect {
            return Ok(Some(Wrong { why: failure.to_string(), unknown: true }));
        }
        cx.sleep(pause)?;
        pause = (pause * 2).min(PAUSE);
    };
    let begun = run.off.state().find(&off.call).is_some_and(|off| off.again.is_some());
    match stands {
        Stands::Unknown(why) => Ok(Some(Wrong { why, unknown: true })),
        Stands::Off if begun => {
            end(cx, off, &Ok(Value::Bool(true)))?;
            Ok(None)
        }
        Stands::Off => Ok(None),
        Stands::On => {
            cx.reconnecting(|| cx.lock())?;
            cx.warn(on_again(&off.target, &off.summary));
            begin(cx, off, boot)?;
            let done = run.registry.again(cx, off);
            end(cx, off, &done)?;
            match done {
                Ok(_) => Ok(None),
                Err(Halt::Failure(failure)) if !failure.lost && failure.kind != Kind::Unknown => {
                    Ok(Some(Wrong { why: failure.to_string(), unknown: false }))
                }
                Err(halt) => Err(halt),
            }
        }
    }
}

/// Leaves it for later if something hides it that was switched off after it: an application does not answer while its
/// service is stopped. Returns what.
fn hide(cx: &Cx<'_>, off: &Off) -> Result<Option<String>> {
    let run = cx.lane.run();
    let after: Vec<Off> = {
        let state = run.off.state();
        let after = state.of(&off.target).skip_while(|other| other.call != off.call).skip(1);
        after.filter(|other| other.debt.key != off.debt.key).cloned().collect()
    };
    for other in after.into_iter().rev() {
        if !other.through && !is_off(cx, &other)? {
            continue;
        }
        if let Some(off) = run.off.state().find(&off.call) {
            off.hidden_by = Some(other.debt.key);
        }
        return Ok(Some(other.debt.what));
    }
    Ok(None)
}

/// Returns whether something is off whose call was under way when the run died: it may have come that far.
fn is_off(cx: &Cx<'_>, other: &Off) -> Result<bool> {
    let cx = Cx { lane: cx.lane, target: Arc::clone(&cx.target), call: &other.call };
    match cx.reconnecting(|| cx.lane.run().registry.stands(&cx, other)) {
        Ok(stands) => Ok(stands == Stands::Off),
        Err(Halt::Failure(failure)) if !failure.lost => Ok(false),
        Err(halt) => Err(halt),
    }
}

/// Writes down, durable, that it is about to be switched off again.
fn begin(cx: &Cx<'_>, off: &Off, boot: &str) -> Result<()> {
    let run = cx.lane.run();
    let body = Body::Intent {
        call: off.call.clone(),
        access: Access::Change,
        target: off.target.clone(),
        summary: off.summary.clone(),
        action: off.action.clone(),
        before: off.before.clone(),
        inverse: Inverse::Nothing { why: "what it did the first time is taken back".to_owned() },
        opens: None,
        closes: None,
        place: None,
        boot: Some(boot.to_owned()),
        again: true,
    };
    if let Some(store) = &run.store {
        store.append_durable(&run.id, body, Vec::new())?;
    }
    if let Some(off) = run.off.state().find(&off.call) {
        off.again = Some(boot.to_owned());
    }
    cx.lane.emit(What::CallBegan {
        call: off.call.to_string(),
        summary: off.summary.clone(),
        access: Access::Change,
        place: None,
    });
    Ok(())
}

/// Writes down how that ended, unless it is not known.
fn end(cx: &Cx<'_>, off: &Off, done: &Result<Value>) -> Result<()> {
    let run = cx.lane.run();
    let (outcome, end) = match done {
        Ok(value) => {
            let value = run.redactor.value(value.clone());
            (Outcome::Done { value, changed: true, words: None }, CallEnd::Done)
        }
        Err(Halt::Failure(failure)) if !failure.lost && failure.kind != Kind::Unknown => {
            let failure = run.redactor.failure(failure.as_ref().clone());
            (Outcome::Failed { failure: failure.clone() }, CallEnd::Failed(failure))
        }
        Err(_) => return Ok(()),
    };
    let is_done = end == CallEnd::Done;
    let body = Body::Outcome { call: off.call.clone(), outcome };
    if let Some(store) = &run.store {
        store.append_durable(&run.id, body, Vec::new())?;
    }
    if is_done {
        run.off.through(&off.call);
    }
    cx.lane.emit(What::CallEnded {
        call: off.call.to_string(),
        summary: off.summary.clone(),
        end,
        result: None,
        took_ms: 0,
    });
    Ok(())
}

/// Asks what is to be done about something that may be on. Returns whether to try again.
///
/// # Errors
/// [`Stop::Paused`] if nobody decides.
fn again(cx: &Cx<'_>, off: &Off, wrong: &Wrong) -> Result<bool> {
    const AGAIN: &str = "try again";
    const LEAVE: &str = "go on all the same";
    const PAUSE: &str = "pause";
    let run = cx.lane.run();
    let found = format!(
        "{} was rebooted, and {}: {} ({})",
        off.target,
        if wrong.unknown {
            "it cannot be told whether this still holds"
        } else {
            "this holds no more and cannot be done again"
        },
        off.summary,
        wrong.why
    );
    // An undo that follows a failure does not wait for anybody, for users may be locked out.
    if run.mode == Mode::Rebuild && (!run.asked || run.yes) {
        cx.warn(format!("{found}; undoing goes on"));
        return Ok(false);
    }
    let question = Question::Choose {
        text: format!("{found}. What now?"),
        options: [AGAIN, LEAVE, PAUSE].map(str::to_owned).to_vec(),
        default: None,
    };
    match run.asker.ask(&question).as_deref() {
        Some(AGAIN) => Ok(true),
        Some(LEAVE) => Ok(false),
        _ => Err(Stop::Paused(Pause { why: found, until: None, unknown: wrong.unknown }).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::effect::bench::Bench;
    use crate::effect::{Action, Owes, Plan, Reconciled, Registry, perform};
    use crate::error::Failure;
    use crate::journal::Debt;

    /// Something that is on as long as there is a file; of the users nothing can be told without the service.
    #[derive(Clone, Serialize, Deserialize)]
    struct Part {
        name: String,
        dir: PathBuf,
    }

    impl Part {
        fn is_on(&self) -> Result<bool> {
            if self.name == "users" && !self.dir.join("service").exists() {
                return Err(Failure::new(Kind::Conflict, "no connection").into());
            }
            Ok(self.dir.join(&self.name).exists())
        }
    }

    impl Action for Part {
        const NAME: &'static str = "part_off";
        const ACCESS: Access = Access::Change;
        type Before = bool;
        type Output = bool;

        fn summary(&self) -> String {
            format!("switch the {} off", self.name)
        }

        fn look(&self, _cx: &Cx<'_>) -> Result<bool> {
            self.is_on()
        }

        fn plan(&self, _on: &bool) -> Plan<bool, bool> {
            Plan::Would { changes: Vec::new(), output: true, after: None }
        }

        fn apply(&self, _cx: &Cx<'_>, _on: &bool) -> Result<bool> {
            fs::remove_file(self.dir.join(&self.name)).unwrap();
            // The run dies once the service is off, before that is on record.
            if self.name == "service" { Err(Stop::Cancelled.into()) } else { Ok(true) }
        }

        fn reconcile(&self, _cx: &Cx<'_>, _on: &bool) -> Result<Reconciled<bool>> {
            Ok(if self.is_on()? { Reconciled::Redo } else { Reconciled::Done(true) })
        }

        fn inverse(&self, _on: &bool) -> Inverse {
            Inverse::Nothing { why: "it is not taken back here".to_owned() }
        }

        fn owes(&self, _on: &bool) -> Owes {
            let what = format!("{} on", self.name);
            Owes::Opens(Debt { key: self.name.clone(), what, locks_out: false })
        }
    }

    #[test]
    fn what_was_being_stopped_when_the_run_died_hides_what_it_answers_for() {
        let mut registry = Registry::default();
        registry.add::<Part>();
        let bench = Bench::new(registry);
        let part = |name: &str| Part { name: name.to_owned(), dir: bench.path().to_owned() };
        for name in ["users", "service"] {
            fs::write(bench.path().join(name), "").unwrap();
        }
        let lane = bench.lane(Mode::Run);
        perform(&lane, None, &part("users")).unwrap();
        perform(&lane, None, &part("service")).unwrap_err();

        let lane = bench.lane(Mode::Run);
        let target = lane.target();
        let users = lane.run().off.state().of(&target.name).next().cloned().unwrap();
        let cx = Cx { lane: &lane, target, call: &users.call };

        assert_eq!(hide(&cx, &users).unwrap().as_deref(), Some("service on"));
        let state = lane.run().off.state();
        assert_eq!(state.all[0].hidden_by.as_deref(), Some("service"));
        drop(state);
        // It had not come that far: what does not answer then may only be starting.
        fs::write(bench.path().join("service"), "").unwrap();
        assert_eq!(hide(&cx, &users).unwrap(), None);
    }
}
