//! Taking the stream for an owner, and anew after a fault: whose it is by its newest message, a mark behind it, and what is before the mark.
//!
//! Home: the thread of a `JetStream` store. Invariants: nothing is written behind a message of a later owner; nothing is loaded of a stream that lost
//! something while it was read.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;

use crate::clock;
use crate::limits;
use crate::model::storage::{StoreFault, StoreOp};
use crate::store::trouble::Trouble;

use super::records::{Assembly, Head, Kind, Span, Writer};
use super::spans::Spans;
use super::stream::{AppendError, Extent, ReadError, Stream, outcome};
use super::worker::{Entries, Group, Worker};

/// How long is waited for a copy of the stream that is behind, and for an older owner's purge.
const COPY_RETRY: Duration = Duration::from_millis(50);

/// What the newest message says of whose the stream is.
enum Standing {
    /// It may be taken.
    Free,
    /// A later owner has it, or another opening for the same one.
    Taken,
    /// It is not the one in which our messages were.
    Another,
}

/// A message of ours.
struct Found {
    sequence: u64,
    head: Head,
    message: Bytes,
}

impl Worker {
    /// Has the stream, and knows what became of all that was sent; the first time, what there is.
    ///
    /// # Errors
    /// It is not ours, not the one that it was, or NATS is away.
    pub(super) async fn take_hold(&mut self) -> Result<(), Trouble> {
        let client = self.client.as_ref().expect("invariant: who takes the stream has a client");
        let stream = Stream::open(client, &self.settings, !self.was_there).await?;
        self.was_there = true;
        for _ in 0..limits::JETSTREAM_ATTEMPTS_MAX {
            let extent = stream.extent().await?;
            let newest = newest(&stream, extent).await?;
            match self.standing(extent, newest) {
                Standing::Free => {}
                Standing::Taken => {
                    let found = read_tail(&stream, self.confirmed, extent.last, self.writer).await?;
                    // Else it is purged already, and what became of it is not to be known.
                    if let Some(found) = found {
                        self.take_in(&found, StoreFault::Taken).await?;
                    }
                    return Err(Trouble::new(StoreFault::Taken, "a later owner has written into the stream"));
                }
                Standing::Another => {
                    let what = "another stream, or an older one, is where ours was: what is in memory does not belong to it";
                    return Err(Trouble::new(StoreFault::Corrupt, what).with_hint("start the server again"));
                }
            }
            match self.mark(&stream, extent.last).await {
                Ok(mark) => {
                    if self.confirmed.is_none() {
                        self.load(&stream, mark).await?;
                    } else {
                        let found = read_tail(&stream, self.confirmed, mark, self.writer).await?;
                        let fault = self.fault().unwrap_or(StoreFault::Away);
                        self.take_in(&found.ok_or_else(missing)?, fault).await?;
                    }
                    self.stream = Some(stream);
                    return Ok(());
                }
                // By an owner who is not, any more, or by what of ours was under way.
                Err(AppendError::Moved) => {}
                Err(AppendError::Refused(trouble) | AppendError::Unknown(trouble)) => return Err(trouble),
            }
        }
        Err(Trouble::new(StoreFault::Io, "somebody else writes into the stream all the time"))
    }

    fn standing(&self, extent: Extent, newest: Option<Head>) -> Standing {
        let is_first = self.confirmed.is_none();
        match newest {
            Some(head) if head.writer == self.writer => {
                if self.confirmed.is_some_and(|confirmed| extent.last < confirmed) {
                    Standing::Another
                } else {
                    Standing::Free
                }
            }
            Some(head) if head.fence > self.fence || head.fence == self.fence && !is_first => Standing::Taken,
            Some(_) | None if is_first => Standing::Free,
            Some(_) | None => Standing::Another,
        }
    }

    async fn mark(&mut self, stream: &Stream, last: u64) -> Result<u64, AppendError> {
        let mut message = Vec::new();
        Head { kind: Kind::Mark, fence: self.fence, writer: self.writer, nth: self.made }
            .encode(&mut message);
        self.made += 1;
        outcome(stream.append(last, Bytes::from(message)).await?).await
    }

    /// Reads all that there is before the mark.
    async fn load(&mut self, stream: &Stream, mark: u64) -> Result<(), Trouble> {
        let began_ns = clock::now().mono_ns;
        for _ in 0..limits::JETSTREAM_ATTEMPTS_MAX {
            let extent = stream.extent().await?;
            let Some((spans, entries)) = read_log(stream, extent.first, mark).await? else {
                tokio::time::sleep(COPY_RETRY).await;
                continue;
            };
            self.spans = spans;
            self.confirmed = Some(mark);
            self.telling = Some(entries);
            self.set_load_ns(clock::now().mono_ns - began_ns);
            return Ok(());
        }
        Err(missing())
    }

    /// Takes what of ours came after the newest message that we know of, and answers what was in doubt: what is not there is refused by that fault.
    async fn take_in(&mut self, found: &[Found], fault: StoreFault) -> Result<(), Trouble> {
        let mut assembly = Assembly::default();
        for Found { sequence, message, .. } in found {
            let span = assembly.take(*sequence, message).map_err(|_| unreadable())?;
            if let Some(Span { first, last, bytes, ops }) = span {
                self.spans.append(first, last, bytes, &ops);
                self.confirmed = Some(last);
            }
        }
        let ours: BTreeSet<u64> = found.iter().map(|found| found.head.nth).collect();
        let is_there =
            |group: &Group| (0..group.messages).all(|nth| ours.contains(&(group.first_made + nth)));
        self.settle(fault, is_there).await;
        Ok(())
    }
}

/// The head of the newest message; none of a stream without any.
async fn newest(stream: &Stream, extent: Extent) -> Result<Option<Head>, Trouble> {
    if extent.is_empty {
        return Ok(None);
    }
    let message = read_patiently(stream, extent.last).await?.ok_or_else(missing)?;
    Head::decode(&message).map(|(head, _)| Some(head)).map_err(|_| unreadable())
}

/// A copy of the stream may be behind the one that said what there is.
async fn read_patiently(stream: &Stream, sequence: u64) -> Result<Option<Bytes>, Trouble> {
    for _ in 0..limits::JETSTREAM_ATTEMPTS_MAX {
        match stream.read(sequence).await {
            Ok(message) => return Ok(Some(message)),
            Err(ReadError::Absent) => tokio::time::sleep(COPY_RETRY).await,
            Err(ReadError::Trouble(trouble)) => return Err(trouble),
        }
    }
    Ok(None)
}

/// All entries of the stream, and where they are; nothing where a message was gone when its turn came: what removed an entry may have been in it.
async fn read_log(stream: &Stream, first: u64, mark: u64) -> Result<Option<(Spans, Entries)>, Trouble> {
    let (mut spans, mut entries, mut assembly) = (Spans::default(), Entries::new(), Assembly::default());
    let mut messages = std::pin::pin!(stream.read_all(first, mark));
    while let Some((sequence, message)) = messages.next().await {
        let message = match message {
            Ok(message) => message,
            Err(ReadError::Absent) => return Ok(None),
            Err(ReadError::Trouble(trouble)) => return Err(trouble),
        };
        let span = assembly.take(sequence, &message).map_err(|_| unreadable())?;
        let Some(Span { first, last, bytes, ops }) = span else { continue };
        spans.append(first, last, bytes, &ops);
        for op in ops {
            match op {
                StoreOp::Put { table, key, value } => drop(entries.insert((table, key), value)),
                StoreOp::Remove { table, key } => drop(entries.remove(&(table, key))),
            }
        }
    }
    Ok(Some((spans, entries)))
}

/// Messages of that writer behind the newest that it knows of, in their order, up to another's: few, since it sends none behind one that is not answered. Nothing where
/// one is gone.
async fn read_tail(
    stream: &Stream,
    confirmed: Option<u64>,
    through: u64,
    writer: Writer,
) -> Result<Option<Vec<Found>>, Trouble> {
    let mut found = Vec::new();
    let Some(confirmed) = confirmed else { return Ok(None) };
    for sequence in confirmed + 1..=through {
        let Some(message) = read_patiently(stream, sequence).await? else { return Ok(None) };
        let (head, _) = Head::decode(&message).map_err(|_| unreadable())?;
        if head.writer != writer {
            break;
        }
        found.push(Found { sequence, head, message });
    }
    Ok(Some(found))
}

fn missing() -> Trouble {
    let what = "a message is missing in the middle of the stream: somebody else has removed it";
    Trouble::new(StoreFault::Corrupt, what)
        .with_hint("restore the stream from a backup of yours, and start the server again")
}

fn unreadable() -> Trouble {
    let what = "a message in the stream is none of a store's, or was written by a newer version";
    Trouble::new(StoreFault::Corrupt, what)
        .with_hint("run the version that wrote it; let nobody else publish on the stream's subject")
}
