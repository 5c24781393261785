//! The effective configuration for people and for programs: as TOML that can be read back, or as JSON; each value with where it is
//! from. A secret is neither shown nor lost: in its place stands the variable that it can be given by. PURE.

use std::fmt::Write;

use serde_json::json;
use toml::Value;

use super::keys::{ARRAYS, Form, KEYS, Key, Place};
use super::sources::{Effective, flatten};

impl Effective {
    /// As TOML, with a comment behind each value.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let values = flatten(&self.config);
        let (mut out, mut table): (String, Option<(String, &Key)>) = (String::new(), None);
        for (heading, key, place) in self.places() {
            let Some(value) = values.get(&place) else { continue };
            // The next listener's tables have the headings of the last one's, and begin with the same keys.
            if table.as_ref().is_none_or(|(last, first)| *last != heading || first.path == key.path) {
                let gap = if table.is_none() { "" } else { "\n" };
                let _ = writeln!(out, "{gap}{heading}");
                table = Some((heading, key));
            }
            let name = key.path.rsplit('.').next().unwrap_or(key.path);
            let origin = self.told(&place).unwrap_or_else(|| "default".to_owned());
            let (value, note) = match key.form {
                Form::Secret if value.as_str() == Some("") => (shown(value), ""),
                Form::Secret => (format!("\"${{{}}}\"", variable_of(&place)), ", not shown"),
                Form::Assignments => (shown_assignments(value), ", not shown"),
                Form::Text | Form::Plain | Form::Texts | Form::Numbers => (shown(value), ""),
            };
            // A comment ends with its line; what a flag has said may have more.
            let origin = origin.replace(char::is_control, " ");
            let _ = writeln!(out, "{name} = {value}  # {origin}{note}");
        }
        out
    }

    /// As JSON: by key, `value` and `origin`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let values = flatten(&self.config);
        let told = |(place, value): (&Place, &Value)| {
            let is_secret = place.key().is_some_and(|key| key.form.is_secret());
            let value = if is_secret { json!("***") } else { json!(value) };
            let origin = self.told(place).unwrap_or_else(|| "default".to_owned());
            (place.shown(), json!({ "value": value, "origin": origin }))
        };
        let all: serde_json::Map<String, serde_json::Value> = values.iter().map(told).collect();
        format!("{:#}\n", serde_json::Value::Object(all))
    }

    /// Every key that there may be, in its table.
    fn places(&self) -> Vec<(String, &'static Key, Place)> {
        let mut all = Vec::new();
        let table = |key: &Key| key.path.rsplit_once('.').map_or("", |(table, _)| table);
        let of = |beginning: &'static str| KEYS.iter().filter(move |key| key.path.starts_with(beginning));
        for nth in 0..self.config.listen.len() {
            for key in of("listen.") {
                let heading = if table(key) == "listen" {
                    "[[listen]]".to_owned()
                } else {
                    format!("[{}]", table(key))
                };
                all.push((heading, key, Place::nth(key.path, nth)));
            }
        }
        let is_of_array = |key: &Key| ARRAYS.iter().any(|array| key.path.split('.').next() == Some(*array));
        let is_one_table = |key: &&Key| !is_of_array(key) && !key.path.contains('*');
        let plain = KEYS.iter().filter(is_one_table);
        all.extend(plain.map(|key| (format!("[{}]", table(key)), key, Place(key.path.to_owned()))));
        let instruments = self.config.instrument.keys().map(|name| ("instrument.", name));
        let venues = self.config.venue.keys().map(|name| ("venue.", name));
        for (table, name) in instruments.chain(venues) {
            let place = |key: &Key| Place(key.path.replacen('*', name, 1));
            // A name may have characters that TOML wants in quotes.
            let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            let quoted = if name.bytes().all(is_bare) { name.clone() } else { format!("{name:?}") };
            all.extend(of(table).map(|key| (format!("[{table}{quoted}]"), key, place(key))));
        }
        for nth in 0..self.config.backend.len() {
            let one = of("backend.").map(|key| ("[[backend]]".to_owned(), key, Place::nth(key.path, nth)));
            all.extend(one);
        }
        all
    }
}

/// Each name with the variable of that name.
fn shown_assignments(value: &Value) -> String {
    let name =
        |value: &Value| value.as_str().and_then(|text| text.split_once('=')).map(|(name, _)| name.to_owned());
    let names = value.as_array().into_iter().flatten().filter_map(name);
    let shown: Vec<String> = names.map(|name| format!("\"{name}=${{{name}}}\"")).collect();
    format!("[{}]", shown.join(", "))
}

/// A variable's name that a shell takes, whatever the venue's.
fn variable_of(place: &Place) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    place.0.chars().map(letter).collect()
}

/// A value as TOML on one line, in which nothing is taken for a variable.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(shown).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Table(_) => {
            value.to_string()
        }
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // `${` would be a variable.
            '$' => out.push_str("\\u0024"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides, Sources};

    const ALL: &str = "[[listen]]\norigins = [\"https://a.example\"]\n[listen.tls]\ncertificate = \"c\\\"${DOLLAR}{x}\"\n\
        key = \"k\"\n[[listen]]\naddress = \"127.0.0.1:2\"\n[listen.deflate]\nenabled = true\n[limits]\nheaders_max = 9\n\
        [venue.fx-1]\nkey = \"secret\"\nconnect = [\"a:1\"]\n[venue.b]\nkey = \"secret too\"\n[[backend]]\n\
        name = \"a\"\ncommand = [\"x\", \"y z\"]\nenvironment = [\"API_KEY=secret=3\"]\n[[backend]]\nname = \"b\"\n\
        kind = \"http\"\naddresses = [\"http://a/\"]\nweights = [3]\nauthorization = \"secret\"\n";

    fn variable(name: &str) -> Option<String> {
        match name {
            "DOLLAR" => Some("$".to_owned()),
            "VENUE_FX_1_KEY" => Some("secret".to_owned()),
            "VENUE_B_KEY" => Some("secret too".to_owned()),
            "API_KEY" => Some("secret=3".to_owned()),
            "BACKEND_1_AUTHORIZATION" => Some("secret".to_owned()),
            _ => None,
        }
    }

    fn effective() -> Effective {
        let sources = Sources {
            variables: vec![("TICKRING_LIMITS_FRAGMENTS_MAX".to_owned(), "7".to_owned())],
            set: vec!["feed.replay.speed=max".to_owned()],
            flags: Overrides { control: Some(None), ..Overrides::default() },
            ..Sources::default()
        };
        sources.read_text(ALL, "f.toml", &variable).unwrap()
    }

    #[test]
    fn what_is_printed_is_read_back_as_the_same() {
        let effective = effective();
        let printed = effective.to_toml();
        assert_eq!(Config::parse(&printed, "printed", &variable).unwrap(), effective.config, "{printed}");
        let defaults = Sources::default().read_text("", "", &|_| None).unwrap();
        assert_eq!(Config::parse(&defaults.to_toml(), "printed", &|_| None).unwrap(), Config::default());
    }

    #[test]
    fn each_value_has_where_it_is_from_behind_it() {
        let printed = effective().to_toml();
        for line in [
            "origins = [\"https://a.example\"]  # f.toml:2",
            "address = \"127.0.0.1:2\"  # f.toml:7",
            "headers_max = 9  # f.toml:11",
            "fragments_max = 7  # TICKRING_LIMITS_FRAGMENTS_MAX",
            "speed = \"max\"  # --set feed.replay.speed=max",
            "address = \"\"  # --control",
            "connections_max = 50000  # default",
        ] {
            assert!(printed.lines().any(|known| known == line), "{line:?} is not in {printed}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let effective = effective();
        for text in [effective.to_toml(), effective.to_json()] {
            assert!(!text.contains("secret"), "{text}");
        }
        assert!(effective.to_toml().contains("key = \"${VENUE_FX_1_KEY}\"  # f.toml:13, not shown"));
    }

    #[test]
    fn json_has_value_and_origin_of_each_key() {
        let all: serde_json::Value = serde_json::from_str(&effective().to_json()).unwrap();
        let keys = flatten(&effective().config).len();
        assert_eq!(all.as_object().unwrap().len(), keys);
        assert_eq!(all["limits.headers_max"], json!({ "value": 9, "origin": "f.toml:11" }));
        assert_eq!(all["listen.1.address"]["value"], "127.0.0.1:2");
        assert_eq!(all["venue.b.key"]["value"], "***");
    }
}
