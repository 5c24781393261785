//! `monitoring/` speaks of what the gateway measures: rules as the table has them, no name that there is not, a case for each
//! alert. That PromQL means what it should is `promtool`'s to say (`tests/metrics/run`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tickring::telemetry::alerts::{self, RULES};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every word of a text that looks like a metric of ours.
fn metrics_named(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = words.filter(|word| word.starts_with("tickring_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

/// Those of docs/metrics.md; a histogram has three names in Prometheus.
fn metrics_documented() -> BTreeSet<String> {
    let page = read("docs/metrics.md");
    let mut names = BTreeSet::new();
    for line in page.lines() {
        let mut cells = line.split(" | ");
        let Some(name) = cells.next().and_then(|cell| cell.strip_prefix("| `")?.strip_suffix('`')) else {
            continue;
        };
        names.insert(name.to_owned());
        if cells.next() == Some("histogram") {
            names.extend(["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")));
        }
    }
    assert!(names.len() > 100, "{} metrics are documented", names.len());
    names
}

fn dashboard() -> Value {
    serde_json::from_str(&read("monitoring/grafana.json")).expect("the dashboard is JSON")
}

#[test]
fn the_rules_are_what_the_table_of_alerts_says() {
    if std::env::var_os("TICKRING_WRITE_DOCS").is_some() {
        fs::write(path("monitoring/alerts.yml"), alerts::page()).expect("the rules can be written");
    }
    let written = fs::read_to_string(path("monitoring/alerts.yml")).unwrap_or_default();
    assert!(written == alerts::page(), "monitoring/alerts.yml is not what the table says");
}

#[test]
fn every_metric_that_is_named_exists() {
    let documented = metrics_documented();
    for file in ["monitoring/alerts.yml", "monitoring/alerts_test.yml", "monitoring/grafana.json"] {
        let named = metrics_named(&read(file));
        assert!(named.len() > 20, "{file} names {} metrics", named.len());
        let unknown: Vec<&String> = named.difference(&documented).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
    }
}

#[test]
fn every_alert_has_a_case() {
    let cases = read("monitoring/alerts_test.yml");
    for name in RULES.iter().map(|rule| rule.name).chain(["TickringDown"]) {
        let expected = format!("alertname=\"{name}\"");
        assert!(cases.contains(&expected), "{name} has no case in monitoring/alerts_test.yml");
    }
}

#[test]
fn the_dashboard_has_what_grafana_asks_of_one() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36) && dashboard["title"].is_string());
    let panels = dashboard["panels"].as_array().expect("there are panels");
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().expect("an id")).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        let of = |name: &str| panel["gridPos"][name].as_u64().expect("a place");
        let (x, y, w, h) = (of("x"), of("y"), of("w"), of("h"));
        assert!(x + w <= 24, "{title} reaches beyond the grid");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} stands where another panel does");
        }
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().expect("targets");
        let refs: BTreeSet<&str> =
            targets.iter().map(|target| target["refId"].as_str().expect("a name")).collect();
        assert!(!targets.is_empty() && refs.len() == targets.len(), "{title}");
        for target in targets {
            assert!(!metrics_named(target["expr"].as_str().expect("an expression")).is_empty(), "{title}");
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}
