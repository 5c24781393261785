//! Other links while the venue turns: some come, some go, some are made anew. Home: the venue's thread.
//!
//! Invariants: a link whose setup is as before notices nothing. One that goes or changes ends as by a cut, with a farewell where
//! there is room for one: what was sent and not answered is in doubt. Its place, its source and what is known of its orders stay
//! those of its name, so that a link which comes again under it goes on as after a cut.

use crate::hub::market::MarketHome;
use crate::limits;
use crate::model::link::LinkIdentity;
use crate::model::time::Now;
use crate::ring::{How, Ring};

use super::{
    ATTEMPT_SHIFT, Action, Link, LinkSetup, Links, LinksSetup, Owner, Reach, Session, Way, source_of,
};

impl Links {
    /// Has these links from now on.
    pub(in crate::venue) fn change(
        &mut self,
        wanted: LinksSetup,
        ring: &mut Ring,
        market: &mut MarketHome,
        now: Now,
    ) {
        // First, since a ring has no more of them than the configuration may name.
        self.close_unused(&wanted.links, ring);
        for (number, listener) in wanted.listeners {
            match ring.listen(listener) {
                Ok(id) => self.listeners.push((number, id)),
                Err(error) => log::error!("venue link: a listener is not taken: {error}"),
            }
        }
        for nth in 0..self.links.len() {
            let link = &self.links[nth];
            match wanted.links.iter().find(|setup| setup.name == link.setup.name) {
                Some(setup) if link.is_removed || *setup != link.setup => {
                    self.renew(nth, setup.clone(), market, now);
                }
                None if !link.is_removed => self.remove(nth, market, now),
                Some(_) | None => {}
            }
        }
        for setup in wanted.links {
            if !self.links.iter().any(|link| link.setup.name == setup.name) {
                self.add(setup, market, now);
            }
        }
        if self.is_resting {
            self.rest(market, now);
        }
    }

    /// A link that there was none of that name of before.
    pub(super) fn add(&mut self, setup: LinkSetup, market: &mut MarketHome, now: Now) {
        let source = source_of(self.links.len());
        let link = Link {
            source,
            session: Session::new(self.of_run(&setup.session)),
            reach: setup.reach(now),
            conn: None,
            closing_by_ns: None,
            is_failing: false,
            welcomed_total: 0,
            attempt: 0,
            is_removed: false,
            is_outdated: false,
            setup,
        };
        link.announce(market, now);
        self.links.push(link);
    }

    /// The link of an attempt to connect, unless it has begun another one since.
    pub(super) fn of_attempt(&self, tag: u32) -> Option<usize> {
        let nth = (tag & ((1 << ATTEMPT_SHIFT) - 1)) as usize;
        (!self.is_resting && self.links[nth].attempt == tag >> ATTEMPT_SHIFT).then_some(nth)
    }

    fn renew(&mut self, nth: usize, setup: LinkSetup, market: &mut MarketHome, now: Now) {
        self.cut_off(nth, market, now);
        let config = self.of_run(&setup.session);
        let link = &mut self.links[nth];
        log::info!("venue link {}: made anew, as the configuration has it", setup.name);
        link.session.set_config(config);
        link.reach = setup.reach(now);
        (link.setup, link.is_removed, link.is_failing) = (setup, false, false);
        link.is_outdated = false;
        link.announce(market, now);
        market.handle_link(link.source, &mut link.session, now);
    }

    fn remove(&mut self, nth: usize, market: &mut MarketHome, now: Now) {
        self.cut_off(nth, market, now);
        let link = &mut self.links[nth];
        log::info!("venue link {}: gone, as it is from the configuration", link.setup.name);
        (link.reach, link.is_removed) = (None, true);
        market.reserve(&[], link.source);
        market.remove_link(link.source);
    }

    /// The link has no connection any more, nor an attempt at one that is heard of.
    pub(super) fn cut_off(&mut self, nth: usize, market: &mut MarketHome, now: Now) {
        let link = &mut self.links[nth];
        link.forget_attempt();
        link.session.handle_stop();
        market.handle_link(link.source, &mut link.session, now);
        link.closing_by_ns = None;
        if let Some(conn) = link.conn.take() {
            let farewell = link.session.unsent().to_vec();
            if !farewell.is_empty() && farewell.len() <= FAREWELL_BYTES_MAX {
                self.actions.push_back(Action::Say(conn, farewell));
            }
            self.actions.push_back(Action::Close(conn, How::Graceful));
            let deadline_ns = now.mono_ns + limits::LINK_CLOSING_NS;
            if let Some((_, owner)) = self.conns.iter_mut().find(|(of, _)| *of == conn) {
                *owner = Owner::Closing { of: None, deadline_ns };
            }
        }
        link.session.handle_closed();
        market.handle_link(link.source, &mut link.session, now);
    }

    /// Closes the listeners at which none of these links is waited for, and who has come to them and not said which link it is.
    fn close_unused(&mut self, wanted: &[LinkSetup], ring: &mut Ring) {
        let is_used = |number: u32| wanted.iter().any(|setup| setup.way == Way::Listen(number));
        let unused: Vec<_> = self.listeners.extract_if(.., |(number, _)| !is_used(*number)).collect();
        for (_, listener) in unused {
            ring.stop_listening(listener);
            for (conn, owner) in &mut self.conns {
                if matches!(owner, Owner::Greeting(stranger, _) if stranger.listener == listener) {
                    *owner = Owner::Cutting;
                    self.actions.push_back(Action::Close(*conn, How::Abort));
                }
            }
        }
    }
}

/// What a ring's send buffer takes for sure; a link that owes more is far behind, and finds its connection closed.
const FAREWELL_BYTES_MAX: usize = 4 * 1024;

impl LinkSetup {
    pub(super) fn reach(&self, now: Now) -> Option<Reach> {
        match &self.way {
            Way::Listen(_) => None,
            Way::Connect(config) => Some(Reach::new(config.clone(), now)),
        }
    }
}

impl Link {
    /// Clients are told of it from now on, and the instruments that it names are its own to list.
    pub(super) fn announce(&self, market: &mut MarketHome, now: Now) {
        let (kind, venue, link) = (self.setup.kind, self.setup.venue.clone(), self.setup.name.clone());
        market.reserve(&self.setup.session.instruments, self.source);
        market.add_link(self.source, LinkIdentity { kind, venue, link }, now);
    }
}
