//! What was read first of each block in which something seems wrong, until it is reported: a re-read goes into the same
//! buffer, and may show something else.

use std::collections::HashMap;

use crate::ledger::Legal;
use crate::vocabulary::Block;

/// Latencies kept of one block, which is read again three times by default, and blocks of which they are kept.
const LATENCIES_MAX: usize = 64;
const TIMED_MAX: usize = 4096;

/// Contents kept at once, in bytes: 1024 blocks of 64 KiB. What is found beyond keeps what the last read showed.
const KEPT_MAX: usize = 64 << 20;

pub(super) struct Suspect {
    pub(super) bytes: Vec<u8>,
    /// What it was judged by.
    pub(super) legal: Box<Legal>,
}

#[derive(Default)]
pub(super) struct Suspects {
    kept: HashMap<Block, Suspect>,
    /// How long each read took since the first that showed something wrong, in nanoseconds.
    latencies_ns: HashMap<Block, Vec<u64>>,
    bytes: usize,
}

impl Suspects {
    /// Keeps the first sight of a block; later ones change nothing.
    pub(super) fn keep(&mut self, bytes: &[u8], legal: Box<Legal>) {
        if self.kept.contains_key(&legal.block) || self.bytes + bytes.len() > KEPT_MAX {
            return;
        }
        self.bytes += bytes.len();
        self.kept.insert(legal.block, Suspect { bytes: bytes.to_vec(), legal });
    }

    /// A block was read, and it seemed wrong or was read because it had.
    pub(super) fn timed(&mut self, block: Block, latency_ns: u64, wrong: bool) {
        let full = self.latencies_ns.len() >= TIMED_MAX;
        match self.latencies_ns.get_mut(&block) {
            Some(latencies) if latencies.len() < LATENCIES_MAX => latencies.push(latency_ns),
            None if wrong && !full => drop(self.latencies_ns.insert(block, vec![latency_ns])),
            _ => {}
        }
    }

    /// Whether the next look at a block may become its evidence: something was wrong with it, or there were too many of
    /// those to know.
    pub(super) fn may_need(&self, block: Block) -> bool {
        let known = || self.latencies_ns.contains_key(&block) || self.kept.contains_key(&block);
        !self.latencies_ns.is_empty() && (self.latencies_ns.len() >= TIMED_MAX || known())
    }

    /// How long the last `reads` reads took, the first one first: older ones are of a suspicion that came to nothing.
    pub(super) fn take_latencies(&mut self, block: Block, reads: usize) -> Vec<u64> {
        let mut latencies = self.latencies_ns.remove(&block).unwrap_or_default();
        latencies.split_off(latencies.len().saturating_sub(reads))
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
