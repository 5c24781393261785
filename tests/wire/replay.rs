//! A recording played to a client over the wire: the book that it builds is the server's and a naive rebuild's; and
//! recordings that can't be played say why. The recordings are looked for as in `tests/replay.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dbn::MboMsg;
use dbn::decode::{DecodeRecord, dbn::Decoder};
use serde_json::{Value, json};

use crate::client::{Client, End};
use crate::naive::{Naive, Sums};
use crate::server::{Ended, Server, run, temporary_file, tickring};

const RECORDS: u64 = 68_792;
/// How often the server is asked whether its book is the last one.
const ATTEMPTS_MAX: u32 = 10_000;
const UNIT: i64 = 1_000_000_000;

fn christmas() -> Option<PathBuf> {
    let folder = std::env::var_os("TICKRING_DATA").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    let path = folder.join("esh4-glbx-mdp3-20231225.mbo.dbn.zst");
    if path.is_file() {
        return Some(path);
    }
    println!("skipped: {} is absent", path.display());
    None
}

fn naive_rebuild(path: &Path) -> Sums {
    let mut decoder = Decoder::from_zstd_file(path).unwrap();
    let mut naive = Naive::default();
    while let Some(message) = decoder.decode_record::<MboMsg>().unwrap() {
        naive.apply(message);
    }
    naive.sums()
}

/// What a client makes of a snapshot and its changes.
#[derive(Default)]
struct ClientBook {
    change_id: u64,
    seq: u64,
    /// Bids, then asks: price in units of 1e-9, amount as it was told.
    sides: Sums,
    snapshots: u64,
}

impl ClientBook {
    fn apply(&mut self, note: &Value) {
        let data = &note["data"];
        if data["type"] == "snapshot" {
            self.sides = Sums::default();
            self.snapshots += 1;
        } else {
            assert_eq!(data["type"], "change");
            assert_eq!(data["prev_change_id"], self.change_id, "changes follow on each other");
            assert_eq!(note["seq"], self.seq + 1);
        }
        self.seq = note["seq"].as_u64().unwrap();
        self.change_id = data["change_id"].as_u64().unwrap();
        for (side, rows) in [(&mut self.sides.0, &data["bids"]), (&mut self.sides.1, &data["asks"])] {
            for row in rows.as_array().unwrap() {
                let (price, amount) = (units(&row[1]), row[2].as_u64().unwrap());
                let known = match row[0].as_str().unwrap() {
                    "new" => side.insert(price, amount).is_none(),
                    "change" => side.insert(price, amount).is_some(),
                    "delete" => amount == 0 && side.remove(&price).is_some(),
                    other => panic!("{other}"),
                };
                assert!(known, "{row} does not apply");
            }
        }
    }
}

/// A price in units of 1e-9, from its digits.
fn units(number: &Value) -> i64 {
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    whole.parse::<i64>().unwrap() * UNIT + format!("{fraction:0<9}").parse::<i64>().unwrap()
}

fn rows(rows: &Value) -> BTreeMap<i64, u64> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| (units(&row[0]), row[1].as_u64().unwrap())).collect()
}

/// Plays the recording; a subscriber that came as early as it could ends with the server's book.
fn check_replay(speed: &str, cores: &str, class: &str) {
    let Some(path) = christmas() else { return };
    let toml = "[limits]\nqueued_bytes_max = 67108864\n";
    let flags = ["--replay", path.to_str().unwrap(), "--speed", speed];
    let mut server = Server::start_with(toml, cores, &flags);
    let mut client = Client::connect(server.address);
    let params = json!({"channels": ["book.*.raw"], "class": class});
    assert_eq!(client.call("public/subscribe", &params), json!(["book.*.raw"]));
    let mut book = ClientBook::default();
    book.apply(&client.note());
    let first = book.change_id;
    let line = server.wait_for_log("the replay has ended");
    assert!(line.contains(&format!(" {RECORDS} records read")), "{line}");
    // The last of it may still be on its way from the venue to the shard.
    let expected = naive_rebuild(&path);
    let ask = json!({"instrument_name": "ESH4", "depth": 10000});
    let order_book = (0..ATTEMPTS_MAX)
        .map(|_| client.call("public/get_order_book", &ask))
        .find(|book| (rows(&book["bids"]), rows(&book["asks"])) == expected)
        .expect("the server's book is never that of the naive rebuild");
    while Some(book.change_id) != order_book["change_id"].as_u64() {
        book.apply(&client.note());
    }
    println!("{} changes after {} snapshots", book.change_id - first, book.snapshots);
    if class == "lossless" {
        assert_eq!(book.snapshots, 1, "nothing was passed over");
    }
    assert_eq!(book.sides, expected);
    assert_eq!(book.sides.0.last_key_value(), Some((&(4810 * UNIT), &22)));
    assert_eq!(book.sides.1.first_key_value(), Some((&(4810 * UNIT + UNIT / 4), &28)));
    drop(client);
    let ended = server.stop();
    ended.assert_clean();
    assert_eq!(ended.of_shards("gaps_total"), 0, "the venue waits for shards that are behind");
}

#[test]
fn a_subscriber_ends_with_the_book_at_full_speed() {
    check_replay("max", "0", "lossless");
}

#[test]
fn a_subscriber_ends_with_the_book_on_two_shards() {
    check_replay("max", "0,1", "lossless");
}

#[test]
fn a_subscriber_ends_with_the_book_at_a_finite_speed() {
    check_replay("1000000", "0", "lossless");
}

#[test]
fn a_subscriber_of_the_latest_ends_with_the_book_by_way_of_snapshots() {
    check_replay("max", "0", "latest");
}

/// Serves a recording that can't be played to its end, by a venue with a thread of its own and by one in a shard's; its one line of
/// complaint.
fn check_refused(path: &Path) -> String {
    let [alone, beside] = ["0", "0,1"].map(|cores| complaint_on(cores, path));
    assert_eq!(alone, beside);
    alone
}

fn complaint_on(cores: &str, path: &Path) -> String {
    let Ended { code, log } = run(tickring()
        .args([
            "serve",
            "--control",
            "off",
            "--listen",
            "127.0.0.1:0",
            "--cores",
            cores,
            "--speed",
            "max",
            "--replay",
        ])
        .arg(path));
    let told: Vec<&String> = log.iter().filter(|line| line.starts_with("tickring: ")).collect();
    assert_eq!((code, told.len()), (Some(65), 1), "{log:?}");
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(told[0].contains(name), "{log:?}");
    told[0].clone()
}

fn check_refused_bytes(ending: &str, content: &[u8], reason: &str) {
    let path = temporary_file(ending, content);
    let line = check_refused(&path);
    assert!(line.contains(reason), "{line}");
    fs::remove_file(path).unwrap();
}

#[test]
fn a_file_that_is_no_recording_is_refused() {
    check_refused_bytes("dbn", b"", "empty");
    check_refused_bytes("dbn", b"\x7fELF and so on", "");
    check_refused_bytes("csv", b"name,amount\nx,1\n", "");
}

#[test]
fn impossible_values_are_named_by_line() {
    let good = "timestamp,bid,ask\n2013-01-01 22:00:00.295000+00:00,86.655,86.728\n";
    for (line, reason) in [
        ("2013-01-01 22:00:01.295000+00:00,86.655,86.6\n", "line 3: "),
        ("2013-01-01 22:00:01.295000+00:00,0,86.6\n", "line 3: "),
        ("2013-01-01 21:00:01.295000+00:00,86.655,86.728\n", "line 3: "),
        ("2013-01-01 22:00:01.295000+00:00,86.6", "line 3: "),
    ] {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("usdjpy-impossible.truefx.csv");
        fs::write(&path, format!("{good}{line}")).unwrap();
        let told = check_refused(&path);
        assert!(told.contains(reason), "{told}");
    }
}

#[test]
fn a_recording_that_fails_later_sends_everybody_away_and_ends_the_process() {
    // The venue in a thread of its own, and in that of a shard.
    for cores in ["0", "0,1"] {
        let name = format!("usdjpy-gone-{}.truefx.csv", cores.len());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
        let ticks = "timestamp,bid,ask\n2013-01-01 22:00:00.295000+00:00,86.655,86.728\n\
            2013-01-01 22:00:00.300000+00:00,86.656,86.728\n";
        fs::write(&path, ticks).unwrap();
        let server = Server::start_with("", cores, &["--replay", path.to_str().unwrap(), "--loop"]);
        let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(server.address)).collect();
        clients[0].subscribe("topic.news");
        // It is opened at each repetition.
        fs::remove_file(&path).unwrap();
        for client in &mut clients {
            let end = client.read_to_end(|_| ());
            assert!(matches!(end, End::Close { code: 1001, .. }), "on {cores}: {end:?}");
        }
        let ended = server.wait();
        assert_eq!(ended.code, Some(65), "on {cores}: {:#?}", ended.log);
        let expected = format!(
            "tickring: {name}: cannot be opened again: No such file or directory (os error 2): check the recording"
        );
        assert_eq!(ended.log.last(), Some(&expected), "on {cores}");
    }
}

#[test]
fn a_truncated_recording_is_named_by_record() {
    let Some(path) = christmas() else { return };
    let whole = fs::read(&path).unwrap();
    check_refused_bytes("mbo.dbn.zst", &whole[..whole.len() / 2], "truncated");
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut zstd_of(&path), &mut plain).unwrap();
    check_refused_bytes("mbo.dbn", &plain[..plain.len() / 2 + 5], "record ");
    check_refused_bytes("mbo.dbn", &plain[..60], "");
}

fn zstd_of(path: &Path) -> impl std::io::Read {
    dbn::decode::DynReader::inferred_with_buffer(std::io::BufReader::new(fs::File::open(path).unwrap()))
        .unwrap()
}
