//! Links to venues outside of the process: their sockets, between the ring and the sessions. Home: the venue's thread.
//!
//! A turn: each event of the ring (`handle_event`), what is due (`handle_timeout`), requests (`handle_request`), then `flush`, which
//! hands the ring what is to be sent, closed and connected.
//!
//! Which links there are may change (`changes.rs`).
//!
//! Invariants: a link has one connection at most; who names a link and has its key takes it over, who does not costs nobody
//! anything. What a session has to tell is with the market before anything else is done to it. A connection has one send under
//! way; what waits is bounded by its session.

mod changes;
mod resting;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use log::Level;
use nix::errno::Errno;

use crate::backend::tcp::greeting::{self, Greeting};
use crate::backend::tcp::reach::{Reach, ReachConfig, Step};
use crate::backend::tcp::session::{Session, SessionConfig};
use crate::backend::tcp::wire::Cut;
use crate::hub::market::{LinkNote, ListingRefusal, MarketHome, News, Routed};
use crate::limits;
use crate::model::ids::{ConnId, SourceId};
use crate::model::link::LinkKind;
use crate::model::time::Now;
use crate::ring::{Event, How, Listener, ListenerId, Ring, RingConfig, RingError, Transmit};

use super::link_log::LinkLog;

/// Links, and where some of them are waited for.
#[derive(Debug, Default)]
pub struct LinksSetup {
    /// New ones, each with a number of its own.
    pub listeners: Vec<(u32, Listener)>,
    /// All that there are to be.
    pub links: Vec<LinkSetup>,
}

/// One link.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkSetup {
    /// As it is called in the log, and by who connects: `fx`, or `fx.2`.
    pub name: Box<str>,
    pub venue: Box<str>,
    pub kind: LinkKind,
    pub session: SessionConfig,
    pub way: Way,
}

/// How a link comes to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// The venue connects to the listener of this number.
    Listen(u32),
    Connect(ReachConfig),
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Links {
    /// All that there ever were: each keeps its place, its source and what is known of its orders.
    links: Vec<Link>,
    /// By their numbers; the ring's own.
    listeners: Vec<(u32, ListenerId)>,
    /// Few: looked through from the start.
    conns: Vec<(ConnId, Owner)>,
    /// What the ring is to do, once it is free.
    actions: VecDeque<Action>,
    /// This node has no market to bring anything to: nobody is let in, and nothing connects.
    is_resting: bool,
    /// How often a market of a node in a cluster has begun with them.
    begun: u32,
    /// By which that market is owned; 0 without a cluster.
    fence: u64,
    /// What strangers cause to be said, and what links do: neither takes the other's room.
    log: LinkLog,
    news: LinkLog,
}

#[derive(Debug)]
struct Link {
    setup: LinkSetup,
    source: SourceId,
    session: Session,
    reach: Option<Reach>,
    conn: Option<ConnId>,
    /// When a connection that is over is closed, whether or not its last bytes are sent.
    closing_by_ns: Option<u64>,
    /// Whether the attempt before failed too.
    is_failing: bool,
    welcomed_total: u64,
    /// Counts attempts to connect.
    attempt: u32,
    /// The configuration has it no more.
    is_removed: bool,
    /// The venue knows a later owner of the market, which was told.
    is_outdated: bool,
}

/// Whose a connection is.
#[derive(Debug)]
enum Owner {
    /// Nobody's yet.
    Greeting(Stranger, Greeting),
    /// By its place in `links`.
    Link(usize),
    /// It is being closed, and then cut; who it was, if it never was a link's.
    Closing { of: Option<Stranger>, deadline_ns: u64 },
    /// It is being cut.
    Cutting,
}

/// Who connected, and where.
#[derive(Clone, Copy, Debug)]
struct Stranger {
    listener: ListenerId,
    from: Option<IpAddr>,
}

#[derive(Debug)]
enum Action {
    Say(ConnId, Vec<u8>),
    Close(ConnId, How),
}

/// Buffers for what is long: two for each of `limits::LINKS_MAX`.
const LINK_BUFFERS: u32 = 32;
const _: () = assert!(LINK_BUFFERS as usize == 2 * limits::LINKS_MAX);

/// A ring that has room for as many links as there may be: they may come while it turns. What is not used is not touched.
pub(super) fn ring_config() -> RingConfig {
    RingConfig {
        submissions_max: 64,
        connections_max: limits::LINK_CONNECTIONS_MAX,
        receive_buffers: 64,
        receive_buffers_each_max: 16,
        receive_buffer_bytes: 16 * 1024,
        // A rejection each, or a command.
        send_small_buffers: limits::LINK_CONNECTIONS_MAX,
        send_large_buffers: LINK_BUFFERS,
        ..RingConfig::default()
    }
}

impl Links {
    /// Links whose listeners are the ring's from now on. Their sources follow that of the feed.
    ///
    /// # Errors
    /// The ring takes no further listener.
    pub(super) fn new(
        setup: LinksSetup,
        ring: &mut Ring,
        market: &mut MarketHome,
        now: Now,
    ) -> Result<Links, RingError> {
        let mut links = Links {
            links: Vec::new(),
            listeners: Vec::new(),
            conns: Vec::new(),
            actions: VecDeque::new(),
            is_resting: false,
            begun: 0,
            fence: 0,
            log: LinkLog::new(20),
            news: LinkLog::new(100),
        };
        for (number, listener) in setup.listeners {
            links.listeners.push((number, ring.listen(listener)?));
        }
        setup.links.into_iter().for_each(|setup| links.add(setup, market, now));
        Ok(links)
    }

    /// Takes an event of the ring; how many bytes of it were received.
    pub(super) fn handle_event(&mut self, event: Event<'_>, market: &mut MarketHome, now: Now) -> usize {
        match event {
            Event::Accepted { conn, listener, peer } => self.accept(conn, listener, peer, now),
            Event::Connected { conn, tag } => match self.of_attempt(tag) {
                Some(nth) => self.connected(conn, nth, market, now),
                None => self.actions.push_back(Action::Close(conn, How::Abort)),
            },
            Event::ConnectFailed { tag, errno } => {
                if let Some(nth) = self.of_attempt(tag) {
                    self.connect_failed(nth, errno, market, now);
                }
            }
            Event::Received { conn, bytes } => {
                let count = bytes.len();
                self.receive(conn, bytes, market, now);
                return count;
            }
            Event::Eof(conn) | Event::ReceiveFailed { conn, .. } | Event::SendFailed { conn, .. } => {
                self.lose(conn, market, now);
                self.actions.push_back(Action::Close(conn, How::Abort));
            }
            Event::Closed(conn) => self.lose(conn, market, now),
            Event::AcceptFailed { errno, .. } => log::debug!("venue link: accept failed: {}", errno.desc()),
            // What a link has to say more is looked for at each flush.
            Event::Sent(_) | Event::Doorbell => {}
            Event::Adopted { .. } | Event::AdoptFailed { .. } => {
                unreachable!("invariant: the venue's ring is handed no connection")
            }
        }
        0
    }

    /// Has the link of a request send it, for who owns the market by this fence (0 without a cluster).
    ///
    /// # Panics
    /// On a request for no link, and for another owner's market than the links began with: our own bugs.
    pub(super) fn handle_request(&mut self, routed: &Routed, owned: u64, market: &mut MarketHome, now: Now) {
        assert_eq!(self.fence, owned, "invariant: links begin with a market, and it ends after they rest");
        let link = self
            .links
            .iter_mut()
            .find(|link| link.source == routed.source)
            .expect("invariant: only links and the feed list instruments");
        link.session.handle_request(routed.instrument, &routed.request);
        market.handle_link(link.source, &mut link.session, now);
    }

    /// Does what is due: heartbeats, who is silent, who does not greet, attempts to connect.
    pub(super) fn handle_timeout(&mut self, ring: &mut Ring, market: &mut MarketHome, now: Now) {
        for nth in 0..self.links.len() {
            let link = &mut self.links[nth];
            if link.session.poll_timeout().is_some_and(|due_ns| due_ns <= now.mono_ns) {
                link.session.handle_timeout(now);
                market.handle_link(link.source, &mut link.session, now);
            }
            if let Some(Step::Connect(address)) = link.reach.as_mut().map(|reach| reach.poll(now)) {
                market.note_link(link.source, LinkNote::Connecting, now);
                let tag = link.next_attempt(nth);
                if let Err(errno) = ring.connect(address, tag, limits::LINK_CONNECT_NS) {
                    self.connect_failed(nth, errno, market, now);
                }
            }
        }
        for (conn, owner) in &mut self.conns {
            if owner.deadline_ns().is_some_and(|due_ns| due_ns <= now.mono_ns) {
                *owner = Owner::Cutting;
                self.actions.push_back(Action::Close(*conn, How::Abort));
            }
        }
    }

    /// Says in the log what has become of links. Last in a turn, behind what shards are told of it: whoever reads that a link takes
    /// orders finds its instruments on every shard.
    pub(super) fn tell_news(&mut self, market: &mut MarketHome, now: Now) {
        while let Some(news) = market.poll_news() {
            self.tell(&news, now);
        }
    }

    /// Hands the ring what links have to say, and closes what is over.
    pub(super) fn flush(&mut self, ring: &mut Ring, market: &mut MarketHome, now: Now) {
        while let Some(action) = self.actions.pop_front() {
            match action {
                Action::Close(conn, how) => ring.close(conn, how),
                // Nothing was said to it before; where there is no buffer it is closed without a word.
                Action::Say(conn, bytes) => {
                    let _ = ring.transmit(conn, bytes.len(), |out| copy(&bytes, out));
                }
            }
        }
        for nth in 0..self.links.len() {
            let link = &mut self.links[nth];
            let Some(conn) = link.conn else { continue };
            let unsent = link.session.unsent();
            if !unsent.is_empty()
                && ring.can_transmit(conn)
                && let Transmit::Started(bytes) = ring.transmit(conn, unsent.len(), |out| copy(unsent, out))
            {
                link.session.handle_sent(bytes);
            }
            if !link.session.is_over() {
                continue;
            }
            let by_ns = *link.closing_by_ns.get_or_insert(now.mono_ns + limits::LINK_CLOSING_NS);
            if link.session.unsent().is_empty() || by_ns <= now.mono_ns {
                self.lose(conn, market, now);
                self.conns.push((conn, Owner::Closing { of: None, deadline_ns: by_ns }));
                ring.close(conn, How::Graceful);
            }
        }
    }

    /// Ends all connections with a farewell.
    pub(super) fn stop(&mut self, market: &mut MarketHome, now: Now) {
        for link in &mut self.links {
            link.reach = None;
            link.session.handle_stop();
            market.handle_link(link.source, &mut link.session, now);
        }
    }

    /// Whether a link has a connection.
    #[must_use]
    pub(super) fn are_connected(&self) -> bool {
        self.links.iter().any(|link| link.conn.is_some())
    }

    /// When something is due next, on the monotonic clock, in nanoseconds.
    #[must_use]
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        let of_links = self.links.iter().flat_map(|link| {
            let reach = link.reach.as_ref().and_then(Reach::poll_timeout);
            [link.session.poll_timeout(), reach, link.closing_by_ns]
        });
        let of_conns = self.conns.iter().map(|(_, owner)| owner.deadline_ns());
        of_links.chain(of_conns).flatten().min()
    }

    fn accept(&mut self, conn: ConnId, listener: ListenerId, peer: Option<SocketAddr>, now: Now) {
        if self.is_resting {
            // It goes to another of its addresses, or comes again.
            self.actions.push_back(Action::Close(conn, How::Abort));
            return;
        }
        let strangers = self.conns.iter().enumerate().filter_map(|(place, (_, owner))| {
            let from = owner.stranger()?.from;
            Some((place, (from, owner.deadline_ns()?)))
        });
        let (places, waiting): (Vec<usize>, Vec<_>) = strangers.unzip();
        if waiting.len() >= limits::LINK_GREETINGS_MAX
            && let Some(first) = greeting::first_to_go(&waiting)
        {
            let (oldest, owner) = &mut self.conns[places[first]];
            *owner = Owner::Cutting;
            self.actions.push_back(Action::Close(*oldest, How::Abort));
            let from = waiting[first].0.map_or_else(String::new, |from| format!(" from {from}"));
            self.log.say(Level::Warn, now, || {
                format!("venue link: too many connections that say nothing, one{from} is closed")
            });
        }
        let stranger = Stranger { listener, from: peer.map(|peer| peer.ip()) };
        self.conns.push((conn, Owner::Greeting(stranger, Greeting::new(now))));
    }

    fn connected(&mut self, conn: ConnId, nth: usize, market: &mut MarketHome, now: Now) {
        let link = &mut self.links[nth];
        let Some(reach) = &mut link.reach else {
            self.actions.push_back(Action::Close(conn, How::Abort));
            return;
        };
        reach.handle_connected();
        log::info!("venue link {}: connected to {}", link.setup.name, reach.address());
        self.conns.push((conn, Owner::Link(nth)));
        link.begin(conn, market, now);
        market.handle_link(link.source, &mut link.session, now);
    }

    fn connect_failed(&mut self, nth: usize, errno: Errno, market: &mut MarketHome, now: Now) {
        let link = &mut self.links[nth];
        let (name, Some(reach)) = (&link.setup.name, &mut link.reach) else { return };
        let address = reach.address();
        reach.handle_over(now);
        market.note_link(link.source, LinkNote::Failed(errno.desc().into()), now);
        if reach.is_given_up() {
            market.note_link(link.source, LinkNote::GivenUp, now);
            log::error!("venue link {name}: no connection to {address}: {}; given up", errno.desc());
        } else if !std::mem::replace(&mut link.is_failing, true) {
            log::warn!("venue link {name}: no connection to {address}: {}; trying on", errno.desc());
        }
    }

    fn receive(&mut self, conn: ConnId, bytes: &[u8], market: &mut MarketHome, now: Now) {
        let Some(place) = self.conns.iter().position(|(of, _)| *of == conn) else { return };
        match &mut self.conns[place].1 {
            Owner::Link(nth) => {
                let link = &mut self.links[*nth];
                link.session.handle_bytes(bytes, now);
                link.take_over(market, now);
            }
            Owner::Closing { .. } | Owner::Cutting => {}
            Owner::Greeting(stranger, greeting) => {
                let stranger = *stranger;
                let refusal = match greeting.take(bytes) {
                    Ok(None) => return,
                    Ok(Some(hello)) => {
                        let nth = self.links.iter().position(|link| {
                            link.is_at(&self.listeners, stranger.listener)
                                && greeting::is_of(&hello, &link.setup.name, &link.setup.session.key)
                        });
                        match nth.map(|nth| (nth, greeting::check(&hello))) {
                            None => Cut::Credentials,
                            Some((_, Err(cut))) => cut,
                            Some((nth, Ok(()))) => match self.links[nth].session.refusal(&hello) {
                                Some(cut) => cut,
                                None => return self.take_over(place, nth, market, now),
                            },
                        }
                    }
                    Err(cut) => cut,
                };
                let text = greeting.reject(&refusal);
                self.log.say(Level::Warn, now, || format!("venue link: a connection is refused: {refusal}"));
                let deadline_ns = now.mono_ns + limits::LINK_CLOSING_NS;
                self.conns[place].1 = Owner::Closing { of: Some(stranger), deadline_ns };
                self.actions.push_back(Action::Say(conn, text));
                self.actions.push_back(Action::Close(conn, How::Graceful));
            }
        }
    }

    /// The connection at this place is the link's from now on; an earlier one is cut.
    fn take_over(&mut self, place: usize, nth: usize, market: &mut MarketHome, now: Now) {
        let conn = self.conns[place].0;
        let owner = std::mem::replace(&mut self.conns[place].1, Owner::Link(nth));
        let Owner::Greeting(_, greeting) = owner else {
            unreachable!("invariant: only who greets takes a link over");
        };
        let link = &mut self.links[nth];
        if let Some(earlier) = link.conn.take() {
            self.conns.retain(|(of, _)| *of != earlier);
            self.actions.push_back(Action::Close(earlier, How::Abort));
        }
        link.begin(conn, market, now);
        link.session.handle_bytes(&greeting.into_bytes(), now);
        link.take_over(market, now);
    }

    /// The connection is gone, or is to be.
    fn lose(&mut self, conn: ConnId, market: &mut MarketHome, now: Now) {
        let Some(place) = self.conns.iter().position(|(of, _)| *of == conn) else { return };
        let (_, owner) = self.conns.swap_remove(place);
        if let Owner::Link(nth) = owner {
            let link = &mut self.links[nth];
            (link.conn, link.closing_by_ns) = (None, None);
            link.session.handle_closed();
            market.handle_link(link.source, &mut link.session, now);
            if let Some(reach) = &mut link.reach {
                reach.handle_over(now);
                if reach.is_given_up() {
                    market.note_link(link.source, LinkNote::GivenUp, now);
                    log::error!("venue link {}: given up", link.setup.name);
                }
            }
        }
    }

    fn tell(&mut self, news: &News, now: Now) {
        let links = &self.links;
        let name = |source: SourceId| {
            links.iter().find(|link| link.source == source).map_or("feed", |link| &*link.setup.name)
        };
        let (level, line) = match news {
            News::Up { source, instruments } => {
                (Level::Info, format!("{}: takes orders of {instruments} instruments", name(*source)))
            }
            News::Down { source, instruments, why } => {
                let of = name(*source);
                (Level::Warn, format!("{of}: down, {instruments} instruments are closed: {why}"))
            }
            News::Reconciled { source } => (Level::Info, format!("{}: nothing is in doubt", name(*source))),
            News::Refused { source, name: instrument, why } => {
                let (of, instrument) = (name(*source), instrument.as_str());
                let why = match why {
                    ListingRefusal::Taken { by } => format!("it is of {}", name(*by)),
                    ListingRefusal::Reserved => "the configuration has it of another venue".to_owned(),
                    ListingRefusal::Full => format!("there are {} already", limits::INSTRUMENTS_MAX),
                };
                (Level::Warn, format!("{of}: {instrument} is not taken: {why}"))
            }
        };
        self.news.say(level, now, || format!("venue link {line}"));
    }
}

impl Owner {
    fn stranger(&self) -> Option<Stranger> {
        match self {
            Owner::Greeting(stranger, _) => Some(*stranger),
            Owner::Closing { of, .. } => *of,
            Owner::Link(_) | Owner::Cutting => None,
        }
    }

    /// When it is cut.
    fn deadline_ns(&self) -> Option<u64> {
        match self {
            Owner::Greeting(_, greeting) => Some(greeting.deadline_ns),
            Owner::Closing { deadline_ns, .. } => Some(*deadline_ns),
            Owner::Link(_) | Owner::Cutting => None,
        }
    }
}

impl Link {
    fn is_at(&self, listeners: &[(u32, ListenerId)], listener: ListenerId) -> bool {
        match &self.setup.way {
            Way::Listen(number) => !self.is_removed && listeners.contains(&(*number, listener)),
            Way::Connect(_) => false,
        }
    }

    /// What tells the attempt to connect that begins from the earlier ones of this link.
    fn next_attempt(&mut self, nth: usize) -> u32 {
        let nth = u32::try_from(nth).expect("invariant: SOURCES_MAX is small");
        self.forget_attempt();
        self.attempt << ATTEMPT_SHIFT | nth
    }

    /// What comes of the attempt that is under way is of no more interest.
    fn forget_attempt(&mut self) {
        self.attempt = (self.attempt + 1) % (u32::MAX >> ATTEMPT_SHIFT);
    }

    fn begin(&mut self, conn: ConnId, market: &MarketHome, now: Now) {
        (self.conn, self.closing_by_ns) = (Some(conn), None);
        let source = self.source;
        // Names may be free that were another's: this connection may list them.
        self.session.forget_refused(|number, name| market.may_list_again(source, number, name));
        self.session.handle_connected(now);
    }

    /// Has the market take what the session tells.
    fn take_over(&mut self, market: &mut MarketHome, now: Now) {
        market.handle_link(self.source, &mut self.session, now);
        if let Some(cut) = self.session.outdated()
            && !std::mem::replace(&mut self.is_outdated, true)
        {
            self.leave_to_owner(&cut, market, now);
        }
        let welcomed_total = self.session.counters.welcomed_total;
        if welcomed_total != self.welcomed_total {
            self.welcomed_total = welcomed_total;
            self.is_failing = false;
            if let Some(reach) = &mut self.reach {
                reach.handle_up();
            }
        }
    }

    /// The venue knows a later owner of the market than this node: nothing is said to it any more, until this node owns anew.
    fn leave_to_owner(&mut self, cut: &Cut, market: &mut MarketHome, now: Now) {
        self.reach = None;
        market.note_link(self.source, LinkNote::GivenUp, now);
        log::error!(
            "venue link {}: the venue has another owner: {cut}; no order goes there until this node owns the market anew",
            self.setup.name
        );
    }
}

/// Bits of a tag that say of which link an attempt is.
const ATTEMPT_SHIFT: u32 = 8;
const _: () = assert!(limits::SOURCES_MAX <= 1 << ATTEMPT_SHIFT);

/// The source of the link at this place; the feed is the first.
fn source_of(nth: usize) -> SourceId {
    SourceId(u8::try_from(nth + 1).expect("invariant: LINKS_MAX is small"))
}

fn copy(bytes: &[u8], out: &mut [u8]) -> usize {
    let count = bytes.len().min(out.len());
    out[..count].copy_from_slice(&bytes[..count]);
    count
}
