//! What waits to be sent on each connection of a shard, in lanes: control frames, replies, reports of what becomes of its
//! account's orders, messages by priority, then other data. PURE.
//!
//! Invariants: a frame that has begun to be sent is finished before anything else; a lane never overtakes a higher
//! one at a frame's boundary; `queued_bytes` is the sum of the lengths of the queued frames; a connection stands in
//! each ready list at most once, and in none while its last send is under way; nothing is queued behind a close frame,
//! which holds without a look here: a session that closes has no subscription left and takes no reply (`connection`).

mod batching;
mod begun;
mod measures;
mod message_lanes;
mod replies;

use std::collections::VecDeque;

use slab::Slab;

use crate::limits;
use crate::model::ids::ConnId;
use crate::ws::frame::frame_len;

use super::control_frame::ControlFrame;
use super::frame_queue::{FrameQueue, FrameQueuePool, QueuesFull};
use super::log::{FrameLog, FrameRef};
use super::topics::Subscription;
pub(super) use batching::batch_frames;
use begun::Started;
use message_lanes::MessageLanes;
pub(super) use message_lanes::{NoRoom, Waiting};
use replies::Replies;

/// Which connections a flush is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Those with control frames or replies.
    Reply,
    /// Those with anything to send.
    Any,
}

/// Bytes that wait for a connection, by lane. Values are made when they are sent, and a ping and a close are of fixed size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitingBytes {
    /// The rest of a frame that has begun to be sent.
    pub begun: usize,
    pub pongs: usize,
    pub replies: usize,
    /// Frames of the data queue.
    pub queued: usize,
    /// Messages and what is told of them.
    pub messages: usize,
}

/// The lanes of one connection. Boxed parts are empty on an idle connection.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    pub(super) generation: u32,
    open: bool,
    /// Bytes that `poll_transmit` gave are not all written yet.
    writing: bool,
    in_urgent: bool,
    in_ready: bool,
    /// What is sent are no frames but bytes, as in HTTP's answers: a send may end at any of them.
    cuts_anywhere: bool,
    /// Frames become length-prefixed in the buffer of a send.
    length_prefixed: bool,
    /// Binary frames come together in the buffer of a send, as far as they fit.
    is_batched: bool,
    /// Data waits until the reply that announces it is queued.
    held: u32,
    /// Before `queue`.
    reports: FrameQueue,
    queue: FrameQueue,
    /// Of both.
    queued_bytes: u32,
    /// Bytes that may wait beyond the limit, since a resume asked for them; until the queue has run dry.
    allowed_bytes: u32,
    /// Messages that were queued for it, and values that were sent.
    pub(super) deliveries_total: u64,
    /// Events that a newer value took the place of, but for those of the values that are listed now.
    pub(super) conflated_total: u64,
    /// Subscriptions with a value to send: head and tail of a list through the subscriptions.
    pub(super) values_head: Option<u32>,
    pub(super) values_tail: Option<u32>,
    replies: Option<Box<Replies>>,
    control: Option<Box<Control>>,
    /// Between `reports` and `queue`.
    messages: Option<Box<MessageLanes>>,
    /// The frame that did not fit into the last send, or the frames that are sent without anything between.
    started: Option<Box<Started>>,
}

const _: () = assert!(size_of::<Lanes>() <= 128, "an idle connection's share of memory");

#[derive(Debug, Default)]
struct Control {
    /// Whole frames, the oldest first.
    pongs: Vec<u8>,
    ping: Option<ControlFrame>,
    /// After the replies.
    close: Option<ControlFrame>,
}

impl Control {
    fn memory_bytes(&self) -> usize {
        size_of::<Control>() + self.pongs.capacity()
    }
}

/// Where a frame of a topic waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataLane {
    /// Sent at once, as replies are.
    Reports,
    /// Sent by the pace.
    Market,
}

/// A control frame to send, as a whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ControlLane {
    /// One for each ping, in order, while they are within their bound; then only for the newest, as RFC 6455 §5.5.3
    /// allows.
    Pong,
    Ping,
    /// The last frame of a connection: data that waits is dropped, replies go before it.
    Close,
}

#[derive(Debug, Default)]
pub(super) struct Egress {
    lanes: Vec<Lanes>,
    pub(super) log: FrameLog,
    pool: FrameQueuePool,
    urgent: VecDeque<u32>,
    ready: VecDeque<u32>,
    /// Bytes that the replies and begun frames of all connections hold.
    held_bytes_total: usize,
    /// The same of messages.
    message_bytes_total: usize,
    /// Message lanes to be used again.
    #[expect(clippy::vec_box, reason = "the box is what is used again")]
    spare_messages: Vec<Box<MessageLanes>>,
    /// Reply buffers to be used again.
    #[expect(clippy::vec_box, reason = "the box is what is used again")]
    spare: Vec<Box<Replies>>,
    /// Control lanes to be used again.
    #[expect(clippy::vec_box, reason = "the box is what is used again")]
    spare_control: Vec<Box<Control>>,
    /// Of all kinds of spares.
    spare_bytes: usize,
    /// The most frames that waited in one queue since that was last asked for: when one came into it, or all along, of the
    /// queue that was the deepest before. One that another was deeper than is told again once a frame comes into it.
    deepest_frames: u32,
    /// Whose they were.
    deepest_slot: u32,
}

/// Spare reply buffers and control lanes that are kept, and the size of a buffer at most.
const SPARE_BUFFERS_MAX: usize = 1024;
const SPARE_BUFFER_BYTES_MAX: usize = 16 * 1024;

impl Egress {
    /// With so many segments of the log made already.
    pub(super) fn new(log_segments_ready: usize) -> Egress {
        let mut egress = Egress::default();
        egress.log.make_ready(log_segments_ready);
        egress
    }

    pub(super) fn open(&mut self, conn: ConnId) {
        let slot = conn.slot as usize;
        if self.lanes.len() <= slot {
            self.lanes.resize_with(slot + 1, Lanes::default);
        }
        let lanes = &mut self.lanes[slot];
        assert!(!lanes.open, "a slot is closed before it is opened again");
        let (in_urgent, in_ready) = (lanes.in_urgent, lanes.in_ready);
        // A former owner may still stand in the ready lists; the entry then serves the new one.
        *lanes = Lanes { generation: conn.generation, open: true, in_urgent, in_ready, ..Lanes::default() };
    }

    /// Drops all that waits.
    pub(super) fn close(&mut self, conn: ConnId) {
        if self.lanes_of(conn).is_some() {
            let before = self.held_bytes(conn.slot);
            self.discard_data(conn.slot);
            let lanes = &mut self.lanes[conn.slot as usize];
            lanes.open = false;
            lanes.replies = None;
            lanes.control = None;
            lanes.started = None;
            self.note_held(conn.slot, before);
        }
    }

    pub(super) fn lanes_of(&mut self, conn: ConnId) -> Option<&mut Lanes> {
        self.lanes
            .get_mut(conn.slot as usize)
            .filter(|lanes| lanes.open && lanes.generation == conn.generation)
    }

    pub(super) fn lanes(&mut self, slot: u32) -> &mut Lanes {
        &mut self.lanes[slot as usize]
    }

    /// Bytes that a connection's replies, pongs and begun frame hold.
    pub(super) fn held_bytes(&self, slot: u32) -> usize {
        let lanes = &self.lanes[slot as usize];
        let begun = lanes.started.as_ref().map_or(0, |started| started.held_bytes());
        let pongs = lanes.control.as_ref().map_or(0, |control| control.pongs.capacity());
        begun + pongs + lanes.replies.as_ref().map_or(0, |replies| replies.frames.capacity())
    }

    /// What all connections hold.
    pub(super) fn held_bytes_total(&self) -> usize {
        self.held_bytes_total
    }

    /// Takes note of what a connection holds by now; `before` of it was noted. Returns what all of them hold.
    pub(super) fn note_held(&mut self, slot: u32, before: usize) -> usize {
        self.held_bytes_total = self.held_bytes_total + self.held_bytes(slot) - before;
        self.held_bytes_total
    }

    /// Data waits for a reply that is not queued yet.
    pub(super) fn hold(&mut self, conn: ConnId) {
        if let Some(lanes) = self.lanes_of(conn) {
            lanes.held += 1;
        }
    }

    /// One reply less to wait for.
    pub(super) fn release_hold(&mut self, conn: ConnId) {
        if let Some(lanes) = self.lanes_of(conn) {
            lanes.held -= 1;
            self.make_ready(conn.slot);
        }
    }

    /// Whether data waits for a reply: that of a batch, or of a subscribe.
    pub(super) fn is_held(&mut self, conn: ConnId) -> bool {
        self.lanes_of(conn).is_some_and(|lanes| lanes.held > 0)
    }

    /// Queues one more holder's reference; the caller retains the segment for all holders at once. Returns the bytes that
    /// count against the limit.
    pub(super) fn push_frame(
        &mut self,
        slot: u32,
        lane: DataLane,
        frame: FrameRef,
    ) -> Result<u32, QueuesFull> {
        let lanes = &mut self.lanes[slot as usize];
        let queue = match lane {
            DataLane::Reports => &mut lanes.reports,
            DataLane::Market => &mut lanes.queue,
        };
        self.pool.push(queue, frame)?;
        if queue.count() >= self.deepest_frames {
            (self.deepest_frames, self.deepest_slot) = (queue.count(), slot);
        }
        lanes.deliveries_total += 1;
        lanes.queued_bytes += frame.len;
        let (queued_bytes, counted) =
            (lanes.queued_bytes, lanes.queued_bytes.saturating_sub(lanes.allowed_bytes));
        if lane == DataLane::Reports || queued_bytes >= limits::FLUSH_BYTES {
            self.mark_urgent(slot);
        } else {
            self.mark_ready(slot);
        }
        Ok(counted)
    }

    /// Lets this many bytes more wait than the limit says, within the bound for that.
    pub(super) fn allow(&mut self, slot: u32, bytes: u32) {
        let lanes = &mut self.lanes[slot as usize];
        lanes.allowed_bytes = (lanes.allowed_bytes + bytes).min(limits::RESUMED_BYTES_MAX);
    }

    /// Bytes of data that count against the limit.
    pub(super) fn counted_bytes(&self, slot: u32) -> u32 {
        let lanes = &self.lanes[slot as usize];
        lanes.queued_bytes.saturating_sub(lanes.allowed_bytes)
    }

    /// Appends a whole frame, its header and its payload, to the replies; returns the bytes that wait there.
    pub(super) fn push_reply(&mut self, slot: u32, header: &[u8], payload: &[u8]) -> usize {
        let lanes = &mut self.lanes[slot as usize];
        let (spare, spare_bytes) = (&mut self.spare, &mut self.spare_bytes);
        let replies = lanes.replies.get_or_insert_with(|| {
            let replies = spare.pop().unwrap_or_default();
            *spare_bytes -= replies.frames.capacity();
            replies
        });
        replies.forget_sent();
        replies.frames.extend_from_slice(header);
        replies.frames.extend_from_slice(payload);
        let waiting = replies.frames.len() - replies.sent;
        self.mark_urgent(slot);
        waiting
    }

    /// Queues bytes that are no frames, before all else: the answer to an upgrade request.
    pub(super) fn push_head(&mut self, slot: u32, head: Vec<u8>) {
        let lanes = &mut self.lanes[slot as usize];
        assert!(lanes.started.is_none() && lanes.replies.is_none(), "an upgrade is answered before all else");
        lanes.started = Some(Box::new(Started::head(head)));
        self.note_held(slot, 0);
        self.mark_urgent(slot);
    }

    /// From now on what is sent may be cut anywhere.
    pub(super) fn cut_anywhere(&mut self, slot: u32) {
        self.lanes[slot as usize].cuts_anywhere = true;
    }

    /// From now on what is sent becomes length-prefixed.
    pub(super) fn send_length_prefixed(&mut self, slot: u32) {
        self.lanes[slot as usize].length_prefixed = true;
    }

    /// Whether SBE messages share frames from now on.
    pub(super) fn send_batched(&mut self, slot: u32, is_batched: bool) {
        self.lanes[slot as usize].is_batched = is_batched;
    }

    pub(super) fn is_length_prefixed(&self, slot: u32) -> bool {
        self.lanes[slot as usize].length_prefixed
    }

    pub(super) fn is_batched(&self, slot: u32) -> bool {
        self.lanes[slot as usize].is_batched
    }

    /// Whether what is sent are the frames that wait, and nothing else.
    pub(super) fn sends_frames_as_they_are(&self, slot: u32) -> bool {
        let lanes = &self.lanes[slot as usize];
        !lanes.length_prefixed && !lanes.is_batched
    }

    /// What is sent from now on are frames again.
    pub(super) fn cut_at_frames(&mut self, slot: u32) {
        assert!(self.is_told(slot), "what is no frame is handed out before the first frame");
        self.lanes[slot as usize].cuts_anywhere = false;
    }

    /// Whether all answers have been handed out to be sent.
    pub(super) fn is_told(&self, slot: u32) -> bool {
        let lanes = &self.lanes[slot as usize];
        lanes.replies.is_none() && lanes.started.is_none()
    }

    /// Bytes that wait in the replies.
    pub(super) fn reply_bytes(&self, slot: u32) -> usize {
        self.lanes[slot as usize].replies.as_ref().map_or(0, |replies| replies.frames.len() - replies.sent)
    }

    /// Queues a control frame. A ping or close replaces an unsent one.
    pub(super) fn push_control(&mut self, slot: u32, lane: ControlLane, frame: ControlFrame) {
        let before = self.held_bytes(slot);
        let lanes = &mut self.lanes[slot as usize];
        let (spare, spare_bytes) = (&mut self.spare_control, &mut self.spare_bytes);
        let control = lanes.control.get_or_insert_with(|| {
            let Some(control) = spare.pop() else { return Box::default() };
            *spare_bytes -= control.memory_bytes();
            control
        });
        match lane {
            ControlLane::Pong => {
                if control.pongs.len() + frame.bytes().len() > limits::PONG_BYTES_MAX {
                    control.pongs.clear();
                }
                control.pongs.extend_from_slice(frame.bytes());
            }
            ControlLane::Ping => control.ping = Some(frame),
            ControlLane::Close => control.close = Some(frame),
        }
        if lane == ControlLane::Close {
            self.discard_data(slot);
        }
        self.note_held(slot, before);
        self.mark_urgent(slot);
    }

    /// Drops the replies that wait; what has begun to be sent is finished.
    pub(super) fn discard_replies(&mut self, slot: u32) {
        let before = self.held_bytes(slot);
        self.lanes[slot as usize].replies = None;
        self.note_held(slot, before);
    }

    /// The connection has a value to send.
    pub(super) fn mark_ready(&mut self, slot: u32) {
        let lanes = &mut self.lanes[slot as usize];
        if !lanes.in_ready && !lanes.writing {
            lanes.in_ready = true;
            self.ready.push_back(slot);
        }
    }

    /// Puts a subscription at the end of its connection's list of values to send.
    pub(super) fn list_value(
        &mut self,
        subscriptions: &mut Slab<Subscription>,
        slot: u32,
        subscription: u32,
    ) {
        let lanes = &mut self.lanes[slot as usize];
        let entry = &mut subscriptions[subscription as usize];
        assert!(!entry.listed, "a subscription is listed once");
        entry.listed = true;
        entry.next_listed = None;
        entry.previous_listed = lanes.values_tail;
        match lanes.values_tail {
            Some(tail) => subscriptions[tail as usize].next_listed = Some(subscription),
            None => lanes.values_head = Some(subscription),
        }
        lanes.values_tail = Some(subscription);
        self.mark_ready(slot);
    }

    /// Takes one subscription out of its connection's list of values, wherever it stands.
    pub(super) fn unlist(&mut self, subscriptions: &mut Slab<Subscription>, slot: u32, subscription: u32) {
        let lanes = &mut self.lanes[slot as usize];
        let entry = &mut subscriptions[subscription as usize];
        assert!(entry.listed, "only a listed subscription is unlisted");
        entry.listed = false;
        lanes.conflated_total += u64::from(std::mem::take(&mut entry.conflated));
        let (previous, next) = (entry.previous_listed.take(), entry.next_listed.take());
        match previous {
            Some(previous) => subscriptions[previous as usize].next_listed = next,
            None => lanes.values_head = next,
        }
        match next {
            Some(next) => subscriptions[next as usize].previous_listed = previous,
            None => lanes.values_tail = previous,
        }
    }

    fn mark_urgent(&mut self, slot: u32) {
        let lanes = &mut self.lanes[slot as usize];
        if !lanes.in_urgent && !lanes.writing {
            lanes.in_urgent = true;
            self.urgent.push_back(slot);
        }
    }

    /// The next connection with something to send.
    pub(super) fn poll_ready(&mut self, urgency: Urgency) -> Option<ConnId> {
        loop {
            let slot = match self.urgent.pop_front() {
                Some(slot) => {
                    self.lanes[slot as usize].in_urgent = false;
                    slot
                }
                None if urgency == Urgency::Any => {
                    let slot = self.ready.pop_front()?;
                    self.lanes[slot as usize].in_ready = false;
                    slot
                }
                None => return None,
            };
            let lanes = &self.lanes[slot as usize];
            if lanes.open && !lanes.writing && lanes.has_pending() {
                return Some(ConnId { slot, generation: lanes.generation });
            }
        }
    }

    /// Connections with data to send, and some that have none any more.
    pub(super) fn data_count(&self) -> usize {
        self.ready.len()
    }

    /// Bytes that a connection's reply lane holds on to.
    #[cfg(test)]
    pub(super) fn reply_bytes_held(&self, slot: u32) -> usize {
        self.lanes[slot as usize].replies.as_ref().map_or(0, |replies| replies.frames.len())
    }

    /// Moves what comes before data into `out`; returns the bytes written and whether data may follow.
    pub(super) fn transmit_first(&mut self, slot: u32, out: &mut [u8]) -> (usize, bool) {
        let lanes = &mut self.lanes[slot as usize];
        let mut written = 0;
        if let Some(started) = &mut lanes.started {
            written = started.transmit(out, lanes.length_prefixed || lanes.is_batched);
            if started.left_bytes() > 0 {
                return (written, false);
            }
            lanes.started = None;
        }
        if let Some(control) = &mut lanes.control {
            let whole = whole_frames(&control.pongs, out.len() - written);
            out[written..][..whole].copy_from_slice(&control.pongs[..whole]);
            control.pongs.drain(..whole);
            written += whole;
            if !control.pongs.is_empty() || !move_whole(&mut control.ping, out, &mut written) {
                return (written, false);
            }
        }
        if let Some(replies) = &mut lanes.replies {
            let room = &mut out[written..];
            written += if lanes.cuts_anywhere {
                replies.transmit_bytes(room)
            } else {
                replies.transmit(room, written == 0, &mut lanes.started)
            };
            if replies.sent < replies.frames.len() {
                return (written, false);
            }
            if let Some(mut empty) = lanes.replies.take()
                && self.spare.len() < SPARE_BUFFERS_MAX
                && empty.frames.capacity() <= SPARE_BUFFER_BYTES_MAX
            {
                empty.frames.clear();
                empty.sent = 0;
                self.spare_bytes += empty.frames.capacity();
                self.spare.push(empty);
            }
        }
        if lanes.started.is_none()
            && let Some(control) = &mut lanes.control
        {
            if !move_whole(&mut control.close, out, &mut written) {
                return (written, false);
            }
            if let Some(empty) = lanes.control.take()
                && self.spare_control.len() < SPARE_BUFFERS_MAX
            {
                self.spare_bytes += empty.memory_bytes();
                self.spare_control.push(empty);
            }
        }
        (written, lanes.started.is_none() && lanes.held == 0)
    }

    /// Moves whole frames of one of the data queues into `out`; returns the bytes written.
    pub(super) fn transmit_queue(
        &mut self,
        slot: u32,
        lane: DataLane,
        out: &mut [u8],
        out_is_fresh: OutIs,
    ) -> usize {
        let lanes = &mut self.lanes[slot as usize];
        let keeps_headers_whole = lanes.length_prefixed || lanes.is_batched;
        let Lanes { reports, queue, queued_bytes, started, .. } = lanes;
        let queue = match lane {
            DataLane::Reports => reports,
            DataLane::Market => queue,
        };
        let mut written = 0;
        let (mut segment, mut count) = (0, 0);
        while let Some(front) = self.pool.front(queue) {
            let frame = self.log.frame(front);
            let room = &mut out[written..];
            if frame.len() <= room.len() {
                room[..frame.len()].copy_from_slice(frame);
                written += frame.len();
            } else if written == 0 && out_is_fresh == OutIs::Empty {
                let (begun, count) = Started::begin(frame.to_vec(), room, keeps_headers_whole);
                written = count;
                *started = Some(Box::new(begun));
            } else {
                break;
            }
            self.pool.pop(queue);
            *queued_bytes -= front.len;
            if count > 0 && front.segment != segment {
                self.log.release(segment, count);
                count = 0;
            }
            segment = front.segment;
            count += 1;
            if started.is_some() {
                break;
            }
        }
        if count > 0 {
            self.log.release(segment, count);
        }
        let lanes = &mut self.lanes[slot as usize];
        if lanes.queues_are_empty() {
            lanes.allowed_bytes = 0;
        }
        written
    }

    /// Moves one value's frame into `out` if it fits or `out` is empty; returns the bytes written, 0 if it must wait.
    pub(super) fn transmit_value(
        &mut self,
        slot: u32,
        frame: &[u8],
        out: &mut [u8],
        out_is_fresh: OutIs,
    ) -> usize {
        if frame.len() <= out.len() {
            out[..frame.len()].copy_from_slice(frame);
            frame.len()
        } else if out_is_fresh == OutIs::Empty {
            let lanes = &mut self.lanes[slot as usize];
            let keeps_headers_whole = lanes.length_prefixed || lanes.is_batched;
            let (begun, count) = Started::begin(frame.to_vec(), out, keeps_headers_whole);
            lanes.started = Some(Box::new(begun));
            count
        } else {
            0
        }
    }

    /// Whether a ping has not been handed out yet.
    pub(super) fn ping_waits(&mut self, conn: ConnId) -> bool {
        let control = self.lanes_of(conn).and_then(|lanes| lanes.control.as_ref());
        control.is_some_and(|control| control.ping.is_some())
    }

    /// Bytes were handed out: the connection is not ready again before they are written.
    pub(super) fn begin_write(&mut self, slot: u32) {
        self.lanes[slot as usize].writing = true;
    }

    /// What was handed out is written.
    pub(super) fn end_write(&mut self, slot: u32) {
        let lanes = &mut self.lanes[slot as usize];
        lanes.writing = false;
        self.make_ready(slot);
    }

    /// Puts a connection with something to send into the list that it belongs to.
    pub(super) fn make_ready(&mut self, slot: u32) {
        let lanes = &mut self.lanes[slot as usize];
        if lanes.writing || !lanes.has_pending() {
            return;
        }
        let hurries = lanes.queued_bytes >= limits::FLUSH_BYTES
            || !lanes.reports.is_empty()
            || lanes.messages.as_ref().is_some_and(|messages| messages.hurry());
        if hurries || lanes.control.is_some() || lanes.replies.is_some() || lanes.started.is_some() {
            self.mark_urgent(slot);
        } else {
            self.mark_ready(slot);
        }
    }

    /// Whether nothing waits on the control and reply lanes and no frame is half sent.
    pub(super) fn is_drained(&self, slot: u32) -> bool {
        let lanes = &self.lanes[slot as usize];
        !lanes.writing && lanes.control.is_none() && lanes.replies.is_none() && lanes.started.is_none()
    }

    /// Whether the front of a data queue lies in this segment of the log.
    pub(super) fn pins(&self, slot: u32, segment: u32) -> bool {
        let lanes = &self.lanes[slot as usize];
        let fronts = [&lanes.reports, &lanes.queue].map(|queue| self.pool.front(queue));
        lanes.open && fronts.into_iter().flatten().any(|front| front.segment == segment)
    }

    /// The connection whose queue holds the most frames.
    pub(super) fn largest_queue(&self) -> Option<ConnId> {
        let queues =
            self.lanes.iter().zip(0u32..).filter(|(lanes, _)| lanes.open && !lanes.queues_are_empty());
        let largest = queues.max_by_key(|(lanes, _)| lanes.reports.count() + lanes.queue.count());
        largest.map(|(lanes, slot)| ConnId { slot, generation: lanes.generation })
    }

    /// Bounds the frames that wait in all.
    #[cfg(test)]
    pub(super) fn set_queued_frames_max(&mut self, frames_max: usize) {
        self.pool = FrameQueuePool::with_frames_max(frames_max);
    }

    /// Gives back what is only kept to be used again.
    pub(super) fn trim(&mut self) {
        self.log.trim();
        self.spare = Vec::new();
        self.spare_bytes = 0;
        self.spare_control = Vec::new();
        self.spare_messages = Vec::new();
        if self.pool.is_sparse() {
            let queues = self.lanes.iter_mut().flat_map(|lanes| [&mut lanes.reports, &mut lanes.queue]);
            self.pool.compact(queues);
        }
    }

    /// Slots that have ever been in use.
    pub(super) fn slot_count(&self) -> u32 {
        u32::try_from(self.lanes.len())
            .expect("invariant: each lane was opened for a slot, which has 32 bits")
    }

    /// Drops the data queues, messages too.
    pub(super) fn discard_data(&mut self, slot: u32) {
        self.discard_messages(slot);
        let lanes = &mut self.lanes[slot as usize];
        for queue in [&mut lanes.reports, &mut lanes.queue] {
            while let Some(frame) = self.pool.pop(queue) {
                self.log.release(frame.segment, 1);
            }
        }
        lanes.queued_bytes = 0;
    }
}

/// Whether a send has bytes already: only an empty one may begin a frame that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutIs {
    Empty,
    Begun,
}

impl OutIs {
    pub(super) fn at(written: usize) -> OutIs {
        if written == 0 { OutIs::Empty } else { OutIs::Begun }
    }
}

impl Lanes {
    fn has_pending(&self) -> bool {
        let data = self.held == 0
            && (!self.queues_are_empty() || self.values_head.is_some() || self.messages.is_some());
        self.started.is_some() || self.control.is_some() || self.replies.is_some() || data
    }

    fn queues_are_empty(&self) -> bool {
        self.reports.is_empty() && self.queue.is_empty()
    }
}

/// Bytes of the whole frames at the start of `frames` that fit into `room` bytes.
fn whole_frames(frames: &[u8], room: usize) -> usize {
    let mut whole = 0;
    while whole < frames.len() {
        let len = frame_len(&frames[whole..]);
        if whole + len > room {
            break;
        }
        whole += len;
    }
    whole
}

/// Moves a control frame to the end of what is written, if there is one; whether none is left.
fn move_whole(place: &mut Option<ControlFrame>, out: &mut [u8], written: &mut usize) -> bool {
    let Some(frame) = place else { return true };
    let Some(room) = out[*written..].get_mut(..frame.bytes().len()) else { return false };
    room.copy_from_slice(frame.bytes());
    *written += frame.bytes().len();
    *place = None;
    true
}
