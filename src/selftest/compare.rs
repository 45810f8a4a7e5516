//! What must be found against what was found, block by block.

use std::collections::BTreeMap;

use crate::report::{Finding, Persistence};
use crate::tag::Class;
use crate::vocabulary::{Block, Seq};

/// What must be said of a block.
#[derive(Clone, Debug)]
pub(super) struct Expect {
    pub(super) class: Class,
    pub(super) persistence: Persistence,
    /// The write that should be there.
    pub(super) expected_seq: Option<Seq>,
    /// The write that is there.
    pub(super) found_seq: Option<Seq>,
    /// Where the contents belong, and whether they are missing there: that must be told too.
    pub(super) home: Option<(Block, bool)>,
    pub(super) errno: Option<i32>,
    /// Must stand in the detail.
    pub(super) words: &'static str,
}

impl Expect {
    pub(super) fn persistent(class: Class, expected_seq: Option<Seq>, found_seq: Option<Seq>) -> Self {
        let persistence = Persistence::Persistent;
        Expect { class, persistence, expected_seq, found_seq, home: None, errno: None, words: "" }
    }

    pub(super) fn saying(self, words: &'static str) -> Self {
        Expect { words, ..self }
    }

    /// What a finding says otherwise; `None` when it says just this.
    fn differs(&self, finding: &Finding) -> Option<String> {
        let said = (finding.class, finding.persistence, finding.expected_seq, finding.found_seq, finding.errno);
        let home = finding.home.map(|home| (home, finding.confirmed));
        let same = said == (self.class, self.persistence, self.expected_seq, self.found_seq, self.errno)
            && home == self.home.map(|(home, lacking)| (home, Some(lacking)))
            && finding.detail.contains(self.words);
        (!same).then(|| format!("must be {self:?} and is {finding:?}"))
    }
}

/// What one round of a case came to.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) injected: u64,
    pub(super) detected: u64,
    pub(super) named: u64,
    pub(super) false_alarms: u64,
    pub(super) problems: Vec<String>,
}

/// Compares findings with what must be found.
pub(super) fn compare(must: &BTreeMap<Block, Expect>, found: &[Finding]) -> Tally {
    let mut tally = Tally { injected: must.len() as u64, ..Tally::default() };
    for (block, expect) in must {
        let mut of_block = found.iter().filter(|finding| finding.block == *block).peekable();
        if of_block.peek().is_none() {
            tally.problems.push(format!("missed: block {block} must be {expect:?}"));
            continue;
        }
        tally.detected += 1;
        match of_block.find_map(|finding| expect.differs(finding)) {
            None => tally.named += 1,
            Some(why) => tally.problems.push(format!("block {block} {why}")),
        }
    }
    for finding in found.iter().filter(|finding| !must.contains_key(&finding.block)) {
        tally.false_alarms += 1;
        tally.problems.push(format!("a false alarm: {finding:?}"));
    }
    tally
}
