//! What a shard measures of its turns: where each stage begins and ends. Home: its shard.
//!
//! Times are those of a turn: what it receives it has received when the ring has been reaped, what it says is with the ring when
//! all of the turn is flushed. So a record costs an increment, and a turn at most three looks at the clock more: behind what it
//! has received, at the first batch that it takes and at the first that it seals.
//!
//! An event counts as told when the round of sends that begins next is through: everybody who was ready then has it. Who still
//! has a send under way is not waited for, as nobody else waits for it either.

use crate::clock;
use crate::hub::marks::{Tally, Told};
use crate::telemetry::latency::{Recorder, Stage};

use super::Shard;

/// Events by the class of who follows them, by when they were stamped.
#[derive(Debug, Default)]
struct Events {
    lossless: Tally,
    latest: Tally,
}

impl Events {
    fn is_empty(&self) -> bool {
        self.lossless.is_empty() && self.latest.is_empty()
    }

    /// Takes in all of the others.
    fn append(&mut self, others: &mut Events) {
        for (ours, theirs) in
            [(&mut self.lossless, &mut others.lossless), (&mut self.latest, &mut others.latest)]
        {
            theirs.drain().for_each(|(since_ns, count)| ours.add(since_ns, count));
        }
    }
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Timing {
    pub(super) recorder: Recorder,
    /// Their frames wait for the next round.
    queued: Events,
    /// Their frames go out in the round under way.
    in_round: Events,
    /// Their frames are with the ring by the end of this turn.
    handed: Events,
}

impl Timing {
    pub(super) fn new(recorder: Recorder) -> Timing {
        Timing { recorder, queued: Events::default(), in_round: Events::default(), handed: Events::default() }
    }

    /// Events that were stamped then have gone into queues.
    pub(super) fn told(&mut self, stamped_ns: u64, told: Told) {
        let Told { lossless, latest, reports } = told;
        self.queued.lossless.add(stamped_ns, lossless);
        self.queued.latest.add(stamped_ns, latest);
        // Sent with this turn's replies, whatever the round.
        self.handed.lossless.add(stamped_ns, reports);
    }

    pub(super) fn begin_round(&mut self) {
        self.in_round.append(&mut self.queued);
    }

    pub(super) fn end_round(&mut self) {
        self.handed.append(&mut self.in_round);
    }
}

impl Shard {
    /// The turn has taken what the ring had; so many messages had been looked at before it.
    pub(super) fn note_decoded(&mut self, received_ns: u64, messages_before: u64) {
        let messages = self.hub.messages_total() - messages_before;
        if messages > 0 {
            let decoded_ns = clock::now().mono_ns;
            self.timing.recorder.record_all(Stage::Decode, decoded_ns - received_ns, messages);
        }
    }

    /// The turn has ended, by the clock of now, after so much work.
    pub(super) fn note_turn(&mut self, work_ns: u64) {
        let now_ns = self.now.mono_ns;
        let Shard { timing, hub, round, .. } = self;
        if !timing.queued.is_empty() && *round == 0 && hub.data_count() == 0 && !hub.has_frames_waiting() {
            // All went out at once, with replies.
            timing.handed.append(&mut timing.queued);
        }
        let Timing { recorder, handed, .. } = timing;
        recorder.record(Stage::Turn, work_ns);
        let marks = hub.marks();
        for (stage, tally) in [
            (Stage::Request, &mut marks.replies),
            (Stage::Order, &mut marks.orders),
            (Stage::Call, &mut marks.calls),
            (Stage::Upgrade, &mut marks.upgrades),
            (Stage::PublishLossless, &mut handed.lossless),
            (Stage::PublishLatest, &mut handed.latest),
        ] {
            for (since_ns, count) in tally.drain() {
                recorder.record_all(stage, now_ns.saturating_sub(since_ns), count);
            }
        }
    }
}
