//! How links are, as clients are told.

use super::*;

fn identity(kind: LinkKind, venue: &str, link: &str) -> LinkIdentity {
    LinkIdentity { kind, venue: venue.into(), link: link.into() }
}

impl Floor {
    /// With a status of its feed and its link, which the test has to tell.
    fn watched() -> Floor {
        let mut floor = Floor::of_one(Form::Json);
        let World { market, now, .. } = &mut floor.world;
        market.add_link(SourceId::FEED, identity(LinkKind::Paper, "paper", "paper"), *now);
        market.add_link(FX, identity(LinkKind::Tcp, "fx", "fx.2"), *now);
        floor
    }

    /// So much later, what is due is told.
    fn wait(&mut self, ms: u64) {
        self.world.now = self.world.now.plus_ns(ms * 1_000_000);
        self.world.market.handle_timeout(self.world.now);
        self.run();
    }

    /// State, instruments and last reason of the link, as clients read them.
    fn status(&mut self) -> (String, u64, Option<String>) {
        let links = self.ask("public/get_venues", &json!({}))["result"].clone();
        let link = &links[1];
        assert_eq!(
            (&link["venue"], &link["link"], &link["kind"]),
            (&json!("fx"), &json!("fx.2"), &json!("tcp"))
        );
        let reason = link["last_reason"].as_str().map(str::to_owned);
        (link["state"].as_str().unwrap().to_owned(), link["instruments"].as_u64().unwrap(), reason)
    }
}

#[test]
fn clients_read_how_links_are() {
    let mut floor = Floor::watched();
    assert_eq!(floor.ask("public/get_venues", &json!({}))["result"], json!([]), "nothing was told yet");
    floor.wait(0);
    let since = floor.world.now.unix_ns / 1_000_000;
    assert_eq!(
        floor.ask("public/get_venues", &json!({}))["result"],
        json!([
            {"venue": "paper", "link": "paper", "kind": "paper", "state": "up", "since_timestamp": since, "instruments": 1},
            {"venue": "fx", "link": "fx.2", "kind": "tcp", "state": "connecting", "since_timestamp": since, "instruments": 0},
        ])
    );
    floor.connect();
    floor.wait(1_000);
    assert_eq!(floor.status(), ("up".to_owned(), 1, None));
    floor.links[0].cut();
    floor.run();
    floor.wait(1_000);
    let closed = Some("the connection was closed".to_owned());
    assert_eq!(floor.status(), ("down".to_owned(), 0, closed.clone()));
    let note = |floor: &mut Floor, note| {
        let now = floor.world.now;
        floor.world.market.note_link(FX, note, now);
        floor.wait(1_000);
        floor.status()
    };
    assert_eq!(note(&mut floor, LinkNote::Connecting), ("connecting".to_owned(), 0, closed));
    let refused = Some("connection refused".to_owned());
    let failed = LinkNote::Failed("connection refused".into());
    assert_eq!(note(&mut floor, failed), ("down".to_owned(), 0, refused.clone()));
    assert_eq!(note(&mut floor, LinkNote::GivenUp), ("given_up".to_owned(), 0, refused.clone()));
    floor.connect();
    floor.wait(1_000);
    assert_eq!(floor.status(), ("up".to_owned(), 1, refused));
}

#[test]
fn a_link_reconciles_until_its_venue_has_told_what_became_of_each_order() {
    let mut floor = Floor::watched();
    floor.connect();
    floor.links[0].venue.is_slow = true;
    floor.buy("a");
    floor.run();
    floor.links[0].cut();
    floor.run();
    floor.connect();
    floor.wait(1_000);
    assert_eq!(floor.status().0, "reconciling");
    floor.links[0].venue.answer_waiting();
    floor.run();
    floor.wait(1_000);
    assert_eq!(floor.status().0, "up");
}

#[test]
fn links_that_change_all_the_time_are_told_of_once_in_a_while_and_in_the_end() {
    let mut floor = Floor::watched();
    let mut told = 0;
    for round in 0..40 {
        floor.world.market.note_link(FX, LinkNote::Connecting, floor.world.now);
        if round % 2 == 0 {
            floor.world.market.note_link(FX, LinkNote::Failed(round.to_string().into()), floor.world.now);
        }
        floor.world.now = floor.world.now.plus_ns(100_000_000);
        floor.world.market.handle_timeout(floor.world.now);
        floor.world.market.seal();
        while let Some(outgoing) = floor.world.market.poll_mesh() {
            told +=
                outgoing.batch.records.iter().filter(|record| matches!(record, Record::Links { .. })).count();
            floor.world.hubs[0].handle_batch(HomeId(1), &outgoing.batch, floor.world.now);
        }
    }
    assert_eq!(told, 4);
    let due_ns = floor.world.market.poll_timeout().unwrap();
    assert!(due_ns <= floor.world.now.mono_ns + limits::LINK_STATUS_NS);
    floor.wait(1_000);
    assert_eq!(floor.status(), ("connecting".to_owned(), 0, Some("38".to_owned())));
    assert_eq!(floor.world.market.poll_timeout(), None, "nothing has changed since");
}

#[test]
fn a_shard_that_missed_how_links_are_is_told_after_its_gap() {
    let mut floor = Floor::watched();
    floor.world.market.handle_lag(HomeId(0));
    floor.wait(0);
    assert_eq!(floor.world.hubs[0].cache().links(), []);
    floor.world.market.handle_room(HomeId(0));
    floor.run();
    assert_eq!(floor.status().0, "connecting");
}

#[test]
fn a_peer_s_long_words_are_shortened() {
    let mut floor = Floor::watched();
    floor.connect();
    let now = floor.world.now;
    let bye = format!("{{\"type\":\"bye\",\"reason\":\"{}\"}}\n", "é".repeat(120));
    floor.links[0].session.handle_bytes(bye.as_bytes(), now);
    floor.run();
    floor.wait(1_000);
    let reason = floor.status().2.unwrap();
    assert!(reason.starts_with("ended by the peer: éé"), "{reason}");
    assert!((limits::LINK_REASON_BYTES_MAX - 1..=limits::LINK_REASON_BYTES_MAX).contains(&reason.len()));
}
