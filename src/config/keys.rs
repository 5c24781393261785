//! The table of keys: what each is written as, whether it can change while the server runs, whether it is secret. Every field of
//! `Config` stands here once (a test compares them). PURE.
//!
//! A key's name in the environment is `TICKRING_` and its path in capitals, with `_` for each dot: `TICKRING_LIMITS_CONNECTIONS_MAX`.
//! What has a number or a name in its path has that between: `TICKRING_LISTEN_1_ADDRESS` is of the second listener (without a
//! number: of the first), `TICKRING_VENUE__fx__KEY` of `[venue.fx]`; so with `[instrument.NAME]`.

/// What is before every key in the environment.
pub(super) const PREFIX: &str = "TICKRING_";

/// Variables with that beginning that are no keys: for the build, tests and other commands.
const OTHERS: [&str; 10] = [
    "CHILDREN",
    "COMMIT",
    "DATA",
    "ORDER_OPS",
    "REQUIRE",
    "SEED",
    "SEEDS",
    "TEST_UNSET",
    "VENUE_KEY",
    "WRITE_DOCS",
];

/// One key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// `*` stands for the name of a venue or an instrument; `listen` and `backend` are arrays of tables, whose index is left out.
    pub path: &'static str,
    pub form: Form,
    pub reload: Reload,
}

/// How a value is written outside of TOML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is.
    Text,
    /// Text that is shown to nobody.
    Secret,
    /// A number, `true`, `false`, or a word in place of a number.
    Plain,
    /// With commas between them.
    Texts,
    Numbers,
    /// `NAME=value`, with commas between them; what is behind the `=` is shown to nobody.
    Assignments,
}

impl Form {
    pub(super) const fn is_secret(self) -> bool {
        match self {
            Secret | Assignments => true,
            Text | Plain | Texts | Numbers => false,
        }
    }
}

/// Arrays of tables: what is in one has its number in its place.
pub(super) const ARRAYS: [&str; 2] = ["listen", "backend"];

/// Whether a key's new value can be applied while the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reload {
    Live,
    Restart,
}

const fn live(path: &'static str, form: Form) -> Key {
    Key { path, form, reload: Reload::Live }
}

const fn restart(path: &'static str, form: Form) -> Key {
    Key { path, form, reload: Reload::Restart }
}

use Form::{Assignments, Numbers, Plain, Secret, Text, Texts};

/// All keys, in the order of `tickring.toml`.
pub(super) const KEYS: &[Key] = &[
    // A listener's socket and its options are of the start.
    restart("listen.address", Text),
    restart("listen.protocol", Text),
    restart("listen.backlog", Plain),
    live("listen.origins", Texts),
    live("listen.hosts", Texts),
    live("listen.echo", Plain),
    live("listen.ping_interval_ms", Plain),
    live("listen.ping_timeout_ms", Plain),
    live("listen.proxies", Texts),
    live("listen.proxy_header", Text),
    restart("listen.unacknowledged_ms_max", Plain),
    live("listen.deflate.enabled", Plain),
    live("listen.deflate.client_window_bits_max", Plain),
    live("listen.deflate.client_context_takeover", Plain),
    restart("listen.tls.development", Plain),
    live("listen.tls.certificate", Text),
    live("listen.tls.key", Text),
    restart("listen.tls.versions", Texts),
    restart("listen.tls.suites", Texts),
    restart("listen.tls.curves", Texts),
    restart("listen.tls.sessions_max", Plain),
    restart("listen.tls.session_lifetime_s", Plain),
    restart("listen.tls.tickets", Plain),
    restart("control.address", Text),
    restart("control.socket", Text),
    live("control.debug", Plain),
    restart("mcp.tools", Plain),
    restart("mcp.address", Text),
    restart("mcp.origins", Texts),
    restart("mcp.hosts", Texts),
    live("log.filter", Text),
    live("log.file", Text),
    restart("shards.cores", Numbers),
    // Tables and the ring are made this large.
    restart("shards.connections_max", Plain),
    live("shards.busy_poll_us", Plain),
    live("limits.connections_max", Plain),
    live("limits.connections_per_address_max", Plain),
    live("limits.head_bytes_max", Plain),
    live("limits.headers_max", Plain),
    live("limits.handshake_timeout_ms", Plain),
    live("limits.message_bytes_max", Plain),
    live("limits.frame_bytes_max", Plain),
    live("limits.fragments_max", Plain),
    live("limits.message_timeout_ms", Plain),
    live("limits.messages_per_s_max", Plain),
    live("limits.bytes_per_s_max", Plain),
    live("limits.requests_pending_max", Plain),
    live("limits.calls_under_way_max", Plain),
    live("limits.call_cache_entries_max", Plain),
    live("limits.call_cache_bytes_max", Plain),
    live("limits.subscriptions_max", Plain),
    live("limits.queued_bytes_max", Plain),
    live("limits.write_timeout_ms", Plain),
    live("limits.idle_timeout_ms", Plain),
    live("limits.close_timeout_ms", Plain),
    live("limits.memory_bytes_max", Plain),
    live("auth.keys", Text),
    restart("auth.sessions", Text),
    live("auth.demo_key", Plain),
    live("auth.public_subscribe", Texts),
    live("auth.logins_per_minute_max", Plain),
    live("auth.failures_per_minute_max", Plain),
    // A signature forgotten by a shorter window would be taken twice by a longer one.
    restart("auth.signature_window_ms", Plain),
    live("auth.connection_lifetime_s", Plain),
    live("auth.token_lifetime_s", Plain),
    live("auth.refresh_lifetime_s", Plain),
    live("orders.open_max", Plain),
    live("orders.remembered_max", Plain),
    live("orders.credits_max", Plain),
    live("orders.credits_per_s", Plain),
    live("orders.place_credits", Plain),
    live("orders.cancel_credits", Plain),
    live("orders.query_credits", Plain),
    live("orders.amount_max", Plain),
    live("orders.notional_max", Plain),
    live("orders.position_max", Plain),
    live("orders.price_band_bp", Plain),
    live("orders.duplicate_window_ms", Plain),
    // An account has it from its first order on, and balances are counted from the other.
    restart("orders.cancel_on_disconnect", Plain),
    restart("orders.opening_balance", Plain),
    live("messages.messages_max", Plain),
    live("messages.bytes_max", Plain),
    live("messages.per_sender_max", Plain),
    live("messages.scheduled_max", Plain),
    live("messages.mailbox_max", Plain),
    live("messages.mailbox_bytes_max", Plain),
    live("messages.kept_s", Plain),
    live("messages.ttl_s", Plain),
    live("messages.ahead_s_max", Plain),
    live("messages.ageing_ms", Plain),
    live("messages.ack_timeout_ms", Plain),
    live("messages.retry_first_ms", Plain),
    live("messages.retry_longest_ms", Plain),
    live("messages.attempts_max", Plain),
    live("messages.dedup_window_s", Plain),
    live("messages.dedup_names_max", Plain),
    live("messages.dead_letters_max", Plain),
    live("messages.dead_letter_bytes_max", Plain),
    live("messages.users_max", Plain),
    live("messages.unknown_users", Plain),
    live("messages.sessions_per_user_max", Plain),
    live("messages.critical_under_way_max", Plain),
    live("messages.groups_max", Plain),
    live("messages.members_per_group_max", Plain),
    live("instrument.*.amount_max", Plain),
    live("instrument.*.notional_max", Plain),
    live("instrument.*.position_max", Plain),
    live("instrument.*.price_band_bp", Plain),
    live("overload.guard_percent", Plain),
    live("overload.guard_leave_percent", Plain),
    live("overload.shed_percent", Plain),
    live("overload.shed_leave_percent", Plain),
    live("overload.turn_ms_max", Plain),
    live("overload.dwell_ms", Plain),
    live("flush.pace_max_us", Plain),
    live("service.drain_timeout_s", Plain),
    live("service.drain_spread_ms", Plain),
    restart("service.state_dir", Text),
    restart("service.histogram_interval_s", Plain),
    restart("service.summary_interval_s", Plain),
    // Another market is another start.
    restart("feed.kind", Text),
    restart("feed.paper.seed", Plain),
    live("feed.paper.instruments", Plain),
    live("feed.paper.events_per_s", Plain),
    restart("feed.replay.file", Text),
    live("feed.replay.speed", Plain),
    live("feed.replay.loop", Plain),
    // A link whose keys differ is made anew.
    live("venue.*.kind", Text),
    live("venue.*.listen", Text),
    live("venue.*.connect", Texts),
    live("venue.*.key", Secret),
    live("venue.*.instruments", Texts),
    live("venue.*.heartbeat_ms", Plain),
    live("venue.*.max_connections", Plain),
    live("venue.*.max_retries", Plain),
    live("venue.*.retry_delay_ms", Plain),
    live("topics.publish", Plain),
    live("topics.history_bytes_max", Plain),
    live("topics.history_events_max", Plain),
    live("deflate.level", Plain),
    live("deflate.message_bytes_min", Plain),
    live("deflate.topics", Texts),
    // The thread has it from its start to its end.
    restart("store.directory", Text),
    restart("store.required", Plain),
    restart("store.queue_batches_max", Plain),
    restart("store.queue_bytes_max", Plain),
    // Who owns the market is decided between the nodes from start to end.
    restart("cluster.kind", Text),
    restart("cluster.servers", Texts),
    restart("cluster.name", Text),
    restart("cluster.node", Text),
    restart("cluster.owns", Plain),
    restart("cluster.term_ms", Plain),
    restart("cluster.replicas", Plain),
    restart("cluster.store_bytes_max", Plain),
    restart("cluster.credentials", Text),
    restart("cluster.tls.ca", Text),
    restart("cluster.tls.certificate", Text),
    restart("cluster.tls.key", Text),
    // One whose keys differ is made anew; the others are not touched.
    live("backend.name", Text),
    live("backend.kind", Text),
    live("backend.methods", Texts),
    live("backend.access", Text),
    live("backend.idempotent", Texts),
    live("backend.cache_ttl_ms", Plain),
    live("backend.cache_shared", Plain),
    live("backend.timeout_ms", Plain),
    live("backend.in_flight_max", Plain),
    live("backend.in_flight_per_client_max", Plain),
    live("backend.messages", Texts),
    live("backend.messages_in_flight_max", Plain),
    live("backend.pool", Plain),
    live("backend.idle_timeout_ms", Plain),
    live("backend.max_retries", Plain),
    live("backend.retry_delay_ms", Plain),
    live("backend.command", Texts),
    live("backend.directory", Text),
    live("backend.environment", Assignments),
    live("backend.start", Text),
    live("backend.stop_timeout_ms", Plain),
    live("backend.memory_bytes_max", Plain),
    live("backend.descriptors_max", Plain),
    live("backend.cpu_s_max", Plain),
    live("backend.cpu_percent_max", Plain),
    live("backend.file_bytes_max", Plain),
    live("backend.addresses", Texts),
    live("backend.weights", Numbers),
    live("backend.balance", Text),
    live("backend.connect_timeout_ms", Plain),
    live("backend.attempts_max", Plain),
    live("backend.breaker_failures", Plain),
    live("backend.breaker_open_ms", Plain),
    live("backend.ejection_percent", Plain),
    live("backend.health_interval_ms", Plain),
    live("backend.health_path", Text),
    live("backend.http2", Plain),
    live("backend.authorization", Secret),
    live("backend.authorities", Text),
    live("backend.health_method", Text),
    live("backend.batch_count_max", Plain),
    live("backend.batch_bytes_max", Plain),
    live("backend.batch_wait_us", Plain),
    live("backend.batch_adaptive", Plain),
    live("backend.prefix", Text),
    live("backend.instances", Text),
];

/// A key in its place: `listen.1.address`, `venue.fx.key`, `limits.connections_max`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(pub String);

impl Place {
    /// The place of a path of the table in the `nth` of an array's tables, which counts for those of arrays only. Venues' names are
    /// in such paths already.
    pub(super) fn nth(path: &str, nth: usize) -> Place {
        match path.split_once('.') {
            Some((array, rest)) if ARRAYS.contains(&array) => Place(format!("{array}.{nth}.{rest}")),
            Some(_) | None => Place(path.to_owned()),
        }
    }

    /// As people write it: without the number of the first listener.
    pub(super) fn shown(&self) -> String {
        self.0.replacen("listen.0.", "listen.", 1)
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// What the table says of it.
    pub(super) fn key(&self) -> Option<&'static Key> {
        let mut path: Vec<&str> = self.segments().collect();
        match path.first() {
            Some(array) if ARRAYS.contains(array) && path.len() > 1 => drop(path.remove(1)),
            Some(&("venue" | "instrument")) if path.len() == 3 => path[1] = "*",
            Some(_) | None => {}
        }
        let path = path.join(".");
        KEYS.iter().find(|key| key.path == path)
    }

    /// What a name on the command line means: a path, in which the number of the first table of an array may be left out.
    ///
    /// # Errors
    /// There is no such key; the nearest one, if there is one near.
    pub(super) fn of_path(name: &str) -> Result<Place, Option<String>> {
        let after = name.split_once('.').filter(|(array, _)| ARRAYS.contains(array));
        let numbered = after.and_then(|(_, rest)| rest.split('.').next()).is_some_and(is_number);
        let place = if numbered { Place(name.to_owned()) } else { Place::nth(name, 0) };
        if place.key().is_some() { Ok(place) } else { Err(nearest(name, |key| key.path.to_owned())) }
    }

    /// What a variable's name means, behind the prefix; none for one that is no key of ours and is not meant to be.
    ///
    /// # Errors
    /// As [`Place::of_path`].
    pub(super) fn of_variable(name: &str) -> Result<Option<Place>, Option<String>> {
        if OTHERS.contains(&name) {
            return Ok(None);
        }
        let unknown = || nearest(name, |key| format!("{PREFIX}{}", variable(key.path)));
        let named = [("VENUE__", "venue"), ("INSTRUMENT__", "instrument")];
        let named = named.into_iter().find_map(|(prefix, table)| {
            let (own, key) = name.strip_prefix(prefix)?.rsplit_once("__")?;
            Some(Place(format!("{table}.{own}.{}", key.to_ascii_lowercase())))
        });
        if let Some(place) = named {
            return if place.key().is_some() { Ok(Some(place)) } else { Err(unknown()) };
        }
        let of_array =
            name.split_once('_').filter(|(array, _)| ARRAYS.contains(&&*array.to_ascii_lowercase()));
        let numbered = of_array.and_then(|(array, rest)| Some((array, rest.split_once('_')?)));
        let (name, nth) = match numbered.filter(|(_, (number, _))| is_number(number)) {
            Some((array, (number, rest))) => {
                (format!("{array}_{rest}"), number.parse().unwrap_or(usize::MAX))
            }
            None => (name.to_owned(), 0),
        };
        let key = KEYS.iter().find(|key| variable(key.path) == name);
        key.map(|key| Some(Place::nth(key.path, nth))).ok_or_else(unknown)
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn variable(path: &str) -> String {
    match path.split_once(".*.") {
        Some((table, key)) => format!("{table}__NAME__{key}").to_ascii_uppercase(),
        None => path.replace('.', "_").to_ascii_uppercase(),
    }
}

/// The key or table of a file that is least far from this one, if it is near. A venue keeps its name.
pub(super) fn nearest_of_file(path: &str) -> Option<String> {
    let venue = path.strip_prefix("venue.").and_then(|rest| rest.split_once('.')).map(|(venue, _)| venue);
    let shown = |known: &str| known.replace('*', venue.unwrap_or("NAME"));
    let tables = KEYS.iter().filter_map(|key| key.path.rsplit_once('.')).map(|(table, _)| shown(table));
    let all = KEYS.iter().map(|key| shown(key.path)).chain(tables);
    let nearest = all.map(|known| (distance(path, &known), known)).min();
    // What is before its last word is right, or nearly so: the rest is what is misspelt.
    let word = path.rsplit('.').next().unwrap_or(path);
    nearest.filter(|(far, _)| *far <= (word.len() / 3).max(2)).map(|(_, known)| known)
}

/// The key whose name is least far from this one, if it is near.
fn nearest(name: &str, named: impl Fn(&Key) -> String) -> Option<String> {
    let bare = |text: &str| text.strip_prefix(PREFIX).unwrap_or(text).to_ascii_lowercase();
    let name = bare(name);
    let all = KEYS.iter().map(named).map(|known| (distance(&name, &bare(&known)), known));
    all.min().filter(|(far, _)| *far <= name.len() / 3).map(|(_, known)| known)
}

/// How many letters have to be put in, taken out or changed (Levenshtein).
pub(super) fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (at, other) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::sources::flatten;
    use crate::config::{Backend, Config, Instrument, Venue};
    use crate::tls;

    /// A configuration in which no table is left out.
    fn full() -> Config {
        let mut config = Config::default();
        config.listen[0].tls = Some(tls::Settings::default());
        let venue = Venue { listen: Venue::default().listens(), ..Venue::default() };
        config.venue.insert("fx".to_owned(), venue);
        let instrument = Instrument {
            amount_max: Some(1),
            notional_max: Some(1),
            position_max: Some(1),
            price_band_bp: Some(1),
        };
        config.instrument.insert("A".to_owned(), instrument);
        config.backend.push(Backend::default());
        config
    }

    #[test]
    fn every_field_of_the_configuration_stands_in_the_table_once() {
        let values = flatten(&full());
        let fields: BTreeSet<&str> = values.keys().map(|place| place.key().expect(&place.0).path).collect();
        let table: BTreeSet<&str> = KEYS.iter().map(|key| key.path).collect();
        assert_eq!(fields, table);
        assert_eq!(KEYS.len(), table.len(), "no key stands twice");
    }

    #[test]
    fn the_page_of_operations_lists_what_needs_a_restart() {
        let page = include_str!("../../docs/operations.md");
        let (_, listed) = page.split_once("These need a restart.").unwrap();
        let (listed, _) = listed.split_once(".\n").unwrap();
        // Behind the example of a line of the log.
        let (_, listed) = listed.split_once(":\n").unwrap();
        let listed: Vec<&str> = listed.split('`').skip(1).step_by(2).collect();
        let restart = KEYS.iter().filter(|key| key.reload == Reload::Restart);
        assert_eq!(listed, restart.map(|key| key.path).collect::<Vec<_>>());
    }

    #[test]
    fn every_key_has_a_variable_of_its_own() {
        let names: BTreeSet<String> = KEYS.iter().map(|key| variable(key.path)).collect();
        assert_eq!(names.len(), KEYS.len());
        for key in KEYS.iter().filter(|key| !key.path.contains('*')) {
            let place = Place::of_variable(&variable(key.path)).unwrap().unwrap();
            assert_eq!(place.key().unwrap().path, key.path);
        }
        for other in OTHERS {
            assert!(!names.contains(other));
        }
    }

    #[test]
    fn variables_and_paths_name_listeners_and_venues() {
        let of_variable = |name: &str| Place::of_variable(name).unwrap().unwrap().0;
        assert_eq!(of_variable("LISTEN_ADDRESS"), "listen.0.address");
        assert_eq!(of_variable("LISTEN_1_TLS_KEY"), "listen.1.tls.key");
        assert_eq!(of_variable("VENUE__fx-1__KEY"), "venue.fx-1.key");
        assert_eq!(of_variable("BACKEND_COMMAND"), "backend.0.command");
        assert_eq!(of_variable("BACKEND_2_HTTP2"), "backend.2.http2");
        assert_eq!(of_variable("INSTRUMENT__A-B__AMOUNT_MAX"), "instrument.A-B.amount_max");
        assert_eq!(of_variable("FEED_REPLAY_LOOP"), "feed.replay.loop");
        assert_eq!(Place::of_variable("REQUIRE"), Ok(None));
        assert_eq!(Place::of_path("listen.backlog").unwrap().0, "listen.0.backlog");
        assert_eq!(Place::of_path("listen.2.backlog").unwrap().shown(), "listen.2.backlog");
        assert_eq!(Place::of_path("backend.1.pool").unwrap().0, "backend.1.pool");
        assert_eq!(Place::of_path("venue.fx.key").unwrap().shown(), "venue.fx.key");
    }

    #[test]
    fn an_unknown_name_has_the_nearest_one_suggested() {
        let suggested = |name: &str| Place::of_variable(name).unwrap_err();
        assert_eq!(suggested("LIMITS_CONECTIONS_MAX").as_deref(), Some("TICKRING_LIMITS_CONNECTIONS_MAX"));
        assert_eq!(suggested("QQQQQQ"), None);
        let of_path = Place::of_path("limits.connection_max").unwrap_err();
        assert_eq!(of_path.as_deref(), Some("limits.connections_max"));
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
