//! The connections of one process of the generator: each one's way from the connect to its end, and what it counts. Home: the
//! load thread. It touches no socket: bytes go to the outbox, and what is to be opened, read and closed is left in lists.
//! Invariants: no fault of a connection ends the run: it is counted, the connection is over, and where the scenario says so it
//! is opened again; an event of a connection that is over meets nobody.

mod told;
mod ways;

use std::collections::VecDeque;

use crate::dialect::Told;
use crate::ear::{Ear, Heard};
use crate::engine::script::{OTHER_IDS, Script};
use crate::engine::sequence::Track;
use crate::engine::spread::Spread;
use crate::engine::tally::Tally;
use crate::engine::timetable::Timetable;
use crate::failure::{Failure, Result};
use crate::frame;
use crate::outcome::Kind;
use crate::ring::{Ending, Event, Outbox, Slot};
use crate::secure::{self, Codec};

/// A connection's place in the crowd.
pub(crate) type Place = usize;

/// Bytes that may wait for a server that does not read; what comes on top is not sent, and counted.
const STAGED_BYTES_MAX: usize = 1024 * 1024;
const NOBODY: u32 = u32::MAX;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Asks, and is told of its topic.
    Client,
    Publisher,
    /// Subscribes and does not keep up.
    Slow,
    /// Comes and goes.
    Passing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Closed,
    Connecting,
    /// The TLS handshake.
    Securing,
    Upgrading,
    /// Waits for the answer to this step of the script.
    Step(usize),
    Ready,
    /// Our close frame is sent.
    Leaving,
}

impl Stage {
    const fn name(self) -> &'static str {
        match self {
            Stage::Closed | Stage::Connecting => "connect",
            Stage::Securing => "TLS handshake",
            Stage::Upgrading => "upgrade",
            Stage::Step(_) | Stage::Ready => "subscribe",
            Stage::Leaving => "close",
        }
    }
}

/// The two kinds of requests that are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Request = 0,
    Order = 1,
}

impl Ask {
    pub(crate) const ALL: [Ask; 2] = [Ask::Order, Ask::Request];

    const fn kind(self) -> Kind {
        match self {
            Ask::Request => Kind::Request,
            Ask::Order => Kind::Order,
        }
    }
}

/// One connection.
pub(crate) struct Connection {
    pub(crate) role: Role,
    pub(crate) stage: Stage,
    pub(crate) slot: Option<Slot>,
    /// Its number among all of its role in all processes.
    pub(crate) number: u32,
    /// Whether it is to be there at this time of the run.
    pub(crate) is_wanted: bool,
    logs_in: bool,
    topic: Option<u32>,
    track: Track,
    ear: Ear,
    codec: Codec,
    /// When it was to be opened.
    began_ns: u64,
    /// When it was lost; 0 is never, or it is back.
    lost_ns: u64,
    /// Each opening is another.
    generation: u32,
    /// By [`Ask`], intended times of what waits for a reply, oldest first; where replies are numbered, their count alone.
    waiting: [VecDeque<u64>; 2],
    asked: [u32; 2],
    /// By [`Ask`], its place among those that ask.
    asker: [u32; 2],
}

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    /// As it is counted.
    Fault(String),
    /// The generator's own doing, and not the server's fault.
    Ours,
}

/// Those that ask in turn, and when.
#[derive(Default)]
pub(crate) struct Askers {
    pub(crate) table: Option<Timetable>,
    ready: Vec<u32>,
    turn: usize,
}

/// The measured time; publishes and requests that were to leave in it count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// Of the traffic; 0 before it is known.
    pub(crate) go_ns: u64,
    pub(crate) begin_ns: u64,
    pub(crate) end_ns: u64,
}

impl Window {
    pub(crate) fn holds(&self, intended_ns: u64) -> bool {
        (self.begin_ns..self.end_ns).contains(&intended_ns)
    }
}

/// See the file's head.
pub(crate) struct Crowd {
    script: Script,
    pub(crate) lines: Vec<Connection>,
    owners: Vec<u32>,
    pub(crate) tally: Tally,
    pub(crate) window: Window,
    pub(crate) now_ns: u64,
    pub(crate) to_open: VecDeque<Place>,
    pub(crate) to_close: Vec<(Slot, Ending)>,
    pub(crate) to_read: Vec<Slot>,
    /// Deadlines of those that are on their way, in the order in which they end.
    opening: VecDeque<(u64, Place, u32)>,
    leaving: VecDeque<(u64, Place, u32)>,
    reopen_at: VecDeque<(u64, Place, u32)>,
    leave_at: VecDeque<(u64, Place, u32)>,
    free: Vec<Place>,
    pub(crate) askers: [Askers; 2],
    pub(crate) publishing: Option<Timetable>,
    pub(crate) publishers: Vec<Place>,
    published: Vec<u64>,
    /// By topic, subscribers that are there.
    audience: Vec<u32>,
    /// By topic, the first number of the measured time.
    first_measured: Vec<u64>,
    spread: Spread,
    told: Vec<Told>,
    records: Vec<u8>,
    plain: Vec<u8>,
    /// Connections that are past their upgrade.
    pub(crate) open: u64,
    pub(crate) slow_ended: u64,
    pub(crate) rules: Rules,
}

/// What the scenario says of all connections.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) topics: u32,
    pub(crate) turn: u32,
    pub(crate) turns: u32,
    pub(crate) publishers: u32,
    pub(crate) reopens: bool,
    pub(crate) connect_timeout_ns: u64,
    pub(crate) hold_ns: u64,
    pub(crate) abrupt_percent: u32,
    /// Of the TLS handshake, where there is one.
    pub(crate) server_name: Option<String>,
}

impl Crowd {
    pub(crate) fn new(script: Script, rules: Rules) -> Crowd {
        let topics = usize::try_from(rules.topics).expect("invariant: 64 bits");
        Crowd {
            script,
            lines: Vec::new(),
            owners: Vec::new(),
            tally: Tally::new(),
            window: Window::default(),
            now_ns: 0,
            to_open: VecDeque::new(),
            to_close: Vec::new(),
            to_read: Vec::new(),
            opening: VecDeque::new(),
            leaving: VecDeque::new(),
            reopen_at: VecDeque::new(),
            leave_at: VecDeque::new(),
            free: Vec::new(),
            askers: [Askers::default(), Askers::default()],
            publishing: None,
            publishers: Vec::new(),
            published: vec![0; topics],
            audience: vec![0; topics],
            first_measured: vec![1; topics],
            spread: Spread::new(),
            told: Vec::new(),
            records: Vec::new(),
            plain: Vec::new(),
            open: 0,
            slow_ended: 0,
            rules,
        }
    }

    /// A connection that is not open yet.
    pub(crate) fn add(&mut self, role: Role, number: u32, topic: Option<u32>, logs_in: bool) -> Place {
        let connection = Connection {
            role,
            stage: Stage::Closed,
            slot: None,
            number,
            is_wanted: true,
            logs_in,
            topic,
            track: Track::default(),
            ear: Ear::default(),
            codec: None,
            began_ns: 0,
            lost_ns: 0,
            generation: 0,
            waiting: [VecDeque::new(), VecDeque::new()],
            asked: [0; 2],
            asker: [NOBODY; 2],
        };
        if let Some(place) = self.free.pop() {
            let generation = self.lines[place].generation + 1;
            self.lines[place] = Connection { generation, ..connection };
            return place;
        }
        self.lines.push(connection);
        if role == Role::Publisher {
            self.publishers.push(self.lines.len() - 1);
        }
        self.lines.len() - 1
    }

    /// Whether every connection that was to be opened is ready or has failed.
    pub(crate) fn is_settled(&self) -> bool {
        self.to_open.is_empty()
            && self.opening.iter().all(|(_, place, generation)| !self.is_on_its_way(*place, *generation))
    }

    fn is_on_its_way(&self, place: Place, generation: u32) -> bool {
        let line = &self.lines[place];
        line.generation == generation && !matches!(line.stage, Stage::Closed | Stage::Ready)
    }

    /// Tells the crowd that the socket of `place` connects; the connection ought to have begun at `began_ns`.
    pub(crate) fn begin(&mut self, place: Place, slot: Slot, began_ns: u64) {
        if self.owners.len() <= slot {
            self.owners.resize(slot + 1, NOBODY);
        }
        self.owners[slot] = u32::try_from(place).expect("invariant: connections are bounded");
        let deadline_ns = self.now_ns + self.rules.connect_timeout_ns;
        let line = &mut self.lines[place];
        line.generation += 1;
        line.slot = Some(slot);
        line.stage = Stage::Connecting;
        line.began_ns = began_ns;
        self.opening.push_back((deadline_ns, place, line.generation));
    }

    /// A connection for which there is no socket.
    pub(crate) fn fail_to_open(&mut self, place: Place, why: &str) {
        self.end(place, Cause::Fault(why.to_owned()), Ending::Reset);
    }

    /// Takes an event of the ring.
    pub(crate) fn handle(&mut self, outbox: &mut Outbox<'_>, event: Event<'_>) -> Result<()> {
        match event {
            Event::Connected(slot) => match self.owner(slot) {
                Some(place) => self.connected(outbox, place, slot),
                None => Ok(()),
            },
            Event::Received(slot, bytes) => match self.owner(slot) {
                Some(place) => self.received(outbox, place, slot, bytes),
                None => Ok(()),
            },
            Event::Closed(slot, errno) => {
                if let Some(place) = self.owner(slot) {
                    self.ended(place, errno);
                }
                Ok(())
            }
            Event::Accepted(_) => unreachable!("a generator does not listen"),
        }
    }

    fn owner(&self, slot: Slot) -> Option<Place> {
        let owner = self.owners.get(slot).copied().filter(|owner| *owner != NOBODY)?;
        usize::try_from(owner).ok()
    }

    fn connected(&mut self, outbox: &mut Outbox<'_>, place: Place, slot: Slot) -> Result<()> {
        if self.lines[place].role == Role::Slow {
            self.to_read.push(slot);
        }
        let Some(name) = &self.rules.server_name else { return self.ask_for_upgrade(outbox, place) };
        let mut codec = secure::codec(name)?;
        self.records.clear();
        secure::flush(&mut codec, &mut self.records)?;
        outbox.send(slot, &self.records)?;
        let line = &mut self.lines[place];
        line.codec = Some(codec);
        line.stage = Stage::Securing;
        Ok(())
    }

    fn ask_for_upgrade(&mut self, outbox: &mut Outbox<'_>, place: Place) -> Result<()> {
        self.lines[place].stage = Stage::Upgrading;
        let upgrade = std::mem::take(&mut self.script.upgrade);
        let sent = self.send(outbox, place, &upgrade);
        self.script.upgrade = upgrade;
        sent.map(|_| ())
    }

    /// Sends bytes, plain or over TLS; how many, and none where the server does not take what waits already.
    fn send(&mut self, outbox: &mut Outbox<'_>, place: Place, bytes: &[u8]) -> Result<Option<usize>> {
        let line = &mut self.lines[place];
        let Some(slot) = line.slot else { return Ok(None) };
        if STAGED_BYTES_MAX < outbox.staged_bytes(slot) {
            return Ok(None);
        }
        let sent = match &mut line.codec {
            None => bytes,
            Some(codec) => {
                self.records.clear();
                secure::protect(codec, bytes, &mut self.records)?;
                &self.records
            }
        };
        self.tally.part.counts.bytes_sent += sent.len() as u64;
        outbox.send(slot, sent)?;
        Ok(Some(sent.len()))
    }

    fn received(&mut self, outbox: &mut Outbox<'_>, place: Place, slot: Slot, bytes: &[u8]) -> Result<()> {
        self.now_ns = crate::clock::mono_ns();
        self.tally.part.counts.bytes_received += bytes.len() as u64;
        let line = &self.lines[place];
        if line.role == Role::Slow {
            if line.stage == Stage::Ready {
                return Ok(());
            }
            self.to_read.push(slot);
        }
        if self.lines[place].codec.is_none() {
            return self.take(outbox, place, bytes);
        }
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        let opened = self.open_records(outbox, place, bytes, &mut plain);
        let taken =
            opened.and_then(|()| if plain.is_empty() { Ok(()) } else { self.take(outbox, place, &plain) });
        self.plain = plain;
        match taken {
            Err(Failure::Protocol(why)) => {
                self.end(place, Cause::Fault(why), Ending::Reset);
                Ok(())
            }
            taken => taken,
        }
    }

    fn open_records(
        &mut self,
        outbox: &mut Outbox<'_>,
        place: Place,
        bytes: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<()> {
        let line = &mut self.lines[place];
        let Some((codec, slot)) = line.codec.as_mut().zip(line.slot) else { return Ok(()) };
        secure::open(codec, bytes, plain)?;
        self.records.clear();
        secure::flush(codec, &mut self.records)?;
        let is_secured = line.stage == Stage::Securing && !codec.is_handshaking();
        if !self.records.is_empty() {
            outbox.send(slot, &self.records)?;
        }
        if is_secured { self.ask_for_upgrade(outbox, place) } else { Ok(()) }
    }

    /// Takes plain bytes of a connection.
    fn take(&mut self, outbox: &mut Outbox<'_>, place: Place, bytes: &[u8]) -> Result<()> {
        let generation = self.lines[place].generation;
        let mut ear = std::mem::take(&mut self.lines[place].ear);
        let mut handled = Ok(());
        let taken = ear.take(bytes, |heard| {
            handled = self.hear(outbox, place, heard);
            let line = &self.lines[place];
            handled.is_ok() && line.generation == generation && line.slot.is_some()
        });
        handled?;
        let line = &mut self.lines[place];
        if line.generation == generation && line.slot.is_some() {
            line.ear = ear;
            if let Err(misheard) = taken {
                self.end(place, Cause::Fault(misheard.name().to_owned()), Ending::Reset);
            }
        }
        Ok(())
    }

    fn hear(&mut self, outbox: &mut Outbox<'_>, place: Place, heard: Heard<'_>) -> Result<()> {
        match heard {
            Heard::Answer { status: 101, has_key: true, .. } => {
                let latency_ns = self.now_ns.saturating_sub(self.lines[place].began_ns);
                self.tally.record(Kind::Connect, latency_ns);
                self.tally.part.counts.connections_opened += 1;
                self.open += 1;
                self.go_on(outbox, place, 0)
            }
            Heard::Answer { status, .. } => {
                let why = match status {
                    101 => "protocol: the upgrade's key is wrong".to_owned(),
                    status => format!("http {status}"),
                };
                self.end(place, Cause::Fault(why), Ending::Orderly);
                Ok(())
            }
            Heard::Ping(payload) => {
                let mut pong = Vec::new();
                frame::encode_client(frame::PONG, payload, &mut pong);
                self.send(outbox, place, &pong).map(|_| ())
            }
            Heard::Close(code) => self.closed(outbox, place, code),
            Heard::Message(message) => match self.lines[place].stage {
                Stage::Step(at) => self.answered(outbox, place, at, message),
                Stage::Ready | Stage::Leaving => {
                    self.message(place, message);
                    Ok(())
                }
                Stage::Closed | Stage::Connecting | Stage::Securing | Stage::Upgrading => Ok(()),
            },
        }
    }

    /// Says what the script has from step `at` on, up to one that is to be answered.
    fn go_on(&mut self, outbox: &mut Outbox<'_>, place: Place, at: usize) -> Result<()> {
        let mut at = at;
        loop {
            let line = &self.lines[place];
            // Who only passes has nothing to subscribe.
            let (logs_in, topic, number) = (line.logs_in, line.topic, line.number);
            let Some(step) = self.script.step(at, logs_in, topic) else { break };
            let is_awaited = step.expect.is_some();
            let bytes =
                (!step.frame.is_empty()).then(|| step.frame.plain(OTHER_IDS + u64::from(number)).to_vec());
            if let Some(bytes) = bytes {
                self.send(outbox, place, &bytes)?;
            }
            if is_awaited {
                self.lines[place].stage = Stage::Step(at);
                return Ok(());
            }
            at += 1;
        }
        self.is_ready(place);
        Ok(())
    }

    /// A message while step `at` waits for its answer.
    fn answered(&mut self, outbox: &mut Outbox<'_>, place: Place, at: usize, message: &[u8]) -> Result<()> {
        let line = &self.lines[place];
        let Some(step) = self.script.step(at, line.logs_in, line.topic) else { return Ok(()) };
        let name = step.name;
        if step.expect.as_ref().is_some_and(|expect| expect.find(message).is_some()) {
            return self.go_on(outbox, place, at + 1);
        }
        if let Some(error) = self.script.reader.error(message) {
            self.end(place, Cause::Fault(format!("{name} refused: {error}")), Ending::Orderly);
        }
        Ok(())
    }

    fn is_ready(&mut self, place: Place) {
        let number = u32::try_from(place).expect("invariant: connections are bounded");
        let is_before_all = self.window.go_ns == 0;
        let line = &mut self.lines[place];
        line.stage = Stage::Ready;
        if line.lost_ns != 0 {
            let latency_ns = self.now_ns.saturating_sub(line.lost_ns);
            line.lost_ns = 0;
            self.tally.record(Kind::Reconnect, latency_ns);
        }
        match line.role {
            Role::Client => {
                if is_before_all {
                    line.track = Track::from_the_first();
                }
                if let Some(topic) = line.topic {
                    self.audience[usize::try_from(topic).expect("invariant: 64 bits")] += 1;
                }
                let logs_in = line.logs_in;
                self.add_asker(Ask::Request, number);
                if logs_in {
                    self.add_asker(Ask::Order, number);
                }
            }
            Role::Passing => {
                let leave_ns = self.now_ns + self.rules.hold_ns;
                self.leave_at.push_back((leave_ns, place, line.generation));
            }
            Role::Publisher | Role::Slow => {}
        }
    }

    fn add_asker(&mut self, ask: Ask, number: u32) {
        let ready = &mut self.askers[ask as usize].ready;
        let line = &mut self.lines[usize::try_from(number).expect("invariant: 64 bits")];
        line.asker[ask as usize] = u32::try_from(ready.len()).expect("invariant: connections are bounded");
        ready.push(number);
    }

    fn remove_asker(&mut self, place: Place, ask: Ask) {
        let at = std::mem::replace(&mut self.lines[place].asker[ask as usize], NOBODY);
        if at == NOBODY {
            return;
        }
        let ready = &mut self.askers[ask as usize].ready;
        ready.swap_remove(usize::try_from(at).expect("invariant: 64 bits"));
        if let Some(moved) = ready.get(usize::try_from(at).expect("invariant: 64 bits")) {
            self.lines[usize::try_from(*moved).expect("invariant: 64 bits")].asker[ask as usize] = at;
        }
    }

    fn closed(&mut self, outbox: &mut Outbox<'_>, place: Place, code: Option<u16>) -> Result<()> {
        if self.lines[place].stage == Stage::Leaving {
            self.end(place, Cause::Ours, Ending::Orderly);
            return Ok(());
        }
        let mut close = Vec::new();
        let echoed = code.map(u16::to_be_bytes);
        frame::encode_client(
            frame::CLOSE,
            echoed.as_ref().map_or(&[][..], |code| code.as_slice()),
            &mut close,
        );
        self.send(outbox, place, &close)?;
        let why = code.map_or("close without a code".to_owned(), |code| format!("close {code}"));
        self.end(place, Cause::Fault(why), Ending::Orderly);
        Ok(())
    }
}
