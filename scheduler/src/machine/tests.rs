//! The machine by itself and in small networks.

mod arbitrates;
mod common;
mod desk;
mod driver;
mod faults;
mod holds;
mod sim;
mod world;
