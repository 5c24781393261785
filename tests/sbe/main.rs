//! The codecs of Simple Binary Encoding are what the schema says; `TICKRING_WRITE_DOCS=1` writes them anew.

use std::fs;
use std::path::Path;

mod emit;
mod evolution;
mod page;
mod samples;
mod schema;

use emit::Place;
use schema::Schema;

/// Holds one schema's codecs to what is written from it.
fn check(folder: &str, place: Place) {
    let schema = place.schema;
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let xml = fs::read_to_string(home.join(schema)).unwrap_or_else(|error| panic!("{schema}: {error}"));
    let files = emit::files(&Schema::parse(&xml), place);
    let folder = home.join(folder);
    if std::env::var_os("TICKRING_WRITE_DOCS").is_some() {
        fs::create_dir_all(&folder).expect("the folder can be made");
        for (name, text) in &files {
            fs::write(folder.join(name), text).expect("a codec can be written");
        }
    }
    for (name, text) in &files {
        let written = fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(written == *text, "{}/{name} is not what {schema} says", folder.display());
    }
    let entries = fs::read_dir(&folder).expect("the folder is there");
    let mut found: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    let mut expected: Vec<String> = files.into_iter().map(|(name, _)| name).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{}: a message that the schema has not", folder.display());
}

#[test]
fn the_codecs_are_what_the_schema_says() {
    let place = Place { root: "crate", schema: "docs/sbe/tickring.xml", has_samples: true };
    check("src/dialect/sbe/generated", place);
}

#[test]
fn the_page_of_messages_is_what_the_schema_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sbe-messages.md");
    let page = page::page(&Schema::parse(include_str!("../../docs/sbe/tickring.xml")));
    if std::env::var_os("TICKRING_WRITE_DOCS").is_some() {
        fs::write(&path, &page).expect("the page can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/sbe-messages.md is not what the schema says");
}

#[test]
fn the_codecs_of_both_versions_of_a_schema_are_what_it_says() {
    for (schema, folder) in [
        ("tests/sbe/evolution/before.xml", "tests/sbe/evolution/before"),
        ("tests/sbe/evolution/after.xml", "tests/sbe/evolution/after"),
    ] {
        check(folder, Place { root: "tickring", schema, has_samples: false });
    }
}

/// A schema with one thing wrong, by which the first of these texts becomes the second.
fn refused(right: &str, wrong: &str) -> String {
    let xml = include_str!("evolution/after.xml");
    assert_eq!(xml.matches(right).count(), 1, "{right} occurs once");
    let xml = xml.replacen(right, wrong, 1);
    let panic = std::panic::catch_unwind(|| Schema::parse(&xml)).expect_err("it is refused");
    panic.downcast::<String>().map_or_else(|_| String::from("a panic of another kind"), |text| *text)
}

#[test]
fn a_schema_that_breaks_a_rule_is_refused() {
    let label = r#"<data name="label" id="5" type="varStringEncoding"/>"#;
    for (right, wrong, told) in [
        (
            r#"id="6" type="priceOrNull" offset="9""#,
            r#"id="6" type="priceOrNull" offset="10""#,
            "Report.mark: its offset",
        ),
        (r#"blockLength="31""#, r#"blockLength="30""#, "Report: its length"),
        (
            r#"id="6" type="priceOrNull""#,
            r#"id="6" type="price""#,
            "Report.mark: what is added later may be absent",
        ),
        (
            label,
            &label.replace("/>", r#" sinceVersion="2"/>"#),
            "Report: what is added comes behind what was there",
        ),
        (
            label,
            &format!("{label}{}", r#"<field name="late" id="99" type="uint64" offset="31"/>"#),
            "Report: fields, then groups",
        ),
        (
            r#"name="uint32OrNull" primitive"#,
            r#"name="uint32OrNull" length="4" primitive"#,
            "uint32OrNull: no arrays",
        ),
        (
            r#"offset="17" presence="optional""#,
            r#"offset="17" presence="constant""#,
            "Report.background: presence",
        ),
        (
            r#"<field name="number" id="13" type="uint64" offset="0"/>"#,
            "<group/>",
            "Table: a group has fields alone",
        ),
        (r#"name="Farewell" id="3""#, r#"name="Farewell" id="2""#, "Farewell has another's id"),
        (r#"id="7" version="1""#, r#"id="7" version="0""#, "Report: of a later version than the schema"),
    ] {
        let text = refused(right, wrong);
        assert!(text.contains(told), "{text} instead of {told}");
    }
}
