//! Hubs and the market's home under a virtual clock, between a simulated mesh and simulated networks, with clients that
//! do what chance says and an oracle that knows better. PURE: a run is its seed, so a failure is one number.
//!
//! Reading order: `world` (what there is and how it moves), `driver` (a shard's loop around its hub), `mesh` and `network` (what may go wrong on the way), `feed`
//! and `workload` (what is said), `client` (who listens), `json` and `sbe` (how what they hear is read), `ending` (who may be left, and how), `reference` and `oracle` (what should have been heard);
//! then those who trade: `trading` (the venue and its link), `wishes` (what is asked), `trader` and `sbe_trader` (who asks), `ledger` (what it came to);
//! and those who call: `caller` (who asks), `backends` (a shard and its links), `far_ends` (who answers, or does not).

mod backends;
mod caller;
mod client;
mod driver;
mod ending;
mod far_ends;
mod feed;
mod hostile;
mod json;
mod ledger;
mod mesh;
mod network;
mod oracle;
mod random;
mod reference;
mod sbe;
mod sbe_trader;
mod trader;
mod trading;
mod venue_link;
mod wishes;
mod workload;
mod world;

use std::collections::BTreeMap;

use crate::limits;
use crate::model::ids::SourceId;
use crate::model::market::FeedBuffer;

pub use backends::run_calls;
use random::Random;
pub use trading::{Size, run_orders, run_orders_script};
use world::{Options, World};

/// How often a run came to rest and was judged as a whole.
const RESTS: usize = 3;

/// Runs one seed and says how often what happened in it.
///
/// # Panics
/// Where a client is told anything but what it should be: that is the verdict.
#[must_use]
pub fn run(seed: u64) -> BTreeMap<&'static str, u64> {
    let mut random = Random::new(seed);
    let options = Options::new(&mut random);
    let mut world = World::new(random, options);
    world.draw_encodings();
    let mut feed = FeedBuffer::default();
    feed::list(&mut world, &mut feed);
    world.with_market(|market, now| market.handle_feed(SourceId::FEED, &feed, now));
    for _ in 0..RESTS {
        for _ in 0..world.options.steps / RESTS {
            world.step();
        }
        world.come_to_rest();
        judge_rest(&mut world);
    }
    end(&mut world);
    coverage(world)
}

/// Runs a small world whose first choices, what every client, hub, network and clock does included, are the bytes of a script,
/// until that ends; then lets it come to rest.
///
/// # Panics
/// Where [`run`] would.
#[must_use]
pub fn run_script(script: &[u8]) -> BTreeMap<&'static str, u64> {
    let mut random = Random::scripted(script);
    let options = Options::small(&mut random);
    let mut world = World::new(random, options);
    world.draw_encodings();
    let mut feed = FeedBuffer::default();
    feed::list(&mut world, &mut feed);
    world.with_market(|market, now| market.handle_feed(SourceId::FEED, &feed, now));
    for _ in 0..world.options.steps {
        if world.random.is_seeded() {
            break;
        }
        world.step();
    }
    world.come_to_rest();
    judge_rest(&mut world);
    end(&mut world);
    coverage(world)
}

/// How often what happened.
fn coverage(world: World) -> BTreeMap<&'static str, u64> {
    let mut coverage = world.oracle.coverage;
    for (name, count) in world.shards.iter().flat_map(|shard| shard.hub.counters().each().collect::<Vec<_>>())
    {
        *coverage.entry(name).or_default() += count;
    }
    let homes = world.shards.iter().map(|shard| shard.hub.home_counters());
    let delayed =
        homes.chain([world.market.home_counters()]).map(|counters| counters.joins_delayed_total).sum();
    coverage.insert("joins_delayed_total", delayed);
    coverage
}

fn judge_rest(world: &mut World) {
    world.judge_connected();
    for client in 0..world.clients.len() {
        let live = &world.clients[client];
        if let Some(hostile) = &live.hostile {
            if live.open && !live.closing && live.link.is_some_and(|link| !world.links[link].client_ended) {
                hostile.judge_rest();
            }
        } else if live.open && !live.closing {
            world.oracle.judge_rest(&world.clients[client]);
        }
    }
    if !world.oracle.forgets {
        let topics = ["topic.a", "topic.b", "topic.desk.alerts", "topic.x/y:z"];
        for topic in topics {
            assert!(world.oracle.reference.epochs(topic) <= 1, "{topic} was forgotten before its time");
        }
    }
    let market = world.market.home_counters();
    assert_eq!(market.frames_encoded_total, market.events_stamped_total, "an event is encoded once");
    let stamped: u64 = world.shards.iter().map(|shard| shard.hub.home_counters().frames_encoded_total).sum();
    let published = &world.oracle.reference.published;
    let unchecked = world.oracle.reference.unchecked_count as u64;
    let known = published.iter().filter(|message| message.position.is_some()).count() as u64;
    assert!((known..=published.len() as u64 + unchecked).contains(&stamped), "a message is encoded once");
    for shard in &world.shards {
        for instrument in &world.oracle.reference.instruments {
            let name = crate::model::instrument::Symbol::parse(instrument.name.as_bytes()).expect("legal");
            let found = shard.hub.cache().find(&name).expect("every replica has every instrument");
            assert_eq!(shard.hub.cache().is_listed(found), !instrument.delisted, "a replica's listings");
            let book = &shard.hub.cache().state(found).book;
            let bids: Vec<_> = book.bids().map(|level| (level.price.0, level.amount.0)).collect();
            let asks: Vec<_> = book.asks().map(|level| (level.price.0, level.amount.0)).collect();
            assert_eq!(bids, instrument.book().best_bids(usize::MAX), "a replica's book");
            assert_eq!(asks, instrument.book().best_asks(usize::MAX), "a replica's book");
        }
    }
}

/// All clients leave; then nothing may be left of them.
fn end(world: &mut World) {
    for client in 0..world.clients.len() {
        world.leave(client);
    }
    world.come_to_rest();
    world.begin_rest();
    for _ in 0..8 {
        let linger_ns =
            if world.venue.is_some() { limits::PRIVATE_TOPIC_LINGER_NS } else { limits::TOPIC_LINGER_NS };
        world.advance(linger_ns / 4);
        world.settle();
    }
    for shard in 0..world.shards.len() {
        let now = world.now;
        world.with_hub(shard, |hub| {
            hub.handle_timeout(now);
            hub.seal(now);
        });
        let hub = &world.shards[shard].hub;
        // Those that vanished as well: nobody has told the hub of them.
        assert_eq!(hub.connection_count(), 0, "a session is left");
        assert_eq!(hub.occupancy().total(), 0, "shard {shard}: {:?}", hub.occupancy());
    }
    world.with_market(crate::hub::market::MarketHome::handle_timeout);
    // It forgets so many at a time.
    for _ in 0..world.market.topic_count().div_ceil(limits::TOPICS_SWEPT_PER_TURN_MAX) {
        world.advance(1_000_000_000);
        world.with_market(crate::hub::market::MarketHome::handle_timeout);
    }
    assert_eq!(world.market.topic_count(), 0, "a topic is left at the market's home");
}
