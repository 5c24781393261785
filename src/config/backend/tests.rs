//! What a `[[backend]]` table may say, and what it comes to.

use super::*;
use crate::config::Config;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, "f.toml", &|_| None).map_err(|failure| failure.to_string())
}

#[test]
fn a_process_needs_a_name_and_a_command() {
    let config = parse("[[backend]]\nname = \"risk\"\ncommand = [\"risk\", \"-v\"]\n").unwrap();
    let settings = config.backend[0].settings(BackendId(7));
    assert_eq!((settings.id, &*settings.name), (BackendId(7), "risk"));
    assert_eq!(settings.route.methods, [Box::from("risk/*")]);
    assert_eq!(settings.route.access, Access::ReadWrite);
    assert_eq!(settings.route.timeout_ns, 30_000_000_000);
    let WaySettings::Stdio(process) = settings.way else { panic!("{:?}", settings.way) };
    assert_eq!(process.command, ["risk", "-v"]);
    assert_eq!((process.pool, process.directory, process.start), (1, None, Start::Demand));
}

#[test]
fn a_server_of_mcp_has_a_prefix_and_no_methods() {
    for (prefix, expected) in [("", "files__"), ("prefix = \"\"", ""), ("prefix = \"x-{name}\"", "x-files__")]
    {
        let text =
            format!("[[backend]]\nname = \"files\"\nkind = \"mcp-stdio\"\ncommand = [\"x\"]\n{prefix}\n");
        let settings = parse(&text).unwrap().backend[0].settings(BackendId(0));
        assert!(settings.route.methods.is_empty());
        let WaySettings::McpStdio(_, mcp) = settings.way else { panic!("{:?}", settings.way) };
        assert_eq!((&*mcp.prefix, mcp.instances), (expected, McpInstances::Shared));
    }
}

#[test]
fn addresses_have_their_weights() {
    let text =
        "[[backend]]\nname = \"risk\"\nkind = \"http\"\naddresses = [\"http://a/\", \"https://b:1/x\"]\n";
    let members = |text: &str| {
        let config = parse(text).unwrap();
        let WaySettings::Http(http) = config.backend[0].settings(BackendId(0)).way else { panic!() };
        let pair = |member: MemberConfig| (member.address.into_string(), member.weight);
        http.links.members.into_iter().map(pair).collect::<Vec<_>>()
    };
    let pairs = |weights: [u32; 2]| {
        vec![("http://a/".to_owned(), weights[0]), ("https://b:1/x".to_owned(), weights[1])]
    };
    assert_eq!(members(text), pairs([1, 1]));
    assert_eq!(members(&format!("{text}weights = [3, 2]\n")), pairs([3, 2]));
}

#[test]
fn services_are_sent_arrays_where_that_is_said() {
    let text = "[[backend]]\nname = \"a\"\nkind = \"http\"\naddresses = [\"http://h/\"]\n";
    let batching = |keys: &str| {
        let settings = parse(&format!("{text}{keys}")).unwrap().backend[0].settings(BackendId(0));
        let WaySettings::Http(http) = settings.way else { panic!("{:?}", settings.way) };
        http.batching
    };
    assert_eq!(batching(""), None);
    let expected = Batching { count_max: 20, bytes_max: 16_384, wait_ns: 1_000_000, is_adaptive: true };
    assert_eq!(batching("batch_count_max = 20\nbatch_wait_us = 1000\n"), Some(expected));
}

#[test]
fn types_of_messages_have_one_backend() {
    const STDIO: &str = "[[backend]]\nname = \"a\"\ncommand = [\"x\"]\n";
    const HTTP: &str = "[[backend]]\nname = \"b\"\nkind = \"http\"\naddresses = [\"http://h/\"]\n";
    let config =
        parse(&format!("{STDIO}messages = [\"risk.*\", \"é\"]\n{HTTP}messages = [\"*\"]\n")).unwrap();
    let route = config.backend[0].settings(BackendId(0)).route;
    assert_eq!((route.messages, route.messages_in_flight_max), (vec!["risk.*".into(), "é".into()], 16));
    for (text, expected) in [
        (
            &format!("{STDIO}messages = [\"b*\", \"a*b\"]\n"),
            "f.toml:4: backend.messages: has \"a*b\", expected a type of 1 to 64 bytes",
        ),
        (&format!("{STDIO}messages = [\"\"]\n"), "f.toml:4: backend.messages: has \"\", expected a type"),
        (
            &format!("{STDIO}messages = [\"*\"]\n{HTTP}messages = [\"a\", \"*\"]\n"),
            "f.toml:9: backend.messages: has \"*\", which backend a has",
        ),
        (
            &format!("{STDIO}messages_in_flight_max = 0\n"),
            "f.toml:4: backend.messages_in_flight_max: is 0, expected 1 to 4096",
        ),
    ] {
        let told = parse(text).unwrap_err();
        assert!(told.starts_with(expected), "{told}");
    }
}

#[test]
fn names_line_and_key_of_what_cannot_be() {
    const STDIO: &str = "[[backend]]\nname = \"a\"\ncommand = [\"x\"]\n";
    const HTTP: &str = "[[backend]]\nname = \"b\"\nkind = \"http\"\naddresses = [\"http://h/\"]\n";
    for (text, expected) in [
        ("[[backend]]\ncommand = [\"x\"]\n", "f.toml: backend.name: is \"\", expected 1 to 32 letters"),
        ("[[backend]]\nname = \"a b\"\n", "f.toml:2: backend.name: is \"a b\", expected "),
        ("[[backend]]\nname = \"a\"\n", "f.toml: backend.command: names no program: command = ["),
        (
            "[[backend]]\nname = \"a\"\nkind = \"pigeon\"\n",
            "f.toml:3: backend.kind: unknown variant `pigeon`",
        ),
        (&format!("{STDIO}pool = 0\n"), "f.toml:4: backend.pool: is 0, expected 1 to "),
        (&format!("{STDIO}{STDIO}"), "f.toml:5: backend.name: is \"a\", as of one before it: "),
        (
            &format!("{STDIO}{HTTP}methods = [\"a/*\"]\n"),
            "f.toml:8: backend.methods: has \"a/*\", which backend a has",
        ),
        (
            &format!("{STDIO}http2 = true\n"),
            "f.toml:4: backend.http2: is set, but a backend of kind stdio has none",
        ),
        (
            &format!("{STDIO}batch_count_max = 2\n"),
            "f.toml:4: backend.batch_count_max: is set, but a backend of kind stdio has none",
        ),
        (
            &format!("{HTTP}command = [\"x\"]\n"),
            "f.toml:5: backend.command: is set, but a backend of kind http has none",
        ),
        (
            &format!("{STDIO}methods = [\"a\"]\n"),
            "f.toml:4: backend.methods: has \"a\", expected a method or prefix/*",
        ),
        (
            &format!("{STDIO}environment = [\"secret\"]\n"),
            "f.toml:4: backend.environment: has an entry without NAME=, the 1. of",
        ),
        (&format!("{HTTP}weights = [1, 2]\n"), "f.toml:5: backend.weights: has 2 for 1 addresses"),
        (
            &STDIO
                .replace("[[backend]]", "[[backend]]\nkind = \"mcp-stdio\"")
                .replace("\"a\"", "\"a\"\nmethods = [\"a/*\"]"),
            "f.toml:4: backend.methods: is set, but a backend of kind mcp-stdio has none",
        ),
        (
            &format!("{STDIO}prefix = \"x\"\n"),
            "f.toml:4: backend.prefix: is set, but a backend of kind stdio",
        ),
        (
            &HTTP.replace("\"http\"", "\"mcp-http\"").replace("/\"]", "/\", \"http://i/\"]"),
            "f.toml:4: backend.addresses: has 2, but a session of MCP is of one",
        ),
        (
            &STDIO.replace("[[backend]]", "[[backend]]\nkind = \"mcp-stdio\"\nprefix = \"a b\""),
            "f.toml:3: backend.prefix: is \"a b\", expected letters",
        ),
        (&format!("{HTTP}weights = [0]\n"), "f.toml:5: backend.weights: has 0, expected 1 to 1000"),
        (
            &HTTP.replace("http://", "ftp://"),
            "f.toml:4: backend.addresses: has \"ftp://h/\", expected http://",
        ),
        (
            &format!("{STDIO}pool = 1000\n{}pool = 100\n", STDIO.replace("\"a\"", "\"c\"")),
            "f.toml:8: backend.pool: makes 1100 processes in all",
        ),
    ] {
        let failure = parse(text).unwrap_err();
        assert!(failure.starts_with(expected), "{failure}\nis not\n{expected}");
    }
}
