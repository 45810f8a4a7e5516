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

/// What a broken block is to be called, and whether that needs proof of a guarantee: an older write is legal where the
/// newer one was not guaranteed, but half an atom is legal nowhere.
fn expected(rig: &Rig, block: u64, block_size: usize) -> (&'static [&'static str], Option<u64>) {
    let held = rig.store();
    let (store, atom) = (held.store(), held.store().disk().atom());
    let found = store.disk().read(DATA + block as usize * block_size, block_size);
    let promised = store.promised(block, block_size);
    if store.hurts_reads(block, block_size) {
        return (&["unreadable"], None);
    }
    let pairs: Vec<(&[u8], &[u8])> = found.chunks(atom).zip(promised.chunks(atom)).collect();
    let wrong: Vec<_> = pairs.iter().filter(|(found, promised)| found != promised).collect();
    let tags: Vec<_> = wrong.iter().map(|(found, _)| decoder::tag(found).filter(|tag| tag.sound)).collect();
    let home = decoder::tag(promised.get(..atom).unwrap()).expect("what was promised is a block of scrubd's");
    let any = |is: &dyn Fn(&decoder::Tag) -> bool| tags.iter().flatten().any(is);
    if any(&|tag| tag.run != home.run) {
        return (&["foreign"], None);
    }
    if any(&|tag| tag.block != block) {
        return (&["misdirected"], None);
    }
    if any(&|tag| tag.seq >= rig.saved().reserved) {
        return (&["phantom"], None);
    }
    let is_shorn = |(found, promised): &&&(&[u8], &[u8])| found[..atom / 2] == promised[..atom / 2];
    if tags.iter().any(Option::is_none) {
        // Bit rot leaves both halves but for one bit; a shorn atom has an old half.
        let bits = |(found, promised): &&&(&[u8], &[u8])| {
            found.iter().zip(*promised).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>()
        };
        let constant = wrong.iter().any(|(found, _)| found.iter().all(|byte| *byte == found[0]));
        let shorn = wrong.iter().filter(is_shorn).any(|pair| bits(&pair) > 8);
        return (if shorn { &["shorn"] } else if constant { &["zeroed"] } else { &["corrupt"] }, None);
    }
    let guaranteed = wrong.iter().filter_map(|(_, promised)| Some(decoder::tag(promised)?.seq)).max();
    match wrong.len() == pairs.len() {
        // A block that was sealed later and survived may attest to the guarantee: then it has the stronger name.
        true => (&["lost_write", "unserializable"], guaranteed),
        false => (&["torn"], guaranteed),
    }
}

/// Checks the target and compares.
pub(crate) fn judge(rig: &Rig, block_size: usize, which: &str) -> Tally {
    let mut broken: BTreeSet<u64> = rig.store().store().broken(block_size);
    let blocks = (rig.store().store().length() - DATA) / block_size;
    broken.extend((0..blocks as u64).filter(|block| rig.store().store().hurts_reads(*block, block_size)));
    let ended = rig.check();
    let verdict = ended.json();
    assert_eq!(ended.code, if verdict["blocks"]["findings"] == 0 { 0 } else { 65 }, "{which}\n{verdict:#}\n{}", ended.err);
    let durable = verdict["frontiers"]["durable"].as_u64().unwrap();
    assert!(durable >= rig.saved().durable, "{which}: less durable than the saved ledger says: {verdict:#}");
    let found = classes(&verdict);
    let (mut provable, mut missed, mut misnamed) = (0, Vec::new(), Vec::new());
    for &block in &broken {
        let (names, guaranteed) = expected(rig, block, block_size);
        let proved = guaranteed.is_none_or(|seq| seq < durable);
        provable += u64::from(proved);
        match found.get(&block) {
            None if proved => missed.push((block, names, guaranteed)),
            Some(class) if !names.contains(&class.as_str()) => misnamed.push((block, class, names)),
            _ => {}
        }
    }
    let false_alarms: Vec<_> = found.iter().filter(|(block, _)| !broken.contains(block)).collect();
    if !(missed.is_empty() && misnamed.is_empty() && false_alarms.is_empty()) {
        println!("{which}: missed {missed:?}, misnamed {misnamed:?}, false alarms {false_alarms:?}\n{verdict:#}\n{}", ended.err);
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
