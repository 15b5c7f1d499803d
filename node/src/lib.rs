//! The daemon, its command line, and all that stands between the pure parts and the world.
//!
//! `radicle_node` is named in [`replication`] alone, `redb` in [`store`], `yamux` and `rustls` in [`link`],
//! `axum` in [`api`] and [`link`], `reqwest` in [`llm`], `clap` in [`cli`].

pub mod api;
pub mod archive;
pub mod blobs;
pub mod claims;
pub mod cli;
pub mod clock;
pub mod collect;
pub mod config;
pub mod context;
pub mod daemon;
pub mod demo;
pub mod follower;
pub mod garbage;
pub mod link;
pub mod llm;
pub mod logging;
pub mod node;
mod notes;
pub mod offers;
pub mod ops;
pub mod pairing;
pub mod peering;
pub mod radworks;
pub mod replication;
pub mod runs;
pub mod setup;
pub mod source;
pub mod store;
pub mod whereabouts;
