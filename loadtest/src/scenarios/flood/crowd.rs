//! The hostile connections: each runs its script, and another takes its place when it has ended. Home: the load thread,
//! which they share with the good clients; a turn of theirs is therefore bounded in time.
//! Invariants: a connection is opened again no sooner than the stated rate allows; every one that was opened is counted
//! once under what became of it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;

use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::ear::{Ear, Heard};
use crate::failure::Result;
use crate::histogram::Latencies;
use crate::scenarios::flood::abuse::{Abuse, Aim};
use crate::scenarios::flood::script::{Act, Reading, Script};
use crate::swarm::{Key, Moved, Plug, Ready, Swarm};

/// After this a turn of the crowd ends and what is left waits for the next, so that the good clients are not kept long.
const TURN_NS: u64 = 150_000;
/// Events of one look at the kernel's list.
const EVENTS: usize = 8;
/// Connections opened in one turn.
const OPENED_PER_TURN_MAX: usize = 2;
/// Timed acts of one turn, however long the rest of it has taken.
const TIMED_PER_TURN_MIN: usize = 4;
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// Reads after which one connection waits for the others.
const READS_PER_TURN_MAX: usize = 4;
/// How long one whose time is up reads everything, to learn whether the server has ended it: who does not read is not told.
const LAST_LOOK_NS: u64 = SECOND_NS;
/// When one that has more to read goes on.
const AGAIN_NS: u64 = MILLISECOND_NS;
/// The loopback network of the crowd.
const NETWORK: u8 = 66;

/// What became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// The upgrade was refused with this status.
    Refused(u16),
    /// The server said goodbye with this code.
    Closed(Option<u16>),
    /// The server ended it without a word.
    Ended,
    Reset,
    /// It could not connect.
    NotConnected,
    /// Its script ended it.
    Left,
    /// Compression was not granted: there was nothing to bomb.
    NotGranted,
    /// It outlived its time and was reset by us.
    Outlived,
    /// It was there when the run was over and was reset by us.
    Stayed,
    /// The server said what no server may say.
    Garbled,
}

impl Fate {
    /// Whether the connection did what it was opened for.
    pub(crate) fn got_through(self) -> bool {
        match self {
            Fate::NotConnected | Fate::NotGranted => false,
            Fate::Refused(_)
            | Fate::Closed(_)
            | Fate::Ended
            | Fate::Reset
            | Fate::Left
            | Fate::Outlived
            | Fate::Stayed
            | Fate::Garbled => true,
        }
    }
}

/// What the crowd did so far.
#[derive(Debug, Clone)]
pub(crate) struct Deeds {
    pub(crate) fates: BTreeMap<(Abuse, Fate), u64>,
    pub(crate) opened: u64,
    /// Connections at a time, at most.
    pub(crate) held_max: u64,
    pub(crate) poured_messages: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) read_bytes: u64,
    /// How late timed acts were: the crowd's own share of the machine.
    pub(crate) lag: Latencies,
}

struct Hostile {
    script: usize,
    plug: Plug,
    ear: Ear,
    act: usize,
    /// Bytes of the act at hand that are sent.
    sent: usize,
    is_connected: bool,
    is_upgraded: bool,
    has_deflate: bool,
    /// Something has arrived that is not read.
    has_unread: bool,
    /// The server has ended it, or may have; what is left to read tells how.
    is_ending: bool,
    /// Its time is up.
    is_overdue: bool,
    /// When the timed act at hand goes on.
    due_ns: u64,
    /// When the next single byte is read.
    read_ns: u64,
    dies_ns: u64,
}

/// What a step came to.
enum Step {
    Goes,
    Ends(Fate),
}

/// See the module's page.
pub(crate) struct Crowd {
    swarm: Swarm,
    scripts: Vec<(Abuse, Vec<Script>)>,
    places: Vec<Option<(Key, Hostile)>>,
    /// Places without a connection, each with how often it was taken.
    free: VecDeque<(usize, u64)>,
    timers: BinaryHeap<Reverse<(u64, Key)>>,
    ready: Vec<Ready>,
    reconnects_per_s: u64,
    lifetime_ns: u64,
    began_ns: u64,
    buffer: Vec<u8>,
    /// Time spent in turns.
    busy_ns: u64,
    pub(crate) deeds: Deeds,
}

impl Crowd {
    /// `count` connections to come, all abuses alike in number, opened from now on: the first `count` at once, those
    /// that take an ended one's place at `reconnects_per_s`.
    pub(crate) fn new(
        address: SocketAddr,
        aim: &Aim,
        count: usize,
        reconnects_per_s: u64,
        lifetime_ns: u64,
    ) -> Result<Crowd> {
        let deeds = Deeds {
            fates: BTreeMap::new(),
            opened: 0,
            held_max: 0,
            poured_messages: 0,
            sent_bytes: 0,
            read_bytes: 0,
            lag: Latencies::new(),
        };
        Ok(Crowd {
            swarm: Swarm::new(address, NETWORK, EVENTS)?,
            scripts: Abuse::ALL.iter().map(|abuse| (*abuse, abuse.scripts(aim))).collect(),
            places: (0..count).map(|_| None).collect(),
            free: (0..count).map(|place| (place, 0)).collect(),
            timers: BinaryHeap::new(),
            ready: Vec::new(),
            reconnects_per_s,
            lifetime_ns,
            began_ns: clock::mono_ns(),
            buffer: vec![0; READ_BYTES],
            busy_ns: 0,
            deeds,
        })
    }

    /// Connections at the moment.
    pub(crate) fn count(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Time that its turns have taken.
    pub(crate) fn busy_ns(&self) -> u64 {
        self.busy_ns
    }

    /// One bounded turn.
    pub(crate) fn turn(&mut self) -> Result<()> {
        let begun_ns = clock::mono_ns();
        let turned = self.turn_from(begun_ns);
        self.busy_ns += clock::mono_ns() - begun_ns;
        turned
    }

    fn turn_from(&mut self, begun_ns: u64) -> Result<()> {
        self.open_some(begun_ns)?;
        for number in 0.. {
            let Some(Reverse((due_ns, key))) = self.timers.peek().copied() else { break };
            let now_ns = clock::mono_ns();
            if now_ns < due_ns || (TIMED_PER_TURN_MIN <= number && begun_ns + TURN_NS / 2 < now_ns) {
                break;
            }
            self.timers.pop();
            self.deeds.lag.record((now_ns - due_ns).max(1));
            self.attend(key, None, now_ns);
        }
        loop {
            let mut ready = std::mem::take(&mut self.ready);
            self.swarm.wait(0, &mut ready)?;
            let count = ready.len();
            let now_ns = clock::mono_ns();
            for event in ready.drain(..) {
                self.attend(event.key, Some(event), now_ns);
            }
            self.ready = ready;
            if count < EVENTS || begun_ns + TURN_NS < clock::mono_ns() {
                return Ok(());
            }
        }
    }

    /// Resets all that are left.
    pub(crate) fn end(&mut self) {
        for place in 0..self.places.len() {
            if let Some((key, hostile)) = self.places[place].take() {
                self.bury(key, hostile, Fate::Stayed);
            }
        }
    }

    fn open_some(&mut self, now_ns: u64) -> Result<()> {
        let grown =
            u128::from(now_ns - self.began_ns) * u128::from(self.reconnects_per_s) / u128::from(SECOND_NS);
        let allowed = u64::try_from(grown).unwrap_or(u64::MAX) + self.places.len() as u64;
        for _ in 0..OPENED_PER_TURN_MAX {
            if allowed <= self.deeds.opened {
                return Ok(());
            }
            let Some((place, times)) = self.free.pop_front() else { return Ok(()) };
            let scripts = &self.scripts[place % self.scripts.len()].1;
            let script = usize::try_from(times).expect("invariant: a run opens few") % scripts.len();
            let key = times * self.places.len() as u64 + place as u64;
            let plug = self.swarm.open(key, scripts[script].receiving)?;
            let hostile = Hostile {
                script,
                plug,
                ear: Ear::default(),
                act: 0,
                sent: 0,
                is_connected: false,
                is_upgraded: false,
                has_deflate: false,
                has_unread: false,
                is_ending: false,
                is_overdue: false,
                due_ns: 0,
                read_ns: 0,
                dies_ns: now_ns + self.lifetime_ns,
            };
            self.timers.push(Reverse((hostile.dies_ns, key)));
            self.places[place] = Some((key, hostile));
            self.deeds.opened += 1;
            self.deeds.held_max = self.deeds.held_max.max(self.count() as u64);
        }
        Ok(())
    }

    /// Something is ready for a connection, or its time has come.
    fn attend(&mut self, key: Key, event: Option<Ready>, now_ns: u64) {
        let place = usize::try_from(key % self.places.len() as u64).expect("invariant: below the count");
        let Some((_, mut hostile)) = self.places[place].take_if(|(held, _)| *held == key) else { return };
        let scripts = &self.scripts[place % self.scripts.len()].1;
        let script = &scripts[hostile.script];
        let is_dying = event.is_none() && hostile.dies_ns <= now_ns;
        let step = if is_dying && hostile.is_overdue {
            Step::Ends(Fate::Outlived)
        } else {
            if is_dying {
                hostile.take_a_last_look(now_ns);
                self.timers.push(Reverse((hostile.dies_ns, key)));
            }
            let mut work = Work {
                deeds: &mut self.deeds,
                timers: &mut self.timers,
                buffer: &mut self.buffer,
                key,
                now_ns,
            };
            hostile.step(script, event, &mut work)
        };
        match step {
            Step::Goes => self.places[place] = Some((key, hostile)),
            Step::Ends(fate) => self.bury(key, hostile, fate),
        }
    }

    fn bury(&mut self, key: Key, hostile: Hostile, fate: Fate) {
        let places = self.places.len() as u64;
        let place = usize::try_from(key % places).expect("invariant: below the count");
        let (abuse, scripts) = &self.scripts[place % self.scripts.len()];
        let is_resetting = scripts[hostile.script].acts[hostile.act] == Act::Reset;
        match fate {
            Fate::Outlived | Fate::Stayed => hostile.plug.reset(),
            Fate::Left if is_resetting => hostile.plug.reset(),
            Fate::Left
            | Fate::Refused(_)
            | Fate::Closed(_)
            | Fate::Ended
            | Fate::Reset
            | Fate::NotConnected
            | Fate::NotGranted
            | Fate::Garbled => hostile.plug.close(),
        }
        *self.deeds.fates.entry((*abuse, fate)).or_insert(0) += 1;
        self.free.push_back((place, key / places + 1));
    }
}

/// What a step of one connection may touch of the crowd.
struct Work<'a> {
    deeds: &'a mut Deeds,
    timers: &'a mut BinaryHeap<Reverse<(u64, Key)>>,
    buffer: &'a mut [u8],
    key: Key,
    now_ns: u64,
}

impl Work<'_> {
    fn wake_at(&mut self, due_ns: u64) {
        self.timers.push(Reverse((due_ns, self.key)));
    }
}

impl Hostile {
    fn take_a_last_look(&mut self, now_ns: u64) {
        self.is_overdue = true;
        self.is_ending = true;
        self.has_unread = true;
        self.dies_ns = now_ns + LAST_LOOK_NS;
    }

    fn step(&mut self, script: &Script, event: Option<Ready>, work: &mut Work<'_>) -> Step {
        if let Some(event) = event {
            self.has_unread |= event.is_readable;
            self.is_ending |= event.is_ended;
        }
        if !self.is_connected {
            match self.plug.connected() {
                // It was connected and is reset already; what was said before may still be read.
                Ok(()) | Err(ErrorKind::ConnectionReset) => self.is_connected = true,
                Err(_) => return Step::Ends(Fate::NotConnected),
            }
        }
        if let Some(fate) = self.read(script, work) {
            return Step::Ends(fate);
        }
        self.act(script, work)
    }

    /// Reads as the script says; how it ended, if it did.
    fn read(&mut self, script: &Script, work: &mut Work<'_>) -> Option<Fate> {
        // What ended is read to its end, which tells how it did.
        let reading = if self.is_upgraded && !self.is_ending { script.reading } else { Reading::All };
        let bytes = match reading {
            Reading::Nothing => return None,
            Reading::All => work.buffer.len(),
            Reading::ByteEach { interval_ns } => {
                if work.now_ns < self.read_ns {
                    return None;
                }
                self.read_ns = work.now_ns + interval_ns;
                work.wake_at(self.read_ns);
                1
            }
        };
        for _ in 0..READS_PER_TURN_MAX {
            if !self.has_unread {
                return None;
            }
            match self.plug.read(&mut work.buffer[..bytes]) {
                Moved::Bytes(count) => {
                    work.deeds.read_bytes += count as u64;
                    if let Some(fate) = self.hear(&work.buffer[..count]) {
                        return Some(fate);
                    }
                    // Less than there was room for: there is no more, until readiness tells so.
                    if count < bytes && !self.is_ending {
                        self.has_unread = false;
                    }
                    let has_changed = self.is_upgraded && reading != script.reading && !self.is_ending;
                    if bytes == 1 || has_changed {
                        return None;
                    }
                }
                Moved::Nothing => self.has_unread = false,
                Moved::End => return Some(Fate::Ended),
                Moved::Broken(_) => return Some(Fate::Reset),
            }
        }
        work.wake_at(work.now_ns + AGAIN_NS);
        None
    }

    /// Takes what was read; how it ended, if it did.
    fn hear(&mut self, bytes: &[u8]) -> Option<Fate> {
        let Hostile { ear, is_upgraded, has_deflate: deflates, .. } = self;
        let mut fate = None;
        let taken = ear.take(bytes, |heard| {
            match heard {
                Heard::Answer { status: 101, has_deflate, .. } => {
                    *is_upgraded = true;
                    *deflates = has_deflate;
                }
                Heard::Answer { status, .. } => fate = Some(Fate::Refused(status)),
                // Hostile clients answer no pings.
                Heard::Message(_) | Heard::Ping(_) => {}
                Heard::Close(code) => fate = Some(Fate::Closed(code)),
            }
            fate.is_none()
        });
        fate.or(taken.err().map(|_| Fate::Garbled))
    }

    fn act(&mut self, script: &Script, work: &mut Work<'_>) -> Step {
        loop {
            let (bytes, is_over) = match &script.acts[self.act] {
                Act::Send(bytes) => (bytes.as_slice(), true),
                Act::Drip { bytes, interval_ns } => {
                    if work.now_ns < self.due_ns {
                        return Step::Goes;
                    }
                    self.due_ns = work.now_ns + interval_ns;
                    work.wake_at(self.due_ns);
                    (&bytes[..self.sent + 1], self.sent + 1 == bytes.len())
                }
                Act::Pour { bytes, messages, interval_ns } => {
                    if self.sent == 0 {
                        if work.now_ns < self.due_ns {
                            return Step::Goes;
                        }
                        let due_ns = if self.due_ns == 0 { work.now_ns } else { self.due_ns };
                        self.due_ns = work.now_ns.max(due_ns + interval_ns);
                        work.wake_at(self.due_ns);
                        work.deeds.poured_messages += messages;
                    }
                    (bytes.as_slice(), false)
                }
                Act::AwaitUpgrade if !self.is_upgraded => return Step::Goes,
                Act::AwaitDeflate if !self.has_deflate => return Step::Ends(Fate::NotGranted),
                Act::AwaitBytes if !self.has_unread => return Step::Goes,
                Act::AwaitUpgrade | Act::AwaitDeflate | Act::AwaitBytes => (&[][..], true),
                Act::EndSending => {
                    self.plug.end_sending();
                    (&[][..], true)
                }
                Act::Reset => return Step::Ends(Fate::Left),
                Act::Stay => return Step::Goes,
            };
            match self.send(bytes, work) {
                Moved::Bytes(_) if is_over => {
                    self.act += 1;
                    self.sent = 0;
                }
                Moved::Bytes(_) if matches!(script.acts[self.act], Act::Pour { .. }) => self.sent = 0,
                Moved::Bytes(_) | Moved::Nothing => return Step::Goes,
                // What the server said before it ended is still to be read.
                Moved::End | Moved::Broken(_) => return self.read_to_the_end(work),
            }
        }
    }

    /// Sends what is left of `bytes`; `Bytes` once all of it is gone.
    fn send(&mut self, bytes: &[u8], work: &mut Work<'_>) -> Moved {
        while self.sent < bytes.len() {
            match self.plug.write(&bytes[self.sent..]) {
                Moved::Bytes(count) => {
                    self.sent += count;
                    work.deeds.sent_bytes += count as u64;
                }
                stopped @ (Moved::Nothing | Moved::End | Moved::Broken(_)) => return stopped,
            }
        }
        Moved::Bytes(self.sent)
    }

    fn read_to_the_end(&mut self, work: &mut Work<'_>) -> Step {
        loop {
            match self.plug.read(work.buffer) {
                Moved::Bytes(count) => {
                    if let Some(fate) = self.hear(&work.buffer[..count]) {
                        return Step::Ends(fate);
                    }
                }
                Moved::End => return Step::Ends(Fate::Ended),
                Moved::Nothing | Moved::Broken(_) => return Step::Ends(Fate::Reset),
            }
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Refused(status) => write!(f, "status {status}"),
            Fate::Closed(Some(code)) => write!(f, "closed {code}"),
            Fate::Closed(None) => f.write_str("closed"),
            Fate::Ended => f.write_str("ended"),
            Fate::Reset => f.write_str("reset"),
            Fate::NotConnected => f.write_str("not connected"),
            Fate::Left => f.write_str("left by itself"),
            Fate::NotGranted => f.write_str("compression not granted"),
            Fate::Outlived => f.write_str("outlived"),
            Fate::Stayed => f.write_str("stayed"),
            Fate::Garbled => f.write_str("garbled"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn every_connection_is_counted_once_and_ended_ones_have_successors() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let aim = Aim { host: address.to_string(), messages_per_s: 100 };
        let count = 2 * Abuse::ALL.len();
        let mut crowd = Crowd::new(address, &aim, count, 1_000_000, u64::MAX / 2).unwrap();
        while crowd.deeds.opened < 4 * count as u64 {
            crowd.turn().unwrap();
            // A server that refuses everybody.
            while let Ok((mut stream, _)) = listener.accept() {
                // Some have reset it already.
                let _ = stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n");
            }
        }
        crowd.end();
        assert_eq!(crowd.count(), 0);
        assert_eq!(crowd.deeds.fates.values().sum::<u64>(), crowd.deeds.opened);
        assert!(
            crowd.deeds.fates.keys().any(|(_, fate)| *fate == Fate::Refused(503)),
            "{:?}",
            crowd.deeds.fates
        );
    }
}
