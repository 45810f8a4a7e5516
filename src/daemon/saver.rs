//! Saving checkpoints on a thread of its own, `store/0`: an fsync of the state's disk must not stall the disk under test.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fs, io};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::error::DaemonError;
use crate::engine::Fault;
use crate::ledger::slots::{Choice, Expected, SlotIndex, Turn, seal};
use crate::ledger::state_dir::{Layout, StateDir, replace_durably, sync_dir};
use crate::ledger::store::{Store, StoreError};
use crate::ledger::{Checkpoint, Position};
use crate::ring::Waker;

/// How long the end waits for a save that hangs in the kernel.
const PATIENCE: Duration = Duration::from_secs(5);

/// The end of a save: the slot that is now the newest durable one, or why there is none.
pub(super) enum SaveDone {
    Checkpoint { number: u64, result: Result<PathBuf, Fault> },
    Position(Result<(), Fault>),
}

/// What is to be saved. A patrol saves positions and no checkpoint, the others checkpoints and no position.
enum Job {
    Checkpoint(Box<Checkpoint>),
    Position(Box<Position>),
}

/// What saving needs of the state. The directory is claimed for as long as anybody here may write to it.
pub(super) struct Books {
    pub(super) dir: Arc<StateDir>,
    pub(super) store: Store,
    pub(super) choice: Choice,
    pub(super) owner: Expected,
}

pub(super) struct Saver {
    jobs: Option<Sender<Job>>,
    done: Receiver<SaveDone>,
    thread: Option<JoinHandle<()>>,
    /// The newest durable slot, for the trigger's command.
    pub(super) newest: Option<PathBuf>,
}

impl Saver {
    /// Takes the store over. `waker` is rung after each save.
    pub(super) fn start(books: Books, waker: Waker) -> Result<Saver, DaemonError> {
        let Books { dir, store, choice, owner } = books;
        let layout = dir.layout().clone();
        let newest = choice.newest_slot().map(|slot| layout.ledger(slot));
        // The engine has one save in flight; room for that one, so that handing it over never waits.
        let (jobs, inbox) = bounded::<Job>(1);
        let (outbox, done) = bounded(1);
        let mut work = Work { store, turn: choice.turn(), owner, layout };
        let thread = thread::Builder::new().name("store/0".to_owned()).spawn(move || {
            for job in inbox {
                let saved = match job {
                    Job::Checkpoint(checkpoint) => work.save(&checkpoint),
                    Job::Position(position) => SaveDone::Position(work.save_position(&position)),
                };
                if outbox.send(saved).is_err() {
                    break;
                }
                waker.wake();
            }
            // The claim on the directory ends with the last save, not before.
            drop(dir);
        });
        let thread = thread.map_err(|source| DaemonError::Resources { what: "thread store/0", source })?;
        Ok(Saver { jobs: Some(jobs), done, thread: Some(thread), newest })
    }

    /// Hands a checkpoint over. At most one is under way.
    pub(super) fn save(&mut self, checkpoint: Box<Checkpoint>) -> Result<(), DaemonError> {
        self.hand_over(Job::Checkpoint(checkpoint))
    }

    /// Hands the position of a patrol over. At most one is under way.
    pub(super) fn save_position(&mut self, position: Box<Position>) -> Result<(), DaemonError> {
        self.hand_over(Job::Position(position))
    }

    fn hand_over(&mut self, job: Job) -> Result<(), DaemonError> {
        let jobs = self.jobs.as_ref().expect("open until it is dropped");
        jobs.try_send(job).map_err(|error| DaemonError::Internal(format!("store/0 takes nothing to save: {error}")))
    }

    /// The save that has ended, if one has.
    pub(super) fn ended(&mut self) -> Result<Option<SaveDone>, DaemonError> {
        match self.done.try_recv() {
            Ok(done) => {
                if let SaveDone::Checkpoint { result: Ok(slot), .. } = &done {
                    self.newest = Some(slot.clone());
                }
                Ok(Some(done))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(DaemonError::Internal("store/0 died".to_owned())),
        }
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        self.jobs = None;
        let Some(thread) = self.thread.take() else { return };
        let deadline = Instant::now() + PATIENCE;
        while !thread.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        if !thread.is_finished() {
            tracing::error!("store/0 is stuck in the kernel and left behind: the state's own disk does not answer");
        } else if thread.join().is_err() {
            tracing::error!("store/0 had panicked");
        }
    }
}

struct Work {
    store: Store,
    turn: Turn,
    owner: Expected,
    layout: Layout,
}

impl Work {
    fn save(&mut self, checkpoint: &Checkpoint) -> SaveDone {
        let number = checkpoint.number;
        let slot = self.turn.next();
        let result = match seal(number, &self.owner, &checkpoint.encode()) {
            Ok(sealed) => self.store.save(slot, &sealed).map_err(|error| store_fault(&error)),
            Err(too_long) => Err(Fault { errno: 0, end_of_file: false, removed: false, message: too_long.to_string() }),
        };
        // A failed save leaves the turn where it is: the other slot holds the newest durable checkpoint.
        let result = result.map(|()| {
            self.turn = self.turn.saved();
            self.path(slot)
        });
        SaveDone::Checkpoint { number, result }
    }

    fn save_position(&self, position: &Position) -> Result<(), Fault> {
        let position = &Position { boot: super::notes::boot().unwrap_or(0), ..*position };
        let path = self.layout.position(position.is_ended());
        let saved = replace_durably(&path, &position.encode()).and_then(|()| match position.is_ended() {
            // Only once the other is durable: in between both are there, and the further one counts.
            true => remove_durably(&self.layout.position(false)),
            false => Ok(()),
        });
        saved.map_err(|error| Fault {
            errno: error.raw_os_error().unwrap_or(0),
            end_of_file: false,
            removed: false,
            message: format!("{}: {error}", path.display()),
        })
    }

    fn path(&self, slot: SlotIndex) -> PathBuf {
        self.layout.ledger(slot)
    }
}

fn remove_durably(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed?,
    }
    path.parent().map_or(Ok(()), sync_dir)
}

fn store_fault(error: &StoreError) -> Fault {
    let source = error.errno().map_or_else(String::new, |errno| format!(": {}", io::Error::from_raw_os_error(errno)));
    Fault { errno: error.errno().unwrap_or(0), end_of_file: false, removed: false, message: format!("{error}{source}") }
}
