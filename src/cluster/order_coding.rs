//! What clients ask the desk for, and why it refuses, as bytes. PURE.
//!
//! Invariant: prices, amounts and counts are as a client may have written them: the desk judges them as it does any client's.

use crate::model::channel::{PrivateKind, PrivateView};
use crate::model::encoding::Encoding;
use crate::model::ids::InstrumentId;
use crate::model::instrument::InstrumentKind;
use crate::model::market::Direction;
use crate::model::order::{
    Departure, DisconnectScope, EditOrder, Filter, NewOrder, OrderRef, OrderRefusal, OrderRequest, OrderType,
    PostOnly, TimeInForce, UserTradesQuery,
};

use super::coding::{Coded, coded_enum, coded_struct};
use super::wire::{Put, Reader, WireFault, number_of};

coded_enum!(Direction { 0 => Buy, 1 => Sell });
coded_enum!(OrderType { 0 => Limit, 1 => Market });
coded_enum!(TimeInForce { 0 => GoodTilCancelled, 1 => ImmediateOrCancel, 2 => FillOrKill });
coded_enum!(PostOnly { 0 => No, 1 => Slide, 2 => Reject });
coded_enum!(DisconnectScope { 0 => Connection, 1 => Account });
coded_enum!(Departure { 0 => LoggedOut, 1 => Disconnected });
coded_enum!(PrivateKind { 0 => Orders, 1 => Trades, 2 => Changes });
coded_enum!(OrderRef { 0 => Id(order), 1 => Label(label) });
coded_struct!(Filter { instrument, kind, currency });
coded_struct!(NewOrder {
    instrument,
    direction,
    order_type,
    price,
    amount,
    time_in_force,
    post_only,
    reduce_only,
    label,
    valid_until_ms,
});
coded_struct!(EditOrder { order, instrument, amount, price, post_only, reduce_only, valid_until_ms });
coded_struct!(UserTradesQuery {
    filter,
    start_seq,
    end_seq,
    start_timestamp_ms,
    end_timestamp_ms,
    count,
    is_ascending,
});
coded_enum!(OrderRequest {
    0 => Place(order),
    1 => Edit(edit),
    2 => Cancel { order, valid_until_ms },
    3 => CancelByLabel { label, currency },
    4 => CancelAll { filter },
    5 => CancelAllAfter { timeout_ms },
    6 => OpenOrders { filter },
    7 => OrderState { order },
    8 => OrderStateByLabel { label, currency },
    9 => OrderHistory { filter, count, offset, include_unfilled },
    10 => UserTrades(query),
    11 => Position { instrument },
    12 => Positions { filter },
    13 => AccountSummary { currency },
    14 => AccountSummaries,
    15 => EnableCancelOnDisconnect { scope },
    16 => DisableCancelOnDisconnect { scope },
    17 => GetCancelOnDisconnect { scope },
    18 => Halt { is_on, everybody },
});
coded_enum!(OrderRefusal {
    0 => OrderNotFound,
    1 => AlreadyClosed,
    2 => BookClosed,
    3 => Delisted,
    4 => VenueUnavailable,
    5 => PriceTick,
    6 => PriceTooHigh,
    7 => PriceTooLow,
    8 => InvalidAmount,
    9 => NoReferencePrice,
    10 => AmountTooLarge,
    11 => NotionalTooLarge,
    12 => AmountBelowFilled,
    13 => PostOnly,
    14 => ReduceOnly,
    15 => FillOrKill,
    16 => TooManyOpenOrders,
    17 => Duplicate,
    18 => TooManyRequests { credits_left, retry_after_ms },
    19 => TooManyCancels,
    20 => Halted,
    21 => TimedOut,
    22 => Full,
    23 => VenueRefused,
    24 => OutcomeUnknown { order },
    25 => NotSent,
    26 => NeedsConnection,
    27 => OwnerAway,
    28 => OwnerLost,
});

/// The instrument that a request names by its number.
pub(super) fn named_instrument(request: &OrderRequest) -> Option<InstrumentId> {
    match request {
        OrderRequest::Place(order) => Some(order.instrument),
        OrderRequest::Edit(edit) => edit.instrument,
        OrderRequest::Position { instrument } => Some(*instrument),
        OrderRequest::CancelAll { filter }
        | OrderRequest::OpenOrders { filter }
        | OrderRequest::OrderHistory { filter, .. }
        | OrderRequest::Positions { filter } => filter.instrument,
        OrderRequest::UserTrades(query) => query.filter.instrument,
        OrderRequest::Cancel { .. }
        | OrderRequest::CancelByLabel { .. }
        | OrderRequest::CancelAllAfter { .. }
        | OrderRequest::OrderState { .. }
        | OrderRequest::OrderStateByLabel { .. }
        | OrderRequest::AccountSummary { .. }
        | OrderRequest::AccountSummaries
        | OrderRequest::EnableCancelOnDisconnect { .. }
        | OrderRequest::DisableCancelOnDisconnect { .. }
        | OrderRequest::GetCancelOnDisconnect { .. }
        | OrderRequest::Halt { .. } => None,
    }
}

impl Coded for Encoding {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_u8(number_of(*self, &Encoding::ALL));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Encoding, WireFault> {
        reader.pick(&Encoding::ALL)
    }
}

impl Coded for InstrumentKind {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_u8(number_of(*self, &InstrumentKind::ALL));
    }

    fn read(reader: &mut Reader<'_>) -> Result<InstrumentKind, WireFault> {
        reader.pick(&InstrumentKind::ALL)
    }
}

impl Coded for PrivateView {
    fn write(&self, out: &mut Vec<u8>) {
        self.what.write(out);
        self.filter.write(out);
        self.encoding.write(out);
    }

    /// Of those that a channel can mean: of one instrument or of a group of them, and what is not to be had in SBE in JSON.
    fn read(reader: &mut Reader<'_>) -> Result<PrivateView, WireFault> {
        let view = PrivateView {
            what: Coded::read(reader)?,
            filter: Coded::read(reader)?,
            encoding: Coded::read(reader)?,
        };
        let Filter { instrument, kind, currency } = view.filter;
        let is_of_one_or_many = instrument.is_none() || (kind.is_none() && currency.is_none());
        let is_written = match (view.encoding, view.what) {
            (Encoding::Json, _) | (Encoding::Sbe, PrivateKind::Orders | PrivateKind::Trades) => true,
            (Encoding::Sbe, PrivateKind::Changes) => false,
        };
        if is_of_one_or_many && is_written { Ok(view) } else { Err(WireFault::Value) }
    }
}
