//! I/O past its deadline is reported, once and with its place; I/O that is not, never.

use std::collections::BTreeMap;

use scrubd::engine::{Action, Event, OpId};
use scrubd::sim::{Scene, Sight, Watcher};
use scrubd::vocabulary::Block;

/// What is in flight: an operation, or the flush.
#[derive(Default)]
pub struct Stuck {
    deadline_ns: u64,
    in_flight: BTreeMap<Option<OpId>, InFlight>,
    seen_at: u64,
}

struct InFlight {
    block: Option<Block>,
    /// When it was handed over; and from when on it was watched, as nobody watches while the machine sleeps.
    since: u64,
    watched_since: u64,
    reported: bool,
}

impl Stuck {
    fn begin(&mut self, op: Option<OpId>, block: Option<Block>, now: u64) {
        self.in_flight.insert(op, InFlight { block, since: now, watched_since: now, reported: false });
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
            Sight::Acted(Action::Read(op, block)) => self.begin(Some(*op), Some(*block), now),
            Sight::Acted(Action::Write { op, block, .. }) => self.begin(Some(*op), Some(*block), now),
            Sight::Acted(Action::Flush) => self.begin(None, None, now),
            Sight::Told(Event::Read(op, _) | Event::Wrote(op, _)) => {
                self.in_flight.remove(&Some(*op));
            }
            Sight::Told(Event::Flushed(_)) => {
                self.in_flight.remove(&None);
            }
            Sight::Acted(Action::Report(finding, _)) if finding.detail.starts_with("stuck:") => {
                let block = (!finding.detail.contains("flush")).then_some(finding.block);
                let due = self.in_flight.values_mut().find(|io| io.block == block && !io.reported);
                let io = due.ok_or_else(|| format!("nothing is stuck there: {finding:#?}"))?;
                io.reported = true;
                if now - io.since < self.deadline_ns {
                    return Err(format!("in flight for {} ns and called stuck: {finding:#?}", now - io.since));
                }
            }
            Sight::Cut { .. } => self.in_flight.clear(),
            _ => {}
        }
        // Looked for four times within a deadline, and told in the step that saw it.
        let late = self.in_flight.values().find(|io| !io.reported && now - io.watched_since > 2 * self.deadline_ns);
        match late {
            Some(io) => Err(format!("in flight since {} at {now}, and not reported: {:?}", io.since, io.block)),
            None => Ok(()),
        }
    }
}
