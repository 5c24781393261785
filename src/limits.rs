//! Every bound that is not a key of the configuration, with its reason; relations between bounds are proved when
//! compiling. PURE. Bounds that belong to one type's representation (a symbol's length, say) stand beside the type.

/// Threads of a mesh: a [`crate::model::ids::HomeSet`] holds one bit for each.
pub const HOMES_MAX: usize = 64;

/// Listeners of one process, each with a socket on every shard's ring.
pub const LISTENERS_MAX: usize = 8;

/// Outgoing connections that one ring makes at a time; made ones count as connections. As many as a shard has links: backends that nobody
/// answers for hold up no other's.
pub const CONNECTS_MAX: usize = RPC_LINKS_MAX as usize;
const _: () = assert!(SOURCES_MAX <= CONNECTS_MAX);

/// Sockets that are handed in, connected, of which one ring takes so many at a time: they are not held up by connects that nobody answers.
pub const ADOPTIONS_MAX: usize = 8;

/// Connections from within the process that wait for a shard to take them. Each is a call of a tool, of which so many are under way at most.
pub const INWARD_CONNECTIONS_MAX: usize = 64;

/// Bytes of a tool's arguments: the longest are an order's, with a label.
pub const TOOL_ARGUMENTS_BYTES_MAX: usize = 4096;
/// Bytes of the answer to a call of a tool: a book of 10,000 levels has some 700 KB. It is told twice, once as a string, in which half
/// of it may be escapes.
pub const TOOL_ANSWER_BYTES_MAX: usize = 5 << 19;
const _: () = assert!(3 * TOOL_ANSWER_BYTES_MAX + 1024 <= MCP_MESSAGE_BYTES_MAX);

/// Instruments in all. Each costs a shard some 20 KiB (book, recent trades, rolling day).
pub const INSTRUMENTS_MAX: usize = 4096;

/// The feed and all links to venues: a bit of 64 each says for whom a name is reserved.
pub const SOURCES_MAX: usize = 64;

/// Backends: a thousand small processes and some services.
pub const BACKENDS_MAX: usize = 1024;
/// Child processes of all backends. Each costs three pipes' ends and some kilobytes here, and what it is itself.
pub const PROCESSES_MAX: usize = 1024;
/// Bytes of a line that a child writes, of which no more than an answer may have is held; past it the child is ended.
pub const CHILD_LINE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What is held of a line that is too long, and of room for the next: its beginning says whose answer it is.
pub const CHILD_LINE_BYTES_KEPT: usize = 1024;
/// Bytes of a line that a child writes to standard error, and such lines in a second, of one child; what is beyond is counted.
pub const CHILD_LOG_LINE_BYTES_MAX: usize = 1000;
pub const CHILD_LOG_LINES_PER_S_MAX: u32 = 20;
/// Bytes of calls that a child has not read yet, beside what its pipe holds; one more call is refused as busy.
pub const CHILD_UNREAD_BYTES_MAX: usize = 1024 * 1024;
/// How long a child may read nothing of what waits for it before it is ended.
pub const CHILD_UNREAD_NS_MAX: u64 = 30_000_000_000;
/// Calls in a row that run out of time at one child, none answered between, before it is ended as one that hangs.
pub const CHILD_CALLS_TIMED_OUT_MAX: u32 = 8;
/// What one child has said of calls that go on and control has not heard yet; what is beyond is dropped.
pub const CHILD_PROGRESS_MAX: usize = 64;
/// From one start of a child to the next of a backend that has many, at boot.
pub const CHILD_STARTS_APART_NS: u64 = 2_000_000;
/// How long a child runs before it counts as one that works, although it was asked nothing.
pub const CHILD_SETTLED_NS: u64 = 60_000_000_000;
/// Addresses of one backend. Each pick looks at all of them.
pub const BACKEND_ADDRESSES_MAX: usize = 32;
/// Bytes of the answer to an array of calls over HTTP, where those of one answer are fewer: control holds it in one piece.
pub const ARRAY_ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How many times its first span an address is ejected for at the longest.
pub const EJECTION_TIMES_MAX: u32 = 10;
/// Retries of one backend's calls that its share of the calls need not have earned: so that a service with few calls has some.
pub const RETRIES_IN_RESERVE: u32 = 10;
/// How often a shard tells operators how its links are, at most.
pub const BACKEND_TICK_NS: u64 = 1_000_000_000;
/// Links of one shard to `tcp` backends: beside its clients in its ring, each with a buffer or two.
pub const RPC_LINKS_MAX: u32 = 256;
/// Between attempts at a link that fail: after the first, and at most.
pub const RPC_RECONNECT_NS: u64 = 100_000_000;
pub const RPC_RECONNECT_NS_MAX: u64 = 5_000_000_000;
/// How often names of addresses that some shard does not reach are looked up again: no resolver minds.
pub const BACKEND_LOOKUP_NS: u64 = 2_000_000_000;
/// Links of one shard to each address of a `tcp` backend.
pub const RPC_LINKS_PER_ADDRESS_MAX: u64 = 16;
/// Calls of one link under way: a backend that has so many to do is not helped by more.
pub const RPC_CALLS_PER_LINK_MAX: u32 = 4_096;
/// Calls under way on a link from which on one that is idle is connected.
pub const RPC_CALLS_BEFORE_ANOTHER_LINK: u32 = 8;
/// Bytes that wait on a link, beyond which it takes no calls: its backend does not read. The last call may exceed it.
pub const RPC_UNSENT_BYTES_MAX: usize = 1024 * 1024;
/// Calls and probes under way from one shard to all its `tcp` backends; those of calls are bounded by the hub before.
pub const RPC_FLIGHTS_MAX: usize = 131_072;
/// Buffers of requests that are kept to be used again, as many as one turn's calls of a busy shard.
pub const RPC_SPARE_BUFFERS_MAX: usize = 1_024;
/// Calls in a row that ended at their deadline, without a byte from their link since they were sent, after which that is closed.
pub const RPC_SILENT_TIMEOUTS_MAX: u32 = 3;
/// Lines in a row that are no messages, after which a link is closed.
pub const RPC_GARBAGE_LINES_MAX: u32 = 16;
/// Bytes of a line that is too long that are skipped before its link is closed.
pub const RPC_SKIPPED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Methods, and starts of methods, that they have in all.
pub const ROUTES_MAX: usize = 16_384;
const _: () = assert!(ROUTES_MAX <= u32::MAX as usize);
/// Calls of one shard that clients wait for, some 300 bytes each besides what is sent.
pub const CALLS_WAITING_MAX: usize = 65_536;
/// Requests that wait for one call's answer, where several ask for the same: they are answered at once, some 0.5 us each.
pub const CALL_JOINED_MAX: u32 = 4_096;
/// Calls of one turn and the bytes of their methods and parameters, before the shard hands them on: more than the received bytes
/// of a turn make, but for a read that inflates.
pub const CALLS_OUTGOING_MAX: usize = 16_384;
pub const CALL_BYTES_OUTGOING_MAX: usize = 4 * 1024 * 1024;
/// Bytes of a backend's result that is kept to be told again; longer ones are not.
pub const CACHED_ANSWER_BYTES_MAX: usize = 256 * 1024;
/// How often what is kept is looked at for what is over, and how many of it at a time: some 10 us.
pub const CACHE_SWEEP_NS: u64 = 250_000_000;
pub const CACHE_SWEPT_MAX: usize = 1_024;
/// Results that are looked at to make room for one; where all of them were asked for since, the new one is not kept.
pub const CACHE_STEPS_MAX: usize = 64;
/// Buffers of results that have gone, and bytes of one, that are kept to be used again.
pub const CACHE_SPARE_MAX: usize = 64;
pub const CACHE_SPARE_BYTES_MAX: usize = 4 * 1024;
/// Methods, and starts of methods, that one invalidation of kept results names; where more come together, all of the backend's are meant.
pub const INVALIDATED_METHODS_MAX: usize = 64;
/// Bytes of one: a method's name and `*`.
pub const INVALIDATED_METHOD_BYTES_MAX: usize = 129;
/// Backends whose invalidations wait for one shard, or for one turn of control; beyond them everything is forgotten.
pub const INVALIDATIONS_GATHERED_MAX: usize = 64;
/// From one invalidation of a backend to the next: 20 a second go on to shards and nodes, what comes faster is put together.
pub const INVALIDATIONS_APART_NS: u64 = 50_000_000;
/// Invalidations, and methods of them, that a shard has not gone through all of its results for; beyond them everything is forgotten. Each
/// is held against what is asked for meanwhile.
pub const CACHE_INVALIDATIONS_MAX: usize = 32;
pub const CACHE_INVALIDATED_METHODS_MAX: usize = 2 * INVALIDATED_METHODS_MAX;
/// Results that a turn goes through for them, each held against all those methods: a bound on what they take of a turn.
pub const CACHE_FORGETTING_STEPS: usize = 512;
/// Bytes of a message with all that is said of it, as its backend is told: a call of a turn in which there is none before it.
pub const PROCESSED_BYTES_MAX: usize = CALL_BYTES_OUTGOING_MAX / 2;
/// How long a backend that took no message is left alone: at first, and at most, twice as long each time.
pub const PROCESSOR_PAUSE_FIRST_NS: u64 = 500_000_000;
pub const PROCESSOR_PAUSE_LONGEST_NS: u64 = 15_000_000_000;
/// Calls that one look at the timers ends because their time is over, some 1 us each.
pub const CALLS_ENDED_PER_TIMEOUT: usize = 1_024;
/// Words of the control thread that a shard takes in one turn, some 1 us each besides their bytes.
pub const CALL_WORDS_PER_TURN_MAX: usize = 512;
/// Words between a shard and the control thread that wait to be taken, each way: calls, cancellations, answers and text.
pub const CALL_WORDS_PER_SHARD_MAX: usize = 4096;
/// Of those that control takes before it looks at what backends have said.
pub const CALL_WORDS_PER_ROUND: usize = 256;
/// How soon control looks again whether a shard's queue, which was full, has room.
pub const CALL_ROOM_LOOK_NS: u64 = 1_000_000;

/// Texts of one connection that are on their way to control, and bytes of them: beyond them it is not read.
pub const PIPE_TEXTS_MAX: usize = 32;
pub const PIPE_TEXTS_BYTES_MAX: usize = 256 * 1024;
/// Bytes of unread texts of control at which a connection is closed: a whole message may come on top of what made reading pause.
pub const PIPE_UNREAD_BYTES_MAX: usize = MCP_MESSAGE_BYTES_MAX + REPLY_BYTES_MAX;
/// Sessions of MCP clients in all; each costs some kilobytes, and what it has under way.
pub const MCP_SESSIONS_MAX: usize = 4096;
/// Requests of one MCP client that are under way.
pub const MCP_REQUESTS_PER_SESSION_MAX: usize = 64;
/// Calls of the gateway's own tools by all MCP clients that are under way, or that nobody waits for any more: each holds its arguments.
pub const MCP_OWN_CALLS_MAX: usize = 1024;
const _: () = assert!(MCP_REQUESTS_PER_SESSION_MAX < MCP_OWN_CALLS_MAX);
/// What a backend asks of clients and has not been answered, for one backend.
pub const MCP_QUESTIONS_PER_LINK_MAX: usize = 64;
/// Requests of clients that wait for one MCP backend to be up: then they are sent at once, and one that has too much waiting for it is
/// given up.
pub const MCP_HELD_PER_LINK_MAX: usize = 384;
const _: () = assert!(MCP_HELD_PER_LINK_MAX + MCP_OWN_REQUESTS_PER_LINK_MAX < MCP_REMOTE_REQUESTS_MAX);
/// Requests of the gateway's own under way to one MCP backend whose answers do not matter.
pub const MCP_OWN_REQUESTS_PER_LINK_MAX: usize = 16;
/// Resources that nobody wants to hear of any more and that one MCP backend is still to be told so of: beyond it, it is not.
pub const MCP_UNTOLD_PER_LINK_MAX: usize = 4096;
/// The address of a resource that somebody subscribes to: kept as long as the subscription.
pub const MCP_SUBSCRIBED_URI_BYTES_MAX: usize = 4096;
/// Resources that one MCP client is told the changes of.
pub const MCP_SUBSCRIPTIONS_PER_SESSION_MAX: usize = 256;
/// Bytes of a message of MCP, either way: pictures and sounds travel inside of them.
pub const MCP_MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Entries of one list of a backend; a gateway with a thousand of them still lists a hundred thousand.
pub const MCP_LIST_ENTRIES_MAX: usize = 4096;
/// Bytes of one list of a backend: some kilobytes for each of two thousand tools.
pub const MCP_LIST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Pages of one list of a backend: one that always names a further page ends here.
pub const MCP_LIST_PAGES_MAX: u32 = 256;
/// Bytes of a backend's cursor, which is sent back to it.
pub const MCP_CURSOR_BYTES_MAX: usize = 4096;
/// Entries of a page for clients, and bytes after which a page ends: a page must fit a message.
pub const MCP_PAGE_ENTRIES_MAX: usize = 1024;
pub const MCP_PAGE_BYTES_MAX: usize = 1024 * 1024;
const _: () = assert!(MCP_PAGE_BYTES_MAX + MCP_LIST_BYTES_MAX <= 2 * MCP_MESSAGE_BYTES_MAX);
/// How long a client's request waits for backends that are starting or telling what they offer; then it is answered without them.
pub const MCP_LISTS_WAIT_NS: u64 = 10_000_000_000;
/// How long a backend may take for its `initialize`.
pub const MCP_INITIALIZE_NS: u64 = 30_000_000_000;
/// A backend that ended is started again after the first, then twice as long each time, up to the second.
pub const MCP_REOPEN_NS: (u64, u64) = (500_000_000, 60_000_000_000);
/// A backend that lived so long begins with the short pause again.
pub const MCP_STEADY_NS: u64 = 60_000_000_000;
/// Progress, and questions to the client, prolong a request; so many times its timeout it may take in all.
pub const MCP_PROLONGED_MAX: u64 = 10;
/// How long a client may take to answer what a backend asks: somebody reads and decides.
pub const MCP_QUESTION_NS: u64 = 600_000_000_000;
/// An MCP session that nobody has used for so long gives its place to a newcomer, where there is no other.
pub const MCP_SESSION_IDLE_NS: u64 = 60_000_000_000;
/// One over HTTP that nobody has used for so long is ended, with what runs for it alone.
pub const MCP_SESSION_LIFE_NS: u64 = 1_800_000_000_000;
const _: () = assert!(MCP_SESSION_IDLE_NS < MCP_SESSION_LIFE_NS);
/// Bytes that wait to be taken by one MCP backend: one that takes none is cut.
pub const MCP_LINK_UNREAD_BYTES_MAX: usize = 4 * MCP_MESSAGE_BYTES_MAX;
/// Bodies over HTTP that are longer than the second, or do not say how long they are, and are read at a time.
pub const MCP_LONG_BODIES: (usize, u64) = (32, 64 * 1024);
/// Connections of MCP clients over Streamable HTTP at a time.
pub const MCP_CONNECTIONS_MAX: usize = 1024;
/// Events that wait for one reader of a stream, beyond what its socket holds.
pub const MCP_EVENTS_UNREAD_MAX: usize = 64;
/// Requests to one MCP backend over HTTP whose answers are waited for: beyond it the backend is given up and asked anew.
pub const MCP_REMOTE_REQUESTS_MAX: usize = 512;
/// Events of one session over Streamable HTTP that are kept for readers that were cut, and bytes of them.
pub const MCP_EVENTS_KEPT_MAX: usize = 256;
pub const MCP_EVENTS_KEPT_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of kept events of all sessions: beyond it the session that has the most kept loses them.
pub const MCP_EVENTS_KEPT_BYTES_ALL_MAX: usize = 128 * 1024 * 1024;
const _: () = assert!(MCP_EVENTS_KEPT_BYTES_ALL_MAX >= 8 * MCP_MESSAGE_BYTES_MAX);

/// Lines that wait to be said in the log of the market's sources; what comes beyond is not said.
pub const MARKET_NEWS_MAX: usize = 256;

/// How often a thread tells its board what it counts, at most; before it sleeps it does in any case.
pub const BOARD_TICK_NS: u64 = 100_000_000;
/// Moments that one list of what a turn has finished holds; the latencies of what is beyond are told too long.
pub const TALLY_MOMENTS_MAX: usize = 256;
/// The longest latency that is told as it is; longer ones count as this one.
pub const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// How long whoever asks for histograms waits for a thread to hand over its own; then that thread is told as missing.
pub const HISTOGRAMS_WAIT_NS: u64 = 250_000_000;
/// Files of histograms that are kept: beyond it the oldest is removed.
pub const HISTOGRAM_FILES_MAX: usize = 32;
/// For how long an answer about the status is told again: no longer than boards of threads may be behind.
pub const STATUS_KEPT_NS: u64 = 100_000_000;
/// How old histograms may be that operators are told over HTTP: they are gathered no more often.
pub const HISTOGRAMS_AGE_NS: u64 = 100_000_000;

/// Streams of events that operators read at a time: a page of the console is one. Each costs a connection and some kilobytes a second.
pub const EVENT_STREAMS_MAX: usize = 32;
/// Events that wait for one such reader, beyond what its socket holds.
pub const EVENTS_UNREAD_MAX: usize = 4;

/// Shards are told how links are at most once in this time.
pub const LINK_STATUS_NS: u64 = 1_000_000_000;

/// Of why a link ended, as clients are told.
pub const LINK_REASON_BYTES_MAX: usize = 200;

/// Topics that one home sequences; past it a subscribe or a publish to a new topic is refused.
pub const TOPICS_PER_HOME_MAX: usize = 65_536;

/// Bytes of all histories of one home. Past it a topic keeps less of its own, and who resumes there may find that it is
/// not all there any more.
pub const HISTORY_BYTES_PER_HOME_MAX: usize = 512 * 1024 * 1024;

/// Bytes of records and history with which a home's turn answers joins, beyond which further resumes wait for the next
/// turn: a resume of some bytes asks for a whole history, and everybody's events wait while that is copied. Some four
/// histories of the usual size. The one that reaches it may exceed it by its own history.
pub const REPLAYED_BYTES_PER_TURN: usize = 4 * 1024 * 1024;
const _: () = assert!(
    REPLAYED_BYTES_PER_TURN + HISTORY_BYTES_PER_HOME_MAX < u32::MAX as usize / 2,
    "ranges of a batch are 32 bits wide"
);

/// Bytes of long batches under way to other homes at which a home answers no more resumes until some are taken: a shard
/// that is behind would only have more to make up for. Four turns' worth: a quarter of what a shard's log takes.
pub const LONG_BATCH_BYTES_UNDER_WAY_MAX: usize = 4 * REPLAYED_BYTES_PER_TURN;
const _: () = assert!(4 * LONG_BATCH_BYTES_UNDER_WAY_MAX <= LOG_SEGMENT_BYTES * LOG_SEGMENTS_MAX);

/// How long a topic that nobody listens to keeps its sequence and history, so that a client that was cut off finds
/// its place again.
pub const TOPIC_LINGER_NS: u64 = 60_000_000_000;

/// The same of what is private, longer: a session may come back.
pub const PRIVATE_TOPIC_LINGER_NS: u64 = 600_000_000_000;
const _: () = assert!(PRIVATE_TOPIC_LINGER_NS >= TOPIC_LINGER_NS);

/// Private topics of one account that its home has at a time: each is looked at for each of the account's events. As many
/// as one connection subscribes to, by default.
pub const VIEWS_PER_ACCOUNT_MAX: usize = 1024;
/// Private topics in all: they leave the market's own as much room.
pub const VIEWS_MAX: usize = TOPICS_PER_HOME_MAX / 2;
const _: () = assert!(16 * VIEWS_PER_ACCOUNT_MAX <= VIEWS_MAX);

/// Topics looked at per turn when forgetting those that nobody listens to.
pub const TOPICS_SWEPT_PER_TURN_MAX: usize = 64;

/// Bytes of one segment of a shard's frame log. Small enough to be recycled soon, large enough that a turn's frames
/// seldom cross from one into the next.
pub const LOG_SEGMENT_BYTES: usize = 256 * 1024;

/// Segments of a shard's frame log at most: what slow connections may pin in all (64 MiB; more where frames are longer
/// than a segment). When all are pinned, the
/// connections that pin the oldest are closed as slow consumers.
pub const LOG_SEGMENTS_MAX: usize = 256;

/// Segments of a shard's frame log that are made at its start, pages and all (2 MiB): what bursts and a few stalled readers
/// take, so that an ordinary day brings no page faults into a turn and a resident size that stays.
pub const LOG_SEGMENTS_READY: usize = 8;
const _: () = assert!(LOG_SEGMENTS_READY < LOG_SEGMENTS_MAX);

/// Send buffers of each size whose memory a shard takes at its start (1 MiB and 4 MiB): what bursts take, so that they bring
/// no page faults into a turn.
pub const SEND_SMALL_READY: u32 = 256;
pub const SEND_LARGE_READY: u32 = 64;

/// Frames that wait for connections of one shard, all together; 12 bytes each, in chunks.
pub const QUEUED_FRAMES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of pongs that wait on a connection: some 30 of the longest. A peer that pings on without reading is then answered
/// its newest ping only.
pub const PONG_BYTES_MAX: usize = 4 * 1024;

/// Bytes of unread replies at which a connection's requests are no longer read.
pub const REPLY_BYTES_PAUSE: usize = 256 * 1024;
/// Bytes of unread replies below which reading goes on.
pub const REPLY_BYTES_RESUME: usize = 64 * 1024;
/// Bytes of replies and begun frames that all connections of one shard may hold together. Past it, a connection that is
/// told more while it leaves much unread is closed.
pub const REPLY_BYTES_PER_SHARD_MAX: usize = 512 * 1024 * 1024;
/// Bytes of unread replies at which the connection is closed: what was read before the pause took effect still had to
/// be answered.
pub const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;
const _: () = assert!(REPLY_BYTES_RESUME < REPLY_BYTES_PAUSE && REPLY_BYTES_PAUSE < REPLY_BYTES_MAX);

/// Bytes of unsent data on a connection beyond which its subscriptions of class *latest* are spared events: they are told
/// the newest value, or a book's snapshot, once what is queued has gone. Some hundred events: a client that reads
/// misses none, and one that does not is soon told only what is true now.
pub const CONFLATE_BYTES: u32 = 32 * 1024;
/// The same while the gateway sheds: a dozen events.
pub const CONFLATE_BYTES_SHEDDING: u32 = 4 * 1024;
const _: () = assert!(CONFLATE_BYTES_SHEDDING < CONFLATE_BYTES);

/// Bytes that a connection keeps waiting below which it is not closed to make room: it holds less than it costs to come
/// back.
pub const SHED_BYTES_MIN: usize = 16 * 1024;
/// Slow consumers that a shard closes to make room per tick: some four thousand a second.
pub const SHED_PER_TICK_MAX: usize = 64;
/// Bytes of history that a home forgets to make room per tick: what is copied meanwhile is of the same size.
pub const HISTORY_BYTES_SHORTENED_MAX: usize = 4 * 1024 * 1024;
/// How often a thread says what it holds and looks what the others hold, while it is awake.
pub const PRESSURE_TICK_NS: u64 = WHEEL_SLOT_NS;
/// How often an idle thread that keeps histories looks whether others need their memory.
pub const PRESSURE_LOOK_NS: u64 = 1_000_000_000;

/// Bytes of missed events that a resume may queue beyond what a connection may have unsent: a client that was cut off
/// comes back to several channels at once, and can't have read any of it yet. A sixteenth of the frame log.
pub const RESUMED_BYTES_MAX: u32 = 4 * 1024 * 1024;
const _: () = assert!(RESUMED_BYTES_MAX as usize * 16 <= LOG_SEGMENT_BYTES * LOG_SEGMENTS_MAX);

/// Bytes of a message to the echo endpoint, and its fragments: what the public conformance suites send at most. It is off
/// unless asked for.
pub const ECHO_MESSAGE_BYTES_MAX: u32 = 16 * 1024 * 1024;
pub const ECHO_FRAGMENTS_MAX: u32 = 65_536;

/// Compressed messages of one shard that may be incomplete at a time: each holds an inflater of some 47 KiB besides what it
/// has made, 47 MiB in all. Where another begins, the one that began first has to go; messages that come in one read are no
/// matter.
pub const INCOMPLETE_DEFLATED_MAX: usize = 1024;
/// Bytes that the compressed messages of one read may make before the last of them. A read of 4 KiB could make a
/// thousand times as much; JSON makes ten to thirty times.
pub const INFLATED_BYTES_PER_READ_MAX: u64 = 512 * 1024;

/// Keys in the keys file.
pub const KEYS_MAX: usize = 4096;
/// Issuers of tokens in the keys file, and those of one name: each is a signature's check that one token may ask for.
pub const ISSUERS_MAX: usize = 16;
pub const ISSUER_KEYS_MAX: usize = 4;
/// Patterns of one key or issuer to subscribe by, as many to publish by, and as many of an issuer's accounts: all are tried for
/// a name that none takes.
pub const PATTERNS_PER_KEY_MAX: usize = 64;
/// Accounts that one issuer is denied: each log-in by its tokens, and at SIGHUP each session of theirs, is held against all.
pub const DENIED_PER_ISSUER_MAX: usize = 256;
/// Grants of tokens, which connections and named sessions hold: as many as there may be of those.
pub const GRANTS_MAX: usize = 1 << 20;
/// Named sessions of one key, as on Deribit.
pub const SESSIONS_PER_KEY_MAX: usize = 16;
/// Named sessions of a cluster that a node knows, and those that it is to end there: as many as all keys may have. Some 600 bytes each.
pub const SHARED_SESSIONS_MAX: usize = KEYS_MAX * SESSIONS_PER_KEY_MAX;
/// Bytes of what the bucket of a cluster has of a session, some 550 by the longest names: what is longer is none.
pub const SESSION_VALUE_BYTES_MAX: usize = 1024;
/// Requests to that bucket that one log-in takes: two, and as many again for each other that comes between.
pub const SESSION_REQUESTS_MAX: u8 = 8;
/// After so long a log-in asks that bucket nothing more, and each request is answered within the other, one that waits for NATS to come back within twice that: a client that waits for a reply gives up after some seconds.
pub const SESSION_INQUIRY_NS_MAX: u64 = 3_000_000_000;
pub const SESSION_ANSWER_NS_MAX: u64 = 1_000_000_000;
/// Log-ins that wait for that bucket, and sessions that are being ended there: each has one request under way.
pub const SESSION_INQUIRIES_MAX: usize = 256;
pub const SESSION_ENDINGS_MAX: usize = 16;
/// What the bucket has told and the thread that judges has not taken yet.
pub const SESSION_WORDS_MAX: usize = 1024;
/// How much longer than it lasts a session is kept in the bucket: nodes' clocks may be as far apart.
pub const SESSION_CLOCKS_APART_S: u64 = 60;
/// How long a stop waits for sessions to be ended there.
pub const SESSION_STOP_NS_MAX: u64 = 1_000_000_000;
/// How far a signature's timestamp may be ahead of our clock; for as long after a start signatures are not taken, since a
/// server before it may have taken them.
pub const SIGNATURE_LEAD_MS: u64 = 5_000;
/// How old a signature's timestamp may be set to become.
pub const SIGNATURE_WINDOW_MS_MAX: u64 = 600_000;
/// Signatures that are remembered so that none is taken twice, of all keys and of one. Some 100 bytes each.
pub const SIGNATURES_MAX: usize = 262_144;
pub const SIGNATURES_PER_KEY_MAX: usize = 65_536;
/// What a key may still have remembered while others have used up all of them.
pub const SIGNATURES_FAIR_SHARE: usize = SIGNATURES_MAX / KEYS_MAX;
const _: () = assert!(SIGNATURES_PER_KEY_MAX < SIGNATURES_MAX && SIGNATURES_FAIR_SHARE >= 64);
/// However long the window, a key may log in by 100 signatures a second.
const _: () =
    assert!(SIGNATURES_PER_KEY_MAX as u64 * 1000 / (SIGNATURE_WINDOW_MS_MAX + SIGNATURE_LEAD_MS) >= 100);
/// Buckets that count what has failed by address, and as many by network: 16 bytes each.
pub const FAILURE_BUCKETS: usize = 16_384;
/// How many addresses' worth a network (IPv6: a /48) may fail.
pub const FAILING_ADDRESSES_PER_NETWORK: u32 = 16;
/// Log-ins of one shard that wait for their verdict; those of a storm of reconnects come back in some ten milliseconds.
pub const LOGINS_PENDING_MAX: usize = 4096;
/// Bytes of one text that a client shows, such as a secret, a nonce or a token.
pub const PROOF_BYTES_MAX: usize = 4096;

/// Requests of one shard that wait for another thread: subscribes, publishes and orders, each kind by itself.
pub const REQUESTS_PENDING_MAX: usize = 65_536;
/// Bytes of a binary frame with several messages of SBE, its header not counted: with it no more than a segment of TCP on Ethernet, so that no
/// message waits for more than the segment behind its own. A heartbeat, the shortest, is in it 73 times.
pub const BATCH_FRAME_BYTES_MAX: usize = 1400;
/// Messages of one frame, and their bytes: what one send takes.
pub const MESSAGE_BATCH_MAX: u32 = 256;
pub const MESSAGE_BATCH_BYTES_MAX: u32 = 64 * 1024;
const _: () = assert!(MESSAGE_BATCH_BYTES_MAX <= FLUSH_BYTES);
/// Messages and notices that wait on one connection, and bytes of their contents, at which it is closed as one that does not read.
/// What is under way to it is less; but what it leaves unconfirmed for long is delivered again behind what it has not read.
pub const MESSAGES_WAITING_MAX: usize = 2 * (MESSAGES_UNDER_WAY_MAX + CRITICAL_UNDER_WAY_MAX) as usize;
pub const MESSAGE_BYTES_WAITING_MAX: usize = 16 * 1024 * 1024;
/// Bytes of messages that a shard compresses in one turn; beyond that they go out as they are. Some 2 ms, as 300 bytes take 5.8 us at
/// level 2 (`Deflation`).
pub const MESSAGE_BYTES_DEFLATED_PER_TURN: usize = 128 * 1024;
/// Questions to topics' homes that one connection's subscribes may wait for, where its subscriptions allow as many. A
/// client that subscribes, unsubscribes and subscribes again without waiting has more of them than subscriptions.
pub const JOINS_PENDING_PER_CONNECTION_MAX: usize = 16_384;
const _: () = assert!(JOINS_PENDING_PER_CONNECTION_MAX < REQUESTS_PENDING_MAX);

/// Level updates that an interval's book may gather before the same price is folded.
pub const INTERVAL_TOUCHES_MAX: usize = 16_384;

/// Slots of the timer wheel and the length of one: deadlines are kept to a slot, which is well within what heartbeats
/// and idle limits of seconds ask for.
pub const WHEEL_SLOTS: usize = 1024;
pub const WHEEL_SLOT_NS: u64 = 16_000_000;

/// Batches that a sender keeps for reuse.
pub const BATCHES_KEPT_MAX: usize = 2 * MESH_DATA_BATCHES_MAX;
/// Bytes above which a batch's buffer is not kept but freed.
pub const BATCH_KEPT_BYTES_MAX: usize = 128 * 1024;

/// Batches that a sender has from its start, pages and all, and their sizes (1 MiB): what the turns of a busy market take, so
/// that they bring neither page faults nor buffers that grow by copying into a turn.
pub const BATCHES_READY: usize = 8;
pub const BATCH_READY_BYTES: usize = 64 * 1024;
pub const BATCH_READY_RECORDS: usize = 512;
pub const BATCH_READY_LEVELS: usize = 512;
pub const BATCH_READY_ASKS: usize = 64;
const _: () = assert!(BATCHES_READY <= BATCHES_KEPT_MAX && BATCH_READY_BYTES <= BATCH_KEPT_BYTES_MAX);

/// Received bytes, and what else clients make a shard do, weighed in received bytes (`hub/work.rs`), after which its turn takes
/// no more of them but answers and flushes. What one read makes beyond it, at most some eight messages of the longest, is taken
/// off the next turns. A publisher that sends far ahead is so never further ahead of the flushes than its subscribers' queues
/// can take.
pub const RECEIVED_BYTES_PER_TURN: usize = 32 * 1024;
const _: () = assert!(
    2 * RECEIVED_BYTES_PER_TURN <= FLUSH_BYTES as usize,
    "a message grows by its notification's frame; what a read makes beyond a turn's share is taken off the next turns"
);
/// Bytes that are written for one received byte's worth of work: small requests take some 36 ns a byte, what is written 2.
pub const WRITTEN_BYTES_PER_WORK_BYTE: u64 = 16;
/// Received bytes that one instrument counts for which a request has to look at: 0.2 us.
pub const INSTRUMENT_WORK_BYTES: u64 = 8;
/// Received bytes that it counts for to hold a channel's name against one pattern: the order of 36 ns.
pub const PATTERN_WORK_BYTES: u64 = 1;
/// Received bytes that the beginning of a compressed stream counts for, with a window to be copied: 1.5 us.
pub const INFLATER_RESTART_WORK_BYTES: u64 = 64;
/// What the answers to the requests of one read may weigh before the last of them, or 2 MiB written: some 4 ms. What is
/// asked beyond is declined, so that a read of 4 KiB cannot ask for a turn that others notice.
pub const ANSWER_WORK_BYTES_PER_READ_MAX: u64 = 128 * 1024;
/// Bytes of the replies to one batch: written within one read, some 8 ms.
pub const BATCH_REPLY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Received bytes that an answer of ours in a TLS handshake counts for: it takes a signature and two operations on a
/// curve, as long as some hundred messages do. A turn makes four such answers at most, and one more.
pub const HANDSHAKE_FLIGHT_WEIGHT_BYTES: usize = RECEIVED_BYTES_PER_TURN / 4;
/// Bytes of queued data at which a connection is flushed whatever the pace: a send is full then, and waiting gains nothing.
pub const FLUSH_BYTES: u32 = 64 * 1024;

/// Sends of data that a turn begins: what they cost, some 3 us each, is what a reply waits for at most while a thousand
/// subscribers are told something. Enough that the turn itself, a few microseconds, costs little beside them.
pub const DATA_SENDS_PER_TURN: usize = 32;
/// The same in a turn that has replies to send: where one has come, more are likely to be waited for. The turn itself then is a
/// tenth of what it costs to tell a thousand subscribers.
pub const DATA_SENDS_BESIDE_REPLIES: usize = 8;

/// What the venue does for clients in one turn, in steps: the rest waits for its next. A step is a request of a client or of the
/// desk, some 5 us; as long as it takes to write so many bytes of answers and events, or to look at so many orders.
pub const DESK_STEPS_PER_TURN: u64 = 1_024;
pub const DESK_BYTES_PER_STEP: u64 = 4 * 1024;
/// What a word of the office to a shard counts for there, as bytes of answers: about those of a short message.
pub const OUTPUT_WORK_BYTES: u64 = 256;
pub const DESK_ORDERS_PER_STEP: u64 = 256;
/// Orders that the desk goes through at one call of its timers: those of the kill switch of everybody are many. Some 1 ms.
pub const DESK_ORDERS_PER_TIMEOUT: u32 = 8_192;
/// Bytes that the market's home writes at the end of an interval before the rest waits for its next turn: some hundreds of tickers,
/// a millisecond or two. One instrument's topics may come on top.
pub const INTERVAL_BYTES_PER_TURN: usize = 256 * 1024;
/// Bytes of one answer that cost its account a credit besides the request's own: long answers are what a few requests could
/// keep the desk busy with.
pub const ANSWER_BYTES_PER_CREDIT: u32 = 16 * 1024;
/// Batches of other homes that a thread takes in one turn: what bounds a turn when many arrive at once.
pub const BATCHES_PER_TURN_MAX: usize = 64;
/// Bytes of batches of other homes after which a shard takes no more in one turn: what all homes may replay to it in a turn
/// of theirs is more than one of its own should take.
pub const BATCH_BYTES_PER_TURN: usize = REPLAYED_BYTES_PER_TURN;
/// Verdicts on log-ins that a shard takes in one turn; each may have requests behind it that waited.
pub const ANSWERS_PER_TURN_MAX: usize = 64;
/// Batches that a mesh queue holds. Data beyond this is a gap that the receiver recovers from; the queue of commands is
/// never longer than the requests in flight, which are bounded above.
pub const MESH_DATA_BATCHES_MAX: usize = 1024;
pub const MESH_COMMAND_BATCHES_MAX: usize = 4096;

/// Feed events that the venue takes in one turn: what bounds its batch.
pub const FEED_EVENTS_PER_TURN_MAX: usize = 256;
/// Levels of one book in a recording; those that one event changes are at most twice as many. Deep books of exchanges have
/// some thousands.
pub const RECORDED_LEVELS_MAX: usize = 32_768;
/// Bytes that one changed level takes in a frame: `["change",`, a price and an amount of at most 21 digits, signs and points.
const CHANGE_BYTES_MAX: usize = 64;
const _: () = assert!(
    2 * FEED_EVENTS_PER_TURN_MAX * 2 * RECORDED_LEVELS_MAX * CHANGE_BYTES_MAX <= u32::MAX as usize / 2 + 1,
    "ranges of a batch are 32 bits wide, and events of a book are told with and without checksums"
);

/// Clients' orders that rest in one paper book at a time; what is beyond is refused. With the few hundred of the simulated
/// traders it is how many orders one request can meet, and so what bounds its work and its events.
pub const PAPER_CLIENT_ORDERS_PER_BOOK_MAX: u32 = 2_000;
/// Levels of one side of a paper book at which clients' orders make no further one: what a snapshot of it may weigh.
/// Simulated traders make 50 at most.
pub const PAPER_LEVELS_PER_SIDE_MAX: usize = 500;

/// Milliseconds that a dead-man timer may be set to: longer than a turn, and at most a day, after which it would guard
/// nothing.
pub const CANCEL_AFTER_MS: std::ops::RangeInclusive<u32> = 100..=86_400_000;

/// Accounts that have logged in since the start: an issuer of tokens may name as many as it likes. Each costs some 600 bytes
/// once it has asked the desk for something, and what that remembers.
pub const ACCOUNTS_MAX: u32 = 16_384;
/// Orders of all accounts that are open or on their way to a venue; some 400 bytes each, 100 MiB in all.
pub const OPEN_ORDERS_MAX: u32 = 262_144;
/// Closed orders of all accounts that are remembered; an account below its fair share may always remember one more, at the
/// cost of nobody else's: at most twice as many in all.
pub const CLOSED_ORDERS_MAX: u32 = 524_288;
/// Fills of all accounts that are kept, some 200 bytes each, with fair shares in the same way.
pub const FILLS_MAX: u32 = 1_048_576;
const _: () = assert!(CLOSED_ORDERS_MAX / ACCOUNTS_MAX >= 16 && FILLS_MAX / ACCOUNTS_MAX >= 64);
/// Requests of all accounts that wait for a venue's word.
pub const ORDERS_WAITING_MAX: u32 = 262_144;
/// Connections that placed orders, or set what becomes of them; as many as there may be connections.
pub const ORDERING_CONNECTIONS_MAX: u32 = 1 << 20;
/// Requests that wait for the answer to one order that is on its way, such as repeats of it.
pub const WAITING_PER_ORDER_MAX: u32 = 16;
/// How often in a row a venue may refuse to cancel an order that the desk cancels by itself, and how long after a refusal it is
/// asked again.
pub const CANCELS_REFUSED_MAX: u32 = 8;
pub const CANCEL_RETRY_NS: u64 = 1_000_000_000;
/// Requests to cancel many orders that one account may have under way.
pub const SWEEPS_PER_ACCOUNT_MAX: u32 = 8;

/// Bytes of batches that one commit of the store takes; what waits beyond is the next one's, so that the first are not held up by
/// the last. A commit of as many takes some 20 ms besides the disk's own fsync.
pub const STORE_COMMIT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of entries that the store tells at once when it loads, or gives to a backup: what its reader does with them is part of a
/// turn. One entry may be longer.
pub const STORE_PIECE_BYTES: usize = 128 * 1024;
/// Words of the store that its reader has not taken yet: pieces of entries at most, 8 MiB. Past it the store waits.
pub const STORE_WORDS_MAX: usize = 64;
/// Words of the store that the venue takes in one turn: half a MiB of entries while it loads, and clients' requests in between.
pub const STORE_WORDS_PER_TURN: usize = 4;
/// Bytes that the store keeps of its file in memory.
pub const STORE_CACHE_BYTES: usize = 16 * 1024 * 1024;
/// How long after a fault the disk is tried again, doubled with each attempt up to the other: an attempt may read the whole file,
/// half a second for a million messages.
pub const STORE_RETRY_NS_MIN: u64 = 250_000_000;
pub const STORE_RETRY_NS_MAX: u64 = 4_000_000_000;
/// Bytes that have to fit on a disk that was full before it counts as good again.
pub const STORE_PROBE_BYTES: usize = 256 * 1024;
/// Bytes that a batch may put for each entry that it removes, to be let through on a full disk: what is noted of a message that is done is
/// short, and an entry takes as much even where its value is empty.
pub const STORE_PUT_BYTES_PER_REMOVE: usize = 128;
/// Bytes of one value: messages of clients are a sixteenth of it at most.
pub const STORE_VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long the end of the process waits for the store to commit what it was sent: a disk that does not answer may not keep it.
pub const STORE_STOP_NS: u64 = 5_000_000_000;
/// How long a backup waits for its reader: until it is read, what is removed meanwhile keeps its place in the file.
pub const STORE_BACKUP_STALL_NS: u64 = 30_000_000_000;
const _: () = assert!(STORE_RETRY_NS_MIN < STORE_RETRY_NS_MAX && STORE_PIECE_BYTES < STORE_COMMIT_BYTES_MAX);

/// How often a thread that waits for room in a peer's queue looks again.
pub const RETRY_NS: u64 = 1_000_000;

/// How long a shard waits at a stop for its clients to go, beyond the close timeout: those that outstay that are cut off
/// by then.
pub const STOP_MARGIN_NS: u64 = 1_000_000_000;
const _: () = assert!(2 * WHEEL_SLOT_NS < STOP_MARGIN_NS);

/// Slots of connections, topics and the like that a shard looks at in a turn for an operator's question: some 10 us.
pub const INSPECTED_PER_TURN: usize = 64;
/// Connections or topics of one answer to operators, and of what a shard gives for it.
pub const INSPECTED_ROWS_MAX: usize = 1_000;
/// How long a profile may be taken, and how often a second of processor time: each sample costs its thread some microseconds.
pub const PROFILE_SECONDS_MAX: u32 = 60;
pub const PROFILE_HZ_MAX: u32 = 999;
/// Threads that are sampled: four times those of a mesh, for helpers of each.
pub const PROFILED_THREADS_MAX: usize = 4 * HOMES_MAX;
/// Bytes of a thread's stack that a sample takes: what is called further out is cut off.
pub const PROFILE_STACK_BYTES_MAX: u32 = 32 * 1024;
/// Frames of a sample, the innermost ones.
pub const PROFILE_FRAMES_MAX: usize = 256;
/// Different stacks of a profile; samples of further ones count as lost.
pub const PROFILE_STACKS_MAX: usize = 20_000;
/// Bytes of the rings that the kernel writes samples of all threads to, and of one of them at most.
pub const PROFILE_RINGS_BYTES_MAX: usize = 32 << 20;
pub const PROFILE_RING_BYTES_MAX: usize = 1 << 20;
/// Connections of a shard whose sends are timed at a time, because an operator asked for it.
pub const TRACED_CONNECTIONS_MAX: usize = 64;

/// Clients of a shard that a stop sends away at once, before it spreads the rest: so few are no rush on the next server.
pub const STOP_CLIENTS_AT_ONCE: usize = 64;

/// Slots of a shard that a turn goes through at a stop to tell who listens to `platform_state`: each a send of some 3 us at most.
pub const STOP_NOTICES_PER_TURN: usize = 256;

/// Connections beyond `shards.connections_max` that a shard holds at a time in order to tell them that they are refused.
/// While so many are being told, which takes a flood, others wait in the backlog.
pub const REFUSALS_PER_SHARD_MAX: u32 = 256;

/// Networks of proxies that a listener trusts: each is compared with who connects, some ns.
pub const PROXY_NETWORKS_MAX: usize = 64;
/// Hops of `X-Forwarded-For` that are looked at: more than any chain of proxies has, each compared with those networks.
pub const FORWARDED_HOPS_MAX: usize = 16;

/// Bytes of one message of a venue link, in either form: the longest is a list of instruments or a book.
pub const LINK_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Instruments of one message: some 400 bytes each at most, in JSON.
pub const LINK_INSTRUMENTS_PER_MESSAGE_MAX: usize = 100;
/// Levels of both sides in one message: some 50 bytes each at most, in JSON.
pub const LINK_LEVELS_PER_MESSAGE_MAX: usize = 1_000;
const _: () = assert!(
    LINK_INSTRUMENTS_PER_MESSAGE_MAX * 600 < LINK_MESSAGE_BYTES_MAX
        && LINK_LEVELS_PER_MESSAGE_MAX * 50 + 512 < LINK_MESSAGE_BYTES_MAX
);
/// Levels of one book of a link, both sides together, at which it is cut: the venue forgets to say which are gone, and each
/// subscribe would be told of all of them. As many as of a recorded book.
pub const LINK_BOOK_LEVELS_MAX: usize = RECORDED_LEVELS_MAX;
/// Numbered messages that one side of a venue link keeps until the other has them; some 200 bytes each. A peer that
/// acknowledges once a second is so asked for up to 65,000 orders a second.
pub const LINK_UNACKNOWLEDGED_MAX: usize = 65_536;
/// Numbered messages after which they are acknowledged without waiting for the next heartbeat.
pub const LINK_ACKNOWLEDGED_EVERY: u32 = 256;
const _: () = assert!((LINK_ACKNOWLEDGED_EVERY as usize) * 16 <= LINK_UNACKNOWLEDGED_MAX);
/// Bytes that wait to be sent over a venue link, at which it is cut: the peer does not read.
pub const LINK_UNSENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Orders of one venue link that are not over; beyond that new ones are refused.
pub const LINK_ORDERS_MAX: usize = OPEN_ORDERS_MAX as usize;
/// Orders of a link that are over and of which a late fill is still told: a venue's thread that tells of trades may be behind
/// the one that tells of orders. Some 4 MiB.
pub const LINK_ORDERS_OVER_MAX: usize = 65_536;
/// How long the first message of a venue link, and the answer to it, may take.
pub const LINK_GREETING_NS: u64 = 5_000_000_000;
/// Heartbeats of a venue link, in milliseconds.
pub const LINK_HEARTBEAT_MS_MIN: u32 = 10;
pub const LINK_HEARTBEAT_MS_MAX: u32 = 60_000;
/// Links to venues, all venues together: each is looked at in every turn of the venue's thread.
pub const LINKS_MAX: usize = 16;
/// Connections that have not said yet which link they are; further ones are closed.
pub const LINK_GREETINGS_MAX: usize = 16;
/// Bytes of a hello: its texts are at most 255 bytes each, and JSON may take six for one of them.
pub const LINK_HELLO_BYTES_MAX: usize = 8 * 1024;
/// For a link that is over to take its last bytes, in nanoseconds.
pub const LINK_CLOSING_NS: u64 = 1_000_000_000;
/// For a connection to a venue to stand, in nanoseconds.
pub const LINK_CONNECT_NS: u64 = 5_000_000_000;
/// How many times as long as the first a wait between two attempts to connect becomes.
pub const LINK_RETRY_DELAYS_MAX: u32 = 16;
/// Connections of the venue's thread: of links, of those that greet, and of those that are closing.
pub const LINK_CONNECTIONS_MAX: u32 = 64;
const _: () = assert!(2 * (LINKS_MAX + LINK_GREETINGS_MAX) <= LINK_CONNECTIONS_MAX as usize);
/// Received bytes of links that a turn of the venue takes: some thousand reports.
pub const LINK_BYTES_PER_TURN: usize = 64 * 1024;

/// Messages that the office holds at a time, whatever the configuration: each costs some 250 bytes besides its content.
pub const MESSAGES_MAX: u32 = 4_000_000;
/// Bytes of content of all of them.
pub const MESSAGE_BYTES_MAX: u64 = 16 << 30;
/// Users whom the office knows: who subscribed, sent, is sent to or is in a group; those of whom nothing is left are forgotten first.
pub const MESSAGE_USERS_MAX: u32 = 1 << 20;
/// Connections that subscribe to messages: as many as there may be connections.
pub const MESSAGE_SESSIONS_MAX: u32 = 1 << 20;
/// Those of one user: each of its messages goes to all that have room.
pub const MESSAGE_SESSIONS_PER_USER_MAX: u32 = 64;
/// Messages under way to one connection besides critical ones, and critical ones: what a connection's lanes may have to hold.
pub const MESSAGES_UNDER_WAY_MAX: u32 = 4_096;
pub const CRITICAL_UNDER_WAY_MAX: u32 = 1_024;
/// Messages under way to a connection that does not say how many.
pub const MESSAGES_UNDER_WAY: u32 = 64;
/// Messages for one connection alone (by its number or a topic) that wait for room: they are worked off at once when it goes.
pub const SESSION_WAITING_MAX: u32 = 1_024;
/// Topics of one connection's messages, and subscribers of one topic: a message to it is a delivery to each, some 0.5 us. More
/// listeners than that have `topic/publish`.
pub const MESSAGE_TOPICS_PER_SESSION_MAX: u32 = 64;
pub const MESSAGE_TOPIC_SUBSCRIBERS_MAX: u32 = 4_096;
/// Groups, and members of one: a record of it, some 70 bytes a member, is written anew for each change, and a message to all is one
/// for each.
pub const GROUPS_MAX: u32 = 65_536;
pub const GROUP_MEMBERS_MAX: u32 = 1_000;
/// Of a member's weight.
pub const GROUP_WEIGHT_MAX: u32 = 1_000;
/// Users whose presence one connection is told, and connections that are told of one user's: each time that it comes or goes.
pub const PRESENCE_WATCHED_MAX: u32 = 256;
pub const PRESENCE_WATCHERS_MAX: u32 = 1_024;
/// How long questions of presence wait, after another node of a cluster has taken the market, until it is read who was present: twice
/// what 65,536 users take. Those that wait, 16 KiB each at most, beyond which they are answered by what is known.
pub const PRESENCE_READ_NS: u64 = 2_000_000_000;
pub const PRESENCE_ASKS_WAITING_MAX: usize = 1_024;
/// How long who was present under the owner before counts as present until a connection of it is seen: clients of nodes that live are sent away at once and
/// come back, clients of a node that died have to notice.
pub const PRESENCE_GRACE_NS: u64 = 10_000_000_000;
const _: () = assert!(PRESENCE_READ_NS < PRESENCE_GRACE_NS);
/// Changes of presence that are written for the next owner, a second and at once: one is under way at a time, for a round trip to NATS, and its disk is others', too.
pub const PRESENCE_WRITES_PER_S: u64 = 500;
pub const PRESENCE_WRITES_AT_ONCE: u64 = 64;
/// After one that failed, the next.
pub const PRESENCE_REWRITE_NS: u64 = 1_000_000_000;
/// Users who are away and of whom something may be kept, that wait to be written.
pub const PRESENCE_UNWRITTEN_MAX: usize = 8_192;
/// How long what is written is kept unless it is written again, as it is each third of that. That so many users can be.
pub const PRESENCE_AGE_NS: u64 = 3_600_000_000_000;
const _: () = assert!(PRESENCE_WRITES_PER_S * (PRESENCE_AGE_NS / 3_000_000_000) >= 500_000);
/// Bytes of a value that says so, a name of 64 and two numbers: what is longer is none. As many of them go to the office at once, and words of it in a turn.
pub const PRESENCE_VALUE_BYTES_MAX: usize = 256;
pub const PRESENCE_ENTRIES_PER_WORD: usize = 256;
pub const PRESENCE_WORDS_PER_TURN: usize = 4;
/// Dead letters that are kept, some 300 bytes each besides their content.
pub const DEAD_LETTERS_MAX: u32 = 1 << 20;
/// Names of messages that are remembered to recognise a repeated send, some 250 bytes each.
pub const SENDS_REMEMBERED_MAX: u32 = 1 << 20;
/// How far ahead a message may be scheduled, and live, in milliseconds: 366 days.
pub const MESSAGE_AHEAD_MS_MAX: u64 = 366 * 86_400_000;
/// Deliveries of one message, whatever the configuration.
pub const MESSAGE_ATTEMPTS_MAX: u32 = 64;
/// Durable messages that wait to be on the disk, and the bytes of their records: some seconds of a busy disk.
pub const MESSAGES_STORING_MAX: u32 = 65_536;
pub const MESSAGE_BYTES_STORING_MAX: usize = 64 << 20;
/// Operations and bytes of one batch for the store, beyond which the rest waits for the next; what one request makes is never split,
/// and is at most as much again.
pub const STORE_BATCH_OPS_MAX: usize = 4_096;
pub const STORE_BATCH_BYTES_MAX: usize = 4 << 20;
const _: () = assert!(STORE_BATCH_BYTES_MAX < MESSAGE_BYTES_STORING_MAX);
const _: () = assert!(GROUP_MEMBERS_MAX <= MESSAGE_TOPIC_SUBSCRIBERS_MAX);
const _: () = assert!(MESSAGE_TOPIC_SUBSCRIBERS_MAX as usize <= STORE_BATCH_OPS_MAX);
/// Messages that are due, over, or tried again, and dead letters of a request for all, that one call of the office's timers looks at:
/// some 1 us each.
pub const OFFICE_STEPS_PER_TIMEOUT: u32 = 1_024;
/// Requests for all dead letters that are worked on at a time.
pub const DEAD_LETTER_SWEEPS_MAX: u32 = 16;
/// How often the wall clock is looked at while something hangs on it: it may be set meanwhile.
pub const WALL_CLOCK_LOOK_NS: u64 = 1_000_000_000;
/// Rows of one answer: messages that wait, dead letters.
pub const MESSAGES_PER_ANSWER_MAX: u32 = 1_000;
/// Nodes that follow one owner of a market: state goes to each of them, and a bit of 16 says for whom a part is.
pub const CLUSTER_FOLLOWERS_MAX: usize = 16;
/// What is kept between the epochs that an owner may have given and those that the next one gives: within one term of a lease its home makes no
/// more topics than it has room for, each a millisecond later at least, and the clock goes on.
pub const CLUSTER_EPOCHS_RESERVED_MS: u64 = TOPICS_PER_HOME_MAX as u64 + 10 * CLUSTER_TERM_MS_MAX;
/// A lease's term in milliseconds: shorter ones are lost to a pause of a server or a scheduler, longer ones leave a market without an owner.
pub const CLUSTER_TERM_MS_MIN: u64 = 500;
pub const CLUSTER_TERM_MS_MAX: u64 = 60_000;
/// Bytes of what a turn tells an audience that go into one part: an eighth of what a NATS server takes in one message as it comes.
pub const CLUSTER_PART_BYTES: usize = 128 * 1024;
/// Audiences of one turn that are told apart: what is for others besides is told to all that follow.
pub const CLUSTER_AUDIENCES_PER_TURN_MAX: usize = 8;
/// Bytes of one turn that a follower keeps until it is whole; of one that is longer it asks for an image instead.
pub const CLUSTER_TURN_BYTES_MAX: usize = 64 << 20;
/// How long a follower that hears nothing believes that its owner is there, and how often an owner with nothing to say says so.
pub const CLUSTER_SILENCE_NS_MAX: u64 = 3_000_000_000;
pub const CLUSTER_HEARTBEAT_NS: u64 = 1_000_000_000;
const _: () = assert!(2 * CLUSTER_HEARTBEAT_NS < CLUSTER_SILENCE_NS_MAX);
/// How long an owner that hears nothing of a follower goes on telling it: some of its words may be lost.
pub const CLUSTER_FOLLOWER_SILENCE_NS_MAX: u64 = 10_000_000_000;
/// How long a request is waited for before it is sent again, which the owner does once all the same.
pub const CLUSTER_REQUEST_NS: u64 = 500_000_000;
/// Asks of one request: some 100 bytes each, so that a request is a tenth of a message.
pub const CLUSTER_ASKS_PER_REQUEST_MAX: usize = 1_024;
/// From one stream of a follower to the next at least: each begins with an image of the market.
pub const CLUSTER_STREAMS_APART_NS: u64 = 1_000_000_000;
/// Of a node in a cluster: its venue, the bridge and each node that follows are homes too.
pub const CLUSTER_SHARDS_MAX: usize = HOMES_MAX - 2 - CLUSTER_FOLLOWERS_MAX;
/// How often a node of a cluster looks whether its lease still holds, if nothing else has it look.
pub const CLUSTER_LOOK_NS: u64 = 100_000_000;
/// Words of NATS that a turn takes; each is a message of at most `CLUSTER_PART_BYTES` or an answer.
pub const CLUSTER_WORDS_PER_TURN: usize = 64;
/// Bytes of parts that an owner keeps while NATS is slower than the market, beyond `NATS_BYTES_MAX`: an image of a large market. What is more is dropped.
pub const CLUSTER_UNTOLD_BYTES_MAX: usize = 2 * CLUSTER_TURN_BYTES_MAX;
/// How long a node that stops waits for NATS to take that it has given up its lease.
pub const CLUSTER_LEAVE_NS: u64 = 1_000_000_000;
/// Instruments that an image tells in one turn: some megabytes.
pub const CLUSTER_IMAGES_PER_TURN: usize = 64;
/// Bits of a slot of a connection or a ticket that crosses: above them stands which of the node's shards has it.
pub const CLUSTER_SLOT_BITS: u32 = 26;
const _: () = assert!(HOMES_MAX <= 1 << (u32::BITS - CLUSTER_SLOT_BITS));
const _: () = assert!(REQUESTS_PENDING_MAX < 1 << CLUSTER_SLOT_BITS);
const _: () = assert!((ORDERING_CONNECTIONS_MAX as usize) + BACKENDS_MAX < 1 << CLUSTER_SLOT_BITS);
/// Bytes of one request's commands, and so of one command: with the asks beside it a request is below the megabyte that a NATS server takes as it comes.
pub const CLUSTER_REQUEST_BYTES_MAX: usize = 512 * 1024;
/// Bytes of a message that a NATS server has to take: a request's commands, with the most asks beside them.
pub const NATS_PAYLOAD_BYTES_MIN: usize = CLUSTER_REQUEST_BYTES_MAX + 256 * 1024;
/// Bytes of commands that wait at a follower to be sent: of one second at half a Gbit/s. Requests of clients beyond it are refused.
pub const CLUSTER_UNSENT_BYTES_MAX: usize = 64 << 20;
/// Bytes of words to one node that the owner keeps until the node has said that it has them; a node that has more is given up: it does not hear.
pub const CLUSTER_WORDS_BYTES_MAX: usize = 64 << 20;
/// Bytes of words after which a follower says at once that it has them.
pub const CLUSTER_WORDS_BYTES_UNSAID: usize = 256 * 1024;
const _: () = assert!(16 * CLUSTER_WORDS_BYTES_UNSAID <= CLUSTER_WORDS_BYTES_MAX);
/// Connections of one node that the owner's desk or office knows, and calls over HTTP do not count: as many as there may be connections.
pub const CLUSTER_CLIENTS_MAX: usize = ORDERING_CONNECTIONS_MAX as usize;
/// How long a follower repeats a request that is not answered before it gives the owner up: its clients are not to wait for ever. The owner gives up a
/// node later, so that one that is cut off learns of it no later than its orders are cancelled.
pub const CLUSTER_OWNER_SILENCE_NS_MAX: u64 = 5_000_000_000;
const _: () = assert!(
    4 * CLUSTER_REQUEST_NS < CLUSTER_OWNER_SILENCE_NS_MAX
        && CLUSTER_SILENCE_NS_MAX < CLUSTER_OWNER_SILENCE_NS_MAX
        && CLUSTER_OWNER_SILENCE_NS_MAX < CLUSTER_FOLLOWER_SILENCE_NS_MAX
);
/// How often a node says how many invalidations of kept results it has told: whoever has missed one learns of it so.
pub const CLUSTER_NOTICE_NS: u64 = 1_000_000_000;
/// Processes of other nodes whose numbers are remembered, some 60 bytes each: 16 follow an owner, and each may have been started anew.
pub const CLUSTER_TELLERS_MAX: usize = 64;
/// Invalidations that wait between control and the thread that speaks to NATS, each way, of 9 KiB at most; what is more is lost, and that noticed.
pub const NATS_NOTICES_MAX: usize = 256;
/// Orders of the market's thread to the thread that speaks to NATS, and its answers, that wait: each has one of a kind under way.
pub const NATS_ORDERS_MAX: usize = 64;
/// Parts, requests and answers that wait between the two, each way: some seconds of turns.
pub const NATS_MESSAGES_MAX: usize = 4_096;
/// Their bytes, each way: a turn of the longest.
pub const NATS_BYTES_MAX: usize = CLUSTER_TURN_BYTES_MAX;
/// Messages that NATS's client holds before they are written, beside as many that it writes: few, for it counts no bytes.
pub const NATS_CLIENT_MESSAGES_MAX: usize = 16;
/// Messages that NATS's client has read and nobody has taken yet, for each subscription: it reads some megabytes before others have their turn.
pub const NATS_SUBSCRIPTION_MESSAGES_MAX: usize = 4_096;
/// Changes of who is present that wait between the two, some 80 bytes each, and words back: what is read, some 20 KiB each.
pub const NATS_PRESENCE_WISHES_MAX: usize = 256;
pub const NATS_PRESENCE_WORDS_MAX: usize = 64;
/// Bytes of a lease's value, some 200 by its names and numbers: what is longer is none.
pub const NATS_LEASE_BYTES_MAX: usize = 512;
/// How long a stop waits for what NATS was to be told: the lease's release, above all.
pub const NATS_STOP_NS_MAX: u64 = 1_000_000_000;

/// Bytes of batches that go into one message of the stream where the store is one: with what is put around it below half of the MiB that a NATS server takes
/// by default. What is longer by itself is cut into messages of at most the other.
pub const JETSTREAM_APPEND_BYTES: usize = 256 * 1024;
pub const JETSTREAM_MESSAGE_BYTES_MAX: usize = 512 * 1024;
/// What a message has of headers and subject at most: its server counts them to its payload.
pub const JETSTREAM_HEADER_BYTES: usize = 1024;
/// What a stream's file has around a payload, in mean: headers, the subject, lengths, a checksum.
pub const JETSTREAM_MESSAGE_OVERHEAD_BYTES: u64 = 160;
/// Messages that are asked for ahead where the stream is read: 16 MiB at most.
pub const JETSTREAM_READS_MAX: usize = 32;
/// Bytes of the messages of one batch, or of what is moved at once, at most: twice of what a batch and one request are.
pub const JETSTREAM_SPAN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long a request to the server may take, and an append to be answered: an fsync of a disk that stalls, an election of a leader.
pub const JETSTREAM_REQUEST_NS: u64 = 5_000_000_000;
/// How often somebody else may have written, or have purged, in between, before the rest is left to a later attempt.
pub const JETSTREAM_ATTEMPTS_MAX: usize = 16;
/// How much of the stream's beginning is dead before it is purged: less would have the server rewrite a file each time.
pub const JETSTREAM_PURGE_BYTES: u64 = 8 * 1024 * 1024;
pub const JETSTREAM_PURGE_SPANS: usize = 4096;
/// Dead bytes between entries, beyond half of what is alive, that are let be.
pub const JETSTREAM_DEAD_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of the oldest messages that are read at once to move what is alive in them, and how much is appended before that is done again: read faster than
/// written, or the stream would fill up.
pub const JETSTREAM_MOVE_BYTES: u64 = 2 * 1024 * 1024;
pub const JETSTREAM_MOVE_EVERY_BYTES: u64 = 1024 * 1024;
/// The least that a stream may be bounded to: a third of it is for what is alive.
pub const JETSTREAM_BYTES_MIN: u64 = 64 * 1024 * 1024;
const _: () = assert!(
    JETSTREAM_APPEND_BYTES < JETSTREAM_MESSAGE_BYTES_MAX && 2 * JETSTREAM_DEAD_BYTES < JETSTREAM_BYTES_MIN
);
const _: () = assert!(JETSTREAM_MOVE_EVERY_BYTES * 2 <= JETSTREAM_MOVE_BYTES);
