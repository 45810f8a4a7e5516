//! The state directory of one target: names, creation, exclusive use, and what must not share a disk with it.
//!
//! `<state-dir>/<target>/` holds `ledger.0`, `ledger.1`, `events.jsonl` (and `events.1.jsonl` …), `findings/`,
//! `QUARANTINE`, `verdict.json`, `patrol` or `patrol.ended`, `control.sock`, `lock`, and `previous/<run id>/` with the state of earlier runs.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use nix::{
    libc,
    sys::stat::{major, minor},
};

use super::slots::SlotIndex;
use crate::vocabulary::RunId;

/// Names within the state directory of a target.
pub mod names {
    /// The event log's newest file.
    pub const EVENTS: &str = "events.jsonl";
    /// Directory of the evidence.
    pub const FINDINGS: &str = "findings";
    /// The latch: while it exists, the target is quarantined.
    pub const QUARANTINE: &str = "QUARANTINE";
    /// The last verdict.
    pub const VERDICT: &str = "verdict.json";
    /// The daemon's control socket.
    pub const CONTROL_SOCKET: &str = "control.sock";
    /// Locked by whoever owns the directory.
    pub const LOCK: &str = "lock";
    /// Where a patrol stands whose pass is unfinished.
    pub const POSITION: &str = "patrol";
    /// Where it stands between two passes.
    pub const POSITION_ENDED: &str = "patrol.ended";
    /// Directory of the states of earlier runs.
    pub const PREVIOUS: &str = "previous";
}

/// Why a state directory cannot be used; the errno is in `source`.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// The target's name cannot be a directory's.
    #[error("target \"{0}\" cannot name its state directory: use a name without \"/\", and neither \".\" nor \"..\"")]
    Name(String),
    /// It cannot be created or written to.
    #[error("cannot use the state directory {path}; {}", remedy(source))]
    Unusable {
        /// What was being created or opened.
        path: PathBuf,
        /// With errno.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the state directory {path} is in use by another scrubd: give each target its own name or --state-dir")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Nothing is lost: what was not moved is where it was, and the next try goes on from there.
    #[error("cannot move the state of another run from {from} to {to}; {}", remedy(source))]
    MoveAside {
        /// Where it is.
        from: PathBuf,
        /// Where it should go.
        to: PathBuf,
        /// With errno.
        source: io::Error,
    },
}

/// Where things are. Knows names only: `check` uses it on directories that it may not even write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The layout of a target below the state directory.
    ///
    /// # Errors
    /// When the target's name cannot be that of a directory.
    pub fn new(state_dir: &Path, target: &str) -> Result<Layout, StateDirError> {
        if target.is_empty() || target == "." || target == ".." || target.contains(['/', '\0']) {
            return Err(StateDirError::Name(target.to_owned()));
        }
        Ok(Layout { dir: state_dir.join(target) })
    }

    /// The target's own directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A slot of the ledger.
    #[must_use]
    pub fn ledger(&self, slot: SlotIndex) -> PathBuf {
        self.dir.join(slot.file_name())
    }

    /// The event log's newest file.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.dir.join(names::EVENTS)
    }

    /// The directory of the evidence.
    #[must_use]
    pub fn findings(&self) -> PathBuf {
        self.dir.join(names::FINDINGS)
    }

    /// The quarantine latch.
    #[must_use]
    pub fn quarantine(&self) -> PathBuf {
        self.dir.join(names::QUARANTINE)
    }

    /// The last verdict.
    #[must_use]
    pub fn verdict(&self) -> PathBuf {
        self.dir.join(names::VERDICT)
    }

    /// Where the patrol stands: in the midst of a pass, or between two.
    #[must_use]
    pub fn position(&self, ended: bool) -> PathBuf {
        self.dir.join(if ended { names::POSITION_ENDED } else { names::POSITION })
    }

    /// The daemon's control socket.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.dir.join(names::CONTROL_SOCKET)
    }
}

/// A state directory that exists, durably, and belongs to this process until it is dropped.
#[derive(Debug)]
pub struct StateDir {
    layout: Layout,
    _lock: File,
}

impl StateDir {
    /// Creates the directory where it is missing (0700, parents made durable) and takes it for this process.
    ///
    /// # Errors
    /// When it cannot be created or written to, or another process has it.
    pub fn claim(layout: Layout) -> Result<StateDir, StateDirError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            |source| StateDirError::Unusable { path, source }
        };
        create_durably(layout.dir()).map_err(unusable(layout.dir()))?;
        let path = layout.dir.join(names::LOCK);
        // A file and not the directory itself: NFS grants an exclusive lock only on what is open for writing.
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(unusable(&path))?;
        match lock.try_lock() {
            Ok(()) => Ok(StateDir { layout, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateDirError::InUse { path: layout.dir }),
            Err(TryLockError::Error(source)) => Err(StateDirError::Unusable { path, source }),
        }
    }

    /// Where things are.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Moves the state of another run to `previous/<run id>` (or `<run id>.1`, …) and says where it went.
    ///
    /// # Errors
    /// Nothing is lost or overwritten; what was not moved is where it was.
    pub fn move_aside(&self, run: RunId) -> Result<PathBuf, StateDirError> {
        let from = self.layout.dir();
        let previous = from.join(names::PREVIOUS);
        let failed = |to: &Path, source| StateDirError::MoveAside { from: from.to_owned(), to: to.to_owned(), source };
        let mut moving = self.entries().map_err(|source| failed(&previous, source))?;
        // The slots go last: they say whose state this is. Cut short, the next start finds them still here, comes
        // again, and ends in the same directory, as that one lacks what is still to be moved.
        moving.sort_by_key(|name| SlotIndex::BOTH.iter().any(|slot| *name == *slot.file_name()));
        let free = |to: &PathBuf| moving.iter().all(|name| fs::symlink_metadata(to.join(name)).is_err());
        let to = (0u32..)
            .map(|n| previous.join(if n == 0 { run.to_string() } else { format!("{run}.{n}") }))
            .find(free)
            .expect("fewer than 2^32 directories");
        let move_all = || {
            create_durably(&to)?;
            for name in &moving {
                fs::rename(from.join(name), to.join(name))?;
                // Durable at its new place before anything new takes its name at the old one, and in this order.
                sync_dir(&to)?;
                sync_dir(from)?;
            }
            Ok(())
        };
        move_all().map(|()| to.clone()).map_err(|source| failed(&to, source))
    }

    fn entries(&self) -> io::Result<Vec<std::ffi::OsString>> {
        let stays = [names::LOCK, names::PREVIOUS, names::CONTROL_SOCKET];
        let names = fs::read_dir(self.layout.dir())?.map(|entry| entry.map(|entry| entry.file_name()));
        names.filter(|name| !name.as_ref().is_ok_and(|name| stays.iter().any(|stay| name == stay))).collect()
    }
}

/// What the user can do about an errno of the state directory's file system.
#[must_use]
pub fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => {
            "there is no space left: free some, or name another place with --state-dir"
        }
        Some(libc::EROFS) => "its file system is read-only: remount it, or name another place with --state-dir",
        Some(libc::EACCES | libc::EPERM) => {
            "this user may not: change its owner or mode, or name another with --state-dir"
        }
        Some(libc::EIO) => "its own disk fails: see the kernel log, and name a place on another disk with --state-dir",
        _ => "see the cause, or name another place with --state-dir",
    }
}

/// Makes the entries of a directory durable.
///
/// # Errors
/// When it cannot be opened or flushed.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Replaces a file's contents: after any cut the old ones or the new ones are there, whole.
///
/// # Errors
/// The old contents are there, or the new ones where only the last step failed.
pub fn replace_durably(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(contents)?;
    // Contents before name: renamed first, a cut could leave the name over an empty file.
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_dir(parent(path))
}

/// Creates a directory (0700) and its missing parents, each made durable in its own parent.
///
/// # Errors
/// When one of them cannot be created or flushed.
pub fn create_durably(dir: &Path) -> io::Result<()> {
    let create = || DirBuilder::new().mode(0o700).create(dir);
    match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound && parent(dir) != dir => {
            create_durably(parent(dir))?;
            create()?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => return Ok(()),
        result => result?,
    }
    sync_dir(parent(dir))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// A device by its numbers.
type Device = (u64, u64);

/// Warns where the state shares its fate with the target, or does not outlive a power cut. The directory may be missing.
///
/// Partitions, stacked devices (dm, md), loop devices and the members of a btrfs are followed downwards; network, ZFS and
/// overlay file systems are not.
///
/// # Errors
/// When target or state directory cannot be looked at.
pub fn warning(target: &File, state_dir: &Path) -> io::Result<Option<String>> {
    let existing = state_dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let (state, under_test) = (fs::metadata(existing)?, target.metadata()?);
    let place = fs::canonicalize(existing)?;
    let shown = state_dir.display();
    if !under_test.file_type().is_block_device() && under_test.dev() == state.dev() {
        return Ok(Some(format!(
            "the state in {shown} is on the same file system as the file under test: a disk that loses or takes back \
             writes can do so with both; name a place on another disk with --state-dir"
        )));
    }
    let system = System::of_this_machine();
    let mut tested = BTreeSet::new();
    if under_test.file_type().is_block_device() {
        system.walk(numbers(under_test.rdev()), &mut tested);
    } else {
        let path = fs::read_link(format!("/proc/self/fd/{}", target.as_raw_fd()))?;
        system.walk_file(&path, under_test.dev(), &mut tested);
    }
    let mut beneath_state = BTreeSet::new();
    system.walk_file(&place, state.dev(), &mut beneath_state);
    if let Some(shared) = tested.intersection(&beneath_state).next() {
        return Ok(Some(format!(
            "the state in {shown} is on the disk under test ({}): a disk that loses or takes back writes can do so with \
             both; name a place on another disk with --state-dir",
            system.name(*shared)
        )));
    }
    Ok(match system.mount_of(&place) {
        Some((kind, _)) if kind == "tmpfs" || kind == "ramfs" => Some(format!(
            "the state in {shown} is in memory ({kind}): a power cut takes it; name a place on a disk with --state-dir"
        )),
        _ => None,
    })
}

/// The kernel's view of devices and mounts; a test brings its own.
struct System {
    sys: PathBuf,
    mountinfo: String,
}

impl System {
    fn of_this_machine() -> System {
        System { sys: "/sys".into(), mountinfo: fs::read_to_string("/proc/self/mountinfo").unwrap_or_default() }
    }

    fn node(&self, (major, minor): Device) -> Option<PathBuf> {
        fs::canonicalize(self.sys.join(format!("dev/block/{major}:{minor}"))).ok()
    }

    fn name(&self, device: Device) -> String {
        let name = self.node(device).and_then(|node| Some(node.file_name()?.to_string_lossy().into_owned()));
        name.unwrap_or_else(|| format!("{}:{}", device.0, device.1))
    }

    /// This device and all that it stands on. A device met before ends the walk, so a loop over itself does too.
    fn walk(&self, device: Device, found: &mut BTreeSet<Device>) {
        if !found.insert(device) {
            return;
        }
        let Some(node) = self.node(device) else { return };
        if node.join("partition").exists() {
            self.walk_node(&node.join(".."), found);
        }
        for slave in fs::read_dir(node.join("slaves")).into_iter().flatten().flatten() {
            self.walk_node(&slave.path(), found);
        }
        if let Ok(backing) = fs::read_to_string(node.join("loop/backing_file"))
            && let Ok(file) = fs::metadata(backing.trim_end())
        {
            self.walk_file(Path::new(backing.trim_end()), file.dev(), found);
        }
    }

    fn walk_node(&self, node: &Path, found: &mut BTreeSet<Device>) {
        let numbers = fs::read_to_string(node.join("dev")).unwrap_or_default();
        if let Some((Ok(major), Ok(minor))) = numbers.trim().split_once(':').map(|(a, b)| (a.parse(), b.parse())) {
            self.walk((major, minor), found);
        }
    }

    /// A file system without a device of its own (btrfs) names one in the mount table, and the others in sysfs.
    fn walk_file(&self, path: &Path, dev: u64, found: &mut BTreeSet<Device>) {
        if major(dev) != 0 {
            return self.walk(numbers(dev), found);
        }
        let Some((kind, source)) = self.mount_of(path) else { return };
        let Ok(source) = fs::metadata(source) else { return };
        if !source.file_type().is_block_device() {
            return;
        }
        let mut members = BTreeSet::new();
        self.walk(numbers(source.rdev()), &mut members);
        for volume in fs::read_dir(self.sys.join("fs").join(&kind)).into_iter().flatten().flatten() {
            let mut volume_members = BTreeSet::new();
            for device in fs::read_dir(volume.path().join("devices")).into_iter().flatten().flatten() {
                self.walk_node(&device.path(), &mut volume_members);
            }
            if volume_members.contains(&numbers(source.rdev())) {
                members.extend(volume_members);
            }
        }
        found.extend(members);
    }

    /// Kind and source of the file system that a path is on: the deepest mount point above it, the newest of equals.
    fn mount_of(&self, path: &Path) -> Option<(String, PathBuf)> {
        let mounts = self.mountinfo.lines().filter_map(|line| {
            let (mount, file_system) = line.split_once(" - ")?;
            let point = PathBuf::from(unescape(mount.split(' ').nth(4)?));
            let mut fields = file_system.split(' ');
            let (kind, source) = (fields.next()?.to_owned(), PathBuf::from(unescape(fields.next()?)));
            path.starts_with(&point).then(|| (point.components().count(), (kind, source)))
        });
        mounts.max_by_key(|(depth, _)| *depth).map(|(_, mount)| mount)
    }
}

fn numbers(dev: u64) -> Device {
    (major(dev), minor(dev))
}

/// The mount table writes blanks as octal escapes (proc(5)).
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn claimed(root: &Path) -> StateDir {
        StateDir::claim(Layout::new(root, "bay3").unwrap()).unwrap()
    }

    #[test]
    fn the_directory_is_created_for_its_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let state = claimed(&root.path().join("a/b"));
        assert_eq!(fs::metadata(state.layout().dir()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(Layout::new(root.path(), "a/b"), Err(StateDirError::Name(_))));
        assert!(matches!(Layout::new(root.path(), ".."), Err(StateDirError::Name(_))));
    }

    #[test]
    fn a_directory_in_use_is_refused_until_it_is_let_go() {
        let root = tempfile::tempdir().unwrap();
        let first = claimed(root.path());
        let second = StateDir::claim(first.layout().clone());
        assert!(matches!(second, Err(StateDirError::InUse { .. })));
        drop(first);
        claimed(root.path());
    }

    #[test]
    fn an_unusable_place_says_what_where_and_what_to_do() {
        let error = StateDir::claim(Layout::new(Path::new("/proc/scrubd"), "bay3").unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("cannot use the state directory /proc/scrubd/bay3; "), "{error}");
        assert!(error.to_string().ends_with("--state-dir"), "{error}");
        let read_only = remedy(&io::Error::from_raw_os_error(libc::EROFS));
        assert_eq!(read_only, "its file system is read-only: remount it, or name another place with --state-dir");
    }

    #[test]
    fn the_state_of_another_run_is_moved_aside_and_never_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let state = claimed(root.path());
        let run = RunId([0xAB; 16]);
        let fill = |text: &str| {
            fs::create_dir_all(state.layout().findings().join("1")).unwrap();
            for path in [state.layout().ledger(SlotIndex::Zero), state.layout().quarantine(), state.layout().events()] {
                fs::write(path, text).unwrap();
            }
        };
        for (text, place) in [("first", run.to_string()), ("second", format!("{run}.1"))] {
            fill(text);
            let moved_to = state.move_aside(run).unwrap();
            assert_eq!(moved_to, state.layout().dir().join("previous").join(place));
            assert_eq!(fs::read_to_string(moved_to.join("ledger.0")).unwrap(), text);
            assert!(moved_to.join("findings/1").is_dir());
            assert!(!state.layout().quarantine().exists());
        }
        let first = state.layout().dir().join("previous").join(run.to_string());
        assert_eq!(fs::read_to_string(first.join("QUARANTINE")).unwrap(), "first");
    }

    #[test]
    fn a_move_that_was_cut_short_goes_on_in_the_same_place() {
        let root = tempfile::tempdir().unwrap();
        let state = claimed(root.path());
        let run = RunId([1; 16]);
        let begun = state.layout().dir().join("previous").join(run.to_string());
        fs::create_dir_all(&begun).unwrap();
        fs::write(begun.join("events.jsonl"), "moved before the cut").unwrap();
        fs::write(state.layout().ledger(SlotIndex::One), "still here").unwrap();
        assert_eq!(state.move_aside(run).unwrap(), begun);
        assert_eq!(fs::read_to_string(begun.join("ledger.1")).unwrap(), "still here");
    }

    #[test]
    fn replacing_a_file_leaves_no_other_behind() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("verdict.json");
        replace_durably(&path, b"old and long").unwrap();
        replace_durably(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_under_test_beside_its_state_is_warned_of() {
        let root = tempfile::tempdir().unwrap();
        let file = tempfile::tempfile_in(root.path()).unwrap();
        let text = warning(&file, &root.path().join("not/there/yet")).unwrap().unwrap();
        assert!(text.contains("same file system as the file under test"), "{text}");
    }

    #[test]
    fn state_in_memory_is_warned_of() {
        let (Ok(memory), Ok(file)) = (fs::metadata("/dev/shm"), tempfile::tempfile()) else {
            return println!("SKIPPED: no /dev/shm here");
        };
        if memory.dev() == file.metadata().unwrap().dev() {
            return println!("SKIPPED: temporary files are in memory too");
        }
        let text = warning(&file, Path::new("/dev/shm")).unwrap().unwrap();
        assert!(text.contains("in memory (tmpfs)"), "{text}");
    }

    /// sda with sda1 and sda2; md0 on sda1 and sdb; loop0 on nothing that exists.
    fn machine(root: &Path) -> System {
        let device = |node: &str, numbers: &str| {
            let node = root.join("devices").join(node);
            fs::create_dir_all(node.join("slaves")).unwrap();
            fs::write(node.join("dev"), format!("{numbers}\n")).unwrap();
            fs::create_dir_all(root.join("dev/block")).unwrap();
            symlink(&node, root.join("dev/block").join(numbers)).unwrap();
            node
        };
        device("sda", "8:0");
        let part = device("sda/sda1", "8:1");
        fs::write(part.join("partition"), "1").unwrap();
        fs::write(device("sda/sda2", "8:2").join("partition"), "2").unwrap();
        let sdb = device("sdb", "8:16");
        let md0 = device("md0", "9:0");
        symlink(&part, md0.join("slaves/sda1")).unwrap();
        symlink(&sdb, md0.join("slaves/sdb")).unwrap();
        System { sys: root.to_owned(), mountinfo: String::new() }
    }

    #[test]
    fn partitions_and_stacked_devices_are_followed_down_to_the_disks() {
        let root = tempfile::tempdir().unwrap();
        let system = machine(root.path());
        let beneath = |device| {
            let mut found = BTreeSet::new();
            system.walk(device, &mut found);
            found.into_iter().map(|device| system.name(device)).collect::<Vec<_>>()
        };
        assert_eq!(beneath((9, 0)), ["sda", "sda1", "sdb", "md0"]);
        assert_eq!(beneath((8, 2)), ["sda", "sda2"]);
        assert_eq!(beneath((8, 16)), ["sdb"]);
    }

    #[test]
    fn a_loop_device_over_a_file_beside_the_state_is_warned_of() {
        let root = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        if major(fs::metadata(root.path()).unwrap().dev()) == 0 {
            return println!("SKIPPED: the sources are on a file system without a device of its own");
        }
        let backing = root.path().join("backing");
        File::create(&backing).unwrap().set_len(1 << 20).unwrap();
        let losetup = |arguments: &[&str], path: &Path| {
            let output = std::process::Command::new("losetup").args(arguments).arg(path).output().ok()?;
            output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
        };
        let Some(device) = losetup(&["--find", "--show"], &backing) else {
            return println!("SKIPPED: a loop device cannot be set up");
        };
        let text = File::open(&device).and_then(|target| warning(&target, &root.path().join("state")));
        losetup(&["--detach"], &device).unwrap();
        let text = text.unwrap().unwrap();
        assert!(text.contains("is on the disk under test ("), "{text}");
        println!("{text}");
    }

    #[test]
    fn the_deepest_and_newest_mount_decides() {
        let mountinfo = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                         30 27 0:40 / /var/with\\040blank rw shared:1 - btrfs /dev/sda1 rw\n\
                         31 27 0:41 / /var/with\\040blank rw - tmpfs tmpfs rw\n";
        let system = System { sys: PathBuf::new(), mountinfo: mountinfo.to_owned() };
        let mount = |path: &str| system.mount_of(Path::new(path)).map(|(kind, _)| kind);
        assert_eq!(mount("/var/with blank/scrubd").as_deref(), Some("tmpfs"));
        assert_eq!(mount("/var/withblank").as_deref(), Some("ext4"));
    }
}
