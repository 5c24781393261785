//! Why a request is refused: a closed set, each with its status and a sentence that teaches.
//!
//! PURE. Allocates: never. Invariant: `advice` is plain ASCII text of one line, fit for a `text/plain` body.

/// What a client that came at a bad time is told to wait, in seconds: longer than a burst of reconnects lasts, shorter
/// than a person waits.
pub(super) const RETRY_AFTER_S: u16 = 5;

/// A refused request. The connection ends after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The first line is not `METHOD target HTTP/x.y` (RFC 9112 §3); often a TLS hello on a plain port.
    NotHttp,
    /// A header field breaks the grammar of RFC 9112 §5.
    HeaderMalformed,
    /// The request target is neither a path, nor an absolute URI, nor `*` (RFC 9112 §3.2).
    TargetMalformed,
    /// The request line alone exceeds [`bytes_max`](super::HeadLimits::bytes_max).
    TargetTooLong,
    /// The head exceeds [`bytes_max`](super::HeadLimits::bytes_max).
    HeadTooLarge,
    /// More header fields than [`headers_max`](super::HeadLimits::headers_max).
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
    /// The method is neither `GET` nor `HEAD`, where [`Probe`](super::Probe)s are answered.
    ProbeMethod,
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
    /// `Sec-WebSocket-Extensions` breaks the grammar of RFC 6455 §9.1, which asks for this.
    ExtensionsMalformed,
    /// The upgrade request announces a body, whose bytes would be taken for frames.
    BodyInUpgrade,
    /// `Sec-WebSocket-Protocol` offers only what is not spoken here (RFC 6455 §4.2.2): never silently another one.
    SubprotocolUnknown,
    /// The query asks for market data in an encoding, or by a schema, that is not spoken here, or contradicts itself: never
    /// silently another one.
    EncodingUnknown,
    /// As many connections are open as may be.
    ConnectionsFull,
    /// As many connections of this address are open as may be.
    AddressFull,
    /// The gateway is short of memory or time.
    Overloaded,
    /// `Authorization` is no bearer token, or not one that is taken (RFC 6750 §3).
    BearerRefused,
    /// So many log-ins of this address have failed that none is looked at.
    BearerRate,
    /// Too many log-ins wait for their verdict.
    BearersWaiting,
    /// Where a cluster keeps named sessions is not reached.
    SessionsAway,
    /// The body of a call exceeds the bound of a message.
    BodyTooLarge,
    /// A `POST` without `Content-Length`.
    LengthRequired,
    /// Not one `Content-Length` of digits, or a transfer coding beside it (RFC 9112 §6.3).
    LengthMalformed,
    /// A transfer coding.
    TransferCoding,
    /// An `Expect` that is not `100-continue`.
    ExpectationUnknown,
    /// The method is none that calls.
    CallMethod,
    /// Something else than a call behind one that is not answered.
    UpgradeTooLate,
    /// More calls or bytes a second than one client may send.
    CallRate,
}

/// The status of an answer (RFC 9110 §15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 200
    Ok,
    /// 204
    NoContent,
    /// 400
    BadRequest,
    /// 401
    Unauthorized,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 408
    RequestTimeout,
    /// 411
    LengthRequired,
    /// 413
    ContentTooLarge,
    /// 414
    UriTooLong,
    /// 417
    ExpectationFailed,
    /// 426
    UpgradeRequired,
    /// 429 (RFC 6585 §4)
    TooManyRequests,
    /// 431 (RFC 6585 §5)
    HeaderFieldsTooLarge,
    /// 501
    NotImplemented,
    /// 503
    ServiceUnavailable,
    /// 505
    VersionNotSupported,
}

impl Rejection {
    /// Every rejection, in the order of declaration.
    pub const ALL: [Self; 36] = [
        Self::NotHttp,
        Self::HeaderMalformed,
        Self::TargetMalformed,
        Self::TargetTooLong,
        Self::HeadTooLarge,
        Self::TooManyHeaders,
        Self::VersionNotSupported,
        Self::HeadTimeout,
        Self::HostNotSingle,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::ProbeMethod,
        Self::OriginForbidden,
        Self::UpgradeRequired,
        Self::WebSocketVersion,
        Self::KeyNotSingle,
        Self::KeyMalformed,
        Self::ExtensionsMalformed,
        Self::BodyInUpgrade,
        Self::SubprotocolUnknown,
        Self::EncodingUnknown,
        Self::ConnectionsFull,
        Self::AddressFull,
        Self::Overloaded,
        Self::BearerRefused,
        Self::BearerRate,
        Self::BearersWaiting,
        Self::SessionsAway,
        Self::BodyTooLarge,
        Self::LengthRequired,
        Self::LengthMalformed,
        Self::TransferCoding,
        Self::ExpectationUnknown,
        Self::CallMethod,
        Self::UpgradeTooLate,
        Self::CallRate,
    ];

    /// Its name in counters and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotHttp => "not_http",
            Self::HeaderMalformed => "header_malformed",
            Self::TargetMalformed => "target_malformed",
            Self::TargetTooLong => "target_too_long",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyHeaders => "too_many_headers",
            Self::VersionNotSupported => "http_version",
            Self::HeadTimeout => "handshake_timeout",
            Self::HostNotSingle => "host_not_single",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::ProbeMethod => "probe_method",
            Self::OriginForbidden => "origin_forbidden",
            Self::UpgradeRequired => "upgrade_required",
            Self::WebSocketVersion => "websocket_version",
            Self::KeyNotSingle => "key_not_single",
            Self::KeyMalformed => "key_malformed",
            Self::ExtensionsMalformed => "extensions_malformed",
            Self::BodyInUpgrade => "body_in_upgrade",
            Self::SubprotocolUnknown => "subprotocol_unknown",
            Self::EncodingUnknown => "encoding_unknown",
            Self::ConnectionsFull => "connections_full",
            Self::AddressFull => "address_full",
            Self::Overloaded => "overloaded",
            Self::BearerRefused => "bearer_refused",
            Self::BearerRate => "bearer_rate",
            Self::BearersWaiting => "bearers_waiting",
            Self::SessionsAway => "sessions_away",
            Self::BodyTooLarge => "body_too_large",
            Self::LengthRequired => "length_required",
            Self::LengthMalformed => "length_malformed",
            Self::TransferCoding => "transfer_coding",
            Self::ExpectationUnknown => "expectation_unknown",
            Self::CallMethod => "call_method",
            Self::UpgradeTooLate => "upgrade_too_late",
            Self::CallRate => "call_rate",
        }
    }

    /// After how many seconds it makes sense to try again, where waiting helps.
    pub const fn retry_after_s(self) -> Option<u16> {
        match self {
            Self::ConnectionsFull
            | Self::AddressFull
            | Self::Overloaded
            | Self::BearerRate
            | Self::BearersWaiting
            | Self::SessionsAway
            | Self::CallRate => Some(RETRY_AFTER_S),
            Self::NotHttp
            | Self::HeaderMalformed
            | Self::TargetMalformed
            | Self::TargetTooLong
            | Self::HeadTooLarge
            | Self::TooManyHeaders
            | Self::VersionNotSupported
            | Self::HeadTimeout
            | Self::HostNotSingle
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::ProbeMethod
            | Self::OriginForbidden
            | Self::UpgradeRequired
            | Self::WebSocketVersion
            | Self::KeyNotSingle
            | Self::KeyMalformed
            | Self::ExtensionsMalformed
            | Self::BodyInUpgrade
            | Self::SubprotocolUnknown
            | Self::EncodingUnknown
            | Self::BearerRefused
            | Self::BodyTooLarge
            | Self::LengthRequired
            | Self::LengthMalformed
            | Self::TransferCoding
            | Self::ExpectationUnknown
            | Self::CallMethod
            | Self::UpgradeTooLate => None,
        }
    }

    /// The status that tells the peer's software what is wrong.
    pub const fn status(self) -> Status {
        match self {
            Self::NotHttp | Self::HeaderMalformed | Self::TargetMalformed => Status::BadRequest,
            Self::HostNotSingle | Self::KeyNotSingle | Self::KeyMalformed => Status::BadRequest,
            Self::BodyInUpgrade | Self::ExtensionsMalformed | Self::SubprotocolUnknown => Status::BadRequest,
            Self::EncodingUnknown => Status::BadRequest,
            Self::BearerRefused => Status::Unauthorized,
            Self::OriginForbidden => Status::Forbidden,
            Self::NotFound => Status::NotFound,
            Self::MethodNotAllowed | Self::ProbeMethod => Status::MethodNotAllowed,
            Self::HeadTimeout => Status::RequestTimeout,
            Self::TargetTooLong => Status::UriTooLong,
            Self::UpgradeRequired | Self::WebSocketVersion => Status::UpgradeRequired,
            Self::HeadTooLarge | Self::TooManyHeaders => Status::HeaderFieldsTooLarge,
            Self::AddressFull | Self::BearerRate => Status::TooManyRequests,
            Self::ConnectionsFull | Self::Overloaded => Status::ServiceUnavailable,
            Self::BearersWaiting | Self::SessionsAway => Status::ServiceUnavailable,
            Self::VersionNotSupported => Status::VersionNotSupported,
            Self::LengthMalformed | Self::UpgradeTooLate => Status::BadRequest,
            Self::CallMethod => Status::MethodNotAllowed,
            Self::LengthRequired => Status::LengthRequired,
            Self::BodyTooLarge => Status::ContentTooLarge,
            Self::ExpectationUnknown => Status::ExpectationFailed,
            Self::CallRate => Status::TooManyRequests,
            Self::TransferCoding => Status::NotImplemented,
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
            Self::ProbeMethod => "Use GET or HEAD here.",
            Self::OriginForbidden => "Pages of this Origin may not connect. Ask the operator to allow it.",
            Self::UpgradeRequired => {
                "This is a WebSocket endpoint: send `Connection: Upgrade` and `Upgrade: websocket`."
            }
            Self::WebSocketVersion => "Send exactly one `Sec-WebSocket-Version: 13` (RFC 6455).",
            Self::KeyNotSingle => "Send exactly one Sec-WebSocket-Key header field.",
            Self::KeyMalformed => "Sec-WebSocket-Key must be 16 random bytes in base64 (24 characters).",
            Self::ExtensionsMalformed => {
                "Sec-WebSocket-Extensions is malformed: write `name; parameter=value`, or leave it out."
            }
            Self::BodyInUpgrade => {
                "An upgrade request has no body: drop Content-Length and Transfer-Encoding."
            }
            Self::SubprotocolUnknown => {
                "No subprotocol on offer is spoken here: offer json-rpc or sbe.tickring.v1, or none."
            }
            Self::EncodingUnknown => "Supported: json, or encoding=sbe&schema=1&version=0[&batch=true].",
            Self::ConnectionsFull => {
                "No more connections are taken for now. Wait as Retry-After says, then retry."
            }
            Self::AddressFull => "Too many connections from this address: close some, then retry.",
            Self::Overloaded => "The gateway is overloaded. Wait as Retry-After says, then retry.",
            Self::BearerRefused => {
                "Send one `Authorization: Bearer TOKEN` with a token or key that is taken here, or none."
            }
            Self::BearerRate => "Too many log-ins from this address have failed: mend the token, then retry.",
            Self::BearersWaiting => "Too many log-ins at a time. Wait as Retry-After says, then retry.",
            Self::SessionsAway => "Named sessions are not reached: wait as Retry-After says, or show a key.",
            Self::BodyTooLarge => "The body is longer than a message may be: split it, or ask by WebSocket.",
            Self::LengthRequired => "Send a Content-Length with POST, 0 if there is no body.",
            Self::LengthMalformed => {
                "Send exactly one Content-Length, of digits, and no Transfer-Encoding beside it."
            }
            Self::TransferCoding => {
                "Transfer codings such as chunked are not spoken here: send a Content-Length."
            }
            Self::ExpectationUnknown => "Only `Expect: 100-continue` is met here.",
            Self::CallMethod => "Call methods by GET or POST.",
            Self::UpgradeTooLate => {
                "Take the answers to the calls before it first, or connect anew for this path."
            }
            Self::CallRate => "Too many calls or bytes a second. Wait as Retry-After says, then retry.",
        }
    }
}

impl Status {
    /// The number, 100 to 599.
    pub const fn code(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::NoContent => 204,
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::LengthRequired => 411,
            Self::ContentTooLarge => 413,
            Self::UriTooLong => 414,
            Self::ExpectationFailed => 417,
            Self::UpgradeRequired => 426,
            Self::TooManyRequests => 429,
            Self::HeaderFieldsTooLarge => 431,
            Self::NotImplemented => 501,
            Self::ServiceUnavailable => 503,
            Self::VersionNotSupported => 505,
        }
    }

    /// The reason phrase of the status line.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::NoContent => "No Content",
            Self::BadRequest => "Bad Request",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::RequestTimeout => "Request Timeout",
            Self::LengthRequired => "Length Required",
            Self::ContentTooLarge => "Content Too Large",
            Self::UriTooLong => "URI Too Long",
            Self::ExpectationFailed => "Expectation Failed",
            Self::UpgradeRequired => "Upgrade Required",
            Self::TooManyRequests => "Too Many Requests",
            Self::HeaderFieldsTooLarge => "Request Header Fields Too Large",
            Self::NotImplemented => "Not Implemented",
            Self::ServiceUnavailable => "Service Unavailable",
            Self::VersionNotSupported => "HTTP Version Not Supported",
        }
    }
}
