//! A way to a target that breaks: what is under way waits for it to come back, up to the run's limit. What cannot be told
//! and is repeated is repeated within that limit, too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::Cx;
use super::exec::tail;
use super::run::{Mode, Run};
use super::side_by_side::{AT_ONCE, side_by_side};
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
    /// Runs commands at the end of the run, when nobody can cancel any more, side by side: a target that is out of reach
    /// holds up no other. Returns which targets could not do theirs, and why, in the order that they are given in.
    pub fn exec_last(&self, all: &[(Arc<Target>, Command)]) -> Vec<(String, String)> {
        let told = side_by_side(all.len(), AT_ONCE, &|_| false, &|at| {
            let (target, command) = &all[at];
            Some((target.name.clone(), self.exec_patiently(target, command)?))
        });
        told.into_iter().flatten().flatten().collect()
    }

    /// Runs a command, again while the way to the target is broken. Returns why it could not be done.
    fn exec_patiently(&self, target: &Target, command: &Command) -> Option<String> {
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
    use std::sync::{Condvar, Mutex};

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::call::Access;
    use crate::effect::bench::Bench;
    use crate::effect::{Action, Owes, Plan, Reconciled, Registry, perform};
    use crate::error::Kind;
    use crate::event::What;
    use crate::journal::Inverse;
    use crate::transport::{Connection, Ended, Exit, Transport, Watch};

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

    /// A way to a target, and what a command comes to there.
    #[derive(Debug)]
    enum Way {
        Works,
        Refuses,
        /// It does not answer until all others have.
        Hangs,
    }

    /// How many have answered.
    type Answered = Arc<(Mutex<u32>, Condvar)>;

    #[derive(Debug)]
    struct Fake(Way, Answered);

    impl Transport for Fake {
        fn exec(
            &self,
            _command: &Command,
            _cancel: &Cancel,
            _watch: Watch<'_>,
        ) -> Result<Exit, TransportError> {
            let (answered, changed) = &*self.1;
            let mut count = answered.lock().unwrap();
            let trouble = |why: String| {
                Err(TransportError::Auth { target: "it".to_owned(), why, hint: None })
            };
            if matches!(self.0, Way::Hangs) {
                let patience = Duration::from_secs(20);
                count = changed.wait_timeout_while(count, patience, |count| *count < 4).unwrap().0;
                return trouble(format!("{count} others are through"));
            }
            *count += 1;
            changed.notify_all();
            if matches!(self.0, Way::Refuses) {
                return trouble("refused".to_owned());
            }
            Ok(Exit { ended: Ended::Code(0), stdout: Vec::new(), stderr: Vec::new() })
        }

        fn connect(
            &self,
            _host: &str,
            _port: u16,
            _timeout: Duration,
        ) -> Result<Box<dyn Connection>, TransportError> {
            Err(TransportError::Invalid("nothing is connected to".to_owned()))
        }

        fn describe(&self) -> String {
            format!("{:?}", self.0)
        }

        fn own_address(&self) -> Option<std::net::IpAddr> {
            None
        }
    }

    #[test]
    fn a_target_that_hangs_in_the_end_holds_up_no_other() {
        let bench = Bench::new(Registry::default());
        let answered = Answered::default();
        let ways = [Way::Hangs, Way::Works, Way::Refuses, Way::Works, Way::Works];
        let all: Vec<_> = (0..)
            .zip(ways)
            .map(|(n, way)| {
                let way = Arc::new(Fake(way, Arc::clone(&answered)));
                (Arc::new(Target::new(format!("t{n}"), way)), Command::list(["true"]))
            })
            .collect();

        let left = bench.lane(Mode::Run).run().exec_last(&all);

        let said: Vec<_> = left.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        let why =
            ["t0: cannot log in to it: 4 others are through", "t2: cannot log in to it: refused"];
        assert_eq!(said, why);
    }
}
