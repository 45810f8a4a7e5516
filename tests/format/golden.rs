//! Golden vectors. A literal that no longer fits is a format that changed: never adjust one without a new version.

use scrubd::schedule::Schedule;
use scrubd::tag::Sealer;
use scrubd::vocabulary::{Digest, Geometry, RunKey, Seq};

use super::decoder::{atom, order};
use super::{RUN, example, hex, labels, slots};

const KEY: [u64; 4] = [0x07fc_cbc1_9fed_67e2, 0x2050_b6e7_de59_9c44, 0x0146_9fa2_dd57_a138, 0x9f9a_1e0d_1699_be3f];
#[rustfmt::skip]
const WORDS: [u64; 52] = [
    0xc2e3_b8f4_1f50_4cc5, 0xab4d_a1a4_4ca6_ad91, 0x7714_6680_bad8_d153, 0xa936_4f7a_da06_9e35,
    0x3561_8451_2f25_37ae, 0xe0e6_c937_9a94_874a, 0xb349_491e_b7df_2962, 0x9bb2_b670_d890_4661,
    0x82df_f2be_c509_764b, 0x4bd9_aa27_c5f9_7671, 0x7f9b_04e5_8664_f765, 0x0d65_e02e_c8c8_c13c,
    0xb979_be30_bb4c_709a, 0x09a8_62b8_ce01_16cc, 0x7379_b688_6958_041e, 0x6aaa_9e17_0c5a_ca2e,
    0x3b77_a193_f9fb_7c58, 0x6920_adc1_4f96_c6c6, 0xf62c_4211_8300_b264, 0x911b_7292_200f_57b7,
    0xf29d_8336_1324_7974, 0xec51_35cc_579d_c6dd, 0x4980_69c4_b451_7fb4, 0x0d09_5ae8_c51f_4bbc,
    0x429e_576f_9e8b_1a22, 0xcc0e_75b7_a14f_7f12, 0x6b26_c1d6_bf16_82d6, 0xdd07_db43_dd14_b653,
    0xc6b8_e6a5_a53b_6b2e, 0xbf03_4ec6_bbaf_c344, 0xf74a_0b1c_3920_6f99, 0x3582_e6c6_81c3_ba00,
    0xb40a_cb94_710e_e800, 0x53f8_b779_4c9d_24bc, 0xb6ff_c382_3f8a_6ac0, 0xaf51_044b_6b39_8f50,
    0x92ff_d893_4d80_6831, 0x3925_fdaa_d6c1_7493, 0x0cd2_b69c_ff06_103a, 0xbdae_9c77_f176_d754,
    0x2ef5_4ddf_a651_e2d0, 0xa055_3d57_8428_cf5f, 0x83a9_ce8e_246c_2c21, 0xfd0d_38a3_ced5_9549,
    0x23c3_4b6c_ca47_d203, 0x3500_c3ec_df54_7117, 0xa7e6_e714_b249_40fa, 0x1923_502e_25c3_ebed,
    0x75b8_496b_f06c_9f96, 0x65de_7ae6_5223_4c04, 0xe785_e986_eb02_b684, 0xf844_3a7a_6239_7ed1,
];
const PASSES: [[u64; 10]; 2] = [[0, 5, 2, 8, 7, 3, 4, 9, 6, 1], [4, 9, 5, 8, 2, 1, 3, 7, 6, 0]];
const ATOM: &str = "dd1f99b97070e1fd09f42a403a9bf2237084b973525e5d32f5ef8cc5c804a7f0";
const LABEL: &str = "42911ef00e4bdf6f6d43c6a99671b89f3dc4cc526c52b8e6efec2d5bd63c326f";
const SLOT: &str = "ce4cca4920cf97676300507e83c4514fcbe0e453104723fa9418a31b5b8139b1";
const ATOM_WITH_DIGEST: &str = "a26d6766d048ccd2ce96632e3d93f92da4b923123a9afb62b113dd764b40ddd7";

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
    let rebuilt = atom::rebuild(&first_atom(Digest::Crc32c)[..96]).unwrap();
    assert_eq!(hex(blake3::hash(&rebuilt).as_bytes()), ATOM);
    assert_eq!(hex(blake3::hash(&first_atom(Digest::Blake3)).as_bytes()), ATOM_WITH_DIGEST);
}

#[test]
fn a_whole_label_and_a_whole_slot() {
    assert_eq!(hex(blake3::hash(&labels::sample().encode()).as_bytes()), LABEL);
    assert_eq!(hex(blake3::hash(&slots::sealed(7, &slots::lived_in().encode())).as_bytes()), SLOT);
}
