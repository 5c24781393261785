//! What `public/auth` takes, what methods need, what a log-in is answered.

use serde_json::json;

use super::Value;
use crate::auth::{
    Credential, GrantId, Key, Level, Login, Patterns, Reach, Refusal, Scope, Scopes, Secret, Tokens,
};
use crate::dialect::json_rpc::{
    self, Access, Failure, GrantType, Incoming, Method, SessionTokens, decode, refusal,
};

fn request(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}

fn access(method: &str) -> Access {
    let text = request(method, &json!({}));
    let Incoming::Single(parsed) = decode(text.as_bytes()) else { panic!("{text}") };
    parsed.access
}

/// What is wrong with the parameters of a `public/auth`.
fn fault(params: Value) -> (Option<&'static str>, Option<&'static str>) {
    let text = request("public/auth", &params);
    let Incoming::Single(parsed) = decode(text.as_bytes()) else { panic!("{text}") };
    let failure = parsed.call.unwrap_err();
    assert_eq!(failure.code, -32602, "{params}");
    (failure.param, failure.reason)
}

#[test]
fn takes_the_grants_of_deribit() {
    let hex = "56590594f97921b09b18f166befe0d1319b198bbcdad7ca73382de2f88fe9aa1";
    let text = request(
        "public/auth",
        &json!({"grant_type": "client_signature", "client_id": "k", "timestamp": 1_576_074_319_000_u64,
            "signature": hex, "nonce": "1iqt2wls", "data": "", "scope": "trade:read session:x", "state": "é"}),
    );
    let Incoming::Single(parsed) = decode(text.as_bytes()) else { panic!() };
    let Ok(Method::Auth(params)) = parsed.call else { panic!("{:?}", parsed.call) };
    assert_eq!(params.state.as_deref(), Some("é"));
    assert_eq!(params.scope.session.as_deref(), Some("x"));
    let GrantType::ClientSignature { client_id, timestamp_ms, nonce, data, signature } = params.grant else {
        panic!()
    };
    assert_eq!((&*client_id, timestamp_ms, &*nonce, &*data), ("k", 1_576_074_319_000, "1iqt2wls", ""));
    assert_eq!((signature[0], signature[31]), (0x56, 0xa1));
    let grant = |params: Value| {
        let text = request("public/auth", &params);
        let Incoming::Single(parsed) = decode(text.as_bytes()) else { panic!("{text}") };
        let Ok(Method::Auth(params)) = parsed.call else { panic!("{:?}", parsed.call) };
        format!("{params:?}")
    };
    let shown =
        grant(json!({"grant_type": "client_credentials", "client_id": "a", "client_secret": "hidden"}));
    assert!(shown.contains("ClientCredentials(\"a\")") && !shown.contains("hidden"), "{shown}");
    let shown = grant(json!({"grant_type": "refresh_token", "refresh_token": "hidden"}));
    assert!(shown.contains("RefreshToken") && !shown.contains("hidden"), "{shown}");
}

#[test]
fn says_which_parameter_is_at_fault() {
    let required = Some("value required");
    assert_eq!(fault(json!({})), (Some("grant_type"), required));
    let choices = Some("must be one of client_credentials, client_signature, refresh_token");
    assert_eq!(fault(json!({"grant_type": "password"})), (Some("grant_type"), choices));
    assert_eq!(fault(json!({"grant_type": "client_credentials"})), (Some("client_id"), required));
    let half = json!({"grant_type": "client_credentials", "client_id": "a"});
    assert_eq!(fault(half), (Some("client_secret"), required));
    assert_eq!(fault(json!({"grant_type": "refresh_token"})), (Some("refresh_token"), required));
    let mut signed =
        json!({"grant_type": "client_signature", "client_id": "a", "timestamp": 1, "signature": "0"});
    assert_eq!(fault(signed.clone()), (Some("signature"), Some("wrong format")));
    signed["timestamp"] = json!("1");
    assert_eq!(fault(signed.clone()), (Some("timestamp"), Some("wrong format")));
    signed["timestamp"] = Value::Null;
    signed["signature"] = json!("0".repeat(64));
    assert_eq!(fault(signed), (Some("timestamp"), required));
    let good = json!({"grant_type": "refresh_token", "refresh_token": "x"});
    for (member, value, reason) in [
        ("refresh_token", json!("x".repeat(4097)), "more than 4096 bytes"),
        ("scope", json!("trade:write"), "wrong format"),
        ("state", json!("x".repeat(513)), "more than 512 bytes"),
        ("state", json!(1), "wrong format"),
    ] {
        let mut params = good.clone();
        params[member] = value;
        assert_eq!(fault(params), (Some(member), Some(reason)));
    }
}

#[test]
fn a_private_method_is_for_those_who_have_logged_in_and_have_its_scope() {
    assert_eq!(access("public/test"), Access::Everybody);
    assert_eq!(access("public/auth"), Access::Everybody);
    assert_eq!(access("topic/publish"), Access::Everybody);
    assert_eq!(access("private/subscribe"), Access::LoggedIn);
    assert_eq!(access("private/whatever_comes"), Access::LoggedIn);
    assert_eq!(access("private/list_api_keys"), Access::Scoped(Scope::AccountRead));
    let scopes = Scopes { account: Level::Read, ..Scopes::default() };
    for (access, scopes, expected) in [
        (Access::Everybody, None, None),
        (Access::LoggedIn, None, Some((13009, "log in first: public/auth"))),
        (Access::LoggedIn, Some(Scopes::default()), None),
        (Access::Scoped(Scope::AccountRead), None, Some((13009, "log in first: public/auth"))),
        (Access::Scoped(Scope::AccountRead), Some(scopes), None),
        (Access::Scoped(Scope::TradeRead), Some(scopes), Some((13021, "needs scope trade:read"))),
    ] {
        let failure = access.refused_to(scopes);
        assert_eq!(failure.map(|told| (told.code, told.reason.unwrap())), expected, "{access:?} {scopes:?}");
    }
}

#[test]
fn logging_out_ends_the_tokens_unless_it_says_otherwise() {
    for (params, expected) in [
        (json!({}), SessionTokens::Invalidated),
        (json!({"invalidate_token": true}), SessionTokens::Invalidated),
        (json!({"invalidate_token": false}), SessionTokens::Kept),
    ] {
        let text = request("private/logout", &params);
        let Incoming::Single(parsed) = decode(text.as_bytes()) else { panic!() };
        assert_eq!(parsed.call, Ok(Method::Logout { tokens: expected }));
    }
}

fn credential() -> Credential {
    Credential {
        client_id: "k1".into(),
        account: "desk".into(),
        name: "say \"hi\"".into(),
        key: Key::Secret(Secret::new(b"hidden")),
        scopes: Scopes::ALL,
        subscribe: Patterns::ANY,
        publish: Patterns::new(["a.*", "b"]),
        call: Patterns::ANY,
        created_unix_ms: 5,
        expires_unix_ms: None,
        reach: Reach::Anywhere,
    }
}

#[test]
fn a_grant_is_told_in_deribits_members() {
    let mut login = Login {
        credential: std::sync::Arc::new(credential()),
        account: crate::model::order::AccountId(0),
        scopes: Scopes::ALL,
        session: None,
        grant: Some(GrantId { slot: 0, generation: 1 }),
        expires_unix_ms: 9,
    };
    let tokens = Tokens { access: "a.0.1.ff".to_owned(), refresh: "r.0.1.ee".to_owned(), expires_in_s: 900 };
    let told = |login: &Login, state: Option<&str>| -> Value {
        let mut out = Vec::new();
        json_rpc::write_granted(&mut out, login, &tokens, state);
        serde_json::from_slice(&out).unwrap()
    };
    assert_eq!(
        told(&login, Some("x\"y")),
        json!({"access_token": "a.0.1.ff", "enabled_features": [], "expires_in": 900, "refresh_token": "r.0.1.ee",
            "scope": "account:read_write trade:read_write message:read_write backend:read_write connection", "state": "x\"y", "token_type": "bearer"})
    );
    login.session = Some("desk_1".into());
    login.scopes = Scopes::default();
    let told = told(&login, None);
    assert_eq!((&told["scope"], &told["sid"]), (&json!("session:desk_1"), &json!("desk_1")));
    assert!(told.get("state").is_none());
}

#[test]
fn keys_are_listed_without_their_secrets() {
    let (key, old) = (credential(), Credential { expires_unix_ms: Some(7), ..credential() });
    let mut out = Vec::new();
    json_rpc::write_keys(&mut out, [&key, &old].into_iter(), 7);
    assert!(!String::from_utf8_lossy(&out).contains("hidden"));
    let told: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(
        told[0],
        json!({"id": 1, "client_id": "k1", "name": "say \"hi\"", "account": "desk", "enabled": true, "default": false,
            "enabled_features": [], "max_scope": "account:read_write trade:read_write message:read_write backend:read_write", "timestamp": 5,
            "expires_at": null, "subscribe": ["*"], "publish": ["a.*", "b"], "call": ["*"]})
    );
    assert_eq!(
        (&told[1]["id"], &told[1]["enabled"], &told[1]["expires_at"]),
        (&json!(2), &json!(false), &json!(7))
    );
}

#[test]
fn each_refusal_has_a_code_of_deribit() {
    let codes: Vec<i32> = Refusal::ALL.into_iter().map(|why| refusal(why).code).collect();
    let of_a_cluster = [13028, 20001];
    let expected = [13004, 13004, 13004, 13004, 13004, 13009, 13009, 10028, 10028, 13021, 10040];
    assert_eq!(codes, [&expected[..], &of_a_cluster].concat());
    assert_eq!(refusal(Refusal::Credentials), Failure::INVALID_CREDENTIALS, "no more than that it is wrong");
}
