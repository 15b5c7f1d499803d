//! `vectors.redb`: what the store in process keeps on disk, and how a row is written and read.
//!
//! A row ends with a checksum, since the engine checks none of its pages while it reads.

use std::path::Path;

use redb::{Builder, Database, TableDefinition};

use crate::derived::{Fault, guarded};
use crate::vectors::PointId;
use crate::vectors::exact::{Code, Fit};

/// Most memory for cached pages, in bytes: enough for the inner pages of a million points.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Form of the file.
pub const FORMAT: u64 = 1;

/// `format`.
pub const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("vectors-numbers-v1");
/// Number of a collection to its JSON.
pub const COLLECTIONS: TableDefinition<u32, &[u8]> = TableDefinition::new("vectors-collections-v1");
/// Collection and number of a document to its name.
pub const DOCUMENTS: TableDefinition<(u32, u32), &[u8]> = TableDefinition::new("vectors-documents-v1");
/// Collection and point to document, scale, error and numbers of its code; of points that are in no segment.
pub const CODES: TableDefinition<(u32, u128), &[u8]> = TableDefinition::new("vectors-codes-v1");
/// Collection and point to document, vector and digest.
pub const VECTORS: TableDefinition<(u32, u128), &[u8]> = TableDefinition::new("vectors-vectors-v1");
/// Collection and point to segment and document; of points that are in a segment.
pub const SEALED: TableDefinition<(u32, u128), (u32, u32)> = TableDefinition::new("vectors-sealed-v1");
/// Collection and segment: those that have a file.
pub const SEGMENTS: TableDefinition<(u32, u32), ()> = TableDefinition::new("vectors-segments-v1");

/// A vector with the rest of its point.
pub struct VectorRow {
    /// The number of its document.
    pub document: u32,
    /// The vector.
    pub vector: Vec<f32>,
    /// The digest of its passage.
    pub digest: String,
}

/// Opens a file or makes it.
pub fn open(path: &Path) -> Result<Database, Fault> {
    guarded(|| Ok(Builder::new().set_cache_size(CACHE_BYTES).create(path)?))
}

/// The row of a document.
pub fn document_row(document: u32, name: &str) -> Vec<u8> {
    signed(PointId(document.into()), name.as_bytes().to_vec())
}

/// The name of a document.
pub fn read_document(document: u32, row: &[u8]) -> Result<&str, Fault> {
    let name = checked(PointId(document.into()), row)?;
    std::str::from_utf8(name).map_err(|_| Fault::Damaged("a name that is no text".into()))
}

/// The row of a code.
pub fn code_row(id: PointId, document: u32, numbers: &[i8], fit: Fit) -> Vec<u8> {
    let mut row = Vec::with_capacity(numbers.len() + 16);
    row.extend(document.to_le_bytes());
    row.extend(fit.scale.to_le_bytes());
    row.extend(fit.error.to_le_bytes());
    row.extend(numbers.iter().map(|number| number.cast_unsigned()));
    signed(id, row)
}

/// The document and code of a row.
pub fn read_code(dimension: usize, id: PointId, row: &[u8]) -> Result<(u32, Code), Fault> {
    let row = checked(id, row)?;
    let (Some((document, rest)), true) = (take_u32(row), row.len() == dimension + 12) else {
        return Err(Fault::Damaged("a code of another length".into()));
    };
    let ((scale, rest), (error, _)) = (take_f32(rest), take_f32(&rest[4..]));
    let numbers = rest[4..].iter().map(|byte| byte.cast_signed()).collect();
    Ok((document, Code { numbers, fit: Fit { scale, error } }))
}

/// The row of a vector.
pub fn vector_row(id: PointId, document: u32, vector: &[f32], digest: &str) -> Vec<u8> {
    let mut row = Vec::with_capacity(vector.len() * 4 + digest.len() + 8);
    row.extend(document.to_le_bytes());
    row.extend(vector.iter().flat_map(|number| number.to_le_bytes()));
    row.extend(digest.as_bytes());
    signed(id, row)
}

/// The vector of a row.
pub fn read_vector(dimension: usize, id: PointId, row: &[u8]) -> Result<VectorRow, Fault> {
    let row = checked(id, row)?;
    let (Some((document, rest)), true) = (take_u32(row), row.len() >= dimension * 4 + 4) else {
        return Err(Fault::Damaged("a vector of another length".into()));
    };
    let (numbers, digest) = rest.split_at(dimension * 4);
    let vector = numbers.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let digest = std::str::from_utf8(digest).map_err(|_| Fault::Damaged("a digest that is no text".into()))?;
    Ok(VectorRow { document, vector, digest: digest.to_owned() })
}

fn signed(id: PointId, mut row: Vec<u8>) -> Vec<u8> {
    row.extend(checksum(id, &row).to_le_bytes());
    row
}

fn checked(id: PointId, row: &[u8]) -> Result<&[u8], Fault> {
    match row.split_last_chunk() {
        Some((row, sum)) if checksum(id, row) == u32::from_le_bytes(*sum) => Ok(row),
        _ => Err(Fault::Damaged("a row with another checksum".into())),
    }
}

/// Of the key too, so that a row is not taken for another's.
fn checksum(id: PointId, row: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&id.0.to_le_bytes());
    sum.update(row);
    sum.finalize()
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    bytes.split_first_chunk().map(|(number, rest)| (u32::from_le_bytes(*number), rest))
}

fn take_f32(bytes: &[u8]) -> (f32, &[u8]) {
    let (number, rest) = bytes.split_first_chunk().expect("the length was checked");
    (f32::from_le_bytes(*number), rest)
}
