//! Where a configuration comes from, and what is printed of it: the commands as they are run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::Value;

use crate::server::{Server, temporary_file, tickring};

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    tickring().args(arguments).envs(variables.iter().copied()).output().unwrap()
}

/// What a command prints that must succeed.
fn printed(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = run(arguments, variables);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_printed_is_served_by_and_printed_again_as_the_same_but_for_where_it_is_from() {
    let file = temporary_file(
        "toml",
        b"[limits]\nconnections_max = 7\n[venue.fx]\nkey = \"hidden\"\nlisten = \"127.0.0.1:0\"\n",
    );
    let variables = [("TICKRING_LIMITS_HEADERS_MAX", "9"), ("VENUE_FX_KEY", "hidden")];
    let arguments =
        ["config", "--config", file.to_str().unwrap(), "--cores", "0", "--set", "orders.open_max=3"];
    let first = printed(&arguments, &variables);
    for line in [
        format!("connections_max = 7  # {}:2", file.display()),
        "headers_max = 9  # TICKRING_LIMITS_HEADERS_MAX".to_owned(),
        "cores = [0]  # --cores".to_owned(),
        "open_max = 3  # --set orders.open_max=3".to_owned(),
        "fragments_max = 1024  # default".to_owned(),
    ] {
        assert!(first.lines().any(|known| known == line), "{line:?} is not in {first}");
    }
    assert!(!first.contains("hidden"), "{first}");
    let again = temporary_file("toml", first.as_bytes());
    let second = printed(&["config", "--config", again.to_str().unwrap()], &variables[1..]);
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("  # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&first), values(&second));
    let flags = ["--set", "listen.address=127.0.0.1:0", "--control", "off"];
    let mut command = tickring();
    command.args(["serve", "--config", again.to_str().unwrap()]).args(flags).envs(variables);
    Server::launch(command).stop().assert_clean();
    fs::remove_file(file).unwrap();
    fs::remove_file(again).unwrap();
}

#[test]
fn programs_read_it_as_json() {
    let text = printed(&["config", "--json", "--busy-poll"], &[("TICKRING_SHARDS_CORES", "0,1")]);
    let all: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(all["shards.busy_poll_us"]["value"], "always");
    assert_eq!(all["shards.cores"]["origin"], "TICKRING_SHARDS_CORES");
}

#[test]
fn a_variable_or_a_flag_that_is_wrong_is_named_and_nothing_is_served() {
    for (arguments, variable, code, told) in [
        (
            &["serve"][..],
            ("TICKRING_LIMITS_CONNECTION_MAX", "1"),
            78,
            "did you mean TICKRING_LIMITS_CONNECTIONS_MAX?",
        ),
        (
            &["check"],
            ("TICKRING_LIMITS_CONNECTIONS_MAX", "none"),
            78,
            "TICKRING_LIMITS_CONNECTIONS_MAX: limits.connections_max: ",
        ),
        (
            &["config", "--set", "limits.headers_max=1"],
            ("X", ""),
            64,
            "--set limits.headers_max=1: limits.headers_max: is 1",
        ),
    ] {
        let output = run(arguments, &[variable]);
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), line.lines().count()), (Some(code), 1), "{line}");
        assert!(line.contains(told), "{line}");
    }
}

#[test]
fn a_check_opens_what_is_named_and_says_what_is_wrong_and_where_it_is_named() {
    let (keys, pem) = (temporary_file("keys", b"[[key]]\n"), temporary_file("pem", b"no pem"));
    let toml = format!(
        "[auth]\nkeys = {keys:?}\n[log]\nfile = \"/nonexistent/a.log\"\n[feed]\nkind = \"replay\"\n[feed.replay]\nfile = {pem:?}\n\
         [[listen]]\n[listen.tls]\ncertificate = {pem:?}\nkey = \"/nonexistent/key.pem\"\n"
    );
    fs::set_permissions(&keys, PermissionsExt::from_mode(0o600)).unwrap();
    let file = temporary_file("toml", toml.as_bytes());
    let output = run(&["check", "--config", file.to_str().unwrap()], &[]);
    let (name, said) = (file.display(), String::from_utf8(output.stdout).unwrap());
    let last = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{last}");
    let expected = format!("tickring: {name}:2: auth.keys: {}:1: ", keys.display());
    assert!(last.starts_with(&expected) && last.contains("client_id is missing"), "{last}");
    let lines: Vec<&str> = said.lines().filter(|line| !line.contains(": warning: ")).collect();
    for (line, begins, contains) in [
        (
            lines[0],
            format!("{name}:11: listen.tls.certificate: {}: ", pem.display()),
            "a chain in PEM is expected",
        ),
        (lines[1], format!("{name}:8: feed.replay.file: "), "README"),
        (lines[2], format!("{name}:4: log.file: /nonexistent/a.log: "), "name a file in a folder that"),
    ] {
        assert!(line.starts_with(&begins) && line.contains(contains), "{line}");
    }
    assert_eq!(lines.len(), 3, "{said}");
    // Nothing was made; and what is not there before the service starts is no fault.
    fs::write(&file, "[auth]\nkeys = \"/run/credentials/tickring.service/keys\"\n").unwrap();
    let text = printed(&["check", "--config", file.to_str().unwrap()], &[]);
    assert!(text.contains(&format!("{name}:2: warning: auth.keys: ")) && text.ends_with(": ok\n"), "{text}");
    for path in [keys, pem, file] {
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn variables_of_a_kubernetes_service_are_warned_of() {
    let text = printed(&["check"], &[("TICKRING_PORT", "tcp://10.0.0.1:9001")]);
    assert!(text.starts_with("TICKRING_PORT: warning: is no key of ours, and set by Kubernetes"), "{text}");
}

#[test]
fn a_key_for_a_file_in_a_folder_that_is_not_there_says_how_to_make_it() {
    let output = run(&["keys", "add", "--file", "/nonexistent/tickring/keys.toml"], &[]);
    let expected = "tickring: /nonexistent/tickring/keys.toml: there is no folder /nonexistent/tickring: \
        make it: mkdir -p /nonexistent/tickring\n";
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), told.as_str()), (Some(66), expected));
}

#[test]
fn a_check_says_what_is_odd_and_where_it_stands() {
    let file = temporary_file("toml", b"[limits]\nmessage_timeout_ms = 0\n");
    let text =
        printed(&["check", "--config", file.to_str().unwrap()], &[("TICKRING_FLUSH_PACE_MAX_US", "50000")]);
    let lines: Vec<&str> = text.lines().collect();
    let name = file.display();
    assert!(lines[0].starts_with(&format!("{name}:2: warning: limits.message_timeout_ms ")), "{text}");
    assert!(lines[1].starts_with("TICKRING_FLUSH_PACE_MAX_US: warning: flush.pace_max_us "), "{text}");
    assert_eq!(lines[2..], [format!("{name}: ok")]);
    fs::remove_file(file).unwrap();
}
