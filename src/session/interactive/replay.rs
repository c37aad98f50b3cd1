//! A recorded session once more, to be undone or to go on.

use std::sync::mpsc;
use std::time::Duration;

use super::NAME;
use super::transcript::Piece;
use crate::effect::Lane;
use crate::error::{Failure, Halt, Result, Stop};
use crate::script::Script;
use crate::session::drive::Setup;

/// How long the replay of an interrupted line may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Evaluates the pieces of a recorded session once more, as far as each is on record; what failed then fails again, and
/// what was interrupted ends there.
pub(in crate::session) fn replay(
    setup: &Setup,
    lane: &Lane,
    pieces: &[Piece],
) -> (Option<Script>, Result<()>) {
    let mut script = match Script::interactive(&setup.runbook, lane) {
        Ok(script) => script,
        Err(error) => return (None, Err(Failure::input(error.message).at(error.place).into())),
    };
    for piece in pieces {
        let target = match lane.run().targets.get(&piece.target) {
            Ok(target) => target,
            Err(halt) => return (Some(script), Err(halt)),
        };
        lane.pop_target();
        lane.push_target(target);
        lane.enter_step(&piece.step());
        let result = if piece.ended {
            script.line(NAME, &piece.placed())
        } else {
            bounded(lane, || script.line(NAME, &piece.placed()))
        };
        lane.leave_step();
        match result {
            Ok(_) | Err(Halt::Failure(_) | Halt::Stop(Stop::EndOfRecord)) => {}
            Err(halt) => return (Some(script), Err(halt)),
        }
    }
    (Some(script), Ok(()))
}

/// Evaluates what was once interrupted, perhaps in an endless loop: recorded calls take no time, and the rest is waited
/// for only so long.
fn bounded<T>(lane: &Lane, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let cancel = lane.run().cancel.clone();
    let (done, waits) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let watchdog = scope.spawn(move || {
            let timed_out = waits.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout);
            if timed_out {
                cancel.cancel();
            }
            timed_out
        });
        let result = body();
        drop(done);
        if watchdog.join().unwrap_or(false) {
            lane.run().cancel.reset();
            return match result {
                Err(Halt::Stop(Stop::Cancelled)) => Err(Stop::EndOfRecord.into()),
                result => result,
            };
        }
        result
    })
}
