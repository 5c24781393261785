//! A JSON-RPC client on tungstenite's client: replies to those who asked, notifications in their order.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::header::AUTHORIZATION;
use tungstenite::http::{HeaderValue, Request};
use tungstenite::protocol::{CloseFrame, WebSocket};
use tungstenite::{Error, Message};

use crate::bytes;

pub(crate) struct Client {
    socket: WebSocket<TcpStream>,
    last_id: u64,
    notes: VecDeque<Value>,
}

/// How a connection has ended.
#[derive(Debug, PartialEq)]
pub(crate) enum End {
    Close { code: u16, reason: String },
    Reset,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::over(TcpStream::connect(address).unwrap())
    }

    /// Opens a WebSocket on a socket that is connected.
    pub(crate) fn over(stream: TcpStream) -> Client {
        bytes::set_deadlines(&stream);
        stream.set_nodelay(true).unwrap();
        let url = format!("ws://{}/ws", stream.peer_addr().unwrap());
        Client::asking(url.into_client_request().unwrap(), stream)
    }

    /// Opens one for the Model Context Protocol, with this `Authorization`.
    pub(crate) fn of_mcp(address: SocketAddr, authorization: Option<&str>) -> Client {
        let stream = bytes::connect(address);
        let mut request = format!("ws://{address}/mcp").into_client_request().unwrap();
        let value = authorization.map(|value| HeaderValue::from_str(value).unwrap());
        request.headers_mut().extend(value.map(|value| (AUTHORIZATION, value)));
        Client::asking(request, stream)
    }

    fn asking(request: Request<()>, stream: TcpStream) -> Client {
        let (socket, response) = tungstenite::client(request, stream).unwrap();
        assert_eq!(response.status(), 101);
        Client { socket, last_id: 0, notes: VecDeque::new() }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.socket.get_ref()
    }

    /// Sends a request and does not wait.
    pub(crate) fn send(&mut self, method: &str, params: &Value) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.socket.send(Message::text(request.to_string())).unwrap();
        id
    }

    /// Sends a message as it is.
    pub(crate) fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// The whole reply to a request; what is told meanwhile is kept.
    pub(crate) fn request(&mut self, method: &str, params: &Value) -> Value {
        let id = self.send(method, params);
        loop {
            let message = self.message();
            if message["method"] == "subscription" {
                self.notes.push_back(message["params"].clone());
            } else {
                assert_eq!(message["id"], id, "{message}");
                return message;
            }
        }
    }

    /// The result of a request that must succeed.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Value {
        let reply = self.request(method, params);
        assert!(reply.get("result").is_some(), "{reply}");
        reply["result"].clone()
    }

    pub(crate) fn subscribe(&mut self, channel: &str) {
        assert_eq!(self.call("public/subscribe", &json!({"channels": [channel]})), json!([channel]));
    }

    /// Reads the replies to this many requests that were sent, all of which must have succeeded.
    pub(crate) fn settle(&mut self, requests: usize) {
        let mut replies = 0;
        while replies < requests {
            let message = self.message();
            if message["method"] == "subscription" {
                self.notes.push_back(message["params"].clone());
            } else {
                assert!(message.get("result").is_some(), "{message}");
                replies += 1;
            }
        }
    }

    /// The place of what was published.
    pub(crate) fn publish(&mut self, topic: &str, data: &Value) -> (u64, u64) {
        let placed = self.call("topic/publish", &json!({"topic": topic, "data": data}));
        (placed["epoch"].as_u64().unwrap(), placed["seq"].as_u64().unwrap())
    }

    /// The next notification's `params`.
    pub(crate) fn note(&mut self) -> Value {
        if let Some(note) = self.notes.pop_front() {
            return note;
        }
        let message = self.message();
        assert_eq!(message["method"], "subscription", "{message}");
        message["params"].clone()
    }

    /// The next message.
    pub(crate) fn message(&mut self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }

    /// The next message as it came.
    pub(crate) fn text(&mut self) -> String {
        let mut came = None;
        // Pings come for ever, so that the socket's own deadline would not end this.
        crate::until("a message comes", || {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    bytes::check_json(text.as_bytes());
                    came = Some(text.to_string());
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(other) => panic!("unexpected {other:?}"),
                Err(error) => panic!("no message: {error}"),
            }
            came.is_some()
        });
        came.unwrap()
    }

    /// Text messages up to the end, and the end.
    pub(crate) fn read_to_end(&mut self, mut take: impl FnMut(&str)) -> End {
        let end = self.read_until(|text| {
            take(text);
            false
        });
        end.expect("no message is the last that is wanted")
    }

    /// Text messages up to the one that is the last wanted, or up to the end, which is given.
    pub(crate) fn read_until(&mut self, mut is_last: impl FnMut(&str) -> bool) -> Option<End> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    bytes::check_json(text.as_bytes());
                    if is_last(&text) {
                        return None;
                    }
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(Some(CloseFrame { code, reason }))) => {
                    // The answer to the close frame is written by reading on.
                    let _ = self.socket.read();
                    return Some(End::Close { code: code.into(), reason: reason.to_string() });
                }
                Ok(other) => panic!("unexpected {other:?}"),
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("neither a message nor the end has come")
                }
                Err(_) => return Some(End::Reset),
            }
        }
    }

    /// Closes as a client should, and waits for the server's end.
    pub(crate) fn close(mut self) {
        self.socket.close(None).unwrap();
        while self.socket.read().is_ok() {}
    }
}

/// Why a backend's method failed, by its reply.
pub(crate) fn reason(reply: &Value) -> &str {
    reply["error"]["data"]["reason"].as_str().unwrap_or_else(|| panic!("{reply}"))
}

/// Calls a backend's method that must fail for this reason.
pub(crate) fn fails(client: &mut Client, method: &str, why: &str) {
    let reply = client.request(method, &json!([]));
    assert!(reason(&reply).contains(why), "{method}: {reply}");
}
