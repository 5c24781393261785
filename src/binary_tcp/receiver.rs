//! The receiving half of a connection: bytes as they come in, messages as they are whole.
//!
//! PURE. Home: one connection. Allocates: only for a message that arrives in pieces; the memory leaves with it. Invariants: no byte
//! of a message is kept that is longer than may be; after a fault nothing is looked at.

use std::borrow::Cow;

use super::{BINARY_BIT, LENGTH_BYTES};

/// What a client has sent. Borrows from the bytes given to [`Receiver::step`] where it arrived whole in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'i> {
    /// Not empty.
    Text(Cow<'i, str>),
    /// May be empty.
    Binary(Cow<'i, [u8]>),
    /// A frame without a message, of no kind: the peer is there.
    Heartbeat,
}

/// What a client can do wrong. The connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A frame announces more bytes than a message may have. So do the first four of any HTTP request and any TLS hello.
    TooLong,
    /// A text is not UTF-8.
    NotUtf8,
}

/// The receiving state of one connection.
#[derive(Debug)]
pub struct Receiver {
    /// At least 1.
    message_bytes_max: u32,
    /// The start of a length that was cut.
    length: [u8; LENGTH_BYTES],
    length_bytes: u8,
    closed: bool,
    /// What has arrived of a message that is not whole, and how long it is to be.
    message: Vec<u8>,
    message_bytes: usize,
    is_binary: bool,
}

impl Receiver {
    /// For messages of up to so many bytes.
    #[must_use]
    pub fn new(message_bytes_max: u32) -> Receiver {
        assert!(message_bytes_max > 0, "a limit of 0 admits nothing");
        Receiver {
            message_bytes_max,
            length: [0; LENGTH_BYTES],
            length_bytes: 0,
            closed: false,
            message: Vec::new(),
            message_bytes: 0,
            is_binary: false,
        }
    }

    /// Has another limit hold, from the next message on.
    pub fn set_message_bytes_max(&mut self, message_bytes_max: u32) {
        assert!(message_bytes_max > 0, "a limit of 0 admits nothing");
        self.message_bytes_max = message_bytes_max;
    }

    /// Takes bytes from the front of `input`: at most one frame. Gives how many it took and what they completed, if anything. Call it
    /// with the rest until nothing is left; it takes at least one byte of what is not empty.
    ///
    /// # Errors
    /// What the client did wrong; give it nothing more.
    pub fn step<'i>(&mut self, input: &'i [u8]) -> Result<(usize, Option<Event<'i>>), Fault> {
        if self.closed {
            return Ok((input.len(), None));
        }
        let outcome = self.advance(input);
        if outcome.is_err() {
            self.closed = true;
            self.release();
        }
        outcome
    }

    /// Drops what is incomplete.
    pub fn release(&mut self) {
        (self.message, self.message_bytes, self.length_bytes) = (Vec::new(), 0, 0);
    }

    /// Whether bytes have come of a frame that is not whole.
    #[must_use]
    pub const fn is_within_message(&self) -> bool {
        self.message_bytes > 0 || self.length_bytes > 0
    }

    /// Heap bytes held for what is incomplete; zero between messages.
    #[must_use]
    pub const fn incomplete_bytes(&self) -> usize {
        self.message.capacity()
    }

    fn advance<'i>(&mut self, input: &'i [u8]) -> Result<(usize, Option<Event<'i>>), Fault> {
        if self.message_bytes > 0 {
            return self.continue_message(input);
        }
        let Some((message_bytes, taken)) = self.take_length(input)? else { return Ok((input.len(), None)) };
        if message_bytes == 0 && !self.is_binary {
            return Ok((taken, Some(Event::Heartbeat)));
        }
        match input[taken..].get(..message_bytes) {
            Some(whole) if self.is_binary => {
                Ok((taken + message_bytes, Some(Event::Binary(Cow::Borrowed(whole)))))
            }
            Some(whole) => {
                let text = simdutf8::basic::from_utf8(whole).map_err(|_| Fault::NotUtf8)?;
                Ok((taken + message_bytes, Some(Event::Text(Cow::Borrowed(text)))))
            }
            None => {
                self.message_bytes = message_bytes;
                self.keep(&input[taken..]);
                Ok((input.len(), None))
            }
        }
    }

    /// Takes a length, or the bytes there are of one, and the kind. Gives it and how many bytes of `input` belong to it.
    fn take_length(&mut self, input: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
        let held = usize::from(self.length_bytes);
        let added = input.len().min(LENGTH_BYTES - held);
        self.length[held..held + added].copy_from_slice(&input[..added]);
        if held + added < LENGTH_BYTES {
            self.length_bytes = u8::try_from(held + added).expect("invariant: a length has 4 bytes");
            return Ok(None);
        }
        self.length_bytes = 0;
        let told = u32::from_be_bytes(self.length);
        self.is_binary = told & BINARY_BIT != 0;
        let message_bytes = told & !BINARY_BIT;
        if self.message_bytes_max < message_bytes {
            return Err(Fault::TooLong);
        }
        Ok(Some((message_bytes as usize, added)))
    }

    fn continue_message<'i>(&mut self, input: &'i [u8]) -> Result<(usize, Option<Event<'i>>), Fault> {
        let taken = input.len().min(self.message_bytes - self.message.len());
        self.keep(&input[..taken]);
        if self.message.len() < self.message_bytes {
            return Ok((taken, None));
        }
        self.message_bytes = 0;
        let message = std::mem::take(&mut self.message);
        if self.is_binary {
            return Ok((taken, Some(Event::Binary(Cow::Owned(message)))));
        }
        let text = String::from_utf8(message).map_err(|_| Fault::NotUtf8)?;
        Ok((taken, Some(Event::Text(Cow::Owned(text)))))
    }

    /// Room is taken as bytes come, at most double of what has: a length that was only announced costs nothing.
    fn keep(&mut self, piece: &[u8]) {
        let needed = self.message.len() + piece.len();
        if self.message.capacity() < needed {
            let room = needed.max((2 * self.message.capacity()).min(self.message_bytes));
            self.message.reserve_exact(room - self.message.len());
        }
        self.message.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: u32 = 64;

    fn framed(messages: &[&[u8]]) -> Vec<u8> {
        framed_with(0, messages)
    }

    fn framed_with(bit: u32, messages: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.extend_from_slice(&(bit | u32::try_from(message.len()).unwrap()).to_be_bytes());
            bytes.extend_from_slice(message);
        }
        bytes
    }

    /// The messages that so cut a stream holds, a heartbeat as an empty one, a binary one as its bytes, and the fault that ends it.
    fn receive<'r>(reads: impl IntoIterator<Item = &'r [u8]>) -> (Vec<String>, Option<Fault>) {
        let mut receiver = Receiver::new(MAX);
        let mut messages = Vec::new();
        for mut read in reads {
            while !read.is_empty() {
                match receiver.step(read) {
                    Ok((taken, event)) => {
                        assert!((1..=read.len()).contains(&taken));
                        assert!(receiver.incomplete_bytes() <= MAX as usize);
                        read = &read[taken..];
                        messages.extend(event.map(|event| match event {
                            Event::Text(text) => text.into_owned(),
                            Event::Binary(bytes) => format!("{bytes:?}"),
                            Event::Heartbeat => String::new(),
                        }));
                    }
                    Err(fault) => {
                        assert_eq!(receiver.incomplete_bytes(), 0);
                        assert_eq!(receiver.step(b"x"), Ok((1, None)), "nothing is read after a fault");
                        return (messages, Some(fault));
                    }
                }
            }
        }
        (messages, None)
    }

    fn check(bytes: &[u8], messages: &[&str], fault: Option<Fault>) {
        let expected = (messages.iter().map(|text| (*text).to_owned()).collect(), fault);
        assert_eq!(receive([bytes]), expected, "in one read");
        assert_eq!(receive(bytes.chunks(1)), expected, "byte by byte");
        for cut in 0..bytes.len() {
            assert_eq!(receive([&bytes[..cut], &bytes[cut..]]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn messages_come_out_whole_however_they_are_cut() {
        check(&framed(&[b"{}", "ü€𝄞".as_bytes(), b"[1]"]), &["{}", "ü€𝄞", "[1]"], None);
        check(&framed(&[&[b'x'; MAX as usize]]), &["x".repeat(MAX as usize).as_str()], None);
        check(&[], &[], None);
    }

    #[test]
    fn an_empty_frame_is_a_heartbeat() {
        check(&framed(&[b"", b"{}", b"", b""]), &["", "{}", "", ""], None);
    }

    #[test]
    fn the_first_bit_of_a_length_says_that_a_message_is_no_text_whatever_is_in_it() {
        let mut stream = framed(&[b"{}"]);
        stream.extend(framed_with(BINARY_BIT, &[&[0xff, 0], b"{}", b""]));
        stream.extend(framed(&[b"", b"[]"]));
        check(&stream, &["{}", "[255, 0]", "[123, 125]", "[]", "", "[]"], None);
        check(&framed_with(BINARY_BIT, &[&[7; MAX as usize]]), &[&format!("{:?}", [7; MAX as usize])], None);
    }

    #[test]
    fn what_is_longer_than_may_be_is_refused_by_its_length_alone() {
        check(&[0, 0, 0, 65], &[], Some(Fault::TooLong));
        check(&[0x80, 0, 0, 65], &[], Some(Fault::TooLong));
        check(&[0, 0, 0, 2, b'{', b'}', 0xff, 0xff, 0xff, 0xff, 0], &["{}"], Some(Fault::TooLong));
    }

    #[test]
    fn who_speaks_http_or_tls_is_refused_whatever_the_limit() {
        const LIMIT_MAX: u32 = 1 << 20;
        for first in [
            &b"GET / HTTP/1.1"[..],
            b"POST /api/v2",
            b"PRI * HTTP/2.0",
            &[0x16, 3, 1, 2, 0],
            &[0x80, 0x2e, 1, 3],
        ] {
            assert_eq!(Receiver::new(LIMIT_MAX).step(first), Err(Fault::TooLong));
        }
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        check(&framed(&[b"{}", &[b'a', 0xff], b"{}"]), &["{}"], Some(Fault::NotUtf8));
        check(&framed(&["€".as_bytes()[..2].as_ref()]), &[], Some(Fault::NotUtf8));
    }

    #[test]
    fn what_is_announced_is_not_reserved() {
        let mut receiver = Receiver::new(1 << 20);
        receiver.step(&[0, 0x10, 0, 0, b'a']).unwrap();
        assert!(receiver.is_within_message() && receiver.incomplete_bytes() <= 8);
    }

    #[test]
    fn another_limit_holds_from_the_next_message_on() {
        let mut receiver = Receiver::new(8);
        receiver.step(&[0, 0, 0, 8, b'a']).unwrap();
        receiver.set_message_bytes_max(2);
        let whole = receiver.step(b"bcdefgh").unwrap();
        assert_eq!(whole, (7, Some(Event::Text(Cow::Borrowed("abcdefgh")))));
        assert_eq!(receiver.step(&[0, 0, 0, 3]), Err(Fault::TooLong));
    }

    proptest! {
        #[test]
        fn no_stream_panics_and_its_cuts_do_not_matter(
            bytes in prop::collection::vec(prop_oneof![8 => 0..3_u8, 1 => Just(0x80), 2 => any::<u8>()], 0..200),
            cut in 1..40_usize,
        ) {
            let whole = receive([&bytes[..]]);
            prop_assert_eq!(receive(bytes.chunks(cut)), whole.clone());
            prop_assert_eq!(receive(bytes.chunks(1)), whole);
        }
    }
}
