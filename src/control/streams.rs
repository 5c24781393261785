//! `GET /api/events`: streams of server-sent events, so many at a time, each for so long. Home: the control thread.
//!
//! Invariants: an event is made once, however many read; a reader that does not read gets no more, and its connection is cut
//! (`door.rs`).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Sleep;

use crate::limits;

/// How long a stream lasts: within a connection's time, so that it ends as an answer should. Browsers come again.
const STREAM_TIME_MAX: Duration = Duration::from_secs(240);

/// Where readers are taken in.
#[derive(Debug)]
pub(super) struct Streams {
    places: Arc<Semaphore>,
    newcomers: mpsc::Sender<mpsc::Sender<Bytes>>,
}

/// Where events go out: of the task that makes them.
#[derive(Debug)]
pub(super) struct Readers {
    newcomers: mpsc::Receiver<mpsc::Sender<Bytes>>,
    readers: Vec<mpsc::Sender<Bytes>>,
}

/// The body of one answer.
#[derive(Debug)]
pub(super) struct EventStream {
    events: mpsc::Receiver<Bytes>,
    end: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

/// The two ends.
pub(super) fn streams() -> (Streams, Readers) {
    let (sender, newcomers) = mpsc::channel(limits::EVENT_STREAMS_MAX);
    let places = Arc::new(Semaphore::new(limits::EVENT_STREAMS_MAX));
    (Streams { places, newcomers: sender }, Readers { newcomers, readers: Vec::new() })
}

impl Streams {
    /// A stream that begins with this event; `None` where there is no place for one more.
    pub(super) fn open(&self, first: impl FnOnce() -> String) -> Option<EventStream> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let (sender, events) = mpsc::channel(limits::EVENTS_UNREAD_MAX);
        sender.try_send(first().into()).ok()?;
        self.newcomers.try_send(sender).ok()?;
        Some(EventStream { events, end: Box::pin(tokio::time::sleep(STREAM_TIME_MAX)), _place: place })
    }
}

impl Readers {
    /// Tells all who read; those that do not are told no more.
    pub(super) fn tell(&mut self, event: impl FnOnce() -> String) {
        while let Ok(newcomer) = self.newcomers.try_recv() {
            self.readers.push(newcomer);
        }
        self.readers.retain(|reader| !reader.is_closed());
        if self.readers.is_empty() {
            return;
        }
        let event = Bytes::from(event());
        self.readers.retain(|reader| reader.try_send(event.clone()).is_ok());
    }
}

impl HttpBody for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        self.events.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    async fn next(stream: &mut EventStream) -> Option<Bytes> {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *stream).poll_frame(context)).await?;
        frame.unwrap().into_data().ok()
    }

    #[test]
    fn each_reader_gets_each_event_that_is_made_once() {
        block_on(async {
            let (streams, mut readers) = streams();
            readers.tell(|| panic!("nobody reads, and an event is made"));
            let mut one = streams.open(|| "first".to_owned()).unwrap();
            let mut other = streams.open(|| "first".to_owned()).unwrap();
            let mut made = 0;
            readers.tell(|| {
                made += 1;
                "second".to_owned()
            });
            assert_eq!(made, 1);
            for stream in [&mut one, &mut other] {
                assert_eq!(next(stream).await.unwrap(), "first");
                assert_eq!(next(stream).await.unwrap(), "second");
            }
        });
    }

    #[test]
    fn who_does_not_read_is_told_no_more_and_the_stream_ends() {
        block_on(async {
            let (streams, mut readers) = streams();
            let mut idle = streams.open(|| "0".to_owned()).unwrap();
            for number in 1..10 {
                readers.tell(|| number.to_string());
            }
            assert!(readers.readers.is_empty());
            let mut got = Vec::new();
            while let Some(event) = next(&mut idle).await {
                got.push(event);
            }
            assert_eq!(got.len(), limits::EVENTS_UNREAD_MAX);
        });
    }

    #[test]
    fn there_are_so_many_places_and_who_leaves_makes_one() {
        block_on(async {
            let (streams, mut readers) = streams();
            let open = || streams.open(String::new);
            let mut held: Vec<EventStream> =
                (0..limits::EVENT_STREAMS_MAX).map(|_| open().unwrap()).collect();
            assert!(open().is_none());
            readers.tell(String::new);
            held.pop();
            assert!(open().is_some());
        });
    }
}
