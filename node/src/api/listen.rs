//! The two listeners: bound, served and drained.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::{Listener, ListenerExt};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::fs::Mode;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::guard::{Door, Names};
use super::operations::Operations;
use super::settings::{HEAD_BYTES_MAX, HEADERS_MAX, Limits, Settings};
use super::{Surface, router};
use crate::ops::error::{Code, Error};

/// Connections that may wait to be accepted on the unix socket.
const BACKLOG: u32 = 128;
/// Longest time to tell a connection that there are too many, in milliseconds.
const REFUSE_MS: u64 = 1000;
/// What a connection beyond the most is told.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
    content-type: application/problem+json\r\ncontent-length: 160\r\n\r\n\
    {\"type\":\"urn:rhizome:problem:busy\",\"title\":\"The node is busy\",\"status\":503,\"code\":\"busy\",\
    \"detail\":\"too many connections\",\"correlationId\":\"\",\"retryAfterMs\":1000}";

/// The unix socket, bound; its file goes when this is dropped, unless another has taken its place.
pub struct Socket {
    listener: UnixListener,
    _file: SocketFile,
}

struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket's file stays behind");
        }
    }
}

/// Binds the API's TCP listener.
///
/// # Errors
/// [`Code::PortInUse`], and [`Code::Config`] for an address that is not a loopback one or cannot be had.
pub async fn bind_tcp(address: SocketAddr) -> Result<TcpListener, Error> {
    if !address.ip().is_loopback() {
        return Err(Error::new(
            Code::Config,
            format!("{address} is no loopback address, and the API has no encryption"),
        )
        .hint("set api.listen to 127.0.0.1 and a port, and put a proxy with TLS before it"));
    }
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            Error::new(Code::PortInUse, format!("port {} of {} is in use", address.port(), address.ip()))
                .hint("stop the program that has it, or set api.listen to another port (0 for any)")
        }
        _ => Error::new(Code::Config, format!("cannot listen on {address}: {error}")).hint("check api.listen"),
    })
}

/// Binds the unix socket at `path`, for the node's user alone. A socket that nobody answers is replaced.
///
/// # Errors
/// [`Code::AlreadyRunning`] when somebody answers, [`Code::Config`] when the path cannot be a socket.
pub async fn bind_unix(path: &Path) -> Result<Socket, Error> {
    let refused = |error: &io::Error| {
        Error::new(Code::Config, format!("cannot listen on {}: {error}", path.display()))
            .hint("choose a home with a shorter path, on a file system that you may write")
    };
    clear(path).await?;
    let socket = UnixSocket::new_stream().map_err(|error| refused(&error))?;
    // before it is bound: the file has this mode from its first moment
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(|error| refused(&error.into()))?;
    socket.bind(path).map_err(|error| refused(&error))?;
    let listener = socket.listen(BACKLOG).map_err(|error| refused(&error))?;
    let inode = std::fs::symlink_metadata(path).map_err(|error| refused(&error))?.ino();
    Ok(Socket { listener, _file: SocketFile { path: path.to_owned(), inode } })
}

/// Removes what a daemon that was killed left at `path`.
async fn clear(path: &Path) -> Result<(), Error> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(Error::new(Code::Config, format!("{} is there and is no socket", path.display()))
            .hint("move it away, or choose another home"));
    }
    match tokio::net::UnixStream::connect(path).await {
        Ok(_) => Err(Error::new(Code::AlreadyRunning, format!("a daemon answers at {}", path.display()))
            .hint("look at it with: rhizome status")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .map_err(|error| Error::new(Code::Storage, format!("cannot remove {}: {error}", path.display()))),
        Err(error) => Err(Error::new(Code::Config, format!("cannot tell who owns {}: {error}", path.display()))),
    }
}

/// Serves tokens on TCP until `stop`, then drains.
pub async fn serve_tcp<N: Operations>(
    listener: TcpListener,
    node: Arc<N>,
    settings: Settings,
    stop: CancellationToken,
) {
    let address = listener.local_addr().expect("a bound listener has an address");
    let door = Door::Tcp(Names::new(address, &settings));
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection stays with delayed sends");
        }
    });
    serve(listener, surface(node, settings, door, stop)).await;
}

/// Serves the owner on the unix socket until `stop`, then drains.
pub async fn serve_unix<N: Operations>(socket: Socket, node: Arc<N>, settings: Settings, stop: CancellationToken) {
    let Socket { listener, _file } = socket;
    serve(listener, surface(node, settings, Door::Socket, stop)).await;
}

fn surface<N>(node: Arc<N>, settings: Settings, door: Door, stop: CancellationToken) -> Arc<Surface<N>> {
    let streams = Arc::new(Semaphore::new(settings.limits.streams));
    Arc::new(Surface { node, settings, door, streams, stop })
}

async fn serve<L: Listener, N: Operations>(mut listener: L, surface: Arc<Surface<N>>) {
    let (limits, stop) = (surface.settings.limits.clone(), surface.stop.clone());
    let slots = Arc::new(Semaphore::new(limits.connections));
    let router = router(surface);
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            (stream, _) = listener.accept() => stream,
        };
        match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => {
                let connection = connection(stream, router.clone(), limits.clone(), stop.clone());
                connections.spawn(async move {
                    let _slot = slot;
                    connection.await;
                });
            }
            Err(_) => {
                connections.spawn(refuse(stream));
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain, drained).await.is_err() {
        tracing::info!(left = connections.len(), "connections were cut, since the daemon stops");
        connections.shutdown().await;
    }
}

async fn connection<S>(stream: S, router: Router, limits: Limits, stop: CancellationToken)
where
    S: tokio::io::AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).with_upgrades();
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

async fn refuse<S: AsyncWrite + Unpin>(mut stream: S) {
    let told = async {
        stream.write_all(REFUSAL).await?;
        stream.shutdown().await
    };
    match tokio::time::timeout(Duration::from_millis(REFUSE_MS), told).await {
        Ok(Ok(())) => tracing::warn!("too many connections"),
        Ok(Err(_)) | Err(_) => tracing::warn!("too many connections, and one that does not listen"),
    }
}
