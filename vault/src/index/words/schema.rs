//! The fields of the index.

use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions,
};

/// Of the form of the index and of what is written into it: a greater one has it built anew.
pub const VERSION: u32 = 1;
/// The name of our tokenizer within the index.
pub(super) const TOKENIZER: &str = "words";
/// The field that passages are filtered by.
pub(super) const NUMBER: &str = "number";
/// The field that tells a document's passages apart.
pub(super) const PASSAGE: &str = "passage";

/// The fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    /// The document's name, in all its entries.
    pub document: Field,
    /// The same, in its record alone.
    pub record_of: Field,
    /// The document's number, in all its entries.
    pub number: Field,
    /// Which passage it is.
    pub passage: Field,
    /// The document's title and other names, in each passage.
    pub title: Field,
    /// The headings that the passage lies under.
    pub heading: Field,
    /// The passage; the properties in the record's entry.
    pub body: Field,
    /// The record, in JSON.
    pub record: Field,
    /// The whole text, in the record's entry.
    pub text: Field,
}

pub(super) fn build() -> (Schema, Fields) {
    let words = |option| {
        let indexing = TextFieldIndexing::default().set_tokenizer(TOKENIZER).set_index_option(option);
        TextOptions::default().set_indexing_options(indexing)
    };
    let mut schema = Schema::builder();
    let fields = Fields {
        document: schema.add_text_field("document", STRING),
        record_of: schema.add_text_field("record_of", STRING),
        number: schema.add_u64_field(NUMBER, FAST | INDEXED),
        passage: schema.add_u64_field(PASSAGE, FAST),
        title: schema.add_text_field("title", words(IndexRecordOption::WithFreqsAndPositions)),
        heading: schema.add_text_field("heading", words(IndexRecordOption::WithFreqs)),
        body: schema.add_text_field("body", words(IndexRecordOption::WithFreqsAndPositions)),
        record: schema.add_bytes_field("record", STORED),
        text: schema.add_text_field("text", STORED),
    };
    (schema.build(), fields)
}
