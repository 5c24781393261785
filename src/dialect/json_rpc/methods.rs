//! The methods that clients can call, and their parameters. PURE. Add a method: a variant, its line in
//! `Method::decode` (one of order entry: in `order_calls.rs`, of messages: in `message_calls.rs`), and its section in `docs/protocol.md`.

use std::borrow::Cow;

use super::encode::Precision;
use super::envelope::{ID_BYTES_MAX, Id};
use super::errors::Failure;
use super::foreign::ForeignCall;
use super::login::{AuthParams, decode_auth};
use super::message_calls::MessageCall;
use super::order_calls::OrderCall;
use super::params::{param, take};
use super::scan::{Kind, Value};
use crate::dialect::negotiation::{self, Refusal};
use crate::model::channel::{Checksum, DeliveryClass};
use crate::model::encoding::Form;
use crate::model::ids::{Epoch, Position, Seq};
use crate::model::instrument::InstrumentKind;

/// Channels in one subscribe or unsubscribe, as on Deribit; also the bound of its `resume`.
pub const SUBSCRIBE_CHANNELS_MAX: usize = 500;
/// Deribit's shortest heartbeat interval, in seconds.
const HEARTBEAT_S_MIN: u64 = 10;
/// A day: a longer heartbeat would find nothing that is not found otherwise.
const HEARTBEAT_S_MAX: u64 = 86_400;
pub(super) const TRADES_COUNT_DEFAULT: u16 = 10;
pub(super) const TRADES_COUNT_MAX: u64 = 1000;
const DEPTHS: [u16; 8] = [1, 5, 10, 20, 50, 100, 1000, 10_000];
/// Deribit's default depth of `get_order_book`.
const DEPTH_DEFAULT: u16 = 5;
/// Whole numbers that each JSON reader keeps exactly (RFC 7493 §2.2).
pub(super) const EXACT_MAX: u64 = (1 << 53) - 1;

/// A call with its parameters checked as far as that is possible without the market.
#[derive(Clone, Debug, PartialEq)]
pub enum Method<'a> {
    Hello(HelloParams<'a>),
    /// `"exception"` asks for an error: [`Failure::EXCEPTION`].
    Test {
        expected_result: Option<Cow<'a, str>>,
    },
    Time,
    Status,
    Currencies,
    /// How links to venues are.
    Venues,
    Instruments {
        /// `None` for every currency.
        currency: Option<Cow<'a, str>>,
        kind: Option<InstrumentKind>,
        expiry: Expiry,
    },
    Instrument {
        instrument_name: Cow<'a, str>,
    },
    Ticker {
        instrument_name: Cow<'a, str>,
    },
    OrderBook {
        instrument_name: Cow<'a, str>,
        /// Levels of each side: 1, 5, 10, 20, 50, 100, 1,000 or 10,000.
        depth: u16,
    },
    LastTrades(LastTradesParams<'a>),
    Subscribe(SubscribeParams<'a>),
    Unsubscribe {
        channels: Vec<Cow<'a, str>>,
    },
    UnsubscribeAll,
    SetHeartbeat {
        /// 10 to 86,400 seconds.
        interval_s: u32,
    },
    DisableHeartbeat,
    Auth(Box<AuthParams<'a>>),
    Logout {
        tokens: SessionTokens,
    },
    ListKeys,
    Publish {
        /// Not checked yet; see `TopicName::parse`.
        topic: Cow<'a, str>,
        /// One JSON value exactly as the client wrote it.
        data: &'a [u8],
    },
    /// Orders, positions and what becomes of them.
    Order(OrderCall<'a>),
    /// Messages, groups and presence.
    Message(MessageCall<'a>),
    /// None of the gateway's own: it is a backend's, or nobody's.
    Foreign(ForeignCall<'a>),
    /// To answer a call of this connection now, by an error, and to tell its backend that nobody waits for it.
    Cancel {
        id: Id<'a>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloParams<'a> {
    pub client_name: Cow<'a, str>,
    pub client_version: Cow<'a, str>,
    /// How this connection's replies are stamped from here on.
    pub precision: Precision,
    /// What its market data and its orders are to be in, where it says so.
    pub form: Result<Option<Form>, Refusal>,
}

/// What becomes of a named session's tokens when its client logs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionTokens {
    Invalidated,
    Kept,
}

/// Which instruments `get_instruments` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    Active,
    Expired,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastTradesParams<'a> {
    pub instrument_name: Cow<'a, str>,
    pub start_seq: Option<u64>,
    pub end_seq: Option<u64>,
    /// Milliseconds since 1970.
    pub start_timestamp_ms: Option<u64>,
    /// Milliseconds since 1970.
    pub end_timestamp_ms: Option<u64>,
    /// 1 to 1,000.
    pub count: u16,
    pub sorting: Sorting,
}

/// The order of trades in a reply, and from which end of the range they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sorting {
    /// The oldest of the range first.
    Ascending,
    /// The newest of the range first; also Deribit's `default`.
    Descending,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeParams<'a> {
    /// At most [`SUBSCRIBE_CHANNELS_MAX`], as written: those that are no channel are left out of the reply's list.
    pub channels: Vec<Cow<'a, str>>,
    /// `None`: the channel's own default.
    pub class: Option<DeliveryClass>,
    pub checksum: Checksum,
    /// By channel, the last event that the client has seen; at most [`SUBSCRIBE_CHANNELS_MAX`].
    pub resume: Vec<(Cow<'a, str>, Position)>,
}

impl<'a> Method<'a> {
    /// Whether it is about the connection that it comes by, so that it has no meaning where each request stands alone.
    #[must_use]
    pub const fn is_of_connection(&self) -> bool {
        match self {
            Method::Hello(_)
            | Method::Subscribe(_)
            | Method::Unsubscribe { .. }
            | Method::UnsubscribeAll
            | Method::SetHeartbeat { .. }
            | Method::DisableHeartbeat
            | Method::Cancel { .. }
            | Method::Logout { .. } => true,
            Method::Message(call) => call.is_of_connection(),
            Method::Test { .. }
            | Method::Time
            | Method::Status
            | Method::Currencies
            | Method::Venues
            | Method::Instruments { .. }
            | Method::Instrument { .. }
            | Method::Ticker { .. }
            | Method::OrderBook { .. }
            | Method::LastTrades(_)
            | Method::Auth(_)
            | Method::ListKeys
            | Method::Publish { .. }
            | Method::Foreign(_)
            | Method::Order(_) => false,
        }
    }

    /// # Errors
    /// An unknown method, or parameters that do not fit it.
    pub(super) fn decode(name: &str, params: Option<Value<'a>>) -> Result<Method<'a>, Failure> {
        match name {
            "public/test" => {
                let [expected_result] = take(params, ["expected_result"])?;
                Ok(Method::Test { expected_result: param("expected_result", expected_result).text()? })
            }
            "topic/publish" => publish(params),
            "public/hello" => hello(params),
            "public/get_time" => take(params, []).map(|[]| Method::Time),
            "public/status" => take(params, []).map(|[]| Method::Status),
            "public/get_currencies" => take(params, []).map(|[]| Method::Currencies),
            "public/get_venues" => take(params, []).map(|[]| Method::Venues),
            "public/get_instruments" => instruments(params),
            "public/get_instrument" => {
                instrument_name(params).map(|instrument_name| Method::Instrument { instrument_name })
            }
            "public/ticker" => {
                instrument_name(params).map(|instrument_name| Method::Ticker { instrument_name })
            }
            "public/get_order_book" => order_book(params),
            "public/get_last_trades_by_instrument" | "public/get_last_trades_by_instrument_and_time" => {
                last_trades(params).map(Method::LastTrades)
            }
            "public/subscribe" | "private/subscribe" => subscribe(params).map(Method::Subscribe),
            "public/unsubscribe" | "private/unsubscribe" => {
                let [channels] = take(params, ["channels"])?;
                Ok(Method::Unsubscribe { channels: channel_list(channels)? })
            }
            "public/unsubscribe_all" | "private/unsubscribe_all" => {
                take(params, []).map(|[]| Method::UnsubscribeAll)
            }
            "public/auth" => decode_auth(params).map(|auth| Method::Auth(Box::new(auth))),
            "private/logout" => logout(params),
            "private/list_api_keys" => take(params, []).map(|[]| Method::ListKeys),
            "public/set_heartbeat" => set_heartbeat(params),
            "public/disable_heartbeat" => take(params, []).map(|[]| Method::DisableHeartbeat),
            "$/cancelRequest" => cancel(params),
            _ if name.starts_with("private/") => OrderCall::decode(name, params).map(Method::Order),
            _ => MessageCall::decode(name, params).map(Method::Message),
        }
    }
}

fn publish(params: Option<Value<'_>>) -> Result<Method<'_>, Failure> {
    let [topic, data] = take(params, ["topic", "data"])?;
    let topic = param("topic", topic).required_text()?;
    let data = data.ok_or(Failure::value_required("data"))?;
    Ok(Method::Publish { topic, data: data.text().as_bytes() })
}

/// As in the Language Server Protocol: a notification that names a request by its id.
fn cancel(params: Option<Value<'_>>) -> Result<Method<'_>, Failure> {
    let [id] = take(params, ["id"])?;
    let id = param("id", id).value.ok_or(Failure::value_required("id"))?;
    match id.kind() {
        Kind::Number | Kind::String if id.text().len() <= ID_BYTES_MAX => {
            Ok(Method::Cancel { id: Id::new(id.text()) })
        }
        Kind::Number | Kind::String | Kind::Object | Kind::Array | Kind::Boolean | Kind::Null => {
            Err(Failure::wrong_format("id"))
        }
    }
}

fn hello(params: Option<Value<'_>>) -> Result<Method<'_>, Failure> {
    let names = ["client_name", "client_version", "nanoseconds", "encoding", "schema", "version", "batch"];
    let [name, version, nanoseconds, asked @ ..] = take(params, names)?;
    let precision = match param("nanoseconds", nanoseconds).boolean()? {
        true => Precision::Nanoseconds,
        false => Precision::Microseconds,
    };
    Ok(Method::Hello(HelloParams {
        client_name: param("client_name", name).required_text()?,
        client_version: param("client_version", version).required_text()?,
        precision,
        form: form_of(asked),
    }))
}

/// Whatever is wrong with the four, the client asks for what is not spoken here.
fn form_of([encoding, schema, version, batch]: [Option<Value<'_>>; 4]) -> Result<Option<Form>, Refusal> {
    let number = |name: &'static str, value| {
        let number = param(name, value).unsigned(0..=u64::from(u16::MAX)).map_err(|_| Refusal::Encoding)?;
        number.map(u16::try_from).transpose().map_err(|_| Refusal::Encoding)
    };
    let encoding = param("encoding", encoding).text().map_err(|_| Refusal::Encoding)?;
    let is_batched = param("batch", batch).read(Value::boolean).map_err(|_| Refusal::Encoding)?;
    negotiation::find(encoding.as_deref(), number("schema", schema)?, number("version", version)?, is_batched)
}

fn instruments(params: Option<Value<'_>>) -> Result<Method<'_>, Failure> {
    let [currency, kind, expired] = take(params, ["currency", "kind", "expired"])?;
    let kinds = InstrumentKind::ALL.map(|kind| (kind.as_str(), kind));
    let reason = "must be one of future, option, spot, future_combo, option_combo";
    let expiry = match param("expired", expired).boolean()? {
        true => Expiry::Expired,
        false => Expiry::Active,
    };
    Ok(Method::Instruments {
        currency: param("currency", currency).text()?.filter(|currency| currency != "any"),
        kind: match param("kind", kind).text()?.as_deref() {
            Some("any") => None,
            Some(_) | None => param("kind", kind).choice(&kinds, reason)?,
        },
        expiry,
    })
}

fn instrument_name(params: Option<Value<'_>>) -> Result<Cow<'_, str>, Failure> {
    let [name] = take(params, ["instrument_name"])?;
    param("instrument_name", name).required_text()
}

fn order_book(params: Option<Value<'_>>) -> Result<Method<'_>, Failure> {
    let [name, depth] = take(params, ["instrument_name", "depth"])?;
    let instrument_name = param("instrument_name", name).required_text()?;
    let depth = match param("depth", depth).unsigned(0..=u64::MAX)? {
        None => DEPTH_DEFAULT,
        Some(asked) => *DEPTHS
            .iter()
            .find(|depth| u64::from(**depth) == asked)
            .ok_or(Failure::invalid_param("depth", "must be one of 1, 5, 10, 20, 50, 100, 1000, 10000"))?,
    };
    Ok(Method::OrderBook { instrument_name, depth })
}

fn last_trades(params: Option<Value<'_>>) -> Result<LastTradesParams<'_>, Failure> {
    let [name, start_seq, end_seq, start_timestamp, end_timestamp, count, sorting] = take(
        params,
        ["instrument_name", "start_seq", "end_seq", "start_timestamp", "end_timestamp", "count", "sorting"],
    )?;
    let sortings =
        [("asc", Sorting::Ascending), ("desc", Sorting::Descending), ("default", Sorting::Descending)];
    let count = param("count", count).unsigned(1..=TRADES_COUNT_MAX)?;
    Ok(LastTradesParams {
        instrument_name: param("instrument_name", name).required_text()?,
        start_seq: param("start_seq", start_seq).unsigned(0..=EXACT_MAX)?,
        end_seq: param("end_seq", end_seq).unsigned(0..=EXACT_MAX)?,
        start_timestamp_ms: param("start_timestamp", start_timestamp).unsigned(0..=EXACT_MAX)?,
        end_timestamp_ms: param("end_timestamp", end_timestamp).unsigned(0..=EXACT_MAX)?,
        count: count.and_then(|count| u16::try_from(count).ok()).unwrap_or(TRADES_COUNT_DEFAULT),
        sorting: param("sorting", sorting)
            .choice(&sortings, "must be one of asc, desc, default")?
            .unwrap_or(Sorting::Descending),
    })
}

fn subscribe(params: Option<Value<'_>>) -> Result<SubscribeParams<'_>, Failure> {
    let [channels, class, checksum, resume] = take(params, ["channels", "class", "checksum", "resume"])?;
    let classes = [("lossless", DeliveryClass::Lossless), ("latest", DeliveryClass::Latest)];
    let checksum = match param("checksum", checksum).boolean()? {
        true => Checksum::Crc32,
        false => Checksum::Absent,
    };
    Ok(SubscribeParams {
        channels: channel_list(channels)?,
        class: param("class", class).choice(&classes, "must be one of lossless, latest")?,
        checksum,
        resume: resume_list(resume)?,
    })
}

fn channel_list(channels: Option<Value<'_>>) -> Result<Vec<Cow<'_, str>>, Failure> {
    let list = param("channels", channels).value.ok_or(Failure::value_required("channels"))?;
    if list.kind() != Kind::Array {
        return Err(Failure::wrong_format("channels"));
    }
    let mut names = Vec::new();
    for element in list.elements() {
        if names.len() == SUBSCRIBE_CHANNELS_MAX {
            return Err(Failure::invalid_param("channels", "more than 500 channels"));
        }
        names.push(element.string().ok_or(Failure::wrong_format("channels"))?);
    }
    Ok(names)
}

fn resume_list(resume: Option<Value<'_>>) -> Result<Vec<(Cow<'_, str>, Position)>, Failure> {
    let Some(list) = param("resume", resume).value else { return Ok(Vec::new()) };
    if list.kind() != Kind::Object {
        return Err(Failure::wrong_format("resume"));
    }
    let mut positions = Vec::new();
    for (channel, place) in list.members() {
        if positions.len() == SUBSCRIBE_CHANNELS_MAX {
            return Err(Failure::invalid_param("resume", "more than 500 channels"));
        }
        let [epoch, seq] = take(Some(place), ["epoch", "seq"])?;
        let number = |value: Option<Value<'_>>| value?.unsigned().filter(|number| *number <= EXACT_MAX);
        match (channel.string(), number(epoch), number(seq)) {
            (Some(channel), Some(epoch), Some(seq)) => {
                positions.push((channel, Position { epoch: Epoch(epoch), seq: Seq(seq) }));
            }
            (_, _, _) => return Err(Failure::wrong_format("resume")),
        }
    }
    Ok(positions)
}

fn logout(params: Option<Value<'_>>) -> Result<Method<'_>, Failure> {
    let [invalidate] = take(params, ["invalidate_token"])?;
    let tokens = match param("invalidate_token", invalidate).read(Value::boolean)? {
        Some(false) => SessionTokens::Kept,
        Some(true) | None => SessionTokens::Invalidated,
    };
    Ok(Method::Logout { tokens })
}

fn set_heartbeat(params: Option<Value<'_>>) -> Result<Method<'_>, Failure> {
    let [interval] = take(params, ["interval"])?;
    let interval_s =
        param("interval", interval).unsigned(0..=u64::MAX)?.ok_or(Failure::value_required("interval"))?;
    if !(HEARTBEAT_S_MIN..=HEARTBEAT_S_MAX).contains(&interval_s) {
        return Err(Failure::invalid_param("interval", "must be 10 to 86400 seconds"));
    }
    let interval_s = u32::try_from(interval_s).map_err(|_| Failure::wrong_format("interval"))?;
    Ok(Method::SetHeartbeat { interval_s })
}
