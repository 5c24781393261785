//! What one message from a client holds: a request, a batch of them, or nothing that can be answered by id. PURE.

use super::errors::Failure;
use super::login::Access;
use super::methods::Method;
use super::scan::SCAN_DEPTH_MAX;

/// Bytes of a request's id as it stands in the text, quotes included; it is echoed, so it must not be a way to have
/// the server send much.
pub const ID_BYTES_MAX: usize = 128;
/// Requests in one batch; its replies are one message, so this bounds the reply.
pub const BATCH_REQUESTS_MAX: usize = 128;
/// Nested arrays and objects in one message, the request object itself included.
pub const JSON_DEPTH_MAX: usize = 64;
const _: () = assert!(JSON_DEPTH_MAX <= SCAN_DEPTH_MAX);

/// One text message.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming<'a> {
    Single(Parsed<'a>),
    /// One to [`BATCH_REQUESTS_MAX`] entries; the replies to those with an id go into one array, and where none has
    /// an id nothing is sent.
    Batch(Vec<Parsed<'a>>),
    /// Answered once, with id null.
    Invalid(Failure),
}

/// One request or notification.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed<'a> {
    /// `None` for a notification: it gets no reply, not even an error.
    pub id: Option<Id<'a>>,
    /// Who may call what it names.
    pub access: Access,
    pub call: Result<Method<'a>, Failure>,
}

/// A request's id as the client wrote it (a number, a string or null), echoed byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id<'a>(&'a str);

impl<'a> Id<'a> {
    /// The id of a reply to what has none that could be read (JSON-RPC 2.0 §5).
    pub const NULL: Id<'static> = Id("null");

    /// An id that was kept as text while its reply waited: what [`Id::as_str`] gave.
    #[must_use]
    pub const fn echo(text: &'a str) -> Id<'a> {
        Id(text)
    }

    /// Valid JSON, at most [`ID_BYTES_MAX`] bytes.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// `text` is a JSON number, string or null within the bound.
    pub(super) const fn new(text: &'a str) -> Id<'a> {
        Id(text)
    }
}
