//! What scrubd found, held against what the disk did: the store's own truth, and a decoder that shares nothing with scrubd.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::decoder;
use super::rig::Rig;
use super::store::DATA;

/// A line of the table, in blocks but for the cycles.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) cycles: u64,
    /// Cycles in which the fault broke a promise that was proved.
    pub(crate) broke: u64,
    /// Cycles of those in which every such block was found.
    pub(crate) detected: u64,
    /// Cycles of those in which all were called what they are.
    pub(crate) named: u64,
    /// Blocks that hold what they should not.
    pub(crate) blocks: u64,
    /// Findings about blocks that hold what they may.
    pub(crate) false_alarms: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Tally) {
        self.cycles += other.cycles;
        self.broke += other.broke;
        self.detected += other.detected;
        self.named += other.named;
        self.blocks += other.blocks;
        self.false_alarms += other.false_alarms;
    }

    /// A cycle in which the fault must be found, and one way or the other was.
    pub(crate) fn of(blocks: u64, detected: bool, named: bool, false_alarms: u64) -> Tally {
        let as_number = u64::from;
        Tally {
            cycles: 1,
            broke: as_number(blocks > 0),
            detected: as_number(blocks > 0 && detected),
            named: as_number(blocks > 0 && named),
            blocks,
            false_alarms,
        }
    }
}

/// What a broken block must be called, below a durable frontier; nothing where no proof reaches it. An older write is
/// legal where the newer one was not guaranteed; half an atom is legal nowhere.
fn expected(rig: &Rig, block: u64, block_size: usize, durable: u64) -> &'static [&'static str] {
    let reserved = rig.saved().reserved;
    let held = rig.store();
    let (store, atom) = (held.store(), held.store().disk().atom());
    if store.hurts_reads(block, block_size) {
        return &["unreadable"];
    }
    let found = store.disk().read(DATA + block as usize * block_size, block_size);
    let promised = store.promised(block, block_size);
    let home = decoder::tag(&promised[..atom]).expect("what was promised is a block of scrubd's");
    let atoms: Vec<&[u8]> = found.chunks(atom).collect();
    let sound: Vec<_> = atoms.iter().filter_map(|atom| decoder::tag(atom).filter(|tag| tag.sound)).collect();
    if sound.iter().any(|tag| tag.run != home.run) {
        return &["foreign"];
    }
    if sound.iter().any(|tag| tag.block != block) {
        return &["misdirected"];
    }
    if sound.iter().any(|tag| tag.seq >= reserved) {
        return &["phantom"];
    }
    if sound.len() < atoms.len() {
        let is_constant = |atom: &&[u8]| atom.iter().all(|byte| *byte == atom[0]);
        return match (store.was_shorn(block, block_size), atoms.iter().any(is_constant)) {
            (true, _) => &["shorn"],
            (_, true) => &["zeroed"],
            _ => &["corrupt"],
        };
    }
    let Some(guaranteed) = store.newest_below(durable, block, block_size) else { return &[] };
    match sound.iter().filter(|tag| tag.seq < guaranteed).count() {
        0 => &[],
        // A block that was sealed later and survived may attest to the guarantee: then it has the stronger name.
        older if older == atoms.len() => &["lost_write", "unserializable"],
        _ => &["torn"],
    }
}

/// Checks the target and compares.
pub(crate) fn judge(rig: &Rig, block_size: usize, which: &str) -> Tally {
    let mut broken: BTreeSet<u64> = rig.store().store().broken(block_size);
    let blocks = (rig.store().store().length() - DATA) / block_size;
    broken.extend((0..blocks as u64).filter(|block| rig.store().store().hurts_reads(*block, block_size)));
    let ended = rig.check();
    let verdict = ended.json();
    assert_eq!(
        ended.code,
        if verdict["blocks"]["findings"] == 0 { 0 } else { 65 },
        "{which}\n{verdict:#}\n{}",
        ended.err
    );
    let durable = verdict["frontiers"]["durable"].as_u64().unwrap();
    assert!(durable >= rig.saved().durable, "{which}: less durable than the saved ledger says: {verdict:#}");
    let found = classes(&verdict);
    let listed = verdict["findings"].as_array().unwrap().iter();
    let guarantees: BTreeMap<u64, u64> =
        listed.filter_map(|finding| Some((finding["block"].as_u64()?, finding["expected_seq"].as_u64()?))).collect();
    let (mut provable, mut missed, mut misnamed) = (0, Vec::new(), Vec::new());
    for &block in &broken {
        // The saved window may know of flushed writes above the frontier, where a lower one was still open; that such a
        // one is broken is the truth's word.
        let above = guarantees.get(&block).map_or(0, |seq| seq + 1);
        let names = expected(rig, block, block_size, durable.max(above));
        provable += u64::from(!names.is_empty());
        match found.get(&block) {
            None if !names.is_empty() => missed.push((block, names)),
            Some(class) if !names.contains(&class.as_str()) => misnamed.push((block, class, names)),
            _ => {}
        }
    }
    let false_alarms: Vec<_> = found.iter().filter(|(block, _)| !broken.contains(block)).collect();
    if !(missed.is_empty() && misnamed.is_empty() && false_alarms.is_empty()) {
        println!(
            "{which}: missed {missed:?}, misnamed {misnamed:?}, false alarms {false_alarms:?}\n{verdict:#}\n{}",
            ended.err
        );
    }
    Tally::of(provable, missed.is_empty(), missed.is_empty() && misnamed.is_empty(), false_alarms.len() as u64)
}

/// The class of each block that is listed.
pub(crate) fn classes(verdict: &Value) -> BTreeMap<u64, String> {
    let findings = verdict["findings"].as_array().unwrap();
    assert_eq!(findings.len() as u64, verdict["blocks"]["findings"].as_u64().unwrap(), "all are listed: {verdict:#}");
    findings
        .iter()
        .map(|finding| (finding["block"].as_u64().unwrap(), finding["class"].as_str().unwrap().to_owned()))
        .collect()
}
