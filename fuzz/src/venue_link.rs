//! Both ends of a venue link, in both forms.
//!
//! Property: whatever the bytes, nothing panics; no message of more than the limit is wished for; what one form decodes is
//! encoded in both and decoded to the same; what a session tells and answers does not hang on how the bytes were cut. Whatever
//! is cut, said late or forgotten, each report is told once and in order, an order is executed once or told as not sent, and in
//! the end both ends agree on each order (`linked_world`).
//!
//! Input: a byte of flags; then either choices of a script, or lengths of reads (`pieces`) and the bytes of the peer.

use tickring::backend::tcp::codec::{self, Fault, Form};
use tickring::backend::tcp::message::{Message, Report};
use tickring::backend::tcp::session::{LinkEvent, Session};
use tickring::backend::tcp::venue::VenueSession;
use tickring::limits;
use tickring::model::book::LevelUpdate;
use tickring::model::market::FeedEvent;

use crate::linked_world::{self, NOW};
use crate::pieces::{cut, take_lengths};

/// Flags of the first byte.
const IS_SCRIPT: u8 = 1;
const TO_VENUE: u8 = 2;
/// The session is up and has orders before the bytes come.
const IS_UP: u8 = 4;
const IS_BINARY: u8 = 8;
/// The last byte goes on beyond what a message may have.
const IS_ENDLESS: u8 = 16;

/// Cuts of a message that are tried.
const PREFIXES_MAX: usize = 256;

/// See the file's head.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let Some((flags, rest)) = input.split_first() else { return };
    let form = if flags & IS_BINARY == 0 { Form::Json } else { Form::Binary };
    if flags & IS_SCRIPT != 0 {
        return linked_world::run(form, rest);
    }
    let (lengths, said) = take_lengths(rest);
    let mut bytes = said.to_vec();
    let is_endless = flags & IS_ENDLESS != 0;
    if let (true, Some(last)) = (is_endless, said.last()) {
        bytes.resize(bytes.len() + limits::LINK_MESSAGE_BYTES_MAX, *last);
    }
    check_codec(Form::Json, &bytes);
    check_codec(Form::Binary, bytes.strip_prefix(Form::Binary.preamble()).unwrap_or(&bytes));
    // The gateway answers in the form that it is spoken to.
    let spoken = match bytes.first() {
        Some(first) if flags & IS_UP == 0 => Form::of(*first).map_or(Form::Json, |(form, _)| form),
        Some(_) | None => form,
    };
    let hear = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        if flags & TO_VENUE == 0 {
            heard_by_gateway((flags & IS_UP != 0).then_some(form), spoken, pieces)
        } else {
            heard_by_venue(form, flags & IS_UP != 0, pieces)
        }
    };
    let whole = hear(&mut std::iter::once(&bytes[..]));
    assert_eq!(hear(&mut cut(lengths, &bytes)), whole, "in reads of {lengths:?}");
    if !is_endless {
        assert_eq!(hear(&mut bytes.chunks(1)), whole, "byte by byte");
    }
}

/// What a session told and answered.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    events: Vec<String>,
    /// Without acknowledgements, which may be fewer where more comes at once.
    answers: Vec<Message>,
    is_over: bool,
}

fn heard_by_gateway(up: Option<Form>, spoken: Form, pieces: &mut dyn Iterator<Item = &[u8]>) -> Heard {
    let mut session = linked_world::gateway();
    let mut heard = Heard::default();
    session.handle_connected(NOW);
    if let Some(form) = up {
        greet(&mut session, form);
    }
    let mut answered = Vec::new();
    for piece in pieces {
        session.handle_bytes(piece, NOW);
        while let Some(event) = session.poll_event() {
            heard.events.push(told(&event, session.levels()));
        }
        take(session.unsent(), &mut answered);
        session.handle_sent(session.unsent().len());
    }
    heard.answers = messages(spoken, &answered);
    heard.is_over = session.is_over();
    heard
}

/// Has a session say that it is up, with an instrument and some orders.
fn greet(session: &mut Session, form: Form) {
    let mut venue = linked_world::venue(form, 0);
    venue.handle_connected(NOW);
    session.handle_bytes(venue.unsent(), NOW);
    venue.handle_sent(venue.unsent().len());
    venue.handle_bytes(session.unsent(), NOW);
    venue.tell(&Message::Instruments(vec![linked_world::definition()]), &[]);
    session.handle_bytes(venue.unsent(), NOW);
    for order in 1..=3 {
        session.handle_request(linked_world::INSTRUMENT, &linked_world::new_order(order));
    }
    session.handle_sent(session.unsent().len());
    while session.poll_event().is_some() {}
}

fn heard_by_venue(form: Form, is_up: bool, pieces: &mut dyn Iterator<Item = &[u8]>) -> Heard {
    let mut session = linked_world::venue(form, 0);
    let mut heard = Heard::default();
    session.handle_connected(NOW);
    if is_up {
        welcome(&mut session);
    }
    session.handle_sent(session.unsent().len());
    let mut answered = Vec::new();
    for piece in pieces {
        session.handle_bytes(piece, NOW);
        while let Some(event) = session.poll_event() {
            heard.events.push(format!("{event:?}"));
        }
        take(session.unsent(), &mut answered);
        session.handle_sent(session.unsent().len());
    }
    heard.answers = messages(form, &answered);
    heard.is_over = session.is_over();
    heard
}

/// Has a venue's session be welcomed, and say something that is not acknowledged.
fn welcome(session: &mut VenueSession) {
    let mut gateway = linked_world::gateway();
    gateway.handle_connected(NOW);
    gateway.handle_bytes(session.unsent(), NOW);
    session.handle_bytes(gateway.unsent(), NOW);
    for order in 1..=3 {
        session.report(Report::Accepted {
            order: tickring::model::order::OrderId(order),
            venue_order: None,
            price: None,
        });
    }
    while session.poll_event().is_some() {}
}

fn take(unsent: &[u8], into: &mut Vec<u8>) {
    assert!(unsent.len() <= limits::LINK_UNSENT_BYTES_MAX + limits::LINK_MESSAGE_BYTES_MAX);
    into.extend_from_slice(unsent);
}

/// An event with its levels, wherever in their buffer these are.
fn told(event: &LinkEvent, levels: &[LevelUpdate]) -> String {
    match event {
        LinkEvent::Feed(
            FeedEvent::Cleared { instrument, levels: range, timestamp_ns }
            | FeedEvent::Levels { instrument, levels: range, timestamp_ns },
        ) => {
            let is_whole = matches!(event, LinkEvent::Feed(FeedEvent::Cleared { .. }));
            format!("{instrument:?} {is_whole} {timestamp_ns} {:?}", range.of(levels))
        }
        LinkEvent::Up { .. }
        | LinkEvent::Down { .. }
        | LinkEvent::Feed(_)
        | LinkEvent::Fill(_)
        | LinkEvent::Reconciled => format!("{event:?}"),
    }
}

/// What a session has said, but for heartbeats: it is never what the other end could not read.
fn messages(form: Form, mut bytes: &[u8]) -> Vec<Message> {
    let mut all = Vec::new();
    while let Some((message, used)) =
        codec::decode(form, bytes, &mut Vec::new()).expect("what we say is what we read")
    {
        bytes = &bytes[used..];
        if !matches!(message, Message::Heartbeat { .. }) {
            all.push(message);
        }
    }
    assert!(bytes.is_empty(), "half a message was said: {bytes:?}");
    all
}

/// Whatever is decoded is the same in both forms, and no earlier byte would have done.
fn check_codec(form: Form, mut bytes: &[u8]) {
    loop {
        let mut levels = Vec::new();
        match codec::decode(form, bytes, &mut levels) {
            Ok(Some((message, used))) => {
                assert!(used > 0 && used <= limits::LINK_MESSAGE_BYTES_MAX);
                let step = used.div_ceil(PREFIXES_MAX);
                for end in (0..used).step_by(step) {
                    let part = codec::decode(form, &bytes[..end], &mut Vec::new());
                    assert_eq!(part, Ok(None), "{end} bytes of {used} of {message:?}");
                }
                check_encoded(&message, &levels);
                bytes = &bytes[used..];
            }
            Ok(None) => {
                return assert!(bytes.len() < limits::LINK_MESSAGE_BYTES_MAX, "too much is wished for");
            }
            Err(Fault::TooLong) => return,
            Err(_) => {
                // Nothing that follows changes what is wrong.
                let more = [bytes, b"\n{\n"].concat();
                return assert!(codec::decode(form, &more, &mut Vec::new()).is_err());
            }
        }
    }
}

fn check_encoded(message: &Message, levels: &[LevelUpdate]) {
    for form in [Form::Json, Form::Binary] {
        let mut bytes = Vec::new();
        codec::encode(form, message, levels, &mut bytes);
        let mut read = Vec::new();
        let decoded = codec::decode(form, &bytes, &mut read);
        let expected = Ok(Some((message.clone(), bytes.len())));
        assert_eq!((decoded, &read[..]), (expected, levels), "{form:?} {}", String::from_utf8_lossy(&bytes));
    }
}
