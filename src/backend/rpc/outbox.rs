//! What waits to be sent on a link: requests in lines, or gathered in JSON-RPC arrays. PURE. Home: one link.
//!
//! Invariants: bytes leave in the order in which they came; an array is sent only when it is closed; a request that was gathered alone
//! is sent as an object, for whoever takes no arrays from who sends one at a time. Places are counted over the life of a connection.

/// How requests are gathered: an array is closed by whatever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Requests of one array at most, at least 2.
    pub count_max: u32,
    /// Bytes at which an array is closed.
    pub bytes_max: u32,
    /// How long the first request of an array waits for others, in nanoseconds; 0: till the end of the turn.
    pub wait_ns: u64,
    /// A request waits for others only while an array before is not answered: where the backend has nothing to do, nobody waits.
    pub is_adaptive: bool,
}

impl Batching {
    /// Whether an array of so many requests and bytes takes no more.
    #[must_use]
    pub const fn is_full(self, count: usize, bytes: usize) -> bool {
        count >= self.count_max as usize || bytes >= self.bytes_max as usize
    }

    /// Whether an array that may be gathered until `due_ns` is sent now. `is_quiet`: nothing that was sent before is unanswered.
    #[must_use]
    pub const fn is_ripe(self, due_ns: u64, now_ns: u64, is_quiet: bool) -> bool {
        due_ns <= now_ns || (self.is_adaptive && is_quiet)
    }
}

/// Sent bytes that are kept before the buffer is moved together.
const SENT_KEPT_BYTES: usize = 64 * 1024;

/// An array that is gathered.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// The place of its bracket, a space until there is a second request.
    at: usize,
    count: u32,
    due_ns: u64,
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    /// Of `bytes`, those that were handed to the ring.
    handed: usize,
    /// The place of the first of `bytes`.
    base: u64,
    open: Option<Open>,
    /// Arrays that were closed since somebody asked.
    batches: u64,
}

/// Where a request lies; bytes before it may be of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub begin: u64,
    pub length: u32,
}

impl Outbox {
    /// Puts what `write` appends, one JSON object, behind the rest.
    pub fn put(&mut self, batching: Option<Batching>, now_ns: u64, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        match (&mut self.open, batching) {
            (Some(open), _) => {
                self.bytes[open.at] = b'[';
                open.count += 1;
                self.bytes.push(b',');
            }
            (None, Some(Batching { wait_ns, .. })) => {
                let due_ns = now_ns.saturating_add(wait_ns);
                self.open = Some(Open { at: self.bytes.len(), count: 1, due_ns });
                self.bytes.push(b' ');
            }
            (None, None) => {}
        }
        let begin = self.bytes.len();
        write(&mut self.bytes);
        let length =
            u32::try_from(self.bytes.len() - begin).expect("invariant: a request is bounded by its message");
        match (self.open, batching) {
            (Some(open), Some(batching)) => {
                if batching.is_full(open.count as usize, self.bytes.len() - open.at) {
                    self.close();
                }
            }
            (Some(_), None) => self.close(),
            (None, _) => self.bytes.push(b'\n'),
        }
        Span { begin: self.base + begin as u64, length }
    }

    /// Closes the array that is gathered, if it is its time, or nothing is worth waiting for.
    pub fn close_due(&mut self, now_ns: u64, batching: Option<Batching>, is_quiet: bool) {
        let Some(open) = self.open else { return };
        if batching.is_none_or(|batching| batching.is_ripe(open.due_ns, now_ns, is_quiet)) {
            self.close();
        }
    }

    /// When the array that is gathered is to be closed.
    #[must_use]
    pub fn due_ns(&self) -> Option<u64> {
        self.open.map(|open| open.due_ns)
    }

    /// Requests of the array that is gathered.
    #[must_use]
    pub fn gathered(&self) -> u32 {
        self.open.map_or(0, |open| open.count)
    }

    /// What can be sent now.
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        let end = self.open.map_or(self.bytes.len(), |open| open.at);
        &self.bytes[self.handed..end]
    }

    /// Bytes that wait, those of an open array included.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.bytes.len() - self.handed
    }

    /// So many of the unsent bytes are on their way.
    pub fn handed(&mut self, bytes: usize) {
        self.handed += bytes;
        if self.handed < self.bytes.len() && self.handed < SENT_KEPT_BYTES {
            return;
        }
        self.bytes.drain(..self.handed);
        self.base += self.handed as u64;
        if let Some(open) = &mut self.open {
            open.at -= self.handed;
        }
        self.handed = 0;
    }

    /// The bytes of a request of which nothing was handed to the ring yet; `None` if some of it was.
    #[must_use]
    pub fn unsent_at(&self, span: Span) -> Option<&[u8]> {
        let begin = usize::try_from(span.begin.checked_sub(self.base)?).ok()?;
        (begin >= self.handed).then(|| &self.bytes[begin..begin + span.length as usize])
    }

    /// Whether something of a request was handed to the ring.
    #[must_use]
    pub const fn is_handed(&self, span: Span) -> bool {
        span.begin < self.base + self.handed as u64
    }

    /// Arrays of two or more requests that were closed since it was last asked.
    pub fn take_batches(&mut self) -> u64 {
        std::mem::take(&mut self.batches)
    }

    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        if open.count > 1 {
            self.bytes.push(b']');
            self.batches += 1;
        }
        self.bytes.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCHING: Batching = Batching { count_max: 3, bytes_max: 1000, wait_ns: 50, is_adaptive: false };

    fn put(outbox: &mut Outbox, batching: Option<Batching>, text: &str) -> Span {
        outbox.put(batching, 0, |out| out.extend_from_slice(text.as_bytes()))
    }

    fn sent(outbox: &mut Outbox) -> String {
        let text = String::from_utf8(outbox.unsent().to_vec()).unwrap();
        outbox.handed(text.len());
        text
    }

    #[test]
    fn each_request_is_a_line_and_many_lines_are_one_send() {
        let mut outbox = Outbox::default();
        put(&mut outbox, None, "{1}");
        put(&mut outbox, None, "{2}");
        assert_eq!(sent(&mut outbox), "{1}\n{2}\n");
        assert_eq!((outbox.waiting_bytes(), outbox.take_batches()), (0, 0));
    }

    #[test]
    fn an_array_is_closed_by_its_count_its_bytes_or_its_time() {
        let mut outbox = Outbox::default();
        for text in ["{1}", "{2}", "{3}", "{4}"] {
            put(&mut outbox, Some(BATCHING), text);
        }
        assert_eq!(sent(&mut outbox), "[{1},{2},{3}]\n");
        put(&mut outbox, Some(BATCHING), "{5}");
        outbox.close_due(49, Some(BATCHING), true);
        assert_eq!((sent(&mut outbox).as_str(), outbox.due_ns()), ("", Some(50)));
        outbox.close_due(50, Some(BATCHING), true);
        assert_eq!(sent(&mut outbox), "[{4},{5}]\n");
        let short = Batching { bytes_max: 8, ..BATCHING };
        put(&mut outbox, Some(short), "{6}");
        put(&mut outbox, Some(short), "{7}");
        assert_eq!((sent(&mut outbox).as_str(), outbox.take_batches()), ("[{6},{7}]\n", 3));
    }

    #[test]
    fn a_request_that_was_gathered_alone_is_an_object() {
        let mut outbox = Outbox::default();
        put(&mut outbox, Some(BATCHING), "{1}");
        outbox.close_due(50, Some(BATCHING), false);
        assert_eq!(sent(&mut outbox), " {1}\n");
    }

    #[test]
    fn adaptive_nobody_waits_while_the_backend_has_nothing_to_do() {
        let adaptive = Some(Batching { is_adaptive: true, ..BATCHING });
        let mut outbox = Outbox::default();
        put(&mut outbox, adaptive, "{1}");
        outbox.close_due(1, adaptive, true);
        assert_eq!(sent(&mut outbox), " {1}\n");
        put(&mut outbox, adaptive, "{2}");
        outbox.close_due(1, adaptive, false);
        assert_eq!(sent(&mut outbox), "");
    }

    #[test]
    fn batching_that_is_taken_away_closes_what_was_gathered() {
        let mut outbox = Outbox::default();
        put(&mut outbox, Some(BATCHING), "{1}");
        put(&mut outbox, None, "{2}");
        put(&mut outbox, None, "{3}");
        assert_eq!(sent(&mut outbox), "[{1},{2}]\n{3}\n");
    }

    #[test]
    fn what_was_not_handed_over_can_be_had_back() {
        let mut outbox = Outbox::default();
        let first = put(&mut outbox, None, "{1}");
        let second = put(&mut outbox, None, "{22}");
        assert_eq!(outbox.unsent_at(first), Some(&b"{1}"[..]));
        outbox.handed(2);
        assert_eq!((outbox.unsent_at(first), outbox.is_handed(first)), (None, true));
        assert_eq!((outbox.unsent_at(second), outbox.is_handed(second)), (Some(&b"{22}"[..]), false));
        outbox.handed(7);
        assert_eq!((outbox.unsent_at(second), outbox.is_handed(second)), (None, true));
        let third = put(&mut outbox, None, "{3}");
        assert_eq!(outbox.unsent_at(third), Some(&b"{3}"[..]));
    }

    #[test]
    fn a_long_queue_is_moved_together_as_it_is_sent() {
        let mut outbox = Outbox::default();
        let long = "x".repeat(SENT_KEPT_BYTES);
        put(&mut outbox, None, &long);
        let span = put(&mut outbox, None, "{2}");
        outbox.handed(long.len() + 1);
        assert_eq!((outbox.unsent(), outbox.unsent_at(span)), (&b"{2}\n"[..], Some(&b"{2}"[..])));
    }
}
