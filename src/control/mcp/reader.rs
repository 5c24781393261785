//! The body of an answer that is a stream of events. Home: the control thread.
//!
//! Invariant: at least every `QUIET_MAX` something is written, so that a reader that is gone is noticed (`door.rs`).

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::time::Sleep;

const QUIET_MAX: Duration = Duration::from_secs(15);
/// A comment, which readers pass over.
const SIGN_OF_LIFE: &[u8] = b":\n\n";

#[derive(Debug)]
pub(super) struct EventBody {
    events: mpsc::Receiver<Bytes>,
    quiet: Pin<Box<Sleep>>,
}

impl EventBody {
    pub(super) fn new(events: mpsc::Receiver<Bytes>) -> EventBody {
        EventBody { events, quiet: Box::pin(tokio::time::sleep(QUIET_MAX)) }
    }
}

impl HttpBody for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let event = match self.events.poll_recv(context) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(event)) => event,
            Poll::Pending if self.quiet.as_mut().poll(context).is_ready() => Bytes::from_static(SIGN_OF_LIFE),
            Poll::Pending => return Poll::Pending,
        };
        self.quiet = Box::pin(tokio::time::sleep(QUIET_MAX));
        Poll::Ready(Some(Ok(Frame::data(event))))
    }
}
