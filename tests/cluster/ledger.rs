//! What senders of durable messages were told, what receivers got, and whether the two agree: kept in the test's process, which nothing
//! that goes wrong touches. The same oracle as of one server (`tests/crash/ledger.py`), for a market that changes its owner.
//!
//! A message is known by its sender's own name for it. Invariants: nothing is delivered that was never sent, to somebody else, or with
//! other content; nothing that its sender was told is not sent, and did not send again; a second delivery says that it is one; what was
//! confirmed does not come on a connection that began later; of one sender and receiver what comes for the first time is in its order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    messages: BTreeMap<String, Entry>,
    /// The newest of a sender and a receiver that was delivered as new.
    newest: BTreeMap<(String, String), u64>,
    /// Counts connections of receivers, by which moments are told apart.
    connections: u64,
    pub(crate) counts: Counts,
}

/// What is known of one message, from before the first byte of it leaves.
#[derive(Debug, Default)]
struct Entry {
    sender: String,
    receiver: String,
    number: u64,
    is_promised: bool,
    /// Its sender was told nothing of it, or that nobody knows.
    is_unknown: bool,
    /// Refused once: others may have been taken before it.
    is_overtaken: bool,
    /// Its sender was told that it is not sent, and left it at that.
    is_renounced: bool,
    deliveries: u64,
    /// Its receiver has said that it has it, whether or not that was heard.
    is_judged: bool,
    is_confirmed: bool,
    /// The newest connection there was when it was confirmed.
    confirmed_at: u64,
    is_dead: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    /// Told to be durable.
    pub(crate) promised: u64,
    /// Of these, sent before under the same name.
    pub(crate) repeated: u64,
    /// Told to be not sent, and told that nobody knows or nothing, each time counted.
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    /// Refused and not sent again.
    pub(crate) renounced: u64,
    pub(crate) delivered: u64,
    /// Deliveries beyond the first: each of them marked.
    pub(crate) again: u64,
    pub(crate) judged: u64,
    pub(crate) confirmed: u64,
    pub(crate) dead: u64,
}

impl Ledger {
    /// A name for this sender's next message.
    pub(crate) fn compose(&mut self, sender: &str, number: u64, receiver: &str) -> String {
        let name = format!("{sender}:{number}");
        let entry =
            Entry { sender: sender.to_owned(), receiver: receiver.to_owned(), number, ..Entry::default() };
        assert!(self.messages.insert(name.clone(), entry).is_none(), "a name for each");
        self.counts.sent += 1;
        name
    }

    /// Its sender was told that it is durable.
    pub(crate) fn promise(&mut self, name: &str, is_repeated: bool) {
        let entry = self.entry(name);
        // One under whose name nothing can be known, since nothing of it had left.
        assert!(!is_repeated || entry.is_unknown, "{name} is taken for one that was sent before");
        let is_new = !std::mem::replace(&mut entry.is_promised, true);
        self.counts.promised += u64::from(is_new);
        self.counts.repeated += u64::from(is_repeated);
    }

    /// Its sender was told that it is not sent.
    pub(crate) fn refuse(&mut self, name: &str) {
        self.entry(name).is_overtaken = true;
        self.counts.refused += 1;
    }

    /// Nobody can tell its sender what has become of it.
    pub(crate) fn lose_sight(&mut self, name: &str) {
        let entry = self.entry(name);
        (entry.is_unknown, entry.is_overtaken) = (true, true);
        self.counts.unknown += 1;
    }

    /// Its sender leaves it at a refusal, if it was never told anything else. Whether it may.
    pub(crate) fn renounce(&mut self, name: &str) -> bool {
        let entry = self.entry(name);
        if entry.is_unknown {
            return false;
        }
        assert_eq!(entry.deliveries, 0, "{name} is delivered, and its sender was told that it is not sent");
        entry.is_renounced = true;
        self.counts.renounced += 1;
        true
    }

    /// A connection of a receiver begins; what it is known by.
    pub(crate) fn connect(&mut self) -> u64 {
        self.connections += 1;
        self.connections
    }

    /// A receiver got this on that connection. Its name.
    pub(crate) fn deliver(&mut self, receiver: &str, connection: u64, params: &Value) -> String {
        let name = params["client_id"].as_str().unwrap_or_else(|| panic!("nobody's: {params}")).to_owned();
        let entry = self.messages.get_mut(&name).unwrap_or_else(|| panic!("nobody sent it: {params}"));
        assert_eq!(entry.receiver, receiver, "somebody else's: {params}");
        assert_eq!(params["from"], entry.sender, "{params}");
        assert_eq!(params["content"], content_of(&name), "other content: {params}");
        assert!(!entry.is_renounced, "its sender was told that it is not sent: {params}");
        assert!(
            !entry.is_confirmed || connection <= entry.confirmed_at,
            "{receiver} had confirmed it before it came here: {params}"
        );
        let is_marked = params["redelivered"] == true;
        assert!(entry.deliveries == 0 || is_marked, "it comes again and is not marked: {params}");
        if !is_marked && !entry.is_overtaken {
            let number = entry.number;
            let newest = self.newest.entry((entry.sender.clone(), receiver.to_owned())).or_default();
            assert!(number > *newest, "it comes behind number {newest} of the same sender: {params}");
            *newest = number;
        }
        self.counts.delivered += u64::from(entry.deliveries == 0);
        self.counts.again += u64::from(entry.deliveries > 0);
        entry.deliveries += 1;
        name
    }

    /// Its receiver says that it has it.
    pub(crate) fn judge(&mut self, name: &str) {
        let is_new = !std::mem::replace(&mut self.entry(name).is_judged, true);
        self.counts.judged += u64::from(is_new);
    }

    /// Its receiver was told that it is confirmed.
    pub(crate) fn confirm(&mut self, name: &str) {
        let connections = self.connections;
        let entry = self.entry(name);
        if !std::mem::replace(&mut entry.is_confirmed, true) {
            entry.confirmed_at = connections;
            self.counts.confirmed += 1;
        }
    }

    /// It is a dead letter, of which there is one for each however often it is told.
    pub(crate) fn bury(&mut self, name: &str) {
        let is_new = !std::mem::replace(&mut self.entry(name).is_dead, true);
        self.counts.dead += u64::from(is_new);
    }

    /// What waits for its receiver, about.
    pub(crate) fn backlog(&self) -> u64 {
        self.counts.promised.saturating_sub(self.counts.judged)
    }

    /// What was told to be durable, and is neither a dead letter nor has its receiver ever said to have it: one that was delivered and not confirmed is to come again.
    pub(crate) fn open(&self) -> BTreeSet<&str> {
        let is_open = |entry: &Entry| entry.is_promised && !entry.is_judged && !entry.is_dead;
        self.messages.iter().filter(|(_, entry)| is_open(entry)).map(|(name, _)| &**name).collect()
    }

    fn entry(&mut self, name: &str) -> &mut Entry {
        self.messages.get_mut(name).unwrap_or_else(|| panic!("nobody sent {name}"))
    }
}

/// What belongs to a message of this name: of many lengths, each of it different.
pub(crate) fn content_of(name: &str) -> Value {
    let sum: usize = name.bytes().map(usize::from).sum();
    json!({"of": name, "fill": "x".repeat(sum % 700)})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(name: &str, is_marked: bool) -> Value {
        json!({"client_id": name, "from": "s", "redelivered": is_marked, "content": content_of(name)})
    }

    fn is_let_through(told: impl FnOnce(&mut Ledger) + Send + 'static) -> bool {
        std::thread::spawn(move || {
            let mut ledger = Ledger::default();
            for number in 1..4 {
                ledger.compose("s", number, "r");
            }
            ledger.connect();
            told(&mut ledger);
        })
        .join()
        .is_ok()
    }

    #[test]
    fn what_is_promised_and_neither_confirmed_nor_dead_is_open_though_it_was_delivered() {
        let mut ledger = Ledger::default();
        for number in 1..6 {
            let name = ledger.compose("s", number, "r");
            if number < 5 {
                ledger.promise(&name, false);
            }
        }
        let connection = ledger.connect();
        for name in ["s:1", "s:3"] {
            ledger.deliver("r", connection, &params(name, false));
        }
        ledger.judge("s:1");
        ledger.bury("s:2");
        ledger.bury("s:2");
        assert_eq!((ledger.open(), ledger.counts.dead), (BTreeSet::from(["s:3", "s:4"]), 1));
    }

    #[test]
    fn what_comes_again_and_says_so_is_let_through_also_while_its_confirmation_is_told() {
        assert!(is_let_through(|ledger| {
            ledger.deliver("r", 1, &params("s:1", false));
            ledger.deliver("r", 1, &params("s:1", true));
            ledger.confirm("s:1");
            ledger.deliver("r", 1, &params("s:1", true));
            ledger.lose_sight("s:2");
            ledger.deliver("r", 1, &params("s:3", false));
            ledger.deliver("r", 1, &params("s:2", false));
        }));
    }

    #[test]
    fn what_nobody_sent_comes_unmarked_after_its_end_or_out_of_order_is_not() {
        let wrong: [fn(&mut Ledger); 8] = [
            |ledger| drop(ledger.deliver("r", 1, &params("s:4", false))),
            |ledger| drop(ledger.deliver("other", 1, &params("s:1", false))),
            |ledger| {
                let mut other = params("s:1", false);
                other["content"] = json!(1);
                ledger.deliver("r", 1, &other);
            },
            |ledger| {
                ledger.deliver("r", 1, &params("s:1", false));
                ledger.deliver("r", 1, &params("s:1", false));
            },
            |ledger| {
                ledger.deliver("r", 1, &params("s:1", false));
                ledger.confirm("s:1");
                let later = ledger.connect();
                ledger.deliver("r", later, &params("s:1", true));
            },
            |ledger| {
                ledger.deliver("r", 1, &params("s:2", false));
                ledger.deliver("r", 1, &params("s:1", false));
            },
            |ledger| {
                ledger.refuse("s:1");
                assert!(ledger.renounce("s:1"));
                ledger.deliver("r", 1, &params("s:1", false));
            },
            |ledger| ledger.promise("s:1", true),
        ];
        for (number, told) in wrong.into_iter().enumerate() {
            assert!(!is_let_through(told), "number {number}");
        }
    }
}
