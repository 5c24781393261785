//! Which channels a client may have and which topics it may publish to: what everybody may, and what its key adds. PURE.
//! Home: one shard.

use crate::dialect::json_rpc::Failure;
use crate::model::channel::{MarketChannel, TopicKey};
use crate::model::ids::ConnId;

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
        for channel in patterns {
            let mut name = Vec::new();
            channel.write_every(&mut name);
            if self.check_subscribe(conn, &String::from_utf8_lossy(&name)).is_err() {
                self.end_pattern(conn, channel);
            }
        }
        for subscription in subscriptions {
            let Some(entry) = self.topics.subscriptions.get(subscription as usize) else { continue };
            let name = self.name_of(&self.topics.topics[entry.topic as usize].key);
            // One that a `*` holds is judged by that.
            if entry.conn == conn && !entry.by_pattern && self.check_subscribe(conn, &name).is_err() {
                self.end_subscription(conn, subscription);
            }
        }
    }

    fn name_of(&self, key: &TopicKey) -> String {
        match key {
            TopicKey::Client(name) => format!("topic.{}", name.as_str()),
            TopicKey::Market { instrument, channel } => {
                let mut name = Vec::new();
                channel.write(&mut name, &self.cache.state(*instrument).definition.name);
                String::from_utf8_lossy(&name).into_owned()
            }
        }
    }

    fn session_of(&self, conn: ConnId) -> Option<&Session> {
        let session = self.sessions.get(conn.slot as usize)?.as_deref()?;
        (session.conn == conn).then_some(session)
    }
}
