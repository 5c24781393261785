//! Ping-pong: one connection, one request at a time, client spinning, server busy-polling. Home: the load thread.

use crate::client::Single;
use crate::clock;
use crate::failure::{Failure, Result};
use crate::frame;
use crate::histogram::Latencies;
use crate::report::{Comparison, Sample};
use crate::scenarios::{Rig, Window};
use crate::server::{Launch, Server};
use crate::wire;

/// Compares the round trip of `public/test`.
pub(crate) fn run(rig: &Rig) -> Result<Comparison> {
    let server = rig.server(&["--busy-poll"]);
    let mut limit = vec!["echo".to_owned(), "--busy-poll".to_owned()];
    limit.extend(crate::scenarios::request::learnt_reply(rig, server.as_ref())?);
    let arms = rig.arms(rig.limit(&limit)?, server);
    Ok(rig
        .compare("ping: public/test, 1 connection, both ends spinning", &arms, |launch| measure(rig, launch)))
}

fn measure(rig: &Rig, launch: &Launch) -> Result<Sample> {
    let server = Server::start(launch, rig.cpu_client)?;
    let mut connection = Single::connect(server.address)?;
    connection.ask(wire::TEST_REQUEST)?;
    let mut request = Vec::new();
    frame::encode_client(frame::TEXT, wire::TEST_REQUEST.as_bytes(), &mut request);

    let warm_ns = clock::mono_ns() + rig.warmup_ns;
    while clock::mono_ns() < warm_ns {
        connection.send(&request)?;
        connection.receive()?;
    }
    let mut latencies = Latencies::new();
    let window = Window::open(&server, 0)?;
    let end_ns = clock::mono_ns() + rig.measured_ns;
    let mut sent_ns = clock::mono_ns();
    while sent_ns < end_ns {
        connection.send(&request)?;
        let reply = connection.receive()?;
        let received_ns = clock::mono_ns();
        if !wire::is_result(reply) {
            return Err(Failure::Protocol(format!(
                "a reply without a result: {}",
                String::from_utf8_lossy(reply)
            )));
        }
        latencies.record(received_ns - sent_ns);
        sent_ns = clock::mono_ns();
    }
    let seen = window.close(&server, 0)?;
    let summary = latencies.summary();
    let mut sample = Sample::default();
    sample.add_us("round trip p50", summary.p50_ns);
    sample.add_us("round trip p99", summary.p99_ns);
    sample.add_us("round trip p99.9", summary.p999_ns);
    sample.add("round trips", "1/s", seen.rate_per_s(summary.count));
    sample.add("server CPU", "core", seen.cpu_share());
    Ok(sample)
}
