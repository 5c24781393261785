//! Opens many connections at the same time, each as far as its dialect's last word before the load, and tells how long each
//! took. Home: the load thread.
//! Invariants: a connection counts as open when its server has answered the upgrade and everything that the dialect says
//! before all else; nothing that a server sends on its own account is waited for.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};

use memchr::memmem;

use crate::clock::{self, SECOND_NS};
use crate::failure::{Doing, Failure, Result};
use crate::frame;
use crate::histogram::Latencies;
use crate::peers::words::{Step, Words};
use crate::swarm::{Moved, Plug, Ready, Receiving, Swarm};
use crate::wire;

/// The longest wait for all of them.
const DEADLINE_NS: u64 = 60 * SECOND_NS;
/// Connections opened before the next look at those that are under way.
const OPENED_PER_LOOK: usize = 32;
/// Events taken by one look.
const EVENTS: usize = 1_024;
/// Bytes that one connection may have received before it is open.
const RECEIVED_BYTES_MAX: usize = 64 * 1024;
/// The loopback network of these clients.
const NETWORK: u8 = 40;

/// How many, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) connections: usize,
    /// Under way at the same time.
    pub(crate) at_once: usize,
    pub(crate) are_subscribers: bool,
}

/// What became of them.
pub(crate) struct Gathered {
    pub(crate) lines: Vec<TcpStream>,
    /// From the begin of each connect.
    pub(crate) latencies: Latencies,
    /// Why some are not open, by kind.
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) elapsed_ns: u64,
    /// Of which this side had something to do.
    pub(crate) busy_ns: u64,
}

impl Gathered {
    /// The connections, if all are open.
    pub(crate) fn complete(self) -> Result<Vec<TcpStream>> {
        match self.errors.iter().next() {
            None => Ok(self.lines),
            Some((kind, count)) => {
                let open = self.lines.len();
                Err(Failure::Protocol(format!("{open} connections were opened; {count} were not: {kind}")))
            }
        }
    }
}

/// Opens them.
pub(crate) fn gather(server: SocketAddr, words: &Words, wanted: Wanted) -> Result<Gathered> {
    let mut gathering = Gathering::new(server, words, wanted)?;
    let deadline_ns = gathering.started_ns + DEADLINE_NS;
    let mut ready = Vec::new();
    while !gathering.is_done() {
        gathering.open_some()?;
        let wait_ms = if gathering.may_open() { 0 } else { 100 };
        ready.clear();
        let waited_from_ns = clock::mono_ns();
        gathering.swarm.wait(wait_ms, &mut ready)?;
        let now_ns = clock::mono_ns();
        gathering.idle_ns += now_ns - waited_from_ns;
        for event in &ready {
            gathering.attend(event)?;
        }
        if deadline_ns < now_ns {
            let missing = gathering.callers.iter().flatten().count();
            gathering.gathered.errors.insert("no answer within a minute".to_owned(), missing as u64);
            break;
        }
    }
    Ok(gathering.end())
}

struct Gathering {
    swarm: Swarm,
    steps: Vec<Step>,
    upgrade: String,
    wanted: Wanted,
    callers: Vec<Option<Caller>>,
    under_way: usize,
    started_ns: u64,
    idle_ns: u64,
    gathered: Gathered,
}

/// One connection on its way.
struct Caller {
    plug: Plug,
    began_ns: u64,
    stage: Stage,
    received: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Upgrading,
    /// The answer to this step is waited for.
    Step(usize),
    Open,
}

impl Gathering {
    fn new(server: SocketAddr, words: &Words, wanted: Wanted) -> Result<Gathering> {
        Ok(Gathering {
            swarm: Swarm::new(server, NETWORK, EVENTS)?,
            steps: words.steps(wanted.are_subscribers),
            upgrade: words.upgrade(&server.to_string(), wire::KEY),
            wanted,
            callers: Vec::with_capacity(wanted.connections),
            under_way: 0,
            started_ns: clock::mono_ns(),
            idle_ns: 0,
            gathered: Gathered {
                lines: Vec::with_capacity(wanted.connections),
                latencies: Latencies::new(),
                errors: BTreeMap::new(),
                elapsed_ns: 0,
                busy_ns: 0,
            },
        })
    }

    fn is_done(&self) -> bool {
        self.under_way == 0 && self.callers.len() == self.wanted.connections
    }

    fn may_open(&self) -> bool {
        self.callers.len() < self.wanted.connections && self.under_way < self.wanted.at_once
    }

    fn open_some(&mut self) -> Result<()> {
        for _ in 0..OPENED_PER_LOOK {
            if !self.may_open() {
                return Ok(());
            }
            let began_ns = clock::mono_ns();
            let plug = self.swarm.open(self.callers.len() as u64, Receiving::Usual)?;
            self.callers.push(Some(Caller {
                plug,
                began_ns,
                stage: Stage::Connecting,
                received: Vec::new(),
            }));
            self.under_way += 1;
        }
        Ok(())
    }

    fn attend(&mut self, event: &Ready) -> Result<()> {
        let index = usize::try_from(event.key).expect("invariant: keys are indexes");
        let Some(mut caller) = self.callers[index].take() else { return Ok(()) };
        match self.advance(&mut caller, event) {
            Err(Failure::Protocol(kind)) => {
                *self.gathered.errors.entry(kind).or_default() += 1;
                self.under_way -= 1;
            }
            Err(failure) => return Err(failure),
            Ok(()) if caller.stage == Stage::Open => {
                self.gathered.latencies.record(clock::mono_ns() - caller.began_ns);
                self.under_way -= 1;
                let stream = caller.plug.into_stream();
                stream.set_nonblocking(false).doing("O_NONBLOCK")?;
                self.gathered.lines.push(stream);
            }
            Ok(()) => self.callers[index] = Some(caller),
        }
        Ok(())
    }

    fn advance(&self, caller: &mut Caller, event: &Ready) -> Result<()> {
        if caller.stage == Stage::Connecting {
            caller.plug.connected().map_err(|kind| Failure::Protocol(format!("connect: {kind}")))?;
            if event.is_ended {
                return Err(Failure::Protocol("the connect was reset".to_owned()));
            }
            say(caller, self.upgrade.as_bytes())?;
            caller.stage = Stage::Upgrading;
        }
        let mut chunk = [0; 4096];
        loop {
            match caller.plug.read(&mut chunk) {
                Moved::Bytes(bytes) => caller.received.extend_from_slice(&chunk[..bytes]),
                Moved::Nothing => break,
                Moved::End => return Err(Failure::Protocol("closed before it was open".to_owned())),
                Moved::Broken(kind) => return Err(Failure::Protocol(format!("before it was open: {kind}"))),
            }
        }
        if RECEIVED_BYTES_MAX < caller.received.len() {
            return Err(Failure::Protocol("flooded before it was open".to_owned()));
        }
        self.take_received(caller)
    }

    fn take_received(&self, caller: &mut Caller) -> Result<()> {
        if caller.stage == Stage::Upgrading {
            let Some(end) = memmem::find(&caller.received, b"\r\n\r\n") else { return Ok(()) };
            check_answer(&caller.received[..end + 2])?;
            caller.received.drain(..end + 4);
            self.begin_step(caller, 0)?;
        }
        while let Stage::Step(step) = caller.stage {
            let header = frame::decode(&caller.received);
            let header = header.map_err(|fault| Failure::Protocol(format!("{fault:?}")))?;
            let Some(header) = header.filter(|header| header.frame_bytes() <= caller.received.len()) else {
                return Ok(());
            };
            let payload = &caller.received[header.header_bytes..header.frame_bytes()];
            if header.opcode == frame::CLOSE {
                let code = frame::close_code(payload);
                return Err(Failure::Protocol(format!("closed with {code:?} before it was open")));
            }
            let is_answer = memmem::find(payload, self.steps[step].expect.as_bytes()).is_some();
            let told = (!is_answer).then(|| String::from_utf8_lossy(payload).into_owned());
            caller.received.drain(..header.frame_bytes());
            if let Some(told) = told.filter(|told| told.contains("error") || told.contains("-ERR")) {
                return Err(Failure::Protocol(told));
            }
            if is_answer {
                self.begin_step(caller, step + 1)?;
            }
        }
        if caller.received.is_empty() {
            return Ok(());
        }
        Err(Failure::Protocol("bytes followed an answer that nothing should follow".to_owned()))
    }

    /// Says this step and those behind it that wait for nothing.
    fn begin_step(&self, caller: &mut Caller, first: usize) -> Result<()> {
        for step in first..self.steps.len() {
            let Step { frame, expect } = &self.steps[step];
            if !frame.is_empty() {
                say(caller, frame)?;
            }
            if !expect.is_empty() {
                caller.stage = Stage::Step(step);
                return Ok(());
            }
        }
        caller.stage = Stage::Open;
        Ok(())
    }

    fn end(mut self) -> Gathered {
        self.gathered.elapsed_ns = clock::mono_ns() - self.started_ns;
        self.gathered.busy_ns = self.gathered.elapsed_ns.saturating_sub(self.idle_ns);
        self.gathered
    }
}

/// Sends a few bytes, which an empty socket takes whole.
fn say(caller: &mut Caller, bytes: &[u8]) -> Result<()> {
    match caller.plug.write(bytes) {
        Moved::Bytes(written) if written == bytes.len() => Ok(()),
        Moved::Bytes(_) | Moved::Nothing => Err(Failure::Protocol("did not take the first bytes".to_owned())),
        Moved::End => Err(Failure::Protocol("closed before it was open".to_owned())),
        Moved::Broken(kind) => Err(Failure::Protocol(format!("before it was open: {kind}"))),
    }
}

fn check_answer(head: &[u8]) -> Result<()> {
    let accept = tungstenite::handshake::derive_accept_key(wire::KEY.as_bytes());
    if head.starts_with(b"HTTP/1.1 101 ") && memmem::find(head, accept.as_bytes()).is_some() {
        return Ok(());
    }
    let line = String::from_utf8_lossy(head).lines().next().unwrap_or_default().to_owned();
    Err(Failure::Protocol(format!("the upgrade was refused: {line}")))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    const NATS: &str = include_str!("../../dialects/nats.toml");

    fn server_frame(text: &str) -> Vec<u8> {
        let mut frame = Vec::new();
        frame::encode_server(frame::BINARY, text.as_bytes(), &mut frame);
        frame
    }

    /// Answers one connection: the upgrade with `first` in the same segment, then `second` to the first frame.
    fn answer_one(listener: &TcpListener, first: &str, second: &str) {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).unwrap();
        let accept = tungstenite::handshake::derive_accept_key(wire::KEY.as_bytes());
        let mut answer =
            format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept}\r\n\r\n")
                .into_bytes();
        answer.extend(server_frame(first));
        stream.write_all(&answer).unwrap();
        let _ = stream.read(&mut head).unwrap();
        stream.write_all(&server_frame(second)).unwrap();
        // Until the client is gone.
        let _ = stream.read(&mut head);
    }

    fn gathered(first: &'static str, second: &'static str) -> Gathered {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let answering = std::thread::spawn(move || answer_one(&listener, first, second));
        let wanted = Wanted { connections: 1, at_once: 1, are_subscribers: false };
        let gathered = gather(server, &Words::parse(NATS).unwrap(), wanted).unwrap();
        drop(gathered.lines.first().map(|line| line.shutdown(std::net::Shutdown::Both)));
        if gathered.lines.is_empty() {
            drop(TcpStream::connect(server));
        }
        answering.join().unwrap();
        gathered
    }

    #[test]
    fn a_server_that_speaks_first_is_listened_to_even_within_the_upgrade_s_segment() {
        let gathered = gathered("INFO {}\r\n", "PONG\r\n");
        assert_eq!((gathered.lines.len(), gathered.latencies.summary().count), (1, 1));
        assert!(gathered.complete().is_ok());
    }

    #[test]
    fn what_a_server_refuses_is_an_error_by_its_own_words() {
        let gathered = gathered("INFO {}\r\n", "-ERR 'maximum connections exceeded'\r\n");
        let kinds: Vec<&String> = gathered.errors.keys().collect();
        assert_eq!(kinds, ["-ERR 'maximum connections exceeded'\r\n"]);
        assert!(gathered.complete().is_err());
    }
}
