//! Right evidence: what a finding says of the expected and the found write, of the flush that guaranteed it, of what
//! proved that, and of where the contents belong, is what really happened.

use std::collections::{BTreeMap, BTreeSet};

use scrubd::engine::{Action, Event, Mode};
use scrubd::ledger::ProvedBy;
use scrubd::report::{Finding, Occasion, Overall};
use scrubd::sim::{Damage, Origin, Scene, Sight, Watcher, WriteFact};
use scrubd::tag::Class;
use scrubd::vocabulary::{Block, Seq};

use super::knowledge::{Heard, Knowledge, rotted_since, witnesses};

/// What reads of one block have shown since the start.
#[derive(Default)]
struct Shown {
    seqs: BTreeSet<Seq>,
    homes: BTreeSet<Block>,
    /// Contents of which the truth has no number: planted.
    planted: bool,
}

#[derive(Default)]
pub struct Evidence {
    patrols: bool,
    shown: BTreeMap<Block, Shown>,
    state_was_lost: bool,
    /// In a check by a current ledger: what is known, and what the disk attests to.
    known: Option<(Knowledge, Seq)>,
    /// What the surveys of a patrol have heard, and whether power was lost under it.
    heard: Heard,
    lost_power: bool,
    /// Some read failed or was damaged on its way: a witness may not have been heard.
    disturbed: bool,
    /// A flush that failed, or a device that lost its power.
    eventful: bool,
    /// Faults that had struck at this start.
    struck: usize,
}

impl Evidence {
    fn see(&mut self, block: Block, scene: Scene<'_>) {
        let shown = self.shown.entry(block).or_default();
        for content in scene.disk.shown(block) {
            match content.origin {
                Origin::Write(id) | Origin::Damaged(_, Some(id)) => {
                    shown.seqs.insert(scene.truth.write(id).claim.issue.seq);
                    if content.home != block {
                        shown.homes.insert(content.home);
                    }
                }
                Origin::Damaged(Damage::Planted, None) => shown.planted = true,
                Origin::Before | Origin::Damaged(_, None) => {}
            }
        }
    }

    fn judge(&self, finding: &Finding, scene: Scene<'_>) -> Result<(), String> {
        let block = finding.block;
        let nothing = Shown::default();
        let shown = self.shown.get(&block).unwrap_or(&nothing);
        if finding.found_seq != finding.found.map(|issue| issue.seq) {
            return Err("two numbers were found".to_owned());
        }
        if let Some(found) = finding.found_seq
            && !shown.seqs.contains(&found)
            && !shown.planted
        {
            return Err(format!("write {found} was found, and reads showed {:?}", shown.seqs));
        }
        if let Some(home) = finding.home
            && !shown.homes.contains(&home)
        {
            return Err(format!("it belongs to {home}, and reads showed {:?}", shown.homes));
        }
        if (finding.class == Class::Misdirected) != finding.home.is_some() && finding.class != Class::Unstable {
            return Err("a home goes with what is misdirected, and with nothing else".to_owned());
        }
        let Some(expected) = finding.expected_seq else { return Ok(()) };
        let facts = || scene.truth.of_block(block).filter(move |write| write.claim.issue.seq == expected);
        // A write that does not return is told with its own number.
        let stuck = finding.detail.starts_with("stuck:");
        let of_this = |write: &WriteFact| write.start == scene.truth.starts;
        let due = |write: &&WriteFact| write.promised || (write.completed || stuck) && of_this(write);
        if facts().find(due).is_none() {
            return Err(format!("write {expected} is expected, and was never promised nor completed"));
        }
        self.judge_flush(finding, expected, scene)?;
        self.judge_proof(finding, expected, scene)
    }

    /// The flush that is named is one that succeeded, after which the write was durable; and in a run without events,
    /// the first such.
    fn judge_flush(&self, finding: &Finding, expected: Seq, scene: Scene<'_>) -> Result<(), String> {
        let Some(named) = finding.guarantee.and_then(|guarantee| guarantee.flush) else { return Ok(()) };
        let flushes = scene.truth.flushes();
        let told = |flush: &&scrubd::sim::FlushFact| flush.wall_ns == named.wall_ns;
        let Some(real) = flushes.iter().filter(told).find(|flush| flush.promised_below >= named.durable) else {
            return Err(format!("{named:?} is named, and no such flush succeeded"));
        };
        if named.durable <= expected {
            return Err(format!("{named:?} is named, and did not cover write {expected}"));
        }
        let earlier = flushes.iter().take_while(|flush| flush.wall_ns != named.wall_ns);
        let earlier = earlier.filter(|flush| flush.promised_below > expected && flush.start == real.start).count();
        // A number that was issued again was promised more than once.
        let mut epochs = scene.truth.writes().iter().map(|write| write.claim.issue.epoch);
        let first = epochs.next();
        let eventful = self.eventful || epochs.any(|epoch| Some(epoch) != first || epoch.number > 1);
        if earlier > 0 && !eventful {
            return Err(format!("{named:?} is named, and {earlier} flushes before it covered write {expected}"));
        }
        Ok(())
    }

    /// In a check: exactly the write that must be there, and the knowledge that sufficed.
    fn judge_proof(&self, finding: &Finding, expected: Seq, scene: Scene<'_>) -> Result<(), String> {
        let Some((known, attested)) =
            self.known.as_ref().filter(|_| matches!(finding.occasion, Occasion::Check | Occasion::Patrol))
        else {
            return Ok(());
        };
        // What does not return is told when it is met, and that may be before the witnesses were heard.
        if self.disturbed
            || rotted_since(self.struck, scene)
            || self.state_was_lost
            || finding.detail.starts_with("stuck:")
        {
            return Ok(());
        }
        let as_heard = self.lost_power.then(|| known.as_heard(&self.heard));
        let known = as_heard.as_ref().unwrap_or(known);
        let due = known.guaranteed(finding.block, scene).map(|write| write.claim.issue.seq);
        if due != Some(expected) {
            return Err(format!("write {expected} is expected, and must be {due:?}"));
        }
        let proof = if known.is_proved_by_state(expected) { ProvedBy::Checkpoint } else { ProvedBy::Disk };
        if finding.proved_by != Some(proof) {
            return Err(format!("proved by {:?}, and {proof:?} sufficed", finding.proved_by));
        }
        let out_of_order = known.is_out_of_order(expected, *attested);
        match finding.class {
            // What a patrol judges is long past its guarantee.
            Class::Unserializable if finding.occasion == Occasion::Patrol => {
                Err("on patrol it is a lost write".to_owned())
            }
            _ if finding.occasion == Occasion::Patrol => Ok(()),
            Class::LostWrite if out_of_order => Err("a block sealed after its guarantee attests to it".to_owned()),
            Class::Unserializable if !out_of_order => Err("nothing sealed after its guarantee is there".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Watcher for Evidence {
    fn watch(&mut self, sight: &Sight<'_>, scene: Scene<'_>) -> Result<(), String> {
        let wrong = |finding: &Finding, why: String| format!("wrong evidence: {why}: {finding:#?}");
        if let Some(loaded) = self.known.as_ref().and_then(|(known, _)| known.loaded()).filter(|_| self.patrols) {
            self.heard.watch(sight, loaded);
        }
        match sight {
            Sight::Started { settings, loaded, current } => {
                self.patrols = settings.mode == Mode::Patrol;
                (self.heard, self.lost_power) = Default::default();
                self.shown.clear();
                self.state_was_lost |= !current;
                self.disturbed = false;
                self.struck = scene.disk.script.struck().len();
                let reads = matches!(settings.mode, Mode::Check | Mode::Patrol);
                let check = reads && !settings.ignore_state && *current;
                self.known = loaded.filter(|_| check).map(|loaded| {
                    (Knowledge::at_check(loaded, scene, self.state_was_lost), witnesses(loaded, scene).1)
                });
            }
            Sight::Shown(block) => {
                self.see(*block, scene);
                self.disturbed |= scene.disk.is_unreadable(*block) || scene.disk.is_unstable(*block);
            }
            Sight::Garbled(_) | Sight::Told(Event::Read(_, Err(_))) => self.disturbed = true,
            Sight::Blip => (self.eventful, self.lost_power) = (true, self.patrols),
            Sight::Told(Event::Flushed(Err(_))) => self.eventful = true,
            Sight::Acted(Action::Report(finding, _)) => {
                return self.judge(finding, scene).map_err(|why| wrong(finding, why));
            }
            Sight::Acted(Action::Judged(judgement)) if judgement.verdict != Overall::Incomplete => {
                for finding in &judgement.findings {
                    self.judge(finding, scene).map_err(|why| wrong(finding, why))?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
