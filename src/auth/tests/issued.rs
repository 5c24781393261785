//! JSON Web Tokens: whose are taken, for whom, and for what.

use super::*;

pub(super) const ISSUERS_SECRET: &str = "a secret of an issuer, of 32 bytes or more";

pub(super) fn issuer(secret: &str) -> Issuer {
    Issuer {
        name: "https://login".into(),
        audience: "tickring".into(),
        key: TokenKey::new("HS256", secret).unwrap(),
        accounts: Patterns::new(["desk*"]),
        denied: ["desk9".into()].into(),
        scopes: Scopes::parse(["trade:read_write", "account:read"]).unwrap(),
        default_scopes: Scopes::default(),
        subscribe: Patterns::new(["ticker.*"]),
        publish: Patterns::none(),
        call: Patterns::ANY,
        max_lifetime_s: None,
    }
}

/// A token with claims that hold, but for those that are replaced.
pub(super) fn token(secret: &str, header: &str, changes: &[(&str, serde_json::Value)]) -> String {
    let mut claims = serde_json::json!({"iss": "https://login", "sub": "desk7", "aud": "tickring",
        "exp": START_MS / 1000 + 60, "jti": "not looked at"});
    for (member, value) in changes {
        claims[*member] = value.clone();
    }
    let part = |text: &str| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
    let signed = format!("{}.{}", part(header), part(&claims.to_string()));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", data_encoding::BASE64URL_NOPAD.encode(tag.as_ref()))
}

pub(super) const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// A world in which issuers are trusted as well.
fn world_of(issuers: impl IntoIterator<Item = Issuer>) -> World {
    let mut world = World::with(Settings { failures_per_minute_max: 0, ..Settings::default() });
    world.trust(issuers);
    world
}

#[test]
fn a_token_of_a_trusted_issuer_is_taken_for_what_it_says() {
    let mut world = world_of([issuer(ISSUERS_SECRET)]);
    let changes = [("aud", serde_json::json!(["other", "tickring"])), ("scope", "openid trade:read".into())];
    let verdict = world.judge(bearer(&token(ISSUERS_SECRET, HS256, &changes)), "");
    let Verdict::Granted { login, tokens: None } = verdict else { panic!("{verdict:?}") };
    assert_eq!((&*login.credential.account, login.grant), ("desk7", None));
    assert_eq!(login.scopes.words().collect::<Vec<_>>(), ["trade:read"], "what is not named is not granted");
    assert_eq!(login.expires_unix_ms, START_MS + 60_000);
    assert!(login.credential.subscribe.allow("ticker.X.raw") && !login.credential.subscribe.allow("quote.X"));
    let verdict = world.judge(
        bearer(&token(ISSUERS_SECRET, HS256, &[("scope", "trade:read account:read_write".into())])),
        "",
    );
    let Verdict::Granted { login, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!(
        login.scopes.words().collect::<Vec<_>>(),
        ["account:read", "trade:read"],
        "no more than its issuer's"
    );
    assert_eq!(world.refused(by_secret("desk7", ISSUERS_SECRET)), Some(Refusal::Credentials), "it is no key");
}

#[test]
fn an_account_has_one_number_however_its_log_ins_came_about() {
    let mut world = world_of([issuer(ISSUERS_SECRET)]);
    let mut number = |proof: Proof, scope: &str| match world.judge(proof, scope) {
        Verdict::Granted { login, tokens } => (login.account, tokens),
        Verdict::Refused(refusal) => panic!("{refusal:?}"),
    };
    let mut of_token = |account: &str| {
        let token = token(ISSUERS_SECRET, HS256, &[("sub", account.into())]);
        number(bearer(&token), "").0
    };
    let (seven, desk, eight) = (of_token("desk7"), of_token("desk"), of_token("desk8"));
    assert_eq!(of_token("desk7"), seven);
    assert!(seven != desk && desk != eight && seven != eight);
    assert_eq!(number(by_secret("hmac", "s3cret"), "").0, desk);
    assert_eq!(number(signed(START_MS, "n", ""), "").0, desk);
    let (account, tokens) = number(by_secret("bearer", "b3arer"), "session:s");
    let tokens = tokens.unwrap();
    assert_eq!(account, desk);
    assert_eq!(number(bearer(&tokens.access), "").0, desk);
    assert_eq!(number(refresh(&tokens.refresh), "").0, desk);
}

#[test]
fn a_token_that_is_not_whole_and_true_is_not_taken() {
    let mut world = world_of([issuer(ISSUERS_SECRET)]);
    let seconds = |from_now: u64| serde_json::json!(START_MS / 1000 + from_now);
    for (secret, header, changes, expected) in [
        (ISSUERS_SECRET, HS256, vec![], None),
        (ISSUERS_SECRET, HS256, vec![("nbf", seconds(60))], None),
        (ISSUERS_SECRET, HS256, vec![("nbf", seconds(61))], Some(Refusal::Token)),
        (ISSUERS_SECRET, HS256, vec![("exp", seconds(0))], Some(Refusal::Token)),
        (ISSUERS_SECRET, HS256, vec![("aud", "other".into())], Some(Refusal::Token)),
        (ISSUERS_SECRET, HS256, vec![("iss", "https://other".into())], Some(Refusal::Token)),
        (ISSUERS_SECRET, HS256, vec![("sub", "desk is no id".into())], Some(Refusal::Token)),
        (ISSUERS_SECRET, HS256, vec![("sub", "treasury".into())], Some(Refusal::Token)),
        (ISSUERS_SECRET, HS256, vec![("sub", "desk9".into())], Some(Refusal::Token)),
        ("another secret of thirty-two bytes", HS256, vec![], Some(Refusal::Token)),
        (ISSUERS_SECRET, r#"{"alg":"none"}"#, vec![], Some(Refusal::Token)),
        (ISSUERS_SECRET, r#"{"alg":"EdDSA"}"#, vec![], Some(Refusal::Token)),
        (ISSUERS_SECRET, r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, vec![], Some(Refusal::Token)),
    ] {
        assert_eq!(world.refused(bearer(&token(secret, header, &changes))), expected, "{header} {changes:?}");
    }
    let unsigned = token(ISSUERS_SECRET, r#"{"alg":"none"}"#, &[]);
    let (unsigned, _) = unsigned.rsplit_once('.').unwrap();
    assert_eq!(world.refused(bearer(&format!("{unsigned}."))), Some(Refusal::Token));
}

#[test]
fn a_token_without_a_scope_has_what_its_issuer_says_which_may_be_nothing() {
    let read = Scopes::parse(["trade:read"]).unwrap();
    for (default_scopes, expected) in [
        (Scopes::default(), vec![]),
        (read, vec!["trade:read"]),
        (Scopes::ALL, vec!["account:read", "trade:read_write"]),
    ] {
        let mut world = world_of([Issuer { default_scopes, ..issuer(ISSUERS_SECRET) }]);
        let verdict = world.judge(bearer(&token(ISSUERS_SECRET, HS256, &[])), "");
        let Verdict::Granted { login, .. } = verdict else { panic!("{verdict:?}") };
        assert_eq!(login.scopes.words().collect::<Vec<_>>(), expected);
        let unknown = token(ISSUERS_SECRET, HS256, &[("scope", "openid".into())]);
        let verdict = world.judge(bearer(&unknown), "");
        let Verdict::Granted { login, .. } = verdict else { panic!("{verdict:?}") };
        assert_eq!(login.scopes, Scopes::default(), "it names some, none of them ours");
    }
}

#[test]
fn a_log_in_by_a_token_lasts_no_longer_than_its_issuer_says() {
    let seconds = |from_now: i64| serde_json::json!(i64::try_from(START_MS / 1000).unwrap() + from_now);
    for (iat, exp, expected_s) in [
        (None, 60, Some(60)),
        (None, 1000, Some(100)),
        (Some(0), 1000, Some(100)),
        (Some(-40), 1000, Some(60)),
        (Some(40), 1000, Some(100)),
        (Some(-100), 1000, None),
    ] {
        let mut world = world_of([Issuer { max_lifetime_s: Some(100), ..issuer(ISSUERS_SECRET) }]);
        let mut changes = vec![("exp", seconds(exp))];
        changes.extend(iat.map(|iat| ("iat", seconds(iat))));
        let lasts_s = match world.judge(bearer(&token(ISSUERS_SECRET, HS256, &changes)), "") {
            Verdict::Granted { login, .. } => Some((login.expires_unix_ms - START_MS) / 1000),
            Verdict::Refused(refusal) => {
                assert_eq!(refusal, Refusal::Token);
                None
            }
        };
        assert_eq!(lasts_s, expected_s, "{changes:?}");
    }
}

#[test]
fn a_token_is_judged_by_the_issuer_that_is_for_its_audience() {
    let staging = Issuer { audience: "staging".into(), publish: Patterns::ANY, ..issuer(ISSUERS_SECRET) };
    let mut world = world_of([staging, issuer(ISSUERS_SECRET)]);
    let verdict = world.judge(bearer(&token(ISSUERS_SECRET, HS256, &[])), "");
    let Verdict::Granted { login, .. } = verdict else { panic!("{verdict:?}") };
    assert!(!login.credential.publish.allow("x"));
}

#[test]
fn denying_an_account_ends_what_its_issuer_has_granted_to_it_and_to_nobody_else() {
    let mut world = world_of([issuer(ISSUERS_SECRET)]);
    let [seven, eight] = ["desk7", "desk8"].map(|sub| {
        let verdict = world.judge(bearer(&token(ISSUERS_SECRET, HS256, &[("sub", sub.into())])), "");
        let Verdict::Granted { login, .. } = verdict else { panic!("{verdict:?}") };
        login.credential
    });
    let ring = |issuer: Issuer| Keyring::default().with_issuers([issuer]).unwrap();
    let denying = ring(Issuer { denied: ["desk7".into()].into(), ..issuer(ISSUERS_SECRET) });
    assert!(!denying.holds(&seven) && denying.holds(&eight));
    let narrower = ring(Issuer { accounts: Patterns::new(["desk8"]), ..issuer(ISSUERS_SECRET) });
    assert!(!narrower.holds(&eight), "changed in any other way it is another issuer");
}

#[test]
fn a_public_key_is_no_secret_to_sign_by() {
    let pem = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
    let public = Issuer { key: TokenKey::new("EdDSA", pem).unwrap(), ..issuer(ISSUERS_SECRET) };
    let mut world = world_of([public]);
    assert_eq!(world.refused(bearer(&token(pem, HS256, &[]))), Some(Refusal::Token));
    assert_eq!(world.refused(bearer(&token(pem, r#"{"alg":"EdDSA"}"#, &[]))), Some(Refusal::Token));
}

#[test]
fn an_issuer_may_have_two_keys_and_what_it_issued_holds_as_long_as_its_key() {
    let later = "the next secret of the issuer, also long enough";
    let mut world = world_of([issuer(ISSUERS_SECRET), issuer(later)]);
    let mut logins = Vec::new();
    for secret in [ISSUERS_SECRET, later] {
        let verdict = world.judge(bearer(&token(secret, HS256, &[])), "");
        let Verdict::Granted { login, .. } = verdict else { panic!("{verdict:?}") };
        logins.push(login);
    }
    let ring = Keyring::new(keys()).unwrap().with_issuers([issuer(later)]).unwrap();
    assert!(!ring.holds(&logins[0].credential) && ring.holds(&logins[1].credential));
    world.authority.replace(Arc::new(ring));
    assert_eq!(world.refused(bearer(&token(ISSUERS_SECRET, HS256, &[]))), Some(Refusal::Token));
    assert_eq!(world.refused(bearer(&token(later, HS256, &[]))), None);
    let many = (0..=crate::limits::ISSUERS_MAX).map(|_| issuer(later));
    assert_eq!(Keyring::default().with_issuers(many), Err(KeyringFault::TooManyIssuers));
    let keys = (0..=crate::limits::ISSUER_KEYS_MAX).map(|_| issuer(later));
    let fault = KeyringFault::TooManyIssuerKeys("https://login".to_owned());
    assert_eq!(Keyring::default().with_issuers(keys), Err(fault));
}
