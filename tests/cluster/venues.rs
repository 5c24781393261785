//! A venue of another process at nodes that own a market one after the other: it goes by the latest fence, a node that owns again is another run
//! of the gateway to it, and one that follows lets it not in and sleeps.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::mpsc::Receiver;

use serde_json::json;

use crate::client::Client;
use crate::link::Link;
use crate::nats_server::NatsServer;
use crate::server::{Killed, Server, lines_of, number_after, tickring};
use crate::{DEADLINE, until};

/// Of both ends of a link: no test waits for a silence, and a link that is cut since the machine is busy would be another story.
const HEARTBEAT_MS: &str = "5000";

/// `tickring paper-venue`, and the lines that it says.
struct PaperVenue {
    _child: Killed,
    lines: Receiver<String>,
}

impl PaperVenue {
    fn start(flags: &[&str]) -> PaperVenue {
        let mut command = tickring();
        command
            .env("TICKRING_VENUE_KEY", "s3cret")
            .args(["paper-venue", "--heartbeat-ms", HEARTBEAT_MS])
            .args(flags);
        let mut child = Killed(command.stdout(Stdio::piped()).spawn().unwrap());
        let lines = lines_of(child.0.stdout.take().unwrap());
        PaperVenue { _child: child, lines }
    }

    /// One that waits for gateways, and where.
    fn listening() -> (PaperVenue, String) {
        let venue = PaperVenue::start(&["--listen", "127.0.0.1:0"]);
        let address = venue.line().strip_prefix("paper venue listens on ").unwrap().to_owned();
        (venue, address)
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("it says no more")
    }

    /// What it says up to the first line that begins so, and that line.
    fn lines_up_to(&self, beginning: &str) -> Vec<String> {
        let mut lines = vec![self.line()];
        while !lines.last().unwrap().starts_with(beginning) {
            lines.push(self.line());
        }
        lines
    }
}

/// A node of a cluster by itself, with a venue and nothing else.
fn start(nats: &str, cluster: &str, node: &str, venue: &str) -> Server {
    let toml = format!(
        "[feed]\nkind = \"none\"\n\n[cluster]\nkind = \"nats\"\nservers = [\"{nats}\"]\nname = \"{cluster}\"\nnode = \"{node}\"\nterm_ms = 1000\n\n\
         [venue.paper]\nkey = \"s3cret\"\nheartbeat_ms = {HEARTBEAT_MS}\nretry_delay_ms = 10\n{venue}\n"
    );
    Server::start_with(&toml, "0", &["--control", "127.0.0.1:0"])
}

/// Waits until the node owns; by which fence.
fn fence_of(node: &mut Server) -> u64 {
    number_after(&node.wait_for_log("this node owns the market from here on"), "(fence ")
}

const TAKES_ORDERS: &str = "venue link paper: takes orders of 12 instruments";

/// A metric of the thread of the venue.
fn metric(address: SocketAddr, name: &str) -> u64 {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    number_after(&answer, &format!("{name}{{thread=\"venue\"}} "))
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_gateway_of_an_older_fence_is_sent_away_by_the_venue_and_stays_away_until_it_owns_anew() {
    let nats = NatsServer::start("");
    let (venue, address) = PaperVenue::listening();
    let connect = format!("connect = [{address:?}]");
    // Each cluster has a bucket of its own, so fences of its own: a node that believes to own what another does.
    let mut newest = 0;
    for run in 0..2 {
        let mut owner = start(&nats.url(), "one", "a", &connect);
        newest = fence_of(&mut owner);
        owner.wait_for_log(TAKES_ORDERS);
        assert_eq!(owner.stop().code, Some(0));
        let told = venue.lines_up_to("disconnected: ");
        assert_eq!(
            (&*told[1], told.len()),
            ("welcomed, begins anew", if run == 0 { 3 } else { 4 }),
            "{told:?}"
        );
    }
    let mut older = start(&nats.url(), "two", "b", &connect);
    let fence = fence_of(&mut older);
    assert!(fence < newest, "the bucket is new");
    let why = format!("fence {fence} is older than {newest}");
    let said = older.wait_for_log("venue link paper: the venue has another owner");
    assert!(said.contains(&why), "{said}");
    let told = venue.lines_up_to("disconnected: ");
    assert_eq!((told.len(), &told[1]), (2, &format!("disconnected: {why}")), "{told:?}");
    let mut client = Client::connect(older.address);
    until("clients are told", || {
        let venues = client.call("public/get_venues", &json!({}));
        venues[0]["state"] == "given_up"
    });
    until("it is counted", || metric(older.control.unwrap(), "tickring_links_outdated_total") == 1);
    drop(client);
    assert_eq!(older.stop().code, Some(0));
    // It has come once, and comes again as an owner that is newer, or as one that is not. Numbers of two buckets may be the same: that one is not older.
    let mut owns = fence;
    while owns < newest {
        let mut again = start(&nats.url(), "two", "b", &connect);
        owns = fence_of(&mut again);
        if owns >= newest {
            again.wait_for_log(TAKES_ORDERS);
            assert_eq!(venue.lines_up_to("welcomed").len(), 2);
        } else {
            again.wait_for_log("venue link paper: the venue has another owner");
            assert_eq!(venue.lines_up_to("disconnected: ").len(), 2);
        }
        assert_eq!(again.stop().code, Some(0));
    }
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_node_that_owns_again_is_another_run_to_its_venue_which_cancels_what_the_last_one_left() {
    let nats = NatsServer::start("");
    let link = Link::to(nats.address());
    let (venue, address) = PaperVenue::listening();
    let mut node = start(&link.url(), "one", "a", &format!("connect = [{address:?}]"));
    let fence = fence_of(&mut node);
    node.wait_for_log(TAKES_ORDERS);
    let mut client = Client::connect(node.address);
    let key =
        json!({"grant_type": "client_credentials", "client_id": "demo", "client_secret": "demo-secret"});
    client.call("public/auth", &key);
    let order = json!({"instrument_name": "BTC-PERPETUAL", "amount": 10, "type": "limit", "price": 1000});
    until("its order rests", || {
        client.request("private/buy", &order)["result"]["order"]["order_state"] == "open"
    });
    link.cut();
    node.wait_for_log("this node owns the market no more");
    assert_eq!(
        venue.lines_up_to("disconnected: ").last().unwrap(),
        "disconnected: ended by the peer: stopped"
    );
    link.restore();
    // Nobody has owned in between.
    assert!(fence_of(&mut node) >= fence);
    let told = venue.lines_up_to("another run");
    assert_eq!(
        told[1..],
        ["welcomed, begins anew", "another run of the gateway: 1 orders of the last one are cancelled"]
    );
    node.wait_for_log(TAKES_ORDERS);
    drop(client);
    assert_eq!(node.stop().code, Some(0));
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_node_that_follows_lets_no_venue_in_and_sleeps() {
    let nats = NatsServer::start("");
    let mut owner = start(&nats.url(), "one", "a", "listen = \"127.0.0.1:0\"");
    fence_of(&mut owner);
    let mut follower = start(&nats.url(), "one", "b", "listen = \"127.0.0.1:0\"");
    follower.wait_for_log("cluster: this node follows a");
    let venue = PaperVenue::start(&["--connect", &follower.venue_addresses[0].to_string()]);
    // Let in, it would be welcomed before.
    let told = venue.lines_up_to("disconnected: ");
    assert_eq!(told.last().unwrap(), "disconnected: the connection was closed");
    assert!(!told.iter().any(|line| line.starts_with("welcomed")), "{told:?}");
    let parks = || metric(follower.control.unwrap(), "tickring_parks_total");
    let before = parks();
    until("its thread goes to sleep, again and again", || parks() > before + 10);
    let venue = PaperVenue::start(&["--connect", &owner.venue_addresses[0].to_string()]);
    venue.lines_up_to("welcomed, begins anew");
    owner.wait_for_log(TAKES_ORDERS);
    for node in [follower, owner] {
        assert_eq!(node.stop().code, Some(0));
    }
}
