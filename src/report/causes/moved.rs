//! Contents that turned up elsewhere: by how far, and whether that amounts to addresses that wrap.
//!
//! A device that ignores the upper part of an address returns, at each of the addresses that it takes for one, what was
//! written last to any of them. So of each set of such blocks all but one are found misdirected, the one whose contents
//! they show is whole, what is shown is a newer write than the one that should be there, and all distances are multiples
//! of one period. All of that is asked for before the device is said to wrap: a stuck address line, or writes that went astray, show something else.

use std::collections::BTreeMap;

use super::super::finding::Finding;
use super::super::judgement::BlockCounts;
use super::{Extent, Shared};
use crate::vocabulary::{Block, Geometry};

/// Distances told apart: a device that claims a hundred times what it has shows 200.
const DISTANCES_MAX: usize = 256;

/// Fewer blocks than this may be a coincidence of single errors.
const WRAP_LEAST: u64 = 16;

#[derive(Clone, Debug, Default)]
pub(super) struct Moved {
    /// By the distance from where the contents are to where they belong, in blocks.
    by_distance: BTreeMap<i64, Group>,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    extent: Extent,
    /// The home lacks the contents: a write that went astray, as no alias of an address can show.
    homes_lacking: u64,
    /// The home has the contents too.
    homes_holding: u64,
    /// The contents are of an older write than the one that is guaranteed here: that one did not land in their place.
    older: u64,
}

impl Moved {
    /// False where there is no room for another distance.
    pub(super) fn add(&mut self, finding: &Finding) -> bool {
        let block = finding.block;
        let signed = |block: Block| i64::try_from(block.0).ok();
        let home = finding.home.and_then(signed);
        let Some(distance) = home.zip(signed(block)).and_then(|(home, block)| home.checked_sub(block)) else {
            return false;
        };
        if self.by_distance.len() >= DISTANCES_MAX && !self.by_distance.contains_key(&distance) {
            return false;
        }
        let extent = Extent { findings: 0, ..Extent::of(block) };
        let new = Group { extent, homes_lacking: 0, homes_holding: 0, older: 0 };
        let group = self.by_distance.entry(distance).or_insert(new);
        group.extent.add(block);
        group.homes_lacking += u64::from(finding.confirmed == Some(true));
        group.homes_holding += u64::from(finding.confirmed == Some(false));
        group.older += u64::from(finding.found_seq.is_some() && finding.found_seq < finding.expected_seq);
        true
    }

    pub(super) fn causes(&self, geometry: &Geometry, counts: Option<&BlockCounts>) -> Vec<(Shared, Extent)> {
        let size = i64::from(geometry.block_size);
        let period = counts.and_then(|counts| self.period(counts));
        let wrapped = |distance: i64| period.is_some_and(|period| distance.unsigned_abs().is_multiple_of(period));
        let others = self.by_distance.iter().filter(|(distance, _)| !wrapped(**distance));
        let displaced = |distance: i64| Shared::Displaced { distance_bytes: distance.saturating_mul(size) };
        let mut causes: Vec<_> = others.map(|(distance, group)| (displaced(*distance), group.extent)).collect();
        let one = self.by_distance.iter().filter(|(distance, _)| wrapped(**distance)).map(|(_, group)| group.extent);
        if let (Some(period), Some(extent)) = (period, one.reduce(Extent::join)) {
            causes.push((Shared::Wrap { at_bytes: period * u64::from(geometry.block_size) }, extent));
        }
        causes
    }

    /// The period in blocks, if the addresses wrap. Wherever they do, some block shows the contents of the next one of
    /// its set: the period is among the distances.
    fn period(&self, counts: &BlockCounts) -> Option<u64> {
        let mut candidates: Vec<u64> = self.by_distance.keys().map(|distance| distance.unsigned_abs()).collect();
        candidates.sort_unstable();
        candidates.dedup();
        candidates.into_iter().find(|&period| period > 0 && self.wraps(period, counts))
    }

    fn wraps(&self, period: u64, counts: &BlockCounts) -> bool {
        let groups = self.by_distance.iter().filter(|(distance, _)| distance.unsigned_abs().is_multiple_of(period));
        let (mut found, mut lacking, mut holding, mut older) = (0, 0, 0, 0);
        for (_, group) in groups {
            found += group.extent.findings;
            lacking += group.homes_lacking;
            holding += group.homes_holding;
            older += group.older;
        }
        // Where less was written than there is room for, the rest of the blocks may show nothing at all.
        let aliased = counts.total.saturating_sub(period).saturating_sub(counts.unwritten);
        // 99 of 100: other damage may be among them, but not a whole half that a mere stuck address line leaves out.
        let all_of_them = found <= counts.total - period.min(counts.total) && found * 100 >= aliased * 99;
        // A cache may have reordered some of the newest writes; of the rest the newest one has won.
        let newest = older * 100 <= found;
        found >= WRAP_LEAST && all_of_them && newest && lacking == 0 && holding * 2 >= found
    }
}
