//! Where one name ends and the next begins, and what the words say: a shear is not corruption with a lucky word in it.

use super::*;
use crate::ledger::FlushRecord;

const FIRST: Seq = Seq(1);

/// The first write of the block is guaranteed, and no other was issued.
fn first_write() -> Legal {
    let guarantee = Guarantee { seq: FIRST, proved_by: ProvedBy::Checkpoint, flush: None, attested: false };
    Legal { newest_issued: Some(FIRST), ..legal(Rule::AtLeast(guarantee)) }
}

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut bytes);
    bytes
}

fn class(bytes: &[u8], legal: &Legal) -> Class {
    broken(&inspector(Digest::Crc32c), bytes, legal).class
}

fn words(bytes: &[u8], legal: &Legal) -> String {
    broken(&inspector(Digest::Crc32c), bytes, legal).detail.clone()
}

#[test]
fn what_is_of_two_writes_with_anything_else_between_is_corrupt() {
    let here = inspector(Digest::Crc32c);
    let (old, new) = (sealed(&here, BLOCK, OLD), sealed(&here, BLOCK, NEW));
    let patched = [&new[..304], &noise(200)[..], &old[504..ATOM], &new[ATOM..]].concat();
    assert_eq!(class(&patched, &guaranteed(false)), Class::Corrupt);
    let seam = [&new[..304], &old[304..ATOM], &new[ATOM..]].concat();
    assert_eq!(class(&seam, &guaranteed(false)), Class::Shorn);
}

/// What was there before the run can't be rebuilt: only a clean cut at a sector's edge of a first write tells it.
#[test]
fn a_first_write_is_shorn_over_what_was_there_at_a_sectors_edge_and_nowhere_else() {
    let here = inspector(Digest::Crc32c);
    let first = sealed(&here, BLOCK, FIRST);
    let over_noise = |cut: usize| [&first[..cut], &noise(ATOM - cut)[..], &first[ATOM..]].concat();
    assert_eq!(class(&over_noise(512), &first_write()), Class::Shorn);
    assert!(words(&over_noise(512), &first_write()).contains("write 1 up to byte 512 and what was there before"));
    assert_eq!(class(&over_noise(520), &first_write()), Class::Corrupt);
    let new = sealed(&here, BLOCK, NEW);
    let later = [&new[..512], &noise(512)[..], &new[ATOM..]].concat();
    assert_eq!(class(&later, &guaranteed(false)), Class::Corrupt, "before write 9 there was write 5, not noise");
}

#[test]
fn a_shorn_atom_is_told_from_its_payload_though_its_tag_is_damaged_too() {
    let here = inspector(Digest::Crc32c);
    let (old, new) = (sealed(&here, BLOCK, OLD), sealed(&here, BLOCK, NEW));
    let mut shorn = [&new[..512], &old[512..ATOM], &new[ATOM..]].concat();
    shorn[33] ^= 0x11;
    assert_eq!(class(&shorn, &guaranteed(false)), Class::Shorn);
    let early = [&new[..104], &old[104..ATOM], &new[ATOM..]].concat();
    assert!(words(&early, &guaranteed(false)).contains("write 9 up to byte 104 and write 5"));
}

#[test]
fn a_block_of_one_atom_with_the_tag_of_another_write_of_the_run_is_shorn() {
    let length = (1 << 20) + 4 * 4096;
    let (order, digest) = (Order::Sequential, Digest::Crc32c);
    let here = Inspector::new(Geometry { offset: 0, length, block_size: 4096, atom: 4096, order, digest }, RUN);
    let shorn = [&sealed(&here, BLOCK, NEW)[..TAG_SIZE], &sealed(&here, BLOCK, OLD)[TAG_SIZE..]].concat();
    assert_eq!(broken(&here, &shorn, &guaranteed(false)).class, Class::Shorn);
}

/// A first write that never landed leaves what was there before, which looks like corruption of everything.
#[test]
fn noise_in_place_of_a_first_write_is_a_lost_write_and_of_a_later_one_is_corrupt() {
    assert_eq!(class(&noise(4096), &first_write()), Class::LostWrite);
    assert_eq!(
        words(&noise(4096), &first_write()),
        "nothing of this run is there; 1 was guaranteed by the saved ledger"
    );
    assert_eq!(class(&noise(4096), &guaranteed(false)), Class::Corrupt);
    let mut one_atom = sealed(&inspector(Digest::Crc32c), BLOCK, FIRST);
    one_atom[..ATOM].copy_from_slice(&noise(ATOM));
    assert_eq!(class(&one_atom, &first_write()), Class::Corrupt, "the rest of the write is there");
}

#[test]
fn rot_of_up_to_a_third_of_all_bits_is_corrupt_and_beyond_that_nothing_of_the_write_is_there() {
    let flipped = |bits: usize| {
        let mut bytes = sealed(&inspector(Digest::Crc32c), BLOCK, FIRST);
        for atom in bytes.chunks_mut(ATOM) {
            atom[..TAG_SIZE].iter_mut().for_each(|byte| *byte = !*byte);
            (0..bits).for_each(|bit| atom[TAG_SIZE + bit / 8] ^= 1 << (bit % 8));
        }
        class(&bytes, &first_write())
    };
    // 928 bytes of payload in an atom: 7,424 bits.
    assert_eq!((flipped(2474), flipped(2475)), (Class::Corrupt, Class::LostWrite));
}

/// The quick path compares every atom with its place: nothing else stands between this block and "intact".
#[test]
fn sound_atoms_none_of_which_but_the_first_is_in_its_place_are_misdirected() {
    let good = sealed(&inspector(Digest::Crc32c), BLOCK, NEW);
    let atom = |index: usize| &good[index * ATOM..][..ATOM];
    let turned = [atom(0), atom(2), atom(3), atom(1)].concat();
    assert_eq!(class(&turned, &guaranteed(false)), Class::Misdirected);
    let detail = words(&turned, &guaranteed(false));
    assert!(detail.contains("3 of 4 atoms belong elsewhere: the first is write 9 of block 1, atom 2"), "{detail}");
}

#[test]
fn atoms_of_one_issue_that_differ_in_the_time_of_sealing_are_that_issue() {
    let here = inspector(Digest::Crc32c);
    let seal = |seq, wall_ns| {
        let mut bytes = vec![0; 4096];
        here.sealer().seal(BLOCK, &Claim { wall_ns, ..claim(seq, EPOCH) }, &mut bytes);
        bytes
    };
    let verdict =
        |seq, legal: &Legal| here.inspect(&[&seal(seq, 1)[..ATOM], &seal(seq, 2)[ATOM..]].concat(), legal).verdict;
    assert_eq!(verdict(NEW, &guaranteed(false)), Verdict::Intact);
    assert_eq!(verdict(Seq(13), &guaranteed(false)), Verdict::Intact);
    let older = Legal { newest_issued: Some(NEW), ..first_write() };
    assert_eq!(verdict(OLD, &older), Verdict::RolledBack);
}

#[test]
fn the_issue_of_a_phantom_is_the_impossible_one_and_a_foreign_block_has_no_home() {
    let here = inspector(Digest::Crc32c);
    let (new, never) = (sealed(&here, BLOCK, NEW), sealed(&here, BLOCK, Seq(41)));
    let phantom = broken(&here, &[&new[..2048], &never[2048..]].concat(), &guaranteed(false));
    assert_eq!((phantom.class, phantom.found.map(|issue| issue.seq)), (Class::Phantom, Some(Seq(41))));
    let other = Inspector::new(*here.sealer().geometry(), RunId([6; 16]));
    let mixed = [&sealed(&other, BLOCK, NEW)[..2048], &sealed(&here, Block(2), Seq(10))[2048..]].concat();
    let foreign = broken(&here, &mixed, &guaranteed(false));
    assert_eq!((foreign.class, foreign.home), (Class::Foreign, None));
}

#[test]
fn the_words_name_the_run_the_atoms_and_the_guarantee() {
    let here = inspector(Digest::Crc32c);
    let other = Inspector::new(*here.sealer().geometry(), RunId([6; 16]));
    let foreign = words(&sealed(&other, BLOCK, NEW), &guaranteed(false));
    assert_eq!(foreign, format!("4 of 4 atoms are of run {}; 9 expected", RunId([6; 16])));
    let (old, new) = (sealed(&here, BLOCK, OLD), sealed(&here, BLOCK, NEW));
    let torn = words(&[&new[..2048], &old[2048..]].concat(), &guaranteed(false));
    let parts =
        "atoms 0-1 hold write 9 (pass 2, epoch 3), atoms 2-3 hold write 5 (pass 1, epoch 3, older than it may be)";
    assert_eq!(torn, format!("{parts}; 9 was guaranteed by the saved ledger"));
    let guarantee = |proved_by, flush| {
        let rule = Rule::AtLeast(Guarantee { seq: NEW, proved_by, flush, attested: false });
        words(&old, &legal(rule)).split("; ").last().map(str::to_owned)
    };
    let flush = Some(FlushRecord { number: 6, durable: Seq(10), wall_ns: 1 });
    assert_eq!(guarantee(ProvedBy::Checkpoint, flush).as_deref(), Some("9 was guaranteed by flush 6"));
    assert_eq!(guarantee(ProvedBy::Disk, None).as_deref(), Some("9 was guaranteed by tags on the disk itself"));
    assert_eq!(Class::LostWrite.to_string(), "lost_write");
}

/// A claim that was made up for the trial knows the payload and not the tag; one that a sound neighbour makes knows both.
#[test]
fn a_damaged_tag_is_compared_only_where_somebody_tells_it() {
    let here = inspector(Digest::Crc32c);
    let damaged = |checkpoint, wall_ns| {
        let mut bytes = vec![0; 4096];
        here.sealer().seal(BLOCK, &Claim { checkpoint, wall_ns, ..claim(NEW, EPOCH) }, &mut bytes);
        [41, 500].iter().for_each(|at| bytes[ATOM + at] ^= 0x20);
        words(&bytes, &guaranteed(false))
    };
    for (checkpoint, wall_ns) in [(8, 7), (0, 7), (8, 0)] {
        let detail = damaged(checkpoint, wall_ns);
        assert!(detail.contains("2 bits in 2 bytes differ from write 9, from byte 41 (seq)"), "{detail}");
    }
    let mut all = sealed(&here, BLOCK, NEW);
    all.chunks_mut(ATOM).for_each(|atom| atom[32..80].fill(0xee));
    let detail = words(&all, &guaranteed(false));
    assert!(detail.contains("the payload is that of write 9 and the tag is damaged"), "{detail}");
}

#[test]
fn a_damaged_atom_that_belongs_elsewhere_does_not_tell_what_should_be_here() {
    let here = inspector(Digest::Crc32c);
    let mut stray = sealed(&here, BLOCK, NEW)[2 * ATOM..3 * ATOM].to_vec();
    stray[500] ^= 1;
    let bytes = [&stray[..], &[0; 3 * ATOM]].concat();
    assert_eq!(here.expectation(&bytes, &guaranteed(false)), None);
}

#[test]
fn only_in_the_first_atom_does_a_digest_stand_before_the_payload() {
    let here = inspector(Digest::Blake3);
    let (old, new) = (sealed(&here, BLOCK, OLD), sealed(&here, BLOCK, NEW));
    let cut = ATOM + TAG_SIZE + 8;
    let early = broken(&here, &[&new[..cut], &old[cut..2 * ATOM], &new[2 * ATOM..]].concat(), &guaranteed(false));
    assert!(early.detail.contains("write 9 up to byte 104 and write 5"), "{}", early.detail);
}
