//! The blocks beside one in which something is wrong, for its evidence.
//!
//! They are read past the engine, so nobody judges them: they may be caught in the middle of a write. A thread of their
//! own reads them, as a device that has stopped answering must not stop the data plane. One that has not answered in
//! time is not asked again.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::ring::Buffer;
use crate::vocabulary::{Block, Geometry};

/// How long is waited for two blocks: a disk may spend some seconds on a sector that it cannot read.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was read before and after a block, where there is such a block and it could be read.
#[derive(Default)]
pub(super) struct Beside {
    pub(super) before: Option<Vec<u8>>,
    pub(super) after: Option<Vec<u8>>,
    /// Why one of them is missing, in words.
    pub(super) remark: Option<String>,
}

pub(super) struct Neighbours {
    /// `None` once it has not answered.
    reader: Option<(Sender<Block>, Receiver<Beside>)>,
}

impl Neighbours {
    /// `file` is the target's own descriptor. Without a thread there are no neighbours, and that is said.
    pub(super) fn new(file: File, geometry: Geometry) -> Self {
        let (ask, asked) = channel::<Block>();
        let (answer, answers) = channel();
        let read = move || asked.iter().try_for_each(|block| answer.send(beside(&file, &geometry, block)));
        let thread = thread::Builder::new().name("evidence/0".to_owned()).spawn(read);
        Neighbours { reader: thread.is_ok().then_some((ask, answers)) }
    }

    pub(super) fn of(&mut self, block: Block) -> Beside {
        let silent = |why: &str| Beside { remark: Some(why.to_owned()), ..Beside::default() };
        let Some((ask, answers)) = &self.reader else { return silent("not read: an earlier read did not return") };
        let answer = ask.send(block).ok().and_then(|()| answers.recv_timeout(PATIENCE).ok());
        answer.unwrap_or_else(|| {
            self.reader = None;
            silent("not read: the device did not answer in time")
        })
    }
}

fn beside(file: &File, geometry: &Geometry, block: Block) -> Beside {
    let mut failures = Vec::new();
    let mut read = |block: Option<u64>| {
        let block = Block(block.filter(|block| *block < geometry.blocks())?);
        let mut bytes = Buffer::new(geometry.block_size as usize);
        match file.read_exact_at(&mut bytes, geometry.offset_of(block)) {
            Ok(()) => Some(bytes.to_vec()),
            Err(error) => {
                failures.push(format!("block {block}: {error}"));
                None
            }
        }
    };
    let (before, after) = (read(block.0.checked_sub(1)), read(block.0.checked_add(1)));
    Beside { before, after, remark: (!failures.is_empty()).then(|| failures.join("; ")) }
}
