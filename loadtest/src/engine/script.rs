//! The frames of a run, rendered once, and what their answers are known by. PURE.

use memchr::memmem::Finder;

use crate::dialect::{Dialect, Fill, Frame, Reader, Replies, finder};
use crate::engine::plan::Share;
use crate::scenario::Scenario;
use crate::wire;

/// Ids of requests, of orders and of all else do not meet, so that a reply's id tells what it answers.
pub(crate) const ORDER_IDS: u64 = 3_000_000_000;
pub(crate) const OTHER_IDS: u64 = 6_000_000_000;

/// One text before a connection is ready, and what ends the wait for its answer; none is no wait.
pub(crate) struct Step {
    pub(crate) frame: Frame,
    pub(crate) expect: Option<Finder<'static>>,
    pub(crate) name: &'static str,
}

/// What is asked again and again, with replies.
pub(crate) struct Asking {
    pub(crate) frame: Frame,
    pub(crate) replies: Replies,
}

/// See the file's head.
pub(crate) struct Script {
    pub(crate) reader: Reader,
    pub(crate) upgrade: Vec<u8>,
    pub(crate) hello: Vec<Step>,
    pub(crate) login: Option<Step>,
    /// By topic.
    pub(crate) subscribe: Vec<Step>,
    pub(crate) publish: Vec<Frame>,
    pub(crate) request: Option<Asking>,
    pub(crate) order: Option<Asking>,
}

impl Script {
    pub(crate) fn new(share: &Share, scenario: &Scenario, dialect: &Dialect) -> Script {
        let path = share.target.path.as_deref().unwrap_or(&dialect.path);
        let upgrade = dialect.upgrade(&share.target.authority(), path, wire::KEY).into_bytes();
        let nothing = Fill { topic: "", data_bytes: 0 };
        let hello = dialect.hello.iter().map(|hello| Step {
            frame: dialect.frame(&hello.send, nothing),
            expect: finder(&hello.expect),
            name: "hello",
        });
        let (mut subscribe, mut publish) = (Vec::new(), Vec::new());
        if let Some(fanout) = &scenario.fanout {
            let bytes = usize::try_from(fanout.bytes).expect("invariant: 64 bits");
            for topic in (0..fanout.topics).map(|topic| topic_name(share.run, topic)) {
                let fill = Fill { topic: &topic, data_bytes: bytes };
                subscribe.extend(dialect.subscribe.as_ref().map(|subscribe| Step {
                    frame: dialect.frame(&subscribe.send, fill),
                    expect: finder(&subscribe.expect),
                    name: "subscribe",
                }));
                publish.extend(dialect.publish.as_ref().map(|publish| dialect.frame(&publish.send, fill)));
            }
        }
        let login = dialect.order.as_ref().filter(|order| !order.login.is_empty()).map(|order| Step {
            frame: dialect.frame(&order.login, nothing),
            expect: finder(&order.login_expect),
            name: "log-in",
        });
        let asking = |exchange: &crate::dialect::Exchange, bytes: u32| {
            let data_bytes = usize::try_from(bytes).expect("invariant: 64 bits");
            let fill = Fill { topic: "", data_bytes };
            Some(Asking { frame: dialect.frame(&exchange.send, fill), replies: Replies::new(exchange)? })
        };
        let bytes = scenario.requests.as_ref().map_or(0, |requests| requests.bytes);
        let request = dialect.echo.as_ref().and_then(|echo| asking(echo, bytes));
        let order = dialect.order.as_ref().and_then(|order| asking(&order.exchange(), 0));
        Script {
            reader: Reader::new(dialect),
            upgrade,
            hello: hello.collect(),
            login,
            subscribe,
            publish,
            request,
            order,
        }
    }

    /// The step number `at` of a connection that logs in or not and is told of a topic or not; `None` once it is ready.
    pub(crate) fn step(&mut self, at: usize, logs_in: bool, topic: Option<u32>) -> Option<&mut Step> {
        let hellos = self.hello.len();
        if at < hellos {
            return self.hello.get_mut(at);
        }
        let login = self.login.as_mut().filter(|_| logs_in);
        let rest = at - hellos;
        match (login, rest) {
            (Some(login), 0) => Some(login),
            (login, _) => {
                let is_next = rest == usize::from(login.is_some());
                let topic = topic.filter(|_| is_next)?;
                self.subscribe.get_mut(usize::try_from(topic).expect("invariant: 64 bits"))
            }
        }
    }
}

/// The names of all topics of all runs have one length.
fn topic_name(run: u32, topic: u32) -> String {
    format!("load-{:06}-{topic:04}", run % 1_000_000)
}

/// Why a scenario cannot be run against a server of this dialect; empty where it can.
pub(crate) fn missing(scenario: &Scenario, dialect: &Dialect) -> Vec<String> {
    let has_fanout = dialect.publish.is_some();
    let needs = [
        (scenario.requests.is_some() && dialect.echo.is_none(), "requests", "[echo]"),
        (scenario.fanout.is_some() && !has_fanout, "publishes", "[publish]"),
        (scenario.orders.is_some() && dialect.order.is_none(), "orders", "[order]"),
    ];
    let missing = needs.into_iter().filter(|(is_missing, _, _)| *is_missing);
    missing
        .map(|(_, what, section)| {
            format!("not run: the scenario has {what}, and the dialect {} has no {section}", dialect.name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_dialect_lacks_is_said() {
        let text =
            "name = 'x'\nconnections = 1\n[orders]\nrate_per_s = 1\ntraders = 1\n[requests]\nrate_per_s = 1";
        let scenario = Scenario::parse(text).unwrap();
        let bare = Dialect::parse("name = 'bare'").unwrap();
        assert_eq!(
            missing(&scenario, &bare),
            [
                "not run: the scenario has requests, and the dialect bare has no [echo]",
                "not run: the scenario has orders, and the dialect bare has no [order]"
            ]
        );
        let full = Dialect::parse(crate::dialect::built_in("tickring").unwrap()).unwrap();
        assert_eq!(missing(&scenario, &full), Vec::<String>::new());
    }

    #[test]
    fn topics_have_names_of_one_length() {
        assert_eq!(topic_name(1, 2).len(), topic_name(u32::MAX, 7_999).len());
    }
}
