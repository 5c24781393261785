//! What a child process is told and says, in lines: requests with numbers of our own, answers, and lines for the log. PURE.
//!
//! Invariants: a request that was begun has one outcome at most: the first answer with its number, or what `cancel` and `end` say; a
//! line is held up to its bound only, and what is beyond is counted and dropped.

use std::collections::BTreeMap;

use crate::backend::codec::{self, Garbage, Message};
use crate::limits;
use crate::model::call::{CallFailure, CallKey, CallOutcome};
use crate::model::invalidation::{Methods, Paced};

/// One child's calls.
#[derive(Debug)]
pub struct Conversation {
    next_id: u64,
    waiting: Waiting,
    line: Line,
    /// Methods whose results hold no more.
    invalidated: Paced,
    counters: ConversationCounters,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConversationCounters {
    pub answers_total: u64,
    /// Answers that nobody waits for any more, or that came twice.
    pub late_total: u64,
    /// Lines that are no messages, or name methods that can be none.
    pub garbage_total: u64,
    /// Requests and notifications of the child's own that mean nothing here.
    pub unasked_total: u64,
}

/// A call as it is written.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// One valid JSON object or array.
    pub params: Option<&'a [u8]>,
    pub trace_parent: Option<&'a str>,
}

/// What a child tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News<'a> {
    /// One valid JSON value; the call goes on.
    Progress(CallKey, &'a [u8]),
    Outcome(CallKey, CallOutcome<'a>),
    /// Results of these methods hold no more.
    Invalidated(Methods),
}

/// The child writes a line without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endless;

impl Conversation {
    /// `line_bytes_max` bounds an answer.
    #[must_use]
    pub fn new(line_bytes_max: usize) -> Conversation {
        Conversation {
            next_id: 1,
            waiting: Waiting::default(),
            line: Line::new(line_bytes_max),
            invalidated: Paced::default(),
            counters: ConversationCounters::default(),
        }
    }

    /// Appends a call's line.
    pub fn begin(&mut self, key: Option<CallKey>, call: &Request<'_>, out: &mut Vec<u8>) {
        let id = key.map(|key| {
            let id = self.next_id;
            self.next_id += 1;
            self.waiting.insert(id, key);
            id
        });
        codec::write_request(out, id, call.method, call.params, call.trace_parent);
        out.push(b'\n');
    }

    /// Nobody waits for that call any more: appends that, if it was under way.
    pub fn cancel(&mut self, key: CallKey, out: &mut Vec<u8>) {
        if let Some(id) = self.waiting.take_key(key) {
            codec::write_cancel(out, id);
            out.push(b'\n');
        }
    }

    /// Takes what was read, and tells what became of calls, and what the child says besides. Appends answers to what the child asks, as long as it reads.
    ///
    /// # Errors
    /// A line is longer than anything that is waited for: the child is to be ended.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        now_ns: u64,
        out: &mut Vec<u8>,
        mut tell: impl FnMut(News<'_>),
    ) -> Result<(), Endless> {
        let Conversation { waiting, line, invalidated, counters, .. } = self;
        line.receive(bytes, |line, dropped_bytes| {
            let (key, outcome) = if dropped_bytes > 0 {
                let key = match codec::id_of_beginning(line) {
                    Some(id) => waiting.take(id),
                    None => waiting.take_only(),
                };
                (key, CallOutcome::Failed(CallFailure::TooLong))
            } else {
                match codec::read(line) {
                    Ok(Message::Answer { id, outcome }) => (waiting.take(id), outcome),
                    Ok(Message::Garbled { id }) => {
                        (waiting.take(id), CallOutcome::Failed(CallFailure::Garbled))
                    }
                    Ok(Message::Progress { id, value }) => {
                        waiting.keys.get(&id).iter().for_each(|key| tell(News::Progress(**key, value)));
                        return;
                    }
                    Ok(Message::Invalidated { methods }) => {
                        match codec::read_methods(methods) {
                            Some(methods) => invalidated.add(methods),
                            None => counters.garbage_total += 1,
                        }
                        return invalidated
                            .poll(now_ns)
                            .into_iter()
                            .for_each(|all| tell(News::Invalidated(all)));
                    }
                    Ok(Message::Asked { id }) => {
                        counters.unasked_total += 1;
                        if out.len() < limits::CHILD_UNREAD_BYTES_MAX {
                            codec::write_not_found(out, id);
                            out.push(b'\n');
                        }
                        return;
                    }
                    Ok(Message::Told) => {
                        counters.unasked_total += 1;
                        return;
                    }
                    Err(Garbage) if line.trim_ascii().is_empty() => return,
                    Ok(Message::Stray) | Err(Garbage) => {
                        counters.garbage_total += 1;
                        let Some(key) = waiting.take_only() else { return };
                        (Some(key), CallOutcome::Failed(CallFailure::Garbled))
                    }
                }
            };
            match key {
                Some(key) => {
                    counters.answers_total += 1;
                    tell(News::Outcome(key, outcome));
                }
                None => counters.late_total += 1,
            }
        });
        if line.dropped_bytes > limits::CHILD_LINE_BYTES_MAX { Err(Endless) } else { Ok(()) }
    }

    /// Methods whose results hold no more since longer than that is told at a time.
    pub fn poll_invalidated(&mut self, now_ns: u64) -> Option<Methods> {
        self.invalidated.poll(now_ns)
    }

    /// When [`Conversation::poll_invalidated`] has some.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        self.invalidated.poll_timeout()
    }

    /// The child has ended: those that have no answer.
    pub fn end(&mut self) -> impl Iterator<Item = CallKey> {
        std::mem::take(&mut self.waiting).keys.into_values()
    }

    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.waiting.keys.len()
    }

    #[must_use]
    pub const fn counters(&self) -> ConversationCounters {
        self.counters
    }
}

/// Calls without an answer: a client that leaves with many of them holds up nobody.
#[derive(Debug, Default)]
struct Waiting {
    keys: BTreeMap<u64, CallKey>,
    ids: BTreeMap<CallKey, u64>,
}

impl Waiting {
    fn insert(&mut self, id: u64, key: CallKey) {
        self.keys.insert(id, key);
        self.ids.insert(key, id);
    }

    fn take(&mut self, id: u64) -> Option<CallKey> {
        let key = self.keys.remove(&id)?;
        self.ids.remove(&key);
        Some(key)
    }

    fn take_key(&mut self, key: CallKey) -> Option<u64> {
        let id = self.ids.remove(&key)?;
        self.keys.remove(&id);
        Some(id)
    }

    /// Whose a line is that does not say so: where one call alone waits, its own.
    fn take_only(&mut self) -> Option<CallKey> {
        let id = *self.keys.keys().next().filter(|_| self.keys.len() == 1)?;
        self.take(id)
    }
}

/// Lines of a stream, each up to a bound.
#[derive(Debug)]
pub struct Line {
    held: Vec<u8>,
    bytes_max: usize,
    /// Of the line that has begun, what is beyond the bound.
    dropped_bytes: usize,
}

impl Line {
    #[must_use]
    pub const fn new(bytes_max: usize) -> Line {
        Line { held: Vec::new(), bytes_max, dropped_bytes: 0 }
    }

    /// Takes bytes, and tells each line that ends in them, with how many bytes behind it were dropped.
    pub fn receive(&mut self, bytes: &[u8], mut tell: impl FnMut(&[u8], usize)) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, behind) = (&rest[..end], &rest[end + 1..]);
            rest = behind;
            if self.held.is_empty() && line.len() <= self.bytes_max {
                tell(line, 0);
                continue;
            }
            self.hold(line);
            tell(&self.held, self.dropped_bytes);
            self.held.clear();
            self.dropped_bytes = 0;
            // A long line is an exception: its room is not kept.
            self.held.shrink_to(limits::CHILD_LINE_BYTES_KEPT);
        }
        self.hold(rest);
    }

    /// Of the line that has begun, how much is beyond the bound.
    #[must_use]
    pub const fn dropped_bytes(&self) -> usize {
        self.dropped_bytes
    }

    /// What has begun and not ended, at the end of the stream.
    pub fn end(&mut self, tell: impl FnOnce(&[u8], usize)) {
        if !self.held.is_empty() {
            tell(&self.held, self.dropped_bytes);
        }
        *self = Line::new(self.bytes_max);
    }

    fn hold(&mut self, bytes: &[u8]) {
        let total = self.held.len() + self.dropped_bytes + bytes.len();
        if total <= self.bytes_max {
            return self.held.extend_from_slice(bytes);
        }
        // Of one that is too long only the beginning is looked at.
        let kept = limits::CHILD_LINE_BYTES_KEPT.min(self.bytes_max);
        let more = bytes.len().min(kept.saturating_sub(self.held.len()));
        self.held.extend_from_slice(&bytes[..more]);
        self.held.truncate(kept);
        self.held.shrink_to(kept);
        self.dropped_bytes = total - self.held.len();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::ids::{HomeId, Ticket};

    const LINE_BYTES_MAX: usize = 4096;

    fn key(slot: u32) -> CallKey {
        CallKey { home: HomeId(0), ticket: Ticket { slot, generation: 1 } }
    }

    fn request<'a>(method: &'a str, params: Option<&'a [u8]>) -> Request<'a> {
        Request { method, params, trace_parent: None }
    }

    /// A conversation in which so many calls are under way, numbered from 1.
    fn conversation(calls: u32) -> Conversation {
        let mut conversation = Conversation::new(LINE_BYTES_MAX);
        for slot in 1..=calls {
            conversation.begin(Some(key(slot)), &request("a/b", None), &mut Vec::new());
        }
        conversation
    }

    /// What comes of these bytes: the call's number and its outcome.
    fn told(conversation: &mut Conversation, bytes: &[u8]) -> Vec<(u32, String)> {
        let mut told = Vec::new();
        let outcome = conversation.receive(bytes, 0, &mut Vec::new(), |news| {
            let text = |value| String::from_utf8_lossy(value).into_owned();
            let (slot, text) = match news {
                News::Progress(key, value) => (key.ticket.slot, format!("so far {}", text(value))),
                News::Outcome(key, CallOutcome::Result(value) | CallOutcome::Error(value)) => {
                    (key.ticket.slot, text(value))
                }
                News::Outcome(key, CallOutcome::Failed(failure)) => (key.ticket.slot, format!("{failure:?}")),
                News::Invalidated(methods) => (0, format!("{:?}", methods.patterns())),
            };
            told.push((slot, text));
        });
        assert_eq!(outcome, Ok(()));
        told
    }

    fn one(slot: u32, text: &str) -> Vec<(u32, String)> {
        vec![(slot, text.to_owned())]
    }

    #[test]
    fn calls_are_lines_with_numbers_of_our_own() {
        let (mut conversation, mut out) = (conversation(0), Vec::new());
        conversation.begin(Some(key(9)), &request("a/b", Some(b"[1]")), &mut out);
        conversation.begin(None, &request("a/c", None), &mut out);
        conversation.begin(Some(key(8)), &request("a/b", None), &mut out);
        let lines = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a/b\",\"params\":[1]}\n\
                     {\"jsonrpc\":\"2.0\",\"method\":\"a/c\"}\n{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"a/b\"}\n";
        assert_eq!(String::from_utf8(out).unwrap(), lines);
    }

    #[test]
    fn an_answer_goes_to_its_call_and_a_second_one_to_nobody() {
        let mut conversation = conversation(2);
        assert_eq!(told(&mut conversation, b"{\"id\":2,\"result\":5}\n"), one(2, "5"));
        assert_eq!(told(&mut conversation, b"{\"id\":2,\"result\":6}\n{\"id\":1,"), []);
        assert_eq!(told(&mut conversation, b"\"result\":7}\n"), one(1, "7"));
        let counters = conversation.counters();
        assert_eq!((counters.answers_total, counters.late_total), (2, 1));
    }

    #[test]
    fn what_is_cancelled_is_answered_late_and_what_is_left_at_the_end_is_told() {
        let mut conversation = conversation(3);
        let mut out = Vec::new();
        conversation.cancel(key(1), &mut out);
        conversation.cancel(key(1), &mut out);
        assert_eq!(out, b"{\"jsonrpc\":\"2.0\",\"method\":\"$/cancelRequest\",\"params\":{\"id\":1}}\n");
        assert_eq!(told(&mut conversation, b"{\"id\":1,\"result\":5}\n"), []);
        assert_eq!(conversation.end().collect::<Vec<_>>(), [key(2), key(3)]);
        assert_eq!(conversation.waiting_count(), 0);
    }

    #[test]
    fn what_a_call_has_come_to_is_told_and_what_a_child_asks_is_refused() {
        let mut conversation = conversation(2);
        let progress = b"{\"method\":\"$/progress\",\"params\":{\"token\":2,\"value\":40}}\n";
        assert_eq!(told(&mut conversation, progress), one(2, "so far 40"));
        let mut out = Vec::new();
        conversation.receive(b"{\"id\":\"x\",\"method\":\"ask\"}\n", 0, &mut out, |_| panic!()).unwrap();
        let refused = "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}\n";
        assert_eq!(String::from_utf8(out).unwrap(), refused);
        assert_eq!(conversation.counters().unasked_total, 1);
        assert_eq!(conversation.waiting_count(), 2);
    }

    #[test]
    fn a_child_says_which_results_hold_no_more_where_it_stands_between_its_answers() {
        let mut conversation = conversation(2);
        let line = |methods: &str| {
            format!("{{\"method\":\"$/invalidateCache\",\"params\":{{\"methods\":{methods}}}}}\n")
        };
        let said = ["{\"id\":1,\"result\":1}\n", &line("[\"a/b\"]"), "{\"id\":2,\"result\":2}\n"].concat();
        let expected = [(1, "1"), (0, "[\"a/b\"]"), (2, "2")].map(|(slot, text)| (slot, text.to_owned()));
        assert_eq!(told(&mut conversation, said.as_bytes()), expected);
        // What comes faster than it is told is told as one.
        assert_eq!(told(&mut conversation, [line("[\"a/x\"]"), line("[\"a/y\"]")].concat().as_bytes()), []);
        assert_eq!(told(&mut conversation, line("[1]").as_bytes()), []);
        let due_ns = conversation.poll_timeout().unwrap();
        let methods = conversation.poll_invalidated(due_ns).unwrap();
        assert_eq!(methods.patterns(), ["a/x".into(), "a/y".into()]);
        assert_eq!((conversation.poll_timeout(), conversation.counters().garbage_total), (None, 1));
    }

    #[test]
    fn garbage_is_one_calls_only_where_one_alone_waits() {
        let mut conversation = conversation(2);
        assert_eq!(told(&mut conversation, b"hello\n\n \n{\"method\":\"log\"}\n"), []);
        assert_eq!(told(&mut conversation, b"{\"id\":2}\n"), one(2, "Garbled"));
        assert_eq!(told(&mut conversation, b"oops\n"), one(1, "Garbled"));
        let counters = conversation.counters();
        assert_eq!((counters.garbage_total, counters.unasked_total), (2, 1));
    }

    #[test]
    fn an_answer_that_is_too_long_is_its_calls_and_the_next_line_is_read() {
        let mut conversation = conversation(2);
        let long = format!("{{\"id\":2,\"result\":\"{}\"}}\n{{\"id\":1,\"result\":1}}\n", "x".repeat(10_000));
        let mut all = Vec::new();
        for part in long.as_bytes().chunks(1000) {
            all.extend(told(&mut conversation, part));
        }
        assert_eq!(all, [(2, "TooLong".to_owned()), (1, "1".to_owned())]);
        assert!(conversation.line.held.capacity() <= LINE_BYTES_MAX);
    }

    #[test]
    fn a_line_without_an_end_is_given_up() {
        let mut conversation = conversation(1);
        let part = vec![b'x'; 1 << 20];
        let rounds = (0..100)
            .take_while(|_| conversation.receive(&part, 0, &mut Vec::new(), |_| panic!()).is_ok())
            .count();
        assert_eq!(rounds, limits::CHILD_LINE_BYTES_MAX / part.len());
        assert!(conversation.line.held.capacity() <= LINE_BYTES_MAX);
    }

    #[test]
    fn lines_for_the_log_are_cut_at_their_bound() {
        let (mut line, mut lines) = (Line::new(4), Vec::new());
        for part in [&b"ab\nabcd"[..], b"\nabcdef\nx", b"yz\nlast"] {
            line.receive(part, |text, dropped| {
                lines.push((String::from_utf8_lossy(text).into_owned(), dropped))
            });
        }
        line.end(|text, dropped| lines.push((String::from_utf8_lossy(text).into_owned(), dropped)));
        let expected = [("ab", 0), ("abcd", 0), ("abcd", 2), ("xyz", 0), ("last", 0)];
        assert_eq!(lines, expected.map(|(text, dropped)| (text.to_owned(), dropped)));
    }

    proptest! {
        #[test]
        fn any_split_tells_the_same(
            lines in prop::collection::vec(prop_oneof![
                (0_u32..6).prop_map(|id| format!("{{\"id\":{id},\"result\":{id}}}")),
                (0_u32..6).prop_map(|id| format!("{{\"id\":{id},\"result\":\"{}\"}}", "y".repeat(5000))),
                "[a-z{}\"]{0,40}",
            ], 0..12),
            size in 1_usize..300,
        ) {
            let bytes: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
            let (mut whole, mut split) = (conversation(5), conversation(5));
            let expected = told(&mut whole, &bytes);
            let parts: Vec<(u32, String)> = bytes.chunks(size).flat_map(|part| told(&mut split, part)).collect();
            prop_assert_eq!(parts, expected);
            prop_assert_eq!(split.counters(), whole.counters());
        }
    }
}
