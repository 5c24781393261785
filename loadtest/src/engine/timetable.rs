//! An open-loop timetable with rates that change by stages: when each message ought to leave, whatever the server does. PURE.
//! Invariants: every intended time is handed out exactly once and in order; a late caller gets all that is due; the number of a
//! message and its time belong to each other, so that a reply that names its number tells when it was to leave.

/// One message in 1,000 seconds is the slowest rate.
const MILLI: u128 = 1_000;
const SECOND_NS: u128 = 1_000_000_000;

/// A constant rate for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) begin_ns: u64,
    pub(crate) end_ns: u64,
    /// Messages in 1,000 seconds.
    pub(crate) rate_per_ks: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    span: Span,
    /// The number of its first message.
    first: u64,
    count: u64,
}

/// See the file's head. One of several takes turns with the others: number `turn`, and every `turns`th from there.
#[derive(Debug, Clone)]
pub(crate) struct Timetable {
    segments: Vec<Segment>,
    turns: u64,
    next: u64,
    at: usize,
}

impl Timetable {
    /// Of spans that follow each other.
    pub(crate) fn new(spans: &[Span], turn: u64, turns: u64) -> Timetable {
        assert!(turn < turns, "one of the turns is ours");
        let mut first = 0;
        let segments = spans.iter().map(|span| {
            let length_ns = u128::from(span.end_ns.saturating_sub(span.begin_ns));
            let count = (length_ns * u128::from(span.rate_per_ks)).div_ceil(SECOND_NS * MILLI);
            let count = u64::try_from(count).expect("invariant: a scenario's rates and times are bounded");
            let segment = Segment { span: *span, first, count };
            first += count;
            segment
        });
        Timetable { segments: segments.collect(), turns, next: turn, at: 0 }
    }

    /// The next of our messages that is due at `now_ns`: its number and intended time. Call until `None`.
    pub(crate) fn poll_due(&mut self, now_ns: u64) -> Option<(u64, u64)> {
        let intended_ns = self.next_ns()?;
        if now_ns < intended_ns {
            return None;
        }
        self.next += self.turns;
        Some((self.next - self.turns, intended_ns))
    }

    /// When the next of our messages is due; `None` when all are handed out.
    pub(crate) fn next_ns(&mut self) -> Option<u64> {
        while self.segments.get(self.at).is_some_and(|segment| segment.first + segment.count <= self.next) {
            self.at += 1;
        }
        self.segments.get(self.at).map(|segment| segment.intended_ns(self.next))
    }

    /// When message `number` ought to leave; `None` where there is no such message.
    pub(crate) fn intended_ns(&self, number: u64) -> Option<u64> {
        let segment = self.segments.iter().rev().find(|segment| segment.first <= number)?;
        (number < segment.first + segment.count).then(|| segment.intended_ns(number))
    }

    /// Messages of all turns that are to leave before `ns`.
    pub(crate) fn count_before(&self, ns: u64) -> u64 {
        let counts = self.segments.iter().map(|segment| {
            let until_ns = ns.clamp(segment.span.begin_ns, segment.span.end_ns);
            let length_ns = u128::from(until_ns - segment.span.begin_ns);
            let count = (length_ns * u128::from(segment.span.rate_per_ks)).div_ceil(SECOND_NS * MILLI);
            u64::try_from(count).map_or(segment.count, |count| count.min(segment.count))
        });
        counts.sum()
    }

    /// Messages of all turns in all.
    pub(crate) fn total(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.first + segment.count)
    }
}

impl Segment {
    /// Computed from the span's begin, so rounding never adds up.
    fn intended_ns(&self, number: u64) -> u64 {
        let offset_ns =
            u128::from(number - self.first) * SECOND_NS * MILLI / u128::from(self.span.rate_per_ks.max(1));
        self.span.begin_ns + u64::try_from(offset_ns).expect("invariant: within the span")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn span(begin_s: u64, end_s: u64, rate_per_ks: u64) -> Span {
        Span { begin_ns: begin_s * S, end_ns: end_s * S, rate_per_ks }
    }

    fn all(table: &mut Timetable, now_ns: u64) -> Vec<(u64, u64)> {
        std::iter::from_fn(|| table.poll_due(now_ns)).collect()
    }

    #[test]
    fn nothing_is_handed_out_before_its_time_and_all_that_is_due_at_once_after_it() {
        let mut table = Timetable::new(&[span(1, 2, 10_000)], 0, 1);
        assert_eq!(table.poll_due(S - 1), None);
        assert_eq!(table.poll_due(S), Some((0, S)));
        assert_eq!(table.poll_due(S), None);
        let late = all(&mut table, S + 350_000_000);
        assert_eq!(late, [(1, 1_100_000_000), (2, 1_200_000_000), (3, 1_300_000_000)]);
    }

    #[test]
    fn the_rate_changes_at_the_begin_of_a_span_and_a_rate_of_nothing_is_a_pause() {
        let mut table = Timetable::new(&[span(0, 1, 2_000), span(1, 2, 0), span(2, 3, 4_000)], 0, 1);
        let times: Vec<u64> = all(&mut table, u64::MAX).into_iter().map(|(_, ns)| ns / 1_000_000).collect();
        assert_eq!(times, [0, 500, 2_000, 2_250, 2_500, 2_750]);
        assert_eq!((table.next_ns(), table.total()), (None, 6));
    }

    #[test]
    fn turns_share_the_messages_without_overlap() {
        let spans = [span(0, 1, 5_000), span(1, 2, 3_000)];
        let mut shared: Vec<(u64, u64)> =
            (0..3).flat_map(|turn| all(&mut Timetable::new(&spans, turn, 3), u64::MAX)).collect();
        shared.sort_unstable();
        assert_eq!(shared, all(&mut Timetable::new(&spans, 0, 1), u64::MAX));
    }

    #[test]
    fn a_number_tells_its_time() {
        let mut table = Timetable::new(&[span(0, 1, 3_000), span(1, 4, 7_000)], 0, 1);
        for (number, ns) in all(&mut table.clone(), u64::MAX) {
            assert_eq!(table.intended_ns(number), Some(ns));
            assert_eq!(table.count_before(ns), number);
            assert_eq!(table.count_before(ns + 1), number + 1);
        }
        assert_eq!(table.intended_ns(table.total()), None);
        assert_eq!(table.next_ns(), Some(0));
    }

    #[test]
    fn a_rate_below_one_a_second_has_its_first_message_at_once() {
        let mut table = Timetable::new(&[span(0, 10, 200)], 0, 1);
        assert_eq!(all(&mut table, u64::MAX), [(0, 0), (1, 5 * S)]);
    }
}
