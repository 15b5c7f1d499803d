//! The pure fold: laws over random histories, and one case for each rule. No storage.

mod cases;
mod laws;
mod world;
