//! The office by hand: requests, answers and deliveries, with a store whose answers the test gives.

mod bounds;
mod groups;
mod keeping;
mod letters;
mod presence;
mod priorities;
mod processing;
mod retries;
mod schedule;
mod sending;
mod storing;

use std::collections::{BTreeMap, VecDeque};

use super::{Office, OfficeConfig};
use crate::model::ids::{ConnId, HomeId, Ticket};
use crate::model::message::{
    DeathCause, Delivery, Guarantee, MessageAnswer, MessageAsk, MessageId, MessageOutput, MessageRefusal,
    MessageRequest, MessageState, MessageStatus, Name, NewMessage, Presence, Priority, Receipt, Reception,
    SessionId, Target,
};
use crate::model::order::{AccountId, Client, Label};
use crate::model::presence::{KeptPresence, KeptWord};
use crate::model::storage::{Key, StoreBatch, StoreFault, StoreOp, StoreState, StoreWord, Table};
use crate::model::time::Now;

type Outcome = Result<MessageAnswer, MessageRefusal>;

const START: Now = Now { mono_ns: 5_000_000_000, unix_ns: 1_790_000_000_000_000_000 };
const START_MS: u64 = START.unix_ns / 1_000_000;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn client(number: u32) -> Client {
    Client { home: HomeId(0), conn: ConnId { slot: number, generation: 0 } }
}

/// What a store has, and the batches that it has not answered.
#[derive(Clone, Debug, Default)]
struct Disk {
    tables: BTreeMap<(Table, Key), Box<[u8]>>,
    under_way: VecDeque<StoreBatch>,
}

impl Disk {
    fn apply(&mut self, batch: StoreBatch) {
        for op in batch.ops {
            match op {
                StoreOp::Put { table, key, value } => {
                    self.tables.insert((table, key), value);
                }
                StoreOp::Remove { table, key } => {
                    self.tables.remove(&(table, key));
                }
            }
        }
    }

    fn count(&self, table: Table) -> usize {
        self.tables.keys().filter(|(of, _)| *of == table).count()
    }
}

/// An office, its time, and what it has said.
struct World {
    office: Office,
    now: Now,
    disk: Disk,
    tickets: u32,
    answers: BTreeMap<u32, Outcome>,
    deliveries: Vec<Delivery>,
    receipts: Vec<Receipt>,
    presence: Vec<Presence>,
    /// What was to be kept outside.
    kept: Vec<KeptPresence>,
}

impl World {
    fn in_memory(config: OfficeConfig) -> World {
        World {
            office: Office::new(config, START),
            now: START,
            disk: Disk::default(),
            tickets: 0,
            answers: BTreeMap::new(),
            deliveries: Vec::new(),
            receipts: Vec::new(),
            presence: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// With an empty store that is ready.
    fn with_store(config: OfficeConfig) -> World {
        let mut world = World::in_memory(config);
        world.load();
        world
    }

    /// The process is killed and begins again with what the disk has.
    fn restart(&mut self, config: OfficeConfig) {
        self.disk.under_way.clear();
        self.now = self.now.plus_ns(1_000_000);
        self.office = Office::new(config, self.now);
        self.load();
    }

    fn load(&mut self) {
        self.office.handle_store(StoreWord::State(StoreState::Loading), self.now);
        for table in Table::ALL {
            let all = self.disk.tables.iter().filter(|((of, _), _)| *of == table);
            let entries: Vec<_> = all.map(|((_, key), value)| (*key, value.clone())).collect();
            self.office.handle_store(StoreWord::Entries { table, entries }, self.now);
        }
        self.office.handle_store(StoreWord::Loaded, self.now);
        self.office.handle_store(StoreWord::State(StoreState::Ready), self.now);
        self.hear();
    }

    fn hear(&mut self) {
        while let Some(output) = self.office.poll_output() {
            match output {
                MessageOutput::Answer { ticket, outcome, .. } => {
                    let before = self.answers.insert(ticket.slot, outcome);
                    assert_eq!(before, None, "one answer a request");
                }
                MessageOutput::Deliver(delivery) => self.deliveries.push(delivery),
                MessageOutput::Receipt { receipt, .. } => self.receipts.push(receipt),
                MessageOutput::Presence { presence, .. } => self.presence.push(presence),
            }
        }
        while let Some(kept) = self.office.poll_kept(self.now) {
            self.kept.push(kept);
        }
    }

    /// Asks from connection `from`, as the user of that name.
    fn begin(&mut self, from: u32, user: &str, request: MessageRequest, content: &[u8]) -> u32 {
        self.tickets += 1;
        let ask = MessageAsk {
            ticket: Ticket { slot: self.tickets, generation: 0 },
            account: AccountId(0),
            user: name(user),
            client: client(from),
            is_connection: from != HTTP,
            request,
        };
        self.office.handle_ask(&ask, content, self.now);
        self.hear();
        self.tickets
    }

    /// The same, and its answer, for which nothing has to be stored.
    fn ask(&mut self, from: u32, user: &str, request: MessageRequest) -> Outcome {
        let ticket = self.begin(from, user, request, b"");
        self.answers.remove(&ticket).expect("it is answered at once")
    }

    /// The same, with all that is to be stored stored.
    fn ask_stored(&mut self, from: u32, user: &str, request: MessageRequest) -> Outcome {
        let ticket = self.begin(from, user, request, b"");
        self.store_all();
        self.answers.remove(&ticket).expect("it is answered once it is stored")
    }

    fn send(&mut self, user: &str, new: NewMessage, content: &str) -> Outcome {
        let ticket = self.begin(HTTP, user, MessageRequest::Send(new), content.as_bytes());
        self.store_all();
        self.answers.remove(&ticket).expect("it is answered once it is stored")
    }

    /// The number of a message that is accepted.
    fn sent(&mut self, user: &str, new: NewMessage, content: &str) -> MessageId {
        match self.send(user, new, content) {
            Ok(MessageAnswer::Accepted { first, .. }) => first,
            other => panic!("{other:?}"),
        }
    }

    fn subscribe(&mut self, from: u32, user: &str, under_way_max: u32) -> SessionId {
        self.subscribe_topics(from, user, under_way_max, &[])
    }

    fn subscribe_topics(&mut self, from: u32, user: &str, under_way_max: u32, topics: &[&str]) -> SessionId {
        let topics = topics.iter().map(|topic| name(topic)).collect();
        let reception = Reception { under_way_max };
        match self.ask(from, user, MessageRequest::Subscribe { reception, topics }) {
            Ok(MessageAnswer::Subscribed { session, .. }) => session,
            other => panic!("{other:?}"),
        }
    }

    fn ack(&mut self, user: &str, message: MessageId) -> Outcome {
        self.ask_stored(HTTP, user, MessageRequest::Acknowledge { message })
    }

    fn reject(&mut self, user: &str, message: MessageId, delay_ms: Option<u64>) -> Outcome {
        self.ask(HTTP, user, MessageRequest::Reject { message, reason: Label::parse("busy"), delay_ms })
    }

    fn depart(&mut self, from: u32) {
        self.office.handle_departure(client(from), self.now);
        self.hear();
    }

    fn written(&mut self, from: u32, count: u32) {
        self.office.handle_written(client(from), count, self.now);
        self.hear();
    }

    /// Time goes by, and what is due is done as the office wants it.
    fn wait_ms(&mut self, ms: u64) {
        let end_ns = self.now.mono_ns + ms * 1_000_000;
        while let Some(at_ns) = self.office.poll_timeout().filter(|at_ns| *at_ns <= end_ns) {
            self.now = self.now.plus_ns(at_ns.saturating_sub(self.now.mono_ns));
            self.office.handle_timeout(self.now);
            self.hear();
        }
        self.now = self.now.plus_ns(end_ns - self.now.mono_ns);
        self.office.handle_timeout(self.now);
        self.hear();
    }

    /// The store takes a batch and says nothing yet.
    fn take_batch(&mut self) -> bool {
        let batch = self.office.poll_batch();
        self.disk.under_way.extend(batch.clone());
        batch.is_some()
    }

    /// The store has written the batches that it took.
    fn answer_batches(&mut self) {
        while let Some(batch) = self.disk.under_way.pop_front() {
            let through = batch.number;
            self.disk.apply(batch);
            self.office.handle_store(StoreWord::Stored { through }, self.now);
        }
        self.hear();
    }

    fn store_all(&mut self) {
        while self.take_batch() {
            self.answer_batches();
        }
    }

    /// The store refuses the batches that it took.
    fn refuse_batches(&mut self, fault: StoreFault) {
        while let Some(batch) = self.disk.under_way.pop_front() {
            self.office.handle_store(StoreWord::Refused { number: batch.number, fault }, self.now);
        }
        self.hear();
    }

    fn set_store(&mut self, state: StoreState) {
        self.office.handle_store(StoreWord::State(state), self.now);
        self.hear();
    }

    /// What was delivered since the last call: to which connection, and what.
    fn delivered(&mut self) -> Vec<(u32, String)> {
        let all = std::mem::take(&mut self.deliveries);
        all.into_iter().map(|at| (at.client.conn.slot, String::from_utf8_lossy(&at.content).into())).collect()
    }

    /// What of it was delivered, one text after the other.
    fn texts(&mut self) -> String {
        let texts: Vec<String> = self.delivered().into_iter().map(|(_, text)| text).collect();
        texts.join(" ")
    }

    /// What became of messages, as their senders were told since the last call.
    fn told(&mut self) -> Vec<MessageState> {
        std::mem::take(&mut self.receipts).into_iter().map(|receipt| receipt.status.state).collect()
    }

    fn status(&mut self, user: &str, message: MessageId) -> Option<MessageStatus> {
        let message = crate::model::message::MessageKey::Id(message);
        match self.ask(HTTP, user, MessageRequest::Status { message }) {
            Ok(MessageAnswer::Status(status)) => Some(status),
            Err(MessageRefusal::MessageNotFound) => None,
            other => panic!("{other:?}"),
        }
    }

    fn state(&mut self, user: &str, message: MessageId) -> Option<MessageState> {
        self.status(user, message).map(|status| status.state)
    }

    /// The dead letters from the oldest on: what they were, and why they died.
    fn letters(&mut self) -> Vec<(MessageId, DeathCause)> {
        let request = MessageRequest::DeadLetters { count: 100, after: None, user: None };
        match self.ask(HTTP, "admin", request) {
            Ok(MessageAnswer::DeadLetters { letters, .. }) => {
                letters.iter().map(|letter| (letter.status.message, letter.cause)).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Stands for a request over HTTP, which has no connection.
const HTTP: u32 = u32::MAX;

fn to(user: &str) -> NewMessage {
    NewMessage {
        target: Target::User(name(user)),
        priority: Priority::Normal,
        guarantee: Guarantee::FireAndForget,
        client_id: None,
        ttl_ms: None,
        deliver_at_ms: None,
        receipts: false,
        reply_to: None,
    }
}

fn durable(user: &str) -> NewMessage {
    NewMessage { guarantee: Guarantee::AtLeastOnce, ..to(user) }
}

fn config() -> OfficeConfig {
    OfficeConfig::default()
}
