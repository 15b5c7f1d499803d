//! Documents and their words on disk, by `tantivy`: one entry for the record of a document, one for each of its passages.

mod find;
mod kin;
mod schema;

use std::path::Path;

use serde::de::DeserializeOwned;
use tantivy::directory::MmapDirectory;
use tantivy::directory::error::LockError;
use tantivy::schema::Value as _;
use tantivy::{
    DocAddress, DocSet as _, Index, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, Searcher, TantivyDocument,
    TantivyError, Term,
};

use super::record::{Record, Shown};
use super::tokens::WordTokenizer;

pub use find::{Allowed, Found, Wanted};
pub use schema::VERSION;
use schema::{Fields, TOKENIZER};

/// Memory that words may take before they are written to disk, in bytes.
const WRITER_BYTES: usize = 48 << 20;

/// Why the index does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Another process has it.
    #[error("the index at {folder} is in use by another process")]
    Busy {
        /// Where.
        folder: String,
    },
    /// It is broken, or the disk is.
    #[error("the index at {folder} does not {action}: {source}")]
    Failed {
        /// Where.
        folder: String,
        /// What was asked of it.
        action: &'static str,
        /// Why.
        #[source]
        source: TantivyError,
    },
    /// Files of it are not as they were written.
    #[error("the index at {folder} has {files} damaged files")]
    Damaged {
        /// Where.
        folder: String,
        /// How many.
        files: usize,
    },
    /// A record in it means nothing.
    #[error("the index at {folder} has a record that cannot be read: {source}")]
    Record {
        /// Where.
        folder: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// The index as it is searched. Copies are cheap and see the same.
#[derive(Clone)]
pub struct Words {
    reader: IndexReader,
    fields: Fields,
    folder: String,
}

/// The index as it is written; there is one.
pub struct WordsWriter {
    writer: IndexWriter,
    fields: Fields,
    folder: String,
}

/// Opens the index in a folder, or begins one there.
///
/// # Errors
/// When another process has it, or it cannot be read or written, or its bytes are not those that were written.
pub fn open(folder: &Path) -> Result<(Words, WordsWriter), IndexError> {
    let name = folder.display().to_string();
    let failed = |action| {
        let folder = name.clone();
        move |source| IndexError::Failed { folder, action, source }
    };
    let (schema, fields) = schema::build();
    let directory = MmapDirectory::open(folder).map_err(TantivyError::from).map_err(failed("open"))?;
    let index = Index::builder()
        .schema(schema)
        .settings(IndexSettings::default())
        .open_or_create(directory)
        .map_err(failed("open"))?;
    index.tokenizers().register(TOKENIZER, WordTokenizer);
    let writer = index.writer_with_num_threads(1, WRITER_BYTES).map_err(|source| match source {
        TantivyError::LockFailure(LockError::LockBusy, _) => IndexError::Busy { folder: name.clone() },
        source => failed("open for writing")(source),
    })?;
    let damaged = index.validate_checksum().map_err(failed("read its files"))?;
    if !damaged.is_empty() {
        return Err(IndexError::Damaged { folder: name, files: damaged.len() });
    }
    let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(failed("open"))?;
    Ok((Words { reader, fields, folder: name.clone() }, WordsWriter { writer, fields, folder: name }))
}

impl WordsWriter {
    /// Keeps a document in place of what there was under its name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, record: &Record, text: &str) -> Result<(), IndexError> {
        self.remove(&record.name);
        let fields = &self.fields;
        let json =
            serde_json::to_vec(record).map_err(|source| IndexError::Record { folder: self.folder.clone(), source })?;
        let mut document = TantivyDocument::new();
        document.add_text(fields.document, &record.name);
        document.add_text(fields.record_of, &record.name);
        document.add_u64(fields.number, record.number);
        document.add_bytes(fields.record, &json);
        document.add_text(fields.text, text);
        // the properties are in no passage
        if let Some(front_matter) = &record.note.front_matter {
            document.add_text(fields.body, &text[front_matter.clone()]);
        }
        self.add(document)?;
        let mut title = record.title.clone();
        for alias in record.note.aliases() {
            title.push('\n');
            title.push_str(alias);
        }
        for (passage, place) in (0u64..).zip(&record.passages) {
            let mut document = TantivyDocument::new();
            document.add_text(fields.document, &record.name);
            document.add_u64(fields.number, record.number);
            document.add_u64(fields.passage, passage);
            document.add_text(fields.title, &title);
            document.add_text(fields.heading, place.headings.join("\n"));
            document.add_text(fields.body, &text[place.span.clone()]);
            self.add(document)?;
        }
        // a document without a passage is found by its name
        if record.passages.is_empty() {
            let mut document = TantivyDocument::new();
            document.add_text(fields.document, &record.name);
            document.add_u64(fields.number, record.number);
            document.add_u64(fields.passage, 0);
            document.add_text(fields.title, &title);
            self.add(document)?;
        }
        Ok(())
    }

    fn add(&self, document: TantivyDocument) -> Result<(), IndexError> {
        let added = self.writer.add_document(document);
        added.map(drop).map_err(|source| self.failed("take a document", source))
    }

    /// Forgets a document, with the next commit.
    pub fn remove(&self, name: &str) {
        self.writer.delete_term(Term::from_field_text(self.fields.document, name));
    }

    /// Makes what was put and removed since the last commit durable, all of it or nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn commit(&mut self) -> Result<(), IndexError> {
        match self.writer.commit() {
            Ok(_) => Ok(()),
            Err(source) => Err(self.failed("commit", source)),
        }
    }

    fn failed(&self, action: &'static str, source: TantivyError) -> IndexError {
        IndexError::Failed { folder: self.folder.clone(), action, source }
    }
}

impl Words {
    /// Sees what was committed since.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn refresh(&self) -> Result<(), IndexError> {
        self.reader.reload().map_err(|source| self.failed("reload", source))
    }

    /// Hands each record to a function, in no particular order.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn records(&self, mut each: impl FnMut(Record)) -> Result<(), IndexError> {
        let searcher = self.reader.searcher();
        for segment in searcher.segment_readers() {
            let store = segment.get_store_reader(1).map_err(|source| self.failed("read its store", source.into()))?;
            for document in store.iter::<TantivyDocument>(segment.alive_bitset()) {
                let document = document.map_err(|source| self.failed("read a record", source))?;
                if let Some(record) = self.record_of(&document)? {
                    each(record);
                }
            }
        }
        Ok(())
    }

    /// A document's record and text; none where there is no such document.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn document(&self, name: &str) -> Result<Option<(Record, String)>, IndexError> {
        self.stored(name)
    }

    /// What a hit shows of a document, and its text; none where there is no such document.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn shown(&self, name: &str) -> Result<Option<(Shown, String)>, IndexError> {
        self.stored(name)
    }

    fn stored<R: DeserializeOwned>(&self, name: &str) -> Result<Option<(R, String)>, IndexError> {
        let searcher = self.reader.searcher();
        let address = self.address(&searcher, name).map_err(|source| self.failed("find a record", source))?;
        let Some(address) = address else { return Ok(None) };
        let document: TantivyDocument = searcher.doc(address).map_err(|source| self.failed("read a record", source))?;
        let text = document.get_first(self.fields.text).and_then(|text| text.as_str()).unwrap_or_default().to_owned();
        Ok(self.record_of(&document)?.map(|record| (record, text)))
    }

    fn address(&self, searcher: &Searcher, name: &str) -> Result<Option<DocAddress>, TantivyError> {
        let term = Term::from_field_text(self.fields.record_of, name);
        for (ordinal, segment) in (0u32..).zip(searcher.segment_readers()) {
            let inverted = segment.inverted_index(self.fields.record_of)?;
            let postings = inverted.read_postings(&term, tantivy::schema::IndexRecordOption::Basic)?;
            let Some(mut postings) = postings else { continue };
            while postings.doc() != tantivy::TERMINATED {
                if !segment.is_deleted(postings.doc()) {
                    return Ok(Some(DocAddress::new(ordinal, postings.doc())));
                }
                postings.advance();
            }
        }
        Ok(None)
    }

    fn record_of<R: DeserializeOwned>(&self, document: &TantivyDocument) -> Result<Option<R>, IndexError> {
        let Some(json) = document.get_first(self.fields.record).and_then(|record| record.as_bytes()) else {
            return Ok(None);
        };
        let record = serde_json::from_slice(json);
        record.map(Some).map_err(|source| IndexError::Record { folder: self.folder.clone(), source })
    }

    fn failed(&self, action: &'static str, source: TantivyError) -> IndexError {
        IndexError::Failed { folder: self.folder.clone(), action, source }
    }
}
