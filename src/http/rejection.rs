//! Why a request is refused: a closed set, each with its status and a sentence that teaches.
//!
//! PURE. Allocates: never. Invariant: `advice` is plain ASCII text of one line, fit for a `text/plain` body.

/// A refused request. The connection ends after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The first line is not `METHOD target HTTP/x.y` (RFC 9112 §3); often a TLS hello on a plain port.
    NotHttp,
    /// A header field breaks the grammar of RFC 9112 §5.
    HeaderMalformed,
    /// The request target is neither a path, nor an absolute URI, nor `*` (RFC 9112 §3.2).
    TargetMalformed,
    /// The request line alone exceeds [`HEAD_BYTES_MAX`](super::HEAD_BYTES_MAX).
    TargetTooLong,
    /// The head exceeds [`HEAD_BYTES_MAX`](super::HEAD_BYTES_MAX).
    HeadTooLarge,
    /// More header fields than [`HEADERS_MAX`](super::HEADERS_MAX).
    TooManyHeaders,
    /// Not HTTP/1.1.
    VersionNotSupported,
    /// The head did not arrive whole before the handshake's deadline.
    HeadTimeout,
    /// No `Host`, or more than one (RFC 9112 §3.2).
    HostNotSingle,
    /// Nothing is served at this path.
    NotFound,
    /// The method is not `GET`, the only one that opens a WebSocket (RFC 6455 §4.1).
    MethodNotAllowed,
    /// The page behind `Origin` may not connect (RFC 6455 §10.2).
    OriginForbidden,
    /// The request does not ask to become a WebSocket.
    UpgradeRequired,
    /// `Sec-WebSocket-Version` is not 13 (RFC 6455 §4.4).
    WebSocketVersion,
    /// `Sec-WebSocket-Key` is absent, or present twice (RFC 6455 §11.3.1).
    KeyNotSingle,
    /// `Sec-WebSocket-Key` is not 16 bytes in base64 (RFC 6455 §4.1).
    KeyMalformed,
    /// The upgrade request announces a body, whose bytes would be taken for frames.
    BodyInUpgrade,
    /// The gateway takes no more connections for now.
    Unavailable {
        /// What `Retry-After` says, in seconds.
        retry_after_s: u16,
    },
}

/// The status of an answer (RFC 9110 §15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 400
    BadRequest,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 408
    RequestTimeout,
    /// 414
    UriTooLong,
    /// 426
    UpgradeRequired,
    /// 431 (RFC 6585 §5)
    HeaderFieldsTooLarge,
    /// 503
    ServiceUnavailable,
    /// 505
    VersionNotSupported,
}

impl Rejection {
    /// The status that tells the peer's software what is wrong.
    pub const fn status(self) -> Status {
        match self {
            Self::NotHttp | Self::HeaderMalformed | Self::TargetMalformed => Status::BadRequest,
            Self::HostNotSingle | Self::KeyNotSingle | Self::KeyMalformed => Status::BadRequest,
            Self::BodyInUpgrade => Status::BadRequest,
            Self::OriginForbidden => Status::Forbidden,
            Self::NotFound => Status::NotFound,
            Self::MethodNotAllowed => Status::MethodNotAllowed,
            Self::HeadTimeout => Status::RequestTimeout,
            Self::TargetTooLong => Status::UriTooLong,
            Self::UpgradeRequired | Self::WebSocketVersion => Status::UpgradeRequired,
            Self::HeadTooLarge | Self::TooManyHeaders => Status::HeaderFieldsTooLarge,
            Self::Unavailable { .. } => Status::ServiceUnavailable,
            Self::VersionNotSupported => Status::VersionNotSupported,
        }
    }

    /// The sentence for the person who reads the answer.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NotHttp => {
                "This is not an HTTP/1.1 request. If you meant wss:// or https://, this port is plain."
            }
            Self::HeaderMalformed => {
                "A header field is malformed: write `Name: value`, one a line, no folding."
            }
            Self::TargetMalformed => "The request target must be a path such as /ws, or an absolute URI.",
            Self::TargetTooLong => {
                "The request line is too long: put tokens into a header or the first message."
            }
            Self::HeadTooLarge => {
                "The request head is too large: drop cookies and other headers not meant for us."
            }
            Self::TooManyHeaders => {
                "The request has too many header fields: send only those that are needed."
            }
            Self::VersionNotSupported => {
                "Speak HTTP/1.1: a WebSocket cannot be opened over another version here."
            }
            Self::HeadTimeout => "The request head did not arrive in time: send it at once after connecting.",
            Self::HostNotSingle => "Send exactly one Host header field.",
            Self::NotFound => "Nothing is served at this path. WebSocket clients connect to /ws.",
            Self::MethodNotAllowed => {
                "Use GET: a WebSocket is opened by a GET request with Upgrade: websocket."
            }
            Self::OriginForbidden => "Pages of this Origin may not connect. Ask the operator to allow it.",
            Self::UpgradeRequired => {
                "This is a WebSocket endpoint: send `Connection: Upgrade` and `Upgrade: websocket`."
            }
            Self::WebSocketVersion => "Send exactly one `Sec-WebSocket-Version: 13` (RFC 6455).",
            Self::KeyNotSingle => "Send exactly one Sec-WebSocket-Key header field.",
            Self::KeyMalformed => "Sec-WebSocket-Key must be 16 random bytes in base64 (24 characters).",
            Self::BodyInUpgrade => {
                "An upgrade request has no body: drop Content-Length and Transfer-Encoding."
            }
            Self::Unavailable { .. } => {
                "No more connections are taken for now. Wait as Retry-After says, then retry."
            }
        }
    }
}

impl Status {
    /// The number, 100 to 599.
    pub const fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::UriTooLong => 414,
            Self::UpgradeRequired => 426,
            Self::HeaderFieldsTooLarge => 431,
            Self::ServiceUnavailable => 503,
            Self::VersionNotSupported => 505,
        }
    }

    /// The reason phrase of the status line.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::BadRequest => "Bad Request",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::RequestTimeout => "Request Timeout",
            Self::UriTooLong => "URI Too Long",
            Self::UpgradeRequired => "Upgrade Required",
            Self::HeaderFieldsTooLarge => "Request Header Fields Too Large",
            Self::ServiceUnavailable => "Service Unavailable",
            Self::VersionNotSupported => "HTTP Version Not Supported",
        }
    }
}
