//! From a held target to an open one: is it the one that was labelled?

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::copies;
use super::error::TargetError;
use super::hold::{self, Held};
use super::identity::{Kind, Sameness};
use super::label::LabelFault;
use super::sysfs::{self, DevNum, Kernel};
use super::{Access, Expected, LabelState, OpenTarget, Shrunk, Spec};
use crate::vocabulary::{Geometry, LABEL_AREA};

/// Opens a labelled target for `run` and `check`: alone, guarded, locked, and proven to be the one that was labelled.
///
/// `expected` is what the state directory knows about this target. It turns the loss of the label into
/// [`LabelState::Gone`], where device or label remains show that it is the same one.
///
/// # Errors
/// Every refusal of [`TargetError`]; nothing has been written.
pub fn open(
    spec: &Spec,
    access: Access,
    lock_wait: Duration,
    expected: Option<&Expected>,
) -> Result<OpenTarget, TargetError> {
    let kernel = Kernel::live();
    let held = hold::hold(&kernel, spec, access, lock_wait)?;
    let label = judge(&held, spec.offset, expected)?;
    assemble(&kernel, held, label)
}

fn judge(held: &Held, offset: u64, expected: Option<&Expected>) -> Result<LabelState, TargetError> {
    let path = held.path.clone();
    let present = &held.identity;
    let mismatch = |difference, recorded: &super::Identity| TargetError::IdentityMismatch {
        path: held.path.clone(),
        difference,
        recorded: Box::new(recorded.clone()),
        present: Box::new(present.clone()),
    };
    let fault = match copies::read(&held.file, offset) {
        Ok(reading) => {
            let says = reading.label.geometry.offset;
            if says != offset {
                return Err(TargetError::LabelElsewhere { path, found: offset, says });
            }
            return match reading.label.identity.compare(present) {
                Sameness::Different(difference) => Err(mismatch(difference, &reading.label.identity)),
                Sameness::Proven | Sameness::Consistent => Ok(LabelState::Present(reading)),
            };
        }
        Err(fault @ LabelFault::Newer { .. }) => return Err(TargetError::NewerLabel { path, fault }),
        Err(fault) => fault,
    };
    let Some(expected) = expected.filter(|expected| expected.geometry.offset == offset) else {
        return Err(TargetError::Unlabelled { path, offset, fault });
    };
    // A loss of the label may be blamed on the disk only if this surely is the disk: by its serial, or because what
    // is left of the label still names the run.
    match expected.identity.compare(present) {
        Sameness::Different(difference) => Err(mismatch(difference, &expected.identity)),
        Sameness::Proven => Ok(LabelState::Gone { fault, expected: expected.clone() }),
        Sameness::Consistent => match &fault {
            LabelFault::Damaged { run_claimed, .. } if *run_claimed == expected.run_id => {
                Ok(LabelState::Gone { fault, expected: expected.clone() })
            }
            _ => Err(TargetError::Unlabelled { path, offset, fault }),
        },
    }
}

/// The public face of a held target, with what there is to report about it.
pub(crate) fn assemble(kernel: &Kernel, held: Held, label: LabelState) -> Result<OpenTarget, TargetError> {
    let Held { path, file, whole_disk, identity, direct, directory, mut warnings } = held;
    let geometry = label.geometry();
    let Geometry { offset, length, block_size, .. } = geometry;
    let logical_block = directory.as_deref().map_or(512, sysfs::logical_block);
    let physical_block = directory.as_deref().map_or(512, sysfs::physical_block);
    let aligned = |unit: u64| [offset, LABEL_AREA, u64::from(block_size)].iter().all(|n| n.is_multiple_of(unit));
    if identity.kind != Kind::File && !aligned(logical_block) {
        let why = format!(
            "its logical block is {logical_block} now, and the region (offset {offset}, block_size {block_size}) is not \
             aligned to it: it was labelled behind another controller; use that one, or label it anew"
        );
        return Err(TargetError::Region { path, why });
    }
    if !aligned(physical_block) {
        warnings
            .push(format!("the region is not aligned to the physical block, {physical_block}: writes will be slow"));
    }
    let size = identity.size;
    // The label alone says where a region ends; validate() has shown that the sum does not overflow.
    let end = offset + length;
    let shrunk = (size < end).then_some(Shrunk { expected_end: end, size });
    if let LabelState::Present(reading) = &label {
        warnings.extend(reading.repairs.iter().cloned());
        if identity.kind != Kind::File && size > reading.label.identity.size {
            warnings
                .push(format!("it grew from {} to {size} bytes since it was labelled", reading.label.identity.size));
        }
    }
    let stack = directory.as_deref().map(|directory| kernel.stack(directory));
    Ok(OpenTarget {
        run_id: label.run_id(),
        geometry,
        write_cache: directory.as_deref().and_then(sysfs::write_cache),
        native_atom: sysfs::atom(stack.as_ref()),
        disks: stack.map(|stack| numbers(&stack)).unwrap_or_default(),
        path,
        file,
        whole_disk,
        label,
        identity,
        size,
        direct,
        shrunk,
        logical_block,
        physical_block,
        warnings,
    })
}

/// All block devices that a path stands on: for telling whether the state lives on the disk under test. Empty where
/// that is unknown (btrfs, overlay, network).
#[must_use]
pub fn disks_beneath(path: &Path) -> BTreeSet<DevNum> {
    let kernel = Kernel::live();
    let directory = std::fs::metadata(path).ok().and_then(|meta| kernel.beneath(&meta));
    directory.map(|directory| numbers(&kernel.stack(&directory))).unwrap_or_default()
}

fn numbers(stack: &sysfs::Stack) -> BTreeSet<DevNum> {
    stack.disks.iter().filter_map(|disk| sysfs::device_number(disk)).collect()
}
