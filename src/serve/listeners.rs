//! Where clients come in: sockets that systemd has handed in, or ones of our own. Home: the main thread, before the shards.

use std::net::SocketAddr;

use crate::config::{Config, Listen};
use crate::exit::{Exit, Failure};
use crate::ring::{ListenError, Listener, ListenerOptions};
use crate::systemd::{self, Inherited};

/// The listeners of each shard, in the order of the configuration, and their addresses, which are the same for all shards.
pub(super) fn listen(
    config: &Config,
    shards: usize,
    inherited: Vec<Inherited>,
) -> Result<(Vec<Vec<Listener>>, Vec<SocketAddr>), Failure> {
    let of_shards =
        if inherited.is_empty() { bind(config, shards)? } else { adopt(config, shards, inherited)? };
    let addresses = of_shards[0].iter().map(Listener::address).collect();
    Ok((of_shards, addresses))
}

fn bind(config: &Config, shards: usize) -> Result<Vec<Vec<Listener>>, Failure> {
    let mut of_shards: Vec<Vec<Listener>> = (0..shards).map(|_| Vec::new()).collect();
    for listen in &config.listen {
        let options = options(listen);
        let taken = |error: ListenError| {
            Failure::new(Exit::Unavailable, error.to_string(), "name a free address: --listen ADDR")
        };
        let mut address = listen.address;
        if address.port() != 0 {
            Listener::check_free(address).map_err(taken)?;
        }
        for listeners in &mut of_shards {
            let listener = Listener::bind(address, &options).map_err(taken)?;
            address = listener.address();
            listeners.push(listener);
        }
    }
    Ok(of_shards)
}

/// Takes sockets over. They stay open with systemd: what waits in them at our end is served by who comes next.
fn adopt(config: &Config, shards: usize, inherited: Vec<Inherited>) -> Result<Vec<Vec<Listener>>, Failure> {
    let refused = |what: String| {
        let hint =
            "one socket unit for each shard: systemctl enable tickring@0.socket …, see docs/operations.md";
        Failure::new(Exit::Config, what, hint)
    };
    let named = inherited.into_iter().map(|inherited| (inherited.name, inherited.socket)).collect();
    let sockets = systemd::by_shard(named, shards, config.listen.len()).map_err(refused)?;
    let mut of_shards: Vec<Vec<Listener>> = Vec::with_capacity(shards);
    for sockets in sockets {
        let mut listeners = Vec::with_capacity(config.listen.len());
        for (at, (socket, listen)) in sockets.into_iter().zip(&config.listen).enumerate() {
            let listener =
                Listener::adopt(socket, &options(listen)).map_err(|error| refused(error.to_string()))?;
            let (is, said) = (listener.address(), listen.address);
            // What is allowed on loopback only goes by the configuration.
            if is.ip() != said.ip() || (said.port() != 0 && is.port() != said.port()) {
                return Err(refused(format!("a socket that listens on {is} was handed in for {said}")));
            }
            if let Some(first) = of_shards.first().map(|first: &Vec<Listener>| first[at].address())
                && first != is
            {
                return Err(refused(format!("shards are to listen on one address, not on {first} and {is}")));
            }
            listeners.push(listener);
        }
        of_shards.push(listeners);
    }
    log::info!("the sockets that systemd has handed in are listened on");
    Ok(of_shards)
}

fn options(listen: &Listen) -> ListenerOptions {
    ListenerOptions {
        backlog_connections_max: u16::try_from(listen.backlog).unwrap_or(u16::MAX),
        unacknowledged_ms_max: listen.unacknowledged_ms_max,
        ..ListenerOptions::default()
    }
}
