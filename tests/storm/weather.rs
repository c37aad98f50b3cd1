//! What a storm does to a host: its link is cut, its power fails, it restarts. When and for how long comes from a seed.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::support::lab::Host;
use crate::support::random::Random;

/// What happens to a host, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) enum Blow {
    /// Every packet is lost, and the link stays up.
    Cut(Duration),
    /// Everything ends at once; then it stays off.
    PowerFailure(Duration),
    /// It shuts down in good order; then it stays off.
    Restart(Duration),
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Blows {
    pub(super) cuts: u64,
    pub(super) power_failures: u64,
    pub(super) restarts: u64,
}

impl Blows {
    pub(super) fn add(&mut self, more: Self) {
        self.cuts += more.cuts;
        self.power_failures += more.power_failures;
        self.restarts += more.restarts;
    }
}

/// A host's blows, each after a pause.
pub(super) type Forecast = Vec<(Duration, Blow)>;

/// Draws the blows of a host within `span`.
pub(super) fn forecast(random: &mut Random, span: Duration) -> Forecast {
    let span = u64::try_from(span.as_millis()).unwrap();
    let blows = random.within(1..4);
    let blow = |random: &mut Random| match random.within(0..10) {
        // Longer than it takes to notice, and too short for that.
        0..5 => Blow::Cut(random.millis(300..9000)),
        5..9 => Blow::PowerFailure(random.millis(0..2500)),
        _ => Blow::Restart(random.millis(0..1000)),
    };
    (0..blows).map(|_| (random.millis(0..span / blows), blow(random))).collect()
}

/// Lets it happen, until `calm` is dropped on the other side. Afterwards the host runs and can be reached. `off` is called
/// whenever the host is about to boot.
pub(super) fn rage(
    host: &Host,
    forecast: &Forecast,
    calm: &Receiver<()>,
    off: impl Fn(&Host),
) -> Blows {
    let mut blows = Blows::default();
    let wait = |time| calm.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
    for (after, blow) in forecast {
        if !wait(*after) {
            break;
        }
        match *blow {
            Blow::Cut(time) => {
                blows.cuts += 1;
                host.cut();
                wait(time);
                host.heal();
            }
            Blow::PowerFailure(time) => {
                blows.power_failures += 1;
                host.kill();
                wait(time);
                off(host);
                host.boot();
            }
            Blow::Restart(time) => {
                blows.restarts += 1;
                host.shut_down();
                wait(time);
                off(host);
                host.boot();
            }
        }
    }
    blows
}
