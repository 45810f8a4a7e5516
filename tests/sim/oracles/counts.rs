//! Everything is counted: the verdicts of a complete check add up to the number of blocks.

use scrubd::engine::{Action, Mode};
use scrubd::report::Overall;
use scrubd::sim::{Scene, Sight, Watcher};

#[derive(Default)]
pub struct Counts {
    check: bool,
}

impl Watcher for Counts {
    fn watch(&mut self, sight: &Sight<'_>, scene: Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Started { settings, .. } => self.check = settings.mode == Mode::Check,
            Sight::Acted(Action::Judged(judgement)) => {
                let blocks = &judgement.blocks;
                let sum = blocks.intact + blocks.rolled_back + blocks.interrupted + blocks.unwritten + blocks.findings;
                let whole =
                    judgement.verdict == Overall::Intact || self.check && judgement.verdict == Overall::Violated;
                if blocks.total != scene.disk.blocks() || sum > blocks.total || whole && sum != blocks.total {
                    return Err(format!("{sum} of {} blocks are accounted for: {blocks:?}", blocks.total));
                }
                // A check that was broken off accuses nobody: it may yet have met a tag that is ahead of the ledger.
                let silent = judgement.verdict == Overall::Incomplete;
                if !silent && (blocks.findings > 0) != (judgement.verdict == Overall::Violated) {
                    return Err(format!("{:?} with {} findings", judgement.verdict, blocks.findings));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
