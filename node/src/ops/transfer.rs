//! The vault's pushed documents, passages and vectors as lines, out of this node and into it.

use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use vault::transfer::{self, Counts, Export, Import, TransferError};

use super::context::refused;
use super::error::{Code, Error};
use super::jobs::storage;
use super::{Caller, Scope};
use crate::node::Node;

/// Pieces that wait for whoever is slower, and how large one is, in bytes.
const PIECES_MAX: usize = 8;
const PIECE_BYTES: usize = 64 << 10;

/// Pieces of lines.
pub type Lines = BoxStream<'static, Result<Bytes, Error>>;

impl Node {
    /// All lines. What is private is among them: whoever may read the vault reads it.
    ///
    /// # Errors
    /// When there is nothing to export; a fault later ends the stream.
    pub async fn export_vault(self: &Arc<Self>, caller: &Caller) -> Result<Lines, Error> {
        caller.require(Scope::ContextRead)?;
        let opened = self.context.get()?;
        let (pieces, received) = channel(PIECES_MAX);
        tokio::task::spawn_blocking(move || {
            let ready = opened.notes.ready().ok();
            let vectors = ready.as_ref().zip(opened.cache.as_ref());
            let serving = opened.notes.serving();
            let export = Export { serving: &serving, documents: &opened.documents, vectors };
            let mut out = Pieces { pieces: pieces.clone(), piece: Vec::with_capacity(PIECE_BYTES) };
            if let Err(error) = transfer::export(&export, &mut out) {
                // nobody may be there to hear it
                pieces.blocking_send(Err(wrong(&error))).ok();
            }
        });
        let next =
            |mut received: Receiver<Result<Bytes, Error>>| async move { Some((received.recv().await?, received)) };
        Ok(stream::unfold(received, next).boxed())
    }

    /// Takes lines; pushed documents are searchable when it answers, and vectors are used instead of made.
    ///
    /// # Errors
    /// When a line is none of ours, which leaves what was before it, or something cannot be stored.
    pub async fn import_vault(self: &Arc<Self>, caller: &Caller, mut body: Lines) -> Result<Counts, Error> {
        caller.require(Scope::ContextWrite)?;
        let node = Arc::clone(self);
        let (pieces, received) = channel(PIECES_MAX);
        let work = move || {
            let opened = node.context.open()?;
            let mut input = BufReader::new(Taken { received, piece: Bytes::new() });
            let kept = |ids| opened.notes.worker.documents(ids);
            let target = Import { documents: &opened.documents, cache: opened.cache.as_deref(), kept: &kept };
            transfer::import(&mut input, &target).map_err(|error| wrong(&error))
        };
        let taken = tokio::task::spawn_blocking(work);
        while let Some(piece) = body.next().await {
            // who takes them has ended, and says why
            if pieces.send(piece.map_err(|error| io::Error::other(error.to_string()))).await.is_err() {
                break;
            }
        }
        drop(pieces);
        taken.await.map_err(|error| Error::new(Code::Internal, error.to_string()))?
    }
}

fn wrong(error: &TransferError) -> Error {
    match error {
        TransferError::Line { .. } | TransferError::Lines(_) => Error::new(Code::BadRequest, error.to_string())
            .hint("take what `rhizome vault export` wrote, as it wrote it"),
        TransferError::Documents(error) => refused::documents(error),
        TransferError::Index(error) => storage(error),
        TransferError::Vectors(error) => storage(error),
        TransferError::Cache(error) => storage(error),
        TransferError::Worker(error) => storage(error),
    }
}

/// Writes pieces to a task, waiting for it.
struct Pieces {
    pieces: Sender<Result<Bytes, Error>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = Bytes::from(std::mem::take(&mut self.piece));
        if piece.is_empty() {
            return Ok(());
        }
        self.pieces.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Reads pieces of a task, waiting for it.
struct Taken {
    received: Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Taken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.received.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}
