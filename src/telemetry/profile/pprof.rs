//! A profile as `go tool pprof` and its like read it: `profile.proto` of github.com/google/pprof, by hand. PURE.
//!
//! Functions that were inlined are places of their own, so that a stack has one line a place.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Profile;

/// The message, compressed as readers expect it.
#[must_use]
pub fn pprof(profile: &Profile) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // A vector takes all.
    let _ = encoder.write_all(&message(profile));
    encoder.finish().unwrap_or_default()
}

/// Fields of `Profile` by their numbers.
pub(super) fn message(profile: &Profile) -> Vec<u8> {
    let mut texts = Texts::default();
    // The first is empty.
    texts.number("");
    let period_ns = 1_000_000_000 / u64::from(profile.hz.max(1));
    let mut out = Message::default();
    let cpu = Message::default().number(1, texts.number("cpu")).number(2, texts.number("nanoseconds"));
    let samples = Message::default().number(1, texts.number("samples")).number(2, texts.number("count"));
    out = out.message(1, &samples).message(1, &cpu);
    let thread_key = texts.number("thread");
    for stack in &profile.stacks {
        let thread = texts.number(&profile.threads[stack.thread].name);
        let label = Message::default().number(1, thread_key).number(2, thread);
        let places = stack.frames.iter().rev().map(|frame| *frame as u64 + 1);
        let values = [stack.samples, stack.samples.saturating_mul(period_ns)];
        let sample = Message::default().numbers(1, places).numbers(2, values.into_iter()).message(3, &label);
        out = out.message(2, &sample);
    }
    for (number, frame) in (1..).zip(&profile.frames) {
        let (file, line) = frame.place.as_ref().map_or(("", 0), |(file, line)| (file.as_str(), *line));
        let line = Message::default().number(1, number).number(2, line.into());
        out = out.message(4, &Message::default().number(1, number).message(4, &line));
        let name = texts.number(&frame.name);
        let function = Message::default()
            .number(1, number)
            .number(2, name)
            .number(3, name)
            .number(4, texts.number(file));
        out = out.message(5, &function);
    }
    for text in texts.in_order() {
        out = out.bytes(6, text.as_bytes());
    }
    out.number(9, profile.begun_unix_ns)
        .number(10, profile.duration_ns)
        .message(11, &cpu)
        .number(12, period_ns)
        .0
}

/// A message of protocol buffers.
#[derive(Clone, Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(mut self, field: u64, value: u64) -> Message {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Message {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn message(self, field: u64, message: &Message) -> Message {
        self.bytes(field, &message.0)
    }

    /// Packed.
    fn numbers(self, field: u64, values: impl Iterator<Item = u64>) -> Message {
        let mut packed = Message::default();
        values.for_each(|value| packed.varint(value));
        self.bytes(field, &packed.0)
    }

    /// Seven bits a byte, the lowest first.
    fn varint(&mut self, mut value: u64) {
        loop {
            let low = (value & 0x7f) as u8;
            value >>= 7;
            if value == 0 {
                return self.0.push(low);
            }
            self.0.push(low | 0x80);
        }
    }
}

/// Texts, each once.
#[derive(Debug, Default)]
struct Texts<'p> {
    numbers: BTreeMap<&'p str, u64>,
}

impl<'p> Texts<'p> {
    fn number(&mut self, text: &'p str) -> u64 {
        let next = self.numbers.len() as u64;
        *self.numbers.entry(text).or_insert(next)
    }

    fn in_order(&self) -> Vec<&'p str> {
        let mut texts: Vec<(u64, &str)> =
            self.numbers.iter().map(|(text, number)| (*number, *text)).collect();
        texts.sort_unstable();
        texts.into_iter().map(|(_, text)| text).collect()
    }
}
