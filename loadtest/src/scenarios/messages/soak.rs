//! A soak: durable messages at a low rate to receivers who keep up, are slow, come and go, and are away, against a server that keeps
//! only so many for each and only so many dead letters. What it holds is looked at all the time; at the end everybody comes and takes
//! what waits. Home: the load thread.
//! Invariant: every message whose sender was told that it is accepted is received by its receiver or counted as a dead letter.

mod receiver;

use crate::account::Account;
use crate::client::Single;
use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::failure::{Failure, Result};
use crate::operators::Metrics;
use crate::scenarios::messages::site::{self, Needs, Site};
use crate::scenarios::messages::soak::receiver::{Chance, Manner, Receiver};
use crate::scenarios::messages::texts::{Reader, Said, SendFrame};
use crate::scenarios::messages::{Shape, queue};
use crate::scenarios::{self, Rig};
use crate::schedule::Schedule;
use crate::server::{self, Server};

/// Of what is sent to one receiver, the part that may wait for it: who is away for all of the soak overflows from its first quarter on.
const MAILBOX_PART: u64 = 4;
const MAILBOX_MAX: u64 = 1_000;
/// Mailboxes' worth of dead letters that are kept.
const DEAD_MAILBOXES: u64 = 2;
/// How often the server is looked at, and how long the load sleeps where nothing happens.
const LOOK_NS: u64 = 500 * MILLISECOND_NS;
const REST_NS: u64 = MILLISECOND_NS;
/// The longest wait for what is still to come, once all is sent.
const DRAIN_NS: u64 = 60 * SECOND_NS;
/// What a message may take of memory and of the store's file beside its content, and what each has without any: the file grows by doubling,
/// and a changed page is another one.
const ITEM_BYTES: u64 = 1_024;
const FIXED_BYTES: u64 = 32 << 20;
/// What may have come to the resident memory in the second half, when all that is bounded is full: it would take in less than a hundred
/// bytes lost for each of a hundred thousand messages.
const GROWN_BYTES_MAX: u64 = 8 << 20;
const MIB: u64 = 1 << 20;

/// What the server held at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Look {
    resident_bytes: u64,
    file_bytes: u64,
    messages: u64,
    dead_letters: u64,
    queued_bytes: u64,
}

impl Look {
    fn take(server: &Server) -> Result<Look> {
        let metrics = Metrics::ask(server.control()?)?;
        Ok(Look {
            resident_bytes: server.resident_bytes()?,
            file_bytes: metrics.sum_of("tickring_store_file_bytes")?,
            messages: metrics.sum_of("tickring_messages_held")?,
            dead_letters: metrics.sum_of("tickring_dead_letters")?,
            queued_bytes: metrics.sum_of("tickring_store_queued_bytes")?,
        })
    }

    fn most(self, other: Look) -> Look {
        Look {
            resident_bytes: self.resident_bytes.max(other.resident_bytes),
            file_bytes: self.file_bytes.max(other.file_bytes),
            messages: self.messages.max(other.messages),
            dead_letters: self.dead_letters.max(other.dead_letters),
            queued_bytes: self.queued_bytes.max(other.queued_bytes),
        }
    }
}

/// What the server is configured to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    mailbox: u64,
    dead_letters: u64,
    receivers: u64,
}

impl Bounds {
    fn of(sent_each: u64, receivers: u64) -> Bounds {
        let mailbox = (sent_each / MAILBOX_PART).clamp(1, MAILBOX_MAX);
        Bounds { mailbox, dead_letters: DEAD_MAILBOXES * mailbox, receivers }
    }

    /// Messages that are not over: mailboxes, what is under way and what is on its way to the disk.
    fn messages(self) -> u64 {
        self.receivers * (self.mailbox + 64) + 1_024
    }

    /// Of memory beyond what it began with, or of the disk.
    fn bytes(self, content_bytes: u64) -> u64 {
        FIXED_BYTES + (self.messages() + self.dead_letters) * (content_bytes + ITEM_BYTES)
    }
}

/// One sender and its receiver.
struct Stream {
    sender: Single,
    send: SendFrame,
    sent: u64,
    accepted: u64,
    receiver: Receiver,
}

impl Stream {
    /// Hears whose sends were accepted; whether there were some.
    fn hear_sender(&mut self, reader: &Reader) -> Result<bool> {
        let mut has_heard = false;
        while let Some(message) = self.sender.poll()? {
            let said = reader.read(message)?;
            if said != Said::Accepted(self.accepted) {
                return Err(Failure::Protocol(format!("{said:?} to who waits for {}", self.accepted)));
            }
            self.accepted += 1;
            has_heard = true;
        }
        Ok(has_heard)
    }
}

/// What was looked at and counted.
#[derive(Debug, Default)]
struct Seen {
    began: Look,
    most: Look,
    /// The most of each half.
    halves: [Look; 2],
    looks: u64,
    sent: u64,
    accepted: u64,
    received: u64,
    repeated: u64,
    visits: u64,
    /// Of all streams whose receivers kept up or came back in time, what was not received.
    missing_of_present: u64,
    dead: u64,
    dead_dropped: u64,
    left: u64,
}

/// One soak; it is judged, and compared with nothing.
pub(super) fn run(rig: &Rig, shape: &Shape) -> Account {
    let mut account = Account { case: "messages, soak".to_owned(), ..Account::default() };
    let receivers = shape.streams() as u64;
    let sent_each = shape.soak_per_s * shape.soak_ns / SECOND_NS / receivers;
    let bounds = Bounds::of(sent_each, receivers);
    account.notes.push(format!(
        "{} durable messages a second for {} s to {receivers} receivers, a quarter each steady, slow, flapping and absent; at most {} wait for each, \
         {} dead letters",
        shape.soak_per_s,
        shape.soak_ns / SECOND_NS,
        bounds.mailbox,
        bounds.dead_letters
    ));
    match soak(rig, shape, bounds) {
        Ok(seen) => judge(&mut account, &seen, bounds, shape),
        Err(failure) => account.judge(format!("the soak came to its end: {failure}"), false),
    }
    account
}

fn judge(account: &mut Account, seen: &Seen, bounds: Bounds, shape: &Shape) {
    let count = |count: u64| scenarios::ratio(count, 1);
    account.add("accepted", "count", count(seen.accepted));
    account.add("received", "count", count(seen.received));
    account.add("delivered again", "count", count(seen.repeated));
    account.add("dead letters in all", "count", count(seen.dead));
    account.add("of those dropped", "count", count(seen.dead_dropped));
    account.add("connections of receivers", "count", count(seen.visits));
    account.add("looks", "count", count(seen.looks));
    let mib = |bytes: u64| scenarios::ratio(bytes, MIB);
    account.add("resident at the beginning", "MiB", mib(seen.began.resident_bytes));
    account.add("resident, first half", "MiB", mib(seen.halves[0].resident_bytes));
    account.add("resident, second half", "MiB", mib(seen.halves[1].resident_bytes));
    account.add("store's file, first half", "MiB", mib(seen.halves[0].file_bytes));
    account.add("store's file, second half", "MiB", mib(seen.halves[1].file_bytes));
    account.add("store's queue at most", "bytes", count(seen.most.queued_bytes));
    let mut judge = |claim: String, holds: bool| account.judge(claim, holds);
    judge(format!("all {} sends were accepted", seen.sent), seen.accepted == seen.sent && seen.sent > 0);
    let (received, dead) = (seen.received, seen.dead);
    judge(
        format!("{received} received and {dead} dead letters are all {} that were promised", seen.accepted),
        received + dead == seen.accepted,
    );
    let missing = seen.missing_of_present;
    judge(format!("who keeps up or comes back in time lacks {missing} messages"), missing == 0);
    judge(format!("{} messages are left at the end", seen.left), seen.left == 0);
    let at_most =
        |what: &str, value: u64, most: u64| (format!("{what}: {value}, at most {most}"), value <= most);
    let bytes_max = bounds.bytes(shape.content_bytes as u64);
    let grown = seen.most.resident_bytes.saturating_sub(seen.began.resident_bytes);
    let later = seen.halves[1].resident_bytes.saturating_sub(seen.halves[0].resident_bytes);
    for (claim, holds) in [
        at_most("messages that are not over", seen.most.messages, bounds.messages()),
        at_most("dead letters", seen.most.dead_letters, bounds.dead_letters),
        at_most("bytes that came to the resident memory", grown, bytes_max),
        at_most("of those in the second half", later, GROWN_BYTES_MAX),
        at_most("bytes of the store's file", seen.most.file_bytes, bytes_max),
    ] {
        judge(claim, holds);
    }
    judge(format!("{} deliveries came again, marked", seen.repeated), seen.repeated > 0);
    judge(format!("dead letters overflow: {} were dropped", seen.dead_dropped), seen.dead_dropped > 0);
}

fn soak(rig: &Rig, shape: &Shape, bounds: Bounds) -> Result<Seen> {
    let streams = shape.streams();
    let needs = Needs {
        mailbox: Some(bounds.mailbox),
        dead_letters: Some(bounds.dead_letters),
        ..Needs::plain(2 * streams, true, shape.messages_max())
    };
    let site = Site::make(&shape.folder, needs)?;
    let server = Server::start(&site.launch_watched(rig)?, rig.cpu_client)?;
    site::await_store(&mut site::log_in(0, 0, server.target())?)?;
    let mut soak = Soak {
        streams: streams_of(shape, &server)?,
        reader: Reader::new(),
        chance: Chance(0x9E37_79B9_7F4A_7C15),
        seen: Seen { began: Look::take(&server)?, ..Seen::default() },
        server,
        looks_ns: 0,
    };
    soak.send(shape)?;
    soak.drain()?;
    soak.count()
}

fn streams_of(shape: &Shape, server: &Server) -> Result<Vec<Stream>> {
    let streams = shape.streams();
    // Half of what each is sent.
    let distance_ns = 2 * SECOND_NS * streams as u64 / shape.soak_per_s;
    let stream = |stream: usize| {
        let (sender, send) = queue::sender(shape, server, stream, true)?;
        let manner = Manner::ALL[stream % Manner::ALL.len()];
        Ok(Stream {
            sender,
            send,
            sent: 0,
            accepted: 0,
            receiver: Receiver::new(manner, streams + stream, distance_ns),
        })
    };
    (0..streams).map(stream).collect()
}

/// See the file's head.
struct Soak {
    // In this order: the connections end before the server does.
    streams: Vec<Stream>,
    server: Server,
    reader: Reader,
    chance: Chance,
    seen: Seen,
    looks_ns: u64,
}

impl Soak {
    /// Sends at the rate, while receivers are as they are.
    fn send(&mut self, shape: &Shape) -> Result<()> {
        let start_ns = clock::mono_ns();
        let mut schedule = Schedule::new(start_ns, shape.soak_per_s, shape.soak_ns);
        while !schedule.is_done() {
            let now_ns = clock::mono_ns();
            while let Some((index, intended_ns)) = schedule.poll_due(now_ns) {
                let place = usize::try_from(index).expect("invariant: usize has 64 bits here");
                let count = self.streams.len();
                let stream = &mut self.streams[place % count];
                stream.sender.send(stream.send.patched(stream.sent, intended_ns, 0))?;
                stream.sent += 1;
            }
            let mut is_silent = true;
            let target = self.server.target();
            for stream in &mut self.streams {
                is_silent &= !stream.hear_sender(&self.reader)?;
                let Stream { receiver, sent, .. } = stream;
                is_silent &= !receiver.turn(target, &self.reader, *sent, now_ns, &mut self.chance)?;
            }
            if self.looks_ns <= now_ns {
                self.look(usize::from(now_ns - start_ns > shape.soak_ns / 2))?;
                self.looks_ns = now_ns + LOOK_NS;
            }
            if is_silent {
                server::sleep_ns(REST_NS);
            }
        }
        Ok(())
    }

    fn look(&mut self, half: usize) -> Result<()> {
        let look = Look::take(&self.server)?;
        self.seen.most = self.seen.most.most(look);
        self.seen.halves[half] = self.seen.halves[half].most(look);
        self.seen.looks += 1;
        Ok(())
    }

    /// All are answered, and everybody comes and takes what waits, until nothing does.
    fn drain(&mut self) -> Result<()> {
        let until_ns = clock::mono_ns() + DRAIN_NS;
        let target = self.server.target();
        loop {
            let mut is_silent = true;
            for stream in &mut self.streams {
                is_silent &= !stream.hear_sender(&self.reader)?;
                is_silent &= !stream.receiver.take_rest(target, &self.reader, stream.sent)?;
            }
            if !is_silent {
                continue;
            }
            let is_answered = self.streams.iter().all(|stream| stream.accepted == stream.sent);
            if is_answered && self.left()? == 0 || until_ns < clock::mono_ns() {
                return Ok(());
            }
            server::sleep_ns(REST_NS);
        }
    }

    /// Messages that are not over, without the one that the store was tried by.
    fn left(&self) -> Result<u64> {
        let held = Metrics::ask(self.server.control()?)?.sum_of("tickring_messages_held")?;
        Ok(held.saturating_sub(1))
    }

    fn count(mut self) -> Result<Seen> {
        let metrics = Metrics::ask(self.server.control()?)?;
        let seen = &mut self.seen;
        seen.dead = metrics.sum_of("tickring_messages_dead_total")?;
        seen.dead_dropped = metrics.sum_of("tickring_dead_letters_dropped_total")?;
        for stream in &self.streams {
            let received = &stream.receiver.received;
            seen.sent += stream.sent;
            seen.accepted += stream.accepted;
            seen.received += received.distinct;
            seen.repeated += received.repeated;
            seen.visits += stream.receiver.visits;
            if matches!(stream.receiver.manner, Manner::Steady | Manner::Flapping) {
                seen.missing_of_present += stream.accepted - received.distinct;
            }
        }
        self.seen.left = self.left()?;
        Ok(self.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios::messages::tests::shape;

    const BOUNDS: Bounds = Bounds { mailbox: 10, dead_letters: 20, receivers: 4 };

    fn good() -> Seen {
        let look = Look {
            resident_bytes: 100 * MIB,
            file_bytes: MIB,
            messages: 44,
            dead_letters: 20,
            queued_bytes: 9,
        };
        Seen {
            began: Look { resident_bytes: 90 * MIB, ..look },
            most: look,
            halves: [look, look],
            looks: 2,
            sent: 100,
            accepted: 100,
            received: 70,
            repeated: 1,
            dead: 30,
            dead_dropped: 10,
            ..Seen::default()
        }
    }

    fn holds(seen: &Seen) -> bool {
        let mut account = Account::default();
        judge(&mut account, seen, BOUNDS, &shape(&["--smoke"]));
        account.holds()
    }

    #[test]
    fn a_message_that_is_neither_received_nor_a_dead_letter_fails_the_soak() {
        assert!(holds(&good()));
        assert!(!holds(&Seen { received: 69, ..good() }), "one is lost");
        assert!(!holds(&Seen { accepted: 99, received: 69, ..good() }), "one was refused");
        assert!(!holds(&Seen { missing_of_present: 1, ..good() }), "a dead letter of who kept up");
        assert!(!holds(&Seen { left: 1, ..good() }));
        assert!(!holds(&Seen { sent: 0, accepted: 0, received: 0, dead: 0, ..good() }), "nothing was sent");
    }

    #[test]
    fn what_grows_beyond_its_bound_fails_the_soak() {
        let most = |change: fn(&mut Look)| {
            let mut seen = good();
            change(&mut seen.most);
            holds(&seen)
        };
        assert!(!most(|look| look.messages = BOUNDS.messages() + 1));
        assert!(!most(|look| look.dead_letters = 21));
        assert!(!most(|look| look.file_bytes = BOUNDS.bytes(200) + 1));
        assert!(!most(|look| look.resident_bytes = 90 * MIB + BOUNDS.bytes(200) + 1));
        let mut seen = good();
        seen.halves[1].resident_bytes += GROWN_BYTES_MAX + 1;
        assert!(!holds(&seen), "memory that goes on growing");
        assert!(!holds(&Seen { dead_dropped: 0, ..good() }), "a bound that was never met proves nothing");
        assert!(!holds(&Seen { repeated: 0, ..good() }), "nor does nobody who left something behind");
    }

    #[test]
    fn mailboxes_are_full_in_the_first_quarter() {
        assert_eq!(Bounds::of(400, 16), Bounds { mailbox: 100, dead_letters: 200, receivers: 16 });
        assert_eq!(Bounds::of(1_000_000, 16).mailbox, MAILBOX_MAX);
        assert_eq!(Bounds::of(1, 16).mailbox, 1);
    }
}
