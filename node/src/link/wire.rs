//! Sockets: how they are opened, tuned and watched for silence.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsStream;

use super::error::LinkError;
use super::limits;

/// A TLS connection as the multiplexer uses it: header and payload of a frame leave in one record.
pub(super) type Wire = BufWriter<Watched<TlsStream<TcpStream>>>;

/// Connections that the kernel holds for us until we accept them.
const BACKLOG: u32 = 128;
/// Header of a multiplexer frame.
const FRAME_HEADER_BYTES: usize = 12;

/// Listens on every address, or on none.
pub(super) fn listen(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, LinkError> {
    addresses.iter().map(|address| listen_on(*address, addresses)).collect()
}

fn listen_on(address: SocketAddr, all: &[SocketAddr]) -> Result<TcpListener, LinkError> {
    bind(address, all).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => LinkError::AddressInUse { address },
        _ => LinkError::Listen { address, source },
    })
}

fn bind(address: SocketAddr, all: &[SocketAddr]) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the connections of the process before it.
    socket.set_reuseaddr(true)?;
    // `[::]` alone serves IPv4 too; beside `0.0.0.0` it would be in its own way.
    if address.is_ipv6() && all.iter().any(|other| other.is_ipv4() && other.port() == address.port()) {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Sets what every connection of the link needs; a system that knows an option not goes without it.
pub(super) fn tune(stream: &TcpStream) {
    let fd = stream.as_fd();
    let keepalive = Duration::from_secs(limits::KEEPALIVE_SECONDS);
    let done = [
        stream.set_nodelay(true),
        sockopt::set_socket_keepalive(fd, true).map_err(io::Error::from),
        sockopt::set_tcp_keepidle(fd, keepalive).map_err(io::Error::from),
        sockopt::set_tcp_keepintvl(fd, keepalive).map_err(io::Error::from),
        sockopt::set_tcp_keepcnt(fd, limits::KEEPALIVE_PROBES).map_err(io::Error::from),
        limit_unsent(stream),
    ];
    for error in done.into_iter().filter_map(Result::err) {
        tracing::debug!(%error, "socket option not set");
    }
}

/// The bound that rustix does not offer.
fn limit_unsent(stream: &TcpStream) -> io::Result<()> {
    let value: libc::c_uint = limits::UNSENT_BYTES;
    // SAFETY: the descriptor is open as long as `stream` is borrowed, and the option is read from `value`, whose size is given.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NOTSENT_LOWAT,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Prepares a greeted connection for the multiplexer.
pub(super) fn wire(stream: TlsStream<TcpStream>) -> (Wire, Heard) {
    let heard = Heard { start: Instant::now(), last_ms: Arc::default() };
    let watched = Watched { inner: stream, heard: heard.clone() };
    (BufWriter::with_capacity(limits::FRAME_BYTES + FRAME_HEADER_BYTES, watched), heard)
}

/// When the other side was last heard.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    start: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Heard {
    /// For how long the other side has sent nothing at all.
    pub(super) fn silence(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Ordering::Relaxed)))
    }

    fn note(&self) {
        self.last_ms.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }
}

/// A stream that notes when it was last read with success.
#[derive(Debug)]
pub(super) struct Watched<T> {
    inner: T,
    heard: Heard,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.heard.note();
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
