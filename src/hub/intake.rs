//! What a connection receives, whichever way its messages are framed. PURE. Home: one connection.
//!
//! Invariant: which framing it is, its listener says, and that stays.

use std::borrow::Cow;

use super::listener::Framing;
use crate::binary_tcp;
use crate::ws::Fault;
use crate::ws::deflate::{Agreement, Inflaters};
use crate::ws::receiver::{Event, ReceiveLimits, Receiver};

#[derive(Debug)]
pub(super) enum Intake {
    WebSocket(Receiver),
    LengthPrefixed(Box<binary_tcp::Receiver>),
}

const _: () = assert!(size_of::<Intake>() <= 48, "an idle connection's share of memory");

impl Intake {
    pub(super) fn new(framing: Framing, limits: ReceiveLimits) -> Intake {
        match framing {
            Framing::WebSocket => Intake::WebSocket(Receiver::new(limits)),
            Framing::LengthPrefixed => {
                Intake::LengthPrefixed(Box::new(binary_tcp::Receiver::new(message_bytes_max(limits))))
            }
        }
    }

    pub(super) const fn is_length_prefixed(&self) -> bool {
        matches!(self, Intake::LengthPrefixed(_))
    }

    /// See [`Receiver::step_inflating`]. A heartbeat is a pong that nobody asked for: both say that the peer is there.
    #[inline]
    pub(super) fn step<'i>(
        &mut self,
        input: &'i mut [u8],
        inflaters: &mut Inflaters,
    ) -> Result<(usize, Option<Event<'i>>), Fault> {
        match self {
            Intake::WebSocket(receiver) => receiver.step_inflating(input, inflaters),
            Intake::LengthPrefixed(receiver) => match receiver.step(input) {
                Ok((taken, event)) => {
                    let event = event.map(|event| match event {
                        binary_tcp::Event::Text(text) => Event::Text(text),
                        binary_tcp::Event::Binary(bytes) => Event::Binary(bytes),
                        binary_tcp::Event::Heartbeat => Event::Pong(Cow::Borrowed(&[])),
                    });
                    Ok((taken, event))
                }
                Err(binary_tcp::Fault::TooLong) => Err(Fault::MessageTooBig),
                Err(binary_tcp::Fault::NotUtf8) => Err(Fault::TextNotUtf8),
            },
        }
    }

    /// Messages of a WebSocket may be compressed from now on.
    pub(super) fn agree_on_deflate(&mut self, agreement: &Agreement) {
        match self {
            Intake::WebSocket(receiver) => receiver.agree_on_deflate(agreement),
            Intake::LengthPrefixed(_) => {
                unreachable!("invariant: permessage-deflate is agreed on in an upgrade")
            }
        }
    }

    /// Has other limits hold, from the next message on.
    pub(super) fn set_limits(&mut self, limits: ReceiveLimits) {
        match self {
            Intake::WebSocket(receiver) => receiver.set_limits(limits),
            Intake::LengthPrefixed(receiver) => receiver.set_message_bytes_max(message_bytes_max(limits)),
        }
    }

    /// Drops what is incomplete.
    pub(super) fn release(&mut self, inflaters: &mut Inflaters) {
        match self {
            Intake::WebSocket(receiver) => receiver.release(inflaters),
            Intake::LengthPrefixed(receiver) => receiver.release(),
        }
    }

    /// Whether bytes have come of a message, or of a frame, that is not whole.
    #[inline]
    pub(super) fn is_within_message(&self) -> bool {
        match self {
            Intake::WebSocket(receiver) => receiver.is_within_message(),
            Intake::LengthPrefixed(receiver) => receiver.is_within_message(),
        }
    }

    /// Heap bytes held for what is incomplete.
    pub(super) fn incomplete_bytes(&self) -> usize {
        match self {
            Intake::WebSocket(receiver) => receiver.incomplete_bytes(),
            Intake::LengthPrefixed(receiver) => receiver.incomplete_bytes(),
        }
    }

    /// Heap bytes held, for what later messages may refer to as well.
    pub(super) fn buffered_bytes(&self) -> usize {
        match self {
            Intake::WebSocket(receiver) => receiver.buffered_bytes(),
            Intake::LengthPrefixed(receiver) => receiver.incomplete_bytes(),
        }
    }
}

/// A frame is a message here: both bounds hold.
fn message_bytes_max(limits: ReceiveLimits) -> u32 {
    limits.message_bytes_max.min(limits.frame_bytes_max)
}
