//! Clients behind a proxy: whom the proxy says that they are is who counts, is shown and is refused; nobody else is believed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use rustls::StreamOwned;
use rustls::version::TLS13;
use serde_json::{Value, json};

use crate::bytes::{self, TEST};
use crate::client::Client;
use crate::control;
use crate::reload::reload;
use crate::server::{Ended, Server};
use crate::tls::{self, Pair};

/// Of loopback, as everything here: those from 127.0.0.1 are proxies.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const BY_HEADER: &str = "[[listen]]\nproxies = [\"127.0.0.1\"]\n";
const BY_FIELD: &str = "[[listen]]\nproxies = [\"127.0.0.1\"]\nproxy_header = \"x-forwarded-for\"\n";

/// A header of the PROXY protocol, version 2, with a TLV behind the addresses.
fn header(client: [u8; 4], port: u16) -> Vec<u8> {
    let tlv = [0x04, 0, 2, 0, 0];
    let addresses =
        [&client[..], &[127, 0, 0, 1], &port.to_be_bytes(), &443_u16.to_be_bytes(), &tlv].concat();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0", &[u8::try_from(addresses.len()).unwrap()][..], &addresses].concat()
}

/// A connection of the proxy's, for this client.
fn proxied(address: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = bytes::connect(address);
    stream.write_all(header).unwrap();
    stream
}

/// The status line of the answer to an upgrade.
fn status(stream: &mut TcpStream, fields: &[&str]) -> String {
    let fields = [&["Sec-WebSocket-Version: 13"], fields].concat();
    stream.write_all(&bytes::request("GET /ws HTTP/1.1", &fields)).unwrap();
    bytes::read_head(stream).lines().next().unwrap().to_owned()
}

fn peers(server: &Server) -> Vec<String> {
    let told = control::get(server, "/api/connections").json();
    let rows = told["connections"].as_array().unwrap();
    let mut peers: Vec<String> = rows.iter().map(|row| row["peer"].as_str().unwrap().to_owned()).collect();
    peers.sort();
    peers
}

fn end(server: Server) -> Ended {
    let ended = server.stop();
    ended.assert_clean();
    ended
}

#[test]
fn the_client_that_a_header_tells_is_shown_and_counts_for_its_own_address() {
    let server = control::start(&format!("{BY_HEADER}[limits]\nconnections_per_address_max = 2\n"));
    let texts =
        [&b"PROXY TCP4 198.51.100.1 127.0.0.1 7 443\r\n"[..], b"PROXY TCP6 2001:db8::7 ::1 8 443\r\n"];
    let headers =
        [header([192, 0, 2, 7], 1), header([192, 0, 2, 7], 2)].into_iter().chain(texts.map(<[u8]>::to_vec));
    let mut streams: Vec<TcpStream> = headers.map(|header| proxied(server.address, &header)).collect();
    for stream in &mut streams {
        assert!(status(stream, &[]).starts_with("HTTP/1.1 101 "));
    }
    let expected = ["192.0.2.7:1", "192.0.2.7:2", "198.51.100.1:7", "[2001:db8::7]:8"];
    assert_eq!(peers(&server), expected);
    let mut third = proxied(server.address, &header([192, 0, 2, 7], 3));
    assert!(status(&mut third, &[]).starts_with("HTTP/1.1 429 "));
    // A health check of the proxy's own, with what it writes for that.
    let mut check = proxied(server.address, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    check.write_all(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(bytes::read_head(&mut check).starts_with("HTTP/1.1 200 "));
    drop((streams, third, check));
    assert_eq!(end(server).incidents("address_full"), 1);
}

#[test]
fn a_header_may_come_byte_by_byte_and_with_all_that_follows() {
    let server = control::start(BY_HEADER);
    let whole = [header([192, 0, 2, 7], 1), bytes::upgrade_request()].concat();
    let mut one = bytes::connect(server.address);
    whole.iter().for_each(|byte| one.write_all(&[*byte]).unwrap());
    let mut other = proxied(server.address, &whole);
    for stream in [&mut one, &mut other] {
        assert!(bytes::read_head(stream).starts_with("HTTP/1.1 101 "));
    }
    assert_eq!(peers(&server), ["192.0.2.7:1", "192.0.2.7:1"]);
    drop((one, other));
    end(server);
}

#[test]
fn a_trusted_proxy_has_to_send_the_header_and_is_cut_off_without() {
    let server = Server::start(BY_HEADER, "0");
    let mut malformed = header([192, 0, 2, 7], 1);
    malformed[12] = 0x31;
    for first in [&bytes::upgrade_request()[..], b"\x16\x03\x01\0\x05", b"PROXY TCP4 nobody\r\n", &malformed]
    {
        let mut stream = proxied(server.address, first);
        let mut told = Vec::new();
        // Ended, or reset since there is more than was read.
        let _ = stream.read_to_end(&mut told);
        assert_eq!(told, b"", "nothing is said");
    }
    // One that connects and goes, as checks of a port do, is none.
    drop(bytes::connect(server.address));
    let ended = end(server);
    assert_eq!((ended.incidents("proxy_header_missing"), ended.incidents("proxy_header_malformed")), (2, 2));
}

#[test]
fn a_header_that_does_not_come_whole_is_cut_off_at_the_deadline() {
    let server = Server::start(&format!("{BY_HEADER}[limits]\nhandshake_timeout_ms = 50\n"), "0");
    for part in [&b""[..], &header([192, 0, 2, 7], 1)[..20]] {
        let mut stream = proxied(server.address, part);
        let mut told = Vec::new();
        let _ = stream.read_to_end(&mut told);
        assert_eq!(told, b"");
    }
    assert_eq!(end(server).incidents("proxy_header_timeout"), 2);
}

#[test]
fn who_is_no_proxy_is_a_client_by_its_own_address_whatever_it_says_of_others() {
    for listen in [BY_HEADER, BY_FIELD] {
        let server = control::start(listen);
        let mut plain = bytes::connect_from(STRANGER, server.address);
        assert!(status(&mut plain, &["X-Forwarded-For: 192.0.2.7"]).starts_with("HTTP/1.1 101 "));
        assert_eq!(peers(&server), [plain.local_addr().unwrap().to_string()]);
        for forged in [&header([192, 0, 2, 7], 1)[..], b"PROXY TCP4 192.0.2.7 127.0.0.1 1 443\r\n"] {
            let mut stream = bytes::connect_from(STRANGER, server.address);
            stream.write_all(forged).unwrap();
            let answer = bytes::read_head(&mut stream);
            assert!(answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 505 "), "{answer}");
        }
        drop(plain);
        end(server);
    }
}

#[test]
fn the_client_that_a_field_tells_is_shown_and_counts_for_its_own_address() {
    let server = control::start(&format!("{BY_FIELD}[limits]\nconnections_per_address_max = 1\n"));
    let mut streams: Vec<TcpStream> = (0..4).map(|_| bytes::connect(server.address)).collect();
    let asked: Vec<String> = streams
        .iter_mut()
        .zip(["192.0.2.7", "192.0.2.8", "192.0.2.7", "192.0.2.7, 198.51.100.1"])
        .map(|(stream, list)| status(stream, &[&format!("X-Forwarded-For: {list}")]))
        .collect();
    let codes: Vec<&str> = asked.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(codes, ["101", "101", "429", "101"]);
    let shown = peers(&server);
    for expected in ["192.0.2.7:0", "192.0.2.8:0", "198.51.100.1:0"] {
        assert!(shown.iter().any(|peer| peer == expected), "{shown:?}");
    }
    drop(streams);
    end(server);
}

#[test]
fn a_header_comes_before_tls_and_before_frames_of_binary_tcp() {
    let pair = Pair::new();
    let more = "[[listen]]\naddress = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nproxies = [\"127.0.0.0/8\"]\n";
    let server = pair.server_by("proxies = [\"127.0.0.1\"]", "0", more);
    let [secure, framed]: [SocketAddr; 2] = server.addresses[..].try_into().unwrap();
    let config = pair.client(&[&TLS13]);
    let socket = proxied(secure, &header([192, 0, 2, 7], 1));
    let mut stream = StreamOwned::new(tls::connection(&config), socket);
    stream.write_all(&bytes::upgrade_request()).unwrap();
    assert!(bytes::read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    let message = [&u32::try_from(TEST.len()).unwrap().to_be_bytes()[..], TEST.as_bytes()].concat();
    let mut stream_of_frames = proxied(framed, &[header([192, 0, 2, 8], 1), message].concat());
    let mut length = [0; 4];
    stream_of_frames.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream_of_frames.read_exact(&mut answer).unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["id"], 7);
    drop((stream, stream_of_frames));
    end(server);
}

#[test]
fn log_ins_that_fail_count_for_the_client_and_the_demo_key_is_for_nobody_behind_a_proxy() {
    let server = Server::start(&format!("{BY_HEADER}[auth]\nfailures_per_minute_max = 1\n"), "0");
    let client = |last, port| Client::over(proxied(server.address, &header([192, 0, 2, last], port)));
    let wrong = json!({"grant_type": "client_credentials", "client_id": "nobody", "client_secret": "wrong"});
    let code =
        |client: &mut Client, params: &Value| client.request("public/auth", params)["error"]["code"].clone();
    let mut one = client(7, 1);
    assert_eq!((code(&mut one, &wrong), code(&mut one, &wrong)), (json!(13004), json!(10028)));
    let mut same = client(7, 2);
    assert_eq!(code(&mut same, &wrong), json!(10028), "on another connection of its own");
    let mut other = client(8, 1);
    let demo =
        json!({"grant_type": "client_credentials", "client_id": "demo", "client_secret": "demo-secret"});
    assert_eq!(code(&mut other, &demo), json!(13004), "it is for clients of this host");
    for client in [one, same, other] {
        client.close();
    }
    end(server);
}

#[test]
fn which_proxies_are_trusted_holds_for_who_comes_after_a_reload() {
    let mut server = Server::start("", "0");
    let mut plain = bytes::connect(server.address);
    assert!(status(&mut plain, &[]).starts_with("HTTP/1.1 101 "));
    let told = reload(&mut server, BY_HEADER, "from now on: ");
    assert!(told.contains("listen.proxies"), "{told}");
    crate::until("the shard has taken it", || {
        let mut stream = bytes::connect(server.address);
        stream.write_all(&bytes::upgrade_request()).unwrap();
        let mut told = Vec::new();
        let mut byte = [0];
        // Either it is answered, or ended without a word.
        while !told.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
            told.push(byte[0]);
        }
        told.is_empty()
    });
    plain.write_all(&bytes::frame(bytes::FIN | bytes::TEXT, TEST.as_bytes())).unwrap();
    assert_eq!(bytes::read_frame(&mut plain).head, bytes::FIN | bytes::TEXT, "who was there stays");
    drop(plain);
    end(server);
}
