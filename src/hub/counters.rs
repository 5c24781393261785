//! What a hub counts. PURE. Each field is a counter since the start, named as its metric.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct HubCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl HubCounters {
            /// Each counter with its name, in the order of declaration.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

counters! {
    connections_opened_total,
    connections_closed_total,
    /// How long those had been open, from their accept, in nanoseconds.
    connections_closed_ns_total,
    messages_received_total,
    bytes_received_total,
    /// Bytes that compressed messages made.
    inflated_bytes_total,
    requests_total,
    requests_failed_total,
    replies_total,
    /// Frames put into queues, one per subscriber.
    deliveries_total,
    /// Of those, compressed ones.
    deflated_deliveries_total,
    /// Events that a subscriber of class *latest* was spared because it was behind: a newer value or a snapshot took
    /// their place.
    events_conflated_total,
    /// Snapshots and current values encoded for those who joined or fell behind.
    values_encoded_total,
    /// Messages of this shard's clients that their topics' homes have given a place; what is refused is none.
    messages_published_total,
    /// Messages, receipts and changes of presence that were queued for connections, and frames of them that were compressed.
    messages_delivered_total,
    messages_deflated_total,
    /// Those whose connection had gone, or did not subscribe any more.
    messages_too_late_total,
    /// Calls that were handed on to backends, and how they ended: by a result, by the backend's own error, by a failure that was told
    /// of, at their deadline. Cancelled are requests that waited and were cancelled, or whose client is gone.
    calls_sent_total,
    calls_answered_total,
    calls_refused_total,
    calls_failed_total,
    calls_timed_out_total,
    calls_cancelled_total,
    /// Answers that came for calls that were over: late ones, second ones.
    call_answers_late_total,
    /// Messages that backends were handed: those that they answered by a result, and those they did not though they had them. Times when
    /// a backend took none and was left alone for a while.
    messages_processed_total,
    messages_unprocessed_total,
    processor_pauses_total,
    /// What backends said of calls before they answered: notifications to clients, and those that a client was spared since it does
    /// not read.
    call_progress_total,
    call_progress_dropped_total,
    /// Requests for results that may be kept: those that were answered by what is kept, those that joined a call that was under way,
    /// and those that made a call.
    call_cache_hits_total,
    call_cache_joined_total,
    call_cache_misses_total,
    /// Results that went to make room, and since their time was over.
    call_cache_evicted_total,
    call_cache_expired_total,
    /// Times when somebody said that results of some methods hold no more, and results that went by that, those of calls that were under way
    /// among them.
    call_cache_invalidations_total,
    call_cache_invalidated_total,
    /// Gauges: results that are kept, keys whose calls are under way, and the bytes of both.
    call_cache_entries,
    call_cache_bytes,
    /// A gauge: calls that wait for an answer.
    calls_under_way,
    /// Times when reading a connection was paused.
    reads_paused_total,
    /// Gaps in what other homes sent.
    gaps_total,
    /// Frames that came while their topic was being recovered.
    frames_skipped_total,
    bytes_transmitted_total,
    /// Times when the overload level was raised from normal, and when it came back to it.
    overload_entered_total,
    overload_left_total,
    /// A gauge: 0 normal, 1 guarded, 2 shedding.
    overload_stance,
    /// Answers to `GET /ready` and `GET /healthz`.
    probes_answered_total,
}
