//! The messages of the schema. PURE. Written from tests/sbe/evolution/after.xml by `tests/sbe`, not by hand.

mod farewell;
mod report;
mod table;
mod types;

use tickring::dialect::sbe::wire::{DecodeError, Header};

pub use farewell::*;
pub use report::*;
pub use table::*;
pub use types::*;

pub const SCHEMA_ID: u16 = 7;
/// The newest version that is known.
pub const SCHEMA_VERSION: u16 = 1;

/// A received message.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    Report(ReportView<'a>),
    Table(TableView<'a>),
    Farewell(FarewellView<'a>),
}

impl<'a> Message<'a> {
    /// Reads the one message of a frame.
    ///
    /// # Errors
    /// Bytes that are no message of this schema.
    pub fn decode(frame: &'a [u8]) -> Result<Message<'a>, DecodeError> {
        Ok(match Header::decode(frame)?.template_id {
            Report::TEMPLATE_ID => Message::Report(ReportView::decode(frame)?),
            Table::TEMPLATE_ID => Message::Table(TableView::decode(frame)?),
            Farewell::TEMPLATE_ID => Message::Farewell(FarewellView::decode(frame)?),
            template_id => return Err(DecodeError::Template { template_id }),
        })
    }
}
