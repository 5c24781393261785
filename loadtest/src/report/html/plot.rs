//! One plot as inline SVG: axes, lines, a legend in HTML, and the values for the pointer. PURE.
//! Invariants: all coordinates lie in the drawing; a value that was not measured breaks its line; latencies stand on a
//! logarithmic axis, all else on a linear one from 0.

use std::fmt::Write as _;

use crate::units;

use super::markup::{Text, WRITES};
use super::percentile;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;

/// Colours of the page's style; more lines begin again with the first.
const COLOURS: usize = 8;
/// Ticks of a linear axis, about.
const TICKS: f64 = 5.0;
/// Labels below the drawing, for which there is room.
const LABELS_MAX: usize = 7;

pub(super) struct Plot {
    pub(super) title: String,
    /// A sentence below the title, or nothing.
    pub(super) about: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
}

pub(super) struct Line {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// What an axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    /// In nines: see `nines`.
    Percentile,
    /// In seconds.
    Time,
    /// In nanoseconds, logarithmic.
    Duration,
    Count,
    Cores,
    Bytes,
}

impl Axis {
    fn text(self, value: f64) -> String {
        match self {
            Axis::Percentile => format!("{} %", percentile(value)),
            Axis::Time => format!("{} s", units::digits(value)),
            Axis::Duration => units::duration(value),
            Axis::Count => units::digits(value),
            Axis::Cores => format!("{} cores", units::digits(value)),
            Axis::Bytes => units::bytes(value),
        }
    }

    /// As at a tick: no digits that say nothing.
    fn tick(self, value: f64) -> String {
        let text = match self {
            Axis::Percentile => return percentile(value),
            Axis::Cores => units::digits(value),
            Axis::Time | Axis::Duration | Axis::Count | Axis::Bytes => self.text(value),
        };
        let (number, unit) = text.split_once(' ').unwrap_or((&text, ""));
        let is_fraction = number.contains('.');
        let short = if is_fraction { number.trim_end_matches('0').trim_end_matches('.') } else { number };
        if unit.is_empty() { short.to_owned() } else { format!("{short} {unit}") }
    }

    fn name(self) -> &'static str {
        match self {
            Axis::Percentile => "by percentile",
            Axis::Time => "over time",
            Axis::Duration => "latency (logarithmic)",
            Axis::Count => "number",
            Axis::Cores => "cores",
            Axis::Bytes => "bytes",
        }
    }
}

/// From values to a part of the axis between 0 and 1.
struct Scale {
    axis: Axis,
    least: f64,
    most: f64,
}

impl Scale {
    fn of(axis: Axis, values: impl Iterator<Item = f64>) -> Scale {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        let (least, most) = match axis {
            Axis::Duration => {
                let (low, high) = (low.clamp(1.0, 1e15), high.clamp(1.0, 1e15));
                (log_floor(low), log_ceil(high).max(log_floor(low) * 10.0))
            }
            Axis::Percentile => (0.0, high.max(1.0)),
            Axis::Time => (0.0, high.max(1.0)),
            Axis::Count | Axis::Cores | Axis::Bytes => {
                let high = if high > 0.0 { high } else { 1.0 };
                let step = linear_step(axis, high);
                (0.0, (high / step).ceil() * step)
            }
        };
        Scale { axis, least, most }
    }

    fn part(&self, value: f64) -> f64 {
        let part = match self.axis {
            Axis::Duration => (value.max(1.0) / self.least).ln() / (self.most / self.least).ln(),
            Axis::Percentile | Axis::Time | Axis::Count | Axis::Cores | Axis::Bytes => {
                (value - self.least) / (self.most - self.least)
            }
        };
        part.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        let step = match self.axis {
            Axis::Duration => return log_ticks(self.least, self.most),
            Axis::Percentile => 1.0,
            Axis::Time | Axis::Count | Axis::Cores | Axis::Bytes => linear_step(self.axis, self.most),
        };
        let ticks = (0..64).map(|number| f64::from(number) * step);
        ticks.take_while(|tick| *tick <= self.most * 1.000_001).collect()
    }
}

/// 1, 2 or 5 times a power of ten, or of two for bytes, such that some five of them reach `most`.
fn linear_step(axis: Axis, most: f64) -> f64 {
    let base: f64 = if axis == Axis::Bytes { 2.0 } else { 10.0 };
    let raw = most / TICKS;
    let power = base.powf(raw.log(base).floor());
    let factors: &[f64] = if axis == Axis::Bytes { &[1.0, 2.0] } else { &[1.0, 2.0, 5.0, 10.0] };
    factors.iter().map(|factor| factor * power).find(|step| raw <= *step * 1.000_001).unwrap_or(power * base)
}

/// The next of 1, 2, 5, 10 … at or below.
fn log_floor(value: f64) -> f64 {
    let power = 10.0_f64.powf(value.log10().floor());
    [5.0, 2.0].into_iter().map(|factor| factor * power).find(|step| *step <= value).unwrap_or(power)
}

/// The next of 1, 2, 5, 10 … at or above.
fn log_ceil(value: f64) -> f64 {
    let power = 10.0_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps.into_iter().find(|step| value <= *step * 1.000_001).unwrap_or(power * 10.0)
}

/// Powers of ten; with their 2 and 5 where there is room.
fn log_ticks(least: f64, most: f64) -> Vec<f64> {
    let factors: &[f64] = if most / least <= 1_100.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let first = least.log10().floor();
    let powers = (0..16).map(|number| 10.0_f64.powf(first + f64::from(number)));
    let ticks = powers.flat_map(|power| factors.iter().map(move |factor| factor * power));
    ticks.filter(|tick| (least * 0.999_999..=most * 1.000_001).contains(tick)).collect()
}

impl Plot {
    /// `id` is unique in the page.
    pub(super) fn push(&self, page: &mut String, id: &str) {
        let x = Scale::of(self.x, self.points().map(|(x, _)| x));
        let y = Scale::of(self.y, self.points().map(|(_, y)| y));
        write!(page, "<figure class=\"plot\"><figcaption><h3 id=\"{id}\">{}</h3>", Text(&self.title))
            .expect(WRITES);
        if !self.about.is_empty() {
            write!(page, "<p>{}</p>", Text(&self.about)).expect(WRITES);
        }
        page.push_str("</figcaption>\n");
        write!(
            page,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}\">\n\
             <line class=\"rule\" x1=\"0\" x2=\"0\" y1=\"{TOP}\" y2=\"{}\"/>\n",
            HEIGHT - BOTTOM
        )
        .expect(WRITES);
        push_axes(page, &x, &y);
        for line in &self.lines {
            self.push_line(page, line, &x, &y);
        }
        page.push_str("</svg>\n");
        self.push_legend(page);
        page.push_str("<p class=\"read\"></p>\n</figure>\n");
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.lines.iter().flat_map(|line| &line.points).filter_map(|(x, y)| Some((*x, (*y)?)))
    }

    fn push_line(&self, page: &mut String, line: &Line, x: &Scale, y: &Scale) {
        let (mut path, mut read) = (String::new(), String::new());
        let mut is_begun = false;
        for (at, value) in &line.points {
            let Some(value) = value.filter(|value| value.is_finite()) else {
                is_begun = false;
                continue;
            };
            let (left, top) = (across(x.part(*at)), down(y.part(value)));
            // The second command draws a dot where the line has one point only.
            match is_begun {
                false => write!(path, "M{left:.1} {top:.1}h0").expect(WRITES),
                true => write!(path, "L{left:.1} {top:.1}").expect(WRITES),
            }
            is_begun = true;
            let separator = if read.is_empty() { "" } else { ";" };
            let told = format!("{}: {}", self.x.text(*at), self.y.text(value));
            write!(read, "{separator}{left:.1} {top:.1} {told}").expect(WRITES);
        }
        let colour = line.colour % COLOURS;
        let name = Text(&line.name);
        writeln!(page, "<path class=\"c{colour}\" d=\"{path}\" data-name=\"{name}\" data-read=\"{read}\"/>")
            .expect(WRITES);
    }

    /// One entry a colour: the runs of one server share it.
    fn push_legend(&self, page: &mut String) {
        if self.lines.len() < 2 {
            return;
        }
        page.push_str("<ul class=\"legend\">");
        let mut shown: Vec<usize> = Vec::new();
        for line in &self.lines {
            if shown.contains(&line.colour) {
                continue;
            }
            shown.push(line.colour);
            let name = self.legend_name(line);
            write!(
                page,
                "<li><svg class=\"swatch\" viewBox=\"0 0 24 8\" aria-hidden=\"true\">\
                 <path class=\"c{}\" d=\"M1 4L23 4\"/></svg>{}</li>",
                line.colour % COLOURS,
                Text(&name)
            )
            .expect(WRITES);
        }
        page.push_str("</ul>\n");
    }
}

impl Plot {
    /// That of the line, or of all lines of its colour.
    fn legend_name(&self, line: &Line) -> String {
        let same: Vec<&Line> = self.lines.iter().filter(|other| other.colour == line.colour).collect();
        let Some((server, _)) = line.name.rsplit_once(", run ").filter(|_| same.len() > 1) else {
            return line.name.clone();
        };
        let refused = same.iter().filter(|other| other.name.ends_with(super::REFUSED)).count();
        match refused {
            0 => format!("{server}, {} runs", same.len()),
            some => format!("{server}, {} runs, {some} refused", same.len()),
        }
    }
}

fn push_axes(page: &mut String, x: &Scale, y: &Scale) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    page.push_str("<g class=\"axes\">\n");
    for tick in y.ticks() {
        let at = down(y.part(tick));
        let text = y.axis.tick(tick);
        writeln!(
            page,
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"y\" x=\"{}\" y=\"{:.1}\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            Text(&text)
        )
        .expect(WRITES);
    }
    let ticks = x.ticks();
    let labelled_every = ticks.len().div_ceil(LABELS_MAX).max(1);
    for (number, tick) in ticks.into_iter().enumerate() {
        let at = across(x.part(tick));
        let is_labelled = number.is_multiple_of(labelled_every);
        let text = if is_labelled { x.axis.tick(tick) } else { String::new() };
        writeln!(
            page,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text class=\"x\" x=\"{at:.1}\" y=\"{}\">{}</text>",
            bottom + 15.0,
            Text(&text)
        )
        .expect(WRITES);
    }
    writeln!(
        page,
        "<text class=\"x name\" x=\"{:.1}\" y=\"{}\">{} {}</text>\n</g>",
        f64::midpoint(LEFT, right),
        HEIGHT - 6.0,
        y.axis.name(),
        x.axis.name()
    )
    .expect(WRITES);
}

fn across(part: f64) -> f64 {
    LEFT + part * (WIDTH - LEFT - RIGHT)
}

fn down(part: f64) -> f64 {
    HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
}
