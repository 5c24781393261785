//! A client of NATS by its text protocol, written from its documentation: enough to ask, to publish and to be told. It shares no code
//! with the client that tickring uses.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::DEADLINE;

/// A connection on which each subscription is of the same id.
pub(crate) struct NatsClient {
    stream: BufReader<TcpStream>,
    inboxes: u32,
}

/// What was published, as a subscriber is told it.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) subject: String,
    pub(crate) payload: Vec<u8>,
}

impl NatsClient {
    pub(crate) fn connect(address: SocketAddr) -> NatsClient {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut client = NatsClient { stream: BufReader::new(stream), inboxes: 0 };
        let info = client.line().expect("a server introduces itself");
        assert!(info.starts_with("INFO {"), "{info}");
        client.send("CONNECT {\"verbose\":false,\"headers\":false}\r\n");
        client.settle();
        client
    }

    /// The same socket, to see what becomes of it.
    pub(crate) fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    pub(crate) fn subscribe(&mut self, subject: &str) {
        self.send(&format!("SUB {subject} 1\r\n"));
        self.settle();
    }

    /// Publishes, and does not wait.
    pub(crate) fn publish(&mut self, subject: &str, payload: &str) {
        self.send(&format!("PUB {subject} {}\r\n{payload}\r\n", payload.len()));
    }

    /// The next message of a subscription.
    pub(crate) fn told(&mut self) -> Told {
        self.message().expect("a message comes")
    }

    /// What somebody answers, as JSON.
    pub(crate) fn ask(&mut self, subject: &str, payload: &str) -> Value {
        self.inboxes += 1;
        let inbox = format!("_INBOX.{}", self.inboxes);
        self.send(&format!("SUB {inbox} 2 \r\nUNSUB 2 1\r\nPUB {subject} {inbox} {}\r\n", payload.len()));
        self.send(&format!("{payload}\r\n"));
        let told = self.told();
        assert_eq!(told.subject, inbox);
        serde_json::from_slice(&told.payload).unwrap()
    }

    /// Waits until the server has taken all that was sent.
    pub(crate) fn settle(&mut self) {
        self.send("PING\r\n");
        assert_eq!(self.line().as_deref(), Some("PONG"));
    }

    /// The next message, or none at the end of the connection.
    pub(crate) fn message(&mut self) -> Option<Told> {
        loop {
            let line = self.line()?;
            if line == "PING" {
                self.send("PONG\r\n");
                continue;
            }
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!((words[0], words.len() >= 4), ("MSG", true), "{line}");
            let mut payload = vec![0; words[words.len() - 1].parse::<usize>().unwrap() + 2];
            self.stream.read_exact(&mut payload).ok()?;
            payload.truncate(payload.len() - 2);
            return Some(Told { subject: words[1].to_owned(), payload });
        }
    }

    fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The next line, or none at the end of the connection.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                None
            }
        }
    }
}
