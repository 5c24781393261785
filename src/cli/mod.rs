//! The command line: what `tickring` takes, and which command that is.
//! Home: the main thread. Everything a command prints is here and in `watch`; what serves is in `serve.rs`.

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::config::{BusyPoll, Effective, Host, Overrides, Sources, Speed};
use crate::exit::{Exit, Failure};
use crate::log_tail;
use crate::serve;
use crate::serve::opening::{self, Found, Opened};
use crate::tls::Fingerprint;

mod child;
mod histogram;
mod host;
mod keys;
mod paper_venue;
mod progress;
mod store;
mod watch;

const EXAMPLES: &str = "\
Examples:
  tickring                                     serve the paper market on ws://127.0.0.1:9001/ws
  tickring watch 'ticker.*.raw'                see its prices move
  tickring serve --tls-dev                     the same on wss://, by a certificate made now
  tickring serve --replay day.dbn.zst --speed 10 --loop
                                               serve a recording, ten times as fast, over and over
  tickring serve --config /etc/tickring.toml --cores 1,2,3
                                               serve by a file; flags win over it
  tickring watch book.BTC-PERPETUAL.raw trades.BTC-PERPETUAL.raw --raw | jq .params.data
                                               JSON as received, one message a line
  tickring check --config /etc/tickring.toml   read the file, say what is wrong or odd
  tickring config --config /etc/tickring.toml --set limits.connections_max=100
                                               what would hold, and where each value is from
  tickring keys add --file keys.toml --account desk --days 90
                                               a key for a client to log in by; prints its secret once
  tickring histogram FILE                      percentiles of a file that kill -USR1 has made the server write
  tickring store backup --config /etc/tickring.toml --to FILE
                                               all durable messages, while the server runs (docs/store.md)
  tickring paper-venue --listen 127.0.0.1:9004 --key s3cret
                                               a venue to try a venue link with (docs/venue-link.md)

Exit codes (sysexits.h): 0 done, 64 usage, 65 bad input, 66 no such file, 69 unreachable, 70 bug, 71 kernel, 78 config.
TICKRING_LIMITS_CONNECTIONS_MAX=100 and the like set any key; the file comes before them, flags after.
RUST_LOG sets what is logged (error, warn, info, debug), NO_COLOR keeps `watch` and `histogram` from colouring.";

const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("TICKRING_COMMIT"), ", features: runtime)");

/// A WebSocket gateway for trading: market data fanned out over io_uring, one shard per core.
///
/// Without a command it serves, by its defaults or by the flags of `serve`.
#[derive(Parser, Debug)]
#[command(name = "tickring", version = VERSION, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve a market to WebSocket clients until told to stop
    Serve(Serve),
    /// Subscribe to channels and print their updates
    Watch(Watch),
    /// Read the configuration as `serve` would, and say what is wrong or odd with it
    Check(Serve),
    /// Print the configuration by which `serve` would serve, each value with where it is from
    Config(Print),
    /// Print and draw the latencies of a file that a server has written (SIGUSR1)
    Histogram(histogram::Flags),
    /// Add, list and revoke the keys by which clients log in
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Look after the store for durable messages: check, compact, export, backup, restore
    Store(store::Store),
    /// Be a venue for a gateway: the paper market at the other end of a venue link
    PaperVenue(paper_venue::Flags),
    /// Become a child process of a server that has started this
    #[command(hide = true)]
    Child(child::Flags),
}

#[derive(Args, Debug, Clone, Default)]
struct Serve {
    /// Configuration file (TOML); without it, the defaults that tickring.toml documents
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Replay a recording instead of the paper market: .dbn, .dbn.zst, histdata or TrueFX .csv
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// How fast to replay: a factor (1 is as recorded), or `max`
    #[arg(long, value_name = "N|max", value_parser = parse_speed)]
    speed: Option<Speed>,
    /// Begin the recording again at its end
    #[arg(long = "loop")]
    repeat: bool,
    /// Cores that run one shard each
    #[arg(long, value_name = "CORES", value_delimiter = ',')]
    cores: Option<Vec<usize>>,
    /// Send every message to /echo back, for conformance suites
    #[arg(long)]
    echo: bool,
    /// TLS by a certificate made now, for localhost: to try wss:// (its fingerprint is logged)
    #[arg(long)]
    tls_dev: bool,
    /// Address and port to listen on; port 0 lets the kernel choose
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where operators are answered (docs/control.md), or `off`
    #[arg(long, value_name = "ADDR|off", value_parser = parse_control)]
    control: Option<ControlAddress>,
    /// Never park: the lowest latency, and a whole core for each shard
    #[arg(long)]
    busy_poll: bool,
    /// Any key of tickring.toml, e.g. limits.connections_max=100; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Args, Debug)]
struct Watch {
    /// Channels, e.g. ticker.BTC-PERPETUAL.raw, 'quote.*', book.BTC-PERPETUAL.100ms, topic.alerts
    #[arg(required = true, value_name = "CHANNEL")]
    channels: Vec<String>,
    /// Where to connect
    #[arg(long, default_value = "ws://127.0.0.1:9001/ws")]
    url: String,
    /// With wss://: trust the certificate of this SHA-256 fingerprint alone, as --tls-dev logs it
    #[arg(long, value_name = "FINGERPRINT", value_parser = parse_fingerprint)]
    pin: Option<Fingerprint>,
    /// Ask for market data in SBE (docs/protocol.md#market-data-in-sbe); what is printed is the same
    #[arg(long)]
    sbe: bool,
    /// Print each notification as the JSON that was received, or in hexadecimal what came in SBE
    #[arg(long)]
    raw: bool,
    /// Stop after so many updates
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

#[derive(Args, Debug)]
struct Print {
    #[command(flatten)]
    serve: Serve,
    /// As JSON: by key, its value and where that is from
    #[arg(long)]
    json: bool,
}

/// Does what the arguments ask for; the first is the program's name.
///
/// # Errors
/// Why it could not, as one line and an exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(asked) if matches!(asked.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return asked.print().or_else(ignore_closed);
        }
        Err(error) => return Err(usage_failure(&error.to_string())),
    };
    match arguments.command {
        None => serve(arguments.serve),
        Some(Command::Serve(flags)) => serve(flags),
        Some(Command::Watch(flags)) => watch::run(&flags),
        Some(Command::Check(flags)) => check(flags),
        Some(Command::Config(flags)) => print(flags),
        Some(Command::Histogram(flags)) => histogram::run(&flags),
        Some(Command::Keys(command)) => keys::run(command),
        Some(Command::Store(command)) => store::run(command),
        Some(Command::PaperVenue(flags)) => paper_venue::run(&flags),
        Some(Command::Child(flags)) => child::run(flags),
    }
}

fn serve(flags: Serve) -> Result<(), Failure> {
    let sources = flags.sources();
    let Effective { config, ignored, .. } = sources.read()?;
    log_tail::set_filter(&config.log.filter);
    for name in ignored {
        log::warn!("{name} {IGNORED}");
    }
    // Of descriptors the probe tells, which raises their limit first.
    let host = Host { descriptors_max: None, ..host::here() };
    for warning in config.warnings().into_iter().chain(config.warnings_on(&host)) {
        log::warn!("{} {}", warning.key, warning.what);
    }
    serve::run(config, sources)
}

/// What is said of such a variable.
const IGNORED: &str =
    "is no key of ours, and set by Kubernetes for a Service: enableServiceLinks: false keeps it away";

impl Serve {
    /// With this process's environment.
    fn sources(mut self) -> Sources {
        let (file, set) = (self.config.take(), std::mem::take(&mut self.set));
        Sources::of_process(file, set, self.overrides())
    }

    fn overrides(self) -> Overrides {
        Overrides {
            listen: self.listen,
            control: self.control.map(|ControlAddress(address)| address),
            echo: self.echo.then_some(true),
            tls_dev: self.tls_dev.then_some(true),
            cores: self.cores,
            busy_poll: self.busy_poll.then_some(BusyPoll::Always),
            replay: self.replay,
            speed: self.speed,
            repeat: self.repeat.then_some(true),
        }
    }
}

fn check(flags: Serve) -> Result<(), Failure> {
    let file = flags.config.as_ref().map_or_else(|| "defaults".to_owned(), |file| file.display().to_string());
    let effective = flags.sources().read()?;
    let mut lines = String::new();
    let config = &effective.config;
    for name in &effective.ignored {
        lines.push_str(&format!("{name}: warning: {IGNORED}\n"));
    }
    for warning in config.warnings().into_iter().chain(config.warnings_on(&host::here())) {
        let place = effective.origin_of(warning.key).unwrap_or_else(|| file.clone());
        lines.push_str(&format!("{place}: warning: {} {}\n", warning.key, warning.what));
    }
    let mut fault = None;
    for Opened { key, nth, found } in opening::open_all(config) {
        let place = effective.origin_of_nth(key, nth).unwrap_or_else(|| file.clone());
        match found {
            Found::Unseen(what) => lines.push_str(&format!("{place}: warning: {key}: {what}\n")),
            Found::Fault(failure) => {
                // Its own line may begin with the key.
                let what = failure.what.strip_prefix(&format!("{key}: ")).unwrap_or(&failure.what);
                let failure = Failure { what: format!("{place}: {key}: {what}"), ..failure };
                // The last word has the first, on stderr.
                match fault {
                    None => fault = Some(failure),
                    Some(_) => lines.push_str(&format!("{failure}\n")),
                }
            }
        }
    }
    match fault {
        None => lines.push_str(&format!("{file}: ok\n")),
        Some(failure) => return write(&lines).and(Err(failure)),
    }
    write(&lines)
}

fn print(flags: Print) -> Result<(), Failure> {
    let effective = flags.serve.sources().read()?;
    write(&if flags.json { effective.to_json() } else { effective.to_toml() })
}

fn write(lines: &str) -> Result<(), Failure> {
    std::io::stdout().write_all(lines.as_bytes()).or_else(ignore_closed)
}

/// An address, or nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ControlAddress(Option<SocketAddr>);

fn parse_control(text: &str) -> Result<ControlAddress, String> {
    if text == "off" {
        return Ok(ControlAddress(None));
    }
    let address = text.parse().map(|address| ControlAddress(Some(address)));
    address.map_err(|_| "an address with its port, or `off`, is expected".to_owned())
}

fn parse_speed(text: &str) -> Result<Speed, String> {
    text.parse().map_err(|()| "a factor (1 is as recorded) or `max` is expected".to_owned())
}

fn parse_fingerprint(text: &str) -> Result<Fingerprint, String> {
    text.parse().map_err(|()| "32 bytes in hexadecimal digits are expected".to_owned())
}

/// Whoever reads us has seen enough (`tickring … | head`): that is success.
fn ignore_closed(error: std::io::Error) -> Result<(), Failure> {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Ok(());
    }
    Err(Failure::new(Exit::OsError, format!("cannot write the output: {error}"), ""))
}

/// clap explains at length; the first paragraph says what is wrong.
fn usage_failure(explained: &str) -> Failure {
    let paragraph = explained.split("\n\n").next().unwrap_or(explained);
    let what = paragraph.strip_prefix("error: ").unwrap_or(paragraph);
    Failure::new(Exit::Usage, what, "see tickring --help")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Arguments {
        Arguments::try_parse_from(line.split(' ')).unwrap()
    }

    fn check_failure(line: &str, exit: Exit, expected: &str) {
        let failure = run(line.split(' ').map(OsString::from)).unwrap_err();
        assert_eq!((failure.exit, failure.to_string().as_str()), (exit, expected));
    }

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn serves_without_a_command() {
        assert!(parse("tickring").command.is_none());
        assert_eq!(parse("tickring --cores 0,1").serve.cores, Some(vec![0, 1]));
    }

    #[test]
    fn turns_flags_into_overrides() {
        let arguments =
            parse("tickring serve --replay a.dbn --speed max --loop --listen 127.0.0.1:0 --busy-poll");
        let Some(Command::Serve(flags)) = arguments.command else { panic!("not serve") };
        let expected = Overrides {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            control: None,
            echo: None,
            tls_dev: None,
            cores: None,
            busy_poll: Some(BusyPoll::Always),
            replay: Some("a.dbn".into()),
            speed: Some(Speed::Max),
            repeat: Some(true),
        };
        assert_eq!(flags.overrides(), expected);
        assert_eq!(parse("tickring --control off").serve.overrides().control, Some(None));
        let address = "127.0.0.1:0".parse().unwrap();
        assert_eq!(parse("tickring --control 127.0.0.1:0").serve.overrides().control, Some(Some(address)));
        assert_eq!(Serve::default().overrides(), Overrides::default());
    }

    #[test]
    fn says_what_is_wrong_in_one_line() {
        check_failure(
            "tickring serve --lisen x",
            Exit::Usage,
            "unexpected argument '--lisen' found: see tickring --help",
        );
        check_failure(
            "tickring serve --speed fast",
            Exit::Usage,
            "invalid value 'fast' for '--speed <N|max>': a factor (1 is as recorded) or `max` is expected: \
             see tickring --help",
        );
        check_failure(
            "tickring watch",
            Exit::Usage,
            "the following required arguments were not provided: <CHANNEL>...: see tickring --help",
        );
        check_failure(
            "tickring check --config /nonexistent.toml",
            Exit::NoInput,
            "/nonexistent.toml: No such file or directory (os error 2): name a readable TOML file",
        );
        check_failure(
            "tickring watch a --url http://x/",
            Exit::Usage,
            "http://x/ is not a WebSocket address: write it as ws://127.0.0.1:9001/ws",
        );
    }
}
