//! Stand-in until the configuration is there.
#![expect(missing_docs, reason = "it is thrown away")]

use std::path::PathBuf;

use crate::ops::error::Error;

pub struct Environment {
    pub home: PathBuf,
}

impl Environment {
    pub fn new(home: Option<PathBuf>) -> Result<Self, Error> {
        let home = home.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".radicle"));
        Ok(Self { home })
    }

    pub fn socket(&self) -> PathBuf {
        self.home.join("rhizome.sock")
    }
}
