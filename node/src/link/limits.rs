//! Every limit of the link, with its unit. Nothing here is negotiated: both sides hold to their own.

/// From the TCP connection to the answer whether the dialler is admitted.
pub const HANDSHAKE_MS: u64 = 5_000;
/// For a TCP connection to come about.
pub const CONNECT_MS: u64 = 3_000;
/// Connections that have not yet shown a key, all together.
pub const HANDSHAKES_MAX: usize = 64;
/// Connections that have not yet shown a key, of one host.
pub const HANDSHAKES_PER_HOST_MAX: usize = 16;
/// Wait after `accept` failed, for instance for want of file descriptors.
pub const ACCEPT_RETRY_MS: u64 = 100;

/// Addresses of one peer that are tried; further ones are ignored.
pub const ADDRESSES_MAX: usize = 8;
/// Between starting to try one address of a peer and the next.
pub const ADDRESS_STAGGER_MS: u64 = 150;
/// Wait before the first redial; it doubles from there.
pub const REDIAL_FIRST_MS: u64 = 50;
/// Longest wait between redials while the peer has not been away for long.
pub const REDIAL_MS: u64 = 1_000;
/// Redials after which the peer counts as away for long.
pub const REDIALS_QUICK: u32 = 120;
/// Wait between redials of a peer that is away for long.
pub const REDIAL_AWAY_MS: u64 = 5_000;
/// A session that ends sooner does not reset the back-off.
pub const SESSION_STABLE_MS: u64 = 5_000;

/// How long the smaller key lets the other's connection wait for its own dial to succeed.
pub const TIE_WAIT_MS: u64 = 300;
/// How long a session may take to show that it lives when its peer dials anew.
pub const PROOF_OF_LIFE_MS: u64 = 1_000;

/// Between two pings of a peer, and between two looks at whether it is still authorised.
pub const PING_INTERVAL_MS: u64 = 2_000;
/// A peer that has sent no byte for so long is gone.
pub const SILENCE_MAX_MS: u64 = 6_000;
/// Idle time before TCP probes, and between probes.
pub const KEEPALIVE_SECONDS: u64 = 5;
/// Probes without an answer until TCP gives up.
pub const KEEPALIVE_PROBES: u32 = 3;
/// Unsent bytes that the kernel may hold, so that a renewal is not stuck behind an artifact.
pub const UNSENT_BYTES: u32 = 128 * 1024;

/// Requests in flight to one peer.
pub const STREAMS_OUT_MAX: usize = 64;
/// Further requests in flight to one peer for those marked [`super::Urgent`].
pub const STREAMS_URGENT_MAX: usize = 16;
/// Requests in flight from one peer; one more is reset.
pub const STREAMS_IN_MAX: usize = 128;
/// Streams in both directions; a peer that opens more loses its connection.
pub const STREAMS_MAX: usize = 320;
/// Requests that wait to be opened on one connection.
pub const OPEN_PENDING_MAX: usize = 256;
/// What one connection may have us buffer: 256 KiB for each stream and 32 MiB that busy ones share.
pub const RECEIVE_WINDOW_BYTES: usize = STREAMS_MAX * 256 * 1024 + 32 * 1024 * 1024;
/// Largest payload of one multiplexer frame.
pub const FRAME_BYTES: usize = 32 * 1024;
/// Largest head of a request or an answer.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Buffer of one exchange in HTTP; a head has to fit.
pub const EXCHANGE_BUFFER_BYTES: usize = 64 * 1024;
/// For the head of a request to arrive once its stream is open.
pub const HEADER_READ_MS: u64 = 5_000;
/// For a connection to say goodbye.
pub const CLOSE_MS: u64 = 500;
/// Events that a slow subscriber may lag behind.
pub const EVENTS_MAX: usize = 256;

/// Connections of strangers at a time.
pub const STRANGERS_MAX: usize = 8;
/// Connections of strangers from one host in [`STRANGER_WINDOW_MS`].
pub const STRANGER_ATTEMPTS_MAX: u32 = 10;
/// The span over which attempts are counted.
pub const STRANGER_WINDOW_MS: u64 = 60_000;
/// Hosts whose attempts are remembered; beyond that strangers are refused.
pub const STRANGER_HOSTS_MAX: usize = 1_024;
/// How long a stranger's connection may last.
pub const STRANGER_LIFETIME_MS: u64 = 30_000;
/// Requests on a stranger's connection, all together.
pub const STRANGER_REQUESTS_MAX: usize = 16;
/// Streams of a stranger's connection at a time.
pub const STRANGER_STREAMS_MAX: usize = 4;
/// Body of a stranger's request.
pub const STRANGER_BODY_BYTES: usize = 64 * 1024;
