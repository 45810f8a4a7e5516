//! Builds the data plane and starts its thread.

use std::fs::File;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Receiver;
use tokio::sync::mpsc;

use super::Job;
use super::board::{Board, Heard, Stopwatches};
use super::clock::Clock;
use super::context::Context;
use super::driver::{Driver, Finish, Told};
use super::error::DaemonError;
use super::inbox::Inbox;
use super::journal::Journal;
use super::neighbours::Neighbours;
use super::notes::{Note, boot_id};
use super::saver::{Books, Saver};
use super::scribe::Scribe;
use super::suspects::Suspects;
use super::watch::Watch;
use super::wide::Wide;
use super::work::{SealJob, VerifyJob, seal, verify};
use crate::engine::{Engine, Startup};
use crate::pool::{Placement, Pool, Spec};
use crate::ring::{self, Description, Ring, Waker};
use crate::tag::Inspector;

/// What may wait for the control plane: `Started` and one `Fire` at a time, with room to spare.
const TOLD: usize = 16;

/// The data plane, seen from outside.
pub(super) struct DataPlane {
    pub(super) inbox: Inbox,
    pub(super) told: mpsc::Receiver<Told>,
    pub(super) watch: Watch,
    pub(super) ring: Description,
    pub(super) workers: Vec<Placement>,
    pub(super) thread: RingThread,
}

/// `ring/0`, and what it says at its end. It is not always joined: a thread with requests that the kernel does not give
/// back is not let go before they return.
pub(super) struct RingThread {
    thread: JoinHandle<()>,
    finish: Receiver<Result<Finish, DaemonError>>,
}

impl RingThread {
    /// Waits for its last word, and for its end where that will come.
    pub(super) fn finished(self) -> Result<Finish, DaemonError> {
        let said = self.finish.recv();
        if let Ok(Ok(Finish { left_behind: 1.., .. })) = &said {
            return said.expect("looked at above");
        }
        let panicked = self.thread.join().err().map(|panic| {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            DaemonError::Internal(words.unwrap_or_else(|| "it panicked".to_owned()))
        });
        match (said, panicked) {
            (_, Some(panicked)) => Err(panicked),
            (Ok(said), None) => said,
            (Err(_), None) => Err(DaemonError::Internal("it said nothing at its end".to_owned())),
        }
    }
}

/// Opens ring, pools and journal, and lets the engine begin. `file` is the target's own descriptor.
pub(super) fn start(
    job: &mut Job,
    file: File,
    books: Option<Books>,
    mut journal: Option<Journal>,
) -> Result<DataPlane, DaemonError> {
    let (geometry, run_id) = (job.target.geometry, job.target.run_id);
    if ring::lives_in_memory(&file) {
        keep_in_cache(&mut job.engine, geometry.block_size);
    }
    job.engine.more_operations = more_operations(&job.engine, geometry.block_size);
    let engine = engine(job);
    let (operations, spans) = (engine.operations(), engine.spans());
    let most_bytes = job.engine.span_bytes as usize;
    let config = ring::Config {
        // Each operation and each span has one request at the most; then the flush.
        depth: operations + spans + 1,
        buffers: operations,
        buffer_size: geometry.block_size,
        engine: job.ring,
    };
    let beside = file.try_clone().map_err(|source| DaemonError::Resources { what: "the evidence", source })?;
    let (ring, buffers) = ring::open(file, config)?;
    let description = ring.description();
    let inspector = Inspector::new(geometry, run_id);
    let sealer = *inspector.sealer();
    let settings = &job.settings;
    let spec = |name, threads: u32, cpus: &Option<Vec<usize>>| Spec {
        name,
        threads: threads as usize,
        cpus: cpus.clone(),
        capacity: (operations + spans) as usize,
    };
    let (seal_spec, verify_spec) = (
        spec("seal", settings.seal.threads, &settings.seal.cpus),
        spec("verify", settings.verify.threads, &settings.verify.cpus),
    );
    let seal_bell = bell(&seal_spec, ring.as_ref());
    let verify_bell = bell(&verify_spec, ring.as_ref());
    let seal_pool = Pool::start(seal_spec, move |job: SealJob| seal(&sealer, job), seal_bell)?;
    let verify_pool = Pool::start(verify_spec, move |job: VerifyJob| verify(&inspector, job), verify_bell)?;
    let workers = seal_pool.placements().into_iter().chain(verify_pool.placements()).collect();
    let saver = books.map(|books| Saver::start(books, ring.waker())).transpose()?;
    let waker = ring.waker();
    if let Some(journal) = &mut journal {
        let waker = waker.clone();
        let scribe = Scribe::start(move || waker.wake());
        journal.scribe = Some(scribe.map_err(|source| DaemonError::Resources { what: "thread log/0", source })?);
    }
    let (inbox, receiver) = Inbox::new(waker.clone());
    let (sender, told) = mpsc::channel(TOLD);
    let board = Arc::new(Board::new());
    let neighbours = journal.as_ref().map(|_| Neighbours::new(beside, geometry));
    let mut driver = Driver {
        seal: seal_pool,
        verify: verify_pool,
        ring,
        buffers: buffers.into_iter().map(Some).collect(),
        poisoned: vec![true; operations as usize],
        bad: vec![None; operations as usize],
        wide: Wide::new(spans, operations, most_bytes),
        saver,
        journal,
        suspects: Suspects::default(),
        neighbours,
        presence: std::mem::take(&mut job.target.presence),
        read_ns: vec![0; operations as usize],
        inspector,
        geometry,
        run_id,
        name: job.name.clone(),
        on_finding: job.engine.on_finding,
        clock: Clock::start(),
        inbox: receiver,
        told: sender,
        board: Arc::clone(&board),
        stopwatches: Stopwatches::new(),
        warnings: Vec::new(),
        judgement: None,
        seal_jobs: Vec::new(),
        verify_jobs: Vec::new(),
        sealed: Vec::new(),
        verified: Vec::new(),
        events: Vec::new(),
        published: None,
        unpublished: false,
        firing: None,
        deadline: Duration::from_nanos(job.engine.deadline_ns),
        heard: Heard::default(),
        engine,
    };
    introduce(&mut driver, job, &description);
    let (last_word, finish) = crossbeam_channel::bounded(1);
    let thread = thread::Builder::new().name("ring/0".to_owned()).spawn(move || {
        if last_word.send(driver.run()).is_err() {
            tracing::debug!("nobody waits for the data plane any more");
        }
    });
    let thread = thread.map_err(|source| DaemonError::Resources { what: "thread ring/0", source })?;
    let thread = RingThread { thread, finish };
    Ok(DataPlane { inbox, told, watch: Watch::new(board, waker), ring: description, workers, thread })
}

/// A file in memory has no queue to be filled: what is under way is only what passes from one processor to another, and
/// each byte of that which does not fit into their caches goes through memory once more.
fn keep_in_cache(settings: &mut crate::engine::Settings, block_size: u32) {
    /// Blocks under way, in bytes: with as much again being sealed or judged, well within the share of a third-level cache.
    const UNDER_WAY: u32 = 2 << 20;
    /// Of a wide read: small beside a second-level cache.
    const SPAN: u32 = 256 << 10;
    settings.queue_depth = settings.queue_depth.min((UNDER_WAY / block_size).max(2));
    settings.span_bytes = settings.span_bytes.min(SPAN);
}

/// Of small blocks up to three more for each place in the queue: what is handed to a worker at once is to be worth waking
/// it, and while it gets up the queue lives on what is sealed already.
fn more_operations(settings: &crate::engine::Settings, block_size: u32) -> u32 {
    /// Bytes of all blocks outside the queue: within a second-level cache.
    const OUTSIDE: u32 = 512 << 10;
    (OUTSIDE / block_size).saturating_sub(settings.queue_depth).min(3 * settings.queue_depth)
}

fn engine(job: &mut Job) -> Engine {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).expect("the kernel has randomness");
    let known = std::mem::take(&mut job.known);
    let startup = Startup {
        geometry: job.target.geometry,
        run: job.target.run_id,
        saved: job.saved.take(),
        known,
        position: job.position,
        nonce_seed: u64::from_le_bytes(seed),
    };
    Engine::new(startup, job.engine.clone())
}

/// Workers ring the ring's bell; an inline pool works on the ring's own thread, which then knows.
fn bell(spec: &Spec, ring: &dyn Ring) -> impl Fn() + Send + Sync + 'static {
    let waker: Option<Waker> = (spec.threads > 0).then(|| ring.waker());
    move || {
        if let Some(waker) = &waker {
            waker.wake();
        }
    }
}

/// The first lines of this process in the event log.
fn introduce(driver: &mut Driver, job: &Job, ring: &Description) {
    let Some(journal) = &mut driver.journal else { return };
    journal.context = Some(Context::of(job, ring));
    journal.note(&Note::Started {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        target: &job.name,
        path: job.target.path.display().to_string(),
        run_id: job.target.run_id,
        geometry: &job.target.geometry,
        ring,
        boot_id: boot_id(),
    });
    for text in job.remarks.iter().chain(&job.target.warnings) {
        journal.note(&Note::Remark { text });
    }
    // Reading acts on none of it. What is written comes after the epoch's own line, whose flush covers these too.
    journal.settle_beside();
}
