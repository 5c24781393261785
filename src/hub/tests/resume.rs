//! Many who come back at once: their homes answer over several turns, and nobody notices but by the time that it takes.

use super::*;
use crate::hub::batch::{Record, Ticket};
use crate::model::channel::{TopicKey, TopicName};
use crate::model::ids::{Epoch, Position, Seq};

const EVENTS: u64 = 20;
const CLIENTS: u32 = 12;
const TRADES: &str = "trades.BTC-PERPETUAL.raw";

/// Three or so of the resumes below fill a turn.
fn world(shards: u8) -> World {
    let history = HistoryLimits { replayed_bytes_per_turn: 16 * 1024, ..HISTORY };
    World::with(shards, &HubConfig { history, ..config() })
}

/// A name of a topic whose home is this shard.
fn name_at(world: &World, home: HomeId) -> TopicName {
    let mut names = (0..).map(|number| TopicName::parse(format!("t{number}").as_bytes()).unwrap());
    names.find(|name| world.hubs[0].home_of_name(name) == home).unwrap()
}

fn resume(channel: &str, epoch: u64, seq: u64) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{{"channels":["{channel}"],"resume":{{"{channel}":{{"epoch":{epoch},"seq":{seq}}}}}}}}}"#
    )
}

/// Publishes the numbers of a range; the topic's epoch.
fn publish_all(
    world: &mut World,
    publisher: ConnId,
    topic: &str,
    numbers: std::ops::RangeInclusive<u64>,
) -> u64 {
    let mut epoch = 0;
    for number in numbers {
        let data = format!(r#"{{"n":{number},"pad":"{}"}}"#, "x".repeat(100));
        world.hubs[0].handle_bytes(publisher, &mut frame(&publish(topic, &data)), world.now);
        world.carry_once();
        epoch = world
            .texts(0, publisher)
            .last()
            .map_or(epoch, |reply| reply["result"]["epoch"].as_u64().unwrap());
    }
    epoch
}

/// A client that has been told an instrument's trades, and others, who have just asked for all of them.
fn resume_trades(world: &mut World) -> (ConnId, Vec<ConnId>) {
    world.feed(list("BTC-PERPETUAL"));
    let steady = world.connect(0, 90);
    world.send(0, steady, &subscribe(TRADES));
    (1..=EVENTS as i64).for_each(|price| world.feed(trade(price)));
    let epoch = world.texts(0, steady)[1]["params"]["epoch"].as_u64().unwrap();
    let conns: Vec<_> = (0..CLIENTS).map(|slot| world.connect(0, slot)).collect();
    for conn in &conns {
        world.hubs[0].handle_bytes(*conn, &mut frame(&resume(TRADES, epoch, 0)), world.now);
    }
    (steady, conns)
}

/// Asserts that a resume was recovered and that all from there on came once and in order.
fn check(texts: &[serde_json::Value], channel: &str, seq: u64, newest: u64) {
    assert_eq!(texts[0]["resumed"][channel]["recovered"], true, "{}", texts[0]);
    let seqs: Vec<_> = texts[1..].iter().map(|text| text["params"]["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (seq + 1..=newest).collect::<Vec<_>>());
    let numbers = texts[1..].iter().filter_map(|text| text["params"]["data"]["n"].as_u64());
    assert!(numbers.zip(&seqs).all(|(number, seq)| number == *seq));
}

#[test]
fn many_resumes_are_answered_over_several_turns_in_order_and_completely() {
    let mut world = world(2);
    for home in [HomeId(0), HomeId(1)] {
        let name = name_at(&world, home);
        let channel = format!("topic.{}", name.as_str());
        let publisher = world.connect(0, 90 + u32::from(home.0));
        let epoch = publish_all(&mut world, publisher, name.as_str(), 1..=EVENTS);
        let conns: Vec<_> = (0..2 * CLIENTS)
            .map(|number| (number as usize % 2, u64::from(number % 3)))
            .enumerate()
            .map(|(number, (shard, seq))| {
                (shard, world.connect(shard, 40 * u32::from(home.0) + number as u32), seq)
            })
            .collect();
        for (shard, conn, seq) in &conns {
            world.hubs[*shard].handle_bytes(*conn, &mut frame(&resume(&channel, epoch, *seq)), world.now);
        }
        let mut answered = [Vec::new(), Vec::new()];
        let mut turns = 0;
        loop {
            let more = world.carry_once();
            for (number, (shard, conn, seq)) in conns.iter().enumerate() {
                let texts = world.texts(*shard, *conn);
                if !texts.is_empty() {
                    check(&texts, &channel, *seq, EVENTS);
                    answered[*shard].push(number);
                }
            }
            turns += 1;
            if !more {
                break;
            }
        }
        for (shard, answered) in answered.iter().enumerate() {
            let asked = (0..conns.len()).filter(|number| conns[*number].0 == shard);
            assert_eq!(*answered, asked.collect::<Vec<_>>(), "in the order in which they asked");
        }
        assert!(turns > 2 * CLIENTS / 4, "{turns} turns");
        let counters = world.hubs[home.index()].home_counters();
        assert!(counters.joins_delayed_total >= u64::from(CLIENTS));
        assert_eq!(counters.joins_not_recovered_total, 0);
    }
}

#[test]
fn what_is_published_while_resumes_wait_reaches_each_once_and_in_order() {
    let mut world = world(2);
    for home in [HomeId(0), HomeId(1)] {
        let name = name_at(&world, home);
        let channel = format!("topic.{}", name.as_str());
        let publisher = world.connect(0, 90 + u32::from(home.0));
        let epoch = publish_all(&mut world, publisher, name.as_str(), 1..=EVENTS);
        let conns: Vec<_> = (0..CLIENTS)
            .map(|number| {
                (number as usize % 2, world.connect(number as usize % 2, 40 * u32::from(home.0) + number))
            })
            .collect();
        for (shard, conn) in &conns {
            world.hubs[*shard].handle_bytes(*conn, &mut frame(&resume(&channel, epoch, 0)), world.now);
        }
        let mut newest = EVENTS;
        while newest < EVENTS + 3 || world.hubs[home.index()].joins_wait() {
            newest += 1;
            publish_all(&mut world, publisher, name.as_str(), newest..=newest);
        }
        world.carry();
        assert!(newest > EVENTS + 3, "some waited while others were told already");
        for (shard, conn) in conns {
            check(&world.texts(shard, conn), &channel, 0, newest);
        }
    }
}

#[test]
fn resumes_of_a_market_s_channel_wait_for_its_home_s_turns() {
    let mut world = world(1);
    let (steady, conns) = resume_trades(&mut world);
    let mut newest = EVENTS;
    world.carry_once();
    while world.market.joins_wait() {
        newest += 1;
        world.feed_unsent(trade(newest as i64));
        world.carry_once();
    }
    world.carry();
    assert!(newest > EVENTS + 2);
    for conn in conns {
        check(&world.texts(0, conn), TRADES, 0, newest);
    }
    let seqs: Vec<_> =
        world.texts(0, steady).iter().map(|text| text["params"]["seq"].as_u64().unwrap()).collect();
    assert_eq!(
        seqs,
        (EVENTS + 1..=newest).collect::<Vec<_>>(),
        "who was here is told each event in its turn"
    );
}

#[test]
fn a_gap_while_resumes_wait_loses_and_repeats_nothing() {
    let mut world = world(1);
    let (steady, conns) = resume_trades(&mut world);
    world.carry_once();
    world.carry_once();
    assert!(world.market.joins_wait(), "some are answered and some are not");
    world.market.handle_lag(HomeId(0));
    assert!(!world.market.joins_wait(), "nothing is kept for a shard that will ask again");
    world.feed_unsent(trade(EVENTS as i64 + 1));
    world.market.handle_room(HomeId(0));
    world.carry();
    world.feed(trade(EVENTS as i64 + 2));
    for conn in conns {
        check(&world.texts(0, conn), TRADES, 0, EVENTS + 2);
    }
    assert_eq!(world.texts(0, steady).len(), 2);
    assert_eq!(world.hubs[0].occupancy().joins, 0);
}

#[test]
fn who_leaves_while_its_resume_waits_is_told_nothing_more_and_its_topic_is_left() {
    let mut world = world(2);
    let name = name_at(&world, HomeId(0));
    let channel = format!("topic.{}", name.as_str());
    let publisher = world.connect(0, 90);
    let epoch = publish_all(&mut world, publisher, name.as_str(), 1..=EVENTS);
    let conns: Vec<_> = (0..CLIENTS).map(|slot| world.connect(1, slot)).collect();
    for conn in &conns {
        world.hubs[1].handle_bytes(*conn, &mut frame(&resume(&channel, epoch, 0)), world.now);
    }
    world.carry_once();
    world.carry_once();
    assert!(world.hubs[0].joins_wait());
    let (last, gone) = conns.split_last().unwrap();
    for conn in gone {
        world.hubs[1].handle_closed(*conn, world.now);
    }
    let unsubscribe = r#"{"jsonrpc":"2.0","id":9,"method":"public/unsubscribe_all"}"#;
    world.hubs[1].handle_bytes(*last, &mut frame(unsubscribe), world.now);
    publish_all(&mut world, publisher, name.as_str(), EVENTS + 1..=EVENTS + 1);
    world.carry();
    let texts = world.texts(1, *last);
    assert_eq!(texts.iter().map(|text| text["id"].as_u64().unwrap()).collect::<Vec<_>>(), [9, 1]);
    let occupancy = world.hubs[1].occupancy();
    assert_eq!((occupancy.topics, occupancy.joins, occupancy.subscriptions), (0, 0, 0));
    world.now = world.now.plus_ns(limits::TOPIC_LINGER_NS);
    world.carry();
    assert_eq!(world.hubs[0].occupancy().home_topics, 0, "nobody listens there any more");
}

#[test]
fn who_subscribes_again_while_its_resume_waits_is_told_from_there_on() {
    let mut world = world(2);
    let name = name_at(&world, HomeId(0));
    let channel = format!("topic.{}", name.as_str());
    let publisher = world.connect(0, 90);
    let epoch = publish_all(&mut world, publisher, name.as_str(), 1..=EVENTS);
    let conns: Vec<_> = (0..CLIENTS).map(|slot| world.connect(1, slot)).collect();
    for conn in &conns {
        world.hubs[1].handle_bytes(*conn, &mut frame(&resume(&channel, epoch, 0)), world.now);
    }
    world.carry_once();
    let last = *conns.last().unwrap();
    let unsubscribe = r#"{"jsonrpc":"2.0","id":9,"method":"public/unsubscribe_all"}"#;
    world.hubs[1].handle_bytes(last, &mut frame(unsubscribe), world.now);
    world.hubs[1].handle_bytes(last, &mut frame(&subscribe(&channel)), world.now);
    world.carry();
    publish_all(&mut world, publisher, name.as_str(), EVENTS + 1..=EVENTS + 2);
    world.carry();
    let texts = world.texts(1, last);
    assert_eq!(texts[..3].iter().filter(|text| text.get("id").is_some()).count(), 3, "three replies first");
    let seqs: Vec<_> = texts[3..].iter().map(|text| text["params"]["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [EVENTS + 1, EVENTS + 2]);
}

#[test]
fn a_shard_that_takes_nothing_is_not_sent_histories_without_end() {
    const RESUMES: u32 = 64;
    let history = HistoryLimits { bytes_max: 1024 * 1024, ..HISTORY };
    let mut world = World::with(2, &HubConfig { history, ..config() });
    let name = name_at(&world, HomeId(0));
    let publisher = world.connect(0, 0);
    let data = format!("\"{}\"", "x".repeat(16_000));
    let mut epoch = 0;
    for _ in 0..HISTORY.frames_max {
        world.send(0, publisher, &publish(name.as_str(), &data));
        epoch = world.texts(0, publisher)[0]["result"]["epoch"].as_u64().unwrap();
    }
    let one = HISTORY.frames_max * (16_000 + 1000);
    let resume = Some(Position { epoch: Epoch(epoch), seq: Seq(0) });
    let mut asks = Batch::default();
    for slot in 0..RESUMES {
        let ticket = Ticket { slot, generation: 0 };
        asks.records.push(Record::Join { key: TopicKey::Client(name), ticket, resume });
    }
    let hub = &mut world.hubs[0];
    hub.handle_batch(HomeId(1), &asks, world.now);
    let mut told = 0;
    while told < RESUMES {
        let mut under_way = Vec::new();
        loop {
            hub.seal(world.now);
            let before = under_way.len();
            while let Some(outgoing) = hub.poll_mesh() {
                assert!(outgoing.batch.bytes.len() <= limits::REPLAYED_BYTES_PER_TURN + one);
                under_way.push(outgoing.batch);
            }
            if under_way.len() == before {
                break;
            }
        }
        let bytes: usize = under_way.iter().map(|batch| batch.bytes.len()).sum();
        assert!(
            bytes <= limits::LONG_BATCH_BYTES_UNDER_WAY_MAX + limits::REPLAYED_BYTES_PER_TURN + one,
            "{bytes}"
        );
        assert_eq!(
            hub.joins_wait(),
            hub.peers_are_behind() && told + joined(&under_way).len() as u32 != RESUMES
        );
        for slot in joined(&under_way) {
            assert_eq!(slot, told);
            told += 1;
        }
        assert!(!under_way.is_empty());
    }
    assert_eq!(hub.home_counters().joins_recovered_total, u64::from(RESUMES));
    hub.seal(world.now);
    assert!(!hub.joins_wait() && !hub.peers_are_behind());
}

/// The joins that batches answer.
fn joined(batches: &[Arc<Batch>]) -> Vec<u32> {
    let records = batches.iter().flat_map(|batch| &batch.records);
    let joined = records.filter_map(|record| {
        let Record::Joined { ticket, .. } = record else { return None };
        Some(ticket.slot)
    });
    joined.collect()
}
