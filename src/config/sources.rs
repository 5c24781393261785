//! Where a configuration comes from: a file, then `TICKRING_*` of the environment, then flags; who comes later wins. What is read is
//! one table, parsed into one `Config` and checked once, and of each value it is known where it is from.
//!
//! Home: the main thread, at the start and whenever it reads again.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use toml::{Table, Value};

use super::check::RangeFault;
use super::keys::{ARRAYS, Form, PREFIX, Place, nearest_of_file};
use super::{BusyPoll, Config, Speed, text};
use crate::exit::{Exit, Failure};
use crate::limits;

/// What is read, and read again.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// None: the defaults.
    pub file: Option<PathBuf>,
    /// `TICKRING_*`, and `RUST_LOG`.
    pub variables: Vec<(String, String)>,
    /// Of `--set`: `limits.connections_max=100`.
    pub set: Vec<String>,
    pub flags: Overrides,
}

/// What flags of their own say. Absent means: as the file, the environment or the default has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Of the first listener.
    pub listen: Option<SocketAddr>,
    /// Where operators are answered; `Some(None)` nowhere by TCP.
    pub control: Option<Option<SocketAddr>>,
    /// On every listener.
    pub echo: Option<bool>,
    /// On every listener that has no certificate.
    pub tls_dev: Option<bool>,
    pub cores: Option<Vec<usize>>,
    pub busy_poll: Option<BusyPoll>,
    /// Also makes `replay` the feed.
    pub replay: Option<PathBuf>,
    pub speed: Option<Speed>,
    pub repeat: Option<bool>,
}

/// A configuration, and where its values are from.
#[derive(Clone, Debug)]
pub struct Effective {
    pub config: Config,
    pub(super) origins: BTreeMap<Place, Origin>,
    /// Variables that others have set.
    pub ignored: Vec<String>,
    file: String,
    text: String,
}

/// Who said a value that is not left at its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// With its line, where that is found.
    File(Option<usize>),
    Variable(String),
    Flag(String),
}

/// One value of the environment or the command line.
struct Assignment {
    place: Place,
    value: Value,
    origin: Origin,
}

impl Sources {
    /// A file, or none, with the environment of this process and these flags.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, set: Vec<String>, flags: Overrides) -> Sources {
        let is_ours = |name: &String| name.starts_with(PREFIX) || name == "RUST_LOG";
        let named = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok().filter(is_ours)?, value.to_string_lossy().into_owned()))
        };
        Sources { file, variables: std::env::vars_os().filter_map(named).collect(), set, flags }
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// One line with file and line, or variable, or flag; the key, what is expected, and a hint.
    pub fn read(&self) -> Result<Effective, Failure> {
        let (name, text) = match &self.file {
            None => (String::new(), String::new()),
            Some(path) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Failure::new(Exit::NoInput, format!("{name}: {error}"), "name a readable TOML file")
                })?;
                (name, text)
            }
        };
        self.read_text(&text, &name, &|name| std::env::var(name).ok())
    }

    /// Like `read`, from text in place of the file. `file` is what errors call it.
    ///
    /// # Errors
    /// As `read`.
    pub(super) fn read_text(
        &self,
        text: &str,
        file: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Effective, Failure> {
        let named_in_file: RefCell<BTreeSet<String>> = RefCell::default();
        let noting = |name: &str| {
            named_in_file.borrow_mut().insert(name.to_owned());
            variable(name)
        };
        let text = text::substitute(text, &noting).map_err(|error| substitution_failure(file, &error))?;
        // By itself first, since only so a parser tells the line of what is wrong.
        let _: Config = toml::from_str(&text).map_err(|error| toml_failure(file, &text, &error))?;
        let mut table: Table = toml::from_str(&text).map_err(|error| toml_failure(file, &text, &error))?;
        let mut origins = BTreeMap::new();
        for place in leaves(&table).into_keys() {
            let line = line_of(&text, &place);
            origins.insert(place, Origin::File(line));
        }
        let named_in_file = named_in_file.into_inner();
        let (of_variables, ignored) = self.of_variables(&named_in_file)?;
        for assignment in of_variables.into_iter().chain(self.of_set()?) {
            assign(&mut table, &mut origins, assignment)?;
        }
        for assignment in self.flags.assignments(&table) {
            assign(&mut table, &mut origins, assignment)?;
        }
        let config = Config::deserialize(table)
            .map_err(|error| Failure::new(Exit::Config, format!("{file}: {}", error.message()), HINT))?;
        let effective = Effective { config, origins, ignored, file: file.to_owned(), text };
        match effective.config.check() {
            Ok(()) => Ok(effective),
            Err(fault) => Err(effective.failure(fault)),
        }
    }

    /// And the names of those that are none of ours.
    fn of_variables(
        &self,
        named_in_file: &BTreeSet<String>,
    ) -> Result<(Vec<Assignment>, Vec<String>), Failure> {
        let (mut assignments, mut ignored) = (Vec::new(), Vec::new());
        // What is said of the log by its usual name is before what is said by ours.
        let (usual, ours): (Vec<_>, Vec<_>) = self.variables.iter().partition(|(name, _)| name == "RUST_LOG");
        for (name, value) in usual.into_iter().chain(ours) {
            let place = match name.strip_prefix(PREFIX) {
                None => Some(Place("log.filter".to_owned())),
                Some(rest) => match Place::of_variable(rest) {
                    Ok(place) => place,
                    Err(_) if named_in_file.contains(name) => None,
                    Err(_) if is_of_a_service(rest, value) => {
                        ignored.push(name.clone());
                        None
                    }
                    Err(near) => {
                        let hint =
                            near.map_or_else(|| HINT.to_owned(), |near| format!("did you mean {near}?"));
                        return Err(Failure::new(Exit::Config, format!("{name}: no such key"), hint));
                    }
                },
            };
            if let Some(place) = place {
                let value = value_of(&place, value);
                assignments.push(Assignment { place, value, origin: Origin::Variable(name.clone()) });
            }
        }
        Ok((assignments, ignored))
    }

    fn of_set(&self) -> Result<Vec<Assignment>, Failure> {
        let assignment = |text: &String| {
            let origin = Origin::Flag(format!("--set {text}"));
            let Some((name, value)) = text.split_once('=') else {
                let hint = "write it as --set limits.connections_max=100";
                return Err(Failure::new(Exit::Usage, format!("{origin}: has no ="), hint));
            };
            let place = Place::of_path(name.trim()).map_err(|near| {
                let hint = near.map_or_else(|| HINT.to_owned(), |near| format!("did you mean {near}?"));
                // Without the value: it may be a secret whose key is misspelt.
                Failure::new(Exit::Usage, format!("--set {}: no such key", name.trim()), hint)
            })?;
            // A secret would stand in the error.
            let is_secret = place.key().is_some_and(|key| key.form.is_secret());
            let origin = if is_secret { Origin::Flag(format!("--set {}", place.shown())) } else { origin };
            Ok(Assignment { value: value_of(&place, value.trim()), place, origin })
        };
        self.set.iter().map(assignment).collect()
    }
}

const HINT: &str = "tickring.toml explains every key";

impl Overrides {
    /// As the table has it.
    fn assignments(&self, table: &Table) -> Vec<Assignment> {
        let mut all = Vec::new();
        let mut say = |path: String, value: Value, flag: &str| {
            all.push(Assignment { place: Place(path), value, origin: Origin::Flag(flag.to_owned()) });
        };
        let listeners = table.get("listen").and_then(Value::as_array).map_or(0, Vec::len).max(1);
        if let Some(file) = &self.replay {
            say("feed.kind".to_owned(), "replay".into(), "--replay");
            say("feed.replay.file".to_owned(), file.to_string_lossy().into_owned().into(), "--replay");
        }
        if let Some(address) = self.listen {
            say("listen.0.address".to_owned(), address.to_string().into(), "--listen");
        }
        if let Some(address) = self.control {
            let text = address.map_or_else(String::new, |address| address.to_string());
            say("control.address".to_owned(), text.into(), "--control");
        }
        for nth in 0..listeners {
            if let Some(echo) = self.echo {
                say(format!("listen.{nth}.echo"), echo.into(), "--echo");
            }
            let has_tls = table
                .get("listen")
                .and_then(|listen| listen.get(nth))
                .is_some_and(|listen| listen.get("tls").is_some());
            if self.tls_dev == Some(true) && !has_tls {
                say(format!("listen.{nth}.tls.development"), true.into(), "--tls-dev");
            }
        }
        if let Some(cores) = &self.cores {
            let cores = cores.iter().map(|core| i64::try_from(*core).unwrap_or(i64::MAX).into()).collect();
            say("shards.cores".to_owned(), Value::Array(cores), "--cores");
        }
        if let Some(busy_poll) = self.busy_poll {
            say("shards.busy_poll_us".to_owned(), busy_poll.value(), "--busy-poll");
        }
        if let Some(speed) = self.speed {
            say("feed.replay.speed".to_owned(), speed.value(), "--speed");
        }
        if let Some(repeat) = self.repeat {
            say("feed.replay.loop".to_owned(), repeat.into(), "--loop");
        }
        all
    }
}

impl Effective {
    /// Where a value is from, for people: `tickring.toml:12`, a variable, a flag; none where it is the default.
    #[must_use]
    pub fn origin_of(&self, path: &str) -> Option<String> {
        self.origin_of_nth(path, 0)
    }

    /// The same of the `nth` listener, for keys of listeners.
    #[must_use]
    pub fn origin_of_nth(&self, path: &str, nth: usize) -> Option<String> {
        self.told(&Place::nth(path, nth))
    }

    pub(super) fn told(&self, place: &Place) -> Option<String> {
        match self.origins.get(place)? {
            Origin::File(Some(line)) => Some(format!("{}:{line}", self.file)),
            Origin::File(None) => Some(self.file.clone()),
            origin @ (Origin::Variable(_) | Origin::Flag(_)) => Some(origin.to_string()),
        }
    }

    /// One line about a value that is out of its range.
    fn failure(&self, fault: RangeFault) -> Failure {
        let place = Place::nth(&fault.key, fault.nth);
        let exit = match self.origins.get(&place) {
            Some(Origin::Flag(_)) => Exit::Usage,
            Some(Origin::File(_) | Origin::Variable(_)) | None => Exit::Config,
        };
        // A key that stands in the file as a table, or that another one contradicts, has no line of its own.
        let line = || text::line_of(&self.text, &fault.key, fault.nth);
        let told = self.told(&place).unwrap_or_else(|| match line() {
            Some(line) => format!("{}:{line}", self.file),
            None => self.file.clone(),
        });
        let told = if told.is_empty() { told } else { format!("{told}: ") };
        Failure::new(exit, format!("{told}{}: {}", fault.key, fault.what), fault.hint)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(Some(line)) => write!(out, "line {line}"),
            Origin::File(None) => out.write_str("file"),
            Origin::Variable(name) => out.write_str(name),
            Origin::Flag(flag) => out.write_str(flag),
        }
    }
}

/// All values of a configuration, by their places.
pub(super) fn flatten(config: &Config) -> BTreeMap<Place, Value> {
    let table =
        Table::try_from(config).expect("invariant: every field of a configuration is a value of TOML");
    leaves(&table)
}

/// The same of a table: what is below it, with the numbers of tables in arrays.
fn leaves(table: &Table) -> BTreeMap<Place, Value> {
    fn add(path: &str, value: &Value, all: &mut BTreeMap<Place, Value>) {
        match value {
            Value::Table(table) => {
                table.iter().for_each(|(key, value)| add(&format!("{path}.{key}"), value, all))
            }
            Value::Array(tables) if !tables.is_empty() && tables.iter().all(Value::is_table) => {
                tables.iter().enumerate().for_each(|(nth, table)| add(&format!("{path}.{nth}"), table, all));
            }
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_) => {
                all.insert(Place(path.to_owned()), value.clone());
            }
        }
    }
    let mut all = BTreeMap::new();
    table.iter().for_each(|(key, value)| add(key, value, &mut all));
    all
}

fn line_of(text: &str, place: &Place) -> Option<usize> {
    let mut segments: Vec<&str> = place.segments().collect();
    let nth = match segments.first() {
        Some(array) if ARRAYS.contains(array) && segments.len() > 1 => {
            segments.remove(1).parse().unwrap_or_default()
        }
        Some(_) | None => 0,
    };
    text::line_of(text, &segments.join("."), nth)
}

/// Text of the environment or the command line as a value.
fn value_of(place: &Place, text: &str) -> Value {
    let one = |text: &str| -> Option<Value> {
        let parsed: Table = toml::from_str(&format!("v = {text}")).ok()?;
        let mut values = parsed.into_iter();
        values.next().filter(|_| values.next().is_none()).map(|(_, value)| value)
    };
    let plain = |text: &str| {
        one(text).filter(|value| !matches!(value, Value::Table(_))).unwrap_or_else(|| text.to_owned().into())
    };
    let parts = || text.split(',').map(str::trim).filter(|part| !part.is_empty());
    match place.key().map_or(Form::Text, |key| key.form) {
        Form::Text | Form::Secret => text.to_owned().into(),
        Form::Plain => plain(text),
        Form::Texts | Form::Assignments | Form::Numbers if text.starts_with('[') => plain(text),
        Form::Texts | Form::Assignments => Value::Array(parts().map(|part| part.to_owned().into()).collect()),
        Form::Numbers => Value::Array(parts().map(plain).collect()),
    }
}

/// Puts a value in its place, if a configuration takes it there.
fn assign(
    table: &mut Table,
    origins: &mut BTreeMap<Place, Origin>,
    assignment: Assignment,
) -> Result<(), Failure> {
    let Assignment { place, value, origin } = assignment;
    let exit = match origin {
        Origin::Flag(_) => Exit::Usage,
        Origin::File(_) | Origin::Variable(_) => Exit::Config,
    };
    let mut alone = Table::new();
    if !insert(&mut alone, &place, value.clone(), usize::MAX) || !insert(table, &place, value, 1) {
        let what = format!("{origin}: there is no table of that number");
        return Err(Failure::new(exit, what, "the first is 0, and the next adds one"));
    }
    Config::deserialize(alone).map_err(|error| {
        let what = format!("{origin}: {}: {}", place.shown(), error.message());
        Failure::new(exit, what, HINT)
    })?;
    origins.insert(place, origin);
    Ok(())
}

/// Whether there was room for it: an array grows by so many tables at most.
pub(super) fn insert(table: &mut Table, place: &Place, value: Value, more_max: usize) -> bool {
    let segments: Vec<&str> = place.segments().collect();
    let Some((last, tables)) = segments.split_last() else { return false };
    let (numbered, tables) = match tables {
        [first, number, rest @ ..] if ARRAYS.contains(first) => (number.parse().ok().zip(Some(*first)), rest),
        tables => (None, tables),
    };
    let mut here = table;
    if let Some((nth, array)) = numbered {
        let array_max = if array == "listen" { limits::LISTENERS_MAX } else { limits::BACKENDS_MAX };
        let array = here.entry(array).or_insert_with(|| Value::Array(vec![Value::Table(Table::new())]));
        let Value::Array(array) = array else { return false };
        if nth >= array_max || nth >= array.len().saturating_add(more_max) {
            return false;
        }
        while array.len() <= nth {
            array.push(Value::Table(Table::new()));
        }
        let Value::Table(one) = &mut array[nth] else { return false };
        here = one;
    }
    for name in tables {
        let Value::Table(inner) = here.entry(*name).or_insert_with(|| Value::Table(Table::new())) else {
            return false;
        };
        here = inner;
    }
    here.insert((*last).to_owned(), value);
    true
}

/// Whether a variable, behind the prefix, is one that Kubernetes sets for a Service of that beginning: `TICKRING_SERVICE_HOST`,
/// `TICKRING_PORT=tcp://…`, `TICKRING_PORT_9001_TCP_ADDR`, and of a Service `tickring-feed` `TICKRING_FEED_SERVICE_HOST`.
fn is_of_a_service(name: &str, value: &str) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let ends_so = |words: &[&str]| match words {
        ["SERVICE", "HOST"] | ["SERVICE", "PORT", ..] => true,
        ["PORT"] => value.contains("://"),
        ["PORT", port, "TCP" | "UDP" | "SCTP"]
        | ["PORT", port, "TCP" | "UDP" | "SCTP", "PROTO" | "PORT" | "ADDR"] => is_number(port),
        _ => false,
    };
    (0..words.len()).any(|first| ends_so(&words[first..]))
}

fn substitution_failure(file: &str, error: &text::SubstitutionError) -> Failure {
    let text::SubstitutionError { line, variable, fault } = error;
    let (what, hint) = match fault {
        text::Fault::Unset => ("is not set", "set it, or write a default as ${NAME:-default}"),
        text::Fault::Unclosed => ("has no closing brace on its line", "write ${NAME}"),
        text::Fault::BadName => ("is not a variable's name", "write ${NAME} or ${NAME:-default}"),
        text::Fault::LineBreak => ("has a line break in its value", "values are one line each"),
    };
    Failure::new(Exit::Config, format!("{file}:{line}: ${{{variable}}} {what}"), hint)
}

fn toml_failure(file: &str, text: &str, error: &toml::de::Error) -> Failure {
    let line = error.span().map(|span| text::line_at(text, span.start));
    let place = line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"));
    let path = line.and_then(|line| text::key_on(text, line));
    let near =
        path.as_deref().filter(|_| error.message().starts_with("unknown field")).and_then(nearest_of_file);
    let hint = near.map_or_else(|| HINT.to_owned(), |near| format!("did you mean {near}?"));
    let message = match &path {
        Some(path) if may_be_secret(path) => without_value(error.message()),
        Some(_) | None => error.message().to_owned(),
    };
    let key = path.map_or_else(String::new, |key| format!("{key}: "));
    Failure::new(Exit::Config, format!("{place}: {key}{message}"), hint)
}

/// Whether a line that sets this may have a secret: the key of one, or a table that is written in the line.
fn may_be_secret(path: &str) -> bool {
    match Place::nth(path, 0).key() {
        Some(key) => key.form.is_secret(),
        None => path == "backend" || path == "venue" || path.starts_with("venue."),
    }
}

/// What a parser expected, without what it found: `invalid type: integer `12345`, expected a string`.
fn without_value(message: &str) -> String {
    match (message.split_once(": "), message.rsplit_once(", expected ")) {
        (Some((what, _)), Some((_, expected))) => format!("{what}, expected {expected}"),
        (Some((what, _)), None) => what.to_owned(),
        (None, _) => message.to_owned(),
    }
}

#[cfg(test)]
mod tests;
