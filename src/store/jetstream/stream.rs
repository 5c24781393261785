//! The stream of a store on a JetStream server: connecting, making it, appending behind what is known to be its end, reading, purging; and what each
//! error of these means. Home: the thread of a `JetStream` store.
//!
//! Invariants: nothing is appended but behind the message that the caller says is the newest, by the server's own check; no request takes longer
//! than `JETSTREAM_REQUEST_NS`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::Event;
use async_nats::connection::State;
use async_nats::jetstream::context::{
    CreateStreamErrorKind, GetStreamErrorKind, PublishAckFuture, PublishError, PublishErrorKind,
    RequestErrorKind,
};
use async_nats::jetstream::stream::{
    Config, DirectGetErrorKind, DiscardPolicy, PurgeErrorKind, RetentionPolicy, StorageType,
};
use async_nats::jetstream::{self, Context, ErrorCode, message::PublishMessage};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::Notify;

use super::JetSettings;
use crate::limits;
use crate::model::storage::StoreFault;
use crate::store::trouble::Trouble;

const REQUEST: Duration = Duration::from_nanos(limits::JETSTREAM_REQUEST_NS);

/// How often a connection was made and lost, told by the client's own task.
#[derive(Debug, Default)]
pub(super) struct Connections {
    made: AtomicU64,
    lost: AtomicU64,
}

impl Connections {
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Acquire)
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }
}

/// See the file's head.
pub(super) struct Stream {
    context: Context,
    stream: jetstream::stream::Stream<()>,
    name: String,
    subject: String,
}

/// What the stream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) first: u64,
    /// Of the newest message that there ever was.
    pub(super) last: u64,
    pub(super) is_empty: bool,
}

/// Why something is not appended.
#[derive(Debug)]
pub(super) enum AppendError {
    /// Another message is the newest.
    Moved,
    /// Before anything was written: it is not in the stream, and will not be.
    Refused(Trouble),
    /// It may be in the stream, or come into it.
    Unknown(Trouble),
}

/// Why a message is not read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The server that was asked does not have it: it is purged, or has not come there yet.
    Absent,
    Trouble(Trouble),
}

impl Stream {
    /// A client that connects by itself, now and whenever the connection is lost; `wake` is told of that.
    ///
    /// # Errors
    /// What it is to connect by cannot be used: a file of credentials, a certificate.
    pub(super) async fn connect(
        settings: &JetSettings,
        wake: &Arc<Notify>,
        connections: &Arc<Connections>,
    ) -> Result<async_nats::Client, Trouble> {
        let (wake, connections) = (Arc::clone(wake), Arc::clone(connections));
        let options = settings
            .options
            .clone()
            .retry_on_initial_connect()
            .max_reconnects(None)
            .request_timeout(Some(REQUEST))
            .event_callback(move |event| {
                match event {
                    Event::Connected => connections.made.fetch_add(1, Ordering::Release),
                    Event::Disconnected => connections.lost.fetch_add(1, Ordering::Release),
                    Event::LameDuckMode
                    | Event::Draining
                    | Event::Closed
                    | Event::SlowConsumer(_)
                    | Event::ServerError(_)
                    | Event::ClientError(_) => 0,
                };
                wake.notify_one();
                std::future::ready(())
            });
        async_nats::connect_with_options(settings.servers.clone(), options)
            .await
            .map_err(|error| Trouble::new(StoreFault::Away, error.to_string()))
    }

    /// The stream, made where there is none and it `may_be_made`, with the settings' bounds.
    ///
    /// # Errors
    /// NATS is away; the stream is gone, or keeps its messages in another way.
    pub(super) async fn open(
        client: &async_nats::Client,
        settings: &JetSettings,
        may_be_made: bool,
    ) -> Result<Stream, Trouble> {
        if client.connection_state() != State::Connected {
            return Err(Trouble::new(StoreFault::Away, "there is no connection to NATS"));
        }
        let context =
            jetstream::ContextBuilder::new().timeout(REQUEST).ack_timeout(REQUEST).build(client.clone());
        let (name, mut wanted) = (settings.stream(), config(settings));
        let found = match context.get_stream(&name).await {
            Ok(found) => {
                let (found, bytes) = (&found.cached_info().config, found.cached_info().state.bytes);
                let is_less = !(1..=wanted.max_bytes).contains(&found.max_bytes);
                // Else no mark would be let in, so that nobody could load or purge what is there.
                if is_less && bytes > settings.filled_bytes_max() {
                    let max = settings.bytes_max;
                    log::warn!(
                        "the stream {name} has {bytes} bytes, too many for {max}: its bound stays until there are less"
                    );
                    wanted.max_bytes = found.max_bytes;
                }
                found.clone()
            }
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    if !may_be_made {
                        let what = format!("the stream {name} is gone");
                        return Err(Trouble::new(StoreFault::Corrupt, what).with_hint(RESTORE));
                    }
                    let made = context.create_stream(wanted.clone()).await;
                    made.map_err(|error| of_change(&error.kind(), &error.to_string()))?;
                    log::info!("the stream {name} is made: it keeps {} bytes at most", settings.bytes_max);
                    wanted.clone()
                }
                GetStreamErrorKind::JetStream(error) => return Err(of_server(&error)),
                GetStreamErrorKind::EmptyName
                | GetStreamErrorKind::Request
                | GetStreamErrorKind::InvalidStreamName => {
                    return Err(Trouble::new(StoreFault::Away, error.to_string()));
                }
            },
        };
        if let Some(what) = unfit(&found, &wanted) {
            let what = format!("the stream {name} is no store: {what}");
            return Err(
                Trouble::new(StoreFault::Corrupt, what).with_hint("give the store a stream of its own")
            );
        }
        if (found.max_bytes, found.num_replicas) != (wanted.max_bytes, wanted.num_replicas) {
            let changed = Config { max_bytes: wanted.max_bytes, num_replicas: wanted.num_replicas, ..found };
            let done = context.update_stream(changed).await;
            done.map_err(|error| of_change(&error.kind(), &error.to_string()))?;
        }
        let stream = context.get_stream_no_info(&name).await;
        let stream = stream.map_err(|error| Trouble::new(StoreFault::Away, error.to_string()))?;
        Ok(Stream { context, stream, name, subject: settings.subject() })
    }

    /// # Errors
    /// NATS is away, or the stream is gone.
    pub(super) async fn extent(&self) -> Result<Extent, Trouble> {
        let info = self.stream.get_info().await.map_err(|error| match error.kind() {
            RequestErrorKind::TimedOut | RequestErrorKind::NoResponders => {
                Trouble::new(StoreFault::Away, error.to_string())
            }
            RequestErrorKind::InvalidSubject | RequestErrorKind::Other => {
                Trouble::new(StoreFault::Io, error.to_string())
            }
        })?;
        let state = &info.state;
        Ok(Extent { first: state.first_sequence, last: state.last_sequence, is_empty: state.messages == 0 })
    }

    /// The most that a message may have: what the server takes, less what is around it.
    pub(super) fn payload_bytes_max(&self) -> usize {
        let by_server = self.context.client().server_info().max_payload;
        limits::JETSTREAM_MESSAGE_BYTES_MAX.min(by_server.saturating_sub(limits::JETSTREAM_HEADER_BYTES))
    }

    /// Sends a message that is to be the one behind `last`; [`outcome`] is what became of it.
    ///
    /// # Errors
    /// It could not be sent, as far as is known.
    pub(super) async fn append(&self, last: u64, payload: Bytes) -> Result<PublishAckFuture, AppendError> {
        let message =
            PublishMessage::build().expected_stream(&self.name).expected_last_sequence(last).payload(payload);
        self.context.send_publish(self.subject.clone(), message).await.map_err(|error| of_append(&error))
    }

    /// # Errors
    /// See [`ReadError`].
    pub(super) async fn read(&self, sequence: u64) -> Result<Bytes, ReadError> {
        match self.stream.direct_get(sequence).await {
            Ok(message) => Ok(message.payload),
            Err(error) => Err(match error.kind() {
                DirectGetErrorKind::NotFound => ReadError::Absent,
                DirectGetErrorKind::InvalidSubject
                | DirectGetErrorKind::TimedOut
                | DirectGetErrorKind::Request
                | DirectGetErrorKind::ErrorResponse(..)
                | DirectGetErrorKind::Other => {
                    ReadError::Trouble(Trouble::new(StoreFault::Away, error.to_string()))
                }
            }),
        }
    }

    /// All messages from one to another, in their order, some of them asked for ahead.
    pub(super) fn read_all(
        &self,
        from: u64,
        through: u64,
    ) -> impl futures_util::Stream<Item = (u64, Result<Bytes, ReadError>)> + '_ {
        futures_util::stream::iter(from..=through)
            .map(move |sequence| async move { (sequence, self.read(sequence).await) })
            .buffered(limits::JETSTREAM_READS_MAX)
    }

    /// Removes all messages before that one.
    pub(super) fn purge(&self, below: u64) -> impl Future<Output = Result<(), Trouble>> + Send + use<> {
        let purging = self.stream.purge().sequence(below);
        async move {
            match purging.await {
                Ok(_) => Ok(()),
                Err(error) => Err(match error.kind() {
                    PurgeErrorKind::JetStream(error) => of_server(&error),
                    PurgeErrorKind::Request | PurgeErrorKind::TimedOut => {
                        Trouble::new(StoreFault::Away, error.to_string())
                    }
                }),
            }
        }
    }
}

/// As the kernel says it to the server.
const DISK_IS_FULL: &str = "no space left";
const RESTORE: &str = "restore the stream from a backup of yours, and start the server again";

/// What became of an append: the message's sequence.
///
/// # Errors
/// See [`AppendError`].
pub(super) async fn outcome(sent: PublishAckFuture) -> Result<u64, AppendError> {
    sent.await.map(|ack| ack.sequence).map_err(|error| of_append(&error))
}

/// Nothing is thrown away but by us, and what does not fit is refused.
fn config(settings: &JetSettings) -> Config {
    Config {
        name: settings.stream(),
        subjects: vec![settings.subject()],
        description: Some("messages of tickring that are to be delivered at least once".to_owned()),
        max_bytes: i64::try_from(settings.bytes_max).unwrap_or(i64::MAX),
        max_messages: -1,
        max_messages_per_subject: -1,
        discard: DiscardPolicy::New,
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: settings.replicas,
        allow_direct: true,
        ..Config::default()
    }
}

/// What of a stream that is there makes it no place for a store.
fn unfit(found: &Config, wanted: &Config) -> Option<&'static str> {
    let is_unbounded = |bound: i64| bound <= 0;
    if found.subjects != wanted.subjects {
        Some("it has other subjects")
    } else if found.discard != DiscardPolicy::New || found.retention != RetentionPolicy::Limits {
        Some("its retention must be limits, and discard new")
    } else if !found.max_age.is_zero()
        || !is_unbounded(found.max_messages)
        || !is_unbounded(found.max_messages_per_subject)
    {
        Some("its messages may be neither of a limited age nor of a limited number")
    } else if found.storage != StorageType::File {
        Some("it is not in files")
    } else if !found.allow_direct {
        Some("it does not allow direct reading")
    } else {
        None
    }
}

fn of_append(error: &PublishError) -> AppendError {
    use std::error::Error;
    let what = error.to_string();
    match error.kind() {
        PublishErrorKind::WrongLastSequence | PublishErrorKind::WrongLastMessageId => AppendError::Moved,
        PublishErrorKind::MaxPayloadExceeded => AppendError::Refused(Trouble::new(StoreFault::Io, what)),
        PublishErrorKind::StreamNotFound
        | PublishErrorKind::TimedOut
        | PublishErrorKind::BrokenPipe
        | PublishErrorKind::MaxAckPending => AppendError::Unknown(Trouble::new(StoreFault::Away, what)),
        PublishErrorKind::Other => {
            let said = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
            match said {
                Some(said) if said.error_code() == ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT => {
                    AppendError::Moved
                }
                Some(said) => {
                    let trouble = of_server(said);
                    // What a disk says of a message does not say that nothing of it is there.
                    let is_checked = trouble.fault == StoreFault::DiskFull && !what.contains(DISK_IS_FULL);
                    if is_checked { AppendError::Refused(trouble) } else { AppendError::Unknown(trouble) }
                }
                None => AppendError::Unknown(Trouble::new(StoreFault::Io, what)),
            }
        }
    }
}

/// A stream could not be made or changed.
fn of_change(kind: &CreateStreamErrorKind, what: &str) -> Trouble {
    match kind {
        CreateStreamErrorKind::JetStream(error) => of_server(error),
        CreateStreamErrorKind::TimedOut | CreateStreamErrorKind::Response => {
            Trouble::new(StoreFault::Away, what)
        }
        CreateStreamErrorKind::JetStreamUnavailable => Trouble::new(StoreFault::Away, what)
            .with_hint("switch JetStream on in the server's configuration"),
        CreateStreamErrorKind::EmptyStreamName
        | CreateStreamErrorKind::InvalidStreamName
        | CreateStreamErrorKind::DomainAndExternalSet
        | CreateStreamErrorKind::NotFound
        | CreateStreamErrorKind::ResponseParse => Trouble::new(StoreFault::Io, what),
    }
}

/// What a server says that is there.
fn of_server(error: &jetstream::Error) -> Trouble {
    let what = error.to_string();
    let is_full = [
        ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
        ErrorCode::INSUFFICIENT_RESOURCES,
        ErrorCode::STORAGE_RESOURCES_EXCEEDED,
        ErrorCode::MEMORY_RESOURCES_EXCEEDED,
    ]
    .contains(&error.error_code());
    // The one code for all that a stream's files say.
    let is_failed = error.error_code() == ErrorCode::STREAM_STORE_FAILED;
    let names_room = what.contains("maximum bytes") || what.contains(DISK_IS_FULL);
    if is_full || is_failed && names_room {
        let hint = "give the stream more bytes, or its account and the disks of its servers more room";
        Trouble::new(StoreFault::DiskFull, what).with_hint(hint)
    } else if error.code() == 503 {
        // No leader, or no majority.
        Trouble::new(StoreFault::Away, what)
    } else {
        Trouble::new(StoreFault::Io, what).with_hint("look at the log of the NATS server")
    }
}
