//! What the engine is doing, for people: status, progress, STATUS=.

use serde::{Deserialize, Serialize};

use super::engine::{Engine, Goal, Phase};
use super::patrol_status::PatrolStatus;
use super::settings::Mode;
use crate::ledger::{Ledger, State};
use crate::report::{BlockCounts, ByteCounts};
use crate::vocabulary::Seq;

/// Where it stands. Made on demand; nothing is decided by it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// In words: "surveying", "checking the window", "checking", "writing", "triggered", "stopping", "paused", …
    pub phase: String,
    /// The pass that is being written, from 0.
    pub pass: u64,
    /// How much of the pass, or of the check, is done, 0 to 1.
    pub progress: f64,
    /// D.
    pub durable: Seq,
    /// The next write to be issued.
    pub next: Seq,
    /// R.
    pub reserved: Seq,
    /// Everything below was read back.
    pub verified: Seq,
    /// The epoch that is issuing; 0 before the first.
    pub epoch: u64,
    /// Writes in flight.
    pub writes_in_flight: u32,
    /// Reads in flight.
    pub reads_in_flight: u32,
    /// Bytes since the start.
    pub bytes: ByteCounts,
    /// New findings since the start.
    pub findings: u64,
    /// Cuts that the run has survived.
    pub cuts: u64,
    /// What the last check said, block by block.
    pub checked: Option<BlockCounts>,
    /// What became of the saved ledger.
    pub state: Option<State>,
    /// Newest durable checkpoint.
    pub checkpoint: u64,
    /// Flushes that failed since the start.
    pub failed_flushes: u64,
    /// Writes that failed since the start.
    pub failed_writes: u64,
    /// I/Os past their deadline now.
    pub stuck: u32,
    /// The oldest of them.
    #[serde(default)]
    pub oldest_stuck: Option<StuckIo>,
    /// Age, in seconds, of a save of the ledger that is past its deadline: the state directory does not answer.
    #[serde(default)]
    pub stuck_save_s: Option<f64>,
    /// Writes sealed as part of the pass, of N.
    pub blocks: u64,
    /// Of a patrol.
    #[serde(default)]
    pub patrol: Option<PatrolStatus>,
}

/// An I/O past its deadline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StuckIo {
    /// "read", "write" or "flush".
    pub operation: String,
    /// Where, in bytes; a flush is nowhere.
    pub offset: Option<u64>,
    /// For how long, in seconds.
    pub age_s: f64,
}

impl Status {
    /// What does not return, in a few words: `2 I/Os stuck, the oldest a write at byte 4096 for 93 s`.
    #[must_use]
    pub fn stuck_in_words(&self) -> Option<String> {
        let StuckIo { operation, offset, age_s } = self.oldest_stuck.as_ref()?;
        let place = offset.map_or_else(String::new, |offset| format!(" at byte {offset}"));
        Some(match self.stuck {
            0 | 1 => format!("1 I/O stuck, a {operation}{place} for {age_s:.0} s"),
            more => format!("{more} I/Os stuck, the oldest a {operation}{place} for {age_s:.0} s"),
        })
    }
}

impl Engine {
    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let ledger = self.ledger.as_ref();
        let pass = self.next.0 / self.schedule.blocks();
        let in_pass = self.next.0 % self.schedule.blocks();
        let running = in_pass as f64 / self.schedule.blocks() as f64;
        let checking = matches!(self.phase, Phase::Checking);
        Status {
            phase: self.phase_in_words(),
            pass: if self.patrols() { self.patrol.pass() } else { pass },
            progress: if checking { self.check.progress(&self.schedule) } else { running },
            durable: ledger.map_or(self.recovered.durable(), Ledger::durable),
            next: self.next,
            reserved: ledger.map_or(self.recovered.reserved().unwrap_or(Seq(0)), Ledger::reserved),
            verified: ledger.map_or(Seq(0), Ledger::verified),
            epoch: ledger.and_then(|ledger| ledger.epochs().newest()).map_or(0, |record| record.epoch.number),
            writes_in_flight: self.ops.writing(),
            reads_in_flight: self.ops.reading() + self.spans.reading(),
            bytes: self.bytes,
            findings: self.new_findings + self.found_and_not_told(),
            cuts: self.cuts(),
            checked: self.checked,
            state: Some(self.recovered.state()),
            checkpoint: ledger.map_or(0, Ledger::checkpoint_number),
            failed_flushes: self.failed_flushes,
            failed_writes: self.failed_writes,
            stuck: self.ops.stuck() + self.spans.stuck() + u32::from(self.flush_stuck),
            oldest_stuck: self.oldest_stuck(),
            stuck_save_s: {
                let position = self.patrol.stuck_save_since(self.ops.clock, self.settings.deadline_ns);
                self.saves.stuck().map(|(_, since)| since).or(position).map(|since| self.age_s(since))
            },
            blocks: self.schedule.blocks(),
            patrol: self
                .patrols()
                .then(|| self.patrol.status(self.ops.clock, self.patrol_at(), self.spans.most_blocks())),
        }
    }

    /// New findings of a check that has judged every block and is telling them, with their evidence.
    fn found_and_not_told(&self) -> u64 {
        let telling = matches!(self.phase, Phase::Checking) && self.check.found_all();
        if telling { self.check.counts.findings - self.check.known } else { 0 }
    }

    fn phase_in_words(&self) -> String {
        let phase = match &self.phase {
            Phase::Checking if self.patrols() && self.check.stop_asked => "draining to stop",
            Phase::Checking if self.paused => "paused",
            Phase::Checking if self.patrol_judges() => "patrolling",
            Phase::Checking => self.check.stage_in_words(),
            Phase::Opening { .. } => "beginning an epoch",
            Phase::Running if self.paused => "paused",
            Phase::Running if self.settings.mode == Mode::Powercut => "writing",
            Phase::Running => "writing and reading back",
            Phase::Draining(Goal::Epoch(_)) => "draining for a new epoch",
            Phase::Draining(Goal::Check(_)) => "draining for a check",
            Phase::Draining(Goal::Stop(_)) => "draining to stop",
            Phase::Closing { .. } => "stopping",
            Phase::Ended => "ended",
        };
        match &self.trigger {
            Some(trigger) => format!("triggered ({}), {}", trigger.reason, trigger.stage_in_words()),
            None => phase.to_owned(),
        }
    }
}
