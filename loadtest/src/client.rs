//! The client side: a blocking upgrade, one blocking connection, and many connections on one ring.
//! Home: the load thread. It answers pings, takes unfragmented messages only, and treats everything else as the
//! server's fault, since a load measured over a broken protocol is worth nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use memchr::memmem;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn, bind, socket};

use crate::clock::{self, SECOND_NS};
use crate::failure::{Doing, Failure, Result};
use crate::frame::{self, FrameFault, Framing};
use crate::ring::{self, Event, Ring, Slot, Wait};
use crate::secure::{self, Codec, Line, Target};
use crate::swarm::source_address;
use crate::wire;

/// The longest wait for one step of a handshake or for one reply outside a measurement.
pub(crate) const STEP_DEADLINE_NS: u64 = 5 * SECOND_NS;
/// The loopback network of many clients.
const NETWORK: u8 = 20;
/// An upgrade answer, in bytes; more than that is no answer.
const UPGRADE_BYTES_MAX: usize = 8 * 1024;

/// Connects and upgrades, blocking, each step within its deadline.
pub(crate) fn connect(target: impl Into<Target>) -> Result<Line> {
    connect_asking(target, "")
}

/// The same with further header fields in the upgrade, each with its line's end.
pub(crate) fn connect_asking(target: impl Into<Target>, fields: &str) -> Result<Line> {
    let target = target.into();
    let stream = TcpStream::connect_timeout(&target.address, Duration::from_nanos(STEP_DEADLINE_NS))
        .doing("connect")?;
    upgrade_line(stream, target, fields)
}

fn upgrade_line(stream: TcpStream, target: Target, fields: &str) -> Result<Line> {
    stream.set_nodelay(true).doing("TCP_NODELAY")?;
    stream.set_read_timeout(Some(Duration::from_nanos(STEP_DEADLINE_NS))).doing("SO_RCVTIMEO")?;
    let mut line = Line::over(stream, target.security)?;
    if line.framing == Framing::WebSocket {
        ask_for_upgrade(&mut line, target.address, fields)?;
    }
    Ok(line)
}

/// Connects, blocking, from `source`.
pub(crate) fn connect_from(source: Ipv4Addr, address: SocketAddr) -> Result<TcpStream> {
    let SocketAddr::V4(address) = address else {
        return Err(Failure::Unmet("the source addresses are those of the IPv4 loopback".to_owned()));
    };
    let kind = SockType::Stream;
    let descriptor = socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None).doing("socket")?;
    let from = SockaddrIn::from(SocketAddrV4::new(source, 0));
    bind(descriptor.as_raw_fd(), &from).doing("bind the source address")?;
    socket::connect(descriptor.as_raw_fd(), &SockaddrIn::from(address)).doing("connect")?;
    Ok(TcpStream::from(descriptor))
}

/// Upgrades a connected socket to WebSocket.
pub(crate) fn upgrade(mut stream: TcpStream, address: SocketAddr) -> Result<TcpStream> {
    stream.set_read_timeout(Some(Duration::from_nanos(STEP_DEADLINE_NS))).doing("SO_RCVTIMEO")?;
    ask_for_upgrade(&mut stream, address, "")?;
    Ok(stream)
}

fn ask_for_upgrade(stream: &mut (impl Read + Write), address: SocketAddr, fields: &str) -> Result<()> {
    let request = wire::upgrade_request(&address.to_string(), fields);
    stream.write_all(request.as_bytes()).doing("send the upgrade")?;
    let mut answer = Vec::new();
    // Nothing may follow the answer: the server speaks only after we have.
    while !answer.ends_with(b"\r\n\r\n") {
        let mut chunk = [0; 1024];
        let bytes = match stream.read(&mut chunk) {
            // The end of an earlier ring interrupts blocking calls of its thread.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.doing("receive the upgrade's answer")?,
        };
        if bytes == 0 || UPGRADE_BYTES_MAX < answer.len() {
            return Err(Failure::Protocol("the server closed or flooded the upgrade".to_owned()));
        }
        answer.extend_from_slice(&chunk[..bytes]);
    }
    let accept = tungstenite::handshake::derive_accept_key(wire::KEY.as_bytes());
    if !answer.starts_with(b"HTTP/1.1 101 ") || memmem::find(&answer, accept.as_bytes()).is_none() {
        let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
        return Err(Failure::Protocol(format!("the upgrade was refused: {line}")));
    }
    Ok(())
}

/// One connection of its own, for probes and for ping-pong.
pub(crate) struct Single {
    line: Line,
    received: Vec<u8>,
    consumed_bytes: usize,
}

impl Single {
    pub(crate) fn connect(target: impl Into<Target>) -> Result<Single> {
        Single::connect_asking(target, "")
    }

    /// The same with further header fields in the upgrade.
    pub(crate) fn connect_asking(target: impl Into<Target>, fields: &str) -> Result<Single> {
        Single::over(connect_asking(target, fields)?)
    }

    /// Connection `number` of many: from a source address of its own, as clients are elsewhere.
    pub(crate) fn connect_as(number: usize, target: Target) -> Result<Single> {
        Single::connect_as_asking(number, target, "")
    }

    /// The same with further header fields in the upgrade.
    pub(crate) fn connect_as_asking(number: usize, target: Target, fields: &str) -> Result<Single> {
        let number = u32::try_from(number).expect("invariant: a run has far fewer clients");
        let stream = connect_from(source_address(NETWORK, number), target.address)?;
        Single::over(upgrade_line(stream, target, fields)?)
    }

    fn over(line: Line) -> Result<Single> {
        line.stream.set_nonblocking(true).doing("O_NONBLOCK")?;
        Ok(Single { line, received: Vec::new(), consumed_bytes: 0 })
    }

    /// Sends an encoded frame; a server that does not take it within the deadline fails the run.
    pub(crate) fn send(&mut self, frame: &[u8]) -> Result<()> {
        let mut prefixed = Vec::new();
        let frame = match self.line.framing {
            Framing::WebSocket => frame,
            Framing::LengthPrefixed => {
                frame::encode_prefixed(frame, &mut prefixed).map_err(broken)?;
                &prefixed
            }
        };
        let sent = self.line.write(frame).doing("send")?;
        if sent < frame.len() {
            return Err(Failure::Protocol("the server does not read".to_owned()));
        }
        Ok(())
    }

    /// The next message's payload, spinning until it is there.
    pub(crate) fn receive(&mut self) -> Result<&[u8]> {
        let deadline_ns = clock::mono_ns() + STEP_DEADLINE_NS;
        while !self.has_message()? {
            if deadline_ns < clock::mono_ns() {
                return Err(Failure::Deadline("a reply".to_owned()));
            }
        }
        self.take_message()
    }

    /// The next message's payload, if it is there; pings before it are answered.
    pub(crate) fn poll(&mut self) -> Result<Option<&[u8]>> {
        while self.has_message()? {
            let header = self.header()?.expect("invariant: it was seen to be whole");
            if header.opcode != frame::PING {
                return self.take_message().map(Some);
            }
            let mut pong = Vec::new();
            let payload = &self.received[header.header_bytes..header.frame_bytes()];
            frame::encode_client(frame::PONG, payload, &mut pong);
            self.consumed_bytes = header.frame_bytes();
            self.send(&pong)?;
        }
        Ok(None)
    }

    /// Whether a whole message is there, after one look at the socket where there is none.
    fn has_message(&mut self) -> Result<bool> {
        self.received.drain(..self.consumed_bytes);
        self.consumed_bytes = 0;
        if self.header()?.is_some() {
            return Ok(true);
        }
        let mut chunk = [0; 4096];
        match self.line.read(&mut chunk) {
            Ok(0) => Err(Failure::Protocol("the server closed the connection".to_owned())),
            Ok(bytes) => {
                self.received.extend_from_slice(&chunk[..bytes]);
                Ok(self.header()?.is_some())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(Failure::Io("receive", error)),
        }
    }

    /// That of the first message, if it is whole.
    fn header(&self) -> Result<Option<frame::Header>> {
        let header = self.line.framing.decode(&self.received).map_err(broken)?;
        Ok(header.filter(|header| header.frame_bytes() <= self.received.len()))
    }

    fn take_message(&mut self) -> Result<&[u8]> {
        let header = self.header()?.expect("invariant: it was seen to be whole");
        check_message(&header)?;
        self.consumed_bytes = header.frame_bytes();
        Ok(&self.received[header.header_bytes..self.consumed_bytes])
    }

    /// Sends a text message and returns the reply to it.
    pub(crate) fn ask(&mut self, text: &str) -> Result<String> {
        let mut frame = Vec::new();
        frame::encode_client(frame::TEXT, text.as_bytes(), &mut frame);
        self.send(&frame)?;
        let reply = self.receive()?;
        if !wire::is_result(reply) {
            return Err(Failure::Protocol(format!("{text} was answered {}", String::from_utf8_lossy(reply))));
        }
        Ok(String::from_utf8_lossy(reply).into_owned())
    }

    /// The connection, once nothing received is left over.
    pub(crate) fn into_line(self) -> Result<Line> {
        if self.consumed_bytes < self.received.len() {
            return Err(Failure::Protocol("bytes followed a reply that nothing should follow".to_owned()));
        }
        Ok(self.line)
    }
}

fn broken(fault: FrameFault) -> Failure {
    Failure::Protocol(format!("{fault:?}"))
}

fn check_message(header: &frame::Header) -> Result<()> {
    let is_message = header.opcode == frame::TEXT || header.opcode == frame::BINARY;
    if is_message && header.fin && header.mask.is_none() {
        return Ok(());
    }
    Err(Failure::Protocol(format!("an unexpected frame: {header:?}")))
}

/// Takes the messages to send, plain or over TLS.
pub(crate) struct Outbox<'a> {
    ring: ring::Outbox<'a>,
    framings: &'a [Framing],
    codecs: &'a mut [Codec],
    records: &'a mut Vec<u8>,
}

impl Outbox<'_> {
    pub(crate) fn send(&mut self, slot: Slot, bytes: &[u8]) -> Result<()> {
        if self.framings[slot] == Framing::LengthPrefixed {
            self.records.clear();
            frame::encode_prefixed(bytes, self.records).map_err(broken)?;
            return self.ring.send(slot, self.records);
        }
        let Some(codec) = &mut self.codecs[slot] else { return self.ring.send(slot, bytes) };
        self.records.clear();
        secure::protect(codec, bytes, self.records)?;
        self.ring.send(slot, self.records)
    }
}

/// Many connections on one ring.
pub(crate) struct Clients {
    ring: Ring,
    framings: Vec<Framing>,
    codecs: Vec<Codec>,
    /// What one message is put into, and what was taken out of what came.
    records: Vec<u8>,
    plain: Vec<u8>,
    /// Per slot, the start of a frame whose rest has not arrived.
    unfinished: Vec<Vec<u8>>,
    idle_ns: u64,
    turned_ns: u64,
}

impl Clients {
    pub(crate) fn new() -> Result<Clients> {
        Ok(Clients {
            ring: Ring::new()?,
            framings: Vec::new(),
            codecs: Vec::new(),
            records: Vec::new(),
            plain: Vec::new(),
            unfinished: Vec::new(),
            idle_ns: 0,
            turned_ns: clock::mono_ns(),
        })
    }

    /// Takes over an upgraded connection.
    pub(crate) fn add(&mut self, line: Line) -> Slot {
        self.unfinished.push(Vec::new());
        self.framings.push(line.framing);
        self.codecs.push(line.codec);
        self.ring.add(line.stream)
    }

    pub(crate) fn outbox(&mut self) -> Outbox<'_> {
        let Clients { ring, framings, codecs, records, .. } = self;
        Outbox { ring: ring.outbox(), framings, codecs, records }
    }

    /// How long the load thread has turned without finding anything: its spare capacity.
    pub(crate) fn idle_ns(&self) -> u64 {
        self.idle_ns
    }

    /// One spinning turn; `handle` gets every message. Returns the time at its start.
    pub(crate) fn turn(
        &mut self,
        mut handle: impl FnMut(&mut Outbox<'_>, Slot, &[u8]) -> Result<()>,
    ) -> Result<u64> {
        let now_ns = clock::mono_ns();
        let Clients { ring, framings, codecs, records, plain, unfinished, .. } = self;
        let count = ring.turn(Wait::Spin, |outbox, event| match event {
            Event::Received(slot, bytes) => {
                let bytes = match &mut codecs[slot] {
                    None => bytes,
                    Some(codec) => {
                        plain.clear();
                        secure::open(codec, bytes, plain)?;
                        plain.as_slice()
                    }
                };
                let mut outbox = Outbox { ring: outbox.reborrow(), framings, codecs, records };
                take(&mut outbox, slot, &mut unfinished[slot], bytes, &mut handle)
            }
            Event::Closed(slot, _) => Err(Failure::Protocol(format!("the server closed connection {slot}"))),
            Event::Accepted(_) | Event::Connected(_) => unreachable!("it neither listens nor connects"),
        })?;
        if count == 0 {
            self.idle_ns += now_ns - self.turned_ns;
        }
        self.turned_ns = now_ns;
        Ok(now_ns)
    }
}

fn take(
    outbox: &mut Outbox<'_>,
    slot: Slot,
    unfinished: &mut Vec<u8>,
    bytes: &[u8],
    handle: &mut impl FnMut(&mut Outbox<'_>, Slot, &[u8]) -> Result<()>,
) -> Result<()> {
    if unfinished.is_empty() {
        let consumed = take_frames(outbox, slot, bytes, handle)?;
        unfinished.extend_from_slice(&bytes[consumed..]);
    } else {
        unfinished.extend_from_slice(bytes);
        let consumed = take_frames(outbox, slot, unfinished, handle)?;
        unfinished.drain(..consumed);
    }
    Ok(())
}

fn take_frames(
    outbox: &mut Outbox<'_>,
    slot: Slot,
    bytes: &[u8],
    handle: &mut impl FnMut(&mut Outbox<'_>, Slot, &[u8]) -> Result<()>,
) -> Result<usize> {
    let mut consumed = 0;
    loop {
        let rest = &bytes[consumed..];
        let header = outbox.framings[slot].decode(rest).map_err(broken)?;
        let Some(header) = header.filter(|header| header.frame_bytes() <= rest.len()) else {
            return Ok(consumed);
        };
        let payload = &rest[header.header_bytes..header.frame_bytes()];
        consumed += header.frame_bytes();
        if header.opcode == frame::PING {
            let mut pong = Vec::new();
            frame::encode_client(frame::PONG, payload, &mut pong);
            outbox.send(slot, &pong)?;
        } else if header.opcode == frame::CLOSE {
            let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
            let code = frame::close_code(payload);
            return Err(Failure::Protocol(format!("the server closed connection {slot}: {code:?} {reason}")));
        } else {
            check_message(&header)?;
            handle(outbox, slot, payload)?;
        }
    }
}
