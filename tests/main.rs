//! The whole, as its users meet it: one binary that starts real `rhizome` processes in homes of their own.
//!
//! A file here is one area and a module of this one; what they share is in [`support`]. A test that needs what a machine
//! may lack says so by [`support::skip::skip`] and returns; `tests/skips.txt` lists the ones that may.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod adopt;
mod alone;
mod apart;
mod archive;
mod attached;
mod badinput;
mod context;
mod crowd;
mod decides;
mod demo;
mod diskfull;
mod explain;
mod full;
mod garbage;
mod hostile;
mod killed;
mod lease;
mod meaning;
mod ollama;
mod outage;
mod pair;
mod private;
mod rad;
mod radworks;
mod removal;
mod restored;
mod support;
mod tidy;
mod transfer;
mod why;
