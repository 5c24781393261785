//! A process that the kernel puts aside at any moment goes on where it was: no wake-up is lost, neither of its own nor
//! between its threads.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::client::Client;
use crate::server::Server;

const PAUSES: u64 = 300;
const PAUSE: Duration = Duration::from_millis(1);

fn pause_again_and_again(flags: &[&str]) {
    let server = Server::start_with("", "0,1", flags);
    let mut clients: Vec<Client> = (0..8).map(|_| Client::connect(server.address)).collect();
    clients.iter_mut().for_each(|client| client.subscribe("topic.paused"));
    let (_silent, nobody) = mpsc::channel::<()>();
    for number in 1..=PAUSES {
        server.signal(Signal::SIGSTOP);
        // Sent while it stands, so that it wakes to work.
        let publisher = usize::try_from(number).unwrap() % clients.len();
        clients[publisher].send("topic/publish", &json!({"topic": "paused", "data": number}));
        // The pause itself: longer than any slice of time that the server reckons with.
        assert_eq!(nobody.recv_timeout(PAUSE), Err(RecvTimeoutError::Timeout));
        server.signal(Signal::SIGCONT);
        clients[publisher].settle(1);
        for client in &mut clients {
            assert_eq!(client.note()["seq"], number);
        }
    }
    drop(clients);
    server.stop().assert_clean();
}

#[test]
fn a_server_that_parks_goes_on_after_each_pause() {
    pause_again_and_again(&[]);
}

#[test]
fn a_server_that_polls_goes_on_after_each_pause() {
    pause_again_and_again(&["--busy-poll"]);
}
