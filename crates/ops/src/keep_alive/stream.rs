//! The [`ActivityStream`] of a persistent connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::Activity;

/// How long a connection that the server closed is read from, so that the client can read the last
/// response: unread bytes would make the kernel reset the connection (RFC 9112, section 9.6).
const LINGER: Duration = Duration::from_secs(2);

/// The most bytes that are read and discarded then.
const MAX_DISCARDED: usize = 32 << 20;

/// A stream that tells an [`Activity`] when bytes arrive, and whose shutdown waits for what the
/// client still sends.
pub struct ActivityStream<S> {
    inner: S,
    activity: Activity,
    linger: Option<Pin<Box<Sleep>>>,
    discarded: usize,
}

impl<S> ActivityStream<S> {
    /// Wraps a stream.
    pub fn new(inner: S, activity: Activity) -> Self {
        ActivityStream { inner, activity, linger: None, discarded: 0 }
    }

    /// The wrapped stream.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ActivityStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.activity.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ActivityStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            if self.activity.is_ending() {
                return Poll::Ready(Ok(()));
            }
            self.linger = Some(Box::pin(sleep(LINGER)));
        }
        let is_over = self.linger.as_mut().is_none_or(|sleep| sleep.as_mut().poll(cx).is_ready());
        if is_over {
            return Poll::Ready(Ok(()));
        }
        let mut bytes = [0; 4096];
        while self.discarded < MAX_DISCARDED {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer));
            let n = buffer.filled().len();
            if read.is_err() || n == 0 {
                break;
            }
            self.discarded += n;
        }
        Poll::Ready(Ok(()))
    }
}
