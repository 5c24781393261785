//! `tickring store`: looks after the store for durable messages. Home: the main thread.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use data_encoding::BASE64;
use serde_json::json;

use super::ignore_closed;
use super::progress::Progress;
use crate::auth::hex;
use crate::config::{Overrides, Sources};
use crate::exit::{Exit, Failure};
use crate::model::storage::Table;
use crate::store::{self, Found};

const LEARN: &str = "\
The store is the directory of store.directory, by --config or by --directory. Only backup and export work while a server has it: they ask
that server, through a socket in the directory which its owner alone can reach. All of docs/store.md.

Examples:
  tickring store backup --config /etc/tickring/tickring.toml --to /backup/tickring-monday
  tickring store check --backup /backup/tickring-monday
  tickring store restore --config /etc/tickring/tickring.toml --from /backup/tickring-monday
  tickring store export --directory /var/lib/tickring/store --table messages | head";

#[derive(Args, Debug)]
#[command(after_help = LEARN)]
pub(super) struct Store {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Read all of a store or a backup, and say whether it is what was written
    Check(Check),
    /// Give what is free in the store's file back to the file system; no server may have it
    Compact(Place),
    /// Print all entries as JSON, one a line
    Export(Export),
    /// Write a backup, also while a server has the store
    Backup(Backup),
    /// Make a store of a backup, in an empty directory
    Restore(Restore),
}

#[derive(Args, Debug)]
struct Place {
    /// Configuration file (TOML), whose store.directory is meant
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The store's directory itself
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    directory: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct Check {
    #[command(flatten)]
    place: Place,
    /// A backup instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "directory"])]
    backup: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct Export {
    #[command(flatten)]
    place: Place,
    /// A backup instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "directory"])]
    backup: Option<PathBuf>,
    /// This table only
    #[arg(long, value_name = "TABLE", value_parser = parse_table)]
    table: Option<Table>,
}

#[derive(Args, Debug)]
struct Backup {
    #[command(flatten)]
    place: Place,
    /// A file that is not there yet
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

#[derive(Args, Debug)]
struct Restore {
    #[command(flatten)]
    place: Place,
    /// A file that `tickring store backup` made
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
}

pub(super) fn run(Store { command }: Store) -> Result<(), Failure> {
    match command {
        Command::Check(flags) => check(flags),
        Command::Compact(place) => compact(place),
        Command::Export(flags) => export(flags),
        Command::Backup(flags) => backup(flags),
        Command::Restore(flags) => restore(flags),
    }
}

impl Place {
    fn directory(self) -> Result<PathBuf, Failure> {
        if let Some(directory) = self.directory {
            return Ok(directory);
        }
        let effective = Sources::of_process(self.config, Vec::new(), Overrides::default()).read()?;
        if let Some((cluster, _)) = effective.config.cluster.names() {
            return Err(Failure::new(
                Exit::Usage,
                format!("durable messages of the cluster {cluster} are in NATS, not in a directory"),
                format!("nats stream info tickring-{cluster}-messages shows them; docs/scaling/durable.md"),
            ));
        }
        effective.config.store.directory_path().map(Path::to_owned).ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                "store.directory is empty: there is no store",
                "name --config FILE or --directory DIR",
            )
        })
    }
}

fn check(Check { place, backup }: Check) -> Result<(), Failure> {
    let path = backup.map_or_else(|| place.directory(), Ok)?;
    let found = with_progress("reading", |note| store::check(&path, note))?;
    write(&checked(&path, &found))
}

fn checked(path: &Path, found: &Found) -> String {
    let Found { stamp, schema, entries, file_bytes } = found;
    let mut lines = format!(
        "{}: ok\nstore {}, schema {schema}, {} commits, {file_bytes} bytes\n",
        path.display(),
        hex(&stamp.identity),
        stamp.commits,
    );
    for (table, count) in entries {
        lines.push_str(&format!("{:12} {count} entries\n", table.as_str()));
    }
    lines
}

fn compact(place: Place) -> Result<(), Failure> {
    let path = place.directory()?;
    let (before, after) = store::compact(&path)?;
    write(&format!("{}: {before} bytes before, {after} after\n", path.display()))
}

fn export(Export { place, backup, table }: Export) -> Result<(), Failure> {
    let path = backup.map_or_else(|| place.directory(), Ok)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut is_closed = false;
    let exported = with_progress("exporting", |note| {
        store::each_entry(&path, note, &mut |of, key, value| {
            if table.is_some_and(|table| table != of) {
                return Ok(());
            }
            let line = json!({"table": of.as_str(), "key": key, "value_base64": BASE64.encode(value)});
            writeln!(out, "{line}").inspect_err(|error| is_closed = error.kind() == io::ErrorKind::BrokenPipe)
        })
    });
    if is_closed {
        // Whoever reads us has seen enough.
        return Ok(());
    }
    exported?;
    out.flush().or_else(ignore_closed)
}

fn backup(Backup { place, to }: Backup) -> Result<(), Failure> {
    let path = place.directory()?;
    let (entries, bytes) = with_progress("backing up", |note| store::backup_of(&path, &to, note))?;
    write(&format!("{}: {entries} entries, {bytes} bytes\n", to.display()))
}

fn restore(Restore { place, from }: Restore) -> Result<(), Failure> {
    let path = place.directory()?;
    let entries = with_progress("restoring", |note| store::restore(&from, &path, note))?;
    write(&format!("{}: {entries} entries\n", path.display()))
}

fn with_progress<T>(what: &'static str, act: impl FnOnce(&mut dyn FnMut(u64, u64)) -> T) -> T {
    let mut progress = Progress::new(what);
    let done = act(&mut |done, total| progress.note(done, total));
    progress.end();
    done
}

fn write(lines: &str) -> Result<(), Failure> {
    io::stdout().write_all(lines.as_bytes()).or_else(ignore_closed)
}

fn parse_table(name: &str) -> Result<Table, String> {
    let known = || Table::ALL[1..].iter().map(|table| table.as_str()).collect::<Vec<_>>().join(", ");
    Table::parse(name)
        .filter(|table| *table != Table::Meta)
        .ok_or_else(|| format!("one of {} is expected", known()))
}
