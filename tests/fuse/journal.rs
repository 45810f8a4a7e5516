//! The log of a disk: every write that came, every answer, and the bytes of the saved ledger at that moment.

use std::path::PathBuf;
use std::sync::Arc;

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// A write came: id, offset, data.
    Received(u64, usize, Arc<Vec<u8>>),
    /// It is about to be answered; durable at once or not.
    Completed(u64, bool),
    /// A flush is about to be answered that covers so many completions.
    Flushed(u64),
}

/// The two slots, as they are on the state's disk.
pub(crate) type Slots = Arc<[Option<Vec<u8>>; 2]>;

pub(crate) struct Journal {
    files: [PathBuf; 2],
    pub(crate) entries: Vec<(Entry, Slots)>,
}

impl Journal {
    pub(crate) fn new(files: [PathBuf; 2]) -> Journal {
        Journal { files, entries: Vec::new() }
    }

    pub(crate) fn note(&mut self, entry: Entry) {
        let slots = self.slots();
        let last = self.entries.last().map(|(_, slots)| slots);
        let slots = last.filter(|last| ***last == slots).cloned().unwrap_or_else(|| Arc::new(slots));
        self.entries.push((entry, slots));
    }

    /// Both at one moment: a slot that changed while the other one was read is read again. One that is being written is
    /// seen torn, as a power cut may leave it.
    fn slots(&self) -> [Option<Vec<u8>>; 2] {
        loop {
            let [first, second, again] = [0, 1, 0].map(|slot: usize| std::fs::read(&self.files[slot]).ok());
            if first == again {
                return [first, second];
            }
        }
    }
}
