//! Hears from the kernel that the target's device was reset or went away. Shell; see [`crate::target::Uevent`] for what
//! counts.

use std::future::pending;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, setsockopt, socket, sockopt,
};
use tokio::io::unix::AsyncFd;

use crate::target::{Lineage, Uevent};

/// The kernel's own messages; group 2 has what udev made of them, later.
const KERNEL: u32 = 1;

/// A message is at most 2 KiB of properties and a path (`UEVENT_BUFFER_SIZE` in `include/linux/kobject.h`).
const MESSAGE: usize = 8 << 10;

/// Room for what comes while nobody listens: some thousand messages of a bus that is scanned.
const BACKLOG: usize = 1 << 20;

pub(super) struct Uevents {
    socket: AsyncFd<OwnedFd>,
    lineage: Lineage,
}

impl Uevents {
    /// Listens from now on. To be called within the runtime.
    pub(super) fn listen(lineage: Lineage) -> io::Result<Uevents> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::NetlinkKObjectUEvent;
        let socket = socket(AddressFamily::Netlink, SockType::Datagram, flags, protocol)?;
        // Root may have more than the administrator's limit; others get what the limit gives.
        if setsockopt(&socket, sockopt::RcvBufForce, &BACKLOG).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &BACKLOG)?;
        }
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL))?;
        #[allow(deprecated, reason = "its successor is unsafe; what it asks for holds: the descriptor lives in there")]
        let socket = AsyncFd::new(socket)?;
        Ok(Uevents { socket, lineage })
    }

    /// Waits until the kernel says something that means a reset; why, in words. Safe to be dropped while it waits.
    pub(super) async fn reset(&mut self) -> String {
        let mut message = [0; MESSAGE];
        loop {
            let Ok(mut ready) = self.socket.readable().await else { return pending().await };
            match recvfrom::<NetlinkAddr>(self.socket.get_ref().as_raw_fd(), &mut message) {
                // Anybody may send to us; only the kernel's own address is 0.
                Ok((length, Some(from))) if from.pid() == 0 => {
                    let uevent = message.get(..length).and_then(Uevent::parse);
                    if let Some(why) = uevent.and_then(|uevent| self.lineage.reset_told_by(&uevent)) {
                        return why;
                    }
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => ready.clear_ready(),
                // Among what was lost there may have been what we wait for. A check too many accuses nobody.
                Err(Errno::ENOBUFS) => {
                    return "messages of the kernel were lost, a reset among them perhaps".to_owned();
                }
                Err(error) => {
                    tracing::error!("the kernel's messages of resets are heard no more: {error}");
                    return pending().await;
                }
            }
        }
    }
}
