//! What one WebSocket message costs before anybody looks into it: decode, unmask, UTF-8, and a header on the way out.
//! `cargo bench --bench ws --no-default-features`

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
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
