//! From wishes to a geometry that fits the target; pure.

use std::path::Path;

use super::error::TargetError;
use super::{InitPlan, Kind};
use crate::vocabulary::{Geometry, LABEL_AREA};

/// What a geometry must fit into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) kind: Kind,
    /// In bytes; `None` for a file that is yet to be made.
    pub(crate) size: Option<u64>,
    pub(crate) physical_block: u64,
    /// What the atom is unless the plan says otherwise.
    pub(crate) atom: u32,
}

impl Extent {
    /// A file is aligned to pages too: the unit in which most file systems do direct I/O.
    fn alignment(&self) -> u64 {
        if self.kind == Kind::File { self.physical_block.max(4096) } else { self.physical_block }
    }
}

/// The geometry of a region that `init` is about to label.
///
/// # Errors
/// [`TargetError::Region`], with the value that would fit where there is one.
pub(crate) fn plan(path: &Path, offset: u64, plan: &InitPlan, extent: Extent) -> Result<Geometry, TargetError> {
    let wrong = |why: String| TargetError::Region { path: path.to_owned(), why };
    let align = extent.alignment();
    if !offset.is_multiple_of(align) {
        let (below, above) = (offset - offset % align, (offset - offset % align).saturating_add(align));
        return Err(wrong(format!(
            "offset {offset} is not a multiple of {align} (physical block): {below} or {above} is"
        )));
    }
    let room = extent.size.map(|size| size.saturating_sub(offset));
    let length = match (plan.length, room) {
        (Some(length), _) => length,
        (None, Some(room)) => room - room % align,
        (None, None) => return Err(wrong("it does not exist, and no size is given to make it with".into())),
    };
    if !length.is_multiple_of(align) {
        let below = length - length % align;
        return Err(wrong(format!("length {length} is not a multiple of {align} (physical block): {below} is")));
    }
    if let (Some(size), true) = (extent.size, room.is_some_and(|room| length > room)) {
        let kept = if extent.kind == Kind::File { "; an existing file is never extended" } else { "" };
        return Err(wrong(format!("offset {offset} + length {length} is beyond its end at {size}{kept}")));
    }
    let block = u64::from(plan.block_size);
    if !block.is_multiple_of(extent.physical_block) || !LABEL_AREA.is_multiple_of(extent.physical_block) {
        let physical = extent.physical_block;
        return Err(wrong(format!("block_size {block} is not a multiple of the physical block, {physical}")));
    }
    let atom = plan.atom.unwrap_or(extent.atom);
    let (block_size, order, digest) = (plan.block_size, plan.order, plan.digest);
    let geometry = Geometry { offset, length, block_size, atom, order, digest };
    geometry.validate().map_err(wrong)?;
    Ok(geometry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::{Digest, Order, RunId};

    fn wish(length: Option<u64>) -> InitPlan {
        InitPlan {
            length,
            block_size: 65536,
            atom: None,
            order: Order::Random,
            digest: Digest::Crc32c,
            run_id: RunId([1; 16]),
            now_unix_ns: 0,
            confirm: None,
        }
    }

    const DISK: Extent = Extent { kind: Kind::Disk, size: Some((64 << 20) + 512), physical_block: 4096, atom: 512 };

    fn planned(offset: u64, length: Option<u64>, extent: Extent) -> Result<Geometry, String> {
        plan(Path::new("/dev/x"), offset, &wish(length), extent).map_err(|error| error.to_string())
    }

    #[test]
    fn a_region_goes_to_the_end_rounded_down_to_the_physical_block() {
        assert_eq!(planned(0, None, DISK).unwrap().length, 64 << 20);
        assert_eq!(planned(8 << 20, None, DISK).unwrap().length, 56 << 20);
        assert_eq!(planned(0, None, DISK).unwrap().atom, 512);
    }

    #[test]
    fn what_does_not_fit_is_told_with_what_would() {
        assert!(planned(512, None, DISK).unwrap_err().contains("0 or 4096 is"));
        assert!(planned(0, Some((2 << 20) + 512), DISK).unwrap_err().contains("2097152 is"));
        assert!(planned(0, Some(65 << 20), DISK).unwrap_err().contains("beyond its end"));
        assert!(planned(1 << 40, None, DISK).unwrap_err().contains("room for no block"));
        assert!(planned(0, None, Extent { physical_block: 131_072, ..DISK }).unwrap_err().contains("131072"));
        assert!(planned(u64::MAX - 4095, Some(4096), Extent { size: None, ..DISK }).is_err());
    }

    #[test]
    fn a_new_file_needs_a_size_and_pages() {
        let new = Extent { kind: Kind::File, size: None, physical_block: 512, atom: 512 };
        assert!(planned(0, None, new).unwrap_err().contains("no size is given"));
        assert!(planned(512, Some(4 << 20), new).is_err());
        assert_eq!(planned(4096, Some(4 << 20), new).unwrap().offset, 4096);
    }
}
