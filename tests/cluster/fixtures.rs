//! What the servers and proxies of these tests do is what they say.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::link::Link;
use crate::nats_client::NatsClient;
use crate::nats_server::{NatsServer, ReservedPort};
use crate::{DEADLINE, until};

/// Long enough to see that nothing comes: what would come takes some microseconds.
const SILENCE: Duration = Duration::from_millis(100);

fn make_stream(client: &mut NatsClient, replicas: u32) {
    let wanted = json!({"name": "S", "subjects": ["s.*"], "num_replicas": replicas, "storage": "file"});
    let made = client.ask("$JS.API.STREAM.CREATE.S", &wanted.to_string());
    assert_eq!(made["config"]["name"], "S", "{made}");
}

/// Has a message in the stream, whose place is given.
fn store(client: &mut NatsClient, text: &str) -> u64 {
    let stored = client.ask("s.x", text);
    stored["seq"].as_u64().unwrap_or_else(|| panic!("{stored}"))
}

fn messages_in_stream(client: &mut NatsClient) -> u64 {
    client.ask("$JS.API.STREAM.INFO.S", "")["state"]["messages"].as_u64().unwrap()
}

fn is_silent(stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let came = stream.peek(&mut [0]);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    matches!(came, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_server_that_is_killed_is_on_its_port_with_its_store_again() {
    for mut server in [NatsServer::start(""), NatsServer::start_that_syncs_always("")] {
        let address = server.address();
        let mut client = NatsClient::connect(address);
        make_stream(&mut client, 1);
        assert_eq!(store(&mut client, "before"), 1);
        server.kill();
        assert_eq!(client.message(), None, "a killed server ends its connections");
        assert!(is_refused(address));
        server.restart();
        assert_eq!(server.address(), address);
        let mut client = NatsClient::connect(address);
        assert_eq!(messages_in_stream(&mut client), 1);
        assert_eq!(store(&mut client, "after"), 2);
        server.stop();
        assert!(is_refused(address));
    }
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_server_takes_more_configuration() {
    let server = NatsServer::start("max_payload: 5000");
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let mut info = [0; 2000];
    let count = stream.read(&mut info).unwrap();
    let info = String::from_utf8_lossy(&info[..count]).into_owned();
    assert!(info.contains("\"max_payload\":5000,") && info.contains("\"jetstream\":true"), "{info}");
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_server_that_is_paused_answers_when_it_goes_on() {
    let server = NatsServer::start("");
    let mut client = NatsClient::connect(server.address());
    client.subscribe("x");
    server.pause();
    client.publish("x", "1");
    let mut came = [0; 100];
    client.stream().set_read_timeout(Some(SILENCE)).unwrap();
    let count = client.stream().peek(&mut came).unwrap_or(0);
    // A ping may have come before it was put aside.
    assert!(!String::from_utf8_lossy(&came[..count]).contains("MSG"));
    client.stream().set_read_timeout(Some(DEADLINE)).unwrap();
    server.resume();
    assert_eq!(client.told().payload, b"1");
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn three_servers_go_on_without_one() {
    let mut servers = NatsServer::start_three();
    let mut client = NatsClient::connect(servers[0].address());
    make_stream(&mut client, 3);
    assert_eq!(store(&mut client, "to all"), 1);
    let leader = client.ask("$JS.API.STREAM.INFO.S", "")["cluster"]["leader"].clone();
    // Not the one that the client speaks to, nor the leader: nobody has to be elected.
    let follower = if leader == "n1" { 2 } else { 1 };
    servers[follower].kill();
    assert_eq!(store(&mut client, "to two"), 2);
    servers[follower].restart();
    let is_current = |client: &mut NatsClient| {
        let told = client.ask("$JS.API.STREAM.INFO.S", "");
        let replicas = told["cluster"]["replicas"].as_array().unwrap().clone();
        replicas.iter().all(|replica| replica["current"] == true && replica["offline"] != true)
    };
    until("the one that was killed has what it missed", || is_current(&mut client));
    assert_eq!(messages_in_stream(&mut client), 2);
}

#[test]
fn a_port_that_is_reserved_is_listened_on_again_and_again() {
    let port = ReservedPort::new();
    for _ in 0..3 {
        assert!(is_refused(port.address()));
        let listener = TcpListener::bind(port.address()).unwrap();
        let client = TcpStream::connect(port.address()).unwrap();
        // Its server closes first, as one that is killed: its connection waits in the kernel for a while.
        drop(listener.accept().unwrap());
        drop((client, listener));
    }
}

/// A server that answers what it hears, to see a link by itself.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    address
}

fn echoed(stream: &mut TcpStream, bytes: &[u8]) {
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| writer.write_all(bytes).unwrap());
        let mut heard = vec![0; bytes.len()];
        stream.read_exact(&mut heard).unwrap();
        assert!(heard == bytes);
    });
}

#[test]
fn a_link_passes_all_bytes_in_order_and_the_end() {
    let link = Link::to(echo());
    for _ in 0..3 {
        let mut stream = TcpStream::connect(link.address()).unwrap();
        let bytes: Vec<u8> =
            (0..1_000_000_u32).flat_map(|number| (number >> (number % 9)).to_le_bytes()).collect();
        echoed(&mut stream, &bytes);
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn a_link_that_is_cut_says_nothing_and_loses_nothing() {
    let link = Link::to(echo());
    let mut stream = TcpStream::connect(link.address()).unwrap();
    echoed(&mut stream, b"before");
    for _ in 0..2 {
        link.cut();
        stream.write_all(b"meanwhile").unwrap();
        let mut newcomer = TcpStream::connect(link.address()).unwrap();
        newcomer.write_all(b"new").unwrap();
        assert!(is_silent(&stream) && is_silent(&newcomer));
        link.restore();
        let mut heard = [0; 9];
        stream.read_exact(&mut heard).unwrap();
        newcomer.read_exact(&mut heard[..3]).unwrap();
        assert_eq!(&heard, b"newnwhile");
        echoed(&mut stream, b"after");
    }
}

#[test]
fn a_link_that_refuses_resets_and_serves_again() {
    let link = Link::to(echo());
    let mut stream = TcpStream::connect(link.address()).unwrap();
    echoed(&mut stream, b"before");
    link.refuse();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(is_refused(link.address()));
    link.restore();
    echoed(&mut TcpStream::connect(link.address()).unwrap(), b"after");
}

#[test]
fn a_link_to_nobody_resets_who_connects() {
    let nobody = ReservedPort::new();
    let link = Link::to(nobody.address());
    let mut stream = TcpStream::connect(link.address()).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "that it is no faster than it can be is judged, not how fast it is"
)]
fn a_link_that_delays_passes_all_that_much_later() {
    const DELAY: Duration = Duration::from_millis(50);
    let link = Link::to(echo());
    let mut stream = TcpStream::connect(link.address()).unwrap();
    link.delay(DELAY);
    let began = Instant::now();
    echoed(&mut stream, &[7; 1_000_000]);
    assert!(began.elapsed() >= 2 * DELAY);
    link.restore();
    echoed(&mut stream, b"after");
}
