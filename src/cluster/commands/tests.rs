//! Each command and each word crosses as it is, to the shard that it is for, and no bytes are more than a fault.

use proptest::prelude::*;

use super::*;
use crate::model::channel::TopicName;
use crate::model::decimal::{Amount, Price};
use crate::model::ids::{Epoch, InstrumentId, Position, Seq};
use crate::model::instrument::{InstrumentKind, Symbol};
use crate::model::market::Direction;
use crate::model::message::*;
use crate::model::order::*;

fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

fn ticket() -> Ticket {
    Ticket { slot: fold(HomeId(3), 7), generation: u32::MAX }
}

fn conn() -> ConnId {
    ConnId { slot: fold(HomeId(63), 999_999), generation: 5 }
}

fn filter() -> Filter {
    let currency = Symbol::parse(b"BTC").unwrap();
    Filter { instrument: Some(InstrumentId(2)), kind: Some(InstrumentKind::ALL[1]), currency: Some(currency) }
}

fn order_requests() -> Vec<OrderRequest> {
    let currency = Symbol::parse(b"USD").unwrap();
    let place = NewOrder {
        instrument: InstrumentId(4),
        direction: Direction::Sell,
        order_type: OrderType::Limit,
        price: Some(Price(-5)),
        amount: Amount(i64::MAX),
        time_in_force: TimeInForce::FillOrKill,
        post_only: PostOnly::Slide,
        reduce_only: true,
        label: Some(label("Ordre n° 7")),
        valid_until_ms: Some(u64::MAX),
    };
    let market = NewOrder { order_type: OrderType::Market, price: None, label: None, ..place };
    let edit = |order| {
        OrderRequest::Edit(EditOrder {
            order,
            instrument: None,
            amount: Some(Amount(1)),
            price: None,
            post_only: Some(PostOnly::Reject),
            reduce_only: Some(false),
            valid_until_ms: None,
        })
    };
    let (order, label, scope) = (OrderId(9), label("l"), DisconnectScope::Account);
    let query = UserTradesQuery {
        filter: Filter::default(),
        start_seq: Some(1),
        end_seq: None,
        start_timestamp_ms: None,
        end_timestamp_ms: Some(2),
        count: 1_000,
        is_ascending: true,
    };
    vec![
        OrderRequest::Place(place),
        OrderRequest::Place(market),
        edit(OrderRef::Id(order)),
        edit(OrderRef::Label(label)),
        OrderRequest::Cancel { order, valid_until_ms: None },
        OrderRequest::CancelByLabel { label, currency: Some(currency) },
        OrderRequest::CancelAll { filter: filter() },
        OrderRequest::CancelAllAfter { timeout_ms: Some(3) },
        OrderRequest::OpenOrders { filter: Filter::default() },
        OrderRequest::OrderState { order },
        OrderRequest::OrderStateByLabel { label, currency: None },
        OrderRequest::OrderHistory { filter: filter(), count: 3, offset: 4, include_unfilled: true },
        OrderRequest::UserTrades(query),
        OrderRequest::Position { instrument: InstrumentId(0) },
        OrderRequest::Positions { filter: filter() },
        OrderRequest::AccountSummary { currency },
        OrderRequest::AccountSummaries,
        OrderRequest::EnableCancelOnDisconnect { scope },
        OrderRequest::DisableCancelOnDisconnect { scope: DisconnectScope::Connection },
        OrderRequest::GetCancelOnDisconnect { scope },
        OrderRequest::Halt { is_on: true, everybody: false },
    ]
}

fn message_requests() -> Vec<MessageRequest> {
    let (message, group, users) = (MessageId(7), label("desk"), Box::new([label("a"), label("b")]));
    let send = |target| NewMessage {
        target,
        priority: Priority::Critical,
        guarantee: Guarantee::AtLeastOnce,
        client_id: Some(label("c")),
        ttl_ms: Some(1),
        deliver_at_ms: None,
        receipts: true,
        reply_to: Some(message),
    };
    vec![
        MessageRequest::Subscribe { reception: Reception { under_way_max: 4 }, topics: users.clone() },
        MessageRequest::Unsubscribe,
        MessageRequest::Send(send(Target::User(group))),
        MessageRequest::Send(send(Target::Session(SessionId(8)))),
        MessageRequest::Send(send(Target::Group { group, to: Selection::Weighted })),
        MessageRequest::Send(send(Target::Topic(group))),
        MessageRequest::SendToProcessor { message: send(Target::Type(group)), processor: Box::new(group) },
        MessageRequest::Acknowledge { message },
        MessageRequest::Reject { message, reason: Some(group), delay_ms: Some(6) },
        MessageRequest::Cancel { message },
        MessageRequest::Status { message: MessageKey::Id(message) },
        MessageRequest::Status { message: MessageKey::ClientId(group) },
        MessageRequest::Pending { count: 5, after: Some(message) },
        MessageRequest::CreateGroup { group, lifetime_ms: None, message_ttl_ms: Some(3) },
        MessageRequest::JoinGroup { group, weight: 2 },
        MessageRequest::LeaveGroup { group },
        MessageRequest::GroupMembers { group },
        MessageRequest::DeleteGroup { group },
        MessageRequest::Presence { users: users.clone() },
        MessageRequest::PresenceOfGroup { group },
        MessageRequest::SubscribePresence { users },
        MessageRequest::DeadLetters { count: 1, after: None, user: Some(group) },
        MessageRequest::DeadLetter { message },
        MessageRequest::Requeue { which: Which::One(message) },
        MessageRequest::Purge { which: Which::All },
    ]
}

fn every_command() -> Vec<Command<'static>> {
    let account = AccountId(12);
    let mut all = vec![
        Command::Account { account, name: label("desk-1") },
        Command::Departed { conn: conn(), how: Departure::LoggedOut },
        Command::MessagesWritten { conn: conn(), count: 64 },
    ];
    for request in order_requests() {
        for encoding in Encoding::ALL {
            let ask = ForwardedAsk {
                ticket: ticket(),
                account,
                conn: conn(),
                is_connection: true,
                encoding,
                request,
            };
            all.push(Command::Ask(ask));
        }
    }
    let ask = |by, conn, request| {
        Command::MessageAsk(
            ForwardedMessageAsk { ticket: ticket(), by, conn, is_connection: false, request },
            br#"{"a":1}"#,
        )
    };
    all.extend(message_requests().into_iter().map(|request| ask(By::Account(account), conn(), request)));
    let processor = By::Processor(processor_of("sms").unwrap());
    let backend = fold_conn(HomeId(1), ConnId { slot: u32::MAX - 3, generation: 1 });
    for request in [
        MessageRequest::Process { under_way_max: 3 },
        MessageRequest::HandBack { message: MessageId(1), was_handed: true },
        MessageRequest::Unsubscribe,
    ] {
        all.push(ask(processor, backend, request));
    }
    let topic = ForwardedTopic { slot: 4, generation: 5 };
    for topic in [None, Some(topic)] {
        let name = TopicName::parse(b"a.b/c").unwrap();
        all.push(Command::Publish { ticket: ticket(), name, topic, data: b"[1,2]" });
    }
    all
}

fn status() -> MessageStatus {
    MessageStatus {
        message: MessageId(3),
        to: label("a"),
        priority: Priority::Low,
        guarantee: Guarantee::FireAndForget,
        state: MessageState::Dead,
        attempts: 4,
        sent_ms: 5,
        next_ms: Some(6),
        expires_ms: None,
        client_id: Some(label("c")),
    }
}

fn answers() -> Vec<Result<MessageAnswer, MessageRefusal>> {
    let letter = DeadLetter {
        status: status(),
        from: label("b"),
        cause: DeathCause::Overflow,
        died_ms: 1,
        reason: Some(label("no")),
        content_bytes: 2,
        content: Some(b"{}".as_slice().into()),
    };
    let member = GroupMember { user: label("a"), weight: 1, is_present: true, waiting: 9 };
    let presence = Presence { user: label("a"), is_present: false, since_ms: Some(4), sessions: 0 };
    let (first, state) = (MessageId(11), MessageState::Queued);
    let bare = DeadLetter { content: None, reason: None, ..letter.clone() };
    vec![
        Ok(MessageAnswer::Done),
        Ok(MessageAnswer::Subscribed { session: SessionId(4), waiting: 5 }),
        Ok(MessageAnswer::Accepted { first, count: 3, state, is_repeated: true }),
        Ok(MessageAnswer::Status(status())),
        Ok(MessageAnswer::Pending { total: 1, bytes: 2, messages: Box::new([status()]) }),
        Ok(MessageAnswer::Members { group: label("g"), expires_ms: None, members: Box::new([member]) }),
        Ok(MessageAnswer::Presence(Box::new([presence, presence]))),
        Ok(MessageAnswer::DeadLetters { total: 2, letters: Box::new([letter, bare]) }),
        Ok(MessageAnswer::Count(77)),
        Err(MessageRefusal::StoreBusy),
        Err(MessageRefusal::OwnerLost),
    ]
}

fn every_word() -> Vec<Said<'static>> {
    let client = Client { home: HomeId(0), conn: conn() };
    let delivery = Delivery {
        client,
        message: MessageId(1),
        from: label("a"),
        by: Some(Via::Topic(label("t"))),
        priority: Priority::High,
        confirm: true,
        attempt: 2,
        is_redelivered: true,
        sent_ms: 3,
        deliver_at_ms: None,
        expires_ms: Some(4),
        client_id: None,
        reply_to: Some(MessageId(5)),
        content: br#""x""#.as_slice().into(),
    };
    let receipt = Receipt { status: status(), cause: Some(DeathCause::TooOld), at_ms: 6 };
    let presence = Presence { user: label("a"), is_present: true, since_ms: None, sessions: 1 };
    let place = Position { epoch: Epoch(1), seq: Seq(2) };
    let refusals = [
        OrderRefusal::OrderNotFound,
        OrderRefusal::TooManyRequests { credits_left: 1, retry_after_ms: 2 },
        OrderRefusal::OutcomeUnknown { order: OrderId(5) },
        OrderRefusal::OwnerLost,
    ];
    let ticket = ticket();
    let mut all = vec![
        Said::Answered { ticket, outcome: Ok(b"\x00\xff any bytes") },
        Said::Message(Cow::Owned(MessageOutput::Deliver(delivery))),
        Said::Message(Cow::Owned(MessageOutput::Receipt { client, receipt })),
        Said::Message(Cow::Owned(MessageOutput::Presence { client, presence })),
        Said::Published { ticket, outcome: Ok((ForwardedTopic { slot: 1, generation: 2 }, place)) },
        Said::Published { ticket, outcome: Err(PublishRefusal::Overloaded) },
    ];
    all.extend(refusals.map(|refusal| Said::Answered { ticket, outcome: Err(refusal) }));
    let answer =
        |outcome| Said::Message(Cow::Owned(MessageOutput::Answer { to: HomeId(0), ticket, outcome }));
    all.extend(answers().into_iter().map(answer));
    all
}

fn all_shards() -> HomeSet {
    HomeSet(u64::MAX)
}

#[test]
fn every_command_crosses_as_it_is() {
    let mut bytes = Vec::new();
    let all = every_command();
    all.iter().for_each(|command| write_command(&mut bytes, command));
    assert_eq!(read_commands(&bytes).unwrap(), all);
}

#[test]
fn every_word_reaches_its_shard_with_tickets_and_connections_as_that_has_them() {
    for said in every_word() {
        let mut bytes = Vec::new();
        write_said(&mut bytes, &said);
        let read = read_said(&bytes, all_shards()).unwrap();
        let [(shard, read)] = &read[..] else { panic!("one word: {read:?}") };
        let mut again = Vec::new();
        let ticket = match read {
            Said::Answered { ticket, .. } | Said::Published { ticket, .. } => Ok(*ticket),
            Said::Message(output) => match &**output {
                MessageOutput::Answer { ticket, .. } => Ok(*ticket),
                MessageOutput::Deliver(Delivery { client, .. })
                | MessageOutput::Receipt { client, .. }
                | MessageOutput::Presence { client, .. } => Err(*client),
            },
        };
        match ticket {
            Ok(ticket) => assert_eq!((*shard, ticket.slot), (HomeId(3), 7)),
            Err(client) => {
                assert_eq!((*shard, client.home, client.conn.slot), (HomeId(63), HomeId(63), 999_999));
            }
        }
        write_said(&mut again, read);
        assert_eq!(again.len(), bytes.len());
        let few = HomeSet(0b111);
        assert_eq!(read_said(&bytes, few).map(|_| ()), Err(WireFault::Value), "no such shard: {read:?}");
    }
}

#[test]
fn slots_of_shards_and_of_backends_are_told_apart_and_come_back() {
    for shard in [0, 1, 63] {
        for slot in [0, 5, 1_000_000, PROCESSOR_SLOTS_FROM, u32::MAX - 1] {
            assert_eq!(unfold(fold(HomeId(shard), slot)), (HomeId(shard), slot));
        }
    }
}

#[test]
fn nobody_asks_in_the_name_of_an_operator_or_of_what_it_is_not() {
    let ask = |by, slot, request| {
        let conn = fold_conn(HomeId(0), ConnId { slot, generation: 0 });
        let ask = ForwardedMessageAsk { ticket: ticket(), by, conn, is_connection: true, request };
        let mut bytes = Vec::new();
        write_command(&mut bytes, &Command::MessageAsk(ask, b""));
        read_commands(&bytes).map(|_| ())
    };
    let (account, backend) = (By::Account(AccountId(0)), By::Processor(processor_of("sms").unwrap()));
    let (process, send) = (MessageRequest::Process { under_way_max: 1 }, message_requests().remove(2));
    let fault = Err(WireFault::Value);
    assert_eq!(ask(account, 1, process.clone()), fault, "a client is no backend");
    assert_eq!(ask(account, PROCESSOR_SLOTS_FROM, send.clone()), fault);
    assert_eq!(ask(backend, PROCESSOR_SLOTS_FROM, send), fault, "a backend sends nothing");
    assert_eq!(ask(backend, 1, process.clone()), fault);
    assert_eq!(ask(By::Processor(label("desk")), PROCESSOR_SLOTS_FROM, process.clone()), fault);
    assert_eq!(ask(backend, PROCESSOR_SLOTS_FROM, process), Ok(()));
    let mut bytes = Vec::new();
    let name = processor_of("sms").unwrap();
    write_command(&mut bytes, &Command::Account { account: AccountId(0), name });
    assert_eq!(read_commands(&bytes), fault.map(|()| Vec::new()));
}

#[test]
fn what_ends_early_is_a_fault() {
    for command in every_command() {
        let mut bytes = Vec::new();
        write_command(&mut bytes, &command);
        assert!((1..bytes.len()).all(|end| read_commands(&bytes[..end]).is_err()), "{command:?}");
    }
    for said in every_word() {
        let mut bytes = Vec::new();
        write_said(&mut bytes, &said);
        assert!((1..bytes.len()).all(|end| read_said(&bytes[..end], all_shards()).is_err()), "{said:?}");
    }
}

#[test]
fn damaged_bytes_are_faults_or_what_is_written_so() {
    for command in every_command() {
        let mut bytes = Vec::new();
        write_command(&mut bytes, &command);
        for at in 0..bytes.len() {
            for damage in [1, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= damage;
                if let Ok(others) = read_commands(&damaged) {
                    let mut again = Vec::new();
                    others.iter().for_each(|other| write_command(&mut again, other));
                    assert_eq!(again, damaged);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_said(&bytes, all_shards());
        if let Ok(commands) = read_commands(&bytes) {
            let mut again = Vec::new();
            commands.iter().for_each(|command| write_command(&mut again, command));
            prop_assert_eq!(again, bytes);
        }
    }
}
