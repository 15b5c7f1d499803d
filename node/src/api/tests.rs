//! The surface as a caller meets it: real listeners, real connections, a node in memory behind them.

pub mod fake;
mod bodies;
mod doors;
mod matrix;
mod rig;
mod streams;
