//! What waits for another shard when its connection ends: it is answered first.

use super::*;
use crate::ws::Fault;

const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
/// A text frame with a reserved bit.
const BROKEN: [u8; 6] = [0xc1, 0x80, 0, 0, 0, 0];
const HALF_OF_CLOSE_TIMEOUT_NS: u64 = UNIT as u64;

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum Last {
    Close,
    CloseAndEof,
    Broken,
    Eof,
    Stop,
}

impl Last {
    const ALL: [Last; 5] = [Last::Close, Last::CloseAndEof, Last::Broken, Last::Eof, Last::Stop];

    fn happen(self, world: &mut World, conn: ConnId) {
        let now = world.now;
        let hub = &mut world.hubs[0];
        match self {
            Last::Close => hub.handle_bytes(conn, &mut CLOSE.to_vec(), now),
            Last::CloseAndEof => {
                hub.handle_bytes(conn, &mut CLOSE.to_vec(), now);
                hub.handle_eof(conn, now);
            }
            Last::Broken => hub.handle_bytes(conn, &mut BROKEN.to_vec(), now),
            Last::Eof => hub.handle_eof(conn, now),
            Last::Stop => hub.handle_shutdown(now),
        }
    }

    fn code(self) -> Option<u16> {
        match self {
            Last::Close | Last::CloseAndEof => Some(1000),
            Last::Broken => Some(1002),
            Last::Eof => None,
            Last::Stop => Some(1001),
        }
    }
}

/// Whether the connection is to be ended, and how.
fn ending(world: &mut World) -> Option<Ending> {
    let effects = std::iter::from_fn(|| world.hubs[0].poll_effect());
    effects
        .filter_map(|effect| match effect {
            Effect::Disconnect { ending, .. } => Some(ending),
            Effect::PauseReading { .. }
            | Effect::ResumeReading { .. }
            | Effect::Report { .. }
            | Effect::Name { .. } => None,
        })
        .last()
}

/// A connection with one request of each kind that waits for the other shard.
fn asking(world: &mut World) -> ConnId {
    let conn = world.connect(0, 0);
    let other = of_home(1);
    let batch = format!("[{}]", publish(other, "2"));
    for text in [publish(other, "1"), batch, subscribe(&format!("topic.{other}"))] {
        world.hubs[0].handle_bytes(conn, &mut frame(&text), world.now);
    }
    conn
}

#[test]
fn what_another_shard_answers_comes_before_the_end_however_it_comes_about() {
    for last in Last::ALL {
        let mut world = World::new(2);
        let conn = asking(&mut world);
        last.happen(&mut world, conn);
        world.hubs[0].handle_bytes(conn, &mut frame(&publish(of_home(1), "9")), world.now);
        assert_eq!(world.texts(0, conn), Vec::<serde_json::Value>::new(), "{last:?}");
        assert_eq!(ending(&mut world), None, "{last:?}");
        world.carry();
        let mut told = world.texts(0, conn);
        let close = last.code().map(|code| serde_json::json!({ "close": code }));
        assert_eq!(told.split_off(3), Vec::from_iter(close), "{last:?}");
        let seqs: Vec<_> = told.iter().filter_map(|reply| reply["result"]["seq"].as_u64()).collect();
        let in_batch: Vec<_> = told.iter().filter_map(|reply| reply[0]["result"]["seq"].as_u64()).collect();
        assert_eq!((seqs, in_batch), (vec![1], vec![2]), "{last:?}");
        let channels = serde_json::json!([format!("topic.{}", of_home(1))]);
        assert!(told.iter().any(|reply| reply["result"] == channels), "{last:?}");
        assert_eq!(ending(&mut world), Some(Ending::Graceful), "{last:?}");
        world.hubs[0].handle_closed(conn, world.now);
        world.carry();
        assert_eq!(world.hubs[0].occupancy().total(), 0, "{last:?}");
    }
}

#[test]
fn who_ends_after_a_notification_is_let_go_once_the_other_shard_has_it() {
    let mut world = World::new(2);
    let conn = world.connect(0, 0);
    let text = publish(of_home(1), "1").replace(r#""id":2,"#, "");
    world.hubs[0].handle_bytes(conn, &mut frame(&text), world.now);
    world.hubs[0].handle_eof(conn, world.now);
    assert_eq!(ending(&mut world), None);
    world.carry();
    assert_eq!(ending(&mut world), Some(Ending::Graceful));
}

#[test]
fn an_answer_that_does_not_come_holds_the_end_for_half_of_the_close_timeout_and_no_longer() {
    for last in Last::ALL {
        let mut world = World::new(2);
        let conn = asking(&mut world);
        let begun = world.now;
        last.happen(&mut world, conn);
        world.now = begun.plus_ns(HALF_OF_CLOSE_TIMEOUT_NS - 1);
        world.hubs[0].handle_timeout(world.now);
        assert_eq!((world.texts(0, conn).len(), ending(&mut world)), (0, None), "{last:?}");
        world.now = begun.plus_ns(HALF_OF_CLOSE_TIMEOUT_NS + limits::WHEEL_SLOT_NS);
        world.hubs[0].handle_timeout(world.now);
        let close = last.code().map(|code| serde_json::json!({ "close": code }));
        assert_eq!(world.texts(0, conn), Vec::from_iter(close), "{last:?}");
        assert_eq!(ending(&mut world), Some(Ending::Graceful), "{last:?}");
        // What comes after it is told nobody.
        world.carry();
        assert_eq!(world.texts(0, conn), Vec::<serde_json::Value>::new(), "{last:?}");
        world.now = begun.plus_ns(2 * HALF_OF_CLOSE_TIMEOUT_NS + limits::WHEEL_SLOT_NS);
        world.hubs[0].handle_timeout(world.now);
        assert_eq!(ending(&mut world), Some(Ending::Abort), "{last:?}");
        world.hubs[0].handle_closed(conn, world.now);
        world.carry();
        assert_eq!(world.hubs[0].occupancy().total(), 0, "{last:?}");
    }
}

#[test]
fn who_does_not_read_is_not_waited_for_and_ends_for_the_reason_that_was_first() {
    for (last, code, reason) in [
        (Last::Eof, 1013, Incident::Closed(Closing::Shed)),
        (Last::Broken, 1002, Incident::Broken(Fault::ReservedBits)),
    ] {
        let mut world = World::new(2);
        let conn = asking(&mut world);
        last.happen(&mut world, conn);
        world.hubs[0].begin_close(conn, Closing::Shed);
        assert_eq!(world.texts(0, conn), [serde_json::json!({ "close": code })], "{last:?}");
        let counted: Vec<_> = world.hubs[0].incidents().each().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(reason, 1)], "{last:?}");
        assert_eq!(ending(&mut world), Some(Ending::Graceful), "{last:?}");
        world.carry();
        assert_eq!(world.texts(0, conn), Vec::<serde_json::Value>::new(), "{last:?}");
    }
}
