//! Raw bytes over a socket: what a well-behaved client library can't be made to send.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;

use nix::libc::linger;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt};

use serde::de::IgnoredAny;

use crate::DEADLINE;

pub(crate) const TEXT: u8 = 1;
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The last frame of a message has this bit in its first byte.
pub(crate) const FIN: u8 = 0x80;

pub(crate) const TEST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"public/test"}"#;

/// A frame as the server has sent it.
#[derive(Debug, PartialEq)]
pub(crate) struct Frame {
    /// With the bit `FIN`.
    pub(crate) head: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The code of a close frame.
    pub(crate) fn close_code(&self) -> Option<u16> {
        let begin = &self.payload[..self.payload.len().min(200)];
        assert_eq!(self.head, FIN | CLOSE, "{}", String::from_utf8_lossy(begin));
        self.payload.first_chunk().map(|code| u16::from_be_bytes(*code))
    }
}

pub(crate) fn set_deadlines(stream: &TcpStream) {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    set_deadlines(&stream);
    stream.set_nodelay(true).unwrap();
    stream
}

/// A connection from another address of loopback, as if from another machine.
pub(crate) fn connect_from(source: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let fd = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddrV4::new(source, 0))).unwrap();
    socket::connect(fd.as_raw_fd(), &SockaddrStorage::from(address)).unwrap();
    let stream = TcpStream::from(fd);
    set_deadlines(&stream);
    stream
}

/// A connection whose reader's window is as small as the kernel allows.
pub(crate) fn connect_narrow(address: SocketAddr) -> TcpStream {
    let fd = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&fd, sockopt::RcvBuf, &4096).unwrap();
    socket::connect(fd.as_raw_fd(), &SockaddrStorage::from(address)).unwrap();
    let stream = TcpStream::from(fd);
    set_deadlines(&stream);
    stream
}

/// Ends a connection by a reset: what was not sent or read is dropped.
pub(crate) fn reset(stream: TcpStream) {
    set_reset_on_close(&stream);
    drop(stream);
}

pub(crate) fn set_reset_on_close(stream: &TcpStream) {
    setsockopt(stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 }).unwrap();
}

pub(crate) fn upgrade_request() -> Vec<u8> {
    request("GET /ws HTTP/1.1", &["Sec-WebSocket-Version: 13"])
}

/// A request with the usual fields of an upgrade but the version, which is among `fields`.
pub(crate) fn request(line: &str, fields: &[&str]) -> Vec<u8> {
    request_of("localhost", line, fields)
}

/// The same of a client that calls the server so.
pub(crate) fn request_of(host: &str, line: &str, fields: &[&str]) -> Vec<u8> {
    let mut text = format!("{line}\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n");
    text.push_str("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    fields.iter().for_each(|field| text.push_str(&format!("{field}\r\n")));
    text.push_str("\r\n");
    text.into_bytes()
}

/// Reads an HTTP head, up to its empty line.
pub(crate) fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap_or_else(|error| {
            panic!("{error} after {}", String::from_utf8_lossy(&head));
        });
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A connection after its upgrade.
pub(crate) fn open(address: SocketAddr) -> TcpStream {
    upgraded(connect(address))
}

/// The same over a socket that is connected.
pub(crate) fn upgraded(stream: TcpStream) -> TcpStream {
    upgraded_by(&upgrade_request(), stream)
}

/// The same by a request that is to be granted.
pub(crate) fn upgraded_by(request: &[u8], mut stream: TcpStream) -> TcpStream {
    stream.write_all(request).unwrap();
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream
}

/// A client's frame, masked. `head` is the first byte: `FIN` and the operation.
pub(crate) fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = header(head, payload.len(), 0x80);
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A frame without a mask, which no client may send.
pub(crate) fn unmasked_frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(head, payload.len(), 0);
    bytes.extend(payload);
    bytes
}

pub(crate) fn header(head: u8, len: usize, mask_bit: u8) -> Vec<u8> {
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short), _) if short < 126 => vec![head, mask_bit | short],
        (_, Ok(medium)) => [&[head, mask_bit | 126][..], &medium.to_be_bytes()].concat(),
        _ => [&[head, mask_bit | 127][..], &(len as u64).to_be_bytes()].concat(),
    }
}

/// Reads one frame of the server on an endpoint that speaks JSON.
pub(crate) fn read_frame(stream: &mut impl Read) -> Frame {
    let frame = read_any_frame(stream);
    if frame.head == FIN | TEXT {
        check_json(&frame.payload);
    }
    frame
}

/// Every text that the server sends on such an endpoint is JSON to a parser that shares no code with it.
pub(crate) fn check_json(text: &[u8]) {
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(text) {
        panic!("{error} in {}", String::from_utf8_lossy(text));
    }
}

/// Reads one frame of the server, whatever it says.
pub(crate) fn read_any_frame(stream: &mut impl Read) -> Frame {
    let mut start = [0; 2];
    stream.read_exact(&mut start).unwrap();
    let len = match start[1] {
        126 => {
            let mut len = [0; 2];
            stream.read_exact(&mut len).unwrap();
            u64::from(u16::from_be_bytes(len))
        }
        127 => {
            let mut len = [0; 8];
            stream.read_exact(&mut len).unwrap();
            u64::from_be_bytes(len)
        }
        short => u64::from(short),
    };
    assert!(len < 1 << 24, "a frame of {len} bytes: a server does not mask");
    let mut payload = vec![0; usize::try_from(len).unwrap()];
    stream.read_exact(&mut payload).unwrap();
    Frame { head: start[0], payload }
}

/// Reads until the server ends the connection, in whichever way.
pub(crate) fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the server does not end the connection: {error}"),
    }
    all
}

/// Whether nothing has come, without waiting for it.
pub(crate) fn is_silent(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}
