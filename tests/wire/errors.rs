//! The command line where it cannot serve: one line that says what is wrong and what to do, and an exit code.

use std::fs;
use std::net::TcpListener;

use crate::server::{Server, run, temporary_file, tickring};

/// Runs it and gives the one line that it says.
fn check_refusal(arguments: &[&str], code: i32) -> String {
    let ended = run(tickring().args(arguments));
    assert_eq!((ended.code, ended.log.len()), (Some(code), 1), "{arguments:?}: {ended:?}");
    assert!(ended.log[0].starts_with("tickring: "), "{ended:?}");
    ended.log[0].clone()
}

fn check_config(toml: &str, expected: &str) {
    let path = temporary_file("toml", toml.as_bytes());
    let line = check_refusal(&["serve", "--config", path.to_str().unwrap()], 78);
    let checked = check_refusal(&["check", "--config", path.to_str().unwrap()], 78);
    assert_eq!(line, checked);
    assert!(line.starts_with(&format!("tickring: {}:{expected}", path.display())), "{line}");
    fs::remove_file(path).unwrap();
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = check_refusal(&["serve", "--control", "off", "--listen", &address, "--cores", "0"], 69);
    assert!(line.contains(&address) && line.contains("--listen"), "{line}");
}

#[test]
fn a_second_server_does_not_share_the_port_of_the_first() {
    let server = Server::start("", "0");
    let address = server.address.to_string();
    let line = check_refusal(&["serve", "--control", "off", "--listen", &address, "--cores", "0"], 69);
    assert!(line.contains(&address), "{line}");
    server.stop().assert_clean();
}

#[test]
fn an_address_of_another_machine_is_named() {
    // RFC 5737: for documentation, nobody's own.
    // What is odd about such an address is another matter.
    let path =
        temporary_file("toml", b"[[listen]]\naddress = \"192.0.2.1:9001\"\n[log]\nfilter = \"error\"\n");
    let line =
        check_refusal(&["serve", "--config", path.to_str().unwrap(), "--cores", "0", "--control", "off"], 69);
    assert!(line.starts_with("tickring: cannot listen on 192.0.2.1:9001: "), "{line}");
    fs::remove_file(path).unwrap();
}

#[test]
fn a_bad_configuration_is_named_by_file_line_and_key() {
    check_config("[limits]\nqueued_bytes_max = 1\n", "2: limits.queued_bytes_max: ");
    check_config("\n\n[shards]\ncores = \"all\"\n", "4: shards.cores: ");
    check_config("[feed]\nkind = \"live\"\n", "2: feed.kind: ");
    check_config("[lisen]\naddress = \"127.0.0.1:0\"\n", "1: ");
    check_config("[[listen]]\naddress = \n", "2: ");
    check_config(
        "[[listen]]\naddress = \"${TICKRING_TEST_UNSET}\"\n",
        "2: ${TICKRING_TEST_UNSET} is not set",
    );
}

#[test]
fn a_core_that_there_is_not_is_named() {
    let line =
        check_refusal(&["serve", "--control", "off", "--listen", "127.0.0.1:0", "--cores", "4000"], 78);
    assert!(line.contains("4000") && line.contains("affinity"), "{line}");
    let line = check_refusal(&["serve", "--cores", "0,0"], 64);
    assert!(line.contains("core 0 twice"), "{line}");
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for arguments in
        [&["serve", "--lisen", "x"][..], &["serf"], &["serve", "--cores", "a"], &["--speed", "x"]]
    {
        let line = check_refusal(arguments, 64);
        assert!(line.ends_with("see tickring --help"), "{line}");
    }
}

#[test]
fn the_store_of_a_cluster_is_said_to_be_in_nats() {
    let toml =
        "[cluster]\nkind = \"nats\"\nservers = [\"nats://127.0.0.1:4222\"]\nname = \"prod\"\nnode = \"a\"\n";
    let path = temporary_file("toml", toml.as_bytes());
    for command in ["check", "compact", "export"] {
        let line = check_refusal(&["store", command, "--config", path.to_str().unwrap()], 64);
        assert!(
            line.contains("of the cluster prod are in NATS") && line.contains("tickring-prod-messages"),
            "{line}"
        );
    }
}

#[test]
fn a_file_that_there_is_not_is_no_input() {
    for arguments in [["serve", "--config", "no-such-file"], ["serve", "--replay", "no-such-file"]] {
        let line = check_refusal(&arguments, 66);
        assert!(line.contains("no-such-file"), "{line}");
    }
}

#[test]
fn the_version_says_commit_and_features() {
    let output = tickring().arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(concat!("tickring ", env!("CARGO_PKG_VERSION"), " (commit ")), "{text}");
    assert!(text.contains("features: runtime"), "{text}");
}
