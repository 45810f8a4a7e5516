//! A block of any bytes: judged without a panic, the same twice, and intact only when every byte is what its tag demands.

use std::sync::Arc;

use scrubd::ledger::{Epochs, Guarantee, Legal, ProvedBy, Rule};
use scrubd::tag::{Class, Inspector, TAG_SIZE, Tag, Verdict, seal_atom};
use scrubd::vocabulary::{Block, Claim, Digest, Epoch, Geometry, Issue, LABEL_AREA, Order, Promise, Seq};

use super::RUN;

const SIZE: usize = 4096;
const ATOM: usize = 1024;
const BLOCK: Block = Block(3);
const BLOCKS: u64 = 8;

/// The first byte says how the rest is used: the digest, the rule, and whether checksums are made to fit.
pub fn holds(bytes: &[u8]) {
    let Some((&how, rest)) = bytes.split_first() else { return };
    let digest = if how & 1 == 0 { Digest::Crc32c } else { Digest::Blake3 };
    let (size, atom) = (SIZE as u32, ATOM as u32);
    let length = LABEL_AREA + BLOCKS * SIZE as u64;
    let inspector =
        Inspector::new(Geometry { offset: 0, length, block_size: size, atom, order: Order::Sequential, digest }, RUN);
    let mut block = sealed(&inspector, how);
    if how & 8 == 0 {
        block.fill(0);
    }
    for (to, from) in block.iter_mut().zip(rest) {
        // Over a sealed block the input is a difference: sound atoms stay within a fuzzer's reach.
        *to = if how & 8 == 0 { *from } else { *to ^ *from };
    }
    if how & 16 != 0 {
        block.chunks_mut(ATOM).for_each(seal_atom);
    }
    block.chunks(ATOM).for_each(tag_holds);
    let forgeable = how & 16 != 0 && digest == Digest::Crc32c;
    judged(&inspector, &block, &legal(how), forgeable);
}

fn claim(seq: u64) -> Claim {
    let issue = Issue { seq: Seq(seq), epoch: Epoch { number: 1, nonce: 7 } };
    Claim { issue, durable: Seq(seq.min(8)), promise: Promise::Flush, checkpoint: 2, wall_ns: 1 }
}

fn sealed(inspector: &Inspector, how: u8) -> Vec<u8> {
    let mut block = vec![0; SIZE];
    let seq = if how & 32 == 0 { 11 } else { 3 };
    inspector.sealer().seal(BLOCK, &claim(seq), &mut block);
    block
}

fn legal(how: u8) -> Legal {
    let guarantee = Guarantee { seq: Seq(11), proved_by: ProvedBy::Checkpoint, flush: None, attested: how & 64 != 0 };
    let rule = match how >> 1 & 3 {
        0 => Rule::Anything,
        1 => Rule::Exactly(claim(11).issue),
        _ => Rule::AtLeast(guarantee),
    };
    let (newest_issued, reserved) = (Some(Seq(11)), (how & 128 != 0).then_some(Seq(40)));
    Legal { block: BLOCK, rule, newest_issued, reserved, issued_below: None, epochs: Arc::new(Epochs::default()) }
}

/// Reading a tag and writing it gives the tag back, and the bytes too where every one of them has a meaning.
fn tag_holds(atom: &[u8]) {
    let Some(tag) = Tag::read(atom) else { return };
    let mut written = [0; TAG_SIZE];
    written[..4].copy_from_slice(&atom[..4]);
    tag.write(&mut written);
    assert_eq!(Tag::read(&written).as_ref(), Some(&tag));
}

/// Where checksums were made to fit, a payload of the fuzzer's own may stand below one, and two atoms of one issue may
/// disagree on what was durable: tags are evidence, not authentication.
fn judged(inspector: &Inspector, block: &[u8], legal: &Legal, forgeable: bool) {
    let inspection = inspector.inspect(block, legal);
    assert_eq!(inspection, inspector.inspect(block, legal), "judging twice");
    let claims = inspector.survey(block, legal.block);
    let whole: u32 = claims.iter().map(|(_, atoms)| atoms).sum();
    assert!(whole as usize <= SIZE / ATOM, "more witnesses than atoms");
    let expectation = inspector.expectation(block, legal);
    match &inspection.verdict {
        Verdict::Intact => {
            let claims: Vec<&Claim> = inspection.claims.iter().map(|(claim, _)| claim).collect();
            assert!(!claims.is_empty() && claims.iter().all(|claim| claim.issue == claims[0].issue), "{claims:?}");
            let mut rebuilt = vec![0; SIZE];
            inspector.sealer().seal(legal.block, claims[0], &mut rebuilt);
            let demanded = claims.len() == 1 && rebuilt == block;
            assert!(forgeable || demanded, "intact, and not the bytes that its tag demands");
        }
        Verdict::RolledBack | Verdict::Interrupted | Verdict::Unwritten => {}
        Verdict::Broken(broken) => {
            assert!(!broken.detail.trim().is_empty(), "{} without words", broken.class);
            assert!(broken.detail.len() < 1 << 16);
            assert!(broken.class != Class::Unreadable && broken.class != Class::Unstable, "bytes are neither");
            assert!(broken.class != Class::Misdirected || broken.home.is_some());
        }
    }
    assert!(expectation.is_none_or(|bytes| bytes.len() == SIZE));
}
