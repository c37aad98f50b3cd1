//! A way to a target that breaks: what is under way waits for it to come back, up to the run's limit. What cannot be told
//! and is repeated is repeated within that limit, too.

use std::time::{Duration, Instant};

use super::context::Cx;
use super::exec::tail;
use super::run::{Mode, Run};
use super::target::Target;
use crate::error::{Failure, Halt, Pause, Result, Stop};
use crate::transport::{Cancel, Command, TransportError};

/// How long a try must have lasted so that the link counts as one that works.
const HELD: Duration = Duration::from_secs(60);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A link that breaks again and again while the same thing is under way: tried again ever more slowly, up to a limit.
/// What gets on in between, as a long copy does, may break as often as it likes.
pub(super) struct Trouble {
    limit: Duration,
    since: Option<Instant>,
    pause: Duration,
}

/// Returns the first pause between two tries, which every further one doubles: short where the limit is.
fn first_pause(limit: Duration) -> Duration {
    (limit / 60).min(Duration::from_secs(1))
}

impl Trouble {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, since: None, pause: first_pause(limit) }
    }

    /// Returns whether there was any.
    pub(super) fn is_known(&self) -> bool {
        self.since.is_some()
    }

    /// Returns how long to wait before the next try, after one that began at `started`; none at the limit.
    pub(super) fn again(&mut self, started: Instant) -> Option<Duration> {
        if started.elapsed() >= HELD.min(self.limit) {
            *self = Self::new(self.limit);
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.limit {
            return None;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }
}

/// How long a target that is out of reach at the end of a run is tried again: whoever waits for that waits a little longer,
/// not as long as within it.
const AT_THE_END: Duration = Duration::from_secs(30);

impl Run {
    /// Runs a command at the end of the run, when nobody can cancel any more, again while the way to the target is broken.
    /// Returns why it could not be done.
    pub fn exec_last(&self, target: &Target, command: &Command) -> Option<String> {
        let limit = self.reconnect.min(AT_THE_END);
        let since = Instant::now();
        loop {
            match target.transport.exec(command, &Cancel::new(), &mut |_, _| {}) {
                Ok(exit) if exit.success() => return None,
                Ok(exit) => return Some(tail(&exit.stderr).trim().to_owned()),
                Err(TransportError::Lost { .. } | TransportError::Connect { .. })
                    if since.elapsed() < limit =>
                {
                    std::thread::sleep(first_pause(limit));
                }
                Err(error) => return Some(error.to_string()),
            }
        }
    }
}

impl Cx<'_> {
    /// Pauses the run, for the way to the target stays broken; an undo fails instead, and the others go on.
    pub(super) fn give_up<T>(&self, failure: Box<Failure>) -> Result<T> {
        if self.lane.is_undoing() {
            return Err(Halt::Failure(failure));
        }
        let limit = crate::units::say_duration(self.lane.run().reconnect);
        let why = format!("{failure}; gave up after {limit}");
        Err(Stop::Paused(Pause { why, until: None, unknown: false }).into())
    }

    /// Repeats what only looks while the way to the target is broken, up to the run's limit.
    pub(super) fn reconnecting<T>(&self, mut body: impl FnMut() -> Result<T>) -> Result<T> {
        let run = self.lane.run();
        let since = Instant::now();
        let mut pause = first_pause(run.reconnect);
        let mut told = false;
        loop {
            let failure = match body() {
                Err(Halt::Failure(failure)) if failure.lost && run.mode != Mode::Plan => failure,
                result => return result,
            };
            if since.elapsed() >= run.reconnect {
                return self.give_up(failure);
            }
            run.switches.doubt(&self.target.name);
            run.off.doubt(&self.target.name);
            if !std::mem::replace(&mut told, true) {
                self.warn(format!(
                    "{failure}; trying again for {}",
                    crate::units::say_duration(run.reconnect)
                ));
            }
            self.sleep(pause.min(
                run.reconnect.saturating_sub(since.elapsed()).max(Duration::from_millis(50)),
            ))?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::call::Access;
    use crate::effect::bench::Bench;
    use crate::effect::{Action, Owes, Plan, Reconciled, Registry, perform};
    use crate::error::Kind;
    use crate::event::What;
    use crate::journal::Inverse;

    /// Nobody can ever tell what became of it, and it may be repeated.
    #[derive(Clone, Serialize, Deserialize)]
    struct Hazy;

    static TRIES: AtomicU32 = AtomicU32::new(0);

    impl Action for Hazy {
        const NAME: &'static str = "hazy";
        const ACCESS: Access = Access::Change;
        type Before = ();
        type Output = bool;

        fn summary(&self) -> String {
            "do something hazy".to_owned()
        }

        fn look(&self, _cx: &Cx<'_>) -> Result<()> {
            Ok(())
        }

        fn plan(&self, _before: &()) -> Plan<(), bool> {
            Plan::Would { changes: Vec::new(), output: true, after: None }
        }

        fn apply(&self, _cx: &Cx<'_>, _before: &()) -> Result<bool> {
            TRIES.fetch_add(1, Ordering::SeqCst);
            Err(Failure::new(Kind::Unknown, "it is hazy").into())
        }

        fn reconcile(&self, _cx: &Cx<'_>, _before: &()) -> Result<Reconciled<bool>> {
            Ok(Reconciled::Redo)
        }

        fn inverse(&self, _before: &()) -> Inverse {
            Inverse::Nothing { why: "it changes nothing".to_owned() }
        }

        fn owes(&self, _before: &()) -> Owes {
            Owes::Nothing
        }
    }

    #[test]
    fn what_stays_unknown_is_repeated_ever_more_slowly_and_then_asked_about() {
        let bench = Bench::new(Registry::default());
        let limit = Duration::from_secs(2);

        let since = Instant::now();
        let end = perform(&bench.lane(Mode::Run), None, &Hazy).unwrap_err();

        assert!(since.elapsed() >= limit, "{:?}", since.elapsed());
        let Halt::Stop(Stop::Paused(pause)) = end else { panic!("{end:?}") };
        assert!(pause.unknown && pause.why.contains("it is hazy"), "{pause:?}");
        let tries = TRIES.load(Ordering::SeqCst);
        assert!((3..20).contains(&tries), "{tries}");
        let told = bench
            .events()
            .into_iter()
            .filter(|what| matches!(what, What::Warning { text } if text.contains("it is hazy")));
        let told = told.count();
        assert_eq!(told, tries as usize - 2);
    }
}
