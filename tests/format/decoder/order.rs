//! The run key, `mix`, and the order of a pass.

use super::u64_at;

/// The run key as bytes, and as the words K0 to K3.
pub(crate) fn run_key(run: [u8; 16]) -> ([u8; 32], [u64; 4]) {
    let key = blake3::derive_key("scrubd format 1 run key", &run);
    (key, [u64_at(&key, 0), u64_at(&key, 8), u64_at(&key, 16), u64_at(&key, 24)])
}

pub(crate) fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The random order of one run's passes over N blocks.
pub(crate) struct Random {
    n: u64,
    h: u32,
    l: u32,
    k: [u64; 4],
}

impl Random {
    pub(crate) fn new(n: u64, run: [u8; 16]) -> Random {
        let mut bits = 0;
        while bits < 64 && (n - 1) >> bits != 0 {
            bits += 1;
        }
        Random { n, h: bits / 2, l: bits - bits / 2, k: run_key(run).1 }
    }

    fn round(&self, p: u64, r: u64, x: u64) -> u64 {
        let (mut high, mut low) = (x >> self.l, x & (2_u64.pow(self.l) - 1));
        let subkey = mix(self.k[(r % 4) as usize] ^ (r << 56)).wrapping_add(p);
        if r.is_multiple_of(2) {
            high ^= mix(low ^ mix(subkey)) & (2_u64.pow(self.h) - 1);
        } else {
            low ^= mix(high ^ mix(subkey)) & (2_u64.pow(self.l) - 1);
        }
        (high << self.l) + low
    }

    pub(crate) fn block(&self, p: u64, i: u64) -> u64 {
        self.walk(p, i, [0, 1, 2, 3, 4, 5])
    }

    pub(crate) fn position(&self, p: u64, b: u64) -> u64 {
        self.walk(p, b, [5, 4, 3, 2, 1, 0])
    }

    fn walk(&self, p: u64, start: u64, rounds: [u64; 6]) -> u64 {
        let mut x = start;
        loop {
            for r in rounds {
                x = self.round(p, r, x);
            }
            if x < self.n {
                return x;
            }
        }
    }
}
