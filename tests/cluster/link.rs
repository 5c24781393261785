//! A proxy between a node and its nats-server, in the test's process: it passes bytes on, and can be cut (connections stay, bytes stop),
//! refuse, and delay. Standard library and nix alone, for any target of the tests (`#[path]`).
//!
//! Invariant: a change has been made when its call returns. Bytes are in order, and none is lost while a connection stays: what a cut
//! holds back comes after it, as TCP would have it.

#![allow(dead_code, reason = "each target of the tests uses what it needs")]

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::libc::linger;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};

use super::nats_server::ReservedPort;

/// What one direction of a connection holds at most before it reads no further.
const HELD_BYTES_MAX: usize = 8 << 20;
const READ_BYTES: usize = 64 << 10;

/// What a link does with the bytes of both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Passes them on, each so much later than it came.
    Passing(Duration),
    /// Keeps them: nothing is read or passed on, and who connects meanwhile is heard afterwards.
    Cut,
    /// Connections were reset, and who connects is refused.
    Refusing,
}

/// A proxy to one server.
pub(crate) struct Link {
    port: ReservedPort,
    changes: Option<Sender<(State, Sender<()>)>>,
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// A link that passes on what comes, and goes to this server whether it listens or not.
    pub(crate) fn to(server: SocketAddr) -> Link {
        let port = ReservedPort::new();
        let (changes, heard) = mpsc::channel();
        let (wake, woken) = UnixStream::pair().unwrap();
        woken.set_nonblocking(true).unwrap();
        let listener = Some(listen(port.address()));
        let mut proxy = Proxy {
            address: port.address(),
            server,
            listener,
            state: State::Passing(Duration::ZERO),
            pairs: Vec::new(),
        };
        let thread = thread::spawn(move || proxy.run(&heard, woken));
        Link { port, changes: Some(changes), wake, thread: Some(thread) }
    }

    /// Where the node is to connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// A network that is gone: nothing passes, and nobody is told.
    pub(crate) fn cut(&self) {
        self.change(State::Cut);
    }

    /// A server that is gone: connections are reset, and there is nobody to connect to.
    pub(crate) fn refuse(&self) {
        self.change(State::Refusing);
    }

    /// A network that is slow: each byte comes so much later, in both directions.
    pub(crate) fn delay(&self, by: Duration) {
        self.change(State::Passing(by));
    }

    /// All as at first.
    pub(crate) fn restore(&self) {
        self.change(State::Passing(Duration::ZERO));
    }

    fn change(&self, to: State) {
        let (made, is_made) = mpsc::channel();
        self.changes.as_ref().unwrap().send((to, made)).unwrap();
        (&self.wake).write_all(&[0]).unwrap();
        is_made.recv().expect("the proxy's thread lives");
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        drop(self.changes.take());
        let _ = (&self.wake).write_all(&[0]);
        let ended = self.thread.take().unwrap().join();
        if ended.is_err() && !thread::panicking() {
            panic!("the proxy's thread panicked");
        }
    }
}

fn listen(address: SocketAddr) -> TcpListener {
    let listener = TcpListener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// What the thread has.
struct Proxy {
    address: SocketAddr,
    server: SocketAddr,
    /// Absent while it refuses.
    listener: Option<TcpListener>,
    state: State,
    pairs: Vec<[End; 2]>,
}

/// One end of a connection, and what is to be written to it.
struct End {
    stream: TcpStream,
    /// Each with the moment from which it may be written.
    held: VecDeque<(Instant, Vec<u8>)>,
    held_bytes: usize,
    /// Whether the other end writes no more; told to this one when all that is held was written.
    is_ended: bool,
    was_told_end: bool,
}

impl Proxy {
    fn run(&mut self, changes: &Receiver<(State, Sender<()>)>, mut woken: UnixStream) {
        loop {
            self.wait(&woken);
            let mut bytes = [0; 64];
            while woken.read(&mut bytes).is_ok_and(|count| count > 0) {}
            loop {
                match changes.try_recv() {
                    Ok((state, made)) => {
                        self.become_state(state);
                        let _ = made.send(());
                    }
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
            if let State::Passing(delay) = self.state {
                self.accept();
                self.pairs.retain_mut(|pair| pass_on(pair, delay));
            }
        }
    }

    fn become_state(&mut self, state: State) {
        if state == State::Refusing {
            self.listener = None;
            for end in self.pairs.drain(..).flatten() {
                reset(end.stream);
            }
        } else if self.listener.is_none() {
            self.listener = Some(listen(self.address));
        }
        self.state = state;
    }

    /// Waits until something can be done, or is due.
    fn wait(&self, woken: &UnixStream) {
        let mut fds = vec![PollFd::new(woken.as_fd(), PollFlags::POLLIN)];
        let mut due = None;
        if matches!(self.state, State::Passing(_)) {
            fds.extend(self.listener.iter().map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)));
            let now = now();
            for [one, other] in &self.pairs {
                fds.extend(one.interest(other, now).map(|flags| PollFd::new(one.stream.as_fd(), flags)));
                fds.extend(other.interest(one, now).map(|flags| PollFd::new(other.stream.as_fd(), flags)));
                let next = [one, other].into_iter().filter_map(|end| end.held.front().map(|(at, _)| *at));
                due = next.filter(|at| *at > now).chain(due).min();
            }
            let timeout = due.map_or(PollTimeout::NONE, |due| {
                let ms = due.duration_since(now).as_micros().div_ceil(1000);
                PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
            });
            poll(&mut fds, timeout).unwrap();
        } else {
            poll(&mut fds, PollTimeout::NONE).unwrap();
        }
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        while let Ok((client, _)) = listener.accept() {
            match TcpStream::connect(self.server) {
                Ok(server) => self.pairs.push([End::new(client), End::new(server)]),
                // As the server would have it: nobody is there.
                Err(_) => reset(client),
            }
        }
    }
}

impl End {
    fn new(stream: TcpStream) -> End {
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        End { stream, held: VecDeque::new(), held_bytes: 0, is_ended: false, was_told_end: false }
    }

    /// What is waited for at this end; nothing where nothing can be done at it.
    fn interest(&self, other: &End, now: Instant) -> Option<PollFlags> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::POLLIN, !other.is_ended && other.held_bytes < HELD_BYTES_MAX);
        flags.set(PollFlags::POLLOUT, self.held.front().is_some_and(|(at, _)| *at <= now));
        (!flags.is_empty()).then_some(flags)
    }

    /// Takes what has come for it at the other end. False if that one is broken.
    fn take_from(&mut self, other: &mut TcpStream, delay: Duration) -> bool {
        while !self.is_ended && self.held_bytes < HELD_BYTES_MAX {
            let mut bytes = vec![0; READ_BYTES];
            match other.read(&mut bytes) {
                Ok(0) => self.is_ended = true,
                Ok(count) => {
                    bytes.truncate(count);
                    self.held_bytes += count;
                    self.held.push_back((now() + delay, bytes));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        true
    }

    /// Writes what is due. False if it is broken.
    fn write_due(&mut self) -> bool {
        while let Some((at, bytes)) = self.held.front_mut() {
            if *at > now() {
                return true;
            }
            match self.stream.write(bytes) {
                Ok(count) => {
                    self.held_bytes -= count;
                    if count == bytes.len() {
                        self.held.pop_front();
                    } else {
                        bytes.drain(..count);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        if self.is_ended && !self.was_told_end {
            self.was_told_end = true;
            return self.stream.shutdown(Shutdown::Write).is_ok();
        }
        true
    }
}

/// Passes on what can be. False if the connection is over; a break of one end breaks the other.
fn pass_on([one, other]: &mut [End; 2], delay: Duration) -> bool {
    let is_whole = one.take_from(&mut other.stream, delay)
        && other.take_from(&mut one.stream, delay)
        && one.write_due()
        && other.write_due();
    is_whole && !(one.was_told_end && other.was_told_end)
}

/// Ends a connection by a reset.
fn reset(stream: TcpStream) {
    // It may be broken already.
    let _ = setsockopt(&stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 });
    drop(stream);
}

#[expect(clippy::disallowed_methods, reason = "a delay is real time; no test judges by it")]
fn now() -> Instant {
    Instant::now()
}
