//! Why a request is refused or has no answer of its backend: JSON-RPC code, message and `error.data.reason`. PURE.
//! Home: the control thread. `docs/mcp.md` lists them for clients.

use super::message::quoted;

/// What a client, or a backend that asked something of one, is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No JSON.
    Malformed,
    /// No JSON-RPC 2.0 message, or none that may come now.
    Invalid(&'static str),
    UnknownMethod,
    /// What is wrong with the params.
    Params(&'static str),
    /// No backend offers this tool or prompt.
    UnknownName(Box<str>),
    /// No backend offers this resource.
    UnknownResource(Box<str>),
    /// Not sent: the backend is down.
    Unavailable,
    /// Not sent: as many requests as may be are under way.
    Busy,
    /// Sent, and not answered in time: what became of it is not known.
    TimedOut,
    /// Sent, and the backend ended before an answer: what became of it is not known.
    Lost,
    /// The backend answered no JSON-RPC.
    BadAnswer,
    /// To a backend: more than one client has requests under way there, or none has, and it can't say whom it means.
    NoOneClient,
    /// To a backend: the client can't do this, or is gone.
    ClientCannot,
}

impl Failure {
    pub(super) const fn code(&self) -> i32 {
        match self {
            Failure::Malformed => -32700,
            Failure::Invalid(_) => -32600,
            Failure::UnknownMethod | Failure::ClientCannot => -32601,
            Failure::Params(_) | Failure::UnknownName(_) => -32602,
            Failure::UnknownResource(_) => -32002,
            Failure::TimedOut => -32001,
            Failure::Unavailable
            | Failure::Busy
            | Failure::Lost
            | Failure::BadAnswer
            | Failure::NoOneClient => -32000,
        }
    }

    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Failure::Malformed => "malformed",
            Failure::Invalid(_) => "invalid_request",
            Failure::UnknownMethod => "unknown_method",
            Failure::Params(_) => "invalid_params",
            Failure::UnknownName(_) => "unknown_name",
            Failure::UnknownResource(_) => "unknown_resource",
            Failure::Unavailable => "backend_unavailable",
            Failure::Busy => "backend_busy",
            Failure::TimedOut => "backend_timed_out",
            Failure::Lost => "backend_lost",
            Failure::BadAnswer => "backend_bad_answer",
            Failure::NoOneClient => "no_one_client",
            Failure::ClientCannot => "client_cannot",
        }
    }

    fn message(&self) -> String {
        match self {
            Failure::Malformed => "the text is not JSON".to_owned(),
            Failure::Invalid(why) | Failure::Params(why) => (*why).to_owned(),
            Failure::UnknownMethod => "there is no such method".to_owned(),
            Failure::UnknownName(name) => format!("no backend offers {name}"),
            Failure::UnknownResource(uri) => format!("Resource not found: {uri}"),
            Failure::Unavailable => "not sent: the backend is down".to_owned(),
            Failure::Busy => "not sent: too many requests are under way".to_owned(),
            Failure::TimedOut => {
                "the backend has not answered in time; what became of it is not known".to_owned()
            }
            Failure::Lost => "the backend ended before its answer; what became of it is not known".to_owned(),
            Failure::BadAnswer => "the backend's answer is not JSON-RPC, or too long".to_owned(),
            Failure::NoOneClient => {
                "this backend is shared, and not exactly one client has a request under way: \
                 instances = \"per_session\" gives each its own"
                    .to_owned()
            }
            Failure::ClientCannot => "the client does not offer this, or is gone".to_owned(),
        }
    }

    /// The whole answer; `id` is JSON.
    pub(super) fn answer(&self, id: &str) -> String {
        let mut data = format!(r#"{{"reason":"{}""#, self.reason());
        if let Failure::UnknownResource(uri) = self {
            data.push_str(r#","uri":"#);
            data.push_str(&quoted(uri));
        }
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{},"message":{},"data":{data}}}}}}}"#,
            self.code(),
            quoted(&self.message())
        )
    }
}
