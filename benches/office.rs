//! The office of messages without a shard, a socket or a disk: what a message costs from send to written or confirmed, what a million
//! that wait cost in memory, and what many that are due together cost. Run with
//! `cargo bench --no-default-features --bench office`; figures in decision 0019.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    reason = "a benchmark prints what a clock says"
)]

use std::time::Instant;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use tickring::mail::{Office, OfficeConfig};
use tickring::model::ids::{ConnId, HomeId, Ticket};
use tickring::model::message::{
    Guarantee, MessageAsk, MessageId, MessageOutput, MessageRequest, Name, NewMessage, Priority, Reception,
    Target,
};
use tickring::model::order::{AccountId, Client};
use tickring::model::storage::{Key, StoreOp, StoreState, StoreWord, Table};
use tickring::model::time::Now;

const START: Now = Now { mono_ns: 1_000_000_000, unix_ns: 1_790_000_000_000_000_000 };
const CONTENT: &[u8] = br#"{"kind":"alert","instrument":"BTC-PERPETUAL","text":"mark price beyond the band","at":1790000000000}"#;
/// Messages of one turn.
const TURN: u64 = 64;
const MANY: usize = 1_000_000;

fn main() {
    divan::main();
    if std::env::args().any(|argument| argument == "--bench") {
        report();
    }
}

/// From a send to the delivery and the shard's word that it is written; nothing waits.
#[divan::bench]
fn fire_and_forget(bencher: Bencher<'_, '_>) {
    let mut office = memory();
    subscribe(&mut office, 4_096);
    let ask = send(new());
    bencher.counter(ItemsCount::new(TURN)).bench_local(|| {
        (0..TURN).for_each(|_| office.handle_ask(&ask, CONTENT, START));
        let delivered = deliveries(&mut office).len();
        office.handle_written(receiver(), u32::try_from(delivered).unwrap_or(u32::MAX), START);
        assert_eq!(delivered, 64);
    });
}

/// From a send by a batch for the store and its answer to the delivery, and by the acknowledgement and another batch to its answer.
#[divan::bench]
fn at_least_once(bencher: Bencher<'_, '_>) {
    let mut office = with_store();
    subscribe(&mut office, 4_096);
    let ask = send(NewMessage { guarantee: Guarantee::AtLeastOnce, ..new() });
    bencher.counter(ItemsCount::new(TURN)).bench_local(|| {
        (0..TURN).for_each(|_| office.handle_ask(&ask, CONTENT, START));
        store(&mut office);
        let delivered = deliveries(&mut office);
        assert_eq!(delivered.len(), 64);
        for message in delivered {
            office.handle_ask(&acknowledge(message), b"", START);
        }
        store(&mut office);
        deliveries(&mut office)
    });
}

/// To a user who is absent, with a hundred thousand that wait already; each pushes the oldest into the dead letters, which drop theirs.
#[divan::bench]
fn overflow(bencher: Bencher<'_, '_>) {
    let mut office = Office::new(OfficeConfig { mailbox_messages_max: 100_000, ..config() }, START);
    let ask = send(new());
    (0..250_000).for_each(|_| office.handle_ask(&ask, CONTENT, START));
    deliveries(&mut office);
    bencher.counter(ItemsCount::new(TURN)).bench_local(|| {
        (0..TURN).for_each(|_| office.handle_ask(&ask, CONTENT, START));
        deliveries(&mut office)
    });
}

fn report() {
    let before = resident_bytes();
    let begun = Instant::now();
    let mut office = with_store();
    let ask = send(NewMessage { priority: Priority::Low, ..new() });
    for _ in 0..MANY {
        office.handle_ask(&ask, CONTENT, START);
        while office.poll_output().is_some() {}
    }
    let queued = begun.elapsed();
    let resident = resident_bytes() - before;
    let each = |bytes: usize| bytes / MANY;
    println!(
        "{MANY} queued, {} bytes of content each: {:.2} s, {} MiB resident ({} bytes each; {} by its own count)",
        CONTENT.len(),
        queued.as_secs_f64(),
        resident >> 20,
        each(resident),
        each(office.memory_bytes()),
    );
    let begun = Instant::now();
    office.handle_ask(&send(NewMessage { priority: Priority::Critical, ..new() }), CONTENT, START);
    subscribe(&mut office, 4_096);
    let first = deliveries(&mut office).len();
    println!("a critical one behind them, its receiver comes, {first} delivered: {:?}", begun.elapsed());
    drop(office);
    report_loading();
    report_due();
}

/// A restart with a million in the store.
fn report_loading() {
    let mut tables: Vec<(Key, Box<[u8]>)> = Vec::new();
    let mut office = with_store();
    let ask = send(NewMessage { guarantee: Guarantee::AtLeastOnce, ..new() });
    for _ in 0..MANY / 1_000 {
        (0..1_000).for_each(|_| office.handle_ask(&ask, CONTENT, START));
        while let Some(batch) = office.poll_batch() {
            let puts = batch.ops.into_iter().filter_map(|op| match op {
                StoreOp::Put { key, value, .. } => Some((key, value)),
                StoreOp::Remove { .. } => None,
            });
            tables.extend(puts);
            office.handle_store(StoreWord::Stored { through: batch.number }, START);
        }
        while office.poll_output().is_some() {}
    }
    drop(office);
    let mut pieces: Vec<Vec<(Key, Box<[u8]>)>> = Vec::new();
    while !tables.is_empty() {
        pieces.push(tables.drain(..1_000.min(tables.len())).collect());
    }
    let begun = Instant::now();
    let mut longest = 0;
    let mut office = Office::new(config(), START);
    office.handle_store(StoreWord::State(StoreState::Loading), START);
    for entries in pieces {
        let piece = Instant::now();
        office.handle_store(StoreWord::Entries { table: Table::Messages, entries }, START);
        longest = longest.max(piece.elapsed().as_micros());
    }
    office.handle_store(StoreWord::Loaded, START);
    let waiting = office.gauges().messages;
    println!("{waiting} loaded: {:.2} s, the longest thousand {longest} us", begun.elapsed().as_secs_f64());
}

/// Ten thousand that are due in one millisecond.
fn report_due() {
    let mut office = memory();
    subscribe(&mut office, 4_096);
    let due_ms = START.unix_ns / 1_000_000 + 10;
    let ask = send(NewMessage { deliver_at_ms: Some(due_ms), ..new() });
    (0..10_000).for_each(|_| office.handle_ask(&ask, CONTENT, START));
    deliveries(&mut office);
    let now = START.plus_ns(10_000_000);
    let (begun, mut calls, mut longest, mut delivered) = (Instant::now(), 0, 0, 0);
    while office.poll_timeout().is_some_and(|at_ns| at_ns <= now.mono_ns) {
        let call = Instant::now();
        office.handle_timeout(now);
        longest = longest.max(call.elapsed().as_micros());
        let count = deliveries(&mut office).len();
        office.handle_written(receiver(), u32::try_from(count).unwrap_or(u32::MAX), now);
        delivered += count;
        calls += 1;
    }
    delivered += deliveries(&mut office).len();
    println!(
        "{delivered} due in one millisecond: {:?} in {calls} calls, the longest {longest} us",
        begun.elapsed()
    );
}

fn config() -> OfficeConfig {
    OfficeConfig {
        messages_max: 2_000_000,
        messages_per_sender_max: 2_000_000,
        mailbox_messages_max: 2_000_000,
        mailbox_bytes_max: 1 << 30,
        ..OfficeConfig::default()
    }
}

fn memory() -> Office {
    Office::new(config(), START)
}

fn with_store() -> Office {
    let mut office = memory();
    for word in
        [StoreWord::State(StoreState::Loading), StoreWord::Loaded, StoreWord::State(StoreState::Ready)]
    {
        office.handle_store(word, START);
    }
    office
}

fn receiver() -> Client {
    Client { home: HomeId(0), conn: ConnId { slot: 1, generation: 0 } }
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn ask(user: &str, client: Client, request: MessageRequest) -> MessageAsk {
    let ticket = Ticket { slot: 0, generation: 0 };
    MessageAsk { ticket, account: AccountId(0), user: name(user), client, is_connection: true, request }
}

fn new() -> NewMessage {
    NewMessage {
        target: Target::User(name("receiver")),
        priority: Priority::Normal,
        guarantee: Guarantee::FireAndForget,
        client_id: None,
        ttl_ms: None,
        deliver_at_ms: None,
        receipts: false,
        reply_to: None,
    }
}

fn send(new: NewMessage) -> MessageAsk {
    let client = Client { home: HomeId(0), conn: ConnId { slot: 0, generation: 0 } };
    ask("sender", client, MessageRequest::Send(new))
}

fn acknowledge(message: MessageId) -> MessageAsk {
    ask("receiver", receiver(), MessageRequest::Acknowledge { message })
}

fn subscribe(office: &mut Office, under_way_max: u32) {
    let reception = Reception { under_way_max };
    let request = MessageRequest::Subscribe { reception, topics: Box::default() };
    office.handle_ask(&ask("receiver", receiver(), request), b"", START);
}

fn deliveries(office: &mut Office) -> Vec<MessageId> {
    let mut messages = Vec::with_capacity(64);
    while let Some(output) = office.poll_output() {
        if let MessageOutput::Deliver(delivery) = output {
            messages.push(black_box(delivery).message);
        }
    }
    messages
}

fn store(office: &mut Office) {
    while let Some(batch) = office.poll_batch() {
        office.handle_store(StoreWord::Stored { through: black_box(batch).number }, START);
    }
}

/// Of the process, as the kernel counts pages.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("a Linux host");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a number of pages") * 4_096
}
