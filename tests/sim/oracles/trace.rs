//! Not an oracle: tells what happens, for a replay.

use scrubd::engine::{Action, Event};
use scrubd::sim::{Scene, Sight, Watcher};

pub struct Trace;

impl Watcher for Trace {
    fn watch(&mut self, sight: &Sight<'_>, scene: Scene<'_>) -> Result<(), String> {
        let us = scene.now_ns / 1000;
        match sight {
            Sight::Started { settings, loaded, current } => eprintln!(
                "{us:>9} start {:?} current={current} from {:?}",
                settings.mode,
                loaded.map(|l| (l.number, l.clean, l.durable(), &l.window, l.reserved, l.epochs.records()))
            ),
            Sight::Acted(Action::Seal(op, block, claim)) => eprintln!(
                "{us:>9}   seal {op:?} {block} seq {} epoch {} d {} c {}",
                claim.issue.seq, claim.issue.epoch.number, claim.durable, claim.checkpoint
            ),
            Sight::Acted(Action::Inspect(op, legal)) => {
                eprintln!("{us:>9}   inspect {op:?} {} {:?} issued {:?}", legal.block, legal.rule, legal.newest_issued);
            }
            Sight::Acted(Action::Save(c)) => {
                eprintln!("{us:>9}   save {} clean={} D {} R {}", c.number, c.clean, c.durable(), c.reserved);
            }
            Sight::Told(Event::Inspected(op, i)) => eprintln!("{us:>9} told inspected {op:?} {:?}", i.verdict),
            Sight::Acted(action) => eprintln!("{us:>9}   {action:?}"),
            Sight::Told(event) => eprintln!("{us:>9} told {event:?}"),
            Sight::SavedDurably(c) => eprintln!("{us:>9} durable {}", c.number),
            Sight::Shown(block) => {
                let shown: Vec<_> = scene.disk.shown(*block).iter().map(|c| c.origin).collect();
                eprintln!("{us:>9} shown {block}: {shown:?}");
            }
            Sight::Stepping => {}
            other => eprintln!("{us:>9} {other:?}"),
        }
        Ok(())
    }
}
