//! Where the market comes from: the feed, and links to venues, from the configuration. Home: the main thread.

use std::net::{SocketAddr, ToSocketAddrs};

use crate::backend::Feed;
use crate::backend::paper::{Paper, PaperConfig};
use crate::backend::replay::{AtEnd, Speed, link};
use crate::backend::tcp::reach::ReachConfig;
use crate::backend::tcp::session::SessionConfig;
use crate::clock;
use crate::config::{self, Config, FeedKind, Venue, VenueKind};
use crate::exit::{Exit, Failure};
use crate::model::link::LinkKind;
use crate::ring::{Listener, ListenerOptions};
use crate::venue::{LinkSetup, LinksSetup, Way};

/// The links of all venues, those that are waited for on sockets that are bound here.
///
/// # Errors
/// An address is taken, or a host's name unknown.
pub(super) fn open_links(config: &Config) -> Result<LinksSetup, Failure> {
    let mut setup = LinksSetup::default();
    let mut bound: Vec<SocketAddr> = Vec::new();
    // A venue that has seen another run is told so by another name.
    let run = clock::now().unix_ns.to_string();
    for (name, venue) in &config.venue {
        let way = match venue.listens() {
            Some(address) => {
                // One that the kernel is to choose is a venue's own.
                let place = bound.iter().position(|other| *other == address && address.port() != 0);
                Way::Listen(place.map_or_else(|| bind(name, address, &mut bound, &mut setup), Ok)?)
            }
            None => Way::Connect(reach(name, venue)?),
        };
        for nth in 0..usize::from(venue.max_connections) {
            let own = if nth == 0 { name.clone() } else { format!("{name}.{}", nth + 1) };
            setup.links.push(LinkSetup {
                session: SessionConfig {
                    gateway: run.as_str().into(),
                    // Who is connected to is known by the address.
                    venue: if venue.listens().is_some() { own.as_str() } else { name }.into(),
                    key: venue.key.as_str().into(),
                    heartbeat_ms: venue.heartbeat_ms,
                    instruments: venue.symbols(),
                },
                name: own.into(),
                venue: name.as_str().into(),
                kind: match venue.kind {
                    VenueKind::Tcp => LinkKind::Tcp,
                    VenueKind::Mt5 => LinkKind::Mt5,
                },
                way: match &way {
                    Way::Listen(place) => Way::Listen(*place),
                    Way::Connect(reach) => Way::Connect(ReachConfig { first: nth, ..reach.clone() }),
                },
            });
        }
    }
    Ok(setup)
}

/// The place of a listener that is bound here.
fn bind(
    name: &str,
    address: SocketAddr,
    bound: &mut Vec<SocketAddr>,
    setup: &mut LinksSetup,
) -> Result<usize, Failure> {
    let options = ListenerOptions { backlog_connections_max: 16, ..ListenerOptions::default() };
    let taken = |error: crate::ring::ListenError| {
        Failure::new(
            Exit::Unavailable,
            error.to_string(),
            format!("name a free address: venue.{name}.listen"),
        )
    };
    if address.port() != 0 {
        Listener::check_free(address).map_err(taken)?;
    }
    setup.listeners.push(Listener::bind(address, &options).map_err(taken)?);
    bound.push(address);
    Ok(bound.len() - 1)
}

/// How a venue is connected to: names are looked up once, here.
fn reach(name: &str, venue: &Venue) -> Result<ReachConfig, Failure> {
    let mut addresses = Vec::new();
    for text in &venue.connect {
        let found = text.to_socket_addrs().map_err(|error| {
            let what = format!("venue.{name}.connect: {text}: {error}");
            Failure::new(Exit::Unavailable, what, "name a host that resolves, or its address")
        })?;
        addresses.extend(found);
    }
    if addresses.is_empty() {
        let what = format!("venue.{name}.connect: no address of {:?}", venue.connect);
        return Err(Failure::new(Exit::Unavailable, what, "name a host that resolves, or its address"));
    }
    let (max_retries, retry_delay_ms) = (venue.max_retries, venue.retry_delay_ms);
    Ok(ReachConfig { addresses, first: 0, max_retries, retry_delay_ms })
}

pub(super) fn open_feed(config: &Config) -> Result<Feed, Failure> {
    match config.feed.kind {
        FeedKind::Paper => {
            let paper = &config.feed.paper;
            Ok(Feed::Paper(Box::new(Paper::new(PaperConfig {
                seed: paper.seed,
                instruments: paper.instruments,
                events_per_s: paper.events_per_s,
            }))))
        }
        FeedKind::Replay => open_replay(&config.feed.replay),
        FeedKind::None => Ok(Feed::None),
    }
}

fn open_replay(replay: &config::Replay) -> Result<Feed, Failure> {
    let speed = match replay.speed {
        config::Speed::Max => Speed::Max,
        config::Speed::Factor(factor) => Speed::parse(&factor.to_string()).ok_or_else(|| {
            let what =
                format!("feed.replay.speed: {factor} is no factor from 0.001 to 1,000,000 in thousandths");
            Failure::new(Exit::Config, what, "1 is as recorded, max as fast as it goes")
        })?,
    };
    let at_end = if replay.repeat { AtEnd::Repeat } else { AtEnd::Finish };
    match link::open(&replay.file, speed, at_end) {
        Ok(opened) => Ok(Feed::Replay(Box::new(opened))),
        Err(error) if !replay.file.exists() => {
            Err(Failure::new(Exit::NoInput, error.to_string(), "name a recording: --replay FILE"))
        }
        Err(error) => Err(Failure::new(Exit::Data, error.to_string(), "see the README for the formats")),
    }
}

/// In a few words.
pub(super) fn describe(config: &Config, listeners: &[SocketAddr]) -> String {
    let mut text = match config.feed.kind {
        FeedKind::Paper => format!("paper market of {} instruments", config.feed.paper.instruments),
        FeedKind::Replay => format!("replay of {}", config.feed.replay.file.display()),
        FeedKind::None => "no feed of its own".to_owned(),
    };
    if !config.venue.is_empty() {
        let names: Vec<&str> = config.venue.keys().map(String::as_str).collect();
        text.push_str(&format!("; venues {}", names.join(", ")));
    }
    for (nth, address) in listeners.iter().enumerate() {
        text.push_str(&format!("{}{address}", if nth == 0 { ", waited for on " } else { " and " }));
    }
    text
}
