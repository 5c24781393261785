//! docs/metrics.md is what the tables of metrics say; `TICKRING_WRITE_DOCS=1` writes it anew.

use std::fs;
use std::path::Path;

use tickring::telemetry;

#[test]
fn the_page_of_metrics_is_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    if std::env::var_os("TICKRING_WRITE_DOCS").is_some() {
        fs::write(&path, telemetry::page()).expect("the page can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == telemetry::page(), "docs/metrics.md is not what the tables say");
}
