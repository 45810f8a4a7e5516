//! From nothing to a ring that works on this kernel, with as much as it gives.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use io_uring::{Builder, IoUring};
use nix::libc;

use super::super::Buffer;
use super::super::buffer::Registration;
use super::super::open::LOCKED_MEMORY;

/// Entries of the submission queue: how many requests one system call carries. More in a batch than this is sent in
/// several calls; 256 of 64 bytes are four pages.
const BATCH: u32 = 256;

/// A ring as the kernel made it.
pub(in crate::ring) struct Ready {
    pub(super) ring: IoUring,
    pub(super) flags: Vec<&'static str>,
    pub(super) why: String,
    /// Set up disabled, so that the thread that enables it, and not the one that made it, becomes its only issuer.
    pub(super) disabled: bool,
}

/// One rung of the ladder.
struct Rung {
    since: &'static str,
    flags: &'static [&'static str],
    apply: fn(&mut Builder),
}

/// From the best to the plainest. DEFER_TASKRUN runs completions only when we ask for them, on our thread, without
/// interrupting it; COOP_TASKRUN at least without the interrupt.
const LADDER: [Rung; 4] = [
    Rung {
        since: "6.1",
        flags: &["SINGLE_ISSUER", "DEFER_TASKRUN", "COOP_TASKRUN", "SUBMIT_ALL", "R_DISABLED"],
        apply: |builder| {
            builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun();
            builder.setup_submit_all().setup_r_disabled();
        },
    },
    Rung {
        since: "6.0",
        flags: &["SINGLE_ISSUER", "COOP_TASKRUN", "SUBMIT_ALL", "R_DISABLED"],
        apply: |builder| {
            builder.setup_single_issuer().setup_coop_taskrun().setup_submit_all().setup_r_disabled();
        },
    },
    Rung {
        since: "5.19",
        flags: &["COOP_TASKRUN", "SUBMIT_ALL"],
        apply: |builder| {
            builder.setup_coop_taskrun().setup_submit_all();
        },
    },
    Rung { since: "5.11", flags: &[], apply: |_| {} },
];

/// Sets up a ring for `depth` requests.
///
/// # Errors
/// The kernel's, from the last rung; ENOTSUP for a kernel before 5.11, which cannot wait with a timeout.
pub(in crate::ring) fn setup(depth: u32) -> io::Result<Ready> {
    climb_down(&LADDER, depth)
}

fn climb_down(ladder: &[Rung], depth: u32) -> io::Result<Ready> {
    let entries = depth.min(BATCH).next_power_of_two();
    // Each request can have a cancel beside it, and there is one wake: with room for all, the queue never overflows.
    let completions = (2 * depth + 2).next_power_of_two().max(2 * entries);
    let mut why = String::new();
    let mut refused = io::Error::from_raw_os_error(libc::ENOSYS);
    for rung in ladder {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(completions);
        (rung.apply)(&mut builder);
        match builder.build(entries) {
            Ok(ring) if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() => {
                return Err(io::Error::from_raw_os_error(libc::ENOTSUP));
            }
            Ok(ring) => {
                let disabled = rung.flags.contains(&"R_DISABLED");
                return Ok(Ready { ring, flags: rung.flags.to_vec(), why, disabled });
            }
            Err(source) if source.raw_os_error() == Some(libc::EINVAL) => {
                explain(&mut why, &format!("no ring flags of Linux {}", rung.since));
                refused = source;
            }
            Err(source) => return Err(source),
        }
    }
    Err(refused)
}

/// Registers the file, so that no request looks it up. `false`, and a reason, where that is refused.
pub(super) fn register_file(ring: &IoUring, file: &File, why: &mut String) -> bool {
    match ring.submitter().register_files(&[file.as_raw_fd()]) {
        Ok(()) => true,
        Err(source) => {
            explain(why, &format!("file not registered: {source}"));
            false
        }
    }
}

/// Registers the buffers, so that their pages are pinned once and not at every request. The id that they carry from
/// then on, or `None`, and a reason, where that is refused.
#[allow(unsafe_code)]
pub(super) fn register_buffers(ring: &IoUring, buffers: &mut [Buffer], why: &mut String) -> Option<u64> {
    /// Tells rings apart, so that a buffer of one is never taken for the same index of another.
    static RINGS: AtomicU64 = AtomicU64::new(0);
    if buffers.is_empty() {
        return None;
    }
    let vectors: Vec<libc::iovec> = buffers
        .iter_mut()
        .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() })
        .collect();
    // SAFETY: registering only pins the pages, and the kernel keeps its own reference to them until the ring is gone,
    // so a buffer dropped earlier leaves nothing dangling. They are written to only by requests, and each of those
    // owns its `Buffer` until its completion (see `Uring`).
    match unsafe { ring.submitter().register_buffers(&vectors) } {
        Ok(()) => {
            let ring = RINGS.fetch_add(1, Ordering::Relaxed);
            for (index, buffer) in (0u16..).zip(buffers.iter_mut()) {
                buffer.set_registration(Registration { ring, index });
            }
            Some(ring)
        }
        Err(source) => {
            let bytes: usize = vectors.iter().map(|vector| vector.iov_len).sum();
            let hint = match source.raw_os_error() {
                Some(libc::ENOMEM | libc::EPERM) => LOCKED_MEMORY,
                _ => "",
            };
            explain(why, &format!("buffers of {bytes} bytes not registered: {source}{hint}"));
            None
        }
    }
}

fn explain(why: &mut String, reason: &str) {
    if !why.is_empty() {
        why.push_str("; ");
    }
    why.push_str(reason);
}

/// A ring from every rung, the best first: what older kernels would give.
#[cfg(test)]
pub(in crate::ring) fn every_rung(depth: u32) -> Vec<io::Result<Ready>> {
    (0..LADDER.len()).map(|first| climb_down(&LADDER[first..], depth)).collect()
}
