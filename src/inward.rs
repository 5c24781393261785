//! Connections from within the process: control calls methods in a client's name as any client does, over HTTP, on a socketpair whose
//! other end a shard's ring takes.
//!
//! Home: the shard has its [`InwardPort`], the control thread [`Inward`]. Invariants: nobody waits for the other side: where the queue
//! is full the socket is closed, which its other end sees; who calls has no more rights than what it shows gives it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rtrb::{Consumer, Producer, RingBuffer};
use tokio::sync::Mutex;

use crate::auth::Reach;
use crate::doorbell::Doorbell;
use crate::limits;

/// A connection on its way to a shard.
#[derive(Debug)]
pub struct Inbound {
    pub socket: OwnedFd,
    /// From where the client comes in whose name it is, and by what address if it has one.
    pub reach: Reach,
    pub peer: Option<SocketAddr>,
}

/// The shard's end.
#[derive(Debug)]
pub struct InwardPort {
    queue: Consumer<Inbound>,
}

/// The control thread's end.
#[derive(Debug)]
pub struct Inward {
    queue: Mutex<Producer<Inbound>>,
    doorbell: Doorbell,
}

/// Both ends, for the shard with this doorbell, which is to take its own.
#[must_use]
pub fn ends(doorbell: Doorbell) -> (Inward, Option<InwardPort>) {
    let (queue, taken) = RingBuffer::new(limits::INWARD_CONNECTIONS_MAX);
    (Inward { queue: Mutex::new(queue), doorbell }, Some(InwardPort { queue: taken }))
}

impl InwardPort {
    /// The next connection that is handed in.
    pub fn receive(&mut self) -> Option<Inbound> {
        self.queue.pop().ok()
    }
}

impl Inward {
    /// A connection to the shard, for a client that comes from there. It is not known to be taken before it is answered on.
    ///
    /// # Errors
    /// The process is out of descriptors, or as many connections wait to be taken as may.
    pub async fn connect(&self, reach: Reach, peer: Option<SocketAddr>) -> io::Result<UnixStream> {
        let (own, theirs) = UnixStream::pair()?;
        own.set_nonblocking(true)?;
        let inbound = Inbound { socket: theirs.into(), reach, peer };
        if self.queue.lock().await.push(inbound).is_err() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.doorbell.ring();
        Ok(own)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use nix::poll::PollTimeout;

    use super::*;

    #[test]
    fn a_connection_rings_for_its_shard_and_one_too_many_is_refused() {
        let bell = Doorbell::new().unwrap();
        let (inward, port) = ends(bell.clone());
        let mut port = port.unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let connect = || runtime.block_on(inward.connect(Reach::Anywhere, None));
        let mut own: Vec<UnixStream> =
            (0..limits::INWARD_CONNECTIONS_MAX).map(|_| connect().unwrap()).collect();
        assert_eq!(bell.rings(PollTimeout::ZERO), limits::INWARD_CONNECTIONS_MAX as u64);
        assert_eq!(connect().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let Inbound { socket, reach, peer } = port.receive().unwrap();
        assert_eq!((reach, peer), (Reach::Anywhere, None));
        drop(socket);
        assert_eq!(own[0].read(&mut [0; 1]).unwrap(), 0, "who is not taken sees the end");
        connect().unwrap();
    }
}
