//! The words of the schema: enumerations and sets, a byte each. PURE. Written from docs/sbe/tickring.xml by `tests/sbe`, not by hand.

use crate::dialect::sbe::wire::DecodeError;

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    No,
    Yes,
}

impl Flag {
    /// Every value.
    pub const ALL: [Flag; 2] = [Flag::No, Flag::Yes];

    /// Its byte on the wire.
    #[inline]
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            Flag::No => 0,
            Flag::Yes => 1,
        }
    }

    /// # Errors
    /// A value that is not known; `field` is named in it.
    #[inline]
    pub const fn from_wire(field: &'static str, [value]: [u8; 1]) -> Result<Flag, DecodeError> {
        Ok(match value {
            0 => Flag::No,
            1 => Flag::Yes,
            value => return Err(DecodeError::UnknownValue { field, value }),
        })
    }

    /// The same where 255 stands for none.
    ///
    /// # Errors
    /// As above.
    #[inline]
    pub fn from_nullable(field: &'static str, value: [u8; 1]) -> Result<Option<Flag>, DecodeError> {
        if value == [255] { Ok(None) } else { Flag::from_wire(field, value).map(Some) }
    }
}

/// What a heartbeat asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeartbeatKind {
    /// Nothing.
    Beat,
    /// A call of public/test, else the connection is closed.
    TestRequest,
}

impl HeartbeatKind {
    /// Every value.
    pub const ALL: [HeartbeatKind; 2] = [HeartbeatKind::Beat, HeartbeatKind::TestRequest];

    /// Its byte on the wire.
    #[inline]
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            HeartbeatKind::Beat => 0,
            HeartbeatKind::TestRequest => 1,
        }
    }

    /// # Errors
    /// A value that is not known; `field` is named in it.
    #[inline]
    pub const fn from_wire(field: &'static str, [value]: [u8; 1]) -> Result<HeartbeatKind, DecodeError> {
        Ok(match value {
            0 => HeartbeatKind::Beat,
            1 => HeartbeatKind::TestRequest,
            value => return Err(DecodeError::UnknownValue { field, value }),
        })
    }
}

/// What is told of an instrument or an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    Ticker,
    Quote,
    Trades,
    Book,
    GroupedBook,
    Orders,
    UserTrades,
}

impl Channel {
    /// Every value.
    pub const ALL: [Channel; 7] = [
        Channel::Ticker,
        Channel::Quote,
        Channel::Trades,
        Channel::Book,
        Channel::GroupedBook,
        Channel::Orders,
        Channel::UserTrades,
    ];

    /// Its byte on the wire.
    #[inline]
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            Channel::Ticker => 0,
            Channel::Quote => 1,
            Channel::Trades => 2,
            Channel::Book => 3,
            Channel::GroupedBook => 4,
            Channel::Orders => 5,
            Channel::UserTrades => 6,
        }
    }

    /// # Errors
    /// A value that is not known; `field` is named in it.
    #[inline]
    pub const fn from_wire(field: &'static str, [value]: [u8; 1]) -> Result<Channel, DecodeError> {
        Ok(match value {
            0 => Channel::Ticker,
            1 => Channel::Quote,
            2 => Channel::Trades,
            3 => Channel::Book,
            4 => Channel::GroupedBook,
            5 => Channel::Orders,
            6 => Channel::UserTrades,
            value => return Err(DecodeError::UnknownValue { field, value }),
        })
    }
}

/// How often a channel speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// Each event.
    Raw,
    /// Every 100 ms.
    Ms100,
    /// Every second.
    Agg2,
}

impl Interval {
    /// Every value.
    pub const ALL: [Interval; 3] = [Interval::Raw, Interval::Ms100, Interval::Agg2];

    /// Its byte on the wire.
    #[inline]
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            Interval::Raw => 0,
            Interval::Ms100 => 1,
            Interval::Agg2 => 2,
        }
    }

    /// # Errors
    /// A value that is not known; `field` is named in it.
    #[inline]
    pub const fn from_wire(field: &'static str, [value]: [u8; 1]) -> Result<Interval, DecodeError> {
        Ok(match value {
            0 => Interval::Raw,
            1 => Interval::Ms100,
            2 => Interval::Agg2,
            value => return Err(DecodeError::UnknownValue { field, value }),
        })
    }

    /// The same where 255 stands for none.
    ///
    /// # Errors
    /// As above.
    #[inline]
    pub fn from_nullable(field: &'static str, value: [u8; 1]) -> Result<Option<Interval>, DecodeError> {
        if value == [255] { Ok(None) } else { Interval::from_wire(field, value).map(Some) }
    }
}

/// Whether an instrument trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarketState {
    Closed,
    Open,
}

impl MarketState {
    /// Every value.
    pub const ALL: [MarketState; 2] = [MarketState::Closed, MarketState::Open];

    /// Its byte on the wire.
    #[inline]
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            MarketState::Closed => 0,
            MarketState::Open => 1,
        }
    }

    /// # Errors
    /// A value that is not known; `field` is named in it.
    #[inline]
    pub const fn from_wire(field: &'static str, [value]: [u8; 1]) -> Result<MarketState, DecodeError> {
        Ok(match value {
            0 => MarketState::Closed,
            1 => MarketState::Open,
            value => return Err(DecodeError::UnknownValue { field, value }),
        })
    }
}

/// What became of a level (MDUpdateAction).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelAction {
    New,
    Change,
    /// The amount is 0.
    Delete,
}

impl LevelAction {
    /// Every value.
    pub const ALL: [LevelAction; 3] = [LevelAction::New, LevelAction::Change, LevelAction::Delete];

    /// Its byte on the wire.
    #[inline]
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            LevelAction::New => 0,
            LevelAction::Change => 1,
            LevelAction::Delete => 2,
        }
    }

    /// # Errors
    /// A value that is not known; `field` is named in it.
    #[inline]
    pub const fn from_wire(field: &'static str, [value]: [u8; 1]) -> Result<LevelAction, DecodeError> {
        Ok(match value {
            0 => LevelAction::New,
            1 => LevelAction::Change,
            2 => LevelAction::Delete,
            value => return Err(DecodeError::UnknownValue { field, value }),
        })
    }
}

/// A trade's price beside the one before (TickDirection).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TickDirection {
    Plus,
    ZeroPlus,
    Minus,
    ZeroMinus,
}

impl TickDirection {
    /// Every value.
    pub const ALL: [TickDirection; 4] =
        [TickDirection::Plus, TickDirection::ZeroPlus, TickDirection::Minus, TickDirection::ZeroMinus];

    /// Its byte on the wire.
    #[inline]
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            TickDirection::Plus => b'0',
            TickDirection::ZeroPlus => b'1',
            TickDirection::Minus => b'2',
            TickDirection::ZeroMinus => b'3',
        }
    }

    /// # Errors
    /// A value that is not known; `field` is named in it.
    #[inline]
    pub const fn from_wire(field: &'static str, [value]: [u8; 1]) -> Result<TickDirection, DecodeError> {
        Ok(match value {
            b'0' => TickDirection::Plus,
            b'1' => TickDirection::ZeroPlus,
            b'2' => TickDirection::Minus,
            b'3' => TickDirection::ZeroMinus,
            value => return Err(DecodeError::UnknownValue { field, value }),
        })
    }

    /// The same where 0 stands for none.
    ///
    /// # Errors
    /// As above.
    #[inline]
    pub fn from_nullable(field: &'static str, value: [u8; 1]) -> Result<Option<TickDirection>, DecodeError> {
        if value == [0] { Ok(None) } else { TickDirection::from_wire(field, value).map(Some) }
    }
}

/// Side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Buy,
    Sell,
}

impl Side {
    /// Every value.
    pub const ALL: [Side; 2] = [Side::Buy, Side::Sell];

    /// Its byte on the wire.
    #[inline]
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            Side::Buy => b'1',
            Side::Sell => b'2',
        }
    }

    /// # Errors
    /// A value that is not known; `field` is named in it.
    #[inline]
    pub const fn from_wire(field: &'static str, [value]: [u8; 1]) -> Result<Side, DecodeError> {
        Ok(match value {
            b'1' => Side::Buy,
            b'2' => Side::Sell,
            value => return Err(DecodeError::UnknownValue { field, value }),
        })
    }
}

/// OrdType.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrdType {
    Market,
    Limit,
}

impl OrdType {
    /// Every value.
    pub const ALL: [OrdType; 2] = [OrdType::Market, OrdType::Limit];

    /// Its byte on the wire.
    #[inline]
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            OrdType::Market => b'1',
            OrdType::Limit => b'2',
        }
    }

    /// # Errors
    /// A value that is not known; `field` is named in it.
    #[inline]
    pub const fn from_wire(field: &'static str, [value]: [u8; 1]) -> Result<OrdType, DecodeError> {
        Ok(match value {
            b'1' => OrdType::Market,
            b'2' => OrdType::Limit,
            value => return Err(DecodeError::UnknownValue { field, value }),
        })
    }
}

/// TimeInForce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeInForce {
    GoodTilCancelled,
    ImmediateOrCancel,
    FillOrKill,
}

impl TimeInForce {
    /// Every value.
    pub const ALL: [TimeInForce; 3] =
        [TimeInForce::GoodTilCancelled, TimeInForce::ImmediateOrCancel, TimeInForce::FillOrKill];

    /// Its byte on the wire.
    #[inline]
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            TimeInForce::GoodTilCancelled => b'1',
            TimeInForce::ImmediateOrCancel => b'3',
            TimeInForce::FillOrKill => b'4',
        }
    }

    /// # Errors
    /// A value that is not known; `field` is named in it.
    #[inline]
    pub const fn from_wire(field: &'static str, [value]: [u8; 1]) -> Result<TimeInForce, DecodeError> {
        Ok(match value {
            b'1' => TimeInForce::GoodTilCancelled,
            b'3' => TimeInForce::ImmediateOrCancel,
            b'4' => TimeInForce::FillOrKill,
            value => return Err(DecodeError::UnknownValue { field, value }),
        })
    }

    /// The same where 0 stands for none.
    ///
    /// # Errors
    /// As above.
    #[inline]
    pub fn from_nullable(field: &'static str, value: [u8; 1]) -> Result<Option<TimeInForce>, DecodeError> {
        if value == [0] { Ok(None) } else { TimeInForce::from_wire(field, value).map(Some) }
    }
}

/// What becomes of an order that must not take liquidity and would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostOnly {
    /// It may take.
    No,
    /// Its price is moved to one tick before the other side's best.
    Slide,
    /// It is rejected.
    Reject,
}

impl PostOnly {
    /// Every value.
    pub const ALL: [PostOnly; 3] = [PostOnly::No, PostOnly::Slide, PostOnly::Reject];

    /// Its byte on the wire.
    #[inline]
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            PostOnly::No => 0,
            PostOnly::Slide => 1,
            PostOnly::Reject => 2,
        }
    }

    /// # Errors
    /// A value that is not known; `field` is named in it.
    #[inline]
    pub const fn from_wire(field: &'static str, [value]: [u8; 1]) -> Result<PostOnly, DecodeError> {
        Ok(match value {
            0 => PostOnly::No,
            1 => PostOnly::Slide,
            2 => PostOnly::Reject,
            value => return Err(DecodeError::UnknownValue { field, value }),
        })
    }

    /// The same where 255 stands for none.
    ///
    /// # Errors
    /// As above.
    #[inline]
    pub fn from_nullable(field: &'static str, value: [u8; 1]) -> Result<Option<PostOnly>, DecodeError> {
        if value == [255] { Ok(None) } else { PostOnly::from_wire(field, value).map(Some) }
    }
}

/// ExecType: why an execution report is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecType {
    New,
    Cancelled,
    Replaced,
    Rejected,
    Trade,
    /// Its outcome is not known, or is known now.
    OrderStatus,
}

impl ExecType {
    /// Every value.
    pub const ALL: [ExecType; 6] = [
        ExecType::New,
        ExecType::Cancelled,
        ExecType::Replaced,
        ExecType::Rejected,
        ExecType::Trade,
        ExecType::OrderStatus,
    ];

    /// Its byte on the wire.
    #[inline]
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            ExecType::New => b'0',
            ExecType::Cancelled => b'4',
            ExecType::Replaced => b'5',
            ExecType::Rejected => b'8',
            ExecType::Trade => b'F',
            ExecType::OrderStatus => b'I',
        }
    }

    /// # Errors
    /// A value that is not known; `field` is named in it.
    #[inline]
    pub const fn from_wire(field: &'static str, [value]: [u8; 1]) -> Result<ExecType, DecodeError> {
        Ok(match value {
            b'0' => ExecType::New,
            b'4' => ExecType::Cancelled,
            b'5' => ExecType::Replaced,
            b'8' => ExecType::Rejected,
            b'F' => ExecType::Trade,
            b'I' => ExecType::OrderStatus,
            value => return Err(DecodeError::UnknownValue { field, value }),
        })
    }
}

/// OrdStatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrdStatus {
    /// It rests, and nothing of it is filled.
    Open,
    /// It rests.
    PartiallyFilled,
    Filled,
    Cancelled,
    Rejected,
    /// Sent, and the venue has not said what became of it; not of FIX.
    Unknown,
}

impl OrdStatus {
    /// Every value.
    pub const ALL: [OrdStatus; 6] = [
        OrdStatus::Open,
        OrdStatus::PartiallyFilled,
        OrdStatus::Filled,
        OrdStatus::Cancelled,
        OrdStatus::Rejected,
        OrdStatus::Unknown,
    ];

    /// Its byte on the wire.
    #[inline]
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            OrdStatus::Open => b'0',
            OrdStatus::PartiallyFilled => b'1',
            OrdStatus::Filled => b'2',
            OrdStatus::Cancelled => b'4',
            OrdStatus::Rejected => b'8',
            OrdStatus::Unknown => b'U',
        }
    }

    /// # Errors
    /// A value that is not known; `field` is named in it.
    #[inline]
    pub const fn from_wire(field: &'static str, [value]: [u8; 1]) -> Result<OrdStatus, DecodeError> {
        Ok(match value {
            b'0' => OrdStatus::Open,
            b'1' => OrdStatus::PartiallyFilled,
            b'2' => OrdStatus::Filled,
            b'4' => OrdStatus::Cancelled,
            b'8' => OrdStatus::Rejected,
            b'U' => OrdStatus::Unknown,
            value => return Err(DecodeError::UnknownValue { field, value }),
        })
    }
}

/// Why an order was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelReason {
    UserRequest,
    /// Its connection is gone.
    Disconnect,
    /// The dead-man timer ran out.
    Timeout,
    /// Nothing more to take.
    Immediate,
    /// It would have met an order of the same account.
    SelfMatch,
    /// The kill switch.
    Halted,
    /// By the venue itself.
    Venue,
    /// Its instrument is traded no more.
    Delisted,
}

impl CancelReason {
    /// Every value.
    pub const ALL: [CancelReason; 8] = [
        CancelReason::UserRequest,
        CancelReason::Disconnect,
        CancelReason::Timeout,
        CancelReason::Immediate,
        CancelReason::SelfMatch,
        CancelReason::Halted,
        CancelReason::Venue,
        CancelReason::Delisted,
    ];

    /// Its byte on the wire.
    #[inline]
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            CancelReason::UserRequest => 0,
            CancelReason::Disconnect => 1,
            CancelReason::Timeout => 2,
            CancelReason::Immediate => 3,
            CancelReason::SelfMatch => 4,
            CancelReason::Halted => 5,
            CancelReason::Venue => 6,
            CancelReason::Delisted => 7,
        }
    }

    /// # Errors
    /// A value that is not known; `field` is named in it.
    #[inline]
    pub const fn from_wire(field: &'static str, [value]: [u8; 1]) -> Result<CancelReason, DecodeError> {
        Ok(match value {
            0 => CancelReason::UserRequest,
            1 => CancelReason::Disconnect,
            2 => CancelReason::Timeout,
            3 => CancelReason::Immediate,
            4 => CancelReason::SelfMatch,
            5 => CancelReason::Halted,
            6 => CancelReason::Venue,
            7 => CancelReason::Delisted,
            value => return Err(DecodeError::UnknownValue { field, value }),
        })
    }

    /// The same where 255 stands for none.
    ///
    /// # Errors
    /// As above.
    #[inline]
    pub fn from_nullable(field: &'static str, value: [u8; 1]) -> Result<Option<CancelReason>, DecodeError> {
        if value == [255] { Ok(None) } else { CancelReason::from_wire(field, value).map(Some) }
    }
}

/// LastLiquidityInd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liquidity {
    /// It rested.
    Maker,
    /// It took.
    Taker,
}

impl Liquidity {
    /// Every value.
    pub const ALL: [Liquidity; 2] = [Liquidity::Maker, Liquidity::Taker];

    /// Its byte on the wire.
    #[inline]
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            Liquidity::Maker => 1,
            Liquidity::Taker => 2,
        }
    }

    /// # Errors
    /// A value that is not known; `field` is named in it.
    #[inline]
    pub const fn from_wire(field: &'static str, [value]: [u8; 1]) -> Result<Liquidity, DecodeError> {
        Ok(match value {
            1 => Liquidity::Maker,
            2 => Liquidity::Taker,
            value => return Err(DecodeError::UnknownValue { field, value }),
        })
    }

    /// The same where 255 stands for none.
    ///
    /// # Errors
    /// As above.
    #[inline]
    pub fn from_nullable(field: &'static str, value: [u8; 1]) -> Result<Option<Liquidity>, DecodeError> {
        if value == [255] { Ok(None) } else { Liquidity::from_wire(field, value).map(Some) }
    }
}

/// What else is to be said of an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderFlags {
    /// Only as far as it makes the position smaller.
    pub reduce_only: bool,
    /// It was amended.
    pub replaced: bool,
    /// It was placed before under the same label.
    pub repeated: bool,
    /// Both sides are of the account.
    pub self_trade: bool,
}

impl OrderFlags {
    /// Its byte on the wire.
    #[inline]
    #[must_use]
    pub fn to_wire(self) -> u8 {
        let mut bits = 0;
        if self.reduce_only {
            bits |= 0x01;
        }
        if self.replaced {
            bits |= 0x02;
        }
        if self.repeated {
            bits |= 0x04;
        }
        if self.self_trade {
            bits |= 0x08;
        }
        bits
    }

    /// Bits that are not known are passed over.
    #[inline]
    #[must_use]
    pub const fn from_wire([bits]: [u8; 1]) -> OrderFlags {
        OrderFlags {
            reduce_only: bits & 0x01 != 0,
            replaced: bits & 0x02 != 0,
            repeated: bits & 0x04 != 0,
            self_trade: bits & 0x08 != 0,
        }
    }
}
