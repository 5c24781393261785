//! What `watch` says to a server and makes of its answers. PURE: texts and messages of SBE in, texts out.
//!
//! It remembers where each channel stands, `(epoch, seq)`, over any number of connections: for `resume` after a cut,
//! and to count what was missed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use sonic_rs::LazyValue;

use super::sbe::{Names, Read};
use crate::model::encoding::Encoding;

/// What to do about a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reaction<'a> {
    Update(Update<'a>),
    /// The server accepted the subscription; a note for each thing that is not as asked.
    Subscribed(Vec<String>),
    /// The server refused it, and says why.
    Refused(String),
    /// Send this text back.
    Answer(String),
    Nothing,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Update<'a> {
    pub channel: Cow<'a, str>,
    pub seq: Option<u64>,
    /// The JSON text of `params.data`.
    pub data: Cow<'a, str>,
}

/// The stream so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub updates: u64,
    /// Sequence numbers that did not come: conflated where the channel's class allows it (tickers, quotes), else lost.
    pub skipped: u64,
}

#[derive(Debug)]
pub(super) struct Session {
    encoding: Encoding,
    names: Names,
    /// The ids of questions under way for instruments' names.
    names_ids: Vec<u64>,
    /// The last of them was for those that have expired.
    asked_for_expired: bool,
    channels: Vec<String>,
    positions: BTreeMap<String, Position>,
    next_id: u64,
    /// The id of the subscribe request under way.
    subscribe_id: Option<u64>,
    pub totals: Totals,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    epoch: u64,
    seq: u64,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default)]
    id: Option<u64>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    result: Option<LazyValue<'a>>,
    #[serde(borrow, default)]
    error: Option<LazyValue<'a>>,
    #[serde(borrow, default)]
    resumed: Option<LazyValue<'a>>,
}

/// A message of which only the parameters are of interest, once the method is known.
#[derive(Deserialize)]
struct With<P> {
    params: P,
}

#[derive(Deserialize)]
struct Notification<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    data: LazyValue<'a>,
    #[serde(default)]
    epoch: Option<u64>,
    #[serde(default)]
    seq: Option<u64>,
}

#[derive(Deserialize)]
struct Heartbeat {
    r#type: String,
}

#[derive(Deserialize)]
struct RpcError {
    code: i64,
    message: String,
    #[serde(default)]
    data: Option<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Resumed {
    recovered: bool,
}

impl Session {
    pub(super) fn new(channels: &[String], encoding: Encoding) -> Session {
        Session {
            encoding,
            names: Names::default(),
            names_ids: Vec::new(),
            asked_for_expired: false,
            channels: channels.to_vec(),
            positions: BTreeMap::new(),
            next_id: 1,
            subscribe_id: None,
            totals: Totals::default(),
        }
    }

    /// What is sent first on a connection.
    pub(super) fn begin(&mut self) -> Vec<String> {
        self.names_ids.clear();
        match self.encoding {
            Encoding::Json => vec![self.subscribe()],
            // Before what they name: their replies come first. What is told may be of instruments that have expired.
            Encoding::Sbe => vec![self.ask_for_names(false), self.ask_for_names(true), self.subscribe()],
        }
    }

    fn ask_for_names(&mut self, expired: bool) -> String {
        let id = self.request_id();
        self.names_ids.push(id);
        self.asked_for_expired = expired;
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"public/get_instruments","params":{{"expired":{expired}}}}}"#
        )
    }

    /// The request for the channels; it resumes every channel that was heard before.
    fn subscribe(&mut self) -> String {
        let channels: Vec<String> = self.channels.iter().map(|name| quoted(name)).collect();
        let positions: Vec<String> = self
            .positions
            .iter()
            .map(|(channel, at)| format!("{}:{{\"epoch\":{},\"seq\":{}}}", quoted(channel), at.epoch, at.seq))
            .collect();
        let resume = if positions.is_empty() {
            String::new()
        } else {
            format!(",\"resume\":{{{}}}", positions.join(","))
        };
        let id = self.request_id();
        self.subscribe_id = Some(id);
        let channels = channels.join(",");
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"public/subscribe\",\
             \"params\":{{\"channels\":[{channels}]{resume}}}}}"
        )
    }

    /// Takes in one message of the server. What is not JSON-RPC as we know it is passed over.
    pub(super) fn handle<'a>(&mut self, text: &'a str) -> Reaction<'a> {
        let Ok(message) = sonic_rs::from_str::<Message<'a>>(text) else { return Reaction::Nothing };
        match message.method.as_deref() {
            Some("subscription") => self.on_notification(text),
            Some("heartbeat") => self.on_heartbeat(text),
            Some(_) => Reaction::Nothing,
            None if message.id.is_some_and(|id| self.names_ids.contains(&id)) => {
                self.names_ids.retain(|id| Some(*id) != message.id);
                self.names.learn(message.result.as_ref().map_or("[]", LazyValue::as_raw_str));
                Reaction::Nothing
            }
            None if message.id.is_some() && message.id == self.subscribe_id => {
                self.subscribe_id = None;
                match message.error {
                    Some(error) => Reaction::Refused(reason_of(error.as_raw_str())),
                    None => self.on_subscribed(message.result.as_ref(), message.resumed.as_ref()),
                }
            }
            None => match message.error {
                // An error without an id is about a request it could not read: ours.
                Some(error) if message.id.is_none() => Reaction::Refused(reason_of(error.as_raw_str())),
                Some(_) | None => Reaction::Nothing,
            },
        }
    }

    /// Takes in one binary message of the server. What is none of the schema is passed over.
    pub(super) fn handle_binary(&mut self, message: &[u8]) -> Reaction<'static> {
        match self.names.read(message) {
            Ok(Read::Update { epoch, update }) => {
                self.totals.updates += 1;
                if let Some(seq) = update.seq {
                    self.advance(&update.channel, Position { epoch, seq });
                }
                Reaction::Update(update)
            }
            // Listed since the names were asked for, and perhaps expired since then: an update after the answer finds its name.
            Ok(Read::Unnamed) if self.names_ids.is_empty() => {
                Reaction::Answer(self.ask_for_names(!self.asked_for_expired))
            }
            Ok(Read::TestRequest) => Reaction::Answer(self.test()),
            Ok(Read::Unnamed | Read::Nothing) | Err(_) => Reaction::Nothing,
        }
    }

    fn on_notification<'a>(&mut self, text: &'a str) -> Reaction<'a> {
        let Ok(With { params: heard }) = sonic_rs::from_str::<With<Notification<'a>>>(text) else {
            return Reaction::Nothing;
        };
        self.totals.updates += 1;
        if let (Some(epoch), Some(seq)) = (heard.epoch, heard.seq) {
            self.advance(&heard.channel, Position { epoch, seq });
        }
        Reaction::Update(Update { channel: heard.channel, seq: heard.seq, data: heard.data.as_raw_cow() })
    }

    fn advance(&mut self, channel: &str, next: Position) {
        match self.positions.get_mut(channel) {
            Some(at) if at.epoch == next.epoch => {
                self.totals.skipped += next.seq.saturating_sub(at.seq).saturating_sub(1);
                // A repetition, as of a snapshot, does not move it back.
                at.seq = at.seq.max(next.seq);
            }
            Some(at) => *at = next,
            None => {
                self.positions.insert(channel.to_owned(), next);
            }
        }
    }

    fn on_heartbeat(&mut self, text: &str) -> Reaction<'static> {
        match sonic_rs::from_str::<With<Heartbeat>>(text) {
            Ok(With { params }) if params.r#type == "test_request" => Reaction::Answer(self.test()),
            Ok(_) | Err(_) => Reaction::Nothing,
        }
    }

    /// The answer to a heartbeat that asks for one.
    fn test(&mut self) -> String {
        let id = self.request_id();
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"public/test\",\"params\":{{}}}}")
    }

    fn on_subscribed(
        &mut self,
        result: Option<&LazyValue<'_>>,
        resumed: Option<&LazyValue<'_>>,
    ) -> Reaction<'static> {
        let accepted: Vec<String> =
            result.and_then(|result| sonic_rs::from_str(result.as_raw_str()).ok()).unwrap_or_default();
        if accepted.is_empty() {
            return Reaction::Refused(format!("it knows none of {}", self.channels.join(", ")));
        }
        let mut notes = Vec::new();
        for channel in &self.channels {
            // A wildcard may come back as the channels that it stands for.
            if !channel.contains('*') && !accepted.contains(channel) {
                notes.push(format!("{channel} was not subscribed"));
            }
        }
        let resumed: BTreeMap<String, Resumed> =
            resumed.and_then(|resumed| sonic_rs::from_str(resumed.as_raw_str()).ok()).unwrap_or_default();
        let lost: Vec<String> = resumed
            .into_iter()
            .filter(|(_, outcome)| !outcome.recovered)
            .map(|(channel, _)| channel)
            .collect();
        for channel in &lost {
            self.positions.remove(channel);
        }
        match lost.as_slice() {
            [] => {}
            [channel] => notes.push(format!("{channel} begins anew, it could not be resumed")),
            [first, rest @ ..] => {
                notes.push(format!("{first} and {} more begin anew, they could not be resumed", rest.len()));
            }
        }
        Reaction::Subscribed(notes)
    }

    fn request_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

fn reason_of(error: &str) -> String {
    match sonic_rs::from_str::<RpcError>(error) {
        Ok(RpcError { code, message, data }) => match data.and_then(|data| data.reason) {
            Some(reason) => format!("{message} ({code}, {reason})"),
            None => format!("{message} ({code})"),
        },
        Err(_) => error.to_owned(),
    }
}

fn quoted(text: &str) -> String {
    sonic_rs::to_string(text).expect("invariant: any string has a JSON form")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::sbe::generated::Quote;
    use crate::model::decimal::Amount;

    fn session(channels: &[&str]) -> Session {
        of(channels, Encoding::Json)
    }

    fn of(channels: &[&str], encoding: Encoding) -> Session {
        Session::new(&channels.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), encoding)
    }

    fn notification(channel: &str, epoch: u64, seq: u64) -> String {
        format!(
            r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{channel}","data":{{"x":1.50}},"epoch":{epoch},"seq":{seq}}}}}"#
        )
    }

    #[test]
    fn subscribes_and_resumes_what_it_heard() {
        let mut session = session(&["ticker.*.raw", "topic.\"q"]);
        assert_eq!(
            session.subscribe(),
            r#"{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{"channels":["ticker.*.raw","topic.\"q"]}}"#
        );
        session.handle(&notification("ticker.B.raw", 5, 7));
        session.handle(&notification("ticker.A.raw", 5, 3));
        session.handle(&notification("ticker.B.raw", 5, 8));
        assert_eq!(
            session.subscribe(),
            r#"{"jsonrpc":"2.0","id":2,"method":"public/subscribe","params":{"channels":["ticker.*.raw","topic.\"q"],"resume":{"ticker.A.raw":{"epoch":5,"seq":3},"ticker.B.raw":{"epoch":5,"seq":8}}}}"#
        );
    }

    #[test]
    fn names_the_instruments_of_sbe_and_resumes_their_channels() {
        let quote = |instrument_id, seq| {
            let told = Quote {
                epoch: 5,
                seq,
                sending_time: 0,
                event_time: 0,
                instrument_id,
                bid_price: None,
                bid_amount: Amount::ZERO,
                ask_price: None,
                ask_amount: Amount::ZERO,
            };
            let mut message = Vec::new();
            told.encode(&mut message);
            message
        };
        let mut session = of(&["quote.*"], Encoding::Sbe);
        let asked = |id, expired| {
            format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"public/get_instruments","params":{{"expired":{expired}}}}}"#
            )
        };
        assert_eq!(session.begin()[..2], [asked(1, false), asked(2, true)]);
        session.handle(r#"{"id":1,"result":[{"instrument_id":7,"instrument_name":"A"}]}"#);
        assert_eq!(session.handle_binary(&quote(6, 1)), Reaction::Nothing, "asked already");
        session.handle(r#"{"id":2,"result":[{"instrument_id":6,"instrument_name":"GONE"}]}"#);
        let told = session.handle_binary(&quote(7, 3));
        assert!(matches!(told, Reaction::Update(update) if update.channel == "quote.A"), "named");
        let told = session.handle_binary(&quote(6, 2));
        assert!(matches!(told, Reaction::Update(update) if update.channel == "quote.GONE"), "named");
        // One that was listed since: asked for once, however much comes of it meanwhile.
        assert_eq!(session.handle_binary(&quote(8, 1)), Reaction::Answer(asked(4, false)));
        assert_eq!(session.handle_binary(&quote(8, 2)), Reaction::Nothing);
        session.handle(r#"{"id":4,"result":[{"instrument_id":8,"instrument_name":"B"}]}"#);
        let told = session.handle_binary(&quote(8, 3));
        assert!(matches!(told, Reaction::Update(update) if update.channel == "quote.B"), "named");
        // One that was listed and has expired since.
        assert_eq!(session.handle_binary(&quote(9, 1)), Reaction::Answer(asked(5, true)));
        session.handle(r#"{"id":5,"result":[]}"#);
        assert_eq!(session.handle_binary(&quote(9, 2)), Reaction::Answer(asked(6, false)));
        session.handle(r#"{"id":6,"result":[]}"#);
        let begun = session.begin();
        assert!(begun[2].ends_with(
            r#""resume":{"quote.A":{"epoch":5,"seq":3},"quote.B":{"epoch":5,"seq":3},"quote.GONE":{"epoch":5,"seq":2}}}}"#
        ));
    }

    #[test]
    fn hands_out_the_data_as_it_was_received() {
        let text = notification("a", 1, 2);
        let expected = Update { channel: "a".into(), seq: Some(2), data: r#"{"x":1.50}"#.into() };
        assert_eq!(session(&["a"]).handle(&text), Reaction::Update(expected));
    }

    #[test]
    fn counts_what_was_skipped_within_an_epoch() {
        let mut session = session(&["a"]);
        for (epoch, seq) in [(1, 5), (1, 6), (1, 9), (1, 9), (2, 1), (2, 2)] {
            session.handle(&notification("a", epoch, seq));
        }
        assert_eq!(session.totals, Totals { updates: 6, skipped: 2 });
    }

    #[test]
    fn tells_acceptance_from_refusal() {
        let check = |reply: &str, expected: Reaction<'_>| {
            let mut session = session(&["a", "b", "c.*"]);
            session.subscribe();
            assert_eq!(session.handle(reply), expected);
        };
        check(r#"{"jsonrpc":"2.0","id":1,"result":["a","b","c.x"],"usIn":1}"#, Reaction::Subscribed(vec![]));
        check(
            r#"{"id":1,"result":["a"],"resumed":{"a":{"recovered":true}}}"#,
            Reaction::Subscribed(vec!["b was not subscribed".to_owned()]),
        );
        check(r#"{"id":1,"result":[]}"#, Reaction::Refused("it knows none of a, b, c.*".to_owned()));
        check(
            r#"{"id":1,"error":{"code":-32602,"message":"Invalid params","data":{"reason":"bad","param":"channels"}}}"#,
            Reaction::Refused("Invalid params (-32602, bad)".to_owned()),
        );
        check(
            r#"{"id":null,"error":{"code":-32700,"message":"no"}}"#,
            Reaction::Refused("no (-32700)".to_owned()),
        );
        check(r#"{"id":9,"result":"ok"}"#, Reaction::Nothing);
    }

    #[test]
    fn begins_anew_where_the_server_could_not_resume() {
        let mut session = session(&["a"]);
        session.handle(&notification("a", 1, 5));
        session.subscribe();
        let reply = r#"{"id":1,"result":["a"],"resumed":{"a":{"recovered":false}}}"#;
        assert!(matches!(session.handle(reply), Reaction::Subscribed(notes) if notes.len() == 1));
        session.handle(&notification("a", 1, 50));
        assert_eq!(session.totals.skipped, 0);
    }

    #[test]
    fn answers_a_heartbeats_test_request() {
        let mut session = session(&["a"]);
        let test_request = r#"{"method":"heartbeat","params":{"type":"test_request"}}"#;
        let answer = r#"{"jsonrpc":"2.0","id":1,"method":"public/test","params":{}}"#;
        assert_eq!(session.handle(test_request), Reaction::Answer(answer.to_owned()));
        assert_eq!(
            session.handle(r#"{"method":"heartbeat","params":{"type":"heartbeat"}}"#),
            Reaction::Nothing
        );
    }

    #[test]
    fn passes_over_what_it_does_not_know() {
        for text in [
            "",
            "[]",
            "{",
            "null",
            r#"{"method":"subscription"}"#,
            r#"{"method":"subscription","params":[1]}"#,
        ] {
            assert_eq!(session(&["a"]).handle(text), Reaction::Nothing, "{text}");
        }
    }
}
