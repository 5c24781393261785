//! A backend that says back what it is told: JSON-RPC in lines over TCP, on the load thread itself, which spins on it. Home: the load
//! thread. Invariant: each call that comes is answered once, by its own parameters, or the run fails.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use memchr::{memchr, memmem};

use crate::failure::{Doing, Failure, Result};
use crate::wire;

/// What one look at a link takes at most.
const READ_BYTES: usize = 64 * 1024;
const ID: &[u8] = br#""id":"#;
const PARAMS: &[u8] = br#""params":"#;

/// See the file's head.
pub(super) struct Backend {
    listener: TcpListener,
    links: Vec<Link>,
    chunk: Vec<u8>,
    /// Calls that were answered.
    pub(super) calls: u64,
    /// Connections that ever were.
    pub(super) accepted: u64,
}

struct Link {
    stream: TcpStream,
    received: Vec<u8>,
    unsent: Vec<u8>,
}

impl Backend {
    pub(super) fn bind() -> Result<Backend> {
        let listener = TcpListener::bind("127.0.0.1:0").doing("bind")?;
        listener.set_nonblocking(true).doing("O_NONBLOCK")?;
        Ok(Backend { listener, links: Vec::new(), chunk: vec![0; READ_BYTES], calls: 0, accepted: 0 })
    }

    pub(super) fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().doing("getsockname")
    }

    /// One look at everything; how many calls were answered.
    pub(super) fn turn(&mut self) -> Result<u64> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true).doing("O_NONBLOCK")?;
                stream.set_nodelay(true).doing("TCP_NODELAY")?;
                self.accepted += 1;
                self.links.push(Link { stream, received: Vec::new(), unsent: Vec::new() });
            }
            Err(error) if is_later(&error) => {}
            Err(error) => return Err(Failure::Io("accept a link", error)),
        }
        let before = self.calls;
        let mut nth = 0;
        while nth < self.links.len() {
            match self.links[nth].turn(&mut self.chunk)? {
                Some(calls) => (self.calls, nth) = (self.calls + calls, nth + 1),
                // The server has ended, or closed it.
                None => drop(self.links.swap_remove(nth)),
            }
        }
        Ok(self.calls - before)
    }
}

impl Link {
    /// `None` at its end.
    fn turn(&mut self, chunk: &mut [u8]) -> Result<Option<u64>> {
        let mut calls = 0;
        match self.stream.read(chunk) {
            Ok(0) => return Ok(None),
            Ok(bytes) => {
                self.received.extend_from_slice(&chunk[..bytes]);
                calls = self.answer()?;
            }
            Err(error) if is_later(&error) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(Failure::Io("receive on a link", error)),
        }
        if !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(bytes) => drop(self.unsent.drain(..bytes)),
                Err(error) if is_later(&error) => {}
                Err(error) => return Err(Failure::Io("send on a link", error)),
            }
        }
        Ok(Some(calls))
    }

    fn answer(&mut self) -> Result<u64> {
        let (mut consumed, mut calls) = (0, 0);
        while let Some(length) = memchr(b'\n', &self.received[consumed..]) {
            let line = &self.received[consumed..consumed + length];
            let (id, params) = parts(line).ok_or_else(|| {
                Failure::Protocol(format!("no call on a link: {}", String::from_utf8_lossy(line)))
            })?;
            write_answer(id, params, &mut self.unsent);
            consumed += length + 1;
            calls += 1;
        }
        self.received.drain(..consumed);
        Ok(calls)
    }
}

/// The answer to a call: its parameters.
pub(super) fn write_answer(id: u64, params: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"#).as_bytes());
    out.extend_from_slice(params);
    out.extend_from_slice(b"}\n");
}

/// A call's id and parameters, which are the last that it says.
fn parts(line: &[u8]) -> Option<(u64, &[u8])> {
    let id = memmem::find(line, ID)? + ID.len();
    let params = memmem::find(line, PARAMS)? + PARAMS.len();
    Some((wire::number(&line[id..])?, line[params..].strip_suffix(b"}")?))
}

fn is_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_answered_by_their_parameters_however_they_come() {
        let mut backend = Backend::bind().unwrap();
        let mut gateway = TcpStream::connect(backend.address().unwrap()).unwrap();
        let call =
            |id: u64| format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"a/b\",\"params\":[{id}]}}\n");
        let said = [call(1), call(22)].concat();
        for piece in said.as_bytes().chunks(7) {
            gateway.write_all(piece).unwrap();
            backend.turn().unwrap();
        }
        while backend.calls < 2 {
            backend.turn().unwrap();
        }
        let expected = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[1]}\n{\"jsonrpc\":\"2.0\",\"id\":22,\"result\":[22]}\n";
        let mut answers = vec![0; expected.len()];
        gateway.read_exact(&mut answers).unwrap();
        assert_eq!(String::from_utf8(answers).unwrap(), expected);
        assert_eq!(backend.accepted, 1);
    }

    #[test]
    fn what_is_no_call_fails_the_run() {
        for line in [&b"{}"[..], br#"{"id":1,"method":"x"}"#, br#"{"method":"x","params":[]}"#] {
            assert_eq!(parts(line), None);
        }
    }
}
