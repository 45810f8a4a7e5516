//! `scrubd release`: a target goes back to whoever wants it. The other place, beside `init`, that writes to a label.

use super::copies;
use super::error::TargetError;
use super::{LabelState, OpenTarget};

/// Whether the label of this target may go: it must be there, and its owner must have typed again what it is on.
///
/// # Errors
/// No label, no confirmation, or another one.
pub fn may_release(target: &OpenTarget, confirm: Option<&str>) -> Result<(), TargetError> {
    let path = target.path.clone();
    let label = match &target.label {
        LabelState::Present(reading) => &reading.label,
        // What is left of it is evidence, and there is nothing to take away.
        LabelState::Gone { fault, expected } => {
            let (offset, fault) = (expected.geometry.offset, fault.clone());
            return Err(TargetError::Unlabelled { path, offset, fault, recorded: Some(expected.run_id) });
        }
    };
    let type_again = target.identity.serial.clone().unwrap_or_else(|| path.display().to_string());
    match confirm {
        None => {
            let run = label.run_id;
            Err(TargetError::ReleaseNeedsConfirmation { path, found: target.identity.to_string(), run, type_again })
        }
        Some(given) if given.trim() != type_again => {
            Err(TargetError::ConfirmationMismatch { path, given: given.to_owned(), type_again })
        }
        Some(_) => Ok(()),
    }
}

/// Overwrites both copies of the label with zeros, durably, and sees that they are gone. The blocks stay: they are no
/// signature of anything, and whoever gets the target overwrites them.
///
/// A cut between the two leaves one copy, and with it a target that is still ours; releasing it again is all it takes.
///
/// # Errors
/// The errno of the write, the flush or the read; the target may still be labelled.
pub fn release(target: &OpenTarget) -> Result<(), TargetError> {
    copies::erase(&target.file, target.geometry.offset).map_err(TargetError::io(&target.path, "erase its label"))
}
