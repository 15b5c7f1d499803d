//! The machine by itself and in small networks.
