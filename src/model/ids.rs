//! Identifiers: small, copyable, each a type of its own so that two of them cannot be mistaken for one another.

/// A connection of one shard. The slot is reused, the generation is not: a late completion for an earlier owner of the
/// slot carries the old generation and is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    pub slot: u32,
    pub generation: u32,
}

/// A thread of the mesh: shards are `0..shards`, the venue comes after the last shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HomeId(pub u8);

impl HomeId {
    /// As an index into a table of homes.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A set of homes, one bit each; `limits::HOMES_MAX` is 64 for this reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HomeSet(pub u64);

impl HomeSet {
    pub const EMPTY: HomeSet = HomeSet(0);

    #[must_use]
    pub const fn contains(self, home: HomeId) -> bool {
        self.0 >> home.0 & 1 == 1
    }

    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn insert(&mut self, home: HomeId) {
        self.0 |= 1 << home.0;
    }

    pub const fn remove(&mut self, home: HomeId) {
        self.0 &= !(1 << home.0);
    }

    /// The members in ascending order.
    pub fn iter(self) -> impl Iterator<Item = HomeId> {
        // A turn walks several sets, nearly always empty: it costs what there are members, not places.
        let mut left = self.0;
        std::iter::from_fn(move || {
            #[expect(clippy::cast_possible_truncation, reason = "at most 64")]
            let lowest = left.trailing_zeros() as u8;
            left &= left.checked_sub(1)?;
            Some(HomeId(lowest))
        })
    }
}

/// A topic as its home interned it. Strings occur in requests only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId {
    pub home: HomeId,
    pub slot: u32,
    pub generation: u32,
}

/// What a shard gave a question to recognise the answer by: a slot and a generation of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    pub slot: u32,
    pub generation: u32,
}

/// Who brings a market: the feed, or a link to a venue. Numbered from 0 in the order of the configuration, below
/// `limits::SOURCES_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u8);

impl SourceId {
    /// The feed that runs in the process: the paper market, a replay, or none. All others are links to venues.
    pub const FEED: SourceId = SourceId(0);

    /// As an index into a table of sources.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// An instrument, numbered by the market's home in the order of listing; never reused within an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstrumentId(pub u32);

impl InstrumentId {
    /// As an index into a table of instruments.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which life of a topic a sequence belongs to: the milliseconds since 1970 at which its home made the topic, so that a
/// restart, or a topic that was forgotten and made anew, is visible to clients. Fits a JSON number exactly (< 2^53).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// The number of an event within its topic and epoch; the first is 1, and each event consumes one even if it is
/// conflated away later, so that every loss is visible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub u64);

impl Seq {
    #[must_use]
    pub const fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

/// A place in a topic's stream: the last event that somebody has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub epoch: Epoch,
    pub seq: Seq,
}
