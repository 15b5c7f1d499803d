//! The adapter on real Radicle storage: temporary homes, several keys in one storage, no network.

mod archiving;
mod crash;
mod forgeries;
mod home;
mod reading;
mod writing;
