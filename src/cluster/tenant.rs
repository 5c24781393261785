//! A place of a node that follows, at the owner: what desk and office know of the node's clients, and what they say to them. PURE. Home: the owner's bridge.
//!
//! To the market's home each place is a home of its own. A node that is given up leaves its place; another node, or the same one anew, has it only when
//! nothing can come any more that was for the one before: each request is answered, and the market's home has said [`Record::Reset`] back behind all else.
//!
//! Invariants: each connection that a node asked for has departed once when the node leaves; what was for one tenant is never told to another; words to a
//! node are kept until it has them, within a bound.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::BuildHasherDefault;

use crate::hub::batch::{Batch, Record};
use crate::limits;
use crate::model::hasher::FixedHasher;
use crate::model::ids::{ConnId, HomeId};
use crate::model::message::{MessageAsk, MessageOutput, MessageRefusal, Name};
use crate::model::order::{AccountId, Ask, Client, Departure, OrderRefusal};

use super::commands::{By, Command, ForwardedAsk, ForwardedMessageAsk, ForwardedTopic, Said, write_said};
use super::order_coding::named_instrument;

/// See the file's head.
#[derive(Debug)]
pub(super) struct Tenant {
    /// What the place is to the market's home, and that itself.
    home: HomeId,
    market: HomeId,
    /// What the node's numbers mean here; `None` where there is no room for the account.
    accounts: HashMap<AccountId, Option<(AccountId, Name)>, BuildHasherDefault<FixedHasher>>,
    /// Connections that have asked, and have not departed.
    asked: HashSet<ConnId, BuildHasherDefault<FixedHasher>>,
    /// Requests of those who had the place, that are not answered yet.
    unanswered: u64,
    /// Something was handed to the market's home for this tenant.
    is_used: bool,
    /// A tenant has left, and the market's home has not said so back.
    is_leaving: bool,
    words: Unacknowledged,
}

/// What was said to a node that it has not said to have.
#[derive(Debug, Default)]
struct Unacknowledged {
    /// How many of the node's were acknowledged: the next has a number one above.
    acknowledged: u64,
    kept: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Tenant {
    /// The place that is `home` to the market's home `market`.
    pub(super) fn new(home: HomeId, market: HomeId) -> Tenant {
        Tenant {
            home,
            market,
            accounts: HashMap::default(),
            asked: HashSet::default(),
            unanswered: 0,
            is_used: false,
            is_leaving: false,
            words: Unacknowledged::default(),
        }
    }

    /// Whether a node may have the place.
    pub(super) fn is_free(&self) -> bool {
        self.unanswered == 0 && !self.is_leaving
    }

    /// The node is given up: what the market's home is to hear of it.
    pub(super) fn leave(&mut self, out: &mut Batch) {
        let mut asked: Vec<ConnId> = self.asked.drain().collect();
        asked.sort_unstable();
        for conn in asked {
            let client = Client { home: self.home, conn };
            out.records.push(Record::Departed { client, how: Departure::Disconnected });
        }
        self.accounts.clear();
        self.words = Unacknowledged::default();
        if std::mem::take(&mut self.is_used) {
            out.records.push(Record::Reset);
            self.is_leaving = true;
        }
    }

    /// What the node means by one of its accounts: by `number` here.
    pub(super) fn name_account(&mut self, account: AccountId, name: Name, number: Option<AccountId>) {
        if self.accounts.len() < limits::ACCOUNTS_MAX as usize || self.accounts.contains_key(&account) {
            self.accounts.insert(account, number.map(|number| (number, name)));
        }
    }

    /// Hands what a node asks for or says to the market's home, which has so many instruments. What is refused here is written to `refused`.
    pub(super) fn serve(
        &mut self,
        command: &Command<'_>,
        instruments: usize,
        out: &mut Batch,
        refused: &mut Vec<u8>,
    ) {
        let (home, market) = (self.home, self.market);
        match command {
            Command::Account { .. } => return,
            Command::Ask(ask) => match self.desk_ask(ask, instruments) {
                Ok(ask) => out.push_ask(ask),
                Err(refusal) => {
                    return write_said(
                        refused,
                        &Said::Answered { ticket: ask.ticket, outcome: Err(refusal) },
                    );
                }
            },
            Command::MessageAsk(ask, content) => match self.message_ask(ask) {
                Ok(ask) => out.push_message_ask(ask, content),
                Err(refusal) => {
                    let answer =
                        MessageOutput::Answer { to: home, ticket: ask.ticket, outcome: Err(refusal) };
                    return write_said(refused, &Said::Message(Cow::Owned(answer)));
                }
            },
            Command::Publish { ticket, name, topic, data } => {
                let (data, topic) = (out.push_bytes(data), topic.map(|topic| topic.at(market)));
                out.records.push(Record::Publish { ticket: *ticket, name: *name, topic, data });
            }
            // Of a client that is not known, nothing more is said.
            Command::Departed { conn, how } => {
                if self.asked.remove(conn) {
                    out.records.push(Record::Departed { client: Client { home, conn: *conn }, how: *how });
                }
                return;
            }
            Command::MessagesWritten { conn, count } => {
                if self.asked.contains(conn) {
                    let client = Client { home, conn: *conn };
                    out.records.push(Record::MessagesWritten { client, count: *count });
                }
                return;
            }
        }
        self.is_used = true;
        self.unanswered += 1;
    }

    /// Words of the market's home to this place, of which those that are for the tenant are written to `words`.
    pub(super) fn handle_words(&mut self, batch: &Batch, words: &mut Vec<u8>) {
        for record in &batch.records {
            let (said, is_answer) = match record {
                Record::Reset => {
                    self.is_leaving = false;
                    continue;
                }
                Record::Answered { ticket, outcome } => {
                    let outcome = outcome.map(|result| batch.slice(result));
                    (Said::Answered { ticket: *ticket, outcome }, true)
                }
                Record::Message { at } => {
                    let message = batch.message(*at);
                    (Said::Message(Cow::Borrowed(message)), matches!(message, MessageOutput::Answer { .. }))
                }
                Record::Published { ticket, outcome } => {
                    let outcome = outcome.map(|(topic, place)| (ForwardedTopic::of(topic), place));
                    (Said::Published { ticket: *ticket, outcome }, true)
                }
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
                | Record::Publish { .. }
                | Record::Ask { .. }
                | Record::Departed { .. }
                | Record::MessageAsk { .. }
                | Record::MessagesWritten { .. } => {
                    panic!("invariant: the market's home has no such words for who asks: {record:?}")
                }
            };
            if is_answer {
                self.unanswered =
                    self.unanswered.checked_sub(1).expect("invariant: each request is answered once");
            }
            // Of those before, while they leave: nobody is told.
            if self.is_used && !self.is_leaving {
                write_said(words, &said);
            }
        }
    }

    /// Keeps words for the node and numbers them; `None` where it has so many that it does not hear.
    pub(super) fn keep(&mut self, words: Vec<u8>) -> Option<u64> {
        let kept = &mut self.words;
        kept.bytes += words.len();
        kept.kept.push_back(words);
        (kept.bytes <= limits::CLUSTER_WORDS_BYTES_MAX).then_some(kept.acknowledged + kept.kept.len() as u64)
    }

    /// The node has all words up to this number.
    pub(super) fn acknowledge(&mut self, heard: u64) {
        let kept = &mut self.words;
        while kept.acknowledged < heard
            && let Some(words) = kept.kept.pop_front()
        {
            kept.acknowledged += 1;
            kept.bytes -= words.len();
        }
    }

    /// All that the node may not have.
    pub(super) fn unacknowledged(&self) -> impl Iterator<Item = (u64, &[u8])> {
        (self.words.acknowledged + 1..).zip(self.words.kept.iter().map(Vec::as_slice))
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        self.accounts.capacity() * size_of::<(AccountId, Option<(AccountId, Name)>)>()
            + self.asked.capacity() * size_of::<ConnId>()
            + self.words.bytes
    }

    fn desk_ask(&mut self, ask: &ForwardedAsk, instruments: usize) -> Result<Ask, OrderRefusal> {
        let ForwardedAsk { ticket, account, conn, is_connection, encoding, request } = *ask;
        if named_instrument(&request).is_some_and(|id| id.index() >= instruments) {
            return Err(OrderRefusal::VenueUnavailable);
        }
        let Some(Some((account, _))) = self.accounts.get(&account).copied() else {
            return Err(OrderRefusal::Full);
        };
        if is_connection && !self.note_asked(conn) {
            return Err(OrderRefusal::Full);
        }
        let client = Client { home: self.home, conn };
        Ok(Ask { ticket, account, client, is_connection, encoding, request })
    }

    fn message_ask(&mut self, ask: &ForwardedMessageAsk) -> Result<MessageAsk, MessageRefusal> {
        let ForwardedMessageAsk { ticket, by, conn, is_connection, request } = ask.clone();
        let (account, user) = match by {
            // As a backend's shard asks on the owner's own node.
            By::Processor(user) => (AccountId(u32::MAX), user),
            By::Account(account) => {
                self.accounts.get(&account).copied().flatten().ok_or(MessageRefusal::Full)?
            }
        };
        if is_connection && !self.note_asked(conn) {
            return Err(MessageRefusal::Full);
        }
        let client = Client { home: self.home, conn };
        Ok(MessageAsk { ticket, account, user, client, is_connection, request })
    }

    /// A connection has asked; whether there is room to know it.
    fn note_asked(&mut self, conn: ConnId) -> bool {
        if self.asked.len() >= limits::CLUSTER_CLIENTS_MAX && !self.asked.contains(&conn) {
            return false;
        }
        self.asked.insert(conn);
        true
    }
}

#[cfg(test)]
mod tests;
