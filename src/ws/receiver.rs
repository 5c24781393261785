//! The receiving half of a WebSocket: bytes as they come in, events as they are whole.
//!
//! PURE. Home: one connection. Allocates: only for a message or a control frame that arrives in pieces, and for a
//! compressed message's text; the memory leaves with the event. Invariants: `partial` is there only while a payload or a
//! message is incomplete; events and faults depend on the bytes only, not on how they were cut; after a close frame or a
//! fault nothing is looked at; an inflater is held only within a compressed message.

use std::borrow::Cow;

use super::close::{self, CloseFrame};
use super::deflate::{
    Agreement, ClientContextTakeover, History, INFLATER_BYTES, Inflater, Inflaters, WindowBits,
};
use super::frame::{CLIENT_HEADER_BYTES_MAX, FrameHeader, Opcode, Place, decode_header};
use super::mask::unmask;
use super::utf8::{self, TextAssembly, spare_wanted};
use super::{Fault, frame};

/// What a client may send (RFC 6455 §10.4). Each is at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiveLimits {
    /// The payload of one data frame, in bytes, as it comes: compressed, if it is.
    pub frame_bytes_max: u32,
    /// The payload of one message over all its frames, in bytes, inflated: the most memory that a connection can hold.
    pub message_bytes_max: u32,
    /// Frames of one message.
    pub fragments_max: u32,
}

/// What a client has sent. Borrows from the bytes given to [`Receiver::step`] where it arrived whole in them, and is
/// owned where it had to be assembled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'i> {
    /// A text message; UTF-8 is checked, so that nobody after has to.
    Text(Cow<'i, str>),
    /// A binary message.
    Binary(Cow<'i, [u8]>),
    /// To be answered with a pong of the same payload, of at most 125 bytes (§5.5.2).
    Ping(Cow<'i, [u8]>),
    /// An answer to a ping, or a sign of life nobody asked for (§5.5.3).
    Pong(Cow<'i, [u8]>),
    /// The client's last frame. What follows it is ignored.
    Close(CloseFrame<'i>),
}

impl Event<'_> {
    /// Bytes of the payload; none for a close frame.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        match self {
            Event::Text(text) => text.len(),
            Event::Binary(bytes) | Event::Ping(bytes) | Event::Pong(bytes) => bytes.len(),
            Event::Close(_) => 0,
        }
    }
}

/// The receiving state of one connection: 48 bytes while idle, and a window more where its client's context takeover
/// was agreed on.
#[derive(Debug)]
pub struct Receiver {
    limits: ReceiveLimits,
    partial: Option<Box<Partial>>,
    /// What messages may refer to, if it was agreed that they may.
    history: Option<Box<History>>,
    /// The start of a header that was cut.
    head: [u8; CLIENT_HEADER_BYTES_MAX],
    head_bytes: u8,
    /// Whether permessage-deflate is agreed on.
    deflate: bool,
    closed: bool,
}

/// What is held while a payload or a message is incomplete.
#[derive(Debug, Default)]
struct Partial {
    /// The frame whose payload is still arriving, and how much of it has arrived.
    frame: Option<(FrameHeader, usize)>,
    /// The data message whose frames are still arriving. It stays open over control frames.
    message: Option<Assembly>,
    /// What has arrived of a control frame's payload.
    control: Vec<u8>,
}

/// A data message in pieces.
#[derive(Debug)]
struct Assembly {
    content: Content,
    /// Of a compressed message.
    inflater: Option<Inflater>,
    /// Frames that have arrived whole.
    fragments: u32,
}

#[derive(Debug)]
enum Content {
    Text(TextAssembly),
    Binary(Vec<u8>),
}

const _: () = assert!(size_of::<Receiver>() <= 48, "an idle connection's share of memory");

impl Receiver {
    /// Has other limits hold, from the next message on: one that is under way has been admitted by those before, which then
    /// stay.
    pub fn set_limits(&mut self, limits: ReceiveLimits) {
        if self.partial.is_none() {
            self.limits = limits;
        }
    }

    /// A receiver for the bytes that follow the handshake.
    pub fn new(limits: ReceiveLimits) -> Self {
        let ReceiveLimits { frame_bytes_max, message_bytes_max, fragments_max } = limits;
        assert!(
            frame_bytes_max > 0 && message_bytes_max > 0 && fragments_max > 0,
            "a limit of 0 admits nothing"
        );
        Self {
            limits,
            partial: None,
            history: None,
            head: [0; CLIENT_HEADER_BYTES_MAX],
            head_bytes: 0,
            deflate: false,
            closed: false,
        }
    }

    /// From now on messages may be compressed. To be called before the first byte, if the answer to the handshake says
    /// so; from then on [`Receiver::step_inflating`] is to be used.
    pub fn agree_on_deflate(&mut self, agreement: &Agreement) {
        assert!(self.partial.is_none() && self.head_bytes == 0, "agreed on before the first byte");
        self.deflate = true;
        self.history = match agreement.client_context_takeover {
            ClientContextTakeover::Refused => None,
            ClientContextTakeover::Allowed => {
                let window = agreement.client_window_bits.unwrap_or(WindowBits::MAX);
                Some(Box::new(History::new(window)))
            }
        };
    }

    /// [`Receiver::step_inflating`] for a connection without permessage-deflate.
    #[inline]
    pub fn step<'i>(&mut self, input: &'i mut [u8]) -> Result<(usize, Option<Event<'i>>), Fault> {
        assert!(!self.deflate, "permessage-deflate takes inflaters");
        self.step_inflating(input, &mut Inflaters::new(0))
    }

    /// Takes bytes from the front of `input`, unmasking them in place: at most one frame. Gives how many it took and
    /// the event they completed, if any. Call it with the rest until nothing is left; it takes at least one byte
    /// of what is not empty. What a compressed frame has cost beyond its bytes, [`Inflaters::inflated_bytes_total`]
    /// says; it is `message_bytes_max` at most, and a byte.
    ///
    /// After a fault the connection is failed: answer [`Fault::close_code`], give it nothing more.
    #[inline]
    pub fn step_inflating<'i>(
        &mut self,
        input: &'i mut [u8],
        inflaters: &mut Inflaters,
    ) -> Result<(usize, Option<Event<'i>>), Fault> {
        if self.closed {
            return Ok((input.len(), None));
        }
        let outcome = self.advance(input, inflaters);
        if matches!(outcome, Err(_) | Ok((_, Some(Event::Close(_))))) {
            self.closed = true;
            self.release(inflaters);
        }
        outcome
    }

    /// Drops what is incomplete. To be called when the connection is gone, so that the inflaters know what they lent.
    pub fn release(&mut self, inflaters: &mut Inflaters) {
        self.history = None;
        let message = self.partial.take().and_then(|partial| partial.message);
        if let Some(inflater) = message.and_then(|message| message.inflater) {
            inflaters.give_back(inflater);
        }
    }

    /// Whether a close frame or a fault has ended the stream.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether bytes have come of a message, or of a control frame, that is not whole.
    #[inline]
    pub const fn is_within_message(&self) -> bool {
        self.partial.is_some() || self.head_bytes > 0
    }

    /// Heap bytes held for what is incomplete; zero between messages.
    pub fn incomplete_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            let message_bytes = partial.message.as_ref().map_or(0, Assembly::capacity_bytes);
            size_of::<Partial>() + message_bytes + partial.control.capacity()
        })
    }

    /// Heap bytes held: for what is incomplete, and for what later messages may refer to; zero between messages where
    /// they may not.
    pub fn buffered_bytes(&self) -> usize {
        self.incomplete_bytes() + self.history.as_ref().map_or(0, |history| history.capacity_bytes())
    }

    #[inline]
    fn advance<'i>(
        &mut self,
        input: &'i mut [u8],
        inflaters: &mut Inflaters,
    ) -> Result<(usize, Option<Event<'i>>), Fault> {
        if self.partial.as_ref().is_some_and(|partial| partial.frame.is_some()) {
            return self.continue_payload(input, inflaters);
        }
        let Some((header, header_bytes)) = self.take_header(input)? else { return Ok((input.len(), None)) };
        let payload_bytes = self.admit(&header)?;
        let arrived = &mut input[header_bytes..];
        if arrived.len() < payload_bytes {
            self.partial.get_or_insert_default().frame = Some((header, 0));
            let (taken, _) = self.continue_payload(arrived, inflaters)?;
            return Ok((header_bytes + taken, None));
        }
        let payload = &mut arrived[..payload_bytes];
        unmask(payload, header.mask, 0);
        Ok((header_bytes + payload_bytes, self.take_whole(&header, payload, inflaters)?))
    }

    /// Takes a header, or the bytes there are of one. Gives the header and how many bytes of `input` belong to it.
    #[inline]
    fn take_header(&mut self, input: &[u8]) -> Result<Option<(FrameHeader, usize)>, Fault> {
        let place = self.place();
        if self.head_bytes == 0
            && let Some(whole) = decode_header(input, place)?
        {
            return Ok(Some(whole));
        }
        let held = usize::from(self.head_bytes);
        let added = input.len().min(CLIENT_HEADER_BYTES_MAX - held);
        self.head[held..held + added].copy_from_slice(&input[..added]);
        match decode_header(&self.head[..held + added], place)? {
            Some((header, header_bytes)) => {
                self.head_bytes = 0;
                Ok(Some((header, header_bytes - held)))
            }
            None => {
                assert!(added == input.len(), "a header of 14 bytes is whole");
                self.head_bytes =
                    u8::try_from(held + added).expect("invariant: a header has 14 bytes at most");
                Ok(None)
            }
        }
    }

    fn place(&self) -> Place {
        match self.message() {
            Some(_) => Place::WithinMessage,
            None if self.deflate => Place::BeforeCompressible,
            None => Place::BetweenMessages,
        }
    }

    fn message(&self) -> Option<&Assembly> {
        self.partial.as_ref().and_then(|partial| partial.message.as_ref())
    }

    /// Refuses a frame that breaks a limit before any of its payload is kept; gives the payload's length.
    #[inline]
    fn admit(&self, header: &FrameHeader) -> Result<usize, Fault> {
        let payload_bytes = u32::try_from(header.payload_bytes).map_err(|_| Fault::FrameTooBig)?;
        let message = self.message();
        let (held_bytes, fragments) =
            message.map_or((0, 0), |message| (message.content.bytes(), message.fragments));
        // What a compressed frame makes is bounded as it is made.
        let compressed = header.compressed || message.is_some_and(|message| message.inflater.is_some());
        if !header.opcode.is_control() {
            if self.limits.frame_bytes_max < payload_bytes {
                return Err(Fault::FrameTooBig);
            }
            let message_bytes = held_bytes as u64 + header.payload_bytes;
            if !compressed && u64::from(self.limits.message_bytes_max) < message_bytes {
                return Err(Fault::MessageTooBig);
            }
            if self.limits.fragments_max <= fragments {
                return Err(Fault::TooManyFragments);
            }
        }
        Ok(payload_bytes as usize)
    }

    /// Takes a frame whose payload lies whole, and unmasked, in the input.
    #[inline]
    fn take_whole<'i>(
        &mut self,
        header: &FrameHeader,
        payload: &'i [u8],
        inflaters: &mut Inflaters,
    ) -> Result<Option<Event<'i>>, Fault> {
        match header.opcode {
            _ if header.compressed && header.fin => self.inflate_whole(header.opcode, payload, inflaters),
            Opcode::Text if header.fin => {
                let text = utf8::validate(payload).map_err(|_| Fault::TextNotUtf8)?;
                Ok(Some(Event::Text(Cow::Borrowed(text))))
            }
            Opcode::Binary if header.fin => Ok(Some(Event::Binary(Cow::Borrowed(payload)))),
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                self.keep(header, payload, 0, inflaters)?;
                self.finish_frame(header, inflaters)
            }
            Opcode::Ping => Ok(Some(Event::Ping(Cow::Borrowed(payload)))),
            Opcode::Pong => Ok(Some(Event::Pong(Cow::Borrowed(payload)))),
            Opcode::Close => Ok(Some(Event::Close(close::parse_payload(payload)?))),
        }
    }

    /// Takes a compressed message that is one frame and here.
    fn inflate_whole<'i>(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        inflaters: &mut Inflaters,
    ) -> Result<Option<Event<'i>>, Fault> {
        let mut message = Assembly::new(opcode);
        let mut inflater = inflaters.lend(self.history.as_deref());
        let outcome = message
            .inflate(&mut inflater, payload, self.limits, inflaters, self.history.as_deref_mut())
            .and_then(|()| inflater.finish());
        inflaters.give_back(inflater);
        outcome?;
        message.finish().map(Some)
    }

    /// Takes more of a payload that did not arrive with its header.
    fn continue_payload<'i>(
        &mut self,
        input: &mut [u8],
        inflaters: &mut Inflaters,
    ) -> Result<(usize, Option<Event<'i>>), Fault> {
        let partial = self.partial.as_mut().expect("invariant: a frame is open");
        let (header, arrived_bytes) = partial.frame.take().expect("invariant: a frame is open");
        let payload_bytes =
            usize::try_from(header.payload_bytes).expect("invariant: an admitted frame fits memory");
        let missing_bytes = payload_bytes - arrived_bytes;
        let taken = input.len().min(missing_bytes);
        let chunk = &mut input[..taken];
        unmask(chunk, header.mask, arrived_bytes);
        self.keep(&header, chunk, missing_bytes - taken, inflaters)?;
        if taken < missing_bytes {
            self.partial.get_or_insert_default().frame = Some((header, arrived_bytes + taken));
            return Ok((taken, None));
        }
        Ok((taken, self.finish_frame(&header, inflaters)?))
    }

    /// Keeps part of a payload, of which `missing_bytes` are still to come.
    fn keep(
        &mut self,
        header: &FrameHeader,
        chunk: &[u8],
        missing_bytes: usize,
        inflaters: &mut Inflaters,
    ) -> Result<(), Fault> {
        let partial = self.partial.get_or_insert_default();
        if header.opcode.is_control() {
            let wanted = spare_wanted(
                partial.control.len(),
                partial.control.capacity(),
                partial.control.len() + chunk.len(),
                missing_bytes,
            );
            partial.control.reserve_exact(wanted);
            partial.control.extend_from_slice(chunk);
            return Ok(());
        }
        if header.compressed && partial.message.is_none() {
            let inflater = inflaters.lend_for_long(self.history.as_deref())?;
            partial.message = Some(Assembly { inflater: Some(inflater), ..Assembly::new(header.opcode) });
        }
        let message = partial.message.get_or_insert_with(|| Assembly::new(header.opcode));
        if let Some(mut inflater) = message.inflater.take() {
            let history = self.history.as_deref_mut();
            let outcome = message.inflate(&mut inflater, chunk, self.limits, inflaters, history);
            message.inflater = Some(inflater);
            return outcome;
        }
        let more_bytes_max = if header.fin {
            missing_bytes
        } else {
            let needed_bytes = message.content.bytes() + chunk.len();
            (self.limits.message_bytes_max as usize).saturating_sub(needed_bytes)
        };
        message.content.push(chunk, more_bytes_max)
    }

    /// Ends a frame whose payload was kept. The memory goes with the event.
    fn finish_frame<'i>(
        &mut self,
        header: &FrameHeader,
        inflaters: &mut Inflaters,
    ) -> Result<Option<Event<'i>>, Fault> {
        let partial = self.partial.as_mut().expect("invariant: a payload was kept");
        let event = if header.opcode.is_control() {
            Some(control_event(header.opcode, std::mem::take(&mut partial.control))?)
        } else {
            let message = partial.message.as_mut().expect("invariant: a payload was kept");
            message.fragments += 1;
            if header.fin {
                if let Some(mut inflater) = message.inflater.take() {
                    let outcome = inflater.finish();
                    inflaters.give_back(inflater);
                    outcome?;
                }
                partial.message.take().map(Assembly::finish).transpose()?
            } else {
                None
            }
        };
        if partial.message.is_none() {
            self.partial = None;
        }
        Ok(event)
    }
}

/// The event of a control frame that arrived in pieces.
fn control_event(opcode: Opcode, payload: Vec<u8>) -> Result<Event<'static>, Fault> {
    assert!(payload.len() <= frame::CONTROL_BYTES_MAX, "the header was checked");
    match opcode {
        Opcode::Ping => Ok(Event::Ping(Cow::Owned(payload))),
        Opcode::Pong => Ok(Event::Pong(Cow::Owned(payload))),
        Opcode::Close => {
            let CloseFrame { code, reason } = close::parse_payload(&payload)?;
            Ok(Event::Close(CloseFrame { code, reason: Cow::Owned(reason.into_owned()) }))
        }
        Opcode::Continuation | Opcode::Text | Opcode::Binary => {
            unreachable!("invariant: only control frames come here")
        }
    }
}

impl Assembly {
    fn new(opcode: Opcode) -> Self {
        let content = match opcode {
            Opcode::Text => Content::Text(TextAssembly::default()),
            Opcode::Binary => Content::Binary(Vec::new()),
            Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => {
                unreachable!("invariant: a message starts with a text or a binary frame")
            }
        };
        Self { content, inflater: None, fragments: 0 }
    }

    /// Takes more of a compressed message.
    fn inflate(
        &mut self,
        inflater: &mut Inflater,
        chunk: &[u8],
        limits: ReceiveLimits,
        inflaters: &mut Inflaters,
        history: Option<&mut History>,
    ) -> Result<(), Fault> {
        let message_bytes_max = limits.message_bytes_max as usize;
        let content = &mut self.content;
        let room = message_bytes_max - content.bytes();
        inflater.feed(chunk, room, inflaters, history, |piece| {
            content.push(piece, message_bytes_max - content.bytes() - piece.len())
        })
    }

    fn finish(self) -> Result<Event<'static>, Fault> {
        match self.content {
            Content::Text(text) => match text.finish() {
                Ok(text) => Ok(Event::Text(Cow::Owned(text))),
                Err(utf8::InvalidUtf8) => Err(Fault::TextNotUtf8),
            },
            Content::Binary(bytes) => Ok(Event::Binary(Cow::Owned(bytes))),
        }
    }

    fn capacity_bytes(&self) -> usize {
        let inflater_bytes = if self.inflater.is_some() { INFLATER_BYTES } else { 0 };
        inflater_bytes
            + match &self.content {
                Content::Text(text) => text.capacity_bytes(),
                Content::Binary(bytes) => bytes.capacity(),
            }
    }
}

impl Content {
    fn push(&mut self, chunk: &[u8], more_bytes_max: usize) -> Result<(), Fault> {
        match self {
            Self::Text(text) => text.push(chunk, more_bytes_max).map_err(|_| Fault::TextNotUtf8),
            Self::Binary(bytes) => {
                let needed_bytes = bytes.len() + chunk.len();
                bytes.reserve_exact(spare_wanted(
                    bytes.len(),
                    bytes.capacity(),
                    needed_bytes,
                    more_bytes_max,
                ));
                bytes.extend_from_slice(chunk);
                Ok(())
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.bytes(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

#[cfg(test)]
mod compressed_tests;
#[cfg(test)]
mod tests;
