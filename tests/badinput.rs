//! Bad input: each gets an error of its own that says what, why and what next, at the command line with an exit code of
//! `sysexits.h` and with `--json` as an object, and at the HTTP API as a problem with its code and request id.
//!
//! It knows the doors and the words at them; what happens behind them is tested elsewhere.

mod api;
mod check;
mod disk;
mod jobs;
mod logs;
mod machine;
mod pairing;
mod start;
