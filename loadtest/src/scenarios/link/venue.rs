//! The venue at the other end of the link: a socket that the gateway connects to, greetings, commands in, reports out.
//! Home: the load thread, which spins on it. Invariant: commands come numbered without a gap, else the run fails.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::client::STEP_DEADLINE_NS;
use crate::clock::{self, MILLISECOND_NS};
use crate::failure::{Doing, Failure, Result};
use crate::link::{self, Heard};
use crate::server;

/// How often it says that it is there, which also acknowledges: a quarter of what it promises.
const BEAT_NS: u64 = link::HEARTBEAT_MS as u64 * MILLISECOND_NS / 4;

/// A command that was asked for, with the bytes that it came in.
pub(crate) struct Command<'a> {
    pub(crate) order: u64,
    pub(crate) bytes: &'a [u8],
}

/// See the file's head.
pub(crate) struct Venue {
    stream: TcpStream,
    received: Vec<u8>,
    consumed_bytes: usize,
    /// Of the next command, and of the next report.
    next: u64,
    said: u64,
    beat_due_ns: u64,
    out: Vec<u8>,
}

impl Venue {
    /// Awaits the gateway's connection and says hello; the welcome is awaited, the market told.
    pub(crate) fn greet(listener: &TcpListener) -> Result<Venue> {
        let stream = accept(listener)?;
        stream.set_nodelay(true).doing("TCP_NODELAY")?;
        stream.set_nonblocking(true).doing("O_NONBLOCK")?;
        let mut venue = Venue {
            stream,
            received: Vec::new(),
            consumed_bytes: 0,
            next: 1,
            said: 1,
            beat_due_ns: 0,
            out: Vec::new(),
        };
        link::write_hello(&clock::unix_ns().to_string(), &mut venue.out);
        venue.flush()?;
        let deadline_ns = clock::mono_ns() + STEP_DEADLINE_NS;
        while venue.heard()?.map(|(heard, _)| heard) != Some(Heard::Welcome) {
            check(deadline_ns, "the gateway's welcome")?;
        }
        link::write_market(clock::unix_ns() / MILLISECOND_NS, &mut venue.out);
        venue.flush()?;
        venue.beat()?;
        Ok(venue)
    }

    /// Says that it is there, if that is due, and hears who else is.
    pub(crate) fn idle(&mut self) -> Result<()> {
        self.beat()?;
        match self.heard()? {
            None | Some((Heard::Heartbeat, _)) => Ok(()),
            Some((heard, _)) => Err(Failure::Protocol(format!("unasked on the venue link: {heard:?}"))),
        }
    }

    /// Says that it is there, if that is due.
    pub(crate) fn beat(&mut self) -> Result<()> {
        let now_ns = clock::mono_ns();
        if now_ns < self.beat_due_ns {
            return Ok(());
        }
        self.beat_due_ns = now_ns + BEAT_NS;
        link::write_heartbeat(self.next, &mut self.out);
        self.flush()
    }

    /// The next command, spinning until it is there.
    pub(crate) fn receive(&mut self) -> Result<Command<'_>> {
        let deadline_ns = clock::mono_ns() + STEP_DEADLINE_NS;
        let (order, length) = loop {
            match self.heard()? {
                None => check(deadline_ns, "a command on the venue link")?,
                Some((Heard::Heartbeat, _)) => {}
                Some((Heard::New { seq, order } | Heard::Cancel { seq, order }, length))
                    if seq == self.next =>
                {
                    self.next += 1;
                    break (order, length);
                }
                Some((heard, _)) => {
                    return Err(Failure::Protocol(format!("{heard:?} where command {} is due", self.next)));
                }
            }
        };
        let bytes = &self.received[self.consumed_bytes - length..self.consumed_bytes];
        Ok(Command { order, bytes })
    }

    /// Answers a `new`.
    pub(crate) fn accept_order(&mut self, order: u64) -> Result<()> {
        link::write_accepted(self.said, order, &mut self.out);
        self.said += 1;
        self.flush()
    }

    /// Answers a `cancel`.
    pub(crate) fn cancel_order(&mut self, order: u64) -> Result<()> {
        link::write_cancelled(self.said, order, &mut self.out);
        self.said += 1;
        self.flush()
    }

    /// What was said next, with its bytes' count, after one look at the socket at most.
    fn heard(&mut self) -> Result<Option<(Heard, usize)>> {
        if let Some(heard) = self.taken()? {
            return Ok(Some(heard));
        }
        self.received.drain(..self.consumed_bytes);
        self.consumed_bytes = 0;
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(Failure::Protocol("the gateway closed the venue link".to_owned())),
            Ok(bytes) => {
                self.received.extend_from_slice(&chunk[..bytes]);
                self.taken()
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(Failure::Io("receive on the venue link", error)),
        }
    }

    /// The next whole message of what is received.
    fn taken(&mut self) -> Result<Option<(Heard, usize)>> {
        let rest = &self.received[self.consumed_bytes..];
        let Some(header) = link::decode(rest)? else { return Ok(None) };
        let heard = link::read(&rest[..header.message_bytes])?;
        self.consumed_bytes += header.message_bytes;
        Ok(Some((heard, header.message_bytes)))
    }

    fn flush(&mut self) -> Result<()> {
        let sent = self.stream.write(&self.out).doing("send on the venue link")?;
        if sent < self.out.len() {
            return Err(Failure::Protocol("the gateway does not read the venue link".to_owned()));
        }
        self.out.clear();
        Ok(())
    }
}

/// Awaits a connection, blocking for its time at most.
fn accept(listener: &TcpListener) -> Result<TcpStream> {
    listener.set_nonblocking(true).doing("O_NONBLOCK")?;
    let deadline_ns = clock::mono_ns() + STEP_DEADLINE_NS;
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Ok(stream),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                check(deadline_ns, "the gateway's connection to the venue")?;
                server::sleep_ns(MILLISECOND_NS);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::Io("accept the venue link", error)),
        }
    }
}

fn check(deadline_ns: u64, what: &str) -> Result<()> {
    if deadline_ns < clock::mono_ns() { Err(Failure::Deadline(what.to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a gateway would say first, on a connection to a venue.
    fn greeted(said: &[u8]) -> Result<Venue> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut gateway = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut welcome = Vec::new();
        link::write_welcome(&mut welcome);
        welcome.extend_from_slice(said);
        gateway.write_all(&welcome).unwrap();
        let mut venue = Venue::greet(&listener)?;
        let mut hello = [0; 6];
        gateway.read_exact(&mut hello).unwrap();
        assert_eq!((hello[0], hello[5]), (1, link::HELLO));
        venue.receive().map(drop)?;
        Ok(venue)
    }

    #[test]
    fn a_command_out_of_its_turn_fails_the_run() {
        let mut command = vec![0x11, 0, 0, 0, link::CANCEL, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(greeted(&command).unwrap().next, 2);
        link::set_seq(2, &mut command);
        assert!(matches!(greeted(&command), Err(Failure::Protocol(_))));
    }
}
