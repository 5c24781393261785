//! Clients over WebSocket, whose shards relay their texts (`hub/pipes.rs`). Home: the control thread.
//!
//! Invariant: a connection has one session from its opening to its end, or is told to close. What is on its way from one is bounded by
//! its hub; what is on its way to one is bounded there, by what it leaves unread.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::calls::{FromControl, Peer};
use crate::dialect::mcp::{Relay, SessionId, SessionKind};
use crate::model::ids::{ConnId, HomeId};
use crate::telemetry::BackendStatus;
use crate::ws::close::CloseCode;

use super::super::tools;

/// A connection, and the shard that has it.
type Place = (HomeId, ConnId);

/// What shards say of connections on `/mcp`.
#[derive(Debug)]
pub(in crate::control) enum PipeSaid {
    Opened { home: HomeId, conn: ConnId, peer: Peer },
    Text { home: HomeId, conn: ConnId, text: Box<[u8]> },
    Closed { home: HomeId, conn: ConnId },
}

/// The end of whoever has the lines to shards, and tells operators of all backends.
#[derive(Debug)]
pub(in crate::control) struct PipeLine {
    /// How those are that speak MCP.
    pub(in crate::control) status: Arc<ArcSwap<Vec<BackendStatus>>>,
    pub(in crate::control) said: mpsc::UnboundedSender<PipeSaid>,
    /// Words for shards.
    pub(in crate::control) words: mpsc::UnboundedReceiver<(HomeId, FromControl)>,
}

#[derive(Debug)]
pub(super) struct Pipes {
    sessions: BTreeMap<Place, SessionId>,
    clients: BTreeMap<SessionId, Client>,
    words: mpsc::UnboundedSender<(HomeId, FromControl)>,
}

#[derive(Debug)]
struct Client {
    place: Place,
    /// In whose name the gateway's own tools are called.
    shown: tools::Caller,
}

impl Pipes {
    /// With what shards say, and the other end.
    pub(super) fn new() -> (Pipes, mpsc::UnboundedReceiver<PipeSaid>, PipeLine) {
        let (words, for_shards) = mpsc::unbounded_channel();
        let (said, hearing) = mpsc::unbounded_channel();
        let pipes = Pipes { sessions: BTreeMap::new(), clients: BTreeMap::new(), words };
        (pipes, hearing, PipeLine { status: Arc::default(), said, words: for_shards })
    }

    pub(super) fn take(&mut self, relay: &mut Relay, said: PipeSaid, now_ns: u64) {
        match said {
            PipeSaid::Opened { home, conn, peer } => {
                match relay.open_session(SessionKind::Lasting, peer.backend) {
                    Some(session) => {
                        self.sessions.insert((home, conn), session);
                        let Peer { reach, address, authorization, .. } = peer;
                        let shown = tools::Caller { authorization, reach, peer: address };
                        self.clients.insert(session, Client { place: (home, conn), shown });
                    }
                    None => {
                        let code = CloseCode::TRY_AGAIN_LATER.value();
                        let reason = "as many sessions of MCP as may be are open";
                        self.send(home, FromControl::Close { conn, code, reason });
                    }
                }
            }
            PipeSaid::Text { home, conn, text } => {
                if let Some(session) = self.sessions.get(&(home, conn)) {
                    // The hub has looked: it is UTF-8.
                    relay.handle_client(*session, None, &String::from_utf8_lossy(&text), now_ns);
                }
                self.send(home, FromControl::Taken { conn, messages: 1 });
            }
            PipeSaid::Closed { home, conn } => {
                if let Some(session) = self.sessions.remove(&(home, conn)) {
                    self.clients.remove(&session);
                    relay.close_session(session, now_ns);
                }
            }
        }
    }

    /// Sends a text to a client that came so; false where it is none of these.
    pub(super) fn tell(&self, session: SessionId, text: &str) -> bool {
        let Some(Client { place: (home, conn), .. }) = self.clients.get(&session) else { return false };
        self.send(*home, FromControl::Text { conn: *conn, text: Arc::from(text.as_bytes()) });
        true
    }

    /// In whose name a session speaks, if it is one of these.
    pub(super) fn caller(&self, session: SessionId) -> Option<&tools::Caller> {
        self.clients.get(&session).map(|client| &client.shown)
    }

    fn send(&self, home: HomeId, word: FromControl) {
        // Where nobody has the lines any more, the gateway stops.
        let _ = self.words.send((home, word));
    }
}
