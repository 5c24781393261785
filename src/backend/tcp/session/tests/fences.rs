//! Gateways of nodes that own a market one after the other, at one venue.

use super::*;
use crate::backend::tcp::venue::VenueSession;

/// The owner by this fence.
fn gateway(fence: u64) -> Session {
    let config = World::new(Form::Json).gateway.config;
    Session::new(SessionConfig { gateway: format!("gw{fence}").into(), fence, ..config })
}

#[test]
fn a_venue_that_knows_a_later_owner_takes_nothing_of_an_earlier_one_and_is_left_alone() {
    for form in [Form::Json, Form::Binary] {
        let mut world = World::new(form);
        world.gateway = gateway(5);
        world.connect();
        let resting = world.place();
        world.carry();
        world.cut();
        let owner = std::mem::replace(&mut world.gateway, gateway(3));
        world.connect();
        assert_eq!(world.log.last().unwrap(), "down: fence 3 is older than 5");
        let outdated = Some(Cut::Outdated { fence: 3, newest: 5 });
        assert_eq!(world.gateway.outdated(), outdated);
        let refused = world.place();
        assert_eq!(world.seen[&refused].told, Told::Rejected(OrderRefusal::VenueUnavailable));
        // Nor is it greeted again.
        world.connect();
        assert_eq!(world.gateway.counters.welcomed_total, 1);
        assert_eq!(world.log.last().unwrap(), "down: fence 3 is older than 5");
        // Who owns goes on where it was, and the next owner takes over from it.
        world.gateway = owner;
        world.connect();
        assert_eq!(world.gateway.counters.resumed_total, 1);
        world.venue.fill(resting, LOT);
        world.carry();
        world.check_agreement();
        assert_eq!(world.venue.executed, [resting]);
        world.cut();
        for (fence, is_taken) in [(6, true), (5, false), (6, true), (0, false)] {
            world.gateway = gateway(fence);
            world.connect();
            assert_eq!(world.gateway.outdated().is_none(), is_taken, "{fence}");
            world.cut();
        }
    }
}

#[test]
fn a_link_that_is_configured_anew_asks_its_venue_again() {
    let mut world = World::new(Form::Json);
    world.gateway = gateway(3);
    world.venue.session = VenueSession::new(Engine::config(Form::Json, 0));
    world.connect();
    world.venue.session.tell(&Message::Bye { reason: "no".into(), fence: 4 }, &[]);
    world.carry();
    let hello = |session: &str| Hello {
        version: 2,
        venue: "fx".into(),
        key: "secret".into(),
        session: session.into(),
        peer: "".into(),
        next: 1,
        heartbeat_ms: HEARTBEAT_MS,
    };
    assert_eq!(world.gateway.refusal(&hello("b")), world.gateway.outdated());
    assert!(world.gateway.outdated().is_some());
    world.cut();
    world.gateway.set_config(world.gateway.config.clone());
    assert_eq!((world.gateway.refusal(&hello("b")), world.gateway.outdated()), (None, None));
    world.connect();
    assert_eq!(world.gateway.refusal(&hello("b")), Some(Cut::Held));
}

#[test]
fn a_venue_is_told_the_fence_in_a_version_that_has_it() {
    for (version, expected) in [(1, "}\n"), (2, ",\"fence\":7}\n")] {
        let mut gateway = gateway(7);
        let now = World::new(Form::Json).now;
        gateway.handle_connected(now);
        let hello = HELLO.replace("\"version\":1", &format!("\"version\":{version}"));
        gateway.handle_bytes(format!("{hello}\n").as_bytes(), now);
        let said = String::from_utf8(gateway.unsent().to_vec()).unwrap();
        let welcome = format!(
            "{{\"type\":\"welcome\",\"version\":{version},\"gateway\":\"gw7\",\"session\":\"gw7.1\",\"next\":1,\"resumed\":false,\"heartbeat_ms\":1000"
        );
        assert_eq!(said, welcome + expected);
    }
}

#[test]
fn a_farewell_with_no_later_fence_than_ones_own_is_a_farewell() {
    let mut world = World::new(Form::Json);
    world.gateway = gateway(7);
    for fence in [0, 6, 7] {
        world.connect();
        world.venue.session.tell(&Message::Bye { reason: "night".into(), fence }, &[]);
        world.carry();
        assert_eq!(world.log.last().unwrap(), "down: ended by the peer: night");
        assert_eq!(world.gateway.outdated(), None);
        world.cut();
    }
}
