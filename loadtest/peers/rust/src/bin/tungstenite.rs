//! A broadcast server on tokio-tungstenite, in its best form: one thread, the payload shared by all subscribers, one write a
//! turn for all that waits for a connection. Home: its one thread.

use std::io;
use std::rc::Rc;

use futures_util::{FutureExt, SinkExt, StreamExt};
use peers::{Command, SUBSCRIBED, Topics, accept, listen, next_of, serve};
use tokio::net::TcpStream;
use tokio::sync::broadcast::Receiver;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Result, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

/// What the crate advises for many connections of short messages; its own default of 128 KiB is held by each.
const READ_BUFFER_BYTES: usize = 4 * 1024;

type Socket = WebSocketStream<TcpStream>;

fn main() -> io::Result<()> {
    serve(async {
        let topics = Rc::new(Topics::default());
        let listener = listen()?;
        loop {
            let stream = accept(&listener).await?;
            let topics = Rc::clone(&topics);
            // A connection ends by itself or by its peer; neither is the server's matter.
            tokio::task::spawn_local(async move { drop(converse(stream, &topics).await) });
        }
    })
}

async fn converse(stream: TcpStream, topics: &Topics<Utf8Bytes>) -> Result<()> {
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let mut socket = accept_async_with_config(stream, Some(config)).await?;
    let mut subscription = None;
    loop {
        let message = match &mut subscription {
            None => socket.next().await,
            Some(receiver) => tokio::select! {
                message = socket.next() => message,
                data = next_of(receiver) => match data {
                    Some(data) => {
                        deliver(&mut socket, receiver, data).await?;
                        continue;
                    }
                    None => return Ok(()),
                },
            },
        };
        // All that has arrived is answered by one write.
        let mut arrived = message;
        loop {
            let Some(message) = arrived else { return Ok(()) };
            answer(&mut socket, message?, topics, &mut subscription).await?;
            match socket.next().now_or_never() {
                Some(next) => arrived = next,
                None => break,
            }
        }
        socket.flush().await?;
    }
}

async fn answer(
    socket: &mut Socket,
    message: Message,
    topics: &Topics<Utf8Bytes>,
    subscription: &mut Option<Receiver<Utf8Bytes>>,
) -> Result<()> {
    let Message::Text(text) = message else { return Ok(()) };
    match Command::parse(&text) {
        Command::Subscribe(topic) => {
            *subscription = Some(topics.subscribe(topic));
            socket.feed(Message::text(SUBSCRIBED)).await
        }
        Command::Publish(topic, data) => {
            topics.publish(topic, Utf8Bytes::from(data));
            Ok(())
        }
        Command::Echo => socket.feed(Message::Text(text)).await,
    }
}

/// `first` and all that waits behind it, by one write.
async fn deliver(socket: &mut Socket, receiver: &mut Receiver<Utf8Bytes>, first: Utf8Bytes) -> Result<()> {
    socket.feed(Message::Text(first)).await?;
    while let Ok(data) = receiver.try_recv() {
        socket.feed(Message::Text(data)).await?;
    }
    socket.flush().await
}
