//! What can go wrong on the link, in terms that a caller can act on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use cobs::id::NodeId;
use cobs::transport_key::TransportKey;

/// Why the link, a connection or a request failed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The key file could not be read or written.
    #[error("transport key file {path}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The key file is no Ed25519 key, or no certificate could be made of it.
    #[error("transport key file {path} is not a PKCS#8 Ed25519 key")]
    KeyMalformed {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: rcgen::Error,
    },
    /// Others may read the key file.
    #[error("transport key file {path} has mode {mode:o}; it must be 600, and the key replaced if others read it")]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// TLS refused our own key; it was made by us, so this is a fault of ours.
    #[error("set up TLS with our transport key")]
    Tls(#[source] rustls::Error),
    /// Another program listens there.
    #[error("link address {address} is in use: stop the program that holds it, or set another port in link.listen")]
    AddressInUse {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("listen for peers on {address}; link.listen names the addresses")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There was no TCP connection.
    #[error("connect to {address}")]
    Connect {
        /// The address dialled.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There was a connection, but the TLS handshake failed.
    #[error("greet {address}")]
    Handshake {
        /// The address dialled.
        address: String,
        /// What TLS or the system said.
        #[source]
        source: io::Error,
    },
    /// Someone else answers at the address.
    #[error("wrong transport key at {address}: expected {expected}, found {found}")]
    WrongKey {
        /// The address dialled.
        address: String,
        /// The key that its peer record or the link names.
        expected: TransportKey,
        /// The key of its certificate.
        found: TransportKey,
    },
    /// The other side has no peer with our key, or no longer.
    #[error("{address} does not admit our transport key {key}")]
    NotAdmitted {
        /// The address dialled.
        address: String,
        /// Our key.
        key: TransportKey,
    },
    /// The other side takes no further strangers for now.
    #[error("{address} takes no more attempts for now; try again in a minute")]
    TooManyAttempts {
        /// The address dialled.
        address: String,
    },
    /// The two sides are connected already, by a connection that the other side prefers.
    #[error("{address} keeps the connection it has with us")]
    Duplicate {
        /// The address dialled.
        address: String,
    },
    /// It took too long.
    #[error("{what} took more than {limit_ms} ms")]
    TimedOut {
        /// What we were doing.
        what: &'static str,
        /// How long it was given.
        limit_ms: u64,
    },
    /// There is no connection to the node, so nothing was sent.
    #[error("not connected to {node}")]
    NotConnected {
        /// The node.
        node: NodeId,
    },
    /// The connection ended; whether the other side acted on the request is unknown.
    #[error("the connection ended")]
    Ended,
    /// The exchange failed; whether the other side acted on the request is unknown.
    #[error("the exchange failed")]
    Exchange(#[source] hyper::Error),
    /// This link is shutting down.
    #[error("the link is shutting down")]
    ShuttingDown,
}
