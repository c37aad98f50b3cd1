//! The same work for many things at once, on a bounded number of threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::STACK;

/// How many targets are worked on at once where nobody says how many.
pub const AT_ONCE: usize = 64;

/// Does the work of number 0 to `count` on threads of their own, at most `max` at once: a thread takes the next one
/// when it is through with one, unless `stopped` says of that one that it is not to begin any more, nor the later ones.
/// Returns the results in order; none for what did not begin.
pub fn side_by_side<T: Send>(
    count: usize,
    max: usize,
    stopped: &(dyn Fn(usize) -> bool + Sync),
    work: &(dyn Fn(usize) -> T + Sync),
) -> Vec<Option<T>> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<T>>> = Mutex::new((0..count).map(|_| None).collect());
    let take = || {
        loop {
            let index = next.fetch_add(1, Ordering::SeqCst);
            if index >= count || stopped(index) {
                break;
            }
            let result = work(index);
            results.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for number in 0..max.min(count) {
            let thread =
                std::thread::Builder::new().name(format!("lane {number}")).stack_size(STACK);
            if thread.spawn_scoped(scope, take).is_err() && number == 0 {
                // Not one thread to be had: all is done here, one after the other.
                take();
                break;
            }
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}
