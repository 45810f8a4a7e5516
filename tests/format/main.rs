//! `scrubd-format(5)`, proved: a second decoder, written from the page, reads everything that the crate writes.
//!
//! The crate only writes here; `decoder` only reads, and knows nothing of the crate. Damage is what it must notice. The
//! golden vectors are literals: a format that changes by accident fails `golden`, and one that is changed on purpose
//! needs a new version, a new page and new literals.

mod blocks;
mod both_ways;
mod corpus;
mod decoder;
mod events;
mod golden;
mod labels;
mod orders;
mod page;
mod slots;

use scrubd::vocabulary::{Block, Claim, Digest, Epoch, Geometry, Issue, Order, Promise, RunId, Seq};

/// 000102…0f
const RUN: RunId = RunId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

fn geometry(blocks: u64, block_size: u32, atom: u32, order: Order, digest: Digest) -> Geometry {
    let length = (1 << 20) + blocks * u64::from(block_size);
    let geometry = Geometry { offset: 1 << 20, length, block_size, atom, order, digest };
    geometry.validate().expect("a geometry");
    geometry
}

fn claim(seq: u64, durable: u64, promise: Promise) -> Claim {
    let epoch = Epoch { number: 3, nonce: 0x1122_3344_5566_7788 };
    let issue = Issue { seq: Seq(seq), epoch };
    Claim { issue, durable: Seq(durable), promise, checkpoint: 5, wall_ns: 1_767_225_600_000_000_000 }
}

/// The example of the page: write 12 of ten blocks, which is position 2 of pass 1.
fn example() -> (Geometry, Block, Claim) {
    let geometry = geometry(10, 4096, 512, Order::Random, Digest::Crc32c);
    let claim = claim(12, 10, Promise::Flush);
    (geometry, scrubd::schedule::Schedule::new(&geometry, RUN).block_of(claim.issue.seq), claim)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
