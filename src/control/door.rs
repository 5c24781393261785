//! A socket for operators, or for clients that speak HTTP to control: so many connections at a time, each for so long. Home: the
//! control thread.
//!
//! Invariant: who connects and says nothing, or reads nothing, holds a place for a bounded time only; who comes meanwhile waits in
//! the kernel's backlog.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::http::request::Parts;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::Sleep;

/// Connections of one socket at a time, and how long each may last in all, if that is bounded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) connections_max: usize,
    pub(super) time_max: Option<Duration>,
}

/// Operators'.
pub(super) const OPERATORS: Room = Room { connections_max: 256, time_max: Some(Duration::from_secs(300)) };
/// From the accept, or from the answer before, to the end of a request's head.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
/// Without a byte taken of what is to be sent.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// After an accept that failed, for want of descriptors say.
const RETRY: Duration = Duration::from_millis(100);

/// From where a request comes, among its extensions; none where that has no address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(Option<SocketAddr>);

/// What can be listened on.
pub(super) trait Accept {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send;
}

impl Accept for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn next(&self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, address) = self.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, Peer(Some(address))))
    }
}

impl Accept for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn next(&self) -> io::Result<(Self::Stream, Peer)> {
        self.accept().await.map(|(stream, _)| (stream, Peer(None)))
    }
}

/// From where a request comes, where that has an address.
pub(super) fn peer(request: &Parts) -> Option<SocketAddr> {
    request.extensions.get::<Peer>().and_then(|Peer(address)| *address)
}

/// Answers whoever connects, until the runtime ends.
pub(super) async fn serve(listener: impl Accept, router: Router, room: Room) {
    let places = Arc::new(Semaphore::new(room.connections_max));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, peer) = match listener.next().await {
            Ok(accepted) => accepted,
            Err(error) => {
                log::debug!("a socket of control: {error}");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        let router = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            router.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(Patient::new(stream, WRITE_TIME_MAX)), service);
        tokio::spawn(async move {
            // How it ended is the client's affair.
            let _ = match room.time_max {
                Some(time_max) => tokio::time::timeout(time_max, connection).await.is_ok(),
                None => connection.await.is_ok(),
            };
            drop(place);
        });
    }
}

/// A stream to whoever has to take what it is sent, some of it in so long at least.
struct Patient<S> {
    stream: S,
    patience: Duration,
    /// Runs while nothing is taken.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Patient<S> {
    fn new(stream: S, patience: Duration) -> Patient<S> {
        Patient { stream, patience, deadline: None }
    }

    /// The same, or an error where it has been waited for too long.
    fn bounded<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.deadline = None;
            return polled;
        }
        let patience = self.patience;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.bounded(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn who_takes_nothing_is_cut() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(16);
            let mut patient = Patient::new(ours, Duration::from_millis(20));
            // Who reads is waited for, however much it is.
            let reads = tokio::spawn(async move {
                let mut all = vec![0; 10_000];
                theirs.read_exact(&mut all).await.unwrap();
                theirs
            });
            patient.write_all(&[0; 10_000]).await.unwrap();
            let _theirs = reads.await.unwrap();
            let error = patient.write_all(&[0; 10_000]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
    }
}
