//! The methods of order entry, and their parameters. PURE. A call becomes a request for the desk once the instrument that
//! it names is found. What Deribit has and is not offered here is refused by name, never passed over.
//!
//! Invariant: until then the instrument in the request of a call that names one is [`UNRESOLVED`], and the amount of a
//! new order that is told in contracts alone is 0.

use std::borrow::Cow;

use super::errors::Failure;
use super::methods::{EXACT_MAX, TRADES_COUNT_DEFAULT, TRADES_COUNT_MAX};
use super::params::{Param, param, take};
use super::scan::Value;
use crate::auth::Scope;
use crate::dialect::order_terms::{BAD_LABEL, check_terms, label_of};
use crate::limits;
use crate::model::decimal::{Amount, DecimalError, Price, UNIT};
use crate::model::ids::InstrumentId;
use crate::model::instrument::{InstrumentKind, Symbol};
use crate::model::market::Direction;
use crate::model::order::{
    DisconnectScope, EditOrder, Filter, Label, NewOrder, OrderId, OrderRef, OrderRequest, OrderType,
    PostOnly, TimeInForce, UserTradesQuery,
};

/// Whoever may publish to this topic may halt and resume the trading of everybody.
pub const HALT_EVERYBODY_TOPIC: &str = "trading.halt";

/// Stands where an instrument's number will be.
const UNRESOLVED: InstrumentId = InstrumentId(u32::MAX);
/// Of the instrument that is named.
const ONE: Filter = Filter { instrument: Some(UNRESOLVED), kind: None, currency: None };
const HISTORY_COUNT_DEFAULT: u16 = 20;

/// A request of order entry whose parameters are checked as far as that is possible without the market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderCall<'a> {
    instrument_name: Option<Cow<'a, str>>,
    /// The amount in contracts, where it is told so.
    contracts: Option<Amount>,
    request: OrderRequest,
}

impl<'a> OrderCall<'a> {
    /// The instrument that it names, if it names one.
    #[must_use]
    pub fn instrument_name(&self) -> Option<&str> {
        self.instrument_name.as_deref()
    }

    /// What the desk is asked for; `find` gives the number and the contract size of an instrument of this name.
    ///
    /// # Errors
    /// There is no such instrument, or contracts of it that no amount can count.
    pub fn resolve(
        self,
        find: impl FnOnce(&str) -> Option<(InstrumentId, Amount)>,
    ) -> Result<OrderRequest, Failure> {
        let OrderCall { instrument_name, contracts, mut request } = self;
        let Some(name) = instrument_name else { return Ok(request) };
        let (id, contract_size) = find(&name).ok_or(Failure::UNKNOWN_INSTRUMENT)?;
        let told = contracts.map(|contracts| amount_of(contracts, contract_size)).transpose()?;
        match &mut request {
            OrderRequest::Place(order) => {
                order.instrument = id;
                let amount = Some(order.amount).filter(|amount| *amount != Amount::ZERO);
                order.amount = agreed(told, amount)?.unwrap_or(Amount::ZERO);
            }
            OrderRequest::Edit(edit) => {
                edit.instrument = Some(id);
                edit.amount = agreed(told, edit.amount)?;
            }
            OrderRequest::UserTrades(query) => query.filter.instrument = Some(id),
            OrderRequest::Position { instrument } => *instrument = id,
            OrderRequest::CancelAll { filter }
            | OrderRequest::OpenOrders { filter }
            | OrderRequest::OrderHistory { filter, .. }
            | OrderRequest::Positions { filter } => filter.instrument = Some(id),
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
            | OrderRequest::Halt { .. } => {}
        }
        Ok(request)
    }

    /// The scope that a method of order entry needs; `None` for a name that is none of these methods.
    pub(super) fn scope_of(method: &str) -> Option<Scope> {
        Some(match method {
            "private/buy"
            | "private/sell"
            | "private/edit"
            | "private/edit_by_label"
            | "private/cancel"
            | "private/cancel_by_label"
            | "private/cancel_all"
            | "private/cancel_all_by_instrument"
            | "private/cancel_all_by_currency"
            | "private/cancel_all_after" => Scope::TradeReadWrite,
            "private/get_open_orders"
            | "private/get_open_orders_by_instrument"
            | "private/get_open_orders_by_currency"
            | "private/get_order_state"
            | "private/get_order_state_by_label"
            | "private/get_user_trades_by_instrument"
            | "private/get_user_trades_by_instrument_and_time"
            | "private/get_user_trades_by_currency"
            | "private/get_user_trades_by_currency_and_time"
            | "private/get_order_history_by_instrument"
            | "private/get_order_history_by_currency"
            | "private/get_position"
            | "private/get_positions" => Scope::TradeRead,
            "private/get_account_summary"
            | "private/get_account_summaries"
            | "private/get_cancel_on_disconnect" => Scope::AccountRead,
            "private/enable_cancel_on_disconnect"
            | "private/disable_cancel_on_disconnect"
            | "private/halt_trading"
            | "private/resume_trading" => Scope::AccountReadWrite,
            _ => return None,
        })
    }

    /// # Errors
    /// A name that is none of these methods, or parameters that do not fit it.
    pub(super) fn decode(method: &str, params: Option<Value<'a>>) -> Result<OrderCall<'a>, Failure> {
        match method {
            "private/buy" => place(Direction::Buy, params),
            "private/sell" => place(Direction::Sell, params),
            "private/edit" => edit(params),
            "private/edit_by_label" => edit_by_label(params),
            "private/cancel" => cancel(params),
            "private/cancel_by_label" => {
                by_label(params, |label, currency| OrderRequest::CancelByLabel { label, currency })
            }
            "private/cancel_all" => {
                let [detailed] = take(params, ["detailed"])?;
                not_offered(&[param("detailed", detailed)])?;
                Ok(unnamed(OrderRequest::CancelAll { filter: Filter::default() }))
            }
            "private/cancel_all_by_instrument" => {
                by_instrument(params, |filter| OrderRequest::CancelAll { filter })
            }
            "private/cancel_all_by_currency" => {
                by_currency(params, Need::Required, |filter| OrderRequest::CancelAll { filter })
            }
            "private/cancel_all_after" => cancel_all_after(params),
            "private/enable_cancel_on_disconnect" => {
                on_disconnect(params, |scope| OrderRequest::EnableCancelOnDisconnect { scope })
            }
            "private/disable_cancel_on_disconnect" => {
                on_disconnect(params, |scope| OrderRequest::DisableCancelOnDisconnect { scope })
            }
            "private/halt_trading" => halt(params, true),
            "private/resume_trading" => halt(params, false),
            _ => OrderCall::decode_question(method, params),
        }
    }

    fn decode_question(method: &str, params: Option<Value<'a>>) -> Result<OrderCall<'a>, Failure> {
        match method {
            "private/get_open_orders" => {
                by_currency(params, Need::Absent, |filter| OrderRequest::OpenOrders { filter })
            }
            "private/get_open_orders_by_instrument" => {
                by_instrument(params, |filter| OrderRequest::OpenOrders { filter })
            }
            "private/get_open_orders_by_currency" => {
                by_currency(params, Need::Required, |filter| OrderRequest::OpenOrders { filter })
            }
            "private/get_order_state" => {
                let [order] = take(params, ["order_id"])?;
                Ok(unnamed(OrderRequest::OrderState { order: order_id(order)? }))
            }
            "private/get_order_state_by_label" => {
                by_label(params, |label, currency| OrderRequest::OrderStateByLabel { label, currency })
            }
            "private/get_user_trades_by_instrument" | "private/get_user_trades_by_instrument_and_time" => {
                let [name] = take(params, ["instrument_name"])?;
                named(name, OrderRequest::UserTrades(user_trades(params, ONE)?))
            }
            "private/get_user_trades_by_currency" | "private/get_user_trades_by_currency_and_time" => {
                let filter = currency_filter(params, Need::Required)?;
                Ok(unnamed(OrderRequest::UserTrades(user_trades(params, filter)?)))
            }
            "private/get_order_history_by_instrument" => {
                let [name] = take(params, ["instrument_name"])?;
                named(name, order_history(params, ONE)?)
            }
            "private/get_order_history_by_currency" => {
                order_history(params, currency_filter(params, Need::Required)?).map(unnamed)
            }
            "private/get_position" => {
                let [name] = take(params, ["instrument_name"])?;
                named(name, OrderRequest::Position { instrument: UNRESOLVED })
            }
            "private/get_positions" => {
                by_currency(params, Need::Optional, |filter| OrderRequest::Positions { filter })
            }
            "private/get_account_summary" => account_summary(params),
            "private/get_account_summaries" => {
                let [subaccount] = take(params, ["subaccount_id"])?;
                not_offered(&[param("subaccount_id", subaccount)])?;
                Ok(unnamed(OrderRequest::AccountSummaries))
            }
            "private/get_cancel_on_disconnect" => {
                on_disconnect(params, |scope| OrderRequest::GetCancelOnDisconnect { scope })
            }
            _ => Err(Failure::METHOD_NOT_FOUND),
        }
    }
}

fn unnamed(request: OrderRequest) -> OrderCall<'static> {
    OrderCall { instrument_name: None, contracts: None, request }
}

fn named(name: Option<Value<'_>>, request: OrderRequest) -> Result<OrderCall<'_>, Failure> {
    let instrument_name = param("instrument_name", name).required_text()?;
    Ok(OrderCall { instrument_name: Some(instrument_name), contracts: None, request })
}

fn place(direction: Direction, params: Option<Value<'_>>) -> Result<OrderCall<'_>, Failure> {
    let terms = Terms::take(params)?;
    let [name, order_type, time_in_force, label] =
        take(params, ["instrument_name", "type", "time_in_force", "label"])?;
    let instrument_name = param("instrument_name", name).required_text()?;
    let types = [("limit", OrderType::Limit), ("market", OrderType::Market)];
    let order_type =
        param("type", order_type).choice(&types, "must be one of limit, market")?.unwrap_or(OrderType::Limit);
    let times = [
        ("good_til_cancelled", TimeInForce::GoodTilCancelled),
        ("immediate_or_cancel", TimeInForce::ImmediateOrCancel),
        ("fill_or_kill", TimeInForce::FillOrKill),
    ];
    let time_in_force = param("time_in_force", time_in_force)
        .choice(&times, "must be one of good_til_cancelled, immediate_or_cancel, fill_or_kill")?
        .unwrap_or(TimeInForce::GoodTilCancelled);
    let post_only = terms.post_only.unwrap_or(PostOnly::No);
    check_terms(order_type, terms.price, time_in_force, post_only)?;
    if terms.amount.is_none() && terms.contracts.is_none() {
        return Err(Failure::value_required("amount"));
    }
    let label = param("label", label).text()?.map_or(Ok(None), |text| label_of(&text))?;
    let order = NewOrder {
        instrument: UNRESOLVED,
        direction,
        order_type,
        price: terms.price,
        amount: terms.amount.unwrap_or(Amount::ZERO),
        time_in_force,
        post_only,
        reduce_only: terms.reduce_only.unwrap_or(false),
        label,
        valid_until_ms: terms.valid_until_ms,
    };
    Ok(OrderCall {
        instrument_name: Some(instrument_name),
        contracts: terms.contracts,
        request: OrderRequest::Place(order),
    })
}

fn edit(params: Option<Value<'_>>) -> Result<OrderCall<'_>, Failure> {
    let [order] = take(params, ["order_id"])?;
    let terms = Terms::take(params)?;
    if terms.contracts.is_some() {
        return Err(Failure::invalid_param("contracts", "not offered here: tell the amount"));
    }
    let order = OrderRef::Id(order_id(order)?);
    Ok(unnamed(OrderRequest::Edit(terms.edit_of(order))))
}

fn edit_by_label(params: Option<Value<'_>>) -> Result<OrderCall<'_>, Failure> {
    let [name, label] = take(params, ["instrument_name", "label"])?;
    let terms = Terms::take(params)?;
    let order = OrderRef::Label(required_label(label)?);
    let call = named(name, OrderRequest::Edit(terms.edit_of(order)))?;
    Ok(OrderCall { contracts: terms.contracts, ..call })
}

/// What a new order and an edit have in common.
struct Terms {
    amount: Option<Amount>,
    contracts: Option<Amount>,
    price: Option<Price>,
    post_only: Option<PostOnly>,
    reduce_only: Option<bool>,
    valid_until_ms: Option<u64>,
}

impl Terms {
    fn take(params: Option<Value<'_>>) -> Result<Terms, Failure> {
        const NOT_OFFERED: [&str; 8] = [
            "trigger",
            "trigger_price",
            "trigger_offset",
            "trigger_fill_condition",
            "linked_order_type",
            "otoco_config",
            "advanced",
            "mmp",
        ];
        const SHOWN: [&str; 2] = ["max_show", "display_amount"];
        let refused = take(params, NOT_OFFERED)?;
        for (name, value) in NOT_OFFERED.into_iter().zip(refused) {
            not_offered(&[param(name, value)])?;
        }
        let [amount, contracts, price, post_only, reject_post_only, reduce_only, valid_until, deadline] =
            take(
                params,
                [
                    "amount",
                    "contracts",
                    "price",
                    "post_only",
                    "reject_post_only",
                    "reduce_only",
                    "valid_until",
                    "deadline",
                ],
            )?;
        let amount = quantity(param("amount", amount))?;
        for (name, value) in SHOWN.into_iter().zip(take(params, SHOWN)?) {
            let shown = quantity(param(name, value)).map_err(|failure| failure.at(name))?;
            if shown.is_some() && shown != amount {
                return Err(Failure::INVALID_MAX_SHOW
                    .because("must be the amount: all of it is shown")
                    .at(name));
            }
        }
        let until = [("valid_until", valid_until), ("deadline", deadline)];
        Ok(Terms {
            amount,
            contracts: quantity(param("contracts", contracts))?,
            price: price_of(param("price", price))?,
            post_only: post_only_of(post_only, reject_post_only)?,
            reduce_only: param("reduce_only", reduce_only).read(Value::boolean)?,
            valid_until_ms: earliest(until)?,
        })
    }

    fn edit_of(&self, order: OrderRef) -> EditOrder {
        EditOrder {
            order,
            instrument: None,
            amount: self.amount,
            price: self.price,
            post_only: self.post_only,
            reduce_only: self.reduce_only,
            valid_until_ms: self.valid_until_ms,
        }
    }
}

fn post_only_of(
    post_only: Option<Value<'_>>,
    reject_post_only: Option<Value<'_>>,
) -> Result<Option<PostOnly>, Failure> {
    let is_post_only = param("post_only", post_only).read(Value::boolean)?;
    let rejects = param("reject_post_only", reject_post_only).boolean()?;
    match (is_post_only, rejects) {
        (Some(true), true) => Ok(Some(PostOnly::Reject)),
        (Some(true), false) => Ok(Some(PostOnly::Slide)),
        (Some(false), false) => Ok(Some(PostOnly::No)),
        (None, false) => Ok(None),
        (Some(false) | None, true) => Err(Failure::invalid_param("reject_post_only", "takes post_only")),
    }
}

fn price_of(price: Param<'_>) -> Result<Option<Price>, Failure> {
    match price.units() {
        Ok(units) => Ok(units.map(Price)),
        Err(DecimalError::Malformed) => Err(Failure::wrong_format(price.name)),
        Err(DecimalError::TooManyDecimals) => {
            Err(Failure::PRICE_PRECISION.because("more than nine decimals"))
        }
        Err(DecimalError::OutOfRange) => Err(Failure::INVALID_PRICE.because("out of range")),
    }
}

/// More than zero.
fn quantity(amount: Param<'_>) -> Result<Option<Amount>, Failure> {
    let invalid = Failure::INVALID_AMOUNT.at(amount.name);
    match amount.units() {
        Ok(None) => Ok(None),
        Ok(Some(units)) if units > 0 => Ok(Some(Amount(units))),
        Ok(Some(_)) => Err(invalid.because("must be more than 0")),
        Err(DecimalError::Malformed) => Err(Failure::wrong_format(amount.name)),
        Err(DecimalError::TooManyDecimals) => Err(invalid.because("more than nine decimals")),
        Err(DecimalError::OutOfRange) => Err(invalid.because("out of range")),
    }
}

fn amount_of(contracts: Amount, contract_size: Amount) -> Result<Amount, Failure> {
    let product = i128::from(contracts.0) * i128::from(contract_size.0);
    let amount = i64::try_from(product / i128::from(UNIT)).ok().filter(|_| product % i128::from(UNIT) == 0);
    amount.map(Amount).ok_or(Failure::INVALID_AMOUNT.because("no amount is that many").at("contracts"))
}

/// What is told in contracts and what is told as an amount, where both are told.
fn agreed(contracts: Option<Amount>, amount: Option<Amount>) -> Result<Option<Amount>, Failure> {
    match (contracts, amount) {
        (Some(told), Some(amount)) if told != amount => {
            Err(Failure::INVALID_AMOUNT.because("not the same as amount").at("contracts"))
        }
        (told, amount) => Ok(told.or(amount)),
    }
}

fn earliest(times: [(&'static str, Option<Value<'_>>); 2]) -> Result<Option<u64>, Failure> {
    let mut earliest: Option<u64> = None;
    for (name, value) in times {
        let time_ms = param(name, value).unsigned(0..=EXACT_MAX)?;
        earliest = earliest.into_iter().chain(time_ms).min();
    }
    Ok(earliest)
}

fn cancel(params: Option<Value<'_>>) -> Result<OrderCall<'_>, Failure> {
    let [order, valid_until, deadline] = take(params, ["order_id", "valid_until", "deadline"])?;
    let valid_until_ms = earliest([("valid_until", valid_until), ("deadline", deadline)])?;
    Ok(unnamed(OrderRequest::Cancel { order: order_id(order)?, valid_until_ms }))
}

fn cancel_all_after(params: Option<Value<'_>>) -> Result<OrderCall<'_>, Failure> {
    let [timeout] = take(params, ["timeout"])?;
    let reason = "must be 0 to turn it off, or 100 to 86400000 milliseconds";
    let timeout_ms =
        param("timeout", timeout).unsigned(0..=u64::MAX)?.ok_or(Failure::value_required("timeout"))?;
    let timeout_ms = match timeout_ms {
        0 => None,
        _ => Some(
            u32::try_from(timeout_ms)
                .ok()
                .filter(|timeout_ms| limits::CANCEL_AFTER_MS.contains(timeout_ms))
                .ok_or(Failure::invalid_param("timeout", reason))?,
        ),
    };
    Ok(unnamed(OrderRequest::CancelAllAfter { timeout_ms }))
}

fn by_label<'a>(
    params: Option<Value<'a>>,
    make: impl FnOnce(Label, Option<Symbol>) -> OrderRequest,
) -> Result<OrderCall<'a>, Failure> {
    let [label, currency] = take(params, ["label", "currency"])?;
    Ok(unnamed(make(required_label(label)?, currency_of(currency)?)))
}

fn by_instrument<'a>(
    params: Option<Value<'a>>,
    make: impl FnOnce(Filter) -> OrderRequest,
) -> Result<OrderCall<'a>, Failure> {
    let [name, order_type, detailed] = take(params, ["instrument_name", "type", "detailed"])?;
    not_offered(&[param("detailed", detailed)])?;
    any_order_type(order_type)?;
    named(name, make(ONE))
}

/// Whether a method takes a currency.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    Optional,
    Absent,
}

fn by_currency<'a>(
    params: Option<Value<'a>>,
    need: Need,
    make: impl FnOnce(Filter) -> OrderRequest,
) -> Result<OrderCall<'a>, Failure> {
    let [order_type, detailed, subaccount] = take(params, ["type", "detailed", "subaccount_id"])?;
    not_offered(&[param("detailed", detailed), param("subaccount_id", subaccount)])?;
    any_order_type(order_type)?;
    currency_filter(params, need).map(|filter| unnamed(make(filter)))
}

fn currency_filter(params: Option<Value<'_>>, need: Need) -> Result<Filter, Failure> {
    let [currency, kind] = take(params, ["currency", "kind"])?;
    let currency = match need {
        Need::Absent => None,
        Need::Optional => currency_of(currency)?,
        Need::Required if param("currency", currency).value.is_none() => {
            return Err(Failure::value_required("currency"));
        }
        Need::Required => currency_of(currency)?,
    };
    let kinds = InstrumentKind::ALL.map(|kind| (kind.as_str(), Some(kind)));
    let kind = match param("kind", kind).text()?.as_deref() {
        Some("any") | None => None,
        Some(_) => param("kind", kind)
            .choice(&kinds, "must be one of any, future, option, spot, future_combo, option_combo")?
            .flatten(),
    };
    Ok(Filter { instrument: None, kind, currency })
}

/// All that rests here are limit orders.
fn any_order_type(order_type: Option<Value<'_>>) -> Result<(), Failure> {
    param("type", order_type).choice(&[("all", ()), ("limit", ())], "must be one of all, limit").map(|_| ())
}

fn user_trades(params: Option<Value<'_>>, filter: Filter) -> Result<UserTradesQuery, Failure> {
    let [start_seq, end_seq, start_timestamp, end_timestamp, count, sorting, subaccount] = take(
        params,
        ["start_seq", "end_seq", "start_timestamp", "end_timestamp", "count", "sorting", "subaccount_id"],
    )?;
    not_offered(&[param("subaccount_id", subaccount)])?;
    let number = |name, value| param(name, value).unsigned(0..=EXACT_MAX);
    let count = param("count", count).unsigned(1..=TRADES_COUNT_MAX)?;
    let sortings = [("asc", true), ("desc", false), ("default", false)];
    Ok(UserTradesQuery {
        filter,
        start_seq: number("start_seq", start_seq)?,
        end_seq: number("end_seq", end_seq)?,
        start_timestamp_ms: number("start_timestamp", start_timestamp)?,
        end_timestamp_ms: number("end_timestamp", end_timestamp)?,
        count: count.and_then(|count| u16::try_from(count).ok()).unwrap_or(TRADES_COUNT_DEFAULT),
        is_ascending: param("sorting", sorting)
            .choice(&sortings, "must be one of asc, desc, default")?
            .unwrap_or(false),
    })
}

fn order_history(params: Option<Value<'_>>, filter: Filter) -> Result<OrderRequest, Failure> {
    let [count, offset, include_unfilled] = take(params, ["count", "offset", "include_unfilled"])?;
    let count = param("count", count).unsigned(1..=TRADES_COUNT_MAX)?;
    let offset = param("offset", offset).unsigned(0..=u64::from(u32::MAX))?;
    Ok(OrderRequest::OrderHistory {
        filter,
        count: count.and_then(|count| u16::try_from(count).ok()).unwrap_or(HISTORY_COUNT_DEFAULT),
        offset: offset.and_then(|offset| u32::try_from(offset).ok()).unwrap_or(0),
        include_unfilled: param("include_unfilled", include_unfilled).boolean()?,
    })
}

fn account_summary(params: Option<Value<'_>>) -> Result<OrderCall<'_>, Failure> {
    let [currency, subaccount] = take(params, ["currency", "subaccount_id"])?;
    not_offered(&[param("subaccount_id", subaccount)])?;
    let text = param("currency", currency).required_text()?;
    let currency = Symbol::parse(text.as_bytes()).map_err(|_| Failure::wrong_format("currency"))?;
    Ok(unnamed(OrderRequest::AccountSummary { currency }))
}

fn on_disconnect<'a>(
    params: Option<Value<'a>>,
    make: impl FnOnce(DisconnectScope) -> OrderRequest,
) -> Result<OrderCall<'a>, Failure> {
    let [scope] = take(params, ["scope"])?;
    let scopes = [("connection", DisconnectScope::Connection), ("account", DisconnectScope::Account)];
    let scope = param("scope", scope).choice(&scopes, "must be one of connection, account")?;
    Ok(unnamed(make(scope.unwrap_or(DisconnectScope::Connection))))
}

fn halt(params: Option<Value<'_>>, is_on: bool) -> Result<OrderCall<'_>, Failure> {
    let [everybody] = take(params, ["everybody"])?;
    Ok(unnamed(OrderRequest::Halt { is_on, everybody: param("everybody", everybody).boolean()? }))
}

fn required_label(label: Option<Value<'_>>) -> Result<Label, Failure> {
    Label::parse(&param("label", label).required_text()?).ok_or(BAD_LABEL)
}

/// As a decimal text, which is how orders are told.
fn order_id(order: Option<Value<'_>>) -> Result<OrderId, Failure> {
    let text = param("order_id", order).required_text()?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let number = text.parse().ok().filter(|number| is_plain && *number <= EXACT_MAX);
    number.map(OrderId).ok_or(Failure::INVALID_ORDER_ID)
}

/// `None` for every currency.
fn currency_of(currency: Option<Value<'_>>) -> Result<Option<Symbol>, Failure> {
    let Some(text) = param("currency", currency).text()?.filter(|text| text != "any") else {
        return Ok(None);
    };
    Symbol::parse(text.as_bytes()).map(Some).map_err(|_| Failure::wrong_format("currency"))
}

/// False is as good as absent.
fn not_offered(params: &[Param<'_>]) -> Result<(), Failure> {
    for param in params {
        if param.value.is_some_and(|value| value.boolean() != Some(false)) {
            return Err(Failure::invalid_param(param.name, "not offered here"));
        }
    }
    Ok(())
}
