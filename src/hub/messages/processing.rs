//! Messages for backends: those of a type that the configuration gives to a backend are handed to it as calls of `message/process`. PURE.
//! Home: of each backend, the shard that its number falls on.
//!
//! Invariants: what the office delivers for a backend is answered to it once: by what came of the call, or handed back where there was none; a
//! backend that takes no call is left alone for a while, and what is for it stays with the office.

use std::sync::Arc;

use crate::dialect::json_rpc;
use crate::limits;
use crate::model::call::{BackendId, CallFailure, CallOutcome};
use crate::model::ids::ConnId;
use crate::model::message::{Delivery, MessageAsk, MessageRequest, Name, PROCESSOR_SLOTS_FROM, Target};
use crate::model::order::{AccountId, Client, Label};

use super::super::Hub;
use super::super::calls::Parcel;
use super::{PendingMessageAsk, Then};

/// The end of a pause that has none.
const FOR_GOOD_NS: u64 = u64::MAX;

/// Whether it is a backend's that the office means.
pub(super) fn is_of_processor(conn: ConnId) -> bool {
    conn.slot >= PROCESSOR_SLOTS_FROM
}

/// A backend whose messages this shard hands on.
#[derive(Debug)]
struct Processor {
    /// As the office knows it; what it said to an earlier one of the same slot is not for this.
    conn: ConnId,
    user: Name,
    in_flight_max: u32,
    /// Until when it is left alone, on the monotonic clock; 0: until the first look. `None` while it may have messages.
    paused_until_ns: Option<u64>,
    /// How long the next pause is.
    pause_ns: u64,
}

/// All processors of this shard.
#[derive(Debug, Default)]
pub(in crate::hub) struct Processors {
    of: Vec<Processor>,
    generation: u32,
    /// When the first of the pauses is over.
    due_ns: Option<u64>,
}

impl Processors {
    pub(in crate::hub) fn poll_timeout(&self) -> Option<u64> {
        self.due_ns
    }

    fn find(&mut self, conn: ConnId) -> Option<&mut Processor> {
        self.of.iter_mut().find(|processor| processor.conn == conn)
    }

    fn note_due(&mut self) {
        let ends = self.of.iter().filter_map(|processor| processor.paused_until_ns);
        self.due_ns = ends.filter(|until_ns| *until_ns != FOR_GOOD_NS).min();
    }
}

impl Hub {
    /// Has processors as the configuration says.
    pub(in crate::hub) fn plan_processors(&mut self) {
        if self.stopping {
            return;
        }
        let routes = Arc::clone(&self.config.routes);
        let is_mine = |backend: BackendId| backend.index() % usize::from(self.shards) == self.me.index();
        let mine: Vec<_> = routes.processors().iter().filter(|terms| is_mine(terms.backend)).collect();
        let is_planned = |slot: u32| mine.iter().any(|terms| slot_of(terms.backend) == slot);
        let gone = self.processors.of.extract_if(.., |processor| !is_planned(processor.conn.slot));
        for Processor { conn, user, .. } in gone.collect::<Vec<Processor>>() {
            self.ask_as(conn, user, MessageRequest::Unsubscribe, Then::Nothing);
        }
        for terms in mine {
            let slot = slot_of(terms.backend);
            if let Some(known) = self.processors.of.iter_mut().find(|processor| processor.conn.slot == slot) {
                known.in_flight_max = terms.in_flight_max;
                let (conn, under_way_max) = (known.conn, known.in_flight_max);
                match &mut known.paused_until_ns {
                    // It may be well by the new settings.
                    Some(until_ns) => *until_ns = 0,
                    None => self.ask_for(conn, MessageRequest::Process { under_way_max }),
                }
                continue;
            }
            self.processors.generation = self.processors.generation.wrapping_add(1);
            self.processors.of.push(Processor {
                conn: ConnId { slot, generation: self.processors.generation },
                user: terms.user,
                in_flight_max: terms.in_flight_max,
                paused_until_ns: Some(0),
                pause_ns: limits::PROCESSOR_PAUSE_FIRST_NS,
            });
        }
        self.processors.note_due();
    }

    /// No backend is handed messages any more; what they have they may still answer.
    pub(in crate::hub) fn stop_processors(&mut self) {
        for at in 0..self.processors.of.len() {
            let processor = &mut self.processors.of[at];
            processor.paused_until_ns = Some(FOR_GOOD_NS);
            let conn = processor.conn;
            self.ask_for(conn, MessageRequest::Process { under_way_max: 0 });
        }
        self.processors.note_due();
    }

    /// Those whose pause is over may have messages.
    pub(in crate::hub) fn resume_processors(&mut self) {
        let now_ns = self.now.mono_ns;
        if self.processors.due_ns.is_none_or(|due_ns| due_ns > now_ns) {
            return;
        }
        for at in 0..self.processors.of.len() {
            let processor = &mut self.processors.of[at];
            if processor.paused_until_ns.take_if(|until_ns| *until_ns <= now_ns).is_some() {
                let (conn, under_way_max) = (processor.conn, processor.in_flight_max);
                self.ask_for(conn, MessageRequest::Process { under_way_max });
            }
        }
        self.processors.note_due();
    }

    /// The office is another one than before, which knows of no processors: each begins anew, and what came of messages before is told to nobody.
    pub(in crate::hub) fn renew_processors(&mut self) {
        for at in 0..self.processors.of.len() {
            self.processors.generation = self.processors.generation.wrapping_add(1);
            let generation = self.processors.generation;
            let processor = &mut self.processors.of[at];
            processor.conn.generation = generation;
            if processor.paused_until_ns != Some(FOR_GOOD_NS) {
                processor.paused_until_ns = Some(0);
            }
        }
        self.processors.note_due();
    }

    /// It has no messages for a while.
    pub(super) fn pause_processor(&mut self, conn: ConnId) {
        let now_ns = self.now.mono_ns;
        let Some(processor) = self.processors.find(conn) else { return };
        if processor.paused_until_ns.is_some() {
            return;
        }
        processor.paused_until_ns = Some(now_ns.saturating_add(processor.pause_ns));
        processor.pause_ns = (2 * processor.pause_ns).min(limits::PROCESSOR_PAUSE_LONGEST_NS);
        self.processors.note_due();
        self.counters.processor_pauses_total += 1;
        self.ask_for(conn, MessageRequest::Process { under_way_max: 0 });
    }

    /// The office delivers a message for a backend.
    pub(super) fn process_message(&mut self, delivery: &Delivery) {
        let conn = delivery.client.conn;
        let Some(processor) = self.processors.find(conn) else {
            // The office takes back what it had.
            self.counters.messages_too_late_total += 1;
            return;
        };
        let is_open = processor.paused_until_ns.is_none();
        let parcel = Parcel {
            processor: conn,
            message: delivery.message,
            confirm: delivery.confirm,
            was_handed: delivery.is_redelivered,
        };
        let mut params = std::mem::take(&mut self.scratch);
        params.clear();
        json_rpc::write_delivery(&mut params, delivery);
        self.work.written(params.len());
        if params.len() > limits::PROCESSED_BYTES_MAX {
            self.leave_unprocessed(parcel, Label::parse("it is too long for a call"));
        } else if !is_open || !self.begin_process(backend_of(conn), parcel, &params) {
            self.hand_back(parcel);
        }
        self.scratch = params;
    }

    /// The call that handed on a message is over.
    pub(in crate::hub) fn on_processed(&mut self, parcel: Parcel, outcome: CallOutcome<'_>) {
        let reason = match outcome {
            CallOutcome::Result(_) => {
                self.counters.messages_processed_total += 1;
                self.note_answered(parcel.processor);
                return self
                    .ask_for(parcel.processor, MessageRequest::Acknowledge { message: parcel.message });
            }
            CallOutcome::Failed(CallFailure::Unavailable | CallFailure::Busy) => {
                return self.hand_back(parcel);
            }
            CallOutcome::Error(error) => {
                self.note_answered(parcel.processor);
                json_rpc::error_label(error).or(Label::parse("its backend's error"))
            }
            CallOutcome::Failed(CallFailure::TimedOut) => Label::parse("its backend did not answer in time"),
            CallOutcome::Failed(CallFailure::Lost) => Label::parse("its backend ended before it answered"),
            CallOutcome::Failed(CallFailure::Garbled) => Label::parse("its backend's answer is no JSON-RPC"),
            CallOutcome::Failed(CallFailure::TooLong) => Label::parse("its backend's answer is too long"),
        };
        self.leave_unprocessed(parcel, reason);
    }

    /// Who stands for the backend that a message is for by its type.
    pub(super) fn processor_of(&self, target: &Target) -> Option<Box<Name>> {
        match target {
            Target::Type(kind) => Some(Box::new(self.config.routes.processor_of(kind.as_str())?.user)),
            Target::User(_) | Target::Session(_) | Target::Group { .. } | Target::Topic(_) => None,
        }
    }

    /// It takes calls: the next pause is short again.
    fn note_answered(&mut self, conn: ConnId) {
        if let Some(processor) = self.processors.find(conn) {
            processor.pause_ns = limits::PROCESSOR_PAUSE_FIRST_NS;
        }
    }

    /// The backend had a message, or could not have it, and did not do what it asks for.
    fn leave_unprocessed(&mut self, parcel: Parcel, reason: Option<Label>) {
        self.counters.messages_unprocessed_total += 1;
        let message = parcel.message;
        let request = if parcel.confirm {
            MessageRequest::Reject { message, reason, delay_ms: None }
        } else {
            MessageRequest::Acknowledge { message }
        };
        self.ask_for(parcel.processor, request);
    }

    /// The backend has not got it. The pause comes first, so that it is not delivered again at once.
    fn hand_back(&mut self, parcel: Parcel) {
        self.pause_processor(parcel.processor);
        let request = MessageRequest::HandBack { message: parcel.message, was_handed: parcel.was_handed };
        self.ask_for(parcel.processor, request);
    }

    /// Asks the office in a processor's name; where that is no more, the office has taken back all that it had.
    fn ask_for(&mut self, conn: ConnId, request: MessageRequest) {
        let Some(user) = self.processors.find(conn).map(|processor| processor.user) else { return };
        let is_process = matches!(request, MessageRequest::Process { .. });
        let then = if is_process { Then::Process(conn) } else { Then::Nothing };
        self.ask_as(conn, user, request, then);
    }

    fn ask_as(&mut self, conn: ConnId, user: Name, request: MessageRequest, then: Then) {
        // No account is asked for: the office goes by names.
        let account = AccountId(u32::MAX);
        let ticket = self.message_asks.issue(PendingMessageAsk { reply_to: None, account, then });
        let (client, venue) = (Client { home: self.me, conn }, self.venue());
        let ask = MessageAsk { ticket, account, user, client, is_connection: true, request };
        self.outbox.command(venue).push_message_ask(ask, &[]);
    }
}

fn slot_of(backend: BackendId) -> u32 {
    PROCESSOR_SLOTS_FROM + u32::from(backend.0)
}

fn backend_of(conn: ConnId) -> BackendId {
    BackendId(
        u16::try_from(conn.slot - PROCESSOR_SLOTS_FROM).expect("invariant: `slot_of` made it of 16 bits"),
    )
}
