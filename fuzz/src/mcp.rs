//! The relay of the Model Context Protocol, between clients and backends that say anything.
//!
//! Property: whatever the texts, nothing panics; what anybody is sent is one line that serde_json reads; a text draws no more answers
//! than it has requests; when all clients are gone and time has passed, nothing is under way or remembered.
//!
//! Input: lines. The first byte says who speaks: `a` and `b` clients, `x` and `y` backends, `X` and `Y` those that were them before, `-` lets seconds pass, as many as the line is
//! long, and own tools have their results, `!` ends the first backend; the rest is the text. In the text of a backend `#` stands for the last id that it was sent.
//! `~` is a reload: the backends that there are from then on are those whose letters follow, in that order, a capital where it is another one.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use tickring::auth::Level;
use tickring::dialect::mcp::{
    BackendKey, BackendSettings, EventLog, EventParser, Instances, LinkId, Output, OwnCallId, Relay,
    SessionId, SessionKind, Settings, StreamId, posted,
};
use tickring::dialect::tools::{TOOLS, ToolResult};

const S: u64 = 1_000_000_000;
const LINES_MAX: usize = 200;

struct World {
    relay: Relay,
    now_ns: u64,
    links: BTreeMap<usize, LinkId>,
    /// Those before them.
    earlier: BTreeMap<usize, LinkId>,
    /// By letter, `x` and `y`.
    keys: [BackendKey; 2],
    present: Vec<BackendKey>,
    last_id: BTreeMap<LinkId, u64>,
    /// Of own tools, that have no result.
    calls: Vec<OwnCallId>,
    /// Answers that each client is owed at most.
    owed: BTreeMap<SessionId, usize>,
}

/// See the file's head.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    check_events(input);
    let relay = Relay::new(Settings { own: &TOOLS, gateway_version: "1" });
    let mut world = World {
        relay,
        now_ns: 0,
        links: BTreeMap::new(),
        earlier: BTreeMap::new(),
        keys: [BackendKey(0), BackendKey(1)],
        present: Vec::new(),
        last_id: BTreeMap::new(),
        calls: Vec::new(),
        owed: BTreeMap::new(),
    };
    world.reload("xy");
    let clients =
        [0, 1].map(|_| world.relay.open_session(SessionKind::Lasting, Level::None).expect("a place"));
    world.settle();
    for line in text.lines().take(LINES_MAX) {
        let Some(who) = line.chars().next() else { continue };
        let said = &line[who.len_utf8()..];
        match who {
            'a' => world.client_says(clients[0], said),
            'b' => world.client_says(clients[1], said),
            'x' => world.backend_says(world.links.get(&0).copied(), said),
            'y' => world.backend_says(world.links.get(&1).copied(), said),
            'X' => world.backend_says(world.earlier.get(&0).copied(), said),
            'Y' => world.backend_says(world.earlier.get(&1).copied(), said),
            '-' => world.wait(line.len() as u64 * S),
            '~' => world.reload(said),
            '!' => {
                if let Some(link) = world.links.get(&0) {
                    world.relay.handle_link_down(*link, world.now_ns);
                }
            }
            _ => {}
        }
        world.settle();
    }
    for client in clients {
        world.relay.close_session(client, world.now_ns);
    }
    world.settle();
    world.wait(10_000 * S);
    assert!(world.relay.is_at_rest(), "something is left of clients that are gone");
}

impl World {
    fn client_says(&mut self, client: SessionId, said: &str) {
        let answers = posted(said).map_or(1, |posted| posted.answers);
        *self.owed.entry(client).or_default() += answers;
        self.relay.handle_client(client, None, said, self.now_ns);
    }

    fn backend_says(&mut self, link: Option<LinkId>, said: &str) {
        let Some(link) = link else { return };
        let id = self.last_id.get(&link).copied().unwrap_or_default();
        self.relay.handle_server(link, &said.replace('#', &id.to_string()), self.now_ns);
    }

    fn reload(&mut self, letters: &str) {
        let mut wanted: Vec<(BackendKey, BackendSettings)> = Vec::new();
        for letter in letters.chars() {
            let (place, instances) = match letter.to_ascii_lowercase() {
                'x' => (0, Instances::Shared),
                'y' => (1, Instances::PerSession),
                _ => continue,
            };
            if wanted.iter().any(|(key, _)| key.0 % 2 == place) {
                continue;
            }
            let key = &mut self.keys[usize::from(place == 1)];
            // What has gone is another one when it comes again.
            if letter.is_ascii_uppercase() || !self.present.contains(key) {
                key.0 += 2;
            }
            let name: Box<str> = letter.to_ascii_lowercase().to_string().into();
            let prefix = format!("{name}__").into();
            let settings = BackendSettings {
                name,
                prefix,
                instances,
                needs: Level::None,
                request_timeout_ns: 30 * S,
                requests_max: 4,
            };
            wanted.push((*key, settings));
        }
        self.present = wanted.iter().map(|(key, _)| *key).collect();
        self.relay.set_backends(wanted, self.now_ns);
    }

    fn wait(&mut self, ns: u64) {
        self.now_ns += ns;
        for call in std::mem::take(&mut self.calls) {
            self.relay.handle_called(call, &ToolResult::fault("none"));
        }
        self.settle();
        // A backend that never comes up is tried again and again; its pauses bound how often.
        while self.relay.poll_timeout().is_some_and(|due_ns| due_ns <= self.now_ns) {
            self.relay.handle_timeout(self.now_ns);
            self.settle();
        }
    }

    fn settle(&mut self) {
        while let Some(output) = self.relay.poll_output() {
            match output {
                Output::Open { link, backend } => {
                    let place = usize::from(backend.0 % 2 == 1);
                    let before = self.links.insert(place, link).filter(|before| *before != link);
                    before.map(|before| self.earlier.insert(place, before));
                }
                Output::ToServer { link, text } => {
                    check_line(&text);
                    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
                    if let Some(id) = value["id"].as_u64() {
                        self.last_id.insert(link, id);
                    }
                }
                Output::ToClient { session, text, is_answer, .. } => {
                    check_line(&text);
                    if is_answer {
                        let owed = self.owed.get_mut(&session).expect("somebody was asked something");
                        *owed = owed.checked_sub(1).expect("no request has two answers");
                    }
                }
                Output::Cancelled { session, .. } => {
                    let owed = self.owed.get_mut(&session).expect("somebody was asked something");
                    *owed = owed.checked_sub(1).expect("what is cancelled was not answered");
                }
                Output::Call { call, request, .. } => {
                    check_json(&request);
                    self.calls.push(call);
                }
                Output::Close { .. } | Output::News { .. } => {}
            }
        }
    }
}

fn check_line(text: &str) {
    assert!(!text.contains(['\n', '\r']), "two lines for one: {text}");
    check_json(text);
}

fn check_json(text: &str) {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        panic!("{error}: {text}");
    }
}

/// What is pushed into a stream of events is what is read from it, and what is read of any bytes is the same however they are cut.
fn check_events(input: &[u8]) {
    let mut whole = EventParser::default();
    let mut cut = EventParser::default();
    let expected = whole.push(input);
    let mut events = Vec::new();
    let is_good = input.chunks(3).all(|part| cut.push(part).map(|more| events.extend(more)).is_ok());
    assert_eq!(expected, if is_good { Ok(events) } else { Err(tickring::dialect::mcp::TooLong) });
    let line = String::from_utf8_lossy(input).replace(['\n', '\r'], " ");
    let mut log = EventLog::default();
    let event = log.push(StreamId(1), &line, true);
    let read = EventParser::default().push(event.as_bytes()).expect("it is far below the bound");
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].data, line);
}
