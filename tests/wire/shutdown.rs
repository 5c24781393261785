//! SIGTERM: every client is told, then the process ends well.

use nix::sys::signal::Signal;

use crate::bytes;
use crate::client::{Client, End};
use crate::server::Server;

const CLIENTS: usize = 500;

#[test]
fn every_client_is_told_that_the_server_goes_away() {
    for (cores, signal) in [("0", Signal::SIGTERM), ("0,1", Signal::SIGINT)] {
        let server = Server::start("", cores);
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(server.address)).collect();
        clients.iter_mut().take(20).for_each(|client| client.subscribe("ticker.BTC-PERPETUAL.raw"));
        let mut half = bytes::connect(server.address);
        server.signal(signal);
        for mut client in clients {
            let End::Close { code, reason } = client.read_to_end(|_| ()) else { panic!("no close frame") };
            assert_eq!(code, 1001, "{reason}");
        }
        assert_eq!(bytes::read_to_end(&mut half), b"");
        let ended = server.wait();
        ended.assert_clean();
    }
}
