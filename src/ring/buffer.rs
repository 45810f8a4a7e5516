//! Memory that a disk may be pointed at. A buffer has one owner at a time: the caller, or the ring that it was
//! submitted to. Its address never changes, so it may be moved while the kernel writes to it.
//!
//! Not promised: that the memory survives a plain fork(2) during a read. Children are to be started through
//! posix_spawn or vfork semantics (`std::process::Command` without `pre_exec`), which copy no page tables; kernels
//! before 5.12 could hand the parent a copy of a page that a read was still going to.

use std::ops::{Deref, DerefMut};

/// O_DIRECT wants memory aligned to the logical block size: 512 or 4096 on every disk there is (open(2), NOTES).
pub(super) const ALIGNMENT: usize = 4096;

pub use crate::vocabulary::POISON;

/// Bytes aligned to 4096, of a fixed length. New ones are full of [`POISON`].
pub struct Buffer {
    /// Never grows, so `start` stays aligned for life.
    memory: Vec<u8>,
    start: usize,
    len: usize,
    registration: Option<Registration>,
}

/// The place of a buffer in the kernel's table of one ring. The ring is part of it, as the same index means other
/// memory elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Registration {
    pub(super) ring: u64,
    pub(super) index: u16,
}

impl Buffer {
    /// A buffer of `len` bytes, not registered with any ring; every ring takes it.
    #[must_use]
    pub fn new(len: usize) -> Buffer {
        let memory = vec![POISON; len + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        assert!(start < ALIGNMENT, "an allocation that cannot be aligned");
        Buffer { memory, start, len, registration: None }
    }

    /// Makes it shorter, or as long again as it was made. The bytes are left as they are.
    ///
    /// # Panics
    /// When that is longer than it was made.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.memory.len() - ALIGNMENT, "{len} bytes of a buffer of {}", self.memory.len() - ALIGNMENT);
        self.len = len;
    }

    /// Fills it with [`POISON`]. To be done before every read.
    pub fn poison(&mut self) {
        self.fill(POISON);
    }

    /// Whether the kernel has these pages pinned for the ring that it came from.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.registration.is_some()
    }

    pub(super) fn registration(&self) -> Option<Registration> {
        self.registration
    }

    pub(super) fn set_registration(&mut self, registration: Registration) {
        self.registration = Some(registration);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len).field("registration", &self.registration).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_wherever_it_moves_and_starts_as_poison() {
        let buffers: Vec<Buffer> = [1, 512, 4096, 65_536, 1 << 20].map(Buffer::new).into_iter().collect();
        for buffer in &buffers {
            assert_eq!(buffer.as_ptr() as usize % ALIGNMENT, 0);
            assert!(buffer.iter().all(|&byte| byte == POISON));
        }
        assert_eq!(buffers.iter().map(|buffer| buffer.len()).collect::<Vec<_>>(), [1, 512, 4096, 65_536, 1 << 20]);
    }

    #[test]
    fn a_shorter_buffer_stays_where_it_is_and_grows_back() {
        let mut buffer = Buffer::new(8192);
        let at = buffer.as_ptr();
        buffer.set_len(4096);
        buffer.fill(1);
        assert_eq!((buffer.as_ptr(), buffer.len()), (at, 4096));
        buffer.set_len(8192);
        assert!(buffer[..4096].iter().all(|&byte| byte == 1) && buffer[4096..].iter().all(|&byte| byte == POISON));
    }

    #[test]
    #[should_panic(expected = "4097 bytes of a buffer of 4096")]
    fn a_buffer_never_outgrows_its_memory() {
        Buffer::new(4096).set_len(4097);
    }
}
