//! One token that every blocking operation polls.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How far an interrupt has gone.
#[derive(Debug, Default)]
struct Inner {
    level: AtomicU8,
    pause: AtomicBool,
    unattended: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

/// A shared token. Clones see the same state.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    inner: Arc<Inner>,
    /// How many requests do not count.
    above: u8,
}

impl Cancel {
    /// Makes a token that nobody has cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everything that polls this token to end; returns how often this was asked by now.
    pub fn cancel(&self) -> u8 {
        let level = self.inner.level.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        let _guard = self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.changed.notify_all();
        level
    }

    /// As [`Cancel::cancel`], by somebody who wants a pause and nothing else: nobody is to be asked what to do.
    pub fn pause(&self) {
        self.inner.pause.store(true, Ordering::SeqCst);
        if !self.is_cancelled() {
            self.cancel();
        }
    }

    /// As [`Cancel::cancel`], by somebody who is not at the terminal: nobody is asked what to do.
    pub fn cancel_unattended(&self) {
        self.inner.unattended.store(true, Ordering::SeqCst);
        self.cancel();
    }

    /// Returns whether somebody cancelled who is not at the terminal.
    pub fn is_unattended(&self) -> bool {
        self.inner.unattended.load(Ordering::SeqCst)
    }

    /// Returns what a question that is open now compares with: once [`Cancel::is_beyond`] it, nobody waits for an answer.
    pub fn mark(&self) -> (u8, bool) {
        (self.level(), self.wants_pause())
    }

    /// Returns whether more was asked for since the mark.
    pub fn is_beyond(&self, mark: (u8, bool)) -> bool {
        self.level() > mark.0 || (self.wants_pause() && !mark.1)
    }

    /// Returns whether a pause is wanted and nothing else.
    pub fn wants_pause(&self) -> bool {
        self.inner.pause.load(Ordering::SeqCst)
    }

    /// Returns whether somebody cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.level() > 0
    }

    /// Returns how often it was asked for.
    pub fn level(&self) -> u8 {
        self.inner.level.load(Ordering::SeqCst).saturating_sub(self.above)
    }

    /// Returns the token for what the first request begins and only a second one ends.
    #[must_use]
    pub fn second(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), above: self.above.saturating_add(1) }
    }

    /// Takes the request back: the operator chose to go on, or undo begins.
    pub fn reset(&self) {
        self.inner.pause.store(false, Ordering::SeqCst);
        self.inner.unattended.store(false, Ordering::SeqCst);
        self.inner.level.store(0, Ordering::SeqCst);
    }

    /// Sleeps for `duration` or until cancelled; returns whether it was cancelled.
    pub fn sleep(&self, duration: Duration) -> bool {
        let end = Instant::now() + duration;
        let mut guard = self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_cancelled() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            guard = self
                .inner
                .changed
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_ends_when_cancelled() {
        let cancel = Cancel::new();
        let other = cancel.clone();
        let started = Instant::now();
        let waker = std::thread::spawn(move || other.cancel());

        assert!(cancel.sleep(Duration::from_secs(20)));

        assert!(started.elapsed() < Duration::from_secs(10));
        waker.join().unwrap();
        cancel.reset();
        assert!(!cancel.sleep(Duration::from_millis(1)));
    }

    #[test]
    fn what_waits_for_the_second_request_passes_over_the_first() {
        let cancel = Cancel::new();
        let second = cancel.second();

        cancel.cancel();
        assert!(cancel.is_cancelled() && !second.is_cancelled());
        cancel.cancel();
        assert_eq!((cancel.level(), second.level()), (2, 1));
        cancel.reset();
        assert!(!second.is_cancelled());
    }

    #[test]
    fn an_open_question_is_closed_by_what_comes_after_it() {
        let cancel = Cancel::new();
        cancel.cancel();
        let mark = cancel.mark();
        assert!(!cancel.is_beyond(mark));

        cancel.pause();
        assert!(cancel.is_beyond(mark), "a pause, though it was interrupted before");
        let mark = cancel.mark();
        cancel.cancel_unattended();
        assert!(cancel.is_beyond(mark) && cancel.is_unattended());
    }
}
