//! What was read first of each block in which something seems wrong, until it is reported: a re-read goes into the same
//! buffer, and may show something else.

use std::collections::HashMap;

use crate::ledger::Legal;
use crate::vocabulary::Block;

/// Latencies kept of one block; it is read again three times, by default.
const LATENCIES_MAX: usize = 64;

/// Contents kept at once, in bytes: 1024 blocks of 64 KiB. What is found beyond keeps what the last read showed.
const KEPT_MAX: usize = 64 << 20;

pub(super) struct Suspect {
    pub(super) bytes: Vec<u8>,
    /// What it was judged by.
    pub(super) legal: Box<Legal>,
    /// How long each read of it took, in nanoseconds, the first one first.
    pub(super) latencies_ns: Vec<u64>,
}

#[derive(Default)]
pub(super) struct Suspects {
    kept: HashMap<Block, Suspect>,
    bytes: usize,
}

impl Suspects {
    /// Keeps the first sight of a block; later ones change nothing.
    pub(super) fn keep(&mut self, bytes: &[u8], legal: Box<Legal>, latency_ns: u64) {
        if self.kept.contains_key(&legal.block) || self.bytes + bytes.len() > KEPT_MAX {
            return;
        }
        self.bytes += bytes.len();
        let suspect = Suspect { bytes: bytes.to_vec(), legal, latencies_ns: vec![latency_ns] };
        self.kept.insert(suspect.legal.block, suspect);
    }

    /// A block was read again.
    pub(super) fn read_again(&mut self, block: Block, latency_ns: u64) {
        if let Some(suspect) = self.kept.get_mut(&block)
            && suspect.latencies_ns.len() < LATENCIES_MAX
        {
            suspect.latencies_ns.push(latency_ns);
        }
    }

    pub(super) fn has(&self, block: Block) -> bool {
        self.kept.contains_key(&block)
    }

    pub(super) fn take(&mut self, block: Block) -> Option<Suspect> {
        let suspect = self.kept.remove(&block)?;
        self.bytes -= suspect.bytes.len();
        Some(suspect)
    }

    /// What was seen until now will not be reported any more.
    pub(super) fn clear(&mut self) {
        *self = Suspects::default();
    }
}
