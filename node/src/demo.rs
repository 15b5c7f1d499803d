//! Stand-in until the demo is there.
#![expect(missing_docs, reason = "it is thrown away")]

use crate::cli::args::DemoOptions;
use crate::ops::error::{Code, Error};

pub async fn run(_: DemoOptions) -> Result<u8, Error> {
    Err(Error::new(Code::Internal, "not there yet"))
}
