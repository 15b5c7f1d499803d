//! Streams over one connection, opened by either side. Knows nothing of HTTP.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use yamux::{Config, Connection, ConnectionError, Mode};

use super::limits;
use super::wire::Wire;

/// One stream, as tokio reads and writes it.
pub(super) type Stream = yamux::Stream;

/// Asks the driver of a connection for a stream; an answer that never comes means that the connection ended.
pub(super) type Open = oneshot::Sender<Stream>;

/// What moves the bytes of one connection; it has to be polled for anything to happen on it.
pub(super) struct Driver {
    connection: Connection<Compat<Wire>>,
    opens: mpsc::Receiver<Open>,
    opening: Option<Open>,
}

/// How many streams one connection may have, in both directions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streams {
    pub(super) max: usize,
    pub(super) receive_window_bytes: usize,
}

impl Driver {
    /// Drives `wire`; the side that dialled is [`Mode::Client`].
    pub(super) fn new(wire: Wire, mode: Mode, streams: Streams, opens: mpsc::Receiver<Open>) -> Self {
        let mut config = Config::default();
        config
            .set_max_num_streams(streams.max)
            .set_max_connection_receive_window(Some(streams.receive_window_bytes))
            .set_split_send_size(limits::FRAME_BYTES);
        Self { connection: Connection::new(wire.compat(), config, mode), opens, opening: None }
    }

    /// The next stream that the other side opens. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<Stream, ConnectionError> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Says goodbye, if the other side listens.
    pub(super) async fn close(mut self) {
        let closed = poll_fn(|cx| self.connection.poll_close(cx));
        if tokio::time::timeout(Duration::from_millis(limits::CLOSE_MS), closed).await.is_err() {
            tracing::debug!("link connection dropped without a goodbye");
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        loop {
            if self.opening.is_none() {
                match self.opens.poll_recv(cx) {
                    Poll::Ready(Some(open)) => self.opening = Some(open),
                    Poll::Ready(None) => return Poll::Ready(Err(ConnectionError::Closed)),
                    Poll::Pending => {}
                }
            }
            if let Some(open) = self.opening.take() {
                match self.connection.poll_new_outbound(cx) {
                    // An asker that has gone drops the stream, which resets it before it was ever seen.
                    Poll::Ready(Ok(stream)) => drop(open.send(stream)),
                    Poll::Ready(Err(ConnectionError::TooManyStreams)) => drop(open),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => self.opening = Some(open),
                }
                if self.opening.is_none() {
                    continue;
                }
            }
            return match self.connection.poll_next_inbound(cx) {
                Poll::Ready(Some(stream)) => Poll::Ready(stream),
                Poll::Ready(None) => Poll::Ready(Err(ConnectionError::Closed)),
                Poll::Pending => Poll::Pending,
            };
        }
    }
}
