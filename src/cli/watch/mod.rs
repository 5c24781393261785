//! `tickring watch`: a WebSocket client that prints updates, comes back after a cut and resumes where it was.
//! Home: the main thread, which may block: nothing is served in this process.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use tungstenite::handshake::HandshakeError;
use tungstenite::{Bytes, Message, WebSocket};

use self::backoff::Backoff;
use self::screen::{Form, Screen};
use self::session::{Encoding, Reaction, Session};
use self::url::Url;
use self::wire::{Trust, Wire};
use super::ignore_closed;
use crate::clock;
use crate::exit::{Exit, Failure};

mod backoff;
mod format;
mod sbe;
mod screen;
mod session;
mod url;
mod wire;

/// For a connection to stand and the upgrade to be answered.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// With lines that wait to be printed, reads come back this soon; without, there is only the rate line to renew.
const READ_SOON: Duration = Duration::from_millis(10);
const READ_LATER: Duration = Duration::from_millis(250);
/// After so much silence the server is pinged, after twice as much it counts as gone.
const SILENCE_NS_MAX: u64 = 15_000_000_000;

/// Why a connection is over.
enum End {
    /// As many updates as were asked for.
    Complete,
    /// stdout is closed or broken.
    Output(io::Error),
    /// The server will never accept this.
    Refused(String),
    /// Anything that another attempt may mend.
    Cut(String),
}

/// # Errors
/// The server was never reached, or refuses the channels.
pub(super) fn run(flags: &super::Watch) -> Result<(), Failure> {
    let encoding = if flags.sbe { Encoding::Sbe } else { Encoding::Json };
    let mut url = Url::parse(&flags.url)?;
    if encoding == Encoding::Sbe {
        url = url.asking(&sbe::query());
    }
    let trust = Wire::trust(&url, flags.pin)?;
    let mut session = Session::new(&flags.channels, encoding);
    let mut screen = Screen::new(if flags.raw { Form::Raw } else { Form::Line }, &url.text);
    let now = clock::now();
    let mut backoff = Backoff::new(now.unix_ns ^ (u64::from(std::process::id()) << 32));
    let mut connected_before = false;
    loop {
        let end = match connect(&url, trust.as_ref()) {
            Ok(socket) => {
                connected_before = true;
                let mut connection = Connection { socket, read_timeout: CONNECT_TIMEOUT };
                converse(
                    &mut connection,
                    &mut session,
                    &mut screen,
                    &mut backoff,
                    flags.count.unwrap_or(u64::MAX),
                )
            }
            Err(what) if connected_before => End::Cut(what),
            Err(what) => {
                let hint = "is it running? start it with `tickring`, or say where it is with --url";
                return Err(Failure::new(Exit::Unavailable, what, hint));
            }
        };
        match end {
            End::Complete => return screen.finish().or_else(ignore_closed),
            End::Output(error) => return ignore_closed(error),
            End::Refused(what) => {
                let what = format!("{} refuses the subscription: {what}", url.text);
                return Err(Failure::new(Exit::Data, what, "the channels are explained in README.md"));
            }
            End::Cut(what) => {
                let wait_ms = backoff.wait_ms();
                screen.note(&format!("{what}; again in {wait_ms} ms")).or_else(ignore_closed)?;
                pause(wait_ms);
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this process has no shard to stall")]
fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

fn connect(url: &Url, trust: Option<&Trust>) -> Result<WebSocket<Wire>, String> {
    let cannot = |error: io::Error| format!("cannot connect to {}: {error}", url.text);
    let addresses = (url.host.as_str(), url.port).to_socket_addrs().map_err(cannot)?;
    let mut outcome = Err(io::Error::other("its name has no address"));
    for address in addresses {
        outcome = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT);
        if outcome.is_ok() {
            break;
        }
    }
    let stream = outcome.map_err(cannot)?;
    stream.set_nodelay(true).map_err(cannot)?;
    stream.set_read_timeout(Some(CONNECT_TIMEOUT)).map_err(cannot)?;
    let wire = Wire::over(stream, trust).map_err(cannot)?;
    match tungstenite::client(url.text.as_str(), wire) {
        Ok((socket, _response)) => Ok(socket),
        Err(HandshakeError::Interrupted(_)) => Err(format!("{} does not answer the upgrade", url.text)),
        Err(HandshakeError::Failure(error)) => Err(format!("{} refuses the upgrade: {error}", url.text)),
    }
}

struct Connection {
    socket: WebSocket<Wire>,
    read_timeout: Duration,
}

impl Connection {
    /// The next message, or nothing within `timeout`.
    fn read(&mut self, timeout: Duration) -> Result<Option<Message>, String> {
        if timeout != self.read_timeout {
            self.socket
                .get_ref()
                .socket()
                .set_read_timeout(Some(timeout))
                .map_err(|error| error.to_string())?;
            self.read_timeout = timeout;
        }
        match self.socket.read() {
            Ok(message) => Ok(Some(message)),
            Err(tungstenite::Error::Io(error))
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                Ok(None)
            }
            Err(error) => Err(format!("the connection is lost: {error}")),
        }
    }

    fn send(&mut self, message: Message) -> Result<(), String> {
        self.socket.send(message).map_err(|error| format!("the connection is lost: {error}"))
    }
}

/// One connection, from subscribing to its end.
fn converse(
    connection: &mut Connection,
    session: &mut Session,
    screen: &mut Screen,
    backoff: &mut Backoff,
    updates_max: u64,
) -> End {
    for request in session.begin() {
        if let Err(what) = connection.send(Message::text(request)) {
            return End::Cut(what);
        }
    }
    let mut heard_at_ns = clock::now().mono_ns;
    let mut pinged = false;
    loop {
        if let Err(error) = screen.refresh(session.totals) {
            return End::Output(error);
        }
        let message = match connection.read(if screen.is_unflushed() { READ_SOON } else { READ_LATER }) {
            Ok(Some(message)) => message,
            Ok(None) => {
                let silent_ns = clock::now().mono_ns - heard_at_ns;
                if silent_ns > 2 * SILENCE_NS_MAX {
                    return End::Cut("the server is silent".to_owned());
                }
                if silent_ns > SILENCE_NS_MAX && !pinged {
                    pinged = true;
                    if let Err(what) = connection.send(Message::Ping(Bytes::new())) {
                        return End::Cut(what);
                    }
                }
                continue;
            }
            Err(what) => return End::Cut(what),
        };
        (heard_at_ns, pinged) = (clock::now().mono_ns, false);
        let end = match message {
            Message::Text(text) => {
                let reaction = session.handle(&text);
                react(reaction, || text.to_string(), connection, screen, backoff)
            }
            Message::Binary(message) => {
                let reaction = session.handle_binary(&message);
                react(reaction, || sbe::hexadecimal(&message), connection, screen, backoff)
            }
            Message::Close(reason) => return End::Cut(closed(reason.as_ref())),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        if let Some(end) = end {
            return end;
        }
        if session.totals.updates >= updates_max {
            return End::Complete;
        }
    }
}

/// Does what one message asks for; the end, if it is one. `received` shows the message as it came.
fn react(
    reaction: Reaction<'_>,
    received: impl FnOnce() -> String,
    connection: &mut Connection,
    screen: &mut Screen,
    backoff: &mut Backoff,
) -> Option<End> {
    match reaction {
        Reaction::Update(update) => screen.print(&update, received).err().map(End::Output),
        Reaction::Subscribed(notes) => {
            backoff.reset();
            notes.iter().find_map(|note| screen.note(note).err()).map(End::Output)
        }
        Reaction::Refused(what) => Some(End::Refused(what)),
        Reaction::Answer(answer) => connection.send(Message::text(answer)).err().map(End::Cut),
        Reaction::Nothing => None,
    }
}

fn closed(frame: Option<&tungstenite::protocol::CloseFrame>) -> String {
    match frame {
        Some(frame) if !frame.reason.is_empty() => {
            format!(
                "the server closed the connection: {} {}",
                u16::from(frame.code),
                frame.reason.escape_debug()
            )
        }
        Some(frame) => format!("the server closed the connection: {}", u16::from(frame.code)),
        None => "the server closed the connection".to_owned(),
    }
}
