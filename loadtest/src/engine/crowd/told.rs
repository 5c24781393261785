//! The messages of a crowd: what is sent when it is due, and what is counted of what comes back.
//! Invariant: a message counts for the measured time by when it was to leave, whenever it came.

use crate::clock;
use crate::dialect::{Reply, Told};
use crate::engine::crowd::{Ask, Crowd, Place, Role, Stage};
use crate::engine::script::{ORDER_IDS, OTHER_IDS};
use crate::engine::sequence::Place as Order;
use crate::engine::tally::Finish;
use crate::engine::timetable::Timetable;
use crate::failure::Result;
use crate::outcome::Kind;
use crate::ring::Outbox;

/// Messages of one kind that may leave in one turn; the rest is late, and its lateness is counted.
const TURN_MESSAGES_MAX: usize = 256;
/// The clock is read anew after so many.
const CLOCK_MESSAGES: usize = 16;

impl Crowd {
    /// Sends all that is due, up to a bound; how many there were.
    pub(crate) fn send_due(&mut self, outbox: &mut Outbox<'_>) -> Result<usize> {
        let mut count = self.publish_due(outbox)?;
        for ask in Ask::ALL {
            count += self.ask_due(outbox, ask)?;
        }
        Ok(count)
    }

    /// The next time at which something is due.
    pub(crate) fn next_due_ns(&mut self) -> Option<u64> {
        let asking = self.askers.iter_mut().filter_map(|askers| askers.table.as_mut());
        asking.chain(self.publishing.as_mut()).filter_map(Timetable::next_ns).min()
    }

    fn ask_due(&mut self, outbox: &mut Outbox<'_>, ask: Ask) -> Result<usize> {
        let mut now_ns = self.now_ns;
        for count in 0..TURN_MESSAGES_MAX {
            if count % CLOCK_MESSAGES == CLOCK_MESSAGES - 1 {
                now_ns = clock::mono_ns();
            }
            let askers = &mut self.askers[ask as usize];
            let due = askers.table.as_mut().and_then(|table| table.poll_due(now_ns));
            let Some((number, intended_ns)) = due else { return Ok(count) };
            let is_measured = self.window.holds(intended_ns);
            if is_measured {
                self.tally.record_lag(now_ns - intended_ns);
            }
            let askers = &mut self.askers[ask as usize];
            if askers.ready.is_empty() {
                self.refuse(is_measured, "not sent: no connection is open");
                continue;
            }
            askers.turn = (askers.turn + 1) % askers.ready.len();
            let place = usize::try_from(askers.ready[askers.turn]).expect("invariant: 64 bits");
            self.ask(outbox, place, ask, number, intended_ns)?;
        }
        Ok(TURN_MESSAGES_MAX)
    }

    fn ask(
        &mut self,
        outbox: &mut Outbox<'_>,
        place: Place,
        ask: Ask,
        number: u64,
        intended_ns: u64,
    ) -> Result<()> {
        let (asking, id) = match ask {
            Ask::Request => (&mut self.script.request, number),
            Ask::Order => (&mut self.script.order, ORDER_IDS + number),
        };
        let Some(mut asking) = asking.take() else { return Ok(()) };
        let sent = self.send(outbox, place, asking.frame.patched(id, intended_ns, 0, number));
        let is_numbered = asking.replies.are_numbered();
        match ask {
            Ask::Request => self.script.request = Some(asking),
            Ask::Order => self.script.order = Some(asking),
        }
        let is_measured = self.window.holds(intended_ns);
        if sent?.is_none() {
            self.refuse(is_measured, "not sent: the server does not read");
            return Ok(());
        }
        let line = &mut self.lines[place];
        if is_numbered {
            line.asked[ask as usize] += 1;
        } else {
            line.waiting[ask as usize].push_back(intended_ns);
        }
        if is_measured {
            self.tally.part.sent += 1;
            self.tally.part.counts.requests_sent += 1;
        }
        Ok(())
    }

    fn publish_due(&mut self, outbox: &mut Outbox<'_>) -> Result<usize> {
        let mut now_ns = self.now_ns;
        for count in 0..TURN_MESSAGES_MAX {
            if count % CLOCK_MESSAGES == CLOCK_MESSAGES - 1 {
                now_ns = clock::mono_ns();
            }
            let due = self.publishing.as_mut().and_then(|table| table.poll_due(now_ns));
            let Some((number, intended_ns)) = due else { return Ok(count) };
            let topic =
                u32::try_from(number % u64::from(self.rules.topics)).expect("invariant: below topics");
            let publisher = topic % self.rules.publishers;
            if publisher % self.rules.turns == self.rules.turn {
                self.publish(outbox, topic, publisher / self.rules.turns, intended_ns, now_ns)?;
            }
        }
        Ok(TURN_MESSAGES_MAX)
    }

    fn publish(
        &mut self,
        outbox: &mut Outbox<'_>,
        topic: u32,
        publisher: u32,
        intended_ns: u64,
        now_ns: u64,
    ) -> Result<()> {
        let is_measured = self.window.holds(intended_ns);
        if is_measured {
            self.tally.record_lag(now_ns - intended_ns);
        }
        let place = self.publishers[usize::try_from(publisher).expect("invariant: 64 bits")];
        if self.lines[place].stage != Stage::Ready {
            self.refuse(is_measured, "not sent: the publisher's connection is not open");
            return Ok(());
        }
        let at = usize::try_from(topic).expect("invariant: 64 bits");
        let sequence = self.published[at] + 1;
        // A frame is away from the script while it is sent, which takes the whole crowd.
        let mut frames = std::mem::take(&mut self.script.publish);
        let sent =
            self.send(outbox, place, frames[at].patched(OTHER_IDS + sequence, intended_ns, topic, sequence));
        self.script.publish = frames;
        if sent?.is_none() {
            self.refuse(is_measured, "not sent: the server does not read");
            return Ok(());
        }
        self.published[at] = sequence;
        if is_measured {
            self.tally.part.sent += 1;
            self.tally.part.counts.published += 1;
        }
        Ok(())
    }

    fn refuse(&mut self, is_measured: bool, why: &str) {
        if is_measured {
            self.tally.error(why);
        }
    }

    /// A message of the server on a connection that is ready.
    pub(super) fn message(&mut self, place: Place, message: &[u8]) {
        let line = &self.lines[place];
        if line.role == Role::Client {
            if line.topic.is_some() && self.take_deliveries(place, message) {
                return;
            }
            for ask in Ask::ALL {
                if self.take_reply(place, ask, message) {
                    return;
                }
            }
        }
        if let Some(error) = self.script.reader.error(message) {
            self.tally.error(&error);
        }
    }

    fn take_deliveries(&mut self, place: Place, message: &[u8]) -> bool {
        let mut told = std::mem::take(&mut self.told);
        told.clear();
        self.script.reader.deliveries(message, |one| told.push(one));
        for one in &told {
            self.delivered(place, *one);
        }
        let is_any = !told.is_empty();
        self.told = told;
        is_any
    }

    fn delivered(&mut self, place: Place, told: Told) {
        let window = self.window;
        // What another run published may still be told.
        if told.intended_ns < window.go_ns || window.go_ns == 0 {
            return;
        }
        let line = &mut self.lines[place];
        if line.topic != Some(told.stream) {
            self.tally.error("delivery of a topic that was not subscribed");
            return;
        }
        let order = line.track.take(told.sequence);
        if !window.holds(told.intended_ns) {
            return;
        }
        let topic = usize::try_from(told.stream).expect("invariant: 64 bits");
        let part = &mut self.tally.part;
        match order {
            Order::Duplicate => {
                part.counts.duplicates += 1;
                return;
            }
            Order::Late => {
                part.counts.reordered += 1;
                part.missing -= 1;
            }
            Order::After { missing } => {
                // What was left out of the warm-up is not counted.
                let measured = told.sequence.saturating_sub(self.first_measured[topic]).min(missing);
                part.missing += i64::try_from(measured).unwrap_or(i64::MAX);
            }
        }
        part.received += 1;
        part.counts.deliveries_received += 1;
        self.tally.record(Kind::Delivery, self.now_ns.saturating_sub(told.intended_ns));
        let publish = told.sequence * u64::from(self.rules.topics) + u64::from(told.stream);
        if let Some(spread_ns) = self.spread.told(publish, self.audience[topic], self.now_ns) {
            self.tally.record(Kind::Spread, spread_ns);
        }
    }

    fn take_reply(&mut self, place: Place, ask: Ask, message: &[u8]) -> bool {
        let asking = match ask {
            Ask::Request => &self.script.request,
            Ask::Order => &self.script.order,
        };
        let line = &mut self.lines[place];
        let waiting = line.asked[ask as usize] as usize + line.waiting[ask as usize].len();
        let Some(asking) = asking.as_ref().filter(|_| 0 < waiting) else { return false };
        match asking.replies.read(message) {
            Reply::None => false,
            Reply::InOrder(count) => {
                for _ in 0..count.min(waiting) {
                    let intended_ns = self.lines[place].waiting[ask as usize].pop_front();
                    self.replied(ask, intended_ns);
                }
                true
            }
            Reply::To(id) => {
                let number = match ask {
                    Ask::Request => (id < ORDER_IDS).then_some(id),
                    Ask::Order => (ORDER_IDS..OTHER_IDS).contains(&id).then(|| id - ORDER_IDS),
                };
                let Some(number) = number else { return false };
                line.asked[ask as usize] -= 1;
                let table = self.askers[ask as usize].table.as_ref();
                let intended_ns = table.and_then(|table| table.intended_ns(number));
                self.replied(ask, intended_ns);
                true
            }
        }
    }

    fn replied(&mut self, ask: Ask, intended_ns: Option<u64>) {
        let Some(intended_ns) = intended_ns.filter(|intended_ns| self.window.holds(*intended_ns)) else {
            return;
        };
        self.tally.part.received += 1;
        self.tally.part.counts.replies_received += 1;
        self.tally.record(ask.kind(), self.now_ns.saturating_sub(intended_ns));
    }

    /// Sets the first numbers of the measured time, by the publishes before it.
    pub(crate) fn begin_publishing(&mut self, table: Timetable) {
        let before = table.count_before(self.window.begin_ns);
        let topics = u64::from(self.rules.topics);
        for (first, topic) in self.first_measured.iter_mut().zip(0_u64..) {
            *first = 1 + before.saturating_sub(topic).div_ceil(topics);
        }
        self.publishing = Some(table);
    }

    /// Whether nothing is still to come, as far as this process can tell: publishes of others count as made.
    pub(crate) fn is_drained(&self) -> bool {
        let is_answered =
            |line: &super::Connection| line.asked == [0; 2] && line.waiting.iter().all(|all| all.is_empty());
        let total = self.publishing.as_ref().map_or(0, Timetable::total);
        let last = |topic: u32| total.saturating_sub(u64::from(topic)).div_ceil(u64::from(self.rules.topics));
        self.lines.iter().all(|line| {
            let is_told = match (line.role, line.topic, line.track.newest()) {
                (Role::Client, Some(topic), Some(newest)) if line.stage == Stage::Ready => {
                    last(topic) <= newest
                }
                _ => true,
            };
            is_told && is_answered(line)
        })
    }

    /// What only the end tells.
    pub(crate) fn finish(&self) -> Finish {
        let mut subscribed = vec![(0, 0); self.published.len()];
        for line in self.lines.iter().filter(|line| line.role == Role::Client && line.is_wanted) {
            let Some((topic, newest)) = line.topic.zip(line.track.newest()) else { continue };
            let topic = usize::try_from(topic).expect("invariant: 64 bits");
            subscribed[topic].0 += 1;
            subscribed[topic].1 += newest.max(self.first_measured[topic] - 1);
        }
        Finish { published: self.published.clone(), subscribed, slow_ended: self.slow_ended, busy_share: 0.0 }
    }
}
