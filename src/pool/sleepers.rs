//! The workers of a pool that sleep, and how they are woken: as few as there is work for.
//!
//! To wake a thread costs the waker a system call and, where the other processor has to be roused from idling, an
//! interrupt; in a virtual machine that is some 30 µs, in which thirty small blocks are judged. A queue that wakes a
//! sleeper for each thing put into it makes the submitter pay that, and two workers get up for what one of them would
//! have done. So whoever hands over wakes one worker, and only where none is awake: one that is awake looks into the
//! queue before it sleeps. More are woken where the submitter has run out of things to do itself: then the workers are
//! what everything waits for.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

/// Those who sleep, and their number beside them, which is looked at without the lock.
#[derive(Default)]
pub(super) struct Sleepers {
    threads: Mutex<Vec<Thread>>,
    count: AtomicUsize,
}

impl Sleepers {
    /// Sleeps until woken or for so long, `None` for as long as it takes. `news` is asked once this thread is known to
    /// sleep: work that was put down before that was put down by someone who may have seen nobody to be woken. May also
    /// come back for nothing.
    pub(super) fn sleep(&self, limit: Option<Duration>, news: impl FnOnce() -> bool) {
        let me = thread::current();
        let mut threads = self.lock();
        threads.push(me.clone());
        self.count.store(threads.len(), Ordering::SeqCst);
        drop(threads);
        // Against the one in `asleep`: either we see the work, or whoever put it down sees us.
        fence(Ordering::SeqCst);
        if !news() {
            match limit {
                Some(limit) => thread::park_timeout(limit),
                None => thread::park(),
            }
        }
        let mut threads = self.lock();
        threads.retain(|thread| thread.id() != me.id());
        self.count.store(threads.len(), Ordering::SeqCst);
        drop(threads);
        // Whoever counted this thread among those asleep had put down the work before: it is seen now.
        fence(Ordering::SeqCst);
    }

    /// How many sleep. Whoever asks has put down the work before.
    pub(super) fn asleep(&self) -> usize {
        fence(Ordering::SeqCst);
        self.count.load(Ordering::SeqCst)
    }

    /// Wakes the one that fell asleep last, whose cache is the warmest.
    pub(super) fn wake_one(&self) {
        let mut threads = self.lock();
        let woken = threads.pop();
        self.count.store(threads.len(), Ordering::SeqCst);
        drop(threads);
        if let Some(thread) = woken {
            thread.unpark();
        }
    }

    pub(super) fn wake_all(&self) {
        self.lock().iter().for_each(Thread::unpark);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Thread>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    fn wait_until(what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(Instant::now() < deadline, "{what}");
            thread::yield_now();
        }
    }

    #[test]
    fn who_has_work_already_does_not_sleep_and_leaves_no_trace() {
        let sleepers = Sleepers::default();
        sleepers.sleep(None, || {
            assert_eq!(sleepers.asleep(), 1, "the question is asked by one who can be woken");
            true
        });
        assert_eq!(sleepers.asleep(), 0);
        sleepers.wake_one();
        sleepers.sleep(Some(Duration::from_millis(1)), || false);
        assert_eq!(sleepers.asleep(), 0);
    }

    #[test]
    fn one_is_woken_at_a_time_and_all_in_the_end() {
        let (sleepers, up) = (Arc::new(Sleepers::default()), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (sleepers, up) = (Arc::clone(&sleepers), Arc::clone(&up));
                thread::spawn(move || {
                    sleepers.sleep(None, || false);
                    up.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        wait_until("all sleep", || sleepers.asleep() == 3);
        sleepers.wake_one();
        wait_until("one is up", || up.load(Ordering::SeqCst) == 1);
        assert_eq!(sleepers.asleep(), 2);
        sleepers.wake_all();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((up.load(Ordering::SeqCst), sleepers.asleep()), (3, 0));
    }
}
