//! The limit of fan-out: an epoll loop that calls `send()` for every subscriber of every notification, as the
//! textbook has it. Home: one thread, pinned by whoever starts it.
//! Invariants: notifications reach each subscriber in order; what a socket does not take waits in its backlog, which
//! is bounded, and a socket that lets it fill up is closed.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use memchr::memmem;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, send};

use crate::clock::{self, SECOND_NS};
use crate::failure::{Doing, Failure, Result};
use crate::frame;
use crate::limit::upgrade_answer;
use crate::schedule::Schedule;
use crate::wire;

/// Events taken from one wait.
const EVENTS: usize = 1024;
/// Bytes that wait for one socket; a subscriber that lets more gather is closed.
const BACKLOG_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The event token of the listener; sockets have their index.
const LISTENER: u64 = u64::MAX;
/// How long a self-made stream may last at most, in nanoseconds.
const SOURCE_NS_MAX: u64 = 3_600 * SECOND_NS;

/// Where notifications come from besides publishers.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) epoch: String,
    pub(crate) is_stamped: bool,
    pub(crate) rate_per_s: u64,
    pub(crate) data_bytes: usize,
    pub(crate) coalesce_us: u64,
}

struct Peer {
    stream: TcpStream,
    is_open: bool,
    is_upgraded: bool,
    received: Vec<u8>,
    backlog: Vec<u8>,
}

struct Fanout {
    epoll: Epoll,
    listener: TcpListener,
    peers: Vec<Peer>,
    subscribers: Vec<usize>,
    epoch: String,
    is_stamped: bool,
    seq: u64,
    notification: Vec<u8>,
    frames: Vec<u8>,
}

/// Serves until its process is ended.
pub(crate) fn run(listener: TcpListener, source: &Source) -> Result<()> {
    listener.set_nonblocking(true).doing("O_NONBLOCK")?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).doing("epoll_create")?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER)).doing("epoll_ctl")?;
    let mut fanout = Fanout {
        epoll,
        listener,
        peers: Vec::new(),
        subscribers: Vec::new(),
        epoch: source.epoch.clone(),
        is_stamped: source.is_stamped,
        seq: 0,
        notification: Vec::new(),
        frames: Vec::new(),
    };
    if source.rate_per_s == 0 {
        loop {
            fanout.turn(EpollTimeout::from(1000_u16))?;
        }
    }
    fanout.run_source(source)
}

impl Fanout {
    fn run_source(&mut self, source: &Source) -> Result<()> {
        let mut schedule: Option<Schedule> = None;
        let mut flushed_ns = 0;
        let mut polled_ns = 0;
        loop {
            let now_ns = clock::mono_ns();
            // Nothing flows before the first subscriber, as a market nobody watches costs nothing.
            if schedule.is_none() && !self.subscribers.is_empty() {
                schedule = Some(Schedule::new(now_ns, source.rate_per_s, SOURCE_NS_MAX));
            }
            while schedule.as_mut().and_then(|schedule| schedule.poll_due(now_ns)).is_some() {
                let text = vec![b'x'; source.data_bytes.saturating_sub(2)];
                self.append(&[b"\"", text.as_slice(), b"\""].concat());
                if source.coalesce_us == 0 {
                    self.send_to_subscribers()?;
                }
            }
            if !self.frames.is_empty() && flushed_ns + source.coalesce_us * 1_000 <= now_ns {
                self.send_to_subscribers()?;
                flushed_ns = now_ns;
            }
            if polled_ns + 100_000 <= now_ns {
                self.turn(EpollTimeout::ZERO)?;
                polled_ns = now_ns;
            }
        }
    }

    fn turn(&mut self, timeout: EpollTimeout) -> Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(Failure::Io("epoll_wait", errno.into())),
        };
        for event in &events[..count] {
            if event.data() == LISTENER {
                self.accept()?;
                continue;
            }
            let index = usize::try_from(event.data()).expect("invariant: tokens are indexes");
            if event.events().contains(EpollFlags::EPOLLOUT) {
                self.flush_backlog(index)?;
            }
            if event.events().intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
                self.receive(index)?;
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(Failure::Io("accept", error)),
            };
            stream.set_nonblocking(true).doing("O_NONBLOCK")?;
            stream.set_nodelay(true).doing("TCP_NODELAY")?;
            self.epoll
                .add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, self.peers.len() as u64))
                .doing("epoll_ctl")?;
            self.peers.push(Peer {
                stream,
                is_open: true,
                is_upgraded: false,
                received: Vec::new(),
                backlog: Vec::new(),
            });
        }
    }

    fn receive(&mut self, index: usize) -> Result<()> {
        let mut chunk = [0; 16 * 1024];
        match self.peers[index].stream.read(&mut chunk) {
            Ok(0) => return self.close(index),
            Ok(bytes) => self.peers[index].received.extend_from_slice(&chunk[..bytes]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return self.close(index),
        }
        let mut received = std::mem::take(&mut self.peers[index].received);
        let consumed = self.take(index, &mut received);
        received.drain(..consumed?);
        self.peers[index].received = received;
        Ok(())
    }

    fn take(&mut self, index: usize, received: &mut [u8]) -> Result<usize> {
        if !self.peers[index].is_upgraded {
            let Some(answer) = upgrade_answer(received)? else { return Ok(0) };
            self.peers[index].is_upgraded = true;
            self.send(index, answer.as_bytes())?;
            return Ok(received.len());
        }
        let mut consumed = 0;
        loop {
            let rest = &mut received[consumed..];
            let header = frame::decode(rest).map_err(|fault| Failure::Protocol(format!("{fault:?}")))?;
            let Some(header) = header.filter(|header| header.frame_bytes() <= rest.len()) else {
                return Ok(consumed);
            };
            consumed += header.frame_bytes();
            let payload = &mut rest[header.header_bytes..header.frame_bytes()];
            frame::apply_mask(payload, header.mask.unwrap_or_default());
            self.answer(index, payload)?;
        }
    }

    fn answer(&mut self, index: usize, request: &[u8]) -> Result<()> {
        if let Some(data) = wire::published(request) {
            self.append(data);
            self.send_to_subscribers()?;
            return self.send_text(index, wire::PUBLISH_REPLY);
        }
        if memmem::find(request, b"public/subscribe").is_some() {
            self.subscribers.push(index);
            return self.send_text(index, wire::SUBSCRIBE_REPLY);
        }
        Ok(())
    }

    /// Encodes one notification behind those that wait to be sent.
    fn append(&mut self, data: &[u8]) {
        self.seq += 1;
        self.notification.clear();
        let start = br#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"topic.load","data":"#;
        self.notification.extend_from_slice(start);
        self.notification.extend_from_slice(data);
        let stamp = if self.is_stamped { format!(r#","ns":{}"#, clock::unix_ns()) } else { String::new() };
        let end = format!(r#","epoch":{},"seq":{}{stamp}}}}}"#, self.epoch, self.seq);
        self.notification.extend_from_slice(end.as_bytes());
        frame::encode_server(frame::TEXT, &self.notification, &mut self.frames);
    }

    fn send_to_subscribers(&mut self) -> Result<()> {
        let frames = std::mem::take(&mut self.frames);
        for position in 0..self.subscribers.len() {
            self.send(self.subscribers[position], &frames)?;
        }
        self.frames = frames;
        self.frames.clear();
        self.subscribers.retain(|index| self.peers[*index].is_open);
        Ok(())
    }

    fn send_text(&mut self, index: usize, text: &str) -> Result<()> {
        let mut reply = Vec::new();
        frame::encode_server(frame::TEXT, text.as_bytes(), &mut reply);
        self.send(index, &reply)
    }

    fn send(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        let peer = &mut self.peers[index];
        if !peer.is_open {
            return Ok(());
        }
        let mut sent = 0;
        if peer.backlog.is_empty() {
            sent = match send(peer.stream.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)
            {
                Ok(sent) => sent,
                Err(Errno::EAGAIN) => 0,
                Err(_) => return self.close(index),
            };
            if sent < bytes.len() {
                self.watch(index, EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT)?;
            }
        }
        self.peers[index].backlog.extend_from_slice(&bytes[sent..]);
        if BACKLOG_BYTES_MAX < self.peers[index].backlog.len() {
            return self.close(index);
        }
        Ok(())
    }

    fn flush_backlog(&mut self, index: usize) -> Result<()> {
        let peer = &mut self.peers[index];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match send(peer.stream.as_raw_fd(), &peer.backlog, flags) {
            Ok(sent) => peer.backlog.drain(..sent),
            Err(Errno::EAGAIN) => return Ok(()),
            Err(_) => return self.close(index),
        };
        if self.peers[index].backlog.is_empty() {
            self.watch(index, EpollFlags::EPOLLIN)?;
        }
        Ok(())
    }

    fn watch(&self, index: usize, flags: EpollFlags) -> Result<()> {
        let mut event = EpollEvent::new(flags, index as u64);
        self.epoll.modify(&self.peers[index].stream, &mut event).doing("epoll_ctl")
    }

    fn close(&mut self, index: usize) -> Result<()> {
        let peer = &mut self.peers[index];
        if std::mem::replace(&mut peer.is_open, false) {
            self.epoll.delete(&peer.stream).doing("epoll_ctl")?;
            // The peer may have gone already; the socket is out of the loop either way.
            let _ = peer.stream.shutdown(Shutdown::Both);
            peer.backlog = Vec::new();
        }
        Ok(())
    }
}
