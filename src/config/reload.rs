//! What of a configuration that was read again holds at once, and what waits for a restart. PURE.
//!
//! Invariants: what is merged is within its ranges as a whole; of every key that differs it is said which of the two became of it.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Table, Value};

use super::keys::{KEYS, Place, Reload};
use super::print::shown;
use super::sources::{flatten, insert};
use super::{Backend, Config, Instrument};
use crate::exit::{Exit, Failure};

/// The outcome.
#[derive(Clone, Debug)]
pub struct Merged {
    pub config: Config,
    /// Keys that hold from now on, each with its value before and its new one.
    pub changed: Vec<String>,
    /// Keys that need a restart, each with what stays until then.
    pub refused: Vec<String>,
}

/// Of what is wanted, what can hold while the server runs; `keep` names keys that can't although their kind can.
///
/// # Errors
/// What stays and what is new contradict each other.
pub fn merge(running: &Config, mut wanted: Config, keep: &[&str]) -> Result<Merged, Failure> {
    let mut refused = Vec::new();
    keep_listeners(running, &mut wanted, &mut refused);
    let (before, after) = (flatten(running), flatten(&wanted));
    let mut changed = Vec::new();
    tell_venues(running, &wanted, &mut changed);
    tell_instruments(running, &wanted, &mut changed);
    tell_backends(running, &wanted, &mut changed);
    let mut kept: BTreeMap<&Place, &Value> = BTreeMap::new();
    for (place, new) in &after {
        // Told by their names, not by their places.
        if place.segments().next() == Some("backend") {
            continue;
        }
        // What is only here, or only there, is of a listener, and was kept above, or of a venue or an instrument, and was told.
        let Some(old) = before.get(place).filter(|old| *old != new) else { continue };
        let key = place.key();
        let is_live = key.is_some_and(|key| key.reload == Reload::Live && !keep.contains(&key.path));
        let text = |value| {
            if key.is_some_and(|key| key.form.is_secret()) { "***".to_owned() } else { shown(value) }
        };
        if is_live {
            changed.push(format!("{} {} → {}", place.shown(), text(old), text(new)));
        } else {
            kept.insert(place, old);
            refused.push(format!("{} needs a restart: stays {}", place.shown(), text(old)));
        }
    }
    let mut table =
        Table::try_from(&wanted).expect("invariant: every field of a configuration is a value of TOML");
    for (place, old) in kept {
        assert!(insert(&mut table, place, old.clone(), 0), "invariant: the place is there");
    }
    let config = Config::deserialize(table)
        .map_err(|error| Failure::new(Exit::Config, error.message(), "restart the server"))?;
    config.check().map_err(|fault| {
        let what = format!("{}: {}, beside what needs a restart", fault.key, fault.what);
        Failure::new(Exit::Config, what, "restart the server")
    })?;
    Ok(Merged { config, changed, refused })
}

/// Listeners are told from each other by their addresses, and are of the start, as is whether one speaks TLS.
fn keep_listeners(running: &Config, wanted: &mut Config, refused: &mut Vec<String>) {
    let addresses = |config: &Config| -> Vec<String> {
        config.listen.iter().map(|listen| listen.address.to_string()).collect()
    };
    let (before, after) = (addresses(running), addresses(wanted));
    if before != after {
        refused.push(format!("[[listen]] needs a restart: stays at {}", before.join(", ")));
        wanted.listen.clone_from(&running.listen);
    }
    for (nth, (was, is)) in running.listen.iter().zip(&mut wanted.listen).enumerate() {
        if was.tls.is_some() != is.tls.is_some() {
            let stays = if was.tls.is_some() { "there" } else { "absent" };
            let place = Place(format!("listen.{nth}.tls"));
            refused.push(format!("[{}] needs a restart: stays {stays}", place.shown()));
            is.tls.clone_from(&was.tls);
        }
    }
}

/// Venues that come and go. Where one is waited for by default is said by no key.
fn tell_venues(running: &Config, wanted: &Config, changed: &mut Vec<String>) {
    for (name, venue) in &running.venue {
        match wanted.venue.get(name) {
            None => changed.push(format!("[venue.{name}] there → absent")),
            Some(wanted) => match (venue.listen, wanted.listen) {
                (Some(address), None) => changed.push(format!("venue.{name}.listen \"{address}\" → absent")),
                (None, Some(address)) => changed.push(format!("venue.{name}.listen absent → \"{address}\"")),
                (Some(_), Some(_)) | (None, None) => {}
            },
        }
    }
    for name in wanted.venue.keys().filter(|name| !running.venue.contains_key(*name)) {
        changed.push(format!("[venue.{name}] absent → there"));
    }
}

/// Tables of instruments that come and go, and keys of one that do.
fn tell_instruments(running: &Config, wanted: &Config, changed: &mut Vec<String>) {
    let (before, after) = (&running.instrument, &wanted.instrument);
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        changed.push(format!("[instrument.{name}] there → absent"));
    }
    for (name, instrument) in after {
        let Some(was) = before.get(name) else {
            changed.push(format!("[instrument.{name}] absent → there"));
            continue;
        };
        let numbers = |of: &Instrument| {
            let Instrument { amount_max, notional_max, position_max, price_band_bp } = *of;
            [amount_max, notional_max, position_max, price_band_bp.map(u64::from)]
        };
        let keys = ["amount_max", "notional_max", "position_max", "price_band_bp"];
        for ((key, was), is) in keys.into_iter().zip(numbers(was)).zip(numbers(instrument)) {
            match (was, is) {
                (Some(was), None) => changed.push(format!("instrument.{name}.{key} {was} → absent")),
                (None, Some(is)) => changed.push(format!("instrument.{name}.{key} absent → {is}")),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
    }
}

/// Backends that come and go, and keys of those that stay.
fn tell_backends(running: &Config, wanted: &Config, changed: &mut Vec<String>) {
    let named =
        |config: &'_ Config, name: &str| config.backend.iter().position(|backend| backend.name == name);
    for Backend { name, .. } in &running.backend {
        if named(wanted, name).is_none() {
            changed.push(format!("[[backend]] {name} there → absent"));
        }
    }
    let (before, after) = (flatten(running), flatten(wanted));
    for (nth, Backend { name, .. }) in wanted.backend.iter().enumerate() {
        let Some(was) = named(running, name) else {
            changed.push(format!("[[backend]] {name} absent → there"));
            continue;
        };
        let keys = KEYS.iter().filter(|key| key.path.starts_with("backend."));
        for key in keys {
            let (was, is) = (before.get(&Place::nth(key.path, was)), after.get(&Place::nth(key.path, nth)));
            if was != is {
                let text = |value: Option<&Value>| match value {
                    Some(_) if key.form.is_secret() => "***".to_owned(),
                    Some(value) => shown(value),
                    None => String::new(),
                };
                changed.push(format!("{} of {name} {} → {}", key.path, text(was), text(is)));
            }
        }
    }
    let order = |config: &Config| -> Vec<String> {
        config.backend.iter().map(|backend| backend.name.clone()).collect()
    };
    if changed.iter().all(|changed| !changed.starts_with("[[backend]]")) && order(running) != order(wanted) {
        changed.push("[[backend]] in another order".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, "f.toml", &|_| None).unwrap()
    }

    fn check(before: &str, after: &str, changed: &[&str], refused: &[&str]) -> Config {
        let merged = merge(&config(before), config(after), &[]).unwrap();
        assert_eq!(merged.changed, changed);
        assert_eq!(merged.refused, refused);
        merged.config
    }

    #[test]
    fn nothing_that_is_as_before_is_told() {
        let text = "[[listen]]\n[listen.tls]\ndevelopment = true\n[venue.fx]\nkey = \"k\"\n";
        assert_eq!(check(text, text, &[], &[]), config(text));
    }

    #[test]
    fn what_can_change_changes_and_the_rest_is_named_and_stays() {
        let merged = check(
            "[limits]\nconnections_max = 5\n[shards]\nconnections_max = 7\n",
            "[limits]\nconnections_max = 6\n[shards]\nconnections_max = 8\nbusy_poll_us = \"always\"\n[feed]\nkind = \"none\"\n",
            &["limits.connections_max 5 → 6", "shards.busy_poll_us 50 → \"always\""],
            &[
                "feed.kind needs a restart: stays \"paper\"",
                "shards.connections_max needs a restart: stays 7",
            ],
        );
        assert_eq!((merged.limits.connections_max, merged.shards.connections_max), (6, 7));
    }

    #[test]
    fn a_key_that_cannot_change_this_time_stays() {
        let (running, wanted) =
            (Config::default(), config("[limits]\nconnections_max = 6\nheaders_max = 9\n"));
        let merged = merge(&running, wanted, &["limits.connections_max"]).unwrap();
        assert_eq!(merged.refused, ["limits.connections_max needs a restart: stays 50000"]);
        assert_eq!((merged.config.limits.connections_max, merged.config.limits.headers_max), (50_000, 9));
    }

    #[test]
    fn listeners_are_told_by_their_addresses() {
        let two = "[[listen]]\naddress = \"127.0.0.1:1\"\norigins = [\"*\"]\n[[listen]]\naddress = \"127.0.0.1:2\"\n";
        let swapped = "[[listen]]\naddress = \"127.0.0.1:2\"\n[[listen]]\naddress = \"127.0.0.1:1\"\norigins = [\"*\"]\n";
        let refused = ["[[listen]] needs a restart: stays at 127.0.0.1:1, 127.0.0.1:2"];
        for other in [swapped, "", "[[listen]]\naddress = \"127.0.0.1:1\"\n"] {
            assert_eq!(check(two, other, &[], &refused).listen, config(two).listen);
        }
        let echo = two.replace(":2\"\n", ":2\"\necho = true\nbacklog = 9\n");
        let merged = check(
            two,
            &echo,
            &["listen.1.echo false → true"],
            &["listen.1.backlog needs a restart: stays 4096"],
        );
        assert!(merged.listen[1].echo && !merged.listen[0].echo);
        let tls = "[[listen]]\n[listen.tls]\ndevelopment = true\n";
        check("", tls, &[], &["[listen.tls] needs a restart: stays absent"]);
        check(tls, "", &[], &["[listen.tls] needs a restart: stays there"]);
    }

    #[test]
    fn venues_come_go_and_change_and_their_keys_are_shown_to_nobody() {
        let (a, b) = ("[venue.a]\nkey = \"old secret\"\n", "[venue.b]\nkey = \"k\"\n");
        let changed = ["[venue.a] there → absent", "[venue.b] absent → there"];
        assert_eq!(check(a, b, &changed, &[]).venue, config(b).venue);
        check(a, &a.replace("old", "new"), &["venue.a.key *** → ***"], &[]);
        let listens = format!("{a}listen = \"127.0.0.1:7\"\n");
        let merged = check(a, &listens, &["venue.a.listen absent → \"127.0.0.1:7\""], &[]);
        assert_eq!(merged.venue, config(&listens).venue);
        check(&listens, a, &["venue.a.listen \"127.0.0.1:7\" → absent"], &[]);
    }

    #[test]
    fn backends_come_go_and_change_by_their_names() {
        let a = "[[backend]]\nname = \"a\"\ncommand = [\"x\"]\n";
        let b = "[[backend]]\nname = \"b\"\ncommand = [\"x\"]\nenvironment = [\"K=old\"]\n";
        let both = format!("{a}{b}");
        assert_eq!(check(a, &both, &["[[backend]] b absent → there"], &[]), config(&both));
        check(&both, b, &["[[backend]] a there → absent"], &[]);
        check(&both, &format!("{b}{a}"), &["[[backend]] in another order"], &[]);
        let slower = both.replacen("[\"x\"]", "[\"y\"]", 1).replace("old", "new");
        let changed = ["backend.command of a [\"x\"] → [\"y\"]", "backend.environment of b *** → ***"];
        assert_eq!(check(&both, &slower, &changed, &[]), config(&slower));
    }

    #[test]
    fn backends_that_speak_mcp_come_and_go_as_others_do_and_the_rest_of_mcp_is_of_the_start() {
        let mcp = "[[backend]]\nname = \"m\"\nkind = \"mcp-stdio\"\ncommand = [\"x\"]\n";
        assert_eq!(check("", mcp, &["[[backend]] m absent → there"], &[]), config(mcp));
        let other = mcp.replace("\"x\"", "\"y\"");
        assert_eq!(check(mcp, &other, &["backend.command of m [\"x\"] → [\"y\"]"], &[]), config(&other));
        let also = format!("{other}[mcp]\ntools = false\nhosts = [\"desk\"]\n");
        let merged = check(
            mcp,
            &also,
            &["backend.command of m [\"x\"] → [\"y\"]"],
            &["mcp.hosts needs a restart: stays []", "mcp.tools needs a restart: stays true"],
        );
        assert_eq!(merged, config(&other));
        check(mcp, "", &["[[backend]] m there → absent"], &[]);
    }

    #[test]
    fn limits_of_instruments_come_go_and_change() {
        let (none, one) = ("[instrument.A]\n", "[instrument.A]\namount_max = 5\nprice_band_bp = 7\n");
        assert_eq!(check("", one, &["[instrument.A] absent → there"], &[]), config(one));
        check(one, "", &["[instrument.A] there → absent"], &[]);
        let (amount, band) = ("instrument.A.amount_max", "instrument.A.price_band_bp");
        check(none, one, &[&format!("{amount} absent → 5"), &format!("{band} absent → 7")], &[]);
        check(one, none, &[&format!("{amount} 5 → absent"), &format!("{band} 7 → absent")], &[]);
        check(one, &one.replace('5', "6"), &[&format!("{amount} 5 → 6")], &[]);
    }

    #[test]
    fn what_stays_and_what_is_new_have_to_fit() {
        let running = config("[[listen]]\n[listen.tls]\ndevelopment = true\n");
        let wanted = config("[[listen]]\n[listen.tls]\ncertificate = \"c\"\nkey = \"k\"\n");
        let failure = merge(&running, wanted, &[]).unwrap_err().to_string();
        assert!(failure.starts_with("listen.tls.development: is true, but a certificate"), "{failure}");
    }
}
