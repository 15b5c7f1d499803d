//! Who may reach the API and how much of it they may have. Every bound of the surface stands here.

use std::collections::BTreeSet;
use std::time::Duration;

/// Most bytes of a JSON body.
pub const JSON_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes of an uploaded input.
pub const BLOB_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Most headers of a request.
pub const HEADERS_MAX: usize = 64;
/// Most bytes of a request's head.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Most connections of one listener.
pub const CONNECTIONS_MAX: usize = 512;
/// Most streams that are followed at once on one listener.
pub const STREAMS_MAX: usize = 256;
/// Longest time for the head of a request, and longest idle time of a connection, in milliseconds.
pub const HEAD_MS: u64 = 15_000;
/// Longest time until an answer begins, uploads excepted, in milliseconds.
pub const ANSWER_MS: u64 = 60_000;
/// Longest pause in a body, in milliseconds.
pub const BODY_IDLE_MS: u64 = 30_000;
/// A stream says that it is alive after this time without a message, in milliseconds.
pub const HEARTBEAT_MS: u64 = 15_000;
/// A follower that takes nothing for this long is closed, in milliseconds.
pub const SEND_STALL_MS: u64 = 10_000;
/// Most bytes that wait for a follower that reads slowly, besides what the system buffers.
pub const SEND_BUFFER_BYTES_MAX: usize = 1024 * 1024;
/// Longest time for answers under way when the daemon stops, in milliseconds.
pub const DRAIN_MS: u64 = 5_000;
/// Most bytes of an idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Most bytes of a request id that a caller may choose.
pub const REQUEST_ID_BYTES_MAX: usize = 64;

/// Who may reach the TCP listener, and within what bounds.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `host:port` that a `Host` header may name, besides the loopback names with the listener's port.
    pub hosts: BTreeSet<String>,
    /// Origins, such as `https://rhizome.example`, whose pages may call, besides those of the hosts.
    pub origins: BTreeSet<String>,
    /// The bounds that a test or a configuration may change.
    pub limits: Limits,
}

/// The bounds of one listener that a test or a configuration may change.
#[derive(Clone, Debug)]
pub struct Limits {
    /// [`BLOB_BYTES_MAX`].
    pub blob_bytes: u64,
    /// [`CONNECTIONS_MAX`].
    pub connections: usize,
    /// [`STREAMS_MAX`].
    pub streams: usize,
    /// [`HEAD_MS`].
    pub head: Duration,
    /// [`ANSWER_MS`].
    pub answer: Duration,
    /// [`BODY_IDLE_MS`].
    pub body_idle: Duration,
    /// [`HEARTBEAT_MS`].
    pub heartbeat: Duration,
    /// [`SEND_STALL_MS`].
    pub send_stall: Duration,
    /// [`DRAIN_MS`].
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            blob_bytes: BLOB_BYTES_MAX,
            connections: CONNECTIONS_MAX,
            streams: STREAMS_MAX,
            head: Duration::from_millis(HEAD_MS),
            answer: Duration::from_millis(ANSWER_MS),
            body_idle: Duration::from_millis(BODY_IDLE_MS),
            heartbeat: Duration::from_millis(HEARTBEAT_MS),
            send_stall: Duration::from_millis(SEND_STALL_MS),
            drain: Duration::from_millis(DRAIN_MS),
        }
    }
}
