//! Tokens of a cluster's named sessions, which each node can tell of which session they are. PURE.
//!
//! Invariant: none is a token of a node's own, or a key's: `k` is no number in hexadecimal digits.

use super::super::grants::Kind;
use super::super::signature::{Digest, from_hex, hex, sha256};
use super::value::SessionKey;

const MARK: &str = "k";

/// A token's parts: of which key of the bucket, and that one has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::auth) struct SharedToken {
    pub(in crate::auth) key: SessionKey,
    /// Of a refresh token: what is the same in all of the session's.
    pub(in crate::auth) family: Option<Digest>,
    pub(in crate::auth) secret: Digest,
}

impl SharedToken {
    /// `a.k.KEY.SECRET` or `r.k.KEY.FAMILY.SECRET`, all but the first two in hexadecimal digits.
    pub(in crate::auth) fn parse(token: &str, kind: Kind) -> Option<SharedToken> {
        let mut parts = token.split('.');
        let is_of_kind = parts.next()?.chars().eq([kind.letter()]) && parts.next()? == MARK;
        let key = SessionKey::parse(parts.next()?)?;
        let family = match kind {
            Kind::Access => None,
            Kind::Refresh => Some(from_hex(parts.next()?)?),
        };
        let secret = parts.next()?;
        let is_whole = is_of_kind && parts.next().is_none();
        is_whole.then(|| SharedToken { key, family, secret: sha256(secret.as_bytes()) })
    }
}

/// The family of a session that begins with this chance: as hard to guess as its first refresh token's secret, and tells nothing of it.
pub(in crate::auth) fn family_of(random: &[[u8; 32]; 2]) -> Digest {
    sha256(&random[1])
}

/// An access and a refresh token, made of 32 random bytes each, and what is kept of them.
pub(in crate::auth) fn mint(
    key: SessionKey,
    family: &Digest,
    random: &[[u8; 32]; 2],
) -> ([String; 2], [Digest; 2]) {
    let [access, refresh] = random.each_ref().map(|bytes| hex(bytes));
    let digests = [sha256(access.as_bytes()), sha256(refresh.as_bytes())];
    let (letter, family) = (|kind: Kind| kind.letter(), hex(family));
    let access = format!("{}.{MARK}.{key}.{access}", letter(Kind::Access));
    let refresh = format!("{}.{MARK}.{key}.{family}.{refresh}", letter(Kind::Refresh));
    ([access, refresh], digests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_minted_is_read_and_what_is_damaged_is_not() {
        let key = SessionKey::of("hmac", "desk");
        let ([access, refresh], [of_access, of_refresh]) = mint(key, &[7; 32], &[[1; 32], [2; 32]]);
        let parsed = SharedToken { key, family: None, secret: of_access };
        assert_eq!(SharedToken::parse(&access, Kind::Access), Some(parsed));
        let parsed = SharedToken { key, family: Some([7; 32]), secret: of_refresh };
        assert_eq!(SharedToken::parse(&refresh, Kind::Refresh), Some(parsed));
        assert_eq!(access, format!("a.k.{key}.{}", "01".repeat(32)));
        for (text, kind) in [
            (access.as_str(), Kind::Refresh),
            (&refresh, Kind::Access),
            (&format!("{access}.x"), Kind::Access),
            (&access.replace(".k.", ".0."), Kind::Access),
            (&access.replace(".k.", ".k"), Kind::Access),
            (&refresh.replace("07", "0x"), Kind::Refresh),
            ("a.k", Kind::Access),
            ("", Kind::Refresh),
        ] {
            assert_eq!(SharedToken::parse(text, kind), None, "{text}");
        }
    }
}
