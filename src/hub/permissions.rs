//! Which channels a client may have and which topics it may publish to: what everybody may, and what its key adds. PURE.
//! Home: one shard.

use crate::auth::Scope;
use crate::dialect::json_rpc::Failure;
use crate::model::channel::{
    Instruments, MarketChannel, PLATFORM_STATE, PrivateChannel, PrivateKind, PrivateView, TopicKey,
};
use crate::model::encoding::Encoding;
use crate::model::ids::ConnId;
use crate::model::order::{AccountId, Filter};

use super::session::Session;
use super::{Hub, Publishing};

impl Hub {
    /// Whether a client may subscribe to a channel, given as its text.
    ///
    /// # Errors
    /// What it is told.
    pub(super) fn check_subscribe(&self, conn: ConnId, channel: &str) -> Result<(), Failure> {
        if self.config.public_subscribe.allow(channel) {
            return Ok(());
        }
        match self.session_of(conn).and_then(Session::login) {
            None => Err(Failure::NOT_LOGGED_IN.at("channels")),
            Some(login) if login.credential.subscribe.allow(channel) => Ok(()),
            Some(_) => Err(Failure::FORBIDDEN.because("not for this key").at("channels")),
        }
    }

    /// Whose private channels a client may subscribe to: those of its own account, whatever its patterns.
    ///
    /// # Errors
    /// What it is told.
    pub(super) fn check_subscribe_private(&self, conn: ConnId) -> Result<AccountId, Failure> {
        match self.session_of(conn).and_then(Session::login) {
            None => Err(Failure::NOT_LOGGED_IN.at("channels")),
            Some(login) if login.scopes.allow(Scope::TradeRead) => Ok(login.account),
            Some(_) => Err(Failure::FORBIDDEN.because(Scope::TradeRead.needed()).at("channels")),
        }
    }

    /// What a private channel means on this connection; `None` where there is no such instrument or currency.
    pub(super) fn view_of(&self, conn: ConnId, channel: PrivateChannel) -> Option<PrivateView> {
        let filter = match channel.of {
            Instruments::One(name) => {
                Filter { instrument: Some(self.cache.find(&name)?), ..Filter::default() }
            }
            Instruments::Group { kind, currency } => {
                if currency.is_some_and(|currency| !self.cache.has_currency(&currency)) {
                    return None;
                }
                Filter { instrument: None, kind, currency }
            }
        };
        let encoding = match channel.what {
            PrivateKind::Orders | PrivateKind::Trades => {
                self.session_of(conn).map_or(Encoding::Json, |session| session.form.encoding())
            }
            // No SBE message has positions.
            PrivateKind::Changes => Encoding::Json,
        };
        Some(PrivateView { what: channel.what, filter, encoding })
    }

    /// Whose client it is, if it has logged in.
    pub(super) fn account_of(&self, conn: ConnId) -> Option<AccountId> {
        self.session_of(conn).and_then(Session::login).map(|login| login.account)
    }

    /// Whether a client may publish to a topic.
    ///
    /// # Errors
    /// What it is told.
    pub(super) fn check_publish(&self, conn: ConnId, topic: &str) -> Result<(), Failure> {
        match self.config.publishing {
            Publishing::Anyone => return Ok(()),
            Publishing::Nobody => return Err(Failure::FORBIDDEN.because("publishing is turned off")),
            Publishing::ByKey => {}
        }
        match self.session_of(conn).and_then(Session::login) {
            None => Err(Failure::NOT_LOGGED_IN.at("topic")),
            Some(login) if login.credential.publish.allow(topic) => Ok(()),
            Some(_) => Err(Failure::FORBIDDEN.because("not for this key").at("topic")),
        }
    }

    /// Ends the subscriptions that a client may not have any more, since it is somebody else or nobody.
    pub(super) fn end_forbidden(&mut self, conn: ConnId) {
        let Some(session) = self.session_of(conn) else { return };
        let listed = session.login().map_or(0, |login| login.credential.subscribe.words().count())
            + self.config.public_subscribe.words().count();
        let names = session.patterns.len() + session.subscriptions.len();
        let patterns: Vec<MarketChannel> = session.patterns.iter().map(|pattern| pattern.channel).collect();
        let subscriptions = session.subscriptions.clone();
        self.work.permitted(names, listed);
        if self.check_subscribe(conn, PLATFORM_STATE).is_err() {
            self.hear_platform(conn, false);
        }
        for channel in patterns {
            let mut name = Vec::new();
            channel.write_every(&mut name);
            if self.check_subscribe(conn, &String::from_utf8_lossy(&name)).is_err() {
                self.end_pattern(conn, channel);
            }
        }
        for subscription in subscriptions {
            let Some(entry) = self.topics.subscriptions.get(subscription as usize) else { continue };
            let key = self.topics.topics[entry.topic as usize].key;
            // One that a `*` holds is judged by that.
            if entry.conn == conn && !entry.by_pattern && !self.may_keep(conn, &key) {
                self.end_subscription(conn, subscription);
            }
        }
    }

    fn may_keep(&self, conn: ConnId, key: &TopicKey) -> bool {
        match key {
            TopicKey::Private { account, .. } => self.check_subscribe_private(conn) == Ok(*account),
            TopicKey::Client(name) => self.check_subscribe(conn, &format!("topic.{}", name.as_str())).is_ok(),
            TopicKey::Market { instrument, channel, .. } => {
                let mut name = Vec::new();
                channel.write(&mut name, &self.cache.state(*instrument).definition.name);
                self.check_subscribe(conn, &String::from_utf8_lossy(&name)).is_ok()
            }
        }
    }

    fn session_of(&self, conn: ConnId) -> Option<&Session> {
        let session = self.sessions.get(conn.slot as usize)?.as_deref()?;
        (session.conn == conn).then_some(session)
    }
}
