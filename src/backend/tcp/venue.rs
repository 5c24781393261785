//! The venue's side of a venue link: what `tickring paper-venue` and the tests speak by. PURE. Home: whoever drives it.
//!
//! What goes in: `handle_connected`, `handle_bytes`, `handle_closed`, `handle_timeout`, `report`, `tell`. What comes out:
//! `poll_event`, `unsent`, `is_over`, `poll_timeout`.
//!
//! Invariants: a command is told once and in order, whatever is cut; a report is kept until the gateway has it. Where too many
//! are kept, all are forgotten: the session gets another name, and the gateway asks for what it has missed. A gateway whose fence
//! is older than one that was said before is told so, and nothing else: of a market there is one owner.

use std::collections::VecDeque;

use super::codec::Form;
use super::message::{Command, Hello, Message, Report, VERSION, Welcome, is_spoken};
use super::stream::{Arrival, Heard, Said};
use super::wire::{Cut, Wire, check_heartbeat, kind};
use crate::model::book::LevelUpdate;
use crate::model::time::Now;

/// What a venue's session is made from.
#[derive(Clone, Debug)]
pub struct VenueConfig {
    pub venue: Box<str>,
    pub key: Box<str>,
    /// This run of the venue: another one has another.
    pub session: Box<str>,
    pub form: Form,
    pub heartbeat_ms: u32,
}

/// What the gateway wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VenueEvent {
    /// It takes us: the instruments are to be told now.
    Welcomed {
        /// Whether numbers go on where they were.
        resumed: bool,
        /// Whether it is another run of the gateway than the last, which has forgotten its orders.
        is_another: bool,
    },
    Command(Command),
    /// The connection is over.
    Down(Cut),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Greeting,
    Up,
    Cutting,
}

/// See the file's head.
#[derive(Debug)]
pub struct VenueSession {
    config: VenueConfig,
    state: State,
    wire: Wire,
    said: Said<Report>,
    heard: Heard,
    /// Counts the times that all was forgotten.
    lapses: u64,
    /// Of the last welcome: the gateway's session and run.
    peer: Box<str>,
    gateway: Option<Box<str>>,
    /// The greatest of any welcome: who says less owns the market no more.
    newest_fence: u64,
    events: VecDeque<VenueEvent>,
    /// The gateway tells no levels.
    no_levels: Vec<LevelUpdate>,
}

impl VenueSession {
    #[must_use]
    pub fn new(config: VenueConfig) -> VenueSession {
        VenueSession {
            config,
            state: State::Closed,
            wire: Wire::new(),
            said: Said::new(),
            heard: Heard::new(),
            lapses: 0,
            peer: "".into(),
            gateway: None,
            newest_fence: 0,
            events: VecDeque::new(),
            no_levels: Vec::new(),
        }
    }

    /// A connection stands, whoever made it.
    pub fn handle_connected(&mut self, now: Now) {
        self.handle_closed();
        self.wire.open(Some(self.config.form), self.config.heartbeat_ms, now);
        self.state = State::Greeting;
        let hello = Hello {
            version: VERSION,
            venue: self.config.venue.clone(),
            key: self.config.key.clone(),
            session: format!("{}.{}", self.config.session, self.lapses).into(),
            peer: self.peer.clone(),
            next: self.heard.next,
            heartbeat_ms: self.config.heartbeat_ms,
        };
        self.heard.told();
        self.say(&Message::Hello(hello), &[]);
    }

    /// The connection is gone, with all that was under way.
    pub fn handle_closed(&mut self) {
        self.cut(Cut::Closed);
        self.state = State::Closed;
    }

    /// Bytes of the gateway.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Now) {
        if !self.is_connected() {
            return;
        }
        self.wire.take(bytes, now);
        while self.is_connected() {
            let outcome = match self.wire.message(&mut self.no_levels) {
                Ok(Some(message)) => self.handle_message(message, now),
                Ok(None) => break,
                Err(cut) => Err(cut),
            };
            if let Err(cut) = outcome {
                self.cut(cut);
            }
        }
        if self.heard.is_due() {
            self.acknowledge();
        }
    }

    /// Says that we are here, and cuts who is not.
    pub fn handle_timeout(&mut self, now: Now) {
        if !self.is_connected() {
            return;
        }
        if self.wire.is_silent(now) {
            self.cut(Cut::Silent);
        } else if self.wire.beat(now) {
            self.acknowledge();
        }
    }

    /// Ends the connection.
    pub fn handle_stop(&mut self) {
        self.cut(Cut::Stopped);
    }

    /// Says something of an order: now, and again until the gateway has it.
    pub fn report(&mut self, report: Report) {
        match self.said.push(report) {
            Some(seq) if self.state == State::Up => self.say(&Message::Report { seq, report }, &[]),
            Some(_) => {}
            None => {
                self.lapses += 1;
                self.said.restart();
                self.cut(Cut::Behind);
            }
        }
    }

    /// Says something of the market to who is there.
    pub fn tell(&mut self, message: &Message, levels: &[LevelUpdate]) {
        if self.state == State::Up {
            self.say(message, levels);
        }
    }

    pub fn poll_event(&mut self) -> Option<VenueEvent> {
        self.events.pop_front()
    }

    /// Whether the gateway is there.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// What is to be sent.
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        match self.state {
            State::Closed => &[],
            State::Greeting | State::Up | State::Cutting => self.wire.unsent(),
        }
    }

    /// So much of it is sent.
    pub fn handle_sent(&mut self, bytes: usize) {
        self.wire.handle_sent(bytes);
    }

    /// Whether the connection is to be closed, once what is unsent is sent or a moment has passed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Cutting
    }

    /// When [`VenueSession::handle_timeout`] has something to do next, on the monotonic clock, in nanoseconds.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        self.is_connected().then(|| self.wire.timeout())
    }

    fn is_connected(&self) -> bool {
        match self.state {
            State::Greeting | State::Up => true,
            State::Closed | State::Cutting => false,
        }
    }

    fn say(&mut self, message: &Message, levels: &[LevelUpdate]) {
        if let Err(cut) = self.wire.say(message, levels) {
            self.cut(cut);
        }
    }

    fn acknowledge(&mut self) {
        if self.state == State::Up {
            self.heard.told();
            self.say(&Message::Heartbeat { next: self.heard.next }, &[]);
        }
    }

    fn cut(&mut self, why: Cut) {
        match (self.state, &why) {
            (State::Closed | State::Cutting, _) => return,
            (_, Cut::Outdated { newest, .. }) => self.say_farewell(&why, *newest),
            (State::Greeting, _) | (State::Up, Cut::Closed | Cut::Ended(_)) => {}
            (State::Up, why) => self.say_farewell(why, 0),
        }
        self.state = State::Cutting;
        self.events.push_back(VenueEvent::Down(why));
    }

    fn say_farewell(&mut self, why: &Cut, fence: u64) {
        // Whoever is too far behind to be told finds the connection closed.
        let _ = self.wire.say(&Message::Bye { reason: why.to_string().into(), fence }, &[]);
    }

    fn handle_message(&mut self, message: Message, now: Now) -> Result<(), Cut> {
        match (self.state, message) {
            (State::Greeting, Message::Welcome(welcome)) => self.handle_welcome(&welcome, now),
            (State::Up, Message::Heartbeat { next }) => {
                if self.said.acknowledge(next) {
                    Ok(())
                } else {
                    Err(Cut::Acknowledged { next })
                }
            }
            (State::Up, Message::Command { seq, command }) => {
                match self.heard.take(seq) {
                    Arrival::New => self.events.push_back(VenueEvent::Command(command)),
                    Arrival::Repeated => {}
                    Arrival::Gap => return Err(Cut::Gap { expected: self.heard.next, seq }),
                }
                Ok(())
            }
            (_, Message::Reject { reason } | Message::Bye { reason, .. }) => Err(Cut::Ended(reason)),
            (_, message) => Err(Cut::Unexpected(kind(&message))),
        }
    }

    fn handle_welcome(&mut self, welcome: &Welcome, now: Now) -> Result<(), Cut> {
        if !is_spoken(welcome.version) {
            return Err(Cut::Version(welcome.version));
        }
        check_heartbeat(welcome.heartbeat_ms)?;
        // Before anything is forgotten or said for it: what is kept is for who owns the market.
        if welcome.fence < self.newest_fence {
            return Err(Cut::Outdated { fence: welcome.fence, newest: self.newest_fence });
        }
        self.newest_fence = welcome.fence;
        if !welcome.resumed {
            self.said.restart();
            self.heard.restart();
        } else if !self.said.acknowledge(welcome.next) {
            return Err(Cut::Acknowledged { next: welcome.next });
        }
        let is_another = self.gateway.as_ref().is_some_and(|known| *known != welcome.gateway);
        self.gateway = Some(welcome.gateway.clone());
        self.peer = welcome.session.clone();
        self.state = State::Up;
        self.wire.begin(welcome.heartbeat_ms, now);
        self.events.push_back(VenueEvent::Welcomed { resumed: welcome.resumed, is_another });
        for (seq, report) in self.said.kept() {
            self.wire.say(&Message::Report { seq, report }, &[])?;
        }
        Ok(())
    }
}
