//! `GET /debug/pprof/profile` and `/debug/pprof/heap`: what is asked for, and a profile as it is told (decision 0017). PURE.

use aws_lc_rs::digest;
use serde_json::json;

use crate::limits;
use crate::telemetry::profile::{self, Profile};

use super::{Answer, parameter};

const SECONDS_USUAL: u32 = 10;
const HZ_USUAL: u32 = 99;

/// What of a profile is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub seconds: u32,
    pub hz: u32,
    pub format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Svg,
    Folded,
    Json,
    Pprof,
}

/// A profile in the form that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    Text(Answer),
    /// A picture with a script, under a policy of its own.
    Picture(Answer, String),
    /// A file, compressed already.
    File(Vec<u8>),
}

/// Why there is no profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// One is being taken, and so many seconds are left.
    Busy(u32),
    /// The kernel does not let us; what it says.
    Kernel(String),
    /// Something else fails.
    Failed(String),
}

impl Asked {
    /// Reads a query.
    ///
    /// # Errors
    /// The answer to one that is wrong.
    pub fn read(query: &str) -> Result<Asked, Answer> {
        let number = |name: &str, usual: u32, max: u32| match parameter(query, name) {
            None => Ok(usual),
            Some(text) => text
                .parse()
                .ok()
                .filter(|number| (1..=max).contains(number))
                .ok_or_else(|| Answer::error(400, &format!("{name} is a number, 1 to {max}"))),
        };
        let format = match parameter(query, "format") {
            None | Some("svg") => Format::Svg,
            Some("folded") => Format::Folded,
            Some("json") => Format::Json,
            Some("pprof") => Format::Pprof,
            Some(_) => return Err(Answer::error(400, "format is svg, folded, json or pprof")),
        };
        let seconds = number("seconds", SECONDS_USUAL, limits::PROFILE_SECONDS_MAX)?;
        Ok(Asked { seconds, hz: number("hz", HZ_USUAL, limits::PROFILE_HZ_MAX)?, format })
    }
}

/// The profile as it was asked for.
#[must_use]
pub fn written(format: Format, profile: &Profile) -> Written {
    match format {
        Format::Svg => {
            Written::Picture(Answer::text(200, "image/svg+xml", profile::flame_graph(profile)), policy())
        }
        Format::Folded => {
            Written::Text(Answer::text(200, "text/plain; charset=utf-8", profile::folded(profile)))
        }
        Format::Json => Written::Text(summary(profile)),
        Format::Pprof => Written::File(profile::pprof(profile)),
    }
}

/// The answer where there is none.
#[must_use]
pub fn refused(refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::Busy(seconds) => Answer {
            retry_after_s: Some(*seconds),
            ..Answer::error(409, &format!("a profile is being taken, for another {seconds} s"))
        },
        Refusal::Kernel(why) => Answer::error(
            503,
            &format!(
                "the kernel refuses perf_event_open ({why}): see sysctl kernel.perf_event_paranoid, SystemCallFilter of the unit or \
                 seccomp of the container (docs/operations.md); or take it from outside by perf record -g -p PID"
            ),
        ),
        Refusal::Failed(why) => Answer::error(500, why),
    }
}

/// Of memory.
pub(super) fn heap() -> Answer {
    Answer::error(
        501,
        "the allocator is the system's, which does not know who allocated what: \
         tickring_memory_held_bytes and /debug/shards say what is held",
    )
}

fn summary(profile: &Profile) -> Answer {
    let threads = profile.threads.iter().map(|thread| {
        json!({
            "name": thread.name, "tid": thread.tid, "samples": thread.samples,
            "lost": thread.lost, "cut": thread.cut,
        })
    });
    let seconds = profile.duration_ns as f64 / 1e9;
    Answer::json(
        200,
        &json!({
            "seconds": super::rounded(seconds),
            "hz": profile.hz,
            "samples": profile.samples(),
            "lost": profile.lost(),
            "cut": profile.cut(),
            "kernel": profile.kernel.name(),
            "stacks": profile.stacks.len(),
            "threads": threads.collect::<Vec<_>>(),
        }),
    )
}

/// The picture's own script and style, and nothing else.
fn policy() -> String {
    let hash = digest::digest(&digest::SHA256, profile::SCRIPT.as_bytes());
    let hash = data_encoding::BASE64.encode(hash.as_ref());
    format!(
        "default-src 'none'; script-src 'sha256-{hash}'; style-src 'unsafe-inline'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    )
}
