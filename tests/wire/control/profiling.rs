//! Profiles of a running server, by the kernel's sampler. Where the kernel lets this process sample itself, the server has to as
//! well; where not, it has to say so, and each test prints which it was.

use std::thread;

use perf_event::Builder;
use perf_event::events::Software;

use super::*;

const PATH: &str = "/debug/pprof/profile";

fn start_with_debug() -> Server {
    Server::start_with("[control]\ndebug = true\n", "0,1", &["--control", "127.0.0.1:0"])
}

/// Whether the kernel lets processes like this one sample themselves.
fn may_sample(server: &Server) -> bool {
    let counter = Builder::new(Software::TASK_CLOCK).sample_period(10_000_000).build();
    let Err(error) = counter else {
        println!("the kernel lets us sample: profiles are checked");
        return true;
    };
    println!("the kernel refuses perf_event_open ({error}): only that this is told is checked");
    let refused = get(server, &format!("{PATH}?seconds=1"));
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.text().contains("perf_event_paranoid"), "{refused:?}");
    false
}

/// Takes a profile while a client has the shards work.
fn under_load(server: &Server, query: &str) -> Answer {
    let (control, line) = (server.control.unwrap(), format!("GET {PATH}?{query}"));
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(server.address)).collect();
    thread::scope(|scope| {
        let profile = scope.spawn(|| ask(control, &line, "", ""));
        while !profile.is_finished() {
            for client in &mut clients {
                client.call("public/test", &json!({}));
            }
        }
        profile.join().unwrap()
    })
}

#[test]
fn a_profile_names_threads_and_what_they_do() {
    let server = start_with_debug();
    if !may_sample(&server) {
        return server.stop().assert_clean();
    }
    let folded = under_load(&server, "seconds=1&hz=499&format=folded");
    assert_eq!(
        (folded.status, folded.field("content-type")),
        (200, "text/plain; charset=utf-8"),
        "{folded:?}"
    );
    let lines: Vec<(&str, u64)> = folded
        .text()
        .lines()
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(stack, samples)| (stack, samples.parse().unwrap()))
        .collect();
    let of_shards = lines.iter().filter(|(stack, _)| stack.starts_with("shard-")).collect::<Vec<_>>();
    let has = |part: &str| of_shards.iter().any(|(stack, _)| stack.contains(part));
    assert!(has(";tickring::shard::Shard::turn;"), "{}", folded.text());
    // Through the library's call into the kernel, behind which stacks without frame pointers end.
    let entering = of_shards.iter().find(|(stack, _)| stack.contains("io_uring_enter"));
    assert!(entering.is_some_and(|(stack, _)| stack.contains("tickring::ring::")), "{}", folded.text());
    assert!(!folded.text().contains("0x"), "no address is told: {}", folded.text());
    assert!(lines.iter().all(|(_, samples)| *samples > 0));
    server.stop().assert_clean();
}

#[test]
fn a_profile_is_told_in_the_form_that_is_asked_for() {
    let server = start_with_debug();
    if !may_sample(&server) {
        return server.stop().assert_clean();
    }
    let told = under_load(&server, "seconds=1&format=json").json();
    assert!(told["samples"].as_u64().unwrap() > 0, "{told}");
    assert!(["named", "unnamed", "hidden"].contains(&told["kernel"].as_str().unwrap()), "{told}");
    let threads: Vec<&str> =
        told["threads"].as_array().unwrap().iter().map(|thread| thread["name"].as_str().unwrap()).collect();
    for name in ["tickring", "control", "shard-0", "shard-1"] {
        assert!(threads.contains(&name), "{name}: {threads:?}");
    }
    let picture = under_load(&server, "seconds=1");
    assert_eq!((picture.status, picture.field("content-type")), (200, "image/svg+xml"), "{picture:?}");
    assert!(picture.text().contains("<title>shard-0:"), "{}", picture.text());
    assert!(picture.field("content-security-policy").contains("script-src 'sha256-"), "{picture:?}");
    let file = under_load(&server, "seconds=1&format=pprof");
    assert_eq!((file.status, file.field("content-type")), (200, "application/octet-stream"));
    assert_eq!(file.body[..2], [0x1f, 0x8b], "gzip");
    assert_eq!(file.field("content-encoding"), "", "the file itself is compressed");
    server.stop().assert_clean();
}

#[test]
fn one_profile_is_taken_at_a_time_and_ends_with_who_asked_for_it() {
    let mut server = start_with_debug();
    if !may_sample(&server) {
        return server.stop().assert_clean();
    }
    let mut first = bytes::connect(server.control.unwrap());
    first.write_all(request(&format!("GET {PATH}?seconds=60"), "", "").as_bytes()).unwrap();
    server.wait_for_log("a profile of 60 s");
    let second = get(&server, &format!("{PATH}?seconds=1"));
    assert_eq!(second.status, 409, "{second:?}");
    let seconds: u32 = second.field("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{second:?}");
    drop(first);
    crate::until("the next may be taken", || {
        let next = get(&server, &format!("{PATH}?seconds=1&format=json"));
        assert!([200, 409].contains(&next.status), "{next:?}");
        next.status == 200
    });
    server.stop().assert_clean();
}

#[test]
fn a_profile_is_refused_where_it_is_turned_off_or_asked_for_oddly() {
    let server = start("");
    assert_eq!(get(&server, PATH).status, 403);
    server.stop().assert_clean();
    let server = start_with_debug();
    for odd in ["seconds=0", "seconds=61", "hz=1000", "format=png"] {
        assert_eq!(get(&server, &format!("{PATH}?{odd}")).status, 400, "{odd}");
    }
    server.stop().assert_clean();
}
