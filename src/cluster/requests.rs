//! What a node that follows asks of the owner, and what it is told of that at once; the answers to joins come in its stream. PURE.
//!
//! Invariants: requests of a node count up, and each is done once, however often it is sent; bytes that are none end in a fault.

use crate::limits;
use crate::model::channel::{PrivateView, TopicName};
use crate::model::ids::{Epoch, HomeId, Position, Seq, Ticket};
use crate::model::message::Name;

use super::coding::Coded;
use super::names::{ClusterName, Fence, Place};
use super::wire::{MarketTopic, Put, Reader, WIRE_VERSION, WireFault, number_of};

/// What a message begins with, behind the version.
const REQUEST: u8 = 2;
const REPLY: u8 = 3;
/// Bytes of an ask at least.
const ASK_BYTES_MIN: usize = 1;

/// Some asks, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Of the owner that is meant.
    pub fence: Fence,
    pub node: ClusterName,
    /// Which process of that name.
    pub incarnation: u64,
    /// 0 is a greeting, by which the node begins anew; then from 1.
    pub number: u64,
    /// The last of the owner's words that the node has, by its number.
    pub heard: u64,
    pub asks: Vec<Ask>,
    /// What shards ask of desk, office and the home of topics, as `commands` writes it.
    pub commands: Vec<u8>,
}

/// One thing that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Tell me a stream from now on, which I name so; it begins with an image.
    Stream { id: u32 },
    /// A shard of mine listens to a topic, from a place on where one is given.
    Join { home: HomeId, ticket: Ticket, topic: AskedTopic, resume: Option<Position> },
    /// None of mine listens to it any more.
    Leave { slot: u32, generation: u32 },
}

/// What is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedTopic {
    Market(MarketTopic),
    /// Of an account by its name: nodes number accounts by themselves.
    Private {
        account: Name,
        view: PrivateView,
    },
    /// What clients publish.
    Client(TopicName),
}

/// What is told at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The request's.
    pub fence: Fence,
    pub number: u64,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A greeting was heard: the node has this place.
    Welcome { place: Place },
    /// The asks were done, by this sending or an earlier one.
    Done,
    /// Another owner is meant than the one that heard it.
    OtherOwner,
    /// Not the next one of this process: it has to greet.
    OutOfOrder,
    /// So many nodes follow already.
    Full,
}

const REFUSALS: [Outcome; 4] = [Outcome::Done, Outcome::OtherOwner, Outcome::OutOfOrder, Outcome::Full];
const WELCOME: u8 = 255;
/// What stands where a join resumes from nowhere.
const NO_PLACE: Position = Position { epoch: Epoch(0), seq: Seq(0) };

impl Request {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put(&[WIRE_VERSION, REQUEST]);
        out.put_u64(self.fence.0);
        out.put_run(self.node.as_str().as_bytes());
        out.put_u64(self.incarnation);
        out.put_u64(self.number);
        out.put_u64(self.heard);
        out.put_count(self.asks.len());
        for ask in &self.asks {
            match ask {
                Ask::Stream { id } => {
                    out.put_u8(0);
                    out.put_u32(*id);
                }
                Ask::Join { home, ticket, topic, resume } => {
                    out.put(&[1, home.0]);
                    out.put_ticket(*ticket);
                    match topic {
                        AskedTopic::Market(topic) => {
                            out.put_u8(0);
                            out.put_topic(topic);
                        }
                        AskedTopic::Private { account, view } => {
                            out.put_u8(1);
                            account.write(&mut out);
                            view.write(&mut out);
                        }
                        AskedTopic::Client(name) => {
                            out.put_u8(2);
                            name.write(&mut out);
                        }
                    }
                    out.put_u8(u8::from(resume.is_some()));
                    let place = resume.unwrap_or(NO_PLACE);
                    [place.epoch.0, place.seq.0].into_iter().for_each(|number| out.put_u64(number));
                }
                Ask::Leave { slot, generation } => {
                    out.put_u8(2);
                    out.put_u32(*slot);
                    out.put_u32(*generation);
                }
            }
        }
        out.put_run(&self.commands);
        out
    }

    /// # Errors
    /// See [`WireFault`].
    pub fn decode(bytes: &[u8]) -> Result<Request, WireFault> {
        let mut reader = Reader::message(bytes, REQUEST)?;
        let fence = Fence(reader.u64()?);
        let node = ClusterName::parse(reader.run()?).ok_or(WireFault::Value)?;
        let (incarnation, number, heard) = (reader.u64()?, reader.seq()?.0, reader.seq()?.0);
        let count = reader.count(ASK_BYTES_MIN)?;
        if count > limits::CLUSTER_ASKS_PER_REQUEST_MAX {
            return Err(WireFault::Value);
        }
        let asks = (0..count).map(|_| ask(&mut reader)).collect::<Result<_, WireFault>>()?;
        let commands = reader.run()?.to_vec();
        if reader.is_empty() {
            Ok(Request { fence, node, incarnation, number, heard, asks, commands })
        } else {
            Err(WireFault::Value)
        }
    }
}

fn ask(reader: &mut Reader<'_>) -> Result<Ask, WireFault> {
    Ok(match reader.u8()? {
        0 => Ask::Stream { id: reader.u32()? },
        1 => {
            let home = reader.u8()?;
            if usize::from(home) >= limits::HOMES_MAX {
                return Err(WireFault::Value);
            }
            let ticket = reader.ticket()?;
            let topic = match reader.u8()? {
                0 => AskedTopic::Market(reader.topic()?),
                1 => AskedTopic::Private { account: Coded::read(reader)?, view: Coded::read(reader)? },
                2 => AskedTopic::Client(Coded::read(reader)?),
                _ => return Err(WireFault::Value),
            };
            let resumes = reader.flag()?;
            let place = Position { epoch: reader.epoch()?, seq: reader.seq()? };
            if !resumes && place != NO_PLACE {
                return Err(WireFault::Value);
            }
            Ask::Join { home: HomeId(home), ticket, topic, resume: resumes.then_some(place) }
        }
        2 => Ask::Leave { slot: reader.u32()?, generation: reader.u32()? },
        _ => return Err(WireFault::Value),
    })
}

impl Reply {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put(&[WIRE_VERSION, REPLY]);
        out.put_u64(self.fence.0);
        out.put_u64(self.number);
        match self.outcome {
            Outcome::Welcome { place } => {
                let number = u8::try_from(place.index()).expect("invariant: there are 16 places");
                out.put(&[WELCOME, number]);
            }
            Outcome::Done | Outcome::OtherOwner | Outcome::OutOfOrder | Outcome::Full => {
                out.put(&[number_of(self.outcome, &REFUSALS), 0]);
            }
        }
        out
    }

    /// # Errors
    /// See [`WireFault`].
    pub fn decode(bytes: &[u8]) -> Result<Reply, WireFault> {
        let mut reader = Reader::message(bytes, REPLY)?;
        let (fence, number) = (Fence(reader.u64()?), reader.seq()?.0);
        let [kind, place] = reader.array()?;
        let outcome = if kind == WELCOME {
            Outcome::Welcome { place: Place::new(place).ok_or(WireFault::Value)? }
        } else {
            let refusal = REFUSALS.get(usize::from(kind)).filter(|_| place == 0);
            *refusal.ok_or(WireFault::Value)?
        };
        if reader.is_empty() { Ok(Reply { fence, number, outcome }) } else { Err(WireFault::Value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::channel::{MarketChannel, PrivateKind};
    use crate::model::encoding::Encoding;
    use crate::model::ids::InstrumentId;
    use crate::model::instrument::Symbol;
    use crate::model::order::Filter;

    fn request() -> Request {
        let topic = MarketTopic {
            id: InstrumentId(4),
            name: Symbol::parse(b"BTC-PERPETUAL").unwrap(),
            channel: MarketChannel::Quote,
            encoding: Encoding::Sbe,
        };
        let ticket = Ticket { slot: 1, generation: 2 };
        let filter = Filter { instrument: Some(InstrumentId(2)), ..Filter::default() };
        let view = PrivateView { what: PrivateKind::Trades, filter, encoding: Encoding::Sbe };
        let private = AskedTopic::Private { account: Name::parse("desk").unwrap(), view };
        let of_clients = AskedTopic::Client(TopicName::parse(b"a.b").unwrap());
        let place = Position { epoch: Epoch(5), seq: Seq(6) };
        let join = |topic, resume| Ask::Join { home: HomeId(1), ticket, topic, resume };
        let asks = vec![
            Ask::Stream { id: 3 },
            join(AskedTopic::Market(topic), None),
            join(private, Some(place)),
            join(of_clients, None),
            Ask::Leave { slot: 7, generation: 8 },
        ];
        let node = ClusterName::parse(b"b").unwrap();
        let commands = b"any".to_vec();
        Request { fence: Fence(9), node, incarnation: 10, number: 11, heard: 12, asks, commands }
    }

    #[test]
    fn requests_and_replies_cross_as_they_are() {
        assert_eq!(Request::decode(&request().encode()), Ok(request()));
        let place = Place::new(15).unwrap();
        for outcome in [&REFUSALS[..], &[Outcome::Welcome { place }]].concat() {
            let reply = Reply { fence: Fence(7), number: 3, outcome };
            assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
        }
    }

    #[test]
    fn what_ends_early_or_late_is_a_fault() {
        let mut bytes = request().encode();
        (0..bytes.len()).for_each(|end| assert!(Request::decode(&bytes[..end]).is_err(), "{end} bytes"));
        bytes.push(0);
        assert_eq!(Request::decode(&bytes), Err(WireFault::Value));
        let reply = Reply { fence: Fence(7), number: 0, outcome: Outcome::Done }.encode();
        (0..reply.len()).for_each(|end| assert!(Reply::decode(&reply[..end]).is_err()));
    }

    #[test]
    fn damaged_requests_are_faults_or_other_requests() {
        let bytes = request().encode();
        for at in 0..bytes.len() {
            for damage in [1, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= damage;
                if let Ok(other) = Request::decode(&damaged) {
                    assert_eq!(other.encode(), damaged);
                }
            }
        }
    }
}
