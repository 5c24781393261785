//! The office beside a store that is slow, refuses batches and is killed with the process, and a ledger of what senders and receivers
//! were told. The ledger knows nothing of the office: it holds that every message that was accepted is confirmed by its receiver
//! or a dead letter in the end, that none is invented, that none comes after its confirmation, and that whatever comes twice says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tickring::backend::paper::rng::SplitMix64;
use tickring::mail::{Office, OfficeConfig};
use tickring::model::ids::{ConnId, HomeId, Ticket};
use tickring::model::message::{
    Delivery, Guarantee, MessageAnswer, MessageAsk, MessageId, MessageOutput, MessageRefusal, MessageRequest,
    Name, NewMessage, Priority, Reception, Target, Which,
};
use tickring::model::order::{AccountId, Client, Label};
use tickring::model::storage::{Key, StoreBatch, StoreFault, StoreOp, StoreState, StoreWord, Table};
use tickring::model::time::Now;

const USERS: u32 = 3;
/// One of them stands for a backend; its only connection, of the same number, is the shard that hands messages on.
const PROCESSOR: u32 = 2;
const CONNECTIONS: u32 = 5;

/// What a seed has to have met, counted.
pub(crate) type Coverage = BTreeMap<&'static str, u64>;

/// What is known of one text that somebody sends; each is sent under one number, or not at all.
#[derive(Debug, Default)]
struct Sent {
    to: u32,
    client_id: Option<Label>,
    is_durable: bool,
    is_accepted: bool,
    /// Requests that a crash left without an answer.
    unanswered: u32,
    /// Refused, and nothing else: it was not sent.
    is_refused: bool,
    /// The numbers that it was delivered under, and in which processes and attempts.
    numbers: BTreeSet<MessageId>,
    handed: BTreeSet<Place>,
    /// Its receiver has asked to confirm it, whatever came of that.
    is_received: bool,
    is_confirmed: bool,
}

/// In which process a delivery was made, and which attempt it was.
type Place = (u32, u32);

/// What was delivered and is not confirmed.
#[derive(Clone, Copy, Debug)]
struct Held {
    text: usize,
    user: u32,
    place: Place,
    is_redelivered: bool,
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    Send(usize),
    Acknowledge(usize),
    /// Which delivery did not reach its backend.
    HandBack(usize, Place),
    Other,
}

/// The disk as it would be found, and the batches that nobody knows of yet.
#[derive(Debug, Default)]
struct Disk {
    tables: BTreeMap<(Table, Key), Box<[u8]>>,
    under_way: VecDeque<StoreBatch>,
    fault: Option<StoreFault>,
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
}

struct World {
    rng: SplitMix64,
    config: OfficeConfig,
    office: Office,
    now: Now,
    disk: Disk,
    /// Counts starts of the process.
    process: u32,
    tickets: u32,
    asked: BTreeMap<u32, Asked>,
    sent: Vec<Sent>,
    /// By number.
    held: BTreeMap<MessageId, Held>,
    coverage: Coverage,
}

/// Runs one seed.
///
/// # Panics
/// Where the ledger does not hold.
pub(crate) fn run(seed: u64) -> Coverage {
    let now = Now { mono_ns: 1_000_000_000, unix_ns: 1_790_000_000_000_000_000 };
    let config = OfficeConfig {
        attempts_max: 5,
        dead_letters_max: 1_000_000,
        dedup_window_ms: 3_600_000,
        mailbox_messages_max: 12,
        seed,
        ..OfficeConfig::default()
    };
    let mut world = World {
        rng: SplitMix64::new(seed),
        config,
        office: Office::new(config, now),
        now,
        disk: Disk::default(),
        process: 0,
        tickets: 0,
        asked: BTreeMap::new(),
        sent: Vec::new(),
        held: BTreeMap::new(),
        coverage: Coverage::new(),
    };
    world.load();
    for _ in 0..400 {
        world.act();
    }
    world.drain();
    world.coverage
}

impl World {
    fn one_in(&mut self, count: u32) -> bool {
        self.rng.below(count) == 0
    }

    fn note(&mut self, what: &'static str) {
        *self.coverage.entry(what).or_default() += 1;
    }

    fn act(&mut self) {
        match self.rng.below(40) {
            0..10 => self.send(),
            10..12 => self.send_again(),
            12..15 => self.subscribe(),
            15 => self.depart(),
            16..26 => self.store_some(),
            26 => self.refuse(),
            27 => self.recover(),
            28..34 => self.confirm_some(),
            34..38 => {
                let ms = u64::from(self.rng.below(4_000));
                self.wait_ms(ms);
            }
            38 => {
                self.ask(0, Asked::Other, MessageRequest::Requeue { which: Which::All }, b"");
            }
            _ => self.crash(),
        }
    }

    fn ask(&mut self, user: u32, what: Asked, request: MessageRequest, content: &[u8]) {
        self.ask_by(user, client(CONNECTIONS + user), false, what, request, content);
    }

    fn ask_by(
        &mut self,
        user: u32,
        client: Client,
        is_connection: bool,
        what: Asked,
        request: MessageRequest,
        content: &[u8],
    ) {
        self.tickets += 1;
        let ticket = Ticket { slot: self.tickets, generation: 0 };
        self.asked.insert(self.tickets, what);
        if let Asked::Acknowledge(text) = what {
            self.sent[text].is_received = true;
        }
        let ask =
            MessageAsk { ticket, account: AccountId(user), user: name(user), client, is_connection, request };
        self.office.handle_ask(&ask, content, self.now);
        self.hear();
    }

    fn send(&mut self) {
        let text = self.sent.len();
        let to = self.rng.below(USERS);
        let client_id = Label::parse(&format!("m{text}")).filter(|_| self.one_in(2));
        let is_durable = !self.one_in(6);
        self.sent.push(Sent { to, client_id, is_durable, ..Sent::default() });
        self.ask_to_send(text);
    }

    /// A sender that was not answered sends again, if it can be recognised.
    fn send_again(&mut self) {
        let open = |sent: &Sent| sent.client_id.is_some() && sent.is_durable && sent.unanswered > 0;
        let texts: Vec<usize> = (0..self.sent.len()).filter(|text| open(&self.sent[*text])).collect();
        let under_way: Vec<usize> = self
            .asked
            .values()
            .filter_map(|asked| if let Asked::Send(text) = asked { Some(*text) } else { None })
            .collect();
        if let Some(text) = texts.into_iter().rev().find(|text| !under_way.contains(text)) {
            self.note("resends");
            self.ask_to_send(text);
        }
    }

    fn ask_to_send(&mut self, text: usize) {
        let ttl_ms = self.one_in(8).then(|| 1 + u64::from(self.rng.below(20_000)));
        let deliver_at_ms =
            self.one_in(5).then(|| self.now.unix_ns / 1_000_000 + u64::from(self.rng.below(20_000)));
        let priorities = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
        let priority = priorities[self.rng.below(4) as usize];
        let Sent { to, client_id, is_durable, .. } = self.sent[text];
        let new = NewMessage {
            target: if to == PROCESSOR { Target::Type(name(0)) } else { Target::User(name(to)) },
            priority,
            guarantee: if is_durable { Guarantee::AtLeastOnce } else { Guarantee::FireAndForget },
            client_id,
            ttl_ms,
            deliver_at_ms,
            receipts: true,
            reply_to: None,
        };
        let from = text as u32 % USERS;
        let request = if to == PROCESSOR {
            MessageRequest::SendToProcessor { message: new, processor: Box::new(name(PROCESSOR)) }
        } else {
            MessageRequest::Send(new)
        };
        self.ask(from, Asked::Send(text), request, text.to_string().as_bytes());
    }

    fn subscribe(&mut self) {
        let number = self.rng.below(CONNECTIONS);
        let under_way_max = self.rng.below(4);
        let request = subscription(number, under_way_max);
        self.ask_by(number % USERS, client(number), true, Asked::Other, request, b"");
    }

    fn depart(&mut self) {
        let number = self.rng.below(CONNECTIONS);
        self.office.handle_departure(client(number), self.now);
        self.hear();
    }

    /// The store takes a batch, or answers the oldest that it took.
    fn store_some(&mut self) {
        if self.one_in(2) || self.disk.under_way.is_empty() {
            self.disk.under_way.extend(self.office.poll_batch());
        } else if let Some(batch) = self.disk.under_way.pop_front() {
            let through = batch.number;
            self.disk.apply(batch);
            self.say(StoreWord::Stored { through });
        }
    }

    /// The store refuses the oldest batch; it may be faulty from then on.
    fn refuse(&mut self) {
        let faults = [StoreFault::DiskFull, StoreFault::Io, StoreFault::ReadOnly];
        let fault = faults[self.rng.below(3) as usize];
        if let Some(batch) = self.disk.under_way.pop_front() {
            self.note("refused");
            self.say(StoreWord::Refused { number: batch.number, fault });
        }
        if self.one_in(2) {
            self.disk.fault = Some(fault);
            self.say(StoreWord::State(StoreState::Faulty(fault)));
        }
    }

    fn recover(&mut self) {
        if self.disk.fault.take().is_some() {
            self.note("recovered");
            self.say(StoreWord::State(StoreState::Ready));
        }
    }

    fn say(&mut self, word: StoreWord) {
        self.office.handle_store(word, self.now);
        self.hear();
    }

    /// A receiver confirms or rejects something that it has.
    fn confirm_some(&mut self) {
        let count = u32::try_from(self.held.len()).unwrap();
        if count == 0 {
            return;
        }
        let at = self.rng.below(count) as usize;
        let (message, held) = self.held.iter().nth(at).map(|(id, held)| (*id, *held)).unwrap();
        let Held { text, user, place, is_redelivered } = held;
        if user == PROCESSOR && self.one_in(3) {
            let request = MessageRequest::HandBack { message, was_handed: is_redelivered };
            let what = Asked::HandBack(text, place);
            self.ask_by(user, client(PROCESSOR), true, what, request, b"");
        } else if self.sent[text].is_durable && self.one_in(4) {
            let delay_ms = self.one_in(2).then(|| u64::from(self.rng.below(3_000)));
            let request = MessageRequest::Reject { message, reason: None, delay_ms };
            self.ask(user, Asked::Other, request, b"");
        } else {
            self.ask(user, Asked::Acknowledge(text), MessageRequest::Acknowledge { message }, b"");
        }
    }

    fn wait_ms(&mut self, ms: u64) {
        let end_ns = self.now.mono_ns + ms * 1_000_000;
        while let Some(at_ns) = self.office.poll_timeout().filter(|at_ns| *at_ns <= end_ns) {
            self.now = self.now.plus_ns(at_ns.saturating_sub(self.now.mono_ns));
            self.office.handle_timeout(self.now);
            self.hear();
        }
        self.now = self.now.plus_ns(end_ns - self.now.mono_ns);
    }

    /// The process is killed: of what the store had taken some is on the disk, and nobody was told.
    fn crash(&mut self) {
        self.note("crashes");
        while let Some(batch) = self.disk.under_way.pop_front() {
            if self.one_in(2) {
                break;
            }
            self.note("stored unheard");
            self.disk.apply(batch);
        }
        self.disk.under_way.clear();
        self.disk.fault = None;
        for asked in std::mem::take(&mut self.asked).into_values() {
            if let Asked::Send(text) = asked {
                self.sent[text].unanswered += 1;
            }
        }
        self.now.mono_ns = 1_000_000_000;
        self.now = self.now.plus_ns(u64::from(self.rng.below(5_000)) * 1_000_000);
        self.now.unix_ns += 1_000_000_000;
        self.office = Office::new(self.config, self.now);
        self.load();
    }

    fn load(&mut self) {
        self.process += 1;
        self.say(StoreWord::State(StoreState::Loading));
        for table in Table::ALL {
            let all = self.disk.tables.iter().filter(|((of, _), _)| *of == table);
            let entries: Vec<_> = all.map(|((_, key), value)| (*key, value.clone())).collect();
            for entries in entries.chunks(7) {
                self.say(StoreWord::Entries { table, entries: entries.to_vec() });
            }
        }
        self.say(StoreWord::Loaded);
        self.say(StoreWord::State(StoreState::Ready));
        assert_eq!(self.office.counters().unreadable_total, 0, "what is written is read");
    }

    fn hear(&mut self) {
        while let Some(output) = self.office.poll_output() {
            match output {
                MessageOutput::Answer { ticket, outcome, .. } => self.hear_answer(ticket, &outcome),
                MessageOutput::Deliver(delivery) => self.hear_delivery(&delivery),
                MessageOutput::Receipt { client, .. } | MessageOutput::Presence { client, .. } => {
                    self.office.handle_written(client, 1, self.now);
                }
            }
        }
    }

    fn hear_answer(&mut self, ticket: Ticket, outcome: &Result<MessageAnswer, MessageRefusal>) {
        let asked = self.asked.remove(&ticket.slot).expect("each request has one answer");
        match (asked, outcome) {
            (Asked::Send(text), Ok(MessageAnswer::Accepted { is_repeated, .. })) => {
                self.sent[text].is_accepted = true;
                self.sent[text].unanswered = 0;
                if *is_repeated {
                    self.note("repeats recognised");
                }
            }
            (Asked::Send(text), Err(_)) => {
                let sent = &mut self.sent[text];
                sent.is_refused = sent.unanswered == 0;
                self.note("sends refused");
            }
            (Asked::Acknowledge(text), Ok(MessageAnswer::Done)) => {
                self.sent[text].is_confirmed = true;
                self.note("confirmed");
            }
            (Asked::Acknowledge(_), Err(_)) => self.note("confirmations refused"),
            (Asked::HandBack(text, place), Ok(MessageAnswer::Done)) => {
                self.sent[text].handed.remove(&place);
                self.note("handed back");
            }
            (Asked::HandBack(..), Err(_)) => self.note("not handed back"),
            (Asked::Other, _) => {}
            (asked, outcome) => panic!("{asked:?}: {outcome:?}"),
        }
    }

    fn hear_delivery(&mut self, delivery: &Delivery) {
        let text: usize = std::str::from_utf8(&delivery.content).unwrap().parse().unwrap();
        let user = delivery.client.conn.slot % USERS;
        let place = (self.process, delivery.attempt);
        let sent = &mut self.sent[text];
        assert_eq!(sent.to, user, "{text} is for somebody else");
        assert!(!sent.is_refused, "{text} was refused");
        assert!(!sent.is_confirmed, "{text} comes after its confirmation");
        assert!(!sent.is_durable || sent.is_accepted || sent.unanswered > 0, "{text} is not accepted yet");
        assert_eq!(delivery.confirm, sent.is_durable);
        let is_second = !sent.handed.is_empty() && !sent.handed.contains(&place);
        assert!(delivery.is_redelivered || !is_second, "{text} comes again and does not say so");
        sent.handed.insert(place);
        sent.numbers.insert(delivery.message);
        assert_eq!(sent.numbers.len(), 1, "{text} is two messages: {:?}", sent.numbers);
        if is_second {
            self.note("delivered again");
        }
        if delivery.is_redelivered && !is_second {
            self.note("marked in vain");
        }
        if delivery.confirm || user == PROCESSOR {
            let held = Held { text, user, place, is_redelivered: delivery.is_redelivered };
            self.held.insert(delivery.message, held);
        } else {
            self.office.handle_written(delivery.client, 1, self.now);
        }
    }

    /// Everything is well again, everybody is there and confirms what comes, until nothing is left.
    fn drain(&mut self) {
        self.crash();
        self.held.clear();
        self.config.mailbox_messages_max = 1_000_000;
        self.office.set_config(self.config);
        for number in 0..USERS {
            let request = subscription(number, 4_095);
            self.ask_by(number, client(number), true, Asked::Other, request, b"");
        }
        for _ in 0..100 {
            while let Some(message) = self.held.keys().next().copied() {
                let Held { text, user, .. } = self.held[&message];
                self.held.remove(&message);
                if !self.sent[text].is_confirmed {
                    self.ask(user, Asked::Acknowledge(text), MessageRequest::Acknowledge { message }, b"");
                }
            }
            while let Some(batch) = self.office.poll_batch() {
                let through = batch.number;
                self.disk.apply(batch);
                self.say(StoreWord::Stored { through });
            }
            self.wait_ms(1_000);
        }
        self.check();
    }

    /// What was accepted was received or is a dead letter, and the disk holds nothing else.
    fn check(&mut self) {
        let dead = self.dead_texts();
        for (text, sent) in self.sent.iter().enumerate().filter(|(_, sent)| sent.is_durable) {
            assert!(
                !sent.is_accepted || sent.is_received || dead.contains(&text),
                "{text} was accepted and is lost: {sent:?}"
            );
            assert!(!(sent.is_confirmed && dead.contains(&text)), "{text} is confirmed and dead");
        }
        let gauges = self.office.gauges();
        assert_eq!((gauges.messages, gauges.unconfirmed, gauges.changes_waiting), (0, 0, 0));
        let count = |table| self.disk.tables.keys().filter(|(of, _)| *of == table).count() as u64;
        assert_eq!((count(Table::Messages), count(Table::DeadLetters)), (0, gauges.dead_letters));
        assert_eq!(count(Table::Done), gauges.names);
        assert!(self.asked.is_empty(), "each request is answered");
        *self.coverage.entry("dead letters").or_default() += dead.len() as u64;
    }

    fn dead_texts(&mut self) -> BTreeSet<usize> {
        let mut texts = BTreeSet::new();
        for (table, key) in self.disk.tables.keys().filter(|(table, _)| *table == Table::DeadLetters) {
            let value = &self.disk.tables[&(*table, *key)];
            let record = tickring::mail::record::LetterRecord::decode(value).unwrap();
            texts.insert(std::str::from_utf8(record.message.content).unwrap().parse().unwrap());
        }
        texts
    }
}

/// How a connection asks for messages, for one more than so many, or a processor for so many.
fn subscription(number: u32, count: u32) -> MessageRequest {
    if number == PROCESSOR {
        return MessageRequest::Process { under_way_max: count };
    }
    let reception = Reception { under_way_max: count + 1 };
    MessageRequest::Subscribe { reception, topics: Box::default() }
}

fn name(user: u32) -> Name {
    Name::parse(&format!("user-{user}")).unwrap()
}

fn client(number: u32) -> Client {
    Client { home: HomeId(0), conn: ConnId { slot: number, generation: 0 } }
}
