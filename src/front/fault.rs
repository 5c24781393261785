//! Why a connection of a trusted proxy is ended before it is anybody's: a closed set.
//!
//! PURE. Home: any thread. Invariant: none of them is told to the peer; the PROXY protocol has no word for it.

/// What a proxy did, or failed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The first bytes are no header of the PROXY protocol: the proxy is not set to send one, or who speaks is none.
    HeaderMissing,
    /// They begin as one, and are none.
    HeaderMalformed,
    /// It was not whole in time.
    HeaderTimeout,
}

impl Fault {
    /// Every one, in the order of declaration.
    pub const ALL: [Fault; 3] = [Fault::HeaderMissing, Fault::HeaderMalformed, Fault::HeaderTimeout];

    /// Its name in log lines and counters.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Fault::HeaderMissing => "proxy_header_missing",
            Fault::HeaderMalformed => "proxy_header_malformed",
            Fault::HeaderTimeout => "proxy_header_timeout",
        }
    }
}
