//! When a patrol may read on: by a rate, by the time that a pass is to take, or by both. Pure: time is an argument.
//!
//! The schedule of a pass runs from its beginning, whoever was there to read meanwhile: after downtime a pass is behind,
//! and catches up as fast as the device reads, but never above the rate. What may be read is granted in portions of about
//! a second's worth, so that waiting costs one wake-up a portion and nothing else.

/// What a patrol is held to. Neither: as fast as the device reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Bytes a second at the most; above 0.
    pub rate: Option<u64>,
    /// Nanoseconds over which a pass is spread; above 0.
    pub pass_ns: Option<u64>,
}

impl Pace {
    /// Whether anything is asked for.
    #[must_use]
    pub fn is_paced(&self) -> bool {
        self.rate.is_some() || self.pass_ns.is_some()
    }
}

/// Portions are worth this time.
const PORTION_NS: u64 = 1_000_000_000;

/// The largest portion: as many bytes as are read at once, 8 spans of 1 MiB, are 80 ms of a disk of 100 MB/s.
const MOST: u64 = 8 << 20;

/// The pacing of one pass.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    pace: Pace,
    blocks: u64,
    block_size: u64,
    /// When the pass began, in nanoseconds of monotonic time. Before the machine was up, where it began in another boot.
    began: i128,
    /// Bytes that are still granted by the rate, and when more are.
    granted: u64,
    more_at: u64,
}

impl Pacer {
    /// A pass over so many blocks of this size that began `elapsed_ns` before `now_ns`.
    #[must_use]
    pub fn new(pace: Pace, blocks: u64, block_size: u32, now_ns: u64, elapsed_ns: u64) -> Self {
        let began = i128::from(now_ns) - i128::from(elapsed_ns);
        Pacer { pace, blocks, block_size: u64::from(block_size), began, granted: 0, more_at: 0 }
    }

    /// What it is held to.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Another pace from now on. The pass began when it began.
    pub fn change(&mut self, pace: Pace) {
        (self.pace, self.granted, self.more_at) = (pace, 0, 0);
    }

    /// The next pass: from now on, or from when the one before was to end, where that is still to come.
    pub fn begin_next(&mut self, now_ns: u64) {
        let planned_end = self.began + i128::from(self.pace.pass_ns.unwrap_or(0));
        self.began = planned_end.max(i128::from(now_ns));
    }

    /// When the pass began, or is to begin, in nanoseconds before `now_ns`; below 0 where that is still to come.
    #[must_use]
    pub fn elapsed_ns(&self, now_ns: u64) -> i128 {
        i128::from(now_ns) - self.began
    }

    /// When the pass may read on from this block, in nanoseconds of monotonic time; what is not above now is now.
    #[must_use]
    pub fn due(&self, next: u64) -> u64 {
        self.due_by_rate().max(self.due_by_schedule(next))
    }

    /// The same for reads that are no part of the pass.
    #[must_use]
    pub fn due_by_rate(&self) -> u64 {
        match self.pace.rate {
            Some(_) if self.granted == 0 => self.more_at,
            _ => 0,
        }
    }

    fn due_by_schedule(&self, next: u64) -> u64 {
        let Some(pass_ns) = self.pace.pass_ns else { return 0 };
        let first_of_portion = next - next % self.portion_of_schedule(pass_ns);
        let at = self.began + self.planned_ns(pass_ns, first_of_portion);
        u64::try_from(at.max(0)).unwrap_or(u64::MAX)
    }

    /// Where the schedule is when so many blocks are read, in nanoseconds from its beginning.
    fn planned_ns(&self, pass_ns: u64, blocks: u64) -> i128 {
        i128::from(pass_ns) * i128::from(blocks) / i128::from(self.blocks)
    }

    /// In blocks.
    fn portion_of_schedule(&self, pass_ns: u64) -> u64 {
        let bytes = u128::from(self.blocks) * u128::from(self.block_size);
        let worth = bytes * u128::from(PORTION_NS) / u128::from(pass_ns.max(1));
        (u64::try_from(worth).unwrap_or(MOST).min(MOST) / self.block_size).max(1)
    }

    /// So many bytes are being read. To be called with what [`Pacer::due`] or [`Pacer::due_by_rate`] has let through.
    pub fn reads(&mut self, now_ns: u64, bytes: u64) {
        let Some(rate) = self.pace.rate.map(|rate| rate.max(1)) else { return };
        if self.granted == 0 {
            self.granted = rate.min(MOST).max(self.block_size);
            // Time in which nothing was read is not saved up.
            self.more_at = self.more_at.max(now_ns);
        }
        self.granted = self.granted.saturating_sub(bytes);
        let costs = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(rate));
        self.more_at = self.more_at.saturating_add(u64::try_from(costs).unwrap_or(u64::MAX));
    }

    /// How far the pass is behind its schedule when it stands before this block, in nanoseconds; below 0 where it is ahead.
    /// `None` without a schedule.
    #[must_use]
    pub fn lag_ns(&self, now_ns: u64, next: u64) -> Option<i128> {
        let pass_ns = self.pace.pass_ns?;
        Some(self.elapsed_ns(now_ns) - self.planned_ns(pass_ns, next))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const DAY: u64 = 86_400 * SECOND;
    /// Of 1 MiB each.
    const BLOCK: u32 = 1 << 20;

    /// Reads as soon as it may, span by span; times and places of all reads.
    fn patrol(pacer: &mut Pacer, mut now: u64, mut next: u64, blocks: u64, most: u64) -> Vec<(u64, u64)> {
        let mut reads = Vec::new();
        while next < blocks {
            now = now.max(pacer.due(next));
            let count = most.min(blocks - next);
            pacer.reads(now, count * u64::from(BLOCK));
            reads.push((now, next));
            next += count;
        }
        reads
    }

    #[test]
    fn without_a_pace_nothing_waits() {
        let mut pacer = Pacer::new(Pace::default(), 1000, BLOCK, 5, 0);
        assert!(patrol(&mut pacer, 5, 0, 1000, 1).iter().all(|(at, _)| *at == 5));
        assert_eq!(pacer.lag_ns(7, 3), None);
    }

    #[test]
    fn a_pass_is_spread_over_its_time_and_begins_at_once() {
        let pace = Pace { pass_ns: Some(14 * DAY), rate: None };
        let mut pacer = Pacer::new(pace, 1 << 20, BLOCK, 100, 0);
        let reads = patrol(&mut pacer, 100, 0, 1 << 20, 1);
        assert_eq!(reads[0], (100, 0));
        // Halfway through the blocks half of the time is gone, and the last portion is due just before its end.
        assert_eq!(reads[1 << 19].0, 100 + 7 * DAY);
        let last = reads.last().unwrap().0;
        assert!(last < 100 + 14 * DAY && last > 100 + 14 * DAY - 3 * SECOND, "{last}");
    }

    #[test]
    fn waiting_wakes_about_once_a_second_and_not_more_often_than_there_is_something_to_read() {
        let waits = |pace| {
            let mut pacer = Pacer::new(pace, 100_000, BLOCK, 0, 0);
            let mut times: Vec<u64> = patrol(&mut pacer, 0, 0, 100_000, 1).iter().map(|(at, _)| *at).collect();
            times.dedup();
            times.len()
        };
        // 100,000 MiB in 14 days: a block each 12 s. In a day: more than one a second, in portions of one.
        assert_eq!(waits(Pace { pass_ns: Some(14 * DAY), rate: None }), 100_000);
        // In 6 h: 4.6 MiB a second, in portions of 4.
        assert_eq!(waits(Pace { pass_ns: Some(DAY / 4), rate: None }), 25_000);
        // 50 MiB/s: in portions of 8 MiB, six times a second.
        assert_eq!(waits(Pace { pass_ns: None, rate: Some(50 << 20) }), 12_500);
    }

    #[test]
    fn the_rate_is_kept_over_any_stretch_but_for_one_portion() {
        let rate = 3 << 20;
        let mut pacer = Pacer::new(Pace { rate: Some(rate), pass_ns: None }, 1000, BLOCK, 0, 0);
        let reads = patrol(&mut pacer, 0, 0, 1000, 1);
        for (at, (time, block)) in reads.iter().enumerate() {
            for (later, beyond) in reads[at..].iter().step_by(37) {
                let bytes = (beyond - block + 1) * u64::from(BLOCK);
                let allowed = (u128::from(later - time) * u128::from(rate) / u128::from(SECOND)) as u64 + rate;
                assert!(bytes <= allowed, "{bytes} bytes in {} ns", later - time);
            }
        }
        let seconds = reads.last().unwrap().0 / SECOND;
        assert!((331..=333).contains(&seconds), "1000 MiB at 3 MiB/s took {seconds} s");
    }

    #[test]
    fn time_in_which_nothing_was_read_is_not_saved_up_by_the_rate() {
        let mut pacer = Pacer::new(Pace { rate: Some(1 << 20), pass_ns: None }, 1000, BLOCK, 0, 0);
        patrol(&mut pacer, 0, 0, 10, 1);
        let after_a_pause = 10_000 * SECOND;
        let reads = patrol(&mut pacer, after_a_pause, 10, 20, 1);
        assert_eq!(reads[9].0, after_a_pause + 9 * SECOND);
    }

    #[test]
    fn after_downtime_it_catches_up_and_never_above_the_rate() {
        let pass = Pace { pass_ns: Some(10 * DAY), rate: None };
        // Half of the time is gone, nothing is read.
        let mut pacer = Pacer::new(pass, 10_000, BLOCK, 0, 5 * DAY);
        assert_eq!(pacer.lag_ns(0, 0), Some(i128::from(5 * DAY)));
        let reads = patrol(&mut pacer, 0, 0, 10_000, 1);
        assert_eq!((reads[5000].0, reads[5001].0 / SECOND), (0, 86), "up to where it should be at once, then on time");
        let capped = Pace { rate: Some(1 << 20), ..pass };
        let mut pacer = Pacer::new(capped, 10_000, BLOCK, 0, 5 * DAY);
        let reads = patrol(&mut pacer, 0, 0, 10_000, 1);
        assert_eq!(reads[4000].0, 4000 * SECOND);
        assert_eq!(reads[9000].0, 4 * DAY, "it has caught up long before");
    }

    #[test]
    fn the_next_pass_begins_when_the_one_before_was_to_end_or_now_when_that_is_over() {
        let mut pacer = Pacer::new(Pace { pass_ns: Some(DAY), rate: None }, 10, BLOCK, 0, 0);
        pacer.begin_next(DAY / 2);
        assert_eq!((pacer.due(0), pacer.elapsed_ns(DAY / 2)), (DAY, -i128::from(DAY / 2)));
        pacer.begin_next(5 * DAY);
        assert_eq!(pacer.due(0), 5 * DAY);
    }

    #[test]
    fn a_longer_pass_time_leaves_it_ahead_and_a_shorter_one_behind() {
        let mut pacer = Pacer::new(Pace { pass_ns: Some(DAY), rate: None }, 10, BLOCK, DAY, DAY / 2);
        assert_eq!(pacer.lag_ns(DAY, 5), Some(0));
        pacer.change(Pace { pass_ns: Some(2 * DAY), rate: None });
        assert_eq!(pacer.lag_ns(DAY, 5), Some(-i128::from(DAY / 2)));
        assert_eq!(pacer.due(5), DAY + DAY / 2);
        pacer.change(Pace { pass_ns: Some(DAY / 2), rate: None });
        assert_eq!(pacer.lag_ns(DAY, 5), Some(i128::from(DAY / 4)));
    }

    proptest! {
        #[test]
        fn any_pace_gets_through_any_region_and_no_number_overflows(
            rate in proptest::option::of(1u64..),
            pass_ns in proptest::option::of(1u64..),
            blocks in 1u64..200,
            block_size in proptest::sample::select(vec![4096u32, 65536, 4 << 20]),
            now in any::<u64>(),
            elapsed in any::<u64>(),
        ) {
            let mut pacer = Pacer::new(Pace { rate, pass_ns }, blocks, block_size, now, elapsed);
            let mut last = 0;
            for next in 0..blocks {
                let due = pacer.due(next);
                prop_assert!(pacer.due_by_rate() <= due);
                let at = now.max(due).max(last);
                prop_assert!(pacer.lag_ns(at, next).is_some() == pass_ns.is_some());
                pacer.reads(at, u64::from(block_size));
                last = at;
            }
            pacer.begin_next(last);
        }
    }
}
