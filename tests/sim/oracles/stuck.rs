//! I/O past its deadline is reported, once and with its place; I/O that is not, never. A wide read past its deadline is put
//! on record, and is a finding only where nothing of it answered alone or it is the last thing left.

use std::collections::BTreeMap;

use scrubd::engine::{Action, Event, OpId, Record, SpanId};
use scrubd::report::Overall;
use scrubd::sim::{Scene, Sight, Watcher};
use scrubd::vocabulary::Block;

/// What is in flight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Io {
    Op(OpId),
    Span(SpanId),
    Flush,
}

#[derive(Default)]
pub struct Stuck {
    deadline_ns: u64,
    in_flight: BTreeMap<Io, InFlight>,
    seen_at: u64,
}

struct InFlight {
    /// The first and the last block.
    blocks: Option<(Block, Block)>,
    /// When it was handed over; and from when on it was watched, as nobody watches while the machine sleeps.
    since: u64,
    watched_since: u64,
    reported: bool,
}

impl Stuck {
    fn begin(&mut self, io: Io, blocks: Option<(Block, Block)>, now: u64) {
        self.in_flight.insert(io, InFlight { blocks, since: now, watched_since: now, reported: false });
    }

    /// What is told of must be in flight, for as long as the deadline is.
    fn told(&mut self, is_it: impl Fn(&Io, &InFlight) -> bool, now: u64, what: &str) -> Result<&mut InFlight, String> {
        let deadline_ns = self.deadline_ns;
        let due = self.in_flight.iter_mut().find(|(io, state)| is_it(io, state));
        let (_, state) = due.ok_or_else(|| format!("nothing is stuck there: {what}"))?;
        match now - state.since < deadline_ns {
            true => Err(format!("in flight for {} ns and called stuck: {what}", now - state.since)),
            false => Ok(state),
        }
    }
}

impl Watcher for Stuck {
    fn watch(&mut self, sight: &Sight<'_>, scene: Scene<'_>) -> Result<(), String> {
        let now = scene.now_ns;
        if let Sight::Started { settings, .. } = sight {
            *self = Stuck { deadline_ns: settings.deadline_ns, seen_at: now, ..Stuck::default() };
            return Ok(());
        }
        if now - self.seen_at > self.deadline_ns / 4 + self.deadline_ns / 8 {
            self.in_flight.values_mut().for_each(|io| io.watched_since = now);
        }
        self.seen_at = now;
        match sight {
            Sight::Acted(Action::Read(op, block) | Action::Write { op, block, .. }) => {
                self.begin(Io::Op(*op), Some((*block, *block)), now);
            }
            Sight::Acted(Action::ReadSpan(id, span)) => {
                self.begin(Io::Span(*id), Some((span.first(), span.last())), now);
            }
            Sight::Acted(Action::Flush) => self.begin(Io::Flush, None, now),
            Sight::Told(Event::Read(op, _) | Event::Wrote(op, _)) => {
                self.in_flight.remove(&Io::Op(*op));
            }
            Sight::Told(Event::ReadSpan(id, _)) => {
                self.in_flight.remove(&Io::Span(*id));
            }
            Sight::Told(Event::Flushed(_)) => {
                self.in_flight.remove(&Io::Flush);
            }
            Sight::Acted(Action::Record(Record::ReadFailedBeside { block, blocks, why, .. }))
                if why.starts_with("it has not returned") =>
            {
                let range = Some((*block, Block(block.0 + u64::from(*blocks) - 1)));
                let is_it =
                    |io: &Io, state: &InFlight| matches!(io, Io::Span(_)) && state.blocks == range && !state.reported;
                self.told(is_it, now, why)?.reported = true;
            }
            Sight::Acted(Action::Report(finding, _)) if finding.detail.starts_with("stuck: the read of blocks") => {
                // Told after it was put on record.
                let is_it = |io: &Io, state: &InFlight| {
                    let begins = state.blocks.is_some_and(|(first, _)| first == finding.block);
                    matches!(io, Io::Span(_)) && begins && state.reported
                };
                self.told(is_it, now, &finding.detail)?;
            }
            Sight::Acted(Action::Report(finding, _)) if finding.detail.starts_with("stuck:") => {
                let blocks = (!finding.detail.contains("flush")).then_some((finding.block, finding.block));
                let is_it =
                    |io: &Io, state: &InFlight| !matches!(io, Io::Span(_)) && state.blocks == blocks && !state.reported;
                self.told(is_it, now, &finding.detail)?.reported = true;
            }
            Sight::Acted(Action::Judged(judgement)) if judgement.verdict == Overall::Intact => {
                if let Some(hung) = self.in_flight.values().find(|io| io.reported) {
                    return Err(format!("intact, and the read of {:?} has not returned", hung.blocks));
                }
            }
            Sight::Cut { .. } => self.in_flight.clear(),
            _ => {}
        }
        // Looked for four times within a deadline, and told in the step that saw it.
        let late = self.in_flight.values().find(|io| !io.reported && now - io.watched_since > 2 * self.deadline_ns);
        match late {
            Some(io) => Err(format!("in flight since {} at {now}, and not reported: {:?}", io.since, io.blocks)),
            None => Ok(()),
        }
    }
}
