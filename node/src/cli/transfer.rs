//! `rhizome vault export` and `import`: a vault's lines to a file and back.

use std::path::Path;

use futures::{StreamExt as _, TryStreamExt as _};
use http_body_util::BodyExt as _;
use hyper::Method;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use vault::transfer::Counts;

use super::client::{Client, empty};
use super::exit::Failure;
use super::output::Format;
use crate::ops::error::{Code, Error};

/// Writes the lines into a file, which is there whole or not at all, or to standard output.
pub async fn export(client: &Client, file: Option<&Path>) -> Result<(), Failure> {
    let Some(file) = file else { return lines(client, tokio::io::stdout(), "standard output").await };
    let name = file.display().to_string();
    let unwritten = |error: std::io::Error| Error::new(Code::Storage, format!("{name} cannot be written: {error}"));
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // read by nobody else: private notes may be in it
    let beside = tempfile::NamedTempFile::new_in(folder).map_err(unwritten)?;
    let writer = tokio::fs::File::from_std(beside.reopen().map_err(unwritten)?);
    lines(client, writer, &name).await?;
    beside.as_file().sync_all().map_err(unwritten)?;
    beside.persist(file).map_err(|error| unwritten(error.error))?;
    Ok(())
}

async fn lines(client: &Client, mut out: impl AsyncWrite + Unpin, name: &str) -> Result<(), Failure> {
    let unwritten = |error: std::io::Error| Error::new(Code::Storage, format!("{name} cannot be written: {error}"));
    let body = client.call(Method::GET, "/v1/vault/export", &[], empty()).await?.into_body();
    let mut pieces =
        body.into_data_stream().map_err(|error| Error::new(Code::NoDaemon, format!("the export broke off: {error}")));
    while let Some(piece) = pieces.next().await {
        out.write_all(&piece?).await.map_err(unwritten)?;
    }
    Ok(out.flush().await.map_err(unwritten)?)
}

/// Takes lines out of a file.
pub async fn import(client: &Client, file: &Path, format: Format) -> Result<(), Failure> {
    let name = file.display();
    let opened = tokio::fs::File::open(file).await;
    let opened = opened.map_err(|error| Error::new(Code::BadRequest, format!("{name} cannot be read: {error}")))?;
    let counts: Counts = client.upload("/v1/vault/import", opened).await?;
    format.print(&counts, |counts| {
        let Counts { documents, pushed, passages, vectors } = counts;
        format!("{pushed} of {documents} documents were pushed and are kept; {vectors} of {passages} passages have vectors\n")
    })
}
