//! Every metric: name, type, labels, help, and where its value comes from. PURE.
//!
//! Names follow Prometheus' rules: `tickring_` first, base units, `_total` for what only grows. What ends in `_seconds` or
//! `_seconds_total` is told in nanoseconds and written in seconds. Metrics of one name stand together; the first has the help.

use crate::desk::DeskCounters;
use crate::hub::home::HomeCounters;
use crate::hub::market::MarketCounters;
use crate::hub::{HubCounters, IncidentCounts};
use crate::mail::{OfficeCounters, OfficeGauges};
use crate::model::link::{LinkState, LinkStatus};
use crate::model::storage::StoreFault;

use super::{BackendStatus, RingCounters};

/// What kind of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from 0 at the start.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by size, from 0 at the start.
    Histogram,
}

/// One metric, or one of several of a name that differ by a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    /// Besides `thread`.
    pub labels: &'static [(&'static str, &'static str)],
    /// Empty where the metric before has the same name.
    pub help: &'static str,
    /// The expression that gives its value.
    pub source: &'static str,
}

impl Kind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

impl Metric {
    /// What it is measured in, as its name says; empty where it is a count.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(unit)).unwrap_or_default()
    }

    /// Whether its value is told in nanoseconds.
    #[must_use]
    pub fn is_time(&self) -> bool {
        self.unit() == "seconds"
    }
}

/// What each thread of the mesh tells.
#[derive(Clone, Copy, Debug)]
pub struct ThreadReading<'a> {
    pub topics: &'a HomeCounters,
    pub topics_count: u64,
    pub history_bytes: u64,
    pub memory_bytes: u64,
    pub ring: &'a RingCounters,
    pub mesh: MeshReading,
    pub turns_total: u64,
    pub parks_total: u64,
}

/// What a thread sent to its peers, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeshReading {
    pub data_pushed_total: u64,
    pub data_full_total: u64,
    pub commands_pushed_total: u64,
    pub commands_full_total: u64,
    pub doorbells_rung_total: u64,
    /// Peers that got nothing for a while since they are behind.
    pub lagging: u64,
}

/// What a shard tells besides.
#[derive(Clone, Copy, Debug)]
pub struct ShardReading<'a> {
    pub hub: &'a HubCounters,
    pub incidents: &'a IncidentCounts,
    pub connections: u64,
    pub connections_peak: u64,
    pub busy_turns_total: u64,
    pub busy_ns_total: u64,
    pub turn_ns_max: u64,
    pub turn_ns_mean: u64,
    pub costliest_bytes: u64,
    /// Since it was last told.
    pub deepest_frames: u64,
}

/// What the venue tells besides.
#[derive(Clone, Copy, Debug)]
pub struct VenueReading<'a> {
    pub market: &'a MarketCounters,
    pub desk: &'a DeskCounters,
    pub office: &'a OfficeCounters,
    /// By the office.
    pub held: &'a OfficeGauges,
    pub is_halted: bool,
    pub instruments: u64,
    /// The feed is one.
    pub links: &'a [LinkStatus],
    pub node: NodeReading,
}

/// What a node is to its cluster; all 0 of one by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeReading {
    /// 1 it owns the market, 2 it follows who does, 3 it knows of no owner, 4 it takes part no more.
    pub role: u64,
    pub fence: u64,
    pub takings_total: u64,
    pub requests_total: u64,
    pub requests_odd_total: u64,
    pub parts_told_total: u64,
    pub parts_dropped_total: u64,
    pub parts_heard_total: u64,
    pub changes_heard_total: u64,
    pub streams_lost_total: u64,
    pub nodes_given_up_total: u64,
    pub nodes_deaf_total: u64,
    pub not_sent_total: u64,
}

/// Of the connections to NATS; all 0 of a node by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatsReading {
    pub is_up: bool,
    pub reconnects_total: u64,
    pub failures_total: u64,
    pub told_messages_total: u64,
    pub told_bytes_total: u64,
    pub heard_messages_total: u64,
    pub heard_bytes_total: u64,
    pub dropped_away_total: u64,
    pub dropped_refused_total: u64,
    pub dropped_behind_total: u64,
    pub dropped_slow_total: u64,
    pub dropped_strange_total: u64,
    pub lease_unknown_total: u64,
    pub lease_strange_total: u64,
    pub session_requests_total: u64,
    pub session_unknown_total: u64,
    pub session_strange_total: u64,
    pub presence_written_total: u64,
    pub presence_unwritten_total: u64,
    pub presence_strange_total: u64,
    pub round_trip_ns: u64,
}

/// Of what nodes tell each other of kept results; all 0 of a node by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoticesReading {
    pub told_total: u64,
    pub heard_total: u64,
    pub gaps_total: u64,
    pub odd_total: u64,
}

/// What is known of the whole process when it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessReading {
    pub backends_count: u64,
    pub backends_down_count: u64,
    pub is_ready: bool,
    pub start_unix_ns: u64,
    pub startup_ns: u64,
    pub drain_ns: u64,
    pub connections: u64,
    pub connections_max: u64,
    pub memory_held_bytes: u64,
    pub memory_budget_bytes: u64,
    pub cpu_ns: u64,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub open_fds: u64,
    pub max_fds: u64,
    pub log_lines_total: u64,
    pub log_lines_dropped_total: u64,
    pub control_requests_total: u64,
    pub control_failures_total: u64,
    pub status_cache_hits_total: u64,
    pub status_cache_misses_total: u64,
    pub store: StoreReading,
    pub nats: NatsReading,
    pub notices: NoticesReading,
}

/// Of the store for durable messages; all 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreReading {
    /// 0 absent, 1 loading, 2 ready, 3 faulty.
    pub state: u64,
    pub commits_total: u64,
    pub batches_total: u64,
    pub operations_total: u64,
    pub bytes_total: u64,
    pub commit_ns_total: u64,
    pub commit_ns_max: u64,
    pub commit_under_way_ns: u64,
    pub queued_batches: u64,
    pub queued_bytes: u64,
    /// In the order of [`StoreFault::ALL`].
    pub refused_total: [u64; StoreFault::ALL.len()],
    pub loaded_entries: u64,
    pub load_ns: u64,
    pub file_bytes: u64,
    pub backups_total: u64,
    pub backups_failed_total: u64,
}

fn count_in(links: &[LinkStatus], state: LinkState) -> u64 {
    links.iter().filter(|link| link.state == state).count() as u64
}

/// How long each stage takes, all threads together since the start; a label of its own is `stage`.
pub const LATENCY: Metric = Metric {
    name: "tickring_latency_seconds",
    kind: Kind::Histogram,
    labels: &[],
    help: "How long things take, by stage; docs/operations.md says where each begins and ends.",
    source: "latency",
};

macro_rules! metrics {
    ($(#[$doc:meta])* $table:ident, $tell:ident($reading:ident: $Reading:ty) {
        $($kind:ident $name:literal $({$label:literal: $value:expr})? $help:literal = $source:expr;)*
    }) => {
        $(#[$doc])*
        pub const $table: &[Metric] = &[$(Metric {
            name: $name,
            kind: Kind::$kind,
            labels: &[$(($label, $value))?],
            help: $help,
            source: stringify!($source),
        }),*];

        /// Tells the values, in the order of the table.
        pub(super) fn $tell($reading: $Reading, mut tell: impl FnMut(u64)) {
            $(tell($source);)*
        }
    };
}

/// How often each reason was one; the label is its name in logs.
pub const INCIDENTS: Metric = Metric {
    name: "tickring_incidents_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Connections refused or closed, and requests declined, by reason; docs/limits.md explains each.",
    source: "shard.incidents",
};

metrics! {
    /// Of each thread of the mesh: label `thread`.
    SHARED, tell_thread(thread: &ThreadReading<'_>) {
        Counter "tickring_turns_total" "Turns of the thread's loop." = thread.turns_total;
        Counter "tickring_parks_total" "Times that the thread went to sleep." = thread.parks_total;
        Gauge "tickring_thread_memory_bytes" "Bytes that the thread holds of what clients can make grow." = thread.memory_bytes;
        Gauge "tickring_history_bytes" "Bytes of the histories from which clients resume." = thread.history_bytes;
        Gauge "tickring_topics" "Topics that have their home on the thread." = thread.topics_count;
        Counter "tickring_events_stamped_total" "Events that were given a place in a topic's sequence." = thread.topics.events_stamped_total;
        Counter "tickring_frames_encoded_total" "Frames encoded: one for each event and encoding, whoever listens." = thread.topics.frames_encoded_total;
        Counter "tickring_frames_deflated_total" "Frames compressed: at most one for each event and window." = thread.topics.frames_deflated_total;
        Counter "tickring_deflate_input_bytes_total" "Bytes of what was compressed." = thread.topics.deflated_bytes_in_total;
        Counter "tickring_deflate_output_bytes_total" "Bytes of what came of it." = thread.topics.deflated_bytes_out_total;
        Counter "tickring_joins_total" {"outcome": "recovered"} "Joins and resumes answered by the topic's home, by whether nothing was missed." = thread.topics.joins_recovered_total;
        Counter "tickring_joins_total" {"outcome": "not_recovered"} "" = thread.topics.joins_not_recovered_total;
        Counter "tickring_joins_delayed_total" "Joins that a later turn answered." = thread.topics.joins_delayed_total;
        Counter "tickring_topics_refused_total" "New topics for which there was no place." = thread.topics.topics_refused_total;
        Counter "tickring_topics_forgotten_total" "Topics forgotten since nobody listened." = thread.topics.topics_forgotten_total;
        Counter "tickring_histories_shortened_total" "Rounds in which histories lost their older half for want of memory." = thread.topics.histories_shortened_total;
        Counter "tickring_mesh_pushed_total" {"lane": "data"} "Batches sent to other threads." = thread.mesh.data_pushed_total;
        Counter "tickring_mesh_pushed_total" {"lane": "command"} "" = thread.mesh.commands_pushed_total;
        Counter "tickring_mesh_full_total" {"lane": "data"} "Batches that found the other thread's queue full." = thread.mesh.data_full_total;
        Counter "tickring_mesh_full_total" {"lane": "command"} "" = thread.mesh.commands_full_total;
        Counter "tickring_mesh_doorbells_total" "Times that a sleeping thread was woken." = thread.mesh.doorbells_rung_total;
        Gauge "tickring_mesh_lagging" "Threads that are behind and get no data for now." = thread.mesh.lagging;
        Counter "tickring_ring_enters_total" "Calls of io_uring_enter." = thread.ring.enters_total;
        Counter "tickring_ring_completions_total" "Completions reaped." = thread.ring.completions_total;
        Counter "tickring_ring_accepted_total" "Connections that the ring accepted." = thread.ring.accepted_total;
        Counter "tickring_ring_accepts_failed_total" "Accepts that failed." = thread.ring.accepts_failed_total;
        Counter "tickring_ring_connected_total" "Outgoing connections made." = thread.ring.connected_total;
        Counter "tickring_ring_connects_failed_total" "Outgoing connections that could not be made." = thread.ring.connects_failed_total;
        Counter "tickring_ring_receives_total" "Completions that brought bytes." = thread.ring.receives_total;
        Counter "tickring_ring_received_bytes_total" "Bytes received, also those of connections that were closing." = thread.ring.received_bytes_total;
        Counter "tickring_ring_receives_rearmed_total" "Receives armed again after the kernel had ended them." = thread.ring.receives_rearmed_total;
        Counter "tickring_ring_receives_starved_total" "Receives that ended since no buffer was free." = thread.ring.receives_starved_total;
        Counter "tickring_ring_receives_full_total" "Times that a connection had its share of buffers waiting." = thread.ring.receives_full_total;
        Counter "tickring_ring_sends_total" "Sends started." = thread.ring.sends_total;
        Counter "tickring_ring_sent_bytes_total" "Bytes that the kernel took." = thread.ring.sent_bytes_total;
        Counter "tickring_ring_sends_short_total" "Sends of which the kernel took a part at first." = thread.ring.sends_short_total;
        Counter "tickring_ring_sends_failed_total" "Sends that failed." = thread.ring.sends_failed_total;
        Counter "tickring_ring_sends_unbuffered_total" "Sends that waited for a free buffer." = thread.ring.sends_unbuffered_total;
        Counter "tickring_ring_closed_total" "Connections closed." = thread.ring.closed_total;
        Counter "tickring_ring_closes_failed_total" "Descriptors that the kernel could not close at once." = thread.ring.closes_failed_total;
        Counter "tickring_ring_completions_stale_total" "Completions of connections that were gone." = thread.ring.completions_stale_total;
        Counter "tickring_ring_submissions_full_total" "Times that the submission queue was full." = thread.ring.submissions_full_total;
        Counter "tickring_ring_completions_overflowed_total" "Enters that found completions in the kernel's overflow list." = thread.ring.completions_overflowed_total;
        Counter "tickring_ring_doorbells_total" "Wakes through the doorbell." = thread.ring.doorbells_total;
    }
}

metrics! {
    /// Of each shard: label `thread`.
    SHARD, tell_shard(shard: &ShardReading<'_>) {
        Gauge "tickring_shard_connections" "Connections that are open or closing." = shard.connections;
        Gauge "tickring_shard_connections_peak" "The most that there were at a time, each shard by itself." = shard.connections_peak;
        Counter "tickring_connections_opened_total" "Connections accepted, refused ones too." = shard.hub.connections_opened_total;
        Counter "tickring_connections_closed_total" "Connections that have ended." = shard.hub.connections_closed_total;
        Counter "tickring_connection_duration_seconds_total" "Time from accept to end of connections that have ended; by their number, the mean." = shard.hub.connections_closed_ns_total;
        Counter "tickring_messages_received_total" "Messages of clients." = shard.hub.messages_received_total;
        Counter "tickring_received_bytes_total" "Bytes that clients sent." = shard.hub.bytes_received_total;
        Counter "tickring_inflated_bytes_total" "Bytes that clients' compressed messages made." = shard.hub.inflated_bytes_total;
        Counter "tickring_requests_total" "Requests of clients." = shard.hub.requests_total;
        Counter "tickring_requests_failed_total" "Requests that were answered by an error." = shard.hub.requests_failed_total;
        Counter "tickring_replies_total" "Replies to requests." = shard.hub.replies_total;
        Counter "tickring_deliveries_total" "Frames put into queues, one for each subscriber." = shard.hub.deliveries_total;
        Counter "tickring_deliveries_deflated_total" "Of those, compressed ones." = shard.hub.deflated_deliveries_total;
        Counter "tickring_events_conflated_total" "Events that slow subscribers of the class latest were spared." = shard.hub.events_conflated_total;
        Counter "tickring_values_encoded_total" "Snapshots and current values encoded for those who joined or fell behind." = shard.hub.values_encoded_total;
        Counter "tickring_messages_published_total" "Messages of this shard's clients that were given a place." = shard.hub.messages_published_total;
        Counter "tickring_message_frames_queued_total" "Messages, receipts and changes of presence that were queued for connections." = shard.hub.messages_delivered_total;
        Counter "tickring_message_frames_deflated_total" "Frames of those that were compressed." = shard.hub.messages_deflated_total;
        Counter "tickring_messages_too_late_total" "Those whose connection had gone, or did not subscribe any more." = shard.hub.messages_too_late_total;
        Counter "tickring_calls_sent_total" "Calls that were handed on to backends, of clients and for messages." = shard.hub.calls_sent_total;
        Counter "tickring_calls_answered_total" "Calls that backends answered by a result." = shard.hub.calls_answered_total;
        Counter "tickring_calls_refused_total" "Calls that backends answered by an error of their own." = shard.hub.calls_refused_total;
        Counter "tickring_calls_failed_total" "Calls that have no answer of their backend, and are not over by time: not sent, lost, garbled, too long." = shard.hub.calls_failed_total;
        Counter "tickring_calls_timed_out_total" "Calls that were not answered in time." = shard.hub.calls_timed_out_total;
        Counter "tickring_calls_cancelled_total" "Requests for backends that were cancelled, or whose client is gone." = shard.hub.calls_cancelled_total;
        Counter "tickring_call_answers_late_total" "Answers of backends to calls that were over: late ones, second ones." = shard.hub.call_answers_late_total;
        Counter "tickring_call_progress_total" "What backends said of calls before they answered, told to clients." = shard.hub.call_progress_total;
        Counter "tickring_call_progress_dropped_total" "The same that clients were spared since they do not read." = shard.hub.call_progress_dropped_total;
        Counter "tickring_call_cache_hits_total" "Requests that were answered by a result that was kept." = shard.hub.call_cache_hits_total;
        Counter "tickring_call_cache_joined_total" "Requests that waited for a call that was under way already." = shard.hub.call_cache_joined_total;
        Counter "tickring_call_cache_misses_total" "Requests for results that may be kept which made a call." = shard.hub.call_cache_misses_total;
        Counter "tickring_call_cache_evicted_total" "Results that went to make room for others." = shard.hub.call_cache_evicted_total;
        Counter "tickring_call_cache_expired_total" "Results whose time was over." = shard.hub.call_cache_expired_total;
        Counter "tickring_call_cache_invalidations_total" "Times when a backend, an operator or another node said that results of some methods hold no more." = shard.hub.call_cache_invalidations_total;
        Counter "tickring_call_cache_invalidated_total" "Results that were forgotten by that, those of calls that were under way among them." = shard.hub.call_cache_invalidated_total;
        Gauge "tickring_call_cache_entries" "Results that are kept, and requests whose result is to be." = shard.hub.call_cache_entries;
        Gauge "tickring_call_cache_bytes" "Bytes of those." = shard.hub.call_cache_bytes;
        Counter "tickring_messages_processed_total" "Messages that their backends answered by a result." = shard.hub.messages_processed_total;
        Counter "tickring_messages_unprocessed_total" "Messages that their backends answered by an error, not in time, or by nothing that is an answer." = shard.hub.messages_unprocessed_total;
        Counter "tickring_processor_pauses_total" "Times when a backend took no messages and was left alone for a while." = shard.hub.processor_pauses_total;
        Gauge "tickring_calls_under_way" "Calls that wait for an answer of their backend." = shard.hub.calls_under_way;
        Counter "tickring_reads_paused_total" "Times that reading a connection was paused." = shard.hub.reads_paused_total;
        Counter "tickring_gaps_total" "Gaps in what other threads sent." = shard.hub.gaps_total;
        Counter "tickring_frames_skipped_total" "Frames that came while their topic was being recovered." = shard.hub.frames_skipped_total;
        Counter "tickring_transmitted_bytes_total" "Bytes handed to the ring for clients." = shard.hub.bytes_transmitted_total;
        Counter "tickring_overload_entered_total" "Times that the shard became overloaded." = shard.hub.overload_entered_total;
        Counter "tickring_overload_left_total" "Times that it was well again." = shard.hub.overload_left_total;
        Gauge "tickring_overload_stance" "0 normal, 1 guarded (no newcomers), 2 shedding (slow consumers are closed)." = shard.hub.overload_stance;
        Counter "tickring_probes_answered_total" "Answers to /ready and /healthz on the clients' listeners." = shard.hub.probes_answered_total;
        Gauge "tickring_queue_costliest_bytes" "Unsent bytes of the costliest slow consumer, while the shard is overloaded." = shard.costliest_bytes;
        Gauge "tickring_queue_deepest_frames" "The most frames that waited for one connection in the last tenth of a second, reports of orders and other data each by themselves: of those to which one more came in it, and of the deepest before it." = shard.deepest_frames;
        Counter "tickring_busy_turns_total" "Turns that did something." = shard.busy_turns_total;
        Counter "tickring_busy_seconds_total" "Time that those took: work, whatever polling adds." = shard.busy_ns_total;
        Gauge "tickring_turn_mean_seconds" "Length of turns as who waits for one feels it, over about a second." = shard.turn_ns_mean;
        Gauge "tickring_turn_max_seconds" "The longest turn since the start." = shard.turn_ns_max;
    }
}

metrics! {
    /// Of the venue's thread: `thread` is `venue`.
    VENUE, tell_venue(venue: &VenueReading<'_>) {
        Gauge "tickring_instruments" "Instruments known." = venue.instruments;
        Gauge "tickring_trading_halted" "1 while the kill switch holds for everybody." = u64::from(venue.is_halted);
        Gauge "tickring_links" {"state": "connecting"} "Links to venues, the feed among them, by how they are." = count_in(venue.links, LinkState::Connecting);
        Gauge "tickring_links" {"state": "reconciling"} "" = count_in(venue.links, LinkState::Reconciling);
        Gauge "tickring_links" {"state": "up"} "" = count_in(venue.links, LinkState::Up);
        Gauge "tickring_links" {"state": "down"} "" = count_in(venue.links, LinkState::Down);
        Gauge "tickring_links" {"state": "given_up"} "" = count_in(venue.links, LinkState::GivenUp);
        Counter "tickring_feed_events_total" "Events that feed and links told." = venue.market.feed_events_total;
        Counter "tickring_book_changes_total" "Levels of books that changed." = venue.market.book_changes_total;
        Counter "tickring_trades_total" "Trades." = venue.market.trades_total;
        Counter "tickring_trades_refused_total" "Trades of more than can be counted: dropped." = venue.market.trades_refused_total;
        Counter "tickring_instruments_refused_total" "Instruments for which there is no place, or that another source has." = venue.market.instruments_refused_total;
        Counter "tickring_reports_refused_total" "Reports on orders that were never given to who reports: dropped." = venue.market.reports_refused_total;
        Counter "tickring_links_outdated_total" "Links that ended since their venue knows a later owner of the market: nothing is sent there any more." = venue.market.links_outdated_total;
        Counter "tickring_departures_total" "Clients that had asked desk or office for something and went." = venue.market.departures_total;
        Counter "tickring_desk_asks_total" "Requests to the desk." = venue.desk.asks_total;
        Counter "tickring_desk_answers_total" "Answers of the desk." = venue.desk.answers_total;
        Counter "tickring_desk_refusals_total" "Answers that were refusals." = venue.desk.refusals_total;
        Counter "tickring_desk_full_total" "Refusals since a bound of memory was reached." = venue.desk.full_total;
        Counter "tickring_desk_throttled_total" "Refusals for want of credits." = venue.desk.throttled_total;
        Counter "tickring_orders_total" "Orders that were taken." = venue.desk.orders_total;
        Counter "tickring_orders_repeated_total" "Orders that were asked for again by their label." = venue.desk.repeats_total;
        Counter "tickring_desk_events_total" "Events of orders, trades and positions that were told." = venue.desk.events_total;
        Counter "tickring_desk_looked_at_total" "Orders, fills and instruments looked at to cancel or tell of many." = venue.desk.looked_at_total;
        Counter "tickring_fills_total" "Fills." = venue.desk.fills_total;
        Counter "tickring_fills_late_total" "Fills of orders that were closed before." = venue.desk.late_fills_total;
        Counter "tickring_fills_excess_total" "Fills beyond an order's amount: the venue is wrong." = venue.desk.overfills_total;
        Counter "tickring_fills_strange_total" "Fills of no known order: dropped." = venue.desk.strange_fills_total;
        Counter "tickring_reports_strange_total" "Reports of no known order: dropped." = venue.desk.strange_reports_total;
        Counter "tickring_orders_doubted_total" "Orders whose outcome was unknown when a link died." = venue.desk.doubts_total;
        Counter "tickring_orders_forgotten_total" "Closed orders forgotten to remember newer ones." = venue.desk.forgotten_orders_total;
        Counter "tickring_fills_forgotten_total" "Fills forgotten to keep newer ones." = venue.desk.forgotten_fills_total;
        Counter "tickring_cancels_total" {"reason": "disconnect"} "Orders cancelled by the desk itself, by reason." = venue.desk.cancels_on_disconnect_total;
        Counter "tickring_cancels_total" {"reason": "timeout"} "" = venue.desk.cancels_on_timeout_total;
        Counter "tickring_cancels_total" {"reason": "halt"} "" = venue.desk.cancels_on_halt_total;
        Counter "tickring_cancels_total" {"reason": "delisting"} "" = venue.desk.cancels_on_delisting_total;
        Counter "tickring_cancels_given_up_total" "Orders that were to be cancelled and are open: the venue refused too often." = venue.desk.cancels_given_up_total;
        Counter "tickring_office_asks_total" "Requests to the office of messages." = venue.office.asks_total;
        Counter "tickring_office_answers_total" "Its answers." = venue.office.answers_total;
        Counter "tickring_office_refusals_total" "Answers that were refusals." = venue.office.refusals_total;
        Counter "tickring_office_full_total" "Refusals since a bound of memory was reached." = venue.office.full_total;
        Counter "tickring_office_store_refusals_total" "Refusals since the store is absent, loads, fails or has enough to do." = venue.office.store_refusals_total;
        Counter "tickring_messages_accepted_total" {"priority": "low"} "Messages that were accepted, one to a group once a receiver." = venue.office.accepted_total[0];
        Counter "tickring_messages_accepted_total" {"priority": "normal"} "" = venue.office.accepted_total[1];
        Counter "tickring_messages_accepted_total" {"priority": "high"} "" = venue.office.accepted_total[2];
        Counter "tickring_messages_accepted_total" {"priority": "critical"} "" = venue.office.accepted_total[3];
        Counter "tickring_messages_durable_total" "Of those, the ones that are stored before their sender is answered." = venue.office.durable_total;
        Counter "tickring_messages_repeated_total" "Sends that were recognised as repeated by their name." = venue.office.repeats_total;
        Counter "tickring_message_deliveries_total" "Deliveries of messages, one for each connection." = venue.office.deliveries_total;
        Counter "tickring_message_redeliveries_total" "Of those, the ones that the receiver may have had before." = venue.office.redeliveries_total;
        Counter "tickring_messages_confirmed_total" "Messages that were confirmed." = venue.office.confirmed_total;
        Counter "tickring_messages_rejected_total" "Rejections by receivers." = venue.office.rejected_total;
        Counter "tickring_message_ack_timeouts_total" "Deliveries that nobody confirmed in time." = venue.office.ack_timeouts_total;
        Counter "tickring_messages_returned_total" "Messages that came back since all connections that had them went." = venue.office.returned_total;
        Counter "tickring_messages_handed_back_total" "Messages that wait on since the backend that is to process them did not take them." = venue.office.handed_back_total;
        Counter "tickring_messages_cancelled_total" "Scheduled messages that were cancelled." = venue.office.cancelled_total;
        Counter "tickring_messages_expired_total" "Messages whose time to live was over." = venue.office.expired_total;
        Counter "tickring_messages_dead_total" {"cause": "attempts"} "Messages that became dead letters." = venue.office.dead_total[0];
        Counter "tickring_messages_dead_total" {"cause": "expired"} "" = venue.office.dead_total[1];
        Counter "tickring_messages_dead_total" {"cause": "overflow"} "" = venue.office.dead_total[2];
        Counter "tickring_messages_dead_total" {"cause": "too_old"} "" = venue.office.dead_total[3];
        Counter "tickring_messages_dead_total" {"cause": "session_gone"} "" = venue.office.dead_total[4];
        Counter "tickring_dead_letters_dropped_total" "Dead letters that were dropped to keep newer ones." = venue.office.dead_dropped_total;
        Counter "tickring_dead_letters_requeued_total" "Dead letters that were queued again." = venue.office.dead_requeued_total;
        Counter "tickring_dead_letters_purged_total" "Dead letters that were purged." = venue.office.dead_purged_total;
        Counter "tickring_messages_due_total" "Scheduled messages that came due." = venue.office.due_total;
        Counter "tickring_message_receipts_total" "Receipts to senders." = venue.office.receipts_total;
        Counter "tickring_message_receipts_dropped_total" "Receipts for which the sender's connection had no room." = venue.office.receipts_dropped_total;
        Counter "tickring_presence_changes_total" "Changes of presence that were told." = venue.office.presence_total;
        Counter "tickring_presence_kept_total" "Changes of who is present that were handed out to be kept for a cluster's next owner." = venue.office.presence_kept_total;
        Counter "tickring_presence_unwritten_total" "Those of users who went that were not, since too many waited: what is kept of them is forgotten by its age." = venue.office.presence_unwritten_total;
        Counter "tickring_presence_held_total" "Users who counted as present since the owner before had left them so." = venue.office.presence_held_total;
        Counter "tickring_presence_seen_again_total" "Of those, the ones of whom a connection was seen in time." = venue.office.presence_seen_again_total;
        Counter "tickring_presence_lapsed_total" "Of those, the ones of whom none was: they were told as away." = venue.office.presence_lapsed_total;
        Counter "tickring_presence_unheld_total" "Users whom the owner before had left as present and for whom there was no room." = venue.office.presence_unheld_total;
        Counter "tickring_message_names_forgotten_total" "Senders' names for messages that were forgotten early, to remember newer ones." = venue.office.names_forgotten_total;
        Counter "tickring_groups_expired_total" "Groups whose lifetime was over." = venue.office.groups_expired_total;
        Counter "tickring_office_batches_total" "Batches of changes that were made for the store." = venue.office.batches_total;
        Counter "tickring_office_batch_ops_total" "Changes in them." = venue.office.batch_ops_total;
        Counter "tickring_office_batches_refused_total" "Batches that the store refused." = venue.office.batches_refused_total;
        Counter "tickring_messages_store_lost_total" "Messages that were forgotten, and their senders told so, since the store refused them." = venue.office.store_lost_total;
        Counter "tickring_office_entries_loaded_total" "Entries that the store told at the start." = venue.office.loaded_total;
        Counter "tickring_office_entries_unreadable_total" "Entries of the store that cannot be read: they are left as they are." = venue.office.unreadable_total;
        Counter "tickring_office_words_strange_total" "Words of the store that no batch explains." = venue.office.strange_words_total;
        Gauge "tickring_messages_held" "Messages that are not over." = venue.held.messages;
        Gauge "tickring_messages_held_bytes" "Bytes of their contents." = venue.held.message_bytes;
        Gauge "tickring_messages_queued" {"priority": "low"} "Messages that wait for a connection with room." = venue.held.queued[0];
        Gauge "tickring_messages_queued" {"priority": "normal"} "" = venue.held.queued[1];
        Gauge "tickring_messages_queued" {"priority": "high"} "" = venue.held.queued[2];
        Gauge "tickring_messages_queued" {"priority": "critical"} "" = venue.held.queued[3];
        Gauge "tickring_messages_resting" "Messages that wait for their next attempt." = venue.held.resting;
        Gauge "tickring_messages_unconfirmed" "Messages that are delivered and not confirmed." = venue.held.unconfirmed;
        Gauge "tickring_messages_scheduled" "Messages that are not due yet." = venue.held.scheduled;
        Gauge "tickring_messages_storing" "Messages on their way to the disk, whose senders are not answered yet." = venue.held.storing;
        Gauge "tickring_dead_letters" "Dead letters." = venue.held.dead_letters;
        Gauge "tickring_dead_letters_bytes" "Bytes of their contents." = venue.held.dead_letter_bytes;
        Gauge "tickring_message_users" "Users whom the office of messages knows." = venue.held.users;
        Gauge "tickring_message_users_present" "Of those, the ones who are told as present: with a connection that subscribes, or held." = venue.held.users_present;
        Gauge "tickring_message_users_held" "Of those, the ones who were present under the owner before, and of whom no connection is known." = venue.held.users_held;
        Gauge "tickring_message_sessions" "Connections that subscribe to messages, and backends that process them." = venue.held.sessions;
        Gauge "tickring_groups" "Groups." = venue.held.groups;
        Gauge "tickring_message_topics" "Topics of messages to which somebody subscribes." = venue.held.topics;
        Gauge "tickring_message_names" "Senders' names for messages that are remembered." = venue.held.names;
        Gauge "tickring_office_batches_under_way" "Batches that the store has not answered." = venue.held.batches_under_way;
        Gauge "tickring_office_changes_waiting" "Changes that no batch has taken yet." = venue.held.changes_waiting;
        Gauge "tickring_office_store_state" {"state": "absent"} "1 for how the store of messages is." = u64::from(venue.held.store.as_str() == "absent");
        Gauge "tickring_office_store_state" {"state": "loading"} "" = u64::from(venue.held.store.as_str() == "loading");
        Gauge "tickring_office_store_state" {"state": "ready"} "" = u64::from(venue.held.store.as_str() == "ready");
        Gauge "tickring_office_store_state" {"state": "faulty"} "" = u64::from(venue.held.store.as_str() == "faulty");
        Gauge "tickring_cluster_role" "What this node is to its cluster: 0 it is of none, 1 it owns the market, 2 it follows who does, 3 it knows of no owner, 4 it takes part no more." = venue.node.role;
        Gauge "tickring_cluster_fence" "The number of the newest owner that it knows of; it grows with each." = venue.node.fence;
        Counter "tickring_cluster_takings_total" "How often this node has become the owner." = venue.node.takings_total;
        Counter "tickring_cluster_requests_total" "Requests of nodes that follow this one." = venue.node.requests_total;
        Counter "tickring_cluster_requests_odd_total" "Of those, the ones that mean nothing." = venue.node.requests_odd_total;
        Counter "tickring_cluster_parts_told_total" "Messages in which this node told its market to others." = venue.node.parts_told_total;
        Counter "tickring_cluster_parts_dropped_total" "Of its own, those that it dropped since NATS took fewer than were told: who misses them asks for the state anew." = venue.node.parts_dropped_total;
        Counter "tickring_cluster_parts_heard_total" "Messages in which it heard another's." = venue.node.parts_heard_total;
        Counter "tickring_cluster_changes_heard_total" "Changes of another's market that it heard in them: levels of a book, trades, states." = venue.node.changes_heard_total;
        Counter "tickring_cluster_streams_lost_total" "How often it asked for another's market anew, since something was lost." = venue.node.streams_lost_total;
        Counter "tickring_cluster_nodes_given_up_total" "Nodes that followed this one and were given up: their clients have departed." = venue.node.nodes_given_up_total;
        Counter "tickring_cluster_nodes_deaf_total" "Of those, the ones that did not hear what they were told." = venue.node.nodes_deaf_total;
        Counter "tickring_cluster_requests_not_sent_total" "Requests of this node's clients that were refused as not sent, since no owner was there for them." = venue.node.not_sent_total;
    }
}

metrics! {
    /// Of the process, read when it is asked for.
    PROCESS, tell_process(process: &ProcessReading) {
        Gauge "tickring_build_info" {"version": env!("CARGO_PKG_VERSION")} "1; the label says which version runs." = 1;
        Gauge "tickring_ready" "1 while new clients are let in." = u64::from(process.is_ready);
        Gauge "tickring_startup_seconds" "From the process's start to readiness." = process.startup_ns;
        Gauge "tickring_drain_seconds" "Since the stop began; 0 before." = process.drain_ns;
        Gauge "tickring_connections" "Connections that hold a place, all shards together." = process.connections;
        Gauge "tickring_connections_max" "Places that there are (limits.connections_max)." = process.connections_max;
        Gauge "tickring_memory_held_bytes" "Bytes that all threads hold of what clients can make grow." = process.memory_held_bytes;
        Gauge "tickring_memory_budget_bytes" "Bytes that they may hold (limits.memory_bytes_max)." = process.memory_budget_bytes;
        Counter "tickring_log_lines_total" "Lines of the log." = process.log_lines_total;
        Counter "tickring_log_lines_dropped_total" "Lines that are missing in the log's file (log.file), which could not be written, or not so fast." = process.log_lines_dropped_total;
        Counter "tickring_control_requests_total" "Requests of operators." = process.control_requests_total;
        Counter "tickring_control_failures_total" "Requests of operators that were answered by a status of 400 or above." = process.control_failures_total;
        Counter "tickring_status_cache_hits_total" "Requests of operators about the status that were told an answer of 100 ms before at most." = process.status_cache_hits_total;
        Counter "tickring_status_cache_misses_total" "Those whose answer was made, and is kept." = process.status_cache_misses_total;
        Gauge "tickring_backends" "Backends of calls; those of each are below." = process.backends_count;
        Gauge "tickring_backends_down" "Those of which no process and no address takes calls." = process.backends_down_count;
        Gauge "tickring_store_state" "How the store for durable messages is: 0 there is none, 1 it loads, 2 it is ready, 3 it is faulty and refuses." = process.store.state;
        Counter "tickring_store_commits_total" "Commits of the store, each with one fsync." = process.store.commits_total;
        Counter "tickring_store_batches_total" "Batches that are on the disk: those of one commit share its fsync." = process.store.batches_total;
        Counter "tickring_store_operations_total" "Entries that those put or removed." = process.store.operations_total;
        Counter "tickring_store_written_bytes_total" "Bytes of the values that those put." = process.store.bytes_total;
        Counter "tickring_store_commit_seconds_total" "Time that commits took; by their number, the mean." = process.store.commit_ns_total;
        Gauge "tickring_store_commit_max_seconds" "The longest commit since the start." = process.store.commit_ns_max;
        Gauge "tickring_store_commit_under_way_seconds" "How long the commit that is under way has taken: a disk that does not answer." = process.store.commit_under_way_ns;
        Gauge "tickring_store_queued_batches" "Batches that were sent and are neither on the disk nor refused." = process.store.queued_batches;
        Gauge "tickring_store_queued_bytes" "Bytes of those." = process.store.queued_bytes;
        Counter "tickring_store_refused_batches_total" {"fault": StoreFault::ALL[0].as_str()} "Batches that are not on the disk, by why." = process.store.refused_total[0];
        Counter "tickring_store_refused_batches_total" {"fault": StoreFault::ALL[1].as_str()} "" = process.store.refused_total[1];
        Counter "tickring_store_refused_batches_total" {"fault": StoreFault::ALL[2].as_str()} "" = process.store.refused_total[2];
        Counter "tickring_store_refused_batches_total" {"fault": StoreFault::ALL[3].as_str()} "" = process.store.refused_total[3];
        Counter "tickring_store_refused_batches_total" {"fault": StoreFault::ALL[4].as_str()} "" = process.store.refused_total[4];
        Counter "tickring_store_refused_batches_total" {"fault": StoreFault::ALL[5].as_str()} "" = process.store.refused_total[5];
        Gauge "tickring_store_loaded_entries" "Entries that were loaded at the start." = process.store.loaded_entries;
        Gauge "tickring_store_load_seconds" "How long it took to read and load them." = process.store.load_ns;
        Gauge "tickring_store_file_bytes" "Length of the store's file." = process.store.file_bytes;
        Counter "tickring_store_backups_total" "Backups that the running server gave." = process.store.backups_total;
        Counter "tickring_store_backups_failed_total" "Backups that were begun or asked for and not given." = process.store.backups_failed_total;
        Gauge "tickring_nats_up" "1 while NATS is there; 0 too of a node that is of no cluster." = u64::from(process.nats.is_up);
        Counter "tickring_nats_reconnects_total" "Connections to NATS that were made again." = process.nats.reconnects_total;
        Counter "tickring_nats_connects_failed_total" "Rounds of tries to connect to NATS, of each of three connections, in which no server took this node." = process.nats.failures_total;
        Counter "tickring_nats_messages_told_total" "Messages that were handed to NATS." = process.nats.told_messages_total;
        Counter "tickring_nats_told_bytes_total" "Bytes of those." = process.nats.told_bytes_total;
        Counter "tickring_nats_messages_heard_total" "Messages that came from NATS." = process.nats.heard_messages_total;
        Counter "tickring_nats_heard_bytes_total" "Bytes of those." = process.nats.heard_bytes_total;
        Counter "tickring_nats_messages_dropped_total" {"why": "away"} "Messages that did not cross: NATS was away, it takes none so long, or a thread was too far behind; who misses them asks for the state anew." = process.nats.dropped_away_total;
        Counter "tickring_nats_messages_dropped_total" {"why": "refused"} "" = process.nats.dropped_refused_total;
        Counter "tickring_nats_messages_dropped_total" {"why": "behind"} "" = process.nats.dropped_behind_total;
        Counter "tickring_nats_messages_dropped_total" {"why": "slow"} "" = process.nats.dropped_slow_total;
        Counter "tickring_nats_messages_dropped_total" {"why": "strange"} "" = process.nats.dropped_strange_total;
        Counter "tickring_nats_lease_unanswered_total" "Requests about the lease that nobody answered in time." = process.nats.lease_unknown_total;
        Counter "tickring_nats_lease_strange_total" "Values of the lease that are none: something else writes its key." = process.nats.lease_strange_total;
        Counter "tickring_nats_session_requests_total" "Requests about named sessions of a cluster." = process.nats.session_requests_total;
        Counter "tickring_nats_session_unanswered_total" "Those of them that nobody answered in time." = process.nats.session_unknown_total;
        Counter "tickring_nats_session_strange_total" "Values of the bucket of named sessions that are none: something else writes there." = process.nats.session_strange_total;
        Counter "tickring_nats_presence_written_total" "Changes of who is present that NATS keeps for the next owner." = process.nats.presence_written_total;
        Counter "tickring_nats_presence_unwritten_total" "Those that NATS did not take, and that are written later as they are then." = process.nats.presence_unwritten_total;
        Counter "tickring_nats_presence_strange_total" "Values of who is present that are none: something else writes the bucket." = process.nats.presence_strange_total;
        Gauge "tickring_nats_round_trip_seconds" "The last time from telling NATS something to hearing it." = process.nats.round_trip_ns;
        Counter "tickring_cluster_invalidations_told_total" "Invalidations of kept results for other nodes, whether NATS was there or not." = process.notices.told_total;
        Counter "tickring_cluster_invalidations_heard_total" "Invalidations of kept results that other nodes told." = process.notices.heard_total;
        Counter "tickring_cluster_invalidation_gaps_total" "Times when all kept results were forgotten, since such words of other nodes were lost or may have been: NATS was away, too." = process.notices.gaps_total;
        Counter "tickring_cluster_invalidations_odd_total" "What came in their place and is none: another version wrote it, or something else." = process.notices.odd_total;
        Counter "process_cpu_seconds_total" "Processor time of the process." = process.cpu_ns;
        Gauge "process_resident_memory_bytes" "Resident memory." = process.resident_bytes;
        Gauge "process_virtual_memory_bytes" "Virtual memory." = process.virtual_bytes;
        Gauge "process_open_fds" "Open descriptors; clients' sockets are the rings' and not among them." = process.open_fds;
        Gauge "process_max_fds" "Descriptors that may be open." = process.max_fds;
        Gauge "process_start_time_seconds" "When the process started, since 1970." = process.start_unix_ns;
    }
}

metrics! {
    /// Of each backend of calls that the control thread carries: label `backend`.
    BACKEND, tell_backend(backend: &BackendStatus) {
        Gauge "tickring_backend_up" "1 while a call would be carried." = u64::from(backend.is_up);
        Gauge "tickring_backend_calls_under_way" "Calls that it has not answered." = backend.under_way();
        Counter "tickring_backend_calls_total" "Calls for it." = backend.counters.calls_total;
        Counter "tickring_backend_answers_total" "Those that it answered, by a result or an error of its own." = backend.counters.answered_total;
        Counter "tickring_backend_failures_total" "Those that have no answer of it: not sent, lost, too late, garbled or too long." = backend.counters.failed_total;
        Counter "tickring_backend_retries_total" "Attempts after the first one of a call." = backend.counters.retries_total;
        Counter "tickring_backend_batches_total" "Arrays of calls that it was sent." = backend.counters.batches_total;
        Counter "tickring_backend_starts_total" "Processes that were started, or connections that were begun." = backend.counters.starts_total;
        Counter "tickring_backend_ends_total" "Processes that ended without being told to." = backend.counters.ends_total;
        Counter "tickring_backend_garbage_lines_total" "Lines that were no messages; those of a process once it has ended." = backend.counters.garbage_total;
        Counter "tickring_backend_late_answers_total" "Answers that nobody waited for any more; those of a process once it has ended." = backend.counters.late_total;
        Counter "tickring_backend_invalidations_total" "Times when it said that kept results of its methods hold no more; what came too fast was put together and is one." = backend.counters.invalidations_total;
    }
}
