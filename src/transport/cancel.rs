//! One token that every blocking operation polls.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How far an interrupt has gone.
#[derive(Debug, Default)]
struct Inner {
    level: AtomicU8,
    pause: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

/// A shared token. Clones see the same state.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Inner>);

impl Cancel {
    /// Makes a token that nobody has cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everything that polls this token to end; returns how often this was asked by now.
    pub fn cancel(&self) -> u8 {
        let level = self.0.level.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        let _guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.changed.notify_all();
        level
    }

    /// As [`Cancel::cancel`], by somebody who wants a pause and nothing else: nobody is to be asked what to do.
    pub fn pause(&self) {
        self.0.pause.store(true, Ordering::SeqCst);
        if !self.is_cancelled() {
            self.cancel();
        }
    }

    /// Returns whether a pause is wanted and nothing else.
    pub fn wants_pause(&self) -> bool {
        self.0.pause.load(Ordering::SeqCst)
    }

    /// Returns whether somebody cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.level.load(Ordering::SeqCst) > 0
    }

    /// Returns how often it was asked for.
    pub fn level(&self) -> u8 {
        self.0.level.load(Ordering::SeqCst)
    }

    /// Takes the request back: the operator chose to go on, or undo begins.
    pub fn reset(&self) {
        self.0.pause.store(false, Ordering::SeqCst);
        self.0.level.store(0, Ordering::SeqCst);
    }

    /// Sleeps for `duration` or until cancelled; returns whether it was cancelled.
    pub fn sleep(&self, duration: Duration) -> bool {
        let end = Instant::now() + duration;
        let mut guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_cancelled() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            guard =
                self.0.changed.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
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
}
