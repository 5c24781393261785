//! The authority as shards see it: what is shown, when, and what comes of it.

mod issued;
mod shared;

use std::sync::Arc;

use self::issued::{HS256, ISSUERS_SECRET, issuer, token};
use super::authority::Entropy;
use super::signature::client_signature;
use super::*;
use crate::model::ids::ConnId;
use crate::model::time::Now;

const START_MS: u64 = 1_700_000_000_000;

fn credential(client_id: &str, key: Key) -> Credential {
    Credential {
        client_id: client_id.into(),
        account: "desk".into(),
        name: "".into(),
        key,
        scopes: Scopes::parse(["trade:read_write", "account:read"]).unwrap(),
        subscribe: Patterns::ANY,
        publish: Patterns::none(),
        call: Patterns::ANY,
        created_unix_ms: 0,
        expires_unix_ms: None,
        reach: Reach::Anywhere,
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes())
}

fn keys() -> Vec<Credential> {
    let local = Credential { reach: Reach::Loopback, ..credential("local", Key::Secret(secret("l"))) };
    let brief = Credential {
        expires_unix_ms: Some(START_MS + 10_000),
        ..credential("brief", Key::Secret(secret("b")))
    };
    vec![
        credential("hmac", Key::Secret(secret("s3cret"))),
        credential("bearer", Key::Digest(bearer_digest("bearer", "b3arer"))),
        local,
        brief,
    ]
}

fn at(unix_ms: u64) -> Now {
    Now { mono_ns: 0, unix_ns: unix_ms * 1_000_000 }
}

/// An authority with a clock, and entropy that counts.
struct World {
    authority: Authority,
    now: Now,
    entropy: u8,
    origin: Origin,
}

impl World {
    fn new() -> World {
        World::with(Settings::default())
    }

    fn with(settings: Settings) -> World {
        let keyring = Keyring::new(keys()).unwrap();
        let conn = ConnId { slot: 1, generation: 1 };
        World {
            authority: Authority::new(Arc::new(keyring), settings, at(START_MS - 60_000)),
            now: at(START_MS),
            entropy: 0,
            origin: Origin { shard: 0, conn, reach: Reach::Loopback, address: 1 },
        }
    }

    fn trust(&mut self, issuers: impl IntoIterator<Item = Issuer>) {
        let keyring = Keyring::new(keys()).unwrap().with_issuers(issuers).unwrap();
        self.authority.replace(Arc::new(keyring));
    }

    fn wait_s(&mut self, seconds: u64) {
        self.now = self.now.plus_ns(seconds * 1_000_000_000);
    }

    fn judge(&mut self, proof: Proof, scope: &str) -> Verdict {
        self.entropy += 1;
        let entropy: Entropy = [[self.entropy; 32], [self.entropy ^ 0x80; 32]];
        let scope = ScopeRequest::parse(scope).unwrap();
        let request = Request { proof, scope, origin: self.origin };
        match self.authority.judge(&request, self.now, &entropy) {
            Judged::Verdict(verdict) => verdict,
            Judged::Asks(inquiry) => panic!("{inquiry:?}"),
        }
    }

    fn refused(&mut self, proof: Proof) -> Option<Refusal> {
        match self.judge(proof, "") {
            Verdict::Refused(refusal) => Some(refusal),
            Verdict::Granted { .. } => None,
        }
    }

    fn granted(&mut self, proof: Proof, scope: &str) -> (Login, Tokens) {
        match self.judge(proof, scope) {
            Verdict::Granted { login, tokens } => (*login, *tokens.unwrap()),
            Verdict::Refused(refusal) => panic!("{refusal:?}"),
        }
    }
}

fn by_secret(client_id: &str, text: &str) -> Proof {
    Proof::Secret { client_id: client_id.into(), secret: secret(text) }
}

fn signed(timestamp_ms: u64, nonce: &str, data: &str) -> Proof {
    let signature = client_signature(b"s3cret", timestamp_ms, nonce, data);
    Proof::Signature(Signed {
        client_id: "hmac".into(),
        timestamp_ms,
        nonce: nonce.into(),
        data: data.into(),
        signature,
    })
}

fn refresh(token: &str) -> Proof {
    Proof::Refresh { token: secret(token) }
}

fn bearer(token: &str) -> Proof {
    Proof::Bearer { token: secret(token) }
}

#[test]
fn a_secret_is_taken_and_anything_else_is_not() {
    let mut world = World::new();
    for (client_id, text, expected) in [
        ("hmac", "s3cret", None),
        ("bearer", "b3arer", None),
        ("hmac", "s3cres", Some(Refusal::Credentials)),
        ("hmac", "", Some(Refusal::Credentials)),
        ("bearer", "s3cret", Some(Refusal::Credentials)),
        ("nobody", "s3cret", Some(Refusal::Credentials)),
        ("", "", Some(Refusal::Credentials)),
    ] {
        assert_eq!(world.refused(by_secret(client_id, text)), expected, "{client_id} {text}");
    }
}

#[test]
fn a_grant_says_what_and_for_how_long() {
    let mut world = World::new();
    let (login, tokens) = world.granted(by_secret("hmac", "s3cret"), "trade:read expires:60");
    assert_eq!(&*login.credential.client_id, "hmac");
    assert_eq!(login.scopes.words().collect::<Vec<_>>(), ["account:read", "trade:read"]);
    assert_eq!((login.expires_unix_ms, tokens.expires_in_s), (START_MS + 60_000, 60));
    assert_eq!((login.session, login.grant.is_some()), (None, true));
    assert_ne!(tokens.access, tokens.refresh);
    let (_, usual) = world.granted(by_secret("hmac", "s3cret"), "");
    assert_eq!(usual.expires_in_s, 31_536_000);
    let (login, named) = world.granted(by_secret("hmac", "s3cret"), "session:desk expires:100000");
    assert_eq!((named.expires_in_s, login.session.as_deref()), (900, Some("desk")));
}

#[test]
fn a_signature_is_taken_once_and_within_its_window() {
    let mut world = World::new();
    assert_eq!(world.refused(signed(START_MS, "n", "")), None);
    assert_eq!(world.refused(signed(START_MS, "n", "")), Some(Refusal::Replayed));
    assert_eq!(world.refused(signed(START_MS, "n", "other data")), None);
    assert_eq!(world.refused(signed(START_MS + 1, "n", "")), None);
    assert_eq!(world.refused(signed(START_MS + 5_000, "ahead", "")), None);
    assert_eq!(world.refused(signed(START_MS + 5_001, "further", "")), Some(Refusal::Timestamp));
    assert_eq!(world.refused(signed(u64::MAX, "far", "")), Some(Refusal::Timestamp));
    assert_eq!(world.refused(signed(0, "first", "")), Some(Refusal::Timestamp));
    // The one from ahead is still within its window when the time comes, and was taken.
    world.wait_s(65);
    assert_eq!(world.refused(signed(START_MS + 5_000, "ahead", "")), Some(Refusal::Replayed));
    assert_eq!(world.refused(signed(START_MS + 5_000, "old", "")), None);
    assert_eq!(world.refused(signed(START_MS + 4_999, "older", "")), Some(Refusal::Timestamp));
    world.wait_s(1);
    assert_eq!(world.refused(signed(START_MS + 5_000, "ahead", "")), Some(Refusal::Timestamp));
}

#[test]
fn a_signature_that_the_server_before_may_have_taken_is_not() {
    let mut world = World::new();
    let ahead = signed(START_MS + 5_000, "n", "");
    assert_eq!(world.refused(ahead.clone()), None);
    // The next one remembers nothing of it.
    let ring = Arc::new(Keyring::new(keys()).unwrap());
    world.authority = Authority::new(ring, Settings::default(), world.now);
    assert_eq!(world.refused(ahead.clone()), Some(Refusal::Timestamp));
    world.now = at(START_MS + 1);
    assert_eq!(world.refused(signed(START_MS + 1, "n", "")), Some(Refusal::Timestamp));
    assert_eq!(world.refused(signed(START_MS + 5_001, "n", "")), None);
    world.wait_s(60);
    assert_eq!(world.refused(ahead), Some(Refusal::Timestamp));
    assert_eq!(world.refused(signed(START_MS + 5_002, "n", "")), None);
}

#[test]
fn what_cannot_be_guessed_and_what_costs_nothing_counts_as_no_failure() {
    let once = Settings { failures_per_minute_max: 1, ..Settings::default() };
    let mut world = World::with(once);
    world.trust([issuer(ISSUERS_SECRET)]);
    let (_, tokens) = world.granted(by_secret("hmac", "s3cret"), "session:a");
    let replayed = signed(START_MS, "n", "");
    assert_eq!(world.refused(replayed.clone()), None);
    let stale = token(ISSUERS_SECRET, HS256, &[("exp", (START_MS / 1000).into())]);
    for (proof, expected) in [
        (replayed, Refusal::Replayed),
        (signed(START_MS - 70_000, "old", ""), Refusal::Timestamp),
        (refresh("r.0.1.00"), Refusal::Token),
        (refresh(&tokens.access), Refusal::Token),
        (bearer(&tokens.refresh), Refusal::Token),
        (bearer("nonsense"), Refusal::Token),
        (bearer(&stale), Refusal::Token),
        (bearer(&token("another secret of thirty-two bytes", r#"{"alg":"none"}"#, &[])), Refusal::Token),
    ] {
        for _ in 0..3 {
            assert_eq!(world.refused(proof.clone()), Some(expected), "{proof:?}");
        }
    }
    assert_eq!(world.refused(bearer(&tokens.access)), None);
    let forged = token("another secret of thirty-two bytes", HS256, &[]);
    for guess in [by_secret("hmac", "guess"), bearer("bearer.guess"), bearer(&forged)] {
        let mut world = World::with(once);
        world.trust([issuer(ISSUERS_SECRET)]);
        assert!(world.refused(guess.clone()).is_some());
        assert_eq!(world.refused(guess), Some(Refusal::TooManyFailures));
    }
}

#[test]
fn a_refresh_token_that_comes_again_ends_its_session_for_both_who_have_it() {
    for renewals in 1..4 {
        let mut world = World::with(Settings { failures_per_minute_max: 1, ..Settings::default() });
        let (_, first) = world.granted(by_secret("hmac", "s3cret"), "session:desk");
        let mut newest = first.clone();
        for _ in 0..renewals {
            newest = world.granted(refresh(&newest.refresh), "").1;
        }
        let (family, _) = newest.refresh.rsplit_once('.').unwrap();
        assert!(first.refresh.starts_with(family) && first.refresh != newest.refresh);
        assert_eq!(world.refused(bearer(&newest.access)), None);
        assert_eq!(world.refused(refresh(&first.refresh)), Some(Refusal::Token));
        assert_eq!(world.authority.grant_count(), 0);
        world.origin.address = 2;
        assert_eq!(world.refused(refresh(&newest.refresh)), Some(Refusal::Token));
        assert_eq!(world.refused(bearer(&newest.access)), Some(Refusal::Token));
        world.origin.address = 1;
        assert_eq!(world.refused(by_secret("hmac", "s3cret")), Some(Refusal::TooManyFailures), "it counts");
    }
}

#[test]
fn other_settings_hold_for_log_ins_from_then_on() {
    let mut world = World::new();
    let (_, before) = world.granted(by_secret("hmac", "s3cret"), "session:before");
    let settings =
        Settings { access_s: 5, failures_per_minute_max: 1, signature_window_ms: 1, ..Settings::default() };
    world.authority.set_settings(settings);
    let (_, after) = world.granted(by_secret("hmac", "s3cret"), "session:after");
    assert_eq!((before.expires_in_s, after.expires_in_s), (900, 5));
    assert_eq!(world.refused(by_secret("hmac", "guess")), Some(Refusal::Credentials));
    assert_eq!(world.refused(by_secret("hmac", "s3cret")), Some(Refusal::TooManyFailures));
    world.origin.address = 2;
    let signature = signed(START_MS - 30_000, "n", "");
    assert_eq!(world.refused(signature.clone()), None, "the window is that of the start");
    assert!(world.refused(signature).is_some(), "else this could be taken twice");
}

#[test]
fn who_does_not_know_a_sessions_family_cannot_end_it() {
    let mut world = World::new();
    let (_, tokens) = world.granted(by_secret("hmac", "s3cret"), "session:desk");
    let (access_secret, zeros) = (tokens.access.rsplit_once('.').unwrap().1, "0".repeat(64));
    for family in [access_secret, &zeros] {
        assert_eq!(world.refused(refresh(&format!("r.0.1.{family}.{zeros}"))), Some(Refusal::Token));
    }
    assert_eq!(world.refused(refresh(&tokens.refresh)), None);
}

#[test]
fn what_a_client_asks_to_expire_is_renewed_to_nothing_longer() {
    for scope in ["session:desk expires:60", "expires:60"] {
        let mut world = World::new();
        let (_, tokens) = world.granted(by_secret("hmac", "s3cret"), scope);
        assert_eq!(tokens.expires_in_s, 60);
        world.wait_s(59);
        let (login, tokens) = world.granted(refresh(&tokens.refresh), "expires:1000");
        assert_eq!((login.expires_unix_ms, tokens.expires_in_s), (START_MS + 60_000, 1), "{scope}");
        world.wait_s(1);
        assert_eq!(world.refused(refresh(&tokens.refresh)), Some(Refusal::TokenExpired), "{scope}");
    }
}

#[test]
fn a_bearer_keys_secret_may_have_dots() {
    let mut world = World::new();
    let dotted = ["a.b", "a.b.c", "a.1.1.c"].map(|text| {
        let id = format!("dots{}", text.len());
        (credential(&id, Key::Digest(bearer_digest(&id, text))), format!("{id}.{text}"))
    });
    // Not even an id that is a token's letter is taken for one.
    let letter = credential("a", Key::Digest(bearer_digest("a", "0.1.x")));
    let shown: Vec<String> =
        dotted.iter().map(|(_, text)| text.clone()).chain(["a.0.1.x".to_owned()]).collect();
    let ring = dotted.into_iter().map(|(key, _)| key).chain([letter]).chain(keys());
    world.authority.replace(Arc::new(Keyring::new(ring).unwrap()));
    let (_, tokens) = world.granted(by_secret("hmac", "s3cret"), "session:x");
    for text in shown {
        assert_eq!(world.refused(bearer(&text)), None, "{text}");
        assert_eq!(world.refused(bearer(&format!("{text}x"))), Some(Refusal::Credentials), "{text}");
    }
    assert_eq!(world.refused(bearer(&tokens.access)), None);
}

#[test]
fn a_signature_by_another_secret_or_of_a_key_without_one_is_none() {
    let mut world = World::new();
    for client_id in ["hmac", "bearer", "nobody"] {
        let signature = client_signature(b"guess", START_MS, "n", "");
        let signed = Signed {
            client_id: client_id.into(),
            timestamp_ms: START_MS,
            nonce: "n".into(),
            data: "".into(),
            signature,
        };
        for proof in [Proof::Signature(signed.clone()), Proof::SignedCall(signed)] {
            assert_eq!(world.refused(proof), Some(Refusal::Credentials), "{client_id}");
        }
    }
}

#[test]
fn a_refresh_token_is_good_once_and_for_its_connection() {
    let mut world = World::new();
    let (_, first) = world.granted(by_secret("hmac", "s3cret"), "trade:read");
    assert_eq!(world.refused(refresh(&first.access)), Some(Refusal::Token), "it is no refresh token");
    let (login, second) = world.granted(refresh(&first.refresh), "");
    assert_eq!(
        login.scopes.words().collect::<Vec<_>>(),
        ["account:read", "trade:read"],
        "no more than before"
    );
    world.origin.conn.generation += 1;
    assert_eq!(world.refused(refresh(&second.refresh)), Some(Refusal::Token), "another connection's");
    world.origin.conn.generation -= 1;
    let (login, _) = world.granted(refresh(&second.refresh), "");
    world.authority.forget(login.grant.unwrap());
    assert_eq!(world.authority.grant_count(), 0);
    let (_, again) = world.granted(by_secret("hmac", "s3cret"), "");
    world.granted(refresh(&again.refresh), "");
    assert_eq!(world.refused(refresh(&again.refresh)), Some(Refusal::Token), "it was renewed");
    assert_eq!(world.authority.grant_count(), 0);
}

#[test]
fn a_named_session_goes_on_elsewhere_until_it_is_over() {
    let mut world = World::new();
    let (_, tokens) = world.granted(by_secret("hmac", "s3cret"), "session:desk");
    world.origin.shard = 1;
    world.origin.conn.slot = 77;
    assert!(matches!(world.judge(bearer(&tokens.access), ""), Verdict::Granted { tokens: None, .. }));
    world.wait_s(900);
    assert_eq!(world.refused(bearer(&tokens.access)), Some(Refusal::TokenExpired));
    let (_, renewed) = world.granted(refresh(&tokens.refresh), "");
    assert_eq!(world.refused(bearer(&renewed.access)), None);
    world.wait_s(604_800);
    assert_eq!(world.refused(refresh(&renewed.refresh)), Some(Refusal::TokenExpired));
}

#[test]
fn a_key_has_sixteen_named_sessions_and_a_name_again_is_the_same_one() {
    let mut world = World::new();
    let mut last = None;
    for number in 0..16 {
        last = Some(world.granted(by_secret("hmac", "s3cret"), &format!("session:s{number}")).1);
    }
    let again = world.granted(by_secret("hmac", "s3cret"), "session:s15").1;
    assert_eq!(world.refused(bearer(&last.unwrap().access)), Some(Refusal::Token), "the name was taken over");
    assert_eq!(world.refused(bearer(&again.access)), None);
    let verdict = world.judge(by_secret("hmac", "s3cret"), "session:s16");
    assert_eq!(verdict, Verdict::Refused(Refusal::TooManySessions));
    assert_eq!(world.authority.grant_count(), 16);
    // Those that are over make room.
    world.wait_s(604_800);
    assert!(matches!(world.judge(by_secret("hmac", "s3cret"), "session:s16"), Verdict::Granted { .. }));
    assert_eq!(world.authority.grant_count(), 1);
}

#[test]
fn a_bearer_key_is_taken_as_one_text_and_damaged_tokens_are_not() {
    let mut world = World::with(Settings { failures_per_minute_max: 0, ..Settings::default() });
    assert_eq!(world.refused(bearer("bearer.b3arer")), None);
    let (_, tokens) = world.granted(by_secret("hmac", "s3cret"), "session:x");
    for text in ["bearer.guess", ".", "a.b"] {
        assert_eq!(world.refused(bearer(text)), Some(Refusal::Credentials), "{text}");
    }
    let wrong_slot = tokens.access.replacen("a.0.", "a.1.", 1);
    let cut = &tokens.access[..tokens.access.len() - 1];
    for text in
        ["", "a", "a.0.1", "a.0.0.x", "x.0.1.y", "a.0.1.x.y", "a.é.1.x", &wrong_slot, cut, &tokens.refresh]
    {
        assert_eq!(world.refused(bearer(text)), Some(Refusal::Token), "{text}");
    }
    assert_eq!(world.refused(Proof::Bearer { token: Secret::new(&[0xff]) }), Some(Refusal::Token));
}

#[test]
fn a_key_that_has_expired_or_is_for_loopback_is_not_taken() {
    let mut world = World::new();
    let (login, tokens) = world.granted(by_secret("brief", "b"), "");
    assert_eq!((login.expires_unix_ms, tokens.expires_in_s), (START_MS + 10_000, 10));
    world.wait_s(10);
    assert_eq!(world.refused(by_secret("brief", "b")), Some(Refusal::CredentialExpired));
    assert_eq!(world.refused(by_secret("brief", "c")), Some(Refusal::Credentials), "only its holder is told");
    assert_eq!(world.refused(by_secret("local", "l")), None);
    world.origin.reach = Reach::Anywhere;
    assert_eq!(world.refused(by_secret("local", "l")), Some(Refusal::ElsewhereOnly));
    assert_eq!(world.refused(by_secret("hmac", "s3cret")), None);
}

#[test]
fn an_address_that_fails_too_often_is_not_looked_at_and_others_are() {
    let mut world = World::with(Settings { failures_per_minute_max: 3, ..Settings::default() });
    for _ in 0..3 {
        assert_eq!(world.refused(by_secret("hmac", "s3cret")), None, "success is no failure");
        assert_eq!(world.refused(by_secret("hmac", "guess")), Some(Refusal::Credentials));
    }
    assert_eq!(world.refused(by_secret("hmac", "s3cret")), Some(Refusal::TooManyFailures));
    world.origin.address = 2;
    assert_eq!(world.refused(by_secret("hmac", "s3cret")), None);
    world.origin.address = 1;
    world.wait_s(21);
    assert_eq!(world.refused(by_secret("hmac", "s3cret")), None);
}

#[test]
fn what_was_granted_ends_with_its_key() {
    let mut world = World::new();
    let (_, kept) = world.granted(by_secret("hmac", "s3cret"), "session:a");
    let (_, lost) = world.granted(by_secret("bearer", "b3arer"), "session:a");
    let mut keys = keys();
    keys.retain(|key| &*key.client_id != "bearer");
    world.authority.replace(Arc::new(Keyring::new(keys.clone()).unwrap()));
    assert_eq!(world.refused(bearer(&kept.access)), None);
    assert_eq!(world.refused(bearer(&lost.access)), Some(Refusal::Token));
    assert_eq!(world.refused(by_secret("bearer", "b3arer")), Some(Refusal::Credentials));
    // Another secret under the same id is another key.
    keys[0].key = Key::Secret(secret("changed"));
    world.authority.replace(Arc::new(Keyring::new(keys).unwrap()));
    assert_eq!(world.refused(refresh(&kept.refresh)), Some(Refusal::Token));
    assert_eq!(world.authority.grant_count(), 0);
}

#[test]
fn a_keyring_refuses_odd_ids_and_the_same_twice() {
    let key = |id: &str| credential(id, Key::Secret(secret("x")));
    let fault = |keys: Vec<Credential>| Keyring::new(keys).unwrap_err();
    assert_eq!(fault(vec![key("a"), key("b"), key("a")]), KeyringFault::Twice("a".to_owned()));
    for odd in ["", "a.b", "a b", "é", &"x".repeat(65)] {
        assert_eq!(fault(vec![key(odd)]), KeyringFault::Id(odd.to_owned()));
    }
    let many = (0..=crate::limits::KEYS_MAX).map(|number| key(&number.to_string())).collect();
    assert_eq!(fault(many), KeyringFault::TooMany);
    let ring = Keyring::new([key("b"), key("a")]).unwrap();
    assert!(ring.find("a").is_some() && ring.find("c").is_none());
    assert_eq!(format!("{:?}", secret("x")), "(secret)");
}

#[test]
fn named_sessions_go_on_in_a_later_authority_and_nothing_else_does() {
    let mut world = World::new();
    let (_, mine) = world.granted(by_secret("hmac", "s3cret"), "session:desk trade:read");
    let (_, other) = world.granted(by_secret("bearer", "b3arer"), "session:other");
    let (_, held) = world.granted(by_secret("hmac", "s3cret"), "");
    let text = world.authority.sessions();
    for token in [&mine, &other, &held].into_iter().flat_map(|tokens| [&tokens.access, &tokens.refresh]) {
        let secret = token.rsplit('.').next().unwrap();
        assert!(!text.contains(secret), "no token is in the text");
    }
    let version = world.authority.sessions_version();

    let mut later = World::new();
    assert_eq!(later.authority.restore(&text, later.now), Ok(2));
    assert_eq!(later.authority.sessions(), text);
    assert!(version > 0 && later.authority.sessions_version() == 0, "what was read needs no writing");
    assert_eq!(later.refused(bearer(&held.access)), Some(Refusal::Token), "it was its connection's");
    let Verdict::Granted { login, .. } = later.judge(bearer(&mine.access), "") else { panic!("it goes on") };
    assert_eq!(login.session.as_deref(), Some("desk"));
    assert_eq!(login.scopes.words().collect::<Vec<_>>(), ["account:read", "trade:read"]);
    let (_, renewed) = later.granted(refresh(&mine.refresh), "");
    assert_eq!(later.refused(bearer(&mine.access)), Some(Refusal::Token), "there is a newer one");
    assert_eq!(later.refused(bearer(&renewed.access)), None);
    assert_ne!(later.authority.sessions(), text);
    let (_, again) = later.granted(by_secret("hmac", "s3cret"), "session:third");
    assert_eq!(later.refused(bearer(&again.access)), None, "a new one takes no place of theirs");
    assert_eq!(later.refused(bearer(&other.access)), None);
}

#[test]
fn a_session_of_a_key_that_was_changed_meanwhile_or_whose_time_is_over_does_not_go_on() {
    let mut world = World::new();
    world.granted(by_secret("hmac", "s3cret"), "session:desk");
    let text = world.authority.sessions();
    let mut changed = World::new();
    let with_more = keys().into_iter().map(|key| Credential { publish: Patterns::new(["more.*"]), ..key });
    changed.authority.replace(Arc::new(Keyring::new(with_more).unwrap()));
    assert_eq!(changed.authority.restore(&text, changed.now), Ok(0));
    let mut late = World::new();
    assert_eq!(late.authority.restore(&text, late.now.plus_ns(605_000 * 1_000_000_000)), Ok(0));
}

#[test]
fn a_damaged_text_of_sessions_is_taken_for_none() {
    let mut world = World::new();
    world.granted(by_secret("hmac", "s3cret"), "session:desk");
    let text = world.authority.sessions();
    assert_eq!(world.authority.restore("tickring sessions 1\n", world.now), Ok(0));
    for (damaged, line) in [
        (String::new(), 1),
        ("tickring sessions 2\n".to_owned(), 1),
        (text.trim_end().to_owned(), 1),
        (format!("{text}{}", &text[text.find('\n').unwrap() + 1..].replace(" desk ", " ")), 3),
        (text.replace(" desk 0 ", " desk 4294967295 "), 2),
        (text.replace(" desk 0 ", " desk x "), 2),
    ] {
        assert_eq!(world.authority.restore(&damaged, world.now), Err(line), "{damaged}");
    }
}
