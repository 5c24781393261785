//! One connection as the ring sees it: what is armed, what is in flight, how far its closing has come.
//!
//! Home: one shard. PURE: decides the next operation, submits nothing.
//! Invariant: `operations` counts submissions whose last completion was not reaped yet; the slot is freed at 0 only.

use super::buffers::SendBuffer;
use super::received::Waiting;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// In use by the caller.
    Open,
    /// Closing gracefully: what was sent goes out, then our end is shut, then the peer's end is awaited.
    Finishing,
    /// Closing at once: everything in flight is cancelled.
    Aborting,
    /// Nothing else is in flight; the direct descriptor is being closed.
    Closing,
    /// The direct descriptor is closed.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Wanted,
    Paused,
    /// The peer's end is shut, or receiving failed.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancel {
    None,
    /// Submitted; its own completion is outstanding.
    Asked,
    /// The kernel found the operation: its last completion will come.
    Taken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shutdown {
    None,
    Asked,
    Done,
}

#[derive(Debug)]
pub(super) struct SendInFlight {
    pub(super) buffer: SendBuffer,
    /// Bytes the kernel took so far, below `length_bytes`.
    pub(super) taken_bytes: u32,
    pub(super) length_bytes: u32,
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) generation: u32,
    /// Index in the ring's table of direct descriptors.
    pub(super) file: u32,
    pub(super) phase: Phase,
    pub(super) reading: Reading,
    pub(super) receive_armed: bool,
    pub(super) receive_cancel: Cancel,
    /// What was received and not taken.
    pub(super) waiting: Waiting,
    /// So much waits that no more is received until some of it was taken.
    pub(super) is_full: bool,
    pub(super) send: Option<SendInFlight>,
    pub(super) send_cancel: Cancel,
    pub(super) shutdown: Shutdown,
    pub(super) operations: u8,
}

/// What a socket needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    ArmReceive,
    CancelReceive,
    CancelSend,
    Shutdown,
    Close,
}

impl Socket {
    pub(super) const fn new(generation: u32, file: u32) -> Socket {
        Socket {
            generation,
            file,
            phase: Phase::Open,
            reading: Reading::Wanted,
            receive_armed: false,
            receive_cancel: Cancel::None,
            waiting: Waiting::NOTHING,
            is_full: false,
            send: None,
            send_cancel: Cancel::None,
            shutdown: Shutdown::None,
            operations: 0,
        }
    }

    /// The next operation to submit; ask again after each until it is `Nothing`.
    pub(super) const fn next(&self) -> Next {
        match self.phase {
            Phase::Open => self.next_of_receive(),
            Phase::Finishing => self.next_of_finish(),
            Phase::Aborting => self.next_of_abort(),
            Phase::Closing | Phase::Closed => Next::Nothing,
        }
    }

    const fn next_of_receive(&self) -> Next {
        let wanted = matches!(self.reading, Reading::Wanted) && !self.is_full;
        match (wanted, self.receive_armed, self.receive_cancel) {
            _ if matches!(self.reading, Reading::Ended) => Next::Nothing,
            // Never beside a cancel on its way, which would hit the new receive.
            (true, false, Cancel::None) => Next::ArmReceive,
            (false, true, Cancel::None) => Next::CancelReceive,
            (true | false, _, _) => Next::Nothing,
        }
    }

    const fn next_of_finish(&self) -> Next {
        if matches!(self.shutdown, Shutdown::None) && self.send.is_none() {
            return Next::Shutdown;
        }
        if matches!(self.shutdown, Shutdown::Done) && matches!(self.reading, Reading::Ended) {
            return Next::Close;
        }
        self.next_of_receive()
    }

    const fn next_of_abort(&self) -> Next {
        if self.receive_armed && matches!(self.receive_cancel, Cancel::None) {
            Next::CancelReceive
        } else if self.send.is_some() && matches!(self.send_cancel, Cancel::None) {
            Next::CancelSend
        } else if !self.receive_armed && self.send.is_none() && !matches!(self.shutdown, Shutdown::Asked) {
            Next::Close
        } else {
            Next::Nothing
        }
    }

    /// The caller closes gracefully: reading goes on to the peer's end, whether or not it was paused.
    pub(super) fn finish(&mut self) {
        self.phase = Phase::Finishing;
        if self.reading == Reading::Paused {
            self.reading = Reading::Wanted;
        }
    }

    /// The last completion of the receive was reaped.
    pub(super) fn receive_ended(&mut self) {
        self.receive_armed = false;
        if self.receive_cancel == Cancel::Taken {
            self.receive_cancel = Cancel::None;
        }
    }

    /// The cancel of the receive completed. One that found nothing although the receive is armed (the kernel was just
    /// moving it) is asked for again.
    pub(super) fn receive_cancel_ended(&mut self, found: Found) {
        self.receive_cancel = cancelled(found, self.receive_armed);
    }

    pub(super) fn send_cancel_ended(&mut self, found: Found) {
        self.send_cancel = cancelled(found, self.send.is_some());
    }

    /// Whether the slot can go to another connection.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Closed && self.operations == 0
    }
}

/// Whether a cancel found an operation to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Some,
    None,
}

/// How far a cancel is after its completion: taken while the completion of what it found is outstanding.
pub(super) const fn cancelled(found: Found, outstanding: bool) -> Cancel {
    match found {
        Found::Some if outstanding => Cancel::Taken,
        Found::Some | Found::None => Cancel::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Socket {
        let mut socket = Socket::new(1, 0);
        socket.receive_armed = true;
        socket
    }

    #[test]
    fn a_new_socket_receives() {
        assert_eq!(Socket::new(1, 0).next(), Next::ArmReceive);
        assert_eq!(open().next(), Next::Nothing);
    }

    #[test]
    fn a_pause_cancels_and_a_resume_waits_for_the_cancel() {
        let mut socket = open();
        socket.reading = Reading::Paused;
        assert_eq!(socket.next(), Next::CancelReceive);
        socket.receive_cancel = Cancel::Asked;
        socket.receive_ended();
        socket.reading = Reading::Wanted;
        assert_eq!(socket.next(), Next::Nothing);
        socket.receive_cancel_ended(Found::Some);
        assert_eq!(socket.next(), Next::ArmReceive);
    }

    #[test]
    fn who_has_sent_its_share_is_not_received_from_until_that_is_taken() {
        let mut socket = open();
        socket.is_full = true;
        assert_eq!(socket.next(), Next::CancelReceive);
        socket.receive_cancel = Cancel::Asked;
        socket.receive_cancel_ended(Found::Some);
        socket.receive_ended();
        assert_eq!(socket.next(), Next::Nothing);
        socket.is_full = false;
        assert_eq!(socket.next(), Next::ArmReceive);
        socket.reading = Reading::Ended;
        assert_eq!(socket.next(), Next::Nothing);
    }

    #[test]
    fn a_cancel_that_found_nothing_is_asked_for_again() {
        let mut socket = open();
        socket.phase = Phase::Aborting;
        socket.receive_cancel = Cancel::Asked;
        socket.receive_cancel_ended(Found::None);
        assert_eq!(socket.next(), Next::CancelReceive);
        socket.receive_cancel_ended(Found::Some);
        assert_eq!(socket.next(), Next::Nothing);
        socket.receive_ended();
        assert_eq!(socket.next(), Next::Close);
    }

    #[test]
    fn a_graceful_close_shuts_then_awaits_the_peer_then_closes() {
        let mut socket = open();
        socket.finish();
        assert_eq!(socket.next(), Next::Shutdown);
        socket.shutdown = Shutdown::Asked;
        assert_eq!(socket.next(), Next::Nothing);
        socket.shutdown = Shutdown::Done;
        assert_eq!(socket.next(), Next::Nothing);
        socket.receive_ended();
        socket.reading = Reading::Ended;
        assert_eq!(socket.next(), Next::Close);
    }

    #[test]
    fn an_abort_waits_for_a_shutdown_on_its_way() {
        let mut socket = open();
        socket.finish();
        socket.shutdown = Shutdown::Asked;
        socket.phase = Phase::Aborting;
        socket.receive_ended();
        assert_eq!(socket.next(), Next::Nothing);
        socket.shutdown = Shutdown::Done;
        assert_eq!(socket.next(), Next::Close);
    }

    #[test]
    fn a_slot_is_over_when_nothing_is_outstanding() {
        let mut socket = open();
        socket.phase = Phase::Closed;
        socket.operations = 1;
        assert!(!socket.is_over());
        socket.operations = 0;
        assert!(socket.is_over());
    }
}
