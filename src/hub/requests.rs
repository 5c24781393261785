//! Requests: each method of the dialect, answered from the cache or handed on. PURE. Home: one shard.
//! Invariant: a request with an id gets exactly one reply, a notification none, and a batch one array of the replies
//! of its requests; all that waits for another home is bounded before it is admitted.

use crate::dialect::json_rpc::{self, Failure, Id, Incoming, LastTradesParams, Method, Parsed, Stamps};
use crate::model::ids::{ConnId, InstrumentId};
use crate::model::instrument::{InstrumentKind, Symbol};
use crate::model::market::{InstrumentState, MarketState};
use crate::model::time::Now;

use super::Hub;
use super::batch::Ticket;
use super::encoding::Greeting;
use super::incident::{Declined, Incident};
use super::session::Heartbeat;
use super::text_frame::replace_with_text_frame;

/// Where a reply goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplyTo<'i> {
    pub(super) conn: ConnId,
    /// `None` for a notification.
    pub(super) id: Option<Id<'i>>,
    batch: Option<Ticket>,
    received: Now,
    /// It is measured as a backend's.
    is_of_backend: bool,
}

/// Where a reply goes that has to wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptReplyTo {
    pub(super) conn: ConnId,
    id: Option<KeptId>,
    batch: Option<Ticket>,
    received: Now,
    is_of_backend: bool,
}

/// A request's id while its reply waits; inline, so that waiting takes no allocation.
#[derive(Clone, Copy, Debug)]
struct KeptId {
    bytes: [u8; json_rpc::ID_BYTES_MAX],
    len: u8,
}

impl ReplyTo<'_> {
    pub(super) fn is_in_batch(&self) -> bool {
        self.batch.is_some()
    }

    /// When the request came, on the monotonic clock.
    pub(super) fn received_ns(&self) -> u64 {
        self.received.mono_ns
    }

    pub(super) fn keep(self) -> KeptReplyTo {
        let id = self.id.map(|id| {
            let text = id.as_str().as_bytes();
            let mut bytes = [0; json_rpc::ID_BYTES_MAX];
            bytes[..text.len()].copy_from_slice(text);
            KeptId {
                bytes,
                len: u8::try_from(text.len()).expect("invariant: an id has at most ID_BYTES_MAX, 128"),
            }
        });
        let ReplyTo { conn, batch, received, is_of_backend, .. } = self;
        KeptReplyTo { conn, id, batch, received, is_of_backend }
    }

    /// While a backend is asked.
    pub(super) fn keep_for_backend(self) -> KeptReplyTo {
        KeptReplyTo { is_of_backend: true, ..self.keep() }
    }
}

impl KeptReplyTo {
    pub(super) fn get(&self) -> ReplyTo<'_> {
        let id = self.id.as_ref().map(|id| {
            let text = &id.bytes[..usize::from(id.len)];
            Id::echo(
                std::str::from_utf8(text)
                    .expect("invariant: the bytes were an id's text when they were kept"),
            )
        });
        let KeptReplyTo { conn, batch, received, is_of_backend, .. } = *self;
        ReplyTo { conn, id, batch, received, is_of_backend }
    }
}

impl Hub {
    /// One text message.
    pub(super) fn handle_text(&mut self, conn: ConnId, text: &[u8]) {
        self.counters.messages_received_total += 1;
        match json_rpc::decode(text) {
            Incoming::Single(parsed) => {
                let greeting = self.handle_request(conn, parsed, None);
                self.end_if_refused(conn, greeting);
            }
            Incoming::Batch(requests) => {
                let batch = self.open_batch(conn, requests.len());
                let mut greeting = Greeting::Ok;
                for request in requests {
                    if self.batches.peek(batch).is_none() {
                        break;
                    }
                    if self.handle_request(conn, request, Some(batch)) == Greeting::Refused {
                        greeting = Greeting::Refused;
                    }
                }
                self.end_if_refused(conn, greeting);
            }
            Incoming::Invalid(failure) => self.refuse_text(conn, failure),
        }
    }

    /// Answers what is no request.
    pub(super) fn refuse_text(&mut self, conn: ConnId, failure: Failure) {
        let reply_to =
            ReplyTo { conn, id: Some(Id::NULL), batch: None, received: self.now, is_of_backend: false };
        self.reply_error(&reply_to, failure);
    }

    fn handle_request(&mut self, conn: ConnId, parsed: Parsed<'_>, batch: Option<Ticket>) -> Greeting {
        self.counters.requests_total += 1;
        let is_caller = self.session(conn).is_some_and(|session| session.is_caller());
        // Each request over HTTP has its answer, whether or not it names an id.
        let id = if is_caller && batch.is_none() { parsed.id.or(Some(Id::NULL)) } else { parsed.id };
        let reply_to = ReplyTo { conn, id, batch, received: self.now, is_of_backend: false };
        if batch.is_none() && self.work.has_answered_enough() {
            self.report(conn, Incident::Declined(Declined::RequestBurst));
            self.reply_error(&reply_to, Failure::RETRY.because("too much asked for at once"));
            return Greeting::Ok;
        }
        let scopes = self.session(conn).and_then(|session| session.login()).map(|login| login.scopes);
        let refused = parsed.access.refused_to(scopes);
        match parsed.call {
            Err(Failure::METHOD_NOT_FOUND) => self.reply_error(&reply_to, Failure::METHOD_NOT_FOUND),
            Ok(_) | Err(_) if refused.is_some() => {
                self.reply_error(&reply_to, refused.unwrap_or(Failure::FORBIDDEN));
            }
            Ok(method) if is_caller && method.is_of_connection() => {
                self.reply_error(&reply_to, Failure::NEEDS_WEBSOCKET);
            }
            Ok(method) => return self.call(reply_to, method),
            Err(failure) => self.reply_error(&reply_to, failure),
        }
        Greeting::Ok
    }

    fn call(&mut self, reply_to: ReplyTo<'_>, method: Method<'_>) -> Greeting {
        match method {
            Method::Hello(hello) => return self.greet(&reply_to, &hello),
            Method::Test { expected_result } => match expected_result.as_deref() {
                Some("exception") => self.reply_error(&reply_to, Failure::EXCEPTION),
                Some(_) | None => self.reply_with(&reply_to, json_rpc::write_version),
            },
            Method::Publish { topic, data } => self.publish(reply_to, &topic, data),
            Method::Time => {
                let unix_ns = self.now.unix_ns;
                self.reply_with(&reply_to, |out| json_rpc::write_time(out, unix_ns));
            }
            Method::Status => self.reply_with(&reply_to, json_rpc::write_status),
            Method::Currencies => self.reply_currencies(&reply_to),
            Method::Venues => self.reply_venues(&reply_to),
            Method::Instruments { currency, kind, expiry } => {
                self.reply_instruments(&reply_to, currency.as_deref(), kind, expiry);
            }
            Method::Instrument { instrument_name } => {
                self.reply_state(&reply_to, &instrument_name, |out, id, state| {
                    json_rpc::write_instrument(out, id, &state.definition, state.state);
                })
            }
            Method::Ticker { instrument_name } => {
                self.reply_state(&reply_to, &instrument_name, |out, _, state| {
                    json_rpc::write_ticker(out, state);
                })
            }
            Method::OrderBook { instrument_name, depth } => {
                self.reply_state(&reply_to, &instrument_name, |out, _, state| {
                    json_rpc::write_order_book(out, state, depth);
                });
            }
            Method::LastTrades(params) => self.reply_last_trades(&reply_to, &params),
            Method::Auth(params) => self.log_in(reply_to, *params),
            Method::Logout { tokens } => self.log_out(&reply_to, tokens),
            Method::ListKeys => self.reply_keys(&reply_to),
            Method::Subscribe(params) => self.subscribe(reply_to, &params),
            Method::Unsubscribe { channels } => self.unsubscribe(&reply_to, &channels),
            Method::UnsubscribeAll => {
                self.unsubscribe_all(reply_to.conn);
                self.hear_platform(reply_to.conn, false);
                self.reply_with(&reply_to, json_rpc::write_ok);
            }
            Method::SetHeartbeat { interval_s } => {
                self.set_heartbeat(reply_to.conn, interval_s);
                self.reply_with(&reply_to, json_rpc::write_ok);
            }
            Method::Order(call) => self.call_desk(reply_to, call),
            Method::Message(call) => self.call_office(reply_to, call),
            Method::Foreign(call) => self.call_backend(reply_to, &call),
            Method::Cancel { id } => self.cancel_call(&reply_to, id),
            Method::DisableHeartbeat => {
                if let Some(session) = self.session(reply_to.conn) {
                    session.heartbeat = None;
                }
                self.reply_with(&reply_to, json_rpc::write_ok);
            }
        }
        Greeting::Ok
    }

    fn set_heartbeat(&mut self, conn: ConnId, interval_s: u32) {
        let now_ns = self.now.mono_ns;
        let interval_ns = u64::from(interval_s) * 1_000_000_000;
        if let Some(session) = self.session(conn) {
            let due_ns = now_ns + interval_ns;
            session.heartbeat = Some(Heartbeat { interval_ns, due_ns, tested_ns: None });
            self.arm_deadline(conn);
        }
    }

    fn reply_currencies(&mut self, reply_to: &ReplyTo<'_>) {
        self.work.looked_at(self.cache.instruments().len());
        let mut currencies: Vec<Symbol> = self
            .cache
            .instruments()
            .filter(|(_, state)| state.state != MarketState::Delisted)
            .flat_map(|(_, state)| [state.definition.base_currency, state.definition.quote_currency])
            .collect();
        currencies.sort_unstable();
        currencies.dedup();
        self.reply_with(reply_to, |out| json_rpc::write_currencies(out, &currencies));
    }

    fn reply_venues(&mut self, reply_to: &ReplyTo<'_>) {
        let cache = std::mem::take(&mut self.cache);
        self.work.looked_at(cache.links().len());
        self.reply_with(reply_to, |out| json_rpc::write_venues(out, cache.links()));
        self.cache = cache;
    }

    fn reply_instruments(
        &mut self,
        reply_to: &ReplyTo<'_>,
        currency: Option<&str>,
        kind: Option<InstrumentKind>,
        expiry: json_rpc::Expiry,
    ) {
        let now_ms = self.now.unix_ns / 1_000_000;
        self.work.looked_at(self.cache.instruments().len());
        let cache = std::mem::take(&mut self.cache);
        self.reply_with(reply_to, |out| {
            let listed = cache.instruments().filter(|(_, state)| {
                let definition = &state.definition;
                let expired =
                    definition.expiration_timestamp_ms.is_some_and(|expires_ms| expires_ms <= now_ms);
                // A recording's instruments have expired by now and still trade in it.
                let expired = match state.state {
                    MarketState::Open => false,
                    MarketState::Closed => expired,
                    MarketState::Delisted => true,
                };
                currency.is_none_or(|currency| {
                    [definition.base_currency, definition.quote_currency]
                        .iter()
                        .any(|of| of.as_str() == currency)
                }) && kind.is_none_or(|kind| definition.kind == kind)
                    && expired == (expiry == json_rpc::Expiry::Expired)
            });
            json_rpc::write_instruments(out, listed.map(|(id, state)| (id, &*state.definition, state.state)));
        });
        self.cache = cache;
    }

    fn reply_last_trades(&mut self, reply_to: &ReplyTo<'_>, params: &LastTradesParams<'_>) {
        self.reply_state(reply_to, &params.instrument_name, |out, _, state| {
            json_rpc::write_last_trades(out, state, params);
        });
    }

    /// A reply from the state of one instrument.
    fn reply_state(
        &mut self,
        reply_to: &ReplyTo<'_>,
        instrument_name: &str,
        write: impl FnOnce(&mut Vec<u8>, InstrumentId, &InstrumentState),
    ) {
        let found = Symbol::parse(instrument_name.as_bytes()).ok().and_then(|name| self.cache.find(&name));
        let Some(id) = found else { return self.reply_error(reply_to, Failure::UNKNOWN_INSTRUMENT) };
        let cache = std::mem::take(&mut self.cache);
        self.reply_with(reply_to, |out| write(out, id, cache.state(id)));
        self.cache = cache;
    }

    /// Sends a result.
    pub(super) fn reply_with(&mut self, reply_to: &ReplyTo<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        self.reply(reply_to, None, |out, id, stamps| {
            json_rpc::open_result(out, id);
            write(out);
            json_rpc::close_reply(out, stamps);
        });
    }

    /// Sends an error.
    pub(super) fn reply_error(&mut self, reply_to: &ReplyTo<'_>, failure: Failure) {
        self.counters.requests_failed_total += 1;
        self.reply(reply_to, Some(failure), |out, id, stamps| {
            json_rpc::write_error(out, id, failure, stamps)
        });
    }

    /// Sends the error object of a backend, one valid JSON object.
    pub(super) fn reply_foreign_error(&mut self, reply_to: &ReplyTo<'_>, error: &[u8]) {
        self.counters.requests_failed_total += 1;
        self.reply(reply_to, Some(Failure::OTHER_REJECT), |out, id, stamps| {
            json_rpc::open_error(out, id);
            out.extend_from_slice(error);
            json_rpc::close_reply(out, stamps);
        });
    }

    fn reply(
        &mut self,
        reply_to: &ReplyTo<'_>,
        failure: Option<Failure>,
        write: impl FnOnce(&mut Vec<u8>, Id<'_>, Stamps),
    ) {
        // A connection that is gone still ends its share of a batch.
        let session = self.session(reply_to.conn);
        let (precision, is_caller) =
            session.map(|session| (session.precision, session.is_caller())).unwrap_or_default();
        let stamps =
            Stamps { in_unix_ns: reply_to.received.unix_ns, out_unix_ns: self.now.unix_ns, precision };
        if let Some(batch) = reply_to.batch {
            return self.reply_in_batch(reply_to, batch, stamps, write);
        }
        let Some(id) = reply_to.id else { return };
        let tally = if reply_to.is_of_backend { &mut self.marks.calls } else { &mut self.marks.replies };
        tally.add(reply_to.received_ns(), 1);
        let mut frame = std::mem::take(&mut self.scratch);
        if is_caller {
            frame.clear();
            write(&mut frame, id, stamps);
            self.work.written(frame.len());
            self.answer_call(reply_to.conn, failure, &frame);
        } else {
            replace_with_text_frame(&mut frame, |out| write(out, id, stamps));
            self.work.written(frame.len());
            self.queue_reply(reply_to.conn, &frame);
        }
        self.scratch = frame;
    }
}
