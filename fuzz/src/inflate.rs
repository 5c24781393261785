//! DEFLATE (RFC 1951) read bit by bit, to hold the inflater against. It shares nothing with zlib but the standard, and
//! zlib's answers where the standard leaves it open: a code may be incomplete only where it is a single bit; that the code of
//! the code lengths is empty is noticed once those have been read, and that nothing is there to be repeated once it is
//! known how often.

/// Why inflating stopped before a stream's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// What comes next is not there yet.
    More,
    Invalid,
    /// More than the bound would be made.
    TooMuch,
}

/// The bytes that a sender takes off the end of each message, and a last block of nothing (RFC 7692 §7.2.2).
const END: [u8; 6] = [0x00, 0x00, 0xff, 0xff, 0x03, 0x00];
/// Of each length code: the least length, and the number of extra bits.
const LENGTHS: [(usize, u32); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
const CODE_LENGTH_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// What a message's payload, as far as it has come, makes, and whether it may end here: `whole` says that this is all of it.
/// `history` is what came before, where messages may refer to it, and how many bytes back they may: a stream after the first
/// of a message too.
pub fn inflate_message(
    payload: &[u8],
    whole: bool,
    history: Option<(&[u8], usize)>,
    bytes_max: usize,
) -> (Vec<u8>, Result<(), Stop>) {
    let mut made = Vec::new();
    let mut at = 0;
    while at < payload.len() {
        let mut window = history.map_or_else(Vec::new, |(history, _)| [history, &made].concat());
        let window_bytes_max = history.map_or(0, |(_, bytes_max)| bytes_max);
        window.drain(..window.len().saturating_sub(window_bytes_max));
        let stream = &payload[at..];
        let mut reader = Reader::new(stream, window, bytes_max - made.len());
        let end = reader.stream();
        let here = reader.made().to_vec();
        made.extend_from_slice(&here);
        match end {
            Ok(()) => at += reader.taken_bytes(),
            Err(Stop::More) if whole => {
                let window = reader.window();
                let ended = [stream, &END].concat();
                let mut again = Reader::new(&ended, window, usize::MAX);
                let is_end = again.stream().is_ok()
                    && again.taken_bytes() == ended.len()
                    && again.made().len() == here.len();
                return (made, if is_end { Ok(()) } else { Err(Stop::Invalid) });
            }
            Err(stop) => return (made, Err(stop)),
        }
    }
    (made, if whole { Ok(()) } else { Err(Stop::More) })
}

/// What a whole message of one stream makes, and the longest way back of any reference in it; `None` if it is no such message.
#[must_use]
pub fn inflate_stream(payload: &[u8], bytes_max: usize) -> Option<(Vec<u8>, usize)> {
    let ended = [payload, &END].concat();
    let mut reader = Reader::new(&ended, Vec::new(), bytes_max);
    let is_whole = reader.stream().is_ok() && reader.taken_bytes() == ended.len();
    is_whole.then_some((reader.out, reader.distance_max))
}

/// One stream on its way.
struct Reader<'b> {
    input: &'b [u8],
    at_bit: usize,
    out: Vec<u8>,
    window_bytes: usize,
    bytes_max: usize,
    /// The longest way back of any reference.
    distance_max: usize,
}

impl<'b> Reader<'b> {
    /// `window` is what references may reach before the stream's first byte.
    fn new(input: &'b [u8], window: Vec<u8>, bytes_max: usize) -> Reader<'b> {
        Reader { input, at_bit: 0, window_bytes: window.len(), out: window, bytes_max, distance_max: 0 }
    }

    fn made(&self) -> &[u8] {
        &self.out[self.window_bytes..]
    }

    fn window(&self) -> Vec<u8> {
        self.out[..self.window_bytes].to_vec()
    }

    /// Bytes of the input that belong to the stream, once it has ended.
    fn taken_bytes(&self) -> usize {
        self.at_bit.div_ceil(8)
    }

    /// Reads to the end of the last block.
    fn stream(&mut self) -> Result<(), Stop> {
        loop {
            let is_last = self.bits(1)? == 1;
            match self.bits(2)? {
                0 => self.stored()?,
                1 => {
                    let literals = [(144, 8), (112, 9), (24, 7), (8, 8)];
                    let lengths: Vec<usize> =
                        literals.iter().flat_map(|(count, len)| vec![*len; *count]).collect();
                    self.compressed(&Code::new(&lengths), &Code::new(&[5; 32]))?;
                }
                2 => self.dynamic()?,
                _ => return Err(Stop::Invalid),
            }
            if is_last {
                return Ok(());
            }
        }
    }

    fn bits(&mut self, count: u32) -> Result<usize, Stop> {
        let mut value = 0;
        for place in 0..count {
            let byte = self.input.get(self.at_bit / 8).ok_or(Stop::More)?;
            value |= usize::from(byte >> (self.at_bit % 8) & 1) << place;
            self.at_bit += 1;
        }
        Ok(value)
    }

    fn put(&mut self, byte: u8) -> Result<(), Stop> {
        if self.made().len() >= self.bytes_max {
            return Err(Stop::TooMuch);
        }
        self.out.push(byte);
        Ok(())
    }

    fn stored(&mut self) -> Result<(), Stop> {
        self.at_bit = self.at_bit.next_multiple_of(8);
        let (len, complement) = (self.bits(16)?, self.bits(16)?);
        if len != complement ^ 0xffff {
            return Err(Stop::Invalid);
        }
        for _ in 0..len {
            let byte = self.bits(8)?;
            self.put(u8::try_from(byte).expect("eight bits"))?;
        }
        Ok(())
    }

    fn dynamic(&mut self) -> Result<(), Stop> {
        let (literals, distances, code_lengths) = (self.bits(5)? + 257, self.bits(5)? + 1, self.bits(4)? + 4);
        if literals > 286 || distances > 30 {
            return Err(Stop::Invalid);
        }
        let mut lengths = [0; 19];
        for place in &CODE_LENGTH_ORDER[..code_lengths] {
            lengths[*place] = self.bits(3)?;
        }
        let code = Code::new(&lengths);
        if code.is_empty() {
            // Each bit is a length of 0, so that in the end 256 has no code.
            for _ in 0..literals + distances {
                self.bits(1)?;
            }
        }
        if !code.is_complete() {
            return Err(Stop::Invalid);
        }
        let mut lengths: Vec<usize> = Vec::new();
        while lengths.len() < literals + distances {
            let (length, times) = match self.symbol(&code)? {
                16 => {
                    let times = 3 + self.bits(2)?;
                    let Some(last) = lengths.last().copied() else { return Err(Stop::Invalid) };
                    (last, times)
                }
                17 => (0, 3 + self.bits(3)?),
                18 => (0, 11 + self.bits(7)?),
                length => (length, 1),
            };
            lengths.resize(lengths.len() + times, length);
        }
        if lengths.len() > literals + distances || lengths[256] == 0 {
            return Err(Stop::Invalid);
        }
        let (literals, distances) = (Code::new(&lengths[..literals]), Code::new(&lengths[literals..]));
        let may_be = |code: &Code| code.is_complete() || code.is_one_bit();
        if !may_be(&literals) || !(may_be(&distances) || distances.is_empty()) {
            return Err(Stop::Invalid);
        }
        self.compressed(&literals, &distances)
    }

    fn compressed(&mut self, literals: &Code, distances: &Code) -> Result<(), Stop> {
        loop {
            let symbol = self.symbol(literals)?;
            if symbol == 256 {
                return Ok(());
            }
            if let Ok(byte) = u8::try_from(symbol) {
                self.put(byte)?;
                continue;
            }
            let (least, extra) = *LENGTHS.get(symbol - 257).ok_or(Stop::Invalid)?;
            let length = least + self.bits(extra)?;
            let symbol = self.symbol(distances)?;
            let distance = match symbol {
                0..4 => symbol + 1,
                4..30 => {
                    let extra = symbol / 2 - 1;
                    let low = self.bits(u32::try_from(extra).expect("at most 13"))?;
                    ((2 + symbol % 2) << extra) + low + 1
                }
                _ => return Err(Stop::Invalid),
            };
            if distance > self.out.len() {
                return Err(Stop::Invalid);
            }
            self.distance_max = self.distance_max.max(distance);
            for _ in 0..length {
                self.put(self.out[self.out.len() - distance])?;
            }
        }
    }

    fn symbol(&mut self, code: &Code) -> Result<usize, Stop> {
        // Codes in order of length, those of one length in order of their symbols (§3.2.2).
        let (mut value, mut first, mut index) = (0, 0, 0);
        for length in 1..16 {
            value = value << 1 | self.bits(1)?;
            let count = code.counts[length];
            if value < first + count {
                return Ok(code.symbols[index + value - first]);
            }
            index += count;
            first = (first + count) << 1;
            if length == code.longest() {
                break;
            }
        }
        Err(Stop::Invalid)
    }
}

/// A prefix code.
struct Code {
    /// Symbols of each length.
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[usize]) -> Code {
        let mut counts = [0; 16];
        lengths.iter().for_each(|length| counts[*length] += 1);
        counts[0] = 0;
        let mut places = [0; 16];
        for length in 1..16 {
            places[length] = places[length - 1] + counts[length - 1];
        }
        let mut symbols = vec![0; counts.iter().sum()];
        for (symbol, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            symbols[places[*length]] = symbol;
            places[*length] += 1;
        }
        Code { counts, symbols }
    }

    /// The longest code's length; 1 where there is none, so that a bit is looked at before it is found invalid.
    fn longest(&self) -> usize {
        self.counts.iter().rposition(|count| *count > 0).unwrap_or(1)
    }

    /// Every sequence of bits begins with a code, and with one only.
    fn is_complete(&self) -> bool {
        let shares: usize = (1..16).map(|length| self.counts[length] << (15 - length)).sum();
        shares == 1 << 15
    }

    fn is_one_bit(&self) -> bool {
        self.symbols.len() == 1 && self.counts[1] == 1
    }

    fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hex: &str, expected: Result<&str, Stop>) {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        let payload: Vec<u8> = (0..hex.len()).step_by(2).map(digit).collect();
        let (made, end) = inflate_message(&payload, true, None, 100);
        assert_eq!(
            end.map(|()| String::from_utf8(made).expect("text")),
            expected.map(str::to_owned),
            "{hex}"
        );
    }

    /// Found by `websocket`: the streams are invalid, and zlib has not seen it yet.
    #[test]
    fn notices_what_is_invalid_when_zlib_does() {
        for payload in [[0x05, 0x11, 0x00, 0x20], [0xc5, 0x00, 0x04, 0x25]] {
            assert_eq!(inflate_message(&payload, false, None, 100).1, Err(Stop::More), "{payload:02x?}");
            let whole = inflate_message(&[&payload[..], &[0; 60]].concat(), true, None, 100).1;
            assert_eq!(whole, Err(Stop::Invalid), "{payload:02x?}");
        }
    }

    #[test]
    fn reads_the_examples_of_rfc_7692() {
        check("f248cdc9c90700", Ok("Hello"));
        check("000500faff48656c6c6f00", Ok("Hello"));
        check("f348cdc9c9070000", Ok("Hello"));
        check("f248050000 00ffffcac9c90700".replace(' ', "").as_str(), Ok("Hello"));
        check("06", Err(Stop::Invalid));
        check("f248cdc9c9", Err(Stop::Invalid));
        let second = inflate_message(&[0xf2, 0x00, 0x11, 0x00, 0x00], true, Some((b"Hello", 256)), 100);
        assert_eq!(second, (b"Hello".to_vec(), Ok(())));
    }
}
