//! A relay by hand: clients and backends are texts, time is a number. Test code.

use std::collections::BTreeMap;

use super::*;
use crate::auth::Level;
use crate::dialect::tools::{TOOLS, Tool};
use crate::limits;

mod cases;
mod hostile;
mod own;
mod reload;

const S: u64 = 1_000_000_000;

/// A backend of the tests: what it lists, and what it was sent beyond what all are.
struct Server {
    capabilities: &'static str,
    /// Result by method of a list.
    lists: BTreeMap<&'static str, &'static str>,
}

struct World {
    relay: Relay,
    now_ns: u64,
    servers: Vec<Server>,
    backend_of: BTreeMap<LinkId, usize>,
    /// By the numbers of keys, as `servers`.
    names: Vec<&'static str>,
    /// Of own tools, the newest last.
    calls: Vec<OwnCallId>,
    /// What was seen since it was last asked: `c1< …` to a client, `files< …` to a backend, `open files`, …
    seen: Vec<String>,
    /// The ids that backends were sent last, which differ from run to run of a changed relay.
    last_id: u64,
}

fn settings(name: &'static str, prefix: &str, instances: Instances) -> BackendSettings {
    BackendSettings {
        name: name.into(),
        prefix: prefix.into(),
        instances,
        needs: Level::None,
        request_timeout_ns: 30 * S,
        requests_max: 8,
    }
}

fn place(backend: BackendKey) -> usize {
    usize::try_from(backend.0).unwrap()
}

fn shared(name: &'static str, prefix: &str) -> BackendSettings {
    settings(name, prefix, Instances::Shared)
}

impl World {
    fn new(backends: Vec<(BackendSettings, Server)>) -> World {
        World::with_own(&[], backends)
    }

    fn with_own(own: &'static [Tool], backends: Vec<(BackendSettings, Server)>) -> World {
        let relay = Relay::new(Settings { own, gateway_version: "1.2.3" });
        let mut world = World {
            relay,
            now_ns: 0,
            servers: Vec::new(),
            backend_of: BTreeMap::new(),
            names: Vec::new(),
            calls: Vec::new(),
            seen: Vec::new(),
            last_id: 0,
        };
        let wanted = backends.into_iter().map(|(settings, server)| world.key(settings, server)).collect();
        world.reload(wanted);
        world
    }

    /// Another backend, that is not there yet.
    fn key(&mut self, settings: BackendSettings, server: Server) -> (BackendKey, BackendSettings) {
        let key = BackendKey(self.servers.len() as u64);
        self.servers.push(server);
        // A later one of a name has another for who reads these tests.
        let others = self.names.iter().filter(|name| name.trim_end_matches('\'') == &*settings.name).count();
        self.names.push(Box::leak(format!("{}{}", settings.name, "'".repeat(others)).into()));
        (key, settings)
    }

    fn reload(&mut self, wanted: Vec<(BackendKey, BackendSettings)>) {
        self.relay.set_backends(wanted, self.now_ns);
        self.settle();
    }

    /// Takes what is to be done; backends introduce themselves and list.
    fn settle(&mut self) {
        while let Some(output) = self.relay.poll_output() {
            match output {
                Output::ToClient { session, text, .. } => self.seen.push(format!("c{}< {text}", session.0)),
                Output::Cancelled { session, .. } => self.seen.push(format!("c{} cancelled", session.0)),
                Output::Open { link, backend } => {
                    self.backend_of.insert(link, place(backend));
                }
                Output::ToServer { link, text } => self.serve(link, &text),
                Output::Call { call, session, request } => {
                    self.calls.push(call);
                    self.seen.push(format!("for c{}: {request}", session.0));
                }
                Output::Close { link } => {
                    self.seen.push(format!("close {}", self.names[self.backend_of[&link]]))
                }
                Output::News { backend, news } => match news {
                    News::Up => {}
                    other @ (News::Down { .. }
                    | News::Refused(_)
                    | News::LeftOut { .. }
                    | News::Left
                    | News::Conflict { .. }) => {
                        self.seen.push(format!("{}: {other:?}", self.names[place(backend)]));
                    }
                },
            }
        }
    }

    fn serve(&mut self, link: LinkId, text: &str) {
        let backend = self.backend_of[&link];
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        let (method, id) = (value["method"].as_str().unwrap_or_default(), value["id"].as_u64());
        if let Some(id) = id {
            self.last_id = id;
        }
        let server = &self.servers[backend];
        let result = match method {
            "initialize" => Some(format!(
                r#"{{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{{"name":"s","version":"0"}}}}"#,
                server.capabilities
            )),
            "notifications/initialized" => return,
            _ => server.lists.get(method).map(|list| (*list).to_owned()),
        };
        match (result, id) {
            (Some(result), Some(id)) => {
                let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
                self.relay.handle_server(link, &answer, self.now_ns);
            }
            _ => self.seen.push(format!(
                "{}< {}",
                self.names[backend],
                text.replace(&id.map_or("\0".to_owned(), |id| format!("\"id\":{id},")), "\"id\":N,")
            )),
        }
    }

    fn link(&self, name: &str) -> LinkId {
        let backend = self.names.iter().position(|one| *one == name).unwrap();
        *self.backend_of.iter().rev().find(|(_, one)| **one == backend).unwrap().0
    }

    /// The one that was started last, of all that have had a name.
    fn newest(&self, name: &str) -> LinkId {
        let has_name = |place: &usize| self.names[*place].trim_end_matches('\'') == name;
        *self.backend_of.iter().rev().find(|(_, place)| has_name(place)).unwrap().0
    }

    fn open(&mut self) -> SessionId {
        self.relay.open_session(SessionKind::Lasting, Level::ReadWrite).unwrap()
    }

    /// A client that has said hello.
    fn client(&mut self, capabilities: &str) -> SessionId {
        let client = self.open();
        let hello = format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"2025-11-25","capabilities":{capabilities}}}}}"#
        );
        self.say(client, &hello);
        self.say(client, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        self.seen.clear();
        client
    }

    fn say(&mut self, client: SessionId, text: &str) {
        self.relay.handle_client(client, None, text, self.now_ns);
        self.settle();
    }

    fn ask(&mut self, client: SessionId, id: &str, method: &str, params: &str) {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        self.say(client, &text);
    }

    /// What a backend says; `N` is the id that it was sent last.
    fn server(&mut self, name: &str, text: &str) {
        let text = text.replace("\"id\":N", &format!("\"id\":{}", self.last_id));
        let text = text.replace("\"progressToken\":N", &format!("\"progressToken\":{}", self.last_id));
        self.relay.handle_server(self.link(name), &text, self.now_ns);
        self.settle();
    }

    fn wait(&mut self, ns: u64) {
        self.now_ns += ns;
        while self.relay.poll_timeout().is_some_and(|due_ns| due_ns <= self.now_ns) {
            self.relay.handle_timeout(self.now_ns);
            self.settle();
        }
    }

    /// What was seen since, where that is for `who`.
    fn told(&self, who: &str) -> Vec<&str> {
        let start = format!("{who}< ");
        self.seen.iter().filter_map(|line| line.strip_prefix(&start)).collect()
    }

    /// What was seen since, each as this.
    #[track_caller]
    fn expect(&mut self, expected: &[&str]) {
        let seen = std::mem::take(&mut self.seen);
        assert_eq!(seen, expected, "\n{}\n", seen.join("\n"));
    }
}

fn tools(list: &'static str) -> Server {
    Server {
        capabilities: r#"{"tools":{"listChanged":true},"logging":{}}"#,
        lists: BTreeMap::from([("tools/list", list)]),
    }
}

/// Two backends under prefixes.
fn two() -> World {
    World::new(vec![
        (shared("files", "files__"), tools(r#"{"tools":[{"name":"read","x-new":[1e400]}]}"#)),
        (shared("risk", "risk__"), tools(r#"{"tools":[{"name":"var"}]}"#)),
    ])
}
