//! Profiles: what is asked for, the forms in which they are told, and why there is none.

use super::*;
use crate::api::profiles::{Asked, Format, Refusal, Written, refused, written};
use crate::telemetry::profile::{Frame, KernelPart, Origin, Profile, SCRIPT, Stack, Thread};

fn profile() -> Profile {
    Profile {
        frames: vec![Frame { name: "tickring::turn".to_owned(), place: None, origin: Origin::Gateway }],
        stacks: vec![Stack { thread: 0, frames: vec![0], samples: 7 }],
        threads: vec![Thread { name: "shard-0".to_owned(), tid: 9, samples: 7, lost: 2, cut: 1 }],
        hz: 99,
        begun_unix_ns: 1,
        duration_ns: 1_503_000_000,
        kernel: KernelPart::Hidden,
    }
}

#[test]
fn ten_seconds_at_99_hz_are_drawn_unless_something_else_is_asked_for() {
    let usual = Asked { seconds: 10, hz: 99, format: Format::Svg };
    assert_eq!(Asked::read(""), Ok(usual));
    assert_eq!(
        Asked::read("seconds=60&hz=999&format=folded"),
        Ok(Asked { seconds: 60, hz: 999, format: Format::Folded })
    );
    for odd in ["seconds=0", "seconds=61", "seconds=1.5", "hz=0", "hz=1000", "hz=-1", "format=png", "format="]
    {
        assert_eq!(Asked::read(odd).unwrap_err().status, 400, "{odd}");
    }
}

#[test]
fn the_summary_says_what_is_missing_and_is_as_the_document_says() {
    let Written::Text(answer) = written(Format::Json, &profile()) else { panic!("it is no text") };
    let told: Value = serde_json::from_str(&answer.body.text).unwrap();
    let thread = json!({"name": "shard-0", "tid": 9, "samples": 7, "lost": 2, "cut": 1});
    assert_eq!(
        told,
        json!({
            "seconds": 1.5, "hz": 99, "samples": 7, "lost": 2, "cut": 1, "kernel": "hidden", "stacks": 1,
            "threads": [thread],
        })
    );
    let document = World::new([0, 0]).value(Route::OpenApi, "").1;
    let schema = &document["components"]["schemas"]["Profile"];
    check_schema(schema, &told, "Profile");
    check_schema(&schema["properties"]["threads"]["items"], &thread, "Profile.threads");
}

#[test]
fn the_picture_runs_its_own_script_and_no_other() {
    let Written::Picture(answer, policy) = written(Format::Svg, &profile()) else {
        panic!("it is no picture")
    };
    assert_eq!(answer.body.content_type, "image/svg+xml");
    assert!(answer.body.text.contains(&format!("<![CDATA[{SCRIPT}]]>")));
    let (_, hash) = policy.split_once("script-src 'sha256-").unwrap();
    assert_eq!(hash.split_once("'; ").unwrap().0.len(), 44, "256 bits by base64: {policy}");
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("'self'"), "{policy}");
}

#[test]
fn other_forms_are_for_other_tools() {
    let Written::Text(folded) = written(Format::Folded, &profile()) else { panic!("it is no text") };
    assert_eq!(folded.body.text, "shard-0;tickring::turn 7\n");
    let Written::File(bytes) = written(Format::Pprof, &profile()) else { panic!("it is no file") };
    assert_eq!(bytes[..2], [0x1f, 0x8b], "gzip");
}

#[test]
fn who_gets_no_profile_is_told_why_and_what_to_do() {
    let busy = refused(&Refusal::Busy(7));
    assert_eq!((busy.status, busy.retry_after_s), (409, Some(7)));
    assert!(busy.body.text.contains("another 7 s"), "{busy:?}");
    let kernel = refused(&Refusal::Kernel("Operation not permitted".to_owned()));
    assert_eq!(kernel.status, 503);
    for hint in ["Operation not permitted", "kernel.perf_event_paranoid", "SystemCallFilter", "perf record"] {
        assert!(kernel.body.text.contains(hint), "{kernel:?}");
    }
    assert_eq!(refused(&Refusal::Failed("no thread".to_owned())).status, 500);
}

#[test]
fn the_heap_has_no_profile_but_other_numbers() {
    let (status, told) = World::new([0, 0]).value(Route::Heap, "");
    assert_eq!(status, 501);
    assert!(told["error"].as_str().unwrap().contains("/debug/shards"), "{told}");
}
