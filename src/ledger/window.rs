//! What is known of each write between the durable frontier and the newest one issued.

use std::collections::VecDeque;

use crate::vocabulary::Seq;

/// Writes between D and R at the most: 65,536 writes, two bits each in a slot, 16 KiB. At 64 KiB a block, 4 GiB that
/// a restart has to read first.
pub const MAX_WINDOW: u64 = 1 << 16;

/// What is known of one write of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WriteState {
    /// Not issued as far as is known; below R it may have been.
    Unissued = 0,
    /// Handed to the disk, its completion not seen.
    Issued = 1,
    /// Its completion was seen; no flush that was submitted since has succeeded.
    Completed = 2,
    /// Guaranteed, although a lower write is still open.
    Durable = 3,
}

impl WriteState {
    pub(super) fn from_bits(bits: u8) -> Self {
        [WriteState::Unissued, WriteState::Issued, WriteState::Completed, WriteState::Durable][usize::from(bits & 3)]
    }
}

/// The states of the writes from `base`, which is D, upward.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    base: Seq,
    states: VecDeque<WriteState>,
}

impl Window {
    /// A window in which nothing is known.
    #[must_use]
    pub fn new(base: Seq) -> Self {
        Window { base, states: VecDeque::new() }
    }

    pub(super) fn with_states(base: Seq, states: impl IntoIterator<Item = WriteState>) -> Self {
        Window { base, states: states.into_iter().collect() }
    }

    /// D: the lowest write that is not known to be durable.
    #[must_use]
    pub fn base(&self) -> Seq {
        self.base
    }

    /// The frontier above which nothing is known to have been issued.
    #[must_use]
    pub fn end(&self) -> Seq {
        Seq(self.base.0 + self.states.len() as u64)
    }

    /// What is known of a write; everything below the window is durable.
    #[must_use]
    pub fn state(&self, seq: Seq) -> WriteState {
        match seq.0.checked_sub(self.base.0) {
            None => WriteState::Durable,
            Some(index) => self.states.get(index as usize).copied().unwrap_or(WriteState::Unissued),
        }
    }

    pub(super) fn states(&self) -> impl ExactSizeIterator<Item = WriteState> + '_ {
        self.states.iter().copied()
    }

    /// Moves a write forward. Returns false when it was there already or further.
    ///
    /// # Panics
    /// When the write is below the window, or the window would outgrow [`MAX_WINDOW`].
    pub(super) fn advance(&mut self, seq: Seq, state: WriteState) -> bool {
        let index = seq.0.checked_sub(self.base.0).expect("a write of the window");
        assert!(index < MAX_WINDOW, "write {seq} is {index} above the durable frontier");
        let index = index as usize;
        if index >= self.states.len() {
            self.states.resize(index + 1, WriteState::Unissued);
        }
        let moved = self.states[index] < state;
        if moved {
            self.states[index] = state;
        }
        moved
    }

    /// Lets D follow the durable writes at the bottom.
    pub(super) fn settle(&mut self) {
        while self.states.front() == Some(&WriteState::Durable) {
            self.states.pop_front();
            self.base = self.base.next();
        }
    }
}
