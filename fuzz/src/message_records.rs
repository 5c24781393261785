//! Records of messages, dead letters, names and groups, as the store has them.
//!
//! Property: whatever the bytes, nothing panics; what is read is written to the same bytes; a record of another version is refused.
//! An office that loads them as whatever table they are said to be of takes them or counts them as unreadable, delivers, lets time go by,
//! and writes only what a second office reads without a fault.
//!
//! Input: a byte of choices, then records, each after its length (one byte, or two where that is 255), its table and an offset of its key.

use std::collections::BTreeMap;

use tickring::mail::record::{DoneRecord, GroupRecord, LetterRecord, MessageRecord};
use tickring::mail::{Office, OfficeConfig};
use tickring::model::ids::{ConnId, HomeId, Ticket};
use tickring::model::message::{MessageAsk, MessageRequest, Name, Reception};
use tickring::model::order::{AccountId, Client};
use tickring::model::storage::{Key, StoreOp, StoreState, StoreWord, Table};
use tickring::model::time::Now;

const START: Now = Now { mono_ns: 1_000_000_000, unix_ns: 1_790_000_000_000_000_000 };

/// Choices of the first byte.
const IS_ONE_RECORD: u8 = 1;
const IS_LATE: u8 = 2;

type Tables = BTreeMap<(Table, Key), Box<[u8]>>;

/// See the file's head.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let Some((choices, rest)) = input.split_first() else { return };
    if choices & IS_ONE_RECORD != 0 {
        return check_record(rest);
    }
    let mut tables = tables(rest);
    let mut now = START;
    if choices & IS_LATE != 0 {
        now = now.plus_ns(86_400_000_000_000);
    }
    let first = load(&tables, now);
    let unreadable = first.office.counters().unreadable_total;
    let written = first.live();
    for op in written {
        match op {
            StoreOp::Put { table, key, value } => tables.insert((table, key), value),
            StoreOp::Remove { table, key } => tables.remove(&(table, key)),
        };
    }
    let second = load(&tables, now.plus_ns(1_000_000));
    assert!(second.office.counters().unreadable_total <= unreadable, "what was written is not read");
}

fn check_record(bytes: &[u8]) {
    if let Ok(record) = MessageRecord::decode(bytes) {
        assert_eq!(*record.encode(), *bytes);
    }
    if let Ok(record) = LetterRecord::decode(bytes) {
        assert_eq!(*record.encode(), *bytes);
    }
    if let Ok(record) = DoneRecord::decode(bytes) {
        assert_eq!(*record.encode(), *bytes);
    }
    if let Ok(record) = GroupRecord::decode(bytes) {
        assert_eq!(*record.encode(), *bytes);
    }
    if bytes.first().is_some_and(|version| *version != 1) {
        assert!(MessageRecord::decode(bytes).is_err() && LetterRecord::decode(bytes).is_err());
        assert!(DoneRecord::decode(bytes).is_err() && GroupRecord::decode(bytes).is_err());
    }
}

fn tables(mut bytes: &[u8]) -> Tables {
    let mut tables = Tables::new();
    let mut key = START.unix_ns / 1_000 | 1;
    while let Some((len, rest)) = bytes.split_first() {
        let (len, rest) = match (*len, rest.split_first()) {
            (255, Some((more, rest))) => (255 + usize::from(*more), rest),
            (len, _) => (usize::from(len), rest),
        };
        let [table, offset, rest @ ..] = rest else { break };
        key += u64::from(*offset);
        let (value, rest) = rest.split_at(len.min(rest.len()));
        tables.insert((Table::ALL[usize::from(*table) % Table::ALL.len()], key), value.into());
        bytes = rest;
    }
    tables
}

struct World {
    office: Office,
    now: Now,
}

fn load(tables: &Tables, now: Now) -> World {
    let mut office = Office::new(OfficeConfig::default(), now);
    office.handle_store(StoreWord::State(StoreState::Loading), now);
    for table in Table::ALL {
        let of = tables.iter().filter(|((of, _), _)| *of == table);
        let entries = of.map(|((_, key), value)| (*key, value.clone())).collect();
        office.handle_store(StoreWord::Entries { table, entries }, now);
    }
    office.handle_store(StoreWord::Loaded, now);
    office.handle_store(StoreWord::State(StoreState::Ready), now);
    World { office, now }
}

impl World {
    /// A receiver comes, and an hour goes by: what was written meanwhile.
    fn live(mut self) -> Vec<StoreOp> {
        let client = Client { home: HomeId(0), conn: ConnId { slot: 0, generation: 0 } };
        let reception = Reception { under_way_max: 2 };
        let ask = MessageAsk {
            ticket: Ticket { slot: 0, generation: 0 },
            account: AccountId(0),
            user: Name::parse("a").expect("a name"),
            client,
            is_connection: true,
            request: MessageRequest::Subscribe { reception, topics: Box::default() },
        };
        self.office.handle_ask(&ask, b"", self.now);
        let mut ops = Vec::new();
        let end_ns = self.now.mono_ns + 3_600_000_000_000;
        for _ in 0..1_000 {
            while self.office.poll_output().is_some() {}
            while let Some(batch) = self.office.poll_batch() {
                let through = batch.number;
                ops.extend(batch.ops);
                self.office.handle_store(StoreWord::Stored { through }, self.now);
            }
            let Some(at_ns) = self.office.poll_timeout().filter(|at_ns| *at_ns <= end_ns) else { break };
            self.now = self.now.plus_ns(at_ns.saturating_sub(self.now.mono_ns));
            self.office.handle_timeout(self.now);
        }
        ops
    }
}
