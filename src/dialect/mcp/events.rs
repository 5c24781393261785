//! What one session's clients are sent over Streamable HTTP: streams of server-sent events, each of which can be read on after it
//! was cut. PURE. Home: the control thread.
//!
//! Invariants: an event's number is one more than that of the one before it in its stream; what is kept of all streams of a session
//! is at most `MCP_EVENTS_KEPT_MAX` events and `MCP_EVENTS_KEPT_BYTES_MAX` bytes, the newest.

use std::collections::{BTreeMap, VecDeque};

use crate::limits;

/// A stream of a session: that of one POST, or the one that belongs to none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u64);

impl StreamId {
    /// What belongs to no request.
    pub const STANDALONE: StreamId = StreamId(0);
}

#[derive(Debug, Default)]
pub struct EventLog {
    streams: BTreeMap<StreamId, Stream>,
    /// The oldest first.
    kept: VecDeque<Kept>,
    kept_bytes: usize,
}

#[derive(Debug, Default)]
struct Stream {
    /// The number of its newest event; 0 is the one that opens it.
    newest: u64,
    /// Answers that it still owes.
    owed: usize,
}

#[derive(Debug)]
struct Kept {
    stream: StreamId,
    number: u64,
    event: String,
}

impl EventLog {
    /// Begins the stream of a POST that is owed so many answers.
    pub fn open(&mut self, stream: StreamId, answers: usize) {
        self.streams.insert(stream, Stream { newest: 0, owed: answers });
    }

    /// The event that opens a stream or what is read of it on, so that its reader can come back: an id, and when to come.
    #[must_use]
    pub fn opening(&self, stream: StreamId) -> String {
        const RETRY_MS: u64 = 1000;
        let newest = self.streams.get(&stream).map_or(0, |stream| stream.newest);
        format!("id: {}-{newest}\nretry: {RETRY_MS}\ndata: \n\n", stream.0)
    }

    /// A message of a stream, as an event; `text` is one line.
    pub fn push(&mut self, stream: StreamId, text: &str, is_answer: bool) -> String {
        let known = self.streams.entry(stream).or_default();
        known.newest += 1;
        known.owed = known.owed.saturating_sub(usize::from(is_answer));
        let event = format!("id: {}-{}\ndata: {text}\n\n", stream.0, known.newest);
        self.kept_bytes += event.len();
        self.kept.push_back(Kept { stream, number: known.newest, event: event.clone() });
        while self.kept.len() > limits::MCP_EVENTS_KEPT_MAX
            || (self.kept_bytes > limits::MCP_EVENTS_KEPT_BYTES_MAX && self.kept.len() > 1)
        {
            self.drop_oldest();
        }
        event
    }

    /// Bytes of the events that are kept.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Keeps none of those that there are: nobody can read on from before.
    pub fn drop_kept(&mut self) {
        while !self.kept.is_empty() {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(Kept { stream, event, .. }) = self.kept.pop_front() else { return };
        self.kept_bytes -= event.len();
        let is_last = self.kept.iter().all(|kept| kept.stream != stream);
        if is_last && self.is_over(stream) {
            self.streams.remove(&stream);
        }
    }

    /// One answer less is owed.
    pub fn cancelled(&mut self, stream: StreamId) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.owed = stream.owed.saturating_sub(1);
        }
    }

    /// Whether all of its answers were pushed. The standalone one never is.
    #[must_use]
    pub fn is_over(&self, stream: StreamId) -> bool {
        stream != StreamId::STANDALONE && self.streams.get(&stream).is_none_or(|stream| stream.owed == 0)
    }

    /// It was answered otherwise.
    pub fn forget(&mut self, stream: StreamId) {
        self.streams.remove(&stream);
    }

    /// The stream that an event belongs to, and the events behind it; none where that stream is not known, or where some of them
    /// are kept no more.
    #[must_use]
    pub fn resume(&self, last_event_id: &str) -> Option<(StreamId, Vec<&str>)> {
        let (stream, number) = last_event_id.split_once('-')?;
        let (stream, number) = (StreamId(stream.parse().ok()?), number.parse::<u64>().ok()?);
        let newest = self.streams.get(&stream)?.newest;
        let missed: Vec<&str> = self
            .kept
            .iter()
            .filter(|kept| kept.stream == stream && kept.number > number)
            .map(|kept| &*kept.event)
            .collect();
        (missed.len() as u64 == newest.checked_sub(number)?).then_some((stream, missed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_on_where_it_was_cut() {
        let mut log = EventLog::default();
        log.open(StreamId(7), 1);
        assert_eq!(log.opening(StreamId(7)), "id: 7-0\nretry: 1000\ndata: \n\n");
        assert_eq!(log.push(StreamId(7), "a", false), "id: 7-1\ndata: a\n\n");
        log.push(StreamId::STANDALONE, "other", false);
        assert!(!log.is_over(StreamId(7)));
        log.push(StreamId(7), "b", true);
        assert!(log.is_over(StreamId(7)) && !log.is_over(StreamId::STANDALONE));
        let check = |id: &str, expected: Option<&[&str]>| {
            let told = log.resume(id).map(|(_, events)| events.concat());
            assert_eq!(told, expected.map(<[&str]>::concat), "{id}");
        };
        check("7-0", Some(&["id: 7-1\ndata: a\n\n", "id: 7-2\ndata: b\n\n"]));
        check("7-1", Some(&["id: 7-2\ndata: b\n\n"]));
        check("7-2", Some(&[]));
        check("7-3", None);
        check("8-0", None);
        check("0-0", Some(&["id: 0-1\ndata: other\n\n"]));
        for nonsense in ["", "7", "7-", "-1", "x-y", "7-99999999999999999999"] {
            check(nonsense, None);
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_a_hole_is_not_hidden() {
        let mut log = EventLog::default();
        log.open(StreamId(1), 1);
        log.push(StreamId(1), "answer", true);
        for _ in 0..limits::MCP_EVENTS_KEPT_MAX {
            log.push(StreamId::STANDALONE, "x", false);
        }
        assert!(log.resume("1-0").is_none(), "it is over and nothing of it is kept");
        assert!(!log.streams.contains_key(&StreamId(1)));
        log.push(StreamId::STANDALONE, "x", false);
        assert!(log.resume("0-0").is_none() && log.resume("0-1").is_some());
        let long = "x".repeat(limits::MCP_EVENTS_KEPT_BYTES_MAX);
        log.push(StreamId::STANDALONE, &long, false);
        assert_eq!(log.kept.len(), 1);
    }
}
