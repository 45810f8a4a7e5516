//! From a held target to an open one: is it the one that was labelled?

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::copies;
use super::error::TargetError;
use super::hold::{self, Held};
use super::identity::{Kind, Sameness};
use super::label::LabelFault;
use super::presence::Presence;
use super::signature;
use super::sysfs::{self, DevNum, Kernel};
use super::uevent::Lineage;
use super::{Access, Expected, LabelState, OpenTarget, Shrunk, Spec};
use crate::tag::{Tag, checksum_holds};
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
    let mut held = hold::hold(&kernel, spec, access, lock_wait)?;
    let label = judge(&held, spec.offset, expected)?;
    refuse_others_data(&mut held, &label)?;
    assemble(&kernel, held, label)
}

/// A label does not prove that nobody else has moved in since. mdadm (metadata 1.2, at 4 KiB) and ZFS (from 16 KiB)
/// leave both copies of it whole, ext4 often the second: `run` would destroy their data, and `check` would blame the
/// disk for it. `init` takes nothing with a signature, and the chance that our own random blocks look like one is
/// below 2^-24 a start (the weakest: 16 bits of magic and an 8-bit sum). A tool that is missing or fails on a failing
/// disk is told and survived here: the label is there.
fn refuse_others_data(held: &mut Held, label: &LabelState) -> Result<(), TargetError> {
    match signature::probe(&held.path) {
        Ok(signatures) if signatures.is_empty() => Ok(()),
        Ok(signatures) => {
            let run = label.run_id();
            let mut found = vec![format!(
                "  {}, labelled for scrubd run {run}, and since then written to by others",
                held.identity
            )];
            found.extend(signatures.iter().map(|signature| format!("  signature: {signature}")));
            Err(TargetError::HasSignatures { path: held.path.clone(), found: found.join("\n") })
        }
        Err(why) => {
            held.warnings.push(format!("could not look for other data on it: {why}"));
            Ok(())
        }
    }
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
    let unit = match held.directory.as_deref() {
        Some(directory) if present.kind != Kind::File => sysfs::logical_block(directory),
        _ => 4096,
    };
    if !offset.is_multiple_of(unit) {
        return Err(TargetError::Region { path, why: format!("offset {offset} is not a multiple of {unit}") });
    }
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
        return Err(TargetError::Unlabelled { path, offset, fault, recorded: None });
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
            _ => match overwritten(&held.file, expected) {
                Some(fault) => Ok(LabelState::Gone { fault, expected: expected.clone() }),
                None => Err(TargetError::Unlabelled { path, offset, fault, recorded: Some(expected.run_id) }),
            },
        },
    }
}

/// A block of the run where its label should be: a device whose addresses wrap puts it there, and the cheap ones that do
/// have no serial either. A tag whose checksum holds is as good a witness as what is left of a label.
fn overwritten(file: &std::fs::File, expected: &Expected) -> Option<LabelFault> {
    let label = copies::read_raw(file, expected.geometry.offset).ok()?;
    let atom = &label[..expected.geometry.atom as usize];
    let tag = Tag::read(atom).filter(|tag| checksum_holds(atom) && tag.run == expected.run_id)?;
    let what = format!("block {} of this run is there, write {}", tag.block, tag.claim.issue.seq);
    Some(LabelFault::Damaged { what, run_claimed: tag.run })
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
        presence: stack.as_ref().map(Presence::of).unwrap_or_default(),
        lineage: stack.as_ref().map(|stack| Lineage::of(&kernel.sys, stack)).unwrap_or_default(),
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::super::label::tests::sample;
    use super::super::{Identity, Label};
    use super::*;

    const REGION: u64 = 1 << 20;

    /// A device of the given serial, played by a file; labelled as one of serial "A", or not.
    fn device(serial: &str, size: u64, labelled: bool) -> Held {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        if labelled {
            copies::write(&file, REGION, &labelled_as_a()).unwrap();
        }
        let identity = Identity { size, ..disk(serial) };
        let path = "/dev/played".into();
        Held { path, file, whole_disk: None, identity, direct: true, directory: None, warnings: Vec::new() }
    }

    fn disk(serial: &str) -> Identity {
        let serial = Some(serial.to_owned());
        Identity { kind: Kind::Disk, serial, wwn: None, model: None, size: 128 << 20, partition_start: None }
    }

    fn labelled_as_a() -> Label {
        Label { identity: disk("A"), ..sample() }
    }

    fn expected() -> Expected {
        let Label { run_id, identity, geometry, .. } = labelled_as_a();
        Expected { run_id, identity, geometry }
    }

    #[test]
    fn a_label_gone_from_the_same_serial_is_a_finding_and_the_state_knows_the_geometry() {
        let state = judge(&device("A", 128 << 20, false), REGION, Some(&expected())).unwrap();
        assert!(matches!(state, LabelState::Gone { fault: LabelFault::Absent(_), .. }));
        assert_eq!((state.run_id(), state.geometry()), (sample().run_id, sample().geometry));
    }

    #[test]
    fn another_serial_is_a_refusal_with_both_told_whether_labelled_or_not() {
        for labelled in [true, false] {
            let error = judge(&device("B", 128 << 20, labelled), REGION, Some(&expected())).unwrap_err();
            assert_eq!(error.exit_code(), 77);
            let text = error.to_string();
            assert!(text.contains("serial \"A\"") && text.contains("serial \"B\""), "{text}");
        }
    }

    #[test]
    fn without_state_an_unlabelled_device_is_refused() {
        let error = judge(&device("A", 128 << 20, false), REGION, None).unwrap_err();
        assert!(matches!(error, TargetError::Unlabelled { .. }));
        let elsewhere = Expected { geometry: Geometry { offset: 0, ..sample().geometry }, ..expected() };
        assert!(judge(&device("A", 128 << 20, false), REGION, Some(&elsewhere)).is_err());
    }

    #[test]
    fn where_the_state_knows_a_run_but_nothing_proves_the_device_no_init_is_advised() {
        let nameless = |identity: Identity| Identity { serial: None, ..identity };
        let mut held = device("A", 128 << 20, false);
        held.identity = nameless(held.identity);
        let expected = Expected { identity: nameless(expected().identity), ..expected() };
        let told = judge(&held, REGION, Some(&expected)).unwrap_err().to_string();
        assert!(told.contains(&expected.run_id.to_string()) && told.contains("look before scrubd init"), "{told}");
        let told = judge(&held, REGION, None).unwrap_err().to_string();
        assert!(told.contains("scrubd init labels a target") && !told.contains("look before"), "{told}");
    }

    #[test]
    fn a_device_that_shrank_opens_and_says_so() {
        let held = device("A", 32 << 20, true);
        let state = judge(&held, REGION, None).unwrap();
        let target = assemble(&Kernel::live(), held, state).unwrap();
        assert_eq!(target.shrunk, Some(Shrunk { expected_end: 65 << 20, size: 32 << 20 }));
    }

    #[test]
    fn a_device_that_grew_is_a_warning() {
        let held = device("A", 256 << 20, true);
        let state = judge(&held, REGION, None).unwrap();
        let target = assemble(&Kernel::live(), held, state).unwrap();
        assert!(target.shrunk.is_none() && target.warnings[0].contains("grew"), "{:?}", target.warnings);
    }

    #[test]
    fn a_label_of_a_newer_format_is_refused_with_its_own_words_whatever_the_state_knows() {
        let held = device("A", 128 << 20, true);
        let mut record = labelled_as_a().encode();
        record[8] = 2;
        let hash = blake3::hash(&record[..4064]);
        record[4064..].copy_from_slice(hash.as_bytes());
        held.file.write_all_at(&record, REGION).unwrap();
        let error = judge(&held, REGION, Some(&expected())).unwrap_err();
        assert!(matches!(error, TargetError::NewerLabel { .. }));
        assert!(error.to_string().contains("written by a newer scrubd, format 2"), "{error}");
    }

    #[test]
    fn a_label_of_another_place_is_refused() {
        let held = device("A", 128 << 20, true);
        let mut record = [0; super::super::label::RECORD];
        held.file.read_exact_at(&mut record, REGION).unwrap();
        held.file.write_all_at(&record, 0).unwrap();
        let error = judge(&held, 0, None).unwrap_err();
        assert!(matches!(error, TargetError::LabelElsewhere { found: 0, says: REGION, .. }), "{error}");
    }
}
