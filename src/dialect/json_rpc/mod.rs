//! JSON-RPC 2.0 in the shapes of Deribit's API v2. PURE. Home: each shard decodes requests and encodes replies; a
//! topic's home encodes its notifications, each once. `docs/protocol.md` describes the wire.
//!
//! `decode(text)` gives [`Incoming`]; replies go `open_result`, a value, `close_reply`; notifications go
//! `open_notification`, a value, `close_notification`. All writers append to a `Vec<u8>` and allocate only to grow it.

mod call;
mod checksum;
mod decode;
mod encode;
mod envelope;
mod errors;
mod foreign;
mod login;
mod market;
mod message_calls;
mod messages;
mod methods;
mod notify;
pub(crate) mod number;
mod order_calls;
mod orders;
mod params;
mod posted;
mod reference;
pub(crate) mod scan;
#[cfg(test)]
mod tests;
pub(crate) mod text;

pub use call::{call_of_body, call_of_query};
pub use checksum::{CHECKSUM_LEVELS, checksum, checksum_at_end};
pub use decode::decode;
pub use encode::{
    BatchReply, Precision, Recovery, Stamps, close_reply, open_error, open_result, write_agreement,
    write_channels, write_error, write_ok, write_places, write_position, write_progress, write_resumed,
    write_time, write_version,
};
pub use envelope::{BATCH_REQUESTS_MAX, ID_BYTES_MAX, Id, Incoming, JSON_DEPTH_MAX, Parsed};
pub use errors::{Detail, Failure, OWNER_AWAY, OWNER_LOST, call_failure, message_failure, order_failure};
pub use foreign::{ForeignCall, ForeignFault, METHOD_BYTES_MAX, check_foreign, error_label};
pub use login::{Access, AuthParams, GrantType, refusal, write_granted, write_keys, write_login_expired};
pub use market::{
    write_book_change, write_book_snapshot, write_grouped_book, write_last_trades, write_order_book,
    write_quote, write_ticker, write_trades,
};
pub use message_calls::{FrameBatch, MessageCall, Presentation};
pub use messages::{
    message_bytes_max, presence_bytes_max, receipt_bytes_max, write_dead_letter, write_dead_letters,
    write_delivery, write_message, write_message_answer, write_presence_change, write_receipt,
};
pub use methods::{
    Expiry, HelloParams, LastTradesParams, Method, SUBSCRIBE_CHANNELS_MAX, SessionTokens, Sorting,
    SubscribeParams,
};
pub use notify::{
    Heartbeat, close_notification, close_private_notification, open_notification, write_closing,
    write_heartbeat, write_maintenance, write_topic,
};
pub use order_calls::{HALT_EVERYBODY_TOPIC, OrderCall};
pub use orders::{
    write_account_summaries, write_account_summary, write_cancel_on_disconnect, write_changes, write_count,
    write_fill, write_open_position, write_open_positions, write_order, write_orders, write_placed,
    write_user_trades,
};
pub use posted::{Posted, posted};
pub use reference::{write_currencies, write_instrument, write_instruments, write_status, write_venues};
