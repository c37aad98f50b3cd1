//! Where a test ends the process, as if by kill -9: at a boundary of the journal, or at a named spot.
//!
//! `UPGRADE_HOST_DIE_AT="7 before"` ends it when everything of its 7th write is handed to the store but not committed:
//! after the effect that the write tells of. `"7 after"` ends it once that write is durable and nobody knows yet: before
//! what it announces. Writes are counted from 1 in each process: records, and the rows of the run itself. While it is
//! armed, each write is committed by itself, so that every prefix of the journal that a crash can leave is met.
//!
//! `"launch 3"` ends it when that [`Spot`] is passed for the third time. Builds without debug assertions do not know the
//! variable.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const VARIABLE: &str = "UPGRADE_HOST_DIE_AT";

/// What lies between two writes of the journal and is worth dying at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// A command with a receipt is about to be sent.
    Launch,
    /// It was sent: some milliseconds later, another number of them for each pass.
    Launching,
    /// The target said how it ended, and nobody took note.
    Launched,
    /// An intent without outcome is about to be looked up.
    Reconcile,
    /// It was looked up, and nothing followed from it yet.
    Reconciled,
    /// An undo is about to begin.
    Undo,
    /// An undo is through.
    Undone,
}

impl Spot {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "launch" => Self::Launch,
            "launching" => Self::Launching,
            "launched" => Self::Launched,
            "reconcile" => Self::Reconcile,
            "reconciled" => Self::Reconciled,
            "undo" => Self::Undo,
            "undone" => Self::Undone,
            _ => return None,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    Write(u64, Side),
    Pass(Spot, u64),
}

/// The boundary of the journal, if one is asked for.
#[derive(Debug, Default)]
pub(crate) struct Failpoint {
    at: Option<Point>,
    writes: u64,
}

impl Failpoint {
    /// Reads the environment.
    ///
    /// # Errors
    /// If the variable is set and says nothing; a test must not pass because it was misspelt.
    pub(crate) fn from_environment() -> Result<Self, String> {
        if !cfg!(debug_assertions) {
            return Ok(Self::default());
        }
        match std::env::var(VARIABLE) {
            Ok(text) => match parse(&text) {
                Some(at) => Ok(Self { at: Some(at), writes: 0 }),
                None => Err(format!(
                    "{VARIABLE} must be `N before`, `N after` or `SPOT N`, but is `{text}`"
                )),
            },
            Err(_) => Ok(Self::default()),
        }
    }

    /// Returns whether writes are to be committed one by one.
    pub(crate) fn is_armed(&self) -> bool {
        self.at.is_some()
    }

    /// The next write is handed over and not committed.
    pub(crate) fn before(&mut self) {
        self.writes += 1;
        self.reached(Side::Before);
    }

    /// The write is durable, and nobody has been told.
    pub(crate) fn after(&self) {
        self.reached(Side::After);
    }

    fn reached(&self, side: Side) {
        if self.at == Some(Point::Write(self.writes, side)) {
            die();
        }
    }
}

/// A spot is passed.
pub(crate) fn passed(spot: Spot) {
    static ARMED: OnceLock<Option<Point>> = OnceLock::new();
    static PASSES: AtomicU64 = AtomicU64::new(0);
    if !cfg!(debug_assertions) {
        return;
    }
    // What is misspelt is refused by the journal.
    let armed = ARMED.get_or_init(|| parse(&std::env::var(VARIABLE).ok()?));
    let Some(Point::Pass(at, pass)) = *armed else { return };
    if at != spot || PASSES.fetch_add(1, Ordering::SeqCst) + 1 != pass {
        return;
    }
    if spot == Spot::Launching {
        // Not on this thread, which is about to send.
        let after = Duration::from_micros(pass * 1_700 % 12_000);
        std::thread::spawn(move || {
            std::thread::sleep(after);
            die();
        });
    } else {
        die();
    }
}

fn die() {
    let own = rustix::process::getpid();
    let _killed = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    // The signal ends all threads, this one maybe an instant later.
    std::process::abort();
}

fn parse(text: &str) -> Option<Point> {
    let (first, second) = text.split_once(' ')?;
    let side = match second {
        "before" => Side::Before,
        "after" => Side::After,
        pass => return Some(Point::Pass(Spot::named(first)?, pass.parse().ok()?)),
    };
    Some(Point::Write(first.parse().ok()?, side))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_a_number_and_a_side() {
        assert_eq!(parse("7 before"), Some(Point::Write(7, Side::Before)));
        assert_eq!(parse("12 after"), Some(Point::Write(12, Side::After)));
        for wrong in ["", "7", "before", "7 behind", "x after", "7  after", "-1 after"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_pass_is_a_spot_and_a_number() {
        assert_eq!(parse("launch 3"), Some(Point::Pass(Spot::Launch, 3)));
        assert_eq!(parse("undone 1"), Some(Point::Pass(Spot::Undone, 1)));
        for wrong in ["lunch 3", "launch", "launch x", "launch -1", "3 launch"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
