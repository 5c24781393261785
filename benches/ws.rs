//! What one WebSocket message costs before anybody looks into it: decode, unmask, inflate, UTF-8, and a header on the way
//! out, or deflate.
//! `cargo bench --bench ws --no-default-features`

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use tickring::ws::deflate::{Agreement, ClientContextTakeover, Deflater, Inflaters, WindowBits};
use tickring::ws::frame::{Opcode, SERVER_HEADER_BYTES_MAX, encode_header};
use tickring::ws::mask::unmask;
use tickring::ws::utf8::validate;
use tickring::ws::{Event, ReceiveLimits, Receiver};

const LIMITS: ReceiveLimits =
    ReceiveLimits { frame_bytes_max: 1 << 20, message_bytes_max: 1 << 20, fragments_max: 64 };
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn main() {
    divan::main();
}

/// A masked text frame of ASCII, the way a client sends JSON.
fn client_text_frame(payload_bytes: usize) -> Vec<u8> {
    let mut header = [0; SERVER_HEADER_BYTES_MAX];
    let header_bytes = encode_header(Opcode::Text, payload_bytes, &mut header);
    header[1] |= 0x80;
    let mut payload = vec![b'7'; payload_bytes];
    unmask(&mut payload, MASK, 0);
    [&header[..header_bytes], &MASK, &payload].concat()
}

/// One whole message in one read: header, unmasking and UTF-8.
#[divan::bench(args = [64, 1024])]
fn receive_text(bencher: Bencher<'_, '_>, payload_bytes: usize) {
    let frame = client_text_frame(payload_bytes);
    let mut receiver = Receiver::new(LIMITS);
    bencher.counter(BytesCount::new(payload_bytes)).with_inputs(|| frame.clone()).bench_local_refs(|input| {
        match receiver.step(black_box(input)) {
            Ok((taken, Some(Event::Text(text)))) => (taken, text.len()),
            outcome => panic!("a whole text message is received: {outcome:?}"),
        }
    });
}

/// One message whose last byte comes in a second read: what assembling adds.
#[divan::bench(args = [64, 1024])]
fn receive_text_in_two_reads(bencher: Bencher<'_, '_>, payload_bytes: usize) {
    let frame = client_text_frame(payload_bytes);
    let mut receiver = Receiver::new(LIMITS);
    bencher.counter(BytesCount::new(payload_bytes)).with_inputs(|| frame.clone()).bench_local_refs(|input| {
        let (first, last) = input.split_at_mut(frame.len() - 1);
        assert!(matches!(receiver.step(black_box(first)), Ok((_, None))));
        match receiver.step(black_box(last)) {
            Ok((taken, Some(Event::Text(text)))) => (taken, text.len()),
            outcome => panic!("a text message in two reads is received: {outcome:?}"),
        }
    });
}

/// Notifications as subscribers get them, one after the other until there are enough bytes.
fn market_json(payload_bytes: usize) -> Vec<u8> {
    let mut payload = Vec::new();
    for number in (0..).take_while(|number| number * 60 < payload_bytes) {
        let level = format!("[\"change\",{}.5,{}.0],", 61_000 + number * 7 % 43, number * 1_237 % 9_000);
        payload.extend_from_slice(b"{\"side\":\"buy\",\"level\":");
        payload.extend_from_slice(level.as_bytes());
    }
    payload.truncate(payload_bytes);
    payload
}

/// A message compressed by itself, as a broadcast's home does it once for all who follow.
#[divan::bench(args = [(1, 300), (1, 4096), (2, 300), (2, 4096), (6, 300), (6, 4096)])]
fn deflate_market_json(bencher: Bencher<'_, '_>, (level, payload_bytes): (u8, usize)) {
    let payload = market_json(payload_bytes);
    let mut deflater = Deflater::new(level);
    bencher
        .counter(BytesCount::new(payload_bytes))
        .bench_local(|| deflater.frame(Opcode::Text, WindowBits::MAX, black_box(&payload)).map(<[u8]>::len));
}

/// One whole compressed message in one read: header, unmasking, inflating and UTF-8.
#[divan::bench(args = [300, 4096])]
fn receive_compressed_text(bencher: Bencher<'_, '_>, payload_bytes: usize) {
    let mut deflater = Deflater::new(6);
    let payload = market_json(payload_bytes);
    let frame = deflater.frame(Opcode::Text, WindowBits::MAX, &payload).expect("JSON is compressible");
    let header_bytes = if frame.len() < 128 { 2 } else { 4 };
    let mut masked = [&frame[..header_bytes], &MASK, &frame[header_bytes..]].concat();
    masked[1] |= 0x80;
    unmask(&mut masked[header_bytes + MASK.len()..], MASK, 0);
    let (mut receiver, mut inflaters) = (Receiver::new(LIMITS), Inflaters::new(1));
    receiver.agree_on_deflate(&Agreement {
        server_window_bits: None,
        client_window_bits: None,
        client_context_takeover: ClientContextTakeover::Refused,
    });
    bencher.counter(BytesCount::new(payload_bytes)).with_inputs(|| masked.clone()).bench_local_refs(
        |input| match receiver.step_inflating(black_box(input), &mut inflaters) {
            Ok((taken, Some(Event::Text(text)))) => (taken, text.len()),
            outcome => panic!("a compressed text message is received: {outcome:?}"),
        },
    );
}

#[divan::bench(args = [64, 16 * 1024])]
fn unmask_in_place(bencher: Bencher<'_, '_>, payload_bytes: usize) {
    let mut payload = vec![0_u8; payload_bytes];
    bencher.counter(BytesCount::new(payload_bytes)).bench_local(|| unmask(black_box(&mut payload), MASK, 0));
}

#[divan::bench(args = [64, 1024, 16 * 1024])]
fn utf8_of_ascii(bencher: Bencher<'_, '_>, text_bytes: usize) {
    let text = vec![b'7'; text_bytes];
    bencher.counter(BytesCount::new(text_bytes)).bench_local(|| validate(black_box(&text)).is_ok());
}

#[divan::bench(args = [64, 1024, 16 * 1024])]
fn utf8_of_greek(bencher: Bencher<'_, '_>, text_bytes: usize) {
    let text = "κ".repeat(text_bytes / 2);
    bencher.counter(BytesCount::new(text_bytes)).bench_local(|| validate(black_box(text.as_bytes())).is_ok());
}

#[divan::bench(args = [100, 1000, 100_000])]
fn encode_header_of(bencher: Bencher<'_, '_>, payload_bytes: usize) {
    let mut out = [0; SERVER_HEADER_BYTES_MAX];
    bencher.bench_local(|| encode_header(Opcode::Text, black_box(payload_bytes), black_box(&mut out)));
}
