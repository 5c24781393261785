//! `tickring paper-venue`: the paper market as a venue of its own, at the other end of a venue link.
//! Home: the main thread, which may block: nothing is served in this process.
//!
//! One connection at a time. It listens, or connects and comes back after a cut; the market goes on meanwhile.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::time::Duration;

use clap::Args;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::backend::paper::PaperConfig;
use crate::backend::tcp::codec::Form;
use crate::backend::tcp::paper_venue::{Change, PaperVenue};
use crate::backend::tcp::venue::VenueConfig;
use crate::clock;
use crate::exit::{Exit, Failure};
use crate::limits;

/// For a connection to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const NS_PER_MS: u64 = 1_000_000;

const EXAMPLES: &str = "\
Examples:
  tickring paper-venue --listen 127.0.0.1:9004 --key s3cret
                                               wait for a gateway that connects
  tickring paper-venue --connect 127.0.0.1:9004 --key s3cret
                                               connect to one that listens, and again after each cut
  TICKRING_VENUE_KEY=s3cret tickring paper-venue --listen 127.0.0.1:9004 --binary
                                               the key where `ps` does not show it; the binary form

It prints a line for each change: where it listens, connections, welcomes, cuts and why.
Orders rest while the link is cut, and what was filled meanwhile is told when it stands again;
a gateway that was restarted finds them cancelled.
SIGTERM or SIGINT ends it. The protocol is described in docs/venue-link.md.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Flags {
    /// The gateway to connect to
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "listen", required_unless_present = "listen")]
    connect: Option<String>,
    /// Address and port to wait on for the gateway; port 0 lets the kernel choose
    #[arg(long, value_name = "ADDR", required_unless_present = "connect")]
    listen: Option<SocketAddr>,
    /// The key that the gateway's configuration has for this venue
    #[arg(long, value_name = "KEY", env = "TICKRING_VENUE_KEY", hide_env_values = true)]
    key: String,
    /// The venue's name in the gateway's configuration
    #[arg(long, value_name = "NAME", default_value = "paper")]
    name: String,
    /// The same seed makes the same market
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many instruments it has
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=256))]
    instruments: u32,
    /// Market events a second, all instruments together
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=500_000))]
    events_per_s: u32,
    /// How often it is heard at least, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u32)
        .range(i64::from(limits::LINK_HEARTBEAT_MS_MIN)..=i64::from(limits::LINK_HEARTBEAT_MS_MAX)))]
    heartbeat_ms: u32,
    /// Milliseconds between two attempts to connect
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    retry_delay_ms: u32,
    /// Speak the binary form instead of JSON
    #[arg(long)]
    binary: bool,
}

/// # Errors
/// The address is wrong or taken, or the kernel refuses something.
pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let signals = block_signals()?;
    let mut link = Link::new(flags)?;
    link.announce()?;
    loop {
        if link.stream.is_none() {
            link.connect()?;
        }
        link.turn()?;
        if link.wait(&signals)? {
            return link.stop();
        }
    }
}

/// The venue and its connection.
struct Link {
    venue: PaperVenue,
    listener: Option<TcpListener>,
    target: Option<String>,
    stream: Option<TcpStream>,
    retry_ns: u64,
    retry_delay_ns: u64,
    /// Whether the last attempt to connect failed, which is said once.
    is_failing: bool,
    received: Vec<u8>,
}

impl Link {
    fn new(flags: &Flags) -> Result<Link, Failure> {
        let listener = match flags.listen {
            Some(address) => Some(listen(address)?),
            None => None,
        };
        let longest = [("--key", &flags.key), ("--name", &flags.name)];
        if let Some((flag, _)) = longest
            .iter()
            .find(|(_, text)| text.is_empty() || text.len() > 64 || text.chars().any(char::is_control))
        {
            return Err(Failure::new(
                Exit::Usage,
                format!("{flag}: 1 to 64 bytes of text are expected"),
                "see tickring paper-venue --help",
            ));
        }
        let paper = PaperConfig {
            seed: flags.seed,
            instruments: flags.instruments,
            events_per_s: flags.events_per_s,
        };
        let config = VenueConfig {
            venue: flags.name.as_str().into(),
            key: flags.key.as_str().into(),
            session: clock::now().unix_ns.to_string().into(),
            form: if flags.binary { Form::Binary } else { Form::Json },
            heartbeat_ms: flags.heartbeat_ms,
        };
        Ok(Link {
            venue: PaperVenue::new(paper, config),
            listener,
            target: flags.connect.clone(),
            stream: None,
            retry_ns: 0,
            retry_delay_ns: u64::from(flags.retry_delay_ms) * NS_PER_MS,
            is_failing: false,
            received: vec![0; limits::LINK_MESSAGE_BYTES_MAX],
        })
    }

    fn announce(&self) -> Result<(), Failure> {
        match (&self.listener, &self.target) {
            (Some(listener), _) => {
                let address = listener.local_addr().map_err(|error| refused("its address", &error))?;
                say(&format!("paper venue listens on {address}"))
            }
            (None, Some(target)) => say(&format!("paper venue connects to {target}")),
            (None, None) => Ok(()),
        }
    }

    /// A connection, if one is to be had now.
    fn connect(&mut self) -> Result<(), Failure> {
        let now = clock::now();
        let outcome = match (&self.listener, &self.target) {
            (Some(listener), _) => match listener.accept() {
                Ok((stream, peer)) => Ok((stream, peer)),
                Err(error) if is_for_later(&error) => return Ok(()),
                Err(error) => Err(error),
            },
            (None, Some(target)) if self.retry_ns <= now.mono_ns => {
                self.retry_ns = now.mono_ns + self.retry_delay_ns;
                reach(target)
            }
            (None, _) => return Ok(()),
        };
        let outcome = outcome.and_then(|(stream, peer)| {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            Ok((stream, peer))
        });
        match outcome {
            Ok((stream, peer)) => {
                self.is_failing = false;
                self.stream = Some(stream);
                self.venue.session().handle_connected(clock::now());
                say(&format!("connected with {peer}"))
            }
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                say(&format!("no connection: {error}; trying on"))
            }
            Err(_) => Ok(()),
        }
    }

    /// Reads, does what is due, writes.
    fn turn(&mut self) -> Result<(), Failure> {
        let is_open = self.read();
        let now = clock::now();
        self.venue.session().handle_timeout(now);
        self.venue.advance(now);
        let is_open = self.write() && is_open;
        let is_over = self.venue.session().is_over() && self.venue.session().unsent().is_empty();
        if self.stream.is_some() && (!is_open || is_over) {
            self.stream = None;
            self.venue.session().handle_closed();
            self.venue.advance(now);
        }
        while let Some(change) = self.venue.poll_change() {
            say(&match change {
                Change::Welcomed { resumed: true } => "welcomed, goes on where it was".to_owned(),
                Change::Welcomed { resumed: false } => "welcomed, begins anew".to_owned(),
                Change::Abandoned { orders } => {
                    format!("another run of the gateway: {orders} orders of the last one are cancelled")
                }
                Change::Down(why) => format!("disconnected: {why}"),
            })?;
        }
        Ok(())
    }

    /// Whether the connection goes on.
    fn read(&mut self) -> bool {
        let Some(stream) = &mut self.stream else { return true };
        match stream.read(&mut self.received) {
            Ok(0) => false,
            Ok(count) => {
                self.venue.session().handle_bytes(&self.received[..count], clock::now());
                true
            }
            Err(error) => is_for_later(&error),
        }
    }

    /// Whether the connection goes on.
    fn write(&mut self) -> bool {
        let Some(stream) = &mut self.stream else { return true };
        loop {
            let session = self.venue.session();
            if session.unsent().is_empty() {
                return true;
            }
            match stream.write(session.unsent()) {
                Ok(0) => return false,
                Ok(count) => session.handle_sent(count),
                Err(error) => return is_for_later(&error),
            }
        }
    }

    /// Waits for something to do; whether that is to stop.
    fn wait(&mut self, signals: &SignalFd) -> Result<bool, Failure> {
        let now_ns = clock::now().mono_ns;
        let mut due_ns = self.venue.poll_timeout();
        let mut stream_flags = PollFlags::POLLIN;
        if !self.venue.session().unsent().is_empty() {
            stream_flags |= PollFlags::POLLOUT;
        }
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match (&self.stream, &self.listener) {
            (Some(stream), _) => fds.push(PollFd::new(stream.as_fd(), stream_flags)),
            (None, Some(listener)) => fds.push(PollFd::new(listener.as_fd(), PollFlags::POLLIN)),
            (None, None) => due_ns = due_ns.min(self.retry_ns),
        }
        let wait_ms = due_ns.saturating_sub(now_ns).div_ceil(NS_PER_MS).min(1_000);
        let timeout = PollTimeout::try_from(wait_ms).unwrap_or(PollTimeout::ZERO);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(refused("to wait", &io::Error::from(errno))),
        }
        Ok(matches!(signals.read_signal(), Ok(Some(_))))
    }

    fn stop(mut self) -> Result<(), Failure> {
        // What has come is read, so that the end is no reset that the farewell is lost by.
        self.read();
        self.venue.session().handle_stop();
        // A gateway that does not read finds the connection closed.
        self.write();
        say("stopped")
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|error| {
        Failure::new(
            Exit::Unavailable,
            format!("cannot listen on {address}: {error}"),
            "is another process there? choose another port",
        )
    })
}

/// A connection to the first of a host's addresses that takes one.
fn reach(target: &str) -> io::Result<(TcpStream, SocketAddr)> {
    let mut outcome = Err(io::Error::other("its name has no address"));
    for address in target.to_socket_addrs()? {
        outcome = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).map(|stream| (stream, address));
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn refused(what: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::OsError, format!("the kernel refuses {what}: {error}"), "see ulimit -a")
}

fn say(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).or_else(super::ignore_closed)
}

fn block_signals() -> Result<SignalFd, Failure> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    let os = |errno: nix::errno::Errno| refused("to handle signals", &io::Error::from(errno));
    set.thread_block().map_err(os)?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(os)
}
