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

/// What a client is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    #[default]
    Json,
    /// Where it is batched, a binary frame has several messages, each behind its length.
    Sbe { is_batched: bool },
}

impl Form {
    #[must_use]
    pub const fn encoding(self) -> Encoding {
        match self {
            Form::Json => Encoding::Json,
            Form::Sbe { .. } => Encoding::Sbe,
        }
    }

    #[must_use]
    pub const fn is_batched(self) -> bool {
        matches!(self, Form::Sbe { is_batched: true })
    }
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
