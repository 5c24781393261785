//! Results as CSV (RFC 4180): one row a run, and one a second in a second file. PURE.
//! Invariants: the columns are the same for all results, so that files can be joined; what was not measured is empty; times
//! are whole nanoseconds, unless the name says otherwise.

use crate::figures::{KINDS, kind_name};
use crate::outcome::{Latency, Outcome, Outcomes, Second};

pub(super) fn runs(outcomes: &Outcomes) -> String {
    let mut text = String::new();
    for (at, run) in outcomes.runs.iter().enumerate() {
        let row = columns(outcomes, run, at);
        if at == 0 {
            push_row(&mut text, row.iter().map(|(name, _)| name.as_str()));
        }
        push_row(&mut text, row.iter().map(|(_, value)| value.as_str()));
    }
    text
}

pub(super) fn seconds(outcomes: &Outcomes) -> String {
    let mut text = String::new();
    let names = "run,scenario,server,at_ms,connections,sent,received,errors,p50_ns,p99_ns,max_ns,server_cpu_cores,\
                 server_resident_bytes";
    push_row(&mut text, names.split(','));
    for (at, run) in outcomes.runs.iter().enumerate() {
        for second in &run.seconds {
            let row = second_row(run, second, at);
            push_row(&mut text, row.iter().map(String::as_str));
        }
    }
    text
}

fn columns(outcomes: &Outcomes, run: &Outcome, at: usize) -> Vec<(String, String)> {
    let mut columns = Vec::new();
    let mut add = |name: &str, value: String| columns.push((name.to_owned(), value));
    add("run", (at + 1).to_string());
    add("scenario", run.scenario.clone());
    add("server", run.server.clone());
    add("server_version", run.server_version.clone().unwrap_or_default());
    add("url", run.url.clone());
    add("started_unix_ms", run.started_unix_ms.to_string());
    add("measured_ns", run.measured_ns.to_string());
    add("grade", run.graded.as_ref().map(|graded| graded.grade.to_string()).unwrap_or_default());
    add("refused", run.refused.join("; "));
    add("notes", run.notes.join("; "));
    let counts = &run.counts;
    let numbers = [
        ("connections_wanted", counts.connections_wanted),
        ("connections_opened", counts.connections_opened),
        ("connections_lost", counts.connections_lost),
        ("requests_sent", counts.requests_sent),
        ("replies_received", counts.replies_received),
        ("published", counts.published),
        ("deliveries_expected", counts.deliveries_expected),
        ("deliveries_received", counts.deliveries_received),
        ("gaps", counts.gaps),
        ("duplicates", counts.duplicates),
        ("reordered", counts.reordered),
        ("bytes_sent", counts.bytes_sent),
        ("bytes_received", counts.bytes_received),
        ("errors", run.errors()),
    ];
    for (name, number) in numbers {
        add(name, number.to_string());
    }
    let kinds: Vec<String> = counts.errors.iter().map(|(kind, count)| format!("{kind} x {count}")).collect();
    add("errors_by_kind", kinds.join("; "));
    for kind in KINDS {
        let latency = run.latencies.get(&kind);
        for (name, value) in LATENCY_COLUMNS {
            add(&format!("{}_{name}", kind_name(kind)), latency.map(value).unwrap_or_default());
        }
    }
    let used = run.server_use.as_ref();
    let or_empty = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    add("server_cpu_ns", or_empty(used.map(|used| used.cpu_ns)));
    let busiest = used.map(|used| used.busiest_thread_share.to_string());
    add("server_busiest_thread_share", busiest.unwrap_or_default());
    add("server_resident_before_bytes", or_empty(used.map(|used| used.resident_before_bytes)));
    add("server_resident_peak_bytes", or_empty(used.map(|used| used.resident_peak_bytes)));
    add("server_voluntary_switches", or_empty(used.map(|used| used.voluntary_switches)));
    add("server_involuntary_switches", or_empty(used.map(|used| used.involuntary_switches)));
    let generator = &run.generator;
    add("generator_processes", generator.processes.to_string());
    add("generator_busy_share", generator.busy_share.to_string());
    add("generator_lag_p50_ns", generator.lag_p50_ns.to_string());
    add("generator_lag_p99_ns", generator.lag_p99_ns.to_string());
    add("steal_share", generator.steal_share.map(|share| share.to_string()).unwrap_or_default());
    add("kernel", outcomes.host.kernel.clone());
    add("cpu", outcomes.host.cpu.clone());
    add("cores", outcomes.host.cores.to_string());
    add("memory_bytes", outcomes.host.memory_bytes.to_string());
    add("loadtest_version", outcomes.tool.version.clone());
    add("loadtest_commit", outcomes.tool.commit.clone().unwrap_or_default());
    columns
}

type LatencyColumn = (&'static str, fn(&Latency) -> String);

const LATENCY_COLUMNS: [LatencyColumn; 9] = [
    ("count", |latency| latency.count.to_string()),
    ("min_ns", |latency| latency.min_ns.to_string()),
    ("mean_ns", |latency| format!("{:.0}", latency.mean_ns)),
    ("p50_ns", |latency| latency.p50_ns.to_string()),
    ("p90_ns", |latency| latency.p90_ns.to_string()),
    ("p99_ns", |latency| latency.p99_ns.to_string()),
    ("p999_ns", |latency| latency.p999_ns.to_string()),
    ("p9999_ns", |latency| latency.p9999_ns.to_string()),
    ("max_ns", |latency| latency.max_ns.to_string()),
];

fn second_row(run: &Outcome, second: &Second, at: usize) -> [String; 13] {
    let or_empty = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    [
        (at + 1).to_string(),
        run.scenario.clone(),
        run.server.clone(),
        second.at_ms.to_string(),
        second.connections.to_string(),
        second.sent.to_string(),
        second.received.to_string(),
        second.errors.to_string(),
        or_empty(second.p50_ns),
        or_empty(second.p99_ns),
        or_empty(second.max_ns),
        second.server_cpu_cores.map(|cores| cores.to_string()).unwrap_or_default(),
        or_empty(second.server_resident_bytes),
    ]
}

fn push_row<'a>(text: &mut String, fields: impl Iterator<Item = &'a str>) {
    for (at, field) in fields.enumerate() {
        if at > 0 {
            text.push(',');
        }
        push_field(text, field);
    }
    text.push_str("\r\n");
}

fn push_field(text: &mut String, field: &str) {
    if !field.contains(['"', ',', '\r', '\n']) {
        text.push_str(field);
        return;
    }
    text.push('"');
    text.push_str(&field.replace('"', "\"\""));
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Kind;
    use crate::samples;

    #[test]
    fn a_second_is_a_row() {
        let mut run = samples::outcome();
        run.seconds.truncate(2);
        run.seconds[1] = Second { at_ms: 2_000, errors: 7, ..Second::default() };
        let expected = concat!(
            "run,scenario,server,at_ms,connections,sent,received,errors,p50_ns,p99_ns,max_ns,",
            "server_cpu_cores,server_resident_bytes\r\n",
            "1,baseline,tickring,1000,100,1050,6000,0,910000,2100000,5500000,0.07,40020480\r\n",
            "1,baseline,tickring,2000,0,0,0,7,,,,,\r\n",
        );
        assert_eq!(seconds(&samples::outcomes(vec![run])), expected);
    }

    #[test]
    fn a_run_is_a_row_with_a_field_for_each_name() {
        let mut run = samples::outcome();
        run.latencies.retain(|kind, _| *kind == Kind::Request);
        run.server_use = None;
        run.server_version = None;
        run.generator.steal_share = None;
        run.refused = vec!["the \"core\" was stolen, often".to_owned(), "late".to_owned()];
        run.notes.push("told".to_owned());
        run.counts.errors.insert("close 1013".to_owned(), 2);
        let text = runs(&samples::outcomes(vec![run]));
        let expected = concat!(
            "1,baseline,tickring,,ws://127.0.0.1:9001/ws,1795322218000,10000000000,,",
            "\"the \"\"core\"\" was stolen, often; late\",told,",
            "100,100,0,10000,10000,500,50000,50000,0,0,0,1000000,9000000,2,close 1013 x 2,",
            ",,,,,,,,,10000,100000,220000,200000,300000,400000,800000,1600000,2000000,",
            ",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,1,0.125,4000,25000,,",
            "6.1.0-test,Example CPU @ 2.00GHz,2,8589934592,0.1.0,0123456789ab",
        );
        let mut lines = text.split("\r\n");
        let names: Vec<&str> = lines.next().expect("it has a head").split(',').collect();
        assert_eq!(lines.next(), Some(expected));
        assert_eq!((lines.next(), lines.next()), (Some(""), None));
        // The one comma inside quotes is no separator.
        assert_eq!(names.len(), expected.split(',').count() - 1);
        let place = names.iter().position(|name| *name == "request_p99_ns");
        assert_eq!(place.and_then(|place| expected.split(',').nth(place + 1)), Some("400000"));
    }
}
