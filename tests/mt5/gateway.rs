//! The gateway's session of a venue link on a blocking socket, and what it was told.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tickring::backend::tcp::session::{LinkEvent, LinkFill, Session, SessionConfig};
use tickring::clock;
use tickring::model::decimal::{Amount, Price, UNIT};
use tickring::model::ids::InstrumentId;
use tickring::model::market::{Direction, FeedEvent, FeedInstrument};
use tickring::model::order::{
    AccountId, NewOrder, OrderId, OrderType, PostOnly, TimeInForce, VenueReport, VenueRequest,
};

use crate::DEADLINE;

pub(crate) struct Gateway {
    pub(crate) session: Session,
    pub(crate) listener: TcpListener,
    stream: Option<TcpStream>,
    /// What was told of orders while something else was waited for.
    heard: VecDeque<Told>,
}

/// What is told of orders.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Told {
    Report(VenueReport),
    /// The order, its price and amount.
    Fill(u64, Price, Amount),
    /// Nothing is in doubt any more.
    Reconciled,
}

impl Told {
    fn of(event: &LinkEvent) -> Option<Told> {
        match event {
            LinkEvent::Feed(FeedEvent::Report(report)) => Some(Told::Report(*report)),
            LinkEvent::Fill(LinkFill { order, price, amount, .. }) => {
                Some(Told::Fill(order.0, *price, *amount))
            }
            LinkEvent::Reconciled => Some(Told::Reconciled),
            LinkEvent::Feed(_) | LinkEvent::Up { .. } | LinkEvent::Down { .. } => None,
        }
    }
}

impl Gateway {
    pub(crate) fn new() -> Gateway {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Gateway { session: session("test", 0), listener, stream: None, heard: VecDeque::new() }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Another run: all is forgotten.
    pub(crate) fn restart(&mut self) {
        self.change(session("test", 0));
    }

    /// Another node, which owns the market by this fence; the one that was.
    pub(crate) fn change_owner(&mut self, gateway: &str, fence: u64) -> Session {
        self.change(session(gateway, fence))
    }

    pub(crate) fn change(&mut self, session: Session) -> Session {
        self.cut();
        std::mem::replace(&mut self.session, session)
    }

    pub(crate) fn cut(&mut self) {
        self.stream = None;
        self.session.handle_closed();
        while self.session.poll_event().is_some() {}
    }

    pub(crate) fn attach(&mut self, stream: TcpStream) {
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        self.stream = Some(stream);
        self.session.handle_connected(clock::now());
    }

    /// Takes the advisor's next connection, and waits until its instruments are there.
    pub(crate) fn take(&mut self) {
        let stream = self.listener.accept().unwrap().0;
        self.attach(stream);
        self.wait("up", |event| matches!(event, LinkEvent::Up { .. }).then_some(()));
    }

    /// Drives the link until an event is what is waited for. Others are passed over, but for what is told of orders.
    pub(crate) fn wait<T>(&mut self, what: &str, mut is_it: impl FnMut(&LinkEvent) -> Option<T>) -> T {
        let until_ns = clock::now().mono_ns + u64::try_from(DEADLINE.as_nanos()).unwrap();
        loop {
            while let Some(event) = self.session.poll_event() {
                if let Some(found) = is_it(&event) {
                    return found;
                }
                assert!(!matches!(event, LinkEvent::Down { .. }), "{event:?} instead of {what}");
                self.heard.extend(Told::of(&event));
            }
            assert!(clock::now().mono_ns < until_ns, "this has not happened: {what}");
            self.turn();
        }
    }

    /// Drives the link, whatever it tells, until something else has happened.
    pub(crate) fn drive_until(&mut self, mut has_happened: impl FnMut() -> bool) {
        let until_ns = clock::now().mono_ns + u64::try_from(DEADLINE.as_nanos()).unwrap();
        while !has_happened() {
            assert!(clock::now().mono_ns < until_ns, "it has not happened");
            while self.session.poll_event().is_some() {}
            self.turn();
        }
    }

    /// Sends what is asked for, and takes what has come.
    pub(crate) fn turn(&mut self) {
        let mut bytes = vec![0; 65_536];
        self.session.handle_timeout(clock::now());
        let stream = self.stream.as_mut().unwrap();
        let sent = self.session.unsent().len();
        // A peer that was killed shows at the next read.
        let _ = stream.write_all(self.session.unsent());
        self.session.handle_sent(sent);
        match stream.read(&mut bytes) {
            Ok(0) => self.session.handle_closed(),
            Ok(count) => self.session.handle_bytes(&bytes[..count], clock::now()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => self.session.handle_closed(),
        }
    }

    /// The next thing that is told of orders.
    pub(crate) fn told(&mut self) -> Told {
        match self.heard.pop_front() {
            Some(told) => told,
            None => self.wait("something of an order", Told::of),
        }
    }

    pub(crate) fn new_order(&mut self, order: u64, spec: NewOrder) {
        let request = VenueRequest::New { order: OrderId(order), account: AccountId(1), spec };
        self.session.handle_request(FeedInstrument(spec.instrument.0), &request);
    }

    /// Amends an order of EURUSD to this price, and this amount in all.
    pub(crate) fn amend(&mut self, order: u64, price: Price, total: Amount) {
        let request = VenueRequest::Amend {
            order: OrderId(order),
            instrument: InstrumentId(0),
            price: Some(price),
            total,
            post_only: PostOnly::No,
        };
        self.session.handle_request(FeedInstrument(0), &request);
    }

    pub(crate) fn cancel(&mut self, order: u64) {
        let request = VenueRequest::Cancel { order: OrderId(order), instrument: InstrumentId(0) };
        self.session.handle_request(FeedInstrument(0), &request);
    }
}

fn session(gateway: &str, fence: u64) -> Session {
    Session::new(SessionConfig {
        gateway: gateway.into(),
        venue: "mt5".into(),
        key: "s3cret".into(),
        heartbeat_ms: 200,
        fence,
        instruments: Vec::new(),
    })
}

/// A good-til-cancelled limit order of EURUSD.
pub(crate) fn limit(direction: Direction, units: i64, amount: i64) -> NewOrder {
    NewOrder {
        instrument: InstrumentId(0),
        direction,
        order_type: OrderType::Limit,
        price: Some(price(units)),
        amount: Amount(amount * UNIT),
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only: PostOnly::No,
        reduce_only: false,
        label: None,
        valid_until_ms: None,
    }
}

/// A market order of EURUSD.
pub(crate) fn market(direction: Direction, amount: i64) -> NewOrder {
    NewOrder {
        order_type: OrderType::Market,
        price: None,
        time_in_force: TimeInForce::ImmediateOrCancel,
        ..limit(direction, 1, amount)
    }
}

/// A price of so many points of EURUSD: 112,119 is 1.12119.
pub(crate) fn price(points: i64) -> Price {
    Price(points * UNIT / 100_000)
}
