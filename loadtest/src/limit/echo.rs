//! The limit of request and reply: a bare ring that counts the bytes of fixed-size request frames and answers each
//! with the same canned frame. It neither unmasks nor reads them. Home: one thread, pinned by whoever starts it.
//! Invariant: one send a socket and turn, for all its replies.

use std::net::TcpListener;

use crate::clock::SECOND_NS;
use crate::failure::Result;
use crate::frame;
use crate::limit::upgrade_answer;
use crate::ring::{Event, Outbox, Ring, Wait};
use crate::wire;

/// What the loop does when nothing is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idle {
    Spin,
    Park,
}

enum Peer {
    /// Before the upgrade: the request so far.
    Upgrading(Vec<u8>),
    /// After it: bytes of the current request frame that have arrived.
    Open(usize),
}

/// Serves until its process is ended.
pub(crate) fn run(
    listener: TcpListener,
    idle: Idle,
    reply: &str,
    request_bytes: Option<usize>,
) -> Result<()> {
    let mut request_frame = Vec::new();
    frame::encode_client(frame::TEXT, wire::TEST_REQUEST.as_bytes(), &mut request_frame);
    let request_bytes = request_bytes.unwrap_or(request_frame.len()).max(1);
    let mut reply_frame = Vec::new();
    frame::encode_server(frame::TEXT, reply.as_bytes(), &mut reply_frame);

    let mut ring = Ring::new()?;
    ring.listen(listener);
    let mut peers: Vec<Peer> = Vec::new();
    let wait = match idle {
        Idle::Spin => Wait::Spin,
        Idle::Park => Wait::ParkNs(SECOND_NS),
    };
    loop {
        ring.turn(wait, |outbox, event| match event {
            Event::Accepted(slot) => {
                assert_eq!(slot, peers.len(), "slots are numbered in order and never reused");
                peers.push(Peer::Upgrading(Vec::new()));
                Ok(())
            }
            Event::Received(slot, bytes) => {
                answer(outbox, slot, &mut peers[slot], bytes, request_bytes, &reply_frame)
            }
            Event::Connected(_) | Event::Closed(..) => Ok(()),
        })?;
    }
}

fn answer(
    outbox: &mut Outbox<'_>,
    slot: usize,
    peer: &mut Peer,
    bytes: &[u8],
    request_bytes: usize,
    reply_frame: &[u8],
) -> Result<()> {
    match peer {
        Peer::Upgrading(request) => {
            request.extend_from_slice(bytes);
            if let Some(answer) = upgrade_answer(request)? {
                outbox.send(slot, answer.as_bytes())?;
                *peer = Peer::Open(0);
            }
        }
        Peer::Open(arrived) => {
            *arrived += bytes.len();
            while request_bytes <= *arrived {
                *arrived -= request_bytes;
                outbox.send(slot, reply_frame)?;
            }
        }
    }
    Ok(())
}
