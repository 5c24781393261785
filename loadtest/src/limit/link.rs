//! The limit of an order through a venue link: a bare ring between two sockets that hands each message on as the canned bytes of
//! its turn. It reads no order and keeps none; of a message it looks at the length, and at the venue's type.
//! Home: one thread, which spins, pinned by whoever starts it. Invariant: buys and cancels alternate, one under way at a time.

use std::net::{SocketAddr, TcpListener, TcpStream};

use clap::Args;
use memchr::memmem;

use crate::failure::{Doing, Failure, Result};
use crate::frame;
use crate::limit::upgrade_answer;
use crate::link;
use crate::ring::{Event, Outbox, Ring, Slot, Wait};
use crate::scenarios::link::REQUEST_BYTES;

/// A request's frame has two bytes of length, and a mask.
const REQUEST_FRAME_BYTES: usize = 8 + REQUEST_BYTES;
const _: () = assert!(126 <= REQUEST_BYTES && REQUEST_BYTES <= 65_535);

/// Where the venue is, and what is said: a server's own texts and messages, or these.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Texts {
    /// Where the venue waits
    #[arg(long)]
    pub(crate) venue: SocketAddr,
    /// The reply to a log-in
    #[arg(long, default_value = r#"{"jsonrpc":"2.0","id":1000006,"result":{"token_type":"bearer"}}"#)]
    pub(crate) login: String,
    /// The reply to who asks for the market
    #[arg(
        long,
        default_value = r#"{"jsonrpc":"2.0","id":1000007,"result":{"state":"open","best_bid_price":65000}}"#
    )]
    pub(crate) ticker: String,
    /// The reply to a buy
    #[arg(
        long,
        default_value = r#"{"jsonrpc":"2.0","id":1000008,"result":{"order":{"order_id":"513","order_state":"open"},"trades":[]}}"#
    )]
    pub(crate) bought: String,
    /// The reply to a cancel
    #[arg(
        long,
        default_value = r#"{"jsonrpc":"2.0","id":1000009,"result":{"order_id":"513","order_state":"cancelled"}}"#
    )]
    pub(crate) cancelled: String,
    /// What the venue is sent of a buy, in hexadecimal
    #[arg(long, default_value = "110000002001000000000000000102000000000000", value_parser = parse_hex)]
    pub(crate) new: Hex,
    /// What the venue is sent of a cancel, in hexadecimal
    #[arg(long, default_value = "110000002202000000000000000102000000000000", value_parser = parse_hex)]
    pub(crate) cancel: Hex,
}

/// A whole message of the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hex(Vec<u8>);

enum Peer {
    /// Before the upgrade: the request so far.
    Upgrading(Vec<u8>),
    /// After it, and the venue: what has arrived of the current frame or message.
    Open(Vec<u8>),
}

struct Relay {
    /// Frames for the client and messages for the venue: of a buy, of a cancel.
    replies: [Vec<u8>; 2],
    commands: [Vec<u8>; 2],
    login: String,
    ticker: String,
    venue: Slot,
    client: Slot,
    /// Whether the venue has said hello.
    is_greeted: bool,
    /// Requests handed on, and answers.
    asked: u64,
    answered: u64,
    frame: Vec<u8>,
}

/// Serves until its process is ended.
pub(crate) fn run(listener: TcpListener, texts: &Texts) -> Result<()> {
    let stream = TcpStream::connect(texts.venue).doing("connect to the venue")?;
    stream.set_nodelay(true).doing("TCP_NODELAY")?;
    let mut ring = Ring::new()?;
    let venue = ring.add(stream);
    ring.listen(listener);
    let mut peers = vec![Peer::Open(Vec::new())];
    let mut relay = Relay::new(texts, venue);
    loop {
        ring.turn(Wait::Spin, |outbox, event| match event {
            Event::Accepted(slot) => {
                assert_eq!(slot, peers.len(), "slots are numbered in order and never reused");
                peers.push(Peer::Upgrading(Vec::new()));
                Ok(())
            }
            Event::Received(slot, bytes) => match &mut peers[slot] {
                Peer::Upgrading(request) => {
                    request.extend_from_slice(bytes);
                    if let Some(answer) = upgrade_answer(request)? {
                        peers[slot] = Peer::Open(Vec::new());
                        outbox.send(slot, answer.as_bytes())?;
                    }
                    Ok(())
                }
                Peer::Open(arrived) => {
                    arrived.extend_from_slice(bytes);
                    let taken = relay.take(outbox, slot, arrived)?;
                    arrived.drain(..taken);
                    Ok(())
                }
            },
            Event::Connected(_) | Event::Closed(..) => Ok(()),
        })?;
    }
}

impl Relay {
    fn new(texts: &Texts, venue: Slot) -> Relay {
        let frame = |text: &str| {
            let mut frame = Vec::new();
            frame::encode_server(frame::TEXT, text.as_bytes(), &mut frame);
            frame
        };
        Relay {
            replies: [frame(&texts.bought), frame(&texts.cancelled)],
            commands: [texts.new.0.clone(), texts.cancel.0.clone()],
            login: texts.login.clone(),
            ticker: texts.ticker.clone(),
            venue,
            client: venue,
            is_greeted: false,
            asked: 0,
            answered: 0,
            frame: Vec::new(),
        }
    }

    /// Hands on what is whole, and returns how many bytes that has.
    fn take(&mut self, outbox: &mut Outbox<'_>, slot: Slot, bytes: &[u8]) -> Result<usize> {
        let mut taken = 0;
        loop {
            let rest = &bytes[taken..];
            let length = if slot == self.venue {
                self.take_message(outbox, rest)?
            } else {
                self.take_frame(outbox, slot, rest)?
            };
            if length == 0 {
                return Ok(taken);
            }
            taken += length;
        }
    }

    fn take_frame(&mut self, outbox: &mut Outbox<'_>, slot: Slot, bytes: &[u8]) -> Result<usize> {
        let header = frame::decode(bytes).map_err(|fault| Failure::Protocol(format!("{fault:?}")))?;
        let Some(header) = header.filter(|header| header.frame_bytes() <= bytes.len()) else { return Ok(0) };
        if header.frame_bytes() == REQUEST_FRAME_BYTES {
            self.client = slot;
            let command = &mut self.commands[turn(self.asked)];
            self.asked += 1;
            link::set_seq(self.asked, command);
            outbox.send(self.venue, command)?;
        } else {
            let mut text = bytes[header.header_bytes..header.frame_bytes()].to_vec();
            frame::apply_mask(&mut text, header.mask.unwrap_or_default());
            let is_login = memmem::find(&text, b"public/auth").is_some();
            let reply = if is_login { &self.login } else { &self.ticker };
            self.frame.clear();
            frame::encode_server(frame::TEXT, reply.as_bytes(), &mut self.frame);
            outbox.send(slot, &self.frame)?;
        }
        Ok(header.frame_bytes())
    }

    fn take_message(&mut self, outbox: &mut Outbox<'_>, bytes: &[u8]) -> Result<usize> {
        // The venue's first byte announces the form, and is no message.
        let preamble = usize::from(!self.is_greeted);
        let Some(message) = bytes.get(preamble..) else { return Ok(0) };
        let Some(header) = link::decode(message)? else { return Ok(0) };
        match header.kind {
            link::HELLO => {
                self.is_greeted = true;
                let mut welcome = Vec::new();
                link::write_welcome(&mut welcome);
                outbox.send(self.venue, &welcome)?;
            }
            link::ACCEPTED | link::CANCELLED => {
                outbox.send(self.client, &self.replies[turn(self.answered)])?;
                self.answered += 1;
            }
            // The market, and heartbeats.
            _ => {}
        }
        Ok(preamble + header.message_bytes)
    }
}

/// Buys are even, cancels odd.
fn turn(number: u64) -> usize {
    usize::from(!number.is_multiple_of(2))
}

/// Bytes as an argument.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_hex(text: &str) -> std::result::Result<Hex, String> {
    let digit = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(digit).collect();
    let bytes = bytes.filter(|bytes| link::SEQ_AT + 8 <= bytes.len());
    bytes.map(Hex).ok_or_else(|| "a numbered message of the link in hexadecimal".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_command_line() {
        let message = [0x11, 0, 0, 0, 0x22, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0xff];
        assert_eq!(parse_hex(&hex(&message)), Ok(Hex(message.to_vec())));
        assert!(parse_hex("").is_err() && parse_hex("1").is_err() && parse_hex(&"zz".repeat(30)).is_err());
    }
}
