//! How a connection may end, and what its client must have been told by then: a close frame or a refusal, for the reason that
//! its hub reported or as the answer to the client's own. PURE. A verdict is a panic.
//!
//! A hub may end a connection once an end has begun: it has reported why, or the client has said close or sends no more. It
//! ends it gracefully, after all is written; or at once, which is designed for one case only: the end is not through after the
//! close timeout, because the client does not read or has vanished.

use crate::hub::{Ending, Incident};

use super::client::push_frame;
use super::world::{CLOSE_TIMEOUT_NS, HANDSHAKE_TIMEOUT_NS, World};

impl World {
    /// An end of the link begins, by its hub or its client.
    pub(super) fn begin_ending(&mut self, link: usize) {
        self.links[link].ending_ns.get_or_insert(self.now.mono_ns);
    }

    /// Its hub has reported an incident of the link.
    pub(super) fn note_incident(&mut self, link: usize, incident: Incident) {
        match incident {
            Incident::Refused(_) | Incident::Broken(_) | Incident::Closed(_) => {
                let earlier = self.links[link].incident.replace(incident);
                assert_eq!(earlier, None, "a connection ends for one reason, but {incident:?}");
                self.begin_ending(link);
            }
            Incident::Declined(_) => {}
            Incident::Front(_) | Incident::Tls(_) | Incident::Vanished => {
                panic!("nothing of the simulation is {incident:?}")
            }
        }
    }

    /// Its hub ends the link.
    pub(super) fn judge_ending(&self, link: usize, ending: Ending) {
        let link = &self.links[link];
        let Some(begun_ns) = link.ending_ns else { panic!("{:?} ends without a reason", link.conn) };
        match ending {
            Ending::Graceful => {}
            Ending::Abort => {
                let passed_ns = self.now.mono_ns - begun_ns;
                assert!(passed_ns >= CLOSE_TIMEOUT_NS, "{:?} is aborted after {passed_ns} ns", link.conn);
                // Those who read were told long ago, and went.
                assert!(!self.resting || link.vanished, "{:?} is aborted in a world at rest", link.conn);
            }
        }
    }

    /// The client was refused before the upgrade.
    pub(super) fn judge_refusal(&mut self, client: usize, link: usize, status: u16) {
        let entry = &self.links[link];
        let Some(Incident::Refused(rejection)) = entry.incident else {
            panic!("client {client} was refused by {status}, but its hub reported {:?}", entry.incident)
        };
        assert_eq!(status, rejection.status().code(), "client {client}: {rejection:?}");
        match status {
            _ if self.clients[client].hostile.is_some() => self.oracle.count("refused while hostile"),
            408 => {
                let waited_ns = self.now.mono_ns - entry.opened_ns;
                assert!(waited_ns >= HANDSHAKE_TIMEOUT_NS, "client {client} was refused early");
                self.oracle.count("refused late");
            }
            503 => {
                assert!(self.options.overloads, "client {client} was refused by a world at ease");
                self.oracle.count("refused under load");
            }
            other => panic!("client {client} was refused by {other}"),
        }
    }

    /// The client was told a close; what it answers goes to `out`.
    pub(super) fn judge_close(
        &mut self,
        client: usize,
        link: usize,
        (code, reason): (Option<u16>, &str),
        out: &mut Vec<u8>,
    ) {
        let is_hostile = self.clients[client].hostile.is_some();
        let was_closing = self.clients[client].closing;
        match self.links[link].incident {
            Some(incident) => {
                assert_eq!(code.map(i32::from), incident.code(), "client {client}: {incident:?}");
                if let Incident::Closed(closing) = incident {
                    assert_eq!(reason, closing.reason(), "client {client}: {incident:?}");
                }
            }
            None => {
                let answers = (was_closing || is_hostile) && reason.is_empty();
                assert!(answers, "client {client} was closed by {code:?} {reason} and nobody knows why");
            }
        }
        self.oracle.count(match code {
            _ if is_hostile => "closed while hostile",
            Some(1000) if reason == "idle" => "closed as idle",
            Some(1000) if was_closing => "closed normally",
            Some(1002 | 1003 | 1007 | 1009) if was_closing => "closed for a fault",
            Some(1008) if reason.contains("slow consumer") => "closed as slow",
            Some(1013) if self.options.overloads => "closed to make room",
            Some(1008) if reason.contains("lost inside") => "closed for a gap",
            Some(1008) if reason == "no pong" || reason == "heartbeat lost" => "closed as dead",
            Some(1008) if reason.contains("not finished") => "closed as too slow to send",
            other => panic!("client {client} was closed by {other:?} {reason}"),
        });
        if !was_closing {
            push_frame(out, 0x88, &code.unwrap_or(1000).to_be_bytes(), &mut self.random);
        }
        self.clients[client].closing = true;
    }

    /// Nothing more comes down: the client has been told why, unless it was the one who left.
    pub(super) fn judge_left(&self, client: usize, link: usize) {
        let (client, link) = (&self.clients[client], &self.links[link]);
        let excused = link.cut || link.aborted;
        let told = client.told_close || client.is_refused();
        assert!(
            excused || link.client_ended || told,
            "client {} was left without a word: {link:?}",
            client.number
        );
        assert!(
            excused || client.is_between_frames(),
            "client {}: its last frame is cut short",
            client.number
        );
    }

    /// At rest, who is connected is served: ends that were begun are through, and each whole request for an upgrade has its
    /// answer.
    pub(super) fn judge_connected(&self) {
        for client in &self.clients {
            let Some(link) = client.link.map(|link| &self.links[link]) else { continue };
            let ends = link.closed || link.server_ended || link.cut || link.client_ended || client.closing;
            assert!(!ends, "client {}: an end is not through: {link:?}", client.number);
            let asks = client.hostile.as_ref().is_none_or(|hostile| hostile.has_asked());
            assert!(client.open || !asks, "client {} has no answer to its upgrade", client.number);
        }
    }
}
