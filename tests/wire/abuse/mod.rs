//! Each limit against a client that breaks it: what that client is told, that it is counted and logged under its name, and
//! that a good client beside it is served meanwhile. `docs/limits.md` has them all in a table.

mod opening;
mod reading;
mod secure;
mod sending;
mod table;
mod vanishing;

use std::net::{Ipv4Addr, TcpStream};

use serde_json::json;

use crate::bytes;
use crate::client::Client;
use crate::server::{Ended, Server};

/// The good client's address, and that of those who are not.
const GOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
const BAD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

/// A client that does nothing wrong.
struct Good {
    client: Client,
    published: u64,
}

impl Good {
    fn beside(server: &Server) -> Good {
        let mut client = Client::over(bytes::connect_from(GOOD, server.address));
        client.subscribe("topic.good");
        Good { client, published: 0 }
    }

    /// What it publishes it is told of, with nothing lost between.
    fn check_served(&mut self) {
        self.published += 1;
        let (_, seq) = self.client.publish("good", &json!(self.published));
        let note = self.client.note();
        assert_eq!((&note["seq"], &note["data"]), (&json!(seq), &json!(self.published)));
        assert_eq!(seq, self.published);
    }
}

/// A connection of a client that is not good, after its upgrade.
fn open(server: &Server) -> TcpStream {
    bytes::upgraded(bytes::connect_from(BAD, server.address))
}

/// Lets the good client leave, stops the server, and expects that each of these was counted so often, and logged under
/// its name with what the client was told.
fn check_told(server: Server, mut good: Good, told: &[(&str, i32, u64)]) -> Ended {
    good.check_served();
    good.client.close();
    let ended = server.stop();
    check_ended(&ended, told);
    ended
}

/// Expects an orderly end in which each of these was counted so often, and logged of a client that is not good.
fn check_ended(ended: &Ended, told: &[(&str, i32, u64)]) {
    ended.assert_clean();
    for (label, code, count) in told {
        assert_eq!(ended.incidents(label), *count, "{label}");
        let (who, what) = (format!(" at {BAD}:"), format!(": {label}, told {code}"));
        let lines = ended.lines_about(label);
        assert!(lines.iter().any(|line| line.contains(&who) && line.contains(&what)), "{lines:#?}");
    }
}
