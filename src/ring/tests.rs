//! Every engine against real files: O_DIRECT on the disk under /var/tmp, and tmpfs.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::Mode;
use tempfile::NamedTempFile;

use super::*;

const BLOCK: usize = 16_384;
const PLACES: [&str; 2] = ["/var/tmp", "/dev/shm"];

/// The engines that this kernel has. One that is missing is said, not passed over.
fn engines() -> Vec<Engine> {
    match super::uring::setup(1) {
        Ok(_) => vec![Engine::IoUring, Engine::Blocking, Engine::Inline],
        Err(source) => {
            eprintln!("SKIPPED: io_uring is not to be had here: {source}");
            vec![Engine::Blocking, Engine::Inline]
        }
    }
}

fn config(engine: Engine, depth: u32, buffers: u32) -> Config {
    Config { depth, buffers, buffer_size: u32::try_from(BLOCK).unwrap(), engine }
}

fn opened(path: &Path, engine: Engine, depth: u32) -> Box<dyn Ring> {
    open(direct(path), config(engine, depth, 0)).unwrap().0
}

fn direct(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(path).unwrap()
}

/// A read of this never ends: we hold the writing end ourselves.
fn fifo() -> (tempfile::TempDir, File) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fifo");
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    (directory, file)
}

/// What block `number` holds after its `version`th write: told apart by every 16 bytes.
fn content(number: u64, version: u64) -> Vec<u8> {
    (0..BLOCK as u64 / 16)
        .flat_map(|word| [(number << 32) | word, version ^ 0x5EED].map(u64::to_le_bytes))
        .flatten()
        .collect()
}

fn reap(ring: &mut dyn Ring, count: usize) -> Vec<Completion> {
    let mut out = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while out.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} completions came", out.len());
        ring.reap(&mut out, Some(Duration::from_secs(5))).unwrap();
    }
    out
}

fn one(ring: &mut dyn Ring, kind: Kind, buffer: Option<Buffer>) -> Completion {
    ring.submit(Request { token: Token(7), kind, buffer });
    reap(ring, 1).pop().unwrap()
}

#[test]
fn hundreds_of_mixed_requests_come_back_with_the_bytes_that_were_written() {
    for place in PLACES {
        for engine in engines() {
            for registered in [0, 32] {
                mixed_requests(place, engine, registered);
            }
        }
    }
}

fn mixed_requests(place: &str, engine: Engine, registered: u32) {
    const BLOCKS: u64 = 64;
    let named = NamedTempFile::new_in(place).unwrap();
    named.as_file().set_len(BLOCKS * BLOCK as u64).unwrap();
    let (mut ring, mut buffers) = open(direct(named.path()), config(engine, 33, registered)).unwrap();
    let Description { registered_buffers, why, .. } = ring.description();
    let asked = registered > 0 && engine == Engine::IoUring;
    assert!(registered_buffers == asked || why.contains("RLIMIT_MEMLOCK"), "{why}");
    buffers.resize_with(32, || Buffer::new(BLOCK));
    let mut versions = [0u64; BLOCKS as usize];
    let (mut busy, mut step, mut seen) = ([false; BLOCKS as usize], 0u64, 0);
    let mut out = Vec::new();
    while seen < 800 {
        while let Some(mut buffer) = buffers.pop() {
            step = step.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let block = (step >> 33) % BLOCKS;
            if std::mem::replace(&mut busy[block as usize], true) {
                buffers.push(buffer);
                continue;
            }
            let offset = block * BLOCK as u64;
            let kind = if versions[block as usize] == 0 || step >> 62 != 0 {
                versions[block as usize] += 1;
                buffer.copy_from_slice(&content(block, versions[block as usize]));
                Kind::Write { offset, dsync: step >> 60 == 15 }
            } else {
                buffer.poison();
                Kind::Read { offset }
            };
            ring.submit(Request { token: Token(block as u32), kind, buffer: Some(buffer) });
        }
        if ring.in_flight().get() == 32 && seen % 40 == 0 {
            ring.submit(Request { token: Token(u32::MAX), kind: Kind::Flush, buffer: None });
        }
        ring.reap(&mut out, None).unwrap();
        for done in out.drain(..) {
            assert_eq!(done.result, Ok(()), "{engine:?} {:?}", done.kind);
            seen += 1;
            let Some(buffer) = done.buffer else { continue };
            busy[done.token.0 as usize] = false;
            if let Kind::Read { offset } = done.kind {
                let block = offset / BLOCK as u64;
                assert!(*buffer == *content(block, versions[block as usize]), "{engine:?} block {block}");
            }
            buffers.push(buffer);
        }
    }
    let rest = ring.in_flight().get() as usize;
    assert!(reap(&mut *ring, rest).iter().all(|done| done.result.is_ok()));
    assert_eq!(ring.in_flight().get(), 0);
    drop(ring);
    let mut bytes = vec![0; BLOCK];
    for (block, &version) in versions.iter().enumerate().filter(|(_, version)| **version > 0) {
        named.as_file().read_exact_at(&mut bytes, (block * BLOCK) as u64).unwrap();
        assert!(bytes == content(block as u64, version), "{engine:?} left block {block} other than version {version}");
    }
}

#[test]
fn a_batch_larger_than_the_submission_queue_is_sent_in_parts() {
    let named = NamedTempFile::new_in("/var/tmp").unwrap();
    named.as_file().set_len(4096 * 1000).unwrap();
    for engine in engines() {
        let mut ring = opened(named.path(), engine, 1000);
        for token in 0..1000 {
            let kind = Kind::Read { offset: u64::from(token) * 4096 };
            ring.submit(Request { token: Token(token), kind, buffer: Some(Buffer::new(4096)) });
        }
        let mut tokens: Vec<u32> = reap(&mut *ring, 1000).iter().map(|done| done.token.0).collect();
        tokens.sort_unstable();
        assert_eq!(tokens, (0..1000).collect::<Vec<_>>());
    }
}

#[test]
fn a_file_that_ends_inside_a_block_says_where_and_the_tail_stays_poison() {
    for place in PLACES {
        for engine in engines() {
            for length in [0, 512, 4096, 6000, BLOCK + 12_345] {
                let named = NamedTempFile::new_in(place).unwrap();
                named.as_file().write_all_at(&vec![1; length], 0).unwrap();
                let mut ring = opened(named.path(), engine, 4);
                let done = one(&mut *ring, Kind::Read { offset: 0 }, Some(Buffer::new(2 * BLOCK)));
                let failure = done.result.unwrap_err();
                assert!(failure.end_of_file, "{failure}");
                assert_eq!((failure.transferred, failure.offset), (length, length as u64), "{engine:?} {place}");
                let buffer = done.buffer.unwrap();
                assert!(buffer[..length].iter().all(|&byte| byte == 1));
                // ext4 reads whole extents, and leaves what lies behind the end of the file in the buffer.
                assert!(buffer[length..].iter().all(|&byte| byte == POISON), "{engine:?} {place} {length}");
            }
        }
    }
}

#[test]
fn a_write_to_a_descriptor_opened_for_reading_fails_with_its_errno_and_offset() {
    let named = NamedTempFile::new_in("/var/tmp").unwrap();
    for engine in engines() {
        let (mut ring, mut buffers) = open(File::open(named.path()).unwrap(), config(engine, 4, 1)).unwrap();
        let kind = Kind::Write { offset: 1 << 20, dsync: true };
        let failure = one(&mut *ring, kind, buffers.pop()).result.unwrap_err();
        assert_eq!((failure.errno(), failure.offset, failure.end_of_file), (Errno::EBADF, 1 << 20, false));
        assert_eq!((ring.description().direct, ring.description().why.is_empty()), (false, engine == Engine::IoUring));
    }
}

#[test]
fn a_flush_that_a_file_cannot_do_is_an_error_and_not_silence() {
    for engine in engines() {
        let (_directory, file) = fifo();
        let (mut ring, _) = open(file, config(engine, 1, 0)).unwrap();
        let failure = one(&mut *ring, Kind::Flush, None).result.unwrap_err();
        assert_eq!(failure.errno(), Errno::EINVAL, "{failure}");
    }
}

#[test]
fn a_wake_from_another_thread_ends_an_endless_reap_and_many_wakes_cost_one() {
    let named = NamedTempFile::new_in("/var/tmp").unwrap();
    for engine in engines() {
        let mut ring = opened(named.path(), engine, 4);
        let waker = ring.waker();
        for _ in 0..50 {
            let waker = waker.clone();
            let sleeper = thread::spawn(move || {
                thread::sleep(Duration::from_millis(2));
                waker.wake();
            });
            let mut out = Vec::new();
            ring.reap(&mut out, None).unwrap();
            assert!(out.is_empty());
            sleeper.join().unwrap();
        }
        (0..100).for_each(|_| waker.wake());
        let mut out = Vec::new();
        ring.reap(&mut out, None).unwrap();
        let start = Instant::now();
        ring.reap(&mut out, Some(Duration::from_millis(30))).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(30), "{engine:?} was woken twice by one burst");
    }
}

#[test]
fn no_wake_is_lost_between_two_reaps() {
    let named = NamedTempFile::new_in("/var/tmp").unwrap();
    for engine in engines() {
        let mut ring = opened(named.path(), engine, 4);
        let (sender, receiver) = crossbeam_channel::unbounded();
        let waker = ring.waker();
        let other = thread::spawn(move || {
            for number in 0..20_000 {
                sender.send(number).unwrap();
                waker.wake();
            }
        });
        let (mut got, mut out) = (0, Vec::new());
        while got < 20_000 {
            let start = Instant::now();
            ring.reap(&mut out, Some(Duration::from_secs(20))).unwrap();
            assert!(start.elapsed() < Duration::from_secs(15), "{engine:?} slept through a wake");
            got += receiver.try_iter().count();
        }
        other.join().unwrap();
    }
}

#[test]
fn a_poll_and_a_timeout_return_without_anything() {
    let (_directory, file) = fifo();
    for engine in engines() {
        let (mut ring, _) = open(file.try_clone().unwrap(), config(engine, 1, 0)).unwrap();
        let mut out = Vec::new();
        ring.reap(&mut out, Some(Duration::ZERO)).unwrap();
        let start = Instant::now();
        ring.reap(&mut out, Some(Duration::from_millis(20))).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(20) && out.is_empty());
    }
}

#[test]
fn other_threads_can_wait_until_everything_was_reaped() {
    let named = NamedTempFile::new_in("/var/tmp").unwrap();
    named.as_file().set_len(4096 * 500).unwrap();
    for engine in engines() {
        let mut ring = opened(named.path(), engine, 8);
        let count = ring.in_flight();
        ring.submit(Request { token: Token(0), kind: Kind::Flush, buffer: None });
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let count = std::sync::Arc::clone(&count);
                thread::spawn(move || count.wait(Duration::from_secs(30)))
            })
            .collect();
        assert!(!count.wait(Duration::from_millis(5)), "nobody has reaped yet");
        let ring_thread = thread::spawn(move || {
            reap(&mut *ring, 1);
            for token in 0..500u32 {
                let kind = Kind::Read { offset: u64::from(token) * 4096 };
                one(&mut *ring, kind, Some(Buffer::new(4096))).result.unwrap();
            }
        });
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap()));
        ring_thread.join().unwrap();
        assert_eq!(count.get(), 0);
    }
}

#[test]
fn a_read_that_never_ends_ends_as_cancelled_when_asked() {
    for registered in [0, 1] {
        let (_directory, file) = fifo();
        if !engines().contains(&Engine::IoUring) {
            return;
        }
        let (mut ring, mut buffers) = open(file, config(Engine::IoUring, 2, registered)).unwrap();
        let buffer = buffers.pop().unwrap_or_else(|| Buffer::new(4096));
        ring.submit(Request { token: Token(9), kind: Kind::Read { offset: 0 }, buffer: Some(buffer) });
        let mut out = Vec::new();
        ring.reap(&mut out, Some(Duration::from_millis(10))).unwrap();
        assert!(out.is_empty());
        ring.cancel(Token(9));
        ring.cancel(Token(9));
        ring.cancel(Token(1234));
        let done = reap(&mut *ring, 1).pop().unwrap();
        let failure = done.result.unwrap_err();
        assert!(failure.is_cancelled(), "{failure}");
        assert_eq!((failure.transferred, done.token, done.buffer.is_some()), (0, Token(9), true));
    }
}

#[test]
fn a_request_cancelled_before_it_was_handed_over_does_not_happen() {
    let named = NamedTempFile::new_in("/var/tmp").unwrap();
    let mut ring = opened(named.path(), Engine::Blocking, 2);
    let kind = Kind::Write { offset: 0, dsync: false };
    ring.submit(Request { token: Token(1), kind, buffer: Some(Buffer::new(4096)) });
    ring.cancel(Token(1));
    assert!(reap(&mut *ring, 1).pop().unwrap().result.unwrap_err().is_cancelled());
    assert_eq!(named.as_file().metadata().unwrap().len(), 0);
}

#[test]
fn dropping_a_ring_ends_what_is_in_flight_and_lets_go_of_the_lock() {
    for engine in engines() {
        let named = NamedTempFile::new_in("/var/tmp").unwrap();
        named.as_file().set_len(32 * BLOCK as u64).unwrap();
        for entered in [false, true] {
            let file = direct(named.path());
            file.try_lock().expect("the ring before has let go");
            let (mut ring, mut buffers) = open(file, config(engine, 32, 32)).unwrap();
            for token in 0..32u32 {
                let kind = Kind::Write { offset: u64::from(token) * BLOCK as u64, dsync: true };
                ring.submit(Request { token: Token(token), kind, buffer: buffers.pop() });
            }
            if entered {
                ring.reap(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
            }
            let count = ring.in_flight();
            drop(ring);
            assert_eq!(count.get(), 0, "{engine:?}");
        }
    }
}

#[test]
fn a_stuck_request_does_not_hold_up_the_drop_of_a_ring_that_can_cancel() {
    if !engines().contains(&Engine::IoUring) {
        return;
    }
    let (_directory, file) = fifo();
    let (mut ring, mut buffers) = open(file, config(Engine::IoUring, 8, 8)).unwrap();
    for token in 0..8 {
        ring.submit(Request { token: Token(token), kind: Kind::Read { offset: 0 }, buffer: buffers.pop() });
    }
    ring.reap(&mut Vec::new(), Some(Duration::from_millis(1))).unwrap();
    ring.cancel(Token(3));
    let (count, start) = (ring.in_flight(), Instant::now());
    drop(ring);
    assert_eq!(count.get(), 0);
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_ring_dropped_on_a_foreign_thread_leaks_its_buffers_rather_than_free_them() {
    if !engines().contains(&Engine::IoUring) {
        return;
    }
    let (_directory, file) = fifo();
    let (mut ring, _) = open(file, config(Engine::IoUring, 1, 0)).unwrap();
    ring.submit(Request { token: Token(0), kind: Kind::Read { offset: 0 }, buffer: Some(Buffer::new(4096)) });
    ring.reap(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
    let count = ring.in_flight();
    thread::spawn(move || drop(ring)).join().unwrap();
    assert_eq!(count.get(), 1, "it is still in flight, and must be said to be");
}

#[test]
fn a_ring_moves_to_its_thread_before_its_first_use_and_not_after() {
    if !engines().contains(&Engine::IoUring) {
        return;
    }
    let named = NamedTempFile::new_in("/var/tmp").unwrap();
    let (mut ring, _) = open(direct(named.path()), config(Engine::IoUring, 2, 1)).unwrap();
    let mut ring = thread::spawn(move || {
        one(&mut *ring, Kind::Flush, None).result.unwrap();
        ring
    })
    .join()
    .unwrap();
    let misuse = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        ring.reap(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
    }));
    assert!(misuse.unwrap_err().downcast_ref::<String>().unwrap().contains("is used from"));
}

#[test]
fn a_registered_buffer_of_one_ring_works_in_another() {
    let named = NamedTempFile::new_in("/var/tmp").unwrap();
    named.as_file().write_all_at(&content(1, 1), 0).unwrap();
    for engine in engines() {
        let (_first, mut foreign) = open(direct(named.path()), config(engine, 1, 1)).unwrap();
        let (mut second, _own) = open(direct(named.path()), config(engine, 1, 1)).unwrap();
        let done = one(&mut *second, Kind::Read { offset: 0 }, foreign.pop());
        assert_eq!(done.result, Ok(()));
        assert!(*done.buffer.unwrap() == *content(1, 1));
    }
}

#[test]
fn the_best_engine_that_there_is_gets_chosen_and_what_is_missing_is_said() {
    let named = NamedTempFile::new_in("/var/tmp").unwrap();
    let (ring, buffers) = open(direct(named.path()), config(Engine::Auto, 8, 2)).unwrap();
    let Description { engine, why, flags, direct, depth, registered_buffers, .. } = ring.description();
    assert!(direct && depth == 8 && buffers.iter().all(|buffer| buffer.is_registered() == registered_buffers));
    if engines().contains(&Engine::IoUring) {
        assert_eq!(engine, "io_uring");
        assert_eq!(why.contains("no ring flags of Linux 6.1"), !flags.contains(&"DEFER_TASKRUN"), "{why}");
    } else {
        assert!(engine == "blocking" && why.starts_with("io_uring is not to be had here: "), "{why}");
        assert!(open(named.reopen().unwrap(), config(Engine::IoUring, 8, 2)).is_err());
    }
}

#[test]
fn rings_with_the_flags_of_older_kernels_work_alike() {
    let named = NamedTempFile::new_in("/var/tmp").unwrap();
    named.as_file().write_all_at(&content(5, 5), 0).unwrap();
    let description = || open(direct(named.path()), config(Engine::Blocking, 4, 0)).unwrap().0.description();
    for ready in super::uring::every_rung(4).into_iter().flatten() {
        let mut buffers = vec![Buffer::new(BLOCK)];
        let mut ring = super::uring::Uring::new(ready, direct(named.path()), &mut buffers, description()).unwrap();
        let done = one(&mut ring, Kind::Read { offset: 0 }, buffers.pop());
        assert!(done.result == Ok(()) && *done.buffer.unwrap() == *content(5, 5));
        let waker = ring.waker();
        let sleeper = thread::spawn(move || waker.wake());
        ring.reap(&mut Vec::new(), None).unwrap();
        sleeper.join().unwrap();
        ring.submit(Request { token: Token(1), kind: Kind::Read { offset: 0 }, buffer: Some(Buffer::new(BLOCK)) });
        let (mut out, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(20));
        while out.is_empty() {
            assert!(Instant::now() < deadline, "a poll sees no completion with {:?}", ring.description().flags);
            ring.reap(&mut out, Some(Duration::ZERO)).unwrap();
        }
    }
}

#[test]
fn a_buffer_of_any_length_works_where_the_file_allows_it() {
    let named = NamedTempFile::new_in("/var/tmp").unwrap();
    let expected: Vec<u8> = content(3, 3)[..1001].to_vec();
    for engine in engines() {
        let (mut ring, _) = open(named.reopen().unwrap(), config(engine, 1, 1)).unwrap();
        let mut buffer = Buffer::new(1001);
        buffer.copy_from_slice(&expected);
        let done = one(&mut *ring, Kind::Write { offset: 77, dsync: true }, Some(buffer));
        assert_eq!(done.result, Ok(()));
        let mut buffer = done.buffer.unwrap();
        buffer.poison();
        let done = one(&mut *ring, Kind::Read { offset: 77 }, Some(buffer));
        assert!(done.result == Ok(()) && **done.buffer.as_ref().unwrap() == *expected);
    }
}

#[test]
fn a_token_in_flight_and_a_full_ring_are_broken_contracts() {
    let named = NamedTempFile::new_in("/var/tmp").unwrap();
    for engine in engines() {
        for (tokens, complaint) in [([1, 1], "in flight already"), ([1, 2], "more than")] {
            let depth = if complaint == "more than" { 1 } else { 2 };
            let mut ring = opened(named.path(), engine, depth);
            ring.submit(Request { token: Token(tokens[0]), kind: Kind::Flush, buffer: None });
            let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                ring.submit(Request { token: Token(tokens[1]), kind: Kind::Flush, buffer: None });
            }));
            assert!(broken.unwrap_err().downcast_ref::<String>().unwrap().contains(complaint));
        }
    }
}

#[test]
fn a_depth_that_no_ring_has_is_refused() {
    let named = NamedTempFile::new_in("/var/tmp").unwrap();
    for depth in [0, 4097] {
        let refused = open(direct(named.path()), config(Engine::Auto, depth, 0)).err().unwrap();
        assert!(matches!(refused, RingError::Config(_)), "{refused}");
    }
}

/// /dev is a tmpfs as a rule, and what stands there is anything but memory.
#[test]
fn a_file_in_memory_is_served_inline_and_nothing_else_is() {
    let engine = |file: File| open(file, config(Engine::Auto, 4, 0)).unwrap().0.description().engine;
    assert_eq!(engine(direct(NamedTempFile::new_in("/dev/shm").unwrap().path())), "inline");
    assert_ne!(engine(direct(NamedTempFile::new_in("/var/tmp").unwrap().path())), "inline");
    assert_ne!(engine(File::open("/dev/zero").unwrap()), "inline");
}
