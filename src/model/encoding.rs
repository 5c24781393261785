//! How market data is written for a connection. PURE.
//!
//! Invariant: an encoding is part of a topic's identity, so that who reads one shares nothing with who reads another but the event.

/// What the market data of a connection is written in, from when that is agreed on to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Encoding {
    /// JSON-RPC notifications, in text frames.
    #[default]
    Json,
    /// Simple Binary Encoding, in binary frames.
    Sbe,
}

impl Encoding {
    pub const ALL: [Encoding; 2] = [Encoding::Json, Encoding::Sbe];

    /// As clients and operators spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Encoding::Json => "json",
            Encoding::Sbe => "sbe",
        }
    }
}
