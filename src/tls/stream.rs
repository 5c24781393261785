//! One TLS connection without its socket: bytes in, plaintext out, and the other way round.
//!
//! Home: one shard. Invariants:
//! - Between two records nothing is kept of what was received; within one at most a record's bytes are, and as much
//!   for a handshake message in parts (`RECORD_BYTES_MAX`).
//! - How the peer's bytes were cut on their way does not show in what comes out.
//! - What waits to go out goes before anything that is encrypted after it: the peer counts records.
//! - Peers cause faults, never panics.

use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::{Error, InvalidMessage, ServerConfig};

use super::fault::Fault;
use super::records::{self, RECORD_BYTES_MAX};

/// A server's end of a TLS connection.
pub struct Stream {
    connection: UnbufferedServerConnection,
    /// What was received of an incomplete record, and before it of an incomplete handshake message.
    kept: Vec<u8>,
    /// Where the incomplete record begins in `kept`.
    record_start: usize,
    /// Handshake flights and alerts, protected already, in their order.
    outgoing: Vec<u8>,
    phase: Phase,
    peer: Peer,
}

/// A `close_notify`, protected: 31 bytes at most.
const CLOSE_NOTIFY_BYTES_MAX: usize = 64;

/// An unprotected fatal alert of TLS 1.2 and below (RFC 5246 §7.2): decode_error.
const ALERT_DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing was answered yet: an alert would go out unprotected.
    Greeting,
    Handshaking,
    Established,
    /// Only what waits to go out is left.
    Ended,
}

/// What came of some received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Answers that the handshake took: each costs as much time as the bytes of many messages.
    pub flights: u32,
    pub peer: Peer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Sends,
    /// `close_notify` came (RFC 8446 §6.1): what follows it is not looked at. The peer may still read.
    Closed,
}

impl Stream {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(config: &Arc<ServerConfig>) -> Stream {
        let connection = UnbufferedServerConnection::new(Arc::clone(config))
            .expect("invariant: only a fragment size out of its range fails, and none is set");
        Stream {
            connection,
            kept: Vec::new(),
            record_start: 0,
            outgoing: Vec::new(),
            phase: Phase::Greeting,
            peer: Peer::Sends,
        }
    }

    /// Whether plaintext may go out.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.phase == Phase::Established
    }

    /// Whether handshake or alert bytes wait for [`Stream::take_outgoing`].
    #[must_use]
    pub fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// How many they are.
    #[must_use]
    pub fn outgoing_bytes(&self) -> usize {
        self.outgoing.len()
    }

    /// Bytes of memory that it holds beside what it is and the keys are: none while it is idle.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.kept.capacity() + self.outgoing.capacity()
    }

    /// Received bytes, decrypted in place; `on_plain` is given the plaintext of each record, in `scratch`, for it to
    /// be changed.
    ///
    /// # Errors
    /// The connection is over. What waits to go out, an alert as a rule, may still be sent.
    pub fn receive(
        &mut self,
        mut bytes: &mut [u8],
        scratch: &mut Vec<u8>,
        mut on_plain: impl FnMut(&mut [u8]),
    ) -> Result<Progress, Fault> {
        let mut turn = Turn { scratch, on_plain: &mut on_plain, flights: 0 };
        let mut kept = std::mem::take(&mut self.kept);
        while !kept.is_empty() && !bytes.is_empty() && self.is_listening() {
            let missing = records::missing_bytes(&kept[self.record_start..]);
            let (next, rest) = bytes.split_at_mut(missing.min(bytes.len()));
            kept.extend_from_slice(next);
            bytes = rest;
            if kept.len() > RECORD_BYTES_MAX {
                return Err(self.refuse_long_handshake());
            }
            let consumed = self.process(&mut kept, self.record_start, &mut turn)?;
            kept.drain(..consumed);
        }
        if kept.is_empty() && !bytes.is_empty() && self.is_listening() {
            let consumed = self.process(bytes, 0, &mut turn)?;
            kept.extend_from_slice(&bytes[consumed..]);
            if kept.len() > RECORD_BYTES_MAX {
                return Err(self.refuse_long_handshake());
            }
        }
        // An empty one gives its memory back.
        self.kept = if kept.is_empty() || !self.is_listening() { Vec::new() } else { kept };
        Ok(Progress { flights: turn.flights, peer: self.peer })
    }

    /// Moves what waits to go out into `out` and says how much it was; all of it has gone once
    /// [`Stream::has_outgoing`] says so.
    pub fn take_outgoing(&mut self, out: &mut [u8]) -> usize {
        let taken = self.outgoing.len().min(out.len());
        out[..taken].copy_from_slice(&self.outgoing[..taken]);
        if taken == self.outgoing.len() {
            self.outgoing = Vec::new();
        } else {
            self.outgoing.drain(..taken);
        }
        taken
    }

    /// Protects `plain` into `out` and says how many bytes that took. [`super::plain_bytes_max`] says what fits.
    ///
    /// # Errors
    /// The connection is over: its keys are used up.
    ///
    /// # Panics
    /// If it is not established, if something waits to go out before, or if `plain` does not fit.
    pub fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, Fault> {
        assert!(self.is_established() && self.outgoing.is_empty(), "the handshake and its bytes go first");
        assert!(plain.len() <= records::plain_bytes_max(out.len()), "no more than fits");
        // Nothing new is in `kept`, but rustls may point into it.
        let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut self.kept);
        let encrypted = match state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic.encrypt(plain, out),
            // rustls has something to say before; it says everything while it receives.
            _ => Err(EncryptError::EncryptExhausted),
        };
        match encrypted {
            Ok(written) => Ok(written),
            Err(EncryptError::EncryptExhausted) => Err(self.end(Fault::KeysExhausted)),
            Err(EncryptError::InsufficientSize(size)) => {
                unreachable!(
                    "invariant: what fits by `plain_bytes_max` fits, not {} bytes for {}",
                    size.required_size,
                    plain.len()
                )
            }
        }
    }

    /// Says that nothing more comes from here (RFC 8446 §6.1); before the handshake is done there is nobody to say it
    /// to.
    pub fn close_notify(&mut self) {
        if self.phase != Phase::Established {
            return;
        }
        self.phase = Phase::Ended;
        let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut self.kept);
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = state {
            let mut alert = [0; CLOSE_NOTIFY_BYTES_MAX];
            if let Ok(written) = traffic.queue_close_notify(&mut alert) {
                self.outgoing.extend_from_slice(&alert[..written]);
            }
        }
    }

    fn is_listening(&self) -> bool {
        self.phase != Phase::Ended && self.peer == Peer::Sends
    }

    /// Takes rustls through `buffer`, whose records before `record_start` it has seen; returns how much of its front is
    /// done with, and remembers where the incomplete record is behind it.
    fn process(
        &mut self,
        buffer: &mut [u8],
        record_start: usize,
        turn: &mut Turn<'_>,
    ) -> Result<usize, Fault> {
        let whole = record_start + records::whole_bytes(&buffer[record_start..]);
        let mut consumed = 0;
        loop {
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(&mut buffer[consumed..]);
            let mut is_idle = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record =
                            record.expect("invariant: rustls decrypts a record before it hands it out");
                        turn.hand_on(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode(data, &mut self.outgoing);
                    if self.phase == Phase::Greeting {
                        self.phase = Phase::Handshaking;
                    }
                }
                Ok(ConnectionState::TransmitTlsData(flight)) => {
                    turn.flights += u32::from(self.phase == Phase::Handshaking);
                    flight.done();
                }
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.phase = Phase::Established;
                    is_idle = true;
                }
                Ok(ConnectionState::BlockedHandshake) => is_idle = true,
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.peer = Peer::Closed;
                    is_idle = true;
                }
                Ok(state) => unreachable!(
                    "invariant: all states but that of early data, which is not offered: {state:?}"
                ),
                Err(error) => {
                    return Err(self.end(self.fault_of(&error)));
                }
            }
            consumed += discard;
            if is_idle {
                self.record_start = whole - consumed;
                return Ok(consumed);
            }
        }
    }

    fn fault_of(&self, error: &Error) -> Fault {
        match self.phase {
            // In place of a ClientHello came what is no record, or one too long.
            Phase::Greeting if matches!(error, Error::InvalidMessage(_)) => Fault::NotTls,
            Phase::Greeting | Phase::Handshaking | Phase::Established | Phase::Ended => fault_of(error),
        }
    }

    /// Gathers the alert that rustls has for the peer. It must not see any bytes after a fault: it would find it again.
    fn end(&mut self, fault: Fault) -> Fault {
        self.phase = Phase::Ended;
        while self.connection.wants_write()
            && let UnbufferedStatus { state: Ok(ConnectionState::EncodeTlsData(data)), .. } =
                self.connection.process_tls_records(&mut [])
        {
            encode(data, &mut self.outgoing);
        }
        fault
    }

    /// rustls would wait for the rest of the message.
    fn refuse_long_handshake(&mut self) -> Fault {
        if self.phase == Phase::Greeting {
            self.outgoing.extend_from_slice(&ALERT_DECODE_ERROR);
        }
        self.phase = Phase::Ended;
        Fault::HandshakeTooLong
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("phase", &self.phase)
            .field("kept_bytes", &self.kept.len())
            .field("outgoing_bytes", &self.outgoing.len())
            .finish_non_exhaustive()
    }
}

/// What one call of [`Stream::receive`] hands down.
struct Turn<'a> {
    scratch: &'a mut Vec<u8>,
    on_plain: &'a mut dyn FnMut(&mut [u8]),
    flights: u32,
}

impl Turn<'_> {
    fn hand_on(&mut self, plain: &[u8]) {
        if !plain.is_empty() {
            self.scratch.clear();
            self.scratch.extend_from_slice(plain);
            (self.on_plain)(self.scratch);
        }
    }
}

fn encode<Side>(mut data: EncodeTlsData<'_, Side>, outgoing: &mut Vec<u8>) {
    let begin = outgoing.len();
    let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else {
        return;
    };
    outgoing.resize(begin + size.required_size, 0);
    let encoded = data.encode(&mut outgoing[begin..]);
    assert!(encoded.is_ok(), "it was given the room it asked for");
}

/// What rustls found. `Error` grows with its versions: what has no name here is misbehaviour.
#[expect(clippy::wildcard_enum_match_arm, reason = "rustls has one error type for all it does")]
fn fault_of(error: &Error) -> Fault {
    match error {
        Error::InvalidMessage(InvalidMessage::MessageTooLarge) | Error::PeerSentOversizedRecord => {
            Fault::RecordTooLong
        }
        Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge) => Fault::HandshakeTooLong,
        Error::PeerIncompatible(_) => Fault::NothingInCommon,
        Error::NoApplicationProtocol => Fault::NoApplicationProtocol,
        Error::DecryptError => Fault::BadRecord,
        Error::AlertReceived(_) => Fault::AlertReceived,
        _ => Fault::Misbehaved,
    }
}
