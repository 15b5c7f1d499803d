//! Input files, uploaded before the job that names them.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::error::{Code, Error};
use super::jobs::storage;
use super::types::Uploaded;
use super::{Caller, Scope};
use crate::node::Node;

impl Node {
    /// Stores an input file.
    ///
    /// # Errors
    /// When it is too large or cannot be stored.
    pub async fn upload(
        self: &Arc<Self>,
        caller: &Caller,
        mut body: BoxStream<'static, Result<Bytes, Error>>,
    ) -> Result<Uploaded, Error> {
        caller.require(Scope::WriteJobs)?;
        let failed = |error: crate::blobs::BlobError| match error {
            crate::blobs::BlobError::TooLarge => Error::new(Code::TooLarge, error.to_string()),
            other => storage(&other),
        };
        let mut writer = self.blobs.writer().map_err(failed)?;
        while let Some(bytes) = body.next().await {
            let bytes = bytes?;
            let written = tokio::task::spawn_blocking(move || writer.write(&bytes).map(|()| writer)).await;
            writer = written.map_err(|error| Error::new(Code::Internal, error.to_string()))?.map_err(failed)?;
        }
        let blobs = self.blobs.clone();
        let finish = move || {
            let blob = writer.finish(None)?;
            // what came for another's job with the same content may have gone at this moment
            if blobs.own(blob.digest)? {
                Ok(blob)
            } else {
                Err(std::io::Error::from(std::io::ErrorKind::NotFound).into())
            }
        };
        let finished = tokio::task::spawn_blocking(finish).await;
        let blob = finished.map_err(|error| Error::new(Code::Internal, error.to_string()))?.map_err(failed)?;
        Ok(Uploaded { blob })
    }
}
