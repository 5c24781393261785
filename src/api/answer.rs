//! An answer before it is HTTP, and its compression. PURE.

use std::borrow::Cow;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

/// Shorter ones go as they are.
const GZIP_BYTES_MIN: usize = 1024;

/// What a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Body,
    /// Seconds after which to come again.
    pub retry_after_s: Option<u32>,
}

/// A body with its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    pub content_type: &'static str,
    pub text: Cow<'static, str>,
}

impl Answer {
    #[must_use]
    pub fn json(status: u16, value: &Value) -> Answer {
        Answer::text(status, "application/json", value.to_string())
    }

    #[must_use]
    pub fn text(status: u16, content_type: &'static str, text: impl Into<Cow<'static, str>>) -> Answer {
        Answer { status, body: Body { content_type, text: text.into() }, retry_after_s: None }
    }

    /// What is wrong, for people and scripts.
    #[must_use]
    pub fn error(status: u16, what: &str) -> Answer {
        Answer::json(status, &json!({"error": what, "status": status}))
    }

    /// What is asked for has so many places, and they are taken.
    #[must_use]
    pub fn busy(what: &str) -> Answer {
        Answer { retry_after_s: Some(1), ..Answer::error(503, what) }
    }

    /// It is begun, and this connection will not see its end.
    #[must_use]
    pub fn accepted() -> Answer {
        Answer::json(202, &json!({"status": "draining"}))
    }
}

/// Whether an `Accept-Encoding` field takes gzip.
#[must_use]
pub fn accepts_gzip(accept_encoding: &str) -> bool {
    accept_encoding.split(',').any(|part| {
        let mut words = part.split(';').map(str::trim);
        let is_named =
            words.next().is_some_and(|coding| coding.eq_ignore_ascii_case("gzip") || coding == "*");
        is_named
            && !words
                .any(|word| word.strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0)))
    })
}

/// The text compressed, where that is worth it.
#[must_use]
pub fn gzip(text: &str) -> Option<Vec<u8>> {
    if text.len() < GZIP_BYTES_MIN {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::fast());
    // A vector takes all.
    encoder.write_all(text.as_bytes()).ok()?;
    encoder.finish().ok()
}
