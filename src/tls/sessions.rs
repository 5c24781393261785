//! What lets a client come back without a full handshake: tickets that it keeps, and a cache here for those that keep
//! only an id (RFC 5246 §7.4.1.3, RFC 5077, RFC 8446 §4.6.1). Shared by all shards, so that it does not matter which
//! one accepts the client the next time.
//!
//! Home: every shard, at handshakes only. Invariant: nothing is resumed past its lifetime.

use std::sync::Arc;

use rustls::crypto::GetRandomFailed;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};
use rustls::ticketer::TicketRotator;

/// Makes tickets that are good for half of `lifetime_s` at least and all of it at most: the key is new after each half,
/// and the one before it still opens its own.
///
/// `lifetime_s` is at most [`TICKET_LIFETIME_S_MAX`]: the maker below changes its own key by then.
pub(super) fn tickets(lifetime_s: u32) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    assert!(lifetime_s <= TICKET_LIFETIME_S_MAX, "a setting in its range");
    let maker = || match Ticketer::new() {
        Ok(maker) => Ok(Box::new(Maker(maker)) as Box<dyn ProducesTickets>),
        Err(_) => Err(GetRandomFailed),
    };
    Ok(Arc::new(TicketRotator::new(lifetime_s / 2, maker)?))
}

pub(super) const TICKET_LIFETIME_S_MAX: u32 = 12 * 60 * 60;

/// A maker of tickets of which the rotation wants to be the owner.
#[derive(Debug)]
struct Maker(Arc<dyn ProducesTickets>);

impl ProducesTickets for Maker {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

/// Sessions by their id, each with the time it was made.
#[derive(Debug)]
pub(super) struct SessionCache {
    sessions: Arc<ServerSessionMemoryCache>,
    lifetime_ns: u64,
    mono_ns: fn() -> u64,
}

impl SessionCache {
    pub(super) fn new(entries_max: usize, lifetime_s: u32, mono_ns: fn() -> u64) -> SessionCache {
        SessionCache {
            sessions: ServerSessionMemoryCache::new(entries_max),
            lifetime_ns: u64::from(lifetime_s) * 1_000_000_000,
            mono_ns,
        }
    }

    fn while_fresh(&self, mut stamped: Vec<u8>) -> Option<Vec<u8>> {
        let begin = stamped.len().checked_sub(size_of::<u64>())?;
        let made_ns = u64::from_le_bytes(*stamped[begin..].first_chunk()?);
        stamped.truncate(begin);
        ((self.mono_ns)().saturating_sub(made_ns) < self.lifetime_ns).then_some(stamped)
    }
}

impl StoresServerSessions for SessionCache {
    fn put(&self, id: Vec<u8>, mut session: Vec<u8>) -> bool {
        session.extend_from_slice(&(self.mono_ns)().to_le_bytes());
        self.sessions.put(id, session)
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.while_fresh(self.sessions.get(id)?)
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.while_fresh(self.sessions.take(id)?)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local!(static NOW_NS: Cell<u64> = const { Cell::new(5) });

    #[test]
    fn a_session_is_found_until_its_lifetime_is_over() {
        let cache = SessionCache::new(8, 2, || NOW_NS.get());
        assert!(cache.put(b"id".to_vec(), b"session".to_vec()));
        NOW_NS.set(5 + 2_000_000_000 - 1);
        assert_eq!(cache.get(b"id").unwrap(), b"session");
        NOW_NS.set(5 + 2_000_000_000);
        assert_eq!(cache.get(b"id"), None);
        assert_eq!(cache.take(b"id"), None);
        assert_eq!(cache.get(b"other"), None);
    }

    #[test]
    fn a_ticket_opens_by_the_maker_of_its_key_alone() {
        let tickets_of_one = tickets(60).unwrap();
        let ticket = tickets_of_one.encrypt(b"session").unwrap();
        assert_eq!(tickets_of_one.decrypt(&ticket).unwrap(), b"session");
        assert_eq!(tickets_of_one.lifetime(), 60);
        assert_eq!(tickets(60).unwrap().decrypt(&ticket), None);
    }
}
