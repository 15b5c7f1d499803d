//! The machine by itself and in small networks.

mod common;
mod directed;
mod driver;
mod sim;
mod world;
