//! Random requests, departures and waits, to the office and to the naive one: both say the same, in the same order.

use std::collections::{BTreeMap, VecDeque};

use tickring::backend::paper::rng::SplitMix64;
use tickring::mail::{Office, OfficeConfig};
use tickring::model::ids::{ConnId, HomeId, Ticket};
use tickring::model::message::{
    Guarantee, MessageAnswer, MessageAsk, MessageId, MessageKey, MessageOutput, MessageRefusal,
    MessageRequest, Name, NewMessage, Priority, Reception, Selection, SessionId, Target, Which, processor_of,
};
use tickring::model::order::{AccountId, Client, Label};
use tickring::model::storage::{StoreState, StoreWord};
use tickring::model::time::Now;

use super::model::{At, Model};

const USERS: u32 = 4;
const CONNECTIONS: u32 = 7;
const START: Now = Now { mono_ns: 1_000_000_000, unix_ns: 1_790_000_000_000_000_000 };

type Coverage = BTreeMap<&'static str, u64>;

struct World {
    rng: SplitMix64,
    office: Office,
    model: Model,
    now: Now,
    tickets: u32,
    /// The newest messages.
    recent: VecDeque<MessageId>,
    coverage: Coverage,
}

/// Runs one seed.
///
/// # Panics
/// Where the two differ.
pub(crate) fn run(seed: u64) -> Coverage {
    let mut rng = SplitMix64::new(seed);
    let config = OfficeConfig {
        messages_max: 15 + rng.below(30),
        message_bytes_max: 2_000,
        messages_per_sender_max: 6 + rng.below(12),
        scheduled_max: 6,
        mailbox_messages_max: 3 + rng.below(10),
        mailbox_bytes_max: 60 + u64::from(rng.below(200)),
        kept_ms: 30_000,
        ageing_ms: 1_000 + u64::from(rng.below(5_000)),
        ack_timeout_ms: 3_000,
        retry_first_ms: [0, 1, 500][rng.below(3) as usize],
        retry_longest_ms: 4_000,
        attempts_max: 1 + rng.below(4),
        dedup_window_ms: 20_000,
        sends_remembered_max: 5,
        dead_letters_max: 8,
        sessions_max: 6,
        sessions_per_user_max: 2,
        critical_under_way_max: 2,
        groups_max: 2,
        members_per_group_max: 3,
        seed,
        ..OfficeConfig::default()
    };
    let mut office = Office::new(config, START);
    for word in
        [StoreWord::State(StoreState::Loading), StoreWord::Loaded, StoreWord::State(StoreState::Ready)]
    {
        office.handle_store(word, START);
    }
    let mut world = World {
        rng,
        office,
        model: Model::new(config, START),
        now: START,
        tickets: 0,
        recent: VecDeque::new(),
        coverage: Coverage::new(),
    };
    for _ in 0..300 {
        world.act();
        world.compare();
    }
    world.coverage
}

impl World {
    fn one_in(&mut self, count: u32) -> bool {
        self.rng.below(count) == 0
    }

    fn act(&mut self) {
        match self.rng.below(60) {
            0..22 => self.send(),
            22..28 => self.subscribe(),
            28 => self.depart(),
            29..35 => self.written(),
            35..42 => self.confirm(),
            42..52 => self.wait(),
            52..55 => self.look(),
            55..58 => self.meet(),
            _ => self.bury(),
        }
    }

    fn user(&mut self) -> u32 {
        self.rng.below(USERS)
    }

    fn ask(&mut self, client: Option<u32>, user: u32, request: MessageRequest, content: &[u8]) {
        self.tickets += 1;
        let ask = MessageAsk {
            ticket: Ticket { slot: self.tickets, generation: 0 },
            account: AccountId(user),
            user: name(user),
            client: connection(client.unwrap_or(CONNECTIONS)),
            is_connection: client.is_some(),
            request,
        };
        self.office.handle_ask(&ask, content, self.now);
        self.model.now = self.now;
        let expected = self.model.ask(&ask, content);
        let mut outputs = self.hear();
        let is_answer = |output: &MessageOutput| matches!(output, MessageOutput::Answer { .. });
        let at = outputs.iter().position(is_answer).expect("an answer");
        let MessageOutput::Answer { outcome, ticket, .. } = outputs.remove(at) else { unreachable!() };
        assert_eq!((ticket.slot, &outcome), (self.tickets, &expected), "{ask:?}");
        assert_eq!(outputs, std::mem::take(&mut self.model.outputs), "{ask:?}");
        self.note_answer(&outcome);
        self.note_outputs(&outputs);
    }

    /// What the office says, with all that it stores stored at once.
    fn hear(&mut self) -> Vec<MessageOutput> {
        let mut outputs: Vec<MessageOutput> = std::iter::from_fn(|| self.office.poll_output()).collect();
        while let Some(batch) = self.office.poll_batch() {
            self.office.handle_store(StoreWord::Stored { through: batch.number }, self.now);
            outputs.extend(std::iter::from_fn(|| self.office.poll_output()));
        }
        outputs
    }

    fn note(&mut self, what: &'static str) {
        *self.coverage.entry(what).or_default() += 1;
    }

    fn note_answer(&mut self, outcome: &Result<MessageAnswer, MessageRefusal>) {
        match outcome {
            Ok(MessageAnswer::Accepted { first, is_repeated, count, .. }) => {
                if *is_repeated {
                    self.note("repeated");
                }
                if *count > 1 {
                    self.note("sent to many");
                }
                let ids = (first.0..).step_by(2).take(*count as usize).map(MessageId);
                self.recent.extend(ids);
                while self.recent.len() > 12 {
                    self.recent.pop_front();
                }
            }
            Ok(_) => {}
            Err(MessageRefusal::Full) => self.note("full"),
            Err(MessageRefusal::SenderFull) => self.note("sender full"),
            Err(MessageRefusal::TooMany) => self.note("too many"),
            Err(MessageRefusal::TooLate) => self.note("too late"),
            Err(_) => {}
        }
    }

    fn note_outputs(&mut self, outputs: &[MessageOutput]) {
        for output in outputs {
            match output {
                MessageOutput::Deliver(delivery) if delivery.is_redelivered => self.note("delivered again"),
                MessageOutput::Deliver(_) => self.note("delivered"),
                MessageOutput::Receipt { receipt, .. } => {
                    self.note("receipts");
                    if receipt.cause.is_some() {
                        self.note("receipts of an end");
                    }
                }
                MessageOutput::Answer { .. } | MessageOutput::Presence { .. } => {}
            }
        }
    }

    fn send(&mut self) {
        let sender = self.user();
        let target = match self.rng.below(10) {
            0 => Target::Session(SessionId(u64::from(1 + self.rng.below(30)))),
            1 => Target::Topic(topic(self.rng.below(2))),
            // Its backend is away.
            4 => Target::Type(topic(0)),
            2..4 => {
                let choices =
                    [Selection::All, Selection::RoundRobin, Selection::LeastLoaded, Selection::Weighted];
                let to = choices[self.rng.below(4) as usize];
                Target::Group { group: group(self.rng.below(2)), to }
            }
            _ => Target::User(name(self.user())),
        };
        let priorities = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
        let now_ms = self.now.unix_ns / 1_000_000;
        let new = NewMessage {
            target,
            priority: priorities[self.rng.below(4) as usize],
            guarantee: if self.one_in(2) { Guarantee::AtLeastOnce } else { Guarantee::FireAndForget },
            client_id: self.one_in(4).then(|| label(self.rng.below(6))),
            ttl_ms: self.one_in(4).then(|| u64::from(1 + self.rng.below(6_000))),
            deliver_at_ms: self.one_in(6).then(|| now_ms + u64::from(self.rng.below(5_000))),
            receipts: self.one_in(2),
            reply_to: self.one_in(6).then(|| MessageId(u64::from(1 + self.rng.below(9)))),
        };
        let content = vec![b'x'; self.rng.below(40) as usize];
        let processor =
            processor_of("p").filter(|_| matches!(new.target, Target::Type(_)) && !self.one_in(4));
        let request = match processor {
            Some(processor) => {
                MessageRequest::SendToProcessor { message: new, processor: Box::new(processor) }
            }
            None => MessageRequest::Send(new),
        };
        self.ask(None, sender, request, &content);
    }

    fn subscribe(&mut self) {
        let client = self.rng.below(CONNECTIONS);
        let reception = Reception { under_way_max: 1 + self.rng.below(4) };
        let topics = (0..2).filter(|_| self.one_in(2)).map(topic).collect();
        let request = MessageRequest::Subscribe { reception, topics };
        self.ask(Some(client), client % USERS, request, b"");
    }

    fn depart(&mut self) {
        let client = self.rng.below(CONNECTIONS);
        if self.one_in(2) {
            return self.ask(Some(client), client % USERS, MessageRequest::Unsubscribe, b"");
        }
        self.office.handle_departure(connection(client), self.now);
        self.model.now = self.now;
        self.model.depart(connection(client));
        self.model.settle();
        self.hear_the_same();
    }

    fn written(&mut self) {
        let client = connection(self.rng.below(CONNECTIONS));
        let count = 1 + self.rng.below(4);
        self.office.handle_written(client, count, self.now);
        self.model.now = self.now;
        self.model.written(client, count);
        self.hear_the_same();
    }

    fn hear_the_same(&mut self) {
        let outputs = self.hear();
        assert_eq!(outputs, std::mem::take(&mut self.model.outputs));
        self.note_outputs(&outputs);
    }

    /// Mostly something that can be confirmed, by who can.
    fn message(&mut self) -> (u32, MessageId) {
        let held: Vec<(Name, MessageId)> = self
            .model
            .messages
            .iter()
            .filter(|message| matches!(message.at, At::Delivered { .. }))
            .map(|message| (message.to, message.id))
            .collect();
        let user = self.user();
        if held.is_empty() || self.one_in(4) {
            let recent = self.recent.len() as u32;
            let message =
                if recent == 0 { MessageId(1) } else { self.recent[self.rng.below(recent) as usize] };
            return (user, message);
        }
        let (to, message) = held[self.rng.below(held.len() as u32) as usize];
        ((0..USERS).find(|user| name(*user) == to).unwrap(), message)
    }

    fn confirm(&mut self) {
        let (user, message) = self.message();
        let request = match self.rng.below(6) {
            0 => MessageRequest::Cancel { message },
            1..3 => {
                let delay_ms = self.one_in(2).then(|| u64::from(self.rng.below(3_000)));
                let reason = self.one_in(2).then(|| label(9));
                MessageRequest::Reject { message, reason, delay_ms }
            }
            _ => MessageRequest::Acknowledge { message },
        };
        self.ask(None, user, request, b"");
    }

    /// Some time goes by; what is due is mostly looked at in time.
    fn wait(&mut self) {
        let ns = u64::from(self.rng.below(3_000)) * 1_000_000 + u64::from(self.rng.below(1_000_000));
        let end_ns = self.now.mono_ns + ns;
        while !self.one_in(8)
            && let Some(at_ns) = self.office.poll_timeout().filter(|at_ns| *at_ns <= end_ns)
        {
            self.now = self.now.plus_ns(at_ns.saturating_sub(self.now.mono_ns));
            self.time_out();
        }
        self.now = self.now.plus_ns(end_ns - self.now.mono_ns);
        self.time_out();
    }

    fn time_out(&mut self) {
        self.office.handle_timeout(self.now);
        self.model.now = self.now;
        self.model.timeout();
        self.hear_the_same();
    }

    fn look(&mut self) {
        let (user, message) = self.message();
        let request = match self.rng.below(3) {
            0 => MessageRequest::Status { message: MessageKey::Id(message) },
            1 => MessageRequest::Status { message: MessageKey::ClientId(label(self.rng.below(6))) },
            _ => MessageRequest::Pending { count: 1_000, after: None },
        };
        self.ask(None, user, request, b"");
    }

    fn meet(&mut self) {
        let (user, group) = (self.user(), group(self.rng.below(3)));
        let request = match self.rng.below(9) {
            8 => MessageRequest::DeleteGroup { group },
            0..2 => MessageRequest::CreateGroup {
                group,
                lifetime_ms: self.one_in(2).then_some(20_000),
                message_ttl_ms: self.one_in(2).then_some(2_000),
            },
            2..6 => MessageRequest::JoinGroup { group, weight: 1 + self.rng.below(4) },
            6 => MessageRequest::LeaveGroup { group },
            _ => MessageRequest::GroupMembers { group },
        };
        self.ask(None, user, request, b"");
    }

    fn bury(&mut self) {
        let user = self.user();
        let dead = self.model.dead.len() as u32;
        if dead == 0 {
            return;
        }
        let message = self.model.dead[self.rng.below(dead) as usize].message.id;
        self.note("dead letters");
        let which = Which::One(message);
        let request = match self.rng.below(4) {
            0 => MessageRequest::DeadLetters { count: 1_000, after: None, user: None },
            1 => MessageRequest::Purge { which },
            _ => MessageRequest::Requeue { which },
        };
        self.ask(None, user, request, b"");
    }

    /// What the office counts is what the naive one has.
    fn compare(&self) {
        let gauges = self.office.gauges();
        let model = &self.model;
        let count =
            |is: &dyn Fn(&At) -> bool| model.messages.iter().filter(|message| is(&message.at)).count() as u64;
        let bytes: usize = model.messages.iter().map(|message| message.content.len()).sum();
        let ended = model.names.iter().filter(|named| named.ended.is_some()).count() as u64;
        assert_eq!((gauges.messages, gauges.message_bytes), (model.messages.len() as u64, bytes as u64));
        assert_eq!(gauges.queued.iter().sum::<u64>(), count(&|at| *at == At::Waiting));
        assert_eq!(gauges.scheduled, count(&|at| *at == At::Scheduled));
        assert_eq!(gauges.resting, count(&|at| matches!(at, At::Resting { .. })));
        assert_eq!(gauges.unconfirmed, count(&|at| matches!(at, At::Delivered { .. })));
        assert_eq!((gauges.dead_letters, gauges.names), (model.dead.len() as u64, ended));
        assert_eq!(
            (gauges.sessions, gauges.groups),
            (model.sessions.len() as u64, model.groups.len() as u64)
        );
        assert_eq!((gauges.storing, gauges.changes_waiting), (0, 0));
    }
}

fn name(user: u32) -> Name {
    Name::parse(&format!("user-{user}")).unwrap()
}

fn topic(number: u32) -> Name {
    Name::parse(&format!("topic-{number}")).unwrap()
}

fn group(number: u32) -> Name {
    Name::parse(&format!("group-{number}")).unwrap()
}

fn label(number: u32) -> Label {
    Label::parse(&format!("name-{number}")).unwrap()
}

fn connection(number: u32) -> Client {
    Client { home: HomeId(0), conn: ConnId { slot: number, generation: 0 } }
}
