//! Reads that the block layer must not merge with their neighbours.
//!
//! Adjacent requests that wait together become one command to the disk, and where that fails at one bad sector the kernel
//! fails what it was made of, from the first of them to the last. Seven sound blocks would be called unreadable for the
//! eighth, at each re-read anew, as they are read again together. Requests of different priorities are never merged
//! (`blk_rq_merge_ok` and `attempt_merge` in block/blk-merge.c), so two neighbours are read at two priorities beside each
//! other within the class that the process has anyway. Wider reads keep the process's own: whoever reads widely takes an
//! error for a reason to read each block alone.

/// Bits of a priority below its class (`IOPRIO_CLASS_SHIFT`, include/uapi/linux/ioprio.h).
const CLASS_SHIFT: u16 = 13;
/// Levels of a class: 0 to 7.
const LEVELS: u16 = 8;
/// What those have who said nothing (`IOPRIO_BE_NORM`).
const NORMAL: u16 = 4;

const NONE: u16 = 0;
const REALTIME: u16 = 1;
const BEST_EFFORT: u16 = 2;

/// How reads of one block are told from those of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lone {
    /// Bytes of a block.
    unit: u64,
    /// The priorities of even and of odd blocks.
    levels: [u16; 2],
}

impl Lone {
    /// For a process with this I/O priority and buffers of this size. `None` where the class leaves nothing to choose.
    pub(super) fn new(unit: usize, own: u16) -> Option<Self> {
        let (class, level) = match (own >> CLASS_SHIFT, own % LEVELS) {
            (NONE, _) => (BEST_EFFORT, NORMAL),
            // To ask for a level of this class takes a privilege, at each request.
            (REALTIME, _) => return None,
            own => own,
        };
        let beside = |steps: u16| (class << CLASS_SHIFT) | ((level + steps) % LEVELS);
        (unit > 0).then(|| Lone { unit: unit as u64, levels: [beside(1), beside(2)] })
    }

    /// The priority of a read; 0 is the process's own.
    pub(super) fn priority(this: Option<Self>, offset: u64, length: usize) -> u16 {
        match this {
            // Where blocks begin is the same everywhere within their size, so that the quotient counts them.
            Some(Lone { unit, levels }) if unit == length as u64 => levels[usize::from((offset / unit) % 2 == 1)],
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: usize = 16384;

    /// A medium error of scsi_debug in block 65 made blocks 64 to 71 unreadable: see tests/vm.
    #[test]
    fn neighbours_are_read_at_different_priorities_wherever_the_region_begins() {
        let lone = Lone::new(UNIT, 0);
        for start in [0, 512, 1 << 20, (1 << 20) + 4096] {
            for block in 0..100 {
                let at = |block: u64| Lone::priority(lone, start + block * UNIT as u64, UNIT);
                assert_ne!(at(block), at(block + 1));
                assert_ne!(at(block), 0, "a wide read beside it has the process's own");
            }
        }
    }

    #[test]
    fn the_class_stays_the_processs_own_and_its_level_is_left_to_wide_reads() {
        for own in [(2 << 13) | 4, (2 << 13) | 7, 3 << 13, (3 << 13) | 7] {
            for block in 0..2 {
                let priority = Lone::priority(Lone::new(UNIT, own), block * UNIT as u64, UNIT);
                assert_eq!(priority >> 13, own >> 13);
                assert_ne!(priority, own);
            }
            assert_eq!(Lone::priority(Lone::new(UNIT, own), 0, 2 * UNIT), 0);
        }
        assert_eq!(Lone::new(UNIT, 1 << 13), None);
        assert_eq!(Lone::priority(None, 0, UNIT), 0);
    }
}
