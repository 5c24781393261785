//! A broadcast server on fastwebsockets, in its best form: one thread, each publish encoded once for all subscribers, one
//! write a turn for all that waits for a connection. Home: its one thread.
//! The upgrade is answered by hand, so that no HTTP server stands between the crate and its socket; frames are written by the
//! crate's own encoder into one buffer, which is what its writer does with frames below its threshold for `writev`.

use std::io::{self, ErrorKind};
use std::rc::Rc;

use fastwebsockets::{FragmentCollectorRead, Frame, OpCode, Payload, Role, after_handshake_split};
use peers::{Command, SUBSCRIBED, Topics, accept, listen, next_of, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::broadcast::Receiver;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// An upgrade's head, in bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Bytes that one write takes at least, where as many wait.
const WRITE_BYTES: usize = 64 * 1024;

/// An encoded frame.
type Encoded = Rc<[u8]>;

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

async fn converse(mut stream: TcpStream, topics: &Topics<Encoded>) -> io::Result<()> {
    upgrade(&mut stream).await?;
    let (read, write) = stream.into_split();
    // The crate's own writer is not used: see the page above.
    let (read, _) = after_handshake_split(read, tokio::io::sink(), Role::Server);
    let mut read = FragmentCollectorRead::new(read);
    // A subscriber's writing is its subscription's alone from then on.
    let mut write = Some(write);
    let mut encoded = Vec::new();
    loop {
        let frame = read.read_frame(&mut |_| async { Ok::<(), io::Error>(()) }).await;
        let Ok(frame) = frame else { return Ok(()) };
        if frame.opcode == OpCode::Close {
            return Ok(());
        }
        let Ok(text) = std::str::from_utf8(&frame.payload) else { return Ok(()) };
        let reply = match Command::parse(text) {
            Command::Subscribe(topic) => {
                if let Some(mut write) = write.take() {
                    let receiver = topics.subscribe(topic);
                    write.write_all(encode(SUBSCRIBED, &mut encoded)).await?;
                    tokio::task::spawn_local(async move { drop(deliver(write, receiver).await) });
                }
                continue;
            }
            Command::Publish(topic, data) => {
                topics.publish(topic, Encoded::from(encode(data, &mut encoded)));
                continue;
            }
            Command::Echo => encode(text, &mut encoded),
        };
        if let Some(write) = &mut write {
            write.write_all(reply).await?;
        }
    }
}

/// One text frame.
fn encode<'a>(text: &str, encoded: &'a mut Vec<u8>) -> &'a [u8] {
    Frame::text(Payload::Borrowed(text.as_bytes())).write(encoded)
}

async fn deliver(mut write: OwnedWriteHalf, mut receiver: Receiver<Encoded>) -> io::Result<()> {
    let mut waiting = Vec::new();
    while let Some(first) = next_of(&mut receiver).await {
        waiting.clear();
        waiting.extend_from_slice(&first);
        while waiting.len() < WRITE_BYTES
            && let Ok(next) = receiver.try_recv()
        {
            waiting.extend_from_slice(&next);
        }
        write.write_all(&waiting).await?;
    }
    Ok(())
}

async fn upgrade(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if HEAD_BYTES_MAX < head.len() || stream.read_buf(&mut head).await? == 0 {
            return Err(ErrorKind::InvalidData.into());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let accept = derive_accept_key(key.ok_or(ErrorKind::InvalidData)?.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await
}
