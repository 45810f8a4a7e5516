use std::io;

use crossbeam_channel::bounded;

use super::*;
use crate::engine::Reason;

fn journal(dir: &std::path::Path) -> Journal {
    let layout = Layout::new(dir, "state").unwrap();
    std::fs::create_dir(layout.dir()).unwrap();
    Journal::open(&layout).unwrap().0
}

fn triggered() -> Record {
    Record::Triggered { reason: Reason::File }
}

fn lines(journal: &Journal) -> Vec<String> {
    let text = std::fs::read_to_string(journal.layout.events()).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// A scribe that is played by the test, at the flush of what was noted; its word is what is sent.
fn under_way(journal: &mut Journal) -> crossbeam_channel::Sender<io::Result<()>> {
    let ((jobs, inbox), (word, done)) = (bounded(1), bounded(1));
    journal.scribe = Some(Scribe { jobs, done });
    journal.settle_beside();
    assert!(inbox.try_recv().is_ok() && journal.unsettled.is_empty(), "nothing is left for the thread of the ring");
    word
}

#[test]
fn a_line_that_is_flushed_beside_is_on_record_once_that_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path());
    let (called, call) = bounded(1);
    journal.scribe = Some(Scribe::start(move || called.send(()).unwrap()).unwrap());
    for times in 1..=2 {
        journal.record(&triggered());
        journal.settle_beside();
        assert!(journal.unsettled.is_empty());
        call.recv().expect("its end is told");
        assert!(!journal.settles_beside());
        assert!(journal.beside.is_none() && journal.unsettled.is_empty() && !journal.lost);
        assert_eq!((journal.settle(), lines(&journal).len()), (Ok(()), times));
    }
}

/// The disk under test does not wait for the disk of the state.
#[test]
fn other_lines_are_settled_while_one_is_flushed_beside() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path());
    journal.record(&triggered());
    let end = under_way(&mut journal);
    journal.record(&Record::DeviceReset { why: "test".to_owned() });
    assert_eq!(journal.settle(), Ok(()));
    assert!(journal.settles_beside(), "it is not waited for");
    end.send(Ok(())).unwrap();
    assert!(!journal.settles_beside());
    assert_eq!(lines(&journal).len(), 2);
}

/// After a failed flush the kernel calls the lost pages clean: only a line that is written again can become durable.
#[test]
fn a_line_whose_flush_beside_has_failed_is_written_anew_before_anything_acts_on_it() {
    let dir = tempfile::tempdir().unwrap();
    for dies in [false, true] {
        let dir = dir.path().join(dies.to_string());
        std::fs::create_dir(&dir).unwrap();
        let mut journal = journal(&dir);
        journal.record(&triggered());
        let end = under_way(&mut journal);
        match dies {
            true => drop(end),
            false => end.send(Err(io::Error::other("lost"))).unwrap(),
        }
        assert!(!journal.settles_beside());
        assert!(journal.lost && journal.unsettled.len() == 1);
        assert_eq!(journal.settle(), Ok(()));
        let lines = lines(&journal);
        assert!(lines.len() == 2 && lines.iter().all(|line| line.contains("triggered")), "{lines:?}");
    }
}
