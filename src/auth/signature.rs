//! HMAC-SHA-256 over what a client signs, digests, and comparisons whose time tells nothing. PURE.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};

/// What an HMAC-SHA-256 or a SHA-256 gives.
pub(super) type Digest = [u8; 32];

/// The HMAC over `timestamp\nnonce\ndata`, as Deribit defines its `client_signature`.
pub(super) fn client_signature(secret: &[u8], timestamp_ms: u64, nonce: &str, data: &str) -> Digest {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    context.update(itoa::Buffer::new().format(timestamp_ms).as_bytes());
    for part in [nonce, data] {
        context.update(b"\n");
        context.update(part.as_bytes());
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.sign().as_ref());
    digest
}

pub(super) fn sha256(bytes: &[u8]) -> Digest {
    let mut digest = [0; 32];
    digest.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    digest
}

/// What is kept of a bearer key: of its text `CLIENT_ID.SECRET`.
#[must_use]
pub fn bearer_digest(client_id: &str, secret: &str) -> [u8; 32] {
    sha256(format!("{client_id}.{secret}").as_bytes())
}

/// Takes as long wherever the two differ. Their lengths are no secret.
pub(super) fn are_equal(a: &[u8], b: &[u8]) -> bool {
    verify_slices_are_equal(a, b).is_ok()
}

/// Two lower-case digits for each byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit =
        |nibble: u8| char::from_digit(u32::from(nibble), 16).expect("invariant: four bits are one digit");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Bytes from as many pairs of digits, in either case.
#[must_use]
pub fn from_hex<const COUNT: usize>(text: &str) -> Option<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    if text.len() != 2 * COUNT {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(0)? << 4 | digit(1)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_deribit_documents() {
        let check = |secret: &str, timestamp_ms: u64, nonce: &str, data: &str, expected: &str| {
            let signed = client_signature(secret.as_bytes(), timestamp_ms, nonce, data);
            assert_eq!(hex(&signed), expected);
        };
        // The example of Deribit's documentation.
        let documented = "56590594f97921b09b18f166befe0d1319b198bbcdad7ca73382de2f88fe9aa1";
        check("AMANDASECRECT", 1_576_074_319_000, "1iqt2wls", "", documented);
        // By `printf '1576074319000\nx\ny z' | openssl dgst -sha256 -hmac key`.
        let made = "5f2a1ddf429d4673bceeb1f877edac45513056e0e35b14c08ccd9ee4614b9171";
        check("key", 1_576_074_319_000, "x", "y z", made);
    }

    #[test]
    fn hashes_and_authenticates_as_the_standards_do() {
        // RFC 4231, test case 2.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        let tag = hmac::sign(&key, b"what do ya want for nothing?");
        assert_eq!(hex(tag.as_ref()), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        // FIPS 180-4's one-block example.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&sha256(b"abc")), expected);
    }

    #[test]
    fn reads_what_it_writes_in_hexadecimal_and_nothing_else() {
        assert_eq!(from_hex::<3>(&hex(&[0, 0xab, 0xff])), Some([0, 0xab, 0xff]));
        assert_eq!(from_hex::<2>("aBCd"), Some([0xab, 0xcd]));
        for odd in ["abc", "abcde", "ab d", "zz00", "é0a", ""] {
            assert_eq!(from_hex::<2>(odd), None, "{odd}");
        }
    }

    #[test]
    fn equal_is_equal_in_every_byte() {
        let a = [7; 32];
        assert!(are_equal(&a, &a) && !are_equal(&a, &a[..31]));
        for at in 0..32 {
            let mut b = a;
            b[at] ^= 1;
            assert!(!are_equal(&a, &b));
        }
    }
}
