//! Guards against real devices: loop devices, mounts, swap, partitions. Each refusal is followed by the proof that not
//! a byte has changed.
//!
//! What needs root or loop devices says `SKIPPED: <reason>` where it has none.
#![allow(clippy::unwrap_used)] // clippy takes the helpers below for something else than tests

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::libc;
use scrubd::target::{self, Access, Expected, InitPlan, LabelFault, LabelState, OpenTarget, Spec, TargetError};
use scrubd::vocabulary::{Digest, Order, RunId};

const MIB: u64 = 1 << 20;
const SHORTLY: Duration = Duration::from_millis(200);

fn at(path: &Path) -> Spec {
    Spec { path: Some(path.into()), ..Spec::default() }
}

fn plan(length: Option<u64>, confirm: Option<&Path>) -> InitPlan {
    InitPlan {
        length,
        block_size: 65536,
        atom: None,
        order: Order::Random,
        digest: Digest::Blake3,
        run_id: RunId([7; 16]),
        now_unix_ns: 1_800_000_000_000_000_000,
        confirm: confirm.map(|path| path.display().to_string()),
    }
}

fn init(path: &Path, confirm: bool) -> Result<OpenTarget, TargetError> {
    target::init(&at(path), &plan(None, confirm.then_some(path)), SHORTLY)
}

/// A new file target of `size` bytes.
fn made(path: &Path, size: u64) -> OpenTarget {
    target::init(&at(path), &plan(Some(size), None), SHORTLY).unwrap()
}

fn open(path: &Path) -> Result<OpenTarget, TargetError> {
    target::open(&at(path), Access::ReadWrite, SHORTLY, None)
}

fn contents(path: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).unwrap()).unwrap();
    hasher.finalize()
}

/// Runs what must be refused, on a target whose bytes are at `image`, and returns the refusal.
fn refused(image: &Path, attempt: impl FnOnce() -> Result<OpenTarget, TargetError>) -> TargetError {
    let before = (contents(image), fs::metadata(image).unwrap().len());
    let error = attempt().expect_err("this must be refused");
    assert_eq!((contents(image), fs::metadata(image).unwrap().len()), before, "a refusal changed bytes: {error}");
    error
}

/// An image of `size` zeros, with pieces written over them.
fn image(directory: &Path, name: &str, size: u64, pieces: &[(u64, &[u8])]) -> PathBuf {
    let path = directory.join(name);
    let file = File::create(&path).unwrap();
    file.set_len(size).unwrap();
    for (offset, piece) in pieces {
        file.write_all_at(piece, *offset).unwrap();
    }
    path
}

fn run(command: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(command).args(arguments).output().map_err(|error| format!("{command}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(format!("{command} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// What is to be undone at the end of a test, whatever becomes of it.
struct Undo(&'static str, Vec<String>);

impl Drop for Undo {
    /// Tries for a while: anybody who looks at a device at that moment makes it busy, and a partition that is left
    /// behind fails every later test on that loop device.
    fn drop(&mut self) {
        let arguments: Vec<&str> = self.1.iter().map(String::as_str).collect();
        let mut undone = run(self.0, &arguments);
        for _ in 0..100 {
            if undone.is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
            undone = run(self.0, &arguments);
        }
        eprintln!("not undone: {undone:?}");
    }
}

/// A loop device over an image.
struct Loop {
    device: PathBuf,
    image: PathBuf,
}

impl Drop for Loop {
    /// "Detached" is true only once the last opener is gone, and other tests' `losetup` open every loop device.
    fn drop(&mut self) {
        let name = self.device.file_name().unwrap().to_str().unwrap();
        let backing = PathBuf::from(format!("/sys/block/{name}/loop/backing_file"));
        let is_attached = || fs::read_to_string(&backing).is_ok_and(|path| Path::new(path.trim_end()) == self.image);
        let detached = run("losetup", &["-d", self.device.to_str().unwrap()]);
        for _ in 0..500 {
            if !is_attached() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        eprintln!("not detached: {} ({detached:?})", self.device.display());
    }
}

static LOSETUP: Mutex<()> = Mutex::new(());

impl Loop {
    fn over(image: &Path, options: &[&str]) -> Result<Loop, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("not root".into());
        }
        // "-f" and the attaching are two steps: one test at a time, and another process may still win the race.
        let _one_at_a_time = LOSETUP.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let arguments = [&["--show", "-f"], options, &[image.to_str().unwrap()]].concat();
        let device = run("losetup", &arguments).or_else(|_| run("losetup", &arguments))?;
        Ok(Loop { device: device.into(), image: image.canonicalize().unwrap() })
    }
}

/// The value, or the end of this test with its reason.
macro_rules! needs {
    ($what:expr) => {
        match $what {
            Ok(value) => value,
            Err(reason) => {
                println!("SKIPPED: {reason}");
                return;
            }
        }
    };
}

fn ext4(directory: &Path, name: &str) -> Result<PathBuf, String> {
    let path = image(directory, name, 16 * MIB, &[]);
    run("mkfs.ext4", &["-q", "-F", "-L", "home", path.to_str().unwrap()])?;
    Ok(path)
}

/// An MBR with one Linux partition.
fn mbr() -> Vec<u8> {
    let mut sector = vec![0; 512];
    sector[446..462].copy_from_slice(&[0, 0, 2, 0, 0x83, 0, 9, 0, 0, 8, 0, 0, 0, 16, 0, 0]);
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    sector
}

/// An md superblock, version 1.2 (kernel, `include/uapi/linux/raid/md_p.h`): stands at 4 KiB.
fn md_superblock() -> Vec<u8> {
    let mut block = vec![0_u8; 256];
    block[..4].copy_from_slice(&0xa92b_4efc_u32.to_le_bytes());
    block[4..8].copy_from_slice(&1_u32.to_le_bytes());
    block[16..32].copy_from_slice(b"sixteen byte id!");
    block[72..76].copy_from_slice(&1_u32.to_le_bytes());
    block[80..88].copy_from_slice(&16_384_u64.to_le_bytes());
    block[144..152].copy_from_slice(&8_u64.to_le_bytes());
    let words = block.chunks_exact(4).map(|word| u64::from(u32::from_le_bytes(word.try_into().unwrap())));
    let sum: u64 = words.sum();
    let folded = u32::try_from((sum & 0xFFFF_FFFF) + (sum >> 32)).unwrap();
    block[216..220].copy_from_slice(&folded.to_le_bytes());
    block
}

/// An LVM2 label (lvm2, `lib/label/label.h`): in sector 1, with a CRC-32 that starts from 0xf597a6cf.
fn lvm_label() -> Vec<u8> {
    let mut sector = vec![0_u8; 512];
    sector[..8].copy_from_slice(b"LABELONE");
    sector[8..16].copy_from_slice(&1_u64.to_le_bytes());
    sector[20..24].copy_from_slice(&32_u32.to_le_bytes());
    sector[24..32].copy_from_slice(b"LVM2 001");
    sector[32..64].copy_from_slice(b"abcdefghijklmnopqrstuvwxyzABCDEF");
    let mut crc = 0xf597_a6cf_u32;
    for byte in &sector[20..] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    sector[16..20].copy_from_slice(&crc.to_le_bytes());
    sector
}

fn assert_signature(error: &TargetError, kind: &str) {
    assert!(matches!(error, TargetError::HasSignatures { found, .. } if found.contains(kind)), "{kind}: {error}");
    assert_eq!(error.exit_code(), 77);
}

#[test]
fn a_disk_with_a_file_system_is_refused_even_when_confirmed() {
    let directory = tempfile::tempdir().unwrap();
    let image = needs!(ext4(directory.path(), "a"));
    let disk = needs!(Loop::over(&image, &[]));
    for confirm in [false, true] {
        let error = refused(&image, || init(&disk.device, confirm));
        assert_signature(&error, "ext4 \"home\"");
        assert!(error.to_string().contains("wipefs --all"), "{error}");
    }
}

#[test]
fn a_partition_table_raid_and_lvm_are_refused_on_disks_and_in_files() {
    let directory = tempfile::tempdir().unwrap();
    let cases: [(&str, u64, Vec<u8>); 3] =
        [("dos", 0, mbr()), ("linux_raid_member", 4096, md_superblock()), ("LVM2_member", 512, lvm_label())];
    for (kind, offset, bytes) in &cases {
        let image = image(directory.path(), kind, 16 * MIB, &[(*offset, bytes)]);
        assert_signature(&refused(&image, || init(&image, true)), kind);
    }
    for (kind, ..) in &cases {
        let image = directory.path().join(kind);
        let disk = needs!(Loop::over(&image, &[]));
        assert_signature(&refused(&image, || init(&disk.device, true)), kind);
    }
}

#[test]
fn a_mounted_disk_is_refused_with_the_mount_point() {
    let directory = tempfile::tempdir().unwrap();
    let image = needs!(ext4(directory.path(), "a"));
    let disk = needs!(Loop::over(&image, &[]));
    let mount_point = directory.path().join("mnt");
    fs::create_dir(&mount_point).unwrap();
    needs!(run("mount", &["-o", "ro", disk.device.to_str().unwrap(), mount_point.to_str().unwrap()]));
    let _umount = Undo("umount", vec![mount_point.display().to_string()]);
    let error = refused(&image, || init(&disk.device, true));
    assert!(matches!(&error, TargetError::InUse { users, .. } if users[0].contains("mnt (ext4)")), "{error}");
    assert_eq!(error.exit_code(), 77);
}

#[test]
fn a_disk_that_another_process_has_opened_exclusively_is_held_and_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(directory.path(), "a", 16 * MIB, &[]);
    let disk = needs!(Loop::over(&image, &[]));
    let other = OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(&disk.device).unwrap();
    let started = Instant::now();
    let error = refused(&image, || init(&disk.device, true));
    assert!(matches!(error, TargetError::Held { .. }), "{error}");
    assert_eq!(error.exit_code(), 75);
    assert!(started.elapsed() >= SHORTLY);
    drop(other);
    drop(init(&disk.device, true).unwrap());
}

#[test]
fn the_lock_lives_as_long_as_any_duplicate_of_the_descriptor_and_names_its_holder() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let target = made(&path, 8 * MIB);
    // What a ring does with a registered file.
    let in_flight = target.file.try_clone().unwrap();
    drop(target);
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let error = refused(&path, || target::open(&at(&path), access, SHORTLY, None));
        assert!(error.to_string().contains(&format!("process {} ", std::process::id())), "{error}");
        assert_eq!(error.exit_code(), 75);
    }
    drop(in_flight);
    drop(open(&path).unwrap());
}

#[test]
fn a_blank_disk_needs_confirmation_and_then_carries_its_label() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(directory.path(), "a", 16 * MIB + 512, &[]);
    let disk = needs!(Loop::over(&image, &[]));
    let error = refused(&image, || init(&disk.device, false));
    let TargetError::NeedsConfirmation { found, type_again, .. } = &error else { panic!("{error}") };
    assert_eq!(Path::new(type_again), disk.device);
    assert!(found.contains("loop device") && found.contains("no scrubd label"), "{found}");
    let wrong = InitPlan { confirm: Some("/dev/other".into()), ..plan(None, None) };
    let error = refused(&image, || target::init(&at(&disk.device), &wrong, SHORTLY));
    assert!(matches!(error, TargetError::ConfirmationMismatch { .. }), "{error}");

    let target = init(&disk.device, true).unwrap();
    assert_eq!((target.size, target.direct, target.shrunk), (16 * MIB + 512, true, None));
    assert!(!target.disks.is_empty() && target.native_atom >= 512, "{target:?}");
    drop(target);
    let again = open(&disk.device).unwrap();
    assert_eq!((again.run_id, again.geometry.digest), (RunId([7; 16]), Digest::Blake3));
    assert!(again.warnings.is_empty(), "{:?}", again.warnings);
    drop(again);
    let error = refused(&image, || init(&disk.device, false));
    assert!(error.to_string().contains("scrubd run 07070707") && error.to_string().contains("2027-01-15T"), "{error}");
}

#[test]
fn a_label_that_was_copied_to_another_device_or_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let first = image(directory.path(), "a", 16 * MIB, &[]);
    let second = directory.path().join("b");
    {
        let disk = needs!(Loop::over(&first, &[]));
        drop(init(&disk.device, true).unwrap());
    }
    fs::copy(&first, &second).unwrap();
    OpenOptions::new().write(true).open(&second).unwrap().set_len(24 * MIB).unwrap();
    let other = needs!(Loop::over(&second, &[]));
    let error = refused(&second, || open(&other.device));
    assert!(matches!(&error, TargetError::IdentityMismatch { difference, .. } if difference.contains("another size")));
    let text = error.to_string();
    assert!(text.contains("16777216 bytes") && text.contains("25165824 bytes"), "{text}");
    assert_eq!(error.exit_code(), 77);
    let error = refused(&first, || open(&first));
    assert!(matches!(error, TargetError::IdentityMismatch { difference: "another kind of target", .. }), "{error}");
}

#[test]
fn a_file_under_a_loop_device_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    drop(made(&path, 8 * MIB));
    let disk = needs!(Loop::over(&path, &[]));
    let error = refused(&path, || open(&path));
    let name = disk.device.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(matches!(&error, TargetError::InUse { users, .. } if users[0].contains(&name)), "{error}");
}

#[test]
fn a_swap_file_is_refused_in_use_or_not() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = directory.path().join("swap");
    fs::write(&path, vec![0; 2 << 20]).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    needs!(run("mkswap", &[path.to_str().unwrap()]));
    assert_signature(&refused(&path, || init(&path, true)), "swap");
    needs!(run("swapon", &[path.to_str().unwrap()]));
    let _off = Undo("swapoff", vec![path.display().to_string()]);
    // The kernel lets nobody read or write it now; the guard speaks before it comes to that.
    let error = init(&path, true).unwrap_err();
    assert!(matches!(&error, TargetError::InUse { users, .. } if users[0].contains("swap")), "{error}");
}

#[test]
fn a_read_only_disk_can_be_checked_and_not_run() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(directory.path(), "a", 16 * MIB, &[]);
    {
        let disk = needs!(Loop::over(&image, &[]));
        drop(init(&disk.device, true).unwrap());
    }
    let disk = needs!(Loop::over(&image, &["-r"]));
    let error = refused(&image, || open(&disk.device));
    assert!(matches!(&error, TargetError::Unsuitable { why, .. } if why.contains("read-only")), "{error}");
    drop(target::open(&at(&disk.device), Access::ReadOnly, SHORTLY, None).unwrap());
}

#[test]
fn who_moves_in_after_the_label_is_not_overwritten_and_the_disk_not_blamed() {
    // mdadm --create with metadata 1.2 leaves both copies of the label whole.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    drop(made(&path, 8 * MIB));
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&md_superblock(), 4096).unwrap();
    assert_signature(&refused(&path, || open(&path)), "linux_raid_member");
    assert_signature(&refused(&path, || init(&path, true)), "linux_raid_member");
}

#[test]
fn two_partitions_are_two_targets_and_keep_the_disk_to_themselves() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(directory.path(), "a", 32 * MIB, &[]);
    let disk = needs!(Loop::over(&image, &[]));
    let name = disk.device.to_str().unwrap();
    needs!(run("addpart", &[name, "1", "2048", "16384"]));
    let _first = Undo("delpart", vec![name.into(), "1".into()]);
    needs!(run("addpart", &[name, "2", "18432", "16384"]));
    let _second = Undo("delpart", vec![name.into(), "2".into()]);
    let parts = [1, 2].map(|number| PathBuf::from(format!("{name}p{number}")));
    if !parts.iter().all(|part| part.exists()) {
        needs!(Err("no device nodes for partitions".to_owned()));
    }
    // Partitions that the kernel knows are somebody's, table or not.
    assert_signature(&refused(&image, || init(&disk.device, true)), "p1");

    let targets = parts.each_ref().map(|part| init(part, true).unwrap());
    assert!(targets.iter().all(|target| target.whole_disk.is_some()));
    assert_eq!(targets[1].identity.partition_start, Some(18432 * 512));
    let error = open(&disk.device).unwrap_err();
    assert_eq!(error.exit_code(), 75, "{error}");
    assert!(File::open(&disk.device).unwrap().try_lock().is_err(), "udev and sfdisk ask for this lock");
    drop(targets);

    // The same label under another start is another partition.
    let label = fs::read(&parts[0]).unwrap();
    let second = OpenOptions::new().write(true).open(&parts[1]).unwrap();
    second.write_all_at(&label[..MIB as usize], 0).unwrap();
    second.sync_all().unwrap();
    drop(second);
    let error = refused(&image, || open(&parts[1]));
    assert!(matches!(error, TargetError::IdentityMismatch { .. }), "{error}");
}

#[test]
fn a_file_is_made_sparse_and_labelled_and_an_existing_one_is_not_extended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let target = made(&path, 64 * MIB);
    assert_eq!((target.size, target.geometry.blocks()), (64 * MIB, 1008));
    let meta = fs::metadata(&path).unwrap();
    assert!(meta.blocks() * 512 < MIB, "not sparse: {}", meta.blocks());
    drop(target);

    let link = directory.path().join("link");
    symlink(&path, &link).unwrap();
    assert_eq!(open(&link).unwrap().run_id, RunId([7; 16]));

    let error = refused(&path, || target::init(&at(&path), &plan(Some(65 * MIB), Some(&path)), SHORTLY));
    assert!(matches!(&error, TargetError::Region { why, .. } if why.contains("never extended")), "{error}");
    assert_eq!(error.exit_code(), 78);
    assert!(matches!(refused(&path, || init(&path, false)), TargetError::NeedsConfirmation { .. }));
    let again = target::init(&at(&path), &InitPlan { run_id: RunId([8; 16]), ..plan(None, Some(&path)) }, SHORTLY);
    let LabelState::Present(reading) = again.unwrap().label else { panic!("just labelled") };
    assert_eq!((reading.label.generation, reading.label.run_id), (2, RunId([8; 16])));
}

#[test]
fn an_unlabelled_file_is_refused_and_a_missing_one_is_not_made_by_open() {
    let directory = tempfile::tempdir().unwrap();
    let path = image(directory.path(), "a", 4 * MIB, &[(0, b"somebody's letters")]);
    let error = refused(&path, || open(&path));
    assert!(matches!(error, TargetError::Unlabelled { fault: LabelFault::Absent(_), .. }), "{error}");
    assert_eq!(error.exit_code(), 77);
    let error = refused(&path, || target::open(&Spec { offset: 100, ..at(&path) }, Access::ReadOnly, SHORTLY, None));
    assert!(matches!(error, TargetError::Region { .. }), "{error}");
    let missing = directory.path().join("b");
    assert!(matches!(open(&missing), Err(TargetError::NotFound { .. })));
    assert!(!missing.exists());
}

#[test]
fn a_file_that_shrank_opens_and_says_so_and_a_lost_label_is_no_finding_without_proof() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let target = made(&path, 8 * MIB);
    let expected = Expected { run_id: target.run_id, identity: target.identity.clone(), geometry: target.geometry };
    drop(target);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(4 * MIB).unwrap();
    let opened = target::open(&at(&path), Access::ReadOnly, SHORTLY, Some(&expected)).unwrap();
    assert_eq!(opened.shrunk.map(|shrunk| (shrunk.expected_end, shrunk.size)), Some((8 * MIB, 4 * MIB)));
    drop(opened);

    let rot = |offset| file.write_all_at(&[0xEE; 64], offset).unwrap();
    rot(600);
    let opened = open(&path).unwrap();
    assert!(opened.warnings[0].contains("copy 1") && opened.warnings[0].contains("damaged"), "{:?}", opened.warnings);
    drop(opened);
    rot((512 << 10) + 600);
    let judge = || target::open(&at(&path), Access::ReadWrite, SHORTLY, Some(&expected));
    assert!(matches!(judge().unwrap().label, LabelState::Gone { fault: LabelFault::Damaged { .. }, .. }));
    file.write_all_at(&[0; 4096], 0).unwrap();
    file.write_all_at(&[0; 4096], 512 << 10).unwrap();
    assert!(matches!(refused(&path, judge), TargetError::Unlabelled { .. }));
}

#[test]
fn what_is_neither_file_nor_disk_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let dangling = directory.path().join("dangling");
    symlink(directory.path().join("nowhere"), &dangling).unwrap();
    let cases = [
        (directory.path(), "a directory"),
        (&fifo, "a fifo"),
        (Path::new("/dev/null"), "a character device"),
        (&dangling, "a symbolic link to"),
    ];
    for (path, word) in cases {
        for attempt in [open(path), target::init(&at(path), &plan(Some(8 * MIB), Some(path)), SHORTLY)] {
            let error = attempt.unwrap_err();
            assert!(matches!(&error, TargetError::Unsuitable { why, .. } if why.contains(word)), "{error}");
            assert_eq!(error.exit_code(), 77);
        }
    }
    assert!(!directory.path().join("nowhere").exists());
}

#[test]
fn a_mistyped_device_name_does_not_become_a_file() {
    let path = Path::new("/dev/scrubd-no-such-disk");
    let error = target::init(&at(path), &plan(Some(8 * MIB), None), SHORTLY).unwrap_err();
    assert!(matches!(error, TargetError::NotFound { .. }), "{error}");
    assert!(!path.exists());
    let nowhere = Path::new("/no/such/directory/a");
    assert_eq!(target::init(&at(nowhere), &plan(Some(8 * MIB), None), SHORTLY).unwrap_err().exit_code(), 78);
    let spec = Spec { serial: Some("no such serial".into()), ..Spec::default() };
    let error = target::open(&spec, Access::ReadOnly, SHORTLY, None).unwrap_err();
    assert!(matches!(error, TargetError::NoSuchSerial { .. }), "{error}");
}

#[test]
fn a_file_that_could_not_be_made_whole_is_removed() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = directory.path().join("a");
    let error = target::init(&at(&path), &plan(Some(1 << 62), None), SHORTLY).unwrap_err();
    assert!(matches!(error, TargetError::Io { what: "give it its size", .. }), "{error}");
    assert_eq!(error.exit_code(), 74);
    assert!(!path.exists());

    // Room for one copy of the label, and not for the second.
    let small = directory.path().join("small");
    fs::create_dir(&small).unwrap();
    needs!(run("mount", &["-t", "tmpfs", "-o", "size=4k", "none", small.to_str().unwrap()]));
    let _umount = Undo("umount", vec![small.display().to_string()]);
    let path = small.join("a");
    let error = target::init(&at(&path), &plan(Some(8 * MIB), None), SHORTLY).unwrap_err();
    assert!(matches!(&error, TargetError::Io { source, .. } if source.raw_os_error() == Some(libc::ENOSPC)), "{error}");
    assert!(!path.exists());
}

#[test]
fn buffered_file_systems_are_told() {
    let directory = needs!(tempfile::tempdir_in("/dev/shm").map_err(|error| format!("no /dev/shm: {error}")));
    let path = directory.path().join("a");
    let target = made(&path, 8 * MIB);
    let told = target.warnings.iter().any(|warning| warning.contains("direct I/O"));
    assert!(!target.direct && told, "{:?}", target.warnings);
}
