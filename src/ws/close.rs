//! Closing: status codes (RFC 6455 §7.4) and the payload of a close frame (§5.5.1).
//!
//! PURE. Allocates: never. Invariants: a `CloseCode` is one that may stand in a close frame; a close payload has at
//! most 125 bytes and its reason is UTF-8.

use std::borrow::Cow;

use super::{Fault, utf8};

/// A close frame's payload in bytes (RFC 6455 §5.5: a control frame's).
pub const PAYLOAD_BYTES_MAX: usize = 125;
/// A close reason in bytes: what the code leaves of the payload.
pub const REASON_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - 2;

/// A status code that may be sent in a close frame.
///
/// Its own type, because 1014 is assigned, though not in `tungstenite`'s enum, and 1005, 1006 and 1015 (which mean
/// that nothing was sent) do not exist here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

/// A close frame that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseFrame<'b> {
    /// `None`: the frame had no payload; it is answered with an empty one.
    pub code: Option<CloseCode>,
    /// For people and logs, not for programs; may be empty.
    pub reason: Cow<'b, str>,
}

impl CloseCode {
    /// 1000: the purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server goes down, or the page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke RFC 6455.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that is not accepted here, as binary where only text is.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1007: the payload does not fit the message's type, as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: the message breaks a policy; for what no other code says.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: the message is too big to be processed.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1011: the server met a condition it did not expect.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012 (IANA): the server restarts; reconnect after a random delay.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013 (IANA): the server is overloaded; connect elsewhere or later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// A code of the application's own, 4000 to 4999 (RFC 6455 §7.4.2).
    pub const fn private(value: u16) -> Self {
        assert!(value >= 4000 && value <= 4999, "private close codes are 4000 to 4999");
        Self(value)
    }

    /// The code with this number, if a peer may send it (RFC 6455 §7.4, and 1012 to 1014 as IANA assigned them).
    pub const fn received(value: u16) -> Option<Self> {
        match value {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(value)),
            _ => None,
        }
    }

    /// The number.
    pub const fn value(self) -> u16 {
        self.0
    }
}

/// Reads the unmasked payload of a close frame.
pub fn parse_payload(payload: &[u8]) -> Result<CloseFrame<'_>, Fault> {
    match payload {
        [] => Ok(CloseFrame { code: None, reason: Cow::Borrowed("") }),
        [_] => Err(Fault::CloseTruncated),
        [high, low, reason @ ..] => {
            let code =
                CloseCode::received(u16::from_be_bytes([*high, *low])).ok_or(Fault::CloseCodeIllegal)?;
            let reason = utf8::validate(reason).map_err(|_| Fault::CloseReasonNotUtf8)?;
            Ok(CloseFrame { code: Some(code), reason: Cow::Borrowed(reason) })
        }
    }
}

/// Writes the payload of a close frame to the front of `out`; gives its length.
/// A reason of more than [`REASON_BYTES_MAX`] bytes is cut at the last character that fits.
pub fn write_payload(out: &mut [u8; PAYLOAD_BYTES_MAX], code: CloseCode, reason: &str) -> usize {
    let reason = &reason.as_bytes()[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    out[..2].copy_from_slice(&code.value().to_be_bytes());
    out[2..2 + reason.len()].copy_from_slice(reason);
    2 + reason.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receives_the_assigned_codes_only() {
        for legal in
            [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
        {
            assert_eq!(CloseCode::received(legal).map(CloseCode::value), Some(legal));
        }
        for illegal in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert_eq!(CloseCode::received(illegal), None, "{illegal}");
        }
    }

    #[test]
    fn agrees_with_tungstenite_on_every_code_but_1014() {
        use tungstenite::protocol::frame::coding::CloseCode as Oracle;
        for value in (0..=u16::MAX).filter(|value| *value != 1014) {
            assert_eq!(CloseCode::received(value).is_some(), Oracle::from(value).is_allowed(), "{value}");
        }
    }

    #[test]
    fn parses_what_it_writes() {
        let mut out = [0; PAYLOAD_BYTES_MAX];
        for reason in ["", "going down", "übermorgen", &"x".repeat(REASON_BYTES_MAX)] {
            let length = write_payload(&mut out, CloseCode::GOING_AWAY, reason);
            let frame = parse_payload(&out[..length]).unwrap();
            assert_eq!(frame, CloseFrame { code: Some(CloseCode::GOING_AWAY), reason: reason.into() });
        }
    }

    #[test]
    fn cuts_a_long_reason_at_a_character() {
        let mut out = [0; PAYLOAD_BYTES_MAX];
        let length = write_payload(&mut out, CloseCode::NORMAL, &"é".repeat(100));
        assert_eq!(parse_payload(&out[..length]).unwrap().reason, "é".repeat(61));
    }

    #[test]
    fn refuses_bad_payloads() {
        assert_eq!(parse_payload(&[]), Ok(CloseFrame { code: None, reason: "".into() }));
        assert_eq!(parse_payload(&[3]), Err(Fault::CloseTruncated));
        assert_eq!(parse_payload(&[0x03, 0xed]), Err(Fault::CloseCodeIllegal));
        assert_eq!(parse_payload(&[0x03, 0xe8, 0xff]), Err(Fault::CloseReasonNotUtf8));
    }

    #[test]
    #[should_panic(expected = "4000 to 4999")]
    #[cfg(panic = "unwind")]
    fn a_private_code_outside_its_range_is_our_bug() {
        CloseCode::private(3999);
    }
}
