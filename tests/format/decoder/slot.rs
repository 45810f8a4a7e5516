//! THE LEDGER.

use super::{Read, blake3, number, run_at, u32_at, u64_at};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) number: u64,
    pub(crate) run: [u8; 16],
    pub(crate) identity: [u8; 32],
    pub(crate) payload: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) promise: u8,
    pub(crate) clean: bool,
    pub(crate) wall_ns: u64,
    pub(crate) durable: u64,
    pub(crate) reserved: u64,
    pub(crate) verified: u64,
    pub(crate) bytes_written: u64,
    pub(crate) bytes_verified: u64,
    pub(crate) cuts: u64,
    /// Number, durable frontier, wall clock.
    pub(crate) flushes: Vec<[u64; 3]>,
    /// Number, nonce, P, reserved, last checkpoint.
    pub(crate) epochs: Vec<[u64; 5]>,
    /// From D upward.
    pub(crate) window: Vec<u8>,
}

/// `None` where nothing was ever saved.
pub(crate) fn read(file: &[u8]) -> Read<Option<Slot>> {
    let file = &file[..file.len().min(1_052_672)];
    if file.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    if file.len() < 128 {
        return Err("short");
    }
    if &file[..8] != b"SCRUBLGR" {
        return Err("magic");
    }
    let l = u32_at(file, 12) as usize;
    if l > 1_048_576 {
        return Err("length");
    }
    let t = (128 + l).div_ceil(4096) * 4096;
    if file.len() < t {
        return Err("short");
    }
    if blake3(&[&file[..96], &file[128..t]]) != file[96..128] {
        return Err("checksum");
    }
    if (number(file, 8, 2), number(file, 10, 2)) != (1, 0) {
        return Err("newer");
    }
    let mut identity = [0; 32];
    identity.copy_from_slice(&file[40..72]);
    let payload = file[128..128 + l].to_vec();
    Ok(Some(Slot { number: u64_at(file, 16), run: run_at(file, 24), identity, payload }))
}

/// The newest valid one of `ledger.0` and `ledger.1`, of this run and identity.
pub(crate) fn newest(files: [&[u8]; 2], run: [u8; 16], identity: &str) -> Option<Slot> {
    let identity = blake3(&[identity.as_bytes()]);
    let ours = |file| read(file).ok().flatten().filter(|slot| slot.run == run && slot.identity == identity);
    match files.map(ours) {
        [Some(zero), Some(one)] => Some(if one.number > zero.number { one } else { zero }),
        [zero, one] => zero.or(one),
    }
}

pub(crate) fn checkpoint(payload: &[u8]) -> Read<Checkpoint> {
    if payload.len() < 80 {
        return Err("short");
    }
    let [w, f, e] = [64, 68, 72].map(|at| u32_at(payload, at) as usize);
    if w > 65_536 || f > 64 || e > 4096 || payload.len() != 80 + 24 * f + 40 * e + w.div_ceil(4) {
        return Err("counts");
    }
    let (epochs_at, window_at) = (80 + 24 * f, 80 + 24 * f + 40 * e);
    let word = |at: usize| u64_at(payload, at);
    let checkpoint = Checkpoint {
        promise: payload[0],
        clean: payload[1] == 1,
        wall_ns: word(8),
        durable: word(16),
        reserved: word(24),
        verified: word(32),
        bytes_written: word(40),
        bytes_verified: word(48),
        cuts: word(56),
        flushes: (0..f).map(|i| [0, 8, 16].map(|at| word(80 + 24 * i + at))).collect(),
        epochs: (0..e).map(|i| [0, 8, 16, 24, 32].map(|at| word(epochs_at + 40 * i + at))).collect(),
        window: (0..w).map(|k| payload[window_at + k / 4] >> (2 * (k % 4)) & 3).collect(),
    };
    if !(1..=3).contains(&checkpoint.promise) || payload[1] > 1 || payload[2..8] != [0; 6] {
        return Err("promise, clean stop or zeros");
    }
    let nonces = (0..e).map(|i| epochs_at + 40 * i + 8);
    let nonces: Vec<usize> = nonces.collect();
    let numbers = (8..64).step_by(8).chain((80..window_at).step_by(8)).filter(|at| !nonces.contains(at));
    let end = checkpoint.durable.wrapping_add(w as u64);
    let ascending = checkpoint.epochs.windows(2).all(|pair| pair[0][0] < pair[1][0]);
    if numbers.into_iter().any(|at| word(at) >> 63 != 0)
        || checkpoint.verified > end
        || end > checkpoint.reserved
        || !ascending
    {
        return Err("rules");
    }
    Ok(checkpoint)
}
