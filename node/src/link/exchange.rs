//! One request and its answer over one stream, asked or served.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::compat::FuturesAsyncReadCompatExt;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::ServiceExt;

use super::error::LinkError;
use super::mux::{Open, Stream};
use super::{Caller, Urgent, limits};

/// The one path that the link answers by itself.
pub(super) const PING_PATH: &str = "/.link/ping";

/// Asks over one connection.
#[derive(Debug)]
pub(super) struct Carrier {
    opens: mpsc::Sender<Open>,
    ordinary: Arc<Semaphore>,
    urgent: Arc<Semaphore>,
    ended: CancellationToken,
    exchanges: TaskTracker,
}

impl Carrier {
    /// A carrier, and what its connection's driver answers. `ended` ends every exchange on it at once.
    pub(super) fn new(ended: CancellationToken, exchanges: TaskTracker) -> (Self, mpsc::Receiver<Open>) {
        let (opens, receiver) = mpsc::channel(limits::OPEN_PENDING_MAX);
        let ordinary = Arc::new(Semaphore::new(limits::STREAMS_OUT_MAX));
        let urgent = Arc::new(Semaphore::new(limits::STREAMS_URGENT_MAX));
        (Self { opens, ordinary, urgent, ended, exchanges }, receiver)
    }

    /// Cancelled once nothing more goes over the connection.
    pub(super) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Sends `request` and waits for the head of its answer for at most `timeout`.
    pub(super) async fn request(&self, request: Request<Body>, timeout: Duration) -> Result<Response<Body>, LinkError> {
        let limit_ms = timeout.as_millis() as u64;
        tokio::select! {
            biased;
            () = self.ended.cancelled() => Err(LinkError::Ended),
            answered = tokio::time::timeout(timeout, self.exchange(request)) => {
                answered.unwrap_or(Err(LinkError::TimedOut { what: "the answer to a request", limit_ms }))
            }
        }
    }

    /// Asks the other side for a sign of life.
    pub(super) async fn ping(&self, timeout: Duration) -> Result<(), LinkError> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = axum::http::Uri::from_static(PING_PATH);
        request.extensions_mut().insert(Urgent);
        self.request(request, timeout).await.map(drop)
    }

    async fn exchange(&self, mut request: Request<Body>) -> Result<Response<Body>, LinkError> {
        let permit = self.permit(request.extensions_mut().remove::<Urgent>()).await?;
        let (open, opened) = oneshot::channel();
        self.opens.send(open).await.map_err(|_| LinkError::Ended)?;
        let stream = opened.await.map_err(|_| LinkError::Ended)?;
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(limits::EXCHANGE_BUFFER_BYTES)
            .handshake(TokioIo::new(stream.compat()))
            .await
            .map_err(LinkError::Exchange)?;
        let ended = self.ended.child_token();
        let held = Hold { _permit: permit, _exchange: self.exchanges.token(), _abort: ended.clone().drop_guard() };
        tokio::spawn(async move { ended.run_until_cancelled(connection).await });
        request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("link"));
        let response = sender.send_request(request).await.map_err(LinkError::Exchange)?;
        Ok(response.map(|body| Body::new(HeldBody { body, _hold: held })))
    }

    async fn permit(&self, urgent: Option<Urgent>) -> Result<OwnedSemaphorePermit, LinkError> {
        let permit = match urgent {
            None => self.ordinary.clone().acquire_owned().await,
            Some(Urgent) => match self.ordinary.clone().try_acquire_owned() {
                Ok(permit) => Ok(permit),
                Err(_) => self.urgent.clone().acquire_owned().await,
            },
        };
        permit.map_err(|_| LinkError::Ended)
    }
}

/// What an exchange holds until the last byte of its answer is read or nobody wants it any more.
struct Hold {
    _permit: OwnedSemaphorePermit,
    _exchange: TaskTrackerToken,
    _abort: DropGuard,
}

/// The body of an answer. It ends in an error if the connection ends before it.
struct HeldBody {
    body: Incoming,
    _hold: Hold,
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Serves the one request on `stream`, until it is answered or `ended`.
pub(super) async fn serve(stream: Stream, router: Router, caller: Caller, ended: CancellationToken) {
    let service = service_fn(|request: Request<Incoming>| answer(router.clone(), caller, request));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(Duration::from_millis(limits::HEADER_READ_MS))
        .max_header_size(limits::HEADER_BYTES_MAX)
        .max_buf_size(limits::EXCHANGE_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream.compat()), service);
    if let Some(Err(error)) = ended.run_until_cancelled(connection).await {
        tracing::debug!(%error, "link exchange broken off");
    }
}

async fn answer(router: Router, caller: Caller, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    if request.method() == Method::GET && request.uri().path() == PING_PATH {
        let mut pong = Response::new(Body::empty());
        *pong.status_mut() = StatusCode::NO_CONTENT;
        return Ok(pong);
    }
    request.extensions_mut().insert(caller);
    router.oneshot(request.map(Body::new)).await
}
