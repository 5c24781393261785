//! What the page must hold, asked of the page as a tree: well-formed, escaped, complete.

use super::*;
use crate::grade::{Thresholds, grade};
use crate::outcome::Second;
use crate::samples;

/// An element and what is in it; texts have no name.
struct Node {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Node>,
}

impl Node {
    fn all<'a>(&'a self, name: &str) -> Vec<&'a Node> {
        let below = self.children.iter().flat_map(|child| child.all(name));
        (self.name == name).then_some(self).into_iter().chain(below).collect()
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn words(&self) -> String {
        self.children.iter().fold(self.text.clone(), |words, child| words + &child.words())
    }

    /// The cells of all rows whose first cell is this.
    fn rows(&self, first: &str) -> Vec<Vec<String>> {
        let cells = |row: &&Node| row.children.iter().map(Node::words).collect::<Vec<String>>();
        let rows = self.all("tr");
        rows.iter().map(cells).filter(|row| row.first().is_some_and(|cell| cell == first)).collect()
    }
}

/// The tree of a page; panics where it is not well-formed.
fn tree(page: &str) -> Node {
    let mut rest = page.strip_prefix("<!DOCTYPE html>\n").expect("it says what it is");
    let mut open: Vec<Node> = vec![element("page")];
    while let Some(at) = rest.find('<') {
        let (text, tag) = rest.split_at(at);
        push_text(&mut open, text);
        let end = tag.find('>').unwrap_or_else(|| panic!("a tag without its end: {}", &tag[..40]));
        let inner = &tag[1..end];
        rest = &tag[end + 1..];
        if let Some(name) = inner.strip_prefix('/') {
            let node = open.pop().expect("the page itself is open");
            assert_eq!(node.name, name, "the end of another element");
            open.last_mut().unwrap_or_else(|| panic!("</{name}> ends the page")).children.push(node);
            continue;
        }
        let node = begin(inner.trim_end_matches('/'));
        if inner.ends_with('/') {
            open.last_mut().expect("the page itself is open").children.push(node);
        } else {
            open.push(node);
        }
    }
    push_text(&mut open, rest);
    assert_eq!(open.len(), 1, "<{}> is left open", open.last().map_or("", |node| &node.name));
    open.remove(0)
}

fn element(name: &str) -> Node {
    Node { name: name.to_owned(), attributes: Vec::new(), text: String::new(), children: Vec::new() }
}

fn push_text(open: &mut [Node], text: &str) {
    assert!(!text.contains('>'), "a sign that is no text: {text}");
    if text.is_empty() {
        return;
    }
    let node = element("");
    let parent = open.last_mut().expect("the page itself is open");
    parent.children.push(Node { text: plain(text), ..node });
}

/// `name a="b" c="d"`: every value quoted, no name twice.
fn begin(inner: &str) -> Node {
    let (name, mut rest) = inner.split_once(' ').unwrap_or((inner, ""));
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    assert!(!name.is_empty() && is_name(name), "no name of an element: {inner}");
    let mut node = element(name);
    while !rest.trim().is_empty() {
        let (key, value) = rest.trim_start().split_once("=\"").unwrap_or_else(|| panic!("unquoted: {inner}"));
        let (value, after) = value.split_once('"').unwrap_or_else(|| panic!("no end of a value: {inner}"));
        assert!(is_name(key) && node.attribute(key).is_none(), "{key} in {inner}");
        node.attributes.push((key.to_owned(), plain(value)));
        rest = after;
    }
    node
}

/// Without escapes; any other use of their sign is a fault.
fn plain(text: &str) -> String {
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, after) = part.split_once(';').unwrap_or_else(|| panic!("no escape: &{part}"));
        plain.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "#39" => '\'',
            other => panic!("XML does not know &{other};"),
        });
        plain.push_str(after);
    }
    plain
}

/// The script and the style are checked as text too: `>` is theirs, the other two signs are not.
fn page_tree(outcomes: &Outcomes) -> Node {
    let page = page(outcomes);
    for asset in [include_str!("page.css"), include_str!("page.js")] {
        assert!(!asset.contains(['<', '&']), "XML would read these as its own");
        assert!(page.contains(asset));
    }
    tree(&page.replace(include_str!("page.css"), "").replace(include_str!("page.js"), ""))
}

fn run(server: &str) -> Outcome {
    let mut run = Outcome { server: server.to_owned(), ..samples::outcome() };
    run.graded = grade(&run, &Thresholds::default());
    run
}

#[test]
fn a_page_is_well_formed_and_needs_nothing_else() {
    let outcomes = samples::outcomes(vec![run("tickring"), run("bun"), run("tickring")]);
    let tree = page_tree(&outcomes);
    for node in tree.all("svg") {
        assert_eq!(node.attribute("href"), None);
    }
    let text = page(&outcomes);
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!text.contains(outside), "{outside}");
    }
    let mut ids: Vec<&str> = Vec::new();
    for name in ["section", "article", "h3"] {
        ids.extend(tree.all(name).iter().filter_map(|node| node.attribute("id")));
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "an id is there twice");
    for link in tree.all("a") {
        let target = link.attribute("href").and_then(|target| target.strip_prefix('#'));
        assert!(target.is_some_and(|target| ids.contains(&target)), "{target:?}");
    }
}

#[test]
fn the_numbers_and_the_facts_are_found() {
    let tree = page_tree(&samples::outcomes(vec![run("tickring")]));
    let latencies = tree.rows("tickring");
    let request = latencies.iter().find(|row| row[1] == "request").expect("requests have a row");
    let expected = [
        "tickring", "request", "10,000", "100 us", "220 us", "200 us", "300 us", "400 us", "800 us",
        "1.60 ms", "2.00 ms",
    ];
    assert_eq!(*request, expected);
    assert_eq!(tree.rows("Deliveries received"), [["Deliveries received", "50,000", "5,000"]]);
    assert_eq!(tree.rows("Server, more a connection"), [["Server, more a connection", "2.00 KiB"]]);
    let grades = tree.rows("Delivery latency");
    assert_eq!(
        grades,
        [["Delivery latency", "A", "2.40 ms at p99, within the 4 ms of A; A+ needs 2 ms at most"]]
    );
    assert_eq!(tree.rows("10.0 s")[0][6], "3.00 ms", "the seconds have a table");
    let words = tree.words();
    for fact in
        ["Linux 6.1.0-test", "Example CPU @ 2.00GHz, 2 cores", "loadtest 0.1.0 (0123456789ab)", "8.00 GiB"]
    {
        assert!(words.contains(fact), "{fact}");
    }
    assert_eq!(tree.all("pre")[0].words(), samples::outcome().scenario_toml);
}

#[test]
fn the_percentile_curve_goes_to_the_largest_value() {
    let tree = page_tree(&samples::outcomes(vec![run("tickring")]));
    let titled = |plot: &&&Node| plot.all("h3")[0].words() == "Request latency by percentile";
    let plots = tree.all("figure");
    let plot = plots.iter().find(titled).expect("requests have a curve");
    let line = plot.all("path")[0];
    let told = line.attribute("data-read").expect("the line tells its values");
    let told: Vec<&str> = told.split(';').map(|point| point.splitn(3, ' ').nth(2).unwrap_or("")).collect();
    assert_eq!(
        told,
        ["0 %: 100 us", "50 %: 200 us", "90 %: 300 us", "99 %: 400 us", "99.9 %: 800 us", "99.99 %: 1.60 ms"]
    );
    let ticks: Vec<String> = plot.all("text").iter().map(|text| text.words()).collect();
    for tick in ["90", "99.9", "100 us", "1 ms"] {
        assert!(ticks.iter().any(|text| text == tick), "{tick} is not among {ticks:?}");
    }
    let mut short = run("tickring");
    let latency = short.latencies.get_mut(&Kind::Request).expect("it has requests");
    latency.curve.truncate(3);
    let tree = page_tree(&samples::outcomes(vec![short]));
    assert!(
        tree.all("path").iter().any(|path| {
            path.attribute("data-read").is_some_and(|told| told.ends_with(" 99.99 %: 2.00 ms"))
        })
    );
}

#[test]
fn runs_of_one_server_share_a_colour_and_an_entry_of_the_legend() {
    let mut refused = run("tickring");
    refused.refused.push("late".to_owned());
    let outcomes = samples::outcomes(vec![run("tickring"), run("bun"), refused]);
    let tree = page_tree(&outcomes);
    let plot = tree.all("figure")[0];
    let lines: Vec<_> = plot
        .all("path")
        .iter()
        .filter_map(|path| {
            Some((path.attribute("data-name")?.to_owned(), path.attribute("class")?.to_owned()))
        })
        .collect();
    let line = |name: &str, class: &str| (name.to_owned(), class.to_owned());
    assert_eq!(
        lines,
        [line("tickring, run 1 of 2", "c0"), line("bun", "c1"), line("tickring, run 2 of 2 (refused)", "c0")]
    );
    let legend: Vec<String> = plot.all("li").iter().map(|entry| entry.words()).collect();
    assert_eq!(legend, ["tickring, 2 runs, 1 refused", "bun"]);
}

#[test]
fn all_that_came_from_outside_stays_text() {
    let mut hostile = run("</svg><script>alert('1')</script>");
    hostile.scenario = "\"><img src=x onerror=y>&lt;".to_owned();
    hostile.scenario_toml = "a = '<b>'\u{0}\u{8}".to_owned();
    hostile.server_version = Some("<!-- ".to_owned());
    hostile.counts.errors.insert("<i>&</i>".to_owned(), 1);
    hostile.refused.push("]]><u>".to_owned());
    hostile.notes.push("<u>".to_owned());
    let tree = page_tree(&samples::outcomes(vec![hostile.clone(), run("b")]));
    assert_eq!(tree.all("script").len(), 1);
    assert!(["img", "b", "i", "u"].iter().all(|name| {
        tree.all(name)
            .iter()
            .all(|node| node.attribute("class").is_some_and(|class| class.starts_with("grade")))
    }));
    assert!(tree.all("h2").iter().any(|head| head.words() == hostile.scenario));
    assert_eq!(tree.all("pre")[0].words(), "a = '<b>'\u{fffd}\u{fffd}");
}

#[test]
fn a_refused_run_shows_its_reasons_and_no_grade() {
    let mut refused = run("tickring");
    refused.refused.push("the generator was late".to_owned());
    let tree = page_tree(&samples::outcomes(vec![refused]));
    let letters: Vec<String> = tree.all("b").iter().map(|letter| letter.words()).collect();
    assert_eq!(letters, ["refused", "refused"]);
    assert!(tree.words().contains("the generator was late"));
}

#[test]
fn a_run_without_anything_measured_still_makes_a_page() {
    let mut empty = run("tickring");
    empty.latencies.clear();
    empty.seconds.clear();
    empty.server_use = None;
    empty.graded = None;
    empty.measured_ns = 0;
    empty.counts = crate::outcome::Counts::default();
    let tree = page_tree(&samples::outcomes(vec![empty.clone()]));
    assert_eq!(tree.all("figure").len(), 0);
    empty.seconds.push(Second { at_ms: 1_000, ..Second::default() });
    let tree = page_tree(&samples::outcomes(vec![empty]));
    assert!(tree.all("svg").iter().all(|svg| svg.all("path").len() <= 2));
    page_tree(&samples::outcomes(Vec::new()));
}

#[test]
fn a_second_without_a_latency_breaks_the_line() {
    let mut broken = run("tickring");
    broken.seconds[4].p50_ns = None;
    let tree = page_tree(&samples::outcomes(vec![broken]));
    let line = |path: &&&Node| path.attribute("data-name") == Some("p50");
    let paths = tree.all("path");
    let path = paths.iter().find(line).and_then(|path| path.attribute("d")).expect("p50 has a line");
    assert_eq!(path.matches('M').count(), 2, "{path}");
}

#[test]
fn a_long_run_is_shown_in_steps_that_keep_the_worst_latency() {
    let mut long = run("tickring");
    let one = long.seconds[0].clone();
    long.seconds =
        (1..=3_600).map(|number| Second { at_ms: number * 1_000, ..one.clone() }).collect::<Vec<_>>();
    long.seconds[1_000].max_ns = Some(777_000_000);
    let outcomes = samples::outcomes(vec![long]);
    let tree = page_tree(&outcomes);
    let line = |path: &&&Node| path.attribute("data-name") == Some("max");
    let paths = tree.all("path");
    let told = paths.iter().find(line).and_then(|path| path.attribute("data-read")).expect("it has a line");
    assert_eq!(told.split(';').count(), 240);
    assert!(told.contains(": 777 ms"));
    assert!(tree.words().contains("Steps of 15 s: the worst latency and the mean rate of each."));
    assert!(page(&outcomes).len() < 400_000, "a page of one run stays small");
}

#[test]
fn every_coordinate_lies_in_the_drawing() {
    let mut wild = run("tickring");
    wild.seconds[0].max_ns = Some(u64::MAX);
    wild.seconds[1].max_ns = Some(0);
    wild.seconds[2].server_cpu_cores = Some(f64::NAN);
    wild.latencies.insert(Kind::Order, samples::latency(1, 0));
    let tree = page_tree(&samples::outcomes(vec![wild]));
    for path in tree.all("path") {
        let Some(told) = path.attribute("data-read") else { continue };
        for point in told.split(';') {
            let mut parts = point.split(' ').map(str::parse::<f64>);
            let (Some(Ok(x)), Some(Ok(y))) = (parts.next(), parts.next()) else { panic!("{point}") };
            assert!((0.0..=440.0).contains(&x) && (0.0..=260.0).contains(&y), "{point}");
        }
    }
}
