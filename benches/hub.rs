//! The hub without sockets: publishing to subscribers, the last-value cache, requests. Run with
//! `cargo bench --no-default-features --bench hub`.

mod fixture;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use tickring::model::ids::HomeId;

use crate::fixture::calls::{answer_calls, calling_hub};
use crate::fixture::trading::{self, Floor};
use crate::fixture::{
    BATCHES, NOW, TICKS_PER_BATCH, Ticks, connect, connect_to, end_turn, fan, frame, hub, ticks,
};

fn main() {
    divan::main();
}

/// One message of a client to all subscribers, decode to the bytes of each one's send; per delivery.
#[divan::bench(args = [1, 100, 1000])]
fn publish_to_subscribers(bencher: Bencher<'_, '_>, subscribers: u32) {
    let mut out = vec![0; 64 * 1024];
    let (mut hub, publisher, mut publish) = fan(subscribers, &mut out);
    bencher.counter(ItemsCount::new(subscribers)).bench_local(|| {
        hub.handle_bytes(publisher, &mut publish, NOW);
        black_box(end_turn(&mut hub, &mut out))
    });
}

/// A request from its frame to the bytes of its reply.
#[divan::bench]
fn public_test(bencher: Bencher<'_, '_>) {
    let mut hub = hub();
    let mut out = vec![0; 64 * 1024];
    let conn = connect(&mut hub, 0);
    let mut test = frame(r#"{"jsonrpc":"2.0","id":8212,"method":"public/test","params":{}}"#);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        hub.handle_bytes(conn, &mut test, NOW);
        black_box(end_turn(&mut hub, &mut out))
    });
}

/// A backend's method whose result is kept, from its request's frame to the bytes of the reply; 1 us at most is asked for.
#[divan::bench]
fn kept_result(bencher: Bencher<'_, '_>) {
    let mut hub = calling_hub();
    let mut out = vec![0; 64 * 1024];
    let conn = connect(&mut hub, 0);
    let mut ask = frame(r#"{"jsonrpc":"2.0","id":8212,"method":"risk/get_price","params":{"of":17}}"#);
    hub.handle_bytes(conn, &mut ask, NOW);
    answer_calls(&mut hub, br#"{"price":101.5,"amount":40,"at":1700000000000}"#, NOW);
    end_turn(&mut hub, &mut out);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        hub.handle_bytes(conn, &mut ask, NOW);
        black_box(end_turn(&mut hub, &mut out))
    });
}

/// A backend's method whose result is not kept: the request to the call, and the outcome to the bytes of the reply.
#[divan::bench]
fn call_and_outcome(bencher: Bencher<'_, '_>) {
    let mut hub = calling_hub();
    let mut out = vec![0; 64 * 1024];
    let conn = connect(&mut hub, 0);
    let mut ask = frame(r#"{"jsonrpc":"2.0","id":8212,"method":"risk/echo","params":{"of":17}}"#);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        hub.handle_bytes(conn, &mut ask, NOW);
        answer_calls(&mut hub, br#"{"price":101.5,"amount":40,"at":1700000000000}"#, NOW);
        black_box(end_turn(&mut hub, &mut out))
    });
}

/// An order that finds nothing, from its frame through desk and paper venue to the frame of its answer, in JSON.
#[divan::bench]
fn order_in_json(bencher: Bencher<'_, '_>) {
    place(bencher, Floor::open(), trading::order_in_json());
}

/// The same in SBE.
#[divan::bench]
fn order_in_sbe(bencher: Bencher<'_, '_>) {
    let floor = Floor::open_in_sbe();
    let order = floor.order_in_sbe();
    place(bencher, floor, order);
}

fn place(bencher: Bencher<'_, '_>, mut floor: Floor, mut order: Vec<u8>) {
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        let told = floor.act(&mut order);
        assert!(told > 0, "every order is answered");
        black_box(told)
    });
}

/// Ticks from the feed's events to the changes of books in each subscriber's send, in JSON; per tick and subscriber.
#[divan::bench(args = [1, 10, 100])]
fn ticks_to_subscribers_in_json(bencher: Bencher<'_, '_>, subscribers: u32) {
    ticks_to_subscribers(bencher, subscribers, "/ws");
}

/// The same in SBE.
#[divan::bench(args = [1, 10, 100])]
fn ticks_to_subscribers_in_sbe(bencher: Bencher<'_, '_>, subscribers: u32) {
    ticks_to_subscribers(bencher, subscribers, "/ws?encoding=sbe&schema=1&version=0");
}

/// The same in SBE, the changes of a send in batches.
#[divan::bench(args = [1, 10, 100])]
fn ticks_to_subscribers_in_batches(bencher: Bencher<'_, '_>, subscribers: u32) {
    ticks_to_subscribers(bencher, subscribers, "/ws?encoding=sbe&schema=1&version=0&batch=true");
}

fn ticks_to_subscribers(bencher: Bencher<'_, '_>, subscribers: u32, target: &str) {
    let (mut hub, mut ticks, mut out) = (hub(), Ticks::new(), vec![0; 64 * 1024]);
    ticks.next(|outgoing| hub.handle_batch(HomeId(1), &outgoing.batch, NOW));
    let mut subscribe = frame(
        r#"{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{"channels":["book.*.raw"],"class":"lossless"}}"#,
    );
    for slot in 0..subscribers {
        let conn = connect_to(&mut hub, slot, target, "");
        hub.handle_bytes(conn, &mut subscribe, NOW);
        ticks.settle(&mut hub);
        end_turn(&mut hub, &mut out);
    }
    bencher.counter(ItemsCount::new(u64::from(TICKS_PER_BATCH) * u64::from(subscribers))).bench_local(|| {
        ticks.next(|outgoing| hub.handle_batch(HomeId(1), &outgoing.batch, NOW));
        let sent = end_turn(&mut hub, &mut out);
        assert!(sent > 64 * subscribers as usize, "every subscriber is told");
        black_box(sent)
    });
}

/// Ticks that nobody has subscribed to, in batches of 64, into a shard's last-value cache; per tick.
#[divan::bench]
fn apply_ticks_to_the_cache(bencher: Bencher<'_, '_>) {
    let batches = ticks();
    let count = u64::from(TICKS_PER_BATCH) * BATCHES;
    bencher.counter(ItemsCount::new(count)).with_inputs(hub).bench_local_values(|mut hub| {
        for outgoing in &batches {
            hub.handle_batch(HomeId(1), &outgoing.batch, NOW);
        }
        hub
    });
}
