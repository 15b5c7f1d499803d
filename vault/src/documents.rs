//! Documents that are no files: pushed by the API, kept here, and read again by every rebuild of the index.

use std::path::Path;

use redb::{
    Database, Error, ReadTransaction, ReadableDatabase as _, ReadableTableMetadata as _, TableDefinition,
    WriteTransaction,
};
use serde::{Deserialize, Serialize};

use crate::handle::Handle;
use crate::index::record::Privacy;
use crate::path::{PATH_BYTES_MAX, PathError, VaultPath};

/// Name of a document to the document in JSON.
const DOCUMENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("documents.1");
/// Longest text of a document, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 10 << 20;
/// Most documents.
pub const DOCUMENTS_MAX: u64 = 1_000_000;
/// How the names of pushed documents and of runs begin, as no path in a vault does.
pub const PUSHED: &str = "/pushed/";
/// See [`PUSHED`].
pub const RUNS: &str = "/runs/";
/// Longest id of a document, in bytes: its name is stored as a path of the vault is.
pub const ID_BYTES_MAX: usize = PATH_BYTES_MAX - PUSHED.len();

/// A document that was pushed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// By which whoever pushes it knows it: relative, with `/`.
    pub id: VaultPath,
    /// Markdown.
    pub text: String,
    /// Who may see it, whatever it says of itself.
    #[serde(default = "open")]
    pub privacy: Privacy,
}

fn open() -> Privacy {
    Privacy::Open
}

impl Document {
    /// Whether it may be kept.
    ///
    /// # Errors
    /// When its text or its id is too long.
    pub fn check(&self) -> Result<(), DocumentsError> {
        if self.text.len() > DOCUMENT_BYTES_MAX {
            return Err(DocumentsError::Long(self.text.len()));
        }
        let id_bytes = self.id.as_str().len();
        if id_bytes > ID_BYTES_MAX { Err(DocumentsError::LongId(id_bytes)) } else { Ok(()) }
    }
}

/// Why a document is not kept or found.
#[derive(Debug, thiserror::Error)]
pub enum DocumentsError {
    /// Its name is none.
    #[error("the id of the document: {0}")]
    Id(#[from] PathError),
    /// Its id is too long.
    #[error("the id of the document has {0} bytes, {ID_BYTES_MAX} are the most")]
    LongId(usize),
    /// It is too long.
    #[error("the document has {0} bytes, {DOCUMENT_BYTES_MAX} are the most")]
    Long(usize),
    /// There are too many.
    #[error("there are {DOCUMENTS_MAX} documents, which is the most; remove some")]
    Full,
    /// The store does not read or write.
    #[error("the document store does not {action}: {source}")]
    Store {
        /// What was asked of it.
        action: &'static str,
        /// Why.
        #[source]
        source: redb::Error,
    },
}

/// The store of documents.
#[derive(Debug)]
pub struct Documents {
    handle: Handle,
    begin: &'static str,
}

fn failed(action: &'static str) -> impl Fn(Error) -> DocumentsError {
    move |source| DocumentsError::Store { action, source }
}

impl Documents {
    /// Opens the store in a file, or begins it; the names of its documents begin with [`PUSHED`] or [`RUNS`].
    ///
    /// # Errors
    /// When it cannot be opened. It is not derived from anything, so it is not begun anew where it is broken.
    pub fn open(file: &Path, begin: &'static str) -> Result<Self, DocumentsError> {
        let open = || {
            let handle = Handle::open(file)?;
            handle.with(|database| {
                let write = database.begin_write()?;
                write.open_table(DOCUMENTS)?;
                Ok(write.commit()?)
            })?;
            Ok(Self { handle, begin })
        };
        open().map_err(failed("open"))
    }

    /// How the names of all documents begin.
    pub fn begin(&self) -> &'static str {
        self.begin
    }

    /// The name by which search knows a document.
    pub fn name(&self, id: &VaultPath) -> String {
        format!("{}{id}", self.begin)
    }

    /// Keeps documents, all of them or none; durable when it returns.
    ///
    /// # Errors
    /// When one is too long, there are too many, or the store fails.
    pub fn put(&self, documents: &[Document]) -> Result<(), DocumentsError> {
        documents.iter().try_for_each(Document::check)?;
        let fits = self.write(|write| {
            let mut table = write.open_table(DOCUMENTS)?;
            for document in documents {
                let json = serde_json::to_vec(document).expect("a document is plain data");
                table.insert(document.id.as_str(), &*json)?;
            }
            Ok((table.len()? <= DOCUMENTS_MAX).then_some(()))
        })?;
        fits.ok_or(DocumentsError::Full)
    }

    /// Forgets a document; whether there was one.
    ///
    /// # Errors
    /// When the store fails.
    pub fn remove(&self, id: &VaultPath) -> Result<bool, DocumentsError> {
        let removed = self.write(|write| Ok(Some(write.open_table(DOCUMENTS)?.remove(id.as_str())?.is_some())))?;
        Ok(removed == Some(true))
    }

    /// A document.
    ///
    /// # Errors
    /// When the store fails.
    pub fn get(&self, id: &VaultPath) -> Result<Option<Document>, DocumentsError> {
        self.read(|read| {
            let json = read.open_table(DOCUMENTS)?.get(id.as_str())?;
            Ok(json.and_then(|json| decoded(id.as_str(), json.value())))
        })
    }

    /// The ids of documents after one, at most `limit` of them, in order.
    ///
    /// # Errors
    /// When the store fails.
    pub fn ids(&self, after: Option<&VaultPath>, limit: usize) -> Result<Vec<VaultPath>, DocumentsError> {
        let from = after.map_or("", VaultPath::as_str);
        self.read(|read| {
            let mut ids = Vec::new();
            for entry in read.open_table(DOCUMENTS)?.range(from..)? {
                let (id, _) = entry?;
                if ids.len() == limit {
                    break;
                }
                ids.extend(VaultPath::new(id.value()).ok().filter(|id| Some(id) != after));
            }
            Ok(ids)
        })
    }

    fn read<T>(&self, work: impl FnOnce(&ReadTransaction) -> Result<T, Error>) -> Result<T, DocumentsError> {
        self.handle.with(|database| work(&database.begin_read()?)).map_err(failed("read"))
    }

    /// Writes, and leaves everything as it was where the work gives nothing.
    fn write<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, DocumentsError> {
        let write = |database: &Database| {
            let write = database.begin_write()?;
            let done = work(&write)?;
            match &done {
                Some(_) => write.commit()?,
                None => write.abort()?,
            }
            Ok(done)
        };
        self.handle.with(write).map_err(failed("write"))
    }
}

fn decoded(id: &str, json: &[u8]) -> Option<Document> {
    match serde_json::from_slice(json) {
        Ok(document) => Some(document),
        Err(error) => {
            tracing::error!(id, %error, "a pushed document cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(id: &str, text: &str) -> Document {
        Document { id: VaultPath::new(id).unwrap(), text: text.to_owned(), privacy: Privacy::Open }
    }

    /// Documents are there after the store was closed, in order of their ids, and are replaced and removed.
    #[test]
    fn documents_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("documents.redb");
        let store = Documents::open(&file, PUSHED).unwrap();
        store.put(&[document("b/two", "2"), document("a", "1"), document("c", "3")]).unwrap();
        store.put(&[document("a", "one")]).unwrap();
        drop(store);
        let store = Documents::open(&file, PUSHED).unwrap();
        let [a, b] = ["a", "b/two"].map(|id| VaultPath::new(id).unwrap());
        assert_eq!(store.get(&a).unwrap(), Some(document("a", "one")));
        assert_eq!(store.ids(None, 2).unwrap(), [a.clone(), b.clone()]);
        assert_eq!(store.ids(Some(&a), 1).unwrap(), std::slice::from_ref(&b));
        assert!(store.remove(&b).unwrap() && !store.remove(&b).unwrap());
        assert_eq!(store.get(&b).unwrap(), None);
        assert!(matches!(
            store.put(&[document("x", ""), document("y", &"a".repeat(DOCUMENT_BYTES_MAX + 1))]),
            Err(DocumentsError::Long(_))
        ));
        let longest = ["a/".repeat(ID_BYTES_MAX / 2 - 1), "aa".to_owned()].concat();
        assert!(matches!(store.put(&[document(&format!("{longest}a"), "")]), Err(DocumentsError::LongId(_))));
        assert_eq!(store.ids(None, 9).unwrap().len(), 2, "nothing of what was refused is kept");
    }
}
