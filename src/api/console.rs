//! `GET /`: the operator's console, a page with its style and script, all of them in the binary. PURE.
//!
//! Invariant: it asks nobody but this server for anything, which its policy has the browser hold.

use super::Answer;

/// Sent with every answer.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the console consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleFile {
    Page,
    Style,
    Script,
}

pub(super) fn answer(file: ConsoleFile) -> Answer {
    match file {
        ConsoleFile::Page => {
            Answer::text(200, "text/html; charset=utf-8", include_str!("console/console.html"))
        }
        ConsoleFile::Style => {
            Answer::text(200, "text/css; charset=utf-8", include_str!("console/console.css"))
        }
        ConsoleFile::Script => {
            Answer::text(200, "text/javascript; charset=utf-8", include_str!("console/console.js"))
        }
    }
}
