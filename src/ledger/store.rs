//! The two slots as files: read without belief, saved one at a time, never the newest.
//!
//! Why the older checkpoint survives any cut: a save touches one file, and that file is not the one of the newest
//! durable checkpoint. Within the file no order is needed, as the checksum covers every byte of the slot: it is whole or
//! it is not a checkpoint. The length stands in the header, under the same checksum, and the file never shrinks: a
//! shorter checkpoint leaves the rest of a longer one behind it, which is no part of the slot. (Truncating would give
//! back the space reserved here, and add a second step that a cut could separate from the first.)
//!
//! Space is reserved when the store is opened, by writing zeros: a file system that fills up later cannot stop a save,
//! except where overwriting allocates anew (btrfs, ZFS, compression).

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    panic::resume_unwind,
    path::{Path, PathBuf},
    thread,
};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::{
    slots::{SLOT_MAX, Sealed, SlotBytes, SlotIndex},
    state_dir::{remedy, sync_dir},
};

/// What went wrong with a slot; the errno is in `source`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was changed.
    #[error("cannot open {path} for saving; {}", remedy(source))]
    Open {
        /// The slot's file.
        path: PathBuf,
        /// With errno.
        source: io::Error,
    },
    /// No checkpoint was touched, but the next save might not have the room it needs.
    #[error("cannot reserve {SLOT_MAX} bytes for {path}; {}", remedy(source))]
    Reserve {
        /// The slot's file.
        path: PathBuf,
        /// With errno.
        source: io::Error,
    },
    /// The slot's content is unknown, the other slot is as it was. Save to the same slot again.
    #[error("cannot write checkpoint slot {slot}; {}", remedy(source))]
    Write {
        /// Which slot.
        slot: SlotIndex,
        /// With errno.
        source: io::Error,
    },
    /// The slot's content is unknown, the other slot is as it was. Save to the same slot again, from the start.
    #[error("cannot make checkpoint slot {slot} durable; {}", remedy(source))]
    Flush {
        /// Which slot.
        slot: SlotIndex,
        /// With errno.
        source: io::Error,
    },
}

impl StoreError {
    /// The errno of the failed call, when the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        let (StoreError::Open { source, .. }
        | StoreError::Reserve { source, .. }
        | StoreError::Write { source, .. }
        | StoreError::Flush { source, .. }) = self;
        source.raw_os_error()
    }
}

/// Both slots, open for saving.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    files: [Option<File>; 2],
    newest: Option<SlotIndex>,
}

impl Store {
    /// Opens both slots, reads what they hold and reserves their space. Call [`Store::protect`] before the first save.
    ///
    /// # Errors
    /// When a slot cannot be created, opened or given its space. A slot that cannot be read is a [`SlotBytes`].
    pub fn open(dir: &Path) -> Result<(Store, [SlotBytes; 2]), StoreError> {
        // At the same time: each waits for the disk, and after a cut the first read of the target waits for both.
        let [zero, one] = thread::scope(|scope| {
            let one = scope.spawn(|| open_and_read(dir, SlotIndex::One));
            [open_and_read(dir, SlotIndex::Zero), one.join().unwrap_or_else(|panic| resume_unwind(panic))]
        });
        let [(zero, zero_bytes), (one, one_bytes)] = [zero?, one?];
        sync_dir(dir).map_err(|source| StoreError::Open { path: dir.to_owned(), source })?;
        let store = Store { dir: dir.to_owned(), files: [Some(zero), Some(one)], newest: None };
        Ok((store, [zero_bytes, one_bytes]))
    }

    /// Says which slot holds the newest durable checkpoint, from `Choice::newest_slot`. Saves keep it up to date.
    pub fn protect(&mut self, newest: Option<SlotIndex>) {
        self.newest = newest;
    }

    /// Saves a checkpoint durably.
    ///
    /// # Errors
    /// The slot is unknown from then on; the other one is as it was. The next save must go to the same slot again: it
    /// opens the file anew and writes everything.
    ///
    /// # Panics
    /// When `slot` holds the newest durable checkpoint.
    pub fn save(&mut self, slot: SlotIndex, checkpoint: &Sealed) -> Result<(), StoreError> {
        assert_ne!(self.newest, Some(slot), "the newest durable checkpoint would be overwritten");
        // Taken out, and put back only after success. The kernel reports a failed write-back once, and marks the pages
        // clean: a second fsync would succeed over data that never arrived. Only a rewrite dirties them again, and only
        // a descriptor opened afterwards is sure to hear of nothing but its own errors.
        let file = match self.files[slot as usize].take() {
            Some(file) => file,
            None => open(&self.dir.join(slot.file_name()))?,
        };
        file.write_all_at(checkpoint.as_bytes(), 0).map_err(|source| StoreError::Write { slot, source })?;
        file.sync_data().map_err(|source| StoreError::Flush { slot, source })?;
        self.files[slot as usize] = Some(file);
        self.newest = Some(slot);
        Ok(())
    }
}

/// Reads both slots and changes nothing: for `check`, on a read-only state directory or none at all.
#[must_use]
pub fn load(dir: &Path) -> [SlotBytes; 2] {
    SlotIndex::BOTH.map(|slot| match File::open(dir.join(slot.file_name())) {
        Ok(file) => read(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => SlotBytes::Missing,
        Err(error) => unreadable(&error),
    })
}

fn open_and_read(dir: &Path, slot: SlotIndex) -> Result<(File, SlotBytes), StoreError> {
    let path = dir.join(slot.file_name());
    let file = open(&path)?;
    settle(&file);
    let bytes = read(&file);
    match reserve(&file) {
        Ok(()) => Ok((file, bytes)),
        Err(source) => Err(StoreError::Reserve { path, source }),
    }
}

fn open(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| StoreError::Open { path: path.to_owned(), source })
}

/// What is read next must be what the medium holds. A daemon that died between write and fsync leaves a checkpoint that
/// only the page cache knows, and so does a failed write-back: taken for the newest durable one, it would let the next
/// save overwrite the one that is. So dirty pages go out first, and clean ones are dropped. A failure here needs no
/// report: it leaves pages clean, and the read behind it tells the truth.
fn settle(file: &File) {
    if let Err(error) = file.sync_data() {
        tracing::warn!(%error, "a checkpoint slot could not be flushed; reading what the medium holds");
    }
    if let Err(errno) = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED) {
        tracing::debug!(%errno, "the page cache of a checkpoint slot could not be dropped");
    }
}

fn read(mut file: &File) -> SlotBytes {
    // At once: growing from nothing would ask twenty times.
    let mut bytes = Vec::with_capacity(SLOT_MAX);
    match file.by_ref().take(SLOT_MAX as u64).read_to_end(&mut bytes) {
        Ok(_) => SlotBytes::Read(bytes),
        Err(error) => unreadable(&error),
    }
}

fn unreadable(error: &io::Error) -> SlotBytes {
    SlotBytes::Unreadable(error.raw_os_error().unwrap_or(nix::libc::EIO))
}

/// Only the bytes behind the end are written: a slot that is whole stays whole, also when this is cut short.
fn reserve(file: &File) -> io::Result<()> {
    let length = file.metadata()?.len();
    if length < SLOT_MAX as u64 {
        file.write_all_at(&vec![0; SLOT_MAX - length as usize], length)?;
        file.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        ledger::slots::{Expected, IdentityHash, Slot, newest_valid, seal},
        vocabulary::RunId,
    };

    const OWNER: Expected = Expected { run_id: RunId([7; 16]), identity: IdentityHash([9; 32]) };

    fn checkpoint(number: u64, length: usize) -> Sealed {
        seal(number, &OWNER, &vec![number as u8; length]).unwrap()
    }

    fn newest(dir: &Path) -> Option<u64> {
        newest_valid(&load(dir), &OWNER).newest().map(|checkpoint| checkpoint.number)
    }

    /// Saves checkpoints of these payload lengths, numbered from 1, as a daemon would.
    fn save_all(dir: &Path, lengths: &[usize]) -> Store {
        let (mut store, slots) = Store::open(dir).unwrap();
        let choice = newest_valid(&slots, &OWNER);
        store.protect(choice.newest_slot());
        let mut turn = choice.turn();
        for (number, &length) in (1..).zip(lengths) {
            store.save(turn.next(), &checkpoint(number, length)).unwrap();
            turn = turn.saved();
        }
        store
    }

    #[test]
    fn the_last_save_is_found_again_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        save_all(dir.path(), &[100, 90_000, 10, 0]);
        let (_, slots) = Store::open(dir.path()).unwrap();
        let choice = newest_valid(&slots, &OWNER);
        assert_eq!((choice.newest().unwrap().number, choice.newest_slot()), (4, Some(SlotIndex::One)));
        assert_eq!(choice.slots[0], Slot::Valid(crate::ledger::slots::Saved { number: 3, payload: vec![3; 10] }));
    }

    #[test]
    #[should_panic(expected = "the newest durable checkpoint would be overwritten")]
    fn the_newest_slot_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = save_all(dir.path(), &[100]);
        drop(store.save(SlotIndex::Zero, &checkpoint(2, 100)));
    }

    #[test]
    fn a_save_torn_at_any_sector_leaves_the_older_checkpoint_loadable() {
        for lengths in [[9000, 3000, 20_000], [20_000, 3000, 9000], [5000, 5000, 5000]] {
            let dir = tempfile::tempdir().unwrap();
            save_all(dir.path(), &lengths[..2]);
            let path = dir.path().join(SlotIndex::Zero.file_name());
            let before = fs::read(&path).unwrap();
            let after = checkpoint(3, lengths[2]);
            for cut in (0..after.as_bytes().len()).step_by(512) {
                let mut torn = before.clone();
                torn[..cut].copy_from_slice(&after.as_bytes()[..cut]);
                fs::write(&path, &torn).unwrap();
                let expected = if torn[..after.as_bytes().len()] == *after.as_bytes() { 3 } else { 2 };
                assert_eq!(newest(dir.path()), Some(expected), "{lengths:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_creation_cut_at_any_step_is_an_empty_state_and_is_completed_by_the_next_start() {
        for [zero, one] in [[None, None], [Some(0), None], [Some(512), None], [Some(SLOT_MAX), Some(4096 * 3)]] {
            let dir = tempfile::tempdir().unwrap();
            for (slot, length) in [(SlotIndex::Zero, zero), (SlotIndex::One, one)] {
                if let Some(length) = length {
                    fs::write(dir.path().join(slot.file_name()), vec![0; length]).unwrap();
                }
            }
            let blank = |length: Option<usize>| if length.unwrap_or(0) == 0 { Slot::Missing } else { Slot::Empty };
            let choice = newest_valid(&load(dir.path()), &OWNER);
            assert_eq!(choice.slots, [blank(zero), blank(one)]);
            assert!(choice.remarks().is_empty(), "nothing was saved yet, so nothing was taken away");
            save_all(dir.path(), &[77, 78]);
            assert_eq!(newest(dir.path()), Some(2));
        }
    }

    #[test]
    fn reserving_again_leaves_a_shortened_but_whole_slot_whole() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ledger.1"), checkpoint(8, 5000).as_bytes()).unwrap();
        Store::open(dir.path()).unwrap();
        assert_eq!(newest(dir.path()), Some(8));
        assert_eq!(fs::metadata(dir.path().join("ledger.1")).unwrap().len(), SLOT_MAX as u64);
    }

    /// `fsync` of /dev/null is EINVAL, a descriptor without write permission gives EBADF: real errors without a hook.
    #[test]
    fn after_a_failed_write_or_flush_the_next_save_opens_the_file_anew_and_writes_it_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = save_all(dir.path(), &[100, 100]);
        store.files[0] = Some(OpenOptions::new().write(true).open("/dev/null").unwrap());
        let flush = store.save(SlotIndex::Zero, &checkpoint(3, 100)).unwrap_err();
        assert!(matches!(flush, StoreError::Flush { slot: SlotIndex::Zero, .. }), "{flush}");
        assert_eq!(flush.errno(), Some(nix::libc::EINVAL));
        assert_eq!(newest(dir.path()), Some(2));
        store.save(SlotIndex::Zero, &checkpoint(3, 100)).unwrap();
        assert_eq!(newest(dir.path()), Some(3));
        store.files[1] = Some(File::open(dir.path().join("ledger.1")).unwrap());
        let write = store.save(SlotIndex::One, &checkpoint(4, 100)).unwrap_err();
        assert!(matches!(write, StoreError::Write { slot: SlotIndex::One, .. }), "{write}");
        store.save(SlotIndex::One, &checkpoint(4, 100)).unwrap();
        assert_eq!(newest(dir.path()), Some(4));
    }

    #[test]
    fn loading_changes_nothing_and_needs_no_directory() {
        let dir = tempfile::tempdir().unwrap();
        let absent = dir.path().join("absent");
        assert_eq!(load(&absent), [SlotBytes::Missing, SlotBytes::Missing]);
        assert!(!absent.exists());
        assert!(matches!(load(Path::new("/dev/null")), [SlotBytes::Unreadable(nix::libc::ENOTDIR), _]));
    }

    #[test]
    fn a_full_file_system_is_refused_at_the_start_and_does_not_stop_a_save_later() {
        let Some(small) = tests_tmpfs::mount(1 << 20) else { return };
        let error = Store::open(&small.0).unwrap_err();
        assert!(matches!(error, StoreError::Reserve { .. }), "{error}");
        assert_eq!(error.errno(), Some(nix::libc::ENOSPC));
        assert!(error.to_string().contains("no space left"), "{error}");
        let Some(enough) = tests_tmpfs::mount(3 << 20) else { return };
        let mut store = save_all(&enough.0, &[100, 100]);
        assert!(fs::write(enough.0.join("filler"), vec![1; 4 << 20]).is_err());
        store.save(SlotIndex::Zero, &checkpoint(3, 1 << 20)).unwrap();
        assert_eq!(newest(&enough.0), Some(3));
    }

    #[test]
    fn a_read_only_state_directory_can_be_loaded_and_is_refused_for_saving_with_words() {
        let Some(place) = tests_tmpfs::mount(3 << 20) else { return };
        drop(save_all(&place.0, &[100, 100]));
        place.make_read_only();
        assert_eq!(newest(&place.0), Some(2));
        let error = Store::open(&place.0).unwrap_err();
        assert_eq!(error.errno(), Some(nix::libc::EROFS));
        assert!(error.to_string().contains("ledger.0 for saving; its file system is read-only"), "{error}");
    }

    mod tests_tmpfs {
        use nix::mount::{MsFlags, mount as mount_fs, umount};

        pub(super) struct Tmpfs(
            pub(super) std::path::PathBuf,
            #[expect(dead_code, reason = "removed last")] tempfile::TempDir,
        );

        impl Tmpfs {
            pub(super) fn make_read_only(&self) {
                let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
                mount_fs(None::<&str>, &self.0, None::<&str>, flags, None::<&str>).unwrap();
            }
        }

        impl Drop for Tmpfs {
            fn drop(&mut self) {
                umount(&self.0).expect("umount of the test's own tmpfs");
            }
        }

        pub(super) fn mount(bytes: usize) -> Option<Tmpfs> {
            let dir = tempfile::tempdir().unwrap();
            let options = format!("size={bytes}");
            match mount_fs(Some("scrubd-test"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(options.as_str())) {
                Ok(()) => Some(Tmpfs(dir.path().to_owned(), dir)),
                Err(errno) => {
                    println!("SKIPPED: a small tmpfs cannot be mounted: {errno}");
                    None
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Sectors of one write may reach the medium in any order.
        #[test]
        fn a_save_of_which_any_sectors_arrived_leaves_the_older_checkpoint_loadable(
            old in 0usize..20_000, new in 0usize..20_000, arrived in proptest::collection::vec(any::<bool>(), 48),
        ) {
            let dir = tempfile::tempdir().unwrap();
            save_all(dir.path(), &[old, 10]);
            let path = dir.path().join(SlotIndex::Zero.file_name());
            let mut torn = fs::read(&path).unwrap();
            let after = checkpoint(3, new);
            for (index, sector) in after.as_bytes().chunks(512).enumerate() {
                if arrived[index % arrived.len()] {
                    torn[index * 512..][..512].copy_from_slice(sector);
                }
            }
            fs::write(&path, &torn).unwrap();
            let whole = torn[..after.as_bytes().len()] == *after.as_bytes();
            prop_assert_eq!(newest(dir.path()), Some(if whole { 3 } else { 2 }));
        }
    }
}
