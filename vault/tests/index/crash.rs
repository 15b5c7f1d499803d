//! kill -9 of the process that indexes, at any moment.
