//! More clients than the server can hold: those beyond its table of descriptors wait in the backlog and are served as
//! others leave.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use crate::bytes::{self, FIN, TEST, TEXT};
use crate::server::{self, Server};

/// A limit on descriptors that leaves room for the server's own, and so many clients in the ring's table, whose
/// descriptors are not the process's.
const HELD: usize = 40;
const CLIENTS: usize = 60;

/// Serves with few descriptors.
fn start() -> Server {
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {HELD}; exec \"$0\" serve --control off --listen 127.0.0.1:0 --cores 0");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_tickring")]);
    Server::launch(command)
}

#[test]
fn clients_beyond_the_limit_are_served_as_others_leave() {
    let server = start();
    let mut clients: Vec<Option<TcpStream>> = (0..CLIENTS).map(|_| Some(ask(&server))).collect();
    clients[..HELD].iter_mut().flatten().for_each(check_served);
    for next in HELD..CLIENTS {
        assert!(
            clients[next..].iter().flatten().all(bytes::is_silent),
            "one is served beyond the limit of {HELD}"
        );
        // Half of them leave in order, half abruptly.
        let leaving = clients[next - HELD].take().unwrap();
        if next % 2 == 0 {
            drop(leaving);
        } else {
            bytes::reset(leaving);
        }
        clients[next].as_mut().map(check_served);
    }
    drop(clients);
    let ended = server.stop();
    ended.assert_clean();
    assert_eq!(ended.of_shards("connections_opened_total"), CLIENTS as u64);
}

/// The descriptors of clients are the ring's own: a process with few descriptors serves them all the same, as far as
/// the ring's table goes, which the same limit bounds.
#[test]
fn few_descriptors_are_told_and_lived_with() {
    let mut server = start();
    let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| ask(&server)).collect();
    let warning = server.wait_for_log("limit on descriptors");
    assert!(warning.contains("ulimit -Hn"), "{warning}");
    // Each leaves when it was served, which makes room for one that waits.
    for mut client in clients {
        check_served(&mut client);
    }
    server.stop().assert_clean();
}

#[test]
fn too_little_locked_memory_is_told_in_one_line() {
    let binary = env!("CARGO_BIN_EXE_tickring");
    let mut command = Command::new("sh");
    let script = "ulimit -l 64; exec \"$0\" serve --control off --listen 127.0.0.1:0 --cores 0";
    let ended = server::run(command.args(["-c", script, binary]));
    assert_eq!((ended.code, ended.log.len()), (Some(69), 1), "{ended:?}");
    assert!(ended.log[0].contains("locked memory is 64 KiB"), "{ended:?}");
    assert!(ended.log[0].contains("ulimit -l"), "{ended:?}");
}

/// A connection that has sent its upgrade request.
fn ask(server: &Server) -> TcpStream {
    let mut stream = bytes::connect(server.address);
    stream.write_all(&bytes::upgrade_request()).unwrap();
    stream
}

fn check_served(stream: &mut TcpStream) {
    let head = bytes::read_head(stream);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream.write_all(&bytes::frame(FIN | TEXT, TEST.as_bytes())).unwrap();
    assert_eq!(bytes::read_frame(stream).head, FIN | TEXT);
}
