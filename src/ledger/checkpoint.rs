//! The saved form of the ledger: the payload of a slot.
//!
//! All integers little-endian. The envelope around it (magic, version, number, run, target, BLAKE3) is `slots`'.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | promise: 1 ack, 2 fua, 3 flush |
//! | 1 | 1 | 1 after a clean stop, else 0 |
//! | 2 | 6 | zero |
//! | 8 | 8 | wall clock, nanoseconds since 1970 |
//! | 16 | 8 | D, durable frontier, which is the base of the window |
//! | 24 | 8 | R, reserved frontier |
//! | 32 | 8 | V, verified frontier |
//! | 40 | 8 | bytes written in the run |
//! | 48 | 8 | bytes verified in the run |
//! | 56 | 8 | cuts survived |
//! | 64 | 4 | W, writes in the window |
//! | 68 | 4 | F, flushes remembered |
//! | 72 | 4 | E, epochs |
//! | 76 | 4 | zero |
//! | 80 | 24 F | flushes, oldest first: number, durable frontier, wall clock, 8 bytes each |
//! | … | 40 E | epochs, oldest first: number, nonce, P, reserved frontier at its end, last checkpoint, 8 bytes each |
//! | … | ⌈W/4⌉ | window from D upward, two bits a write, low bits first: 0 unissued, 1 issued, 2 completed, 3 durable |

use super::epochs::{EpochRecord, Epochs};
use super::ledger::{MAX_FLUSHES, Totals};
use super::legal::FlushRecord;
use super::window::{MAX_WINDOW, Window, WriteState};
use crate::vocabulary::{Epoch, Promise, Seq};

/// The ledger as it was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Checkpoints are numbered within the run; kept by the envelope.
    pub number: u64,
    /// What the disk was held to.
    pub promise: Promise,
    /// Saved by a clean stop: nothing was in flight, and everything issued was durable.
    pub clean: bool,
    /// R.
    pub reserved: Seq,
    /// Everything below was read back and judged.
    pub verified: Seq,
    /// D, and the states of the writes above.
    pub window: Window,
    /// Epochs of one pass back.
    pub epochs: Epochs,
    /// The newest flushes that succeeded.
    pub flushes: Vec<FlushRecord>,
    /// Counts over the life of the run.
    pub totals: Totals,
    /// When it was saved, in nanoseconds since 1970.
    pub wall_ns: u64,
}

/// Why a payload whose envelope is sound cannot be read. Not a damage of the disk: a fault of the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the saved ledger is not consistent: {0}")]
pub struct Inconsistent(pub &'static str);

const FIXED: usize = 80;
const FLUSH: usize = 24;
const EPOCH: usize = 40;

impl Checkpoint {
    /// The state of a run that has not written anything.
    #[must_use]
    pub fn first(promise: Promise, wall_ns: u64) -> Self {
        Checkpoint {
            number: 1,
            promise,
            clean: true,
            reserved: Seq(0),
            verified: Seq(0),
            window: Window::new(Seq(0)),
            epochs: Epochs::default(),
            flushes: Vec::new(),
            totals: Totals::default(),
            wall_ns,
        }
    }

    /// D.
    #[must_use]
    pub fn durable(&self) -> Seq {
        self.window.base()
    }

    /// The payload of a slot.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (flushes, epochs, states) = (&self.flushes, self.epochs.records(), self.window.states());
        let mut bytes = Vec::with_capacity(FIXED + flushes.len() * FLUSH + epochs.len() * EPOCH + states.len() / 4 + 1);
        bytes.extend([self.promise as u8, u8::from(self.clean), 0, 0, 0, 0, 0, 0]);
        let fixed = [
            self.wall_ns,
            self.durable().0,
            self.reserved.0,
            self.verified.0,
            self.totals.written,
            self.totals.verified,
            self.totals.cuts,
        ];
        fixed.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        for count in [states.len(), flushes.len(), epochs.len(), 0] {
            bytes.extend(u32::try_from(count).expect("bounded").to_le_bytes());
        }
        for flush in flushes {
            [flush.number, flush.durable.0, flush.wall_ns].iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        }
        for record in epochs {
            let EpochRecord { epoch, restart, reserved, last_checkpoint } = *record;
            let words = [epoch.number, epoch.nonce, restart.0, reserved.0, last_checkpoint];
            words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        }
        let mut states = states;
        while states.len() > 0 {
            let four = states.by_ref().take(4).enumerate();
            bytes.push(four.fold(0, |byte, (at, state)| byte | (state as u8) << (2 * at)));
        }
        bytes
    }

    /// Reads the payload of a sound slot.
    ///
    /// # Errors
    /// When the numbers contradict each other.
    pub fn decode(number: u64, bytes: &[u8]) -> Result<Self, Inconsistent> {
        let mut words = Reader(bytes);
        let [promise, clean, 0, 0, 0, 0, 0, 0] = words.take::<8>()? else {
            return Err(Inconsistent("reserved bytes are set"));
        };
        let promise = Promise::from_byte(promise).ok_or(Inconsistent("an unknown promise"))?;
        if clean > 1 {
            return Err(Inconsistent("a clean stop is 0 or 1"));
        }
        let wall_ns = words.word()?;
        let [durable, reserved, verified] = [Seq(words.word()?), Seq(words.word()?), Seq(words.word()?)];
        let totals = Totals { written: words.word()?, verified: words.word()?, cuts: words.word()? };
        let [states, flushes, epochs, _] = [words.half()?, words.half()?, words.half()?, words.half()?];
        if states as u64 > MAX_WINDOW || flushes > MAX_FLUSHES {
            return Err(Inconsistent("longer than it can be"));
        }
        let flushes = (0..flushes)
            .map(|_| Ok(FlushRecord { number: words.word()?, durable: Seq(words.word()?), wall_ns: words.word()? }))
            .collect::<Result<Vec<_>, Inconsistent>>()?;
        let records = (0..epochs).map(|_| words.epoch()).collect::<Result<Vec<_>, Inconsistent>>()?;
        if words.0.len() != states.div_ceil(4) {
            return Err(Inconsistent("its length does not fit its counts"));
        }
        let bits = words.0;
        let states = (0..states).map(|at| WriteState::from_bits(bits[at / 4] >> (2 * (at % 4))));
        let window = Window::with_states(durable, states);
        if window.end() > reserved || verified > window.end() {
            return Err(Inconsistent("frontiers cross"));
        }
        let epochs = Epochs::from_records(records).map_err(Inconsistent)?;
        Ok(Checkpoint {
            number,
            promise,
            clean: clean == 1,
            reserved,
            verified,
            window,
            epochs,
            flushes,
            totals,
            wall_ns,
        })
    }
}

/// Takes fixed widths off the front; never panics on rotten bytes.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Inconsistent> {
        let (head, tail) = self.0.split_first_chunk().ok_or(Inconsistent("it ends early"))?;
        self.0 = tail;
        Ok(*head)
    }

    fn word(&mut self) -> Result<u64, Inconsistent> {
        let word = u64::from_le_bytes(self.take()?);
        // Sums of two frontiers must not overflow; no disk lives to see 2^62 writes.
        if word >> 63 == 0 { Ok(word) } else { Err(Inconsistent("a number beyond all bounds")) }
    }

    fn half(&mut self) -> Result<usize, Inconsistent> {
        Ok(u32::from_le_bytes(self.take()?) as usize)
    }

    fn epoch(&mut self) -> Result<EpochRecord, Inconsistent> {
        let number = self.word()?;
        let nonce = u64::from_le_bytes(self.take()?);
        let [restart, reserved] = [Seq(self.word()?), Seq(self.word()?)];
        Ok(EpochRecord { epoch: Epoch { number, nonce }, restart, reserved, last_checkpoint: self.word()? })
    }
}

#[cfg(test)]
mod tests;
