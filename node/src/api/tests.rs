//! The surface as a caller meets it: real listeners, real connections, a node in memory behind them.

pub(crate) mod bodies;
mod doors;
pub(crate) mod fake;
mod matrix;
pub(crate) mod rig;
mod streams;
