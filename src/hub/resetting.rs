//! Another desk and office than before serve a node's shards: what is of before is told apart from what is of now. PURE. Home: who
//! stands where the market's home does, and each shard.
//!
//! Each shard is told so by [`Record::Reset`] among the commands, and says the same back. What it asked or said before that is of those that are gone:
//! they cannot hear it, and who is there now is not to. The shard answers for them: all that it had asked and no answer came to is unknown.
//!
//! Invariants: a request is answered once, by the one that was asked, or here; a client that the earlier ones knew is known to the later ones by nothing
//! that it said to those.

use crate::limits;
use crate::model::ids::{ConnId, HomeId, HomeSet, Ticket};
use crate::model::message::MessageRefusal;
use crate::model::order::OrderRefusal;

use super::Hub;
use super::batch::{PublishRefusal, Record};
use super::incident::Closing;
use super::outbox::Outbox;
use super::session::Session;

/// Which shards have not said back yet that they know.
#[derive(Debug)]
pub struct Resetting {
    /// How often each was told and has not said so.
    untold: [u32; limits::HOMES_MAX],
}

impl Default for Resetting {
    fn default() -> Resetting {
        Resetting { untold: [0; limits::HOMES_MAX] }
    }
}

impl Resetting {
    /// Tells these shards.
    pub(crate) fn begin(&mut self, shards: HomeSet, outbox: &mut Outbox) {
        for shard in shards.iter() {
            self.untold[shard.index()] += 1;
            outbox.command(shard).records.push(Record::Reset);
        }
    }

    /// A home says [`Record::Reset`]; whether it says it back.
    pub(crate) fn is_echo(&mut self, from: HomeId) -> bool {
        let untold = &mut self.untold[from.index()];
        let is_echo = *untold > 0;
        *untold -= u32::from(is_echo);
        is_echo
    }

    /// Whether a record is for those who are there now. Leaves of topics and the like are: they name what the one who is asked has told.
    pub(crate) fn admits(&self, from: HomeId, record: &Record) -> bool {
        self.untold[from.index()] == 0 || !is_asked_of_desk_or_office(record)
    }
}

/// What asks the desk or the office, or the home of clients' topics, for something, or tells them of a client.
fn is_asked_of_desk_or_office(record: &Record) -> bool {
    match record {
        Record::Ask { .. }
        | Record::Departed { .. }
        | Record::MessageAsk { .. }
        | Record::MessagesWritten { .. }
        | Record::Publish { .. } => true,
        Record::Listed { .. }
        | Record::Levels { .. }
        | Record::Traded { .. }
        | Record::StateChanged { .. }
        | Record::Links { .. }
        | Record::Image { .. }
        | Record::Frame { .. }
        | Record::Deflated { .. }
        | Record::Replayed { .. }
        | Record::Joined { .. }
        | Record::Gap { .. }
        | Record::Join { .. }
        | Record::Windows { .. }
        | Record::Leave { .. }
        | Record::Published { .. }
        | Record::Answered { .. }
        | Record::Message { .. }
        | Record::Reset => false,
    }
}

impl Hub {
    /// Those that were asked are gone: what they have not answered is unknown, and who had asked them for anything is sent away, since what they kept
    /// for it (cancel on disconnect, what it hears of messages) is no more.
    pub(super) fn on_reset(&mut self, from: HomeId) {
        let mut known: Vec<ConnId> = Vec::new();
        for session in self.sessions.iter_mut().flatten() {
            if session.take_asked().is_some() {
                known.push(session.conn);
            }
        }
        // From here on what is said is for those who are there now.
        self.outbox.command(from).records.push(Record::Reset);
        self.renew_processors();
        for ticket in tickets(&self.asks) {
            self.on_answered(ticket, Err(OrderRefusal::OwnerLost));
        }
        for ticket in tickets(&self.message_asks) {
            self.on_message_answered(ticket, &Err(MessageRefusal::OwnerLost));
        }
        if self.config.topics_at_market {
            for ticket in tickets(&self.publishes) {
                self.on_published(ticket, Err(PublishRefusal::OwnerLost));
            }
        }
        for conn in known {
            self.stop_hearing(conn);
            if self.session(conn).is_some_and(|session| Session::is_open(session)) {
                self.begin_close(conn, Closing::OwnerChanged);
            }
        }
    }
}

fn tickets<T>(waiting: &super::Tickets<T>) -> Vec<Ticket> {
    let each = waiting.entries.iter();
    each.map(|(slot, (generation, _))| Ticket { slot: super::topics::narrow(slot), generation: *generation })
        .collect()
}
