//! Histograms change hands, are added up, and are read again.

use super::*;
use crate::model::time::Now;

const NOW: Now = Now { mono_ns: 5_000_000_000, unix_ns: 1_700_000_000_000_000_000 };

/// A shard and the venue, and who asks them.
fn gateway() -> (Vec<Recorder>, Collection) {
    let of: [(&str, &'static [Stage]); 2] = [("shard-0", &Stage::ALL), ("venue", &Stage::OF_VENUE)];
    let (recorders, takers): (Vec<_>, Vec<_>) = of
        .into_iter()
        .map(|(name, stages)| {
            let (recorder, taker) = exchange(stages);
            (recorder, (name.to_owned(), stages, taker))
        })
        .unzip();
    (recorders, Collection::new(takers, NOW))
}

/// Asks, has all threads turn, and takes.
fn gather(recorders: &mut [Recorder], collection: &mut Collection) {
    collection.ask(NOW);
    recorders.iter_mut().for_each(Recorder::hand_over);
    assert_eq!(collection.take(NOW), Gathered::All);
}

fn count(collection: &Collection, stage: Stage) -> u64 {
    collection.interval_of_all().stage(stage).map_or(0, Histogram::len)
}

#[test]
fn what_threads_record_is_handed_over_once_and_added_up() {
    let (mut recorders, mut collection) = gateway();
    for round in 1..=3 {
        recorders[0].record_all(Stage::Turn, 1_000, 4);
        recorders[1].record(Stage::Turn, 3_000_000);
        recorders[0].record(Stage::Request, 70_000);
        // The venue measures no requests.
        recorders[1].record(Stage::Request, 70_000);
        gather(&mut recorders, &mut collection);
        gather(&mut recorders, &mut collection);
        assert_eq!((count(&collection, Stage::Turn), count(&collection, Stage::Request)), (5 * round, round));
    }
    let turn = collection.total().stage(Stage::Turn).unwrap();
    assert_eq!((turn.min(), percentile(turn, 50.0)), (1_000, 1_000));
    assert_eq!(percentile(turn, 100.0), turn.max());
    assert!(turn.max().abs_diff(3_000_000) <= 3_000, "{}", turn.max());
}

#[test]
fn a_new_interval_begins_empty_and_the_total_goes_on() {
    let (mut recorders, mut collection) = gateway();
    recorders[0].record(Stage::Decode, 900);
    gather(&mut recorders, &mut collection);
    let later = NOW.plus_ns(7_000_000_000);
    collection.begin_interval(later);
    assert_eq!((count(&collection, Stage::Decode), collection.interval_begun()), (0, later));
    recorders[0].record(Stage::Decode, 900);
    gather(&mut recorders, &mut collection);
    assert_eq!(count(&collection, Stage::Decode), 1);
    assert_eq!(collection.total().stage(Stage::Decode).unwrap().len(), 2);
}

#[test]
fn a_thread_that_does_not_turn_is_missing_and_counts_when_it_does() {
    let (mut recorders, mut collection) = gateway();
    recorders[0].record(Stage::Turn, 1_000);
    recorders[1].record(Stage::Turn, 1_000);
    collection.ask(NOW);
    recorders[1].hand_over();
    assert_eq!((collection.take(NOW), collection.missing().count()), (Gathered::Awaited, 0));
    assert!(!collection.is_newer_than(u64::MAX, NOW));
    collection.give_up(5, NOW.plus_ns(4));
    assert_eq!(collection.missing().count(), 0, "it was asked just now");
    collection.give_up(5, NOW.plus_ns(5));
    assert_eq!(collection.missing().collect::<Vec<_>>(), ["shard-0"]);
    assert!(
        collection.is_newer_than(1, NOW.plus_ns(5)),
        "who stands still does not have everybody rung at each question"
    );
    // Asked again, it has one answer to give still.
    collection.ask(NOW);
    recorders.iter_mut().for_each(Recorder::hand_over);
    recorders.iter_mut().for_each(Recorder::hand_over);
    assert_eq!(collection.take(NOW), Gathered::All);
    assert_eq!((collection.missing().count(), count(&collection, Stage::Turn)), (0, 2));
    assert!(collection.is_newer_than(1, NOW) && !collection.is_newer_than(1, NOW.plus_ns(1)));
}

#[test]
fn who_has_answered_one_and_was_just_asked_by_another_is_not_missing() {
    let (mut recorders, mut collection) = gateway();
    let later = |ns| NOW.plus_ns(ns);
    collection.ask(NOW);
    recorders[0].hand_over();
    assert_eq!(collection.take(later(1)), Gathered::Awaited);
    // The other asks: the first thread anew, of the second the answer is still to come.
    collection.ask(later(90));
    collection.give_up(100, later(100));
    assert_eq!(collection.missing().collect::<Vec<_>>(), ["venue"]);
    // Who is missing stays so, however often he is asked.
    collection.ask(later(150));
    collection.give_up(100, later(190));
    assert_eq!(collection.missing().collect::<Vec<_>>(), ["shard-0", "venue"]);
    recorders.iter_mut().for_each(Recorder::hand_over);
    assert_eq!((collection.take(later(191)), collection.missing().count()), (Gathered::All, 0));
}

#[test]
fn what_was_recorded_before_a_question_is_in_its_answer_also_where_another_has_just_asked() {
    let (mut recorders, mut collection) = gateway();
    collection.ask(NOW);
    // Nobody has taken it yet.
    recorders.iter_mut().for_each(Recorder::hand_over);
    recorders[0].record_all(Stage::Request, 1_000, 7);
    collection.ask(NOW);
    assert_eq!(collection.take(NOW), Gathered::Awaited, "that was the answer to the other");
    recorders.iter_mut().for_each(Recorder::hand_over);
    assert_eq!((collection.take(NOW), count(&collection, Stage::Request)), (Gathered::All, 7));
}

#[test]
fn a_thread_that_ends_leaves_what_it_has_whether_or_not_it_was_asked() {
    for is_asked in [false, true] {
        let (mut recorders, mut collection) = gateway();
        recorders[0].record(Stage::Turn, 1_000);
        gather(&mut recorders, &mut collection);
        recorders[0].record(Stage::Turn, 1_000);
        if is_asked {
            collection.ask(NOW);
            // The venue ends with its answer given, the shard with its own to give.
            recorders[1].hand_over();
        }
        recorders[1].record(Stage::Turn, 1_000);
        recorders.into_iter().for_each(Recorder::finish);
        assert_eq!(collection.take(NOW), Gathered::All);
        assert_eq!(count(&collection, Stage::Turn), 3);
    }
}

#[test]
fn values_beyond_the_bounds_count_as_the_nearest_within() {
    let mut histograms = Histograms::of(&Stage::ALL);
    histograms.record(Stage::Turn, 0, 1);
    histograms.record(Stage::Turn, u64::MAX, 1);
    let turn = histograms.stage(Stage::Turn).unwrap();
    assert_eq!((turn.len(), turn.min()), (2, 1));
    assert!(turn.max() >= limits::LATENCY_NS_MAX && turn.max() < 2 * limits::LATENCY_NS_MAX);
    histograms.clear();
    assert!(histograms.stage(Stage::Turn).unwrap().is_empty());
}

#[test]
fn json_and_csv_have_each_stage_once_for_each_thread_and_once_for_all() {
    let (mut recorders, mut collection) = gateway();
    recorders[0].record_all(Stage::Turn, 1_000, 3);
    recorders[1].record(Stage::Turn, 2_000);
    gather(&mut recorders, &mut collection);
    let told = json(&collection);
    assert_eq!(told["interval_begun_unix_ms"], 1_700_000_000_000_u64);
    assert_eq!(told["missing_threads"], serde_json::json!([]));
    let stages = told["stages"].as_array().unwrap();
    assert_eq!(stages.len(), 2 * Stage::ALL.len() + Stage::OF_VENUE.len());
    let find = |thread: &str| stages.iter().find(|row| row["stage"] == "turn" && row["thread"] == thread);
    assert_eq!(
        find("all").unwrap(),
        &serde_json::json!({
            "stage": "turn", "thread": "all", "count": 4, "min_ns": 1000, "mean_ns": 1250, "p50_ns": 1000,
            "p90_ns": 2000, "p99_ns": 2000, "p999_ns": 2000, "max_ns": 2000,
        })
    );
    assert_eq!(find("venue").unwrap()["count"], 1);
    let csv = csv(&collection);
    assert_eq!(csv.lines().count(), 1 + stages.len());
    assert!(csv.contains("\r\nturn,all,4,1000,1250,1000,2000,2000,2000,2000\r\n"), "{csv}");
    assert!(csv.contains("\r\norder,shard-0,0,0,0,0,0,0,0,0\r\n"), "{csv}");
}

#[test]
fn an_interval_log_is_read_again_as_it_was_written() {
    let (mut recorders, mut collection) = gateway();
    assert_eq!(
        read_interval_log(interval_log(&collection, NOW).as_bytes()).map(drop).unwrap_err(),
        LogFault::Empty
    );
    (1..=1000).for_each(|value| recorders[0].record(Stage::Request, value * 1_000));
    recorders[1].record(Stage::Turn, 5_000);
    gather(&mut recorders, &mut collection);
    let log = interval_log(&collection, NOW.plus_ns(2_500_000_000));
    assert!(log.starts_with("#[Histogram log format version 1.3]\n"), "{log}");
    assert!(log.contains("#[StartTime: 1700000000.000 (seconds since epoch)]\n"), "{log}");
    let entries = read_interval_log(log.as_bytes()).unwrap();
    let tags: Vec<&str> = entries.iter().map(|entry| entry.tag.as_str()).collect();
    assert_eq!(tags, ["request.shard-0", "turn.venue", "request.all", "turn.all"]);
    assert_eq!((entries[0].begun_s, entries[0].length_s), (0.0, 2.5));
    assert_eq!(&entries[0].histogram, collection.interval().next().unwrap().1.stage(Stage::Request).unwrap());
    assert_eq!(percentile(&entries[0].histogram, 50.0), 500_223);
}

#[test]
fn a_damaged_log_is_told_by_its_first_fault() {
    let (mut recorders, mut collection) = gateway();
    recorders[0].record(Stage::Turn, 1_000);
    gather(&mut recorders, &mut collection);
    let log = interval_log(&collection, NOW);
    let fault = |text: &str| read_interval_log(text.as_bytes()).map(|entries| entries.len()).unwrap_err();
    let damaged = |from: &str, to: &str| {
        assert!(log.contains(from), "{log}");
        fault(&log.replacen(from, to, 1))
    };
    assert_eq!(damaged("Tag=turn.shard-0,0.000", "Tag=turn.shard-0,soon"), LogFault::Line(1));
    assert_eq!(damaged("HISTFAAA", "HISTFAA*"), LogFault::Histogram(1));
    assert_eq!(damaged("HISTFAAA", "HISTGAAA"), LogFault::Histogram(1));
    // Cut short by a full disk.
    let shorter = &log[..log.find("HISTF").unwrap() + 21];
    assert_eq!(fault(shorter), LogFault::Histogram(1));
    assert_eq!(fault(""), LogFault::Empty);
    assert_eq!(fault("GIF89a\n"), LogFault::Line(1));
}

#[test]
fn buckets_count_upwards_and_sum_up() {
    let mut histograms = Histograms::of(&Stage::ALL);
    histograms.record(Stage::Turn, 10_000, 2);
    histograms.record(Stage::Turn, 40_000, 3);
    histograms.record(Stage::Turn, 5_000_000_000, 1);
    let all = buckets(&histograms);
    let turn = all.iter().find(|of| of.stage == Stage::Turn).unwrap();
    assert_eq!((turn.count, turn.up_to[0], turn.up_to[1], turn.up_to[11]), (6, 2, 5, 5));
    assert!(turn.sum_ns.abs_diff(5_000_140_000) < 5_000_000, "{}", turn.sum_ns);
    assert_eq!(all.len(), Stage::ALL.len());
}

#[test]
fn times_have_three_digits_and_a_unit() {
    let check = |ns: u64, expected: &str| assert_eq!(in_unit(ns), expected, "{ns}");
    check(0, "0 ns");
    check(999, "999 ns");
    check(1_000, "1.00 us");
    check(12_345, "12.3 us");
    check(123_456, "123 us");
    check(9_999_999, "10.0 ms");
    check(999_499_000, "999 ms");
    check(999_800_000, "1.00 s");
    check(60_000_000_000, "60.0 s");
}
