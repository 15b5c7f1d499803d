//! Where vectors are kept: in this process, or in another product.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;
use vault::embed::Reach;
use vault::vectors::breaker::Breaker;
use vault::vectors::local::LocalStore;
use vault::vectors::{VectorStore, remote};

use crate::config::Vault as Settings;
use crate::ops::error::{Code, Error};

/// A store, and what it wants done from time to time.
#[derive(Clone)]
pub struct Store {
    /// The store.
    pub store: Arc<dyn VectorStore>,
    /// Whether it is on this machine.
    pub reach: Reach,
    /// What it wants done after vectors came to it.
    pub upkeep: Arc<dyn Fn() + Send + Sync>,
}

/// Opens the store that is configured. One in another product may be away, and is asked later.
///
/// # Errors
/// When the one in this process cannot be opened, or the URL names what cannot be.
pub fn open(settings: &Settings, folder: &Path, runtime: &Handle) -> Result<Store, Error> {
    if let Some(url) = &settings.store {
        crate::link::install_tls();
        let store = remote::open(url, runtime.clone()).map_err(|error| Error::new(Code::Config, error.to_string()))?;
        let started = Instant::now();
        let breaker = Breaker::new(store.into(), Box::new(move || started.elapsed()));
        return Ok(Store { store: Arc::new(breaker), reach: url.reach(), upkeep: Arc::new(|| ()) });
    }
    let (store, aside) = LocalStore::open(&folder.join("vectors")).map_err(|error| super::failed(&error))?;
    if let Some(aside) = aside {
        tracing::warn!(?aside, "vectors that could not be read are made again");
    }
    let store = Arc::new(store);
    let kept = Arc::clone(&store);
    let upkeep = move || {
        if let Err(error) = kept.maintain() {
            tracing::warn!(%error, "vectors are not sealed, and found more slowly");
        }
    };
    Ok(Store { store, reach: Reach::Local, upkeep: Arc::new(upkeep) })
}
