//! Golden vectors. A literal that no longer fits is a format that changed: never adjust one without a new version.

use scrubd::schedule::Schedule;
use scrubd::tag::Sealer;
use scrubd::vocabulary::{Digest, Geometry, RunKey, Seq};

use super::decoder::{atom, order};
use super::{RUN, example, hex, labels, slots};

const KEY: [u64; 4] = [0x07fc_cbc1_9fed_67e2, 0x2050_b6e7_de59_9c44, 0x0146_9fa2_dd57_a138, 0x9f9a_1e0d_1699_be3f];
#[rustfmt::skip]
const WORDS: [u64; 52] = [
    0x3a50_81c1_493c_0047, 0xd6a9_cc56_9423_cf9f, 0x370e_479d_fd94_7b60, 0x2da1_4f4e_aa87_3e5e,
    0x709b_82a7_c85b_adfe, 0x2665_639b_0f1d_e18c, 0x57f5_4534_23c3_06a2, 0x2232_af31_3f06_d992,
    0xbeea_5769_cbb6_cd17, 0x22a8_2957_da72_48c4, 0x16e4_1e50_7554_2792, 0x5962_5ea8_0635_c6f8,
    0x8dbb_f96a_0da0_9ba7, 0x4040_8147_f724_ac26, 0xfb6d_2c31_71e3_7311, 0x9a34_08b9_7948_4962,
    0xf884_da8e_b3f7_6d57, 0x929f_4979_26d0_3222, 0x329e_a523_3cce_991a, 0x7493_7b45_cecc_cde5,
    0x6ef1_3018_811c_541a, 0xe52b_6594_1208_b166, 0x800e_ea2d_94c2_beeb, 0xed44_1c1d_4687_62df,
    0x7e85_6bfa_8c1f_1660, 0x1a7b_9b98_2355_df46, 0x522e_35df_3a4f_98f7, 0x53ec_e468_0685_5c77,
    0x6887_a356_c048_d720, 0x5513_cdb9_298d_b983, 0xba04_2628_1663_e5b6, 0x5621_0477_88ea_7c6f,
    0xf7be_b4b6_1344_0732, 0x3812_72ed_4a63_7a53, 0x2c6f_282c_b902_6a02, 0x5c68_59f1_2049_ec16,
    0xca93_7529_8228_7794, 0xa20f_ed7b_3543_f8ee, 0x4343_638a_6efe_0c46, 0xdd75_cd22_02af_d9c9,
    0x0dce_125a_e9b0_9ffb, 0x4aba_53f2_6e0a_12bd, 0x31af_6c81_650d_f9ad, 0x8a56_8859_d298_2195,
    0x0927_1ae1_b490_7894, 0x1974_2765_5138_ebe0, 0xb3b6_e61c_bfa9_3b89, 0xff49_9492_7519_3202,
    0x21fe_7dfd_3f5b_04cd, 0x19ae_7f57_e4ba_06fb, 0x7447_4576_25b4_c7c1, 0xf1f1_b2c6_44a6_64d6,
];
const PASSES: [[u64; 10]; 2] = [[0, 5, 2, 8, 7, 3, 4, 9, 6, 1], [4, 9, 5, 8, 2, 1, 3, 7, 6, 0]];
const ATOM: &str = "e2fe5553a0c70fc5b7eb1895736925732d9400f45f1f9071ac01c9834f7503f2";
const LABEL: &str = "42911ef00e4bdf6f6d43c6a99671b89f3dc4cc526c52b8e6efec2d5bd63c326f";
const SLOT: &str = "ce4cca4920cf97676300507e83c4514fcbe0e453104723fa9418a31b5b8139b1";
const ATOM_WITH_DIGEST: &str = "37af699bee31d47546eacec18c14e291ba7f578efb2607b052f2b0976cff170c";

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
