//! The machine by itself, step by step.

mod again;
mod arbitrates;
mod desk;
mod holds;
