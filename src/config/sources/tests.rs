//! Which source wins, and how each is named where it is wrong.

use super::*;

fn read(text: &str, variables: &[(&str, &str)], set: &[&str], flags: Overrides) -> Result<Effective, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let sources = Sources {
        file: None,
        variables: variables.iter().map(owned).collect(),
        set: set.iter().map(|text| (*text).to_owned()).collect(),
        flags,
    };
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    sources.read_text(text, "f.toml", &variable).map_err(|failure| failure.to_string())
}

fn of_variables(variables: &[(&str, &str)]) -> Config {
    read("", variables, &[], Overrides::default()).unwrap().config
}

fn refused(text: &str, variables: &[(&str, &str)], set: &[&str]) -> String {
    read(text, variables, set, Overrides::default()).unwrap_err()
}

#[test]
fn the_environment_wins_over_the_file_and_flags_over_both() {
    let text = "[limits]\nconnections_max = 1\n[shards]\ncores = [1]\n";
    let variables = [("TICKRING_LIMITS_CONNECTIONS_MAX", "2"), ("TICKRING_SHARDS_CORES", "2,3")];
    let max = |variables: &[(&str, &str)], set: &[&str]| {
        let effective = read(text, variables, set, Overrides::default()).unwrap();
        let told = effective.origin_of("limits.connections_max");
        (effective.config.limits.connections_max, told.unwrap())
    };
    assert_eq!(max(&[], &[]), (1, "f.toml:2".to_owned()));
    assert_eq!(max(&variables, &[]), (2, "TICKRING_LIMITS_CONNECTIONS_MAX".to_owned()));
    let set = "limits.connections_max=3";
    assert_eq!(max(&variables, &[set]), (3, format!("--set {set}")));
    let flags = Overrides { cores: Some(vec![4]), ..Overrides::default() };
    let effective = read(text, &variables, &["shards.cores=5,6"], flags).unwrap();
    assert_eq!(effective.config.shards.cores, [4]);
    assert_eq!(effective.origin_of("shards.cores").as_deref(), Some("--cores"));
    assert_eq!(effective.origin_of("limits.headers_max"), None);
}

#[test]
fn each_form_of_value_is_read_from_the_environment() {
    let config = of_variables(&[
        ("TICKRING_LISTEN_ADDRESS", "127.0.0.1:1"),
        ("TICKRING_LISTEN_1_ADDRESS", "127.0.0.1:2"),
        ("TICKRING_LISTEN_1_DEFLATE_ENABLED", "true"),
        ("TICKRING_LISTEN_ORIGINS", "https://a.example, https://b.example"),
        ("TICKRING_SHARDS_BUSY_POLL_US", "always"),
        ("TICKRING_SHARDS_CORES", "[0, 1]"),
        ("TICKRING_LIMITS_QUEUED_BYTES_MAX", "1_000_000"),
        ("TICKRING_FEED_REPLAY_SPEED", "2.5"),
        ("TICKRING_AUTH_PUBLIC_SUBSCRIBE", ""),
        ("TICKRING_VENUE__fx__KEY", "12345"),
        ("TICKRING_CONTROL_ADDRESS", ""),
        ("TICKRING_REQUIRE", "1"),
    ]);
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.listen[1].address, "127.0.0.1:2".parse().unwrap());
    assert!(config.listen[1].deflate.enabled && !config.listen[0].deflate.enabled);
    assert_eq!(config.listen[0].origins, ["https://a.example", "https://b.example"]);
    assert_eq!(config.shards.busy_poll, BusyPoll::Always);
    assert_eq!(config.shards.cores, [0, 1]);
    assert_eq!(config.limits.queued_bytes_max, 1_000_000);
    assert_eq!(config.feed.replay.speed, Speed::Factor(2.5));
    assert!(config.auth.public_subscribe.is_empty());
    assert_eq!(config.venue["fx"].key, "12345", "digits are text where text is expected");
    assert_eq!(config.control.address, None);
}

#[test]
fn the_log_listens_to_its_usual_variable_and_rather_to_ours() {
    let usual = ("RUST_LOG", "debug");
    assert_eq!(of_variables(&[usual]).log.filter, "debug");
    assert_eq!(of_variables(&[("TICKRING_LOG_FILTER", "warn"), usual]).log.filter, "warn");
}

#[test]
fn a_flag_wins_over_the_file() {
    let text =
        "[[listen]]\n[[listen]]\naddress = \"127.0.0.1:5\"\n[listen.tls]\ncertificate = \"c\"\nkey = \"k\"\n";
    let flags = Overrides {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        control: Some(None),
        echo: Some(true),
        tls_dev: Some(true),
        replay: Some("x.csv".into()),
        speed: Some(Speed::Max),
        busy_poll: Some(BusyPoll::Always),
        repeat: Some(true),
        cores: None,
    };
    let config = read(text, &[], &[], flags).unwrap().config;
    assert_eq!(config.listen[0].address.port(), 0);
    assert!(config.listen.iter().all(|listen| listen.echo));
    assert!(config.listen[0].tls.as_ref().unwrap().development);
    assert!(!config.listen[1].tls.as_ref().unwrap().development, "it has a certificate");
    assert_eq!(config.control.address, None);
    assert_eq!((config.feed.kind, config.feed.replay.speed), (super::super::FeedKind::Replay, Speed::Max));
    assert_eq!((config.feed.replay.repeat, config.shards.busy_poll), (true, BusyPoll::Always));
}

#[test]
fn what_is_wrong_is_told_with_the_variable_or_the_flag_that_says_it() {
    for (variable, value, told) in [
        (
            "TICKRING_LIMITS_CONECTIONS_MAX",
            "1",
            "TICKRING_LIMITS_CONECTIONS_MAX: no such key: did you mean TICKRING_LIMITS_CONNECTIONS_MAX?",
        ),
        ("TICKRING_NONSENSE", "1", "TICKRING_NONSENSE: no such key: tickring.toml explains every key"),
        (
            "TICKRING_LIMITS_HEADERS_MAX",
            "many",
            "TICKRING_LIMITS_HEADERS_MAX: limits.headers_max: invalid type: string \"many\", expected usize: \
             tickring.toml explains every key",
        ),
        (
            "TICKRING_LIMITS_HEADERS_MAX",
            "1",
            "TICKRING_LIMITS_HEADERS_MAX: limits.headers_max: is 1, expected 8 to 128 header fields: by default 64",
        ),
        (
            "TICKRING_LISTEN_3_BACKLOG",
            "1",
            "TICKRING_LISTEN_3_BACKLOG: there is no table of that number: the first is 0, and the next adds one",
        ),
    ] {
        assert_eq!(refused("", &[(variable, value)], &[]), told);
    }
    for (set, told) in [
        (
            "limits.headers_max",
            "--set limits.headers_max: has no =: write it as --set limits.connections_max=100",
        ),
        ("limits.header_max=9", "--set limits.header_max: no such key: did you mean limits.headers_max?"),
        (
            "limits.headers_max=1",
            "--set limits.headers_max=1: limits.headers_max: is 1, expected 8 to 128 header fields: by default 64",
        ),
        (
            "venue.fx.key=012345678901234567890123456789012345678901234567890123456789012345",
            "--set venue.fx.key: venue.fx.key: has 66 bytes, expected 1 to 64 of text: key = \"${VENUE_KEY}\" takes \
             it from the environment",
        ),
    ] {
        assert_eq!(refused("", &[], &[set]), told);
    }
    let flags = Overrides { cores: Some(vec![1, 1]), ..Overrides::default() };
    assert!(read("", &[], &[], flags).unwrap_err().starts_with("--cores: shards.cores: names core 1 twice"));
}

#[test]
fn a_variable_of_our_prefix_that_the_file_names_is_no_key() {
    let text = "[venue.fx]\nkey = \"${TICKRING_SECRET_OF_FX}\"\n";
    let variables = [("TICKRING_SECRET_OF_FX", "s")];
    let effective = read(text, &variables, &[], Overrides::default()).unwrap();
    assert_eq!(effective.config.venue["fx"].key, "s");
    assert!(refused("", &variables, &[]).starts_with("TICKRING_SECRET_OF_FX: no such key"));
}

#[test]
fn a_file_out_of_range_is_mended_by_what_wins_over_it() {
    let text = "[limits]\nheaders_max = 1\n";
    assert!(refused(text, &[], &[]).starts_with("f.toml:2: limits.headers_max: is 1"));
    let variables = [("TICKRING_LIMITS_HEADERS_MAX", "9")];
    assert_eq!(read(text, &variables, &[], Overrides::default()).unwrap().config.limits.headers_max, 9);
}

#[test]
fn variables_that_kubernetes_sets_for_a_service_are_left_alone_and_named() {
    let of_service = [
        ("TICKRING_SERVICE_HOST", "10.0.0.1"),
        ("TICKRING_SERVICE_PORT", "9001"),
        ("TICKRING_SERVICE_PORT_WS", "9001"),
        ("TICKRING_PORT", "tcp://10.0.0.1:9001"),
        ("TICKRING_PORT_9001_TCP", "tcp://10.0.0.1:9001"),
        ("TICKRING_PORT_9001_TCP_PROTO", "tcp"),
        ("TICKRING_FEED_SERVICE_HOST", "10.0.0.2"),
        ("TICKRING_FEED_PORT_9001_TCP_ADDR", "10.0.0.2"),
    ];
    let effective = read("", &of_service, &[], Overrides::default()).unwrap();
    assert_eq!(effective.config, Config::default());
    assert_eq!(effective.ignored, of_service.map(|(name, _)| name));
    // What only looks like it is misspelt.
    for odd in ["TICKRING_PORT", "TICKRING_LISTEN_PORT", "TICKRING_SERVICE_HOSTS", "TICKRING_SERVICE_STATE"] {
        let told = refused("", &[(odd, "9001")], &[]);
        assert!(told.starts_with(&format!("{odd}: no such key: ")), "{told}");
    }
}

#[test]
fn a_misspelt_key_of_the_file_has_the_nearest_suggested() {
    for (text, expected) in [
        ("[limits]\nheader_max = 1\n", "limits.headers_max"),
        ("[[listen]]\nbacklgo = 1\n", "listen.backlog"),
        ("[[listen]]\n[listen.tls]\nkeys = \"a\"\n", "listen.tls.key"),
        ("[limit]\nheaders_max = 1\n", "limits"),
        ("[venue.fx]\nkye = \"k\"\n", "venue.fx.key"),
        ("[feed.papre]\nseed = 1\n", "feed.paper"),
    ] {
        let told = refused(text, &[], &[]);
        assert!(told.ends_with(&format!(": did you mean {expected}?")), "{told}");
    }
    let told = refused("[limits]\nqqqqqqqqqq = 1\n", &[], &[]);
    assert!(told.ends_with(": tickring.toml explains every key"), "{told}");
}

#[test]
fn a_secret_of_a_wrong_type_is_not_shown() {
    for text in [
        "[venue.fx]\nkey = 12345\n",
        "[venue]\nfx = {key = 12345}\n",
        "venue = {fx = {key = 12345}}\n",
        "[venue]\nfx.key = 12345\n",
        "[venue.fx]\nkey = [12345]\n",
        "[venue.fx]\nkey = 12345 # 12345\n",
    ] {
        let told = refused(text, &[], &[]);
        assert!(!told.contains("12345") && told.contains("expected a string"), "{told}");
    }
    let told = refused("[venue.fx]\nheartbeat_ms = \"often\"\n", &[], &[]);
    assert!(told.contains("often"), "what is no secret is shown: {told}");
}
