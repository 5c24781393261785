//! What clients are told of links to venues: which there are, and how each is. PURE. Home: the venue's thread writes it, each
//! shard keeps the last.

/// What is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// The simulated market in the process.
    Paper,
    /// A recording, which takes no orders.
    Replay,
    /// A venue over TCP.
    Tcp,
    /// A MetaTrader 5 terminal, over TCP as well.
    Mt5,
}

impl LinkKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            LinkKind::Paper => "paper",
            LinkKind::Replay => "replay",
            LinkKind::Tcp => "tcp",
            LinkKind::Mt5 => "mt5",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It is waited for, or tried for, or greets.
    Connecting,
    /// It takes orders, and has yet to tell what became of earlier ones.
    Reconciling,
    /// It takes orders, and nothing is in doubt.
    Up,
    /// There is no connection; there may be one again.
    Down,
    /// No more attempts are made.
    GivenUp,
}

impl LinkState {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            LinkState::Connecting => "connecting",
            LinkState::Reconciling => "reconciling",
            LinkState::Up => "up",
            LinkState::Down => "down",
            LinkState::GivenUp => "given_up",
        }
    }
}

/// What a link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkIdentity {
    pub kind: LinkKind,
    pub venue: Box<str>,
    /// One venue may have several.
    pub link: Box<str>,
}

/// How a link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    pub identity: LinkIdentity,
    pub state: LinkState,
    /// When it came to be so, in milliseconds since 1970.
    pub since_ms: u64,
    /// Those that it serves now.
    pub instruments: u32,
    /// Why it was last without a connection; `None` where it never was.
    pub last_reason: Option<Box<str>>,
}
