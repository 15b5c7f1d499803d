//! The one binary: `rhizome`, and by their names `rad-rhizome` and `rad-cob-job`.

use std::process::ExitCode;

fn main() -> ExitCode {
    node::cli::main(std::env::args_os())
}
