//! Blocks as the crate seals them, read by the page.

use proptest::prelude::*;
use scrubd::schedule::Schedule;
use scrubd::tag::Sealer;
use scrubd::vocabulary::{Block, Claim, Digest, Epoch, Geometry, Issue, Order, Promise, Seq};

use super::decoder::atom::{self, Tag};
use super::labels::decoded;
use super::{RUN, claim, geometry};

fn sealed(geometry: &Geometry, claim: &Claim) -> (u64, Vec<u8>) {
    let block = Schedule::new(geometry, RUN).block_of(claim.issue.seq);
    let mut bytes = vec![0xAA; geometry.block_size as usize];
    Sealer::new(*geometry, RUN).seal(block, claim, &mut bytes);
    (block.0, bytes)
}

fn expected(geometry: &Geometry, block: u64, index: u32, claim: &Claim) -> Tag {
    Tag {
        promise: match claim.promise {
            Promise::Ack => 1,
            Promise::Fua => 2,
            Promise::Flush => 3,
        },
        digest: u8::from(geometry.digest == Digest::Blake3),
        index,
        run: RUN.0,
        block,
        seq: claim.issue.seq.0,
        epoch: claim.issue.epoch.number,
        nonce: claim.issue.epoch.nonce,
        durable: claim.durable.0,
        checkpoint: claim.checkpoint,
        wall_ns: claim.wall_ns,
        block_size: geometry.block_size,
        atom_size: geometry.atom,
    }
}

fn judge(geometry: &Geometry, claim: &Claim) {
    let (block, bytes) = sealed(geometry, claim);
    let found = atom::block(&decoded(geometry), block, &bytes);
    assert_eq!(found.len(), geometry.atoms() as usize);
    for (index, tag) in (0..).zip(found) {
        assert_eq!(tag, Ok(expected(geometry, block, index, claim)), "atom {index}");
    }
    if geometry.digest == Digest::Blake3 {
        assert_eq!(bytes[96..128], atom::digest(RUN.0, &bytes));
    }
}

#[test]
fn blocks_of_every_shape_say_what_was_put_in() {
    for (block_size, atom) in [(4096, 512), (4096, 4096), (8192, 1024), (65_536, 512), (4 << 20, 4096)] {
        for digest in [Digest::Crc32c, Digest::Blake3] {
            for (order, promise) in [(Order::Random, Promise::Flush), (Order::Sequential, Promise::Ack)] {
                judge(&geometry(10, block_size, atom, order, digest), &claim(12, 10, promise));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_a_tag_says_comes_back(
        blocks in 1_u64..1 << 40, seq: u64, below: u64, number: u64, nonce: u64, checkpoint: u64, wall_ns: u64,
        promise in prop::sample::select(vec![Promise::Ack, Promise::Fua, Promise::Flush]), blake3: bool, random: bool,
    ) {
        let digest = if blake3 { Digest::Blake3 } else { Digest::Crc32c };
        let order = if random { Order::Random } else { Order::Sequential };
        let issue = Issue { seq: Seq(seq), epoch: Epoch { number, nonce } };
        let durable = Seq(below % seq.saturating_add(1));
        judge(&geometry(blocks, 4096, 512, order, digest), &Claim { issue, durable, promise, checkpoint, wall_ns });
    }

    #[test]
    fn damage_anywhere_in_a_block_is_noticed_in_its_atom_and_only_there(
        at in 0_usize..8192, mask in 1_u8.., blake3: bool,
    ) {
        let digest = if blake3 { Digest::Blake3 } else { Digest::Crc32c };
        let geometry = geometry(10, 8192, 512, Order::Random, digest);
        let (block, mut bytes) = sealed(&geometry, &claim(12, 10, Promise::Flush));
        bytes[at] ^= mask;
        for (index, tag) in atom::block(&decoded(&geometry), block, &bytes).into_iter().enumerate() {
            prop_assert_eq!(tag.err(), (index == at / 512).then_some("checksum"));
        }
    }
}

#[test]
fn damage_that_the_checksum_was_made_to_fit_is_noticed_by_payload_and_digest() {
    let geometry = geometry(10, 4096, 512, Order::Random, Digest::Blake3);
    let label = decoded(&geometry);
    let (block, whole) = sealed(&geometry, &claim(12, 10, Promise::Flush));
    for at in (96..4096).step_by(97).filter(|at| at % 512 >= 96) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        scrubd::tag::seal_atom(&mut bytes[at / 512 * 512..][..512]);
        let in_digest = (96..128).contains(&at);
        assert_eq!(atom::block(&label, block, &bytes)[at / 512].is_err(), !in_digest, "byte {at}");
        assert_ne!(bytes[96..128], atom::digest(RUN.0, &bytes), "byte {at}");
    }
}

#[test]
fn atoms_of_other_places_and_tags_that_make_no_sense_are_told_apart() {
    let geometry = geometry(10, 4096, 512, Order::Random, Digest::Crc32c);
    let label = decoded(&geometry);
    let (block, whole) = sealed(&geometry, &claim(12, 10, Promise::Flush));
    assert!(atom::block(&label, (block + 1) % 10, &whole).iter().all(|tag| *tag == Err("misdirected")));
    let mut swapped = whole.clone();
    swapped[..1024].rotate_left(512);
    assert_eq!(atom::block(&label, block, &swapped)[..2], [Err("misdirected"), Err("misdirected")]);
    // One field wrong each, under a checksum that holds.
    for at in [10, 11, 13, 40, 72 - 1, 88, 92] {
        let mut atom = whole[..512].to_vec();
        atom[at] = 0x44;
        scrubd::tag::seal_atom(&mut atom);
        assert_eq!(atom::sound(&label, &atom), Err("no sense"), "byte {at}");
    }
    for (at, why) in [(4, "magic"), (8, "version"), (16, "another run")] {
        let mut atom = whole[..512].to_vec();
        atom[at] = 0x44;
        scrubd::tag::seal_atom(&mut atom);
        assert_eq!(atom::sound(&label, &atom), Err(why));
    }
}

#[test]
fn issues_that_differ_in_the_nonce_alone_differ_in_every_word() {
    let geometry = geometry(10, 4096, 512, Order::Random, Digest::Crc32c);
    let first = claim(12, 10, Promise::Flush);
    let mut second = first;
    second.issue.epoch.nonce ^= 1;
    let (a, b) = (sealed(&geometry, &first).1, sealed(&geometry, &second).1);
    for (a, b) in a.chunks(512).zip(b.chunks(512)) {
        assert!(a[96..].chunks(8).zip(b[96..].chunks(8)).all(|(a, b)| a != b));
        assert!(a[..4] != b[..4] && a[56..64] != b[56..64]);
    }
}

#[test]
fn one_rebuilt_atom_is_the_atom_of_the_block() {
    for digest in [Digest::Crc32c, Digest::Blake3] {
        let geometry = geometry(10, 4096, 512, Order::Random, digest);
        let claim = claim(12, 10, Promise::Flush);
        let (block, whole) = sealed(&geometry, &claim);
        for (index, atom) in (0..).zip(whole.chunks(512)) {
            assert_eq!(Sealer::new(geometry, RUN).rebuild_atom(Block(block), index, &claim), atom);
            if index > 0 || digest == Digest::Crc32c {
                assert_eq!(atom::rebuild(atom).unwrap(), atom);
            }
        }
    }
}
