//! Who is let in, and to what: `docs/scaling/nats.conf` as it ships, TLS, and each kind of credentials.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair as TlsKey};
use serde_json::{Value, json};
use tickring::cluster::lease::{LeaseAnswer, LeaseRequest};
use tickring::cluster::names::Places;
use tickring::cluster::parts::Part;
use tickring::cluster::words::{Wish, Word};
use tickring::doorbell::Doorbell;
use tickring::nats::{self, NatsSetup, NatsTls, NoticeWord};

use tickring::auth::{BucketAnswer, BucketWord, SessionValue, Wanted};

use super::nats_server::NatsServer;
use super::node::{Node, name, place, setup, value};
use super::sessions;

const PASSWORD: &str = "s3cret-of-the-cluster";

/// An authority, a certificate of a server at 127.0.0.1, and one of a node.
struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    fn new(folder: &Path) -> Certificates {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, TlsKey::generate().unwrap()).unwrap();
        std::fs::write(folder.join("authority.pem"), authority.pem()).unwrap();
        for (of, named) in [("server", "127.0.0.1"), ("node", "node-1")] {
            let key = TlsKey::generate().unwrap();
            let params = CertificateParams::new(vec![named.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap();
            std::fs::write(folder.join(format!("{of}.pem")), certificate.pem()).unwrap();
            std::fs::write(folder.join(format!("{of}-key.pem")), key.serialize_pem()).unwrap();
        }
        Certificates { folder: folder.to_owned() }
    }

    fn authority(&self) -> NatsTls {
        NatsTls { authority: Some(self.folder.join("authority.pem")), identity: None }
    }

    fn identity(&self) -> NatsTls {
        let identity = Some((self.folder.join("node.pem"), self.folder.join("node-key.pem")));
        NatsTls { identity, ..self.authority() }
    }
}

/// A folder of a test, which stays where the test fails.
struct Folder(PathBuf);

fn folder() -> Folder {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nats-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    Folder(folder)
}

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// By the file that ships, which listens elsewhere and has its files elsewhere.
struct Shipped {
    server: NatsServer,
    certificates: Certificates,
    credentials: PathBuf,
    _folder: Folder,
}

fn shipped() -> Shipped {
    let folder = folder();
    let certificates = Certificates::new(&folder);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scaling/nats.conf");
    let mut text = std::fs::read_to_string(path).unwrap();
    let here = folder.to_str().unwrap().to_owned();
    let configuration = |address: SocketAddr| {
        for (there, instead) in [
            ("127.0.0.1:4222", address.to_string()),
            ("/var/lib/nats", format!("{here}/store")),
            ("/etc/nats", here),
        ] {
            assert!(text.contains(there), "{there}");
            text = text.replace(there, &instead);
        }
        text
    };
    let credentials = folder.join("credentials");
    std::fs::write(&credentials, format!("tickring:{PASSWORD}\n")).unwrap();
    let server = NatsServer::start_by(configuration, &[("TICKRING_NATS_PASSWORD", PASSWORD)]);
    Shipped { server, certificates, credentials, _folder: folder }
}

fn tell(bytes: &[u8]) -> Wish {
    Wish::Tell(Part { audience: Places(1), bytes: bytes.to_vec() })
}

/// All that a node does: the bucket is made, the lease taken and watched, parts, requests and answers cross.
fn does_all(owner: NatsSetup, follower: NatsSetup) {
    let (mut owner, mut follower) = (Node::there(owner), Node::there(follower));
    let LeaseAnswer::Written { revision } = owner.ask(LeaseRequest::Create { value: value("owner", 1) })
    else {
        panic!("{:?}", owner.nats.board().reading())
    };
    assert_eq!(follower.seen(), (revision, value("owner", 1)));
    let update = LeaseRequest::Update { value: value("owner", 2), revision };
    assert!(matches!(owner.ask(update), LeaseAnswer::Written { .. }));
    assert_eq!(follower.seen().1, value("owner", 2));
    follower.hear(place(0));
    owner.send(tell(b"part"));
    assert_eq!(follower.part(), b"part");
    owner.send(Wish::Listen(true));
    owner.hear(place(1));
    follower.send(Wish::Ask(b"ask".to_vec()));
    let from = owner
        .wait("request", |word| if let Word::Asked { from, .. } = word { Some(from.clone()) } else { None });
    owner.send(Wish::Answer { to: from, bytes: b"answer".to_vec() });
    follower.wait("answer", |word| matches!(word, Word::Answered(_)).then_some(()));
    for node in [&mut owner, &mut follower] {
        assert_eq!(node.notice(), NoticeWord::Back);
    }
    assert!(owner.notices.tell(b"notice".to_vec()));
    assert_eq!(follower.notice(), NoticeWord::Heard(b"notice".to_vec()));
    sessions_cross(&mut owner, &mut follower);
    // Who is present is kept, in a bucket that is made, and the next owner reads it.
    owner.own(1);
    owner.keep("ann", Some(5));
    owner.keep("bob", Some(6));
    owner.keep("bob", None);
    while owner.nats.board().reading().presence_written < 3 {
        std::thread::yield_now();
    }
    assert_eq!(follower.own(2).0.into_iter().collect::<Vec<_>>(), [("ann".to_owned(), 5)]);
    owner.stop();
    follower.stop();
}

/// The bucket of sessions is made, written, read and watched, and what is in it is ended.
fn sessions_cross(one: &mut Node, other: &mut Node) {
    let (key, text) = sessions::session("desk", 1);
    assert_eq!([one.told(), one.told()], [BucketWord::Began, BucketWord::Complete]);
    assert_eq!([other.told(), other.told()], [BucketWord::Began, BucketWord::Complete]);
    let write = Wanted::Write { text: text.clone(), revision: 0, lasts_s: 60 };
    let BucketAnswer::Written { revision } = one.ask_session(key, write) else {
        panic!("{:?}", one.nats.board().reading())
    };
    let value = SessionValue::parse(key, text.as_bytes()).map(Box::new);
    assert_eq!(other.told(), BucketWord::Seen { key, revision, value: value.clone() });
    assert_eq!(
        other.ask_session(key, Wanted::Read { waits: false }),
        BucketAnswer::Holds { revision, value }
    );
    let deleted = other.ask_session(key, Wanted::Delete { revision });
    assert!(matches!(deleted, BucketAnswer::Written { .. }), "{deleted:?}");
    one.told();
    assert!(matches!(one.told(), BucketWord::Seen { value: None, .. }));
}

/// Until so many tries of its connections have failed.
fn await_failures(node: &Node, count: u64) {
    let board = node.nats.board();
    while board.reading().failures < count {
        std::thread::yield_now();
    }
}

/// It is not there, whatever it tries.
fn is_not_let_in(setup: NatsSetup) {
    let mut node = Node::start(setup);
    await_failures(&node, 4);
    assert_eq!(node.ask(LeaseRequest::Read), LeaseAnswer::Unknown);
    let reading = node.nats.board().reading();
    assert!(!reading.is_up && reading.server.is_none(), "{reading:?}");
    assert!(node.kept().is_empty(), "{:?}", node.kept());
    node.stop();
}

#[test]
fn the_configuration_that_ships_lets_nodes_do_all_that_they_do_over_tls() {
    let Shipped { server, certificates, credentials, _folder } = shipped();
    let setup = |node| NatsSetup {
        credentials: Some(credentials.clone()),
        tls: Some(certificates.identity()),
        ..setup(node, server.address())
    };
    does_all(setup("owner"), setup("follower"));
    // An address may ask for TLS, too.
    let address = format!("tls://{}", server.address());
    let mut node = Node::start(NatsSetup { servers: vec![address], ..setup("third") });
    node.is_up(true);
    node.stop();
}

#[test]
fn nobody_is_let_in_without_the_certificate_the_authority_and_the_password() {
    let Shipped { server, certificates, credentials, _folder } = shipped();
    let good = NatsSetup {
        credentials: Some(credentials.clone()),
        tls: Some(certificates.identity()),
        ..setup("a", server.address())
    };
    is_not_let_in(NatsSetup { credentials: None, ..good.clone() });
    is_not_let_in(NatsSetup { tls: Some(certificates.authority()), ..good.clone() });
    let elsewhere = folder();
    let strange = Certificates::new(&elsewhere);
    let tls = NatsTls { authority: strange.authority().authority, ..certificates.identity() };
    is_not_let_in(NatsSetup { tls: Some(tls), ..good.clone() });
    is_not_let_in(NatsSetup { tls: Some(strange.identity()), ..good.clone() });

    // A password that is wrong is put right while the node runs.
    std::fs::write(&credentials, "tickring:wrong").unwrap();
    let mut node = Node::start(good);
    await_failures(&node, 2);
    std::fs::write(&credentials, format!("tickring:{PASSWORD}")).unwrap();
    node.is_up(true);
    node.stop();
}

#[test]
fn a_server_without_tls_is_not_spoken_to_where_tls_is_asked_for() {
    let server = NatsServer::start("");
    let folder = folder();
    let certificates = Certificates::new(&folder);
    is_not_let_in(NatsSetup { tls: Some(certificates.authority()), ..setup("a", server.address()) });
    let address = format!("tls://{}", server.address());
    is_not_let_in(NatsSetup { servers: vec![address], ..setup("a", server.address()) });
}

#[test]
fn the_user_of_one_cluster_can_do_nothing_in_another() {
    let Shipped { server, certificates, credentials, _folder } = shipped();
    let setup = |cluster| NatsSetup {
        cluster: name(cluster),
        credentials: Some(credentials.clone()),
        tls: Some(certificates.identity()),
        term_ms: 2_000,
        ..setup("a", server.address())
    };
    let mut own = Node::there(setup("prod"));
    own.hear(place(0));
    let mut node = Node::start(setup("test"));
    node.is_up(true);
    await_lease(&node);
    node.send(Wish::Hear(Some(place(0))));
    node.send(tell(b"x"));
    for _ in 0..2 {
        assert_eq!(node.ask(LeaseRequest::Read), LeaseAnswer::Unknown);
        assert_eq!(node.ask(LeaseRequest::Create { value: value("a", 1) }), LeaseAnswer::Unknown);
    }
    assert!(!node.kept().iter().any(|word| matches!(word, Word::Hearing(_) | Word::Part(_))));
    // And has done nothing to the own cluster.
    assert_eq!(own.ask(LeaseRequest::Read), LeaseAnswer::Holds(None));
    assert!(own.kept().is_empty(), "{:?}", own.kept());
    node.stop();
    own.stop();
}

/// Until the connection of the lease is there too.
fn await_lease(node: &Node) {
    let board = node.nats.board();
    while !board.reading().is_up {
        std::thread::yield_now();
    }
}

#[test]
fn requests_that_nobody_ever_answers_leave_nothing_behind_and_the_rest_goes_on() {
    // A request that is not permitted has no answer.
    let lines = "authorization { users = [{ user: node, password: p, permissions: {
        publish: [\"tickring.prod.>\"], subscribe: [\"tickring.prod.>\"] } }] }";
    let server = NatsServer::start(lines);
    let folder = folder();
    let path = folder.join("password");
    std::fs::write(&path, "node:p").unwrap();
    let setup = NatsSetup { credentials: Some(path), term_ms: 500, ..setup("a", server.address()) };
    let mut node = Node::start(setup);
    node.is_up(true);
    await_lease(&node);
    let mut asked = 0;
    // The client that keeps them is replaced by another.
    while node.nats.board().reading().reconnects == 0 {
        assert_eq!(node.ask(LeaseRequest::Read), LeaseAnswer::Unknown);
        asked += 1;
        assert!(asked <= 100);
    }
    assert!(asked >= 10, "{asked}");
    node.hear(place(0));
    node.send(tell(b"part"));
    assert_eq!(node.part(), b"part");
    assert!(!node.kept().contains(&Word::IsUp(false)));
    node.stop();
}

#[test]
fn a_node_logs_in_by_a_key_that_the_server_names() {
    let key = KeyPair::new_user();
    let lines = format!("authorization {{ users = [{{ nkey: {} }}] }}", key.public_key());
    let server = NatsServer::start(&lines);
    let folder = folder();
    let credentials = |key: &KeyPair| {
        let path = folder.join("seed");
        std::fs::write(&path, key.seed().unwrap()).unwrap();
        Some(path)
    };
    let setup =
        |key: &KeyPair, node| NatsSetup { credentials: credentials(key), ..setup(node, server.address()) };
    does_all(setup(&key, "owner"), setup(&key, "follower"));
    is_not_let_in(setup(&KeyPair::new_user(), "a"));
}

/// As NATS's `jwt` writes it.
fn token(issuer: &KeyPair, subject: &str, named: &str, claims: Value) -> String {
    let header = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let body = json!({
        "jti": "1", "iat": 1_700_000_000, "iss": issuer.public_key(), "name": named, "sub": subject, "nats": claims,
    });
    let signed = format!("{header}.{}", BASE64URL_NOPAD.encode(body.to_string().as_bytes()));
    let signature = BASE64URL_NOPAD.encode(&issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

fn account(issuer: &KeyPair, account: &KeyPair, named: &str, storage: i64) -> String {
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": storage, "disk_storage": storage, "streams": -1, "consumer": -1,
    });
    let claims = json!({ "limits": limits, "type": "account", "version": 2 });
    token(issuer, &account.public_key(), named, claims)
}

fn credentials_of(account: &KeyPair, user: &KeyPair) -> String {
    let claims = json!({ "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2 });
    let jwt = token(account, &user.public_key(), "node", claims);
    let seed = user.seed().unwrap();
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

#[test]
fn a_node_logs_in_by_a_file_of_credentials_of_a_decentralised_account() {
    let (operator, system, of_nodes) =
        (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let claims = json!({ "type": "operator", "version": 2, "system_account": system.public_key() });
    let lines = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {}, {}: {} }}",
        token(&operator, &operator.public_key(), "operator", claims),
        system.public_key(),
        system.public_key(),
        account(&operator, &system, "system", 0),
        of_nodes.public_key(),
        account(&operator, &of_nodes, "nodes", -1),
    );
    let server = NatsServer::start(&lines);
    let folder = folder();
    let path = folder.join("node.creds");
    let setup = |node| NatsSetup { credentials: Some(path.clone()), ..setup(node, server.address()) };
    // Of another account, which the server does not know; then renewed while the node runs.
    std::fs::write(&path, credentials_of(&KeyPair::new_account(), &KeyPair::new_user())).unwrap();
    let mut node = Node::start(setup("a"));
    await_failures(&node, 2);
    std::fs::write(&path, credentials_of(&of_nodes, &KeyPair::new_user())).unwrap();
    node.is_up(true);
    node.stop();
    does_all(setup("owner"), setup("follower"));
}

#[test]
fn what_cannot_work_is_an_operator_s_fault_that_is_told_at_the_start() {
    let folder = folder();
    let certificates = Certificates::new(&folder);
    let good = setup("a", "127.0.0.1:1");
    let file = |named: &str, text: &str| {
        std::fs::write(folder.join(named), text).unwrap();
        folder.join(named)
    };
    let of_server = |server: &str| NatsSetup { servers: vec![server.to_owned()], ..good.clone() };
    let of_tls = |tls| NatsSetup { tls: Some(tls), ..good.clone() };
    let others = (folder.join("server.pem"), folder.join("node-key.pem"));
    let cases = [
        (NatsSetup { servers: Vec::new(), ..good.clone() }, "no server"),
        (of_server("ws://127.0.0.1:1"), "nats://HOST:PORT"),
        (of_server("nats://[::"), "nats://HOST:PORT"),
        (of_server("nats://node:s3cret@127.0.0.1:1"), "credentials stand in a file"),
        (NatsSetup { credentials: Some(folder.join("absent")), ..good.clone() }, "absent"),
        (NatsSetup { credentials: Some(file("empty", "")), ..good.clone() }, "empty"),
        (of_tls(NatsTls { authority: Some(file("no.pem", "x")), identity: None }), "no.pem"),
        (of_tls(NatsTls { identity: Some(others), ..certificates.authority() }), "node-key.pem"),
    ];
    for (setup, told) in cases {
        let sessions = (nats::session_lanes().unwrap().1, std::thread::current());
        let Err(error) = nats::start(setup.clone(), Doorbell::new().unwrap(), sessions) else {
            panic!("{setup:?}")
        };
        let error = error.to_string();
        assert!(error.contains(told) && !error.contains("s3cret"), "{error}");
    }
    of_tls(certificates.identity()).check().unwrap();
}
