//! The one line of JSON that `check --json` and `run --json` end with. Pure.
//!
//! Schema 1. A number that is not known is `null`; offsets are absolute; the list of findings is bounded by
//! [`super::MAX_LISTED`], and `blocks.findings` is the true count. Members may be added to schema 1, never renamed or
//! given another meaning.

use serde::Serialize;

use super::causes::{Cause, CauseList};
use super::finding::{Finding, Persistence};
use super::judgement::{BlockCounts, ByteCounts, Frontiers, Judgement, Overall};
use crate::ledger::{ProvedBy, State};
use crate::tag::Class;
use crate::vocabulary::{Block, Promise, RunId, Seq};

const SCHEMA: u32 = 1;

/// What the line says. `None` is a number that nobody knows, and is told as `null`.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The conclusion.
    pub verdict: Overall,
    /// What the disk was held to.
    pub promise: Promise,
    /// What became of the saved ledger.
    pub state: Option<State>,
    /// What proved D.
    pub proved_by: Option<ProvedBy>,
    /// The frontiers.
    pub frontiers: Frontiers,
    /// Blocks by verdict.
    pub blocks: Blocks,
    /// Bytes over the life of this process.
    pub bytes: ByteCounts,
    /// How long it took, in seconds.
    pub elapsed_s: f64,
    /// What findings have in common, those that are not listed included.
    pub causes: CauseList,
    /// Findings that were reported before: the true count.
    pub known: u64,
    /// The first [`super::MAX_LISTED`] findings.
    pub findings: Vec<Finding>,
}

/// Blocks by verdict, as far as they were judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Blocks {
    /// N.
    pub total: Option<u64>,
    /// The newest write that is known to have been issued, or a later one.
    pub intact: Option<u64>,
    /// Legal losses.
    pub rolled_back: Option<u64>,
    /// Legal tears.
    pub interrupted: Option<u64>,
    /// No write of this run yet.
    pub unwritten: Option<u64>,
    /// Broken promises: the true count.
    pub findings: Option<u64>,
}

impl From<BlockCounts> for Blocks {
    fn from(counts: BlockCounts) -> Self {
        let BlockCounts { total, intact, rolled_back, interrupted, unwritten, findings } = counts;
        Blocks {
            total: Some(total),
            intact: Some(intact),
            rolled_back: Some(rolled_back),
            interrupted: Some(interrupted),
            unwritten: Some(unwritten),
            findings: Some(findings),
        }
    }
}

impl From<Judgement> for Summary {
    fn from(judgement: Judgement) -> Self {
        Summary {
            verdict: judgement.verdict,
            promise: judgement.promise,
            state: Some(judgement.state),
            proved_by: Some(judgement.proved_by),
            frontiers: judgement.frontiers,
            blocks: judgement.blocks.into(),
            bytes: judgement.bytes,
            elapsed_s: judgement.elapsed_s,
            causes: judgement.causes,
            known: judgement.known,
            findings: judgement.findings,
        }
    }
}

impl Summary {
    /// When no check came to an end, or none was made: what only a check can know is not known.
    #[must_use]
    pub fn unchecked(verdict: Overall, promise: Promise, blocks: u64) -> Self {
        Summary {
            verdict,
            promise,
            state: None,
            proved_by: None,
            frontiers: Frontiers::default(),
            blocks: Blocks { total: Some(blocks), ..Blocks::default() },
            bytes: ByteCounts::default(),
            elapsed_s: 0.0,
            causes: CauseList::default(),
            known: 0,
            findings: Vec::new(),
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    target: &'a str,
    run_id: RunId,
    verdict: Overall,
    promise: Promise,
    state: Option<State>,
    proved_by: Option<ProvedBy>,
    frontiers: Frontiers,
    blocks: Blocks,
    bytes: ByteCounts,
    elapsed_s: f64,
    findings: Vec<Listed<'a>>,
    causes: &'a [Cause],
    /// Findings that no listed cause explains.
    causes_left_out: LeftOut,
}

#[derive(Serialize)]
struct LeftOut {
    causes: u64,
    findings: u64,
    alone: u64,
}

#[derive(Serialize)]
struct Listed<'a> {
    class: Class,
    block: Block,
    offset: u64,
    expected_seq: Option<Seq>,
    found_seq: Option<Seq>,
    persistence: Persistence,
    proved_by: Option<ProvedBy>,
    known: bool,
    detail: &'a str,
}

impl<'a> From<&'a Finding> for Listed<'a> {
    fn from(finding: &'a Finding) -> Self {
        let Finding { class, block, offset, expected_seq, found_seq, persistence, proved_by, known, .. } = *finding;
        let detail = finding.detail.as_str();
        Listed { class, block, offset, expected_seq, found_seq, persistence, proved_by, known, detail }
    }
}

/// The line, without its end.
#[must_use]
pub fn line(target: &str, run_id: RunId, summary: &Summary) -> String {
    let Summary { verdict, promise, state, proved_by, frontiers, blocks, bytes, elapsed_s, .. } = *summary;
    let CauseList { listed, further, further_findings, alone } = &summary.causes;
    let line = Line {
        schema: SCHEMA,
        target,
        run_id,
        verdict,
        promise,
        state,
        proved_by,
        frontiers,
        blocks,
        bytes,
        elapsed_s,
        findings: summary.findings.iter().map(Listed::from).collect(),
        causes: listed,
        causes_left_out: LeftOut { causes: *further, findings: *further_findings, alone: *alone },
    };
    serde_json::to_string(&line).expect("plain values have a JSON form")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::finding::Occasion;
    use super::*;

    const RUN: RunId = RunId([0xab; 16]);

    fn judgement() -> Judgement {
        let finding = Finding {
            class: Class::LostWrite,
            block: Block(17),
            offset: 2_162_688,
            expected_seq: Some(Seq(44)),
            found_seq: Some(Seq(41)),
            found: None,
            expected: None,
            reads: Vec::new(),
            persistence: Persistence::Persistent,
            proved_by: Some(ProvedBy::Checkpoint),
            known: false,
            detail: "a \"quoted\"\nword".to_owned(),
            guarantee: None,
            home: None,
            confirmed: None,
            errno: None,
            occasion: Occasion::Check,
            cuts: 0,
            contents: 0,
            wall_ns: 0,
        };
        let unreadable = Finding {
            class: Class::Unreadable,
            expected_seq: None,
            found_seq: None,
            persistence: Persistence::Transient,
            proved_by: None,
            known: true,
            detail: String::new(),
            ..finding.clone()
        };
        Judgement {
            verdict: Overall::Violated,
            promise: Promise::Flush,
            state: State::Current,
            proved_by: ProvedBy::Disk,
            frontiers: Frontiers { durable: Some(Seq(45)), issued: Some(Seq(50)), reserved: None },
            blocks: BlockCounts { total: 24, intact: 20, rolled_back: 1, interrupted: 1, unwritten: 0, findings: 2 },
            bytes: ByteCounts { written: 0, verified: 1_572_864 },
            elapsed_s: 0.25,
            known: 1,
            classes: BTreeMap::from([(Class::LostWrite, 1), (Class::Unreadable, 1)]),
            causes: CauseList { alone: 2, ..CauseList::default() },
            findings: vec![finding, unreadable],
            unlisted: Vec::new(),
        }
    }

    // Written by hand from DESIGN section 7, not from the code.
    #[test]
    fn the_line_is_the_schema_to_the_byte() {
        let golden = concat!(
            r#"{"schema":1,"target":"bay3","run_id":"abababababababababababababababab","verdict":"violated","#,
            r#""promise":"flush","state":"current","proved_by":"disk","#,
            r#""frontiers":{"durable":45,"issued":50,"reserved":null},"#,
            r#""blocks":{"total":24,"intact":20,"rolled_back":1,"interrupted":1,"unwritten":0,"findings":2},"#,
            r#""bytes":{"written":0,"verified":1572864},"elapsed_s":0.25,"#,
            r#""findings":[{"class":"lost_write","block":17,"offset":2162688,"expected_seq":44,"found_seq":41,"#,
            r#""persistence":"persistent","proved_by":"checkpoint","known":false,"detail":"a \"quoted\"\nword"},"#,
            r#"{"class":"unreadable","block":17,"offset":2162688,"expected_seq":null,"found_seq":null,"#,
            r#""persistence":"transient","proved_by":null,"known":true,"detail":""}],"#,
            r#""causes":[],"causes_left_out":{"causes":0,"findings":0,"alone":2}}"#,
        );
        assert_eq!(line("bay3", RUN, &judgement().into()), golden);
    }

    #[test]
    fn every_word_of_the_schema_is_spelt_as_the_design_spells_it() {
        let word = |value: serde_json::Value| value.as_str().unwrap().to_owned();
        let verdicts = [Overall::Intact, Overall::Violated, Overall::Incomplete];
        let verdicts = verdicts.map(|verdict| word(serde_json::to_value(verdict).unwrap()));
        assert_eq!(verdicts, ["intact", "violated", "incomplete"]);
        let states = [State::Current, State::Stale, State::Missing];
        assert_eq!(states.map(|s| word(serde_json::to_value(s).unwrap())), ["current", "stale", "missing"]);
        let proofs = [ProvedBy::Checkpoint, ProvedBy::Disk, ProvedBy::Witness];
        assert_eq!(proofs.map(|p| word(serde_json::to_value(p).unwrap())), ["checkpoint", "disk", "witness"]);
        let promises = [Promise::Ack, Promise::Fua, Promise::Flush];
        assert_eq!(promises.map(|p| word(serde_json::to_value(p).unwrap())), ["ack", "fua", "flush"]);
        let classes = [
            (Class::Corrupt, "corrupt"),
            (Class::Zeroed, "zeroed"),
            (Class::LostWrite, "lost_write"),
            (Class::Unserializable, "unserializable"),
            (Class::Torn, "torn"),
            (Class::Shorn, "shorn"),
            (Class::Misdirected, "misdirected"),
            (Class::Foreign, "foreign"),
            (Class::Phantom, "phantom"),
            (Class::Unreadable, "unreadable"),
            (Class::Unstable, "unstable"),
        ];
        for (class, name) in classes {
            assert_eq!(word(serde_json::to_value(class).unwrap()), name);
            assert_eq!(class.to_string(), name);
        }
    }

    #[test]
    fn what_was_never_checked_is_null_and_not_zero() {
        let line = line("bay3", RUN, &Summary::unchecked(Overall::Incomplete, Promise::Fua, 24));
        let golden = concat!(
            r#"{"schema":1,"target":"bay3","run_id":"abababababababababababababababab","verdict":"incomplete","#,
            r#""promise":"fua","state":null,"proved_by":null,"#,
            r#""frontiers":{"durable":null,"issued":null,"reserved":null},"#,
            r#""blocks":{"total":24,"intact":null,"rolled_back":null,"interrupted":null,"unwritten":null,"findings":null},"#,
            r#""bytes":{"written":0,"verified":0},"elapsed_s":0.0,"findings":[],"#,
            r#""causes":[],"causes_left_out":{"causes":0,"findings":0,"alone":0}}"#,
        );
        assert_eq!(line, golden);
    }

    #[test]
    fn it_is_one_line_whatever_a_target_is_called() {
        assert!(!line("a\nb", RUN, &judgement().into()).contains('\n'));
    }
}
