//! A vault on disk, the index of it, and what is found.

mod crash;
mod filters;
mod kept;
mod search;
mod support;
mod watched;
