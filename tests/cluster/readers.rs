//! Clients that read a market whatever becomes of the nodes: each is a thread that connects, resumes where it was, reads, and connects
//! again, to the node that it is sent to or to another.
//!
//! Invariant: what a reader hears goes into one queue, in the order in which it heard it.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket};

/// What is read: its changes follow each other, and a snapshot tells of a hole.
pub(crate) const CHANNEL: &str = "book.BTC-PERPETUAL.raw";

/// How long a reader that finds nobody, or a node without a market, leaves it alone.
const PAUSE: Duration = Duration::from_millis(20);
/// How often one that hears nothing looks whether it is to move or to end.
const LOOK: Duration = Duration::from_millis(50);
/// For a node to answer: one that is put aside does not, and is left.
const ANSWER: Duration = Duration::from_secs(5);

/// What a reader says.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) reader: usize,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// It is subscribed at a node, where it was or anew.
    Joined { node: usize, recovered: bool },
    /// A notification, as it came.
    Note { node: usize, text: String, note: Value },
}

/// A reader's thread.
pub(crate) struct Reader {
    node: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    end: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// One that reads at this node and stays there.
    pub(crate) fn start(reader: usize, node: usize, addresses: &[SocketAddr], told: Sender<Heard>) -> Reader {
        let (end, ended) = std::sync::mpsc::channel();
        let (at, is_over) = (Arc::new(AtomicUsize::new(node)), Arc::new(AtomicBool::new(false)));
        let mut course = Course {
            reader,
            node: Arc::clone(&at),
            is_over: Arc::clone(&is_over),
            ended,
            addresses: addresses.to_vec(),
            told,
            place: None,
        };
        let thread = Some(thread::spawn(move || course.run()));
        Reader { node: at, is_over, end, thread }
    }

    /// Sends it to another node: it breaks off, and resumes there.
    pub(crate) fn move_to(&self, node: usize) {
        self.node.store(node, Ordering::Relaxed);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.end.send(());
        let ended = self.thread.take().map(JoinHandle::join);
        if ended.is_some_and(|ended| ended.is_err()) && !thread::panicking() {
            panic!("a reader panicked");
        }
    }
}

struct Course {
    reader: usize,
    node: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    ended: Receiver<()>,
    addresses: Vec<SocketAddr>,
    told: Sender<Heard>,
    /// The newest that was heard.
    place: Option<(u64, u64)>,
}

impl Course {
    fn run(&mut self) {
        while !self.is_over.load(Ordering::Relaxed) {
            let node = self.node.load(Ordering::Relaxed);
            if let Some(mut socket) = self.connect(node)
                && self.subscribe(&mut socket, node)
            {
                self.read(&mut socket, node);
            }
            // Until a node is there again, which nobody tells.
            let _ = self.ended.recv_timeout(PAUSE);
        }
    }

    fn connect(&self, node: usize) -> Option<WebSocket<TcpStream>> {
        let address = self.addresses[node];
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(ANSWER)).unwrap();
        let (socket, _) = tungstenite::client(format!("ws://{address}/ws"), stream).ok()?;
        Some(socket)
    }

    /// Subscribes where it was. False if the connection is over, or there is no market yet.
    fn subscribe(&mut self, socket: &mut WebSocket<TcpStream>, node: usize) -> bool {
        let resume = self.place.map(|(epoch, seq)| json!({CHANNEL: {"epoch": epoch, "seq": seq}}));
        let mut params = json!({"channels": [CHANNEL], "class": "lossless"});
        if let Some(resume) = resume {
            params["resume"] = resume;
        }
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "public/subscribe", "params": params});
        if socket.send(Message::text(request.to_string())).is_err() {
            return false;
        }
        let Ok(reply) = socket.read() else { return false };
        let Message::Text(reply) = reply else { return false };
        let reply: Value = serde_json::from_str(&reply).unwrap();
        assert_eq!(reply["id"], 1, "nothing is told before the reply: {reply}");
        if reply["result"] != json!([CHANNEL]) {
            return false;
        }
        let recovered = reply["resumed"][CHANNEL]["recovered"] == true;
        assert!(self.place.is_some() || !recovered, "{reply}");
        self.say(What::Joined { node, recovered });
        socket.get_ref().set_read_timeout(Some(LOOK)).unwrap();
        true
    }

    /// Reads until the connection ends, or this reader is sent elsewhere.
    fn read(&mut self, socket: &mut WebSocket<TcpStream>, node: usize) {
        while !self.is_over.load(Ordering::Relaxed) && self.node.load(Ordering::Relaxed) == node {
            match socket.read() {
                Ok(Message::Text(text)) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    let note = message["params"].clone();
                    let number = |key: &str| note[key].as_u64().unwrap_or_else(|| panic!("{text}"));
                    self.place = Some((number("epoch"), number("seq")));
                    self.say(What::Note { node, text: text.to_string(), note });
                }
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    fn say(&self, what: What) {
        // Nobody listens when the test is over.
        let _ = self.told.send(Heard { reader: self.reader, what });
    }
}
