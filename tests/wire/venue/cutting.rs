//! A link that is cut after so many bytes, again and again, between two processes that know nothing of it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::thread;

use nix::sys::socket::{setsockopt, sockopt};
use serde_json::{Value, json};

use super::{INSTRUMENT, PaperVenue, await_market, far_below, trader, waiting};
use crate::client::Client;
use crate::server::Server;
use crate::until;

/// Carries bytes between who connects and the gateway, and cuts after so many of both directions together.
struct Cutter {
    address: SocketAddr,
    cuts: Arc<AtomicU32>,
    /// From here on nothing is cut any more.
    is_over: Arc<AtomicBool>,
}

impl Cutter {
    fn start(gateway: SocketAddr) -> Cutter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (cuts, is_over) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, ends) = (Arc::clone(&cuts), Arc::clone(&is_over));
        thread::spawn(move || {
            for venue in listener.incoming().map_while(Result::ok) {
                let Ok(gateway) = TcpStream::connect(gateway) else { return };
                let nth = counted.load(Ordering::SeqCst);
                // Greetings, instruments and books are some 3,000 bytes: some cuts come before their end.
                let budget = if ends.load(Ordering::SeqCst) {
                    i64::MAX
                } else {
                    i64::from(100 + nth * 1_487 % 20_011)
                };
                carry(&venue, &gateway, budget);
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Cutter { address, cuts, is_over }
    }
}

/// Until the budget is used up or a side has closed.
fn carry(one: &TcpStream, other: &TcpStream, budget: i64) {
    let budget = Arc::new(AtomicI64::new(budget));
    for stream in [one, other] {
        stream.set_nodelay(true).unwrap();
        // What is under way is lost, as in a crash.
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(stream, sockopt::Linger, &linger).unwrap();
    }
    thread::scope(|scope| {
        for (from, to) in [(one, other), (other, one)] {
            let budget = Arc::clone(&budget);
            scope.spawn(move || {
                pump(from, to, &budget);
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    });
}

fn pump(mut from: &TcpStream, mut to: &TcpStream, budget: &AtomicI64) {
    let mut bytes = [0; 512];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let left = budget.fetch_sub(i64::try_from(count).unwrap(), Ordering::SeqCst);
        let Ok(left) = usize::try_from(left) else { return };
        if to.write_all(&bytes[..count.min(left)]).is_err() || left <= count {
            return;
        }
    }
}

/// What a client was told at last of an order with this label.
fn settled_state(client: &mut Client, label: &str) -> Value {
    let mut state = Value::Null;
    until("no order is in doubt any more", || {
        let reply =
            client.request("private/get_order_state_by_label", &json!({"currency": "any", "label": label}));
        state = reply["result"][0].clone();
        state["order_state"] != "unknown"
    });
    state
}

#[test]
fn orders_over_a_link_that_is_cut_all_the_time_are_neither_lost_nor_doubled() {
    for form in [&[][..], &["--binary"]] {
        let mut server = Server::start(
            &waiting("[orders]\ncredits_per_s = 0\nopen_max = 10000\nremembered_max = 10000\n"),
            "0,1",
        );
        let cutter = Cutter::start(server.venue_addresses[0]);
        let to = cutter.address.to_string();
        let venue = PaperVenue::start(
            &[&["--connect", &to, "--instruments", "2", "--retry-delay-ms", "5"], form].concat(),
        );
        server.wait_for_log("venue link paper: takes orders of");
        let mut client = trader(server.address);
        let (mut asked, mut doubts, mut refused) = (Vec::new(), 0, 0);
        let mut price = 0;
        for number in 0.. {
            if cutter.cuts.load(Ordering::SeqCst) > 60 {
                break;
            }
            await_market(&mut client, "open");
            if price == 0 {
                price = far_below(&mut client);
            }
            let label = format!("order {number}");
            let params = if number % 5 != 0 {
                json!({"instrument_name": INSTRUMENT, "amount": 10, "type": "market", "label": label})
            } else {
                json!({"instrument_name": INSTRUMENT, "amount": 10, "price": price, "label": label})
            };
            let reply = client.request("private/buy", &params);
            match reply["error"]["code"].as_u64() {
                None => assert!(reply["result"]["order"]["order_id"].is_string(), "{reply}"),
                Some(20_001) => doubts += 1,
                // Not sent.
                Some(13_028 | 20_002) => {
                    refused += 1;
                    continue;
                }
                Some(_) => panic!("{reply}"),
            }
            asked.push(label);
        }
        // The connection that stands may be cut yet; no later one is.
        cutter.is_over.store(true, Ordering::SeqCst);
        await_market(&mut client, "open");
        println!("{} orders, {doubts} in doubt, {refused} refused", asked.len());
        let mut bought = 0.0;
        let mut resting = 0;
        for label in &asked {
            let state = settled_state(&mut client, label);
            bought += state["filled_amount"].as_f64().unwrap_or(0.0);
            resting += usize::from(state["order_state"] == "open");
        }
        let position = client.call("private/get_position", &json!({"instrument_name": INSTRUMENT}));
        assert_eq!(position["size"].as_f64().unwrap_or(0.0), bought, "each fill counts once");
        let open = client.call("private/get_open_orders", &json!({}));
        assert_eq!(open.as_array().unwrap().len(), resting);
        // What the gateway holds to be open the venue has: it can be cancelled there, once the last cut is over.
        until("all are cancelled", || {
            client.request("private/cancel_all", &json!({}));
            client.call("private/get_open_orders", &json!({})) == json!([])
        });
        assert!(doubts > 0, "cuts meet orders");
        server.stop().assert_clean();
        assert_eq!(venue.stop(), Some(0));
    }
}
