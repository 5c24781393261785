//! Revisions of the protocol, and what the gateway says of itself. PURE. Home: the control thread.

use super::message::quoted;

/// A revision, by its date; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revision {
    V2024_11_05,
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
}

impl Revision {
    pub const ALL: [Revision; 4] =
        [Revision::V2024_11_05, Revision::V2025_03_26, Revision::V2025_06_18, Revision::V2025_11_25];
    pub const LATEST: Revision = Revision::V2025_11_25;
    /// What a client speaks that does not say so in its requests (2025-06-18, Transports).
    pub const UNSAID: Revision = Revision::V2025_03_26;

    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Revision::V2024_11_05 => "2024-11-05",
            Revision::V2025_03_26 => "2025-03-26",
            Revision::V2025_06_18 => "2025-06-18",
            Revision::V2025_11_25 => "2025-11-25",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Revision> {
        Revision::ALL.into_iter().find(|revision| revision.text() == text)
    }

    /// What a client is answered that asks for this one.
    pub(super) fn negotiated(asked: &str) -> Revision {
        Revision::parse(asked).unwrap_or(Revision::LATEST)
    }
}

/// The result of `initialize` for clients. All that a backend may offer is offered: those that come later need no other answer.
pub(super) fn greeting(revision: Revision, gateway_version: &str) -> String {
    format!(
        concat!(
            r#"{{"protocolVersion":"{}","capabilities":{{"tools":{{"listChanged":true}},"#,
            r#""resources":{{"subscribe":true,"listChanged":true}},"prompts":{{"listChanged":true}},"#,
            r#""logging":{{}},"completions":{{}}}},"serverInfo":{{"name":"tickring","version":{}}}}}"#
        ),
        revision.text(),
        quoted(gateway_version)
    )
}

/// The params of the gateway's own `initialize`, to a backend. `capabilities` is JSON: what of clients may be asked.
pub(super) fn introduction(capabilities: &str, gateway_version: &str) -> String {
    format!(
        r#"{{"protocolVersion":"{}","capabilities":{capabilities},"clientInfo":{{"name":"tickring","version":{}}}}}"#,
        Revision::LATEST.text(),
        quoted(gateway_version)
    )
}

/// What a backend may ask of whoever happens to be its only client at a time.
pub(super) const SHARED_CAPABILITIES: &str =
    r#"{"sampling":{},"elicitation":{},"roots":{"listChanged":false}}"#;
