//! How long a server takes from its start to its address line, which it writes after `READY=1`. Home: the load thread.

use crate::report::{Comparison, Sample};
use crate::scenarios::Rig;
use crate::server::Server;

/// Starts of one run: a start is short, and each is a number of its own.
const STARTS: usize = 4;

/// Starts it over and over; `None` without a server.
pub(crate) fn run(rig: &Rig) -> Option<Comparison> {
    let launch = rig.server(&[])?;
    let starts = Rig { pairs: rig.pairs * STARTS, ..rig.clone() };
    Some(starts.alone("start: to the address line, behind READY=1", &launch, |launch| {
        let mut sample = Sample::default();
        sample.add_us("start to address line", Server::start(launch, rig.cpu_client)?.started_in_ns);
        Ok(sample)
    }))
}
