//! Ingest: ticks from the server's own feed to many client sockets; the latency is from the unix-time stamp in each
//! notification to its receipt. The limit makes its own stamped notifications at the same rate, sends gathered over
//! a stated time. Home: the load thread.
//! The seam to the server: how it is started (`--replay`, `--config`), which channels, what must be added to the
//! subscribe for stamps, and the member that holds the stamp are all arguments.

use memchr::memmem;

use crate::client::{self, Clients};
use crate::clock;
use crate::encoding::{self, Encoding};
use crate::failure::{Failure, Result};
use crate::frame;
use crate::histogram::Latencies;
use crate::report::{Comparison, Sample};
use crate::scenarios::{self, Arms, Rig, Window};
use crate::server::{Launch, Server};
use crate::wire;

/// What is subscribed and how the stamp is found.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) subscribers: usize,
    /// Ticks a second that the server's feed is configured for.
    pub(crate) rate_per_s: u64,
    /// Notifications a second that the limit makes for each subscriber.
    pub(crate) limit_rate_per_s: u64,
    pub(crate) channels: Vec<String>,
    /// Put verbatim into the subscribe's `params`, such as `,"stamps":true`.
    pub(crate) subscribe_extra: String,
    /// The member that holds the unix time in nanoseconds.
    pub(crate) stamp: String,
    /// Bytes of data in the limit's notifications.
    pub(crate) limit_bytes: usize,
    pub(crate) limit_coalesce_us: u64,
    /// With SBE the server is beside itself: once for clients of JSON, once for those of SBE.
    pub(crate) encoding: Encoding,
}

/// Finds when a notification was stamped, in nanoseconds since 1970.
enum Stamps {
    Json { key: String, finder: Box<memmem::Finder<'static>> },
    Sbe,
}

/// Templates of the market's messages by docs/sbe/tickring.xml, and the time that all of them have at one place.
const TEMPLATES: std::ops::RangeInclusive<u16> = 10..=14;
const SENDING_TIME_AT: usize = 24;

impl Stamps {
    fn new(encoding: Encoding, member: &str) -> Stamps {
        let key = format!("\"{member}\":");
        match encoding {
            Encoding::Json => Stamps::Json { finder: Box::new(memmem::Finder::new(&key).into_owned()), key },
            Encoding::Sbe => Stamps::Sbe,
        }
    }

    fn find(&self, message: &[u8]) -> Option<u64> {
        match self {
            Stamps::Json { key, finder } => {
                finder.find(message).and_then(|at| wire::number(&message[at + key.len()..]))
            }
            Stamps::Sbe => {
                let (template, _) = encoding::template(message)?;
                let stamp = encoding::u64_at(message, SENDING_TIME_AT)?;
                TEMPLATES.contains(&template).then_some(stamp)
            }
        }
    }
}

/// Compares the way from the stamp to the client.
pub(crate) fn run(rig: &Rig, shape: &Shape) -> Result<Comparison> {
    let limit = [
        "fanout".to_owned(),
        "--stamped".to_owned(),
        "--rate".to_owned(),
        shape.limit_rate_per_s.to_string(),
        "--bytes".to_owned(),
        shape.limit_bytes.to_string(),
        "--coalesce-us".to_owned(),
        shape.limit_coalesce_us.to_string(),
    ];
    let arms = match (shape.encoding, rig.server(&[])) {
        (Encoding::Json, server) => rig.arms(rig.limit(&limit)?, server),
        (Encoding::Sbe, None) => {
            return Err(Failure::Unmet("a limit says nothing in SBE: name a --server".to_owned()));
        }
        (Encoding::Sbe, Some(server)) => {
            Arms { limit: server.clone(), limit_name: "JSON", subject: server, subject_name: "SBE" }
        }
    };
    let case = format!(
        "ingest: {} ticks/s asked, {} subscribers of {}, limit gathers {} us",
        shape.rate_per_s,
        shape.subscribers,
        shape.channels.join(" "),
        shape.limit_coalesce_us
    );
    Ok(rig.compare(&case, &arms, |launch| {
        // The arms may be one server; which of them it is says its place.
        let encoding = if std::ptr::eq(launch, &arms.subject) { shape.encoding } else { Encoding::Json };
        measure(rig, launch, shape, encoding)
    }))
}

fn measure(rig: &Rig, launch: &Launch, shape: &Shape, encoding: Encoding) -> Result<Sample> {
    let server = Server::start(launch, rig.cpu_client)?;
    let mut clients = Clients::new()?;
    let subscribe = wire::subscribe_request(&shape.channels, &shape.subscribe_extra);
    for _ in 0..shape.subscribers {
        let mut request = Vec::new();
        frame::encode_client(frame::TEXT, subscribe.as_bytes(), &mut request);
        let slot = clients.add(client::connect_asking(server.address, encoding.fields())?);
        clients.outbox().send(slot, &request)?;
    }
    let stamps = Stamps::new(encoding, &shape.stamp);
    let mut latencies = Latencies::new();
    let (mut delivered, mut bytes, mut unstamped) = (0_u64, 0_u64, 0_u64);
    let measured_from_ns = clock::unix_ns() + rig.warmup_ns;
    let mut run_until = |clients: &mut Clients, until_ns: u64| -> Result<(u64, u64, u64)> {
        loop {
            let now_ns = clients.turn(|_, _, message| {
                let Some(stamp_ns) = stamps.find(message) else {
                    unstamped += 1;
                    return Ok(());
                };
                delivered += 1;
                bytes += message.len() as u64;
                if measured_from_ns <= stamp_ns {
                    latencies.record(clock::unix_ns().saturating_sub(stamp_ns).max(1));
                }
                Ok(())
            })?;
            if until_ns <= now_ns {
                return Ok((delivered, bytes, unstamped));
            }
        }
    };
    let before = run_until(&mut clients, clock::mono_ns() + rig.warmup_ns)?;
    let opened = Window::open(&server, clients.idle_ns())?;
    let after = run_until(&mut clients, clock::mono_ns() + rig.measured_ns)?;
    let seen = opened.close(&server, clients.idle_ns())?;
    let count = after.0 - before.0;
    if count == 0 {
        return Err(Failure::Unmet(format!(
            "no notification carried its stamp ({:?} {}; {} messages without it)",
            encoding, shape.stamp, after.2
        )));
    }
    let mut sample = describe(&latencies, &seen, count, after.1 - before.1);
    let each_per_s = seen.rate_per_s(count) / scenarios::ratio(shape.subscribers as u64, 1);
    sample.add("notifications each", "1/s", each_per_s);
    let is_server = rig.server.as_ref() == Some(&launch.program);
    if !is_server {
        sample.caveats.push("it spins between its notifications: its CPU is no measure here".to_owned());
    }
    if is_server && each_per_s < 0.95 * scenarios::ratio(shape.rate_per_s, 1) {
        sample.caveats.push(format!(
            "fewer notifications than the {} ticks/s asked: conflation, or channels that carry a part of the feed",
            shape.rate_per_s
        ));
    }
    Ok(sample)
}

fn describe(latencies: &Latencies, seen: &scenarios::Seen, count: u64, bytes: u64) -> Sample {
    let summary = latencies.summary();
    let mut sample = Sample::default();
    sample.add_us("tick to client p50", summary.p50_ns);
    sample.add_us("tick to client p99", summary.p99_ns);
    sample.add_us("tick to client p99.9", summary.p999_ns);
    sample.add_us("tick to client max", summary.max_ns);
    sample.add("deliveries", "1/s", seen.rate_per_s(count));
    sample.add("notification", "bytes", scenarios::ratio(bytes, count));
    sample.add("CPU per delivery", "us", seen.cpu_us_each(count));
    seen.describe(&mut sample);
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamp_is_found_in_either_encoding_and_in_nothing_else() {
        let json = Stamps::new(Encoding::Json, "ns");
        let sbe = Stamps::new(Encoding::Sbe, "ns");
        let note = br#"{"method":"subscription","params":{"data":{},"seq":1,"ns":1700000000000000001}}"#;
        assert_eq!((json.find(note), sbe.find(note)), (Some(1_700_000_000_000_000_001), None));
        let mut quote = [68_u16, 11, 1, 0].map(u16::to_le_bytes).concat();
        quote.extend([17_u64, 3, 1_700_000_000_000_000_002].map(u64::to_le_bytes).concat());
        quote.resize(76, 0);
        assert_eq!((json.find(&quote), sbe.find(&quote)), (None, Some(1_700_000_000_000_000_002)));
        // A gap notice has another template.
        quote[2] = 2;
        assert_eq!(sbe.find(&quote), None);
        assert_eq!(sbe.find(&quote[..20]), None);
    }
}
