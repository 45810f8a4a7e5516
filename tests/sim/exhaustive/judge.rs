//! One world after a cut: the check's judgement beside the law, and a liar's blocks beside what was acknowledged.

use std::collections::BTreeMap;

use scrubd::engine::Outcome;
use scrubd::ledger::State;
use scrubd::report::{Judgement, Overall};
use scrubd::sim::{Truth, World, WriteFact, WriteId};
use scrubd::vocabulary::{Block, Seq};

use super::law::{Accusation, Contents, Law, Ruling};
use super::scribe::Memory;
use super::tally::Tally;
use super::tiny::{ATOMS, Tiny};
use crate::history::real;

/// What each atom is, block after block, by its write; `None` is what was there before the run.
pub type Ids = Vec<Option<WriteId>>;

/// A check of a world as the cut left it, which must say what the law says.
///
/// # Errors
/// Where they differ, or an oracle that looks on objects.
pub fn judge(tiny: &Tiny, mut world: World, ids: &Ids, memory: &Memory) -> Result<Ruling, String> {
    let schedule = *world.inspector().schedule();
    let law = Law { memory, schedule: &schedule, before: tiny.before };
    let ruling = law.ruling(&contents(world.truth(), ids));
    world.start(&tiny.check(), true, &real)?;
    let outcome = world.run_to_exit()?;
    let judgement = world.judgements.last().ok_or("a check that judges nothing")?;
    agree(&outcome, judgement, &ruling, memory)?;
    Ok(ruling)
}

fn agree(outcome: &Outcome, judgement: &Judgement, ruling: &Ruling, memory: &Memory) -> Result<(), String> {
    let accused = judgement.findings.iter().map(|finding| {
        let (class, expected, found) = (finding.class, finding.expected_seq, finding.found_seq);
        (finding.block, Accusation { class, expected, found, proved_by: finding.proved_by })
    });
    let broken = !ruling.accusations.is_empty();
    let issued = memory.issued.last().map_or(Seq(0), |last| last.next()).max(ruling.durable);
    let frontiers = &judgement.frontiers;
    let same = accused.collect::<BTreeMap<_, _>>() == ruling.accusations
        && judgement.blocks == ruling.counts
        && judgement.state == State::Current
        && judgement.proved_by == ruling.proved_by
        && frontiers.durable == Some(ruling.durable)
        && frontiers.issued == Some(issued)
        && frontiers.reserved == Some(memory.reserved)
        && judgement.verdict == if broken { Overall::Violated } else { Overall::Intact }
        && *outcome == if broken { Outcome::Broken } else { Outcome::Kept };
    match same {
        true => Ok(()),
        false => Err(format!("the check: {outcome:?}, {judgement:#?}\nthe law: {ruling:#?}, issued {issued}")),
    }
}

/// Each block that lied is accused, or there is a rule by which nobody could; and no other block is.
///
/// # Errors
/// A lie that was missed, or a block that is accused and kept all promises.
pub fn convict(law: &Law<'_>, truth: &Truth, ids: &Ids, ruling: &Ruling, tally: &mut Tally) -> Result<(), String> {
    for block in (0..ruling.counts.total).map(Block) {
        match (lied(truth, block, ids), ruling.accusations.get(&block)) {
            (None, None) => {}
            (None, Some(accusation)) => return Err(format!("block {block} kept all promises: {accusation:?}")),
            (Some(_), Some(accusation)) => *tally.named.entry(accusation.class).or_default() += 1,
            (Some(guaranteed), None) => {
                let rule = unprovable(law, guaranteed, &contents(truth, ids))?;
                *tally.unprovable.entry(rule).or_default() += 1;
            }
        }
    }
    Ok(())
}

/// The newest write of a block that the disk has acknowledged as durable, where some atom is older than that.
pub fn lied<'a>(truth: &'a Truth, block: Block, ids: &Ids) -> Option<&'a WriteFact> {
    let atoms = &ids[block.0 as usize * ATOMS..][..ATOMS];
    let promised = truth.of_block(block).rev().find(|write| write.promised);
    promised.filter(|promised| atoms.iter().any(|atom| *atom < Some(promised.id)))
}

/// By which rule of the design a lie cannot be proved.
fn unprovable(law: &Law<'_>, guaranteed: &WriteFact, contents: &Contents) -> Result<&'static str, String> {
    let issue = guaranteed.claim.issue;
    let newest = law.memory.epochs.last().ok_or("a guarantee without an epoch")?;
    if newest.0 != issue.epoch {
        return match issue.seq >= newest.1 {
            true => Ok("its number is issued again since: a new epoch forgets the window"),
            false => Err(format!("missed: {issue:?} is below the restart point {}", newest.1)),
        };
    }
    match law.witnesses(contents, issue.seq) {
        _ if law.remembers(issue.seq) => Err(format!("missed: the state knows that {issue:?} is guaranteed")),
        0 => Ok("saved before the guarantee, and no atom that survived attests to it"),
        1 => Ok("saved before the guarantee, and one atom alone attests to it"),
        more => Err(format!("missed: {more} atoms attest to {issue:?}")),
    }
}

fn contents(truth: &Truth, ids: &Ids) -> Contents {
    let claim = |id: &Option<WriteId>| id.map(|id| truth.write(id).claim);
    ids.as_chunks::<ATOMS>().0.iter().map(|atoms| [claim(&atoms[0]), claim(&atoms[1])]).collect()
}
