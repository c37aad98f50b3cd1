//! The pause between two looks at something that takes its time.

use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(20);

/// Short pauses first, so that what is quick costs no downtime; then longer ones, so that what is slow costs no load.
#[derive(Debug)]
pub(super) struct Pace {
    next: Duration,
    longest: Duration,
}

impl Pace {
    /// Begins, never to pause for more than `longest`.
    pub(super) fn up_to(longest: Duration) -> Self {
        Self { next: FIRST.min(longest), longest }
    }

    /// Begins anew, because something happened.
    pub(super) fn quicken(&mut self) {
        self.next = FIRST.min(self.longest);
    }

    /// Returns the longest pause, for after a failure: those must not come in quick succession.
    pub(super) fn longest(&self) -> Duration {
        self.longest
    }

    /// Returns the next pause, half as long again as the one before.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 3 / 2).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_begin_anew() {
        let mut pace = Pace::up_to(Duration::from_millis(60));

        let first: Vec<_> = (0..5).map(|_| pace.pause().as_millis()).collect();
        pace.quicken();

        assert_eq!(first, [20, 30, 45, 60, 60]);
        assert_eq!(pace.pause(), FIRST);
        assert_eq!(Pace::up_to(Duration::from_millis(5)).pause(), Duration::from_millis(5));
    }
}
