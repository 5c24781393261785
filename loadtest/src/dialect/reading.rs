//! What a server's message is: deliveries, a reply, an error, or nothing that counts. PURE.
//! Invariant: a key without its number is no delivery; nothing here allocates for a message that counts.

use memchr::memmem::{self, Finder};

use crate::dialect::frame_text::{STAMP_BASE, STREAM_BASE, STREAM_FIRST, request_number};
use crate::dialect::{Dialect, Exchange};
use crate::wire;

/// A published message that a subscriber was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) intended_ns: u64,
    pub(crate) stream: u32,
    pub(crate) sequence: u64,
}

/// Reads the messages of one dialect.
pub(crate) struct Reader {
    stamp: Finder<'static>,
    sequence: Finder<'static>,
    error: Option<Finder<'static>>,
    error_code: String,
}

/// Knows the replies of one kind of request.
pub(crate) struct Replies {
    expect: Finder<'static>,
    reply_id: Option<Finder<'static>>,
}

/// What of a message is a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    None,
    /// To the request of this number.
    To(u64),
    /// To so many requests, oldest first.
    InOrder(usize),
}

impl Reader {
    pub(crate) fn new(dialect: &Dialect) -> Reader {
        Reader {
            stamp: Finder::new(dialect.delivery.stamp.as_bytes()).into_owned(),
            sequence: Finder::new(dialect.delivery.sequence.as_bytes()).into_owned(),
            error: finder(&dialect.error),
            error_code: dialect.error_code.clone(),
        }
    }

    /// Every delivery in a message, of which one frame may hold several; returns how many there were.
    pub(crate) fn deliveries(&self, message: &[u8], mut tell: impl FnMut(Told)) -> usize {
        let mut count = 0;
        let mut rest = message;
        while let Some(at) = self.stamp.find(rest) {
            rest = &rest[at + self.stamp.needle().len()..];
            let stamp = wire::number(rest).and_then(|number| number.checked_sub(STAMP_BASE));
            let number =
                self.sequence.find(rest).and_then(|at| rest.get(at + self.sequence.needle().len()..));
            let number = number.and_then(wire::number);
            let (Some(intended_ns), Some(number)) = (stamp, number) else { continue };
            let stream =
                (number / STREAM_BASE).checked_sub(STREAM_FIRST).and_then(|stream| stream.try_into().ok());
            let Some(stream) = stream else { continue };
            tell(Told { intended_ns, stream, sequence: number % STREAM_BASE });
            count += 1;
        }
        count
    }

    /// What an error's message is counted as, or `None` for any other message.
    pub(crate) fn error(&self, message: &[u8]) -> Option<String> {
        self.error.as_ref()?.find(message)?;
        let is_coded = !self.error_code.is_empty();
        let at = if is_coded { memmem::find(message, self.error_code.as_bytes()) } else { None };
        let code = at.and_then(|at| message.get(at + self.error_code.len()..)).unwrap_or_default();
        let code: String = code
            .iter()
            .take_while(|byte| matches!(byte, b'0'..=b'9' | b'-'))
            .map(|byte| char::from(*byte))
            .collect();
        Some(format!("error reply {code}").trim_end().to_owned())
    }
}

impl Replies {
    /// None where the exchange has no reply to be known by.
    pub(crate) fn new(exchange: &Exchange) -> Option<Replies> {
        Some(Replies { expect: finder(&exchange.expect)?, reply_id: finder(&exchange.reply_id) })
    }

    pub(crate) fn read(&self, message: &[u8]) -> Reply {
        match &self.reply_id {
            None => match self.expect.find_iter(message).count() {
                0 => Reply::None,
                count => Reply::InOrder(count),
            },
            Some(key) => self.numbered(key, message).map_or(Reply::None, Reply::To),
        }
    }

    fn numbered(&self, key: &Finder<'_>, message: &[u8]) -> Option<u64> {
        self.expect.find(message)?;
        let digits = message.get(key.find(message)? + key.needle().len()..)?;
        request_number(wire::number(digits)?)
    }

    /// Whether replies name their requests.
    pub(crate) fn are_numbered(&self) -> bool {
        self.reply_id.is_some()
    }
}

/// What finds `text`; None for the empty one.
pub(crate) fn finder(text: &str) -> Option<Finder<'static>> {
    (!text.is_empty()).then(|| Finder::new(text.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> Reader {
        Reader::new(&Dialect::parse("name = 'x'\nerror = '\"error\":'\nerror_code = '\"code\":'").unwrap())
    }

    fn told(message: &str) -> Vec<(u64, u32, u64)> {
        let mut told = Vec::new();
        let count = reader().deliveries(message.as_bytes(), |one| {
            told.push((one.intended_ns, one.stream, one.sequence));
        });
        assert_eq!(count, told.len());
        told
    }

    #[test]
    fn a_frame_may_hold_several_deliveries() {
        let one = r#"MSG t {"at":1000000000000000007,"sq":1002000000000009,"pad":""}"#;
        assert_eq!(told(one), [(7, 2, 9)]);
        assert_eq!(told(&one.repeat(3)), [(7, 2, 9); 3]);
    }

    #[test]
    fn keys_without_their_numbers_are_no_delivery() {
        for message in ["", r#"{"at":"#, r#"{"at":5,"sq":999000000000001}"#, r#"{"at":1000000000000000007}"#]
        {
            assert_eq!(told(message), [], "{message}");
        }
        assert_eq!(told(r#"{"at":1000000000000000007,"sq":17}"#), []);
    }

    #[test]
    fn errors_are_told_apart_by_their_codes() {
        let error = |message: &str| reader().error(message.as_bytes());
        assert_eq!(error(r#"{"error":{"code":10028}}"#).as_deref(), Some("error reply 10028"));
        assert_eq!(error(r#"{"error":{"code":-32601}}"#).as_deref(), Some("error reply -32601"));
        assert_eq!(error(r#"{"error":"no"}"#).as_deref(), Some("error reply"));
        assert_eq!(error(r#"{"result":1}"#), None);
    }

    #[test]
    fn replies_are_known_by_number_or_by_order() {
        let exchange = |reply_id: &str| Exchange {
            expect: "\"result\"".to_owned(),
            reply_id: reply_id.to_owned(),
            ..Exchange::default()
        };
        let numbered = Replies::new(&exchange("\"id\":")).unwrap();
        assert_eq!(numbered.read(br#"{"id":1000000012,"result":1}"#), Reply::To(12));
        assert_eq!(numbered.read(br#"{"id":12,"result":1}"#), Reply::None);
        assert_eq!(numbered.read(br#"{"id":1000000012,"error":1}"#), Reply::None);
        let ordered = Replies::new(&exchange("")).unwrap();
        assert_eq!(ordered.read(br#"{"result":1}{"result":2}"#), Reply::InOrder(2));
        assert_eq!(ordered.read(b"PONG"), Reply::None);
        assert!(Replies::new(&Exchange::default()).is_none());
    }
}
