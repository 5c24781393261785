//! Server-sent events as they are received (WHATWG HTML, 9.2), in any pieces. PURE. Home: the control thread.
//!
//! Invariant: what is held of an event that is not whole is at most `MCP_MESSAGE_BYTES_MAX` bytes and a line's rest.

use crate::limits;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its `event` field; none stands for `message`.
    pub name: Option<String>,
    pub data: String,
}

/// An event is longer than may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

#[derive(Debug, Default)]
pub struct EventParser {
    /// Of a line that is not whole.
    line: Vec<u8>,
    has_ended_by_return: bool,
    has_begun: bool,
    data: String,
    has_data: bool,
    name: Option<String>,
    last_id: Option<String>,
    retry_ms: Option<u64>,
}

impl EventParser {
    /// Takes what was received and gives the events that it completes.
    ///
    /// # Errors
    /// An event is too long; nothing more can be read.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            if std::mem::take(&mut self.has_ended_by_return) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = memchr::memchr2(b'\n', b'\r', rest);
            let part = &rest[..end.unwrap_or(rest.len())];
            if self.line.len() + self.data.len() + part.len() > limits::MCP_MESSAGE_BYTES_MAX {
                return Err(TooLong);
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else { break };
            self.has_ended_by_return = rest[end] == b'\r';
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            events.extend(self.take_line(&line));
        }
        Ok(events)
    }

    /// The id of the last event that was whole, by which the stream can be read on.
    #[must_use]
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// After how long the stream is to be read on, if it was said.
    #[must_use]
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// The stream was cut: what was not whole is dropped, what it said of coming back is kept.
    pub fn cut(&mut self) {
        let (last_id, retry_ms) = (self.last_id.take(), self.retry_ms);
        *self = EventParser { last_id, retry_ms, ..EventParser::default() };
    }

    fn take_line(&mut self, line: &[u8]) -> Option<Event> {
        let text = String::from_utf8_lossy(line);
        let text = if self.has_begun { &*text } else { text.strip_prefix('\u{feff}').unwrap_or(&text) };
        self.has_begun = true;
        if text.is_empty() {
            let (data, name) = (std::mem::take(&mut self.data), self.name.take());
            return std::mem::take(&mut self.has_data).then_some(Event { name, data });
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "event" => self.name = Some(value.to_owned()),
            "id" if !value.contains('\0') && value.len() <= limits::MCP_CURSOR_BYTES_MAX => {
                self.last_id = Some(value.to_owned());
            }
            "retry" => self.retry_ms = value.parse().ok().or(self.retry_ms),
            // A comment, or what later revisions add.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] =
        "\u{feff}: hello\nid: 7-0\nretry: 250\ndata:\n\nevent: message\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\n\
        unknown: x\rdata:é\rid: 7-2\r\rdata: unfinished"
            .as_bytes();

    fn expected() -> Vec<Event> {
        vec![
            Event::default(),
            Event { name: Some("message".to_owned()), data: "{\"a\":\n1}".to_owned() },
            Event { name: None, data: "é".to_owned() },
        ]
    }

    #[test]
    fn events_are_the_same_split_anywhere() {
        for split in 0..=STREAM.len() {
            let mut parser = EventParser::default();
            let mut events = parser.push(&STREAM[..split]).unwrap();
            events.extend(parser.push(&STREAM[split..]).unwrap());
            assert_eq!(events, expected(), "split at {split}");
            assert_eq!((parser.last_id(), parser.retry_ms()), (Some("7-2"), Some(250)));
        }
        let mut parser = EventParser::default();
        let events: Vec<Event> = STREAM.iter().flat_map(|byte| parser.push(&[*byte]).unwrap()).collect();
        assert_eq!(events, expected());
    }

    #[test]
    fn what_was_cut_is_dropped_but_for_where_it_was() {
        let mut parser = EventParser::default();
        parser.push(b"id: 4\ndata: a\n\ndata: b\nda").unwrap();
        parser.cut();
        assert_eq!(parser.last_id(), Some("4"));
        let events = parser.push(b"data: c\n\n").unwrap();
        assert_eq!(events, [Event { name: None, data: "c".to_owned() }]);
    }

    #[test]
    fn an_event_without_an_end_has_one() {
        let mut parser = EventParser::default();
        let mebibyte = [b'x'; 1 << 20];
        let taken = (0..).find(|_| parser.push(&mebibyte).is_err());
        assert_eq!(taken, Some(limits::MCP_MESSAGE_BYTES_MAX >> 20));
        let mut parser = EventParser::default();
        let line = [b"data: ".as_slice(), &mebibyte, b"\n"].concat();
        assert!((0..9).any(|_| parser.push(&line).is_err()));
    }
}
