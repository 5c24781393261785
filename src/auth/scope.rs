//! What a log-in allows, in Deribit's words: `account:read`, `trade:read_write` and their like. PURE.

/// How far a group of methods is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    #[default]
    None,
    Read,
    ReadWrite,
}

/// What one method needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    AccountRead,
    AccountReadWrite,
    TradeRead,
    TradeReadWrite,
    /// To receive messages, and to see who is there.
    MessageRead,
    /// To send messages, and to make groups.
    MessageReadWrite,
    /// To see and requeue everybody's dead letters.
    MessageAdmin,
    /// To call methods of backends that only look, and all others.
    BackendRead,
    BackendReadWrite,
    /// Of operators: to stop the gateway, to halt trading. No method of clients needs it.
    ControlWrite,
}

/// What is allowed, group by group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    pub account: Level,
    pub trade: Level,
    pub message: Level,
    pub backend: Level,
    /// Comes with nothing else.
    pub message_admin: bool,
    pub control_write: bool,
}

/// Bytes of a named session's name.
const SESSION_NAME_BYTES_MAX: usize = 64;

/// What a client asks for in `scope`, besides what its credential sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeRequest {
    /// Per group the most that it wants; a group that is not named is as the credential has it.
    account: Option<Level>,
    trade: Option<Level>,
    /// And whether everybody's dead letters are asked for.
    message: Option<(Level, bool)>,
    backend: Option<Level>,
    /// `session:NAME`: tokens that outlive the connection.
    pub session: Option<Box<str>>,
    /// `expires:SECONDS`: tokens that end sooner than usual.
    pub expires_s: Option<u32>,
}

impl Level {
    fn parse(text: &str) -> Option<Level> {
        match text {
            "none" => Some(Level::None),
            "read" => Some(Level::Read),
            "read_write" => Some(Level::ReadWrite),
            _ => None,
        }
    }
}

impl Scope {
    pub const ALL: [Scope; 10] = [
        Scope::AccountRead,
        Scope::AccountReadWrite,
        Scope::TradeRead,
        Scope::TradeReadWrite,
        Scope::MessageRead,
        Scope::MessageReadWrite,
        Scope::MessageAdmin,
        Scope::BackendRead,
        Scope::BackendReadWrite,
        Scope::ControlWrite,
    ];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::AccountRead => "account:read",
            Scope::AccountReadWrite => "account:read_write",
            Scope::TradeRead => "trade:read",
            Scope::TradeReadWrite => "trade:read_write",
            Scope::MessageRead => "message:read",
            Scope::MessageReadWrite => "message:read_write",
            Scope::MessageAdmin => "message:admin",
            Scope::BackendRead => "backend:read",
            Scope::BackendReadWrite => "backend:read_write",
            Scope::ControlWrite => "control:write",
        }
    }

    /// What a client is told that has not got it.
    #[must_use]
    pub const fn needed(self) -> &'static str {
        match self {
            Scope::AccountRead => "needs scope account:read",
            Scope::AccountReadWrite => "needs scope account:read_write",
            Scope::TradeRead => "needs scope trade:read",
            Scope::TradeReadWrite => "needs scope trade:read_write",
            Scope::MessageRead => "needs scope message:read",
            Scope::MessageReadWrite => "needs scope message:read_write",
            Scope::MessageAdmin => "needs scope message:admin",
            Scope::BackendRead => "needs scope backend:read",
            Scope::BackendReadWrite => "needs scope backend:read_write",
            Scope::ControlWrite => "needs scope control:write",
        }
    }
}

impl Scopes {
    /// All that clients need for what is their own.
    pub const ALL: Scopes = Scopes {
        account: Level::ReadWrite,
        trade: Level::ReadWrite,
        message: Level::ReadWrite,
        backend: Level::ReadWrite,
        message_admin: false,
        control_write: false,
    };

    /// Whether a method that needs `scope` may be called.
    #[must_use]
    pub fn allow(self, scope: Scope) -> bool {
        match scope {
            Scope::AccountRead => self.account >= Level::Read,
            Scope::AccountReadWrite => self.account >= Level::ReadWrite,
            Scope::TradeRead => self.trade >= Level::Read,
            Scope::TradeReadWrite => self.trade >= Level::ReadWrite,
            Scope::MessageRead => self.message >= Level::Read,
            Scope::MessageReadWrite => self.message >= Level::ReadWrite,
            Scope::MessageAdmin => self.message_admin,
            Scope::BackendRead => self.backend >= Level::Read,
            Scope::BackendReadWrite => self.backend >= Level::ReadWrite,
            Scope::ControlWrite => self.control_write,
        }
    }

    /// Those of a list, each written as one of [`Scope::as_str`]; `None` if one is not.
    pub fn parse<'t>(list: impl IntoIterator<Item = &'t str>) -> Option<Scopes> {
        let mut scopes = Scopes::default();
        for text in list {
            match *Scope::ALL.iter().find(|scope| scope.as_str() == text)? {
                Scope::AccountRead => scopes.account = scopes.account.max(Level::Read),
                Scope::AccountReadWrite => scopes.account = Level::ReadWrite,
                Scope::TradeRead => scopes.trade = scopes.trade.max(Level::Read),
                Scope::TradeReadWrite => scopes.trade = Level::ReadWrite,
                Scope::MessageRead => scopes.message = scopes.message.max(Level::Read),
                Scope::MessageReadWrite => scopes.message = Level::ReadWrite,
                Scope::MessageAdmin => scopes.message_admin = true,
                Scope::BackendRead => scopes.backend = scopes.backend.max(Level::Read),
                Scope::BackendReadWrite => scopes.backend = Level::ReadWrite,
                Scope::ControlWrite => scopes.control_write = true,
            }
        }
        Some(scopes)
    }

    /// The same as a list of words.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        let account = match self.account {
            Level::None => None,
            Level::Read => Some(Scope::AccountRead),
            Level::ReadWrite => Some(Scope::AccountReadWrite),
        };
        let trade = match self.trade {
            Level::None => None,
            Level::Read => Some(Scope::TradeRead),
            Level::ReadWrite => Some(Scope::TradeReadWrite),
        };
        let message = match self.message {
            Level::None => None,
            Level::Read => Some(Scope::MessageRead),
            Level::ReadWrite => Some(Scope::MessageReadWrite),
        };
        let admin = self.message_admin.then_some(Scope::MessageAdmin);
        let backend = match self.backend {
            Level::None => None,
            Level::Read => Some(Scope::BackendRead),
            Level::ReadWrite => Some(Scope::BackendReadWrite),
        };
        let control = self.control_write.then_some(Scope::ControlWrite);
        [account, trade, message, admin, backend, control].into_iter().flatten().map(Scope::as_str)
    }

    /// What both allow.
    #[must_use]
    pub fn within(self, other: Scopes) -> Scopes {
        Scopes {
            account: self.account.min(other.account),
            trade: self.trade.min(other.trade),
            message: self.message.min(other.message),
            backend: self.backend.min(other.backend),
            message_admin: self.message_admin && other.message_admin,
            control_write: self.control_write && other.control_write,
        }
    }
}

impl ScopeRequest {
    /// Words between spaces. One that means nothing here is passed over, as OAuth 2.0 (RFC 6749 §3.3) lets a server do:
    /// the reply says what was granted. `None` where a word that does mean something has no legal value.
    #[must_use]
    pub fn parse(text: &str) -> Option<ScopeRequest> {
        let mut request = ScopeRequest::default();
        for word in text.split_ascii_whitespace() {
            let Some((group, value)) = word.split_once(':') else { continue };
            match group {
                "account" => request.account = Some(Level::parse(value)?),
                "trade" => request.trade = Some(Level::parse(value)?),
                "message" => {
                    let (level, admin) = request.message.unwrap_or_default();
                    request.message = Some(match value {
                        "admin" => (level, true),
                        value => (Level::parse(value)?, admin),
                    });
                }
                "backend" => request.backend = Some(Level::parse(value)?),
                "session" => request.session = Some(session_name(value)?.into()),
                "expires" => request.expires_s = Some(value.parse().ok().filter(|seconds| *seconds > 0)?),
                _ => {}
            }
        }
        Some(request)
    }

    /// What of `most` is asked for.
    #[must_use]
    pub fn within(&self, most: Scopes) -> Scopes {
        let Scopes { account, trade, message, backend, message_admin, control_write } = most;
        let (message, message_admin) = self.message.unwrap_or((message, message_admin));
        most.within(Scopes {
            message,
            message_admin,
            account: self.account.unwrap_or(account),
            trade: self.trade.unwrap_or(trade),
            backend: self.backend.unwrap_or(backend),
            control_write,
        })
    }
}

pub(super) fn session_name(text: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let fits = !text.is_empty() && text.len() <= SESSION_NAME_BYTES_MAX && text.bytes().all(is_plain);
    fits.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_scope_allows_what_a_narrower_one_does() {
        let scopes = Scopes::parse(["trade:read", "account:read_write", "account:read"]).unwrap();
        let allowed: Vec<&str> =
            Scope::ALL.into_iter().filter(|scope| scopes.allow(*scope)).map(Scope::as_str).collect();
        assert_eq!(allowed, ["account:read", "account:read_write", "trade:read"]);
        assert_eq!(scopes.words().collect::<Vec<_>>(), ["account:read_write", "trade:read"]);
        let operators = Scopes::parse(["control:write"]).unwrap();
        assert!(operators.allow(Scope::ControlWrite) && !operators.allow(Scope::AccountRead));
        assert_eq!(operators.words().collect::<Vec<_>>(), ["control:write"]);
        assert!(!operators.within(Scopes::ALL).allow(Scope::ControlWrite));
        assert_eq!(Scopes::parse(["trade:write"]), None);
        for scope in Scope::ALL {
            assert!(scope.needed().ends_with(scope.as_str()));
            assert!(!Scopes::default().allow(scope));
            assert_eq!(
                Scopes::ALL.allow(scope),
                !matches!(scope, Scope::ControlWrite | Scope::MessageAdmin),
                "clients do not operate the gateway, nor look at what is others'"
            );
        }
    }

    #[test]
    fn a_request_narrows_and_never_widens() {
        let check = |text: &str, expected: &str| {
            let most = Scopes::parse(["trade:read_write", "account:read"]).unwrap();
            let granted = ScopeRequest::parse(text).map(|request| request.within(most));
            let words = granted.map(|scopes| scopes.words().collect::<Vec<_>>().join(" "));
            assert_eq!(words.as_deref().unwrap_or("illegal"), expected, "{text:?}");
        };
        check("", "account:read trade:read_write");
        check("connection mainaccount wallet:read_write", "account:read trade:read_write");
        check("trade:read", "account:read trade:read");
        check("account:read_write trade:none", "account:read");
        check("trade:write", "illegal");
        check("message:read", "account:read trade:read_write");
        check("message:write", "illegal");
        let most = Scopes::parse(["message:read_write", "message:admin"]).unwrap();
        for (text, expected) in [
            ("", "message:read_write message:admin"),
            ("message:read", "message:read"),
            ("message:admin", "message:admin"),
            ("message:read message:admin", "message:read message:admin"),
            ("message:none", ""),
        ] {
            let granted = ScopeRequest::parse(text).unwrap().within(most);
            assert_eq!(granted.words().collect::<Vec<_>>().join(" "), expected, "{text:?}");
        }
        check("expires:0", "illegal");
        check("session:a b", "account:read trade:read_write");
        check("session:", "illegal");
        check("session:a/b", "illegal");
        let request = ScopeRequest::parse("session:desk_1 expires:60").unwrap();
        assert_eq!((request.session.as_deref(), request.expires_s), (Some("desk_1"), Some(60)));
    }
}
