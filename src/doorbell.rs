//! The doorbell of one thread: an eventfd that its ring watches and its peers write.
//!
//! Home: the ring's thread watches, any thread rings. The counter in the eventfd is never read: the ring polls it
//! edge-triggered (one completion for a write), and polling it anew after the kernel ended the poll reports at once, so
//! no ring of the bell is lost. It would take 2^64 rings to fill it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};

/// A handle that wakes one parked ring. Cheap to clone, and any thread may hold one.
#[derive(Clone, Debug)]
pub struct Doorbell {
    fd: Arc<OwnedFd>,
}

impl Doorbell {
    /// # Errors
    /// The process or the machine is out of descriptors (`EMFILE`, `ENFILE`).
    pub fn new() -> io::Result<Doorbell> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Doorbell { fd: Arc::new(OwnedFd::from(event)) })
    }

    /// Wakes the ring if it is parked; else its next turn reports a doorbell. One system call: a peer should test first
    /// whether the ring's thread sleeps at all.
    pub fn ring(&self) {
        // An eventfd write of 8 bytes can only fail with EAGAIN, when the counter is full: then it is readable and
        // the ring is awake.
        let _ = nix::unistd::write(&*self.fd, &1_u64.to_ne_bytes());
    }
}

#[cfg(test)]
impl Doorbell {
    /// How often it was rung since this was last asked, after waiting so long for a first time. In place of a ring.
    pub(crate) fn rings(&self, timeout: nix::poll::PollTimeout) -> u64 {
        use nix::poll::{PollFd, PollFlags, poll};
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut fds, timeout).unwrap();
        let mut count = [0; 8];
        if ready > 0 {
            nix::unistd::read(&*self.fd, &mut count).unwrap();
        }
        u64::from_ne_bytes(count)
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Doorbell {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
