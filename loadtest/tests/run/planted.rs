//! Servers on tungstenite, a crate that others wrote, with faults at chosen places. Each connection has a thread; whoever
//! subscribes is handed to the hub, which alone writes to subscribers from then on.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

type Socket = WebSocket<TcpStream>;

/// What a subscriber is told in place of a message.
pub(crate) enum Told {
    Once,
    Nothing,
    Twice,
    /// With the next one, and after it.
    Later,
    /// The connection's end, by this code.
    Close(u16),
}

/// By the subscriber's number in the order of subscription, from 0, and the message's, from 1.
pub(crate) type Plan = fn(subscriber: usize, number: u64) -> Told;

enum Event {
    Joined(Box<Socket>, String),
    Published(String, String),
}

/// `sub TOPIC` is answered `subscribed`; `pub TOPIC DATA` goes to the topic's subscribers as the plan has it; anything else
/// comes back.
pub(crate) fn broadcast(plan: Plan) -> SocketAddr {
    let (events, told) = mpsc::channel();
    thread::spawn(move || hub(&told, plan));
    serve(move |socket| converse(socket, &events))
}

/// Calls `talk` with every connection that was upgraded, in a thread of its own.
pub(crate) fn serve(talk: impl Fn(Socket) + Clone + Send + 'static) -> SocketAddr {
    accept(move |stream| {
        if let Ok(socket) = tungstenite::accept(stream) {
            talk(socket);
        }
    })
}

/// Calls `talk` with every connection, in a thread of its own.
pub(crate) fn accept(talk: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let talk = talk.clone();
            thread::spawn(move || {
                // Without it small answers wait for acknowledgements.
                let _ = stream.set_nodelay(true);
                talk(stream);
            });
        }
    });
    address
}

fn converse(mut socket: Socket, events: &Sender<Event>) {
    while let Ok(message) = socket.read() {
        let Message::Text(text) = message else { continue };
        if let Some(topic) = text.strip_prefix("sub ") {
            let topic = topic.to_owned();
            let _ = socket.send(Message::text("subscribed"));
            let _ = events.send(Event::Joined(Box::new(socket), topic));
            return;
        }
        match text.strip_prefix("pub ").and_then(|rest| rest.split_once(' ')) {
            Some((topic, data)) => {
                let _ = events.send(Event::Published(topic.to_owned(), data.to_owned()));
            }
            None => {
                let _ = socket.send(Message::Text(text));
            }
        }
    }
}

fn hub(events: &Receiver<Event>, plan: Plan) {
    let mut subscribers: Vec<(Option<Box<Socket>>, String, Option<String>)> = Vec::new();
    for event in events {
        match event {
            Event::Joined(socket, topic) => subscribers.push((Some(socket), topic, None)),
            Event::Published(topic, data) => {
                let number = number_of(&data);
                for (at, (socket, subscribed, held)) in subscribers.iter_mut().enumerate() {
                    if *subscribed == topic {
                        tell(socket, held, &data, plan(at, number));
                    }
                }
            }
        }
    }
}

fn tell(socket: &mut Option<Box<Socket>>, held: &mut Option<String>, data: &str, told: Told) {
    let Some(open) = socket else { return };
    // A client that is gone is told nothing.
    let mut send = |text: &str| {
        let _ = open.send(Message::text(text));
    };
    match told {
        Told::Nothing => return,
        Told::Later => {
            *held = Some(data.to_owned());
            return;
        }
        Told::Once => send(data),
        Told::Twice => {
            send(data);
            send(data);
        }
        Told::Close(code) => {
            let _ = open.close(Some(CloseFrame { code: CloseCode::from(code), reason: "planted".into() }));
            let _ = open.flush();
            *socket = None;
            return;
        }
    }
    if let Some(late) = held.take() {
        send(&late);
    }
}

/// The message's number among those of its topic.
fn number_of(data: &str) -> u64 {
    let digits = data.split("\"sq\":").nth(1).and_then(|rest| rest.get(..16)).expect("data has a sequence");
    digits.parse::<u64>().expect("a sequence is a number") % 1_000_000_000_000
}

/// Answers every message by itself, but for one wait of `stall` before the answer number `at`.
pub(crate) fn echo_with_stall(at: usize, stall: Duration) -> SocketAddr {
    serve(move |mut socket| {
        let mut count = 0;
        while let Ok(message) = socket.read() {
            if !message.is_text() {
                continue;
            }
            count += 1;
            if count == at {
                wait(stall);
            }
            if socket.send(message).is_err() {
                return;
            }
        }
    })
}

/// Nobody ever sends here.
fn wait(time: Duration) {
    let (_keeps, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(time);
}
