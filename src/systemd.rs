//! systemd's side of a service: what it is told (sd_notify(3)), when its watchdog is fed, and the sockets that it hands in
//! (sd_listen_fds(3)). Home: the main thread. Invariants: without systemd all of it is silent; a manager that does not listen
//! holds nothing up; the watchdog is fed only if every thread has turned since it was fed last.

use std::env;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::exit::{Exit, Failure};
use crate::ring;

/// The watchdog is fed so many times in its interval.
const FEEDS: u64 = 3;

/// Where the service's manager listens.
#[derive(Debug, Default)]
pub struct Notifier {
    manager: Option<(UnixDatagram, SocketAddr)>,
}

impl Notifier {
    /// As the environment has it; silent where that names nobody, or nobody who can be reached.
    #[must_use]
    pub fn from_env() -> Notifier {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Notifier::default();
        };
        match reach(&name) {
            Ok(manager) => Notifier { manager: Some(manager) },
            Err(error) => {
                log::warn!("NOTIFY_SOCKET: {}: {error}", name.display());
                Notifier::default()
            }
        }
    }

    /// Whether there is somebody to tell.
    #[must_use]
    pub const fn is_heard(&self) -> bool {
        self.manager.is_some()
    }

    /// Tells the manager such lines, `READY=1` say.
    pub fn tell(&self, lines: &str) {
        if let Some((socket, manager)) = &self.manager
            && let Err(error) = socket.send_to_addr(lines.as_bytes(), manager)
        {
            log::warn!("the service manager was not told {lines:?}: {error}");
        }
    }
}

/// A path, or a name of the abstract namespace behind an `@`.
fn reach(name: &OsString) -> std::io::Result<(UnixDatagram, SocketAddr)> {
    let manager = match name.as_bytes().strip_prefix(b"@") {
        Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, manager))
}

/// When the watchdog is to be fed. PURE.
#[derive(Debug)]
pub struct Watchdog {
    interval_ns: u64,
    due_ns: u64,
    fed_ns: u64,
    /// Of each thread when it was fed last.
    seen: Vec<u64>,
    is_late: bool,
}

/// What is to be done about the watchdog now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Care {
    Nothing,
    Feed,
    /// Those have not turned since: they may be parked, and are to be woken.
    Wake(Vec<usize>),
    /// As above; it is time to say so, once.
    Complain(Vec<usize>),
}

impl Watchdog {
    /// As the environment has it; none where this process is not asked.
    #[must_use]
    pub fn from_env(threads: usize, now_ns: u64) -> Option<Watchdog> {
        let number = |name: &str| -> Option<u64> { env::var(name).ok()?.parse().ok() };
        let interval_us = number("WATCHDOG_USEC").filter(|us| *us > 0)?;
        let is_ours = match env::var_os("WATCHDOG_PID") {
            Some(_) => number("WATCHDOG_PID") == Some(u64::from(std::process::id())),
            None => true,
        };
        is_ours.then(|| Watchdog::new(interval_us.saturating_mul(1000), threads, now_ns))
    }

    fn new(interval_ns: u64, threads: usize, now_ns: u64) -> Watchdog {
        Watchdog { interval_ns, due_ns: now_ns, fed_ns: now_ns, seen: vec![0; threads], is_late: false }
    }

    /// Its interval.
    #[must_use]
    pub const fn interval_ns(&self) -> u64 {
        self.interval_ns
    }

    /// Takes how often each thread has turned; none for one that has ended, which nobody waits for.
    pub fn look(&mut self, turns: &[Option<u64>], now_ns: u64) -> Care {
        assert_eq!(turns.len(), self.seen.len(), "invariant: the threads are those of the start");
        if now_ns < self.due_ns {
            return Care::Nothing;
        }
        let still: Vec<usize> = (0..turns.len()).filter(|at| turns[*at] == Some(self.seen[*at])).collect();
        if still.is_empty() {
            self.seen.iter_mut().zip(turns).for_each(|(seen, turns)| *seen = turns.unwrap_or(*seen));
            self.fed_ns = now_ns;
            self.due_ns = now_ns + self.interval_ns / FEEDS;
            self.is_late = false;
            return Care::Feed;
        }
        let was_late = self.is_late;
        self.is_late = now_ns - self.fed_ns >= self.interval_ns / FEEDS * 2;
        if self.is_late && !was_late { Care::Complain(still) } else { Care::Wake(still) }
    }
}

/// A socket that systemd has made, with its `FileDescriptorName`.
#[derive(Debug)]
pub struct Inherited {
    pub name: String,
    pub socket: OwnedFd,
}

/// The sockets that were handed in to this process; none without activation. To be called once, before anything is opened.
///
/// # Errors
/// The environment contradicts itself, or a descriptor is not open.
pub fn inherited() -> Result<Vec<Inherited>, Failure> {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    // Meant for another process, our parent say.
    if variable("LISTEN_PID") != std::process::id().to_string() {
        return Ok(Vec::new());
    }
    let (count, names) = (variable("LISTEN_FDS"), variable("LISTEN_FDNAMES"));
    let names = names_of(&count, &names).map_err(wrong)?;
    let sockets = ring::take_inherited(names.len())
        .map_err(|error| wrong(format!("LISTEN_FDS={count}, and not all of them are open: {error}")))?;
    Ok(names.into_iter().zip(sockets).map(|(name, socket)| Inherited { name, socket }).collect())
}

fn wrong(what: String) -> Failure {
    Failure::new(Exit::Config, what, "look at the socket units: systemctl cat 'tickring@*.socket'")
}

/// As many names as there are sockets. PURE.
fn names_of(count: &str, names: &str) -> Result<Vec<String>, String> {
    let count: usize = count.parse().map_err(|_| format!("LISTEN_FDS={count} is no number"))?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let names: Vec<String> = names.split(':').map(str::to_owned).collect();
    if names.len() == count {
        Ok(names)
    } else {
        Err(format!("LISTEN_FDS={count}, but LISTEN_FDNAMES has {} names", names.len()))
    }
}

/// Puts what was handed in where it belongs: the sockets of each shard, in the order of the listeners. PURE.
///
/// # Errors
/// Why they do not fit, in one line.
pub fn by_shard<T>(named: Vec<(String, T)>, shards: usize, listeners: usize) -> Result<Vec<Vec<T>>, String> {
    let mut places: Vec<Option<T>> = (0..shards * listeners).map(|_| None).collect();
    let count = named.len();
    let wanted = || {
        let all: Vec<String> =
            (0..shards * listeners).map(|at| name_of(at / listeners, at % listeners)).collect();
        all.join(", ")
    };
    if count != places.len() {
        return Err(format!(
            "{count} sockets were handed in, but {shards} shards with {listeners} listeners each take {}: {}",
            places.len(),
            wanted()
        ));
    }
    for (name, socket) in named {
        let place = place_of(&name)
            .filter(|(shard, listener)| *shard < shards && *listener < listeners)
            .and_then(|(shard, listener)| places.get_mut(shard * listeners + listener));
        match place {
            None => return Err(format!("a socket was handed in as {name:?}, expected {}", wanted())),
            Some(Some(_)) => return Err(format!("two sockets were handed in as {name:?}")),
            Some(place) => *place = Some(socket),
        }
    }
    let mut of_shards: Vec<Vec<T>> = (0..shards).map(|_| Vec::with_capacity(listeners)).collect();
    for (at, socket) in places.into_iter().enumerate() {
        let socket = socket.expect("invariant: as many sockets as places, and none at a place of another");
        of_shards[at / listeners].push(socket);
    }
    Ok(of_shards)
}

/// `shard1` is shard 1's socket of the first listener, `shard1.2` of the third.
fn name_of(shard: usize, listener: usize) -> String {
    if listener == 0 { format!("shard{shard}") } else { format!("shard{shard}.{listener}") }
}

fn place_of(name: &str) -> Option<(usize, usize)> {
    let (shard, listener) = name.strip_prefix("shard")?.split_once('.').unwrap_or((&name[5..], "0"));
    let place = (shard.parse().ok()?, listener.parse().ok()?);
    // `shard01` and `shard+1` are not how it is written.
    (name == name_of(place.0, place.1) || name == format!("shard{}.0", place.0)).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn the_watchdog_is_fed_once_every_thread_has_turned() {
        let mut watchdog = Watchdog::new(9 * S, 2, 0);
        assert_eq!(watchdog.look(&[Some(1), Some(1)], 0), Care::Feed);
        assert_eq!(watchdog.look(&[Some(5), Some(5)], 2 * S), Care::Nothing);
        assert_eq!(watchdog.look(&[Some(5), Some(1)], 3 * S), Care::Wake(vec![1]));
        assert_eq!(watchdog.look(&[Some(5), Some(2)], 4 * S), Care::Feed);
        assert_eq!(watchdog.look(&[Some(5), Some(2)], 6 * S), Care::Nothing);
        assert_eq!(watchdog.look(&[Some(5), Some(2)], 7 * S), Care::Wake(vec![0, 1]));
    }

    #[test]
    fn a_thread_that_stands_is_told_of_once_before_the_watchdog_bites() {
        let mut watchdog = Watchdog::new(9 * S, 2, 0);
        assert_eq!(watchdog.look(&[Some(1), Some(1)], 0), Care::Feed);
        assert_eq!(watchdog.look(&[Some(2), Some(1)], 3 * S), Care::Wake(vec![1]));
        assert_eq!(watchdog.look(&[Some(3), Some(1)], 6 * S), Care::Complain(vec![1]));
        assert_eq!(watchdog.look(&[Some(4), Some(1)], 7 * S), Care::Wake(vec![1]));
        assert_eq!(watchdog.look(&[Some(5), Some(2)], 8 * S), Care::Feed);
        assert_eq!(watchdog.look(&[Some(5), Some(3)], 14 * S), Care::Complain(vec![0]));
    }

    #[test]
    fn a_thread_that_has_ended_is_not_waited_for() {
        let mut watchdog = Watchdog::new(9 * S, 2, 0);
        assert_eq!(watchdog.look(&[Some(1), Some(1)], 0), Care::Feed);
        assert_eq!(watchdog.look(&[None, Some(1)], 3 * S), Care::Wake(vec![1]));
        assert_eq!(watchdog.look(&[None, Some(2)], 4 * S), Care::Feed);
        assert_eq!(watchdog.look(&[None, None], 8 * S), Care::Feed);
    }

    fn placed(names: &[&str], shards: usize, listeners: usize) -> Result<Vec<Vec<usize>>, String> {
        let named = names.iter().enumerate().map(|(at, name)| ((*name).to_owned(), at)).collect();
        by_shard(named, shards, listeners)
    }

    #[test]
    fn sockets_go_to_their_shards_by_name_in_any_order() {
        assert_eq!(placed(&["shard1", "shard0"], 2, 1), Ok(vec![vec![1], vec![0]]));
        assert_eq!(
            placed(&["shard0.1", "shard1", "shard0", "shard1.1"], 2, 2),
            Ok(vec![vec![2, 0], vec![1, 3]])
        );
    }

    #[test]
    fn sockets_that_do_not_fit_are_refused_in_one_line() {
        let refused = |names: &[&str]| placed(names, 2, 1).unwrap_err();
        assert_eq!(
            refused(&["shard0"]),
            "1 sockets were handed in, but 2 shards with 1 listeners each take 2: shard0, shard1"
        );
        assert_eq!(
            refused(&["shard0", "shard2"]),
            "a socket was handed in as \"shard2\", expected shard0, shard1"
        );
        assert_eq!(refused(&["shard0", "shard0"]), "two sockets were handed in as \"shard0\"");
        for odd in ["", "shard", "shard00", "shard-1", "shard1.1", "shard+0", "unknown", "shard0.", "ssh"] {
            assert!(refused(&["shard1", odd]).contains("expected shard0, shard1"), "{odd}");
        }
    }

    #[test]
    fn as_many_names_as_sockets_or_none_is_taken() {
        assert_eq!(names_of("2", "a:b"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(names_of("0", ""), Ok(vec![]));
        assert_eq!(names_of("2", "a").unwrap_err(), "LISTEN_FDS=2, but LISTEN_FDNAMES has 1 names");
        assert_eq!(names_of("x", "a").unwrap_err(), "LISTEN_FDS=x is no number");
    }
}
