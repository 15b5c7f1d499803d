//! The surface as a caller meets it: real listeners, real connections, a node in memory behind them.

pub mod bodies;
mod doors;
pub mod fake;
mod matrix;
pub mod rig;
mod streams;
