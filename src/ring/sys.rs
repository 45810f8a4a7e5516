//! System calls that have no safe wrapper.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc;

/// pwritev2(2) with RWF_DSYNC: durable when it returns, without a flush of everything else.
pub(super) fn pwrite_dsync(file: impl AsFd, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
    let vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the caller's borrow of `bytes` outlives the call, and the kernel keeps nothing of it afterwards; a
    // write only reads from `iov_base`, so the cast to mut is never used as such. `file` is open for as long.
    let written = unsafe { libc::pwritev2(file.as_fd().as_raw_fd(), &vector, 1, offset, libc::RWF_DSYNC) };
    Errno::result(written).map(|written| usize::try_from(written).expect("not negative"))
}

/// ioprio_get(2) of this process; 0, which stands for none, where it does not tell.
pub(super) fn own_io_priority() -> u16 {
    const WHO_PROCESS: libc::c_int = 1;
    // SAFETY: it takes three numbers and touches no memory of ours; 0 is the caller.
    let told = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) };
    u16::try_from(told).unwrap_or(0)
}
