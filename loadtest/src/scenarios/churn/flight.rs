//! One cycle of the churn: a connection from its connect to its end, driven by readiness. Home: the load thread.
//! Invariant: a flight ends exactly once, landed as its plan says or with the reason why not.

use std::fmt;
use std::io::ErrorKind;

use crate::ear::{Ear, Heard};
use crate::frame;
use crate::scenarios::churn::plan::{Leaving, Listening, Moment, Plan};
use crate::swarm::{Moved, Plug};
use crate::wire;

/// Bytes read at once: more than a cycle is ever told, short of a deep book.
const READ_BYTES: usize = 16 * 1024;
/// RFC 6455 §7.4.1.
const NORMAL: u16 = 1000;

/// What all flights say, encoded once.
pub(crate) struct Phrases {
    head: Vec<u8>,
    channels: Vec<String>,
    /// One subscribe for each channel of the market.
    market: Vec<Vec<u8>>,
    own_topic: Vec<u8>,
    publish: Vec<u8>,
    close: Vec<u8>,
}

/// Why a cycle did not go as planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failing {
    NotConnected(ErrorKind),
    /// The upgrade was refused with this status.
    Refused(u16),
    /// A request was answered by an error.
    ErrorReply,
    /// A goodbye was answered with another code.
    CloseCode(Option<u16>),
    /// The server ended or reset the connection before it should.
    CutOff(Stage),
    /// What came is no answer, or no frame.
    Garbled,
    /// The kernel did not take a few hundred bytes at once.
    NotTaken,
    /// This stage took longer than its deadline.
    Overdue(Stage),
}

/// What a flight waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Connection,
    UpgradeAnswer,
    FirstMessage,
    /// Something to leave unread.
    UnreadBytes,
    CloseAnswer,
    End,
}

/// How a flight stands.
#[derive(Debug)]
pub(crate) enum Course {
    Flying(Flight),
    Landed,
    Failed(Failing),
}

#[derive(Debug)]
pub(crate) struct Flight {
    plug: Plug,
    plan: Plan,
    stage: Stage,
    ear: Ear,
    has_reply: bool,
    has_notification: bool,
    pub(crate) deadline_ns: u64,
}

impl Phrases {
    pub(crate) fn new(host: &str, channels: &[String]) -> Phrases {
        let text =
            |text: &str, frames: &mut Vec<u8>| frame::encode_client(frame::TEXT, text.as_bytes(), frames);
        let market = channels.iter().map(|channel| {
            let mut frame = Vec::new();
            text(&wire::subscribe_request(std::slice::from_ref(channel), ""), &mut frame);
            frame
        });
        let mut own_topic = Vec::new();
        text(&wire::subscribe_request(&[wire::LOAD_CHANNEL.to_owned()], ""), &mut own_topic);
        let mut publish = Vec::new();
        text(&format!("{}1{}", wire::PUBLISH_PREFIX, wire::PUBLISH_SUFFIX), &mut publish);
        let mut close = Vec::new();
        frame::encode_client(frame::CLOSE, &NORMAL.to_be_bytes(), &mut close);
        let head = wire::upgrade_request(host, "").into_bytes();
        Phrases { head, market: market.collect(), channels: channels.to_vec(), own_topic, publish, close }
    }

    fn subscribe(&self, number: u64) -> &[u8] {
        &self.market[self.place(number)]
    }

    fn place(&self, number: u64) -> usize {
        let count = self.market.len() as u64;
        usize::try_from(number % count).expect("invariant: below the count of channels")
    }

    /// A plan in words.
    pub(crate) fn name(&self, plan: Plan) -> String {
        match plan {
            Plan::Polite(Listening::Market(number)) => self.channels[self.place(number)].clone(),
            Plan::Polite(Listening::OwnTopic) => wire::LOAD_CHANNEL.to_owned(),
            Plan::Polite(Listening::Nothing) => "no channel".to_owned(),
            Plan::Abrupt(moment, leaving) => format!("{moment:?} {leaving:?}"),
        }
    }
}

impl Flight {
    pub(crate) fn new(plug: Plug, plan: Plan, deadline_ns: u64) -> Flight {
        let ear = Ear::default();
        let stage = Stage::Connection;
        Flight { plug, plan, stage, ear, has_reply: false, has_notification: false, deadline_ns }
    }

    /// What it waits for has not come in time.
    pub(crate) fn overdue(&self) -> Failing {
        Failing::Overdue(self.stage)
    }

    /// Its socket is ready.
    pub(crate) fn advance(mut self, is_readable: bool, phrases: &Phrases) -> Course {
        if self.stage == Stage::Connection {
            if let Err(kind) = self.plug.connected() {
                return Course::Failed(Failing::NotConnected(kind));
            }
            match self.take_off(phrases) {
                Ok(true) => return self.leave(),
                Ok(false) => {}
                Err(failing) => return Course::Failed(failing),
            }
        }
        if !is_readable {
            return Course::Flying(self);
        }
        if self.stage == Stage::UnreadBytes {
            return self.leave();
        }
        self.listen(phrases)
    }

    /// The first words; whether the plan ends here.
    fn take_off(&mut self, phrases: &Phrases) -> Result<bool, Failing> {
        self.stage = Stage::UpgradeAnswer;
        match self.plan {
            Plan::Abrupt(Moment::Silent, _) => Ok(true),
            Plan::Abrupt(Moment::HalfHead, _) => {
                self.say(&phrases.head[..phrases.head.len() / 2]).map(|()| true)
            }
            Plan::Abrupt(Moment::Upgraded | Moment::MidFrame | Moment::Unread, _) | Plan::Polite(_) => {
                self.say(&phrases.head).map(|()| false)
            }
        }
    }

    /// Reads all there is and does what comes next.
    fn listen(mut self, phrases: &Phrases) -> Course {
        let mut bytes = [0; READ_BYTES];
        loop {
            match self.plug.read(&mut bytes) {
                Moved::Bytes(count) => match self.hear(&bytes[..count], phrases) {
                    Ok(false) => {}
                    Ok(true) => return self.leave(),
                    Err(failing) => return Course::Failed(failing),
                },
                Moved::Nothing => return Course::Flying(self),
                Moved::End if self.stage == Stage::End => return Course::Landed,
                Moved::End | Moved::Broken(_) => return Course::Failed(Failing::CutOff(self.stage)),
            }
            if self.stage == Stage::UnreadBytes {
                return Course::Flying(self);
            }
        }
    }

    /// Takes what was read; whether an abrupt plan ends here.
    fn hear(&mut self, bytes: &[u8], phrases: &Phrases) -> Result<bool, Failing> {
        let mut ear = std::mem::take(&mut self.ear);
        let mut ends = Ok(false);
        let taken = ear.take(bytes, |heard| {
            ends = self.react(heard, phrases);
            ends == Ok(false)
        });
        self.ear = ear;
        if ends == Ok(false) && taken.is_err() { Err(Failing::Garbled) } else { ends }
    }

    /// Does what comes next; whether an abrupt plan ends here.
    fn react(&mut self, heard: Heard<'_>, phrases: &Phrases) -> Result<bool, Failing> {
        match heard {
            Heard::Answer { status: 101, .. } => return self.open(phrases),
            Heard::Answer { status, .. } => return Err(Failing::Refused(status)),
            Heard::Message(message) if self.stage == Stage::FirstMessage => {
                if wire::is_notification(message) {
                    self.has_notification = true;
                } else if wire::is_result(message) {
                    // A topic's events begin with the first one after the join, which the reply tells of.
                    if self.plan == Plan::Polite(Listening::OwnTopic) && !self.has_reply {
                        self.say(&phrases.publish)?;
                    }
                    self.has_reply = true;
                } else {
                    return Err(Failing::ErrorReply);
                }
                if self.has_reply && self.has_notification {
                    self.part(phrases)?;
                }
            }
            // What was on its way when the goodbye was said.
            Heard::Message(_) | Heard::Ping(_) => {}
            Heard::Close(Some(NORMAL)) if self.stage == Stage::CloseAnswer => self.stage = Stage::End,
            Heard::Close(code) => return Err(Failing::CloseCode(code)),
        }
        Ok(false)
    }

    /// The upgrade was granted; whether the plan ends here.
    fn open(&mut self, phrases: &Phrases) -> Result<bool, Failing> {
        match self.plan {
            Plan::Abrupt(Moment::Silent | Moment::HalfHead | Moment::Upgraded, _) => return Ok(true),
            Plan::Abrupt(Moment::MidFrame, _) => {
                let frame = phrases.subscribe(0);
                self.say(&frame[..frame.len() / 2])?;
                return Ok(true);
            }
            Plan::Abrupt(Moment::Unread, _) => {
                self.stage = Stage::UnreadBytes;
                self.say(phrases.subscribe(0))?;
            }
            Plan::Polite(Listening::Nothing) => self.part(phrases)?,
            Plan::Polite(Listening::Market(number)) => {
                self.stage = Stage::FirstMessage;
                self.say(phrases.subscribe(number))?;
            }
            Plan::Polite(Listening::OwnTopic) => {
                self.stage = Stage::FirstMessage;
                self.say(&phrases.own_topic)?;
            }
        }
        Ok(false)
    }

    fn part(&mut self, phrases: &Phrases) -> Result<(), Failing> {
        self.stage = Stage::CloseAnswer;
        self.say(&phrases.close)
    }

    fn say(&mut self, bytes: &[u8]) -> Result<(), Failing> {
        match self.plug.write(bytes) {
            Moved::Bytes(count) if count == bytes.len() => Ok(()),
            Moved::Bytes(_) | Moved::Nothing => Err(Failing::NotTaken),
            Moved::End | Moved::Broken(_) => Err(Failing::CutOff(self.stage)),
        }
    }

    fn leave(self) -> Course {
        match self.plan {
            Plan::Abrupt(_, Leaving::Reset) => self.plug.reset(),
            Plan::Abrupt(_, Leaving::Close) | Plan::Polite(_) => self.plug.close(),
        }
        Course::Landed
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failing::NotConnected(kind) => write!(f, "not connected: {kind}"),
            Failing::Refused(status) => write!(f, "upgrade refused with {status}"),
            Failing::ErrorReply => write!(f, "an error for a reply"),
            Failing::CloseCode(Some(code)) => write!(f, "closed with {code}"),
            Failing::CloseCode(None) => write!(f, "closed without a code"),
            Failing::CutOff(stage) => write!(f, "cut off before {stage}"),
            Failing::Garbled => write!(f, "garbled"),
            Failing::NotTaken => write!(f, "bytes not taken"),
            Failing::Overdue(stage) => write!(f, "no {stage} in time"),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Connection => "connection",
            Stage::UpgradeAnswer => "answer to the upgrade",
            Stage::FirstMessage => "first message",
            Stage::UnreadBytes => "bytes to leave unread",
            Stage::CloseAnswer => "answer to the close",
            Stage::End => "end",
        })
    }
}
