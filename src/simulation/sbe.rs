//! A reader of SBE of the simulation's own, written from docs/sbe/tickring.xml: what a client is told in it becomes the notification that
//! says the same in JSON, so that one oracle judges both. PURE. It shares no code with the codecs.

use super::reference::print;

/// What a binary frame says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The `params` of a notification.
    Notification(String),
    Heartbeat {
        is_test: bool,
    },
    /// Events of a channel that are not told, the first and the last.
    Gap {
        channel: String,
        epoch: u64,
        first: u64,
        last: u64,
    },
}

const HEADER_BYTES: usize = 8;
const NULL_PRICE: i64 = i64::MIN;

/// Reads a whole frame; instruments are called by their numbers' order, as the feed lists them.
///
/// # Panics
/// On what no server may send.
#[must_use]
pub(super) fn read(frame: &[u8]) -> Told {
    let mut reader = Reader { rest: frame };
    let (block_length, template) = (usize::from(reader.u16()), reader.u16());
    assert_eq!((reader.u16(), reader.u16()), (1, 0), "schema and version");
    assert!(frame.len() >= HEADER_BYTES + block_length, "a block is whole");
    let expected = match template {
        1 => 9,
        2 => 41,
        10 => 129,
        11 => 68,
        12 => 29,
        13 => 56,
        14 => 61,
        other => panic!("template {other} is none of the market's"),
    };
    assert_eq!(block_length, expected, "of template {template}");
    let told = match template {
        1 => {
            reader.u64();
            Told::Heartbeat { is_test: reader.flag() }
        }
        2 => reader.gap(),
        _ => reader.notification(template),
    };
    assert!(reader.rest.is_empty(), "bytes behind a message of template {template}");
    told
}

/// What is left of a frame.
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
}

impl Reader<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.rest.split_first_chunk().expect("a message is whole");
        self.rest = rest;
        *taken
    }

    pub(super) fn u8(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    pub(super) fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.take())
    }

    pub(super) fn text(&mut self) -> String {
        let (text, rest) =
            self.rest[2..].split_at(usize::from(u16::from_le_bytes([self.rest[0], self.rest[1]])));
        self.rest = rest;
        String::from_utf8(text.to_vec()).expect("a server's text is UTF-8")
    }

    /// The amounts of a group of fills together.
    pub(super) fn fills(&mut self) -> i64 {
        assert_eq!(self.u16(), 51);
        let count = self.u32();
        let fill = |reader: &mut Self| {
            let (_trade_seq, _at, _price, amount) = (reader.u64(), reader.u64(), reader.i64(), reader.i64());
            // Mark price, profit, liquidity, tick direction.
            reader.take::<19>();
            amount
        };
        (0..count).map(|_| fill(self)).sum()
    }

    fn flag(&mut self) -> bool {
        match self.u8() {
            0 => false,
            1 => true,
            other => panic!("{other} is neither yes nor no"),
        }
    }

    fn instrument(&mut self) -> String {
        format!("I{}-X", self.u32())
    }

    fn interval(&mut self) -> &'static str {
        match self.u8() {
            0 => "raw",
            1 => "100ms",
            2 => "agg2",
            other => panic!("no interval is {other}"),
        }
    }

    /// Group and depth of a grouped book, as its channel has them.
    fn grouping(&mut self) -> Option<String> {
        let (ticks, depth) = (self.u16(), self.u8());
        assert_eq!(ticks == u16::MAX, depth == u8::MAX, "a group has a depth");
        match ticks {
            u16::MAX => None,
            0 => Some(format!("none.{depth}")),
            ticks => Some(format!("{ticks}.{depth}")),
        }
    }

    /// A number in units of 1e-9.
    fn units(&mut self) -> String {
        let units = self.i64();
        assert!(units >= 0, "nothing is negative here: {units}");
        print(units, 0)
    }

    fn units_or_null(&mut self) -> String {
        match i64::from_le_bytes(*self.rest.first_chunk().expect("a message is whole")) {
            NULL_PRICE => {
                self.i64();
                "null".to_string()
            }
            _ => self.units(),
        }
    }

    /// The entries of a group.
    fn group(&mut self, entry_bytes: u16, read: impl Fn(&mut Self) -> String) -> String {
        assert_eq!(self.u16(), entry_bytes);
        let count = self.u32();
        let entries: Vec<String> = (0..count).map(|_| read(self)).collect();
        format!("[{}]", entries.join(","))
    }

    fn gap(&mut self) -> Told {
        let (epoch, first, last) = (self.u64(), self.u64(), self.u64());
        self.u64();
        let (instrument, channel, interval) = (self.instrument(), self.u8(), self.interval());
        let grouping = self.grouping();
        let channel = match (channel, grouping) {
            (0, None) => format!("ticker.{instrument}.{interval}"),
            (1, None) => format!("quote.{instrument}"),
            (2, None) => format!("trades.{instrument}.{interval}"),
            (3, None) => format!("book.{instrument}.{interval}"),
            (4, Some(grouping)) => format!("book.{instrument}.{grouping}.{interval}"),
            other => panic!("no such channel: {other:?}"),
        };
        Told::Gap { channel, epoch, first, last }
    }

    fn notification(&mut self, template: u16) -> Told {
        let (epoch, seq, _sent) = (self.u64(), self.u64(), self.u64());
        let (channel, data) = match template {
            10 => self.ticker(),
            11 => self.quote(),
            12 => self.trades(),
            13 => self.snapshot(),
            14 => self.delta(),
            other => unreachable!("template {other} was looked at before"),
        };
        let place = format!("\"epoch\":{epoch},\"seq\":{seq}");
        Told::Notification(format!("{{\"channel\":\"{channel}\",\"data\":{data},{place}}}"))
    }

    fn best(&mut self) -> String {
        let (bid, bid_amount) = (self.units_or_null(), self.units());
        let (ask, ask_amount) = (self.units_or_null(), self.units());
        format!(
            "\"best_bid_price\":{bid},\"best_bid_amount\":{bid_amount},\
             \"best_ask_price\":{ask},\"best_ask_amount\":{ask_amount}"
        )
    }

    fn ticker(&mut self) -> (String, String) {
        self.u64();
        let (instrument, interval, is_open) = (self.instrument(), self.interval(), self.flag());
        let state = if is_open { "open" } else { "closed" };
        let (best, last) = (self.best(), self.units_or_null());
        // Mark price, high, low, volume, turnover, change of price: the oracle does not look at them.
        self.take::<51>();
        let data = format!("{{\"state\":\"{state}\",{best},\"last_price\":{last}}}");
        (format!("ticker.{instrument}.{interval}"), data)
    }

    fn quote(&mut self) -> (String, String) {
        self.u64();
        let instrument = self.instrument();
        (format!("quote.{instrument}"), format!("{{{}}}", self.best()))
    }

    fn trades(&mut self) -> (String, String) {
        let (instrument, interval) = (self.instrument(), self.interval());
        let trades = self.group(42, |reader| {
            let (seq, _at) = (reader.u64(), reader.u64());
            let (price, amount, _mark) = (reader.units(), reader.units(), reader.units());
            let side = match reader.u8() {
                b'1' => "buy",
                b'2' => "sell",
                other => panic!("no side is {other}"),
            };
            assert!((b'0'..=b'3').contains(&reader.u8()), "a tick direction");
            format!("{{\"trade_seq\":{seq},\"price\":{price},\"amount\":{amount},\"direction\":\"{side}\"}}")
        });
        (format!("trades.{instrument}.{interval}"), trades)
    }

    fn snapshot(&mut self) -> (String, String) {
        self.u64();
        let (change_id, checksum) = (self.u64(), self.u64());
        let (instrument, grouping, interval) = (self.instrument(), self.grouping(), self.interval());
        if let Some(grouping) = grouping {
            assert_eq!(checksum, u64::MAX, "no grouped book has a checksum");
            let pair = |reader: &mut Self| format!("[{},{}]", reader.units(), reader.units());
            let (bids, asks) = (self.group(16, pair), self.group(16, pair));
            let data = format!("{{\"change_id\":{change_id},\"bids\":{bids},\"asks\":{asks}}}");
            return (format!("book.{instrument}.{grouping}.{interval}"), data);
        }
        let level = |reader: &mut Self| format!("[\"new\",{},{}]", reader.units(), reader.units());
        let (bids, asks) = (self.group(16, level), self.group(16, level));
        let checksum = written_checksum(checksum);
        let data = format!(
            "{{\"type\":\"snapshot\",\"change_id\":{change_id},\"bids\":{bids},\"asks\":{asks}{checksum}}}"
        );
        (format!("book.{instrument}.{interval}"), data)
    }

    fn delta(&mut self) -> (String, String) {
        self.u64();
        let (change_id, previous, checksum) = (self.u64(), self.u64(), self.u64());
        let (instrument, interval) = (self.instrument(), self.interval());
        let change = |reader: &mut Self| {
            let (price, amount) = (reader.units(), reader.units());
            let action = match reader.u8() {
                0 => "new",
                1 => "change",
                2 => "delete",
                other => panic!("no action is {other}"),
            };
            format!("[\"{action}\",{price},{amount}]")
        };
        let (bids, asks) = (self.group(17, change), self.group(17, change));
        let checksum = written_checksum(checksum);
        let data = format!(
            "{{\"type\":\"change\",\"change_id\":{change_id},\"prev_change_id\":{previous},\
             \"bids\":{bids},\"asks\":{asks}{checksum}}}"
        );
        (format!("book.{instrument}.{interval}"), data)
    }
}

fn written_checksum(checksum: u64) -> String {
    if checksum == u64::MAX { String::new() } else { format!(",\"checksum\":{checksum}") }
}
