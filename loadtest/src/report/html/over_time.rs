//! The plots of what took place second by second, and the steps in which a long run is shown. PURE.
//! Invariant: gathered seconds show the worst latency and the mean rate of their step, and the page says so.

use crate::outcome::{Outcome, Second};

use super::plot::{Axis, Line, Plot};
use super::{Section, Shown};

/// Points of a line: more than a screen shows are gathered.
const STEPS_MAX: usize = 240;

/// Seconds that are shown as one.
pub(super) fn step(run: &Outcome, steps_max: usize) -> usize {
    run.seconds.len().div_ceil(steps_max).max(1)
}

/// Neighbouring seconds as one: rates as means, latencies as the worst, states as the last.
pub(super) fn gathered(run: &Outcome, step: usize) -> impl Iterator<Item = Gathered> + '_ {
    run.seconds.chunks(step.max(1)).filter_map(|seconds| {
        let last = seconds.last()?;
        let mean = |value: fn(&Second) -> u64| {
            seconds.iter().map(|second| value(second) as f64).sum::<f64>() / seconds.len() as f64
        };
        let worst = |value: fn(&Second) -> Option<u64>| seconds.iter().filter_map(value).max();
        let cores: Vec<f64> = seconds.iter().filter_map(|second| second.server_cpu_cores).collect();
        Some(Gathered {
            at_s: last.at_ms as f64 / 1_000.0,
            connections: last.connections as f64,
            sent: mean(|second| second.sent),
            received: mean(|second| second.received),
            errors: mean(|second| second.errors),
            p50_ns: worst(|second| second.p50_ns).map(|ns| ns as f64),
            p99_ns: worst(|second| second.p99_ns).map(|ns| ns as f64),
            max_ns: worst(|second| second.max_ns).map(|ns| ns as f64),
            cpu_cores: (!cores.is_empty()).then(|| cores.iter().sum::<f64>() / cores.len() as f64),
            resident_bytes: worst(|second| second.server_resident_bytes).map(|bytes| bytes as f64),
        })
    })
}

/// One step of a run.
pub(super) struct Gathered {
    pub(super) at_s: f64,
    pub(super) connections: f64,
    pub(super) sent: f64,
    pub(super) received: f64,
    pub(super) errors: f64,
    pub(super) p50_ns: Option<f64>,
    pub(super) p99_ns: Option<f64>,
    pub(super) max_ns: Option<f64>,
    pub(super) cpu_cores: Option<f64>,
    pub(super) resident_bytes: Option<f64>,
}

/// What is plotted of a step.
struct Quantity {
    name: &'static str,
    value: fn(&Gathered) -> Option<f64>,
}

/// Quantities that share an axis: one plot of a single run, one each where runs lie over one another.
struct Group {
    title: &'static str,
    y: Axis,
    quantities: &'static [Quantity],
}

const GROUPS: &[Group] = &[
    Group {
        title: "Latency over time",
        y: Axis::Duration,
        quantities: &[
            Quantity { name: "p50", value: |step| step.p50_ns },
            Quantity { name: "p99", value: |step| step.p99_ns },
            Quantity { name: "max", value: |step| step.max_ns },
        ],
    },
    Group {
        title: "Messages a second",
        y: Axis::Count,
        quantities: &[
            Quantity { name: "received", value: |step| Some(step.received) },
            Quantity { name: "sent", value: |step| Some(step.sent) },
        ],
    },
    Group {
        title: "Connections",
        y: Axis::Count,
        quantities: &[Quantity { name: "open", value: |step| Some(step.connections) }],
    },
    Group {
        title: "Errors a second",
        y: Axis::Count,
        quantities: &[Quantity { name: "errors", value: |step| Some(step.errors) }],
    },
    Group {
        title: "Processor of the server",
        y: Axis::Cores,
        quantities: &[Quantity { name: "cores", value: |step| step.cpu_cores }],
    },
    Group {
        title: "Resident memory of the server",
        y: Axis::Bytes,
        quantities: &[Quantity { name: "resident", value: |step| step.resident_bytes }],
    },
];

pub(super) fn plots<'a>(section: &'a Section<'_>) -> impl Iterator<Item = Plot> + 'a {
    let longest = section.runs.iter().map(|shown| step(shown.run, STEPS_MAX)).max().unwrap_or(1);
    let about = match longest {
        1 => String::new(),
        step => format!("Steps of {step} s: the worst latency and the mean rate of each."),
    };
    GROUPS.iter().flat_map(move |group| group_plots(group, section, &about))
}

fn group_plots(group: &Group, section: &Section<'_>, about: &str) -> Vec<Plot> {
    let plot = |title: String, lines: Vec<Line>| Plot {
        title,
        about: about.to_owned(),
        x: Axis::Time,
        y: group.y,
        lines: lines.into_iter().filter(|line| line.points.iter().any(|(_, y)| y.is_some())).collect(),
    };
    let plots: Vec<Plot> = match section.runs.as_slice() {
        [only] => {
            let quantities = group.quantities.iter().enumerate();
            let lines = quantities.map(|(at, quantity)| line(only, quantity, quantity.name.to_owned(), at));
            vec![plot(group.title.to_owned(), lines.collect())]
        }
        several => group
            .quantities
            .iter()
            .map(|quantity| {
                let lines =
                    several.iter().map(|shown| line(shown, quantity, shown.name.clone(), shown.colour));
                let is_alone = group.quantities.len() == 1;
                let suffix = if is_alone { String::new() } else { format!(": {}", quantity.name) };
                plot(format!("{}{suffix}", group.title), lines.collect())
            })
            .collect(),
    };
    // Errors are shown where there are some.
    let is_shown = |plot: &Plot| {
        let is_errors = group.title.starts_with("Errors");
        let has_some = plot.lines.iter().flat_map(|line| &line.points).any(|(_, y)| 0.0 < y.unwrap_or(0.0));
        !plot.lines.is_empty() && (has_some || !is_errors)
    };
    plots.into_iter().filter(is_shown).collect()
}

fn line(shown: &Shown<'_>, quantity: &Quantity, name: String, colour: usize) -> Line {
    let steps = gathered(shown.run, step(shown.run, STEPS_MAX));
    Line { name, colour, points: steps.map(|step| (step.at_s, (quantity.value)(&step))).collect() }
}
