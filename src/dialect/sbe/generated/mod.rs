//! The messages of the schema. PURE. Written from docs/sbe/tickring.xml by `tests/sbe`, not by hand.

mod amend_order;
mod book_delta;
mod book_snapshot;
mod cancel_order;
mod execution_report;
mod gap_notice;
mod heartbeat;
mod new_order;
mod order_ack;
mod quote;
mod reject;
#[cfg(test)]
mod samples;
mod ticker;
mod trade;
mod types;

use crate::dialect::sbe::wire::{DecodeError, Header};

pub use amend_order::*;
pub use book_delta::*;
pub use book_snapshot::*;
pub use cancel_order::*;
pub use execution_report::*;
pub use gap_notice::*;
pub use heartbeat::*;
pub use new_order::*;
pub use order_ack::*;
pub use quote::*;
pub use reject::*;
pub use ticker::*;
pub use trade::*;
pub use types::*;

pub const SCHEMA_ID: u16 = 1;
/// The newest version that is known.
pub const SCHEMA_VERSION: u16 = 0;

/// A received message.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    Heartbeat(HeartbeatView<'a>),
    GapNotice(GapNoticeView<'a>),
    Ticker(TickerView<'a>),
    Quote(QuoteView<'a>),
    Trade(TradeView<'a>),
    BookSnapshot(BookSnapshotView<'a>),
    BookDelta(BookDeltaView<'a>),
    NewOrder(NewOrderView<'a>),
    AmendOrder(AmendOrderView<'a>),
    CancelOrder(CancelOrderView<'a>),
    OrderAck(OrderAckView<'a>),
    Reject(RejectView<'a>),
    ExecutionReport(ExecutionReportView<'a>),
}

impl<'a> Message<'a> {
    /// Reads the one message of a frame.
    ///
    /// # Errors
    /// Bytes that are no message of this schema.
    pub fn decode(frame: &'a [u8]) -> Result<Message<'a>, DecodeError> {
        Ok(match Header::decode(frame)?.template_id {
            Heartbeat::TEMPLATE_ID => Message::Heartbeat(HeartbeatView::decode(frame)?),
            GapNotice::TEMPLATE_ID => Message::GapNotice(GapNoticeView::decode(frame)?),
            Ticker::TEMPLATE_ID => Message::Ticker(TickerView::decode(frame)?),
            Quote::TEMPLATE_ID => Message::Quote(QuoteView::decode(frame)?),
            Trade::TEMPLATE_ID => Message::Trade(TradeView::decode(frame)?),
            BookSnapshot::TEMPLATE_ID => Message::BookSnapshot(BookSnapshotView::decode(frame)?),
            BookDelta::TEMPLATE_ID => Message::BookDelta(BookDeltaView::decode(frame)?),
            NewOrder::TEMPLATE_ID => Message::NewOrder(NewOrderView::decode(frame)?),
            AmendOrder::TEMPLATE_ID => Message::AmendOrder(AmendOrderView::decode(frame)?),
            CancelOrder::TEMPLATE_ID => Message::CancelOrder(CancelOrderView::decode(frame)?),
            OrderAck::TEMPLATE_ID => Message::OrderAck(OrderAckView::decode(frame)?),
            Reject::TEMPLATE_ID => Message::Reject(RejectView::decode(frame)?),
            ExecutionReport::TEMPLATE_ID => Message::ExecutionReport(ExecutionReportView::decode(frame)?),
            template_id => return Err(DecodeError::Template { template_id }),
        })
    }
}
