//! Links to venues, from the configuration: at the start, and when it is read again. Home: the main thread.
//!
//! Invariants: what is planned changes nothing until it is taken; a venue whose keys are as before has the links that it had, and one
//! that is waited for where it was the same socket. Numbers of listeners are not used twice, and a link's name is one source's.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::backend::tcp::reach::ReachConfig;
use crate::backend::tcp::session::SessionConfig;
use crate::clock;
use crate::config::{Venue, VenueKind, Venues};
use crate::exit::{Exit, Failure};
use crate::limits;
use crate::model::link::LinkKind;
use crate::ring::{LISTENERS_MAX, ListenError, Listener, ListenerOptions};
use crate::venue::{LinkSetup, LinksSetup, Way};

/// How long all hosts' names of a configuration may take to be looked up: the thread that waits feeds the watchdog.
pub(super) const LOOKUP_NS: u64 = 3_000_000_000;

/// Links as they are, and what they were made from.
#[derive(Clone, Debug)]
pub(super) struct VenueLinks {
    /// A venue that has seen another run is told so by another name.
    run: Box<str>,
    venues: Venues,
    links: Vec<LinkSetup>,
    waited: Vec<Waited>,
    next_listener: u32,
    /// Of all links that ever were.
    names: BTreeSet<Box<str>>,
}

/// Where venues are waited for.
#[derive(Clone, Debug)]
struct Waited {
    number: u32,
    /// As the configuration has it.
    address: SocketAddr,
    bound: SocketAddr,
    /// Whose it is, where the kernel chose the port.
    of: Option<String>,
}

impl VenueLinks {
    /// None yet.
    pub(super) fn new() -> VenueLinks {
        VenueLinks {
            run: clock::now().unix_ns.to_string().into(),
            venues: Venues::new(),
            links: Vec::new(),
            waited: Vec::new(),
            next_listener: 0,
            names: BTreeSet::new(),
        }
    }

    /// Where venues are waited for.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.waited.iter().map(|waited| waited.bound).collect()
    }

    /// What these venues would make of it, and what the venue's thread is to be told then; sockets that are new are bound.
    ///
    /// # Errors
    /// An address is taken, a host's name unknown, or there would be more than there may be.
    pub(super) fn plan(&self, venues: &Venues) -> Result<(VenueLinks, LinksSetup), Failure> {
        let mut next = VenueLinks {
            run: self.run.clone(),
            venues: venues.clone(),
            links: Vec::new(),
            waited: Vec::new(),
            next_listener: self.next_listener,
            names: self.names.clone(),
        };
        let mut listeners = Vec::new();
        let lookup_by_ns = clock::now().mono_ns + LOOKUP_NS;
        for (name, venue) in venues {
            let is_as_before = self.venues.get(name) == Some(venue);
            let way = match venue.listens() {
                Some(address) => Way::Listen(self.listen(&mut next, name, address, &mut listeners)?),
                None if is_as_before => {
                    // Nor are names looked up again.
                    next.links.extend(self.links.iter().filter(|link| *link.venue == **name).cloned());
                    continue;
                }
                None => Way::Connect(reach(name, venue, lookup_by_ns)?),
            };
            next.links.extend(setups(name, venue, &way, &next.run));
        }
        next.names.extend(next.links.iter().map(|link| link.name.clone()));
        next.check()?;
        let links = next.links.clone();
        Ok((next, LinksSetup { listeners, links }))
    }

    /// The number of the listener that a venue is waited for at.
    fn listen(
        &self,
        next: &mut VenueLinks,
        name: &str,
        address: SocketAddr,
        listeners: &mut Vec<(u32, Listener)>,
    ) -> Result<u32, Failure> {
        // One that the kernel is to choose is a venue's own.
        let of = (address.port() == 0).then(|| name.to_owned());
        let is_it = |waited: &&Waited| waited.address == address && waited.of == of;
        if let Some(waited) = next.waited.iter().find(is_it) {
            return Ok(waited.number);
        }
        if let Some(waited) = self.waited.iter().find(is_it) {
            next.waited.push(waited.clone());
            return Ok(waited.number);
        }
        let listener = bind(name, address)?;
        let (number, bound) = (next.next_listener, listener.address());
        next.next_listener += 1;
        next.waited.push(Waited { number, address, bound, of });
        listeners.push((number, listener));
        Ok(number)
    }

    fn check(&self) -> Result<(), Failure> {
        if self.waited.len() > LISTENERS_MAX {
            let what = format!(
                "venue: is waited for at {} addresses, expected at most {LISTENERS_MAX}",
                self.waited.len()
            );
            return Err(Failure::new(
                Exit::Config,
                what,
                "venues may share an address: their keys tell them apart",
            ));
        }
        // The feed is a source too.
        let names_max = limits::SOURCES_MAX - 1;
        if self.names.len() > names_max {
            let what = format!(
                "venue: {} links have had a name since the start, expected at most {names_max}",
                self.names.len()
            );
            return Err(Failure::new(Exit::Config, what, "use earlier names again, or restart the server"));
        }
        Ok(())
    }
}

/// All links of a venue.
fn setups(name: &str, venue: &Venue, way: &Way, run: &str) -> Vec<LinkSetup> {
    let setup = |nth: usize| {
        let own = if nth == 0 { name.to_owned() } else { format!("{name}.{}", nth + 1) };
        LinkSetup {
            session: SessionConfig {
                gateway: run.into(),
                // Who is connected to is known by the address.
                venue: if venue.listens().is_some() { own.as_str() } else { name }.into(),
                key: venue.key.as_str().into(),
                heartbeat_ms: venue.heartbeat_ms,
                fence: 0,
                instruments: venue.symbols(),
            },
            name: own.into(),
            venue: name.into(),
            kind: match venue.kind {
                VenueKind::Tcp => LinkKind::Tcp,
                VenueKind::Mt5 => LinkKind::Mt5,
            },
            way: match way {
                Way::Listen(number) => Way::Listen(*number),
                Way::Connect(reach) => Way::Connect(ReachConfig { first: nth, ..reach.clone() }),
            },
        }
    };
    (0..usize::from(venue.max_connections)).map(setup).collect()
}

fn bind(name: &str, address: SocketAddr) -> Result<Listener, Failure> {
    let options = ListenerOptions { backlog_connections_max: 16, ..ListenerOptions::default() };
    let taken = |error: ListenError| {
        Failure::new(
            Exit::Unavailable,
            error.to_string(),
            format!("name a free address: venue.{name}.listen"),
        )
    };
    if address.port() != 0 {
        Listener::check_free(address).map_err(taken)?;
    }
    Listener::bind(address, &options).map_err(taken)
}

/// How a venue is connected to: names are looked up once, here.
fn reach(name: &str, venue: &Venue, by_ns: u64) -> Result<ReachConfig, Failure> {
    let mut addresses = Vec::new();
    for text in &venue.connect {
        addresses.extend(look_up(text, by_ns).map_err(|why| {
            let what = format!("venue.{name}.connect: {text}: {why}");
            Failure::new(Exit::Unavailable, what, "name a host that resolves, or its address")
        })?);
    }
    if addresses.is_empty() {
        let what = format!("venue.{name}.connect: no address of {:?}", venue.connect);
        return Err(Failure::new(Exit::Unavailable, what, "name a host that resolves, or its address"));
    }
    let (max_retries, retry_delay_ms) = (venue.max_retries, venue.retry_delay_ms);
    Ok(ReachConfig { addresses, first: 0, max_retries, retry_delay_ms })
}

/// What a name means. The resolver waits for its servers as long as it likes: a thread of its own does so, which is left alone
/// when it is too late.
pub(super) fn look_up(text: &str, by_ns: u64) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = text.parse() {
        return Ok(vec![address]);
    }
    let (tell, told) = mpsc::channel();
    let name = text.to_owned();
    // Nobody may listen any more.
    let ask = move || drop(tell.send(name.to_socket_addrs().map(Vec::from_iter)));
    thread::Builder::new().name("lookup".to_owned()).spawn(ask).map_err(|error| error.to_string())?;
    let left = Duration::from_nanos(by_ns.saturating_sub(clock::now().mono_ns));
    match told.recv_timeout(left) {
        Ok(found) => found.map_err(|error| error.to_string()),
        Err(_) => Err("the resolver does not answer in time".to_owned()),
    }
}
