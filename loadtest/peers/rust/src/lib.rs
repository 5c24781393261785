//! What the servers here share: the texts that they understand, the topics, the listener.
//! Home: the one thread of a server.
//! Invariant: what is published is held once, however many subscribe to it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Write};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::broadcast;

/// Publishes that a topic holds for its slowest subscriber; one that is further behind loses the oldest.
const HELD_MAX: usize = 65_536;
/// Connections that wait to be accepted; the kernel takes its own bound where that is lower.
const BACKLOG: u32 = 65_535;

/// The answer to a subscribe.
pub const SUBSCRIBED: &str = "subscribed";

/// What a text asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// `sub TOPIC`
    Subscribe(&'a str),
    /// `pub TOPIC DATA`: the data is delivered as it is.
    Publish(&'a str, &'a str),
    /// Anything else comes back.
    Echo,
}

impl Command<'_> {
    /// Reads one text.
    pub fn parse(text: &str) -> Command<'_> {
        if let Some(rest) = text.strip_prefix("pub ")
            && let Some((topic, data)) = rest.split_once(' ')
        {
            return Command::Publish(topic, data);
        }
        text.strip_prefix("sub ").map_or(Command::Echo, Command::Subscribe)
    }
}

/// The topics and what they still hold. `T` is a publish in the form in which all subscribers send it.
pub struct Topics<T>(RefCell<HashMap<String, broadcast::Sender<T>>>);

impl<T: Clone> Default for Topics<T> {
    fn default() -> Topics<T> {
        Topics(RefCell::default())
    }
}

impl<T: Clone> Topics<T> {
    /// Receives what is published from now on.
    pub fn subscribe(&self, topic: &str) -> broadcast::Receiver<T> {
        let mut topics = self.0.borrow_mut();
        let sender = topics.entry(topic.to_owned()).or_insert_with(|| broadcast::channel(HELD_MAX).0);
        sender.subscribe()
    }

    /// Hands a publish to all subscribers; without one it is over.
    pub fn publish(&self, topic: &str, data: T) {
        if let Some(sender) = self.0.borrow().get(topic) {
            // Refused where nobody listens any more, which is no fault.
            let _ = sender.send(data);
        }
    }
}

/// Everything that waits in `receiver`, and for the first if nothing does. `None` at the end of the topic.
pub async fn next_of<T: Clone>(receiver: &mut broadcast::Receiver<T>) -> Option<T> {
    loop {
        match receiver.recv().await {
            Ok(data) => return Some(data),
            // What is lost is missing at the subscriber, where it is counted.
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return None,
        }
    }
}

/// Listens on a loopback port of the kernel's choosing and tells the address on stdout.
///
/// # Errors
/// What the operating system refuses.
pub fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let listener = socket.listen(BACKLOG)?;
    let mut stdout = io::stdout();
    writeln!(stdout, "ws://{}/", listener.local_addr()?)?;
    stdout.flush()?;
    Ok(listener)
}

/// The next connection, with TCP_NODELAY.
///
/// # Errors
/// What the operating system refuses.
pub async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Runs a server on this thread.
///
/// # Panics
/// Without a runtime there is no server.
pub fn serve<F: Future<Output = io::Result<()>>>(server: F) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_asks_for_what_its_first_word_says() {
        assert_eq!(Command::parse("sub load"), Command::Subscribe("load"));
        assert_eq!(
            Command::parse(r#"pub load {"at":1, "x":2}"#),
            Command::Publish("load", r#"{"at":1, "x":2}"#)
        );
        assert_eq!(Command::parse("pub load"), Command::Echo);
        assert_eq!(Command::parse("anything"), Command::Echo);
    }
}
