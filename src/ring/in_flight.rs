//! How many requests are in flight, for threads other than the ring's.
//!
//! Zero means that every completion was reaped. It does **not** mean that anything is durable: a disk answers a write
//! from its cache, and only a flush submitted afterwards promises. The model is kvmtool's disk AIO, where draining
//! before a migration was mistaken for flushing.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The count, lock-free for the ring; the lock is taken only when it reaches zero while someone waits.
#[derive(Debug, Default)]
pub struct InFlight {
    count: AtomicU32,
    waiters: AtomicU32,
    parking: Mutex<()>,
    drained: Condvar,
}

impl InFlight {
    /// Requests submitted and not yet reaped.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits for a moment at which nothing is in flight; `false` when the time was over first. This is not a flush, and
    /// it does not keep the ring from submitting more.
    ///
    /// Only the ring's own thread brings the count down, by reaping: called from there it runs into its timeout.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        if self.get() == 0 {
            return true;
        }
        let deadline = Instant::now().checked_add(timeout);
        // Announce first, look second; `remove` counts first, looks for waiters second. In whichever order they meet,
        // one of the two sees the other, and the lock keeps the notification from falling between look and sleep.
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let mut parked = self.parking.lock().unwrap_or_else(PoisonError::into_inner);
        let drained = loop {
            if self.get() == 0 {
                break true;
            }
            let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break false;
            }
            parked = self.drained.wait_timeout(parked, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(parked);
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        drained
    }

    pub(super) fn add(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn remove(&self) {
        let before = self.count.fetch_sub(1, Ordering::SeqCst);
        assert!(before > 0, "a request ended twice");
        if before == 1 && self.waiters.load(Ordering::SeqCst) > 0 {
            drop(self.parking.lock().unwrap_or_else(PoisonError::into_inner));
            self.drained.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn waiting_gives_up_in_time_and_returns_at_once_when_there_is_nothing() {
        let count = InFlight::default();
        assert!(count.wait(Duration::ZERO));
        count.add();
        assert!(!count.wait(Duration::from_millis(5)));
        assert_eq!(count.get(), 1);
    }

    #[test]
    fn no_waiter_sleeps_through_the_last_completion() {
        let count = Arc::new(InFlight::default());
        for _ in 0..500 {
            count.add();
            count.add();
            let waiters: Vec<_> = (0..2)
                .map(|_| {
                    let count = Arc::clone(&count);
                    thread::spawn(move || count.wait(Duration::from_secs(10)))
                })
                .collect();
            count.remove();
            count.remove();
            assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap()));
        }
    }
}
