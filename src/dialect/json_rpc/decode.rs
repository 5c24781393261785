//! From a message's text to requests, by JSON-RPC 2.0 to the letter. PURE. One pass validates the whole text and finds
//! the members of the request; nothing is allocated for a single request without escapes in its strings.
//!
//! A member that stands twice in a request or in its `params` is refused: two readers of the text could differ on it.

use super::envelope::{BATCH_REQUESTS_MAX, ID_BYTES_MAX, Id, Incoming, JSON_DEPTH_MAX, Parsed};
use super::errors::Failure;
use super::foreign::foreign;
use super::login::Access;
use super::methods::Method;
use super::scan::{Kind, Malformed, Place, Scanner, Value};

/// Decodes one text message. Never panics, whatever the bytes.
#[must_use]
pub fn decode(text: &[u8]) -> Incoming<'_> {
    let Ok(text) = simdutf8::basic::from_utf8(text) else {
        return Incoming::Invalid(Failure::PARSE_ERROR.because("not UTF-8"));
    };
    let mut scanner = Scanner::new(text);
    let incoming = if scanner.open(b'{') {
        envelope(&mut scanner, JSON_DEPTH_MAX - 1).map(|found| Incoming::Single(found.judge()))
    } else if scanner.open(b'[') {
        batch(&mut scanner)
    } else {
        scanner.value(0).map(|_| Incoming::Invalid(Failure::INVALID_REQUEST.because("not an object")))
    };
    match incoming {
        // A batch that is too long is refused without a look at its rest.
        Ok(Incoming::Invalid(failure)) if failure == BATCH_TOO_LONG => Incoming::Invalid(failure),
        Ok(incoming) if scanner.is_at_end() => incoming,
        Ok(_) | Err(Malformed) => Incoming::Invalid(Failure::PARSE_ERROR),
    }
}

const BATCH_TOO_LONG: Failure = Failure::INVALID_REQUEST.because("more requests in the batch than allowed");

fn batch<'a>(scanner: &mut Scanner<'a>) -> Result<Incoming<'a>, Malformed> {
    let mut entries = Vec::new();
    let mut place = Place::First;
    while scanner.enter(&mut place, b']')? {
        if entries.len() == BATCH_REQUESTS_MAX {
            return Ok(Incoming::Invalid(BATCH_TOO_LONG));
        }
        if scanner.open(b'{') {
            entries.push(envelope(scanner, JSON_DEPTH_MAX - 2)?.judge());
        } else {
            scanner.value(JSON_DEPTH_MAX - 1)?;
            entries.push(refused(None, Failure::INVALID_REQUEST.because("not an object")));
        }
    }
    Ok(if entries.is_empty() {
        Incoming::Invalid(Failure::INVALID_REQUEST.because("empty batch"))
    } else {
        Incoming::Batch(entries)
    })
}

/// The members of a request object, each where it was found.
#[derive(Default)]
struct Envelope<'a> {
    jsonrpc: Option<Value<'a>>,
    id: Option<Value<'a>>,
    method: Option<Value<'a>>,
    params: Option<Value<'a>>,
    trace_parent: Option<Value<'a>>,
    repeated: Option<&'static str>,
}

/// Reads the request object whose `{` is passed; its values may nest `depth_max` containers.
fn envelope<'a>(scanner: &mut Scanner<'a>, depth_max: usize) -> Result<Envelope<'a>, Malformed> {
    let mut found = Envelope::default();
    let mut place = Place::First;
    while let Some((key, value)) = scanner.member(&mut place, depth_max)? {
        let (slot, name) = match key.string().as_deref() {
            Some("jsonrpc") => (&mut found.jsonrpc, "jsonrpc"),
            Some("id") => (&mut found.id, "id"),
            Some("method") => (&mut found.method, "method"),
            Some("params") => (&mut found.params, "params"),
            Some("traceparent") => (&mut found.trace_parent, "traceparent"),
            Some(_) | None => continue,
        };
        if slot.replace(value).is_some() {
            found.repeated = Some(name);
        }
    }
    Ok(found)
}

impl<'a> Envelope<'a> {
    fn judge(self) -> Parsed<'a> {
        let id = match self.id {
            None => None,
            Some(value) => match value.kind() {
                Kind::Number | Kind::String | Kind::Null if value.text().len() <= ID_BYTES_MAX => {
                    Some(Id::new(value.text()))
                }
                Kind::Number | Kind::String | Kind::Null => {
                    return refused(None, Failure::INVALID_REQUEST.because("too long").at("id"));
                }
                Kind::Object | Kind::Array | Kind::Boolean => {
                    return refused(None, Failure::INVALID_REQUEST.because("wrong format").at("id"));
                }
            },
        };
        match self.repeated {
            None => {}
            Some("id") => return refused(None, Failure::INVALID_REQUEST.because("given twice").at("id")),
            Some(name) => return refused(id, Failure::INVALID_REQUEST.because("given twice").at(name)),
        }
        if self.jsonrpc.is_none_or(|version| version.string().as_deref() != Some("2.0")) {
            return refused(id, Failure::INVALID_REQUEST.because("must be \"2.0\"").at("jsonrpc"));
        }
        let Some(name) = self.method.and_then(Value::string) else {
            return refused(id, Failure::INVALID_REQUEST.because("must be a string").at("method"));
        };
        match self.params.map(Value::kind) {
            None | Some(Kind::Object | Kind::Array) => {}
            Some(Kind::String | Kind::Number | Kind::Boolean | Kind::Null) => {
                return refused(id, Failure::INVALID_REQUEST.because("must be an object").at("params"));
            }
        }
        let access = Access::of(&name);
        let call = match Method::decode(&name, self.params) {
            Err(Failure::METHOD_NOT_FOUND) => {
                foreign(name, self.params, self.trace_parent).map(Method::Foreign)
            }
            call => call,
        };
        Parsed { id, access, call }
    }
}

/// What is no request is answered even without an id (JSON-RPC 2.0 §5: the id is null then).
fn refused(id: Option<Id<'_>>, failure: Failure) -> Parsed<'_> {
    Parsed { id: Some(id.unwrap_or(Id::NULL)), access: Access::Everybody, call: Err(failure) }
}
