//! How long a thread looks for news before it sleeps.
//!
//! To put a thread to sleep and to wake it costs two switches and, on another processor, an interrupt: 5 to 50 µs, in
//! which a 4 KiB block is sealed ten times over. So a thread that is about to wait looks for a while first. It does so
//! only as long as looking has been worth it: news that came later than [`LONGEST`] halves the time that the next look
//! gets, news in time restores it. A disk that takes a millisecond is waited for asleep; so is everything where there
//! is one processor only, as whoever would bring the news needs it.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What a sleep and its wake-up cost at worst. To look for longer than that is dearer than to sleep.
const LONGEST: Duration = Duration::from_micros(50);

/// Looks between two yields of the processor: some 0.3 µs. A yield costs as much, and lets run whoever is to bring the news.
const LOOKS: u32 = 16;

/// After so many looks in vain, one gets less than a microsecond.
const MOST_MISSES: u32 = 6;

/// One waiting place of one thread, and what it has learnt.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    misses: u32,
    /// When the look began that ended in vain.
    began: Option<Instant>,
}

impl Patience {
    /// Looks until there is news or the time for it is over, then lets `sleep` wait for the rest. `look` must be cheap, and
    /// leave news where it is or hand it out.
    pub(crate) fn wait<News>(
        &mut self,
        look: impl FnMut() -> Option<News>,
        sleep: impl FnOnce() -> Option<News>,
    ) -> Option<News> {
        self.look(look).or_else(|| {
            let news = sleep();
            self.slept();
            news
        })
    }

    /// The look alone. Where it is in vain, [`Patience::slept`] is to be called after the sleep that follows.
    pub(crate) fn look<News>(&mut self, mut look: impl FnMut() -> Option<News>) -> Option<News> {
        if let Some(news) = look() {
            return Some(news);
        }
        if processors() < 2 {
            return None;
        }
        let began = Instant::now();
        let limit = LONGEST / (1 << self.misses);
        loop {
            for _ in 0..LOOKS {
                std::hint::spin_loop();
                if let Some(news) = look() {
                    self.misses = 0;
                    return Some(news);
                }
            }
            if began.elapsed() >= limit {
                self.began = Some(began);
                return None;
            }
            std::thread::yield_now();
        }
    }

    /// The sleep is over. What it brought would have been seen by a longer look, or by none.
    pub(crate) fn slept(&mut self) {
        if let Some(began) = self.began.take() {
            self.misses = if began.elapsed() < LONGEST { 0 } else { (self.misses + 1).min(MOST_MISSES) };
        }
    }
}

/// Processors that this process may use, as of the first question.
fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_that_is_there_is_neither_looked_for_nor_slept_for() {
        let mut patience = Patience::default();
        assert_eq!(patience.wait(|| Some(7), || panic!("slept")), Some(7));
    }

    #[test]
    fn looking_in_vain_gets_shorter_and_late_news_does_not_restore_it() {
        let mut patience = Patience::default();
        for misses in 1..10 {
            let late = || {
                std::thread::sleep(LONGEST);
                Some(1)
            };
            assert_eq!(patience.wait(|| None, late), Some(1));
            if processors() > 1 {
                assert_eq!(patience.misses, misses.min(MOST_MISSES));
            }
        }
    }

    #[test]
    fn news_while_looking_restores_it() {
        let mut patience = Patience { misses: 3, began: None };
        let mut looks = 0;
        let news = patience.wait(
            || {
                looks += 1;
                (looks == 3).then_some(())
            },
            || Some(()),
        );
        assert_eq!(news, Some(()));
        if processors() > 1 {
            assert_eq!((patience.misses, looks), (0, 3));
        }
    }
}
