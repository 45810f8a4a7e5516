//! `scrubd init`: the one place that makes a target ours. A refusal has changed nothing.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs;

use super::copies::{self, LabelReading};
use super::error::TargetError;
use super::hold::{self, Held};
use super::identity::Kind;
use super::label::{Label, LabelFault};
use super::region::{self, Extent};
use super::signature;
use super::sysfs::{self, Kernel};
use super::{Access, InitPlan, LabelState, OpenTarget, Spec, open};

/// Labels a target: makes a file that does not exist, or takes what exists once it has been confirmed.
///
/// When it returns, the label is durable, and for a file its directory entry too; only then may state be saved that
/// speaks of this run. A cut in between leaves an unlabelled target, or a labelled one without state: both are told
/// as such at the next start.
///
/// # Errors
/// Every refusal of [`TargetError`]. After an I/O error an existing target may have one label copy or none; a file
/// that was being made has been removed again.
pub fn init(spec: &Spec, plan: &InitPlan, lock_wait: Duration) -> Result<OpenTarget, TargetError> {
    let kernel = Kernel::live();
    match (&spec.path, &spec.serial) {
        (Some(path), None) => match hold::look(path) {
            Err(TargetError::NotFound { .. }) => make_file(&kernel, spec, path, plan, lock_wait),
            _ => take_existing(&kernel, spec, plan, lock_wait),
        },
        _ => take_existing(&kernel, spec, plan, lock_wait),
    }
}

fn take_existing(kernel: &Kernel, spec: &Spec, plan: &InitPlan, wait: Duration) -> Result<OpenTarget, TargetError> {
    let held = hold::hold(kernel, spec, Access::ReadWrite, wait)?;
    let path = held.path.clone();
    let geometry = region::plan(&path, spec.offset, plan, extent(kernel, &held))?;
    let generation = confirm(&held, spec, plan)?;
    if held.identity.kind == Kind::File {
        held.file.sync_all().map_err(TargetError::io(&path, "make it durable"))?;
        sync_directory_of(&path)?;
    }
    label(kernel, held, geometry, generation, plan)
}

/// Shows everything that was found, and lets through only what was typed again. Returns the new label's generation.
fn confirm(held: &Held, spec: &Spec, plan: &InitPlan) -> Result<u64, TargetError> {
    let path = held.path.clone();
    let reading = copies::read(&held.file, spec.offset);
    if let Err(fault @ LabelFault::Newer { .. }) = reading {
        return Err(TargetError::NewerLabel { path, fault });
    }
    // Under a label of ours too: md 1.2 and ZFS leave both copies of it alone.
    let signatures = signature::probe(&path).map_err(|why| TargetError::Unprobed { path: path.clone(), why })?;
    let mut found = findings(held, &reading);
    let partitions = held.directory.as_deref().filter(|_| held.identity.kind != Kind::File);
    let partitions = partitions.map(sysfs::partitions_of).unwrap_or_default();
    found.extend(signatures.iter().map(|signature| format!("  signature: {signature}")));
    found.extend(partitions.iter().map(|partition| format!("  partition: {}", sysfs::name_of(partition))));
    let found = found.join("\n");
    if !signatures.is_empty() || !partitions.is_empty() {
        return Err(TargetError::HasSignatures { path, found });
    }
    let type_again = held.identity.serial.clone().unwrap_or_else(|| path.display().to_string());
    match &plan.confirm {
        None => Err(TargetError::NeedsConfirmation { path, found, type_again }),
        Some(given) if given.trim() != type_again => {
            Err(TargetError::ConfirmationMismatch { path, given: given.clone(), type_again })
        }
        Some(_) => Ok(reading.map_or(1, |reading| reading.label.generation.saturating_add(1))),
    }
}

fn findings(held: &Held, reading: &Result<LabelReading, LabelFault>) -> Vec<String> {
    let mut found = vec![format!("  {}", held.identity)];
    if let Some(backing) =
        held.directory.as_deref().and_then(|directory| sysfs::backing_file(&sysfs::disk_of(directory)))
    {
        found.push(format!("  stands on: {}", backing.display()));
    }
    found.push(match reading {
        Ok(LabelReading { label: Label { run_id, geometry, created_unix_ns, .. }, .. }) => {
            let created = std::time::UNIX_EPOCH + Duration::from_nanos(*created_unix_ns);
            let created = humantime::format_rfc3339_seconds(created);
            let (offset, length) = (geometry.offset, geometry.length);
            format!("  label: scrubd run {run_id}, created {created}, {length} bytes from byte {offset}")
        }
        Err(fault) => format!("  label: {fault}"),
    });
    found
}

/// Makes the file, sparse, and makes its name durable before it is labelled: a label that is promised to exist must
/// not vanish with its directory entry.
fn make_file(
    kernel: &Kernel,
    spec: &Spec,
    path: &Path,
    plan: &InitPlan,
    wait: Duration,
) -> Result<OpenTarget, TargetError> {
    let parent = directory_of(path);
    let meta = hold::look(&parent)?;
    let absolute = fs::canonicalize(&parent).map_err(TargetError::io(&parent, "look at the directory"))?;
    if absolute.starts_with("/dev") && !absolute.starts_with("/dev/shm") {
        // A mistyped device name must not become a file in memory that is then tested for weeks.
        return Err(TargetError::NotFound { path: path.to_owned() });
    }
    let beneath = kernel.beneath(&meta);
    let extent = Extent { kind: Kind::File, size: None, ..facts(kernel, beneath.as_deref()) };
    let geometry = region::plan(path, spec.offset, plan, extent)?;
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
    let file = file.map_err(TargetError::io(path, "create it"))?;
    let made = (|| {
        let end = geometry.offset + geometry.length;
        file.set_len(end).map_err(TargetError::io(path, "give it its size"))?;
        file.sync_all().map_err(TargetError::io(path, "make it durable"))?;
        sync_directory_of(path)?;
        let mut held = hold::hold(kernel, spec, Access::ReadWrite, wait)?;
        if !same_file(&file, &held.file) {
            let why = "another file took its name while it was being made: try again".into();
            return Err(TargetError::Unsuitable { path: path.to_owned(), why });
        }
        held.warnings.extend(room_warning(&file, end));
        label(kernel, held, geometry, 1, plan)
    })();
    if made.is_err() {
        remove_if_still(&file, path);
    }
    made
}

fn label(
    kernel: &Kernel,
    held: Held,
    geometry: crate::vocabulary::Geometry,
    generation: u64,
    plan: &InitPlan,
) -> Result<OpenTarget, TargetError> {
    let (run_id, created_unix_ns) = (plan.run_id, plan.now_unix_ns);
    let label = Label { run_id, geometry, identity: held.identity.clone(), generation, created_unix_ns };
    copies::write(&held.file, geometry.offset, &label).map_err(TargetError::io(&held.path, "write the label"))?;
    open::assemble(kernel, held, LabelState::Present(LabelReading { label, repairs: Vec::new() }))
}

fn extent(kernel: &Kernel, held: &Held) -> Extent {
    let (kind, size) = (held.identity.kind, Some(held.identity.size));
    Extent { kind, size, ..facts(kernel, held.directory.as_deref()) }
}

fn facts(kernel: &Kernel, directory: Option<&Path>) -> Extent {
    let atom = sysfs::atom(directory.map(|directory| kernel.stack(directory)).as_ref());
    Extent { kind: Kind::File, size: None, physical_block: directory.map_or(512, sysfs::physical_block), atom }
}

/// A sparse file is a promise of the file system's that it may not be able to keep.
fn room_warning(file: &File, needed: u64) -> Option<String> {
    let stat = statvfs::fstatvfs(file).ok()?;
    let free = stat.blocks_available().saturating_mul(stat.fragment_size());
    (free < needed)
        .then(|| format!("its file system has {free} bytes free, a full pass takes {needed}: it will run full"))
}

fn directory_of(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

fn sync_directory_of(path: &Path) -> Result<(), TargetError> {
    let directory = directory_of(path);
    let synced = File::open(&directory).and_then(|directory| directory.sync_all());
    synced.map_err(TargetError::io(&directory, "make the directory durable"))
}

fn same_file(one: &File, other: &File) -> bool {
    let place = |file: &File| file.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
    place(one).is_some() && place(one) == place(other)
}

/// Only what we made, and only under the name we made it.
fn remove_if_still(file: &File, path: &Path) {
    let ours = File::open(path).is_ok_and(|there| same_file(file, &there));
    let removed: io::Result<()> = if ours { fs::remove_file(path) } else { Ok(()) };
    if let Err(error) = removed {
        tracing::warn!("{}: the half-made file could not be removed: {error}", path.display());
    }
}
