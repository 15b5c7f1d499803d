//! The command line against a daemon in this process, and what typed words mean.
