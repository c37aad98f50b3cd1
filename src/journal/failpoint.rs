//! Where a test ends the process: at a boundary of the journal, as if by kill -9.
//!
//! `UPGRADE_HOST_DIE_AT="7 before"` ends it when everything of its 7th write is handed to the store but not committed:
//! after the effect that the write tells of. `"7 after"` ends it once that write is durable and nobody knows yet: before
//! what it announces. Writes are counted from 1 in each process: records, and the rows of the run itself. While it is
//! armed, each write is committed by itself, so that every prefix of the journal that a crash can leave is met.
//! Builds without debug assertions do not know the variable.

const VARIABLE: &str = "UPGRADE_HOST_DIE_AT";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// A boundary of the journal, if one is asked for.
#[derive(Debug, Default)]
pub(super) struct Failpoint {
    at: Option<(u64, Side)>,
    writes: u64,
}

impl Failpoint {
    /// Reads the environment.
    ///
    /// # Errors
    /// If the variable is set and says nothing; a test must not pass because it was misspelt.
    pub(super) fn from_environment() -> Result<Self, String> {
        if !cfg!(debug_assertions) {
            return Ok(Self::default());
        }
        match std::env::var(VARIABLE) {
            Ok(text) => match parse(&text) {
                Some(at) => Ok(Self { at: Some(at), writes: 0 }),
                None => Err(format!("{VARIABLE} must be `N before` or `N after`, but is `{text}`")),
            },
            Err(_) => Ok(Self::default()),
        }
    }

    /// Returns whether writes are to be committed one by one.
    pub(super) fn is_armed(&self) -> bool {
        self.at.is_some()
    }

    /// The next write is handed over and not committed.
    pub(super) fn before(&mut self) {
        self.writes += 1;
        self.reached(Side::Before);
    }

    /// The write is durable, and nobody has been told.
    pub(super) fn after(&self) {
        self.reached(Side::After);
    }

    fn reached(&self, side: Side) {
        if self.at == Some((self.writes, side)) {
            let own = rustix::process::getpid();
            let _killed = rustix::process::kill_process(own, rustix::process::Signal::KILL);
            // The signal ends all threads, this one maybe an instant later.
            std::process::abort();
        }
    }
}

fn parse(text: &str) -> Option<(u64, Side)> {
    let (number, side) = text.split_once(' ')?;
    let side = match side {
        "before" => Side::Before,
        "after" => Side::After,
        _ => return None,
    };
    Some((number.parse().ok()?, side))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_a_number_and_a_side() {
        assert_eq!(parse("7 before"), Some((7, Side::Before)));
        assert_eq!(parse("12 after"), Some((12, Side::After)));
        for wrong in ["", "7", "before", "7 behind", "x after", "7  after", "-1 after"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
