//! Making room: what is alive in the stream's oldest messages is written again behind all else, so that they may be purged.
//!
//! Home: the thread of a `JetStream` store. Invariant: entries are moved while nothing is under way, so that nothing that would remove or change one of them
//! is before the copy without being known.

use futures_util::StreamExt;

use crate::limits;
use crate::model::storage::{StoreFault, StoreOp};
use crate::store::trouble::Trouble;

use super::records::Assembly;
use super::stream::{ReadError, Stream};
use super::worker::Worker;

impl Worker {
    /// Whether so much is dead between entries that some are to be moved now: a part at a time, as the stream grows.
    pub(super) fn is_move_due(&self) -> bool {
        let is_time = self.unmoved_bytes >= limits::JETSTREAM_MOVE_EVERY_BYTES;
        (is_time || self.spans.bytes() > self.settings.filled_bytes_max()) && self.spans.is_sparse()
    }

    /// Moves what is alive in some of the oldest messages; whether there was something to do.
    pub(super) async fn move_some(&mut self) -> bool {
        let spans = self.spans.oldest(limits::JETSTREAM_MOVE_BYTES);
        let Some(stream) = &self.stream else { unreachable!("invariant: who is ready has the stream") };
        let mut reading = futures_util::stream::iter(spans)
            .map(|(first, last)| async move { (first, read_span(stream, first, last).await) })
            .buffered(limits::JETSTREAM_READS_MAX);
        let mut moved: Vec<StoreOp> = Vec::new();
        let mut fault = None;
        while fault.is_none()
            && let Some((first, ops)) = reading.next().await
        {
            match ops {
                Ok(ops) => moved.extend(ops.into_iter().filter(|op| self.spans.is_alive(op, first))),
                Err(trouble) => fault = Some(trouble),
            }
        }
        drop(reading);
        if let Some(trouble) = fault {
            self.fail(&trouble).await;
            return true;
        }
        self.unmoved_bytes = 0;
        if moved.is_empty() {
            return false;
        }
        self.append(Vec::new(), moved).await;
        self.unmoved_bytes = 0;
        true
    }
}

/// What the messages of one span say.
async fn read_span(stream: &Stream, first: u64, last: u64) -> Result<Vec<StoreOp>, Trouble> {
    let mut assembly = Assembly::default();
    for sequence in first..=last {
        let message = stream.read(sequence).await.map_err(|error| match error {
            // Who took the stream has purged it, or a copy is behind: to take it anew tells.
            ReadError::Absent => {
                Trouble::new(StoreFault::Away, format!("message {sequence} of the stream cannot be read"))
            }
            ReadError::Trouble(trouble) => trouble,
        })?;
        let span = assembly.take(sequence, &message);
        let span =
            span.map_err(|_| Trouble::new(StoreFault::Corrupt, "a message of ours cannot be read any more"))?;
        if let Some(span) = span {
            return Ok(span.ops);
        }
    }
    Ok(Vec::new())
}
