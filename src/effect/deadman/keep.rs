//! The threads that move deadlines on, as long as the process lives, reaches the target, and no other run holds it.

use std::sync::Arc;
use std::time::Duration;

use super::shell;
use super::state::Armed;
use super::{Found, TICK, due, id, parse, seconds};
use crate::effect::run::Run;
use crate::event::{DeadmanState, Event, What};
use crate::transport::{Cancel, Command};

/// Starts the thread that moves the deadlines on a target on, unless there is one. It ends with the run.
pub(super) fn keep(run: &Arc<Run>, target: &str) {
    if !run.switches.state().kept.insert(target.to_owned()) {
        return;
    }
    let (weak, name) = (Arc::downgrade(run), target.to_owned());
    let thread = std::thread::Builder::new().name(format!("deadman {name}"));
    let started = thread.spawn(move || {
        loop {
            std::thread::sleep(TICK);
            let Some(run) = weak.upgrade() else { return };
            for it in run.switches.to_extend(&name) {
                extend(&run, &it);
            }
        }
    });
    if started.is_err() {
        // It fires early rather than never; the next look tells.
        run.switches.state().kept.remove(target);
    }
}

fn extend(run: &Arc<Run>, it: &Armed) {
    let words = [id(run, &it.call), seconds(it.deadman), run.locks.dir.clone(), run.id.clone()];
    let limit = Duration::from_millis(it.deadman.after_ms).min(Duration::from_secs(30));
    let command = Command::script(&shell::extend(), words).timeout(Some(limit));
    let until = due(run, it.deadman);
    let said = run.targets.get(&it.target).map_err(|halt| halt.to_string()).and_then(|target| {
        let exit = target.transport.exec(&command, &Cancel::new(), &mut |_, _| {});
        exit.map(|exit| exit.out()).map_err(|error| error.to_string())
    });
    let mut state = run.switches.state();
    let Some(armed) = state.armed.get_mut(&it.call.to_string()) else { return };
    let why = match said {
        Ok(said) if parse(&said) == Found::Armed => {
            armed.due = until;
            armed.warned = false;
            let moved = armed.clone();
            drop(state);
            return note(run, &moved);
        }
        Ok(said) if said.starts_with("other ") => {
            armed.displaced = true;
            format!("run {} has taken the target over", said.trim_start_matches("other ").trim())
        }
        Ok(_) => {
            // It fired, or is gone: the next call on the target finds out.
            armed.doubt = true;
            return;
        }
        Err(why) => why,
    };
    let told = std::mem::replace(&mut armed.warned, true);
    let at = armed.due.strftime("%H:%M:%S UTC").to_string();
    drop(state);
    if !told {
        let text = format!(
            "the deadline of the dead-man switch cannot be moved on ({why}): {} on {} is taken back at {at}",
            it.what, it.target
        );
        run.send(Event {
            at: run.clock.now(),
            run: run.id.clone(),
            lane: it.call.lane.clone(),
            step: it.call.step.clone(),
            target: it.target.clone(),
            what: What::Warning { text: run.redactor.text(&text) },
        });
    }
}

/// Writes the new deadline down, for whoever asks the journal when the process is gone.
fn note(run: &Run, it: &Armed) {
    let (Some(store), Some((by, reboot))) = (&run.store, it.by.clone()) else { return };
    let body = it.record(DeadmanState::Armed { due: it.due, by, reboot });
    // A journal that fails is found by the next record that counts.
    let _later = store.append(&run.id, body);
}
