//! Tokens are small numbers of ours, and all different: one multiplication spreads them over a table.

use std::hash::{BuildHasher, Hasher};

/// For a table of tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread;

pub(super) struct Spreading(u64);

impl BuildHasher for Spread {
    type Hasher = Spreading;

    fn build_hasher(&self) -> Spreading {
        Spreading(0)
    }
}

impl Hasher for Spreading {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, token: u32) {
        // 2^64 divided by the golden ratio: Knuth, The Art of Computer Programming 3, section 6.4.
        self.0 = (self.0 ^ u64::from(token)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
