//! `target.json`: it comes back as it was written, and half of it says nothing.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::vocabulary::{Digest, LABEL_AREA, Order};

fn known() -> impl Strategy<Value = Expected> {
    let text = || proptest::option::of("\\PC{0,63}");
    let kind = select(vec![Kind::File, Kind::Disk, Kind::Partition, Kind::Loop]);
    let identity = (kind, text(), text(), text(), any::<u64>(), proptest::option::of(any::<u64>()));
    let identity = identity.prop_map(|(kind, serial, wwn, model, size, partition_start)| Identity {
        kind,
        serial,
        wwn,
        model,
        size,
        partition_start,
    });
    (any::<[u8; 16]>(), identity, 1_u64..1 << 30, any::<bool>()).prop_map(|(run, identity, blocks, random)| {
        let (order, digest) =
            if random { (Order::Random, Digest::Blake3) } else { (Order::Sequential, Digest::Crc32c) };
        let length = LABEL_AREA + blocks * 4096;
        let geometry = Geometry { offset: blocks * 512, length, block_size: 4096, atom: 512, order, digest };
        Expected { run_id: RunId(run), identity, geometry }
    })
}

fn room() -> (tempfile::TempDir, Layout, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path(), "bay3").unwrap();
    fs::create_dir(layout.dir()).unwrap();
    let path = layout.dir().join(REMEMBERED);
    (dir, layout, path)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_remembered_comes_back_and_half_of_it_is_damage(known in known(), cut: Index) {
        let (_dir, layout, path) = room();
        prop_assert_eq!(read_remembered(&layout), Ok(None));
        let Expected { run_id, identity, geometry } = known.clone();
        let json = serde_json::to_vec_pretty(&Remembered { run_id, identity, geometry }).unwrap();
        prop_assert!((json.len() as u64) < REMEMBERED_MAX);
        fs::write(&path, &json).unwrap();
        prop_assert_eq!(read_remembered(&layout), Ok(Some(known)));
        fs::write(&path, &json[..cut.index(json.len())]).unwrap();
        prop_assert!(read_remembered(&layout).is_err());
        prop_assert_eq!(remembered(&layout), None);
    }

    /// Nothing vouches for the file: a changed digit is another number. What is no region is never taken for one.
    #[test]
    fn whatever_stands_there_it_is_a_region_or_damage(known in known(), bytes: Vec<u8>, at: Index, flip: bool) {
        let (_dir, layout, path) = room();
        let Expected { run_id, identity, geometry } = known;
        let mut json = serde_json::to_vec_pretty(&Remembered { run_id, identity, geometry }).unwrap();
        let bit = at.index(json.len() * 8);
        json[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, if flip { json } else { bytes }).unwrap();
        if let Ok(read) = read_remembered(&layout) {
            prop_assert_eq!(read.map(|read| read.geometry.validate()), Some(Ok(())));
        }
    }
}
