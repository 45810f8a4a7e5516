//! Every class of damage, one at a time, against a block whose write 44 is guaranteed and whose older write is 41 … of
//! a region where that is so.

mod naming;

use std::sync::Arc;

use super::{Broken, Class, Inspector, Span, TAG_SIZE, Verdict};
use crate::ledger::{Checkpoint, EpochRecord, Epochs, Guarantee, Legal, ProvedBy, Recovered, Rule, Window};
use crate::schedule::Schedule;
use crate::vocabulary::{Block, Claim, Digest, Epoch, Geometry, Issue, Order, POISON, Promise, RunId, Seq};

const RUN: RunId = RunId([5; 16]);
const EPOCH: Epoch = Epoch { number: 3, nonce: 77 };
const ATOM: usize = 1024;
/// N = 4, by address: block 1 is written by 1, 5, 9, …
const BLOCK: Block = Block(1);
const OLD: Seq = Seq(5);
const NEW: Seq = Seq(9);

fn inspector(digest: Digest) -> Inspector {
    let length = (1 << 20) + 4 * 4096;
    let geometry = Geometry { offset: 0, length, block_size: 4096, atom: 1024, order: Order::Sequential, digest };
    Inspector::new(geometry, RUN)
}

fn claim(seq: Seq, epoch: Epoch) -> Claim {
    let issue = Issue { seq, epoch };
    Claim { issue, durable: Seq(seq.0 / 2), promise: Promise::Flush, checkpoint: 8, wall_ns: 1_700_000_000_000_000_000 }
}

fn sealed(inspector: &Inspector, block: Block, seq: Seq) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    inspector.sealer().seal(block, &claim(seq, EPOCH), &mut bytes);
    bytes
}

fn epochs() -> Arc<Epochs> {
    let record = EpochRecord { epoch: EPOCH, restart: Seq(0), reserved: Seq(40), last_checkpoint: 9 };
    Arc::new(Epochs::from_records(vec![record]).unwrap())
}

fn legal(rule: Rule) -> Legal {
    let newest_issued = match rule {
        Rule::Anything => None,
        _ => Some(NEW),
    };
    Legal { block: BLOCK, rule, newest_issued, reserved: Some(Seq(40)), issued_below: None, epochs: epochs() }
}

fn guaranteed(attested: bool) -> Legal {
    legal(Rule::AtLeast(Guarantee { seq: NEW, proved_by: ProvedBy::Checkpoint, flush: None, attested }))
}

fn broken(inspector: &Inspector, bytes: &[u8], legal: &Legal) -> Arc<Broken> {
    match inspector.inspect(bytes, legal).verdict {
        Verdict::Broken(broken) => broken,
        other => panic!("{other:?}"),
    }
}

fn named(bytes: &[u8]) -> (Class, Option<u64>, String) {
    let broken = broken(&inspector(Digest::Crc32c), bytes, &guaranteed(false));
    (broken.class, broken.found.map(|issue| issue.seq.0), broken.detail.clone())
}

#[test]
fn what_was_sealed_is_intact_with_and_without_a_digest_at_every_atom_size() {
    for digest in [Digest::Crc32c, Digest::Blake3] {
        for (block_size, atom) in [(4096, 512), (4096, 4096), (65536, 512), (1 << 20, 4096)] {
            let length = (1 << 20) + 4 * u64::from(block_size);
            let geometry = Geometry { offset: 0, length, block_size, atom, order: Order::Sequential, digest };
            let inspector = Inspector::new(geometry, RUN);
            let mut bytes = vec![0; block_size as usize];
            inspector.sealer().seal(BLOCK, &claim(NEW, EPOCH), &mut bytes);
            assert_eq!(inspector.inspect(&bytes, &guaranteed(false)).verdict, Verdict::Intact);
            let claims = inspector.survey(&bytes, BLOCK);
            assert_eq!(claims.iter().map(|(_, atoms)| *atoms).collect::<Vec<_>>(), [block_size / atom]);
        }
    }
}

#[test]
fn one_flipped_bit_anywhere_is_corrupt_and_the_bit_is_named() {
    let inspector = inspector(Digest::Crc32c);
    let good = sealed(&inspector, BLOCK, NEW);
    for bit in (0..good.len() * 8).step_by(13) {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let broken = broken(&inspector, &bytes, &guaranteed(false));
        assert_eq!(broken.class, Class::Corrupt, "bit {bit}: {}", broken.detail);
        assert_eq!(broken.found.map(|issue| issue.seq), Some(NEW));
        let place = format!("1 bits in 1 bytes differ from write 9, from byte {}", bit / 8 % ATOM);
        assert!(broken.detail.contains(&place), "bit {bit}: {}", broken.detail);
    }
}

#[test]
fn a_flipped_bit_in_a_block_of_one_atom_is_named_too() {
    let length = (1 << 20) + 4 * 4096;
    let (order, digest) = (Order::Sequential, Digest::Crc32c);
    let inspector = Inspector::new(Geometry { offset: 0, length, block_size: 4096, atom: 4096, order, digest }, RUN);
    let good = sealed(&inspector, BLOCK, NEW);
    for (bit, field) in [(41 * 8, "seq"), (84 * 8 + 3, "wall clock"), (2, "checksum"), (1000 * 8, "payload")] {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let broken = broken(&inspector, &bytes, &guaranteed(false));
        assert_eq!(broken.class, Class::Corrupt, "{}", broken.detail);
        assert!(broken.detail.contains("1 bits in 1 bytes") && broken.detail.contains(field), "{}", broken.detail);
    }
}

#[test]
fn constant_bytes_are_zeroed_and_poison_was_not_read() {
    for byte in [0x00, 0xff, POISON] {
        let (class, found, detail) = named(&[byte; 4096]);
        assert_eq!((class, found), (Class::Zeroed, None));
        assert_eq!(detail.contains("not_read"), byte == POISON, "{detail}");
    }
    let mut half = sealed(&inspector(Digest::Crc32c), BLOCK, NEW);
    half[2048..].fill(0);
    assert_eq!(named(&half).0, Class::Zeroed);
}

#[test]
fn an_older_write_is_lost_and_unserializable_where_a_later_block_attests_to_it() {
    let inspector = inspector(Digest::Crc32c);
    let old = sealed(&inspector, BLOCK, OLD);
    assert_eq!(broken(&inspector, &old, &guaranteed(false)).class, Class::LostWrite);
    assert_eq!(broken(&inspector, &old, &guaranteed(true)).class, Class::Unserializable);
    assert_eq!(broken(&inspector, &old, &guaranteed(false)).found.map(|issue| issue.seq), Some(OLD));
}

#[test]
fn half_a_block_older_is_torn_and_half_an_atom_older_is_shorn() {
    let inspector = inspector(Digest::Crc32c);
    let (old, new) = (sealed(&inspector, BLOCK, OLD), sealed(&inspector, BLOCK, NEW));
    let torn = [&new[..2048], &old[2048..]].concat();
    assert_eq!((named(&torn).0, named(&torn).1), (Class::Torn, Some(5)));
    for cut in [ATOM + 512, ATOM + 104, 2 * ATOM - 16] {
        for (front, back, said) in [(&new, &old, "write 9 up to"), (&old, &new, "write 5 up to")] {
            let shorn = [&front[..cut], &back[cut..2 * ATOM], &new[2 * ATOM..]].concat();
            let (class, _, detail) = named(&shorn);
            assert_eq!(class, Class::Shorn, "{cut}: {detail}");
            assert!(detail.contains(said), "{detail}");
        }
    }
}

/// Found by the FUSE file system: after a cut, write 13 was shorn over write 9, the ledger knew of no write beyond 5, and
/// so 9 was not thought of: "corrupt", with half of the atom in thousands of wrong bits.
#[test]
fn a_write_that_the_ledger_has_not_heard_of_is_shorn_over_another_that_it_has_not_heard_of() {
    let inspector = inspector(Digest::Crc32c);
    let [middle, newest] = [Seq(9), Seq(13)].map(|seq| sealed(&inspector, BLOCK, seq));
    let guarantee = Guarantee { seq: OLD, proved_by: ProvedBy::Disk, flush: None, attested: false };
    let legal = Legal { newest_issued: Some(OLD), ..legal(Rule::AtLeast(guarantee)) };
    for atom in 0..4 {
        let cut = atom * ATOM + ATOM / 2;
        let shorn = [&newest[..cut], &middle[cut..(atom + 1) * ATOM], &newest[(atom + 1) * ATOM..]].concat();
        let broken = broken(&inspector, &shorn, &legal);
        assert_eq!(broken.class, Class::Shorn, "{}", broken.detail);
        assert!(broken.detail.contains("is write 13 up to byte 512 and write 9 from there"), "{}", broken.detail);
    }
}

/// Cut just where the payload begins, no byte of the payload is of the write that the tag names. Damage to the tag alone
/// is no shear: two flipped bits of its nonce name an epoch that nobody knows.
#[test]
fn a_tag_of_one_write_on_the_payload_of_another_is_shorn_and_a_damaged_tag_is_corrupt() {
    for (digest, cut) in [(Digest::Crc32c, super::TAG_SIZE), (Digest::Blake3, super::DIGEST.end)] {
        let here = inspector(digest);
        let (old, new) = (sealed(&here, BLOCK, OLD), sealed(&here, BLOCK, NEW));
        let shorn = [&new[..cut], &old[cut..ATOM], &new[ATOM..]].concat();
        let found = broken(&here, &shorn, &guaranteed(false));
        assert_eq!(found.class, Class::Shorn, "{}", found.detail);
        assert!(found.detail.contains(&format!("write 9 up to byte {cut} and write 5")), "{}", found.detail);
        let mut damaged = new;
        damaged[57] ^= 0x11;
        assert_eq!(broken(&here, &damaged, &guaranteed(false)).class, Class::Corrupt);
    }
}

#[test]
fn another_blocks_contents_are_misdirected_and_another_runs_are_foreign() {
    let here = inspector(Digest::Crc32c);
    let stray = broken(&here, &sealed(&here, Block(2), Seq(10)), &guaranteed(false));
    assert_eq!(
        (stray.class, stray.home, stray.found.map(|i| i.seq)),
        (Class::Misdirected, Some(Block(2)), Some(Seq(10)))
    );
    let mut swapped = sealed(&here, BLOCK, NEW);
    let (first, second) = swapped.split_at_mut(ATOM);
    first.swap_with_slice(&mut second[..ATOM]);
    assert_eq!(broken(&here, &swapped, &guaranteed(false)).class, Class::Misdirected);
    let other = Inspector::new(*here.sealer().geometry(), RunId([6; 16]));
    assert_eq!(named(&sealed(&other, BLOCK, NEW)).0, Class::Foreign);
}

#[test]
fn a_write_at_or_above_the_reservation_is_a_phantom() {
    let here = inspector(Digest::Crc32c);
    assert_eq!(here.inspect(&sealed(&here, BLOCK, Seq(37)), &guaranteed(false)).verdict, Verdict::Intact);
    assert_eq!(
        (named(&sealed(&here, BLOCK, Seq(41))).0, named(&sealed(&here, BLOCK, Seq(41))).1),
        (Class::Phantom, Some(41))
    );
}

#[test]
fn an_older_epoch_of_the_guaranteed_write_is_a_lost_write_and_of_a_later_one_is_legal() {
    let inspector = inspector(Digest::Crc32c);
    let (first, second) = (Epoch { number: 3, nonce: 77 }, Epoch { number: 4, nonce: 78 });
    let record = |epoch, restart| EpochRecord { epoch, restart: Seq(restart), reserved: Seq(40), last_checkpoint: 9 };
    let epochs = Arc::new(Epochs::from_records(vec![record(first, 0), record(second, 8)]).unwrap());
    let legal = Legal { epochs, ..guaranteed(false) };
    let verdict = |seq, epoch| {
        let mut bytes = vec![0; 4096];
        inspector.sealer().seal(BLOCK, &claim(seq, epoch), &mut bytes);
        inspector.inspect(&bytes, &legal).verdict
    };
    assert_eq!(verdict(NEW, second), Verdict::Intact);
    assert!(matches!(verdict(NEW, first), Verdict::Broken(broken) if broken.class == Class::LostWrite));
    assert!(matches!(verdict(Seq(13), first), Verdict::Broken(_)), "9 needs epoch 4, and nothing older is legal later");
    assert_eq!(verdict(Seq(13), second), Verdict::Intact);
}

#[test]
fn before_a_guarantee_anything_is_legal_but_a_tag_of_this_run_that_does_not_belong() {
    let here = inspector(Digest::Crc32c);
    let other = Inspector::new(*here.sealer().geometry(), RunId([6; 16]));
    let new = sealed(&here, BLOCK, Seq(1));
    let verdict = |bytes: &[u8]| here.inspect(bytes, &legal(Rule::Anything)).verdict;
    assert_eq!(verdict(&[0; 4096]), Verdict::Unwritten);
    assert_eq!(verdict(&sealed(&other, Block(3), NEW)), Verdict::Unwritten);
    assert_eq!(verdict(&new), Verdict::Intact);
    assert_eq!(verdict(&[&new[..ATOM], &[0x5a; 4096 - ATOM]].concat()), Verdict::Interrupted);
    let issued = Legal { newest_issued: Some(Seq(1)), ..legal(Rule::Anything) };
    assert_eq!(here.inspect(&[0; 4096], &issued).verdict, Verdict::RolledBack);
    let class = |bytes: &[u8]| match verdict(bytes) {
        Verdict::Broken(broken) => broken.class,
        other => panic!("{other:?}"),
    };
    let mut damaged = new.clone();
    damaged[TAG_SIZE + 9] ^= 4;
    assert_eq!(class(&damaged), Class::Corrupt);
    assert_eq!(class(&sealed(&here, Block(2), Seq(2))), Class::Misdirected);
    assert_eq!(class(&sealed(&here, BLOCK, Seq(41))), Class::Phantom);
    assert_eq!(class(&[&new[..512], &[0; 512], &new[ATOM..]].concat()), Class::Shorn);
}

#[test]
fn a_running_ledger_demands_exactly_the_newest_completed_issue() {
    let here = inspector(Digest::Crc32c);
    let exactly = legal(Rule::Exactly(Issue { seq: NEW, epoch: EPOCH }));
    assert_eq!(here.inspect(&sealed(&here, BLOCK, NEW), &exactly).verdict, Verdict::Intact);
    assert_eq!(broken(&here, &sealed(&here, BLOCK, OLD), &exactly).class, Class::LostWrite);
    assert_eq!(broken(&here, &sealed(&here, BLOCK, Seq(13)), &exactly).class, Class::Phantom);
}

#[test]
fn a_digest_that_does_not_hold_though_every_checksum_does_is_corrupt() {
    let here = inspector(Digest::Blake3);
    let mut bytes = sealed(&here, BLOCK, NEW);
    bytes[super::DIGEST.start] ^= 1;
    super::seal_atom(&mut bytes[..ATOM]);
    let broken = broken(&here, &bytes, &guaranteed(false));
    assert_eq!(broken.class, Class::Corrupt);
    assert!(broken.detail.contains("BLAKE3"), "{}", broken.detail);
}

#[test]
fn a_write_below_its_epochs_restart_point_or_beyond_what_was_issued_is_a_phantom() {
    let here = inspector(Digest::Crc32c);
    let record = EpochRecord { epoch: EPOCH, restart: Seq(10), reserved: Seq(40), last_checkpoint: 9 };
    let below = Legal { epochs: Arc::new(Epochs::from_records(vec![record]).unwrap()), ..guaranteed(false) };
    assert_eq!(broken(&here, &sealed(&here, BLOCK, NEW), &below).class, Class::Phantom);
    let beyond = Legal { issued_below: Some(Seq(13)), ..guaranteed(false) };
    assert_eq!(broken(&here, &sealed(&here, BLOCK, Seq(13)), &beyond).class, Class::Phantom);
    assert_eq!(here.inspect(&sealed(&here, BLOCK, Seq(13)), &guaranteed(false)).verdict, Verdict::Intact);
}

/// Changes a byte of one atom and makes its checksum fit.
fn forge(bytes: &mut [u8], atom: usize, at: usize) {
    let atom = &mut bytes[atom * ATOM..][..ATOM];
    atom[at] ^= 1;
    super::seal_atom(atom);
}

fn witnesses(inspector: &Inspector, bytes: &[u8]) -> u32 {
    inspector.survey(bytes, BLOCK).iter().map(|(_, atoms)| atoms).sum()
}

#[test]
fn only_the_digest_itself_is_passed_over_when_a_witness_is_compared() {
    let (plain, keyed) = (inspector(Digest::Crc32c), inspector(Digest::Blake3));
    // Without a digest the first payload bytes of every atom count, and with one those of every atom but the first.
    for (inspector, atom) in [(&plain, 0), (&plain, 2), (&keyed, 2)] {
        let mut bytes = sealed(inspector, BLOCK, NEW);
        forge(&mut bytes, atom, TAG_SIZE + 3);
        assert_eq!(witnesses(inspector, &bytes), 3, "atom {atom}");
    }
    // The digest covers atoms that may be of another write: the first atom is a witness all the same.
    let (old, new) = (sealed(&keyed, BLOCK, OLD), sealed(&keyed, BLOCK, NEW));
    assert_eq!(witnesses(&keyed, &[&new[..ATOM], &old[ATOM..]].concat()), 4);
}

#[test]
fn whole_and_older_than_what_was_issued_is_rolled_back_and_the_newest_is_intact() {
    let here = inspector(Digest::Crc32c);
    let older =
        legal(Rule::AtLeast(Guarantee { seq: OLD, proved_by: ProvedBy::Checkpoint, flush: None, attested: false }));
    let verdict = |seq| here.inspect(&sealed(&here, BLOCK, seq), &older).verdict;
    assert_eq!((verdict(OLD), verdict(NEW)), (Verdict::RolledBack, Verdict::Intact));
    assert_eq!(verdict(Seq(13)), Verdict::Intact, "a later one than is known of");
}

#[test]
fn sound_atoms_in_another_order_are_misdirected_though_the_first_is_in_its_place() {
    let here = inspector(Digest::Crc32c);
    let mut bytes = sealed(&here, BLOCK, NEW);
    let (front, back) = bytes.split_at_mut(2 * ATOM);
    front[ATOM..].swap_with_slice(&mut back[..ATOM]);
    assert_eq!(broken(&here, &bytes, &guaranteed(false)).class, Class::Misdirected);
}

#[test]
fn the_expectation_of_a_damaged_block_is_the_block_as_it_was_sealed() {
    for digest in [Digest::Crc32c, Digest::Blake3] {
        let here = inspector(digest);
        let whole = sealed(&here, BLOCK, NEW);
        let mut bytes = whole.clone();
        bytes[2 * ATOM + 500] ^= 0x10;
        assert_eq!(here.expectation(&bytes, &guaranteed(false)), Some(whole));
        assert_eq!(here.expectation(&[0; 4096], &guaranteed(false)), None, "nothing tells which write it was");
    }
}

#[test]
fn a_witness_needs_its_whole_payload_and_not_the_checksum_alone() {
    let here = inspector(Digest::Crc32c);
    let mut bytes = sealed(&here, BLOCK, NEW);
    bytes[TAG_SIZE + 1] ^= 1;
    super::seal_atom(&mut bytes[..ATOM]);
    let atoms: u32 = here.survey(&bytes, BLOCK).iter().map(|(_, atoms)| atoms).sum();
    assert_eq!(atoms, 3);
}

proptest::proptest! {
    #[test]
    fn rotten_bytes_are_a_verdict_and_never_a_panic(
        seed in proptest::collection::vec(proptest::num::u8::ANY, 1..300), at in 0usize..4096, open: bool,
    ) {
        let here = inspector(Digest::Blake3);
        let mut bytes = sealed(&here, BLOCK, NEW);
        for (offset, byte) in seed.iter().enumerate() {
            bytes[(at + offset) % 4096] = *byte;
        }
        let legal = if open { legal(Rule::Anything) } else { guaranteed(false) };
        let verdict = here.inspect(&bytes, &legal).verdict;
        proptest::prop_assert!(open || verdict != Verdict::Unwritten);
    }
}

/// A label that was copied to a target of another shape: its blocks carry our run id, and are not ours. They were called
/// corrupt, which accuses the medium.
#[test]
fn our_run_id_in_another_geometry_is_foreign_even_where_nothing_is_guaranteed() {
    let other = inspector(Digest::Blake3);
    let bytes = sealed(&other, BLOCK, NEW);
    for legal in [guaranteed(false), legal(Rule::Anything)] {
        let broken = broken(&inspector(Digest::Crc32c), &bytes, &legal);
        assert_eq!(broken.class, Class::Foreign);
        assert!(broken.detail.contains("in another geometry"), "{}", broken.detail);
    }
}

/// Blocks are hashed several at a time, and what is found of one is told of that one.
#[test]
fn in_a_span_the_block_whose_digest_does_not_hold_is_named_and_no_other() {
    const BLOCKS: usize = 11;
    let (order, digest, length) = (Order::Sequential, Digest::Blake3, (1 << 20) + BLOCKS as u64 * 4096);
    let geometry = Geometry { offset: 0, length, block_size: 4096, atom: 1024, order, digest };
    let here = Inspector::new(geometry, RUN);
    let record = EpochRecord { epoch: EPOCH, restart: Seq(0), reserved: Seq(40), last_checkpoint: 9 };
    let saved = Checkpoint {
        reserved: Seq(40),
        window: Window::new(Seq(BLOCKS as u64)),
        epochs: Epochs::from_records(vec![record]).unwrap(),
        ..Checkpoint::first(Promise::Flush, 0)
    };
    let by = Recovered::from_saved(Schedule::new(&geometry, RUN), saved);
    let good: Vec<u8> = (0..BLOCKS as u64).flat_map(|nth| sealed(&here, Block(nth), Seq(nth))).collect();
    let every_other: Arc<[Block]> = (0..BLOCKS as u64).step_by(2).map(Block).collect();

    for span in [Span::all(Block(0), BLOCKS as u32), Span::listed(&every_other, 0..every_other.len())] {
        // The second is damaged in an atom, so that nobody asks for its digest: that moves no other's.
        for (forged, damaged) in (0..BLOCKS).flat_map(|forged| [(forged, BLOCKS), (forged, (forged + 1) % BLOCKS)]) {
            let mut bytes = good.clone();
            forge(&mut bytes[forged * 4096..][..4096], 2, TAG_SIZE + 3);
            if let Some(byte) = bytes.get_mut(damaged * 4096 + ATOM + 500) {
                *byte ^= 1;
            }
            let alone = |block: &Block| {
                let inspection = here.inspect(&bytes[span.place_of(*block, 4096)], &by.legal(*block));
                (*block, inspection)
            };
            let alone: Vec<_> = span.blocks().map(|block| alone(&block)).collect();
            let (intact, others): (Vec<_>, Vec<_>) =
                alone.into_iter().partition(|(_, inspection)| inspection.verdict == Verdict::Intact);
            let bad = |place: usize| span.blocks().any(|block| block.0 == place as u64);
            let expected = [forged, damaged].into_iter().filter(|&place| bad(place)).count();
            assert_eq!(others.len(), expected, "{forged} and {damaged}");

            let (read, mut shown) = (bytes.clone(), Vec::new());
            let evidence = |bytes: &[u8], legal: Legal| {
                assert_eq!(bytes, &read[span.place_of(legal.block, 4096)], "as it was read, and not yet poison");
                shown.push(legal.block);
            };
            let together = here.inspect_span(&mut bytes, &span, &by, evidence);
            assert_eq!((together.intact as usize, &together.others), (intact.len(), &others), "{forged}, {damaged}");
            assert_eq!(shown, others.iter().map(|(block, _)| *block).collect::<Vec<_>>());
            assert!(bytes.iter().all(|&byte| byte == POISON));
        }
    }
}
