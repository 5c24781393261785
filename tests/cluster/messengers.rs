//! Clients that send each other durable messages whatever becomes of the nodes, and hold it against the ledger: a sender and a receiver for each
//! node, which go to another one when theirs does not answer, and come back. Each is a thread with one connection at a time.
//!
//! Senders have several under way, send again under the same name what nobody knows of, and leave some of what was refused; receivers confirm,
//! reject and ignore, and come and go.

#![expect(clippy::disallowed_types, reason = "one ledger for all threads of a test, which measures nothing")]

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket};

use crate::chance::Chance;
use crate::ledger::{Counts, Ledger, content_of};
use crate::nodes::{ADMIN, RECEIVERS, SECRET, SENDERS};
use crate::{DEADLINE, until};

/// Between two bursts of a sender, and for one that is refused or finds nobody.
const PAUSE: Duration = Duration::from_millis(20);
/// How often one that hears nothing looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
/// For a node to let a client in: one that is put aside does not, and is left for another.
const ANSWER: Duration = Duration::from_secs(2);
const BURST_MAX: usize = 8;
/// Receivers are to keep up: a mailbox that is full is another test's.
const BACKLOG_MAX: u64 = 500;
/// The gateway's codes for what was not sent, and for what nobody knows of.
const NOT_SENT: i64 = 13_028;
const OUTCOME_UNKNOWN: i64 = 20_001;

/// All of them.
pub(crate) struct Messengers {
    common: Arc<Common>,
    senders: Courses,
    receivers: Courses,
}

/// Threads, which end by what is dropped with them.
struct Courses {
    threads: Vec<JoinHandle<()>>,
    ends: Vec<Sender<()>>,
    /// Ends when the last of them has.
    are_over: Receiver<()>,
}

struct Common {
    ledger: Mutex<Ledger>,
    addresses: Vec<SocketAddr>,
    /// Nothing new is sent, and all that comes is confirmed.
    is_ending: AtomicBool,
    is_over: AtomicBool,
}

impl Messengers {
    pub(crate) fn start(addresses: Vec<SocketAddr>, seed: u64) -> Messengers {
        let common = Arc::new(Common {
            ledger: Mutex::default(),
            addresses,
            is_ending: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        });
        let users = |users: [&'static str; 3], run: fn(Client)| {
            let (over, are_over) = std::sync::mpsc::channel();
            let mut courses = Courses { threads: Vec::new(), ends: Vec::new(), are_over };
            for (home, user) in users.into_iter().enumerate() {
                let (end, ended) = std::sync::mpsc::channel();
                let chance = Chance(seed ^ (home as u64 + 1) << 32);
                let client = Client { common: Arc::clone(&common), user, home, chance, ended };
                let over = over.clone();
                courses.ends.push(end);
                courses.threads.push(thread::spawn(move || {
                    let _over: Sender<()> = over;
                    run(client);
                }));
            }
            courses
        };
        let (senders, receivers) = (users(SENDERS, send), users(RECEIVERS, receive));
        Messengers { common, senders, receivers }
    }

    /// Hears at once of one that has found a fault.
    pub(crate) fn check(&self) {
        drop(self.common.ledger());
    }

    /// Ends them where nothing fails any more: all that was promised is to be seen. Any node is asked what waits for receivers, and what is dead.
    pub(crate) fn settle(self) -> Counts {
        let Messengers { common, senders, receivers } = self;
        common.is_ending.store(true, Ordering::Relaxed);
        // Each of their messages has an outcome.
        senders.join();
        for user in RECEIVERS {
            let mut view = None;
            until("nothing waits for anybody", || {
                drop(common.ledger());
                let pending = ask(&mut view, &common, user, "message/pending", &json!({"count": 1}));
                pending.is_some_and(|pending| pending["total"] == 0)
            });
        }
        // What is delivered waits no more: it is confirmed now, or comes again and is confirmed then. Else it is lost, however often it came.
        let (mut admin, mut open) = (None, usize::MAX);
        until("all that was promised is confirmed or dead", || {
            let params = json!({"count": 1000});
            let listed = ask(&mut admin, &common, ADMIN, "message/dead_letters/list", &params);
            listed.is_some_and(|listed| {
                let letters = listed["letters"].as_array().unwrap();
                assert_eq!(listed["total"], letters.len(), "few die");
                let mut ledger = common.ledger();
                letters.iter().for_each(|letter| ledger.bury(letter["client_id"].as_str().unwrap()));
                let left = ledger.open();
                if std::mem::replace(&mut open, left.len()) != left.len() {
                    println!("promised, neither confirmed nor dead: {left:?}");
                }
                left.is_empty()
            })
        });
        common.is_over.store(true, Ordering::Relaxed);
        receivers.join();
        common.ledger().counts
    }
}

impl Courses {
    /// Waits for all of them, and hears of one that has found a fault.
    fn join(self) {
        let over = self.are_over.recv_timeout(DEADLINE);
        assert_eq!(over, Err(RecvTimeoutError::Disconnected), "some do not end");
        for thread in self.threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    }
}

impl Common {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nobody has found a fault")
    }

    fn is(&self, what: &AtomicBool) -> bool {
        what.load(Ordering::Relaxed)
    }
}

/// A question on a connection to whichever node answers; none where it did not.
fn ask(
    session: &mut Option<Session>,
    common: &Common,
    user: &str,
    method: &str,
    params: &Value,
) -> Option<Value> {
    let mut nodes = common.addresses.iter();
    while session.is_none() {
        *session = Session::open(*nodes.next()?, user);
    }
    let result = session.as_mut()?.ask(method, params);
    if result.is_none() {
        *session = None;
    }
    result
}

/// Who a thread is.
struct Client {
    common: Arc<Common>,
    user: &'static str,
    /// The node that it prefers.
    home: usize,
    chance: Chance,
    ended: Receiver<()>,
}

impl Client {
    /// A connection to the own node, or to the next that lets it in; none if it is to end.
    fn open(&mut self) -> Option<Session> {
        let mut tries = 0;
        while !self.common.is(&self.common.is_over) {
            let nodes = &self.common.addresses;
            let session = Session::open(nodes[(self.home + tries) % nodes.len()], self.user);
            if session.is_some() {
                return session;
            }
            tries += 1;
            self.pause();
        }
        None
    }

    /// What is waited for meanwhile nobody tells.
    fn pause(&self) {
        let _ = self.ended.recv_timeout(PAUSE);
    }

    fn is_ending(&self) -> bool {
        self.common.is(&self.common.is_ending)
    }
}

/// A connection that has logged in.
struct Session {
    socket: WebSocket<TcpStream>,
    last_id: u64,
}

/// What came.
enum Heard {
    Message(Value),
    Nothing,
    End,
}

impl Session {
    fn open(address: SocketAddr, user: &str) -> Option<Session> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(ANSWER)).unwrap();
        stream.set_nodelay(true).unwrap();
        let (socket, _) = tungstenite::client(format!("ws://{address}/ws"), stream).ok()?;
        let mut session = Session { socket, last_id: 0 };
        let key = json!({"grant_type": "client_credentials", "client_id": user, "client_secret": SECRET});
        session.ask("public/auth", &key)?;
        Some(session)
    }

    /// The result of a request, before anything else is under way; none if there is none, or no node that owns.
    fn ask(&mut self, method: &str, params: &Value) -> Option<Value> {
        self.socket.get_ref().set_read_timeout(Some(ANSWER)).unwrap();
        let id = self.put(method, params)?;
        loop {
            let Heard::Message(reply) = self.hear() else { return None };
            if reply["id"] == id {
                self.socket.get_ref().set_read_timeout(Some(LOOK)).unwrap();
                let code = &reply["error"]["code"];
                assert!(code.is_null() || is_of_nodes(code), "{method}: {reply}");
                return reply.get("result").cloned();
            }
            // What came first is lost with this connection, and comes again.
            assert_ne!(reply["method"], "message", "nobody has subscribed: {reply}");
        }
    }

    /// The id of a request that has left, if it has.
    fn put(&mut self, method: &str, params: &Value) -> Option<u64> {
        self.last_id += 1;
        let request = json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params});
        self.socket.send(Message::text(request.to_string())).ok()?;
        Some(self.last_id)
    }

    fn hear(&mut self) -> Heard {
        match self.socket.read() {
            Ok(Message::Text(text)) => Heard::Message(serde_json::from_str(&text).unwrap()),
            Ok(Message::Close(_)) => Heard::End,
            Ok(_) => Heard::Nothing,
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Heard::Nothing,
            Err(_) => Heard::End,
        }
    }
}

/// What is said where no owner is known, or one is lost; all else is a fault of the gateway.
fn is_of_nodes(code: &Value) -> bool {
    *code == NOT_SENT || *code == OUTCOME_UNKNOWN
}

/// A sender's course: what is `unsure` has left and has no answer, and goes again before anything new, in its order.
fn send(mut client: Client) {
    let mut unsure: VecDeque<(String, Value)> = VecDeque::new();
    let mut number = 0;
    while !client.is_ending() || !unsure.is_empty() {
        let Some(mut session) = client.open() else { return };
        while !client.is_ending() || !unsure.is_empty() {
            while !client.is_ending()
                && unsure.len() <= client.chance.below(BURST_MAX)
                && client.common.ledger().backlog() < BACKLOG_MAX
            {
                number += 1;
                unsure.push_back(client.compose(number));
            }
            if !client.burst(&mut session, &mut unsure) {
                break;
            }
            client.pause();
        }
    }
}

impl Client {
    fn compose(&mut self, number: u64) -> (String, Value) {
        let receiver = RECEIVERS[self.chance.below(RECEIVERS.len())];
        let name = self.common.ledger().compose(self.user, number, receiver);
        let content = content_of(&name);
        let params = json!({"user": receiver, "confirm": true, "id": name, "content": content});
        (name, params)
    }

    /// Sends all that is unsure, and hears what becomes of it. False if the connection is over.
    fn burst(&mut self, session: &mut Session, unsure: &mut VecDeque<(String, Value)>) -> bool {
        let mut under_way = BTreeMap::new();
        let mut is_open = true;
        for (name, params) in unsure.iter() {
            match session.put("message/send", params) {
                Some(id) => drop(under_way.insert(id, name.clone())),
                None => is_open = false,
            }
        }
        while is_open && !under_way.is_empty() && !self.common.is(&self.common.is_over) {
            match session.hear() {
                Heard::Nothing => {}
                Heard::End => is_open = false,
                Heard::Message(reply) => {
                    let id = reply["id"].as_u64().unwrap_or_else(|| panic!("{}: {reply}", self.user));
                    let name = under_way.remove(&id).unwrap_or_else(|| panic!("answered twice: {reply}"));
                    if self.is_settled(&name, &reply) {
                        unsure.retain(|(of, _)| *of != name);
                    }
                }
            }
        }
        if !is_open {
            // Where it could not be written it may have left all the same.
            unsure.iter().for_each(|(name, _)| self.common.ledger().lose_sight(name));
        }
        is_open
    }

    /// Notes what a message's sender is told; whether it is through with it.
    fn is_settled(&mut self, name: &str, reply: &Value) -> bool {
        let mut ledger = self.common.ledger();
        let code = &reply["error"]["code"];
        if let Some(result) = reply.get("result") {
            assert_eq!(result["count"], 1, "{name}: {reply}");
            ledger.promise(name, result["repeated"] == true);
            return true;
        }
        assert!(is_of_nodes(code), "{}: {name}: {reply}", self.user);
        if *code == OUTCOME_UNKNOWN {
            ledger.lose_sight(name);
            return false;
        }
        ledger.refuse(name);
        self.chance.below(2) == 0 && ledger.renounce(name)
    }
}

/// A receiver's course.
fn receive(mut client: Client) {
    while !client.common.is(&client.common.is_over) {
        let Some(mut session) = client.open() else { return };
        let under_way_max = [1, 16, 256][client.chance.below(3)];
        if session.ask("message/subscribe", &json!({"under_way_max": under_way_max})).is_none() {
            client.pause();
            continue;
        }
        let connection = client.common.ledger().connect();
        client.listen(&mut session, connection);
    }
}

impl Client {
    /// Takes what comes, until the connection is over or it has had enough of it.
    fn listen(&mut self, session: &mut Session, connection: u64) {
        let mut asked: BTreeMap<u64, String> = BTreeMap::new();
        let mut stays = 50 + self.chance.below(1950);
        while (stays > 0 || self.is_ending()) && !self.common.is(&self.common.is_over) {
            let message = match session.hear() {
                Heard::Nothing => continue,
                Heard::End => return,
                Heard::Message(message) => message,
            };
            if message["method"] == "message" {
                stays = stays.saturating_sub(1);
                let params = &message["params"];
                let name = self.common.ledger().deliver(self.user, connection, params);
                if !self.judge(session, params, name, &mut asked) {
                    return;
                }
            } else {
                let id = message["id"].as_u64().unwrap_or_else(|| panic!("{}: {message}", self.user));
                // An error: its confirmation was heard before, it is to come again already, or nobody heard it.
                if let Some(name) = asked.remove(&id).filter(|_| message.get("result").is_some()) {
                    self.common.ledger().confirm(&name);
                }
            }
        }
    }

    /// Confirms most, rejects some, ignores some. False if the connection is over.
    fn judge(
        &mut self,
        session: &mut Session,
        params: &Value,
        name: String,
        asked: &mut BTreeMap<u64, String>,
    ) -> bool {
        match if self.is_ending() { 20 } else { self.chance.below(20) } {
            0 => true,
            1 | 2 => {
                let reject = json!({"id": params["id"], "reason": "not now", "delay_ms": 10});
                session.put("message/nack", &reject).is_some()
            }
            _ => {
                self.common.ledger().judge(&name);
                let id = session.put("message/ack", &json!({"id": params["id"]}));
                id.map(|id| asked.insert(id, name)).is_some()
            }
        }
    }
}
