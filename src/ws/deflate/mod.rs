//! permessage-deflate (RFC 7692), the server's side: what is agreed on, what comes in inflated, what goes out deflated.
//!
//! PURE. Invariants: we compress each message by itself and always say so (`server_no_context_takeover`), so that one
//! compressed message serves all who agreed to a window that reaches far enough; an offer that we can't keep exactly is
//! declined, and the next one is looked at; without an agreement there is no memory and no cost.
//!
//! Absent on purpose: a window of 8 bits for what we send, which zlib can't make: an offer that asks for it is declined.

mod deflater;
mod inflater;
mod negotiation;

pub use deflater::Deflater;
pub use inflater::{INFLATER_BYTES, Inflaters};
pub use negotiation::{ExtensionsMalformed, negotiate};

pub(super) use inflater::{History, Inflater};

/// The base-2 logarithm of a window's size, 8 to 15 (RFC 7692 §7.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowBits(u8);

/// Whether clients may refer to earlier messages (RFC 7692 §7.1.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientContextTakeover {
    /// `client_no_context_takeover` is asked of every client: an idle connection holds no window.
    Refused,
    /// A client that does not renounce it may: each such connection holds its window as long as it lives, up to
    /// 2^`client_window_bits_max` bytes, for which its messages become smaller.
    Allowed,
}

/// What a listener makes of offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateSettings {
    /// Asked of clients that let themselves be asked.
    pub client_window_bits_max: WindowBits,
    /// See there.
    pub client_context_takeover: ClientContextTakeover,
}

/// The parameters of one connection, as the answer to its offer states them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// The window that our messages keep within, if the offer named one: 9 or more.
    pub server_window_bits: Option<WindowBits>,
    /// The window that the client's messages keep within, if it offered to be told.
    pub client_window_bits: Option<WindowBits>,
    /// Whether the client's messages may refer to earlier ones.
    pub client_context_takeover: ClientContextTakeover,
}

impl WindowBits {
    /// What nobody limits.
    pub const MAX: Self = Self(15);
    /// The smallest that zlib compresses with.
    pub const DEFLATE_MIN: Self = Self(9);

    /// 8 to 15.
    pub const fn new(bits: u8) -> Option<Self> {
        if bits >= 8 && bits <= 15 { Some(Self(bits)) } else { None }
    }

    /// The logarithm.
    pub const fn value(self) -> u8 {
        self.0
    }

    /// The window's size in bytes.
    pub const fn bytes(self) -> usize {
        1 << self.0
    }

    /// The window to compress a payload with for one who has this window. A reference reaches back less far than the
    /// payload is long, so a payload that fits the window is compressed with the largest, and the outcome is the same
    /// for all whom it fits.
    #[must_use]
    pub const fn for_payload(self, payload_bytes: usize) -> Self {
        if payload_bytes <= self.bytes() { Self::MAX } else { self }
    }
}

impl Agreement {
    /// The window that our messages keep within.
    #[must_use]
    pub fn server_window(&self) -> WindowBits {
        self.server_window_bits.unwrap_or(WindowBits::MAX)
    }

    /// Appends the answer's value of `Sec-WebSocket-Extensions` (RFC 7692 §7.1).
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"permessage-deflate; server_no_context_takeover");
        match self.client_context_takeover {
            ClientContextTakeover::Refused => out.extend_from_slice(b"; client_no_context_takeover"),
            ClientContextTakeover::Allowed => {}
        }
        let windows = [
            (&b"; server_max_window_bits="[..], self.server_window_bits),
            (b"; client_max_window_bits=", self.client_window_bits),
        ];
        for (parameter, bits) in windows {
            if let Some(bits) = bits {
                out.extend_from_slice(parameter);
                out.extend_from_slice(itoa::Buffer::new().format(bits.value()).as_bytes());
            }
        }
    }
}
