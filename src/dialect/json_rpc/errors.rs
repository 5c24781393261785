//! What goes wrong in a request, in JSON-RPC 2.0's codes (§5.1) and Deribit's documented ones. PURE.

/// An error object: `{"code":…,"message":…,"data":{"reason":…,"param":…}}`. Code and message come together from the
/// constants; `reason` and `param` tell more where there is more to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: i32,
    pub message: &'static str,
    pub reason: Option<&'static str>,
    pub param: Option<&'static str>,
}

impl Failure {
    /// The text is not JSON, or nests deeper than the bound.
    pub const PARSE_ERROR: Failure = Failure::new(-32700, "Parse error");
    /// JSON, but no request object.
    pub const INVALID_REQUEST: Failure = Failure::new(-32600, "Invalid Request");
    /// Over HTTP, a method that is about the connection.
    pub const NEEDS_WEBSOCKET: Failure = Failure::INVALID_REQUEST.because("this method needs a WebSocket");
    pub const METHOD_NOT_FOUND: Failure = Failure::new(-32601, "Method not found");
    pub const INVALID_PARAMS: Failure = Failure::new(-32602, "Invalid params");
    pub const INTERNAL_ERROR: Failure = Failure::new(-32603, "Internal error");
    /// The client's allowed rate is exceeded.
    pub const TOO_MANY_REQUESTS: Failure = Failure::new(10028, "too_many_requests");
    /// The request can't be served right now and should be sent again: a bounded queue is full.
    pub const RETRY: Failure = Failure::new(10040, "retry");
    /// A subscription could not be made or ended.
    pub const UNSUBSCRIBED: Failure = Failure::new(11052, "subscribe_error_unsubscribed");
    /// What `public/test` answers to `"expected_result":"exception"`.
    pub const EXCEPTION: Failure = Failure::new(11094, "internal_server_error");
    /// No such key, or not its secret.
    pub const INVALID_CREDENTIALS: Failure = Failure::new(13004, "invalid_credentials");
    pub const UNAUTHORIZED: Failure = Failure::new(13009, "unauthorized");
    /// A method of those who have logged in.
    pub const NOT_LOGGED_IN: Failure = Failure::UNAUTHORIZED.because("log in first: public/auth");
    /// No instrument has this name.
    pub const UNKNOWN_INSTRUMENT: Failure =
        Failure::new(13020, "not_found").because("unknown instrument").at("instrument_name");
    pub const FORBIDDEN: Failure = Failure::new(13021, "forbidden");

    const fn new(code: i32, message: &'static str) -> Failure {
        Failure { code, message, reason: None, param: None }
    }

    /// The same failure with a reason.
    #[must_use]
    pub const fn because(self, reason: &'static str) -> Failure {
        Failure { reason: Some(reason), ..self }
    }

    /// The same failure with the member that is at fault.
    #[must_use]
    pub const fn at(self, param: &'static str) -> Failure {
        Failure { param: Some(param), ..self }
    }

    pub(super) const fn invalid_param(param: &'static str, reason: &'static str) -> Failure {
        Failure::INVALID_PARAMS.because(reason).at(param)
    }

    /// A parameter that must be there is not.
    pub(super) const fn value_required(param: &'static str) -> Failure {
        Failure::invalid_param(param, "value required")
    }

    /// A parameter of another type or outside its range.
    pub(super) const fn wrong_format(param: &'static str) -> Failure {
        Failure::invalid_param(param, "wrong format")
    }
}
