//! The pool as the ring's thread sees it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded};

use super::*;

/// A block of as many bytes as it says.
impl Job for u64 {
    fn bytes(&self) -> usize {
        usize::try_from(*self).unwrap()
    }
}

fn spec(threads: usize, capacity: usize) -> Spec {
    Spec { name: "verify", threads, cpus: None, capacity }
}

/// Submits everything under backpressure and returns the results, sorted.
fn all<D: Send + Ord + 'static>(pool: &mut Pool<u64, D>, mut jobs: Vec<u64>, bell: &Receiver<()>) -> Vec<D> {
    let (total, mut out) = (jobs.len(), Vec::new());
    while out.len() < total {
        pool.submit(&mut jobs);
        assert!(pool.outstanding() <= pool.spec.capacity);
        pool.collect(&mut out).unwrap();
        if out.len() < total && pool.outstanding() == pool.spec.capacity {
            bell.recv_timeout(Duration::from_secs(20)).expect("a result rings the bell");
        }
    }
    assert_eq!((pool.outstanding(), pool.room()), (0, pool.spec.capacity));
    out.sort_unstable();
    out
}

/// A bell of capacity one, as the ring's.
fn bell() -> (impl Fn() + Send + Sync + 'static, Receiver<()>) {
    let (sender, receiver) = bounded(1);
    (move || sender.try_send(()).unwrap_or_default(), receiver)
}

#[test]
fn every_job_comes_back_once_whatever_the_room() {
    for threads in [0, 1, 3] {
        for capacity in [1, 7, 64] {
            let (notify, heard) = bell();
            let mut pool = Pool::start(spec(threads, capacity), |job: u64| job * 2, notify).unwrap();
            let results = all(&mut pool, (0..2000).collect(), &heard);
            assert_eq!(results, (0..2000).map(|job| job * 2).collect::<Vec<_>>(), "{threads} {capacity}");
        }
    }
}

#[test]
fn what_does_not_fit_stays_with_the_caller_in_its_order() {
    let mut pool = Pool::start(spec(0, 4), |job: u64| job, || {}).unwrap();
    let mut jobs: Vec<u64> = (0..10).collect();
    pool.submit(&mut jobs);
    pool.submit(&mut jobs);
    assert_eq!((jobs.as_slice(), pool.room()), ([4, 5, 6, 7, 8, 9].as_slice(), 0));
    let mut out = Vec::new();
    pool.collect(&mut out).unwrap();
    assert_eq!((out, pool.room()), (vec![0, 1, 2, 3], 4));
}

#[test]
fn few_small_jobs_wait_for_more_though_not_for_long() {
    let offered = |threads: usize, capacity: usize, mut jobs: Vec<u64>| {
        let mut pool = Pool::start(spec(threads, capacity), |job: u64| job, || {}).unwrap();
        pool.offer(&mut jobs);
        (jobs.len(), pool.outstanding())
    };
    assert_eq!(offered(1, 64, vec![4096; 31]), (31, 0));
    assert_eq!(offered(1, 64, vec![4096; 32]), (0, 32), "half of all there can be");
    assert_eq!(offered(1, 64, vec![WORTH_BYTES as u64 - 1]), (1, 0));
    assert_eq!(offered(1, 64, vec![WORTH_BYTES as u64]), (0, 1), "a large one is worth it alone");
    assert_eq!(offered(1, 1, vec![4096]), (0, 1), "there is no room for more");
    assert_eq!(offered(0, 64, vec![4096]), (0, 1), "nobody has to be woken");

    let (notify, heard) = bell();
    let mut pool = Pool::start(spec(1, 64), |job: u64| job, notify).unwrap();
    for _ in 0..2 {
        let mut jobs = vec![7];
        for offer in 0..PUT_OFF {
            pool.offer(&mut jobs);
            assert_eq!((jobs.len(), pool.outstanding()), (1, 0), "offer {offer}");
            pool.offer(&mut Vec::new());
        }
        pool.offer(&mut jobs);
        assert_eq!((jobs.len(), pool.outstanding()), (0, 1));
        let mut out = Vec::new();
        while out.is_empty() {
            heard.recv_timeout(Duration::from_secs(20)).expect("a result rings the bell");
            pool.collect(&mut out).unwrap();
        }
        assert_eq!(out, [7]);
    }
}

/// Workers that fall asleep, leave and come back while jobs arrive: none may be left lying.
#[test]
fn no_job_is_left_to_workers_who_sleep() {
    let (notify, heard) = bell();
    let idle = Duration::from_micros(300);
    let mut pool = Pool::start_with(spec(3, 8), |job: u64| job, notify, idle).unwrap();
    let mut out = Vec::new();
    for round in 0..3000_u64 {
        // About as long as a worker looks, sleeps, and idles.
        let pause = Duration::from_micros(crate::vocabulary::mix(round) % 700);
        let since = Instant::now();
        while since.elapsed() < pause {
            thread::yield_now();
        }
        let count = 1 + crate::vocabulary::mix(!round) % 4;
        pool.submit(&mut vec![round; usize::try_from(count).unwrap()]);
        while pool.outstanding() > 0 {
            pool.collect(&mut out).unwrap();
            if pool.outstanding() > 0 {
                heard.recv_timeout(Duration::from_secs(20)).expect("a result rings the bell");
            }
        }
        assert_eq!(out.drain(..).map(|job| job - round).collect::<Vec<_>>(), vec![0; usize::try_from(count).unwrap()]);
    }
}

#[test]
fn without_threads_the_work_is_done_by_the_caller() {
    let caller = thread::current().id();
    let mut pool = Pool::start(spec(0, 4), move |_: u64| thread::current().id() == caller, || {}).unwrap();
    pool.submit(&mut vec![1, 2]);
    let mut out = Vec::new();
    pool.collect(&mut out).unwrap();
    assert_eq!((out, pool.placements(), pool.alive()), (vec![true, true], Vec::new(), 0));
}

#[test]
fn a_submission_is_cut_so_that_every_worker_gets_work() {
    let (notify, heard) = bell();
    // Each job waits until all four workers are at one: with fewer batches than workers nobody would be done.
    let meeting = Arc::new(std::sync::Barrier::new(4));
    let work = move |job: u64| {
        meeting.wait();
        job
    };
    let mut pool = Pool::start(spec(4, 64), work, notify).unwrap();
    assert_eq!(all(&mut pool, vec![1, 2, 3, 4], &heard), [1, 2, 3, 4]);
}

#[test]
fn the_result_of_a_large_job_does_not_wait_for_the_next_one() {
    const LARGE: u64 = BATCH_BYTES as u64;
    let (notify, heard) = bell();
    let (first_seen, wait) = bounded::<()>(1);
    let work = move |job: u64| {
        if job > LARGE {
            wait.recv_timeout(Duration::from_secs(20)).expect("the first result can be collected meanwhile");
        }
        job
    };
    let mut pool = Pool::start(spec(1, 8), work, notify).unwrap();
    pool.submit(&mut vec![LARGE, LARGE + 1]);
    let mut out = Vec::new();
    while out.is_empty() {
        heard.recv_timeout(Duration::from_secs(20)).expect("a result rings the bell");
        pool.collect(&mut out).unwrap();
    }
    first_seen.send(()).unwrap();
    while out.len() < 2 {
        heard.recv_timeout(Duration::from_secs(20)).expect("a result rings the bell");
        pool.collect(&mut out).unwrap();
    }
    assert_eq!(out, [LARGE, LARGE + 1]);
}

#[test]
fn each_worker_is_named_and_may_run_exactly_where_it_was_asked_to() {
    for cpus in [None, Some(vec![permitted_cpus().unwrap()[0]]), Some(permitted_cpus().unwrap())] {
        let (notify, heard) = bell();
        let work = |_: u64| {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned();
            (line("Name:"), line("Cpus_allowed_list:"))
        };
        let mut pool = Pool::start(Spec { cpus: cpus.clone(), ..spec(2, 8) }, work, notify).unwrap();
        let wanted = cpus.clone().unwrap_or_else(|| permitted_cpus().unwrap());
        let placements = pool.placements();
        assert_eq!(placements.iter().map(|at| at.thread.as_str()).collect::<Vec<_>>(), ["verify/0", "verify/1"]);
        assert!(placements.iter().all(|at| at.cpus_asked == cpus && at.cpus_allowed == wanted));
        for (name, allowed) in all(&mut pool, (0..8).collect(), &heard) {
            assert!(["verify/0", "verify/1"].contains(&name.as_str()));
            assert_eq!(allowed.contains(['-', ',']), wanted.len() > 1, "{allowed}");
        }
    }
}

#[test]
fn a_worker_without_a_wish_does_not_inherit_the_pin_of_the_thread_that_started_it() {
    thread::spawn(|| {
        affinity::place("pinned", Some(&permitted_cpus().unwrap()[..1])).unwrap();
        let pool = Pool::start(spec(1, 8), |job: u64| job, || {}).unwrap();
        assert_eq!(pool.placements()[0].cpus_allowed, permitted_cpus().unwrap());
    })
    .join()
    .unwrap();
}

#[test]
fn a_cpu_that_does_not_exist_is_refused_before_anything_starts() {
    for threads in [0, 1] {
        let spec = Spec { cpus: Some(vec![0, 100_000]), ..spec(threads, 8) };
        let refused = Pool::start(spec, |job: u64| job, || {}).err().unwrap();
        let PoolError::Cpus { pool: "verify", source } = refused else { panic!("{refused}") };
        assert!(source.to_string().starts_with("CPU 100000 is not "), "{source}");
    }
}

#[test]
fn a_worker_that_panics_is_reported_with_what_it_lost_and_the_pool_takes_no_more() {
    for threads in [0, 1, 2] {
        let (notify, heard) = bell();
        let work = |job: u64| if job == 3 { panic!("block {job} cannot be") } else { job };
        let mut pool = Pool::start(spec(threads, 8), work, notify).unwrap();
        pool.submit(&mut (0..6).collect());
        let (mut out, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(20));
        let error = loop {
            match pool.collect(&mut out) {
                Err(error) => break error,
                Ok(()) => assert!(Instant::now() < deadline, "the panic went unnoticed"),
            }
            heard.recv_timeout(Duration::from_millis(100)).ok();
        };
        let PoolError::WorkerDied { jobs_lost, message, .. } = &error else { panic!("{error}") };
        assert_eq!(message, "block 3 cannot be");
        let deadline = Instant::now() + Duration::from_secs(20);
        while out.len() + jobs_lost < 6 {
            assert!(Instant::now() < deadline, "{} results and {jobs_lost} lost, of 6", out.len());
            assert!(pool.collect(&mut out).is_err(), "the failure stays");
        }
        let mut more = vec![7];
        pool.submit(&mut more);
        assert_eq!((more, pool.room(), pool.outstanding()), (vec![7], 0, *jobs_lost));
    }
}

#[test]
fn an_idle_pool_shrinks_to_one_worker_and_grows_again_under_load() {
    let (notify, heard) = bell();
    let (idle, block) = (Duration::from_millis(20), Arc::new(AtomicBool::new(false)));
    let work = {
        let block = Arc::clone(&block);
        move |job: u64| {
            while block.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            job
        }
    };
    let mut pool = Pool::start_with(spec(3, 32), work, notify, idle).unwrap();
    assert_eq!(pool.placements().len(), 3);
    for _ in 0..3 {
        let deadline = Instant::now() + Duration::from_secs(20);
        while pool.alive() > 1 {
            assert!(Instant::now() < deadline, "{} workers stay", pool.alive());
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(3 * idle);
        assert_eq!(pool.alive(), 1, "the last one stays");
        block.store(true, Ordering::SeqCst);
        let mut submitted = 0;
        while pool.alive() < 3 {
            assert!(Instant::now() < deadline, "{} workers came", pool.alive());
            let mut jobs: Vec<u64> = (submitted..submitted + 3).collect();
            pool.submit(&mut jobs);
            submitted += 3 - jobs.len() as u64;
            thread::sleep(Duration::from_millis(5));
        }
        block.store(false, Ordering::SeqCst);
        let mut out = Vec::new();
        while out.len() < submitted as usize {
            pool.collect(&mut out).unwrap();
            heard.recv_timeout(Duration::from_millis(100)).ok();
        }
        out.sort_unstable();
        assert_eq!(out, (0..submitted).collect::<Vec<_>>());
    }
}

#[test]
fn dropping_a_pool_waits_for_its_workers_and_starts_nothing_more() {
    let (running, started) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let work = {
        let (running, started) = (Arc::clone(&running), Arc::clone(&started));
        move |job: u64| {
            running.fetch_add(1, Ordering::SeqCst);
            started.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(20));
            running.fetch_sub(1, Ordering::SeqCst);
            job
        }
    };
    let mut pool = Pool::start(spec(2, 64), work, || {}).unwrap();
    pool.submit(&mut (0..64).collect());
    while started.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    drop(pool);
    assert_eq!(running.load(Ordering::SeqCst), 0);
    assert!(started.load(Ordering::SeqCst) < 64, "a drop should not wait for the whole queue");
}
