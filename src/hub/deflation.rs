//! Which frames are compressed, and for whom. PURE.
//!
//! A topic's home compresses each event once for all who can read the outcome; shards tell it which windows their
//! followers have, and pick for each follower the frame that it can read. What has no compressed frame goes plain, which
//! is legal at any time (RFC 7692 §6).

use crate::model::channel::{MarketChannel, TopicKey};
use crate::model::encoding::Encoding;
use crate::ws::deflate::WindowBits;

/// A kind of channel, as the configuration names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    Ticker,
    Quote,
    /// Grouped books too.
    Book,
    Trades,
    /// What clients publish.
    Topic,
}

/// How what is told to subscribers is compressed; which clients asked for it is another matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflation {
    /// zlib's, 1 (fast) to 9 (small).
    pub level: u8,
    /// A shorter payload goes out as it is.
    pub message_bytes_min: u32,
    pub kinds: ChannelKinds,
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelKinds(u8);

/// Whether one connection's data is compressed, and for which window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Compression(u8);

/// A set of windows to compress for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Windows(u8);

/// The windows from 9 bits on.
pub(super) const WINDOWS: usize = 7;

/// As an empty configuration file has it. The level: of the paper market's messages of 300 to 800 bytes level 1 leaves 63
/// to 82 %, level 2 49 to 69 %, and the levels above it at most 4 points less. 300 bytes take 2.3 µs at level 1 and 5.8 µs
/// at level 2 (`benches/ws.rs`), once for all who read them.
impl Default for Deflation {
    fn default() -> Deflation {
        Deflation { level: 2, message_bytes_min: 128, kinds: ChannelKinds::ALL }
    }
}

impl Deflation {
    /// Whether a payload is long enough.
    #[must_use]
    pub(super) const fn serves(&self, payload: &[u8]) -> bool {
        self.message_bytes_min as usize <= payload.len()
    }
}

impl ChannelKind {
    pub const ALL: [ChannelKind; 5] =
        [ChannelKind::Ticker, ChannelKind::Quote, ChannelKind::Book, ChannelKind::Trades, ChannelKind::Topic];

    /// The first word of such a channel's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ChannelKind::Ticker => "ticker",
            ChannelKind::Quote => "quote",
            ChannelKind::Book => "book",
            ChannelKind::Trades => "trades",
            ChannelKind::Topic => "topic",
        }
    }

    /// None of what is private: it is short, for few, and not to wait. Nor of SBE: it is short, and who asks for it counts nanoseconds.
    fn of(key: &TopicKey) -> Option<ChannelKind> {
        let kind = match key {
            TopicKey::Private { .. } => return None,
            TopicKey::Client(_) => ChannelKind::Topic,
            TopicKey::Market { encoding: Encoding::Sbe, .. } => return None,
            TopicKey::Market { encoding: Encoding::Json, channel, .. } => match channel {
                MarketChannel::Ticker { .. } => ChannelKind::Ticker,
                MarketChannel::Quote => ChannelKind::Quote,
                MarketChannel::Book { .. } | MarketChannel::GroupedBook { .. } => ChannelKind::Book,
                MarketChannel::Trades { .. } => ChannelKind::Trades,
            },
        };
        Some(kind)
    }
}

impl ChannelKinds {
    pub const ALL: ChannelKinds = ChannelKinds((1 << ChannelKind::ALL.len()) - 1);

    /// Those and no others.
    #[must_use]
    pub fn of(kinds: impl IntoIterator<Item = ChannelKind>) -> ChannelKinds {
        ChannelKinds(kinds.into_iter().fold(0, |set, kind| set | 1 << kind as u8))
    }

    /// Whether topics of this key's kind are compressed.
    #[must_use]
    pub(super) fn contains(self, key: &TopicKey) -> bool {
        ChannelKind::of(key).is_some_and(|kind| self.0 & 1 << kind as u8 != 0)
    }
}

impl Compression {
    pub(super) const PLAIN: Compression = Compression(0);
    /// How many there are.
    pub(super) const COUNT: usize = 1 + WINDOWS;

    /// For a client that agreed to this window for what it is sent.
    #[must_use]
    pub(super) fn deflated(window: WindowBits) -> Compression {
        Compression(1 + place(window))
    }

    /// From 0, which is plain.
    #[must_use]
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }

    #[must_use]
    pub(super) fn window(self) -> Option<WindowBits> {
        self.0.checked_sub(1).map(window)
    }
}

impl Windows {
    /// As a number, a bit for each.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The other way; `None` where a bit means no window.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Windows> {
        if bits >> WINDOWS == 0 { Some(Windows(bits)) } else { None }
    }

    #[must_use]
    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn insert(&mut self, window: WindowBits) {
        self.0 |= 1 << place(window);
    }

    #[must_use]
    pub(super) const fn contains(self, window: WindowBits) -> bool {
        self.0 & 1 << place(window) != 0
    }

    /// From the largest to the smallest.
    pub(super) fn iter(self) -> impl Iterator<Item = WindowBits> {
        all_windows().rev().filter(move |window| self.contains(*window))
    }

    /// The largest, with all others for which a payload is compressed just as for it.
    #[must_use]
    pub(super) fn first_group(self, payload_bytes: usize) -> Option<(WindowBits, Windows)> {
        let largest = self.iter().next()?;
        let with = largest.for_payload(payload_bytes);
        let mut group = Windows::default();
        self.iter()
            .filter(|other| other.for_payload(payload_bytes) == with)
            .for_each(|other| group.insert(other));
        Some((largest, group))
    }

    #[must_use]
    pub(super) const fn without(self, other: Windows) -> Windows {
        Windows(self.0 & !other.0)
    }
}

/// Every window to compress for, from the smallest.
pub(super) fn all_windows() -> impl DoubleEndedIterator<Item = WindowBits> {
    (WindowBits::DEFLATE_MIN.value()..=WindowBits::MAX.value()).filter_map(WindowBits::new)
}

/// From 0 for 9 bits.
const fn place(window: WindowBits) -> u8 {
    assert!(window.value() >= WindowBits::DEFLATE_MIN.value(), "a smaller window is never agreed on");
    window.value() - WindowBits::DEFLATE_MIN.value()
}

fn window(place: u8) -> WindowBits {
    WindowBits::new(place + WindowBits::DEFLATE_MIN.value()).expect("invariant: 9 to 15 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(bits: &[u8]) -> Windows {
        let mut set = Windows::default();
        bits.iter().for_each(|bits| set.insert(WindowBits::new(*bits).unwrap()));
        set
    }

    #[test]
    fn a_payload_is_compressed_once_for_all_windows_that_it_fits() {
        let groups = |payload_bytes| {
            let (mut left, mut groups) = (windows(&[9, 10, 12, 15]), Vec::new());
            while let Some((_, group)) = left.first_group(payload_bytes) {
                groups.push(group.iter().map(WindowBits::value).collect::<Vec<_>>());
                left = left.without(group);
            }
            groups
        };
        assert_eq!(groups(300), [vec![15, 12, 10, 9]]);
        assert_eq!(groups(512), [vec![15, 12, 10, 9]]);
        assert_eq!(groups(513), [vec![15, 12, 10], vec![9]]);
        assert_eq!(groups(4_000), [vec![15, 12], vec![10], vec![9]]);
        assert_eq!(groups(100_000), [vec![15], vec![12], vec![10], vec![9]]);
    }

    #[test]
    fn a_compression_is_its_window() {
        for bits in 9..=15 {
            let window = WindowBits::new(bits).unwrap();
            assert_eq!(Compression::deflated(window).window(), Some(window));
            assert!(Compression::deflated(window).index() < Compression::COUNT);
        }
        assert_eq!(Compression::PLAIN.window(), None);
    }
}
