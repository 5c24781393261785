//! Where the market comes from: the feed, from the configuration; links are in `links.rs`. Home: the main thread.

use std::net::SocketAddr;

use crate::backend::paper::{Paper, PaperConfig};
use crate::backend::replay::{AtEnd, FeedError, Speed, link};
use crate::backend::{Feed, FeedSettings};
use crate::config::{self, Config, FeedKind};
use crate::exit::{Exit, Failure};

use super::cluster;

pub(super) fn open_feed(config: &Config) -> Result<Feed, Failure> {
    // What only follows plays nothing.
    if config.cluster.names().is_some() && !cluster::may_own(config) {
        return Ok(Feed::None);
    }
    let settings = feed_settings(config)?;
    let file = &config.feed.replay.file;
    match open(&config.feed, &settings) {
        Ok(feed) => Ok(feed),
        Err(error) if !file.exists() => {
            Err(Failure::new(Exit::NoInput, error.to_string(), "name a recording: --replay FILE"))
        }
        Err(error) => Err(Failure::new(Exit::Data, error.to_string(), "see the README for the formats")),
    }
}

/// Opens the feed from its beginning.
///
/// # Errors
/// There is no recording, or it is none.
pub(super) fn open(feed: &config::Feed, settings: &FeedSettings) -> Result<Feed, FeedError> {
    match feed.kind {
        FeedKind::Paper => Ok(Feed::Paper(Box::new(Paper::new(settings.paper)))),
        FeedKind::Replay => {
            Ok(Feed::Replay(Box::new(link::open(&feed.replay.file, settings.speed, settings.at_end)?)))
        }
        FeedKind::None => Ok(Feed::None),
    }
}

/// What of it may change while it runs, and what it begins with.
///
/// # Errors
/// A recording cannot be played at that speed.
pub(super) fn feed_settings(config: &Config) -> Result<FeedSettings, Failure> {
    let config::Feed { kind, paper, replay } = &config.feed;
    let speed = match replay.speed {
        config::Speed::Factor(factor) if *kind == FeedKind::Replay => Speed::parse(&factor.to_string())
            .ok_or_else(|| {
                let what = format!(
                    "feed.replay.speed: {factor} is no factor from 0.001 to 1,000,000 in thousandths"
                );
                Failure::new(Exit::Config, what, "1 is as recorded, max as fast as it goes")
            })?,
        // Nothing is played.
        config::Speed::Factor(_) => Speed::ORIGINAL,
        config::Speed::Max => Speed::Max,
    };
    Ok(FeedSettings {
        paper: PaperConfig {
            seed: paper.seed,
            instruments: paper.instruments,
            events_per_s: paper.events_per_s,
        },
        speed,
        at_end: if replay.repeat { AtEnd::Repeat } else { AtEnd::Finish },
    })
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
