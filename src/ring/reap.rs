//! From a completion to an event: what each operation's end means for its connection.
//!
//! Home: one shard. Invariant: every buffer a completion carries is kept for the caller or goes back to the kernel, also
//! when its connection is gone.

use nix::errno::Errno;

use super::Ring;
use super::event::{Event, ListenerId};
use super::queue::Completion;
use super::received::Ending;
use super::socket::{Cancel, Found, Phase, Reading, Shutdown, Socket};
use super::token::{Operation, Token, next_generation};
use crate::model::ids::ConnId;

/// What a completion comes to.
pub(super) enum Reaped {
    Nothing,
    Event(Event<'static>),
    /// It brought a buffer, which waits for the caller.
    Kept,
}

impl Ring {
    pub(super) fn reap(&mut self, completion: Completion) -> Reaped {
        let reaped = match Token::from_bits(completion.bits) {
            None => self.reap_stale(),
            Some(token) => match token.operation {
                Operation::Accept => self.reap_accept(token, &completion),
                Operation::CancelAccept => {
                    self.acceptors[token.slot as usize].cancel_completed(token.generation);
                    self.accept_due = true;
                    Reaped::Nothing
                }
                Operation::Doorbell => self.reap_doorbell(&completion),
                Operation::Connect => self.reap_connect(token.slot, &completion),
                Operation::CancelConnect => {
                    self.connector.cancel_completed(token.slot, found(&completion));
                    Reaped::Nothing
                }
                Operation::Install => self.reap_install(token.slot, &completion),
                Operation::Receive
                | Operation::CancelReceive
                | Operation::Send
                | Operation::CancelSend
                | Operation::Shutdown
                | Operation::Close => self.reap_socket(token, &completion),
            },
        };
        // Whatever became of it, a buffer that is not kept for the caller goes back.
        if let Some(buffer) = completion.buffer
            && !matches!(reaped, Reaped::Kept)
        {
            self.receive_buffers.give_back(buffer);
        }
        reaped
    }

    const fn reap_stale(&mut self) -> Reaped {
        self.counters.completions_stale_total += 1;
        Reaped::Nothing
    }

    fn reap_doorbell(&mut self, completion: &Completion) -> Reaped {
        if !completion.more {
            self.watch_doorbell();
        }
        self.counters.doorbells_total += 1;
        Reaped::Event(Event::Doorbell)
    }

    fn reap_accept(&mut self, token: Token, completion: &Completion) -> Reaped {
        self.accept_due = true;
        #[expect(clippy::cast_possible_truncation, reason = "listen bounds it by LISTENERS_MAX")]
        let listener = ListenerId(token.slot as u8);
        let acceptor = &mut self.acceptors[token.slot as usize];
        match acceptor.completed(token.generation, completion, self.now_ns) {
            Ok(Some((file, peer))) => {
                self.counters.accepted_total += 1;
                Reaped::Event(Event::Accepted { conn: self.open(file), listener, peer })
            }
            Ok(None) => Reaped::Nothing,
            Err(errno) => {
                self.counters.accepts_failed_total += 1;
                Reaped::Event(Event::AcceptFailed { listener, errno })
            }
        }
    }

    pub(super) fn open(&mut self, file: u32) -> ConnId {
        self.generation = next_generation(self.generation);
        let generation = self.generation;
        let slot = self.sockets.insert(Socket::new(generation, file));
        let slot = u32::try_from(slot).expect("invariant: there are fewer sockets than direct descriptors");
        self.advance(slot);
        ConnId { slot, generation }
    }

    fn reap_socket(&mut self, token: Token, completion: &Completion) -> Reaped {
        let conn = ConnId { slot: token.slot, generation: token.generation };
        let Some(socket) = super::find(&mut self.sockets, conn) else { return self.reap_stale() };
        if !completion.more {
            assert!(socket.operations > 0, "an operation completes once");
            socket.operations -= 1;
        }
        let found = found(completion);
        let reaped = match token.operation {
            Operation::Receive => self.reap_receive(conn, completion),
            Operation::Send => self.reap_send(conn, completion),
            Operation::CancelReceive => {
                socket.receive_cancel_ended(found);
                Reaped::Nothing
            }
            Operation::CancelSend => {
                socket.send_cancel_ended(found);
                Reaped::Nothing
            }
            Operation::Shutdown => {
                socket.shutdown = Shutdown::Done;
                if completion.result < 0 && socket.phase == Phase::Finishing {
                    socket.phase = Phase::Aborting;
                }
                Reaped::Nothing
            }
            Operation::Close => self.reap_close(conn, completion),
            Operation::Accept
            | Operation::CancelAccept
            | Operation::Doorbell
            | Operation::Connect
            | Operation::CancelConnect
            | Operation::Install => {
                unreachable!("invariant: `reap` hands only a connection's operations on")
            }
        };
        self.advance(conn.slot);
        if self.sockets[conn.slot as usize].is_over() {
            return self.free(conn);
        }
        reaped
    }

    fn reap_receive(&mut self, conn: ConnId, completion: &Completion) -> Reaped {
        let socket = &mut self.sockets[conn.slot as usize];
        if !completion.more {
            socket.receive_ended();
            self.counters.receives_rearmed_total += u64::from(socket.reading == Reading::Wanted);
        }
        let open = socket.phase == Phase::Open;
        let ending = match (completion.outcome(), completion.buffer) {
            (Ok(length @ 1..), Some(buffer)) => {
                self.counters.receives_total += 1;
                self.counters.received_bytes_total += u64::from(length);
                if !open {
                    return Reaped::Nothing;
                }
                self.received.add(conn, &mut socket.waiting, buffer, length);
                if !socket.is_full && socket.waiting.buffers() >= self.receive_buffers_each_max {
                    socket.is_full = true;
                    self.counters.receives_full_total += 1;
                }
                return Reaped::Kept;
            }
            // Bytes without a buffer cannot be; the end of the stream is 0.
            (Ok(_), _) => Ending::Eof,
            (Err(Errno::ENOBUFS), _) => {
                self.counters.receives_starved_total += 1;
                return Reaped::Nothing;
            }
            // Cancelled by us, or to be tried again.
            (Err(Errno::ECANCELED | Errno::EINTR | Errno::EAGAIN), _) => return Reaped::Nothing,
            (Err(errno), _) => Ending::Failed(errno),
        };
        socket.reading = Reading::Ended;
        if open {
            self.received.end(conn, &mut socket.waiting, ending);
        }
        Reaped::Nothing
    }

    fn reap_send(&mut self, conn: ConnId, completion: &Completion) -> Reaped {
        let socket = &mut self.sockets[conn.slot as usize];
        let send = socket.send.as_mut().expect("invariant: a send completes while it is in flight");
        let failed = match completion.outcome() {
            Ok(0) => Some(Errno::EPIPE),
            Ok(taken_bytes) => {
                send.taken_bytes += taken_bytes;
                assert!(send.taken_bytes <= send.length_bytes, "the kernel takes no more than it was given");
                self.counters.sent_bytes_total += u64::from(taken_bytes);
                None
            }
            Err(Errno::EINTR | Errno::EAGAIN) => None,
            Err(errno) => Some(errno),
        };
        let (complete, phase) = (send.taken_bytes == send.length_bytes, socket.phase);
        if failed.is_none() && !complete && phase != Phase::Aborting {
            self.counters.sends_short_total += 1;
            self.submit_send(conn.slot);
            return Reaped::Nothing;
        }
        if let Some(send) = socket.send.take() {
            self.send_buffers.release(send.buffer);
        }
        if socket.send_cancel == Cancel::Taken {
            socket.send_cancel = Cancel::None;
        }
        match (failed, phase) {
            (None, Phase::Open) => Reaped::Event(Event::Sent(conn)),
            (Some(errno), Phase::Open) => {
                self.counters.sends_failed_total += 1;
                Reaped::Event(Event::SendFailed { conn, errno })
            }
            (Some(_), Phase::Finishing) => {
                self.counters.sends_failed_total += 1;
                socket.phase = Phase::Aborting;
                Reaped::Nothing
            }
            (_, Phase::Finishing | Phase::Aborting | Phase::Closing | Phase::Closed) => Reaped::Nothing,
        }
    }

    fn reap_close(&mut self, conn: ConnId, completion: &Completion) -> Reaped {
        let socket = &mut self.sockets[conn.slot as usize];
        match completion.outcome() {
            Ok(_) => socket.phase = Phase::Closed,
            Err(Errno::ENOMEM | Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => {
                // `advance` asks again: nothing else is in flight.
                socket.phase = Phase::Aborting;
                self.counters.closes_failed_total += 1;
            }
            Err(_) => {
                socket.phase = Phase::Closed;
                self.counters.closes_failed_total += 1;
            }
        }
        Reaped::Nothing
    }

    fn free(&mut self, conn: ConnId) -> Reaped {
        let socket = self.sockets.remove(conn.slot as usize);
        assert!(socket.send.is_none() && !socket.receive_armed, "nothing is in flight for a free slot");
        assert!(socket.waiting.buffers() == 0, "nothing waits of a free slot");
        self.counters.closed_total += 1;
        self.slot_freed();
        Reaped::Event(Event::Closed(conn))
    }

    /// A slot is free, which may be what accepting waited for.
    pub(super) fn slot_freed(&mut self) {
        self.accept_due = true;
        for acceptor in &mut self.acceptors {
            acceptor.slot_freed();
        }
    }
}

/// Whether the cancel that this completes found something.
fn found(completion: &Completion) -> Found {
    if completion.outcome().is_ok_and(|count| count > 0) { Found::Some } else { Found::None }
}
