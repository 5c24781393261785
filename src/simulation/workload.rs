//! What clients do: weighted operations chosen by chance, among them all that a client may do and some that it may not.
//! PURE.

use super::client::{Class, Client, Kind, Pattern, Request, Standing, Subscription, push_frame, push_text};
use super::oracle::pattern_of;
use super::world::World;

const TOPICS: [&str; 4] = ["a", "b", "desk.alerts", "x/y:z"];
/// Bytes that a client leaves unsent; a client that is not read waits.
const UPWARD_BYTES_MAX: usize = 64 * 1024;

/// A client does something.
pub(super) fn act(world: &mut World) {
    let client = world.random.below(world.clients.len());
    let Some(link) = world.clients[client].link else {
        let shard = world.random.below(world.shards.len());
        return world.open_link(client, shard);
    };
    if world.clients[client].hostile.is_some() {
        return super::hostile::act(world, link);
    }
    if !world.clients[client].open || world.clients[client].closing || world.links[link].client_ended {
        if world.random.chance(3) {
            world.links[link].cut = true;
        }
        return;
    }
    if world.links[link].upward.len() > UPWARD_BYTES_MAX {
        return;
    }
    let mut out = Vec::new();
    match world.random.below(100) {
        0..30 => publish(world, client, &mut out),
        30..52 => subscribe(world, client, &mut out),
        52..57 => unsubscribe(world, client, &mut out),
        57 => unsubscribe_all(world, client, &mut out),
        58..64 => {
            let text = test(&mut world.clients[client]);
            push_text(&mut out, &text, &mut world.random);
        }
        64..69 => order_book(world, client, &mut out),
        69..72 => fault(world, client, &mut out),
        72..79 => batch(world, client, &mut out),
        79..82 => push_frame(&mut out, 0x89, b"hello", &mut world.random),
        82..90 => world.links[link].stalled ^= true,
        90..92 => flap(world, client, &mut out),
        _ => leave_somehow(world, client, link, &mut out),
    }
    if world.links[link].vanished {
        return;
    }
    world.links[link].upward.extend(out);
}

/// Operations after which a connection ends, or may.
fn leave_somehow(world: &mut World, client: usize, link: usize, out: &mut Vec<u8>) {
    match world.random.below(40) {
        0..6 => world.links[link].cut = true,
        6..8 => {
            world.clients[client].closing = true;
            world.links[link].client_ended = true;
        }
        8..11 => {
            world.clients[client].closing = true;
            // The earliest: it has yet to be received.
            world.begin_ending(link);
            push_frame(out, 0x88, &1000u16.to_be_bytes(), &mut world.random);
        }
        11 => {
            world.clients[client].closing = true;
            let count = world.random.between(1, 40);
            out.extend((0..count).map(|_| world.random.bits().to_be_bytes()[0] | 0x70));
        }
        12 if world.random.chance(50) => world.vanish(client),
        12 => world.clients[client].deaf = true,
        14..20 => push_text(out, "{\"jsonrpc\":\"2.0\",\"id\":", &mut world.random),
        13 => ask_without_reading(world, client, link, out),
        24 => ping_without_reading(world, link, out),
        20..24 => {
            let interval = world.random.between(10, 20);
            let text = call(
                &mut world.clients[client],
                Request::Heartbeat,
                "public/set_heartbeat",
                &format!("{{\"interval\":{interval}}}"),
            );
            push_text(out, &text, &mut world.random);
        }
        _ => {}
    }
}

/// Asks for more than the connection may hold and takes none of it, for a while.
fn ask_without_reading(world: &mut World, client: usize, link: usize, out: &mut Vec<u8>) {
    world.links[link].stalled = true;
    for _ in 0..world.random.between(2, 6) {
        let texts: Vec<String> = (0..128).map(|_| order_book_text(world, client)).collect();
        push_text(out, &format!("[{}]", texts.join(",")), &mut world.random);
    }
}

/// Pings more often than there is room for pongs, and takes none of them, for a while.
fn ping_without_reading(world: &mut World, link: usize, out: &mut Vec<u8>) {
    world.links[link].stalled = true;
    for _ in 0..80 {
        push_frame(out, 0x89, &[b'.'; 125], &mut world.random);
    }
}

/// A request's text.
fn call(client: &mut Client, request: Request, method: &str, params: &str) -> String {
    let id = client.id(request);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

fn test(client: &mut Client) -> String {
    call(client, Request::Test, "public/test", "{}")
}

/// The answer to a `test_request`.
pub(super) fn answer_heartbeat(world: &mut World, client: usize, out: &mut Vec<u8>) {
    if !world.clients[client].deaf {
        let text = test(&mut world.clients[client]);
        push_text(out, &text, &mut world.random);
    }
}

fn publish(world: &mut World, client: usize, out: &mut Vec<u8>) {
    let count = if world.random.chance(80) { 1 } else { world.random.between(2, 12) };
    for _ in 0..count {
        let text = publish_text(world, client);
        push_text(out, &text, &mut world.random);
    }
}

fn publish_text(world: &mut World, client: usize) -> String {
    let topic = *world.random.pick(&TOPICS);
    let shape = world.random.below(4);
    let length = if world.random.chance(90) { world.random.below(60) } else { world.random.below(6000) };
    let step = world.oracle.step;
    let serial = world.oracle.reference.publish(&format!("topic.{topic}"), step, |serial| match shape {
        0 => format!("{serial}"),
        1 => format!("[{serial}, \"\\u00e9\\\"é\" ,-0.50e+7,null]"),
        2 => format!("{{ \"serial\" : {serial}, \"s\":\"{}\" }}", "x".repeat(length)),
        _ => format!("{{\"deep\":[[[{{}}]]],\"serial\":{serial}}}"),
    });
    let data = world.oracle.reference.published[serial].data.clone();
    let params = format!(r#"{{"topic":"{topic}","data":{data}}}"#);
    if world.random.chance(5) {
        return format!(r#"{{"jsonrpc":"2.0","method":"topic/publish","params":{params}}}"#);
    }
    call(&mut world.clients[client], Request::Publish { serial }, "topic/publish", &params)
}

fn interval(world: &mut World) -> &'static str {
    ["raw", "raw", "100ms", "agg2"][world.random.below(4)]
}

/// A channel of an instrument or of `*`.
fn market_channel(world: &mut World, instrument: &str) -> String {
    let interval = interval(world);
    match world.random.below(6) {
        0 => format!("ticker.{instrument}.{interval}"),
        1 => format!("quote.{instrument}"),
        2 | 3 => format!("book.{instrument}.{interval}"),
        4 => {
            let group = world.random.pick(&["none", "5", "10"]);
            let depth = world.random.pick(&["1", "10", "20"]);
            format!("book.{instrument}.{group}.{depth}.{interval}")
        }
        _ => format!("trades.{instrument}.{interval}"),
    }
}

fn any_channel(world: &mut World) -> String {
    if world.random.chance(40) {
        return format!("topic.{}", world.random.pick(&TOPICS));
    }
    let listed = world.oracle.reference.instruments.len();
    // Sometimes one that is not listed yet.
    let instrument = format!("I{}-X", world.random.below(listed + 1));
    market_channel(world, &instrument)
}

fn subscribe(world: &mut World, client: usize, out: &mut Vec<u8>) {
    if let Some(text) = subscribe_text(world, client) {
        push_text(out, &text, &mut world.random);
    }
}

fn subscribe_text(world: &mut World, client: usize) -> Option<String> {
    let class = *world.random.pick(&[None, None, Some(Class::Lossless), Some(Class::Latest)]);
    let checksum = world.random.chance(40);
    if world.random.chance(12) {
        return subscribe_pattern(world, client, class);
    }
    let mut channels: Vec<String> = (0..world.random.between(1, 3)).map(|_| any_channel(world)).collect();
    if world.random.chance(60) {
        channels.extend(world.clients[client].remembered.keys().cloned());
    }
    channels.sort();
    channels.dedup();
    let mut resume = Vec::new();
    let mut places = Vec::new();
    channels.retain(|channel| {
        let known = &world.clients[client];
        !known.subscriptions.contains_key(channel) && !known.patterns.contains_key(&pattern_of(channel))
    });
    if channels.is_empty() {
        return None;
    }
    for channel in &channels {
        let subscription = Subscription::new(channel, class, checksum && Kind::of(channel) == Kind::Book);
        let forget = world.random.chance(10);
        let client = &mut world.clients[client];
        if let Some(place) = client.remembered.get(channel) {
            // A book with a checksum is another stream than the one without.
            if forget || place.checksum != subscription.checksum {
                client.remembered.remove(channel);
            } else if let Some((epoch, seq)) = place.last {
                resume.push(channel.clone());
                places.push(format!(r#""{channel}":{{"epoch":{epoch},"seq":{seq}}}"#));
            }
        }
        client.subscriptions.insert(channel.clone(), subscription);
    }
    let params = subscribe_params(&channels, class, checksum, &places);
    Some(call(
        &mut world.clients[client],
        Request::Subscribe { channels, resume },
        "public/subscribe",
        &params,
    ))
}

fn subscribe_params(channels: &[String], class: Option<Class>, checksum: bool, places: &[String]) -> String {
    let class = match class {
        None => "",
        Some(Class::Lossless) => r#","class":"lossless""#,
        Some(Class::Latest) => r#","class":"latest""#,
    };
    let checksum = if checksum { r#","checksum":true"# } else { "" };
    let resume =
        if places.is_empty() { String::new() } else { format!(r#","resume":{{{}}}"#, places.join(",")) };
    format!(r#"{{"channels":["{}"]{class}{checksum}{resume}}}"#, channels.join("\",\""))
}

fn subscribe_pattern(world: &mut World, client: usize, class: Option<Class>) -> Option<String> {
    let channel = market_channel(world, "*");
    let known = &mut world.clients[client];
    if known.patterns.contains_key(&channel)
        || known.subscriptions.keys().any(|named| pattern_of(named) == channel)
    {
        return None;
    }
    known.remembered.retain(|named, _| pattern_of(named) != channel);
    known.patterns.insert(channel.clone(), Pattern { class, standing: Standing::Requested });
    let params = subscribe_params(std::slice::from_ref(&channel), class, false, &[]);
    let request = Request::Subscribe { channels: vec![channel], resume: Vec::new() };
    Some(call(known, request, "public/subscribe", &params))
}

fn unsubscribe(world: &mut World, client: usize, out: &mut Vec<u8>) {
    let known = &world.clients[client];
    let named =
        known.subscriptions.keys().filter(|channel| !known.patterns.contains_key(&pattern_of(channel)));
    let all: Vec<String> = named.chain(known.patterns.keys()).cloned().collect();
    if all.is_empty() {
        return;
    }
    let channel = world.random.pick(&all).clone();
    let client = &mut world.clients[client];
    if let Some(pattern) = client.patterns.get_mut(&channel) {
        pattern.standing = Standing::Draining;
        for (named, subscription) in &mut client.subscriptions {
            if pattern_of(named) == channel {
                subscription.standing = Standing::Draining;
            }
        }
    } else if let Some(subscription) = client.subscriptions.get_mut(&channel) {
        subscription.standing = Standing::Draining;
    }
    let params = format!(r#"{{"channels":["{channel}"]}}"#);
    let text = call(client, Request::Unsubscribe, "public/unsubscribe", &params);
    push_text(out, &text, &mut world.random);
}

fn unsubscribe_all(world: &mut World, client: usize, out: &mut Vec<u8>) {
    let client = &mut world.clients[client];
    client.subscriptions.values_mut().for_each(|entry| entry.standing = Standing::Draining);
    client.patterns.values_mut().for_each(|entry| entry.standing = Standing::Draining);
    let text = call(client, Request::UnsubscribeAll, "public/unsubscribe_all", "{}");
    push_text(out, &text, &mut world.random);
}

fn order_book_text(world: &mut World, client: usize) -> String {
    let listed = world.oracle.reference.instruments.len();
    let instrument = format!("I{}-X", world.random.below(listed + 1));
    let depth = *world.random.pick(&[1, 5, 20, 1000]);
    let params = format!(r#"{{"instrument_name":"{instrument}","depth":{depth}}}"#);
    let request = Request::OrderBook { instrument, depth };
    call(&mut world.clients[client], request, "public/get_order_book", &params)
}

fn order_book(world: &mut World, client: usize, out: &mut Vec<u8>) {
    let text = order_book_text(world, client);
    push_text(out, &text, &mut world.random);
}

fn fault_text(world: &mut World, client: usize) -> String {
    let (code, method, params) = *world.random.pick(&[
        (-32601, "public/nothing", "{}"),
        (-32602, "public/subscribe", "{}"),
        (-32602, "topic/publish", r#"{"topic":"no blanks","data":1}"#),
        (13020, "public/ticker", r#"{"instrument_name":"NONE"}"#),
        (11094, "public/test", r#"{"expected_result":"exception"}"#),
    ]);
    call(&mut world.clients[client], Request::Fault { code }, method, params)
}

fn fault(world: &mut World, client: usize, out: &mut Vec<u8>) {
    let text = fault_text(world, client);
    push_text(out, &text, &mut world.random);
}

fn batch(world: &mut World, client: usize, out: &mut Vec<u8>) {
    let mut texts = Vec::new();
    for _ in 0..world.random.between(1, 6) {
        match world.random.below(6) {
            0 => texts.push(test(&mut world.clients[client])),
            1 => texts.push(order_book_text(world, client)),
            2 => texts.push(fault_text(world, client)),
            3 => texts.extend(subscribe_text(world, client)),
            4 => texts.push(r#"{"jsonrpc":"2.0","method":"public/test"}"#.to_string()),
            _ => texts.push(publish_text(world, client)),
        }
    }
    if !texts.is_empty() {
        push_text(out, &format!("[{}]", texts.join(",")), &mut world.random);
    }
}

/// Subscribes, unsubscribes and subscribes again with a place to resume from, all in one message.
fn flap(world: &mut World, client: usize, out: &mut Vec<u8>) {
    let known = &mut world.clients[client];
    let free = known.remembered.iter().find(|(channel, _)| {
        !known.subscriptions.contains_key(*channel) && !known.patterns.contains_key(&pattern_of(channel))
    });
    let Some((channel, place)) = free.map(|(channel, place)| (channel.clone(), place.clone())) else {
        return;
    };
    let Some((epoch, seq)) = place.last else { return };
    let mut entry = Subscription::new(&channel, Some(place.class), place.checksum);
    entry.checksum = place.checksum;
    known.subscriptions.insert(channel.clone(), entry);
    let channels = vec![channel.clone()];
    let class = Some(place.class);
    let fresh = subscribe_params(&channels, class, place.checksum, &[]);
    let at = format!(r#""{channel}":{{"epoch":{epoch},"seq":{seq}}}"#);
    let again = subscribe_params(&channels, class, place.checksum, &[at]);
    let ended = format!(r#"{{"channels":["{channel}"]}}"#);
    let first = call(known, Request::Unsubscribe, "public/subscribe", &fresh);
    let second = call(known, Request::Unsubscribe, "public/unsubscribe", &ended);
    let request = Request::Subscribe { channels, resume: vec![channel] };
    let third = call(known, request, "public/subscribe", &again);
    world.oracle.count("flap");
    push_text(out, &format!("[{first},{second},{third}]"), &mut world.random);
}
