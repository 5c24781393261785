//! The codecs of Simple Binary Encoding are what the schema says; `TICKRING_WRITE_DOCS=1` writes them anew.

use std::fs;
use std::path::Path;

mod emit;
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
