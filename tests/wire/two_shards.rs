//! Two shards: whoever publishes where, all who listen get the same stream, encoded once.

use std::io::Write as _;
use std::net::Shutdown;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::bytes;
use crate::client::Client;
use crate::server::Server;

const SUBSCRIBERS: usize = 40;
const PUBLISHERS: u64 = 4;
const MESSAGES: u64 = 100;
const ROUNDS_UNDER_WAY: u64 = 50;
const TOPICS: [&str; 3] = ["alerts", "news", "orders:x"];

#[test]
fn a_message_is_encoded_once_for_all_shards_and_subscribers() {
    let server = Server::start("", "0,1");
    let mut subscribers: Vec<Client> = (0..SUBSCRIBERS).map(|_| Client::connect(server.address)).collect();
    for client in &mut subscribers {
        TOPICS.iter().for_each(|topic| client.subscribe(&format!("topic.{topic}")));
    }
    let mut publishers: Vec<Client> = (0..PUBLISHERS).map(|_| Client::connect(server.address)).collect();
    for number in 0..MESSAGES {
        for (publisher, client) in publishers.iter_mut().enumerate() {
            for topic in TOPICS {
                client.send("topic/publish", &json!({"topic": topic, "data": [publisher, number]}));
            }
        }
        // A connection may have so many requests under way, not more.
        if (number + 1) % ROUNDS_UNDER_WAY == 0 {
            let requests = usize::try_from(ROUNDS_UNDER_WAY).unwrap() * TOPICS.len();
            publishers.iter_mut().for_each(|client| client.settle(requests));
        }
    }
    let mut streams = Vec::new();
    for client in &mut subscribers {
        let notes = PUBLISHERS * MESSAGES * TOPICS.len() as u64;
        let mut by_topic = TOPICS.map(|topic| (format!("topic.{topic}"), Vec::new()));
        for _ in 0..notes {
            let note = client.note();
            let (_, stream) = by_topic.iter_mut().find(|(name, _)| note["channel"] == **name).unwrap();
            stream.push((note["epoch"].clone(), note["seq"].as_u64().unwrap(), note["data"].to_string()));
        }
        for (_, stream) in &by_topic {
            let seqs = stream.iter().map(|(_, seq, _)| *seq);
            assert!(seqs.eq(1..=PUBLISHERS * MESSAGES), "in sequence, without a hole or a repetition");
        }
        streams.push(by_topic);
    }
    assert!(streams.iter().all(|stream| *stream == streams[0]), "all are told the same");
    for publisher in 0..PUBLISHERS {
        let mine = |data: &&String| data.starts_with(&format!("[{publisher},"));
        let data = streams[0][0].1.iter().map(|(_, _, data)| data).filter(mine);
        let sent = (0..MESSAGES).map(|number| format!("[{publisher},{number}]"));
        assert!(data.cloned().eq(sent), "a publisher's order is kept");
    }
    drop((subscribers, publishers));
    let ended = server.stop();
    ended.assert_clean();
    let published = PUBLISHERS * MESSAGES * TOPICS.len() as u64;
    assert!(ended.each_shard("connections_opened_total").iter().all(|opened| *opened > 0));
    assert_eq!(ended.of_shards("messages_published_total"), published);
    assert_eq!(ended.of_shards("frames_encoded_total"), published);
    assert_eq!(ended.of_shards("deliveries_total"), published * SUBSCRIBERS as u64);
}

#[test]
fn what_the_other_thread_answers_comes_before_the_end_of_who_closes_half_closes_or_is_stopped() {
    // Fewer than a read takes: those of one write are read at once.
    const REQUESTS: u64 = 32;
    // A whole message, and a close frame: FIN with the opcodes of RFC 6455 §5.2.
    const TEXT: u8 = 0x81;
    const CLOSE: u8 = 0x88;
    let server = Server::start("", "0,1");
    // Of so many topics some have their home on the other thread.
    let publish = |id: u64| {
        let params = json!({"topic": format!("t{id}"), "data": id});
        let request = json!({"jsonrpc": "2.0", "id": id, "method": "topic/publish", "params": params});
        bytes::frame(TEXT, request.to_string().as_bytes())
    };
    let requests: Vec<u8> = (0..REQUESTS).flat_map(publish).collect();
    let check_replies = |stream: &mut std::net::TcpStream, but: u64| {
        let replies = (but..REQUESTS).map(|_| {
            let frame = bytes::read_frame(stream);
            assert_eq!(frame.head, TEXT, "{:?}", frame.close_code());
            serde_json::from_slice::<Value>(&frame.payload).unwrap()
        });
        let mut ids: Vec<_> = replies.map(|reply| reply["id"].as_u64().unwrap()).collect();
        ids.sort_unstable();
        ids
    };
    let mut closes = bytes::open(server.address);
    let close = bytes::frame(CLOSE, &1000_u16.to_be_bytes());
    closes.write_all(&[&requests[..], &close].concat()).unwrap();
    assert!(check_replies(&mut closes, 0).into_iter().eq(0..REQUESTS));
    assert_eq!(bytes::read_frame(&mut closes).close_code(), Some(1000));

    let mut half_closes = bytes::open(server.address);
    half_closes.write_all(&requests).unwrap();
    half_closes.shutdown(Shutdown::Write).unwrap();
    assert!(check_replies(&mut half_closes, 0).into_iter().eq(0..REQUESTS));
    assert_eq!(bytes::read_to_end(&mut half_closes), b"");

    let mut stopped = bytes::open(server.address);
    stopped.write_all(&requests).unwrap();
    // They have been read.
    let first = bytes::read_frame(&mut stopped);
    assert_eq!(first.head, TEXT);
    server.signal(Signal::SIGTERM);
    assert_eq!(check_replies(&mut stopped, 1).len() as u64, REQUESTS - 1);
    assert_eq!(bytes::read_frame(&mut stopped).close_code(), Some(1001));
    drop((closes, half_closes, stopped));
    let ended = server.wait();
    ended.assert_clean();
}
