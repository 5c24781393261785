//! JSON Web Tokens (RFC 7519) of issuers that the operator trusts: compact, signed by HS256, RS256 or EdDSA. PURE.
//!
//! Invariants: the algorithm is the issuer's, whatever a token's header says, so that no public key is taken for an HMAC's;
//! nothing of a token is granted before its signature holds, and what its claims refuse anyhow costs no signature's check; a
//! header with `crit` is refused (RFC 7515 §4.1.11). Texts are at most `limits::PROOF_BYTES_MAX` bytes, of which a token asks
//! at most `limits::ISSUER_KEYS_MAX` checks.

use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::credential::{Credential, Key, Reach, Secret, is_id};
use super::pattern::Patterns;
use super::scope::{Scope, Scopes};

/// By what an issuer's tokens are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenKey {
    Hs256(Secret),
    /// A public key in DER.
    Rs256(Box<[u8]>),
    /// A public key in DER.
    EdDsa(Box<[u8]>),
}

/// Who signs tokens, and the most that they may allow. Several of one name are its keys while it changes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// `iss`.
    pub name: Box<str>,
    /// What `aud` must have among it.
    pub audience: Box<str>,
    pub key: TokenKey,
    /// Which accounts `sub` may name.
    pub accounts: Patterns,
    /// Those of them that are not taken; at most `limits::DENIED_PER_ISSUER_MAX`.
    pub denied: Box<[Box<str>]>,
    pub scopes: Scopes,
    /// What a token has that names no `scope`.
    pub default_scopes: Scopes,
    pub subscribe: Patterns,
    pub publish: Patterns,
    pub call: Patterns,
    /// How long a log-in lasts at most, and how old its token may become.
    pub max_lifetime_s: Option<u32>,
}

/// A token whose signature is not checked yet.
pub(super) struct Token<'t> {
    /// What the signature is over.
    signed: &'t str,
    signature: Vec<u8>,
    header: Header,
    claims: Claims,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    /// Whole seconds since 1970, as `nbf` and `iat`.
    exp: u64,
    #[serde(default)]
    nbf: Option<u64>,
    #[serde(default)]
    iat: Option<u64>,
    #[serde(default)]
    scope: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl TokenKey {
    /// # Errors
    /// What is wrong with it: the algorithm is none of `HS256`, `RS256`, `EdDSA`, or the key is not one of its kind. An
    /// HMAC's key is text of at least 32 bytes (RFC 7518 §3.2), a public key is `PUBLIC KEY` in PEM.
    pub fn new(algorithm: &str, key: &str) -> Result<TokenKey, &'static str> {
        match algorithm {
            "HS256" if key.len() < 32 => Err("the key of HS256 has fewer than 32 bytes"),
            "HS256" => Ok(TokenKey::Hs256(Secret::new(key.as_bytes()))),
            "RS256" => public_key(key, &RSA_PKCS1_2048_8192_SHA256)
                .map(TokenKey::Rs256)
                .ok_or("the key of RS256 is no RSA public key of 2048 to 8192 bits in PEM"),
            "EdDSA" => public_key(key, &ED25519)
                .map(TokenKey::EdDsa)
                .ok_or("the key of EdDSA is no Ed25519 public key in PEM"),
            _ => Err("alg is none of HS256, RS256, EdDSA"),
        }
    }

    const fn algorithm(&self) -> &'static str {
        match self {
            TokenKey::Hs256(_) => "HS256",
            TokenKey::Rs256(_) => "RS256",
            TokenKey::EdDsa(_) => "EdDSA",
        }
    }

    /// Whether a signature over `signed` is by it.
    fn has_signed(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            TokenKey::Hs256(secret) => {
                hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret.bytes()), signed, signature).is_ok()
            }
            TokenKey::Rs256(key) => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(signed, signature).is_ok()
            }
            TokenKey::EdDsa(key) => UnparsedPublicKey::new(&ED25519, key).verify(signed, signature).is_ok(),
        }
    }
}

impl Issuer {
    /// Until when a token would be taken if its signature held; none where its header or its claims refuse it. Its clock may
    /// be ahead by `leeway_ms`.
    pub(super) fn would_take(&self, token: &Token<'_>, now_ms: u64, leeway_ms: u64) -> Option<u64> {
        let Header { alg, crit } = &token.header;
        let Claims { iss, sub, aud, exp, nbf, iat, scope: _ } = &token.claims;
        let is_for_us = match aud {
            Audience::One(audience) => **audience == *self.audience,
            Audience::Several(list) => list.iter().any(|audience| **audience == *self.audience),
        };
        let is_ours = **iss == *self.name && *alg == self.key.algorithm() && crit.is_none() && is_for_us;
        let is_account = is_id(sub) && self.accounts.allow(sub) && !self.denies(sub);
        let has_begun = nbf.unwrap_or(0).saturating_mul(1000) <= now_ms.saturating_add(leeway_ms);
        let until_ms = match self.max_lifetime_s {
            Some(seconds) => {
                let made_s = iat.unwrap_or(u64::MAX);
                let last_ms =
                    now_ms.min(made_s.saturating_mul(1000)).saturating_add(u64::from(seconds) * 1000);
                exp.saturating_mul(1000).min(last_ms)
            }
            None => exp.saturating_mul(1000),
        };
        (is_ours && is_account && has_begun && now_ms < until_ms).then_some(until_ms)
    }

    pub(super) fn has_signed(&self, token: &Token<'_>) -> bool {
        self.key.has_signed(token.signed.as_bytes(), &token.signature)
    }

    /// What a token that it has signed allows.
    pub(super) fn credential(
        self: &Arc<Issuer>,
        token: &Token<'_>,
        now_ms: u64,
        until_ms: u64,
    ) -> Credential {
        let Claims { sub, scope, .. } = &token.claims;
        let scopes = scope.as_deref().map_or(self.default_scopes, named).within(self.scopes);
        Credential {
            client_id: sub.as_str().into(),
            account: sub.as_str().into(),
            name: self.name.clone(),
            key: Key::Issued(Arc::clone(self)),
            scopes,
            subscribe: self.subscribe.clone(),
            publish: self.publish.clone(),
            call: self.call.clone(),
            created_unix_ms: now_ms,
            expires_unix_ms: Some(until_ms),
            reach: Reach::Anywhere,
        }
    }

    /// Whether what another one has issued to `account` would be the same by this one. To deny one account changes nothing
    /// for the others.
    pub(super) fn upholds(&self, other: &Issuer, account: &str) -> bool {
        let Issuer { name, audience, key, accounts, denied: _, scopes, default_scopes, .. } = self;
        let Issuer { subscribe, publish, call, max_lifetime_s, .. } = self;
        *name == other.name
            && *audience == other.audience
            && *key == other.key
            && *accounts == other.accounts
            && *scopes == other.scopes
            && *default_scopes == other.default_scopes
            && *subscribe == other.subscribe
            && *publish == other.publish
            && *call == other.call
            && *max_lifetime_s == other.max_lifetime_s
            && !self.denies(account)
    }

    fn denies(&self, account: &str) -> bool {
        self.denied.iter().any(|denied| **denied == *account)
    }
}

impl<'t> Token<'t> {
    /// `HEADER.CLAIMS.SIGNATURE`, each in base64url without padding.
    pub(super) fn parse(text: &'t str) -> Option<Token<'t>> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decoded = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).ok();
        Some(Token {
            signed,
            signature: decoded(signature)?,
            header: serde_json::from_slice(&decoded(header)?).ok()?,
            claims: serde_json::from_slice(&decoded(claims)?).ok()?,
        })
    }

    /// Who says that it has signed it.
    pub(super) fn issuer(&self) -> &str {
        &self.claims.iss
    }
}

/// The scopes among words of which others may mean something elsewhere; what is not named is not granted.
fn named(words: &str) -> Scopes {
    let known = |word: &&str| Scope::ALL.iter().any(|scope| scope.as_str() == *word);
    Scopes::parse(words.split_ascii_whitespace().filter(known)).unwrap_or_default()
}

/// The DER within a PEM text (RFC 7468), if it is a key of this algorithm.
fn public_key(pem: &str, algorithm: &'static dyn VerificationAlgorithm) -> Option<Box<[u8]>> {
    let body = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?;
    let body = body.strip_suffix("-----END PUBLIC KEY-----")?;
    let digits: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let der = BASE64.decode(&digits).ok()?;
    ParsedPublicKey::new(algorithm, &der).ok().map(|_| der.into_boxed_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Vec<u8> {
        BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()
    }

    /// Whether the compact form is signed by a key, and with one bit of it changed is not.
    fn check(key: &TokenKey, token: &str) {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let mut signature = decoded(signature);
        assert!(key.has_signed(signed.as_bytes(), &signature));
        assert!(!key.has_signed(&signed.as_bytes()[1..], &signature));
        signature[20] ^= 1;
        assert!(!key.has_signed(signed.as_bytes(), &signature));
    }

    /// A DER item, of up to 127 bytes or of 256 and more.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        let head = if high == 0 { vec![tag, low] } else { vec![tag, 0x82, high, low] };
        [&head, content].concat()
    }

    const RFC_7515_A1_KEY: &str =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    const RFC_7515_A1: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const RFC_7515_A2_MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPM\
        EzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-\
        KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkML\
        s91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    const RFC_7515_A2: &str = "eyJhbGciOiJSUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dn\
        ZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-\
        eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    const RFC_8037_A4_KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const RFC_8037_A4: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
        hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    #[test]
    fn takes_the_examples_of_the_standards() {
        check(&TokenKey::Hs256(Secret::new(&decoded(RFC_7515_A1_KEY))), RFC_7515_A1);
        let modulus = [&[0], &decoded(RFC_7515_A2_MODULUS)[..]].concat();
        let exponent = der(2, &decoded("AQAB"));
        check(&TokenKey::Rs256(der(0x30, &[der(2, &modulus), exponent].concat()).into()), RFC_7515_A2);
        check(&TokenKey::EdDsa(decoded(RFC_8037_A4_KEY).into()), RFC_8037_A4);
    }

    #[test]
    fn a_public_key_is_read_from_pem_and_is_of_its_algorithm() {
        let spki = [&decoded("MCowBQYDK2VwAyEA")[..], &decoded(RFC_8037_A4_KEY)].concat();
        let pem = |label: &str, der: &[u8]| {
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(der))
        };
        let key = TokenKey::new("EdDSA", &pem("PUBLIC KEY", &spki)).unwrap();
        check(&key, RFC_8037_A4);
        for (algorithm, text) in [
            ("EdDSA", pem("PRIVATE KEY", &spki)),
            ("EdDSA", pem("PUBLIC KEY", &spki[1..])),
            ("EdDSA", "x".to_owned()),
            ("RS256", pem("PUBLIC KEY", &spki)),
            ("HS256", "x".repeat(31)),
            ("none", String::new()),
        ] {
            assert!(TokenKey::new(algorithm, &text).is_err(), "{algorithm} {text}");
        }
        assert!(TokenKey::new("HS256", &"x".repeat(32)).is_ok());
    }

    #[test]
    fn damaged_tokens_are_none() {
        let whole = |text: &str| Token::parse(text).is_some();
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let header = part(r#"{"alg":"HS256"}"#);
        let claims = part(r#"{"iss":"i","sub":"s","aud":"a","exp":1}"#);
        assert!(whole(&format!("{header}.{claims}.")));
        for text in [
            "..".to_owned(),
            format!("{header}.{claims}"),
            format!("{header}.{claims}.a"),
            format!("{header}.{claims}.===="),
            format!("{header}={claims}."),
            format!("{}.{claims}.", part("{}")),
            format!("{}.{claims}.", part(r#"{"alg":"HS256","alg":"HS256"}"#)),
            format!("{header}.{}.", part(r#"{"iss":"i","sub":"s","aud":"a"}"#)),
            format!("{header}.{}.", part(r#"{"iss":"i","sub":"s","aud":"a","exp":-1}"#)),
            format!("{header}.{}.", part(r#"{"iss":"i","sub":"s","aud":{},"exp":1}"#)),
            RFC_7515_A1.to_owned(),
        ] {
            assert!(!whole(&text), "{text}");
        }
    }
}
