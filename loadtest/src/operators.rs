//! What a server tells its operators of itself. Home: the load thread.
//! Invariant: a metric that the server does not have is a failure, and no zero.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::failure::{Doing, Failure, Result};

/// The longest wait for an answer of the operators' port.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// All metrics of one moment, in the text form of Prometheus.
#[derive(Debug)]
pub(crate) struct Metrics(String);

impl Metrics {
    pub(crate) fn ask(control: SocketAddr) -> Result<Metrics> {
        let mut stream = TcpStream::connect(control).doing("connect to the operators' port")?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).doing("SO_RCVTIMEO")?;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {control}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).doing("ask for the metrics")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).doing("read the metrics")?;
        Ok(Metrics(answer))
    }

    /// One metric, over all of its labels.
    pub(crate) fn sum_of(&self, name: &str) -> Result<u64> {
        let mut values = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let value = if rest.starts_with('{') { rest.rsplit_once('}')?.1 } else { rest };
            value.strip_prefix(' ')?.trim().parse::<u64>().ok()
        });
        let none = || Failure::Protocol(format!("no {name} among the metrics"));
        let first = values.next().ok_or_else(none)?;
        Ok(first + values.sum::<u64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_another_that_begins_so_is_none_of_it() {
        let text = "# TYPE a_total counter\na_total{thread=\"x\"} 3\na_total{thread=\"y\"} 4\na_total_more 9\nb_total 5\n";
        let metrics = Metrics(text.to_owned());
        assert_eq!(metrics.sum_of("a_total").unwrap(), 7);
        assert_eq!(metrics.sum_of("b_total").unwrap(), 5);
        assert!(metrics.sum_of("c_total").is_err());
    }
}
