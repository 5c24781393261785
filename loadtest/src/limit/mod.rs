//! The limit arms: the least a server can do for the same bytes, on the same core. Home: a child process each.
//! They speak just enough WebSocket to carry the load and check nothing beyond it: no server should be faster.

pub(crate) mod echo;
pub(crate) mod fanout;
pub(crate) mod link;
pub(crate) mod orders;

use std::io::Write;
use std::net::TcpListener;

use clap::Subcommand;
use memchr::memmem;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use crate::failure::{Doing, Failure, Result};
use crate::wire;

/// An upgrade request, in bytes; a client that sends more is not ours.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Which limit arm.
#[derive(Debug, Subcommand)]
pub(crate) enum LimitArm {
    /// A bare ring that answers each request frame with a canned reply
    Echo {
        /// Spin instead of parking
        #[arg(long)]
        busy_poll: bool,
        /// The reply's text
        #[arg(long, default_value = wire::TEST_REPLY)]
        reply: String,
        /// Bytes of a request's frame; without it those of public/test's
        #[arg(long)]
        request_bytes: Option<usize>,
    },
    /// A plain epoll and send() loop that fans publishes out to all subscribers
    Fanout {
        /// The digits of `epoch` in each notification, so that its length is the other arm's
        #[arg(long, default_value = "1763702315123456789")]
        epoch: String,
        /// Put the unix time in `ns` into each notification, as the other arm does
        #[arg(long)]
        stamped: bool,
        /// Make notifications itself, this many a second (0: none)
        #[arg(long, default_value_t = 0)]
        rate: u64,
        /// Bytes of data in a notification that it makes itself
        #[arg(long, default_value_t = 40)]
        bytes: usize,
        /// Gather notifications that it makes itself for this long, then send once a socket (0: each at once)
        #[arg(long, default_value_t = 0)]
        coalesce_us: u64,
    },
    /// A bare ring that answers orders with canned replies and tells subscribers of those that trade
    Orders(orders::Texts),
    /// A bare ring that hands orders on to a venue, and its answers back, as canned bytes
    Link(link::Texts),
}

/// Runs a limit arm until the load generator ends it, or ends itself.
pub(crate) fn run(arm: &LimitArm) -> Result<()> {
    set_pdeathsig(Signal::SIGKILL).doing("PR_SET_PDEATHSIG")?;
    let listener = TcpListener::bind("127.0.0.1:0").doing("bind")?;
    let address = listener.local_addr().doing("getsockname")?;
    writeln!(std::io::stdout(), "limit on ws://{address}{}", wire::PATH).doing("print the address")?;
    match arm {
        LimitArm::Echo { busy_poll, reply, request_bytes } => {
            let idle = if *busy_poll { echo::Idle::Spin } else { echo::Idle::Park };
            echo::run(listener, idle, reply, *request_bytes)
        }
        LimitArm::Orders(texts) => orders::run(listener, texts),
        LimitArm::Link(texts) => link::run(listener, texts),
        LimitArm::Fanout { epoch, stamped, rate, bytes, coalesce_us } => fanout::run(
            listener,
            &fanout::Source {
                epoch: epoch.clone(),
                is_stamped: *stamped,
                rate_per_s: *rate,
                data_bytes: *bytes,
                coalesce_us: *coalesce_us,
            },
        ),
    }
}

/// The answer to a complete upgrade request, or `None` while it is incomplete.
fn upgrade_answer(request: &[u8]) -> Result<Option<String>> {
    if !request.ends_with(b"\r\n\r\n") {
        if REQUEST_BYTES_MAX < request.len() {
            return Err(Failure::Protocol("an upgrade request without end".to_owned()));
        }
        return Ok(None);
    }
    let field = b"Sec-WebSocket-Key: ";
    let key = memmem::find(request, field).map(|at| &request[at + field.len()..]);
    let key = key.and_then(|rest| rest.split(|byte| *byte == b'\r').next());
    let key = key.ok_or_else(|| Failure::Protocol("an upgrade without a key".to_owned()))?;
    let accept = tungstenite::handshake::derive_accept_key(key);
    Ok(Some(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_the_sample_key_of_the_rfc() {
        // RFC 6455 §1.3.
        let request = b"GET /ws HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let answer = upgrade_answer(request).unwrap().unwrap();
        assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
        assert_eq!(upgrade_answer(&request[..20]).unwrap(), None);
    }
}
