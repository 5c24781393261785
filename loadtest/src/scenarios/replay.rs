//! Ticks a second through one shard: a recording is replayed as fast as the shard takes it, and nobody subscribes. On one core,
//! which reads and parses the recording too, so that what is told is the least that the shard's cache takes. And the same recording at a
//! steady rate to clients of either encoding. Home: the load thread.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::clock::{self, SECOND_NS};
use crate::encoding::Encoding;
use crate::failure::{Doing, Failure, Result};
use crate::operators::Metrics;
use crate::report::{Comparison, Sample};
use crate::scenarios::ingest;
use crate::scenarios::{self, Rig, Window};
use crate::server::{self, Launch, Server};

/// Instruments of the recording.
const PAIRS: [&str; 6] = ["EUR/USD", "GBP/USD", "USD/JPY", "USD/CHF", "AUD/USD", "EUR/GBP"];
/// Ticks of the recording, which begins again at its end.
const TICKS: u32 = 200_000;
/// For clients of either encoding it is replayed so many times as fast as it is: so many ticks a second.
const STEADY_SPEED: u64 = 2;
const STEADY_PER_S: u64 = STEADY_SPEED * 1_000;
/// Who is told of each of them.
const TOLD: usize = 100;
/// What the server counts its feed's events by.
const COUNTER: &str = "tickring_feed_events_total";

/// Replays at full speed on the first of the server's cores; `None` without a server.
pub(crate) fn run(rig: &Rig) -> Result<Option<Comparison>> {
    let recording = Recording::write()?;
    let shards = rig.cpus_server.get(..1).unwrap_or_default();
    let replayed = ["--replay", &recording.0.to_string_lossy(), "--speed", "max", "--loop"];
    let Some(launch) = rig.server_on(shards, "127.0.0.1:0", &replayed) else { return Ok(None) };
    let case = format!("replay: {} instruments at full speed through one shard, no subscriber", PAIRS.len());
    Ok(Some(rig.alone(&case, &launch, |launch| measure(rig, launch))))
}

/// Quotes to clients of JSON and to clients of SBE, in turns.
pub(crate) fn run_encodings(rig: &Rig) -> Result<Comparison> {
    let recording = Recording::write()?;
    let speed = STEADY_SPEED.to_string();
    let replayed = ["--replay", &recording.0.to_string_lossy(), "--speed", &speed, "--loop"];
    let own = replayed.iter().map(|argument| (*argument).to_owned());
    let server_arguments = rig.server_arguments.iter().cloned().chain(own).collect();
    let shape = ingest::Shape {
        subscribers: TOLD,
        rate_per_s: STEADY_PER_S,
        limit_rate_per_s: STEADY_PER_S,
        channels: vec!["quote.*".to_owned()],
        subscribe_extra: String::new(),
        stamp: "ns".to_owned(),
        limit_bytes: 0,
        limit_coalesce_us: 0,
        encoding: Encoding::Sbe,
    };
    ingest::run(&Rig { server_arguments, ..rig.clone() }, &shape)
}

fn measure(rig: &Rig, launch: &Launch) -> Result<Sample> {
    let server = Server::start(launch, rig.cpu_client)?;
    let control = server.control()?;
    server::sleep_ns(rig.warmup_ns);
    let window = Window::open(&server, 0)?;
    let (began_ns, before) = (clock::mono_ns(), events(control)?);
    server::sleep_ns(rig.measured_ns);
    let (ended_ns, after) = (clock::mono_ns(), events(control)?);
    let seen = window.close(&server, 0)?;
    let ticks = after - before;
    if ticks == 0 {
        return Err(Failure::Unmet("the replay stands still".to_owned()));
    }
    let mut sample = Sample::default();
    sample.add("ticks", "1/s", scenarios::ratio(ticks, ended_ns - began_ns) * scenarios::ratio(SECOND_NS, 1));
    sample.add("CPU per tick", "us", seen.cpu_us_each(ticks));
    sample.add("server CPU", "core", seen.cpu_share());
    Ok(sample)
}

/// Events that the feed has told so far.
fn events(control: SocketAddr) -> Result<u64> {
    Metrics::ask(control)?.sum_of(COUNTER)
}

/// A file that is gone with its owner.
struct Recording(PathBuf);

impl Recording {
    fn write() -> Result<Recording> {
        let path = std::env::temp_dir().join(format!("loadtest-{}-ticks.csv", std::process::id()));
        let recording = Recording(path);
        std::fs::write(recording.path(), text()).doing("write the recording")?;
        Ok(recording)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // It may have been taken away by others.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Ticks in TrueFX's form, a millisecond apart, whose prices go up and down.
fn text() -> String {
    let mut text = String::new();
    for (number, pair) in (0..TICKS).zip(PAIRS.iter().cycle()) {
        let (second, ms) = (number / 1_000, number % 1_000);
        let step = number / 7 % 50;
        writeln!(
            text,
            "{pair},20240102 00:{:02}:{:02}.{ms:03},1.1{step:02}20,1.1{step:02}33",
            second / 60,
            second % 60,
        )
        .expect("invariant: writing to a String cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recording_s_time_and_prices_are_those_of_a_market() {
        let text = text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), usize::try_from(TICKS).unwrap());
        assert_eq!(lines[0], "EUR/USD,20240102 00:00:00.000,1.10020,1.10033");
        assert_eq!(lines[199_999], "GBP/USD,20240102 00:03:19.999,1.12120,1.12133");
    }
}
