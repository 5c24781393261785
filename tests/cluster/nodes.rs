//! Nodes of one market as processes, each with a link of its own to the nats-server, so that it can be cut off by itself. A node keeps its
//! name and its port over a restart.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::client::Client;
use crate::link::Link;
use crate::nats_server::{NatsServer, ReservedPort};
use crate::readers::CHANNEL;
use crate::server::{Ended, Server, temporary_file, tickring};
use crate::until;

/// Of the lease: an owner that is gone is followed by another within this and a moment.
pub(crate) const TERM: Duration = Duration::from_millis(1_000);
/// A term within which no stall of the machine ends a lease. The first owner waits for one, as for whoever may own.
pub(crate) const LONG_TERM: Duration = Duration::from_secs(8);
/// Sooner than a long term can be over for who waits for its end: the last renewal was a quarter of it ago at most.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(5);

/// Accounts that every node knows, each by a key of its name and the one secret: of traders, of who sends and receives messages, of who sees all of them.
pub(crate) const TRADER: &str = "trader";
pub(crate) const SENDERS: [&str; 3] = ["sender-0", "sender-1", "sender-2"];
pub(crate) const RECEIVERS: [&str; 3] = ["receiver-0", "receiver-1", "receiver-2"];
pub(crate) const ADMIN: &str = "admin";
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Nodes and what is between them.
pub(crate) struct Cluster {
    pub(crate) nats: NatsServer,
    pub(crate) nodes: Vec<Node>,
    /// The file of keys for all accounts, where there is one.
    keys: Option<PathBuf>,
}

impl Cluster {
    /// Starts so many nodes, each with a paper market for the case that it owns, and with keys for all accounts. The first owns when the others are started.
    pub(crate) fn start(count: usize, term: Duration) -> Cluster {
        let keys = keys();
        let auth = format!("[auth]\nkeys = {keys:?}\nlogins_per_minute_max = 0\nfailures_per_minute_max = 0");
        let mut cluster = Cluster::start_with(count, term, &format!("{auth}\n\n{MESSAGES}"));
        cluster.keys = Some(keys);
        cluster
    }

    /// The same, with these tables in the configuration of each in place of keys.
    pub(crate) fn start_with(count: usize, term: Duration, more: &str) -> Cluster {
        let nats = NatsServer::start("");
        let mut cluster = Cluster { nats, nodes: Vec::new(), keys: None };
        for number in 0..count {
            cluster.nodes.push(Node::start(number, cluster.nats.address(), term, more));
            cluster.await_market(number);
        }
        cluster
    }

    /// Waits until a node has a market, its own or another's.
    pub(crate) fn await_market(&self, node: usize) {
        let mut client = Client::connect(self.nodes[node].port.address());
        until("there is a market", || {
            client.request("public/subscribe", &json!({"channels": [CHANNEL]}))["result"] == json!([CHANNEL])
        });
    }

    /// Where clients connect to each, whether it runs or not.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.port.address()).collect()
    }

    /// Ends all nodes as an operator does, the last started first.
    pub(crate) fn stop(mut self) {
        for mut node in self.nodes.drain(..).rev() {
            let ended = node.stop();
            assert_eq!(ended.code, Some(0), "{:#?}", ended.log);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(keys) = &self.keys {
            let _ = fs::remove_file(keys);
        }
    }
}

/// A file of keys for all accounts, readable for this user alone.
fn keys() -> PathBuf {
    let key = |account: &str| {
        let rights =
            r#"scopes = ["trade:read_write", "account:read_write", "message:read_write", "message:admin"]"#;
        format!(
            "[[key]]\nclient_id = \"{account}\"\naccount = \"{account}\"\nsecret = \"{SECRET}\"\n{rights}\n\n"
        )
    };
    let accounts = [TRADER, ADMIN].into_iter().chain(SENDERS).chain(RECEIVERS);
    let path = temporary_file("keys.toml", accounts.map(key).collect::<String>().as_bytes());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// What is neither confirmed nor rejected comes again soon, and does not die of it.
const MESSAGES: &str =
    "[messages]\nack_timeout_ms = 500\nretry_first_ms = 100\nretry_longest_ms = 500\nattempts_max = 64\n";

/// One process.
pub(crate) struct Node {
    pub(crate) link: Link,
    port: ReservedPort,
    config: PathBuf,
    cores: &'static str,
    server: Option<Server>,
}

impl Node {
    fn start(number: usize, nats: SocketAddr, term: Duration, more: &str) -> Node {
        let link = Link::to(nats);
        let name = format!("node-{number}");
        let term_ms = term.as_millis();
        let text = format!(
            "[feed.paper]\nevents_per_s = 500\n\n[cluster]\nkind = \"nats\"\nservers = [\"{}\"]\nname = \"tests\"\nnode = \"{name}\"\nterm_ms = {term_ms}\nstore_bytes_max = 67108864\n\n{more}",
            link.url()
        );
        let config = temporary_file("toml", text.as_bytes());
        // A market beside a shard and one with a core of its own; both shards of one node, too.
        let cores = ["0", "1", "0,1"][number % 3];
        let mut node = Node { link, port: ReservedPort::new(), config, cores, server: None };
        node.restart();
        node
    }

    /// Starts it where it was.
    pub(crate) fn restart(&mut self) {
        assert!(self.server.is_none(), "it runs");
        let mut command = tickring();
        command.args(["serve", "--control", "127.0.0.1:0", "--cores", self.cores, "--listen"]);
        command.arg(self.port.address().to_string()).arg("--config").arg(&self.config);
        self.server = Some(Server::launch(command));
    }

    /// Ends it at once (SIGKILL).
    pub(crate) fn kill(&mut self) {
        drop(self.server.take().expect("it runs"));
        // What its ring holds the kernel closes behind the end of the process.
        until("nobody listens any more", || TcpStream::connect(self.port.address()).is_err());
    }

    /// Ends it as an operator does (SIGTERM), and waits until it has.
    pub(crate) fn stop(&mut self) -> Ended {
        self.server.take().expect("it runs").stop()
    }

    /// Has the kernel put it aside, or go on.
    pub(crate) fn pause(&self, is_to_stand: bool) {
        self.server().signal(if is_to_stand { Signal::SIGSTOP } else { Signal::SIGCONT });
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.config);
    }
}
