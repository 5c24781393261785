//! The receiver against tables, against itself in other pieces, and against tungstenite's writer.

use proptest::prelude::*;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader as OracleHeader};

use super::*;
use crate::ws::CloseCode;

const LIMITS: ReceiveLimits =
    ReceiveLimits { frame_bytes_max: 300, message_bytes_max: 500, fragments_max: 4 };

/// An event that borrows nothing, for comparing: one arrived whole and one assembled are the same event.
pub(super) fn owned(event: Event<'_>) -> Event<'static> {
    match event {
        Event::Text(text) => Event::Text(Cow::Owned(text.into_owned())),
        Event::Binary(bytes) => Event::Binary(Cow::Owned(bytes.into_owned())),
        Event::Ping(bytes) => Event::Ping(Cow::Owned(bytes.into_owned())),
        Event::Pong(bytes) => Event::Pong(Cow::Owned(bytes.into_owned())),
        Event::Close(CloseFrame { code, reason }) => {
            Event::Close(CloseFrame { code, reason: Cow::Owned(reason.into_owned()) })
        }
    }
}

/// Feeds the reads to a receiver until they end or a fault does; checks its promises on the way.
fn receive<'r>(
    limits: ReceiveLimits,
    reads: impl IntoIterator<Item = &'r [u8]>,
) -> (Vec<Event<'static>>, Option<Fault>, Receiver) {
    let mut receiver = Receiver::new(limits);
    let mut events = Vec::new();
    for read in reads {
        let mut input = read.to_vec();
        let mut at = 0;
        while at < input.len() {
            match receiver.step(&mut input[at..]) {
                Ok((taken, event)) => {
                    assert!(taken > 0, "a step takes at least one byte");
                    at += taken;
                    events.extend(event.map(owned));
                }
                Err(fault) => {
                    assert!(receiver.is_closed() && receiver.buffered_bytes() == 0);
                    return (events, Some(fault), receiver);
                }
            }
            let held_max =
                limits.message_bytes_max as usize + size_of::<Partial>() + frame::CONTROL_BYTES_MAX;
            assert!(receiver.buffered_bytes() <= held_max, "held {}", receiver.buffered_bytes());
        }
    }
    (events, None, receiver)
}

pub(super) fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    assert!(digits.len().is_multiple_of(2), "{hex}");
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

pub(super) fn show(events: &[Event<'_>], fault: Option<Fault>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut shown: Vec<String> = Vec::new();
    for event in events {
        shown.push(match event {
            Event::Text(content) => format!("text {content}"),
            Event::Binary(bytes) => format!("binary {bytes:02x?}"),
            Event::Ping(bytes) => format!("ping {}", text(bytes)),
            Event::Pong(bytes) => format!("pong {}", text(bytes)),
            Event::Close(CloseFrame { code: None, .. }) => "close".to_owned(),
            Event::Close(CloseFrame { code: Some(code), reason }) => {
                format!("close {} {reason}", code.value())
            }
        });
    }
    shown.extend(fault.map(|fault| format!("{} {fault:?}", fault.close_code().value())));
    shown.join(", ")
}

/// Hex in, events out; in one read and byte by byte.
fn check(hex: &str, expected: &str) {
    check_bytes(&from_hex(hex), expected);
}

fn check_bytes(bytes: &[u8], expected: &str) {
    let (events, fault, _) = receive(LIMITS, [bytes]);
    assert_eq!(show(&events, fault), expected, "in one read");
    let (events, fault, _) = receive(LIMITS, bytes.chunks(1));
    assert_eq!(show(&events, fault), expected, "byte by byte");
}

/// A masked frame as tungstenite writes it. `first` is the first byte.
pub(super) fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let header = OracleHeader {
        is_final: first & 0x80 != 0,
        rsv1: first & 0x40 != 0,
        rsv2: first & 0x20 != 0,
        rsv3: first & 0x10 != 0,
        opcode: OpCode::from(first & 0x0f),
        mask: Some([0x37, 0xfa, 0x21, 0x3d]),
    };
    let mut bytes = Vec::new();
    Frame::from_payload(header, payload.to_vec().into()).format(&mut bytes).unwrap();
    bytes
}

/// Client frames, as (first byte, payload).
fn check_frames(frames: &[(u8, &[u8])], expected: &str) {
    let bytes: Vec<u8> = frames.iter().flat_map(|(first, payload)| client_frame(*first, payload)).collect();
    check_bytes(&bytes, expected);
}

#[test]
fn receives_the_examples_of_the_rfc() {
    // RFC 6455 §5.7; of those from a server, the masked form.
    check("81 85 37fa213d 7f9f4d5158", "text Hello");
    check_frames(&[(0x01, b"Hel"), (0x80, b"lo")], "text Hello");
    check("8a 85 37fa213d 7f9f4d5158", "pong Hello");
    check_frames(&[(0x89, b"Hello")], "ping Hello");
    check("81 05 48656c6c6f", "1002 NotMasked");
    let roomy = ReceiveLimits { frame_bytes_max: 1 << 20, message_bytes_max: 1 << 20, fragments_max: 1 };
    for length in [256, 65536] {
        let payload = vec![0xa5; length];
        let (events, fault, _) = receive(roomy, [&client_frame(0x82, &payload)[..]]);
        assert_eq!((events, fault), (vec![Event::Binary(payload.into())], None));
    }
}

#[test]
fn receives_empty_messages_and_empty_fragments() {
    check("81 80 00000000", "text ");
    check("82 80 01020304", "binary []");
    check("89 80 01020304 8a 80 01020304", "ping , pong ");
    check_frames(&[(0x01, b""), (0x00, b""), (0x80, b"")], "text ");
    check_frames(&[(0x02, b""), (0x00, b"a"), (0x80, b"")], "binary [61]");
}

#[test]
fn control_frames_interleave_with_fragments() {
    let frames: [(u8, &[u8]); 6] =
        [(0x01, b"one "), (0x89, b"p1"), (0x00, b"two "), (0x8a, b"p2"), (0x80, b"three"), (0x81, b"next")];
    check_frames(&frames, "ping p1, pong p2, text one two three, text next");
    check_frames(&[(0x01, b"cut off"), (0x88, b"\x03\xe8bye")], "close 1000 bye");
}

#[test]
fn nothing_after_a_close_is_looked_at() {
    check_frames(&[(0x88, b""), (0x81, b"late")], "close");
    check("88 82 00000000 03e8 ff ff ff", "close 1000 ");
    check_frames(&[(0x88, b"\x0f\xa0own reason"), (0xf3, b"")], "close 4000 own reason");
}

#[test]
fn nothing_after_a_fault_is_looked_at() {
    let mut receiver = Receiver::new(LIMITS);
    assert_eq!(receiver.step(&mut [0x81, 0x00]), Err(Fault::NotMasked));
    let mut late = client_frame(0x81, b"late");
    assert_eq!(receiver.step(&mut late), Ok((10, None)));
}

#[test]
fn refuses_reserved_bits_and_opcodes_at_the_first_byte() {
    for first in ["c1", "a1", "91", "f1", "c8"] {
        check(first, "1002 ReservedBits");
    }
    for first in ["83", "84", "85", "86", "87", "8b", "8c", "8d", "8e", "8f", "03", "0b"] {
        check(first, "1002 ReservedOpcode");
    }
}

#[test]
fn refuses_control_frames_that_are_fragmented_or_long() {
    for first in ["08", "09", "0a"] {
        check(first, "1002 ControlFragmented");
    }
    check("89 fe", "1002 ControlTooLong");
    check("88 ff", "1002 ControlTooLong");
    let longest = "x".repeat(125);
    check_frames(&[(0x89, longest.as_bytes())], &format!("ping {longest}"));
}

#[test]
fn refuses_fragments_out_of_order() {
    check("80", "1002 ContinuationWithoutStart");
    check("00", "1002 ContinuationWithoutStart");
    check_frames(&[(0x81, b"whole"), (0x80, b"")], "text whole, 1002 ContinuationWithoutStart");
    check_frames(&[(0x01, b"open"), (0x81, b"")], "1002 DataWithinMessage");
    check_frames(&[(0x01, b"open"), (0x89, b""), (0x02, b"")], "ping , 1002 DataWithinMessage");
}

#[test]
fn refuses_lengths_not_in_their_shortest_form() {
    check("82 fe 0000", "1002 LengthNotMinimal");
    check("82 fe 007d", "1002 LengthNotMinimal");
    check("82 ff 0000000000000000", "1002 LengthNotMinimal");
    check("82 ff 000000000000ffff", "1002 LengthNotMinimal");
    check("82 ff 8000000000000000", "1002 LengthOverflow");
    check("82 ff ffffffffffffffff", "1002 LengthOverflow");
}

#[test]
fn refuses_what_is_too_big_before_any_of_it_arrives() {
    check("82 fe 012d 00000000", "1009 FrameTooBig");
    check("82 ff 0000000000010000 00000000", "1009 FrameTooBig");
    check("82 ff 7fffffffffffffff 00000000", "1009 FrameTooBig");
    let whole = client_frame(0x02, &[b'a'; 300]);
    check_bytes(&[&whole[..], &from_hex("80 fe 00c9 00000000")].concat(), "1009 MessageTooBig");
    let (events, fault, _) = receive(LIMITS, [&whole[..], &client_frame(0x80, &[b'a'; 200])]);
    assert_eq!((events, fault), (vec![Event::Binary(vec![b'a'; 500].into())], None));
}

#[test]
fn bounds_the_fragments_of_a_message() {
    let frames: [(u8, &[u8]); 5] = [(0x01, b"a"), (0x00, b"b"), (0x00, b"c"), (0x80, b"d"), (0x81, b"e")];
    check_frames(&frames, "text abcd, text e");
    let frames: [(u8, &[u8]); 5] = [(0x01, b""), (0x00, b""), (0x00, b""), (0x00, b""), (0x80, b"")];
    check_frames(&frames, "1008 TooManyFragments");
}

#[test]
fn refuses_text_that_is_not_utf_8() {
    check_frames(&[(0x81, "κόσμε".as_bytes())], "text κόσμε");
    check_frames(&[(0x81, b"\xce")], "1007 TextNotUtf8");
    check_frames(&[(0x81, b"\xed\xa0\x80")], "1007 TextNotUtf8");
    check_frames(&[(0x01, b"\xce"), (0x80, b"\xba")], "text κ");
    check_frames(&[(0x01, b"\xf0\x9d"), (0x89, b"between"), (0x80, b"\x84\x9e")], "ping between, text 𝄞");
    check_frames(&[(0x01, b"\xce"), (0x80, b"")], "1007 TextNotUtf8");
    check_frames(&[(0x01, b"\xce"), (0x00, b"a")], "1007 TextNotUtf8");
    check_frames(&[(0x82, b"\xff")], "binary [ff]");
}

#[test]
fn refuses_text_with_the_byte_that_cannot_be_and_not_at_the_frames_end() {
    let mut bytes = client_frame(0x81, b"ok\xf4\x90 and much more");
    let mut receiver = Receiver::new(LIMITS);
    let header_bytes = 6;
    assert_eq!(receiver.step(&mut bytes[..header_bytes + 3]), Ok((header_bytes + 3, None)));
    assert_eq!(receiver.step(&mut bytes[header_bytes + 3..header_bytes + 4]), Err(Fault::TextNotUtf8));
}

#[test]
fn refuses_bad_close_frames() {
    check_frames(&[(0x88, b"\x03")], "1002 CloseTruncated");
    check_frames(&[(0x88, b"\x03\xed")], "1002 CloseCodeIllegal");
    check_frames(&[(0x88, b"\x03\xe8\xff")], "1007 CloseReasonNotUtf8");
}

#[test]
fn a_message_in_one_read_is_borrowed_from_it() {
    let mut input =
        [client_frame(0x81, b"text"), client_frame(0x82, b"binary"), client_frame(0x89, b"ping")].concat();
    let mut receiver = Receiver::new(LIMITS);
    let mut at = 0;
    while at < input.len() {
        let (taken, event) = receiver.step(&mut input[at..]).unwrap();
        assert!(matches!(
            event,
            Some(
                Event::Text(Cow::Borrowed(_))
                    | Event::Binary(Cow::Borrowed(_))
                    | Event::Ping(Cow::Borrowed(_))
            )
        ));
        at += taken;
        assert_eq!(receiver.buffered_bytes(), 0);
    }
}

#[test]
fn a_header_cut_off_its_payload_costs_no_memory_and_no_copy() {
    let bytes = client_frame(0x81, b"Hello");
    for cut in 1..6 {
        let mut receiver = Receiver::new(LIMITS);
        assert_eq!(receiver.step(&mut bytes[..cut].to_vec()), Ok((cut, None)));
        assert_eq!(receiver.buffered_bytes(), 0);
        let mut rest = bytes[cut..].to_vec();
        let (taken, event) = receiver.step(&mut rest).unwrap();
        assert_eq!(taken, bytes.len() - cut);
        assert!(matches!(event, Some(Event::Text(Cow::Borrowed("Hello")))));
    }
}

#[test]
fn the_memory_of_an_assembled_message_leaves_with_it() {
    let frame = client_frame(0x82, &[7; 300]);
    let (events, fault, receiver) = receive(LIMITS, frame.chunks(100));
    assert_eq!((events.len(), fault, receiver.buffered_bytes()), (1, None, 0));
}

#[test]
fn an_announced_payload_takes_no_memory_before_it_arrives() {
    let large = ReceiveLimits { frame_bytes_max: 1 << 30, message_bytes_max: 1 << 30, fragments_max: 1 };
    let header = from_hex("82 ff 000000003fffffff 00000000 aa");
    let (_, fault, receiver) = receive(large, [&header[..]]);
    assert_eq!(fault, None);
    assert!(receiver.buffered_bytes() < 512, "{}", receiver.buffered_bytes());
}

/// The bytes of a client that commits this fault, and nothing but.
fn stream_with(fault: Fault) -> Vec<u8> {
    let frames: &[(u8, &[u8])] = match fault {
        // What tungstenite does not write.
        Fault::NotMasked => return from_hex("82 00"),
        Fault::LengthNotMinimal => return from_hex("82 fe 0001"),
        Fault::LengthOverflow => return from_hex("82 ff 8000000000000000"),
        Fault::ReservedBits => &[(0xc1, b"")],
        Fault::ReservedOpcode => &[(0x83, b"")],
        Fault::ControlFragmented => &[(0x09, b"")],
        Fault::ControlTooLong => &[(0x89, &[0; 126])],
        Fault::ContinuationWithoutStart => &[(0x80, b"")],
        Fault::DataWithinMessage => &[(0x01, b""), (0x01, b"")],
        Fault::FrameTooBig => &[(0x82, &[0; 301])],
        Fault::MessageTooBig => &[(0x02, &[0; 300]), (0x80, &[0; 201])],
        Fault::TooManyFragments => &[(0x02, b""), (0x00, b""), (0x00, b""), (0x00, b""), (0x80, b"")],
        Fault::TextNotUtf8 => &[(0x81, b"\xff")],
        Fault::CloseTruncated => &[(0x88, b"1")],
        Fault::CloseCodeIllegal => &[(0x88, b"\0\0")],
        Fault::CloseReasonNotUtf8 => &[(0x88, b"\x03\xe8\xff")],
        Fault::DeflateInvalid => &[(0xc1, b"\x07")],
        Fault::InflatersExhausted => &[(0x41, b"")],
    };
    frames.iter().flat_map(|(first, payload)| client_frame(*first, payload)).collect()
}

#[test]
fn every_fault_can_be_produced() {
    for fault in Fault::ALL {
        let mut receiver = Receiver::new(LIMITS);
        if matches!(fault, Fault::DeflateInvalid | Fault::InflatersExhausted) {
            receiver.agree_on_deflate(&Agreement {
                server_window_bits: None,
                client_window_bits: None,
                client_context_takeover: ClientContextTakeover::Refused,
            });
        }
        let (mut stream, mut inflaters) = (stream_with(fault), Inflaters::new(0));
        let mut at = 0;
        let found = loop {
            match receiver.step_inflating(&mut stream[at..], &mut inflaters) {
                Ok((taken, _)) => at += taken,
                Err(found) => break found,
            }
        };
        assert_eq!(found, fault);
    }
}

/// A message, and in how many frames tungstenite writes it.
fn any_message() -> impl Strategy<Value = (Event<'static>, usize)> {
    let payload = proptest::collection::vec(any::<u8>(), 0..126);
    let reason = "\\PC{0,30}";
    prop_oneof![
        ("\\PC{0,120}", 1_usize..5).prop_map(|(text, frames)| (Event::Text(Cow::Owned(text)), frames)),
        (proptest::collection::vec(any::<u8>(), 0..400), 1_usize..5)
            .prop_map(|(bytes, frames)| (Event::Binary(Cow::Owned(bytes)), frames)),
        payload.clone().prop_map(|bytes| (Event::Ping(Cow::Owned(bytes)), 1)),
        payload.prop_map(|bytes| (Event::Pong(Cow::Owned(bytes)), 1)),
        (4000_u16..5000, reason).prop_map(|(code, reason)| {
            (Event::Close(CloseFrame { code: Some(CloseCode::private(code)), reason: Cow::Owned(reason) }), 1)
        }),
    ]
}

/// The message as tungstenite writes it, masked, in that many frames.
fn written(event: &Event<'_>, frames: usize, mask: [u8; 4]) -> Vec<u8> {
    let close_payload;
    let (opcode, payload) = match event {
        Event::Text(text) => (OpCode::Data(Data::Text), text.as_bytes()),
        Event::Binary(bytes) => (OpCode::Data(Data::Binary), &bytes[..]),
        Event::Ping(bytes) => (OpCode::Control(Control::Ping), &bytes[..]),
        Event::Pong(bytes) => (OpCode::Control(Control::Pong), &bytes[..]),
        Event::Close(CloseFrame { code, reason }) => {
            let value = code.unwrap().value();
            let frame = tungstenite::protocol::CloseFrame { code: value.into(), reason: (&**reason).into() };
            close_payload = Frame::close(Some(frame)).into_payload();
            (OpCode::Control(Control::Close), &close_payload[..])
        }
    };
    let piece_bytes = payload.len().div_ceil(frames).max(1);
    let pieces: Vec<&[u8]> =
        if payload.is_empty() { vec![payload] } else { payload.chunks(piece_bytes).collect() };
    let mut bytes = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let opcode = if index == 0 { opcode } else { OpCode::Data(Data::Continue) };
        let header = OracleHeader {
            is_final: index + 1 == pieces.len(),
            opcode,
            mask: Some(mask),
            ..OracleHeader::default()
        };
        Frame::from_payload(header, piece.to_vec().into()).format(&mut bytes).unwrap();
    }
    bytes
}

/// Cuts `bytes` at the places the indices choose.
pub(super) fn cut_at<'b>(bytes: &'b [u8], cuts: &[prop::sample::Index]) -> Vec<&'b [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

pub(super) fn any_cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    proptest::collection::vec(any::<prop::sample::Index>(), 0..12)
}

proptest! {
    #[test]
    fn receives_what_tungstenite_writes_in_any_pieces(
        messages in proptest::collection::vec(any_message(), 0..6), mask: [u8; 4], cuts in any_cuts(),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|(event, frames)| written(event, *frames, mask)).collect();
        let is_close = |event: &Event<'_>| matches!(event, Event::Close(_));
        let until_close = messages.iter().position(|(event, _)| is_close(event)).map_or(messages.len(), |at| at + 1);
        let expected: Vec<_> = messages.into_iter().take(until_close).map(|(event, _)| event).collect();
        let limits = ReceiveLimits { frame_bytes_max: 500, message_bytes_max: 500, fragments_max: 500 };
        let (events, fault, receiver) = receive(limits, cut_at(&bytes, &cuts));
        prop_assert_eq!((events, fault), (expected, None));
        prop_assert_eq!(receiver.buffered_bytes(), 0);
    }

    #[test]
    fn any_stream_gives_the_same_events_and_fault_in_any_pieces(
        frames in proptest::collection::vec(
            (any_first_byte(), proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'a')], 0..320)), 0..8),
        noise in proptest::collection::vec(any::<u8>(), 0..20), cuts in any_cuts(),
    ) {
        let mut bytes: Vec<u8> = frames.iter().flat_map(|(first, payload)| client_frame(*first, payload)).collect();
        bytes.extend_from_slice(&noise);
        let (whole, whole_fault, _) = receive(LIMITS, [&bytes[..]]);
        let (pieces, pieces_fault, _) = receive(LIMITS, cut_at(&bytes, &cuts));
        prop_assert_eq!((&whole, whole_fault), (&pieces, pieces_fault));
        let (single, single_fault, _) = receive(LIMITS, bytes.chunks(1));
        prop_assert_eq!((whole, whole_fault), (single, single_fault));
    }
}

/// First bytes of frames, most of them legal.
fn any_first_byte() -> impl Strategy<Value = u8> {
    let legal =
        prop::sample::select(vec![0x81_u8, 0x82, 0x82, 0x02, 0x00, 0x80, 0x80, 0x89, 0x8a, 0x01, 0x88]);
    prop_oneof![12 => legal, 1 => any::<u8>()]
}
