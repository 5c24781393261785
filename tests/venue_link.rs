//! The venue link over real sockets: the gateway's session against `tickring paper-venue` as a process, and against the
//! Python venue of docs/venue-link.md. Cut, resumed, stopped.
#![cfg(feature = "runtime")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it saw"
)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tickring::backend::tcp::session::{LinkEvent, Session, SessionConfig};
use tickring::clock;
use tickring::model::decimal::{Amount, Price, UNIT};
use tickring::model::ids::InstrumentId;
use tickring::model::market::{Direction, FeedEvent, FeedInstrument};
use tickring::model::order::{
    AccountId, NewOrder, OrderId, OrderType, PostOnly, TimeInForce, VenueReport, VenueRequest,
};

/// For any one event to happen: far more than it takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// Does not outlive a test that fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The gateway's session on a blocking socket.
struct Gateway {
    session: Session,
    stream: Option<TcpStream>,
}

impl Gateway {
    fn new(venue: &str) -> Gateway {
        Gateway::owning(venue, "test", 0)
    }

    /// One that owns the market by this fence.
    fn owning(venue: &str, run: &str, fence: u64) -> Gateway {
        let session = Session::new(SessionConfig {
            gateway: run.into(),
            venue: venue.into(),
            key: "s3cret".into(),
            heartbeat_ms: 200,
            fence,
            instruments: Vec::new(),
        });
        Gateway { session, stream: None }
    }

    fn take(&mut self, stream: TcpStream) {
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        self.stream = Some(stream);
        self.session.handle_connected(clock::now());
    }

    fn cut(&mut self) {
        self.stream = None;
        self.session.handle_closed();
        while self.session.poll_event().is_some() {}
    }

    /// Drives the link until an event is what is waited for.
    fn wait<T>(&mut self, what: &str, mut is_it: impl FnMut(&LinkEvent) -> Option<T>) -> T {
        let until_ns = clock::now().mono_ns + u64::try_from(DEADLINE.as_nanos()).unwrap();
        let mut bytes = vec![0; 65_536];
        loop {
            while let Some(event) = self.session.poll_event() {
                assert!(!matches!(event, LinkEvent::Down { .. }), "{event:?} instead of {what}");
                if let Some(found) = is_it(&event) {
                    return found;
                }
            }
            let now = clock::now();
            assert!(now.mono_ns < until_ns, "this has not happened: {what}");
            self.session.handle_timeout(now);
            let stream = self.stream.as_mut().unwrap();
            let sent = self.session.unsent().len();
            stream.write_all(self.session.unsent()).unwrap();
            self.session.handle_sent(sent);
            match stream.read(&mut bytes) {
                Ok(0) => panic!("closed instead of {what}"),
                Ok(count) => self.session.handle_bytes(&bytes[..count], clock::now()),
                Err(error) => assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)),
            }
        }
    }

    fn wait_up(&mut self) {
        self.wait("up", |event| matches!(event, LinkEvent::Up { .. }).then_some(()));
    }

    fn wait_report(&mut self) -> VenueReport {
        self.wait("a report", |event| {
            let LinkEvent::Feed(FeedEvent::Report(report)) = event else { return None };
            Some(*report)
        })
    }

    fn place(&mut self, order: u64, price: Price, amount: i64) {
        let spec = NewOrder {
            instrument: InstrumentId(0),
            direction: Direction::Buy,
            order_type: OrderType::Limit,
            price: Some(price),
            amount: Amount(amount * UNIT),
            time_in_force: TimeInForce::GoodTilCancelled,
            post_only: PostOnly::No,
            reduce_only: false,
            label: None,
            valid_until_ms: None,
        };
        let request = VenueRequest::New { order: OrderId(order), account: AccountId(1), spec };
        self.session.handle_request(FeedInstrument(0), &request);
    }
}

fn paper_venue(flags: &[&str]) -> (Killed, impl FnMut() -> String + use<>) {
    let mut child = Killed(
        Command::new(env!("CARGO_BIN_EXE_tickring"))
            .args(["paper-venue", "--key", "s3cret", "--heartbeat-ms", "200"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    (child, move || lines.next().unwrap().unwrap())
}

fn stop(mut child: Killed) -> Option<i32> {
    kill(Pid::from_raw(i32::try_from(child.0.id()).unwrap()), Signal::SIGTERM).unwrap();
    child.0.wait().unwrap().code()
}

#[test]
fn an_order_rests_at_the_paper_venue_through_a_cut() {
    for form in [&[][..], &["--binary"]] {
        let (child, mut line) = paper_venue(&[&["--listen", "127.0.0.1:0"], form].concat());
        let announced = line();
        let address = announced.strip_prefix("paper venue listens on ").unwrap();
        let mut gateway = Gateway::new("paper");
        gateway.take(TcpStream::connect(address).unwrap());
        gateway.wait_up();
        let price = Price(1_000 * UNIT);
        gateway.place(1, price, 10);
        assert_eq!(gateway.wait_report(), VenueReport::Accepted { order: OrderId(1), price: Some(price) });
        gateway.cut();
        gateway.take(TcpStream::connect(address).unwrap());
        gateway.wait_up();
        let cancel = VenueRequest::Cancel { order: OrderId(1), instrument: InstrumentId(0) };
        gateway.session.handle_request(FeedInstrument(0), &cancel);
        assert!(matches!(gateway.wait_report(), VenueReport::Cancelled { order: OrderId(1), .. }));
        assert_eq!(gateway.session.counters.resumed_total, 1);
        assert!(line().starts_with("connected with 127.0.0.1:"));
        assert_eq!(line(), "welcomed, begins anew");
        assert_eq!(line(), "disconnected: the connection was closed");
        assert!(line().starts_with("connected with 127.0.0.1:"));
        assert_eq!(line(), "welcomed, goes on where it was");
        assert_eq!(stop(child), Some(0));
        let why = gateway.wait_down();
        assert_eq!(why, "ended by the peer: stopped");
    }
}

#[test]
fn a_gateway_of_an_older_fence_is_sent_away_and_the_owner_goes_on_where_it_was() {
    for form in [&[][..], &["--binary"]] {
        let (child, mut line) = paper_venue(&[&["--listen", "127.0.0.1:0"], form].concat());
        let announced = line();
        let address = announced.strip_prefix("paper venue listens on ").unwrap();
        let (mut owner, mut older) = (Gateway::owning("paper", "b", 7), Gateway::owning("paper", "a", 6));
        owner.take(TcpStream::connect(address).unwrap());
        owner.wait_up();
        let price = Price(1_000 * UNIT);
        owner.place(1, price, 10);
        assert_eq!(owner.wait_report(), VenueReport::Accepted { order: OrderId(1), price: Some(price) });
        owner.cut();
        older.take(TcpStream::connect(address).unwrap());
        assert_eq!(older.wait_down(), "fence 6 is older than 7");
        assert!(older.session.outdated().is_some());
        owner.take(TcpStream::connect(address).unwrap());
        owner.wait_up();
        let cancel = VenueRequest::Cancel { order: OrderId(1), instrument: InstrumentId(0) };
        owner.session.handle_request(FeedInstrument(0), &cancel);
        assert!(matches!(owner.wait_report(), VenueReport::Cancelled { order: OrderId(1), .. }));
        assert_eq!(owner.session.counters.resumed_total, 1);
        let is_connected = |line: &str| line.starts_with("connected with 127.0.0.1:");
        assert!(is_connected(&line()));
        assert_eq!(line(), "welcomed, begins anew");
        assert_eq!(line(), "disconnected: the connection was closed");
        assert!(is_connected(&line()));
        assert_eq!(line(), "disconnected: fence 6 is older than 7");
        assert!(is_connected(&line()));
        assert_eq!(line(), "welcomed, goes on where it was");
        assert_eq!(stop(child), Some(0));
    }
}

#[test]
fn the_paper_venue_connects_and_is_told_why_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (child, mut line) = paper_venue(&["--connect", &address, "--name", "stranger"]);
    assert_eq!(line(), format!("paper venue connects to {address}"));
    let mut gateway = Gateway::new("paper");
    gateway.take(listener.accept().unwrap().0);
    assert_eq!(gateway.wait_down(), "unknown venue or key");
    let unsent = gateway.session.unsent().to_vec();
    gateway.stream.as_mut().unwrap().write_all(&unsent).unwrap();
    assert!(line().starts_with("connected with "));
    assert_eq!(line(), "disconnected: ended by the peer: unknown venue or key");
    // It comes back.
    drop(listener.accept().unwrap());
    assert_eq!(stop(child), Some(0));
}

#[test]
fn the_venue_in_python_fills_an_order_and_resumes_after_a_cut() {
    let page = include_str!("../docs/venue-link.md");
    let code = page.split_once("```python\n").unwrap().1.split_once("```").unwrap().0;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let python = Command::new("python3").args(["-c", code, "127.0.0.1", &port]).stdin(Stdio::null()).spawn();
    let Ok(child) = python else {
        println!("no python3 on this host: nothing is shown");
        return;
    };
    let _child = Killed(child);
    let mut gateway = Gateway::new("fx");
    for (order, resumed) in [(1, 0), (2, 1), (3, 2)] {
        gateway.take(listener.accept().unwrap().0);
        gateway.wait_up();
        gateway.place(order, Price(UNIT), 1_000);
        let order = OrderId(order);
        assert_eq!(gateway.wait_report(), VenueReport::Accepted { order, price: None });
        let fill = gateway.wait("a fill", |event| {
            let LinkEvent::Fill(fill) = event else { return None };
            Some(*fill)
        });
        assert_eq!((fill.order, fill.price, fill.amount), (order, Price(UNIT), Amount(1_000 * UNIT)));
        assert_eq!(gateway.session.counters.resumed_total, resumed);
        gateway.cut();
    }
    assert_eq!((gateway.session.counters.taken_back_total, gateway.session.counters.strange_total), (0, 0));
}

impl Gateway {
    /// Why the link went down, once it has.
    fn wait_down(&mut self) -> String {
        let mut bytes = vec![0; 65_536];
        loop {
            while let Some(event) = self.session.poll_event() {
                if let LinkEvent::Down { why, .. } = event {
                    return why.to_string();
                }
            }
            let sent = self.session.unsent().len();
            self.stream.as_mut().unwrap().write_all(self.session.unsent()).unwrap();
            self.session.handle_sent(sent);
            match self.stream.as_mut().unwrap().read(&mut bytes) {
                Ok(0) => self.session.handle_closed(),
                Ok(count) => self.session.handle_bytes(&bytes[..count], clock::now()),
                Err(error) => assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)),
            }
        }
    }
}
