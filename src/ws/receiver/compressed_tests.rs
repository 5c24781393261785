//! Compressed messages: the examples of RFC 7692, other compressors' output, bombs, and any bytes in any pieces.

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::tests::{any_cuts, client_frame, cut_at, from_hex, owned, show};
use super::*;

const LIMITS: ReceiveLimits =
    ReceiveLimits { frame_bytes_max: 300, message_bytes_max: 500, fragments_max: 4 };
const ROOMY: ReceiveLimits =
    ReceiveLimits { frame_bytes_max: 1 << 20, message_bytes_max: 1 << 20, fragments_max: 64 };
const REFUSED: ClientContextTakeover = ClientContextTakeover::Refused;
const ALLOWED: ClientContextTakeover = ClientContextTakeover::Allowed;
/// The first byte of a whole compressed text frame.
const TEXT: u8 = 0xc1;

fn agreed(limits: ReceiveLimits, takeover: ClientContextTakeover) -> Receiver {
    let mut receiver = Receiver::new(limits);
    receiver.agree_on_deflate(&Agreement {
        server_window_bits: None,
        client_window_bits: None,
        client_context_takeover: takeover,
    });
    receiver
}

/// What came of some reads.
#[derive(Debug)]
struct Outcome {
    events: Vec<Event<'static>>,
    fault: Option<Fault>,
    inflated_bytes: u64,
}

impl Outcome {
    /// What must not depend on how the bytes were cut: what was inflated beyond a fault may.
    fn essence(self) -> (Vec<Event<'static>>, Result<u64, Fault>) {
        (self.events, self.fault.map_or(Ok(self.inflated_bytes), Err))
    }
}

fn receive<'r>(
    limits: ReceiveLimits,
    takeover: ClientContextTakeover,
    reads: impl IntoIterator<Item = &'r [u8]>,
) -> Outcome {
    let mut receiver = agreed(limits, takeover);
    let mut inflaters = Inflaters::new(1);
    let mut outcome = Outcome { events: Vec::new(), fault: None, inflated_bytes: 0 };
    for read in reads {
        let mut input = read.to_vec();
        let mut at = 0;
        while at < input.len() && outcome.fault.is_none() {
            match receiver.step_inflating(&mut input[at..], &mut inflaters) {
                Ok((taken, event)) => {
                    assert!(taken > 0, "a step takes at least one byte");
                    at += taken;
                    outcome.events.extend(event.map(owned));
                }
                Err(fault) => outcome.fault = Some(fault),
            }
            let between_messages = receiver.partial.is_none();
            assert_eq!(inflaters.lent(), usize::from(!between_messages && is_inflating(&receiver)));
            let held_max = 2 * limits.message_bytes_max as usize + size_of::<Partial>() + INFLATER_BYTES;
            let history_max = WindowBits::MAX.bytes();
            assert!(receiver.buffered_bytes() <= held_max + history_max, "{}", receiver.buffered_bytes());
            if between_messages && takeover == REFUSED {
                assert_eq!(receiver.buffered_bytes(), 0, "an idle connection holds nothing");
            }
        }
    }
    outcome.inflated_bytes = inflaters.inflated_bytes_total();
    receiver.release(&mut inflaters);
    assert_eq!((inflaters.lent(), receiver.buffered_bytes()), (0, 0));
    outcome
}

fn is_inflating(receiver: &Receiver) -> bool {
    receiver.message().is_some_and(|message| message.inflater.is_some())
}

/// Client frames as (first byte, payload in hex); the events in one read, byte by byte, and in reads of seven bytes.
fn check_with(limits: ReceiveLimits, takeover: ClientContextTakeover, frames: &[(u8, &str)], expected: &str) {
    let bytes: Vec<u8> =
        frames.iter().flat_map(|(first, payload)| client_frame(*first, &from_hex(payload))).collect();
    for read_bytes in [bytes.len(), 1, 7] {
        let outcome = receive(limits, takeover, bytes.chunks(read_bytes));
        assert_eq!(show(&outcome.events, outcome.fault), expected, "in reads of {read_bytes}");
    }
}

fn check(frames: &[(u8, &str)], expected: &str) {
    check_with(LIMITS, REFUSED, frames, expected);
    check_with(LIMITS, ALLOWED, frames, expected);
}

/// A payload as zlib compresses it: raw, flushed, the last four bytes taken off.
fn deflated(compress: &mut Compress, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * payload.len() + 64);
    compress.compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

fn compressor(level: u32, bits: u8) -> Compress {
    Compress::new_with_window_bits(Compression::new(level), false, bits)
}

#[test]
fn inflates_the_examples_of_the_rfc() {
    // RFC 7692 §7.2.3.1: in one frame and in two; §7.2.3.3: a stored block; .4: BFINAL; .5: two blocks; .6: nothing.
    check(&[(TEXT, "f248cdc9c90700")], "text Hello");
    check(&[(0x41, "f248cd"), (0x80, "c9c90700")], "text Hello");
    check(&[(TEXT, "000500faff48656c6c6f00")], "text Hello");
    check(&[(TEXT, "f348cdc9c9070000")], "text Hello");
    check(&[(TEXT, "f248050000 00ffffcac9c90700")], "text Hello");
    check(&[(TEXT, "00")], "text ");
    check(&[(0x41, "f248cdc9c90700"), (0x80, "")], "text Hello");
    check(&[(0x41, "f248cdc9c907"), (0x80, "00")], "text Hello");
}

#[test]
fn messages_share_a_window_only_if_that_was_agreed_on() {
    // RFC 7692 §7.2.3.2, and a third message; as Python's zlib makes them.
    let frames = [(TEXT, "f248cdc9c90700"), (TEXT, "f200110000"), (TEXT, "02133a0a19100acc0300")];
    check_with(LIMITS, ALLOWED, &frames, "text Hello, text Hello, text Hello, hello, Hello");
    check_with(LIMITS, REFUSED, &frames, "text Hello, 1007 DeflateInvalid");
}

#[test]
fn a_window_that_is_kept_outlives_a_final_block() {
    let frames = [(TEXT, "f348cdc9c9070000"), (TEXT, "f200110000"), (0x81, "21"), (TEXT, "f200110000")];
    check_with(LIMITS, ALLOWED, &frames, "text Hello, text Hello, text !, text Hello");
}

#[test]
fn inflates_what_other_compressors_make() {
    // Python's zlib: level 9; 6 with fixed codes and 9 bits of window; 0 (stored); 6 with Huffman codes only.
    let payload = r#"{"jsonrpc":"2.0","id":7,"method":"public/subscribe","params":{"channels":["book.BTC-PERPETUAL.raw","trades.ETH-PERPETUAL.100ms"]}}"#;
    for hex in [
        "aa56ca2acecf2b2a4856b25232d23350d251ca4c51b232d751ca4d2dc9c80732950a4a93723293f58b4b938a938b329352814a0a\
         128b12738b95acaa95923312f3f2527380ec68a5a4fcfc6c3da71067dd00d7a000d79050471fbda2c472a0f292a2c494d4623dd7\
         100f2429430303a011b1b5b50000",
        "0082007dff7b226a736f6e727063223a22322e30222c226964223a372c226d6574686f64223a227075626c69632f737562736372\
         696265222c22706172616d73223a7b226368616e6e656c73223a5b22626f6f6b2e4254432d50455250455455414c2e726177222c\
         227472616465732e4554482d50455250455455414c2e3130306d73225d7d7d00",
        "04c1bb0a83301806d077f9e6985a9742365b021d1c82c4a974c80db43517f22b1dc477ef39073e94532d0e021d6fc1b078881b43\
         0cdb9c3d04ca6ed7c55d68b7e4ea6203188aa92612c401379b94c24a102fd89cbffcae1f8d92a3927aea075ecd0f0c5b353e1097\
         fad928392aa9a77ee0d7b68d84f779fe01",
    ] {
        check(&[(TEXT, hex)], &format!("text {payload}"));
    }
}

#[test]
fn compressed_and_plain_messages_and_control_frames_mix() {
    let frames = [
        (0x41, "f248cd"),
        (0x89, "7031"),
        (0x00, "c9"),
        (0x80, "c90700"),
        (0x81, "6f6b"),
        (0xc2, "f248cdc9c90700"),
        (0x88, "03e8"),
    ];
    check(&frames, "ping p1, text Hello, text ok, binary [48, 65, 6c, 6c, 6f], close 1000 ");
}

#[test]
fn the_bit_of_compression_is_legal_on_the_first_frame_of_a_data_message_only() {
    for first in [0xc9, 0xca, 0xc8, 0xc0, 0x40, 0xe1, 0xd1, 0xa1, 0x91] {
        check(&[(first, "00")], "1002 ReservedBits");
    }
    check(&[(0x41, "f248cd"), (0xc0, "c9c90700")], "1002 ReservedBits");
    check(&[(0x01, "41"), (0xc0, "00")], "1002 ReservedBits");
    check(&[(0x01, "41"), (TEXT, "00")], "1002 ReservedBits");
    check(&[(0x41, "f248cd"), (TEXT, "00")], "1002 ReservedBits");
    check(&[(0xc3, "")], "1002 ReservedBits");
}

#[test]
fn a_sender_whose_zlib_makes_nothing_of_nothing_has_sent_an_empty_message() {
    check(&[(TEXT, "")], "text ");
    check(&[(0x42, ""), (0x80, "")], "binary []");
    check_with(
        LIMITS,
        ALLOWED,
        &[(TEXT, "f248cdc9c90700"), (TEXT, ""), (TEXT, "f200110000")],
        "text Hello, text , text Hello",
    );
}

#[test]
fn a_stream_that_ends_with_its_last_block_is_whole() {
    check(&[(TEXT, "f348cdc9c90700")], "text Hello");
    check(&[(TEXT, "f348cdc9c90700 f348cdc9c90700")], "text HelloHello");
}

#[test]
fn refuses_what_is_no_deflate_data() {
    // A block of type 3; a stored block whose lengths don't match; a reference to before the beginning.
    check(&[(TEXT, "07")], "1007 DeflateInvalid");
    check(&[(TEXT, "000500f0ff48656c6c6f00")], "1007 DeflateInvalid");
    check(&[(TEXT, "f200110000")], "1007 DeflateInvalid");
    // The same after a whole stream.
    check(&[(TEXT, "f348cdc9c9070007")], "1007 DeflateInvalid");
}

#[test]
fn refuses_a_message_that_ends_inside_a_block() {
    check(&[(TEXT, "f2")], "1007 DeflateInvalid");
    check(&[(TEXT, "f248cdc9c907")], "1007 DeflateInvalid");
    check(&[(TEXT, "f348cdc9c907")], "1007 DeflateInvalid");
    check(&[(TEXT, "000500faff48656c6c6f")], "1007 DeflateInvalid");
    check(&[(TEXT, "000500faff4865")], "1007 DeflateInvalid");
    check(&[(TEXT, "000500")], "1007 DeflateInvalid");
    // The sender left the last four bytes on: there is no block where they are put back.
    check(&[(TEXT, "f248cdc9c907000000ffff")], "1007 DeflateInvalid");
}

#[test]
fn refuses_inflated_text_with_the_byte_that_cannot_be() {
    let mut payload = b"ok\xf4\x90".to_vec();
    payload.extend_from_slice(&b"and much more".repeat(10));
    let stored = [&[0x00, 134, 0, 121, 0xff], &payload[..], &[0x00]].concat();
    let mut bytes = client_frame(TEXT, &stored);
    let (mut receiver, mut inflaters) = (agreed(LIMITS, REFUSED), Inflaters::new(1));
    let until = 8 + 5 + 3;
    assert_eq!(receiver.step_inflating(&mut bytes[..until], &mut inflaters), Ok((until, None)));
    assert_eq!(receiver.step_inflating(&mut bytes[until..=until], &mut inflaters), Err(Fault::TextNotUtf8));
    check(&[(TEXT, "000100feffce00")], "1007 TextNotUtf8");
    check(&[(0x41, "000100feffce"), (0x80, "000100feffba00")], "text \u{3ba}");
    check(&[(0xc2, "000100feffce00")], "binary [ce]");
}

#[test]
fn what_a_message_makes_is_bounded_and_no_more_is_made() {
    let just_fits = format!("text {}", "a".repeat(500));
    check(&[(TEXT, "4a4c1c05230d0000")], &just_fits);
    check(&[(TEXT, "4a4c1c05230e0000")], "1009 MessageTooBig");
    let bomb = deflated(&mut compressor(9, 15), &vec![b'0'; 200_000]);
    assert!(bomb.len() < 300);
    for read_bytes in [1, 10, 1000] {
        let frame = client_frame(TEXT, &bomb);
        let outcome = receive(LIMITS, REFUSED, frame.chunks(read_bytes));
        assert_eq!((outcome.fault, outcome.inflated_bytes), (Some(Fault::MessageTooBig), 501));
    }
    // In several frames, each of which would do.
    let (first, second) = bomb.split_at(10);
    let frames = [client_frame(0x41, first), client_frame(0x00, second)].concat();
    let outcome = receive(LIMITS, REFUSED, [&frames[..]]);
    assert_eq!((outcome.fault, outcome.inflated_bytes), (Some(Fault::MessageTooBig), 501));
}

#[test]
fn a_compressed_frame_is_bounded_as_it_comes_and_its_message_as_it_is_made() {
    let stored = |bytes: usize| {
        let length = u16::try_from(bytes).unwrap();
        [&[0x00], &length.to_le_bytes()[..], &(!length).to_le_bytes(), &vec![b'a'; bytes], &[0x00]].concat()
    };
    let too_long = client_frame(TEXT, &stored(296));
    assert_eq!(receive(LIMITS, REFUSED, [&too_long[..]]).fault, Some(Fault::FrameTooBig));
    // 501 bytes that come make 490.
    let (mut first, last) = (stored(244), stored(246));
    first.pop();
    let frames = [client_frame(0x41, &first), client_frame(0x80, &last)].concat();
    let outcome = receive(LIMITS, REFUSED, [&frames[..]]);
    assert_eq!(outcome.events, [Event::Text("a".repeat(490).into())]);
}

#[test]
fn what_small_frames_cost_is_told() {
    let small = from_hex(
        "ecc181000000008020d6fd2516a90a00000000000000000000000000000000000000000000000000000000000000000000000000\
         00000000000000000000000000000000000000000000000000006a00",
    );
    let frames = client_frame(0xc2, &small).repeat(10);
    let outcome = receive(ROOMY, REFUSED, [&frames[..]]);
    assert_eq!((outcome.events.len(), outcome.inflated_bytes), (10, 655_360));
}

#[test]
fn only_so_many_messages_may_be_incomplete() {
    let mut inflaters = Inflaters::new(2);
    let mut receivers: Vec<Receiver> = (0..3).map(|_| agreed(LIMITS, REFUSED)).collect();
    let mut frame = client_frame(0x41, &from_hex("f248cd"));
    let mut whole = client_frame(TEXT, &from_hex("f248cdc9c90700"));
    for receiver in &mut receivers[..2] {
        assert!(receiver.step_inflating(&mut frame.clone(), &mut inflaters).is_ok());
    }
    // One that is here whole is no matter.
    assert!(receivers[2].step_inflating(&mut whole, &mut inflaters).unwrap().1.is_some());
    let refused = receivers[2].step_inflating(&mut frame, &mut inflaters);
    assert_eq!(refused, Err(Fault::InflatersExhausted));
    assert_eq!(inflaters.lent(), 2);
    receivers.iter_mut().for_each(|receiver| receiver.release(&mut inflaters));
    assert_eq!(inflaters.lent(), 0);
}

#[test]
fn an_inflater_that_a_fault_left_in_the_middle_is_not_used_again() {
    let mut inflaters = Inflaters::new(1);
    let whole = from_hex("f248cdc9c90700");
    for broken in ["f248cd", "07", "000500faff48", "4a4c1c05230e0000"] {
        let mut broken = client_frame(TEXT, &from_hex(broken));
        assert!(agreed(LIMITS, REFUSED).step_inflating(&mut broken, &mut inflaters).is_err());
        for _ in 0..2 {
            let mut frame = client_frame(TEXT, &whole);
            let (_, event) = agreed(LIMITS, REFUSED).step_inflating(&mut frame, &mut inflaters).unwrap();
            assert_eq!(event, Some(Event::Text("Hello".into())));
        }
    }
    assert_eq!(inflaters.lent(), 0);
}

#[test]
fn a_history_holds_no_more_than_its_window() {
    let mut receiver = Receiver::new(ROOMY);
    let window = WindowBits::new(9).unwrap();
    receiver.agree_on_deflate(&Agreement {
        server_window_bits: None,
        client_window_bits: Some(window),
        client_context_takeover: ALLOWED,
    });
    let (mut inflaters, mut compress) = (Inflaters::new(1), compressor(9, 9));
    for round in 0..200_usize {
        let text = format!("message {round}, {}", "price amount ".repeat(round % 90));
        let mut frame = client_frame(TEXT, &deflated(&mut compress, text.as_bytes()));
        let (_, event) = receiver.step_inflating(&mut frame, &mut inflaters).unwrap();
        assert_eq!(event, Some(Event::Text(text.into())));
        assert!(receiver.buffered_bytes() <= window.bytes());
    }
}

/// A message, whether it is compressed, and in how many frames it comes.
fn any_message() -> impl Strategy<Value = (String, bool, usize)> {
    let words = prop::collection::vec(
        prop::sample::select(vec!["bid", "ask", "\u{3b1}", "0000", "\u{1d11e}", "x"]),
        0..200,
    );
    (words.prop_map(|words| words.concat()), any::<bool>(), 1_usize..4)
}

fn any_takeover() -> impl Strategy<Value = ClientContextTakeover> {
    prop_oneof![Just(REFUSED), Just(ALLOWED)]
}

/// Some messages as a client compresses and writes them.
fn written(
    messages: &[(String, bool, usize)],
    takeover: ClientContextTakeover,
    compress: &mut Compress,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (text, compressed, frames) in messages {
        let payload = match (compressed, takeover) {
            (false, _) => text.as_bytes().to_vec(),
            (true, ALLOWED) if text.is_empty() => vec![0x00],
            (true, ALLOWED) => deflated(compress, text.as_bytes()),
            (true, REFUSED) => {
                compress.reset();
                deflated(compress, text.as_bytes())
            }
        };
        let piece_bytes = payload.len().div_ceil(*frames).max(1);
        let mut pieces: Vec<&[u8]> = payload.chunks(piece_bytes).collect();
        if pieces.is_empty() {
            pieces.push(&[]);
        }
        for (index, piece) in pieces.iter().enumerate() {
            let first = match (index, compressed) {
                (0, true) => 0x41,
                (0, false) => 0x01,
                _ => 0x00,
            };
            let fin = if index + 1 == pieces.len() { 0x80 } else { 0 };
            bytes.extend(client_frame(first | fin, piece));
        }
    }
    bytes
}

proptest! {
    #[test]
    fn receives_what_zlib_compresses_in_any_pieces(
        messages in prop::collection::vec(any_message(), 0..6), level in 0_u32..=9, bits in 9_u8..=15,
        takeover in any_takeover(), cuts in any_cuts(),
    ) {
        let bytes = written(&messages, takeover, &mut compressor(level, bits));
        let expected: Vec<_> =
            messages.into_iter().map(|(text, _, _)| Event::Text(Cow::Owned(text))).collect();
        let outcome = receive(ROOMY, takeover, cut_at(&bytes, &cuts));
        prop_assert_eq!((outcome.events, outcome.fault), (expected, None));
    }

    #[test]
    fn any_stream_gives_the_same_events_fault_and_work_in_any_pieces(
        messages in prop::collection::vec(any_message(), 0..4), level in 0_u32..=9,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        noise in prop::collection::vec(any::<u8>(), 0..20), takeover in any_takeover(), cuts in any_cuts(),
    ) {
        let mut bytes = written(&messages, takeover, &mut compressor(level, 15));
        for (place, byte) in changes.iter().filter(|_| !bytes.is_empty()).collect::<Vec<_>>() {
            let place = place.index(bytes.len());
            bytes[place] ^= byte;
        }
        bytes.extend_from_slice(&noise);
        let limits = ReceiveLimits { frame_bytes_max: 400, message_bytes_max: 500, fragments_max: 3 };
        let whole = receive(limits, takeover, [&bytes[..]]).essence();
        prop_assert_eq!(&whole, &receive(limits, takeover, cut_at(&bytes, &cuts)).essence());
        prop_assert_eq!(&whole, &receive(limits, takeover, bytes.chunks(1)).essence());
    }

    #[test]
    fn any_compressed_payload_gives_the_same_events_fault_and_work_in_any_pieces(
        payload in prop::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(0xed)], 0..290),
        first in prop::sample::select(vec![0xc1_u8, 0xc2]), cuts in any_cuts(),
    ) {
        let bytes = client_frame(first, &payload);
        let whole = receive(LIMITS, REFUSED, [&bytes[..]]).essence();
        prop_assert_eq!(&whole, &receive(LIMITS, REFUSED, cut_at(&bytes, &cuts)).essence());
        prop_assert_eq!(&whole, &receive(LIMITS, REFUSED, bytes.chunks(1)).essence());
    }
}
