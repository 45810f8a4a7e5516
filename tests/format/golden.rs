//! Golden vectors. A literal that no longer fits is a format that changed: never adjust one without a new version.

use scrubd::schedule::Schedule;
use scrubd::tag::Sealer;
use scrubd::vocabulary::{Digest, Geometry, RunKey, Seq};

use super::decoder::{atom, order};
use super::{RUN, example, hex};

const KEY: [u64; 4] = [0, 0, 0, 0];
const WORDS: [u64; 52] = [0; 52];
const PASSES: [[u64; 10]; 2] = [[0; 10]; 2];
const ATOM: &str = "";
const ATOM_WITH_DIGEST: &str = "";

/// Atom 0 of the example, under either digest.
fn first_atom(digest: Digest) -> Vec<u8> {
    let (geometry, block, claim) = example();
    let mut bytes = vec![0; 4096];
    Sealer::new(Geometry { digest, ..geometry }, RUN).seal(block, &claim, &mut bytes);
    bytes.truncate(512);
    bytes
}

fn words(payload: &[u8]) -> Vec<u64> {
    payload.chunks(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes"))).collect()
}

#[test]
fn the_run_key() {
    assert_eq!(RunKey::of(RUN).0, KEY, "{:#x?}", RunKey::of(RUN).0);
    assert_eq!(order::run_key(RUN.0).1, KEY);
}

#[test]
fn the_payload_of_an_atom() {
    let atom = first_atom(Digest::Crc32c);
    assert_eq!(words(&atom[96..]), WORDS, "{:#018x?}", words(&atom[96..]));
    assert_eq!(words(&atom::payload(&atom::tag(&atom).unwrap())), WORDS);
}

#[test]
fn the_order_of_two_passes_over_ten_blocks() {
    for (pass, blocks) in (0..).zip(PASSES) {
        let schedule = Schedule::new(&example().0, RUN);
        let ours: Vec<u64> = (0..10).map(|i| schedule.block_of(Seq(pass * 10 + i)).0).collect();
        assert_eq!(ours, blocks, "pass {pass}");
        let random = order::Random::new(10, RUN.0);
        assert_eq!((0..10).map(|i| random.block(pass, i)).collect::<Vec<_>>(), blocks);
    }
}

#[test]
fn a_whole_atom_of_512_bytes() {
    assert_eq!(hex(blake3::hash(&first_atom(Digest::Crc32c)).as_bytes()), ATOM);
    assert_eq!(hex(blake3::hash(&first_atom(Digest::Blake3)).as_bytes()), ATOM_WITH_DIGEST);
}
